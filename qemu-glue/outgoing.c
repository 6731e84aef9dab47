/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outgoing.c - from QEMU's migration stream to announcements and the stripped stream. See outgoing.h.
 *
 *   1. Pages are gathered into extents of consecutive pages and announced in the order in which the reader
 *      reports them. Pages that are not mapped here are gathered with their bytes.
 *   2. A page that meets back-pressure stays in the reader (-EAGAIN); nothing behind it on its channel is
 *      looked at before it was taken.
 *   3. RAM_END is sent after every announcement has been taken by the server; what QEMU wrote behind it
 *      follows.
 *   4. QEMU is read only while nothing waits for back-pressure, and while the guest runs only if the peer was
 *      heard lately: QEMU then sees a slow link and does not stop the guest.
 *   5. While it is held nothing is read nor looked at, and what has been passed on ends with a whole section:
 *      a destination that has got all of it can be continued later, and another one can take over (replay.h).
 *   6. Pages of each mapped block are compared with the mapping, until one is equal. If none of the first
 * SAMPLES is, what we serve is not the guest's memory: no guest writes so many of them anew before they are
 * read. Where QEMU leaves bytes out, it gives samples (skip_page.h), and far fewer of them: FEED_SAMPLES are
 * enough for the same verdict, and FEED_SAMPLES_END when RAM ends.
 *
 * QEMU's connections are outgoing_feeds.c's; the page server as a taker is outgoing_server.c's.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "messages.h"
#include "outgoing_internal.h"
#include "sabotage.h"

#define EXTENT_PAGES 256u            /* of content, at most: one read */
#define ZERO_EXTENT_PAGES (1u << 18) /* of zeros: nothing crosses the wire */
#define AGAIN_NS 5000000ull          /* until what could not be sent is tried again */
#define SAMPLES 1024u                /* pages that are compared with the mapping, until one is equal */
#define FEED_SAMPLES 32u             /* the same, of those that QEMU gives of what it leaves out */
#define FEED_SAMPLES_END 16u         /* at RAM's end so many are enough */
#define REST_PASS_MAX (64u << 20)    /* bytes that wait behind RAM's end */

/* ---- announcing ---- */

/* Announces the gathered run; -EAGAIN: not all of it. */
static int flush_run(struct wt_outgoing *o, struct wt_error *err)
{
	struct outgoing_run *run = &o->run;
	uint64_t first = run->extent.page;
	int r;

	if (!run->extent.pages)
		return 0;
	if (run->copied)
		r = o->taker->announce_copy(o->taker_arg, &run->extent, o->run_bytes);
	else
		r = o->taker->announce(o->taker_arg, &run->extent, run->content);
	if (run->copied && run->extent.pages)
		memmove(o->run_bytes, o->run_bytes + ((run->extent.page - first) << WT_PAGE_SHIFT),
			(size_t)run->extent.pages << WT_PAGE_SHIFT);
	if (r && r != -EAGAIN)
		return wt_error_set(err, -r, "an extent could not be announced: %s", strerror(-r));
	return r;
}

/* Adds a page to the run, or begins a new one; bytes NULL: zeros, or its content is read in place. */
static int gather(struct wt_outgoing *o, uint32_t block, uint64_t page, enum wt_content content,
	const uint8_t *bytes, struct wt_error *err)
{
	struct outgoing_block *where = &o->blocks[block];
	uint32_t max = content == WT_CONTENT_ZERO ? ZERO_EXTENT_PAGES : EXTENT_PAGES;
	struct outgoing_run *run = &o->run;
	bool copied = content != WT_CONTENT_ZERO && !where->base;
	int r;

	if (where->number == WT_OUTGOING_LEFT_OUT)
		return wt_error_set(err, EPROTO,
			"QEMU sends pages of memory that both hosts have in common, and that it was told to leave out");
	if (!o->taker || o->read_pages >= o->read_max)
		return -EAGAIN;
	if (run->extent.pages == 0 || run->extent.block != (uint32_t)where->number ||
		run->extent.page + run->extent.pages != page || run->content != content ||
		run->copied != copied || run->extent.pages >= max) {
		r = flush_run(o, err);
		if (r)
			return r;
		run->extent = (struct wt_extent){ .block = (uint32_t)where->number, .page = page };
		run->content = content;
		run->copied = copied;
	}
	if (copied)
		memcpy(o->run_bytes + ((size_t)run->extent.pages << WT_PAGE_SHIFT), bytes, WT_PAGE_SIZE);
	run->extent.pages++;
	where->came = true;
	o->read_pages++;
	return 0;
}

