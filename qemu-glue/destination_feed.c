/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_feed.c - QEMU's end of the feed: a unix socket in a directory of ours, on which QEMU listens
 * (migrate-incoming) and to which the relay connects. See destination_feed.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "destination_feed.h"
#include "destination_internal.h"

int wt_feed_prepare(struct wt_qmp *qmp, struct wt_error *err)
{
	/* A QEMU that was told to stop while it waits stays paused after loading, even if it was started
	 * without -S. */
	int r = wt_qmp_call(qmp, "stop", NULL, WT_RELAY_QMP_NS, NULL, err);

	if (r)
		return r;
	return wt_qmp_call(qmp, "migrate-set-capabilities",
		/* The stripped stream has one channel, however many the source's has. */
		json_pack("{s:[{s:s,s:b},{s:s,s:b},{s:s,s:b}]}", "capabilities", "capability",
			"late-block-activate", "state", 1, "capability", "events", "state", 1, "capability",
			"multifd", "state", 0),
		WT_RELAY_QMP_NS, NULL, err);
}

int wt_feed_open(
	struct wt_qmp *qmp, struct wt_relay_socket *place, struct wt_feed *feed, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char uri[128];
	int r, fd;

	r = wt_relay_socket_open(place, "incoming", err);
	if (r)
		return r;
	snprintf(uri, sizeof uri, "unix:%s", place->path);
	r = wt_qmp_call(qmp, "migrate-incoming", json_pack("{s:s}", "uri", uri), WT_RELAY_QMP_NS, NULL, err);
	if (r)
		return r;
	strcpy(address.sun_path, place->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) {
		r = wt_error_set(err, errno, "the destination QEMU does not listen on %s: %s", place->path,
			strerror(errno));
		if (fd >= 0)
			close(fd);
		return r;
	}
	wt_feed_connect(feed, fd);
	return 0;
}

void wt_feed_end(struct wt_relay_socket *place, struct wt_feed *feed)
{
	wt_feed_close(feed);
	wt_relay_socket_close(place);
}

int wt_destination_feed_open(struct wt_destination *d, struct wt_error *err)
{
	return wt_feed_open(d->relay.qmp, &d->place, &d->feed, err);
}

void wt_destination_feed_close(struct wt_destination *d)
{
	wt_feed_end(&d->place, &d->feed);
}
