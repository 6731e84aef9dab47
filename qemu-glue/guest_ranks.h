/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_ranks.h - in the guest: a session of its host with the ranks of an MPI job, which listen at unix
 * sockets in the job's folder. Lines go to and fro; what they mean is theirs.
 *
 * The host begins with RANKS, says LOOK at least once in WT_GUEST_SILENCE_MS, and TELL for each line. It
 * hears with the session's id: of each rank once that it was met (`rank`, `pid`), then what it says (`rank`,
 * `output`), and that it has ended (`rank`, not ok); and to each RANKS and LOOK, behind the ranks that were
 * met by it, an answer without `rank`. LOOK and TELL of a session that is none are not ok.
 */
#ifndef WATARI_QEMU_GUEST_RANKS_H
#define WATARI_QEMU_GUEST_RANKS_H

#include <poll.h>

#include "agent_message.h"

#define WT_GUEST_RANKS_MAX 128    /* in one guest */
#define WT_GUEST_RANK_LINE 512    /* bytes, with its newline */
#define WT_GUEST_SILENCE_MS 30000 /* a host that says nothing for so long is gone */

struct wt_guest_rank {
	int fd;
	char name[WT_DEVICE_NAME_MAX + 1]; /* of the socket */
	size_t length;
	char line[WT_GUEST_RANK_LINE];
};

struct wt_guest_ranks {
	const char *folder; /* of jobs */
	/* Answers whether the host took it. */
	bool (*say)(void *arg, const struct wt_agent_answer *words);
	void *arg;
	uint64_t session; /* 0: none */
	char job[WT_DEVICE_NAME_MAX + 1];
	uint64_t until_ns;
	unsigned count;
	struct wt_guest_rank *ranks[WT_GUEST_RANKS_MAX];
};

/* RANKS, LOOK or TELL. */
void wt_guest_ranks_request(struct wt_guest_ranks *ranks, const struct wt_agent_request *request);
/* What is to be waited for; answers how many. waits has room for WT_GUEST_RANKS_MAX. */
unsigned wt_guest_ranks_waits(const struct wt_guest_ranks *ranks, struct pollfd *waits);
/* Passes on what ranks have said. */
void wt_guest_ranks_poll(struct wt_guest_ranks *ranks);
/* The host is gone: the ranks see their coordinator go. */
void wt_guest_ranks_end(struct wt_guest_ranks *ranks);

#endif
