/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recover_devices.c - see recover_devices.h. The steps are those of a destination (passthrough.h) whose guest
 * has arrived already; what QEMU has is left alone, so it may be done again at any time.
 *
 * Owns a loop and a connection to QEMU of its own.
 */
#include "recover_devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "passthrough.h"

#define QMP_NS 5000000000ull

struct wt_recovery {
	struct wt_loop *loop;
	struct wt_report report;
	struct wt_passthrough *passthrough;
	struct wt_qmp *qmp;
	struct wt_error error; /* the first one */
	bool waiting;
};

/* ---- what is told ---- */

static void first(struct wt_recovery *recovery, const struct wt_error *err)
{
	if (!recovery->error.code)
		recovery->error = *err;
}

static void qmp_event(void *arg, const char *name, json_t *data)
{
	struct wt_recovery *recovery = arg;

	wt_passthrough_qmp_event(recovery->passthrough, name, data);
}

static void qmp_closed(void *arg, const struct wt_error *err)
{
	struct wt_recovery *recovery = arg;

	first(recovery, err);
	if (recovery->waiting)
		wt_loop_stop(recovery->loop, 0);
}

static const struct wt_qmp_events qmp_events = { .event = qmp_event, .closed = qmp_closed };

/* The only step of the owner's is MOVE, and the guest is where it is. */
static void step(void *arg, enum wt_device_step_kind kind)
{
	struct wt_recovery *recovery = arg;

	wt_passthrough_done(recovery->passthrough, kind, NULL);
}

static void failed(void *arg, const struct wt_error *err)
{
	first(arg, err);
}

static void over(void *arg)
{
	struct wt_recovery *recovery = arg;

	if (recovery->waiting)
		wt_loop_stop(recovery->loop, 0);
}

static const struct wt_passthrough_events events = { .step = step, .failed = failed, .over = over };

/* ---- from outside ---- */

int wt_recovery_open(const char *map_path, const char *host, const char *agent_path,
	struct wt_recovery **ret_recovery, struct wt_error *err)
{
	struct wt_recovery *recovery = calloc(1, sizeof *recovery);
	struct wt_passthrough_config config = {
		.map_path = map_path, .host = host, .agent_path = agent_path, .root = "", .recovers = true
	};
	int r;

	if (!recovery)
		return wt_error_set(err, ENOMEM, "no memory for the devices of a guest");
	wt_report_open(&recovery->report, false);
	r = wt_loop_open(&recovery->loop);
	if (r) {
		free(recovery);
		return wt_error_set(err, -r, "no event loop");
	}
	config.loop = recovery->loop;
	config.report = &recovery->report;
	r = wt_passthrough_open(&config, &events, recovery, &recovery->passthrough, err);
	if (r) {
		wt_recovery_close(recovery);
		return r;
	}
	*ret_recovery = recovery;
	return 0;
}

void wt_recovery_close(struct wt_recovery *recovery)
{
	if (!recovery)
		return;
	wt_passthrough_close(recovery->passthrough);
	if (recovery->qmp)
		wt_qmp_close(recovery->qmp);
	wt_loop_close(recovery->loop);
	free(recovery);
}

static void carry_out(struct wt_recovery *recovery)
{
	wt_passthrough_begin(recovery->passthrough);
	recovery->waiting = !wt_passthrough_is_over(recovery->passthrough);
	if (recovery->waiting)
		wt_loop_run(recovery->loop);
	recovery->waiting = false;
	if (wt_passthrough_trouble(recovery->passthrough))
		first(recovery, wt_passthrough_trouble(recovery->passthrough));
}

int wt_recovery_run(struct wt_recovery *recovery, const char *qmp_path, bool dry, struct wt_error *err)
{
	char lacking[WT_ERROR_TEXT_MAX];
	int r = wt_qmp_open(recovery->loop, qmp_path, QMP_NS, &qmp_events, recovery, &recovery->qmp, err);

	if (!r)
		r = wt_passthrough_check(recovery->passthrough, recovery->qmp, err);
	if (r)
		return r;
	wt_passthrough_lacking(recovery->passthrough, lacking, sizeof lacking);
	if (dry) {
		printf("%s%s\n",
			lacking[0] ? "would plug in: " : "would plug in nothing: no device is missing",
			lacking);
		return 0;
	}
	carry_out(recovery);
	wt_passthrough_lacking(recovery->passthrough, lacking, sizeof lacking);
	if (lacking[0])
		return wt_error_set(err, EIO, "the guest goes on without %s: %s", lacking,
			recovery->error.code ? wt_error_text(&recovery->error)
					     : "the guest has let go of it only now; recover again");
	if (recovery->error.code) {
		*err = recovery->error;
		return -err->code;
	}
	printf("the guest has its devices\n");
	return 0;
}
