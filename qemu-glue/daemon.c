/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon.c - `watari daemon`: takes commands, and has each run in a session. See daemon.h.
 *
 *   1. A client is a stranger until it has asked, and has a session from then on. It is closed, and
 * forgotten, when that has ended; one that goes away before has its session told to end.
 *   2. Every refusal is a sentence, and nothing was begun then.
 *   3. The loop never waits: not for a client, and not for a session but when that has ended.
 */
#include "daemon.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <watari/limits.h>

#include "daemon_session.h"
#include "job_place.h"
#include "relay.h"

#define ACCEPT_AGAIN_NS 1000000000ull

struct daemon;

struct client {
	struct daemon *daemon;
	struct client *next;
	struct wt_daemon_session *session; /* NULL: a stranger */
	int fd;
};

struct daemon {
	const struct wt_daemon_options *options;
	struct wt_loop *loop;
	struct wt_report report;
	struct wt_signals signals;
	struct wt_job_place place;
	struct client *clients;
	unsigned sessions, strangers;
	struct wt_timer accept_again;
	int fd;
	bool ending;
};

/* ---- answers ---- */

static void client_free(struct client *client)
{
	struct client **at = &client->daemon->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	wt_loop_fd_clear(client->daemon->loop, client->fd);
	close(client->fd);
	free(client);
}

static void answer(int fd, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	if (text && send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		errno = 0; /* it has gone, or does not read: nobody is waiting */
	free(text);
	json_decref(object);
}

static void answer_error(int fd, const struct wt_error *err)
{
	answer(fd, json_pack("{s:s}", "error", wt_error_text(err)));
}

static void session_ended(void *arg, int code)
{
	struct client *client = arg;
	struct daemon *d = client->daemon;

	d->sessions--;
	answer(client->fd, json_pack("{s:i}", "code", code));
	client_free(client);
	malloc_trim(0); /* what this session had at its height is not kept for the next */
	if (d->ending && !d->sessions)
		wt_loop_stop(d->loop, 0);
}

/* ---- limits ---- */

/* Memory of this process alone; guests' RAM is shared and not counted. 0: not known. */
static uint64_t own_memory(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[128];
	uint64_t kib = 0;

	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib << 10;
}

static unsigned open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count;
}

static int check_room(const struct daemon *d, struct wt_error *err)
{
	const struct wt_daemon_options *o = d->options;
	struct rlimit files;
	uint64_t memory;

	if (d->ending)
		return wt_error_set(err, ESHUTDOWN, "the daemon is ending: it begins nothing more");
	if (d->sessions >= o->sessions_max)
		return wt_error_set(err, EAGAIN,
			"the daemon has %u sessions and takes no more at once; wait for one to end, or start it with a larger "
			"--max-sessions",
			d->sessions);
	memory = o->memory_max ? own_memory() : 0;
	if (memory > o->memory_max)
		return wt_error_set(err, ENOMEM,
			"the daemon uses %" PRIu64
			" KiB of memory, and takes no more sessions above the %" PRIu64
			" KiB of --max-memory; wait for one to end",
			memory >> 10, o->memory_max >> 10);
	if (!getrlimit(RLIMIT_NOFILE, &files) && open_descriptors() + WT_LIMIT_SESSION_FDS > files.rlim_cur)
		return wt_error_set(err, EMFILE,
			"the daemon has fewer than %u file descriptors left of %ju, which a session needs; wait for one to end, "
			"or start it with a higher limit (ulimit -Hn)",
			WT_LIMIT_SESSION_FDS, (uintmax_t)files.rlim_cur);
	return 0;
}

/* ---- requests ---- */

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

/* One message with its descriptors: its length, 0 at the end; -errno; -EBADF: not the descriptors of a
 * request. */
