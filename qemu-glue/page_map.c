/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page_map.c - see page_map.h.
 *
 *   1. A map that is written has all its room on disk before a byte of it is touched: a full disk is an error
 * here, and no signal later.
 *   2. A map that is read has been compared with its digest as a whole; what it says is still looked at by
 * whoever uses it, since a digest is no proof against forgers.
 *
 * Whoever has a map may write its entries, each page's by one thread. A file that somebody else cuts short
 * while it is mapped means SIGBUS.
 */
#include "page_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>
#if __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> /* the same digests, with the widest registers that the processor has */
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "entries are in files as they are in memory");

static void put_digest(XXH128_hash_t hash, uint8_t ret_digest[WT_PAGE_DIGEST_BYTES])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, hash);
	memcpy(ret_digest, canonical.digest, WT_PAGE_DIGEST_BYTES);
}

void wt_page_digest(const void *page, uint64_t seed, uint8_t ret_digest[WT_PAGE_DIGEST_BYTES])
{
	put_digest(XXH3_128bits_withSeed(page, WT_PAGE_SIZE, seed), ret_digest);
}

void wt_bytes_digest(const void *bytes, size_t length, uint8_t ret_digest[WT_PAGE_DIGEST_BYTES])
{
	put_digest(XXH3_128bits(bytes, length), ret_digest);
}

static size_t file_length(uint64_t pages)
{
	return WT_PAGE_MAP_HEADER + (size_t)pages * sizeof(struct wt_page_entry);
}

/* False: errno says why not. fd -1: memory. */
static bool map_file(int fd, uint64_t pages, int protection, struct wt_page_map *ret_map)
{
	size_t length = file_length(pages);
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *file = mmap(NULL, length, protection, flags, fd, 0);

	if (file == MAP_FAILED)
		return false;
	*ret_map = (struct wt_page_map){ .file = file,
		.length = length,
		.fd = -1,
		.entries = (struct wt_page_entry *)((uint8_t *)file + WT_PAGE_MAP_HEADER),
		.pages = pages };
	return true;
}

/* Of a file whose file system has no shared mappings that can be written. */
static bool map_apart(int fd, uint64_t pages, struct wt_page_map *ret_map)
{
	int own = errno == EINVAL || errno == ENODEV ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;

	if (own < 0)
		return false;
	if (map_file(-1, pages, PROT_READ | PROT_WRITE, ret_map)) {
		ret_map->fd = own;
		return true;
	}
	close(own);
	return false;
}

int wt_page_map_create(
	int fd, uint64_t pages, uint64_t generation, struct wt_page_map *ret_map, struct wt_error *err)
{
	struct wt_page_map_header header = { .pages = pages, .generation = generation };
	int r = posix_fallocate(fd, 0, (off_t)file_length(pages));

	if (!r && !map_file(fd, pages, PROT_READ | PROT_WRITE, ret_map) && !map_apart(fd, pages, ret_map))
		r = errno;
	if (r)
		return wt_error_set(err, r, "cannot make the map of %llu pages: %s",
			(unsigned long long)pages, strerror(r));
	memcpy(header.magic, WT_PAGE_MAP_MAGIC, sizeof header.magic);
	memcpy(ret_map->file, &header, sizeof header);
	return 0;
}

/* False: errno says why not. */
static bool write_out(const struct wt_page_map *map)
{
	const uint8_t *bytes = map->file;

	for (size_t done = 0; done < map->length;) {
		ssize_t n = pwrite(map->fd, bytes + done, map->length - done, (off_t)done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return false;
	}
	return fdatasync(map->fd) == 0;
}

int wt_page_map_finish(
	struct wt_page_map *map, uint8_t ret_digest[WT_PAGE_DIGEST_BYTES], struct wt_error *err)
{
	if (map->fd < 0 ? msync(map->file, map->length, MS_SYNC) != 0 : !write_out(map))
		return wt_error_set(err, errno, "cannot bring the map of pages to disk: %s", strerror(errno));
	wt_bytes_digest(map->file, map->length, ret_digest);
	return 0;
}

static int check_header(const struct wt_page_map *map, const char *path, uint64_t generation,
	const uint8_t digest[WT_PAGE_DIGEST_BYTES], struct wt_error *err)
{
	const struct wt_page_map_header *header = map->file;
	uint8_t here[WT_PAGE_DIGEST_BYTES];

	if (memcmp(header->magic, WT_PAGE_MAP_MAGIC, sizeof header->magic) != 0 ||
		header->pages != map->pages || header->generation != generation)
		return wt_error_set(err, EBADMSG,
			"%s is not the map of this block and checkpoint: it is damaged, or was exchanged",
			path);
	wt_bytes_digest(map->file, map->length, here);
	if (memcmp(here, digest, sizeof here) != 0)
		return wt_error_set(
			err, EBADMSG, "%s is damaged: its digest is not the one in the index", path);
	return 0;
}

int wt_page_map_open(int fd, const char *path, uint64_t pages, uint64_t generation,
	const uint8_t digest[WT_PAGE_DIGEST_BYTES], struct wt_page_map *ret_map, struct wt_error *err)
{
	struct wt_page_map map = { 0 };
	struct stat st;
	int r;

	if (fstat(fd, &st))
		return wt_error_set(err, errno, "cannot look at %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != file_length(pages))
		return wt_error_set(err, EBADMSG,
			"%s has %lld bytes, and the map of this block has %zu; it is cut short, or was changed",
			path, (long long)st.st_size, file_length(pages));
	if (!map_file(fd, pages, PROT_READ, &map))
		return wt_error_set(err, errno, "cannot map %s: %s", path, strerror(errno));
	r = check_header(&map, path, generation, digest, err);
	if (r) {
		wt_page_map_close(&map);
		return r;
	}
	*ret_map = map;
	return 0;
}

void wt_page_map_close(struct wt_page_map *map)
{
	if (map->file && map->fd >= 0)
		close(map->fd);
	if (map->file)
		munmap(map->file, map->length);
	*map = (struct wt_page_map){ 0 };
}
