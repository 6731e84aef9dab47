/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * upgrade.c - starts the new QEMU, hands the guest over (handover.h), and tidies up. See upgrade.h.
 *
 *   1. Until the handover is committed the old QEMU has its sockets and its pid file, and nothing of its is
 * changed.
 *   2. The new QEMU's names (NAME.watari-N) take the old ones' place only when the old process has ended:
 * QEMU removes its sockets and its pid file, by name, when it ends.
 *   3. The new QEMU is ended, if need be killed, only while its guest certainly never ran.
 *
 * SIGINT and SIGTERM are blocked from the beginning; the handover takes them.
 */
#include "upgrade.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device_qemu.h"
#include "handover.h"
#include "handover_check.h"
#include "preflight.h"
#include "upgrade_command.h"
#include "upgrade_devices.h"
#include "upgrade_process.h"

#define BACKENDS_MAX 64
#define NAMES_MAX 32
#define END_NS 30000000000ull /* for a QEMU that was told to quit */
#define GRACE_NS 10000000000ull
#define CONNECT_POLL_NS 5000000ull
#define ENVIRONMENT_MAX 8
#define TRIES 100

struct backend {
	char id[256], path[512];
	bool named; /* path is what it has on the command line, or was plugged in with */
};

struct upgrade {
	const struct wt_upgrade_options *options;
	struct wt_report report;
	struct wt_loop *loop;
	struct wt_handover_qemu old;
	struct wt_upgrade_process process;
	char machine[128];
	struct wt_upgrade_name names[NAMES_MAX];
	size_t name_count;
	char qmp_path[WT_UPGRADE_PATH_MAX]; /* of the new QEMU, as we see it */
	char agent_path[WT_UPGRADE_PATH_MAX];
	struct wt_device_map *map;
	const char *leaving[WT_DEVICES_MAX + 1]; /* ids of devices of the map that the old QEMU has */
	struct wt_upgrade_backend backends[BACKENDS_MAX];
	struct backend backend_texts[BACKENDS_MAX];
	size_t backend_count;
	struct wt_upgrade_devices devices;
	char **argv;
	char **environment; /* of a command file: the old QEMU's and ours behind it */
	char *environment_texts[ENVIRONMENT_MAX + BACKENDS_MAX];
	size_t environment_count;
	pid_t child; /* 0: it has ended, and was waited for */
	int child_status;
	struct wt_upgrade_process successor; /* pid 0: not known */
};

/* ---- what the old QEMU is ---- */

/* Where the new QEMU finds that memory: by its name, if that still is the same file, else through the old
 * one's descriptor. */
static int find_path(struct upgrade *u, const struct wt_ram_block *block, struct backend *text,
	struct wt_upgrade_backend *backend, struct wt_error *err)
{
	struct wt_error ignored = { 0 };
	json_t *value = NULL;
	struct stat named, file;
	char object[320], path[PATH_MAX];
	int number;

	snprintf(object, sizeof object, "/objects/%.255s", text->id);
	wt_qmp_call(u->old.qmp, "qom-get", json_pack("{s:s,s:s}", "path", object, "property", "mem-path"),
		WT_RELAY_QMP_NS, &value, &ignored);
	text->named = json_is_string(value) &&
		      !wt_upgrade_process_path(&u->process, json_string_value(value), path, sizeof path) &&
		      !stat(path, &named) && !fstat(block->fd, &file) && named.st_ino == file.st_ino &&
		      named.st_dev == file.st_dev;
	if (text->named && snprintf(text->path, sizeof text->path, "%s", path) >= (int)sizeof text->path)
		text->named = false;
	json_decref(value);
	backend->id = text->id;
	if (text->named)
		return 0;
	number = wt_upgrade_process_descriptor(block->pid, block->fd);
	if (number < 0)
		return wt_error_set(err, EPERM,
			"guest memory '%s' is in no file that another QEMU could open; use memory-backend-file or "
			"memory-backend-memfd",
			text->id);
	snprintf(text->path, sizeof text->path, "/proc/%d/fd/%d", (int)block->pid, number);
	backend->path = text->path;
	return 0;
}

/* Memory that was plugged in. */
static int describe_memory(
	struct upgrade *u, const struct wt_ram_block *block, const struct backend *text, struct wt_error *err)
{
	json_t *object;
	char *argument;
	int r;

