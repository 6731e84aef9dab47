/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_restart.c - another destination is wanted, and the guest is stopped already: this migration is given
 * up, and the same job begins a new one.
 *
 *   1. The destination that is given up is told KEEP, which is an ABORT: its guest never runs. Its relay
 *      keeps what it has, stops pulling, and stays connected until it is released. For the new destination
 *      that is a replica: what is still right there is not pulled from here again.
 *   2. A new migration begins when the source QEMU has its guest again, with settings as they were, and
 *      outside of the loop: then no callback of what is closed is on the stack.
 *   3. Page servers of the time before, and the memory that they share, stay until the relay ends, as what
 *      they have said last must arrive. The new migration has a memory of its own: what was announced before
 *      counts for nothing.
 *   4. An answer of QEMU's that is still under way is that of the migration before: until `migrate` was
 *      answered anew, `migrating` is false, and none of them counts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "relay_peer.h"
#include "source_internal.h"

#define AGAIN_NS 5000000ull

/* The one that was given up last. */
static struct wt_source_target *kept(struct wt_source *source)
{
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++)
		if (source->change.machine.roles[i] == WT_TARGET_KEPT)
			return &source->change.targets[i];
	return NULL;
}

static unsigned number_of(const struct wt_source_target *target)
{
	return (unsigned)(target - target->source->change.targets);
}

/* It stops pulling as soon as it can be told: only then its memory can be served. */
static void try_drain(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;
	struct wt_source_target *target = kept(source);

	if (target && !target->drained && wt_server_drain(target->server) == -EAGAIN)
		wt_loop_timer_set(source->relay.loop, &source->change.drain,
			wt_loop_now_ns(source->relay.loop) + AGAIN_NS, try_drain, source);
}

void wt_source_keep(struct wt_source *source)
{
	static const char why[] = "the guest goes to another destination";
	struct wt_source_change *c = &source->change;

	for (unsigned i = 0; i < WT_TARGETS_MAX; i++) {
		uint8_t role = c->machine.roles[i];

		if (!c->targets[i].server || role == WT_TARGET_DROPPED || role == WT_TARGET_NEXT)
			continue;
		wt_server_send(c->targets[i].server, role == WT_TARGET_KEPT ? WT_RELAY_KEEP : WT_RELAY_ABORT,
			why, strlen(why));
	}
	try_drain(source, 0);
}

/* ---- what it has is an old copy for the new destination ---- */

void wt_source_kept_expect(struct wt_source_target *now)
{
	struct wt_source *source = now->source;
	struct wt_source_target *target = kept(source);
	char label[WT_TARGET_TEXT_MAX];

	/* Another destination, later on, is given what this one has. And where a unix socket leads is known
	 * on one host only. */
	if (!target || now != wt_source_current(source) || now->address.unix_path ||
		RAND_bytes(target->session_id, sizeof target->session_id) != 1)
		return;
	wt_server_expect_replica(now->server, wt_source_helper_number(source, number_of(target)),
		target->session_id, wt_target_text(&target->address, label));
}

/* It is told to serve as soon as it can, and it is known where. */
static void serve(struct wt_source_target *target)
{
	struct wt_source *source = target->source;
	struct wt_server_order order = { .host = wt_source_current(source)->address.host,
		.port = target->port,
		.name = source->options->common.name,
		.number = wt_source_helper_number(source, number_of(target)),
		.digest_key = target->digest_key };

	if (!target->drained || !target->port)
		return;
	memcpy(order.session_id, target->session_id, sizeof order.session_id);
	target->serves = order.number;
	target->port = 0;
	wt_server_serve(target->server, &order);
	OPENSSL_cleanse(target->digest_key, sizeof target->digest_key);
}

void wt_source_kept_drained(struct wt_source_target *target)
{
	target->drained = true;
	serve(target);
}

void wt_source_target_expected_replica(void *arg, unsigned number, uint16_t port, const uint8_t *digest_key)
{
	struct wt_source_target *now = arg, *target = kept(now->source);

	if (now != wt_source_current(now->source))
		return;
	if (!target || wt_source_helper_number(now->source, number_of(target)) != number) {
		wt_server_no_helper(now->server, number, "the source has lost it");
		return;
	}
	target->expected = true;
	target->port = port;
	memcpy(target->digest_key, digest_key, sizeof target->digest_key);
	serve(target);
}

