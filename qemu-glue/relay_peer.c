/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * relay_peer.c - see relay_peer.h. One thread: the loop's.
 */
#include "relay_peer.h"

#include <stdio.h>
#include <string.h>

#include "printable.h"

#define CONNECT_NS 5000000000ull

struct wt_server_config wt_relay_server_config(
	const struct wt_relay *relay, const struct wt_relay_options *options, const struct wt_address *peer)
{
	return (struct wt_server_config){ .peer = *peer,
		.name = options->name,
		.credentials = relay->credentials,
		.fabrics = options->fabrics,
		.data_plain = options->data_plain,
		.device = options->device,
		.connect_timeout_ns = CONNECT_NS,
		.give_up_ns = options->reconnect_timeout_ns };
}

struct wt_puller_config wt_relay_puller_config(
	const struct wt_relay *relay, const struct wt_relay_options *options, const struct wt_address *listen)
{
	return (struct wt_puller_config){ .listen = *listen,
		.name = options->name,
		.credentials = relay->credentials,
		.fabrics = options->fabrics,
		.data_plain = options->data_plain,
		.device = options->device,
		.give_up_ns = options->reconnect_timeout_ns };
}

json_t *wt_relay_destination_status(const struct wt_relay *relay, const struct wt_progress *progress,
	const struct wt_puller *puller, const char *peer, uint16_t port)
{
	json_t *object = wt_relay_status(relay, "destination", progress);
	struct wt_puller_stats stats = { 0 };

	if (puller)
		wt_puller_stats(puller, &stats);
	json_object_set_new(object, "peer", peer[0] ? json_string(peer) : json_null());
	json_object_set_new(object, "port", json_integer(port));
	json_object_set_new(
		object, "fabric", stats.paths ? json_string(wt_fabric_name(stats.fabric)) : json_null());
	json_object_set_new(object, "paths", json_integer(stats.paths));
	json_object_set_new(object, "downtime_ms", json_null());
	return object;
}

void wt_relay_told_paths(struct wt_relay *relay, const struct wt_server *server)
{
	struct wt_server_stats stats;
	char text[128];

	wt_server_stats(server, &stats);
	snprintf(text, sizeof text, "connected over %s, %u paths", wt_fabric_name(stats.fabric), stats.paths);
	wt_report_event(&relay->report, "connected",
		json_pack("{s:s,s:i}", "fabric", wt_fabric_name(stats.fabric), "paths", (int)stats.paths),
		text);
}

void wt_relay_told_source(struct wt_relay *relay, const char *peer)
{
	char text[160];

	snprintf(text, sizeof text, "the source has come: %s", peer);
	wt_report_event(&relay->report, "connected", json_pack("{s:s}", "peer", peer), text);
}

/* An event with what a peer or a system call said, and before it what a person is told. */
static void tell(struct wt_relay *relay, const char *event, const char *before, const char *what)
{
	char text[WT_PRINTABLE_MAX], line[WT_PRINTABLE_MAX + 64];

	wt_printable(what, strlen(what), text, sizeof text);
	snprintf(line, sizeof line, "%s%s", before, text);
	wt_report_event(&relay->report, event, json_pack("{s:s}", "text", text), line);
}

void wt_relay_told_lost(struct wt_relay *relay, const struct wt_error *err)
{
	tell(relay, "lost", "connection lost, waiting for it to come back: ", wt_error_text(err));
}

void wt_relay_told_back(struct wt_relay *relay)
{
	wt_report_event(&relay->report, "back", NULL, "connected again");
}

void wt_relay_told_refused(struct wt_relay *relay, const struct wt_error *err)
{
	tell(relay, "refused", "", wt_error_text(err));
}

void wt_relay_told_note(struct wt_relay *relay, const char *note)
{
	tell(relay, "note", "", note);
}
