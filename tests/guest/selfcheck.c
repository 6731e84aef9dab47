/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * selfcheck.c - the program that a self-checking guest runs: it dirties memory all the
 * time and knows what every page must hold, so a page that a migration lost, mixed up
 * or brought from an older moment is found, and named, by the guest itself.
 *
 * It owns areas of anonymous memory:
 *   work      wt.mb MiB, rewritten again and again: page i at count c holds content(i, c)
 *   constant  wt.const MiB, the same with c = 0 for ever
 *   zero      wt.zero MiB, written once and cleared, so that it is real memory full of zeroes
 *   lent      wt.lend MiB, in turns taken from the kernel, written, checked, and given back for a while
 * and two tables of the counts of the work pages, the second one inverted and far away.
 *
 *   1. A work page holds exactly what its count says, except while step() rewrites it.
 *   2. Every ZERO_EVERY-th content of a work page is all zero.
 *   3. counts[i] == ~inverse[i]; and the sum of all counts is the number of steps:
 *      pages and tables that are old together, and so agree, are found by this.
 *   4. A page that failed is rewritten, so one fault is reported once.
 *
 * One thread. Checks are complete: all words of a page, before each rewrite and in rounds
 * over everything. What it cannot see: time in which it did not run (the guest's clock
 * stops too); whoever wants the downtime puts times on the lines of the console.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

enum {
	PAGE_BYTES = 4096,
	WORDS = PAGE_BYTES / 8,
	ZERO_EVERY = 16,
	TICK_MAX_MS = 100,
	FAIL_LINES_MAX = 40,
	LEND_S = 4,         /* lent memory is held so long, and left to the kernel so long */
	TORN_BACK_MAX = 64, /* so many counts back we look for the other half of a torn page */
};

static const uint64_t MAGIC = 0x0a69726174617700; /* "\0watari\n" in memory */
static const uint64_t SECOND_NS = 1000000000;

typedef uint64_t page_t[WORDS];

struct area {
	const char *name;
	page_t *pages;
	uint64_t count;
};

static struct {
	uint64_t mb, constant_mb, zero_mb, lend_mb; /* sizes of the areas */
	uint64_t rate;                              /* rewrites per second */
	uint64_t round_s;                           /* one look at every page takes about this long */
	uint64_t report_ms;                         /* a line this often */
	uint64_t tick_ms; /* at most TICK_MAX_MS: between two looks at what is due */
	uint64_t rounds;  /* power off after so many; 0: never */
	char pattern[16]; /* random, seq, hot (nine of ten rewrites in a tenth of the pages) */
} option = { .mb = 64,
	.constant_mb = 4,
	.zero_mb = 4,
	.rate = 2000,
	.round_s = 2,
	.tick_ms = 1,
	.report_ms = 1000,
	.pattern = "random" };

static struct area work = { .name = "work" }, constant = { .name = "constant" }, zero = { .name = "zero" },
		   lent = { .name = "lent" };
static uint32_t *counts, *inverse;
static uint64_t steps, errors, rounds, random_state = 88172645463325252;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* ---- what a page holds ---- */

static bool is_zero_turn(uint64_t count)
{
	return count % ZERO_EVERY == ZERO_EVERY - 1;
}

