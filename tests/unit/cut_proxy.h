/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cut_proxy.h - a tcp proxy between a page server and a puller that can cut, stall and refuse connections.
 *
 * One port for the control connection, one for data connections. The puller tells the server its data port in
 * the ready message; the proxy, which reads that message as it passes, puts its own port there. (Control is
 * in the clear; the puller names no host, so the port of the first fabric that it offers is at a fixed
 * place.)
 *
 * One thread of its own; the functions may be called by any other. Include it in one file of a program.
 */
#ifndef WT_TEST_CUT_PROXY_H
#define WT_TEST_CUT_PROXY_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

#define PROXY_PAIRS 64
#define PROXY_BUFFER (64u << 10)
#define READY_PORT_AT (WT_PATH_TOKEN_BYTES + 4u)

enum proxy_kind { PROXY_CONTROL, PROXY_DATA };

struct proxy_pipe {
	size_t start, end;
	uint8_t bytes[PROXY_BUFFER];
};

struct proxy_pair {
	int fds[2]; /* that of who connected, that of whom he wanted */
	enum proxy_kind kind;
	struct proxy_pipe pipes[2]; /* what fds[i] said */
	/* Where the puller's half of a control connection is within its frames. */
	size_t skip, header_got, payload_at;
	uint8_t header[WT_WIRE_FRAME_HEADER];
	struct wt_frame frame;
};

struct proxy_rule {
	bool refuse, stall;
	unsigned cuts;      /* asked for and not done */
	uint64_t cut_after; /* bytes; 0: never */
	uint64_t cut_count; /* connections that were cut */
};

struct proxy {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t done;
	int wake, listeners[2];
	uint16_t ports[2], targets[2];
	struct proxy_rule rules[2];
	unsigned asked, answered;
	bool stop;
	unsigned count;
	struct proxy_pair *pairs[PROXY_PAIRS];
};

static inline int proxy_socket(uint16_t port, bool listening, uint16_t *ret_port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	socklen_t length = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || (listening ? bind(fd, (struct sockaddr *)&in, length) || listen(fd, 64)
				 : connect(fd, (struct sockaddr *)&in, length))) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (ret_port && getsockname(fd, (struct sockaddr *)&in, &length) == 0)
		*ret_port = ntohs(in.sin_port);
	return fd;
}

static inline void proxy_drop(struct proxy *p, unsigned i)
{
	struct linger rude = { .l_onoff = 1 };

	/* In turns with an orderly end and with a reset. */
	if (p->rules[p->pairs[i]->kind].cut_count++ % 2)
		for (unsigned k = 0; k < 2; k++)
			setsockopt(p->pairs[i]->fds[k], SOL_SOCKET, SO_LINGER, &rude, sizeof rude);
	close(p->pairs[i]->fds[0]);
	close(p->pairs[i]->fds[1]);
	free(p->pairs[i]);
	p->pairs[i] = p->pairs[--p->count];
}

static inline void proxy_accept(struct proxy *p, enum proxy_kind kind)
{
	int fd = accept4(p->listeners[kind], NULL, NULL, SOCK_CLOEXEC), other;
	struct proxy_pair *pair;

	if (fd < 0)
		return;
	other = p->rules[kind].refuse || p->count == PROXY_PAIRS
			? -1
			: proxy_socket(p->targets[kind], false, NULL);
	if (other < 0) {
		close(fd);
		return;
	}
	pair = calloc(1, sizeof *pair);
	*pair = (struct proxy_pair){ .fds = { fd, other }, .kind = kind, .skip = WT_WIRE_WELCOME_BYTES };
	p->pairs[p->count++] = pair;
}

