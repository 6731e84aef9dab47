/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_answers.c - libFuzzer harness of whoever asks a QEMU over QMP before anything starts. The input is an
 * object: by the name of a question, the answer to it; what is not there QEMU refuses. It takes the place of
 * qmp.c. Questions about objects are named by their path, those about properties by the property. Checked
 * besides memory safety:
 *   1. what is refused has a sentence;
 *   2. what is found keeps the promises of its header.
 * The first byte chooses who asks.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../../qemu-glue/device_qemu.h"
#include "../../qemu-glue/disk_info.h"
#include "../../qemu-glue/handover_check.h"
#include "../../qemu-glue/machine_type.h"
#include "../../qemu-glue/preflight.h"
#include "json_mutator.h"
#include "promise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = { "query-migrate-capabilities", "query-migrate-parameters",
	"query-migrate", "query-status", "query-block", "query-memory-devices", "query-balloon", "query-sev",
	"query-sgx", "query-memdev", "query-cpus-fast", "query-kvm", "query-named-block-nodes",
	"/machine/peripheral", "/machine/peripheral-anon", "/objects", "/", "legacy-addr", "parent_bus",
	"host", "type", "free-page-hint", "failover_pair_id", "confidential-guest-support",
	"/machine/peripheral/rp0/rp0", "capability", "state", "blocked-reasons", "blocked", "status",
	"running", "completed", "inmigrate", "postmigrate", "active", "inserted", "ro", "device", "qdev",
	"node-name", "file", "drv", "image", "data", "id", "name", "enabled", "sgx", "share", "mem0", "props",
	"core-id", "qom-path", "child<virtio-balloon-pci>", "child<vfio-pci>", "child<pcie-root-port>",
	"child<memory-backend-file>", "child<pc-q35-7.2-machine>", "ib0", "rp0", "child[0]", "0000:81:00.1",
	"error", "multifd-compression", "tls-creds", "mode", "machine" };
static const unsigned word_count = sizeof words / sizeof *words;

/* ---- QEMU ---- */

struct wt_qmp {
	json_t *answers;
	pid_t pid; /* of a process with -S, or of this one */
	unsigned version;
};

static pid_t waiting; /* its command line has -S; it ends with this process */

static void start_waiting(void)
{
	waiting = fork();
	PROMISE(waiting >= 0);
	if (!waiting) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int fd = 0; fd < 3; fd++)
			close(fd); /* whoever waits for their end does not wait for it */
		execl("/bin/sleep", "-S", "infinity", (char *)NULL);
		_exit(127);
	}
}

pid_t wt_qmp_pid(const struct wt_qmp *qmp)
{
	return qmp->pid;
}

const char *wt_qmp_version(const struct wt_qmp *qmp)
{
	return "7.2";
}

unsigned wt_qmp_version_number(const struct wt_qmp *qmp)
{
	return qmp->version;
}

int wt_qmp_call(struct wt_qmp *qmp, const char *command, json_t *arguments, uint64_t timeout_ns,
	json_t **ret_result, struct wt_error *err)
{
	const char *path = json_string_value(json_object_get(arguments, "path"));
	const char *property = json_string_value(json_object_get(arguments, "property"));
	json_t *answer = json_object_get(qmp->answers, property ? property : path ? path : command);
	int r = 0;

	if (!answer)
		r = wt_error_set(err, EREMOTEIO, "QEMU refuses %s", command);
	else if (json_is_string(answer) && !strcmp(json_string_value(answer), "error"))
		r = wt_error_set(err, ECONNRESET, "QEMU has ended");
	else if (ret_result)
		*ret_result = json_incref(answer);
	json_decref(arguments);
	return r;
}

/* ---- who asks ---- */

static void check(int r, const struct wt_error *err)
{
	PROMISE(r >= 0 || (err->code && err->text[0]));
}

static void ask_preflight(struct wt_qmp *qmp, bool shared)
{
	static const char *const leaving[] = { "ib0", NULL };
	struct wt_ram_block blocks[] = { { .name = "mem0" }, { .name = "/objects/mem1", .shared = true } };
	struct wt_guest_ram ram = { shared ? 2 : 1, blocks };
	struct wt_preflight facts = { 0 };
	struct wt_error err = { 0 };
	bool running;
	int r = wt_preflight_source(qmp, &ram, shared, shared ? leaving : NULL, &facts, &err);

	check(r, &err);
	PROMISE(r || shared || facts.staged_blocks == 1);
	PROMISE(r || facts.staged_blocks == (unsigned)(blocks[0].staged + blocks[1].staged));
	wt_error_clear(&err);
	blocks[0].staged = false;
	r = wt_preflight_destination(qmp, &ram, &err);
	check(r, &err);
	PROMISE(r || (qmp->pid == waiting && !blocks[0].staged));
	wt_error_clear(&err);
	check(wt_preflight_old(qmp, leaving, &running, &err), &err);
	wt_error_clear(&err);
	check(wt_preflight_new(qmp, &err), &err);
	wt_error_clear(&err);
	check(wt_preflight_devices(qmp, &facts, &err), &err);
}

