/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_sink.c - the puller's memory is a file on a tmpfs that is smaller than the guest: pulling into it,
 * zeroing it and registering it end with one sentence that names the block, and never with a signal.
 *
 * The tmpfs is mounted by a child in name spaces of its own, which hands the open file over.
 */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "sink.h"
#include "transfer_guest.h"

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = fd < 0 || write(fd, text, strlen(text)) < 0;

	if (fd >= 0)
		close(fd);
	return -r;
}

/* A mount name space of one's own: by right, or in a user name space in which one is root. */
static int leave_namespace(void)
{
	char uids[32], gids[32];

	snprintf(uids, sizeof uids, "0 %u 1", getuid());
	snprintf(gids, sizeof gids, "0 %u 1", getgid());
	if (unshare(CLONE_NEWNS) &&
		(unshare(CLONE_NEWUSER | CLONE_NEWNS) || write_text("/proc/self/uid_map", uids) ||
			write_text("/proc/self/setgroups", "deny") || write_text("/proc/self/gid_map", gids)))
		return -1;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* The child: mounts, and sends the file's descriptor. */
static int mount_and_send(int socket)
{
	uint8_t space[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = "", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
	int fd;

	if (leave_namespace() || mount("tmpfs", "/tmp", "tmpfs", 0, "size=4m"))
		return errno;
	fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
	return sendmsg(socket, &message, 0) == 1 ? 0 : errno;
}

/* A file on a tmpfs of 4 MiB; -errno where nobody may mount one. */
static int full_file(void)
{
	uint8_t space[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space
	};
	int sockets[2], status = 0, fd = -1;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		abort();
	child = fork();
	if (!child)
		_exit(mount_and_send(sockets[1]));
	close(sockets[1]);
	if (recvmsg(sockets[0], &message, MSG_CMSG_CLOEXEC) == 1)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	close(sockets[0]);
	waitpid(child, &status, 0);
	return fd >= 0 ? fd : -WEXITSTATUS(status);
}

static uint8_t *full_memory(uint64_t length, int *ret_fd)
{
	uint8_t *base;

	*ret_fd = full_file();
	check(*ret_fd >= 0 && ftruncate(*ret_fd, (off_t)length) == 0);
	base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	check(base != MAP_FAILED);
	return base;
}

/* Over tcp: some of it fits, then the session ends, and both ends say why. */
static void test_pulling_into_full_memory(void **state)
{
	struct world_block *b = &w.blocks[0];
	unsigned landed = 0;

	world_open(&w, 16, 20 * SECOND_NS);
	munmap(b->mine, b->length);
	close(b->mine_fd);
	b->mine = full_memory(b->length, &b->mine_fd);
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	for (uint32_t page = 0; page < 4096 && !w.server_failed; page += 256) {
		write_pages(&(struct wt_extent){ .page = page, .pages = 256 }, false);
		announce(0, page, 256, WT_CONTENT_IN_PLACE);
		while (!announce_rest() && !w.server_failed) {
			wt_server_flush(w.server);
			check(world_until(&w, has_room));
		}
	}
	wt_server_flush(w.server);
	check(world_until(&w, both_failed));
	check(strstr(w.puller_error.text, "memory of block pc.ram") &&
		strstr(w.puller_error.text, "is full"));
	check(strstr(w.server_error.text, "memory of block pc.ram"));
	/* Which of the paths fails first, and how far the other one is then, is chance. */
	for (unsigned i = 0; i < 4; i++)
		landed += memcmp(b->mine + i * MIB, b->source + i * MIB, MIB) == 0;
	check(landed > 0);
	world_close(&w);
}

/* A character device, as device DAX: it answers to questions for holes, and always 0. */
static void test_zeroing_a_device(void **state)
{
	struct wt_sink_block block = { .name = "pc.ram", .length = 4 * MIB };
	struct wt_error err = { 0 };

	block.fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	check(block.fd >= 0 && lseek(block.fd, MIB, SEEK_DATA) == 0);
	block.base = mmap(NULL, block.length, PROT_READ | PROT_WRITE, MAP_SHARED, block.fd, 0);
	check(block.base != MAP_FAILED);
	for (block.fd_offset = 0; block.fd_offset <= 2 * MIB; block.fd_offset += 2 * MIB) {
		memset(block.base, 7, block.length);
		check(wt_sink_zero(&block, MIB, MIB, &err) == 0);
		for (uint64_t i = 0; i < block.length; i++)
			check(block.base[i] == (i / MIB == 1 ? 0 : 7));
	}
	munmap(block.base, block.length);
	close(block.fd);
}

/* Holes of a file whose name is not known cannot be told from pages; nothing can be put into them either. */
static void test_zeroing_full_memory(void **state)
{
	struct wt_sink_block block = { .name = "pc.ram", .length = 16 * MIB, .fd = -1 };
	struct wt_error err = { 0 };
	int fd;

	block.base = full_memory(block.length, &fd);
	memset(block.base, 7, 3 * MIB);
	check(wt_sink_zero(&block, 0, 3 * MIB, &err) == 0);
	for (uint64_t i = 0; i < 3 * MIB; i++)
		check(!block.base[i]);
	check(wt_sink_zero(&block, 2 * MIB, 14 * MIB, &err) < 0);
	check(strstr(err.text, "memory of block pc.ram") && strstr(err.text, "is full"));
	munmap(block.base, block.length);
	close(fd);
}

static uint8_t *file_memory(uint64_t length, struct wt_sink_block *ret_block)
{
	*ret_block = (struct wt_sink_block){ .name = "pc.ram", .length = length };
	ret_block->fd = memfd_create("ram", MFD_CLOEXEC);
	check(ret_block->fd >= 0 && ftruncate(ret_block->fd, (off_t)length) == 0);
	ret_block->base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, ret_block->fd, 0);
	check(ret_block->base != MAP_FAILED);
	return ret_block->base;
}

static uint64_t blocks_of(int fd)
{
	struct stat file;

	check(fstat(fd, &file) == 0);
	return (uint64_t)file.st_blocks;
}

/* Runs of pages and of holes, at the edges of what is zeroed too: no page is forgotten, no hole is filled. */
static void test_zeroing_among_holes(void **state)
{
	static const uint8_t exists[16] = { 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1 };
	struct wt_sink_block block;
	uint8_t *base = file_memory(16 * WT_PAGE_SIZE, &block);
	struct wt_error err = { 0 };
	uint64_t before;

	for (unsigned first = 0; first < 16; first++) {
		for (unsigned end = first + 1; end <= 16; end++) {
			for (unsigned i = 0; i < 16; i++)
				if (exists[i])
					memset(base + i * WT_PAGE_SIZE, 9, WT_PAGE_SIZE);
			before = blocks_of(block.fd);
			check(wt_sink_zero(
				      &block, first * WT_PAGE_SIZE, (end - first) * WT_PAGE_SIZE, &err) == 0);
			check(blocks_of(block.fd) == before);
			for (unsigned i = 0; i < 16; i++)
				if (exists[i])
					check(base[i * WT_PAGE_SIZE + 4095] ==
						(i >= first && i < end ? 0 : 9));
		}
	}
	munmap(base, block.length);
	close(block.fd);
}

/* What zeroing a page costs does not depend on how much of the file exists behind it. */
static void test_zeroing_pages_of_much(void **state)
{
	struct wt_sink_block block;
	uint8_t *base = file_memory(256 * MIB, &block);
	struct wt_error err = { 0 };
	struct timespec before, after;

	memset(base, 9, block.length);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	for (uint64_t page = 0; page < 8192; page += 2)
		check(wt_sink_zero(&block, page * WT_PAGE_SIZE, WT_PAGE_SIZE, &err) == 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	check(after.tv_sec - before.tv_sec <= 1); /* a few ms; seconds if each looked for the next hole */
	munmap(base, block.length);
	close(block.fd);
}

static int no_region(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	return wt_error_set(err, EFAULT, "not all of it is mapped");
}

static void no_endpoint(struct wt_endpoint *endpoint)
{
}

/* A device that cannot pin memory that is not there; and one that cannot for another reason. */
static void test_registering_full_memory(void **state)
{
	struct wt_fabric_ops ops = { .region_add = no_region, .endpoint_close = no_endpoint };
	struct wt_sink_block block = { .name = "pc.ram", .length = 32 * MIB, .fd = -1 };
	struct wt_error err = { 0 };
	struct wt_region *region;
	struct wt_sink *sink;
	uint64_t bytes;
	int fd;

	block.base = full_memory(block.length, &fd);
	check(wt_sink_open(&ops, NULL, &block, 1, &sink) == 0);
	check(wt_sink_region(sink, 0, 0, &region, &bytes, &err) < 0);
	check(strstr(err.text, "memory of block pc.ram") && strstr(err.text, "is full"));
	wt_sink_close(sink);
	munmap(block.base, block.length);
	close(fd);

	block.length = 2 * MIB;
	block.base = full_memory(block.length, &fd);
	wt_error_clear(&err);
	check(wt_sink_open(&ops, NULL, &block, 1, &sink) == 0);
	check(wt_sink_region(sink, 0, 0, &region, &bytes, &err) == -EFAULT);
	check(strcmp(err.text, "not all of it is mapped") == 0);
	wt_sink_close(sink);
	munmap(block.base, block.length);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_pulling_into_full_memory, abandon),
		cmocka_unit_test(test_zeroing_full_memory),
		cmocka_unit_test(test_zeroing_a_device),
		cmocka_unit_test(test_zeroing_among_holes),
		cmocka_unit_test(test_zeroing_pages_of_much),
		cmocka_unit_test(test_registering_full_memory),
	};
	int fd = full_file();

	if (fd < 0) {
		printf("skipped: a tmpfs cannot be mounted in name spaces of one's own here: %s\n",
			strerror(-fd));
		return 77;
	}
	close(fd);
	if (getenv("WATARI_TEST"))
		cmocka_set_test_filter(getenv("WATARI_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
