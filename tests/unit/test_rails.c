/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_rails.c - page server and puller with two fabrics: from the better one to the other and back, under a
 * guest that writes on, with announcements pending that only one of them can serve.
 *
 * The library's choice of fabrics is replaced (wt_fabric_ops below): "verbs" is tcp under another name, so
 * that the server pins runs of existing pages only, and its paths go through the proxy, which can cut and
 * refuse them; "tcp" goes past the proxy and is held up here.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define WORLD_FABRICS (WT_FABRIC_BIT(WT_FABRIC_TCP) | WT_FABRIC_BIT(WT_FABRIC_VERBS))
#include "path_fabrics.h"
#include "path_tcp.h"
#include "server_internal.h"
#include "transfer_guest.h"

#define LONE_PAGES 20 /* pages with holes around them: too short to be pinned */

static struct wt_fabric_ops verbs, tcp;
static atomic_bool tcp_holds;      /* the puller posts nothing on tcp */
static atomic_uint tcp_broken;     /* so many living tcp paths are found dead */
static atomic_int tcp_regions;     /* the server's */
static atomic_uint verbs_dialled;  /* attempts made */
static atomic_uint verbs_dialling; /* attempts under way */
static atomic_bool verbs_hangs;    /* attempts wait for verbs_gate */
static sem_t verbs_gate;
static atomic_bool verbs_blind; /* the server does not see that its paths are dead */

static void *posted[1000]; /* on tcp, in this order; written by the puller */
static unsigned posted_count;

const struct wt_fabric_ops *wt_fabric_ops(enum wt_fabric fabric)
{
	return fabric == WT_FABRIC_VERBS ? &verbs : fabric == WT_FABRIC_TCP ? &tcp : NULL;
}

const char *wt_fabric_name(enum wt_fabric fabric)
{
	return fabric == WT_FABRIC_VERBS ? "verbs" : "tcp";
}

static int tcp_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	int taken = tcp_holds ? -EAGAIN : wt_path_tcp_ops.post(path, ops, count);

	for (int i = 0; i < taken && posted_count < 1000; i++)
		posted[posted_count++] = ops[i].local;
	return taken;
}

static bool tcp_alive(struct wt_path *path)
{
	if (tcp_broken) {
		tcp_broken--;
		return false;
	}
	return wt_path_tcp_ops.alive(path);
}

static int tcp_region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	tcp_regions += access & WT_ACCESS_SERVE ? 1 : 0;
	return wt_path_tcp_ops.region_add(endpoint, base, length, access, ret_region, err);
}

static void tcp_region_remove(struct wt_region *region)
{
	tcp_regions -= region->access & WT_ACCESS_SERVE ? 1 : 0;
	wt_path_tcp_ops.region_remove(region);
}

static int verbs_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	int r;

	verbs_dialled++;
	verbs_dialling++;
	while (verbs_hangs && sem_wait(&verbs_gate))
		;
	r = wt_path_tcp_ops.connect(endpoint, host, port, hello, role, timeout_ns, ret_path, err);
	verbs_dialling--;
	return r;
}

static atomic_bool verbs_dumb, tcp_refuses;
static atomic_uint tcp_dialled;

/* The first read fails, and with it the path. */
static int verbs_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	if (verbs_dumb)
		wt_tcp_path_fail(path, ETIMEDOUT);
	return wt_path_tcp_ops.post(path, ops, count);
}

static int tcp_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	tcp_dialled++;
	if (tcp_refuses)
		return wt_error_set(err, ECONNREFUSED, "nobody listens there");
	return wt_path_tcp_ops.connect(endpoint, host, port, hello, role, timeout_ns, ret_path, err);
}

static bool verbs_alive(struct wt_path *path)
{
	return verbs_blind || wt_path_tcp_ops.alive(path);
}

static enum wt_fabric fabric_now(struct world *u)
{
	struct wt_server_stats stats;

	wt_server_stats(u->server, &stats);
	return stats.paths ? stats.fabric : WT_FABRIC_INVALID;
}

static bool over_verbs(struct world *u)
{
	return fabric_now(u) == WT_FABRIC_VERBS || u->server_failed;
}

static bool over_tcp(struct world *u)
{
	return fabric_now(u) == WT_FABRIC_TCP || u->server_failed;
}

static bool tcp_is_closed(struct world *u)
{
	return tcp_regions == 0 || u->server_failed;
}

