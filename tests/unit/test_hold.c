/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_hold.c - a relay waits until it is told, or for as long as it may, and once at most.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "hold.h"

struct owner {
	struct wt_loop *loop;
	struct wt_report report;
	struct wt_hold hold;
	unsigned told, late;
};

static void ended(void *arg, bool told)
{
	struct owner *owner = arg;

	if (told)
		owner->told++;
	else
		owner->late++;
	wt_loop_stop(owner->loop, 0);
}

static bool begin(struct owner *owner, uint64_t timeout_ns)
{
	return wt_hold_begin(&owner->hold, owner->loop, &owner->report, timeout_ns, "it waits", ended, owner);
}

static void open_owner(struct owner *owner)
{
	*owner = (struct owner){ 0 };
	assert_int_equal(wt_loop_open(&owner->loop), 0);
	wt_report_open(&owner->report, false);
}

static void refused(struct owner *owner)
{
	struct wt_error err = { 0 };
	json_t *result = NULL;

	assert_int_equal(wt_hold_proceed(&owner->hold, &result, &err), -EBUSY);
	assert_null(result);
}

static void test_told(void **state)
{
	struct wt_error err = { 0 };
	json_t *result = NULL;
	struct owner owner;

	open_owner(&owner);
	refused(&owner);
	assert_false(begin(&owner, 0));
	assert_true(begin(&owner, 3600000000000ull));
	assert_int_equal(wt_hold_proceed(&owner.hold, &result, &err), 0);
	assert_true(json_is_object(result));
	json_decref(result);
	assert_int_equal(owner.told, 1);
	refused(&owner);
	assert_false(begin(&owner, 3600000000000ull)); /* once */
	wt_loop_close(owner.loop);
}

static void test_deadline(void **state)
{
	struct owner owner;

	open_owner(&owner);
	assert_true(begin(&owner, 1000000));
	assert_int_equal(wt_loop_run(owner.loop), 0);
	assert_int_equal(owner.late, 1);
	assert_int_equal(owner.told, 0);
	refused(&owner);
	wt_loop_close(owner.loop);
}

static void test_ended_and_cleared(void **state)
{
	struct owner owner;

	open_owner(&owner);
	wt_hold_end(&owner.hold);
	assert_int_equal(owner.late, 0);
	assert_true(begin(&owner, 3600000000000ull));
	wt_hold_end(&owner.hold);
	assert_int_equal(owner.late, 1);
	wt_loop_close(owner.loop);

	open_owner(&owner);
	assert_true(begin(&owner, 3600000000000ull));
	wt_hold_clear(&owner.hold);
	wt_hold_end(&owner.hold);
	refused(&owner);
	assert_int_equal(owner.late + owner.told, 0);
	wt_loop_close(owner.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_ended_and_cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