/* ---- what the reader finds ---- */

static int on_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	struct wt_outgoing *o = arg;
	struct outgoing_block *blocks = realloc(o->blocks, (index + 1) * sizeof *blocks);
	int r;

	if (!blocks)
		return wt_error_set(err, ENOMEM, "no memory for block %s", name);
	o->blocks = blocks;
	wt_replay_block(o->replay, index, length);
	blocks[index] = (struct outgoing_block){ .number = -1 };
	r = o->events.block(o->arg, name, length, &blocks[index].number, &blocks[index].base, err);
	*ret_in_place = blocks[index].number != -1;
	if (!r && blocks[index].number >= 0 && wt_skip_offer_has(o->offer, blocks[index].base))
		wt_stream_block_absent(o->reader, index);
	if (!r && blocks[index].number >= 0 && !blocks[index].base && !o->run_bytes) {
		o->run_bytes = malloc(EXTENT_PAGES * (size_t)WT_PAGE_SIZE);
		if (!o->run_bytes)
			return wt_error_set(err, ENOMEM, "no memory for copies of pages");
	}
	return r;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	struct wt_outgoing *o = arg;

	wt_replay_blocks_end(o->replay);
	return o->events.blocks_end ? o->events.blocks_end(o->arg, err) : 0;
}

static int not_the_guests(unsigned compared, struct wt_error *err)
{
	return wt_error_set(err, EIO,
		"none of %u pages of a block in QEMU's stream equals the memory mapped here; this is not the guest's RAM",
		compared);
}

/* Compares a page with the mapping: proof that we serve the guest's memory. At most max are, as counted. */
static int sample(struct outgoing_block *block, uint64_t page, const uint8_t *bytes, unsigned *compared,
	unsigned max, struct wt_error *err)
{
	const uint8_t *here = block->base + (page << WT_PAGE_SHIFT);

	if (block->equal || *compared == max)
		return 0;
	block->equal = memcmp(here, bytes, WT_PAGE_SIZE) == 0;
	if (++*compared < max || block->equal)
		return 0;
	return not_the_guests(max, err);
}

/* RAM has ended, and with it the samples: of a small block there were few. */
static int check_samples(const struct wt_outgoing *o, struct wt_error *err)
{
	uint32_t count = wt_stream_block_count(o->reader);

	for (uint32_t i = 0; i < count; i++) {
		const struct outgoing_block *block = &o->blocks[i];

		if (block->base && !block->equal && block->samples >= FEED_SAMPLES_END)
			return not_the_guests(block->samples, err);
	}
	return 0;
}

int wt_outgoing_compare(struct wt_outgoing *o, const uint8_t *base, uint64_t page, const uint8_t *bytes,
	bool *ret_proven, struct wt_error *err)
{
	uint32_t count = wt_stream_block_count(o->reader);
	int r = 0;

	*ret_proven = count > 0;
	for (uint32_t i = 0; !r && i < count; i++) {
		struct outgoing_block *block = &o->blocks[i];

		if (!block->base)
			continue;
		if (block->base == base)
			r = sample(block, page, bytes, &block->samples, FEED_SAMPLES, err);
		*ret_proven &= block->equal;
	}
	return r;
}

