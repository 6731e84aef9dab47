/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_daemon.c - `watari daemon`: its options.
 */
#include <getopt.h>
#include <stdio.h>

#include <watari/limits.h>

#include "command.h"
#include "daemon.h"
#include "privileges.h"

static const char usage[] =
	"usage: watari daemon [options]\n"
	"Runs what is asked for with watari send --daemon and watari receive --daemon, all in this one process, until a\n"
	"signal; then it ends when the last of them has. One for each user and host.\n"
	"  --max-sessions N    at once (default 256); one more is refused\n"
	"  --max-memory BYTES  refuse more while the process uses more than that of its own; K, M, G (default: no limit)\n"
	"  --max-pinned BYTES  all sessions together pin no more than that for RDMA; K, M, G (default: ulimit -l)\n"
	"  --json              events as JSON lines on standard output\n";

enum { OPT_SESSIONS = 256, OPT_MEMORY, OPT_PINNED };

static const struct option options[] = {
	{ "max-sessions", 1, NULL, OPT_SESSIONS },
	{ "max-memory", 1, NULL, OPT_MEMORY },
	{ "max-pinned", 1, NULL, OPT_PINNED },
	{ "json", 0, NULL, WT_OPTION_JSON },
	{ "help", 0, NULL, WT_OPTION_HELP },
	{ 0 },
};

/* Takes one option; false: it was wrong and a sentence was printed. */
static bool take(int option, struct wt_daemon_options *o)
{
	uint64_t value = 0;

	switch (option) {
	case OPT_SESSIONS:
		if (!wt_command_number("--max-sessions", optarg, WT_LIMIT_SESSIONS_MAX, &value))
			return false;
		o->sessions_max = (unsigned)value;
		return true;
	case OPT_MEMORY:
		return wt_command_bytes("--max-memory", optarg, &o->memory_max);
	case OPT_PINNED:
		return wt_command_bytes("--max-pinned", optarg, &o->pinned_max);
	case WT_OPTION_JSON:
		o->json = true;
		return true;
	default:
		return false;
	}
}

int wt_command_daemon(int argc, char **argv)
{
	struct wt_daemon_options o = { .sessions_max = WT_LIMIT_SESSIONS };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == WT_OPTION_HELP)
			return wt_command_help(usage);
		else if (!take(option, &o))
			return wt_command_usage(usage);
	if (optind != argc)
		return wt_command_usage(usage);
	wt_privileges_drop(true); /* a session may have a device map */
	return wt_daemon_run(&o);
}
