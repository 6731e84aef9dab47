/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_check.h - are two QEMUs the same machine with the same memory? Asked before anything starts;
 * changes nothing.
 */
#ifndef WATARI_QEMU_HANDOVER_CHECK_H
#define WATARI_QEMU_HANDOVER_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>

#include "guest_ram.h"
#include "qmp.h"

struct wt_handover_qemu {
	struct wt_qmp *qmp;
	struct wt_guest_ram *ram;
	const char *socket_path; /* for messages */
};

struct wt_handover_memory {
	uint64_t shared_bytes; /* of RAM that both have */
	/* What the old QEMU must write although it is shared: QEMU 8.1 and later leaves out only files that
	 * have a name. */
	uint64_t walked_bytes;
};

/* A paused guest that came by a migration, and has not run since, does not own its images yet; QEMU
 * before 10.0 aborts when it is to give them away (seen with 7.2). Not running, it cannot be told from one
 * that has: refused. */
int wt_handover_check_paused(const struct wt_handover_qemu *old, struct wt_error *err);
/* Machine type, processors, devices, disks. leaving: ids of devices that the old one will have lost by then,
 * ending with NULL; NULL: none. -EPERM with the sentence, or the codes of wt_qmp_call. */
int wt_handover_check_machine(const struct wt_handover_qemu *old, const struct wt_handover_qemu *new,
	const char *const *leaving, struct wt_error *err);
/* The type of a child of an object; "" if there is none. */
int wt_handover_child_type(const struct wt_handover_qemu *qemu, const char *path, const char *name,
	char *ret_type, size_t size, struct wt_error *err);
/* Its machine type, such as pc-q35-7.2. */
int wt_handover_machine_type(
	const struct wt_handover_qemu *qemu, char *ret_type, size_t size, struct wt_error *err);
/* When this QEMU ends, whatever came of the handover, its memory stays. */
int wt_handover_keep_memory(const struct wt_handover_qemu *qemu, struct wt_error *err);
/* Its memory is shared, in the process behind the socket, and was not written to when QEMU started. which:
 * "old" or "new". */
int wt_handover_check_backends(const struct wt_handover_qemu *qemu, const char *which, struct wt_error *err);
/* Behind that: all main memory of the old QEMU is the new one's at the same place: the kernel's word, by
 * device, inode and offset of every block. */
int wt_handover_check_memory(const struct wt_handover_qemu *old, const struct wt_handover_qemu *new,
	struct wt_handover_memory *ret_memory, struct wt_error *err);
/* Does this QEMU, told to ignore what is shared, leave out a shared block? From 8.1 on only files that have a
 * name. */
bool wt_handover_left_out(const struct wt_handover_qemu *qemu, const char *block);
/* Is the block the same memory in both? */
bool wt_handover_same(const struct wt_ram_block *old, const struct wt_ram_block *new);

#endif
