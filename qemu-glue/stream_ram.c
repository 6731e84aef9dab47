/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_ram.c - the inside of RAM's sections: the list of blocks, and the pages.
 *
 * Owns the block table of a reader. A word is 64 bits, big-endian: an offset in its block, multiple of the
 * page size, and flags in the low 12 bits.
 *   1. blocks[i].pages * page size, summed over the table, never exceeds total_bytes <= STREAM_RAM_BYTES_MAX.
 *   2. A reported page lies within its block.
 *   3. In the stripped stream the first page of a section names its block; a later one says CONTINUE exactly
 *      when it belongs to the block named last in that section. (In the input, CONTINUE may refer to a block
 *      named in an earlier section.)
 *   4. A part section without a page to keep leaves no byte in the stripped stream; an end section always
 *      does.
 * The start section is passed verbatim. Does not do: compressed or XBZRLE pages, multifd, postcopy, RDMA
 * hooks; each is refused by name.
 */
#include "stream_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	RAM_SAVE_FLAG_FULL = 0x01,
	RAM_SAVE_FLAG_ZERO = 0x02,
	RAM_SAVE_FLAG_MEM_SIZE = 0x04,
	RAM_SAVE_FLAG_PAGE = 0x08,
	RAM_SAVE_FLAG_EOS = 0x10,
	RAM_SAVE_FLAG_CONTINUE = 0x20,
	RAM_SAVE_FLAG_XBZRLE = 0x40,
	RAM_SAVE_FLAG_HOOK = 0x80,
	RAM_SAVE_FLAG_COMPRESS_PAGE = 0x100,
	RAM_SAVE_FLAG_MULTIFD_FLUSH = 0x200,
	RAM_SAVE_FLAGS = WT_PAGE_SIZE - 1,
};

/* The sentence for a word that is no page, no zero and no end. */
static int refuse_word(struct wt_stream *stream, uint64_t word)
{
	unsigned flags = word & RAM_SAVE_FLAGS;

	if (flags & RAM_SAVE_FLAG_MULTIFD_FLUSH)
		return wt_stream_refuse(stream, EOPNOTSUPP,
			"the source migrates with the capability multifd, which is not supported yet; turn it off");
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

static uint32_t find_block(const struct wt_stream *stream, const uint8_t *name, uint32_t length)
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
	if (find_block(stream, name, length) != STREAM_NO_BLOCK)
		return wt_stream_refuse(stream, EPROTO, "RAM block '%s' is listed twice", text);
	return 0;
}

static int ram_list(struct wt_stream *stream)
{
	const uint8_t *p = stream_at(stream);
	struct stream_block *block;
	uint32_t length;
	uint64_t bytes;
	int rc;

	if (stream_available(stream) < 1 || stream_available(stream) < 1u + p[0] + 8)
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
	block->in_place = false;
	rc = stream->events.block(
		stream->arg, stream->block_count, block->name, bytes, &block->in_place, &stream->failure);
	if (rc < 0)
		return rc;
	stream->block_count++;
	stream->listed_bytes += bytes;
	if (stream->listed_bytes == stream->total_bytes)
		stream->state = STREAM_RAM_LIST_TAIL;
	return wt_stream_take_pass(stream, 1 + length + 8);
}

static int ram_list_tail(struct wt_stream *stream)
{
	uint64_t word;

	if (stream_available(stream) < 8)
		return STREAM_MORE;
	word = stream_be64(stream_at(stream));
	if (word == RAM_SAVE_FLAG_HOOK || word == RAM_SAVE_FLAG_MULTIFD_FLUSH)
		return refuse_word(stream, word);
	if (word != RAM_SAVE_FLAG_EOS)
		return wt_stream_refuse(stream, EPROTO,
			"0x%" PRIx64 " follows the list of RAM blocks where it should end; "
			"if the source has x-ignore-shared or postcopy-ram on, turn it off",
			word);
	stream->state = STREAM_FOOTER;
	return wt_stream_take_pass(stream, 8);
}

