/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_qmp.c - the QMP client against a server that follows a script, in a thread of this process.
 *
 * A script is a list of steps: send a text, expect a command, close. "$1" in a text stands for the id of the
 * first command that was received, and so on. Nothing sleeps: both sides wait for each other, with a
 * deadline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../qemu-glue/qmp.h"

#define SECOND 1000000000ull
#define DEADLINE (20 * SECOND)
#define GREETING                                                                                               \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"\"}, " \
	"\"capabilities\": [\"oob\"]}}\r\n"
#define READY "{\"return\": {}, \"id\": \"$1\"}\r\n"
#define START SEND(GREETING), EXPECT("qmp_capabilities"), SEND(READY)

enum step_kind { STEP_END, STEP_SEND, STEP_SEND_BYTES, STEP_EXPECT, STEP_FILL, STEP_CLOSE, STEP_DESCRIPTOR };

struct step {
	enum step_kind kind;
	const char *text;
	size_t count; /* STEP_FILL: sends `text` so often */
};

#define SEND(t)                 \
	{                       \
		STEP_SEND, t, 0 \
	}
#define SEND_BYTES(t)                 \
	{                             \
		STEP_SEND_BYTES, t, 0 \
	}
#define EXPECT(t)                 \
	{                         \
		STEP_EXPECT, t, 0 \
	}
#define FILL(t, n)              \
	{                       \
		STEP_FILL, t, n \
	}
#define CLOSE                       \
	{                           \
		STEP_CLOSE, NULL, 0 \
	}
#define DESCRIPTOR                         \
	{                                  \
		STEP_DESCRIPTOR, "\r\n", 0 \
	}

/* ---- The server ---- */

struct server {
	const struct step *steps;
	char directory[32], path[64];
	int listener, fd;
	pthread_t thread;
	char ids[16][32];
	unsigned received;
	const char *wrong; /* what did not happen as in the script */
	char *line;
};

static bool server_write(struct server *server, const char *text, size_t length)
{
	ssize_t n;

	while (length) {
		n = send(server->fd, text, length, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		text += n;
		length -= (size_t)n;
	}
	return true;
}

/* Puts ids in the place of "$1" ... "$9". */
static bool server_send(struct server *server, const char *text, size_t piece)
{
	const char *id;
	size_t n;

	while (*text) {
		if (text[0] == '$' && text[1] >= '1' && text[1] <= '9') {
			id = server->ids[text[1] - '0'];
			if (!server_write(server, id, strlen(id)))
				return false;
			text += 2;
			continue;
		}
		n = strcspn(text + 1, "$") + 1;
		if (n > piece)
			n = piece;
		if (!server_write(server, text, n))
			return false;
		text += n;
	}
	return true;
}

static bool server_expect(struct server *server, const char *text)
{
	size_t length = 0, room = 8 << 20;
	json_t *command;
	bool right;
	const char *id;

	if (!server->line)
		server->line = malloc(room);
	while (length < room && recv(server->fd, server->line + length, 1, 0) == 1 &&
		server->line[length] != '\n')
		length++;
	command = json_loadb(server->line, length, 0, NULL);
	id = json_string_value(json_object_get(command, "id"));
	right = command && id && json_is_string(json_object_get(command, "execute")) &&
		!strcmp(json_string_value(json_object_get(command, "execute")), text) &&
		server->received + 1 < sizeof server->ids / sizeof *server->ids;
	if (right)
		snprintf(server->ids[++server->received], sizeof *server->ids, "%s", id);
	json_decref(command);
	return right;
}

static bool server_descriptor(struct server *server, const char *text)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	struct cmsghdr *first = CMSG_FIRSTHDR(&header);

	first->cmsg_level = SOL_SOCKET;
	first->cmsg_type = SCM_RIGHTS;
	first->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(first), &server->listener, sizeof(int));
	return sendmsg(server->fd, &header, MSG_NOSIGNAL) > 0;
}

