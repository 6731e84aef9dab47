/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_passthrough.c - the steps about devices, with a QEMU that is played here: it takes devices out at
 * once, late, never, or refuses; and with a host whose devices are in a folder of the test's own.
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
#include <unistd.h>

#include "guest_agent.h"
#include "passthrough.h"

/* ---- the QEMU ---- */

static struct {
	char asked[256]; /* the commands that it got, each with the id */
	wt_qmp_reply_fn *reply;
	void *arg;
	bool plugged; /* has ib0 */
	bool refuses; /* device_add, when all is looked at once more */
} qemu;

int wt_qmp_execute(
	struct wt_qmp *qmp, const char *command, json_t *arguments, wt_qmp_reply_fn *reply, void *arg)
{
	size_t length = strlen(qemu.asked);

	snprintf(qemu.asked + length, sizeof qemu.asked - length, "%s %s;", command,
		json_string_value(json_object_get(arguments, "id")));
	json_decref(arguments);
	qemu.reply = reply;
	qemu.arg = arg;
	return 0;
}

/* QEMU's object tree. */
int wt_qmp_call(struct wt_qmp *qmp, const char *command, json_t *arguments, uint64_t timeout_ns,
	json_t **ret_result, struct wt_error *err)
{
	const char *path = json_string_value(json_object_get(arguments, "path"));
	const char *property = json_string_value(json_object_get(arguments, "property"));

	if (strcmp(command, "device_add") == 0) {
		strcat(qemu.asked, "again;");
		qemu.plugged |= !qemu.refuses;
		json_decref(arguments);
		return qemu.refuses ? wt_error_set(err, EREMOTEIO, "QEMU refused it again") : 0;
	}
	*ret_result = NULL;
	if (!property && strcmp(path, "/machine/peripheral") == 0)
		*ret_result =
			json_pack("[{s:s,s:s},{s:s,s:s}]", "name", "rp0", "type", "child<pcie-root-port>",
				"name", qemu.plugged ? "ib0" : "other", "type", "child<e1000e>");
	else if (!property)
		*ret_result = json_array();
	else if (strcmp(property, "legacy-addr") == 0)
		*ret_result = json_string("00.0");
	else if (strcmp(property, "parent_bus") == 0)
		*ret_result = json_string("/machine/peripheral/rp0/rp0");
	json_decref(arguments);
	return *ret_result ? 0 : wt_error_set(err, EREMOTEIO, "no such thing");
}

pid_t wt_qmp_pid(const struct wt_qmp *qmp)
{
	return getpid();
}

static void answer(bool good)
{
	wt_qmp_reply_fn *reply = qemu.reply;
	struct wt_error err = { 0 };
	json_t *result = good ? json_object() : NULL;

	qemu.reply = NULL;
	assert_non_null(reply);
	if (good && strcmp(qemu.asked + strlen(qemu.asked) - 5, " ib0;") == 0 &&
		strncmp(qemu.asked + strlen(qemu.asked) - 15, "device_add", 10) == 0)
		qemu.plugged = true;
	if (!good)
		wt_error_set(&err, EREMOTEIO, "QEMU refused it");
	reply(qemu.arg, result, &err);
	json_decref(result);
}

/* ---- the guest's agent ---- */

static struct {
	wt_guest_agent_fn *told;
	void *arg;
} agent;

int wt_guest_agent_open(struct wt_loop *loop, const char *socket_path, struct wt_guest_agent **ret_agent,
	struct wt_error *err)
{
	*ret_agent = (struct wt_guest_agent *)&agent;
	return 0;
}

void wt_guest_agent_close(struct wt_guest_agent *closed)
{
}

void wt_guest_agent_forget(struct wt_guest_agent *forgetful)
{
	agent.told = NULL;
}

static void stop(void);

int wt_guest_agent_ask(struct wt_guest_agent *asked, const struct wt_agent_request *request,
	uint32_t patience_ms, wt_guest_agent_fn *told, void *arg, struct wt_error *err)
{
	strcat(qemu.asked, wt_agent_verb_name(request->verb));
	strcat(qemu.asked, ";");
	agent.told = told;
	agent.arg = arg;
	stop();
	return 0;
}

