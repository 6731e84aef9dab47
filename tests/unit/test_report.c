/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_report.c - progress on a terminal (a pseudo terminal of a known width): one line that never wraps; how
 * much is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <watari/limits.h>

#include "../../qemu-glue/progress.h"
#include "../../qemu-glue/report.h"

struct terminal {
	int master, saved;
	struct wt_report report;
};

static struct terminal terminal_open(unsigned short columns)
{
	struct winsize size = { .ws_row = 24, .ws_col = columns };
	struct terminal t;
	int slave;

	assert_int_equal(openpty(&t.master, &slave, NULL, NULL, &size), 0);
	t.saved = dup(STDERR_FILENO);
	dup2(slave, STDERR_FILENO);
	close(slave);
	wt_report_open(&t.report, false);
	return t;
}

static void terminal_end(struct terminal *t)
{
	dup2(t->saved, STDERR_FILENO);
	close(t->saved);
	close(t->master);
}

/* Ends it; answers what was written there. */
static const char *terminal_close(struct terminal *t)
{
	static char text[4096];
	ssize_t n = read(t->master, text, sizeof text - 1);

	text[n > 0 ? n : 0] = '\0';
	terminal_end(t);
	return text;
}

static void test_width(void **state)
{
	struct wt_progress p = { .vm = "web1",
		.state = "streaming",
		.total_bytes = 1 << 30,
		.remaining_bytes = 1 << 29,
		.rate_bytes_per_s = 910000000,
		.dirty_bytes_per_s = 20000000,
		.expected_end_ms = 600 };
	char line[WT_PROGRESS_LINE_MAX];
	unsigned longest = 0;

	for (unsigned short columns = 20; columns < 150; columns += 7) {
		struct terminal t = terminal_open(columns);
		const char *text;

		wt_report_progress(&t.report, NULL, wt_progress_line(&p, wt_report_columns(&t.report), line));
		text = strstr(terminal_close(&t), "\033[K");
		assert_non_null(text);
		text += strlen("\033[K");
		assert_memory_equal(text, "watari: web", 11);
		assert_true(strlen(text) < columns);
		assert_null(strchr(text, '\n'));
		longest = strlen(text) > longest ? (unsigned)strlen(text) : longest;
	}
	assert_true(longest > 80);
}

static unsigned columns_of(unsigned short width)
{
	struct terminal t = terminal_open(width);
	unsigned columns = wt_report_columns(&t.report);

	terminal_end(&t);
	return columns;
}

static void test_unknown_width(void **state)
{
	assert_int_equal(columns_of(0), 80 - strlen("watari: ") - 1);
	assert_int_equal(columns_of(3), 1);
}

/* Past the limit only errors and the summary are told. */
static void test_volume(void **state)
{
	static char note[64u << 10];
	char *text = NULL;
	size_t length = 0, full;
	FILE *out = open_memstream(&text, &length), *err = fopen("/dev/null", "w");
	struct wt_report report;

	assert_true(out && err);
	wt_report_open_on(&report, true, out, err);
	memset(note, 'n', sizeof note - 1);
	for (unsigned i = 0; i < 2 * WT_LIMIT_LOG_BYTES / sizeof note; i++)
		wt_report_event(&report, "note", json_pack("{s:s}", "text", note), NULL);
	full = length;
	assert_true(full > WT_LIMIT_LOG_BYTES && full < WT_LIMIT_LOG_BYTES + 2 * sizeof note);
	wt_report_progress(&report, json_object(), "");
	wt_report_event(&report, "state", json_object(), NULL);
	assert_int_equal(length, full);
	wt_report_event(&report, "summary", json_object(), NULL);
	wt_report_error(&report, "why");
	assert_non_null(strstr(text + full, "\"summary\""));
	assert_non_null(strstr(text + full, "\"why\""));
	fclose(out);
	fclose(err);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_unknown_width),
		cmocka_unit_test(test_volume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
