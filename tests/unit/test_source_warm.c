/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_source_warm.c - the walk of a warm-up: what is there and not zero is announced once, holes stay holes,
 * whatever room there is. The page server and the sequence of devices are played.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay_peer.h"
#include "seed.h"
#include "source_internal.h"

#define BLOCKS 3
#define PAGES 24000u /* of the first block; more than one turn looks at */

static struct {
	struct wt_source source;
	struct wt_source_options options;
	struct wt_ram_block blocks[BLOCKS];
	const struct wt_ram_block *served[BLOCKS + 1];
	uint8_t announced[BLOCKS][PAGES];
	struct wt_server_stats stats;
	const char *leaving[2];
	unsigned room; /* pages that are taken; 0: no bound */
	unsigned notes, done, flushed;
	int status; /* of the step */
	bool warm, no_digests, landed;
	uint64_t rate_limit;
	int refuse; /* the server's answer to an announcement */
} t;

/* ---- what is played ---- */

int wt_server_warm(struct wt_server *server, bool on)
{
	if (!on && !t.landed)
		return -EAGAIN;
	t.warm = on;
	return 0;
}

void wt_server_no_digests(struct wt_server *server)
{
	t.no_digests = true;
}

int wt_server_announce(struct wt_server *server, struct wt_extent *extent, enum wt_content content)
{
	assert_true(t.warm);
	assert_int_equal(content, WT_CONTENT_IN_PLACE);
	if (t.refuse)
		return t.refuse;
	for (; extent->pages; extent->page++, extent->pages--) {
		if (t.room == 1)
			return -EAGAIN;
		t.room -= t.room > 1;
		assert_int_equal(t.announced[extent->block][extent->page]++, 0);
	}
	return 0;
}

void wt_server_flush(struct wt_server *server)
{
	t.flushed++;
}

void wt_server_rate_limit(struct wt_server *server, uint64_t bytes_per_s)
{
	t.rate_limit = bytes_per_s;
}

void wt_server_stats(const struct wt_server *server, struct wt_server_stats *ret_stats)
{
	*ret_stats = t.stats;
}

void wt_relay_told_note(struct wt_relay *relay, const char *text)
{
	t.notes++;
}

const char *const *wt_passthrough_leaving(const struct wt_passthrough *passthrough)
{
	return t.leaving;
}

bool wt_passthrough_done(
	struct wt_passthrough *passthrough, enum wt_device_step_kind kind, const struct wt_error *err)
{
	assert_int_equal(kind, WT_DEVICE_STEP_WARM);
	t.done++;
	t.status = err ? -err->code : 0;
	return true;
}

/* ---- the guest's memory ---- */

static struct wt_ram_block block_of(unsigned pages, uint64_t fd_offset)
{
	struct wt_ram_block block = { .length = (uint64_t)pages << WT_PAGE_SHIFT, .fd_offset = fd_offset };

	block.fd = memfd_create("ram", MFD_CLOEXEC);
	assert_return_code(ftruncate(block.fd, (off_t)(fd_offset + block.length)), errno);
	block.base = mmap(NULL, block.length, PROT_READ | PROT_WRITE, MAP_SHARED, block.fd, (off_t)fd_offset);
	assert_ptr_not_equal(block.base, MAP_FAILED);
	return block;
}

static uint8_t *at(unsigned block, uint64_t page)
{
	return (uint8_t *)t.blocks[block].base + (page << WT_PAGE_SHIFT);
}

static void begin(void)
{
	memset(&t, 0, sizeof t);
	t.landed = true;
	t.leaving[0] = "ib0";
	t.stats.digests = true;
	t.options.max_rate = 1000;
	t.source.options = &t.options;
	t.source.machine.state = WT_SOURCE_CONNECTING;
	t.source.served = t.served;
	t.blocks[0] = block_of(PAGES, 0);
	t.blocks[1] = (struct wt_ram_block){ .length = 8 << WT_PAGE_SHIFT, .fd = -1 }; /* private to QEMU */
	t.blocks[2] = block_of(300, 64 << WT_PAGE_SHIFT);
	for (unsigned i = 0; i < BLOCKS; i++)
		t.served[i] = &t.blocks[i];
	assert_int_equal(wt_loop_open(&t.source.relay.loop), 0);
}

static void end(void)
{
	wt_loop_timer_clear(t.source.relay.loop, &t.source.warm.timer);
	wt_loop_close(t.source.relay.loop);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (t.blocks[i].base) {
			munmap(t.blocks[i].base, t.blocks[i].length);
			close(t.blocks[i].fd);
		}
}

