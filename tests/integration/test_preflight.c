/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_preflight.c - what real QEMUs are refused for, and what they are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../qemu-glue/preflight.h"
#include "qemu_process.h"

#define TIMEOUT 60000000000ull
#define SHARED_RAM "-object", "memory-backend-memfd,id=mem0,size=64M,share=on"
#define MACHINE "-M", "q35,memory-backend=mem0", "-m", "64M,slots=2,maxmem=1G"

struct guest {
	struct wt_qemu_process process;
	struct wt_loop *loop;
	struct wt_qmp *qmp;
	struct wt_guest_ram *ram;
	struct wt_preflight facts;
	struct wt_error err;
};

static void guest_start(struct guest *guest, const char *const *arguments)
{
	memset(guest, 0, sizeof *guest);
	assert_int_equal(wt_qemu_process_start(arguments, &guest->process), 0);
	assert_int_equal(wt_loop_open(&guest->loop), 0);
	if (wt_qmp_open(guest->loop, guest->process.qmp_path, TIMEOUT, NULL, NULL, &guest->qmp, &guest->err) <
			0 ||
		wt_guest_ram_open(guest->qmp, &guest->ram, &guest->err) < 0)
		fail_msg("%s", guest->err.text);
}

static void guest_stop(struct guest *guest)
{
	wt_guest_ram_close(guest->ram);
	wt_qmp_close(guest->qmp);
	wt_loop_close(guest->loop);
	wt_qemu_process_stop(&guest->process);
}

static void accept_source(struct guest *guest, bool shared_storage)
{
	wt_error_clear(&guest->err);
	if (wt_preflight_source(guest->qmp, guest->ram, shared_storage, NULL, &guest->facts, &guest->err) < 0)
		fail_msg("%s", guest->err.text);
}

/* Refused, with a sentence that holds both words. */
static void check_refused(struct guest *guest, int r, const char *seen, const char *advice)
{
	if (r != -EPERM || guest->err.code != EPERM || !strstr(guest->err.text, seen) ||
		!strstr(guest->err.text, advice))
		fail_msg("%d, \"%s\" instead of \"%s\" and \"%s\"", r, guest->err.text, seen, advice);
}

static void refuse_source(struct guest *guest, const char *seen, const char *advice)
{
	struct wt_preflight facts = { .writable_disks = 77 };

	wt_error_clear(&guest->err);
	check_refused(guest, wt_preflight_source(guest->qmp, guest->ram, false, NULL, &facts, &guest->err),
		seen, advice);
	assert_int_equal(facts.writable_disks, 77);
}

static void refuse_destination(struct guest *guest, const char *seen, const char *advice)
{
	wt_error_clear(&guest->err);
	check_refused(guest, wt_preflight_destination(guest->qmp, guest->ram, &guest->err), seen, advice);
}

/* Starts a source that is refused. */
static void refused(const char *const *arguments, const char *seen, const char *advice)
{
	struct guest guest;

	guest_start(&guest, arguments);
	refuse_source(&guest, seen, advice);
	guest_stop(&guest);
}

static int execute(struct guest *guest, const char *command, json_t *arguments)
{
	struct wt_error err = { 0 };

	return wt_qmp_call(guest->qmp, command, arguments, TIMEOUT, NULL, &err);
}

static void human(struct guest *guest, const char *line)
{
	struct wt_error err = { 0 };
	char *text = NULL;

	if (wt_qmp_human(guest->qmp, line, TIMEOUT, &text, &err) < 0)
		fail_msg("%s", err.text);
	if (strstr(text, "Error") || strstr(text, "error"))
		fail_msg("%s: %s", line, text);
	free(text);
}

