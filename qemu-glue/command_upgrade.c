/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_upgrade.c - `watari upgrade`: options.
 */
#include <getopt.h>
#include <stdio.h>

#include "command.h"
#include "handover.h"
#include "upgrade.h"

static const char usage[] =
	"usage: watari upgrade --qmp SOCKET [--binary PATH | --command FILE] [options]\n"
	"Another QEMU is started with the command line of the one at SOCKET, gets its guest, and takes its place.\n"
	"  --qmp SOCKET             QMP socket of the QEMU that has the guest\n"
	"  --binary PATH            the new QEMU's program (default: that of the old one's command line)\n"
	"  --command FILE           a shell script that starts the new QEMU, with QMP at $WATARI_QMP; see watari(1)\n"
	"  --dry-run                only say what would be started\n"
	"  --start-timeout T        how long the new QEMU may take to come up (default 30s)\n"
	"  --switchover-timeout T   abort when the new QEMU has not loaded the guest so long after the stop (default 2s)\n"
	"  --devices MAP            devices that cannot go over with the guest are taken away and given back, see docs/DEVICES.md\n"
	"  --device-host NAME       which host of the map this is (default: its host name)\n"
	"  --agent SOCKET           of the port of watari-guest in the guest\n"
	"  --json                   events as JSON lines on standard output\n";

static const struct option options[] = {
	{ "qmp", 1, NULL, WT_OPTION_QMP },
	{ "binary", 1, NULL, 'b' },
	{ "command", 1, NULL, 'c' },
	{ "dry-run", 0, NULL, 'n' },
	{ "start-timeout", 1, NULL, 't' },
	{ "switchover-timeout", 1, NULL, 's' },
	WT_OPTIONS_DEVICES,
	{ "json", 0, NULL, WT_OPTION_JSON },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

/* Takes one option; false: it was wrong. */
static bool take(int option, struct wt_upgrade_options *o)
{
	switch (option) {
	case 'b':
		o->binary = optarg;
		return true;
	case 'c':
		o->command_file = optarg;
		return true;
	case 'n':
		return o->dry_run = true;
	case 't':
		return wt_command_duration("--start-timeout", optarg, &o->start_timeout_ns);
	case 's':
		return wt_command_duration("--switchover-timeout", optarg, &o->switchover_timeout_ns);
	default:
		return wt_command_common(option, optarg, &o->common);
	}
}

int wt_command_upgrade(int argc, char **argv)
{
	struct wt_upgrade_options o = { .switchover_timeout_ns = WT_HANDOVER_TIMEOUT_NS,
		.start_timeout_ns = 30000000000ull };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h')
			return wt_command_help(usage);
		if (!take(option, &o))
			return wt_command_usage(usage);
	}
	if (optind != argc || !o.common.qmp_path || (o.binary && o.command_file))
		return wt_command_usage(usage);
	if (!wt_command_check_devices(&o.common))
		return WT_EXIT_USAGE;
	return wt_upgrade_run(&o);
}
