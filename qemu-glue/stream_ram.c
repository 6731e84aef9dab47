/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_ram.c - the inside of RAM's sections: the list of blocks, and the pages.
 *
 * Owns the block table of a reader. A word is 64 bits, big-endian: an offset in its block, multiple of the
 * page size, and flags in the low 12 bits.
 *   1. blocks[i].pages * page size, summed over the table, never exceeds total_bytes <= STREAM_RAM_BYTES_MAX.
 *   2. A reported page lies within its block.
 *   3. In the input, CONTINUE may refer to a block named in an earlier section.
 *   4. A word MULTIFD_FLUSH never stays: the stripped stream has one channel.
 * The start section is passed verbatim, but for that; of part and end sections nothing is (stream_part.c).
 * Does not do: compressed or XBZRLE pages, postcopy, RDMA hooks; each is refused by name.
 */
#include "stream_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The sentence for a word that is no page, no zero and no end. */
static int refuse_word(struct wt_stream *stream, uint64_t word)
{
	unsigned flags = word & RAM_SAVE_FLAGS;

	if (flags & RAM_SAVE_FLAG_MULTIFD_FLUSH)
		return wt_stream_refuse(stream, EPROTO,
			"the source migrates with the capability multifd, but no channel of it has come; give it a unix "
			"socket (watari relay), or turn multifd off");
	if (flags & RAM_SAVE_FLAG_XBZRLE)
		return wt_stream_refuse(stream, EOPNOTSUPP,
			"a page is XBZRLE-encoded; turn the capability xbzrle off at the source");
	if (flags & RAM_SAVE_FLAG_COMPRESS_PAGE)
		return wt_stream_refuse(stream, EOPNOTSUPP,
			"a page is compressed; turn the capability compress off at the source");
	if (flags & RAM_SAVE_FLAG_HOOK)
		return wt_stream_refuse(stream, EOPNOTSUPP,
			"RAM carries the marks of QEMU's own RDMA migration; migrate to a socket or exec: URI");
	if (flags & RAM_SAVE_FLAG_MEM_SIZE)
		return wt_stream_refuse(stream, EPROTO, "RAM's blocks are listed a second time");
	return wt_stream_refuse(stream, EPROTO,
		"0x%" PRIx64 " is no word of a RAM section: flags 0x%x mean nothing here", word, flags);
}

static int ram_total(struct wt_stream *stream)
{
	uint64_t word;

	if (stream_available(stream) < 8)
		return STREAM_MORE;
	word = stream_be64(stream_at(stream));
	if ((word & RAM_SAVE_FLAGS) != RAM_SAVE_FLAG_MEM_SIZE)
		return wt_stream_refuse(stream, EPROTO,
			"RAM's start section begins with 0x%" PRIx64 " where its size (flag 0x4) belongs",
			word);
	stream->total_bytes = word - RAM_SAVE_FLAG_MEM_SIZE;
	if (stream->total_bytes == 0 || stream->total_bytes > STREAM_RAM_BYTES_MAX)
		return wt_stream_refuse(stream, EPROTO,
			"the guest's RAM is said to have %" PRIu64 " bytes; 1 to %llu are accepted",
			stream->total_bytes, STREAM_RAM_BYTES_MAX);
	stream->state = STREAM_RAM_LIST;
	return wt_stream_take_pass(stream, 8);
}

uint32_t wt_stream_find_block(const struct wt_stream *stream, const uint8_t *name, uint32_t length)
{
	uint32_t i, index = stream->block == STREAM_NO_BLOCK ? 0 : stream->block;

	/* From the current block on: the walk over RAM goes in the list's order. */
	for (i = 0; i < stream->block_count; i++) {
		const struct stream_block *block = &stream->blocks[index];

		if (block->name_length == length && !memcmp(block->name, name, length))
			return index;
		if (++index == stream->block_count)
			index = 0;
	}
	return STREAM_NO_BLOCK;
}

/* Is name printable ASCII? QEMU's id strings are; they end up in messages and in C strings. */
static bool is_name(const uint8_t *name, uint32_t length)
{
	uint32_t i;

	for (i = 0; i < length; i++)
		if (name[i] < 0x20 || name[i] >= 0x7f)
			return false;
	return length > 0;
}

