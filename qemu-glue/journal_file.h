/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal_file.h - what a coordinator has done, on disk: one JSON object a line, each there for good before
 * what it says is done.
 *
 *   1. When wt_journal_add has answered 0, the line survives whatever comes.
 *   2. A last line without its end was never said: the writer died in it. It is not read, and cut off.
 *   3. One coordinator at a time: the file is locked.
 */
#ifndef WATARI_QEMU_JOURNAL_FILE_H
#define WATARI_QEMU_JOURNAL_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <watari/error.h>

struct wt_journal_file {
	int fd;              /* -1: none */
	bool looks;          /* it is not ours */
	unsigned lines;      /* that are there */
	const char *path;    /* borrowed */
	const char *command; /* whose it is, in sentences: "watari gang" */
};

/* Takes one line, the first one has the number 1: 0 or more, or -errno with the sentence, which ends reading.
 */
typedef int wt_journal_take(void *arg, json_t *line, unsigned number, struct wt_error *err);

/* Opens (create: or makes) and locks it. -EBUSY: another one has it. */
int wt_journal_open(struct wt_journal_file *journal, const char *path, const char *command, bool create,
	struct wt_error *err);
/* Opens it only to be looked at: it is not changed. -ENOENT: there is none; -EBUSY: its coordinator is at
 * work. */
int wt_journal_peek(
	struct wt_journal_file *journal, const char *path, const char *command, struct wt_error *err);
/* All of it, with NUL behind it; the caller frees it. -EFBIG: more than journals have, 1 MiB. */
int wt_journal_text(const struct wt_journal_file *journal, char **ret_text, struct wt_error *err);
/* Reads all lines of the text, cuts off what is behind them, and goes on there. Answers what the last one
 * answered; 0: there is none. What is no JSON is taken as NULL. */
int wt_journal_read(struct wt_journal_file *journal, const char *text, wt_journal_take *take, void *arg,
	struct wt_error *err);
/* Empties it, and writes its first line; the object is stolen. */
int wt_journal_begin(struct wt_journal_file *journal, json_t *first, struct wt_error *err);
int wt_journal_add(struct wt_journal_file *journal, json_t *line, struct wt_error *err);
void wt_journal_close(struct wt_journal_file *journal);

#endif
