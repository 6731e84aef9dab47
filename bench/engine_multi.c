/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_multi.c - wt_multi_bw: one puller and any number of servers that have the same memory.
 *
 * The end that waits pulls; those that call serve. All of them make the same memory, of -s bytes, by the
 * pattern. Number 0 comes first; when it is there, the puller expects the others, the helpers.
 *
 * Seconds count from when every path of every server is open to when the last page is in place. The memory is
 * there before, so that the kernel's zeroing of fresh pages is not measured. What came is compared with the
 * pattern in the end. With --json the puller says {"port": N}, {"expects": N} once number 0 is there and N
 * helpers may come, and the result.
 */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <watari/puller.h>
#include <watari/server.h>

#define LOOK_NS 5000000ull
#define BLOCK "memory"

struct multi {
	const struct wt_bench_options *options;
	struct wt_error *err;
	struct wt_loop *loop;
	struct wt_credentials *credentials;
	struct wt_bench_memory memory;
	/* of the puller */
	struct wt_puller *puller;
	struct wt_timer look;
	unsigned joined;
	uint64_t start_ns, end_ns, cpu_ns;
	/* of a server */
	struct wt_memory *served;
	struct wt_server *server;
	bool was_ready;
};

static void failed(void *arg, const struct wt_error *why)
{
	struct multi *multi = arg;

	*multi->err = *why;
	wt_loop_stop(multi->loop, -1);
}

static int multi_open(struct multi *multi, const struct wt_bench_options *options, struct wt_error *err)
{
	multi->options = options;
	multi->err = err;
	if (wt_loop_open(&multi->loop))
		return wt_error_set(err, EMFILE, "there are no descriptors left");
	if (options->psk_file && wt_credentials_psk(options->psk_file, NULL, &multi->credentials, err) < 0)
		return -err->code;
	return wt_bench_memory_open(options->size, options->huge, &multi->memory, err);
}

static void multi_close(struct multi *multi)
{
	wt_loop_timer_clear(multi->loop, &multi->look);
	if (multi->puller)
		wt_puller_close(multi->puller);
	if (multi->server)
		wt_server_close(multi->server);
	if (multi->served)
		wt_memory_close(multi->served);
	wt_bench_memory_close(&multi->memory);
	wt_credentials_free(multi->credentials);
	if (multi->loop)
		wt_loop_close(multi->loop);
}

static void session_of(unsigned number, uint8_t ret_id[WT_SERVER_SESSION_ID_BYTES])
{
	memset(ret_id, 0, WT_SERVER_SESSION_ID_BYTES);
	ret_id[0] = (uint8_t)number;
}

/* ---- a server ---- */

static void ready(void *arg)
{
	((struct multi *)arg)->was_ready = true;
}

/* The puller leaves when it has everything. */
static void left(void *arg, const struct wt_error *why)
{
	struct multi *multi = arg;

	if (multi->was_ready)
		wt_loop_stop(multi->loop, 0);
	else
		failed(multi, why);
}

int wt_bench_multi_serve(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	static const struct wt_server_events events = { .ready = ready, .lost = left, .failed = left };
	uint8_t id[WT_SERVER_SESSION_ID_BYTES];
	struct multi multi = { 0 };
	struct wt_server_config config = { .peer = { .host = options->host, .port = (uint16_t)options->port },
		.name = "multi",
		.fabrics = WT_FABRIC_BIT(options->fabric),
		.data_plain = options->data_plain,
		.paths = (unsigned)options->paths,
		.passive = options->number > 0,
		.session_id = options->number ? id : NULL,
		.connect_timeout_ns = WT_BENCH_WAIT_NS,
		.give_up_ns = WT_BENCH_WAIT_NS };
	int status = multi_open(&multi, options, err);

	session_of((unsigned)options->number, id);
	config.credentials = multi.credentials;
	if (status >= 0) {
		wt_bench_pattern_fill(multi.memory.base, options->size);
		status = wt_memory_open(&multi.served, err);
	}
	if (status >= 0)
		status = wt_memory_block_add(
			multi.served, BLOCK, multi.memory.base, options->size, multi.memory.fd, 0, err);
	config.memory = multi.served;
	if (status >= 0)
		status = wt_server_open(multi.loop, &config, &events, &multi, &multi.server, err);
	if (status >= 0)
		status = wt_server_start(multi.server, err);
	if (status >= 0)
		status = wt_loop_run(multi.loop);
	multi_close(&multi);
	return status < 0 ? status : 0;
}

/* ---- the puller ---- */

static int block(
	void *arg, const char *name, uint64_t bytes, struct wt_puller_block *ret_block, struct wt_error *why)
{
	struct multi *multi = arg;

	if (bytes != multi->options->size || strcmp(name, BLOCK) != 0)
		return wt_error_set(why, EINVAL, "the ends disagree about -s: %llu bytes here, %llu there",
			(unsigned long long)multi->options->size, (unsigned long long)bytes);
	*ret_block = (struct wt_puller_block){ .base = multi->memory.base, .fd = multi->memory.fd };
	return 0;
}