static int check_listed(struct wt_stream *stream, const uint8_t *name, uint32_t length, uint64_t bytes)
{
	static const char hint[] = "if the source has x-ignore-shared or postcopy-ram on, turn it off";
	char text[WT_BLOCK_NAME_MAX + 1];

	wt_stream_printable(name, length, text);
	if (!is_name(name, length))
		return wt_stream_refuse(stream, EPROTO,
			"the list of RAM blocks makes no sense (a name of %u bytes, '%s'); %s", length, text,
			hint);
	if (bytes == 0 || bytes % WT_PAGE_SIZE)
		return wt_stream_refuse(stream, EPROTO,
			"RAM block '%s' has %" PRIu64 " bytes, no multiple of the page size %u; %s", text,
			bytes, WT_PAGE_SIZE, hint);
	if (bytes > stream->total_bytes - stream->listed_bytes)
		return wt_stream_refuse(stream, EPROTO,
			"RAM block '%s' has %" PRIu64 " bytes, but only %" PRIu64 " of %" PRIu64
			" bytes of RAM are left to list; %s",
			text, bytes, stream->total_bytes - stream->listed_bytes, stream->total_bytes, hint);
	if (stream->block_count == WT_BLOCKS_MAX)
		return wt_stream_refuse(
			stream, EPROTO, "the guest has more than %u RAM blocks", WT_BLOCKS_MAX);
	if (wt_stream_find_block(stream, name, length) != STREAM_NO_BLOCK)
		return wt_stream_refuse(stream, EPROTO, "RAM block '%s' is listed twice", text);
	return 0;
}

static int ram_list(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);
	const uint32_t tail = stream->addresses ? 16 : 8;
	struct stream_block *block;
	uint32_t length;
	uint64_t bytes;
	int rc;

	if (stream_available(stream) < 1 || stream_available(stream) < 1u + p[0] + tail)
		return STREAM_MORE;
	length = p[0];
	bytes = stream_be64(p + 1 + length);
	rc = check_listed(stream, p + 1, length, bytes);
	if (rc < 0)
		return rc;
	block = &stream->blocks[stream->block_count];
	memcpy(block->name, p + 1, length);
	block->name[length] = '\0';
	block->name_length = length;
	block->pages = bytes >> WT_PAGE_SHIFT;
	block->in_place = block->absent = false;
	rc = stream->events.block(
		stream->arg, stream->block_count, block->name, bytes, &block->in_place, &stream->failure);
	if (rc < 0)
		return rc;
	assert(block->in_place || !block->absent);
	stream->block_count++;
	stream->listed_bytes += bytes;
	if (stream->listed_bytes == stream->total_bytes)
		stream->state = STREAM_RAM_LIST_TAIL;
	rc = wt_stream_take_pass(stream, 1 + length + 8);
	if (rc < 0 || tail == 8)
		return rc;
	return wt_stream_take_shared(stream, 8);
}

/* All channels meet at a word MULTIFD_FLUSH, which does not stay. */
static int take_flush(struct wt_stream *stream, uint64_t word)
{
	int rc;

	if (!stream->channel_count || !stream->sync_at_flush)
		return refuse_word(stream, word);
	rc = wt_stream_sync(stream);
	if (rc == STREAM_PROGRESS)
		stream_take(stream, 8);
	return rc;
}

/* The end of a section: where all channels meet, if QEMU writes no word for that. */
static int end_section(struct wt_stream *stream)
{
	int rc = STREAM_PROGRESS;

	if (stream->channel_count && !stream->sync_at_flush)
		rc = wt_stream_sync(stream);
	if (rc != STREAM_PROGRESS)
		return rc;
	if (stream->section_type == QEMU_VM_SECTION_END && stream->kept.count)
		return wt_stream_refuse(stream, EPROTO,
			"RAM ends, but multifd has brought pages after its last synchronisation");
	rc = wt_stream_part_end(stream);
	if (rc >= 0 && stream->section_type != QEMU_VM_SECTION_PART)
		rc = wt_stream_pass_end(stream);
	if (rc < 0)
		return rc;
	stream_take(stream, 8);
	stream->state = STREAM_FOOTER;
	if (stream->section_type == QEMU_VM_SECTION_START)
		rc = stream->events.blocks_end(stream->arg, &stream->failure);
	return rc < 0 ? rc : STREAM_PROGRESS;
}

