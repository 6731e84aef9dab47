/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_job.c - a fake job's control socket on a loop: well-behaved, silent, slow and hostile clients; names
 * that are taken, free again after a death, and fought for by several processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../qemu-glue/job.h"
#include "../../qemu-glue/job_place.h"

#define DEADLINE_NS 120000000000ull

static char runtime[64];

/* ---- the fake job ---- */

struct fake {
	struct wt_loop *loop;
	struct wt_job *job;
	unsigned asked, cancelled;
};

static int fake_status(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct fake *fake = arg;

	*ret_result = json_pack("{s:i}", "asked", (int)++fake->asked);
	return 0;
}

static int fake_cancel(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct fake *fake = arg;

	if (fake->cancelled++)
		return wt_error_set(err, EBUSY, "too late \033[2J");
	*ret_result = json_object();
	return 0;
}

static int fake_fill(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	static char text[32768];

	memset(text, 'x', sizeof text - 1);
	*ret_result = json_pack("{s:s,s:O}", "text", text, "n", json_object_get(request, "n"));
	return 0;
}

static const struct wt_job_command commands[] = {
	{ "status", fake_status },
	{ "cancel", fake_cancel },
	{ "fill", fake_fill },
	{ NULL, NULL },
};

static void fake_open(struct fake *fake, const char *name)
{
	struct wt_error err = { 0 };

	memset(fake, 0, sizeof *fake);
	assert_int_equal(wt_loop_open(&fake->loop), 0);
	if (wt_job_open(fake->loop, name, commands, fake, &fake->job, &err))
		fail_msg("%s", err.text);
}

static void fake_close(struct fake *fake)
{
	wt_job_close(fake->job);
	wt_loop_close(fake->loop);
}

/* ---- a client on the same loop ---- */

struct peer {
	struct wt_loop *loop;
	int fd;
	char *text;
	size_t length;
	unsigned lines, wanted;
	bool ended;
};

static struct peer peer_open(struct fake *fake, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct peer peer = { .loop = fake->loop };

	snprintf(address.sun_path, sizeof address.sun_path, "%s/watari/%s.sock", runtime, name);
	peer.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(peer.fd, (struct sockaddr *)&address, sizeof address), 0);
	return peer;
}

static void peer_close(struct peer *peer)
{
	close(peer->fd);
	free(peer->text);
}

static void peer_write(struct peer *peer, const void *bytes, size_t length)
{
	assert_int_equal(send(peer->fd, bytes, length, MSG_NOSIGNAL), length);
}

static void peer_readable(void *arg, uint32_t events)
{
	struct peer *peer = arg;
	ssize_t n;

	peer->text = realloc(peer->text, peer->length + 65536 + 1);
	n = recv(peer->fd, peer->text + peer->length, 65536, 0);
	if (n <= 0)
		peer->ended = true;
	for (ssize_t i = 0; i < n; i++)
		peer->lines += peer->text[peer->length + (size_t)i] == '\n';
	peer->length += n > 0 ? (size_t)n : 0;
	peer->text[peer->length] = '\0';
	if (peer->ended || peer->lines >= peer->wanted)
		wt_loop_stop(peer->loop, 0);
}

static void too_long(void *arg, uint64_t now_ns)
{
	fail_msg("no answer in time");
}

/* Runs the loop until so many lines are there, or the job has closed the connection. */
static void peer_wait(struct peer *peer, unsigned lines)
{
	struct wt_timer deadline = { 0 };

	peer->wanted = lines;
	wt_loop_timer_set(peer->loop, &deadline, wt_loop_now_ns(peer->loop) + DEADLINE_NS, too_long, NULL);
	wt_loop_fd_set(peer->loop, peer->fd, EPOLLIN, peer_readable, peer);
	if (peer->lines < lines && !peer->ended)
		wt_loop_run(peer->loop);
	wt_loop_fd_clear(peer->loop, peer->fd);
	wt_loop_timer_clear(peer->loop, &deadline);
}

/* One request, one answer: it contains `wanted`. */
static void peer_ask(struct peer *peer, const char *request, const char *wanted)
{
	peer->length = peer->lines = 0;
	peer_write(peer, request, strlen(request));
	peer_wait(peer, 1);
	assert_int_equal(peer->lines, 1);
	if (!strstr(peer->text, wanted))
		fail_msg("%s: answered %s", request, peer->text);
}

/* ---- cases: the protocol ---- */

