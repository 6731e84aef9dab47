/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_process.c - see gang_process.h.
 *
 * A child of ours has ended when it was waited for: what it has left running (a QEMU in the background) may
 * have its output still. A stranger has ended when nobody holds the lock.
 */
#include "gang_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "printable.h"

#define SAID_MAX 4096

extern char **environ;

int wt_gang_process_init(struct wt_gang_process *p, const char *path)
{
	*p = (struct wt_gang_process){
		.fd = -1, .path = strdup(path), .buffer = malloc(WT_GANG_LINE_MAX + 1)
	};
	if (asprintf(&p->error_path, "%s.err", path) < 0)
		p->error_path = NULL;
	return p->path && p->error_path && p->buffer ? 0 : -ENOMEM;
}

static void reset(struct wt_gang_process *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->pid = 0;
	p->code = -1;
	p->over = p->ended = false;
	p->length = p->taken = 0;
}

static int spawn(struct wt_gang_process *p, char *const *words, int output)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, usual;
	int code;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &usual);
	posix_spawnattr_setflags(
		&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, output, 1);
	posix_spawn_file_actions_addopen(
		&files, 2, p->error_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	code = posix_spawnp(&p->pid, words[0], &files, &attributes, words, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return -code;
}

int wt_gang_process_start(struct wt_gang_process *p, char *const *words, struct wt_error *err)
{
	char shown[120];
	int output, r = 0;

	reset(p);
	output = open(p->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	p->fd = output < 0 ? -1 : open(p->path, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0)
		r = wt_error_set(err, errno, "%s cannot be written: %s", p->path, strerror(errno));
	else if (flock(output, LOCK_EX | LOCK_NB))
		r = wt_error_set(err, EBUSY, "a command of before still runs, and prints to %s", p->path);
	else if (ftruncate(output, 0))
		r = wt_error_set(err, errno, "%s cannot be written: %s", p->path, strerror(errno));
	if (!r)
		r = spawn(p, words, output);
	if (r && !err->code)
		wt_error_set(err, -r, "%s cannot be started: %s",
			wt_printable(words[0], strlen(words[0]), shown, sizeof shown), strerror(-r));
	if (output >= 0)
		close(output);
	if (r)
		reset(p);
	return r;
}

void wt_gang_process_find(struct wt_gang_process *p)
{
	reset(p);
	p->fd = open(p->path, O_RDONLY | O_CLOEXEC);
	p->over = p->ended = p->fd < 0;
}

bool wt_gang_process_begun(const struct wt_gang_process *p)
{
	return p->fd >= 0 || p->over;
}

static void look_for_end(struct wt_gang_process *p)
{
	int status;

	if (p->pid && waitpid(p->pid, &status, WNOHANG) == p->pid) {
		p->ended = true;
		p->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	} else if (!p->pid && flock(p->fd, LOCK_SH | LOCK_NB) == 0) {
		flock(p->fd, LOCK_UN);
		p->ended = true;
	}
}

const char *wt_gang_process_line(struct wt_gang_process *p)
{
	ssize_t n;
	char *end;

	while (p->fd >= 0 && !p->over) {
		p->length -= p->taken;
		memmove(p->buffer, p->buffer + p->taken, p->length);
		p->taken = 0;
		end = memchr(p->buffer, '\n', p->length);
		if (end) {
			*end = '\0';
			p->taken = (size_t)(end - p->buffer) + 1;
			return p->buffer;
		}
		if (p->length == WT_GANG_LINE_MAX) /* no line of ours is so long */
			p->length = 0;
		if (!p->ended)
			look_for_end(p);
		n = read(p->fd, p->buffer + p->length, WT_GANG_LINE_MAX - p->length);
		p->length += n > 0 ? (size_t)n : 0;
		if (n <= 0 && p->ended)
			p->over = true;
		if (n <= 0)
			break;
	}
	return NULL;
}

const char *wt_gang_process_said(const struct wt_gang_process *p, char *ret_text, size_t size)
{
	char text[SAID_MAX], *line;
	ssize_t n = -1;
	int fd;

	fd = open(p->error_path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		off_t end = lseek(fd, 0, SEEK_END);

		n = pread(fd, text, sizeof text, end > (off_t)sizeof text ? end - (off_t)sizeof text : 0);
		close(fd);
	}
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	if (n <= 0) {
		ret_text[0] = '\0';
		return ret_text;
	}
	line = memrchr(text, '\n', (size_t)n);
	line = line ? line + 1 : text;
	return wt_printable(line, (size_t)(text + n - line), ret_text, size);
}

void wt_gang_process_kill(const struct wt_gang_process *p)
{
	if (p->pid && !p->ended)
		kill(-p->pid, SIGKILL); /* its session: what it has started, too */
}

int wt_gang_process_drop(struct wt_gang_process *p, struct wt_error *err)
{
	if ((unlink(p->path) && errno != ENOENT) || (unlink(p->error_path) && errno != ENOENT))
		return wt_error_set(err, errno, "%s cannot be removed: %s", p->path, strerror(errno));
	return 0;
}

int wt_gang_process_forget(struct wt_gang_process *p, struct wt_error *err)
{
	int fd = open(p->path, O_RDONLY | O_CLOEXEC), r = 0;

	if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB))
		r = wt_error_set(err, EBUSY, "a command of before still runs, and prints to %s", p->path);
	if (fd >= 0)
		close(fd);
	return r ? r : wt_gang_process_drop(p, err);
}

void wt_gang_process_close(struct wt_gang_process *p)
{
	reset(p);
	free(p->path);
	free(p->error_path);
	free(p->buffer);
	p->path = p->error_path = p->buffer = NULL;
}
