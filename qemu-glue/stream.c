/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream.c - the framing of QEMU's migration stream: header, configuration, sections, commands.
 *
 * Owns the reader: its buffer, its state, and the first failure. RAM's sections are stream_ram.c's.
 *   1. pos <= fill <= WT_LIMIT_STREAM_BYTES; between calls fill - pos < STREAM_UNIT_MAX, unless it failed.
 *   2. Every byte of the input is passed on, reported, or dropped exactly once, in order; only of RAM's
 * sections headers and ends are written anew.
 *   3. Until RAM has ended only RAM may have sections: no other section tells its length. The exceptions are
 *      the configuration and commands, whose lengths are known.
 *   4. After a failure nothing is reported or passed any more; every call answers that failure again.
 *   5. After RAM's end section nothing is looked at.
 * Any thread, one at a time. No I/O, no clock; allocates in wt_stream_open only.
 */
#include "stream_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QEMU_VM_FILE_MAGIC 0x5145564du
#define QEMU_VM_FILE_VERSION 3u
#define RAM_SECTION_NAME "ram"
#define RAM_SECTION_VERSION 4u

enum {
	MIG_CMD_OPEN_RETURN_PATH = 1,
	MIG_CMD_PING = 2,
	MIG_CMD_POSTCOPY_ADVISE = 3,
	MIG_CMD_POSTCOPY_LISTEN = 4,
	MIG_CMD_POSTCOPY_RUN = 5,
	MIG_CMD_POSTCOPY_RAM_DISCARD = 6,
	MIG_CMD_PACKAGED = 7,
	MIG_CMD_ENABLE_COLO = 8,
	MIG_CMD_POSTCOPY_RESUME = 9,
	MIG_CMD_RECV_BITMAP = 10,
	MIG_CMD_SWITCHOVER_START = 11,
};

enum {
	MIG_RP_MSG_SHUT = 1,
	MIG_RP_MSG_PONG = 2,
	MIG_RP_MSG_SWITCHOVER_ACK = 7,
};

int wt_stream_refuse(struct wt_stream *stream, int code, const char *format, ...)
{
	char text[WT_ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return wt_error_set(
		&stream->failure, code, "migration stream, at byte %" PRIu64 ": %s", stream->in.offset, text);
}

int wt_stream_take_pass(struct wt_stream *stream, size_t length)
{
	int rc = stream->events.pass(stream->arg, stream_at(stream), length, &stream->failure);

	if (rc < 0)
		return rc;
	stream_take(stream, length);
	return STREAM_PROGRESS;
}

void wt_stream_printable(const uint8_t *bytes, size_t length, char *ret_text)
{
	size_t i;

	for (i = 0; i < length; i++)
		ret_text[i] = bytes[i] < 0x20 || bytes[i] >= 0x7f ? '?' : (char)bytes[i];
	ret_text[length] = '\0';
}

static int header_step(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);

	if (stream_available(stream) < 8)
		return STREAM_MORE;
	if (stream_be32(p) == WT_MULTIFD_MAGIC)
		return wt_stream_refuse(stream, EPROTO,
			"this is a channel of multifd where the main channel belongs; give multifd a unix socket, exec: has only one channel");
	if (stream_be32(p) != QEMU_VM_FILE_MAGIC)
		return wt_stream_refuse(stream, EPROTO,
			"0x%08" PRIx32 " is not how a migration stream of QEMU begins", stream_be32(p));
	if (stream_be32(p + 4) != QEMU_VM_FILE_VERSION)
		return wt_stream_refuse(stream, EPROTO,
			"the stream has version %" PRIu32 ", %u is understood", stream_be32(p + 4),
			QEMU_VM_FILE_VERSION);
	stream->state = STREAM_TOP;
	return wt_stream_take_pass(stream, 8);
}

/* The configuration section: the machine type's name, then subsections. */
static int config_step(struct wt_stream *stream)
{
	uint32_t length;

	if (stream_available(stream) < 5)
		return STREAM_MORE;
	length = stream_be32(stream_at(stream) + 1);
	if (stream->config_seen || stream->ram_seen)
		return wt_stream_refuse(stream, EPROTO, "a configuration section is out of its place");
	if (length > STREAM_MACHINE_NAME_MAX)
		return wt_stream_refuse(stream, EPROTO,
			"the name of the machine type has %" PRIu32 " bytes, at most %u are accepted", length,
			STREAM_MACHINE_NAME_MAX);
	if (stream_available(stream) < 5 + length)
		return STREAM_MORE;
	stream->config_seen = true;
	stream->state = STREAM_CONFIG_SUB;
	return wt_stream_take_pass(stream, 5 + length);
}

