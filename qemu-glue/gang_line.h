/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_line.h - a command that a coordinator runs on a guest's host: a prefix, the program `watari`, and its
 * words. Pure.
 */
#ifndef WATARI_QEMU_GANG_LINE_H
#define WATARI_QEMU_GANG_LINE_H

#include <limits.h>

#include "gang_plan.h"

#define WT_GANG_LINE_WORDS_MAX (2 * WT_PLAN_WORDS_MAX + 24)
#define WT_GANG_LINE_TEXT_MAX (3 * PATH_MAX)

struct wt_gang_line {
	char *words[WT_GANG_LINE_WORDS_MAX + 1]; /* ends with NULL */
	unsigned count;
	char text[WT_GANG_LINE_TEXT_MAX]; /* of those that were made here */
	size_t length;
};

/* command NULL: only the prefix. */
void wt_gang_line_begin(struct wt_gang_line *line, const struct wt_gang_plan *plan,
	const struct wt_gang_end *end, const char *command);
/* Words are borrowed. */
void wt_gang_line_add(struct wt_gang_line *line, const char *word);
void wt_gang_line_add_all(struct wt_gang_line *line, const struct wt_plan_words *words);
/* Does nothing if the value is NULL. */
void wt_gang_line_add_option(struct wt_gang_line *line, const char *option, const char *value);
/* A word that is put together. */
__attribute__((format(printf, 2, 3))) void wt_gang_line_make(
	struct wt_gang_line *line, const char *format, ...);
/* QEMU's socket, and what belongs to its devices. */
void wt_gang_line_add_qemu(struct wt_gang_line *line, const struct wt_gang_end *end);

#endif
