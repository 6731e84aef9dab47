/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim.c - whole migrations in one process: both relays as they are, simulated QEMUs, network and clock.
 *
 *   sim FIRST COUNT      runs the seeds FIRST .. FIRST + COUNT - 1
 *   WATARI_SEED=N sim    runs that one alone; WATARI_SIM_TRACE=1 prints what happens
 *   WATARI_RUNS=N        N times as many seeds
 *
 * What is checked: README.md. A failure prints seed, virtual time and what was not so, and exits with 1.
 */
#include <ftw.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <watari/path.h>

#include "destination.h"
#include "sim_world.h"
#include "source.h"

#define RECONNECT_NS (3 * SIM_S)
#define QUIET_NS (60 * SIM_S) /* after the last fault everything has to be over */
#define RETARGETS_MAX 3
#define SETTLE_NS (7 * SIM_S) /* a QEMU that was told SHUT is not over at once */

struct sim_world sim_world;
bool sim_tracing;
static uint64_t seed_now;

/* ---- saying what is wrong ---- */

static void say(const char *before, const char *format, va_list args)
{
	fprintf(stderr, "%s[%llu.%06llu ms] ", before, (unsigned long long)(sim_now_ns / SIM_MS),
		(unsigned long long)(sim_now_ns % SIM_MS));
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

void sim_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("sim: ", format, args);
	va_end(args);
	fprintf(stderr, "sim: WATARI_SEED=%llu repeats this\n", (unsigned long long)seed_now);
	exit(1);
}

void sim_trace(const char *format, ...)
{
	va_list args;

	if (!sim_tracing)
		return;
	va_start(args, format);
	say("", format, args);
	va_end(args);
}

/* ---- the scenario ---- */

static void draw_blocks(void)
{
	struct sim_world *w = &sim_world;
	uint32_t most = sim_one_in(4) ? SIM_PAGES_MAX : 64;

	w->block_count = 0;
	w->blocks[w->block_count++] = (struct sim_block){
		.name = "pc.ram", .pages = (uint32_t)sim_between(1, most), .shared = true
	};
	if (sim_one_in(2))
		w->blocks[w->block_count++] = (struct sim_block){
			.name = "mem2", .pages = (uint32_t)sim_between(1, most), .shared = true
		};
	if (sim_one_in(3))
		w->blocks[w->block_count++] = (struct sim_block){
			.name = "private", .pages = (uint32_t)sim_between(1, 32), .staged = true
		};
	w->blocks[w->block_count++] =
		(struct sim_block){ .name = "vga.vram", .pages = (uint32_t)sim_between(1, 8) };
}

static void draw_link(struct sim_link *link)
{
	link->delay_min_ns = sim_between(10000, 500000);
	link->delay_max_ns = link->delay_min_ns + sim_below(sim_one_in(4) ? 20 * SIM_MS : SIM_MS);
	link->bytes_per_s = sim_between(sim_one_in(4) ? 1 : 20, 200) << 20;
	link->flight_ns = sim_below(sim_one_in(3) ? 60 * SIM_MS : 2 * SIM_MS);
}

/* So slow, and so different, that it counts who pulls what from whom. */
static void draw_uneven(struct sim_link *link)
{
	link->bytes_per_s = 1ull << sim_between(20, 24);
	link->flight_ns = 0;
}

static void draw_network(void)
{
	sim_world.uneven = sim_world.retargets && sim_one_in(3);
	memset(&sim_net, 0, sizeof sim_net);
	for (unsigned a = 0; a < SIM_HOSTS; a++)
		for (unsigned b = a; b < SIM_HOSTS; b++) {
			draw_link(sim_net_link(a, b));
			if (sim_world.uneven)
				draw_uneven(sim_net_link(a, b));
		}
	if (sim_world.neighbour)
		*sim_net_link(0, sim_world.neighbour) = (struct sim_link){ .delay_min_ns = 5000,
			.delay_max_ns = 50000,
			.bytes_per_s = 1 << 30,
			.flight_ns = 10000 };
	sim_net.has_verbs = sim_one_in(2);
	sim_net.split = sim_one_in(3);
}

