/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_replica_remote.c - an old copy on another host: asks it for digests of what was announced, and reads
 * what is alike into slots. See puller.h; puller_replica.c judges what came, and fills the pages.
 *
 *   1. The replica has the table key, and not the judging key. What it says under the table key only chooses
 * what is worth reading from it; nothing that came from it is content before it was digested here, in the
 * buffer from which the page is filled.
 *   2. It is no server of the plan: it has a session, paths and buffers of its own, and no page of the guest
 * is written by a read from it.
 *   3. Each slot that is ASKED or READING is owed by the replica. One that owes something and gives nothing
 * for QUIET_TURNS of the watch is given up, and so is one that owes the same slot for SLOT_TURNS, or that
 * cannot be read from WAIT_NS after a comparison began to wait for it. The server's pages never wait longer.
 *   4. Given up is for good: its paths are closed, what it owed is unequal, its session ends.
 *
 * The quiet time is counted in turns of a timer, so that a puller that was stopped itself does not blame the
 * replica. The loop's thread.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "puller_replica.h"

#define WATCH_NS 500000000ull
#define QUIET_TURNS 4u
#define SLOT_TURNS 10u
#define WAIT_NS 5000000000ull
#define REFUSALS_MAX 8u

_Static_assert(WT_PLAN_DIGESTED_PAGES <= WT_WIRE_ASK_PAGES_MAX, "one ask for a slot");

bool wt_puller_is_replica(const struct puller_server *s)
{
	const struct puller_replica *r = s->puller->replica;

	return s->number && r && r->number == s->number;
}

static void give_up(struct puller_replica *r, int code, const char *what)
{
	char text[sizeof r->label + sizeof((struct wt_error *)0)->text + 32];

	snprintf(text, sizeof text, "the replica %s %s", r->label, what);
	wt_compare_give_up(r, code, text);
}

static void slot_owes_nothing(struct puller_replica *r, struct slot *slot)
{
	if (slot->state == SLOT_ASKED || slot->state == SLOT_READING)
		wt_compare_unequal(r, slot);
}

void wt_compare_remote_stop(struct puller_replica *r, const struct wt_error *why)
{
	struct wt_puller *p = r->puller;
	struct puller_server *s = &p->servers[r->number];

	wt_loop_timer_clear(p->loop, &r->watch);
	wt_reader_close(r->reader);
	r->reader = NULL;
	for (unsigned i = 0; i < SLOTS; i++)
		slot_owes_nothing(r, &r->slots[i]);
	if (r->announced && !p->failed)
		wt_puller_tell_helper(p, r->number, WT_HELPER_LOST, wt_error_text(why));
	if (s->link.session) {
		wt_link_fail(&s->link, why); /* it is gone when that is told */
		return;
	}
	wt_puller_server_init(p, r->number);
	r->number = 0;
}

/* ---- asking ---- */

int wt_compare_ask(struct puller_replica *r, struct slot *slot, const struct comparison *of)
{
	struct wt_puller *p = r->puller;
	struct puller_server *s = &p->servers[r->number];
	struct wt_wire_ask ask = { .tag = of->seq, .extent = of->extent };

	if (p->phase != PULLER_PULLING)
		return -EAGAIN;
	if (!s->ready || !wt_reader_ready(r->reader)) {
		if (!r->due_ns)
			r->due_ns = wt_loop_now_ns(p->loop) + WAIT_NS;
		return -EAGAIN;
	}
	if (wt_link_send(&s->link, WT_MESSAGE_REPLICA_ASK, p->payload, wt_wire_ask_encode(&ask, p->payload)))
		return -EAGAIN;
	r->due_ns = 0;
	slot->state = SLOT_ASKED;
	slot->turns = 0;
	return 0;
}

/* Pages that seem to be the server's. Zeros are not worth a read, and may be a hole that is not served. */
static bool choose(struct puller_replica *r, struct slot *slot, const uint8_t *digests)
{
	static const uint8_t zero[WT_DIGEST_BYTES];
	const struct comparison *c = slot->of;
	bool any = false;

	memset(slot->alike, 0, sizeof slot->alike);
	for (uint32_t i = 0; i < c->extent.pages; i++) {
		const uint8_t *digest = digests + (size_t)i * WT_DIGEST_BYTES;

		if (memcmp(digest, c->theirs + ((size_t)i * r->keys + 1) * WT_DIGEST_BYTES,
			    WT_DIGEST_BYTES) != 0 ||
			!memcmp(digest, zero, sizeof zero))
			continue;
		slot->alike[i / 64] |= 1ull << (i % 64);
		any = true;
	}
	memcpy(slot->unread, slot->alike, sizeof slot->unread);
	return any;
}

