/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * proc_maps.c - which mapping of a process is where.
 *
 * Owns the parsed table only.
 *   1. maps[i].start < maps[i].end <= maps[i + 1].start.
 *   2. offset + (end - start) does not overflow.
 *
 * The kernel writes the text, but the process below chooses what is in it: anything that does not look like
 * proc(5) is refused with the number of its line, never guessed. Any thread; parsing does no I/O.
 * It does not look at path names: they are no proof of anything.
 */
#include "proc_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scan.h"

/* vm.max_map_count is 65530 by default; some hosts raise it to a million. */
#define PROC_MAPS_COUNT_MAX (1u << 20)
#define PROC_MAPS_TEXT_MAX ((size_t)256 << 20)
#define READS_MAX 10u

/* "7f00-7f10 rw-s 00000000 00:01 1031   /path" */
static bool parse_line(struct wt_scan line, struct wt_proc_map *ret_map)
{
	struct wt_proc_map map = { 0 };
	uint64_t major, minor;
	const char *modes;

	if (!wt_scan_number(&line, 16, &map.start) || !wt_scan_literal(&line, "-") ||
		!wt_scan_number(&line, 16, &map.end) || !wt_scan_literal(&line, " "))
		return false;
	if (line.end - line.begin < 5)
		return false;
	modes = line.begin;
	line.begin += 4;
	if (!wt_scan_literal(&line, " ") || !wt_scan_number(&line, 16, &map.offset) ||
		!wt_scan_literal(&line, " ") || !wt_scan_number(&line, 16, &major) ||
		!wt_scan_literal(&line, ":") || !wt_scan_number(&line, 16, &minor) ||
		!wt_scan_literal(&line, " ") || !wt_scan_number(&line, 10, &map.inode))
		return false;
	if (line.begin < line.end && *line.begin != ' ')
		return false;
	if (map.start >= map.end || map.offset > UINT64_MAX - (map.end - map.start) || major > UINT32_MAX ||
		minor > UINT32_MAX)
		return false;
	if ((modes[0] != 'r' && modes[0] != '-') || (modes[1] != 'w' && modes[1] != '-') ||
		(modes[3] != 's' && modes[3] != 'p'))
		return false;
	map.dev_major = (uint32_t)major;
	map.dev_minor = (uint32_t)minor;
	map.readable = modes[0] == 'r';
	map.writable = modes[1] == 'w';
	map.shared = modes[3] == 's';
	*ret_map = map;
	return true;
}

static int add_map(struct wt_proc_maps *maps, size_t *room, const struct wt_proc_map *map)
{
	struct wt_proc_map *grown;

	if (maps->count == *room) {
		size_t more = *room ? *room * 2 : 256;

		grown = reallocarray(maps->maps, more, sizeof *grown);
		if (!grown)
			return -ENOMEM;
		maps->maps = grown;
		*room = more;
	}
	maps->maps[maps->count++] = *map;
	return 0;
}

int wt_proc_maps_parse(const char *text, size_t length, struct wt_proc_maps **ret_maps, struct wt_error *err)
{
	struct wt_scan rest = { text, text + length }, line;
	struct wt_proc_maps *maps;
	struct wt_proc_map map;
	uint64_t last_end = 0;
	size_t room = 0, number = 0;
	int r;

	maps = calloc(1, sizeof *maps);
	if (!maps)
		return wt_error_set(err, ENOMEM, "no memory for a table of mappings");
	while (wt_scan_line(&rest, &line)) {
		number++;
		if (!parse_line(line, &map) || map.start < last_end) {
			r = wt_error_set(err, EPROTO,
				"line %zu of /proc/PID/maps does not have the form that proc(5) describes",
				number);
			goto fail_free;
		}
		last_end = map.end;
		if (maps->count == PROC_MAPS_COUNT_MAX) {
			r = wt_error_set(err, E2BIG,
				"/proc/PID/maps has more than %u mappings, too many to search",
				PROC_MAPS_COUNT_MAX);
			goto fail_free;
		}
		r = add_map(maps, &room, &map);
		if (r < 0) {
			wt_error_set(err, ENOMEM, "no memory for a table of mappings");
			goto fail_free;
		}
	}
	*ret_maps = maps;
	return 0;

fail_free:
	wt_proc_maps_free(maps);
	return r;
}

