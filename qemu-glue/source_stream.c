/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_stream.c - from QEMU's migration stream to announcements and the stripped stream.
 *
 *   1. Pages are gathered into extents of consecutive pages and announced in the stream's order.
 *   2. RAM_END is sent after every announcement has been taken by the server; what QEMU wrote behind it
 * follows.
 *   3. QEMU's socket is read only while nothing waits for back-pressure, and while the guest runs only if the
 * peer was heard lately: QEMU then sees a slow link and does not stop the guest.
 *   4. The first SAMPLES pages of each block are compared with the mapping: at least one must be equal, or
 * what we serve is not the guest's memory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "messages.h"
#include "sabotage.h"
#include "source_internal.h"

#define EXTENT_PAGES 256u            /* of content, at most: one read */
#define ZERO_EXTENT_PAGES (1u << 18) /* of zeros: nothing crosses the wire */
#define UNSENT_MAX (8u << 20)        /* stripped bytes that may be on their way */
#define HEARD_NS 1000000000ull       /* how lately the peer must have been heard */
#define SAMPLES 32u                  /* pages that are compared with the mapping */
#define READ_TURN (8u << 20)         /* bytes read from QEMU before the loop gets its turn */

/* ---- announcing, with an overflow for what met back-pressure ---- */

static int overflow_add(struct wt_source_stream *s, const struct wt_extent *extent, enum wt_content content)
{
	if (s->overflow.count == s->overflow.room) {
		size_t room = s->overflow.room ? 2 * s->overflow.room : 1024;
		void *list = realloc(s->overflow.list, room * sizeof *s->overflow.list);

		if (!list)
			return -ENOMEM;
		s->overflow.list = list;
		s->overflow.room = room;
	}
	s->overflow.list[s->overflow.count++] = (struct waiting){ *extent, content };
	return 0;
}

static bool overflow_drain(struct wt_source *source, struct wt_error *err)
{
	struct wt_source_stream *s = &source->stream;

	while (s->overflow.first < s->overflow.count) {
		struct waiting *waiting = &s->overflow.list[s->overflow.first];
		int r = wt_server_announce(source->server, &waiting->extent, waiting->content);

		if (r == -EAGAIN)
			return false;
		if (r) {
			wt_error_set(err, -r, "an extent could not be announced: %s", strerror(-r));
			return false;
		}
		s->overflow.first++;
	}
	s->overflow.first = s->overflow.count = 0;
	return true;
}

/* Announces the gathered run. */
static int flush_run(struct wt_source *source, struct wt_error *err)
{
	struct wt_source_stream *s = &source->stream;
	int r = -EAGAIN;

	if (!s->run.pages)
		return 0;
	if (!s->overflow.count)
		r = wt_server_announce(source->server, &s->run, s->run_content);
	if (r == -EAGAIN)
		r = overflow_add(s, &s->run, s->run_content);
	s->run.pages = 0;
	return r ? wt_error_set(err, -r, "an extent could not be announced: %s", strerror(-r)) : 0;
}

static int gather(struct wt_source *source, uint32_t stream_block, uint64_t page, enum wt_content content,
	struct wt_error *err)
{
	struct wt_source_stream *s = &source->stream;
	uint32_t max = content == WT_CONTENT_ZERO ? ZERO_EXTENT_PAGES : EXTENT_PAGES;
	uint32_t block = (uint32_t)s->server_block[stream_block];
	int r;

	if (s->run.pages && s->run.block == block && s->run.page + s->run.pages == page &&
		s->run_content == content && s->run.pages < max) {
		s->run.pages++;
		return 0;
	}
	r = flush_run(source, err);
	s->run = (struct wt_extent){ .block = block, .page = page, .pages = 1 };
	s->run_content = content;
	return r;
}

/* ---- what the reader finds ---- */

static int on_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	struct wt_source *source = arg;
	struct wt_source_stream *s = &source->stream;
	const struct wt_ram_block *block = wt_guest_ram_find(source->relay.ram, name);
	int *map = realloc(s->server_block, (index + 1) * sizeof *map);

	if (!map)
		return wt_error_set(err, ENOMEM, "no memory for block %s", name);
	s->server_block = map;
	s->block_count = index + 1;
	map[index] = -1;
	*ret_in_place = false;
	if (!block || !block->shared)
		return 0;
	if (length != block->length)
		return wt_error_set(err, EPROTO,
			"block %s has %llu bytes in QEMU's stream and %llu in its monitor; RAM was changed, try again",
			name, (unsigned long long)length, (unsigned long long)block->length);
	for (int i = 0; source->served[i]; i++)
		if (source->served[i] == block)
			map[index] = i;
	*ret_in_place = map[index] >= 0;
	return 0;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	return 0;
}

