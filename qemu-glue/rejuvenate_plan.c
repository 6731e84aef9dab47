/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_plan.c - see rejuvenate_plan.h. Owns what a plan points to until it is freed.
 *
 * What is said of a guest's ends is put into two plans of gangs, and judged by who will read them.
 */
#include "rejuvenate_plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gang_plan.h"

#define HOLD_S 300
#define COMMAND_S 600
#define PROBE_S 600
#define HANDOVER_S 600

/* An end of a guest's way, as the text has it. */
struct end {
	json_t *object;
	unsigned host;
	const char *qmp, *address; /* NULL: none */
};

struct reader {
	struct wt_plan_reader text;
	struct wt_rejuvenate_plan *plan;
	json_t *hosts; /* of the text */
	unsigned hold_s;
	struct end ends[2 * WT_REJUVENATE_GUESTS_MAX]; /* home and away of each guest */
};

static int no_memory(struct reader *r)
{
	return wt_error_set(r->text.err, ENOMEM, "no memory for a plan");
}

__attribute__((format(printf, 2, 3))) static void at(struct reader *r, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(r->text.where, sizeof r->text.where, format, list);
	va_end(list);
}

/* ---- hosts ---- */

static int take_by(struct reader *r, json_t *object, uint8_t *ret_by)
{
	json_t *value = json_object_get(object, "by");
	const char *by = json_string_value(value);

	*ret_by = WT_REJUVENATE_BY_NOTHING;
	if (!value)
		return 0;
	if (by && strcmp(by, "handover") == 0)
		*ret_by = WT_REJUVENATE_BY_HANDOVER;
	else if (by && strcmp(by, "evacuation") == 0)
		*ret_by = WT_REJUVENATE_BY_EVACUATION;
	else
		return wt_plan_refuse(&r->text, "\"by\" must be \"handover\" or \"evacuation\"");
	return 0;
}

static int check_host(
	struct reader *r, json_t *object, uint8_t by, const struct wt_rejuvenate_plan_host *host)
{
	static const char *const evacuation[] = { "command", "command_s", "probe_differs", NULL };

	if (by == WT_REJUVENATE_BY_EVACUATION)
		return host->command.count
			       ? 0
			       : wt_plan_refuse(&r->text,
					 "\"command\" is missing: what renews the host when its guests have left");
	for (unsigned i = 0; evacuation[i]; i++)
		if (json_object_get(object, evacuation[i]))
			return wt_plan_refuse(&r->text, "\"%s\" is for a host that is renewed by evacuation",
				evacuation[i]);
	return 0;
}

static int take_host(struct reader *r, json_t *object, unsigned number)
{
	static const char *const keys[] = { "prefix", "by", "command", "command_s", "probe", "probe_s",
		"probe_differs", "room", NULL };
	struct wt_rejuvenate_plan_host *host = &r->plan->hosts[number];
	struct wt_plan_reader *text = &r->text;
	uint8_t *by = &r->plan->order.host[number].by;
	int code = wt_plan_keys(text, object, keys);

	if (!code)
		code = take_by(r, object, by);
	if (!code)
		code = wt_plan_words(text, object, "prefix", true, &host->prefix);
	if (!code)
		code = wt_plan_words(text, object, "command", false, &host->command);
	if (!code)
		code = wt_plan_words(text, object, "probe", false, &host->probe);
	if (!code)
		code = wt_plan_number(
			text, object, "command_s", COMMAND_S, WT_REJUVENATE_SECONDS_MAX, &host->command_s);
	if (!code)
		code = wt_plan_number(
			text, object, "probe_s", PROBE_S, WT_REJUVENATE_SECONDS_MAX, &host->probe_s);
	if (!code)
		code = wt_plan_number(text, object, "room", 0, WT_REJUVENATE_GUESTS_MAX, &host->room);
	if (!code)
		code = wt_plan_flag(text, object, "probe_differs", &host->probe_differs);
	return code ? code : check_host(r, object, *by, host);
}

static int take_name(
	struct reader *r, const char *what, const char *name, char ret_name[WT_DEVICE_NAME_MAX + 1])
{
	if (!wt_device_name_good(name) || strlen(name) > WT_GANG_NAME_MAX)
		return wt_plan_refuse(&r->text, "the name of a %s must be 1 to %d letters, digits, _ . or -",
			what, WT_GANG_NAME_MAX);
	strcpy(ret_name, name);
	return 0;
}

