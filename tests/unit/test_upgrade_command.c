/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_upgrade_command.c - the command line of a new QEMU, from that of the old one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "upgrade_command.h"

#define ARGV(...) ((char *[]){ "qemu", __VA_ARGS__, NULL })

static struct wt_upgrade_plan plan_of(char *const *argv)
{
	return (struct wt_upgrade_plan){ .old_argv = argv, .binary = "/new/qemu", .machine = "pc-q35-7.2" };
}

/* All words, joined by single spaces. */
static char *joined(char *const *argv)
{
	static char text[4096];

	text[0] = '\0';
	for (size_t i = 0; argv[i]; i++) {
		if (i)
			strcat(text, " ");
		strcat(text, argv[i]);
	}
	return text;
}

static void expect(struct wt_upgrade_plan *plan, const char *wanted)
{
	struct wt_error err = { 0 };
	char **argv = NULL;

	assert_int_equal(wt_upgrade_command(plan, &argv, &err), 0);
	assert_string_equal(joined(argv), wanted);
	wt_upgrade_free(argv);
}

static void refuse(struct wt_upgrade_plan plan, const char *says)
{
	struct wt_error err = { 0 };
	char **argv = NULL;

	assert_true(wt_upgrade_command(&plan, &argv, &err) < 0);
	assert_non_null(strstr(err.text, says));
	assert_null(argv);
}

#define END "-machine type=pc-q35-7.2 -incoming defer -S"

static void test_plain(void **state)
{
	struct wt_upgrade_plan plan =
		plan_of(ARGV("-M", "q35,accel=kvm", "-m", "4G", "-nodefaults", "disk.img"));

	expect(&plan, "/new/qemu -M q35,accel=kvm -m 4G -nodefaults disk.img " END);
	plan = plan_of(ARGV("-nographic", "-serial", "null"));
	expect(&plan, "/new/qemu -nographic -serial null " END);
	/* What an earlier upgrade has added is not added again. */
	plan = plan_of(ARGV("-M", "q35", "-machine", "type=pc-q35-7.2", "--incoming", "defer", "-S"));
	expect(&plan, "/new/qemu -M q35 " END);
	plan = plan_of(ARGV(
		"-machine", "type=pc-q35-6.0", "-daemonize", "-incoming", "unix:/x", "-mem-prealloc", "-S"));
	expect(&plan, "/new/qemu -machine type=pc-q35-6.0 " END);
}

static void test_names(void **state)
{
	struct wt_upgrade_name names[3];
	struct wt_upgrade_plan plan = plan_of(ARGV("-qmp", "unix:/run/a.sock,server=on,wait=off", "-chardev",
		"{\"backend\":\"socket\",\"path\":\"/run/b.sock.watari-7\"}", "-pidfile", "/run/a.pid",
		"-append", "x=/run/a.sockets"));
	struct wt_error err = { 0 };

	assert_int_equal(wt_upgrade_name(&names[0], "/run/a.sock", 12, &err), 0);
	assert_int_equal(wt_upgrade_name(&names[1], "/run/b.sock.watari-7", 12, &err), 0);
	assert_int_equal(wt_upgrade_name(&names[2], "/run/a.pid", 12, &err), 0);
	plan.names = names;
	plan.name_count = 3;
	expect(&plan,
		"/new/qemu -qmp unix:/run/a.sock.watari-12,server=on,wait=off -chardev "
		"{\"backend\":\"socket\",\"path\":\"/run/b.sock.watari-12\"} -pidfile /run/a.pid.watari-12 -append "
		"x=/run/a.sockets " END);
	plan.old_argv = ARGV("-chardev", "file,id=c,path=/run/a.pid");
	plan.names = &names[2];
	plan.name_count = 1;
	expect(&plan, "/new/qemu -chardev file,id=c,path=/run/a.pid.watari-12,append=on " END);
	assert_int_equal(wt_upgrade_name(&names[2], "/run/c.sock", 12, &err), 0);
	refuse(plan, "/run/c.sock, which is not on its command line");
}

static void test_public_names(void **state)
{
	char text[WT_UPGRADE_PATH_MAX], longest[128];
	struct wt_upgrade_name name;
	struct wt_error err = { 0 };

	wt_upgrade_public_name("/run/a.watari-12", text);
	assert_string_equal(text, "/run/a");
	wt_upgrade_public_name("/run/a.watari-x", text);
	assert_string_equal(text, "/run/a.watari-x");
	wt_upgrade_public_name("/run/a.watari-", text);
	assert_string_equal(text, "/run/a.watari-");
	memset(longest, 'a', sizeof longest);
	longest[105] = '\0';
	assert_true(wt_upgrade_name(&name, longest, 1, &err) < 0);
	assert_non_null(strstr(err.text, "too long"));
}

