/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_server.c - the server's half of a change of the puller, against pullers that say what the test wants:
 * drain, base, what was pending, coming back, helpers, and what is asked for.
 *
 * The random test plays a guest that announces pages and a puller O that lands them in pieces, drains it at
 * any moment, and checks that a second puller N is told of every page exactly what is right for it.
 */
#include "server_world.h"

static void test_drain_and_take_over(void **state)
{
	struct wt_wire_pages missing = { .extent = { .block = RAM, .page = 60, .pages = 5 }, .all = true };
	uint8_t bytes[64];

	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 100, WT_CONTENT_IN_PLACE) == 0);
	check(announce(&o, RAM, 100, 50, WT_CONTENT_ZERO) == 0);
	check(announce(&o, RAM, 90, 20, WT_CONTENT_IN_PLACE) == 0); /* stays pending */
	hear(&o, WT_MESSAGE_ANNOUNCE, 3);
	fake_landed(&o.fake, 1, 2);
	settle(&o);
	drain(&o);
	fake_say(&o.fake, WT_MESSAGE_MISSING, bytes, wt_wire_missing_encode(&missing, NULL, bytes));
	say_drained(&o, 1);
	for (uint64_t p = 0; p < PAGES_MAX; p++)
		check(valid(&o, RAM, p) == (p < 90 && (p < 60 || p >= 65)));

	serve(&n, false, NULL);
	send_base(&n, &o, &o);
	hear_base(&n, 0);
	for (uint64_t p = 0; p < PAGES_MAX; p++) {
		check(base.need[RAM][p] == (p < 90));
		check(base.has[RAM][p] == valid(&o, RAM, p));
		check(base.zero[RAM][p] == (p >= 110 && p < 150));
	}
	check(wt_server_hand_over(n.server, o.server) == 0);
	wt_server_flush(n.server);
	hear(&n, WT_MESSAGE_ANNOUNCE, 1);
	hear_announcements(&n);
	check(heard.next_seq == 2 && heard.list[1].extent.page == 90 && heard.list[1].extent.pages == 20);
	check(heard.list[1].content == WT_CONTENT_IN_PLACE);

	/* What is announced to N is not O's any more. */
	check(announce(&n, RAM, 10, 3, WT_CONTENT_IN_PLACE) == 0);
	for (uint64_t p = 8; p < 16; p++)
		check(valid(&o, RAM, p) == (p < 10 || p > 12));
	close_world();
}

/* An old zero that is pending must not be told of pages with newer content, landed or not. */
static void test_pending_zero_under_newer_content(void **state)
{
	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 30, WT_CONTENT_ZERO) == 0);
	check(announce(&o, RAM, 10, 5, WT_CONTENT_IN_PLACE) == 0); /* lands */
	check(announce(&o, RAM, 20, 5, WT_CONTENT_IN_PLACE) == 0); /* does not */
	hear(&o, WT_MESSAGE_ANNOUNCE, 3);
	fake_landed(&o.fake, 2, 1);
	settle(&o);
	drain(&o);
	say_drained(&o, 1);
	serve(&n, false, NULL);
	send_base(&n, &o, &o);
	check(wt_server_hand_over(n.server, o.server) == 0);
	wt_server_flush(n.server);
	hear(&n, WT_MESSAGE_ANNOUNCE, 1);
	hear_base(&n, 0);
	hear_announcements(&n);
	for (uint64_t p = 0; p < 30; p++) {
		bool lands = p >= 10 && p < 15, content = p >= 20 && p < 25, told = false;

		for (uint64_t i = 1; i < heard.next_seq; i++) {
			const struct wt_announcement *what = &heard.list[i];

			if (p < what->extent.page || p >= what->extent.page + what->extent.pages)
				continue;
			check(!told);
			told = true;
			check(what->content == (content ? WT_CONTENT_IN_PLACE : WT_CONTENT_ZERO));
		}
		check(told == !lands);
		check(base.has[RAM][p] == lands && base.need[RAM][p] == lands);
	}
	close_world();
}

