/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_qemu.c - what both models have: memory, a guest that writes, run states, QMP. See sim_qemu.h.
 */
#include "sim_qemu_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)SIM_PAGES_MAX << WT_PAGE_SHIFT)
#define RUNS_FROM 48 /* pages */
#define POOL_BYTES (SIM_BLOCKS * BLOCK_BYTES)

/* Memory of all, kept from one run to the next: fresh pages are expensive. */
static struct {
	int fd;
	uint8_t *bytes, *copy;
} pools[SIM_HOSTS];

static struct sim_qemu *qemus[SIM_HOSTS];
static const char *const names[SIM_HOSTS] = { "source", "destination 1", "destination 2", "destination 3",
	"destination 4" };
static const char *const party_names[SIM_HOSTS] = { "source QEMU", "destination QEMU 1", "destination QEMU 2",
	"destination QEMU 3", "destination QEMU 4" };

static void pool_open(unsigned i)
{
	if (pools[i].bytes)
		return;
	pools[i].fd = memfd_create("sim", MFD_CLOEXEC);
	if (pools[i].fd < 0 || ftruncate(pools[i].fd, POOL_BYTES))
		abort();
	pools[i].bytes = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, pools[i].fd, 0);
	pools[i].copy = malloc(POOL_BYTES);
	if (pools[i].bytes == MAP_FAILED || !pools[i].copy)
		abort();
}

static void punch(struct sim_block *block, uint32_t page, uint32_t pages)
{
	if (fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)(block->fd_offset + ((uint64_t)page << WT_PAGE_SHIFT)),
		    (off_t)pages << WT_PAGE_SHIFT))
		abort();
}

static void fill_page(uint8_t *page)
{
	uint64_t word = sim_random(), words[WT_PAGE_SIZE / 8];

	for (unsigned i = 0; i < WT_PAGE_SIZE / 8; i++)
		words[i] = word += 0x9e3779b97f4a7c15ull;
	memcpy(page, words, sizeof words);
}

/* Some pages are zero, some do not exist. */
static void fill_block(struct sim_block *block)
{
	unsigned zeros = (unsigned)sim_between(2, 8);

	for (uint32_t page = 0; page < block->pages; page++)
		if (sim_one_in(zeros))
			memset(block->bytes + ((size_t)page << WT_PAGE_SHIFT), 0, WT_PAGE_SIZE);
		else
			fill_page(block->bytes + ((size_t)page << WT_PAGE_SHIFT));
	if (block->shared && sim_one_in(4)) {
		uint32_t page = (uint32_t)sim_below(block->pages);

		punch(block, page, (uint32_t)sim_between(1, block->pages - page));
	}
}

uint8_t *sim_copy_of(const struct sim_qemu *qemu, unsigned block)
{
	return qemu->copy + block * BLOCK_BYTES;
}

void sim_copy_take(struct sim_qemu *qemu)
{
	for (unsigned i = 0; i < qemu->block_count; i++)
		memcpy(sim_copy_of(qemu, i), qemu->blocks[i].bytes,
			(size_t)qemu->blocks[i].pages << WT_PAGE_SHIFT);
	qemu->copied = true;
}

/* ---- the guest ---- */

static void write_page(struct sim_qemu *qemu, unsigned b, uint32_t page, unsigned how)
{
	struct sim_block *block = &qemu->blocks[b];
	uint8_t *bytes = block->bytes + ((size_t)page << WT_PAGE_SHIFT);

	if (how == 0) {
		memset(bytes, 0, WT_PAGE_SIZE);
	} else if (how < 3) {
		fill_page(bytes);
	} else {
		uint64_t word = sim_random();

		memcpy(bytes + 8 * sim_below(WT_PAGE_SIZE / 8), &word, sizeof word);
	}
	if (qemu->copied && qemu->ran)
		memcpy(sim_copy_of(qemu, b) + ((size_t)page << WT_PAGE_SHIFT), bytes, WT_PAGE_SIZE);
	block->dirty[page] = 1;
	qemu->writes++;
}

/* Mostly one page; runs only where they do not rewrite all of the block within moments. */
static void write_run(struct sim_qemu *qemu, unsigned b, uint32_t page)
{
	uint64_t end = page + (qemu->blocks[b].pages > RUNS_FROM && sim_one_in(8) ? sim_between(2, 12) : 1);
	unsigned how = (unsigned)sim_below(8);

	for (; page < end && page < qemu->blocks[b].pages; page++)
		write_page(qemu, b, page, how);
}

