/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_ranks.c - see guest_ranks.h. Part of watari-guest.
 *
 *   1. One session at a time; a new one ends the one before, and with it all its connections.
 *   2. What cannot be passed on is not dropped: a rank that takes nothing for TAKES_MS has ended, and with a
 *      host that takes nothing the session ends. So neither end ever misses a line and goes on.
 *   3. Nothing is read from a rank but whole lines of at most WT_GUEST_RANK_LINE bytes.
 */
#include "guest_ranks.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest_hook.h"

#define TAKES_MS 1000

void wt_guest_ranks_end(struct wt_guest_ranks *ranks)
{
	for (unsigned i = 0; i < ranks->count; i++) {
		close(ranks->ranks[i]->fd);
		free(ranks->ranks[i]);
	}
	ranks->count = 0;
	ranks->session = 0;
}

/* Answers whether the session goes on. */
static bool say(struct wt_guest_ranks *ranks, struct wt_agent_answer *words)
{
	words->id = ranks->session;
	if (ranks->say(ranks->arg, words))
		return true;
	wt_guest_ranks_end(ranks);
	return false;
}

static bool say_of(struct wt_guest_ranks *ranks, const char *name, uint32_t pid, char *line)
{
	struct wt_agent_answer words = { .ok = true, .pid = pid, .output = line };

	strcpy(words.rank, name);
	return say(ranks, &words);
}

static void rank_ended(struct wt_guest_ranks *ranks, unsigned index)
{
	struct wt_agent_answer words = { .error = "it has ended" };
	struct wt_guest_rank *rank = ranks->ranks[index];

	strcpy(words.rank, rank->name);
	close(rank->fd);
	free(rank);
	ranks->ranks[index] = ranks->ranks[--ranks->count];
	say(ranks, &words);
}

/* ---- those that are there ---- */

static struct wt_guest_rank *find(struct wt_guest_ranks *ranks, const char *name, unsigned *ret_index)
{
	for (*ret_index = 0; *ret_index < ranks->count; (*ret_index)++)
		if (strcmp(ranks->ranks[*ret_index]->name, name) == 0)
			return ranks->ranks[*ret_index];
	return NULL;
}

/* -1: nobody listens there. */
static int dial(const struct wt_guest_ranks *ranks, const char *name, uint32_t *ret_pid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred who = { 0 };
	socklen_t length = sizeof who;
	int fd;

	if (snprintf(address.sun_path, sizeof address.sun_path, "%s/%s/%s", ranks->folder, ranks->job,
		    name) >= (int)sizeof address.sun_path)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length)) {
		close(fd);
		return -1;
	}
	*ret_pid = (uint32_t)who.pid;
	return fd;
}

/* Answers whether the session goes on. */
static bool meet(struct wt_guest_ranks *ranks, const char *name)
{
	struct wt_guest_rank *rank;
	uint32_t pid;
	unsigned i;
	int fd;

	if (!wt_device_name_good(name) || ranks->count == WT_GUEST_RANKS_MAX || find(ranks, name, &i))
		return true;
	fd = dial(ranks, name, &pid);
	if (fd < 0)
		return true; /* left behind by one that died, or just leaving */
	rank = calloc(1, sizeof *rank);
	if (!rank) {
		close(fd);
		return true;
	}
	rank->fd = fd;
	strcpy(rank->name, name);
	ranks->ranks[ranks->count++] = rank;
	return say_of(ranks, name, pid, NULL);
}

static bool is_socket_name(const char *name)
{
	size_t length = strlen(name);

	return length > 5 && strcmp(name + length - 5, ".sock") == 0;
}

static void look(struct wt_guest_ranks *ranks)
{
	struct wt_agent_answer words = { .ok = true };
	struct dirent *entry;
	char path[PATH_MAX];
	bool goes_on = true;
	DIR *dir;

	ranks->until_ns = wt_guest_now_ns() + WT_GUEST_SILENCE_MS * 1000000ull;
	snprintf(path, sizeof path, "%s/%s", ranks->folder, ranks->job);
	dir = opendir(path);
	while (goes_on && dir && (entry = readdir(dir)))
		if (is_socket_name(entry->d_name))
			goes_on = meet(ranks, entry->d_name);
	if (dir)
		closedir(dir);
	snprintf(words.version, sizeof words.version, "%s", WATARI_VERSION);
	if (goes_on)
		say(ranks, &words);
}

/* ---- lines ---- */

static bool pass_to(int fd, const char *text, size_t length)
{
	while (length) {
		struct pollfd wait = { .fd = fd, .events = POLLOUT };
		ssize_t n = send(fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			text += n;
			length -= (size_t)n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			return false;
		} else if (poll(&wait, 1, TAKES_MS) <= 0) {
			return false;
		}
	}
	return true;
}

/* A rank that is not there any more: the host has been told, or is about to be. */
static void tell(struct wt_guest_ranks *ranks, const char *name, const char *line)
{
	unsigned index;
	struct wt_guest_rank *rank = find(ranks, name, &index);

	if (rank && line && !(pass_to(rank->fd, line, strlen(line)) && pass_to(rank->fd, "\n", 1)))
		rank_ended(ranks, index);
}

/* What is no UTF-8 could not be said. */
static void make_ascii(char *line)
{
	for (; *line; line++)
		if (*line < ' ' || *line > '~')
			*line = '?';
}

/* Answers false when the rank is gone, or the session. */
static bool hear(struct wt_guest_ranks *ranks, unsigned index)
{
	struct wt_guest_rank *rank = ranks->ranks[index];
	ssize_t got = recv(rank->fd, rank->line + rank->length, sizeof rank->line - rank->length, 0);
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got > 0)
		rank->length += (size_t)got;
	while (got > 0 && (end = memchr(rank->line, '\n', rank->length))) {
		size_t used = (size_t)(end - rank->line) + 1;

		*end = '\0';
		make_ascii(rank->line);
		if (!say_of(ranks, rank->name, 0, rank->line))
			return false;
		rank->length -= used;
		memmove(rank->line, rank->line + used, rank->length);
	}
	if (got > 0 && rank->length < sizeof rank->line)
		return true;
	rank_ended(ranks, index);
	return false;
}

/* ---- the session ---- */

void wt_guest_ranks_request(struct wt_guest_ranks *ranks, const struct wt_agent_request *request)
{
	struct wt_agent_answer words = { .id = request->id,
		.error = "there is no such session; this agent is new, or another host has one" };

	if (request->verb == WT_AGENT_RANKS) {
		wt_guest_ranks_end(ranks);
		ranks->session = request->id;
		strcpy(ranks->job, request->name);
		look(ranks);
	} else if (request->id != ranks->session) {
		ranks->say(ranks->arg, &words);
	} else if (request->verb == WT_AGENT_LOOK) {
		look(ranks);
	} else {
		tell(ranks, request->name, request->data);
	}
}

unsigned wt_guest_ranks_waits(const struct wt_guest_ranks *ranks, struct pollfd *waits)
{
	for (unsigned i = 0; i < ranks->count; i++)
		waits[i] = (struct pollfd){ .fd = ranks->ranks[i]->fd, .events = POLLIN };
	return ranks->count;
}

void wt_guest_ranks_poll(struct wt_guest_ranks *ranks)
{
	unsigned i = 0;

	if (ranks->session && wt_guest_now_ns() >= ranks->until_ns)
		wt_guest_ranks_end(ranks);
	while (i < ranks->count)
		i += hear(ranks, i);
}
