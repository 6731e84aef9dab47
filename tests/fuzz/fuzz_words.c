/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_words.c - libFuzzer harness of what is said in a line or a small file: targets and URIs, key files,
 * requests for another destination, the end of QEMU's stream, the command line of an old QEMU, what relays
 * print. Checked besides memory safety:
 *   1. a refused text has a sentence, an accepted one keeps the promises of its header;
 *   2. a target, written again and read again, is the same;
 *   3. a new command line names every name that it was told to change, and is itself one that can be changed.
 * The first byte chooses the reader.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../qemu-glue/gang_relay.h"
#include "../../qemu-glue/retarget_request.h"
#include "../../qemu-glue/stream_tail.h"
#include "../../qemu-glue/upgrade_command.h"
#include "../../transport/psk.h"
#include "../../transport/secret_file.h"
#include "failing.h"
#include "json_mutator.h"
#include "promise.h"
#include "text_file.h"

#define ARGUMENTS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FAIL_MALLOC = 1, FAIL_READ };
FAILING(FAIL_MALLOC, void *, malloc, (size_t size), (size), NULL, ENOMEM)
FAILING(FAIL_READ, ssize_t, read, (int fd, void *bytes, size_t size), (fd, bytes, size), -1, EIO, EINTR)

static const char *const words[] = { "to", "prefer", "old-destination", "command", "retarget", "h:1/vm",
	"unix:/p//vm", "[::1]:4711/vm", "number", "state", "text", "base_left_bytes", "done", "failed",
	"restarted", "aborted", "draining", "event", "listening", "held", "progress", "total_bytes",
	"remaining_bytes", "devices", "name", "error", "summary", "downtime_ms", "tcp_bytes", "verbs_bytes",
	"control_bytes", "device_outage_ms", "trouble", "delivering", "undelivered", "starting", "page_size",
	"qom-type", "memory-backend-memfd", "id", "mem0", "path", "prealloc", "share", "driver", "fd" };
static const unsigned word_count = sizeof words / sizeof *words;

