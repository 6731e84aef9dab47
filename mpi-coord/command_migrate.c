/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_migrate.c - `watari-mpi migrate`: a job lets its devices go, its guests move, and it goes on where
 * they are.
 *
 * The guests are moved by `watari gang`, a child in a session of its own that outlives this one.
 *   1. The gang begins only when every rank is detached; ranks are told to come back only when the gang is
 * over. So a device is plugged in again before a rank looks for it.
 *   2. Where a guest is, its agent says: only one of its QEMUs runs it, and that one's agent answers. Nothing
 * is written down.
 *   3. What is found half done is finished, not begun anew: a gang that is under way, or guests that have
 * moved.
 *   4. While the gang is at work no agent is kept: QEMU's socket takes one client, and the gang's relays are
 * it.
 *
 * Points of WATARI_DIE_BEFORE: migrate.quiesce, .move, .find, .resume, .end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "sabotage.h"

#define GOES_ON (-1)
#define AGAIN_NS 200000000ull
#define BUSY_NS 1000000000ull

struct migration {
	struct wt_command_options options;
	char watari[WT_COMMAND_PATH_MAX]; /* of this host */
	struct wt_job_plan plan;
	struct wt_reaches reaches;
	size_t moved;        /* guests that were found at their destinations */
	uint64_t stopped_ns; /* when the quiesce began; 0: by somebody else */
};

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

/* ---- what people are told ---- */

static void tell_stage(const struct migration *m, const char *stage, const char *text)
{
	if (m->options.json)
		printf("{\"event\": \"stage\", \"stage\": \"%s\", \"guests\": %zu, \"moved\": %zu}\n", stage,
			m->plan.count, m->moved);
	else
		printf("%s: %s\n", m->options.name, text);
	fflush(stdout);
}

