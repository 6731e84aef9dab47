/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_relay.c - see gang_relay.h.
 */
#include "gang_relay.h"

#include <stdio.h>
#include <string.h>

#include "printable.h"

void wt_gang_relay_init(struct wt_gang_relay *relay)
{
	*relay = (struct wt_gang_relay){ .downtime_ms = -1, .outage_ms = -1 };
}

static void take_text(json_t *object, const char *key, char *ret_text, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text)
		wt_printable(text, strlen(text), ret_text, size);
}

static void take_state(struct wt_gang_relay *relay, json_t *object)
{
	const char *state = json_string_value(json_object_get(object, "state"));

	if (state && strlen(state) < sizeof relay->state)
		strcpy(relay->state, state);
}

static uint64_t take_bytes(json_t *object, const char *key)
{
	json_int_t bytes = json_integer_value(json_object_get(object, key));

	return bytes > 0 ? (uint64_t)bytes : 0;
}

static void take_figures(struct wt_gang_relay *relay, json_t *object)
{
	relay->total_bytes = take_bytes(object, "total_bytes");
	relay->remaining_bytes = take_bytes(object, "remaining_bytes");
}

static double take_ms(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	return json_is_number(value) && json_number_value(value) >= 0 ? json_number_value(value) : -1;
}

/* What the destination says of each device. */
static void take_devices(struct wt_gang_relay *relay, json_t *devices)
{
	char name[80] = "", why[WT_ERROR_TEXT_MAX - 100] = "";
	json_t *item;
	size_t i;

	json_array_foreach(devices, i, item)
	{
		if (relay->trouble[0] || !json_is_string(json_object_get(item, "error")))
			continue;
		take_text(item, "name", name, sizeof name);
		take_text(item, "error", why, sizeof why);
		snprintf(relay->trouble, sizeof relay->trouble, "%s: %s", name, why);
	}
}

void wt_gang_relay_line(struct wt_gang_relay *relay, const char *line)
{
	json_t *object = json_loads(line, 0, NULL), *devices = json_object_get(object, "devices");
	const char *event = json_string_value(json_object_get(object, "event"));

	if (!event) {
		json_decref(object);
		return;
	}
	if (strcmp(event, "state") == 0) {
		take_state(relay, object);
	} else if (strcmp(event, "listening") == 0) {
		relay->listening = true;
	} else if (strcmp(event, "held") == 0) {
		relay->held = true;
	} else if (strcmp(event, "progress") == 0) {
		take_figures(relay, object);
	} else if (strcmp(event, "devices") == 0) {
		take_devices(relay, devices);
	} else if (strcmp(event, "summary") == 0) {
		relay->summary = true;
		relay->downtime_ms = take_ms(object, "downtime_ms");
		relay->sent_bytes = take_bytes(object, "tcp_bytes") + take_bytes(object, "verbs_bytes") +
				    take_bytes(object, "control_bytes");
		relay->written_bytes = take_bytes(object, "written_bytes");
		relay->state_bytes = take_bytes(object, "state_bytes");
		relay->outage_ms = take_ms(devices, "device_outage_ms");
		take_text(devices, "trouble", relay->trouble, sizeof relay->trouble);
	} else if (strcmp(event, "error") == 0) {
		relay->failed = true;
		take_text(object, "text", relay->error, sizeof relay->error);
	}
	json_decref(object);
}

bool wt_gang_relay_status(struct wt_gang_relay *relay, const char *line)
{
	json_t *object = json_loads(line, 0, NULL);
	bool good = json_is_string(json_object_get(object, "state"));

	if (good) {
		take_state(relay, object);
		take_figures(relay, object);
		relay->held |= json_is_true(json_object_get(object, "held"));
	}
	json_decref(object);
	return good;
}

static bool is(const struct wt_gang_relay *relay, const char *state)
{
	return strcmp(relay->state, state) == 0;
}

/* At a destination that has given up after COMMIT the guest may be the source's again: its word counts. */
bool wt_gang_committed(const struct wt_gang_relay *source, const struct wt_gang_relay *destination)
{
	return is(source, "delivering") || is(source, "done") || is(source, "undelivered") ||
	       is(destination, "starting") || is(destination, "done");
}

enum wt_gang_place wt_gang_place(const struct wt_gang_relay *source, const struct wt_gang_relay *destination)
{
	if (is(source, "done") || is(destination, "done"))
		return WT_GANG_PLACE_DESTINATION;
	if (is(source, "delivering") || is(source, "undelivered"))
		return WT_GANG_PLACE_COMMITTED;
	if (source->failed && (!source->state[0] || is(source, "aborted")))
		return WT_GANG_PLACE_SOURCE;
	return WT_GANG_PLACE_UNKNOWN;
}
