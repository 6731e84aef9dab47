/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_fabrics.c - two ranks in one thread that could talk over verbs, with a device that is made up
 * here: tcp by that name, which is missing, refuses, is slow, or does not take all memory. They talk all the
 * same, and what is written and read is right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fabrics.h"
#include "mesh.h"

#define RANKS 2
#define ANY (WT_ACCESS_SERVE | WT_ACCESS_SINK | WT_ACCESS_TARGET)
#define BYTES (1u << 20)
#define PATIENCE_NS 20000000000ull

struct node {
	struct wt_mesh *mesh;
	struct wt_mesh_peer *peer; /* the other one */
	uint32_t said;
	uint8_t *memory;
	struct wt_registration *registration;
	unsigned messages;
	bool broken;
};

static struct node nodes[RANKS];
static unsigned begun, ended; /* items */
static int status_last;
static void (*on_message)(void);

/* ---- the device ---- */

static struct wt_fabric_ops device;
static const struct wt_fabric_ops *tcp; /* the real one */
static bool missing;                    /* there is none */
static bool cannot;                     /* admit */
static const void *not_taken;           /* memory that begins here */
static atomic_int dials_that_hang;      /* each for 4 s */
static atomic_int tcp_refuses;          /* so many dials */
static atomic_int moves;                /* writes and reads that it was given */
static atomic_llong later_ns;           /* of the clock */

const struct wt_fabric_ops *__wrap_wt_fabric_ops(enum wt_fabric fabric);
const struct wt_fabric_ops *__real_wt_fabric_ops(enum wt_fabric fabric);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);

static struct wt_fabric_ops refusing_tcp;

const struct wt_fabric_ops *__wrap_wt_fabric_ops(enum wt_fabric fabric)
{
	return fabric == WT_FABRIC_VERBS ? &device : &refusing_tcp;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	int status = __real_clock_gettime(clock, ret_now);

	ret_now->tv_sec += (time_t)(atomic_load(&later_ns) / 1000000000);
	return status;
}

/* ---- paths over the device that come to nothing: what is posted to them stays there ---- */

#define HELD_MAX 256

static struct {
	struct wt_path *path;
	uint64_t cookie;
} held[HELD_MAX];
static unsigned held_count;
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER; /* dials post, too */
static bool holding;
static bool barren;         /* the end that dials does not give up, but the device carries nothing */
static atomic_int given_up; /* how many */

static int held_post(struct wt_path *path, const struct wt_op *op)
{
	int taken = -EAGAIN;

	pthread_mutex_lock(&held_lock);
	if (held_count < HELD_MAX) {
		held[held_count].path = path;
		held[held_count++].cookie = op->cookie;
		taken = 1;
	}
	pthread_mutex_unlock(&held_lock);
	return taken;
}

static int device_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	int status = barren ? -ETIMEDOUT : tcp->poll(path, ret_completions, max);
	unsigned i, n = 0, left = 0;

	pthread_mutex_lock(&held_lock);
	for (i = 0; status < 0 && i < held_count; i++) {
		if (held[i].path == path && n < max)
			ret_completions[n++] =
				(struct wt_completion){ .cookie = held[i].cookie, .status = status };
		else
			held[left++] = held[i];
	}
	if (n)
		held_count = left;
	pthread_mutex_unlock(&held_lock);
	return n ? (int)n : status;
}

static int device_open(
	const char *name, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	if (missing)
		return wt_error_set(err, ENODEV, "no RDMA device here routes to %s", peer_host);
	return tcp->endpoint_open(name, peer_host, ret_endpoint, err);
}

static int device_region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	if (base == not_taken)
		return wt_error_set(err, ENOMEM, "the locked-memory limit is too low");
	return tcp->region_add(endpoint, base, length, access, ret_region, err);
}