int wt_puller_replica_answer(
	struct puller_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct puller_replica *r = s->puller->replica;
	struct wt_wire_answer answer;
	struct slot *slot = NULL;

	if (r->lost)
		return 0;
	if (wt_wire_answer_decode(payload, length, &answer) == 0)
		for (unsigned i = 0; i < SLOTS; i++)
			if (r->slots[i].state == SLOT_ASKED && r->slots[i].of->seq == answer.tag)
				slot = &r->slots[i];
	if (!slot || (answer.status == WT_WIRE_ANSWER_DIGESTS && answer.pages != slot->of->extent.pages))
		return wt_error_set(err, EPROTO, "it answered what it was not asked");
	r->quiet = 0;
	if (answer.status == WT_WIRE_ANSWER_UNREADABLE) {
		give_up(r, EIO, "cannot read its own copy any more");
		return 0;
	}
	if (answer.status == WT_WIRE_ANSWER_DIGESTS && choose(r, slot, answer.digests))
		slot->state = SLOT_READING;
	else
		wt_compare_unequal(r, slot);
	wt_compare_more(r);
	return 0;
}

/* ---- reading ---- */

/* Begins to read a run of what is unread; false: not now. */
static bool read_run(struct puller_replica *r, struct slot *slot)
{
	const struct wt_extent *extent = &slot->of->extent;
	uint32_t from = 0, to;
	struct wt_extent run = { .block = extent->block };
	int pages;

	while (from < extent->pages && !wt_slot_bit(slot->unread, from))
		from++;
	if (from == extent->pages)
		return false;
	for (to = from; to < extent->pages && wt_slot_bit(slot->unread, to);)
		to++;
	run.page = extent->page + from;
	run.pages = to - from;
	pages = wt_reader_read(
		r->reader, &run, wt_compare_bytes(r, slot) + ((size_t)from << WT_PAGE_SHIFT), slot->of->seq);
	for (uint32_t i = from; pages > 0 && i < from + (uint32_t)pages; i++)
		slot->unread[i / 64] &= ~(1ull << (i % 64));
	slot->reads += pages > 0;
	return pages > 0;
}

static struct slot *slot_of(struct puller_replica *r, uint64_t seq)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (r->slots[i].state == SLOT_READING && r->slots[i].of->seq == seq)
			return &r->slots[i];
	return NULL;
}

static bool all_read(const struct slot *slot)
{
	uint64_t left = 0;

	for (unsigned i = 0; i < WT_PLAN_DIGESTED_WORDS; i++)
		left |= slot->unread[i];
	return !slot->reads && !left;
}

/* The path lives, but not what it was asked for. */
static bool refusal(int status)
{
	return status == -EACCES || status == -ERANGE || status == -EFAULT;
}

static void take_read(struct puller_replica *r, const struct wt_reader_done *done)
{
	struct wt_puller *p = r->puller;
	struct slot *slot = slot_of(r, done->tag);

	assert(slot); /* it was read for */
	slot->reads--;
	if (done->status) {
		uint64_t from = done->extent.page - slot->of->extent.page;

		for (uint64_t i = from; i < from + done->extent.pages; i++)
			slot->unread[i / 64] |= 1ull << (i % 64);
		if (refusal(done->status) && ++r->refusals > REFUSALS_MAX)
			give_up(r, EACCES, "refuses to let memory be read that it has digested");
		return;
	}
	r->quiet = r->refusals = 0;
	p->replica_bytes[done->fabric] += (uint64_t)done->extent.pages << WT_PAGE_SHIFT;
	if (all_read(slot))
		wt_compare_judge(r, slot);
}

