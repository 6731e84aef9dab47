/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_pull.c - the pulling end of a tcp path: requests out, bytes straight into place.
 *
 * Owns the ring of outstanding operations and the requests that the socket has not taken yet.
 *   1. ops[first .. first + count) are outstanding, oldest first; answers come in that order.
 *   2. `got` bytes of the oldest one's answer (its bytes, then the trailer) have arrived.
 *   3. Every request that waits in `out` belongs to an outstanding operation, so `out` never overflows.
 *   4. The epoll descriptor watches EPOLLOUT exactly while `out` holds something.
 *   5. Memory of an operation is written only inside poll; so a path that failed is silent at once.
 *   6. `outstanding` is what is still to come, trailers included. The socket wakes us for a part of that
 *      (`low_water` <= outstanding / LOW_WATER_PARTS, or 1), not for each packet.
 *   7. With TLS bytes may wait in it: then arm says to poll again. Otherwise less than a record does, and the
 *      socket has more to come than `low_water`.
 * No thread, no allocation after start. An answer that does not fit what was asked fails the path (-EPROTO).
 */
#include "path_tcp.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define RECEIVE_OPS_MAX 64u          /* answers in one recvmsg */
#define RECEIVE_BYTES_MAX (4u << 20) /* bytes in one poll, or somewhat more */
#define LOW_WATER_PARTS 4u
#define LOW_WATER_MIN (16u << 10) /* less than this is not waited for */
#define LOW_WATER_MAX (256u << 10)

struct pull_op {
	uint64_t cookie;
	uint8_t *local;
	uint32_t length;
};

struct wt_tcp_pull {
	struct pull_op ops[WT_TCP_DEPTH];
	struct wt_tcp_trailer trailers[WT_TCP_DEPTH];
	unsigned first;
	unsigned count;
	uint32_t got;
	uint64_t id_first; /* id of the oldest outstanding operation */
	uint64_t outstanding;
	int low_water;
	bool watching_out;
	size_t out_first;
	size_t out_end;
	uint8_t out[WT_TCP_DEPTH * sizeof(struct wt_tcp_request)];
};

static int watch(struct wt_path *path, int how, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return epoll_ctl(path->epoll, how, path->socket, &event) < 0 ? -errno : 0;
}

int wt_tcp_pull_start(struct wt_path *path)
{
	path->pull = calloc(1, sizeof *path->pull);
	if (!path->pull)
		return -ENOMEM;
	path->pull->low_water = 1;
	return watch(path, EPOLL_CTL_ADD, EPOLLIN);
}

void wt_tcp_pull_stop(struct wt_path *path)
{
	epoll_ctl(path->epoll, EPOLL_CTL_DEL, path->socket, NULL);
	free(path->pull);
	path->pull = NULL;
}

unsigned wt_tcp_pull_outstanding(const struct wt_path *path)
{
	return path->pull->count;
}

/* Requests, or records of them, that the socket has not taken. */
static bool is_unsent(const struct wt_path *path)
{
	return path->pull->out_first < path->pull->out_end || (path->tls && wt_tcp_tls_unsent(path->tls));
}

