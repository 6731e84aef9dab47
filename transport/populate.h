/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * populate.h - a thread that makes memory present and mapped before something is received into it.
 *
 * Otherwise who receives pays for every page: a page fault, and for memory that is touched the first time the
 * kernel's clearing of it. All of this is a hint: what is not done in time, or fails, happens when the memory
 * is written, and is told by whoever writes it.
 *
 * Holes in what is named are filled, so name only what will be written. Used by one thread.
 */
#ifndef WT_POPULATE_H
#define WT_POPULATE_H

#include <stddef.h>
#include <stdint.h>

struct wt_populate;

/* -errno: there is no such thread. */
int wt_populate_open(struct wt_populate **ret_populate);
/* The memory is not touched afterwards. Waits for the run that is under way; the others are forgotten. */
void wt_populate_close(struct wt_populate *populate);
/* A run of whole pages of memory that is mapped shared; forgotten if too many wait. */
void wt_populate_add(struct wt_populate *populate, uint8_t *base, size_t length);

#endif
