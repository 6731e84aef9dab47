/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_source.c - a source relay without QMP: QEMU's stream, page server and state machine tied together. See
 * uri_source.h.
 *
 * Like source.c: events in, actions out; the order is that of uri_source_switch.h. Guest RAM is known when
 * the stream has listed its blocks: those of main memory are looked for in QEMU's memory; one that is not
 * found is copied out of the stream (staged). Nobody can tell without QMP whether RAM may be discarded, so it
 * is never pinned: verbs serves copies.
 */
#include "uri_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "messages.h"
#include "printable.h"
#include "relay_peer.h"
#include "sabotage.h"
#include "uri_source_internal.h"
#include "verify.h"

#define POLL_NS 20000000ull
#define LINGER_NS 1000000000ull
#define ACCEPT_NS 30000000000ull
#define VERIFY_NS 600000000000ull /* what comparing all of RAM may add to the switchover */

static void feed_event(struct wt_uri_source *s, enum wt_uri_source_event event);

void wt_uri_source_trouble(struct wt_uri_source *s, const struct wt_error *err)
{
	if (!s->failure.code)
		s->failure = *err;
	feed_event(s, WT_URI_SOURCE_EV_TROUBLE);
}

/* ---- actions ---- */

static void deadline_fired(void *arg, uint64_t now_ns)
{
	struct wt_uri_source *s = arg;

	if (s->machine.state == WT_URI_SOURCE_CONNECTING)
		wt_error_set(&s->failure, ETIMEDOUT, "the destination did not accept the guest within 30 s");
	else if (s->machine.state == WT_URI_SOURCE_STOPPED)
		wt_error_set(&s->failure, ETIMEDOUT,
			"the destination had not got everything %" PRIu64
			" ms after the end of RAM: QEMU broke its stream off, or the link is slow (see --switchover-timeout)",
			s->options->switchover_timeout_ns / 1000000);
	else
		wt_error_set(&s->failure, ETIMEDOUT, "%s",
			s->machine.state == WT_URI_SOURCE_COMMITTING
				? "QEMU does not close its stream"
				: "the destination did not confirm that it has loaded the guest");
	feed_event(s, WT_URI_SOURCE_EV_DEADLINE);
}

static void set_deadline(struct wt_uri_source *s, uint64_t delay_ns)
{
	wt_loop_timer_set(
		s->relay.loop, &s->deadline, wt_loop_now_ns(s->relay.loop) + delay_ns, deadline_fired, s);
}

static void poll_fired(void *arg, uint64_t now_ns)
{
	struct wt_uri_source *s = arg;

	wt_loop_timer_set(s->relay.loop, &s->poll, now_ns + POLL_NS, poll_fired, s);
	if (s->machine.state == WT_URI_SOURCE_STOPPED && s->machine.ready && s->machine.return_path &&
		wt_outgoing_shut(s->outgoing))
		feed_event(s, WT_URI_SOURCE_EV_SHUT_TAKEN);
	else if (s->machine.state == WT_URI_SOURCE_STREAMING || s->machine.state == WT_URI_SOURCE_STOPPED)
		wt_outgoing_pump(s->outgoing);
}

static struct wt_relay_guest describe_guest(const struct wt_uri_source *s)
{
	return (struct wt_relay_guest){ .flags = WT_RELAY_GUEST_URI |
						 (s->options->verify ? WT_RELAY_GUEST_VERIFY : 0) };
}

static void do_start(struct wt_uri_source *s)
{
	struct wt_relay_guest guest = describe_guest(s);

	wt_loop_timer_clear(s->relay.loop, &s->deadline);
	wt_server_send(s->server, WT_RELAY_GUEST, &guest, sizeof guest);
	wt_outgoing_start(s->outgoing, s->server);
	wt_loop_timer_set(s->relay.loop, &s->poll, wt_loop_now_ns(s->relay.loop) + POLL_NS, poll_fired, s);
	wt_report_event(&s->relay.report, "migrating", NULL, "the guest's memory is on its way");
}

