/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_and_pull.c - a program that is not QEMU serves memory, and pulls it from another host.
 *
 *   serve_and_pull pull FILE PORT [KEYS]          waits; FILE is made, and becomes the memory that is served
 *   serve_and_pull serve FILE HOST PORT [KEYS]    serves FILE's memory until all of it has landed
 *
 * KEYS is a file with a pre-shared key, the same on both hosts (README, "A key"); without it only loopback
 * works. FILE's length is a multiple of 4096. PORT 0: any; the one that is chosen is printed.
 *
 *   cc serve_and_pull.c $(pkg-config --static --cflags --libs libwatari) -o serve_and_pull
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <watari/puller.h>
#include <watari/server.h>

#define END 64 /* our own message: everything was announced; numbers from 64 on are the application's */
#define SECOND_NS 1000000000ull

static struct wt_loop *loop;
static struct wt_credentials *credentials;
static const char *file;
static struct wt_error err;

static void check(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "serve_and_pull: %s\n", wt_error_text(&err));
	exit(1);
}

static void failed(void *arg, const struct wt_error *why)
{
	err = *why;
	wt_loop_stop(loop, -1);
}

static void *map(int fd, size_t length)
{
	void *base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	check(base == MAP_FAILED ? wt_error_set(&err, EXIT_FAILURE, "cannot map %s", file) : 0);
	return base;
}

/* ---- the side that has the memory ---- */

static struct wt_memory *memory;
static struct wt_server *server;
static struct wt_extent rest; /* what was not announced yet */
static bool ended;

/* Announces as much as there is room for; when all of it has landed, we are done. */
static void go_on(void *arg)
{
	if (wt_server_announce(server, &rest, WT_CONTENT_IN_PLACE) == 0 && !ended)
		ended = wt_server_send(server, END, NULL, 0) == 0;
	wt_server_flush(server);
	if (ended && wt_server_all_landed(server))
		wt_loop_stop(loop, 0);
}

/* A fabric is not used, or is used again. */
static void note(void *arg, const char *text)
{
	fprintf(stderr, "serve_and_pull: %s\n", text);
}

static void serve(const char *host, const char *port)
{
	struct wt_server_config config = { .peer = { .host = host, .port = (uint16_t)atoi(port) },
		.name = "example",
		.credentials = credentials,
		.connect_timeout_ns = 5 * SECOND_NS,
		.give_up_ns = 10 * SECOND_NS };
	struct wt_server_events events = { .ready = go_on, .room = go_on, .note = note, .failed = failed };
	int fd = open(file, O_RDWR | O_CLOEXEC);
	struct stat st = { 0 };

	fstat(fd, &st);
	rest.pages = (uint32_t)(st.st_size / WT_PAGE_SIZE);
	check(wt_memory_open(&memory, &err));
	check(wt_memory_block_add(
		memory, "memory", map(fd, (size_t)st.st_size), (uint64_t)st.st_size, fd, 0, &err));
	config.memory = memory;
	check(wt_server_open(loop, &config, &events, NULL, &server, &err));
	check(wt_server_start(server, &err));
	check(wt_loop_run(loop));
	wt_server_close(server);
	wt_memory_close(memory);
}

/* ---- the side that wants it ---- */

static struct wt_puller *puller;

static int block(
	void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block, struct wt_error *why)
{
	ret_block->fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (ret_block->fd < 0 || ftruncate(ret_block->fd, (off_t)length))
		return wt_error_set(why, EXIT_FAILURE, "cannot make %s", file);
	ret_block->base = map(ret_block->fd, length);
	return 0;
}

static int message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *why)
{
	ended = type == END;
	return 0;
}

/* The server leaves when it knows that all has landed. */
static void lost(void *arg, const struct wt_error *why)
{
	if (ended && wt_puller_all_landed(puller))
		wt_loop_stop(loop, 0);
}

static void pull(const char *port)
{
	struct wt_puller_config config = { .listen = { .host = credentials ? NULL : "127.0.0.1",
						   .port = (uint16_t)atoi(port) },
		.name = "example",
		.credentials = credentials,
		.give_up_ns = 10 * SECOND_NS };
	struct wt_puller_events events = {
		.block = block, .message = message, .lost = lost, .failed = failed
	};
	uint16_t listening;

	check(wt_puller_open(loop, &config, &events, NULL, &puller, &listening, &err));
	printf("%u\n", listening);
	fflush(stdout);
	check(wt_loop_run(loop));
	wt_puller_close(puller);
}

int main(int argc, char **argv)
{
	bool serves = argc > 4 && strcmp(argv[1], "serve") == 0;

	if (!serves && (argc < 4 || strcmp(argv[1], "pull"))) {
		fprintf(stderr, "usage: %s pull FILE PORT [KEYS] | serve FILE HOST PORT [KEYS]\n", argv[0]);
		return 2;
	}
	file = argv[2];
	check(wt_loop_open(&loop));
	if (argc > 4 + serves)
		check(wt_credentials_psk(argv[4 + serves], NULL, &credentials, &err));
	if (serves)
		serve(argv[3], argv[4]);
	else
		pull(argv[3]);
	wt_credentials_free(credentials);
	wt_loop_close(loop);
	return 0;
}
