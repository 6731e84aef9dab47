/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_checkpoint_files.c - checkpoints in directories: guest RAM that changes while it is written, one
 * checkpoint on top of another, compressed and not, and every bit that may flip.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xxhash.h>

#include "../../qemu-glue/checkpoint_files.h"
#include "../../qemu-glue/frame.h"
#include "../../qemu-glue/load.h"
#include "../../qemu-glue/ram_users.h"
#include "seed.h"

#define PAGES 1500u
#define LENGTH ((uint64_t)PAGES * WT_PAGE_SIZE)
#define BLOCKS 2u

static char root[64], directory[96], other[96];

static int make_root(void **state)
{
	seed_start(1);
	strcpy(root, "/tmp/test-checkpoint-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(directory, sizeof directory, "%s/web1", root);
	snprintf(other, sizeof other, "%s/other", root);
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

/* ---- a guest ---- */

struct guest {
	struct wt_ram_block blocks[BLOCKS];
	struct wt_guest_ram ram;
};

static void make_guest(struct guest *g)
{
	memset(g, 0, sizeof *g);
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct wt_ram_block *block = &g->blocks[i];

		*block = (struct wt_ram_block){ .length = LENGTH,
			.shared = true,
			.fd_offset = WT_PAGE_SIZE,
			.backing_page_size = WT_PAGE_SIZE };
		snprintf(block->name, sizeof block->name, "mem%u", i);
		block->fd = memfd_create("block", MFD_CLOEXEC);
		assert_true(block->fd >= 0);
		assert_int_equal(ftruncate(block->fd, (off_t)(LENGTH + WT_PAGE_SIZE)), 0);
		block->base = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, block->fd, WT_PAGE_SIZE);
		assert_ptr_not_equal(block->base, MAP_FAILED);
	}
	g->ram = (struct wt_guest_ram){ .count = BLOCKS, .blocks = g->blocks };
}

static void free_guest(struct guest *g)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		wt_ram_block_unmap(&g->blocks[i]);
}

static uint8_t *page_of(struct guest *g, unsigned block, uint64_t page)
{
	return (uint8_t *)g->blocks[block].base + (page << WT_PAGE_SHIFT);
}

static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, WT_PAGE_SIZE - 1);
}

/* Changes so many pages: content that compresses, or zeros. */
static void dirty(struct guest *g, unsigned pages)
{
	while (pages--) {
		uint8_t *page = page_of(g, (unsigned)seed_below(BLOCKS), seed_below(PAGES));
		uint64_t value = seed_next();

		if (value % 8 == 0) {
			memset(page, 0, WT_PAGE_SIZE);
			continue;
		}
		for (unsigned i = 0; i < WT_PAGE_SIZE / 2; i += 8)
			memcpy(page + i, &value, sizeof value);
	}
}

/* ---- writing ---- */

static const uint8_t device_state[] = "what QEMU's devices are";

static struct wt_checkpoint_files *begin(struct guest *g, const struct wt_checkpoint_options *o)
{
	struct wt_checkpoint_files *files = NULL;
	struct wt_error err = { 0 };

	if (wt_checkpoint_files_open(o, "web1", &g->ram, &files, &err))
		fail_msg("%s", err.text);
	return files;
}

static void wait_news(struct wt_save *save)
{
	struct pollfd fd = { .fd = wt_save_fd(save), .events = POLLIN };

	assert_int_equal(poll(&fd, 1, 20000), 1);
	wt_save_news(save);
}

static void announce(struct wt_save *save, struct wt_extent extent, bool zero)
{
	while (wt_save_announce(save, &extent, zero ? WT_CONTENT_ZERO : WT_CONTENT_IN_PLACE) == -EAGAIN)
		wait_news(save);
}

