/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.h - every byte that transport writes to a control connection: frames, messages, limits.
 *
 * All integers are little-endian. A connection begins with a hello from the side that connected and a welcome
 * (or a refusal) from the other; after that frames flow both ways. docs/PROTOCOL.md explains the order of
 * messages.
 *
 * Decoding never trusts: every function answers -EPROTO on anything that does not fit; what it was to fill is
 * then undefined. No I/O.
 */
#ifndef WT_WIRE_H
#define WT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/digest.h>
#include <watari/path.h>

#include "announce.h"
#include "memory_id.h"
#include "plan.h"

#define WT_WIRE_MAGIC 0x0149524154415700ull /* "\0WATARI\1" */
#define WT_WIRE_VERSION 4
#define WT_WIRE_FRAME_HEADER 24
#define WT_WIRE_PAYLOAD_MAX (1u << 20)
#define WT_WIRE_HELLO_BYTES 312
#define WT_WIRE_WELCOME_BYTES 304
#define WT_SESSION_ID_BYTES 16
#define WT_SESSION_NAME_MAX 255
#define WT_PATH_TOKEN_BYTES 32
#define WT_WIRE_REGION_BYTES 38
#define WT_WIRE_ANNOUNCEMENT_BYTES 28
#define WT_WIRE_ANNOUNCEMENTS_MAX 512     /* in one message */
#define WT_WIRE_RANGES_MAX 1024           /* in one message */
#define WT_WIRE_RING UINT32_MAX           /* "block" of a region that is the staging ring */
#define WT_WIRE_SERVERS 8                 /* of one puller: 0 announces, 1 to 7 are helpers */
#define WT_WIRE_PAGES_MAX (1u << 20)      /* that one BASE or MISSING speaks of */
#define WT_WIRE_ZERO_PAGES_MAX (1u << 14) /* the same, of kind zero: they are filled at once */
#define WT_WIRE_WORDS_MAX (WT_WIRE_PAGES_MAX / 64)
#define WT_WIRE_WANTED_MAX 1024    /* extents in one message */
#define WT_WIRE_DIGESTS_MAX 16384u /* pages in one message */
#define WT_WIRE_KEYS_MAX 2u        /* digests of one page */
#define WT_WIRE_ASK_PAGES_MAX 256  /* that one REPLICA_ASK speaks of */
#define WT_WIRE_TEXT_MAX 255       /* bytes of a host, label or reason in the messages below */

/* Frame types below 16 belong to the session and carry no number; from WT_MESSAGE_APPLICATION on to the user.
 */
enum wt_message {
	WT_MESSAGE_INVALID = 0,
	WT_MESSAGE_KEEPALIVE = 1,
	WT_MESSAGE_BYE = 2,    /* the sender has ended the session for good; text says why */
	WT_MESSAGE_BLOCK = 16, /* server -> puller: one block */
	WT_MESSAGE_BLOCKS_END = 17,
	WT_MESSAGE_READY = 18,         /* puller -> server: blocks fit; listeners of the fabrics, token */
	WT_MESSAGE_REGION = 19,        /* server -> puller: a key */
	WT_MESSAGE_REGIONS_CLEAR = 22, /* server -> puller: keys of this fabric (1 byte) are void */
	WT_MESSAGE_ANNOUNCE = 20,      /* server -> puller */
	WT_MESSAGE_LANDED = 21,        /* puller -> server */
	WT_MESSAGE_PATHS_LOST = 23, /* puller -> server: no path of this fabric is left, or to a listener */

	/* Several servers, and the change of the destination. An epoch is 4 bytes. */
	WT_MESSAGE_DRAIN = 24,     /* server -> puller: start nothing new, end; epoch 0: go on after all */
	WT_MESSAGE_MISSING = 25,   /* puller -> server: pages of the base that have not landed */
	WT_MESSAGE_DRAINED = 26,   /* puller -> server: epoch; nothing writes this memory any more */
	WT_MESSAGE_RESTART = 27,   /* server -> puller: epoch; announcements begin at 1 again */
	WT_MESSAGE_BASE = 28,      /* server -> puller: pages announced earlier, to somebody else */
	WT_MESSAGE_BASE_END = 29,  /* server -> puller */
	WT_MESSAGE_BASE_LEFT = 30, /* puller -> server: pages of the base that have not landed, 8 bytes */
	WT_MESSAGE_EXPECT = 31,    /* server -> puller: a helper will come */
	WT_MESSAGE_EXPECTED = 32,  /* puller -> server: it may come, to this port */
	WT_MESSAGE_SERVE = 33,     /* server -> drained puller: be a helper of that puller */
	WT_MESSAGE_SERVE_END = 34, /* server -> drained puller: the helper's number (1 byte) */
	WT_MESSAGE_HELPER = 35,    /* puller -> server: how it goes with a helper */
	WT_MESSAGE_WANT = 36,      /* puller -> server: announce these (again) */
	WT_MESSAGE_RELEASE = 37,   /* server -> drained puller: not needed any more */
	WT_MESSAGE_AHEAD = 43,     /* server -> puller: pages that are still to be announced, 8 bytes */

