/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rails.c - the policy of fabrics and paths. See rails.h.
 *
 * A watch looks at everything every WATCH_NS and starts at most one opening; what comes of it is settled in
 * `opened`. `tried` are the fabrics that failed since one last worked. The pause before a better fabric is
 * tried again doubles, so that one which comes and goes does not disturb for ever. In the same way paths that
 * a rail lacks are connected again: each listener of the puller gets its share of them, so a device that has
 * come back is used again, and until then the others carry all.
 */
#include "rails.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCH_NS 100000000ull /* how often paths are looked after */
#define CONNECT_NS 3000000000ull
#define CONNECT_BETTER_NS 1000000000ull
#define BETTER_MIN_NS 2000000000ull /* pause before a better fabric is tried again */
#define BETTER_MAX_NS 60000000000ull
#define LEAVING_AGAIN_NS 300000000ull /* pause before the rail of before is connected again */
#define REFILL_MIN_NS 500000000ull    /* pause before paths that current lacks are connected again */
#define REFILL_MAX_NS 10000000000ull

/* Fabrics in order of preference. */
static const enum wt_fabric preference[] = { WT_FABRIC_VERBS, WT_FABRIC_TLS, WT_FABRIC_TCP };
#define FABRICS (sizeof preference / sizeof preference[0])

struct wt_rails {
	struct wt_rails_config config;
	struct wt_wire_ready peer;
	const struct wt_rails_events *events;
	void *arg;
	bool ready, stopped, paused;

	struct wt_rail current, leaving;
	uint64_t leaving_seq; /* announcements from here on do not need `leaving` */
	uint64_t leaving_again_ns;
	uint64_t
		carried_seq; /* the oldest pending announcement when current's paths were opened; 0: judged */
	uint64_t current_pathless_ns, leaving_pathless_ns; /* since when; 0: there are paths */

	struct wt_opening *opening;
	enum wt_fabric opening_fabric;
	bool refilling; /* the opening adds paths to current, which has some */
	bool short_noted;
	uint64_t refill_at_ns, refill_pause_ns;
	unsigned tried, noted, used;
	struct wt_error why; /* the last opening that failed */
	uint64_t better_at_ns, better_pause_ns, current_since_ns;
	struct wt_timer watch;
};

static void watch(void *arg, uint64_t now_ns);

int wt_rails_open(const struct wt_rails_config *config, const struct wt_wire_ready *peer,
	const struct wt_rails_events *events, void *arg, struct wt_rails **ret_rails, struct wt_error *err)
{
	struct wt_rails *rails = calloc(1, sizeof *rails);

	if (!rails)
		return wt_error_set(err, ENOMEM, "no memory for data connections");
	rails->config = *config;
	rails->peer = *peer;
	rails->events = events;
	rails->arg = arg;
	rails->better_pause_ns = BETTER_MIN_NS;
	rails->refill_pause_ns = REFILL_MIN_NS;
	wt_loop_timer_set(config->loop, &rails->watch, wt_loop_now_ns(config->loop), watch, rails);
	*ret_rails = rails;
	return 0;
}

void wt_rails_stop(struct wt_rails *rails)
{
	if (!rails)
		return;
	rails->stopped = true;
	wt_loop_timer_clear(rails->config.loop, &rails->watch);
}

void wt_rails_pause(struct wt_rails *rails, bool pause)
{
	if (!rails)
		return;
	rails->paused = pause;
	rails->carried_seq = 0; /* what does not land meanwhile says nothing of the fabric */
}

/* Closes it, and tells the puller that its keys are void. */
static void close_rail(struct wt_rails *rails, struct wt_rail *rail)
{
	uint8_t fabric = rail->ops ? (uint8_t)rail->ops->fabric : 0;

	if (!rail->ops)
		return;
	wt_rail_close(rail);
	if (rails->config.link->session)
		wt_link_must_send(rails->config.link, WT_MESSAGE_REGIONS_CLEAR, &fabric, 1);
}

/* Closes the opening, which keeps the endpoint that was lent to it; the keys are void now. */
static void abandon_opening(struct wt_rails *rails, struct wt_rail *rail)
{
	if (!rails->opening || !rail->ops || rail->ops->fabric != rails->opening_fabric)
		return;
	wt_rail_hang_up(rail);
	wt_serving_void(rail->serving);
	rail->serving = NULL;
}

