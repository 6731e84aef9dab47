/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_retarget.c - `watari retarget`: tells a job to move its guest to another destination than the one
 * that it is on its way to.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "job.h"
#include "printable.h"
#include "retarget_request.h"

#define POLL_MS 50

static const char usage[] =
	"usage: watari retarget JOB --to HOST:PORT/NAME [--prefer old-destination] [--no-wait]\n"
	"Moves a guest that is on its way to one destination to another one instead. The guest runs on, and what the\n"
	"old destination has is pulled from there, too. Returns when the new one needs the old one no more.\n"
	"If the guest is stopped already, it goes on at the source, and a new migration to the other destination begins.\n"
	"  --to HOST:PORT/NAME        where watari receive waits for the guest; or unix:PATH//NAME\n"
	"  --prefer old-destination   spare the source: pull from the old destination whatever it has\n"
	"  --no-wait                  return when the job has begun\n";

enum { OPT_TO = 1, OPT_PREFER, OPT_NO_WAIT, OPT_HELP };

static const struct option options[] = { { "to", 1, NULL, OPT_TO }, { "prefer", 1, NULL, OPT_PREFER },
	{ "no-wait", 0, NULL, OPT_NO_WAIT }, { "help", 0, NULL, OPT_HELP }, { 0 } };

static int failed(const struct wt_error *err)
{
	fprintf(stderr, "watari: %s\n", wt_error_text(err));
	return WT_EXIT_FAILED;
}

static int wait_for(const char *job, json_int_t number)
{
	struct wt_error err = { 0 };
	json_t *status = NULL;
	int r;

	for (;;) {
		if (wt_job_ask(job, json_pack("{s:s}", "command", "status"), &status, &err)) {
			fprintf(stderr,
				"watari: the job %s has ended, or does not answer (%s); what became of the guest is "
				"in its own output\n",
				job, wt_error_text(&err));
			return WT_EXIT_FAILED;
		}
		r = wt_retarget_outcome(status, number, &err);
		json_decref(status);
		if (r < 0)
			return failed(&err);
		if (r <= 1)
			break;
		poll(NULL, 0, POLL_MS);
	}
	printf("%s: %s\n", job,
		r ? "the guest was stopped already; it goes on at the source, and a new migration has begun"
		  : "the new destination has all it needs of the old one");
	return WT_EXIT_OK;
}

static int run(const char *job, json_t *request, bool wait)
{
	struct wt_error err = { 0 };
	char shown[WT_PRINTABLE_MAX];
	json_t *result = NULL;
	const char *text;
	json_int_t number;

	if (wt_job_ask(job, request, &result, &err))
		return failed(&err);
	number = json_integer_value(json_object_get(result, "number"));
	text = json_string_value(json_object_get(result, "text"));
	printf("%s: %s\n", job, text ? wt_printable(text, strlen(text), shown, sizeof shown) : "taken");
	json_decref(result);
	return wait ? wait_for(job, number) : WT_EXIT_OK;
}

int wt_command_retarget_options(
	int argc, char **argv, const char **ret_job, json_t **ret_request, bool *ret_wait)
{
	const char *to = NULL, *prefer = NULL;
	struct wt_retarget_request checked;
	struct wt_error err = { 0 };
	bool wait = true;
	json_t *request;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case OPT_TO:
			to = optarg;
			break;
		case OPT_PREFER:
			prefer = optarg;
			break;
		case OPT_NO_WAIT:
			wait = false;
			break;
		case OPT_HELP:
			return wt_command_help(usage);
		default:
			return wt_command_usage(usage);
		}
	if (optind + 1 != argc || !to)
		return wt_command_usage(usage);
	request = json_pack("{s:s,s:s,s:s*}", "command", "retarget", "to", to, "prefer", prefer);
	/* The job looks at it, too; but what is wrong with the command line is said here. */
	if (!request || wt_retarget_request_take(request, &checked, &err)) {
		json_decref(request);
		fprintf(stderr, "watari: %s\n", err.code ? wt_error_text(&err) : "--to: give it as UTF-8");
		return WT_EXIT_USAGE;
	}
	*ret_job = argv[optind];
	*ret_request = request;
	*ret_wait = wait;
	return WT_COMMAND_RUN;
}

int wt_command_retarget(int argc, char **argv)
{
	json_t *request = NULL;
	const char *job = NULL;
	bool wait = true;
	int code = wt_command_retarget_options(argc, argv, &job, &request, &wait);

	return code == WT_COMMAND_RUN ? run(job, request, wait) : code;
}
