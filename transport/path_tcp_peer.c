/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_peer.c - the sending half of a path of peers over tcp, and what both halves share.
 *
 * Owns the queue of frames that the socket has not taken, the operations that wait for an answer, and the
 * completions that poll has not handed out. What comes is path_tcp_peer_in.c's.
 *   1. out[out_first .. +out_count) are unsent, oldest first; `sent` bytes of the first one are gone.
 *   2. A SEND is done when the socket has all of it. WRITEs and READs then wait in `waiting`, in order, for
 *      their answers, which come in that order.
 *   3. outstanding == operations in `out` + in `waiting` + in `done`, at most WT_TCP_DEPTH. So neither ring
 *      overflows: `out` has room for as many answers besides, and a peer that is owed more broke the rules.
 *   4. A region is looked up anew before each piece of an answer is sent; if its key no longer grants
 *      reading, zeros take the place of the rest and the trailer says so.
 *   5. A send that failed fails the path only when there is nothing more to receive.
 *   6. What send_now has sent in part is in `out` as a frame of which no completion tells; there is one at
 * most, for none is begun while `out` holds anything.
 *   7. The epoll descriptor watches EPOLLOUT exactly while `out` holds something.
 * No thread and no allocation after start; nothing here blocks.
 */
#include "path_tcp_peer.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define SEND_IOVS_MAX 64u
/* One call, or twice that: while more is copied, what the peer has taken leaves the cache before it is used
 * again. Less, where the way into the kernel is dear, is slower by far. */
#define SEND_BYTES_MAX (1u << 20)
#define TOGETHER_BYTES 512u

static const uint8_t zeros[64u << 10];

static int watch(struct wt_path *path, int how, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return epoll_ctl(path->epoll, how, path->socket, &event) < 0 ? -errno : 0;
}

int wt_tcp_peer_start(struct wt_path *path)
{
	path->peer = calloc(1, sizeof *path->peer);
	if (!path->peer)
		return -ENOMEM;
	return watch(path, EPOLL_CTL_ADD, EPOLLIN);
}

void wt_tcp_peer_stop(struct wt_path *path)
{
	epoll_ctl(path->epoll, EPOLL_CTL_DEL, path->socket, NULL);
	free(path->peer);
	path->peer = NULL;
}

bool wt_tcp_peer_idle(const struct wt_path *path)
{
	return !path->peer->outstanding && !path->peer->out_count;
}

bool wt_tcp_peer_ready(const struct wt_path *path)
{
	return path->peer->done_count || wt_tcp_peer_buffered(path->peer);
}

bool wt_tcp_peer_may(const struct wt_path *path, short events)
{
	struct pollfd socket = { .fd = path->socket, .events = events };

	return poll(&socket, 1, 0) != 0;
}

struct wt_tcp_out *wt_tcp_peer_out(struct wt_tcp_peer *peer)
{
	struct wt_tcp_out *out;

	if (peer->out_count == WT_TCP_OUT_MAX)
		return NULL;
	out = &peer->out[(peer->out_first + peer->out_count++) % WT_TCP_OUT_MAX];
	memset(out, 0, sizeof *out);
	out->frame.magic = htole32(WT_TCP_MAGIC_FRAME);
	return out;
}

void wt_tcp_peer_done(struct wt_tcp_peer *peer, uint64_t cookie, int status, uint32_t length)
{
	struct wt_completion *done = &peer->done[(peer->done_first + peer->done_count++) % WT_TCP_DEPTH];

	*done = (struct wt_completion){ .cookie = cookie, .status = status, .length = length };
}

/* The part of an answer's bytes that goes out next. */
static void answer_bytes(struct wt_path *path, struct wt_tcp_out *out, uint64_t at, struct iovec *ret_iov)
{
	uint8_t *bytes = NULL;
	int status = wt_tcp_status_error(le32toh(out->trailer.status));

	if (status == 0)
		status = wt_tcp_region_locate(path->endpoint, out->key, WT_ACCESS_SERVE, out->address,
			out->body_length, NULL, &bytes);
	out->trailer.status = htole32(wt_tcp_error_status(status));
	ret_iov->iov_len = out->body_length - at;
	if (status == 0) {
		ret_iov->iov_base = bytes + at;
		return;
	}
	ret_iov->iov_base = (void *)zeros;
	if (ret_iov->iov_len > sizeof zeros)
		ret_iov->iov_len = sizeof zeros;
}

/* The unsent rest of one frame, `sent` bytes in. false: it does not fit into iov whole, send up to here. */
static bool gather(
	struct wt_path *path, struct wt_tcp_out *out, uint64_t sent, struct iovec *iov, unsigned *inout_n)
{
	const struct {
		const void *base;
		uint64_t length;
	} parts[] = {
		{ &out->frame, sizeof out->frame },
		{ out->head, out->head_length },
		{ out->body, out->body_length },
		{ &out->trailer, out->answer ? sizeof out->trailer : 0 },
	};
	unsigned i;