void wt_rails_close(struct wt_rails *rails)
{
	if (!rails)
		return;
	wt_rails_stop(rails);
	abandon_opening(rails, &rails->leaving);
	abandon_opening(rails, &rails->current);
	wt_opening_close(rails->opening);
	close_rail(rails, &rails->leaving);
	close_rail(rails, &rails->current);
	free(rails);
}

const struct wt_serving *wt_rails_serving(const struct wt_rails *rails)
{
	return rails ? rails->current.serving : NULL;
}

enum wt_fabric wt_rails_fabric(const struct wt_rails *rails)
{
	return rails && rails->current.ops ? rails->current.ops->fabric : WT_FABRIC_INVALID;
}

unsigned wt_rails_used(const struct wt_rails *rails)
{
	return rails ? rails->used : 0;
}

unsigned wt_rails_paths(const struct wt_rails *rails)
{
	return rails ? rails->current.path_count : 0;
}

static void lose(struct wt_rail *rail, enum wt_fabric fabric, unsigned listener)
{
	if (!rail->ops || rail->ops->fabric != fabric)
		return;
	if (listener == WT_RAILS_ALL)
		wt_rail_hang_up(rail);
	else
		wt_rail_hang_up_listener(rail, listener);
}

void wt_rails_lost(struct wt_rails *rails, enum wt_fabric fabric, unsigned listener)
{
	lose(&rails->current, fabric, listener);
	lose(&rails->leaving, fabric, listener);
}

/* ---- what can be used ---- */

/* Where the puller listens for this fabric, its listener number so and so; NULL: there is none, this build
 * has not both ends of it, or may not use it. */
static const struct wt_wire_listener *offer(
	const struct wt_rails *rails, enum wt_fabric fabric, unsigned number)
{
	if (!(rails->config.fabrics & WT_FABRIC_BIT(fabric)) || !wt_fabric_ops(fabric))
		return NULL;
	for (unsigned i = 0; i < rails->peer.listeners; i++)
		if (rails->peer.listener[i].fabric == fabric && !number--)
			return &rails->peer.listener[i];
	return NULL;
}

/* The best fabric that was not tried, of the first `count` by preference. INVALID: none. */
static enum wt_fabric best(const struct wt_rails *rails, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (offer(rails, preference[i], 0) && !(rails->tried & WT_FABRIC_BIT(preference[i])))
			return preference[i];
	return WT_FABRIC_INVALID;
}

static enum wt_fabric better_than_current(const struct wt_rails *rails)
{
	unsigned rank = 0;

	while (rank < FABRICS && preference[rank] != wt_rails_fabric(rails))
		rank++;
	return best(rails, rank);
}

static const char *data_host(const struct wt_rails *rails, const struct wt_wire_listener *listener)
{
	const struct wt_channel *channel = rails->config.link->channel;

	if (listener->host[0])
		return listener->host;
	if (channel && wt_channel_peer_host(channel)[0])
		return wt_channel_peer_host(channel);
	return rails->config.peer_host ? rails->config.peer_host : "127.0.0.1";
}

/* ---- openings ---- */

static void opened(void *arg, struct wt_rail *rail, const struct wt_error *err);

static unsigned listeners_of(const struct wt_rails *rails, enum wt_fabric fabric)
{
	unsigned count = 0;

	while (offer(rails, fabric, count))
		count++;
	return count;
}

/* How many paths shall go to a listener. */
static unsigned share(const struct wt_rails *rails, enum wt_fabric fabric, unsigned number)
{
	unsigned listeners = listeners_of(rails, fabric), paths;

	assert(listeners);
	paths = rails->config.paths / listeners + (number < rails->config.paths % listeners);
	return paths ? paths : 1;
}

/* How many of them a rail lacks. */
static unsigned lacks(const struct wt_rails *rails, const struct wt_rail *rail, unsigned number)
{
	unsigned wanted, has = wt_rail_paths_to(rail, number);

	assert(rail->ops);
	wanted = share(rails, rail->ops->fabric, number);
	return wanted > has ? wanted - has : 0;
}