static void test_drain_is_taken_back(void **state)
{
	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 10, WT_CONTENT_IN_PLACE) == 0);
	hear(&o, WT_MESSAGE_ANNOUNCE, 1);
	check(wt_server_drain(o.server) == 0);
	check(wt_server_drain(o.server) == -EINVAL);
	wt_server_undrain(o.server);
	hear(&o, WT_MESSAGE_DRAIN, 2);
	fake_epoch(&o.fake, WT_MESSAGE_DRAINED, 1); /* it crossed */
	settle(&o);
	check(!o.drained && o.server->former == -1 && wt_rails_serving(o.server->rails));
	check(announce(&o, RAM, 10, 10, WT_CONTENT_IN_PLACE) == 0);
	hear(&o, WT_MESSAGE_ANNOUNCE, 2);
	drain(&o);
	fake_epoch(&o.fake, WT_MESSAGE_DRAINED, 1); /* of the drain before */
	settle(&o);
	check(!o.drained);
	say_drained(&o, 2);
	wt_server_undrain(o.server); /* too late */
	check(o.server->phase == WT_SERVER_DRAINED);
	close_world();
}

/* N drains, and O gets what it lacks. */
static void test_back_to_the_first(void **state)
{
	struct wt_error err = { 0 };
	unsigned from;

	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(wt_server_restart(o.server, &err) == -EINVAL);
	check(announce(&o, RAM, 0, 100, WT_CONTENT_IN_PLACE) == 0);
	check(announce(&o, ROM, 0, 1, WT_CONTENT_IN_PLACE) == 0);
	hear(&o, WT_MESSAGE_ANNOUNCE, 2);
	fake_landed(&o.fake, 1, 2);
	settle(&o);
	drain(&o);
	say_drained(&o, 1);
	serve(&n, false, NULL);
	send_base(&n, &o, &o);
	check(wt_server_hand_over(n.server, o.server) == 0);
	check(announce(&n, RAM, 40, 30, WT_CONTENT_IN_PLACE) == 0); /* lands */
	check(announce(&n, RAM, 60, 20, WT_CONTENT_IN_PLACE) == 0); /* does not */
	hear(&n, WT_MESSAGE_ANNOUNCE, 2);
	fake_landed(&n.fake, 1, 1);
	settle(&n);
	drain(&n);
	say_drained(&n, 1);

	from = o.fake.count;
	o.ready = 0;
	wt_error_clear(&err);
	check(wt_server_restart(o.server, &err) == 0);
	wait_for(&o, is_ready);
	check(o.server->former >= 0);
	send_base(&o, &n, &n);
	check(o.server->former == -1);
	hear_base(&o, from);
	for (uint64_t p = 0; p < PAGES_MAX; p++) {
		check(base.need[RAM][p] == (p >= 40 && p < 60));
		check(base.has[RAM][p] == (p < 60 || (p >= 80 && p < 100)));
	}
	check(wt_server_hand_over(o.server, n.server) == 0);
	check(announce(&o, ROM, 5, 1, WT_CONTENT_IN_PLACE) == 0);
	wait_for(&o, all_is_heard);
	check(heard.next_seq == 3 && heard.list[2].staged_offset == 0); /* all of the ring is free again */
	check(heard.list[1].extent.page == 60 && heard.list[1].extent.pages == 20);
	check(fake_find(&o.fake, WT_MESSAGE_REGION, from));
	close_world();
}

/* It does not answer: its copy counts for nothing, and what was pending is known all the same. */
static void test_left_without_an_answer(void **state)
{
	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 10, WT_CONTENT_IN_PLACE) == 0);
	check(announce(&o, RAM, 10, 10, WT_CONTENT_ZERO) == 0);
	hear(&o, WT_MESSAGE_ANNOUNCE, 2);
	fake_landed(&o.fake, 1, 1);
	settle(&o);
	check(wt_server_drain(o.server) == 0);
	check(wt_server_leave(o.server) == 0);
	check(o.server->former == -1 && o.server->run_count == 1);
	serve(&n, false, NULL);
	send_base(&n, &o, &o);
	hear_base(&n, 0);
	for (uint64_t p = 0; p < PAGES_MAX; p++)
		check(base.need[RAM][p] == (p < 10) && !base.has[RAM][p]);
	check(wt_server_hand_over(n.server, o.server) == 0);
	close_world();
}

