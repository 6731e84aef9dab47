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
	"  status [NAME] [--json]                               what each rank is doing\n"
	"  quiesce [NAME] [--timeout SECONDS] [--json]          the job stops talking and lets its devices go\n"
	"  resume [NAME] [--timeout SECONDS] [--json]           the job connects anew and goes on\n"
	"NAME is `job` unless given. See watari-mpi(1).\n";

struct options {
	const char *name;
	const char *btl; /* run */
	bool json;
	uint64_t timeout_ns;
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

/* The folder with mca_btl_watari.so: of this build, or of the installation. */
static void component_folder(char *ret_path, size_t size)
{
	static const char *const beside[] = { "openmpi", WATARI_MPI_COMPONENTS_BESIDE };
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	const char *given = getenv("WATARI_MPI_COMPONENTS");
	char *slash;
	unsigned i;

	snprintf(ret_path, size, "%s", given ? given : WATARI_MPI_COMPONENTS);
	if (given || length < 0)
		return;
	self[length] = 0;
	slash = strrchr(self, '/');
	for (i = 0; slash && i < sizeof beside / sizeof beside[0]; i++) {
		char found[2 * PATH_MAX];

		snprintf(found, sizeof found, "%.*s/%s/mca_btl_watari.so", (int)(slash - self), self,
			beside[i]);
		if (access(found, R_OK) < 0)
			continue;
		snprintf(ret_path, size, "%.*s/%s", (int)(slash - self), self, beside[i]);
		return;
	}
}

static int alive(const char *directory)
{
	struct wt_coordinator *coordinator;
	struct wt_error err = { 0 };
	size_t count;

	if (wt_coordinator_open(directory, 0, 1000000000u, &coordinator, &err) < 0)
		return err.code != ENOENT;
	count = wt_coordinator_count(coordinator);
	wt_coordinator_close(coordinator);
	return count > 0;
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

static int command_status(int argc, char **argv)
{
	struct wt_coordinator *coordinator;
	char directory[WT_PLACE_MAX];
	struct wt_error err = { 0 };
	struct options options;
	uint32_t size = 0;
	size_t count;
	size_t i;
	int status = name_parse(argc, argv, &options);

	if (status) {
		if (status < 0)
			fputs(usage, stderr);
		return 2;
	}
	if (wt_place_find(options.name, false, directory, &err) < 0 ||
		wt_coordinator_open(directory, 0, 3000000000u, &coordinator, &err) < 0)
		return complain(&err);
	count = wt_coordinator_count(coordinator);
	if (!options.json && count)
		puts("  rank  process  state       epoch  fabric  paths");
	for (i = 0; i < count; i++) {
		show_rank(wt_coordinator_rank(coordinator, i), options.json);
		size = wt_coordinator_rank(coordinator, i)->report.size;
	}
	wt_coordinator_close(coordinator);
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
	char directory[WT_PLACE_MAX];
	struct wt_error err = { 0 };
	struct options options;
	int status = name_parse(argc, argv, &options);

	if (status) {
		if (status < 0)
			fputs(usage, stderr);
		return 2;
	}
	if (wt_place_find(options.name, false, directory, &err) < 0 ||
		wt_coordinator_open(directory, goal, options.timeout_ns, &coordinator, &err) < 0)
		return complain(&err);
	status = wt_coordinator_run(coordinator, goal, options.timeout_ns, &times, &err);
	if (status >= 0)
		show_times(goal == WT_BARRIER_QUIESCE ? "quiesced" : "running", &times,
			wt_coordinator_count(coordinator), options.json);
	wt_coordinator_close(coordinator);
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