static void test_plain_source(void **state)
{
	static const char *const stopped[] = { MACHINE, SHARED_RAM, "-S", "-device", "VGA", NULL };
	static const char *const running[] = { MACHINE, SHARED_RAM, "-device", "virtio-balloon-pci", NULL };
	static const char *const hints[] = { MACHINE, SHARED_RAM, "-object", "iothread,id=io", "-device",
		"virtio-balloon-pci,free-page-hint=on,iothread=io", NULL };
	struct guest guest;

	guest_start(&guest, stopped);
	accept_source(&guest, false);
	assert_false(guest.facts.guest_running || guest.facts.may_discard);
	assert_int_equal(guest.facts.writable_disks, 0);
	assert_int_equal(execute(&guest, "cont", NULL), 0);
	accept_source(&guest, false);
	assert_true(guest.facts.guest_running);
	assert_false(guest.facts.dirty_log_exact); /* TCG */
	guest_stop(&guest);

	guest_start(&guest, running);
	accept_source(&guest, false);
	assert_true(guest.facts.guest_running && guest.facts.may_discard && !guest.facts.gives_up);
	guest_stop(&guest);

	guest_start(&guest, hints);
	accept_source(&guest, false);
	assert_true(guest.facts.may_discard && guest.facts.gives_up);
	guest_stop(&guest);
}

/* Each capability of this QEMU that changes the stream is refused by name, and what is typed helps. */
static void test_capabilities(void **state)
{
	static const char *const arguments[] = { MACHINE, SHARED_RAM, "-S", NULL };
	static const char *const bad[] = { "background-snapshot", "block", "compress", "dirty-bitmaps",
		"mapped-ram", "postcopy-ram", "release-ram", "x-colo", "xbzrle" };
	static const char *const good[] = { "auto-converge", "events", "late-block-activate", "return-path",
		"x-ignore-shared" };
	struct guest guest;
	char line[128];
	size_t i, tried = 0;
	json_t *capability;

	guest_start(&guest, arguments);
	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		capability = json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability", bad[i], "state", 1);
		/* Not every QEMU has every one, or allows it for this guest. */
		if (execute(&guest, "migrate-set-capabilities", capability) < 0)
			continue;
		tried++;
		snprintf(line, sizeof line, "migrate_set_capability %s off", bad[i]);
		refuse_source(&guest, bad[i], line);
		human(&guest, line);
		accept_source(&guest, false);
	}
	assert_true(tried >= 7);
	for (i = 0; i < sizeof good / sizeof *good; i++) {
		snprintf(line, sizeof line, "migrate_set_capability %s on", good[i]);
		human(&guest, line);
	}
	execute(&guest, "migrate-set-capabilities", /* not every QEMU knows it */
		json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability", "switchover-ack", "state", 1));
	accept_source(&guest, false);
	guest_stop(&guest);
}

static void test_parameters(void **state)
{
	static const char *const arguments[] = { MACHINE, SHARED_RAM, "-S", NULL };
	struct guest guest;

	guest_start(&guest, arguments);
	human(&guest, "migrate_set_parameter multifd-compression zlib");
	refuse_source(&guest, "multifd-compression", "migrate_set_parameter multifd-compression none");
	human(&guest, "migrate_set_parameter multifd-compression none");
	human(&guest, "migrate_set_parameter tls-creds tls0");
	refuse_source(&guest, "tls-creds", "migrate_set_parameter tls-creds \"\"");
	human(&guest, "migrate_set_parameter tls-creds \"\"");
	accept_source(&guest, false);
	guest_stop(&guest);
}

