/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_plan.c - see gang_plan.h. Owns what a plan points to until it is freed.
 *
 * A key that is not known is refused, as in device_map.c.
 */
#include "gang_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <xxhash.h>

#include "printable.h"

#define HOLD_S 300

struct reader {
	const char *origin;
	char where[WT_GANG_NAME_MAX + 32]; /* ", guest web1, \"to\"" */
	struct wt_error *err;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct reader *r, const char *format, ...)
{
	char text[WT_ERROR_TEXT_MAX / 2];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	return wt_error_set(r->err, EINVAL, "plan %s%s: %s", r->origin, r->where, text);
}

/* keys: the allowed ones, ending with NULL. */
static int check_keys(struct reader *r, json_t *object, const char *const *keys)
{
	char quoted[64];
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return refuse(r, "it must be an object");
	json_object_foreach(object, key, value)
	{
		unsigned i = 0;

		while (keys[i] && strcmp(keys[i], key) != 0)
			i++;
		if (!keys[i])
			return refuse(r, "there is no \"%s\" here; see docs/GANG.md",
				wt_printable(key, strlen(key), quoted, sizeof quoted));
	}
	return 0;
}

static int take_number(struct reader *r, json_t *object, const char *key, unsigned otherwise, unsigned max,
	unsigned *ret_value)
{
	json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);

	if (value && (number < 1 || number > (json_int_t)max))
		return refuse(r, "\"%s\" must be a whole number from 1 to %u", key, max);
	*ret_value = value ? (unsigned)number : otherwise;
	return 0;
}

/* ---- words ---- */

static bool plain(const char *text)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+=:,/@";

	return text[0] && strspn(text, good) == strlen(text);
}

static int copy_word(struct reader *r, const char *key, json_t *item, bool any, char **ret_word)
{
	const char *word = json_string_value(item);

	if (!word || !word[0] || strlen(word) > WT_GANG_WORD_MAX)
		return refuse(r, "\"%s\" must be text of 1 to %d bytes", key, WT_GANG_WORD_MAX);
	if (!any && !plain(word))
		return refuse(r,
			"\"%s\" may have letters, digits and _.-+=:,/@ only: it may go through a shell", key);
	*ret_word = strdup(word);
	return *ret_word ? 0 : wt_error_set(r->err, ENOMEM, "no memory for a plan");
}

/* The text at a key, or NULL if there is none. */
static int take_text(struct reader *r, json_t *object, const char *key, char **ret_text)
{
	json_t *value = json_object_get(object, key);

	return value ? copy_word(r, key, value, false, ret_text) : 0;
}

static int take_words(
	struct reader *r, json_t *object, const char *key, bool any, struct wt_gang_words *words)
{
	json_t *list = json_object_get(object, key), *item;
	int code = 0;
	size_t i;

	if (list && (!json_is_array(list) || json_array_size(list) > WT_GANG_WORDS_MAX))
		return refuse(r, "\"%s\" must be a list of at most %d words", key, WT_GANG_WORDS_MAX);
	json_array_foreach(list, i, item)
	{
		if (!code)
			code = copy_word(r, key, item, any, &words->words[i]);
		words->count += !code;
	}
	return code;
}

/* What the coordinator says itself, and what would end it before it begins. */
static int check_options(struct reader *r, const struct wt_gang_words *options)
{
	static const char *const ours[] = { "qmp", "psk", "insecure", "devices", "device-host", "agent",
		"hold", "job", "json", "help", "wait" };

	for (unsigned i = 0; i < options->count; i++) {
		const char *word = options->words[i];
		size_t length = strcspn(word, "=");

		if (strncmp(word, "--", 2) != 0)
			continue;
		if (strncmp(word, "--device", length) == 0 && length == strlen("--device"))
			continue; /* of RDMA */
		/* getopt takes the beginning of a name for the name. */
		for (unsigned k = 0; k < sizeof ours / sizeof *ours; k++)
			if (length == 2 || strncmp(word + 2, ours[k], length - 2) == 0)
				return refuse(r,
					"option %.40s is not for \"options\": the plan, or watari gang, sets it",
					word);
	}
	return 0;
}

/* ---- guests ---- */

