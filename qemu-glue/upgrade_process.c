/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * upgrade_process.c - reads a process's /proc, and starts another one like it. See upgrade_process.h.
 *
 *   1. What a socket is called is the kernel's word (/proc/PID/net/unix), not the command line's.
 *   2. Standard output and error of the new process are those of the old one, the same open files where the
 * kernel lets us have them (pidfd_getfd), else the same by name, else /dev/null. Nothing else is passed on.
 */
#include "upgrade_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/close_range.h>

#define TEXT_MAX ((size_t)16 << 20)
#define INODES_MAX 1024

/* The whole of a file of /proc, with a NUL behind it. */
static char *read_file(pid_t pid, const char *name, size_t *ret_length)
{
	size_t room = 65536, length = 0;
	char path[64], *text = malloc(room), *grown;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	file = fopen(path, "re");
	while (file && text && room < TEXT_MAX) {
		length += fread(text + length, 1, room - 1 - length, file);
		if (length + 1 < room)
			break;
		grown = realloc(text, room *= 2);
		if (!grown)
			free(text);
		text = grown;
	}
	if (!file || !text) {
		free(text);
		text = NULL;
	} else {
		text[length] = '\0';
		*ret_length = length;
	}
	if (file)
		fclose(file);
	return text;
}

/* A file of strings that end with NUL, as a list; the texts are behind the pointers. */
static char **read_list(pid_t pid, const char *name)
{
	size_t length = 0, count = 0;
	char *text = read_file(pid, name, &length), **list;

	if (!text)
		return NULL;
	for (size_t at = 0; at < length; at += strlen(text + at) + 1)
		count++;
	list = malloc((count + 1) * sizeof *list + length + 1);
	if (list) {
		char *copy = (char *)(list + count + 1);

		memcpy(copy, text, length + 1);
		for (size_t i = 0; i < count; i++, copy += strlen(copy) + 1)
			list[i] = copy;
		list[count] = NULL;
	}
	free(text);
	return list;
}

/* Inodes of its sockets. */
static size_t socket_inodes(pid_t pid, unsigned long ret_inodes[INODES_MAX])
{
	char path[64 + NAME_MAX], target[64];
	struct dirent *entry;
	size_t count = 0;
	ssize_t length;
	DIR *descriptors;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	descriptors = opendir(path);
	while (descriptors && count < INODES_MAX && (entry = readdir(descriptors)) != NULL) {
		snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
		length = readlink(path, target, sizeof target - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		count += sscanf(target, "socket:[%lu]", &ret_inodes[count]) == 1;
	}
	if (descriptors)
		closedir(descriptors);
	return count;
}

static bool has_inode(const unsigned long *inodes, size_t count, unsigned long inode)
{
	for (size_t i = 0; i < count; i++)
		if (inodes[i] == inode)
			return true;
	return false;
}

/* "Num: RefCount Protocol Flags Type St Inode Path": those that listen. */
static int find_unix(struct wt_upgrade_process *p, const unsigned long *inodes, size_t count)
{
	const unsigned listens = 0x10000;
	size_t length = 0;
	char *text = read_file(p->pid, "net/unix", &length), *save = NULL;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
		line = strtok_r(NULL, "\n", &save)) {
		unsigned long inode;
		unsigned flags;
		char **grown;
		int at = 0;

		if (sscanf(line, "%*s %*x %*x %x %*x %*x %lu %n", &flags, &inode, &at) != 2 || !at ||
			!(flags & listens) || !has_inode(inodes, count, inode))
			continue;
		grown = realloc(p->sockets, (p->socket_count + 1) * sizeof *grown);
		if (!grown || !(grown[p->socket_count] = strdup(line + at))) {
			p->sockets = grown ? grown : p->sockets;
			free(text);
			return -ENOMEM;
		}
		p->sockets = grown;
		p->socket_count++;
	}
	free(text);
	return 0;
}

/* "sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode" */
static unsigned find_tcp(pid_t pid, const char *name, const unsigned long *inodes, size_t count)
{
	const unsigned listens = 0x0a;
	size_t length = 0;
	char *text = read_file(pid, name, &length), *save = NULL;
	unsigned found = 0;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
		line = strtok_r(NULL, "\n", &save)) {
		unsigned port, state;
		unsigned long inode;

		if (sscanf(line, " %*[^:]: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", &port, &state,
			    &inode) == 3 &&
			state == listens && has_inode(inodes, count, inode))
			found = port;
	}
	free(text);
	return found;
}

/* What we start runs as we do: it must be as the old one does. */
static int check_user(pid_t pid, struct wt_error *err)
{
	unsigned user = ~0u, group = ~0u;
	size_t length = 0;
	char *text = read_file(pid, "status", &length), *line;

	if (text && (line = strstr(text, "\nUid:")) != NULL)
		sscanf(line, "\nUid: %*u %u", &user);
	if (text && (line = strstr(text, "\nGid:")) != NULL)
		sscanf(line, "\nGid: %*u %u", &group);
	free(text);
	if (user == geteuid() && group == getegid())
		return 0;
	return wt_error_set(err, EPERM,
		"QEMU (process %d) runs as user %u, group %u, and watari as %u, %u, and so would the new QEMU; run watari as the "
		"user that QEMU runs as",
		(int)pid, user, group, (unsigned)geteuid(), (unsigned)getegid());
}

