/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * preflight.c - asks QEMU everything that would make a migration fail or lie, before it starts.
 *
 *   1. Nothing is changed: only query-*, qom-list and qom-get are sent.
 *   2. The first reason found is returned, as -EPERM and one sentence: what was seen, and what to do.
 *   3. A capability that is on and in neither table is refused: what it does to the stream is not known.
 *   4. A question that this QEMU does not know (or refuses) counts as "no such thing"; one that it does not
 *      answer ends the check with that error.
 *
 * Called by the thread of qmp's loop; waits for QEMU's answers. It does not watch: what is plugged in or
 * switched on later is for others to see.
 */
#include "preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUERY_TIMEOUT_NS 10000000000ull
#define CMDLINE_MAX ((size_t)4 << 20)

static bool is_true(json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* The text of a key, "" where there is none. */
static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool starts_with(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

/* Asks. *ret_result is NULL where QEMU does not know the question. arguments is stolen. */
static int ask(
	struct wt_qmp *qmp, const char *command, json_t *arguments, json_t **ret_result, struct wt_error *err)
{
	struct wt_error why = { 0 };
	json_t *result = NULL;
	int r;

	r = wt_qmp_call(qmp, command, arguments, QUERY_TIMEOUT_NS, &result, &why);
	if (r < 0 && r != -EREMOTEIO && r != -ENOSYS && r != -ENODEV)
		return wt_error_set(err, -r, "%s", why.text);
	*ret_result = result;
	return 0;
}

/* Asks what every QEMU knows. */
static int ask_known(struct wt_qmp *qmp, const char *command, json_t **ret_result, struct wt_error *err)
{
	return wt_qmp_call(qmp, command, NULL, QUERY_TIMEOUT_NS, ret_result, err);
}

/* ---- Capabilities and parameters ---- */

struct capability {
	const char *name;
	const char *why; /* NULL: harmless */
};

static const struct capability capabilities[] = {
	{ "auto-converge", NULL },
	{ "dirty-limit", NULL },
	{ "events", NULL },
	{ "late-block-activate", NULL },
	{ "multifd", NULL },
	{ "pause-before-switchover", NULL },
	{ "postcopy-blocktime", NULL },
	{ "rdma-pin-all", NULL },
	{ "return-path", NULL },
	{ "validate-uuid", NULL },
	{ "zero-blocks", NULL },
	{ "background-snapshot", "makes the stream a snapshot, not a migration" },
	{ "block", "puts disk contents into the stream" },
	{ "compress", "compresses the pages in the stream" },
	{ "dirty-bitmaps", "adds a section to the stream whose length is not known" },
	{ "mapped-ram", "writes pages at offsets of a file, not into a stream" },
	{ "postcopy-preempt", "opens a second channel" },
	{ "postcopy-ram", "may start the destination before its memory is there" },
	{ "release-ram", "discards guest memory that watari still has to read" },
	{ "switchover-ack", "waits for an answer that the destination's QEMU cannot give" },
	{ "x-colo", "keeps two guests in step, which is no migration" },
	{ "x-ignore-shared",
		"leaves shared memory out of the stream, so that watari cannot see what changed" },
	{ "xbzrle", "sends differences of pages" },
	{ "zero-copy-send", "lets pages in the stream change after they were sent" },
};

static const struct capability *find_capability(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
		if (!strcmp(capabilities[i].name, name))
			return &capabilities[i];
	return NULL;
}

/* What watari itself sets there, and so may be on; of a source it may also be left of a relay that died. */
static const char *const driven[] = { "x-ignore-shared", "switchover-ack", NULL };
static const char *const handed[] = { "x-ignore-shared", NULL };
static const char *const none[] = { NULL };

static bool is_among(const char *name, const char *const *names)
{
	while (*names && strcmp(*names, name))
		names++;
	return *names;
}

static int check_capabilities(struct wt_qmp *qmp, const char *const *allowed, struct wt_error *err)
{
	const struct capability *known;
	json_t *list = NULL, *item;
	const char *name;
	size_t i;
	int r;

	r = ask_known(qmp, "query-migrate-capabilities", &list, err);
	if (r < 0)
		return r;
	json_array_foreach(list, i, item)
	{
		name = text_of(item, "capability");
		known = find_capability(name);
		if (!is_true(item, "state") || (known && !known->why) || is_among(name, allowed))
			continue;
		r = wt_error_set(err, EPERM,
			"migration capability '%s' is on, and %s; type in QEMU's monitor: "
			"migrate_set_capability %s off",
			name, known ? known->why : "this watari does not know what it does to the stream",
			name);
		break;
	}
	json_decref(list);
	return r;
}

static int check_parameters(struct wt_qmp *qmp, struct wt_error *err)
{
	/* What each must be, if it is there at all. */
	static const struct {
		const char *name, *wanted, *typed, *why;
	} parameters[] = {
		{ "multifd-compression", "none", "none", "compresses the pages in the stream" },
		{ "tls-creds", "", "\"\"",
			"encrypts the stream, so that watari cannot read it; watari's own "
			"connection is encrypted" },
		{ "mode", "normal", "normal", "makes it another kind of migration" },
	};
	json_t *values = NULL;
	const char *value;
	size_t i;
	int r;

	r = ask_known(qmp, "query-migrate-parameters", &values, err);
	if (r < 0)
		return r;
	for (i = 0; i < sizeof parameters / sizeof *parameters && !r; i++) {
		value = json_string_value(json_object_get(values, parameters[i].name));
		if (!value || !strcmp(value, parameters[i].wanted))
			continue;
		r = wt_error_set(err, EPERM,
			"migration parameter '%s' is '%s', which %s; type in QEMU's monitor: "
			"migrate_set_parameter %s %s",
			parameters[i].name, value, parameters[i].why, parameters[i].name,
			parameters[i].typed);
	}
	json_decref(values);
	return r;
}

/* ---- Migration that runs or is forbidden ---- */

/* The first reason of QEMU's that counts; NULL: none does. leaving: those of VFIO go with its devices. */
static const char *first_reason(json_t *answer, bool leaving)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(answer, "blocked-reasons"), i, item)
	{
		const char *reason = json_string_value(item);

		if (reason && !(leaving && strcasestr(reason, "vfio")))
			return reason;
	}
	return is_true(answer, "blocked") && !leaving ? "it gives no reason" : NULL;
}

