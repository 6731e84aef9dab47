/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram_search.c - which mapping of a process is which RAM block. See ram_search.h.
 *
 *   1. A block is never guessed: one candidate, or none.
 *   2. Two mappings of the same place of the same file are one candidate.
 *   3. A file that the operator named counts only if QEMU has it mapped.
 *
 * The ids of main memory, in QEMU 7.2 to 10.0: `pc.ram`, `mach-virt.ram` and the like; the id of a memory
 * backend (`mem0`; an id begins with a letter and has letters, digits, `-`, `.`, `_`); `/objects/mem0` with
 * older machine types. What is none: `vga.vram`, `pc.rom`, `pc.bios`, `system.flash0`, and everything with a
 * device's path or address in it: `/rom@etc/acpi/tables`, `0000:00:02.0/vga.vram`, `0000:00:03.0/e1000.rom`.
 */
#include "ram_search.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "proc_maps.h"

#define ANCESTORS_MAX 16

bool wt_ram_is_main(const char *name, uint64_t length)
{
	static const char *const others[] = { ".vram", ".rom", ".bios", ".flash", ".mmio", ".vgamem" };
	const char *dot = strrchr(name, '.');

	if (length < WT_RAM_MAIN_MIN)
		return false;
	if (strncmp(name, "/objects/", 9) == 0)
		return true;
	if (strpbrk(name, "/:@"))
		return false;
	for (unsigned i = 0; dot && i < sizeof others / sizeof others[0]; i++)
		if (strncmp(dot, others[i], strlen(others[i])) == 0)
			return false;
	return true;
}

/* ---- the process ---- */

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512], *behind;
	long parent = 0;
	size_t length;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	length = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[length] = '\0';
	behind = strrchr(text, ')'); /* the name before it may contain anything */
	if (!behind || sscanf(behind, ") %*c %ld", &parent) != 1)
		return 0;
	return (pid_t)parent;
}

static bool has_memory(pid_t pid)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_proc_run run;
	bool found = false;
	size_t index = 0;

	if (wt_proc_maps_read(pid, &maps, NULL))
		return false;
	while (!found && wt_proc_maps_run(maps, &index, &run))
		found = run.length >= WT_RAM_MAIN_MIN;
	wt_proc_maps_free(maps);
	return found;
}

static bool is_qemu(pid_t pid)
{
	char path[64], program[512];
	ssize_t length;

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	length = readlink(path, program, sizeof program - 1);
	if (length < 0)
		return false;
	program[length] = '\0';
	return strstr(strrchr(program, '/') ? strrchr(program, '/') : program, "qemu") || has_memory(pid);
}

pid_t wt_ram_search_ancestor(void)
{
	pid_t pid = getppid();

	for (unsigned i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
		if (is_qemu(pid))
			return pid;
		pid = parent_of(pid);
	}
	return 0;
}

/* ---- the block ---- */

struct candidates {
	unsigned count;
	uint64_t address; /* of the first */
	struct wt_proc_span span;
};

static bool same_place(const struct wt_proc_span *a, const struct wt_proc_span *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       a->offset == b->offset;
}

/* Every mapping of this length, of this file if one was named. */
static void gather(const struct wt_proc_maps *maps, uint64_t length, const struct stat *file,
	struct candidates *ret_candidates)
{
	struct candidates found = { 0 };
	struct wt_proc_span span;
	struct wt_proc_run run;
	size_t index = 0;

	while (wt_proc_maps_run(maps, &index, &run)) {
		if (run.length != length || wt_proc_maps_span(maps, run.address, length, &span))
			continue;
		if (file && (span.inode != file->st_ino || span.dev_major != major(file->st_dev) ||
				    span.dev_minor != minor(file->st_dev)))
			continue;
		if (found.count && same_place(&span, &found.span))
			continue;
		if (!found.count++) {
			found.address = run.address;
			found.span = span;
		}
	}
	*ret_candidates = found;
}

static const struct wt_ram_hint *hint_for(const struct wt_ram_search *search, const char *name)
{
	for (unsigned i = 0; i < search->hint_count; i++)
		if (strcmp(search->hints[i].name, name) == 0)
			return &search->hints[i];
	return NULL;
}

static int locate(const struct wt_ram_search *search, const char *name, uint64_t length,
	const struct wt_proc_maps *maps, uint64_t *ret_address, struct wt_error *err)
{
	const struct wt_ram_hint *hint = hint_for(search, name);
	struct candidates found;
	struct stat file;

	if (hint && stat(hint->path, &file))
		return wt_error_set(err, EINVAL, "--ram %s=%s: %s", name, hint->path, strerror(errno));
	gather(maps, length, hint ? &file : NULL, &found);
	if (hint && found.count != 1)
		return wt_error_set(err, EINVAL,
			"--ram %s=%s: QEMU (process %d) has %s of %llu bytes of that file; name the block's own file",
			name, hint->path, (int)search->pid,
			found.count ? "several shared mappings" : "no shared mapping",
			(unsigned long long)length);
	if (found.count > 1)
		return wt_error_set(err, ENOTUNIQ,
			"%u shared mappings of QEMU (process %d) fit block %s of %llu bytes; name its file with --ram %s=PATH",
			found.count, (int)search->pid, name, (unsigned long long)length, name);
	if (!found.count)
		return wt_error_set(err, ENOENT,
			"QEMU (process %d) has no shared mapping of %llu bytes for block %s; start it with a memory "
			"backend and share=on",
			(int)search->pid, (unsigned long long)length, name);
	*ret_address = found.address;
	return 0;
}

static int keep(struct wt_ram_search *search, struct wt_ram_block *block)
{
	void *grown = reallocarray(search->blocks, search->count + 1, sizeof *search->blocks);

	if (!grown)
		return -ENOMEM;
	search->blocks = grown;
	search->blocks[search->count++] = block;
	return 0;
}

int wt_ram_search_block(struct wt_ram_search *search, const char *name, uint64_t length,
	struct wt_ram_block **ret_block, struct wt_error *err)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_ram_block *block;
	uint64_t address = 0;
	int r;

	if (!search->pid)
		return wt_error_set(err, ESRCH,
			"no QEMU is among the parents of this process, so block %s is not found; name it with --pid",
			name);
	r = wt_proc_maps_read(search->pid, &maps, err);
	if (!r)
		r = locate(search, name, length, maps, &address, err);
	if (r) {
		wt_proc_maps_free(maps);
		return r;
	}
	block = calloc(1, sizeof *block);
	if (block) {
		*block = (struct wt_ram_block){
			.length = length, .fd = -1, .backing_page_size = WT_PAGE_SIZE
		};
		snprintf(block->name, sizeof block->name, "%s", name);
		wt_ram_block_map(search->pid, maps, address, block);
	}
	wt_proc_maps_free(maps);
	if (!block || (block->shared && keep(search, block))) {
		if (block)
			wt_ram_block_unmap(block);
		free(block);
		return wt_error_set(err, ENOMEM, "no memory for block %s", name);
	}
	if (!block->shared) {
		free(block);
		return wt_error_set(err, ENOENT,
			"block %s of QEMU (process %d) cannot be mapped here; run watari as the user that QEMU runs as",
			name, (int)search->pid);
	}
	*ret_block = block;
	return 0;
}

void wt_ram_search_close(struct wt_ram_search *search)
{
	for (unsigned i = 0; i < search->count; i++) {
		wt_ram_block_unmap(search->blocks[i]);
		free(search->blocks[i]);
	}
	free(search->blocks);
	search->blocks = NULL;
	search->count = 0;
}
