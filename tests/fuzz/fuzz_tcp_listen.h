/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_tcp_listen.h - what an input of fuzz_tcp_listen says: a choice, with FAILS two bytes of which call
 * fails, then steps of two bytes each: what happens (its high bits: how), and whom it concerns.
 */
#ifndef WT_TEST_FUZZ_TCP_LISTEN_H
#define WT_TEST_FUZZ_TCP_LISTEN_H

enum {
	ENCRYPTS = 1,
	FAILS = 2,
	ANY_ADDRESS = 4,
	NOBODY_KNOWN = 8, /* the listener is told of no hello */
	DIALS = 16,       /* what listens is ours: the rest of the input are its bytes */
	RENEWS = 32,      /* its keys, when it dials */
};

enum step {
	STEP_DIAL = 0,
	STEP_CROWD, /* more of them than the listener keeps */
	STEP_GREET, /* how: a part of the greeting, or something else */
	STEP_SHAKE,
	STEP_HANG_UP,
	STEP_ACCEPT, /* how: refused, or to which end admitted */
	STEP_TIME,   /* whom: tenths of a second */
	STEP_DROPPED,
	STEP_COUNT,
};

#define STEP(what, how, whom) (uint8_t)((what) | (how) << 3), (uint8_t)(whom)

#endif
