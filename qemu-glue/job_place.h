/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job_place.h - where jobs live: names, directories, and that a name is held by one living job at most.
 *
 * A job NAME has a socket NAME.sock and a lock NAME.lock in $XDG_RUNTIME_DIR/watari, or in /run/watari
 * without that variable. The directory is private to its user.
 */
#ifndef WATARI_QEMU_JOB_PLACE_H
#define WATARI_QEMU_JOB_PLACE_H

#include <stdbool.h>
#include <sys/un.h>

#include <watari/error.h>

#define WT_JOB_NAME_MAX 64 /* bytes */
#define WT_JOB_PATH_MAX sizeof((struct sockaddr_un){ 0 }.sun_path)
#define WT_JOB_DIRECTORIES 2

struct wt_job_place {
	char directory[WT_JOB_PATH_MAX], socket[WT_JOB_PATH_MAX], lock[WT_JOB_PATH_MAX];
	int lock_fd; /* -1: not ours */
};

/* 1 to 64 printable ASCII characters without '/', not beginning with '.' or '-'. */
bool wt_job_name_good(const char *name);
/* It is there, a directory of this user, and nobody else can even look into it. */
bool wt_job_directory_private(const char *path);
/* Makes the directory if need be and takes the name; a socket that a dead job left is removed. -EEXIST: a
 * living job has the name. */
int wt_job_place_take(const char *name, struct wt_job_place *ret_place, struct wt_error *err);
/* Removes socket and lock. Does nothing without lock_fd. */
void wt_job_place_leave(struct wt_job_place *place);

/* The directories in which a client looks for jobs: the user's, if there is one, and the system's. Answers
 * how many. */
unsigned wt_job_directories(char ret_directories[WT_JOB_DIRECTORIES][WT_JOB_PATH_MAX]);

#endif
