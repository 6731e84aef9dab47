/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_channel_names.c - channels to a host's name: known, unknown, of another host, and a name service that
 * does not answer, which holds up nobody.
 *
 * The C library's getaddrinfo is replaced: "slow.test" waits until the test lets it go, "far.test" is another
 * host, "gone.test" does not exist; the rest, numeric addresses among it, is passed on.
 */
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <watari/channel.h>

#define SECOND_NS 1000000000ull
#define MS_NS 1000000ull

static sem_t gate, passed;
static atomic_uint waiting;

int getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	bool slow = node && strcmp(node, "slow.test") == 0 && !(hints->ai_flags & AI_NUMERICHOST);
	int r;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (node && strcmp(node, "gone.test") == 0)
		return EAI_NONAME;
	if (node && strcmp(node, "far.test") == 0 && !(hints->ai_flags & AI_NUMERICHOST))
		node = "192.0.2.1";
	if (!slow)
		return real(node, service, hints, ret_list);
	waiting++;
	while (sem_wait(&gate))
		;
	r = real("127.0.0.1", service, hints, ret_list);
	sem_post(&passed);
	return r;
}

static struct wt_loop *loop;
static struct wt_channel *channel;
static struct wt_channel_listener *listener;
static uint16_t port;
static unsigned opened, closed, ticks;
static struct wt_error why;

static void stop_late(void *arg, uint64_t now_ns)
{
	wt_loop_stop(loop, -ETIMEDOUT);
}

static int run(void)
{
	struct wt_timer late = { 0 };
	int r;

	wt_loop_timer_set(loop, &late, wt_loop_now_ns(loop) + 20 * SECOND_NS, stop_late, NULL);
	r = wt_loop_run(loop);
	wt_loop_timer_clear(loop, &late);
	return r;
}

static void on_open(void *arg)
{
	opened++;
	wt_loop_stop(loop, 0);
}

static void on_closed(void *arg, const struct wt_error *err)
{
	closed++;
	why = *err;
	wt_loop_stop(loop, 0);
}

static const struct wt_channel_events events = { .open = on_open, .closed = on_closed };

static void on_accepted(void *arg, struct wt_channel *accepted)
{
	wt_channel_close(accepted);
}

static const struct wt_channel_listener_events listener_events = { .accepted = on_accepted };

static int connect_to(const char *host, uint64_t timeout_ns, struct wt_error *err)
{
	char copy[400]; /* the address need not last */
	struct wt_address address = { .host = copy, .port = port };

	snprintf(copy, sizeof copy, "%s", host);
	opened = closed = 0;
	wt_error_clear(err);
	return wt_channel_connect(loop, &address, NULL, timeout_ns, &events, NULL, &channel, err);
}

static void test_known_and_unknown(void **state)
{
	static const struct {
		const char *host;
		int code;
		const char *text;
	} cases[] = {
		{ "localhost", 0, "" },
		{ "gone.test", EHOSTUNREACH, "the host \"gone.test\" is unknown" },
		{ "far.test", EPERM, "its address is 192.0.2.1" },
	};
	struct wt_error err;

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(connect_to(cases[i].host, 10 * SECOND_NS, &err), 0);
		assert_int_equal(opened + closed, 0);
		assert_int_equal(run(), 0);
		assert_int_equal(opened, cases[i].code == 0);
		assert_int_equal(closed ? why.code : 0, cases[i].code);
		assert_true(!closed || strstr(why.text, cases[i].text));
		wt_channel_close(channel);
	}
}

static void test_name_too_long(void **state)
{
	struct wt_error err;
	char name[300];

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	assert_int_equal(connect_to(name, SECOND_NS, &err), -EHOSTUNREACH);
	assert_non_null(strstr(err.text, "too long"));
}

static void tick(void *arg, uint64_t now_ns)
{
	if (++ticks == 5)
		wt_loop_stop(loop, 0);
	else
		wt_loop_timer_set(loop, arg, now_ns + MS_NS, tick, arg);
}

/* The loop turns while the name service does not answer; when it does, the channel opens. */
static void test_slow_name_holds_up_nobody(void **state)
{
	struct wt_timer timer = { 0 };
	struct wt_error err;

	ticks = 0;
	assert_int_equal(connect_to("slow.test", 10 * SECOND_NS, &err), 0);
	wt_loop_timer_set(loop, &timer, 0, tick, &timer);
	assert_int_equal(run(), 0);
	assert_int_equal(ticks, 5);
	assert_int_equal(opened + closed, 0);
	sem_post(&gate);
	assert_int_equal(run(), 0);
	assert_int_equal(opened, 1);
	wt_channel_close(channel);
	sem_wait(&passed);
}

static void test_name_that_is_not_looked_up_in_time(void **state)
{
	struct wt_error err;

	assert_int_equal(connect_to("slow.test", 50 * MS_NS, &err), 0);
	assert_int_equal(run(), 0);
	assert_int_equal(closed, 1);
	assert_int_equal(why.code, ETIMEDOUT);
	assert_non_null(strstr(why.text, "could not be looked up within"));
	wt_channel_close(channel);
	sem_post(&gate);
	sem_wait(&passed); /* the answer finds nobody */
}

static void test_close_while_a_name_is_looked_up(void **state)
{
	struct wt_timer timer = { 0 };
	struct wt_error err;

	waiting = 0;
	assert_int_equal(connect_to("slow.test", 10 * SECOND_NS, &err), 0);
	wt_channel_close(channel);
	ticks = 0;
	wt_loop_timer_set(loop, &timer, 0, tick, &timer);
	assert_int_equal(run(), 0);
	sem_post(&gate);
	sem_wait(&passed);
	assert_int_equal(waiting, 1);
	assert_int_equal(opened + closed, 0);
}

static int setup(void **state)
{
	struct wt_address address = { .host = "127.0.0.1" };
	struct wt_error err = { 0 };

	sem_init(&gate, 0, 0);
	sem_init(&passed, 0, 0);
	return wt_loop_open(&loop) ||
	       wt_channel_listen(loop, &address, NULL, &listener_events, NULL, &listener, &port, &err);
}

static int teardown(void **state)
{
	wt_channel_listener_close(listener);
	wt_loop_close(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_known_and_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_name_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_name_holds_up_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_name_that_is_not_looked_up_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_while_a_name_is_looked_up, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