static void test_commands(void **state)
{
	struct fake fake;
	struct peer one, two;

	fake_open(&fake, "web1");
	one = peer_open(&fake, "web1");
	two = peer_open(&fake, "web1");
	peer_ask(&one, "{\"command\":\"status\"}\n", "{\"return\":{\"asked\":1}}\n");
	peer_ask(&two, "{\"command\": \"status\", \"more\": [1]}\r\n", "{\"return\":{\"asked\":2}}\n");
	peer_ask(&one, "{\"command\":\"cancel\"}\n", "{\"return\":{}}\n");
	peer_ask(&two, "{\"command\":\"cancel\"}\n", "{\"error\":\"too late ?[2J\"}\n");
	peer_close(&one);
	peer_ask(&two, "{\"command\":\"status\"}\n", "3");
	peer_close(&two);
	fake_close(&fake);
}

static void test_garbage(void **state)
{
	static const char *const lines[] = { "\n", "hello\n", "{\n", "[]\n", "null\n", "\"status\"\n", "{}\n",
		"{\"command\":7}\n", "{\"command\":null}\n", "{\"command\":\"status\"}x\n",
		"{\"command\":\"status\",\"command\":\"status\"}\n", "{\"command\":\"\xff\"}\n",
		"\xff\xfe\x01\n" };
	struct fake fake;
	struct peer peer;
	char deep[4000];

	fake_open(&fake, "web1");
	peer = peer_open(&fake, "web1");
	for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
		peer_ask(&peer, lines[i], "{\"error\":\"a request is one JSON object on a line");
	peer_ask(&peer, "{\"command\":\"re\033boot\"}\n", "{\"error\":\"a request is");
	peer_ask(&peer, "{\"command\":\"re\\u001bboot\"}\n",
		"{\"error\":\"there is no command re?boot; there are: status, cancel, fill\"}");
	memset(deep, '[', sizeof deep - 2);
	strcpy(deep + sizeof deep - 2, "\n");
	peer_ask(&peer, deep, "{\"error\":");
	peer.lines = 0;
	peer_write(&peer, "{\"command\":\"status\"}\0\n", 22);
	peer_wait(&peer, 1);
	assert_int_equal(fake.asked, 0);
	peer_ask(&peer, "{\"command\":\"status\"}\n", "\"asked\":1");
	peer_close(&peer);
	fake_close(&fake);
}

static void test_pieces(void **state)
{
	static const char text[] = "{\"command\":\"status\"}\n";
	struct fake fake;
	struct peer peer, other;

	fake_open(&fake, "web1");
	peer = peer_open(&fake, "web1");
	other = peer_open(&fake, "web1");
	for (unsigned i = 0; i < strlen(text); i++) {
		peer_write(&peer, text + i, 1);
		if (i == 5)
			peer_ask(&other, text, "\"asked\":1");
	}
	peer_wait(&peer, 1);
	assert_string_equal(peer.text, "{\"return\":{\"asked\":2}}\n");
	peer.length = peer.lines = 0;
	for (unsigned i = 0; i < 100; i++)
		peer_write(&peer, text, strlen(text));
	shutdown(peer.fd, SHUT_WR);
	peer_wait(&peer, 100);
	assert_int_equal(peer.lines, 100);
	assert_non_null(strstr(peer.text, "\"asked\":102}"));
	peer_wait(&peer, 101);
	assert_true(peer.ended);
	peer_close(&peer);
	peer_close(&other);
	fake_close(&fake);
}

static void test_long_line(void **state)
{
	char line[WT_JOB_LINE_MAX + 1];
	struct fake fake;
	struct peer peer;

	fake_open(&fake, "web1");
	peer = peer_open(&fake, "web1");
	memset(line, ' ', sizeof line);
	memcpy(line, "{\"command\":\"status\"}", 20);
	line[WT_JOB_LINE_MAX - 1] = '\n';
	line[WT_JOB_LINE_MAX] = '\0';
	peer_ask(&peer, line, "\"asked\":1");
	line[WT_JOB_LINE_MAX - 1] = ' ';
	peer_ask(&peer, line, "{\"error\":\"a request has at most 4096 bytes\"}");
	peer_wait(&peer, 2);
	assert_true(peer.ended);
	peer_close(&peer);
	fake_close(&fake);
}

/* ---- cases: clients that are no good ---- */

