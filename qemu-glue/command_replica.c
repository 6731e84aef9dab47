/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_replica.c - `watari replica`: options of a replica that destinations on other hosts read.
 */
#include <getopt.h>
#include <stdio.h>

#include "command.h"
#include "privileges.h"
#include "replica_server.h"

static const char usage[] =
	"usage: watari replica [options] DIR [HOST]:PORT/NAME\n"
	"Serves the old copy of the RAM of the guest NAME in DIR (see send --keep-replica) to destinations: they read from\n"
	"here what is still right (receive --replica HOST:PORT/NAME). Until Ctrl-C.\n"
	"  --tls-creds DIR          certificates of both ends, in QEMU's and libvirt's layout (ca-cert.pem and so on)\n"
	"  --tls-allow NAME         who the other end may be, repeatable; @FILE: a name on each line\n"
	"  --psk FILE               pre-shared key (lines identity:hex-key, as QEMU's keys.psk)\n"
	"  --insecure               no encryption; loopback only\n"
	"  --data-plain             data over tcp is not encrypted (both ends say so; over verbs it never is)\n"
	"  --fabric LIST            verbs,tcp: what may be used (default: all)\n"
	"  --paths N                data connections to each destination (default: by the fabric)\n"
	"  --device NAME            RDMA device\n"
	"  --reconnect-timeout TIME how long a destination that is gone is tried again (default 5s)\n"
	"  --json                   events as JSON lines on standard output\n";

/* A destination gives up a replica that is silent for 2 s, so it is of no use to try for longer. */
#define RECONNECT_NS 5000000000ull

enum { OPT_PATHS = 256 };

static const struct option options[] = {
	WT_OPTIONS_COMMON,
	{ "paths", 1, NULL, OPT_PATHS },
	{ 0 },
};

static bool take(int option, struct wt_replica_server_options *o)
{
	uint64_t paths;

	switch (option) {
	case WT_OPTION_QMP:
	case WT_OPTION_JOB: /* of a relay */
		return false;
	case OPT_PATHS:
		if (!wt_command_number("--paths", optarg, 64, &paths))
			return false;
		o->paths = (unsigned)paths;
		return true;
	default:
		return wt_command_common(option, optarg, &o->common);
	}
}

static bool check(const struct wt_replica_server_options *o)
{
	if (!o->listen.unix_path)
		return wt_command_check_secure(&o->common);
	fprintf(stderr, "watari: a replica is read from other hosts; give [HOST]:PORT/NAME\n");
	return false;
}

int wt_command_replica(int argc, char **argv)
{
	struct wt_replica_server_options o = { .common.reconnect_timeout_ns = RECONNECT_NS };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == WT_OPTION_HELP)
			return wt_command_help(usage);
		else if (!take(option, &o))
			return wt_command_usage(usage);
	if (optind + 2 != argc)
		return wt_command_usage(usage);
	o.directory = argv[optind];
	if (!wt_command_target(argv[optind + 1], &o.listen, &o.common.name) || !check(&o))
		return WT_EXIT_USAGE;
	if (!wt_relay_is_secure(&o.common) && !o.listen.host)
		o.listen.host = "127.0.0.1";
	wt_privileges_drop(false);
	return wt_replica_server_run(&o);
}