static void agent_answers(void)
{
	struct wt_agent_answer good = { .ok = true };
	struct wt_error err = { 0 };
	wt_guest_agent_fn *told = agent.told;

	assert_non_null(told);
	agent.told = NULL;
	told(agent.arg, &good, &err);
}

/* ---- the owner ---- */

static struct {
	struct wt_loop *loop;
	struct wt_report report;
	struct wt_passthrough *p;
	enum wt_device_step_kind step; /* of the owner's, that began last */
	unsigned failed, over;
	bool runs; /* the loop */
	bool agent;
	struct wt_error err;
	char folder[64];
} test;

static void stop(void)
{
	if (test.runs)
		wt_loop_stop(test.loop, 0);
	test.runs = false;
}

static void on_step(void *arg, enum wt_device_step_kind kind)
{
	test.step = kind;
	stop();
}

static void on_failed(void *arg, const struct wt_error *err)
{
	test.failed++;
	test.err = *err;
	stop();
}

static void on_over(void *arg)
{
	test.over++;
	stop();
}

static const struct wt_passthrough_events events = { .step = on_step, .failed = on_failed, .over = on_over };

static void event(const char *name)
{
	json_t *data = json_pack("{s:s,s:s}", "device", "ib0", "path", "/machine/peripheral/ib0");

	if (strcmp(name, "DEVICE_DELETED") == 0)
		qemu.plugged = false;
	wt_passthrough_qmp_event(test.p, name, data);
	json_decref(data);
}

static void begin_as(const char *place, bool source, bool recovers, bool plugged)
{
	struct wt_passthrough_config config = { .loop = test.loop,
		.report = &test.report,
		.host = "a",
		.root = test.folder,
		.source = source,
		.recovers = recovers,
		.agent_path = test.agent ? "agent" : NULL };
	char path[128];
	FILE *file;

	snprintf(path, sizeof path, "%s/map", test.folder);
	file = fopen(path, "w");
	fprintf(file,
		"{\"version\":1,\"deadlines_ms\":{\"unplug\":40,\"recall\":40,\"plug\":40,\"prepare\":5000},\"devices\":"
		"{\"ib0\":{\"bus\":\"rp0\",\"hosts\":{\"a\":{%s}}}}}",
		place);
	fclose(file);
	config.map_path = path;
	memset(&qemu, 0, sizeof qemu);
	qemu.plugged = plugged;
	test.failed = test.over = 0;
	test.step = 0;
	wt_error_clear(&test.err);
	if (wt_passthrough_open(&config, &events, NULL, &test.p, &test.err) ||
		wt_passthrough_check(test.p, NULL, &test.err))
		fail_msg("%s", test.err.text);
	assert_int_equal(wt_passthrough_leaving(test.p)[0] != NULL, source);
	wt_passthrough_begin(test.p);
}

static void begin(const char *place, bool source)
{
	begin_as(place, source, false, source);
}

/* The destination has prepared its devices, and has the guest's memory. */
static void prepared(void)
{
	wt_passthrough_done(test.p, WT_DEVICE_STEP_ASK, NULL);
	assert_int_equal(test.step, WT_DEVICE_STEP_WARM);
	wt_passthrough_done(test.p, WT_DEVICE_STEP_WARM, NULL);
}

/* Up to the unplug. */
static void begin_source(void)
{
	begin("\"device\":\"e1000e\"", true);
	assert_int_equal(test.step, WT_DEVICE_STEP_ASK);
	wt_passthrough_done(test.p, WT_DEVICE_STEP_MOVE, NULL); /* not what is under way */
	assert_string_equal(qemu.asked, "");
	prepared();
	assert_string_equal(qemu.asked, "device_del ib0;");
}

static void run(void)
{
	test.runs = true;
	wt_loop_run(test.loop);
}

/* The end: everything is as it was, or what is wrong. */
static void expect_end(const char *asked, const char *trouble)
{
	const struct wt_error *found;

	assert_int_equal(test.over, 1);
	wt_passthrough_check_back(test.p);
	found = wt_passthrough_trouble(test.p);
	assert_true(wt_passthrough_is_over(test.p));
	assert_string_equal(qemu.asked, asked);
	assert_int_equal(found != NULL, trouble != NULL);
	if (trouble && !strstr(found->text, trouble))
		fail_msg("\"%s\", not \"%s\"", found->text, trouble);
	wt_passthrough_close(test.p);
	test.p = NULL;
}