/* Opens this fabric, or adds the paths that it lacks to the rail that there is. */
static void start_opening(struct wt_rails *rails, enum wt_fabric fabric)
{
	const struct wt_fabric_ops *ops = wt_fabric_ops(fabric);
	const struct wt_rail *rail = ops == rails->current.ops   ? &rails->current
				     : ops == rails->leaving.ops ? &rails->leaving
								 : NULL;
	const struct wt_wire_listener *listener;
	struct wt_rail_order order = { .ops = ops,
		.serving = rail ? rail->serving : NULL,
		.device = fabric == WT_FABRIC_VERBS ? rails->config.device : NULL,
		.memory = rails->config.memory,
		.timeout_ns = rails->current.path_count ? CONNECT_BETTER_NS : CONNECT_NS };
	struct wt_error err = { 0 };

	while ((listener = offer(rails, fabric, order.listeners))) {
		struct wt_rail_listener *to = &order.listener[order.listeners];

		to->port = listener->port;
		to->paths =
			rail ? lacks(rails, rail, order.listeners) : share(rails, fabric, order.listeners);
		snprintf(to->host, sizeof to->host, "%s", data_host(rails, listener));
		order.listeners++;
	}
	wt_wire_path_hello_encode(wt_session_id(rails->config.link->session), rails->peer.token, order.hello);
	rails->opening_fabric = fabric;
	rails->refilling = rail == &rails->current && rail->path_count;
	if (wt_opening_start(rails->config.loop, &order, opened, rails, &rails->opening, &err))
		opened(rails, &(struct wt_rail){ .ops = NULL }, &err);
}

static void send_regions(struct wt_rails *rails, const struct wt_serving *serving)
{
	uint8_t payload[WT_WIRE_REGION_BYTES];
	struct wt_wire_region region;

	for (unsigned i = 0; wt_serving_region(serving, i, &region) == 0; i++)
		wt_link_must_send(rails->config.link, WT_MESSAGE_REGION, payload,
			wt_wire_region_encode(&region, payload));
}

static void put_off_better(struct wt_rails *rails, uint64_t now_ns)
{
	rails->better_at_ns = now_ns + rails->better_pause_ns;
	rails->better_pause_ns *= 2;
	if (rails->better_pause_ns > BETTER_MAX_NS)
		rails->better_pause_ns = BETTER_MAX_NS;
}

/* A rail of another fabric takes over. */
static void install(struct wt_rails *rails, const struct wt_rail *rail, uint64_t now_ns)
{
	bool keep = rails->current.ops && !wt_serving_covers_all(rail->serving) &&
		    wt_announce_oldest(rails->config.log) != wt_announce_next_seq(rails->config.log);

	assert(!rails->leaving.ops);
	if (now_ns - rails->current_since_ns > BETTER_MAX_NS)
		rails->better_pause_ns = BETTER_MIN_NS;
	send_regions(rails, rail->serving);
	if (keep) {
		rails->leaving = rails->current;
		rails->leaving_pathless_ns = rails->current_pathless_ns;
		rails->leaving_seq = wt_announce_next_seq(rails->config.log);
	} else {
		close_rail(rails, &rails->current);
	}
	rails->current = *rail;
	rails->short_noted = false;
	rails->used |= WT_FABRIC_BIT(rail->ops->fabric);
	rails->current_since_ns = now_ns;
	rails->carried_seq = wt_announce_oldest(rails->config.log);
	rails->tried = 0;
	if (better_than_current(rails))
		put_off_better(rails, now_ns);
}

static void note(struct wt_rails *rails, enum wt_fabric fabric, const struct wt_error *err)
{
	char text[WT_ERROR_TEXT_MAX + 64];

	if (rails->noted & WT_FABRIC_BIT(fabric))
		return;
	rails->noted |= WT_FABRIC_BIT(fabric);
	snprintf(text, sizeof text, "%s is not used: %s", wt_fabric_name(fabric), wt_error_text(err));
	rails->events->note(rails->arg, text);
}

static bool is_full(const struct wt_rails *rails)
{
	unsigned listeners = listeners_of(rails, rails->current.ops->fabric);

	for (unsigned i = 0; i < listeners; i++)
		if (lacks(rails, &rails->current, i))
			return false;
	return true;
}

