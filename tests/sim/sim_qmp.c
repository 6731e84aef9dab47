/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_qmp.c - QMP without a socket: commands and answers take their time. Replaces qemu-glue's qmp.c.
 *
 * Commands reach QEMU in order, answers and events come back in order. wt_qmp_call leaves what comes before
 * its answer for the loop.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp.h"
#include "sim_qemu.h"

#define DELAY_NS (2 * SIM_MS) /* one way, at most */

struct command {
	struct command *next;
	uint64_t at_ns, id;
	char name[40];
	json_t *arguments;
	wt_qmp_reply_fn *reply;
	void *arg;
};

/* Towards the relay: an answer (id), an event (name), or the end. */
struct news {
	struct news *next;
	uint64_t at_ns, id;
	char name[24];
	json_t *result;
	struct wt_error err;
	wt_qmp_reply_fn *reply;
	void *arg;
};

struct wt_qmp {
	struct wt_qmp *next; /* of all */
	struct sim_qemu *qemu;
	struct wt_loop *loop;
	struct wt_qmp_events events;
	void *arg;
	struct command *commands;
	struct news *news;
	uint64_t last_command_ns, last_news_ns, last_id;
	struct wt_timer to_qemu, to_relay;
	bool gone;
	unsigned entered;
	bool closed;
};

static struct wt_qmp *all;

static void news_free(struct news *news)
{
	json_decref(news->result);
	free(news);
}

static void deliver(void *arg, uint64_t now_ns);

static struct news *tell(struct wt_qmp *qmp)
{
	struct news *news = calloc(1, sizeof *news), **at = &qmp->news;

	if (!news)
		abort();
	news->at_ns = sim_now_ns + sim_below(DELAY_NS);
	if (news->at_ns < qmp->last_news_ns)
		news->at_ns = qmp->last_news_ns;
	qmp->last_news_ns = news->at_ns;
	while (*at)
		at = &(*at)->next;
	*at = news;
	if (qmp->news == news)
		wt_loop_timer_set(qmp->loop, &qmp->to_relay, news->at_ns, deliver, qmp);
	return news;
}

static void hand_over(struct wt_qmp *qmp, struct news *news)
{
	if (news->reply)
		news->reply(news->arg, news->result, &news->err);
	else if (news->name[0] && qmp->events.event)
		qmp->events.event(qmp->arg, news->name, NULL);
	else if (!news->id && !news->name[0] && qmp->events.closed)
		qmp->events.closed(qmp->arg, &news->err);
	news_free(news);
}

static void qmp_free(struct wt_qmp *qmp)
{
	while (qmp->news) {
		struct news *news = qmp->news;

		qmp->news = news->next;
		news_free(news);
	}
	free(qmp);
}

static void deliver(void *arg, uint64_t now_ns)
{
	struct wt_qmp *qmp = arg;

	qmp->entered++;
	while (qmp->news && qmp->news->at_ns <= now_ns && !qmp->closed) {
		struct news *news = qmp->news;

		qmp->news = news->next;
		hand_over(qmp, news);
	}
	qmp->entered--;
	if (qmp->closed)
		qmp_free(qmp);
	else if (qmp->news)
		wt_loop_timer_set(qmp->loop, &qmp->to_relay, qmp->news->at_ns, deliver, qmp);
}

static void answer(struct wt_qmp *qmp, struct command *command, json_t *result, const struct wt_error *err)
{
	struct news *news = tell(qmp);

	news->id = command->id;
	news->reply = command->reply;
	news->arg = command->arg;
	news->result = result;
	if (!result)
		news->err = *err;
	json_decref(command->arguments);
	free(command);
}

/* In QEMU's loop. */
static void execute(void *arg, uint64_t now_ns)
{
	struct wt_qmp *qmp = arg;

	while (qmp->commands && qmp->commands->at_ns <= now_ns && !qmp->gone) {
		struct command *command = qmp->commands;
		struct wt_error err = { 0 };
		json_t *result;

		qmp->commands = command->next;
		if (strncmp(command->name, "query-", 6))
			sim_trace("QMP %s: %s", sim_party_name(sim_qemu_party(qmp->qemu)), command->name);
		result = sim_qemu_command(qmp->qemu, command->name, command->arguments, &err);
		answer(qmp, command, result, &err);
	}
	if (qmp->commands && !qmp->gone)
		wt_loop_timer_set(
			sim_qemu_loop(qmp->qemu), &qmp->to_qemu, qmp->commands->at_ns, execute, qmp);
}

int wt_qmp_open(struct wt_loop *loop, const char *socket_path, uint64_t timeout_ns,
	const struct wt_qmp_events *events, void *arg, struct wt_qmp **ret_qmp, struct wt_error *err)
{
	struct wt_qmp *qmp = calloc(1, sizeof *qmp);

	if (!qmp)
		abort();
	qmp->qemu = sim_qemu_find(socket_path);
	if (!sim_qemu_alive(qmp->qemu)) {
		free(qmp);
		return wt_error_set(err, ECONNREFUSED, "QEMU is not there");
	}
	qmp->loop = loop;
	qmp->events = *events;
	qmp->arg = arg;
	qmp->next = all;
	all = qmp;
	*ret_qmp = qmp;
	return 0;
}

pid_t wt_qmp_pid(const struct wt_qmp *qmp)
{
	return 0;
}