/* What blocks a migration blocks it at the source only. leaving: devices will be taken away before. */
static int check_migration(struct wt_qmp *qmp, bool is_source, bool leaving, struct wt_error *err)
{
	static const char *const over[] = { "", "none", "completed", "failed", "cancelled" };
	const char *status, *reason;
	json_t *answer = NULL;
	size_t i;
	int r;

	r = ask_known(qmp, "query-migrate", &answer, err);
	if (r < 0)
		return r;
	status = text_of(answer, "status");
	for (i = 0; i < sizeof over / sizeof *over && strcmp(status, over[i]) != 0; i++)
		;
	reason = first_reason(answer, leaving);
	if (i == sizeof over / sizeof *over)
		r = wt_error_set(err, EPERM,
			"QEMU is already migrating (status '%s'); wait for its end, or type in QEMU's monitor: "
			"migrate_cancel",
			status);
	else if (is_source && reason)
		r = wt_error_set(err, EPERM,
			"QEMU itself refuses to migrate this guest: %s; remove what causes that (a device: "
			"device_del ID) and try again",
			reason);
	json_decref(answer);
	return r;
}

/* *ret_status has room for 32 bytes. */
static int ask_status(struct wt_qmp *qmp, char *ret_status, struct wt_error *err)
{
	json_t *answer = NULL;
	int r;

	r = ask_known(qmp, "query-status", &answer, err);
	if (r < 0)
		return r;
	snprintf(ret_status, 32, "%s", text_of(answer, "status"));
	json_decref(answer);
	return 0;
}

static bool migration_completed(struct wt_qmp *qmp)
{
	struct wt_error ignored = { 0 };
	json_t *info = NULL;
	bool completed;

	if (wt_qmp_call(qmp, "query-migrate", NULL, QUERY_TIMEOUT_NS, &info, &ignored))
		return true;
	completed = !strcmp(text_of(info, "status"), "completed");
	json_decref(info);
	return completed;
}

