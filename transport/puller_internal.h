/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_internal.h - what the files of the puller share: puller.c (the object, its turns), puller_listen.c
 * (who may come in), puller_server.c (messages of a server), puller_retarget.c (base, helpers, drain),
 * puller_replica.c (what is here already), puller_replica_remote.c (what a replica has).
 */
#ifndef WT_PULLER_INTERNAL_H
#define WT_PULLER_INTERNAL_H

#include <watari/puller.h>

#include "link.h"
#include "mover.h"
#include "wire.h"

#define GUESTS_MAX 16

/* In the order of preference. */
static const enum wt_fabric wt_puller_fabrics[] = { WT_FABRIC_VERBS, WT_FABRIC_TLS, WT_FABRIC_TCP };
#define FABRIC_COUNT (sizeof wt_puller_fabrics / sizeof wt_puller_fabrics[0])

/* A connection that has not said its whole hello. */
struct puller_guest {
	struct wt_puller *puller;
	struct wt_channel *channel; /* NULL: free */
	uint64_t since_ns;
	size_t gathered;
	uint8_t hello[WT_WIRE_HELLO_BYTES];
};

struct puller_server {
	struct wt_puller *puller;
	unsigned number;
	bool expected; /* a helper with this id; number 0: whoever comes first */
	uint8_t id[WT_SESSION_ID_BYTES];
	char label[WT_WIRE_TEXT_MAX + 1];
	struct wt_link link; /* session NULL: it is not there */
	uint8_t token[WT_PATH_TOKEN_BYTES];
	unsigned blocks; /* that it has listed */
	bool ready;      /* all of them: its paths are admitted */
};

enum puller_phase {
	PULLER_PULLING = 0,
	PULLER_DRAINING, /* what is under way may end, until drain_until_ns */
	PULLER_TELLING,  /* silent; says what is missing */
	PULLER_DRAINED,
};

struct puller_replica;

struct wt_puller {
	struct wt_loop *loop;
	struct wt_puller_config config;
	const struct wt_puller_events *events;
	void *arg;

	struct wt_channel_listener *listener;
	uint16_t port;
	struct puller_guest guests[GUESTS_MAX];
	struct puller_listener {
		const struct wt_fabric_ops *ops;
		struct wt_listener *listener;
		unsigned number; /* among those of its fabric */
	} data_listeners[WT_WIRE_LISTENERS_MAX];
	struct wt_wire_ready data; /* where they are; data.listeners is how many there are */
	struct wt_timer dismiss;   /* to close guests outside of their callbacks */
	struct puller_server servers[WT_PLAN_SERVERS];

	unsigned blocks;
	struct puller_block {
		uint64_t length;
		char name[WT_BLOCK_NAME_MAX + 1];
	} list[WT_BLOCKS_MAX];
	bool started, was_idle, failed;
	struct wt_mover *mover;
	struct wt_busy busy;
	struct wt_seq_range acks[WT_WIRE_RANGES_MAX]; /* taken from the plan and not sent yet */
	unsigned ack_count;

	enum puller_phase phase;
	uint32_t epoch;
	uint64_t drain_until_ns;
	struct wt_timer drain;
	struct wt_timer helpers; /* those that have not come until then are not waited for */
	unsigned missing_block;  /* TELLING: from here on */
	uint64_t missing_page;
	bool base; /* its end has come: what is left is told */
	uint64_t left_told, left_told_ns;
	uint64_t words[WT_WIRE_WORDS_MAX];

	struct puller_replica *replica; /* NULL: none, or not any more */
	uint64_t digested_pages, ahead_pages, ahead_used;
	struct wt_wire_expect replica_expect; /* server 0 said so, before BLOCKS_END; server 0: it did not */
	unsigned replica_number;              /* of the one on another host; 0: there never was one */
	uint64_t replica_bytes[WT_FABRIC_COUNT]; /* read from it, by enum wt_fabric */

	uint8_t payload[WT_WIRE_PAYLOAD_MAX];
};

/* puller.c */
void wt_puller_fail(struct wt_puller *puller, const struct wt_error *err);
/* Somebody was turned away. */
void wt_puller_refused(void *puller, const struct wt_error *err);

/* puller_listen.c */
int wt_puller_listen(struct wt_puller *puller, uint16_t *ret_port, struct wt_error *err);
void wt_puller_listen_end(struct wt_puller *puller);
int wt_puller_listen_data(struct wt_puller *puller, struct wt_error *err);
/* False: whoever connects for data waits. */
int wt_puller_admit_data(struct wt_puller *puller, bool admit);

/* puller_server.c */
void wt_puller_server_init(struct wt_puller *puller, unsigned number);
/* Takes the connection: opens its session, or renews it. */
void wt_puller_server_accept(struct puller_server *server, struct wt_channel *channel,
	const struct wt_hello *hello, const uint8_t *rest, size_t rest_length);
/* Tells each server which fabrics have no path left. */
void wt_puller_tell_lost(struct wt_puller *puller);

/* puller_replica.c: DIGESTS; the old copy is of no use any more. */
int wt_puller_digests(struct wt_puller *puller, const uint8_t *payload, size_t length, struct wt_error *err);
/* What is digested is compared with the memory itself. */
bool wt_puller_in_place(const struct wt_puller *puller);
void wt_puller_replica_end(struct wt_puller *puller);

/* puller_replica_remote.c */
bool wt_puller_is_replica(const struct puller_server *server);
/* At BLOCKS_END: server 0 has said that a replica will come. */
void wt_puller_replica_expected(struct wt_puller *puller);
/* The replica is here; REPLICA_ANSWER; it is gone, or will not come: its number is free. */
void wt_puller_replica_joined(struct puller_server *server);
int wt_puller_replica_answer(
	struct puller_server *server, const uint8_t *payload, size_t length, struct wt_error *err);
void wt_puller_replica_gone(struct puller_server *server, const struct wt_error *err);
/* Digests what has landed, before the server's digests come. */
void wt_puller_look_ahead(struct wt_puller *puller);
/* Reads from it; whether something happened. false from arm: there is news already. */
bool wt_puller_replica_turn(struct wt_puller *puller);
bool wt_puller_replica_arm(struct wt_puller *puller);
/* Closes its paths; it connects others. */
void wt_puller_replica_pause(struct wt_puller *puller);
/* What the mover has for other servers. After it was given up they do nothing, and there is no endpoint. */
int wt_puller_replica_region_add(struct wt_puller *puller, const struct wt_wire_region *region);
void wt_puller_replica_regions_clear(struct wt_puller *puller, enum wt_fabric fabric);
unsigned wt_puller_replica_lost_fabrics(struct wt_puller *puller);
int wt_puller_replica_endpoint(struct wt_puller *puller, const struct wt_fabric_ops *ops,
	const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err);
int wt_puller_replica_path_add(
	struct wt_puller *puller, const struct wt_fabric_ops *ops, struct wt_path *path);

/* puller_retarget.c */
int wt_puller_retarget_message(
	struct wt_puller *puller, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
void wt_puller_helper_joined(struct puller_server *server);
/* It will not come back: its number is free. */
void wt_puller_helper_lost(struct puller_server *server, const struct wt_error *err);
/* In each turn: what is left, what is asked for, the end of a drain. */
void wt_puller_retarget_turn(struct wt_puller *puller, uint64_t now_ns);

#endif
