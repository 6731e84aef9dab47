/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restore.c - `watari restore`: from files into a QEMU. See restore.h.
 *
 *   1. All of the checkpoint is compared with its digests before QEMU is given a byte of device state: RAM
 * where it has come to lie, in guest RAM. What is damaged never runs. Until then QEMU waits as it did, and
 * another restore may follow.
 *   2. The guest is told to run when QEMU says that it has loaded all, and only if it ran when it was
 * stopped.
 *   3. With --hold nothing is left half done: a QEMU that has been given a guest, and may not run it, is
 * ended; it could not take another one.
 *
 * What is refused is refused before guest RAM is touched. The loop's thread; load.h has others.
 */
#include "restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "destination_feed.h"
#include "hold.h"
#include "load.h"
#include "machine_type.h"
#include "preflight.h"
#include "printable.h"
#include "read_pages.h"
#include "ram_users.h"
#include "restore_devices.h"
#include "restore_disks.h"

#define POLL_NS 5000000ull
#define PROGRESS_NS 250000000ull
#define RUN_RETRY_NS 50000000ull
#define RUN_TRIES 200 /* a disk lock that its former owner releases late */

enum restore_state {
	RESTORE_READING = 1, /* RAM, out of the files */
	RESTORE_LOADING,     /* QEMU, its device state */
	RESTORE_HELD,        /* all is loaded, and waits for others; an event says so, and no state */
	RESTORE_STARTING,
	RESTORE_ATTACHING, /* it runs, and gets its devices; the same */
	RESTORE_DONE,
};

struct restore {
	struct wt_relay relay;
	const struct wt_restore_options *options;
	enum restore_state state;
	struct wt_replica *files;
	struct wt_load_block *blocks;
	struct wt_load *load;
	uint8_t *device_state;
	struct wt_relay_socket place;
	struct wt_feed feed;
	struct wt_restore_devices devices;
	struct wt_hold hold;
	struct wt_timer poll, progress;
	struct wt_rate read_rate, all_rate; /* of content; of all pages, with zeros */
	uint64_t total_bytes;               /* of RAM */
	char vm[80];
	unsigned run_tries;
	struct wt_error failure;
	uint64_t start_ns, ram_ns, loaded_ns, end_ns;
};

static void trouble(struct restore *r, const struct wt_error *err)
{
	if (!r->failure.code)
		r->failure = *err;
	wt_hold_clear(&r->hold);
	wt_loop_stop(r->relay.loop, 0);
}

static const char *state_name(enum restore_state state)
{
	static const char *const names[] = { "invalid", "reading", "loading", "held", "starting", "attaching",
		"done" };

	return names[state];
}

static void go(struct restore *r, enum restore_state state)
{
	r->state = state;
	wt_report_event(&r->relay.report, "state", json_pack("{s:s}", "state", state_name(state)), NULL);
}

static void done(struct restore *r)
{
	r->end_ns = wt_report_now_ns();
	go(r, RESTORE_DONE);
	wt_loop_stop(r->relay.loop, 0);
}

/* ---- QEMU ---- */

static void try_run(void *arg, uint64_t now_ns);

static void cont_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct restore *r = arg;

	if (result || r->state != RESTORE_STARTING)
		return;
	if (r->run_tries >= RUN_TRIES)
		trouble(r, err);
	else
		wt_loop_timer_set(
			r->relay.loop, &r->poll, wt_loop_now_ns(r->relay.loop) + RUN_RETRY_NS, try_run, r);
}

static void try_run(void *arg, uint64_t now_ns)
{
	struct restore *r = arg;

	r->run_tries++;
	wt_qmp_execute(r->relay.qmp, "cont", NULL, cont_reply, r);
}

static void run(struct restore *r)
{
	if (r->options->paused || !r->files->index->checkpoint->running) {
		done(r);
		return;
	}
	go(r, RESTORE_STARTING);
	try_run(r, 0);
}

