/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wt_multi.c - one puller and any number of servers that have the same memory: how fast it comes.
 *
 *   wt_multi pull SERVERS FILE PORT KEYS            waits for them, pulls, and says how it went
 *   wt_multi serve NUMBER FILE HOST PORT KEYS       serves FILE; number 0 comes first, others when it is
 * there
 *
 * FILE, of a multiple of 4096 bytes, is what the servers serve and what the puller compares with in the end.
 * KEYS is a file with a pre-shared key, or - for none, on loopback. PORT 0: any.
 *
 * pull prints a JSON object a line: {"port": N}; {"expects": N} once number 0 is there and N helpers may
 * come; and the result. Seconds count from when every path of every server is open to when the last page is
 * in place. The memory is there before, so that the kernel's zeroing of fresh pages is not measured. Exit
 * code 1 if it did not come, or is not FILE's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <watari/puller.h>
#include <watari/server.h>

#define SECOND_NS 1000000000ull
#define LOOK_NS 5000000ull
#define PATHS 2u /* of each server */
#define BLOCK "memory"

static struct wt_loop *loop;
static struct wt_psk *psk;
static struct wt_error err;
static uint8_t *served; /* FILE */
static uint64_t length;
static int file;

static void check(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "wt_multi: %s\n", wt_error_text(&err));
	exit(1);
}

static void failed(void *arg, const struct wt_error *why)
{
	err = *why;
	wt_loop_stop(loop, -1);
}

static void open_file(const char *name)
{
	struct stat st = { 0 };

	file = open(name, O_RDWR | O_CLOEXEC);
	if (file < 0 || fstat(file, &st) || !st.st_size || st.st_size % WT_PAGE_SIZE)
		check(wt_error_set(&err, EINVAL, "%s cannot be opened, or has no whole pages", name));
	length = (uint64_t)st.st_size;
	served = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	check(served == MAP_FAILED ? wt_error_set(&err, errno, "cannot map %s", name) : 0);
}

static void session_of(unsigned number, uint8_t ret_id[WT_SERVER_SESSION_ID_BYTES])
{
	memset(ret_id, 0, WT_SERVER_SESSION_ID_BYTES);
	ret_id[0] = (uint8_t)number;
}

/* ---- a server ---- */

static bool was_ready;

static void ready(void *arg)
{
	was_ready = true;
}

/* The puller leaves when it has everything. */
static void left(void *arg, const struct wt_error *why)
{
	err = *why;
	wt_loop_stop(loop, was_ready ? 0 : -1);
}

static void serve(unsigned number, const char *host, const char *port)
{
	uint8_t id[WT_SERVER_SESSION_ID_BYTES];
	struct wt_server_config config = { .peer = { .host = host, .port = (uint16_t)atoi(port) },
		.name = "multi",
		.psk = psk,
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.paths = PATHS,
		.passive = number > 0,
		.session_id = number ? id : NULL,
		.connect_timeout_ns = 5 * SECOND_NS,
		.give_up_ns = 10 * SECOND_NS };
	static const struct wt_server_events events = { .ready = ready, .lost = left, .failed = left };
	struct wt_server *server;

	session_of(number, id);
	check(wt_memory_open(&config.memory, &err));
	check(wt_memory_block_add(config.memory, BLOCK, served, length, file, 0, &err));
	check(wt_server_open(loop, &config, &events, NULL, &server, &err));
	check(wt_server_start(server, &err));
	check(wt_loop_run(loop));
	wt_server_close(server);
	wt_memory_close(config.memory);
}

/* ---- the puller ---- */

static struct {
	struct wt_puller *puller;
	struct wt_timer look;
	unsigned servers, joined;
	uint64_t start_ns, end_ns;
	uint8_t *base;
	int fd;
} p;

static int block(
	void *arg, const char *name, uint64_t bytes, struct wt_puller_block *ret_block, struct wt_error *why)
{
	if (bytes != length || strcmp(name, BLOCK))
		return wt_error_set(why, EINVAL, "that is not the memory of FILE");
	*ret_block = (struct wt_puller_block){ .base = p.base, .fd = p.fd };
	return 0;
}