	for (i = 0; i < 4; i++) {
		struct iovec *next = &iov[*inout_n];

		if (sent >= parts[i].length) {
			sent -= parts[i].length;
			continue;
		}
		(*inout_n)++;
		if (i == 2 && out->answer)
			answer_bytes(path, out, sent, next);
		else
			*next = (struct iovec){ (uint8_t *)parts[i].base + sent, parts[i].length - sent };
		if (next->iov_len > SEND_BYTES_MAX)
			next->iov_len = SEND_BYTES_MAX;
		if (next->iov_len < parts[i].length - sent)
			return false;
		sent = 0;
	}
	return true;
}

static uint64_t out_bytes(const struct wt_tcp_out *out)
{
	return sizeof out->frame + (uint64_t)out->head_length + out->body_length +
	       (out->answer ? sizeof out->trailer : 0);
}

/* The first frame is with the kernel. */
static void out_pop(struct wt_tcp_peer *peer)
{
	struct wt_tcp_out *out = &peer->out[peer->out_first];

	if (out->now) {
		; /* its caller has been told */
	} else if (out->kind == WT_OP_SEND) {
		wt_tcp_peer_done(peer, out->cookie, 0, out->head_length + out->body_length);
	} else if (out->kind == WT_OP_INVALID) {
		peer->owed--;
	} else {
		peer->waiting[(peer->waiting_first + peer->waiting_count++) % WT_TCP_DEPTH] =
			(struct wt_tcp_waiting){ .kind = out->kind,
				.cookie = out->cookie,
				.local = out->local,
				.length = out->length };
	}
	peer->out_first = (peer->out_first + 1) % WT_TCP_OUT_MAX;
	peer->out_count--;
}

static void out_advance(struct wt_tcp_peer *peer, uint64_t bytes)
{
	peer->sent += bytes;
	while (peer->out_count && peer->sent >= out_bytes(&peer->out[peer->out_first])) {
		peer->sent -= out_bytes(&peer->out[peer->out_first]);
		out_pop(peer);
	}
}

/* Few bytes of ours cost less in one piece than as a list; what is served only the kernel touches, it may be
 * gone. */
