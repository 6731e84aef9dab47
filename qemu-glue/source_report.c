/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_report.c - progress while a migration runs, and its summary. Reads the source's state, changes none
 * of it but the figures.
 *
 * How much is left is QEMU's word (what it has not sent yet) plus what was sent by QEMU and is pending (has
 * not landed) or waits. What only the destination knows (what was pulled over which fabric, how long loading
 * took) came with its last message, and is believed as far as figures go.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "source_internal.h"

#define PROGRESS_NS 250000000ull

static uint64_t count_of(json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

void wt_source_take_figures(struct wt_source *source, json_t *answer)
{
	json_t *ram = json_object_get(answer, "ram");
	uint64_t throttle = count_of(answer, "cpu-throttle-percentage");

	if (!ram)
		return;
	source->said.read_pages = source->asked_pages;
	source->said.total_bytes = count_of(ram, "total");
	source->said.remaining_bytes = count_of(ram, "remaining");
	source->said.dirty_bytes_per_s = count_of(ram, "dirty-pages-rate") * count_of(ram, "page-size");
	source->said.throttle_percent = throttle <= 100 ? (unsigned)throttle : 100;
}

static uint64_t landed_bytes(uint64_t pages, uint64_t pending_bytes)
{
	uint64_t bytes = pages << WT_PAGE_SHIFT;

	return bytes > pending_bytes ? bytes - pending_bytes : 0;
}

static uint64_t served_bytes(const struct wt_source *source)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; source->served[i]; i++)
		bytes += source->served[i]->length;
	return bytes;
}

struct wt_progress wt_source_figures(const struct wt_source *source)
{
	enum wt_source_state state = source->machine.state;
	struct wt_server_stats stats = { 0 };
	struct wt_progress p = { .vm = source->options->common.name,
		.state = wt_source_state_name(state),
		.remaining_bytes = WT_PROGRESS_UNKNOWN,
		.expected_end_ms = WT_PROGRESS_UNKNOWN,
		.rate_bytes_per_s = source->rate.bytes_per_s };

	wt_source_stats(source, &stats);
	p.moved_bytes = landed_bytes(stats.announced_pages - stats.zero_pages, stats.pending_bytes);
	p.pending_bytes = stats.pending_bytes;
	p.total_bytes = source->rest.begun ? served_bytes(source) : source->said.total_bytes;
	if (!p.total_bytes)
		return p;
	p.remaining_bytes = source->said.remaining_bytes + wt_source_rest_left(source) + stats.pending_bytes +
			    (stats.deferred_pages << WT_PAGE_SHIFT);
	if (state != WT_SOURCE_STREAMING && state != WT_SOURCE_STOPPED)
		return p;
	p.throttle_percent = source->said.throttle_percent;
	p.dirty_bytes_per_s = state == WT_SOURCE_STREAMING ? source->said.dirty_bytes_per_s : 0;
	p.expected_end_ms =
		wt_progress_end_ms(p.remaining_bytes, source->pace.bytes_per_s, p.dirty_bytes_per_s);
	return p;
}

void wt_source_no_convergence(const struct wt_source *source, struct wt_error *err)
{
	const struct wt_source_options *o = source->options;
	struct wt_progress p = wt_source_figures(source);
	char across[32], anew[32], left[32] = "an unknown amount";

	if (p.remaining_bytes != WT_PROGRESS_UNKNOWN)
		wt_progress_size(p.remaining_bytes, left);
	wt_error_set(err, ETIMEDOUT,
		"the guest could not be stopped within %.4g s: it writes %s/s anew, %s/s get across, %s is left; "
		"try %s%sa longer --downtime-limit or --give-up-after",
		(double)o->give_up_ns / 1e9, wt_progress_size(p.dirty_bytes_per_s, anew),
		wt_progress_size(p.rate_bytes_per_s, across), left,
		o->auto_converge ? "" : "--auto-converge, ", o->max_rate ? "a higher --max-rate, " : "");
}

static void progress_fired(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;
	char text[WT_PROGRESS_LINE_MAX];
	struct wt_server_stats stats;
	struct wt_progress p;

	wt_loop_timer_set(
		source->relay.loop, &source->progress, now_ns + PROGRESS_NS, progress_fired, source);
	wt_source_stats(source, &stats);
	wt_rate_update(&source->pace, landed_bytes(stats.announced_pages, stats.pending_bytes), now_ns);
	wt_rate_update(&source->rate,
		landed_bytes(stats.announced_pages - stats.zero_pages, stats.pending_bytes), now_ns);
	p = wt_source_figures(source);
	wt_report_progress(&source->relay.report, wt_progress_json(&p),
		wt_progress_line(&p, wt_report_columns(&source->relay.report), text));
}

