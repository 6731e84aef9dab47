/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_step.c - see rejuvenate_step.h.
 */
#include "rejuvenate_step.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "printable.h"
#include "relay.h"

#define SECOND_NS 1000000000ull
#define ONCE_NS (15 * SECOND_NS) /* an attempt to reach a host */
#define AGAIN_NS SECOND_NS
#define RESTARTS_MAX 3
#define WORDS_MAX (2 * WT_PLAN_WORDS_MAX + 16)

/* Also what prints no end of its last line gets a line of its own behind it. */
static const char with_code[] = "\"$@\"; printf '\\n{\"exit\":%d}\\n' $?";

struct line {
	const char *words[WORDS_MAX + 1];
	unsigned count;
};

static void add(struct line *line, const char *word)
{
	line->words[line->count++] = word;
	line->words[line->count] = NULL;
}

static void add_all(struct line *line, const struct wt_plan_words *words)
{
	for (unsigned i = 0; i < words->count; i++)
		add(line, words->words[i]);
}

static enum wt_rejuvenate_step kind_of(const struct wt_rejuvenate_run_step *s)
{
	return (enum wt_rejuvenate_step)s->action.step;
}

static bool is_gang(const struct wt_rejuvenate_run_step *s)
{
	return kind_of(s) == WT_REJUVENATE_LEAVE || kind_of(s) == WT_REJUVENATE_RETURN;
}

static bool asks_host(const struct wt_rejuvenate_run_step *s)
{
	return kind_of(s) == WT_REJUVENATE_CHECK || kind_of(s) == WT_REJUVENATE_PROBE;
}

static const struct wt_rejuvenate_plan_host *host_of(const struct wt_rejuvenate_run_step *s)
{
	return &s->plan->hosts[s->host];
}

/* ---- the end ---- */

__attribute__((format(printf, 3, 4))) static void ended(
	struct wt_rejuvenate_run_step *s, enum wt_rejuvenate_result result, const char *format, ...)
{
	va_list list;

	if (s->end.result)
		return;
	s->end.result = result;
	va_start(list, format);
	vsnprintf(s->end.text, sizeof s->end.text, format, list);
	va_end(list);
}

/* What it has said itself of why. */
static const char *said(struct wt_rejuvenate_run_step *s)
{
	if (!s->error[0])
		wt_gang_process_said(&s->process, s->error, sizeof s->error);
	return s->error[0] ? s->error : "it has not said why";
}

/* ---- commands ---- */