static void test_disks(void **state)
{
	char disk[] = "/tmp/watari-disk-XXXXXX", flash[] = "/tmp/watari-flash-XXXXXX";
	char by_drive[128], by_blockdev[128], by_flash[128];
	const char *drive[] = { MACHINE, SHARED_RAM, "-S", "-drive", by_drive, NULL };
	const char *blockdev[] = { MACHINE, SHARED_RAM, "-S", "-blockdev", by_blockdev, "-device",
		"ide-hd,drive=node7,bus=ide.0", "-device", "ide-cd,bus=ide.1", NULL };
	const char *read_only[] = { MACHINE, SHARED_RAM, "-S", "-drive", by_drive, "-drive", by_flash, NULL };
	int fd = mkstemp(disk), flash_fd = mkstemp(flash);
	struct guest guest;

	assert_true(fd >= 0 && flash_fd >= 0 && !ftruncate(fd, 1 << 20) && !ftruncate(flash_fd, 1 << 18));
	snprintf(by_drive, sizeof by_drive, "if=none,id=disk3,format=raw,file=%s", disk);
	snprintf(by_blockdev, sizeof by_blockdev, "driver=file,node-name=node7,filename=%s", disk);
	snprintf(by_flash, sizeof by_flash, "if=pflash,format=raw,file=%s", flash);

	guest_start(&guest, drive);
	refuse_source(&guest, "disk3", "--shared-storage");
	refuse_source(&guest, disk, "--shared-storage");
	accept_source(&guest, true);
	assert_int_equal(guest.facts.writable_disks, 1);
	guest_stop(&guest);

	guest_start(&guest, blockdev);
	refuse_source(&guest, "node7", "--shared-storage");
	guest_stop(&guest);

	snprintf(by_drive, sizeof by_drive, "if=virtio,format=raw,readonly=on,file=%s", disk);
	guest_start(&guest, read_only);
	accept_source(&guest, false);
	assert_int_equal(guest.facts.writable_disks, 1);
	guest_stop(&guest);
	close(fd);
	close(flash_fd);
	unlink(disk);
	unlink(flash);
}

static void test_devices(void **state)
{
	static const char *const virtio_mem[] = { MACHINE, SHARED_RAM, "-S", "-object",
		"memory-backend-memfd,id=vm0,size=128M,share=on", "-device",
		"virtio-mem-pci,id=vmem,memdev=vm0,requested-size=0", NULL };
	static const char *const blocked[] = { MACHINE, SHARED_RAM, "-S", "-object",
		"memory-backend-memfd,id=iv,size=1M,share=on", "-device", "ivshmem-plain,id=peer,memdev=iv",
		NULL };

	refused(virtio_mem, "vmem", "device_del vmem");
	refused(blocked, "ivshmem", "device_del");
}

/* Memory that is private to the source is accepted, and so many blocks of it will be copied. */
static void staged(const char *const arguments[], unsigned blocks)
{
	struct guest guest;
	unsigned marked = 0;

	guest_start(&guest, arguments);
	accept_source(&guest, false);
	assert_int_equal(guest.facts.staged_blocks, blocks);
	for (unsigned i = 0; i < guest.ram->count; i++)
		marked += guest.ram->blocks[i].staged;
	assert_int_equal(marked, blocks);
	guest_stop(&guest);
}

static void test_ram(void **state)
{
	char path[] = "/dev/shm/watari-test-XXXXXX", file[128];
	const char *private_file[] = { MACHINE, "-S", "-object", file, NULL };
	static const char *const private_memfd[] = { MACHINE, "-S", "-object",
		"memory-backend-memfd,id=mem0,size=64M,share=off", NULL };
	static const char *const plain[] = { "-M", "pc", "-m", "64M", "-S", NULL };
	static const char *const half[] = { MACHINE, SHARED_RAM, "-S", "-object",
		"memory-backend-ram,id=more,size=128M", "-device", "pc-dimm,memdev=more", NULL };
	static const char *const unused[] = { MACHINE, SHARED_RAM, "-S", "-object",
		"memory-backend-ram,id=more,size=64M", NULL };
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	snprintf(file, sizeof file, "memory-backend-file,id=mem0,size=64M,share=off,mem-path=%s", path);
	refused(private_file, "share=off", "share=on");
	staged(private_memfd, 1);
	staged(plain, 1);
	staged(half, 1);
	staged(unused, 0);
	close(fd);
	unlink(path);
}