static uint64_t page_key(uint64_t index, uint64_t count)
{
	uint64_t x = index * 0x9e3779b97f4a7c15 + count * 0xd1b54a32d192ed03 + 1;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* What one page must hold. The first words say in plain text which page this is, so that
 * a wrong page can be named. */
struct content {
	uint64_t index, count, key;
	bool zeroes;
};

static struct content content(uint64_t index, uint64_t count)
{
	return (struct content){ index, count, page_key(index, count), is_zero_turn(count) };
}

static inline uint64_t word(const struct content *c, unsigned w)
{
	if (c->zeroes)
		return 0;
	switch (w) {
	case 0:
		return MAGIC;
	case 1:
		return c->index;
	case 2:
		return c->count;
	default:
		return (c->key ^ w) * 0x9e3779b97f4a7c15;
	}
}

static void page_write(uint64_t *page, uint64_t index, uint64_t count)
{
	struct content c = content(index, count);
	for (unsigned w = 0; w < WORDS; w++)
		page[w] = word(&c, w);
}

/* How many words of the page are as (index, count) or, if it differs, (index, other) wants. */
static unsigned page_matches_either(const uint64_t *page, uint64_t index, uint64_t count, uint64_t other)
{
	struct content a = content(index, count), b = content(index, other);
	unsigned good = 0;
	for (unsigned w = 0; w < WORDS; w++)
		good += page[w] == word(&a, w) || page[w] == word(&b, w);
	return good;
}

static bool page_is(const uint64_t *page, uint64_t index, uint64_t count)
{
	struct content c = content(index, count);
	uint64_t wrong = 0;
	for (unsigned w = 0; w < WORDS; w++)
		wrong |= page[w] ^ word(&c, w);
	return !wrong;
}

/* ---- what is wrong with a page ---- */

static unsigned zero_words(const uint64_t *page)
{
	unsigned n = 0;
	for (unsigned w = 0; w < WORDS; w++)
		n += page[w] == 0;
	return n;
}

static const char *kind_of(const uint64_t *page, uint64_t index, uint64_t count)
{
	if (zero_words(page) == WORDS)
		return "lost"; /* all zero */
	if (page[0] == MAGIC && page_is(page, page[1], page[2])) {
		if (page[1] != index)
			return "swapped";                    /* another page */
		return page[2] < count ? "stale" : "future"; /* future: the tables are old */
	}
	for (uint64_t back = 1; back <= TORN_BACK_MAX && back <= count; back++)
		if (page_matches_either(page, index, count, count - back) == WORDS)
			return "torn"; /* partly of this moment, partly of an earlier one */
	return "corrupt";
}

static void fail(
	const struct area *area, uint64_t index, const char *kind, const uint64_t *page, uint64_t count)
{
	if (++errors > FAIL_LINES_MAX)
		return;
	printf("SELFCHECK FAIL page=%" PRIu64 " kind=%s area=%s expected=%" PRIu64, index, kind, area->name,
		count);
	if (page) {
		printf(" found_magic=%d found_page=%" PRIu64 " found_count=%" PRIu64
		       " good_words=%u zero_words=%u",
			page[0] == MAGIC, page[1], page[2], page_matches_either(page, index, count, count),
			zero_words(page));
		printf(" address=%p", (const void *)page);
	}
	putchar('\n');
}

/* ---- checks and rewrites ---- */

/* The work page and both its table entries. */
static void check_work(uint64_t i)
{
	if (counts[i] != ~inverse[i]) {
		printf("SELFCHECK TABLE page=%" PRIu64 " count=%u inverse=%u\n", i, counts[i], ~inverse[i]);
		fail(&work, i, "table", NULL, counts[i]);
		counts[i] = ~inverse[i] > counts[i] ? ~inverse[i] : counts[i]; /* the newer one is right */
		inverse[i] = ~counts[i];
	}
	uint64_t *page = work.pages[i];
	if (page_is(page, i, counts[i]))
		return;
	fail(&work, i, kind_of(page, i, counts[i]), page, counts[i]);
	page_write(page, i, counts[i]);
}

static void check_constant(uint64_t i)
{
	uint64_t *page = constant.pages[i];
	if (page_is(page, i, 0))
		return;
	fail(&constant, i, kind_of(page, i, 0), page, 0);
	page_write(page, i, 0);
}

static void check_zero(uint64_t i)
{
	uint64_t *page = zero.pages[i];
	if (zero_words(page) == WORDS)
		return;
	fail(&zero, i, page[0] == MAGIC ? "swapped" : "corrupt", page, 0);
	memset(page, 0, PAGE_BYTES);
}

static void step(void)
{
	uint64_t i;
	if (option.pattern[0] == 's')
		i = steps % work.count;
	else if (option.pattern[0] == 'h' && next_random() % 10)
		i = next_random() % (work.count / 10 + 1);
	else
		i = next_random() % work.count;
	check_work(i);
	page_write(work.pages[i], i, counts[i] + 1);
	counts[i]++;
	inverse[i] = ~counts[i];
	steps++;
}

/* The next n pages of all areas in turn; at the end of a round, the sum of the counts. */
static void scan(uint64_t n)
{
	static uint64_t next;
	for (; n; n--, next++) {
		uint64_t i = next;
		if (i < work.count) {
			check_work(i);
		} else if ((i -= work.count) < constant.count) {
			check_constant(i);
		} else if ((i -= constant.count) < zero.count) {
			check_zero(i);
		} else {
			uint64_t sum = 0;
			for (i = 0; i < work.count; i++)
				sum += counts[i];
			if (sum != steps) {
				fail(&work, 0, "sum", NULL, steps);
				steps = sum;
			}
			rounds++;
			next = 0;
			return;
		}
	}
}

/* ---- the guest ---- */

static void *map(uint64_t bytes)
{
	void *p =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED) {
		printf("SELFCHECK FAIL no memory for %" PRIu64 " bytes: %s\n", bytes, strerror(errno));
		exit(1);
	}
	return p;
}

static void area_make(struct area *area, uint64_t mb)
{
	area->count = mb << 20 >> 12;
	if (area->count)
		area->pages = map(area->count * PAGE_BYTES);
}

static void make_all(void)
{
	area_make(&work, option.mb);
	counts = map(work.count * sizeof(*counts));
	area_make(&constant, option.constant_mb);
	area_make(&zero, option.zero_mb);
	inverse = map(work.count * sizeof(*inverse));
	for (uint64_t i = 0; i < work.count; i++) {
		page_write(work.pages[i], i, 0);
		inverse[i] = ~counts[i];
	}
	for (uint64_t i = 0; i < constant.count; i++)
		page_write(constant.pages[i], i, 0);
	for (uint64_t i = 0; i < zero.count; i++) {
		page_write(zero.pages[i], i, 1);
		memset(zero.pages[i], 0, PAGE_BYTES);
	}
}