/* Compares a page of the stream with the mapping: proof that we serve the guest's memory. */
static int sample(
	struct wt_source *source, uint32_t number, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	struct wt_source_sample *sample = &source->stream.samples[number];
	const uint8_t *here = (uint8_t *)source->served[number]->base + (page << WT_PAGE_SHIFT);

	if (sample->equal || sample->compared == SAMPLES)
		return 0;
	sample->equal = memcmp(here, bytes, WT_PAGE_SIZE) == 0;
	if (++sample->compared < SAMPLES || sample->equal)
		return 0;
	return wt_error_set(err, EIO,
		"block %s: none of %u pages in QEMU's stream equals the memory mapped here; this is not the guest's RAM",
		source->served[number]->name, SAMPLES);
}

static int on_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	struct wt_source *source = arg;
	int r = sample(source, (uint32_t)source->stream.server_block[block], page, bytes, err);

	if (r)
		return r;
	if (wt_sabotage_page(&page, ++source->stream.pages_seen))
		return 0;
	return gather(source, block, page, WT_CONTENT_IN_PLACE, err);
}

static int on_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	return gather(arg, block, page, WT_CONTENT_ZERO, err);
}

static int on_ram_part(void *arg, struct wt_error *err)
{
	struct wt_source *source = arg;
	int r = flush_run(source, err);

	wt_server_flush(source->server);
	return r;
}

static int on_ram_end(void *arg, struct wt_error *err)
{
	struct wt_source *source = arg;
	struct wt_source_stream *s = &source->stream;

	s->ram_ended = true;
	s->ram_end_at = s->pass_length;
	return flush_run(source, err);
}

