/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_qemu_source.c - a source QEMU's migration: walks over dirty pages, stops the guest when little is left,
 * writes device state, waits for SHUT. See sim_qemu.h.
 *
 * The stream goes through a real socket, one chunk after the other: the next one is made when the last one
 * was taken, so that back-pressure slows the walk down.
 */
#include "sim_qemu_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RP_SHUT 1
#define RP_PONG 2
#define IDLE_NS (5 * SIM_MS) /* with nothing to send */

static void step(void *arg, uint64_t now_ns);

uint64_t sim_source_remaining(const struct sim_qemu *qemu)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < qemu->block_count; i++)
		for (uint32_t page = 0; page < qemu->blocks[i].pages; page++)
			pages += qemu->blocks[i].dirty[page];
	return pages << WT_PAGE_SHIFT;
}

/* The guest goes on here, by itself. */
void sim_source_fail(struct sim_qemu *qemu, const char *migration)
{
	if (qemu->shut || !strcmp(qemu->migration, "none") || !strcmp(qemu->migration, "failed") ||
		!strcmp(qemu->migration, "cancelled"))
		return;
	sim_qemu_hang_up(qemu);
	wt_loop_timer_clear(qemu->loop, &qemu->step);
	sim_qemu_set_migration(qemu, migration);
	if (qemu->final)
		sim_qemu_set(qemu, qemu->resumes ? "running" : "paused");
	qemu->final = false;
}

/* ---- the return path ---- */

static void commit(void *arg, uint64_t now_ns)
{
	struct sim_qemu *qemu = arg;

	qemu->committed = true;
	sim_qemu_hang_up(qemu);
	sim_qemu_set(qemu, "postmigrate");
	sim_qemu_set_migration(qemu, "completed");
}

static void read_back(struct sim_qemu *qemu)
{
	ssize_t n = read(qemu->fd, qemu->back + qemu->back_length, sizeof qemu->back - qemu->back_length);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		sim_source_fail(qemu, "failed");
		return;
	}
	qemu->back_length += (size_t)n;
	while (qemu->back_length >= 8 && qemu->fd >= 0) {
		unsigned type = qemu->back[1];

		sim_check(type == RP_SHUT || type == RP_PONG, "message %u on the return path", type);
		qemu->back_length -= 8;
		memmove(qemu->back, qemu->back + 8, qemu->back_length);
		if (type != RP_SHUT)
			continue;
		sim_check(qemu->final, "SHUT came before the guest was stopped");
		/* From here on nothing can fail any more; that it is over takes its time. */
		wt_loop_fd_clear(qemu->loop, qemu->fd);
		qemu->shut = true;
		wt_loop_timer_set(qemu->loop, &qemu->step,
			sim_now_ns + sim_below(sim_one_in(8) ? 6 * SIM_S : 20 * SIM_MS), commit, qemu);
		return;
	}
}

/* ---- the stream ---- */

/* Up to `max` dirty pages from where the walk is; answers how many. */
static unsigned put_pages(struct sim_qemu *qemu, unsigned max)
{
	unsigned count = 0, named = SIM_BLOCKS;
	static const uint8_t zeros[WT_PAGE_SIZE];

	for (unsigned seen = 0; seen < SIM_BLOCKS * SIM_PAGES_MAX && count < max; seen++) {
		struct sim_block *block = &qemu->blocks[qemu->at_block];
		const uint8_t *bytes = block->bytes + ((size_t)qemu->at_page << WT_PAGE_SHIFT);

		if (block->dirty[qemu->at_page]) {
			const char *name = named == qemu->at_block ? NULL : block->name;

			block->dirty[qemu->at_page] = 0;
			if (memcmp(bytes, zeros, WT_PAGE_SIZE) == 0) {
				sw_zero(&qemu->out, name, qemu->at_page);
			} else {
				sw_word(&qemu->out, qemu->at_page, SW_PAGE | (name ? 0 : SW_CONTINUE));
				if (name)
					sw_name(&qemu->out, name);
				sw_bytes(&qemu->out, bytes, WT_PAGE_SIZE);
			}
			named = qemu->at_block;
			count++;
		}
		if (++qemu->at_page == block->pages) {
			qemu->at_page = 0;
			qemu->at_block = (qemu->at_block + 1) % qemu->block_count;
			qemu->walks += qemu->at_block == 0;
		}
	}
	return count;
}

static void put_prologue(struct sim_qemu *qemu)
{
	uint64_t pages = 0;

	sw_header(&qemu->out);
	sw_config(&qemu->out, "pc-q35-7.2");
	sw_command(&qemu->out, 1, NULL, 0);
	sw_command(&qemu->out, 2, "\0\0\0\1", 4);
	sw_section(&qemu->out, SW_START, SW_RAM_ID, "ram", 4);
	for (unsigned i = 0; i < qemu->block_count; i++)
		pages += qemu->blocks[i].pages;
	sw_word(&qemu->out, pages, SW_MEM_SIZE);
	for (unsigned i = 0; i < qemu->block_count; i++)
		sw_block(&qemu->out, qemu->blocks[i].name, (uint64_t)qemu->blocks[i].pages << WT_PAGE_SHIFT);
	sw_eos(&qemu->out);
	qemu->prologue_done = true;
	sim_qemu_set_migration(qemu, "active");
}

