/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_mpi_seeds.c - writes the seed corpus of fuzz_mpi: a line and a message of each kind, a hello, a plan.
 */
#include "frame.h"
#include "job_plan.h"
#include "order.h"
#include "seed_file.h"

static void write_lines(void)
{
	struct wt_order order = { .version = WT_ORDER_VERSION,
		.epoch = 3,
		.job = 1,
		.rank = 2,
		.size = 4,
		.state = WT_RANK_RUNNING,
		.paths = 2,
		.port = 4711,
		.token = 0xfeed,
		.host = "192.0.2.1",
		.fabric = "tcp",
		.text = "it is busy" };
	char line[WT_ORDER_LINE_MAX], name[24];

	for (unsigned kind = 1; kind < WT_ORDER_KINDS; kind++) {
		order.kind = (enum wt_order_kind)kind;
		order.state = (enum wt_rank_state)(1 + kind % (WT_RANK_STATES - 1));
		snprintf(name, sizeof name, "line%u", kind);
		seed_bytes(name, 0, line, wt_order_encode(&order, line) - 1);
	}
}

static void write_messages(void)
{
	struct {
		struct wt_frame_word word;
		uint8_t more;
	} message = { .word = { .tag = 1, .bytes = 8, .epoch = 3 } };
	uint8_t head[WT_FRAME_HEAD_BYTES + 1] = { 0 };
	char name[24];

	for (unsigned kind = WT_FRAME_GREET; kind < WT_FRAME_KINDS; kind++) {
		message.word.kind = (uint8_t)kind;
		snprintf(name, sizeof name, "message%u", kind);
		seed_bytes(name, 1, &message, sizeof message.word + (kind >= WT_FRAME_WRITE));
	}
	wt_frame_data_encode(7, head);
	seed_bytes("data", 1, head, sizeof head);
}

int main(int argc, char **argv)
{
	const struct wt_frame_hello hello = { .version = WT_FRAME_VERSION, .job = 1, .token = 5 };
	uint8_t bytes[WT_PATH_HELLO_BYTES];

	if (!seeds_begin(argc, argv))
		return 2;
	write_lines();
	write_messages();
	wt_frame_hello_encode(&hello, bytes);
	seed_bytes("hello", 3, bytes, sizeof bytes);
	seed_text("plan", 2,
		"gang idle\nwatari /usr/bin/watari\nfrom vm1 ssh h1 /a\nto vm1 ssh h2 /b\nfrom vm2 /c\nto vm2 /d\n");
	seed_text("failed", 2, "failed the plan has no vms\n");
	seed_text("torn", 2, "gang busy\nwatari w\nfrom vm1 /a\n");
	return seeds_failed ? 1 : 0;
}
