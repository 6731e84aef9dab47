/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_several_servers.c - one puller with several servers over loopback tcp, and a puller that is left for
 * another one, which then pulls from both. Everything lives in one loop.
 *
 * The library's choice of fabrics is replaced (wt_fabric_ops below): tcp, whose paths can be made to stall.
 *
 * S is the source. Each host that pulls is a `struct host`; it can become a helper of another one, as a
 * destination does that was left.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <watari/puller.h>
#include <watari/server.h>

#include "path_fabrics.h"

#define MIB (1ull << 20)
#define SECOND_NS 1000000000ull
#define DEADLINE_NS (40 * SECOND_NS)
#define BLOCKS 2
#define HOSTS 4

static const uint64_t lengths[BLOCKS] = { 96 * MIB, 3 * MIB };
static const char *const names[BLOCKS] = { "pc.ram", "vram" };

struct memory {
	uint8_t *base[BLOCKS];
	int fd[BLOCKS];
};

struct host {
	unsigned number; /* of this host in the test */
	struct memory memory;
	struct wt_puller *puller;
	uint16_t port;
	struct wt_server *server; /* S's, to this host */

	/* It serves somebody else. */
	struct wt_memory *served;
	struct wt_server *helper;
	char name[20];
	uint8_t session_id[WT_SERVER_SESSION_ID_BYTES];

	/* What was heard, by S of this host and by this host. */
	unsigned ready, base_sent, server_drained, joined, s_failed;
	uint64_t base_left;
	unsigned expected_port;
	unsigned helper_joined, helper_lost, drained, restarted, undrained, released, serve_ends, refused,
		failed;
	unsigned helper_failed;
	struct wt_error lost_error, refused_error, failed_error;
	enum wt_helper_state told_state;
};

static struct {
	struct wt_loop *loop;
	struct memory source;
	struct wt_memory *memory;
	struct host hosts[HOSTS];
	bool (*until)(void);
	struct wt_busy busy;
	struct wt_timer deadline;
	uint64_t version;
} t;

/* ---- a fabric that stalls ---- */

#define STALLING_MAX 8

static struct wt_fabric_ops tcp;
static struct {
	bool mark; /* what is admitted now will stall */
	struct wt_path *paths[STALLING_MAX];
	unsigned count, completions, closed;
} stalling;

const struct wt_fabric_ops *wt_fabric_ops(enum wt_fabric fabric)
{
	return fabric == WT_FABRIC_TCP ? &tcp : NULL;
}

const char *wt_fabric_name(enum wt_fabric fabric)
{
	return "tcp";
}

static int admit_marked(struct wt_request *request, struct wt_endpoint *endpoint, enum wt_role role,
	struct wt_path **ret_path, struct wt_error *err)
{
	int r = wt_path_tcp_ops.request_admit(request, endpoint, role, ret_path, err);

	if (!r && stalling.mark && stalling.count < STALLING_MAX)
		stalling.paths[stalling.count++] = *ret_path;
	return r;
}

static bool stalls(const struct wt_path *path)
{
	for (unsigned i = 0; i < stalling.count; i++)
		if (stalling.paths[i] == path)
			return true;
	return false;
}

/* A few completions, and then nothing more, though the path lives. */
static int poll_stalling(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	int r;

	if (!stalls(path))
		return wt_path_tcp_ops.poll(path, ret_completions, max);
	if (stalling.completions >= 16)
		return 0;
	r = wt_path_tcp_ops.poll(path, ret_completions, max);
	if (r > 0)
		stalling.completions += (unsigned)r;
	return r;
}

static void close_stalling(struct wt_path *path)
{
	for (unsigned i = 0; i < stalling.count; i++)
		if (stalling.paths[i] == path) {
			stalling.paths[i] = stalling.paths[--stalling.count];
			stalling.closed++;
		}
	wt_path_tcp_ops.close(path);
}

/* ---- waiting ---- */

static bool on_busy(void *arg, uint64_t now_ns)
{
	if (t.until && t.until())
		wt_loop_stop(t.loop, 1);
	return false;
}