/* It is left while it is still being told what was announced before: that ends, and nobody hears that it was.
 */
static void test_left_before_base_is_sent(void **state)
{
	struct wt_server_base what = { .policy = WT_BASE_FASTEST };
	struct wt_error err = { 0 };

	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 10, WT_CONTENT_IN_PLACE) == 0);
	drain(&o);
	say_drained(&o, 1);
	serve(&n, false, NULL);
	what.helpers = 1;
	what.helper[0].number = 1;
	what.helper[0].server = o.server;
	n.base_sent = 0;
	check(wt_server_base(n.server, &what, &err) == 0);
	check(wt_server_leave(n.server) == 0);
	check(wt_server_restart(o.server, &err) == 0); /* what it has is not kept for the one that was left */
	check(!runs_until(never, 50000000) && !n.base_sent);
	check(fake_heard(&n.fake, WT_MESSAGE_BASE_END) == 0);
	close_world();
}

/* Nothing is lost when the session is full, and no piece is larger than the puller takes. */
static void test_base_in_pieces(void **state)
{
	static uint8_t filler[WT_WIRE_PAYLOAD_MAX];
	static uint64_t words[WT_WIRE_WORDS_MAX];
	const uint32_t pages = (5u << 18) + 3; /* of the guest: 5 GiB and a little */
	struct wt_server_base what = { .policy = WT_BASE_SPARE_SOURCE, .rate_limit = 7 };
	struct wt_wire_base_end end;
	struct wt_wire_base piece;
	struct wt_error err = { 0 };
	uint64_t zeros = 0, needs = 0;

	seed_start(1);
	open_world();
	check(wt_memory_block_add(memory, "big", NULL, (uint64_t)pages * WT_PAGE_SIZE, -1, 0, &err) == 2);
	serve(&o, false, NULL);
	wt_memory_announced_now(memory, &(struct wt_extent){ .block = 2, .pages = pages }, true);
	wt_memory_announced_now(
		memory, &(struct wt_extent){ .block = 2, .page = 70, .pages = pages - 70 }, false);
	wt_memory_announced_now(
		memory, &(struct wt_extent){ .block = 2, .page = 1u << 19, .pages = 1u << 19 }, true);
	wt_channel_pause(o.fake.link.channel, 1);
	while (wt_server_send(o.server, WT_MESSAGE_APPLICATION, filler, sizeof filler) == 0)
		;
	check(wt_server_base(o.server, &what, &err) == 0);
	check(!runs_until(never, 50000000) && !o.base_sent);
	wt_channel_pause(o.fake.link.channel, 0);
	wait_for(&o, is_base_sent);
	hear(&o, WT_MESSAGE_BASE_END, 1);
	for (unsigned i = 0; i < o.fake.count; i++) {
		const struct fake_message *message = &o.fake.messages[i];

		if (message->type == WT_MESSAGE_BASE_END)
			check(wt_wire_base_end_decode(message->payload, message->length, &end) == 0);
		if (message->type != WT_MESSAGE_BASE)
			continue;
		check(wt_wire_base_decode(message->payload, message->length, &piece, words) == 0);
		for (uint32_t p = 0; p < piece.pages.extent.pages; p++)
			if (piece.pages.all || words[p / 64] >> p % 64 & 1)
				*(piece.kind == WT_WIRE_BASE_ZERO ? &zeros : &needs) += 1;
	}
	check(end.policy == 2 && end.rate_limit == 7);
	check(zeros == 70 + (1u << 19) && needs == pages - zeros);
	close_world();
}

/* ---- reading ---- */

static bool is_read(void)
{
	const struct wt_fabric_ops *ops = wt_fabric_ops(WT_FABRIC_TCP);
	struct wt_completion completion;
	int r = ops->poll(waiting_for->fake.paths[0], &completion, 1);

	check(r >= 0 && (r == 0 || completion.status == 0));
	return r == 1;
}

