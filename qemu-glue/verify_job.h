/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verify_job.h - the destination compares all RAM with the source's; see verify.h for the digests.
 *
 * Embedded in its owner; puller and blocks are borrowed. One thread: the loop's.
 */
#ifndef WATARI_QEMU_VERIFY_JOB_H
#define WATARI_QEMU_VERIFY_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/puller.h>

#include "messages.h"
#include "ram_block.h"

struct wt_verify_events {
	void (*equal)(void *arg);
	void (*differs)(void *arg, const struct wt_error *err); /* the first page that does */
};

struct wt_verify_job {
	struct wt_puller *puller;
	const struct wt_ram_block *const *blocks; /* by the server's number */
	unsigned block_count;
	const struct wt_verify_events *events;
	void *arg;
	bool running;
	uint32_t block; /* next to be asked for */
	uint64_t page;
	unsigned outstanding;
	uint64_t compared_pages;
};

void wt_verify_job_start(struct wt_verify_job *job, struct wt_puller *puller,
	const struct wt_ram_block *const *blocks, unsigned block_count, const struct wt_verify_events *events,
	void *arg);
/* The source's answer. -EPROTO: nobody asked for it. */
int wt_verify_job_answer(
	struct wt_verify_job *job, const uint8_t *payload, size_t length, struct wt_error *err);

#endif