static void on_deadline(void *arg, uint64_t now_ns)
{
	wt_loop_stop(t.loop, 0);
}

static void until(bool (*condition)(void))
{
	int r;

	t.until = condition;
	wt_loop_timer_set(t.loop, &t.deadline, wt_loop_now_ns(t.loop) + DEADLINE_NS, on_deadline, NULL);
	r = wt_loop_run(t.loop);
	wt_loop_timer_clear(t.loop, &t.deadline);
	t.until = NULL;
	for (unsigned i = 0; i < HOSTS; i++)
		if (t.hosts[i].failed || t.hosts[i].s_failed)
			print_message("host %u failed: %s\n", i, wt_error_text(&t.hosts[i].failed_error));
	assert_int_equal(r, 1);
}

/* ---- a host ---- */

static struct memory memory_new(void)
{
	struct memory memory;

	for (unsigned i = 0; i < BLOCKS; i++) {
		memory.fd[i] = memfd_create("block", MFD_CLOEXEC);
		assert_true(memory.fd[i] >= 0 && ftruncate(memory.fd[i], (off_t)lengths[i]) == 0);
		memory.base[i] = mmap(NULL, lengths[i], PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd[i], 0);
		assert_true(memory.base[i] != MAP_FAILED);
	}
	return memory;
}

static void memory_free(struct memory *memory)
{
	for (unsigned i = 0; i < BLOCKS && memory->base[i]; i++) {
		munmap(memory->base[i], lengths[i]);
		close(memory->fd[i]);
	}
}

static int on_block(
	void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block, struct wt_error *err)
{
	struct host *host = arg;

	for (unsigned i = 0; i < BLOCKS; i++)
		if (!strcmp(name, names[i]) && length == lengths[i]) {
			*ret_block = (struct wt_puller_block){ .base = host->memory.base[i],
				.fd = host->memory.fd[i] };
			return 0;
		}
	return wt_error_set(err, EINVAL, "no such block");
}

static void on_failed(void *arg, const struct wt_error *err)
{
	struct host *host = arg;

	host->failed++;
	host->failed_error = *err;
}

static void on_refused(void *arg, const struct wt_error *err)
{
	struct host *host = arg;

	host->refused++;
	host->refused_error = *err;
}

static void on_helper_joined(void *arg, unsigned number, const char *label)
{
	((struct host *)arg)->helper_joined++;
}

static void on_helper_lost(void *arg, unsigned number, const char *label, const struct wt_error *err)
{
	struct host *host = arg;

	host->helper_lost++;
	host->lost_error = *err;
}

static void on_drained(void *arg)
{
	((struct host *)arg)->drained++;
}

static void on_undrained(void *arg)
{
	((struct host *)arg)->undrained++;
}

static void on_restarted(void *arg)
{
	((struct host *)arg)->restarted++;
}

static void on_serve_end(void *arg, unsigned number)
{
	struct host *host = arg;

	host->serve_ends++;
	wt_server_close(host->helper);
	host->helper = NULL;
}

static void on_release(void *arg)
{
	((struct host *)arg)->released++;
}

static void on_helper_failed(void *arg, const struct wt_error *err)
{
	((struct host *)arg)->helper_failed++;
}

static void on_helper_ready(void *arg)
{
}

static const struct wt_server_events helper_events = { .ready = on_helper_ready, .failed = on_helper_failed };

static struct wt_memory *memory_served(const struct memory *memory, unsigned blocks)
{
	struct wt_memory *served;
	struct wt_error err = { 0 };

	assert_int_equal(wt_memory_open(&served, &err), 0);
	for (unsigned i = 0; i < blocks; i++)
		assert_true(wt_memory_block_add(served, names[i], memory->base[i], lengths[i], memory->fd[i],
				    0, &err) >= 0);
	return served;
}