static bool tcp_was_broken(struct world *u)
{
	return tcp_broken == 0 || u->server_failed;
}

static bool is_dialling(struct world *u)
{
	return verbs_dialling || u->server_failed;
}

static uint64_t wait_until_ns;

static bool is_late(struct world *u)
{
	return wt_loop_now_ns(u->loop) >= wait_until_ns || u->server_failed;
}

static void timer_nothing(void *arg, uint64_t now_ns)
{
}

static bool wait_s(unsigned seconds)
{
	struct wt_timer timer = { 0 };
	bool r;

	wait_until_ns = wt_loop_now_ns(w.loop) + seconds * SECOND_NS;
	wt_loop_timer_set(w.loop, &timer, wait_until_ns, timer_nothing, NULL);
	r = world_until(&w, is_late) && !w.server_failed;
	wt_loop_timer_clear(w.loop, &timer);
	return r;
}

static void nothing(struct world *u)
{
}

static void hold_tcp(bool hold)
{
	tcp_holds = hold;
	world_call(&w, nothing); /* wakes the puller */
}

static void verbs_rule(bool up)
{
	proxy_rule(&w.proxy, PROXY_DATA, !up, !up, false);
}

/* Guest RAM has holes; the blocks of `hidden` cannot be read by the server. */
static void begin_over_verbs(unsigned hidden)
{
	seed_start(1);
	world_open(&w, 32, 20 * SECOND_NS);
	w.hidden = hidden;
	write_pages(&(struct wt_extent){ .pages = 2048 }, false);
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	check(w.ready == 1 && !w.notes && over_verbs(&w));
}

static void finish(void)
{
	w.done = 0;
	w.writes_left = 300;
	check(world_until(&w, guest_is_done));
	check_equal();
}

static void test_there_and_back(void **state)
{
	begin_over_verbs(0);
	announce_all(false);
	finish();
	for (unsigned i = 0; i < 2; i++) {
		verbs_rule(false);
		finish();
		check(over_tcp(&w) && strstr(w.note, "verbs is not used: "));
		verbs_rule(true);
		announce_all(false);
		check(world_until(&w, over_verbs));
		check(strcmp(w.note, "verbs is used now") == 0);
		finish();
		check(world_until(&w, tcp_is_closed));
		finish();
	}
	check(w.notes >= 4 && w.notes <= 6); /* one path may die before the other, and be told */
	check(!w.server_lost && w.ready == 1);
	world_close(&w);
}

/* Copies that are pending when a fabric dies are read out of the ring over the next one. */
static void test_copies_survive_a_change(void **state)
{
	struct wt_server_stats before, after;

	begin_over_verbs(3);
	proxy_rule(&w.proxy, PROXY_DATA, false, false, true);
	for (uint32_t page = 0; page < 768; page += 256) {
		write_pages(&(struct wt_extent){ .page = page, .pages = 256 }, false);
		announce(0, page, 256, WT_CONTENT_IN_PLACE);
		check(announce_rest());
	}
	wt_server_stats(w.server, &before);
	check(before.staged_pages == 768 && before.pending_bytes == 3 * MIB);
	hold_tcp(true); /* so that nothing lands before the change */
	verbs_rule(false);
	check(world_until(&w, over_tcp));
	wt_server_stats(w.server, &after);
	check(after.pending_bytes == 3 * MIB);
	hold_tcp(false);
	check(world_until(&w, has_landed_all));
	check(memcmp(w.blocks[0].source, w.blocks[0].mine, 3 * MIB) == 0);
	announce_all(false);
	verbs_rule(true);
	check(world_until(&w, over_verbs));
	finish();
	world_close(&w);
}

/* The device says nothing at the serving end; the puller does. */
static void test_puller_tells_of_lost_paths(void **state)
{
	begin_over_verbs(0);
	announce_all(false);
	finish();
	verbs_blind = true;
	verbs_rule(false);
	finish();
	check(over_tcp(&w));
	world_close(&w);
}

