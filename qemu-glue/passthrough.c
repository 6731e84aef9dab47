/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passthrough.c - see passthrough.h: the machine's actions, and what came of them.
 *
 *   1. Whatever is under way for a step (a timer, a question to the agent, a command) is ended before the
 * next action begins. What QEMU was asked cannot be taken back: its answer counts for the device, not for the
 *      step.
 *   2. Only the loop's thread.
 */
#include "passthrough.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device_qemu.h"
#include "passthrough_internal.h"

/* ---- telling ---- */

static bool of_a_device(enum wt_device_step_kind kind)
{
	return kind != WT_DEVICE_STEP_AGENT && kind != WT_DEVICE_STEP_ASK && kind != WT_DEVICE_STEP_WARM &&
	       kind != WT_DEVICE_STEP_MOVE && kind != WT_DEVICE_STEP_REPORT;
}

static const char *words_for(enum wt_device_step_kind kind, bool undo)
{
	switch (kind) {
	case WT_DEVICE_STEP_AGENT:
		return "the guest's agent is asked";
	case WT_DEVICE_STEP_ASK:
		return "the destination prepares its devices";
	case WT_DEVICE_STEP_WARM:
		return "the destination pulls the guest's memory beforehand";
	case WT_DEVICE_STEP_PREPARE:
		return undo ? "is given back to the host" : "is prepared";
	case WT_DEVICE_STEP_DETACH:
		return undo ? "the guest is told that it may use it again" : "the guest is told to let go";
	case WT_DEVICE_STEP_UNPLUG:
		return undo ? "is plugged in again" : "is unplugged";
	case WT_DEVICE_STEP_RELEASE:
		return "is given back to the host";
	case WT_DEVICE_STEP_PLUG:
		return "is plugged in";
	case WT_DEVICE_STEP_ATTACH:
		return "the guest is told to use it";
	case WT_DEVICE_STEP_REPORT:
		return "the destination gives the guest its devices";
	default:
		return NULL;
	}
}

static void tell(struct wt_passthrough *p, const char *state, bool undo, const struct wt_error *err)
{
	enum wt_device_step_kind kind = p->sequence.steps[p->sequence.at].kind;
	const char *words = words_for(kind, undo), *name = wt_passthrough_hand(p)->device->name;
	char text[WT_ERROR_TEXT_MAX + 128];
	json_t *fields;

	if (!words)
		return;
	fields = json_pack(
		"{s:s,s:s,s:b}", "step", wt_device_step_name(kind), "state", state, "undo", (int)undo);
	if (of_a_device(kind))
		json_object_set_new(fields, "name", json_string(name));
	if (err)
		json_object_set_new(fields, "error", json_string(wt_error_text(err)));
	snprintf(text, sizeof text, "%s%s%s%s%s", of_a_device(kind) ? name : "",
		of_a_device(kind) ? ": " : "", words, err ? ": " : "", err ? wt_error_text(err) : "");
	wt_report_event(p->config.report, "device", fields, err || strcmp(state, "begun") == 0 ? text : NULL);
}

/* ---- the machine ---- */

static void begin_step(struct wt_passthrough *p)
{
	struct wt_hand *hand = wt_passthrough_hand(p);
	enum wt_device_step_kind kind = p->sequence.steps[p->sequence.at].kind;

	if (of_a_device(kind) && !hand->wanted) {
		wt_passthrough_result(p, NULL);
		return;
	}
	tell(p, "begun", false, NULL);
	if (!p->quiesce_ns && (kind == WT_DEVICE_STEP_DETACH || kind == WT_DEVICE_STEP_UNPLUG))
		p->quiesce_ns = p->step_ns;
	switch (kind) {
	case WT_DEVICE_STEP_AGENT:
		wt_passthrough_ping(p);
		break;
	case WT_DEVICE_STEP_PREPARE:
		wt_passthrough_prepare(p, hand);
		break;
	case WT_DEVICE_STEP_DETACH:
		wt_passthrough_detach(p, hand);
		break;
	case WT_DEVICE_STEP_UNPLUG:
		wt_passthrough_unplug(p, hand);
		break;
	case WT_DEVICE_STEP_RELEASE:
		wt_passthrough_release(p, hand);
		break;
	case WT_DEVICE_STEP_PLUG:
		wt_passthrough_plug(p, hand);
		break;
	case WT_DEVICE_STEP_ATTACH:
		wt_passthrough_attach(p, hand);
		break;
	default:
		p->events.step(p->arg, kind);
		break;
	}
}

