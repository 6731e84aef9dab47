/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_hook.c - see guest_hook.h. Part of watari-guest: plain libc, so that it works in an initramfs.
 *
 *   1. One child at a time, in a process group of its own: at the deadline the whole group is killed.
 *   2. A run ends once: with the first hook that fails, at the deadline, or when all is done, the link too.
 *   3. What a hook leaves behind in the background is its own.
 */
#include "guest_hook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest_link.h"
#include "printable.h"

#define KILL_TRIES 100 /* of 1 ms */

uint64_t wt_guest_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* ---- the end of a run ---- */

static void finish(struct wt_guest_run *run, bool ok, const char *error)
{
	run->done = true;
	run->answer = (struct wt_agent_answer){
		.id = run->request.id,
		.ok = ok,
		.ms = (uint32_t)((wt_guest_now_ns() - run->start_ns) / 1000000),
	};
	snprintf(run->answer.error, sizeof run->answer.error, "%s", error);
	if (run->request.verb == WT_AGENT_MESSAGE && ok)
		run->answer.output = strndup(run->output, run->output_length);
}

static const char *running_name(const struct wt_guest_run *run)
{
	return run->next ? run->names[run->next - 1] : "";
}

static void failed(struct wt_guest_run *run, const char *what)
{
	char said[128] = "", name[64], text[256];
	size_t length = run->output_length;

	while (length && (run->output[length - 1] == '\n' || run->output[length - 1] == ' '))
		length--;
	if (length)
		wt_printable(run->output, length, said, sizeof said);
	wt_printable(running_name(run), strlen(running_name(run)), name, sizeof name);
	snprintf(text, sizeof text, "hook %s %s%s%s", name, what, length ? ": " : "", said);
	finish(run, false, text);
}

/* One that waits in the kernel is left to itself: the agent must answer. */
static void kill_child(struct wt_guest_run *run)
{
	if (run->child) {
		kill(-run->child, SIGKILL);
		kill(run->child, SIGKILL);
		for (unsigned i = 0; i < KILL_TRIES && !waitpid(run->child, NULL, WNOHANG); i++)
			poll(NULL, 0, 1);
	}
	run->child = 0;
	if (run->output_fd >= 0)
		close(run->output_fd);
	run->output_fd = -1;
}

/* ---- a child ---- */