/* Over tcp, with pages pending that verbs will not cover. */
static void begin_pending_over_tcp(void)
{
	begin_over_verbs(0);
	announce_all(false);
	finish();
	verbs_rule(false);
	check(world_until(&w, over_tcp));
	finish();
	check(fallocate(w.blocks[0].source_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      (off_t)w.blocks[0].length) == 0);
	hold_tcp(true);
	announce(0, 0, (uint32_t)(w.blocks[0].length >> WT_PAGE_SHIFT), WT_CONTENT_ZERO);
	check(announce_rest());
	for (uint32_t i = 0; i < LONE_PAGES; i++) {
		write_pages(&(struct wt_extent){ .page = 100 * i, .pages = 1 }, false);
		announce(0, 100 * i, 1, WT_CONTENT_IN_PLACE);
		check(announce_rest());
	}
	wt_server_flush(w.server);
	verbs_rule(true);
	check(world_until(&w, over_verbs));
	check(!wt_server_all_landed(w.server) && tcp_regions > 0);
}

static void test_pending_of_tcp_are_still_read_over_tcp(void **state)
{
	struct wt_server_stats before, after;

	begin_pending_over_tcp();
	wt_server_stats(w.server, &before);
	announce(0, 100, 1, WT_CONTENT_IN_PLACE); /* the same page now goes as a copy */
	check(announce_rest());
	wt_server_stats(w.server, &after);
	check(after.staged_pages == before.staged_pages + 1);
	hold_tcp(false);
	check(world_until(&w, has_landed_all));
	check(world_until(&w, tcp_is_closed));
	check(over_verbs(&w));
	finish();
	world_close(&w);
}

static void test_tcp_breaks_while_it_is_still_needed(void **state)
{
	begin_pending_over_tcp();
	tcp_broken = 3;
	check(world_until(&w, tcp_was_broken));
	check(!wt_server_all_landed(w.server) && over_verbs(&w));
	hold_tcp(false);
	check(world_until(&w, has_landed_all));
	check(world_until(&w, tcp_is_closed));
	finish();
	world_close(&w);
}

static void test_verbs_breaks_while_tcp_is_still_needed(void **state)
{
	begin_pending_over_tcp();
	announce(0, 100, 1, WT_CONTENT_IN_PLACE);
	check(announce_rest());
	verbs_rule(false);
	check(world_until(&w, over_tcp));
	check(!wt_server_all_landed(w.server));
	hold_tcp(false);
	check(world_until(&w, has_landed_all));
	finish();
	check(over_tcp(&w));
	world_close(&w);
}

/* Closing does not wait for an attempt that hangs; who gives up the memory does. */
static void close_while_dialling(void)
{
	wt_server_close(w.server);
	w.server = NULL;
	check(verbs_dialling == 1);
	verbs_hangs = false;
	sem_post(&verbs_gate);
	world_close(&w);
	check(!verbs_dialling);
}

/* An attempt that hangs does not hold up the server. */
static void test_attempts_do_not_disturb(void **state)
{
	begin_over_verbs(0);
	announce_all(false);
	verbs_rule(false);
	check(world_until(&w, over_tcp));
	verbs_hangs = true;
	check(world_until(&w, is_dialling));
	finish();
	check(verbs_dialling && over_tcp(&w));
	check(w.notes == 1 || w.notes == 2); /* one path may have died before the other, and was told */
	close_while_dialling();
}

/* The same, and the memory is registered for the fabric that is dialled again. */
static void test_close_while_the_same_fabric_is_dialled_again(void **state)
{
	begin_over_verbs(0);
	announce_all(false);
	finish();
	verbs_hangs = true;
	verbs_rule(false);
	check(world_until(&w, is_dialling));
	close_while_dialling();
}

static bool nobody_dials(struct world *u)
{
	return !verbs_dialling;
}

/* While the rails pause nothing is dialled, and what was being dialled is not kept. */
static void test_pause(void **state)
{
	unsigned before;

	begin_over_verbs(0);
	announce_all(false);
	finish();
	verbs_hangs = true;
	verbs_rule(false);
	check(world_until(&w, is_dialling));
	wt_rails_pause(w.server->rails, true);
	verbs_rule(true);
	verbs_hangs = false;
	sem_post(&verbs_gate);
	check(world_until(&w, nobody_dials));
	before = verbs_dialled;
	check(wait_s(1));
	check(verbs_dialled <= before + 2 &&
		fabric_now(&w) == WT_FABRIC_INVALID); /* two more of that attempt */
	wt_rails_pause(w.server->rails, false);
	check(world_until(&w, over_verbs));
	finish();
	world_close(&w);
}

static bool puller_knows_all(struct world *u)
{
	wt_server_flush(u->server);
	return wt_server_unsent(u->server) == 0 || u->server_failed;
}

