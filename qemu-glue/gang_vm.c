/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_vm.c - one guest of a gang: the commands that its hosts run, and what they print.
 *
 *   1. What is seen is derived anew from all that was printed, every time; so a coordinator that comes later
 * sees the same.
 *   2. A word to a relay is repeated until it was taken, or means nothing any more: it may not have arrived.
 *   3. `watari recover` is run at the source only when its relay has ended without a word, and nobody answers
 * in its name.
 *   4. No host is waited for without end: a question has a time limit, and a relay of which nothing is heard
 * for hold_s and SILENCE_NS is taken for one behind a lost connection.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gang_internal.h"
#include "gang_line.h"

#define AGAIN_NS 1000000000ull
#define STATUS_NS 30000000000ull  /* how long a source that does not answer is asked */
#define ASK_NS 30000000000ull     /* longer than a job takes to answer */
#define RECOVER_NS 60000000000ull /* and hold_s: devices are plugged in meanwhile */
#define SILENCE_NS 30000000000ull

/* ---- command lines ---- */

/* `watari send` or `watari receive` */
static void relay_line(
	struct wt_gang_line *line, const struct wt_gang *gang, const struct wt_gang_vm *vm, bool source)
{
	const struct wt_gang_end *end = source ? &vm->from : &vm->to;

	wt_gang_line_begin(line, gang->plan, end, source ? "send" : "receive");
	wt_gang_line_add(line, "--json");
	wt_gang_line_make(line, "--hold=%us", gang->plan->hold_s);
	if (!source)
		wt_gang_line_make(line, "--wait=%us", gang->plan->hold_s);
	wt_gang_line_add_qemu(line, end);
	wt_gang_line_add_option(line, "--psk", end->psk);
	wt_gang_line_add_option(line, "--tls-creds", end->tls_creds);
	if (end->insecure)
		wt_gang_line_add(line, "--insecure");
	wt_gang_line_add_all(line, &end->options);
	wt_gang_line_make(line, "%s/%s", vm->address, vm->name);
}

static void ask_line(struct wt_gang_line *line, const struct wt_gang *gang, const struct wt_gang_vm *vm,
	enum wt_gang_ask ask)
{
	static const char *const commands[] = { "", "proceed", "proceed", "cancel", "cancel", "status",
		"recover" };
	bool receive = ask == WT_GANG_ASK_BACK || ask == WT_GANG_ASK_CANCEL_RECEIVE;

	wt_gang_line_begin(line, gang->plan, receive ? &vm->to : &vm->from, commands[ask]);
	if (ask == WT_GANG_ASK_RECOVER)
		wt_gang_line_add_qemu(line, &vm->from);
	else
		wt_gang_line_make(line, "%s%s", vm->name, receive ? "-incoming" : "");
	if (ask == WT_GANG_ASK_STATUS)
		wt_gang_line_add(line, "--json");
}

/* ---- processes ---- */

static void note(struct wt_gang_run_vm *vm, const char *what)
{
	if (!vm->why[0] && what[0])
		snprintf(vm->why, sizeof vm->why, "%s", what);
}

static bool lives(const struct wt_gang_process *process)
{
	return wt_gang_process_begun(process) && !process->over;
}

/* The source's relay, perhaps behind a connection that was lost, or that hangs. */
static bool source_lives(const struct wt_gang_run_vm *vm)
{
	bool final = vm->source.failed || strcmp(vm->source.state, "done") == 0;

	return wt_gang_process_begun(&vm->send) && !vm->gone && (!final || !vm->send.over);
}

static uint64_t hold_ns(const struct wt_gang *gang)
{
	return gang->plan->hold_s * 1000000000ull;
}

/* Relays say how far they are every second; what is quiet for longer than it may hold is not heard any more.
 */
static bool silent(const struct wt_gang *gang, uint64_t heard_ns)
{
	return wt_loop_now_ns(gang->loop) >= heard_ns + hold_ns(gang) + SILENCE_NS;
}

static void begin(struct wt_gang_run_vm *vm, struct wt_gang_process *process, const struct wt_gang_line *line)
{
	struct wt_error err = { 0 };

	if (!wt_gang_process_start(process, line->words, &err))
		return;
	note(vm, wt_error_text(&err));
	process->over = process->ended = true;
	process->code = 127;
}