static ssize_t send_pieces(int socket, const struct iovec *iov, unsigned count, uint64_t bytes, bool served)
{
	struct msghdr message = { .msg_iov = (struct iovec *)iov, .msg_iovlen = count };
	uint8_t together[TOGETHER_BYTES];
	size_t length = 0;
	unsigned i;

	if (bytes > sizeof together || served)
		return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	for (i = 0; i < count; length += iov[i++].iov_len)
		memcpy(together + length, iov[i].iov_base, iov[i].iov_len);
	return send(socket, together, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* One call of the kernel; answers bytes, or -errno. */
static ssize_t send_some(struct wt_path *path)
{
	struct wt_tcp_peer *peer = path->peer;
	struct iovec iov[SEND_IOVS_MAX];
	bool served = false;
	uint64_t bytes = 0;
	uint64_t sent = peer->sent;
	unsigned n = 0;
	ssize_t result;
	unsigned i;

	for (i = 0; i < peer->out_count && n + 4 <= SEND_IOVS_MAX && bytes < SEND_BYTES_MAX; i++, sent = 0) {
		struct wt_tcp_out *out = &peer->out[(peer->out_first + i) % WT_TCP_OUT_MAX];

		bytes += out_bytes(out) - sent;
		served |= out->answer;
		if (!gather(path, out, sent, iov, &n))
			break;
	}
	result = send_pieces(path->socket, iov, n, bytes, served);
	return result < 0 ? -errno : result;
}

void wt_tcp_peer_flush(struct wt_path *path)
{
	struct wt_tcp_peer *peer = path->peer;
	ssize_t sent = 0;

	/* A full socket says so without its lock, and takes bytes again when there is room for many. */
	if (peer->watching_out && !wt_tcp_peer_may(path, POLLOUT))
		return;
	while (peer->out_count && !peer->send_error && !path->error) {
		sent = send_some(path);
		if (sent == -EINTR)
			continue;
		if (sent == -EAGAIN)
			break;
		if (sent < 0)
			peer->send_error = (int)-sent;
		else
			out_advance(peer, (uint64_t)sent);
	}
	if ((peer->out_count > 0) == peer->watching_out || peer->send_error || path->error)
		return;
	peer->watching_out = peer->out_count > 0;
	if (watch(path, EPOLL_CTL_MOD, peer->watching_out ? EPOLLIN | EPOLLOUT : EPOLLIN) < 0)
		wt_tcp_path_fail(path, EIO);
}

static int op_check(const struct wt_path *path, const struct wt_op *op)
{
	const struct wt_region *region = op->local_region;
	uint64_t offset;

	if (op->kind == WT_OP_SEND)
		return (uint64_t)op->head_length + op->length - 1 < WT_PATH_MESSAGE_MAX ? 0 : -EINVAL;
	if (op->length - 1 >= WT_PATH_READ_MAX || (op->kind != WT_OP_READ && op->kind != WT_OP_WRITE))
		return -EINVAL;
	if (!region || region->endpoint != path->endpoint ||
		(op->kind == WT_OP_READ && !(region->access & WT_ACCESS_SINK)))
		return -EINVAL;
	offset = (uint64_t)((uintptr_t)op->local - (uintptr_t)region->base);
	if ((uintptr_t)op->local < (uintptr_t)region->base || offset > region->length ||
		op->length > region->length - offset)
		return -EINVAL;
	return 0;
}

/* The rest of what goes now. */
static void queue_now(struct wt_path *path, const void *bytes, uint32_t length, size_t sent)
{
	struct wt_tcp_peer *peer = path->peer;
	struct wt_tcp_out *out = wt_tcp_peer_out(peer);

	memcpy(peer->now, bytes, length);
	out->kind = WT_OP_SEND;
	out->now = true;
	out->frame.kind = htole16(WT_TCP_FRAME_MESSAGE);
	out->frame.length = htole32(length);
	out->body = peer->now;
	out->body_length = length;
	peer->sent = sent;
	wt_tcp_peer_flush(path);
}

bool wt_tcp_peer_send_now(struct wt_path *path, const void *bytes, uint32_t length)
{
	struct {
		struct wt_tcp_frame frame;
		uint8_t bytes[WT_PATH_NOW_MAX];
	} message;
	size_t size = sizeof message.frame + length;
	ssize_t sent;

	if (path->error || path->peer->send_error || path->peer->out_count || length - 1 >= WT_PATH_NOW_MAX)
		return false;
	message.frame = (struct wt_tcp_frame){ .magic = htole32(WT_TCP_MAGIC_FRAME),
		.kind = htole16(WT_TCP_FRAME_MESSAGE),
		.length = htole32(length) };
	memcpy(message.bytes, bytes, length);
	sent = send(path->socket, &message, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0 && (size_t)sent < size)
		queue_now(path, bytes, length, (size_t)sent);
	return sent > 0; /* a post finds out what else there is */
}

static void queue(struct wt_tcp_peer *peer, const struct wt_op *op)
{
	struct wt_tcp_out *out = wt_tcp_peer_out(peer);

	out->kind = op->kind;
	out->cookie = op->cookie;
	out->length = op->length;
	out->local = op->local;
	out->frame.length = htole32(op->length + (op->kind == WT_OP_SEND ? op->head_length : 0));
	peer->outstanding++;
	if (op->kind != WT_OP_READ) {
		out->body = op->local;
		out->body_length = op->length;
	}
	if (op->kind == WT_OP_SEND) {
		out->frame.kind = htole16(WT_TCP_FRAME_MESSAGE);
		out->head = op->head;
		out->head_length = op->head_length;
		return;
	}
	out->frame.kind = htole16(op->kind == WT_OP_WRITE ? WT_TCP_FRAME_WRITE : WT_TCP_FRAME_READ);
	out->frame.address = htole64(op->remote_address);
	out->frame.key = htole64(op->remote_key);
}

int wt_tcp_peer_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	struct wt_tcp_peer *peer = path->peer;
	unsigned taken;
	int status = -EAGAIN;

	for (taken = 0; taken < count && peer->outstanding < WT_TCP_DEPTH; taken++) {
		status = op_check(path, &ops[taken]);
		if (status < 0)
			break;
		queue(peer, &ops[taken]);
	}
	if (taken == 0)
		return count ? status : 0;
	wt_tcp_peer_flush(path);
	return (int)taken;
}

/* The path has failed: everything outstanding is over, in the order of the posts where that is known. */
static void fail_all(struct wt_path *path)
{
	struct wt_tcp_peer *peer = path->peer;

	for (; peer->waiting_count; peer->waiting_count--) {
		wt_tcp_peer_done(peer, peer->waiting[peer->waiting_first].cookie, -path->error, 0);
		peer->waiting_first = (peer->waiting_first + 1) % WT_TCP_DEPTH;
	}
	for (; peer->out_count; peer->out_count--) {
		struct wt_tcp_out *out = &peer->out[peer->out_first];

		if (out->kind != WT_OP_INVALID && !out->now)
			wt_tcp_peer_done(peer, out->cookie, -path->error, 0);
		peer->out_first = (peer->out_first + 1) % WT_TCP_OUT_MAX;
	}
}

static unsigned hand_out(struct wt_tcp_peer *peer, struct wt_completion *ret_completions, unsigned max)
{
	unsigned n;

	for (n = 0; n < max && peer->done_count; n++) {
		ret_completions[n] = peer->done[peer->done_first];
		peer->done_first = (peer->done_first + 1) % WT_TCP_DEPTH;
		peer->done_count--;
		peer->outstanding--;
	}
	return n;
}

int wt_tcp_peer_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	struct wt_tcp_peer *peer = path->peer;
	unsigned done = 0;
	bool more = false;

	if (!path->error) {
		wt_tcp_peer_flush(path);
		done = wt_tcp_peer_receive(path, ret_completions, max, &more);
		wt_tcp_peer_flush(path); /* the answers that we owe */
		/* What the peer said before it left is heard first. */
		if (peer->send_error && !done && !more)
			wt_tcp_path_fail(path, peer->send_error);
	}
	if (path->error && !done)
		fail_all(path);
	done += hand_out(peer, ret_completions + done, max - done);
	if (path->error && !done && !peer->outstanding)
		return -path->error;
	return (int)done;
}
