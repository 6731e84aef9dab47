/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_choice.c - over which fabrics a session may go: over tcp either encrypted or not, whatever was
 * asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "path_choice.h"

#define TCP WT_FABRIC_BIT(WT_FABRIC_TCP)
#define TLS WT_FABRIC_BIT(WT_FABRIC_TLS)
#define VERBS WT_FABRIC_BIT(WT_FABRIC_VERBS)

static void test_all_of_them(void **state)
{
	static const unsigned asked[] = { 0, TCP, TLS, TCP | TLS, VERBS, VERBS | TCP, VERBS | TLS,
		VERBS | TCP | TLS };

	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
		for (int encrypted = 0; encrypted < 2; encrypted++) {
			unsigned got = wt_path_choice(asked[i], encrypted);
			bool over_tcp = !asked[i] || asked[i] & (TCP | TLS);

			assert_int_equal(got & VERBS, !asked[i] || asked[i] & VERBS ? VERBS : 0);
			assert_int_equal(got & (TCP | TLS), !over_tcp ? 0 : encrypted ? TLS : TCP);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_of_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
