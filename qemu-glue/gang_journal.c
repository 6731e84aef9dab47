/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_journal.c - see gang_journal.h.
 */
#include "gang_journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool of_the_gang(enum wt_gang_action_kind kind)
{
	return kind == WT_GANG_DO_UNDO || kind == WT_GANG_DO_FORWARD || kind == WT_GANG_DO_OVER;
}

/* ---- reading ---- */

struct reading {
	const struct wt_gang_journal *journal;
	struct wt_gang_order *order;
};

static int find_vm(const struct wt_gang_plan *plan, const char *name)
{
	for (unsigned i = 0; name && i < plan->count; i++)
		if (strcmp(plan->vms[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int find_kind(const char *name)
{
	for (int kind = WT_GANG_DO_START; name && kind <= WT_GANG_DO_OVER; kind++)
		if (strcmp(wt_gang_action_name((enum wt_gang_action_kind)kind), name) == 0)
			return kind;
	return -1;
}

/* Answers the line's step, 0 for the first line. */
static int take_line(void *arg, json_t *line, unsigned number, struct wt_error *err)
{
	const struct reading *reading = arg;
	const struct wt_gang_journal *j = reading->journal;
	const char *digest = json_string_value(json_object_get(line, "digest"));
	int kind = find_kind(json_string_value(json_object_get(line, "step")));
	int vm = find_vm(j->plan, json_string_value(json_object_get(line, "vm")));

	if (number == 1 && digest && json_integer_value(json_object_get(line, "gang")) == 1)
		return strcmp(digest, j->plan->digest) == 0
			       ? 0
			       : wt_error_set(err, EINVAL,
					 "the journal %s is of another plan, or the plan was changed since; give that plan to --resume",
					 j->file.path);
	if (number == 1 || kind < 0 || (vm < 0 && !of_the_gang((enum wt_gang_action_kind)kind)))
		return wt_error_set(
			err, EINVAL, "%s is no journal of watari gang (line %u)", j->file.path, number);
	wt_gang_order_restore(reading->order, vm < 0 ? 0 : (unsigned)vm, (enum wt_gang_action_kind)kind);
	return kind;
}

static int resume_it(
	struct wt_gang_journal *j, const char *text, struct wt_gang_order *order, struct wt_error *err)
{
	struct reading reading = { j, order };
	int r = wt_journal_read(&j->file, text, take_line, &reading, err);

	if (r < 0)
		return r;
	if (!j->file.lines)
		return wt_error_set(
			err, ENOENT, "there is nothing to resume: the journal %s is empty", j->file.path);
	if (r == WT_GANG_DO_OVER)
		return wt_error_set(err, ENOENT,
			"there is nothing to resume: the gang of the journal %s is over", j->file.path);
	return 0;
}

/* A file that is no journal is not overwritten. One whose first line was never said was not begun. */
static int check_new(const struct wt_gang_journal *j, const char *text, struct wt_error *err)
{
	static const char begin[] = "{\"gang\":", over[] = "{\"step\":\"over\"}\n";
	size_t length = strlen(text), start = sizeof begin - 1, end = sizeof over - 1;

	if (strncmp(text, begin, length < start ? length : start) != 0)
		return wt_error_set(err, EINVAL,
			"%s is no journal of watari gang; name another one with --journal", j->file.path);
	if (strchr(text, '\n') && (length < end || strcmp(text + length - end, over) != 0))
		return wt_error_set(err, EEXIST,
			"the journal %s is of a gang that is not finished; say --resume to go on with it",
			j->file.path);
	return 0;
}

int wt_gang_journal_open(struct wt_gang_journal *j, const char *path, const struct wt_gang_plan *plan,
	bool resume, struct wt_gang_order *order, struct wt_error *err)
{
	char *text = NULL;
	int r;

	j->plan = plan;
	r = wt_journal_open(&j->file, path, "watari gang", !resume, err);
	if (r)
		return r;
	r = wt_journal_text(&j->file, &text, err);
	if (!r)
		r = resume ? resume_it(j, text, order, err) : check_new(j, text, err);
	free(text);
	if (r)
		wt_gang_journal_close(j);
	return r;
}

/* ---- writing ---- */

int wt_gang_journal_begin(struct wt_gang_journal *j, struct wt_error *err)
{
	return wt_journal_begin(&j->file, json_pack("{s:i,s:s}", "gang", 1, "digest", j->plan->digest), err);
}

int wt_gang_journal_add(struct wt_gang_journal *j, struct wt_gang_action action, struct wt_error *err)
{
	json_t *line = json_pack("{s:s}", "step", wt_gang_action_name(action.kind));

	if (!of_the_gang(action.kind))
		json_object_set_new(line, "vm", json_string(j->plan->vms[action.vm].name));
	return wt_journal_add(&j->file, line, err);
}

/* ---- looking ---- */

/* One that is not over must be of this plan, as for resume_it. */
static int look(struct wt_gang_journal *j, enum wt_gang_journal_state *ret_state, struct wt_error *err)
{
	struct wt_error unfinished = { 0 };
	struct wt_gang_order order;
	struct reading reading = { j, &order };
	char *text = NULL;
	int r = wt_journal_text(&j->file, &text, err);

	if (r)
		return r;
	r = check_new(j, text, &unfinished);
	if (r == -EINVAL)
		wt_error_set(err, EINVAL, "%s", wt_error_text(&unfinished));
	*ret_state = r ? WT_GANG_JOURNAL_UNFINISHED : WT_GANG_JOURNAL_IDLE;
	if (r == -EEXIST) {
		wt_gang_order_init(&order, j->plan->count, j->plan->parallel);
		r = wt_journal_read(&j->file, text, take_line, &reading, err);
	}
	free(text);
	return r < 0 ? r : 0;
}

int wt_gang_journal_look(const char *path, const struct wt_gang_plan *plan,
	enum wt_gang_journal_state *ret_state, struct wt_error *err)
{
	struct wt_gang_journal j = { .plan = plan };
	struct wt_error why = { 0 };
	int r = wt_journal_peek(&j.file, path, "watari gang", &why);

	if (r == -ENOENT || r == -EBUSY) {
		*ret_state = r == -ENOENT ? WT_GANG_JOURNAL_IDLE : WT_GANG_JOURNAL_BUSY;
		return 0;
	}
	if (r)
		return wt_error_set(err, -r, "%s", wt_error_text(&why));
	r = look(&j, ret_state, err);
	wt_gang_journal_close(&j);
	return r;
}

void wt_gang_journal_close(struct wt_gang_journal *j)
{
	wt_journal_close(&j->file);
}