static int take_end(struct reader *r, json_t *object, const char *const *keys, struct wt_gang_end *end)
{
	json_t *insecure = json_object_get(object, "insecure");
	int code = check_keys(r, object, keys);

	if (!code)
		code = take_words(r, object, "prefix", true, &end->prefix);
	if (!code)
		code = take_words(r, object, "options", false, &end->options);
	if (!code)
		code = check_options(r, &end->options);
	if (!code)
		code = take_text(r, object, "qmp", &end->qmp);
	if (!code)
		code = take_text(r, object, "psk", &end->psk);
	if (!code)
		code = take_text(r, object, "devices", &end->devices);
	if (!code)
		code = take_text(r, object, "device_host", &end->device_host);
	if (!code)
		code = take_text(r, object, "agent", &end->agent);
	if (code)
		return code;
	if (insecure && !json_is_boolean(insecure))
		return refuse(r, "\"insecure\" must be true or false");
	end->insecure = json_is_true(insecure);
	if (!end->qmp)
		return refuse(r, "\"qmp\" is missing");
	if (!end->psk == !end->insecure)
		return refuse(r, "give one of \"psk\" and \"insecure\"");
	if (!end->devices && end->device_host)
		return refuse(r, "\"device_host\" is for \"devices\"");
	return 0;
}

/* HOST:PORT; what watari takes is its own to say. */
static bool address_good(const char *text)
{
	const char *colon = strrchr(text, ':');
	char *end;
	long port = colon ? strtol(colon + 1, &end, 10) : 0;

	return colon && colon > text && colon[1] >= '0' && colon[1] <= '9' && !*end && port > 0 &&
	       port < 65536 && !strchr(text, '/');
}

static int take_vm(struct reader *r, json_t *object, struct wt_gang_vm *vm)
{
	static const char *const vm_keys[] = { "from", "to", NULL };
	static const char *const keys[] = { "prefix", "qmp", "psk", "insecure", "devices", "device_host",
		"agent", "options", "start", "address", NULL };
	static const char *const from_keys[] = { "prefix", "qmp", "psk", "insecure", "devices", "device_host",
		"agent", "options", NULL };
	json_t *to = json_object_get(object, "to");
	int code;

	snprintf(r->where, sizeof r->where, ", guest %s", vm->name);
	code = check_keys(r, object, vm_keys);
	snprintf(r->where, sizeof r->where, ", guest %s, \"from\"", vm->name);
	if (!code)
		code = take_end(r, json_object_get(object, "from"), from_keys, &vm->from);
	snprintf(r->where, sizeof r->where, ", guest %s, \"to\"", vm->name);
	if (!code)
		code = take_end(r, to, keys, &vm->to);
	if (!code)
		code = take_words(r, to, "start", false, &vm->start);
	if (!code)
		code = take_text(r, to, "address", &vm->address);
	if (code)
		return code;
	if (!vm->address || !address_good(vm->address))
		return refuse(r, "\"address\" must be HOST:PORT, where the source finds the destination");
	if (vm->from.insecure != vm->to.insecure)
		return refuse(r, "\"insecure\" must be said at both ends");
	if (!vm->from.devices != !vm->to.devices)
		return refuse(r, "\"devices\" must be given at both ends");
	return 0;
}

static bool same_words(const struct wt_gang_words *a, const struct wt_gang_words *b)
{
	for (unsigned i = 0; i < a->count && i < b->count; i++)
		if (strcmp(a->words[i], b->words[i]) != 0)
			return false;
	return a->count == b->count;
}

static bool same_qemu(const struct wt_gang_end *a, const struct wt_gang_end *b)
{
	return strcmp(a->qmp, b->qmp) == 0 && same_words(&a->prefix, &b->prefix);
}

/* The destination's job of a has the name of the source's job of b. */
static bool same_job(const struct wt_gang_vm *a, const struct wt_gang_vm *b)
{
	size_t length = strlen(a->name);

	return strncmp(a->name, b->name, length) == 0 && strcmp(b->name + length, "-incoming") == 0;
}

static int check_apart(struct reader *r, const struct wt_gang_plan *plan)
{
	r->where[0] = '\0';
	for (unsigned i = 0; i < plan->count; i++) {
		const struct wt_gang_vm *a = &plan->vms[i];

		if (same_qemu(&a->from, &a->to))
			return refuse(r, "guest %s: \"from\" and \"to\" are the same QEMU", a->name);
		for (unsigned k = 0; k < i; k++) {
			const struct wt_gang_vm *b = &plan->vms[k];

			if (same_job(a, b) || same_job(b, a))
				return refuse(r,
					"guests %s and %s: NAME-incoming is the job of NAME at its destination; rename one",
					b->name, a->name);
			if (strcmp(a->address, b->address) == 0)
				return refuse(r, "guests %s and %s have the same address %.100s", b->name,
					a->name, a->address);
			if (same_qemu(&a->from, &b->from) || same_qemu(&a->to, &b->to) ||
				same_qemu(&a->from, &b->to) || same_qemu(&a->to, &b->from))
				return refuse(
					r, "guests %s and %s have the same QMP socket", b->name, a->name);
		}
	}
	return 0;
}