static void begin_undo(struct wt_passthrough *p)
{
	struct wt_hand *hand = wt_passthrough_hand(p);

	if (!hand->wanted) {
		wt_passthrough_result(p, NULL);
		return;
	}
	tell(p, "begun", true, NULL);
	switch (p->sequence.steps[p->sequence.at].kind) {
	case WT_DEVICE_STEP_PREPARE:
		wt_passthrough_release(p, hand);
		break;
	case WT_DEVICE_STEP_DETACH:
		wt_passthrough_attach(p, hand);
		break;
	default:
		wt_passthrough_replug(p, hand);
		break;
	}
}

/* Ends what is under way for the step, as far as it can be ended. */
static void settle(struct wt_passthrough *p)
{
	wt_loop_timer_clear(p->config.loop, &p->timer);
	if (p->agent)
		wt_guest_agent_forget(p->agent);
	wt_device_run_end(p->run);
	p->run = NULL;
}

static void step(struct wt_passthrough *p, enum wt_device_event event)
{
	enum wt_device_action action = wt_device_sequence_step(&p->sequence, event);

	if (action == WT_DEVICE_DO_NOTHING)
		return;
	settle(p);
	p->step_ns = wt_report_now_ns();
	if (action == WT_DEVICE_DO_STEP)
		begin_step(p);
	else if (action == WT_DEVICE_DO_UNDO)
		begin_undo(p);
	else
		p->events.over(p->arg);
}

static void note_result(struct wt_passthrough *p, const struct wt_error *err)
{
	struct wt_hand *hand = wt_passthrough_hand(p);
	enum wt_device_step_kind kind = p->sequence.steps[p->sequence.at].kind;
	bool undo = p->sequence.state == WT_DEVICE_UNDOING;

	tell(p, err ? "failed" : "done", undo, err);
	if (!undo && of_a_device(kind))
		hand->ms[kind] = (uint32_t)((wt_report_now_ns() - p->step_ns) / 1000000);
	if (!undo && kind == WT_DEVICE_STEP_UNPLUG && !err)
		p->gone_ns = wt_report_now_ns();
	if (!err || (!undo && !p->sequence.moved))
		return;
	if (of_a_device(kind) && !hand->trouble.code)
		hand->trouble = *err;
	if (!p->trouble.code && of_a_device(kind))
		wt_error_set(&p->trouble, err->code, "device %s: %s", hand->device->name, wt_error_text(err));
	else if (!p->trouble.code)
		p->trouble = *err;
}

void wt_passthrough_result(struct wt_passthrough *p, const struct wt_error *err)
{
	enum wt_device_step_kind kind = p->sequence.steps[p->sequence.at].kind;
	bool fails = err && p->sequence.state == WT_DEVICE_FORWARD && !p->sequence.moved;
	struct wt_error why = { 0 };

	if (wt_passthrough_hand(p)->wanted || !of_a_device(kind))
		note_result(p, err);
	if (fails && of_a_device(kind))
		wt_error_set(&why, err->code, "device %s: %s", wt_passthrough_hand(p)->device->name,
			wt_error_text(err));
	else if (fails)
		why = *err;
	step(p, err ? WT_DEVICE_EV_FAILED : WT_DEVICE_EV_OK);
	if (fails)
		p->events.failed(p->arg, &why);
}

void wt_passthrough_deadline(struct wt_passthrough *p, uint64_t ms, wt_loop_timer_fn *fn)
{
	wt_loop_timer_set(p->config.loop, &p->timer, wt_loop_now_ns(p->config.loop) + ms * 1000000, fn, p);
}

/* ---- the owner ---- */

void wt_passthrough_begin(struct wt_passthrough *p)
{
	step(p, WT_DEVICE_EV_BEGIN);
}

