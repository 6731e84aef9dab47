/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh.h - all connections of one rank, and what is sent over them. Knows no MPI.
 *
 * Work comes as items, which belong to the caller until `done` was called. An item is always taken: while
 * the rank is quiesced, or not connected, it waits. Items for one peer are sent in order; writes and reads
 * whose key must be asked for first may be overtaken.
 *
 * A quiesce may be of a part: then only the connections to some ranks rest, and the others go on.
 *
 * Threads: every function may be called from any thread. Callbacks come only out of wt_mesh_progress, from
 * one thread at a time, with nothing locked; they may call everything but wt_mesh_close. While the rank is
 * quiesced somebody else, the rank's control thread, moves the bytes (wt_mesh_drain); what comes is kept for
 * wt_mesh_progress.
 */
#ifndef WATARI_MPI_MESH_H
#define WATARI_MPI_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/path.h>

#include "cache.h"
#include "frame.h"
#include "gone.h"
#include "registry.h"

#define WT_MESH_NOW_MAX WT_PATH_NOW_MAX

struct wt_mesh;
struct wt_mesh_peer;

struct wt_mesh_name {
	uint32_t job;
	uint32_t rank;
};

/* Where a rank listens, in which epoch, and the token that a dial must show. */
struct wt_mesh_address {
	char host[64];
	uint16_t port;
	uint16_t verbs_port; /* 0: not over verbs */
	char verbs_host[64];
	uint32_t epoch;
	uint64_t token;
};

enum wt_mesh_work {
	WT_MESH_SEND = 1, /* op.head begins with WT_FRAME_HEAD_BYTES for the mesh to fill */
	WT_MESH_WRITE,
	WT_MESH_READ,
	WT_MESH_ATOMIC,
};

struct wt_mesh_item {
	enum wt_mesh_work work;
	uint8_t tag;                         /* SEND */
	struct wt_op op;                     /* SEND: head, local; WRITE, READ: local, length */
	const struct wt_registration *local; /* READ, WRITE: covers op.local; otherwise NULL */
	struct wt_handle remote;             /* WRITE, READ, ATOMIC */
	uint64_t remote_address;             /* in the process of the peer */
	struct wt_frame_word word;           /* ATOMIC: tag, bytes, value, other */
	uint64_t result;                     /* ATOMIC: what was there before */
	/* status: 0 or -errno; -EACCES: that memory is not there any more. Not called for a SEND that was
	 * lost with its connection: the job is broken. */
	void (*done)(struct wt_mesh_item *item, int status);
	/* The mesh's own. */
	struct wt_mesh_item *next;
	struct wt_mesh_peer *peer;
	int status;
	bool internal;
	bool urgent; /* of the path there is: not for another one */
};

struct wt_mesh_events {
	/* One message: its bytes are valid during the call. */
	void (*message)(void *arg, uint8_t tag, const void *bytes, size_t length);
	/* Messages may be lost; the job cannot go on. Once. */
	void (*broken)(void *arg, struct wt_mesh_name peer, const char *text);
	void *arg;
};

int wt_mesh_open(struct wt_mesh_name self, const struct wt_mesh_events *events, struct wt_mesh **ret_mesh,
	struct wt_error *err);
/* Says goodbye first. Items that were not sent are dropped, without `done`. */
void wt_mesh_close(struct wt_mesh *mesh);

/*
 * Opens a device and listens at this address of ours. First tcp, then perhaps verbs too, in the same epoch;
 * who can be reached over both is reached over verbs. Asked again for what is open: nothing changes.
 */
int wt_mesh_attach(
	struct wt_mesh *mesh, enum wt_fabric fabric, const char *host, uint32_t epoch, struct wt_error *err);
void wt_mesh_address(struct wt_mesh *mesh, struct wt_mesh_address *ret_address);
/* Of the paths there are, or of the first one to come: "tcp", "verbs", "verbs+tcp"; "-" while detached. */
const char *wt_mesh_fabric(struct wt_mesh *mesh);
unsigned wt_mesh_paths(struct wt_mesh *mesh);

