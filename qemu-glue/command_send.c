/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_send.c - `watari send`: options of a driven migration at the source.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "daemon.h"
#include "privileges.h"
#include "source.h"

static const char usage[] =
	"usage: watari send --qmp SOCKET [options] HOST:PORT/NAME\n"
	"Moves the guest of the QEMU at SOCKET to the `watari receive` at HOST:PORT that awaits NAME.\n"
	"  --qmp SOCKET             QMP socket of the source QEMU\n"
	"  --tls-creds DIR          certificates of both ends, in QEMU's and libvirt's layout (ca-cert.pem and so on)\n"
	"  --tls-allow NAME         who the other end may be, repeatable; @FILE: a name on each line\n"
	"  --psk FILE               pre-shared key (lines identity:hex-key, as QEMU's keys.psk)\n"
	"  --insecure               no encryption; loopback and unix sockets only\n"
	"  --data-plain             data over tcp is not encrypted (both ends say so; over verbs it never is)\n"
	"  --fabric LIST            verbs,tcp: what may be used (default: the best that works)\n"
	"  --paths N                data connections (default 2)\n"
	"  --channels N             QEMU writes its stream over N channels of multifd (default 1: without it)\n"
	"  --no-feed                QEMU's libwatari-feed.so, if it has that, leaves out nothing\n"
	"  --continuable            a guest that is paused can be continued while it moves, which is slower then\n"
	"  --device NAME[,NAME]     RDMA device, or two\n"
	"  --downtime-limit TIME    QEMU stops the guest when the rest fits into this (default 300ms)\n"
	"  --switchover-timeout T   abort when the destination is not loaded so long after the stop (default 2s)\n"
	"  --auto-converge          QEMU slows the guest down when it writes faster than its memory gets across\n"
	"  --dirty-sync WHEN        often, seldom, or auto (default: often under KVM): how often QEMU looks for what is dirty\n"
	"  --max-rate BYTES         QEMU sends so much a second while the guest runs; K, M, G (default: no limit)\n"
	"  --give-up-after TIME     abort when the guest could not be stopped so long after the start (default: never)\n"
	"  --reconnect-timeout TIME how long a lost connection is tried again (default 60s)\n"
	"  --shared-storage         writable disks are seen by both hosts\n"
	"  --common-memory          both hosts are VMs that have the guest's memory mapped from one file: it stays there\n"
	"  --keep-source            leave the source QEMU, stopped, after the move\n"
	"  --keep-replica DIR       when the guest has moved, write its RAM there, so that it may come back by what differs\n"
	"  --devices MAP            devices that cannot move with the guest are taken away and given back, see docs/DEVICES.md\n"
	"  --device-host NAME       which host of the map this one is (default: its host name)\n"
	"  --agent SOCKET           of the port of watari-guest in the guest, which lets go of devices\n"
	"  --no-warm-up             with --devices: do not move memory before the devices are taken away\n"
	"  --verify                 compare all RAM of both sides while both are stopped (adds to the downtime)\n"
	"  --hold[=TIME]            wait for watari proceed before the guest moves; given up after TIME (default 60s)\n"
	"  --job NAME               for watari status and cancel (default: the name of the VM)\n"
	"  --daemon                 the watari daemon of this host does it; this command tells what it tells\n"
	"  --json                   events as JSON lines on standard output\n";

enum {
	OPT_PATHS = 256,
	OPT_CHANNELS,
	OPT_NO_FEED,
	OPT_CONTINUABLE,
	OPT_DOWNTIME,
	OPT_SWITCHOVER,
	OPT_SHARED,
	OPT_COMMON,
	OPT_KEEP,
	OPT_REPLICA,
	OPT_VERIFY,
	OPT_CONVERGE,
	OPT_DIRTY_SYNC,
	OPT_RATE,
	OPT_GIVE_UP,
	OPT_NO_WARM_UP
};

static const struct option options[] = {
	WT_OPTIONS_COMMON,
	WT_OPTIONS_DEVICES,
	{ "hold", 2, NULL, WT_OPTION_HOLD },
	{ "daemon", 0, NULL, WT_OPTION_DAEMON },
	{ "paths", 1, NULL, OPT_PATHS },
	{ "channels", 1, NULL, OPT_CHANNELS },
	{ "no-feed", 0, NULL, OPT_NO_FEED },
	{ "continuable", 0, NULL, OPT_CONTINUABLE },
	{ "downtime-limit", 1, NULL, OPT_DOWNTIME },
	{ "switchover-timeout", 1, NULL, OPT_SWITCHOVER },
	{ "shared-storage", 0, NULL, OPT_SHARED },
	{ "common-memory", 0, NULL, OPT_COMMON },
	{ "keep-source", 0, NULL, OPT_KEEP },
	{ "keep-replica", 1, NULL, OPT_REPLICA },
	{ "verify", 0, NULL, OPT_VERIFY },
	{ "auto-converge", 0, NULL, OPT_CONVERGE },
	{ "dirty-sync", 1, NULL, OPT_DIRTY_SYNC },
	{ "max-rate", 1, NULL, OPT_RATE },
	{ "give-up-after", 1, NULL, OPT_GIVE_UP },
	{ "no-warm-up", 0, NULL, OPT_NO_WARM_UP },
	{ 0 },
};