static int ram_list_tail(struct wt_stream *stream)
{
	uint64_t word;

	if (stream_available(stream) < 8)
		return STREAM_MORE;
	word = stream_be64(stream_at(stream));
	if (word == RAM_SAVE_FLAG_MULTIFD_FLUSH) {
		stream->sync_at_flush = true;
		return take_flush(stream, word);
	}
	if (word == RAM_SAVE_FLAG_HOOK)
		return refuse_word(stream, word);
	if (word != RAM_SAVE_FLAG_EOS)
		return wt_stream_refuse(stream, EPROTO,
			"0x%" PRIx64 " follows the list of RAM blocks where it should end; "
			"if the source has x-ignore-shared or postcopy-ram on, turn it off",
			word);
	return end_section(stream);
}

int wt_stream_report(struct wt_stream *stream, uint32_t block, uint64_t page, const uint8_t *bytes)
{
	int rc = bytes ? stream->events.page(stream->arg, block, page, bytes, &stream->failure)
		       : stream->events.zero(stream->arg, block, page, &stream->failure);

	return rc == -EAGAIN ? STREAM_OWNER : rc < 0 ? rc : STREAM_PROGRESS;
}

int wt_stream_report_absent(struct wt_stream *stream, struct stream_input *in, uint32_t block, uint64_t page)
{
	int rc = stream->events.page(stream->arg, block, page, NULL, &stream->failure);

	if (rc == 0)
		in->absent_bytes += WT_PAGE_SIZE;
	return rc == -EAGAIN ? STREAM_OWNER : rc < 0 ? rc : STREAM_PROGRESS;
}

/* A page with content that is in place, of which `bytes` follow the word. */
static int report_page(
	struct wt_stream *stream, uint32_t block, uint64_t page, const uint8_t *bytes, bool absent)
{
	return absent ? wt_stream_report_absent(stream, &stream->in, block, page)
		      : wt_stream_report(stream, block, page, bytes);
}

/*
 * The fast path: as many whole pages of the current, in-place block as the buffer holds. Stops without an
 * error at the first word that is anything else; ram_page then says what it is.
 */
static int take_run(struct wt_stream *stream)
{
	const struct stream_block *block = &stream->blocks[stream->block];
	const uint32_t index = stream->block;
	const uint64_t pages = block->pages;
	const bool absent = stream->in.absent && block->absent;
	const size_t body = absent ? 0 : WT_PAGE_SIZE;
	const uint8_t *start = stream_at(stream), *end = stream->in.buffer + stream->in.fill, *p = start;
	int rc = STREAM_PROGRESS;

	while (rc == STREAM_PROGRESS && end - p >= 9) {
		uint64_t word = stream_be64(p), page = word >> WT_PAGE_SHIFT;
		unsigned flags = word & RAM_SAVE_FLAGS;

		if (page >= pages)
			break;
		if (flags == (RAM_SAVE_FLAG_PAGE | RAM_SAVE_FLAG_CONTINUE)) {
			if (end - p < 8 + (ptrdiff_t)body)
				break;
			rc = report_page(stream, index, page, p + 8, absent);
			if (rc == STREAM_PROGRESS)
				p += 8 + body;
		} else if (flags == (RAM_SAVE_FLAG_ZERO | RAM_SAVE_FLAG_CONTINUE) && p[8] == 0) {
			rc = wt_stream_report(stream, index, page, NULL);
			if (rc == STREAM_PROGRESS)
				p += 9;
		} else {
			break;
		}
	}
	stream_take(stream, (size_t)(p - start));
	if (rc != STREAM_PROGRESS)
		return rc;
	return p > start ? STREAM_PROGRESS : STREAM_MORE;
}

