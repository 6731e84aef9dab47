/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon_session.c - see daemon_session.h.
 *
 *   1. From its start until it has written to ended_fd the session is its thread's; the loop writes to end_fd
 *      only. Then the loop joins the thread.
 *   2. The thread, and those that it starts, have a working directory and a umask of their own (CLONE_FS).
 *   3. getopt has one state for the process: options are read under a lock. Nothing else is shared.
 */
#include "daemon_session.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "command.h"

struct wt_daemon_session {
	struct wt_relay_within within;
	int directory, code;
	char **argv; /* ends with NULL */
	int argc;
	wt_daemon_ended_fn *ended;
	void *arg;
	struct wt_loop *loop;
	pthread_t thread;
	int ended_fd; /* written to by the thread, last of all */
};

static pthread_mutex_t reading_options = PTHREAD_MUTEX_INITIALIZER;

static void session_free(struct wt_daemon_session *s)
{
	if (s->within.out)
		fclose(s->within.out);
	if (s->within.err)
		fclose(s->within.err);
	if (s->directory >= 0)
		close(s->directory);
	if (s->within.end_fd >= 0)
		close(s->within.end_fd);
	if (s->ended_fd >= 0)
		close(s->ended_fd);
	for (int i = 0; s->argv && i < s->argc; i++)
		free(s->argv[i]);
	free(s->argv);
	free(s);
}

/* ---- the thread ---- */

static int go_to_directory(struct wt_daemon_session *s)
{
	if (unshare(CLONE_FS) == 0 && fchdir(s->directory) == 0)
		return 0;
	fprintf(s->within.err, "watari: the daemon cannot work in this directory: %s\n", strerror(errno));
	return -1;
}

/* The command has read the same words before, so what is wrong with them it has said. */
static int refused(struct wt_daemon_session *s, int code)
{
	fprintf(s->within.err,
		"watari: the daemon does not take these options; is it of another version? Its own output says what is wrong\n");
	return code ? code : WT_EXIT_USAGE;
}

static int run_send(struct wt_daemon_session *s)
{
	struct wt_source_options o;
	int code;

	pthread_mutex_lock(&reading_options);
	optind = 0;
	code = wt_command_send_options(s->argc, s->argv, &o);
	pthread_mutex_unlock(&reading_options);
	if (code != WT_COMMAND_RUN)
		return refused(s, code);
	o.common.within = &s->within;
	return wt_source_run(&o);
}

static int run_receive(struct wt_daemon_session *s)
{
	struct wt_destination_options o;
	int code;

	pthread_mutex_lock(&reading_options);
	optind = 0;
	code = wt_command_receive_options(s->argc, s->argv, &o);
	pthread_mutex_unlock(&reading_options);
	if (code != WT_COMMAND_RUN)
		return refused(s, code);
	o.common.within = &s->within;
	return wt_destination_run(&o);
}

static void *session_main(void *arg)
{
	struct wt_daemon_session *s = arg;

	s->code = WT_EXIT_FAILED;
	if (!go_to_directory(s))
		s->code = strcmp(s->argv[0], "send") == 0 ? run_send(s) : run_receive(s);
	fflush(s->within.out);
	fflush(s->within.err);
	eventfd_write(s->ended_fd, 1);
	return NULL;
}

/* ---- the loop ---- */

static void session_done(void *arg, uint32_t events)
{
	struct wt_daemon_session *s = arg;
	wt_daemon_ended_fn *ended = s->ended;
	void *ended_arg = s->arg;
	int code;

	pthread_join(s->thread, NULL);
	code = s->code;
	wt_loop_fd_clear(s->loop, s->ended_fd);
	session_free(s);
	ended(ended_arg, code);
}

static int copy_words(struct wt_daemon_session *s, json_t *argv)
{
	const char *verb = json_string_value(json_array_get(argv, 0));
	json_t *word;
	size_t i;

	s->argv = calloc(json_array_size(argv) + 1, sizeof *s->argv);
	if (!s->argv)
		return -ENOMEM;
	json_array_foreach(argv, i, word)
	{
		s->argv[i] = json_is_string(word) ? strdup(json_string_value(word)) : NULL;
		if (!s->argv[i])
			return json_is_string(word) ? -ENOMEM : -EINVAL;
		s->argc++;
	}
	return verb && (!strcmp(verb, "send") || !strcmp(verb, "receive")) ? 0 : -EINVAL;
}

static FILE *open_lines(int fd)
{
	FILE *file = fdopen(fd, "w");

	if (file)
		setvbuf(file, NULL, _IOLBF, 0);
	else
		close(fd);
	return file;
}

/* Signals are the daemon's. */
static int start_thread(struct wt_daemon_session *s)
{
	sigset_t all, before;
	int r = wt_loop_fd_set(s->loop, s->ended_fd, EPOLLIN, session_done, s);

	if (r)
		return r;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&s->thread, NULL, session_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		wt_loop_fd_clear(s->loop, s->ended_fd);
	return r;
}

int wt_daemon_session_start(struct wt_loop *loop, json_t *argv, const int fds[WT_DAEMON_FDS],
	wt_daemon_ended_fn *ended, void *arg, struct wt_daemon_session **ret_session, struct wt_error *err)
{
	struct wt_daemon_session *s = calloc(1, sizeof *s);
	int r;

	if (!s) {
		for (int i = 0; i < WT_DAEMON_FDS; i++)
			close(fds[i]);
		return wt_error_set(err, ENOMEM, "the daemon has no memory for a session");
	}
	s->within = (struct wt_relay_within){ open_lines(fds[0]), open_lines(fds[1]),
		eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	s->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->directory = fds[2];
	s->loop = loop;
	s->ended = ended;
	s->arg = arg;
	r = !s->within.out || !s->within.err || s->within.end_fd < 0 || s->ended_fd < 0 ? -errno : 0;
	if (!r)
		r = copy_words(s, argv);
	if (!r)
		r = start_thread(s);
	if (!r) {
		*ret_session = s;
		return 0;
	}
	session_free(s);
	if (r == -EINVAL)
		return wt_error_set(err, EINVAL, "the daemon runs send and receive only");
	return wt_error_set(err, -r, "the daemon cannot begin a session: %s", strerror(-r));
}

void wt_daemon_session_end(struct wt_daemon_session *session)
{
	eventfd_write(session->within.end_fd, 1);
}
