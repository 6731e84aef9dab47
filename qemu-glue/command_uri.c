/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_uri.c - options of migrations that QEMU itself was told to begin: `watari send` and `watari
 * receive` without --qmp, and `watari relay`.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "privileges.h"
#include "uri_destination.h"
#include "uri_source.h"

#define USAGE_COMMON                                                                                                     \
	"  --tls-creds DIR          certificates of both ends, in QEMU's and libvirt's layout (ca-cert.pem and so on)\n" \
	"  --tls-allow NAME         who the other end may be, repeatable; @FILE: a name on each line\n"                  \
	"  --psk FILE               pre-shared key (lines identity:hex-key, as QEMU's keys.psk)\n"                       \
	"  --insecure               no encryption; loopback and unix sockets only\n"                                     \
	"  --data-plain             data over tcp is not encrypted (both ends say so; over verbs it never is)\n"         \
	"  --fabric LIST            verbs,tcp: what may be used (default: all)\n"                                        \
	"  --job NAME               for watari status and cancel (default: neither)\n"                                   \
	"  --device NAME[,NAME]     RDMA device, or two\n"                                                               \
	"  --reconnect-timeout TIME how long a lost connection is tried again (default 60s)\n"                           \
	"  --ram ID=PATH            RAM block ID lies in the file at PATH, also /proc/PID/fd/N; repeatable\n"
#define USAGE_SOURCE                                                                                          \
	"  --paths N                data connections (default 2)\n"                                           \
	"  --switchover-timeout T   give up when the destination has not got everything so long after RAM's " \
	"end (default 2s)\n"                                                                                  \
	"  --confirm-timeout TIME   how long to wait for the destination's word at the end (default 10s)\n"   \
	"  --verify                 compare all RAM of both sides while both are stopped\n"
#define USAGE_DESTINATION                                                                    \
	"  --data-host ADDRESS[,..] where data connections are awaited (default: at HOST)\n" \
	"  --wait TIME              how long to wait for a source at all (default: for ever)\n"

static const char send_usage[] =
	"usage, in QEMU's monitor: migrate \"exec:watari send [options] HOST:PORT/NAME\"\n"
	"Moves the guest of the QEMU that writes its stream to standard input. With --qmp SOCKET: see\n"
	"`watari send --help`.\n" USAGE_COMMON
	"  --pid PID                the process of QEMU (default: the nearest parent that is one)\n" USAGE_SOURCE
	"  --json                   events as JSON lines on standard output, if that is a file\n";

static const char receive_usage[] =
	"usage, as an option of QEMU: -incoming \"exec:watari receive [options] [HOST]:PORT/NAME\"\n"
	"Awaits the guest NAME for the QEMU that reads its stream from standard output. With --qmp SOCKET: see\n"
	"`watari receive --help`.\n" USAGE_COMMON
	"  --pid PID                the process of QEMU (default: the nearest parent that is one)\n" USAGE_DESTINATION;

static const char relay_usage[] =
	"usage: watari relay --listen unix:PATH [options] HOST:PORT/NAME\n"
	"       watari relay --incoming unix:PATH [options] [HOST]:PORT/NAME\n"
	"Moves the guests of QEMUs that are told to `migrate unix:PATH`, or awaits a guest for the QEMU that was\n"
	"started with -incoming unix:PATH.\n" USAGE_COMMON
	"  --pid PID                the process of QEMU (default: the one at the other end of PATH)\n"
	"  --once                   end after one migration\n" USAGE_SOURCE USAGE_DESTINATION
	"  --json                   events as JSON lines on standard output\n";

enum {
	OPT_RAM = 256,
	OPT_PID,
	OPT_PATHS,
	OPT_SWITCHOVER,
	OPT_CONFIRM,
	OPT_VERIFY,
	OPT_DATA_HOST,
	OPT_WAIT,
	OPT_LISTEN,
	OPT_INCOMING,
	OPT_ONCE,
};

#define OPTIONS_BOTH                                    \
	WT_OPTIONS_COMMON, { "ram", 1, NULL, OPT_RAM }, \
	{                                               \
		"pid", 1, NULL, OPT_PID                 \
	}
