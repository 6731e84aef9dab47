/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * upgrade_command.c - see upgrade_command.h.
 *
 *   1. What is not understood is left as it is. QEMU itself compares machines when it loads a guest's state,
 * and handover_check.c what QEMU would not notice; neither lets a guest run that is not the same.
 *   2. What would harm the old QEMU while both live is changed or refused: its sockets and pid file, files
 * that would be truncated, memory that would be written (prealloc), disks that would be thrown away
 * (-snapshot).
 *   3. Descriptors that somebody gave to the old QEMU cannot be given again: refused.
 * An argument that begins with "-" is an option, and the next one that does not is its argument.
 */
#include "upgrade_command.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUFFIX ".watari-"
#define SOCKET_PATH_MAX 107 /* of sockaddr_un */

struct builder {
	struct wt_upgrade_plan *plan;
	char **argv;
	size_t count, room;
	unsigned chardevs;
	bool failed; /* no memory */
};

/* ---- reading options ---- */

/* One "key=value" up to a single comma (",," is a comma in it); answers where the next one begins, or NULL.
 */
static const char *next_pair(const char *text, char *ret_pair, size_t size)
{
	size_t length = 0;

	for (; *text; text++) {
		if (*text == ',' && text[1] != ',')
			return snprintf(ret_pair + length, size - length, "%s", ""), text + 1;
		if (*text == ',')
			text++;
		if (length + 1 < size)
			ret_pair[length++] = *text;
	}
	ret_pair[length] = '\0';
	return NULL;
}

static bool json_option(const char *argument, const char *key, char *ret_value, size_t size)
{
	json_t *object = json_loads(argument, 0, NULL);
	const char *text = json_string_value(json_object_get(object, key));

	if (text)
		snprintf(ret_value, size, "%s", text);
	json_decref(object);
	return text != NULL;
}

bool wt_upgrade_option(const char *argument, const char *first, const char *key, char *ret_value, size_t size)
{
	char pair[4096];
	bool leading = true, found = false;

	if (argument[0] == '{')
		return json_option(argument, key, ret_value, size);
	for (const char *rest = argument; rest; leading = false) {
		char *value;

		rest = next_pair(rest, pair, sizeof pair);
		value = strchr(pair, '=');
		if (value)
			*value++ = '\0';
		if (!value && leading && strcmp(first, key) == 0)
			value = pair;
		else if (!value || strcmp(pair, key) != 0)
			continue;
		snprintf(ret_value, size, "%s", value);
		found = true;
	}
	return found;
}

bool wt_upgrade_defines(char *const *argv, const char *id)
{
	char value[256];

	for (size_t i = 1; argv[i]; i++)
		if ((wt_upgrade_option(argv[i], "", "id", value, sizeof value) && !strcmp(value, id)) ||
			(wt_upgrade_option(argv[i], "", "node-name", value, sizeof value) &&
				!strcmp(value, id)))
			return true;
	return false;
}

void wt_upgrade_public_name(const char *path, char ret_path[WT_UPGRADE_PATH_MAX])
{
	char *suffix = NULL;

	snprintf(ret_path, WT_UPGRADE_PATH_MAX, "%s", path);
	for (char *next = ret_path; (next = strstr(next, SUFFIX)) != NULL; next++)
		suffix = next;
	if (suffix && suffix[strlen(SUFFIX)] &&
		!suffix[strlen(SUFFIX) + strspn(suffix + strlen(SUFFIX), "0123456789")])
		*suffix = '\0';
}

int wt_upgrade_name(struct wt_upgrade_name *name, const char *path, unsigned number, struct wt_error *err)
{
	char public[WT_UPGRADE_PATH_MAX];
	int length;

	*name = (struct wt_upgrade_name){ .found = false };
	wt_upgrade_public_name(path, public);
	snprintf(name->from, sizeof name->from, "%s", path);
	length = snprintf(name->to, sizeof name->to, "%s" SUFFIX "%u", public, number);
	if (length <= SOCKET_PATH_MAX)
		return 0;
	return wt_error_set(err, ENAMETOOLONG,
		"%s is too long for the new QEMU to have a name beside it (%s: at most %d bytes); start the new QEMU "
		"yourself, and use watari handover",
		public, name->to, SOCKET_PATH_MAX);
}