static void hold_ended(void *arg, bool told)
{
	struct restore *r = arg;
	struct wt_error err = { 0 };

	if (told) {
		run(r);
		return;
	}
	wt_error_set(&err, ETIMEDOUT, "nobody said watari proceed within %" PRIu64 " ms; see --hold",
		r->options->common.hold_ns / 1000000);
	trouble(r, &err);
}

static void loaded(struct restore *r)
{
	r->loaded_ns = wt_report_now_ns();
	wt_loop_timer_clear(r->relay.loop, &r->poll);
	r->state = RESTORE_HELD;
	if (!wt_hold_begin(&r->hold, r->relay.loop, &r->relay.report, r->options->common.hold_ns,
		    "all of it is loaded; waits for watari proceed", hold_ended, r))
		run(r);
}

static void status_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct restore *r = arg;
	const char *status = json_string_value(json_object_get(result, "status"));

	if (status && r->state == RESTORE_LOADING && strcmp(status, "inmigrate") != 0)
		loaded(r);
}

static void migrate_info_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct restore *r = arg;
	const char *status = json_string_value(json_object_get(result, "status"));
	const char *why = json_string_value(json_object_get(result, "error-desc"));
	struct wt_error failed = { 0 };
	char quoted[WT_PRINTABLE_MAX];

	if (!status || r->state != RESTORE_LOADING)
		return;
	if (!strcmp(status, "completed")) {
		wt_qmp_execute(r->relay.qmp, "query-status", NULL, status_reply, r);
	} else if (!strcmp(status, "failed")) {
		wt_error_set(&failed, EIO,
			"QEMU refuses the guest's state%s%s; has it the devices of the QEMU that was saved?",
			why ? ": " : "", why ? wt_printable(why, strlen(why), quoted, sizeof quoted) : "");
		trouble(r, &failed);
	}
}

static void poll_fired(void *arg, uint64_t now_ns)
{
	struct restore *r = arg;

	wt_loop_timer_set(r->relay.loop, &r->poll, now_ns + POLL_NS, poll_fired, r);
	wt_qmp_execute(r->relay.qmp, "query-migrate", NULL, migrate_info_reply, r);
}

static void qmp_event(void *arg, const char *name, json_t *data)
{
	struct restore *r = arg;

	wt_restore_devices_qmp_event(&r->devices, name, data);
	if (strcmp(name, "RESUME") != 0 || r->state != RESTORE_STARTING)
		return;
	wt_loop_timer_clear(r->relay.loop, &r->poll);
	wt_relay_announce_self(r->relay.qmp);
	r->state = RESTORE_ATTACHING;
	wt_restore_devices_give(&r->devices);
}

static void qmp_closed(void *arg, const struct wt_error *err)
{
	struct wt_error gone = { 0 };

	wt_error_set(&gone, EIO,
		"QEMU ended; see its standard error. Has it the devices of the QEMU that was saved?");
	trouble(arg, &gone);
}

static const struct wt_qmp_events qmp_events = { .event = qmp_event, .closed = qmp_closed };

/* ---- RAM ---- */

static void progress(struct restore *r, uint64_t now_ns)
{
	struct wt_load_stats stats;
	struct wt_progress p = { .vm = r->vm, .state = state_name(r->state), .total_bytes = r->total_bytes };
	char text[WT_PROGRESS_LINE_MAX];
	uint64_t all;

	wt_load_stats(r->load, &stats);
	all = (stats.read_pages + stats.zero_pages) << WT_PAGE_SHIFT;
	p.moved_bytes = stats.read_pages << WT_PAGE_SHIFT;
	p.remaining_bytes = r->total_bytes - all;
	p.rate_bytes_per_s = wt_rate_update(&r->read_rate, p.moved_bytes, now_ns);
	p.expected_end_ms =
		wt_progress_end_ms(p.remaining_bytes, wt_rate_update(&r->all_rate, all, now_ns), 0);
	wt_report_progress(&r->relay.report, wt_progress_json(&p),
		wt_progress_line(&p, wt_report_columns(&r->relay.report), text));
}