static int take_hosts(struct reader *r)
{
	struct wt_rejuvenate_order *order = &r->plan->order;
	const char *key;
	json_t *value;
	int code = 0;

	if (!json_object_size(r->hosts) || json_object_size(r->hosts) > WT_REJUVENATE_HOSTS_MAX)
		return wt_plan_refuse(
			&r->text, "\"hosts\" must be an object of 1 to %d hosts", WT_REJUVENATE_HOSTS_MAX);
	json_object_foreach(r->hosts, key, value)
	{
		at(r, "%s", "");
		code = take_name(r, "host", key, r->plan->hosts[order->hosts].name);
		if (code)
			return code;
		at(r, ", host %s", key);
		code = take_host(r, value, order->hosts++);
		if (code)
			return code;
	}
	return 0;
}

/* ---- guests ---- */

static int find_host(struct reader *r, struct end *end)
{
	const char *name = json_string_value(json_object_get(end->object, "host"));
	const struct wt_rejuvenate_plan *plan = r->plan;

	if (!name)
		return wt_plan_refuse(&r->text, "\"host\" is missing");
	for (end->host = 0; end->host < plan->order.hosts; end->host++)
		if (strcmp(plan->hosts[end->host].name, name) == 0)
			return 0;
	return wt_plan_refuse(&r->text, "\"hosts\" has no %.60s", name);
}

static int take_end(
	struct reader *r, json_t *guest, const char *key, const char *const *keys, struct end *end)
{
	int code;

	end->object = json_object_get(guest, key);
	at(r, ", guest %s, \"%s\"", r->plan->guests[r->plan->order.guests - 1].name, key);
	code = wt_plan_keys(&r->text, end->object, keys);
	if (!code)
		code = find_host(r, end);
	end->qmp = json_string_value(json_object_get(end->object, "qmp"));
	end->address = json_string_value(json_object_get(end->object, "address"));
	return code;
}

static void add_words(json_t *list, json_t *more)
{
	size_t i;
	json_t *word;

	json_array_foreach(more, i, word) json_array_append(list, word);
}

/* The same end for a gang's plan; option and value: one more, NULL: none. */
static json_t *gang_end(
	const struct reader *r, const struct end *end, bool source, const char *option, json_t *value)
{
	static const char *const both[] = { "qmp", "psk", "tls_creds", "insecure", "devices", "device_host",
		"agent", NULL };
	static const char *const there[] = { "address", "start", NULL };
	json_t *made = json_object(), *options = json_array();
	json_t *host = json_object_get(r->hosts, r->plan->hosts[end->host].name);

	for (unsigned i = 0; both[i]; i++)
		json_object_set(made, both[i], json_object_get(end->object, both[i]));
	for (unsigned i = 0; !source && there[i]; i++)
		json_object_set(made, there[i], json_object_get(end->object, there[i]));
	json_object_set(made, "prefix", json_object_get(host, "prefix"));
	add_words(options, json_object_get(end->object, source ? "send" : "receive"));
	if (value) {
		json_array_append_new(options, json_string(option));
		json_array_append(options, value);
	}
	json_object_set_new(made, "options", options);
	return made;
}

/* The text of a way's plan, accepted by who will carry it out. */
static int make_way(
	struct reader *r, const char *name, const char *way, json_t *from, json_t *to, char **ret_text)
{
	json_t *plan = json_pack("{s:i,s:i,s:s,s:{s:{s:o,s:o}}}", "version", 1, "hold_s", (int)r->hold_s,
		"watari", r->plan->watari, "vms", name, "from", from, "to", to);
	char *text = plan ? json_dumps(plan, JSON_INDENT(1)) : NULL, origin[256];
	struct wt_gang_plan *judged = NULL;
	int code;

	json_decref(plan);
	if (!text)
		return no_memory(r);
	snprintf(origin, sizeof origin, "%.150s (%s)", r->text.origin, way);
	code = wt_gang_plan_parse(text, strlen(text), origin, &judged, r->text.err);
	wt_gang_plan_free(judged);
	if (code)
		free(text);
	else
		*ret_text = text;
	return code;
}

static int take_evacuated(struct reader *r, json_t *object, struct wt_rejuvenate_plan_guest *guest,
	const struct end *home, const struct end *away)
{
	json_t *replica = json_object_get(object, "replica");
	int code;

	if (away->host == home->host)
		return wt_plan_refuse(&r->text, "it is at home there; name another host");
	at(r, ", guest %s", guest->name);
	if (replica && !json_is_string(replica))
		return wt_plan_refuse(&r->text, "\"replica\" must be a directory at home");
	code = make_way(r, guest->name, "on its way out", gang_end(r, home, true, "--keep-replica", replica),
		gang_end(r, away, false, NULL, NULL), &guest->leave);
	return code ? code
		    : make_way(r, guest->name, "on its way back", gang_end(r, away, true, NULL, NULL),
			      gang_end(r, home, false, "--replica", replica), &guest->back);
}