	/* Content that the puller may have already. */
	WT_MESSAGE_DIGEST_KEY = 38,     /* puller -> server: digest what is announced, with these keys */
	WT_MESSAGE_DIGESTS = 39,        /* server -> puller */
	WT_MESSAGE_REPLICA_ASK = 40,    /* puller -> replica: digest these pages of yours */
	WT_MESSAGE_REPLICA_ANSWER = 41, /* replica -> puller */

	WT_MESSAGE_APPLICATION = 64,
};

struct wt_hello {
	uint16_t version_min, version_max;
	uint8_t session_id[WT_SESSION_ID_BYTES];
	uint64_t received; /* the highest message number received in this session, 0: a new session */
	char name[WT_SESSION_NAME_MAX + 1]; /* the VM that the connector wants to deliver */
};

struct wt_welcome {
	uint16_t version; /* 0: refused, text says why */
	uint64_t received;
	char text[WT_SESSION_NAME_MAX + 1];
};

struct wt_frame {
	uint32_t length; /* payload bytes */
	uint16_t type;
	uint64_t number; /* 0: none */
	uint64_t ack;    /* highest number received from the other side */
};

void wt_wire_hello_encode(const struct wt_hello *hello, uint8_t ret_bytes[WT_WIRE_HELLO_BYTES]);
int wt_wire_hello_decode(const uint8_t bytes[WT_WIRE_HELLO_BYTES], struct wt_hello *ret_hello);
void wt_wire_welcome_encode(const struct wt_welcome *welcome, uint8_t ret_bytes[WT_WIRE_WELCOME_BYTES]);
int wt_wire_welcome_decode(const uint8_t bytes[WT_WIRE_WELCOME_BYTES], struct wt_welcome *ret_welcome);
void wt_wire_frame_encode(const struct wt_frame *frame, uint8_t ret_bytes[WT_WIRE_FRAME_HEADER]);
int wt_wire_frame_decode(const uint8_t bytes[WT_WIRE_FRAME_HEADER], struct wt_frame *ret_frame);

/* Payloads. Encoders answer the bytes written (buffers: WT_WIRE_PAYLOAD_MAX is enough for each). */
struct wt_wire_block {
	uint32_t block;
	uint64_t length;                    /* bytes */
	uint8_t memory[WT_MEMORY_ID_BYTES]; /* which memory it is, see memory_id.h; zeros: unknown */
	char name[WT_BLOCK_NAME_MAX + 1];
};

#define WT_WIRE_HOST_MAX 63
struct wt_wire_listener {
	enum wt_fabric fabric;
	uint16_t port;
	char host[WT_WIRE_HOST_MAX + 1]; /* numeric address; "" : the one that the control connection uses */
};

#define WT_WIRE_LISTENERS_MAX 4
struct wt_wire_ready {
	uint8_t token[WT_PATH_TOKEN_BYTES];
	unsigned listeners; /* several of one fabric: addresses, perhaps of several devices */
	struct wt_wire_listener listener[WT_WIRE_LISTENERS_MAX];
};

struct wt_wire_region {
	uint32_t block;  /* or WT_WIRE_RING */
	uint64_t offset; /* of the region's first byte in the block */
	enum wt_fabric fabric;
	struct wt_key key;
};

/* Consecutive pages of a block: all of them, or those whose bit is set in words that go with it. Bit 0 of the
 * first word is the first page; with bits, extent.page is a multiple of 64.
 */
struct wt_wire_pages {
	struct wt_extent extent;
	bool all;
};

enum wt_wire_base_kind {
	WT_WIRE_BASE_INVALID = 0,
	WT_WIRE_BASE_NEED = 1, /* the puller needs them */
	WT_WIRE_BASE_HAS = 2,  /* this helper has them, as they were announced last */
	WT_WIRE_BASE_ZERO = 3, /* they are zero */
};

