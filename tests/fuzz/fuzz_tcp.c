/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_tcp.c - libFuzzer harness of data connections over tcp: a peer that was let in, and then says what the
 * input says to a serving end, a pulling end, or an equal one. Checked besides memory safety:
 *   1. memory that is not granted is neither read nor written;
 *   2. every operation that was posted completes once;
 *   3. a path that failed says so for ever, and nothing is written afterwards.
 * The first byte is a choice (fuzz_tcp.h): the end, whether the peer speaks through TLS, and whether the
 * input is bytes as they are, or words of which the peer makes messages of the right shape. FAILS: two bytes
 * more say which call of the path's fails.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failing.h"
#include "fuzz_tcp.h"
#include "path_tcp.h"
#include "tcp_failing.h"
#include "tcp_peer.h"

#define MEMORY 65536u
#define SERVED (4 * MEMORY) /* what is longer than MEMORY is sent from the file */
#define GUARD 0x5a
#define POSTS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of this end: what our reads go to, what peers may write, what nobody may touch. */
static struct {
	uint8_t sink[MEMORY], target[MEMORY], guard[MEMORY];
} memory, before;

static struct {
	unsigned which, how;
} failing; /* of the input */

static uint8_t *readable, as_it_was[SERVED]; /* what peers may read, in a file */

static const struct wt_fabric_ops *ops;
static struct wt_endpoint *endpoint;
static struct {
	const struct wt_fabric_ops *ops;
	struct wt_listener *listener;
	uint16_t port;
} listeners[2]; /* in the clear, with TLS */
static struct wt_region *served, *gone, *sink, *target;
static struct wt_key served_key, gone_key, target_key;

ssize_t __real_recv(int fd, void *bytes, size_t length, int flags);
int __real_poll(struct pollfd *list, nfds_t count, int timeout_ms);

static uint8_t *map_file(size_t length, int *ret_fd)
{
	void *bytes;

	*ret_fd = memfd_create("fuzz", MFD_CLOEXEC);
	PROMISE(*ret_fd >= 0 && !ftruncate(*ret_fd, (off_t)length));
	bytes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	PROMISE(bytes != MAP_FAILED);
	return bytes;
}

/* Memory whose file has been cut off: it can be looked for, and is not there. */
static void open_gone(void)
{
	struct wt_error err = { 0 };
	int fd;
	uint8_t *bytes = map_file(SERVED, &fd);

	PROMISE(!ops->region_add(endpoint, bytes, SERVED, WT_ACCESS_SERVE, &gone, &err));
	ops->region_key(gone, &gone_key);
	PROMISE(!ftruncate(fd, 0));
}

static void open_listener(unsigned number, enum wt_fabric fabric)
{
	struct wt_error err = { 0 };

	listeners[number].ops = wt_fabric_ops(fabric);
	PROMISE(!listeners[number].ops->listener_open(
		"127.0.0.1", 0, &listeners[number].listener, &listeners[number].port, &err));
}

static void open_all(void)
{
	struct wt_error err = { 0 };
	int fd;

	ops = wt_fabric_ops(WT_FABRIC_TCP);
	readable = map_file(SERVED, &fd);
	memset(readable, 1, SERVED);
	memcpy(as_it_was, readable, SERVED);
	memset(memory.guard, GUARD, MEMORY);
	before = memory;
	PROMISE(!ops->endpoint_open(NULL, NULL, &endpoint, &err));
	open_listener(0, WT_FABRIC_TCP);
	open_listener(1, WT_FABRIC_TLS);
	listeners[1].ops->listener_find(listeners[1].listener, tcp_peer_find, NULL);
	PROMISE(!ops->region_add(endpoint, readable, SERVED, WT_ACCESS_SERVE, &served, &err));
	ops->region_file(served, fd, 0);
	open_gone();
	PROMISE(!ops->region_add(endpoint, memory.sink, MEMORY, WT_ACCESS_SINK, &sink, &err));
	PROMISE(!ops->region_add(endpoint, memory.target, MEMORY, WT_ACCESS_TARGET, &target, &err));
	ops->region_key(served, &served_key);
	ops->region_key(target, &target_key);
}

/* A path of which the other end is ours. NULL: a call that failed was needed. */
static struct wt_path *admit(struct tcp_peer *peer, enum wt_role role)
{
	struct wt_tcp_greeting greeting = { .magic = htole32(WT_TCP_MAGIC_GREETING),
		.version = htole32(WT_TCP_VERSION) };
	struct wt_listener *listener = listeners[peer->ssl != NULL].listener;
	struct wt_tcp_verdict verdict;
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request = NULL;
	struct wt_error err = { 0 };
	struct wt_path *path = NULL;
	bool greeted = false;
	int r = -EAGAIN;

