/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_fabric.h - fabrics of a fuzzer, in place of path.c: who connects, what completes and with what, and
 * what fails, the harness says. Answers to wt_fabric_ops for verbs, tcp and tls. Checked: nothing is read
 * into memory that was not registered, or twice at once into the same, and operations are of a right shape.
 */
#ifndef WT_TEST_FAKE_FABRIC_H
#define WT_TEST_FAKE_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/path.h>

/* Numbers for failing.h. */
enum {
	FAKE_FAIL_ENDPOINT = 1,
	FAKE_FAIL_REGION,
	FAKE_FAIL_LISTENER,
	FAKE_FAIL_ADMIT,
	FAKE_FAIL_CONNECT,
	FAKE_FAIL_POST,
	FAKE_FAIL_COUNT,
};

/* Somebody connects to a listener (a number, whichever there are) and says this hello. tag: the harness's. */
void fake_request(unsigned listener, const uint8_t hello[WT_PATH_HELLO_BYTES], unsigned tag);
/* So many have come to each listener and were turned away. */
void fake_drop(unsigned count);
/* Of each path with this tag: the oldest operations are over, with this status; what they read is `fill`. */
void fake_complete(unsigned tag, unsigned count, int status, uint8_t fill);
/* From now on all operations complete at once, with `fill`. */
void fake_complete_always(unsigned tag, uint8_t fill);
/* Each path with this tag has failed. */
void fake_break(unsigned tag, int error);
/* The token for this session is asked for, as an encrypting fabric does. */
bool fake_find(const uint8_t id[WT_PATH_HELLO_ID_BYTES], uint8_t ret_hello[WT_PATH_HELLO_BYTES]);
/* Whether this memory may be offered to others: asked of each region that is served. */
typedef bool fake_may_serve(const void *base, size_t length);
void fake_serve_only(fake_may_serve *may_serve);
/* Objects that are open. */
unsigned fake_open_count(void);

#endif
