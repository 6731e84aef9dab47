/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_glue.c - small leaves of both relays: how RAM is found, what is asked beforehand, the job's commands,
 * reports. Replaces qemu-glue's guest_ram.c, preflight.c, common_check.c, job.c, report.c and sabotage.c, and
 * transport's populate.c, and wraps the few calls of the C library that would look outside (CMake: --wrap).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <watari/server.h>

#include "common_memory.h"
#include "guest_ram.h"
#include "job.h"
#include "populate.h"
#include "preflight.h"
#include "report.h"
#include "sim_qemu.h"
#include "sim_world.h"

/* ---- guest RAM ---- */

int wt_guest_ram_open(struct wt_qmp *qmp, struct wt_guest_ram **ret_ram, struct wt_error *err)
{
	const struct sim_block *blocks;
	struct wt_guest_ram *ram = calloc(1, sizeof *ram);
	unsigned count;

	blocks = sim_qemu_blocks(sim_world_qemu(sim_party_host(sim_current)), &count);
	ram->blocks = calloc(count, sizeof *ram->blocks);
	for (unsigned i = 0; i < count; i++) {
		struct wt_ram_block *block = &ram->blocks[ram->count++];

		strcpy(block->name, blocks[i].name);
		block->length = (uint64_t)blocks[i].pages << WT_PAGE_SHIFT;
		block->shared = blocks[i].shared;
		block->base = blocks[i].shared ? blocks[i].bytes : NULL;
		block->fd = blocks[i].shared ? blocks[i].fd : -1;
		block->fd_offset = blocks[i].shared ? blocks[i].fd_offset : 0;
		block->backing_page_size = WT_PAGE_SIZE;
		block->pid = getpid();
		block->host = (uintptr_t)blocks[i].bytes;
	}
	*ret_ram = ram;
	return 0;
}

void wt_guest_ram_close(struct wt_guest_ram *ram)
{
	if (!ram)
		return;
	free(ram->blocks);
	free(ram);
}

const struct wt_ram_block *wt_guest_ram_find(const struct wt_guest_ram *ram, const char *name)
{
	for (unsigned i = 0; i < ram->count; i++)
		if (!strcmp(ram->blocks[i].name, name))
			return &ram->blocks[i];
	return NULL;
}

/* ---- what is asked beforehand ---- */

int wt_preflight_source(struct wt_qmp *qmp, struct wt_guest_ram *ram, bool shared_storage,
	const char *const *leaving, struct wt_preflight *ret_facts, struct wt_error *err)
{
	unsigned count;
	const struct sim_block *blocks = sim_qemu_blocks(sim_world_qemu(0), &count);

	for (unsigned i = 0; i < count; i++)
		ram->blocks[i].staged = blocks[i].staged;
	*ret_facts = (struct wt_preflight){ .guest_running = strcmp(sim_qemu_status(sim_world_qemu(0)),
								     "running") == 0,
		.may_discard = sim_world.may_discard };
	return 0;
}

int wt_preflight_devices(struct wt_qmp *qmp, struct wt_preflight *facts, struct wt_error *err)
{
	return 0;
}

int wt_preflight_destination(struct wt_qmp *qmp, const struct wt_guest_ram *ram, struct wt_error *err)
{
	return 0;
}

/* Nobody here has memory in common. */
int wt_common_memory_check(struct wt_qmp *qmp, struct wt_guest_ram *ram, const char *socket_path,
	bool is_source, struct wt_error *err)
{
	return 0;
}

/* ---- the job ---- */

/* What an operator asks for. */
struct request {
	struct wt_job *job;
	json_t *object; /* NULL: none */
	struct wt_timer heard;
};

struct wt_job {
	struct wt_loop *loop;
	const struct wt_job_command *commands;
	void *arg;
	struct request requests[SIM_FAULTS_MAX];
};

static struct wt_job jobs[SIM_HOSTS];