static void test_silent(void **state)
{
	struct peer silent[3 * WT_LIMIT_JOB_CLIENTS], busy;
	struct fake fake;

	fake_open(&fake, "web1");
	busy = peer_open(&fake, "web1");
	for (unsigned i = 0; i < 3 * WT_LIMIT_JOB_CLIENTS; i++) {
		silent[i] = peer_open(&fake, "web1");
		peer_write(&silent[i], "{\"comm", 6);
		peer_ask(&busy, "{\"command\":\"status\"}\n", "asked");
	}
	peer_wait(&silent[0], 1); /* its place was given away */
	assert_true(silent[0].ended && !silent[0].lines);
	peer_ask(&busy, "{\"command\":\"status\"}\n", "asked");
	for (unsigned i = 0; i < 3 * WT_LIMIT_JOB_CLIENTS; i++)
		peer_close(&silent[i]);
	peer_ask(&busy, "{\"command\":\"status\"}\n", "asked");
	peer_close(&busy);
	fake_close(&fake);
}

/* Asks for far more than its socket and its line hold, and does not read: others are served, and it gets all
 * of its answers when it reads. */
static void test_slow(void **state)
{
	enum { REQUESTS = 300 };
	char requests[REQUESTS * 32], text[64], *at = requests;
	struct peer slow, other;
	struct fake fake;

	fake_open(&fake, "web1");
	slow = peer_open(&fake, "web1");
	other = peer_open(&fake, "web1");
	for (unsigned i = 0; i < REQUESTS; i++)
		at += sprintf(at, "{\"command\":\"fill\",\"n\":%u}\n", i);
	peer_write(&slow, requests, (size_t)(at - requests));
	for (unsigned i = 0; i < 50; i++)
		peer_ask(&other, "{\"command\":\"status\"}\n", "asked");
	peer_wait(&slow, REQUESTS);
	assert_int_equal(slow.lines, REQUESTS);
	at = slow.text;
	for (unsigned i = 0; i < REQUESTS; i++) {
		snprintf(text, sizeof text, "\"n\":%u}}\n", i);
		at = strstr(at, text);
		assert_non_null(at);
	}
	peer_close(&slow);

	slow = peer_open(&fake, "web1"); /* and one that goes away with answers outstanding */
	for (unsigned i = 0; i < 100; i++)
		peer_write(&slow, "{\"command\":\"fill\",\"n\":0}\n", 25);
	peer_ask(&other, "{\"command\":\"status\"}\n", "asked");
	peer_close(&slow);
	for (unsigned i = 0; i < 5; i++)
		peer_ask(&other, "{\"command\":\"status\"}\n", "asked");
	peer_close(&other);
	fake_close(&fake);
}

/* ---- cases: names and places ---- */

static void test_names(void **state)
{
	static const char *const good[] = { "a", "web1", "web 1", "web1-incoming", "a.b", "x:y@z" };
	static const char *const bad[] = { "", ".", "..", ".x", "-x", "a/b", "/", "a\nb", "a\tb", "\x7f",
		"b\xc3\xbcro" };
	char name[WT_JOB_NAME_MAX + 2];

	for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(wt_job_name_good(good[i]));
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(wt_job_name_good(bad[i]));
	memset(name, 'n', sizeof name);
	name[WT_JOB_NAME_MAX + 1] = '\0';
	assert_false(wt_job_name_good(name));
	name[WT_JOB_NAME_MAX] = '\0';
	assert_true(wt_job_name_good(name));
}

static mode_t mode_of(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof path, "%s/watari/%s", runtime, name);
	return lstat(path, &st) ? 0 : st.st_mode & 07777;
}

static void test_place(void **state)
{
	struct wt_job_place place = { .lock_fd = -1 }, second = { .lock_fd = -1 };
	struct wt_error err = { 0 };
	struct fake fake;

	fake_open(&fake, "web1");
	assert_int_equal(mode_of(""), 0700);
	assert_int_equal(mode_of("web1.sock"), 0600);
	assert_int_equal(wt_job_place_take("web1", &place, &err), -EEXIST);
	assert_non_null(strstr(err.text, "--job"));
	assert_int_equal(place.lock_fd, -1);
	wt_error_clear(&err);
	assert_int_equal(wt_job_place_take("web2", &second, &err), 0);
	wt_job_place_leave(&second);
	wt_job_place_leave(&second);
	fake_close(&fake);
	assert_int_equal(mode_of("web1.sock"), 0);
	assert_int_equal(mode_of("web1.lock"), 0);
	assert_int_equal(wt_job_place_take("web1", &place, &err), 0);
	wt_job_place_leave(&place);
}

static void refused_in(const char *directory, const char *wanted)
{
	struct wt_job_place place;
	struct wt_error err = { 0 };

	setenv("XDG_RUNTIME_DIR", directory, 1);
	assert_true(wt_job_place_take("web1", &place, &err) < 0);
	if (!strstr(err.text, wanted))
		fail_msg("%s: %s", directory, err.text);
	setenv("XDG_RUNTIME_DIR", runtime, 1);
}

