/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qemu_process.c - starts and ends a QEMU for a test.
 *
 * Owns the child and a directory in /tmp with its QMP socket.
 *   1. The child dies with the thread that started it (PR_SET_PDEATHSIG), so a test that crashes leaves none.
 *   2. Only the child holds the listening socket: if it ends, a client's connection ends too.
 */
#include "qemu_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64
#define LISTENER 9

static const char *program(void)
{
	const char *name = getenv("WATARI_QEMU");

	return name && *name ? name : "qemu-system-x86_64";
}

/* In the child. */
static void run(const char *const *arguments, int listener)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (listener >= 0)
		dup2(listener, LISTENER);
	execvp(arguments[0], (char *const *)(uintptr_t)arguments);
	fprintf(stderr, "cannot run %s: %s\n", arguments[0], strerror(errno));
	_exit(127);
}

int wt_qemu_process_available(void)
{
	const char *const arguments[] = { program(), "--version", NULL };
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		run(arguments, -1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status);
}

static int make_listener(struct wt_qemu_process *process)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener;

	strcpy(process->directory, "/tmp/watari-test-XXXXXX");
	if (!mkdtemp(process->directory))
		return -errno;
	snprintf(process->qmp_path, sizeof process->qmp_path, "%s/qmp", process->directory);
	strcpy(address.sun_path, process->qmp_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
		listen(listener, 4))
		return -errno;
	return listener;
}

int wt_qemu_process_start(const char *const *arguments, struct wt_qemu_process *ret_process)
{
	static const char *const fixed[] = { "-accel", "tcg", "-display", "none", "-nodefaults",
		"-no-user-config", "-chardev", "socket,id=qmp,fd=9,server=on,wait=off", "-mon",
		"chardev=qmp,mode=control" };
	struct wt_qemu_process process = { 0 };
	const char *all[ARGUMENTS_MAX];
	size_t count = 0, i;
	int listener;

	all[count++] = program();
	for (i = 0; i < sizeof fixed / sizeof *fixed; i++)
		all[count++] = fixed[i];
	for (i = 0; arguments[i] && count < ARGUMENTS_MAX - 1; i++)
		all[count++] = arguments[i];
	all[count] = NULL;
	listener = make_listener(&process);
	if (listener < 0)
		return listener;
	process.pid = fork();
	if (!process.pid)
		run(all, listener);
	close(listener);
	if (process.pid < 0)
		return -errno;
	*ret_process = process;
	return 0;
}

void wt_qemu_process_stop(struct wt_qemu_process *process)
{
	if (process->pid > 0) {
		kill(process->pid, SIGKILL);
		waitpid(process->pid, NULL, 0);
	}
	unlink(process->qmp_path);
	rmdir(process->directory);
	process->pid = 0;
}
