/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_psk.c - key files: what is read, and with which sentence the rest is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "psk.h"
#include "secret_file.h"

#define KEY16 "000102030405060708090a0b0c0d0e0f"
#define KEY32 KEY16 "F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"

static int parse(const char *text, const char *identity, struct wt_psk *ret_psk, struct wt_error *err)
{
	wt_error_clear(err);
	return wt_psk_parse(text, strlen(text), "keys.psk", identity, ret_psk, err);
}

static void test_finds_the_first_or_the_named_key(void **state)
{
	const char *text = "# made by psktool\n\nalice:" KEY16 "\r\nbob:" KEY32;
	struct wt_psk psk;
	struct wt_error err;

	assert_int_equal(parse(text, NULL, &psk, &err), 0);
	assert_string_equal(psk.identity, "alice");
	assert_int_equal(psk.key_length, 16);
	assert_int_equal(psk.key[15], 0x0f);
	assert_int_equal(parse(text, "bob", &psk, &err), 0);
	assert_string_equal(psk.identity, "bob");
	assert_int_equal(psk.key_length, 32);
	assert_int_equal(psk.key[31], 0xff);
	assert_int_equal(psk.key[16], 0xf0);
	assert_int_equal(parse("a:" KEY32 KEY32 "\n", NULL, &psk, &err), 0);
	assert_int_equal(psk.key_length, 64);
}

static void test_bad_lines_are_named(void **state)
{
	static const struct {
		const char *text, *identity, *expected;
		int code;
	} cases[] = {
		{ "", NULL, "keys.psk has no key", ENOENT },
		{ "\n# nothing\n", NULL, "keys.psk has no key", ENOENT },
		{ "alice:" KEY16 "\n", "bob", "identity \"bob\"", ENOENT },
		{ "alice:" KEY16 "\n", "alic", "identity \"alic\"", ENOENT },
		{ "\nalice\n", NULL, "line 2: there is no colon", EINVAL },
		{ ":" KEY16 "\n", NULL, "line 1: the identity has 0 bytes", EINVAL },
		{ "a\tb:" KEY16 "\n", NULL, "control character", EINVAL },
		{ "a:" KEY16 "0\n", NULL, "line 1: the key has an odd number", EINVAL },
		{ "a:" KEY16 "\nb:00\n", "b", "line 2: the key has 1 bytes, allowed are 16 to 64", EINVAL },
		{ "a:" KEY32 KEY32 "00\n", NULL, "65 bytes", EINVAL },
		{ "a:" KEY16 " \n", NULL, "odd number", EINVAL },
		{ "a:" KEY16 "0g\n", NULL, "not a hexadecimal digit", EINVAL },
	};
	struct wt_error err;
	struct wt_psk psk;
	size_t i;

	memset(&psk, 0x5a, sizeof psk);
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(parse(cases[i].text, cases[i].identity, &psk, &err), -cases[i].code);
		assert_int_equal(err.code, cases[i].code);
		if (!strstr(err.text, cases[i].expected))
			fail_msg("case %zu says: %s", i, err.text);
		assert_null(strstr(err.text, "0203")); /* never key bytes */
	}
	assert_int_equal(psk.identity[0], 0x5a); /* untouched on failure */
	assert_int_equal(psk.key[0], 0x5a);
}

static void test_longest_identity(void **state)
{
	char text[300];
	struct wt_error err;
	struct wt_psk psk;

	memset(text, 'i', sizeof text);
	strcpy(text + WT_PSK_IDENTITY_MAX, ":" KEY16);
	assert_int_equal(parse(text, NULL, &psk, &err), 0);
	assert_int_equal(strlen(psk.identity), WT_PSK_IDENTITY_MAX);
	memset(text, 'i', sizeof text);
	strcpy(text + WT_PSK_IDENTITY_MAX + 1, ":" KEY16);
	assert_int_equal(parse(text, NULL, &psk, &err), -EINVAL);
}

static void write_file(const char *file, const char *text, mode_t mode)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_files(void **state)
{
	char dir[] = "/tmp/wt-test-psk-XXXXXX", file[64];
	struct wt_psk psk = { 0 };
	struct wt_error err = { 0 };
	mode_t mode;

	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof file, "%s/keys.psk", dir);
	assert_int_equal(wt_psk_load(file, NULL, &psk, &err), -ENOENT);
	assert_non_null(strstr(err.text, file));

	write_file(file, "alice:" KEY16 "\n", 0600);
	assert_int_equal(wt_psk_load(file, "alice", &psk, &err), 0);
	assert_string_equal(psk.identity, "alice");
	memset(&psk, 0, sizeof psk);
	for (mode = 1; mode < 0100; mode <<= 1) {
		write_file(file, "alice:" KEY16 "\n", 0600 | mode);
		wt_error_clear(&err);
		assert_int_equal(wt_psk_load(file, NULL, &psk, &err), -EPERM);
		assert_non_null(strstr(err.text, "chmod 600"));
	}
	write_file(file, "alice:xy\n", 0600);
	wt_error_clear(&err);
	assert_int_equal(wt_psk_load(file, NULL, &psk, &err), -EINVAL);
	write_file(file, "", 0600);
	assert_int_equal(truncate(file, WT_SECRET_FILE_MAX + 1), 0);
	wt_error_clear(&err);
	assert_int_equal(wt_psk_load(file, NULL, &psk, &err), -EFBIG);
	unlink(file);
	assert_int_equal(mkfifo(file, 0600), 0); /* must not wait for a writer */
	wt_error_clear(&err);
	assert_int_equal(wt_psk_load(file, NULL, &psk, &err), -EINVAL);
	assert_int_equal(psk.key_length, 0);
	unlink(file);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds_the_first_or_the_named_key),
		cmocka_unit_test(test_bad_lines_are_named),
		cmocka_unit_test(test_longest_identity),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