/* ---- the new migration ---- */

/*
 * After an abort: QEMU as it was, and the guest runs on if it ran. It never had a chance to run elsewhere:
 * not by our migration, and if QEMU refused to begin that, whoever stopped the guest is none of our business.
 */
int wt_source_restore_qemu(struct wt_source *source, struct wt_error *err)
{
	json_t *status = NULL;
	const char *text;
	int r;

	if (source->before_known)
		wt_migration_settings_write(source->relay.qmp, &source->before, err);
	wt_error_clear(err);
	if (!source->facts.guest_running || !source->migrate_taken)
		return 0;
	r = wt_qmp_call(source->relay.qmp, "query-status", NULL, WT_RELAY_QMP_NS, &status, err);
	if (r)
		return r;
	text = json_string_value(json_object_get(status, "status"));
	if (text && (strcmp(text, "postmigrate") == 0 || strcmp(text, "finish-migrate") == 0))
		r = wt_qmp_call(source->relay.qmp, "cont", NULL, WT_RELAY_QMP_NS, NULL, err);
	json_decref(status);
	return r;
}

/* Closes what belongs to the migration that was given up. */
static void forget(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;

	wt_loop_timer_clear(source->relay.loop, &source->deadline);
	wt_loop_timer_clear(source->relay.loop, &source->patience);
	wt_source_rest_end(source);
	wt_outgoing_close(source->outgoing);
	source->outgoing = NULL;
	wt_relay_socket_close(&source->place);
	source->former[source->formers++] = source->memory;
	source->memory = NULL;
	free(source->served);
	source->served = NULL;
	wt_error_clear(&source->failure);
	source->start_ns = source->stop_ns = source->stop_event_ns = source->ram_end_ns = 0;
	source->ready_ns = source->commit_ns = source->end_ns = 0;
	memset(&source->rate, 0, sizeof source->rate);
	memset(&source->pace, 0, sizeof source->pace);
	memset(&source->said, 0, sizeof source->said);
	memset(&source->digest_gate, 0, sizeof source->digest_gate);
	memset(&source->downtime_goal, 0, sizeof source->downtime_goal);
	source->migrating = source->migrate_taken = source->shut_sent = source->before_known = false;
	c->drain_waits = c->handing = c->gated = c->machine.staged = false;
	c->report.base_left_bytes = 0;
	c->befell = WT_SOURCE_EV_TROUBLE;
}

/* The guest may have got other devices meanwhile. */
static int prepare(struct wt_source *source, struct wt_error *err)
{
	int r = wt_preflight_source(source->relay.qmp, source->relay.ram, source->options->shared_storage,
		NULL, &source->facts, err);

	return r ? r : wt_source_memory_open(source, err);
}

int wt_source_restart(struct wt_source *source, struct wt_error *err)
{
	struct wt_source_target *none = &source->change.targets[0];
	int r = wt_source_restore_qemu(source, err);

	if (!r)
		forget(source);
	wt_source_switch_init(&source->machine, source->options->keep_source);
	wt_source_change_event(source, WT_RETARGET_EV_AGAIN, none);
	if (!r)
		r = prepare(source, err);
	return r ? r : wt_source_begin(source, err);
}

/* The wish of the operator is over when the new migration has begun, or cannot begin. */
void wt_source_restart_report(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;
	enum wt_source_state state = source->machine.state;
	char text[WT_TARGET_TEXT_MAX + 64];

	if (!c->report.restarts || c->report.over)
		return;
	if (state == WT_SOURCE_STREAMING) {
		c->report.over = c->report.good = true;
		c->last.end_ns = wt_report_now_ns();
		snprintf(text, sizeof text, "a new migration has begun, to %s", c->to);
		wt_report_event(&source->relay.report, "retarget_restarted",
			json_pack("{s:i,s:s}", "number", (int)c->report.number, "to", c->to), text);
	} else if (state == WT_SOURCE_ABORTED || state == WT_SOURCE_LOST) {
		c->why = source->failure;
		c->report.over = true;
		c->report.text = c->why.text;
	}
}

void wt_source_restart_close(struct wt_source *source)
{
	for (unsigned i = 0; i < source->formers; i++)
		wt_memory_close(source->former[i]);
}
