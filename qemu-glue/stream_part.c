/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_part.c - RAM's part sections of the stripped stream: written, never copied from the input.
 *
 *   1. The first page of a section names its block; a later one says CONTINUE exactly when it belongs to the
 *      block named last in that section.
 *   2. A section has at least one page: it begins with the first, and a part of the input without a page that
 *      stays leaves no byte.
 *   3. Nothing is passed while a section is open: RAM's end section and commands lie between whole sections.
 * Pure, and without memory of its own.
 */
#include "stream_internal.h"

#include <errno.h>
#include <string.h>

/* Where sections are written to. */
struct writer {
	int (*write)(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err);
	void *arg;
	struct wt_error *err;
};

static struct writer of_reader(struct wt_stream *stream)
{
	return (struct writer){ stream->events.part, stream->arg, &stream->failure };
}

static int put(const struct writer *w, const void *bytes, size_t length)
{
	return w->write(w->arg, bytes, length, w->err);
}

static int put_header(const struct writer *w, uint8_t type, uint32_t section)
{
	uint8_t header[5] = { type };

	section = htobe32(section);
	memcpy(header + 1, &section, sizeof section);
	return put(w, header, sizeof header);
}

static int put_end(const struct writer *w, uint32_t section)
{
	uint64_t word = htobe64(RAM_SAVE_FLAG_EOS);
	int rc = put(w, &word, sizeof word);

	return rc < 0 ? rc : put_header(w, QEMU_VM_SECTION_FOOTER, section);
}

/* A page's word and its block's name, unless the page continues that block. */
static int put_word(const struct writer *w, struct stream_part *part, const struct wt_stream *stream,
	const struct wt_stream_page *page)
{
	const struct stream_block *block = &stream->blocks[page->block];
	uint64_t word = page->page << WT_PAGE_SHIFT | (page->bytes ? RAM_SAVE_FLAG_PAGE : RAM_SAVE_FLAG_ZERO);
	uint8_t head[8 + 1 + WT_BLOCK_NAME_MAX];
	size_t length = 8;

	if (page->block == part->block) {
		word |= RAM_SAVE_FLAG_CONTINUE;
	} else {
		head[length++] = (uint8_t)block->name_length;
		memcpy(head + length, block->name, block->name_length);
		length += block->name_length;
		part->block = page->block;
	}
	word = htobe64(word);
	memcpy(head, &word, sizeof word);
	return put(w, head, length);
}

static int put_page(const struct writer *w, struct stream_part *part, const struct wt_stream *stream,
	const struct wt_stream_page *page)
{
	static const uint8_t zero_fill;
	int rc = 0;

	if (!part->open) {
		*part = (struct stream_part){ .open = true, .block = STREAM_NO_BLOCK };
		rc = put_header(w, QEMU_VM_SECTION_PART, stream->ram_section);
	}
	if (rc >= 0)
		rc = put_word(w, part, stream, page);
	if (rc < 0)
		return rc;
	return page->bytes ? put(w, page->bytes, WT_PAGE_SIZE) : put(w, &zero_fill, 1);
}

int wt_stream_keep_page(struct wt_stream *stream, uint32_t block, uint64_t page, const uint8_t *bytes)
{
	const struct wt_stream_page what = { .block = block, .page = page, .bytes = bytes };
	const struct writer w = of_reader(stream);
	int rc = stream->events.kept(stream->arg, block, page, bytes, &stream->failure);

	return rc < 0 ? rc : put_page(&w, &stream->part, stream, &what);
}

int wt_stream_part_end(struct wt_stream *stream)
{
	const struct writer w = of_reader(stream);

	if (!stream->part.open)
		return 0;
	stream->part.open = false;
	return put_end(&w, stream->ram_section);
}

int wt_stream_pass_end(struct wt_stream *stream)
{
	const struct writer w = { stream->events.pass, stream->arg, &stream->failure };
	uint64_t word = htobe64(RAM_SAVE_FLAG_EOS);
	int rc;

	if (stream->section_type == QEMU_VM_SECTION_START)
		return put_end(&w, stream->ram_section);
	rc = put_header(&w, QEMU_VM_SECTION_END, stream->ram_section);
	return rc < 0 ? rc : put(&w, &word, sizeof word);
}

int wt_stream_break(struct wt_stream *stream, struct wt_error *err)
{
	int rc = stream->status ? stream->status : wt_stream_part_end(stream);

	return rc < 0 ? wt_stream_stop(stream, rc, err) : 0;
}

int wt_stream_part_section(const struct wt_stream *stream,
	bool (*next)(void *arg, struct wt_stream_page *ret_page), void *next_arg,
	int (*write)(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err), void *write_arg,
	struct wt_error *err)
{
	const struct writer w = { write, write_arg, err };
	struct stream_part part = { 0 };
	struct wt_stream_page page;
	int rc = 0;

	while (rc >= 0 && next(next_arg, &page))
		rc = put_page(&w, &part, stream, &page);
	if (rc >= 0 && part.open)
		rc = put_end(&w, stream->ram_section);
	return rc < 0 ? rc : 0;
}
