/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_tcp_seeds.c - writes the seed corpus of fuzz_tcp: what good peers say, and each way to say it wrong.
 */
#include <stdint.h>

#include "failing.h"
#include "fuzz_tcp.h"
#include "seed_file.h"
#include "tcp_failing.h"

/* In the clear and through TLS, and with each call failing that such a path makes. */
static void seeds_of(const char *name, int choice, const void *bytes, size_t length)
{
	static const uint8_t functions[] = { FAIL_CALLOC, FAIL_MALLOC, FAIL_EPOLL_CREATE, FAIL_EPOLL_CTL,
		FAIL_EVENTFD, FAIL_PTHREAD_CREATE, FAIL_SETSOCKOPT, FAIL_RECV, FAIL_RECVMSG, FAIL_SEND,
		FAIL_SENDMSG, FAIL_SENDFILE, FAIL_POLL, FAIL_READV };
	static const uint8_t ways[] = { 0, 1, 1 << FAILING_CODE_BITS, 2 << FAILING_CODE_BITS,
		3 << FAILING_CODE_BITS, FAILING_LONG };
	uint8_t input[64];
	char file[64];

	for (int tls = 0; tls <= THROUGH_TLS; tls += THROUGH_TLS) {
		snprintf(file, sizeof file, "%s_%d", name, tls);
		seed_bytes(file, choice | tls, bytes, length);
		for (unsigned i = 0; i < sizeof functions * sizeof ways; i++) {
			input[0] = functions[i / sizeof ways];
			input[1] = ways[i % sizeof ways];
			memcpy(input + 2, bytes, length);
			snprintf(file, sizeof file, "%s_%d_%u", name, tls, i);
			seed_bytes(file, choice | tls | FAILS, input, length + 2);
		}
	}
}

int main(int argc, char **argv)
{
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
	seeds_of("requests", SERVE | WORDS, requests, sizeof requests);
	seeds_of("long", SERVE | WORDS, long_ones, sizeof long_ones);
	seed_bytes("nothing", SERVE | WORDS, nothing, sizeof nothing);
	seed_bytes("magic", SERVE | WORDS, stranger, sizeof stranger);
	seed_text("bytes", SERVE, "bytes");
	seed_text("bytes_tls", SERVE | THROUGH_TLS, "bytes");
	seed_text("past_tls", SERVE | THROUGH_TLS | PAST_TLS, "\x17\x03\x03");
	seed_bytes("talk_tls", PEER | THROUGH_TLS, talk, sizeof talk);
	seeds_of("answers", PULL | WORDS, answers, sizeof answers);
	seed_bytes("wrong_id", PULL | WORDS, wrong_id, sizeof wrong_id);
	seed_bytes("wrong_status", PULL | WORDS, wrong_status, sizeof wrong_status);
	seed_bytes("short", PULL | WORDS, short_one, sizeof short_one);
	seeds_of("talk", PEER | WORDS, talk, sizeof talk);
	seed_bytes("writes", PEER | WORDS, writes, sizeof writes);
	seed_bytes("reads", PEER | WORDS, reads, sizeof reads);
	seed_bytes("messages", PEER | WORDS, messages, sizeof messages);
	seed_bytes("odd", PEER | WORDS, odd, sizeof odd);
	seed_bytes("unasked", PEER | WORDS, unasked, sizeof unasked);
	seed_bytes("unknown", PEER | WORDS, unknown, sizeof unknown);
	seed_bytes("other", PEER | WORDS, other, sizeof other);
	return seeds_failed ? 1 : 0;
}