static void test_bad_places(void **state)
{
	char path[128], inner[160], elsewhere[160], deep[400];

	snprintf(path, sizeof path, "%s/open", runtime);
	snprintf(inner, sizeof inner, "%s/watari", path);
	snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", path);
	refused_in(path, "XDG_RUNTIME_DIR"); /* it is not there */
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(mkdir(inner, 0755), 0);
	refused_in(path, "mode 0700");
	rmdir(inner);
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	assert_int_equal(symlink(elsewhere, inner), 0);
	refused_in(path, "mode 0700");
	unlink(inner);
	rmdir(elsewhere);
	rmdir(path);
	refused_in("run", "no absolute path");
	snprintf(deep, sizeof deep, "/tmp/%0200d", 1);
	refused_in(deep, "too long");
	snprintf(deep, sizeof deep, "/tmp/%088d", 1); /* the directory fits, the socket does not */
	refused_in(deep, "too long");
}

/* A job that was killed leaves its socket; the next one has the name all the same. */
static void test_stale(void **state)
{
	struct fake fake;
	struct peer peer;
	int pipes[2], status;
	char byte;
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (!child) {
		fake_open(&fake, "web1");
		_exit(write(pipes[1], "x", 1) == 1 ? pause() : 1);
	}
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	assert_int_equal(mode_of("web1.sock"), 0600);
	fake_open(&fake, "web1");
	peer = peer_open(&fake, "web1");
	peer_ask(&peer, "{\"command\":\"status\"}\n", "asked");
	peer_close(&peer);
	fake_close(&fake);
	close(pipes[0]);
	close(pipes[1]);
}

/* flock of this program: what happens between the opening of a lock file and the lock can be made to happen.
 */
static void (*before_flock)(void);

int flock(int fd, int operation)
{
	void (*happens)(void) = before_flock;

	before_flock = NULL;
	if (happens)
		happens();
	return (int)syscall(SYS_flock, fd, operation);
}

static int other_holder;

/* The holder leaves and removes the lock file; another one makes a new file and locks that. */
static void name_changes_hands(void)
{
	char path[128];

	snprintf(path, sizeof path, "%s/watari/web1.lock", runtime);
	unlink(path);
	other_holder = open(path, O_RDWR | O_CREAT, 0600);
	syscall(SYS_flock, other_holder, LOCK_EX | LOCK_NB);
}

static void test_removed_lock(void **state)
{
	struct wt_job_place place = { .lock_fd = -1 };
	struct wt_error err = { 0 };

	before_flock = name_changes_hands;
	assert_int_equal(wt_job_place_take("web1", &place, &err), -EEXIST);
	close(other_holder);
	wt_error_clear(&err);
	assert_int_equal(wt_job_place_take("web1", &place, &err), 0);
	wt_job_place_leave(&place);
}

/* Several processes take and leave one name as fast as they can: never two at once, and all get it. */
static void test_race(void **state)
{
	enum { PROCESSES = 4, TIMES = 2000 };
	_Atomic int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[PROCESSES];
	int status;

	assert_ptr_not_equal(shared, MAP_FAILED);
	for (unsigned i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i])
			continue;
		for (unsigned taken = 0; taken < TIMES;) {
			struct wt_job_place place;
			struct wt_error err = { 0 };
			int r = wt_job_place_take("web1", &place, &err);

			if (r == -EEXIST)
				continue;
			if (r || atomic_fetch_add(&shared[0], 1) != 0)
				_exit(1);
			atomic_fetch_sub(&shared[0], 1);
			wt_job_place_leave(&place);
			taken++;
		}
		_exit(0);
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		waitpid(children[i], &status, 0);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	munmap((void *)shared, 4096);
}

/* ---- cases: the client's side ---- */

struct asked {
	struct fake *fake;
	struct wt_error err;
	json_t *result;
	const char *name, *command;
	pthread_t thread;
	int code;
	char listed[256];
};

static void list_one(void *arg, const char *name, json_t *result, const struct wt_error *err)
{
	struct asked *asked = arg;

	snprintf(asked->listed + strlen(asked->listed), sizeof asked->listed - strlen(asked->listed), "%s%s ",
		name, result ? "" : "?");
}

