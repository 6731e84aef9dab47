/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * json_mutator.h - a libFuzzer mutator for texts of JSON: changes a value, a key, what is where. What is
 * changed byte by byte is hardly ever JSON again. A fuzzer that includes this names the words that its texts
 * know in `words`. The first byte of an input is the fuzzer's own. Of an input of lines, one line is changed.
 * What is no JSON, and one input of four, is changed as libFuzzer does it.
 */
#ifndef WT_TEST_JSON_MUTATOR_H
#define WT_TEST_JSON_MUTATOR_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define JM_PLACES_MAX 512
#define JM_TEXT_MAX 4096

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static const char *const words[];
static const unsigned word_count;

/* Where a value is. */
struct jm_place {
	json_t *parent, *value;
	const char *key; /* of an object */
	size_t index;    /* of an array */
};

struct jm {
	uint32_t random;
	struct jm_place places[JM_PLACES_MAX];
	unsigned count;
};

static uint32_t jm_below(struct jm *m, uint32_t bound)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 17;
	m->random ^= m->random << 5;
	return m->random % bound;
}

static void jm_collect(struct jm *m, json_t *parent)
{
	const char *key;
	json_t *value;
	size_t i;

	json_object_foreach(parent, key, value)
	{
		if (m->count < JM_PLACES_MAX)
			m->places[m->count++] = (struct jm_place){ parent, value, key, 0 };
		jm_collect(m, value);
	}
	json_array_foreach(parent, i, value)
	{
		if (m->count < JM_PLACES_MAX)
			m->places[m->count++] = (struct jm_place){ parent, value, NULL, i };
		jm_collect(m, value);
	}
}

static json_t *jm_word(struct jm *m)
{
	return json_string(words[jm_below(m, word_count)]);
}

/* The same text, a little different. NULL: it is no UTF-8 any more. */
static json_t *jm_text(struct jm *m, const json_t *old)
{
	uint8_t text[JM_TEXT_MAX];
	size_t length = json_string_length(old);

	if (length > JM_TEXT_MAX / 2)
		length = JM_TEXT_MAX / 2;
	if (length)
		memcpy(text, json_string_value(old), length);
	return json_stringn((char *)text, LLVMFuzzerMutate(text, length, JM_TEXT_MAX));
}

static json_t *jm_number(struct jm *m, json_int_t old)
{
	static const json_int_t edges[] = { 0, 1, -1, 255, 256, 4096, 65535, 65536, INT32_MAX,
		(json_int_t)1 << 32, (json_int_t)1 << 53, INT64_MAX, INT64_MIN };

	switch (jm_below(m, 3)) {
	case 0:
		return json_integer(edges[jm_below(m, sizeof edges / sizeof *edges)]);
	case 1:
		return json_integer((json_int_t)((uint64_t)old + jm_below(m, 17) - 8));
	default:
		return json_integer((json_int_t)((uint64_t)old ^ 1ull << jm_below(m, 63)));
	}
}

static json_t *jm_value(struct jm *m, const json_t *old)
{
	switch (jm_below(m, 10)) {
	case 0:
		return json_boolean(jm_below(m, 2));
	case 1:
		return jm_below(m, 2) ? json_null() : json_real(0.5);
	case 2:
		return jm_below(m, 2) ? json_object() : json_array();
	case 3:
	case 4:
		return jm_number(m, json_integer_value(old));
	case 5:
	case 6:
		return jm_word(m);
	case 7:
		return json_deep_copy(m->places[jm_below(m, m->count)].value);
	default:
		return json_is_integer(old) ? jm_number(m, json_integer_value(old)) : jm_text(m, old);
	}
}

static void jm_replace(const struct jm_place *at, json_t *value)
{
	if (at->key)
		json_object_set_new(at->parent, at->key, value);
	else
		json_array_set_new(at->parent, at->index, value);
}

static void jm_remove(const struct jm_place *at)
{
	if (at->key)
		json_object_del(at->parent, at->key);
	else
		json_array_remove(at->parent, at->index);
}

static void jm_add(struct jm *m, const struct jm_place *at)
{
	json_t *parent = jm_below(m, 2) ? at->parent : at->value, *value;

	value = jm_below(m, 2) ? json_deep_copy(at->value) : jm_value(m, at->value);
	if (json_is_array(parent))
		json_array_append_new(parent, value);
	else if (json_is_object(parent) && jm_below(m, 4))
		json_object_set_new(parent, words[jm_below(m, word_count)], value);
	else if (json_is_object(parent)) {
		json_t *key = jm_text(m, NULL);

		json_object_set_new(parent, key ? json_string_value(key) : "x", value);
		json_decref(key);
	} else {
		json_decref(value);
	}
}

static void jm_rename(struct jm *m, const struct jm_place *at)
{
	json_t *value;

	if (!at->key)
		return;
	value = json_incref(at->value);
	json_object_del(at->parent, at->key);
	json_object_set_new(at->parent, words[jm_below(m, word_count)], value);
}

static void jm_change(struct jm *m, json_t *root)
{
	const struct jm_place *at;

	m->count = 0;
	jm_collect(m, root);
	if (!m->count)
		return;
	at = &m->places[jm_below(m, m->count)];
	switch (jm_below(m, 8)) {
	case 0:
		jm_remove(at);
		break;
	case 1:
		jm_rename(m, at);
		break;
	case 2:
	case 3:
		jm_add(m, at);
		break;
	default:
		jm_replace(at, jm_value(m, at->value));
	}
}

/* Which part of the text is changed: all of it, or a line. */
static json_t *jm_load(struct jm *m, const char *text, size_t size, size_t *ret_begin, size_t *ret_end)
{
	json_t *root = json_loadb(text, size, 0, NULL);
	const char *newline;

	*ret_begin = 0;
	*ret_end = size;
	if (root || !size)
		return root;
	*ret_begin = jm_below(m, (uint32_t)size);
	while (*ret_begin && text[*ret_begin - 1] != '\n')
		--*ret_begin;
	newline = memchr(text + *ret_begin, '\n', size - *ret_begin);
	*ret_end = newline ? (size_t)(newline - text) : size;
	return json_loadb(text + *ret_begin, *ret_end - *ret_begin, 0, NULL);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	static struct jm m;
	char *text = (char *)data + 1, *made;
	size_t begin, end, length;
	json_t *root;

	m.random = seed | 1;
	if (size < 2 || !jm_below(&m, 4))
		return LLVMFuzzerMutate(data, size, max_size);
	root = jm_load(&m, text, size - 1, &begin, &end);
	for (uint32_t n = 1 + jm_below(&m, 3); n; n--)
		jm_change(&m, root);
	made = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	length = made ? strlen(made) : 0;
	if (!made || size - (end - begin) + length > max_size) {
		free(made);
		return LLVMFuzzerMutate(data, size, max_size);
	}
	memmove(text + begin + length, text + end, size - 1 - end);
	memcpy(text + begin, made, length);
	free(made);
	return size - (end - begin) + length;
}

#endif
