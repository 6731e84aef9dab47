/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * progress.h - the figures of a migration that is under way: as a line for people, and as JSON. Pure.
 */
#ifndef WATARI_QEMU_PROGRESS_H
#define WATARI_QEMU_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WT_PROGRESS_UNKNOWN UINT64_MAX
#define WT_PROGRESS_LINE_MAX 400 /* bytes of a line */

struct wt_progress {
	const char *vm, *state;                       /* borrowed */
	uint64_t total_bytes;                         /* of the guest's RAM; 0: not known */
	uint64_t moved_bytes;                         /* of content, as often as it was moved */
	uint64_t remaining_bytes;                     /* not at the destination yet, or WT_PROGRESS_UNKNOWN */
	uint64_t pending_bytes;                       /* announced, not landed: a part of what remains */
	uint64_t rate_bytes_per_s, dirty_bytes_per_s; /* what gets across; what the guest writes anew */
	uint64_t expected_end_ms;                     /* from now, or WT_PROGRESS_UNKNOWN */
	unsigned throttle_percent;                    /* how much QEMU slows the guest down; 0: not */
};

/* A rate over about the last second. Zeroed before first use. */
struct wt_rate {
	uint64_t bytes, at_ns, bytes_per_s;
	bool measured;
};

/* bytes: the count so far, now. Answers bytes per second. */
uint64_t wt_rate_update(struct wt_rate *rate, uint64_t bytes, uint64_t now_ns);
/* How long it takes when so much gets across and so much is written meanwhile; WT_PROGRESS_UNKNOWN: no end.
 */
uint64_t wt_progress_end_ms(uint64_t remaining_bytes, uint64_t bytes_per_s, uint64_t dirty_bytes_per_s);

/*
 * "web1: streaming  61 %  1.2 of 2.0 GiB  left 0.8 GiB  910 MB/s ...", at most `columns` wide (0: any width):
 * the least important parts are left out first. Answers ret_text.
 */
const char *wt_progress_line(
	const struct wt_progress *progress, unsigned columns, char ret_text[WT_PROGRESS_LINE_MAX]);
/* A new object, NULL: no memory. What is not known is null. */
json_t *wt_progress_json(const struct wt_progress *progress);
/* The reverse; its texts live as long as the object. What is missing, or no number, is not known. */
void wt_progress_take(struct wt_progress *progress, json_t *object);
/* "1.2 GiB", "61 MiB", "20 kB": bytes for people. Answers ret_text. */
const char *wt_progress_size(uint64_t bytes, char ret_text[32]);

#endif