static int check_source_status(struct wt_qmp *qmp, bool *ret_running, struct wt_error *err)
{
	char status[32];
	int r;

	r = ask_status(qmp, status, err);
	if (r < 0)
		return r;
	if (!strcmp(status, "inmigrate"))
		return wt_error_set(err, EPERM,
			"this QEMU waits for an incoming migration; give --qmp the source's socket");
	/* A guest that was paused stays in postmigrate when its migration fails: QEMU has no way back to
	 * paused. */
	if (!strcmp(status, "postmigrate") && migration_completed(qmp))
		return wt_error_set(err, EPERM,
			"this guest has already migrated away; if it does not run elsewhere, type in QEMU's "
			"monitor: cont");
	if (!strcmp(status, "finish-migrate") || !strcmp(status, "save-vm") ||
		!strcmp(status, "restore-vm") || !strcmp(status, "colo"))
		return wt_error_set(
			err, EPERM, "this guest is busy (run state '%s'); try again later", status);
	*ret_running = !strcmp(status, "running");
	return 0;
}

/* ---- Disks ---- */

/* Firmware's variable store: QEMU migrates its content as RAM and writes it to the destination's own file. */
bool wt_preflight_is_flash(json_t *disk)
{
	return starts_with(text_of(disk, "device"), "pflash") ||
	       starts_with(text_of(disk, "qdev"), "/machine/system.flash");
}

static int check_disks(struct wt_qmp *qmp, bool shared_storage, unsigned *ret_writable, struct wt_error *err)
{
	json_t *list = NULL, *disk, *inserted;
	unsigned writable = 0;
	const char *name;
	size_t i;
	int r;

	r = ask_known(qmp, "query-block", &list, err);
	if (r < 0)
		return r;
	json_array_foreach(list, i, disk)
	{
		inserted = json_object_get(disk, "inserted");
		if (!inserted || is_true(inserted, "ro"))
			continue;
		writable++;
		if (shared_storage || wt_preflight_is_flash(disk))
			continue;
		name = text_of(disk, "device");
		if (!*name)
			name = text_of(inserted, "node-name");
		if (!*name)
			name = text_of(disk, "qdev");
		r = wt_error_set(err, EPERM,
			"disk '%s' (%s) is writable, and watari does not move disks; if the destination sees the "
			"same disk (NFS, Ceph, a SAN), say --shared-storage",
			name, text_of(inserted, "file"));
		break;
	}
	json_decref(list);
	if (!r)
		*ret_writable = writable;
	return r;
}

/* ---- Devices ---- */

bool wt_preflight_leaves(const char *const *leaving, const char *id)
{
	for (; leaving && *leaving; leaving++)
		if (!strcmp(*leaving, id))
			return true;
	return false;
}

static bool is_balloon(const char *type)
{
	return starts_with(type, "child<virtio-balloon") || !strcmp(type, "hv-balloon");
}

static bool is_vfio(const char *type)
{
	return starts_with(type, "child<vfio-");
}

/* leaves: it is gone when QEMU migrates. */
static int check_device(
	const char *type, const char *name, bool leaves, struct wt_preflight *facts, struct wt_error *err)
{
	if (starts_with(type, "child<virtio-mem-") || starts_with(type, "virtio-mem"))
		return wt_error_set(err, EPERM,
			"device '%s' is virtio-mem, whose state stands before RAM in the stream and which discards "
			"memory; unplug it: device_del %s",
			name, name);
	if (is_vfio(type) && !leaves)
		return wt_error_set(err, EPERM,
			"device '%s' is passed through from this host; unplug it first: device_del %s (send --devices MAP does that for "
			"you)",
			name, name);
	facts->may_discard |= is_balloon(type);
	return 0;
}

static int ask_property(struct wt_qmp *qmp, const char *path, const char *name, const char *property,
	json_t **ret_value, struct wt_error *err)
{
	char device[512];

	snprintf(device, sizeof device, "%s/%s", path, name);
	return ask(
		qmp, "qom-get", json_pack("{s:s,s:s}", "path", device, "property", property), ret_value, err);
}

/* QEMU leaves pages out of the stream that a balloon's guest calls free. */
static int ask_gives_up(struct wt_qmp *qmp, const char *path, const char *name, struct wt_preflight *facts,
	struct wt_error *err)
{
	json_t *hint = NULL;
	int r = ask_property(qmp, path, name, "free-page-hint", &hint, err);

	facts->gives_up |= json_is_true(hint);
	json_decref(hint);
	return r;
}