void wt_source_progress(struct wt_source *source)
{
	wt_loop_timer_set(source->relay.loop, &source->progress,
		wt_loop_now_ns(source->relay.loop) + PROGRESS_NS, progress_fired, source);
}

/* ---- the summary ---- */

/* Where the time and the bytes went. */
struct account {
	double total_ms, downtime_ms;
	/* Parts of the downtime: until QEMU has written all of RAM; until that has landed and the rest of the
	 * stream is there; and so on. */
	double last_pages_ms, state_ms, verify_ms, load_ms, commit_ms, start_ms;
	uint64_t ram_bytes, common_bytes, moved_pages, in_place_pages, copied_pages, zero_pages;
	uint64_t stream_bytes, tcp_bytes, verbs_bytes, control_bytes;
	uint64_t digested_pages, replica_pages; /* with a replica at the destination */
	unsigned channels;                      /* of QEMU's stream */
	bool feed;                              /* QEMU left guest RAM out of it */
	uint64_t skipped_bytes;
	uint64_t left_out_bytes; /* by x-ignore-shared, of a paused guest */
	const char *fabric;
};

static double ms_of(json_t *object, const char *key)
{
	double value = json_number_value(json_object_get(object, key));

	return value > 0 ? value : 0;
}

static struct account take_account(const struct wt_source *source)
{
	json_t *there = source->destination_facts;
	struct wt_outgoing_stats stream;
	struct wt_server_stats stats;
	struct account a = { .total_ms = wt_report_ms_between(source->start_ns, source->end_ns),
		.downtime_ms = wt_report_ms_between(source->stop_ns, source->end_ns),
		.last_pages_ms = wt_report_ms_between(source->stop_ns, source->ram_end_ns),
		.verify_ms = ms_of(there, "verify_ms"),
		.load_ms = ms_of(there, "load_ms"),
		.commit_ms = wt_report_ms_between(source->ready_ns, source->commit_ns),
		.start_ms = wt_report_ms_between(source->commit_ns, source->end_ns),
		.stream_bytes = count_of(there, "stream_bytes"),
		.tcp_bytes = count_of(there, "tcp_bytes"),
		.verbs_bytes = count_of(there, "verbs_bytes"),
		.replica_pages = count_of(there, "replica_pages") };

	wt_source_stats(source, &stats);
	a.state_ms = wt_report_ms_between(source->stop_ns, source->ready_ns) - a.last_pages_ms - a.verify_ms -
		     a.load_ms;
	if (a.state_ms < 0)
		a.state_ms = 0;
	a.ram_bytes = served_bytes(source);
	if (source->common)
		a.ram_bytes = a.common_bytes = wt_common_memory_bytes(source->common);
	a.moved_pages = stats.announced_pages - stats.zero_pages;
	a.copied_pages = stats.staged_pages;
	a.in_place_pages = a.moved_pages - a.copied_pages;
	a.zero_pages = stats.zero_pages;
	a.control_bytes = stats.control_bytes;
	a.digested_pages = stats.digested_pages;
	a.fabric = wt_fabric_name(stats.fabric);
	wt_outgoing_stats(source->outgoing, &stream);
	a.channels = stream.channels ? stream.channels : 1;
	a.feed = stream.feed;
	a.skipped_bytes = stream.skipped_bytes;
	a.left_out_bytes = source->rest.bytes;
	return a;
}

/* The last change of the destination. */
static json_t *retarget_json(const struct wt_source *source, const struct account *a)
{
	const struct wt_source_change_figures *last = &source->change.last;

	return json_pack("{s:i,s:s,s:b,s:b,s:f,s:I,s:I,s:I}", "number", (int)source->change.report.number,
		"to", source->change.report.to, "good", (int)source->change.report.good, "restarted",
		(int)source->change.report.restarts, "ms", wt_report_ms_between(last->start_ns, last->end_ns),
		"need_pages", (json_int_t)last->need_pages, "helper_pages", (json_int_t)last->helper_pages,
		"announced_pages", (json_int_t)(a->moved_pages - last->announced_before));
}

