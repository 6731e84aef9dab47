/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_checkpoint.c - `watari checkpoint` and `watari restore`: their options.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint.h"
#include "command.h"
#include "restore.h"

static const char checkpoint_usage[] =
	"usage: watari checkpoint --qmp SOCKET [options] DIR\n"
	"Writes a running guest to DIR: its memory while it runs, and its device state in a short stop, after which it goes on.\n"
	"If DIR has a checkpoint of it, only what has changed since then is written.\n"
	"  --qmp SOCKET             QMP socket of its QEMU\n"
	"  --name NAME              of the VM (default: as in QEMU's -name, else vm)\n"
	"  --snapshot-dir DIR       writable disks stay as they are at the stop; the guest goes on in overlays in DIR\n"
	"  --base DIR               add to the checkpoint in that directory, on the same file system\n"
	"  --full                   write all, whatever is there\n"
	"  --zstd[=LEVEL]           compress what is written (default level 1)\n"
	"  --channels N             connections of QEMU to watari (default 1)\n"
	"  --no-feed                do not use libwatari-feed.so, if QEMU has it\n"
	"  --auto-converge          let QEMU slow down a guest that writes too fast\n"
	"  --max-rate BYTES         of memory per second, such as 200M\n"
	"  --downtime-limit TIME    how long the guest may be stopped, as QEMU estimates (default 300ms)\n"
	"  --stop-timeout TIME      give up, and let it go on, if it is stopped for longer (default 10s)\n"
	"  --give-up-after TIME     give up if it could not be stopped until then\n"
	"  --job NAME               for watari status, cancel and proceed (default: it is no job)\n"
	"  --hold[=TIME]            when all of it is written, wait for watari proceed before it goes on (default 60s)\n"
	"  --devices MAP            devices leave before that, and come back when it goes on (docs/DEVICES.md)\n"
	"  --device-host NAME       which host of the map this is (default: its host name)\n"
	"  --agent SOCKET           of the guest's agent, whose hooks let them go\n"
	"  --json                   events as JSON lines on standard output\n";

static const char restore_usage[] =
	"usage: watari restore --qmp SOCKET [options] DIR\n"
	"       watari restore --check [--json] DIR\n"
	"Lets the guest in DIR (see checkpoint) go on in the QEMU at SOCKET, which was started with -incoming defer -S.\n"
	"  --qmp SOCKET        QMP socket of that QEMU\n"
	"  --paused            the guest stays paused\n"
	"  --check             only compare all of the checkpoint with its digests\n"
	"  --job NAME          for watari status, cancel and proceed (default: it is no job)\n"
	"  --hold[=TIME]       when all of it is loaded, wait for watari proceed before it runs (default 60s)\n"
	"  --devices MAP       then it gets the devices that this host has for it (docs/DEVICES.md)\n"
	"  --device-host NAME  which host of the map this is (default: its host name)\n"
	"  --agent SOCKET      of the guest's agent in that QEMU, whose hooks are told\n"
	"  --json              events as JSON lines on standard output\n";

#define LEVEL_MAX 19

enum {
	OPT_NAME = 256,
	OPT_SNAPSHOT,
	OPT_BASE,
	OPT_FULL,
	OPT_ZSTD,
	OPT_CHANNELS,
	OPT_NO_FEED,
	OPT_CONVERGE,
	OPT_RATE,
	OPT_DOWNTIME,
	OPT_STOP,
	OPT_GIVE_UP,
	OPT_PAUSED,
	OPT_CHECK,
};

static const struct option checkpoint_options[] = {
	{ "qmp", 1, NULL, WT_OPTION_QMP },
	{ "job", 1, NULL, WT_OPTION_JOB },
	{ "json", 0, NULL, WT_OPTION_JSON },
	{ "help", 0, NULL, WT_OPTION_HELP },
	{ "name", 1, NULL, OPT_NAME },
	{ "snapshot-dir", 1, NULL, OPT_SNAPSHOT },
	{ "base", 1, NULL, OPT_BASE },
	{ "full", 0, NULL, OPT_FULL },
	{ "zstd", 2, NULL, OPT_ZSTD },
	{ "channels", 1, NULL, OPT_CHANNELS },
	{ "no-feed", 0, NULL, OPT_NO_FEED },
	{ "auto-converge", 0, NULL, OPT_CONVERGE },
	{ "max-rate", 1, NULL, OPT_RATE },
	{ "downtime-limit", 1, NULL, OPT_DOWNTIME },
	{ "stop-timeout", 1, NULL, OPT_STOP },
	{ "give-up-after", 1, NULL, OPT_GIVE_UP },
	{ "hold", 2, NULL, WT_OPTION_HOLD },
	WT_OPTIONS_DEVICES,
	{ 0 },
};

