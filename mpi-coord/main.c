/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c - the `watari-mpi` command: starts jobs that can be quiesced, quiesces them, and lets them go on.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator.h"
#include "place.h"

static const char usage[] =
	"usage: watari-mpi COMMAND [options]\n"
	"  run [--name NAME] [--btl LIST] MPIRUN-ARGUMENTS...   start a job: mpirun with what btl/watari needs\n"
	"  status [NAME] [options]                              what each rank is doing\n"
	"  quiesce [NAME] [options]                             the job stops talking and lets its devices go\n"
	"  resume [NAME] [options]                              the job connects anew and goes on\n"
	"  --agent \"[COMMAND...] SOCKET\"  the ranks are in guests: the socket of a guest's agent (once for each guest), and\n"
	"                                 what runs a command on its host (ssh h1)\n"
	"  --watari PROGRAM               the program `watari` on those hosts\n"
	"  --timeout SECONDS  --json\n"
	"NAME is `job` unless given. See watari-mpi(1).\n";

#define AGENTS_MAX 256

struct options {
	const char *name;
	const char *btl; /* run */
	bool json;
	uint64_t timeout_ns;
	const char *watari; /* on the hosts of guests; NULL: beside this program, or in the search path */
	const char *agents[AGENTS_MAX];
	size_t agent_count; /* 0: the ranks are on this host */
};

/* Where the ranks are. */
struct reaches {
	struct wt_reach *all[AGENTS_MAX];
	size_t count;
};

static int complain(const struct wt_error *err)
{
	fprintf(stderr, "watari-mpi: %s\n", wt_error_text(err));
	return 1;
}

/* Exit code 0: go on; otherwise end with it. */
static int options_parse(int argc, char **argv, struct options *ret_options)
{
	static const struct option table[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "timeout", required_argument, NULL, 't' },
		{ "agent", required_argument, NULL, 'a' },
		{ "watari", required_argument, NULL, 'w' },
		{ 0 },
	};
	char *end;
	int letter;

	*ret_options =
		(struct options){ .name = "job", .btl = "watari,vader,self", .timeout_ns = 30000000000ull };
	opterr = 0;
	while ((letter = getopt_long(argc, argv, "+", table, NULL)) != -1) {
		switch (letter) {
		case 'j':
			ret_options->json = true;
			break;
		case 't':
			ret_options->timeout_ns = strtoull(optarg, &end, 10) * 1000000000u;
			if (*end || !ret_options->timeout_ns || ret_options->timeout_ns > 86400000000000ull) {
				fprintf(stderr, "watari-mpi: --timeout is a number of seconds, 1 to 86400\n");
				return 2;
			}
			break;
		case 'a':
			if (ret_options->agent_count == AGENTS_MAX) {
				fprintf(stderr, "watari-mpi: more than %d agents\n", AGENTS_MAX);
				return 2;
			}
			ret_options->agents[ret_options->agent_count++] = optarg;
			break;
		case 'w':
			ret_options->watari = optarg;
			break;
		default:
			return -1;
		}
	}
	return 0;
}

/* NAME may stand before or behind the options. */
static int name_parse(int argc, char **argv, struct options *options)
{
	const char *name = NULL;
	int status;

	if (argc > 1 && argv[1][0] != '-') {
		name = argv[1];
		argv[1] = argv[0];
		argc--;
		argv++;
	}
	status = options_parse(argc, argv, options);
	if (status)
		return status;
	if (optind < argc && !name)
		name = argv[optind++];
	if (name)
		options->name = name;
	if (optind == argc)
		return 0;
	fputs(usage, stderr);
	return 2;
}

/* The folder of this program; "": not known. */
static void own_folder(char ret_path[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);
	char *slash;

	ret_path[length < 0 ? 0 : length] = 0;
	slash = strrchr(ret_path, '/');
	if (slash)
		*slash = 0;
}

/* The folder with mca_btl_watari.so: of this build, or of the installation. */
static void component_folder(char *ret_path, size_t size)
{
	static const char *const beside[] = { "openmpi", WATARI_MPI_COMPONENTS_BESIDE };
	const char *given = getenv("WATARI_MPI_COMPONENTS");
	char own[PATH_MAX];
	unsigned i;

	own_folder(own);
	snprintf(ret_path, size, "%s", given ? given : WATARI_MPI_COMPONENTS);
	for (i = 0; !given && own[0] && i < sizeof beside / sizeof beside[0]; i++) {
		char found[2 * PATH_MAX];
		int length = snprintf(found, sizeof found, "%s/%s", own, beside[i]);

		snprintf(found + length, sizeof found - (size_t)length, "/mca_btl_watari.so");
		if ((size_t)length >= size || access(found, R_OK) < 0)
			continue;
		found[length] = 0;
		strcpy(ret_path, found);
		return;
	}
}

