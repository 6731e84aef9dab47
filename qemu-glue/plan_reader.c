/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan_reader.c - see plan_reader.h.
 */
#include "plan_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "printable.h"

int wt_plan_refuse(struct wt_plan_reader *r, const char *format, ...)
{
	char text[WT_ERROR_TEXT_MAX / 2];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	return wt_error_set(r->err, EINVAL, "plan %s%s: %s", r->origin, r->where, text);
}

int wt_plan_load(struct wt_plan_reader *r, const char *text, size_t length, json_t **ret_root,
	char ret_digest[WT_PLAN_DIGEST_SIZE])
{
	json_error_t where;
	char quoted[160];
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);

	if (!root)
		return wt_plan_refuse(r, "line %d is no JSON: %s", where.line,
			wt_printable(where.text, strlen(where.text), quoted, sizeof quoted));
	snprintf(ret_digest, WT_PLAN_DIGEST_SIZE, "%016" PRIx64, (uint64_t)XXH3_64bits(text, length));
	*ret_root = root;
	return 0;
}

int wt_plan_read(const char *path, char **ret_text, size_t *ret_length, struct wt_error *err)
{
	FILE *file = fopen(path, "re");
	size_t length;
	char *text;
	int r = 0;

	if (!file)
		return wt_error_set(err, errno, "plan %s cannot be opened: %s", path, strerror(errno));
	text = malloc(WT_PLAN_BYTES_MAX + 2);
	length = text ? fread(text, 1, WT_PLAN_BYTES_MAX + 1, file) : 0;
	if (!text)
		r = wt_error_set(err, ENOMEM, "no memory for a plan");
	else if (ferror(file))
		r = wt_error_set(err, EIO, "plan %s cannot be read", path);
	else if (length > WT_PLAN_BYTES_MAX)
		r = wt_error_set(err, EINVAL, "plan %s has more than %u bytes", path, WT_PLAN_BYTES_MAX);
	fclose(file);
	if (r) {
		free(text);
		return r;
	}
	text[length] = '\0';
	*ret_text = text;
	*ret_length = length;
	return 0;
}

int wt_plan_keys(struct wt_plan_reader *r, json_t *object, const char *const *keys)
{
	char quoted[64];
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return wt_plan_refuse(r, "it must be an object");
	json_object_foreach(object, key, value)
	{
		unsigned i = 0;

		while (keys[i] && strcmp(keys[i], key) != 0)
			i++;
		if (!keys[i])
			return wt_plan_refuse(r, "there is no \"%s\" here; see %s",
				wt_printable(key, strlen(key), quoted, sizeof quoted), r->page);
	}
	return 0;
}

int wt_plan_number(struct wt_plan_reader *r, json_t *object, const char *key, unsigned otherwise,
	unsigned max, unsigned *ret_value)
{
	json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);

	if (value && (number < 1 || number > (json_int_t)max))
		return wt_plan_refuse(r, "\"%s\" must be a whole number from 1 to %u", key, max);
	*ret_value = value ? (unsigned)number : otherwise;
	return 0;
}

int wt_plan_flag(struct wt_plan_reader *r, json_t *object, const char *key, bool *ret_value)
{
	json_t *value = json_object_get(object, key);

	if (value && !json_is_boolean(value))
		return wt_plan_refuse(r, "\"%s\" must be true or false", key);
	*ret_value = json_is_true(value);
	return 0;
}

/* ---- words ---- */

static bool plain(const char *text)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+=:,/@";

	return text[0] && strspn(text, good) == strlen(text);
}

static int copy_word(struct wt_plan_reader *r, const char *key, json_t *item, bool any, char **ret_word)
{
	const char *word = json_string_value(item);

	if (!word || !word[0] || strlen(word) > WT_PLAN_WORD_MAX)
		return wt_plan_refuse(r, "\"%s\" must be text of 1 to %d bytes", key, WT_PLAN_WORD_MAX);
	if (!any && !plain(word))
		return wt_plan_refuse(r,
			"\"%s\" may have letters, digits and _.-+=:,/@ only: it may go through a shell", key);
	*ret_word = strdup(word);
	return *ret_word ? 0 : wt_error_set(r->err, ENOMEM, "no memory for a plan");
}

int wt_plan_text(struct wt_plan_reader *r, json_t *object, const char *key, char **ret_text)
{
	json_t *value = json_object_get(object, key);

	return value ? copy_word(r, key, value, false, ret_text) : 0;
}

int wt_plan_words(
	struct wt_plan_reader *r, json_t *object, const char *key, bool any, struct wt_plan_words *words)
{
	json_t *list = json_object_get(object, key), *item;
	int code = 0;
	size_t i;

	if (list && (!json_is_array(list) || json_array_size(list) > WT_PLAN_WORDS_MAX))
		return wt_plan_refuse(r, "\"%s\" must be a list of at most %d words", key, WT_PLAN_WORDS_MAX);
	json_array_foreach(list, i, item)
	{
		if (!code)
			code = copy_word(r, key, item, any, &words->words[i]);
		words->count += !code;
	}
	return code;
}

int wt_plan_options(struct wt_plan_reader *r, const struct wt_plan_words *options, const char *const *ours,
	const char *command)
{
	for (unsigned i = 0; i < options->count; i++) {
		const char *word = options->words[i];
		size_t length = strcspn(word, "=");

		if (strncmp(word, "--", 2) != 0)
			continue;
		if (strncmp(word, "--device", length) == 0 && length == strlen("--device"))
			continue; /* of RDMA */
		/* getopt takes the beginning of a name for the name. */
		for (unsigned k = 0; ours[k]; k++)
			if (length == 2 || strncmp(word + 2, ours[k], length - 2) == 0)
				return wt_plan_refuse(r,
					"option %.40s is not for \"options\": the plan, or %s, sets it", word,
					command);
	}
	return 0;
}

void wt_plan_words_clear(struct wt_plan_words *words)
{
	for (unsigned i = 0; i < WT_PLAN_WORDS_MAX; i++)
		free(words->words[i]);
	*words = (struct wt_plan_words){ 0 };
}
