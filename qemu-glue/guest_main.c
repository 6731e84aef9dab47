/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_main.c - `watari-guest`: the agent in a guest, which runs hooks when a device must be let go or has
 * come back (docs/DEVICES.md), and passes lines to and fro between its host and the ranks of an MPI job
 * (docs/MPI.md).
 *
 *   1. Every request that could be parsed is answered; while a run is under way, others than PING are
 *      answered "busy". But an attach ends a detach of the same device: the host has given that up. A request
 *      that is repeated, because it or its answer may be lost, is known by its id and not run again.
 *   2. A host that goes away does not end a run: a device that was to be let go is let go.
 *   3. Nothing here needs a network, udev or a shell.
 *   4. A host that goes away ends its session with the ranks of an MPI job.
 *
 * Meant for one small static program: it knows neither QEMU nor the rest of watari.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest_hook.h"
#include "guest_link.h"
#include "guest_ranks.h"

#define TICK_MS 20 /* while something is awaited that sends no event */
#define UNCONNECTED_MS 100
#define WRITE_MS 1000

static const char usage[] =
	"usage: watari-guest [--port FILE] [--hooks FOLDER] [--ranks FOLDER]\n"
	"The agent of watari in a guest. Waits at the virtio-serial port " WT_AGENT_PORT
	" for its host's word,\n"
	"and runs the executables in FOLDER: `HOOK detach NAME` before the device NAME is taken away, `HOOK attach NAME\n"
	"WHAT` when it has come back as WHAT (vfio, a driver of QEMU, or none). It lets watari-mpi of the host talk to\n"
	"the ranks of an MPI job.\n"
	"  --port FILE     the port (default: the one with that name); a Unix socket is connected to, for what is no\n"
	"                  virtual machine\n"
	"  --hooks FOLDER  default: /etc/watari/hooks\n"
	"  --ranks FOLDER  with a folder for each job (default: /run/watari/mpi)\n"
	"  --version\n";

struct agent {
	const char *port_path, *hooks;
	int port_fd, signal_fd;
	bool connected; /* a host has the other end, as far as is known */
	struct wt_agent_lines lines;
	struct wt_guest_run run;
	uint64_t last_id; /* of the run before, and what was answered; NULL without one */
	char *last_answer;
	struct wt_guest_ranks ranks;
};

/* An answer that nobody takes within a second is dropped; false then. */
static bool send_line(struct agent *agent, const char *line)
{
	size_t length = strlen(line), sent = 0;

	/* The line before may have been cut off. */
	if (write(agent->port_fd, "\n", 1) < 0 && errno != EAGAIN)
		return false;
	while (sent < length) {
		struct pollfd wait = { .fd = agent->port_fd, .events = POLLOUT };
		ssize_t n = write(agent->port_fd, line + sent, length - sent);

		if (n > 0)
			sent += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		else if (poll(&wait, 1, WRITE_MS) <= 0 || wait.revents & POLLHUP)
			return false;
	}
	return true;
}

/* The caller's; NULL without memory. */
static char *answer_line(const struct wt_agent_answer *words)
{
	struct wt_agent_answer short_words = { .id = words->id, .ok = words->ok, .ms = words->ms };
	struct wt_error err = { 0 };
	char *line;

	if (!wt_agent_answer_render(words, &line, &err))
		return line;
	snprintf(short_words.error, sizeof short_words.error, "%s", "the answer is no text");
	return wt_agent_answer_render(&short_words, &line, &err) ? NULL : line;
}

static bool answer(struct agent *agent, const struct wt_agent_answer *words)
{
	char *line = answer_line(words);
	bool sent = line && send_line(agent, line);

	free(line);
	return sent;
}

static bool say_of_ranks(void *arg, const struct wt_agent_answer *words)
{
	return answer(arg, words);
}

static bool supersedes(const struct wt_agent_request *request, const struct wt_agent_request *running)
{
	return request->verb == WT_AGENT_ATTACH && running->verb == WT_AGENT_DETACH &&
	       strcmp(request->name, running->name) == 0;
}

static void give_up_run(struct agent *agent)
{
	struct wt_agent_answer words = { .id = agent->run.request.id };

	snprintf(words.error, sizeof words.error, "%s", "it was given up");
	answer(agent, &words);
	wt_guest_run_clear(&agent->run);
}

/* A host repeats what it was not answered: the same id never runs a hook twice. */
static bool repeated(struct agent *agent, const struct wt_agent_request *request)
{
	if (request->verb >= WT_AGENT_RANKS)
		return false;
	if (agent->run.request.verb && request->id == agent->run.request.id)
		return true;
	if (!agent->last_answer || request->id != agent->last_id)
		return false;
	send_line(agent, agent->last_answer);
	return true;
}