/* Answers how many pages. */
static unsigned put_part(struct sim_qemu *qemu)
{
	unsigned count;

	sw_section(&qemu->out, SW_PART, SW_RAM_ID, NULL, 0);
	count = put_pages(qemu, (unsigned)sim_between(1, 48));
	sw_eos(&qemu->out);
	return count;
}

/* The guest is stopped: the rest of RAM, then devices, of which nobody knows the format. */
static void put_end(struct sim_qemu *qemu)
{
	size_t length = sim_between(1, sim_one_in(8) ? 400000 : 5000);

	qemu->resumes = strcmp(qemu->status, "running") == 0;
	qemu->stopped_ns = sim_now_ns;
	sim_qemu_set(qemu, "finish-migrate");
	qemu->final = true;
	sim_copy_take(qemu);
	sw_section(&qemu->out, SW_END, SW_RAM_ID, NULL, 0);
	put_pages(qemu, SIM_BLOCKS * SIM_PAGES_MAX);
	sw_eos(&qemu->out);
	qemu->tail.length = 0;
	while (qemu->tail.length < length)
		sw_be(&qemu->tail, sim_random(), 8);
	sw_bytes(&qemu->out, qemu->tail.data, qemu->tail.length);
	if (sim_one_in(2))
		sim_qemu_set_migration(qemu, "device");
}

/* QEMU's rule: what is left goes across within the limit, at the rate seen so far. A slow link would keep it
 * longer. */
static bool little_is_left(struct sim_qemu *qemu)
{
	double seconds = (double)(sim_now_ns - qemu->started_ns) / 1e9;
	double limit = (double)json_integer_value(json_object_get(qemu->parameters, "downtime-limit")) / 1e3;

	if (qemu->walks < qemu->walks_min || sim_now_ns < qemu->began_ns + qemu->guest.busy_ns)
		return false;
	return (double)sim_source_remaining(qemu) <= (double)qemu->sent_bytes / seconds * limit;
}

static void watch(struct sim_qemu *qemu);

/* True: all was taken. */
static bool push(struct sim_qemu *qemu)
{
	while (qemu->sent < qemu->out.length) {
		ssize_t n = write(qemu->fd, qemu->out.data + qemu->sent, qemu->out.length - qemu->sent);

		if (n < 0 && errno == EAGAIN) {
			qemu->writing_out = true;
			watch(qemu);
			return false;
		}
		if (n < 0) {
			sim_source_fail(qemu, "failed");
			return false;
		}
		qemu->sent += (size_t)n;
		qemu->sent_bytes += (size_t)n;
	}
	qemu->writing_out = false;
	watch(qemu);
	return true;
}

static void step(void *arg, uint64_t now_ns)
{
	struct sim_qemu *qemu = arg;
	uint64_t rest_ns = 1000;

	if (!push(qemu) || qemu->final)
		return;
	qemu->out.length = qemu->sent = 0;
	if (!qemu->prologue_done)
		put_prologue(qemu);
	else if (little_is_left(qemu))
		put_end(qemu);
	else if (!put_part(qemu))
		rest_ns = IDLE_NS;
	wt_loop_timer_set(qemu->loop, &qemu->step,
		now_ns + rest_ns + (uint64_t)((double)qemu->out.length * 1e9 / (double)qemu->stream_rate),
		step, qemu);
}

static void ready(void *arg, uint32_t events)
{
	struct sim_qemu *qemu = arg;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_back(qemu);
	if (qemu->fd >= 0 && qemu->writing_out && events & EPOLLOUT)
		step(qemu, sim_now_ns);
}

static void watch(struct sim_qemu *qemu)
{
	wt_loop_fd_set(qemu->loop, qemu->fd, EPOLLIN | (qemu->writing_out ? EPOLLOUT : 0), ready, qemu);
}

static void begin(void *arg, uint64_t now_ns)
{
	struct sim_qemu *qemu = arg;
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof address.sun_path, "%s", qemu->uri + strlen("unix:"));
	qemu->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connect(qemu->fd, (struct sockaddr *)&address, sizeof address)) {
		sim_source_fail(qemu, "failed");
		return;
	}
	qemu->started_ns = now_ns;
	watch(qemu);
	step(qemu, now_ns);
}

int sim_source_migrate(struct sim_qemu *qemu, const char *uri, struct wt_error *err)
{
	if (qemu->fd >= 0)
		return wt_error_set(err, EREMOTEIO, "there is a migration in progress");
	for (unsigned i = 0; i < qemu->block_count; i++)
		memset(qemu->blocks[i].dirty, 1, sizeof qemu->blocks[i].dirty);
	qemu->out.length = qemu->sent = qemu->back_length = 0;
	qemu->sent_bytes = qemu->walks = qemu->at_block = qemu->at_page = 0;
	qemu->prologue_done = qemu->writing_out = false;
	snprintf(qemu->uri, sizeof qemu->uri, "%s", uri);
	sim_qemu_set_migration(qemu, "setup");
	wt_loop_timer_set(qemu->loop, &qemu->step, sim_now_ns + sim_below(5 * SIM_MS), begin, qemu);
	return 0;
}
