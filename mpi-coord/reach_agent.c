/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reach_agent.c - the ranks of a guest, through `watari ranks` on the guest's host; see reach.h. What that
 * command says and is told is at its head (qemu-glue/command_ranks.c).
 *
 * Owns the command, and a pair of sockets for each rank: one end is dialled by the coordinator, the other is
 * the thread's, which passes lines to and fro.
 *   1. The thread alone reads the command's output and its ends of the pairs; ranks[] and counters are under
 *      the lock.
 *   2. What is written to the command is whole lines shorter than PIPE_BUF, so the coordinator's `look` and
 * the thread's lines do not mix.
 *   3. When the command ends every pair ends, and `failed` says why.
 */
#include "reach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "order.h"
#include "thread.h"

#define WORDS_MAX 32
#define LOOK_S 60 /* the command has deadlines of its own; this one is for a host that hangs */
#define END_S 5
#define LINE_BYTES 1024

struct pair {
	char name[WT_REACH_NAME_MAX];
	uint32_t pid;
	int fd;    /* the thread's */
	int given; /* the coordinator's, until it has dialled; then -1 */
	size_t length;
	char line[WT_ORDER_LINE_MAX];
};

struct agent {
	struct wt_reach reach;
	pid_t child;
	int to, from; /* its standard input and output */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t news;
	struct pair *ranks[WT_REACH_AGENT_RANKS_MAX];
	size_t count;
	unsigned looked; /* times */
	bool ended;
	char failed[512];
	size_t length;
	char line[LINE_BYTES];
};

/* ---- what the command says; the thread, with the lock held ---- */

static void fail(struct agent *agent, const char *sentence)
{
	if (!agent->failed[0])
		snprintf(agent->failed, sizeof agent->failed, "%s", sentence);
}

static void pair_free(struct pair *pair)
{
	close(pair->fd);
	if (pair->given >= 0)
		close(pair->given);
	free(pair);
}

static void drop(struct agent *agent, size_t index)
{
	pair_free(agent->ranks[index]);
	agent->ranks[index] = agent->ranks[--agent->count];
}

static bool find(const struct agent *agent, const char *name, size_t *ret_index)
{
	for (*ret_index = 0; *ret_index < agent->count; (*ret_index)++)
		if (strcmp(agent->ranks[*ret_index]->name, name) == 0)
			return true;
	return false;
}

static void met(struct agent *agent, const char *name, uint32_t pid)
{
	struct pair *pair;
	size_t index;
	int fds[2];

	if (strlen(name) >= sizeof pair->name || find(agent, name, &index))
		return;
	pair = agent->count < WT_REACH_AGENT_RANKS_MAX ? calloc(1, sizeof *pair) : NULL;
	if (!pair || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
		fail(agent, "there are more ranks in one guest than can be reached");
		free(pair);
		return;
	}
	strcpy(pair->name, name);
	pair->pid = pid;
	pair->fd = fds[0];
	pair->given = fds[1];
	agent->ranks[agent->count++] = pair;
}

static void said(struct agent *agent, const char *name, char *line)
{
	size_t length = strlen(line);
	size_t index;

	line[length] = '\n'; /* in place of its end, which the reader has put there */
	if (find(agent, name, &index) && send(agent->ranks[index]->fd, line, length + 1,
						 MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length + 1)
		drop(agent, index);
}

static void take_line(struct agent *agent, char *line)
{
	char *rest = line;
	char *word = strsep(&rest, " ");
	char *name;
	size_t index;

	if (strcmp(word, "looked") == 0) {
		agent->looked++;
	} else if (rest && strcmp(word, "failed") == 0) {
		fail(agent, rest);
	} else if (rest) {
		name = strsep(&rest, " ");
		if (strcmp(word, "ended") == 0 && find(agent, name, &index))
			drop(agent, index);
		else if (strcmp(word, "met") == 0 && rest)
			met(agent, name, (uint32_t)strtoul(rest, NULL, 10));
		else if (strcmp(word, "said") == 0 && rest)
			said(agent, name, rest);
	}
}

/* Answers false at the end. */
static bool read_command(struct agent *agent)
{
	ssize_t got = read(agent->from, agent->line + agent->length, sizeof agent->line - agent->length);
	char *end;

	if (got < 0 && errno == EINTR)
		return true;
	if (got > 0)
		agent->length += (size_t)got;
	while (got > 0 && (end = memchr(agent->line, '\n', agent->length))) {
		size_t used = (size_t)(end - agent->line) + 1;

		*end = '\0';
		take_line(agent, agent->line);
		agent->length -= used;
		memmove(agent->line, agent->line + used, agent->length);
	}
	return got > 0 && agent->length < sizeof agent->line && !agent->failed[0];
}

/* ---- what the coordinator says; the thread, with the lock held ---- */

/* A command that takes no orders has ended: the thread reads what it said at its end, and then ends the
 * ranks. */
static void write_command(const struct agent *agent, const char *text, size_t length)
{
	ssize_t written = write(agent->to, text, length);

	(void)written;
}

/* Answers false when the coordinator has closed its end. */
static bool read_pair(struct agent *agent, struct pair *pair)
{
	ssize_t got =
		recv(pair->fd, pair->line + pair->length, sizeof pair->line - pair->length, MSG_DONTWAIT);
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got <= 0)
		return false;
	pair->length += (size_t)got;
	while ((end = memchr(pair->line, '\n', pair->length))) {
		char line[WT_REACH_NAME_MAX + WT_ORDER_LINE_MAX + 2];
		size_t used = (size_t)(end - pair->line) + 1;
		int length = snprintf(line, sizeof line, "%s %.*s", pair->name, (int)used, pair->line);

		write_command(agent, line, (size_t)length);
		pair->length -= used;
		memmove(pair->line, pair->line + used, pair->length);
	}
	return pair->length < sizeof pair->line;
}

