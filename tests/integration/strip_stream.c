/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * strip_stream.c - strips a captured migration stream: a test tool around the stream reader.
 *
 *     strip_stream [--hand-over BYTE] [--in-place ID=IMAGE]... < STREAM > STRIPPED
 *
 * --hand-over: when so many bytes have been read, another destination takes over: STRIPPED, a file, is what
 * that one gets.
 * The pages of every block ID leave the stream and are written into the file IMAGE (made anew, the block's
 * length). IMAGE is then what a destination's RAM must be if all announcements landed in order. Prints one
 * line of JSON with counts to standard error. Exit status 0, or 1 with one sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay.h"

#define IMAGES_MAX 16

struct image {
	const char *id;
	const char *path;
	uint8_t *base; /* NULL until the block was listed */
	uint64_t length;
};

struct stripper {
	struct image images[IMAGES_MAX];
	unsigned count;
	struct wt_replay *replay; /* NULL: nobody takes over */
	uint64_t hand_over;
	struct image *of_block[WT_BLOCKS_MAX];
	uint64_t blocks, pages, zeros, parts, pings, return_paths, passed, passed_at_ram_end;
};

static int on_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	struct stripper *stripper = arg;
	struct image *image = NULL;
	unsigned i;
	int fd;

	stripper->blocks++;
	wt_replay_block(stripper->replay, index, length);
	for (i = 0; i < stripper->count; i++)
		if (!strcmp(stripper->images[i].id, name))
			image = &stripper->images[i];
	stripper->of_block[index] = image;
	*ret_in_place = image != NULL;
	if (!image)
		return 0;
	fd = open(image->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)length) < 0)
		return wt_error_set(err, errno, "%s: %s", image->path, strerror(errno));
	image->base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (image->base == MAP_FAILED) {
		image->base = NULL;
		return wt_error_set(err, errno, "%s cannot be mapped: %s", image->path, strerror(errno));
	}
	image->length = length;
	return 0;
}

static int on_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	struct stripper *stripper = arg;

	stripper->pages++;
	memcpy(stripper->of_block[block]->base + page * WT_PAGE_SIZE, bytes, WT_PAGE_SIZE);
	return 0;
}

static int on_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	struct stripper *stripper = arg;

	stripper->zeros++;
	memset(stripper->of_block[block]->base + page * WT_PAGE_SIZE, 0, WT_PAGE_SIZE);
	return 0;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	wt_replay_blocks_end(((struct stripper *)arg)->replay);
	return 0;
}

static int on_ram_part(void *arg, struct wt_error *err)
{
	((struct stripper *)arg)->parts++;
	return 0;
}

static int on_ram_end(void *arg, struct wt_error *err)
{
	((struct stripper *)arg)->passed_at_ram_end = ((struct stripper *)arg)->passed;
	return 0;
}

static int on_open_return_path(void *arg, struct wt_error *err)
{
	((struct stripper *)arg)->return_paths++;
	return 0;
}

static int on_ping(void *arg, uint32_t value, struct wt_error *err)
{
	((struct stripper *)arg)->pings++;
	return 0;
}

static int on_part(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	((struct stripper *)arg)->passed += length;
	if (fwrite(bytes, 1, length, stdout) != length)
		return wt_error_set(err, errno, "standard output: %s", strerror(errno));
	return 0;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	wt_replay_pass(((struct stripper *)arg)->replay, bytes, length);
	return on_part(arg, bytes, length, err);
}

static int on_kept(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	wt_replay_kept(((struct stripper *)arg)->replay, block, page, bytes);
	return 0;
}

static const struct wt_stream_events events = { on_block, on_blocks_end, on_page, on_zero, on_ram_part,
	on_ram_end, on_open_return_path, on_ping, on_kept, on_part, on_pass };

/* What the former destination got is forgotten. */
static int hand_over(struct stripper *stripper, struct wt_stream *stream, struct wt_error *err)
{
	int rc = wt_stream_break(stream, err);

	if (rc < 0)
		return rc;
	stripper->hand_over = 0;
	if (fflush(stdout) || ftruncate(STDOUT_FILENO, 0) || lseek(STDOUT_FILENO, 0, SEEK_SET))
		return wt_error_set(err, errno, "standard output: %s", strerror(errno));
	return wt_replay_write(stripper->replay, stream, 0, on_part, stripper, err);
}

static int parse_arguments(struct stripper *stripper, int argc, char **argv)
{
	char *equals;
	int i;

	for (i = 1; i < argc; i += 2) {
		if (!strcmp(argv[i], "--hand-over") && i + 1 < argc) {
			stripper->hand_over = strtoull(argv[i + 1], NULL, 10);
			if (!stripper->replay && wt_replay_open(WT_REPLAY_PAGES_MAX, &stripper->replay))
				return -ENOMEM;
			continue;
		}
		equals = i + 1 < argc ? strchr(argv[i + 1], '=') : NULL;
		if (strcmp(argv[i], "--in-place") || !equals || stripper->count == IMAGES_MAX) {
			fprintf(stderr,
				"usage: %s [--hand-over BYTE] [--in-place ID=IMAGE]... < STREAM > STRIPPED\n",
				argv[0]);
			return -EINVAL;
		}
		*equals = '\0';
		stripper->images[stripper->count].id = argv[i + 1];
		stripper->images[stripper->count++].path = equals + 1;
	}
	return 0;
}

static int strip(struct stripper *stripper, struct wt_error *err)
{
	struct wt_stream *stream = NULL;
	uint64_t taken = 0;
	uint8_t *buffer;
	ssize_t got;
	size_t room;
	int rc;

	rc = wt_stream_open(&events, stripper, &stream);
	if (rc < 0)
		return wt_error_set(err, -rc, "no memory");
	do {
		wt_stream_buffer(stream, &buffer, &room);
		if (stripper->hand_over && stripper->hand_over - taken < room)
			room = stripper->hand_over - taken;
		got = read(STDIN_FILENO, buffer, room);
		if (got < 0)
			rc = wt_error_set(err, errno, "standard input: %s", strerror(errno));
		else if (got > 0)
			rc = wt_stream_advance(stream, (size_t)got, err);
		taken += got > 0 ? (uint64_t)got : 0;
		if (rc == 0 && stripper->hand_over && taken == stripper->hand_over)
			rc = hand_over(stripper, stream, err);
	} while (got > 0 && rc == 0);
	if (rc == 0)
		rc = wt_stream_finish(stream, err);
	if (rc == 0 && fflush(stdout))
		rc = wt_error_set(err, errno, "standard output: %s", strerror(errno));
	if (rc == 0)
		fprintf(stderr,
			"{\"bytes\": %" PRIu64 ", \"stripped_bytes\": %" PRIu64 ", \"tail_bytes\": %" PRIu64
			", \"blocks\": %" PRIu64 ", \"pages\": %" PRIu64 ", \"zeros\": %" PRIu64
			", \"parts\": %" PRIu64 ", \"pings\": %" PRIu64 ", \"return_paths\": %" PRIu64 "}\n",
			wt_stream_offset(stream), stripper->passed,
			stripper->passed - stripper->passed_at_ram_end, stripper->blocks, stripper->pages,
			stripper->zeros, stripper->parts, stripper->pings, stripper->return_paths);
	wt_stream_close(stream);
	wt_replay_close(stripper->replay);
	return rc;
}

int main(int argc, char **argv)
{
	struct stripper stripper = { 0 };
	struct wt_error err = { 0 };

	if (parse_arguments(&stripper, argc, argv) < 0)
		return 2;
	if (strip(&stripper, &err) < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], wt_error_text(&err));
		return 1;
	}
	return 0;
}