/* Of what comes next so many bytes that nobody looks at; 0: the next one is for proxy_watch. */
static inline size_t proxy_unseen(struct proxy_pair *pair, size_t length)
{
	bool in_payload = pair->header_got == WT_WIRE_FRAME_HEADER && pair->frame.type != WT_MESSAGE_READY;
	size_t most = in_payload ? pair->frame.length - pair->payload_at : pair->skip;

	if (length > most)
		length = most;
	if (!in_payload) {
		pair->skip -= length;
		return length;
	}
	pair->payload_at += length;
	if (pair->payload_at == pair->frame.length)
		pair->header_got = 0;
	return length;
}

/* One byte of a header, or of a READY. */
static inline void proxy_watch(struct proxy *p, struct proxy_pair *pair, uint8_t *byte)
{
	if (pair->header_got < WT_WIRE_FRAME_HEADER) {
		pair->header[pair->header_got++] = *byte;
		pair->payload_at = 0;
		if (pair->header_got == WT_WIRE_FRAME_HEADER &&
			wt_wire_frame_decode(pair->header, &pair->frame))
			abort();
	} else {
		unsigned at = (unsigned)pair->payload_at - READY_PORT_AT;

		if (pair->frame.type == WT_MESSAGE_READY && at < 2) {
			p->targets[PROXY_DATA] =
				(uint16_t)((p->targets[PROXY_DATA] & (at ? 0xff : 0xff00)) | *byte << 8 * at);
			*byte = (uint8_t)(p->ports[PROXY_DATA] >> 8 * at);
		}
		pair->payload_at++;
	}
	if (pair->header_got == WT_WIRE_FRAME_HEADER && pair->payload_at == pair->frame.length)
		pair->header_got = 0;
}

/* What the puller says on a control connection. */
static inline void proxy_hear(struct proxy *p, struct proxy_pair *pair, uint8_t *bytes, size_t length)
{
	for (size_t i = 0, n; i < length; i += n) {
		n = proxy_unseen(pair, length - i);
		if (!n) {
			proxy_watch(p, pair, &bytes[i]);
			n = 1;
		}
	}
}

/* Moves what fds[from] said; false: the connection is over. */
static inline bool proxy_move(
	struct proxy *p, struct proxy_pair *pair, unsigned from, short events, short room)
{
	struct proxy_pipe *pipe = &pair->pipes[from];
	struct proxy_rule *rule = &p->rules[pair->kind];
	ssize_t n;