static int on_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	struct wt_outgoing *o = arg;
	struct outgoing_block *where = &o->blocks[block];
	uint64_t announced = page;
	int r = 0;

	if (!wt_sabotage_page(&announced, o->pages + 1))
		r = gather(o, block, announced, WT_CONTENT_IN_PLACE, bytes, err);
	if (r)
		return r;
	o->pages++;
	return bytes && where->base ? sample(where, page, bytes, &where->compared, SAMPLES, err) : 0;
}

static int on_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	return gather(arg, block, page, WT_CONTENT_ZERO, NULL, err);
}

/* What is not taken now stays in the run, and goes before anything else. */
static int on_ram_part(void *arg, struct wt_error *err)
{
	struct wt_outgoing *o = arg;
	int r = flush_run(o, err);

	if (o->taker)
		o->taker->flush(o->taker_arg);
	return r == -EAGAIN ? 0 : r;
}

static int on_ram_end(void *arg, struct wt_error *err)
{
	struct wt_outgoing *o = arg;
	int r = wt_outgoing_check_skipped(o, err);

	if (!r)
		r = check_samples(o, err);
	if (r)
		return r;
	wt_replay_ram_end(o->replay);
	o->ram_ended = true;
	o->ram_end_at = o->pass_length;
	return on_ram_part(arg, err);
}

/* A few bytes into an empty socket buffer: a short write cannot happen while QEMU reads its return path. */
static bool answer(struct wt_outgoing *o, const uint8_t *bytes, size_t length)
{
	int fd = wt_outgoing_main_fd(o);

	return fd >= 0 && send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;
}

static int on_open_return_path(void *arg, struct wt_error *err)
{
	((struct wt_outgoing *)arg)->return_path = true;
	return 0;
}

static int on_ping(void *arg, uint32_t value, struct wt_error *err)
{
	uint8_t bytes[8];

	if (answer(arg, bytes, wt_return_path_pong(bytes, value)))
		return 0;
	return wt_error_set(err, EPIPE, "QEMU sent a ping, but does not read its return path");
}

static int on_kept(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	wt_replay_kept(((struct wt_outgoing *)arg)->replay, block, page, bytes);
	return 0;
}

static int on_part(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	struct wt_outgoing *o = arg;

	if (o->pass_first && o->pass_length + length > o->pass_room) {
		o->pass_length -= o->pass_first;
		memmove(o->pass, o->pass + o->pass_first, o->pass_length);
		o->ram_end_at -= o->ram_ended && !o->ram_end_sent ? o->pass_first : 0;
		o->pass_first = 0;
	}
	if (o->pass_length + length > o->pass_room) {
		size_t room = 2 * (o->pass_length + length);
		uint8_t *pass = realloc(o->pass, room);

		if (!pass)
			return wt_error_set(err, ENOMEM, "no memory for the stripped stream");
		o->pass = pass;
		o->pass_room = room;
	}
	memcpy(o->pass + o->pass_length, bytes, length);
	o->pass_length += length;
	o->passed_bytes += length;
	return 0;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	wt_replay_pass(((struct wt_outgoing *)arg)->replay, bytes, length);
	return on_part(arg, bytes, length, err);
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
	.kept = on_kept,
	.part = on_part,
	.pass = on_pass,
};

/* ---- sending ---- */

/* Sends stripped bytes up to `limit` in pass; true if all of them went. */
static bool send_pass(struct wt_outgoing *o, size_t limit)
{
	while (o->pass_first < limit) {
		size_t left = limit - o->pass_first;
		size_t n = left < WT_STREAM_CHUNK_MAX ? left : WT_STREAM_CHUNK_MAX;

		if (!o->taker->pass(o->taker_arg, o->pass + o->pass_first, n))
			break;
		o->pass_first += n;
	}
	return o->pass_first == limit;
}

/* RAM has ended, and what QEMU left out of it is being announced. */
static bool resting(const struct wt_outgoing *o)
{
	return o->ram_ended && o->events.rest && !o->rested;
}

