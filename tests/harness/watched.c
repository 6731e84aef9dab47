/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * watched.c - preloaded into a program that runs in valgrind (valgrind.py).
 *
 *   1. Its clock is slower, WATARI_CLOCK_SLOWER times: who is emulated, perhaps on an emulated processor,
 *      must not be taken for a peer that is gone. What waits in the kernel wakes too early, looks at the
 *      clock, and waits again; only absolute timers are translated.
 *   2. What the kernel answers to RDMA's commands is said to valgrind, which knows nothing of them: answers
 *      go where pointers in the commands point (Debian's rdma-core is built without its own words to
 *      valgrind). Which attributes are answers is not known here: all that they point at counts as written.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_cm.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <valgrind/memcheck.h>

#define NS_PER_S 1000000000ll
#define TRUE(name) ((typeof(&(name)))dlsym(RTLD_NEXT, #name))

/* ---- the clock ---- */

static int64_t begin_ns, slower = 1;

static int64_t to_ns(const struct timespec *time)
{
	return time->tv_sec * NS_PER_S + time->tv_nsec;
}

static struct timespec from_ns(int64_t ns)
{
	return (struct timespec){ ns / NS_PER_S, ns % NS_PER_S };
}

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	static typeof(&clock_gettime) true_one;
	int r;

	if (!true_one)
		true_one = TRUE(clock_gettime);
	r = true_one(clock, ret_now);
	if (!r && clock == CLOCK_MONOTONIC && begin_ns)
		*ret_now = from_ns(begin_ns + (to_ns(ret_now) - begin_ns) / slower);
	return r;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *ret_before)
{
	struct itimerspec later = *at;

	if (flags & TFD_TIMER_ABSTIME && (at->it_value.tv_sec || at->it_value.tv_nsec))
		later.it_value = from_ns(begin_ns + (to_ns(&at->it_value) - begin_ns) * slower);
	return TRUE(timerfd_settime)(fd, flags, &later, ret_before);
}

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("WATARI_CLOCK_SLOWER");
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	slower = text && atoi(text) > 0 ? atoi(text) : 1;
	begin_ns = to_ns(&now);
}

/* ---- answers of the kernel ---- */

static void written(uint64_t at, size_t bytes)
{
	(void)VALGRIND_MAKE_MEM_DEFINED_IF_ADDRESSABLE((void *)(uintptr_t)at, bytes);
}

int ioctl(int fd, unsigned long request, ...)
{
	const struct ib_uverbs_ioctl_hdr *head;
	va_list args;
	void *arg;
	int r;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	r = TRUE(ioctl)(fd, request, arg);
	head = arg;
	for (unsigned i = 0; request == RDMA_VERBS_IOCTL && r >= 0 && i < head->num_attrs; i++)
		written(head->attrs[i].data, head->attrs[i].len);
	return r;
}

/* struct ib_uverbs_cmd_hdr and struct rdma_ucm_cmd_hdr are alike: a command, two lengths, and mostly first a
 * pointer. */
static void answered(const uint8_t *bytes, size_t length, int of_manager)
{
	struct ib_uverbs_cmd_hdr head;
	size_t at = sizeof head;
	uint64_t answer;

	memcpy(&head, bytes, sizeof head);
	if (of_manager && head.command == RDMA_USER_CM_CMD_CREATE_ID)
		at += offsetof(struct rdma_ucm_create_id, response);
	if (length < at + sizeof answer)
		return;
	memcpy(&answer, bytes + at, sizeof answer);
	if (of_manager)
		written(answer, head.out_words); /* which are bytes there */
	else if (head.command & IB_USER_VERBS_CMD_FLAG_EXTENDED)
		written(answer, head.out_words * 8ul);
	else
		written(answer, head.out_words * 4ul);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
	static typeof(&write) true_one;
	char link[32], path[64];
	struct stat file;
	ssize_t n, r;

	if (!true_one)
		true_one = TRUE(write);
	r = true_one(fd, bytes, length);
	if (r < 0 || length < sizeof(struct ib_uverbs_cmd_hdr) || fstat(fd, &file) || !S_ISCHR(file.st_mode))
		return r;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	if (strcmp(path, "/dev/infiniband/rdma_cm") == 0 || strncmp(path, "/dev/infiniband/uverbs", 22) == 0)
		answered(bytes, length, path[16] == 'r');
	return r;
}
