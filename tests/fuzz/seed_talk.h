/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seed_talk.h - what the seeds of fuzz_puller and fuzz_server share: an input that is put together of
 * messages and events. To be included after failing.h and the fuzzer's own header, whose EVENT_FAIL and
 * FAIL_COUNT it uses.
 */
#ifndef WT_TEST_SEED_TALK_H
#define WT_TEST_SEED_TALK_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "seed_file.h"
#include "wire.h"

static uint8_t talk[1u << 16], payload[WT_WIRE_PAYLOAD_MAX];
static size_t talked;

static inline void say(unsigned type, size_t length)
{
	talk[talked++] = (uint8_t)type;
	talk[talked++] = (uint8_t)length;
	talk[talked++] = (uint8_t)(length >> 8);
	memcpy(talk + talked, payload, length);
	talked += length;
}

/* happen(SERVER | EVENT, HOW...) */
#define happen(event, ...) \
	happen_list(event, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static inline void happen_list(unsigned event, const uint8_t *how, size_t length)
{
	memcpy(payload, how, length);
	say(event, length);
}

static inline void end(const char *name, int choice)
{
	seed_bytes(name, choice, talk, talked);
	talked = 0;
}

/* The same; and with each call failing from there on, once: the first, the second, ... of so many, and
 * several in a row. Up to `good` it goes well. */
static inline void end_failing_calls(const char *name, int choice, size_t good, unsigned calls)
{
	static uint8_t whole[sizeof talk];
	size_t length = talked;
	char file[64];

	memcpy(whole, talk, length);
	end(name, choice);
	for (unsigned which = 1; which < FAIL_COUNT; which++)
		for (unsigned nth = 0; nth <= calls; nth++) {
			memcpy(talk, whole, good);
			talked = good;
			happen(EVENT_FAIL, (uint8_t)which, (uint8_t)(nth < calls ? nth : FAILING_LONG));
			memcpy(talk + talked, whole + good, length - good);
			talked += length - good;
			snprintf(file, sizeof file, "%s_%u_%u", name, which, nth);
			end(file, choice);
		}
}

#endif
