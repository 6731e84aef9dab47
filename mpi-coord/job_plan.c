/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job_plan.c - see job_plan.h. What the command says is at the head of qemu-glue/gang_agents.c.
 *
 * An answer is taken as a whole: with a state, a program, and for each guest both ends, in that order.
 */
#include "job_plan.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const gang_words[] = {
	[WT_JOB_PLAN_IDLE] = "idle", [WT_JOB_PLAN_UNFINISHED] = "unfinished", [WT_JOB_PLAN_BUSY] = "busy"
};

void wt_job_plan_clear(struct wt_job_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		free(plan->guests[i].name);
		free(plan->guests[i].agents[WT_JOB_PLAN_FROM]);
		free(plan->guests[i].agents[WT_JOB_PLAN_TO]);
	}
	free(plan->watari);
	free(plan->job);
	*plan = (struct wt_job_plan){ 0 };
}

/* Answers whether the text was copied, and nothing was there before. */
static bool keep(const char *text, char **ret_text)
{
	if (*ret_text || !text[0])
		return false;
	*ret_text = strdup(text);
	return *ret_text;
}

static bool take_gang(struct wt_job_plan *plan, const char *word)
{
	enum wt_job_plan_gang gang;

	if (plan->gang)
		return false;
	for (gang = WT_JOB_PLAN_IDLE; gang <= WT_JOB_PLAN_BUSY; gang++)
		if (strcmp(word, gang_words[gang]) == 0)
			plan->gang = gang;
	return plan->gang;
}

/* The last guest has both its ends, or there is none. */
static bool complete(const struct wt_job_plan *plan)
{
	return !plan->count || plan->guests[plan->count - 1].agents[WT_JOB_PLAN_TO];
}

static bool take_from(struct wt_job_plan *plan, const char *name, const char *agent)
{
	if (plan->count == WT_JOB_PLAN_GUESTS_MAX || !complete(plan))
		return false;
	plan->count++;
	return keep(name, &plan->guests[plan->count - 1].name) &&
	       keep(agent, &plan->guests[plan->count - 1].agents[WT_JOB_PLAN_FROM]);
}

static bool take_to(struct wt_job_plan *plan, const char *name, const char *agent)
{
	struct wt_job_plan_guest *guest;

	if (!plan->count)
		return false;
	guest = &plan->guests[plan->count - 1];
	return strcmp(guest->name, name) == 0 && keep(agent, &guest->agents[WT_JOB_PLAN_TO]);
}

/* Answers false if it makes no sense. */
static bool take_line(struct wt_job_plan *plan, char *line)
{
	char *rest = line;
	const char *word = strsep(&rest, " ");
	const char *name;

	if (!rest)
		return false;
	if (strcmp(word, "gang") == 0)
		return take_gang(plan, rest);
	if (strcmp(word, "watari") == 0)
		return keep(rest, &plan->watari);
	if (strcmp(word, "job") == 0)
		return keep(rest, &plan->job);
	name = strsep(&rest, " ");
	if (!rest)
		return false;
	if (strcmp(word, "from") == 0)
		return take_from(plan, name, rest);
	return strcmp(word, "to") == 0 && take_to(plan, name, rest);
}

int wt_job_plan_read(FILE *said, struct wt_job_plan *plan, struct wt_error *err)
{
	static const char failed[] = "failed ";
	char *line = NULL;
	size_t size = 0;
	int status = 0;

	while (!status && getline(&line, &size, said) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, failed, sizeof failed - 1) == 0)
			status = wt_error_set(err, EINVAL, "%s", line + sizeof failed - 1);
		else if (!take_line(plan, line))
			status = -EPROTO;
	}
	free(line);
	if (status)
		return status;
	return plan->gang && plan->watari && plan->count && complete(plan) ? 0 : -EPROTO;
}
