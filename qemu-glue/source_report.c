/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_report.c - progress while a migration runs, and its summary. Reads the source's state, changes none
 * of it but the figures of the last report.
 */
#include <inttypes.h>
#include <stdio.h>

#include "source_internal.h"

#define PROGRESS_NS 250000000ull

static void progress_fired(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;
	struct wt_server_stats stats;
	uint64_t bytes, rate;
	char text[160];

	wt_loop_timer_set(
		source->relay.loop, &source->progress, now_ns + PROGRESS_NS, progress_fired, source);
	wt_server_stats(source->server, &stats);
	bytes = ((stats.announced_pages - stats.zero_pages) << WT_PAGE_SHIFT) - stats.pending_bytes;
	rate = source->last_ns
		       ? (bytes - source->last_bytes) * 1000 / ((now_ns - source->last_ns) / 1000000 + 1)
		       : 0;
	source->last_bytes = bytes;
	source->last_ns = now_ns;
	snprintf(text, sizeof text, "%s: %" PRIu64 " MiB moved, %" PRIu64 " MB/s, %" PRIu64 " kB pending",
		wt_source_state_name(source->machine.state), bytes >> 20, rate / 1000000,
		stats.pending_bytes / 1000);
	wt_report_progress(&source->relay.report,
		json_pack("{s:s,s:I,s:I,s:I}", "state", wt_source_state_name(source->machine.state),
			"moved_bytes", (json_int_t)bytes, "rate_bytes_per_s", (json_int_t)rate,
			"pending_bytes", (json_int_t)stats.pending_bytes),
		text);
}

void wt_source_progress(struct wt_source *source)
{
	wt_loop_timer_set(source->relay.loop, &source->progress,
		wt_loop_now_ns(source->relay.loop) + PROGRESS_NS, progress_fired, source);
}

void wt_source_summary(struct wt_source *source)
{
	struct wt_outgoing_stats stream;
	struct wt_server_stats stats;
	uint64_t ram_bytes = 0, moved;
	double total_ms = (double)(source->end_ns - source->start_ns) / 1e6;
	double downtime_ms = (double)(source->end_ns - source->stop_ns) / 1e6;
	double commit_ms = (double)(source->commit_ns - source->ready_ns) / 1e6;
	char text[256];
	json_t *fields;

	for (unsigned i = 0; source->served[i]; i++)
		ram_bytes += source->served[i]->length;
	wt_server_stats(source->server, &stats);
	moved = (stats.announced_pages - stats.zero_pages) << WT_PAGE_SHIFT;
	fields = json_pack("{s:s,s:s,s:s,s:s,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:b}", "vm",
		source->options->common.name, "fabric", wt_fabric_name(stats.fabric), "qemu",
		wt_qmp_version(source->relay.qmp), "mode", "driven", "total_ms", total_ms, "downtime_ms",
		downtime_ms, "commit_ms", commit_ms, "ram_bytes", (json_int_t)ram_bytes, "moved_bytes",
		(json_int_t)moved, "zero_pages", (json_int_t)stats.zero_pages, "copied_pages",
		(json_int_t)stats.staged_pages, "verified", (int)source->options->verify);
	wt_outgoing_stats(source->outgoing, &stream);
	json_object_set_new(fields, "channels", json_integer(stream.channels ? stream.channels : 1));
	json_object_set_new(fields, "stream_bytes", json_integer((json_int_t)stream.passed_bytes));
	if (source->destination_facts)
		json_object_set(fields, "destination", source->destination_facts);
	snprintf(text, sizeof text,
		"%s has moved: %.0f ms in all, %.0f ms down, %.1f MiB of %.1f MiB RAM over %s%s",
		source->options->common.name, total_ms, downtime_ms, (double)moved / 1048576,
		(double)ram_bytes / 1048576, wt_fabric_name(stats.fabric),
		source->options->verify ? ", RAM compared and equal" : "");
	wt_report_event(&source->relay.report, "summary", fields, text);
}
