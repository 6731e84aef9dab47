/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passthrough_host.c - the steps that concern this host's own device: reserved, bound, checked, and given
 * back.
 *
 * What needs privileges is a command of the map. A device is reserved by a lock that all receptions of this
 * user on this host know (job_place.h), until QEMU has it and the kernel keeps others out.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "passthrough_internal.h"
#include "vfio_host.h"

static void try_candidate(struct wt_passthrough *p, struct wt_hand *hand);

/* ---- one candidate ---- */

/* The one before was given back, as well as it could be. */
static void next_candidate(void *arg, const struct wt_error *err)
{
	struct wt_hand *hand = arg;

	hand->passthrough->run = NULL;
	wt_job_place_leave(&hand->lock);
	hand->touched = false;
	hand->candidate++;
	try_candidate(hand->passthrough, hand);
}

static void run_command(struct wt_passthrough *p, struct wt_hand *hand,
	const struct wt_device_command *command, wt_device_run_fn *told)
{
	struct wt_error err = { 0 };

	if (wt_device_run_start(p->config.loop, command, hand->device->name,
		    hand->address ? hand->address : "", p->map->deadlines.prepare, told, hand, &p->run, &err))
		told(hand, &err);
}

/* Gives it back and tries the next one; the last one's reason is the answer. */
static void refuse(struct wt_passthrough *p, struct wt_hand *hand, const struct wt_error *err)
{
	struct wt_error why = *err;

	if (hand->place->kind == WT_DEVICE_VFIO && hand->candidate + 1 < hand->place->address_count) {
		if (hand->touched && hand->place->release.count)
			run_command(p, hand, &hand->place->release, next_candidate);
		else
			next_candidate(hand, err);
		return;
	}
	if (hand->place->address_count > 1) {
		wt_error_clear(&why);
		wt_error_set(&why, err->code,
			"none of the %u devices of the pool can be used; the last one: %s",
			hand->place->address_count, wt_error_text(err));
	}
	wt_passthrough_result(p, &why);
}

static int usable(const struct wt_hand *hand, struct wt_error *err)
{
	return hand->place->kind == WT_DEVICE_VFIO
		       ? wt_vfio_usable(hand->passthrough->config.root, hand->address, err)
		       : 0;
}

static void checked(void *arg, const struct wt_error *err)
{
	struct wt_hand *hand = arg;
	struct wt_passthrough *p = hand->passthrough;

	p->run = NULL;
	if (err->code)
		refuse(p, hand, err);
	else
		wt_passthrough_result(p, NULL);
}

static void prepared(void *arg, const struct wt_error *err)
{
	struct wt_hand *hand = arg;
	struct wt_passthrough *p = hand->passthrough;
	struct wt_error why = *err;

	p->run = NULL;
	if (!why.code)
		usable(hand, &why);
	if (why.code)
		refuse(p, hand, &why);
	else if (hand->place->check.count)
		run_command(p, hand, &hand->place->check, checked);
	else
		wt_passthrough_result(p, NULL);
}

int wt_passthrough_reserve(struct wt_hand *hand, struct wt_error *err)
{
	char name[WT_JOB_NAME_MAX];
	struct wt_error why = { 0 };
	int r;

	snprintf(name, sizeof name, "device-%s", hand->address);
	r = wt_job_place_take(name, &hand->lock, &why);
	if (r == -EEXIST)
		return wt_error_set(err, EBUSY,
			"%s is reserved by another watari send or receive on this host; name another device",
			hand->address);
	return r ? wt_error_set(err, -r, "%s", wt_error_text(&why)) : 0;
}

/* ---- handover ---- */

/* Whether a process may lock memory whatever its limit is (CAP_IPC_LOCK); false: no, or not known. */
static bool locks_freely(pid_t pid)
{
	char path[64], line[256];
	unsigned long long mask = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "CapEff: %llx", &mask) == 1)
			break;
	if (file)
		fclose(file);
	return mask >> CAP_IPC_LOCK & 1;
}

int wt_passthrough_check_limits(struct wt_passthrough *p, struct wt_error *err)
{
	pid_t old = wt_qmp_pid(p->qmp), new = wt_qmp_pid(p->next_qmp);
	struct rlimit had, has;
	bool passes_through = false;

	for (unsigned i = 0; i < p->map->count; i++)
		passes_through |= p->hands[i].wanted && p->hands[i].place->kind == WT_DEVICE_VFIO;
	if (!passes_through || locks_freely(new) || prlimit(old, RLIMIT_MEMLOCK, NULL, &had) ||
		prlimit(new, RLIMIT_MEMLOCK, NULL, &has) || has.rlim_cur >= had.rlim_cur)
		return 0;
	return wt_error_set(err, EPERM,
		"the new QEMU (process %d) may lock %llu KiB of memory, less than the old one, and a passed-through device "
		"needs all of the guest's locked; give it the old one's limit (ulimit -l, LimitMEMLOCK)",
		(int)new, (unsigned long long)has.rlim_cur >> 10);
}

static void try_candidate(struct wt_passthrough *p, struct wt_hand *hand)
{
	static const struct wt_error none = { 0 };
	struct wt_error err = { 0 };

	if (hand->place->kind == WT_DEVICE_VFIO) {
		hand->address = hand->place->addresses[hand->candidate];
		if (wt_passthrough_reserve(hand, &err)) {
			refuse(p, hand, &err);
			return;
		}
	}
	hand->touched = true;
	if (hand->place->prepare.count)
		run_command(p, hand, &hand->place->prepare, prepared);
	else
		prepared(hand, &none);
}

void wt_passthrough_prepare(struct wt_passthrough *p, struct wt_hand *hand)
{
	if (hand->place->kind == WT_DEVICE_NONE || hand->present)
		wt_passthrough_result(p, NULL);
	else
		try_candidate(p, hand);
}

/* ---- giving back ---- */

static void released(void *arg, const struct wt_error *err)
{
	struct wt_hand *hand = arg;

	hand->passthrough->run = NULL;
	wt_job_place_leave(&hand->lock);
	wt_passthrough_result(hand->passthrough, err->code ? err : NULL);
}

/* At the destination: what was prepared; at the source: what the guest has left. */
void wt_passthrough_release(struct wt_passthrough *p, struct wt_hand *hand)
{
	bool had = p->config.source ? hand->taken : hand->touched;

	if (had && hand->place->release.count) {
		run_command(p, hand, &hand->place->release, released);
		return;
	}
	wt_job_place_leave(&hand->lock);
	wt_passthrough_result(p, NULL);
}