static void progress_fired(void *arg, uint64_t now_ns)
{
	struct restore *r = arg;

	progress(r, now_ns);
	wt_loop_timer_set(r->relay.loop, &r->progress, now_ns + PROGRESS_NS, progress_fired, r);
}

static int feed_state(struct restore *r, struct wt_error *err)
{
	int e = wt_feed_open(r->relay.qmp, &r->place, &r->feed, err);

	if (!e)
		e = wt_feed_add(
			&r->feed, r->device_state, (size_t)r->files->index->checkpoint->state_length, err);
	if (e)
		return e;
	go(r, RESTORE_LOADING);
	poll_fired(r, wt_loop_now_ns(r->relay.loop));
	return 0;
}

static void load_readable(void *arg, uint32_t events)
{
	struct restore *r = arg;
	struct wt_error err = { 0 };
	int e = wt_load_status(r->load, &err);

	if (e == -EAGAIN)
		return;
	wt_loop_fd_clear(r->relay.loop, wt_load_fd(r->load));
	wt_loop_timer_clear(r->relay.loop, &r->progress);
	progress(r, wt_loop_now_ns(r->relay.loop));
	r->ram_ns = wt_report_now_ns();
	if (!e && r->relay.qmp)
		e = feed_state(r, &err);
	else if (!e)
		done(r);
	if (e)
		trouble(r, &err);
}

/* ---- what is there ---- */

static int take_block(struct restore *r, unsigned number, struct wt_error *err)
{
	const struct wt_replica_block *from = &r->files->blocks[number];
	const struct wt_ram_block *to;
	char name[80];

	wt_printable(from->name, strlen(from->name), name, sizeof name);
	r->blocks[number] = (struct wt_load_block){ .from = from, .fd = -1 };
	if (!r->relay.ram)
		return 0;
	to = wt_guest_ram_find(r->relay.ram, from->name);
	if (!to)
		return wt_error_set(err, ENOENT,
			"this QEMU has no RAM block %s, which the checkpoint has; start it with the machine and devices of the QEMU "
			"that was saved",
			name);
	if (to->length != from->length)
		return wt_error_set(err, EINVAL,
			"RAM block %s has %" PRIu64 " bytes in the checkpoint and %" PRIu64
			" in this QEMU; start it with the memory of the QEMU that was saved",
			name, from->length, to->length);
	if (!to->shared)
		return wt_error_set(err, EINVAL,
			"RAM block %s is not shared in this QEMU, so it cannot be written from here; start it with a memory "
			"backend and share=on",
			name);
	r->blocks[number].to = to->base;
	r->blocks[number].fd = to->fd;
	r->blocks[number].fd_offset = to->fd_offset;
	return 0;
}

static int check_machine(struct restore *r, struct wt_error *err)
{
	const struct wt_replica_checkpoint *c = r->files->index->checkpoint;
	char here[64], there[80];
	int e = wt_machine_type(r->relay.qmp, here, sizeof here, err);

	if (e || !strcmp(here, c->machine))
		return e;
	return wt_error_set(err, EINVAL,
		"the checkpoint is of machine type %s, and this QEMU is %s; start it with -M %s",
		wt_printable(c->machine, strlen(c->machine), there, sizeof there), here, there);
}

/* Reads it as a whole, and compares its digest. */
static int read_state(struct restore *r, struct wt_error *err)
{
	const struct wt_replica_checkpoint *c = r->files->index->checkpoint;
	uint8_t digest[WT_PAGE_DIGEST_BYTES];

	if (c->state_length > WT_FEED_MAX)
		return wt_error_set(err, EFBIG, "the device state of the checkpoint has more than %u MiB",
			WT_FEED_MAX >> 20);
	r->device_state = malloc((size_t)c->state_length);
	if (!r->device_state)
		return wt_error_set(err, ENOMEM, "no memory for the guest's device state");
	if (wt_read_at(r->files->state_fd, r->device_state, c->state_length, 0) == 0) {
		wt_bytes_digest(r->device_state, (size_t)c->state_length, digest);
		if (!memcmp(digest, c->state_digest, sizeof digest))
			return 0;
	}
	return wt_error_set(err, EBADMSG,
		"the device state in %s is damaged: it does not have the digest that the index says",
		r->options->directory);
}

