/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_internal.h - the destination relay's state, shared by destination.c (who runs),
 * destination_feed.c (QEMU's end of the feed), destination_serve.c (once it is retired) and
 * destination_replica.c (an old copy).
 */
#ifndef WATARI_QEMU_DESTINATION_INTERNAL_H
#define WATARI_QEMU_DESTINATION_INTERNAL_H

#include <watari/puller.h>

#include "common_memory.h"
#include "destination.h"
#include "destination_switch.h"
#include "feed.h"
#include "hold.h"
#include "messages.h"
#include "passthrough.h"
#include "progress.h"
#include "relay.h"
#include "replica_file.h"
#include "replica_request.h"
#include "verify_job.h"

/* Serving the destination that has taken the place of this one. */
struct wt_destination_serve {
	struct wt_memory *memory; /* NULL: never served */
	unsigned blocks;          /* in it */
	struct wt_server *server; /* NULL: nobody is served */
	struct wt_server_order order;
	char host[256], name[256];        /* instead of those that order points to */
	uint8_t key[WT_DIGEST_KEY_BYTES]; /* ... too, if it serves as a replica */
	bool joined;
	struct wt_timer bury; /* the server has failed */
};

/* An old copy of the guest's RAM: here, or on another host. */
struct wt_destination_replica {
	struct wt_channel *channel; /* to who is asked to come; NULL: nobody is */
	char answer[WT_REPLICA_ANSWER_MAX];
	size_t length;                          /* of it, so far */
	struct wt_replica *files;               /* NULL: none */
	bool own_memory;                        /* QEMU's RAM itself; what it has is old */
	const struct wt_replica_block **images; /* by the server's number; NULL: none of this block */
};

/* Devices that did not move with the guest. */
struct wt_destination_devices {
	struct wt_passthrough *passthrough; /* NULL: none */
	bool waiting;                       /* the loop runs until they are where they belong */
};

struct wt_destination {
	struct wt_relay relay;
	const struct wt_destination_options *options;
	struct wt_puller *puller;
	struct wt_destination_switch machine;
	struct wt_relay_socket place; /* of the socket that QEMU listens on */
	struct wt_feed feed;
	struct wt_verify_job verify;
	struct wt_destination_serve serve;
	struct wt_destination_replica replica;
	struct wt_destination_devices devices;
	struct wt_common_memory *common; /* NULL: memory is pulled */
	struct wt_hold hold;
	struct wt_relay_guest guest;
	bool guest_known;
	bool quitting, qemu_gone; /* QEMU was told to; has */
	unsigned block_count;
	const struct wt_ram_block **blocks; /* by the server's number */
	struct wt_timer poll, progress, deadline;
	struct wt_error failure;
	uint64_t run_tries, linger_until_ns;
	unsigned unanswered;                        /* of the last tries to run the guest */
	uint64_t entered_ns[WT_DESTINATION_STATES]; /* when each state began; 0: never */
	uint64_t stream_bytes;                      /* of the stripped stream */
	struct wt_rate rate;
	uint16_t port;
	char peer[96]; /* the source, "": none has come */
};

void wt_destination_event(struct wt_destination *destination, enum wt_destination_event event);
void wt_destination_trouble(struct wt_destination *destination, const struct wt_error *err);

/* destination_report.c: reports progress from now on; how far it is now; what is said when the guest runs. */
void wt_destination_progress(struct wt_destination *destination);
struct wt_progress wt_destination_figures(const struct wt_destination *destination);
json_t *wt_destination_facts(const struct wt_destination *destination);

/* destination_devices.c: opens the map and looks whether it can be done; the source has named the devices; an
 * event of QEMU's; waits until they are where they belong; with --hold not before it may. */
int wt_destination_devices_open(struct wt_destination *destination, struct wt_error *err);
void wt_destination_devices_message(
	struct wt_destination *destination, const uint8_t *payload, size_t length);
void wt_destination_devices_qmp_event(struct wt_destination *destination, const char *name, json_t *data);
void wt_destination_devices_end(struct wt_destination *destination);

/* destination_common.c: looks whether memory can be in common; QEMU expects none of it in its stream; the
 * source asks for it; QEMU is as before. */
int wt_destination_common_open(struct wt_destination *destination, struct wt_error *err);
int wt_destination_common_prepare(struct wt_destination *destination, struct wt_error *err);
void wt_destination_common_message(struct wt_destination *destination);
void wt_destination_common_end(struct wt_destination *destination);

/* destination_job.c: what the job can be told. */
extern const struct wt_job_command wt_destination_commands[];

/* destination_feed.c: opens QEMU's incoming side and connects the feed to it. */
int wt_destination_feed_open(struct wt_destination *destination, struct wt_error *err);
void wt_destination_feed_close(struct wt_destination *destination);

/* destination_serve.c: serves where it is told to; as this helper no more; whether it does. What cannot be
 * done is told to the source. SERVED follows if the one that is served goes away. */
void wt_destination_serve(struct wt_destination *destination, const struct wt_server_order *order);
void wt_destination_serve_end(struct wt_destination *destination, unsigned number);
bool wt_destination_serves(const struct wt_destination *destination);
void wt_destination_serve_close(struct wt_destination *destination);

/* destination_replica.c: opens the replica that was named; whether what a warm-up has brought is one; lets
 * the puller use it, now that the blocks are known; the one on another host is here; it is given up; closes
 * it behind the puller. */
void wt_destination_replica_open(struct wt_destination *destination);
bool wt_destination_replica_warms(const struct wt_destination *destination);
void wt_destination_replica_offer(struct wt_destination *destination);
void wt_destination_replica_joined(void *destination, const char *label);
void wt_destination_replica_lost(void *destination, const struct wt_error *err);
void wt_destination_replica_close(struct wt_destination *destination);

/* destination_replica_remote.c: asks a replica on another host to come; its answer does not matter any more.
 */
int wt_destination_replica_ask(struct wt_destination *destination, struct wt_error *err);
void wt_destination_replica_unask(struct wt_destination *destination);

#endif
