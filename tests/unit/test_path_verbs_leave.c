/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_verbs_leave.c - a device that is being taken away is let go, and nothing else is: no file that
 * has got the number of a descriptor that librdmacm had, not even that of another device.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "path_verbs.h"

static struct ibv_device device, *list[2];
static int number;              /* the device's */
static struct stat file;        /* of the command descriptor */
static const char *events_link; /* of the other one */
static struct ibv_context context = { .device = &device };

int __wrap_ibv_get_device_index(struct ibv_device *of);
struct ibv_device **__wrap_ibv_get_device_list(int *ret_count);
void __wrap_ibv_free_device_list(struct ibv_device **devices);
int __wrap_fstat(int fd, struct stat *ret_stat);
int __real_fstat(int fd, struct stat *ret_stat);
ssize_t __wrap_readlink(const char *path, char *ret_target, size_t size);

int __wrap_ibv_get_device_index(struct ibv_device *of)
{
	return number;
}

struct ibv_device **__wrap_ibv_get_device_list(int *ret_count)
{
	return list;
}

void __wrap_ibv_free_device_list(struct ibv_device **devices)
{
}

int __wrap_fstat(int fd, struct stat *ret_stat)
{
	*ret_stat = file;
	return 0;
}

ssize_t __wrap_readlink(const char *path, char *ret_target, size_t size)
{
	memcpy(ret_target, events_link, strlen(events_link));
	return (ssize_t)strlen(events_link);
}

static bool let_go(int fd)
{
	struct stat st;

	assert_int_equal(__real_fstat(fd, &st), 0);
	return st.st_rdev == makedev(1, 3);
}

static void open_and_note(void)
{
	file = (struct stat){ .st_mode = S_IFCHR, .st_rdev = 77, .st_dev = 5, .st_ino = 1000 };
	events_link = "anon_inode:[infinibandevent]";
	context.cmd_fd = open("/dev/zero", O_RDWR);
	context.async_fd = open("/dev/zero", O_RDWR);
	assert_true(context.cmd_fd >= 0 && context.async_fd >= 0);
	list[0] = &device;
	wt_verbs_note(&context);
}

static void expect_let_go(bool expected)
{
	wt_verbs_let_go();
	assert_int_equal(let_go(context.cmd_fd), expected);
	assert_int_equal(let_go(context.async_fd), expected);
	close(context.cmd_fd);
	close(context.async_fd);
}

static void test_taken_away(void **state)
{
	for (number = 0; number < 2; number++) {
		open_and_note();
		wt_verbs_let_go();
		assert_false(let_go(context.cmd_fd)); /* it is still there */
		list[0] = NULL;
		expect_let_go(true);
	}
}

static void test_another_file(void **state)
{
	static const struct stat others[] = {
		{ .st_mode = S_IFCHR, .st_rdev = 77, .st_dev = 5, .st_ino = 1001 }, /* the next device's */
		{ .st_mode = S_IFCHR, .st_rdev = 77, .st_dev = 6, .st_ino = 1000 },
		{ .st_mode = S_IFCHR, .st_rdev = 78, .st_dev = 5, .st_ino = 1000 },
		{ .st_mode = S_IFREG, .st_rdev = 77, .st_dev = 5, .st_ino = 1000 },
	};

	for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++) {
		open_and_note();
		list[0] = NULL;
		file = others[i];
		expect_let_go(false);
	}
	open_and_note();
	list[0] = NULL;
	events_link = "socket:[4711]";
	expect_let_go(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken_away),
		cmocka_unit_test(test_another_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