static int take_vms(struct reader *r, json_t *vms, struct wt_gang_plan *plan)
{
	const char *key;
	json_t *value;
	int code;

	if (!json_object_size(vms) || json_object_size(vms) > WT_GANG_VMS_MAX)
		return refuse(r, "\"vms\" must be an object of 1 to %d guests", WT_GANG_VMS_MAX);
	json_object_foreach(vms, key, value)
	{
		struct wt_gang_vm *vm = &plan->vms[plan->count];

		r->where[0] = '\0';
		if (!wt_device_name_good(key) || strlen(key) > WT_GANG_NAME_MAX)
			return refuse(r, "the name of a guest must be 1 to %d letters, digits, _ . or -",
				WT_GANG_NAME_MAX);
		strcpy(vm->name, key);
		plan->count++;
		code = take_vm(r, value, vm);
		if (code)
			return code;
	}
	return check_apart(r, plan);
}

static int take_plan(struct reader *r, json_t *root, struct wt_gang_plan *plan)
{
	static const char *const keys[] = { "version", "parallel", "hold_s", "watari", "vms", NULL };
	int code = check_keys(r, root, keys);

	if (!code && json_integer_value(json_object_get(root, "version")) != 1)
		code = refuse(r, "\"version\" must be 1");
	if (!code)
		code = take_number(r, root, "hold_s", HOLD_S, WT_GANG_HOLD_MAX_S, &plan->hold_s);
	if (!code)
		code = take_text(r, root, "watari", &plan->watari);
	if (!code && !plan->watari && !(plan->watari = strdup("watari")))
		code = wt_error_set(r->err, ENOMEM, "no memory for a plan");
	if (!code)
		code = take_vms(r, json_object_get(root, "vms"), plan);
	r->where[0] = '\0';
	return code ? code : take_number(r, root, "parallel", plan->count, WT_GANG_VMS_MAX, &plan->parallel);
}

int wt_gang_plan_parse(const char *text, size_t length, const char *origin, struct wt_gang_plan **ret_plan,
	struct wt_error *err)
{
	struct reader r = { .origin = origin, .err = err };
	struct wt_gang_plan *plan;
	json_error_t where;
	char quoted[160];
	json_t *root;
	int code;

	root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
	if (!root)
		return refuse(&r, "line %d is no JSON: %s", where.line,
			wt_printable(where.text, strlen(where.text), quoted, sizeof quoted));
	plan = calloc(1, sizeof *plan);
	code = plan ? take_plan(&r, root, plan) : wt_error_set(err, ENOMEM, "no memory for a plan");
	json_decref(root);
	if (code) {
		wt_gang_plan_free(plan);
		return code;
	}
	snprintf(plan->digest, sizeof plan->digest, "%016" PRIx64, (uint64_t)XXH3_64bits(text, length));
	*ret_plan = plan;
	return 0;
}

int wt_gang_plan_read(const char *path, struct wt_gang_plan **ret_plan, struct wt_error *err)
{
	FILE *file = fopen(path, "re");
	size_t length;
	char *text;
	int r;

	if (!file)
		return wt_error_set(err, errno, "plan %s cannot be opened: %s", path, strerror(errno));
	text = malloc(WT_GANG_PLAN_BYTES_MAX + 1);
	length = text ? fread(text, 1, WT_GANG_PLAN_BYTES_MAX + 1, file) : 0;
	if (!text)
		r = wt_error_set(err, ENOMEM, "no memory for a plan");
	else if (ferror(file))
		r = wt_error_set(err, EIO, "plan %s cannot be read", path);
	else if (length > WT_GANG_PLAN_BYTES_MAX)
		r = wt_error_set(err, EINVAL, "plan %s has more than %u bytes", path, WT_GANG_PLAN_BYTES_MAX);
	else
		r = wt_gang_plan_parse(text, length, path, ret_plan, err);
	fclose(file);
	free(text);
	return r;
}

static void words_clear(struct wt_gang_words *words)
{
	for (unsigned i = 0; i < WT_GANG_WORDS_MAX; i++)
		free(words->words[i]);
}

static void end_clear(struct wt_gang_end *end)
{
	words_clear(&end->prefix);
	words_clear(&end->options);
	free(end->qmp);
	free(end->psk);
	free(end->devices);
	free(end->device_host);
	free(end->agent);
}

void wt_gang_plan_free(struct wt_gang_plan *plan)
{
	if (!plan)
		return;
	for (unsigned i = 0; i < plan->count; i++) {
		end_clear(&plan->vms[i].from);
		end_clear(&plan->vms[i].to);
		words_clear(&plan->vms[i].start);
		free(plan->vms[i].address);
	}
	free(plan->watari);
	free(plan);
}
