/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_stream_tail.c - a whole stream is told from one that was cut anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "stream_tail.h"

static const char description[] =
	"{\"configuration\":{\"vmsd_name\":\"configuration\"},\"page_size\":4096,\"devices\":[{\"name\":\"timer\"}]}";

/* Device state, EOF, and a description. */
static size_t make(uint8_t *ret_bytes, size_t state_length, const char *text)
{
	uint32_t size = htobe32((uint32_t)strlen(text));

	memset(ret_bytes, 0x41, state_length);
	ret_bytes[state_length] = 0;
	ret_bytes[state_length + 1] = 6;
	memcpy(ret_bytes + state_length + 2, &size, 4);
	memcpy(ret_bytes + state_length + 6, text, strlen(text));
	return state_length + 6 + strlen(text);
}

static void test_cut_anywhere(void **state)
{
	uint8_t bytes[1024];
	size_t length = make(bytes, 300, description);

	assert_true(wt_stream_tail_complete(bytes, length));
	for (size_t cut = 0; cut < length; cut++)
		assert_false(wt_stream_tail_complete(bytes, cut));
	bytes[length] = '}';
	assert_false(wt_stream_tail_complete(bytes, length + 1));
	length = make(bytes, 0, description);
	assert_true(wt_stream_tail_complete(bytes, length));
}

/* What only looks like it, as a guest could have it in a device's state. */
static void test_not_a_description(void **state)
{
	static const char *const others[] = { "{}", "{\"page_size\":4096}", "{\"devices\":[]}",
		"{\"page_size\":4096,\"devices\":[}" };
	uint8_t bytes[1024];

	for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
		assert_false(wt_stream_tail_complete(bytes, make(bytes, 40, others[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_not_a_description),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