/* Reads a file without a known size. *ret_text is allocated. */
static int read_all(int fd, char **ret_text, size_t *ret_length)
{
	size_t room = 65536, length = 0;
	char *text = malloc(room), *grown;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	for (;;) {
		n = read(fd, text + length, room - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		length += (size_t)n;
		if (length < room)
			continue;
		grown = room < PROC_MAPS_TEXT_MAX ? realloc(text, room * 2) : NULL;
		if (!grown) {
			free(text);
			return -ENOMEM;
		}
		text = grown;
		room *= 2;
	}
	if (n < 0) {
		int code = errno;

		free(text);
		return -code;
	}
	*ret_text = text;
	*ret_length = length;
	return 0;
}

static int read_once(pid_t pid, struct wt_proc_maps **ret_maps, struct wt_error *err)
{
	char path[64], *text = NULL;
	size_t length = 0;
	int fd, r;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : read_all(fd, &text, &length);
	if (fd >= 0)
		close(fd);
	if (r < 0)
		return wt_error_set(err, -r, "cannot read %s: %s%s", path, strerror(-r),
			r == -EACCES || r == -EPERM ? "; run watari as the user that QEMU runs as, or as root"
						    : "");
	r = wt_proc_maps_parse(text, length, ret_maps, err);
	free(text);
	return r;
}

/* The kernel does not stop the process meanwhile: a mapping that has just changed may overlap the one that
 * was printed before it. */
int wt_proc_maps_read(pid_t pid, struct wt_proc_maps **ret_maps, struct wt_error *err)
{
	struct wt_error why = { 0 };
	int r = -EPROTO;

	for (unsigned i = 0; i < READS_MAX && r == -EPROTO; i++) {
		wt_error_clear(&why);
		r = read_once(pid, ret_maps, &why);
	}
	return r < 0 ? wt_error_set(err, why.code, "%s", wt_error_text(&why)) : r;
}

void wt_proc_maps_free(struct wt_proc_maps *maps)
{
	if (!maps)
		return;
	free(maps->maps);
	free(maps);
}

/* The index of the mapping that holds address, or count. */
static size_t find(const struct wt_proc_maps *maps, uint64_t address)
{
	size_t low = 0, high = maps->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (maps->maps[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < maps->count && maps->maps[low].start <= address ? low : maps->count;
}

static bool is_memory(const struct wt_proc_map *map)
{
	return map->shared && map->readable && map->writable && map->inode;
}

/* `next` goes on with the same file where `map` ends, in addresses and in the file. */
static bool continues(const struct wt_proc_map *map, const struct wt_proc_map *next)
{
	return is_memory(next) && next->inode == map->inode && next->dev_major == map->dev_major &&
	       next->dev_minor == map->dev_minor && next->start == map->end &&
	       next->offset == map->offset + (map->end - map->start);
}

int wt_proc_maps_span(
	const struct wt_proc_maps *maps, uint64_t address, uint64_t length, struct wt_proc_span *ret_span)
{
	const struct wt_proc_map *first, *map;
	size_t i = find(maps, address);
	uint64_t offset;

	if (i == maps->count || !length || length > UINT64_MAX - address)
		return -ENOENT;
	first = &maps->maps[i];
	offset = first->offset + (address - first->start);
	for (map = first;; map = &maps->maps[i]) {
		if (map == first ? !is_memory(map) : !continues(map - 1, map))
			return -ENOENT;
		if (map->end >= address + length)
			break;
		if (++i == maps->count)
			return -ENOENT;
	}
	ret_span->inode = first->inode;
	ret_span->dev_major = first->dev_major;
	ret_span->dev_minor = first->dev_minor;
	ret_span->offset = offset;
	ret_span->map_start = first->start;
	ret_span->map_end = first->end;
	return 0;
}

bool wt_proc_maps_run(const struct wt_proc_maps *maps, size_t *index, struct wt_proc_run *ret_run)
{
	size_t i = *index;
	const struct wt_proc_map *map;

	while (i < maps->count && !is_memory(&maps->maps[i]))
		i++;
	if (i == maps->count)
		return false;
	*ret_run = (struct wt_proc_run){ .address = maps->maps[i].start };
	do
		map = &maps->maps[i++];
	while (i < maps->count && continues(map, &maps->maps[i]));
	ret_run->length = map->end - ret_run->address;
	*index = i;
	return true;
}
