/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qemu_process.h - a QEMU for an integration test, which ends with the test.
 *
 * WATARI_QEMU in the environment names the program, by default qemu-system-x86_64. The QMP socket is made and
 * listened on here and inherited by QEMU (as libvirt does it), so a client may connect at once and waits for
 * the greeting, without polling for a socket to appear.
 */
#ifndef WATARI_TESTS_QEMU_PROCESS_H
#define WATARI_TESTS_QEMU_PROCESS_H

#include <sys/types.h>

struct wt_qemu_process {
	pid_t pid;
	char directory[40];
	char qmp_path[64];
};

/* Whether there is a QEMU at all; without one a test says so and exits with 77. */
int wt_qemu_process_available(void);
/* arguments: a NULL-terminated list; -accel tcg, no display, no default devices, and QMP are added. */
int wt_qemu_process_start(const char *const *arguments, struct wt_qemu_process *ret_process);
/* Kills and reaps it, and removes the socket. */
void wt_qemu_process_stop(struct wt_qemu_process *process);

#endif
