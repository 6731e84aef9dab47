/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * upgrade_process.h - a QEMU as the kernel knows it: command line, environment, directory, what it listens
 * on; and another one started like it.
 */
#ifndef WATARI_QEMU_UPGRADE_PROCESS_H
#define WATARI_QEMU_UPGRADE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <watari/error.h>

struct wt_upgrade_process {
	pid_t pid;
	int pidfd;
	char directory[512];
	char **argv, **environment; /* NULL-terminated; one allocation each, see wt_upgrade_process_close */
	char **sockets;             /* unix sockets that it listens on, by the names that they were given */
	size_t socket_count;
	unsigned tcp_port; /* one that it listens on; 0: none */
};

/* Is it in another control group than we are? What we start is then in the wrong one. */
bool wt_upgrade_process_apart(pid_t pid);
/* -EPERM: it runs as another user than we do. */
int wt_upgrade_process_open(pid_t pid, struct wt_upgrade_process *ret_process, struct wt_error *err);
void wt_upgrade_process_close(struct wt_upgrade_process *process);
/* true: it has ended. Waits at most so long. */
bool wt_upgrade_process_ended(const struct wt_upgrade_process *process, uint64_t timeout_ns);
/* A path of the process as this one sees it: from its directory on. -ENAMETOOLONG */
int wt_upgrade_process_path(
	const struct wt_upgrade_process *process, const char *path, char *ret_path, size_t size);
/* The number of its descriptor of the file that fd is; -ENOENT. */
int wt_upgrade_process_descriptor(pid_t pid, int fd);

/*
 * Starts a program in the directory of a process, with its standard output and error, and with the
 * environment given. In a session of its own. *ret_pid is a child.
 */
int wt_upgrade_start(const struct wt_upgrade_process *like, char *const *argv, char *const *environment,
	pid_t *ret_pid, struct wt_error *err);

#endif
