/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job.c - the control socket of a job: the server's side. See job.h.
 *
 *   1. A client has one line of input and one answer at most: while an answer is not sent, nothing is read
 *      from it.
 *   2. At most WT_LIMIT_JOB_CLIENTS clients. Who is silent, or does not read, costs nothing but its place,
 * and loses that to a newcomer.
 *   3. Every line is answered once, also an empty one and garbage. A line that does not fit is answered, and
 *      its client closed.
 *
 * Who may connect is decided by the modes of directory and socket (job_place.h), not here.
 */
#include "job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "job_place.h"
#include "printable.h"

#define ACCEPT_AGAIN_NS 1000000000ull /* this process has no descriptor left for a client */

struct client {
	struct wt_job *job;
	int fd;        /* -1: a free place */
	uint64_t turn; /* when it was last heard; the smallest one has been silent longest */
	size_t length; /* of line */
	bool ended;    /* nothing more is read */
	char *answer;  /* NULL: none */
	size_t answer_length, sent;
	char line[WT_JOB_LINE_MAX];
};

struct wt_job {
	struct wt_loop *loop;
	const struct wt_job_command *commands;
	void *arg;
	struct wt_job_place place;
	int fd;
	uint64_t turns;
	struct wt_timer accept_again;
	struct client clients[WT_LIMIT_JOB_CLIENTS];
};

/* ---- one request ---- */

static int run_command(struct wt_job *job, json_t *request, json_t **ret_result, struct wt_error *err)
{
	const char *name = json_string_value(json_object_get(request, "command"));
	char shown[64], known[256] = "";

	if (!name)
		return wt_error_set(
			err, EINVAL, "a request is one JSON object on a line, with a text \"command\"");
	for (const struct wt_job_command *c = job->commands; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c->run(job->arg, request, ret_result, err);
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", known[0] ? ", " : "",
			c->name);
	}
	return wt_error_set(err, ENOSYS, "there is no command %s; there are: %s",
		wt_printable(name, strlen(name), shown, sizeof shown), known);
}

static void set_answer(struct client *client, json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(12));

	json_decref(answer);
	if (!text) {
		client->ended = true;
		return;
	}
	client->answer = text;
	client->answer_length = strlen(text) + 1;
	text[client->answer_length - 1] = '\n'; /* in the place of NUL */
	client->sent = 0;
}

static void answer_error(struct client *client, const struct wt_error *err)
{
	struct wt_error said = wt_printable_error(err);

	set_answer(client, json_pack("{s:s}", "error", said.text));
}

static void answer_line(struct client *client, size_t length)
{
	json_t *request = json_loadb(client->line, length, JSON_REJECT_DUPLICATES, NULL), *result = NULL;
	struct wt_error err = { 0 };

	if (run_command(client->job, request, &result, &err))
		answer_error(client, &err);
	else
		set_answer(client, json_pack("{s:o}", "return", result));
	json_decref(request);
}

/* ---- clients ---- */

static void client_close(struct client *client)
{
	if (client->fd < 0)
		return;
	wt_loop_fd_clear(client->job->loop, client->fd);
	close(client->fd);
	free(client->answer);
	client->answer = NULL;
	client->fd = -1;
}

static void client_receive(struct client *client)
{
	ssize_t n = recv(client->fd, client->line + client->length, sizeof client->line - client->length, 0);

	if (n > 0)
		client->length += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		client->ended = true;
}

/* True: there is no answer any more. */
static bool client_send(struct client *client)
{
	ssize_t n;

	if (!client->answer)
		return true;
	n = send(client->fd, client->answer + client->sent, client->answer_length - client->sent,
		MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client->ended = true; /* nobody is there to read it */
		client->length = 0;
		client->sent = client->answer_length;
	} else if (n > 0) {
		client->sent += (size_t)n;
	}
	if (client->sent < client->answer_length)
		return false;
	free(client->answer);
	client->answer = NULL;
	return true;
}

/* Answers the next line if it is there; false: it is not. */
static bool client_next(struct client *client)
{
	char *end = memchr(client->line, '\n', client->length);
	struct wt_error err = { 0 };
	size_t length;

	if (!end && client->length < sizeof client->line)
		return false;
	if (!end) {
		wt_error_set(&err, EMSGSIZE, "a request has at most %d bytes", WT_JOB_LINE_MAX);
		answer_error(client, &err);
		client->ended = true;
		client->length = 0;
		return true;
	}
	length = (size_t)(end - client->line) + 1;
	answer_line(client, length);
	client->length -= length;
	memmove(client->line, client->line + length, client->length);
	return true;
}

