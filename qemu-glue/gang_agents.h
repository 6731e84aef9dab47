/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_agents.h - what watari-mpi has to know of a plan: where the agents of the guests are, before and
 * after.
 */
#ifndef WATARI_QEMU_GANG_AGENTS_H
#define WATARI_QEMU_GANG_AGENTS_H

#include "gang.h"

/* Prints it; answers the exit code. */
int wt_gang_agents(const struct wt_gang_options *options);

#endif
