/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_server_digest.c - the digests that a server sends behind its announcements, and those that a replica
 * answers with.
 */
#include <sys/stat.h>

#include "server_world.h"

/* ---- digests ---- */

/* Its pages, as the messages of digests have them, in `digests`; each message behind what it speaks of. */
static unsigned hear_digests(struct side *side, uint8_t *ret_digests)
{
	static struct wt_announcement list[WT_WIRE_ANNOUNCEMENTS_MAX];
	uint64_t next = 1, seq, told = 0;
	unsigned pages = 0, count;
	struct wt_wire_digests said;

	for (unsigned i = 0; i < side->fake.count; i++) {
		const struct fake_message *message = &side->fake.messages[i];

		if (message->type == WT_MESSAGE_ANNOUNCE) {
			check(!wt_wire_announce_decode(
				message->payload, message->length, &seq, list, &count));
			next += count;
		}
		if (message->type != WT_MESSAGE_DIGESTS)
			continue;
		check(!wt_wire_digests_decode(message->payload, message->length, &said));
		check(said.first_seq > told && said.first_seq < next && said.keys >= 1);
		told = said.first_seq;
		memcpy(ret_digests + (size_t)pages * said.keys * WT_DIGEST_BYTES, said.digests,
			(size_t)said.pages * said.keys * WT_DIGEST_BYTES);
		pages += said.pages;
	}
	return pages;
}

static uint8_t digests[2 * 2 * PAGES_MAX * WT_DIGEST_BYTES];

static bool has_260_digests(void)
{
	return hear_digests(waiting_for, digests) >= 260;
}

static void check_digests(unsigned key, unsigned keys, uint32_t pages)
{
	struct wt_digester *digester;
	uint8_t digest[WT_DIGEST_BYTES];
	struct wt_error err = { 0 };

	check(wt_digester_open(some_keys[key], &digester, &err) == 0);
	for (uint32_t i = 0; i < pages; i++) {
		check(wt_digester_page(digester, RAM, i, ram + (size_t)i * WT_PAGE_SIZE, digest) == 0);
		check(!memcmp(digest, digests + (size_t)(i * keys + key) * WT_DIGEST_BYTES, sizeof digest));
	}
	wt_digester_close(digester);
}

/* What is announced for the first time and lies in place, in pieces; nothing of it when nobody has asked. */
static void test_digests_follow_their_announcements(void **state)
{
	static const enum wt_content contents[2][6] = {
		{ 0, WT_CONTENT_IN_PLACE, WT_CONTENT_IN_PLACE, WT_CONTENT_IN_PLACE, WT_CONTENT_ZERO,
			WT_CONTENT_STAGED },
		{ 0, WT_CONTENT_IN_PLACE_DIGESTED, WT_CONTENT_IN_PLACE_DIGESTED, WT_CONTENT_IN_PLACE,
			WT_CONTENT_ZERO, WT_CONTENT_STAGED },
	};
	struct wt_server_stats stats;

	seed_start(1);
	for (unsigned keys = 0; keys <= 2; keys++) {
		want_digests(keys);
		open_world();
		for (uint32_t k = 0; k < 260 * WT_PAGE_SIZE / 8; k++)
			((uint64_t *)ram)[k] = k % 3 ? seed_next() : 0;
		serve(&o, false, NULL);
		want_digests(0);
		check(announce(&o, RAM, 0, 260, WT_CONTENT_IN_PLACE) == 0);
		check(announce(&o, RAM, 10, 5, WT_CONTENT_IN_PLACE) == 0);
		check(announce(&o, RAM, 270, 5, WT_CONTENT_ZERO) == 0);
		check(announce(&o, ROM, 0, 5, WT_CONTENT_IN_PLACE) == 0);
		wait_for(&o, all_is_heard);
		for (unsigned seq = 1; seq <= 5; seq++)
			check(heard.list[seq].content == contents[keys > 0][seq]);
		if (keys)
			wait_for(&o, has_260_digests);
		settle(&o);
		check(hear_digests(&o, digests) == (keys ? 260 : 0));
		for (unsigned key = 0; key < keys; key++)
			check_digests(key, keys, 260);
		wt_server_stats(o.server, &stats);
		check(stats.digested_pages == (keys ? 260 : 0));
		check(stats.pending_bytes == 270 * WT_PAGE_SIZE);
		close_world();
	}
}

static uint64_t allocated(void)
{
	struct stat st;

	check(fstat(ram_fd, &st) == 0);
	return (uint64_t)st.st_blocks * 512 / WT_PAGE_SIZE;
}

/* Holes, which the guest has given back after they were announced, stay holes. */
static void test_digests_of_memory_that_may_be_discarded(void **state)
{
	seed_start(1);
	want_digests(1);
	may_discard = true;
	open_world();
	for (uint32_t i = 0; i < 100 * WT_PAGE_SIZE / 8; i++)
		((uint64_t *)ram)[i] = seed_next();
	serve(&o, false, NULL);
	want_digests(0);
	may_discard = false;
	check(announce(&o, RAM, 0, 260, WT_CONTENT_IN_PLACE) == 0);
	wait_for(&o, has_260_digests);
	check(allocated() == 100);
	check_digests(0, 1, 260);
	close_world();
}

