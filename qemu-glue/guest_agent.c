/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_agent.c - see guest_agent.h.
 *
 *   1. Ids begin at a random number: an answer to somebody who held this socket before is none of ours.
 *   2. A request is sent whole before the next one, behind a newline of its own: what a dead client left
 *      half written does not spoil it.
 *   3. Only answers with the id of what is under way count; an answer that is malformed means nothing.
 *
 * Only the loop's thread.
 */
#include "guest_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/rand.h>

#define REPEAT_PING_NS 250000000ull
#define REPEAT_NS 1000000000ull

struct wt_guest_agent {
	struct wt_loop *loop;
	int fd;
	char path[108];
	struct wt_agent_lines lines;
	char *output; /* output_sent of output_length bytes are written */
	size_t output_length, output_sent;
	uint64_t next_id;
	struct wt_agent_request request; /* verb 0: nothing is under way; data is not ours */
	wt_guest_agent_fn *told;
	void *arg;
	uint64_t until_ns, patience_ms;
	struct wt_timer timer;
	struct wt_error end; /* code set: the socket is closed */
};

static void on_socket(void *arg, uint32_t events);
static void timer_fired(void *arg, uint64_t now_ns);

static void answered(
	struct wt_guest_agent *agent, const struct wt_agent_answer *answer, const struct wt_error *err)
{
	wt_guest_agent_fn *told = agent->told;

	wt_guest_agent_forget(agent);
	told(agent->arg, answer, err);
}

static void set_timer(struct wt_guest_agent *agent, uint64_t at_ns)
{
	wt_loop_timer_set(agent->loop, &agent->timer, at_ns, timer_fired, agent);
}

static void end(struct wt_guest_agent *agent, const char *why)
{
	wt_loop_fd_clear(agent->loop, agent->fd);
	wt_error_set(&agent->end, ECONNRESET, "the socket %s of the guest's agent is of no use any more: %s",
		agent->path, why);
	if (agent->request.verb)
		set_timer(agent, 0);
}

/* ---- writing ---- */

static void watch(struct wt_guest_agent *agent)
{
	bool more = agent->output_sent < agent->output_length;

	/* A guest that talks although nothing was asked is not heard. */
	if (wt_loop_fd_set(agent->loop, agent->fd,
		    (agent->request.verb ? EPOLLIN : 0) | (more ? EPOLLOUT : 0), on_socket, agent))
		end(agent, "it cannot be watched");
}

static void write_some(struct wt_guest_agent *agent)
{
	while (agent->output_sent < agent->output_length) {
		ssize_t n = send(agent->fd, agent->output + agent->output_sent,
			agent->output_length - agent->output_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			end(agent, strerror(errno));
			return;
		}
		agent->output_sent += (size_t)n;
	}
	watch(agent);
}

/* What of the last one was not written is dropped. */
static int send_request(struct wt_guest_agent *agent, struct wt_error *err)
{
	char *line;
	int r;

	r = wt_agent_request_render(&agent->request, &line, err);
	if (r)
		return r;
	free(agent->output);
	agent->output_length = strlen(line) + 1;
	agent->output = malloc(agent->output_length + 1);
	agent->output_sent = 0;
	if (!agent->output) {
		agent->output_length = 0;
		free(line);
		return wt_error_set(err, ENOMEM, "no memory to ask the guest's agent");
	}
	agent->output[0] = '\n';
	strcpy(agent->output + 1, line);
	free(line);
	write_some(agent);
	return 0;
}

/* ---- reading ---- */

static void take_line(void *arg, const char *line, size_t length)
{
	struct wt_guest_agent *agent = arg;
	struct wt_agent_answer answer;
	struct wt_error none = { 0 };

	if (wt_agent_answer_parse(line, length, &answer, &none))
		return;
	wt_error_clear(&none);
	if (agent->request.verb && answer.id == agent->request.id)
		answered(agent, &answer, &none);
	wt_agent_answer_clear(&answer);
}