/* Paths were added to those that there are, or (err) were not. */
static void refilled(struct wt_rails *rails, const struct wt_error *err, uint64_t now_ns)
{
	char text[WT_ERROR_TEXT_MAX + 96];

	if (is_full(rails)) {
		rails->refill_pause_ns = REFILL_MIN_NS;
		if (rails->short_noted)
			rails->events->note(rails->arg, "all data connections are there again");
		rails->short_noted = false;
		return;
	}
	rails->refill_at_ns = now_ns + rails->refill_pause_ns;
	rails->refill_pause_ns *= 2;
	if (rails->refill_pause_ns > REFILL_MAX_NS)
		rails->refill_pause_ns = REFILL_MAX_NS;
	if (rails->short_noted || !err->code)
		return;
	rails->short_noted = true;
	snprintf(text, sizeof text, "goes on with %u data connection%s, more cannot be had: %s",
		rails->current.path_count, rails->current.path_count == 1 ? "" : "s", wt_error_text(err));
	rails->events->note(rails->arg, text);
}

static void works(struct wt_rails *rails, enum wt_fabric fabric)
{
	char text[64];

	rails->tried = 0;
	if (rails->noted & WT_FABRIC_BIT(fabric)) {
		rails->noted &= ~WT_FABRIC_BIT(fabric);
		snprintf(text, sizeof text, "%s is used now", wt_fabric_name(fabric));
		rails->events->note(rails->arg, text);
	}
	if (!rails->ready) {
		rails->ready = true;
		rails->events->ready(rails->arg);
	}
}

static void fails(struct wt_rails *rails, enum wt_fabric fabric, const struct wt_error *err, uint64_t now_ns)
{
	rails->tried |= WT_FABRIC_BIT(fabric);
	rails->why = *err;
	note(rails, fabric, err);
	if (rails->current.path_count)
		put_off_better(rails, now_ns);
}

/* Opened while nothing may be connected: what was lent stays. */
static void settle_unwanted(struct wt_rails *rails, struct wt_rail *rail)
{
	if (rail->ops == rails->current.ops || rail->ops == rails->leaving.ops)
		wt_rail_hang_up(rail);
	else
		wt_rail_close(rail);
}

static void opened(void *arg, struct wt_rail *rail, const struct wt_error *err)
{
	struct wt_rails *rails = arg;
	uint64_t now_ns = wt_loop_now_ns(rails->config.loop);

	rails->opening = NULL;
	if (rails->paused && rail->ops) {
		settle_unwanted(rails, rail);
		return;
	}
	if (rail->ops && rail->ops == rails->current.ops) {
		if (!rails->current.path_count)
			rails->carried_seq = wt_announce_oldest(rails->config.log);
		wt_rail_join(&rails->current, rail);
	} else if (rail->ops && rail->ops == rails->leaving.ops)
		wt_rail_join(&rails->leaving, rail);
	else if (rail->ops && rails->stopped)
		wt_rail_close(rail);
	else if (rail->ops)
		install(rails, rail, now_ns);
	if (rails->stopped)
		return;
	if (rails->refilling && rails->current.path_count)
		refilled(rails, err, now_ns);
	else if (rail->ops)
		works(rails, rails->opening_fabric);
	else
		fails(rails, rails->opening_fabric, err, now_ns);
	if (!rails->stopped)
		wt_loop_timer_set(rails->config.loop, &rails->watch, now_ns, watch, rails);
}

/* ---- the watch ---- */

/* Whether the puller listens for a fabric that is not among ours, while the other one over tcp is. */
static bool offers(const struct wt_rails *rails, enum wt_fabric fabric)
{
	enum wt_fabric other = fabric == WT_FABRIC_TLS ? WT_FABRIC_TCP : WT_FABRIC_TLS;

	for (unsigned i = 0; i < rails->peer.listeners; i++)
		if (rails->peer.listener[i].fabric == fabric && rails->config.fabrics & WT_FABRIC_BIT(other))
			return true;
	return false;
}

static void give_up(struct wt_rails *rails, const char *what)
{
	struct wt_error err = { 0 };

	wt_rails_stop(rails);
	if (rails->why.code)
		wt_error_set(&err, rails->why.code, "%s: %s", what, rails->why.text);
	else if (offers(rails, WT_FABRIC_TLS) || offers(rails, WT_FABRIC_TCP))
		wt_error_set(&err, ENOTSUP,
			"data over tcp would be encrypted at one end only; give --data-plain at both ends, or at none");
	else
		wt_error_set(&err, ENOTSUP, "no fabric that both ends have and may use; see `watari doctor`");
	rails->events->failed(rails->arg, &err);
}