static void carry_out(struct wt_uri_source *s, unsigned actions)
{
	struct wt_relay_guest guest = describe_guest(s);
	const char *why = wt_error_text(&s->failure);

	if (actions & WT_URI_SOURCE_DO_START)
		do_start(s);
	if (actions & WT_URI_SOURCE_DO_SWITCH_DEADLINE) {
		s->stop_ns = wt_report_now_ns();
		set_deadline(s, s->options->switchover_timeout_ns + (s->options->verify ? VERIFY_NS : 0));
	}
	if (actions & WT_URI_SOURCE_DO_SEND_SHUT)
		wt_loop_timer_set(s->relay.loop, &s->poll, wt_loop_now_ns(s->relay.loop), poll_fired, s);
	if (actions & WT_URI_SOURCE_DO_SEND_COMMIT)
		wt_server_send(s->server, WT_RELAY_COMMIT, &guest, sizeof guest);
	if (actions & WT_URI_SOURCE_DO_HANG_UP)
		wt_outgoing_hang_up(s->outgoing);
	if (actions & WT_URI_SOURCE_DO_SEND_ABORT && s->server)
		wt_server_send(s->server, WT_RELAY_ABORT, why, strlen(why));
	if (actions & WT_URI_SOURCE_DO_CONFIRM_DEADLINE)
		set_deadline(s, s->options->confirm_timeout_ns);
	if (actions & WT_URI_SOURCE_DO_FINISH)
		wt_loop_stop(s->relay.loop, 0);
}

static void feed_event(struct wt_uri_source *s, enum wt_uri_source_event event)
{
	enum wt_uri_source_state before = s->machine.state;
	unsigned actions = wt_uri_source_switch_step(&s->machine, event);
	const char *name = wt_uri_source_state_name(s->machine.state);

	if (s->machine.state == before) {
		carry_out(s, actions);
		return;
	}
	wt_report_event(&s->relay.report, "state", json_pack("{s:s}", "state", name), NULL);
	wt_sabotage_before(name);
	carry_out(s, actions);
	wt_sabotage_after(name);
}

/* ---- the destination's word ---- */

static int answer_digest(struct wt_uri_source *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_relay_digest answer;

	if (s->machine.state != WT_URI_SOURCE_STOPPED ||
		wt_verify_answer(s->served, payload, length, &answer))
		return wt_error_set(err, EPROTO, "the destination asks for a digest that makes no sense");
	return wt_server_send(s->server, WT_RELAY_DIGEST_ANSWER, &answer, sizeof answer);
}

static void destination_failed(
	struct wt_uri_source *s, enum wt_uri_source_event event, const uint8_t *payload, size_t length)
{
	char text[WT_PRINTABLE_MAX];

	wt_error_set(&s->failure, EIO, "the destination failed: %s",
		wt_printable(payload, length, text, sizeof text));
	feed_event(s, event);
}

static int server_message(
	void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_uri_source *s = arg;

	switch (type) {
	case WT_RELAY_READY:
		feed_event(s, WT_URI_SOURCE_EV_READY);
		return 0;
	case WT_RELAY_RUNNING:
		s->end_ns = wt_report_now_ns();
		json_decref(s->destination_facts);
		s->destination_facts = json_loadb((const char *)payload, length, 0, NULL);
		feed_event(s, WT_URI_SOURCE_EV_RUNS);
		return 0;
	case WT_RELAY_FAILED:
		destination_failed(s, WT_URI_SOURCE_EV_UNRUN, payload, length);
		return 0;
	case WT_RELAY_STRANDED:
		destination_failed(s, WT_URI_SOURCE_EV_TROUBLE, payload, length);
		return 0;
	case WT_RELAY_DIGEST_ASK:
		return answer_digest(s, payload, length, err);
	default:
		return wt_error_set(err, EPROTO, "the destination sent a message of unknown type %u", type);
	}
}

