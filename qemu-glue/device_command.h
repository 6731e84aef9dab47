/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_command.h - runs a command of the device map, with a deadline.
 */
#ifndef WATARI_QEMU_DEVICE_COMMAND_H
#define WATARI_QEMU_DEVICE_COMMAND_H

#include <watari/loop.h>

#include "device_map.h"

struct wt_device_run;

/* err->code 0: it ended well. The run is over, and freed. */
typedef void wt_device_run_fn(void *arg, const struct wt_error *err);

/*
 * Starts it, without a shell. In its words {address} stands for address, {name} for name. Its standard error
 * and output are read; the last of it is in the sentence if it fails. told is called from the loop, once,
 * unless it was ended. -errno with the sentence: it was not started.
 */
int wt_device_run_start(struct wt_loop *loop, const struct wt_device_command *command, const char *name,
	const char *address, uint32_t timeout_ms, wt_device_run_fn *told, void *arg,
	struct wt_device_run **ret_run, struct wt_error *err);
/* Kills it and what it has started; told is not called. NULL is allowed. */
void wt_device_run_end(struct wt_device_run *run);

#endif