/* One page by the last region that was told for this block. */
static uint64_t read_page(struct side *side, uint32_t block, uint64_t offset)
{
	const struct wt_fabric_ops *ops = wt_fabric_ops(WT_FABRIC_TCP);
	static uint8_t page[WT_PAGE_SIZE];
	struct wt_wire_region region, found = { .key.length = 0 };
	struct wt_op op = { .kind = WT_OP_READ, .length = WT_PAGE_SIZE, .local = page };
	struct wt_error err = { 0 };
	uint64_t value;

	for (unsigned i = 0; i < side->fake.count; i++)
		if (side->fake.messages[i].type == WT_MESSAGE_REGION &&
			wt_wire_region_decode(side->fake.messages[i].payload, side->fake.messages[i].length,
				&region) == 0 &&
			region.block == block)
			found = region;
	check(found.key.length > 0 && side->fake.path_count > 0);
	check(ops->region_add(
		      side->fake.endpoint, page, sizeof page, WT_ACCESS_SINK, &op.local_region, &err) == 0);
	op.remote_address = found.key.address + offset % found.key.length;
	op.remote_key = found.key.key;
	check(ops->post(side->fake.paths[0], &op, 1) == 1);
	wait_for(side, is_read);
	ops->region_remove(op.local_region);
	memcpy(&value, page, sizeof value);
	return value;
}

static void test_helper_serves_and_says_nothing(void **state)
{
	static const uint8_t id[WT_SERVER_SESSION_ID_BYTES] = "chosen by S";
	uint64_t value = 4711;

	seed_start(1);
	open_world();
	memcpy(ram + 7 * WT_PAGE_SIZE, &value, sizeof value);
	serve(&o, true, id);
	check(memcmp(wt_session_id(o.fake.link.session), id, sizeof id) == 0);
	hear(&o, WT_MESSAGE_REGION, 1); /* no ring */
	check(fake_heard(&o.fake, WT_MESSAGE_BLOCK) == BLOCKS && fake_heard(&o.fake, WT_MESSAGE_REGION) == 1);
	check(announce(&o, RAM, 0, 1, WT_CONTENT_ZERO) == -EINVAL && !wt_server_room(o.server));
	check(wt_server_drain(o.server) == -EINVAL);
	check(read_page(&o, RAM, 7 * WT_PAGE_SIZE) == value);
	fake_say(&o.fake, WT_MESSAGE_WANT, (uint8_t[5]){ 1 }, 5); /* not from a helper */
	wait_for(&o, has_failed);
	close_world();
}

static void ask(struct side *side, uint32_t block, uint64_t page, uint32_t pages, enum wt_priority priority)
{
	struct wt_extent e = { .block = block, .page = page, .pages = pages };
	uint8_t bytes[64];

	fake_say(&side->fake, WT_MESSAGE_WANT, bytes, wt_wire_want_encode(priority, &e, 1, bytes));
}

static void test_what_is_asked_for_is_announced(void **state)
{
	struct wt_server_stats stats;

	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 300, WT_CONTENT_IN_PLACE) == 0);
	hear(&o, WT_MESSAGE_ANNOUNCE, 1);
	ask(&o, RAM, 20, 10, WT_PRIORITY_FAULT);
	hear(&o, WT_MESSAGE_ANNOUNCE, 2);
	hear_announcements(&o);
	check(heard.list[heard.next_seq - 1].extent.page == 20 &&
		heard.list[heard.next_seq - 1].extent.pages == 10);
	check(heard.list[heard.next_seq - 1].priority == WT_PRIORITY_FAULT);
	wt_server_stats(o.server, &stats);
	check(stats.wanted_pages == 0);
	check(announce(&o, RAM, 0, 1, WT_CONTENT_IN_PLACE) == 0);
	hear(&o, WT_MESSAGE_ANNOUNCE, 3);
	hear_announcements(&o);
	check(heard.list[heard.next_seq - 1].priority == WT_PRIORITY_DIRTY);
	ask(&o, ROM, 0, 1, WT_PRIORITY_BULK);
	wait_for(&o, has_failed);
	check(strstr(o.text, "page 0 of block rom"));
	close_world();
}