/* This host serves what it has to the puller at that port. */
static void serve(struct host *host, uint16_t port, const uint8_t *session_id, bool passive)
{
	struct wt_server_config config = { .peer = { .host = "127.0.0.1", .port = port },
		.name = "vm",
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.paths = 2,
		.passive = passive,
		.session_id = host->session_id,
		.connect_timeout_ns = SECOND_NS,
		.give_up_ns = SECOND_NS };
	struct wt_error err = { 0 };

	if (!host->served)
		host->served = memory_served(&host->memory, BLOCKS);
	memcpy(host->session_id, session_id, sizeof host->session_id);
	config.memory = host->served;
	assert_int_equal(wt_server_open(t.loop, &config, &helper_events, host, &host->helper, &err), 0);
	assert_int_equal(wt_server_start(host->helper, &err), 0);
}

static void on_serve(void *arg, const struct wt_server_order *order)
{
	serve(arg, order->port, order->session_id, true);
}

static const struct wt_puller_events puller_events = { .block = on_block,
	.failed = on_failed,
	.refused = on_refused,
	.helper_joined = on_helper_joined,
	.helper_lost = on_helper_lost,
	.drained = on_drained,
	.undrained = on_undrained,
	.restarted = on_restarted,
	.serve = on_serve,
	.serve_end = on_serve_end,
	.release = on_release };

/* ---- S, towards a host ---- */

static void s_ready(void *arg)
{
	((struct host *)arg)->ready++;
}

static void s_failed(void *arg, const struct wt_error *err)
{
	struct host *host = arg;

	host->s_failed++;
	host->failed_error = *err;
}

static void s_drained(void *arg)
{
	((struct host *)arg)->server_drained++;
}

static void s_base_sent(void *arg)
{
	((struct host *)arg)->base_sent++;
}

static void s_base_left(void *arg, uint64_t pages)
{
	((struct host *)arg)->base_left = pages;
}

static void s_expected(void *arg, unsigned number, uint16_t port)
{
	((struct host *)arg)->expected_port = port;
}

static void s_helper(void *arg, unsigned number, enum wt_helper_state state, const char *text)
{
	struct host *host = arg;

	host->told_state = state;
	host->joined += state == WT_HELPER_JOINED;
}

static const struct wt_server_events server_events = { .ready = s_ready,
	.failed = s_failed,
	.drained = s_drained,
	.base_sent = s_base_sent,
	.base_left = s_base_left,
	.expected = s_expected,
	.helper = s_helper };

static struct host *host_open(unsigned number)
{
	struct wt_puller_config config = { .listen = { .host = "127.0.0.1" },
		.name = "vm",
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.give_up_ns = SECOND_NS };
	struct host *host = &t.hosts[number];
	struct wt_error err = { 0 };

	host->number = number;
	host->memory = memory_new();
	host->base_left = UINT64_MAX;
	assert_int_equal(
		wt_puller_open(t.loop, &config, &puller_events, host, &host->puller, &host->port, &err), 0);
	return host;
}

static void source_serves(struct host *host)
{
	struct wt_server_config config = { .memory = t.memory,
		.peer = { .host = "127.0.0.1", .port = host->port },
		.name = "vm",
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.paths = 2,
		.connect_timeout_ns = SECOND_NS,
		.give_up_ns = SECOND_NS };
	struct wt_error err = { 0 };

	assert_int_equal(wt_server_open(t.loop, &config, &server_events, host, &host->server, &err), 0);
	assert_int_equal(wt_server_start(host->server, &err), 0);
}

/* Races with the servers' reads, as a guest does; what is torn is announced again. */
__attribute__((no_sanitize_thread)) static void fill_pages(
	unsigned block, uint64_t page, uint32_t pages, bool zero)
{
	uint64_t *at = (uint64_t *)(t.source.base[block] + page * WT_PAGE_SIZE);

	t.version++;
	for (uint64_t i = 0; i < pages * (uint64_t)WT_PAGE_SIZE / 8; i++)
		at[i] = zero ? 0 : t.version << 32 | i;
}

static void write_pages(unsigned block, uint64_t page, uint32_t pages)
{
	fill_pages(block, page, pages, false);
}