/* In half of the runs the operator changes the destination, while the guest is too busy to be stopped. */
static void draw_destinations(void)
{
	struct sim_world *w = &sim_world;

	w->destinations = 1;
	if (sim_one_in(2))
		return;
	w->destinations = (unsigned)sim_between(2, SIM_HOSTS - 1);
	w->retargets = (unsigned)sim_between(1, RETARGETS_MAX);
	w->guest.busy_ns = SIM_CONNECT_NS + w->retargets * sim_between(50 * SIM_MS, 400 * SIM_MS);
	if (sim_one_in(4))
		w->neighbour = (unsigned)sim_between(1, w->destinations);
}

static void draw_world(void)
{
	struct sim_world *w = &sim_world;

	memset(w, 0, sizeof *w);
	w->long_run = sim_one_in(8);
	w->guest = (struct sim_guest){ .write_ns = sim_between(100000, 4 * SIM_MS) * (w->long_run ? 4 : 1),
		.calm_after_ns = w->long_run ? sim_between(SIM_S, 4 * SIM_S) : sim_between(0, 400 * SIM_MS),
		.hot_pages = sim_between(1, 24),
		.paused = sim_one_in(10) };
	draw_blocks();
	draw_destinations();
	draw_network();
	w->may_discard = sim_one_in(4);
	w->verify = sim_one_in(4);
	w->keep_source = sim_one_in(8);
	for (unsigned host = 0; host < SIM_HOSTS; host++)
		w->fabrics[host] = sim_one_in(6) ? WT_FABRIC_BIT(WT_FABRIC_TCP) : 0;
	if (w->long_run && sim_one_in(2))
		sim_net.no_verbs_until_ns =
			sim_now_ns + sim_below(3 * SIM_S); /* a better fabric comes later */
	w->pending_limit = sim_one_in(2) ? UINT64_MAX : sim_between(16 << 10, 512 << 10);
	w->paths = (unsigned)sim_between(1, 4);
	w->downtime_limit_ms = sim_between(1, 30);
	for (unsigned host = 0; host < SIM_HOSTS; host++)
		w->codes[host] = -1;
	w->start_ns[0] = sim_below(100 * SIM_MS);
	sim_faults_draw();
}

struct sim_qemu *sim_world_qemu(unsigned host)
{
	return sim_world.qemus[host];
}

/* ---- the relays ---- */

static struct wt_relay_options common(unsigned host, const char *qmp)
{
	return (struct wt_relay_options){ .qmp_path = qmp,
		.name = "vm",
		.job = "vm",
		.fabrics = sim_world.fabrics[host],
		.reconnect_timeout_ns = RECONNECT_NS,
		.insecure = true };
}

static bool never(void *arg)
{
	return false;
}

static void source_main(void *arg)
{
	struct wt_source_options options = { .common = common(0, "source"),
		.peer = { .host = "host1", .port = SIM_PORT },
		.paths = sim_world.paths,
		.channels = 1,
		.downtime_limit_ms = sim_world.downtime_limit_ms,
		.switchover_timeout_ns = 5 * SIM_S,
		.give_up_ns = 20 * SIM_S,
		.verify = sim_world.verify,
		.keep_source = sim_world.keep_source };
	int code;

	sim_wait(never, NULL, sim_now_ns + sim_world.start_ns[0]);
	code = wt_source_run(&options);
	if (!sim_party_dead(sim_current))
		sim_world.codes[0] = code;
	sim_trace("source relay: ends with %d", code);
}

static void destination_main(void *arg)
{
	unsigned host = sim_party_host(sim_current);
	char qmp[32], name[32];
	struct wt_destination_options options = { .common = common(host, qmp),
		.listen = { .host = name, .port = SIM_PORT },
		.wait_ns = 20 * SIM_S };
	int code;

	snprintf(qmp, sizeof qmp, "destination %u", host);
	snprintf(name, sizeof name, "host%u", host);
	code = wt_destination_run(&options);
	if (!sim_party_dead(sim_current))
		sim_world.codes[host] = code;
	sim_trace("%s: ends with %d", sim_party_name(sim_current), code);
}

static void relay_died(void *arg)
{
	sim_channels_crash(arg);
	sim_paths_crash(arg);
}

static const char *const relay_names[SIM_HOSTS] = { "source relay", "destination relay 1",
	"destination relay 2", "destination relay 3", "destination relay 4" };

static struct sim_party *relay_new(const char *name, unsigned host, void (*main)(void *arg))
{
	struct sim_party *party = sim_party_new(name, host, main, NULL);