/* ---- writing the new command line ---- */

static void add(struct builder *b, const char *text)
{
	if (b->count + 1 >= b->room) {
		size_t room = b->room ? 2 * b->room : 64;
		char **grown = realloc(b->argv, room * sizeof *grown);

		if (!grown) {
			b->failed = true;
			return;
		}
		b->argv = grown;
		b->room = room;
	}
	b->argv[b->count] = strdup(text);
	b->failed |= !b->argv[b->count];
	b->argv[++b->count] = NULL;
}

__attribute__((format(printf, 2, 3))) static void add_text(struct builder *b, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (text)
		add(b, text);
	else
		b->failed = true;
	free(text);
}

static bool ends_path(char c)
{
	return c == '\0' || c == ',' || c == '"';
}

/* The argument with the first of `names` that stands in it as a whole path replaced; NULL: none does. */
static char *renamed(struct wt_upgrade_plan *plan, const char *argument)
{
	for (size_t i = 0; i < plan->name_count; i++) {
		struct wt_upgrade_name *name = &plan->names[i];
		size_t length = strlen(name->from);
		const char *at = argument;
		char *text = NULL;

		for (; (at = strstr(at, name->from)) != NULL; at++)
			if (ends_path(at[length]) && (at == argument || strchr("=:,\"", at[-1])))
				break;
		if (!at)
			continue;
		name->found = true;
		if (asprintf(&text, "%.*s%s%s", (int)(at - argument), argument, name->to, at + length) < 0)
			return NULL;
		return text;
	}
	return NULL;
}

/* "a,b" as a value of an option: "a,,b". Answers a new text. */
static char *escaped(const char *text)
{
	char *copy = malloc(2 * strlen(text) + 1), *to = copy;

	for (; copy && *text; text++) {
		*to++ = *text;
		if (*text == ',')
			*to++ = ',';
	}
	if (copy)
		*to = '\0';
	return copy;
}

static const struct wt_upgrade_backend *find_backend(const struct wt_upgrade_plan *plan, const char *id)
{
	for (size_t i = 0; i < plan->backend_count; i++)
		if (!strcmp(plan->backends[i].id, id))
			return &plan->backends[i];
	return NULL;
}

/* What memory that is there already must not have: it would be written to, or thrown away when a QEMU ends.
 * And what only the way that it was made has: replaced by a path. */
static bool is_dropped_key(const char *key, bool replaced)
{
	static const char *const never[] = { "prealloc", "prealloc-threads", "prealloc-context",
		"discard-data" };
	static const char *const made[] = { "hugetlb", "hugetlbsize", "seal", "share", "qom-type" };

	for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
		if (!strcmp(key, never[i]))
			return true;
	for (size_t i = 0; replaced && i < sizeof made / sizeof made[0]; i++)
		if (!strcmp(key, made[i]))
			return true;
	return false;
}

/* As JSON. */
static void add_json_backend(struct builder *b, const char *argument, const char *path)
{
	json_t *object = json_loads(argument, 0, NULL), *value;
	const char *key;
	void *next;
	char *text;

	json_object_foreach_safe(object, next, key, value)
	{
		if (is_dropped_key(key, path != NULL))
			json_object_del(object, key);
	}
	if (path) {
		json_object_set_new(object, "qom-type", json_string("memory-backend-file"));
		json_object_set_new(object, "mem-path", json_string(path));
		json_object_set_new(object, "share", json_true());
	}
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	add(b, text ? text : argument);
	free(text);
}

