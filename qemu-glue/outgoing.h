/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outgoing.h - QEMU's migration stream on its way out: from QEMU's connections to announcements and the
 * stripped stream.
 *
 * What every source relay shares, whoever started the migration: driven over QMP, or by a URI. It owns QEMU's
 * connections (the main channel, and those of multifd) and the reader; it knows no QMP and decides nothing
 * about who runs. The page server is borrowed. One thread: the loop's. No callback may call
 * wt_outgoing_close.
 */
#ifndef WATARI_QEMU_OUTGOING_H
#define WATARI_QEMU_OUTGOING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <watari/error.h>
#include <watari/loop.h>
#include <watari/server.h>

#include "skip_offer.h"

struct wt_outgoing;

#define WT_OUTGOING_LEFT_OUT (-2)

struct wt_outgoing_events {
	/*
	 * A RAM block of the stream, in QEMU's order. *ret_number: the server's block that takes its pages;
	 * -1 (as it is set before the call): they stay in the stripped stream; WT_OUTGOING_LEFT_OUT: there
	 * are none, as QEMU leaves them out, and one that comes is trouble. *ret_base: its memory as it is
	 * mapped here, length bytes, borrowed; NULL (as before the call): pages are copied out of the stream.
	 */
	int (*block)(void *arg, const char *name, uint64_t length, int *ret_number, const uint8_t **ret_base,
		struct wt_error *err);
	/* All blocks were told; NULL is allowed. */
	int (*blocks_end)(void *arg, struct wt_error *err);
	/*
	 * RAM's end section was read, and it is not told yet that RAM has ended: announces to the taker what
	 * QEMU has left out of the stream (wt_outgoing_left_out). 0: that is all; -EAGAIN: pump again, not
	 * all was taken; others: trouble, err is filled. Meanwhile QEMU is read on. NULL is allowed.
	 */
	int (*rest)(void *arg, struct wt_error *err);
	/* RAM's end section was read: the guest is stopped. */
	void (*guest_stopped)(void *arg);
	/* QEMU has closed its end, behind RAM's end section; everything it wrote has been read. NULL is
	 * allowed. */
	void (*ended)(void *arg);
	/* The stream cannot go on; nothing more is read. */
	void (*trouble)(void *arg, const struct wt_error *err);
};

/*
 * Who takes what the stream announces, instead of a page server: with the same arguments and answers as
 * wt_server_announce, and so on. All of them are there, and called in the loop's thread.
 */
struct wt_outgoing_taker {
	int (*announce)(void *arg, struct wt_extent *extent, enum wt_content content);
	int (*announce_copy)(void *arg, struct wt_extent *extent, const uint8_t *bytes);
	void (*flush)(void *arg);
	bool (*room)(void *arg);
	/* It was heard so lately that the guest may be stopped. */
	bool (*recent)(void *arg, uint64_t now_ns);
	/* Bytes of the stripped stream, in order; false: none was taken, try again. */
	bool (*pass)(void *arg, const uint8_t *bytes, size_t length);
	/* Every announcement was taken; what is passed from now on is behind RAM's end. */
	bool (*ram_end)(void *arg);
};

struct wt_outgoing_stats {
	unsigned channels;      /* of multifd; 0: all comes over the main channel */
	uint64_t pages;         /* with content, that left the stream */
	uint64_t read_pages;    /* zero or not */
	uint64_t passed_bytes;  /* of the stripped stream */
	bool feed;              /* QEMU leaves guest RAM out (docs/FEED.md), ... */
	uint64_t skipped_bytes; /* ... so much of it */
};

int wt_outgoing_open(struct wt_loop *loop, const struct wt_outgoing_events *events, void *arg,
	struct wt_outgoing **ret_outgoing, struct wt_error *err);
void wt_outgoing_close(struct wt_outgoing *outgoing);

