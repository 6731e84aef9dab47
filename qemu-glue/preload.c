/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * preload.c - libwatari-feed.so: preloaded into an unmodified QEMU (LD_PRELOAD), it leaves guest RAM out of
 * the migration stream that goes to a watari relay. docs/FEED.md tells the whole; skip_page.h is the
 * agreement.
 *
 * It owns a table of channels: sockets that connected to a relay's unix socket, found its offer beside it and
 * said hello. It replaces three functions: connect (which makes channels), sendmsg (with which QEMU 7.2 and
 * 10.0 write their streams, and which leaves bytes out on channels only) and close (which ends channels).
 *   1. A descriptor is a channel if the socket behind it is one (device and inode): descriptors that were
 *      closed and given out anew never are, duplicates are, while the descriptor that connected is open.
 *   2. A channel's slot goes FREE -> BUSY -> LIVE -> DEAD -> BUSY -> FREE; its fields change while it is BUSY
 *      only, and `users` keeps a DEAD one from being freed.
 *   3. What is left out on a channel has been granted before. Without credit a blocking sendmsg waits, as it
 *      would for a full socket; it looks for the end of the connection every WAIT_NS.
 *   4. Whatever fails while a channel is made leaves an ordinary socket, and errno as it was.
 *
 * Any thread, and any signal handler that may call the replaced functions: nothing is allocated or locked. A
 * forked child's copy of the table is its own; after vfork the child changes nothing (`owner`). It makes no
 * system call that QEMU's -sandbox forbids: open, fstat, mmap, munmap, futex, poll, fcntl, getpid, geteuid.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "skip_plan.h"

#define EXPORTED __attribute__((visibility("default")))
#define WAIT_NS 50000000

enum slot_state {
	SLOT_FREE,
	SLOT_BUSY,
	SLOT_LIVE,
	SLOT_DEAD, /* closed; the last user frees it */
};

static struct slot {
	_Atomic uint32_t state, users;
	int fd; /* that connected */
	pid_t owner;
	dev_t device;
	ino_t inode;
	struct skip_page *page;
	struct skip_channel *channel;
	struct skip_ranges ranges;
} slots[SKIP_CHANNELS_MAX];

static _Atomic uint32_t slots_used; /* not FREE */
static _Atomic uint32_t slots_seen; /* no slot from here on was ever used */

static int (*real_connect)(int fd, const struct sockaddr *address, socklen_t length);
static ssize_t (*real_sendmsg)(int fd, const struct msghdr *message, int flags);
static int (*real_close)(int fd);

/* Before any thread; again if another constructor calls us earlier. */
__attribute__((constructor)) static void find_real(void)
{
	if (real_close)
		return;
	*(void **)&real_connect = dlsym(RTLD_NEXT, "connect");
	*(void **)&real_sendmsg = dlsym(RTLD_NEXT, "sendmsg");
	*(void **)&real_close = dlsym(RTLD_NEXT, "close");
}

/* ---- the table ---- */

static void slot_free(struct slot *slot)
{
	munmap(slot->page, sizeof *slot->page);
	atomic_store(&slot->state, SLOT_FREE);
	atomic_fetch_sub(&slots_used, 1);
}

/* DEAD -> BUSY; false: somebody else does it, or did. */
static bool slot_seize(struct slot *slot)
{
	uint32_t dead = SLOT_DEAD;

	return atomic_compare_exchange_strong(&slot->state, &dead, SLOT_BUSY);
}

/* Whoever comes between seizing and looking is seen, and sees that it is not DEAD; so it is looked at again.
 */
static void slot_leave(struct slot *slot)
{
	uint32_t left = atomic_fetch_sub(&slot->users, 1) - 1;

	while (!left && slot_seize(slot)) {
		left = atomic_load(&slot->users);
		if (!left) {
			slot_free(slot);
			return;
		}
		atomic_store(&slot->state, SLOT_DEAD);
		left = atomic_load(&slot->users);
	}
}

/* The live channel of a descriptor, entered; NULL: none. */
static struct slot *slot_find(int fd)
{
	const uint32_t seen = atomic_load(&slots_seen);
	struct stat at;

