/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * coordinator.c - connections to the ranks; see coordinator.h. What goes to whom is barrier.c's.
 *
 * Owns a connection for each rank. One thread.
 *   1. The ranks' reports are kept in connections[i] and job.ranks[i] with the same index, sorted by name.
 *   2. A connection that ends without `leaving` is a rank that died, or takes no orders; but if its reach is
 *      lost nobody knows, and the ranks behind it are nobody's to count on.
 *   3. After the deadline the quiesce is given up, and once more as long is waited for the ranks to run
 * again.
 */
#include "coordinator.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AGAIN_MS 50 /* for ranks that are not there yet */

struct connection {
	int fd; /* -1: it has ended */
	size_t length;
	char line[WT_ORDER_LINE_MAX];
	char name[WT_REACH_NAME_MAX]; /* of the socket */
	struct wt_reach *reach;
	struct wt_coordinator_rank rank;
};

struct wt_coordinator {
	struct wt_reach *const *reaches;
	size_t reach_count;
	struct wt_reach *looks; /* which reach is being looked through */
	struct connection *connections;
	size_t count;
	struct wt_barrier barrier;
	uint64_t begun_ns;
	struct wt_coordinator_times times;
	bool lost; /* a reach: the ranks behind it may stand */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void say(struct connection *connection, const struct wt_order *order)
{
	char line[WT_ORDER_LINE_MAX];
	size_t length = wt_order_encode(order, line);

	if (connection->fd >= 0 && send(connection->fd, line, length, MSG_NOSIGNAL) != (ssize_t)length)
		shutdown(connection->fd, SHUT_RDWR);
}

static bool known(const struct wt_coordinator *coordinator, const char *name)
{
	size_t i;

	for (i = 0; i < coordinator->count; i++)
		if (coordinator->connections[i].reach == coordinator->looks &&
			strcmp(coordinator->connections[i].name, name) == 0)
			return true;
	return false;
}

static int meet(void *arg, const char *name, struct wt_error *err)
{
	const struct wt_order hello = { .kind = WT_ORDER_HELLO, .version = WT_ORDER_VERSION };
	struct wt_coordinator *coordinator = arg;
	struct connection *grown;
	uint32_t pid = 0;
	int fd;

	if (known(coordinator, name))
		return 0;
	fd = wt_reach_dial(coordinator->looks, name, &pid);
	if (fd == -ECONNREFUSED || fd == -ENOENT)
		return 0; /* left behind by a rank that died; or one that leaves just now */
	if (fd < 0)
		return wt_error_set(err, -fd, "cannot reach the rank at %s/%s: %s; is it stopped?",
			coordinator->looks->where, name, strerror(-fd));
	grown = realloc(coordinator->connections, (coordinator->count + 1) * sizeof *grown);
	if (!grown) {
		close(fd);
		return wt_error_set(err, ENOMEM, "out of memory for the ranks");
	}
	coordinator->connections = grown;
	grown = &grown[coordinator->count++];
	memset(grown, 0, sizeof *grown);
	grown->fd = fd;
	grown->reach = coordinator->looks;
	strcpy(grown->name, name);
	grown->rank.pid = pid;
	grown->rank.stays = grown->reach->stays;
	say(grown, &hello);
	return 0;
}

/* Connects to ranks that are new since the last look. */
static int look(struct wt_coordinator *coordinator, struct wt_error *err)
{
	int status = 0;
	size_t i;

	for (i = 0; i < coordinator->reach_count && status >= 0; i++) {
		coordinator->looks = coordinator->reaches[i];
		status = wt_reach_look(coordinator->looks, meet, coordinator, err);
	}
	return status;
}

typedef void report_fn(struct wt_coordinator *coordinator, size_t index, const struct wt_order *report);

static void ended(struct connection *connection)
{
	close(connection->fd);
	connection->fd = -1;
}

/* Reads what a rank says; on an end, or on what is no report, the connection is over. */
static void hear(struct wt_coordinator *coordinator, size_t index, report_fn *fn)
{
	struct connection *connection = &coordinator->connections[index];
	ssize_t got = recv(connection->fd, connection->line + connection->length,
		sizeof connection->line - connection->length, MSG_DONTWAIT);
	struct wt_order report;
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		ended(connection);
		return;
	}
	connection->length += (size_t)got;
	while (connection->fd >= 0 && (end = memchr(connection->line, '\n', connection->length))) {
		size_t used = (size_t)(end - connection->line) + 1;

		*end = 0;
		if (wt_order_decode(connection->line, &report) < 0) {
			ended(connection);
			return;
		}
		connection->length -= used;
		memmove(connection->line, connection->line + used, connection->length);
		fn(coordinator, index, &report);
	}
	if (connection->length == sizeof connection->line)
		ended(connection);
}