static void take_line(void *arg, const char *line, size_t length)
{
	struct agent *agent = arg;
	struct wt_agent_request request;
	struct wt_error err = { 0 };
	struct wt_agent_answer words = { 0 };

	if (wt_agent_request_parse(line, length, &request, &err))
		return;
	if (repeated(agent, &request)) {
		wt_agent_request_clear(&request);
		return;
	}
	words.id = request.id;
	if (supersedes(&request, &agent->run.request))
		give_up_run(agent);
	words.busy = agent->run.request.verb;
	if (request.verb >= WT_AGENT_RANKS) {
		wt_guest_ranks_request(&agent->ranks, &request);
	} else if (request.verb == WT_AGENT_PING) {
		words.ok = true;
		snprintf(words.version, sizeof words.version, "%s", WATARI_VERSION);
		answer(agent, &words);
	} else if (words.busy) {
		snprintf(words.error, sizeof words.error, "the agent is busy with \"%s\"",
			wt_agent_verb_name(agent->run.request.verb));
		answer(agent, &words);
	} else {
		wt_guest_run_start(&agent->run, agent->hooks, &request);
	}
	wt_agent_request_clear(&request);
}

static void read_port(struct agent *agent)
{
	size_t room;
	char *bytes = wt_agent_lines_room(&agent->lines, &room);
	ssize_t n = read(agent->port_fd, bytes, room);

	agent->connected = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n > 0)
		wt_agent_lines_add(&agent->lines, (size_t)n, take_line, agent);
	else if (!agent->connected)
		wt_guest_ranks_end(&agent->ranks);
}

static void tell_end(struct agent *agent)
{
	wt_guest_run_poll(&agent->run);
	if (!agent->run.done)
		return;
	free(agent->last_answer);
	agent->last_id = agent->run.request.id;
	agent->last_answer = answer_line(&agent->run.answer);
	if (agent->last_answer)
		send_line(agent, agent->last_answer);
	wt_guest_run_clear(&agent->run);
}

static void loop(struct agent *agent)
{
	struct signalfd_siginfo info;

	for (;;) {
		bool runs = agent->run.request.verb;
		struct pollfd waits[3 + WT_GUEST_RANKS_MAX] = {
			{ .fd = agent->signal_fd, .events = POLLIN },
			{ .fd = runs ? agent->run.output_fd : -1, .events = POLLIN },
			{ .fd = agent->connected ? agent->port_fd : -1, .events = POLLIN },
		};
		unsigned ranks = wt_guest_ranks_waits(&agent->ranks, waits + 3);

		poll(waits, 3 + ranks,
			runs                   ? TICK_MS
			: !agent->connected    ? UNCONNECTED_MS
			: agent->ranks.session ? WT_GUEST_SILENCE_MS
					       : -1);
		while (read(agent->signal_fd, &info, sizeof info) > 0)
			;
		read_port(agent);
		wt_guest_ranks_poll(&agent->ranks);
		tell_end(agent);
	}
}

static int connect_port(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

static int open_port(struct agent *agent)
{
	char found[128];
	const char *path = agent->port_path;

	while (!path && !wt_guest_port_find(WT_AGENT_PORT, found, sizeof found))
		poll(NULL, 0, 10 * UNCONNECTED_MS); /* its driver may be loaded later */
	if (!path)
		path = found;
	agent->port_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (agent->port_fd < 0 && errno == ENXIO)
		agent->port_fd = connect_port(path);
	if (agent->port_fd < 0)
		fprintf(stderr, "watari-guest: %s cannot be opened: %s\n", path, strerror(errno));
	return agent->port_fd;
}

static bool watch_children(struct agent *agent)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	agent->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return agent->signal_fd >= 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "port", 1, NULL, 'p' }, { "hooks", 1, NULL, 'k' },
		{ "ranks", 1, NULL, 'r' }, { "version", 0, NULL, 'v' }, { "help", 0, NULL, 'h' }, { 0 } };
	static struct agent agent = { .hooks = "/etc/watari/hooks",
		.connected = true,
		.run.output_fd = -1,
		.ranks = { .folder = "/run/watari/mpi", .say = say_of_ranks, .arg = &agent } };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'p':
			agent.port_path = optarg;
			break;
		case 'k':
			agent.hooks = optarg;
			break;
		case 'r':
			agent.ranks.folder = optarg;
			break;
		case 'v':
			puts("watari-guest " WATARI_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	if (optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (!watch_children(&agent) || open_port(&agent) < 0)
		return 1;
	loop(&agent);
}
