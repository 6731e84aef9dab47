/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_peer_in.c - the receiving half of a path of peers over tcp.
 *
 * Owns the buffer `in`, and knows what comes next on the socket.
 *   1. Frames and messages go through `in`; a message is handed out where it lies there, whole, and `in` is
 * not touched again before the next poll.
 *   2. Bytes of a write or of an answer that are still in the socket are received straight into place; those
 *      that came into `in` with the frame before them are copied.
 *   3. The peer's key is looked up anew before each piece of its write is placed. Once it no longer grants
 *      writing, the rest is thrown away, and the answer says why.
 *   4. An answer that does not fit the oldest operation that waits, and a frame of a wrong shape, fail the
 * path (EPROTO). Memory is written only inside poll, so a path that failed is silent at once.
 */
#include "path_tcp_peer.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* Of what is not received into place: whatever follows in it is copied, so not more than one long message. */
#define CHUNK (WT_PATH_MESSAGE_MAX + 2 * sizeof(struct wt_tcp_frame))
#define CHUNK_AHEAD 1024u            /* while bytes come that have a place: of those, not more is copied */
#define RECEIVE_BYTES_MAX (4u << 20) /* bytes in one poll, or somewhat more */

static uint8_t waste[64u << 10]; /* nobody reads it */

bool wt_tcp_peer_buffered(const struct wt_tcp_peer *peer)
{
	size_t have = peer->in_end - peer->in_first;
	struct wt_tcp_frame frame;

	if (have == 0 || (peer->state > WT_TCP_IN_FRAME && peer->state != WT_TCP_IN_TRAILER))
		return have > 0;
	if (peer->state == WT_TCP_IN_TRAILER)
		return have >= sizeof(struct wt_tcp_trailer);
	if (have < sizeof frame)
		return false;
	memcpy(&frame, peer->in + peer->in_first, sizeof frame);
	return le16toh(frame.kind) != WT_TCP_FRAME_MESSAGE || have >= sizeof frame + le32toh(frame.length);
}

static struct wt_tcp_out *owe(struct wt_path *path)
{
	struct wt_tcp_out *out = path->peer->owed < WT_TCP_DEPTH ? wt_tcp_peer_out(path->peer) : NULL;

	if (!out)
		wt_tcp_path_fail(path, EPROTO); /* more at once than a peer may have outstanding */
	else
		path->peer->owed++;
	return out;
}

static void write_ended(struct wt_path *path)
{
	struct wt_tcp_out *out = owe(path);

	path->peer->state = WT_TCP_IN_FRAME;
	if (!out)
		return;
	out->frame.kind = htole16(WT_TCP_FRAME_WRITTEN);
	out->frame.status = htole16(wt_tcp_error_status(path->peer->status));
}

static void read_begins(struct wt_path *path, const struct wt_tcp_frame *frame)
{
	struct wt_tcp_out *out = owe(path);

	if (!out)
		return;
	out->answer = true;
	out->frame.kind = htole16(WT_TCP_FRAME_DATA);
	out->frame.length = frame->length;
	out->body_length = le32toh(frame->length);
	out->address = le64toh(frame->address);
	out->key = le64toh(frame->key);
	out->trailer.status = htole32(WT_TCP_STATUS_OK);
	out->trailer.magic = htole32(WT_TCP_MAGIC_TRAILER);
}

/* The oldest operation that waits has its answer. */
static void answered(struct wt_path *path, int status)
{
	struct wt_tcp_peer *peer = path->peer;
	const struct wt_tcp_waiting *waiting = &peer->waiting[peer->waiting_first];

	peer->state = WT_TCP_IN_FRAME;
	if (status == -EPROTO) {
		wt_tcp_path_fail(path, EPROTO);
		return;
	}
	wt_tcp_peer_done(peer, waiting->cookie, status, status ? 0 : waiting->length);
	peer->waiting_first = (peer->waiting_first + 1) % WT_TCP_DEPTH;
	peer->waiting_count--;
}