static int device_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	int status;

	if (cannot)
		return wt_error_set(err, ENOBUFS, "%s cannot open its end", host);
	if (atomic_fetch_sub(&dials_that_hang, 1) > 0) {
		atomic_fetch_add(&later_ns, 4000000000ll);
		return wt_error_set(err, ETIMEDOUT, "%s does not answer", host);
	}
	status = tcp->connect(endpoint, host, port, hello, role, timeout_ns, ret_path, err);
	if (status < 0 || !holding)
		return status;
	given_up++;
	if (barren)
		return status;
	tcp->close(*ret_path);
	return wt_error_set(err, ETIMEDOUT, "%s does not answer", host);
}

static int tcp_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	if (atomic_fetch_sub(&tcp_refuses, 1) > 0)
		return wt_error_set(err, ECONNREFUSED, "%s has refused", host);
	return tcp->connect(endpoint, host, port, hello, role, timeout_ns, ret_path, err);
}

static int device_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	int taken = holding ? held_post(path, ops) : tcp->post(path, ops, count);
	int i;

	for (i = 0; i < taken; i++)
		moves += ops[i].kind != WT_OP_SEND;
	return taken;
}

static void device_make(void)
{
	tcp = __real_wt_fabric_ops(WT_FABRIC_TCP);
	refusing_tcp = *tcp;
	refusing_tcp.connect = tcp_connect;
	device = *tcp;
	device.name = "verbs";
	device.fabric = WT_FABRIC_VERBS;
	device.endpoint_open = device_open;
	device.region_add = device_region_add;
	device.connect = device_connect;
	device.post = device_post;
	device.poll = device_poll;
}

/* ---- the ranks ---- */

static uint64_t now_ns(void)
{
	struct timespec now;

	__real_clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void message(void *arg, uint8_t tag, const void *bytes, size_t length)
{
	struct node *node = arg;

	uint32_t number;

	memcpy(&number, bytes, sizeof number);
	assert_int_equal(number, node->messages);
	node->messages++;
	if (on_message)
		on_message();
}

static void broken(void *arg, struct wt_mesh_name peer, const char *text)
{
	((struct node *)arg)->broken = true;
}

static void done(struct wt_mesh_item *item, int status)
{
	ended++;
	status_last = status;
	free(item->work == WT_MESH_SEND ? (void *)item->op.head : item);
}

static void turn(void)
{
	unsigned i;

	for (i = 0; i < RANKS; i++) {
		wt_mesh_accept(nodes[i].mesh, false);
		wt_mesh_progress(nodes[i].mesh);
		assert_false(nodes[i].broken);
	}
}

static void wait_for(const unsigned *counter, unsigned value)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;

	while (*counter < value) {
		turn();
		assert_true(now_ns() < deadline);
	}
}

static void attach(struct node *node, uint32_t epoch)
{
	const struct wt_fabrics wanted = { .host = "127.0.0.1", .verbs_host = "127.0.0.1" };
	struct wt_error note = { 0 }, err = { 0 };

	if (wt_fabrics_attach(node->mesh, &wanted, epoch, &note, &err) < 0)
		fail_msg("%s", wt_error_text(&err));
}

static void introduce(void)
{
	struct wt_mesh_address address;
	unsigned i;

	for (i = 0; i < RANKS; i++) {
		wt_mesh_address(nodes[1 - i].mesh, &address);
		nodes[i].peer = wt_mesh_peer(nodes[i].mesh, (struct wt_mesh_name){ 1, 1 - i });
		wt_mesh_peer_address(nodes[i].mesh, nodes[i].peer, &address);
	}
}

static void world_open(void)
{
	unsigned i;

	for (i = 0; i < RANKS; i++) {
		const struct wt_mesh_events events = {
			.message = message, .broken = broken, .arg = &nodes[i]
		};
		struct wt_error err = { 0 };

		nodes[i] = (struct node){ .memory = calloc(2, BYTES) };
		assert_int_equal(
			wt_mesh_open((struct wt_mesh_name){ 1, i }, &events, &nodes[i].mesh, &err), 0);
		attach(&nodes[i], 0);
	}
	introduce();
	begun = ended = 0;
	moves = 0;
}