int wt_job_open(struct wt_loop *loop, const char *name, const struct wt_job_command *commands, void *arg,
	struct wt_job **ret_job, struct wt_error *err)
{
	struct wt_job *job = &jobs[sim_party_host(sim_current)];

	*job = (struct wt_job){ .loop = loop, .commands = commands, .arg = arg };
	*ret_job = job;
	return 0;
}

void wt_job_close(struct wt_job *job)
{
	if (!job)
		return;
	for (unsigned i = 0; i < SIM_FAULTS_MAX; i++) {
		wt_loop_timer_clear(job->loop, &job->requests[i].heard);
		json_decref(job->requests[i].object);
	}
	job->loop = NULL;
}

/* Once the guest is stopped only who has no part in the migration can have it. */
static void choose_fresh(json_t *object)
{
	char text[32];

	for (unsigned host = 1; host <= sim_world.destinations; host++) {
		if (sim_world.asked & 1u << host || sim_qemu_begun(sim_world.qemus[host]) ||
			!sim_qemu_alive(sim_world.qemus[host]) || sim_party_dead(sim_world.relays[host]) ||
			sim_party_ended(sim_world.relays[host]))
			continue;
		snprintf(text, sizeof text, "host%u:%u/vm", host, SIM_PORT);
		json_object_set_new(object, "to", json_string(text));
		return;
	}
	sim_world.hopeless = true;
}

static void note_wish(json_t *object)
{
	unsigned host;

	if (sim_world.stop_known)
		choose_fresh(object);
	if (sscanf(json_string_value(json_object_get(object, "to")), "host%u", &host) == 1)
		sim_world.asked |= 1u << host;
}

static void request_heard(void *arg, uint64_t now_ns)
{
	struct request *request = arg;
	const char *name = json_string_value(json_object_get(request->object, "command"));
	const struct wt_job_command *command = request->job->commands;
	struct wt_error err = { 0 };
	json_t *result = NULL, *object = request->object;

	while (strcmp(command->name, name))
		command++;
	if (strcmp(name, "retarget") == 0)
		note_wish(object);
	if (command->run(request->job->arg, object, &result, &err))
		sim_trace("%s was refused: %s", name, wt_error_text(&err));
	request->object = NULL;
	json_decref(object);
	json_decref(result);
}

/* The relay hears it in its own loop. */
static void ask(unsigned host, json_t *object)
{
	struct wt_job *job = &jobs[host];
	struct request *request = job->requests;

	if (!job->loop) {
		json_decref(object);
		return;
	}
	while (request->object)
		request++;
	*request = (struct request){ .job = job, .object = object };
	wt_loop_timer_set(job->loop, &request->heard, sim_now_ns, request_heard, request);
}

void sim_job_cancel(unsigned host)
{
	ask(host, json_pack("{s:s}", "command", "cancel"));
}

void sim_job_retarget(unsigned to, bool spare_source)
{
	char text[32];

	snprintf(text, sizeof text, "host%u:%u/vm", to, SIM_PORT);
	ask(0, json_pack("{s:s,s:s,s:s*}", "command", "retarget", "to", text, "prefer",
		       spare_source ? "old-destination" : NULL));
}

/* ---- reports ---- */

uint64_t wt_report_now_ns(void)
{
	return sim_now_ns;
}

void wt_report_open(struct wt_report *report, bool json)
{
	*report = (struct wt_report){ .json = json, .start_ns = sim_now_ns };
}

void wt_report_open_on(struct wt_report *report, bool json, FILE *out, FILE *err)
{
	wt_report_open(report, json);
}

unsigned wt_report_columns(const struct wt_report *report)
{
	return 0;
}

const char *const sim_counted[SIM_COUNTED] = { "retarget", "retarget_done", "retarget_failed", "going_back",
	"retarget_restarted" };

