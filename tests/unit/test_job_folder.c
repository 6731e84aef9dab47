/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_job_folder.c - directories of a job's checkpoints: what is there after a commit, after one that never
 * came, and when job.json is not what it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job_folder.h"

static char root[64], folder[96];

static int make_root(void **state)
{
	strcpy(root, "/tmp/test-job-folder-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(folder, sizeof folder, "%s/job", root);
	return 0;
}

static int remove_one(const char *path, const struct stat *what, int kind, struct FTW *at)
{
	return remove(path);
}

static int remove_root(void **state)
{
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *name, const char *text, size_t length)
{
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), length);
	close(fd);
}

static bool has(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return access(path, F_OK) == 0;
}

static void open_folder(struct wt_job_folder *f)
{
	struct wt_error err = { 0 };

	if (wt_job_folder_open(f, folder, true, &err))
		fail_msg("%s", wt_error_text(&err));
}

static const char *generation_name(uint64_t generation)
{
	static char name[2][17];
	static unsigned which;

	which = !which;
	snprintf(name[which], sizeof name[which], "%016" PRIx64, generation);
	return name[which];
}

/* Answers the generation. */
static uint64_t save(struct wt_job_folder *f, const char *job)
{
	struct wt_job_record record = { .count = 2,
		.guests = { { .name = "vm0", .written_bytes = 7, .state_bytes = 8, .downtime_ms = 1.5 },
			{ .name = "vm1", .downtime_ms = -1 } } };
	struct wt_error err = { 0 };

	snprintf(record.job, sizeof record.job, "%s", job);
	strcpy(record.note, "4 ranks, over verbs");
	assert_int_equal(wt_job_folder_begin(f, &record.generation, &err), 0);
	assert_true(has(generation_name(record.generation)));
	if (wt_job_folder_commit(f, &record, &err))
		fail_msg("%s", wt_error_text(&err));
	return record.generation;
}

static void test_commit(void **state)
{
	struct wt_error err = { 0 };
	struct wt_job_folder f;
	uint64_t first, second, half;

	assert_int_equal(wt_job_folder_look(&f, folder, &err), -ENOENT);
	open_folder(&f);
	assert_false(f.there);
	first = save(&f, "weather");
	wt_job_folder_close(&f);

	wt_error_clear(&err);
	assert_int_equal(wt_job_folder_look(&f, folder, &err), 0);
	assert_true(f.there);
	assert_string_equal(f.record.job, "weather");
	assert_string_equal(f.record.note, "4 ranks, over verbs");
	assert_true(f.record.generation == first);
	assert_int_equal(f.record.count, 2);
	assert_int_equal(wt_job_folder_guest(&f, "vm0")->written_bytes, 7);
	assert_true(wt_job_folder_guest(&f, "vm0")->downtime_ms > 1.4);
	assert_true(wt_job_folder_guest(&f, "vm1")->downtime_ms < 0);
	assert_null(wt_job_folder_guest(&f, "vm2"));

	open_folder(&f);
	write_file("mine", "x", 1);
	assert_int_equal(wt_job_folder_begin(&f, &half, &err), 0); /* and it never comes to its end */
	assert_true(has(generation_name(half)) && has(generation_name(first)));
	second = save(&f, "weather");
	assert_true(has(generation_name(second)) && has("mine"));
	assert_false(has(generation_name(first)) || has(generation_name(half)));
	assert_int_equal(wt_job_folder_begin(&f, &half, &err), 0);
	wt_job_folder_abandon(&f, half);
	assert_false(has(generation_name(half)));
	wt_job_folder_close(&f);
}

static void test_one_at_a_time(void **state)
{
	struct wt_job_folder f, other;
	struct wt_error err = { 0 };

	open_folder(&f);
	assert_int_equal(wt_job_folder_look(&other, folder, &err), -EBUSY);
	assert_non_null(strstr(wt_error_text(&err), "another watari gang works in"));
	wt_error_clear(&err);
	assert_int_equal(wt_job_folder_open(&other, folder, true, &err), -EBUSY);
	wt_job_folder_close(&f);
	wt_error_clear(&err);
	assert_int_equal(wt_job_folder_look(&other, folder, &err), 0);
}