	if (wt_upgrade_defines(u->process.argv, text->id))
		return 0;
	object = json_pack("{s:s,s:s,s:I,s:s,s:b}", "qom-type", "memory-backend-file", "id", text->id, "size",
		(json_int_t)block->length, "mem-path", text->path, "share", 1);
	argument = json_dumps(object, JSON_COMPACT);
	r = argument ? wt_upgrade_devices_add(&u->devices, "-object", argument, err)
		     : wt_error_set(err, ENOMEM, "no memory for %s", text->id);
	free(argument);
	json_decref(object);
	return r;
}

static int find_backends(struct upgrade *u, struct wt_error *err)
{
	json_t *list = NULL, *item;
	size_t i;
	int r = wt_qmp_call(u->old.qmp, "query-memdev", NULL, WT_RELAY_QMP_NS, &list, err);

	json_array_foreach(list, i, item)
	{
		const char *id = json_string_value(json_object_get(item, "id"));
		const struct wt_ram_block *block = id ? wt_guest_ram_find(u->old.ram, id) : NULL;
		struct backend *text = &u->backend_texts[u->backend_count];

		if (r || !block || u->backend_count == BACKENDS_MAX)
			continue;
		snprintf(text->id, sizeof text->id, "%s", id);
		r = find_path(u, block, text, &u->backends[u->backend_count++], err);
		if (!r)
			r = describe_memory(u, block, text, err);
	}
	json_decref(list);
	return r;
}

/* The name is nobody's: neither there, nor what the old QEMU is known by to the kernel. */
static bool is_free(struct upgrade *u, const struct wt_upgrade_name *name)
{
	char path[2 * WT_UPGRADE_PATH_MAX];
	struct stat file;

	return strcmp(name->from, name->to) != 0 &&
	       !wt_upgrade_process_path(&u->process, name->to, path, sizeof path) && lstat(path, &file) &&
	       errno == ENOENT;
}

static int add_name(struct upgrade *u, const char *path, struct wt_error *err)
{
	struct wt_upgrade_name *name = &u->names[u->name_count];
	int r;

	if (u->name_count == NAMES_MAX)
		return wt_error_set(err, EPERM, "QEMU listens on more than %d sockets", NAMES_MAX);
	for (unsigned number = (unsigned)getpid(); number < (unsigned)getpid() + TRIES; number++) {
		r = wt_upgrade_name(name, path, number, err);
		if (r)
			return r;
		if (is_free(u, name)) {
			u->name_count++;
			return 0;
		}
	}
	return wt_error_set(err, EEXIST,
		"there is no free name for the new QEMU: %s and those before it are taken; remove them if they are not in "
		"use, or rename the sockets of an upgrade that was not finished",
		name->to);
}

/* Is it the socket that an option names? An earlier upgrade may have renamed it. */
static bool is_named(struct upgrade *u, const char *path, const char *option)
{
	char public[WT_UPGRADE_PATH_MAX], here[2 * WT_UPGRADE_PATH_MAX];
	struct stat wanted, file;

	wt_upgrade_public_name(path, public);
	return option && !stat(option, &wanted) &&
	       !wt_upgrade_process_path(&u->process, public, here, sizeof here) && !stat(here, &file) &&
	       file.st_ino == wanted.st_ino && file.st_dev == wanted.st_dev;
}

static int find_names(struct upgrade *u, struct wt_error *err)
{
	char *const *argv = u->process.argv;
	int r = 0;

	for (size_t i = 0; !r && i < u->process.socket_count; i++) {
		if (u->process.sockets[i][0] == '@')
			return wt_error_set(err, EPERM,
				"QEMU listens on the abstract socket %s, which two QEMUs cannot have at once; start the new one without "
				"it and use watari handover, or give --command FILE",
				u->process.sockets[i]);
		r = add_name(u, u->process.sockets[i], err);
		if (!r && is_named(u, u->process.sockets[i], u->options->common.qmp_path))
			r = wt_upgrade_process_path(
				&u->process, u->names[u->name_count - 1].to, u->qmp_path, sizeof u->qmp_path);
		if (!r && is_named(u, u->process.sockets[i], u->options->common.agent))
			r = wt_upgrade_process_path(&u->process, u->names[u->name_count - 1].to,
				u->agent_path, sizeof u->agent_path);
	}
	for (size_t i = 1; !r && argv[i]; i++)
		if ((!strcmp(argv[i], "-pidfile") || !strcmp(argv[i], "--pidfile")) && argv[i + 1])
			r = add_name(u, argv[i + 1], err);
	if (!r && u->process.tcp_port)
		return wt_error_set(err, EPERM,
			"QEMU listens on TCP port %u, which two QEMUs cannot have at once; use a unix socket there, or start the "
			"new one without it and use watari handover, or give --command FILE",
			u->process.tcp_port);
	if (!r && !u->qmp_path[0])
		return wt_error_set(err, EPERM,
			"QEMU (process %d) does not listen on %s itself; somebody else gave it that socket: start the new QEMU "
			"the same way and use watari handover",
			(int)u->process.pid, u->options->common.qmp_path);
	if (!r && u->options->common.agent && !u->agent_path[0])
		return wt_error_set(err, EPERM, "QEMU (process %d) does not listen on %s, the agent's socket",
			(int)u->process.pid, u->options->common.agent);
	return r;
}

