/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_qemu_destination.c - a destination QEMU: loads the stripped stream, runs when it is told to. See
 * sim_qemu.h.
 *
 * The stripped stream is read with the reader of qemu-glue, all blocks "in place", which reports the pages
 * that were left in it: those of blocks that are not shared, and no others.
 */
#include "sim_qemu_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOAD_NS (30 * SIM_MS)

/* ---- the stream ---- */

static int on_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	struct sim_qemu *qemu = arg;

	*ret_in_place = true;
	for (unsigned i = 0; i < qemu->block_count; i++)
		if (strcmp(qemu->blocks[i].name, name) == 0 && length == (uint64_t)qemu->blocks[i].pages
										 << WT_PAGE_SHIFT) {
			qemu->number[index] = (int)i;
			return 0;
		}
	sim_fail("the stripped stream has a block %s of %llu bytes", name, (unsigned long long)length);
}

static uint8_t *kept_page(struct sim_qemu *qemu, uint32_t block, uint64_t page)
{
	const struct sim_block *here = &qemu->blocks[qemu->number[block]];

	sim_check(!here->shared, "page %llu of %s, which is shared, is in the stripped stream",
		(unsigned long long)page, here->name);
	return here->bytes + (page << WT_PAGE_SHIFT);
}

static int on_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	memcpy(kept_page(arg, block, page), bytes, WT_PAGE_SIZE);
	return 0;
}

static int on_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	memset(kept_page(arg, block, page), 0, WT_PAGE_SIZE);
	return 0;
}

static int on_ram_end(void *arg, struct wt_error *err)
{
	((struct sim_qemu *)arg)->ram_ended = true;
	return 0;
}

static int on_nothing(void *arg, struct wt_error *err)
{
	return 0;
}

static int on_return_path(void *arg, struct wt_error *err)
{
	sim_fail("the stripped stream wants a return path");
}

static int on_ping(void *arg, uint32_t value, struct wt_error *err)
{
	sim_fail("the stripped stream has a ping");
}

static int on_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	struct sim_qemu *qemu = arg;

	if (qemu->ram_ended)
		sw_bytes(&qemu->tail, bytes, length);
	return 0;
}

static const struct wt_stream_events stream_events = {
	.block = on_block,
	.blocks_end = on_nothing,
	.page = on_page,
	.zero = on_zero,
	.ram_part = on_nothing,
	.ram_end = on_ram_end,
	.open_return_path = on_return_path,
	.ping = on_ping,
	.pass = on_pass,
};

/* ---- loading ---- */

void sim_destination_check_memory(struct sim_qemu *qemu)
{
	const struct sim_qemu *source = qemu->source;

	sim_check(source->copied, "the destination has loaded a guest that was never stopped");
	for (unsigned i = 0; i < qemu->block_count; i++)
		for (uint32_t page = 0; page < qemu->blocks[i].pages; page++) {
			size_t at = (size_t)page << WT_PAGE_SHIFT;

			sim_check(!memcmp(qemu->blocks[i].bytes + at, sim_copy_of(source, i) + at,
					  WT_PAGE_SIZE),
				"page %u of %s is not as it was when the guest stopped", page,
				qemu->blocks[i].name);
		}
}

static void loaded(void *arg, uint64_t now_ns)
{
	struct sim_qemu *qemu = arg;

	sim_check(!sim_qemu_any_loaded(), "two destinations have loaded the guest");
	qemu->loaded = true;
	sim_qemu_set(qemu, "paused");
	sim_qemu_set_migration(qemu, "completed");
}

static void tail_arrived(struct sim_qemu *qemu)
{
	const struct stream_writer *sent = &qemu->source->tail;

	if (!qemu->ram_ended || qemu->tail.length < sent->length || qemu->step.fn || qemu->loaded)
		return;
	sim_check(qemu->tail.length == sent->length && !memcmp(qemu->tail.data, sent->data, sent->length),
		"the state of devices did not arrive as it was sent");
	if (strcmp(qemu->source->status, "finish-migrate") == 0 && qemu->source->alive)
		sim_destination_check_memory(qemu);
	wt_loop_timer_set(qemu->loop, &qemu->step, sim_now_ns + sim_below(LOAD_NS), loaded, qemu);
}

