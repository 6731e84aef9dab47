/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_handover.c - `watari handover`: options.
 */
#include <getopt.h>
#include <stdio.h>

#include "command.h"
#include "handover.h"

static const char usage[] =
	"usage: watari handover --from SOCKET --to SOCKET [options]\n"
	"A guest goes from one QEMU of this host to another one, which has the same memory: nothing is copied.\n"
	"  --from SOCKET            QMP socket of the QEMU that has the guest\n"
	"  --to SOCKET              QMP socket of the one that gets it, started with the same RAM and -incoming defer -S\n"
	"  --switchover-timeout T   abort when the new QEMU has not loaded the guest so long after the stop (default 2s)\n"
	"  --keep-source            leave the old QEMU, stopped\n"
	"  --devices MAP            devices that cannot go over with the guest are taken away and given back, see docs/DEVICES.md\n"
	"  --device-host NAME       which host of the map this is (default: its host name)\n"
	"  --agent SOCKET           of the port of watari-guest in the guest, behind the old QEMU\n"
	"  --new-agent SOCKET       the same of the new one\n"
	"  --json                   events as JSON lines on standard output\n";

static const struct option options[] = {
	{ "from", 1, NULL, 'f' },
	{ "to", 1, NULL, 't' },
	{ "switchover-timeout", 1, NULL, 's' },
	{ "keep-source", 0, NULL, 'k' },
	WT_OPTIONS_DEVICES,
	{ "new-agent", 1, NULL, 'a' },
	{ "json", 0, NULL, 'j' },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

int wt_command_handover(int argc, char **argv)
{
	struct wt_handover_options o = { .switchover_timeout_ns = WT_HANDOVER_TIMEOUT_NS };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'f')
			o.common.qmp_path = optarg;
		else if (option == 't')
			o.new_qmp_path = optarg;
		else if (option == 'a')
			o.new_agent = optarg;
		else if (option == 'k')
			o.keep_old = true;
		else if (option == 'j')
			o.common.json = true;
		else if (option == 'h')
			return wt_command_help(usage);
		else if (option == 's' ? !wt_command_duration(
						 "--switchover-timeout", optarg, &o.switchover_timeout_ns)
				       : !wt_command_common(option, optarg, &o.common))
			return wt_command_usage(usage);
	}
	if (optind != argc || !o.common.qmp_path || !o.new_qmp_path || !o.common.agent != !o.new_agent)
		return wt_command_usage(usage);
	if (!wt_command_check_devices(&o.common))
		return WT_EXIT_USAGE;
	return wt_handover_run(&o);
}
