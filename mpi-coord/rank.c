/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rank.c - a rank's control thread; see rank.h.
 *
 * Owns the control socket, its connections, and the gate. Everything but open and close runs in the thread.
 *   1. The thread never calls Open MPI.
 *   2. While nothing is quiesced it sleeps until somebody dials or gives an order.
 *   3. A connection that says anything but orders is answered with a sentence, and closed.
 *   4. The socket lies in a private directory; who can open it may give orders.
 */
#include "rank.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fatal.h"
#include "gate.h"
#include "place.h"
#include "thread.h"

#define CONNECTIONS_MAX 8
#define REST_MS 100
#define LET_GO_MS 200
#define PART_MS 20

struct connection {
	int fd; /* -1: free */
	int number;
	size_t length;
	char line[WT_ORDER_LINE_MAX];
};

struct wt_rank {
	struct wt_mesh *mesh;
	struct wt_rank_options options;
	pthread_t thread;
	int listener;     /* -1: none */
	int ending;       /* eventfd */
	bool broken_told; /* in this quiesce */
	bool resting;     /* no descriptor for who wants to be let in: not asked in the next turn */
	struct wt_gate gate;
	int naming; /* which connection has named the part of the next quiesce */
	struct connection connections[CONNECTIONS_MAX];
	int last_number;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

int wt_rank_socket_path(const char *directory, struct wt_mesh_name name, char *ret_path, size_t size)
{
	int length = snprintf(ret_path, size, "%s/%u.%u.sock", directory, name.job, name.rank);

	return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

static void hang_up(struct wt_rank *rank, struct connection *connection);

static void say(struct wt_rank *rank, struct connection *connection, const struct wt_order *report)
{
	char line[WT_ORDER_LINE_MAX];
	size_t length = wt_order_encode(report, line);

	/* A coordinator that does not read what little it is told is as good as dead. */
	if (send(connection->fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length)
		shutdown(connection->fd, SHUT_RDWR);
}

static struct connection *owner(struct wt_rank *rank)
{
	unsigned i;

	for (i = 0; i < CONNECTIONS_MAX; i++)
		if (rank->connections[i].fd >= 0 && rank->connections[i].number == rank->gate.owner)
			return &rank->connections[i];
	return NULL;
}

/* Of how many others it lets go in the quiesce that is under way; 0: of all, or none is. */
static uint32_t part_now(const struct wt_rank *rank)
{
	return rank->gate.state == WT_RANK_RUNNING ? 0 : rank->gate.part;
}

static void say_rank(struct wt_rank *rank, struct connection *connection)
{
	struct wt_order report = { .kind = WT_REPORT_RANK,
		.version = WT_ORDER_VERSION,
		.job = rank->options.name.job,
		.rank = rank->options.name.rank,
		.size = rank->options.size,
		.state = rank->gate.state,
		.epoch = rank->gate.epoch,
		.paths = wt_mesh_paths(rank->mesh),
		.part = part_now(rank) };

	snprintf(report.fabric, sizeof report.fabric, "%s", wt_mesh_fabric(rank->mesh));
	say(rank, connection, &report);
}

static void learn(struct wt_rank *rank, const struct wt_order *order)
{
	struct wt_mesh_name name = { order->job, order->rank };
	struct wt_mesh_address address = {
		.port = order->port,
		.verbs_port = order->verbs_port,
		.epoch = order->epoch,
		.token = order->token,
	};
	struct wt_mesh_peer *peer = wt_mesh_peer(rank->mesh, name);

	memcpy(address.host, order->host, sizeof address.host);
	memcpy(address.verbs_host, order->verbs_host, sizeof address.verbs_host);
	if (peer)
		wt_mesh_peer_address(rank->mesh, peer, &address);
}

/* Fills the reply; or turns it into a refusal. */
static struct wt_gate_step open_device(struct wt_rank *rank, struct wt_gate_step step)
{
	struct wt_mesh_address address;
	struct wt_error err = { 0 };

	if (!rank->gate.part && rank->options.attach(rank->mesh, rank->gate.epoch, &err) < 0)
		return wt_gate_open_failed(&rank->gate, wt_error_text(&err));
	wt_mesh_address(rank->mesh, &address);
	memcpy(step.reply.host, address.host, sizeof step.reply.host);
	step.reply.port = address.port;
	if (address.verbs_port)
		memcpy(step.reply.verbs_host, address.verbs_host, sizeof step.reply.verbs_host);
	step.reply.verbs_port = address.verbs_port;
	step.reply.token = address.token;
	return step;
}

/* What cannot be named is missing when the part is counted. */
static void name(struct wt_rank *rank, const struct wt_order *order, const struct connection *connection)
{
	struct wt_mesh_name name = { order->job, order->rank };

	wt_mesh_part(rank->mesh, name, rank->naming != connection->number);
	rank->naming = connection->number;
}

/* Not: others than this coordinator named are still named, or its names were lost. */
static bool part_named(
	struct wt_rank *rank, const struct wt_order *order, const struct connection *connection)
{
	return rank->gate.state != WT_RANK_RUNNING || !order->part ||
	       (rank->naming == connection->number && wt_mesh_part_count(rank->mesh) == order->part);
}

static void alone(const struct wt_rank *rank)
{
	fprintf(stderr,
		"btl/watari: rank %u is %s and has lost its coordinator; type `watari-mpi resume` to let the job go on\n",
		rank->options.name.rank, wt_rank_state_name(rank->gate.state));
}

/* connection: who gave the order, and hears the reply; NULL: the owner. */
static void carry_out(struct wt_rank *rank, struct wt_gate_step step, const struct wt_order *order,
	struct connection *connection)
{
	if (step.actions & WT_GATE_DRAIN) {
		rank->broken_told = false;
		wt_mesh_quiesce(rank->mesh, rank->gate.epoch, rank->gate.part);
		rank->naming = 0;
	}
	if (step.actions & WT_GATE_CLOSE)
		wt_mesh_detach(rank->mesh);
	if (step.actions & WT_GATE_OPEN)
		step = open_device(rank, step);
	if (step.actions & WT_GATE_LEARN && order)
		learn(rank, order);
	if (step.actions & WT_GATE_JOIN)
		wt_mesh_join(rank->mesh);
	if (step.actions & WT_GATE_GO)
		wt_mesh_go(rank->mesh);
	if (step.actions & WT_GATE_PART && order && connection)
		name(rank, order, connection);
	if (!connection)
		connection = owner(rank);
	if (step.actions & WT_GATE_REPLY && connection)
		say(rank, connection, &step.reply);
	if (step.actions & WT_GATE_ALONE)
		alone(rank);
	if (rank->gate.state == WT_RANK_RUNNING)
		rank->gate.owner = 0;
}

static void hang_up(struct wt_rank *rank, struct connection *connection)
{
	close(connection->fd);
	connection->fd = -1;
	carry_out(rank, wt_gate_connection_lost(&rank->gate, connection->number), NULL, NULL);
}

/* Answers false when the connection is to be closed. */
static bool obey(struct wt_rank *rank, struct connection *connection, const char *line)
{
	struct wt_order report = { .kind = WT_REPORT_REFUSED, .epoch = rank->gate.epoch };
	struct wt_order order;

	if (wt_order_decode(line, &order) < 0) {
		strcpy(report.text, "that is no order; are watari-mpi and btl/watari of the same version?");
		say(rank, connection, &report);
		return false;
	}
	if (order.kind == WT_ORDER_HELLO && order.version != WT_ORDER_VERSION) {
		snprintf(report.text, sizeof report.text,
			"watari-mpi speaks version %u of the orders and this rank %u; install the same version on both",
			order.version, WT_ORDER_VERSION);
		say(rank, connection, &report);
		return false;
	}
	if (order.kind == WT_ORDER_QUIESCE && !part_named(rank, &order, connection)) {
		snprintf(report.text, sizeof report.text,
			"the rank was not told which %u ranks move; is another coordinator at work?",
			order.part);
		say(rank, connection, &report);
	} else if (order.kind == WT_ORDER_HELLO || order.kind == WT_ORDER_STATUS)
		say_rank(rank, connection);
	else
		carry_out(rank, wt_gate_order(&rank->gate, &order, connection->number), &order, connection);
	return true;
}

static bool take_lines(struct wt_rank *rank, struct connection *connection)
{
	char *end;

	while ((end = memchr(connection->line, '\n', connection->length))) {
		size_t used = (size_t)(end - connection->line) + 1;

		*end = 0;
		if (!obey(rank, connection, connection->line))
			return false;
		connection->length -= used;
		memmove(connection->line, connection->line + used, connection->length);
	}
	return connection->length < sizeof connection->line;
}

static void hear(struct wt_rank *rank, struct connection *connection)
{
	ssize_t got = recv(connection->fd, connection->line + connection->length,
		sizeof connection->line - connection->length, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0)
		connection->length += (size_t)got;
	if (got <= 0 || !take_lines(rank, connection))
		hang_up(rank, connection);
}

static void meet(struct wt_rank *rank)
{
	int fd = accept4(rank->listener, NULL, NULL, SOCK_CLOEXEC);
	unsigned i;

	if (fd < 0) {
		rank->resting = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
		return;
	}
	for (i = 0; i < CONNECTIONS_MAX; i++) {
		if (rank->connections[i].fd >= 0)
			continue;
		rank->connections[i] = (struct connection){ .fd = fd, .number = ++rank->last_number };
		return;
	}
	close(fd);
}

/* The barrier that the gate waits for. */
static void drain(struct wt_rank *rank)
{
	bool rest = wt_mesh_drain(rank->mesh);
	char text[WT_ORDER_TEXT_MAX];

	if (!rest && !rank->broken_told && wt_mesh_broken(rank->mesh, text, sizeof text)) {
		rank->broken_told = true;
		carry_out(rank, wt_gate_broken(&rank->gate, text), NULL, NULL);
	}
	if (rest && rank->gate.state == WT_RANK_QUIESCING)
		carry_out(rank, wt_gate_drained(&rank->gate), NULL, NULL);
	else if (rest && rank->gate.state == WT_RANK_JOINING)
		carry_out(rank, wt_gate_joined(&rank->gate), NULL, NULL);
}

static bool turn(struct wt_rank *rank)
{
	struct pollfd fds[5 + CONNECTIONS_MAX];
	bool part = part_now(rank);
	/* Where only some of its paths rest, they are looked at now and then. */
	bool quiet = rank->gate.state == WT_RANK_RUNNING || part;
	/* What a dial has achieved is no descriptor's news, nor that a device is to go. */
	int timeout = rank->gate.state == WT_RANK_QUIESCING || rank->gate.state == WT_RANK_JOINING ? 2
		      : rank->gate.state == WT_RANK_DETACHED                                       ? LET_GO_MS
		      : part                                                                       ? PART_MS
												   : -1;
	unsigned i;

	if (rank->resting && timeout < 0)
		timeout = REST_MS;
	fds[0] = (struct pollfd){ .fd = rank->ending, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = rank->resting ? -1 : rank->listener, .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = wt_mesh_listener_fd(rank->mesh, WT_LINK_TCP), .events = POLLIN };
	fds[3] = (struct pollfd){ .fd = wt_mesh_listener_fd(rank->mesh, WT_LINK_VERBS), .events = POLLIN };
	fds[4] = (struct pollfd){ .fd = quiet ? -1 : wt_mesh_paths_fd(rank->mesh), .events = POLLIN };
	for (i = 0; i < CONNECTIONS_MAX; i++)
		fds[5 + i] = (struct pollfd){ .fd = rank->connections[i].fd, .events = POLLIN };
	if (!quiet && !wt_mesh_paths_arm(rank->mesh))
		timeout = 0;
	if (poll(fds, 5 + CONNECTIONS_MAX, timeout) < 0 && errno != EINTR)
		return false;
	if (fds[0].revents)
		return false;
	rank->resting = false;
	for (i = 0; i < CONNECTIONS_MAX; i++)
		if (fds[5 + i].revents && rank->connections[i].fd >= 0)
			hear(rank, &rank->connections[i]);
	if (fds[1].revents)
		meet(rank);
	wt_mesh_accept(rank->mesh, wt_gate_closed(&rank->gate));
	if (rank->gate.state == WT_RANK_DETACHED && !part)
		wt_mesh_let_go(rank->mesh);
	if (rank->gate.state != WT_RANK_DETACHED && rank->gate.state != WT_RANK_RUNNING)
		drain(rank);
	return true;
}

static void *rank_main(void *arg)
{
	struct wt_rank *rank = arg;

	while (turn(rank))
		;
	return NULL;
}

static int listen_unix(struct wt_rank *rank, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int status = wt_place_make(rank->options.directory, err);

	if (status < 0)
		return status;
	if (wt_rank_socket_path(rank->options.directory, rank->options.name, rank->path, sizeof rank->path) <
		0)
		return wt_error_set(err, ENAMETOOLONG,
			"%s is too long for a socket; choose another directory", rank->options.directory);
	memcpy(address.sun_path, rank->path, sizeof address.sun_path);
	rank->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (rank->listener < 0)
		return wt_error_set(err, errno, "cannot make a socket: %s", strerror(errno));
	unlink(rank->path); /* of a rank that died */
	if (bind(rank->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
		chmod(rank->path, 0600) < 0 || listen(rank->listener, CONNECTIONS_MAX) < 0)
		return wt_error_set(err, errno, "cannot listen at %s: %s; no coordinator can reach this rank",
			rank->path, strerror(errno));
	return 0;
}

int wt_rank_open(struct wt_mesh *mesh, const struct wt_rank_options *options, struct wt_rank **ret_rank,
	struct wt_error *err)
{
	struct wt_rank *rank = calloc(1, sizeof *rank);
	int status = 0;
	unsigned i;

	if (!rank)
		return wt_error_set(err, ENOMEM, "out of memory for a rank's control thread");
	rank->mesh = mesh;
	rank->options = *options;
	rank->gate.state = WT_RANK_RUNNING;
	rank->listener = -1;
	for (i = 0; i < CONNECTIONS_MAX; i++)
		rank->connections[i].fd = -1;
	rank->ending = eventfd(0, EFD_CLOEXEC);
	if (rank->ending < 0)
		status = wt_error_set(err, errno, "cannot make an eventfd: %s", strerror(errno));
	if (status >= 0 && options->directory)
		status = listen_unix(rank, err);
	if (status >= 0) {
		status = wt_thread_start(rank_main, rank, &rank->thread);
		if (status < 0)
			wt_error_set(
				err, -status, "cannot start a rank's control thread: %s", strerror(-status));
	}
	if (status < 0) {
		if (rank->listener >= 0)
			close(rank->listener);
		if (rank->ending >= 0)
			close(rank->ending);
		free(rank);
		return status;
	}
	*ret_rank = rank;
	return 0;
}

void wt_rank_close(struct wt_rank *rank)
{
	const struct wt_order leaving = { .kind = WT_REPORT_LEAVING };
	uint64_t one = 1;
	unsigned i;

	while (write(rank->ending, &one, sizeof one) < 0)
		if (errno != EINTR)
			wt_fatal("the control thread cannot be told of the end");
	pthread_join(rank->thread, NULL);
	for (i = 0; i < CONNECTIONS_MAX; i++) {
		if (rank->connections[i].fd < 0)
			continue;
		say(rank, &rank->connections[i], &leaving);
		close(rank->connections[i].fd);
	}
	if (rank->listener >= 0) {
		unlink(rank->path);
		close(rank->listener);
	}
	close(rank->ending);
	free(rank);
}
