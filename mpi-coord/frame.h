/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame.h - what the ranks say to each other on their paths, besides writes and reads: the head of each
 * message, and the hello with which a path begins.
 *
 * Little-endian, fixed sizes. A DATA message is a head of 8 bytes and then the upper layer's bytes; every
 * other message is one struct wt_frame_word, behind which some kinds have bytes.
 */
#ifndef WATARI_MPI_FRAME_H
#define WATARI_MPI_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include <watari/path.h>

#define WT_FRAME_VERSION 3u
#define WT_FRAME_HEAD_BYTES 8u
#define WT_FRAME_DATA_MAX (WT_PATH_MESSAGE_MAX - WT_FRAME_HEAD_BYTES)

enum wt_frame_kind {
	WT_FRAME_INVALID = 0,
	WT_FRAME_DATA,     /* tag; bytes follow */
	WT_FRAME_GREET,    /* epoch of this end's attach; value: version */
	WT_FRAME_MARKER,   /* epoch; nothing follows before the next resume */
	WT_FRAME_GOODBYE,  /* this rank leaves */
	WT_FRAME_KEY_ASK,  /* id */
	WT_FRAME_KEY_TELL, /* id, key (its length 0: there is no such memory any more; with status 1: it has
			      none over this fabric), epoch: the attach in which it is good */
	WT_FRAME_ATOMIC,   /* id, address, tag: operation, value, other, bytes; cookie */
	WT_FRAME_DONE,     /* cookie of an atomic, write or read; value: what was there before an atomic;
			      status 1: there is no such memory, or not for this */
	WT_FRAME_READ,     /* id, address, value: how many bytes; cookie */
	WT_FRAME_WRITE,    /* id, address; other 1: the last piece; cookie; bytes follow */
	WT_FRAME_BYTES,    /* of a read: cookie, value: offset; other 1: the last piece; bytes follow */
	WT_FRAME_KINDS,
};

struct wt_frame_word {
	uint8_t kind; /* enum wt_frame_kind */
	uint8_t tag;
	uint8_t bytes; /* of an atomic: 4 or 8 */
	uint8_t status;
	uint32_t epoch;
	uint64_t id;
	uint64_t cookie;
	uint64_t address;
	uint64_t value;
	uint64_t other;
	struct wt_key key;
};
_Static_assert(sizeof(struct wt_frame_word) == 72, "wire format");

/* In the hello of a path. */
struct wt_frame_hello {
	uint32_t magic; /* "WTMP" */
	uint32_t version;
	uint32_t job; /* of the end that dials */
	uint32_t rank;
	uint64_t token; /* of the end that listens: who knows it belongs to the job */
	uint32_t epoch; /* of that end's attach: a dial from before it is late */
	uint32_t reserved[5];
};
_Static_assert(sizeof(struct wt_frame_hello) == WT_PATH_HELLO_BYTES, "wire format");
#define WT_FRAME_MAGIC 0x504d5457u

/* Writes the head of a DATA message. */
void wt_frame_data_encode(uint8_t tag, uint8_t head[WT_FRAME_HEAD_BYTES]);
/*
 * 0 and what a message is; -EPROTO for what nobody sends. For DATA only kind and tag are set. Bytes that
 * follow are behind WT_FRAME_HEAD_BYTES of it, of others behind the word.
 */
int wt_frame_decode(const void *message, size_t length, struct wt_frame_word *ret_word);
void wt_frame_encode(const struct wt_frame_word *word, struct wt_frame_word *ret_bytes);

void wt_frame_hello_encode(const struct wt_frame_hello *hello, uint8_t bytes[WT_PATH_HELLO_BYTES]);
/* -EPROTO: not ours. The version is the caller's to judge. */
int wt_frame_hello_decode(const uint8_t bytes[WT_PATH_HELLO_BYTES], struct wt_frame_hello *ret_hello);

#endif