static void server_ready(void *arg)
{
	struct wt_uri_source *s = arg;

	wt_relay_told_paths(&s->relay, s->server);
	feed_event(s, WT_URI_SOURCE_EV_ACCEPTED);
}

static void server_room(void *arg)
{
	struct wt_uri_source *s = arg;

	if (s->machine.state == WT_URI_SOURCE_STREAMING || s->machine.state == WT_URI_SOURCE_STOPPED)
		wt_outgoing_pump(s->outgoing);
}

static void server_lost(void *arg, const struct wt_error *err)
{
	struct wt_uri_source *s = arg;

	if (s->machine.state < WT_URI_SOURCE_DONE)
		wt_relay_told_lost(&s->relay, err);
}

static void server_back(void *arg)
{
	struct wt_uri_source *s = arg;

	wt_relay_told_back(&s->relay);
	server_room(s);
}

static void server_failed(void *arg, const struct wt_error *err)
{
	struct wt_error said = wt_printable_error(err);

	wt_uri_source_trouble(arg, &said);
}

static void server_note(void *arg, const char *note)
{
	wt_relay_told_note(&((struct wt_uri_source *)arg)->relay, note);
}

static const struct wt_server_events server_events = {
	.ready = server_ready,
	.room = server_room,
	.message = server_message,
	.lost = server_lost,
	.back = server_back,
	.failed = server_failed,
	.note = server_note,
};

/* ---- QEMU's stream ---- */

static int open_server(struct wt_uri_source *s, struct wt_error *err)
{
	const struct wt_uri_source_options *o = s->options;
	struct wt_server_config config = wt_relay_server_config(&s->relay, &o->common, &o->peer);
	int r = wt_memory_open(&s->memory, err);

	if (r)
		return r;
	config.memory = s->memory;
	config.paths = o->paths;
	config.may_discard = true; /* nobody can be asked */
	s->start_ns = wt_report_now_ns();
	if (!s->search.pid)
		s->search.pid = o->listen_path ? wt_outgoing_pid(s->outgoing) : wt_ram_search_ancestor();
	return wt_server_open(s->relay.loop, &config, &server_events, s, &s->server, err);
}

/* Finds a block of main memory; NULL: its pages are copied out of the stream. */
static int find_block(struct wt_uri_source *s, const char *name, uint64_t length,
	struct wt_ram_block **ret_block, struct wt_error *err)
{
	struct wt_error why = { 0 };
	char text[WT_ERROR_TEXT_MAX + 64];
	int r = wt_ram_search_block(&s->search, name, length, ret_block, &why);

	if (!r)
		return 0;
	if (r == -EINVAL || r == -ENOMEM || s->options->verify)
		return wt_error_set(err, -r, "%s%s", wt_error_text(&why),
			s->options->verify ? "; --verify needs it" : "");
	snprintf(text, sizeof text, "block %s is copied out of the stream: %s", name, wt_error_text(&why));
	wt_relay_told_note(&s->relay, text);
	*ret_block = NULL;
	return 0;
}

static int add_block(struct wt_uri_source *s, const char *name, uint64_t length, struct wt_ram_block *block,
	int *ret_number, struct wt_error *err)
{
	int number = wt_memory_block_add(s->memory, name, block ? block->base : NULL, length,
		block ? block->fd : -1, block ? block->fd_offset : 0, err);
	void *grown;

	if (number < 0)
		return number;
	grown = reallocarray(s->served, (size_t)number + 2, sizeof *s->served);
	if (!grown)
		return wt_error_set(err, ENOMEM, "no memory for block %s", name);
	s->served = grown;
	s->served[number] = block;
	s->served[number + 1] = NULL;
	s->ram_bytes += length;
	*ret_number = number;
	return 0;
}