bool wt_puller_replica_turn(struct wt_puller *p)
{
	struct puller_replica *r = p->replica;
	struct wt_reader_done done;
	bool any = false;

	if (!r || !r->reader)
		return false;
	while (r->reader && wt_reader_next(r->reader, &done)) {
		take_read(r, &done);
		any = true;
	}
	if (!r->reader || p->phase != PULLER_PULLING)
		return any;
	for (unsigned i = 0; i < SLOTS; i++)
		while (r->slots[i].state == SLOT_READING && read_run(r, &r->slots[i]))
			any = true;
	wt_compare_more(r);
	return any;
}

bool wt_puller_replica_arm(struct wt_puller *p)
{
	return !p->replica || !p->replica->reader || wt_reader_arm(p->replica->reader);
}

/* ---- its regions and paths ---- */

/* It lies in its block. */
static bool region_fits(const struct wt_puller *p, const struct wt_wire_region *region)
{
	uint64_t length = region->block < p->blocks ? p->list[region->block].length : 0;

	return region->offset <= length && region->key.length <= length - region->offset;
}

int wt_puller_replica_region_add(struct wt_puller *p, const struct wt_wire_region *region)
{
	if (!p->replica->reader)
		return 0;
	return region_fits(p, region) ? wt_reader_region_add(p->replica->reader, region) : -EPROTO;
}

void wt_puller_replica_regions_clear(struct wt_puller *p, enum wt_fabric fabric)
{
	if (p->replica->reader)
		wt_reader_regions_clear(p->replica->reader, fabric);
}

unsigned wt_puller_replica_lost_fabrics(struct wt_puller *p)
{
	return p->replica->reader ? wt_reader_lost(p->replica->reader) : 0;
}

void wt_puller_replica_pause(struct wt_puller *p)
{
	if (p->replica && p->replica->reader)
		wt_reader_stop(p->replica->reader);
}

int wt_puller_replica_endpoint(struct wt_puller *p, const struct wt_fabric_ops *ops, const char *peer_host,
	struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	if (!p->replica->reader)
		return wt_error_set(err, ECONNABORTED, "the replica was given up");
	return wt_reader_endpoint(p->replica->reader, ops,
		ops->fabric == WT_FABRIC_VERBS ? p->config.device : NULL, peer_host, ret_endpoint, err);
}

int wt_puller_replica_path_add(struct wt_puller *p, const struct wt_fabric_ops *ops, struct wt_path *path)
{
	return wt_reader_path_add(p->replica->reader, ops, path);
}

/* ---- whether it is there ---- */

/* For how many turns it owes what it owes longest; 0: it owes nothing. */
static unsigned owes(struct puller_replica *r)
{
	unsigned longest = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &r->slots[i];

		if (slot->state != SLOT_ASKED && slot->state != SLOT_READING)
			continue;
		if (++slot->turns > longest)
			longest = slot->turns;
	}
	return longest;
}

/* Or nothing is pulled: then the replica is not to blame. */
static void owes_nothing(struct puller_replica *r)
{
	for (unsigned i = 0; i < SLOTS; i++)
		r->slots[i].turns = 0;
	r->quiet = 0;
}

static void watch(void *arg, uint64_t now_ns)
{
	struct puller_replica *r = arg;
	struct wt_puller *p = r->puller;
	unsigned turns;

	if (p->failed)
		return;
	wt_loop_timer_set(p->loop, &r->watch, now_ns + WATCH_NS, watch, r);
	turns = p->phase == PULLER_PULLING ? owes(r) : 0;
	if (!turns)
		owes_nothing(r);
	else if (++r->quiet == QUIET_TURNS)
		give_up(r, ETIMEDOUT, "has given nothing for 2 s");
	else if (turns == SLOT_TURNS)
		give_up(r, ETIMEDOUT, "is too slow: it has owed the same pages for 5 s");
	if (!r->lost && r->due_ns && now_ns >= r->due_ns)
		give_up(r, ETIMEDOUT,
			p->servers[r->number].ready ? "is here, and there is no data connection to it for 5 s"
						    : "has not come for 5 s");
}

void wt_puller_replica_joined(struct puller_server *s)
{
	struct wt_puller *p = s->puller;

	if (p->replica->announced)
		wt_puller_tell_helper(p, s->number, WT_HELPER_JOINED, p->replica->label);
	if (p->events->replica_joined)
		p->events->replica_joined(p->arg, p->replica->label);
}