struct wt_wire_base {
	enum wt_wire_base_kind kind;
	uint8_t server; /* HAS: the helper; otherwise 0 */
	struct wt_wire_pages pages;
};

struct wt_wire_base_end {
	uint8_t policy;      /* enum wt_plan_policy: 1 fastest, 2 spare the announcer */
	uint64_t rate_limit; /* bytes per second of base read from server 0; 0: none */
};

struct wt_wire_expect {
	uint8_t server; /* 1 to 7 */
	uint8_t session_id[WT_SESSION_ID_BYTES];
	bool replica;
	char label[WT_WIRE_TEXT_MAX + 1]; /* the helper's name for people */
};

struct wt_wire_expected {
	uint8_t server;
	uint16_t port; /* of the puller's control listener */
	bool replica;
	uint8_t key[WT_DIGEST_KEY_BYTES]; /* of a replica */
};

struct wt_wire_serve {
	char host[WT_WIRE_TEXT_MAX + 1]; /* of the puller */
	uint16_t port;
	char name[WT_SESSION_NAME_MAX + 1]; /* of the VM, as that puller expects it */
	uint8_t session_id[WT_SESSION_ID_BYTES];
	uint8_t server; /* what this helper's number is there */
	uint32_t epoch; /* of the drain since when the memory has not changed */
	bool replica;
	uint8_t key[WT_DIGEST_KEY_BYTES]; /* of a replica */
};

enum wt_wire_helper_state {
	WT_WIRE_HELPER_INVALID = 0,
	WT_WIRE_HELPER_JOINED = 1,
	WT_WIRE_HELPER_LOST = 2, /* was there, and is not any more */
	WT_WIRE_HELPER_UNREACHABLE = 3,
};

struct wt_wire_helper {
	uint8_t server;
	enum wt_wire_helper_state state;
	char text[WT_WIRE_TEXT_MAX + 1];
};

size_t wt_wire_block_encode(const struct wt_wire_block *block, uint8_t *ret_bytes);
int wt_wire_block_decode(const uint8_t *bytes, size_t length, struct wt_wire_block *ret_block);
size_t wt_wire_ready_encode(const struct wt_wire_ready *ready, uint8_t *ret_bytes);
int wt_wire_ready_decode(const uint8_t *bytes, size_t length, struct wt_wire_ready *ret_ready);
size_t wt_wire_region_encode(const struct wt_wire_region *region, uint8_t *ret_bytes);
int wt_wire_region_decode(const uint8_t *bytes, size_t length, struct wt_wire_region *ret_region);

/* ANNOUNCE: consecutive numbers from first_seq on. */
size_t wt_wire_announce_encode(
	uint64_t first_seq, const struct wt_announcement *list, unsigned count, uint8_t *ret_bytes);
int wt_wire_announce_decode(const uint8_t *bytes, size_t length, uint64_t *ret_first_seq,
	struct wt_announcement ret_list[WT_WIRE_ANNOUNCEMENTS_MAX], unsigned *ret_count);
size_t wt_wire_landed_encode(const struct wt_seq_range *ranges, unsigned count, uint8_t *ret_bytes);
int wt_wire_landed_decode(const uint8_t *bytes, size_t length,
	struct wt_seq_range ret_ranges[WT_WIRE_RANGES_MAX], unsigned *ret_count);

size_t wt_wire_epoch_encode(uint32_t epoch, uint8_t *ret_bytes); /* DRAIN, DRAINED, RESTART */
int wt_wire_epoch_decode(const uint8_t *bytes, size_t length, uint32_t *ret_epoch);
/* words: (extent.pages + 63) / 64 of them, bits behind the last page 0; not looked at if all is set. */
size_t wt_wire_missing_encode(const struct wt_wire_pages *pages, const uint64_t *words, uint8_t *ret_bytes);
int wt_wire_missing_decode(const uint8_t *bytes, size_t length, struct wt_wire_pages *ret_pages,
	uint64_t ret_words[WT_WIRE_WORDS_MAX]);
size_t wt_wire_base_encode(const struct wt_wire_base *base, const uint64_t *words, uint8_t *ret_bytes);
int wt_wire_base_decode(const uint8_t *bytes, size_t length, struct wt_wire_base *ret_base,
	uint64_t ret_words[WT_WIRE_WORDS_MAX]);