static void guest_writes(void *arg, uint64_t now_ns)
{
	struct sim_qemu *qemu = arg;
	uint64_t pause_ns = qemu->guest.write_ns, count = sim_between(1, 4);

	if (strcmp(qemu->status, "running"))
		return;
	if (now_ns - qemu->began_ns > qemu->guest.calm_after_ns)
		pause_ns = 200 * SIM_MS; /* so that every migration comes to its end */
	while (count--) {
		unsigned b = (unsigned)sim_below(qemu->block_count);
		uint32_t pages = qemu->blocks[b].pages;

		if (!sim_one_in(4) && qemu->guest.hot_pages < pages)
			pages = (uint32_t)qemu->guest.hot_pages;
		write_run(qemu, b, (uint32_t)sim_below(pages));
	}
	wt_loop_timer_set(
		qemu->loop, &qemu->writing, now_ns + sim_between(1, 2 * pause_ns), guest_writes, qemu);
}

void sim_guest_start(struct sim_qemu *qemu)
{
	if (qemu->guest.write_ns)
		wt_loop_timer_set(qemu->loop, &qemu->writing, sim_now_ns, guest_writes, qemu);
}

/* ---- run states ---- */

void sim_qemu_set(struct sim_qemu *qemu, const char *status)
{
	bool runs = strcmp(status, "running") == 0, ran = strcmp(qemu->status, "running") == 0;

	sim_trace("%s QEMU: %s", qemu->name, status);
	qemu->status = status;
	if (runs && !ran) {
		for (unsigned i = 0; i < SIM_HOSTS; i++)
			sim_check(!qemus[i] || qemus[i] == qemu || !qemus[i]->alive ||
					  strcmp(qemus[i]->status, "running"),
				"two guests run");
		sim_qmp_event(qemu, "RESUME");
		sim_guest_start(qemu);
	} else if (!runs && ran) {
		sim_qmp_event(qemu, "STOP");
	}
}

void sim_qemu_set_migration(struct sim_qemu *qemu, const char *migration)
{
	qemu->migration = migration;
	sim_trace("%s QEMU: migration %s", qemu->name, migration);
	sim_qmp_event(qemu, "MIGRATION");
}

void sim_qemu_hang_up(struct sim_qemu *qemu)
{
	if (qemu->fd < 0)
		return;
	wt_loop_fd_clear(qemu->loop, qemu->fd);
	close(qemu->fd);
	qemu->fd = -1;
}

static void died(void *arg)
{
	struct sim_qemu *qemu = arg;

	if (!qemu->alive)
		return;
	qemu->alive = false;
	sim_trace("%s QEMU has ended", qemu->name);
	wt_loop_timer_clear(qemu->loop, &qemu->step);
	wt_loop_timer_clear(qemu->loop, &qemu->writing);
	wt_loop_timer_clear(qemu->loop, &qemu->dies);
	sim_destination_close(qemu);
	sim_qemu_hang_up(qemu);
	sim_qmp_gone(qemu);
}

static void dies_now(void *arg, uint64_t now_ns)
{
	died(arg);
}

void sim_qemu_die(struct sim_qemu *qemu)
{
	wt_loop_timer_clear(qemu->loop, &qemu->writing);
	wt_loop_timer_set(qemu->loop, &qemu->dies, sim_now_ns + sim_between(1, 5 * SIM_MS), dies_now, qemu);
}

const char *sim_qemu_status(const struct sim_qemu *qemu)
{
	return qemu->status;
}

bool sim_qemu_alive(const struct sim_qemu *qemu)
{
	return qemu->alive;
}

bool sim_qemu_owns(const struct sim_qemu *qemu)
{
	if (!qemu->alive)
		return false;
	if (strcmp(qemu->status, "running") == 0)
		return true;
	if (!qemu->guest.paused)
		return false;
	if (qemu->source)
		return qemu->loaded && qemu->source->committed;
	return strcmp(qemu->status, "finish-migrate") && (!qemu->committed || !sim_qemu_any_loaded());
}

bool sim_qemu_any_loaded(void)
{
	for (unsigned i = 0; i < SIM_HOSTS; i++)
		if (qemus[i] && qemus[i]->loaded && qemus[i]->alive)
			return true;
	return false;
}

bool sim_qemu_any_ran(void)
{
	for (unsigned i = 1; i < SIM_HOSTS; i++)
		if (qemus[i] && qemus[i]->ran)
			return true;
	return false;
}

bool sim_qemu_begun(const struct sim_qemu *qemu)
{
	return qemu->begun;
}

bool sim_qemu_loaded(const struct sim_qemu *qemu)
{
	return qemu->loaded;
}

bool sim_qemu_same_record(const struct sim_qemu *a, const struct sim_qemu *b)
{
	return a->record[0] && strcmp(a->record, b->record) == 0;
}

bool sim_qemu_committed(const struct sim_qemu *qemu)
{
	return qemu->committed;
}