bool wt_passthrough_done(struct wt_passthrough *p, enum wt_device_step_kind kind, const struct wt_error *err)
{
	if (p->sequence.state != WT_DEVICE_FORWARD || p->sequence.steps[p->sequence.at].kind != kind)
		return false;
	wt_passthrough_result(p, err);
	return true;
}

void wt_passthrough_abort(struct wt_passthrough *p)
{
	step(p, WT_DEVICE_EV_ABORT);
}

bool wt_passthrough_begun(const struct wt_passthrough *p)
{
	return p->sequence.state != WT_DEVICE_IDLE;
}

bool wt_passthrough_is_over(const struct wt_passthrough *p)
{
	return p->sequence.state == WT_DEVICE_OVER;
}

uint64_t wt_passthrough_ask_ms(const struct wt_passthrough *p)
{
	uint64_t candidates = 0;

	for (unsigned i = 0; i < p->map->count; i++) {
		unsigned most = 1;

		for (unsigned k = 0; k < p->map->devices[i].place_count; k++)
			if (p->map->devices[i].places[k].address_count > most)
				most = p->map->devices[i].places[k].address_count;
		candidates += most;
	}
	return 3 * candidates * p->map->deadlines.prepare + 5000;
}

uint64_t wt_passthrough_report_ms(const struct wt_passthrough *p)
{
	return (uint64_t)p->map->count * (p->map->deadlines.plug + p->map->deadlines.attach) + 10000;
}

/* ---- what became of it ---- */

static void trouble(struct wt_passthrough *p, struct wt_hand *hand, int code, const char *text)
{
	wt_error_set(&hand->trouble, code, "%s", text);
	wt_error_set(&p->trouble, code, "device %s: %s", hand->device->name, text);
}

/* One that is not there is plugged in; the hooks have been told already. */
static void check_one(struct wt_passthrough *p, struct wt_hand *hand)
{
	struct wt_error err = { 0 };
	struct wt_qemu_device found;
	char text[WT_ERROR_TEXT_MAX];
	int r = wt_qemu_device(p->qmp, hand->device->id, &found, &err);

	if (r == -ENOENT)
		r = wt_qmp_call(p->qmp, "device_add",
			wt_device_arguments(hand->device, hand->place, hand->address),
			p->map->deadlines.plug * 1000000ull, NULL, &err);
	else if (!r && hand->late && hand->pending) {
		snprintf(text, sizeof text,
			"QEMU's request to let go cannot be taken back: if it goes later, plug it in again (device_add, id "
			"%s, bus %s)",
			hand->device->id, hand->device->bus);
		trouble(p, hand, ETIMEDOUT, text);
	}
	hand->present = !r;
	if (r)
		trouble(p, hand, -r, wt_error_text(&err));
}

void wt_passthrough_check_back(struct wt_passthrough *p)
{
	for (unsigned i = 0; i < p->map->count && !p->sequence.moved; i++)
		if (p->hands[i].there)
			check_one(p, &p->hands[i]);
}

const char *wt_passthrough_away(const struct wt_passthrough *p, char *ret_text, size_t size)
{
	size_t length = 0;

	ret_text[0] = '\0';
	for (unsigned i = 0; i < p->map->count && length < size; i++) {
		const struct wt_hand *hand = &p->hands[i];

		if (p->config.source ? hand->taken && !hand->present : hand->touched && !hand->present)
			length += (size_t)snprintf(ret_text + length, size - length, "%s%s (bus %s%s%s)",
				length ? ", " : "", hand->device->id, hand->device->bus,
				hand->address ? ", vfio " : "", hand->address ? hand->address : "");
	}
	return ret_text;
}

const char *wt_passthrough_lacking(const struct wt_passthrough *p, char *ret_text, size_t size)
{
	size_t length = 0;

	ret_text[0] = '\0';
	for (unsigned i = 0; i < p->map->count && length < size; i++) {
		const struct wt_hand *hand = &p->hands[i];

		if (!hand->present && hand->place->kind != WT_DEVICE_NONE)
			length += (size_t)snprintf(ret_text + length, size - length, "%s%s (bus %s)",
				length ? ", " : "", hand->device->id, hand->device->bus);
	}
	return ret_text;
}

/* ---- opening ---- */