/* Digested while it is still gathered with others: the announcement leaves first. */
static void test_digests_wait_for_their_announcements(void **state)
{
	struct wt_extent gathered = { .block = RAM, .page = 250, .pages = 10 };

	seed_start(1);
	want_digests(1);
	open_world();
	serve(&o, false, NULL);
	want_digests(0);
	check(announce(&o, RAM, 0, 250, WT_CONTENT_IN_PLACE) == 0);
	check(wt_server_announce(o.server, &gathered, WT_CONTENT_IN_PLACE) == 0);
	wait_for(&o, has_260_digests);
	close_world();
}

/* Left while it digests, and come back to: announcements go on, without digests. */
static void test_digests_end_with_a_drain(void **state)
{
	struct wt_error err = { 0 };

	seed_start(1);
	want_digests(1);
	open_world();
	serve(&o, false, NULL);
	want_digests(0);
	check(announce(&o, RAM, 0, 100, WT_CONTENT_IN_PLACE) == 0);
	wait_for(&o, all_is_heard);
	check(heard.list[1].content == WT_CONTENT_IN_PLACE_DIGESTED);
	check(wt_server_drain(o.server) == 0);
	hear(&o, WT_MESSAGE_DRAIN, 1);
	fake_hang_up(&o.fake);
	fake_epoch(&o.fake, WT_MESSAGE_DRAINED, 1);
	wait_for(&o, is_drained);
	o.ready = 0;
	check(wt_server_restart(o.server, &err) == 0);
	hear(&o, WT_MESSAGE_RESTART, 1);
	wait_for(&o, is_ready);
	check(announce(&o, RAM, 100, 100, WT_CONTENT_IN_PLACE) == 0);
	wait_for(&o, all_is_heard);
	check(heard.list[1].content == WT_CONTENT_IN_PLACE);
	close_world();
}

/* ---- a replica ---- */

static void ask_replica(uint64_t tag, uint32_t block, uint64_t page, uint32_t pages)
{
	struct wt_wire_ask what = { .tag = tag, .extent = { .block = block, .page = page, .pages = pages } };
	uint8_t payload[64];

	fake_say(&o.fake, WT_MESSAGE_REPLICA_ASK, payload, wt_wire_ask_encode(&what, payload));
}

static struct wt_wire_answer answered(unsigned index)
{
	const struct fake_message *message;
	struct wt_wire_answer answer = { 0 };

	hear(&o, WT_MESSAGE_REPLICA_ANSWER, index + 1);
	message = fake_find(&o.fake, WT_MESSAGE_REPLICA_ANSWER, 0);
	for (; index; index--)
		message = fake_find(
			&o.fake, WT_MESSAGE_REPLICA_ANSWER, (unsigned)(message - o.fake.messages) + 1);
	check(message && !wt_wire_answer_decode(message->payload, message->length, &answer));
	return answer;
}

static void open_replica(void)
{
	static const uint8_t id[WT_SERVER_SESSION_ID_BYTES] = { 7 };

	seed_start(1);
	open_world();
	for (uint32_t i = 0; i < 100 * WT_PAGE_SIZE / 8; i++)
		((uint64_t *)ram)[i] = seed_next();
	replica_key = some_keys[0];
	serve(&o, true, id);
	replica_key = NULL;
}

/* In order; what it has no copy of, and what cannot be read, is said. Holes stay holes. */
static void test_a_replica_answers(void **state)
{
	struct wt_wire_answer answer = { 0 };

	open_replica();
	ask_replica(5, RAM, 0, 256);
	ask_replica(6, ROM, 1, 3);
	answer = answered(0);
	check(answer.tag == 5 && answer.status == WT_WIRE_ANSWER_DIGESTS && answer.pages == 256);
	check(allocated() == 100);
	memcpy(digests, answer.digests, (size_t)256 * WT_DIGEST_BYTES);
	check_digests(0, 1, 256);
	answer = answered(1);
	check(answer.tag == 6 && answer.status == WT_WIRE_ANSWER_NONE);
	check(ftruncate(ram_fd, 10 * WT_PAGE_SIZE) == 0);
	ask_replica(7, RAM, 9, 2);
	answer = answered(2);
	check(answer.tag == 7 && answer.status == WT_WIRE_ANSWER_UNREADABLE);
	close_world();
}

static void test_a_replica_is_asked_too_much(void **state)
{
	open_replica();
	ask_replica(1, RAM, PAGES_MAX - 1, 2);
	wait_for(&o, has_failed);
	check(strstr(o.text, "asks for digests that there are not"));
	close_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digests_follow_their_announcements),
		cmocka_unit_test(test_digests_of_memory_that_may_be_discarded),
		cmocka_unit_test(test_digests_wait_for_their_announcements),
		cmocka_unit_test(test_digests_end_with_a_drain),
		cmocka_unit_test(test_a_replica_answers),
		cmocka_unit_test(test_a_replica_is_asked_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