static ssize_t send_some(struct wt_path *path, const uint8_t *data, size_t length)
{
	ssize_t sent;

	if (path->tls)
		return length ? wt_tcp_tls_send(path->tls, data, length) : wt_tcp_tls_flush(path->tls);
	sent = send(path->socket, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	return sent < 0 ? -errno : sent;
}

static ssize_t receive_some(struct wt_path *path, struct msghdr *message)
{
	ssize_t got;

	if (path->tls)
		return wt_tcp_tls_receive(path->tls, message->msg_iov, (unsigned)message->msg_iovlen);
	got = recvmsg(path->socket, message, MSG_DONTWAIT);
	return got < 0 ? -errno : got;
}

static void flush(struct wt_path *path)
{
	struct wt_tcp_pull *pull = path->pull;
	bool blocked;
	ssize_t sent;

	while (is_unsent(path)) {
		sent = send_some(path, pull->out + pull->out_first, pull->out_end - pull->out_first);
		if (sent == -EINTR)
			continue;
		if (sent < 0 && sent != -EAGAIN) {
			wt_tcp_path_fail(path, (int)-sent);
			return;
		}
		if (sent < 0)
			break;
		pull->out_first += (size_t)sent;
	}
	blocked = is_unsent(path);
	if (pull->out_first == pull->out_end)
		pull->out_first = pull->out_end = 0;
	if (blocked == pull->watching_out)
		return;
	pull->watching_out = blocked;
	if (watch(path, EPOLL_CTL_MOD, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN) < 0)
		wt_tcp_path_fail(path, EIO);
}

static int op_check(const struct wt_path *path, const struct wt_op *op)
{
	const struct wt_region *region = op->local_region;
	uint64_t offset;

	if (op->kind == WT_OP_SEND || op->kind == WT_OP_WRITE)
		return -EOPNOTSUPP;
	if (op->kind != WT_OP_READ || op->length == 0 || op->length > WT_PATH_READ_MAX || !region)
		return -EINVAL;
	if (region->endpoint != path->endpoint || !(region->access & WT_ACCESS_SINK))
		return -EINVAL;
	offset = (uint64_t)((uintptr_t)op->local - (uintptr_t)region->base);
	if ((uintptr_t)op->local < (uintptr_t)region->base || offset > region->length ||
		op->length > region->length - offset)
		return -EINVAL;
	return 0;
}

static void queue(struct wt_tcp_pull *pull, const struct wt_op *op)
{
	struct pull_op *slot = &pull->ops[(pull->first + pull->count) % WT_TCP_DEPTH];
	struct wt_tcp_request request = {
		.id = htole64(pull->id_first + pull->count),
		.address = htole64(op->remote_address),
		.key = htole64(op->remote_key),
		.length = htole32(op->length),
		.magic = htole32(WT_TCP_MAGIC_REQUEST),
	};

	slot->cookie = op->cookie;
	slot->local = op->local;
	slot->length = op->length;
	pull->count++;
	pull->outstanding += op->length + sizeof(struct wt_tcp_trailer);
	if (pull->out_end + sizeof request > sizeof pull->out) {
		memmove(pull->out, pull->out + pull->out_first, pull->out_end - pull->out_first);
		pull->out_end -= pull->out_first;
		pull->out_first = 0;
	}
	memcpy(pull->out + pull->out_end, &request, sizeof request);
	pull->out_end += sizeof request;
}

int wt_tcp_pull_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	struct wt_tcp_pull *pull = path->pull;
	unsigned taken;
	int status = -EAGAIN;

	for (taken = 0; taken < count && pull->count < WT_TCP_DEPTH; taken++) {
		status = op_check(path, &ops[taken]);
		if (status < 0)
			break;
		queue(pull, &ops[taken]);
	}
	if (taken == 0)
		return count ? status : 0;
	flush(path);
	return (int)taken;
}

static void pop(struct wt_tcp_pull *pull, int status, struct wt_completion *ret_completion)
{
	const struct pull_op *op = &pull->ops[pull->first];

	ret_completion->cookie = op->cookie;
	ret_completion->status = status;
	ret_completion->length = status ? 0 : op->length;
	pull->first = (pull->first + 1) % WT_TCP_DEPTH;
	pull->count--;
	pull->id_first++;
	pull->got = 0;
}

/* The oldest operation's answer is complete. Answers 1, or 0 when the path failed. */
static unsigned finish(struct wt_path *path, struct wt_completion *ret_completion)
{
	struct wt_tcp_pull *pull = path->pull;
	const struct wt_tcp_trailer *trailer = &pull->trailers[pull->first];
	int status = wt_tcp_status_error(le32toh(trailer->status));

	if (le32toh(trailer->magic) != WT_TCP_MAGIC_TRAILER || le64toh(trailer->id) != pull->id_first ||
		status == -EPROTO) {
		wt_tcp_path_fail(path, EPROTO);
		return 0;
	}
	pop(pull, status, ret_completion);
	return 1;
}

