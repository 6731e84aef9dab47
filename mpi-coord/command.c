/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command.c - see command.h.
 */
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char wt_command_usage[] =
	"usage: watari-mpi COMMAND [options]\n"
	"  run [--name NAME] [--btl LIST] MPIRUN-ARGUMENTS...   start a job: mpirun with what btl/watari needs\n"
	"  status [NAME] [options]                              what each rank is doing\n"
	"  quiesce [NAME] [--only RANK,...] [options]           the job stops talking and lets its devices go; only: these ranks\n"
	"                                                       do, and the others stop talking to them\n"
	"  resume [NAME] [options]                              the job connects anew and goes on\n"
	"  migrate PLAN.json [NAME] [--journal FILE] [options]  the job lets go, its guests move (watari gang), it goes on\n"
	"  checkpoint PLAN.json [NAME] DIR [options]            the job lets go, its guests are written to DIR, it goes on\n"
	"  restart PLAN.json DIR [options]                      its guests run again from DIR, and it goes on\n"
	"  --agent \"[COMMAND...] SOCKET\"  the ranks are in guests: the socket of a guest's agent (once for each guest), and\n"
	"                                 what runs a command on its host (ssh h1)\n"
	"  --watari PROGRAM               the program `watari` on those hosts\n"
	"  --timeout SECONDS  --json\n"
	"NAME is `job` unless given. See watari-mpi(1).\n";

int wt_command_complain(const struct wt_error *err)
{
	fprintf(stderr, "watari-mpi: %s\n", wt_error_text(err));
	return WT_EXIT_FAILED;
}

void wt_command_folder(char ret_path[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);
	char *slash;

	ret_path[length < 0 ? 0 : length] = 0;
	slash = strrchr(ret_path, '/');
	if (slash)
		*slash = 0;
}

void wt_command_watari(const struct wt_command_options *options, char ret_path[WT_COMMAND_PATH_MAX])
{
	char own[PATH_MAX];

	wt_command_folder(own);
	snprintf(ret_path, WT_COMMAND_PATH_MAX, "%s/watari", own);
	if (options->watari || access(ret_path, X_OK))
		snprintf(ret_path, WT_COMMAND_PATH_MAX, "%s", options->watari ? options->watari : "watari");
}

/* ---- options ---- */

static int add_agent(struct wt_command_options *options, const char *agent)
{
	if (options->agent_count == WT_AGENTS_MAX) {
		fprintf(stderr, "watari-mpi: more than %d agents\n", WT_AGENTS_MAX);
		return WT_EXIT_USAGE;
	}
	options->agents[options->agent_count++] = agent;
	return 0;
}

static int set_timeout(struct wt_command_options *options, const char *text)
{
	char *end;

	options->timeout_ns = strtoull(text, &end, 10) * 1000000000u;
	if (!*end && options->timeout_ns && options->timeout_ns <= 86400000000000ull)
		return 0;
	fprintf(stderr, "watari-mpi: --timeout is a number of seconds, 1 to 86400\n");
	return WT_EXIT_USAGE;
}

static int usage_wrong(void)
{
	fputs(wt_command_usage, stderr);
	return WT_EXIT_USAGE;
}

static int set_only(struct wt_command_options *options, const char *text)
{
	char *end;

	for (;; text = end + 1) {
		unsigned long rank = strtoul(text, &end, 10);

		if (*text < '0' || *text > '9' || rank > UINT32_MAX || (*end && *end != ',') ||
			options->only_count == WT_ONLY_MAX)
			break;
		options->only[options->only_count++] = (uint32_t)rank;
		if (!*end)
			return 0;
	}
	fprintf(stderr, "watari-mpi: --only takes ranks with commas between them, at most %d\n", WT_ONLY_MAX);
	return WT_EXIT_USAGE;
}

static int take_option(struct wt_command_options *options, int letter, enum wt_command_words words)
{
	switch (letter) {
	case 'j':
		options->json = true;
		return 0;
	case 't':
		return set_timeout(options, optarg);
	case 'a':
		return add_agent(options, optarg);
	case 'w':
		options->watari = optarg;
		return 0;
	case 'l':
		options->journal = optarg;
		return words == WT_COMMAND_PLAN ? 0 : usage_wrong();
	case 'o':
		return words == WT_COMMAND_QUIESCE ? set_only(options, optarg) : usage_wrong();
	default:
		return usage_wrong();
	}
}

