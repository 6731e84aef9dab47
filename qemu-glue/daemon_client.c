/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon_client.c - a command that the daemon of this host runs. See daemon.h.
 *
 * SIGINT, SIGTERM and SIGHUP tell the daemon that the command is over, and it goes on to wait; once more, and
 * it is killed as usual.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon.h"
#include "job_place.h"
#include "printable.h"
#include "relay.h"

#define BEGIN_MS 10000

static volatile sig_atomic_t daemon_fd = -1;

static void interrupted(int number)
{
	shutdown(daemon_fd, SHUT_WR);
}

static int complain(const char *text)
{
	fprintf(stderr, "watari: %s\n", text);
	return WT_EXIT_FAILED;
}

json_t *wt_daemon_words(int argc, char **argv)
{
	json_t *words = json_array();

	for (int i = 0; i < argc; i++)
		json_array_append_new(words, json_string(argv[i]));
	return words;
}

/* A connected socket; -ENOENT: no daemon. */
static int connect_daemon(void)
{
	char directories[WT_JOB_DIRECTORIES][WT_JOB_PATH_MAX];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	unsigned count = wt_job_directories(directories);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), error = ENOENT;

	for (unsigned i = 0; fd >= 0 && i < count; i++) {
		if (snprintf(address.sun_path, sizeof address.sun_path, "%s/" WT_DAEMON_PLACE ".sock",
			    directories[i]) >= (int)sizeof address.sun_path)
			continue;
		if (!connect(fd, (struct sockaddr *)&address, sizeof address))
			return fd;
		error = errno == ECONNREFUSED ? ENOENT : errno;
		if (error != ENOENT)
			break;
	}
	if (fd >= 0)
		close(fd);
	return -(fd < 0 ? errno : error);
}

static int send_request(int fd, const char *text)
{
	int directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fds[WT_DAEMON_FDS] = { STDOUT_FILENO, STDERR_FILENO, directory };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof fds)];
	} control = { 0 };
	struct iovec part = { (void *)text, strlen(text) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
	};
	ssize_t n = -1;

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(&control.head), fds, sizeof fds);
	if (directory >= 0)
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	if (directory >= 0)
		close(directory);
	return n < 0 ? -errno : 0;
}

static void watch_signals(int fd)
{
	struct sigaction action = { .sa_handler = interrupted, .sa_flags = (int)SA_RESETHAND };

	daemon_fd = fd;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static int take_answer(const char *text, size_t length)
{
	json_t *answer = json_loadb(text, length, 0, NULL), *code = json_object_get(answer, "code");
	const char *error = json_string_value(json_object_get(answer, "error"));
	char shown[WT_PRINTABLE_MAX];
	int result = (int)json_integer_value(code);

	if (error)
		result = complain(wt_printable(error, strlen(error), shown, sizeof shown));
	else if (!json_is_integer(code))
		result = complain("the daemon's answer makes no sense");
	json_decref(answer);
	return result;
}

/* A daemon that has no descriptor left hears nobody. */
static int wait_begun(int fd)
{
	struct pollfd answers = { .fd = fd, .events = POLLIN };
	int r;

	do
		r = poll(&answers, 1, BEGIN_MS);
	while (r < 0 && errno == EINTR);
	return r > 0 ? 0
		     : complain(
			       "the daemon has not begun this within 10 s; it may be out of descriptors or memory");
}

/* Its answer in the end; after word that it has begun. */
static int wait_answer(int fd)
{
	char text[4096];
	ssize_t n;

	do
		n = recv(fd, text, sizeof text, 0);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)strlen(WT_DAEMON_BEGUN) && memcmp(text, WT_DAEMON_BEGUN, (size_t)n) == 0)
		return wait_answer(fd);
	if (n > 0)
		return take_answer(text, (size_t)n);
	complain("the daemon ended before this migration did; watari recover tells which guest may run");
	return WT_EXIT_UNDECIDED;
}

int wt_daemon_ask(json_t *words)
{
	json_t *request = json_pack("{s:O}", "argv", words);
	char *text = json_dumps(request, JSON_COMPACT);
	int fd = connect_daemon(), code, r;

	json_decref(request);
	if (fd == -ENOENT)
		code = complain("no watari daemon runs here; start one, or leave --daemon out");
	else if (fd < 0)
		code = complain(strerror(-fd));
	else if (!text || strlen(text) > WT_DAEMON_REQUEST_MAX)
		code = complain("these options are too long, or not UTF-8, for the daemon");
	else if ((r = send_request(fd, text)) && r != -EPIPE) /* there it has answered already */
		code = complain(strerror(-r));
	else {
		watch_signals(fd);
		code = wait_begun(fd);
		if (!code)
			code = wait_answer(fd);
	}
	if (fd >= 0)
		close(fd);
	free(text);
	return code;
}