/* Of a virtio-net failover pair the passed-through half is unplugged by QEMU itself when it migrates, and
 * plugged in again if that fails. */
static int ask_failover(
	struct wt_qmp *qmp, const char *path, const char *name, bool *ret_leaves, struct wt_error *err)
{
	json_t *standby = NULL;
	int r = ask_property(qmp, path, name, "failover_pair_id", &standby, err);

	*ret_leaves |= json_is_string(standby) && *json_string_value(standby);
	json_decref(standby);
	return r;
}

static int check_peripherals(struct wt_qmp *qmp, const char *path, const char *const *leaving,
	struct wt_preflight *facts, struct wt_error *err)
{
	json_t *list = NULL, *item;
	size_t i;
	int r;

	r = ask(qmp, "qom-list", json_pack("{s:s}", "path", path), &list, err);
	json_array_foreach(list, i, item)
	{
		const char *type = text_of(item, "type"), *name = text_of(item, "name");
		bool leaves = wt_preflight_leaves(leaving, name);

		if (r >= 0 && is_vfio(type) && !leaves)
			r = ask_failover(qmp, path, name, &leaves, err);
		if (r >= 0)
			r = check_device(type, name, leaves, facts, err);
		if (r >= 0 && is_balloon(type))
			r = ask_gives_up(qmp, path, name, facts, err);
		if (r < 0)
			break;
	}
	json_decref(list);
	return r;
}

static int check_devices(
	struct wt_qmp *qmp, const char *const *leaving, struct wt_preflight *facts, struct wt_error *err)
{
	json_t *list = NULL, *item, *balloon = NULL;
	const char *name;
	size_t i;
	int r;

	r = ask(qmp, "query-memory-devices", NULL, &list, err);
	json_array_foreach(list, i, item)
	{
		name = text_of(json_object_get(item, "data"), "id");
		if (r < 0)
			break;
		r = check_device(text_of(item, "type"), *name ? name : "(no id)", false, facts, err);
	}
	json_decref(list);
	if (r >= 0)
		r = check_peripherals(qmp, "/machine/peripheral", leaving, facts, err);
	if (r >= 0)
		r = check_peripherals(qmp, "/machine/peripheral-anon", leaving, facts, err);
	if (r >= 0)
		r = ask(qmp, "query-balloon", NULL, &balloon, err);
	facts->may_discard |= balloon != NULL;
	json_decref(balloon);
	return r < 0 ? r : 0;
}

int wt_preflight_devices(struct wt_qmp *qmp, struct wt_preflight *facts, struct wt_error *err)
{
	return check_devices(qmp, NULL, facts, err);
}

/* Memory that this host cannot read, or that cannot leave it. */
static int check_confidential(struct wt_qmp *qmp, struct wt_error *err)
{
	json_t *sev = NULL, *sgx = NULL, *support = NULL;
	bool encrypted, enclaves;
	int r;

	r = ask(qmp, "query-sev", NULL, &sev, err);
	if (r >= 0)
		r = ask(qmp, "query-sgx", NULL, &sgx, err);
	if (r >= 0)
		r = ask(qmp, "qom-get",
			json_pack("{s:s,s:s}", "path", "/machine", "property", "confidential-guest-support"),
			&support, err);
	encrypted = is_true(sev, "enabled") || (json_is_string(support) && *json_string_value(support));
	enclaves = is_true(sgx, "sgx");
	json_decref(sev);
	json_decref(sgx);
	json_decref(support);
	if (r < 0)
		return r;
	if (encrypted)
		return wt_error_set(err, EPERM,
			"this guest's memory is encrypted (confidential guest), so that no other host could use a "
			"copy; it cannot be migrated by watari");
	if (enclaves)
		return wt_error_set(err, EPERM,
			"this guest has SGX enclave memory, which cannot leave its host; start it without sgx-epc");
	return 0;
}

/* ---- RAM ---- */

/* The block of a memory backend: its id, as it is, as a path, or behind a device's path. */
static struct wt_ram_block *find_backend_block(const struct wt_guest_ram *ram, const char *id)
{
	size_t length = strlen(id), whole;
	unsigned i;

	for (i = 0; length && i < ram->count; i++) {
		whole = strlen(ram->blocks[i].name);
		if (whole < length || strcmp(ram->blocks[i].name + whole - length, id) != 0)
			continue;
		if (whole == length || ram->blocks[i].name[whole - length - 1] == '/')
			return &ram->blocks[i];
	}
	return NULL;
}