int wt_stream_take_shared(struct wt_stream *stream, size_t length)
{
	if (!stream->shared_strip)
		return wt_stream_take_pass(stream, length);
	stream_take(stream, length);
	return STREAM_PROGRESS;
}

static int config_caps_begin(struct wt_stream *stream, size_t head)
{
	uint32_t count;

	if (stream_available(stream) < head + 4)
		return STREAM_MORE;
	count = stream_be32(stream_at(stream) + head);
	if (count > STREAM_CAPABILITIES_MAX)
		return wt_stream_refuse(stream, EPROTO,
			"the source lists %" PRIu32 " capabilities, at most %u are accepted", count,
			STREAM_CAPABILITIES_MAX);
	stream->caps_left = count;
	stream->state = STREAM_CONFIG_CAPS;
	return wt_stream_take_shared(stream, head + 4);
}

/* After the machine type: 0x05, u8 length, name, be32 version, content; or whatever follows it. */
static int config_sub_step(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);
	char name[256];
	size_t head;

	if (stream_available(stream) < 1)
		return STREAM_MORE;
	if (p[0] != QEMU_VM_SUBSECTION) {
		stream->state = STREAM_TOP;
		return STREAM_PROGRESS;
	}
	if (stream_available(stream) < 2 || stream_available(stream) < 2u + p[1] + 4)
		return STREAM_MORE;
	head = 2u + p[1] + 4;
	wt_stream_printable(p + 2, p[1], name);
	if (!strcmp(name, "configuration/capabilities"))
		return config_caps_begin(stream, head);
	if (!strcmp(name, "configuration/x-uuid")) {
		if (stream_available(stream) < head + 16)
			return STREAM_MORE;
		return wt_stream_take_pass(stream, head + 16);
	}
	if (strcmp(name, "configuration/target-page-bits") != 0)
		return wt_stream_refuse(stream, EPROTO,
			"the configuration has a part '%s' whose length is not known; this QEMU is too new",
			name);
	if (stream_available(stream) < head + 4)
		return STREAM_MORE;
	if (stream_be32(p + head) != WT_PAGE_SHIFT)
		return wt_stream_refuse(stream, EOPNOTSUPP,
			"the guest's pages have 2^%" PRIu32 " bytes; only pages of %u bytes are supported",
			stream_be32(p + head), WT_PAGE_SIZE);
	return wt_stream_take_pass(stream, head + 4);
}

/*
 * One of configuration/capabilities: u8 length, name. QEMU lists here only those that change the stream
 * (x-ignore-shared, mapped-ram) and that are on, so each is refused, but for one that is expected.
 */
static int config_caps_step(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);
	char name[256];

	if (stream->caps_left == 0) {
		stream->state = STREAM_CONFIG_SUB;
		return STREAM_PROGRESS;
	}
	if (stream_available(stream) < 1 || stream_available(stream) < 1u + p[0])
		return STREAM_MORE;
	wt_stream_printable(p + 1, p[0], name);
	if (stream->shared_allowed && !strcmp(name, "x-ignore-shared")) {
		stream->addresses = true;
		stream->caps_left--;
		return wt_stream_take_shared(stream, 1u + p[0]);
	}
	return wt_stream_refuse(stream, EOPNOTSUPP,
		"the source migrates with the capability '%s', which changes what the stream means; turn it off",
		name);
}