#define OPTIONS_SOURCE                                                                      \
	{ "paths", 1, NULL, OPT_PATHS }, { "switchover-timeout", 1, NULL, OPT_SWITCHOVER }, \
		{ "confirm-timeout", 1, NULL, OPT_CONFIRM },                                \
	{                                                                                   \
		"verify", 0, NULL, OPT_VERIFY                                               \
	}
#define OPTIONS_DESTINATION                      \
	{ "data-host", 1, NULL, OPT_DATA_HOST }, \
	{                                        \
		"wait", 1, NULL, OPT_WAIT        \
	}

static const struct option send_options[] = { OPTIONS_BOTH, OPTIONS_SOURCE, { 0 } };
static const struct option receive_options[] = { OPTIONS_BOTH, OPTIONS_DESTINATION, { 0 } };
static const struct option relay_options[] = { OPTIONS_BOTH, OPTIONS_SOURCE, OPTIONS_DESTINATION,
	{ "listen", 1, NULL, OPT_LISTEN }, { "incoming", 1, NULL, OPT_INCOMING },
	{ "once", 0, NULL, OPT_ONCE }, { 0 } };

/* Everything that can be said; each command has a part of it. */
struct uri_options {
	struct wt_relay_options common;
	struct wt_uri_source_options source;
	struct wt_uri_destination_options destination;
	struct wt_ram_hint hints[WT_RAM_HINTS_MAX];
	unsigned hint_count;
	uint64_t pid;
	bool once;
};

static bool take_ram(char *value, struct uri_options *o)
{
	char *equals = strrchr(value, '=');

	if (!equals || equals == value || !equals[1] || o->hint_count == WT_RAM_HINTS_MAX) {
		fprintf(stderr, "watari: --ram %s: give ID=PATH, at most %u times\n", value,
			WT_RAM_HINTS_MAX);
		return false;
	}
	*equals = '\0';
	o->hints[o->hint_count++] = (struct wt_ram_hint){ .name = value, .path = equals + 1 };
	return true;
}

static bool take_socket(const char *option, const char *value, const char **ret_path)
{
	if (strncmp(value, "unix:/", 6) != 0 || strlen(value) - 5 > 107) {
		fprintf(stderr, "watari: %s %s: give unix: and an absolute path of at most 107 bytes\n",
			option, value);
		return false;
	}
	*ret_path = value + 5;
	return true;
}

/* Takes one option; false: it was wrong and a sentence was printed. */
static bool take(int option, struct uri_options *o)
{
	uint64_t value = 0;

	switch (option) {
	case OPT_RAM:
		return take_ram(optarg, o);
	case OPT_PID:
		return wt_command_number("--pid", optarg, INT32_MAX, &o->pid);
	case OPT_PATHS:
		if (!wt_command_number("--paths", optarg, 16, &value))
			return false;
		o->source.paths = (unsigned)value;
		return true;
	case OPT_SWITCHOVER:
		return wt_command_duration("--switchover-timeout", optarg, &o->source.switchover_timeout_ns);
	case OPT_CONFIRM:
		return wt_command_duration("--confirm-timeout", optarg, &o->source.confirm_timeout_ns);
	case OPT_VERIFY:
		o->source.verify = true;
		return true;
	case OPT_DATA_HOST:
		o->destination.data_host = optarg;
		return true;
	case OPT_WAIT:
		return wt_command_duration("--wait", optarg, &o->destination.wait_ns);
	case OPT_LISTEN:
		return take_socket("--listen", optarg, &o->source.listen_path);
	case OPT_INCOMING:
		return take_socket("--incoming", optarg, &o->destination.incoming_path);
	case OPT_ONCE:
		o->once = true;
		return true;
	default:
		return wt_command_common(option, optarg, &o->common);
	}
}

/* Reads the command line; WT_EXIT_OK: go on, otherwise the exit code (help: -1, and it was printed). */
static int parse(int argc, char **argv, const struct option *options, const char *usage,
	struct uri_options *o, struct wt_address *ret_address)
{
	int option;

