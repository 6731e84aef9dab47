/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_line.c - see gang_line.h. What does not fit is our own mistake: a plan's words are bounded.
 */
#include "gang_line.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void wt_gang_line_add(struct wt_gang_line *line, const char *word)
{
	assert(line->count < WT_GANG_LINE_WORDS_MAX);
	line->words[line->count++] = (char *)word; /* exec does not write to it */
	line->words[line->count] = NULL;
}

void wt_gang_line_add_all(struct wt_gang_line *line, const struct wt_plan_words *words)
{
	for (unsigned i = 0; i < words->count; i++)
		wt_gang_line_add(line, words->words[i]);
}

void wt_gang_line_add_option(struct wt_gang_line *line, const char *option, const char *value)
{
	if (!value)
		return;
	wt_gang_line_add(line, option);
	wt_gang_line_add(line, value);
}

void wt_gang_line_make(struct wt_gang_line *line, const char *format, ...)
{
	char *text = line->text + line->length;
	size_t room = sizeof line->text - line->length;
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text, room, format, arguments);
	va_end(arguments);
	assert(n >= 0 && (size_t)n < room);
	line->length += (size_t)n + 1;
	wt_gang_line_add(line, text);
}

void wt_gang_line_begin(struct wt_gang_line *line, const struct wt_gang_plan *plan,
	const struct wt_gang_end *end, const char *command)
{
	line->count = 0;
	line->length = 0;
	wt_gang_line_add_all(line, &end->prefix);
	if (!command)
		return;
	wt_gang_line_add(line, plan->watari);
	wt_gang_line_add(line, command);
}

void wt_gang_line_add_qemu(struct wt_gang_line *line, const struct wt_gang_end *end)
{
	wt_gang_line_add_option(line, "--qmp", end->qmp);
	wt_gang_line_add_option(line, "--devices", end->devices);
	wt_gang_line_add_option(line, "--device-host", end->device_host);
	wt_gang_line_add_option(line, "--agent", end->devices ? end->agent : NULL);
}
