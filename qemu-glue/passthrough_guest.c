/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passthrough_guest.c - the steps that the guest and its QEMU do: hooks by the agent, device_del, device_add.
 *
 * device_del only asks: DEVICE_DELETED says that the guest has let go, and no word of ours takes the question
 * back. Nor does a refusal prove that nothing is under way: it may be about a request of before. So an unplug
 * that did not come is waited for once more before it is given up; whether the device is there is looked at
 * when all is undone (wt_passthrough_check_back), and what goes even later is for the operator.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "passthrough_internal.h"

#define PATIENCE_MS 2000 /* behind the agent's own deadline */
#define PING_MS 5000
#define BUSY_MS 100
#define AGAIN_MS 500

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

static void plug_again(void *arg, uint64_t now_ns)
{
	struct wt_passthrough *p = arg;

	wt_passthrough_plug(p, wt_passthrough_hand(p));
}

/* On the way back, or into another QEMU, another reception may have looked at the device in this moment. */
static void add_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_hand *hand = arg;
	struct wt_passthrough *p = hand->passthrough;

	hand->present = result != NULL;
	if (hand->await != WT_HAND_ADDED)
		return;
	hand->await = WT_HAND_NOTHING;
	if (!result && (p->sequence.state == WT_DEVICE_UNDOING || p->config.handover) &&
		wt_loop_now_ns(p->config.loop) + AGAIN_MS * 1000000ull < hand->plug_until_ns)
		wt_passthrough_deadline(p, AGAIN_MS, plug_again);
	else
		wt_passthrough_result(p, result ? NULL : err);
}

void wt_passthrough_plug(struct wt_passthrough *p, struct wt_hand *hand)
{
	struct wt_error err = { 0 };

	if (hand->place->kind == WT_DEVICE_NONE || hand->present) {
		wt_passthrough_result(p, NULL);
		return;
	}
	hand->await = WT_HAND_ADDED;
	if (!hand->plug_until_ns)
		hand->plug_until_ns = wt_loop_now_ns(p->config.loop) + p->map->deadlines.plug * 1000000ull;
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
	hand->doubtful = true;
	if (hand->await != WT_HAND_DELETED || hand->passthrough->sequence.state == WT_DEVICE_UNDOING)
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
	hand->unplug_until_ns = wt_loop_now_ns(p->config.loop) + p->map->deadlines.unplug * 1000000ull;
	wt_passthrough_deadline(p, p->map->deadlines.unplug, unplug_late);
	if (!wt_qmp_execute(
		    p->qmp, "device_del", json_pack("{s:s}", "id", hand->device->id), del_reply, hand))
		return;
	hand->pending = false;
	hand->await = WT_HAND_NOTHING;
	wt_error_set(&err, ENOTCONN, "QEMU has ended");
	wt_passthrough_result(p, &err);
}

/* It has the device; whether it keeps it is seen at the end. */
static void recall_late(void *arg, uint64_t now_ns)
{
	struct wt_passthrough *p = arg;
	struct wt_hand *hand = wt_passthrough_hand(p);

	hand->await = WT_HAND_NOTHING;
	hand->late = !hand->doubtful;
	hand->let_be = true;
	wt_passthrough_result(p, NULL);
}

void wt_passthrough_replug(struct wt_passthrough *p, struct wt_hand *hand)
{
	uint64_t now_ns = wt_loop_now_ns(p->config.loop), rest_ms = 0;

	if (!hand->pending) {
		if (hand->taken)
			wt_passthrough_plug(p, hand);
		else
			wt_passthrough_result(p, NULL);
		return;
	}
	hand->await = WT_HAND_DELETED;
	if (hand->unplug_until_ns > now_ns)
		rest_ms = (hand->unplug_until_ns - now_ns) / 1000000;
	wt_passthrough_deadline(p, rest_ms + p->map->deadlines.recall, recall_late);
}

/* ---- events ---- */

/* By whichever request: an earlier one of somebody else's may be at work, too. */
static void deleted(struct wt_passthrough *p, struct wt_hand *hand)
{
	bool awaited = hand->await == WT_HAND_DELETED;

	hand->taken |= hand->present;
	hand->present = hand->pending = false;
	if (awaited)
		hand->await = WT_HAND_NOTHING;
	if (awaited && p->sequence.state == WT_DEVICE_UNDOING)
		wt_passthrough_plug(p, hand);
	else if (awaited)
		wt_passthrough_result(p, NULL);
	else if (hand->taken && !p->sequence.moved && (p->sequence.state == WT_DEVICE_OVER || hand->let_be))
		wt_qmp_execute(p->qmp, "device_add",
			wt_device_arguments(hand->device, hand->place, hand->address), add_reply, hand);
}

static void refused(struct wt_passthrough *p, struct wt_hand *hand)
{
	struct wt_error err = { 0 };

	hand->doubtful = true;
	if (hand->await != WT_HAND_DELETED || p->sequence.state == WT_DEVICE_UNDOING)
		return;
	hand->await = WT_HAND_NOTHING;
	wt_error_set(&err, EBUSY, "the guest refuses to let go (DEVICE_UNPLUG_GUEST_ERROR)");
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
