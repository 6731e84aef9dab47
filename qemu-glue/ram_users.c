/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram_users.c - see ram_users.h.
 *
 *   1. Only /proc is read. A process that ends meanwhile has nothing.
 */
#include "ram_users.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The part of the file that the block lies in. */
static bool maps_block(
	const struct wt_proc_map *map, const struct wt_ram_block *block, const struct stat *file)
{
	return map->inode == file->st_ino && map->dev_major == major(file->st_dev) &&
	       map->dev_minor == minor(file->st_dev) && map->shared &&
	       map->offset < block->fd_offset + block->length &&
	       block->fd_offset < map->offset + (map->end - map->start);
}

static int check_process(
	pid_t pid, const struct wt_guest_ram *ram, const struct stat *files, struct wt_error *err)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_error ignored = { 0 };
	int r = 0;

	if (wt_proc_maps_read(pid, &maps, &ignored))
		return 0;
	for (unsigned b = 0; b < ram->count && !r; b++)
		for (size_t i = 0;
			ram->blocks[b].shared && pid != ram->blocks[b].pid && i < maps->count && !r; i++)
			if (maps_block(&maps->maps[i], &ram->blocks[b], &files[b]))
				r = wt_error_set(err, EBUSY,
					"process %d uses the memory of block %s, too: it may be another QEMU with a guest that runs, and its "
					"memory would be overwritten; end that process, or give this QEMU a file of its own",
					(int)pid, ram->blocks[b].name);
	wt_proc_maps_free(maps);
	return r;
}

int wt_ram_users_check(const struct wt_guest_ram *ram, struct wt_error *err)
{
	struct stat *files = calloc(ram->count + 1, sizeof *files);
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	int r = 0;

	if (!files || !processes)
		r = wt_error_set(err, files ? errno : ENOMEM, "cannot see who uses the memory of this QEMU");
	for (unsigned b = 0; b < ram->count && !r; b++)
		if (ram->blocks[b].shared && fstat(ram->blocks[b].fd, &files[b]))
			r = wt_error_set(
				err, errno, "cannot look at the file of block %s", ram->blocks[b].name);
	while (!r && processes && (entry = readdir(processes))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && pid != getpid())
			r = check_process(pid, ram, files, err);
	}
	if (processes)
		closedir(processes);
	free(files);
	return r;
}
