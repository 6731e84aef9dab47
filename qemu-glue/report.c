/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.c - progress, events and errors on the terminal or as JSON lines. See report.h.
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <watari/limits.h>

#define PROGRESS_START "watari: "

uint64_t wt_report_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void wt_report_open_on(struct wt_report *report, bool json, FILE *out, FILE *err)
{
	*report = (struct wt_report){ .json = json, .start_ns = wt_report_now_ns(), .out = out, .err = err };
	report->terminal = !json && isatty(fileno(err));
}

void wt_report_open(struct wt_report *report, bool json)
{
	wt_report_open_on(report, json, stdout, stderr);
}

unsigned wt_report_columns(const struct wt_report *report)
{
	struct winsize size = { 0 };

	if (!report->terminal)
		return 0;
	if (ioctl(fileno(report->err), TIOCGWINSZ, &size) || !size.ws_col)
		size.ws_col = 80;
	return size.ws_col > sizeof PROGRESS_START ? size.ws_col - (unsigned)sizeof PROGRESS_START : 1;
}

static void close_line(struct wt_report *report)
{
	if (report->line_open)
		fputc('\n', report->err);
	report->line_open = false;
}

/* What may be told of so many bytes: past the limit only what matters in the end. */
static bool may_tell(struct wt_report *report, const char *event, size_t bytes)
{
	bool over = report->told_bytes > WT_LIMIT_LOG_BYTES;

	report->told_bytes += bytes;
	return !over || strcmp(event, "error") == 0 || strcmp(event, "summary") == 0;
}

/* The line of an event, allocated; NULL: no memory. */
static char *event_line(const struct wt_report *report, const char *event, json_t *fields)
{
	json_t *object = json_object();
	double time_ms = (double)(wt_report_now_ns() - report->start_ns) / 1e6;
	char *text = NULL;

	if (!json_object_set_new(object, "event", json_string(event)) &&
		!json_object_set_new(object, "time_ms", json_real(time_ms)) &&
		(!fields || !json_object_update(object, fields)))
		text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(object);
	return text;
}

/* There is no memory for the event. Half of it would mean something else. */
static void untold(struct wt_report *report, const char *event)
{
	fprintf(report->out, "{\"event\":\"untold\",\"of\":\"%s\"}\n", event);
	fflush(report->out);
}

static void print_json(struct wt_report *report, const char *event, json_t *fields)
{
	char *text = event_line(report, event, fields);

	if (!text) {
		untold(report, event);
	} else if (may_tell(report, event, strlen(text))) {
		fprintf(report->out, "%s\n", text);
		fflush(report->out);
	}
	free(text);
}

void wt_report_event(struct wt_report *report, const char *event, json_t *fields, const char *text)
{
	if (report->json) {
		print_json(report, event, fields);
	} else if (text && may_tell(report, event, strlen(text))) {
		close_line(report);
		fprintf(report->err, "watari: %s\n", text);
	}
	json_decref(fields);
}

void wt_report_listening(struct wt_report *report, const char *name, uint16_t port)
{
	json_t *fields = json_pack("{s:i}", "port", (int)port);
	char text[128];

	snprintf(text, sizeof text, "waiting for %.80s on port %u", name, port);
	if (!fields && report->json)
		untold(report, "listening");
	else
		wt_report_event(report, "listening", fields, text);
}

void wt_report_progress(struct wt_report *report, json_t *fields, const char *text)
{
	if (report->json) {
		print_json(report, "progress", fields);
	} else if (report->terminal && may_tell(report, "progress", strlen(text))) {
		fprintf(report->err, "\r\033[K" PROGRESS_START "%s", text);
		fflush(report->err);
		report->line_open = true;
	}
	json_decref(fields);
}

void wt_report_error(struct wt_report *report, const char *text)
{
	json_t *fields = json_pack("{s:s}", "text", text);

	close_line(report);
	if (report->json)
		print_json(report, "error", fields);
	json_decref(fields);
	fprintf(report->err, "watari: %s\n", text);
	fflush(report->err);
}

int wt_report_no_memory(void)
{
	fputs("watari: out of memory; nothing was begun\n", stderr);
	return 1;
}