/* As QEMU's first pass: runs of what is zero and what is not. */
static void announce_all(struct guest *g, struct wt_save *save)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		for (uint64_t page = 0, end; page < PAGES; page = end) {
			bool zero = is_zero(page_of(g, b, page));

			for (end = page + 1; end < PAGES && is_zero(page_of(g, b, end)) == zero; end++)
				;
			announce(save,
				(struct wt_extent){
					.block = b, .page = page, .pages = (uint32_t)(end - page) },
				zero);
		}
}

static void settle(struct wt_save *save)
{
	wt_save_final(save, true);
	while (!wt_save_idle(save))
		wait_news(save);
}

static int finish(struct wt_checkpoint_files *files, struct wt_error *err)
{
	struct wt_replica_checkpoint *facts = wt_checkpoint_facts(files);

	wt_checkpoint_pass(files, device_state, sizeof device_state);
	strcpy(facts->machine, "pc-q35-10.0");
	strcpy(facts->version, "10.0.2");
	return wt_checkpoint_commit(files, err);
}

static struct wt_save_stats save_to(struct guest *g, const struct wt_checkpoint_options *o)
{
	struct wt_checkpoint_files *files = begin(g, o);
	struct wt_save *save = wt_checkpoint_save(files);
	struct wt_save_stats stats;
	struct wt_error err = { 0 };

	announce_all(g, save);
	settle(save);
	if (finish(files, &err))
		fail_msg("%s", err.text);
	wt_save_stats(save, &stats);
	wt_checkpoint_files_close(files);
	return stats;
}

/* ---- reading ---- */

/* 0, or what was found wrong. to NULL: only looked at. */
static int load_from(const char *from, struct guest *to, struct wt_error *err)
{
	struct wt_load_block blocks[BLOCKS];
	struct wt_replica *replica = NULL;
	struct wt_load *load = NULL;
	struct pollfd fd = { .events = POLLIN };
	uint8_t digest[WT_PAGE_DIGEST_BYTES], bytes[sizeof device_state];
	int r = wt_replica_open(from, "web1", &replica, err);

	if (r)
		return r;
	if (!replica->index->checkpoint) {
		wt_replica_close(replica);
		return -ENOENT;
	}
	if (replica->index->checkpoint->state_length == sizeof bytes &&
		pread(replica->state_fd, bytes, sizeof bytes, 0) == sizeof bytes) {
		wt_bytes_digest(bytes, sizeof bytes, digest);
		if (memcmp(digest, replica->index->checkpoint->state_digest, sizeof digest) != 0)
			r = wt_error_set(err, EBADMSG, "state");
	} else {
		r = wt_error_set(err, EBADMSG, "state");
	}
	assert_int_equal(replica->index->count, BLOCKS);
	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = (struct wt_load_block){ .from = &replica->blocks[i], .fd = -1 };
		if (to) {
			blocks[i].to = to->blocks[i].base;
			blocks[i].fd = to->blocks[i].fd;
			blocks[i].fd_offset = to->blocks[i].fd_offset;
		}
	}
	if (!r)
		r = wt_load_open(blocks, BLOCKS, replica->index->checkpoint->seed, 3, &load, err);
	if (!r) {
		fd.fd = wt_load_fd(load);
		assert_int_equal(poll(&fd, 1, 20000), 1);
		r = wt_load_status(load, err);
	}
	wt_load_close(load);
	wt_replica_close(replica);
	return r;
}

static void expect_guest(const char *from, struct guest *g)
{
	struct wt_error err = { 0 };
	struct guest to;

	make_guest(&to);
	for (unsigned i = 0; i < PAGES; i += 3) /* what was there before must not show */
		memset(page_of(&to, i % BLOCKS, i), 0x5a, WT_PAGE_SIZE);
	if (load_from(from, &to, &err))
		fail_msg("%s: %s", from, err.text);
	for (unsigned i = 0; i < BLOCKS; i++)
		assert_memory_equal(to.blocks[i].base, g->blocks[i].base, LENGTH);
	free_guest(&to);
}