/* All is needed; every helper has all of it. */
static int blocks_end(void *arg, struct wt_error *why)
{
	struct multi *multi = arg;
	struct wt_extent all = { .pages = (uint32_t)(multi->options->size / WT_PAGE_SIZE) };
	int r = wt_puller_need(multi->puller, &all, NULL);

	for (unsigned i = 1; i < multi->options->servers && !r; i++) {
		uint8_t id[WT_SERVER_SESSION_ID_BYTES];

		session_of(i, id);
		r = wt_puller_has(multi->puller, i, &all, NULL);
		if (!r)
			r = wt_puller_expect(multi->puller, i, id, "helper");
	}
	if (r)
		return wt_error_set(why, -r, "the base was refused");
	if (multi->options->json)
		printf("{\"expects\": %u}\n", (unsigned)multi->options->servers - 1);
	else
		printf(" server 0 is there; %u more\n", (unsigned)multi->options->servers - 1);
	return 0;
}

static void helper_joined(void *arg, unsigned number, const char *label)
{
	((struct multi *)arg)->joined++;
}

static void helper_lost(void *arg, unsigned number, const char *label, const struct wt_error *why)
{
	failed(arg, why);
}

static void landed(void *arg)
{
	struct multi *multi = arg;

	multi->end_ns = wt_bench_now_ns();
	multi->cpu_ns = wt_bench_cpu_ns() - multi->cpu_ns;
	wt_loop_stop(multi->loop, 0);
}

/* It begins when everybody is there, with all paths. */
static void look(void *arg, uint64_t now_ns)
{
	struct multi *multi = arg;
	struct wt_puller_stats stats;

	wt_puller_stats(multi->puller, &stats);
	if (multi->joined + 1 < multi->options->servers ||
		stats.paths < multi->options->servers * multi->options->paths) {
		wt_loop_timer_set(multi->loop, &multi->look, now_ns + LOOK_NS, look, multi);
		return;
	}
	multi->start_ns = wt_bench_now_ns();
	multi->cpu_ns = wt_bench_cpu_ns();
	if (wt_puller_base_end(multi->puller, WT_BASE_FASTEST))
		wt_loop_stop(
			multi->loop, wt_error_set(multi->err, EPROTO, "the end of the base was refused"));
}

static int say(struct multi *multi)
{
	const struct wt_bench_options *options = multi->options;
	uint64_t ns = multi->end_ns - multi->start_ns;
	uint64_t same = wt_bench_pattern_compare(multi->memory.base, 0, options->size);
	struct wt_puller_stats stats;

	if (same < options->size)
		return wt_error_set(
			multi->err, EIO, "what was pulled is wrong at offset %llu", (unsigned long long)same);
	wt_puller_stats(multi->puller, &stats);
	if (!options->json) {
		printf(" #bytes         #servers   BW average[%s]   seconds    CPU seconds\n"
		       " %-12llu   %-7u    %-10.2f          %-8.3f   %-8.3f\n",
			options->report_gbits ? "Gb/sec" : "MiB/sec", (unsigned long long)options->size,
			(unsigned)options->servers, wt_bench_rate(options->size, ns, options->report_gbits),
			(double)ns / 1e9, (double)multi->cpu_ns / 1e9);
		return 0;
	}
	printf("{\"test\": \"wt_multi_bw\", \"fabric\": \"%s\", \"bytes\": %llu, \"servers\": %u, \"paths\": %u, "
	       "\"bw_average_mib_s\": %.4f, \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"server_bytes\": [",
		wt_fabric_name(options->fabric), (unsigned long long)options->size,
		(unsigned)options->servers, (unsigned)options->paths, wt_bench_rate(options->size, ns, false),
		(double)ns / 1e9, (double)multi->cpu_ns / 1e9);
	for (unsigned i = 0; i < options->servers; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)stats.server_bytes[i]);
	printf("]}\n");
	return 0;
}

int wt_bench_multi_pull(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	static const struct wt_puller_events events = { .block = block,
		.blocks_end = blocks_end,
		.landed = landed,
		.failed = failed,
		.helper_joined = helper_joined,
		.helper_lost = helper_lost };
	struct multi multi = { 0 };
	struct wt_puller_config config = { .listen = { .host = options->psk_file ? NULL : "127.0.0.1",
						   .port = (uint16_t)options->port },
		.name = "multi",
		.fabrics = WT_FABRIC_BIT(options->fabric),
		.data_plain = options->data_plain,
		.give_up_ns = WT_BENCH_WAIT_NS };
	uint16_t port;
	int status = multi_open(&multi, options, err);

	config.credentials = multi.credentials;
	if (status >= 0)
		status = wt_puller_open(multi.loop, &config, &events, &multi, &multi.puller, &port, err);
	if (status >= 0) {
		wt_bench_waits_say(options, port);
		wt_loop_timer_set(multi.loop, &multi.look, 0, look, &multi);
		status = wt_loop_run(multi.loop);
	}
	if (status >= 0)
		status = say(&multi);
	multi_close(&multi);
	return status;
}