bool wt_upgrade_process_apart(pid_t pid)
{
	size_t lengths[2] = { 0 };
	char *texts[2] = { read_file(pid, "cgroup", &lengths[0]),
		read_file(getpid(), "cgroup", &lengths[1]) };
	bool apart = texts[0] && texts[1] && strcmp(texts[0], texts[1]) != 0;

	free(texts[0]);
	free(texts[1]);
	return apart;
}

int wt_upgrade_process_open(pid_t pid, struct wt_upgrade_process *ret_process, struct wt_error *err)
{
	struct wt_upgrade_process p = { .pid = pid, .pidfd = pidfd_open(pid, 0) };
	unsigned long inodes[INODES_MAX];
	size_t count = socket_inodes(pid, inodes);
	char link[64];
	ssize_t length;

	p.argv = read_list(pid, "cmdline");
	p.environment = read_list(pid, "environ");
	snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
	length = readlink(link, p.directory, sizeof p.directory - 1);
	if (length <= 0 || p.pidfd < 0 || !p.argv || !p.argv[0] || !p.environment || !count ||
		find_unix(&p, inodes, count)) {
		wt_upgrade_process_close(&p);
		return wt_error_set(err, EACCES,
			"QEMU's command line cannot be read (process %d); run watari as the user that QEMU runs as, in its "
			"PID namespace",
			(int)pid);
	}
	if (check_user(pid, err)) {
		wt_upgrade_process_close(&p);
		return -EPERM;
	}
	p.tcp_port = find_tcp(pid, "net/tcp", inodes, count);
	if (!p.tcp_port)
		p.tcp_port = find_tcp(pid, "net/tcp6", inodes, count);
	*ret_process = p;
	return 0;
}

void wt_upgrade_process_close(struct wt_upgrade_process *p)
{
	for (size_t i = 0; i < p->socket_count; i++)
		free(p->sockets[i]);
	free(p->sockets);
	free(p->argv);
	free(p->environment);
	if (p->pidfd >= 0)
		close(p->pidfd);
}

bool wt_upgrade_process_ended(const struct wt_upgrade_process *p, uint64_t timeout_ns)
{
	struct pollfd ended = { .fd = p->pidfd, .events = POLLIN };

	return poll(&ended, 1, (int)(timeout_ns / 1000000)) > 0;
}

int wt_upgrade_process_path(const struct wt_upgrade_process *p, const char *path, char *ret_path, size_t size)
{
	const char *directory = path[0] == '/' ? "" : p->directory;

	return snprintf(ret_path, size, "%s%s%s", directory, *directory ? "/" : "", path) < (int)size
		       ? 0
		       : -ENAMETOOLONG;
}

int wt_upgrade_process_descriptor(pid_t pid, int fd)
{
	char path[64 + NAME_MAX];
	struct stat wanted, file;
	struct dirent *entry;
	DIR *descriptors;
	int found = -ENOENT;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	descriptors = fstat(fd, &wanted) ? NULL : opendir(path);
	while (descriptors && found < 0 && (entry = readdir(descriptors)) != NULL) {
		snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
		if (entry->d_name[0] != '.' && !stat(path, &file) && file.st_ino == wanted.st_ino &&
			file.st_dev == wanted.st_dev)
			found = atoi(entry->d_name);
	}
	if (descriptors)
		closedir(descriptors);
	return found;
}

/* ---- starting another one ---- */

/* Standard output or error of the other process. */
static void inherit(const struct wt_upgrade_process *like, int number)
{
	int fd = pidfd_getfd(like->pidfd, number, 0);
	char path[64];

	if (fd < 0) {
		snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)like->pid, number);
		fd = open(path, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK);
	}
	if (fd < 0)
		fd = open("/dev/null", O_WRONLY);
	if (fd == number) {
		fcntl(fd, F_SETFD, 0);
	} else if (fd >= 0) {
		dup2(fd, number);
		close(fd);
	}
}

/* In the child; `report` tells our parent why there is no program. */
__attribute__((noreturn)) static void run(
	const struct wt_upgrade_process *like, char *const *argv, char *const *environment, int report)
{
	char path[64];
	sigset_t none;
	int fd;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	snprintf(path, sizeof path, "/proc/%d/cwd", (int)like->pid);
	fd = chdir(path) ? -1 : open("/dev/null", O_RDONLY);
	if (fd >= 0) {
		dup2(fd, 0);
		inherit(like, 1);
		inherit(like, 2);
		close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
		execvpe(argv[0], argv, environment);
	}
	fd = errno;
	if (write(report, &fd, sizeof fd) < 0)
		_exit(126);
	_exit(127);
}

int wt_upgrade_start(const struct wt_upgrade_process *like, char *const *argv, char *const *environment,
	pid_t *ret_pid, struct wt_error *err)
{
	int report[2], code = 0;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC))
		return wt_error_set(err, errno, "no pipe to start %s: %s", argv[0], strerror(errno));
	pid = fork();
	if (pid == 0)
		run(like, argv, environment, report[1]);
	code = pid < 0 ? errno : 0;
	close(report[1]);
	if (pid > 0 && read(report[0], &code, sizeof code) != sizeof code)
		code = 0;
	close(report[0]);
	if (code)
		return wt_error_set(err, code, "%s cannot be started: %s", argv[0], strerror(code));
	*ret_pid = pid;
	return 0;
}