static int open_files(struct restore *r, struct wt_error *err)
{
	int e = wt_replica_open(r->options->directory, NULL, &r->files, err);

	if (e)
		return e;
	if (!r->files->index->checkpoint)
		return wt_error_set(err, EINVAL,
			"%s holds the memory of a guest that has moved (a replica), and no checkpoint: it has no device state to go "
			"on with",
			r->options->directory);
	r->blocks = calloc(r->files->index->count, sizeof *r->blocks);
	if (!r->blocks)
		return wt_error_set(err, ENOMEM, "no memory for a list of blocks");
	wt_printable(r->files->index->vm, strlen(r->files->index->vm), r->vm, sizeof r->vm);
	for (unsigned i = 0; i < r->files->index->count && !e; i++) {
		e = take_block(r, i, err);
		r->total_bytes += r->files->index->images[i].length;
	}
	return e;
}

static void signalled(void *arg, const char *signal_name)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, ECANCELED, "cancelled by %s", signal_name);
	trouble(arg, &err);
}

/* ---- the job ---- */

static int status(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	const struct restore *r = arg;

	*ret_result = json_pack("{s:s,s:s,s:s,s:s,s:b,s:s,s:i,s:f}", "job", r->options->common.job, "vm",
		r->vm, "role", "restore", "state", state_name(r->state), "held", (int)r->hold.held, "peer",
		r->options->directory, "pid", (int)getpid(), "elapsed_ms",
		wt_report_ms_between(r->relay.report.start_ns, wt_report_now_ns()));
	return 0;
}

static int cancel(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct restore *r = arg;
	struct wt_error why = { 0 };

	if (r->state > RESTORE_HELD)
		return wt_error_set(err, EBUSY, "too late to cancel: the guest runs");
	wt_error_set(&why, ECANCELED, "cancelled by the operator");
	trouble(r, &why);
	*ret_result = json_pack("{s:s}", "text", "cancelled; the checkpoint is as it was");
	return 0;
}

static int proceed(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	return wt_hold_proceed(&((struct restore *)arg)->hold, ret_result, err);
}

static const struct wt_job_command commands[] = {
	{ "status", status },
	{ "cancel", cancel },
	{ "proceed", proceed },
	{ NULL, NULL },
};

/* ---- beginning ---- */

static int check_qemu(struct restore *r, struct wt_error *err)
{
	int e = wt_preflight_destination(r->relay.qmp, r->relay.ram, err);

	if (!e)
		e = wt_ram_users_check(r->relay.ram, err);
	if (!e)
		e = check_machine(r, err);
	if (!e)
		e = wt_restore_disks_check(r->relay.qmp, r->files->index->checkpoint, err);
	if (!e)
		e = wt_restore_devices_open(&r->devices, &r->relay, err);
	return e ? e : wt_feed_prepare(r->relay.qmp, err);
}

/* From now on guest RAM is written. */
static void read_ram(void *arg)
{
	struct restore *r = arg;
	struct wt_error err = { 0 };

	if (wt_load_open(r->blocks, r->files->index->count, r->files->index->checkpoint->seed, 0, &r->load,
		    &err)) {
		trouble(r, &err);
		return;
	}
	wt_loop_fd_set(r->relay.loop, wt_load_fd(r->load), EPOLLIN, load_readable, r);
	go(r, RESTORE_READING);
	progress_fired(r, wt_loop_now_ns(r->relay.loop));
}

static void devices_failed(void *arg, const struct wt_error *err)
{
	trouble(arg, err);
}

static void devices_given(void *arg)
{
	done(arg);
}