void wt_gang_vm_do(struct wt_gang *gang, unsigned number, enum wt_gang_action_kind kind)
{
	struct wt_gang_run_vm *vm = &gang->vms[number];
	struct wt_gang_line line;

	if (kind == WT_GANG_DO_START) {
		wt_gang_line_begin(&line, gang->plan, &vm->plan->to, NULL);
		wt_gang_line_add_all(&line, &vm->plan->start);
		begin(vm, &vm->start, &line);
		vm->start_until_ns = wt_loop_now_ns(gang->loop) + hold_ns(gang);
	} else if (kind == WT_GANG_DO_RECEIVE || kind == WT_GANG_DO_SEND) {
		relay_line(&line, gang, vm->plan, kind == WT_GANG_DO_SEND);
		vm->source_heard_ns = vm->destination_heard_ns = wt_loop_now_ns(gang->loop);
		begin(vm, kind == WT_GANG_DO_SEND ? &vm->send : &vm->receive, &line);
	} else {
		vm->ask_again_ns = 0;
		wt_gang_vm_ask(gang, number);
	}
}

/* ---- asking and telling ---- */

/* It has not moved on from where it holds, as far as is known. */
static bool may_hold(const struct wt_gang_relay *source)
{
	return source->held && (!source->state[0] || strcmp(source->state, "connecting") == 0);
}

/* Which word would be of use now, whether it was taken or not. */
static enum wt_gang_ask wish(const struct wt_gang *gang, unsigned number)
{
	const struct wt_gang_run_vm *vm = &gang->vms[number];
	enum wt_gang_state state = gang->order.vms[number].state;
	bool source = source_lives(vm);

	if (wt_gang_process_begun(&vm->send) && !source && vm->recovered < 0 &&
		wt_gang_place(&vm->source, &vm->destination) == WT_GANG_PLACE_UNKNOWN)
		return WT_GANG_ASK_RECOVER;
	if (state == WT_GANG_MOVING && source && may_hold(&vm->source))
		return WT_GANG_ASK_MOVE;
	if (state == WT_GANG_TAKING_BACK && lives(&vm->receive))
		return WT_GANG_ASK_BACK;
	if (wt_gang_committed(&vm->source, &vm->destination) || vm->recovered == 3)
		return WT_GANG_ASK_NOTHING;
	if (source && (state == WT_GANG_CANCELLING || !lives(&vm->receive)))
		return WT_GANG_ASK_CANCEL;
	if (!source && lives(&vm->receive) &&
		(state == WT_GANG_CANCELLING || wt_gang_process_begun(&vm->send)))
		return WT_GANG_ASK_CANCEL_RECEIVE;
	return WT_GANG_ASK_NOTHING;
}

/* What is asked now. A source whose output is lost is asked for its state before each word, and when there is
 * none. */
static enum wt_gang_ask next_ask(const struct wt_gang *gang, unsigned number)
{
	const struct wt_gang_run_vm *vm = &gang->vms[number];
	bool heard = lives(&vm->send) && !silent(gang, vm->source_heard_ns);
	bool unheard = source_lives(vm) && !heard;
	enum wt_gang_ask ask = wish(gang, number);

	if (ask && !vm->told[ask] && (!unheard || vm->status_known))
		return ask;
	return unheard ? WT_GANG_ASK_STATUS : WT_GANG_ASK_NOTHING;
}

void wt_gang_vm_ask(struct wt_gang *gang, unsigned number)
{
	struct wt_gang_run_vm *vm = &gang->vms[number];
	enum wt_gang_ask ask = next_ask(gang, number);
	uint64_t now_ns = wt_loop_now_ns(gang->loop);
	struct wt_gang_line line;

	if (vm->asking || !ask || (now_ns < vm->ask_again_ns && !vm->status_known))
		return;
	ask_line(&line, gang, vm->plan, ask);
	vm->ask_again_ns = now_ns + AGAIN_NS;
	vm->ask_until_ns = now_ns + (ask == WT_GANG_ASK_RECOVER ? hold_ns(gang) + RECOVER_NS : ASK_NS);
	if (ask == WT_GANG_ASK_STATUS && !vm->status_vain_ns)
		vm->status_vain_ns = now_ns;
	begin(vm, &vm->ask, &line);
	vm->asking = ask;
	vm->status_known = false;
}

/* No answer: then watari has exit code 1, and what cannot reach it another one. */
static void take_status(struct wt_gang_run_vm *vm, uint64_t now_ns)
{
	vm->gone = !vm->status_known && (vm->ask.code == 1 || now_ns >= vm->status_vain_ns + STATUS_NS);
	if (vm->status_known)
		vm->status_vain_ns = 0;
}

/* One that hangs has told nothing, as far as anybody knows, and may be repeated. */
static void end_ask(struct wt_gang_run_vm *vm)
{
	note(vm, "one of its hosts did not answer within 30 s");
	wt_gang_process_kill(&vm->ask);
	vm->ask.over = vm->ask.ended = true;
}

