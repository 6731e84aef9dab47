/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_journal.c - see gang_journal.h.
 */
#include "gang_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES_MAX (1u << 20)

static int failed(const struct wt_gang_journal *j, const char *what, struct wt_error *err)
{
	return wt_error_set(err, errno, "the journal %s cannot be %s: %s", j->path, what, strerror(errno));
}

static bool of_the_gang(enum wt_gang_action_kind kind)
{
	return kind == WT_GANG_DO_UNDO || kind == WT_GANG_DO_FORWARD || kind == WT_GANG_DO_OVER;
}

/* ---- reading ---- */

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

/* One line; answers its step, 0 for the first line. */
static int take_line(const struct wt_gang_journal *j, const char *text, size_t length, unsigned number,
	struct wt_gang_order *order, struct wt_error *err)
{
	json_t *line = json_loadb(text, length, 0, NULL);
	const char *digest = json_string_value(json_object_get(line, "digest"));
	int kind = find_kind(json_string_value(json_object_get(line, "step")));
	int vm = find_vm(j->plan, json_string_value(json_object_get(line, "vm")));
	int r;

	if (number == 1 && digest && json_integer_value(json_object_get(line, "gang")) == 1)
		r = strcmp(digest, j->plan->digest) == 0
			    ? 0
			    : wt_error_set(err, EINVAL,
				      "the journal %s is of another plan, or the plan was changed since; give that plan to --resume",
				      j->path);
	else if (number == 1 || kind < 0 || (vm < 0 && !of_the_gang(kind)))
		r = wt_error_set(err, EINVAL, "%s is no journal of watari gang (line %u)", j->path, number);
	else
		r = kind;
	if (r > 0)
		wt_gang_order_restore(order, vm < 0 ? 0 : (unsigned)vm, (enum wt_gang_action_kind)r);
	json_decref(line);
	return r;
}

/* Answers whether it is finished; *ret_length: bytes of whole lines. */
static int read_all(const struct wt_gang_journal *j, const char *text, struct wt_gang_order *order,
	size_t *ret_length, struct wt_error *err)
{
	bool finished = false;
	unsigned number = 0;
	size_t at = 0;
	const char *end;

	while ((end = strchr(text + at, '\n'))) {
		int r = take_line(j, text + at, (size_t)(end - text) - at, ++number, order, err);

		if (r < 0)
			return r;
		finished = r == WT_GANG_DO_OVER;
		at = (size_t)(end - text) + 1;
	}
	*ret_length = at;
	return finished;
}

static int read_text(const struct wt_gang_journal *j, char **ret_text, struct wt_error *err)
{
	char *text = malloc(BYTES_MAX + 1);
	ssize_t n = text ? pread(j->fd, text, BYTES_MAX, 0) : -1;

	if (n < 0) {
		free(text);
		return failed(j, "read", err);
	}
	text[n] = '\0';
	*ret_text = text;
	return 0;
}

/* ---- writing ---- */

static int add_line(struct wt_gang_journal *j, json_t *object, struct wt_error *err)
{
	char *text = json_dumps(object, JSON_COMPACT);
	int r = 0;

	json_decref(object);
	if (!text)
		return wt_error_set(err, ENOMEM, "no memory for the journal");
	if (dprintf(j->fd, "%s\n", text) < 0 || fsync(j->fd))
		r = failed(j, "written", err);
	free(text);
	return r;
}

