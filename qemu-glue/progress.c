/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * progress.c - see progress.h.
 *
 *   1. A line is never wider than asked for: parts go, the least important one first, and if even the first
 *      part is too wide it is cut.
 *   2. The order of parts on the line never changes.
 */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define GIB ((uint64_t)1 << 30)
#define MIB ((uint64_t)1 << 20)

uint64_t wt_rate_update(struct wt_rate *rate, uint64_t bytes, uint64_t now_ns)
{
	uint64_t gone = bytes > rate->bytes ? bytes - rate->bytes : 0;
	uint64_t took_ns = now_ns > rate->at_ns ? now_ns - rate->at_ns : 1;
	uint64_t now = (uint64_t)((double)gone * 1e9 / (double)took_ns);

	if (rate->at_ns) {
		rate->bytes_per_s = rate->measured ? (3 * rate->bytes_per_s + now) / 4 : now;
		rate->measured = true;
	}
	rate->bytes = bytes;
	rate->at_ns = now_ns;
	return rate->bytes_per_s;
}

uint64_t wt_progress_end_ms(uint64_t remaining_bytes, uint64_t bytes_per_s, uint64_t dirty_bytes_per_s)
{
	if (remaining_bytes == WT_PROGRESS_UNKNOWN || bytes_per_s <= dirty_bytes_per_s)
		return WT_PROGRESS_UNKNOWN;
	return (uint64_t)((double)remaining_bytes * 1e3 / (double)(bytes_per_s - dirty_bytes_per_s));
}

const char *wt_progress_size(uint64_t bytes, char ret_text[32])
{
	if (bytes >= GIB)
		snprintf(ret_text, 32, "%.1f GiB", (double)bytes / (double)GIB);
	else if (bytes >= 10 * MIB)
		snprintf(ret_text, 32, "%" PRIu64 " MiB", bytes / MIB);
	else
		snprintf(ret_text, 32, "%" PRIu64 " kB", bytes / 1000);
	return ret_text;
}

/* ---- the line ---- */

/* In the order on the line. */
enum part {
	PART_STATE,
	PART_PERCENT,
	PART_DONE,
	PART_LEFT,
	PART_RATE,
	PART_DIRTY,
	PART_THROTTLE,
	PART_END,
	PARTS
};

#define PART_MAX 64

static void format_end(const struct wt_progress *p, char text[PART_MAX])
{
	uint64_t s = (p->expected_end_ms + 999) / 1000;

	if (p->expected_end_ms != WT_PROGRESS_UNKNOWN)
		snprintf(text, PART_MAX, s < 120 ? "about %" PRIu64 " s left" : "about %" PRIu64 " min left",
			s < 120 ? s : s / 60);
	else if (p->rate_bytes_per_s && p->dirty_bytes_per_s >= p->rate_bytes_per_s)
		strcpy(text, "no end in sight");
}

static void format_amounts(const struct wt_progress *p, char parts[PARTS][PART_MAX])
{
	char one[32], two[32];
	uint64_t done;

	if (p->remaining_bytes == WT_PROGRESS_UNKNOWN || !p->total_bytes) {
		snprintf(parts[PART_DONE], PART_MAX, "%s moved", wt_progress_size(p->moved_bytes, one));
		return;
	}
	done = p->remaining_bytes < p->total_bytes ? p->total_bytes - p->remaining_bytes : 0;
	snprintf(parts[PART_PERCENT], PART_MAX, "%.0f %%", (double)done * 100.0 / (double)p->total_bytes);
	snprintf(parts[PART_DONE], PART_MAX, "%s of %s", wt_progress_size(done, one),
		wt_progress_size(p->total_bytes, two));
	snprintf(parts[PART_LEFT], PART_MAX, "left %s", wt_progress_size(p->remaining_bytes, one));
}