void sim_qemu_pause(struct sim_qemu *qemu)
{
	if (!qemu->alive || strcmp(qemu->status, "running"))
		return;
	qemu->paused_ns = sim_now_ns;
	for (unsigned i = 0; i < SIM_HOSTS; i++)
		if (qemus[i])
			qemus[i]->guest.paused = true;
	sim_qemu_set(qemu, "paused");
}

void sim_qemu_give_up(struct sim_qemu *qemu)
{
	if (qemu->alive)
		sim_source_fail(qemu, "failed");
}

void sim_qemu_told(struct sim_qemu *qemu)
{
	qemu->told = true;
}

bool sim_qemu_was_told(const struct sim_qemu *qemu)
{
	return qemu->told;
}

const struct sim_block *sim_qemu_blocks(const struct sim_qemu *qemu, unsigned *ret_count)
{
	*ret_count = qemu->block_count;
	return qemu->blocks;
}

void sim_qemu_check_running(struct sim_qemu *qemu)
{
	if (!qemu->ran)
		sim_destination_check_memory(qemu);
	for (unsigned i = 0; qemu->ran && i < qemu->block_count; i++)
		for (uint32_t page = 0; page < qemu->blocks[i].pages; page++) {
			size_t at = (size_t)page << WT_PAGE_SHIFT;

			sim_check(
				!memcmp(qemu->blocks[i].bytes + at, sim_copy_of(qemu, i) + at, WT_PAGE_SIZE),
				"page %u of %s was changed below the running guest", page,
				qemu->blocks[i].name);
		}
}

/* ---- QMP ---- */

static json_t *query_migrate(const struct sim_qemu *qemu)
{
	uint64_t total = 0;

	if (strcmp(qemu->migration, "none") == 0)
		return json_object();
	for (unsigned i = 0; i < qemu->block_count; i++)
		total += (uint64_t)qemu->blocks[i].pages << WT_PAGE_SHIFT;
	return json_pack("{s:s,s:{s:I,s:I,s:I,s:I}}", "status", qemu->migration, "ram", "total",
		(json_int_t)total, "remaining", (json_int_t)sim_source_remaining(qemu), "dirty-pages-rate",
		(json_int_t)1000, "page-size", (json_int_t)WT_PAGE_SIZE);
}

static json_t *query_capabilities(const struct sim_qemu *qemu)
{
	json_t *list = json_array(), *state;
	const char *name;

	json_object_foreach(qemu->capabilities, name, state)
		json_array_append_new(list, json_pack("{s:s,s:O}", "capability", name, "state", state));
	return list;
}

static void set_capabilities(struct sim_qemu *qemu, json_t *arguments)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(arguments, "capabilities"), i, one)
		json_object_set(qemu->capabilities, json_string_value(json_object_get(one, "capability")),
			json_object_get(one, "state"));
}

static int cont(struct sim_qemu *qemu, struct wt_error *err)
{
	if (qemu->source)
		return sim_destination_cont(qemu, err);
	sim_check(
		!qemu->committed || !sim_qemu_any_ran(), "the source is told to run after a destination ran");
	sim_check(!qemu->guest.paused || sim_now_ns - qemu->paused_ns < SIM_PAUSE_NS ||
			  qemu->stopped_ns - qemu->paused_ns < SIM_PAUSE_NS,
		"a guest that its operator had paused is told to run where it was");
	sim_qemu_set(qemu, "running");
	return 0;
}

static int object_del(struct sim_qemu *qemu, struct wt_error *err)
{
	if (!qemu->record[0])
		return wt_error_set(err, EREMOTEIO, "there is no such object");
	qemu->record[0] = '\0';
	return 0;
}

static int object_add(struct sim_qemu *qemu, json_t *arguments, struct wt_error *err)
{
	if (qemu->record[0])
		return wt_error_set(err, EREMOTEIO, "there is such an object");
	snprintf(qemu->record, sizeof qemu->record, "%s",
		json_string_value(json_object_get(arguments, "data")));
	return 0;
}

static int act(struct sim_qemu *qemu, const char *command, json_t *arguments, struct wt_error *err)
{
	const char *uri = json_string_value(json_object_get(arguments, "uri"));

	if (strcmp(command, "migrate-set-capabilities") == 0)
		set_capabilities(qemu, arguments);
	else if (strcmp(command, "migrate-set-parameters") == 0)
		json_object_update(qemu->parameters, arguments);
	else if (strcmp(command, "migrate") == 0)
		return sim_source_migrate(qemu, uri, err);
	else if (strcmp(command, "migrate_cancel") == 0)
		sim_source_fail(qemu, "cancelled");
	else if (strcmp(command, "migrate-incoming") == 0)
		return sim_destination_incoming(qemu, uri, err);
	else if (strcmp(command, "cont") == 0)
		return cont(qemu, err);
	else if (strcmp(command, "object-del") == 0)
		return object_del(qemu, err);
	else if (strcmp(command, "object-add") == 0)
		return object_add(qemu, arguments, err);
	else if (strcmp(command, "quit") == 0)
		sim_qemu_die(qemu);
	else if (strcmp(command, "stop") && strcmp(command, "announce-self"))
		sim_fail("the simulated QEMU does not know the command %s", command);
	return 0;
}