static bool is_named(const struct wt_uri_source *s, const char *name)
{
	for (unsigned i = 0; i < s->search.hint_count; i++)
		if (strcmp(s->search.hints[i].name, name) == 0)
			return true;
	return false;
}

static int stream_block(void *arg, const char *name, uint64_t length, int *ret_number,
	const uint8_t **ret_base, struct wt_error *err)
{
	struct wt_uri_source *s = arg;
	struct wt_ram_block *block = NULL;
	int r = 0;

	if (!wt_ram_is_main(name, length) && !is_named(s, name))
		return 0;
	if (!s->server)
		r = open_server(s, err);
	if (!r)
		r = find_block(s, name, length, &block, err);
	if (!r)
		r = add_block(s, name, length, block, ret_number, err);
	if (!r && block)
		*ret_base = block->base;
	return r;
}

static int stream_blocks_end(void *arg, struct wt_error *err)
{
	struct wt_uri_source *s = arg;

	if (!s->server)
		return wt_error_set(
			err, ENOENT, "QEMU's stream lists no main memory; name it with --ram ID=PATH");
	set_deadline(s, ACCEPT_NS);
	return wt_server_start(s->server, err);
}

static void stream_stopped(void *arg)
{
	struct wt_uri_source *s = arg;

	s->machine.return_path = wt_outgoing_has_return_path(s->outgoing);
	feed_event(s, WT_URI_SOURCE_EV_GUEST_STOPPED);
}

static void stream_ended(void *arg)
{
	struct wt_uri_source *s = arg;

	if (s->machine.state == WT_URI_SOURCE_STOPPED && s->machine.return_path)
		wt_error_set(&s->failure, EIO, "QEMU has given up the migration");
	feed_event(s, WT_URI_SOURCE_EV_ENDED);
}

/* With a return path QEMU pings first of all. Over a pipe a cancel in that wait could not be told from the
 * end. */
static void stream_trouble(void *arg, const struct wt_error *err)
{
	struct wt_uri_source *s = arg;

	if (!s->options->listen_path && wt_outgoing_has_return_path(s->outgoing))
		wt_error_set(&s->failure, EPERM,
			"QEMU's migration capability return-path is on, which cannot be used over exec; switch it off, or use "
			"watari relay");
	wt_uri_source_trouble(s, err);
}

static const struct wt_outgoing_events outgoing_events = {
	.block = stream_block,
	.blocks_end = stream_blocks_end,
	.guest_stopped = stream_stopped,
	.ended = stream_ended,
	.trouble = stream_trouble,
};

/* Standard input becomes the stream. */
static int take_input(struct wt_uri_source *s, struct wt_error *err)
{
	struct stat file;
	int fd, null;

	if (fstat(STDIN_FILENO, &file) || !(S_ISFIFO(file.st_mode) || S_ISSOCK(file.st_mode)))
		return wt_error_set(err, ENOTSOCK,
			"standard input is no pipe from a QEMU; give --qmp SOCKET, or start this by QEMU: migrate \"exec:watari "
			"send ...\"");
	fd = dup(STDIN_FILENO);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0)
		return wt_error_set(err, errno, "standard input cannot be taken: %s", strerror(errno));
	close(null);
	return wt_outgoing_take(s->outgoing, fd, err);
}

/* ---- beginning and end ---- */

static void signalled(void *arg, const char *signal_name)
{
	struct wt_uri_source *s = arg;
	struct wt_error err = { 0 };

	s->over = true;
	wt_error_set(&err, ECANCELED, "cancelled by %s", signal_name);
	wt_uri_source_trouble(s, &err);
}

/* A socket that a killed relay left behind; one on which somebody listens stays. */
static void remove_stale(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) && errno == ECONNREFUSED)
		unlink(path);
	if (fd >= 0)
		close(fd);
}

