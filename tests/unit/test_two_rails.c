/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_two_rails.c - a puller that is reached at two addresses over one fabric, as with two devices: paths go
 * to both; when those to one of them die the others carry all, and when it is back it is used again.
 *
 * "verbs" is tcp under another name (wt_fabric_ops below). The first address is the proxy's, which can cut
 * and refuse; the second one goes past it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define WORLD_FABRICS WT_FABRIC_BIT(WT_FABRIC_VERBS)
#define WORLD_DATA_HOST "127.0.0.1,127.0.0.2"
#include "path_fabrics.h"
#include "server_internal.h"
#include "transfer_guest.h"

static struct wt_fabric_ops verbs;
static atomic_bool blind;      /* the server does not see that its paths are dead */
static atomic_uint dialled[2]; /* attempts, by address */

const struct wt_fabric_ops *wt_fabric_ops(enum wt_fabric fabric)
{
	return fabric == WT_FABRIC_VERBS ? &verbs : NULL;
}

const char *wt_fabric_name(enum wt_fabric fabric)
{
	return "verbs";
}

static int verbs_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	dialled[strcmp(host, "127.0.0.2") == 0]++;
	return wt_path_tcp_ops.connect(endpoint, host, port, hello, role, timeout_ns, ret_path, err);
}

static bool verbs_alive(struct wt_path *path)
{
	return blind || wt_path_tcp_ops.alive(path);
}

static unsigned paths(struct world *u)
{
	struct wt_server_stats stats;

	wt_server_stats(u->server, &stats);
	return stats.paths;
}

static bool has_all(struct world *u)
{
	return paths(u) == 3 || u->server_failed;
}

/* The first address has two of three paths. */
static bool has_one(struct world *u)
{
	return paths(u) == 1 || u->server_failed;
}

/* If its two paths die one after the other, it may be told when the first one has. */
static bool is_told_of_fewer(struct world *u)
{
	return (strstr(u->note, "goes on with ") && strstr(u->note, "more cannot be had: ")) ||
	       u->server_failed;
}

static bool is_told_of_all(struct world *u)
{
	return strcmp(u->note, "all data connections are there again") == 0 || u->server_failed;
}

static void finish(void)
{
	w.done = 0;
	w.writes_left = 300;
	check(world_until(&w, guest_is_done));
	check_equal();
}

static void first_rule(bool up)
{
	proxy_rule(&w.proxy, PROXY_DATA, !up, !up, false);
}

static void begin_with_both(void)
{
	seed_start(1);
	dialled[0] = dialled[1] = 0;
	world_open(&w, 32, 20 * SECOND_NS);
	write_pages(&(struct wt_extent){ .pages = 2048 }, false);
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	check(has_all(&w) && dialled[0] == 2 && dialled[1] == 1);
	announce_all(false);
	finish();
}

/* Away and back, twice. The session notices nothing; the operator is told. */
static void test_one_dies_and_comes_back(void **state)
{
	begin_with_both();
	for (unsigned i = 0; i < 2; i++) {
		first_rule(false);
		check(world_until(&w, has_one));
		finish();
		check(world_until(&w, is_told_of_fewer));
		first_rule(true);
		announce_all(false);
		check(world_until(&w, has_all));
		check(world_until(&w, is_told_of_all));
		finish();
	}
	check(!w.server_lost && w.ready == 1);
	world_close(&w);
}

/* The serving end of a dead path sees nothing: the puller says which ones it has lost. */
static void test_puller_tells_which(void **state)
{
	begin_with_both();
	blind = true;
	first_rule(false);
	finish();
	check(world_until(&w, has_one));
	first_rule(true);
	check(world_until(&w, has_all));
	check(dialled[1] == 1);
	finish();
	world_close(&w);
}

/* A device that is away from the beginning does not keep the other one from working. */
static void test_one_is_away_at_first(void **state)
{
	seed_start(1);
	world_open(&w, 32, 20 * SECOND_NS);
	first_rule(false);
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	check(has_one(&w));
	announce_all(false);
	finish();
	first_rule(true);
	check(world_until(&w, has_all));
	finish();
	world_close(&w);
}

/* What is away for long is tried ever more seldom. */
static bool was_tried_often(struct world *u)
{
	return dialled[0] >= 2 + 4 || u->server_failed;
}

static void test_attempts_become_seldom(void **state)
{
	uint64_t start_ns;

	begin_with_both();
	first_rule(false);
	check(world_until(&w, has_one));
	start_ns = wt_loop_now_ns(w.loop);
	check(world_until(&w, was_tried_often));
	check(wt_loop_now_ns(w.loop) - start_ns >= 3 * SECOND_NS); /* 0.5 + 1 + 2 s between four attempts */
	world_close(&w);
}

static int setup(void **state)
{
	verbs = wt_path_tcp_ops;
	verbs.fabric = WT_FABRIC_VERBS;
	verbs.connect = verbs_connect;
	verbs.alive = verbs_alive;
	blind = false;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_dies_and_comes_back, setup, abandon),
		cmocka_unit_test_setup_teardown(test_puller_tells_which, setup, abandon),
		cmocka_unit_test_setup_teardown(test_one_is_away_at_first, setup, abandon),
		cmocka_unit_test_setup_teardown(test_attempts_become_seldom, setup, abandon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