/* Waits for reports, at most so long. */
static int listen_all(struct wt_coordinator *coordinator, int timeout_ms, report_fn *fn)
{
	struct pollfd *fds = calloc(coordinator->count + 1, sizeof *fds);
	size_t i;

	if (!fds)
		return -ENOMEM;
	for (i = 0; i < coordinator->count; i++)
		fds[i] = (struct pollfd){ .fd = coordinator->connections[i].fd, .events = POLLIN };
	if (poll(fds, coordinator->count, timeout_ms) > 0)
		for (i = 0; i < coordinator->count; i++)
			if (fds[i].revents)
				hear(coordinator, i, fn);
	free(fds);
	return 0;
}

static void first_report(struct wt_coordinator *coordinator, size_t index, const struct wt_order *report)
{
	if (report->kind == WT_REPORT_RANK)
		coordinator->connections[index].rank.report = *report;
	if (report->kind == WT_REPORT_REFUSED || report->kind == WT_REPORT_LEAVING)
		ended(&coordinator->connections[index]);
}

/* Those that ended are left out, so that only ranks remain that are there. */
static void forget_ended(struct wt_coordinator *coordinator)
{
	size_t kept = 0;
	size_t i;

	for (i = 0; i < coordinator->count; i++)
		if (coordinator->connections[i].fd >= 0)
			coordinator->connections[kept++] = coordinator->connections[i];
	coordinator->count = kept;
}

static size_t reported(const struct wt_coordinator *coordinator, uint32_t *ret_size)
{
	size_t count = 0;
	size_t i;

	*ret_size = 0;
	for (i = 0; i < coordinator->count; i++) {
		const struct wt_order *report = &coordinator->connections[i].rank.report;

		count += report->kind == WT_REPORT_RANK;
		if (report->size > *ret_size)
			*ret_size = report->size;
	}
	return count;
}

