/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migration_settings.c - migration capabilities and parameters over QMP. See migration_settings.h.
 *
 * One table for each kind: what stands in it is read, written and put back, and nothing else.
 */
#include "migration_settings.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define TIMEOUT_NS 10000000000ull

static const struct {
	const char *name;
	size_t at;
	size_t has_at; /* whether this QEMU knows it; 0: each one must */
} capabilities[] = {
	{ "return-path", offsetof(struct wt_migration_settings, return_path) },
	{ "events", offsetof(struct wt_migration_settings, events) },
	{ "pause-before-switchover", offsetof(struct wt_migration_settings, pause_before_switchover) },
	{ "multifd", offsetof(struct wt_migration_settings, multifd) },
	{ "auto-converge", offsetof(struct wt_migration_settings, auto_converge) },
	{ "x-ignore-shared", offsetof(struct wt_migration_settings, ignore_shared) },
	{ "switchover-ack", offsetof(struct wt_migration_settings, switchover_ack),
		offsetof(struct wt_migration_settings, has_switchover_ack) },
}, parameters[] = {
	{ "max-bandwidth", offsetof(struct wt_migration_settings, max_bandwidth) },
	{ "downtime-limit", offsetof(struct wt_migration_settings, downtime_limit_ms) },
	{ "multifd-channels", offsetof(struct wt_migration_settings, multifd_channels) },
};

#define CAPABILITIES (sizeof capabilities / sizeof capabilities[0])
#define PARAMETERS (sizeof parameters / sizeof parameters[0])

static int read_capabilities(struct wt_qmp *qmp, struct wt_migration_settings *settings, struct wt_error *err)
{
	json_t *list = NULL, *entry;
	size_t i;
	int r = wt_qmp_call(qmp, "query-migrate-capabilities", NULL, TIMEOUT_NS, &list, err);

	json_array_foreach(list, i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "capability"));

		for (size_t c = 0; name && c < CAPABILITIES; c++) {
			if (strcmp(name, capabilities[c].name) != 0)
				continue;
			*(bool *)((char *)settings + capabilities[c].at) =
				json_is_true(json_object_get(entry, "state"));
			if (capabilities[c].has_at)
				*(bool *)((char *)settings + capabilities[c].has_at) = true;
		}
	}
	json_decref(list);
	return r;
}

int wt_migration_settings_read(
	struct wt_qmp *qmp, struct wt_migration_settings *ret_settings, struct wt_error *err)
{
	struct wt_migration_settings settings = { 0 };
	json_t *values = NULL;
	int r = read_capabilities(qmp, &settings, err);

	if (!r)
		r = wt_qmp_call(qmp, "query-migrate-parameters", NULL, TIMEOUT_NS, &values, err);
	for (size_t p = 0; p < PARAMETERS; p++)
		*(uint64_t *)((char *)&settings + parameters[p].at) =
			(uint64_t)json_integer_value(json_object_get(values, parameters[p].name));
	json_decref(values);
	if (!r)
		*ret_settings = settings;
	return r;
}

static json_t *capability_list(const struct wt_migration_settings *settings)
{
	json_t *list = json_array();

	for (size_t c = 0; list && c < CAPABILITIES; c++) {
		bool state = *(const bool *)((const char *)settings + capabilities[c].at);

		if (capabilities[c].has_at &&
			!*(const bool *)((const char *)settings + capabilities[c].has_at))
			continue;
		if (json_array_append_new(list, json_pack("{s:s,s:b}", "capability", capabilities[c].name,
							"state", (int)state))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *parameter_object(const struct wt_migration_settings *settings)
{
	json_t *values = json_object();

	for (size_t p = 0; values && p < PARAMETERS; p++) {
		uint64_t value = *(const uint64_t *)((const char *)settings + parameters[p].at);

		if (json_object_set_new(values, parameters[p].name, json_integer((json_int_t)value))) {
			json_decref(values);
			values = NULL;
		}
	}
	return values;
}

/* All of them or none: without one that is missing QEMU would migrate in another way. */
int wt_migration_settings_write(
	struct wt_qmp *qmp, const struct wt_migration_settings *settings, struct wt_error *err)
{
	json_t *list = capability_list(settings), *values = parameter_object(settings);
	json_t *arguments = list ? json_pack("{s:o}", "capabilities", list) : NULL;
	int r;

	if (!arguments || !values) {
		json_decref(arguments);
		json_decref(values);
		return wt_error_set(err, ENOMEM, "no memory for QEMU's migration settings");
	}
	r = wt_qmp_call(qmp, "migrate-set-capabilities", arguments, TIMEOUT_NS, NULL, err);
	if (r) {
		json_decref(values);
		return r;
	}
	return wt_qmp_call(qmp, "migrate-set-parameters", values, TIMEOUT_NS, NULL, err);
}
