/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qmp.c - speaks QMP: commands with ids, and one queue of what has to be told.
 *
 * Owns the socket, its reader, what has to be written, the commands without an answer, and the queue of items
 * to deliver.
 *   1. A command is in exactly one list: outstanding, or (with its answer) the queue.
 *   2. Reading never calls back: it only appends to the queue. Only the loop's callbacks (socket, timer)
 *      deliver, in the order of arrival; so wt_qmp_call can be used inside a callback.
 *   3. Once broken, the socket is out of the loop, nothing is outstanding, and the last item of the queue is
 *      the end.
 *   4. The queue holds at most WT_LIMIT_QMP_BYTES bytes of lines and what one read brought.
 *   5. Memory is freed only when no callback of ours is on the stack (depth == 0).
 *
 * Only the loop's thread. It does not know what any command means. Protocol: QEMU docs/interop/qmp-spec.
 */
#include "qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <watari/limits.h>

#include "qmp_reader.h"

#define NS_PER_S 1000000000ull
#define EVENT_AGE_MAX_NS (10 * NS_PER_S) /* older: the clock was set */
#define QMP_OUTPUT_MAX ((size_t)16 << 20)

enum qmp_item_kind { QMP_EVENT, QMP_COMMAND, QMP_END };

/* One caller of wt_qmp_call, on its stack. */
struct qmp_wait {
	bool done;
	json_t *result;
	struct wt_error err;
};

/* A command from its sending to its being answered, or something else that has to be told. */
struct qmp_item {
	enum qmp_item_kind kind;
	char *name; /* of the event or command */
	uint64_t id;
	wt_qmp_reply_fn *reply; /* NULL: nobody wants to know */
	void *arg;
	struct qmp_wait *wait; /* instead of reply */
	json_t *data;          /* of the event, or the result */
	struct wt_error err;
	size_t bytes;     /* of the line it came in */
	uint64_t time_ns; /* of an event, see qmp_reader.h */
	struct qmp_item *next;
};

struct wt_qmp {
	struct wt_loop *loop;
	int fd;
	struct wt_qmp_events events;
	void *arg;
	struct wt_timer timer;  /* set while the queue holds something */
	uint64_t event_time_ns; /* of the event that was delivered last */

	struct wt_qmp_reader reader;
	char *output; /* output_length bytes, output_sent of them written */
	size_t output_length, output_sent, output_room;
	uint32_t watched; /* what the loop watches */

	uint64_t next_id;
	struct qmp_item *outstanding;
	struct qmp_item *queue, **queue_tail;
	size_t queue_bytes;
	struct qmp_item *end_item; /* kept ready, for the end must be told even without memory */

	bool closing;        /* wt_qmp_close was called */
	unsigned depth;      /* callbacks of ours on the stack */
	struct wt_error end; /* code set: the connection is broken */

	pid_t pid;
	char version[48]; /* empty until greeted */
	unsigned version_number;
};

static void item_free(struct qmp_item *item)
{
	if (!item)
		return;
	json_decref(item->data);
	free(item->name);
	free(item);
}

static struct qmp_item *item_new(enum qmp_item_kind kind, const char *name)
{
	struct qmp_item *item = calloc(1, sizeof *item);

	if (!item)
		return NULL;
	item->kind = kind;
	item->name = strdup(name);
	if (!item->name) {
		free(item);
		return NULL;
	}
	return item;
}

/* Control characters from QEMU's texts would spoil a terminal or a log. */
static void clean_text(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
}

/* ---- Delivery ---- */

static void on_timer(void *arg, uint64_t now_ns);

static void queue_append(struct wt_qmp *qmp, struct qmp_item *item)
{
	item->next = NULL;
	*qmp->queue_tail = item;
	qmp->queue_tail = &item->next;
	qmp->queue_bytes += item->bytes;
	wt_loop_timer_set(qmp->loop, &qmp->timer, wt_loop_now_ns(qmp->loop), on_timer, qmp);
}

static void free_all(struct wt_qmp *qmp)
{
	struct qmp_item *item;

	while ((item = qmp->queue)) {
		qmp->queue = item->next;
		item_free(item);
	}
	while ((item = qmp->outstanding)) {
		qmp->outstanding = item->next;
		item_free(item);
	}
	item_free(qmp->end_item);
	wt_qmp_reader_clear(&qmp->reader);
	free(qmp->output);
	free(qmp);
}