static void test_memory(void **state)
{
	static const struct wt_upgrade_backend backends[] = { { "mem", "/proc/7/fd/9" }, { "nv", NULL } };
	struct wt_upgrade_plan plan = plan_of(ARGV("-object",
		"memory-backend-memfd,id=mem,size=4G,hugetlb=on,hugetlbsize=2M,prealloc=on,policy=bind,host-nodes=0",
		"-object",
		"memory-backend-file,mem-path=/dev/shm/a,,b,id=nv,size=1G,share=on,prealloc=on,discard-data=on",
		"-object",
		"{\"qom-type\":\"memory-backend-memfd\",\"id\":\"mem\",\"size\":1,\"prealloc\":true,\"discard-data\":true}",
		"-object", "rng-random,id=rng"));

	plan.backends = backends;
	plan.backend_count = 2;
	expect(&plan,
		"/new/qemu -object "
		"memory-backend-file,id=mem,size=4G,policy=bind,host-nodes=0,share=on,mem-path=/proc/7/fd/9 -object "
		"memory-backend-file,mem-path=/dev/shm/a,,b,id=nv,size=1G,share=on -object "
		"{\"id\":\"mem\",\"size\":1,\"qom-type\":\"memory-backend-file\",\"mem-path\":\"/proc/7/fd/9\",\"share\":true} -object "
		"rng-random,id=rng " END);
}

static void test_logs(void **state)
{
	struct wt_upgrade_plan plan = plan_of(ARGV("-serial", "file:/var/log/a,b", "-chardev",
		"file,id=c,path=/x", "-chardev", "file,id=d,path=/y,append=on", "-monitor", "none"));

	expect(&plan, "/new/qemu -chardev file,id=watari-serial0,path=/var/log/a,,b,append=on -serial "
		      "chardev:watari-serial0 -chardev file,id=c,path=/x,append=on -chardev "
		      "file,id=d,path=/y,append=on -monitor none " END);
}

static void test_devices(void **state)
{
	static const char *const gone[] = { "net1", NULL }, *const extra[] = { "-device", "{\"id\":\"x\"}",
		NULL };
	char *argv[] = { "qemu", "-device", "virtio-net-pci,id=net1,netdev=n1", "-device",
		"{\"driver\":\"virtio-rng-pci\",\"id\":\"rng\"}", "-device", "virtio-rng-pci", NULL };
	struct wt_upgrade_plan plan = plan_of(argv);

	plan.gone = gone;
	plan.extra = extra;
	expect(&plan,
		"/new/qemu -device {\"driver\":\"virtio-rng-pci\",\"id\":\"rng\"} -device virtio-rng-pci -machine "
		"type=pc-q35-7.2 -device {\"id\":\"x\"} -incoming defer -S");
	assert_true(wt_upgrade_defines(argv, "net1"));
	assert_true(wt_upgrade_defines(argv, "rng"));
	assert_false(wt_upgrade_defines(argv, "n1"));
	assert_false(wt_upgrade_defines(argv, "et1"));
}

static void test_refused(void **state)
{
	refuse(plan_of(ARGV("-netdev", "tap,id=n,fd=24")), "-netdev tap,id=n,fd=24");
	refuse(plan_of(ARGV("-add-fd", "fd=3,set=1")), "descriptor");
	refuse(plan_of(ARGV("-drive", "file=/dev/fdset/1,if=none")), "descriptor");
	refuse(plan_of(ARGV("-chardev", "{\"backend\":\"socket\",\"fd\":\"4\"}")), "descriptor");
	refuse(plan_of(ARGV("-serial", "mon:stdio")), "its terminal");
	refuse(plan_of(ARGV("-chardev", "stdio,id=c")), "its terminal");
	refuse(plan_of(ARGV("-display", "curses")), "its terminal");
	refuse(plan_of(ARGV("-nographic", "-m", "1G")), "its terminal");
	refuse(plan_of(ARGV("-snapshot")), "-snapshot");
	refuse(plan_of(ARGV("-drive", "file=a,snapshot=on")), "lost when that QEMU ends");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_public_names),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_logs),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
