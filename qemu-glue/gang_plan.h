/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_plan.h - which guests move together, from where to where. Pure, but for wt_gang_plan_read.
 *
 * A JSON file that an operator writes; docs/GANG.md describes it. An accepted plan keeps these promises.
 *   1. There is a guest, and at most WT_GANG_VMS_MAX. Names are words of letters, digits, '_', '.' and '-',
 * and fit into those of jobs; none is that of another one's job.
 *   2. No two guests have one QMP socket on one host, or one address.
 *   3. Each end has a QMP socket and either a key or `insecure`, and the same of that at both ends.
 *   4. A word that goes through a prefix means the same to a shell as to a program: ssh hands it to one. The
 * words of a prefix may be any.
 *   5. Options are none of those that the coordinator sets.
 */
#ifndef WATARI_QEMU_GANG_PLAN_H
#define WATARI_QEMU_GANG_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>

#include "device_map.h"
#include "gang_order.h"
#include "plan_reader.h"

#define WT_GANG_NAME_MAX 55 /* NAME-incoming is a job's name, too */
#define WT_GANG_HOLD_MAX_S 86400

/* One end of a guest's way. Texts are NULL where the plan has none. */
struct wt_gang_end {
	struct wt_plan_words prefix;  /* runs a command on that host; none: here */
	struct wt_plan_words options; /* more of `watari send` or `receive` */
	char *qmp, *psk, *tls_creds, *devices, *device_host;
	char *agent; /* for the devices, or for an MPI job in the guest */
	bool insecure;
};

struct wt_gang_vm {
	char name[WT_DEVICE_NAME_MAX + 1];
	struct wt_gang_end from, to;
	struct wt_plan_words checkpoint; /* more of `watari checkpoint`, at the source */
	struct wt_plan_words start;      /* the destination's QEMU; none: it waits */
	char *address;                   /* HOST:PORT of the destination */
};

struct wt_gang_plan {
	unsigned parallel; /* 1 to count */
	unsigned hold_s;
	char *watari; /* the program, on all hosts */
	unsigned count;
	struct wt_gang_vm vms[WT_GANG_VMS_MAX];
	char digest[WT_PLAN_DIGEST_SIZE]; /* of the text: tells plans apart */
};

/* -EINVAL with the sentence; origin names the text in it. wt_gang_plan_free frees the plan. */
int wt_gang_plan_parse(const char *text, size_t length, const char *origin, struct wt_gang_plan **ret_plan,
	struct wt_error *err);
int wt_gang_plan_read(const char *path, struct wt_gang_plan **ret_plan, struct wt_error *err);
/* NULL is allowed. */
void wt_gang_plan_free(struct wt_gang_plan *plan);

#endif
