/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_qemu_internal.h - what the models of both QEMUs share; sim_qemu.c has it, the others use it.
 */
#ifndef WT_SIM_QEMU_INTERNAL_H
#define WT_SIM_QEMU_INTERNAL_H

#include "sim_qemu.h"
#include "stream.h"
#include "stream_writer.h"

#define SIM_PAUSE_NS (20 * SIM_MS) /* a relay needs time to hear who stopped the guest */

struct sim_qemu {
	const char *name;
	unsigned host;
	struct sim_party *party;
	struct wt_loop *loop;
	struct sim_qemu *source; /* NULL: it is the source */
	bool alive, committed, ran, told;
	const char *status, *migration;
	bool resumes; /* the migration stopped a running guest */
	json_t *capabilities, *parameters;
	char record[40]; /* of record.h; empty: none */
	struct wt_timer dies;

	struct sim_guest guest;
	uint64_t began_ns, writes, paused_ns, stopped_ns;
	struct wt_timer writing;
	unsigned block_count;
	struct sim_block blocks[SIM_BLOCKS];
	/* Source: memory as it was when the guest stopped; destination: as its running guest wrote it. */
	uint8_t *copy;
	bool copied;
	int fd; /* of the stream; -1: none */

	/* Source. */
	struct wt_timer step;
	struct stream_writer out, tail;
	size_t sent;
	bool writing_out, prologue_done, final, shut;
	unsigned at_block;
	uint32_t at_page;
	unsigned walks, walks_min; /* over all memory */
	uint64_t stream_rate, started_ns, sent_bytes;
	uint8_t back[64];
	size_t back_length;
	char uri[108];

	/* Destination. */
	int listen_fd;
	struct wt_stream *reader;
	int number[SIM_BLOCKS]; /* of the stream's blocks here */
	bool begun, ram_ended, loaded, slow_to_read;
	struct wt_timer rests; /* until it reads on */
	unsigned refusals;     /* of `cont`: a disk lock that the source releases late */
};

uint8_t *sim_copy_of(const struct sim_qemu *qemu, unsigned block);
void sim_copy_take(struct sim_qemu *qemu);
void sim_qemu_set(struct sim_qemu *qemu, const char *status);
/* Any destination has loaded, and lives; has run its guest. */
bool sim_qemu_any_loaded(void);
bool sim_qemu_any_ran(void);
void sim_qemu_set_migration(struct sim_qemu *qemu, const char *migration);
void sim_qemu_hang_up(struct sim_qemu *qemu);
/* Ends soon: what was answered still leaves. */
void sim_qemu_die(struct sim_qemu *qemu);
void sim_guest_start(struct sim_qemu *qemu);

/* sim_qemu_source.c */
int sim_source_migrate(struct sim_qemu *qemu, const char *uri, struct wt_error *err);
void sim_source_fail(struct sim_qemu *qemu, const char *migration);
uint64_t sim_source_remaining(const struct sim_qemu *qemu);
/* sim_qemu_destination.c */
int sim_destination_incoming(struct sim_qemu *qemu, const char *uri, struct wt_error *err);
int sim_destination_cont(struct sim_qemu *qemu, struct wt_error *err);
void sim_destination_check_memory(struct sim_qemu *qemu);
void sim_destination_close(struct sim_qemu *qemu);

#endif