/* true: everything that was reported has been sent. */
static bool send_all(struct wt_outgoing *o, struct wt_error *err)
{
	if (flush_run(o, err))
		return false;
	if (resting(o))
		o->rested = o->events.rest(o->arg, err) == 0;
	o->taker->flush(o->taker_arg);
	if (resting(o))
		return false;
	if (o->ram_ended && !o->ram_end_sent) {
		if (!send_pass(o, o->ram_end_at) || !o->taker->ram_end(o->taker_arg))
			return false;
		o->ram_end_sent = true;
	}
	if (!send_pass(o, o->pass_length))
		return false;
	o->pass_first = o->pass_length = 0;
	return true;
}

/* Nobody tells that the peer has acknowledged stripped bytes: it is looked at again soon. */
static void again(void *arg, uint64_t now_ns)
{
	wt_outgoing_pump(arg);
}

/* May more be read from QEMU? Before the start only up to the list of blocks, which the reader sees to. */
static bool may_read(struct wt_outgoing *o, bool all_sent)
{
	if (!o->taker)
		return true;
	if (resting(o)) /* QEMU holds its lock while it writes the devices' state */
		return !o->held && o->pass_length - o->pass_first < REST_PASS_MAX;
	if (o->held || !all_sent || !o->taker->room(o->taker_arg))
		return false;
	return o->ram_ended ||
	       (o->read_pages < o->read_max && o->taker->recent(o->taker_arg, wt_loop_now_ns(o->loop)));
}

/* Each is told once, in this order. The owner may hang up meanwhile. */
static void tell(struct wt_outgoing *o, bool all_sent)
{
	if (o->ram_ended && !o->told_stopped) {
		o->told_stopped = true;
		o->events.guest_stopped(o->arg);
	}
	if (!o->failed && o->ram_end_sent && all_sent && !o->told_ended && wt_outgoing_main_ended(o)) {
		o->told_ended = true;
		if (o->events.ended)
			o->events.ended(o->arg);
	}
}

void wt_outgoing_pump(struct wt_outgoing *o)
{
	struct wt_error err = { 0 };
	bool all = true;

	if (o->failed)
		return;
	if (o->taker)
		all = send_all(o, &err);
	if (!err.code && all && !o->held && wt_outgoing_resume(o, &err) && o->taker)
		all = send_all(o, &err);
	if (err.code) {
		wt_outgoing_fail(o, &err);
		return;
	}
	if (!all)
		wt_loop_timer_set(o->loop, &o->retry, wt_loop_now_ns(o->loop) + AGAIN_NS, again, o);
	wt_outgoing_watch(o, may_read(o, all));
	tell(o, all);
}

void wt_outgoing_fail(struct wt_outgoing *o, const struct wt_error *err)
{
	if (o->failed)
		return;
	o->failed = true;
	wt_outgoing_watch(o, false);
	o->events.trouble(o->arg, err);
}

/* ---- life ---- */

int wt_outgoing_open(struct wt_loop *loop, const struct wt_outgoing_events *events, void *arg,
	struct wt_outgoing **ret_outgoing, struct wt_error *err)
{
	struct wt_outgoing *o = calloc(1, sizeof *o);

	if (!o || wt_stream_open(&stream_events, o, &o->reader)) {
		free(o);
		return wt_error_set(err, ENOMEM, "no memory for the stream's reader");
	}
	o->loop = loop;
	o->events = *events;
	o->arg = arg;
	o->listen_fd = -1;
	o->read_max = UINT64_MAX;
	*ret_outgoing = o;
	return 0;
}

int wt_outgoing_offer(
	struct wt_outgoing *o, const struct wt_skip_block *blocks, unsigned count, struct wt_error *err)
{
	return wt_skip_offer_open(o->path, blocks, count, &o->offer, err);
}

void wt_outgoing_allow_shared(struct wt_outgoing *o, bool strip)
{
	wt_stream_allow_shared(o->reader, strip);
}

