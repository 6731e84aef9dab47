/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_internal.h - what the channel_*.c files share; nobody else includes it.
 */
#ifndef WATARI_TRANSPORT_CHANNEL_INTERNAL_H
#define WATARI_TRANSPORT_CHANNEL_INTERNAL_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <watari/channel.h>
#include <watari/loop.h>

#include "channel_tls.h"
#include "task.h"

#define WT_CHANNEL_READ_BYTES (64u << 10)
#define WT_CHANNEL_WIRE_BYTES (64u << 10)
#define WT_CHANNEL_NAME_MAX 160
#define WT_CHANNEL_NS_PER_S 1000000000ull

enum wt_channel_state {
	WT_CHANNEL_CONNECTING = 1, /* no connected socket yet */
	WT_CHANNEL_HANDSHAKE,      /* connected; TLS is being agreed on, or `open` not yet called */
	WT_CHANNEL_OPEN,
	WT_CHANNEL_CLOSED, /* no socket, no timers; `closed` was called, or the owner has closed */
};

/* Bytes [start, end) of data wait to be sent. */
struct wt_chunk {
	struct wt_chunk *next;
	size_t start, end, size;
	uint8_t data[];
};

struct wt_chunks {
	struct wt_chunk *head, *tail;
	size_t bytes; /* the sum of end - start */
};

/* A name that is being looked up by a thread, which owns this while it does. */
struct wt_lookup {
	struct wt_channel *channel; /* the loop's business */
	char host[256];             /* a DNS name has at most 253 bytes */
	uint16_t port;
	int result;
	struct addrinfo *list;
	struct wt_error error;
};

/* The part of a channel that looks for its peer; gone once the socket is connected. */
struct wt_connect {
	struct wt_task *lookup;       /* NULL: no name is being looked up */
	struct addrinfo *list, *next; /* from getaddrinfo; NULL for a unix socket */
	struct sockaddr_un un;
	uint64_t deadline_ns;
	char name[WT_CHANNEL_NAME_MAX]; /* as the caller gave it */
	int last_error;                 /* errno of the newest attempt */
};

struct wt_channel {
	struct wt_loop *loop;
	struct wt_channel_events events;
	void *arg;
	enum wt_channel_state state;
	int fd; /* -1: none */
	uint32_t watched;
	unsigned entered; /* how many of our own entry points are on the stack */
	bool abandoned;   /* the owner has closed it; freed when entered is 0 */
	bool paused;
	bool hung;          /* paused, and the peer is gone: not watched, or the loop would spin */
	bool write_broken;  /* nothing can be sent any more; what came is still delivered */
	struct wt_tls *tls; /* NULL: in the clear */
	struct wt_chunks chunks;
	size_t wire_start, wire_end; /* bytes of `wire` that wait to be sent; TLS only */
	uint64_t timeout_ns;
	struct wt_timer deadline; /* of connecting and the handshake */
	struct wt_timer kick;     /* another turn soon */
	struct wt_timer pulse;    /* looks after unanswered bytes; TCP only */
	unsigned unanswered_s;
	struct wt_error error; /* with code: the next kick fails the channel with it */
	struct wt_connect *connect;
	char peer[WT_CHANNEL_NAME_MAX];
	char peer_host[WT_CHANNEL_NAME_MAX];
	uint8_t in[WT_CHANNEL_READ_BYTES];
	uint8_t plain[WT_TLS_RECORD_MAX];
	uint8_t wire[WT_CHANNEL_WIRE_BYTES];
};

/* channel.c */
int wt_channel_new(struct wt_loop *loop, const struct wt_channel_events *events, void *arg,
	struct wt_channel **ret_channel, struct wt_error *err);
/* The socket is connected and now the channel's: begin the handshake. The names are set before. */
void wt_channel_begin(struct wt_channel *channel, int fd);
/* Fails from the loop's next turn, so that no callback comes out of the caller's own call. */
void wt_channel_fail_soon(struct wt_channel *channel);
/* Fails now; to be called only between enter and leave. */
void wt_channel_fail(struct wt_channel *channel, const struct wt_error *err);
void wt_channel_on_socket(void *arg, uint32_t events);
void wt_channel_deadline_set(struct wt_channel *channel, uint64_t at_ns);
void wt_channel_enter(struct wt_channel *channel);
void wt_channel_leave(struct wt_channel *channel);

/* channel_write.c */
int wt_chunks_append(struct wt_chunks *chunks, const void *data, size_t length);
void wt_chunks_drop(struct wt_chunks *chunks);
/*
 * Hands what waits to the kernel, as far as it takes it; with handshake only what TLS itself wrote. Answers 0
 * (also when bytes are left), -EPIPE when the connection takes nothing any more, or another -errno.
 */
int wt_channel_flush(struct wt_channel *channel, bool handshake, struct wt_error *err);

/* channel_connect.c */
void wt_channel_connect_ready(struct wt_channel *channel);
void wt_channel_connect_timeout(struct wt_channel *channel);
void wt_channel_connect_free(struct wt_channel *channel);

/* channel_socket.c */
void wt_address_name(const struct wt_address *address, char *ret_name, size_t size);
bool wt_address_numeric(const struct wt_address *address);
int wt_address_resolve(
	const struct wt_address *address, bool passive, struct addrinfo **ret_list, struct wt_error *err);
int wt_address_unix(const char *path, struct sockaddr_un *ret_address, struct wt_error *err);
/* -EPERM unless every address of the list is a loopback address. */
int wt_address_check_clear(const char *name, const struct addrinfo *list, struct wt_error *err);
/* "10.0.0.1:4711" and "10.0.0.1". */
void wt_socket_name(
	const struct sockaddr *address, socklen_t length, char *ret_peer, char *ret_host, size_t size);
/* Sends at once; notices within about 5 s that an idle peer has vanished. */
void wt_socket_tune(int fd);
/* Something is out and nothing at all came back within the last `ms`. */
bool wt_socket_unanswered(int fd, unsigned ms);
int wt_socket_error(const char *peer, int error, struct wt_error *err);

#endif