static void deliver_one(struct wt_qmp *qmp, struct qmp_item *item)
{
	switch (item->kind) {
	case QMP_COMMAND:
		if (item->reply)
			item->reply(item->arg, item->data, &item->err);
		break;
	case QMP_EVENT:
		qmp->event_time_ns = item->time_ns;
		if (qmp->events.event)
			qmp->events.event(qmp->arg, item->name, item->data);
		break;
	case QMP_END:
		if (qmp->events.closed)
			qmp->events.closed(qmp->arg, &item->err);
		break;
	}
}

/* Called by the loop only. A callback may close qmp: it is freed here at last. */
static void deliver(struct wt_qmp *qmp)
{
	struct qmp_item *item;

	qmp->depth++;
	while (!qmp->closing && (item = qmp->queue)) {
		qmp->queue = item->next;
		if (!qmp->queue)
			qmp->queue_tail = &qmp->queue;
		qmp->queue_bytes -= item->bytes;
		deliver_one(qmp, item);
		item_free(item);
	}
	if (!qmp->closing)
		wt_loop_timer_clear(qmp->loop, &qmp->timer);
	if (!--qmp->depth && qmp->closing)
		free_all(qmp);
}

static void on_timer(void *arg, uint64_t now_ns)
{
	(void)now_ns;
	deliver(arg);
}

/* A command has data or err: tells a waiting caller at once, others through the queue. */
static void answered(struct wt_qmp *qmp, struct qmp_item *command)
{
	if (!command->wait) {
		queue_append(qmp, command);
		return;
	}
	command->wait->done = true;
	command->wait->result = json_incref(command->data);
	command->wait->err = command->err;
	item_free(command);
}

/* Ends the connection; the first reason wins. */
static void break_off(struct wt_qmp *qmp, int code, const char *reason)
{
	struct qmp_item *item;

	if (qmp->end.code)
		return;
	wt_error_set(&qmp->end, code, "%s", reason);
	wt_loop_fd_clear(qmp->loop, qmp->fd);
	qmp->watched = 0;
	while ((item = qmp->outstanding)) {
		qmp->outstanding = item->next;
		wt_error_set(&item->err, code, "no answer to QMP command '%s': %s", item->name, reason);
		answered(qmp, item);
	}
	item = qmp->end_item;
	qmp->end_item = NULL;
	item->err = qmp->end;
	queue_append(qmp, item);
}

/* ---- What QEMU sends ---- */

static int error_code(const char *class)
{
	if (!strcmp(class, "CommandNotFound"))
		return ENOSYS;
	if (!strcmp(class, "DeviceNotFound") || !strcmp(class, "DeviceNotActive"))
		return ENODEV;
	return EREMOTEIO;
}

static int take_event(struct wt_qmp *qmp, const struct wt_qmp_message *message, struct wt_error *err)
{
	struct qmp_item *event;

	if (qmp->queue_bytes > WT_LIMIT_QMP_BYTES)
		return wt_error_set(err, EPROTO, "QEMU sent more QMP events than anybody can want");
	event = item_new(QMP_EVENT, message->event);
	if (!event)
		return wt_error_set(err, ENOMEM, "no memory for a QMP event");
	event->bytes = message->bytes;
	event->time_ns = message->time_ns;
	event->data = json_incref(message->data);
	queue_append(qmp, event);
	return 0;
}

static int take_answer(struct wt_qmp *qmp, const struct wt_qmp_message *message, struct wt_error *err)
{
	struct qmp_item **link = &qmp->outstanding, *command;

	while (*link && (*link)->id != message->id)
		link = &(*link)->next;
	command = *link;
	if (!command)
		return wt_error_set(err, EPROTO, "QEMU sent a QMP answer to no command of watari's");
	*link = command->next;
	command->bytes = message->bytes;
	if (message->kind == WT_QMP_REFUSAL) {
		wt_error_set(&command->err, error_code(message->error_class),
			"QEMU refused QMP command '%s': %s", command->name, message->error_text);
		clean_text(command->err.text);
	} else {
		command->data = json_incref(message->data);
	}
	answered(qmp, command);
	return 0;
}

static void take_input(struct wt_qmp *qmp)
{
	struct wt_qmp_message message;
	struct wt_error err = { 0 };
	int r;

	while ((r = wt_qmp_reader_next(&qmp->reader, &message, &err)) > 0) {
		if (message.kind == WT_QMP_GREETING) {
			snprintf(qmp->version, sizeof qmp->version, "%u.%u.%u", message.major, message.minor,
				message.micro);
			qmp->version_number = message.major * 10000 + message.minor * 100 + message.micro;
			r = 0;
		} else if (message.kind == WT_QMP_EVENT) {
			r = take_event(qmp, &message, &err);
		} else {
			r = take_answer(qmp, &message, &err);
		}
		wt_qmp_message_clear(&message);
		if (r < 0)
			break;
	}
	if (r < 0)
		break_off(qmp, err.code, err.text);
}