static bool take_words(
	int count, char **words, enum wt_command_words wanted, struct wt_command_options *options)
{
	bool plan = wanted != WT_COMMAND_JOB && wanted != WT_COMMAND_QUIESCE;
	bool folder = wanted == WT_COMMAND_CHECKPOINT || wanted == WT_COMMAND_RESTART;
	int name = count - plan - folder; /* how many are left for it */

	if (name < 0 || name > (wanted == WT_COMMAND_RESTART ? 0 : 1))
		return false;
	if (plan)
		options->plan = words[0];
	if (name)
		options->name = words[plan];
	if (folder)
		options->folder = words[count - 1];
	return true;
}

int wt_command_options(
	int argc, char **argv, enum wt_command_words words, struct wt_command_options *ret_options)
{
	static const struct option table[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "timeout", required_argument, NULL, 't' },
		{ "agent", required_argument, NULL, 'a' },
		{ "watari", required_argument, NULL, 'w' },
		{ "journal", required_argument, NULL, 'l' },
		{ "only", required_argument, NULL, 'o' },
		{ 0 },
	};
	int letter, code = 0;

	*ret_options = (struct wt_command_options){ .name = "job", .timeout_ns = 30000000000ull };
	opterr = 0;
	while (!code && (letter = getopt_long(argc, argv, "", table, NULL)) != -1)
		code = take_option(ret_options, letter, words);
	if (code)
		return code;
	return take_words(argc - optind, argv + optind, words, ret_options) ? 0 : usage_wrong();
}

/* ---- ranks ---- */

/* An agent of another host is asked by the `watari` there. */
int wt_reaches_agents(
	struct wt_reaches *reaches, const struct wt_command_options *options, struct wt_error *err)
{
	char here[WT_COMMAND_PATH_MAX];
	int status = 0;
	size_t i;

	wt_command_watari(options, here);
	for (i = 0; i < options->agent_count && status >= 0; i++) {
		const char *there = options->watari ? options->watari : "watari";

		status = wt_reach_agent_open(options->agents[i],
			strchr(options->agents[i], ' ') ? there : here, options->name,
			&reaches->all[reaches->count], err);
		reaches->count += status >= 0;
	}
	return status;
}

void wt_reaches_close(struct wt_reaches *reaches)
{
	while (reaches->count)
		wt_reach_close(reaches->all[--reaches->count]);
}

static void show_times(const char *what, const struct wt_coordinator_times *times, size_t ranks, bool json)
{
	if (json)
		printf("{\"event\": \"%s\", \"ranks\": %zu, \"ms\": %.3f, \"drain_ms\": %.3f, \"detach_ms\": %.3f, "
		       "\"attach_ms\": %.3f, \"join_ms\": %.3f}\n",
			what, ranks, (double)times->all_ns / 1e6, (double)times->drain_ns / 1e6,
			(double)times->detach_ns / 1e6, (double)times->attach_ns / 1e6,
			(double)times->join_ns / 1e6);
	else
		printf("%zu ranks %s in %.1f ms\n", ranks, what, (double)times->all_ns / 1e6);
}

int wt_command_bring(const struct wt_reaches *reaches, enum wt_barrier_goal goal,
	const struct wt_command_options *options, struct wt_error *err)
{
	struct wt_coordinator_times times = { 0 };
	struct wt_coordinator *coordinator;
	int status = wt_coordinator_open(
		reaches->all, reaches->count, goal, options->timeout_ns, &coordinator, err);

	if (status < 0)
		return status;
	if (goal == WT_BARRIER_QUIESCE && options->only_count)
		status = wt_coordinator_part(coordinator, options->only, options->only_count, err);
	if (status >= 0)
		status = wt_coordinator_run(coordinator, goal, options->timeout_ns, &times, err);
	if (status >= 0)
		show_times(goal == WT_BARRIER_QUIESCE ? "quiesced" : "running", &times,
			wt_coordinator_count(coordinator), options->json);
	wt_coordinator_close(coordinator);
	return status;
}

void wt_command_describe(const struct wt_reaches *reaches, const struct wt_command_options *options,
	char *ret_text, size_t size)
{
	struct wt_coordinator *coordinator;
	const char *fabric = "";
	struct wt_error ignored = { 0 };
	bool mixed = false;
	size_t count;

	ret_text[0] = 0;
	if (wt_coordinator_open(
		    reaches->all, reaches->count, 0, options->timeout_ns, &coordinator, &ignored) < 0)
		return;
	count = wt_coordinator_count(coordinator);
	for (size_t i = 0; i < count; i++) {
		const char *its = wt_coordinator_rank(coordinator, i)->report.fabric;

		mixed |= its[0] && fabric[0] && strcmp(its, fabric) != 0;
		fabric = its[0] ? its : fabric;
	}
	if (fabric[0])
		snprintf(ret_text, size, "%zu ranks, over %s", count, mixed ? "several fabrics" : fabric);
	else
		snprintf(ret_text, size, "%zu ranks", count);
	wt_coordinator_close(coordinator);
}