/* What is under way to QEMU still gets there, unless its sender was killed with it unsent; either happens. */
void wt_qmp_close(struct wt_qmp *qmp)
{
	struct wt_qmp **at = &all;

	while (*at != qmp)
		at = &(*at)->next;
	*at = qmp->next;
	while (qmp->commands) {
		struct command *command = qmp->commands;
		struct wt_error err = { 0 };

		qmp->commands = command->next;
		if (!qmp->gone && sim_one_in(2))
			json_decref(sim_qemu_command(qmp->qemu, command->name, command->arguments, &err));
		json_decref(command->arguments);
		free(command);
	}
	wt_loop_timer_clear(sim_qemu_loop(qmp->qemu), &qmp->to_qemu);
	wt_loop_timer_clear(qmp->loop, &qmp->to_relay);
	qmp->closed = true;
	if (!qmp->entered)
		qmp_free(qmp);
}

static uint64_t send_command(
	struct wt_qmp *qmp, const char *name, json_t *arguments, wt_qmp_reply_fn *reply, void *arg)
{
	struct command *command = calloc(1, sizeof *command), **at = &qmp->commands;

	if (!command)
		abort();
	*command = (struct command){ .at_ns = sim_now_ns + sim_below(DELAY_NS),
		.id = ++qmp->last_id,
		.arguments = arguments,
		.reply = reply,
		.arg = arg };
	snprintf(command->name, sizeof command->name, "%s", name);
	if (command->at_ns < qmp->last_command_ns)
		command->at_ns = qmp->last_command_ns;
	qmp->last_command_ns = command->at_ns;
	while (*at)
		at = &(*at)->next;
	*at = command;
	if (qmp->commands == command)
		wt_loop_timer_set(sim_qemu_loop(qmp->qemu), &qmp->to_qemu, command->at_ns, execute, qmp);
	return command->id;
}

int wt_qmp_execute(
	struct wt_qmp *qmp, const char *command, json_t *arguments, wt_qmp_reply_fn *reply, void *arg)
{
	if (strcmp(command, "cont") == 0 && !sim_party_dead(sim_current))
		sim_qemu_told(qmp->qemu);
	if (qmp->gone || sim_party_dead(sim_current)) {
		json_decref(arguments);
		return -ENOTCONN;
	}
	send_command(qmp, command, arguments, reply, arg);
	return 0;
}

struct call {
	struct wt_qmp *qmp;
	uint64_t id;
};

static struct news **call_answer(const struct call *call)
{
	struct news **at = &call->qmp->news;

	while (*at && (*at)->id != call->id)
		at = &(*at)->next;
	return at;
}

static bool call_done(void *arg)
{
	struct call *call = arg;
	const struct news *news = *call_answer(call);

	return call->qmp->gone || (news && news->at_ns <= sim_now_ns);
}

int wt_qmp_call(struct wt_qmp *qmp, const char *command, json_t *arguments, uint64_t timeout_ns,
	json_t **ret_result, struct wt_error *err)
{
	struct call call = { .qmp = qmp };
	uint64_t deadline_ns = sim_now_ns + timeout_ns;
	struct news **at, *news;
	int r = 0;

	if (qmp->gone || sim_party_dead(sim_current)) {
		json_decref(arguments);
		return wt_error_set(err, ECONNRESET, "%s: QEMU is gone", command);
	}
	call.id = send_command(qmp, command, arguments, NULL, NULL);
	while (!call_done(&call) && sim_now_ns < deadline_ns && !sim_party_dead(sim_current))
		sim_wait(call_done, &call,
			*call_answer(&call) && (*call_answer(&call))->at_ns < deadline_ns
				? (*call_answer(&call))->at_ns
				: sim_now_ns + DELAY_NS);
	at = call_answer(&call);
	news = *at;
	if (!news)
		return wt_error_set(err, ECONNRESET, "%s: QEMU is gone, or does not answer", command);
	*at = news->next;
	if (!news->result)
		r = wt_error_set(err, news->err.code, "%s: %s", command, news->err.text);
	else if (ret_result)
		*ret_result = json_incref(news->result);
	news_free(news);
	return r;
}

void sim_qmp_event(struct sim_qemu *qemu, const char *name)
{
	for (struct wt_qmp *qmp = all; qmp; qmp = qmp->next)
		if (qmp->qemu == qemu && !qmp->gone) {
			struct news *news = tell(qmp);

			snprintf(news->name, sizeof news->name, "%s", name);
		}
}

void sim_qmp_gone(struct sim_qemu *qemu)
{
	for (struct wt_qmp *qmp = all; qmp; qmp = qmp->next) {
		struct wt_error err = { 0 };
		struct news *news;

		if (qmp->qemu != qemu || qmp->gone)
			continue;
		qmp->gone = true;
		wt_error_set(&err, ECONNRESET, "QEMU closed its monitor");
		while (qmp->commands) {
			struct command *command = qmp->commands;

			qmp->commands = command->next;
			answer(qmp, command, NULL, &err);
		}
		news = tell(qmp);
		news->err = err;
	}
}

uint64_t wt_qmp_event_age_ns(const struct wt_qmp *qmp)
{
	return 0;
}

const char *wt_qmp_version(const struct wt_qmp *qmp)
{
	return "7.2.22";
}