/* ---- the thread ---- */

static bool turn(struct agent *agent)
{
	struct pollfd waits[1 + WT_REACH_AGENT_RANKS_MAX] = { { .fd = agent->from, .events = POLLIN } };
	size_t count, i;
	bool goes_on = true;

	pthread_mutex_lock(&agent->lock);
	count = agent->count;
	for (i = 0; i < count; i++)
		waits[1 + i] = (struct pollfd){ .fd = agent->ranks[i]->fd, .events = POLLIN };
	pthread_mutex_unlock(&agent->lock);
	if (poll(waits, 1 + count, -1) < 0)
		return errno == EINTR;
	pthread_mutex_lock(&agent->lock);
	for (i = count; i-- > 0;)
		if (waits[1 + i].revents && !read_pair(agent, agent->ranks[i]))
			drop(agent, i);
	if (waits[0].revents)
		goes_on = read_command(agent);
	pthread_cond_broadcast(&agent->news);
	pthread_mutex_unlock(&agent->lock);
	return goes_on;
}

static void *agent_main(void *arg)
{
	struct agent *agent = arg;

	while (turn(agent))
		;
	pthread_mutex_lock(&agent->lock);
	agent->ended = true;
	fail(agent, "it has ended without a word");
	while (agent->count)
		drop(agent, agent->count - 1);
	pthread_cond_broadcast(&agent->news);
	pthread_mutex_unlock(&agent->lock);
	return NULL;
}

/* ---- the coordinator's side ---- */

static int complain(const struct agent *agent, struct wt_error *err)
{
	return wt_error_set(err, EHOSTUNREACH, "%s: %s", agent->reach.where, agent->failed);
}

static int agent_look(struct wt_reach *reach, wt_reach_found_fn *found, void *arg, struct wt_error *err)
{
	struct agent *agent = (struct agent *)reach;
	struct timespec until;
	char names[WT_REACH_AGENT_RANKS_MAX][WT_REACH_NAME_MAX];
	size_t count = 0;
	unsigned before;
	int status = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LOOK_S;
	pthread_mutex_lock(&agent->lock);
	before = agent->looked;
	write_command(agent, "look\n", 5);
	while (!agent->ended && agent->looked == before && !status)
		status = pthread_cond_timedwait(&agent->news, &agent->lock, &until);
	if (status)
		fail(agent, "no answer came; does that command hang?");
	for (size_t i = 0; i < agent->count; i++)
		if (agent->ranks[i]->given >= 0)
			strcpy(names[count++], agent->ranks[i]->name);
	status = agent->failed[0] ? complain(agent, err) : 0;
	pthread_mutex_unlock(&agent->lock);
	for (size_t i = 0; i < count && status >= 0; i++)
		status = found(arg, names[i], err);
	return status;
}

static int agent_dial(struct wt_reach *reach, const char *name, uint32_t *ret_pid)
{
	struct agent *agent = (struct agent *)reach;
	size_t index;
	int fd = -ENOENT;

	pthread_mutex_lock(&agent->lock);
	if (find(agent, name, &index) && agent->ranks[index]->given >= 0) {
		fd = agent->ranks[index]->given;
		agent->ranks[index]->given = -1;
		*ret_pid = agent->ranks[index]->pid;
	}
	pthread_mutex_unlock(&agent->lock);
	return fd;
}

