/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_internal.h - the coordinator's state, shared by gang.c (the order), gang_vm.c (one guest's commands)
 * and gang_report.c (what people are told).
 */
#ifndef WATARI_QEMU_GANG_INTERNAL_H
#define WATARI_QEMU_GANG_INTERNAL_H

#include <watari/loop.h>

#include "gang.h"
#include "gang_journal.h"
#include "gang_order.h"
#include "gang_plan.h"
#include "gang_process.h"
#include "gang_relay.h"
#include "report.h"
#include "signals.h"

/* What a guest's relay is asked, or told; one at a time. */
enum wt_gang_ask {
	WT_GANG_ASK_NOTHING = 0,
	WT_GANG_ASK_MOVE,           /* proceed, to the source */
	WT_GANG_ASK_BACK,           /* proceed, to the destination */
	WT_GANG_ASK_CANCEL,         /* to the source */
	WT_GANG_ASK_CANCEL_RECEIVE, /* to the destination */
	WT_GANG_ASK_STATUS,         /* of the source: its output has ended without a word */
	WT_GANG_ASK_RECOVER,        /* the source's QEMU: its relay is gone */
	WT_GANG_ASKS,
};

struct wt_gang_run_vm {
	const struct wt_gang_vm *plan;
	struct wt_gang_process start, receive, send, ask;
	struct wt_gang_relay source, destination;
	enum wt_gang_ask asking; /* NOTHING: nothing is asked now */
	bool told[WT_GANG_ASKS]; /* it was taken */
	bool status_known;       /* just now */
	bool gone;               /* STATUS: no relay lives at the source */
	int recovered;           /* exit code of RECOVER; -1: not asked */
	uint64_t ask_again_ns, ask_until_ns, start_until_ns;
	uint64_t status_vain_ns; /* since when STATUS is asked in vain; 0: it is not */
	/* When something was heard of the relays last. */
	uint64_t source_heard_ns, destination_heard_ns;
	char why[WT_ERROR_TEXT_MAX]; /* what a command could not do; "": nothing */
	uint8_t shown;               /* the state that was told last */
};

struct wt_gang {
	const struct wt_gang_options *options;
	const struct wt_gang_plan *plan;
	struct wt_gang_order order;
	struct wt_gang_journal journal;
	struct wt_loop *loop;
	struct wt_report report;
	struct wt_timer tick;
	struct wt_gang_run_vm vms[WT_GANG_VMS_MAX];
	struct wt_signals signals;
	bool cancelled;        /* by a signal */
	bool left;             /* by a second signal, or since the journal cannot be written */
	struct wt_error error; /* ... then why */
	uint64_t progress_ns;  /* when it is told again */
};

/* gang_vm.c: names the files; what was printed meanwhile, and what it means; carries out an action of a
 * guest; asks and tells what is to be asked and told now. */
int wt_gang_vm_init(struct wt_gang *gang, unsigned number);
void wt_gang_vm_read(struct wt_gang *gang, unsigned number);
void wt_gang_vm_do(struct wt_gang *gang, unsigned number, enum wt_gang_action_kind kind);
void wt_gang_vm_ask(struct wt_gang *gang, unsigned number);
/* Resuming: finds what was begun. Otherwise: removes what is left of a gang of before. */
void wt_gang_vm_find(struct wt_gang *gang, unsigned number);
int wt_gang_vm_forget(struct wt_gang *gang, unsigned number, struct wt_error *err);
void wt_gang_vm_close(struct wt_gang *gang, unsigned number);

/* gang_report.c: a guest's state, if it has changed; how far all are; the gang's turning points; the end,
 * answers the exit code. */
void wt_gang_tell_vm(struct wt_gang *gang, unsigned number);
void wt_gang_tell_progress(struct wt_gang *gang);
void wt_gang_tell_turn(struct wt_gang *gang, enum wt_gang_action_kind kind);
int wt_gang_tell_end(struct wt_gang *gang);

#endif
