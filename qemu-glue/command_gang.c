/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_gang.c - `watari gang`: options.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "gang.h"
#include "gang_agents.h"

static const char usage[] =
	"usage: watari gang PLAN.json [options]\n"
	"Moves several guests together: all let go of their devices, then all move, then all take devices back. If anything\n"
	"fails before the first one has moved, all stay where they are. docs/GANG.md says what is in the plan.\n"
	"  --journal FILE   what was done so far (default: PLAN.json.journal); the relays' output is beside it\n"
	"  --resume         go on with a gang whose coordinator has ended\n"
	"  --agents         only say where the guests' agents are, for watari-mpi\n"
	"  --json           events as JSON lines on standard output\n";

enum { OPT_JOURNAL = 1, OPT_RESUME, OPT_AGENTS, OPT_JSON, OPT_HELP };

static const struct option options[] = { { "journal", 1, NULL, OPT_JOURNAL },
	{ "resume", 0, NULL, OPT_RESUME }, { "agents", 0, NULL, OPT_AGENTS }, { "json", 0, NULL, OPT_JSON },
	{ "help", 0, NULL, OPT_HELP }, { 0 } };

int wt_command_gang(int argc, char **argv)
{
	struct wt_gang_options o = { 0 };
	char *journal = NULL;
	bool agents = false;
	int option, code;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case OPT_JOURNAL:
			o.journal = optarg;
			break;
		case OPT_RESUME:
			o.resume = true;
			break;
		case OPT_AGENTS:
			agents = true;
			break;
		case OPT_JSON:
			o.json = true;
			break;
		case OPT_HELP:
			return wt_command_help(usage);
		default:
			return wt_command_usage(usage);
		}
	if (optind + 1 != argc)
		return wt_command_usage(usage);
	o.plan = argv[optind];
	if (!o.journal && asprintf(&journal, "%s.journal", o.plan) < 0)
		return WT_EXIT_FAILED;
	if (!o.journal)
		o.journal = journal;
	code = agents ? wt_gang_agents(&o) : wt_gang_run(&o);
	free(journal);
	return code;
}