	if (!atomic_load(&slots_used) || fstat(fd, &at))
		return NULL;
	for (uint32_t i = 0; i < seen; i++) {
		struct slot *slot = &slots[i];

		atomic_fetch_add(&slot->users, 1);
		if (atomic_load(&slot->state) == SLOT_LIVE && slot->inode == at.st_ino &&
			slot->device == at.st_dev)
			return slot;
		slot_leave(slot);
	}
	return NULL;
}

/* A BUSY slot; NULL: there are too many. */
static struct slot *slot_take(void)
{
	for (uint32_t i = 0; i < SKIP_CHANNELS_MAX; i++) {
		uint32_t state = SLOT_FREE, seen;

		if (!atomic_compare_exchange_strong(&slots[i].state, &state, SLOT_BUSY))
			continue;
		for (seen = atomic_load(&slots_seen);
			seen <= i && !atomic_compare_exchange_weak(&slots_seen, &seen, i + 1);)
			;
		atomic_fetch_add(&slots_used, 1);
		return &slots[i];
	}
	return NULL;
}

/* The descriptor is closed: it is no channel from now on. */
static void slot_close(int fd)
{
	const uint32_t seen = atomic_load(&slots_seen);

	for (uint32_t i = 0; i < seen; i++) {
		struct slot *slot = &slots[i];
		uint32_t live = SLOT_LIVE;

		atomic_fetch_add(&slot->users, 1);
		if (atomic_load(&slot->state) == SLOT_LIVE && slot->fd == fd && slot->owner == getpid())
			atomic_compare_exchange_strong(&slot->state, &live, SLOT_DEAD);
		slot_leave(slot);
	}
}

/* ---- connecting ---- */

static bool fits(const struct skip_page *page)
{
	uint64_t end = 0;

	if (memcmp(page->magic, skip_magic, sizeof skip_magic) != 0 || page->version != SKIP_VERSION ||
		page->range_count > SKIP_RANGES_MAX)
		return false;
	for (unsigned i = 0; i < page->range_count; i++) {
		const struct skip_range *r = &page->ranges[i];

		if (r->address < end || r->length > UINT64_MAX - r->address)
			return false;
		end = r->address + r->length;
	}
	return true;
}

/* Maps the offer that lies beside a relay's socket; NULL: there is none that we understand. */
static struct skip_page *offer_open(const struct sockaddr_un *address, size_t length)
{
	char path[sizeof address->sun_path + sizeof SKIP_SUFFIX];
	struct skip_page *page = MAP_FAILED;
	struct stat at;
	int fd;

	length = strnlen(address->sun_path, length);
	if (!length)
		return NULL;
	memcpy(path, address->sun_path, length);
	memcpy(path + length, SKIP_SUFFIX, sizeof SKIP_SUFFIX);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return NULL;
	if (!fstat(fd, &at) && S_ISREG(at.st_mode) && at.st_uid == geteuid() &&
		at.st_size == sizeof(struct skip_page))
		page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	real_close(fd);
	if (page == MAP_FAILED)
		return NULL;
	if (fits(page))
		return page;
	munmap(page, sizeof *page);
	return NULL;
}

static bool say_hello(int fd, uint32_t channel)
{
	struct skip_hello hello = { .version = SKIP_VERSION, .channel = channel };

	memcpy(hello.magic, skip_magic, sizeof hello.magic);
	return channel < SKIP_CHANNELS_MAX && send(fd, &hello, sizeof hello, MSG_NOSIGNAL) == sizeof hello;
}

/* It has connected: makes it a channel, if a relay offers that. */
static void channel_open(int fd, const struct sockaddr_un *address, size_t length)
{
	struct skip_page *page = offer_open(address, length);
	struct slot *slot = page ? slot_take() : NULL;
	struct stat at;
	uint32_t number;

	if (!slot) {
		if (page)
			munmap(page, sizeof *page);
		return;
	}
	slot->page = page;
	number = atomic_fetch_add(&page->taken, 1);
	if (fstat(fd, &at) || !say_hello(fd, number)) {
		slot_free(slot);
		return;
	}
	slot->fd = fd;
	slot->owner = getpid();
	slot->device = at.st_dev;
	slot->inode = at.st_ino;
	slot->channel = &page->channels[number];
	slot->ranges = (struct skip_ranges){ page->ranges, page->range_count };
	atomic_store(&slot->state, SLOT_LIVE);
}