static int start(struct restore *r, struct wt_error *err)
{
	int e = wt_relay_open(&r->relay, &r->options->common, &qmp_events, signalled, commands, r, err);

	r->devices.prepared = read_ram;
	r->devices.failed = devices_failed;
	r->devices.given = devices_given;
	r->devices.arg = r;

	wt_feed_init(&r->feed, r->relay.loop);
	r->start_ns = wt_report_now_ns();
	if (!e)
		e = open_files(r, err);
	if (!e && r->relay.qmp)
		e = check_qemu(r, err);
	if (!e)
		e = read_state(r, err);
	if (!e)
		wt_restore_devices_prepare(&r->devices);
	return e ? e : -r->failure.code;
}

/* ---- the end ---- */

static void summary(struct restore *r)
{
	struct wt_load_stats stats;
	char text[512];
	double ms = wt_report_ms_between(r->start_ns, r->end_ns);
	bool runs = r->state == RESTORE_DONE && r->run_tries;

	wt_load_stats(r->load, &stats);
	if (!r->relay.qmp)
		snprintf(text, sizeof text, "%s holds a checkpoint of %s, and all of it is right (%.0f ms)",
			r->options->directory, r->vm, ms);
	else
		snprintf(text, sizeof text, "%s %s (%.0f ms)", r->vm,
			runs ? "runs again" : "is back, and paused", ms);
	wt_report_event(&r->relay.report, "summary",
		json_pack("{s:s,s:b,s:f,s:f,s:f,s:I,s:I}", "vm", r->vm, "running", (int)runs, "total_ms", ms,
			"ram_ms", wt_report_ms_between(r->start_ns, r->ram_ns), "load_ms",
			wt_report_ms_between(r->ram_ns, r->loaded_ns), "read_pages",
			(json_int_t)stats.read_pages, "zero_pages", (json_int_t)stats.zero_pages),
		text);
}

/* The guest never ran. */
static void give_up(struct restore *r)
{
	struct wt_error ignored = { 0 };
	bool given = r->state >= RESTORE_LOADING && r->state < RESTORE_ATTACHING;
	char text[WT_ERROR_TEXT_MAX + 128];

	wt_restore_devices_end(&r->devices);
	given &= r->options->common.hold_ns > 0;
	if (given)
		wt_qmp_call(r->relay.qmp, "quit", NULL, WT_RELAY_QMP_NS, NULL, &ignored);
	snprintf(text, sizeof text, "%s%s", wt_error_text(&r->failure),
		given ? "; its QEMU was ended, and the checkpoint is as it was" : "");
	wt_report_error(&r->relay.report, text);
}

static void tell_devices(struct restore *r)
{
	if (!r->devices.passthrough)
		return;
	wt_report_event(&r->relay.report, "devices",
		json_pack("{s:o}", "devices", wt_passthrough_facts(r->devices.passthrough)),
		wt_restore_devices_trouble(&r->devices)
			? "the guest runs without a device that it should have"
			: "the guest has its devices");
}

static void close_all(struct restore *r)
{
	if (r->load)
		wt_loop_fd_clear(r->relay.loop, wt_load_fd(r->load));
	wt_restore_devices_close(&r->devices);
	wt_load_close(r->load);
	wt_feed_end(&r->place, &r->feed);
	wt_replica_close(r->files);
	free(r->blocks);
	free(r->device_state);
	wt_relay_close(&r->relay);
}

int wt_restore_run(const struct wt_restore_options *options)
{
	struct restore r = { .options = options };
	int code = WT_EXIT_FAILED;

	if (!start(&r, &r.failure))
		wt_loop_run(r.relay.loop);
	if (r.state == RESTORE_DONE) {
		wt_restore_devices_end(&r.devices); /* one that stays paused gets none */
		if (r.run_tries)
			tell_devices(&r);
		summary(&r);
		code = WT_EXIT_OK;
	} else {
		give_up(&r);
	}
	close_all(&r);
	return code;
}
