/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh_internal.h - what the files of the mesh share. Everything under `lock`, except where it says
 * otherwise.
 */
#ifndef WATARI_MPI_MESH_INTERNAL_H
#define WATARI_MPI_MESH_INTERNAL_H

#include "mesh.h"

#include <pthread.h>
#include <sys/uio.h>

#include "bond.h"

#define WT_MESH_BATCH 16u
#define WT_MESH_KEYS 64u
#define WT_MESH_LEAVE_TURNS 10000u      /* of 0.1 ms and more: so long a goodbye may take */
#define WT_MESH_POLL_ALL 4u             /* with so few paths all are polled without asking which is ready */
#define WT_MESH_DIAL_NS 10000000000ull  /* until nobody there is an error, for each fabric */
#define WT_MESH_DIAL_PAUSE_NS 10000000l /* after a refusal */
#define WT_MESH_NAP_NS 1000000l         /* of wt_mesh_progress while detached */

#define WT_MESH_VERBS_DIAL_NS 4000000000ull
/* That fail, then over tcp, until there is another address; of refusals only those for good. */
#define WT_MESH_VERBS_TRIES 3u

/*
 * false: a build for comparison (bench_mpi.py), without what being able to quiesce costs while nothing is
 * quiesced. It cannot be, and is for programs of one thread.
 */
#ifdef WATARI_MPI_FIXED
#define WT_MESH_QUIESCES false
#else
#define WT_MESH_QUIESCES true
#endif

struct wt_mesh_dial;

/* One fabric; all NULL while it is not attached. */
struct wt_mesh_link {
	const struct wt_fabric_ops *ops;
	struct wt_endpoint *endpoint;
	struct wt_listener *listener;
};

struct wt_mesh_queue {
	struct wt_mesh_item *first;
	struct wt_mesh_item **last;
};

/* A key that was asked for. */
struct wt_mesh_key {
	uint64_t id;
	uint32_t epoch;
	enum wt_link_kind kind;
	bool none; /* over this fabric, but the memory is there */
	struct wt_key key;
};

struct wt_mesh_peer {
	struct wt_mesh *mesh;
	struct wt_mesh_name name;
	bool self;
	bool known; /* there is an address */
	bool named; /* for the part of the present quiesce, or the next one */
	unsigned dials;
	struct wt_mesh_address address;
	struct wt_bond bond;
	struct wt_path *path;
	enum wt_link_kind kind;      /* of the path */
	bool fresh;                  /* nothing has passed on it yet */
	unsigned verbs_failed;       /* attempts, since the address came or something passed over verbs */
	struct wt_mesh_queue urgent; /* goes first, also while quiesced: greeting, marker, goodbye */
	struct wt_mesh_queue queue;
	struct wt_mesh_queue back;   /* what a path that was none has not sent: goes before `queue` again */
	struct wt_mesh_queue parked; /* wait for a key or a greeting */
	struct wt_mesh_queue asked;  /* atomics, and what is copied: wait for their answer */
	unsigned posted;             /* in the path */
	bool ready;                  /* the path may have something */
	bool greeted;                /* epoch is that of the present path */
	uint32_t epoch;              /* which attach of the peer that is */
	struct wt_mesh_key *keys;    /* WT_MESH_KEYS, or NULL */
};

/* What wt_mesh_progress delivers: a message, or an item that is done. */
struct wt_mesh_event {
	struct wt_mesh_event *next;
	struct wt_mesh_item *item; /* NULL: a message */
	size_t length;
	uint8_t tag;
	const uint8_t *bytes; /* behind the event, if it was kept; or in the path's buffer */
};

struct wt_mesh {
	struct wt_mesh_name self;
	struct wt_mesh_events events;
	pthread_mutex_t lock;
	bool delivering; /* by somebody, who leaves `lock` meanwhile; read without it, too */
	bool awaited;    /* the end of that */
	pthread_cond_t delivered;
	pthread_cond_t dial_ended;
	struct wt_mesh_link links[WT_LINKS];
	struct wt_mesh_address address;
	uint32_t attaches; /* how many; keys are good in one of them */
	struct wt_registry registry;
	struct wt_cache cache; /* of what is in the registry */
	struct wt_gone *gone;  /* NULL: nothing is kept */
	struct wt_mesh_peer **peers;
	size_t peer_count;
	size_t peer_room;
	struct wt_mesh_peer **up; /* those with a path; room for all */
	size_t up_count;
	int epoll;                  /* over the paths' descriptors */
	unsigned dials;             /* threads */
	struct wt_mesh_dial *ended; /* threads that are to be joined */
	bool closing;
	bool draining; /* wt_mesh_progress polls no path that rests */
	bool parted;   /* a quiesce of a part is under way */
	enum wt_bond_mode mode;
	uint32_t epoch;  /* of the quiesce */
	uint64_t cookie; /* of the last one asked */
	struct wt_mesh_event *kept;
	struct wt_mesh_event **kept_last;
	char broken[WT_ERROR_TEXT_MAX];
	struct wt_mesh_name broken_peer;
	bool broken_told;
};

