/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_stream_seeds.c - writes the seed corpus of fuzz_stream: `fuzz_stream_seeds DIRECTORY`.
 *
 * A seed is a byte that chooses the cut and the blocks in place, then a stream. Streams are the one with
 * everything in it, its beginnings, and one with each kind of configuration.
 */
#include <stdio.h>

#include "stream_writer.h"

static int write_seed(const char *directory, const char *name, uint8_t choice, const struct stream_writer *w)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s-%02x", directory, name, choice);
	file = fopen(path, "wb");
	if (!file) {
		perror(path);
		return -1;
	}
	fputc(choice, file);
	fwrite(w->data, 1, w->length, file);
	return fclose(file);
}

static void write_config(struct stream_writer *w)
{
	sw_header(w);
	sw_config(w, "pc-q35-10.0");
	sw_subsection(w, "configuration/target-page-bits");
	sw_be(w, 12, 4);
	sw_subsection(w, "configuration/x-uuid");
	sw_bytes(w, "0123456789abcdef", 16);
	sw_subsection(w, "configuration/capabilities");
	sw_be(w, 1, 4);
	sw_name(w, "x-ignore-shared");
}

int main(int argc, char **argv)
{
	static const uint8_t choices[] = { 0x00, 0x05, 0x42, 0xff };
	struct stream_writer full = { 0 }, prologue = { 0 }, config = { 0 }, zeros = { 0 };
	unsigned i;
	int rc = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	sw_full_stream(&full, NULL);
	sw_prologue(&prologue);
	write_config(&config);
	sw_prologue(&zeros);
	sw_section(&zeros, SW_PART, SW_RAM_ID, NULL, 0);
	sw_zero(&zeros, "pc.ram", 1);
	sw_zero(&zeros, NULL, 2);
	sw_zero(&zeros, "vga.vram", 3);
	sw_eos(&zeros);
	sw_section(&zeros, SW_END, SW_RAM_ID, NULL, 0);
	sw_zero(&zeros, NULL, 2);
	sw_eos(&zeros);
	for (i = 0; i < sizeof choices && rc == 0; i++) {
		rc |= write_seed(argv[1], "full", choices[i], &full);
		rc |= write_seed(argv[1], "prologue", choices[i], &prologue);
		rc |= write_seed(argv[1], "config", choices[i], &config);
		rc |= write_seed(argv[1], "zeros", choices[i], &zeros);
	}
	sw_free(&full);
	sw_free(&prologue);
	sw_free(&config);
	sw_free(&zeros);
	return rc ? 1 : 0;
}