/* A memory backend whose memory is there already: never to be populated, and opened where it is. */
static void add_backend(struct builder *b, const char *argument, const char *path)
{
	char pair[4096], *text = NULL, *file = path ? escaped(path) : NULL;
	const char *rest;

	if (argument[0] == '{') {
		free(file);
		add_json_backend(b, argument, path);
		return;
	}
	rest = next_pair(argument, pair, sizeof pair);
	text = strdup(path ? "memory-backend-file" : pair);
	while (rest && text) {
		char *value, *safe, *more = NULL;

		rest = next_pair(rest, pair, sizeof pair);
		value = strchr(pair, '=');
		if (value)
			*value++ = '\0';
		if (is_dropped_key(pair, path != NULL) || (path && !strcmp(pair, "mem-path")))
			continue;
		safe = value ? escaped(value) : NULL;
		if (asprintf(&more, "%s,%s%s%s", text, pair, safe ? "=" : "", safe ? safe : "") < 0)
			more = NULL;
		free(safe);
		free(text);
		text = more;
	}
	if (text && file)
		add_text(b, "%s,share=on,mem-path=%s", text, file);
	else if (text && !path)
		add(b, text);
	else
		b->failed = true;
	free(text);
	free(file);
}

/* A descriptor that QEMU was given by whoever started it. */
static bool has_descriptor(const char *argument)
{
	static const char *const keys[] = { "fd", "fds", "vhostfd", "vhostfds", "sockfd" };
	char value[64];

	if (strstr(argument, "/dev/fdset/"))
		return true;
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (wt_upgrade_option(argument, "", keys[i], value, sizeof value))
			return true;
	return false;
}

static bool is_character_device(const char *option)
{
	static const char *const options[] = { "serial", "parallel", "monitor", "debugcon" };

	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		if (!strcmp(option, options[i]))
			return true;
	return false;
}

/* Standard input and output. */
static bool is_terminal(const char *option, const char *argument)
{
	if (!strcmp(option, "curses") ||
		(argument && !strcmp(option, "display") && !strncmp(argument, "curses", 6)))
		return true;
	if (!argument || (!is_character_device(option) && strcmp(option, "chardev") != 0 &&
				 strcmp(option, "qmp") != 0))
		return false;
	return !strcmp(argument, "stdio") || !strcmp(argument, "mon:stdio") ||
	       !strncmp(argument, "stdio,", 6);
}

static int check_argument(const char *option, const char *argument, struct wt_error *err)
{
	char value[8];

	if (!strcmp(option, "snapshot") ||
		(argument && wt_upgrade_option(argument, "", "snapshot", value, sizeof value) &&
			!strcmp(value, "on")))
		return wt_error_set(err, EPERM,
			"QEMU was started with -snapshot: what the guest has written to its disks is lost when that QEMU ends; it "
			"cannot be handed over");
	if (is_terminal(option, argument))
		return wt_error_set(err, EPERM,
			"QEMU has its terminal for a console (-%s%s%s), which the new one in the background would not have; start "
			"the new QEMU yourself and use watari handover",
			option, argument ? " " : "", argument ? argument : "");
	if (argument && strcmp(option, "append") != 0 && strcmp(option, "name") != 0 &&
		has_descriptor(argument))
		return wt_error_set(err, EPERM,
			"QEMU was given a descriptor by whoever started it (-%s %.200s), which cannot be given again; start the "
			"new QEMU the same way and use watari handover, or give --command FILE",
			option, argument);
	return 0;
}

/* A file that the new QEMU would empty is appended to. */
static void add_log(struct builder *b, const char *option, const char *path)
{
	char *safe = escaped(path);

	add(b, "-chardev");
	add_text(b, "file,id=watari-%s%u,path=%s,append=on", option, b->chardevs, safe ? safe : "");
	add_text(b, "-%s", option);
	add_text(b, "chardev:watari-%s%u", option, b->chardevs++);
	free(safe);
}

static bool is_gone(const struct wt_upgrade_plan *plan, const char *argument)
{
	char id[256];

	if (!wt_upgrade_option(argument, "driver", "id", id, sizeof id))
		return false;
	for (size_t i = 0; plan->gone && plan->gone[i]; i++)
		if (!strcmp(plan->gone[i], id))
			return true;
	return false;
}