static bool take_dirty_sync(const char *text, enum wt_dirty_sync *ret_when)
{
	static const char *const names[] = {
		[WT_DIRTY_SYNC_AUTO] = "auto",
		[WT_DIRTY_SYNC_OFTEN] = "often",
		[WT_DIRTY_SYNC_SELDOM] = "seldom",
	};

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*ret_when = (enum wt_dirty_sync)i;
		return true;
	}
	fprintf(stderr, "watari: --dirty-sync %s: say auto, often or seldom\n", text);
	return false;
}

/* Takes one option; false: it was wrong and a sentence was printed. */
static bool take(int option, struct wt_source_options *o)
{
	uint64_t value = 0;

	switch (option) {
	case OPT_PATHS:
		if (!wt_command_number("--paths", optarg, 16, &value))
			return false;
		o->paths = (unsigned)value;
		return true;
	case OPT_CHANNELS:
		if (!wt_command_number("--channels", optarg, WT_SOURCE_CHANNELS_MAX, &value))
			return false;
		o->channels = (unsigned)value;
		return true;
	case OPT_NO_FEED:
		o->no_feed = true;
		return true;
	case OPT_CONTINUABLE:
		o->continuable = true;
		return true;
	case OPT_DOWNTIME:
		return wt_command_downtime("--downtime-limit", optarg, &o->downtime_limit_ms);
	case OPT_SWITCHOVER:
		return wt_command_duration("--switchover-timeout", optarg, &o->switchover_timeout_ns);
	case OPT_CONVERGE:
		o->auto_converge = true;
		return true;
	case OPT_DIRTY_SYNC:
		return take_dirty_sync(optarg, &o->dirty_sync);
	case OPT_RATE:
		return wt_command_rate("--max-rate", optarg, &o->max_rate);
	case OPT_GIVE_UP:
		return wt_command_duration("--give-up-after", optarg, &o->give_up_ns);
	case OPT_NO_WARM_UP:
		o->no_warm_up = true;
		return true;
	case OPT_SHARED:
		o->shared_storage = true;
		return true;
	case OPT_COMMON:
		o->common_memory = true;
		return true;
	case OPT_KEEP:
		o->keep_source = true;
		return true;
	case OPT_REPLICA:
		o->keep_replica = optarg;
		return true;
	case OPT_VERIFY:
		o->verify = true;
		return true;
	default:
		return wt_command_common(option, optarg, &o->common);
	}
}

/* What makes no sense where no memory is moved. */
static bool check_common(const struct wt_source_options *o)
{
	const char *with = o->verify              ? "--verify"
			   : o->keep_replica      ? "--keep-replica"
			   : o->channels > 1      ? "--channels"
			   : o->common.device_map ? "--devices"
						  : NULL;

	if (!o->common_memory || !with)
		return true;
	fprintf(stderr, "watari: with --common-memory no memory is moved, and %s cannot be given\n", with);
	return false;
}

int wt_command_send_options(int argc, char **argv, struct wt_source_options *ret_options)
{
	struct wt_source_options o = { .common.reconnect_timeout_ns = 60000000000ull,
		.downtime_limit_ms = 300,
		.switchover_timeout_ns = 2000000000ull };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == WT_OPTION_HELP)
			return wt_command_help(usage);
		else if (!take(option, &o))
			return wt_command_usage(usage);
	if (optind + 1 != argc)
		return wt_command_usage(usage);
	if (!wt_command_check(&o.common) || !wt_command_target(argv[optind], &o.peer, &o.common.name) ||
		!wt_command_name_job(&o.common, "") || !check_common(&o))
		return WT_EXIT_USAGE;
	if (!o.peer.host && !o.peer.unix_path)
		o.peer.host = "127.0.0.1";
	*ret_options = o;
	return WT_COMMAND_RUN;
}

int wt_command_send(int argc, char **argv)
{
	struct wt_source_options o = { 0 };
	json_t *words;
	int code;

	if (wt_command_is_uri(argc, argv))
		return wt_command_send_uri(argc, argv);
	words = wt_daemon_words(argc, argv); /* as they are: getopt puts them in order */
	code = wt_command_send_options(argc, argv, &o);
	if (code == WT_COMMAND_RUN && o.common.daemon)
		code = wt_daemon_ask(words);
	else if (code == WT_COMMAND_RUN) {
		wt_privileges_drop(o.common.device_map);
		code = wt_source_run(&o);
	}
	json_decref(words);
	return code;
}
