/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_guests.c - see command_guests.h.
 *
 *   1. Where a guest is, its agent says: only one of its QEMUs runs it, and that one's agent answers. Nothing
 * is written down.
 *   2. `watari gang` is a child in a session of its own that outlives this one. While it is at work no agent
 * is kept: QEMU's socket takes one client, and the gang's relays are it.
 */
#include "command_guests.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sabotage.h"

#define AGAIN_NS 200000000ull
#define BUSY_NS 1000000000ull
#define WORDS_MAX 16

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pause_for(uint64_t ns)
{
	const struct timespec time = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	nanosleep(&time, NULL);
}

void wt_guests_close(struct wt_guests *m)
{
	wt_reaches_close(&m->reaches);
	wt_job_plan_clear(&m->plan);
}

/* ---- what people are told ---- */

void wt_guests_tell_stage(const struct wt_guests *m, const char *stage, const char *text)
{
	if (m->options.json)
		printf("{\"event\": \"stage\", \"stage\": \"%s\", \"guests\": %zu, \"moved\": %zu}\n", stage,
			m->plan.count, m->moved);
	else
		printf("%s: %s\n", m->options.name, text);
	fflush(stdout);
}

int wt_guests_tell_end(const struct wt_guests *m, const char *result, int code, const char *text)
{
	double ms = m->stopped_ns ? (double)(now_ns() - m->stopped_ns) / 1e6 : -1;

	if (m->options.json) {
		printf("{\"event\": \"%s\", \"result\": \"%s\", \"guests\": %zu, \"moved\": %zu, ", m->event,
			result, m->plan.count, m->moved);
		if (ms >= 0)
			printf("\"stood_ms\": %.3f}\n", ms);
		else
			puts("\"stood_ms\": null}");
	}
	if (code)
		fprintf(stderr, "watari-mpi: %s\n", text);
	else if (!m->options.json)
		printf("%s: %s\n", m->options.name, text);
	return code;
}

/* ---- where the guests are ---- */

static int pass_over(void *arg, const char *name, struct wt_error *err)
{
	return 0;
}

/* Asks those that were not found yet, all at once, at one end. why: of each, what its first end said. */
static void ask_end(struct wt_guests *m, enum wt_job_plan_end end, bool *found, struct wt_error *why)
{
	struct wt_reach **all = m->reaches.all;
	size_t i;

	for (i = 0; i < m->plan.count; i++) {
		if (found[i])
			continue;
		wt_reach_close(all[i]);
		all[i] = NULL;
		wt_reach_agent_open(
			m->plan.guests[i].agents[end], m->plan.watari, m->options.name, &all[i], &why[i]);
	}
	for (i = 0; i < m->plan.count; i++) {
		if (found[i] || !all[i] || wt_reach_look(all[i], pass_over, NULL, &why[i]) < 0)
			continue;
		found[i] = true;
		m->moved += end == WT_JOB_PLAN_TO;
	}
}

int wt_guests_find(struct wt_guests *m, enum wt_guests_ends ends, struct wt_error *err)
{
	bool from = ends == WT_GUESTS_FROM_FIRST || ends == WT_GUESTS_FROM_ONLY;
	bool both = ends == WT_GUESTS_FROM_FIRST || ends == WT_GUESTS_TO_FIRST;
	struct wt_error why[WT_JOB_PLAN_GUESTS_MAX] = { 0 };
	bool found[WT_JOB_PLAN_GUESTS_MAX] = { 0 };
	size_t i;
	int status;

	wt_reaches_close(&m->reaches);
	memset(&m->reaches, 0, sizeof m->reaches);
	m->reaches.count = m->plan.count;
	m->moved = 0;
	ask_end(m, from ? WT_JOB_PLAN_FROM : WT_JOB_PLAN_TO, found, why);
	if (both)
		ask_end(m, from ? WT_JOB_PLAN_TO : WT_JOB_PLAN_FROM, found, why);
	for (i = 0; i < m->plan.count; i++)
		if (!found[i])
			return wt_error_set(err, EHOSTUNREACH, "guest %s: %.300s%s", m->plan.guests[i].name,
				wt_error_text(&why[i]),
				!both  ? ""
				: from ? "; nor does it answer at its destination"
				       : "; nor does it answer at its source");
	status = wt_reaches_agents(&m->reaches, &m->options, err);
	for (i = m->plan.count; i < m->reaches.count; i++)
		m->reaches.all[i]->stays = m->others_stay;
	return status;
}

