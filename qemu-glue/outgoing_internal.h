/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outgoing_internal.h - shared by outgoing.c (what the stream means) and outgoing_feeds.c (QEMU's
 * connections).
 */
#ifndef WATARI_QEMU_OUTGOING_INTERNAL_H
#define WATARI_QEMU_OUTGOING_INTERNAL_H

#include "outgoing.h"
#include "replay.h"
#include "stream.h"

/* One connection of QEMU. */
struct outgoing_feed {
	struct wt_outgoing *outgoing;
	int fd; /* -1: it has ended */
	bool socket, watched;
	bool is_main;
	struct wt_multifd *channel; /* neither is_main nor this: it has not said yet what it is */
	bool skips;                 /* pages' bytes are absent; then of the offer's channel: */
	unsigned skip_channel;
};

struct outgoing_block {
	int number;          /* at the server; -1: its pages stay in the stream */
	const uint8_t *base; /* NULL: copied */
	bool came;           /* a page of it was in the stream */
	unsigned compared;   /* pages of the stream with the mapping */
	unsigned samples;    /* the same, of those that QEMU gave */
	bool equal;          /* at least one page was */
};

struct outgoing_run {
	struct wt_extent extent; /* pages == 0: none */
	enum wt_content content;
	bool copied; /* its bytes are in run_bytes */
};

struct wt_outgoing {
	struct wt_loop *loop;
	struct wt_outgoing_events events;
	void *arg;
	const struct wt_outgoing_taker *taker; /* NULL: not started */
	void *taker_arg;
	struct wt_stream *reader;
	struct wt_replay *replay; /* NULL: the stream is not kept */

	int listen_fd; /* -1: none */
	char path[108];
	struct wt_skip_offer *offer; /* NULL: none */
	unsigned feed_count;
	struct outgoing_feed **feeds;
	bool held;
	bool reading; /* feeds that wait for input may be watched */
	bool failed;  /* trouble was told, or QEMU was hung up on */
	bool told_stopped, told_ended;
	bool return_path;

	struct outgoing_block *blocks; /* by the stream's number */
	struct outgoing_run run;       /* gathered, not announced */
	uint8_t *run_bytes;

	uint8_t *pass; /* stripped bytes; those from pass_first on are not sent yet */
	size_t pass_first, pass_length, pass_room;
	size_t ram_end_at; /* where in pass RAM's end lies, valid until it was sent */
	struct wt_timer retry;
	bool ram_ended, rested, ram_end_sent;
	uint64_t pages, passed_bytes;
	uint64_t read_pages, read_max; /* of RAM that is not in the stripped stream */
};

/* Tells trouble, once; nothing is read any more. */
void wt_outgoing_fail(struct wt_outgoing *outgoing, const struct wt_error *err);

/* Compares a page of the memory mapped at base with what QEMU's page held: proof that we serve the guest's
 * memory. Further samples are of use until *ret_proven. */
int wt_outgoing_compare(struct wt_outgoing *outgoing, const uint8_t *base, uint64_t page,
	const uint8_t *bytes, bool *ret_proven, struct wt_error *err);

/* outgoing_server.c: a page server, which is the taker's arg. */
extern const struct wt_outgoing_taker wt_outgoing_server;

/* outgoing_feeds.c */

/* The main channel; -1: none. */
int wt_outgoing_main_fd(const struct wt_outgoing *outgoing);
bool wt_outgoing_main_ended(const struct wt_outgoing *outgoing);
/* Whether feeds are read from now on. */
void wt_outgoing_watch(struct wt_outgoing *outgoing, bool reading);
/* Lets every channel go on with what it has; answers whether one could. */
bool wt_outgoing_resume(struct wt_outgoing *outgoing, struct wt_error *err);
/* Bytes of a connection that QEMU has left out and that the reader has accounted for. */
uint64_t wt_outgoing_absent_bytes(const struct outgoing_feed *feed);
/* RAM has ended: was left out what we believe? */
int wt_outgoing_check_skipped(const struct wt_outgoing *outgoing, struct wt_error *err);
void wt_outgoing_feeds_close(struct wt_outgoing *outgoing);

#endif
