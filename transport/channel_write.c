/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_write.c - what a channel has yet to send: a list of chunks, and with TLS a buffer of records.
 *
 *   1. Bytes leave in the order in which they were appended.
 *   2. An append takes all bytes or none.
 *   3. chunks->bytes is the sum over all chunks of end - start; no chunk but the tail has room that is used
 *      later, and no chunk in the list is empty.
 *   4. Records are made only as fast as the kernel takes them: at most one buffer of them waits.
 *
 * Calls nobody back. Small appends are gathered, so that a turn's messages leave in few records and few
 * system calls.
 */
#include "channel_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define CHUNK_BYTES ((64u << 10) - sizeof(struct wt_chunk))
#define CHUNKS_PER_CALL 16
#define CALLS_PER_FLUSH 16 /* then other descriptors have their turn */

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

int wt_chunks_append(struct wt_chunks *chunks, const void *data, size_t length)
{
	struct wt_chunk *tail = chunks->tail, *chunk;
	size_t here = tail ? min_size(length, tail->size - tail->end) : 0, rest = length - here, size;

	if (rest) {
		size = rest > CHUNK_BYTES ? rest : CHUNK_BYTES;
		if (size > SIZE_MAX / 2)
			return -ENOMEM;
		chunk = malloc(sizeof *chunk + size);
		if (!chunk)
			return -ENOMEM;
		chunk->next = NULL;
		chunk->start = 0;
		chunk->end = rest;
		chunk->size = size;
		memcpy(chunk->data, (const uint8_t *)data + here, rest);
		if (tail)
			tail->next = chunk;
		else
			chunks->head = chunk;
		chunks->tail = chunk;
	}
	if (here) {
		memcpy(tail->data + tail->end, data, here);
		tail->end += here;
	}
	chunks->bytes += length;
	return 0;
}

/* Forgets the first `length` bytes; there are at least so many. */
static void chunks_consume(struct wt_chunks *chunks, size_t length)
{
	struct wt_chunk *head;
	size_t here;

	while (length) {
		head = chunks->head;
		assert(head);
		here = min_size(length, head->end - head->start);
		head->start += here;
		length -= here;
		chunks->bytes -= here;
		if (head->start < head->end)
			break;
		chunks->head = head->next;
		if (!chunks->head)
			chunks->tail = NULL;
		free(head);
	}
}

void wt_chunks_drop(struct wt_chunks *chunks)
{
	chunks_consume(chunks, chunks->bytes);
}

/* Fills the wire buffer with records. */
static int make_records(struct wt_channel *channel, bool handshake, struct wt_error *err)
{
	struct wt_chunks *chunks = &channel->chunks;
	const struct wt_chunk *head;
	size_t length;
	int result;

	if (channel->wire_start == channel->wire_end)
		channel->wire_start = channel->wire_end = 0;
	for (;;) {
		channel->wire_end += wt_tls_pull(channel->tls, channel->wire + channel->wire_end,
			sizeof channel->wire - channel->wire_end);
		head = chunks->head;
		if (handshake || !head ||
			sizeof channel->wire - channel->wire_end < WT_TLS_RECORD_MAX + WT_TLS_OVERHEAD)
			return 0;
		length = min_size(head->end - head->start, WT_TLS_RECORD_MAX);
		result = wt_tls_write(channel->tls, head->data + head->start, length, err);
		if (result)
			return result;
		chunks_consume(chunks, length);
	}
}

static ssize_t send_records(struct wt_channel *channel)
{
	ssize_t sent = send(channel->fd, channel->wire + channel->wire_start,
		channel->wire_end - channel->wire_start, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0)
		return -errno;
	channel->wire_start += (size_t)sent;
	return sent;
}

static ssize_t send_chunks(struct wt_channel *channel)
{
	struct iovec parts[CHUNKS_PER_CALL];
	struct msghdr message = { .msg_iov = parts };
	struct wt_chunk *chunk;
	ssize_t sent;

	for (chunk = channel->chunks.head; chunk && message.msg_iovlen < CHUNKS_PER_CALL;
		chunk = chunk->next) {
		parts[message.msg_iovlen].iov_base = chunk->data + chunk->start;
		parts[message.msg_iovlen++].iov_len = chunk->end - chunk->start;
	}
	sent = sendmsg(channel->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	chunks_consume(&channel->chunks, (size_t)sent);
	return sent;
}

int wt_channel_flush(struct wt_channel *channel, bool handshake, struct wt_error *err)
{
	unsigned calls;
	ssize_t sent;
	int result;

	for (calls = 0; calls < CALLS_PER_FLUSH; calls++) {
		if (channel->tls) {
			result = make_records(channel, handshake, err);
			if (result)
				return result;
		}
		if (channel->tls ? channel->wire_start == channel->wire_end : !channel->chunks.head)
			return 0;
		sent = channel->tls ? send_records(channel) : send_chunks(channel);
		if (sent == -EINTR)
			continue;
		if (sent == -EAGAIN)
			return 0;
		if (sent == -EPIPE || sent == -ECONNRESET)
			return -EPIPE;
		if (sent < 0)
			return wt_socket_error(channel->peer, (int)-sent, err);
	}
	return 0;
}