static int take_handed_over(
	struct reader *r, json_t *object, const struct end *home, struct wt_rejuvenate_plan_guest *guest)
{
	static const char *const ours[] = { "qmp", "json", "dry-run", "help", NULL };
	int code = wt_plan_number(&r->text, home->object, "handover_s", HANDOVER_S, WT_REJUVENATE_SECONDS_MAX,
		&guest->handover_s);

	if (!code)
		code = wt_plan_words(&r->text, home->object, "options", false, &guest->options);
	if (!code)
		code = wt_plan_options(&r->text, &guest->options, ours, "watari rejuvenate");
	if (!code && (json_object_get(object, "away") || json_object_get(object, "replica")))
		code = wt_plan_refuse(&r->text,
			"it stays, its host is renewed by handover: it has no \"away\" nor \"replica\"");
	return code;
}

static int take_guest(struct reader *r, json_t *object, unsigned number)
{
	static const char *const keys[] = { "home", "away", "replica", NULL };
	static const char *const stays[] = { "host", "qmp", "options", "handover_s", NULL };
	static const char *const goes[] = { "host", "qmp", "psk", "tls_creds", "insecure", "devices",
		"device_host", "agent", "address", "start", "send", "receive", NULL };
	struct wt_rejuvenate_plan_guest *guest = &r->plan->guests[number];
	struct wt_rejuvenate_guest *order = &r->plan->order.guest[number];
	struct end *home = &r->ends[2 * (size_t)number], *away = home + 1;
	int code = wt_plan_keys(&r->text, object, keys);
	uint8_t by = WT_REJUVENATE_BY_NOTHING;

	home->object = json_object_get(object, "home");
	at(r, ", guest %s, \"home\"", guest->name);
	if (!code)
		code = json_is_object(home->object) ? find_host(r, home)
						    : wt_plan_refuse(&r->text, "it must be an object");
	if (!code)
		by = r->plan->order.host[home->host].by;
	if (!code && !by)
		return wt_plan_refuse(&r->text,
			"host %s is not renewed, it has no \"by\": leave the guest out",
			r->plan->hosts[home->host].name);
	if (!code)
		code = take_end(r, object, "home", by == WT_REJUVENATE_BY_HANDOVER ? stays : goes, home);
	if (!code)
		code = wt_plan_text(&r->text, home->object, "qmp", &guest->qmp);
	if (!code && !guest->qmp)
		code = wt_plan_refuse(&r->text, "\"qmp\" is missing");
	if (code)
		return code;
	order->home = order->away = (uint8_t)home->host;
	if (by == WT_REJUVENATE_BY_HANDOVER)
		return take_handed_over(r, object, home, guest);
	code = take_end(r, object, "away", goes, away);
	order->away = (uint8_t)away->host;
	return code ? code : take_evacuated(r, object, guest, home, away);
}

static int take_guests(struct reader *r, json_t *guests)
{
	struct wt_rejuvenate_order *order = &r->plan->order;
	const char *key;
	json_t *value;
	int code;

	if (guests && (!json_is_object(guests) || json_object_size(guests) > WT_REJUVENATE_GUESTS_MAX))
		return wt_plan_refuse(&r->text, "\"guests\" must be an object of at most %d guests",
			WT_REJUVENATE_GUESTS_MAX);
	json_object_foreach(guests, key, value)
	{
		at(r, "%s", "");
		code = take_name(r, "guest", key, r->plan->guests[order->guests].name);
		if (code)
			return code;
		at(r, ", guest %s", key);
		code = take_guest(r, value, order->guests++);
		if (code)
			return code;
	}
	return 0;
}

/* ---- all together ---- */

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static int check_apart(struct reader *r)
{
	for (unsigned i = 0; i < 2u * r->plan->order.guests; i++)
		for (unsigned k = 0; k < i; k++) {
			const struct end *a = &r->ends[i], *b = &r->ends[k];
			const char *of_a = r->plan->guests[i / 2].name, *of_b = r->plan->guests[k / 2].name;

			if (!a->object || !b->object)
				continue;
			if (a->host == b->host && same(a->qmp, b->qmp))
				return wt_plan_refuse(&r->text,
					"guests %s and %s have the same QMP socket on host %s", of_b, of_a,
					r->plan->hosts[a->host].name);
			if (same(a->address, b->address))
				return wt_plan_refuse(&r->text,
					"guests %s and %s have the same address %.100s", of_b, of_a,
					a->address);
		}
	return 0;
}

