/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_feed.c - QEMU's end of the feed: a unix socket in a directory of ours, on which QEMU listens
 * (migrate-incoming) and to which the relay connects.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "destination_internal.h"

int wt_destination_feed_open(struct wt_destination *d, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char uri[128];
	int r, fd;

	r = wt_relay_socket_open(&d->place, "incoming", err);
	if (r)
		return r;
	snprintf(uri, sizeof uri, "unix:%s", d->place.path);
	r = wt_qmp_call(
		d->relay.qmp, "migrate-incoming", json_pack("{s:s}", "uri", uri), WT_RELAY_QMP_NS, NULL, err);
	if (r)
		return r;
	strcpy(address.sun_path, d->place.path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) {
		r = wt_error_set(err, errno, "the destination QEMU does not listen on %s: %s", d->place.path,
			strerror(errno));
		if (fd >= 0)
			close(fd);
		return r;
	}
	wt_feed_connect(&d->feed, fd);
	return 0;
}

void wt_destination_feed_close(struct wt_destination *d)
{
	wt_feed_close(&d->feed);
	wt_relay_socket_close(&d->place);
}