static void reaches_close(struct reaches *reaches)
{
	while (reaches->count)
		wt_reach_close(reaches->all[--reaches->count]);
}

/* An agent of another host is asked by the `watari` there; one of this host by that beside this program. */
static int agents_reach(const struct options *options, struct reaches *reaches, struct wt_error *err)
{
	char own[PATH_MAX], beside[2 * PATH_MAX];
	int status = 0;
	size_t i;

	own_folder(own);
	snprintf(beside, sizeof beside, "%s/watari", own);
	for (i = 0; i < options->agent_count && status >= 0; i++) {
		const char *watari = options->watari;

		if (!watari)
			watari = strchr(options->agents[i], ' ') || access(beside, X_OK) ? "watari" : beside;
		status = wt_reach_agent_open(
			options->agents[i], watari, options->name, &reaches->all[reaches->count], err);
		reaches->count += status >= 0;
	}
	return status;
}

static int reaches_open(const struct options *options, struct reaches *ret_reaches, struct wt_error *err)
{
	struct reaches reaches = { 0 };
	char directory[WT_PLACE_MAX];
	int status;

	if (options->agent_count) {
		status = agents_reach(options, &reaches, err);
	} else {
		status = wt_place_find(options->name, false, directory, err);
		if (status >= 0)
			status = wt_reach_directory_open(directory, &reaches.all[0], err);
		reaches.count = status >= 0;
	}
	if (status < 0)
		reaches_close(&reaches);
	else
		*ret_reaches = reaches;
	return status;
}

static int alive(const char *directory)
{
	struct wt_coordinator *coordinator;
	struct wt_error err = { 0 };
	struct wt_reach *reach;
	int found;

	if (wt_reach_directory_open(directory, &reach, &err) < 0)
		return 1;
	if (wt_coordinator_open(&reach, 1, 0, 1000000000u, &coordinator, &err) < 0) {
		found = err.code != ENOENT;
	} else {
		found = wt_coordinator_count(coordinator) > 0;
		wt_coordinator_close(coordinator);
	}
	wt_reach_close(reach);
	return found;
}

/* Answers the first argument that is mpirun's; it has options that look like ours, so getopt is of no use. */
static int run_options(int argc, char **argv, struct options *ret_options)
{
	int i;

	*ret_options = (struct options){ .name = "job", .btl = "watari,vader,self" };
	for (i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--name") == 0)
			ret_options->name = argv[i + 1];
		else if (strcmp(argv[i], "--btl") == 0)
			ret_options->btl = argv[i + 1];
		else
			break;
	}
	return i;
}

