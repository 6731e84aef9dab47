/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_printable.c - foreign text can neither drive a terminal nor grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../qemu-glue/printable.h"

static void check(const char *text, size_t length, size_t size, const char *wanted)
{
	char got[64];

	memset(got, 'x', sizeof got);
	assert_ptr_equal(wt_printable(text, length, got, size), got);
	assert_string_equal(got, wanted);
	assert_int_equal(got[strlen(wanted) + 1], 'x');
}

static void test_plain(void **state)
{
	check("a guest, ~ and all", 18, 64, "a guest, ~ and all");
	check("", 0, 64, "");
	check("never read", 0, 64, "");
}

static void test_control(void **state)
{
	check("a\033[2Jb\r\n\tc\0d\177", 13, 64, "a?[2Jb???c?d?");
	check("\xc2\x9b"
	      "31m\xff",
		6, 64, "??31m?");
}

static void test_bounded(void **state)
{
	check("0123456789", 10, 11, "0123456789");
	check("0123456789", 10, 10, "012345...");
	check("0123456789", 10, 4, "012");
	check("0123456789", 10, 1, "");
}

static void test_error(void **state)
{
	struct wt_error err = { 0 }, said;

	wt_error_set(&err, 5, "the peer refuses: \033]0;x\007");
	said = wt_printable_error(&err);
	assert_int_equal(said.code, 5);
	assert_string_equal(said.text, "the peer refuses: ?]0;x?");
	wt_error_clear(&err);
	assert_string_equal(wt_printable_error(&err).text, "unknown error");
}

static void test_every_byte(void **state)
{
	char got[2];

	for (unsigned c = 0; c < 256; c++) {
		unsigned char byte = (unsigned char)c;

		wt_printable(&byte, 1, got, sizeof got);
		assert_int_equal(got[0], c >= 0x20 && c < 0x7f ? (char)c : '?');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