	sim_party_on_death(party, relay_died, party);
	sim_party_start(party);
	return party;
}

/* ---- what must hold in the end ---- */

static bool crashed(void)
{
	return sim_fault_happened(SIM_CRASH_SOURCE) || sim_fault_happened(SIM_CRASH_DESTINATION) ||
	       sim_fault_happened(SIM_CRASH_SOURCE_QEMU) || sim_fault_happened(SIM_CRASH_DESTINATION_QEMU);
}

static bool killed(const struct sim_qemu *qemu)
{
	return sim_party_dead(sim_qemu_party((struct sim_qemu *)qemu));
}

/* The destination QEMU that has loaded the guest, the one that lives if several have, one after the other;
 * the first one if none has. */
static struct sim_qemu *loaded_one(void)
{
	for (unsigned host = 1; host <= sim_world.destinations; host++)
		if (sim_qemu_loaded(sim_world.qemus[host]) && sim_qemu_alive(sim_world.qemus[host]))
			return sim_world.qemus[host];
	for (unsigned host = 1; host <= sim_world.destinations; host++)
		if (sim_qemu_loaded(sim_world.qemus[host]))
			return sim_world.qemus[host];
	return sim_world.qemus[1];
}

static bool any_code(int code)
{
	for (unsigned host = 0; host <= sim_world.destinations; host++)
		if (sim_world.codes[host] == code)
			return true;
	return false;
}

static bool has_staged(void)
{
	for (unsigned i = 0; i < sim_world.block_count; i++)
		if (sim_world.blocks[i].staged)
			return true;
	return false;
}

/* It befell a destination that was not the current one, and did not become it before that was noticed, nor
 * was chosen for a new migration. */
static bool aside(const struct sim_fault *fault)
{
	return fault->aside && fault->host != sim_monitor_current() && !sim_world.restarts;
}

/* No other fault has happened. */
static bool alone(const struct sim_fault *fault)
{
	for (unsigned i = 0; i < sim_world.fault_count; i++)
		if (sim_world.faults[i].done && &sim_world.faults[i] != fault &&
			sim_world.faults[i].kind != SIM_RETARGET)
			return false;
	return true;
}

/* A migration survives it: what is lost can be renewed. The first connection is tried only once. */
static bool survives(const struct sim_fault *fault)
{
	switch (fault->kind) {
	case SIM_BREAK_ONE:
	case SIM_BREAK_TCP:
	case SIM_BREAK_VERBS:
	case SIM_PAUSE:
	case SIM_RETARGET:
		return true;
	case SIM_CRASH_DESTINATION_QEMU:
		return (aside(fault) || (fault->way_back && alone(fault))) && !has_staged();
	case SIM_CRASH_DESTINATION:
	case SIM_CANCEL:
		return aside(fault) && !has_staged();
	case SIM_SLOW: /* where all is slow already the switchover may take too long */
		return !sim_world.uneven;
	case SIM_CUT:
		return fault->streaming;
	case SIM_DOWN:
		return fault->streaming && fault->length_ns < SIM_S / 2;
	default:
		return false;
	}
}

static bool mild(void)
{
	if (sim_world.hopeless)
		return false;
	for (unsigned i = 0; i < sim_world.fault_count; i++)
		if (sim_world.faults[i].done && !survives(&sim_world.faults[i]))
			return false;
	return true;
}

/* Loaded and paused, and the source's record says so: `watari recover` lets it run. */
static bool recoverable(const struct sim_qemu *source, struct sim_qemu *destination)
{
	if (!sim_qemu_alive(destination) || !sim_qemu_loaded(destination) || !sim_qemu_committed(source) ||
		!sim_qemu_same_record(source, destination))
		return false;
	sim_qemu_check_running(destination);
	return true;
}

/* Nothing else has happened. */
static bool only(enum sim_fault_kind kind)
{
	for (unsigned i = 0; i < sim_world.fault_count; i++)
		if (sim_world.faults[i].done && sim_world.faults[i].kind != kind &&
			!survives(&sim_world.faults[i]))
			return false;
	return true;
}

