/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c - the `watari-mpi` command: starts jobs that can be quiesced, quiesces them, and lets them go on.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "place.h"

#define STATUS_NS 3000000000u

/* The folder with mca_btl_watari.so: of this build, or of the installation. */
static void component_folder(char *ret_path, size_t size)
{
	static const char *const beside[] = { "openmpi", WATARI_MPI_COMPONENTS_BESIDE };
	const char *given = getenv("WATARI_MPI_COMPONENTS");
	char own[PATH_MAX];
	unsigned i;

	wt_command_folder(own);
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

static int reaches_open(
	const struct wt_command_options *options, struct wt_reaches *ret_reaches, struct wt_error *err)
{
	struct wt_reaches reaches = { 0 };
	char directory[WT_PLACE_MAX];
	int status;

	if (options->agent_count) {
		status = wt_reaches_agents(&reaches, options, err);
	} else {
		status = wt_place_find(options->name, false, directory, err);
		if (status >= 0)
			status = wt_reach_directory_open(directory, &reaches.all[0], err);
		reaches.count = status >= 0;
	}
	if (status < 0)
		wt_reaches_close(&reaches);
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

struct run_options {
	const char *name; /* of the job */
	const char *btl;
};

/* Answers the first argument that is mpirun's; it has options that look like ours, so getopt is of no use. */
static int run_options(int argc, char **argv, struct run_options *ret_options)
{
	int i;

	*ret_options = (struct run_options){ .name = "job", .btl = "watari,vader,self" };
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
	struct run_options options;
	const char **arguments;
	int first = run_options(argc, argv, &options);
	int count = 0;
	int i;

	if (first >= argc) {
		fputs(wt_command_usage, stderr);
		return WT_EXIT_USAGE;
	}
	if (wt_place_find(options.name, true, directory, &err) < 0)
		return wt_command_complain(&err);
	if (alive(directory)) {
		fprintf(stderr, "watari-mpi: a job named %s runs already; choose another --name\n",
			options.name);
		return WT_EXIT_FAILED;
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
		return WT_EXIT_FAILED;
	arguments[count++] = "mpirun";
	for (i = first; i < argc; i++)
		arguments[count++] = argv[i];
	execvp("mpirun", (char **)arguments);
	fprintf(stderr, "watari-mpi: cannot run mpirun: %s; install Open MPI 4.1\n", strerror(errno));
	free(arguments);
	return WT_EXIT_FAILED;
}

static void show_rank(const struct wt_coordinator_rank *rank, bool json)
{
	const struct wt_order *report = &rank->report;
	const char *quote = report->fabric[0] ? "\"" : "";

	if (json)
		printf("{\"rank\": %" PRIu32 ", \"size\": %" PRIu32 ", \"pid\": %" PRIu32
		       ", \"state\": \"%s\", \"epoch\": %" PRIu32 ", \"fabric\": %s%s%s, \"paths\": %" PRIu32
		       ", \"part\": %" PRIu32 "}\n",
			report->rank, report->size, rank->pid, wt_rank_state_name(report->state),
			report->epoch, quote, report->fabric[0] ? report->fabric : "null", quote,
			report->paths, report->part);
	else
		printf("%6" PRIu32 " %8" PRIu32 "  %-10s %6" PRIu32 "  %-7s %5" PRIu32 "\n", report->rank,
			rank->pid, wt_rank_state_name(report->state), report->epoch,
			report->fabric[0] ? report->fabric : "-", report->paths);
}

static int command_status(int argc, char **argv)
{
	struct wt_coordinator *coordinator;
	struct wt_command_options options;
	struct wt_reaches reaches;
	struct wt_error err = { 0 };
	uint32_t size = 0;
	size_t count;
	size_t i;
	int code = wt_command_options(argc, argv, WT_COMMAND_JOB, &options);

	if (code)
		return code;
	if (reaches_open(&options, &reaches, &err) < 0)
		return wt_command_complain(&err);
	if (wt_coordinator_open(reaches.all, reaches.count, 0, STATUS_NS, &coordinator, &err) < 0) {
		wt_reaches_close(&reaches);
		return wt_command_complain(&err);
	}
	count = wt_coordinator_count(coordinator);
	if (!options.json && count)
		puts("  rank  process  state       epoch  fabric  paths");
	for (i = 0; i < count; i++) {
		show_rank(wt_coordinator_rank(coordinator, i), options.json);
		size = wt_coordinator_rank(coordinator, i)->report.size;
	}
	wt_coordinator_close(coordinator);
	wt_reaches_close(&reaches);
	if (count && count >= size)
		return WT_EXIT_OK;
	if (count)
		fprintf(stderr, "watari-mpi: %zu of %" PRIu32 " ranks are here\n", count, size);
	else
		fprintf(stderr, "watari-mpi: no rank of job %s is here\n", options.name);
	return WT_EXIT_FAILED;
}

static int command_goal(int argc, char **argv, enum wt_barrier_goal goal)
{
	struct wt_command_options options;
	struct wt_reaches reaches;
	struct wt_error err = { 0 };
	int code = wt_command_options(
		argc, argv, goal == WT_BARRIER_QUIESCE ? WT_COMMAND_QUIESCE : WT_COMMAND_JOB, &options);
	int status;

	if (code)
		return code;
	if (reaches_open(&options, &reaches, &err) < 0)
		return wt_command_complain(&err);
	status = wt_command_bring(&reaches, goal, &options, &err);
	wt_reaches_close(&reaches);
	if (status >= 0)
		return WT_EXIT_OK;
	wt_command_complain(&err);
	return status == -EBUSY ? WT_EXIT_STANDS : WT_EXIT_FAILED;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		puts("watari-mpi " WATARI_VERSION);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(wt_command_usage, stdout);
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
	if (argc > 1 && strcmp(argv[1], "migrate") == 0)
		return wt_command_migrate(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "checkpoint") == 0)
		return wt_command_checkpoint(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "restart") == 0)
		return wt_command_restart(argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "watari-mpi: there is no command %s\n", argv[1]);
	fputs(wt_command_usage, stderr);
	return WT_EXIT_USAGE;
}
