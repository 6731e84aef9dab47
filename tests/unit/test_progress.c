/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_progress.c - the line that people read fits their terminal, and the figures mean what they say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../qemu-glue/progress.h"

#define GIB ((uint64_t)1 << 30)

static struct wt_progress half_way(void)
{
	return (struct wt_progress){ .vm = "web1",
		.state = "streaming",
		.total_bytes = 2 * GIB,
		.moved_bytes = GIB,
		.remaining_bytes = 2 * GIB / 5,
		.rate_bytes_per_s = 910000000,
		.dirty_bytes_per_s = 20000000,
		.expected_end_ms = 2500 };
}

static void test_whole_line(void **state)
{
	struct wt_progress p = half_way();
	char text[WT_PROGRESS_LINE_MAX];

	assert_string_equal(wt_progress_line(&p, 0, text),
		"web1: streaming  80 %  1.6 GiB of 2.0 GiB  left 409 MiB  910 MB/s  dirty 20 MB/s  about 3 s left");
	p.throttle_percent = 40;
	assert_non_null(strstr(wt_progress_line(&p, 0, text), "  guest slowed by 40 %  about"));
	p.expected_end_ms = 300000;
	assert_non_null(strstr(wt_progress_line(&p, 0, text), "  about 5 min left"));
	p.expected_end_ms = WT_PROGRESS_UNKNOWN;
	assert_null(strstr(wt_progress_line(&p, 0, text), "about"));
	p.dirty_bytes_per_s = 2 * p.rate_bytes_per_s;
	assert_non_null(strstr(wt_progress_line(&p, 0, text), "  no end in sight"));
}

static void test_unknown(void **state)
{
	struct wt_progress p = half_way();
	char text[WT_PROGRESS_LINE_MAX];

	p.remaining_bytes = p.expected_end_ms = WT_PROGRESS_UNKNOWN;
	p.dirty_bytes_per_s = 0;
	assert_string_equal(wt_progress_line(&p, 0, text), "web1: streaming  1.0 GiB moved  910 MB/s");
	p.remaining_bytes = 3 * GIB; /* more than there is: QEMU counts anew meanwhile */
	assert_non_null(strstr(wt_progress_line(&p, 0, text), "  0 %  0 kB of 2.0 GiB  left 3.0 GiB"));
}

/* Whatever the width: never wider, never less than a narrower one shows. */
static void test_every_width(void **state)
{
	struct wt_progress p = half_way();
	char text[WT_PROGRESS_LINE_MAX], narrower[WT_PROGRESS_LINE_MAX] = "";

	for (unsigned columns = 1; columns < 200; columns++) {
		wt_progress_line(&p, columns, text);
		assert_true(strlen(text) <= columns);
		assert_true(strlen(text) >= strlen(narrower) || columns < 20);
		strcpy(narrower, text);
	}
	assert_string_equal(wt_progress_line(&p, 5, text), "web1:");
	assert_string_equal(wt_progress_line(&p, 22, text), "web1: streaming  80 %");
	assert_string_equal(wt_progress_line(&p, 45, text), "web1: streaming  80 %  about 3 s left");
	assert_string_equal(
		wt_progress_line(&p, 50, text), "web1: streaming  80 %  910 MB/s  about 3 s left");
}

static void test_long_name(void **state)
{
	struct wt_progress p = half_way();
	char name[600], text[WT_PROGRESS_LINE_MAX];

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	p.vm = name;
	assert_int_equal(strlen(wt_progress_line(&p, 0, text)), WT_PROGRESS_LINE_MAX - 1);
	assert_int_equal(strlen(wt_progress_line(&p, 80, text)), 80);
}

static void test_end(void **state)
{
	assert_int_equal(wt_progress_end_ms(1000000, 1000000, 0), 1000);
	assert_int_equal(wt_progress_end_ms(1000000, 1500000, 500000), 1000);
	assert_int_equal(wt_progress_end_ms(0, 1000000, 0), 0);
	assert_true(wt_progress_end_ms(1, 1000, 1000) == WT_PROGRESS_UNKNOWN);
	assert_true(wt_progress_end_ms(1, 0, 0) == WT_PROGRESS_UNKNOWN);
	assert_true(wt_progress_end_ms(WT_PROGRESS_UNKNOWN, 1000, 0) == WT_PROGRESS_UNKNOWN);
}

static void test_rate(void **state)
{
	struct wt_rate rate = { 0 };
	uint64_t now_ns = 5000000000ull;

	assert_int_equal(wt_rate_update(&rate, 700, now_ns), 0);
	assert_int_equal(wt_rate_update(&rate, 1700, now_ns + 1000000000), 1000);
	assert_int_equal(wt_rate_update(&rate, 1700, now_ns + 2000000000), 750);
	assert_int_equal(wt_rate_update(&rate, 1000, now_ns + 3000000000), 562); /* a count that fell back */
	for (unsigned i = 4; i < 40; i++)
		wt_rate_update(&rate, i * 2000, now_ns + i * 1000000000ull);
	assert_in_range(rate.bytes_per_s, 1990, 2000);
}

static void test_json(void **state)
{
	struct wt_progress p = half_way(), back;
	json_t *object;

	p.throttle_percent = 30;
	p.pending_bytes = 4096;
	object = wt_progress_json(&p);
	json_object_set_new(object, "vm", json_string("web1"));
	wt_progress_take(&back, object);
	assert_string_equal(back.vm, p.vm);
	assert_string_equal(back.state, p.state);
	assert_int_equal(back.total_bytes, p.total_bytes);
	assert_int_equal(back.moved_bytes, p.moved_bytes);
	assert_int_equal(back.remaining_bytes, p.remaining_bytes);
	assert_int_equal(back.pending_bytes, p.pending_bytes);
	assert_int_equal(back.rate_bytes_per_s, p.rate_bytes_per_s);
	assert_int_equal(back.dirty_bytes_per_s, p.dirty_bytes_per_s);
	assert_int_equal(back.expected_end_ms, p.expected_end_ms);
	assert_int_equal(back.throttle_percent, p.throttle_percent);
	json_decref(object);

	p.remaining_bytes = p.expected_end_ms = WT_PROGRESS_UNKNOWN;
	object = wt_progress_json(&p);
	assert_true(json_is_null(json_object_get(object, "expected_end_ms")));
	wt_progress_take(&back, object);
	assert_true(
		back.remaining_bytes == WT_PROGRESS_UNKNOWN && back.expected_end_ms == WT_PROGRESS_UNKNOWN);
	json_decref(object);
}

static void test_foreign_json(void **state)
{
	json_t *object = json_pack("{s:s,s:i,s:[],s:i,s:n}", "moved_bytes", "many", "remaining_bytes", -5,
		"state", "throttle_percent", 100000, "vm");
	struct wt_progress p;

	wt_progress_take(&p, object);
	assert_string_equal(p.vm, "");
	assert_string_equal(p.state, "");
	assert_int_equal(p.moved_bytes, 0);
	assert_true(p.remaining_bytes == WT_PROGRESS_UNKNOWN);
	assert_int_equal(p.throttle_percent, 100);
	json_decref(object);
}

static void test_size(void **state)
{
	char text[32];

	assert_string_equal(wt_progress_size(0, text), "0 kB");
	assert_string_equal(wt_progress_size(20000, text), "20 kB");
	assert_string_equal(wt_progress_size(64 << 20, text), "64 MiB");
	assert_string_equal(wt_progress_size(3 * GIB / 2, text), "1.5 GiB");
	assert_string_equal(wt_progress_size(UINT64_MAX, text), "17179869184.0 GiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_line),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_every_width),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_foreign_json),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