static void test_asking_for_what_there_is_not(void **state)
{
	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	ask(&o, RAM, PAGES_MAX - 1, 2, WT_PRIORITY_BULK);
	wait_for(&o, has_failed);
	check(strstr(o.text, "no block has"));
	close_world();
}

static bool is_told(void)
{
	return waiting_for->helpers && waiting_for->expected && waiting_for->base_left;
}

static void test_helpers_are_arranged(void **state)
{
	struct wt_server_order order = {
		.host = "192.0.2.1", .port = 4711, .name = "vm", .session_id = "id", .number = 3
	};
	struct wt_wire_helper helper = { .server = 3, .state = WT_WIRE_HELPER_LOST, .text = "gone" };
	struct wt_wire_expect expect;
	struct wt_wire_serve serve_there;
	const struct fake_message *message;
	uint8_t bytes[64];

	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	wt_server_expect(o.server, 3, order.session_id, "old");
	wt_server_serve(o.server, &order);
	wt_server_serve_end(o.server, 3);
	wt_server_release(o.server);
	hear(&o, WT_MESSAGE_RELEASE, 1);
	message = fake_find(&o.fake, WT_MESSAGE_EXPECT, 0);
	check(message && wt_wire_expect_decode(message->payload, message->length, &expect) == 0);
	check(expect.server == 3 && !memcmp(expect.session_id, order.session_id, sizeof order.session_id) &&
		!strcmp(expect.label, "old"));
	message = fake_find(&o.fake, WT_MESSAGE_SERVE, 0);
	check(message && wt_wire_serve_decode(message->payload, message->length, &serve_there) == 0);
	check(serve_there.server == 3 && serve_there.port == 4711 && !strcmp(serve_there.host, "192.0.2.1"));
	check(!serve_there.replica && !expect.replica);
	order.digest_key = some_keys[0];
	wt_server_serve(o.server, &order);
	hear(&o, WT_MESSAGE_SERVE, 2);
	message = fake_find(&o.fake, WT_MESSAGE_SERVE, (unsigned)(message - o.fake.messages) + 1);
	check(message && wt_wire_serve_decode(message->payload, message->length, &serve_there) == 0);
	check(serve_there.replica && !memcmp(serve_there.key, some_keys[0], sizeof some_keys[0]));
	check(fake_heard(&o.fake, WT_MESSAGE_SERVE_END) == 1);
	fake_say(&o.fake, WT_MESSAGE_EXPECTED, bytes,
		wt_wire_expected_encode(&(struct wt_wire_expected){ .server = 3, .port = 99 }, bytes));
	fake_say(&o.fake, WT_MESSAGE_HELPER, bytes, wt_wire_helper_encode(&helper, bytes));
	fake_say(&o.fake, WT_MESSAGE_BASE_LEFT, bytes, wt_wire_base_left_encode(17, bytes));
	wait_for(&o, is_told);
	check(o.expected == 3 && o.port == 99 && o.base_left == 17 && !strcmp(o.text, "3 2 gone"));
	close_world();
}

static void hostile(unsigned type, const void *payload, size_t length)
{
	open_world();
	serve(&o, false, NULL);
	fake_say(&o.fake, type, payload, length);
	wait_for(&o, has_failed);
	close_world();
}

static void test_hostile_puller(void **state)
{
	static const uint8_t zeros[WT_DIGEST_KEY_BYTES], one[4] = { 1 };
	static const uint8_t key[1 + WT_DIGEST_KEY_BYTES] = { 1 }, ask[8 + 16] = { [8 + 12] = 1 };

	seed_start(1);
	hostile(WT_MESSAGE_DRAINED, one, 4); /* nobody told it to drain */
	hostile(WT_MESSAGE_DRAINED, zeros, 4);
	hostile(WT_MESSAGE_MISSING, zeros, 3);
	hostile(WT_MESSAGE_EXPECTED, zeros, 3);
	hostile(WT_MESSAGE_HELPER, zeros, 4);
	hostile(WT_MESSAGE_BASE_LEFT, zeros, 4);
	hostile(WT_MESSAGE_DIGEST_KEY, key, sizeof key); /* too late */
	hostile(WT_MESSAGE_DIGESTS, zeros, 13 + WT_DIGEST_BYTES);
	hostile(WT_MESSAGE_REPLICA_ASK, ask, sizeof ask); /* it is no replica */
	hostile(WT_MESSAGE_DRAIN, one, 4);                /* it is the server who says that */
}

