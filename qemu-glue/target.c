/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * target.c - see target.h. Owns nothing; any thread.
 */
#include "target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SHOWN 128 /* bytes of a target that is none, in its sentence */

static int bad_target(struct wt_error *err, const char *whole)
{
	return wt_error_set(
		err, EINVAL, "\"%s\" is no target; write HOST:PORT/NAME or unix:PATH//NAME", whole);
}

static int parse_port(const char *text, uint16_t *ret_port, struct wt_error *err)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || value > 65535)
		return wt_error_set(err, EINVAL, "port %.*s: give a number from 0 to 65535", SHOWN, text);
	*ret_port = (uint16_t)value;
	return 0;
}

int wt_target_parse(char *text, struct wt_address *ret_address, const char **ret_name, struct wt_error *err)
{
	struct wt_address address = { 0 };
	char *slash, *colon, whole[SHOWN];
	int r;

	snprintf(whole, sizeof whole, "%s", text);
	if (strncmp(text, "unix:", 5) == 0) {
		slash = strstr(text + 5, "//");
		if (!slash || slash == text + 5 || !slash[2])
			return bad_target(err, whole);
		*slash = '\0';
		address.unix_path = text + 5;
		*ret_address = address;
		*ret_name = slash + 2;
		return 0;
	}
	slash = strchr(text, '/');
	if (!slash || !slash[1])
		return bad_target(err, whole);
	*slash = '\0';
	colon = strrchr(text, ':');
	if (!colon)
		return bad_target(err, whole);
	*colon = '\0';
	r = parse_port(colon + 1, &address.port, err);
	if (r)
		return r;
	if (text[0] == '[' && colon > text + 1 && colon[-1] == ']') {
		colon[-1] = '\0';
		text++;
	}
	address.host = text[0] ? text : NULL;
	*ret_address = address;
	*ret_name = slash + 1;
	return 0;
}

const char *wt_target_text(const struct wt_address *address, char ret_text[WT_TARGET_TEXT_MAX])
{
	const char *host = address->host ? address->host : "";

	if (address->unix_path)
		snprintf(ret_text, WT_TARGET_TEXT_MAX, "unix:%s", address->unix_path);
	else if (strchr(host, ':'))
		snprintf(ret_text, WT_TARGET_TEXT_MAX, "[%s]:%u", host, address->port);
	else
		snprintf(ret_text, WT_TARGET_TEXT_MAX, "%s:%u", host, address->port);
	return ret_text;
}

bool wt_target_equal(const struct wt_address *a, const struct wt_address *b)
{
	if (a->unix_path || b->unix_path)
		return a->unix_path && b->unix_path && strcmp(a->unix_path, b->unix_path) == 0;
	return a->port == b->port && strcasecmp(a->host ? a->host : "", b->host ? b->host : "") == 0;
}