static int write_plan(const char *path, const char *text, struct wt_error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t length = strlen(text);
	int r = 0;

	if (fd < 0 || write(fd, text, length) != (ssize_t)length || fsync(fd))
		r = wt_error_set(err, errno ? errno : EIO, "%s cannot be written: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return r;
}

/* A gang that was begun is gone on with. */
static int gang_line(
	struct wt_rejuvenate_run_step *s, struct line *line, char *path, size_t size, struct wt_error *err)
{
	const struct wt_rejuvenate_plan_guest *guest = &s->plan->guests[s->action.which];
	char journal[PATH_MAX + 16];
	int r = 0;

	snprintf(path, size, "%s.plan", s->path);
	snprintf(journal, sizeof journal, "%s.journal", path);
	s->resumed = access(journal, F_OK) == 0;
	if (!s->resumed)
		r = write_plan(path, kind_of(s) == WT_REJUVENATE_LEAVE ? guest->leave : guest->back, err);
	add(line, s->program);
	add(line, "gang");
	add(line, path);
	add(line, "--json");
	if (s->resumed)
		add(line, "--resume");
	return r;
}

static void upgrade_line(const struct wt_rejuvenate_run_step *s, struct line *line)
{
	const struct wt_rejuvenate_plan_guest *guest = &s->plan->guests[s->action.which];

	add_all(line, &host_of(s)->prefix);
	add(line, s->plan->watari);
	add(line, "upgrade");
	add(line, "--qmp");
	add(line, guest->qmp);
	add(line, "--json");
	add_all(line, &guest->options);
}

static void host_line(const struct wt_rejuvenate_run_step *s, struct line *line)
{
	const struct wt_plan_words *words =
		kind_of(s) == WT_REJUVENATE_COMMAND ? &host_of(s)->command : &host_of(s)->probe;

	add_all(line, &host_of(s)->prefix);
	if (words->count)
		add_all(line, words);
	else
		add(line, "true");
}

static void start(struct wt_rejuvenate_run_step *s, uint64_t now_ns)
{
	struct line line = { .count = 0 };
	struct wt_error err = { 0 };
	char path[PATH_MAX];
	int r = 0;

	s->code = -1;
	s->result[0] = s->error[0] = '\0';
	s->again_ns = 0;
	s->once_ns = now_ns + ONCE_NS;
	add(&line, "/bin/sh");
	add(&line, "-c");
	add(&line, with_code);
	add(&line, "watari");
	if (is_gang(s))
		r = gang_line(s, &line, path, sizeof path, &err);
	else if (kind_of(s) == WT_REJUVENATE_HANDOVER)
		upgrade_line(s, &line);
	else
		host_line(s, &line);
	if (!r && asks_host(s)) /* one that hangs keeps nobody from asking again */
		r = wt_gang_process_drop(&s->process, &err);
	if (!r)
		r = wt_gang_process_start(&s->process, (char *const *)line.words, &err);
	if (r)
		ended(s, s->restarts ? WT_REJUVENATE_LOST : WT_REJUVENATE_FAILED, "%s", wt_error_text(&err));
}

/* ---- what it prints ---- */

static void take_summary(struct wt_rejuvenate_run_step *s, json_t *object)
{
	const char *result = json_string_value(json_object_get(object, "result"));
	json_t *vm = json_object_get(json_object_get(object, "vms"), s->plan->guests[s->action.which].name);
	json_t *downtime = json_object_get(vm ? vm : object, "downtime_ms");
	json_int_t sent = json_integer_value(json_object_get(vm, "sent_bytes"));
	const char *text = json_string_value(json_object_get(vm, "text"));

	snprintf(s->result, sizeof s->result, "%s", result ? result : "");
	if (json_is_number(downtime))
		s->end.downtime_ms = json_number_value(downtime);
	if (sent > 0)
		s->end.sent_bytes = (uint64_t)sent;
	if (text && text[0])
		wt_printable(text, strlen(text), s->error, sizeof s->error);
}

static void take_line(struct wt_rejuvenate_run_step *s, const char *text)
{
	json_t *object = json_loads(text, 0, NULL), *code = json_object_get(object, "exit");
	const char *event = json_string_value(json_object_get(object, "event"));
	const char *error = json_string_value(json_object_get(object, "text"));

	if (json_is_integer(code) && json_object_size(object) == 1)
		s->code = (int)json_integer_value(code);
	else if (asks_host(s) && text[0] && !s->end.answer[0])
		wt_printable(text, strlen(text), s->end.answer, sizeof s->end.answer);
	else if (event && strcmp(event, "summary") == 0)
		take_summary(s, object);
	else if (event && error && strcmp(event, "error") == 0)
		wt_printable(error, strlen(error), s->error, sizeof s->error);
	json_decref(object);
}

/* ---- what came of it ---- */

/* It was not there, or has refused its command line or its plan. */
static bool not_run(const struct wt_rejuvenate_run_step *s)
{
	return s->code == WT_EXIT_FAILED || s->code == WT_EXIT_USAGE || s->code == 126 || s->code == 127;
}

/* A gang that has not come to its end, or does not know it, has a journal. */
static void judge_gang(struct wt_rejuvenate_run_step *s, uint64_t now_ns)
{
	if (strcmp(s->result, "moved") == 0) {
		ended(s, WT_REJUVENATE_OK, "%s", "");
	} else if (strcmp(s->result, "undone") == 0 || (!s->result[0] && not_run(s) && !s->resumed)) {
		ended(s, WT_REJUVENATE_FAILED, "%s", said(s));
	} else if (!s->result[0] && !not_run(s) && s->restarts < RESTARTS_MAX) {
		s->restarts++;
		start(s, now_ns);
	} else {
		ended(s, WT_REJUVENATE_LOST, "nobody can tell from here where the guest may run: %s",
			said(s));
	}
}

static void judge_handover(struct wt_rejuvenate_run_step *s)
{
	if (s->code == WT_EXIT_OK)
		ended(s, WT_REJUVENATE_OK, "%s", "");
	else if (not_run(s))
		ended(s, WT_REJUVENATE_FAILED, "%s", said(s));
	else
		ended(s, WT_REJUVENATE_LOST, "nobody has seen the end of watari upgrade: %s", said(s));
}

static void judge_command(struct wt_rejuvenate_run_step *s)
{
	if (s->code == 0)
		ended(s, WT_REJUVENATE_OK, "%s", "");
	else if (s->code < 0)
		ended(s, WT_REJUVENATE_FAILED, "nobody has seen the end of its command");
	else
		ended(s, WT_REJUVENATE_FAILED, "its command has exit code %d: %s", s->code, said(s));
}

/* An answer of a host that was not begun anew yet is none. */
static void judge_question(struct wt_rejuvenate_run_step *s, uint64_t now_ns)
{
	bool old = s->before && strcmp(s->before, s->end.answer) == 0;

	if (s->code == 0 && kind_of(s) == WT_REJUVENATE_CHECK && host_of(s)->probe_differs &&
		!s->end.answer[0])
		ended(s, WT_REJUVENATE_FAILED, "its probe prints nothing that could differ afterwards");
	else if (s->code == 0 && !old)
		ended(s, WT_REJUVENATE_OK, "%s", "");
	else if (kind_of(s) == WT_REJUVENATE_CHECK)
		ended(s, WT_REJUVENATE_FAILED, "it does not answer: %s", said(s));
	else if (now_ns >= s->until_ns)
		ended(s, WT_REJUVENATE_FAILED, "it has not answered within %u s: %s", host_of(s)->probe_s,
			s->code == 0 ? "it says what it said before its command" : said(s));
	else
		s->again_ns = now_ns + AGAIN_NS;
}

static void judge(struct wt_rejuvenate_run_step *s, uint64_t now_ns)
{
	if (is_gang(s))
		judge_gang(s, now_ns);
	else if (kind_of(s) == WT_REJUVENATE_HANDOVER)
		judge_handover(s);
	else if (kind_of(s) == WT_REJUVENATE_COMMAND)
		judge_command(s);
	else
		judge_question(s, now_ns);
}

/* What runs on is nobody's any more. */
static void too_late(struct wt_rejuvenate_run_step *s, uint64_t now_ns)
{
	wt_gang_process_kill(&s->process);
	s->process.over = s->process.ended = true;
	if (kind_of(s) == WT_REJUVENATE_COMMAND)
		ended(s, WT_REJUVENATE_FAILED,
			"its command has not returned within %u s; it was ended here, and may go on there",
			host_of(s)->command_s);
	else if (kind_of(s) == WT_REJUVENATE_HANDOVER)
		ended(s, WT_REJUVENATE_LOST, "watari upgrade has not ended within %u s",
			s->plan->guests[s->action.which].handover_s);
	else
		judge(s, now_ns);
}

bool wt_rejuvenate_step_read(struct wt_rejuvenate_run_step *s, uint64_t now_ns)
{
	uint64_t until_ns = asks_host(s) ? s->once_ns : s->until_ns;
	const char *line;

	if (s->end.result)
		return true;
	if (s->again_ns) {
		if (now_ns >= s->again_ns) {
			s->end.answer[0] = '\0';
			start(s, now_ns);
		}
		return s->end.result;
	}
	while ((line = wt_gang_process_line(&s->process)))
		take_line(s, line);
	if (s->process.over)
		judge(s, now_ns);
	else if (until_ns && now_ns >= until_ns)
		too_late(s, now_ns);
	return s->end.result;
}

/* ---- beginning ---- */

static unsigned limit_s(const struct wt_rejuvenate_run_step *s)
{
	switch (kind_of(s)) {
	case WT_REJUVENATE_COMMAND:
		return host_of(s)->command_s;
	case WT_REJUVENATE_PROBE:
		return host_of(s)->probe_s;
	case WT_REJUVENATE_HANDOVER:
		return s->plan->guests[s->action.which].handover_s;
	default:
		return 0;
	}
}

void wt_rejuvenate_step_begin(struct wt_rejuvenate_run_step *s, const struct wt_rejuvenate_plan *plan,
	struct wt_rejuvenate_action action, const char *path, const char *program, const char *before,
	bool take_over, uint64_t now_ns)
{
	*s = (struct wt_rejuvenate_run_step){ .plan = plan,
		.action = action,
		.host = wt_rejuvenate_order_host(&plan->order, action),
		.path = strdup(path),
		.program = program,
		.before = before,
		.code = -1,
		.end = { .downtime_ms = -1 } };
	if (!s->path || wt_gang_process_init(&s->process, path)) {
		ended(s, WT_REJUVENATE_FAILED, "no memory for a step");
		return;
	}
	s->until_ns = limit_s(s) ? now_ns + limit_s(s) * SECOND_NS : 0;
	if (take_over && !asks_host(s) && access(path, F_OK) == 0)
		wt_gang_process_find(&s->process);
	else
		start(s, now_ns);
}

void wt_rejuvenate_step_close(struct wt_rejuvenate_run_step *s)
{
	if (!s->path)
		return;
	if (asks_host(s))
		wt_gang_process_kill(&s->process);
	wt_gang_process_close(&s->process);
	free(s->path);
	s->path = NULL;
}
