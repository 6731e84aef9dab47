/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_reach.c - ranks behind a command in place of `watari ranks`: one that works, and those that lie,
 * hang or end.
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
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator.h"

static char folder[] = "/tmp/test_mpi_reach.XXXXXX";
static char found[256];

/* The command: a script that is told what `watari` is told. */
static void script(const char *lines, char *ret_path, size_t size)
{
	FILE *file;

	snprintf(ret_path, size, "%s/command", folder);
	file = fopen(ret_path, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", lines);
	fclose(file);
	assert_int_equal(chmod(ret_path, 0755), 0);
}

static struct wt_reach *opened(const char *lines, const char *agent)
{
	struct wt_error err = { 0 };
	struct wt_reach *reach;
	char path[128];

	script(lines, path, sizeof path);
	if (wt_reach_agent_open(agent, path, "job", &reach, &err) < 0)
		fail_msg("%s", wt_error_text(&err));
	found[0] = '\0';
	return reach;
}

static int note(void *arg, const char *name, struct wt_error *err)
{
	strcat(found, name);
	strcat(found, " ");
	return 0;
}

/* Its words go to the command; the prefix runs it. Lines to and fro; a rank that ends. */
static void test_lines(void **state)
{
	struct wt_reach *reach = opened(
		"echo met 1.0.sock 41\necho met 1.1.sock $#\n[ \"$*\" = \"ranks --agent /run/a job\" ] || exit 1\n"
		"[ \"$AT\" = h1 ] || exit 1\nwhile read -r a b; do case $a in look) echo looked ;;\n"
		"1.0.sock) echo \"said 1.0.sock you said $b\" ;; 1.1.sock) echo ended 1.1.sock ;; esac; done",
		"env AT=h1 /run/a");
	struct wt_error err = { 0 };
	uint32_t pid = 0;
	char text[64] = "";
	int a, b;

	assert_int_equal(wt_reach_look(reach, note, NULL, &err), 0);
	assert_string_equal(found, "1.0.sock 1.1.sock ");
	assert_int_equal(wt_reach_dial(reach, "1.2.sock", &pid), -ENOENT);
	a = wt_reach_dial(reach, "1.0.sock", &pid);
	assert_true(a >= 0);
	assert_int_equal(pid, 41);
	b = wt_reach_dial(reach, "1.1.sock", &pid);
	assert_int_equal(pid, 4);
	assert_int_equal(wt_reach_dial(reach, "1.1.sock", &pid), -ENOENT);
	assert_int_equal(send(a, "hello 2\n", 8, 0), 8);
	assert_int_equal(recv(a, text, 17, MSG_WAITALL), 17);
	assert_string_equal(text, "you said hello 2\n");
	assert_int_equal(send(b, "x\n", 2, 0), 2);
	assert_int_equal(recv(b, text, sizeof text, 0), 0);
	assert_false(wt_reach_lost(reach, &err));
	close(a);
	close(b);
	wt_reach_close(reach);
}

/* What it says at its end is the sentence, and its ranks end. */
static void test_fails(void **state)
{
	struct wt_reach *reach = opened(
		"echo met 1.0.sock 41\nread -r a; echo looked; read -r b; echo failed the guest is asleep",
		"/run/a");
	struct wt_error err = { 0 };
	uint32_t pid;
	char byte;
	int a;

	assert_int_equal(wt_reach_look(reach, note, NULL, &err), 0);
	a = wt_reach_dial(reach, "1.0.sock", &pid);
	assert_int_equal(send(a, "x\n", 2, 0), 2);
	assert_int_equal(recv(a, &byte, 1, 0), 0);
	assert_true(wt_reach_lost(reach, &err));
	assert_string_equal(wt_error_text(&err), "--agent \"/run/a\": the guest is asleep");
	err = (struct wt_error){ 0 };
	assert_int_equal(wt_reach_look(reach, note, NULL, &err), -EHOSTUNREACH);
	close(a);
	wt_reach_close(reach);
}

/* Nothing it says or does not say is more than a sentence. */
static void test_nonsense(void **state)
{
	static const char *const bad[] = { "exit 0", "kill -9 $$", "echo",
		"echo met; echo said; echo ended; echo failed",
		"echo said 1.0.sock x; echo met 1.0.sock; echo ended 1.0.sock", "head -c 5000 /dev/zero",
		"head -c 5000 /dev/zero | tr '\\0' x",
		"i=0; while [ $i -lt 300 ]; do echo met 1.$i.sock 1; i=$((i+1)); done" };

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct wt_reach *reach = opened(bad[i], "/run/a");
		struct wt_error err = { 0 };

		if (wt_reach_look(reach, note, NULL, &err) != -EHOSTUNREACH)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(strstr(err.text, "--agent \"/run/a\": "));
		wt_reach_close(reach);
	}
}

static void test_no_command(void **state)
{
	struct wt_error err = { 0 };
	struct wt_reach *reach;

	assert_int_equal(wt_reach_agent_open("", "/bin/true", "job", &reach, &err), -EINVAL);
	assert_non_null(strstr(err.text, "its last word is the socket"));
	err = (struct wt_error){ 0 };
	assert_int_equal(wt_reach_agent_open("/run/a", "/nowhere/watari", "job", &reach, &err), 0);
	assert_int_equal(wt_reach_look(reach, note, NULL, &err), -EHOSTUNREACH);
	assert_non_null(strstr(err.text, "/nowhere/watari cannot be run"));
	wt_reach_close(reach);
}

/* A reach that is lost in the midst: the quiesce is given up, and nobody is told to detach. */
static void test_lost_in_quiesce(void **state)
{
	struct wt_reach *reach = opened(
		"echo met 1.0.sock 41\necho met 1.1.sock 42\nwhile read -r a b c; do case $a-$b in look-) echo looked ;;\n"
		"*-hello) n=${a#1.}; echo \"said $a rank 3 1 ${n%.sock} 2 running 0 - 0 0\" ;;\n"
		"1.0.sock-quiesce) echo said 1.0.sock drained 1 ;; 1.1.sock-quiesce) echo failed the guest is asleep; exit ;;\n"
		"*-detach) touch $0.detached ;; esac; done",
		"/run/a");
	struct wt_coordinator_times times;
	struct wt_coordinator *coordinator;
	struct wt_error err = { 0 };
	char path[128];

	if (wt_coordinator_open(&reach, 1, WT_BARRIER_QUIESCE, 20000000000u, &coordinator, &err) < 0)
		fail_msg("%s", wt_error_text(&err));
	assert_int_equal(
		wt_coordinator_run(coordinator, WT_BARRIER_QUIESCE, 20000000000u, &times, &err), -EBUSY);
	assert_non_null(strstr(err.text, "the guest is asleep; ranks behind it may stand"));
	wt_coordinator_close(coordinator);
	wt_reach_close(reach);
	snprintf(path, sizeof path, "%s/command.detached", folder);
	assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_fails),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_no_command),
		cmocka_unit_test(test_lost_in_quiesce),
	};
	char command[128];
	int failed;

	if (!mkdtemp(folder))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command) || failed;
}
