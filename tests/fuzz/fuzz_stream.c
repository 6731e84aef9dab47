/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_stream.c - libFuzzer harness of the migration stream reader.
 *
 * The first byte chooses which blocks are in place, whether their pages have bytes, how the input is cut and
 * how often a page is turned down; the rest is the stream. Checked for any input, besides what
 * stream_recorder.h checks on the way:
 *   1. cut in pieces or whole: the same events, stripped bytes, status, sentence and offset;
 *   2. the stripped stream is no longer than the input, but for block names that replace CONTINUE;
 *   3. stripping what was stripped changes nothing, and finds no page that is in place.
 */
#include <stddef.h>
#include <stdint.h>

#include "stream_recorder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const in_place[] = { "pc.", "", NULL, "vga." };
	const char *choice;
	struct stream_recorder whole = { 0 }, cut = { 0 }, again = { 0 };
	size_t piece_max;

	if (size < 1)
		return 0;
	choice = in_place[data[0] & 3];
	piece_max = 1 + (data[0] >> 2) * 97u;
	whole.in_place = cut.in_place = again.in_place = choice;
	whole.absent = cut.absent = choice && data[0] & 0x40;
	whole.shared = cut.shared = again.shared = data[0] & 0x08;
	cut.again = data[0] >> 5;
	sr_run(&whole, data + 1, size - 1, 0, 0);
	sr_run(&cut, data + 1, size - 1, piece_max, data[0]);
	SR_PROMISE(sr_equal(&whole, &cut));
	SR_PROMISE(whole.stripped.length <= size + (size / 9) * WT_BLOCK_NAME_MAX);

	sr_run(&again, whole.stripped.data, whole.stripped.length, 0, 0);
	SR_PROMISE(again.status == 0 || whole.status != 0);
	SR_PROMISE(again.pages == 0);
	if (whole.status == 0) {
		SR_PROMISE(again.stripped.length == whole.stripped.length);
		SR_PROMISE(!memcmp(again.stripped.data, whole.stripped.data, whole.stripped.length));
	} else {
		/* A stripped stream that stops short is incomplete, never wrong. */
		SR_PROMISE(!again.stripped.length ||
			   !memcmp(again.stripped.data, whole.stripped.data, again.stripped.length));
		SR_PROMISE(again.offset + 2 * WT_PAGE_SIZE > whole.stripped.length);
		SR_PROMISE(strstr(again.err.text, "the input ended before RAM's end section"));
	}
	sr_free(&whole);
	sr_free(&cut);
	sr_free(&again);
	return 0;
}