int wt_guests_find_patiently(struct wt_guests *m, enum wt_guests_ends ends, struct wt_error *err)
{
	uint64_t until_ns = now_ns() + m->options.timeout_ns;
	int status = wt_guests_find(m, ends, err);

	while (status == -EHOSTUNREACH && now_ns() < until_ns) {
		pause_for(AGAIN_NS);
		wt_error_clear(err);
		status = wt_guests_find(m, ends, err);
	}
	return status;
}

/* ---- the gang ---- */

int wt_guests_ask_plan(struct wt_guests *m, struct wt_error *err)
{
	wt_job_plan_clear(&m->plan);
	return wt_job_plan_ask(m->watari, m->options.plan, m->gang, &m->plan, err);
}

int wt_guests_wait_gang(struct wt_guests *m, const char *text, struct wt_error *err)
{
	int status = 0;

	wt_guests_tell_stage(m, "wait", text);
	while (status >= 0 && m->plan.gang == WT_JOB_PLAN_BUSY) {
		pause_for(BUSY_NS);
		status = wt_guests_ask_plan(m, err);
	}
	return status;
}

static volatile sig_atomic_t gang_child;

static void pass_on(int number)
{
	kill((pid_t)gang_child, number);
}

static void become_gang(const struct wt_guests *m, const char *more, const sigset_t *usual)
{
	const char *words[WORDS_MAX] = { m->watari, "gang", m->options.plan };
	unsigned count = 3;

	for (unsigned i = 0; m->gang[i]; i++)
		words[count++] = m->gang[i];
	if (more)
		words[count++] = more;
	if (m->options.json)
		words[count++] = "--json";
	setsid(); /* Ctrl-C comes by us, once; the end of a terminal does not */
	sigprocmask(SIG_SETMASK, usual, NULL);
	execvp(words[0], (char *const *)words);
	fprintf(stderr, "watari-mpi: %s cannot be run: %s\n", m->watari, strerror(errno));
	_exit(127);
}

int wt_guests_run_gang(const struct wt_guests *m, const char *more)
{
	struct sigaction handed_on = { .sa_handler = pass_on }, before[2];
	sigset_t ours, usual;
	int status = -1;
	pid_t child;

	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigprocmask(SIG_BLOCK, &ours, &usual);
	child = fork();
	if (!child)
		become_gang(m, more, &usual);
	gang_child = child;
	if (child > 0) {
		sigaction(SIGINT, &handed_on, &before[0]);
		sigaction(SIGTERM, &handed_on, &before[1]);
		sigprocmask(SIG_SETMASK, &usual, NULL);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		sigaction(SIGINT, &before[0], NULL);
		sigaction(SIGTERM, &before[1], NULL);
	}
	sigprocmask(SIG_SETMASK, &usual, NULL);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- the ranks ---- */

int wt_guests_let_go(struct wt_guests *m)
{
	char text[WT_ERROR_TEXT_MAX + 64];
	struct wt_error err = { 0 };
	int status;

	wt_guests_tell_stage(m, "quiesce", "its ranks let their network go");
	m->stopped_ns = now_ns();
	status = wt_command_bring(&m->reaches, WT_BARRIER_QUIESCE, &m->options, &err);
	if (status >= 0)
		return WT_GUESTS_GO_ON;
	snprintf(text, sizeof text, "%s; no guest was touched", wt_error_text(&err));
	return status == -EBUSY ? wt_guests_tell_end(m, "unfinished", WT_EXIT_STANDS, text)
				: wt_guests_tell_end(m, "refused", WT_EXIT_FAILED, text);
}