static int command_run(int argc, char **argv)
{
	char directory[WT_PLACE_MAX];
	char components[PATH_MAX];
	char path[2 * PATH_MAX];
	struct wt_error err = { 0 };
	struct options options;
	const char **arguments;
	int first = run_options(argc, argv, &options);
	int count = 0;
	int i;

	if (first >= argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (wt_place_find(options.name, true, directory, &err) < 0)
		return complain(&err);
	if (alive(directory)) {
		fprintf(stderr, "watari-mpi: a job named %s runs already; choose another --name\n",
			options.name);
		return 1;
	}
	component_folder(components, sizeof components);
	snprintf(path, sizeof path, "%s:%s", components, OMPI_COMPONENTS);
	setenv("OMPI_MCA_mca_base_component_path", path, 1);
	setenv("OMPI_MCA_btl_watari_directory", directory, 1);
	/* By the environment, so that `--mca` of the command line goes before. */
	setenv("OMPI_MCA_pml", "ob1", 1);
	setenv("OMPI_MCA_btl", options.btl, 1);
	setenv("OMPI_MCA_osc", "^ucx", 1);
	arguments = calloc((size_t)argc + 1, sizeof *arguments);
	if (!arguments)
		return 1;
	arguments[count++] = "mpirun";
	for (i = first; i < argc; i++)
		arguments[count++] = argv[i];
	execvp("mpirun", (char **)arguments);
	fprintf(stderr, "watari-mpi: cannot run mpirun: %s; install Open MPI 4.1\n", strerror(errno));
	free(arguments);
	return 1;
}

static void show_rank(const struct wt_coordinator_rank *rank, bool json)
{
	const struct wt_order *report = &rank->report;
	const char *quote = report->fabric[0] ? "\"" : "";

	if (json)
		printf("{\"rank\": %" PRIu32 ", \"size\": %" PRIu32 ", \"pid\": %" PRIu32
		       ", \"state\": \"%s\", \"epoch\": %" PRIu32 ", \"fabric\": %s%s%s, \"paths\": %" PRIu32
		       "}\n",
			report->rank, report->size, rank->pid, wt_rank_state_name(report->state),
			report->epoch, quote, report->fabric[0] ? report->fabric : "null", quote,
			report->paths);
	else
		printf("%6" PRIu32 " %8" PRIu32 "  %-10s %6" PRIu32 "  %-7s %5" PRIu32 "\n", report->rank,
			rank->pid, wt_rank_state_name(report->state), report->epoch,
			report->fabric[0] ? report->fabric : "-", report->paths);
}

/* Reaches the ranks and meets them. Exit code 0; otherwise nothing is to be closed. */
static int job_open(int argc, char **argv, enum wt_barrier_goal goal, struct options *ret_options,
	struct reaches *ret_reaches, struct wt_coordinator **ret_coordinator)
{
	struct wt_error err = { 0 };
	int status = name_parse(argc, argv, ret_options);

	if (status) {
		if (status < 0)
			fputs(usage, stderr);
		return 2;
	}
	if (reaches_open(ret_options, ret_reaches, &err) < 0)
		return complain(&err);
	if (wt_coordinator_open(ret_reaches->all, ret_reaches->count, goal,
		    goal ? ret_options->timeout_ns : 3000000000u, ret_coordinator, &err) >= 0)
		return 0;
	reaches_close(ret_reaches);
	return complain(&err);
}

static int command_status(int argc, char **argv)
{
	struct wt_coordinator *coordinator;
	struct options options;
	struct reaches reaches;
	uint32_t size = 0;
	size_t count;
	size_t i;
	int code = job_open(argc, argv, 0, &options, &reaches, &coordinator);

	if (code)
		return code;
	count = wt_coordinator_count(coordinator);
	if (!options.json && count)
		puts("  rank  process  state       epoch  fabric  paths");
	for (i = 0; i < count; i++) {
		show_rank(wt_coordinator_rank(coordinator, i), options.json);
		size = wt_coordinator_rank(coordinator, i)->report.size;
	}
	wt_coordinator_close(coordinator);
	reaches_close(&reaches);
	if (count && count >= size)
		return 0;
	if (count)
		fprintf(stderr, "watari-mpi: %zu of %" PRIu32 " ranks are here\n", count, size);
	else
		fprintf(stderr, "watari-mpi: no rank of job %s is here\n", options.name);
	return 1;
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

static int command_goal(int argc, char **argv, enum wt_barrier_goal goal)
{
	struct wt_coordinator_times times = { 0 };
	struct wt_coordinator *coordinator;
	struct wt_error err = { 0 };
	struct options options;
	struct reaches reaches;
	int code = job_open(argc, argv, goal, &options, &reaches, &coordinator);
	int status;

	if (code)
		return code;
	status = wt_coordinator_run(coordinator, goal, options.timeout_ns, &times, &err);
	if (status >= 0)
		show_times(goal == WT_BARRIER_QUIESCE ? "quiesced" : "running", &times,
			wt_coordinator_count(coordinator), options.json);
	wt_coordinator_close(coordinator);
	reaches_close(&reaches);
	if (status >= 0)
		return 0;
	complain(&err);
	return status == -EBUSY ? 3 : 1;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		puts("watari-mpi " WATARI_VERSION);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "run") == 0)
		return command_run(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "status") == 0)
		return command_status(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "quiesce") == 0)
		return command_goal(argc - 1, argv + 1, WT_BARRIER_QUIESCE);
	if (argc > 1 && strcmp(argv[1], "resume") == 0)
		return command_goal(argc - 1, argv + 1, WT_BARRIER_RESUME);
	if (argc > 1)
		fprintf(stderr, "watari-mpi: there is no command %s\n", argv[1]);
	fputs(usage, stderr);
	return 2;
}
