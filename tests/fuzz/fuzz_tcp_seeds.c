/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_tcp_seeds.c - writes the seed corpus of fuzz_tcp: what good peers say, and each way to say it wrong.
 */
#include <stdint.h>

#include "seed_file.h"

#define SERVE 0
#define PULL 1
#define PEER 2
#define GREETING 3
#define WORDS 4

int main(int argc, char **argv)
{
	static const uint8_t greeting[56] = { 'W', 'T', 'T', 'H', 1 }, late[56] = { 'W', 'T', 'T', 'H', 9 };
	static const uint8_t requests[] = { 0, 0, 8, 0, 0, 3, 16, 0, 4, 0, 7, 0, 1, 0, 8, 0, 2, 0, 8, 0, 0,
		251, 8, 0 };
	static const uint8_t long_ones[] = { 4, 0, 16, 0, 0, 0, 8, 0, 4, 9, 12, 0, 8, 0, 8, 0, 0, 0, 8, 0, 8,
		0, 1, 0 };
	static const uint8_t nothing[] = { 0, 0, 0, 0 }, stranger[] = { 0, 0, 8, 0, 64, 0, 8, 0 };
	static const uint8_t answers[] = { 0, 0, 0, 0, 2, 0, 2, 0, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	static const uint8_t wrong_id[] = { 1, 5, 0, 0 }, wrong_status[] = { 2, 0, 7, 0 },
			     short_one[] = { 4, 0, 0, 99 };
	static const uint8_t talk[] = { 5, 0, 0, 1, 4, 0, 0, 0, 5, 0, 0, 1, 4, 0, 0, 0, 1, 0, 4, 0, 2, 0, 4,
		0, 3, 0, 4, 0 };
	static const uint8_t writes[] = { 2, 1, 200, 0, 34, 0, 100, 0, 2, 0, 4, 2, 2, 251, 4, 0 },
			     reads[] = { 3, 0, 200, 0, 3, 0, 4, 2, 35, 0, 200, 0, 3, 251, 9, 0, 3, 0, 0, 0 },
			     messages[] = { 1, 0, 9, 0, 33, 0, 200, 0, 1, 0, 0, 0 }, odd[] = { 64, 0, 0, 1 },
			     unasked[] = { 4, 0, 0, 0 }, unknown[] = { 7, 0, 0, 0 },
			     other[] = { 21, 0, 5, 0 };

	if (!seeds_begin(argc, argv))
		return 2;
	seed_bytes("greeting", GREETING, greeting, sizeof greeting);
	seed_bytes("late", GREETING, late, sizeof late);
	seed_bytes("half", GREETING, greeting, 20);
	seed_text("stranger", GREETING, "GET / HTTP/1.0\r\n\r\n");
	seed_bytes("requests", SERVE | WORDS, requests, sizeof requests);
	seed_bytes("long", SERVE | WORDS, long_ones, sizeof long_ones);
	seed_bytes("nothing", SERVE | WORDS, nothing, sizeof nothing);
	seed_bytes("magic", SERVE | WORDS, stranger, sizeof stranger);
	seed_text("bytes", SERVE, "bytes");
	seed_bytes("answers", PULL | WORDS, answers, sizeof answers);
	seed_bytes("wrong_id", PULL | WORDS, wrong_id, sizeof wrong_id);
	seed_bytes("wrong_status", PULL | WORDS, wrong_status, sizeof wrong_status);
	seed_bytes("short", PULL | WORDS, short_one, sizeof short_one);
	seed_bytes("talk", PEER | WORDS, talk, sizeof talk);
	seed_bytes("writes", PEER | WORDS, writes, sizeof writes);
	seed_bytes("reads", PEER | WORDS, reads, sizeof reads);
	seed_bytes("messages", PEER | WORDS, messages, sizeof messages);
	seed_bytes("odd", PEER | WORDS, odd, sizeof odd);
	seed_bytes("unasked", PEER | WORDS, unasked, sizeof unasked);
	seed_bytes("unknown", PEER | WORDS, unknown, sizeof unknown);
	seed_bytes("other", PEER | WORDS, other, sizeof other);
	return seeds_failed ? 1 : 0;
}