/* The file's name is to survive as well. */
static int sync_directory(const struct wt_gang_journal *j, struct wt_error *err)
{
	char *copy = strdup(j->path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int r = fd < 0 || fsync(fd) ? failed(j, "made", err) : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return r;
}

int wt_gang_journal_begin(struct wt_gang_journal *j, struct wt_error *err)
{
	int r;

	if (ftruncate(j->fd, 0))
		return failed(j, "made", err);
	r = add_line(j, json_pack("{s:i,s:s}", "gang", 1, "digest", j->plan->digest), err);
	return r ? r : sync_directory(j, err);
}

int wt_gang_journal_add(struct wt_gang_journal *j, struct wt_gang_action action, struct wt_error *err)
{
	json_t *line = json_pack("{s:s}", "step", wt_gang_action_name(action.kind));

	if (!of_the_gang(action.kind))
		json_object_set_new(line, "vm", json_string(j->plan->vms[action.vm].name));
	return add_line(j, line, err);
}

/* ---- opening ---- */

static int resume_it(
	struct wt_gang_journal *j, const char *text, struct wt_gang_order *order, struct wt_error *err)
{
	size_t length = 0;
	int r = read_all(j, text, order, &length, err);

	if (r < 0)
		return r;
	if (!length)
		return wt_error_set(
			err, ENOENT, "there is nothing to resume: the journal %s is empty", j->path);
	if (r)
		return wt_error_set(err, ENOENT,
			"there is nothing to resume: the gang of the journal %s is over", j->path);
	return ftruncate(j->fd, (off_t)length) ? failed(j, "written", err) : 0;
}

/* A file that is no journal is not overwritten. One whose first line was never said was not begun. */
static int check_new(const struct wt_gang_journal *j, const char *text, struct wt_error *err)
{
	static const char begin[] = "{\"gang\":", over[] = "{\"step\":\"over\"}\n";
	size_t length = strlen(text), start = sizeof begin - 1, end = sizeof over - 1;

	if (strncmp(text, begin, length < start ? length : start) != 0)
		return wt_error_set(err, EINVAL,
			"%s is no journal of watari gang; name another one with --journal", j->path);
	if (strchr(text, '\n') && (length < end || strcmp(text + length - end, over) != 0))
		return wt_error_set(err, EEXIST,
			"the journal %s is of a gang that is not finished; say --resume to go on with it",
			j->path);
	return 0;
}

int wt_gang_journal_open(struct wt_gang_journal *j, const char *path, const struct wt_gang_plan *plan,
	bool resume, struct wt_gang_order *order, struct wt_error *err)
{
	char *text = NULL;
	int r;

	*j = (struct wt_gang_journal){ .path = path, .plan = plan };
	j->fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | (resume ? 0 : O_CREAT), 0600);
	if (j->fd < 0)
		return failed(j, "opened", err);
	if (flock(j->fd, LOCK_EX | LOCK_NB))
		r = wt_error_set(err, EBUSY, "another watari gang works with the journal %s", path);
	else
		r = read_text(j, &text, err);
	if (!r)
		r = resume ? resume_it(j, text, order, err) : check_new(j, text, err);
	free(text);
	if (r)
		wt_gang_journal_close(j);
	return r;
}

/* One that is not over must be of this plan, as for resume_it. */
static int look(const struct wt_gang_journal *j, enum wt_gang_journal_state *ret_state, struct wt_error *err)
{
	struct wt_error unfinished = { 0 };
	struct wt_gang_order order;
	char *text = NULL;
	size_t length;
	int r = read_text(j, &text, err);

	if (r)
		return r;
	r = check_new(j, text, &unfinished);
	if (r == -EINVAL)
		wt_error_set(err, EINVAL, "%s", wt_error_text(&unfinished));
	*ret_state = r ? WT_GANG_JOURNAL_UNFINISHED : WT_GANG_JOURNAL_IDLE;
	if (r == -EEXIST) {
		wt_gang_order_init(&order, j->plan->count, j->plan->parallel);
		r = read_all(j, text, &order, &length, err);
	}
	free(text);
	return r < 0 ? r : 0;
}

int wt_gang_journal_look(const char *path, const struct wt_gang_plan *plan,
	enum wt_gang_journal_state *ret_state, struct wt_error *err)
{
	struct wt_gang_journal j = { .path = path, .plan = plan };
	int r = 0;

	j.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (j.fd < 0 && errno == ENOENT)
		*ret_state = WT_GANG_JOURNAL_IDLE;
	else if (j.fd < 0)
		return failed(&j, "opened", err);
	else if (flock(j.fd, LOCK_SH | LOCK_NB))
		*ret_state = WT_GANG_JOURNAL_BUSY;
	else
		r = look(&j, ret_state, err);
	wt_gang_journal_close(&j);
	return r;
}

void wt_gang_journal_close(struct wt_gang_journal *j)
{
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
}