static void format_parts(const struct wt_progress *p, char parts[PARTS][PART_MAX])
{
	memset(parts, 0, (size_t)PARTS * PART_MAX);
	format_amounts(p, parts);
	snprintf(parts[PART_RATE], PART_MAX, "%" PRIu64 " MB/s", p->rate_bytes_per_s / 1000000);
	if (p->dirty_bytes_per_s)
		snprintf(parts[PART_DIRTY], PART_MAX, "dirty %" PRIu64 " MB/s",
			p->dirty_bytes_per_s / 1000000);
	if (p->throttle_percent)
		snprintf(parts[PART_THROTTLE], PART_MAX, "guest slowed by %u %%", p->throttle_percent);
	format_end(p, parts[PART_END]);
}

static size_t line_width(const struct wt_progress *p, char parts[PARTS][PART_MAX])
{
	size_t width = strlen(p->vm) + 2 + strlen(p->state);

	for (unsigned i = PART_STATE + 1; i < PARTS; i++)
		width += parts[i][0] ? 2 + strlen(parts[i]) : 0;
	return width;
}

const char *wt_progress_line(
	const struct wt_progress *p, unsigned columns, char ret_text[WT_PROGRESS_LINE_MAX])
{
	static const enum part less_important[] = { PART_DONE, PART_DIRTY, PART_THROTTLE, PART_LEFT,
		PART_RATE, PART_END, PART_PERCENT };
	size_t room = columns && columns < WT_PROGRESS_LINE_MAX ? columns : WT_PROGRESS_LINE_MAX - 1;
	char parts[PARTS][PART_MAX];
	size_t length;

	format_parts(p, parts);
	for (unsigned i = 0; i < PARTS - 1 && line_width(p, parts) > room; i++)
		parts[less_important[i]][0] = '\0';
	length = (size_t)snprintf(ret_text, room + 1, "%s: %s", p->vm, p->state);
	for (unsigned i = PART_STATE + 1; i < PARTS; i++)
		if (parts[i][0])
			length += (size_t)snprintf(ret_text + length, room + 1 - length, "  %s", parts[i]);
	return ret_text;
}

/* ---- JSON ---- */

static json_t *number(uint64_t value)
{
	return value == WT_PROGRESS_UNKNOWN ? json_null() : json_integer((json_int_t)value);
}

json_t *wt_progress_json(const struct wt_progress *p)
{
	return json_pack("{s:s,s:I,s:I,s:o,s:I,s:I,s:I,s:o,s:i}", "state", p->state, "total_bytes",
		(json_int_t)p->total_bytes, "moved_bytes", (json_int_t)p->moved_bytes, "remaining_bytes",
		number(p->remaining_bytes), "pending_bytes", (json_int_t)p->pending_bytes, "rate_bytes_per_s",
		(json_int_t)p->rate_bytes_per_s, "dirty_bytes_per_s", (json_int_t)p->dirty_bytes_per_s,
		"expected_end_ms", number(p->expected_end_ms), "throttle_percent", (int)p->throttle_percent);
}

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static uint64_t number_of(json_t *object, const char *key, uint64_t otherwise)
{
	json_t *value = json_object_get(object, key);

	return json_is_integer(value) && json_integer_value(value) >= 0 ? (uint64_t)json_integer_value(value)
									: otherwise;
}

void wt_progress_take(struct wt_progress *p, json_t *object)
{
	uint64_t throttle = number_of(object, "throttle_percent", 0);

	*p = (struct wt_progress){ .vm = text_of(object, "vm"),
		.state = text_of(object, "state"),
		.total_bytes = number_of(object, "total_bytes", 0),
		.moved_bytes = number_of(object, "moved_bytes", 0),
		.remaining_bytes = number_of(object, "remaining_bytes", WT_PROGRESS_UNKNOWN),
		.pending_bytes = number_of(object, "pending_bytes", 0),
		.rate_bytes_per_s = number_of(object, "rate_bytes_per_s", 0),
		.dirty_bytes_per_s = number_of(object, "dirty_bytes_per_s", 0),
		.expected_end_ms = number_of(object, "expected_end_ms", WT_PROGRESS_UNKNOWN),
		.throttle_percent = throttle <= 100 ? (unsigned)throttle : 100 };
}