/* A start or full section: only RAM may start, nothing may be full, while the end of RAM is ahead. */
static int section_open_step(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);
	const char *hint = "";
	char name[256];
	uint32_t version;

	if (stream_available(stream) < 6 || stream_available(stream) < 6u + p[5] + 8)
		return STREAM_MORE;
	wt_stream_printable(p + 6, p[5], name);
	version = stream_be32(p + 6 + p[5] + 4);
	if (p[0] == QEMU_VM_SECTION_FULL)
		return wt_stream_refuse(stream, EOPNOTSUPP,
			"device '%s' puts its state before RAM, so its end cannot be found; remove it from the guest "
			"(virtio-mem does this)",
			name);
	if (strcmp(name, RAM_SECTION_NAME) != 0) {
		if (!strcmp(name, "dirty-bitmap"))
			hint = "; turn the capability dirty-bitmaps off";
		else if (!strcmp(name, "block"))
			hint = "; turn the capability block off";
		return wt_stream_refuse(stream, EOPNOTSUPP,
			"'%s' has state that is sent piece by piece, only RAM may%s", name, hint);
	}
	if (stream->ram_seen)
		return wt_stream_refuse(stream, EPROTO, "RAM starts a second time");
	if (version != RAM_SECTION_VERSION)
		return wt_stream_refuse(stream, EPROTO,
			"RAM's section has version %" PRIu32 ", %u is understood", version,
			RAM_SECTION_VERSION);
	stream->ram_seen = true;
	stream->ram_section = stream_be32(p + 1);
	stream->section_type = QEMU_VM_SECTION_START;
	stream->state = STREAM_RAM_TOTAL;
	return wt_stream_take_pass(stream, 6u + p[5] + 8);
}

/* A part or end section. What of it stays is written later (stream_part.c). */
static int section_go_on_step(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);

	if (stream_available(stream) < 5)
		return STREAM_MORE;
	if (!stream->ram_seen || stream_be32(p + 1) != stream->ram_section)
		return wt_stream_refuse(
			stream, EPROTO, "section %" PRIu32 " goes on, but never started", stream_be32(p + 1));
	stream->section_type = p[0];
	stream->state = STREAM_RAM_PAGES;
	stream_take(stream, 5);
	return STREAM_PROGRESS;
}

static int refuse_command(struct wt_stream *stream, uint32_t command)
{
	switch (command) {
	case MIG_CMD_POSTCOPY_ADVISE:
	case MIG_CMD_POSTCOPY_LISTEN:
	case MIG_CMD_POSTCOPY_RUN:
	case MIG_CMD_POSTCOPY_RAM_DISCARD:
	case MIG_CMD_PACKAGED:
	case MIG_CMD_POSTCOPY_RESUME:
	case MIG_CMD_RECV_BITMAP:
		return wt_stream_refuse(stream, EOPNOTSUPP,
			"the source sends a postcopy command (%" PRIu32
			"); turn the capability postcopy-ram off",
			command);
	case MIG_CMD_ENABLE_COLO:
		return wt_stream_refuse(
			stream, EOPNOTSUPP, "the source asks for COLO; turn the capability x-colo off");
	default:
		return wt_stream_refuse(stream, EPROTO,
			"the source sends command %" PRIu32 ", which is not known; this QEMU is too new",
			command);
	}
}

/* 0x08, be16 command, be16 length, payload. */
static int command_step(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);
	uint32_t command, length, expected;
	int rc;

	if (stream_available(stream) < 5)
		return STREAM_MORE;
	command = stream_be16(p + 1);
	length = stream_be16(p + 3);
	if (command != MIG_CMD_OPEN_RETURN_PATH && command != MIG_CMD_PING &&
		command != MIG_CMD_SWITCHOVER_START)
		return refuse_command(stream, command);
	expected = command == MIG_CMD_PING ? 4 : 0;
	if (length != expected)
		return wt_stream_refuse(stream, EPROTO,
			"command %" PRIu32 " has %" PRIu32 " bytes, %" PRIu32 " belong to it", command,
			length, expected);
	if (stream_available(stream) < 5 + length)
		return STREAM_MORE;
	if (command == MIG_CMD_SWITCHOVER_START)
		return wt_stream_take_pass(stream, 5);
	if (command == MIG_CMD_PING)
		rc = stream->events.ping(stream->arg, stream_be32(p + 5), &stream->failure);
	else
		rc = stream->events.open_return_path(stream->arg, &stream->failure);
	if (rc < 0)
		return rc;
	stream_take(stream, 5 + length);
	return STREAM_PROGRESS;
}

