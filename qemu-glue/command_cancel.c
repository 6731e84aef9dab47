/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_cancel.c - `watari cancel` and `watari proceed`: one word to a job, which ends its migration, or
 * goes on.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "job.h"
#include "printable.h"

static const char cancel_usage[] =
	"usage: watari cancel JOB\n"
	"Ends a migration that is under way. The guest goes on at the source. After the point of no return the job\n"
	"refuses, and says what happens. `watari status` lists the jobs.\n";

static const char proceed_usage[] =
	"usage: watari proceed JOB\n"
	"A watari send or receive that was started with --hold and has come to where it waits goes on.\n";

static int tell(int argc, char **argv, const char *command, const char *usage)
{
	struct wt_error err = { 0 };
	char shown[WT_PRINTABLE_MAX];
	json_t *result = NULL;
	const char *text;

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return wt_command_help(usage);
	if (argc != 2 || argv[1][0] == '-')
		return wt_command_usage(usage);
	if (wt_job_ask(argv[1], json_pack("{s:s}", "command", command), &result, &err)) {
		fprintf(stderr, "watari: %s\n", wt_error_text(&err));
		return WT_EXIT_FAILED;
	}
	text = json_string_value(json_object_get(result, "text"));
	printf("%s: %s\n", argv[1], text ? wt_printable(text, strlen(text), shown, sizeof shown) : "taken");
	json_decref(result);
	return WT_EXIT_OK;
}

int wt_command_cancel(int argc, char **argv)
{
	return tell(argc, argv, "cancel", cancel_usage);
}

int wt_command_proceed(int argc, char **argv)
{
	return tell(argc, argv, "proceed", proceed_usage);
}
