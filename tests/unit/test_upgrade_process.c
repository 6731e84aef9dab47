/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_upgrade_process.c - what the kernel says of a process (this one), and another one started like it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "upgrade_process.h"

static int listen_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int listen_tcp(unsigned *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void test_sockets(void **state)
{
	char directory[] = "/tmp/watari-test-XXXXXX", path[64];
	struct wt_upgrade_process p;
	struct wt_error err = { 0 };
	unsigned port;
	int near, pair[2], tcp;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/a b.sock", directory);
	near = listen_unix(path);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(wt_upgrade_process_open(getpid(), &p, &err), 0);
	assert_int_equal(p.socket_count, 1);
	assert_string_equal(p.sockets[0], path);
	assert_int_equal(p.tcp_port, 0);
	assert_non_null(strstr(p.argv[0], "test_upgrade_process"));
	assert_false(wt_upgrade_process_ended(&p, 0));
	wt_upgrade_process_close(&p);

	tcp = listen_tcp(&port);
	assert_int_equal(wt_upgrade_process_open(getpid(), &p, &err), 0);
	assert_int_equal(p.tcp_port, port);
	wt_upgrade_process_close(&p);
	close(tcp);
	close(near);
	close(pair[0]);
	close(pair[1]);
	unlink(path);
	rmdir(directory);
	assert_true(wt_upgrade_process_open(INT_MAX, &p, &err) < 0);
	assert_non_null(strstr(err.text, "process 2147483647"));
}

static void test_paths(void **state)
{
	struct wt_upgrade_process p = { .directory = "/here" };
	char path[16];
	int fd = memfd_create("x", 0);

	assert_int_equal(wt_upgrade_process_path(&p, "a/b", path, sizeof path), 0);
	assert_string_equal(path, "/here/a/b");
	assert_int_equal(wt_upgrade_process_path(&p, "/a/b", path, sizeof path), 0);
	assert_string_equal(path, "/a/b");
	assert_int_equal(wt_upgrade_process_path(&p, "0123456789", path, sizeof path), -ENAMETOOLONG);
	assert_int_equal(wt_upgrade_process_descriptor(getpid(), fd), fd);
	close(fd);
}

/* Another one like this: its output is ours, its directory too, and its environment what it was given. */
static void test_start(void **state)
{
	char *argv[] = { "/bin/sh", "-c", "cd -P . && echo $PWD $X$HOME; read line || exit 7", NULL };
	char *const environment[] = { "X=given", NULL };
	char text[PATH_MAX + 16] = "", wanted[PATH_MAX + 16], here[PATH_MAX];
	struct wt_upgrade_process p;
	struct wt_error err = { 0 };
	int near, out[2], saved, status;
	pid_t pid = 0;

	near = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(wt_upgrade_process_open(getpid(), &p, &err), 0);
	assert_int_equal(pipe(out), 0);
	saved = dup(1);
	dup2(out[1], 1);
	close(out[1]);
	status = wt_upgrade_start(&p, argv, environment, &pid, &err);
	dup2(saved, 1);
	close(saved);
	assert_int_equal(status, 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7); /* its input is empty */
	assert_true(read(out[0], text, sizeof text - 1) > 0);
	snprintf(wanted, sizeof wanted, "%s given\n", getcwd(here, sizeof here));
	assert_string_equal(text, wanted);
	close(out[0]);

	argv[0] = "/nonexistent/qemu";
	assert_int_equal(wt_upgrade_start(&p, argv, environment, &pid, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/qemu cannot be started: No such file"));
	wt_upgrade_process_close(&p);
	close(near);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
