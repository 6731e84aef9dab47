/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_status.c - `watari status`: what the jobs of this host are doing.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "job.h"
#include "printable.h"
#include "progress.h"

static const char usage[] = "usage: watari status [JOB] [--json]\n"
			    "Says what a job is doing; without JOB one line for each.\n"
			    "  --json   a JSON object for each job, on a line of its own\n";

static const struct option options[] = { { "json", 0, NULL, 'j' }, { "help", 0, NULL, 'h' }, { 0 } };

static void print_json(json_t *status)
{
	json_dumpf(status, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12));
	putchar('\n');
}

/* A text of the job's, printable; "-" where there is none. */
static const char *text_of(json_t *status, const char *key, char text[WT_PRINTABLE_MAX])
{
	const char *value = json_string_value(json_object_get(status, key));

	return value ? wt_printable(value, strlen(value), text, WT_PRINTABLE_MAX) : strcpy(text, "-");
}

static const char *line_of(json_t *status, char text[WT_PROGRESS_LINE_MAX])
{
	char line[WT_PROGRESS_LINE_MAX];
	struct wt_progress p;

	wt_progress_take(&p, status);
	wt_progress_line(&p, 0, line);
	return wt_printable(line, strlen(line), text, WT_PROGRESS_LINE_MAX);
}

static void print_person(json_t *status)
{
	char text[WT_PRINTABLE_MAX], line[WT_PROGRESS_LINE_MAX];
	json_t *downtime = json_object_get(status, "downtime_ms");

	printf("%s\n", line_of(status, line));
	printf("  job      %s", text_of(status, "job", text));
	printf(", the %s", text_of(status, "role", text));
	printf(", process %" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(status, "pid")));
	printf(", for %.1f s\n", json_number_value(json_object_get(status, "elapsed_ms")) / 1e3);
	printf("  peer     %s", text_of(status, "peer", text));
	printf(", %" JSON_INTEGER_FORMAT " paths", json_integer_value(json_object_get(status, "paths")));
	printf(", fabric %s\n", text_of(status, "fabric", text));
	if (json_is_number(downtime))
		printf("  downtime %.0f ms\n", json_number_value(downtime));
}

static int one(const char *name, bool json)
{
	struct wt_error err = { 0 };
	json_t *status = NULL;

	if (wt_job_ask(name, json_pack("{s:s}", "command", "status"), &status, &err)) {
		fprintf(stderr, "watari: %s\n", wt_error_text(&err));
		return WT_EXIT_FAILED;
	}
	(json ? print_json : print_person)(status);
	json_decref(status);
	return WT_EXIT_OK;
}

struct list {
	bool json, failed;
	unsigned count;
};

static void list_one(void *arg, const char *name, json_t *status, const struct wt_error *err)
{
	char shown[WT_PRINTABLE_MAX], role[WT_PRINTABLE_MAX], line[WT_PROGRESS_LINE_MAX];
	struct list *list = arg;

	list->count++;
	if (!status) {
		list->failed = true;
		fprintf(stderr, "watari: job %s: %s\n", wt_printable(name, strlen(name), shown, sizeof shown),
			wt_error_text(err));
	} else if (list->json) {
		print_json(status);
	} else {
		printf("%-20s %-11s  %s\n", wt_printable(name, strlen(name), shown, sizeof shown),
			text_of(status, "role", role), line_of(status, line));
	}
}

static int all(bool json)
{
	struct list list = { .json = json };

	wt_job_ask_all("status", list_one, &list);
	if (!list.count && !json)
		printf("no job runs here\n");
	return list.failed ? WT_EXIT_FAILED : WT_EXIT_OK;
}

int wt_command_status(int argc, char **argv)
{
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h')
			return wt_command_help(usage);
		if (option != 'j')
			return wt_command_usage(usage);
		json = true;
	}
	if (argc - optind > 1)
		return wt_command_usage(usage);
	return optind < argc ? one(argv[optind], json) : all(json);
}
