/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * signals.c - see signals.h.
 */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void readable(void *arg, uint32_t events)
{
	const struct wt_signals *signals = arg;
	struct signalfd_siginfo info;

	if (read(signals->fd, &info, sizeof info) == sizeof info)
		signals->came(signals->arg, strsignal((int)info.ssi_signo));
}

int wt_signals_open(struct wt_signals *signals, struct wt_loop *loop,
	void (*came)(void *arg, const char *name), void *arg, struct wt_error *err)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	*signals = (struct wt_signals){ signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), came, arg };
	r = signals->fd < 0 ? -errno : wt_loop_fd_set(loop, signals->fd, EPOLLIN, readable, signals);
	return r ? wt_error_set(err, -r, "signals cannot be watched: %s", strerror(-r)) : 0;
}

static void told(void *arg, uint32_t events)
{
	const struct wt_signals *signals = arg;
	eventfd_t times;

	if (eventfd_read(signals->fd, &times) == 0)
		signals->came(signals->arg, "the end of its command");
}

int wt_signals_open_on(struct wt_signals *signals, struct wt_loop *loop, int fd,
	void (*came)(void *arg, const char *name), void *arg, struct wt_error *err)
{
	int r;

	*signals = (struct wt_signals){ fcntl(fd, F_DUPFD_CLOEXEC, 0), came, arg };
	r = signals->fd < 0 ? -errno : wt_loop_fd_set(loop, signals->fd, EPOLLIN, told, signals);
	return r ? wt_error_set(err, -r, "the end of the command cannot be watched: %s", strerror(-r)) : 0;
}

void wt_signals_close(struct wt_signals *signals)
{
	if (signals->fd >= 0)
		close(signals->fd);
	signals->fd = -1;
}
