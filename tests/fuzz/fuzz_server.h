/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_server.h - what an input of fuzz_server says: a byte of choices, then messages and events: type (its
 * high bit: to the second server), length (2 bytes), bytes. Types from EVENT_FIRST on are events, whose bytes
 * say how.
 */
#ifndef WT_TEST_FUZZ_SERVER_H
#define WT_TEST_FUZZ_SERVER_H

#include "fake_fabric.h"

enum {
	PASSIVE = 1,
	REPLICA = 2, /* which is passive, too */
	MAY_DISCARD = 4,
	EVERY_FABRIC = 8,
	FEW_EVENTS = 16,      /* the caller wants to know the least */
	EXPECTS_REPLICA = 32, /* the puller shall */
	RATE_LIMITED = 64,
	SILENT = 128, /* the puller says nothing by itself: no welcome, and not that it is ready */
};

#define SECOND 0x80

enum event {
	EVENT_FIRST = 112,
	EVENT_CONNECT = 112, /* the server's connection is there, and is welcome; how (enum how_welcome) */
	EVENT_HANG_UP,
	EVENT_TIME,    /* hundredths of a second */
	EVENT_READY,   /* which fabrics, as WT_FABRIC_BIT()s; how many of each */
	EVENT_LANDED,  /* what is pending, but for so many */
	EVENT_DRAINED, /* with the number that was told */
	EVENT_BREAK,   /* the data connections */
	EVENT_CALL,    /* of the server's API: which (enum call), how, block, page, pages */
	EVENT_FAIL,    /* which, how: see failing.h */
	EVENT_FULL,    /* whether the channels' memory is out */
	EVENT_REFUSE,  /* whether connecting is refused */
	EVENT_LAST,
};

/* How a connection is answered. */
enum how_welcome {
	WELCOME_REFUSED = 1,
	WELCOME_VERSION = 2,
	WELCOME_MAGIC = 4,
	WELCOME_LOST = 8, /* nothing was received of what was sent */
	WELCOME_NOT = 16,
};

enum call {
	CALL_ANNOUNCE = 0,
	CALL_ANNOUNCE_ZERO,
	CALL_ANNOUNCE_COPY,
	CALL_FLUSH,
	CALL_WARM,
	CALL_NO_DIGESTS,
	CALL_DEFER,
	CALL_FINAL,
	CALL_RATE,
	CALL_SEND,
	CALL_DRAIN,
	CALL_UNDRAIN,
	CALL_LEAVE,
	CALL_BASE,
	CALL_HAND_OVER,
	CALL_AHEAD,
	CALL_RESTART,
	CALL_EXPECT,
	CALL_NO_HELPER,
	CALL_SERVE,
	CALL_SERVE_END,
	CALL_RELEASE,
	CALL_ASK, /* those that only answer */
	CALL_COUNT,
};

/* Which calls fail, beside those of fake_fabric.h. */
enum {
	FAIL_CALLOC = FAKE_FAIL_COUNT,
	FAIL_MALLOC,
	FAIL_REALLOC,
	FAIL_REALLOCARRAY,
	FAIL_GETRANDOM,
	FAIL_EPOLL_CTL,
	FAIL_PREAD,
	FAIL_MMAP,
	FAIL_COUNT,
};

/* Blocks: "a" is memory, "b" a file, "c" nothing that is here; of 64 pages each. */
#define BLOCKS 3u
#define BLOCK_PAGES 64u

#endif