/* Whether object `id` is a memory-backend-file. */
static int ask_is_file(struct wt_qmp *qmp, const char *id, bool *ret_is_file, struct wt_error *err)
{
	json_t *list = NULL, *item;
	bool is_file = false;
	size_t i;
	int r;

	r = ask(qmp, "qom-list", json_pack("{s:s}", "path", "/objects"), &list, err);
	if (r < 0)
		return r;
	json_array_foreach(list, i, item)
	{
		if (!strcmp(text_of(item, "name"), id))
			is_file = !strcmp(text_of(item, "type"), "child<memory-backend-file>");
	}
	json_decref(list);
	*ret_is_file = is_file;
	return 0;
}

/* Why a backend that is in use is not mapped; 0: it is private, and only that. */
static int check_private(struct wt_qmp *qmp, const char *id, bool share, struct wt_error *err)
{
	bool is_file = false;
	int r;

	if (share)
		return wt_error_set(err, EPERM,
			"guest memory '%s' is share=on, but watari could not map it; use memory-backend-memfd or "
			"memory-backend-file, and run watari as the user that QEMU (process %d) runs as",
			id, (int)wt_qmp_pid(qmp));
	r = ask_is_file(qmp, id, &is_file, err);
	if (r < 0)
		return r;
	if (is_file)
		return wt_error_set(err, EPERM,
			"guest memory '%s' is a file with share=off, so that the file is not what the guest sees; "
			"start QEMU with share=on for it",
			id);
	return 0;
}

/* Every backend is mapped here, or else private: then it is marked staged, and counted. */
static int check_ram(
	struct wt_qmp *qmp, const struct wt_guest_ram *ram, unsigned *ret_staged, struct wt_error *err)
{
	json_t *list = NULL, *backend;
	unsigned shared = 0, staged = 0, b;
	size_t i;
	int r;

	r = ask_known(qmp, "query-memdev", &list, err);
	json_array_foreach(list, i, backend)
	{
		struct wt_ram_block *block = find_backend_block(ram, text_of(backend, "id"));

		if (!block || block->shared)
			continue;
		r = check_private(qmp, text_of(backend, "id"), is_true(backend, "share"), err);
		if (r < 0)
			break;
		staged += !block->staged; /* QEMU may have listed it twice */
		block->staged = true;
	}
	json_decref(list);
	if (r < 0)
		return r;
	for (b = 0; b < ram->count; b++)
		shared += ram->blocks[b].shared;
	if (!shared && !staged)
		return wt_error_set(err, EPERM,
			"none of this guest's memory was found; start QEMU with -object "
			"memory-backend-memfd,id=mem0,size=SIZE,share=on -machine memory-backend=mem0");
	*ret_staged = staged;
	return 0;
}

/* ---- The two ends ---- */

static int ask_dirty_log(struct wt_qmp *qmp, bool *ret_exact, struct wt_error *err)
{
	json_t *kvm = NULL;
	int r = ask(qmp, "query-kvm", NULL, &kvm, err);

	*ret_exact = is_true(kvm, "enabled");
	json_decref(kvm);
	return r;
}

/* A guest that is paused cannot let go of a device. */
static int check_leaving(const char *const *leaving, bool guest_running, struct wt_error *err)
{
	if (!leaving || !*leaving || guest_running)
		return 0;
	return wt_error_set(err, EPERM,
		"device '%s' is to be taken away, and the guest is paused, so that it cannot let go; type in QEMU's "
		"monitor: cont",
		*leaving);
}

int wt_preflight_source(struct wt_qmp *qmp, struct wt_guest_ram *ram, bool shared_storage,
	const char *const *leaving, struct wt_preflight *ret_facts, struct wt_error *err)
{
	struct wt_preflight facts = { 0 };
	int r;

	r = check_source_status(qmp, &facts.guest_running, err);
	if (r >= 0)
		r = check_confidential(qmp, err);
	if (r >= 0)
		r = check_leaving(leaving, facts.guest_running, err);
	if (r >= 0)
		r = check_devices(qmp, leaving, &facts, err);
	if (r >= 0)
		r = check_migration(qmp, true, leaving && *leaving, err);
	if (r >= 0)
		r = check_capabilities(qmp, driven, err);
	if (r >= 0)
		r = check_parameters(qmp, err);
	if (r >= 0)
		r = check_disks(qmp, shared_storage, &facts.writable_disks, err);
	if (r >= 0)
		r = check_ram(qmp, ram, &facts.staged_blocks, err);
	if (r >= 0)
		r = ask_dirty_log(qmp, &facts.dirty_log_exact, err);
	if (r < 0)
		return r;
	*ret_facts = facts;
	return 0;
}