/* Each page as a migration reads it out of a replica. */
static void expect_replica(const char *from, struct guest *g)
{
	static uint8_t bytes[LENGTH];
	struct wt_replica *replica = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_replica_open(from, "web1", &replica, &err), 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		assert_int_equal(wt_replica_read(&replica->blocks[i], 0, PAGES, bytes), 0);
		assert_memory_equal(bytes, g->blocks[i].base, LENGTH);
		for (uint64_t page = 0; page < PAGES; page += 77) {
			assert_int_equal(wt_replica_read(&replica->blocks[i], page, 1, bytes), 0);
			assert_memory_equal(bytes, page_of(g, i, page), WT_PAGE_SIZE);
		}
		assert_int_equal(wt_replica_read(&replica->blocks[i], PAGES, 1, bytes), -EINVAL);
	}
	wt_replica_close(replica);
}

static unsigned count_files(const char *where)
{
	DIR *entries = opendir(where);
	unsigned count = 0;

	if (!entries)
		return 0;
	while (readdir(entries))
		count++;
	closedir(entries);
	return count - 2;
}

/* ---- tests ---- */

static void test_whole(void **state)
{
	const struct wt_checkpoint_options raw = { .directory = directory },
					   frames = { .directory = other, .level = 1 };
	struct wt_save_stats stats;
	struct guest g;

	make_guest(&g);
	dirty(&g, 2000);
	stats = save_to(&g, &raw);
	assert_int_equal(stats.written_bytes, stats.written_pages * WT_PAGE_SIZE);
	assert_int_equal(stats.written_pages + stats.zero_pages, BLOCKS * PAGES);
	expect_guest(directory, &g);
	expect_replica(directory, &g);
	assert_int_equal(count_files(directory), 2 * BLOCKS + 2);
	stats = save_to(&g, &frames);
	assert_true(stats.written_bytes < stats.written_pages * WT_PAGE_SIZE / 2);
	expect_guest(other, &g);
	expect_replica(other, &g);
	free_guest(&g);
}

/* A raw checkpoint is a replica for versions that know nothing of checkpoints; the others are not. */
static void test_requires(void **state)
{
	const struct wt_checkpoint_options plain = { .directory = directory };
	struct wt_replica *replica = NULL;
	struct wt_error err = { 0 };
	char *text = NULL;
	struct guest g;

	make_guest(&g);
	dirty(&g, 500);
	for (unsigned i = 0; i < 2; i++) {
		save_to(&g, &plain);
		assert_int_equal(wt_replica_open(directory, "web1", &replica, &err), 0);
		assert_int_equal(wt_replica_index_render(replica->index, &text, &err), 0);
		assert_int_equal(strstr(text, "\"packed\"") != NULL, i == 1);
		assert_int_equal(wt_replica_index_flat(replica->index), i == 0);
		assert_int_equal(replica->blocks[0].base != NULL, i == 0);
		if (i == 0)
			assert_memory_equal(replica->blocks[0].base, g.blocks[0].base, LENGTH);
		wt_replica_close(replica);
		free(text);
		dirty(&g, 50);
	}
	free_guest(&g);
}

/* Digests are XXH3's, whatever registers they are counted with. */
static void test_digests(void **state)
{
	uint8_t page[WT_PAGE_SIZE], digest[WT_PAGE_DIGEST_BYTES];
	XXH128_canonical_t wanted;

	for (unsigned i = 0; i < 100; i++) {
		uint64_t seed = i ? seed_next() : 0;

		for (unsigned k = 0; k < WT_PAGE_SIZE; k++)
			page[k] = (uint8_t)seed_next();
		wt_page_digest(page, seed, digest);
		XXH128_canonicalFromHash(&wanted, XXH3_128bits_withSeed(page, sizeof page, seed));
		assert_memory_equal(digest, wanted.digest, sizeof digest);
		wt_bytes_digest(page, i * 41, digest);
		XXH128_canonicalFromHash(&wanted, XXH3_128bits(page, i * 41));
		assert_memory_equal(digest, wanted.digest, sizeof digest);
	}
}