static char *copy_of(const char *text, size_t length)
{
	char *copy = malloc(length + 1);

	PROMISE(copy);
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

/* ---- targets ---- */

static void try_target(const char *bytes, size_t length)
{
	char *text = copy_of(bytes, length), shown[WT_TARGET_TEXT_MAX], *again = NULL;
	struct wt_address address = { 0 }, same = { 0 };
	const char *name = NULL, *same_name = NULL;
	struct wt_error err = { 0 };

	if (wt_target_parse(text, &address, &name, &err)) {
		PROMISE(err.code && err.text[0] && !name);
	} else {
		wt_target_text(&address, shown);
		PROMISE(name[0] && (!address.host || address.host[0] || address.unix_path));
		if (strlen(shown) + 1 < sizeof shown &&
			asprintf(&again, "%s%s%s", shown, address.unix_path ? "//" : "/", name) > 0) {
			PROMISE(!wt_target_parse(again, &same, &same_name, &err));
			PROMISE(wt_target_equal(&address, &same) && !strcmp(name, same_name));
		}
	}
	free(again);
	free(text);
}

/* ---- requests for another destination ---- */

static void try_check(const struct wt_retarget_request *request, unsigned choice)
{
	static const struct wt_address here = { .host = "h", .port = 1 }, there = { .host = "i", .port = 2 };
	static const struct wt_error late = { .code = ENOBUFS, .text = "it is too late" };
	struct wt_source_retarget machine;
	struct wt_retarget_facts facts = { .machine = &machine,
		.state = (enum wt_source_state)(choice % 16),
		.name = choice & 16 ? "vm" : request->name,
		.addresses = { &here, &there },
		.replay = choice & 32 ? &late : NULL };
	struct wt_error err = { 0 };
	int target;

	wt_source_retarget_init(&machine);
	machine.staged = choice & 64;
	machine.stopped = choice & 128;
	if (choice & 256)
		machine.roles[1] = WT_TARGET_RETIRED;
	for (int i = 2; choice & 512 && i < WT_TARGETS_MAX; i++) {
		machine.roles[i] = WT_TARGET_DROPPED;
		facts.addresses[i] = &there;
	}
	target = wt_retarget_request_check(request, &facts, &err);
	PROMISE(target < WT_TARGETS_MAX && target != machine.current);
	PROMISE(target >= 0 || (err.code && err.text[0]));
}

static void try_retarget(const char *text, size_t length)
{
	json_t *object = json_loadb(text, length, 0, NULL), *status;
	struct wt_retarget_request request;
	struct wt_retarget_report report = { .text = "why", .to = "h:1" };
	struct wt_error err = { 0 };
	int r;

	if (!wt_retarget_request_take(object, &request, &err)) {
		PROMISE(request.name[0] && (request.address.unix_path || request.address.port));
		for (unsigned choice = 0; choice < 1024; choice += 1 + (unsigned)length % 7)
			try_check(&request, choice);
	} else {
		PROMISE(err.code && err.text[0]);
	}
	wt_error_clear(&err);
	r = wt_retarget_outcome(object, 1, &err);
	PROMISE(r >= 0 || (err.code && err.text[0] && !strchr(err.text, '\n')));
	json_decref(object);
	report.number = (unsigned)length % 3;
	report.state = (enum wt_retarget_state)(length % 7);
	report.over = length & 8;
	report.good = length & 16;
	report.restarts = length & 32;
	status = json_pack("{s:o}", "retarget", wt_retarget_status(&report));
	wt_retarget_outcome(status, report.number, &err);
	json_decref(status);
	PROMISE(wt_retarget_elsewhere(NULL, NULL, NULL, &err) == -EOPNOTSUPP);
}

/* ---- key files ---- */

static void check_key(const struct wt_psk *psk)
{
	PROMISE(psk->identity[0] && strlen(psk->identity) <= WT_PSK_IDENTITY_MAX);
	PROMISE(psk->key_length >= WT_PSK_KEY_MIN && psk->key_length <= WT_PSK_KEY_MAX);
}

static void try_keys(const char *text, size_t length)
{
	struct wt_psk psk = { 0 }, loaded = { 0 }, named = { 0 };
	struct wt_error err = { 0 }, of_file = { 0 }, of_name = { 0 };
	int r = wt_psk_parse(text, length, "fuzz", NULL, &psk, &err);

	PROMISE(wt_psk_load(text_file(text, length), NULL, &loaded, &of_file) == r);
	if (!wt_psk_load(text_file(text, length), "alice", &named, &of_name))
		PROMISE(!strcmp(named.identity, "alice"));
	if (r) {
		PROMISE(err.code && err.text[0] && of_file.code == err.code && !loaded.key_length);
	} else {
		check_key(&psk);
		PROMISE(!memcmp(&psk, &loaded, sizeof psk));
	}
}

/* Files that are none, or that others may read. */
static void try_key_files(void)
{
	const char *path = text_file("alice:00", 8);
	struct wt_psk psk = { 0 };
	struct wt_error err = { 0 };
	char *long_text = calloc(1, WT_SECRET_FILE_MAX + 1);

	PROMISE(!chmod(path, 0640) && wt_psk_load(path, NULL, &psk, &err) == -EPERM);
	PROMISE(!chmod(path, 0600) && wt_psk_load("/", NULL, &psk, &err) == -EINVAL);
	PROMISE(wt_psk_load("/nothing", NULL, &psk, &err) == -ENOENT);
	PROMISE(long_text &&
		wt_psk_load(text_file(long_text, WT_SECRET_FILE_MAX + 1), NULL, &psk, &err) == -EFBIG);
	free(long_text);
	path = text_file("alice:00", 8);
	failing_set(FAIL_MALLOC, 0);
	PROMISE(wt_psk_load(path, NULL, &psk, &err) == -ENOMEM);
	failing_set(FAIL_READ, 0);
	PROMISE(wt_psk_load(path, NULL, &psk, &err) == -EIO);
	failing_set(FAIL_READ, 1u << FAILING_CODE_BITS); /* it is read again */
	PROMISE(wt_psk_load(path, NULL, &psk, &err) == -EINVAL);
	PROMISE(!psk.key_length && err.text[0]);
}

/* ---- an old QEMU's command line ---- */

static bool has_word(char *const *argv, const char *word)
{
	for (; *argv; argv++)
		if (strstr(*argv, word))
			return true;
	return false;
}

static void try_command(char *bytes, size_t length)
{
	static const struct wt_upgrade_backend backends[] = { { "mem0", "/proc/1/fd/3" }, { "mem1", NULL } };
	static const char *const gone[] = { "ib0", NULL }, *const extra[] = { "-device", "x,id=y", NULL };
	char *argv[ARGUMENTS_MAX + 2] = { "qemu" }, **made = NULL, **again = NULL;
	struct wt_upgrade_name names[2];
	struct wt_upgrade_plan plan = { .old_argv = argv,
		.binary = "/new",
		.machine = "pc-q35-7.2",
		.names = names,
		.name_count = length % 3,
		.backends = backends,
		.backend_count = 2,
		.gone = length & 4 ? gone : NULL,
		.extra = length & 8 ? extra : NULL };
	struct wt_error err = { 0 };
	size_t count = 1;

	for (size_t at = 0; at < length && count <= ARGUMENTS_MAX; at += strlen(bytes + at) + 1)
		argv[count++] = bytes + at;
	PROMISE(!wt_upgrade_name(&names[0], "/run/a.sock", 7, &err));
	PROMISE(!wt_upgrade_name(&names[1], "/run/b.sock.watari-12", 7, &err));
	wt_upgrade_defines(argv, "mem0");
	if (wt_upgrade_command(&plan, &made, &err)) {
		PROMISE(err.code && err.text[0] && !made);
		return;
	}
	for (size_t i = 0; i < plan.name_count; i++)
		PROMISE(names[i].found && has_word(made, names[i].to));
	PROMISE(has_word(made, "type=pc-q35-7.2") && has_word(made, "-incoming"));
	plan.old_argv = made;
	plan.name_count = 0;
	PROMISE(!wt_upgrade_command(&plan, &again, &err) || err.text[0]);
	wt_upgrade_free(again);
	wt_upgrade_free(made);
}

static void try_path(const char *path)
{
	char public[WT_UPGRADE_PATH_MAX], again[WT_UPGRADE_PATH_MAX];
	struct wt_upgrade_name name;
	struct wt_error err = { 0 };

	wt_upgrade_public_name(path, public);
	if (wt_upgrade_name(&name, path, 3, &err)) {
		PROMISE(err.code == ENAMETOOLONG);
		return;
	}
	wt_upgrade_public_name(name.to, again);
	PROMISE(!strcmp(again, public));
}

/* ---- what relays print ---- */

static void try_relay(char *text)
{
	struct wt_gang_relay relays[2];
	char *line, *rest = text;

	wt_gang_relay_init(&relays[0]);
	wt_gang_relay_init(&relays[1]);
	for (unsigned n = 0; (line = strsep(&rest, "\n")); n++) {
		wt_gang_relay_line(&relays[n % 2], line);
		wt_gang_relay_status(&relays[n % 2], line);
		for (const char *c = relays[n % 2].error; *c; c++)
			PROMISE(*c >= 0x20 && *c < 0x7f);
	}
	wt_gang_committed(&relays[0], &relays[1]);
	wt_gang_place(&relays[0], &relays[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	static bool first = true;
	char *copy;

	if (first)
		try_key_files();
	first = false;

	if (size < 1)
		return 0;
	copy = copy_of(text, size - 1);
	switch (data[0]) {
	case 'T':
		try_target(text, size - 1);
		break;
	case 'R':
		try_retarget(text, size - 1);
		break;
	case 'K':
		try_keys(text, size - 1);
		break;
	case 'E':
		wt_stream_tail_complete((const uint8_t *)text, size - 1);
		break;
	case 'C':
		try_command(copy, size - 1);
		break;
	case 'P':
		try_path(copy);
		break;
	default:
		try_relay(copy);
	}
	free(copy);
	return 0;
}