static void expect_failed(const char *said)
{
	assert_int_equal(test.failed, 1);
	if (!strstr(test.err.text, said))
		fail_msg("\"%s\", not \"%s\"", test.err.text, said);
}

static int setup(void **state)
{
	strcpy(test.folder, "/tmp/test_passthrough.XXXXXX");
	assert_non_null(mkdtemp(test.folder));
	setenv("XDG_RUNTIME_DIR", test.folder, 1);
	wt_report_open(&test.report, false);
	return wt_loop_open(&test.loop);
}

static int teardown(void **state)
{
	char command[128];

	wt_loop_close(test.loop);
	snprintf(command, sizeof command, "rm -r %s", test.folder);
	return system(command);
}

/* ---- the source ---- */

static void test_goes(void **state)
{
	struct wt_error late = { 0 };

	begin_source();
	answer(true);
	assert_int_equal(test.step, WT_DEVICE_STEP_WARM);
	event("DEVICE_DELETED");
	assert_int_equal(test.step, WT_DEVICE_STEP_MOVE);
	assert_true(wt_passthrough_gone_ns(test.p) >= wt_passthrough_quiesce_ns(test.p));
	wt_passthrough_done(test.p, WT_DEVICE_STEP_MOVE, NULL);
	assert_int_equal(test.step, WT_DEVICE_STEP_REPORT);
	wt_passthrough_abort(test.p); /* too late */
	assert_int_equal(test.over, 0);
	wt_error_set(&late, ETIMEDOUT, "no word");
	wt_passthrough_done(test.p, WT_DEVICE_STEP_REPORT, &late);
	assert_int_equal(test.failed, 0);
	expect_end("device_del ib0;", "no word");
}

static void test_comes_back(void **state)
{
	begin_source();
	event("DEVICE_DELETED"); /* before the answer */
	answer(true);
	assert_int_equal(test.step, WT_DEVICE_STEP_MOVE);
	wt_passthrough_abort(test.p);
	assert_int_equal(test.over, 0);
	answer(true);
	assert_int_equal(test.failed, 0); /* the owner has aborted it itself */
	expect_end("device_del ib0;device_add ib0;", NULL);
}

static void test_does_not_come_back(void **state)
{
	for (unsigned silent = 0; silent < 2; silent++) {
		begin_source();
		answer(true);
		event("DEVICE_DELETED");
		wt_passthrough_abort(test.p);
		qemu.refuses = true;
		if (silent)
			run();
		else
			answer(false);
		expect_end("device_del ib0;device_add ib0;again;",
			silent ? "did not answer to device_add within 40 ms" : "QEMU refused it");
	}
}

/* A refusal may have been about an earlier request: what comes of that one is awaited. */
static void test_refused(void **state)
{
	begin_source();
	answer(false);
	expect_failed("device ib0: QEMU refused it");
	run();
	expect_end("device_del ib0;", NULL);

	begin_source();
	answer(true);
	event("DEVICE_UNPLUG_GUEST_ERROR");
	expect_failed("device ib0: the guest refuses to let go");
	run();
	expect_end("device_del ib0;", NULL);

	begin_source();
	answer(false);
	event("DEVICE_DELETED");
	answer(true);
	expect_end("device_del ib0;device_add ib0;", NULL);
}

/* A request of before has taken it out meanwhile: it is brought back as if we had. */
static void test_gone_already(void **state)
{
	begin("\"device\":\"e1000e\"", true);
	event("DEVICE_DELETED");
	prepared();
	assert_int_equal(test.step, WT_DEVICE_STEP_MOVE);
	wt_passthrough_abort(test.p);
	answer(true);
	expect_end("device_add ib0;", NULL);
}

/* Too late, but in time to be plugged in again. */
static void test_late(void **state)
{
	begin_source();
	answer(true);
	run();
	expect_failed("the guest did not let go within 40 ms");
	assert_int_equal(test.over, 0);
	event("DEVICE_DELETED");
	assert_int_equal(test.over, 0);
	answer(true);
	expect_end("device_del ib0;device_add ib0;", NULL);
}