static void begin(void)
{
	memset(&t, 0, sizeof t);
	memset(&stalling, 0, sizeof stalling);
	tcp = wt_path_tcp_ops;
	tcp.request_admit = admit_marked;
	tcp.poll = poll_stalling;
	tcp.close = close_stalling;
	assert_int_equal(wt_loop_open(&t.loop), 0);
	wt_loop_busy_set(t.loop, &t.busy, on_busy, NULL);
	t.source = memory_new();
	t.memory = memory_served(&t.source, BLOCKS);
	for (unsigned b = 0; b < BLOCKS; b++)
		write_pages(b, 0, (uint32_t)(lengths[b] / WT_PAGE_SIZE));
}

static void finish(void)
{
	for (unsigned i = 0; i < HOSTS; i++) {
		struct host *host = &t.hosts[i];

		wt_server_close(host->helper);
		wt_server_close(host->server);
		wt_puller_close(host->puller);
	}
	wt_memory_close(t.memory);
	for (unsigned i = 0; i < HOSTS; i++) {
		wt_memory_close(t.hosts[i].served);
		memory_free(&t.hosts[i].memory);
	}
	memory_free(&t.source);
	wt_loop_busy_clear(t.loop, &t.busy);
	wt_loop_close(t.loop);
	t.loop = NULL;
}

static void check_equal(const struct host *host)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		for (uint64_t at = 0; at < lengths[b]; at += WT_PAGE_SIZE)
			if (memcmp(host->memory.base[b] + at, t.source.base[b] + at, WT_PAGE_SIZE))
				fail_msg("block %u: page %llu is wrong", b,
					(unsigned long long)(at / WT_PAGE_SIZE));
}

static void copy_of_source(struct host *host)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		memcpy(host->memory.base[b], t.source.base[b], lengths[b]);
}

/* ---- one puller, several servers; the application says who has what ---- */

static const uint8_t ids[3][WT_SERVER_SESSION_ID_BYTES] = { "", "helper one.....", "helper two....." };

static void base_of_two_helpers(struct host *host)
{
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct wt_extent all = { .block = b, .pages = (uint32_t)(lengths[b] / WT_PAGE_SIZE) };
		struct wt_extent half = { .block = b, .pages = all.pages / 2 };

		assert_int_equal(wt_puller_need(host->puller, &all, NULL), 0);
		assert_int_equal(wt_puller_has(host->puller, 1, &all, NULL), 0);
		assert_int_equal(wt_puller_has(host->puller, 2, &half, NULL), 0);
	}
	wt_puller_rate_limit(host->puller, WT_PULLER_ALL, 150 * MIB);
	assert_int_equal(wt_puller_base_end(host->puller, WT_BASE_FASTEST), 0);
}

static bool first_ready(void)
{
	return t.hosts[0].ready || t.hosts[0].s_failed;
}

static bool first_has_two_helpers(void)
{
	return t.hosts[0].helper_joined == 2;
}

static bool first_landed(void)
{
	return wt_puller_all_landed(t.hosts[0].puller) || t.hosts[0].failed;
}

static bool first_lost_one(void)
{
	return t.hosts[0].helper_lost > 0;
}

static bool first_refused(void)
{
	return t.hosts[0].refused > 0;
}

static bool first_is_half(void)
{
	return wt_puller_base_left(t.hosts[0].puller) < lengths[0] / WT_PAGE_SIZE / 2;
}

static void open_three(void)
{
	struct host *host;

	begin();
	host = host_open(0);
	source_serves(host);
	until(first_ready);
	for (unsigned i = 1; i < 3; i++) {
		t.hosts[i].memory = memory_new();
		copy_of_source(&t.hosts[i]);
		assert_int_equal(wt_puller_expect(host->puller, i, ids[i], "helper"), 0);
		serve(&t.hosts[i], host->port, ids[i], true);
	}
	until(first_has_two_helpers);
	base_of_two_helpers(host);
}

