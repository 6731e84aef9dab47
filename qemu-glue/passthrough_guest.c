/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passthrough_guest.c - the steps that the guest and its QEMU do: hooks by the agent, device_del, device_add.
 *
 * device_del only asks: DEVICE_DELETED says that the guest has let go, and no word of ours takes the question
 * back. So an unplug that came too late is waited for once more before it is given up, and what comes even
 * later is for the operator.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "passthrough_internal.h"

#define PATIENCE_MS 2000 /* behind the agent's own deadline */
#define PING_MS 5000
#define BUSY_MS 100

/* ---- the agent ---- */

static void pinged(void *arg, const struct wt_agent_answer *answer, const struct wt_error *err)
{
	wt_passthrough_result(arg, answer ? NULL : err);
}

void wt_passthrough_ping(struct wt_passthrough *p)
{
	struct wt_agent_request ping = { .verb = WT_AGENT_PING };
	struct wt_error err = { 0 };

	if (wt_guest_agent_ask(p->agent, &ping, PING_MS, pinged, p, &err))
		wt_passthrough_result(p, &err);
}

static void detached(void *arg, const struct wt_agent_answer *answer, const struct wt_error *err)
{
	struct wt_error why = { 0 };

	if (answer && !answer->ok)
		wt_error_set(&why, EBUSY, "the guest does not let go: %s", answer->error);
	else if (!answer)
		why = *err;
	wt_passthrough_result(arg, why.code ? &why : NULL);
}

void wt_passthrough_detach(struct wt_passthrough *p, struct wt_hand *hand)
{
	struct wt_agent_request request = { .verb = WT_AGENT_DETACH, .timeout_ms = p->map->deadlines.detach };
	struct wt_error err = { 0 };

	strcpy(request.name, hand->device->name);
	if (wt_guest_agent_ask(p->agent, &request, PATIENCE_MS, detached, p, &err))
		wt_passthrough_result(p, &err);
}

static void attach_again(void *arg, uint64_t now_ns);

static void attached(void *arg, const struct wt_agent_answer *answer, const struct wt_error *err)
{
	struct wt_passthrough *p = arg;
	struct wt_error why = { 0 };

	/* A message to a hook, perhaps. */
	if (answer && answer->busy && wt_loop_now_ns(p->config.loop) < p->attach_until_ns) {
		wt_passthrough_deadline(p, BUSY_MS, attach_again);
		return;
	}
	if (answer && !answer->ok)
		wt_error_set(&why, EIO, "the guest does not take it: %s", answer->error);
	else if (!answer)
		why = *err;
	wt_passthrough_result(p, why.code ? &why : NULL);
}

static void ask_attach(struct wt_passthrough *p, struct wt_hand *hand)
{
	struct wt_agent_request request = { .verb = WT_AGENT_ATTACH, .timeout_ms = p->map->deadlines.attach };
	struct wt_error err = { 0 };

	strcpy(request.name, hand->device->name);
	strcpy(request.what, "none");
	if (hand->present) {
		strcpy(request.what, hand->place->kind == WT_DEVICE_VFIO ? "vfio" : hand->place->driver);
		strcpy(request.link_mac, hand->place->link_mac);
	}
	if (wt_guest_agent_ask(p->agent, &request, PATIENCE_MS, attached, p, &err))
		wt_passthrough_result(p, &err);
}

static void attach_again(void *arg, uint64_t now_ns)
{
	struct wt_passthrough *p = arg;

	ask_attach(p, wt_passthrough_hand(p));
}

void wt_passthrough_attach(struct wt_passthrough *p, struct wt_hand *hand)
{
	p->attach_until_ns = wt_loop_now_ns(p->config.loop) + p->map->deadlines.detach * 1000000ull;
	ask_attach(p, hand);
}

/* ---- device_add ---- */

static void plug_late(void *arg, uint64_t now_ns)
{
	struct wt_passthrough *p = arg;
	struct wt_error err = { 0 };

	wt_passthrough_hand(p)->await = WT_HAND_NOTHING;
	wt_error_set(
		&err, ETIMEDOUT, "QEMU did not answer to device_add within %u ms", p->map->deadlines.plug);
	wt_passthrough_result(p, &err);
}

static void add_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_hand *hand = arg;

	hand->present = result != NULL;
	if (hand->await != WT_HAND_ADDED)
		return;
	hand->await = WT_HAND_NOTHING;
	wt_passthrough_result(hand->passthrough, result ? NULL : err);
}