static int top_step(struct wt_stream *stream)
{
	if (stream_available(stream) < 1)
		return STREAM_MORE;
	switch (*stream_at(stream)) {
	case QEMU_VM_CONFIGURATION:
		return config_step(stream);
	case QEMU_VM_SECTION_START:
	case QEMU_VM_SECTION_FULL:
		return section_open_step(stream);
	case QEMU_VM_SECTION_PART:
	case QEMU_VM_SECTION_END:
		return section_go_on_step(stream);
	case QEMU_VM_COMMAND:
		return command_step(stream);
	case QEMU_VM_EOF:
	case QEMU_VM_VMDESCRIPTION:
		return wt_stream_refuse(stream, EPROTO,
			"the stream ends before RAM's end section; see query-migrate at the source");
	default:
		return wt_stream_refuse(stream, EPROTO, "0x%02x begins no section", *stream_at(stream));
	}
}

/* 0x7e, be32 section id: the end of a RAM section. Only that of the end section is still to be passed on. */
static int footer_step(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);
	int rc = 0;

	if (stream_available(stream) < 1)
		return STREAM_MORE;
	if (p[0] != QEMU_VM_SECTION_FOOTER)
		return wt_stream_refuse(stream, EPROTO,
			"0x%02x where a section's footer belongs; machine types before 2.4 have none and are not supported",
			p[0]);
	if (stream_available(stream) < 5)
		return STREAM_MORE;
	if (stream_be32(p + 1) != stream->ram_section)
		return wt_stream_refuse(stream, EPROTO,
			"the footer of section %" PRIu32 " closes section %" PRIu32, stream_be32(p + 1),
			stream->ram_section);
	if (stream->section_type == QEMU_VM_SECTION_END)
		rc = stream->events.pass(stream->arg, p, 5, &stream->failure);
	if (rc < 0)
		return rc;
	stream_take(stream, 5);
	stream->state = STREAM_TOP;
	if (stream->section_type == QEMU_VM_SECTION_PART) {
		rc = stream->events.ram_part(stream->arg, &stream->failure);
	} else if (stream->section_type == QEMU_VM_SECTION_END) {
		stream->state = STREAM_PASS;
		stream->ram_ended = true;
		rc = stream->events.ram_end(stream->arg, &stream->failure);
	}
	return rc < 0 ? rc : STREAM_PROGRESS;
}

static int stream_step(struct wt_stream *stream)
{
	switch (stream->state) {
	case STREAM_HEADER:
		return header_step(stream);
	case STREAM_TOP:
		return top_step(stream);
	case STREAM_CONFIG_SUB:
		return config_sub_step(stream);
	case STREAM_CONFIG_CAPS:
		return config_caps_step(stream);
	case STREAM_FOOTER:
		return footer_step(stream);
	case STREAM_PASS:
		return stream_available(stream) ? wt_stream_take_pass(stream, stream_available(stream))
						: STREAM_MORE;
	default:
		return wt_stream_ram_step(stream);
	}
}

int wt_stream_stop(struct wt_stream *stream, int rc, struct wt_error *err)
{
	if (!stream->status) {
		stream->status = rc;
		wt_stream_refuse(stream, -rc, "could not be handed on: %s", strerror(-rc));
	}
	wt_error_set(err, stream->failure.code, "%s", stream->failure.text);
	return stream->status;
}

int wt_stream_input_open(struct stream_input *in)
{
	in->buffer = malloc(WT_LIMIT_STREAM_BYTES);
	return in->buffer ? 0 : -ENOMEM;
}

int wt_stream_open(const struct wt_stream_events *events, void *arg, struct wt_stream **ret_stream)
{
	struct wt_stream *stream = calloc(1, sizeof *stream);

	if (!stream)
		return -ENOMEM;
	stream->blocks = calloc(WT_BLOCKS_MAX, sizeof *stream->blocks);
	if (wt_stream_input_open(&stream->in) || !stream->blocks) {
		wt_stream_close(stream);
		return -ENOMEM;
	}
	stream->events = *events;
	stream->arg = arg;
	stream->state = STREAM_HEADER;
	stream->block = STREAM_NO_BLOCK;
	*ret_stream = stream;
	return 0;
}

void wt_stream_close(struct wt_stream *stream)
{
	if (!stream)
		return;
	assert(!stream->channel_count);
	for (size_t i = 0; i < stream->kept.count; i++)
		free(stream->kept.list[i].bytes);
	free(stream->kept.list);
	free(stream->blocks);
	free(stream->in.buffer);
	free(stream);
}