/* Disks in the index, read again as they were written; and more of them than any reader takes. */
static void test_disks(void **state)
{
	struct wt_replica_disk_file files[WT_REPLICA_DISK_FILES_MAX] = { 0 };
	struct wt_replica_disk disks[WT_REPLICA_DISKS_MAX] = { 0 };
	struct wt_replica_image image = { .name = "mem0", .length = WT_PAGE_SIZE };
	struct wt_replica_checkpoint c = { .generation = 7,
		.layer_count = 1,
		.layers = { { .id = 1, .generation = 7 } },
		.state_length = 1,
		.machine = "pc",
		.version = "10.0.2",
		.disk_count = 2,
		.disks = disks };
	struct wt_replica_index index = { .vm = "web1", .count = 1, .images = &image, .checkpoint = &c };
	struct wt_replica_index *again = NULL;
	struct wt_error err = { 0 };
	char *text = NULL;

	wt_replica_file_name(WT_REPLICA_RAW, 0, 7, image.file);
	for (unsigned i = 0; i < WT_REPLICA_DISKS_MAX; i++) {
		strcpy(disks[i].device, "disk");
		snprintf(disks[i].place, sizeof disks[i].place, "/machine/peripheral/d%u", i);
		strcpy(disks[i].overlay, "/overlays/disk.qcow2");
		disks[i].files = files;
		disks[i].file_count = i + 1;
	}
	for (unsigned i = 0; i < WT_REPLICA_DISK_FILES_MAX; i++) {
		snprintf(files[i].name, sizeof files[i].name, "/images/web%u.qcow2", i);
		strcpy(files[i].format, "qcow2");
		files[i].written_ns = 1800000000123456789 - i;
	}
	assert_int_equal(wt_replica_index_render(&index, &text, &err), 0);
	assert_int_equal(wt_replica_index_parse(text, strlen(text), "x", &again, &err), 0);
	assert_int_equal(again->checkpoint->disk_count, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct wt_replica_disk *disk = &again->checkpoint->disks[i];

		assert_string_equal(disk->place, disks[i].place);
		assert_string_equal(disk->overlay, disks[i].overlay);
		assert_int_equal(disk->file_count, disks[i].file_count);
		assert_memory_equal(disk->files, files, disk->file_count * sizeof *files);
	}
	wt_replica_index_free(again);
	free(text);

	for (unsigned i = 0; i < WT_REPLICA_DISK_FILES_MAX; i++)
		memset(files[i].name, 'x', sizeof files[i].name - 1);
	c.disk_count = WT_REPLICA_DISKS_MAX;
	assert_int_equal(wt_replica_index_render(&index, &text, &err), -E2BIG);
}

struct writer {
	struct guest *guest;
	uint64_t random;
	atomic_bool stop;
};

/* Guest RAM changes under the threads that write it; at last everything that changed is announced once more.
 */
static void *scribble(void *arg)
{
	struct writer *w = arg;

	while (!atomic_load(&w->stop)) {
		uint64_t value = w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t page = (value >> 33) % PAGES;
		uint8_t *bytes = page_of(w->guest, (unsigned)(value >> 20) % BLOCKS, page);

		for (unsigned i = 0; i < WT_PAGE_SIZE; i += 512)
			memcpy(bytes + i, &value, sizeof value);
	}
	return NULL;
}

/* Races on guest RAM are the point here; the sanitizer for threads is not asked. */
#if defined(__SANITIZE_THREAD__)
#define LIVE 0
#else
#define LIVE 1
#endif