static unsigned place_of(const void *local)
{
	unsigned i = 0;

	while (i < posted_count && posted[i] != local)
		i++;
	check(i < posted_count);
	return i;
}

/* What is announced after the guest has stopped passes what waits, but not what is announced for its own
 * page. */
static void test_final_goes_first(void **state)
{
	world_open(&w, 32, 20 * SECOND_NS);
	verbs_rule(false);
	world_serve(&w, "vm");
	check(world_until(&w, is_ready) && over_tcp(&w));
	posted_count = 0;
	hold_tcp(true);
	for (uint32_t i = 0; i <= 300; i++) {
		struct wt_extent e = { .block = i == 300, .page = 3 + 10 * i, .pages = 1 };

		if (i == 300)
			wt_server_final(w.server);
		write_pages(&e, false);
		announce(e.block, e.page, 1, WT_CONTENT_IN_PLACE);
		check(announce_rest());
	}
	announce(0, 3 + 10 * 299, 1, WT_CONTENT_IN_PLACE);
	check(announce_rest());
	check(world_until(&w, puller_knows_all));
	hold_tcp(false);
	check(world_until(&w, has_landed_all));
	check_equal();
	check(place_of(w.blocks[1].mine + 3003 * WT_PAGE_SIZE) <
		place_of(w.blocks[0].mine + 2993 * WT_PAGE_SIZE));
	world_close(&w);
}

/*
 * A fabric whose connections are made, but over which nothing gets across (RoCE with a wrong MTU): the other
 * one must take over, and stay.
 */
static void test_verbs_connects_but_does_not_carry(void **state)
{
	unsigned before;

	begin_over_verbs(0);
	verbs_dumb = true;
	announce(0, 0, 256, WT_CONTENT_IN_PLACE);
	check(announce_rest());
	wt_server_flush(w.server);
	before = verbs_dialled;
	check(wait_s(10));
	check(wt_server_all_landed(w.server));
	check(verbs_dialled - before < 40);
	world_close(&w);
}

/* What was announced for tcp waits, and nobody listens there: tried now and then, not without a pause. */
static void test_leaving_is_dialled_with_pauses(void **state)
{
	unsigned before;

	begin_pending_over_tcp();
	before = tcp_dialled;
	tcp_refuses = true;
	tcp_broken = 3;
	check(wait_s(2));
	check(tcp_dialled - before < 60);
	tcp_refuses = false;
	hold_tcp(false);
	check(world_until(&w, has_landed_all));
	world_close(&w);
}

static int setup(void **state)
{
	sem_init(&verbs_gate, 0, 0);
	tcp = verbs = wt_path_tcp_ops;
	verbs.fabric = WT_FABRIC_VERBS;
	verbs.connect = verbs_connect;
	verbs.post = verbs_post;
	tcp.connect = tcp_connect;
	verbs_dumb = tcp_refuses = false;
	verbs.alive = verbs_alive;
	verbs_blind = false;
	tcp.post = tcp_post;
	tcp.alive = tcp_alive;
	tcp.region_add = tcp_region_add;
	tcp.region_remove = tcp_region_remove;
	tcp_holds = false;
	tcp_broken = 0;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, setup, abandon),
		cmocka_unit_test_setup_teardown(test_copies_survive_a_change, setup, abandon),
		cmocka_unit_test_setup_teardown(test_pending_of_tcp_are_still_read_over_tcp, setup, abandon),
		cmocka_unit_test_setup_teardown(test_tcp_breaks_while_it_is_still_needed, setup, abandon),
		cmocka_unit_test_setup_teardown(test_verbs_breaks_while_tcp_is_still_needed, setup, abandon),
		cmocka_unit_test_setup_teardown(test_puller_tells_of_lost_paths, setup, abandon),
		cmocka_unit_test_setup_teardown(test_final_goes_first, setup, abandon),
		cmocka_unit_test_setup_teardown(test_attempts_do_not_disturb, setup, abandon),
		cmocka_unit_test_setup_teardown(
			test_close_while_the_same_fabric_is_dialled_again, setup, abandon),
		cmocka_unit_test_setup_teardown(test_pause, setup, abandon),
		cmocka_unit_test_setup_teardown(test_leaving_is_dialled_with_pauses, setup, abandon),
		cmocka_unit_test_setup_teardown(test_verbs_connects_but_does_not_carry, setup, abandon),
	};

	if (getenv("WATARI_TEST"))
		cmocka_set_test_filter(getenv("WATARI_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