/* The source's relay; what a new migration means to who watches. */
static void source_state(const char *event, const char *state, json_t *fields)
{
	unsigned host;

	if (state && strcmp(state, "stopped") == 0)
		sim_world.stop_known = true;
	if (state && strcmp(state, "restarting") == 0) {
		sim_world.restarts++;
		sim_world.kept = sim_monitor_current();
		sim_world.begins_anew = true;
	}
	if (strcmp(event, "retarget_restarted") == 0)
		sim_world.begins_anew = false;
	if (state && strcmp(state, "again") == 0)
		sim_world.stop_known = false;
	if (strcmp(event, "retarget_restarted") == 0 &&
		sscanf(json_string_value(json_object_get(fields, "to")), "host%u", &host) == 1)
		sim_monitor_now(host);
}

void wt_report_event(struct wt_report *report, const char *event, json_t *fields, const char *text)
{
	const char *state = json_string_value(json_object_get(fields, "state"));

	sim_trace("%s: %s %s %s", sim_party_name(sim_current), event, state ? state : "", text ? text : "");
	if (sim_party_host(sim_current) == 0)
		source_state(event, state, fields);
	if (state && strcmp(event, "state") == 0)
		sim_fault_state(sim_current, state, true);
	if (strcmp(event, "retarget_failed") == 0)
		sim_check(sim_fault_any() || strstr(text, "the guest was stopped first"),
			"nothing went wrong, and %s", text);
	if (text && strstr(text, "gave other bytes")) {
		sim_check(sim_world.replicas_lie, "a replica is blamed that is right: %s", text);
		sim_world.blamed++;
	}
	for (unsigned i = 0; i < SIM_COUNTED; i++)
		sim_world.counts[i] += strcmp(event, sim_counted[i]) == 0;
	json_decref(fields);
}

void wt_report_progress(struct wt_report *report, json_t *fields, const char *text)
{
	json_decref(fields);
}

void wt_report_listening(struct wt_report *report, const char *name, uint16_t port)
{
	wt_report_event(report, "listening", NULL, NULL);
}

void wt_report_error(struct wt_report *report, const char *text)
{
	sim_trace("%s: error: %s", sim_party_name(sim_current), text);
}

bool wt_sabotage_page(uint64_t *page, uint64_t seen);
void wt_sabotage_before(const char *state);
void wt_sabotage_after(const char *state);

bool wt_sabotage_page(uint64_t *page, uint64_t seen)
{
	return false;
}

void wt_sabotage_before(const char *state)
{
}

void wt_sabotage_after(const char *state)
{
	sim_fault_state(sim_current, state, false);
}

/* ---- the C library ---- */

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags);
int __wrap_signalfd(int fd, const sigset_t *set, int flags);
int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old);
ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
ssize_t __real_send(int fd, const void *bytes, size_t length, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags);
int __real_close(int fd);
int __wrap_close(int fd);

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags)
{
	for (size_t i = 0; i < length; i++)
		((uint8_t *)bytes)[i] = (uint8_t)sim_random();
	return (ssize_t)length;
}

/* A relay watches it; nothing ever comes. */
int __wrap_signalfd(int fd, const sigset_t *set, int flags)
{
	return sim_fd_new();
}

int __wrap_close(int fd)
{
	if (!sim_fd_is(fd))
		return __real_close(fd);
	sim_fd_free(fd);
	return 0;
}

int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return 0;
}

static bool nobody_hears(void)
{
	if (!sim_current || !sim_party_dead(sim_current))
		return false;
	errno = EPIPE;
	return true;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
	return nobody_hears() ? -1 : __real_write(fd, bytes, length);
}

ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags)
{
	return nobody_hears() ? -1 : __real_send(fd, bytes, length, flags);
}

/* ---- memory that is made ready in the background: there is no thread here ---- */

int wt_populate_open(struct wt_populate **ret_populate)
{
	return -ENOSYS;
}

void wt_populate_close(struct wt_populate *populate)
{
}

void wt_populate_add(struct wt_populate *populate, uint8_t *base, size_t length)
{
}