static void test_strangers(void **state)
{
	struct wt_gang_plan *plan = calloc(1, sizeof *plan);
	struct wt_error err = { 0 };
	struct wt_job_folder f;

	open_folder(&f);
	assert_int_equal(wt_job_folder_check_job(&f, "rain", &err), 0);
	assert_int_equal(wt_job_folder_check_plan(&f, plan, &err), -ENOENT);
	save(&f, "weather");
	wt_error_clear(&err);
	assert_int_equal(wt_job_folder_check_job(&f, "weather", &err), 0);
	assert_int_equal(wt_job_folder_check_job(&f, "rain", &err), -EEXIST);
	strcpy(plan->vms[0].name, "vm1");
	plan->count = 1;
	wt_error_clear(&err);
	assert_int_equal(wt_job_folder_check_plan(&f, plan, &err), -EINVAL);
	assert_non_null(strstr(wt_error_text(&err), "has 2 guests, and the plan has no place for vm0"));
	strcpy(plan->vms[1].name, "vm0");
	plan->count = 2;
	wt_error_clear(&err);
	assert_int_equal(wt_job_folder_check_plan(&f, plan, &err), 0);
	strcpy(plan->vms[2].name, "vm2");
	plan->count = 3;
	assert_int_equal(wt_job_folder_check_plan(&f, plan, &err), -EINVAL);
	assert_non_null(strstr(wt_error_text(&err), "has a guest vm2"));
	wt_job_folder_close(&f);

	write_file("index.json", "{}", 2);
	wt_error_clear(&err);
	assert_int_equal(wt_job_folder_open(&f, folder, true, &err), -EINVAL);
	free(plan);
}

/* A record that was cut off, or has another byte somewhere, is damaged or still means something of the same
 * shape; nothing is done beside. */
static void test_damage(void **state)
{
	struct wt_error err = { 0 };
	struct wt_job_folder f;
	char text[4096], path[128];
	size_t length, i;
	FILE *file;

	open_folder(&f);
	save(&f, "weather");
	wt_job_folder_close(&f);
	snprintf(path, sizeof path, "%s/job.json", folder);
	file = fopen(path, "r");
	assert_non_null(file);
	length = fread(text, 1, sizeof text, file);
	fclose(file);
	for (i = 0; i + 2 < length; i++) {
		write_file("job.json", text, i);
		wt_error_clear(&err);
		assert_int_equal(wt_job_folder_look(&f, folder, &err), -EBADMSG);
		assert_false(f.there);
	}
	for (i = 0; i < 8 * length; i++) {
		text[i / 8] ^= (char)(1 << i % 8);
		write_file("job.json", text, length);
		wt_error_clear(&err);
		if (wt_job_folder_look(&f, folder, &err) == 0)
			assert_true(f.there && f.record.count > 0 && f.record.count <= WT_GANG_VMS_MAX);
		else
			assert_int_equal(err.code, EBADMSG);
		text[i / 8] ^= (char)(1 << i % 8);
	}
}

/* The folder cannot be written any more: it holds what it held. */
static void test_lost(void **state)
{
	struct wt_job_record record = { .job = "weather", .count = 1, .guests = { { .name = "vm0" } } };
	struct wt_error err = { 0 };
	struct wt_job_folder f;
	uint64_t first;

	open_folder(&f);
	first = save(&f, "weather");
	assert_int_equal(wt_job_folder_begin(&f, &record.generation, &err), 0);
	write_file("job.json.tmp", "", 0);
	assert_int_equal(chmod(folder, 0700), 0);
	record.generation++; /* its directory is not there */
	assert_int_equal(wt_job_folder_commit(&f, &record, &err), -ENOENT);
	assert_true(f.record.generation == first);
	wt_job_folder_close(&f);
	wt_error_clear(&err);
	assert_int_equal(wt_job_folder_look(&f, folder, &err), 0);
	assert_true(f.record.generation == first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commit, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_one_at_a_time, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_strangers, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_damage, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_lost, make_root, remove_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
