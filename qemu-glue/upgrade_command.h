/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * upgrade_command.h - the command line of a QEMU that is to take over a guest, from that of the one that has
 * it. Pure.
 *
 * Two QEMUs cannot have the same sockets and the same pid file at once. So the new one gets names of its own,
 * NAME.watari-N, which take the old place when the old QEMU has ended (wt_upgrade_public_name is the way
 * back).
 */
#ifndef WATARI_QEMU_UPGRADE_COMMAND_H
#define WATARI_QEMU_UPGRADE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include <watari/error.h>

#define WT_UPGRADE_PATH_MAX 512

/* A path on the command line (a socket, the pid file), and what it is for the new QEMU. */
struct wt_upgrade_name {
	char from[WT_UPGRADE_PATH_MAX], to[WT_UPGRADE_PATH_MAX];
	bool found; /* out: it stands on the command line */
};

/* A memory backend. */
struct wt_upgrade_backend {
	const char *id;
	const char *path; /* where the new QEMU opens that memory; NULL: as on the command line */
};

struct wt_upgrade_plan {
	char *const *old_argv; /* NULL-terminated, as all lists here */
	const char *binary;
	const char *machine; /* type, such as pc-q35-7.2 */
	struct wt_upgrade_name *names;
	size_t name_count;
	const struct wt_upgrade_backend *backends;
	size_t backend_count;
	const char *const *gone;  /* ids of devices that were unplugged */
	const char *const *extra; /* arguments for what was plugged in */
};

/* *ret_argv: one list of strings, to be freed by wt_upgrade_free. -EPERM: with what cannot be carried over.
 */
int wt_upgrade_command(struct wt_upgrade_plan *plan, char ***ret_argv, struct wt_error *err);
void wt_upgrade_free(char **argv);

/* The value of a key in the argument of an option: key=value,key=value or JSON; first: the key of a leading
 * word without "=". false: it has none. */
bool wt_upgrade_option(
	const char *argument, const char *first, const char *key, char *ret_value, size_t size);
/* Does any argument define that id (id=, node-name=)? */
bool wt_upgrade_defines(char *const *argv, const char *id);
/* Fills name->from and ->to: PATH without what an earlier upgrade has added, and with .watari-N. */
int wt_upgrade_name(struct wt_upgrade_name *name, const char *path, unsigned number, struct wt_error *err);
/* PATH without .watari-N. */
void wt_upgrade_public_name(const char *path, char ret_path[WT_UPGRADE_PATH_MAX]);

#endif
