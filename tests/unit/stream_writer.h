/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_writer.h - writes migration streams by hand, as QEMU would or would not, for the reader's tests.
 */
#ifndef WATARI_TESTS_STREAM_WRITER_H
#define WATARI_TESTS_STREAM_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <watari/block.h>

enum {
	SW_START = 1,
	SW_PART = 2,
	SW_END = 3,
	SW_FULL = 4,
};

enum {
	SW_ZERO = 0x02,
	SW_MEM_SIZE = 0x04,
	SW_PAGE = 0x08,
	SW_EOS = 0x10,
	SW_CONTINUE = 0x20,
};

struct stream_writer {
	uint8_t *data;
	size_t length;
	size_t room;
	bool absent;    /* pages of pc.ram have no bytes (docs/FEED.md) */
	bool in_absent; /* the block that CONTINUE refers to is pc.ram */
};

static inline void sw_free(struct stream_writer *w)
{
	free(w->data);
	memset(w, 0, sizeof *w);
}

static inline void sw_bytes(struct stream_writer *w, const void *bytes, size_t length)
{
	if (length == 0)
		return;
	if (w->room - w->length < length) {
		w->room = 2 * (w->length + length);
		w->data = realloc(w->data, w->room);
		if (!w->data)
			abort();
	}
	memcpy(w->data + w->length, bytes, length);
	w->length += length;
}

static inline void sw_be(struct stream_writer *w, uint64_t value, unsigned bytes)
{
	uint8_t byte;

	while (bytes-- > 0) {
		byte = (uint8_t)(value >> (8 * bytes));
		sw_bytes(w, &byte, 1);
	}
}

/* u8 length and text */
static inline void sw_name(struct stream_writer *w, const char *name)
{
	sw_be(w, strlen(name), 1);
	sw_bytes(w, name, strlen(name));
}

static inline void sw_header(struct stream_writer *w)
{
	sw_bytes(w, "QEVM", 4);
	sw_be(w, 3, 4);
}

static inline void sw_config(struct stream_writer *w, const char *machine)
{
	sw_be(w, 7, 1);
	sw_be(w, strlen(machine), 4);
	sw_bytes(w, machine, strlen(machine));
}

static inline void sw_subsection(struct stream_writer *w, const char *name)
{
	sw_be(w, 5, 1);
	sw_name(w, name);
	sw_be(w, 1, 4);
}

static inline void sw_command(struct stream_writer *w, unsigned command, const void *bytes, size_t length)
{
	sw_be(w, 8, 1);
	sw_be(w, command, 2);
	sw_be(w, length, 2);
	sw_bytes(w, bytes, length);
}

static inline void sw_section(
	struct stream_writer *w, unsigned type, unsigned id, const char *name, unsigned version)
{
	sw_be(w, type, 1);
	sw_be(w, id, 4);
	if (type == SW_START || type == SW_FULL) {
		sw_name(w, name);
		sw_be(w, 0, 4);
		sw_be(w, version, 4);
	}
}

static inline void sw_footer(struct stream_writer *w, unsigned id)
{
	sw_be(w, 0x7e, 1);
	sw_be(w, id, 4);
}

static inline void sw_word(struct stream_writer *w, uint64_t page, unsigned flags)
{
	sw_be(w, page << WT_PAGE_SHIFT | flags, 8);
}

static inline void sw_block(struct stream_writer *w, const char *name, uint64_t length)
{
	sw_name(w, name);
	sw_be(w, length, 8);
}

static inline void sw_page_name(struct stream_writer *w, const char *block)
{
	sw_name(w, block);
	w->in_absent = !strcmp(block, "pc.ram");
}

/* A page filled with the byte `fill` (its first byte tells it apart); block NULL: CONTINUE. */
static inline void sw_page(struct stream_writer *w, const char *block, uint64_t page, uint8_t fill)
{
	uint8_t bytes[WT_PAGE_SIZE];

	sw_word(w, page, SW_PAGE | (block ? 0 : SW_CONTINUE));
	if (block)
		sw_page_name(w, block);
	if (w->absent && w->in_absent)
		return;
	memset(bytes, fill, sizeof bytes);
	sw_bytes(w, bytes, sizeof bytes);
}