static void client_ready(void *arg, uint32_t events)
{
	struct client *client = arg;
	uint32_t wanted = EPOLLOUT;

	client->turn = ++client->job->turns;
	if (!client->answer && !client->ended)
		client_receive(client);
	while (client_send(client)) {
		if (client_next(client))
			continue;
		if (client->ended) {
			client_close(client);
			return;
		}
		wanted = EPOLLIN;
		break;
	}
	if (wt_loop_fd_set(client->job->loop, client->fd, wanted, client_ready, client))
		client_close(client);
}

/* A free place, or that of the client that has been silent longest. */
static struct client *find_place(struct wt_job *job)
{
	struct client *oldest = &job->clients[0];

	for (unsigned i = 0; i < WT_LIMIT_JOB_CLIENTS; i++) {
		struct client *client = &job->clients[i];

		if (client->fd < 0)
			return client;
		if (client->turn < oldest->turn)
			oldest = client;
	}
	client_close(oldest);
	return oldest;
}

static void accept_ready(void *arg, uint32_t events);

static void accept_again(void *arg, uint64_t now_ns)
{
	struct wt_job *job = arg;

	wt_loop_fd_set(job->loop, job->fd, EPOLLIN, accept_ready, job);
}

static void accept_ready(void *arg, uint32_t events)
{
	struct wt_job *job = arg;
	struct client *client;
	int fd = accept4(job->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		wt_loop_fd_clear(job->loop, job->fd);
		wt_loop_timer_set(job->loop, &job->accept_again, wt_loop_now_ns(job->loop) + ACCEPT_AGAIN_NS,
			accept_again, job);
		return;
	}
	client = find_place(job);
	client->fd = fd;
	client->length = 0;
	client->ended = false;
	client->turn = ++job->turns;
	if (wt_loop_fd_set(job->loop, fd, EPOLLIN, client_ready, client))
		client_close(client);
}

/* ---- beginning and end ---- */

static int listen_at(struct wt_job *job, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = job->place.socket;
	int r;

	memcpy(address.sun_path, path, strlen(path) + 1);
	job->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (job->fd < 0 || bind(job->fd, (struct sockaddr *)&address, sizeof address) || chmod(path, 0600) ||
		listen(job->fd, WT_LIMIT_JOB_CLIENTS))
		return wt_error_set(err, errno, "the job's socket %s: %s", path, strerror(errno));
	r = wt_loop_fd_set(job->loop, job->fd, EPOLLIN, accept_ready, job);
	return r ? wt_error_set(err, -r, "the job's socket %s: %s", path, strerror(-r)) : 0;
}

int wt_job_open(struct wt_loop *loop, const char *name, const struct wt_job_command *commands, void *arg,
	struct wt_job **ret_job, struct wt_error *err)
{
	struct wt_job *job = calloc(1, sizeof *job);
	int r;

	if (!job)
		return wt_error_set(err, ENOMEM, "no memory for the job's socket");
	job->loop = loop;
	job->commands = commands;
	job->arg = arg;
	job->fd = -1;
	for (unsigned i = 0; i < WT_LIMIT_JOB_CLIENTS; i++) {
		job->clients[i].job = job;
		job->clients[i].fd = -1;
	}
	job->place.lock_fd = -1;
	r = wt_job_place_take(name, &job->place, err);
	if (!r)
		r = listen_at(job, err);
	if (r) {
		wt_job_close(job);
		return r;
	}
	*ret_job = job;
	return 0;
}

void wt_job_close(struct wt_job *job)
{
	if (!job)
		return;
	for (unsigned i = 0; i < WT_LIMIT_JOB_CLIENTS; i++)
		client_close(&job->clients[i]);
	wt_loop_timer_clear(job->loop, &job->accept_again);
	if (job->fd >= 0) {
		wt_loop_fd_clear(job->loop, job->fd);
		close(job->fd);
	}
	wt_job_place_leave(&job->place);
	free(job);
}