int wt_stream_ram_begin(struct wt_stream *stream)
{
	uint8_t header[5] = { stream->section_type };
	uint32_t id = htobe32(stream->ram_section);

	if (stream->section_written)
		return 0;
	memcpy(header + 1, &id, sizeof id);
	stream->section_written = true;
	return stream->events.pass(stream->arg, header, sizeof header, &stream->failure);
}

/* Writes a page that stays in the stream: body is its content (4096 bytes), or the one byte of a zero page.
 */
static int keep_page(struct wt_stream *stream, uint64_t word, const uint8_t *body, size_t body_length)
{
	const struct stream_block *block = &stream->blocks[stream->block];
	uint8_t head[8 + 1 + WT_BLOCK_NAME_MAX];
	size_t length = 8;
	int rc;

	rc = wt_stream_ram_begin(stream);
	if (rc < 0)
		return rc;
	word &= ~(uint64_t)RAM_SAVE_FLAG_CONTINUE;
	if (stream->block == stream->block_written) {
		word |= RAM_SAVE_FLAG_CONTINUE;
	} else {
		head[length++] = (uint8_t)block->name_length;
		memcpy(head + length, block->name, block->name_length);
		length += block->name_length;
		stream->block_written = stream->block;
	}
	word = htobe64(word);
	memcpy(head, &word, sizeof word);
	rc = stream->events.pass(stream->arg, head, length, &stream->failure);
	if (rc < 0)
		return rc;
	return stream->events.pass(stream->arg, body, body_length, &stream->failure);
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
	const uint8_t *start = stream_at(stream), *end = stream->buffer + stream->fill, *p = start;
	int rc = 0;

	while (end - p >= 9) {
		uint64_t word = stream_be64(p), page = word >> WT_PAGE_SHIFT;
		unsigned flags = word & RAM_SAVE_FLAGS;

		if (page >= pages)
			break;
		if (flags == (RAM_SAVE_FLAG_PAGE | RAM_SAVE_FLAG_CONTINUE)) {
			if (end - p < 8 + (ptrdiff_t)WT_PAGE_SIZE)
				break;
			rc = stream->events.page(stream->arg, index, page, p + 8, &stream->failure);
			if (rc < 0)
				break;
			p += 8 + WT_PAGE_SIZE;
		} else if (flags == (RAM_SAVE_FLAG_ZERO | RAM_SAVE_FLAG_CONTINUE) && p[8] == 0) {
			rc = stream->events.zero(stream->arg, index, page, &stream->failure);
			if (rc < 0)
				break;
			p += 9;
		} else {
			break;
		}
	}
	stream_take(stream, (size_t)(p - start));
	if (rc < 0)
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
		index = find_block(stream, p + 9, p[8]);
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
	int rc;

	rc = page_block(stream, word, &index, &head);
	if (rc != STREAM_PROGRESS)
		return rc;
	if (stream_available(stream) < head + body)
		return STREAM_MORE;
	bytes = stream_at(stream) + head;
	if (zero && *bytes)
		return wt_stream_refuse(stream, EPROTO,
			"a page is filled with the byte 0x%02x; QEMU since 1.5 knows only zero pages",
			*bytes);
	stream->block = index;
	if (!stream->blocks[index].in_place)
		rc = keep_page(stream, word, bytes, body);
	else if (zero)
		rc = stream->events.zero(stream->arg, index, word >> WT_PAGE_SHIFT, &stream->failure);
	else
		rc = stream->events.page(stream->arg, index, word >> WT_PAGE_SHIFT, bytes, &stream->failure);
	if (rc < 0)
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
	if (word != RAM_SAVE_FLAG_EOS)
		return refuse_word(stream, word);
	if (stream->section_written) {
		rc = stream->events.pass(stream->arg, stream_at(stream), 8, &stream->failure);
		if (rc < 0)
			return rc;
	}
	stream_take(stream, 8);
	stream->state = STREAM_FOOTER;
	return STREAM_PROGRESS;
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