static int by_name(const void *a, const void *b)
{
	const struct wt_order *x = &((const struct connection *)a)->rank.report;
	const struct wt_order *y = &((const struct connection *)b)->rank.report;

	if (x->job != y->job)
		return x->job < y->job ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Where the ranks are, in a sentence. */
static const char *where(const struct wt_coordinator *coordinator)
{
	return coordinator->reach_count == 1 ? coordinator->reaches[0]->where : "the guests";
}

static int gather(
	struct wt_coordinator *coordinator, bool wait_all, uint64_t deadline_ns, struct wt_error *err)
{
	uint32_t size;
	size_t there;
	int status;

	for (;;) {
		status = look(coordinator, err);
		if (status < 0)
			return status;
		if (listen_all(coordinator, LOOK_AGAIN_MS, first_report) < 0)
			return wt_error_set(err, ENOMEM, "out of memory for the ranks");
		forget_ended(coordinator);
		there = reported(coordinator, &size);
		if (there == coordinator->count && (there >= size || !wait_all) && (there || !wait_all))
			break;
		if (now_ns() < deadline_ns)
			continue;
		if (!coordinator->count)
			return wt_error_set(err, ENOENT,
				"no rank is in %s; was the job started by `watari-mpi run`?",
				where(coordinator));
		if (there < coordinator->count)
			return wt_error_set(err, ETIMEDOUT,
				"%zu of %zu ranks do not answer; is another coordinator at work, or a rank stopped?",
				coordinator->count - there, coordinator->count);
		return wt_error_set(err, ETIMEDOUT,
			"only %zu of %u ranks have come to MPI_Init with btl/watari%s; try again when all have",
			there, size,
			coordinator->reaches[0]->guest ? ", or a guest's agent was not named" : "");
	}
	if (coordinator->count)
		qsort(coordinator->connections, coordinator->count, sizeof *coordinator->connections,
			by_name);
	return 0;
}

int wt_coordinator_open(struct wt_reach *const *reaches, size_t reach_count, enum wt_barrier_goal goal,
	uint64_t timeout_ns, struct wt_coordinator **ret_coordinator, struct wt_error *err)
{
	struct wt_coordinator *coordinator = calloc(1, sizeof *coordinator);
	int status;

	if (!coordinator)
		return wt_error_set(err, ENOMEM, "out of memory for a coordinator");
	coordinator->reaches = reaches;
	coordinator->reach_count = reach_count;
	status = gather(coordinator, goal == WT_BARRIER_QUIESCE, now_ns() + timeout_ns, err);
	if (status < 0) {
		wt_coordinator_close(coordinator);
		return status;
	}
	*ret_coordinator = coordinator;
	return 0;
}

void wt_coordinator_close(struct wt_coordinator *coordinator)
{
	size_t i;

	for (i = 0; i < coordinator->count; i++)
		if (coordinator->connections[i].fd >= 0)
			close(coordinator->connections[i].fd);
	free(coordinator->connections);
	free(coordinator->barrier.ranks);
	free(coordinator);
}

size_t wt_coordinator_count(const struct wt_coordinator *coordinator)
{
	return coordinator->count;
}

const struct wt_coordinator_rank *wt_coordinator_rank(const struct wt_coordinator *coordinator, size_t index)
{
	return &coordinator->connections[index].rank;
}

int wt_coordinator_part(
	struct wt_coordinator *coordinator, const uint32_t *ranks, size_t count, struct wt_error *err)
{
	size_t i, k;

	for (i = 0; i < coordinator->count; i++)
		coordinator->connections[i].rank.stays = true;
	for (k = 0; k < count; k++) {
		for (i = 0; i < coordinator->count; i++)
			if (coordinator->connections[i].rank.report.rank == ranks[k])
				break;
		if (i == coordinator->count)
			return wt_error_set(
				err, ENOENT, "there is no rank %u in %s", ranks[k], where(coordinator));
		coordinator->connections[i].rank.stays = false;
	}
	return 0;
}

static int job_make(struct wt_coordinator *coordinator, enum wt_barrier_goal goal, struct wt_error *err)
{
	size_t i;

	coordinator->barrier = (struct wt_barrier){ .count = coordinator->count };
	coordinator->barrier.ranks = calloc(coordinator->count, sizeof *coordinator->barrier.ranks);
	if (!coordinator->barrier.ranks)
		return wt_error_set(err, ENOMEM, "out of memory for the ranks");
	for (i = 0; i < coordinator->count; i++) {
		const struct wt_order *report = &coordinator->connections[i].rank.report;

		if (report->job != coordinator->connections[0].rank.report.job)
			return wt_error_set(err, EINVAL,
				"ranks of two jobs are in %s; a job that was spawned cannot be quiesced",
				where(coordinator));
		coordinator->barrier.ranks[i] = (struct wt_barrier_rank){ .job = report->job,
			.rank = report->rank,
			.state = report->state,
			.epoch = report->epoch,
			.part = report->part,
			.stays = coordinator->connections[i].rank.stays };
	}
	wt_barrier_start(&coordinator->barrier, goal);
	return 0;
}

static void step_report(struct wt_coordinator *coordinator, size_t index, const struct wt_order *report)
{
	wt_barrier_report(&coordinator->barrier, index, report);
}

/* Everybody's new address, to one rank. */
static void tell_peers(struct wt_coordinator *coordinator, size_t to)
{
	size_t i;

	for (i = 0; i < coordinator->count; i++) {
		const struct wt_barrier_rank *rank = &coordinator->barrier.ranks[i];
		struct wt_order order = { .kind = WT_ORDER_PEER,
			.epoch = coordinator->barrier.epoch,
			.job = rank->job,
			.rank = rank->rank,
			.port = rank->port,
			.verbs_port = rank->verbs_port,
			.token = rank->token };

		memcpy(order.host, rank->host, sizeof order.host);
		memcpy(order.verbs_host, rank->verbs_host, sizeof order.verbs_host);
		if (i != to && !rank->gone)
			say(&coordinator->connections[to], &order);
	}
}

/* Who moves, to one rank that stays. */
static void tell_moves(struct wt_coordinator *coordinator, size_t to)
{
	size_t i;

	for (i = 0; i < coordinator->count; i++) {
		const struct wt_barrier_rank *rank = &coordinator->barrier.ranks[i];
		const struct wt_order order = { .kind = WT_ORDER_MOVES,
			.epoch = coordinator->barrier.epoch,
			.job = rank->job,
			.rank = rank->rank };

		if (!rank->stays && !rank->gone)
			say(&coordinator->connections[to], &order);
	}
}

static void give_orders(struct wt_coordinator *coordinator)
{
	size_t i;

	for (i = 0; i < coordinator->count; i++) {
		struct wt_order order = { .kind = wt_barrier_next(&coordinator->barrier, i),
			.epoch = coordinator->barrier.epoch };

		if (!order.kind)
			continue;
		if (order.kind == WT_ORDER_CONNECT)
			tell_peers(coordinator, i);
		if (order.kind == WT_ORDER_QUIESCE && coordinator->barrier.ranks[i].stays) {
			order.part = wt_barrier_part(&coordinator->barrier);
			tell_moves(coordinator, i);
		}
		say(&coordinator->connections[i], &order);
	}
}

static void notice_dead(struct wt_coordinator *coordinator)
{
	struct wt_error lost = { 0 };
	char why[WT_ORDER_TEXT_MAX];
	size_t i;

	for (i = 0; i < coordinator->count; i++) {
		struct wt_barrier_rank *rank = &coordinator->barrier.ranks[i];

		if (coordinator->connections[i].fd >= 0 || rank->gone)
			continue;
		rank->gone = true;
		if (wt_reach_lost(coordinator->connections[i].reach, &lost)) {
			coordinator->lost = true;
			wt_barrier_trouble(&coordinator->barrier, wt_error_text(&lost));
			continue;
		}
		snprintf(why, sizeof why, "rank %u (process %u) has died, or takes no orders", rank->rank,
			coordinator->connections[i].rank.pid);
		wt_barrier_trouble(&coordinator->barrier, why);
	}
}

static void late(struct wt_coordinator *coordinator, uint64_t timeout_ns)
{
	char why[WT_ORDER_TEXT_MAX];
	size_t i;

	for (i = 0; i < coordinator->count; i++) {
		const struct wt_barrier_rank *rank = &coordinator->barrier.ranks[i];

		if (!rank->asked || rank->gone)
			continue;
		snprintf(why, sizeof why,
			"rank %u has not answered \"%s\" within %llu s; is it stopped, or its host gone?",
			rank->rank, wt_order_name(rank->asked),
			(unsigned long long)(timeout_ns / 1000000000u));
		wt_barrier_trouble(&coordinator->barrier, why);
		return;
	}
	wt_barrier_trouble(&coordinator->barrier, "time is up");
}

static bool everybody(
	const struct wt_coordinator *coordinator, enum wt_rank_state first, enum wt_rank_state last)
{
	size_t i;

	for (i = 0; i < coordinator->count; i++) {
		const struct wt_barrier_rank *rank = &coordinator->barrier.ranks[i];

		if (!rank->gone && (rank->state < first || rank->state > last))
			return false;
	}
	return true;
}

static void take_times(struct wt_coordinator *coordinator)
{
	struct wt_coordinator_times *times = &coordinator->times;
	uint64_t since_ns = now_ns() - coordinator->begun_ns;

	times->all_ns = since_ns;
	if (coordinator->barrier.goal == WT_BARRIER_QUIESCE) {
		if (!times->drain_ns && everybody(coordinator, WT_RANK_DRAINED, WT_RANK_DETACHED))
			times->drain_ns = since_ns;
		times->detach_ns = since_ns - times->drain_ns;
		return;
	}
	if (!times->attach_ns && everybody(coordinator, WT_RANK_ATTACHED, WT_RANK_READY))
		times->attach_ns = since_ns;
	if (!times->join_ns && everybody(coordinator, WT_RANK_READY, WT_RANK_READY))
		times->join_ns = since_ns - times->attach_ns;
}

static int verdict(struct wt_coordinator *coordinator, enum wt_barrier_verdict verdict, struct wt_error *err)
{
	const char *why = coordinator->barrier.why;

	if (coordinator->lost)
		return wt_error_set(err, EBUSY,
			"%.300s; ranks behind it may stand: type `watari-mpi resume` when it can be reached again",
			why);
	switch (verdict) {
	case WT_BARRIER_DONE:
		return 0;
	case WT_BARRIER_ABORTED:
		return wt_error_set(
			err, ECANCELED, "%.200s; the quiesce is given up and the job runs on", why);
	case WT_BARRIER_GOES_ON: /* giving up takes too long; nobody has detached */
		return wt_error_set(err, ECANCELED,
			"%.200s; the quiesce is given up, and ranks that have not answered run on when they can",
			why);
	default:
		return wt_error_set(
			err, EBUSY, "%.200s; `watari-mpi status` says where the ranks stand", why);
	}
}

int wt_coordinator_run(struct wt_coordinator *coordinator, enum wt_barrier_goal goal, uint64_t timeout_ns,
	struct wt_coordinator_times *ret_times, struct wt_error *err)
{
	uint64_t deadline_ns = now_ns() + timeout_ns;
	enum wt_barrier_verdict found;
	int status;

	if (!coordinator->count)
		return wt_error_set(err, ENOENT, "no rank is in %s; has the job ended?", where(coordinator));
	status = job_make(coordinator, goal, err);
	if (status < 0)
		return status;
	coordinator->begun_ns = now_ns();
	for (;;) {
		notice_dead(coordinator);
		give_orders(coordinator);
		found = wt_barrier_verdict(&coordinator->barrier);
		take_times(coordinator);
		if (found != WT_BARRIER_GOES_ON)
			break;
		if (now_ns() >= deadline_ns) {
			if (coordinator->barrier.aborting)
				break;
			late(coordinator, timeout_ns);
			deadline_ns = now_ns() + timeout_ns;
			continue;
		}
		status = listen_all(
			coordinator, (int)((deadline_ns - now_ns()) / 1000000 % 1000000) + 1, step_report);
		if (status < 0)
			return wt_error_set(err, ENOMEM, "out of memory for the ranks");
	}
	*ret_times = coordinator->times;
	return verdict(coordinator, found, err);
}
