/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.c - the session protocol. See session.h.
 *
 * Retained messages form a list, oldest first, each in wire form behind its frame header, so that sending
 * again is writing again (only the header's ack is renewed). Input gathers one frame at a time in `frame`.
 */
#include "session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ACK_AFTER_BYTES (1u << 20) /* acknowledge at once after so much input */

struct retained {
	struct retained *next;
	uint64_t number;
	unsigned type;
	size_t length;   /* payload */
	uint8_t bytes[]; /* header and payload */
};

enum phase {
	PHASE_DOWN,         /* no connection */
	PHASE_WELCOME_WAIT, /* connector: hello sent */
	PHASE_UP,
};

struct wt_session {
	bool connector;
	uint8_t id[WT_SESSION_ID_BYTES];
	char name[WT_SESSION_NAME_MAX + 1];
	const struct wt_session_events *events;
	void *arg;

	enum phase phase;
	uint64_t sent;     /* highest number given */
	uint64_t received; /* highest number delivered */
	size_t unacked_bytes;
	bool ack_now; /* a message of the application came: it may be the last one, and be waited for */
	uint64_t said_ns, heard_ns;

	struct retained *head, **tail;
	size_t retained_bytes;

	size_t gathered; /* bytes of the current hello, welcome, or frame in `frame` */
	uint8_t frame[WT_WIRE_FRAME_HEADER + WT_WIRE_PAYLOAD_MAX];
};

int wt_session_open(bool connector, const uint8_t id[WT_SESSION_ID_BYTES], const char *name,
	const struct wt_session_events *events, void *arg, struct wt_session **ret_session)
{
	struct wt_session *s = calloc(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	assert(strlen(name) <= WT_SESSION_NAME_MAX);
	s->connector = connector;
	memcpy(s->id, id, sizeof s->id);
	strcpy(s->name, name);
	s->events = events;
	s->arg = arg;
	s->tail = &s->head;
	*ret_session = s;
	return 0;
}

void wt_session_close(struct wt_session *s)
{
	if (!s)
		return;
	while (s->head) {
		struct retained *next = s->head->next;

		free(s->head);
		s->head = next;
	}
	free(s);
}

void wt_session_connect(struct wt_session *s, uint64_t now_ns)
{
	struct wt_hello hello = {
		.version_min = WT_WIRE_VERSION, .version_max = WT_WIRE_VERSION, .received = s->received
	};
	uint8_t bytes[WT_WIRE_HELLO_BYTES];

	assert(s->connector);
	memcpy(hello.session_id, s->id, sizeof s->id);
	strcpy(hello.name, s->name);
	wt_wire_hello_encode(&hello, bytes);
	s->phase = PHASE_WELCOME_WAIT;
	s->gathered = 0;
	s->heard_ns = s->said_ns = now_ns;
	s->events->output(s->arg, bytes, sizeof bytes);
}

static void forget(struct wt_session *s, uint64_t acked)
{
	while (s->head && s->head->number <= acked) {
		struct retained *old = s->head;

		s->head = old->next;
		if (!s->head)
			s->tail = &s->head;
		s->retained_bytes -= old->length + WT_WIRE_FRAME_HEADER;
		free(old);
	}
}

static void put_frame(struct wt_session *s, struct retained *message, uint64_t now_ns)
{
	struct wt_frame frame = { .length = (uint32_t)message->length,
		.type = (uint16_t)message->type,
		.number = message->number,
		.ack = s->received };

	wt_wire_frame_encode(&frame, message->bytes);
	s->unacked_bytes = 0;
	s->ack_now = false;
	s->said_ns = now_ns;
	s->events->output(s->arg, message->bytes, WT_WIRE_FRAME_HEADER + message->length);
}

/* Can the session go on from what the other side has received? */
static int check_fit(const struct wt_session *s, uint64_t peer_received, struct wt_error *err)
{
	uint64_t oldest = s->head ? s->head->number : s->sent + 1;

	if (peer_received > s->sent || peer_received + 1 < oldest)
		return wt_error_set(err, ECONNABORTED,
			"this session cannot go on: %llu messages were received of those that are still here, %llu to %llu; "
			"start again",
			(unsigned long long)peer_received, (unsigned long long)oldest,
			(unsigned long long)s->sent);
	return 0;
}

static void go_up(struct wt_session *s, uint64_t peer_received, uint64_t now_ns)
{
	forget(s, peer_received);
	s->phase = PHASE_UP;
	for (struct retained *message = s->head; message; message = message->next)
		put_frame(s, message, now_ns);
	if (s->events->up)
		s->events->up(s->arg);
}

int wt_session_accept(
	struct wt_session *s, const struct wt_hello *hello, uint64_t now_ns, struct wt_error *err)
{
	struct wt_welcome welcome = { .version = WT_WIRE_VERSION, .received = s->received };
	uint8_t bytes[WT_WIRE_WELCOME_BYTES];
	int r;

	assert(!s->connector);
	if (memcmp(hello->session_id, s->id, sizeof s->id) != 0)
		return wt_error_set(err, EPROTO, "hello of another session");
	r = check_fit(s, hello->received, err);
	if (r) {
		wt_session_refusal(wt_error_text(err), bytes);
		s->events->output(s->arg, bytes, sizeof bytes);
		return r;
	}
	s->gathered = 0;
	s->heard_ns = s->said_ns = now_ns;
	wt_wire_welcome_encode(&welcome, bytes);
	s->events->output(s->arg, bytes, sizeof bytes);
	go_up(s, hello->received, now_ns);
	return 0;
}

void wt_session_disconnect(struct wt_session *s)
{
	s->phase = PHASE_DOWN;
	s->gathered = 0;
}

bool wt_session_is_up(const struct wt_session *s)
{
	return s->phase == PHASE_UP;
}

bool wt_session_is_down(const struct wt_session *s)
{
	return s->phase == PHASE_DOWN;
}

static int take_welcome(struct wt_session *s, uint64_t now_ns, struct wt_error *err)
{
	struct wt_welcome welcome;
	int r;

	if (wt_wire_welcome_decode(s->frame, &welcome))
		return wt_error_set(
			err, EPROTO, "the peer does not speak watari's protocol; check host and port");
	if (welcome.version == 0)
		return wt_error_set(err, ECONNABORTED, "the peer refuses: %s", welcome.text);
	if (welcome.version != WT_WIRE_VERSION)
		return wt_error_set(err, ECONNABORTED,
			"the peer speaks version %u of the protocol, this one speaks %u; install the same watari",
			welcome.version, WT_WIRE_VERSION);
	r = check_fit(s, welcome.received, err);
	if (!r)
		go_up(s, welcome.received, now_ns);
	return r;
}

static int take_frame(struct wt_session *s, const struct wt_frame *frame, struct wt_error *err)
{
	if (frame->ack > s->sent)
		return wt_error_set(err, EPROTO, "the peer acknowledges messages that were never sent");
	forget(s, frame->ack);
	if (frame->type == WT_MESSAGE_KEEPALIVE)
		return 0;
	if (frame->type == WT_MESSAGE_BYE)
		return wt_error_set(err, ECONNABORTED, "the peer gave up: %.*s",
			(int)(frame->length < 400 ? frame->length : 400),
			(const char *)s->frame + WT_WIRE_FRAME_HEADER);
	if (frame->number != s->received + 1)
		return wt_error_set(err, EPROTO, "message %llu arrived where %llu was due",
			(unsigned long long)frame->number, (unsigned long long)s->received + 1);
	s->received++;
	s->unacked_bytes += frame->length + WT_WIRE_FRAME_HEADER;
	s->ack_now |= frame->type >= WT_MESSAGE_APPLICATION;
	return s->events->message(s->arg, frame->type, s->frame + WT_WIRE_FRAME_HEADER, frame->length, err);
}

/* How many bytes the unit that is being gathered has in all, as far as known. */
static int unit_bytes(
	struct wt_session *s, struct wt_frame *ret_frame, size_t *ret_bytes, struct wt_error *err)
{
	*ret_bytes = WT_WIRE_FRAME_HEADER;
	if (s->phase == PHASE_WELCOME_WAIT)
		*ret_bytes = WT_WIRE_WELCOME_BYTES;
	else if (s->gathered >= WT_WIRE_FRAME_HEADER) {
		if (wt_wire_frame_decode(s->frame, ret_frame))
			return wt_error_set(err, EPROTO, "a frame from the peer is malformed");
		*ret_bytes += ret_frame->length;
	}
	return 0;
}

static void put_keepalive(struct wt_session *s, uint64_t now_ns)
{
	struct wt_frame frame = { .type = WT_MESSAGE_KEEPALIVE, .ack = s->received };
	uint8_t bytes[WT_WIRE_FRAME_HEADER];

	wt_wire_frame_encode(&frame, bytes);
	s->unacked_bytes = 0;
	s->ack_now = false;
	s->said_ns = now_ns;
	s->events->output(s->arg, bytes, sizeof bytes);
}

int wt_session_input(
	struct wt_session *s, const uint8_t *bytes, size_t length, uint64_t now_ns, struct wt_error *err)
{
	s->heard_ns = now_ns;
	while (s->phase != PHASE_DOWN) {
		struct wt_frame frame = { 0 };
		size_t unit, n;
		int r = unit_bytes(s, &frame, &unit, err);

		if (r)
			return r;
		if (s->gathered == unit && (s->phase == PHASE_WELCOME_WAIT || frame.type)) {
			s->gathered = 0;
			r = s->phase == PHASE_WELCOME_WAIT ? take_welcome(s, now_ns, err)
							   : take_frame(s, &frame, err);
			if (r)
				return r;
			continue;
		}
		n = unit - s->gathered < length ? unit - s->gathered : length;
		if (!n)
			break;
		memcpy(s->frame + s->gathered, bytes, n);
		s->gathered += n;
		bytes += n;
		length -= n;
	}
	if (s->unacked_bytes >= ACK_AFTER_BYTES || (s->ack_now && s->unacked_bytes))
		put_keepalive(s, now_ns);
	return 0;
}

int wt_session_send(struct wt_session *s, unsigned type, const void *payload, size_t length, uint64_t now_ns)
{
	struct retained *message;

	assert(length <= WT_WIRE_PAYLOAD_MAX);
	if (s->retained_bytes >= WT_SESSION_RETAINED_MAX)
		return -EAGAIN;
	message = malloc(sizeof *message + WT_WIRE_FRAME_HEADER + length);
	if (!message)
		return -ENOMEM;
	message->next = NULL;
	message->number = ++s->sent;
	message->type = type;
	message->length = length;
	if (length)
		memcpy(message->bytes + WT_WIRE_FRAME_HEADER, payload, length);
	*s->tail = message;
	s->tail = &message->next;
	s->retained_bytes += length + WT_WIRE_FRAME_HEADER;
	if (s->phase == PHASE_UP)
		put_frame(s, message, now_ns);
	return 0;
}

void wt_session_tick(struct wt_session *s, uint64_t now_ns)
{
	if (s->phase == PHASE_UP && now_ns - s->said_ns >= WT_SESSION_KEEPALIVE_NS)
		put_keepalive(s, now_ns);
}

void wt_session_bye(struct wt_session *s, const char *text)
{
	struct wt_frame frame = {
		.type = WT_MESSAGE_BYE, .ack = s->received, .length = (uint32_t)strlen(text)
	};
	uint8_t bytes[WT_WIRE_FRAME_HEADER];

	if (s->phase != PHASE_UP)
		return;
	wt_wire_frame_encode(&frame, bytes);
	s->events->output(s->arg, bytes, sizeof bytes);
	s->events->output(s->arg, text, frame.length);
}

uint64_t wt_session_heard_ns(const struct wt_session *s)
{
	return s->heard_ns;
}

size_t wt_session_retained(const struct wt_session *s)
{
	return s->retained_bytes;
}

bool wt_session_owes_word(const struct wt_session *s)
{
	const struct retained *message = s->head;

	while (message && message->type < WT_MESSAGE_APPLICATION)
		message = message->next;
	return message != NULL;
}

const uint8_t *wt_session_id(const struct wt_session *s)
{
	return s->id;
}

void wt_session_refusal(const char *text, uint8_t ret_bytes[WT_WIRE_WELCOME_BYTES])
{
	struct wt_welcome welcome = { 0 };

	strncpy(welcome.text, text, sizeof welcome.text - 1);
	wt_wire_welcome_encode(&welcome, ret_bytes);
}
