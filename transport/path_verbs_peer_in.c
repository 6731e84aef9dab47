/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs_peer_in.c - the receiving half of a path of peers over verbs.
 *
 * Owns the ring `in` and the receives.
 *   1. Every receive has a place for a word or a short message. What is in the ring uses a receive up, too. A
 *      receive is posted anew once its completion was seen, that of a short message once this was freed, and
 *      always before the peer is told: so the peer has a receive for each message and word that it may send.
 *   2. A message is handed out where it lies. It is the peer's to overwrite only when it was freed, which is
 *      in the next poll, and the peer was told so.
 *   3. freed <= got, and got - freed is at most what the ring and the depth allow: a peer that sends more,
 *      or a word of a wrong shape, fails the path (EPROTO).
 *   4. Immediate data and words are the peer's and are checked. Bytes in the ring are handed on as they are.
 */
#include "path_verbs_peer.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <arpa/inet.h>

#define POLL_BATCH 16u
#define RECEIVE (1ull << 32) /* in the id of a receive, beside its place */

static uint8_t *place_in(const struct wt_verbs_peer *peer, unsigned slot)
{
	return peer->places_in + (size_t)slot * WT_VERBS_SHORT_MAX;
}

static bool receives_post(struct wt_path *path)
{
	struct ibv_recv_wr works[POLL_BATCH];
	struct ibv_sge pieces[POLL_BATCH];
	struct wt_verbs_peer *peer = path->peer;
	struct ibv_recv_wr *bad;
	unsigned n = 0;
	int code = 0;

	while (peer->receives_count && !code) {
		unsigned slot = peer->receives[--peer->receives_count];

		pieces[n] = (struct ibv_sge){ .addr = (uintptr_t)place_in(peer, slot),
			.length = WT_VERBS_SHORT_MAX,
			.lkey = peer->mr->lkey };
		works[n] =
			(struct ibv_recv_wr){ .wr_id = RECEIVE | slot, .sg_list = &pieces[n], .num_sge = 1 };
		if (n)
			works[n - 1].next = &works[n];
		if (++n < POLL_BATCH && peer->receives_count)
			continue;
		code = ibv_post_recv(path->cm.id->qp, works, &bad);
		n = 0;
	}
	if (code)
		wt_verbs_fail(path, code);
	return !code;
}

int wt_verbs_peer_listen(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;

	while (peer->receives_count < peer->receives_max) {
		peer->receives[peer->receives_count] = peer->receives_count;
		peer->receives_count++;
	}
	return receives_post(path) ? 0 : -path->error;
}

int wt_verbs_peer_open(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;

	return wt_verbs_peer_say(path, WT_VERBS_WORD_OPENING, peer->in_mr->rkey, (uintptr_t)peer->in)
		       ? 0
		       : -path->error;
}

/* Answers false for what breaks the rules. */
static bool opening(struct wt_path *path, uint32_t key, uint64_t address)
{
	struct wt_verbs_peer *peer = path->peer;

	if (peer->opened)
		return false;
	peer->ring_key = key;
	peer->ring_address = address;
	peer->opened = true;
	/* Who has dialled has said it already. */
	return path->dialled || path->error || wt_verbs_peer_open(path) == 0;
}

static bool freed(struct wt_verbs_peer *peer, uint32_t messages, uint32_t bytes)
{
	if (messages - peer->sent_freed.messages > peer->sent.messages - peer->sent_freed.messages ||
		bytes - peer->sent_freed.bytes > peer->sent.bytes - peer->sent_freed.bytes)
		return false;
	peer->sent_freed = (struct wt_verbs_mark){ messages, bytes };
	return true;
}

