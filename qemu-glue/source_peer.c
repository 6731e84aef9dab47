/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_peer.c - the source relay's page servers, one for each target, and what the destinations say.
 *
 * Only the current destination has a say in the switchover; of the others counts that they give up.
 * Each message becomes an event of source_switch.h, or is answered. What the destination says is hostile
 * until it was looked at: lengths are checked, texts are made printable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"
#include "printable.h"
#include "relay_peer.h"
#include "source_internal.h"
#include "verify.h"

void wt_source_pump(struct wt_source *source)
{
	if (source->outgoing)
		wt_outgoing_pump(source->outgoing);
}

static int answer_digest(
	struct wt_source *source, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_relay_digest ask;
	int r = source->machine.state == WT_SOURCE_STOPPED
			? wt_verify_answer(source->served, payload, length, &ask)
			: -EPROTO;

	if (r)
		return wt_error_set(err, EPROTO, "the destination asks for a digest that makes no sense");
	return wt_server_send(wt_source_server(source), WT_RELAY_DIGEST_ANSWER, &ask, sizeof ask);
}

static void text_error(
	struct wt_error *err, int code, const char *what, const uint8_t *payload, size_t length)
{
	char text[WT_PRINTABLE_MAX];

	wt_error_set(err, code, "%s%s", what, wt_printable(payload, length, text, sizeof text));
}

static void destination_runs(struct wt_source *source, const uint8_t *payload, size_t length)
{
	source->end_ns = wt_report_now_ns();
	json_decref(source->destination_facts);
	source->destination_facts = json_loadb((const char *)payload, length, 0, NULL);
	wt_source_event(source, WT_SOURCE_EV_DESTINATION_RUNS);
}

/*
 * The guest is stopped and everything has landed: was any of it read from memory that could be discarded
 * below its registration? Only a device that was plugged in meanwhile can have done that; its guest runs on
 * here. Over tcp nothing is registered.
 */
static int check_pinned(struct wt_source *source, struct wt_error *err)
{
	struct wt_server_stats stats;
	struct wt_preflight devices = { 0 };
	int r = 0;

	wt_source_stats(source, &stats);
	if (!source->facts.may_discard && stats.used & WT_FABRIC_BIT(WT_FABRIC_VERBS))
		r = wt_preflight_devices(source->relay.qmp, &devices, err);
	if (r || !devices.may_discard)
		return r;
	return wt_error_set(err, EPERM,
		"a balloon was plugged into the guest while its memory was pinned, so that what was read may be old; "
		"send again, then it is copied");
}

/* The word of the current destination. */
static int current_message(
	struct wt_source *source, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_error why = { 0 };

	switch (type) {
	case WT_RELAY_READY:
		if (check_pinned(source, &why))
			wt_source_trouble(source, &why);
		else
			wt_source_event(source, WT_SOURCE_EV_DESTINATION_READY);
		return 0;
	case WT_RELAY_RUNNING:
		destination_runs(source, payload, length);
		return 0;
	case WT_RELAY_STRANDED:
		text_error(&why, EIO, "the destination failed: ", payload, length);
		wt_source_trouble(source, &why);
		return 0;
	case WT_RELAY_DEVICES_READY:
	case WT_RELAY_DEVICES_DONE:
		return wt_source_devices_message(source, type, payload, length, err);
	case WT_RELAY_COMMON_ANSWER:
		return wt_source_common_answer(source, payload, length, err);
	case WT_RELAY_DIGEST_ASK:
		return answer_digest(source, payload, length, err);
	default:
		return wt_error_set(err, EPROTO, "the destination sent a message of unknown type %u", type);
	}
}

static int server_message(
	void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_source_target *target = arg;
	struct wt_source *source = target->source;
	struct wt_error why = { 0 };

	if (source->change.machine.roles[target - source->change.targets] == WT_TARGET_KEPT) {
		if (type == WT_RELAY_UNLOADED)
			wt_source_event(source, WT_SOURCE_EV_DESTINATION_UNLOADED);
		if (type != WT_RELAY_FAILED)
			return 0; /* said before it heard that this migration was given up */
	}
	switch (type) {
	case WT_RELAY_FAILED:
		text_error(&why, EIO, "the destination failed: ", payload, length);
		wt_source_target_lost(target, WT_SOURCE_EV_DESTINATION_UNRUN, &why);
		return 0;
	case WT_RELAY_UNLOADED:
		wt_source_change_event(source, WT_RETARGET_EV_QEMU_ENDED, target);
		return 0;
	default:
		if (target == wt_source_current(source))
			return current_message(source, type, payload, length, err);
		return wt_error_set(err, EPROTO,
			"a destination that the guest is not on its way to sent a message of type %u", type);
	}
}

void wt_source_accepted(struct wt_source *source)
{
	wt_loop_timer_clear(source->relay.loop, &source->deadline);
	if (!wt_source_devices_begin(source))
		wt_source_move(source);
}

