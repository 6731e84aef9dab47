/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_mpi.c - what ranks and coordinators say to each other: lines, messages and hellos; and what a gang
 * says of its guests' agents. What decodes is encoded again, and decodes to the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "job_plan.h"
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
	must(strncmp(again, wt_order_name(order.kind), strlen(wt_order_name(order.kind))) == 0);
	must(same.state == order.state && wt_rank_state_name(same.state)[0]);
	must(same.token == order.token && same.port == order.port && same.verbs_port == order.verbs_port);
	must(!strcmp(same.host, order.host) && !strcmp(same.text, order.text));
}

static void message(const uint8_t *data, size_t size)
{
	struct wt_frame_word word;
	struct wt_frame_word wire;

	if (wt_frame_decode(data, size, &word) < 0)
		return;
	if (word.kind == WT_FRAME_DATA) {
		uint8_t head[WT_FRAME_HEAD_BYTES];

		wt_frame_data_encode(word.tag, head);
		must(memcmp(head, data, 2) == 0);
		return;
	}
	wt_frame_encode(&word, &wire);
	must(memcmp(&wire, data, sizeof wire) == 0);
}

static void hello_of(const uint8_t *data)
{
	uint8_t bytes[WT_PATH_HELLO_BYTES];
	struct wt_frame_hello hello;
	struct wt_frame_hello same;

	if (wt_frame_hello_decode(data, &hello) < 0)
		return;
	wt_frame_hello_encode(&hello, bytes);
	must(wt_frame_hello_decode(bytes, &same) == 0 && memcmp(&hello, &same, sizeof same) == 0);
}

/* What the command says is in a file; both ends of each guest are there, or it is refused. */
static void plan(const uint8_t *data, size_t size)
{
	FILE *said = size ? fmemopen((void *)data, size, "r") : NULL;
	struct wt_job_plan plan = { 0 };
	struct wt_error err = { 0 };

	if (said && wt_job_plan_read(said, &plan, &err) == 0) {
		must(plan.gang && plan.watari && plan.count && plan.count <= WT_JOB_PLAN_GUESTS_MAX);
		for (size_t i = 0; i < plan.count; i++)
			must(plan.guests[i].name && plan.guests[i].agents[0] && plan.guests[i].agents[1]);
	}
	wt_job_plan_clear(&plan);
	if (said)
		fclose(said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 4) {
	case 0:
		line(data + 1, size - 1);
		break;
	case 1:
		message(data + 1, size - 1);
		break;
	case 2:
		plan(data + 1, size - 1);
		break;
	default:
		if (size > WT_PATH_HELLO_BYTES)
			hello_of(data + 1);
	}
	return 0;
}