static int take_hand(struct wt_passthrough *p, unsigned i, struct wt_error *err)
{
	const struct wt_device *device = &p->map->devices[i];
	struct wt_hand *hand = &p->hands[i];

	*hand = (struct wt_hand){ .passthrough = p, .device = device, .wanted = true, .lock.lock_fd = -1 };
	hand->place = wt_device_place_of(device, p->host);
	if (!hand->place)
		return wt_error_set(err, ENOENT,
			"the device map %s does not say what host %s has for %s; add it, or name the host with "
			"--device-host",
			p->config.map_path, p->host, device->name);
	if (device->agent && !p->config.agent_path)
		return wt_error_set(err, EINVAL,
			"the device map wants the guest's agent for %s; give --agent SOCKET, the one behind the port " WT_AGENT_PORT,
			device->name);
	return 0;
}

int wt_passthrough_open(const struct wt_passthrough_config *config,
	const struct wt_passthrough_events *events, void *arg, struct wt_passthrough **ret_passthrough,
	struct wt_error *err)
{
	struct wt_passthrough *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return wt_error_set(err, ENOMEM, "no memory for the devices of a guest");
	p->config = *config;
	p->events = *events;
	p->arg = arg;
	if (config->host)
		snprintf(p->host, sizeof p->host, "%s", config->host);
	else
		gethostname(p->host, sizeof p->host - 1);
	r = wt_device_map_read(config->map_path, &p->map, err);
	for (unsigned i = 0; !r && i < p->map->count; i++)
		r = take_hand(p, i, err);
	if (r) {
		wt_device_map_free(p->map);
		free(p);
		return r;
	}
	if (config->handover)
		wt_device_sequence_handover(&p->sequence, p->map->count, config->agent_path);
	else if (config->source)
		wt_device_sequence_source(&p->sequence, p->map->count, config->agent_path);
	else
		wt_device_sequence_destination(&p->sequence, p->map->count, config->agent_path);
	*ret_passthrough = p;
	return 0;
}

void wt_passthrough_close(struct wt_passthrough *p)
{
	if (!p)
		return;
	settle(p);
	wt_guest_agent_close(p->agent);
	wt_guest_agent_close(p->next_agent);
	for (unsigned i = 0; i < p->map->count; i++)
		wt_job_place_leave(&p->hands[i].lock);
	wt_device_map_free(p->map);
	free(p);
}

/* Answers 1 if QEMU has it, as the map says. */
static int look(struct wt_passthrough *p, struct wt_hand *hand, struct wt_error *err)
{
	struct wt_qemu_device found;
	int r = wt_qemu_can_unplug(p->qmp, hand->device, hand->place, err);

	if (r <= 0)
		return r;
	hand->present = hand->there = true;
	r = wt_qemu_device(p->qmp, hand->device->id, &found, err);
	for (unsigned i = 0; !r && i < hand->place->address_count; i++)
		if (strcmp(hand->place->addresses[i], found.host) == 0)
			hand->address = hand->place->addresses[i];
	return r ? r : 1;
}

static int check_source(
	struct wt_passthrough *p, struct wt_hand *hand, unsigned *leaving, struct wt_error *err)
{
	int r = look(p, hand, err);

	if (!r && p->config.handover)
		hand->wanted = false; /* it stays without */
	if (r <= 0)
		return r;
	p->leaving[(*leaving)++] = hand->device->id;
	/* While the guest is on its way nobody else here shall take it: it may come back. */
	return hand->address ? wt_passthrough_reserve(hand, err) : 0;
}

static int check_destination(struct wt_passthrough *p, struct wt_hand *hand, struct wt_error *err)
{
	int r = p->config.recovers ? look(p, hand, err) : 0;

	return r ? r : wt_qemu_can_plug(p->qmp, hand->device, hand->place, err);
}