static void incoming_ended(struct sim_qemu *qemu)
{
	sim_qemu_hang_up(qemu);
	if (qemu->loaded || qemu->step.fn)
		return;
	sim_qemu_set_migration(qemu, "failed");
	sim_qemu_die(qemu);
}

static void readable(void *arg, uint32_t events);

static void reads_on(void *arg, uint64_t now_ns)
{
	struct sim_qemu *qemu = arg;

	if (qemu->fd >= 0)
		wt_loop_fd_set(qemu->loop, qemu->fd, EPOLLIN, readable, qemu);
}

static void readable(void *arg, uint32_t events)
{
	struct sim_qemu *qemu = arg;
	struct wt_error err = { 0 };
	uint8_t *buffer;
	size_t room;
	ssize_t n;

	wt_stream_buffer(qemu->reader, &buffer, &room);
	if (qemu->slow_to_read) {
		room = sim_between(1, 8192);
		wt_loop_fd_clear(qemu->loop, qemu->fd);
		wt_loop_timer_set(qemu->loop, &qemu->rests, sim_now_ns + sim_below(SIM_MS), reads_on, qemu);
	}
	n = read(qemu->fd, buffer, room);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		incoming_ended(qemu);
		return;
	}
	if (wt_stream_advance(qemu->reader, (size_t)n, &err))
		sim_fail("the stripped stream: %s", wt_error_text(&err));
	tail_arrived(qemu);
}

static void connected(void *arg, uint32_t events)
{
	struct sim_qemu *qemu = arg;

	qemu->fd = accept4(qemu->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (qemu->fd < 0)
		return;
	wt_loop_fd_clear(qemu->loop, qemu->listen_fd);
	close(qemu->listen_fd);
	qemu->listen_fd = -1;
	wt_loop_fd_set(qemu->loop, qemu->fd, EPOLLIN, readable, qemu);
}

int sim_destination_incoming(struct sim_qemu *qemu, const char *uri, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (qemu->reader)
		return wt_error_set(err, EREMOTEIO, "the incoming migration has already been started");
	snprintf(address.sun_path, sizeof address.sun_path, "%s", uri + strlen("unix:"));
	qemu->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(qemu->listen_fd, (struct sockaddr *)&address, sizeof address) ||
		listen(qemu->listen_fd, 1)) {
		/* The relay that wanted it is gone, and its directory. */
		close(qemu->listen_fd);
		qemu->listen_fd = -1;
		return wt_error_set(err, EREMOTEIO, "Failed to bind socket");
	}
	if (wt_stream_open(&stream_events, qemu, &qemu->reader))
		sim_fail("no memory for a reader");
	qemu->begun = true;
	wt_loop_fd_set(qemu->loop, qemu->listen_fd, EPOLLIN, connected, qemu);
	sim_qemu_set_migration(qemu, "active");
	return 0;
}

void sim_destination_close(struct sim_qemu *qemu)
{
	if (qemu->listen_fd >= 0) {
		wt_loop_fd_clear(qemu->loop, qemu->listen_fd);
		close(qemu->listen_fd);
		qemu->listen_fd = -1;
	}
	wt_loop_timer_clear(qemu->loop, &qemu->rests);
	wt_stream_close(qemu->reader);
	qemu->reader = NULL;
}

int sim_destination_cont(struct sim_qemu *qemu, struct wt_error *err)
{
	const struct sim_qemu *source = qemu->source;

	sim_check(!strcmp(qemu->status, "paused"), "the destination is told to run while it is %s",
		qemu->status);
	sim_check(qemu->source->committed, "the destination is told to run before the source has committed");
	sim_check(!qemu->guest.paused || source->stopped_ns - source->paused_ns < SIM_PAUSE_NS,
		"a guest that its operator had paused is told to run");
	if (qemu->refusals) {
		qemu->refusals--;
		return wt_error_set(err, EREMOTEIO, "Failed to get \"write\" lock");
	}
	sim_destination_check_memory(qemu);
	qemu->ran = true;
	sim_copy_take(qemu);
	sim_qemu_set(qemu, "running");
	return 0;
}
