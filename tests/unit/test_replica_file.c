/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_replica_file.c - replicas in directories: written and read again, replaced all at once or not at all,
 * and every way in which a directory can be wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../qemu-glue/holes.h"
#include "../../qemu-glue/replica_file.h"
#include "../../qemu-glue/replica_writer.h"

#define PAGES 512u
#define LENGTH ((uint64_t)PAGES * WT_PAGE_SIZE)

static char root[64], directory[96];

static int make_root(void **state)
{
	strcpy(root, "/tmp/test-replica-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(directory, sizeof directory, "%s/web1", root);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int remove_root(void **state)
{
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- blocks, files ---- */

/* Guest RAM, `pages` of it filled: page i begins with i + salt. It lies a page behind the file's beginning.
 */
static struct wt_ram_block make_block(const char *name, unsigned pages, uint32_t salt)
{
	struct wt_ram_block block = {
		.length = LENGTH, .shared = true, .fd_offset = WT_PAGE_SIZE, .backing_page_size = WT_PAGE_SIZE
	};

	strcpy(block.name, name);
	block.fd = memfd_create("block", MFD_CLOEXEC);
	assert_true(block.fd >= 0);
	assert_int_equal(ftruncate(block.fd, (off_t)(LENGTH + WT_PAGE_SIZE)), 0);
	block.base = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, block.fd, WT_PAGE_SIZE);
	assert_ptr_not_equal(block.base, MAP_FAILED);
	for (uint32_t i = 0; i < pages; i++) {
		uint32_t value = i + salt;

		memcpy((uint8_t *)block.base + (size_t)i * WT_PAGE_SIZE, &value, sizeof value);
	}
	return block;
}

static void put_path(char path[PATH_MAX], const char *file)
{
	snprintf(path, PATH_MAX, "%s/%s", directory, file);
}

static void put(const char *file, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	put_path(path, file);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static unsigned count_files(void)
{
	DIR *entries = opendir(directory);
	unsigned count = 0;

	assert_non_null(entries);
	while (readdir(entries))
		count++;
	closedir(entries);
	return count - 2;
}

/* ---- writing and reading ---- */

static struct wt_replica_writer *create(void)
{
	struct wt_replica_writer *writer = NULL;
	struct wt_error err = { 0 };

	if (wt_replica_create(directory, "web1", &writer, &err))
		fail_msg("%s", err.text);
	return writer;
}

/* A replica of two blocks; salt makes its content another one. */
static void write_replica(uint32_t salt)
{
	struct wt_ram_block a = make_block("mem0", PAGES, salt), b = make_block("mem/1", 3, salt);
	struct wt_replica_writer *writer = create();
	struct wt_error err = { 0 };

	assert_int_equal(wt_replica_add_block(writer, &a, &err), 0);
	assert_int_equal(wt_replica_add_block(writer, &b, &err), 0);
	assert_int_equal(wt_replica_commit(writer, &err), 0);
	wt_ram_block_unmap(&a);
	wt_ram_block_unmap(&b);
}

static struct wt_replica *read_replica(void)
{
	struct wt_replica *replica = NULL;
	struct wt_error err = { 0 };

	if (wt_replica_open(directory, "web1", &replica, &err))
		fail_msg("%s", err.text);
	return replica;
}

static uint32_t first_word(const struct wt_replica_block *block, uint64_t page)
{
	uint8_t bytes[WT_PAGE_SIZE];
	uint32_t value;

	assert_int_equal(wt_replica_read(block, page, 1, bytes), 0);
	assert_memory_equal(bytes, (const uint8_t *)block->base + page * WT_PAGE_SIZE, sizeof bytes);
	memcpy(&value, bytes, sizeof value);
	return value;
}

static void expect_salt(uint32_t salt)
{
	struct wt_replica *replica = read_replica();
	const struct wt_replica_block *block = wt_replica_find(replica, "mem0", LENGTH);

	assert_non_null(block);
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(first_word(block, i), i + salt);
	wt_replica_close(replica);
}

static void test_again(void **state)
{
	static uint8_t bytes[LENGTH];
	struct wt_replica *replica;
	const struct wt_replica_block *block;
	struct stat st;

	write_replica(7);
	expect_salt(7);
	replica = read_replica();
	assert_string_equal(replica->index->vm, "web1");
	assert_int_equal(replica->index->count, 2);
	block = wt_replica_find(replica, "mem/1", LENGTH);
	assert_non_null(block);
	assert_int_equal(first_word(block, 2), 9);
	assert_int_equal(first_word(block, 3), 0);
	assert_int_equal(first_word(block, PAGES - 1), 0);
	assert_int_equal(wt_replica_read(block, 0, PAGES, bytes), 0);
	assert_memory_equal(bytes, block->base, LENGTH);
	assert_int_equal(wt_replica_read(block, PAGES, 0, bytes), 0);
	assert_int_equal(wt_replica_read(block, PAGES, 1, bytes), -EINVAL);
	assert_int_equal(wt_replica_read(block, 1, PAGES, bytes), -EINVAL);
	assert_int_equal(wt_replica_read(block, UINT64_MAX, 1, bytes), -EINVAL);
	assert_null(wt_replica_find(replica, "mem0", LENGTH + WT_PAGE_SIZE));
	assert_null(wt_replica_find(replica, "mem", LENGTH));
	assert_int_equal(fstat(block->fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	wt_replica_close(replica);
	assert_int_equal(stat(directory, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* Holes stay holes, and pages of zeros become holes. */
static void test_holes(void **state)
{
	struct wt_ram_block block = make_block("mem0", PAGES, 1);
	struct wt_replica_writer *writer = create();
	const uint64_t middle = LENGTH / 2, gap = 64 * WT_PAGE_SIZE;
	struct wt_error err = { 0 };
	struct wt_replica *replica;
	int fd;

	memset((uint8_t *)block.base + middle, 0, gap);
	assert_int_equal(fallocate(block.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)(WT_PAGE_SIZE + LENGTH - gap), (off_t)gap),
		0);
	assert_int_equal(wt_replica_add_block(writer, &block, &err), 0);
	assert_int_equal(wt_replica_commit(writer, &err), 0);
	assert_int_equal(wt_hole_end(block.fd, WT_PAGE_SIZE + LENGTH - gap, WT_PAGE_SIZE + LENGTH),
		WT_PAGE_SIZE + LENGTH); /* looking did not fill it */
	replica = read_replica();
	fd = replica->blocks[0].fd;
	assert_memory_equal(replica->blocks[0].base, block.base, LENGTH);
	if (wt_data_end(fd, 0, LENGTH) == LENGTH) {
		print_message("the file system of /tmp knows no holes\n");
		skip();
	}
	assert_int_equal(wt_data_end(fd, 0, LENGTH), middle);
	assert_int_equal(wt_hole_end(fd, middle, LENGTH), middle + gap);
	assert_int_equal(wt_hole_end(fd, LENGTH - gap, LENGTH), LENGTH);
	wt_replica_close(replica);
	wt_ram_block_unmap(&block);
}

/* A character device answers to questions for holes, and always with its position. */
static void test_holes_of_a_device(void **state)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (uint64_t offset = 0; offset < LENGTH; offset += LENGTH / 4) {
		assert_int_equal(wt_hole_end(fd, offset, LENGTH), offset);
		assert_int_equal(wt_data_end(fd, offset, LENGTH), LENGTH);
	}
	close(fd);
}

/* A new replica replaces the old one at once; who has that open keeps it. */
static void test_replaced(void **state)
{
	struct wt_replica *old;

	write_replica(1);
	assert_int_equal(count_files(), 3);
	old = read_replica();
	write_replica(2);
	assert_int_equal(count_files(), 3);
	expect_salt(2);
	assert_int_equal(first_word(wt_replica_find(old, "mem0", LENGTH), 5), 6);
	wt_replica_close(old);
}

/* What a live checkpoint does: an image that is filled through its descriptor. */
static void test_filled(void **state)
{
	struct wt_replica_writer *writer = create();
	struct wt_error err = { 0 };
	struct wt_replica *replica;
	uint32_t value = 77;
	int fd;

	assert_int_equal(wt_replica_add(writer, "mem0", LENGTH, &fd, &err), 0);
	assert_int_equal(pwrite(fd, &value, sizeof value, 9 * WT_PAGE_SIZE), sizeof value);
	assert_int_equal(wt_replica_commit(writer, &err), 0);
	replica = read_replica();
	assert_int_equal(first_word(&replica->blocks[0], 9), 77);
	assert_int_equal(first_word(&replica->blocks[0], 8), 0);
	wt_replica_close(replica);
}

/* ---- writing that fails ---- */

static void expect_refused_creation(const char *vm, const char *words)
{
	struct wt_replica_writer *writer = NULL;
	struct wt_error err = { 0 };

	assert_true(wt_replica_create(directory, vm, &writer, &err) < 0);
	assert_null(writer);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" has no \"%s\"", err.text, words);
}

static void test_abandoned(void **state)
{
	struct wt_ram_block block = make_block("mem0", PAGES, 9);
	struct wt_replica_writer *writer = create();
	struct wt_error err = { 0 };

	assert_int_equal(wt_replica_add_block(writer, &block, &err), 0);
	wt_replica_abandon(writer);
	assert_int_equal(access(directory, F_OK), -1);
	write_replica(3);
	writer = create();
	assert_int_equal(wt_replica_add_block(writer, &block, &err), 0);
	wt_replica_abandon(writer);
	assert_int_equal(count_files(), 3);
	expect_salt(3);
	writer = create();
	assert_int_equal(wt_replica_commit(writer, &err), -EINVAL);
	expect_salt(3);
	wt_replica_abandon(NULL);
	wt_replica_close(NULL);
	wt_ram_block_unmap(&block);
}

/* A file that may not grow: the sentence names it, the old replica stays. */
static void test_full(void **state)
{
	struct wt_ram_block block = make_block("mem0", PAGES, 9);
	struct rlimit before, small = { .rlim_cur = LENGTH / 2, .rlim_max = RLIM_INFINITY };
	struct wt_replica_writer *writer;
	struct wt_error err = { 0 };

	write_replica(4);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	writer = create();
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(wt_replica_add_block(writer, &block, &err), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_non_null(strstr(err.text, directory));
	wt_replica_abandon(writer);
	assert_int_equal(count_files(), 3);
	expect_salt(4);
	wt_ram_block_unmap(&block);
}

/* A writer that dies leaves the old replica, and its rubbish goes with the next one. */
static void test_died(void **state)
{
	pid_t child;
	int fd, status;

	write_replica(5);
	child = fork();
	if (child == 0) {
		struct wt_replica_writer *writer = NULL;

		if (wt_replica_create(directory, "web1", &writer, NULL) ||
			wt_replica_add(writer, "mem0", LENGTH, &fd, NULL))
			_exit(1);
		put("index.json.tmp", "half");
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(count_files(), 5);
	expect_salt(5);
	write_replica(6);
	assert_int_equal(count_files(), 3);
	expect_salt(6);
}

static void test_not_clobbered(void **state)
{
	char path[PATH_MAX];

	assert_int_equal(mkdir(directory, 0700), 0);
	write_replica(1); /* an empty directory is right */
	expect_refused_creation("web2", "a replica of \"web1\"");
	expect_refused_creation("", "name of a VM");
	put("index.json", "{ \"format\": 1, ");
	expect_refused_creation("web1", "not JSON");
	assert_int_equal(count_files(), 3);
	put_path(path, "index.json");
	assert_int_equal(unlink(path), 0);
	expect_refused_creation("web1", "no index.json");
	assert_int_equal(count_files(), 2);
	snprintf(directory, sizeof directory, "%s/nothing/web1", root);
	expect_refused_creation("web1", "cannot make the directory");
	snprintf(directory, sizeof directory, "%s/file", root);
	assert_int_equal(close(open(directory, O_CREAT | O_WRONLY, 0600)), 0);
	expect_refused_creation("web1", "cannot open the directory");
	assert_int_equal(access(directory, F_OK), 0);
}

/* Files of other people in a replica's directory stay. */
static void test_others(void **state)
{
	static const char *const names[] = { "ram-0-0123456789abcdef.raw.bak", "ram-0-0123456789abcde.raw",
		"ram--0123456789abcdef.raw", "ram-0-0123456789abcdeg.raw", "README", "x.tmp" };
	char path[PATH_MAX];

	write_replica(1);
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		put(names[i], "mine");
	put("ram-12-0123456789abcdef.raw", "an image that no index names");
	write_replica(2);
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		put_path(path, names[i]);
		assert_int_equal(access(path, F_OK), 0);
	}
	assert_int_equal(count_files(), 3 + sizeof names / sizeof *names);
}

static void test_locked(void **state)
{
	struct wt_replica_writer *writer;
	struct wt_replica *replica = NULL;
	struct wt_error err = { 0 };

	write_replica(1);
	writer = create();
	expect_refused_creation("web1", "by another watari");
	assert_int_equal(wt_replica_open(directory, "web1", &replica, &err), -EBUSY);
	wt_replica_abandon(writer);
	expect_salt(1);
}

static void test_bad_blocks(void **state)
{
	struct wt_ram_block private = { .name = "mem1", .length = LENGTH, .fd = -1 };
	struct wt_replica_writer *writer = create();
	struct wt_error err = { 0 };
	char name[300];
	int fd;

	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	assert_int_equal(wt_replica_add_block(writer, &private, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not shared"));
	assert_int_equal(wt_replica_add(writer, "", LENGTH, &fd, NULL), -EINVAL);
	assert_int_equal(wt_replica_add(writer, name, LENGTH, &fd, NULL), -EINVAL);
	assert_int_equal(wt_replica_add(writer, "a", 0, &fd, NULL), -EINVAL);
	assert_int_equal(wt_replica_add(writer, "a", LENGTH + 1, &fd, NULL), -EINVAL);
	assert_int_equal(wt_replica_add(writer, "a", 1ull << 63, &fd, NULL), -EINVAL);
	assert_int_equal(wt_replica_add(writer, "a", LENGTH, &fd, NULL), 0);
	assert_int_equal(wt_replica_add(writer, "a", LENGTH, &fd, NULL), -EEXIST);
	assert_int_equal(wt_replica_add(writer, "\xff", LENGTH, &fd, NULL), 0);
	wt_error_clear(&err);
	assert_int_equal(wt_replica_commit(writer, &err), -EINVAL);
	assert_non_null(strstr(err.text, "UTF-8"));
	assert_int_equal(access(directory, F_OK), -1);
}

/* ---- reading what is wrong ---- */

static void expect_refused(const char *vm, const char *words)
{
	struct wt_replica *replica = NULL;
	struct wt_error err = { 0 };

	assert_true(wt_replica_open(directory, vm, &replica, &err) < 0);
	assert_null(replica);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" has no \"%s\"", err.text, words);
	for (const char *c = err.text; *c; c++)
		assert_in_range((unsigned char)*c, ' ', '~');
}

/* The image of a block of one page, as `index` in test_index names it. */
static void put_image(const char *file, uint64_t length)
{
	char path[PATH_MAX];

	put(file, "");
	put_path(path, file);
	assert_int_equal(truncate(path, (off_t)length), 0);
}

static void test_index(void **state)
{
#define HEAD "{\"format\":1,\"vm\":\"web1\",\"blocks\":["
#define BLOCK(name, length, file) "{\"name\":\"" name "\",\"length\":" length ",\"file\":\"" file "\"}"
	static const char *const bad[][2] = {
		{ "", "not JSON" },
		{ "[]", "no number `format`" },
		{ "{\"format\":\"1\"}", "no number `format`" },
		{ "{\"format\":2}", "format 2" },
		{ "{\"format\":1,\"format\":1}", "not JSON" },
		{ "{\"format\":1,\"requires\":[\"zs\\u001btd\"]}", "needs \"zs?td\"" },
		{ "{\"format\":1,\"requires\":\"zstd\"}", "needs \"?\"" },
		{ "{\"format\":1}", "no `vm`" },
		{ "{\"format\":1,\"vm\":\"\"}", "no `vm`" },
		{ "{\"format\":1,\"vm\":\"web1\"}", "no list `blocks`" },
		{ HEAD "]}", "no list `blocks`" },
		{ HEAD "7]}", "block 0 has no `name`" },
		{ HEAD BLOCK("", "4096", "a") "]}", "block 0 has no `name`" },
		{ HEAD "{\"name\":\"m\",\"length\":4096}]}", "the `file` of block \"m\"" },
		{ HEAD BLOCK("m", "4096", "") "]}", "the `file` of block" },
		{ HEAD BLOCK("m", "4096", "../a") "]}", "the `file` of block" },
		{ HEAD BLOCK("m", "4096", "/etc/passwd") "]}", "the `file` of block" },
		{ HEAD BLOCK("m", "4096", "..") "]}", "the `file` of block" },
		{ HEAD BLOCK("m", "4096", ".a") "]}", "the `file` of block" },
		{ HEAD BLOCK("m", "4096", "a\\n") "]}", "the `file` of block" },
		{ HEAD BLOCK("m", "4096", "a\\u0000b") "]}", "not JSON" },
		{ HEAD BLOCK("m", "0", "a") "]}", "the `length` of block" },
		{ HEAD BLOCK("m", "-4096", "a") "]}", "the `length` of block" },
		{ HEAD BLOCK("m", "4097", "a") "]}", "the `length` of block" },
		{ HEAD BLOCK("m", "4096.0", "a") "]}", "the `length` of block" },
		{ HEAD BLOCK("m", "\"4096\"", "a") "]}", "the `length` of block" },
		{ HEAD BLOCK("m", "99999999999999999999", "a") "]}", "not JSON" },
		{ HEAD BLOCK("m", "4096", "a") "," BLOCK("m", "4096", "b") "]}", "an earlier block" },
		{ HEAD BLOCK("m", "4096", "a") "," BLOCK("n", "4096", "a") "]}", "an earlier block" },
		{ HEAD BLOCK("m", "9223372036854771712", "a") "," BLOCK("n", "4096", "b") "]}",
			"more bytes" },
		{ HEAD BLOCK("m\\u001b[2J", "4096", "../") "]}", "m?[2J" },
		{ HEAD BLOCK("m", "4096", "missing") "]}", "missing of a replica: No such file" },
		{ HEAD BLOCK("m", "4096", "short") "]}", "cut short" },
		{ HEAD BLOCK("m", "4096", "long") "]}", "was changed" },
		{ HEAD BLOCK("m", "4096", "link") "]}", "it is a link" },
		{ HEAD BLOCK("m", "4096", "folder") "]}", "is not a file" },
		{ HEAD BLOCK("m", "4096", "fifo") "]}", "is not a file" },
	};
	char path[PATH_MAX];

	assert_int_equal(mkdir(directory, 0700), 0);
	put_image("a", WT_PAGE_SIZE);
	put_image("b", WT_PAGE_SIZE);
	put_image("short", WT_PAGE_SIZE - 1);
	put_image("long", 2 * WT_PAGE_SIZE);
	put_path(path, "link");
	assert_int_equal(symlink("a", path), 0);
	put_path(path, "folder");
	assert_int_equal(mkdir(path, 0700), 0);
	put_path(path, "fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		put("index.json", bad[i][0]);
		expect_refused("web1", bad[i][1]);
	}
	put("index.json", HEAD BLOCK("m", "4096", "a") "],\"devices\":{\"file\":\"../x\"},\"requires\":[]}");
	wt_replica_close(read_replica()); /* fields that nobody needs are passed over */
	expect_refused("web2", "a replica of \"web1\", not of \"web2\"");
}

static void test_no_index(void **state)
{
	char path[PATH_MAX];

	expect_refused("web1", "cannot open the directory");
	assert_int_equal(mkdir(directory, 0700), 0);
	expect_refused("web1", "no index.json");
	put_path(path, "index.json");
	assert_int_equal(symlink("/etc/hostname", path), 0);
	expect_refused("web1", "cannot open");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refused("web1", "it is no file");
	assert_int_equal(unlink(path), 0);
	put_image("index.json", WT_REPLICA_INDEX_MAX + 1);
	expect_refused("web1", "has more than");
}

/* An image that shrinks while it is open is an error, not a signal. */
static void test_shrinks(void **state)
{
	struct wt_replica *replica;
	uint8_t bytes[WT_PAGE_SIZE];
	char path[PATH_MAX];

	write_replica(1);
	replica = read_replica();
	put_path(path, replica->index->images[0].file);
	assert_int_equal(truncate(path, WT_PAGE_SIZE), 0);
	assert_int_equal(wt_replica_read(&replica->blocks[0], 0, 1, bytes), 0);
	assert_int_equal(wt_replica_read(&replica->blocks[0], 1, 1, bytes), -ENODATA);
	wt_replica_close(replica);
}

static void test_most_blocks(void **state)
{
	struct wt_replica_index index = { .vm = "web1", .count = WT_BLOCKS_MAX }, *again = NULL;
	struct wt_error err = { 0 };
	char *text = NULL;

	index.images = calloc(index.count, sizeof *index.images);
	assert_non_null(index.images);
	for (unsigned i = 0; i < index.count; i++) {
		memset(index.images[i].name, 1, WT_BLOCK_NAME_MAX); /* six bytes each in JSON */
		snprintf(index.images[i].name, 16, "%u", i);
		index.images[i].name[strlen(index.images[i].name)] = 1;
		memset(index.images[i].file, '"', NAME_MAX);
		snprintf(index.images[i].file, 16, "%u", i);
		index.images[i].file[strlen(index.images[i].file)] = '"';
		index.images[i].length = WT_PAGE_SIZE;
	}
	assert_int_equal(wt_replica_index_render(&index, &text, &err), 0);
	assert_in_range(strlen(text), 1 << 20, WT_REPLICA_INDEX_MAX);
	assert_int_equal(wt_replica_index_parse(text, strlen(text), "x", &again, &err), 0);
	assert_memory_equal(again->images, index.images, index.count * sizeof *index.images);
	wt_replica_index_free(again);
	free(index.images);
	free(text);
}

#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ROOT(test_again),
		IN_ROOT(test_holes),
		IN_ROOT(test_holes_of_a_device),
		IN_ROOT(test_replaced),
		IN_ROOT(test_filled),
		IN_ROOT(test_abandoned),
		IN_ROOT(test_full),
		IN_ROOT(test_died),
		IN_ROOT(test_not_clobbered),
		IN_ROOT(test_others),
		IN_ROOT(test_locked),
		IN_ROOT(test_bad_blocks),
		IN_ROOT(test_index),
		IN_ROOT(test_no_index),
		IN_ROOT(test_shrinks),
		cmocka_unit_test(test_most_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
