/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_tcp_listen_seeds.c - writes the seed corpus of fuzz_tcp_listen: who comes in as he should, each way to
 * do it wrong, and each call failing on the way.
 */
#include <stdint.h>

#include "failing.h"
#include "fuzz_tcp_listen.h"
#include "seed_file.h"
#include "tcp_failing.h"

/* Of a greeting. */
#define HALF 0
#define WHOLE 1
#define MAGIC 3
#define VERSION 5
#define PAST_TLS 8

#define COME_IN(whom)                                                                 \
	STEP(STEP_DIAL, 0, whom), STEP(STEP_SHAKE, 0, whom), STEP(STEP_ACCEPT, 1, 0), \
		STEP(STEP_SHAKE, 0, whom), STEP(STEP_GREET, WHOLE, whom)

static const uint8_t good[] = { COME_IN(0), STEP(STEP_ACCEPT, 1, 0) };

/* Each call fails once, in each way. */
static void write_failing(int choice, const uint8_t *bytes, size_t length)
{
	uint8_t input[64];
	char file[32];

	memcpy(input + 2, bytes, length);
	for (unsigned which = 1; which < FAIL_COUNT; which++)
		for (unsigned way = 0; way < 12; way++) {
			input[0] = (uint8_t)which;
			input[1] = (uint8_t)(way % 3 | way / 3 << FAILING_CODE_BITS);
			snprintf(file, sizeof file, "fails_%d_%u_%u", choice, which, way);
			seed_bytes(file, choice | FAILS, input, length + 2);
		}
}

static void write_steps(int choice)
{
	static const uint8_t roles[] = { COME_IN(0), COME_IN(1), STEP(STEP_ACCEPT, 0, 0), COME_IN(2),
		STEP(STEP_ACCEPT, 2, 0), COME_IN(3), STEP(STEP_ACCEPT, 3, 0), COME_IN(0),
		STEP(STEP_ACCEPT, 4, 0) };
	static const uint8_t wrong[] = { STEP(STEP_DIAL, 0, 0), STEP(STEP_ACCEPT, 0, 0),
		STEP(STEP_SHAKE, 0, 0), STEP(STEP_GREET, MAGIC, 0), STEP(STEP_ACCEPT, 0, 0), COME_IN(1),
		STEP(STEP_HANG_UP, 0, 1), STEP(STEP_ACCEPT, 0, 0), STEP(STEP_DIAL, 0, 2),
		STEP(STEP_ACCEPT, 0, 0), STEP(STEP_SHAKE, 0, 2), STEP(STEP_GREET, VERSION, 2),
		STEP(STEP_ACCEPT, 0, 0), STEP(STEP_DROPPED, 0, 0) };
	static const uint8_t slow[] = { STEP(STEP_DIAL, 0, 0), STEP(STEP_ACCEPT, 0, 0),
		STEP(STEP_SHAKE, 0, 0), STEP(STEP_GREET, HALF, 0), STEP(STEP_ACCEPT, 0, 0),
		STEP(STEP_TIME, 0, 101), STEP(STEP_ACCEPT, 0, 0), STEP(STEP_DROPPED, 0, 0) };
	static const uint8_t many[] = { STEP(STEP_CROWD, 0, 0), STEP(STEP_ACCEPT, 0, 0),
		STEP(STEP_ACCEPT, 0, 0), STEP(STEP_TIME, 0, 200), STEP(STEP_ACCEPT, 0, 0) };
	static const uint8_t plain[] = { STEP(STEP_DIAL, 1, 0), STEP(STEP_GREET, WHOLE | PAST_TLS, 0),
		STEP(STEP_ACCEPT, 0, 0) };
	static const uint8_t paused[] = { FAIL_ACCEPT, 0, STEP(STEP_DIAL, 0, 0), STEP(STEP_ACCEPT, 0, 0),
		STEP(STEP_TIME, 0, 2), STEP(STEP_ACCEPT, 0, 0), COME_IN(1), STEP(STEP_ACCEPT, 0, 0) };
	char file[32];
	struct {
		const char *name;
		int choice;
		const uint8_t *bytes;
		size_t length;
	} list[] = { { "roles", 0, roles, sizeof roles }, { "wrong", 0, wrong, sizeof wrong },
		{ "slow", 0, slow, sizeof slow }, { "many", 0, many, sizeof many },
		{ "plain", 0, plain, sizeof plain }, { "paused", FAILS, paused, sizeof paused },
		{ "any", ANY_ADDRESS, good, sizeof good }, { "unknown", NOBODY_KNOWN, good, sizeof good } };

	for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
		snprintf(file, sizeof file, "%s_%d", list[i].name, choice);
		seed_bytes(file, choice | list[i].choice, list[i].bytes, list[i].length);
	}
}

static void write_answers(int choice)
{
	static const uint8_t admitted[] = { 'W', 'T', 'T', 'V', 1, 0, 0, 0 },
			     refused[] = { 'W', 'T', 'T', 'V', 2, 0, 0, 0 };
	char file[32];

	write_failing(choice, admitted, sizeof admitted);
	snprintf(file, sizeof file, "renewed_%d", choice);
	seed_bytes(file, choice | RENEWS, admitted, sizeof admitted);
	snprintf(file, sizeof file, "admitted_%d", choice);
	seed_bytes(file, choice, admitted, sizeof admitted);
	snprintf(file, sizeof file, "refused_%d", choice);
	seed_bytes(file, choice, refused, sizeof refused);
	snprintf(file, sizeof file, "stranger_%d", choice);
	seed_text(file, choice, "HTTP/1.0 400 What?\r\n\r\n");
	snprintf(file, sizeof file, "nothing_%d", choice);
	seed_text(file, choice, "");
	snprintf(file, sizeof file, "zeros_%d", choice);
	seed_bytes(file, choice, "\0\0\0\0", 4);
}

int main(int argc, char **argv)
{
	if (!seeds_begin(argc, argv))
		return 2;
	for (int choice = 0; choice <= ENCRYPTS; choice++) {
		write_failing(choice, good, sizeof good);
		write_steps(choice);
		write_answers(choice | DIALS);
	}
	return seeds_failed ? 1 : 0;
}