void wt_passthrough_plug(struct wt_passthrough *p, struct wt_hand *hand)
{
	struct wt_error err = { 0 };

	if (hand->place->kind == WT_DEVICE_NONE || hand->present) {
		wt_passthrough_result(p, NULL);
		return;
	}
	hand->await = WT_HAND_ADDED;
	wt_passthrough_deadline(p, p->map->deadlines.plug, plug_late);
	if (!wt_qmp_execute(p->qmp, "device_add",
		    wt_device_arguments(hand->device, hand->place, hand->address), add_reply, hand))
		return;
	hand->await = WT_HAND_NOTHING;
	wt_error_set(&err, ENOTCONN, "QEMU has ended");
	wt_passthrough_result(p, &err);
}

/* ---- device_del ---- */

static void unplug_late(void *arg, uint64_t now_ns)
{
	struct wt_passthrough *p = arg;
	struct wt_error err = { 0 };

	wt_passthrough_hand(p)->await = WT_HAND_NOTHING;
	wt_error_set(&err, ETIMEDOUT,
		"the guest did not let go within %u ms; something in it may use the device, which a hook of the "
		"agent could end",
		p->map->deadlines.unplug);
	wt_passthrough_result(p, &err);
}

static void del_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_hand *hand = arg;

	if (result)
		return;
	hand->pending = false;
	if (hand->await != WT_HAND_DELETED)
		return;
	hand->await = WT_HAND_NOTHING;
	wt_passthrough_result(hand->passthrough, err);
}

void wt_passthrough_unplug(struct wt_passthrough *p, struct wt_hand *hand)
{
	struct wt_error err = { 0 };

	if (!hand->present) {
		wt_passthrough_result(p, NULL);
		return;
	}
	hand->await = WT_HAND_DELETED;
	hand->pending = true;
	wt_passthrough_deadline(p, p->map->deadlines.unplug, unplug_late);
	if (!wt_qmp_execute(
		    p->qmp, "device_del", json_pack("{s:s}", "id", hand->device->id), del_reply, hand))
		return;
	hand->pending = false;
	hand->await = WT_HAND_NOTHING;
	wt_error_set(&err, ENOTCONN, "QEMU has ended");
	wt_passthrough_result(p, &err);
}

static void recall_late(void *arg, uint64_t now_ns)
{
	struct wt_passthrough *p = arg;
	struct wt_hand *hand = wt_passthrough_hand(p);
	struct wt_error err = { 0 };

	hand->await = WT_HAND_NOTHING;
	wt_error_set(&err, ETIMEDOUT,
		"the guest still has it, but QEMU's request to let go cannot be taken back: if the device goes later, "
		"plug it in again (device_add, id %s, bus %s)",
		hand->device->id, hand->device->bus);
	wt_passthrough_result(p, &err);
}

void wt_passthrough_replug(struct wt_passthrough *p, struct wt_hand *hand)
{
	if (!hand->pending) {
		if (hand->taken)
			wt_passthrough_plug(p, hand);
		else
			wt_passthrough_result(p, NULL);
		return;
	}
	hand->await = WT_HAND_DELETED;
	wt_passthrough_deadline(p, p->map->deadlines.recall, recall_late);
}

/* ---- events ---- */

static void deleted(struct wt_passthrough *p, struct wt_hand *hand)
{
	bool awaited = hand->await == WT_HAND_DELETED;

	hand->taken |= hand->pending;
	hand->present = hand->pending = false;
	hand->await = WT_HAND_NOTHING;
	if (!awaited)
		return;
	if (p->sequence.state == WT_DEVICE_UNDOING)
		wt_passthrough_plug(p, hand);
	else
		wt_passthrough_result(p, NULL);
}

static void refused(struct wt_passthrough *p, struct wt_hand *hand)
{
	bool awaited = hand->await == WT_HAND_DELETED;
	struct wt_error err = { 0 };

	hand->pending = false;
	hand->await = WT_HAND_NOTHING;
	wt_error_set(&err, EBUSY, "the guest refuses to let go (DEVICE_UNPLUG_GUEST_ERROR)");
	if (awaited && p->sequence.state == WT_DEVICE_UNDOING)
		wt_passthrough_result(p, NULL); /* it has the device, and keeps it */
	else if (awaited)
		wt_passthrough_result(p, &err);
}

void wt_passthrough_qmp_event(struct wt_passthrough *p, const char *name, json_t *data)
{
	const char *id = json_string_value(json_object_get(data, "device"));
	bool gone = strcmp(name, "DEVICE_DELETED") == 0;

	if (!id || (!gone && strcmp(name, "DEVICE_UNPLUG_GUEST_ERROR") != 0))
		return;
	for (unsigned i = 0; i < p->map->count; i++)
		if (strcmp(p->hands[i].device->id, id) == 0) {
			if (gone)
				deleted(p, &p->hands[i]);
			else
				refused(p, &p->hands[i]);
			return;
		}
}