	for (int i = 0; i < 1000 && r == -EAGAIN; i++) {
		struct pollfd wait = { .fd = ops->listener_fd(listener), .events = POLLIN };

		__real_poll(&wait, 1, i > 10 ? 1 : 0);
		if (!greeted && (!peer->ssl || tcp_peer_shake(peer))) {
			tcp_peer_put(peer, &greeting, sizeof greeting);
			greeted = true;
		}
		r = ops->listener_accept(listener, &request, hello);
	}
	PROMISE(!r);
	failing_set(failing.which, failing.how);
	r = ops->request_admit(request, endpoint, role, &path, &err);
	PROMISE(failing.which || (peer->ssl && role == WT_ROLE_PEER) || !r);
	PROMISE(!path || tcp_peer_take(peer, &verdict, sizeof verdict) == sizeof verdict || failing.which);
	return path;
}

/* ---- what the peer says: words of four bytes make messages ---- */

static uint64_t address_of(uint8_t word)
{
	return word < 250 ? (uint64_t)word * 256 : UINT64_MAX - word;
}

static uint64_t key_of(uint8_t word)
{
	if (word & 1)
		return target_key.key;
	if (word & 8)
		return gone_key.key;
	return word & 2 ? 7 : served_key.key;
}

static void put_request(struct tcp_peer *peer, const uint8_t *word, unsigned number)
{
	struct wt_tcp_request request = { .id = htole64(number),
		.address = htole64(served_key.address + address_of(word[1])),
		.key = htole64(key_of(word[0])),
		.length = htole32(word[2] * (word[0] & 4 ? 8192u : 128u)),
		.magic = htole32(word[0] & 64 ? 0 : WT_TCP_MAGIC_REQUEST) };

	tcp_peer_put(peer, &request, sizeof request);
}

/* Bytes of one that was asked for, and what became of them. */
static void put_answer(struct tcp_peer *peer, const uint8_t *word, unsigned number)
{
	static const uint8_t bytes[MEMORY];
	struct wt_tcp_trailer trailer = { .id = htole64(word[0] & 1 ? word[1] : number),
		.status = htole32(word[0] & 2 ? word[2] % 8 : WT_TCP_STATUS_OK),
		.magic = htole32(word[0] & 64 ? 0 : WT_TCP_MAGIC_TRAILER) };

	tcp_peer_put(peer, bytes, word[0] & 4 ? word[3] : 512 * (number + 1));
	tcp_peer_put(peer, &trailer, sizeof trailer);
}

static void put_frame(struct tcp_peer *peer, const uint8_t *word, unsigned number)
{
	static const uint8_t bytes[MEMORY];
	unsigned kind = word[0] % 8;
	uint32_t length = word[2] * (word[0] & 32 ? 300u : 16u);
	struct wt_tcp_frame frame = { .magic = htole32(word[0] & 64 && word[3] & 1 ? 0 : WT_TCP_MAGIC_FRAME),
		.kind = htole16((uint16_t)kind),
		.status = htole16((uint16_t)(word[0] & 16 ? word[3] % 6 : WT_TCP_STATUS_OK)),
		.length = htole32(length),
		.address = htole64(WT_TCP_ADDRESS + address_of(word[1])),
		.key = htole64(word[3] & 2                 ? 7
			       : kind == WT_TCP_FRAME_READ ? served_key.key
							   : target_key.key) };
	struct wt_tcp_trailer trailer = { .status = htole32(word[3] % 6),
		.magic = htole32(WT_TCP_MAGIC_TRAILER) };

	if (kind == WT_TCP_FRAME_DATA && !(word[0] & 16))
		frame.length = htole32(length = 512 * (number / 2 + 1)); /* what was asked for */
	tcp_peer_put(peer, &frame, sizeof frame);
	if (kind == WT_TCP_FRAME_MESSAGE || kind == WT_TCP_FRAME_WRITE || kind == WT_TCP_FRAME_DATA)
		tcp_peer_put(peer, bytes, length < MEMORY ? length : MEMORY);
	if (kind == WT_TCP_FRAME_DATA)
		tcp_peer_put(peer, &trailer, sizeof trailer);
}

static void speak(struct tcp_peer *peer, enum wt_role role, const uint8_t *data, size_t size, uint8_t choice)
{
	unsigned number = 0;

	if (!(choice & WORDS) && choice & PAST_TLS)
		tcp_peer_put_plain(peer, data, size);
	else if (!(choice & WORDS))
		tcp_peer_put(peer, data, size);
	for (size_t at = 0; choice & WORDS && at + 4 <= size && number < 64; at += 4, number++) {
		if (role == WT_ROLE_SERVE)
			put_request(peer, data + at, number);
		else if (role == WT_ROLE_PULL)
			put_answer(peer, data + at, number);
		else
			put_frame(peer, data + at, number);
	}
}