size_t wt_wire_base_end_encode(const struct wt_wire_base_end *end, uint8_t *ret_bytes);
int wt_wire_base_end_decode(const uint8_t *bytes, size_t length, struct wt_wire_base_end *ret_end);
size_t wt_wire_base_left_encode(uint64_t pages, uint8_t *ret_bytes); /* AHEAD, too */
int wt_wire_base_left_decode(const uint8_t *bytes, size_t length, uint64_t *ret_pages);
size_t wt_wire_expect_encode(const struct wt_wire_expect *expect, uint8_t *ret_bytes);
int wt_wire_expect_decode(const uint8_t *bytes, size_t length, struct wt_wire_expect *ret_expect);
size_t wt_wire_expected_encode(const struct wt_wire_expected *expected, uint8_t *ret_bytes);
int wt_wire_expected_decode(const uint8_t *bytes, size_t length, struct wt_wire_expected *ret_expected);
size_t wt_wire_serve_encode(const struct wt_wire_serve *serve, uint8_t *ret_bytes);
int wt_wire_serve_decode(const uint8_t *bytes, size_t length, struct wt_wire_serve *ret_serve);
size_t wt_wire_serve_end_encode(uint8_t server, uint8_t *ret_bytes);
int wt_wire_serve_end_decode(const uint8_t *bytes, size_t length, uint8_t *ret_server);
size_t wt_wire_helper_encode(const struct wt_wire_helper *helper, uint8_t *ret_bytes);
int wt_wire_helper_decode(const uint8_t *bytes, size_t length, struct wt_wire_helper *ret_helper);
size_t wt_wire_want_encode(
	enum wt_priority priority, const struct wt_extent *list, unsigned count, uint8_t *ret_bytes);
int wt_wire_want_decode(const uint8_t *bytes, size_t length, enum wt_priority *ret_priority,
	struct wt_extent ret_list[WT_WIRE_WANTED_MAX], unsigned *ret_count);

/*
 * keys of DIGEST_KEY: 1, or 2 if the copy is a replica's. First comes the judging key, then the table key,
 * which the replica has, too.
 */
struct wt_wire_digest_keys {
	unsigned count;
	uint8_t key[WT_WIRE_KEYS_MAX][WT_DIGEST_KEY_BYTES];
};

/* DIGESTS: for each page of digested announcements, from first_seq on and each in whole, WT_DIGEST_BYTES
 * under each key. */
struct wt_wire_digests {
	uint64_t first_seq;
	unsigned keys, pages;
	const uint8_t *digests; /* the decoder's lie in its `bytes` */
};

struct wt_wire_ask {
	uint64_t tag; /* that the answer repeats */
	struct wt_extent extent;
};

enum wt_wire_answer_status {
	WT_WIRE_ANSWER_INVALID = 0,
	WT_WIRE_ANSWER_DIGESTS = 1,
	WT_WIRE_ANSWER_UNREADABLE = 2, /* the copy cannot be read; pages is 0 */
	WT_WIRE_ANSWER_NONE = 3,       /* there is no copy of this block; pages is 0 */
};

struct wt_wire_answer {
	uint64_t tag;
	enum wt_wire_answer_status status;
	unsigned pages;
	const uint8_t *digests; /* WT_DIGEST_BYTES for each page; the decoder's lie in its `bytes` */
};

size_t wt_wire_digest_keys_encode(const struct wt_wire_digest_keys *keys, uint8_t *ret_bytes);
int wt_wire_digest_keys_decode(const uint8_t *bytes, size_t length, struct wt_wire_digest_keys *ret_keys);
size_t wt_wire_digests_encode(const struct wt_wire_digests *digests, uint8_t *ret_bytes);
int wt_wire_digests_decode(const uint8_t *bytes, size_t length, struct wt_wire_digests *ret_digests);
size_t wt_wire_ask_encode(const struct wt_wire_ask *ask, uint8_t *ret_bytes);
int wt_wire_ask_decode(const uint8_t *bytes, size_t length, struct wt_wire_ask *ret_ask);
size_t wt_wire_answer_encode(const struct wt_wire_answer *answer, uint8_t *ret_bytes);
int wt_wire_answer_decode(const uint8_t *bytes, size_t length, struct wt_wire_answer *ret_answer);

/* The path hello: which session, with its secret. */
void wt_wire_path_hello_encode(const uint8_t session_id[WT_SESSION_ID_BYTES],
	const uint8_t token[WT_PATH_TOKEN_BYTES], uint8_t ret_bytes[WT_PATH_HELLO_BYTES]);

#endif
