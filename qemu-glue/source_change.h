/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_change.h - the source's destinations, and how the one that it sends to changes: the state of
 * source_change.c, which carries out the actions of source_retarget.h.
 *
 * A *target* is a destination with its page server, known by the machine's number. Its server stays open
 * until the end of the relay, whatever becomes of it: what was announced to it may still be needed.
 */
#ifndef WATARI_QEMU_SOURCE_CHANGE_H
#define WATARI_QEMU_SOURCE_CHANGE_H

#include <watari/server.h>

#include "retarget_request.h"
#include "source_retarget.h"

struct wt_source;

struct wt_source_target {
	struct wt_source *source;
	struct wt_server *server;           /* NULL: never opened */
	struct wt_retarget_request request; /* who it is; but for the first one, whom the options name */
	struct wt_address address;
	uint64_t position; /* where the stripped stream stands there, since it retired */
	unsigned serves;   /* as which helper it serves the current target; 0: it was not told to */
	uint8_t session_id[WT_SERVER_SESSION_ID_BYTES]; /* of that service */
	unsigned attempt; /* of the migration that it was opened for: source->formers of that time */
	bool drained;     /* kept, and it pulls no more */
	bool expected;    /* ... and the current one awaits it as a replica */
	uint16_t port;    /* ... where it is expected as a replica, and has not been told; 0: nowhere */
	uint8_t digest_key[WT_DIGEST_KEY_BYTES]; /* ... and the key for that */
};

/* One change, from its request on. */
struct wt_source_change_figures {
	uint64_t start_ns, end_ns; /* of the report's clock; end: nothing more was needed of others */
	uint64_t need_pages;       /* that had been announced before */
	uint64_t helper_pages;     /* of these, what former destinations had */
	uint64_t announced_before; /* pages with content, by all servers up to then */
};

struct wt_source_change {
	struct wt_source_retarget machine;
	struct wt_source_target targets[WT_TARGETS_MAX];
	struct wt_timer deadline; /* of the machine's state */
	struct wt_timer drain;    /* while DRAIN waits until all that was read from QEMU has been sent */
	bool drain_waits;
	bool handing; /* base has gone: what was pending at `old` goes to `current` */
	char to[WT_TARGET_TEXT_MAX];
	struct wt_retarget_report report;
	struct wt_error why; /* the last change failed */
	struct wt_source_change_figures last;
	enum wt_source_event befell; /* what RAISE_TROUBLE means */

	bool gated;                         /* QEMU may send only so much: see source_gate.c */
	uint64_t base_left_pages;           /* UINT64_MAX: it has not said yet */
	uint64_t base_pages, base_since_ns; /* as it said first, and when: how fast it goes */
};

#endif