/* All is needed; every helper has all of it. */
static int blocks_end(void *arg, struct wt_error *why)
{
	struct wt_extent all = { .pages = (uint32_t)(length / WT_PAGE_SIZE) };
	int r = wt_puller_need(p.puller, &all, NULL);

	for (unsigned i = 1; i < p.servers && !r; i++) {
		uint8_t id[WT_SERVER_SESSION_ID_BYTES];

		session_of(i, id);
		r = wt_puller_has(p.puller, i, &all, NULL);
		if (!r)
			r = wt_puller_expect(p.puller, i, id, "helper");
	}
	if (r)
		return wt_error_set(why, -r, "the base was refused");
	printf("{\"expects\": %u}\n", p.servers - 1);
	fflush(stdout);
	return 0;
}

static void helper_joined(void *arg, unsigned number, const char *label)
{
	p.joined++;
}

static void helper_lost(void *arg, unsigned number, const char *label, const struct wt_error *why)
{
	failed(NULL, why);
}

static void landed(void *arg)
{
	p.end_ns = wt_loop_now_ns(loop);
	wt_loop_stop(loop, 0);
}

/* It begins when everybody is there, with all paths. */
static void look(void *arg, uint64_t now_ns)
{
	struct wt_puller_stats stats;

	wt_puller_stats(p.puller, &stats);
	if (p.joined + 1 < p.servers || stats.paths < p.servers * PATHS) {
		wt_loop_timer_set(loop, &p.look, now_ns + LOOK_NS, look, NULL);
		return;
	}
	p.start_ns = wt_loop_now_ns(loop);
	if (wt_puller_base_end(p.puller, WT_BASE_FASTEST))
		wt_loop_stop(loop, wt_error_set(&err, EPROTO, "the end of the base was refused"));
}

static void say(void)
{
	struct wt_puller_stats stats;
	bool right = memcmp(p.base, served, length) == 0;

	wt_puller_stats(p.puller, &stats);
	printf("{\"bytes\": %llu, \"seconds\": %.6f, \"server_bytes\": [", (unsigned long long)length,
		(double)(p.end_ns - p.start_ns) / 1e9);
	for (unsigned i = 0; i < p.servers; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)stats.server_bytes[i]);
	printf("], \"right\": %s}\n", right ? "true" : "false");
	if (!right)
		check(wt_error_set(&err, EIO, "the memory that came is not that of FILE"));
}

static void pull(unsigned servers, const char *port)
{
	struct wt_puller_config config = { .listen = { .host = psk ? NULL : "127.0.0.1",
						   .port = (uint16_t)atoi(port) },
		.name = "multi",
		.psk = psk,
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.give_up_ns = 10 * SECOND_NS };
	static const struct wt_puller_events events = { .block = block,
		.blocks_end = blocks_end,
		.landed = landed,
		.failed = failed,
		.helper_joined = helper_joined,
		.helper_lost = helper_lost };
	uint16_t listening;

	p.servers = servers;
	p.fd = memfd_create("pulled", MFD_CLOEXEC);
	if (p.fd < 0 || ftruncate(p.fd, (off_t)length))
		check(wt_error_set(&err, errno, "no memory to pull into"));
	p.base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, p.fd, 0);
	check(p.base == MAP_FAILED ? wt_error_set(&err, errno, "no memory to pull into") : 0);
	check(wt_puller_open(loop, &config, &events, NULL, &p.puller, &listening, &err));
	printf("{\"port\": %u}\n", listening);
	fflush(stdout);
	wt_loop_timer_set(loop, &p.look, 0, look, NULL);
	check(wt_loop_run(loop));
	say();
	wt_loop_timer_clear(loop, &p.look);
	wt_puller_close(p.puller);
}

int main(int argc, char **argv)
{
	bool serves = argc == 7 && strcmp(argv[1], "serve") == 0;
	unsigned number = argc > 2 ? (unsigned)atoi(argv[2]) : 0;

	if ((!serves && (argc != 6 || strcmp(argv[1], "pull") || !number)) ||
		number + serves > WT_SERVERS_MAX) {
		fprintf(stderr, "usage: %s pull SERVERS FILE PORT KEYS | serve NUMBER FILE HOST PORT KEYS\n",
			argv[0]);
		return 2;
	}
	open_file(argv[3]);
	check(wt_loop_open(&loop));
	if (strcmp(argv[argc - 1], "-"))
		check(wt_psk_load(argv[argc - 1], NULL, &psk, &err));
	if (serves)
		serve(number, argv[4], argv[5]);
	else
		pull(number, argv[4]);
	wt_psk_free(psk);
	wt_loop_close(loop);
	return 0;
}
