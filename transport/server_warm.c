/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_warm.c - a warm-up: the puller's memory is brought near to this one before anybody tracks what
 * changes. See wt_server_warm.
 *
 *   1. What a warm-up announces is in no history: when it is over each page counts as never announced, so
 *      that who announces it then has it digested, whatever the puller got before.
 *   2. It ends only when nothing is pending: no read of the warm-up comes after an announcement of later.
 *
 * The loop's thread.
 */
#include <errno.h>

#include "server_internal.h"

static bool has_begun(const struct wt_server *s)
{
	return !s->log || wt_announce_next_seq(s->log) != 1;
}

static void forget(struct wt_server *s)
{
	wt_memory_forget(s->memory);
	s->warm_pages = s->announced_pages - s->zero_pages;
	s->announced_pages = s->zero_pages = s->staged_pages = 0;
}

int wt_server_warm(struct wt_server *s, bool on)
{
	if (on ? has_begun(s) || s->config.passive : !s->warm)
		return -EINVAL;
	if (!on && !wt_server_all_landed(s))
		return -EAGAIN;
	if (!on)
		forget(s);
	s->warm = on;
	return 0;
}

void wt_server_no_digests(struct wt_server *s)
{
	if (!has_begun(s))
		wt_server_digest_stop(s);
}
