/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_vm.c - wt_vm_bw: a guest that is not there moves, as a real one would.
 *
 * The end that calls has the guest (engine_guest.h) and announces all its pages, then those that were written
 * meanwhile, again and again; when what is left fits into --downtime-limit at the rate of the last pass, the
 * guest stops, and the rest is announced. The end that waits pulls. No QEMU, no device state, no commit: what
 * is measured is the transport under a whole migration.
 *
 * Total time counts from the first announcement to when all has landed, the downtime from the stop. Only then
 * both ends hash all memory; another hash is an error. The end that calls prints. A hash is made in parts, so
 * that the session stays alive.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <watari/puller.h>
#include <watari/server.h>

#include "engine_guest.h"

#define RUN_PAGES 256u
#define BATCH 64 /* runs in a turn */
#define NAME "vm"

enum message { MESSAGE_HASH = 64, MESSAGE_VERDICT = 65 };
enum verdict { EQUAL = 1, DIFFERENT = 2 };
enum phase { CONNECTS, RUNS, STOPPED, HASHES, ASKED, OVER };

struct message_hash {
	uint64_t hash;
};

struct message_verdict {
	uint64_t verdict, cpu_ns; /* of the puller */
};

struct vm {
	const struct wt_bench_options *options;
	struct wt_error *err;
	struct wt_loop *loop;
	struct wt_credentials *credentials;
	struct wt_bench_guest guest;
	struct wt_busy busy;
	enum phase phase;
	uint64_t cpu_ns;
	/* of the guest's end */
	struct wt_memory *memory;
	struct wt_server *server;
	struct wt_extent rest; /* taken, and not announced yet */
	uint64_t at;           /* where the pass is, a page of all */
	unsigned passes;
	uint64_t pass_ns, pass_pages; /* when it began, what it has announced */
	uint64_t start_ns, stop_ns, end_ns, pages;
	/* of the puller's */
	struct wt_puller *puller;
	uint64_t wanted; /* the hash that it must be */
};

static void failed(void *arg, const struct wt_error *why)
{
	struct vm *vm = arg;

	*vm->err = *why;
	wt_loop_stop(vm->loop, -1);
}

static int vm_open(struct vm *vm, const struct wt_bench_options *options, struct wt_error *err)
{
	vm->options = options;
	vm->err = err;
	if (wt_loop_open(&vm->loop))
		return wt_error_set(err, EMFILE, "there are no descriptors left");
	if (options->psk_file && wt_credentials_psk(options->psk_file, NULL, &vm->credentials, err) < 0)
		return -err->code;
	return wt_bench_guest_open(options->size, (unsigned)options->blocks, options->huge,
		options->host != NULL, &vm->guest, err);
}

static void vm_close(struct vm *vm)
{
	wt_loop_busy_clear(vm->loop, &vm->busy);
	if (vm->puller)
		wt_puller_close(vm->puller);
	if (vm->server)
		wt_server_close(vm->server);
	if (vm->memory)
		wt_memory_close(vm->memory);
	wt_bench_guest_close(&vm->guest);
	wt_credentials_free(vm->credentials);
	if (vm->loop)
		wt_loop_close(vm->loop);
}

/* ---- the guest's end ---- */

static void ready(void *arg)
{
	struct vm *vm = arg;

	vm->start_ns = vm->pass_ns = wt_bench_now_ns();
	vm->cpu_ns = wt_bench_cpu_ns();
	vm->phase = RUNS;
	if (wt_bench_guest_run(&vm->guest, vm->options->dirty, vm->err))
		wt_loop_stop(vm->loop, -1);
}

/* Answers whether all marked pages from vm->at on were announced; false: there is no room, or it is not their
 * turn yet. */
static bool announce(struct vm *vm)
{
	for (unsigned i = 0; i < BATCH; i++) {
		uint32_t before = vm->rest.pages;

		if (!before && !wt_bench_guest_take(&vm->guest, &vm->at, RUN_PAGES, &vm->rest)) {
			wt_server_flush(vm->server);
			return true;
		}
		before = vm->rest.pages;
		if (wt_server_announce(vm->server, &vm->rest, WT_CONTENT_IN_PLACE) == -EINVAL)
			wt_loop_stop(
				vm->loop, wt_error_set(vm->err, EPROTO, "the guest's pages are in no block"));
		vm->pass_pages += before - vm->rest.pages;
		if (vm->rest.pages)
			break;
	}
	wt_server_flush(vm->server);
	return false;
}