/* Whether the bond rests, or shall rest, in the present quiesce. */
static inline bool wt_mesh_rests(const struct wt_mesh *mesh, const struct wt_mesh_peer *peer)
{
	return !mesh->parted || peer->named;
}

void wt_mesh_queue_init(struct wt_mesh_queue *queue);
void wt_mesh_queue_put(struct wt_mesh_queue *queue, struct wt_mesh_item *item);
struct wt_mesh_item *wt_mesh_queue_take(struct wt_mesh_queue *queue);

/* mesh.c */
void wt_mesh_break(struct wt_mesh *mesh, struct wt_mesh_peer *peer, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Keeps an event for wt_mesh_progress. */
void wt_mesh_keep_done(struct wt_mesh *mesh, struct wt_mesh_item *item, int status);
void wt_mesh_keep_message(struct wt_mesh *mesh, uint8_t tag, const struct iovec *parts, unsigned count);

/* mesh_work.c: items and the messages between meshes */
void wt_mesh_work_begin(struct wt_mesh_peer *peer, struct wt_mesh_item *item);
/* Whether the first item of the queue can be posted; if not, it is not in the queue any more. */
bool wt_mesh_aim(struct wt_mesh_peer *peer);
/* Sends a word of our own; urgent: in front, also while quiesced. */
void wt_mesh_say(struct wt_mesh_peer *peer, const struct wt_frame_word *word, bool urgent);
/* The same with bytes behind the word, which are copied, or stay unchanged until the word is sent. */
void wt_mesh_say_bytes(struct wt_mesh_peer *peer, const struct wt_frame_word *word, void *bytes,
	uint32_t length, bool copied);
/* A word that came. Answers false for what breaks the rules. */
bool wt_mesh_hear(
	struct wt_mesh_peer *peer, const struct wt_frame_word *word, const void *bytes, size_t length);
/* The answer to what waits in `asked` under this cookie has come; false: nothing does. */
bool wt_mesh_answered(struct wt_mesh_peer *peer, uint64_t cookie, uint64_t value, int status);

/* mesh_copy.c */
void wt_mesh_copy_begin(struct wt_mesh_peer *peer, struct wt_mesh_item *item);
bool wt_mesh_copy_hear(
	struct wt_mesh_peer *peer, const struct wt_frame_word *word, const void *bytes, size_t length);

/* mesh_bond.c: paths and the bond machine */
/* The operations of the fabric of a peer's path. */
static inline const struct wt_fabric_ops *wt_mesh_ops(const struct wt_mesh_peer *peer)
{
	return peer->mesh->links[peer->kind].ops;
}
void wt_mesh_bond_event(struct wt_mesh_peer *peer, enum wt_bond_event event);
/* The same with the path that the event brings. */
void wt_mesh_bond_path(
	struct wt_mesh_peer *peer, enum wt_bond_event event, enum wt_link_kind kind, struct wt_path *path);
/* Nothing waits to be posted, and something may be. */
bool wt_mesh_idle(const struct wt_mesh_peer *peer);
/* Posts what may go. */
void wt_mesh_flush(struct wt_mesh_peer *peer);
/* Polls one path; writes events to deliver, or keeps them if ret_events is NULL. Answers how many it wrote.
 */
unsigned wt_mesh_poll(struct wt_mesh_peer *peer, struct wt_mesh_event *ret_events);

/* mesh_link.c */
void wt_mesh_links_close(struct wt_mesh *mesh);

/* mesh_dial.c */
void wt_mesh_dial(struct wt_mesh_peer *peer);
void wt_mesh_dials_join(struct wt_mesh *mesh);

#endif
