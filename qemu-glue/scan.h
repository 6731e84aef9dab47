/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scan.h - a cursor over text that somebody else wrote (/proc, QEMU's human monitor).
 *
 *   1. begin <= end; nothing outside is ever read, no terminating NUL is needed.
 *   2. A function that answers false has moved nothing.
 */
#ifndef WATARI_QEMU_SCAN_H
#define WATARI_QEMU_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wt_scan {
	const char *begin;
	const char *end;
};

/* Takes the next line, without its line end. False when nothing is left. */
static inline bool wt_scan_line(struct wt_scan *text, struct wt_scan *ret_line)
{
	const char *newline;

	if (text->begin == text->end)
		return false;
	newline = memchr(text->begin, '\n', (size_t)(text->end - text->begin));
	ret_line->begin = text->begin;
	ret_line->end = newline ? newline : text->end;
	text->begin = newline ? newline + 1 : text->end;
	while (ret_line->end > ret_line->begin && ret_line->end[-1] == '\r')
		ret_line->end--;
	return true;
}

static inline void wt_scan_spaces(struct wt_scan *text)
{
	while (text->begin < text->end && *text->begin == ' ')
		text->begin++;
}

static inline bool wt_scan_literal(struct wt_scan *text, const char *literal)
{
	size_t length = strlen(literal);

	if ((size_t)(text->end - text->begin) < length || memcmp(text->begin, literal, length) != 0)
		return false;
	text->begin += length;
	return true;
}

static inline bool wt_scan_equals(struct wt_scan text, const char *literal)
{
	return wt_scan_literal(&text, literal) && text.begin == text.end;
}

/* Takes the last word of a line; spaces around it go too. */
static inline bool wt_scan_last_word(struct wt_scan *line, struct wt_scan *ret_word)
{
	const char *end = line->end, *begin;

	while (end > line->begin && end[-1] == ' ')
		end--;
	if (end == line->begin)
		return false;
	for (begin = end; begin > line->begin && begin[-1] != ' ';)
		begin--;
	ret_word->begin = begin;
	ret_word->end = end;
	while (begin > line->begin && begin[-1] == ' ')
		begin--;
	line->end = begin;
	return true;
}

/* Takes the digits of a number without a prefix, base 10 or 16. False without a digit or over 64 bits. */
static inline bool wt_scan_number(struct wt_scan *text, unsigned base, uint64_t *ret_value)
{
	const char *at = text->begin;
	uint64_t value = 0;
	unsigned digit;

	for (; at < text->end; at++) {
		if (*at >= '0' && *at <= '9')
			digit = (unsigned)(*at - '0');
		else if (base == 16 && *at >= 'a' && *at <= 'f')
			digit = (unsigned)(*at - 'a') + 10;
		else if (base == 16 && *at >= 'A' && *at <= 'F')
			digit = (unsigned)(*at - 'A') + 10;
		else
			break;
		if (value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	if (at == text->begin)
		return false;
	text->begin = at;
	*ret_value = value;
	return true;
}

/* The whole text is one number with the prefix 0x. */
static inline bool wt_scan_is_hex(struct wt_scan text, uint64_t *ret_value)
{
	uint64_t value;

	if (!wt_scan_literal(&text, "0x") || !wt_scan_number(&text, 16, &value) || text.begin != text.end)
		return false;
	*ret_value = value;
	return true;
}

#endif