/* ---- random ---- */

#define STEPS 120
#define ANNOUNCEMENTS_MAX 2000

/* The guest, and what O has made of it. */
static struct {
	unsigned announced[BLOCKS][PAGES_MAX]; /* how often */
	uint64_t version[BLOCKS][PAGES_MAX];   /* the content that was announced last; 0: zero */
	unsigned applied[BLOCKS][PAGES_MAX];   /* announcements that O has carried out, in their order */
	uint64_t last[BLOCKS][PAGES_MAX];      /* number of the last announcement */
	bool landed[ANNOUNCEMENTS_MAX];
	bool done[ANNOUNCEMENTS_MAX][PAGES_MAX]; /* pages of an announcement */
	uint16_t which[ANNOUNCEMENTS_MAX]
		      [PAGES_MAX]; /* how many announcements of the page were before this one */
	uint64_t next;             /* announcements that were taken over from `heard` */
	uint64_t versions;
} m;

static void write_page(uint8_t *page)
{
	memset(page, 0, WT_PAGE_SIZE);
	memcpy(page, &m.versions, sizeof m.versions);
}

static void guest_writes(struct side *side)
{
	static uint8_t bytes[32 * WT_PAGE_SIZE];
	struct wt_extent e = { .block = (uint32_t)seed_below(BLOCKS) }, rest;
	bool zero = seed_below(3) == 0;
	int r;

	e.page = seed_below(block_pages[e.block]);
	e.pages = 1 + (uint32_t)seed_below(30);
	if (e.pages > block_pages[e.block] - e.page)
		e.pages = (uint32_t)(block_pages[e.block] - e.page);
	rest = e;
	for (uint32_t i = 0; i < e.pages; i++) {
		m.versions++;
		m.announced[e.block][e.page + i]++;
		m.version[e.block][e.page + i] = zero ? 0 : m.versions;
		write_page(bytes + i * WT_PAGE_SIZE);
		if (e.block == RAM)
			write_page(ram + (e.page + i) * WT_PAGE_SIZE);
		if (e.block == RAM && zero)
			memset(ram + (e.page + i) * WT_PAGE_SIZE, 0, WT_PAGE_SIZE);
	}
	if (zero || e.block == RAM)
		r = wt_server_announce(side->server, &rest, zero ? WT_CONTENT_ZERO : WT_CONTENT_IN_PLACE);
	else
		r = wt_server_announce_copy(side->server, &rest, bytes);
	check(r == 0);
}

/* Takes what O has heard over into the model. */
static void take_announcements(void)
{
	static unsigned count[BLOCKS][PAGES_MAX];

	if (m.next == 0) {
		memset(count, 0, sizeof count);
		m.next = 1;
	}
	hear_announcements(&o);
	for (; m.next < heard.next_seq; m.next++) {
		const struct wt_extent *e = &heard.list[m.next].extent;

		check(m.next < ANNOUNCEMENTS_MAX);
		for (uint32_t i = 0; i < e->pages; i++) {
			m.which[m.next][i] = (uint16_t)count[e->block][e->page + i]++;
			m.last[e->block][e->page + i] = m.next;
		}
	}
}

/* O carries out some pages of some announcement; one that is complete has landed. */
static void puller_works(void)
{
	uint64_t seq = m.next > 1 ? 1 + seed_below(m.next - 1) : 0;
	const struct wt_extent *e = &heard.list[seq].extent;
	bool all = true;

	if (!seq || m.landed[seq])
		return;
	for (uint32_t i = 0; i < e->pages; i++) {
		unsigned *applied = &m.applied[e->block][e->page + i];

		if (!m.done[seq][i] && *applied == m.which[seq][i] && seed_below(8)) {
			m.done[seq][i] = true;
			++*applied;
		}
		all &= m.done[seq][i];
	}
	if (!all)
		return;
	m.landed[seq] = true;
	fake_landed(&o.fake, seq, 1);
}