/* Memory of all ranks, as much as they write and as much as they are written to. */
static void memory_register(void)
{
	struct wt_error err = { 0 };
	unsigned i;

	for (i = 0; i < RANKS; i++) {
		nodes[i].registration =
			wt_mesh_register(nodes[i].mesh, nodes[i].memory, 2 * BYTES, ANY, &err);
		if (!nodes[i].registration)
			fail_msg("%s", wt_error_text(&err));
	}
}

static void world_close(void)
{
	unsigned i;

	wait_for(&ended, begun);
	for (i = 0; i < RANKS; i++) {
		if (nodes[i].registration)
			wt_mesh_deregister(nodes[i].mesh, nodes[i].registration);
		wt_mesh_close(nodes[i].mesh);
		free(nodes[i].memory);
	}
	not_taken = NULL;
}

static void say(unsigned from)
{
	struct said {
		uint8_t head[WT_FRAME_HEAD_BYTES];
		uint32_t number;
		struct wt_mesh_item item;
	} *said = calloc(1, sizeof *said);

	begun++;
	said->number = nodes[from].said++;
	said->item.work = WT_MESH_SEND;
	said->item.done = done;
	said->item.op = (struct wt_op){ .head = said, .head_length = offsetof(struct said, number) + 4 };
	wt_mesh_submit(nodes[from].mesh, nodes[from].peer, &said->item);
}

/* `length` bytes from the first half of one's memory into the other's second half, or the other way round. */
static void move(enum wt_mesh_work work, const struct wt_handle *handle, uint32_t length)
{
	struct wt_mesh_item *item = calloc(1, sizeof *item);

	item->work = work;
	item->done = done;
	item->local = nodes[0].registration;
	item->op.local = nodes[0].memory + (work == WT_MESH_READ ? BYTES : 0);
	item->op.length = length;
	item->remote = *handle;
	item->remote_address = handle->base + (work == WT_MESH_READ ? 0 : BYTES);
	wt_mesh_submit(nodes[0].mesh, nodes[0].peer, item);
	begun++;
	wait_for(&ended, begun);
}

static void move_both_ways(const struct wt_handle *handle, uint32_t length)
{
	uint32_t seed = length;
	unsigned i;
	uint32_t k;

	for (i = 0; i < RANKS; i++) {
		memset(nodes[i].memory, 0, 2 * BYTES);
		for (k = 0; k < length; k++)
			nodes[i].memory[k] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
	}
	move(WT_MESH_WRITE, handle, length);
	assert_int_equal(status_last, 0);
	assert_memory_equal(nodes[1].memory + BYTES, nodes[0].memory, length);
	move(WT_MESH_READ, handle, length);
	assert_int_equal(status_last, 0);
	assert_memory_equal(nodes[0].memory + BYTES, nodes[1].memory, length);
	for (i = 0; i < RANKS; i++)
		for (k = length; k < BYTES; k++)
			assert_int_equal(nodes[i].memory[BYTES + k], 0);
}

static bool drained(void)
{
	unsigned i, count = 0;

	for (i = 0; i < RANKS; i++) {
		wt_mesh_accept(nodes[i].mesh, false);
		count += wt_mesh_drain(nodes[i].mesh);
	}
	return count == RANKS;
}

static void all(void (*fn)(struct wt_mesh *mesh))
{
	unsigned i;

	for (i = 0; i < RANKS; i++)
		fn(nodes[i].mesh);
}

/* Away and back. */
static void cycle(uint32_t epoch)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;
	unsigned i;

	for (i = 0; i < RANKS; i++)
		wt_mesh_quiesce(nodes[i].mesh, epoch, false);
	while (!drained())
		assert_true(now_ns() < deadline);
	all(wt_mesh_detach);
	for (i = 0; i < RANKS; i++)
		attach(&nodes[i], epoch);
	introduce();
	all(wt_mesh_join);
	while (!drained())
		assert_true(now_ns() < deadline);
	all(wt_mesh_go);
}