static void test_three_servers(void **state)
{
	struct wt_puller_stats stats;

	open_three();
	/* Announcements go on meanwhile, and supersede the base. */
	for (unsigned i = 0; i < 100; i++) {
		struct wt_extent e = { .page = i * 200, .pages = 7 };

		write_pages(0, e.page, e.pages);
		assert_int_equal(wt_server_announce(t.hosts[0].server, &e, WT_CONTENT_IN_PLACE), 0);
	}
	wt_server_flush(t.hosts[0].server);
	until(first_landed);
	check_equal(&t.hosts[0]);
	wt_puller_stats(t.hosts[0].puller, &stats);
	for (unsigned i = 0; i < 3; i++)
		assert_true(stats.server_bytes[i] > 4 * MIB);
	assert_true(!t.hosts[0].helper_lost && !t.hosts[0].refused);
	finish();
}

/* One helper dies half-way: what it had and had not sent comes from others. */
static void test_a_helper_dies(void **state)
{
	open_three();
	until(first_is_half);
	wt_server_close(t.hosts[1].helper);
	t.hosts[1].helper = NULL;
	memset(t.hosts[1].memory.base[0], 0xee, lengths[0]);
	until(first_landed);
	check_equal(&t.hosts[0]);
	until(first_lost_one);
	assert_int_equal(t.hosts[0].helper_lost, 1);
	assert_int_equal(t.hosts[0].failed, 0);
	/* Its number is free again. */
	assert_int_equal(wt_puller_expect(t.hosts[0].puller, 1, ids[1], "again"), 0);
	assert_int_equal(wt_puller_expect(t.hosts[0].puller, 2, ids[2], "again"), -EEXIST);
	assert_int_equal(wt_puller_expect(t.hosts[0].puller, 0, ids[2], "no"), -EINVAL);
	assert_int_equal(wt_puller_expect(t.hosts[0].puller, 8, ids[2], "no"), -EINVAL);
	finish();
}

static bool first_has_paths(void)
{
	struct wt_puller_stats stats;

	wt_puller_stats(t.hosts[0].puller, &stats);
	return stats.paths >= 2 + stalling.mark * 2u;
}

/* The helper's paths stall: they are closed, opened anew, and what they had under way comes all the same. */
static void test_a_helper_stalls(void **state)
{
	struct wt_puller_stats stats;
	struct host *host;

	begin();
	host = host_open(0);
	source_serves(host);
	until(first_ready);
	until(first_has_paths);
	stalling.mark = true;
	t.hosts[1].memory = memory_new();
	copy_of_source(&t.hosts[1]);
	assert_int_equal(wt_puller_expect(host->puller, 1, ids[1], "helper"), 0);
	serve(&t.hosts[1], host->port, ids[1], true);
	until(first_has_paths);
	stalling.mark = false;
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct wt_extent all = { .block = b, .pages = (uint32_t)(lengths[b] / WT_PAGE_SIZE) };

		assert_int_equal(wt_puller_need(host->puller, &all, NULL), 0);
		assert_int_equal(wt_puller_has(host->puller, 1, &all, NULL), 0);
	}
	wt_puller_rate_limit(host->puller, WT_PULLER_ALL, 50 * MIB);
	assert_int_equal(wt_puller_base_end(host->puller, WT_BASE_FASTEST), 0);
	until(first_landed);
	check_equal(host);
	wt_puller_stats(host->puller, &stats);
	assert_true(stalling.closed > 0);
	assert_true(stats.repeated_pages > 0);
	assert_true(!host->helper_lost && !host->failed);
	finish();
}