static void test_never(void **state)
{
	begin_source();
	answer(true);
	run();
	run();
	expect_failed("the guest did not let go within 40 ms");
	assert_int_equal(test.over, 1);
	wt_passthrough_check_back(test.p);
	event("DEVICE_DELETED"); /* nobody waits any more, but watari is still there */
	assert_string_equal(qemu.asked, "device_del ib0;device_add ib0;");
	answer(true);
	expect_end("device_del ib0;device_add ib0;", "cannot be taken back");
}

/* It goes when its undo is over, while the hooks are told: they wait for it, so it is plugged in at once. */
static void test_late_for_hooks(void **state)
{
	test.agent = true;
	begin("\"device\":\"e1000e\"", true);
	agent_answers();
	prepared();
	agent_answers();
	answer(true);
	run();
	expect_failed("the guest did not let go within 40 ms");
	run();
	assert_string_equal(qemu.asked, "ping;detach;device_del ib0;attach;");
	event("DEVICE_DELETED");
	answer(true);
	assert_int_equal(test.over, 0);
	agent_answers();
	expect_end("ping;detach;device_del ib0;attach;device_add ib0;", NULL);
	test.agent = false;
}

/* It went when nobody looked: that is seen at the end. */
static void test_unseen(void **state)
{
	for (unsigned refuses = 0; refuses < 2; refuses++) {
		begin_source();
		answer(true);
		run();
		run();
		qemu.plugged = false;
		qemu.refuses = refuses;
		expect_end("device_del ib0;again;", refuses ? "QEMU refused it again" : NULL);
	}
}

static void test_late_refusal(void **state)
{
	begin_source();
	answer(true);
	run();
	event("DEVICE_UNPLUG_GUEST_ERROR");
	run();
	expect_end("device_del ib0;", NULL);
}

/* Aborted while the guest is asked: the answer is awaited, and the device comes back. */
static void test_aborted_in_between(void **state)
{
	begin_source();
	answer(true);
	wt_passthrough_abort(test.p);
	assert_int_equal(test.over, 0);
	event("DEVICE_DELETED");
	answer(true);
	expect_end("device_del ib0;device_add ib0;", NULL);
}

/* ---- the destination ---- */

#define VFIO "\"vfio\":[\"0000:01:00.0\",\"0000:02:00.0\"]"

/* 01:00.0 is nobody's; 02:00.0 can be used. */
static void make_host(void)
{
	char command[512];

	snprintf(command, sizeof command,
		"cd %s && mkdir -p dev/vfio drivers/vfio-pci sys/bus/pci/devices/0000:01:00.0 "
		"sys/bus/pci/devices/0000:02:00.0 groups/2 && : >dev/vfio/2 && ln -s ../../../../../groups/2 "
		"sys/bus/pci/devices/0000:02:00.0/iommu_group && ln -s ../../../../../drivers/vfio-pci "
		"sys/bus/pci/devices/0000:02:00.0/driver",
		test.folder);
	assert_int_equal(system(command), 0);
}

static void expect_log(const char *wanted)
{
	char path[128], text[256] = "";
	FILE *file;

	snprintf(path, sizeof path, "%s/log", test.folder);
	file = fopen(path, "r");
	if (file) {
		text[fread(text, 1, sizeof text - 1, file)] = '\0';
		fclose(file);
	}
	unlink(path);
	assert_string_equal(text, wanted);
}

static const char *with_commands(const char *check)
{
	static char place[1024];

	snprintf(place, sizeof place,
		VFIO
		",\"prepare\":[\"/bin/sh\",\"-c\",\"echo prepare $0 >>%s/log\",\"{address}\"],"
		"\"check\":[\"%s\"],\"release\":[\"/bin/sh\",\"-c\",\"echo release $0 >>%s/log\",\"{address}\"]",
		test.folder, check, test.folder);
	return place;
}

static void test_pool(void **state)
{
	json_t *facts;

	make_host();
	begin(with_commands("/bin/true"), false);
	while (!test.step)
		run();
	assert_int_equal(test.step, WT_DEVICE_STEP_MOVE);
	expect_log("prepare 0000:01:00.0\nrelease 0000:01:00.0\nprepare 0000:02:00.0\n");
	wt_passthrough_done(test.p, WT_DEVICE_STEP_MOVE, NULL);
	answer(true);
	facts = wt_passthrough_facts(test.p);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(facts, 0), "what")), "vfio 0000:02:00.0");
	json_decref(facts);
	expect_end("device_add ib0;", NULL);
	expect_log("");
}