static void check_valid(void)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
		for (uint64_t p = 0; p < block_pages[b]; p++) {
			bool landed = m.announced[b][p] && m.landed[m.last[b][p]];

			check(valid(&o, b, p) == (landed && m.version[b][p] != 0));
			check(!valid(&o, b, p) || m.applied[b][p] == m.announced[b][p]);
		}
}

/* What N is told of this page, besides base; NULL: nothing. */
static const struct wt_announcement *told_of(uint32_t block, uint64_t page)
{
	const struct wt_announcement *found = NULL;

	for (uint64_t i = 1; i < heard.next_seq; i++) {
		const struct wt_announcement *what = &heard.list[i];

		if (what->extent.block != block || page < what->extent.page ||
			page >= what->extent.page + what->extent.pages)
			continue;
		check(!found); /* once */
		found = what;
	}
	return found;
}

static void check_told(uint32_t block, uint64_t page)
{
	const struct wt_announcement *what = told_of(block, page);
	uint64_t version = m.version[block][page];

	if (!m.announced[block][page]) {
		check(!what && !base.zero[block][page] && !base.need[block][page] && !base.has[block][page]);
		return;
	}
	check(!base.has[block][page] || valid(&o, block, page));
	if (!what) {
		check(base.zero[block][page] == (version == 0) && base.need[block][page] == (version != 0));
		check(block == RAM || !version || base.has[block][page]); /* nobody else has it */
		return;
	}
	check((what->content == WT_CONTENT_ZERO) == (version == 0));
	check(!base.need[block][page]);
	if (what->content == WT_CONTENT_STAGED)
		check(block == ROM && read_page(&n, WT_WIRE_RING,
					      what->staged_offset + ((page - what->extent.page)
									    << WT_PAGE_SHIFT)) == version);
}

static void random_run(void)
{
	uint64_t end = 1 + seed_below(STEPS);

	open_world();
	memset(&m, 0, sizeof m);
	serve(&o, false, NULL);
	for (uint64_t i = 0; i < end; i++) {
		const struct wt_server_deferral how = { seed_below(2) * seed_below(16), MS_NS,
			seed_below(3) };

		if (seed_below(16) == 0)
			check(wt_server_defer(o.server, &how) == 0);
		if (seed_below(2))
			guest_writes(&o);
		else
			puller_works();
		if (seed_below(4) == 0) {
			wt_server_flush(o.server);
			wait_for(&o, all_is_heard);
			take_announcements();
		}
	}
	drain(&o);
	wait_for(&o, all_is_heard);
	take_announcements();
	say_drained(&o, 1);
	check_valid();
	serve(&n, false, NULL);
	send_base(&n, &o, &o);
	hear_base(&n, 0);
	check(wt_server_hand_over(n.server, o.server) == 0);
	wt_server_flush(n.server);
	wait_for(&n, all_is_heard);
	for (uint32_t b = 0; b < BLOCKS; b++)
		for (uint64_t p = 0; p < block_pages[b]; p++)
			check_told(b, p);
	close_world();
}

static void test_take_over_at_any_moment(void **state)
{
	seed_runs(40, random_run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain_and_take_over),
		cmocka_unit_test(test_pending_zero_under_newer_content),
		cmocka_unit_test(test_drain_is_taken_back),
		cmocka_unit_test(test_back_to_the_first),
		cmocka_unit_test(test_left_without_an_answer),
		cmocka_unit_test(test_left_before_base_is_sent),
		cmocka_unit_test(test_base_in_pieces),
		cmocka_unit_test(test_helper_serves_and_says_nothing),
		cmocka_unit_test(test_what_is_asked_for_is_announced),
		cmocka_unit_test(test_asking_for_what_there_is_not),
		cmocka_unit_test(test_helpers_are_arranged),
		cmocka_unit_test(test_hostile_puller),
		cmocka_unit_test(test_take_over_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
