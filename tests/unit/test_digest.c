/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_digest.c - digests of pages against GMAC as its standard writes it (SP 800-38D, bit by bit), what they
 * depend on, and the pool: order, bound, wake-ups, closing with work under way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "../../transport/digest_pool.h"
#include "seed.h"

#define WAIT_MS 30000 /* until a test has failed */

static uint8_t key_a[WT_DIGEST_KEY_BYTES], key_b[WT_DIGEST_KEY_BYTES];
static const uint8_t zeros[WT_PAGE_SIZE];

typedef unsigned __int128 field;

static field load(const uint8_t *bytes)
{
	field x = 0;

	for (unsigned i = 0; i < 16; i++)
		x = x << 8 | bytes[i];
	return x;
}

static void store(field x, uint8_t bytes[16])
{
	for (unsigned i = 16; i-- > 0; x >>= 8)
		bytes[i] = (uint8_t)x;
}

/* Algorithm 1 of SP 800-38D; its bit 0 is the most significant one. */
static field multiply(field x, field y)
{
	field z = 0;

	for (unsigned i = 0; i < 128; i++) {
		if (x >> (127 - i) & 1)
			z ^= y;
		y = y >> 1 ^ (y & 1 ? (field)0xe1 << 120 : 0);
	}
	return z;
}

static field encrypt(const uint8_t *key, field x)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8_t in[16], out[32];
	int length;

	store(x, in);
	assert_true(EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), NULL, key, NULL));
	assert_true(EVP_EncryptUpdate(context, out, &length, in, sizeof in));
	EVP_CIPHER_CTX_free(context);
	return load(out);
}

/* GMAC: what is authenticated, a whole number of 16-byte units; the IV has 96 bits. */
static void reference(
	const uint8_t *key, const uint8_t iv[12], const uint8_t *bytes, size_t length, uint8_t ret_tag[16])
{
	field h = encrypt(key, 0), sum = 0;
	uint8_t counter[16] = { [15] = 1 };

	memcpy(counter, iv, 12);
	for (size_t i = 0; i < length; i += 16)
		sum = multiply(sum ^ load(bytes + i), h);
	sum = multiply(sum ^ (field)(length * 8) << 64, h);
	store(sum ^ encrypt(key, load(counter)), ret_tag);
}

static int fill_keys(void **state)
{
	seed_start(1);
	for (unsigned i = 0; i < WT_DIGEST_KEY_BYTES; i++) {
		key_a[i] = (uint8_t)seed_next();
		key_b[i] = (uint8_t)seed_next();
	}
	return 0;
}

static void fill(uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i += 8) {
		uint64_t x = seed_next();

		memcpy(bytes + i, &x, sizeof x);
	}
}

static void digest(const uint8_t *key, uint32_t block, uint64_t page, const uint8_t *bytes, uint8_t *ret)
{
	struct wt_digester *digester;

	assert_int_equal(wt_digester_open(key, &digester, NULL), 0);
	assert_int_equal(wt_digester_page(digester, block, page, bytes, ret), 0);
	wt_digester_close(digester);
}

/* The reference is right: test case 13 of the GCM specification, and one of NIST's (CAVP, ExtIV256, 128 bits
 * of AAD). */
static void test_reference(void **state)
{
	static const uint8_t tag_13[16] = { 0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9, 0xa9, 0x63, 0xb4,
		0xf1, 0xc4, 0xcb, 0x73, 0x8b };
	static const uint8_t key[32] = { 0x78, 0xdc, 0x4e, 0x0a, 0xaf, 0x52, 0xd9, 0x35, 0xc3, 0xc0, 0x1e,
		0xea, 0x57, 0x42, 0x8f, 0x00, 0xca, 0x1f, 0xd4, 0x75, 0xf5, 0xda, 0x86, 0xa4, 0x9c, 0x8d,
		0xd7, 0x3d, 0x68, 0xc8, 0xe2, 0x23 };
	static const uint8_t iv[12] = { 0xd7, 0x9c, 0xf2, 0x2d, 0x50, 0x4c, 0xc7, 0x93, 0xc3, 0xfb, 0x6c,
		0x8a };
	static const uint8_t aad[16] = { 0xb9, 0x6b, 0xaa, 0x8c, 0x1c, 0x75, 0xa6, 0x71, 0xbf, 0xb2, 0xd0,
		0x8d, 0x06, 0xbe, 0x5f, 0x36 };
	static const uint8_t tag[16] = { 0x3e, 0x5d, 0x48, 0x6a, 0xa2, 0xe3, 0x0b, 0x22, 0xe0, 0x40, 0xb8,
		0x57, 0x23, 0xa0, 0x6e, 0x76 };
	uint8_t got[16];

	reference(zeros, zeros, zeros, 0, got);
	assert_memory_equal(got, tag_13, 16);
	reference(key, iv, aad, sizeof aad, got);
	assert_memory_equal(got, tag, 16);
}