/* The new one gets them when it has the guest. */
static int find_leaving(struct upgrade *u, struct wt_error *err)
{
	struct wt_qemu_device found;
	unsigned count = 0;
	int r = u->options->common.device_map
			? wt_device_map_read(u->options->common.device_map, &u->map, err)
			: 0;

	for (unsigned i = 0; !r && u->map && i < u->map->count; i++) {
		r = wt_qemu_device(u->old.qmp, u->map->devices[i].id, &found, err);
		if (!r)
			u->leaving[count++] = u->map->devices[i].id;
		else if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static int look(struct upgrade *u, struct wt_error *err)
{
	bool running;
	int r = wt_qmp_open(
		u->loop, u->options->common.qmp_path, WT_RELAY_QMP_NS, NULL, NULL, &u->old.qmp, err);

	u->old.socket_path = u->options->common.qmp_path;
	if (!r)
		r = wt_guest_ram_open(u->old.qmp, &u->old.ram, err);
	if (!r)
		r = find_leaving(u, err);
	if (!r)
		r = wt_preflight_old(u->old.qmp, u->leaving, &running, err);
	if (!r)
		r = wt_handover_check_backends(&u->old, "old", err);
	if (!r)
		r = wt_upgrade_process_open(wt_qmp_pid(u->old.qmp), &u->process, err);
	if (!r)
		r = wt_handover_machine_type(&u->old, u->machine, sizeof u->machine, err);
	if (!r)
		r = find_backends(u, err);
	return r;
}

/* ---- what the new one will be ---- */

static int plan_like_old(struct upgrade *u, struct wt_error *err)
{
	struct wt_upgrade_plan plan = { .old_argv = u->process.argv,
		.binary = u->options->binary ? u->options->binary : u->process.argv[0],
		.machine = u->machine,
		.names = u->names,
		.backends = u->backends,
		.backend_count = u->backend_count };
	int r = find_names(u, err);

	if (!r)
		r = wt_upgrade_devices_find(u->old.qmp, u->process.argv, u->leaving, &u->devices, err);
	if (r)
		return r;
	plan.name_count = u->name_count;
	plan.gone = (const char *const *)u->devices.gone;
	plan.extra = (const char *const *)u->devices.extra;
	u->environment = u->process.environment;
	return wt_upgrade_command(&plan, &u->argv, err);
}

/* A variable's name may not have what an id may. */
static void add_variable(struct upgrade *u, const char *name, const char *suffix, const char *value)
{
	char *text;

	if (asprintf(&text, "%s%s=%s", name, suffix, value) < 0)
		return;
	for (char *c = text; *c != '='; c++)
		if (!(*c >= '0' && *c <= '9') && !(*c >= 'A' && *c <= 'Z') && !(*c >= 'a' && *c <= 'z'))
			*c = '_';
	u->environment_texts[u->environment_count++] = text;
}

/* A script of the operator's; what it must know is in its environment. */
static int plan_by_script(struct upgrade *u, struct wt_error *err)
{
	struct wt_upgrade_name *name = &u->names[0];
	size_t count = 0;
	char pid[16];
	int r = add_name(u, u->options->common.qmp_path, err);

	if (r)
		return r;
	if (u->options->common.qmp_path[0] != '/' || u->options->command_file[0] != '/' ||
		(u->options->common.agent && u->options->common.agent[0] != '/'))
		return wt_error_set(err, EINVAL,
			"give whole paths to --qmp, --agent and --command: the script runs in the old QEMU's directory");
	name->found = true;
	strcpy(u->qmp_path, name->to);
	if (u->options->common.agent) {
		r = add_name(u, u->options->common.agent, err);
		if (r)
			return r;
		u->names[1].found = true;
		strcpy(u->agent_path, u->names[1].to);
		add_variable(u, "WATARI_AGENT", "", u->agent_path);
	}
	snprintf(pid, sizeof pid, "%d", (int)u->process.pid);
	add_variable(u, "WATARI_QMP", "", name->to);
	add_variable(u, "WATARI_OLD_PID", "", pid);
	add_variable(u, "WATARI_MACHINE", "", u->machine);
	for (size_t i = 0; i < u->backend_count; i++)
		if (u->backends[i].path)
			add_variable(u, "WATARI_RAM_", u->backends[i].id, u->backends[i].path);
	while (u->process.environment[count])
		count++;
	u->environment = calloc(count + u->environment_count + 1, sizeof *u->environment);
	u->argv = calloc(4, sizeof *u->argv);
	if (!u->environment || !u->argv)
		return wt_error_set(err, ENOMEM, "no memory for the new QEMU's environment");
	memcpy(u->environment, u->process.environment, count * sizeof *u->environment);
	memcpy(u->environment + count, u->environment_texts, u->environment_count * sizeof *u->environment);
	u->argv[0] = strdup("/bin/sh");
	u->argv[1] = strdup(u->options->command_file);
	return 0;
}

static void tell_command(struct upgrade *u)
{
	json_t *words = json_array();
	char *text;

	for (size_t i = 0; u->argv[i]; i++)
		json_array_append_new(words, json_string(u->argv[i]));
	text = json_dumps(words, 0);
	wt_report_event(&u->report, "command",
		json_pack("{s:o,s:s,s:s}", "command", words, "qmp", u->qmp_path, "machine", u->machine),
		u->options->dry_run ? text : NULL);
	free(text);
}

/* ---- starting it ---- */

/* Has the child ended? A daemon's starter does, with 0. */
static bool child_ended(struct upgrade *u)
{
	if (u->child && waitpid(u->child, &u->child_status, WNOHANG) == u->child)
		u->child = 0;
	return !u->child;
}

static int start_failed(struct upgrade *u, struct wt_error *err)
{
	const char *program = u->options->command_file ? u->options->command_file : u->argv[0];

	return wt_error_set(err, ECHILD,
		"the new QEMU (%s) ended with %s %d before it could take the guest; what it said is where the old one's "
		"standard error goes",
		program, WIFSIGNALED(u->child_status) ? "signal" : "exit code",
		WIFSIGNALED(u->child_status) ? WTERMSIG(u->child_status) : WEXITSTATUS(u->child_status));
}

/* Waits until it answers on its QMP socket. */
static int wait_for_new(struct upgrade *u, struct wt_error *err)
{
	uint64_t until_ns = wt_loop_now_ns(u->loop) + u->options->start_timeout_ns;
	struct wt_qmp *qmp = NULL;
	struct wt_error why = { 0 };
	pid_t pid;

	while (wt_qmp_open(u->loop, u->qmp_path, u->options->start_timeout_ns, NULL, NULL, &qmp, &why)) {
		if (child_ended(u) && u->child_status)
			return start_failed(u, err);
		if (wt_loop_now_ns(u->loop) > until_ns)
			return wt_error_set(err, ETIMEDOUT, "the new QEMU did not come up within %llu s: %s",
				(unsigned long long)(u->options->start_timeout_ns / 1000000000), why.text);
		wt_error_clear(&why);
		usleep(CONNECT_POLL_NS / 1000);
	}
	pid = wt_qmp_pid(qmp);
	wt_qmp_close(qmp);
	return wt_upgrade_process_open(pid, &u->successor, err);
}

static int start(struct upgrade *u, struct wt_error *err)
{
	static const char apart[] =
		"the new QEMU is in this command's control group (service, session), not in the old one's: "
		"it ends when that does";
	char text[WT_UPGRADE_PATH_MAX + 64];
	int r = wt_upgrade_start(&u->process, u->argv, u->environment, &u->child, err);

	if (!r)
		r = wait_for_new(u, err);
	if (r)
		return r;
	snprintf(text, sizeof text, "the new QEMU is up (process %d, QMP %s)", (int)u->successor.pid,
		u->qmp_path);
	wt_report_event(&u->report, "started",
		json_pack("{s:i,s:s}", "pid", (int)u->successor.pid, "qmp", u->qmp_path), text);
	if (wt_upgrade_process_apart(u->process.pid))
		wt_report_event(&u->report, "warning", json_pack("{s:s}", "text", apart), apart);
	return 0;
}

/* ---- afterwards ---- */

static void path_of(struct upgrade *u, const char *path, char *ret_path, size_t size)
{
	if (wt_upgrade_process_path(&u->process, path, ret_path, size))
		ret_path[0] = '\0';
}

/* The guest stays where it is: whatever was started goes. */
static void end_new(struct upgrade *u)
{
	bool lives = u->successor.pid > 0 && !wt_upgrade_process_ended(&u->successor, 0);
	struct wt_error ignored = { 0 };
	struct wt_qmp *qmp = NULL;
	char path[2 * WT_UPGRADE_PATH_MAX];

	if (lives && !wt_qmp_open(u->loop, u->qmp_path, WT_RELAY_QMP_NS, NULL, NULL, &qmp, &ignored))
		wt_qmp_call(qmp, "quit", NULL, WT_RELAY_QMP_NS, NULL, &ignored);
	wt_qmp_close(qmp);
	if (lives && !wt_upgrade_process_ended(&u->successor, GRACE_NS))
		pidfd_send_signal(u->successor.pidfd, SIGKILL, NULL, 0);
	if (u->child && !u->successor.pid)
		kill(-u->child, SIGKILL); /* with what a script has started */
	for (size_t i = 0; i < u->name_count; i++) {
		path_of(u, u->names[i].to, path, sizeof path);
		unlink(path);
	}
}

/* The old QEMU has ended, or was told to: its names become the new one's. */
static int take_names(struct upgrade *u, struct wt_error *err)
{
	char from[2 * WT_UPGRADE_PATH_MAX], to[2 * WT_UPGRADE_PATH_MAX], public[WT_UPGRADE_PATH_MAX];

	if (!wt_upgrade_process_ended(&u->process, END_NS))
		return wt_error_set(err, ETIMEDOUT,
			"the guest runs in the new QEMU (QMP %s), but the old one (process %d) does not end; end it, then move "
			"the new sockets to their old names",
			u->qmp_path, (int)u->process.pid);
	for (size_t i = 0; i < u->name_count; i++) {
		wt_upgrade_public_name(u->names[i].to, public);
		path_of(u, u->names[i].to, from, sizeof from);
		path_of(u, public, to, sizeof to);
		if (rename(from, to))
			wt_error_set(err, errno,
				"the guest runs in the new QEMU, but %s cannot be renamed to %s: %s", from,
				to, strerror(errno));
	}
	return -err->code;
}

static int hand_over(struct upgrade *u, struct wt_error *err)
{
	struct wt_handover_options options = { .common = u->options->common,
		.new_qmp_path = u->qmp_path,
		.new_agent = u->options->common.agent ? u->agent_path : NULL,
		.switchover_timeout_ns = u->options->switchover_timeout_ns };
	int code = wt_handover_run(&options);

	if (code == WT_EXIT_FAILED)
		end_new(u);
	if (code == WT_EXIT_OK && take_names(u, err))
		return WT_EXIT_UNDECIDED;
	return code;
}

static void close_all(struct upgrade *u)
{
	for (size_t i = 0; i < u->environment_count; i++)
		free(u->environment_texts[i]);
	if (u->environment != u->process.environment)
		free(u->environment);
	wt_upgrade_free(u->argv);
	wt_upgrade_devices_close(&u->devices);
	wt_device_map_free(u->map);
	wt_upgrade_process_close(&u->process);
	wt_upgrade_process_close(&u->successor);
	wt_qmp_close(u->old.qmp);
	wt_guest_ram_close(u->old.ram);
	if (u->loop)
		wt_loop_close(u->loop);
}

/* Answers an exit code; an error is still to be told. */
static int run(struct upgrade *u, struct wt_error *err)
{
	int r = wt_loop_open(&u->loop);

	if (r)
		wt_error_set(err, -r, "no event loop: %s", strerror(-r));
	if (!r)
		r = look(u, err);
	if (!r)
		r = u->options->command_file ? plan_by_script(u, err) : plan_like_old(u, err);
	if (r)
		return WT_EXIT_FAILED;
	wt_qmp_close(u->old.qmp); /* one client at a time */
	u->old.qmp = NULL;
	tell_command(u);
	if (u->options->dry_run)
		return WT_EXIT_OK;
	if (start(u, err)) {
		end_new(u);
		return WT_EXIT_FAILED;
	}
	return hand_over(u, err);
}

int wt_upgrade_run(const struct wt_upgrade_options *options)
{
	struct upgrade u = { .options = options, .process = { .pidfd = -1 }, .successor = { .pidfd = -1 } };
	struct wt_error err = { 0 };
	sigset_t set;
	int code;

	wt_report_open(&u.report, options->common.json);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	code = run(&u, &err);
	if (err.code)
		wt_report_error(&u.report, wt_error_text(&err));
	close_all(&u);
	return code;
}
