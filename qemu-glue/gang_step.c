/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_step.c - see gang_step.h.
 */
#include "gang_step.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS 20000000ull
#define AGAIN_NS 1000000000ull
#define ASK_NS 30000000000ull
#define SILENCE_NS 60000000000ull
#define NAP_MS 100

/* ---- the rule ---- */

enum wt_gang_step_phase wt_gang_step_next(const struct wt_gang_step *step)
{
	unsigned over = 0, held = 0;

	for (unsigned i = 0; i < step->count; i++) {
		over += step->vms[i].over;
		held += step->vms[i].relay.held && !step->vms[i].over;
	}
	if (step->phase != WT_GANG_STEP_GATHERING)
		return over == step->count ? WT_GANG_STEP_OVER : step->phase;
	if (over || step->cancelled)
		return WT_GANG_STEP_UNDOING;
	return held == step->count ? WT_GANG_STEP_GOING : WT_GANG_STEP_GATHERING;
}

/* ---- what people are told ---- */

static const char *state_of(const struct wt_gang_step *step, const struct wt_gang_step_vm *vm)
{
	if (vm->over)
		return vm->good ? "done" : "failed";
	if (step->phase == WT_GANG_STEP_UNDOING)
		return "cancelling";
	if (vm->told)
		return "going-on";
	if (vm->relay.held)
		return "held";
	return wt_gang_process_begun(&vm->command) ? "working" : "starting";
}

static void tell(struct wt_gang_step *step, struct wt_gang_step_vm *vm)
{
	const char *state = state_of(step, vm);
	char text[WT_ERROR_TEXT_MAX + 128];
	bool why = vm->over && vm->why[0];

	if (vm->state && strcmp(vm->state, state) == 0)
		return;
	vm->state = state;
	snprintf(text, sizeof text, "%s: %s%s%s", vm->plan->name, state, why ? ": " : "", why ? vm->why : "");
	wt_report_event(step->report, "vm",
		json_pack("{s:s,s:s,s:s}", "vm", vm->plan->name, "state", state, "text", why ? vm->why : ""),
		text);
}

/* ---- processes ---- */

static void note(struct wt_gang_step_vm *vm, const char *what)
{
	size_t length = strnlen(what, sizeof vm->why - 1);

	if (vm->why[0])
		return;
	memcpy(vm->why, what, length);
	vm->why[length] = '\0';
}

static void note_said(struct wt_gang_step_vm *vm, const struct wt_gang_process *process)
{
	char said[WT_ERROR_TEXT_MAX];

	note(vm, wt_gang_process_said(process, said, sizeof said));
}

static bool begin(struct wt_gang_step_vm *vm, struct wt_gang_process *process, struct wt_gang_line *line)
{
	struct wt_error err = { 0 };

	if (!wt_gang_process_start(process, line->words, &err))
		return true;
	note(vm, wt_error_text(&err));
	return false;
}

static void begin_command(struct wt_gang_step *step, unsigned number)
{
	struct wt_gang_step_vm *vm = &step->vms[number];
	struct wt_gang_line line;

	step->line(step->arg, number, &line);
	vm->over = !begin(vm, &vm->command, &line);
}

static void begin_vm(struct wt_gang_step *step, unsigned number)
{
	struct wt_gang_step_vm *vm = &step->vms[number];
	struct wt_gang_line line;

	vm->heard_ns = wt_loop_now_ns(step->loop);
	if (!step->start || !vm->plan->start.count) {
		begin_command(step, number);
		return;
	}
	wt_gang_line_begin(&line, step->plan, &vm->plan->to, NULL);
	wt_gang_line_add_all(&line, &vm->plan->start);
	vm->over = !begin(vm, &vm->start, &line);
}

static bool silent(const struct wt_gang_step *step, const struct wt_gang_step_vm *vm)
{
	return wt_loop_now_ns(step->loop) >= vm->heard_ns + step->plan->hold_s * 1000000000ull + SILENCE_NS;
}