static bool server_step(struct server *server, const struct step *step)
{
	size_t i;

	switch (step->kind) {
	/* The client may end the connection before it has read all, and is right to. */
	case STEP_SEND:
		server_send(server, step->text, SIZE_MAX);
		return true;
	case STEP_SEND_BYTES:
		server_send(server, step->text, 1);
		return true;
	case STEP_EXPECT:
		return server_expect(server, step->text);
	case STEP_FILL:
		for (i = 0; i < step->count && server_write(server, step->text, strlen(step->text)); i++)
			;
		return true;
	case STEP_CLOSE:
		return !shutdown(server->fd, SHUT_RDWR);
	case STEP_DESCRIPTOR:
		return server_descriptor(server, step->text);
	case STEP_END:
		break;
	}
	return false;
}

static void *server_run(void *arg)
{
	struct server *server = arg;
	struct timeval patience = { .tv_sec = DEADLINE / SECOND };
	const struct step *step;
	char rest[256];

	server->fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
	if (server->fd < 0) {
		server->wrong = "accept";
		return NULL;
	}
	setsockopt(server->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(server->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	for (step = server->steps; step->kind != STEP_END && !server->wrong; step++)
		if (!server_step(server, step))
			server->wrong = step->text ? step->text : "step";
	/* Keeps the connection until the client has closed it. */
	while (recv(server->fd, rest, sizeof rest, 0) > 0)
		;
	close(server->fd);
	free(server->line);
	return NULL;
}

static void server_start(struct server *server, const struct step *steps)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memset(server, 0, sizeof *server);
	server->steps = steps;
	strcpy(server->directory, "/tmp/test-qmp-XXXXXX");
	assert_non_null(mkdtemp(server->directory));
	snprintf(server->path, sizeof server->path, "%s/qmp", server->directory);
	strcpy(address.sun_path, server->path);
	server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(server->listener, 1), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
}

/* The client has closed. */
static void server_stop(struct server *server)
{
	pthread_join(server->thread, NULL);
	close(server->listener);
	unlink(server->path);
	rmdir(server->directory);
	if (server->wrong)
		fail_msg("the server's script stopped at: %.200s", server->wrong);
}

/* ---- The client ---- */

struct client {
	struct server server;
	struct wt_loop *loop;
	struct wt_qmp *qmp;
	struct wt_timer alarm;
	char log[4096];      /* what was called back, in order */
	unsigned stop_after; /* callbacks */
	bool close_in_event, close_in_reply, close_in_closed, call_in_event;
	struct wt_error closed;
};

static void count(struct client *client)
{
	if (client->stop_after && !--client->stop_after)
		wt_loop_stop(client->loop, 0);
}

static void note(struct client *client, const char *kind, const char *text)
{
	size_t used = strlen(client->log);

	snprintf(client->log + used, sizeof client->log - used, "%s %s;", kind, text);
}

static void on_event(void *arg, const char *name, json_t *data)
{
	struct client *client = arg;
	const char *reason = json_string_value(json_object_get(data, "reason"));
	json_t *result = NULL;
	struct wt_error err = { 0 };

	note(client, name, reason ? reason : data ? "{}" : "-");
	if (client->call_in_event) {
		assert_int_equal(wt_qmp_call(client->qmp, "inner", NULL, DEADLINE, &result, &err), 0);
		note(client, "inner", json_string_value(result));
		json_decref(result);
		client->call_in_event = false;
	}
	if (client->close_in_event) {
		wt_qmp_close(client->qmp);
		client->qmp = NULL;
	}
	count(client);
}

static void on_closed(void *arg, const struct wt_error *err)
{
	struct client *client = arg;

	assert_true(err->code && err->text[0]);
	client->closed = *err;
	note(client, "closed", "-");
	if (client->close_in_closed) {
		wt_qmp_close(client->qmp);
		client->qmp = NULL;
	}
	count(client);
}

static void on_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct client *client = arg;

	assert_non_null(err);
	assert_true(!err->code == !!result);
	note(client, "reply",
		err->code                ? err->text
		: json_is_string(result) ? json_string_value(result)
					 : "{}");
	if (client->close_in_reply) {
		wt_qmp_close(client->qmp);
		client->qmp = NULL;
	}
	count(client);
}

