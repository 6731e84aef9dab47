/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan_reader.h - what plans have in common: JSON that an operator writes, taken key by key. Pure, but for
 * wt_plan_read.
 *
 * Everything that is refused is refused with one sentence that says where. A key that is not known is
 * refused.
 */
#ifndef WATARI_QEMU_PLAN_READER_H
#define WATARI_QEMU_PLAN_READER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <watari/error.h>

#define WT_PLAN_BYTES_MAX (1u << 20)
#define WT_PLAN_WORDS_MAX 32
#define WT_PLAN_WORD_MAX 1024
#define WT_PLAN_DIGEST_SIZE 17

/* A command, or a part of one. */
struct wt_plan_words {
	unsigned count;
	char *words[WT_PLAN_WORDS_MAX];
};

struct wt_plan_reader {
	const char *origin; /* names the text in sentences */
	const char *page;   /* that says which keys there are */
	char where[160];    /* in it, as ", guest web1"; "": nowhere special */
	struct wt_error *err;
};

/* -EINVAL with "plan ORIGIN WHERE: ..." */
__attribute__((format(printf, 2, 3))) int wt_plan_refuse(struct wt_plan_reader *r, const char *format, ...);
/* Parses a plan's text; the digest tells texts apart. The value is the caller's. */
int wt_plan_load(struct wt_plan_reader *r, const char *text, size_t length, json_t **ret_root,
	char ret_digest[WT_PLAN_DIGEST_SIZE]);
/* A file's text, with NUL behind it; the caller frees it. */
int wt_plan_read(const char *path, char **ret_text, size_t *ret_length, struct wt_error *err);

/* keys: the allowed ones, ending with NULL. */
int wt_plan_keys(struct wt_plan_reader *r, json_t *object, const char *const *keys);
int wt_plan_number(struct wt_plan_reader *r, json_t *object, const char *key, unsigned otherwise,
	unsigned max, unsigned *ret_value);
int wt_plan_flag(struct wt_plan_reader *r, json_t *object, const char *key, bool *ret_value);
/* Text of letters, digits and _.-+=:,/@, which means the same to a shell as to a program: it may go through
 * one. Untouched if there is none. The caller frees it. */
int wt_plan_text(struct wt_plan_reader *r, json_t *object, const char *key, char **ret_text);
/* A list of them, or (any) of any text. */
int wt_plan_words(
	struct wt_plan_reader *r, json_t *object, const char *key, bool any, struct wt_plan_words *words);
/* Refuses options of these names (ending with NULL), which the command sets itself. */
int wt_plan_options(struct wt_plan_reader *r, const struct wt_plan_words *options, const char *const *ours,
	const char *command);
void wt_plan_words_clear(struct wt_plan_words *words);

#endif
