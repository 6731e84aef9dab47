/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rails.h - which fabric a page server is read over, and the change from one to another.
 *
 * `current` is the rail by which new announcements go: what its serving covers may be announced in place.
 * `leaving` is the rail of before, kept while announcements of its time are pending that only it can serve.
 *
 *   1. Whatever is pending can be read over current or leaving: a serving is closed only when nothing pending
 *      needs it.
 *   2. The regions of a rail are told to the puller before anything is announced by it; REGIONS_CLEAR follows
 *      when it is closed.
 *   3. A rail without paths is connected again; if that fails, the next fabric in the order of preference
 *      takes over. While a fabric carries the session that is not the best of those that both ends have, the
 *      better one is tried again from time to time.
 *   4. A rail goes on with the paths that it has; those that it lacks are connected again from time to time.
 *
 * Nothing here waits: rails are opened in a thread (rail.h). One thread otherwise, the loop's.
 */
#ifndef WT_RAILS_H
#define WT_RAILS_H

#include <watari/error.h>
#include <watari/loop.h>
#include <watari/path.h>

#include "announce.h"
#include "link.h"
#include "rail.h"
#include "serving.h"
#include "wire.h"

struct wt_rails_config {
	struct wt_loop *loop;
	struct wt_link *link;
	const struct wt_announce_log *log;
	struct wt_served_memory memory;
	unsigned fabrics, paths;
	const char *device, *peer_host; /* borrowed */
	uint64_t give_up_ns;
};

struct wt_rails_events {
	void (*ready)(void *arg); /* once: memory can be read */
	void (*failed)(void *arg, const struct wt_error *err);
	void (*note)(void *arg, const char *text);
	void (*tick)(void *arg); /* now and then */
};

struct wt_rails;

/* The puller's listeners and token are known: begins. */
int wt_rails_open(const struct wt_rails_config *config, const struct wt_wire_ready *peer,
	const struct wt_rails_events *events, void *arg, struct wt_rails **ret_rails, struct wt_error *err);
/* While it pauses nothing is connected, and what was being connected is dropped. */
void wt_rails_pause(struct wt_rails *rails, bool pause);
/* The session is over: opens no more. */
void wt_rails_stop(struct wt_rails *rails);
void wt_rails_close(struct wt_rails *rails);
/* The puller has no path of this fabric left, or none to this listener of the fabric: ours are dead, whatever
 * they look like. */
#define WT_RAILS_ALL UINT32_MAX
void wt_rails_lost(struct wt_rails *rails, enum wt_fabric fabric, unsigned listener);
/* By which announcements go now; NULL: none yet. */
const struct wt_serving *wt_rails_serving(const struct wt_rails *rails);
enum wt_fabric wt_rails_fabric(const struct wt_rails *rails);
/* WT_FABRIC_BIT()s of those that it was at some time. */
unsigned wt_rails_used(const struct wt_rails *rails);
unsigned wt_rails_paths(const struct wt_rails *rails);

#endif
