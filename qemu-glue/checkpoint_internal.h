/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_internal.h - the state of `watari checkpoint`, shared by checkpoint.c (when all is here),
 * checkpoint_qemu.c (what QEMU is told and asked), checkpoint_stream.c (what it writes),
 * checkpoint_devices.c (what cannot be written) and checkpoint_report.c (what people are told).
 */
#ifndef WATARI_QEMU_CHECKPOINT_INTERNAL_H
#define WATARI_QEMU_CHECKPOINT_INTERNAL_H

#include "checkpoint_disks.h"
#include "checkpoint_files.h"
#include "hold.h"
#include "migration_settings.h"
#include "outgoing.h"
#include "passthrough.h"
#include "preflight.h"

enum wt_checkpoint_state {
	WT_CHECKPOINT_STREAMING = 1, /* the guest runs, and is being written */
	WT_CHECKPOINT_STOPPED,       /* RAM has ended; the last of it is being written */
	WT_CHECKPOINT_RETURNING, /* broken off, for good or for bad; waiting until QEMU has its guest again */
};

struct wt_checkpoint {
	struct wt_relay relay;
	const struct wt_checkpoint_options *options;
	enum wt_checkpoint_state state;
	struct wt_preflight facts;
	struct wt_checkpoint_files *files;
	struct wt_checkpoint_disks disks;
	struct wt_relay_socket place; /* of the socket that QEMU connects to */
	struct wt_outgoing *outgoing;
	struct wt_timer poll, deadline, progress, patience;
	struct wt_busy busy;
	struct wt_hold hold;                /* the guest is stopped, and all of it is written */
	struct wt_passthrough *passthrough; /* NULL: no devices leave */
	struct wt_error failure;            /* the first thing that went wrong */
	uint64_t generation;
	char vm[WT_REPLICA_VM_MAX + 1];
	char machine[64], version[32];
	bool running;                  /* when it was stopped */
	bool told, migrating;          /* QEMU was told to migrate, and has begun */
	bool in_stream[WT_BLOCKS_MAX]; /* blocks that QEMU's stream has named */
	bool hurried;                  /* the guest is stopped, and shall not be for long */
	bool ram_ended, qemu_gone;
	bool freezing, frozen; /* disks were to be frozen; they are, ... */
	bool frozen_unsure;    /* ... or may be */
	bool completed;        /* QEMU says so of its last migration, which is never ours */
	bool not_returned;     /* QEMU did not say that it has its guest again */
	bool replaced;         /* the directory's index is the new one */
	bool good;             /* all is in the files */
	bool before_known;
	struct wt_migration_settings before;
	uint64_t total_bytes, remaining_bytes; /* by QEMU; total 0: not known */
	struct wt_rate rate;
	uint64_t start_ns, stop_ns, saved_ns, resume_ns, devices_back_ns, end_ns; /* of the report's clock */
};

/* checkpoint.c */
void wt_checkpoint_go(struct wt_checkpoint *checkpoint, enum wt_checkpoint_state state);
/* The first one is kept; unless the guest is on its way back already, it goes on now. */
void wt_checkpoint_trouble(struct wt_checkpoint *checkpoint, const struct wt_error *err);
/* No device is in the way: QEMU is told to migrate. */
int wt_checkpoint_begin(struct wt_checkpoint *checkpoint, struct wt_error *err);

/* checkpoint_qemu.c */
extern const struct wt_qmp_events wt_checkpoint_qmp_events;
/* What the migration needs is set; ... */
int wt_checkpoint_prepare_qemu(struct wt_checkpoint *checkpoint, struct wt_error *err);
/* ... and put back, if QEMU is there. */
void wt_checkpoint_restore_qemu(struct wt_checkpoint *checkpoint);
/* To our socket. */
void wt_checkpoint_migrate(struct wt_checkpoint *checkpoint);
/* Asks how QEMU's migration is, now and then from now on. */
void wt_checkpoint_poll(struct wt_checkpoint *checkpoint);
/* The guest is stopped: no longer than it may be, and nothing waits for the disk. */
void wt_checkpoint_hurry(struct wt_checkpoint *checkpoint);
/*
 * All that was announced is written: is the guest still stopped, for this migration? Asked now, that proves
 * that it was while its pages were read, for QEMU comes to this state once in a migration. 0, or why not.
 */
int wt_checkpoint_check_stopped(struct wt_checkpoint *checkpoint, struct wt_error *err);
/* QEMU's migration ends here; it is asked until it says that it has its guest again. Then the loop stops. */
void wt_checkpoint_give_back(struct wt_checkpoint *checkpoint);

/* checkpoint_stream.c: the socket that QEMU connects to, and what reads from it. */
int wt_checkpoint_open_stream(struct wt_checkpoint *checkpoint, struct wt_error *err);

/* checkpoint_devices.c: each means nothing without --devices. */
int wt_checkpoint_devices_open(struct wt_checkpoint *checkpoint, struct wt_error *err);
/* Their ids, as wt_passthrough_leaving. */
const char *const *wt_checkpoint_devices_leaving(const struct wt_checkpoint *checkpoint);
/* They leave, and then it begins; false: there are none. */
bool wt_checkpoint_devices_begin(struct wt_checkpoint *checkpoint);
void wt_checkpoint_devices_qmp_event(struct wt_checkpoint *checkpoint, const char *name, json_t *data);
/* When QEMU has its guest again: waits until they are back. NULL, or what could not be done. */
const struct wt_error *wt_checkpoint_devices_end(struct wt_checkpoint *checkpoint);
/* For the summary, a new object; NULL: none left. */
json_t *wt_checkpoint_devices_json(const struct wt_checkpoint *checkpoint);

/* checkpoint_report.c */
const char *wt_checkpoint_state_name(enum wt_checkpoint_state state);
/* Asks QEMU what it is: name of the VM, machine type. */
int wt_checkpoint_describe(struct wt_checkpoint *checkpoint, struct wt_error *err);
void wt_checkpoint_take_figures(struct wt_checkpoint *checkpoint, json_t *answer);
void wt_checkpoint_progress(struct wt_checkpoint *checkpoint);
/* The guest goes on, and what was written becomes the checkpoint. */
int wt_checkpoint_finish(struct wt_checkpoint *checkpoint, struct wt_error *err);
void wt_checkpoint_summary(struct wt_checkpoint *checkpoint);
/* What the job can be told. */
extern const struct wt_job_command wt_checkpoint_commands[];

#endif