static void test_over_verbs(void **state)
{
	world_open();
	memory_register();
	move_both_ways(&nodes[1].registration->handle, BYTES);
	assert_string_equal(wt_mesh_fabric(nodes[0].mesh), "verbs");
	assert_int_equal(moves, 2);
	world_close();
}

/* The other end is not able to: then it is tcp, soon. */
static void test_cannot(void **state)
{
	uint64_t deadline;

	cannot = true;
	world_open();
	deadline = now_ns() + 5000000000ull;
	say(0);
	wait_for(&nodes[1].messages, 1);
	assert_true(now_ns() < deadline);
	assert_string_equal(wt_mesh_fabric(nodes[0].mesh), "tcp");
	cycle(1);
	assert_string_equal(wt_mesh_fabric(nodes[1].mesh), "tcp");
	/* At another address verbs is tried anew. */
	cannot = false;
	cycle(2);
	say(1);
	wait_for(&nodes[0].messages, 1);
	assert_string_equal(wt_mesh_fabric(nodes[1].mesh), "verbs");
	world_close();
}

/* Paths that come to nothing: nothing that was posted to them is lost, and nobody fails. */
static void test_given_up(void **state)
{
	unsigned run, from, i;

	holding = true;
	for (run = 0; run < 2 * RANKS; run++) {
		from = run % RANKS;
		barren = run / RANKS;
		given_up = 0;
		world_open();
		say(from);
		for (i = 0; i < 100; i++) {
			turn();
			say(1 - from);
			if (i % 3 == 0)
				say(from);
		}
		wait_for(&nodes[0].messages, nodes[1].said);
		wait_for(&nodes[1].messages, nodes[0].said);
		assert_true(given_up >= 3);
		assert_string_equal(wt_mesh_fabric(nodes[0].mesh), "tcp");
		given_up = 0;
		cycle(1);
		assert_true(given_up >= 3);
		assert_string_equal(wt_mesh_fabric(nodes[1].mesh), "tcp");
		world_close();
	}
	holding = barren = false;
}

/* The time that verbs has used up is not tcp's. */
static void test_time_for_tcp(void **state)
{
	dials_that_hang = 3;
	tcp_refuses = 2;
	world_open();
	say(0);
	wait_for(&nodes[1].messages, 1);
	assert_string_equal(wt_mesh_fabric(nodes[0].mesh), "tcp");
	assert_true(dials_that_hang == 0 && tcp_refuses < 0);
	world_close();
	dials_that_hang = 0;
	tcp_refuses = 0;
}

/* Memory that the device of one end or the other does not take. */
static void test_memory_not_taken(void **state)
{
	static const uint32_t lengths[] = { 1, 65535, 65536, 65537, BYTES };
	struct wt_handle old;
	unsigned i, k;

	for (k = 0; k < RANKS; k++) {
		world_open();
		not_taken = nodes[k].memory;
		memory_register();
		for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
			move_both_ways(&nodes[1].registration->handle, lengths[i]);
		assert_string_equal(wt_mesh_fabric(nodes[0].mesh), "verbs");
		assert_int_equal(moves, 0);
		/* With the handle of before, when the device takes it, and when it does not any more. */
		old = nodes[1].registration->handle;
		not_taken = NULL;
		cycle(1);
		move_both_ways(&old, BYTES);
		assert_int_equal(moves, 2);
		not_taken = nodes[k].memory;
		cycle(2);
		move_both_ways(&old, BYTES);
		assert_int_equal(moves, 2);
		assert_string_equal(wt_mesh_fabric(nodes[0].mesh), "verbs");
		world_close();
	}
}