/* A frame other than a message. */
static int frame_begin(struct wt_path *path, const struct wt_tcp_frame *frame)
{
	struct wt_tcp_peer *peer = path->peer;
	const struct wt_tcp_waiting *waiting =
		peer->waiting_count ? &peer->waiting[peer->waiting_first] : NULL;
	uint32_t length = le32toh(frame->length);

	peer->frame = *frame;
	peer->got = 0;
	switch (le16toh(frame->kind)) {
	case WT_TCP_FRAME_WRITE:
		peer->state = WT_TCP_IN_WRITE;
		peer->status = 0;
		return length - 1 < WT_PATH_READ_MAX ? 0 : -EPROTO;
	case WT_TCP_FRAME_READ:
		if (length - 1 >= WT_PATH_READ_MAX)
			return -EPROTO;
		read_begins(path, frame);
		return 0;
	case WT_TCP_FRAME_WRITTEN:
		if (!waiting || waiting->kind != WT_OP_WRITE)
			return -EPROTO;
		answered(path, wt_tcp_status_error(le16toh(frame->status)));
		return 0;
	case WT_TCP_FRAME_DATA:
		peer->state = WT_TCP_IN_DATA;
		return waiting && waiting->kind == WT_OP_READ && waiting->length == length ? 0 : -EPROTO;
	default:
		return -EPROTO;
	}
}

/* Where the next bytes of a write or an answer belong, and how many at most. */
static uint8_t *place(struct wt_path *path, size_t *ret_length)
{
	struct wt_tcp_peer *peer = path->peer;
	uint32_t length = le32toh(peer->frame.length);
	uint8_t *bytes = NULL;

	*ret_length = length - peer->got;
	if (peer->state == WT_TCP_IN_DATA)
		return peer->waiting[peer->waiting_first].local + peer->got;
	if (peer->status == 0)
		peer->status = wt_tcp_region_locate(path->endpoint, le64toh(peer->frame.key),
			WT_ACCESS_TARGET, le64toh(peer->frame.address), length, NULL, &bytes);
	if (peer->status == 0)
		return bytes + peer->got;
	if (*ret_length > sizeof waste)
		*ret_length = sizeof waste;
	return waste;
}

static void placed(struct wt_path *path, size_t bytes)
{
	struct wt_tcp_peer *peer = path->peer;

	peer->got += (uint32_t)bytes;
	if (peer->got < le32toh(peer->frame.length))
		return;
	if (peer->state == WT_TCP_IN_DATA)
		peer->state = WT_TCP_IN_TRAILER;
	else
		write_ended(path);
}

/* Takes what is whole from `in`. Answers 1 for a message, 0 for something else, -EAGAIN if more must come. */
static int take(struct wt_path *path, struct wt_completion *ret_completion)
{
	struct wt_tcp_peer *peer = path->peer;
	size_t have = peer->in_end - peer->in_first;
	const uint8_t *at = peer->in + peer->in_first;
	struct wt_tcp_trailer trailer;
	struct wt_tcp_frame frame;
	size_t length;
	uint8_t *to;

	if (peer->state == WT_TCP_IN_WRITE || peer->state == WT_TCP_IN_DATA) {
		to = place(path, &length);
		if (!have)
			return -EAGAIN;
		length = length < have ? length : have;
		memcpy(to, at, length);
		peer->in_first += length;
		placed(path, length);
		return 0;
	}
	if (peer->state == WT_TCP_IN_TRAILER) {
		if (have < sizeof trailer)
			return -EAGAIN;
		memcpy(&trailer, at, sizeof trailer);
		peer->in_first += sizeof trailer;
		answered(path, le32toh(trailer.magic) == WT_TCP_MAGIC_TRAILER
				       ? wt_tcp_status_error(le32toh(trailer.status))
				       : -EPROTO);
		return 0;
	}
	if (have < sizeof frame)
		return -EAGAIN;
	memcpy(&frame, at, sizeof frame);
	length = le32toh(frame.length);
	if (le32toh(frame.magic) != WT_TCP_MAGIC_FRAME)
		return -EPROTO;
	if (le16toh(frame.kind) != WT_TCP_FRAME_MESSAGE) {
		peer->in_first += sizeof frame;
		return frame_begin(path, &frame);
	}
	if (length - 1 >= WT_PATH_MESSAGE_MAX)
		return -EPROTO;
	if (have < sizeof frame + length)
		return -EAGAIN;
	peer->in_first += sizeof frame + length;
	*ret_completion = (struct wt_completion){ .length = (uint32_t)length, .message = at + sizeof frame };
	return 1;
}