int wt_passthrough_check(struct wt_passthrough *p, struct wt_qmp *qmp, struct wt_error *err)
{
	struct wt_error why = { 0 };
	unsigned leaving = 0;
	int r = 0;

	p->qmp = qmp;
	for (unsigned i = 0; i < p->map->count; i++) {
		struct wt_hand *hand = &p->hands[i];

		r = p->config.source ? check_source(p, hand, &leaving, &why)
				     : check_destination(p, hand, &why);
		if (r < 0)
			return wt_error_set(
				err, -r, "device %s: %s", hand->device->name, wt_error_text(&why));
	}
	r = 0;
	if (p->config.agent_path)
		r = wt_guest_agent_open(p->config.loop, p->config.agent_path, &p->agent, err);
	return r;
}

int wt_passthrough_check_next(
	struct wt_passthrough *p, struct wt_qmp *qmp, const char *agent_path, struct wt_error *err)
{
	struct wt_error why = { 0 };

	p->next_qmp = qmp;
	for (unsigned i = 0; i < p->map->count; i++) {
		const struct wt_hand *hand = &p->hands[i];
		int r = hand->wanted ? wt_qemu_can_plug(qmp, hand->device, hand->place, &why) : 0;

		if (r < 0)
			return wt_error_set(err, -r, "device %s: the new QEMU: %s", hand->device->name,
				wt_error_text(&why));
	}
	if (wt_passthrough_check_limits(p, err))
		return -err->code;
	return agent_path ? wt_guest_agent_open(p->config.loop, agent_path, &p->next_agent, err) : 0;
}

void wt_passthrough_use_next(struct wt_passthrough *p)
{
	wt_guest_agent_close(p->agent);
	p->qmp = p->next_qmp;
	p->agent = p->next_agent;
	p->next_agent = NULL;
	for (unsigned i = 0; i < p->map->count; i++)
		p->hands[i].present = p->hands[i].pending = false;
}

const char *const *wt_passthrough_leaving(const struct wt_passthrough *p)
{
	return p->leaving;
}

json_t *wt_passthrough_names(const struct wt_passthrough *p)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < p->map->count; i++)
		json_array_append_new(names, json_string(p->map->devices[i].name));
	return names;
}

int wt_passthrough_expect(struct wt_passthrough *p, json_t *names, struct wt_error *err)
{
	json_t *item;
	size_t i;

	for (unsigned k = 0; k < p->map->count; k++)
		p->hands[k].wanted = false;
	json_array_foreach(names, i, item)
	{
		const char *name = json_string_value(item);
		const struct wt_device *device = name ? wt_device_named(p->map, name) : NULL;

		if (!wt_device_name_good(name))
			return wt_error_set(err, EPROTO, "the source names a device that is no name");
		if (!device)
			return wt_error_set(err, ENOENT,
				"the source's device map has a device %s, and that of this host (%s) has not; give both "
				"ends one map",
				name, p->host);
		p->hands[device - p->map->devices].wanted = true;
	}
	return 0;
}

/* ---- what has become of it ---- */

json_t *wt_passthrough_facts(const struct wt_passthrough *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < p->map->count; i++) {
		const struct wt_hand *hand = &p->hands[i];
		char text[WT_DEVICE_NAME_MAX + 32];
		json_t *object;

		if (!hand->wanted)
			continue;
		if (!hand->present)
			strcpy(text, "nothing");
		else if (hand->place->kind == WT_DEVICE_VFIO)
			snprintf(text, sizeof text, "vfio %s", hand->address);
		else
			wt_device_place_text(hand->place, text, sizeof text);
		object = json_pack("{s:s,s:s,s:o}", "name", hand->device->name, "what", text, "error",
			hand->trouble.code ? json_string(hand->trouble.text) : json_null());
		for (unsigned k = 0; k < sizeof hand->ms / sizeof hand->ms[0]; k++) {
			snprintf(text, sizeof text, "%s_ms", wt_device_step_name(k));
			if (of_a_device(k) && k)
				json_object_set_new(object, text, json_integer(hand->ms[k]));
		}
		json_array_append_new(list, object);
	}
	return list;
}

const struct wt_error *wt_passthrough_trouble(const struct wt_passthrough *p)
{
	return p->trouble.code ? &p->trouble : NULL;
}

uint64_t wt_passthrough_quiesce_ns(const struct wt_passthrough *p)
{
	return p->quiesce_ns;
}

uint64_t wt_passthrough_gone_ns(const struct wt_passthrough *p)
{
	return p->gone_ns;
}
