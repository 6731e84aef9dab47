/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_agents.c - see gang_agents.h. watari-mpi runs `watari gang PLAN --agents` and reads lines:
 *
 *   gang idle|unfinished|busy    what of this plan's gang is under way, see gang_journal.h; with --checkpoint
 * or
 *                                --restore whether somebody works in that folder
 *   job NAME                     with --restore: whose checkpoint it is
 *   watari PROGRAM               the program `watari` on the guests' hosts
 *   from GUEST AGENT             of each guest that has an agent, at both ends: words that run a command on
 *   to GUEST AGENT               that host, and the path of the agent's socket there
 *   failed SENTENCE              the last line: the plan, or the journal, is not good
 *
 * A guest without an agent is left out. Changes nothing.
 */
#include "gang_agents.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gang_journal.h"
#include "gang_plan.h"
#include "relay.h"

/* The words are put together with spaces. */
static bool whole(const struct wt_plan_words *words)
{
	for (unsigned i = 0; i < words->count; i++)
		for (const char *c = words->words[i]; *c; c++)
			if ((unsigned char)*c <= ' ')
				return false;
	return true;
}

static int check(const struct wt_gang_options *o, const struct wt_gang_plan *plan, struct wt_error *err)
{
	unsigned count = 0;

	for (unsigned i = 0; i < plan->count; i++) {
		const struct wt_gang_vm *vm = &plan->vms[i];

		count += vm->from.agent != NULL;
		if (!vm->from.agent != !vm->to.agent)
			return wt_error_set(err, EINVAL,
				"plan %s, guest %s: \"agent\" must be given at both ends, or an MPI job in it is lost sight of",
				o->plan, vm->name);
		if (vm->from.agent && !(whole(&vm->from.prefix) && whole(&vm->to.prefix)))
			return wt_error_set(err, EINVAL,
				"plan %s, guest %s: a word of \"prefix\" has a space in it, which watari-mpi cannot use; put the command into a script",
				o->plan, vm->name);
	}
	return count ? 0
		     : wt_error_set(err, EINVAL,
			       "plan %s names no agent; an MPI job needs \"agent\" at both ends of each guest with ranks",
			       o->plan);
}

static void show(const char *end_name, const struct wt_gang_vm *vm, const struct wt_gang_end *end)
{
	printf("%s %s", end_name, vm->name);
	for (unsigned i = 0; i < end->prefix.count; i++)
		printf(" %s", end->prefix.words[i]);
	printf(" %s\n", end->agent);
}

static int look(const struct wt_gang_options *o, const struct wt_gang_plan *plan,
	enum wt_gang_journal_state *ret_state, char ret_job[WT_JOB_NAME_MAX + 1], struct wt_error *err)
{
	int r;

	if (!o->checkpoint && !o->restore)
		return wt_gang_journal_look(o->journal, plan, ret_state, err);
	r = wt_gang_folder_check(o, plan, ret_job, err);
	*ret_state = r == -EBUSY ? WT_GANG_JOURNAL_BUSY : WT_GANG_JOURNAL_IDLE;
	return r == -EBUSY ? 0 : r;
}

int wt_gang_agents(const struct wt_gang_options *o)
{
	static const char *const states[] = { "", "idle", "unfinished", "busy" };
	enum wt_gang_journal_state state;
	struct wt_gang_plan *plan = NULL;
	char job[WT_JOB_NAME_MAX + 1] = "";
	struct wt_error err = { 0 };
	int r = wt_gang_plan_read(o->plan, &plan, &err);

	r = r ? r : check(o, plan, &err);
	r = r ? r : look(o, plan, &state, job, &err);
	if (!r) {
		printf("gang %s\nwatari %s\n", states[state], plan->watari);
		if (o->restore)
			printf("job %s\n", job);
		for (unsigned i = 0; i < plan->count; i++) {
			if (!plan->vms[i].from.agent)
				continue;
			show("from", &plan->vms[i], &plan->vms[i].from);
			show("to", &plan->vms[i], &plan->vms[i].to);
		}
	} else {
		printf("failed %s\n", wt_error_text(&err));
	}
	wt_gang_plan_free(plan);
	return r ? WT_EXIT_FAILED : WT_EXIT_OK;
}
