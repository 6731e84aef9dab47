/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_cancel.c - `watari cancel`: tells a job to end its migration.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "job.h"
#include "printable.h"

static const char usage[] =
	"usage: watari cancel JOB\n"
	"Ends a migration that is under way. The guest goes on at the source. After the point of no return the job\n"
	"refuses, and says what happens. `watari status` lists the jobs.\n";

int wt_command_cancel(int argc, char **argv)
{
	struct wt_error err = { 0 };
	char shown[WT_PRINTABLE_MAX];
	json_t *result = NULL;
	const char *text;

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return wt_command_help(usage);
	if (argc != 2 || argv[1][0] == '-')
		return wt_command_usage(usage);
	if (wt_job_ask(argv[1], json_pack("{s:s}", "command", "cancel"), &result, &err)) {
		fprintf(stderr, "watari: %s\n", wt_error_text(&err));
		return WT_EXIT_FAILED;
	}
	text = json_string_value(json_object_get(result, "text"));
	printf("%s: %s\n", argv[1],
		text ? wt_printable(text, strlen(text), shown, sizeof shown) : "cancelled");
	json_decref(result);
	return WT_EXIT_OK;
}
