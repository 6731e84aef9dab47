/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_ranks.c - `watari ranks`: standard input and output become a session with the ranks of an MPI job
 * in a guest, through the guest's agent. watari-mpi starts it, on the host where the agent's socket is.
 *
 *   in   look                    are there more ranks?
 *        RANK LINE               goes to that rank
 *   out  met RANK PID            a rank that was not known before
 *        said RANK LINE
 *        ended RANK
 *        looked                  to each look, and once at the beginning: behind the ranks met by it
 *        failed SENTENCE         the last line: there is no session any more
 *
 *   1. The agent is asked for a sign of life every BEAT_MS; one that leaves QUIET_BEATS_MAX of them
 * unanswered is lost. Time is counted in beats: one that this process sleeps through counts once, so that a
 * host that stands still for a while does not take its own pause for the agent's.
 *   2. What the guest says is printable text of one line, or an error.
 *   3. The session ends with standard input.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "agent_message.h"
#include "command.h"
#include "guest_hook.h"
#include "printable.h"

#define PING_MS 250
#define PINGS_MAX 40
#define BEAT_MS 1000
#define QUIET_BEATS_MAX 30
#define SEND_S 5
#define LINE_MAX_BYTES 1024 /* of standard input */

static const char usage[] =
	"usage: watari ranks --agent SOCKET JOB\n"
	"Connects standard input and output with the ranks of an MPI job in a guest, through its agent. For watari-mpi.\n"
	"  --agent SOCKET  the socket of the guest's agent (the chardev behind its port " WT_AGENT_PORT ")\n";

struct bridge {
	const char *agent_path, *job;
	int fd;
	uint64_t session;
	struct wt_agent_lines lines;
	char input[LINE_MAX_BYTES];
	size_t input_length;
	uint64_t beat_ns; /* when the next beat is due */
	unsigned quiet;   /* beats since the agent said something */
	bool heard;       /* it has, since wait_answer asked */
	char version[32];
	bool begun, failed; /* begun: no ping any more */
};

static void fail(struct bridge *bridge, const char *sentence)
{
	char shown[512];

	if (!bridge->failed)
		printf("failed %s\n", wt_printable(sentence, strlen(sentence), shown, sizeof shown));
	bridge->failed = true;
}

static void failf(struct bridge *bridge, const char *what)
{
	char text[512];

	snprintf(text, sizeof text, "the guest's agent %s", what);
	fail(bridge, text);
}

/* ---- the agent ---- */

static void ask(struct bridge *bridge, enum wt_agent_verb verb, const char *name, char *data)
{
	struct wt_agent_request request = { .id = bridge->session, .verb = verb, .data = data };
	struct wt_error err = { 0 };
	char *line;
	size_t length;

	strcpy(request.name, name);
	if (wt_agent_request_render(&request, &line, &err)) {
		fail(bridge, wt_error_text(&err));
		return;
	}
	length = strlen(line);
	/* A newline before it: another client may have left half a line. */
	if (send(bridge->fd, "\n", 1, MSG_NOSIGNAL) != 1 ||
		send(bridge->fd, line, length, MSG_NOSIGNAL) != (ssize_t)length)
		failf(bridge, "takes nothing any more; does watari-guest run there?");
	free(line);
}

static void take_answer(void *arg, const char *line, size_t length)
{
	struct bridge *bridge = arg;
	struct wt_agent_answer answer;
	struct wt_error err = { 0 };
	char text[512];

	if (bridge->failed || wt_agent_answer_parse(line, length, &answer, &err))
		return;
	if (answer.id == bridge->session) {
		bridge->heard = true;
		bridge->quiet = 0;
		snprintf(bridge->version, sizeof bridge->version, "%s", answer.version);
		if (answer.rank[0] && answer.output)
			printf("said %s %s\n", answer.rank,
				wt_printable(answer.output, strlen(answer.output), text, sizeof text));
		else if (answer.rank[0] && answer.ok)
			printf("met %s %u\n", answer.rank, answer.pid);
		else if (answer.rank[0])
			printf("ended %s\n", answer.rank);
		else if (answer.ok && bridge->begun)
			puts("looked");
		else if (!answer.ok) {
			snprintf(text, sizeof text, "has lost its session: %s", answer.error);
			failf(bridge, text);
		}
	}
	wt_agent_answer_clear(&answer);
}

static void read_agent(struct bridge *bridge)
{
	size_t room;
	char *bytes = wt_agent_lines_room(&bridge->lines, &room);
	ssize_t n = recv(bridge->fd, bytes, room, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		wt_agent_lines_add(&bridge->lines, (size_t)n, take_answer, bridge);
	else
		failf(bridge, "cannot be heard any more: QEMU has closed the socket, or has ended");
}

static int connect_agent(struct bridge *bridge)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = SEND_S };
	char text[256];

	if (strlen(bridge->agent_path) >= sizeof address.sun_path) {
		failf(bridge, "has a path that is too long for a socket");
		return -1;
	}
	strcpy(address.sun_path, bridge->agent_path);
	bridge->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bridge->fd >= 0 && !setsockopt(bridge->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) &&
		!connect(bridge->fd, (struct sockaddr *)&address, sizeof address))
		return 0;
	snprintf(text, sizeof text,
		"cannot be reached: %s; is that the socket of its port, where the guest is now?",
		strerror(errno));
	failf(bridge, text);
	return -1;
}