static bool pathless(const struct wt_rail *rail, uint64_t *since_ns, uint64_t now_ns)
{
	if (!rail->ops || rail->path_count)
		*since_ns = 0;
	else if (!*since_ns)
		*since_ns = now_ns;
	return *since_ns != 0;
}

/* Paths that were made and have gone, while nothing that waited has landed: the fabric is no use. */
static void judge_current(struct wt_rails *rails, uint64_t now_ns)
{
	uint64_t oldest = wt_announce_oldest(rails->config.log);
	struct wt_error err = { 0 };

	if (!rails->current.ops || rails->carried_seq != oldest ||
		oldest == wt_announce_next_seq(rails->config.log))
		return;
	rails->carried_seq = 0;
	wt_error_set(&err, EIO, "connections are made, but nothing gets across them");
	fails(rails, wt_rails_fabric(rails), &err, now_ns);
}

/* The current rail has no paths: the same fabric again, then the others, then all of them once more. */
static void replace_current(struct wt_rails *rails, uint64_t now_ns)
{
	enum wt_fabric fabric = wt_rails_fabric(rails);
	uint64_t since_ns = rails->current_pathless_ns;

	judge_current(rails, now_ns);
	if (!fabric || rails->tried & WT_FABRIC_BIT(fabric))
		fabric = best(rails, FABRICS);
	if (fabric) {
		start_opening(rails, fabric);
		return;
	}
	rails->tried = 0;
	if (!rails->ready || now_ns - since_ns >= rails->config.give_up_ns)
		give_up(rails, "no data path to the peer");
}

/* The rail before: closed when nothing pending needs it, connected again while something does. */
static void look_after_leaving(struct wt_rails *rails, uint64_t now_ns)
{
	if (wt_announce_oldest(rails->config.log) >= rails->leaving_seq) {
		close_rail(rails, &rails->leaving);
		return;
	}
	if (!pathless(&rails->leaving, &rails->leaving_pathless_ns, now_ns))
		return;
	if (now_ns - rails->leaving_pathless_ns >= rails->config.give_up_ns)
		give_up(rails, "no data path for what was announced before the change of fabric");
	else if (now_ns >= rails->leaving_again_ns) {
		rails->leaving_again_ns = now_ns + LEAVING_AGAIN_NS;
		start_opening(rails, rails->leaving.ops->fabric);
	}
}

/* The current rail's paths are gone, and that of before is still there: it covers all that was announced
 * since.
 */
static void step_back(struct wt_rails *rails, uint64_t now_ns)
{
	close_rail(rails, &rails->current);
	rails->current = rails->leaving;
	rails->current_pathless_ns = rails->leaving_pathless_ns;
	rails->leaving = (struct wt_rail){ .ops = NULL };
	put_off_better(rails, now_ns);
}

static void try_better(struct wt_rails *rails)
{
	enum wt_fabric fabric;

	rails->tried = 0;
	fabric = better_than_current(rails);
	if (fabric)
		start_opening(rails, fabric);
}

static void look_after(struct wt_rails *rails, uint64_t now_ns)
{
	bool gone = pathless(&rails->current, &rails->current_pathless_ns, now_ns);

	if (rails->paused || rails->opening || !wt_session_is_up(rails->config.link->session))
		return;
	if (gone && rails->leaving.ops)
		step_back(rails, now_ns);
	if (!rails->current.path_count)
		replace_current(rails, now_ns);
	else if (now_ns >= rails->refill_at_ns && !is_full(rails))
		start_opening(rails, wt_rails_fabric(rails));
	else if (rails->leaving.ops)
		look_after_leaving(rails, now_ns);
	else if (now_ns >= rails->better_at_ns)
		try_better(rails);
}

static void watch(void *arg, uint64_t now_ns)
{
	struct wt_rails *rails = arg;

	wt_loop_timer_set(rails->config.loop, &rails->watch, now_ns + WATCH_NS, watch, rails);
	rails->events->tick(rails->arg);
	wt_rail_reap(&rails->current);
	wt_rail_reap(&rails->leaving);
	look_after(rails, now_ns);
}
