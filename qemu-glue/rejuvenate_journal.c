/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_journal.c - see rejuvenate_journal.h.
 *
 * A line that could not have been written, because the order would not have said it, is refused.
 */
#include "rejuvenate_journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND "watari rejuvenate"

/* ---- names ---- */

static const char *const places[] = { "home", "away" };

static int find_place(const char *name)
{
	for (int i = 0; name && i < 2; i++)
		if (strcmp(places[i], name) == 0)
			return i;
	return -1;
}

static int find_step(const char *name)
{
	for (int step = WT_REJUVENATE_CHECK; name && step < WT_REJUVENATE_STEPS; step++)
		if (strcmp(wt_rejuvenate_step_name((enum wt_rejuvenate_step)step), name) == 0)
			return step;
	return -1;
}

static int find_result(const char *name)
{
	for (int result = WT_REJUVENATE_OK; name && result < WT_REJUVENATE_RESULTS; result++)
		if (strcmp(wt_rejuvenate_result_name((enum wt_rejuvenate_result)result), name) == 0)
			return result;
	return -1;
}

static int find_host(const struct wt_rejuvenate_plan *plan, const char *name)
{
	for (unsigned i = 0; name && i < plan->order.hosts; i++)
		if (strcmp(plan->hosts[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int find_guest(const struct wt_rejuvenate_plan *plan, const char *name)
{
	for (unsigned i = 0; name && i < plan->order.guests; i++)
		if (strcmp(plan->guests[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* ---- reading ---- */

struct reading {
	struct wt_rejuvenate_journal *journal;
	struct wt_rejuvenate_order *order;
	wt_rejuvenate_journal_ended *ended;
	void *arg;
};

static const char *text_at(json_t *line, const char *key)
{
	return json_string_value(json_object_get(line, key));
}

/* Which step a line speaks of; false: of none. */
static bool take_action(const struct wt_rejuvenate_plan *plan, json_t *line, const char *key,
	struct wt_rejuvenate_action *ret_action)
{
	int step = find_step(text_at(line, key)), which = 0;

	if (step < 0)
		return false;
	if (wt_rejuvenate_step_of_guest((enum wt_rejuvenate_step)step))
		which = find_guest(plan, text_at(line, "guest"));
	else if (step != WT_REJUVENATE_OVER)
		which = find_host(plan, text_at(line, "host"));
	*ret_action = (struct wt_rejuvenate_action){ (uint8_t)step, (uint16_t)which };
	return which >= 0;
}

static bool take_end(const struct reading *reading, json_t *line)
{
	struct wt_rejuvenate_end end = { .result = WT_REJUVENATE_NO_RESULT };
	json_t *downtime = json_object_get(line, "downtime_ms");
	const char *text = text_at(line, "text"), *answer = text_at(line, "answer");
	json_int_t sent = json_integer_value(json_object_get(line, "sent_bytes"));
	int result = find_result(text_at(line, "result"));
	struct wt_rejuvenate_action action;

	if (result < 0 || !take_action(reading->journal->plan, line, "ended", &action) ||
		!wt_rejuvenate_order_doing(reading->order, action))
		return false;
	end.result = (enum wt_rejuvenate_result)result;
	snprintf(end.text, sizeof end.text, "%s", text ? text : "");
	snprintf(end.answer, sizeof end.answer, "%s", answer ? answer : "");
	end.downtime_ms = json_is_number(downtime) ? json_number_value(downtime) : -1;
	end.sent_bytes = sent > 0 ? (uint64_t)sent : 0;
	wt_rejuvenate_order_ended(reading->order, action, end.result);
	reading->ended(reading->arg, action, &end);
	return true;
}

/* Answers 1 for OVER, 0 for another line, -1 for what is none of this journal's. */
static int take_other(const struct reading *reading, json_t *line, unsigned number)
{
	struct wt_rejuvenate_journal *j = reading->journal;
	int guest = find_guest(j->plan, text_at(line, "guest")), place = find_place(text_at(line, "found"));
	struct wt_rejuvenate_action action;

	if (json_object_get(line, "ended"))
		return take_end(reading, line) ? 0 : -1;
	if (place >= 0)
		return guest >= 0 && wt_rejuvenate_order_found(
					     reading->order, (unsigned)guest, (enum wt_rejuvenate_place)place)
			       ? 0
			       : -1;
	if (!take_action(j->plan, line, "step", &action) ||
		!wt_rejuvenate_order_restore(reading->order, action))
		return -1;
	j->said_in[wt_rejuvenate_order_host(reading->order, action)] = number;
	return action.step == WT_REJUVENATE_OVER;
}

static int take_line(void *arg, json_t *line, unsigned number, struct wt_error *err)
{
	const struct reading *reading = arg;
	struct wt_rejuvenate_journal *j = reading->journal;
	const char *digest = text_at(line, "digest");
	int r;

	if (number == 1 && digest && json_integer_value(json_object_get(line, "rejuvenation")) == 1) {
		j->begun_ms = (uint64_t)json_integer_value(json_object_get(line, "begun_ms"));
		return strcmp(digest, j->plan->digest) == 0
			       ? 0
			       : wt_error_set(err, EINVAL,
					 "the journal %s is of another plan, or the plan was changed since; give that plan to --resume",
					 j->file.path);
	}
	r = number == 1 ? -1 : take_other(reading, line, number);
	return r >= 0 ? r
		      : wt_error_set(err, EINVAL, "%s is no journal of " COMMAND " (line %u)", j->file.path,
				number);
}

static int resume_it(struct reading *reading, const char *text, struct wt_error *err)
{
	struct wt_rejuvenate_journal *j = reading->journal;
	int r = wt_journal_read(&j->file, text, take_line, reading, err);

	if (r < 0)
		return r;
	if (!j->file.lines)
		return wt_error_set(
			err, ENOENT, "there is nothing to resume: the journal %s is empty", j->file.path);
	if (r)
		return wt_error_set(err, ENOENT,
			"there is nothing to resume: the rejuvenation of the journal %s is over",
			j->file.path);
	return 0;
}

/* A file that is no journal is not overwritten. One whose first line was never said was not begun. */
static int check_new(const struct wt_rejuvenate_journal *j, const char *text, struct wt_error *err)
{
	static const char begin[] = "{\"rejuvenation\":", over[] = "{\"step\":\"over\"}\n";
	size_t length = strlen(text), start = sizeof begin - 1, end = sizeof over - 1;

	if (strncmp(text, begin, length < start ? length : start) != 0)
		return wt_error_set(err, EINVAL,
			"%s is no journal of " COMMAND "; name another one with --journal", j->file.path);
	if (strchr(text, '\n') && (length < end || strcmp(text + length - end, over) != 0))
		return wt_error_set(err, EEXIST,
			"the journal %s is of a rejuvenation that is not finished; say --resume to go on with it, or --resume "
			"--home to bring all guests home",
			j->file.path);
	return 0;
}

int wt_rejuvenate_journal_open(struct wt_rejuvenate_journal *j, const char *path,
	const struct wt_rejuvenate_plan *plan, bool resume, struct wt_rejuvenate_order *order,
	wt_rejuvenate_journal_ended *ended, void *arg, struct wt_error *err)
{
	struct reading reading = { j, order, ended, arg };
	char *text = NULL;
	int r;

	j->plan = plan;
	r = wt_journal_open(&j->file, path, COMMAND, !resume, err);
	if (r)
		return r;
	r = wt_journal_text(&j->file, &text, err);
	if (!r)
		r = resume ? resume_it(&reading, text, err) : check_new(j, text, err);
	free(text);
	if (r)
		wt_rejuvenate_journal_close(j);
	return r;
}

/* ---- writing ---- */

int wt_rejuvenate_journal_begin(struct wt_rejuvenate_journal *j, uint64_t now_ms, struct wt_error *err)
{
	j->begun_ms = now_ms;
	return wt_journal_begin(&j->file,
		json_pack("{s:i,s:s,s:I}", "rejuvenation", 1, "digest", j->plan->digest, "begun_ms",
			(json_int_t)now_ms),
		err);
}

static json_t *line_of(
	const struct wt_rejuvenate_journal *j, const char *key, struct wt_rejuvenate_action action)
{
	const struct wt_rejuvenate_order *order = &j->plan->order;
	enum wt_rejuvenate_step step = (enum wt_rejuvenate_step)action.step;
	json_t *line = json_pack("{s:s}", key, wt_rejuvenate_step_name(step));

	if (step != WT_REJUVENATE_OVER)
		json_object_set_new(line, "host",
			json_string(j->plan->hosts[wt_rejuvenate_order_host(order, action)].name));
	if (wt_rejuvenate_step_of_guest(step))
		json_object_set_new(line, "guest", json_string(j->plan->guests[action.which].name));
	return line;
}

int wt_rejuvenate_journal_step(
	struct wt_rejuvenate_journal *j, struct wt_rejuvenate_action action, struct wt_error *err)
{
	int r = wt_journal_add(&j->file, line_of(j, "step", action), err);

	j->said_in[wt_rejuvenate_order_host(&j->plan->order, action)] = j->file.lines;
	return r;
}

int wt_rejuvenate_journal_end(struct wt_rejuvenate_journal *j, struct wt_rejuvenate_action action,
	const struct wt_rejuvenate_end *end, struct wt_error *err)
{
	json_t *line = line_of(j, "ended", action);

	json_object_set_new(line, "result", json_string(wt_rejuvenate_result_name(end->result)));
	if (end->text[0])
		json_object_set_new(line, "text", json_string(end->text));
	if (end->answer[0])
		json_object_set_new(line, "answer", json_string(end->answer));
	if (end->downtime_ms >= 0)
		json_object_set_new(line, "downtime_ms", json_real(end->downtime_ms));
	if (end->sent_bytes)
		json_object_set_new(line, "sent_bytes", json_integer((json_int_t)end->sent_bytes));
	return wt_journal_add(&j->file, line, err);
}

int wt_rejuvenate_journal_found(
	struct wt_rejuvenate_journal *j, unsigned guest, enum wt_rejuvenate_place place, struct wt_error *err)
{
	return wt_journal_add(&j->file,
		json_pack("{s:s,s:s}", "found", places[place], "guest", j->plan->guests[guest].name), err);
}

void wt_rejuvenate_journal_close(struct wt_rejuvenate_journal *j)
{
	wt_journal_close(&j->file);
}