/* Takes the lent memory, or checks it and gives it back. */
static void lend(void)
{
	if (!lent.count) {
		area_make(&lent, option.lend_mb);
		for (uint64_t i = 0; i < lent.count; i++)
			page_write(lent.pages[i], i, 0);
		return;
	}
	for (uint64_t i = 0; i < lent.count; i++)
		if (!page_is(lent.pages[i], i, 0))
			fail(&lent, i, kind_of(lent.pages[i], i, 0), lent.pages[i], 0);
	munmap(lent.pages, lent.count * PAGE_BYTES);
	lent.count = 0;
}

/* wt.NAME=VALUE words of the kernel's command line. */
static void read_options(char *line)
{
	const struct {
		const char *name;
		uint64_t *value;
	} numbers[] = {
		{ "wt.mb=", &option.mb },
		{ "wt.const=", &option.constant_mb },
		{ "wt.zero=", &option.zero_mb },
		{ "wt.lend=", &option.lend_mb },
		{ "wt.rate=", &option.rate },
		{ "wt.round=", &option.round_s },
		{ "wt.report=", &option.report_ms },
		{ "wt.tick=", &option.tick_ms },
		{ "wt.rounds=", &option.rounds },
	};
	for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
		for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
			if (!strncmp(word, numbers[i].name, strlen(numbers[i].name)))
				*numbers[i].value = strtoull(word + strlen(numbers[i].name), NULL, 10);
		if (!strncmp(word, "wt.pattern=", 11))
			snprintf(option.pattern, sizeof(option.pattern), "%s", word + 11);
	}
	if (!option.mb)
		option.mb = 1;
	if (!option.round_s)
		option.round_s = 1;
	if (!option.tick_ms || option.tick_ms > TICK_MAX_MS)
		option.tick_ms = 1;
}

static void report(uint64_t start_ns, uint64_t gap_ns, uint64_t gap_max_ns)
{
	uint64_t pages = work.count + constant.count + zero.count;
	printf("SELFCHECK round=%" PRIu64 " pages=%" PRIu64 " steps=%" PRIu64 " errors=%" PRIu64
	       " gap_us=%" PRIu64 " gap_max_us=%" PRIu64 " t_ms=%" PRIu64 "\n",
		rounds, pages, steps, errors, gap_ns / 1000, gap_max_ns / 1000,
		(now_ns() - start_ns) / 1000000);
}

/* A tick does the rewrites and checks that are due since the last one: at most a tenth of
 * a second's worth, so that a long pause is not followed by a long burst. */
static void run(void)
{
	uint64_t start = now_ns(), last = start, reported = start, gap = 0, gap_max = 0;
	uint64_t steps_due = 0, scans_due = 0, lent_at = start;
	uint64_t scan_rate = (work.count + constant.count + zero.count) / option.round_s + 1;
	while (!option.rounds || rounds < option.rounds) {
		uint64_t now = now_ns(), passed = now - last;
		last = now;
		gap = passed > gap ? passed : gap;
		gap_max = gap > gap_max ? gap : gap_max;
		passed = passed < SECOND_NS / 10 ? passed : SECOND_NS / 10;
		steps_due += passed * option.rate;
		scans_due += passed * scan_rate;
		for (; steps_due >= SECOND_NS; steps_due -= SECOND_NS)
			step();
		scan(scans_due / SECOND_NS);
		scans_due %= SECOND_NS;
		if (option.lend_mb && now - lent_at >= LEND_S * SECOND_NS) {
			lend();
			lent_at = now;
		}
		if (now - reported >= option.report_ms * 1000000) {
			report(start, gap, gap_max);
			reported = now;
			gap = 0;
		}
		nanosleep(&(struct timespec){ .tv_nsec = (long)option.tick_ms * 1000000 }, NULL);
	}
	report(start, gap, gap_max);
}

int main(void)
{
	char line[4096] = "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGCHLD, SIG_IGN); /* as process 1 it inherits every process of the guest */
	int fd = open("/proc/cmdline", O_RDONLY);
	if (fd >= 0) {
		ssize_t n = read(fd, line, sizeof(line) - 1);
		line[n > 0 ? n : 0] = 0;
		close(fd);
	}
	read_options(line);
	make_all();
	printf("SELFCHECK START mb=%" PRIu64 " const=%" PRIu64 " zero=%" PRIu64 " rate=%" PRIu64
	       " pattern=%s\n",
		option.mb, option.constant_mb, option.zero_mb, option.rate, option.pattern);
	run();
	printf("SELFCHECK DONE errors=%" PRIu64 "\n", errors);
	fflush(stdout);
	if (getpid() == 1) {
		sync();
		sleep(1); /* the console is slower than we are */
		reboot(RB_POWER_OFF);
	}
	return errors != 0;
}