/* Where the next bytes belong: up to `max` answers, oldest first. */
static unsigned places(struct wt_tcp_pull *pull, unsigned max, struct iovec *iov, size_t *ret_bytes)
{
	uint32_t got = pull->got;
	size_t bytes = 0;
	unsigned n = 0;
	unsigned i;

	for (i = 0; i < max && i < pull->count && bytes < RECEIVE_BYTES_MAX; i++, got = 0) {
		unsigned slot = (pull->first + i) % WT_TCP_DEPTH;
		const struct pull_op *op = &pull->ops[slot];
		uint32_t skip = got > op->length ? got - op->length : 0;

		if (got < op->length) {
			iov[n].iov_base = op->local + got;
			iov[n].iov_len = op->length - got;
			bytes += iov[n++].iov_len;
		}
		iov[n].iov_base = (uint8_t *)&pull->trailers[slot] + skip;
		iov[n].iov_len = sizeof(struct wt_tcp_trailer) - skip;
		bytes += iov[n++].iov_len;
	}
	*ret_bytes = bytes;
	return n;
}

/* Answers bytes received, 0 when there are none now or the path failed; sets *ret_more if more may wait. */
static size_t receive(struct wt_path *path, unsigned max, bool *ret_more)
{
	struct iovec iov[2 * RECEIVE_OPS_MAX];
	struct msghdr message = { .msg_iov = iov };
	size_t bytes;
	uint8_t nothing;
	ssize_t got;

	*ret_more = false;
	if (path->pull->count) {
		message.msg_iovlen = places(path->pull, max, iov, &bytes);
	} else {
		/* Nothing was asked: only the end of the connection can be heard. */
		iov[0].iov_base = &nothing;
		iov[0].iov_len = bytes = 1;
		message.msg_iovlen = 1;
	}
	do
		got = receive_some(path, &message);
	while (got == -EINTR);
	if (got == -EAGAIN)
		return 0;
	if (got <= 0 || !path->pull->count) {
		wt_tcp_path_fail(path, got < 0 ? (int)-got : got == 0 ? ECONNRESET : EPROTO);
		return 0;
	}
	*ret_more = (size_t)got == bytes;
	return (size_t)got;
}

void wt_tcp_pull_arm(struct wt_path *path)
{
	struct wt_tcp_pull *pull = path->pull;
	uint64_t part = pull->outstanding / LOW_WATER_PARTS;
	int low_water = 1;

	while (part >= LOW_WATER_MIN && (unsigned)low_water < LOW_WATER_MAX &&
		2 * (uint64_t)low_water <= part)
		low_water *= 2;
	/* A hint: at worst we are woken more often, or for less. */
	if (low_water != pull->low_water &&
		setsockopt(path->socket, SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof low_water) == 0)
		pull->low_water = low_water;
}

int wt_tcp_pull_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	struct wt_tcp_pull *pull = path->pull;
	unsigned done = 0;
	size_t total = 0;
	bool more = true;

	if (!path->error && is_unsent(path))
		flush(path);
	while (!path->error && more && done < max && total < RECEIVE_BYTES_MAX) {
		unsigned room = max - done;
		size_t got = receive(path, room < RECEIVE_OPS_MAX ? room : RECEIVE_OPS_MAX, &more);

		total += got;
		pull->outstanding -= got;
		while (got && !path->error) {
			uint32_t rest = pull->ops[pull->first].length +
					(uint32_t)sizeof(struct wt_tcp_trailer) - pull->got;

			if (got < rest) {
				pull->got += (uint32_t)got;
				break;
			}
			got -= rest;
			done += finish(path, &ret_completions[done]);
		}
		if (!pull->count)
			break;
	}
	if (path->error) {
		while (pull->count && done < max)
			pop(pull, -path->error, &ret_completions[done++]);
		if (!done && !pull->count)
			return -path->error;
	}
	return (int)done;
}