static ssize_t receive(int fd, char *text, size_t size, int ret_fds[WT_DAEMON_FDS])
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(WT_DAEMON_FDS * sizeof(int))];
	} control;
	struct iovec part = { text, size };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_LEN(WT_DAEMON_FDS * sizeof(int)) /* no room for one more */
	};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *head;
	size_t count = 0;

	if (n < 0)
		return -errno;
	head = CMSG_FIRSTHDR(&message);
	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
		count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (count)
		memcpy(ret_fds, CMSG_DATA(head), count * sizeof(int));
	if (n && count == WT_DAEMON_FDS && !(message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
		return n;
	close_all(ret_fds, count);
	return n || count ? -EBADF : 0;
}

static int begin(struct client *client, const char *text, size_t length, const int fds[WT_DAEMON_FDS],
	struct wt_error *err)
{
	struct daemon *d = client->daemon;
	json_t *request = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	int r = check_room(d, err);

	if (r)
		close_all(fds, WT_DAEMON_FDS);
	else
		r = wt_daemon_session_start(d->loop, json_object_get(request, "argv"), fds, session_ended,
			client, &client->session, err);
	json_decref(request);
	if (r)
		return r;
	d->strangers--;
	d->sessions++;
	send(client->fd, WT_DAEMON_BEGUN, strlen(WT_DAEMON_BEGUN), MSG_DONTWAIT | MSG_NOSIGNAL);
	return 0;
}

/* It had waited too long for us to hear it. */
static bool is_gone(int fd)
{
	char byte;

	return recv(fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* A stranger that asks, or a client that is over. */
static void client_ready(void *arg, uint32_t events)
{
	struct client *client = arg;
	static char text[WT_DAEMON_REQUEST_MAX + 1]; /* of the loop's thread only */
	int fds[WT_DAEMON_FDS] = { -1, -1, -1 };
	struct wt_error err = { 0 };
	ssize_t n;

	if (client->session) {
		wt_loop_fd_clear(client->daemon->loop, client->fd);
		wt_daemon_session_end(client->session);
		return;
	}
	n = receive(client->fd, text, sizeof text, fds);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n == -EBADF)
		wt_error_set(&err, EPROTO, "a request to the daemon comes with three descriptors");
	else if (n > 0 && is_gone(client->fd))
		close_all(fds, WT_DAEMON_FDS);
	else if (n > 0 && !begin(client, text, (size_t)n, fds, &err))
		return;
	if (err.code)
		answer_error(client->fd, &err);
	client->daemon->strangers--;
	client_free(client);
}

static void client_new(struct daemon *d, int fd)
{
	struct client *client = calloc(1, sizeof *client);
	struct wt_error err = { 0 };

	if (!client || d->strangers == WT_LIMIT_DAEMON_STRANGERS)
		wt_error_set(&err, EAGAIN, "too many ask the daemon at once");
	else if (wt_loop_fd_set(d->loop, fd, EPOLLIN, client_ready, client))
		wt_error_set(&err, ENOMEM, "the daemon has no memory for one more who asks");
	if (!client || err.code) {
		answer_error(fd, &err);
		close(fd);
		free(client);
		return;
	}
	*client = (struct client){ .daemon = d, .next = d->clients, .fd = fd };
	d->clients = client;
	d->strangers++;
}

static void accept_ready(void *arg, uint32_t events);

static void accept_again(void *arg, uint64_t now_ns)
{
	struct daemon *d = arg;

	wt_loop_fd_set(d->loop, d->fd, EPOLLIN, accept_ready, d);
}

/* Descriptors are kept free for this (limits.h); where they are used up all the same, who asks waits. */
static void accept_ready(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	int fd = accept4(d->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		client_new(d, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		wt_loop_fd_clear(d->loop, d->fd);
		wt_loop_timer_set(d->loop, &d->accept_again, wt_loop_now_ns(d->loop) + ACCEPT_AGAIN_NS,
			accept_again, d);
	}
}

/* ---- beginning and end ---- */

static void signalled(void *arg, const char *name)
{
	struct daemon *d = arg;

	if (d->ending || !d->sessions) {
		wt_loop_stop(d->loop, 0);
		return;
	}
	d->ending = true;
	wt_loop_timer_clear(d->loop, &d->accept_again);
	wt_loop_fd_clear(d->loop, d->fd);
	for (struct client *client = d->clients; client; client = client->next)
		if (client->session)
			wt_daemon_session_end(client->session);
	wt_report_event(&d->report, "ending", json_pack("{s:i}", "sessions", (int)d->sessions),
		"ends when its sessions have; once more, and it ends at once");
}

/* As many descriptors as the kernel lets us have must do for all sessions. */
static int take_descriptors(const struct wt_daemon_options *o, struct wt_error *err)
{
	rlim_t wanted = (rlim_t)o->sessions_max * WT_LIMIT_SESSION_FDS + WT_LIMIT_DAEMON_FDS;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return wt_error_set(err, errno, "no limit of descriptors: %s", strerror(errno));
	if (files.rlim_max < wanted)
		return wt_error_set(err, EMFILE,
			"%u sessions may need %ju file descriptors, and this process may have %ju; raise that (ulimit -Hn), or "
			"give a smaller --max-sessions",
			o->sessions_max, (uintmax_t)wanted, (uintmax_t)files.rlim_max);
	if (files.rlim_cur < wanted)
		files.rlim_cur = wanted;
	if (setrlimit(RLIMIT_NOFILE, &files))
		return wt_error_set(err, errno, "the limit of descriptors: %s", strerror(errno));
	return 0;
}

static int limit_pinned(const struct wt_daemon_options *o, struct wt_error *err)
{
	struct rlimit locked;

	if (!o->pinned_max)
		return 0;
	if (getrlimit(RLIMIT_MEMLOCK, &locked))
		return wt_error_set(err, errno, "no limit of locked memory: %s", strerror(errno));
	if (locked.rlim_max < o->pinned_max)
		return wt_error_set(err, EPERM,
			"--max-pinned is more than the %ju bytes that this process may lock (ulimit -Hl)",
			(uintmax_t)locked.rlim_max);
	locked.rlim_cur = o->pinned_max;
	if (setrlimit(RLIMIT_MEMLOCK, &locked))
		return wt_error_set(err, errno, "the limit of locked memory: %s", strerror(errno));
	return 0;
}

static int listen_for_commands(struct daemon *d, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = d->place.socket;
	int r;

	memcpy(address.sun_path, path, strlen(path) + 1);
	d->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->fd < 0 || bind(d->fd, (struct sockaddr *)&address, sizeof address) || chmod(path, 0600) ||
		listen(d->fd, WT_LIMIT_DAEMON_STRANGERS))
		return wt_error_set(err, errno, "the daemon's socket %s: %s", path, strerror(errno));
	r = wt_loop_fd_set(d->loop, d->fd, EPOLLIN, accept_ready, d);
	return r ? wt_error_set(err, -r, "the daemon's socket %s: %s", path, strerror(-r)) : 0;
}

static int take_place(struct daemon *d, struct wt_error *err)
{
	struct wt_error why = { 0 };
	int r = wt_job_place_take(WT_DAEMON_PLACE, &d->place, &why);

	if (r == -EEXIST)
		return wt_error_set(err, EEXIST, "a watari daemon runs here already");
	return r ? wt_error_set(err, why.code, "%s", why.text) : 0;
}

static int start(struct daemon *d, struct wt_error *err)
{
	char text[256];
	int r = wt_loop_open(&d->loop);

	if (r)
		return wt_error_set(err, -r, "no event loop: %s", strerror(-r));
	r = take_descriptors(d->options, err);
	if (!r)
		r = limit_pinned(d->options, err);
	if (!r)
		r = wt_signals_open(&d->signals, d->loop, signalled, d, err);
	if (!r)
		r = take_place(d, err);
	if (!r)
		r = listen_for_commands(d, err);
	if (r)
		return r;
	snprintf(text, sizeof text, "takes commands at %s, at most %u at once", d->place.socket,
		d->options->sessions_max);
	wt_report_event(&d->report, "listening",
		json_pack(
			"{s:s,s:i}", "path", d->place.socket, "max_sessions", (int)d->options->sessions_max),
		text);
	return 0;
}

/* Sessions that are there still are threads that run: what they use stays. */
static int finish(struct daemon *d)
{
	wt_signals_close(&d->signals);
	wt_job_place_leave(&d->place);
	if (d->sessions)
		return WT_EXIT_UNDECIDED;
	for (struct client *client = d->clients, *next; client; client = next) {
		next = client->next;
		client_free(client);
	}
	if (d->fd >= 0)
		close(d->fd);
	if (d->loop)
		wt_loop_close(d->loop);
	return WT_EXIT_OK;
}

int wt_daemon_run(const struct wt_daemon_options *options)
{
	struct daemon d = { .options = options, .signals.fd = -1, .place.lock_fd = -1, .fd = -1 };
	struct wt_error err = { 0 };
	int code = WT_EXIT_FAILED;

	wt_report_open(&d.report, options->json);
	json_object_seed(0); /* before there are threads that would */
	if (start(&d, &err))
		wt_report_error(&d.report, wt_error_text(&err));
	else
		code = wt_loop_run(d.loop) ? WT_EXIT_FAILED : WT_EXIT_OK;
	if (d.sessions)
		wt_report_error(&d.report,
			"ended before its sessions; watari recover tells which of their guests may run");
	return finish(&d) == WT_EXIT_OK ? code : WT_EXIT_UNDECIDED;
}