static void read_ask(struct wt_gang_run_vm *vm, uint64_t now_ns)
{
	char said[WT_ERROR_TEXT_MAX];
	const char *line;

	if (!vm->asking)
		return;
	while ((line = wt_gang_process_line(&vm->ask)))
		if (vm->asking == WT_GANG_ASK_STATUS)
			vm->status_known |= wt_gang_relay_status(&vm->source, line);
	if (!vm->ask.over && now_ns >= vm->ask_until_ns)
		end_ask(vm);
	if (!vm->ask.over)
		return;
	if (vm->asking == WT_GANG_ASK_STATUS) {
		take_status(vm, now_ns);
	} else if (vm->asking == WT_GANG_ASK_RECOVER) {
		vm->recovered = vm->ask.code < 0 ? 1 : vm->ask.code;
		if (vm->recovered)
			note(vm, wt_gang_process_said(&vm->ask, said, sizeof said));
	} else {
		vm->told[vm->asking] = vm->ask.code == 0;
	}
	vm->asking = WT_GANG_ASK_NOTHING;
}

/* ---- what was seen ---- */

/* Answers whether it has said anything. */
static bool read_relay(struct wt_gang_process *process, struct wt_gang_relay *relay)
{
	bool heard = false;
	const char *line;

	while ((line = wt_gang_process_line(process))) {
		wt_gang_relay_line(relay, line);
		heard = true;
	}
	return heard;
}

/* Nothing of it lives any more: where is the guest? */
static enum wt_gang_event ended(const struct wt_gang_run_vm *vm)
{
	enum wt_gang_place place = wt_gang_place(&vm->source, &vm->destination);

	if (!wt_gang_process_begun(&vm->send))
		return WT_GANG_EV_ENDED_BACK;
	if (place == WT_GANG_PLACE_UNKNOWN && vm->recovered == 0)
		place = WT_GANG_PLACE_SOURCE;
	if (place == WT_GANG_PLACE_SOURCE)
		return WT_GANG_EV_ENDED_BACK;
	return place == WT_GANG_PLACE_DESTINATION ? WT_GANG_EV_ENDED_MOVED : WT_GANG_EV_ENDED_LOST;
}

static bool all_ended(const struct wt_gang *gang, unsigned number)
{
	const struct wt_gang_run_vm *vm = &gang->vms[number];
	enum wt_gang_state state = gang->order.vms[number].state;
	bool begun = wt_gang_process_begun(&vm->start) || wt_gang_process_begun(&vm->receive);

	if (vm->asking || lives(&vm->start) || lives(&vm->receive) || source_lives(vm))
		return false;
	if (wt_gang_process_begun(&vm->send))
		return wt_gang_place(&vm->source, &vm->destination) != WT_GANG_PLACE_UNKNOWN ||
		       vm->recovered >= 0;
	/* Between two programs: started, and not listening yet; or listening, and nobody sent. */
	if (state == WT_GANG_STARTED || state == WT_GANG_LISTENING)
		return false;
	return begun || state == WT_GANG_CANCELLING || state == WT_GANG_LETTING_GO ||
	       state == WT_GANG_AWAITING || state == WT_GANG_STARTING;
}

static void see(struct wt_gang *gang, unsigned number, enum wt_gang_event event)
{
	wt_gang_order_event(&gang->order, number, event);
}

/* The program is not there, or does not take its command line: it has touched nothing. */
static void note_not_run(struct wt_gang_process *process, struct wt_gang_relay *relay)
{
	bool not_run = process->code == 2 || process->code == 126 || process->code == 127;

	if (!process->over || !not_run || relay->failed || relay->state[0])
		return;
	relay->failed = true;
	wt_gang_process_said(process, relay->error, sizeof relay->error);
}

/* A relay that cannot even be started has only standard error to say so. */
static void note_end(
	struct wt_gang_run_vm *vm, const struct wt_gang_process *process, const struct wt_gang_relay *relay)
{
	char said[WT_ERROR_TEXT_MAX];

	if (process->over && process->code && process->fd >= 0 && !(relay && relay->failed))
		note(vm, wt_gang_process_said(process, said, sizeof said));
}

/* One that does not end is not waited for; what it does later is nobody's. */
static void read_start(struct wt_gang *gang, struct wt_gang_run_vm *vm)
{
	while (wt_gang_process_line(&vm->start))
		;
	if (!lives(&vm->start) || wt_loop_now_ns(gang->loop) < vm->start_until_ns)
		return;
	note(vm, "the command that starts its QEMU has not ended within hold_s");
	vm->start.over = true;
}