/* How much may come into `in`. */
static size_t chunk(const struct wt_tcp_peer *peer, bool direct)
{
	bool answer_due = peer->waiting_count && peer->waiting[peer->waiting_first].kind == WT_OP_READ;
	size_t room = sizeof peer->in - peer->in_end;
	size_t most = CHUNK;

	/* More than a frame and less than what it announces is a message, which needs all. */
	if (direct || (answer_due && peer->in_end < sizeof(struct wt_tcp_frame)))
		most = CHUNK_AHEAD;
	return room < most ? room : most;
}

/* Answers bytes, 0 when there are none now or the path failed; *ret_more: there may be more. */
static size_t receive(struct wt_path *path, bool *ret_more)
{
	struct wt_tcp_peer *peer = path->peer;
	struct iovec iov[2];
	struct msghdr message = { .msg_iov = iov };
	size_t direct = 0;
	size_t asked = 0;
	ssize_t got;

	memmove(peer->in, peer->in + peer->in_first, peer->in_end - peer->in_first);
	peer->in_end -= peer->in_first;
	peer->in_first = 0;
	if (peer->state == WT_TCP_IN_WRITE || peer->state == WT_TCP_IN_DATA) {
		iov[message.msg_iovlen].iov_base = place(path, &direct);
		iov[message.msg_iovlen++].iov_len = direct;
	}
	/* Behind bytes that are thrown away more of them may follow. */
	if (!direct || peer->got + direct == le32toh(peer->frame.length)) {
		iov[message.msg_iovlen].iov_base = peer->in + peer->in_end;
		asked = chunk(peer, direct);
		iov[message.msg_iovlen++].iov_len = asked;
	}
	asked += direct;
	*ret_more = false;
	if (direct && !wt_tcp_peer_may(path, POLLIN))
		return 0;
	do
		got = direct ? recvmsg(path->socket, &message, MSG_DONTWAIT)
			     : recv(path->socket, iov[0].iov_base, iov[0].iov_len, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	*ret_more = got > 0 && (size_t)got == asked;
	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got <= 0) {
		wt_tcp_path_fail(path, got < 0 ? errno : ECONNRESET);
		return 0;
	}
	if (direct) {
		size_t first = (size_t)got < direct ? (size_t)got : direct;

		placed(path, first);
		peer->in_end += (size_t)got - first;
	} else {
		peer->in_end += (size_t)got;
	}
	return (size_t)got;
}

unsigned wt_tcp_peer_receive(
	struct wt_path *path, struct wt_completion *ret_completions, unsigned max, bool *ret_more)
{
	struct wt_tcp_peer *peer = path->peer;
	unsigned messages = 0;
	size_t total = 0;
	size_t got;
	int status;

	if (!peer->state)
		peer->state = WT_TCP_IN_FRAME;
	*ret_more = true;
	while (messages < max) {
		status = take(path, &ret_completions[messages]);
		if (path->error)
			return messages;
		if (status == -EPROTO) {
			wt_tcp_path_fail(path, EPROTO);
			return messages;
		}
		if (status >= 0) {
			messages += (unsigned)status;
			continue;
		}
		/* `in` holds the messages that are handed out now. */
		if (messages || !*ret_more || total >= RECEIVE_BYTES_MAX)
			return messages;
		got = receive(path, ret_more);
		if (!got)
			return messages;
		total += got;
	}
	return messages;
}