static bool answer(struct wt_source *source, const uint8_t *bytes, size_t length)
{
	/* A few bytes into an empty socket buffer: a short write cannot happen while QEMU reads its return
	 * path. */
	ssize_t n = send(source->stream.fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		wt_report_event(&source->relay.report, "warning", NULL, "QEMU does not read its return path");
	return n == (ssize_t)length;
}

static int on_open_return_path(void *arg, struct wt_error *err)
{
	return 0;
}

static int on_ping(void *arg, uint32_t value, struct wt_error *err)
{
	uint8_t bytes[8];

	answer(arg, bytes, wt_return_path_pong(bytes, value));
	return 0;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	struct wt_source_stream *s = &((struct wt_source *)arg)->stream;

	if (s->pass_length + length > s->pass_room) {
		size_t room = 2 * (s->pass_length + length);
		uint8_t *pass = realloc(s->pass, room);

		if (!pass)
			return wt_error_set(err, ENOMEM, "no memory for the stripped stream");
		s->pass = pass;
		s->pass_room = room;
	}
	memcpy(s->pass + s->pass_length, bytes, length);
	s->pass_length += length;
	return 0;
}

static const struct wt_stream_events stream_events = {
	.block = on_block,
	.blocks_end = on_blocks_end,
	.page = on_page,
	.zero = on_zero,
	.ram_part = on_ram_part,
	.ram_end = on_ram_end,
	.open_return_path = on_open_return_path,
	.ping = on_ping,
	.pass = on_pass,
};

/* ---- sending ---- */

/* Sends stripped bytes up to `limit`; true if all of them went. */
static bool send_pass(struct wt_source *source, size_t limit)
{
	struct wt_source_stream *s = &source->stream;
	size_t sent = 0;

	while (sent < limit && wt_server_unsent(source->server) < UNSENT_MAX) {
		size_t n = limit - sent < WT_STREAM_CHUNK_MAX ? limit - sent : WT_STREAM_CHUNK_MAX;

		if (wt_server_send(source->server, WT_RELAY_STREAM, s->pass + sent, n))
			break;
		sent += n;
	}
	if (sent)
		memmove(s->pass, s->pass + sent, s->pass_length - sent);
	s->pass_length -= sent;
	if (s->ram_ended && !s->ram_end_sent)
		s->ram_end_at -= sent;
	return sent == limit;
}

/* true: everything that was read has been sent. */
static bool send_all(struct wt_source *source, struct wt_error *err)
{
	struct wt_source_stream *s = &source->stream;
	struct wt_server_stats stats;
	struct wt_relay_ram_end end;

	if (!overflow_drain(source, err))
		return false;
	wt_server_flush(source->server);
	if (s->ram_ended && !s->ram_end_sent) {
		if (!send_pass(source, s->ram_end_at))
			return false;
		wt_server_stats(source->server, &stats);
		end.next_seq = stats.next_seq;
		if (wt_server_send(source->server, WT_RELAY_RAM_END, &end, sizeof end))
			return false;
		s->ram_end_sent = true;
	}
	return send_pass(source, s->pass_length);
}

static bool peer_recent(const struct wt_source *source)
{
	return wt_loop_now_ns(source->relay.loop) - wt_server_heard_ns(source->server) < HEARD_NS;
}

static void watch(struct wt_source *source, bool on);

static void read_qemu(void *arg, uint32_t events)
{
	struct wt_source *source = arg;
	struct wt_source_stream *s = &source->stream;
	struct wt_error err = { 0 };
	size_t total = 0;
	int r = 0;

	while (total < READ_TURN && !s->overflow.count && !r) {
		uint8_t *buffer;
		size_t room;
		ssize_t n;

		wt_stream_buffer(s->reader, &buffer, &room);
		n = recv(s->fd, buffer, room, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			if (n < 0)
				wt_error_set(
					&err, errno, "QEMU's stream cannot be read: %s", strerror(errno));
			else
				wt_stream_finish(s->reader, &err);
			s->finished = true;
			break;
		}
		total += (size_t)n;
		r = wt_stream_advance(s->reader, (size_t)n, &err);
	}
	if (!r && !err.code && s->ram_ended)
		wt_source_event(source, WT_SOURCE_EV_GUEST_STOPPED);
	if (s->finished)
		watch(source, false);
	if (err.code) {
		s->finished = true;
		wt_source_trouble(source, &err);
		return;
	}
	wt_source_stream_pump(source);
}

static void watch(struct wt_source *source, bool on)
{
	struct wt_source_stream *s = &source->stream;

	if (s->fd < 0 || s->reading == on)
		return;
	if (on)
		wt_loop_fd_set(source->relay.loop, s->fd, EPOLLIN, read_qemu, source);
	else
		wt_loop_fd_clear(source->relay.loop, s->fd);
	s->reading = on;
}

void wt_source_stream_pump(struct wt_source *source)
{
	struct wt_source_stream *s = &source->stream;
	struct wt_error err = { 0 };
	bool all = send_all(source, &err);

	if (err.code) {
		wt_source_trouble(source, &err);
		return;
	}
	watch(source, all && !s->finished && wt_server_room(source->server) &&
			      (s->ram_ended || peer_recent(source)));
}

/* ---- the socket ---- */

static void accept_qemu(void *arg, uint32_t events)
{
	struct wt_source *source = arg;
	struct wt_source_stream *s = &source->stream;
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (s->fd >= 0) {
		close(fd);
		return;
	}
	s->fd = fd;
	wt_source_stream_pump(source);
}

int wt_source_stream_open(struct wt_source *source, struct wt_error *err)
{
	struct wt_source_stream *s = &source->stream;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int r;

	s->fd = s->listen_fd = -1;
	r = wt_relay_socket_open(&s->place, "stream", err);
	if (r)
		return r;
	strcpy(address.sun_path, s->place.path);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0 || bind(s->listen_fd, (struct sockaddr *)&address, sizeof address) ||
		listen(s->listen_fd, 1))
		return wt_error_set(
			err, errno, "no socket for QEMU's stream at %s: %s", s->place.path, strerror(errno));
	s->samples = calloc(source->relay.ram->count + 1, sizeof *s->samples);
	if (!s->samples || wt_stream_open(&stream_events, source, &s->reader))
		return wt_error_set(err, ENOMEM, "no memory for the stream's reader");
	wt_loop_fd_set(source->relay.loop, s->listen_fd, EPOLLIN, accept_qemu, source);
	return 0;
}

bool wt_source_stream_shut(struct wt_source *source)
{
	uint8_t bytes[8];

	return answer(source, bytes, wt_return_path_shut(bytes, 0));
}

void wt_source_stream_hang_up(struct wt_source *source)
{
	struct wt_source_stream *s = &source->stream;

	watch(source, false);
	s->finished = true;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void wt_source_stream_close(struct wt_source *source)
{
	struct wt_source_stream *s = &source->stream;

	if (!s->place.directory[0])
		return;
	wt_source_stream_hang_up(source);
	if (s->listen_fd >= 0) {
		wt_loop_fd_clear(source->relay.loop, s->listen_fd);
		close(s->listen_fd);
	}
	wt_relay_socket_close(&s->place);
	wt_stream_close(s->reader);
	free(s->server_block);
	free(s->samples);
	free(s->overflow.list);
	free(s->pass);
}
