/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_tcp.h - what the first byte of an input of fuzz_tcp says.
 */
#ifndef WT_TEST_FUZZ_TCP_H
#define WT_TEST_FUZZ_TCP_H

enum {
	SERVE = 0,
	PULL = 1,
	PEER = 2,
	END = 3, /* which of these: a mask */
	WORDS = 4,
	THROUGH_TLS = 8,
	FAILS = 16,
	PAST_TLS = 32, /* bytes, but not through TLS */
};

#endif
