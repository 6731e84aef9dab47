/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sabotage.h - errors made on purpose, in test builds only, to prove that the checks find them.
 *
 * WATARI_SABOTAGE=HOW in the environment of `watari send`, from the 1000th page of the stream on:
 *
 *   drop:  one page in 97 is never announced
 *
 *   stale: one page in 17 is announced the first time and never again
 *
 *   swap:  one page in 97 is announced in place of its neighbour
 *
 * WATARI_DIE_BEFORE=STATE, WATARI_DIE_AFTER=STATE: the relay kills itself when it comes to that state of its
 * switchover, before or after it has carried out the actions; WATARI_STOP_BEFORE=STATE: it stops (SIGSTOP).
 * Without the CMake option WATARI_SABOTAGE there is nothing.
 */
#ifndef WATARI_QEMU_SABOTAGE_H
#define WATARI_QEMU_SABOTAGE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef WATARI_SABOTAGE
/* true: the page is not to be announced. May change the page. seen counts the stream's pages. */
bool wt_sabotage_page(uint64_t *page, uint64_t seen);
void wt_sabotage_before(const char *state);
void wt_sabotage_after(const char *state);
#else
static inline bool wt_sabotage_page(uint64_t *page, uint64_t seen)
{
	return false;
}

static inline void wt_sabotage_before(const char *state)
{
}

static inline void wt_sabotage_after(const char *state)
{
}
#endif

#endif
