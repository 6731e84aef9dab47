/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_feed.c - QEMU at the other end of the feed, without QMP: has it loaded the guest?
 *
 * QEMU closes its end when it is through, whether loading has failed or not, and the process may live on for
 * a while in both cases (QEMU 10.0 waits for an exec child before it ends). What tells is the last byte of
 * the stream, which belongs to the description behind all device state: QEMU reads that only after every
 * section was loaded.
 *
 *   1. The last byte is let go only when QEMU has read all the others, so it cannot come along with them.
 *   2. LOADED: QEMU has closed its end, has read the last byte, and the process has memory: it lives.
 *   3. Everything else that ends the connection is QEMU_GONE.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "uri_destination_internal.h"

#define POLL_NS 1000000ull

/* The memory of a process is gone before its descriptors are closed. */
static bool lives(pid_t pid)
{
	struct wt_proc_maps *maps = NULL;
	bool alive = wt_proc_maps_read(pid, &maps, NULL) == 0 && maps->count > 0;

	wt_proc_maps_free(maps);
	return alive;
}

/* QEMU has read all that was written. A unix socket that is closed with bytes in it says so (ECONNRESET). */
static bool all_read(const struct wt_uri_destination *d)
{
	int left = 1, error = 0;
	socklen_t length = sizeof error;

	if (!d->is_socket)
		return !ioctl(d->watch_fd, FIONREAD, &left) && !left;
	return !getsockopt(d->watch_fd, SOL_SOCKET, SO_ERROR, &error, &length) && !error &&
	       !ioctl(d->watch_fd, SIOCOUTQ, &left) && !left;
}

static void qemu_closed(struct wt_uri_destination *d)
{
	bool loaded = d->all_fed && wt_feed_drained(&d->feed) && all_read(d) && lives(d->search.pid);

	wt_loop_fd_clear(d->relay.loop, d->watch_fd);
	if (!loaded)
		wt_error_set(&d->failure, EIO, "the destination QEMU %s; see its standard error",
			lives(d->search.pid) ? "did not take the guest's stream" : "ended");
	wt_uri_destination_event(d, loaded ? WT_URI_DESTINATION_EV_LOADED : WT_URI_DESTINATION_EV_QEMU_GONE);
}

static void happened(void *arg, uint32_t events)
{
	struct wt_uri_destination *d = arg;
	uint8_t said[256];

	if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
		qemu_closed(d);
		return;
	}
	/* A return path that nobody asked for: not ours to understand. */
	if (recv(d->watch_fd, said, sizeof said, MSG_DONTWAIT) == 0)
		qemu_closed(d);
}

static void take_fd(struct wt_uri_destination *d, int fd)
{
	struct stat file;

	d->is_socket = !fstat(fd, &file) && S_ISSOCK(file.st_mode);
	d->watch_fd = dup(fd);
	wt_loop_fd_set(d->relay.loop, d->watch_fd, d->is_socket ? EPOLLIN | EPOLLRDHUP : 0, happened, d);
	wt_feed_connect(&d->feed, fd);
}

/* Standard output becomes the feed; whatever else writes there goes to standard error. */
static int open_output(struct wt_uri_destination *d, struct wt_error *err)
{
	struct stat file;
	int fd;

	if (fstat(STDOUT_FILENO, &file) || !(S_ISFIFO(file.st_mode) || S_ISSOCK(file.st_mode)))
		return wt_error_set(err, ENOTSOCK,
			"standard output is no pipe to a QEMU; give --qmp SOCKET, or start this by QEMU: -incoming "
			"\"exec:watari receive ...\"");
	fd = dup(STDOUT_FILENO);
	if (fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return wt_error_set(err, errno, "standard output cannot be taken: %s", strerror(errno));
	if (!d->search.pid)
		d->search.pid = wt_ram_search_ancestor();
	take_fd(d, fd);
	return 0;
}

static int open_socket(struct wt_uri_destination *d, struct wt_error *err)
{
	const char *path = d->options->incoming_path;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t length = sizeof peer;
	int fd, code;

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length)) {
		code = errno;
		if (fd >= 0)
			close(fd);
		return wt_error_set(err, code, "no QEMU listens at %s: %s; start it with -incoming unix:%s",
			path, strerror(code), path);
	}
	if (!d->search.pid)
		d->search.pid = peer.pid;
	take_fd(d, fd);
	return 0;
}

int wt_uri_feed_open(struct wt_uri_destination *d, struct wt_error *err)
{
	if (d->watch_fd >= 0)
		return 0;
	return d->options->incoming_path ? open_socket(d, err) : open_output(d, err);
}

static void let_go(void *arg, uint64_t now_ns)
{
	struct wt_uri_destination *d = arg;

	if (d->machine.state != WT_URI_DESTINATION_LOADING || d->all_fed)
		return;
	if (wt_feed_drained(&d->feed) && all_read(d)) {
		d->all_fed = true;
		wt_feed_hold(&d->feed, 0);
		return;
	}
	wt_loop_timer_set(d->relay.loop, &d->poll, now_ns + POLL_NS, let_go, d);
}

void wt_uri_feed_tail(struct wt_uri_destination *d)
{
	wt_feed_hold(&d->feed, 1);
	wt_feed_open_gate(&d->feed);
	wt_loop_timer_set(d->relay.loop, &d->poll, wt_loop_now_ns(d->relay.loop), let_go, d);
}

/* A QEMU that waits at a pipe does not see it closed before a byte came: it gets some that begin no stream.
 */
static void wake_qemu(struct wt_uri_destination *d)
{
	static const char none[] = "watari has given up\n";

	if (!d->is_socket && d->feed.fd >= 0 && !d->feed.any_sent && write(d->feed.fd, none, sizeof none) < 0)
		return;
}

void wt_uri_feed_hang_up(struct wt_uri_destination *d)
{
	wake_qemu(d);
	wt_feed_hang_up(&d->feed);
	if (d->watch_fd < 0)
		return;
	wt_loop_fd_clear(d->relay.loop, d->watch_fd);
	close(d->watch_fd);
	d->watch_fd = -1;
}