/* Its QEMU is being started. */
static void read_start(struct wt_gang_step *step, unsigned number)
{
	struct wt_gang_step_vm *vm = &step->vms[number];

	while (wt_gang_process_line(&vm->start))
		;
	if (!vm->start.over && !silent(step, vm))
		return;
	if (!vm->start.over)
		note(vm, "the command that starts its QEMU does not end");
	else if (vm->start.code)
		note_said(vm, &vm->start);
	if (vm->start.over && vm->start.code)
		note(vm, "the command that starts its QEMU has failed");
	if (vm->start.over && !vm->start.code && step->phase == WT_GANG_STEP_GATHERING)
		begin_command(step, number);
	else
		vm->over = true;
}

static void read_command(struct wt_gang_step *step, struct wt_gang_step_vm *vm)
{
	const char *line;

	while ((line = wt_gang_process_line(&vm->command))) {
		wt_gang_relay_line(&vm->relay, line);
		vm->heard_ns = wt_loop_now_ns(step->loop);
	}
	if (!vm->command.over && silent(step, vm)) {
		note(vm, "nothing is heard of its host any more");
		wt_gang_process_kill(&vm->command);
		vm->over = true;
	}
	if (!vm->command.over)
		return;
	note(vm, vm->relay.error);
	note(vm, vm->relay.trouble);
	if (!vm->relay.summary)
		note_said(vm, &vm->command);
	vm->over = true;
	vm->good = vm->relay.summary;
	if (!vm->good)
		note(vm, "its command has ended without a word");
}

/* ---- telling ---- */

static void read_ask(struct wt_gang_step *step, struct wt_gang_step_vm *vm)
{
	uint64_t now_ns = wt_loop_now_ns(step->loop);

	if (!vm->asking)
		return;
	while (wt_gang_process_line(&vm->ask))
		;
	if (!vm->ask.over && now_ns < vm->ask_until_ns)
		return;
	if (!vm->ask.over)
		wt_gang_process_kill(&vm->ask);
	else
		vm->told = vm->ask.code == 0;
	vm->asking = !vm->ask.over;
}

/* A word is repeated until it was taken, or the command is over: it may not have arrived. */
static void ask(struct wt_gang_step *step, struct wt_gang_step_vm *vm)
{
	uint64_t now_ns = wt_loop_now_ns(step->loop);
	bool back = step->phase == WT_GANG_STEP_UNDOING;
	struct wt_gang_line line;

	if (step->phase == WT_GANG_STEP_GATHERING || vm->told || vm->asking || vm->over ||
		now_ns < vm->ask_again_ns || !wt_gang_process_begun(&vm->command))
		return;
	wt_gang_line_begin(&line, step->plan, vm->end, back ? "cancel" : "proceed");
	wt_gang_line_make(&line, "%s-%s", vm->plan->name, step->job);
	vm->ask_again_ns = now_ns + AGAIN_NS;
	vm->ask_until_ns = now_ns + ASK_NS;
	vm->asking = begin(vm, &vm->ask, &line);
}

/* ---- turns ---- */

static void read_vm(struct wt_gang_step *step, unsigned number)
{
	struct wt_gang_step_vm *vm = &step->vms[number];

	read_ask(step, vm);
	if (vm->over)
		return;
	if (wt_gang_process_begun(&vm->command))
		read_command(step, vm);
	else
		read_start(step, number);
}

/* Who has failed, and not who was called back for it; NULL: nobody has. */
static const struct wt_gang_step_vm *first_over(const struct wt_gang_step *step)
{
	for (unsigned i = 0; i < step->count; i++)
		if (step->vms[i].over)
			return &step->vms[i];
	return NULL;
}

static void tick(void *arg, uint64_t now_ns)
{
	struct wt_gang_step *step = arg;
	enum wt_gang_step_phase phase;

	for (unsigned i = 0; i < step->count; i++)
		read_vm(step, i);
	phase = wt_gang_step_next(step);
	if (phase != step->phase) {
		if (phase == WT_GANG_STEP_UNDOING)
			step->culprit = first_over(step);
		step->turn(step->arg, phase);
	}
	step->phase = phase;
	for (unsigned i = 0; i < step->count; i++) {
		ask(step, &step->vms[i]);
		tell(step, &step->vms[i]);
	}
	if (phase == WT_GANG_STEP_OVER)
		wt_loop_stop(step->loop, 0);
	else
		wt_loop_timer_set(step->loop, &step->tick, now_ns + TICK_NS, tick, step);
}