static void save_live(struct guest *g, const struct wt_checkpoint_options *o)
{
	struct wt_checkpoint_files *files = begin(g, o);
	struct wt_save *save = wt_checkpoint_save(files);
	struct writer *w = calloc(1, sizeof *w);
	struct wt_error err = { 0 };
	pthread_t thread;

	w->guest = g;
	w->random = seed_next();
	if (LIVE)
		assert_int_equal(pthread_create(&thread, NULL, scribble, w), 0);
	announce_all(g, save);
	for (unsigned i = 0; i < 300; i++)
		announce(save,
			(struct wt_extent){ .block = (uint32_t)seed_below(BLOCKS),
				.page = seed_below(PAGES - 40),
				.pages = 1 + (uint32_t)seed_below(40) },
			seed_below(4) == 0);
	atomic_store(&w->stop, true);
	if (LIVE)
		pthread_join(thread, NULL);
	announce_all(g, save);
	settle(save);
	if (finish(files, &err))
		fail_msg("%s", err.text);
	wt_checkpoint_files_close(files);
	free(w);
}

static void run_series(void)
{
	struct guest g;

	make_guest(&g);
	for (unsigned i = 0; i < 6; i++) {
		const struct wt_checkpoint_options o = {
			.directory = directory, .level = seed_below(2) ? 1 : 0, .full = seed_below(5) == 0
		};

		dirty(&g, (unsigned)seed_below(900));
		save_live(&g, &o);
		expect_guest(directory, &g);
	}
	expect_replica(directory, &g);
	free_guest(&g);
	assert_int_equal(remove_root(NULL), 0);
	assert_int_equal(mkdir(root, 0700), 0);
}

static void test_series(void **state)
{
	seed_runs(3, run_series);
}

static unsigned layers_of(const char *where)
{
	struct wt_replica *replica = NULL;
	struct wt_error err = { 0 };
	unsigned count;

	assert_int_equal(wt_replica_open(where, "web1", &replica, &err), 0);
	count = replica->index->checkpoint->layer_count;
	wt_replica_close(replica);
	return count;
}

/* Only what changed is written, and layers that are of no use any more go. */
static void test_incremental(void **state)
{
	const struct wt_checkpoint_options o = { .directory = directory };
	struct wt_save_stats stats;
	struct guest g;

	make_guest(&g);
	for (unsigned b = 0; b < BLOCKS; b++)
		for (unsigned i = 0; i < PAGES; i++)
			page_of(&g, b, i)[i % WT_PAGE_SIZE] = 1;
	save_to(&g, &o);
	for (unsigned i = 100; i < 600; i++)
		page_of(&g, 0, i)[7] = 9;
	stats = save_to(&g, &o);
	assert_int_equal(stats.written_pages, 500);
	assert_int_equal(stats.same_pages, BLOCKS * PAGES - 500);
	expect_guest(directory, &g);
	stats = save_to(&g, &o);
	assert_int_equal(stats.written_pages, 0);
	assert_int_equal(layers_of(directory), 3); /* the newest one is empty */
	dirty(&g, 10);
	save_to(&g, &o);
	assert_int_equal(layers_of(directory), 3); /* and has gone */
	assert_int_equal(count_files(directory), 3 * BLOCKS + BLOCKS + 2);
	expect_guest(directory, &g);
	free_guest(&g);
}

/* When layers take more than twice the room of one, all is written anew. */
static void test_bloated(void **state)
{
	const struct wt_checkpoint_options o = { .directory = directory };
	unsigned layers = 0;
	struct guest g;

	make_guest(&g);
	for (unsigned turn = 0; turn < 12; turn++) {
		for (unsigned i = 0; i < (turn ? PAGES / 3 : PAGES); i++)
			page_of(&g, 0, turn ? seed_below(PAGES) : i)[i % WT_PAGE_SIZE] = (uint8_t)(turn + 1);
		save_to(&g, &o);
		expect_guest(directory, &g);
		if (layers_of(directory) <= layers)
			break;
		layers = layers_of(directory);
	}
	assert_int_equal(layers_of(directory), 1);
	assert_int_equal(count_files(directory), 2 * BLOCKS + 2);
	free_guest(&g);
}