static void test_pool_is_empty(void **state)
{
	make_host();
	begin(with_commands("/bin/false"), false);
	while (!test.over)
		run();
	expect_failed(
		"none of the 2 devices of the pool can be used; the last one: /bin/false of the device map failed");
	expect_end("", NULL);
	expect_log(
		"prepare 0000:01:00.0\nrelease 0000:01:00.0\nprepare 0000:02:00.0\nrelease 0000:02:00.0\n");
}

/* The same device is not promised twice. */
static void test_reserved(void **state)
{
	struct wt_passthrough *first;

	make_host();
	begin(VFIO, false);
	assert_int_equal(test.step, WT_DEVICE_STEP_MOVE);
	first = test.p;
	begin("\"vfio\":\"0000:02:00.0\"", false);
	expect_failed("0000:02:00.0 is reserved by another watari send or receive on this host");
	expect_end("", NULL);
	test.p = first;
	test.over = 0;
	wt_passthrough_abort(test.p);
	expect_end("", NULL);
	begin("\"vfio\":\"0000:02:00.0\"", false);
	assert_int_equal(test.step, WT_DEVICE_STEP_MOVE);
	wt_passthrough_abort(test.p);
	expect_end("", NULL);
}

static void test_not_plugged(void **state)
{
	begin("\"device\":\"e1000e\"", false);
	assert_int_equal(test.step, WT_DEVICE_STEP_MOVE);
	wt_passthrough_done(test.p, WT_DEVICE_STEP_MOVE, NULL);
	answer(false);
	assert_int_equal(test.failed, 0);
	expect_end("device_add ib0;", "device ib0: QEMU refused it");
}

/* What is there stays, what is missing is plugged in, and what goes meanwhile is seen. */
static void test_recovers(void **state)
{
	char text[64];

	begin_as("\"device\":\"e1000e\"", false, true, true);
	assert_string_equal(wt_passthrough_lacking(test.p, text, sizeof text), "");
	wt_passthrough_done(test.p, WT_DEVICE_STEP_MOVE, NULL);
	event("DEVICE_DELETED");
	assert_string_equal(wt_passthrough_lacking(test.p, text, sizeof text), "ib0 (bus rp0)");
	expect_end("", NULL);

	begin_as("\"device\":\"e1000e\"", false, true, false);
	assert_string_equal(wt_passthrough_lacking(test.p, text, sizeof text), "ib0 (bus rp0)");
	assert_int_equal(test.step, WT_DEVICE_STEP_MOVE);
	wt_passthrough_done(test.p, WT_DEVICE_STEP_MOVE, NULL);
	answer(true);
	assert_string_equal(wt_passthrough_lacking(test.p, text, sizeof text), "");
	expect_end("device_add ib0;", NULL);
}

static void test_names(void **state)
{
	json_t *good = json_pack("[s]", "ib0"), *other = json_pack("[s]", "ib1"), *bad = json_pack("[i]", 7);
	struct wt_error err = { 0 };

	begin("\"none\":true", false);
	assert_int_equal(wt_passthrough_expect(test.p, good, &err), 0);
	assert_int_equal(wt_passthrough_expect(test.p, other, &err), -ENOENT);
	assert_non_null(strstr(err.text, "has a device ib1"));
	assert_int_equal(wt_passthrough_expect(test.p, bad, &err), -EPROTO);
	json_decref(good);
	json_decref(other);
	json_decref(bad);
	wt_passthrough_abort(test.p);
	expect_end("", NULL);
}

#define DEVICE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEVICE_TEST(test_goes),
		DEVICE_TEST(test_comes_back),
		DEVICE_TEST(test_does_not_come_back),
		DEVICE_TEST(test_refused),
		DEVICE_TEST(test_gone_already),
		DEVICE_TEST(test_unseen),
		DEVICE_TEST(test_late),
		DEVICE_TEST(test_never),
		DEVICE_TEST(test_late_for_hooks),
		DEVICE_TEST(test_late_refusal),
		DEVICE_TEST(test_aborted_in_between),
		DEVICE_TEST(test_pool),
		DEVICE_TEST(test_pool_is_empty),
		DEVICE_TEST(test_reserved),
		DEVICE_TEST(test_not_plugged),
		DEVICE_TEST(test_recovers),
		DEVICE_TEST(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