static void read_source(struct wt_gang *gang, struct wt_gang_run_vm *vm)
{
	if (read_relay(&vm->send, &vm->source)) {
		vm->source_heard_ns = wt_loop_now_ns(gang->loop);
		vm->gone = false;
	}
	note_not_run(&vm->send, &vm->source);
}

/* Without a source it does nothing to a guest that does not run there. */
static void read_destination(struct wt_gang *gang, struct wt_gang_run_vm *vm)
{
	if (read_relay(&vm->receive, &vm->destination))
		vm->destination_heard_ns = wt_loop_now_ns(gang->loop);
	note_not_run(&vm->receive, &vm->destination);
	if (!lives(&vm->receive) || source_lives(vm) || !silent(gang, vm->destination_heard_ns))
		return;
	note(vm, "nothing is heard of watari receive at its destination");
	vm->receive.over = true;
}

void wt_gang_vm_read(struct wt_gang *gang, unsigned number)
{
	struct wt_gang_run_vm *vm = &gang->vms[number];

	read_start(gang, vm);
	read_source(gang, vm);
	read_destination(gang, vm);
	read_ask(vm, wt_loop_now_ns(gang->loop));
	note_end(vm, &vm->start, NULL);
	if (vm->start.over && vm->start.code == 0)
		see(gang, number, WT_GANG_EV_STARTED);
	if (vm->destination.listening && lives(&vm->receive))
		see(gang, number, WT_GANG_EV_LISTENING);
	if (vm->source.held)
		see(gang, number, WT_GANG_EV_HELD);
	if (wt_gang_committed(&vm->source, &vm->destination) || vm->recovered == 3)
		see(gang, number, WT_GANG_EV_COMMITTED);
	if (vm->destination.held)
		see(gang, number, WT_GANG_EV_MOVED);
	if (!all_ended(gang, number))
		return;
	note_end(vm, &vm->receive, &vm->destination);
	note_end(vm, &vm->send, &vm->source);
	see(gang, number, ended(vm));
}

/* ---- beginning and end ---- */

static int name_process(
	struct wt_gang *gang, const struct wt_gang_vm *vm, const char *what, struct wt_gang_process *process)
{
	char *path;
	int r;

	if (asprintf(&path, "%s.%s.%s", gang->options->journal, vm->name, what) < 0)
		return -ENOMEM;
	r = wt_gang_process_init(process, path);
	free(path);
	return r;
}

int wt_gang_vm_init(struct wt_gang *gang, unsigned number)
{
	struct wt_gang_run_vm *vm = &gang->vms[number];
	int r;

	vm->plan = &gang->plan->vms[number];
	vm->recovered = -1;
	wt_gang_relay_init(&vm->source);
	wt_gang_relay_init(&vm->destination);
	r = name_process(gang, vm->plan, "start", &vm->start);
	r = r ? r : name_process(gang, vm->plan, "receive", &vm->receive);
	r = r ? r : name_process(gang, vm->plan, "send", &vm->send);
	return r ? r : name_process(gang, vm->plan, "ask", &vm->ask);
}

/* What was said and is not there was never begun. */
static void find(struct wt_gang_process *process)
{
	wt_gang_process_find(process);
	process->over = process->ended = false;
}

/* A QEMU that was being started is not waited for: what it has left in the background may have its output. A
 * question that hangs does not keep others from being asked. */
void wt_gang_vm_find(struct wt_gang *gang, unsigned number)
{
	struct wt_gang_run_vm *vm = &gang->vms[number];
	struct wt_error err = { 0 };

	vm->source_heard_ns = vm->destination_heard_ns = wt_loop_now_ns(gang->loop);
	find(&vm->receive);
	find(&vm->send);
	wt_gang_process_drop(&vm->ask, &err);
}

int wt_gang_vm_forget(struct wt_gang *gang, unsigned number, struct wt_error *err)
{
	struct wt_gang_run_vm *vm = &gang->vms[number];
	int r = wt_gang_process_drop(&vm->start, err);

	r = r ? r : wt_gang_process_drop(&vm->ask, err);
	r = r ? r : wt_gang_process_forget(&vm->receive, err);
	return r ? r : wt_gang_process_forget(&vm->send, err);
}

void wt_gang_vm_close(struct wt_gang *gang, unsigned number)
{
	struct wt_gang_run_vm *vm = &gang->vms[number];

	wt_gang_process_close(&vm->start);
	wt_gang_process_close(&vm->receive);
	wt_gang_process_close(&vm->send);
	wt_gang_process_close(&vm->ask);
}