static json_t *summary_json(const struct wt_source *source, const struct account *a)
{
	json_t *fields = json_pack("{s:s,s:s,s:s,s:s,s:f,s:f,s:I,s:I,s:b}", "vm",
		source->options->common.name, "fabric", a->fabric, "qemu", wt_qmp_version(source->relay.qmp),
		"mode", "driven", "total_ms", a->total_ms, "downtime_ms", a->downtime_ms, "ram_bytes",
		(json_int_t)a->ram_bytes, "moved_bytes", (json_int_t)a->moved_pages * WT_PAGE_SIZE,
		"verified", (int)source->options->verify);
	json_t *times = json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "last_pages_ms", a->last_pages_ms, "state_ms",
		a->state_ms, "verify_ms", a->verify_ms, "load_ms", a->load_ms, "commit_ms", a->commit_ms,
		"start_ms", a->start_ms);
	json_t *amounts = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "in_place_pages",
		(json_int_t)a->in_place_pages, "copied_pages", (json_int_t)a->copied_pages, "zero_pages",
		(json_int_t)a->zero_pages, "stream_bytes", (json_int_t)a->stream_bytes, "tcp_bytes",
		(json_int_t)a->tcp_bytes, "verbs_bytes", (json_int_t)a->verbs_bytes, "control_bytes",
		(json_int_t)a->control_bytes, "digested_pages", (json_int_t)a->digested_pages,
		"replica_pages", (json_int_t)a->replica_pages);

	json_object_set_new(fields, "channels", json_integer((json_int_t)a->channels));
	json_object_set_new(fields, "common_bytes", json_integer((json_int_t)a->common_bytes));
	json_object_set_new(fields, "feed", json_boolean(a->feed));
	json_object_set_new(fields, "skipped_bytes", json_integer((json_int_t)a->skipped_bytes));
	json_object_set_new(fields, "left_out_bytes", json_integer((json_int_t)a->left_out_bytes));
	json_object_update(fields, times);
	json_object_update(fields, amounts);
	json_decref(times);
	json_decref(amounts);
	if (source->devices.passthrough)
		json_object_set_new(fields, "devices", wt_source_devices_json(source));
	if (source->destination_facts)
		json_object_set(fields, "destination", source->destination_facts);
	if (source->change.report.number)
		json_object_set_new(fields, "retarget", retarget_json(source, a));
	return fields;
}

static const char *pages_text(uint64_t pages, char text[32])
{
	return wt_progress_size(pages << WT_PAGE_SHIFT, text);
}

void wt_source_summary(struct wt_source *source)
{
	struct account a = take_account(source);
	char ram[32], place[32], copied[32], zero[32], state[32], tcp[32], verbs[32], text[4096];

	snprintf(text, sizeof text,
		"%s has moved: %.0f ms in all, %.0f ms down%s\n"
		"  downtime  last pages %.0f ms, device state %.0f ms, comparing %.0f ms, loading %.0f ms, commit %.0f ms, start %.0f ms\n"
		"  memory    %s: in place %s, copied %s, zero %s; device state and the like %s\n"
		"  pulled    over tcp %s, over verbs %s",
		source->options->common.name, a.total_ms, a.downtime_ms,
		source->options->verify ? ", RAM compared and equal" : "", a.last_pages_ms, a.state_ms,
		a.verify_ms, a.load_ms, a.commit_ms, a.start_ms, wt_progress_size(a.ram_bytes, ram),
		pages_text(a.in_place_pages, place), pages_text(a.copied_pages, copied),
		pages_text(a.zero_pages, zero), wt_progress_size(a.stream_bytes, state),
		wt_progress_size(a.tcp_bytes, tcp), wt_progress_size(a.verbs_bytes, verbs));
	if (a.digested_pages) {
		size_t length = strlen(text);

		snprintf(text + length, sizeof text - length, "\n  replica   %s was there already",
			pages_text(a.replica_pages, copied));
	}
	if (a.common_bytes) {
		size_t length = strlen(text);

		snprintf(text + length, sizeof text - length, "\n  common    %s stayed where it is",
			wt_progress_size(a.common_bytes, copied));
	}
	if (a.left_out_bytes) {
		size_t length = strlen(text);

		snprintf(text + length, sizeof text - length, "\n  paused    %s was not in QEMU's stream",
			wt_progress_size(a.left_out_bytes, copied));
	}
	if (a.feed) {
		size_t length = strlen(text);

		snprintf(text + length, sizeof text - length, "\n  feed      QEMU left out %s",
			wt_progress_size(a.skipped_bytes, copied));
	}
	wt_source_devices_text(source, text + strlen(text), sizeof text - strlen(text));
	wt_report_event(&source->relay.report, "summary", summary_json(source, &a), text);
}
