/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passthrough_internal.h - what passthrough.c (the order), passthrough_guest.c (QEMU and the agent) and
 * passthrough_host.c (the host's devices) share.
 */
#ifndef WATARI_QEMU_PASSTHROUGH_INTERNAL_H
#define WATARI_QEMU_PASSTHROUGH_INTERNAL_H

#include "device_command.h"
#include "guest_agent.h"
#include "job_place.h"
#include "passthrough.h"

/* What is awaited of QEMU for a device. */
enum wt_hand_await { WT_HAND_NOTHING = 0, WT_HAND_DELETED, WT_HAND_ADDED };

struct wt_hand {
	struct wt_passthrough *passthrough;
	const struct wt_device *device;
	const struct wt_device_place *place;
	const char *address; /* which one of the pool; NULL: none yet */
	bool wanted;         /* the other end knows it, too */
	bool present;        /* in QEMU */
	bool there;          /* ... when this began */
	bool taken;          /* ... and was taken out since */
	bool pending;        /* QEMU was asked to take it out, and has not yet */
	bool doubtful;       /* QEMU or the guest refused; but that may have been about an earlier request */
	bool late;           /* the request was waited for in vain */
	bool let_be;         /* its undo is over, and QEMU had it then */
	uint64_t unplug_until_ns, plug_until_ns;
	enum wt_hand_await await;
	unsigned candidate;                     /* of the pool, that is tried */
	bool touched;                           /* its prepare command has run, or it has none */
	struct wt_job_place lock;               /* of the address */
	struct wt_error trouble;                /* what could not be done */
	uint32_t ms[WT_DEVICE_STEP_REPORT + 1]; /* how long each step took */
};

struct wt_passthrough {
	struct wt_passthrough_config config;
	struct wt_passthrough_events events;
	void *arg;
	char host[WT_DEVICE_NAME_MAX + 1];
	struct wt_device_map *map;
	struct wt_qmp *qmp;
	struct wt_guest_agent *agent;
	struct wt_qmp *next_qmp; /* handover: of the other QEMU */
	struct wt_guest_agent *next_agent;
	struct wt_device_run *run;
	struct wt_device_sequence sequence;
	struct wt_hand hands[WT_DEVICES_MAX];
	const char *leaving[WT_DEVICES_MAX + 1];
	struct wt_timer timer;
	struct wt_error trouble;
	uint64_t step_ns, quiesce_ns, gone_ns, attach_until_ns;
};

/* What was under way for the present step has ended; err NULL: well. */
void wt_passthrough_result(struct wt_passthrough *p, const struct wt_error *err);
void wt_passthrough_deadline(struct wt_passthrough *p, uint64_t ms, wt_loop_timer_fn *fn);
static inline struct wt_hand *wt_passthrough_hand(struct wt_passthrough *p)
{
	return &p->hands[p->sequence.steps[p->sequence.at].device];
}

/* passthrough_guest.c */
void wt_passthrough_ping(struct wt_passthrough *p);
void wt_passthrough_detach(struct wt_passthrough *p, struct wt_hand *hand);
void wt_passthrough_attach(struct wt_passthrough *p, struct wt_hand *hand);
void wt_passthrough_unplug(struct wt_passthrough *p, struct wt_hand *hand);
void wt_passthrough_replug(struct wt_passthrough *p, struct wt_hand *hand);
void wt_passthrough_plug(struct wt_passthrough *p, struct wt_hand *hand);

/* passthrough_host.c */
void wt_passthrough_prepare(struct wt_passthrough *p, struct wt_hand *hand);
void wt_passthrough_release(struct wt_passthrough *p, struct wt_hand *hand);
/* Handover: may the other QEMU lock as much memory as the one that has the guest? */
int wt_passthrough_check_limits(struct wt_passthrough *p, struct wt_error *err);
/* Nobody else of this user gets its address, until the lock is left. */
int wt_passthrough_reserve(struct wt_hand *hand, struct wt_error *err);

#endif