/* A writer that dies leaves nothing in a new directory that the next one does not remove. */
static void expect_temporary(struct guest *g, const struct wt_checkpoint_options *o)
{
	struct wt_checkpoint_files *files = begin(g, o);
	DIR *entries = opendir(o->directory);
	struct dirent *entry;

	assert_non_null(entries);
	while ((entry = readdir(entries)))
		if (entry->d_name[0] != '.')
			assert_non_null(strstr(entry->d_name, ".tmp"));
	closedir(entries);
	wt_checkpoint_files_close(files);
	assert_int_equal(count_files(o->directory), 0);
}

/* A page that was written, then as in the base, then zero leaves nothing behind when the base is dropped. */
static void test_to_and_fro(void **state)
{
	const struct wt_extent page = { .block = 0, .page = 5, .pages = 1 };

	for (int level = 0; level < 2; level++) {
		const struct wt_checkpoint_options o = { .directory = directory, .level = level };
		struct wt_checkpoint_files *files;
		struct wt_error err = { 0 };
		struct guest g;

		make_guest(&g);
		memset(page_of(&g, 0, 5), 1, WT_PAGE_SIZE);
		save_to(&g, &o);
		files = begin(&g, &o);
		announce_all(&g, wt_checkpoint_save(files));
		for (int value = 2; value >= 0; value--) {
			memset(page_of(&g, 0, 5), value, WT_PAGE_SIZE);
			announce(wt_checkpoint_save(files), page, !value);
			settle(wt_checkpoint_save(files));
		}
		assert_int_equal(finish(files, &err), 0);
		wt_checkpoint_files_close(files);
		assert_int_equal(layers_of(directory), 1);
		expect_guest(directory, &g);
		expect_replica(directory, &g);
		assert_int_equal(load_from(directory, NULL, &err), 0);
		free_guest(&g);
	}
}

/* On top of a checkpoint in another directory, which stays as it is; also when it goes. */
static void test_base(void **state)
{
	const struct wt_checkpoint_options first = { .directory = directory },
					   second = { .directory = other, .base = directory };
	struct wt_save_stats stats;
	struct guest g, before;
	char removed[128];

	make_guest(&g);
	make_guest(&before);
	for (unsigned i = 0; i < PAGES; i++)
		page_of(&g, 1, i)[i % WT_PAGE_SIZE] = page_of(&before, 1, i)[i % WT_PAGE_SIZE] = 3;
	save_to(&g, &first);
	page_of(&g, 1, 4)[0] = 77;
	expect_temporary(&g, &second);
	stats = save_to(&g, &second);
	assert_int_equal(stats.written_pages, 1);
	expect_guest(directory, &before);
	expect_guest(other, &g);
	page_of(&g, 1, 5)[0] = 78;
	save_to(&g, &(struct wt_checkpoint_options){ .directory = other });
	expect_guest(directory, &before);
	snprintf(removed, sizeof removed, "rm -r %s", directory);
	assert_int_equal(system(removed), 0);
	expect_guest(other, &g);
	free_guest(&g);
	free_guest(&before);
}

/* A disk that is full: one sentence, and the checkpoint before is as it was. */
static void full(bool frames)
{
	struct rlimit before, small;
	struct wt_checkpoint_options o = { .directory = directory, .level = frames };
	struct wt_checkpoint_files *files;
	struct wt_error err = { 0 };
	struct guest g, old;
	unsigned files_before;

	make_guest(&g);
	make_guest(&old);
	page_of(&g, 0, 9)[0] = page_of(&old, 0, 9)[0] = 1;
	save_to(&g, &o);
	files_before = count_files(directory);
	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned k = 0; k < WT_PAGE_SIZE; k++)
			page_of(&g, 0, i)[k] = (uint8_t)(i * 31 + k * k * 7 + (k >> 4));
	signal(SIGXFSZ, SIG_IGN);
	files = begin(&g, &o);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){ .rlim_cur = frames ? 100 : LENGTH / 2, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	announce_all(&g, wt_checkpoint_save(files));
	settle(wt_checkpoint_save(files));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(wt_save_status(wt_checkpoint_save(files), &err), -EFBIG);
	assert_non_null(strstr(err.text, "mem0"));
	assert_int_equal(finish(files, &err), -EFBIG);
	wt_checkpoint_files_close(files);
	assert_int_equal(count_files(directory), files_before);
	expect_guest(directory, &old);
	free_guest(&g);
	free_guest(&old);
}

