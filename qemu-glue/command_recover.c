/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_recover.c - `watari recover`: asks the QEMUs that are left, decides (recover.h), carries it out.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "qmp.h"
#include "recover.h"
#include "record.h"
#include "recover_devices.h"
#include "relay.h"

#define QMP_NS 5000000000ull
#define RUN_TRIES 100
#define CANCEL_TRIES 200
#define RUN_RETRY_NS 50000000ull

static const char usage[] =
	"usage: watari recover [--qmp SOCKET] [--destination-qmp SOCKET] [options]\n"
	"After a relay or a host has crashed: finds out which guest may run, and brings that about.\n"
	"  --qmp SOCKET               the source QEMU, if it is still there\n"
	"  --destination-qmp SOCKET   the destination QEMU\n"
	"  --force-run                the source is gone and will never run again: and the guest was sent to no\n"
	"                             other: run the destination\n"
	"  --dry-run                  only say what would be done\n"
	"  --devices MAP              then the guest gets the devices that it lacks; on the host where it goes on\n"
	"  --device-host NAME         which host of the map that is (default: its host name)\n"
	"  --agent SOCKET             of the guest's agent there, whose hooks are told\n";

static const struct option options[] = {
	{ "qmp", 1, NULL, 'q' },
	{ "destination-qmp", 1, NULL, 'd' },
	{ "force-run", 0, NULL, 'f' },
	{ "dry-run", 0, NULL, 'n' },
	{ "devices", 1, NULL, 'm' },
	{ "device-host", 1, NULL, 'o' },
	{ "agent", 1, NULL, 'a' },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

struct party {
	struct wt_qmp *qmp;
	char run_state[32], migration[32];
	struct wt_record record;
	bool has_guest; /* it does now, or would */
};

struct request {
	const char *source_path, *destination_path, *map_path, *host, *agent_path;
	bool force, dry;
};

static void ignore_event(void *arg, const char *name, json_t *data)
{
}

static void ignore_closed(void *arg, const struct wt_error *err)
{
}

static const struct wt_qmp_events no_events = { .event = ignore_event, .closed = ignore_closed };

static int ask_text(
	struct wt_qmp *qmp, const char *command, char *ret_text, size_t size, struct wt_error *err)
{
	json_t *result = NULL;
	const char *status;
	int r = wt_qmp_call(qmp, command, NULL, QMP_NS, &result, err);

	if (r)
		return r;
	status = json_string_value(json_object_get(result, "status"));
	snprintf(ret_text, size, "%s", status ? status : "");
	json_decref(result);
	return 0;
}

/* The migration first: it completes before the run state says so. The record last: if another migration has
 * begun since, it is that one's. */
static int ask(struct party *party, struct wt_error *err)
{
	int r = ask_text(party->qmp, "query-migrate", party->migration, sizeof party->migration, err);

	if (!r)
		r = ask_text(party->qmp, "query-status", party->run_state, sizeof party->run_state, err);
	return r ? r : wt_record_read(party->qmp, &party->record, err);
}

static int open_party(
	struct wt_loop *loop, const char *socket_path, struct party *ret_party, struct wt_error *err)
{
	struct party party = { 0 };
	int r;

	r = wt_qmp_open(loop, socket_path, QMP_NS, &no_events, NULL, &party.qmp, err);
	if (!r)
		r = ask(&party, err);
	if (r) {
		if (party.qmp)
			wt_qmp_close(party.qmp);
		return r;
	}
	*ret_party = party;
	return 0;
}

static enum wt_recover_source source_state(const struct party *p)
{
	static const char *const busy[] = { "setup", "active", "device", "pre-switchover", "cancelling" };

	if (!p->qmp)
		return WT_RECOVER_SOURCE_UNKNOWN;
	if (strcmp(p->migration, "completed") == 0 && strcmp(p->run_state, "postmigrate") == 0)
		return WT_RECOVER_SOURCE_COMMITTED;
	if (strcmp(p->run_state, "finish-migrate") == 0) /* also with a completed migration, for a moment */
		return WT_RECOVER_SOURCE_BUSY;
	for (unsigned i = 0; i < sizeof busy / sizeof busy[0]; i++)
		if (strcmp(p->migration, busy[i]) == 0)
			return WT_RECOVER_SOURCE_BUSY;
	return WT_RECOVER_SOURCE_OWNS;
}

/* Of one that runs this matters only if the source has let its guest go. */
static bool foreign(const struct party *p, const struct party *source)
{
	return source->qmp && !wt_record_equal(&p->record, &source->record) &&
	       (strcmp(p->run_state, "running") != 0 || source_state(source) == WT_RECOVER_SOURCE_COMMITTED);
}

static enum wt_recover_destination destination_state(const struct party *p, const struct party *source)
{
	bool runs = strcmp(p->run_state, "running") == 0;

	if (!p->qmp)
		return WT_RECOVER_DESTINATION_UNKNOWN;
	if ((runs || strcmp(p->migration, "completed") == 0) && foreign(p, source))
		return WT_RECOVER_DESTINATION_FOREIGN;
	if (runs)
		return WT_RECOVER_DESTINATION_RUNS;
	if (strcmp(p->migration, "completed") == 0)
		return WT_RECOVER_DESTINATION_LOADED;
	if (strcmp(p->run_state, "inmigrate") == 0 || p->migration[0])
		return WT_RECOVER_DESTINATION_INCOMPLETE;
	return WT_RECOVER_DESTINATION_NONE;
}

static void quit(struct party *p)
{
	struct wt_error err = { 0 };

	if (p->qmp && ask(p, &err) == 0 && strcmp(p->run_state, "running") != 0)
		wt_qmp_call(p->qmp, "quit", NULL, QMP_NS, NULL, &err);
}

/* A destination that need not be any more; one that has another migration's guest is none of ours. */
static const char *quit_destination(struct party *destination, const struct party *source)
{
	if (destination_state(destination, source) == WT_RECOVER_DESTINATION_FOREIGN)
		return "; the destination that was given is another migration's, and is left as it is";
	quit(destination);
	return "";
}

static int say(const char *text, int code)
{
	fprintf(code == WT_EXIT_OK ? stdout : stderr, "%s%s\n", code == WT_EXIT_OK ? "" : "watari: ", text);
	return code;
}

static const char committed_text[] =
	"committed, and no loaded destination was given; find it and give --destination-qmp. Only if you know that it never "
	"ran: `cont` in the source's monitor runs the guest there";

static const char elsewhere_text[] =
	"committed, but to another destination than the one that was given, which is left as it is; find the right one and "
	"give that as --destination-qmp";

static int run_destination(struct party *source, struct party *destination)
{
	struct wt_error err = { 0 };

	source->has_guest = false;
	destination->has_guest = true;
	for (unsigned i = 0; i < RUN_TRIES; i++) {
		wt_error_clear(&err);
		if (wt_qmp_call(destination->qmp, "cont", NULL, QMP_NS, NULL, &err) == 0) {
			wt_relay_announce_self(destination->qmp);
			ask(destination, &err); /* waits until QEMU has taken both */
			quit(source);
			printf("committed: the guest runs at the destination now\n");
			return WT_EXIT_OK;
		}
		usleep(RUN_RETRY_NS / 1000); /* a disk lock that the source releases late */
	}
	fprintf(stderr, "watari: the destination does not run: %s\n", wt_error_text(&err));
	return WT_EXIT_UNDECIDED;
}

static int carry_out(
	enum wt_recover_verdict verdict, struct party *source, struct party *destination, bool dry);

static enum wt_recover_verdict verdict_now(
	const struct party *source, const struct party *destination, bool force)
{
	return wt_recover_decide(source_state(source), strcmp(source->run_state, "running") == 0,
		destination_state(destination, source), force);
}

/*
 * Cancels at the source and waits for QEMU's word. It may complete instead, if a relay had let it go just
 * before: then it has committed, and the destination must not be ended.
 */
static int cancel_source(struct party *source, struct party *destination)
{
	struct wt_error err = { 0 };

	if (wt_qmp_call(source->qmp, "migrate_cancel", NULL, QMP_NS, NULL, &err)) {
		fprintf(stderr, "watari: %s\n", wt_error_text(&err));
		return WT_EXIT_FAILED;
	}
	for (unsigned i = 0; i < CANCEL_TRIES; i++) {
		if (ask(source, &err))
			break;
		if (source_state(source) == WT_RECOVER_SOURCE_COMMITTED) {
			if (destination->qmp && ask(destination, &err))
				break;
			return carry_out(verdict_now(source, destination, false), source, destination, false);
		}
		if (source_state(source) == WT_RECOVER_SOURCE_OWNS) {
			printf("aborted: the guest goes on at the source%s\n",
				quit_destination(destination, source));
			return WT_EXIT_OK;
		}
		usleep(RUN_RETRY_NS / 1000);
	}
	fprintf(stderr, "watari: the source QEMU does not end its migration (%s); run watari recover again\n",
		err.code ? wt_error_text(&err) : source->migration);
	return WT_EXIT_UNDECIDED;
}

static int carry_out(
	enum wt_recover_verdict verdict, struct party *source, struct party *destination, bool dry)
{
	static const char *const would[] = { "", "run the destination, quit the source", "quit the source",
		"quit the destination, cancel at the source",
		"quit the destination; the source keeps the guest",
		"nothing: committed, but no loaded destination was given",
		"nothing: the operator has to decide", "nothing: BOTH RUN", "nothing: that is no destination",
		"nothing: committed, to another destination than this one" };

	source->has_guest = verdict == WT_RECOVER_CANCEL_SOURCE || verdict == WT_RECOVER_SOURCE_KEEPS;
	destination->has_guest = verdict == WT_RECOVER_RUN_DESTINATION || verdict == WT_RECOVER_QUIT_SOURCE;
	if (dry) {
		printf("would do: %s\n", would[verdict]);
		return WT_EXIT_OK;
	}
	switch (verdict) {
	case WT_RECOVER_RUN_DESTINATION:
		return run_destination(source, destination);
	case WT_RECOVER_QUIT_SOURCE:
		quit(source);
		return say("committed: the guest runs at the destination", WT_EXIT_OK);
	case WT_RECOVER_CANCEL_SOURCE:
		return cancel_source(source, destination);
	case WT_RECOVER_SOURCE_KEEPS:
		printf("aborted: the source has the guest, as before%s\n",
			quit_destination(destination, source));
		return WT_EXIT_OK;
	case WT_RECOVER_COMMITTED_NO_DESTINATION:
		return say(committed_text, WT_EXIT_UNDECIDED);
	case WT_RECOVER_NOT_A_DESTINATION:
		return say("the QEMU at --destination-qmp is no destination of a migration; nothing was done",
			WT_EXIT_UNDECIDED);
	case WT_RECOVER_COMMITTED_ELSEWHERE:
		return say(elsewhere_text, WT_EXIT_UNDECIDED);
	case WT_RECOVER_TWO:
		return say("both guests run; stop one of them at once", WT_EXIT_UNDECIDED);
	default:
		return say(
			"nobody can tell from here whether the source committed; give --qmp of the source, or, if it is gone "
			"for ever and the guest was sent to no other destination, --destination-qmp with --force-run",
			WT_EXIT_UNDECIDED);
	}
}

/* A handover that died has left a capability on that would keep guest RAM out of QEMU's next migration. Not
 * all QEMUs that were asked are left. */
static void mend(struct party *party)
{
	struct wt_error ignored = { 0 };

	if (party->qmp)
		wt_qmp_call(party->qmp, "migrate-set-capabilities",
			json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability", "x-ignore-shared", "state",
				0),
			QMP_NS, NULL, &ignored);
}

