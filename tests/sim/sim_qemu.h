/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_qemu.h - models of a source and a destination QEMU, as far as a relay can tell them from real ones.
 *
 * The source's guest writes its pages; dirty bits, the migration stream, the decision to stop, the return
 * path and the run states are those of QEMU 7.2 to 10.0. The destination reads the stripped stream and
 * refuses what QEMU would not load. Both are driven by QMP (sim_qmp.c) and have real sockets for the streams.
 *
 *   1. A page's dirty bit is cleared before the page is read.
 *   2. While a QEMU waits for SHUT it is `finish-migrate`; when the stream or its return path breaks before
 *      that, the guest runs again by itself.
 *   3. Never do two guests run; a destination never runs before the source has committed (postmigrate).
 */
#ifndef WT_SIM_QEMU_H
#define WT_SIM_QEMU_H

#include <jansson.h>

#include <watari/block.h>

#include "guest_ram.h"
#include "sim.h"

#define SIM_BLOCKS 4
#define SIM_PAGES_MAX 256 /* of one block */

struct sim_block {
	char name[32];
	uint32_t pages;
	bool shared, staged; /* neither: its pages stay in the stream */
	uint8_t *bytes;
	int fd;
	uint64_t fd_offset;
	uint8_t dirty[SIM_PAGES_MAX];
};

struct sim_guest {
	uint64_t busy_ns;       /* so long from its start it writes too fast for QEMU to stop it */
	uint64_t write_ns;      /* on average, from one write to the next; 0: none */
	uint64_t calm_after_ns; /* then it writes far less */
	uint64_t hot_pages;     /* most writes go to so many pages */
	bool paused;
};

struct sim_qemu;

struct sim_qemu *sim_qemu_source(
	const struct sim_guest *guest, unsigned blocks, const struct sim_block *list);
/* On this host. Its blocks are the source's, empty; staged ones are shared here. */
struct sim_qemu *sim_qemu_destination(struct sim_qemu *source, unsigned host);
void sim_qemu_close(struct sim_qemu *qemu);
struct sim_party *sim_qemu_party(struct sim_qemu *qemu);
struct wt_loop *sim_qemu_loop(struct sim_qemu *qemu);

const char *sim_qemu_status(const struct sim_qemu *qemu);
bool sim_qemu_alive(const struct sim_qemu *qemu);
/* It runs, or is the one that its operator keeps paused. */
bool sim_qemu_owns(const struct sim_qemu *qemu);
/* It has begun to take a guest in. */
bool sim_qemu_begun(const struct sim_qemu *qemu);
bool sim_qemu_loaded(const struct sim_qemu *qemu);
bool sim_qemu_committed(const struct sim_qemu *qemu);
/* Both have one, of one migration. */
bool sim_qemu_same_record(const struct sim_qemu *a, const struct sim_qemu *b);
const struct sim_block *sim_qemu_blocks(const struct sim_qemu *qemu, unsigned *ret_count);
/* A guest that runs at the destination finds its memory as it wrote it. */
void sim_qemu_check_running(struct sim_qemu *qemu);

/* Its operator pauses the guest, if it runs: it arrives paused. */
void sim_qemu_pause(struct sim_qemu *qemu);
/* Its migration fails, for a reason of its own. */
void sim_qemu_give_up(struct sim_qemu *qemu);
/* Somebody has sent it `cont`, whether that arrived or not. */
void sim_qemu_told(struct sim_qemu *qemu);
bool sim_qemu_was_told(const struct sim_qemu *qemu);

/* What QMP does: the answer, or NULL and err. */
json_t *sim_qemu_command(struct sim_qemu *qemu, const char *command, json_t *arguments, struct wt_error *err);
/* By the name that options call qmp_path. */
struct sim_qemu *sim_qemu_find(const char *name);

/* sim_qmp.c */
void sim_qmp_event(struct sim_qemu *qemu, const char *name);
void sim_qmp_gone(struct sim_qemu *qemu);

#endif