static void test_standard(void **state)
{
	uint8_t bytes[WT_PAGE_SIZE], wanted[16], got[16], place[12];
	struct wt_digester *digester;

	assert_int_equal(wt_digester_open(key_a, &digester, NULL), 0);
	for (unsigned i = 0; i < 32; i++) {
		uint32_t block = (uint32_t)seed_next();
		uint64_t page = seed_next();

		for (unsigned k = 0; k < 4; k++)
			place[k] = (uint8_t)(block >> (24 - 8 * k));
		for (unsigned k = 0; k < 8; k++)
			place[4 + k] = (uint8_t)(page >> (56 - 8 * k));
		fill(bytes, sizeof bytes);
		if (i % 4 == 0) /* nearly zero, too */
			memset(bytes, 0, sizeof bytes - 1 - i);
		reference(key_a, place, bytes, sizeof bytes, wanted);
		assert_int_equal(wt_digester_page(digester, block, page, bytes, got), 0);
		assert_memory_equal(got, wanted, 16);
	}
	wt_digester_close(digester);
}

static void test_depends(void **state)
{
	uint8_t bytes[WT_PAGE_SIZE], first[16], other[16];

	fill(bytes, sizeof bytes);
	digest(key_a, 1, 2, bytes, first);
	digest(key_a, 1, 2, bytes, other);
	assert_memory_equal(first, other, 16);
	digest(key_b, 1, 2, bytes, other);
	assert_memory_not_equal(first, other, 16);
	digest(key_a, 2, 2, bytes, other);
	assert_memory_not_equal(first, other, 16);
	digest(key_a, 1, 3, bytes, other);
	assert_memory_not_equal(first, other, 16);
	digest(key_a, 1, 2 + (1ull << 32), bytes, other);
	assert_memory_not_equal(first, other, 16);
	for (unsigned bit = 0; bit < WT_PAGE_SIZE * 8; bit += 61) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		digest(key_a, 1, 2, bytes, other);
		assert_memory_not_equal(first, other, 16);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void test_zero(void **state)
{
	uint8_t bytes[WT_PAGE_SIZE] = { 0 }, got[16] = { 1 };

	digest(key_a, 3, 4, bytes, got);
	assert_memory_equal(got, zeros, 16);
	bytes[WT_PAGE_SIZE - 1] = 1;
	digest(key_a, 3, 4, bytes, got);
	assert_memory_not_equal(got, zeros, 16);
}

/* ---- the pool ---- */

/* The test writes a page while it is digested, as a guest does. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:digest_page\n";
}

static struct wt_digest_pool *open_pool(unsigned workers)
{
	struct wt_digest_pool *pool;
	struct wt_error err = { 0 };

	assert_int_equal(wt_digest_pool_open(key_a, 1, workers, &pool, &err), 0);
	return pool;
}

static struct wt_digest_run next(struct wt_digest_pool *pool)
{
	struct pollfd ready = { .fd = wt_digest_pool_fd(pool), .events = POLLIN };
	struct wt_digest_run run;
	int status;

	while (!wt_digest_pool_next(pool, &run, &status))
		check(poll(&ready, 1, WAIT_MS) == 1);
	check(status == 0);
	return run;
}

/* What was given back is finished: each digest is that of its page. */
static void check_run(const struct wt_digest_run *run)
{
	const uint8_t *bytes = run->bytes;
	uint8_t wanted[16];

	for (uint32_t i = 0; i < run->pages; i++) {
		digest(key_a, run->block, run->page + i, bytes + (size_t)i * WT_PAGE_SIZE, wanted);
		check(memcmp(run->digests + (size_t)i * WT_DIGEST_BYTES, wanted, 16) == 0);
	}
}

/* Any mixture of submitting and taking: in order, each once. */
static void random_runs(void)
{
	enum { PAGES = 512 };
	static uint8_t memory[PAGES * WT_PAGE_SIZE], digests[PAGES * WT_DIGEST_BYTES];
	struct wt_digest_pool *pool = open_pool((unsigned)seed_below(5));
	uint64_t submitted = 0, taken = 0, page = 0;

	fill(memory, sizeof memory);
	memset(memory + 5 * WT_PAGE_SIZE, 0, WT_PAGE_SIZE);
	memset(digests, 0xee, sizeof digests);
	while (page < PAGES || taken < submitted) {
		uint32_t pages = (uint32_t)(1 + seed_below(12));

		if (page < PAGES && seed_below(3)) {
			struct wt_digest_run run = { .block = 7,
				.page = page,
				.pages = pages < PAGES - page ? pages : (uint32_t)(PAGES - page),
				.bytes = memory + page * WT_PAGE_SIZE,
				.digests = digests + page * WT_DIGEST_BYTES,
				.tag = submitted };
			int r = wt_digest_pool_submit(pool, &run);

			check(r == 0 || (r == -EAGAIN && submitted - taken == WT_DIGEST_RUNS_MAX));
			submitted += r == 0;
			page += r == 0 ? run.pages : 0;
		} else if (taken < submitted) {
			struct wt_digest_run run = next(pool);

			check(run.tag == taken);
			check_run(&run);
			taken++;
		}
	}
	wt_digest_pool_close(pool);
}

static void test_runs(void **state)
{
	seed_runs(10, random_runs);
}

static void test_bounded(void **state)
{
	static uint8_t bytes[WT_PAGE_SIZE] = { 1 }, digests[WT_DIGEST_RUNS_MAX][WT_DIGEST_BYTES];
	struct wt_digest_pool *pool = open_pool(0);
	struct wt_digest_run run = { .bytes = bytes, .pages = 0 };
	int status;

	seed_start(1);
	assert_int_equal(wt_digest_pool_next(pool, &run, &status), 0);
	assert_int_equal(wt_digest_pool_submit(pool, &run), -EINVAL);
	run.pages = WT_DIGEST_RUN_PAGES + 1;
	assert_int_equal(wt_digest_pool_submit(pool, &run), -EINVAL);
	run.pages = 1;
	for (unsigned i = 0; i < WT_DIGEST_RUNS_MAX; i++) {
		run.digests = digests[i];
		assert_int_equal(wt_digest_pool_submit(pool, &run), 0);
	}
	assert_int_equal(wt_digest_pool_submit(pool, &run), -EAGAIN);
	run = next(pool);
	assert_int_equal(wt_digest_pool_submit(pool, &run), 0);
	wt_digest_pool_close(pool);
}

/* A guest writes while its page is digested: both digests are of the same content. */
static void test_two_keys(void **state)
{
	static uint8_t page[WT_PAGE_SIZE], keys[2 * WT_DIGEST_KEY_BYTES], wanted[2][2][WT_DIGEST_BYTES];
	uint8_t digests[2][WT_DIGEST_BYTES];
	volatile uint8_t *last = &page[WT_PAGE_SIZE - 1];
	unsigned of[2] = { 0 };
	struct wt_digest_run run = { .block = 1, .page = 5, .pages = 1, .bytes = page };
	struct wt_digest_pool *pool;
	struct wt_error err = { 0 };
	int status;

	seed_start(1);
	memcpy(keys, key_a, sizeof key_a);
	memcpy(keys + sizeof key_a, key_b, sizeof key_b);
	fill(page, sizeof page);
	for (*last = 0; *last < 2; ++*last) {
		digest(key_a, 1, 5, page, wanted[*last][0]);
		digest(key_b, 1, 5, page, wanted[*last][1]);
	}
	*last = 0;
	assert_int_equal(wt_digest_pool_open(keys, 2, 1, &pool, &err), 0);
	run.digests = digests[0];
	for (unsigned i = 0; i < 20000; i++) {
		assert_int_equal(wt_digest_pool_submit(pool, &run), 0);
		do
			*last = !*last;
		while (!wt_digest_pool_next(pool, &run, &status));
		for (unsigned k = 0; k < 2; k++)
			of[k] += !memcmp(digests, wanted[k], sizeof digests);
		check(of[0] + of[1] == i + 1);
	}
	check(of[0] && of[1]);
	wt_digest_pool_close(pool);
}

/* Nothing is written after close, whatever was under way. */
static void test_close(void **state)
{
	size_t length = (size_t)WT_DIGEST_RUN_PAGES * WT_PAGE_SIZE;
	uint8_t *bytes = malloc(length), *digests;

	assert_non_null(bytes);
	fill(bytes, length);
	for (unsigned round = 0; round < 20; round++) {
		struct wt_digest_pool *pool = open_pool(2);

		digests = malloc(WT_DIGEST_RUNS_MAX * WT_DIGEST_RUN_PAGES * WT_DIGEST_BYTES);
		assert_non_null(digests);
		for (unsigned i = 0; i < WT_DIGEST_RUNS_MAX; i++) {
			struct wt_digest_run run = { .pages = WT_DIGEST_RUN_PAGES,
				.bytes = bytes,
				.digests = digests + (size_t)i * WT_DIGEST_RUN_PAGES * WT_DIGEST_BYTES };

			assert_int_equal(wt_digest_pool_submit(pool, &run), 0);
		}
		if (round % 2)
			next(pool);
		wt_digest_pool_close(pool);
		free(digests);
	}
	wt_digest_pool_close(NULL);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_standard),
		cmocka_unit_test(test_depends),
		cmocka_unit_test(test_zero),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_two_keys),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_close),
	};

	return cmocka_run_group_tests(tests, fill_keys, NULL);
}
