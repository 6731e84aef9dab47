/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_report.c - what people and machines are told of a handover.
 */
#include <stdio.h>

#include <watari/block.h>

#include "handover_internal.h"

void wt_handover_tell_checked(struct wt_handover *h)
{
	char shared[32], walked[32], text[256];

	snprintf(text, sizeof text,
		"%s of guest memory is the same in both QEMUs (%s, %s), and stays where it is",
		wt_progress_size(h->memory.shared_bytes, shared), wt_qmp_version(h->old.qmp),
		wt_qmp_version(h->new.qmp));
	wt_report_event(&h->relay.report, "checked",
		json_pack("{s:s,s:s,s:I,s:I}", "old_qemu", wt_qmp_version(h->old.qmp), "new_qemu",
			wt_qmp_version(h->new.qmp), "shared_bytes", (json_int_t)h->memory.shared_bytes,
			"walked_bytes", (json_int_t)h->memory.walked_bytes),
		text);
	if (!h->memory.walked_bytes)
		return;
	snprintf(text, sizeof text,
		"QEMU %s leaves out only memory-backend-file: it writes %s of other shared memory all the same, which is "
		"dropped here; that takes time that grows with it",
		wt_qmp_version(h->old.qmp), wt_progress_size(h->memory.walked_bytes, walked));
	wt_report_event(&h->relay.report, "note", json_pack("{s:s}", "text", text), text);
}

void wt_handover_tell_state(struct wt_handover *h, const char *qemu, const char *state)
{
	wt_report_event(
		&h->relay.report, "state", json_pack("{s:s,s:s}", "qemu", qemu, "state", state), NULL);
}

void wt_handover_tell_progress(struct wt_handover *h)
{
	struct wt_progress progress = { .vm = "handover",
		.state = wt_source_state_name(h->old_machine.state),
		.total_bytes = h->said.total_bytes,
		.moved_bytes = wt_handover_relay_stats(h->stream).stream_bytes,
		.remaining_bytes = h->said.total_bytes ? h->said.remaining_bytes : WT_PROGRESS_UNKNOWN,
		.expected_end_ms = WT_PROGRESS_UNKNOWN };
	char line[WT_PROGRESS_LINE_MAX];

	wt_report_progress(&h->relay.report, wt_progress_json(&progress),
		wt_progress_line(&progress, wt_report_columns(&h->relay.report), line));
}

void wt_handover_tell_stays(struct wt_handover *h)
{
	static const char text[] =
		"the old QEMU was told to quit and does not; end it, so that nobody lets its guest run: both "
		"have one memory";

	wt_report_event(&h->relay.report, "warning", json_pack("{s:s}", "text", text), text);
}

void wt_handover_tell_devices(struct wt_handover *h, const struct wt_error *err)
{
	char text[WT_ERROR_TEXT_MAX + 128];

	snprintf(text, sizeof text, "the guest runs in the new QEMU, but look at its devices: %s",
		wt_error_text(err));
	wt_report_event(&h->relay.report, "warning", json_pack("{s:s}", "text", text), text);
}

void wt_handover_tell_summary(struct wt_handover *h)
{
	struct wt_handover_relay_stats stats = wt_handover_relay_stats(h->stream);
	double total_ms = wt_report_ms_between(h->start_ns, h->end_ns),
	       down_ms = wt_report_ms_between(h->stop_ns, h->end_ns);
	double load_ms = wt_report_ms_between(h->stop_ns, h->loaded_ns),
	       commit_ms = wt_report_ms_between(h->loaded_ns, h->commit_ns);
	double start_ms = wt_report_ms_between(h->commit_ns, h->end_ns);
	uint64_t copied_bytes = stats.copied_pages << WT_PAGE_SHIFT;
	uint64_t dropped_bytes = stats.dropped_pages << WT_PAGE_SHIFT;
	char moved[32], copied[32], fed[32], devices[WT_DEVICES_MAX * WT_ERROR_TEXT_MAX],
		text[512 + sizeof devices];
	json_t *fields = json_pack("{s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:s,s:s}", "total_ms", total_ms,
		"downtime_ms", down_ms, "load_ms", load_ms, "commit_ms", commit_ms, "start_ms", start_ms,
		"moved_bytes", (json_int_t)h->memory.shared_bytes, "copied_bytes", (json_int_t)copied_bytes,
		"stream_bytes", (json_int_t)stats.stream_bytes, "dropped_bytes", (json_int_t)dropped_bytes,
		"old_qemu", wt_qmp_version(h->old.qmp), "new_qemu", wt_qmp_version(h->new.qmp));

	if (h->devices.passthrough)
		json_object_set_new(fields, "devices", wt_handover_devices_json(h));
	wt_handover_devices_text(h, devices, sizeof devices);
	snprintf(text, sizeof text,
		"the guest has gone over: %.0f ms in all, %.1f ms down\n"
		"  downtime  loading %.1f ms, commit %.1f ms, start %.1f ms\n"
		"  memory    moved %s, without copying; copied %s (video memory and the like); device state and all %s%s",
		total_ms, down_ms, load_ms, commit_ms, start_ms,
		wt_progress_size(h->memory.shared_bytes, moved), wt_progress_size(copied_bytes, copied),
		wt_progress_size(stats.stream_bytes, fed), devices);
	wt_report_event(&h->relay.report, "summary", fields, text);
}
