/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_plan.h - which hosts are renewed, how, and where their guests are meanwhile. Pure, but for
 * wt_rejuvenate_plan_read.
 *
 * A JSON file that an operator writes; docs/REJUVENATE.md describes it. An accepted plan keeps these
 * promises.
 *   1. Every host and guest that is named is there. A guest of a host that is evacuated has another host to
 * go to.
 *   2. Both ways of each such guest are plans of gangs that `watari gang` accepts.
 *   3. No two guests have one QMP socket on one host, at home or away, or one address.
 *   4. On a host with "room" there are never more guests of others than that, in whatever order hosts are
 * renewed.
 *   5. There is something to be renewed. A host that is evacuated has a command and a probe.
 */
#ifndef WATARI_QEMU_REJUVENATE_PLAN_H
#define WATARI_QEMU_REJUVENATE_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include <watari/error.h>

#include "device_map.h"
#include "plan_reader.h"
#include "rejuvenate_order.h"

#define WT_REJUVENATE_SECONDS_MAX 86400

struct wt_rejuvenate_plan_host {
	char name[WT_DEVICE_NAME_MAX + 1];
	struct wt_plan_words prefix;         /* runs a command there; none: here */
	struct wt_plan_words command, probe; /* none: `true` is the probe, and there is no command */
	unsigned command_s, probe_s;         /* how long each may take */
	bool probe_differs; /* what it prints must not be what it printed before the command */
	unsigned room;      /* for guests of others; 0: not said */
};

struct wt_rejuvenate_plan_guest {
	char name[WT_DEVICE_NAME_MAX + 1];
	char *qmp;                    /* at home */
	struct wt_plan_words options; /* more of `watari upgrade`; of guests that are handed over */
	unsigned handover_s;
	char *leave, *back; /* texts of plans of gangs; of guests that are evacuated */
};

struct wt_rejuvenate_plan {
	char *watari;                     /* the program, on all hosts */
	struct wt_rejuvenate_order order; /* as it is before anything was done */
	struct wt_rejuvenate_plan_host hosts[WT_REJUVENATE_HOSTS_MAX];
	struct wt_rejuvenate_plan_guest guests[WT_REJUVENATE_GUESTS_MAX];
	char digest[WT_PLAN_DIGEST_SIZE]; /* of the text: tells plans apart */
};

/* -EINVAL with the sentence; origin names the text in it. wt_rejuvenate_plan_free frees the plan. */
int wt_rejuvenate_plan_parse(const char *text, size_t length, const char *origin,
	struct wt_rejuvenate_plan **ret_plan, struct wt_error *err);
int wt_rejuvenate_plan_read(const char *path, struct wt_rejuvenate_plan **ret_plan, struct wt_error *err);
/* NULL is allowed. */
void wt_rejuvenate_plan_free(struct wt_rejuvenate_plan *plan);

#endif
