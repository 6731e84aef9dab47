/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller.c - the puller: the object, and what it does in each turn of the loop. See puller.h;
 * puller_internal.h says where the rest is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "path_choice.h"
#include "puller_internal.h"

_Static_assert(WT_PLAN_SERVERS == WT_SERVERS_MAX && WT_PLAN_ALL == WT_PULLER_ALL, "servers");
_Static_assert(
	(int)WT_PLAN_FASTEST == WT_BASE_FASTEST && (int)WT_PLAN_SPARE_ANNOUNCER == WT_BASE_SPARE_SOURCE,
	"policies");

void wt_puller_fail(struct wt_puller *p, const struct wt_error *err)
{
	wt_link_fail(&p->servers[0].link, err);
}

void wt_puller_refused(void *arg, const struct wt_error *err)
{
	struct wt_puller *p = arg;

	if (p->events->refused)
		p->events->refused(p->arg, err);
}

/* While messages of the application fill the session, acknowledgements wait: what makes room wakes the loop.
 */
static int send_acks(struct wt_puller *p)
{
	int r;

	for (;;) {
		if (!p->ack_count)
			p->ack_count = wt_plan_acks(wt_mover_plan(p->mover), p->acks, WT_WIRE_RANGES_MAX);
		if (!p->ack_count)
			return 0;
		r = wt_link_send(&p->servers[0].link, WT_MESSAGE_LANDED, p->payload,
			wt_wire_landed_encode(p->acks, p->ack_count, p->payload));
		if (r)
			return r == -EAGAIN ? 0 : r;
		p->ack_count = 0;
	}
}

/* A helper that refuses what it should have is of no use. */
static void drop_refuser(struct wt_puller *p)
{
	unsigned number = wt_mover_refuser(p->mover);
	struct wt_error err = { 0 };

	if (!number || p->servers[number].link.failed)
		return;
	wt_error_set(&err, EACCES, "it refuses to let memory be read that it is said to have");
	wt_link_fail(&p->servers[number].link, &err);
}

static bool turn(void *arg, uint64_t now_ns)
{
	struct wt_puller *p = arg;
	struct wt_error err = { 0 };
	bool any;

	if (!p->started || p->servers[0].link.failed)
		return false;
	any = wt_mover_turn(p->mover, &err);
	any |= wt_puller_replica_turn(p);
	wt_puller_look_ahead(p);
	wt_puller_tell_lost(p);
	drop_refuser(p);
	if (!err.code && send_acks(p))
		wt_error_set(&err, ENOMEM, "no memory for a message to the server");
	if (!err.code)
		wt_puller_retarget_turn(p, now_ns);
	if (err.code) {
		wt_puller_fail(p, &err);
		return false;
	}
	if (!p->was_idle && wt_plan_idle(wt_mover_plan(p->mover))) {
		p->was_idle = true;
		if (p->events->landed)
			p->events->landed(p->arg);
	}
	any |= !wt_puller_replica_arm(p);
	return any || !wt_mover_arm(p->mover);
}

int wt_puller_open(struct wt_loop *loop, const struct wt_puller_config *config,
	const struct wt_puller_events *events, void *arg, struct wt_puller **ret_puller, uint16_t *ret_port,
	struct wt_error *err)
{
	struct wt_puller *p = calloc(1, sizeof *p);
	int r;

	if (!p || wt_mover_open(loop, &p->mover)) {
		free(p);
		return wt_error_set(err, ENOMEM, "no memory for a puller");
	}
	p->loop = loop;
	p->config = *config;
	p->config.fabrics = wt_path_choice(config->fabrics, config->credentials && !config->data_plain);
	p->events = events;
	p->arg = arg;
	for (unsigned i = 0; i < WT_PLAN_SERVERS; i++)
		wt_puller_server_init(p, i);
	r = wt_puller_listen(p, ret_port, err);
	if (r) {
		wt_mover_close(p->mover);
		free(p);
		return r;
	}
	wt_loop_busy_set(loop, &p->busy, turn, p);
	*ret_puller = p;
	return 0;
}

void wt_puller_close(struct wt_puller *p)
{
	if (!p)
		return;
	wt_loop_busy_clear(p->loop, &p->busy);
	wt_loop_timer_clear(p->loop, &p->drain);
	wt_loop_timer_clear(p->loop, &p->helpers);
	wt_puller_listen_end(p);
	wt_puller_replica_end(p);
	wt_mover_close(p->mover);
	for (unsigned i = 0; i < WT_PLAN_SERVERS; i++)
		wt_link_close(&p->servers[i].link);
	free(p);
}

bool wt_puller_unsent(const struct wt_puller *p)
{
	return p->servers[0].link.session && !p->failed && wt_session_owes_word(p->servers[0].link.session);
}

uint64_t wt_puller_next_seq(const struct wt_puller *p)
{
	return p->started ? wt_plan_next_seq(wt_mover_plan(p->mover)) : 0;
}

bool wt_puller_all_landed(const struct wt_puller *p)
{
	return p->started && wt_plan_idle(wt_mover_plan(p->mover));
}

int wt_puller_send(struct wt_puller *p, unsigned type, const void *payload, size_t length)
{
	if (type < WT_MESSAGE_APPLICATION || type > UINT16_MAX || length > WT_WIRE_PAYLOAD_MAX ||
		!p->servers[0].link.session)
		return -EINVAL;
	return wt_link_send(&p->servers[0].link, type, payload, length);
}

uint64_t wt_puller_heard_ns(const struct wt_puller *p)
{
	return p->servers[0].link.session ? wt_session_heard_ns(p->servers[0].link.session) : 0;
}

void wt_puller_stats(const struct wt_puller *p, struct wt_puller_stats *ret_stats)
{
	wt_mover_stats(p->mover, ret_stats);
	ret_stats->digested_pages = p->digested_pages;
	ret_stats->ahead_pages = p->ahead_pages;
	ret_stats->ahead_used = p->ahead_used;
	for (unsigned fabric = 0; fabric < WT_FABRIC_COUNT; fabric++) {
		ret_stats->pulled_bytes[fabric] += p->replica_bytes[fabric];
		ret_stats->replica_bytes += p->replica_bytes[fabric];
	}
	ret_stats->server_bytes[p->replica_number] += ret_stats->replica_bytes;
}
