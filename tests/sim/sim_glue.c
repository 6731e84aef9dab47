/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_glue.c - small leaves of both relays: how RAM is found, what is asked beforehand, the job's commands,
 * reports. Replaces qemu-glue's guest_ram.c, preflight.c, job.c, report.c and sabotage.c, and wraps the few
 * calls of the C library that would look outside (CMake: --wrap).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "guest_ram.h"
#include "job.h"
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
	struct wt_preflight *ret_facts, struct wt_error *err)
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

int wt_preflight_devices(struct wt_qmp *qmp, bool *ret_may_discard, struct wt_error *err)
{
	*ret_may_discard = false;
	return 0;
}

int wt_preflight_destination(struct wt_qmp *qmp, const struct wt_guest_ram *ram, struct wt_error *err)
{
	return 0;
}

/* ---- the job ---- */

struct wt_job {
	struct wt_loop *loop;
	const struct wt_job_command *commands;
	void *arg;
	struct wt_timer told;
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
	wt_loop_timer_clear(job->loop, &job->told);
	job->loop = NULL;
}

static void cancel_told(void *arg, uint64_t now_ns)
{
	struct wt_job *job = arg;
	const struct wt_job_command *command = job->commands;
	struct wt_error err = { 0 };
	json_t *result = NULL;

	while (strcmp(command->name, "cancel"))
		command++;
	if (command->run(job->arg, NULL, &result, &err))
		sim_trace("cancel was refused: %s", wt_error_text(&err));
	json_decref(result);
}

/* The relay hears it in its own loop. */
void sim_job_cancel(unsigned host)
{
	if (jobs[host].loop)
		wt_loop_timer_set(jobs[host].loop, &jobs[host].told, sim_now_ns, cancel_told, &jobs[host]);
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

unsigned wt_report_columns(const struct wt_report *report)
{
	return 0;
}

void wt_report_event(struct wt_report *report, const char *event, json_t *fields, const char *text)
{
	const char *state = json_string_value(json_object_get(fields, "state"));

	sim_trace("%s: %s %s %s", sim_party_name(sim_current), event, state ? state : "", text ? text : "");
	if (state && strcmp(event, "state") == 0)
		sim_fault_state(sim_current, state, true);
	json_decref(fields);
}

void wt_report_progress(struct wt_report *report, json_t *fields, const char *text)
{
	json_decref(fields);
}

void wt_report_error(struct wt_report *report, const char *text)
{
	if (strstr(text, "this is not the guest's RAM"))
		sim_world.sampled_out = true;
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
