/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_mpi.c - what ranks and coordinators say to each other: lines, messages and hellos. What decodes is
 * encoded again, and decodes to the same.
 */
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

static void line(const uint8_t *data, size_t size)
{
	char text[2 * WT_ORDER_LINE_MAX];
	char again[WT_ORDER_LINE_MAX];
	struct wt_order order;
	struct wt_order same;

	if (size >= sizeof text)
		size = sizeof text - 1;
	memcpy(text, data, size);
	text[size] = 0;
	if (wt_order_decode(text, &order) < 0)
		return;
	wt_order_encode(&order, again);
	again[strlen(again) - 1] = 0;
	must(wt_order_decode(again, &same) == 0 && same.kind == order.kind && same.epoch == order.epoch);
}

static void message(const uint8_t *data, size_t size)
{
	struct wt_frame_word word;
	struct wt_frame_word wire;

	if (wt_frame_decode(data, size, &word) < 0 || word.kind == WT_FRAME_DATA)
		return;
	wt_frame_encode(&word, &wire);
	must(memcmp(&wire, data, sizeof wire) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wt_frame_hello hello;

	if (!size)
		return 0;
	switch (data[0] % 3) {
	case 0:
		line(data + 1, size - 1);
		break;
	case 1:
		message(data + 1, size - 1);
		break;
	default:
		if (size > WT_PATH_HELLO_BYTES)
			wt_frame_hello_decode(data + 1, &hello);
	}
	return 0;
}