static bool word_heard(struct wt_path *path, const struct wt_verbs_word *word, uint32_t length)
{
	if (length != sizeof *word || le16toh(word->version) != WT_VERBS_WORD_VERSION)
		return false;
	switch (le16toh(word->kind)) {
	case WT_VERBS_WORD_OPENING:
		return opening(path, le32toh(word->number), le64toh(word->value));
	case WT_VERBS_WORD_FREED:
		return freed(path->peer, le32toh(word->number), (uint32_t)le64toh(word->value));
	default:
		return false;
	}
}

/* place: of a short message; NULL: it is in the ring. */
static bool message_heard(
	struct wt_path *path, uint32_t length, uint8_t *place, struct wt_completion *ret_completion)
{
	struct wt_verbs_peer *peer = path->peer;
	struct wt_verbs_mark after = peer->got;
	uint32_t at;

	if (length - 1 >= WT_PATH_MESSAGE_MAX || !place == (length <= WT_VERBS_SHORT_MAX))
		return false;
	at = wt_verbs_peer_place(&after, length);
	if (after.messages - peer->told.messages > path->depth ||
		after.bytes - peer->told.bytes > WT_VERBS_RING_BYTES)
		return false;
	peer->got = after;
	*ret_completion =
		(struct wt_completion){ .length = length, .message = place ? place : peer->in + at };
	return true;
}

/* One completion of the device; answers 1 for a message. */
static unsigned heard(struct wt_path *path, const struct ibv_wc *wc, struct wt_completion *ret_completion)
{
	struct wt_verbs_peer *peer = path->peer;
	unsigned slot = (uint32_t)wc->wr_id;
	bool ring = wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM;
	bool word = !ring && wc->wc_flags & IBV_WC_WITH_IMM;
	bool good;

	if (!(wc->wr_id & RECEIVE)) {
		wt_verbs_peer_worked(path, wc);
		return 0;
	}
	if (wc->status != IBV_WC_SUCCESS) {
		wt_verbs_fail(path, -wt_verbs_status(wc->status));
		return 0;
	}
	if (word)
		good = word_heard(path, (const struct wt_verbs_word *)place_in(peer, slot), wc->byte_len);
	else if (ring)
		good = message_heard(path, ntohl(wc->imm_data), NULL, ret_completion);
	else
		good = message_heard(path, wc->byte_len, place_in(peer, slot), ret_completion);
	if (good && !word && !ring)
		peer->lent[peer->lent_count++] = slot;
	else
		peer->receives[peer->receives_count++] = slot;
	if (!good)
		wt_verbs_fail(path, EPROTO);
	return good && !word;
}

unsigned wt_verbs_peer_take(
	struct wt_path *path, struct wt_completion *ret_completions, unsigned max, bool *ret_more)
{
	int asked = (int)(max < POLL_BATCH ? max : POLL_BATCH);
	struct wt_verbs_peer *peer = path->peer;
	struct ibv_wc wc[POLL_BATCH];
	unsigned messages = 0;
	int n = ibv_poll_cq(path->cq, asked, wc);
	int i;

	for (i = 0; i < n; i++)
		messages += heard(path, &wc[i], &ret_completions[messages]);
	if (n < 0) {
		wt_verbs_fail(path, EIO);
		wt_verbs_cut(path);
	}
	if (peer->receives_count && !path->error)
		receives_post(path);
	*ret_more = n == asked;
	return messages;
}

void wt_verbs_peer_free(struct wt_verbs_peer *peer)
{
	peer->freed = peer->got;
	while (peer->lent_count)
		peer->receives[peer->receives_count++] = peer->lent[--peer->lent_count];
}

void wt_verbs_peer_tell(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;
	uint32_t messages = peer->freed.messages - peer->told.messages;
	uint32_t bytes = peer->freed.bytes - peer->told.bytes;

	if (!messages || peer->receives_count ||
		(messages < path->depth / 4 && bytes < WT_VERBS_RING_BYTES / 4))
		return;
	if (wt_verbs_peer_say(path, WT_VERBS_WORD_FREED, peer->freed.messages, peer->freed.bytes))
		peer->told = peer->freed;
}