/* Where QEMU's bytes come from, one of the two. listen: a unix socket at a path, made here and removed by
 * close; the first migration that comes is taken, with its multifd channels. take: a pipe or socket that
 * carries one channel; owned from now on, also on failure. */
int wt_outgoing_listen(struct wt_outgoing *outgoing, const char *path, struct wt_error *err);
int wt_outgoing_take(struct wt_outgoing *outgoing, int fd, struct wt_error *err);
/* After listen, before QEMU comes: a QEMU with libwatari-feed.so may leave out these blocks. Their bases are
 * those that the callback `block` will tell. An error changes nothing. */
int wt_outgoing_offer(struct wt_outgoing *outgoing, const struct wt_skip_block *blocks, unsigned count,
	struct wt_error *err);

/* Before QEMU comes: its stream may lack the pages of shared blocks; strip: as in stream.h. */
void wt_outgoing_allow_shared(struct wt_outgoing *outgoing, bool strip);
/* RAM has ended: QEMU has listed the server's block of that number, and sent no page of it, not even as zero.
 */
bool wt_outgoing_left_out(const struct wt_outgoing *outgoing, int number);

/* From now on pages are announced by this server, which must outlive the object; before, the stream is read
 * up to its list of blocks only. */
void wt_outgoing_start(struct wt_outgoing *outgoing, struct wt_server *server);
/* The same with a taker, borrowed as a server is. */
void wt_outgoing_start_taker(struct wt_outgoing *outgoing, const struct wt_outgoing_taker *taker, void *arg);
/*
 * Changing the destination. keep: before start; without it nothing is kept, and retarget is refused. check:
 * can another destination take over now? 0, or why not (replay.h). hold: nothing is read from QEMU, which
 * sees a slow link; what was read still goes out. settled: held, and all of that has been announced and sent.
 * position: where the destination stands that has got all. retarget: while held; announcements and stream go
 * to `server` from now on, whose destination left at the position `from`, 0: it is new. What was not sent to
 * the former server is dropped. -errno as from check: nothing has changed; another one: trouble was told.
 */
int wt_outgoing_keep(struct wt_outgoing *outgoing, struct wt_error *err);
int wt_outgoing_check(const struct wt_outgoing *outgoing, struct wt_error *err);
void wt_outgoing_hold(struct wt_outgoing *outgoing, bool held);
bool wt_outgoing_settled(const struct wt_outgoing *outgoing);
uint64_t wt_outgoing_position(const struct wt_outgoing *outgoing);
int wt_outgoing_retarget(
	struct wt_outgoing *outgoing, struct wt_server *server, uint64_t from, struct wt_error *err);

/*
 * From now on so many more pages of guest RAM, zero or not, are read from QEMU, which then sees a link that
 * stands still; UINT64_MAX (as at first): any number. What keeps QEMU from stopping the guest too early.
 */
void wt_outgoing_allow(struct wt_outgoing *outgoing, uint64_t pages);

/* Something may have changed (room at the server, a message sent, time): sends what can be sent, reads on. */
void wt_outgoing_pump(struct wt_outgoing *outgoing);

/* QEMU has opened its return path: it will wait for SHUT. */
bool wt_outgoing_has_return_path(const struct wt_outgoing *outgoing);
/* SHUT on the return path; false: try again later. */
bool wt_outgoing_shut(struct wt_outgoing *outgoing);
/* SWITCHOVER_ACK there: QEMU may stop the guest, if it waits for that; false: try again later. */
bool wt_outgoing_switchover_ack(struct wt_outgoing *outgoing);
/* Closes QEMU's connections: the migration fails on QEMU's side, unless it has completed. */
void wt_outgoing_hang_up(struct wt_outgoing *outgoing);

/* The process at the other end of the main channel's socket; 0: unknown, or a pipe. */
pid_t wt_outgoing_pid(const struct wt_outgoing *outgoing);
void wt_outgoing_stats(const struct wt_outgoing *outgoing, struct wt_outgoing_stats *ret_stats);

#endif