static void ask_devices(struct wt_qmp *qmp)
{
	static char address[] = "0000:81:00.1";
	static char(*pool)[WT_DEVICE_ADDRESS_MAX + 1];
	struct wt_device device = { .name = "ib0", .id = "ib0", .bus = "rp0" };
	struct wt_device_place places[] = { { .host = "a", .kind = WT_DEVICE_VFIO, .address_count = 1 },
		{ .host = "a", .kind = WT_DEVICE_EMULATED, .driver = "virtio-net-pci" },
		{ .host = "a", .kind = WT_DEVICE_NONE } };
	struct wt_qemu_device *devices = NULL;
	struct wt_error err = { 0 };
	char type[64];
	unsigned count = 0;
	int r;

	pool = (char(*)[WT_DEVICE_ADDRESS_MAX + 1]) address;
	places[0].addresses = pool;
	for (unsigned i = 0; i < 3; i++) {
		wt_error_clear(&err);
		check(wt_qemu_can_unplug(qmp, &device, &places[i], &err), &err);
		wt_error_clear(&err);
		check(wt_qemu_can_plug(qmp, &device, &places[i], &err), &err);
	}
	wt_error_clear(&err);
	r = wt_qemu_devices(qmp, &devices, &count, &err);
	check(r, &err);
	for (unsigned i = 0; !r && i < count; i++)
		PROMISE(devices[i].id[0] && devices[i].slot[0]);
	free(devices);
	wt_error_clear(&err);
	r = wt_machine_type(qmp, type, sizeof type, &err);
	check(r, &err);
	PROMISE(r || type[0]);
}

static void ask_handover(struct wt_qmp *qmp, json_t *other)
{
	static const char *const leaving[] = { "ib0", NULL };
	struct wt_qmp second = { other ? other : qmp->answers, getpid(), 70200 };
	struct wt_handover_qemu qemus[] = { { .qmp = qmp, .socket_path = "a" },
		{ .qmp = &second, .socket_path = "b" } };
	struct wt_error err = { 0 };

	check(wt_handover_check_paused(&qemus[0], &err), &err);
	wt_error_clear(&err);
	check(wt_handover_check_machine(&qemus[0], &qemus[1], leaving, &err), &err);
}

static void ask_disks(json_t *list)
{
	char path[WT_DISK_PATH_MAX];
	json_t *disk, *image;
	int64_t written_ns;
	size_t i;

	json_array_foreach(list, i, disk)
	{
		const char *name;

		wt_disk_writable(disk);
		PROMISE(strlen(wt_disk_label(disk)) <=
			strlen(wt_disk_label(disk)) + strlen(wt_disk_place(disk)));
		image = wt_disk_image(disk);
		name = wt_disk_text(image, "filename");
		wt_disk_path((pid_t)i, name, path);
		PROMISE(!wt_disk_name_is_whole("a/b") && wt_disk_name_is_whole("/a"));
		wt_disk_name_is_whole(name);
		wt_disk_written(0, name, &written_ns);
		PROMISE(wt_disk_same_file(0, name, name));
		wt_disk_same_file(getpid(), name, "/proc/self/exe");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wt_qmp qmp = { .version = 70200 };

	if (size < 1)
		return 0;
	if (!waiting)
		start_waiting();
	qmp.answers = json_loadb((const char *)data + 1, size - 1, 0, NULL);
	qmp.pid = data[0] & 8 ? getpid() : waiting;
	qmp.version = data[0] & 16 ? 100000 : 70200;
	if (data[0] % 4 == 0)
		ask_preflight(&qmp, data[0] & 32);
	else if (data[0] % 4 == 1)
		ask_devices(&qmp);
	else if (data[0] % 4 == 2)
		ask_handover(&qmp, json_object_get(qmp.answers, "other"));
	else
		ask_disks(json_object_get(qmp.answers, "query-block"));
	json_decref(qmp.answers);
	return 0;
}
