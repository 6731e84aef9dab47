/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_plan.c - see gang_plan.h. Owns what a plan points to until it is freed.
 */
#include "gang_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_S 300

/* What the coordinator says itself. */
static const char *const our_checkpoint_options[] = { "qmp", "devices", "device-host", "agent", "hold", "job",
	"json", "help", "name", "base", "full", NULL };

/* What the coordinator says itself, and what would end it before it begins. */
static const char *const our_options[] = { "qmp", "psk", "tls-creds", "insecure", "devices", "device-host",
	"agent", "hold", "job", "json", "help", "wait", NULL };

/* ---- guests ---- */

static int take_end(
	struct wt_plan_reader *r, json_t *object, const char *const *keys, struct wt_gang_end *end)
{
	int code = wt_plan_keys(r, object, keys);

	if (!code)
		code = wt_plan_words(r, object, "prefix", true, &end->prefix);
	if (!code)
		code = wt_plan_words(r, object, "options", false, &end->options);
	if (!code)
		code = wt_plan_options(r, &end->options, our_options, "watari gang");
	if (!code)
		code = wt_plan_text(r, object, "qmp", &end->qmp);
	if (!code)
		code = wt_plan_text(r, object, "psk", &end->psk);
	if (!code)
		code = wt_plan_text(r, object, "tls_creds", &end->tls_creds);
	if (!code)
		code = wt_plan_text(r, object, "devices", &end->devices);
	if (!code)
		code = wt_plan_text(r, object, "device_host", &end->device_host);
	if (!code)
		code = wt_plan_text(r, object, "agent", &end->agent);
	if (!code)
		code = wt_plan_flag(r, object, "insecure", &end->insecure);
	if (code)
		return code;
	if (!end->qmp)
		return wt_plan_refuse(r, "\"qmp\" is missing");
	if (!!end->psk + !!end->tls_creds + end->insecure != 1)
		return wt_plan_refuse(r, "give one of \"psk\", \"tls_creds\" and \"insecure\"");
	if (!end->devices && end->device_host)
		return wt_plan_refuse(r, "\"device_host\" is for \"devices\"");
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

static int take_vm(struct wt_plan_reader *r, json_t *object, struct wt_gang_vm *vm)
{
	static const char *const vm_keys[] = { "from", "to", NULL };
	static const char *const keys[] = { "prefix", "qmp", "psk", "tls_creds", "insecure", "devices",
		"device_host", "agent", "options", "start", "address", NULL };
	static const char *const from_keys[] = { "prefix", "qmp", "psk", "tls_creds", "insecure", "devices",
		"device_host", "agent", "options", "checkpoint", NULL };
	json_t *to = json_object_get(object, "to");
	int code;

	snprintf(r->where, sizeof r->where, ", guest %s", vm->name);
	code = wt_plan_keys(r, object, vm_keys);
	snprintf(r->where, sizeof r->where, ", guest %s, \"from\"", vm->name);
	if (!code)
		code = take_end(r, json_object_get(object, "from"), from_keys, &vm->from);
	if (!code)
		code = wt_plan_words(
			r, json_object_get(object, "from"), "checkpoint", false, &vm->checkpoint);
	if (!code)
		code = wt_plan_options(
			r, &vm->checkpoint, our_checkpoint_options, "watari gang --checkpoint");
	snprintf(r->where, sizeof r->where, ", guest %s, \"to\"", vm->name);
	if (!code)
		code = take_end(r, to, keys, &vm->to);
	if (!code)
		code = wt_plan_words(r, to, "start", false, &vm->start);
	if (!code)
		code = wt_plan_text(r, to, "address", &vm->address);
	if (code)
		return code;
	if (!vm->address || !address_good(vm->address))
		return wt_plan_refuse(
			r, "\"address\" must be HOST:PORT, where the source finds the destination");
	if (vm->from.insecure != vm->to.insecure)
		return wt_plan_refuse(r, "\"insecure\" must be said at both ends");
	if (!vm->from.devices != !vm->to.devices)
		return wt_plan_refuse(r, "\"devices\" must be given at both ends");
	return 0;
}

static bool same_words(const struct wt_plan_words *a, const struct wt_plan_words *b)
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

static int check_apart(struct wt_plan_reader *r, const struct wt_gang_plan *plan)
{
	r->where[0] = '\0';
	for (unsigned i = 0; i < plan->count; i++) {
		const struct wt_gang_vm *a = &plan->vms[i];

		if (same_qemu(&a->from, &a->to))
			return wt_plan_refuse(r, "guest %s: \"from\" and \"to\" are the same QEMU", a->name);
		for (unsigned k = 0; k < i; k++) {
			const struct wt_gang_vm *b = &plan->vms[k];

			if (same_job(a, b) || same_job(b, a))
				return wt_plan_refuse(r,
					"guests %s and %s: NAME-incoming is the job of NAME at its destination; rename one",
					b->name, a->name);
			if (strcmp(a->address, b->address) == 0)
				return wt_plan_refuse(r, "guests %s and %s have the same address %.100s",
					b->name, a->name, a->address);
			if (same_qemu(&a->from, &b->from) || same_qemu(&a->to, &b->to) ||
				same_qemu(&a->from, &b->to) || same_qemu(&a->to, &b->from))
				return wt_plan_refuse(
					r, "guests %s and %s have the same QMP socket", b->name, a->name);
		}
	}
	return 0;
}

static int take_vms(struct wt_plan_reader *r, json_t *vms, struct wt_gang_plan *plan)
{
	const char *key;
	json_t *value;
	int code;

	if (!json_object_size(vms) || json_object_size(vms) > WT_GANG_VMS_MAX)
		return wt_plan_refuse(r, "\"vms\" must be an object of 1 to %d guests", WT_GANG_VMS_MAX);
	json_object_foreach(vms, key, value)
	{
		struct wt_gang_vm *vm = &plan->vms[plan->count];

		r->where[0] = '\0';
		if (!wt_device_name_good(key) || strlen(key) > WT_GANG_NAME_MAX)
			return wt_plan_refuse(r,
				"the name of a guest must be 1 to %d letters, digits, _ . or -",
				WT_GANG_NAME_MAX);
		strcpy(vm->name, key);
		plan->count++;
		code = take_vm(r, value, vm);
		if (code)
			return code;
	}
	return check_apart(r, plan);
}

static int take_plan(struct wt_plan_reader *r, json_t *root, struct wt_gang_plan *plan)
{
	static const char *const keys[] = { "version", "parallel", "hold_s", "watari", "vms", NULL };
	int code = wt_plan_keys(r, root, keys);

	if (!code && json_integer_value(json_object_get(root, "version")) != 1)
		code = wt_plan_refuse(r, "\"version\" must be 1");
	if (!code)
		code = wt_plan_number(r, root, "hold_s", HOLD_S, WT_GANG_HOLD_MAX_S, &plan->hold_s);
	if (!code)
		code = wt_plan_text(r, root, "watari", &plan->watari);
	if (!code && !plan->watari && !(plan->watari = strdup("watari")))
		code = wt_error_set(r->err, ENOMEM, "no memory for a plan");
	if (!code)
		code = take_vms(r, json_object_get(root, "vms"), plan);
	r->where[0] = '\0';
	return code ? code
		    : wt_plan_number(r, root, "parallel", plan->count, WT_GANG_VMS_MAX, &plan->parallel);
}

int wt_gang_plan_parse(const char *text, size_t length, const char *origin, struct wt_gang_plan **ret_plan,
	struct wt_error *err)
{
	struct wt_plan_reader r = { .origin = origin, .page = "docs/GANG.md", .err = err };
	struct wt_gang_plan *plan = calloc(1, sizeof *plan);
	json_t *root = NULL;
	int code;

	if (!plan)
		return wt_error_set(err, ENOMEM, "no memory for a plan");
	code = wt_plan_load(&r, text, length, &root, plan->digest);
	if (!code)
		code = take_plan(&r, root, plan);
	json_decref(root);
	if (code) {
		wt_gang_plan_free(plan);
		return code;
	}
	*ret_plan = plan;
	return 0;
}

int wt_gang_plan_read(const char *path, struct wt_gang_plan **ret_plan, struct wt_error *err)
{
	size_t length = 0;
	char *text = NULL;
	int r = wt_plan_read(path, &text, &length, err);

	if (!r)
		r = wt_gang_plan_parse(text, length, path, ret_plan, err);
	free(text);
	return r;
}

static void end_clear(struct wt_gang_end *end)
{
	wt_plan_words_clear(&end->prefix);
	wt_plan_words_clear(&end->options);
	free(end->qmp);
	free(end->psk);
	free(end->tls_creds);
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
		wt_plan_words_clear(&plan->vms[i].start);
		wt_plan_words_clear(&plan->vms[i].checkpoint);
		free(plan->vms[i].address);
	}
	free(plan->watari);
	free(plan);
}