/* What is asked of memory that is gone, or not for this, or of too much, is an error and touches nothing. */
static void test_not_granted(void **state)
{
	struct wt_error err = { 0 };
	struct wt_registration *readable;
	struct wt_handle handle;

	world_open();
	not_taken = nodes[1].memory;
	memory_register();
	readable = wt_mesh_register(nodes[1].mesh, nodes[1].memory, 2 * BYTES, WT_ACCESS_SERVE, &err);
	handle = readable->handle;
	move(WT_MESH_READ, &handle, BYTES);
	assert_int_equal(status_last, 0);
	memset(nodes[0].memory, 7, BYTES);
	move(WT_MESH_WRITE, &handle, BYTES);
	assert_int_equal(status_last, -EACCES);
	wt_mesh_deregister(nodes[1].mesh, readable);
	move(WT_MESH_READ, &handle, BYTES);
	assert_int_equal(status_last, -EACCES);
	move(WT_MESH_WRITE, &handle, 70000);
	assert_int_equal(status_last, -EACCES);
	assert_int_equal(nodes[1].memory[BYTES], 0);
	move(WT_MESH_WRITE, &nodes[1].registration->handle, BYTES);
	assert_int_equal(status_last, 0);
	assert_int_equal(nodes[1].memory[2 * BYTES - 1], 7);
	assert_int_equal(moves, 0);
	world_close();
}

static void test_which_fabrics(void **state)
{
	struct wt_fabrics wanted = { .host = "127.0.0.1", .verbs_host = "127.0.0.1" };
	struct wt_error note = { 0 }, err = { 0 };
	struct node *node = &nodes[0];

	missing = true;
	world_open(); /* a device was named, and is not there */
	assert_string_equal(wt_mesh_fabric(node->mesh), "tcp");
	say(0);
	wait_for(&nodes[1].messages, 1);
	wait_for(&ended, 1);
	wt_mesh_detach(node->mesh);
	assert_int_equal(wt_fabrics_attach(node->mesh, &wanted, 1, &note, &err), 0);
	assert_non_null(strstr(note.text, "tcp only: no RDMA device here routes to 127.0.0.1"));
	wt_mesh_detach(node->mesh);
	wanted.fabrics = "verbs";
	assert_int_equal(wt_fabrics_attach(node->mesh, &wanted, 2, &note, &err), -ENODEV);
	assert_non_null(strstr(err.text, "nothing but verbs is wanted"));
	assert_string_equal(wt_mesh_fabric(node->mesh), "-");
	missing = false;
	assert_int_equal(wt_fabrics_attach(node->mesh, &wanted, 2, &note, &err), 0);
	assert_string_equal(wt_mesh_fabric(node->mesh), "verbs");
	wt_mesh_detach(node->mesh);
	wanted.fabrics = "tcp";
	assert_int_equal(wt_fabrics_attach(node->mesh, &wanted, 3, &note, &err), 0);
	assert_string_equal(wt_mesh_fabric(node->mesh), "tcp");
	wt_mesh_detach(node->mesh);
	wanted.fabrics = "ethernet";
	assert_int_equal(wt_fabrics_attach(node->mesh, &wanted, 4, &note, &err), -EINVAL);
	world_close();
}

static void *settle_main(void *arg)
{
	bool *settled = arg;

	*settled = wt_mesh_settle(nodes[1].mesh);
	return NULL;
}

/* While a message is being delivered, in its path's buffer, nobody else polls that path. */
static void settle_beside(void)
{
	bool settled = true;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, settle_main, &settled), 0);
	pthread_join(thread, NULL);
	assert_false(settled);
}

static void test_settle_beside(void **state)
{
	world_open();
	on_message = settle_beside;
	say(0);
	wait_for(&nodes[1].messages, 1);
	on_message = NULL;
	while (!wt_mesh_settle(nodes[1].mesh))
		turn();
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_over_verbs),
		cmocka_unit_test(test_cannot),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_time_for_tcp),
		cmocka_unit_test(test_memory_not_taken),
		cmocka_unit_test(test_not_granted),
		cmocka_unit_test(test_which_fabrics),
		cmocka_unit_test(test_settle_beside),
	};

	device_make();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
