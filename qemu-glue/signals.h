/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * signals.h - what asks a command to end: SIGINT and SIGTERM, told from the loop. SIGPIPE is ignored. In a
 * daemon (daemon.h) the process has the signals, and each of its sessions an eventfd in their place.
 */
#ifndef WATARI_QEMU_SIGNALS_H
#define WATARI_QEMU_SIGNALS_H

#include <watari/error.h>
#include <watari/loop.h>

struct wt_signals {
	int fd; /* -1: not watched */
	void (*came)(void *arg, const char *name);
	void *arg;
};

/* Blocks them for the process, until its end. *signals must not move. */
int wt_signals_open(struct wt_signals *signals, struct wt_loop *loop,
	void (*came)(void *arg, const char *name), void *arg, struct wt_error *err);
/* Nothing of the process's: came is called when fd, an eventfd that stays the caller's, is written to. */
int wt_signals_open_on(struct wt_signals *signals, struct wt_loop *loop, int fd,
	void (*came)(void *arg, const char *name), void *arg, struct wt_error *err);
/* Does nothing where fd is -1. Before the loop is closed. */
void wt_signals_close(struct wt_signals *signals);

#endif