/* The last word. code: of this command. */
static int tell_end(const struct migration *m, const char *result, int code, const char *text)
{
	double ms = m->stopped_ns ? (double)(now_ns() - m->stopped_ns) / 1e6 : -1;

	if (m->options.json) {
		printf("{\"event\": \"migrated\", \"result\": \"%s\", \"guests\": %zu, \"moved\": %zu, ",
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
static void ask_end(struct migration *m, enum wt_job_plan_end end, bool *found, struct wt_error *why)
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

/* Opens what leads to the ranks. -EHOSTUNREACH: a guest is at neither of its ends, or its agent is silent. */
static int find(struct migration *m, enum wt_job_plan_end first, struct wt_error *err)
{
	struct wt_error why[WT_JOB_PLAN_GUESTS_MAX] = { 0 };
	bool found[WT_JOB_PLAN_GUESTS_MAX] = { 0 };
	size_t i;

	wt_reaches_close(&m->reaches);
	memset(&m->reaches, 0, sizeof m->reaches);
	m->reaches.count = m->plan.count;
	m->moved = 0;
	ask_end(m, first, found, why);
	ask_end(m, first == WT_JOB_PLAN_FROM ? WT_JOB_PLAN_TO : WT_JOB_PLAN_FROM, found, why);
	for (i = 0; i < m->plan.count; i++)
		if (!found[i])
			return wt_error_set(err, EHOSTUNREACH,
				"guest %s: %.300s; nor does it answer at its %s", m->plan.guests[i].name,
				wt_error_text(&why[i]), first == WT_JOB_PLAN_FROM ? "destination" : "source");
	return wt_reaches_agents(&m->reaches, &m->options, err);
}

/* A guest that has just arrived may be slow to answer. */
static int find_patiently(struct migration *m, enum wt_job_plan_end first, struct wt_error *err)
{
	uint64_t until_ns = now_ns() + m->options.timeout_ns;
	int status = find(m, first, err);

	while (status == -EHOSTUNREACH && now_ns() < until_ns) {
		pause_for(AGAIN_NS);
		wt_error_clear(err);
		status = find(m, first, err);
	}
	return status;
}

/* ---- the gang ---- */

static int ask_plan(struct migration *m, struct wt_error *err)
{
	wt_job_plan_clear(&m->plan);
	return wt_job_plan_ask(m->watari, m->options.plan, m->options.journal, &m->plan, err);
}

/* Somebody else's coordinator is not disturbed; it ends, whatever happens. */
static int wait_gang(struct migration *m, struct wt_error *err)
{
	int status = 0;

	tell_stage(m, "wait", "the guests are being moved already; waiting until that is over");
	while (status >= 0 && m->plan.gang == WT_JOB_PLAN_BUSY) {
		pause_for(BUSY_NS);
		status = ask_plan(m, err);
	}
	return status;
}

static volatile sig_atomic_t gang_child;

static void pass_on(int number)
{
	kill((pid_t)gang_child, number);
}

static void become_gang(const struct migration *m, bool resume, const sigset_t *usual)
{
	const char *words[8] = { m->watari, "gang", m->options.plan };
	unsigned count = 3;

	if (m->options.journal) {
		words[count++] = "--journal";
		words[count++] = m->options.journal;
	}
	if (resume)
		words[count++] = "--resume";
	if (m->options.json)
		words[count++] = "--json";
	setsid(); /* Ctrl-C comes by us, once; the end of a terminal does not */
	sigprocmask(SIG_SETMASK, usual, NULL);
	execvp(words[0], (char *const *)words);
	fprintf(stderr, "watari-mpi: %s cannot be run: %s\n", m->watari, strerror(errno));
	_exit(127);
}

/* Runs it to its end, and hands on what would end us: it knows what may still be called back. Answers where
 * its guests are likely to be. */
static enum wt_job_plan_end run_gang(const struct migration *m, bool resume)
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
		become_gang(m, resume, &usual);
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
	return WIFEXITED(status) && WEXITSTATUS(status) == WT_EXIT_FAILED ? WT_JOB_PLAN_FROM : WT_JOB_PLAN_TO;
}

/* ---- the stages ---- */

/* Exit code, or GOES_ON. */
static int let_go(struct migration *m)
{
	char text[WT_ERROR_TEXT_MAX + 64];
	struct wt_error err = { 0 };
	int status;

	wt_sabotage_before("migrate.quiesce");
	tell_stage(m, "quiesce", "its ranks let their network go");
	m->stopped_ns = now_ns();
	status = wt_command_bring(&m->reaches, WT_BARRIER_QUIESCE, &m->options, &err);
	if (status >= 0)
		return GOES_ON;
	snprintf(text, sizeof text, "%s; no guest was touched", wt_error_text(&err));
	return status == -EBUSY ? tell_end(m, "unfinished", WT_EXIT_STANDS, text)
				: tell_end(m, "refused", WT_EXIT_FAILED, text);
}

/* Until the gang is over, and every guest was found. */
static int move(struct migration *m, bool resume)
{
	char text[2 * WT_ERROR_TEXT_MAX];
	struct wt_error err = { 0 };
	enum wt_job_plan_end likely;

	wt_reaches_close(&m->reaches);
	wt_sabotage_before("migrate.move");
	tell_stage(m, "move", resume ? "its guests' move goes on" : "its guests move");
	likely = run_gang(m, resume);
	wt_sabotage_before("migrate.find");
	if (ask_plan(m, &err) < 0 || m->plan.gang != WT_JOB_PLAN_IDLE)
		snprintf(text, sizeof text,
			"the guests' move is not over%s%s, and the ranks of job %s wait; the same command again finishes both",
			err.code ? ", as far as is known: " : "", err.code ? err.text : "", m->options.name);
	else if (find_patiently(m, likely, &err) < 0)
		snprintf(text, sizeof text,
			"%s; the ranks of job %s wait: the same command again, when that guest answers, lets them go on",
			wt_error_text(&err), m->options.name);
	else
		return GOES_ON;
	return tell_end(m, "unfinished", WT_EXIT_STANDS, text);
}

/* The gang is over. */
static int come_back(struct migration *m)
{
	const char *name = m->options.name;
	char text[WT_ERROR_TEXT_MAX + 256];
	struct wt_error err = { 0 };
	int status;

	wt_sabotage_before("migrate.resume");
	tell_stage(m, "resume",
		m->moved ? "its ranks come back where the guests are"
			 : "its ranks come back where they were");
	status = wt_command_bring(&m->reaches, WT_BARRIER_RESUME, &m->options, &err);
	wt_sabotage_before("migrate.end");
	if (status < 0) {
		snprintf(text, sizeof text,
			"%zu of %zu guests have moved, but: %s; the same command again, "
			"or watari-mpi resume, lets job %s go on",
			m->moved, m->plan.count, wt_error_text(&err), name);
		return tell_end(m, "unfinished", status == -ENOENT ? WT_EXIT_FAILED : WT_EXIT_STANDS, text);
	}
	if (m->moved == m->plan.count)
		return tell_end(m, "moved", WT_EXIT_OK, "runs at the destination");
	snprintf(text, sizeof text, "%zu of %zu guests have moved; job %s runs on %s", m->moved,
		m->plan.count, name, m->moved ? "where each of its guests is" : "at the source, as before");
	return tell_end(m, m->moved ? "partly" : "stayed", m->moved ? WT_EXIT_STANDS : WT_EXIT_FAILED, text);
}

/* Everybody is where he was, and nothing is under way; or one of before is to be finished. */
static int migrate(struct migration *m)
{
	bool half = m->plan.gang != WT_JOB_PLAN_IDLE, resume;
	char text[WT_ERROR_TEXT_MAX + 256];
	struct wt_error err = { 0 };
	int status = 0, code = GOES_ON;

	if (m->plan.gang == WT_JOB_PLAN_BUSY)
		status = wait_gang(m, &err);
	resume = m->plan.gang == WT_JOB_PLAN_UNFINISHED;
	if (status >= 0 && !resume)
		status = find(m, WT_JOB_PLAN_FROM, &err);
	if (status < 0) {
		snprintf(text, sizeof text, "%s; nothing was touched", wt_error_text(&err));
		return tell_end(m, "refused", WT_EXIT_FAILED, text);
	}
	half = half || m->moved;
	if (!half)
		code = let_go(m);
	if (code == GOES_ON && (!half || resume))
		code = move(m, resume);
	return code == GOES_ON ? come_back(m) : code;
}

int wt_command_migrate(int argc, char **argv)
{
	static struct migration m;
	struct wt_error err = { 0 };
	char text[WT_ERROR_TEXT_MAX + 64];
	int code = wt_command_options(argc, argv, true, &m.options);

	if (code)
		return code;
	wt_command_watari(&m.options, m.watari);
	if (ask_plan(&m, &err) < 0) {
		snprintf(text, sizeof text, "%s; nothing was touched", wt_error_text(&err));
		return tell_end(&m, "refused", WT_EXIT_FAILED, text);
	}
	code = migrate(&m);
	wt_reaches_close(&m.reaches);
	wt_job_plan_clear(&m.plan);
	return code;
}