void wt_gang_step_begin(struct wt_gang_step *step)
{
	step->phase = WT_GANG_STEP_GATHERING;
	for (unsigned i = 0; i < step->count; i++)
		begin_vm(step, i);
	wt_loop_timer_set(step->loop, &step->tick, wt_loop_now_ns(step->loop), tick, step);
}

bool wt_gang_step_cancel(struct wt_gang_step *step)
{
	step->cancelled = true;
	return step->phase == WT_GANG_STEP_GATHERING;
}

unsigned wt_gang_step_good(const struct wt_gang_step *step)
{
	unsigned good = 0;

	for (unsigned i = 0; i < step->count; i++)
		good += step->vms[i].good;
	return good;
}

const char *wt_gang_step_why(const struct wt_gang_step *step, char *ret_text, size_t size)
{
	const struct wt_gang_step_vm *vm = step->culprit;

	for (unsigned i = 0; i < step->count && !vm && !step->cancelled; i++)
		if (!step->vms[i].good)
			vm = &step->vms[i];
	if (vm)
		snprintf(ret_text, size, "%s: %s", vm->plan->name, vm->why);
	else
		snprintf(ret_text, size, "%s", step->cancelled ? "cancelled" : "");
	return ret_text;
}

/* ---- beginning and end ---- */

static int name_process(struct wt_gang_step *step, const struct wt_gang_vm *vm, const char *what,
	struct wt_gang_process *process)
{
	char *path;
	int r;

	if (asprintf(&path, "%s.%s.%s", step->files, vm->name, what) < 0)
		return -ENOMEM;
	r = wt_gang_process_init(process, path);
	free(path);
	return r;
}

static int init_vm(struct wt_gang_step *step, unsigned number)
{
	struct wt_gang_step_vm *vm = &step->vms[number];
	int r;

	vm->plan = &step->plan->vms[number];
	vm->end = step->start ? &vm->plan->to : &vm->plan->from;
	wt_gang_relay_init(&vm->relay);
	step->count++;
	r = name_process(step, vm->plan, "start", &vm->start);
	r = r ? r : name_process(step, vm->plan, step->job, &vm->command);
	return r ? r : name_process(step, vm->plan, "ask", &vm->ask);
}

/* A command of before is called back until it has ended. */
static int forget(struct wt_gang_step *step, struct wt_gang_step_vm *vm, struct wt_error *err)
{
	uint64_t until_ns = wt_report_now_ns() + step->plan->hold_s * 1000000000ull + SILENCE_NS;
	struct wt_gang_line line;
	int r;

	wt_gang_process_drop(&vm->start, err);
	while ((r = wt_gang_process_forget(&vm->command, err)) == -EBUSY && wt_report_now_ns() < until_ns) {
		wt_error_clear(err);
		wt_gang_process_drop(&vm->ask, err);
		wt_gang_line_begin(&line, step->plan, vm->end, "cancel");
		wt_gang_line_make(&line, "%s-%s", vm->plan->name, step->job);
		if (begin(vm, &vm->ask, &line))
			while (!vm->ask.over && wt_report_now_ns() < until_ns) {
				wt_gang_process_line(&vm->ask);
				poll(NULL, 0, NAP_MS);
			}
		poll(NULL, 0, NAP_MS);
	}
	vm->why[0] = '\0';
	return r;
}

int wt_gang_step_open(struct wt_gang_step *step, struct wt_error *err)
{
	int r = 0;

	for (unsigned i = 0; i < step->plan->count && !r; i++)
		if (init_vm(step, i))
			r = wt_error_set(err, ENOMEM, "no memory for a gang");
	for (unsigned i = 0; i < step->count && !r; i++)
		r = forget(step, &step->vms[i], err);
	return r;
}

void wt_gang_step_close(struct wt_gang_step *step)
{
	struct wt_error ignored = { 0 };

	wt_loop_timer_clear(step->loop, &step->tick);
	for (unsigned i = 0; i < step->count; i++) {
		struct wt_gang_step_vm *vm = &step->vms[i];

		wt_gang_process_drop(&vm->start, &ignored);
		wt_gang_process_drop(&vm->ask, &ignored);
		if (vm->over)
			wt_gang_process_forget(&vm->command, &ignored);
		wt_gang_process_close(&vm->start);
		wt_gang_process_close(&vm->command);
		wt_gang_process_close(&vm->ask);
	}
}
