/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_replica.c - keeps the guest's RAM in files when it has moved (docs/REPLICA.md), so that it may come
 * back by what it has changed alone; and the gate (digest_gate.h) while the destination has such a copy.
 *
 * The directory is checked, and locked, before anything begins. RAM is written when the guest runs elsewhere:
 * from our mapping, which outlives QEMU, and nobody changes it any more. What goes wrong then is said in one
 * sentence; the guest has moved all the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "source_internal.h"

int wt_source_replica_open(struct wt_source *source, struct wt_error *err)
{
	const struct wt_source_options *o = source->options;
	int r = o->keep_replica ? wt_replica_create(o->keep_replica, o->common.name, &source->replica, err)
				: 0;

	if (!r && source->replica && wt_replica_writer_had_checkpoint(source->replica))
		r = wt_error_set(err, EEXIST,
			"%s holds a checkpoint of this guest, and would lose it; choose another directory",
			o->keep_replica);
	return r;
}

static int write_blocks(struct wt_source *source, struct wt_error *err)
{
	int r = 0;

	/* What is not shared came with the stream, and does so again. */
	for (unsigned i = 0; source->served[i] && !r; i++)
		if (source->served[i]->base)
			r = wt_replica_add_block(source->replica, source->served[i], err);
	return r;
}

static void told(struct wt_source *source, uint64_t start_ns)
{
	double ms = (double)(wt_report_now_ns() - start_ns) / 1e6;
	char text[512];

	snprintf(text, sizeof text, "the guest's memory is kept in %s (%.0f ms)",
		source->options->keep_replica, ms);
	wt_report_event(&source->relay.report, "replica",
		json_pack("{s:s,s:f}", "directory", source->options->keep_replica, "ms", ms), text);
}

void wt_source_digests_begin(struct wt_source *source)
{
	struct wt_server_stats stats;

	wt_source_stats(source, &stats);
	wt_digest_gate_init(&source->digest_gate, stats.digests, wt_loop_now_ns(source->relay.loop));
	wt_source_defer(source);
}

void wt_source_digests_gate(struct wt_source *source)
{
	struct wt_server_stats stats;

	wt_source_stats(source, &stats);
	if (wt_digest_gate_step(
		    &source->digest_gate, stats.digested_pages, wt_loop_now_ns(source->relay.loop))) {
		wt_source_defer(source);
		wt_source_downtime_limit(source);
	}
}

void wt_source_replica_write(struct wt_source *source)
{
	uint64_t start_ns = wt_report_now_ns();
	char text[WT_ERROR_TEXT_MAX + 64];
	struct wt_error err = { 0 };
	int r;

	if (!source->replica || source->machine.state != WT_SOURCE_DONE)
		return;
	r = write_blocks(source, &err);
	if (!r) {
		r = wt_replica_commit(source->replica, &err);
		source->replica = NULL;
	}
	if (!r) {
		told(source, start_ns);
		return;
	}
	snprintf(text, sizeof text, "%s; the guest has moved, and no replica was kept", wt_error_text(&err));
	wt_report_error(&source->relay.report, text);
}

void wt_source_replica_close(struct wt_source *source)
{
	wt_replica_abandon(source->replica);
}