static inline void sw_zero(struct stream_writer *w, const char *block, uint64_t page)
{
	sw_word(w, page, SW_ZERO | (block ? 0 : SW_CONTINUE));
	if (block)
		sw_page_name(w, block);
	sw_be(w, 0, 1);
}

#define SW_RAM_ID 2u

static inline void sw_eos(struct stream_writer *w)
{
	sw_word(w, 0, SW_EOS);
	sw_footer(w, SW_RAM_ID);
}

/* RAM's start section with three blocks of 16, 4 and 2 pages. The tests take only pc.ram for in place. */
static inline void sw_ram_start(struct stream_writer *w)
{
	sw_section(w, SW_START, SW_RAM_ID, "ram", 4);
	sw_word(w, 22, SW_MEM_SIZE);
	sw_block(w, "pc.ram", 16 * WT_PAGE_SIZE);
	sw_block(w, "vga.vram", 4 * WT_PAGE_SIZE);
	sw_block(w, "/rom@etc/acpi/tables", 2 * WT_PAGE_SIZE);
	sw_eos(w);
}

/* What QEMU sends first: header, configuration, return path, ping 1, RAM's start. */
static inline void sw_prologue(struct stream_writer *w)
{
	sw_header(w);
	sw_config(w, "pc-q35-7.2");
	sw_command(w, 1, NULL, 0);
	sw_command(w, 2, "\0\0\0\1", 4);
	sw_ram_start(w);
}

/* A whole stream with everything in it; what must be left of it goes to *expected, unless it is NULL. */
static inline void sw_full_stream(struct stream_writer *w, struct stream_writer *expected)
{
	static const char tail[] = "\4device state of unknown length\6description\0";
	struct stream_writer scratch = { 0 }, *e = expected ? expected : &scratch;

	sw_prologue(w);
	sw_header(e);
	sw_config(e, "pc-q35-7.2");
	sw_ram_start(e);

	/* In-place pages only: the part vanishes. */
	sw_section(w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(w, "pc.ram", 0, 0x11);
	sw_page(w, NULL, 15, 0x12);
	sw_zero(w, NULL, 3);
	sw_eos(w);

	/* An empty part. */
	sw_section(w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_eos(w);

	/* Mixed; begins with CONTINUE, which refers to the part before. */
	sw_section(w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(w, NULL, 4, 0x21);
	sw_page(w, "vga.vram", 1, 0x22);
	sw_zero(w, NULL, 2);
	sw_zero(w, "pc.ram", 0);
	sw_page(w, "vga.vram", 3, 0x23);
	sw_page(w, "/rom@etc/acpi/tables", 0, 0x24);
	sw_eos(w);
	sw_section(e, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(e, "vga.vram", 1, 0x22);
	sw_zero(e, NULL, 2);
	sw_page(e, NULL, 3, 0x23);
	sw_page(e, "/rom@etc/acpi/tables", 0, 0x24);
	sw_eos(e);

	/* CONTINUE of a block that stays: must be named anew. */
	sw_section(w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(w, NULL, 1, 0x31);
	sw_page(w, "pc.ram", 1, 0x32);
	sw_eos(w);
	sw_section(e, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(e, "/rom@etc/acpi/tables", 1, 0x31);
	sw_eos(e);

	sw_command(w, 11, NULL, 0);
	sw_command(e, 11, NULL, 0);
	sw_section(w, SW_END, SW_RAM_ID, NULL, 0);
	sw_page(w, NULL, 2, 0x41);
	sw_eos(w);
	sw_section(e, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(e);
	sw_bytes(w, tail, sizeof tail);
	sw_bytes(e, tail, sizeof tail);
	sw_free(&scratch);
}

#endif