/* ---- this end ---- */

static unsigned post(struct wt_path *path, enum wt_role role)
{
	static const uint8_t head[16];
	unsigned posted = 0;

	for (unsigned i = 0; i < POSTS; i++) {
		struct wt_op op = { .kind = role == WT_ROLE_PEER && i % 2 ? WT_OP_WRITE : WT_OP_READ,
			.length = 512 * (i + 1),
			.cookie = i,
			.local = memory.sink + i * 8192,
			.local_region = sink,
			.remote_address = WT_TCP_ADDRESS,
			.remote_key = 3 };

		posted += ops->post(path, &op, 1) == 1;
	}
	if (role == WT_ROLE_PEER) {
		struct wt_op message = {
			.kind = WT_OP_SEND, .cookie = POSTS, .head = head, .head_length = sizeof head
		};

		posted += ops->post(path, &message, 1) == 1;
	}
	return posted;
}

static void look_at(const uint8_t *message, uint32_t length)
{
	volatile uint8_t ends = length ? message[0] ^ message[length - 1] : 0;

	(void)ends;
}

/* Answers how many operations have completed; *ret_error: the path's. */
static unsigned poll_some(struct wt_path *path, bool messages, unsigned rounds, bool *seen, int *ret_error)
{
	struct wt_completion list[16];
	unsigned completed = 0;

	*ret_error = 0;
	for (unsigned round = 0; round < rounds && !*ret_error; round++) {
		int n = ops->poll(path, list, 16);

		if (n < 0)
			*ret_error = n;
		for (int i = 0; i < n; i++) {
			if (messages && list[i].message) {
				PROMISE(list[i].length <= WT_PATH_MESSAGE_MAX);
				look_at(list[i].message, list[i].length);
				continue;
			}
			PROMISE(list[i].cookie <= POSTS && !seen[list[i].cookie]);
			seen[list[i].cookie] = true;
			completed++;
		}
		if (!n)
			ops->arm(path);
	}
	return completed;
}

/* All that the peer is sent, until there is nothing more to come. */
static void drain(struct tcp_peer *peer)
{
	struct pollfd wait = { .fd = peer->fd, .events = POLLIN };
	uint8_t bytes[4096];

	while (__real_poll(&wait, 1, 1000) > 0 && __real_recv(peer->fd, bytes, sizeof bytes, 0) > 0)
		;
}

static void poll_both(struct wt_path *path, struct tcp_peer *peer, unsigned posted, bool messages)
{
	bool seen[POSTS + 1] = { false };
	uint8_t bytes[4096];
	unsigned completed;
	int error, again;

	completed = poll_some(path, messages, 8, seen, &error);
	tcp_peer_end(peer);
	while (tcp_peer_take(peer, bytes, sizeof bytes))
		;
	if (!error)
		completed += poll_some(path, messages, 16, seen, &error);
	PROMISE(completed <= posted && (!error || completed == posted));
	poll_some(path, messages, 1, seen, &again);
	PROMISE(!error || again == error);
}

static void try_path(struct wt_path *path, struct tcp_peer *peer, enum wt_role role, const uint8_t *data,
	size_t size, uint8_t choice)
{
	unsigned posted = role == WT_ROLE_SERVE ? 0 : post(path, role);

	speak(peer, role, data, size, choice);
	if (role == WT_ROLE_SERVE) {
		tcp_peer_end(peer);
		drain(peer);
	} else {
		poll_both(path, peer, posted, role == WT_ROLE_PEER);
	}
	ops->alive(path);
	ops->close(path);
}

static void try_end(enum wt_role role, const uint8_t *data, size_t size, uint8_t choice)
{
	struct tcp_peer peer;
	struct wt_path *path;

	PROMISE(tcp_peer_dial(&peer, listeners[(choice & THROUGH_TLS) != 0].port, choice & THROUGH_TLS));
	path = admit(&peer, role);
	if (path)
		try_path(path, &peer, role, data, size, choice);
	failing_set(0, 0);
	tcp_peer_close(&peer);
	PROMISE(!memcmp(memory.guard, before.guard, MEMORY) && !memcmp(readable, as_it_was, SERVED));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum wt_role roles[] = { WT_ROLE_SERVE, WT_ROLE_PULL, WT_ROLE_PEER, WT_ROLE_SERVE };
	uint8_t choice = size ? data[0] : 0;
	size_t begin = choice & FAILS ? 3 : 1;

	if (!ops)
		open_all();
	if (size < begin)
		return 0;
	failing.which = choice & FAILS ? data[1] % FAIL_COUNT : 0;
	failing.how = choice & FAILS ? data[2] : 0;
	try_end(roles[choice & END], data + begin, size - begin, choice);
	return 0;
}