/* The kernel's word on who wrote these bytes; descriptors that nobody asked for are closed. */
static void take_control(struct wt_qmp *qmp, struct msghdr *header)
{
	struct cmsghdr *control;
	struct ucred cred;

	for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
		size_t length = control->cmsg_len - CMSG_LEN(0), at;
		int fd;

		if (control->cmsg_level != SOL_SOCKET)
			continue;
		if (control->cmsg_type == SCM_CREDENTIALS && length == sizeof cred) {
			memcpy(&cred, CMSG_DATA(control), sizeof cred);
			if (cred.pid > 0)
				qmp->pid = cred.pid;
		}
		for (at = 0; control->cmsg_type == SCM_RIGHTS && at + sizeof fd <= length; at += sizeof fd) {
			memcpy(&fd, CMSG_DATA(control) + at, sizeof fd);
			close(fd);
		}
	}
}

/* Reads once and parses. */
static void read_some(struct wt_qmp *qmp)
{
	char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(4 * sizeof(int))];
	struct msghdr header = { 0 };
	struct iovec part;
	char *buffer;
	ssize_t n;

	if (wt_qmp_reader_buffer(&qmp->reader, &buffer, &part.iov_len) < 0) {
		break_off(qmp, ENOMEM, "no memory for what QEMU sends");
		return;
	}
	part.iov_base = buffer;
	header.msg_iov = &part;
	header.msg_iovlen = 1;
	if (!qmp->version[0]) {
		header.msg_control = control;
		header.msg_controllen = sizeof control;
	}
	n = recvmsg(qmp->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		break_off(qmp, ECONNRESET, "QEMU closed its QMP socket; the QEMU process has probably ended");
		return;
	}
	if (!qmp->version[0])
		take_control(qmp, &header);
	wt_qmp_reader_advance(&qmp->reader, (size_t)n);
	take_input(qmp);
}

/* ---- What goes to QEMU ---- */

static void on_socket(void *arg, uint32_t events);

static void watch(struct wt_qmp *qmp)
{
	uint32_t wanted = EPOLLIN | (qmp->output_length > qmp->output_sent ? EPOLLOUT : 0);

	if (qmp->end.code || qmp->watched == wanted)
		return;
	if (wt_loop_fd_set(qmp->loop, qmp->fd, wanted, on_socket, qmp) < 0)
		break_off(qmp, EIO, "the QMP socket cannot be watched");
	else
		qmp->watched = wanted;
}

static void write_some(struct wt_qmp *qmp)
{
	ssize_t n;

	while (!qmp->end.code && qmp->output_sent < qmp->output_length) {
		n = send(qmp->fd, qmp->output + qmp->output_sent, qmp->output_length - qmp->output_sent,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			/* What QEMU said last may still lie in the socket; reading finds the end. */
			qmp->output_sent = qmp->output_length;
			break;
		}
		qmp->output_sent += (size_t)n;
	}
	if (qmp->output_sent == qmp->output_length)
		qmp->output_sent = qmp->output_length = 0;
	watch(qmp);
}