/* A pass is over: another one, or the guest stops. */
static void pass_end(struct vm *vm)
{
	uint64_t now_ns = wt_bench_now_ns(), left = wt_bench_guest_marked(&vm->guest);
	double per_page_ns = (double)(now_ns - vm->pass_ns) / (double)(vm->pass_pages ? vm->pass_pages : 1);

	vm->passes++;
	vm->pages += vm->pass_pages;
	vm->pass_ns = now_ns;
	vm->pass_pages = vm->at = 0;
	if ((double)left * per_page_ns > (double)vm->options->downtime_ms * 1e6 &&
		vm->passes < vm->options->passes)
		return;
	vm->stop_ns = now_ns;
	wt_bench_guest_stop(&vm->guest);
	wt_server_final(vm->server);
	vm->phase = STOPPED;
}

static void all_landed(struct vm *vm)
{
	vm->end_ns = wt_bench_now_ns();
	vm->cpu_ns = wt_bench_cpu_ns() - vm->cpu_ns - vm->guest.cpu_ns;
	vm->phase = HASHES;
}

/* What the guest's end does in a turn of the loop; answers whether it wants another one. */
static bool serve_turn(void *arg, uint64_t now_ns)
{
	struct vm *vm = arg;

	switch (vm->phase) {
	case RUNS:
		if (announce(vm))
			pass_end(vm);
		return wt_server_room(vm->server);
	case STOPPED:
		if (!announce(vm))
			return wt_server_room(vm->server);
		if (!wt_server_all_landed(vm->server))
			return false;
		vm->pages += vm->pass_pages;
		all_landed(vm);
		return true;
	case HASHES:
		if (wt_bench_guest_hash_some(&vm->guest) &&
			!wt_server_send(vm->server, MESSAGE_HASH, &(struct message_hash){ vm->guest.hash },
				sizeof(struct message_hash)))
			vm->phase = ASKED;
		return vm->phase == HASHES;
	default:
		return false;
	}
}

static void say(const struct vm *vm, uint64_t puller_cpu_ns)
{
	const struct wt_bench_options *options = vm->options;
	uint64_t ns = vm->end_ns - vm->start_ns, moved = vm->pages << WT_PAGE_SHIFT;
	double downtime_ms = (double)(vm->end_ns - vm->stop_ns) / 1e6;

	if (options->json)
		printf("{\"test\": \"wt_vm_bw\", \"fabric\": \"%s\", \"bytes\": %llu, \"blocks\": %u, \"paths\": %u, "
		       "\"dirty_pages_s\": %llu, \"seconds\": %.6f, \"downtime_ms\": %.3f, \"passes\": %u, "
		       "\"moved_bytes\": %llu, \"bw_average_mib_s\": %.4f, \"cpu_seconds\": %.6f, "
		       "\"puller_cpu_seconds\": %.6f}\n",
			wt_fabric_name(options->fabric), (unsigned long long)options->size,
			(unsigned)options->blocks, (unsigned)options->paths,
			(unsigned long long)options->dirty, (double)ns / 1e9, downtime_ms, vm->passes,
			(unsigned long long)moved, wt_bench_rate(moved, ns, false), (double)vm->cpu_ns / 1e9,
			(double)puller_cpu_ns / 1e9);
	else
		printf(" #bytes         moved          BW average[%s]   seconds    downtime[ms]   passes   CPU seconds, puller's\n"
		       " %-12llu   %-12llu   %-10.2f          %-8.3f   %-12.1f   %-6u   %-10.3f   %-8.3f\n",
			options->report_gbits ? "Gb/sec" : "MiB/sec", (unsigned long long)options->size,
			(unsigned long long)moved, wt_bench_rate(moved, ns, options->report_gbits),
			(double)ns / 1e9, downtime_ms, vm->passes, (double)vm->cpu_ns / 1e9,
			(double)puller_cpu_ns / 1e9);
}

static int verdict(
	void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *message_err)
{
	struct message_verdict what;
	struct vm *vm = arg;

	if (type != MESSAGE_VERDICT || length != sizeof what || vm->phase != ASKED)
		return wt_error_set(message_err, EPROTO, "the other end is not wt_vm_bw");
	memcpy(&what, payload, sizeof what);
	vm->phase = OVER;
	if (what.verdict == EQUAL)
		say(vm, what.cpu_ns);
	else
		wt_error_set(vm->err, EIO, "the memory that has arrived is not the guest's");
	wt_loop_stop(vm->loop, vm->err->code ? -1 : 0);
	return 0;
}

static int blocks_serve(struct vm *vm, struct wt_error *err)
{
	int status = wt_memory_open(&vm->memory, err);

	for (unsigned i = 0; i < vm->guest.block_count && status >= 0; i++) {
		const char *name;
		uint64_t bytes = wt_bench_guest_block(vm->options->size, vm->guest.block_count, i, &name);

		status = wt_memory_block_add(
			vm->memory, name, vm->guest.blocks[i].base, bytes, vm->guest.blocks[i].fd, 0, err);
	}
	return status;
}