static uint64_t allocated(unsigned block)
{
	struct stat st;

	assert_return_code(fstat(t.blocks[block].fd, &st), errno);
	return (uint64_t)st.st_blocks;
}

/* Runs of holes, zeros and content; one byte of a page that has any. */
static void fill(unsigned block)
{
	uint64_t pages = t.blocks[block].length >> WT_PAGE_SHIFT;

	for (uint64_t page = 0, run; page < pages; page += run) {
		uint64_t what = seed_below(3);

		run = 1 + seed_below(seed_below(3) ? 6 : 6000);
		for (uint64_t i = page; i < page + run && i < pages && what; i++)
			at(block, i)[seed_below(WT_PAGE_SIZE)] = what == 1;
	}
}

static bool should_come(unsigned block, uint64_t page)
{
	static const uint8_t zero[WT_PAGE_SIZE];

	return t.blocks[block].base && memcmp(at(block, page), zero, WT_PAGE_SIZE) != 0;
}

static void check_announced(void)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		for (uint64_t page = 0; page < t.blocks[b].length >> WT_PAGE_SHIFT; page++)
			assert_int_equal(t.announced[b][page], should_come(b, page));
}

static void random_walk(void)
{
	uint64_t before[2];

	begin();
	fill(0);
	fill(2);
	before[0] = allocated(0);
	before[1] = allocated(2);
	t.room = (unsigned)seed_below(2) ? 2 + (unsigned)seed_below(4000) : 0;
	wt_source_warm_begin(&t.source);
	while (!t.done) {
		assert_true(t.source.warm.on);
		assert_int_equal(t.rate_limit, 1000);
		t.room = t.room ? 2 + (unsigned)seed_below(4000) : 0;
		wt_source_warm_more(&t.source);
	}
	assert_int_equal(before[0], allocated(0));
	assert_int_equal(before[1], allocated(2));
	check_announced();
	assert_true(t.done == 1 && t.status == 0 && !t.warm && !t.no_digests && t.flushed && !t.notes);
	assert_int_equal(t.rate_limit, 0);
	end();
}

static void test_what_is_there_comes_once(void **state)
{
	seed_runs(20, random_walk);
}

/* The step is done when all has landed, not before. */
static void test_waits_for_landing(void **state)
{
	begin();
	at(0, 0)[0] = 1;
	t.landed = false;
	wt_source_warm_begin(&t.source);
	for (unsigned i = 0; i < 10; i++)
		wt_source_warm_more(&t.source);
	assert_int_equal(t.done, 0);
	t.landed = true;
	wt_source_warm_more(&t.source);
	wt_source_warm_more(&t.source);
	assert_int_equal(t.done, 1);
	assert_true(t.source.warm.end_ns >= t.source.warm.begin_ns);
	end();
}

static void test_given_up(void **state)
{
	begin();
	t.landed = false;
	wt_source_warm_begin(&t.source);
	t.source.machine.state = WT_SOURCE_ABORTED;
	t.landed = true;
	wt_source_warm_more(&t.source);
	assert_int_equal(t.done, 0);
	end();
	begin();
	at(0, 0)[0] = 1;
	t.refuse = -EINVAL;
	wt_source_warm_begin(&t.source);
	assert_int_equal(t.done, 1);
	assert_int_equal(t.status, -EINVAL);
	end();
}

/* Why there is none; what is not worth digests is not digested. */
static void test_none(void **state)
{
	for (unsigned why = 0; why < 6; why++) {
		begin();
		at(0, 0)[0] = 1;
		t.options.no_warm_up = why == 0;
		t.stats.digests = why != 1;
		t.source.warm.replica = why == 2;
		t.source.facts.gives_up = why == 3;
		t.source.facts.may_discard = why == 4;
		t.stats.fabric = WT_FABRIC_VERBS;
		if (why == 5)
			t.leaving[0] = NULL;
		wt_source_warm_begin(&t.source);
		assert_true(t.done == 1 && t.status == 0 && !t.warm && !t.announced[0][0]);
		assert_int_equal(t.no_digests, why != 2);
		assert_int_equal(t.notes, why >= 2 && why <= 4);
		end();
	}
	/* Nobody needs the device, but hooks have let go: the guest lacks something. */
	begin();
	t.leaving[0] = NULL;
	t.options.common.agent = "agent";
	at(0, 0)[0] = 1;
	wt_source_warm_begin(&t.source);
	check_announced();
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_there_comes_once),
		cmocka_unit_test(test_waits_for_landing),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