static void on_socket(void *arg, uint32_t events)
{
	struct wt_qmp *qmp = arg;

	if (events & EPOLLOUT)
		write_some(qmp);
	if (!qmp->end.code && events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		read_some(qmp);
	deliver(qmp);
}

static int append_output(struct wt_qmp *qmp, const char *text, size_t length)
{
	size_t room = qmp->output_room ? qmp->output_room : 4096;
	char *grown;

	if (length > QMP_OUTPUT_MAX - qmp->output_length)
		return -ENOBUFS;
	while (room < qmp->output_length + length)
		room *= 2;
	if (room != qmp->output_room) {
		grown = realloc(qmp->output, room);
		if (!grown)
			return -ENOMEM;
		qmp->output = grown;
		qmp->output_room = room;
	}
	memcpy(qmp->output + qmp->output_length, text, length);
	qmp->output_length += length;
	return 0;
}

/* Makes a command outstanding. arguments is stolen; so is command, NULL for lack of memory. */
static int submit(struct wt_qmp *qmp, struct qmp_item *command, json_t *arguments)
{
	struct qmp_item **link;
	char *line;
	int r;

	if (qmp->end.code || qmp->closing || !command) {
		r = command ? -ENOTCONN : -ENOMEM;
		json_decref(arguments);
		item_free(command);
		return r;
	}
	command->id = qmp->next_id++;
	line = wt_qmp_format_command(command->name, arguments, command->id);
	r = line ? append_output(qmp, line, strlen(line)) : -ENOMEM;
	free(line);
	if (r < 0) {
		item_free(command);
		return r;
	}
	for (link = &qmp->outstanding; *link; link = &(*link)->next)
		;
	*link = command;
	return 0;
}

int wt_qmp_execute(
	struct wt_qmp *qmp, const char *command, json_t *arguments, wt_qmp_reply_fn *reply, void *arg)
{
	struct qmp_item *item = item_new(QMP_COMMAND, command);
	int r;

	if (item) {
		item->reply = reply;
		item->arg = arg;
	}
	r = submit(qmp, item, arguments);
	if (!r)
		write_some(qmp);
	return r;
}

/* ---- Waiting ---- */

/* Reads and writes, without delivering, until *done, the end of the connection or the deadline. */
static int wait_for(struct wt_qmp *qmp, const bool *done, uint64_t deadline_ns)
{
	struct pollfd watched = { .fd = qmp->fd };
	struct timespec left;
	uint64_t now;
	int r;

	while (!*done && !qmp->end.code) {
		write_some(qmp);
		now = wt_loop_now_ns(qmp->loop);
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		left.tv_sec = (time_t)((deadline_ns - now) / 1000000000u);
		left.tv_nsec = (long)((deadline_ns - now) % 1000000000u);
		watched.events = (short)(POLLIN | (qmp->output_length ? POLLOUT : 0));
		r = ppoll(&watched, 1, &left, NULL);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0 && watched.revents & ~POLLOUT)
			read_some(qmp);
	}
	return *done ? 0 : -qmp->end.code;
}

/* Nobody waits any more: the answer, if it still comes, is dropped. */
static void forget(struct wt_qmp *qmp, const struct qmp_wait *wait)
{
	struct qmp_item *command;

	for (command = qmp->outstanding; command; command = command->next)
		if (command->wait == wait)
			command->wait = NULL;
}

