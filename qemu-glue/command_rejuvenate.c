/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_rejuvenate.c - `watari rejuvenate`: options.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "rejuvenate.h"
#include "report.h"

static const char usage[] =
	"usage: watari rejuvenate PLAN.json [options]\n"
	"Renews hosts, one after the other, and their guests run on: each guest gets another QEMU in place; or all leave, the\n"
	"host's own command runs, and they come home. docs/REJUVENATION.md says what is in the plan.\n"
	"  --journal FILE   what was done so far (default: PLAN.json.journal); outputs of commands are beside it\n"
	"  --resume         go on with one that has stopped, or whose coordinator has ended\n"
	"  --home           with --resume: bring all guests home, and renew nothing\n"
	"  --found G=PLACE  with --resume: guest G, of which nobody knew where it was, is at home, or away\n"
	"  --json           events as JSON lines on standard output\n";

enum { OPT_JOURNAL = 1, OPT_RESUME, OPT_HOME, OPT_FOUND, OPT_JSON, OPT_HELP };

static const struct option options[] = { { "journal", 1, NULL, OPT_JOURNAL },
	{ "resume", 0, NULL, OPT_RESUME }, { "home", 0, NULL, OPT_HOME }, { "found", 1, NULL, OPT_FOUND },
	{ "json", 0, NULL, OPT_JSON }, { "help", 0, NULL, OPT_HELP }, { 0 } };

static int run(struct wt_rejuvenate_options *o)
{
	char *journal = NULL;
	int code;

	if (!o->journal && asprintf(&journal, "%s.journal", o->plan) < 0)
		return wt_report_no_memory();
	if (!o->journal)
		o->journal = journal;
	code = wt_rejuvenate_run(o);
	free(journal);
	return code;
}

int wt_command_rejuvenate(int argc, char **argv)
{
	struct wt_rejuvenate_options o = { 0 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case OPT_JOURNAL:
			o.journal = optarg;
			break;
		case OPT_RESUME:
			o.resume = true;
			break;
		case OPT_HOME:
			o.homeward = true;
			break;
		case OPT_FOUND:
			if (o.found_count == WT_REJUVENATE_GUESTS_MAX)
				return wt_command_usage(usage);
			o.found[o.found_count++] = optarg;
			break;
		case OPT_JSON:
			o.json = true;
			break;
		case OPT_HELP:
			return wt_command_help(usage);
		default:
			return wt_command_usage(usage);
		}
	if (optind + 1 != argc || ((o.homeward || o.found_count) && !o.resume))
		return wt_command_usage(usage);
	o.plan = argv[optind];
	return run(&o);
}