int wt_bench_vm_serve(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	static const struct wt_server_events events = {
		.ready = ready, .message = verdict, .failed = failed
	};
	struct vm vm = { 0 };
	struct wt_server_config config = { .peer = { .host = options->host, .port = (uint16_t)options->port },
		.name = NAME,
		.device = options->device,
		.fabrics = WT_FABRIC_BIT(options->fabric),
		.data_plain = options->data_plain,
		.paths = (unsigned)options->paths,
		.connect_timeout_ns = WT_BENCH_WAIT_NS,
		.give_up_ns = WT_BENCH_WAIT_NS };
	int status = vm_open(&vm, options, err);

	if (status >= 0)
		status = blocks_serve(&vm, err);
	config.credentials = vm.credentials;
	config.memory = vm.memory;
	if (status >= 0)
		status = wt_server_open(vm.loop, &config, &events, &vm, &vm.server, err);
	if (status >= 0)
		status = wt_server_start(vm.server, err);
	if (status >= 0) {
		wt_loop_busy_set(vm.loop, &vm.busy, serve_turn, &vm);
		status = wt_loop_run(vm.loop);
	}
	vm_close(&vm);
	return status < 0 ? status : 0;
}

/* ---- the puller's end ---- */

static int block(
	void *arg, const char *name, uint64_t bytes, struct wt_puller_block *ret_block, struct wt_error *why)
{
	struct vm *vm = arg;

	for (unsigned i = 0; i < vm->guest.block_count; i++) {
		const char *mine;
		uint64_t length = wt_bench_guest_block(vm->options->size, vm->guest.block_count, i, &mine);

		if (strcmp(name, mine) != 0 || bytes != length)
			continue;
		*ret_block = (struct wt_puller_block){ .base = vm->guest.blocks[i].base,
			.fd = vm->guest.blocks[i].fd };
		return 0;
	}
	return wt_error_set(why, EINVAL,
		"the ends disagree about -s or --blocks: a block %s of %llu bytes is not here", name,
		(unsigned long long)bytes);
}

static int blocks_end(void *arg, struct wt_error *why)
{
	struct vm *vm = arg;

	vm->cpu_ns = wt_bench_cpu_ns();
	return 0;
}

/* It comes when everything has landed. */
static int hash_wanted(
	void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *message_err)
{
	struct message_hash what;
	struct vm *vm = arg;

	if (type != MESSAGE_HASH || length != sizeof what || vm->phase != CONNECTS)
		return wt_error_set(message_err, EPROTO, "the other end is not wt_vm_bw");
	memcpy(&what, payload, sizeof what);
	vm->wanted = what.hash;
	vm->cpu_ns = wt_bench_cpu_ns() - vm->cpu_ns;
	vm->phase = HASHES;
	return 0;
}

static bool pull_turn(void *arg, uint64_t now_ns)
{
	struct vm *vm = arg;
	struct message_verdict what = { .cpu_ns = vm->cpu_ns };

	if (vm->phase != HASHES)
		return false;
	if (!wt_bench_guest_hash_some(&vm->guest))
		return true;
	what.verdict = vm->guest.hash == vm->wanted ? EQUAL : DIFFERENT;
	if (what.verdict == DIFFERENT)
		wt_error_set(vm->err, EIO, "the memory that has arrived is not the guest's");
	if (!wt_puller_send(vm->puller, MESSAGE_VERDICT, &what, sizeof what))
		vm->phase = OVER;
	return vm->phase != OVER;
}

/* The guest's end leaves when it has its verdict. */
static void left(void *arg, const struct wt_error *why)
{
	struct vm *vm = arg;

	if (vm->phase == OVER)
		wt_loop_stop(vm->loop, vm->err->code ? -1 : 0);
	else
		failed(vm, why);
}

int wt_bench_vm_pull(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	static const struct wt_puller_events events = {
		.block = block, .blocks_end = blocks_end, .message = hash_wanted, .lost = left, .failed = left
	};
	struct vm vm = { 0 };
	struct wt_puller_config config = { .listen = { .host = options->psk_file ? NULL : "127.0.0.1",
						   .port = (uint16_t)options->port },
		.name = NAME,
		.device = options->device,
		.fabrics = WT_FABRIC_BIT(options->fabric),
		.data_plain = options->data_plain,
		.give_up_ns = WT_BENCH_WAIT_NS };
	uint16_t port;
	int status = vm_open(&vm, options, err);

	config.credentials = vm.credentials;
	if (status >= 0)
		status = wt_puller_open(vm.loop, &config, &events, &vm, &vm.puller, &port, err);
	if (status >= 0) {
		wt_bench_waits_say(options, port);
		wt_loop_busy_set(vm.loop, &vm.busy, pull_turn, &vm);
		status = wt_loop_run(vm.loop);
	}
	vm_close(&vm);
	return status < 0 ? status : 0;
}