static const struct option restore_options[] = {
	{ "qmp", 1, NULL, WT_OPTION_QMP },
	{ "json", 0, NULL, WT_OPTION_JSON },
	{ "help", 0, NULL, WT_OPTION_HELP },
	{ "paused", 0, NULL, OPT_PAUSED },
	{ "check", 0, NULL, OPT_CHECK },
	{ "job", 1, NULL, WT_OPTION_JOB },
	{ "hold", 2, NULL, WT_OPTION_HOLD },
	WT_OPTIONS_DEVICES,
	{ 0 },
};

static bool take_level(struct wt_checkpoint_options *o)
{
	uint64_t level = 1;

	if (optarg && (!wt_command_number("--zstd", optarg, LEVEL_MAX, &level) || !level))
		return false;
	o->level = (int)level;
	return true;
}

static bool take(int option, struct wt_checkpoint_options *o)
{
	uint64_t value;

	switch (option) {
	case OPT_NAME:
		o->common.name = optarg;
		return true;
	case OPT_SNAPSHOT:
		o->snapshot_dir = optarg;
		return true;
	case OPT_BASE:
		o->base = optarg;
		return true;
	case OPT_FULL:
		o->full = true;
		return true;
	case OPT_ZSTD:
		return take_level(o);
	case OPT_CHANNELS:
		if (!wt_command_number("--channels", optarg, WT_SOURCE_CHANNELS_MAX, &value))
			return false;
		o->channels = (unsigned)value;
		return true;
	case OPT_NO_FEED:
		o->no_feed = true;
		return true;
	case OPT_CONVERGE:
		o->auto_converge = true;
		return true;
	case OPT_RATE:
		return wt_command_rate("--max-rate", optarg, &o->max_rate);
	case OPT_DOWNTIME:
		return wt_command_downtime("--downtime-limit", optarg, &o->downtime_limit_ms);
	case OPT_STOP:
		return wt_command_duration("--stop-timeout", optarg, &o->stop_timeout_ns);
	case OPT_GIVE_UP:
		return wt_command_duration("--give-up-after", optarg, &o->give_up_ns);
	default:
		return wt_command_common(option, optarg, &o->common);
	}
}

/* What is there must be enough to begin. */
static bool check_options(const struct wt_relay_options *o)
{
	if (!o->qmp_path)
		fprintf(stderr, "watari: give --qmp SOCKET, a QMP socket of QEMU that nobody else uses\n");
	else if (o->hold_ns && !o->job[0])
		fprintf(stderr, "watari: --hold waits for watari proceed JOB; give --job NAME\n");
	else
		return wt_command_check_devices(o);
	return false;
}

int wt_command_checkpoint(int argc, char **argv)
{
	struct wt_checkpoint_options o = { .downtime_limit_ms = 300, .stop_timeout_ns = 10000000000ull };
	int option;

	while ((option = getopt_long(argc, argv, "", checkpoint_options, NULL)) != -1)
		if (option == WT_OPTION_HELP)
			return wt_command_help(checkpoint_usage);
		else if (!take(option, &o))
			return wt_command_usage(checkpoint_usage);
	if (optind + 1 != argc)
		return wt_command_usage(checkpoint_usage);
	if (!check_options(&o.common))
		return WT_EXIT_USAGE;
	if (o.base && o.full) {
		fprintf(stderr,
			"watari: --base adds to a checkpoint, and --full to none; give one of them\n");
		return WT_EXIT_USAGE;
	}
	o.directory = argv[optind];
	return wt_checkpoint_run(&o);
}

int wt_command_restore(int argc, char **argv)
{
	struct wt_restore_options o = { 0 };
	bool check = false;
	int option;

	while ((option = getopt_long(argc, argv, "", restore_options, NULL)) != -1)
		if (option == WT_OPTION_HELP)
			return wt_command_help(restore_usage);
		else if (option == OPT_PAUSED)
			o.paused = true;
		else if (option == OPT_CHECK)
			check = true;
		else if (!wt_command_common(option, optarg, &o.common))
			return wt_command_usage(restore_usage);
	if (optind + 1 != argc ||
		(check && (o.common.qmp_path || o.paused || o.common.hold_ns || o.common.device_map)))
		return wt_command_usage(restore_usage);
	if (!check && !check_options(&o.common))
		return WT_EXIT_USAGE;
	if (o.paused && (o.common.hold_ns || o.common.device_map)) {
		fprintf(stderr, "watari: --paused is not for --hold or --devices: the guest must run\n");
		return WT_EXIT_USAGE;
	}
	o.directory = argv[optind];
	return wt_restore_run(&o);
}