static void test_full(void **state)
{
	full(false);
	assert_int_equal(remove_root(NULL), 0);
	assert_int_equal(mkdir(root, 0700), 0);
	full(true);
}

/* A device state that the disk does not take is known at once; what is passed while the guest is stopped
 * waits for no disk. */
static void test_full_state(void **state)
{
	const struct wt_checkpoint_options o = { .directory = directory };
	struct rlimit before, small = { .rlim_cur = 10 };
	struct wt_checkpoint_files *files;
	struct wt_error err = { 0 };
	struct guest g;

	make_guest(&g);
	signal(SIGXFSZ, SIG_IGN);
	for (unsigned hold = 0; hold < 2; hold++) {
		files = begin(&g, &o);
		assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
		small.rlim_max = before.rlim_max;
		if (hold)
			wt_checkpoint_hold(files);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		wt_checkpoint_pass(files, device_state, sizeof device_state);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		assert_int_equal(wt_checkpoint_state_status(files, &err), hold ? 0 : -EFBIG);
		assert_int_equal(wt_checkpoint_state_bytes(files), hold ? sizeof device_state : 10);
		wt_checkpoint_files_close(files);
	}
	free_guest(&g);
}

/* Another layout, or a replica without device state: all is written. */
static void test_other_layout(void **state)
{
	const struct wt_checkpoint_options o = { .directory = directory };
	struct wt_checkpoint_files *files;
	struct guest g;

	make_guest(&g);
	page_of(&g, 0, 0)[0] = 1;
	save_to(&g, &o);
	files = begin(&g, &o);
	assert_true(wt_checkpoint_has_base(files));
	wt_checkpoint_files_close(files);
	strcpy(g.blocks[1].name, "else");
	files = begin(&g, &o);
	assert_false(wt_checkpoint_has_base(files));
	wt_checkpoint_files_close(files);
	free_guest(&g);
}

/* ---- damage ---- */

/* A bit anywhere in a file, to be flipped back. */
static void flip(const char *path, uint64_t bit)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
	byte ^= (uint8_t)(1 << bit % 8);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
	close(fd);
}

static void flip_in(const char *file)
{
	char path[PATH_MAX];
	struct wt_error err = { 0 };
	struct stat st;
	uint64_t bit;

	snprintf(path, sizeof path, "%s/%s", directory, file);
	assert_int_equal(stat(path, &st), 0);
	bit = seed_below((uint64_t)st.st_size * 8);
	flip(path, bit);
	if (load_from(directory, NULL, &err) == 0)
		fail_msg("bit %llu of %s was not missed", (unsigned long long)bit, file);
	assert_int_not_equal(err.text[0], 0);
	flip(path, bit);
}

/* What was a hole has a block of zeros now, as after a copy that knows no holes: that is right, too. */
static void test_flips(void **state)
{
	for (unsigned frames = 0; frames < 2; frames++) {
		const struct wt_checkpoint_options o = {
			.directory = directory, .level = (int)frames, .full = true
		};
		struct wt_error err = { 0 };
		struct dirent *entry;
		struct guest g;
		DIR *entries;

		make_guest(&g);
		dirty(&g, 800);
		save_to(&g, &o);
		entries = opendir(directory);
		assert_non_null(entries);
		while ((entry = readdir(entries)))
			for (unsigned i = 0; entry->d_name[0] != '.' && i < 12; i++)
				flip_in(entry->d_name);
		closedir(entries);
		assert_int_equal(load_from(directory, NULL, &err), 0);
		expect_guest(directory, &g);
		free_guest(&g);
	}
}