	*o = (struct uri_options){ .common.reconnect_timeout_ns = 60000000000ull,
		.source.switchover_timeout_ns = 2000000000ull,
		.source.confirm_timeout_ns = 10000000000ull,
		.destination.load_timeout_ns = 60000000000ull };
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == WT_OPTION_HELP)
			return wt_command_help(usage), -1;
		else if (!take(option, o))
			return wt_command_usage(usage);
	if (optind + 1 != argc)
		return wt_command_usage(usage);
	if (o->common.qmp_path) {
		fprintf(stderr, "watari: --qmp and a migration that QEMU begins exclude each other\n");
		return WT_EXIT_USAGE;
	}
	if (!wt_command_check_secure(&o->common))
		return WT_EXIT_USAGE;
	return wt_command_target(argv[optind], ret_address, &o->common.name) ? WT_EXIT_OK : WT_EXIT_USAGE;
}

static int run_source(struct uri_options *o, const struct wt_address *peer)
{
	bool over = o->once;
	int code;

	o->source.common = o->common;
	o->source.peer = *peer;
	o->source.pid = (pid_t)o->pid;
	memcpy(o->source.hints, o->hints, sizeof o->hints);
	o->source.hint_count = o->hint_count;
	if (!o->source.peer.host && !o->source.peer.unix_path)
		o->source.peer.host = "127.0.0.1";
	wt_privileges_drop(false);
	do
		code = wt_uri_source_run(&o->source, o->once ? NULL : &over);
	while (!over);
	return code;
}

static int run_destination(struct uri_options *o, const struct wt_address *listen)
{
	o->destination.common = o->common;
	o->destination.listen = *listen;
	o->destination.pid = (pid_t)o->pid;
	memcpy(o->destination.hints, o->hints, sizeof o->hints);
	o->destination.hint_count = o->hint_count;
	if (!wt_relay_is_secure(&o->common) && !listen->host && !listen->unix_path)
		o->destination.listen.host = "127.0.0.1";
	wt_privileges_drop(false);
	return wt_uri_destination_run(&o->destination);
}

bool wt_command_is_uri(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--qm", 4) == 0 || strncmp(argv[i], "--h", 3) == 0)
			return false;
	return argc > 1;
}

/* Standard output of an exec child is a pipe to QEMU. */
static bool output_is_qemus(void)
{
	struct stat file;

	return !fstat(STDOUT_FILENO, &file) && S_ISFIFO(file.st_mode);
}

int wt_command_send_uri(int argc, char **argv)
{
	struct wt_address peer = { 0 };
	struct uri_options o;
	int code = parse(argc, argv, send_options, send_usage, &o, &peer);

	if (code)
		return code < 0 ? WT_EXIT_OK : code;
	if (o.common.json && output_is_qemus()) {
		fprintf(stderr,
			"watari: --json would write into QEMU's pipe; redirect it: exec:watari send ... >FILE\n");
		return WT_EXIT_USAGE;
	}
	o.once = true;
	return run_source(&o, &peer);
}

int wt_command_receive_uri(int argc, char **argv)
{
	struct wt_address listen = { 0 };
	struct uri_options o;
	int code = parse(argc, argv, receive_options, receive_usage, &o, &listen);

	if (code)
		return code < 0 ? WT_EXIT_OK : code;
	if (o.common.json) {
		fprintf(stderr,
			"watari: --json would write into QEMU's stream; leave it out, or use watari relay --incoming\n");
		return WT_EXIT_USAGE;
	}
	return run_destination(&o, &listen);
}

int wt_command_relay(int argc, char **argv)
{
	struct wt_address address = { 0 };
	struct uri_options o;
	int code = parse(argc, argv, relay_options, relay_usage, &o, &address);

	if (code)
		return code < 0 ? WT_EXIT_OK : code;
	if (!o.source.listen_path == !o.destination.incoming_path) {
		fprintf(stderr,
			"watari: give either --listen unix:PATH (at the source) or --incoming unix:PATH (at the destination)\n");
		return WT_EXIT_USAGE;
	}
	return o.source.listen_path ? run_source(&o, &address) : run_destination(&o, &address);
}
