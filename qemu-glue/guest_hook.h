/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_hook.h - in the guest: runs hooks, one after the other, with one deadline for all of them.
 *
 * A hook is an executable file in a folder. For a detach all of them are run in the order of their names as
 * `HOOK detach NAME`, for an attach in the opposite order as `HOOK attach NAME WHAT`; for a message only the
 * hook that it names, as `HOOK message`, with the data on its standard input. The first one that fails ends
 * the run. Hooks of an attach begin when the NIC with link_mac is there. What it prints (standard error too)
 * is its reason, or the answer to the message.
 */
#ifndef WATARI_QEMU_GUEST_HOOK_H
#define WATARI_QEMU_GUEST_HOOK_H

#include <sys/types.h>

#include "agent_message.h"

#define WT_GUEST_HOOKS_MAX 64

struct wt_guest_run {
	struct wt_agent_request request; /* verb 0: nothing runs */
	const char *folder;
	char *names[WT_GUEST_HOOKS_MAX];
	unsigned count, next; /* names; the one to start next */
	pid_t child;          /* 0: none runs */
	int output_fd;        /* what it prints; -1: nothing is read */
	char output[WT_AGENT_DATA_MAX];
	size_t output_length;
	uint64_t start_ns, until_ns;
	bool done;
	struct wt_agent_answer answer; /* once done; its output is allocated */
};

uint64_t wt_guest_now_ns(void);
/* Takes over the request. run is zeroed, or was cleared. */
void wt_guest_run_start(struct wt_guest_run *run, const char *folder, struct wt_agent_request *request);
/* Something may have happened: a child ended, printed, or time passed. */
void wt_guest_run_poll(struct wt_guest_run *run);
/* Kills what runs. */
void wt_guest_run_clear(struct wt_guest_run *run);

#endif