static uint64_t deadline(const struct wt_qmp *qmp, uint64_t timeout_ns)
{
	uint64_t now = wt_loop_now_ns(qmp->loop);

	return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

int wt_qmp_call(struct wt_qmp *qmp, const char *command, json_t *arguments, uint64_t timeout_ns,
	json_t **ret_result, struct wt_error *err)
{
	struct qmp_wait wait = { .done = false };
	struct qmp_item *item = item_new(QMP_COMMAND, command);
	int r;

	if (item)
		item->wait = &wait;
	r = submit(qmp, item, arguments);
	if (r == -ENOTCONN && qmp->end.code)
		r = -qmp->end.code;
	if (r < 0)
		return wt_error_set(err, -r, "QMP command '%s' cannot be sent: %s", command,
			qmp->end.code ? qmp->end.text : strerror(-r));
	r = wait_for(qmp, &wait.done, deadline(qmp, timeout_ns));
	if (!wait.done) {
		forget(qmp, &wait);
		return wt_error_set(err, -r, "QEMU did not answer QMP command '%s' within %.1f s", command,
			(double)timeout_ns / 1e9);
	}
	if (wait.err.code) {
		json_decref(wait.result);
		return wt_error_set(err, wait.err.code, "%s", wait.err.text);
	}
	if (ret_result)
		*ret_result = wait.result;
	else
		json_decref(wait.result);
	return 0;
}

int wt_qmp_human(
	struct wt_qmp *qmp, const char *line, uint64_t timeout_ns, char **ret_text, struct wt_error *err)
{
	json_t *result = NULL;
	char *text;
	int r;

	r = wt_qmp_call(qmp, "human-monitor-command", json_pack("{s:s}", "command-line", line), timeout_ns,
		&result, err);
	if (r < 0)
		return r;
	if (!json_is_string(result)) {
		json_decref(result);
		return wt_error_set(err, EPROTO, "QEMU's answer to monitor command '%s' is no text", line);
	}
	text = strdup(json_string_value(result));
	json_decref(result);
	if (!text)
		return wt_error_set(err, ENOMEM, "no memory for the answer to monitor command '%s'", line);
	*ret_text = text;
	return 0;
}

/* ---- Opening ---- */

/* connect(2) on a unix socket waits only while the listener's backlog is full; SO_SNDTIMEO bounds that. */
static int connect_socket(
	const char *path, uint64_t timeout_ns, int *ret_fd, pid_t *ret_pid, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = {
		.tv_sec = (time_t)(timeout_ns / 1000000000u),
		.tv_usec = (suseconds_t)(timeout_ns % 1000000000u / 1000u) + 1,
	};
	struct ucred cred = { 0 };
	socklen_t length = sizeof cred;
	int fd, yes = 1;

	if (patience.tv_usec > 999999)
		patience.tv_usec = 999999;
	if (strlen(path) >= sizeof address.sun_path)
		return wt_error_set(err, ENAMETOOLONG,
			"the path of the QMP socket, %.80s..., has more than %zu characters; use a shorter one",
			path, sizeof address.sun_path - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return wt_error_set(err, errno, "no socket for QMP: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
		connect(fd, (struct sockaddr *)&address, sizeof address)) {
		int code = errno;

		close(fd);
		return wt_error_set(err, code,
			"cannot connect to the QMP socket %s: %s; start QEMU with -qmp unix:%s,server=on,wait=off",
			path, code == EAGAIN ? "it does not accept" : strerror(code), path);
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length))
		cred.pid = 0;
	*ret_fd = fd;
	*ret_pid = cred.pid > 0 ? cred.pid : 0;
	return 0;
}

static int negotiate(struct wt_qmp *qmp, const char *path, uint64_t deadline_ns, struct wt_error *err)
{
	uint64_t now, left_ns;
	int r, no = 0;

	r = wait_for(qmp, &qmp->reader.greeted, deadline_ns);
	if (r == -ETIMEDOUT)
		return wt_error_set(err, ETIMEDOUT,
			"no greeting from the QMP socket %s; is another client connected to it? QEMU serves one at "
			"a time, give it a second -qmp socket",
			path);
	if (r < 0)
		return wt_error_set(err, -r, "%s: %s", path, qmp->end.code ? qmp->end.text : strerror(-r));
	setsockopt(qmp->fd, SOL_SOCKET, SO_PASSCRED, &no, sizeof no);
	now = wt_loop_now_ns(qmp->loop);
	left_ns = deadline_ns > now + NS_PER_S ? deadline_ns - now : NS_PER_S;
	return wt_qmp_call(qmp, "qmp_capabilities", NULL, left_ns, NULL, err);
}

int wt_qmp_open(struct wt_loop *loop, const char *socket_path, uint64_t timeout_ns,
	const struct wt_qmp_events *events, void *arg, struct wt_qmp **ret_qmp, struct wt_error *err)
{
	struct wt_qmp *qmp;
	uint64_t deadline_ns;
	int r;

	qmp = calloc(1, sizeof *qmp);
	if (qmp)
		qmp->end_item = item_new(QMP_END, "");
	if (!qmp || !qmp->end_item) {
		free(qmp);
		return wt_error_set(err, ENOMEM, "no memory for a QMP connection");
	}
	qmp->loop = loop;
	qmp->next_id = 1;
	qmp->queue_tail = &qmp->queue;
	qmp->arg = arg;
	if (events)
		qmp->events = *events;
	deadline_ns = deadline(qmp, timeout_ns);
	r = connect_socket(socket_path, timeout_ns, &qmp->fd, &qmp->pid, err);
	if (r < 0) {
		free_all(qmp);
		return r;
	}
	watch(qmp);
	r = negotiate(qmp, socket_path, deadline_ns, err);
	if (r < 0) {
		wt_qmp_close(qmp);
		return r;
	}
	*ret_qmp = qmp;
	return 0;
}

void wt_qmp_close(struct wt_qmp *qmp)
{
	if (!qmp || qmp->closing)
		return;
	qmp->closing = true;
	wt_loop_timer_clear(qmp->loop, &qmp->timer);
	wt_loop_fd_clear(qmp->loop, qmp->fd);
	close(qmp->fd);
	qmp->fd = -1;
	if (!qmp->depth)
		free_all(qmp);
}

pid_t wt_qmp_pid(const struct wt_qmp *qmp)
{
	return qmp->pid;
}

uint64_t wt_qmp_event_age_ns(const struct wt_qmp *qmp)
{
	struct timespec now;
	uint64_t now_ns;

	clock_gettime(CLOCK_REALTIME, &now);
	now_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	return qmp->event_time_ns && qmp->event_time_ns < now_ns &&
			       now_ns - qmp->event_time_ns < EVENT_AGE_MAX_NS
		       ? now_ns - qmp->event_time_ns
		       : 0;
}

const char *wt_qmp_version(const struct wt_qmp *qmp)
{
	return qmp->version;
}

unsigned wt_qmp_version_number(const struct wt_qmp *qmp)
{
	return qmp->version_number;
}