/* So many guests may be away at a host at one time: of the `parallel` hosts that send the most. */
static unsigned most_at(const struct wt_rejuvenate_order *order, unsigned host)
{
	unsigned sent[WT_REJUVENATE_HOSTS_MAX] = { 0 }, sum = 0;

	for (unsigned i = 0; i < order->guests; i++)
		if (order->guest[i].away != order->guest[i].home && order->guest[i].away == host)
			sent[order->guest[i].home]++;
	for (unsigned n = 0; n < order->parallel; n++) {
		unsigned most = 0;

		for (unsigned i = 1; i < order->hosts; i++)
			most = sent[i] > sent[most] ? i : most;
		sum += sent[most];
		sent[most] = 0;
	}
	return sum;
}

static int check_room(struct reader *r)
{
	const struct wt_rejuvenate_order *order = &r->plan->order;
	bool any = false;

	for (unsigned i = 0; i < order->hosts; i++) {
		const struct wt_rejuvenate_plan_host *host = &r->plan->hosts[i];
		unsigned most = most_at(order, i);

		any |= order->host[i].by != WT_REJUVENATE_BY_NOTHING;
		if (host->room && most > host->room)
			return wt_plan_refuse(&r->text,
				"host %s has room for %u guests of others, and %u may be there at one time; send some elsewhere, or lower \"parallel\"",
				host->name, host->room, most);
	}
	return any ? 0 : wt_plan_refuse(&r->text, "no host has \"by\": nothing would be renewed");
}

static int take_plan(struct reader *r, json_t *root)
{
	static const char *const keys[] = { "version", "parallel", "hold_s", "watari", "hosts", "guests",
		NULL };
	struct wt_plan_reader *text = &r->text;
	struct wt_rejuvenate_plan *plan = r->plan;
	unsigned parallel = 1;
	int code = wt_plan_keys(text, root, keys);

	if (!code && json_integer_value(json_object_get(root, "version")) != 1)
		code = wt_plan_refuse(text, "\"version\" must be 1");
	if (!code)
		code = wt_plan_number(text, root, "parallel", 1, WT_REJUVENATE_HOSTS_MAX, &parallel);
	if (!code)
		code = wt_plan_number(text, root, "hold_s", HOLD_S, WT_GANG_HOLD_MAX_S, &r->hold_s);
	if (!code)
		code = wt_plan_text(text, root, "watari", &plan->watari);
	if (!code && !plan->watari && !(plan->watari = strdup("watari")))
		code = no_memory(r);
	if (code)
		return code;
	wt_rejuvenate_order_init(&plan->order, 0, 0, parallel);
	r->hosts = json_object_get(root, "hosts");
	code = take_hosts(r);
	at(r, "%s", "");
	if (!code)
		code = take_guests(r, json_object_get(root, "guests"));
	if (code)
		return code;
	at(r, "%s", "");
	code = check_apart(r);
	return code ? code : check_room(r);
}

int wt_rejuvenate_plan_parse(const char *text, size_t length, const char *origin,
	struct wt_rejuvenate_plan **ret_plan, struct wt_error *err)
{
	struct reader *r = calloc(1, sizeof *r);
	struct wt_rejuvenate_plan *plan = calloc(1, sizeof *plan);
	json_t *root = NULL;
	int code;

	if (!r || !plan) {
		free(r);
		free(plan);
		return wt_error_set(err, ENOMEM, "no memory for a plan");
	}
	r->text = (struct wt_plan_reader){ .origin = origin, .page = "docs/REJUVENATION.md", .err = err };
	r->plan = plan;
	code = wt_plan_load(&r->text, text, length, &root, plan->digest);
	if (!code)
		code = take_plan(r, root);
	json_decref(root);
	free(r);
	if (code) {
		wt_rejuvenate_plan_free(plan);
		return code;
	}
	*ret_plan = plan;
	return 0;
}

int wt_rejuvenate_plan_read(const char *path, struct wt_rejuvenate_plan **ret_plan, struct wt_error *err)
{
	size_t length = 0;
	char *text = NULL;
	int r = wt_plan_read(path, &text, &length, err);

	if (!r)
		r = wt_rejuvenate_plan_parse(text, length, path, ret_plan, err);
	free(text);
	return r;
}

void wt_rejuvenate_plan_free(struct wt_rejuvenate_plan *plan)
{
	if (!plan)
		return;
	for (unsigned i = 0; i < plan->order.hosts; i++) {
		wt_plan_words_clear(&plan->hosts[i].prefix);
		wt_plan_words_clear(&plan->hosts[i].command);
		wt_plan_words_clear(&plan->hosts[i].probe);
	}
	for (unsigned i = 0; i < plan->order.guests; i++) {
		wt_plan_words_clear(&plan->guests[i].options);
		free(plan->guests[i].qmp);
		free(plan->guests[i].leave);
		free(plan->guests[i].back);
	}
	free(plan->watari);
	free(plan);
}
