/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_receive.c - `watari receive`: options of the destination.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "daemon.h"
#include "destination.h"
#include "privileges.h"
#include "source.h"

static const char usage[] =
	"usage: watari receive --qmp SOCKET [options] [HOST]:PORT/NAME\n"
	"Awaits the guest NAME for the QEMU at SOCKET, which was started with -incoming defer -S.\n"
	"  --qmp SOCKET             QMP socket of the destination QEMU\n"
	"  --tls-creds DIR          certificates of both ends, in QEMU's and libvirt's layout (ca-cert.pem and so on)\n"
	"  --tls-allow NAME         who the other end may be, repeatable; @FILE: a name on each line\n"
	"  --psk FILE               pre-shared key (lines identity:hex-key, as QEMU's keys.psk)\n"
	"  --insecure               no encryption; loopback and unix sockets only\n"
	"  --data-plain             data over tcp is not encrypted (both ends say so; over verbs it never is)\n"
	"  --fabric LIST            verbs,tcp: what is offered (default: all)\n"
	"  --data-host ADDRESS[,..] where data connections are awaited (default: at HOST)\n"
	"  --device NAME[,NAME]     RDMA device, or two\n"
	"  --reconnect-timeout TIME how long a lost source is awaited (default 60s)\n"
	"  --replica DIR            an old copy of the guest's RAM, see send --keep-replica: only what differs is pulled\n"
	"  --replica HOST:PORT/NAME the same on another host, where watari replica serves it: what is right is read there\n"
	"  --reuse-memory           the same of this QEMU's RAM, if its file has old content of the guest\n"
	"  --common-memory          both hosts are VMs that have the guest's memory mapped from one file: it stays there\n"
	"  --devices MAP            devices that cannot move with the guest are taken away and given back, see docs/DEVICES.md\n"
	"  --device-host NAME       which host of the map this one is (default: its host name)\n"
	"  --agent SOCKET           of the port of watari-guest in the guest, which lets go of devices\n"
	"  --wait TIME              how long to wait for a source at all (default: for ever)\n"
	"  --hold[=TIME]            the guest runs, and waits for its devices until watari proceed, or for TIME (default 60s)\n"
	"  --job NAME               for watari status and cancel (default: the name of the VM and -incoming)\n"
	"  --daemon                 the watari daemon of this host does it; this command tells what it tells\n"
	"  --json                   events as JSON lines on standard output\n";

enum { OPT_DATA_HOST = 256, OPT_REPLICA, OPT_REUSE, OPT_COMMON, OPT_WAIT };

static const struct option options[] = {
	WT_OPTIONS_COMMON,
	WT_OPTIONS_DEVICES,
	{ "hold", 2, NULL, WT_OPTION_HOLD },
	{ "daemon", 0, NULL, WT_OPTION_DAEMON },
	{ "data-host", 1, NULL, OPT_DATA_HOST },
	{ "replica", 1, NULL, OPT_REPLICA },
	{ "reuse-memory", 0, NULL, OPT_REUSE },
	{ "common-memory", 0, NULL, OPT_COMMON },
	{ "wait", 1, NULL, OPT_WAIT },
	{ 0 },
};

/* A directory; or an address with a name, which are split then. */
static bool take_replica(char *text, struct wt_destination_options *o)
{
	const char *name, *colon = strchr(text, ':');
	struct stat st;

	if (!colon || !strchr(colon, '/') || stat(text, &st) == 0) {
		o->replica = text;
		return true;
	}
	if (!wt_command_target(text, &o->replica_peer, &name))
		return false;
	if (!o->replica_peer.host || !o->replica_peer.port) {
		fprintf(stderr,
			"watari: --replica: give a directory, or HOST:PORT/NAME of a watari replica\n");
		return false;
	}
	o->replica_vm = name;
	return true;
}

static bool check_replica(const struct wt_destination_options *o)
{
	if (!o->replica_peer.port)
		return true;
	if (strcmp(o->replica_vm, o->common.name) != 0)
		fprintf(stderr, "watari: --replica: that is a replica of %s, and the guest %s is awaited\n",
			o->replica_vm, o->common.name);
	else if (o->replica || o->reuse_memory)
		fprintf(stderr,
			"watari: give one replica: a directory, one on another host, or --reuse-memory\n");
	else
		return true;
	return false;
}

static bool check_common(const struct wt_destination_options *o)
{
	const char *with = o->replica || o->replica_peer.port ? "--replica"
			   : o->reuse_memory                  ? "--reuse-memory"
			   : o->common.device_map             ? "--devices"
							      : NULL;

	if (!o->common_memory || !with)
		return true;
	fprintf(stderr, "watari: with --common-memory no memory is moved, and %s cannot be given\n", with);
	return false;
}

static bool take(int option, struct wt_destination_options *o)
{
	switch (option) {
	case OPT_DATA_HOST:
		o->data_host = optarg;
		return true;
	case OPT_REPLICA:
		return take_replica(optarg, o);
	case OPT_REUSE:
		o->reuse_memory = true;
		return true;
	case OPT_COMMON:
		o->common_memory = true;
		return true;
	case OPT_WAIT:
		return wt_command_duration("--wait", optarg, &o->wait_ns);
	default:
		return wt_command_common(option, optarg, &o->common);
	}
}

int wt_command_receive_options(int argc, char **argv, struct wt_destination_options *ret_options)
{
	struct wt_destination_options o = { .common.reconnect_timeout_ns = 60000000000ull };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == WT_OPTION_HELP)
			return wt_command_help(usage);
		else if (!take(option, &o))
			return wt_command_usage(usage);
	if (optind + 1 != argc)
		return wt_command_usage(usage);
	if (!wt_command_check(&o.common) || !wt_command_target(argv[optind], &o.listen, &o.common.name) ||
		!wt_command_name_job(&o.common, "-incoming") || !check_replica(&o) || !check_common(&o))
		return WT_EXIT_USAGE;
	if (!wt_relay_is_secure(&o.common) && !o.listen.host && !o.listen.unix_path)
		o.listen.host = "127.0.0.1";
	*ret_options = o;
	return WT_COMMAND_RUN;
}

int wt_command_receive(int argc, char **argv)
{
	struct wt_destination_options o = { 0 };
	json_t *words;
	int code;

	if (wt_command_is_uri(argc, argv))
		return wt_command_receive_uri(argc, argv);
	words = wt_daemon_words(argc, argv); /* as they are: getopt puts them in order */
	code = wt_command_receive_options(argc, argv, &o);
	if (code == WT_COMMAND_RUN && o.common.daemon)
		code = wt_daemon_ask(words);
	else if (code == WT_COMMAND_RUN) {
		wt_privileges_drop(o.common.device_map);
		code = wt_destination_run(&o);
	}
	json_decref(words);
	return code;
}