/* The peer of this name; made if need be. NULL: out of memory. Lives as long as the mesh. */
struct wt_mesh_peer *wt_mesh_peer(struct wt_mesh *mesh, struct wt_mesh_name name);
/* Forgets an older address; an address from an older epoch than the known one is ignored. */
void wt_mesh_peer_address(
	struct wt_mesh *mesh, struct wt_mesh_peer *peer, const struct wt_mesh_address *address);

void wt_mesh_submit(struct wt_mesh *mesh, struct wt_mesh_peer *peer, struct wt_mesh_item *item);
/* The same if nothing is before it, and the connection is there. false: nothing was done. */
bool wt_mesh_submit_now(struct wt_mesh *mesh, struct wt_mesh_peer *peer, struct wt_mesh_item *item);
/*
 * The same for a message of at most WT_MESH_NOW_MAX bytes, which begins with WT_FRAME_HEAD_BYTES for the mesh
 * to fill: it goes at once, its memory is the caller's again, and nobody hears of it.
 */
bool wt_mesh_send_now(
	struct wt_mesh *mesh, struct wt_mesh_peer *peer, uint8_t tag, void *message, size_t length);
/* Delivers; answers how many events there were. While the rank is detached, and there are none, it sleeps for
 * a millisecond. */
int wt_mesh_progress(struct wt_mesh *mesh);
/*
 * Moves bytes without delivering anything: true when nothing waits to be sent or to be completed, or the job
 * is broken. For one who is about to close, and does not want to hear of anything any more. false, and
 * nothing is moved, while wt_mesh_progress is at it.
 */
bool wt_mesh_settle(struct wt_mesh *mesh);

struct wt_registration *wt_mesh_register(
	struct wt_mesh *mesh, void *base, size_t length, unsigned access, struct wt_error *err);
void wt_mesh_deregister(struct wt_mesh *mesh, struct wt_registration *registration);
/*
 * From now on up to so many bytes stay registered without a user, for the next one who asks. `gone` is where
 * somebody notes the memory that the process gives back; it outlives the mesh. At first nothing is kept.
 */
void wt_mesh_cache(struct wt_mesh *mesh, struct wt_gone *gone, size_t idle_bytes_max);
void wt_mesh_cache_figures(struct wt_mesh *mesh, struct wt_cache_figures *ret_figures);

/* The control thread's. What becomes readable when accept, or drain, has work; -1: not attached. Before a
 * sleep on the paths: false, drain has work already. */
int wt_mesh_listener_fd(struct wt_mesh *mesh, enum wt_link_kind kind);
int wt_mesh_paths_fd(struct wt_mesh *mesh);
bool wt_mesh_paths_arm(struct wt_mesh *mesh);
/* Admits, or refuses, those who dial. closed: refuses all whose connections rest. */
void wt_mesh_accept(struct wt_mesh *mesh, bool closed);
/* Names a rank for the part of the next quiesce; first: forgets those named before. 0, or -ENOMEM. */
int wt_mesh_part(struct wt_mesh *mesh, struct wt_mesh_name name, bool first);
/* How many are named. */
unsigned wt_mesh_part_count(struct wt_mesh *mesh);
/*
 * From now on until wt_mesh_go only wt_mesh_drain moves the bytes of what comes to rest: of the connections
 * to the ranks that were named, or of all. parted: the others go on as if nothing was, and the rank stays
 * attached.
 */
void wt_mesh_quiesce(struct wt_mesh *mesh, uint32_t epoch, bool parted);
/* Moves bytes; true: every bond is drained, or joined again after wt_mesh_join. Never once the job is broken.
 */
bool wt_mesh_drain(struct wt_mesh *mesh);
/* Whether messages may be lost, and the sentence that says it. */
bool wt_mesh_broken(struct wt_mesh *mesh, char *ret_text, size_t size);
void wt_mesh_detach(struct wt_mesh *mesh);
/* Now and then while detached: lets go devices that are being taken away. */
void wt_mesh_let_go(struct wt_mesh *mesh);
void wt_mesh_join(struct wt_mesh *mesh);
void wt_mesh_go(struct wt_mesh *mesh);

#endif
