/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_digest_gate.c - closed from the beginning if digests are wanted, while they are sent, and a while
 * after.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "digest_gate.h"

#define MS 1000000ull

static void test_nobody_wants_digests(void **state)
{
	struct wt_digest_gate gate;

	wt_digest_gate_init(&gate, false, 5 * MS);
	for (uint64_t ms = 5; ms < 2000; ms += 50)
		assert_false(wt_digest_gate_step(&gate, 0, ms * MS));
	assert_false(gate.closed);
}

static void test_opens_when_qemu_has_forgotten(void **state)
{
	struct wt_digest_gate gate;

	wt_digest_gate_init(&gate, true, 1000 * MS);
	assert_true(gate.closed);
	assert_false(wt_digest_gate_step(&gate, 10, 1250 * MS));
	assert_false(wt_digest_gate_step(&gate, 20, 1900 * MS)); /* more have come: whenever that was */
	assert_false(wt_digest_gate_step(&gate, 20, 2199 * MS));
	assert_true(gate.closed);
	assert_true(wt_digest_gate_step(&gate, 20, 2200 * MS));
	assert_false(gate.closed);
	assert_true(wt_digest_gate_step(&gate, 21, 2300 * MS)); /* a slow link, and it goes on */
	assert_true(gate.closed);
}

static void test_wanted_and_never_sent(void **state)
{
	struct wt_digest_gate gate;

	wt_digest_gate_init(&gate, true, 0);
	assert_true(wt_digest_gate_step(&gate, 0, 300 * MS));
	assert_false(gate.closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_wants_digests),
		cmocka_unit_test(test_opens_when_qemu_has_forgotten),
		cmocka_unit_test(test_wanted_and_never_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
