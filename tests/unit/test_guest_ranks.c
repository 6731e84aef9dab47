/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_guest_ranks.c - in the guest: lines between the host and the ranks of an MPI job, in order, none lost
 * without a word; hosts and ranks that go, lie or say too much.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest_ranks.h"

static char folder[] = "/tmp/test_guest_ranks.XXXXXX";
static struct wt_guest_ranks ranks;
static char heard[4096];   /* by the host, a line each */
static unsigned deaf_from; /* the host takes so many answers; 0: all */
static unsigned answers;

static bool say(void *arg, const struct wt_agent_answer *words)
{
	size_t length = strlen(heard);

	if (deaf_from && ++answers > deaf_from)
		return false;
	snprintf(heard + length, sizeof heard - length, "%d %s %s %s%s\n", (int)words->id,
		words->ok ? "ok" : "no", words->rank[0] ? words->rank : "-", words->pid ? "met" : "",
		words->output ? words->output : "");
	return true;
}

static void expect_heard(const char *wanted)
{
	assert_string_equal(heard, wanted);
	heard[0] = '\0';
}

static int rank_listen(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s/job/%s", folder, name);
	unlink(address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void request(unsigned id, enum wt_agent_verb verb, const char *name, const char *data)
{
	struct wt_agent_request words = { .id = id, .verb = verb, .data = (char *)data };

	strcpy(words.name, name);
	wt_guest_ranks_request(&ranks, &words);
}

static void rank_says(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
}

static void rank_hears(int fd, const char *wanted)
{
	char text[1024] = "";
	ssize_t got = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);

	assert_int_equal(got, (int)strlen(wanted));
	assert_string_equal(text, wanted);
}

static int setup(void **state)
{
	ranks = (struct wt_guest_ranks){ .folder = folder, .say = say };
	heard[0] = '\0';
	deaf_from = answers = 0;
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	wt_guest_ranks_end(&ranks);
	snprintf(command, sizeof command, "rm -f %s/job/*", folder);
	return system(command);
}

/* Several ranks; whole lines both ways, also when they come in pieces; one that comes later; one that ends.
 */
static void test_lines(void **state)
{
	int a = rank_listen("1.0.sock"), b, c, d;

	request(7, WT_AGENT_RANKS, "job", NULL);
	expect_heard("7 ok 1.0.sock met\n7 ok - \n");
	c = accept(a, NULL, NULL);
	request(7, WT_AGENT_TELL, "1.0.sock", "quiesce 1");
	rank_hears(c, "quiesce 1\n");
	b = rank_listen("1.1.sock");
	request(7, WT_AGENT_LOOK, "", NULL);
	expect_heard("7 ok 1.1.sock met\n7 ok - \n");
	d = accept(b, NULL, NULL);
	rank_says(c, "drained 1\ndeta");
	rank_says(d, "drained\0331\n");
	wt_guest_ranks_poll(&ranks);
	expect_heard("7 ok 1.0.sock drained 1\n7 ok 1.1.sock drained?1\n");
	rank_says(c, "ched 1\n");
	close(d);
	close(b);
	wt_guest_ranks_poll(&ranks);
	expect_heard("7 ok 1.0.sock detached 1\n7 no 1.1.sock \n");
	/* To one that is gone: nothing. What it has left behind is nobody. */
	request(7, WT_AGENT_TELL, "1.1.sock", "detach 1");
	request(7, WT_AGENT_LOOK, "", NULL);
	expect_heard("7 ok - \n");
	close(a);
	close(c);
}

static void test_bad_ranks(void **state)
{
	static char much[WT_GUEST_RANK_LINE + 1];
	int a = rank_listen("1.0.sock"), c;

	request(7, WT_AGENT_RANKS, "nobody", NULL);
	expect_heard("7 ok - \n");
	request(8, WT_AGENT_RANKS, "job", NULL);
	expect_heard("8 ok 1.0.sock met\n8 ok - \n");
	c = accept(a, NULL, NULL);
	memset(much, 'x', sizeof much - 1);
	rank_says(c, much);
	wt_guest_ranks_poll(&ranks);
	expect_heard("8 no 1.0.sock \n");
	/* One that takes nothing has ended. */
	request(8, WT_AGENT_LOOK, "", NULL);
	expect_heard("8 ok 1.0.sock met\n8 ok - \n");
	much[500] = '\0';
	for (unsigned i = 0; ranks.count && i < 10000; i++)
		request(8, WT_AGENT_TELL, "1.0.sock", much);
	assert_int_equal(ranks.count, 0);
	expect_heard("8 no 1.0.sock \n");
	close(c);
	close(a);
}

/* Another host, one that takes nothing, one that is silent: the ranks see their coordinator go. */
static void test_hosts(void **state)
{
	int a = rank_listen("1.0.sock"), c;
	char byte;

	request(6, WT_AGENT_LOOK, "", NULL);
	request(6, WT_AGENT_TELL, "1.0.sock", "quiesce 1");
	expect_heard("6 no - \n6 no - \n");
	request(7, WT_AGENT_RANKS, "job", NULL);
	c = accept(a, NULL, NULL);
	request(8, WT_AGENT_RANKS, "job", NULL);
	assert_int_equal(recv(c, &byte, 1, MSG_DONTWAIT), 0);
	close(c);
	c = accept(a, NULL, NULL);
	heard[0] = '\0';
	request(7, WT_AGENT_TELL, "1.0.sock", "detach 1");
	expect_heard("7 no - \n");
	deaf_from = 1;
	rank_says(c, "drained 1\ndrained 2\n");
	wt_guest_ranks_poll(&ranks);
	expect_heard("8 ok 1.0.sock drained 1\n");
	assert_int_equal(ranks.session, 0);
	assert_int_equal(recv(c, &byte, 1, MSG_DONTWAIT), 0);
	close(c);
	deaf_from = 0;
	request(9, WT_AGENT_RANKS, "job", NULL);
	c = accept(a, NULL, NULL);
	ranks.until_ns = 1; /* the silence is over */
	wt_guest_ranks_poll(&ranks);
	assert_int_equal(recv(c, &byte, 1, MSG_DONTWAIT), 0);
	close(c);
	close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_ranks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hosts, setup, teardown),
	};
	char job[64], command[128];
	int failed;

	if (!mkdtemp(folder))
		return 1;
	snprintf(job, sizeof job, "%s/job", folder);
	mkdir(job, 0700);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command) || failed;
}