EXPORTED int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length)
{
	const size_t head = offsetof(struct sockaddr_un, sun_path);
	const struct sockaddr_un *local = address.__sockaddr_un__;
	int r, before;

	find_real();
	r = real_connect(fd, address.__sockaddr__, length);
	if (r || length <= head || length > sizeof *local || local->sun_family != AF_UNIX)
		return r;
	before = errno;
	channel_open(fd, local, length - head);
	errno = before;
	return 0;
}

/* ---- writing ---- */

static uint64_t credit(const struct skip_channel *c)
{
	uint64_t granted = atomic_load(&c->granted), skipped = atomic_load(&c->skipped);

	return granted > skipped ? granted - skipped : 0;
}

static bool has_ended(int fd)
{
	struct pollfd poll_fd = { .fd = fd };

	return poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & (POLLHUP | POLLERR | POLLNVAL);
}

/* Until there may be credit: 0, or -1 as sendmsg would answer. */
static int wait_credit(struct slot *slot, int fd, int flags)
{
	struct skip_channel *c = slot->channel;
	const struct timespec most = { .tv_nsec = WAIT_NS };
	uint32_t bell = atomic_load(&c->bell);
	int mode;

	atomic_store(&c->waiting, 1);
	if (credit(c))
		return 0;
	mode = fcntl(fd, F_GETFL);
	if (flags & MSG_DONTWAIT || (mode >= 0 && mode & O_NONBLOCK)) {
		errno = EAGAIN;
		return -1;
	}
	if (!syscall(SYS_futex, &c->bell, FUTEX_WAIT, bell, &most, NULL, 0) || errno == EAGAIN)
		return 0;
	if (errno == EINTR)
		return -1;
	if (!has_ended(fd))
		return 0;
	errno = EPIPE;
	return -1;
}

/* Gives the relay a page to compare with its mapping, if it wants one. */
static void give_sample(struct skip_page *page, const uint8_t *bytes)
{
	uint32_t empty = SKIP_SAMPLE_EMPTY;

	if (!bytes || !atomic_compare_exchange_strong(&page->sample_state, &empty, SKIP_SAMPLE_FILLING))
		return;
	page->sample_address = (uint64_t)(uintptr_t)bytes;
	memcpy(page->sample, bytes, SKIP_PAGE_BYTES);
	atomic_store(&page->sample_state, SKIP_SAMPLE_FULL);
}

static ssize_t channel_send(struct slot *slot, int fd, const struct msghdr *message, int flags)
{
	struct skip_channel *c = slot->channel;
	struct msghdr rest = *message;
	struct skip_plan plan;
	size_t done, skipped;
	ssize_t sent = 0;

	if (flags & MSG_ZEROCOPY) {
		errno = EOPNOTSUPP;
		return -1;
	}
	for (;;) {
		skip_plan_make(slot->ranges, message->msg_iov, message->msg_iovlen, credit(c), &plan);
		if (plan.send_bytes + plan.skip_bytes)
			break;
		skip_plan_make(slot->ranges, message->msg_iov, message->msg_iovlen, 1, &plan);
		if (!plan.skip_bytes)
			return real_sendmsg(fd, message, flags); /* it is empty */
		if (wait_credit(slot, fd, flags))
			return -1;
	}
	atomic_fetch_add(&c->skipped, plan.skip_bytes);
	give_sample(slot->page, plan.page);
	if (plan.send_bytes) {
		rest.msg_iov = plan.send;
		rest.msg_iovlen = plan.send_count;
		sent = real_sendmsg(fd, &rest, flags);
	}
	done = skip_plan_done(slot->ranges, message->msg_iov, message->msg_iovlen, &plan,
		sent > 0 ? (size_t)sent : 0, &skipped);
	atomic_fetch_sub(&c->skipped, plan.skip_bytes - skipped);
	return done ? (ssize_t)done : sent;
}

EXPORTED ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct slot *slot;
	ssize_t r;

	find_real();
	slot = slot_find(fd);
	if (!slot)
		return real_sendmsg(fd, message, flags);
	r = channel_send(slot, fd, message, flags);
	slot_leave(slot);
	return r;
}

EXPORTED int close(int fd)
{
	find_real();
	if (atomic_load(&slots_used))
		slot_close(fd);
	return real_close(fd);
}
