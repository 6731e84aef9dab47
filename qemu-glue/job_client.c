/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job_client.c - asks jobs of this host over their control sockets. See job.h.
 *
 * What a job answers is not trusted: bounded in length and time, and its sentences are made printable.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "job.h"
#include "job_place.h"
#include "printable.h"

#define ANSWER_MAX (64u << 10)
#define PATIENCE_S 15 /* longer than a relay waits for its QEMU in one step */

/* A connected socket. -ENOENT: nobody listens there. */
static int connect_to(const char *path, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return wt_error_set(err, errno, "no socket: %s", strerror(errno));
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (!connect(fd, (struct sockaddr *)&address, sizeof address))
		return fd;
	error = errno == ECONNREFUSED ? ENOENT : errno;
	close(fd);
	return wt_error_set(err, error, "%s: %s", path, strerror(error));
}

/* One line, without its newline; the length, or -errno. */
static ssize_t exchange(int fd, const char *request, char answer[ANSWER_MAX])
{
	size_t length = 0;
	char *end;
	ssize_t n;

	n = send(fd, request, strlen(request), MSG_NOSIGNAL);
	if (n < 0 || (size_t)n < strlen(request))
		return n < 0 ? -errno : -EPIPE;
	do {
		if (length == ANSWER_MAX)
			return -EMSGSIZE;
		n = recv(fd, answer + length, ANSWER_MAX - length, 0);
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		end = memchr(answer + length, '\n', (size_t)n);
		length += (size_t)n;
	} while (!end);
	return end - answer;
}

static int take_answer(const char *text, size_t length, json_t **ret_result, struct wt_error *err)
{
	json_t *answer = json_loadb(text, length, 0, NULL), *result = json_object_get(answer, "return");
	const char *error = json_string_value(json_object_get(answer, "error"));
	char shown[WT_PRINTABLE_MAX];
	int r = 0;

	if (error)
		r = wt_error_set(
			err, EREMOTEIO, "%s", wt_printable(error, strlen(error), shown, sizeof shown));
	else if (!json_is_object(result))
		r = wt_error_set(err, EPROTO, "the job's answer makes no sense");
	else
		*ret_result = json_incref(result);
	json_decref(answer);
	return r;
}

/* -ENOENT: no job lives there. */
static int ask_at(const char *path, const char *request, json_t **ret_result, struct wt_error *err)
{
	char answer[ANSWER_MAX];
	int fd = connect_to(path, err);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = exchange(fd, request, answer);
	close(fd);
	if (n == -ECONNRESET || n == -EPIPE)
		return wt_error_set(err, (int)-n, "the job at %s was over before it could answer", path);
	if (n < 0)
		return wt_error_set(err, (int)-n, "%s does not answer: %s", path,
			n == -EAGAIN ? "timed out" : strerror((int)-n));
	return take_answer(answer, (size_t)n, ret_result, err);
}

static char *format_request(json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT), *line = NULL;

	json_decref(request);
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

int wt_job_ask(const char *name, json_t *request, json_t **ret_result, struct wt_error *err)
{
	char directories[WT_JOB_DIRECTORIES][WT_JOB_PATH_MAX], path[4 * WT_JOB_PATH_MAX];
	unsigned count = wt_job_directories(directories);
	char *line = format_request(request);
	struct wt_error why = { 0 };
	int r = -ENOENT;

	for (unsigned i = 0; line && r == -ENOENT && i < count && wt_job_name_good(name); i++) {
		snprintf(path, sizeof path, "%s/%s.sock", directories[i], name);
		wt_error_clear(&why);
		r = ask_at(path, line, ret_result, &why);
	}
	free(line);
	if (r == -ENOENT)
		return wt_error_set(
			err, ENOENT, "there is no job %.80s here; watari status lists those that run", name);
	return r ? wt_error_set(err, why.code, "%s", why.text) : 0;
}

static int is_socket_name(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 5, ".sock") == 0;
}

void wt_job_ask_all(const char *command,
	void (*fn)(void *arg, const char *name, json_t *result, const struct wt_error *err), void *arg)
{
	char directories[WT_JOB_DIRECTORIES][WT_JOB_PATH_MAX], path[512];
	unsigned count = wt_job_directories(directories);
	char *line = format_request(json_pack("{s:s}", "command", command));

	for (unsigned i = 0; line && i < count; i++) {
		struct dirent **names = NULL;
		int found = scandir(directories[i], &names, is_socket_name, alphasort);

		for (int k = 0; k < found; k++) {
			char *name = names[k]->d_name;
			struct wt_error err = { 0 };
			json_t *result = NULL;

			snprintf(path, sizeof path, "%s/%s", directories[i], name);
			name[strlen(name) - 5] = '\0';
			if (ask_at(path, line, &result, &err) != -ENOENT)
				fn(arg, name, result, &err);
			json_decref(result);
			free(names[k]);
		}
		free(names);
	}
	free(line);
}
