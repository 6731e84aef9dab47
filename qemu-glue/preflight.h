/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * preflight.h - what is refused before anything starts, each with one sentence that says what to do.
 *
 * The list is that of docs/ARCHITECTURE.md, "Refused": capabilities that change what the stream means,
 * writable disks that both hosts do not see, devices that put sections before RAM, RAM that cannot be served,
 * encrypted guests, a migration that is already running. Asks over QMP, changes nothing.
 */
#ifndef WATARI_QEMU_PREFLIGHT_H
#define WATARI_QEMU_PREFLIGHT_H

#include <watari/error.h>

#include "guest_ram.h"
#include "qmp.h"

struct wt_preflight {
	bool guest_running;      /* run state `running`; false: paused by its operator */
	bool may_discard;        /* a device can punch holes into guest RAM (balloon, free-page reporting,
				    virtio-mem) */
	bool gives_up;           /* the guest tells QEMU of free pages while it migrates, and QEMU leaves them
				    out (free-page-hint) */
	bool dirty_log_exact;    /* QEMU may ask which pages are dirty as often as it likes: it has KVM.
				    (Without it, TCG forgets a page when it is asked again before that page
				    was sent and no page is dirty that was not so before, see docs/LAB.md.) */
	unsigned writable_disks; /* block devices open for writing */
	unsigned staged_blocks;  /* of main memory that is not shared */
};

/* Main memory that is private to the source QEMU is marked staged in ram. shared_storage: the operator says
 * that writable disks are seen by both hosts. leaving: ids of devices that will be taken away before the
 * migration, ending with NULL; what they block does not count yet. NULL: none. -EPERM: refused, with the
 * sentence; other codes are those of wt_qmp_call: QEMU could not be asked. */
int wt_preflight_source(struct wt_qmp *qmp, struct wt_guest_ram *ram, bool shared_storage,
	const char *const *leaving, struct wt_preflight *ret_facts, struct wt_error *err);
/* Whether an id is on such a list. */
bool wt_preflight_leaves(const char *const *leaving, const char *id);
/* The part of it that looks at devices, for may_discard and gives_up; they may be plugged in during a
 * migration. */
int wt_preflight_devices(struct wt_qmp *qmp, struct wt_preflight *facts, struct wt_error *err);
/* Of query-block: firmware's variable store, whose content QEMU migrates with RAM. */
bool wt_preflight_is_flash(json_t *disk);
/* The destination must be `inmigrate`, started with `-incoming defer -S`, its RAM shared. That -S is still in
 * effect cannot be asked (QMP `cont` undoes it while QEMU waits); QMP `stop` before the stream is fed makes
 * it certain. */
int wt_preflight_destination(struct wt_qmp *qmp, const struct wt_guest_ram *ram, struct wt_error *err);
/* The same for the two QEMUs of a handover (handover.h), which leaves RAM where it is and sets the capability
 * x-ignore-shared itself. RAM and disks are handover_check.c's. leaving: as above. */
int wt_preflight_old(struct wt_qmp *qmp, const char *const *leaving, bool *ret_running, struct wt_error *err);
int wt_preflight_new(struct wt_qmp *qmp, struct wt_error *err);

#endif
