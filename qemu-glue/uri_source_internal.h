/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_source_internal.h - the state of a source without QMP, shared by uri_source.c (who runs) and
 * uri_source_report.c (what is told of it).
 */
#ifndef WATARI_QEMU_URI_SOURCE_INTERNAL_H
#define WATARI_QEMU_URI_SOURCE_INTERNAL_H

#include <watari/server.h>

#include "outgoing.h"
#include "progress.h"
#include "ram_search.h"
#include "relay.h"
#include "uri_source.h"
#include "uri_source_switch.h"

struct wt_uri_source {
	struct wt_relay relay;
	const struct wt_uri_source_options *options;
	struct wt_outgoing *outgoing;
	struct wt_memory *memory; /* NULL until QEMU has listed a block */
	struct wt_server *server; /* the same */
	struct wt_uri_source_switch machine;
	struct wt_ram_search search;
	const struct wt_ram_block *
		*served; /* by the server's number; ends with NULL, as a block that is copied does */
	uint64_t ram_bytes;
	struct wt_timer deadline, poll, progress;
	struct wt_error failure; /* the first thing that went wrong */
	uint64_t start_ns, stop_ns, end_ns, linger_until_ns;
	struct wt_rate rate;
	json_t *destination_facts;
	bool over; /* a signal came, or it could not even begin */
};

/* Remembers why (the first one wins) and raises TROUBLE. */
void wt_uri_source_trouble(struct wt_uri_source *source, const struct wt_error *err);

/* uri_source_report.c: reports progress from now on; tells what the migration was; what the job can be told.
 */
void wt_uri_source_progress(struct wt_uri_source *source);
void wt_uri_source_summary(struct wt_uri_source *source);
extern const struct wt_job_command wt_uri_source_commands[];

#endif