static void *ask_thread(void *arg)
{
	struct asked *asked = arg;

	if (asked->name)
		asked->code = wt_job_ask(asked->name, json_pack("{s:s}", "command", asked->command),
			&asked->result, &asked->err);
	else
		wt_job_ask_all("status", list_one, asked);
	return NULL;
}

static bool until_joined(void *arg, uint64_t now_ns)
{
	struct asked *asked = arg;

	if (pthread_tryjoin_np(asked->thread, NULL) == 0)
		wt_loop_stop(asked->fake->loop, 0);
	return true;
}

/* wt_job_ask waits, so it runs in a thread, and the job on this one. */
static struct asked ask(struct fake *fake, const char *name, const char *command)
{
	struct asked asked = { .fake = fake, .name = name, .command = command };
	struct wt_busy busy = { 0 };

	assert_int_equal(pthread_create(&asked.thread, NULL, ask_thread, &asked), 0);
	wt_loop_busy_set(fake->loop, &busy, until_joined, &asked);
	wt_loop_run(fake->loop);
	wt_loop_busy_clear(fake->loop, &busy);
	return asked;
}

static void test_client(void **state)
{
	struct fake fake;
	struct asked asked;
	char path[128];
	int fd;

	fake_open(&fake, "web1");
	asked = ask(&fake, "web1", "status");
	assert_int_equal(asked.code, 0);
	assert_int_equal(json_integer_value(json_object_get(asked.result, "asked")), 1);
	json_decref(asked.result);
	asked = ask(&fake, "web1", "dance");
	assert_int_equal(asked.code, -EREMOTEIO);
	assert_non_null(strstr(asked.err.text, "no command dance"));
	asked = ask(&fake, "web2", "status");
	assert_int_equal(asked.code, -ENOENT);
	assert_non_null(strstr(asked.err.text, "no job web2"));
	asked = ask(&fake, "../watari/web1", "status");
	assert_int_equal(asked.code, -ENOENT);

	snprintf(path, sizeof path, "%s/watari/dead.sock", runtime); /* no socket: nobody lives there */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	asked = ask(&fake, NULL, NULL);
	assert_string_equal(asked.listed, "web1 ");
	unlink(path);
	fake_close(&fake);
}

struct liar {
	int fd;
	const char *answer;
	size_t repeat;
};

static void *lie(void *arg)
{
	struct liar *liar = arg;
	int fd = accept(liar->fd, NULL, NULL);
	char byte[256];

	if (recv(fd, byte, sizeof byte, 0) > 0)
		for (size_t i = 0; i < liar->repeat; i++)
			if (send(fd, liar->answer, strlen(liar->answer), MSG_NOSIGNAL) < 0)
				break;
	close(fd);
	return NULL;
}

/* What calls itself a job may say anything. */
static void test_liars(void **state)
{
	static const struct {
		const char *answer;
		size_t repeat;
		int code;
	} lies[] = { { "", 0, -ECONNRESET }, { "xxxxxxxx", 100000, -EMSGSIZE }, { "[]\n", 1, -EPROTO },
		{ "{\"return\":7}\n", 1, -EPROTO },
		{ "{\"error\":\"\\u001b]0;x\\u0007\"}\n", 1, -EREMOTEIO } };
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof address.sun_path, "%s/watari/liar.sock", runtime);
	for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
		struct liar liar = { .answer = lies[i].answer, .repeat = lies[i].repeat };
		struct wt_error err = { 0 };
		json_t *result = NULL;
		pthread_t thread;

		liar.fd = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(bind(liar.fd, (struct sockaddr *)&address, sizeof address), 0);
		assert_int_equal(listen(liar.fd, 1), 0);
		assert_int_equal(pthread_create(&thread, NULL, lie, &liar), 0);
		assert_int_equal(wt_job_ask("liar", json_pack("{s:s}", "command", "status"), &result, &err),
			lies[i].code);
		assert_null(strchr(err.text, '\033'));
		assert_null(result);
		pthread_join(thread, NULL);
		close(liar.fd);
		unlink(address.sun_path);
	}
}

static int make_runtime(void **state)
{
	strcpy(runtime, "/tmp/test-job-XXXXXX");
	return mkdtemp(runtime) && !setenv("XDG_RUNTIME_DIR", runtime, 1) ? 0 : -1;
}

static int remove_runtime(void **state)
{
	char path[128];

	snprintf(path, sizeof path, "%s/watari", runtime);
	return rmdir(path) || rmdir(runtime); /* nothing was left in them */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_bad_places),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_removed_lock),
		cmocka_unit_test(test_race),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_liars),
	};

	return cmocka_run_group_tests(tests, make_runtime, remove_runtime);
}