/* A helper that is not what it should be goes alone. */
static void test_bad_helpers(void **state)
{
	struct host *host, *bad;

	begin();
	host = host_open(0);
	bad = &t.hosts[1];
	bad->memory = memory_new();
	/* Before the source. */
	assert_int_equal(wt_puller_expect(host->puller, 1, ids[1], "early"), 0);
	serve(bad, host->port, ids[1], true);
	until(first_refused);
	assert_non_null(strstr(host->refused_error.text, "the source is not here yet"));
	wt_server_close(bad->helper);
	source_serves(host);
	until(first_ready);

	/* Not expected. */
	host->refused = 0;
	serve(bad, host->port, ids[2], true);
	until(first_refused);
	assert_non_null(strstr(host->refused_error.text, "from another source already"));
	wt_server_close(bad->helper);

	/* Other blocks. */
	bad->helper = NULL;
	wt_memory_close(bad->served);
	bad->served = memory_served(&bad->memory, 1);
	serve(bad, host->port, ids[1], true);
	until(first_lost_one);
	if (!strstr(host->lost_error.text, "another guest's memory"))
		fail_msg("said: %s", host->lost_error.text);
	wt_server_close(bad->helper);
	bad->helper = NULL;
	wt_memory_close(bad->served);
	bad->served = NULL;
	assert_int_equal(host->failed, 0);
	assert_int_equal(t.hosts[0].told_state, WT_HELPER_INVALID);
	until(first_landed);
	finish();
}

/* ---- a puller is left for another one ---- */

static bool second_ready(void)
{
	return t.hosts[1].ready || t.hosts[1].s_failed;
}

static bool first_drained(void)
{
	return t.hosts[0].server_drained || t.hosts[0].s_failed;
}

static bool second_base_sent(void)
{
	return t.hosts[1].base_sent || t.hosts[1].s_failed;
}

static bool second_expected(void)
{
	return t.hosts[1].expected_port || t.hosts[1].s_failed;
}

static bool second_joined(void)
{
	return t.hosts[1].joined || t.hosts[1].s_failed;
}

static bool second_room(void)
{
	return wt_server_room(t.hosts[1].server) || t.hosts[1].s_failed;
}

static bool second_landed(void)
{
	wt_server_flush(t.hosts[1].server);
	return (wt_server_all_landed(t.hosts[1].server) && wt_puller_all_landed(t.hosts[1].puller) &&
		       t.hosts[1].base_left == 0) ||
	       t.hosts[1].s_failed;
}

static bool first_room(void)
{
	return wt_server_room(t.hosts[0].server) || t.hosts[0].s_failed;
}

static bool first_all_landed(void)
{
	wt_server_flush(t.hosts[0].server);
	return (wt_server_all_landed(t.hosts[0].server) && wt_puller_all_landed(t.hosts[0].puller)) ||
	       t.hosts[0].s_failed;
}

static bool first_restarted_ready(void)
{
	return t.hosts[0].ready == 2 || t.hosts[0].s_failed;
}

static bool first_released(void)
{
	return t.hosts[0].released || t.hosts[0].s_failed;
}

static void announce(struct host *host, unsigned block, uint64_t page, uint32_t pages,
	enum wt_content content, bool (*room)(void))
{
	struct wt_extent e = { .block = block, .page = page, .pages = pages };

	while (wt_server_announce(host->server, &e, content) == -EAGAIN) {
		wt_server_flush(host->server);
		until(room);
	}
	wt_server_flush(host->server);
}

/* Everything but the last quarter of the first block; a part of it zero. */
static void announce_to_first(void)
{
	uint64_t pages = lengths[0] / WT_PAGE_SIZE;

	announce(&t.hosts[0], 1, 0, (uint32_t)(lengths[1] / WT_PAGE_SIZE), WT_CONTENT_IN_PLACE, first_room);
	fill_pages(0, 0, 4 * MIB / WT_PAGE_SIZE, true);
	announce(&t.hosts[0], 0, 0, (uint32_t)(4 * MIB / WT_PAGE_SIZE), WT_CONTENT_ZERO, first_room);
	for (uint64_t page = 4 * MIB / WT_PAGE_SIZE; page < pages * 3 / 4; page += 256)
		announce(&t.hosts[0], 0, page, 256, WT_CONTENT_IN_PLACE, first_room);
}