/* What a message's hook reads: a file without a name. */
static int data_file(const char *data)
{
	int fd = data ? memfd_create("data", MFD_CLOEXEC) : open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && data && (write(fd, data, strlen(data)) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

__attribute__((noreturn)) static void become(
	const struct wt_guest_run *run, const char *path, int in, int out)
{
	const char *verb = wt_agent_verb_name(run->request.verb);
	char timeout[32];
	sigset_t none;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	snprintf(timeout, sizeof timeout, "%llu",
		(unsigned long long)((run->until_ns - wt_guest_now_ns()) / 1000000));
	setenv("WATARI_TIMEOUT_MS", timeout, 1);
	execl(path, path, verb, run->request.verb == WT_AGENT_MESSAGE ? NULL : run->request.name,
		run->request.verb == WT_AGENT_ATTACH ? run->request.what : NULL, NULL);
	fprintf(stderr, "%s\n", strerror(errno));
	_exit(127);
}

/* Starts names[next]. */
static void start_one(struct wt_guest_run *run)
{
	char path[PATH_MAX];
	int pipes[2], in;

	snprintf(path, sizeof path, "%s/%s", run->folder, run->names[run->next++]);
	run->output_length = 0;
	in = data_file(run->request.data);
	if (in < 0 || pipe2(pipes, O_CLOEXEC)) {
		if (in >= 0)
			close(in);
		failed(run, "cannot be started");
		return;
	}
	fcntl(pipes[0], F_SETFL, O_NONBLOCK);
	run->child = fork();
	if (!run->child)
		become(run, path, in, pipes[1]);
	close(in);
	close(pipes[1]);
	run->output_fd = pipes[0];
	if (run->child < 0) {
		run->child = 0;
		kill_child(run);
		failed(run, "cannot be started");
	}
}

static void read_output(struct wt_guest_run *run)
{
	char spill[4096];

	while (run->output_fd >= 0) {
		size_t room = sizeof run->output - run->output_length;
		ssize_t n = room ? read(run->output_fd, run->output + run->output_length, room)
				 : read(run->output_fd, spill, sizeof spill);

		if (n < 0)
			return;
		if (!n) { /* it has closed its output, and may run on */
			close(run->output_fd);
			run->output_fd = -1;
			return;
		}
		if (room)
			run->output_length += (size_t)n;
	}
}

/* ---- the list ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_hook(const char *folder, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (name[0] == '.' || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
		return false;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static void list_hooks(struct wt_guest_run *run)
{
	DIR *dir = opendir(run->folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) && run->count < WT_GUEST_HOOKS_MAX)
		if (is_hook(run->folder, entry->d_name) && (run->names[run->count] = strdup(entry->d_name)))
			run->count++;
	if (dir)
		closedir(dir);
	qsort(run->names, run->count, sizeof run->names[0], by_name);
	for (unsigned i = 0; run->request.verb == WT_AGENT_ATTACH && i < run->count / 2; i++) {
		char *name = run->names[i];

		run->names[i] = run->names[run->count - 1 - i];
		run->names[run->count - 1 - i] = name;
	}
}

void wt_guest_run_start(struct wt_guest_run *run, const char *folder, struct wt_agent_request *request)
{
	*run = (struct wt_guest_run){ .request = *request, .folder = folder, .output_fd = -1 };
	request->data = NULL;
	run->start_ns = wt_guest_now_ns();
	run->until_ns = run->start_ns + (uint64_t)run->request.timeout_ms * 1000000;
	if (run->request.verb != WT_AGENT_MESSAGE)
		list_hooks(run);
	else if (is_hook(folder, run->request.name) && (run->names[0] = strdup(run->request.name)))
		run->count = 1;
	if (run->request.verb == WT_AGENT_MESSAGE && !run->count)
		finish(run, false, "there is no such hook in the guest");
	wt_guest_run_poll(run);
}

/* Answers whether it has ended, and well. */
static bool child_ended(struct wt_guest_run *run)
{
	char what[64];
	int status;

	if (waitpid(run->child, &status, WNOHANG) != run->child)
		return false;
	run->child = 0;
	read_output(run);
	kill_child(run);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return true;
	if (WIFEXITED(status))
		snprintf(what, sizeof what, "failed with exit code %d", WEXITSTATUS(status));
	else
		snprintf(what, sizeof what, "was ended by signal %d", WTERMSIG(status));
	failed(run, what);
	return false;
}

static void overdue(struct wt_guest_run *run)
{
	char text[256];

	if (run->child) {
		read_output(run);
		kill_child(run);
		snprintf(text, sizeof text, "did not end within %u ms", run->request.timeout_ms);
		failed(run, text);
		return;
	}
	if (run->next < run->count) {
		snprintf(
			text, sizeof text, "no time is left of %u ms for all hooks", run->request.timeout_ms);
		finish(run, false, text);
		return;
	}
	snprintf(text, sizeof text, "the link of %s is not up within %u ms", run->request.link_mac,
		run->request.timeout_ms);
	finish(run, false, text);
}

/* The guest's kernel finds what was plugged in a little later. Hooks are told all the same when half of the
 * time has passed. */
static bool awaits_device(const struct wt_guest_run *run)
{
	return !run->next && run->request.link_mac[0] && !wt_guest_link_there(run->request.link_mac) &&
	       wt_guest_now_ns() < run->start_ns + (run->until_ns - run->start_ns) / 2;
}

void wt_guest_run_poll(struct wt_guest_run *run)
{
	if (!run->request.verb || run->done)
		return;
	read_output(run);
	if (run->child && !child_ended(run)) {
		if (!run->done && wt_guest_now_ns() >= run->until_ns)
			overdue(run);
		return;
	}
	if (run->next < run->count && wt_guest_now_ns() >= run->until_ns)
		overdue(run);
	else if (run->next < run->count && !awaits_device(run))
		start_one(run);
	else if (run->next < run->count)
		return;
	else if (!run->request.link_mac[0] || wt_guest_link_up(run->request.link_mac))
		finish(run, true, "");
	else if (wt_guest_now_ns() >= run->until_ns)
		overdue(run);
}

void wt_guest_run_clear(struct wt_guest_run *run)
{
	if (run->request.verb)
		kill_child(run);
	for (unsigned i = 0; i < run->count; i++)
		free(run->names[i]);
	wt_agent_request_clear(&run->request);
	wt_agent_answer_clear(&run->answer);
	*run = (struct wt_guest_run){ .output_fd = -1 };
}
