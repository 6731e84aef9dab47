/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_command.c - see device_command.h.
 *
 *   1. The command is a process group of its own; at the deadline all of it is killed. What cannot be killed
 *      is not waited for.
 *   2. Its end is seen by a pidfd: no SIGCHLD, which belongs to nobody here.
 */
#include "device_command.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "printable.h"

#define OUTPUT_KEPT 512
#define EXPANDED_MAX 2048
#define KILL_TRIES 100 /* of 1 ms */

extern char **environ;

struct wt_device_run {
	struct wt_loop *loop;
	char *words[WT_DEVICE_WORDS_MAX + 1]; /* with name and address put in */
	char program[128];
	pid_t pid;
	int pid_fd, output_fd;
	char output[OUTPUT_KEPT]; /* the last of it */
	size_t output_length;
	uint32_t timeout_ms;
	struct wt_timer deadline;
	wt_device_run_fn *told;
	void *arg;
};

static void run_free(struct wt_device_run *run)
{
	wt_loop_timer_clear(run->loop, &run->deadline);
	if (run->pid_fd >= 0) {
		wt_loop_fd_clear(run->loop, run->pid_fd);
		close(run->pid_fd);
	}
	if (run->output_fd >= 0) {
		wt_loop_fd_clear(run->loop, run->output_fd);
		close(run->output_fd);
	}
	for (unsigned i = 0; run->words[i]; i++)
		free(run->words[i]);
	free(run);
}

static void read_output(struct wt_device_run *run)
{
	char bytes[OUTPUT_KEPT];
	ssize_t n = -1;

	while (run->output_fd >= 0 && (n = read(run->output_fd, bytes, sizeof bytes)) > 0) {
		size_t keep = run->output_length;

		if (keep + (size_t)n > sizeof run->output)
			keep = sizeof run->output - (size_t)n;
		memmove(run->output, run->output + (run->output_length - keep), keep);
		memcpy(run->output + keep, bytes, (size_t)n);
		run->output_length = keep + (size_t)n;
	}
	if (!n) { /* it has closed its output, and may run on */
		wt_loop_fd_clear(run->loop, run->output_fd);
		close(run->output_fd);
		run->output_fd = -1;
	}
}

static void on_output(void *arg, uint32_t events)
{
	read_output(arg);
}

static void ended(struct wt_device_run *run, const char *how)
{
	size_t length = run->output_length;
	wt_device_run_fn *told = run->told;
	struct wt_error err = { 0 };
	void *arg = run->arg;
	char said[OUTPUT_KEPT] = "";

	while (length && (run->output[length - 1] == '\n' || run->output[length - 1] == ' '))
		length--;
	if (how)
		wt_error_set(&err, EIO, "%s of the device map %s%s%s", run->program, how, length ? ": " : "",
			length ? wt_printable(run->output, length, said, 200) : "");
	run_free(run);
	told(arg, &err);
}

static void on_end(void *arg, uint32_t events)
{
	struct wt_device_run *run = arg;
	char how[64];
	int status;

	if (waitpid(run->pid, &status, WNOHANG) != run->pid)
		return;
	read_output(run);
	if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		ended(run, NULL);
		return;
	}
	if (WIFEXITED(status))
		snprintf(how, sizeof how, "failed with exit code %d", WEXITSTATUS(status));
	else
		snprintf(how, sizeof how, "was ended by signal %d", WTERMSIG(status));
	ended(run, how);
}

/* False: it cannot be killed (it has become root, or waits in the kernel), and is left to itself. */
static bool kill_all(struct wt_device_run *run)
{
	kill(-run->pid, SIGKILL);
	kill(run->pid, SIGKILL);
	for (unsigned i = 0; i < KILL_TRIES; i++) {
		if (waitpid(run->pid, NULL, WNOHANG))
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

static void deadline_fired(void *arg, uint64_t now_ns)
{
	struct wt_device_run *run = arg;
	char how[96];
	bool killed = kill_all(run);

	read_output(run);
	snprintf(how, sizeof how, "did not end within %u ms%s", run->timeout_ms,
		killed ? "" : ", and cannot be killed");
	ended(run, how);
}

/* ---- starting ---- */

static char *expand(const char *word, const char *name, const char *address)
{
	char text[EXPANDED_MAX];
	size_t length = 0;

	while (*word && length < sizeof text - 1) {
		const char *put = NULL;
		size_t skip = 1;

		if (strncmp(word, "{address}", 9) == 0) {
			put = address;
			skip = 9;
		} else if (strncmp(word, "{name}", 6) == 0) {
			put = name;
			skip = 6;
		}
		if (put)
			length += (size_t)snprintf(text + length, sizeof text - length, "%s", put);
		else
			text[length++] = *word;
		word += skip;
	}
	if (length >= sizeof text)
		length = sizeof text - 1;
	return strndup(text, length);
}

static int spawn(struct wt_device_run *run, int output)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, usual;
	int code;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	sigaddset(&usual, SIGCHLD);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigdefault(&attributes, &usual);
	posix_spawnattr_setflags(
		&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, output, 1);
	posix_spawn_file_actions_adddup2(&files, output, 2);
	code = posix_spawn(&run->pid, run->words[0], &files, &attributes, run->words, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return -code;
}

/* What it made before it failed is in run. */
static int start(struct wt_device_run *run, const struct wt_device_command *command, const char *name,
	const char *address)
{
	int pipes[2], r = 0;

	assert(command->count);
	if (pipe2(pipes, O_CLOEXEC))
		return -errno;
	run->output_fd = pipes[0];
	fcntl(pipes[0], F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < command->count && !r; i++)
		r = (run->words[i] = expand(command->words[i], name, address)) ? 0 : -ENOMEM;
	if (!r)
		r = spawn(run, pipes[1]);
	close(pipes[1]);
	if (r)
		return r;
	run->pid_fd = (int)syscall(SYS_pidfd_open, run->pid, 0);
	if (run->pid_fd >= 0)
		r = wt_loop_fd_set(run->loop, run->pid_fd, EPOLLIN, on_end, run);
	else
		r = -errno;
	if (!r)
		r = wt_loop_fd_set(run->loop, run->output_fd, EPOLLIN, on_output, run);
	if (r)
		kill_all(run);
	return r;
}

int wt_device_run_start(struct wt_loop *loop, const struct wt_device_command *command, const char *name,
	const char *address, uint32_t timeout_ms, wt_device_run_fn *told, void *arg,
	struct wt_device_run **ret_run, struct wt_error *err)
{
	struct wt_device_run *run = calloc(1, sizeof *run);
	int r;

	if (!run)
		return wt_error_set(err, ENOMEM, "no memory to run a command of the device map");
	run->loop = loop;
	run->pid_fd = run->output_fd = -1;
	run->timeout_ms = timeout_ms;
	run->told = told;
	run->arg = arg;
	wt_printable(command->words[0], strlen(command->words[0]), run->program, sizeof run->program);
	r = start(run, command, name, address);
	if (r) {
		wt_error_set(
			err, -r, "%s of the device map cannot be started: %s", run->program, strerror(-r));
		run_free(run);
		return r;
	}
	wt_loop_timer_set(
		loop, &run->deadline, wt_loop_now_ns(loop) + timeout_ms * 1000000ull, deadline_fired, run);
	*ret_run = run;
	return 0;
}

void wt_device_run_end(struct wt_device_run *run)
{
	if (!run)
		return;
	kill_all(run);
	run_free(run);
}
