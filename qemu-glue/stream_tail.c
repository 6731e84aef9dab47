/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_tail.c - see stream_tail.h. Format: QEMU migration/savevm.c, versions 7.2 to 10.0.
 *
 *   1. The description is looked for from the end: its length must reach exactly to the end, and its text
 * must be the JSON object that QEMU writes (`page_size`, `devices`), so that device state does not pass for
 * it.
 */
#include "stream_tail.h"

#include <endian.h>
#include <jansson.h>
#include <string.h>

#define HEAD 6u /* EOF, the section's type, its length */
#define DESCRIPTION_MAX (16u << 20)

static bool is_description(const uint8_t *text, size_t length)
{
	json_t *value = json_loadb((const char *)text, length, 0, NULL);
	bool good = json_is_integer(json_object_get(value, "page_size")) &&
		    json_is_array(json_object_get(value, "devices"));

	json_decref(value);
	return good;
}

bool wt_stream_tail_complete(const uint8_t *bytes, size_t length)
{
	static const uint8_t head[2] = { 0x00, 0x06 };
	size_t at;

	if (length < HEAD + 2 || bytes[length - 1] != '}')
		return false;
	for (at = length - HEAD; at-- > 0 && length - at - HEAD <= DESCRIPTION_MAX;) {
		uint32_t size;

		if (bytes[at + HEAD] != '{' || memcmp(bytes + at, head, sizeof head) != 0)
			continue;
		memcpy(&size, bytes + at + sizeof head, sizeof size);
		if (be32toh(size) == length - at - HEAD &&
			is_description(bytes + at + HEAD, length - at - HEAD))
			return true;
	}
	return false;
}