/* Asks until it is so: QEMU sends no event here unless a capability is on. */
static void wait_for_migration(struct guest *guest, const char *wanted)
{
	uint64_t end = wt_loop_now_ns(guest->loop) + TIMEOUT;
	json_t *answer = NULL;
	struct wt_error err = { 0 };
	bool reached = false;

	while (!reached && wt_loop_now_ns(guest->loop) < end) {
		assert_int_equal(wt_qmp_call(guest->qmp, "query-migrate", NULL, TIMEOUT, &answer, &err), 0);
		reached = !strcmp(json_string_value(json_object_get(answer, "status")), wanted);
		json_decref(answer);
	}
	assert_true(reached);
}

static void test_states(void **state)
{
	static const char *const arguments[] = { MACHINE, SHARED_RAM, "-S", NULL };
	static const char *const incoming[] = { MACHINE, SHARED_RAM, "-S", "-incoming", "defer", NULL };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char uri[128];
	struct guest guest;
	int listener;

	refused(incoming, "incoming", "--qmp");
	guest_start(&guest, arguments);
	/* Nobody reads: the migration stays active. */
	snprintf(address.sun_path, sizeof address.sun_path, "%s/to", guest.process.directory);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 1), 0);
	snprintf(uri, sizeof uri, "unix:%s", address.sun_path);
	assert_int_equal(execute(&guest, "migrate", json_pack("{s:s}", "uri", uri)), 0);
	refuse_source(&guest, "already migrating", "migrate_cancel");
	human(&guest, "migrate_cancel");
	wait_for_migration(&guest, "cancelled");
	close(listener);
	unlink(address.sun_path);
	accept_source(&guest, false);
	assert_int_equal(execute(&guest, "migrate", json_pack("{s:s}", "uri", "exec:cat > /dev/null")), 0);
	wait_for_migration(&guest, "completed");
	refuse_source(&guest, "already migrated", "cont");
	guest_stop(&guest);
}

static void test_destination(void **state)
{
	static const char *const good[] = { MACHINE, SHARED_RAM, "-incoming", "defer", "-S", NULL };
	static const char *const runs[] = { MACHINE, SHARED_RAM, "-incoming", "defer", NULL };
	static const char *const no_incoming[] = { MACHINE, SHARED_RAM, "-S", NULL };
	static const char *const private_ram[] = { "-M", "pc", "-m", "64M", "-incoming", "defer", "-S",
		NULL };
	struct guest guest;

	guest_start(&guest, good);
	if (wt_preflight_destination(guest.qmp, guest.ram, &guest.err) < 0)
		fail_msg("%s", guest.err.text);
	human(&guest, "migrate_set_capability x-ignore-shared on");
	refuse_destination(&guest, "x-ignore-shared", "off");
	guest_stop(&guest);
	guest_start(&guest, runs);
	refuse_destination(&guest, "without -S", "-incoming defer -S");
	guest_stop(&guest);
	guest_start(&guest, no_incoming);
	refuse_destination(&guest, "prelaunch", "-incoming defer -S");
	guest_stop(&guest);
	guest_start(&guest, private_ram);
	refuse_destination(&guest, "pc.ram", "memory-backend-memfd");
	guest_stop(&guest);
}

static void test_qemu_is_gone(void **state)
{
	static const char *const arguments[] = { MACHINE, SHARED_RAM, "-S", NULL };
	struct guest guest;

	guest_start(&guest, arguments);
	execute(&guest, "quit", NULL);
	assert_int_equal(wt_preflight_source(guest.qmp, guest.ram, false, NULL, &guest.facts, &guest.err),
		-ECONNRESET);
	assert_non_null(strstr(guest.err.text, "QEMU closed its QMP socket"));
	guest_stop(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_source),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_disks),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_ram),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_destination),
		cmocka_unit_test(test_qemu_is_gone),
	};

	if (!wt_qemu_process_available()) {
		print_message("skipped: no QEMU (set WATARI_QEMU to qemu-system-x86_64's path)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
