/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.h - what people and machines are told while a migration runs.
 *
 * On a terminal: one line that is rewritten. Otherwise: a line per phase. With --json: one JSON object per
 * line, each with "event" and "time_ms"; what there is no memory to tell is "untold", with "of". Errors
 * always go to standard error as one sentence. After WT_LIMIT_LOG_BYTES of lines nothing is told but errors
 * and the summary.
 */
#ifndef WATARI_QEMU_REPORT_H
#define WATARI_QEMU_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct wt_report {
	bool json, terminal;
	uint64_t start_ns;
	bool line_open;  /* a rewritten line is on the screen */
	FILE *out, *err; /* borrowed */
	uint64_t told_bytes;
};

/* On standard output and standard error. */
void wt_report_open(struct wt_report *report, bool json);
/* The same on other files, which must outlive the report. */
void wt_report_open_on(struct wt_report *report, bool json, FILE *out, FILE *err);
/* An event; fields (or NULL) is stolen. text: what a person reads, NULL: nothing. */
void wt_report_event(struct wt_report *report, const char *event, json_t *fields, const char *text);
/* The event "listening": what has this name may come to the port now. */
void wt_report_listening(struct wt_report *report, const char *name, uint16_t port);
/* How wide a progress line may be on the terminal; 0: any width, nobody sees it. */
unsigned wt_report_columns(const struct wt_report *report);
/* Progress: rewrites the terminal's line. */
void wt_report_progress(struct wt_report *report, json_t *fields, const char *text);
/* One sentence on standard error, and an "error" event with --json. */
void wt_report_error(struct wt_report *report, const char *text);
/* A command that could not even begin says so. Answers its exit code, 1. */
int wt_report_no_memory(void);

/* CLOCK_MONOTONIC in ns. */
uint64_t wt_report_now_ns(void);
/* How long from one moment of that clock to another, ms; 0: either is not known (0), or they are the wrong
 * way round. */
static inline double wt_report_ms_between(uint64_t from_ns, uint64_t to_ns)
{
	return from_ns && to_ns > from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

#endif