void wt_puller_replica_gone(struct puller_server *s, const struct wt_error *err)
{
	struct wt_puller *p = s->puller;
	struct wt_error why = *err; /* it may lie in the server, which is emptied */
	char text[sizeof why.text + 16];

	snprintf(text, sizeof text, "is gone: %s", wt_error_text(&why));
	wt_link_close(&s->link);
	wt_puller_server_init(p, s->number);
	give_up(p->replica, why.code ? why.code : EIO, text);
	p->replica->number = 0;
}

void wt_puller_no_replica(struct wt_puller *p, const char *why)
{
	struct puller_replica *r = p->replica;

	if (r && r->reader && !p->failed && !p->servers[r->number].link.session)
		give_up(r, EHOSTUNREACH, why);
}

/* ---- opening ---- */

/* Opens all but the keys' way to whoever is to have them. */
static int open_remote(struct wt_puller *p, unsigned number, const uint8_t id[WT_SESSION_ID_BYTES],
	const char *label, struct wt_wire_digest_keys *ret_keys, struct wt_error *err)
{
	int e = wt_compare_open(p, 2, ret_keys, err);
	struct puller_replica *r = p->replica;

	if (e)
		return e;
	snprintf(r->label, sizeof r->label, "%s", label);
	if (wt_reader_open(p->loop, r->bytes, SLOTS * SLOT_BYTES, &r->reader))
		e = wt_error_set(err, ENOMEM, "no memory to read from a replica");
	else if (wt_puller_expect(p, number, id, label))
		e = wt_error_set(err, EINVAL, "no number is free for a replica among the servers");
	if (e) {
		wt_puller_replica_end(p);
		OPENSSL_cleanse(ret_keys, sizeof *ret_keys);
		return e;
	}
	r->number = p->replica_number = number;
	wt_loop_timer_set(p->loop, &r->watch, wt_loop_now_ns(p->loop) + WATCH_NS, watch, r);
	return 0;
}

/* Sources number the helpers that they send from the other end. 0: none. */
static unsigned lowest_free(const struct wt_puller *p)
{
	for (unsigned number = 1; number < WT_PLAN_SERVERS; number++)
		if (!p->servers[number].expected && !p->servers[number].link.session)
			return number;
	return 0;
}

int wt_puller_replica_remote(struct wt_puller *p, const char *label,
	uint8_t ret_session_id[WT_SERVER_SESSION_ID_BYTES], uint8_t ret_key[WT_DIGEST_KEY_BYTES],
	struct wt_error *err)
{
	uint8_t id[WT_SESSION_ID_BYTES];
	struct wt_wire_digest_keys keys = { 0 };
	int e;

	if (getrandom(id, sizeof id, 0) != sizeof id)
		return wt_error_set(err, EIO, "no random numbers from the kernel");
	e = open_remote(p, lowest_free(p), id, label, &keys, err);
	if (e)
		return e;
	memcpy(ret_session_id, id, sizeof id);
	memcpy(ret_key, keys.key[1], WT_DIGEST_KEY_BYTES);
	wt_compare_begin(p->replica, &keys);
	return 0;
}

void wt_puller_replica_expected(struct wt_puller *p)
{
	const struct wt_wire_expect *expect = &p->replica_expect;
	struct wt_wire_expected expected = { .server = expect->server, .port = p->port, .replica = true };
	struct wt_wire_digest_keys keys = { 0 };
	struct wt_error err = { 0 };

	if (!expect->server)
		return;
	if (p->replica)
		wt_error_set(&err, EEXIST, "this destination has a replica already");
	else
		open_remote(p, expect->server, expect->session_id, expect->label, &keys, &err);
	if (err.code) {
		wt_puller_tell_helper(p, expect->server, WT_HELPER_UNREACHABLE, wt_error_text(&err));
		return;
	}
	p->replica->announced = true;
	memcpy(expected.key, keys.key[1], sizeof expected.key);
	wt_compare_begin(p->replica, &keys);
	wt_link_must_send(&p->servers[0].link, WT_MESSAGE_EXPECTED, p->payload,
		wt_wire_expected_encode(&expected, p->payload));
	OPENSSL_cleanse(&expected, sizeof expected);
	OPENSSL_cleanse(p->payload, sizeof expected);
}