bool wt_outgoing_left_out(const struct wt_outgoing *o, int number)
{
	uint32_t count = wt_stream_block_count(o->reader);

	for (uint32_t i = 0; i < count; i++)
		if (o->blocks[i].number == number)
			return !o->blocks[i].came;
	return false;
}

void wt_outgoing_start(struct wt_outgoing *o, struct wt_server *server)
{
	wt_outgoing_start_taker(o, &wt_outgoing_server, server);
}

void wt_outgoing_start_taker(struct wt_outgoing *o, const struct wt_outgoing_taker *taker, void *arg)
{
	o->taker = taker;
	o->taker_arg = arg;
	wt_outgoing_pump(o);
}

int wt_outgoing_keep(struct wt_outgoing *o, struct wt_error *err)
{
	return wt_replay_open(WT_REPLAY_PAGES_MAX, &o->replay)
		       ? wt_error_set(err, ENOMEM, "no memory to keep QEMU's stream")
		       : 0;
}

int wt_outgoing_check(const struct wt_outgoing *o, struct wt_error *err)
{
	return wt_replay_check(o->replay, err);
}

void wt_outgoing_hold(struct wt_outgoing *o, bool held)
{
	struct wt_error err = { 0 };

	o->held = held;
	if (held && !o->failed && wt_stream_break(o->reader, &err))
		wt_outgoing_fail(o, &err);
	wt_outgoing_pump(o);
}

void wt_outgoing_allow(struct wt_outgoing *o, uint64_t pages)
{
	o->read_max = pages < UINT64_MAX - o->read_pages ? o->read_pages + pages : UINT64_MAX;
	wt_outgoing_pump(o);
}

bool wt_outgoing_settled(const struct wt_outgoing *o)
{
	return o->held && !o->run.extent.pages && o->pass_first == o->pass_length;
}

uint64_t wt_outgoing_position(const struct wt_outgoing *o)
{
	return wt_replay_position(o->replay);
}

int wt_outgoing_retarget(struct wt_outgoing *o, struct wt_server *server, uint64_t from, struct wt_error *err)
{
	int r = wt_replay_check(o->replay, err);

	assert(o->held);
	if (r)
		return r;
	o->pass_first = o->pass_length = 0;
	o->taker_arg = server;
	r = wt_replay_write(o->replay, o->reader, from, on_part, o, err);
	if (r)
		wt_outgoing_fail(o, err);
	return r;
}

bool wt_outgoing_has_return_path(const struct wt_outgoing *o)
{
	return o->return_path;
}

bool wt_outgoing_shut(struct wt_outgoing *o)
{
	uint8_t bytes[8];

	return answer(o, bytes, wt_return_path_shut(bytes, 0));
}

bool wt_outgoing_switchover_ack(struct wt_outgoing *o)
{
	uint8_t bytes[8];

	return o->return_path && answer(o, bytes, wt_return_path_switchover_ack(bytes));
}

void wt_outgoing_stats(const struct wt_outgoing *o, struct wt_outgoing_stats *ret_stats)
{
	*ret_stats = (struct wt_outgoing_stats){
		.pages = o->pages, .read_pages = o->read_pages, .passed_bytes = o->passed_bytes
	};
	for (unsigned i = 0; i < o->feed_count; i++) {
		ret_stats->channels += o->feeds[i]->channel != NULL;
		ret_stats->feed |= o->feeds[i]->skips;
		ret_stats->skipped_bytes += wt_outgoing_absent_bytes(o->feeds[i]);
	}
}

void wt_outgoing_close(struct wt_outgoing *o)
{
	if (!o)
		return;
	wt_outgoing_hang_up(o);
	wt_loop_timer_clear(o->loop, &o->retry);
	wt_outgoing_feeds_close(o);
	wt_stream_close(o->reader);
	wt_skip_offer_close(o->offer);
	wt_replay_close(o->replay);
	free(o->blocks);
	free(o->run_bytes);
	free(o->pass);
	free(o);
}