static void on_alarm(void *arg, uint64_t now_ns)
{
	struct client *client = arg;

	wt_loop_stop(client->loop, -ETIMEDOUT);
}

static int client_open(
	struct client *client, const struct step *steps, uint64_t timeout_ns, struct wt_error *err)
{
	const struct wt_qmp_events events = { .event = on_event, .closed = on_closed };

	memset(client, 0, sizeof *client);
	server_start(&client->server, steps);
	assert_int_equal(wt_loop_open(&client->loop), 0);
	return wt_qmp_open(client->loop, client->server.path, timeout_ns, &events, client, &client->qmp, err);
}

static void client_start(struct client *client, const struct step *steps)
{
	struct wt_error err = { 0 };

	if (client_open(client, steps, DEADLINE, &err) < 0)
		fail_msg("%s", err.text);
}

/* Runs the loop for so many callbacks. */
static void client_run(struct client *client, unsigned callbacks)
{
	client->stop_after = callbacks;
	wt_loop_timer_set(
		client->loop, &client->alarm, wt_loop_now_ns(client->loop) + DEADLINE, on_alarm, client);
	assert_int_equal(wt_loop_run(client->loop), 0);
	wt_loop_timer_clear(client->loop, &client->alarm);
}

static void client_stop(struct client *client)
{
	wt_qmp_close(client->qmp);
	server_stop(&client->server);
	wt_loop_close(client->loop);
}

/* ---- Tests ---- */

static void test_open(void **state)
{
	static const struct step steps[] = { SEND_BYTES("\r\n" GREETING), EXPECT("qmp_capabilities"),
		SEND_BYTES("{\"timestamp\": {\"seconds\": 1}, \"event\": \"EARLY\"}\r\n" READY),
		{ STEP_END } };
	struct client client;

	client_start(&client, steps);
	assert_string_equal(wt_qmp_version(client.qmp), "7.2.22");
	assert_int_equal(wt_qmp_version_number(client.qmp), 70222);
	assert_int_equal(wt_qmp_pid(client.qmp), getpid());
	client_run(&client, 1);
	assert_string_equal(client.log, "EARLY -;");
	client_stop(&client);
}

static void test_open_fails(void **state)
{
	static const struct {
		struct step steps[4];
		int code;
		const char *text;
	} cases[] = {
		{ { CLOSE }, -ECONNRESET, "closed its QMP socket" },
		{ { SEND("SSH-2.0-OpenSSH\r\n") }, -EPROTO, "-qmp socket" },
		{ { SEND("{\"QMP\": {}}\r\n") }, -EPROTO, "greeting" },
		{ { SEND("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": -1, \"minor\": 2, \"major\": 7}}}}\n") },
			-EPROTO, "greeting" },
		{ { SEND("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": \"1\"}}}}\n") }, -EPROTO,
			"greeting" },
		{ { SEND("[]\r\n") }, -EPROTO, "-qmp socket" },
		{ { SEND(GREETING), EXPECT("qmp_capabilities"), CLOSE }, -ECONNRESET, "qmp_capabilities" },
		{ { SEND(GREETING), EXPECT("qmp_capabilities"),
			  SEND("{\"id\": \"$1\", \"error\": {\"class\": \"GenericError\", \"desc\": \"busy\"}}\n") },
			-EREMOTEIO, "busy" },
		{ { SEND(GREETING GREETING) }, -EPROTO, "neither event nor answer" },
	};
	struct client client;
	struct wt_error err;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		wt_error_clear(&err);
		assert_int_equal(client_open(&client, cases[i].steps, DEADLINE, &err), cases[i].code);
		if (!strstr(err.text, cases[i].text))
			fail_msg("case %zu: %s", i, err.text);
		assert_null(client.qmp);
		client_stop(&client);
	}
}

static void test_open_waits_in_vain(void **state)
{
	static const struct step silent[] = { { STEP_END } };
	struct wt_error err = { 0 };
	struct client client;

	assert_int_equal(client_open(&client, silent, SECOND / 20, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "another client"));
	client_stop(&client);
}