/* Whether QEMU's command line has -S. What follows an option is not told apart from an option here. */
static int ask_stopped_at_start(pid_t pid, bool *ret_stopped, struct wt_error *err)
{
	char path[64], *text;
	size_t length = 0, at;
	ssize_t n = -1;
	int fd, code;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	text = malloc(CMDLINE_MAX + 1);
	if (!text)
		return wt_error_set(err, ENOMEM, "no memory for QEMU's command line");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && length < CMDLINE_MAX && (n = read(fd, text + length, CMDLINE_MAX - length)) > 0)
		length += (size_t)n;
	code = errno;
	if (fd >= 0)
		close(fd);
	if (fd < 0 || n < 0) {
		free(text);
		return wt_error_set(err, code, "cannot read %s: %s", path, strerror(code));
	}
	text[length] = '\0';
	*ret_stopped = false;
	for (at = 0; at < length; at += strlen(text + at) + 1)
		if (!strcmp(text + at, "-S") || !strcmp(text + at, "--S"))
			*ret_stopped = true;
	free(text);
	return 0;
}

/* Waits for a migration, and will not run by itself behind it. */
static int check_waits(struct wt_qmp *qmp, struct wt_error *err)
{
	bool stopped = false;
	char status[32];
	int r;

	r = ask_status(qmp, status, err);
	if (r < 0)
		return r;
	if (strcmp(status, "inmigrate") != 0)
		return wt_error_set(err, EPERM,
			"the destination's QEMU does not wait for a migration (run state '%s'); start it with "
			"-incoming defer -S",
			status);
	r = ask_stopped_at_start(wt_qmp_pid(qmp), &stopped, err);
	if (r < 0)
		return r;
	if (!stopped)
		return wt_error_set(err, EPERM,
			"the destination's QEMU was started without -S, so that it would run before the source has "
			"let go; start it with -incoming defer -S");
	return check_migration(qmp, false, false, err);
}

int wt_preflight_destination(struct wt_qmp *qmp, const struct wt_guest_ram *ram, struct wt_error *err)
{
	unsigned staged = 0;
	int r = check_waits(qmp, err);

	if (r >= 0)
		r = check_capabilities(qmp, none, err);
	if (r >= 0)
		r = check_parameters(qmp, err);
	if (r >= 0)
		r = check_ram(qmp, ram, &staged, err);
	for (unsigned b = 0; r >= 0 && staged && b < ram->count; b++)
		if (ram->blocks[b].staged)
			r = wt_error_set(err, EPERM,
				"guest memory '%s' is private to the destination's QEMU, so that nothing can be pulled into "
				"it; start it with -object memory-backend-memfd,id=mem0,size=SIZE,share=on -machine "
				"memory-backend=mem0",
				ram->blocks[b].name);
	return r;
}

/* ---- Handover ---- */

int wt_preflight_old(struct wt_qmp *qmp, const char *const *leaving, bool *ret_running, struct wt_error *err)
{
	struct wt_preflight facts = { 0 };
	int r;

	r = check_source_status(qmp, ret_running, err);
	if (r >= 0)
		r = check_confidential(qmp, err);
	if (r >= 0)
		r = check_leaving(leaving, *ret_running, err);
	if (r >= 0)
		r = check_devices(qmp, leaving, &facts, err);
	if (r >= 0)
		r = check_migration(qmp, true, leaving && *leaving, err);
	if (r >= 0)
		r = check_capabilities(qmp, driven, err);
	return r < 0 ? r : check_parameters(qmp, err);
}

int wt_preflight_new(struct wt_qmp *qmp, struct wt_error *err)
{
	int r = check_waits(qmp, err);

	if (r >= 0)
		r = check_capabilities(qmp, handed, err);
	return r < 0 ? r : check_parameters(qmp, err);
}