static int start(struct wt_uri_source *s, struct wt_error *err)
{
	const struct wt_uri_source_options *o = s->options;
	char text[160];
	int r;

	s->search = (struct wt_ram_search){ .pid = o->pid, .hints = o->hints, .hint_count = o->hint_count };
	r = wt_relay_open(&s->relay, &o->common, NULL, signalled, wt_uri_source_commands, s, err);
	if (!r)
		r = wt_outgoing_open(s->relay.loop, &outgoing_events, s, &s->outgoing, err);
	if (o->listen_path)
		remove_stale(o->listen_path);
	if (!r)
		r = o->listen_path ? wt_outgoing_listen(s->outgoing, o->listen_path, err)
				   : take_input(s, err);
	if (r)
		return r;
	if (o->listen_path) {
		snprintf(text, sizeof text, "waiting for QEMU to migrate to unix:%s", o->listen_path);
		wt_report_event(
			&s->relay.report, "listening", json_pack("{s:s}", "path", o->listen_path), text);
	}
	wt_uri_source_progress(s);
	return 0;
}

static void linger_fired(void *arg, uint64_t now_ns)
{
	struct wt_uri_source *s = arg;

	if (now_ns >= s->linger_until_ns || !s->server || !wt_server_unsent(s->server))
		wt_loop_stop(s->relay.loop, 0);
	else
		wt_loop_timer_set(s->relay.loop, &s->deadline, now_ns + POLL_NS, linger_fired, s);
}

/* QEMU waits for an exec child before it goes on: not longer than the last words need. */
static void linger(struct wt_uri_source *s)
{
	uint64_t now_ns = wt_loop_now_ns(s->relay.loop);

	s->linger_until_ns = now_ns + LINGER_NS;
	wt_loop_timer_set(s->relay.loop, &s->deadline, now_ns + POLL_NS, linger_fired, s);
	wt_loop_run(s->relay.loop);
}

static int conclude(struct wt_uri_source *s)
{
	const char *why = wt_error_text(&s->failure), *what;
	char text[WT_ERROR_TEXT_MAX + 256];
	int code = WT_EXIT_UNDECIDED;

	if (s->over && !s->server && s->options->listen_path)
		return WT_EXIT_OK; /* a daemon is ended while it waits */
	switch (s->machine.state) {
	case WT_URI_SOURCE_DONE:
		wt_uri_source_summary(s);
		return WT_EXIT_OK;
	case WT_URI_SOURCE_RETURNED:
		what = "no guest runs at the destination; if it does not run here either, type cont in this QEMU's "
		       "monitor";
		break;
	case WT_URI_SOURCE_UNDELIVERED:
		what = "the destination was told to run the guest: see whether it does; if not, end the QEMU there and "
		       "type cont in this QEMU's monitor";
		break;
	default:
		what = "the guest goes on here";
		code = WT_EXIT_FAILED;
		break;
	}
	snprintf(text, sizeof text, "%s; %s", why, what);
	wt_report_error(&s->relay.report, text);
	return code;
}

static void close_all(struct wt_uri_source *s)
{
	if (s->outgoing)
		wt_outgoing_close(s->outgoing);
	if (s->server)
		wt_server_close(s->server);
	wt_memory_close(s->memory);
	free(s->served);
	wt_ram_search_close(&s->search);
	json_decref(s->destination_facts);
	wt_relay_close(&s->relay);
}

int wt_uri_source_run(const struct wt_uri_source_options *options, bool *ret_over)
{
	struct wt_uri_source s = { .options = options };
	struct wt_error err = { 0 };
	int code;

	wt_uri_source_switch_init(&s.machine);
	if (start(&s, &err)) {
		wt_report_error(&s.relay.report, wt_error_text(&err));
		code = WT_EXIT_FAILED;
		s.over = true;
	} else {
		wt_loop_run(s.relay.loop);
		code = conclude(&s);
		linger(&s);
	}
	close_all(&s);
	if (ret_over)
		*ret_over = s.over;
	return code;
}