static void check_who_runs(void)
{
	struct sim_qemu *s = sim_world.qemus[0], *d = loaded_one();
	bool here = sim_qemu_owns(s), there = sim_qemu_owns(d);

	for (unsigned host = 1; host <= sim_world.destinations; host++)
		sim_check(sim_world.qemus[host] == d || !sim_qemu_owns(sim_world.qemus[host]),
			"two destinations can run the guest");
	sim_check(!here || !there, "both guests can run");
	if (there)
		sim_qemu_check_running(d);
	if (here || there)
		return;
	if (sim_fault_happened(SIM_CRASH_SOURCE_QEMU) && !sim_qemu_committed(s))
		return;
	if (killed(d) && sim_qemu_committed(s)) {
		sim_check(sim_world.guest.paused || sim_fault_happened(SIM_PAUSE) || sim_qemu_was_told(d) ||
				  !only(SIM_CRASH_DESTINATION_QEMU),
			"the destination QEMU died before it was told to run, and the source does not go on");
		return;
	}
	sim_check(recoverable(s, d), "no guest runs: the source QEMU is %s%s, the destination's %s%s",
		sim_qemu_status(s), sim_qemu_alive(s) ? "" : " and gone", sim_qemu_status(d),
		sim_qemu_alive(d) ? "" : " and gone");
	sim_check(crashed() || any_code(WT_EXIT_UNDECIDED),
		"no guest runs, and no relay says that it is undecided");
}

static unsigned host_of(struct sim_qemu *qemu)
{
	return sim_party_host(sim_qemu_party(qemu));
}

/* A destination that failed, or is not the one any more, ends its QEMU; one that never began leaves it. */
static void check_destination_words(unsigned host)
{
	struct sim_qemu *d = sim_world.qemus[host];
	int code = sim_world.codes[host];

	if (!sim_qemu_begun(d) || sim_party_dead(sim_world.relays[host]))
		return;
	sim_check(code != WT_EXIT_FAILED || !sim_qemu_alive(d),
		"destination %u failed, and did not end its QEMU", host);
	sim_check(code == WT_EXIT_OK || sim_fault_any() || sim_world.restarts || !sim_monitor_drained(host),
		"nothing went wrong, and destination %u, which was left, was not released (%d)", host, code);
	/* One that has not drained before the guest has moved cannot be released, and is told to give up. */
	sim_check(code == WT_EXIT_OK || sim_fault_any() || host != sim_world.kept ||
			  !sim_monitor_drained(host) || sim_world.codes[0] != WT_EXIT_OK,
		"nothing went wrong, and destination %u, which was given up, was not released (%d)", host,
		code);
	sim_check(code != WT_EXIT_OK || sim_qemu_owns(d) || !sim_qemu_alive(d),
		"destination %u is not needed any more, and did not end its QEMU", host);
}

static void check_words(void)
{
	struct sim_qemu *s = sim_world.qemus[0], *d = loaded_one();

	if (sim_world.codes[0] == WT_EXIT_OK) {
		sim_check(sim_qemu_owns(d) || killed(d),
			"the source says that the guest has moved, and it does not run there");
		sim_check(!sim_qemu_alive(s) || sim_world.keep_source, "the source QEMU was not ended");
		sim_check(sim_qemu_alive(s) || !sim_world.keep_source ||
				  sim_fault_happened(SIM_CRASH_SOURCE_QEMU),
			"the source QEMU was not kept");
	}
	if (sim_world.codes[0] == WT_EXIT_FAILED && !sim_fault_happened(SIM_CRASH_SOURCE_QEMU)) {
		sim_check(sim_qemu_owns(s), "the source says that the guest goes on here, and it is %s%s",
			sim_qemu_status(s), sim_qemu_alive(s) ? "" : " and gone");
		sim_check(
			!sim_qemu_owns(d), "the source says that the guest did not move, and it runs there");
	}
	for (unsigned host = 1; host <= sim_world.destinations; host++)
		check_destination_words(host);
	if (mild())
		sim_check(sim_world.codes[0] == WT_EXIT_OK && sim_world.codes[host_of(d)] == WT_EXIT_OK,
			"nothing went wrong, and the migration did not succeed (%d, %d)", sim_world.codes[0],
			sim_world.codes[host_of(d)]);
}

static bool relays_ended(void *arg)
{
	for (unsigned host = 0; host <= sim_world.destinations; host++)
		if (!sim_party_ended(sim_world.relays[host]))
			return false;
	return true;
}