static void server_ready(void *arg)
{
	struct wt_source_target *target = arg;
	struct wt_source *source = target->source;

	if (source->machine.state != WT_SOURCE_CONNECTING || target != wt_source_current(source)) {
		wt_source_target_ready(target);
		return;
	}
	wt_relay_told_paths(&source->relay, target->server);
	if (!wt_source_common_ask(source))
		wt_source_accepted(source);
}

static void server_room(void *arg)
{
	struct wt_source_target *target = arg;
	struct wt_source *source = target->source;

	if (wt_source_target_room(target) || target != wt_source_current(source))
		return;
	wt_source_warm_more(source);
	if (source->machine.state == WT_SOURCE_STREAMING || source->machine.state == WT_SOURCE_STOPPED)
		wt_source_pump(source);
}

static void server_lost(void *arg, const struct wt_error *err)
{
	wt_relay_told_lost(&((struct wt_source_target *)arg)->source->relay, err);
}

static void server_back(void *arg)
{
	wt_relay_told_back(&((struct wt_source_target *)arg)->source->relay);
	server_room(arg);
}

static void server_failed(void *arg, const struct wt_error *err)
{
	struct wt_error said = wt_printable_error(err);

	wt_source_target_lost(arg, WT_SOURCE_EV_TROUBLE, &said);
	wt_source_devices_peer_lost(((struct wt_source_target *)arg)->source, &said);
}

static void server_note(void *arg, const char *note)
{
	wt_relay_told_note(&((struct wt_source_target *)arg)->source->relay, note);
}

static const struct wt_server_events server_events = {
	.ready = server_ready,
	.room = server_room,
	.message = server_message,
	.lost = server_lost,
	.back = server_back,
	.failed = server_failed,
	.note = server_note,
	.drained = wt_source_target_drained,
	.base_sent = wt_source_target_base_sent,
	.base_left = wt_source_target_base_left,
	.expected = wt_source_target_expected,
	.expected_replica = wt_source_target_expected_replica,
	.helper = wt_source_target_helper,
};

/* What --verify will read of memory that is not mapped here must be readable: better known now than when the
 * guest is stopped. */
static int check_readable(const struct wt_ram_block *block, struct wt_error *err)
{
	uint8_t digest[WT_RELAY_DIGEST_BYTES];
	int r = block->base ? 0 : wt_verify_digest(block, 0, 1, digest);

	if (!r)
		return 0;
	return wt_error_set(err, -r,
		"private memory of QEMU (block %s) cannot be read to compare it: %s; run watari as root, or without "
		"--verify",
		block->name, block->host ? strerror(-r) : "its address is not known");
}

int wt_source_memory_open(struct wt_source *source, struct wt_error *err)
{
	const struct wt_guest_ram *ram = source->relay.ram;
	int r = wt_memory_open(&source->memory, err);

	source->served = calloc(ram->count + 1, sizeof *source->served);
	if (!r && !source->served)
		r = wt_error_set(err, ENOMEM, "no memory for %u blocks", ram->count);
	for (unsigned i = 0; !r && i < ram->count; i++) {
		const struct wt_ram_block *block = &ram->blocks[i];
		int number;

		if (source->common || (!block->shared && !block->staged))
			continue;
		if (source->options->verify && (r = check_readable(block, err)))
			return r;
		number = wt_memory_block_add(source->memory, block->name, block->base, block->length,
			block->fd, block->fd_offset, err);
		if (number < 0)
			return number;
		source->served[number] = block;
		source->change.machine.staged |= !block->base;
	}
	return r;
}

int wt_source_server_open(struct wt_source_target *target, struct wt_error *err)
{
	struct wt_source *source = target->source;
	const struct wt_source_options *o = source->options;
	struct wt_server_config config = wt_relay_server_config(&source->relay, &o->common, &target->address);
	int r;

	config.paths = o->paths;
	config.may_discard = source->facts.may_discard;
	config.memory = source->memory;
	target->attempt = source->formers;
	r = wt_server_open(source->relay.loop, &config, &server_events, target, &target->server, err);
	if (r)
		return r;
	wt_source_kept_expect(target);
	return wt_server_start(target->server, err);
}

struct wt_relay_guest wt_source_guest(const struct wt_source *source)
{
	return (struct wt_relay_guest){ .flags = (source->facts.guest_running ? WT_RELAY_GUEST_RUNNING : 0) |
						 (source->options->verify ? WT_RELAY_GUEST_VERIFY : 0),
		.record = source->record };
}

void wt_source_stats(const struct wt_source *source, struct wt_server_stats *ret_stats)
{
	*ret_stats = (struct wt_server_stats){ 0 };
	if (wt_source_server(source))
		wt_server_stats(wt_source_server(source), ret_stats);
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++) {
		struct wt_server_stats one;

		if (!source->change.targets[i].server || (int)i == source->change.machine.current ||
			source->change.targets[i].attempt != source->formers)
			continue;
		wt_server_stats(source->change.targets[i].server, &one);
		ret_stats->announced_pages += one.announced_pages;
		ret_stats->zero_pages += one.zero_pages;
		ret_stats->staged_pages += one.staged_pages;
		ret_stats->digested_pages += one.digested_pages;
		ret_stats->control_bytes += one.control_bytes;
		ret_stats->used |= one.used;
	}
}