/* The page is named. */
static void test_named(void **state)
{
	const struct wt_checkpoint_options o = { .directory = directory };
	struct wt_replica *replica = NULL;
	struct wt_error err = { 0 };
	char path[PATH_MAX];
	struct guest g;

	make_guest(&g);
	page_of(&g, 1, 1234)[0] = 1;
	save_to(&g, &o);
	assert_int_equal(wt_replica_open(directory, "web1", &replica, &err), 0);
	snprintf(path, sizeof path, "%s/%s", directory, replica->index->images[1].file);
	wt_replica_close(replica);
	flip(path, (1234ull * WT_PAGE_SIZE + 99) * 8);
	assert_int_equal(load_from(directory, NULL, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "page 1234 of block mem1"));
	free_guest(&g);
}

/* Memory that another process has mapped, too, is known, and by whom. */
static void test_users(void **state)
{
	struct wt_error err = { 0 };
	struct guest g;
	char byte, text[32];
	int ends[2];
	pid_t child;

	make_guest(&g);
	assert_int_equal(wt_ram_users_check(&g.ram, &err), 0);
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (!child) {
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) != 0);
	}
	assert_true(child > 0);
	snprintf(text, sizeof text, "process %d ", (int)child);
	assert_int_equal(wt_ram_users_check(&g.ram, &err), -EBUSY);
	assert_non_null(strstr(err.text, text));
	for (unsigned i = 0; i < BLOCKS; i++)
		g.blocks[i].pid = child; /* it is the QEMU itself */
	assert_int_equal(wt_ram_users_check(&g.ram, &err), 0);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	free_guest(&g);
}

static void test_frame(void **state)
{
	static uint8_t pages[WT_FRAME_PAGES * WT_PAGE_SIZE], again[sizeof pages];
	size_t bound = wt_frame_bound();
	uint8_t *frame = malloc(bound), *scratch = malloc(bound);
	int fd = memfd_create("frames", MFD_CLOEXEC), n;
	uint64_t first;
	uint32_t count;

	for (size_t i = 0; i < sizeof pages; i++)
		pages[i] = (uint8_t)seed_next();
	n = wt_frame_write(77, WT_FRAME_PAGES, pages, 1, frame, bound);
	assert_true(n > (int)sizeof pages && n <= (int)bound);
	assert_int_equal(pwrite(fd, frame, (size_t)n, 5), n);
	assert_int_equal(wt_frame_read(fd, 5, scratch, &first, &count, again), 0);
	assert_int_equal(first, 77);
	assert_int_equal(count, WT_FRAME_PAGES);
	assert_memory_equal(pages, again, sizeof pages);
	assert_int_equal(wt_frame_read(fd, 6, scratch, &first, &count, again), -EBADMSG);
	assert_int_equal(wt_frame_read(fd, 1ull << 40, scratch, &first, &count, again), -ENODATA);
	assert_int_equal(ftruncate(fd, n), 0);
	assert_int_equal(wt_frame_read(fd, 5, scratch, &first, &count, again), -ENODATA);
	assert_int_equal(wt_frame_write(0, WT_FRAME_PAGES + 1, pages, 1, frame, bound), -EINVAL);
	close(fd);
	free(frame);
	free(scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_users),
		cmocka_unit_test_setup_teardown(test_whole, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_requires, make_root, remove_root),
		cmocka_unit_test(test_disks),
		cmocka_unit_test(test_digests),
		cmocka_unit_test_setup_teardown(test_series, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_incremental, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_bloated, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_base, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_to_and_fro, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_full, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_full_state, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_other_layout, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_flips, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_named, make_root, remove_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