json_t *sim_qemu_command(struct sim_qemu *qemu, const char *command, json_t *arguments, struct wt_error *err)
{
	if (strcmp(command, "query-migrate") == 0)
		return query_migrate(qemu);
	if (strcmp(command, "query-status") == 0)
		return json_pack("{s:s}", "status", qemu->status);
	if (strcmp(command, "query-migrate-capabilities") == 0)
		return query_capabilities(qemu);
	if (strcmp(command, "query-migrate-parameters") == 0)
		return json_incref(qemu->parameters);
	return act(qemu, command, arguments, err) ? NULL : json_object();
}

/* ---- life ---- */

static struct sim_qemu *qemu_new(unsigned i)
{
	struct sim_qemu *qemu = calloc(1, sizeof *qemu);

	if (!qemu)
		abort();
	pool_open(i);
	qemu->name = names[i];
	qemu->host = i;
	qemu->party = sim_party_new(party_names[i], i, NULL, NULL);
	sim_party_on_death(qemu->party, died, qemu);
	qemu->loop = sim_loop_new(qemu->party);
	qemu->alive = true;
	qemu->fd = qemu->listen_fd = -1;
	qemu->migration = "none";
	qemu->copy = pools[i].copy;
	qemu->capabilities = json_pack("{s:b,s:b,s:b,s:b,s:b}", "return-path", 0, "events", 0,
		"pause-before-switchover", 0, "multifd", 0, "auto-converge", 0);
	qemu->parameters = json_pack(
		"{s:i,s:i,s:i}", "max-bandwidth", 134217728, "downtime-limit", 300, "multifd-channels", 2);
	qemus[i] = qemu;
	return qemu;
}

static void block_place(struct sim_qemu *qemu, unsigned i, const struct sim_block *like)
{
	struct sim_block *block = &qemu->blocks[i];

	*block = *like;
	block->bytes = pools[qemu->host].bytes + i * BLOCK_BYTES;
	block->fd = pools[qemu->host].fd;
	block->fd_offset = i * BLOCK_BYTES;
	memset(block->dirty, 1, sizeof block->dirty);
}

struct sim_qemu *sim_qemu_source(const struct sim_guest *guest, unsigned blocks, const struct sim_block *list)
{
	struct sim_qemu *qemu = qemu_new(0);

	qemu->guest = *guest;
	qemu->began_ns = sim_now_ns;
	qemu->block_count = blocks;
	for (unsigned i = 0; i < blocks; i++) {
		block_place(qemu, i, &list[i]);
		fill_block(&qemu->blocks[i]);
	}
	qemu->stream_rate = sim_between(20, 500) << 20;
	qemu->walks_min = (unsigned)sim_below(6);
	qemu->status = guest->paused ? "paused" : "running";
	if (!guest->paused)
		sim_guest_start(qemu);
	return qemu;
}

/* Its memory may hold anything at first. */
struct sim_qemu *sim_qemu_destination(struct sim_qemu *source, unsigned host)
{
	struct sim_qemu *qemu = qemu_new(host);
	bool holes = sim_one_in(4);

	qemu->guest = source->guest;
	qemu->source = source;
	qemu->block_count = source->block_count;
	for (unsigned i = 0; i < source->block_count; i++) {
		struct sim_block *block = &qemu->blocks[i];

		block_place(qemu, i, &source->blocks[i]);
		block->shared |= block->staged;
		block->staged = false;
		memset(block->bytes, 0xa5, (size_t)block->pages << WT_PAGE_SHIFT);
		if (holes && block->shared)
			punch(block, 0, block->pages);
	}
	qemu->slow_to_read = sim_one_in(4);
	qemu->refusals = sim_one_in(4) ? (unsigned)sim_below(4) : 0;
	qemu->status = "inmigrate";
	return qemu;
}

void sim_qemu_close(struct sim_qemu *qemu)
{
	died(qemu);
	qemus[qemu->host] = NULL;
	sw_free(&qemu->out);
	sw_free(&qemu->tail);
	json_decref(qemu->capabilities);
	json_decref(qemu->parameters);
	free(qemu);
}

struct sim_party *sim_qemu_party(struct sim_qemu *qemu)
{
	return qemu->party;
}

struct wt_loop *sim_qemu_loop(struct sim_qemu *qemu)
{
	return qemu->loop;
}

struct sim_qemu *sim_qemu_find(const char *name)
{
	unsigned i = 0;

	while (strcmp(names[i], name))
		i++;
	return qemus[i];
}
