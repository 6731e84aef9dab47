/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire_digest.c - encode and decode, pair by pair: what the puller, or a replica, may have already. See
 * wire.h.
 */
#include "wire_cursor.h"

_Static_assert(WT_WIRE_DIGESTS_MAX *WT_WIRE_KEYS_MAX *WT_DIGEST_BYTES + 13 <= WT_WIRE_PAYLOAD_MAX, "payload");

size_t wt_wire_digest_keys_encode(const struct wt_wire_digest_keys *keys, uint8_t *ret_bytes)
{
	return put_bytes(put(ret_bytes, keys->count, 1), keys->key, keys->count * sizeof keys->key[0]) -
	       ret_bytes;
}

int wt_wire_digest_keys_decode(const uint8_t *bytes, size_t length, struct wt_wire_digest_keys *ret_keys)
{
	struct cursor c = { bytes, length, false };

	*ret_keys = (struct wt_wire_digest_keys){ .count = (unsigned)get(&c, 1) };
	if (!ret_keys->count || ret_keys->count > WT_WIRE_KEYS_MAX)
		return -EPROTO;
	get_bytes(&c, ret_keys->key, ret_keys->count * sizeof ret_keys->key[0]);
	return finish(&c);
}

size_t wt_wire_digests_encode(const struct wt_wire_digests *digests, uint8_t *ret_bytes)
{
	uint8_t *at = put(put(ret_bytes, digests->first_seq, 8), digests->pages, 4);

	at = put(at, digests->keys, 1);
	return put_bytes(at, digests->digests, (size_t)digests->pages * digests->keys * WT_DIGEST_BYTES) -
	       ret_bytes;
}

int wt_wire_digests_decode(const uint8_t *bytes, size_t length, struct wt_wire_digests *ret_digests)
{
	struct cursor c = { bytes, length, false };

	ret_digests->first_seq = get(&c, 8);
	ret_digests->pages = (unsigned)get(&c, 4);
	ret_digests->keys = (unsigned)get(&c, 1);
	ret_digests->digests = c.at;
	if (!ret_digests->pages || ret_digests->pages > WT_WIRE_DIGESTS_MAX || !ret_digests->keys ||
		ret_digests->keys > WT_WIRE_KEYS_MAX)
		return -EPROTO;
	return c.bad || c.left != (size_t)ret_digests->pages * ret_digests->keys * WT_DIGEST_BYTES ? -EPROTO
												   : 0;
}

size_t wt_wire_ask_encode(const struct wt_wire_ask *ask, uint8_t *ret_bytes)
{
	return put_extent(put(ret_bytes, ask->tag, 8), &ask->extent) - ret_bytes;
}

int wt_wire_ask_decode(const uint8_t *bytes, size_t length, struct wt_wire_ask *ret_ask)
{
	struct cursor c = { bytes, length, false };

	ret_ask->tag = get(&c, 8);
	get_extent(&c, &ret_ask->extent);
	c.bad |= ret_ask->extent.pages > WT_WIRE_ASK_PAGES_MAX;
	return finish(&c);
}

size_t wt_wire_answer_encode(const struct wt_wire_answer *answer, uint8_t *ret_bytes)
{
	uint8_t *at = put(put(put(ret_bytes, answer->tag, 8), answer->status, 1), answer->pages, 4);

	return put_bytes(at, answer->digests, (size_t)answer->pages * WT_DIGEST_BYTES) - ret_bytes;
}

int wt_wire_answer_decode(const uint8_t *bytes, size_t length, struct wt_wire_answer *ret_answer)
{
	struct cursor c = { bytes, length, false };

	ret_answer->tag = get(&c, 8);
	ret_answer->status = (enum wt_wire_answer_status)get(&c, 1);
	ret_answer->pages = (unsigned)get(&c, 4);
	ret_answer->digests = c.at;
	if (c.bad || ret_answer->pages > WT_WIRE_ASK_PAGES_MAX ||
		c.left != (size_t)ret_answer->pages * WT_DIGEST_BYTES)
		return -EPROTO;
	if (ret_answer->status == WT_WIRE_ANSWER_DIGESTS)
		return ret_answer->pages ? 0 : -EPROTO;
	return ret_answer->status && ret_answer->status <= WT_WIRE_ANSWER_NONE && !ret_answer->pages
		       ? 0
		       : -EPROTO;
}