static void close_party(struct party *party)
{
	if (party->qmp)
		wt_qmp_close(party->qmp);
	party->qmp = NULL;
}

static int decide(const struct request *request, struct party *source, struct party *destination)
{
	struct wt_error err = { 0 };
	struct wt_loop *loop;
	int code;

	if (wt_loop_open(&loop))
		return say("no event loop", WT_EXIT_FAILED);
	if ((request->source_path && open_party(loop, request->source_path, source, &err)) ||
		(request->destination_path && open_party(loop, request->destination_path, destination, &err)))
		code = say(wt_error_text(&err), WT_EXIT_FAILED);
	else
		code = carry_out(
			verdict_now(source, destination, request->force), source, destination, request->dry);
	if (!request->dry && code == WT_EXIT_OK) {
		mend(source);
		mend(destination);
	}
	close_party(source);
	close_party(destination);
	wt_loop_close(loop);
	return code;
}

/* The map is read before anything is decided; the devices follow when somebody has the guest. */
static int recover(const struct request *request)
{
	struct party source = { 0 }, destination = { 0 };
	struct wt_recovery *recovery = NULL;
	struct wt_error err = { 0 };
	const char *path;
	int code;

	if (request->map_path &&
		wt_recovery_open(request->map_path, request->host, request->agent_path, &recovery, &err))
		return say(wt_error_text(&err), WT_EXIT_FAILED);
	code = decide(request, &source, &destination);
	path = source.has_guest        ? request->source_path
	       : destination.has_guest ? request->destination_path
				       : NULL;
	if (recovery && path && code == WT_EXIT_OK && wt_recovery_run(recovery, path, request->dry, &err))
		code = say(wt_error_text(&err), WT_EXIT_FAILED);
	wt_recovery_close(recovery);
	return code;
}

static bool take(int option, struct request *request)
{
	switch (option) {
	case 'q':
		request->source_path = optarg;
		return true;
	case 'd':
		request->destination_path = optarg;
		return true;
	case 'f':
		request->force = true;
		return true;
	case 'n':
		request->dry = true;
		return true;
	case 'm':
		request->map_path = optarg;
		return true;
	case 'o':
		request->host = optarg;
		return true;
	case 'a':
		request->agent_path = optarg;
		return true;
	default:
		return false;
	}
}

int wt_command_recover(int argc, char **argv)
{
	struct request request = { 0 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!take(option, &request))
			return option == 'h' ? wt_command_help(usage) : wt_command_usage(usage);
	if (optind != argc || (!request.source_path && !request.destination_path))
		return wt_command_usage(usage);
	if ((request.agent_path || request.host) && !request.map_path)
		return say("--agent and --device-host are for the devices of --devices MAP", WT_EXIT_USAGE);
	return recover(&request);
}
