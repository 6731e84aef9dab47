/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * link.h - a session on its current channel: what page server and puller share.
 *
 * Carries the session's bytes over a channel, ticks its keepalive, notices a peer that went silent, and says
 * when the connection came and went. The connecting side connects again by itself; the accepting side is
 * handed new channels. Gives up after give_up_ns without a connection. Owns session and channel.
 */
#ifndef WT_LINK_H
#define WT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/channel.h>
#include <watari/error.h>
#include <watari/loop.h>

#include "session.h"

#define WT_LINK_SILENCE_NS 4000000000ull /* a connection on which nothing was heard for so long is lost */
#define WT_LINK_PAUSE_NS 2000000000ull   /* a timer that is so late: this process stood still, not the peer */
#define WT_LINK_BYE_NS 30000000ull       /* for the last words to leave */
#define WT_LINK_RETRY_NS 300000000ull

struct wt_link_events {
	void (*up)(void *arg, bool again); /* again: a connection was lost before */
	void (*lost)(void *arg, const struct wt_error *err);
	void (*failed)(void *arg, const struct wt_error *err); /* for good */
	int (*message)(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
};

struct wt_link {
	struct wt_loop *loop;
	const struct wt_link_events *events;
	void *arg;
	struct wt_session *session;
	struct wt_channel *channel; /* NULL: none now */
	bool connector, was_up, failed;
	bool awaited;           /* the peer expects this session: its first connection, too, is tried again */
	bool gap;               /* bytes to the current channel were lost for want of memory */
	struct wt_address peer; /* connector: borrowed strings */
	const struct wt_credentials *credentials;
	uint64_t connect_timeout_ns, give_up_ns, lost_since_ns;
	uint64_t ticked_ns, awake_ns; /* awake: since when this process has not stood still */
	uint64_t bytes;               /* of frames, both ways */
	struct wt_timer timer;
	struct wt_error failure, last_error;
};

/* Connector: set loop, events, arg, peer, credentials and the times first. name: of the VM. id:
 * WT_SESSION_ID_BYTES; NULL: a random one. A first connection that fails ends the session, unless id is
 * given: the peer expects it then. */
int wt_link_connect(struct wt_link *link, const char *name, const uint8_t *id, struct wt_error *err);
/* Acceptor: set loop, events, arg and give_up_ns first. Takes the channel; rest: bytes behind the hello. */
int wt_link_accept(struct wt_link *link, struct wt_channel *channel, const struct wt_hello *hello,
	const uint8_t *rest, size_t rest_length, struct wt_error *err);
void wt_link_close(struct wt_link *link);
int wt_link_send(struct wt_link *link, unsigned type, const void *payload, size_t length);
/* For messages without which the session makes no sense: fails the link when one cannot be queued. */
void wt_link_must_send(struct wt_link *link, unsigned type, const void *payload, size_t length);
/* Ends the session for good with this error; calls `failed` from the loop. */
void wt_link_fail(struct wt_link *link, const struct wt_error *err);

#endif