static void run_seed(uint64_t seed)
{
	struct sim_world *w = &sim_world;
	uint64_t limit_ns;

	seed_now = seed;
	sim_start(seed);
	sim_monitor_reset();
	draw_world();
	w->replicas_lie = seed % 3 == 0;
	sim_paths_open();
	w->qemus[0] = sim_qemu_source(&w->guest, w->block_count, w->blocks);
	for (unsigned host = 1; host <= w->destinations; host++)
		w->qemus[host] = sim_qemu_destination(w->qemus[0], host);
	for (unsigned host = 0; host <= w->destinations; host++)
		w->relays[host] = relay_new(relay_names[host], host, host ? destination_main : source_main);
	sim_faults_start();
	do
		limit_ns = (w->last_fault_ns ? w->last_fault_ns : SIM_S) + QUIET_NS;
	while (!sim_run(relays_ended, NULL, limit_ns) && w->last_fault_ns + QUIET_NS > limit_ns);
	sim_check(relays_ended(NULL),
		"it is not over: the source relay %s, source QEMU %s, destination QEMU %s",
		sim_party_ended(w->relays[0]) ? "ended" : "goes on", sim_qemu_status(w->qemus[0]),
		sim_qemu_status(loaded_one()));
	sim_run(never, NULL, sim_now_ns + SETTLE_NS);
	check_who_runs();
	check_words();
	sim_check(!sim_paths_left(), "%s is left", sim_paths_left());
	sim_check(!sim_channels_open(), "%u control connections are left", sim_channels_open());
	sim_trace("over: %d, %d after %llu turns", w->codes[0], w->codes[host_of(loaded_one())],
		(unsigned long long)sim_turns());
	sim_paths_close();
	for (unsigned host = 0; host <= w->destinations; host++)
		sim_qemu_close(w->qemus[host]);
	sim_end();
}

/* ---- where QEMU's sockets are ---- */

static char place[32];

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
	return remove(path);
}

static void remove_place(void)
{
	nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_place(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(place, sizeof place, "%s/sim-XXXXXX", tmp && strlen(tmp) < 20 ? tmp : "/tmp");
	if (!mkdtemp(place))
		abort();
	setenv("XDG_RUNTIME_DIR", place, 1);
	atexit(remove_place);
}

int main(int argc, char **argv)
{
	const char *one = getenv("WATARI_SEED"), *times = getenv("WATARI_RUNS");
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1,
		 count = argc > 2 ? strtoull(argv[2], NULL, 0) : 100;
	uint64_t stats[5] = { 0 }, counts[SIM_COUNTED] = { 0 }, turn_count = 0, blamed = 0;
	struct timespec began, ended;

	/* What one run frees the next one uses: fresh pages are expensive. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	make_place();
	sim_tracing = getenv("WATARI_SIM_TRACE") != NULL;
	if (times)
		count *= strtoull(times, NULL, 0);
	if (one) {
		first = strtoull(one, NULL, 0);
		count = 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (uint64_t seed = first; seed < first + count; seed++) {
		run_seed(seed);
		turn_count += sim_turns();
		stats[sim_world.codes[0] < 0 ? 4 : sim_world.codes[0]]++;
		for (unsigned i = 0; i < SIM_COUNTED; i++)
			counts[i] += sim_world.counts[i];
		blamed += sim_world.blamed;
	}
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("sim: %llu seeds: moved %llu, not moved %llu, undecided %llu, source crashed %llu; %.0f turns and "
	       "%.2f ms each\n",
		(unsigned long long)count, (unsigned long long)stats[0], (unsigned long long)stats[1],
		(unsigned long long)stats[3], (unsigned long long)stats[4],
		(double)turn_count / (double)count,
		((double)(ended.tv_sec - began.tv_sec) * 1e3 +
			(double)(ended.tv_nsec - began.tv_nsec) / 1e6) /
			(double)count);
	printf("sim: changes of the destination: taken %llu, done %llu, failed %llu, begun anew %llu; went back %llu "
	       "times; replicas that lied and were found %llu\n",
		(unsigned long long)counts[0], (unsigned long long)counts[1], (unsigned long long)counts[2],
		(unsigned long long)counts[4], (unsigned long long)counts[3], (unsigned long long)blamed);
	return 0;
}