	if (pipe->start == pipe->end && events) {
		n = recv(pair->fds[from], pipe->bytes, PROXY_BUFFER, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		pipe->start = 0;
		pipe->end = n < 0 ? 0 : (size_t)n;
		if (from == 1 && pair->kind == PROXY_CONTROL)
			proxy_hear(p, pair, pipe->bytes, pipe->end);
		room = POLLOUT;
	}
	if (pipe->start < pipe->end && room) {
		size_t length = pipe->end - pipe->start;

		if (rule->cut_after && length > rule->cut_after)
			length = rule->cut_after;
		n = send(pair->fds[!from], pipe->bytes + pipe->start, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0) {
			pipe->start += (size_t)n;
			if (rule->cut_after && !(rule->cut_after -= (size_t)n))
				return false;
		}
	}
	return true;
}

static inline unsigned proxy_poll_set(const struct proxy *p, struct pollfd *fds)
{
	unsigned n = 0;

	fds[n++] = (struct pollfd){ .fd = p->wake, .events = POLLIN };
	for (unsigned k = 0; k < 2; k++)
		fds[n++] = (struct pollfd){ .fd = p->listeners[k], .events = POLLIN };
	for (unsigned i = 0; i < p->count; i++)
		for (unsigned k = 0; k < 2; k++) {
			const struct proxy_pair *pair = p->pairs[i];
			short events = 0;

			if (pair->pipes[k].start == pair->pipes[k].end)
				events |= POLLIN;
			if (pair->pipes[!k].start < pair->pipes[!k].end)
				events |= POLLOUT;
			fds[n++] = (struct pollfd){ .fd = p->rules[pair->kind].stall ? -1 : pair->fds[k],
				.events = events };
		}
	return n;
}

static inline void proxy_turn(struct proxy *p, const struct pollfd *fds)
{
	const struct pollfd *ends = fds + 3;

	for (unsigned i = p->count; i-- > 0;) {
		struct proxy_pair *pair = p->pairs[i];
		short a = ends[2 * i].revents, b = ends[2 * i + 1].revents;
		const short in = POLLIN | POLLHUP | POLLERR;

		if (p->rules[pair->kind].stall)
			continue;
		if (!proxy_move(p, pair, 0, a & in, b & POLLOUT) ||
			!proxy_move(p, pair, 1, b & in, a & POLLOUT) || p->rules[pair->kind].cuts)
			proxy_drop(p, i);
	}
	for (unsigned k = 0; k < 2; k++) {
		p->rules[k].cuts = 0;
		if (fds[1 + k].revents)
			proxy_accept(p, (enum proxy_kind)k);
	}
}

static inline void *proxy_main(void *arg)
{
	struct pollfd fds[3 + 2 * PROXY_PAIRS];
	struct proxy *p = arg;
	uint64_t count;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		unsigned n = proxy_poll_set(p, fds);

		pthread_mutex_unlock(&p->lock);
		poll(fds, n, -1);
		if (fds[0].revents && read(p->wake, &count, sizeof count) < 0)
			abort();
		pthread_mutex_lock(&p->lock);
		proxy_turn(p, fds);
		p->answered = p->asked;
		pthread_cond_broadcast(&p->done);
	}
	while (p->count)
		proxy_drop(p, 0);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static inline void proxy_open(struct proxy *p, uint16_t control_port)
{
	memset(p, 0, sizeof *p);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->done, NULL);
	p->wake = eventfd(0, EFD_CLOEXEC);
	for (unsigned k = 0; k < 2; k++)
		p->listeners[k] = proxy_socket(0, true, &p->ports[k]);
	p->targets[PROXY_CONTROL] = control_port;
	pthread_create(&p->thread, NULL, proxy_main, p);
}

static inline void proxy_nudge(struct proxy *p)
{
	uint64_t one = 1;

	if (write(p->wake, &one, sizeof one) < 0)
		abort();
}

/* Sets the rule of one kind; when it answers, cuts are done and the rule is in force. */
static inline void proxy_rule(struct proxy *p, enum proxy_kind kind, bool cut, bool refuse, bool stall)
{
	unsigned asked;

	pthread_mutex_lock(&p->lock);
	p->rules[kind].cuts += cut;
	p->rules[kind].refuse = refuse;
	p->rules[kind].stall = stall;
	asked = ++p->asked;
	proxy_nudge(p);
	while (p->answered != asked)
		pthread_cond_wait(&p->done, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

static inline void proxy_cut_after(struct proxy *p, enum proxy_kind kind, uint64_t bytes)
{
	pthread_mutex_lock(&p->lock);
	p->rules[kind].cut_after = bytes;
	pthread_mutex_unlock(&p->lock);
}

static inline uint64_t proxy_cut_after_left(struct proxy *p, enum proxy_kind kind)
{
	uint64_t left;

	pthread_mutex_lock(&p->lock);
	left = p->rules[kind].cut_after;
	pthread_mutex_unlock(&p->lock);
	return left;
}

/* Connections of all kinds that were cut so far. */
static inline uint64_t proxy_cuts(struct proxy *p)
{
	uint64_t cuts;

	pthread_mutex_lock(&p->lock);
	cuts = p->rules[PROXY_CONTROL].cut_count + p->rules[PROXY_DATA].cut_count;
	pthread_mutex_unlock(&p->lock);
	return cuts;
}

static inline void proxy_close(struct proxy *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	proxy_nudge(p);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	close(p->wake);
	close(p->listeners[0]);
	close(p->listeners[1]);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->done);
}

#endif
