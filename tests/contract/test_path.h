/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path.h - what the files of the contract suite of path.h share.
 *
 * test_path_pair.c makes two connected ends of whatever fabric is under test; test_path_read.c and
 * test_path_life.c hold the cases that every fabric must pass; test_path_tcp.c, test_path_tls.c and
 * test_path_verbs.c speak to one fabric below path.h; test_path.c runs them.
 */
#ifndef WATARI_TEST_PATH_H
#define WATARI_TEST_PATH_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <watari/path.h>

#define TEST_SECOND 1000000000ull
#define TEST_DEADLINE_NS (20 * TEST_SECOND)
#define TEST_MEMORY (8u << 20)

/* The fabric under test, and an address of this host that it can reach. */
extern const struct wt_fabric_ops *test_ops;
extern const char *test_host;
bool test_over_tcp(void); /* in the clear or encrypted */
/* The hello with which the cases connect; and what an encrypting listener is told of it. */
void test_hello(uint8_t ret_hello[WT_PATH_HELLO_BYTES]);
void test_listener_find(struct wt_listener *listener);

/* Two connected ends and their memory. */
struct pair {
	struct wt_endpoint *server_endpoint;
	struct wt_endpoint *puller_endpoint;
	struct wt_listener *listener;
	uint16_t port;
	uint8_t *served;
	uint8_t *sink;
	struct wt_region *served_region;
	struct wt_region *sink_region;
	struct wt_key key;
	struct wt_path *serving;
	struct wt_path *pulling;
};

struct dial {
	pthread_t thread;
	struct wt_endpoint *endpoint;
	uint16_t port;
	enum wt_role role;
	uint64_t timeout_ns;
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_path *path; /* NULL: connect failed */
	int status;
	struct wt_error err;
	struct wt_path *attach; /* set: attach this one instead of connecting a new one */
};

uint64_t test_now_ns(void);
/* The content of served byte i; no period that a page or a word could hide. */
uint8_t test_pattern(size_t i);
void test_dial_start(struct dial *dial, struct wt_endpoint *endpoint, uint16_t port, enum wt_role role);
/* Waits for a request and checks its hello. */
struct wt_request *test_request_next(struct pair *pair, const uint8_t *expected);
/* Connects the puller to the server. dialled: the role of the end that connects. */
void test_pair_path(
	struct pair *pair, enum wt_role dialled, struct wt_path **ret_serving, struct wt_path **ret_pulling);
void test_pair_open(struct pair *pair, enum wt_role dialled);
void test_pair_close(struct pair *pair);
/* A read of length bytes at offset of the served region, into the same offset of the sink. */
struct wt_op test_op_read(const struct pair *pair, uint64_t cookie, size_t offset, uint32_t length);
/* Sleeps on the path's descriptor the way a loop does. */
void test_path_sleep(struct wt_path *path, uint64_t deadline);
/* Polls until `count` completions came or the path failed; answers how many, and poll's last answer. */
unsigned test_collect(struct wt_path *path, struct wt_completion *completions, unsigned count, int *ret_last);
/* Posts all, however often the path is full, and collects all. Completions are by cookie 0 .. count - 1. */
int test_transfer(struct wt_path *path, const struct wt_op *list, unsigned count, int *ret_statuses);
void test_sink_check(const struct pair *pair, size_t offset, size_t length);
void test_read_ok(struct pair *pair, size_t offset, uint32_t length);

/* Each runs a group of cases and answers how many failed. */
int test_path_read(void);
int test_path_life(void);
int test_path_peer(void);
int test_path_tcp(const struct wt_fabric_ops *fabric, const char *address);
int test_path_tls(const struct wt_fabric_ops *fabric, const char *address);
/* Only in builds with verbs; elsewhere NULL. */
int test_path_verbs(const struct wt_fabric_ops *fabric, const char *address) __attribute__((weak));

#endif
