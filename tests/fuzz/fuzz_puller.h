/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_puller.h - what an input of fuzz_puller says: a byte of choices, then messages and events: type (its
 * high bit: of the second server), length (2 bytes), bytes. Types from EVENT_FIRST on are events, whose bytes
 * say how.
 */
#ifndef WT_TEST_FUZZ_PULLER_H
#define WT_TEST_FUZZ_PULLER_H

#include "fake_fabric.h"

enum {
	LISTS_BLOCKS = 1, /* a server does so by itself */
	HAS_REPLICA = 2,
	REPLICA_REMOTE = 4,
	REPLICA_IN_PLACE = 8,
	SEVERAL_HOSTS = 16, /* at which data is awaited, and over every fabric */
	BAD_HOST = 32,
	FEW_EVENTS = 64, /* the caller wants to know the least */
	STRANGERS = 128, /* nobody connects by himself */
};

#define SECOND 0x80

enum event {
	EVENT_FIRST = 112,
	EVENT_CONNECT = 112, /* how (enum how_connect) */
	EVENT_HANG_UP,
	EVENT_TIME,     /* hundredths of a second */
	EVENT_DATA,     /* listener; 0: with the right hello */
	EVENT_COMPLETE, /* how many; status; with what */
	EVENT_ALWAYS,   /* with what */
	EVENT_BREAK,    /* the data connections */
	EVENT_DROPPED,
	EVENT_CALL,    /* of the puller's API: which (enum call), server, block, page, pages */
	EVENT_FAIL,    /* which, how: see failing.h */
	EVENT_DIGESTS, /* seq, block, page, then for each page what is right (1: judging, 2: table) */
	EVENT_ANSWER,  /* tag, block, page, and the same */
	EVENT_FULL,    /* whether the channels' memory is out */
	EVENT_REFUSED, /* one who wanted to connect */
};

/* How a connection begins. */
enum how_connect {
	CONNECT_AGAIN = 1, /* goes on with the session */
	CONNECT_VERSION = 2,
	CONNECT_NAME = 4,
	CONNECT_MAGIC = 8,
	CONNECT_HALF = 16,
	CONNECT_SILENT = 32,
	CONNECT_OTHER = 64, /* of a session that nobody expects */
	CONNECT_CROWD = 128,
};

enum call {
	CALL_EXPECT = 0,
	CALL_NEED,
	CALL_HAS,
	CALL_BASE_END,
	CALL_RATE,
	CALL_NO_REPLICA,
	CALL_REPLICA,
	CALL_REPLICA_REMOTE,
	CALL_SEND,
	CALL_TELL_HELPER,
	CALL_ASK, /* those that only answer */
	CALL_FIND,
	CALL_COUNT,
};

/* Which calls fail, beside those of fake_fabric.h. */
enum {
	FAIL_CALLOC = FAKE_FAIL_COUNT,
	FAIL_MALLOC,
	FAIL_REALLOC,
	FAIL_REALLOCARRAY,
	FAIL_ALIGNED_ALLOC,
	FAIL_GETRANDOM,
	FAIL_EPOLL_CTL,
	FAIL_COUNT,
};

/* The byte of which all pages of replicas consist, and that the kernel's random numbers are. */
#define PAGE_FILL 7
#define RANDOM_FILL 0x42

#endif
