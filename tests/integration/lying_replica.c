/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lying_replica.c - `watari replica` that gives other bytes than those that it has digested: the images that
 * it digests are right, and in what it lets be read every 40th page has one wrong byte. Linked with
 * --wrap=wt_replica_open; for replica.remote_lies.
 */
#include <errno.h>
#include <sys/mman.h>

#include "../../qemu-glue/command.h"
#include "../../qemu-glue/replica_file.h"

#define EVERY 40u

int __real_wt_replica_open(
	const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err);
int __wrap_wt_replica_open(
	const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err);

static int forge(struct wt_replica_block *block, struct wt_error *err)
{
	uint8_t *bytes =
		mmap(NULL, block->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, block->fd, 0);

	if (bytes == MAP_FAILED)
		return wt_error_set(err, errno, "no memory to lie with");
	for (uint64_t page = 0; page < block->length >> WT_PAGE_SHIFT; page += EVERY)
		bytes[(page << WT_PAGE_SHIFT) + 99] ^= 1;
	munmap((void *)block->base, block->length);
	block->base = bytes;
	return 0;
}

int __wrap_wt_replica_open(
	const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err)
{
	int r = __real_wt_replica_open(directory, vm, ret_replica, err);

	for (unsigned i = 0; !r && i < (*ret_replica)->index->count; i++)
		r = forge(&(*ret_replica)->blocks[i], err);
	return r;
}

int main(int argc, char **argv)
{
	return wt_command_replica(argc, argv);
}
