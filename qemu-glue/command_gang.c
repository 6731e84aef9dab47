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
#include "report.h"

static const char usage[] =
	"usage: watari gang PLAN.json [options]\n"
	"       watari gang PLAN.json --checkpoint DIR [--of JOB] [--note TEXT]\n"
	"       watari gang PLAN.json --restore DIR\n"
	"Moves several guests together: all let go of their devices, then all move, then all take devices back. If anything\n"
	"fails before the first one has moved, all stay where they are. docs/GANG.md says what is in the plan.\n"
	"With --checkpoint none moves: all are stopped at their sources, written to DIR as they are at that moment, and go on.\n"
	"With --restore all run again from DIR, at their destinations. See docs/CHECKPOINT.md.\n"
	"  --of JOB         whose checkpoint it is; a DIR of another job is refused (default: job)\n"
	"  --note TEXT      more of that, for people\n"
	"  --undo           with one of these: only call back what a coordinator that was killed has left\n"
	"  --journal FILE   what was done so far (default: PLAN.json.journal); the relays' output is beside it\n"
	"  --resume         go on with a gang whose coordinator has ended\n"
	"  --agents         only say where the guests' agents are, for watari-mpi\n"
	"  --json           events as JSON lines on standard output\n";

enum {
	OPT_JOURNAL = 1,
	OPT_RESUME,
	OPT_AGENTS,
	OPT_CHECKPOINT,
	OPT_RESTORE,
	OPT_OF,
	OPT_NOTE,
	OPT_UNDO,
	OPT_JSON,
	OPT_HELP
};

static const struct option options[] = { { "journal", 1, NULL, OPT_JOURNAL },
	{ "resume", 0, NULL, OPT_RESUME }, { "agents", 0, NULL, OPT_AGENTS },
	{ "checkpoint", 1, NULL, OPT_CHECKPOINT }, { "restore", 1, NULL, OPT_RESTORE },
	{ "of", 1, NULL, OPT_OF }, { "note", 1, NULL, OPT_NOTE }, { "undo", 0, NULL, OPT_UNDO },
	{ "json", 0, NULL, OPT_JSON }, { "help", 0, NULL, OPT_HELP }, { 0 } };

struct request {
	struct wt_gang_options gang;
	bool agents;
};

static bool take(int option, struct request *request)
{
	struct wt_gang_options *o = &request->gang;

	switch (option) {
	case OPT_JOURNAL:
		o->journal = optarg;
		return true;
	case OPT_RESUME:
		return o->resume = true;
	case OPT_AGENTS:
		return request->agents = true;
	case OPT_CHECKPOINT:
		o->checkpoint = optarg;
		return true;
	case OPT_RESTORE:
		o->restore = optarg;
		return true;
	case OPT_OF:
		o->job = optarg;
		return true;
	case OPT_NOTE:
		o->note = optarg;
		return true;
	case OPT_UNDO:
		return o->undo = true;
	case OPT_JSON:
		return o->json = true;
	default:
		return false;
	}
}

static bool check(const struct wt_gang_options *o)
{
	const char *wrong = NULL;

	if ((o->checkpoint && o->restore) || ((o->checkpoint || o->restore) && (o->resume || o->journal)))
		wrong = "--checkpoint, --restore, and a move with --journal or --resume are three things; give one of them";
	else if (o->undo && !o->checkpoint && !o->restore)
		wrong = "--undo is for --checkpoint and --restore";
	else if (!o->checkpoint && (o->job || o->note))
		wrong = "--of and --note are for --checkpoint";
	else if (o->job && !wt_job_name_good(o->job))
		wrong = "--of: that is no name for a job";
	if (wrong)
		fprintf(stderr, "watari: %s\n", wrong);
	return !wrong;
}

int wt_command_gang(int argc, char **argv)
{
	struct request request = { 0 };
	struct wt_gang_options *o = &request.gang;
	char *journal = NULL;
	int option, code;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!take(option, &request))
			return option == OPT_HELP ? wt_command_help(usage) : wt_command_usage(usage);
	if (optind + 1 != argc)
		return wt_command_usage(usage);
	if (!check(o))
		return WT_EXIT_USAGE;
	o->plan = argv[optind];
	if (o->checkpoint && !o->job)
		o->job = "job";
	if (!o->journal && asprintf(&journal, "%s.journal", o->plan) < 0)
		return wt_report_no_memory();
	if (!o->journal)
		o->journal = journal;
	if (request.agents)
		code = wt_gang_agents(o);
	else if (o->checkpoint)
		code = wt_gang_save(o);
	else
		code = o->restore ? wt_gang_restore(o) : wt_gang_run(o);
	free(journal);
	return code;
}