/* S leaves host `from` for `to`, which is new or came back; `from` becomes helper 1. */
static void leave(struct host *from, struct host *to, bool (*drained)(void), bool (*sent)(void))
{
	struct wt_server_base base = { .before = from->server,
		.helpers = 1,
		.helper = { { .number = 1, .server = from->server } },
		.policy = WT_BASE_FASTEST,
		.rate_limit = 40 * MIB };
	struct wt_error err = { 0 };

	until(drained);
	assert_int_equal(wt_server_base(to->server, &base, &err), 0);
	until(sent);
	while (wt_server_hand_over(to->server, from->server) == -EAGAIN) {
		wt_server_flush(to->server);
		until(to == &t.hosts[1] ? second_room : first_room);
	}
	wt_server_expect(to->server, 1, ids[1], "the old destination");
}

static void test_retarget(void **state)
{
	struct wt_server_order order = { .host = "127.0.0.1", .name = "vm", .number = 1 };
	uint64_t pages = lengths[0] / WT_PAGE_SIZE;
	struct host *o, *n;
	struct wt_puller_stats stats;
	struct wt_extent e;

	begin();
	o = host_open(0);
	n = host_open(1);
	memset(n->memory.base[0], 0x55, 8 * MIB); /* old content, also where zeros belong */
	source_serves(o);
	until(first_ready);
	announce_to_first();
	source_serves(n);
	until(second_ready);
	/* Some are pending when it is left, some of them announced twice. */
	for (unsigned i = 0; i < 40; i++) {
		uint64_t page = 2048 + i % 20 * 64;

		e = (struct wt_extent){ .page = page, .pages = 33 };
		write_pages(0, page, 33);
		if (wt_server_announce(o->server, &e, WT_CONTENT_IN_PLACE))
			break;
	}
	assert_int_equal(wt_server_drain(o->server), 0);
	leave(o, n, first_drained, second_base_sent);
	if (e.pages) /* for which there was no room any more */
		announce(n, 0, e.page, e.pages, WT_CONTENT_IN_PLACE, second_room);
	assert_int_equal(o->drained, 1);
	until(second_expected);
	order.port = (uint16_t)n->expected_port;
	memcpy(order.session_id, ids[1], sizeof order.session_id);
	wt_server_serve(o->server, &order);
	/* The guest goes on: new pages, and pages that the old destination has. */
	for (uint64_t page = pages * 3 / 4; page < pages; page += 256)
		announce(n, 0, page, 256, WT_CONTENT_IN_PLACE, second_room);
	for (unsigned i = 0; i < 50; i++) {
		write_pages(0, 3000 + i * 100, 5);
		announce(n, 0, 3000 + i * 100, 5, WT_CONTENT_IN_PLACE, second_room);
	}
	until(second_joined);
	until(second_landed);
	assert_false(n->s_failed || o->s_failed || n->failed || o->failed);
	check_equal(n);
	wt_puller_stats(n->puller, &stats);
	assert_true(stats.server_bytes[1] > 40 * MIB); /* of some 68 that it had */
	wt_server_release(o->server);
	until(first_released);
	finish();
}

/* What only the old one shall be asked for comes from the source when it does not come. */
static void test_a_helper_does_not_come(void **state)
{
	struct wt_server_base base = { .helpers = 1, .policy = WT_BASE_SPARE_SOURCE };
	struct wt_error err = { 0 };
	struct host *o, *n;

	begin();
	o = host_open(0);
	n = host_open(1);
	source_serves(o);
	until(first_ready);
	announce_to_first();
	until(first_all_landed);
	source_serves(n);
	until(second_ready);
	assert_int_equal(wt_server_drain(o->server), 0);
	until(first_drained);
	base.before = o->server;
	base.helper[0].number = 1;
	base.helper[0].server = o->server;
	assert_int_equal(wt_server_base(n->server, &base, &err), 0);
	until(second_base_sent);
	assert_int_equal(wt_server_hand_over(n->server, o->server), 0);
	wt_server_no_helper(n->server, 1, "it is gone");
	announce(n, 0, 0, (uint32_t)(lengths[0] / WT_PAGE_SIZE / 4), WT_CONTENT_IN_PLACE, second_room);
	until(second_landed);
	assert_false(n->s_failed || n->failed);
	assert_int_equal(n->helper_lost, 1);
	finish();
}

