/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * relay_peer.h - what every relay does about the one at the other end: how transport is configured for it,
 * and what people are told of its coming and going. Texts of a peer are made printable here.
 */
#ifndef WATARI_QEMU_RELAY_PEER_H
#define WATARI_QEMU_RELAY_PEER_H

#include <watari/puller.h>
#include <watari/server.h>

#include "relay.h"

/* For the source's page server and the destination's puller; strings are borrowed from the options. */
struct wt_server_config wt_relay_server_config(
	const struct wt_relay *relay, const struct wt_relay_options *options, const struct wt_address *peer);
struct wt_puller_config wt_relay_puller_config(const struct wt_relay *relay,
	const struct wt_relay_options *options, const struct wt_address *listen);

/* What a destination's job answers to `status`; puller may be NULL. */
json_t *wt_relay_destination_status(const struct wt_relay *relay, const struct wt_progress *progress,
	const struct wt_puller *puller, const char *peer, uint16_t port);

/* Events: connected (at the source: its data paths), lost, back, refused, note. */
void wt_relay_told_paths(struct wt_relay *relay, const struct wt_server *server);
void wt_relay_told_source(struct wt_relay *relay, const char *peer);
void wt_relay_told_lost(struct wt_relay *relay, const struct wt_error *err);
void wt_relay_told_back(struct wt_relay *relay);
void wt_relay_told_refused(struct wt_relay *relay, const struct wt_error *err);
void wt_relay_told_note(struct wt_relay *relay, const char *note);

#endif