/* An option with its argument. */
static void add_option(struct builder *b, const char *option, const char *given, const char *argument)
{
	const struct wt_upgrade_backend *backend = NULL;
	char value[256], *other;

	if (!strcmp(option, "object") &&
		wt_upgrade_option(argument, "qom-type", "qom-type", value, sizeof value) &&
		!strncmp(value, "memory-backend-", 15)) {
		if (wt_upgrade_option(argument, "qom-type", "id", value, sizeof value))
			backend = find_backend(b->plan, value);
		add(b, given);
		add_backend(b, argument, backend ? backend->path : NULL);
		return;
	}
	if (is_character_device(option) && !strncmp(argument, "file:", 5)) {
		add_log(b, option, argument + 5);
		return;
	}
	add(b, given);
	other = renamed(b->plan, argument);
	if (!strcmp(option, "chardev") && !strncmp(argument, "file,", 5) &&
		!wt_upgrade_option(argument, "backend", "append", value, sizeof value))
		add_text(b, "%s,append=on", other ? other : argument);
	else
		add(b, other ? other : argument);
	free(other);
}

/* Without an argument, and not for the new QEMU: it is in the background anyhow. */
static bool is_lone(const char *option)
{
	return !strcmp(option, "S") || !strcmp(option, "mem-prealloc") || !strcmp(option, "daemonize");
}

/* Is it one that the new command line has at its end, or must not have? Without its argument, if it has one.
 */
static bool is_dropped(const struct wt_upgrade_plan *plan, const char *option, const char *argument)
{
	const char *type = argument && !strncmp(argument, "type=", 5) ? argument + 5 : "";

	if (is_lone(option) || !strcmp(option, "incoming"))
		return true;
	if (!strcmp(option, "machine") && !strcmp(type, plan->machine))
		return true;
	return argument && !strcmp(option, "device") && is_gone(plan, argument);
}

static bool has_option(char *const *argv, const char *option)
{
	for (size_t i = 1; argv[i]; i++)
		if (argv[i][0] == '-' && !strcmp(argv[i] + (argv[i][1] == '-' ? 2 : 1), option))
			return true;
	return false;
}

static int rewrite(struct builder *b, struct wt_error *err)
{
	char *const *old = b->plan->old_argv;

	/* It implies -serial mon:stdio, unless something is said. */
	if (has_option(old, "nographic") && !has_option(old, "serial") && !has_option(old, "nodefaults"))
		return check_argument("serial", "mon:stdio", err);

	for (size_t i = 1; old[i]; i++) {
		const char *option = old[i] + (old[i][0] == '-') + (old[i][0] == '-' && old[i][1] == '-');
		const char *argument =
			old[i][0] == '-' && old[i + 1] && old[i + 1][0] != '-' ? old[i + 1] : NULL;
		int r = check_argument(option, argument, err);

		if (r)
			return r;
		if (is_dropped(b->plan, option, argument)) {
			i += argument && !is_lone(option);
			continue;
		}
		if (!argument) {
			add(b, old[i]);
			continue;
		}
		add_option(b, option, old[i], argument);
		i++;
	}
	return 0;
}

int wt_upgrade_command(struct wt_upgrade_plan *plan, char ***ret_argv, struct wt_error *err)
{
	struct builder b = { .plan = plan };
	int r;

	add(&b, plan->binary);
	r = rewrite(&b, err);
	add(&b, "-machine");
	add_text(&b, "type=%s", plan->machine);
	for (size_t i = 0; plan->extra && plan->extra[i]; i++)
		add(&b, plan->extra[i]);
	add(&b, "-incoming");
	add(&b, "defer");
	add(&b, "-S");
	for (size_t i = 0; !r && i < plan->name_count; i++)
		if (!plan->names[i].found)
			r = wt_error_set(err, EPERM,
				"QEMU listens on %s, which is not on its command line as it is: the new one would not; start the new "
				"QEMU yourself and use watari handover, or give --command FILE",
				plan->names[i].from);
	if (!r && b.failed)
		r = wt_error_set(err, ENOMEM, "no memory for the new QEMU's command line");
	if (r) {
		wt_upgrade_free(b.argv);
		return r;
	}
	*ret_argv = b.argv;
	return 0;
}

void wt_upgrade_free(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}
