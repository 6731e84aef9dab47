/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_path_internal.h - what sim_path.c (cards and their reads) and sim_path_connect.c (how paths come to be)
 * share; nobody else includes it.
 */
#ifndef WT_SIM_PATH_INTERNAL_H
#define WT_SIM_PATH_INTERNAL_H

#include "sim.h"

#include <stdlib.h>

#include <watari/path.h>

#define DEPTH_MAX 64

struct wt_endpoint {
	struct sim_party *party;
	enum wt_fabric fabric;
	unsigned uses;
};

struct wt_path {
	struct wt_path *next;
	struct wt_endpoint *endpoint;
	struct wt_path *peer; /* NULL: closed */
	struct sim_link *link;
	bool pulls, broken, seen_dead;
	int fd;
	unsigned depth, under_way, completion_count;
	struct wt_completion completions[DEPTH_MAX];
	uint64_t busy_until_ns, slow_until_ns;
	unsigned slow;
};

extern struct wt_loop *sim_card_loop; /* of the cards: what goes on whatever the relays do */

static inline void *sim_fresh(size_t bytes)
{
	void *memory = calloc(1, bytes);

	if (!memory)
		abort();
	return memory;
}

/* sim_path.c */
struct wt_path *sim_path_new(struct wt_endpoint *endpoint, bool pulls);
void sim_path_close(struct wt_path *path);
/* Sets whether its descriptor is readable. */
void sim_path_update(struct wt_path *path);

/* sim_path_connect.c */
void sim_dials_open(void);
void sim_dials_crash(struct sim_party *party);
const char *sim_dials_left(void);
int sim_verbs_listen(const char *host, uint16_t port, struct wt_listener **ret_listener, uint16_t *ret_port,
	struct wt_error *err);
int sim_tcp_listen(const char *host, uint16_t port, struct wt_listener **ret_listener, uint16_t *ret_port,
	struct wt_error *err);
void sim_listener_close(struct wt_listener *listener);
int sim_listener_fd(const struct wt_listener *listener);
int sim_listener_accept(struct wt_listener *listener, struct wt_request **ret_request,
	uint8_t ret_hello[WT_PATH_HELLO_BYTES]);
int sim_request_admit(struct wt_request *request, struct wt_endpoint *endpoint, enum wt_role role,
	struct wt_path **ret_path, struct wt_error *err);
void sim_request_refuse(struct wt_request *request);
int sim_no_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err);

#endif