static bool agent_lost(struct wt_reach *reach, struct wt_error *err)
{
	struct agent *agent = (struct agent *)reach;
	bool lost;

	pthread_mutex_lock(&agent->lock);
	lost = agent->failed[0];
	if (lost)
		complain(agent, err);
	pthread_mutex_unlock(&agent->lock);
	return lost;
}

static void end_command(const struct agent *agent)
{
	kill(-agent->child, SIGKILL);
	kill(agent->child, SIGKILL);
}

/* The command ends with its standard input, its output then ends the thread. */
static void agent_close(struct wt_reach *reach)
{
	struct agent *agent = (struct agent *)reach;
	struct timespec until;
	int status = 0;

	close(agent->to);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += END_S;
	pthread_mutex_lock(&agent->lock);
	while (!agent->ended && !status)
		status = pthread_cond_timedwait(&agent->news, &agent->lock, &until);
	pthread_mutex_unlock(&agent->lock);
	if (status)
		end_command(agent);
	pthread_join(agent->thread, NULL);
	end_command(agent); /* what is left of it */
	waitpid(agent->child, NULL, 0);
	close(agent->from);
	pthread_mutex_destroy(&agent->lock);
	pthread_cond_destroy(&agent->news);
	free(agent);
}

/* ---- starting ---- */

/* The last word of agent is the socket, those before it run the command there. Cuts text up. */
static int words_make(char *text, const char *watari, const char *job, const char **ret_words)
{
	char *word, *rest = text;
	unsigned count = 0;

	while ((word = strsep(&rest, " ")))
		if (*word && count < WORDS_MAX)
			ret_words[count++] = word;
	if (!count || count == WORDS_MAX)
		return -EINVAL;
	word = (char *)ret_words[--count];
	ret_words[count++] = watari;
	ret_words[count++] = "ranks";
	ret_words[count++] = "--agent";
	ret_words[count++] = word;
	ret_words[count++] = job;
	ret_words[count] = NULL;
	return 0;
}

__attribute__((noreturn)) static void become(const char *const *words, int in, int out)
{
	setpgid(0, 0); /* Ctrl-C is the coordinator's */
	dup2(in, 0);
	dup2(out, 1);
	execvp(words[0], (char *const *)words);
	printf("failed %s cannot be run: %s\n", words[0], strerror(errno));
	fflush(stdout);
	_exit(127);
}

static int start(struct agent *agent, const char *const *words)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC))
		return -errno;
	if (pipe2(out, O_CLOEXEC)) {
		close(in[0]);
		close(in[1]);
		return -errno;
	}
	agent->child = fork();
	if (!agent->child)
		become(words, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	agent->to = in[1];
	agent->from = out[0];
	if (agent->child > 0)
		return 0;
	close(agent->to);
	close(agent->from);
	return -EAGAIN;
}

static const struct wt_reach_ops agent_ops = {
	.look = agent_look,
	.dial = agent_dial,
	.lost = agent_lost,
	.close = agent_close,
};

int wt_reach_agent_open(const char *agent_words, const char *watari, const char *job,
	struct wt_reach **ret_reach, struct wt_error *err)
{
	const char *words[WORDS_MAX + 8];
	struct agent *agent = calloc(1, sizeof *agent);
	char *text = strdup(agent_words);
	int status = -ENOMEM;

	signal(SIGPIPE, SIG_IGN);
	if (agent && text)
		status = words_make(text, watari, job, words);
	if (status >= 0) {
		agent->reach.ops = &agent_ops;
		agent->reach.guest = true;
		snprintf(agent->reach.where, sizeof agent->reach.where, "--agent \"%s\"", agent_words);
		pthread_mutex_init(&agent->lock, NULL);
		pthread_cond_init(&agent->news, NULL);
		status = start(agent, words);
	}
	if (status >= 0) {
		status = wt_thread_start(agent_main, agent, &agent->thread);
		if (status < 0) {
			close(agent->to);
			close(agent->from);
			waitpid(agent->child, NULL, 0);
		}
	}
	free(text);
	if (status < 0) {
		free(agent);
		return wt_error_set(err, -status,
			"\"%s\" cannot be used as --agent: %s; its last word is the socket of the guest's agent",
			agent_words, strerror(-status));
	}
	*ret_reach = &agent->reach;
	return 0;
}
