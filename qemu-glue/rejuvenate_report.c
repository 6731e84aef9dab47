/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_report.c - what people are told of a rejuvenation. Changes nothing of it.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "progress.h"
#include "rejuvenate_internal.h"
#include "relay.h"

uint64_t wt_rejuvenate_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- steps ---- */

static json_t *fields_of(
	const struct wt_rejuvenate *run, struct wt_rejuvenate_action action, const char *state)
{
	enum wt_rejuvenate_step step = (enum wt_rejuvenate_step)action.step;
	json_t *fields = json_pack("{s:s,s:s,s:s}", "step", wt_rejuvenate_step_name(step), "host",
		run->plan->hosts[wt_rejuvenate_order_host(&run->order, action)].name, "state", state);

	if (wt_rejuvenate_step_of_guest(step))
		json_object_set_new(fields, "guest", json_string(run->plan->guests[action.which].name));
	return fields;
}

/* "h1: db leaves"; words of a guest have its name before them. */
static void sentence(const struct wt_rejuvenate *run, struct wt_rejuvenate_action action,
	const char *const *words, char *ret_text, size_t size)
{
	const char *host = run->plan->hosts[wt_rejuvenate_order_host(&run->order, action)].name;

	if (wt_rejuvenate_step_of_guest((enum wt_rejuvenate_step)action.step))
		snprintf(ret_text, size, "%s: %s %s", host, run->plan->guests[action.which].name,
			words[action.step]);
	else
		snprintf(ret_text, size, "%s: %s", host, words[action.step]);
}

void wt_rejuvenate_tell_begin(struct wt_rejuvenate *run, struct wt_rejuvenate_action action)
{
	static const char *const words[] = { "", "is asked whether it answers", "gets a new QEMU", "leaves",
		"its command runs", "is asked until it answers again", "comes home" };
	char text[256];

	sentence(run, action, words, text, sizeof text);
	wt_report_event(&run->report, "step", fields_of(run, action, "begun"), text);
}

void wt_rejuvenate_tell_ended(
	struct wt_rejuvenate *run, struct wt_rejuvenate_action action, const struct wt_rejuvenate_end *end)
{
	static const char *const done[] = { "", "answers", "has a new QEMU", "is away",
		"its command has ended", "answers again", "is at home" };
	static const char *const failed[] = { "", "is not begun", "keeps its QEMU", "does not leave",
		"is not renewed, its guests stay away", "does not come back, its guests stay away",
		"stays away" };
	bool good = end->result == WT_REJUVENATE_OK, lost = end->result == WT_REJUVENATE_LOST;
	json_t *fields = fields_of(run, action, "ended");
	char text[256], all[WT_ERROR_TEXT_MAX + sizeof text + 8];

	json_object_set_new(fields, "result", json_string(wt_rejuvenate_result_name(end->result)));
	json_object_set_new(fields, "text", json_string(end->text));
	if (end->downtime_ms >= 0)
		json_object_set_new(fields, "downtime_ms", json_real(end->downtime_ms));
	if (end->sent_bytes)
		json_object_set_new(fields, "sent_bytes", json_integer((json_int_t)end->sent_bytes));
	sentence(run, action, good ? done : failed, text, sizeof text);
	if (lost)
		snprintf(all, sizeof all, "%s: %s must be looked at: %s",
			run->plan->hosts[wt_rejuvenate_order_host(&run->order, action)].name,
			run->plan->guests[action.which].name, end->text);
	else
		snprintf(all, sizeof all, "%s%s%s", text, end->text[0] ? ": " : "", end->text);
	wt_report_event(&run->report, "step", fields, good ? all : NULL);
	if (!good)
		wt_report_error(&run->report, all);
}

/* ---- the end ---- */

static const char *host_state(const struct wt_rejuvenate *run, unsigned i)
{
	const struct wt_rejuvenate_host *host = &run->order.host[i];

	if (!host->by)
		return "not renewed";
	if (host->done)
		return "renewed";
	if (host->failed)
		return "failed";
	return host->begun ? "begun" : "not begun";
}

