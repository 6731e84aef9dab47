/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_gate.c - keeps QEMU from stopping the guest too early.
 *
 * QEMU stops it when it has little left to send. While a new destination is being prepared, or lacks more of
 * the base than is pulled within a downtime, that would be too early: QEMU may send only so much that it
 * keeps FLOOR to send, and its limit on downtime is lowered, so that little is enough. The limit is lowered
 * while digests are sent, too (digest_gate.h; what QEMU sends again and again then waits, see
 * wt_server_defer). When neither gate is closed it is what downtime_goal.h says, or none at all: where QEMU
 * waits for our acknowledgement besides, see convergence.h.
 *
 * It never stands still altogether: a QEMU that has just stopped the guest holds its lock while it writes and
 * answers no QMP, so nobody would hear of that, and nobody read on.
 */
#include "source_internal.h"

#define FLOOR_BYTES (12u << 20)        /* what QEMU keeps to send */
#define CHANNEL_BYTES SKIP_AHEAD_BYTES /* ... and for each channel: how far QEMU is ahead of us there */
#define FLOOR_NS 150000000ull          /* ... and what it may send before its figures are known anew */
#define GATED_DOWNTIME_MS 1
#define HARD_EPOCHS 2u /* one is no evidence: see docs/decisions/0036 */

/* Whatever the guest writes while QEMU goes round as fast as it can. */
static const struct wt_server_deferral digests = { .pages_max = 2048, .epoch_ns = 50000000 };

void wt_source_downtime_limit(struct wt_source *source)
{
	wt_qmp_execute(source->relay.qmp, "migrate-set-parameters",
		json_pack("{s:I}", "downtime-limit", (json_int_t)wt_source_downtime_limit_ms(source)), NULL,
		NULL);
}

static bool gated(const struct wt_source *source)
{
	return source->change.gated || source->digest_gate.closed;
}

static uint64_t true_limit_ms(const struct wt_source *source)
{
	return wt_downtime_goal_ms(&source->downtime_goal, source->options->downtime_limit_ms);
}

uint64_t wt_source_downtime_limit_ms(const struct wt_source *source)
{
	if (gated(source))
		return GATED_DOWNTIME_MS;
	return source->convergence.turns ? WT_CONVERGENCE_NO_LIMIT_MS : true_limit_ms(source);
}

void wt_source_downtime_goal(struct wt_source *source)
{
	const struct wt_downtime_figures figures = { .limit_ms = source->options->downtime_limit_ms,
		.remaining_bytes = source->said.remaining_bytes,
		.dirty_bytes_per_s = source->said.dirty_bytes_per_s,
		.rate_bytes_per_s = source->pace.bytes_per_s };

	if (source->said.total_bytes && !gated(source) &&
		wt_downtime_goal_step(&source->downtime_goal, &figures, wt_report_now_ns()))
		wt_source_downtime_limit(source);
}

bool wt_source_may_sync_often(const struct wt_source *source)
{
	enum wt_dirty_sync wanted = source->options->dirty_sync;

	return wanted == WT_DIRTY_SYNC_AUTO ? source->facts.dirty_log_exact : wanted == WT_DIRTY_SYNC_OFTEN;
}

static struct wt_convergence_figures convergence_figures(const struct wt_source *source)
{
	struct wt_server_stats stats;

	wt_source_stats(source, &stats);
	return (struct wt_convergence_figures){ .hard = source->downtime_goal.given_up,
		.remaining_bytes = source->said.remaining_bytes,
		.deferred_bytes = stats.deferred_pages << WT_PAGE_SHIFT,
		.rate_bytes_per_s = source->pace.bytes_per_s,
		.limit_ms = true_limit_ms(source) };
}

/* While QEMU is kept from stopping the guest it goes again and again over the pages that the guest always
 * writes. If there is no memory to defer them, each time is pulled. */
void wt_source_defer(struct wt_source *source)
{
	const struct wt_convergence_figures figures = convergence_figures(source);
	const struct wt_server_deferral hard = {
		.pages_max = wt_convergence_defer_bytes(&source->convergence, &figures) >> WT_PAGE_SHIFT,
		.epoch_ns = wt_convergence_epoch_ns(&figures),
		.epochs = HARD_EPOCHS,
	};

	wt_server_defer(wt_source_server(source), source->digest_gate.closed ? &digests : &hard);
}

void wt_source_converge(struct wt_source *source)
{
	const struct wt_convergence_figures figures = convergence_figures(source);
	unsigned todo;

	if (!source->said.total_bytes || gated(source))
		return;
	wt_source_defer(source);
	todo = wt_convergence_step(&source->convergence, &figures, wt_report_now_ns());
	if (todo & WT_CONVERGENCE_DO_LIMIT)
		wt_source_downtime_limit(source);
	if (todo & WT_CONVERGENCE_DO_ACKNOWLEDGE && !wt_outgoing_switchover_ack(source->outgoing))
		source->convergence.waits = true;
}

uint64_t wt_source_converge_wait_ns(const struct wt_source *source)
{
	const struct wt_convergence_figures figures = convergence_figures(source);

	return wt_convergence_wait_ns(&source->convergence, &figures);
}

void wt_source_gate_open(struct wt_source *source)
{
	if (!source->change.gated)
		return;
	source->change.gated = false;
	wt_source_downtime_limit(source);
	wt_outgoing_allow(source->outgoing, UINT64_MAX);
}

void wt_source_gate_close(struct wt_source *source)
{
	if (source->change.gated)
		return;
	source->change.gated = true;
	wt_source_downtime_limit(source);
	wt_source_gate(source);
}

static bool preparing(const struct wt_source *source)
{
	enum wt_retarget_state state = source->change.machine.state;

	return state == WT_RETARGET_PREPARING || state == WT_RETARGET_DRAINING;
}

/* Pages of the base that are pulled within half a downtime, as fast as it went so far. */
static uint64_t little(const struct wt_source *source)
{
	const struct wt_source_change *c = &source->change;
	uint64_t us = (wt_report_now_ns() - c->base_since_ns) / 1000;

	if (c->base_left_pages >= c->base_pages || !us)
		return 0;
	return (c->base_pages - c->base_left_pages) * source->options->downtime_limit_ms * 500 / us;
}

void wt_source_gate(struct wt_source *source)
{
	struct wt_outgoing_stats stats;
	uint64_t keep, may, since;

	if (!source->change.gated || !source->outgoing)
		return;
	if (source->change.machine.stopped ||
		(!preparing(source) && source->change.base_left_pages <= little(source))) {
		wt_source_gate_open(source);
		return;
	}
	wt_outgoing_stats(source->outgoing, &stats);
	keep = (FLOOR_BYTES + (uint64_t)source->options->channels * CHANNEL_BYTES +
		       source->rate.bytes_per_s * FLOOR_NS / 1000000000) >>
	       WT_PAGE_SHIFT;
	may = source->said.remaining_bytes >> WT_PAGE_SHIFT;
	may = may > keep ? may - keep : 0;
	since = stats.read_pages - source->said.read_pages;
	may = may > since ? may - since : 0;
	wt_outgoing_allow(source->outgoing, may);
	if (!preparing(source))
		wt_server_ahead(wt_source_server(source), may);
}
