/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command.h - what the commands of `watari-mpi` share: options, and the ranks that they are about.
 */
#ifndef WATARI_MPI_COMMAND_H
#define WATARI_MPI_COMMAND_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator.h"
#include "job_plan.h"

#define WT_AGENTS_MAX 256
#define WT_ONLY_MAX 1024
#define WT_COMMAND_PATH_MAX (PATH_MAX + 64)

/* What a command is given beside its options. */
enum wt_command_words {
	WT_COMMAND_JOB,        /* [NAME] */
	WT_COMMAND_QUIESCE,    /* the same, and --only */
	WT_COMMAND_PLAN,       /* PLAN [NAME] */
	WT_COMMAND_CHECKPOINT, /* PLAN [NAME] FOLDER */
	WT_COMMAND_RESTART,    /* PLAN FOLDER */
};

/* Exit codes. */
enum {
	WT_EXIT_OK = 0,
	WT_EXIT_FAILED = 1, /* the job runs on, or there is none */
	WT_EXIT_USAGE = 2,
	WT_EXIT_STANDS = 3, /* the job stands, or may stand; or guests are where they were not wanted */
};

struct wt_command_options {
	const char *name;    /* of the job */
	const char *plan;    /* migrate, checkpoint, restart */
	const char *folder;  /* checkpoint, restart */
	const char *journal; /* migrate; NULL: beside the plan */
	bool json;
	uint64_t timeout_ns;
	const char *watari; /* on the hosts of guests; NULL: beside this program, or in the search path */
	const char *agents[WT_AGENTS_MAX];
	size_t agent_count;         /* 0: the ranks are on this host */
	uint32_t only[WT_ONLY_MAX]; /* quiesce: ranks */
	size_t only_count;          /* 0: all of them */
};

/* Where the ranks are. */
struct wt_reaches {
	struct wt_reach *all[WT_AGENTS_MAX + WT_JOB_PLAN_GUESTS_MAX];
	size_t count;
};

extern const char wt_command_usage[];

/* Prints the sentence; answers WT_EXIT_FAILED. */
int wt_command_complain(const struct wt_error *err);
/* The folder of this program; "": not known. */
void wt_command_folder(char ret_path[PATH_MAX]);
/* The program `watari` of this host: that beside this program, if there is one. */
void wt_command_watari(const struct wt_command_options *options, char ret_path[WT_COMMAND_PATH_MAX]);
/* Options and these words, in any order. 0; otherwise an exit code, and what is wrong was printed. */
int wt_command_options(
	int argc, char **argv, enum wt_command_words words, struct wt_command_options *ret_options);

/* Opens those that --agent names. What was opened is to be closed, also after a failure. */
int wt_reaches_agents(
	struct wt_reaches *reaches, const struct wt_command_options *options, struct wt_error *err);
void wt_reaches_close(struct wt_reaches *reaches);

/* Meets the ranks, brings the job to the goal, and prints what it took: as wt_coordinator_run. */
int wt_command_bring(const struct wt_reaches *reaches, enum wt_barrier_goal goal,
	const struct wt_command_options *options, struct wt_error *err);

/* For people: how many ranks there are, and over what they talk; "": not known. The reaches of guests have
 * given their ranks then, and are to be opened again. */
void wt_command_describe(const struct wt_reaches *reaches, const struct wt_command_options *options,
	char *ret_text, size_t size);

int wt_command_migrate(int argc, char **argv);
int wt_command_checkpoint(int argc, char **argv);
int wt_command_restart(int argc, char **argv);

#endif