static json_t *hosts_json(const struct wt_rejuvenate *run)
{
	json_t *hosts = json_object();

	for (unsigned i = 0; i < run->plan->order.hosts; i++)
		json_object_set_new(hosts, run->plan->hosts[i].name,
			json_pack("{s:s,s:s}", "state", host_state(run, i), "text",
				run->order.host[i].failed ? run->why[i] : ""));
	return hosts;
}

static json_t *guests_json(const struct wt_rejuvenate *run)
{
	static const char *const places[] = { "home", "away", "unknown" };
	json_t *guests = json_object();

	for (unsigned i = 0; i < run->plan->order.guests; i++)
		json_object_set_new(
			guests, run->plan->guests[i].name, json_string(places[run->order.guest[i].place]));
	return guests;
}

static void tell_summary(struct wt_rejuvenate *run)
{
	const char *result = !run->order.over ? "stopped" : run->order.homeward ? "home" : "renewed";
	unsigned renewed = 0, hosts = 0, away = 0;
	double total_ms = (double)(wt_rejuvenate_now_ms() - run->journal.begun_ms);
	char text[256], size[32];

	for (unsigned i = 0; i < run->plan->order.hosts; i++) {
		hosts += run->order.host[i].by != WT_REJUVENATE_BY_NOTHING;
		renewed += run->order.host[i].done;
	}
	for (unsigned i = 0; i < run->plan->order.guests; i++)
		away += run->order.guest[i].place != WT_REJUVENATE_HOME;
	snprintf(text, sizeof text,
		"%u of %u hosts are renewed, %u guests are not at home; %.1f s, %s sent, longest stop of a guest %.1f ms",
		renewed, hosts, away, total_ms / 1e3, wt_progress_size(run->sent_bytes, size),
		run->worst_downtime_ms < 0 ? 0.0 : run->worst_downtime_ms);
	wt_report_event(&run->report, "summary",
		json_pack("{s:s,s:i,s:f,s:I,s:o,s:o,s:o}", "result", result, "renewed", (int)renewed,
			"total_ms", total_ms, "sent_bytes", (json_int_t)run->sent_bytes, "worst_downtime_ms",
			run->worst_downtime_ms < 0 ? json_null() : json_real(run->worst_downtime_ms), "hosts",
			hosts_json(run), "guests", guests_json(run)),
		text);
}

/* Whoever is not known to be anywhere. */
static void advise(struct wt_rejuvenate *run)
{
	char text[512];

	for (unsigned i = 0; i < run->plan->order.guests; i++) {
		const char *name = run->plan->guests[i].name;

		if (run->order.guest[i].place != WT_REJUVENATE_UNKNOWN)
			continue;
		snprintf(text, sizeof text,
			"%s: ask its QEMUs with watari recover, then say --resume --found %s=home, or =away",
			name, name);
		wt_report_error(&run->report, text);
	}
}

int wt_rejuvenate_tell_end(struct wt_rejuvenate *run)
{
	const struct wt_rejuvenate_options *o = run->options;
	char text[WT_ERROR_TEXT_MAX + 512];

	if (run->left) {
		snprintf(text, sizeof text,
			"%s; what was begun goes on by itself: watari rejuvenate %.200s --journal %.200s --resume",
			wt_error_text(&run->error), o->plan, o->journal);
		wt_report_error(&run->report, text);
		return WT_EXIT_UNDECIDED;
	}
	advise(run);
	tell_summary(run);
	if (run->order.over)
		return WT_EXIT_OK;
	snprintf(text, sizeof text,
		"stopped, all guests run where they are: watari rejuvenate %.200s --journal %.200s --resume goes on, with --home it brings all home",
		o->plan, o->journal);
	wt_report_error(&run->report, text);
	return WT_EXIT_UNDECIDED;
}