static void test_no_socket(void **state)
{
	struct wt_error err = { 0 };
	struct wt_qmp *qmp = NULL;
	struct wt_loop *loop;
	char path[300];

	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(wt_qmp_open(loop, "/nonexistent/qmp", SECOND, NULL, NULL, &qmp, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/qmp"));
	assert_non_null(strstr(err.text, "-qmp unix:"));
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	wt_error_clear(&err);
	assert_int_equal(wt_qmp_open(loop, path, SECOND, NULL, NULL, &qmp, &err), -ENAMETOOLONG);
	assert_null(qmp);
	wt_loop_close(loop);
}

static void test_call(void **state)
{
	static const struct step steps[] = { START, EXPECT("one"),
		SEND("{\"return\": \"first\", \"id\": \"$2\"}\n"), EXPECT("two"),
		SEND_BYTES(
			"{\"id\": \"$3\", \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"a\\nb\"}}\n"),
		EXPECT("three"),
		SEND("{\"id\": \"$4\", \"error\": {\"class\": \"DeviceNotActive\", \"desc\": \"none\"}}\n"),
		EXPECT("four"), SEND("{\"id\": \"$5\", \"error\": {}}\n"), EXPECT("five"),
		SEND("{\"return\": {\"big\": 18446744073709551615, \"n\": 5}, \"id\": \"$6\"}\n"),
		EXPECT("human-monitor-command"), SEND("{\"return\": \"text\\r\\n\", \"id\": \"$7\"}\n"),
		EXPECT("human-monitor-command"), SEND("{\"return\": {}, \"id\": \"$8\"}\n"), { STEP_END } };
	struct wt_error err = { 0 };
	struct client client;
	json_t *result = NULL;
	char *text = NULL;

	client_start(&client, steps);
	assert_int_equal(
		wt_qmp_call(client.qmp, "one", json_pack("{s:i}", "a", 1), DEADLINE, &result, &err), 0);
	assert_string_equal(json_string_value(result), "first");
	json_decref(result);
	result = NULL;
	assert_int_equal(wt_qmp_call(client.qmp, "two", NULL, DEADLINE, &result, &err), -ENOSYS);
	assert_string_equal(err.text, "QEMU refused QMP command 'two': a b");
	wt_error_clear(&err);
	assert_int_equal(wt_qmp_call(client.qmp, "three", NULL, DEADLINE, &result, &err), -ENODEV);
	wt_error_clear(&err);
	assert_int_equal(wt_qmp_call(client.qmp, "four", NULL, DEADLINE, NULL, &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "'four'"));
	wt_error_clear(&err);
	assert_null(result);
	assert_int_equal(wt_qmp_call(client.qmp, "five", NULL, DEADLINE, &result, &err), 0);
	assert_true(json_number_value(json_object_get(result, "big")) > 1.8e19);
	json_decref(result);
	assert_int_equal(wt_qmp_human(client.qmp, "info x", DEADLINE, &text, &err), 0);
	assert_string_equal(text, "text\r\n");
	free(text);
	text = NULL;
	assert_int_equal(wt_qmp_human(client.qmp, "info y", DEADLINE, &text, &err), -EPROTO);
	assert_null(text);
	assert_string_equal(client.log, "");
	client_stop(&client);
}

static void test_kept_during_call(void **state)
{
	static const struct step steps[] = { START, EXPECT("slow"), EXPECT("quick"),
		SEND("{\"event\": \"A\", \"data\": {\"reason\": \"x\"}}\n{\"return\": \"s\", \"id\": \"$2\"}\n"
		     "{\"event\": \"B\"}\n{\"return\": \"q\", \"id\": \"$3\"}\n{\"event\": \"C\", \"data\": {}}\n"),
		{ STEP_END } };
	struct wt_error err = { 0 };
	struct client client;
	json_t *result = NULL;

	client_start(&client, steps);
	assert_int_equal(wt_qmp_execute(client.qmp, "slow", NULL, on_reply, &client), 0);
	assert_int_equal(wt_qmp_call(client.qmp, "quick", NULL, DEADLINE, &result, &err), 0);
	assert_string_equal(json_string_value(result), "q");
	json_decref(result);
	assert_string_equal(client.log, "");
	client_run(&client, 4);
	assert_string_equal(client.log, "A x;reply s;B -;C {};");
	client_stop(&client);
}

/* QEMU's own time of an event, if it is a sensible one. */
static void test_age_of_an_event(void **state)
{
	static const char *const lines[] = {
		"{\"timestamp\": {\"seconds\": %lld, \"microseconds\": 500000}, \"event\": \"A\"}\n",
		"{\"timestamp\": {\"seconds\": %lld, \"microseconds\": 1000000}, \"event\": \"A\"}\n",
		"{\"timestamp\": {\"seconds\": -%lld, \"microseconds\": 0}, \"event\": \"A\"}\n",
		"{\"event\": \"A\", \"data\": {\"seconds\": %lld}}\n"
	};

	for (unsigned i = 0; i < 4; i++) {
		char line[128];
		const struct step steps[] = { START, SEND(line), { STEP_END } };
		struct client client;
		uint64_t age_ns;

		snprintf(line, sizeof line, lines[i], (long long)time(NULL) - 3);
		client_start(&client, steps);
		client_run(&client, 1);
		age_ns = wt_qmp_event_age_ns(client.qmp);
		if (i == 0)
			assert_in_range(age_ns, 2 * SECOND, 9 * SECOND);
		else
			assert_int_equal(age_ns, 0);
		client_stop(&client);
	}
}

static void test_call_in_callback(void **state)
{
	static const struct step steps[] = { START, SEND("{\"event\": \"A\"}\n{\"event\": \"B\"}\n"),
		EXPECT("inner"), SEND("{\"event\": \"C\"}\n{\"return\": \"i\", \"id\": \"$2\"}\n"),
		{ STEP_END } };
	struct client client;

	client_start(&client, steps);
	client.call_in_event = true;
	client_run(&client, 3);
	assert_string_equal(client.log, "A -;inner i;B -;C -;");
	client_stop(&client);
}

static void test_replies_by_id(void **state)
{
	static const struct step steps[] = { START, EXPECT("one"), EXPECT("two"), EXPECT("three"),
		SEND("{\"return\": \"3\", \"id\": \"$4\"}\n{\"return\": \"1\", \"id\": \"$2\"}\n"
		     "{\"return\": \"2\", \"id\": \"$3\"}\n{\"event\": \"E\"}\n"),
		{ STEP_END } };
	struct client client;

	client_start(&client, steps);
	assert_int_equal(wt_qmp_execute(client.qmp, "one", NULL, on_reply, &client), 0);
	assert_int_equal(wt_qmp_execute(client.qmp, "two", NULL, NULL, NULL), 0);
	assert_int_equal(wt_qmp_execute(client.qmp, "three", NULL, on_reply, &client), 0);
	client_run(&client, 3);
	assert_string_equal(client.log, "reply 3;reply 1;E -;");
	client_stop(&client);
}

static void test_qemu_vanishes(void **state)
{
	static const struct step steps[] = { START, EXPECT("one"), EXPECT("two"),
		SEND("{\"event\": \"SHUTDOWN\"}\n"), CLOSE, { STEP_END } };
	struct wt_error err = { 0 };
	struct client client;

	client_start(&client, steps);
	assert_int_equal(wt_qmp_execute(client.qmp, "one", NULL, on_reply, &client), 0);
	assert_int_equal(wt_qmp_execute(client.qmp, "two", NULL, on_reply, &client), 0);
	client_run(&client, 4);
	assert_non_null(strstr(client.log, "SHUTDOWN -;reply no answer to QMP command 'one': QEMU closed"));
	assert_non_null(strstr(client.log, ";reply no answer to QMP command 'two': QEMU closed"));
	assert_string_equal(client.log + strlen(client.log) - 9, "closed -;");
	assert_int_equal(client.closed.code, ECONNRESET);
	assert_int_equal(wt_qmp_execute(client.qmp, "late", NULL, on_reply, &client), -ENOTCONN);
	assert_int_equal(wt_qmp_call(client.qmp, "later", json_object(), DEADLINE, NULL, &err), -ECONNRESET);
	assert_non_null(strstr(err.text, "'later'"));
	client_stop(&client);
}

static void test_qemu_vanishes_in_call(void **state)
{
	static const struct step steps[] = { START, EXPECT("other"), EXPECT("quit"), CLOSE, { STEP_END } };
	struct wt_error err = { 0 };
	struct client client;

	client_start(&client, steps);
	client.close_in_closed = true;
	assert_int_equal(wt_qmp_execute(client.qmp, "other", NULL, on_reply, &client), 0);
	assert_int_equal(wt_qmp_call(client.qmp, "quit", NULL, DEADLINE, NULL, &err), -ECONNRESET);
	assert_non_null(strstr(err.text, "'quit'"));
	assert_string_equal(client.log, "");
	client_run(&client, 2);
	assert_null(client.qmp);
	client_stop(&client);
}

static void test_garbage(void **state)
{
	static const char *const garbage[] = {
		"hello\n",
		"{\n",
		"{\"event\": \"A\"\n",
		"[{\"event\": \"A\"}]\n",
		"\"event\"\n",
		"{}\n",
		"{\"return\": {}}\n",
		"{\"return\": {}, \"id\": \"wt-999\"}\n",
		"{\"return\": {}, \"id\": \"wt-18446744073709551618\"}\n",
		"{\"return\": {}, \"id\": \"$1\"}\n",
		"{\"return\": {}, \"id\": 2}\n",
		"{\"error\": {\"desc\": \"x\"}}\n",
		"{\"error\": \"x\", \"id\": \"$2\"}\n",
		"{\"event\": 7}\n",
		"{\"event\": \"\\u0000\"}\n",
		"\xff\xfe\n",
		"{\"event\": \"\xff\"}\n",
	};
	struct step steps[] = { START, EXPECT("stop"), SEND(NULL), { STEP_END } };
	struct client client;
	size_t i;

	for (i = 0; i < sizeof garbage / sizeof *garbage; i++) {
		steps[4].text = garbage[i];
		client_start(&client, steps);
		assert_int_equal(wt_qmp_execute(client.qmp, "stop", NULL, on_reply, &client), 0);
		client_run(&client, 2);
		assert_int_equal(client.closed.code, EPROTO);
		assert_non_null(strstr(client.log, "reply no answer to QMP command 'stop': QEMU sent"));
		client_stop(&client);
	}
}

static void test_deep_json(void **state)
{
	static const struct step steps[] = { START, FILL("[", 200000), SEND("\n"), { STEP_END } };
	struct client client;

	client_start(&client, steps);
	client_run(&client, 1);
	assert_int_equal(client.closed.code, EPROTO);
	client_stop(&client);
}

/* 1 MiB of spaces. */
static const char *megabyte(void)
{
	static char text[(1 << 20) + 1];

	memset(text, ' ', sizeof text - 1);
	return text;
}

static void test_long_line(void **state)
{
	const struct step steps[] = { START, SEND("{"), FILL(megabyte(), 20), { STEP_END } };
	const struct step fits[] = { START, SEND("{\"event\": "), FILL(megabyte(), 15), SEND("\"LONG\"}\n"),
		{ STEP_END } };
	struct client client;

	client_start(&client, steps);
	client_run(&client, 1);
	assert_int_equal(client.closed.code, EPROTO);
	assert_non_null(strstr(client.closed.text, "16 MiB"));
	client_stop(&client);

	client_start(&client, fits);
	client_run(&client, 1);
	assert_string_equal(client.log, "LONG -;");
	client_stop(&client);
}

static void test_flood_in_call(void **state)
{
	const struct step steps[] = { START, EXPECT("stop"), SEND("{\"event\": "), FILL(megabyte(), 15),
		SEND("\"1\"}\n{\"event\":"), FILL(megabyte(), 15), SEND("\"2\"}\n{\"event\":"),
		FILL(megabyte(), 15), SEND("\"3\"}\n{\"event\":"), FILL(megabyte(), 15),
		SEND("\"4\"}\n{\"event\":"), FILL(megabyte(), 15), SEND("\"5\"}\n{\"event\": \"6\"}\n"),
		{ STEP_END } };
	struct wt_error err = { 0 };
	struct client client;

	client_start(&client, steps);
	assert_int_equal(wt_qmp_call(client.qmp, "stop", NULL, DEADLINE, NULL, &err), -EPROTO);
	assert_non_null(strstr(err.text, "events"));
	client_stop(&client);
}

static void test_call_times_out(void **state)
{
	static const struct step steps[] = { START, EXPECT("slow"), EXPECT("next"),
		SEND("{\"return\": \"late\", \"id\": \"$2\"}\n{\"return\": \"n\", \"id\": \"$3\"}\n"),
		{ STEP_END } };
	struct wt_error err = { 0 };
	struct client client;
	json_t *result = NULL;

	client_start(&client, steps);
	assert_int_equal(wt_qmp_call(client.qmp, "slow", NULL, SECOND / 100, &result, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "'slow'"));
	assert_null(result);
	wt_error_clear(&err);
	assert_int_equal(wt_qmp_call(client.qmp, "next", NULL, DEADLINE, &result, &err), 0);
	assert_string_equal(json_string_value(result), "n");
	json_decref(result);
	client_stop(&client);
}

static void test_large_command(void **state)
{
	static const struct step steps[] = { START, EXPECT("big"),
		SEND("{\"return\": \"b\", \"id\": \"$2\"}\n"), { STEP_END } };
	struct client client;

	client_start(&client, steps);
	assert_int_equal(
		wt_qmp_execute(client.qmp, "big", json_pack("{s:s}", "text", megabyte()), on_reply, &client),
		0);
	client_run(&client, 1);
	assert_string_equal(client.log, "reply b;");
	client_stop(&client);
}

static void test_close_in_callbacks(void **state)
{
	static const struct step steps[] = { START, EXPECT("one"), EXPECT("two"),
		SEND("{\"event\": \"A\"}\n{\"return\": \"1\", \"id\": \"$2\"}\n{\"event\": \"B\"}\n"),
		{ STEP_END } };
	struct client client;
	unsigned i;

	for (i = 0; i < 2; i++) {
		client_start(&client, steps);
		client.close_in_event = i == 0;
		client.close_in_reply = i == 1;
		assert_int_equal(wt_qmp_execute(client.qmp, "one", NULL, on_reply, &client), 0);
		assert_int_equal(wt_qmp_execute(client.qmp, "two", NULL, on_reply, &client), 0);
		client_run(&client, 1 + i);
		assert_null(client.qmp);
		assert_string_equal(client.log, i ? "A -;reply 1;" : "A -;");
		client_stop(&client);
	}
}

static unsigned open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned open = 0;

	while (readdir(directory))
		open++;
	closedir(directory);
	return open;
}

static void test_descriptors_are_closed(void **state)
{
	static const struct step steps[] = { DESCRIPTOR, START, DESCRIPTOR, SEND("{\"event\": \"A\"}\n"),
		{ STEP_END } };
	unsigned before = open_descriptors();
	struct client client;

	client_start(&client, steps);
	client_run(&client, 1);
	/* The listener, the server's connection, the loop, and ours. */
	assert_int_equal(open_descriptors(), before + 4);
	client_stop(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test(test_open_waits_in_vain),
		cmocka_unit_test(test_no_socket),
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_kept_during_call),
		cmocka_unit_test(test_age_of_an_event),
		cmocka_unit_test(test_call_in_callback),
		cmocka_unit_test(test_replies_by_id),
		cmocka_unit_test(test_qemu_vanishes),
		cmocka_unit_test(test_qemu_vanishes_in_call),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_deep_json),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_flood_in_call),
		cmocka_unit_test(test_call_times_out),
		cmocka_unit_test(test_large_command),
		cmocka_unit_test(test_close_in_callbacks),
		cmocka_unit_test(test_descriptors_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