void wt_stream_input_room(struct stream_input *in, uint8_t **ret_buffer, size_t *ret_room)
{
	size_t left = input_available(in);

	if (left == 0) {
		in->pos = 0;
		in->fill = 0;
	} else if (WT_LIMIT_STREAM_BYTES - in->fill < STREAM_ROOM_MIN) {
		memmove(in->buffer, input_at(in), left);
		in->pos = 0;
		in->fill = left;
	}
	*ret_buffer = in->buffer + in->fill;
	*ret_room = WT_LIMIT_STREAM_BYTES - in->fill;
}

void wt_stream_allow_shared(struct wt_stream *stream, bool strip)
{
	stream->shared_allowed = true;
	stream->shared_strip = strip;
}

void wt_stream_buffer(struct wt_stream *stream, uint8_t **ret_buffer, size_t *ret_room)
{
	if (stream->status)
		stream->in.pos = stream->in.fill; /* nobody will look at it */
	assert(stream->wait == WT_STREAM_WAIT_INPUT);
	wt_stream_input_room(&stream->in, ret_buffer, ret_room);
}

int wt_stream_advance(struct wt_stream *stream, size_t length, struct wt_error *err)
{
	int rc;

	assert(length <= WT_LIMIT_STREAM_BYTES - stream->in.fill);
	assert(!length || stream->wait == WT_STREAM_WAIT_INPUT);
	stream->wait = WT_STREAM_WAIT_INPUT;
	if (stream->status)
		return wt_stream_stop(stream, stream->status, err);
	stream->in.fill += length;
	do
		rc = stream_step(stream);
	while (rc == STREAM_PROGRESS);
	if (rc < 0)
		return wt_stream_stop(stream, rc, err);
	stream->wait = stream_wait_of(rc);
	return 0;
}

enum wt_stream_wait wt_stream_waits(const struct wt_stream *stream)
{
	return stream->wait;
}

int wt_stream_finish(struct wt_stream *stream, struct wt_error *err)
{
	int rc;

	if (stream->status)
		return wt_stream_stop(stream, stream->status, err);
	if (stream->ram_ended)
		return 0;
	rc = wt_stream_refuse(stream, EPROTO,
		"the input ended before RAM's end section: the source's QEMU gave up, was cancelled or died; "
		"see query-migrate there");
	return wt_stream_stop(stream, rc, err);
}

uint64_t wt_stream_offset(const struct wt_stream *stream)
{
	return stream->in.offset;
}

void wt_stream_block_absent(struct wt_stream *stream, uint32_t index)
{
	stream->blocks[index].absent = true;
}

void wt_stream_absent(struct wt_stream *stream)
{
	assert(!stream->in.offset);
	stream->in.absent = true;
}

uint64_t wt_stream_absent_bytes(const struct wt_stream *stream)
{
	return stream->in.absent_bytes;
}

uint32_t wt_stream_block_count(const struct wt_stream *stream)
{
	return stream->block_count;
}

bool wt_stream_ram_ended(const struct wt_stream *stream)
{
	return stream->ram_ended;
}

/* be16 type, be16 length, and mostly be32 value */
static size_t return_path_message(uint8_t *ret_bytes, uint8_t type, const uint32_t *value)
{
	const uint8_t head[4] = { 0, type, 0, value ? sizeof *value : 0 };
	uint32_t big = value ? htobe32(*value) : 0;

	memcpy(ret_bytes, head, sizeof head);
	memcpy(ret_bytes + sizeof head, &big, head[3]);
	return sizeof head + head[3];
}

size_t wt_return_path_pong(uint8_t *ret_bytes, uint32_t value)
{
	return return_path_message(ret_bytes, MIG_RP_MSG_PONG, &value);
}

size_t wt_return_path_shut(uint8_t *ret_bytes, uint32_t value)
{
	return return_path_message(ret_bytes, MIG_RP_MSG_SHUT, &value);
}

size_t wt_return_path_switchover_ack(uint8_t *ret_bytes)
{
	return return_path_message(ret_bytes, MIG_RP_MSG_SWITCHOVER_ACK, NULL);
}
