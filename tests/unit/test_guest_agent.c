/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_guest_agent.c - the host's client of the guest's agent, against an agent that is asleep, answers,
 * lies, hangs or goes away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest_agent.h"

/* QEMU's socket, and the guest behind it. */
struct guest {
	struct wt_loop *loop;
	char path[96];
	int listen_fd, fd;
	struct wt_agent_lines lines;
	unsigned requests, deaf; /* deaf: so many requests are not heard */
	bool lies, hangs_up;
	struct wt_guest_agent *agent;
	unsigned told;
	bool ok;
	struct wt_error err;
	char error[256];
};

static void take(void *arg, const char *line, size_t length)
{
	static const char noise[] = "{\"id\":1,\"ok\":true}\nnonsense\n{\"ok\":false}\n";
	struct guest *g = arg;
	struct wt_agent_request request;
	struct wt_agent_answer answer = { .ok = true };
	struct wt_error err = { 0 };
	char *text = NULL;

	assert_int_equal(wt_agent_request_parse(line, length, &request, &err), 0);
	if (++g->requests <= g->deaf)
		return;
	if (g->lies)
		assert_int_equal(write(g->fd, noise, sizeof noise - 1), (int)sizeof noise - 1);
	answer.id = request.id;
	answer.ok = request.verb != WT_AGENT_DETACH;
	snprintf(answer.error, sizeof answer.error, "%s", answer.ok ? "" : "hook 10-mpi failed");
	wt_agent_answer_render(&answer, &text, &err);
	assert_int_equal(write(g->fd, text, strlen(text)), (int)strlen(text));
	free(text);
}

static void readable(void *arg, uint32_t events)
{
	struct guest *g = arg;
	size_t room;
	char *at = wt_agent_lines_room(&g->lines, &room);
	ssize_t n = read(g->fd, at, room);

	if (n > 0)
		wt_agent_lines_add(&g->lines, (size_t)n, take, g);
	if (n > 0 && !g->hangs_up)
		return;
	wt_loop_fd_clear(g->loop, g->fd);
	close(g->fd);
	g->fd = -1;
}

static void accepted(void *arg, uint32_t events)
{
	struct guest *g = arg;

	g->fd = accept(g->listen_fd, NULL, NULL);
	assert_true(g->fd >= 0);
	wt_loop_fd_set(g->loop, g->fd, EPOLLIN, readable, g);
}

static void opened(struct guest *g)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct wt_error err = { 0 };

	assert_int_equal(wt_loop_open(&g->loop), 0);
	snprintf(g->path, sizeof g->path, "/tmp/test_guest_agent.%d", getpid());
	strcpy(address.sun_path, g->path);
	unlink(g->path);
	g->fd = -1;
	g->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(g->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(g->listen_fd, 1), 0);
	wt_loop_fd_set(g->loop, g->listen_fd, EPOLLIN, accepted, g);
	assert_int_equal(wt_guest_agent_open(g->loop, g->path, &g->agent, &err), 0);
}

static void closed(struct guest *g)
{
	wt_guest_agent_close(g->agent);
	if (g->fd >= 0)
		close(g->fd);
	close(g->listen_fd);
	unlink(g->path);
	wt_loop_close(g->loop);
}

static void told(void *arg, const struct wt_agent_answer *answer, const struct wt_error *err)
{
	struct guest *g = arg;

	g->told++;
	g->err = *err;
	g->ok = answer && answer->ok;
	assert_true(!answer == !!err->code);
	snprintf(g->error, sizeof g->error, "%s", answer ? answer->error : "");
	wt_loop_stop(g->loop, 0);
}

static void ask(struct guest *g, enum wt_agent_verb verb, uint32_t timeout_ms, uint32_t patience_ms)
{
	struct wt_agent_request request = { .verb = verb, .timeout_ms = timeout_ms };
	struct wt_error err = { 0 };
	unsigned before = g->told;

	if (verb != WT_AGENT_PING)
		strcpy(request.name, "ib0");
	if (verb == WT_AGENT_ATTACH)
		strcpy(request.what, "none");
	assert_int_equal(wt_guest_agent_ask(g->agent, &request, patience_ms, told, g, &err), 0);
	assert_int_equal(g->told, before); /* never out of the call */
	wt_loop_run(g->loop);
	assert_int_equal(g->told, before + 1);
}

static void test_answers(void **state)
{
	struct guest g = { .lies = true };

	opened(&g);
	ask(&g, WT_AGENT_PING, 0, 5000);
	assert_true(g.ok);
	ask(&g, WT_AGENT_DETACH, 1000, 5000);
	assert_false(g.ok);
	assert_string_equal(g.error, "hook 10-mpi failed");
	ask(&g, WT_AGENT_ATTACH, 1000, 5000);
	assert_true(g.ok);
	closed(&g);
}

/* What is asked is repeated until the guest is there. */
static void test_asleep(void **state)
{
	struct guest g = { .deaf = 2 };

	opened(&g);
	ask(&g, WT_AGENT_PING, 0, 5000);
	assert_true(g.ok);
	assert_int_equal(g.requests, 3);
	g.deaf = 100;
	ask(&g, WT_AGENT_DETACH, 20, 100);
	assert_int_equal(g.err.code, ETIMEDOUT);
	assert_int_equal(g.requests, 4);
	assert_non_null(strstr(g.err.text, "did not answer to \"detach\" within 120 ms"));
	g.deaf = 5;
	ask(&g, WT_AGENT_ATTACH, 20000, 100);
	assert_true(g.ok);
	assert_int_equal(g.requests, 6);
	closed(&g);
}

static void test_hangs_up(void **state)
{
	struct wt_agent_request ping = { .verb = WT_AGENT_PING };
	struct guest g = { .deaf = 100, .hangs_up = true };
	struct wt_error err = { 0 };

	opened(&g);
	ask(&g, WT_AGENT_DETACH, 20000, 5000);
	assert_int_equal(g.err.code, ECONNRESET);
	assert_int_equal(wt_guest_agent_ask(g.agent, &ping, 1, told, &g, &err), -ECONNRESET);
	closed(&g);
}

static void test_forgotten(void **state)
{
	struct wt_agent_request detach = { .verb = WT_AGENT_DETACH, .name = "ib0", .timeout_ms = 1 };
	struct guest g = { 0 };
	struct wt_error err = { 0 };

	opened(&g);
	assert_int_equal(wt_guest_agent_ask(g.agent, &detach, 1, told, &g, &err), 0);
	wt_guest_agent_forget(g.agent);
	ask(&g, WT_AGENT_PING, 0, 5000);
	assert_true(g.ok);
	assert_int_equal(g.told, 1);
	closed(&g);
}

static void test_nobody(void **state)
{
	struct wt_guest_agent *agent;
	struct wt_error err = { 0 };
	struct wt_loop *loop;

	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(wt_guest_agent_open(loop, "/tmp/there-is-no-such-socket", &agent, &err), -ENOENT);
	assert_non_null(strstr(err.text, "cannot be reached"));
	wt_loop_close(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_asleep),
		cmocka_unit_test(test_hangs_up),
		cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