/* ... and back again, before the new one had everything: both serve the old one. */
static bool both_drained(void)
{
	return t.hosts[1].server_drained || t.hosts[1].s_failed;
}

static bool first_base_sent(void)
{
	return t.hosts[0].base_sent || t.hosts[0].s_failed;
}

static bool first_back(void)
{
	wt_server_flush(t.hosts[0].server);
	return (wt_server_all_landed(t.hosts[0].server) && wt_puller_all_landed(t.hosts[0].puller) &&
		       t.hosts[0].base_left == 0) ||
	       t.hosts[0].s_failed;
}

static void test_there_and_back(void **state)
{
	struct wt_server_order order = { .host = "127.0.0.1", .name = "vm", .number = 1 };
	uint64_t pages = lengths[0] / WT_PAGE_SIZE;
	struct wt_error err = { 0 };
	struct host *o, *n;

	begin();
	o = host_open(0);
	n = host_open(1);
	source_serves(o);
	until(first_ready);
	announce_to_first();
	until(first_all_landed);
	source_serves(n);
	until(second_ready);
	assert_int_equal(wt_server_drain(o->server), 0);
	leave(o, n, first_drained, second_base_sent);
	for (uint64_t page = pages * 3 / 4; page < pages; page += 256)
		announce(n, 0, page, 256, WT_CONTENT_IN_PLACE, second_room);
	for (unsigned i = 0; i < 50; i++) {
		write_pages(0, 3000 + i * 100, 5);
		announce(n, 0, 3000 + i * 100, 5, WT_CONTENT_IN_PLACE, second_room);
	}
	assert_int_equal(wt_server_drain(n->server), 0);
	until(both_drained);
	o->base_left = UINT64_MAX;
	assert_int_equal(wt_server_restart(o->server, &err), 0);
	until(first_restarted_ready);
	assert_int_equal(o->restarted, 1);
	leave(n, o, both_drained, first_base_sent);
	order.port = o->port;
	memcpy(order.session_id, ids[1], sizeof order.session_id);
	wt_server_serve(n->server, &order);
	write_pages(0, 100, 3);
	announce(o, 0, 100, 3, WT_CONTENT_IN_PLACE, first_room);
	until(first_back);
	assert_false(n->s_failed || o->s_failed || n->failed || o->failed);
	check_equal(o);
	finish();
}

/* It is not left after all: it goes on where it was. */
static void test_undrain(void **state)
{
	begin();
	host_open(0);
	source_serves(&t.hosts[0]);
	until(first_ready);
	for (unsigned i = 0; i < 3; i++) {
		announce_to_first();
		assert_int_equal(wt_server_drain(t.hosts[0].server), 0);
		wt_server_undrain(t.hosts[0].server);
	}
	announce(&t.hosts[0], 0, 0, (uint32_t)(lengths[0] / WT_PAGE_SIZE), WT_CONTENT_IN_PLACE, first_room);
	until(first_all_landed);
	assert_false(t.hosts[0].s_failed || t.hosts[0].failed);
	assert_int_equal(t.hosts[0].undrained, 3);
	check_equal(&t.hosts[0]);
	finish();
}

/* A test that failed leaves its sockets behind: the next ones would not mean anything. */
static int abandon(void **state)
{
	if (!t.loop)
		return 0;
	print_error("%s: the tests behind this one are left out\n", __FILE__);
	fflush(NULL);
	_exit(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_three_servers, abandon),
		cmocka_unit_test_teardown(test_a_helper_dies, abandon),
		cmocka_unit_test_teardown(test_a_helper_stalls, abandon),
		cmocka_unit_test_teardown(test_bad_helpers, abandon),
		cmocka_unit_test_teardown(test_retarget, abandon),
		cmocka_unit_test_teardown(test_a_helper_does_not_come, abandon),
		cmocka_unit_test_teardown(test_there_and_back, abandon),
		cmocka_unit_test_teardown(test_undrain, abandon),
	};

	cmocka_set_test_filter(getenv("WATARI_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
