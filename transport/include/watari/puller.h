/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller.h - pulls what a page server announces into local memory.
 *
 * Listens for one server that offers the expected name, checks its blocks through `block`, then pulls. It
 * keeps its session through lost connections, like the server. Local memory belongs to the caller and must
 * stay mapped, shared and undiscarded until wt_puller_close has returned.
 *
 * One thread: the loop's. No callback may call wt_puller_close.
 */
#ifndef WATARI_PULLER_H
#define WATARI_PULLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/channel.h>
#include <watari/error.h>
#include <watari/loop.h>
#include <watari/path.h>

struct wt_puller;

struct wt_puller_config {
	struct wt_address listen;
	const char *name; /* of the VM; another one is refused */
	const struct wt_psk *psk;
	unsigned fabrics;      /* WT_FABRIC_BIT()s to offer; 0: all */
	const char *data_host; /* address that servers shall use for data; NULL: that of `listen` */
	const char *device;
	uint64_t give_up_ns;
};

/* Where a block lies here. */
struct wt_puller_block {
	void *base;
	int fd; /* the file behind it, or -1 */
	uint64_t fd_offset;
};

/*
 * All but `block` and `failed` may be NULL; without `message`, the server's application may send none. The
 * struct outlives the puller; so does what the config points to.
 */
struct wt_puller_events {
	void (*connected)(void *arg, const char *peer);
	/* The server has a block of this name and length (bytes). -errno with err filled refuses the session.
	 */
	int (*block)(void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block,
		struct wt_error *err);
	/* All blocks were accepted. */
	int (*blocks_end)(void *arg, struct wt_error *err);
	/* Everything announced so far has landed. */
	void (*landed)(void *arg);
	int (*message)(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
	void (*lost)(void *arg, const struct wt_error *err);
	void (*back)(void *arg);
	void (*failed)(void *arg, const struct wt_error *err);
	void (*refused)(
		void *arg, const struct wt_error *err); /* somebody was turned away; we go on listening */
};

struct wt_puller_stats {
	enum wt_fabric fabric; /* of the last path that was used */
	unsigned paths;
	uint64_t pulled_bytes[4]; /* by enum wt_fabric */
	uint64_t pulled_pages, zero_pages, repeated_pages;
};

int wt_puller_open(struct wt_loop *loop, const struct wt_puller_config *config,
	const struct wt_puller_events *events, void *arg, struct wt_puller **ret_puller, uint16_t *ret_port,
	struct wt_error *err);
void wt_puller_close(struct wt_puller *puller);

/* The number that the next announcement will have; as the server's stats have it when none is on its way. */
uint64_t wt_puller_next_seq(const struct wt_puller *puller);
bool wt_puller_all_landed(const struct wt_puller *puller);
int wt_puller_send(struct wt_puller *puller, unsigned type, const void *payload, size_t length);
/* Bytes of messages that the peer has not acknowledged. */
size_t wt_puller_unsent(const struct wt_puller *puller);
uint64_t wt_puller_heard_ns(const struct wt_puller *puller);
void wt_puller_stats(const struct wt_puller *puller, struct wt_puller_stats *ret_stats);

#endif