static void read_some(struct wt_guest_agent *agent)
{
	size_t room;
	char *bytes = wt_agent_lines_room(&agent->lines, &room);
	ssize_t n = recv(agent->fd, bytes, room, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		end(agent,
			n ? strerror(errno) : "QEMU closed it; somebody else may use it, or QEMU has ended");
	else
		wt_agent_lines_add(&agent->lines, (size_t)n, take_line, agent);
}

static void on_socket(void *arg, uint32_t events)
{
	struct wt_guest_agent *agent = arg;

	if (events & EPOLLOUT)
		write_some(agent);
	if (!agent->end.code && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_some(agent);
}

/* ---- asking ---- */

static uint64_t next_repeat(const struct wt_guest_agent *agent, uint64_t now_ns)
{
	uint64_t at_ns = now_ns + (agent->request.verb == WT_AGENT_PING ? REPEAT_PING_NS : REPEAT_NS);

	return at_ns < agent->until_ns ? at_ns : agent->until_ns;
}

static void timer_fired(void *arg, uint64_t now_ns)
{
	struct wt_guest_agent *agent = arg;
	struct wt_error err = { 0 };

	if (agent->end.code) {
		answered(agent, NULL, &agent->end);
		return;
	}
	if (now_ns < agent->until_ns) {
		set_timer(agent, next_repeat(agent, now_ns));
		agent->output_sent = 0;
		write_some(agent);
		return;
	}
	wt_error_set(&err, ETIMEDOUT,
		"the agent in the guest did not answer to \"%s\" within %" PRIu64
		" ms; does watari-guest run there, and is %s its port's socket?",
		wt_agent_verb_name(agent->request.verb), agent->patience_ms, agent->path);
	answered(agent, NULL, &err);
}

int wt_guest_agent_ask(struct wt_guest_agent *agent, const struct wt_agent_request *request,
	uint32_t patience_ms, wt_guest_agent_fn *told, void *arg, struct wt_error *err)
{
	uint64_t now_ns = wt_loop_now_ns(agent->loop);
	int r;

	if (agent->end.code)
		return wt_error_set(err, agent->end.code, "%s", agent->end.text);
	agent->request = *request;
	agent->request.id = agent->next_id++;
	agent->told = told;
	agent->arg = arg;
	agent->patience_ms = (uint64_t)request->timeout_ms + patience_ms;
	agent->until_ns = now_ns + agent->patience_ms * 1000000;
	r = send_request(agent, err);
	agent->request.data = NULL;
	if (r)
		agent->request.verb = WT_AGENT_INVALID;
	else
		set_timer(agent, agent->end.code ? now_ns : next_repeat(agent, now_ns));
	return r;
}

void wt_guest_agent_forget(struct wt_guest_agent *agent)
{
	agent->request.verb = WT_AGENT_INVALID;
	wt_loop_timer_clear(agent->loop, &agent->timer);
	if (!agent->end.code)
		watch(agent);
}

int wt_guest_agent_open(struct wt_loop *loop, const char *socket_path, struct wt_guest_agent **ret_agent,
	struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct wt_guest_agent *agent;
	uint32_t start;
	int r;

	if (strlen(socket_path) >= sizeof address.sun_path)
		return wt_error_set(
			err, ENAMETOOLONG, "the path of the agent's socket is too long: %s", socket_path);
	strcpy(address.sun_path, socket_path);
	agent = calloc(1, sizeof *agent);
	if (!agent || RAND_bytes((unsigned char *)&start, sizeof start) != 1) {
		free(agent);
		return wt_error_set(err, ENOMEM, "no memory for a client of the guest's agent");
	}
	agent->loop = loop;
	agent->next_id = 1 + ((uint64_t)start << 16);
	strcpy(agent->path, socket_path);
	agent->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (agent->fd < 0 || connect(agent->fd, (struct sockaddr *)&address, sizeof address)) {
		r = wt_error_set(err, errno,
			"the socket %s of the guest's agent cannot be reached: %s; start QEMU with -chardev "
			"socket,id=agent,path=%s,server=on,wait=off and a virtserialport named " WT_AGENT_PORT,
			socket_path, strerror(errno), socket_path);
		if (agent->fd >= 0)
			close(agent->fd);
		free(agent);
		return r;
	}
	watch(agent);
	*ret_agent = agent;
	return 0;
}

void wt_guest_agent_close(struct wt_guest_agent *agent)
{
	if (!agent)
		return;
	wt_loop_timer_clear(agent->loop, &agent->timer);
	if (!agent->end.code)
		wt_loop_fd_clear(agent->loop, agent->fd);
	close(agent->fd);
	free(agent->output);
	free(agent);
}