/* Finds the block of a page word; *ret_length is then the length of word and name. */
static int page_block(struct wt_stream *stream, uint64_t word, uint32_t *ret_block, size_t *ret_length)
{
	const uint8_t *p = stream_at(stream);
	char text[WT_BLOCK_NAME_MAX + 1];
	uint32_t index = stream->block;
	size_t length = 8;

	if (!(word & RAM_SAVE_FLAG_CONTINUE)) {
		if (stream_available(stream) < 9 || stream_available(stream) < 9u + p[8])
			return STREAM_MORE;
		length = 9u + p[8];
		index = wt_stream_find_block(stream, p + 9, p[8]);
		if (index == STREAM_NO_BLOCK) {
			wt_stream_printable(p + 9, p[8], text);
			return wt_stream_refuse(
				stream, EPROTO, "a page is of RAM block '%s', which was not listed", text);
		}
	} else if (index == STREAM_NO_BLOCK) {
		return wt_stream_refuse(
			stream, EPROTO, "a page continues a RAM block, but none was named before");
	}
	if (word >> WT_PAGE_SHIFT >= stream->blocks[index].pages)
		return wt_stream_refuse(stream, EPROTO,
			"page %" PRIu64 " lies behind the end of RAM block '%s', which has %" PRIu64 " pages",
			word >> WT_PAGE_SHIFT, stream->blocks[index].name, stream->blocks[index].pages);
	*ret_block = index;
	*ret_length = length;
	return STREAM_PROGRESS;
}

/* Any page or zero word. */
static int ram_page(struct wt_stream *stream, uint64_t word)
{
	bool zero = word & RAM_SAVE_FLAG_ZERO;
	size_t head = 0, body = zero ? 1 : WT_PAGE_SIZE;
	uint32_t index = STREAM_NO_BLOCK;
	const uint8_t *bytes;
	bool absent;
	int rc;

	rc = page_block(stream, word, &index, &head);
	if (rc != STREAM_PROGRESS)
		return rc;
	absent = !zero && stream->in.absent && stream->blocks[index].absent;
	if (absent)
		body = 0;
	if (stream_available(stream) < head + body)
		return STREAM_MORE;
	bytes = stream_at(stream) + head;
	if (zero && *bytes)
		return wt_stream_refuse(stream, EPROTO,
			"a page is filled with the byte 0x%02x; QEMU since 1.5 knows only zero pages",
			*bytes);
	stream->block = index;
	if (zero)
		bytes = NULL;
	if (stream->blocks[index].in_place)
		rc = report_page(stream, index, word >> WT_PAGE_SHIFT, bytes, absent);
	else
		rc = wt_stream_keep_page(stream, index, word >> WT_PAGE_SHIFT, bytes);
	if (rc < 0 || rc == STREAM_OWNER)
		return rc;
	stream_take(stream, head + body);
	return STREAM_PROGRESS;
}

static int ram_pages(struct wt_stream *stream)
{
	uint64_t word;
	unsigned kind;
	int rc;

	if (stream->block != STREAM_NO_BLOCK && stream->blocks[stream->block].in_place) {
		rc = take_run(stream);
		if (rc != STREAM_MORE)
			return rc;
	}
	if (stream_available(stream) < 8)
		return STREAM_MORE;
	word = stream_be64(stream_at(stream));
	kind = word & RAM_SAVE_FLAGS & ~(unsigned)RAM_SAVE_FLAG_CONTINUE;
	if (kind == RAM_SAVE_FLAG_PAGE || kind == RAM_SAVE_FLAG_ZERO)
		return ram_page(stream, word);
	if (word == RAM_SAVE_FLAG_MULTIFD_FLUSH)
		return take_flush(stream, word);
	if (word != RAM_SAVE_FLAG_EOS)
		return refuse_word(stream, word);
	return end_section(stream);
}

int wt_stream_ram_step(struct wt_stream *stream)
{
	switch (stream->state) {
	case STREAM_RAM_TOTAL:
		return ram_total(stream);
	case STREAM_RAM_LIST:
		return ram_list(stream);
	case STREAM_RAM_LIST_TAIL:
		return ram_list_tail(stream);
	default:
		return ram_pages(stream);
	}
}