/* Answers whether a beat is due, and counts it. */
static bool beat(struct bridge *bridge, unsigned ms)
{
	uint64_t now_ns = wt_guest_now_ns();

	if (now_ns < bridge->beat_ns)
		return false;
	bridge->beat_ns = now_ns + ms * 1000000ull;
	bridge->quiet++;
	return true;
}

/* Until the agent has answered, or PINGS_MAX beats are over. Only a ping is said again: each RANKS begins a
 * new session. */
static void wait_answer(struct bridge *bridge, enum wt_agent_verb verb, const char *name)
{
	struct pollfd wait = { .fd = bridge->fd, .events = POLLIN };

	bridge->heard = false;
	bridge->beat_ns = 0;
	bridge->quiet = 0;
	while (!bridge->failed && !bridge->heard) {
		if (beat(bridge, PING_MS)) {
			if (bridge->quiet > PINGS_MAX)
				break;
			if (bridge->quiet == 1 || verb == WT_AGENT_PING)
				ask(bridge, verb, name, NULL);
		}
		if (poll(&wait, 1, PING_MS) > 0)
			read_agent(bridge);
	}
}

/* ---- standard input ---- */

static void take_input(struct bridge *bridge, char *line)
{
	char *space = strchr(line, ' ');

	if (strcmp(line, "look") == 0) {
		ask(bridge, WT_AGENT_LOOK, "", NULL);
		return;
	}
	if (space)
		*space = '\0';
	if (space && wt_device_name_good(line))
		ask(bridge, WT_AGENT_TELL, line, space + 1);
	else
		fail(bridge, "standard input has a line that is neither \"look\" nor \"RANK LINE\"");
}

/* Answers false at its end. */
static bool read_input(struct bridge *bridge)
{
	ssize_t n =
		read(0, bridge->input + bridge->input_length, sizeof bridge->input - bridge->input_length);
	char *end;

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0)
		return false;
	bridge->input_length += (size_t)n;
	while (!bridge->failed && (end = memchr(bridge->input, '\n', bridge->input_length))) {
		size_t used = (size_t)(end - bridge->input) + 1;

		*end = '\0';
		take_input(bridge, bridge->input);
		bridge->input_length -= used;
		memmove(bridge->input, bridge->input + used, bridge->input_length);
	}
	if (bridge->input_length == sizeof bridge->input)
		fail(bridge, "standard input has a line that is too long");
	return true;
}

static void pass(struct bridge *bridge)
{
	bool more = true;

	bridge->beat_ns = wt_guest_now_ns() + BEAT_MS * 1000000ull;
	while (!bridge->failed && more) {
		struct pollfd waits[] = { { .fd = 0, .events = POLLIN },
			{ .fd = bridge->fd, .events = POLLIN } };

		if (beat(bridge, BEAT_MS)) {
			if (bridge->quiet > QUIET_BEATS_MAX) {
				failf(bridge,
					"does not answer any more; does the guest run, and watari-guest in it?");
				break;
			}
			ask(bridge, WT_AGENT_LOOK, "", NULL);
		}
		poll(waits, 2, BEAT_MS);
		if (waits[1].revents)
			read_agent(bridge);
		if (waits[0].revents)
			more = read_input(bridge);
	}
}

static void run(struct bridge *bridge)
{
	char text[256];

	if (connect_agent(bridge))
		return;
	wait_answer(bridge, WT_AGENT_PING, "");
	if (!bridge->failed && !bridge->heard)
		failf(bridge,
			"does not answer; does watari-guest run there, and has nobody else connected to that socket?");
	snprintf(text, sizeof text,
		"is of version %.31s, which does not know MPI jobs; install the watari-guest of this version, " WATARI_VERSION,
		bridge->version);
	if (!bridge->failed) {
		bridge->begun = true;
		bridge->session++;
		wait_answer(bridge, WT_AGENT_RANKS, bridge->job);
	}
	if (!bridge->failed && !bridge->heard)
		failf(bridge, text);
	if (!bridge->failed)
		pass(bridge);
}

int wt_command_ranks(int argc, char **argv)
{
	static const struct option options[] = { { "agent", 1, NULL, 'a' }, { "help", 0, NULL, 'h' }, { 0 } };
	static struct bridge bridge = { .fd = -1 };
	uint32_t start = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h')
			return wt_command_help(usage);
		if (option != 'a')
			return wt_command_usage(usage);
		bridge.agent_path = optarg;
	}
	if (!bridge.agent_path || optind + 1 != argc)
		return wt_command_usage(usage);
	bridge.job = argv[optind];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!wt_device_name_good(bridge.job))
		fail(&bridge,
			"a job that is reached through an agent has a name of letters, digits, _ . and -");
	else if (RAND_bytes((unsigned char *)&start, sizeof start) != 1)
		fail(&bridge, "no random number for a session");
	bridge.session = 1 + ((uint64_t)start << 16);
	if (!bridge.failed)
		run(&bridge);
	if (bridge.fd >= 0)
		close(bridge.fd);
	return bridge.failed ? WT_EXIT_FAILED : WT_EXIT_OK;
}
