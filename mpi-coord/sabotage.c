/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sabotage.c - errors made on purpose; see sabotage.h. Compiled into test builds only.
 */
#include "sabotage.h"

#ifdef WATARI_SABOTAGE

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define EVERY 13u

/* A copy of the message that the mesh frees. */
static struct wt_mesh_item *copy(const struct wt_mesh_item *item)
{
	size_t length = item->op.head_length + item->op.length;
	struct wt_mesh_item *copied = calloc(1, sizeof *copied + length);
	uint8_t *bytes;

	if (!copied)
		abort();
	bytes = (uint8_t *)(copied + 1);
	memcpy(bytes, item->op.head, item->op.head_length);
	if (item->op.length)
		memcpy(bytes + item->op.head_length, item->op.local, item->op.length);
	copied->internal = true;
	copied->work = WT_MESH_SEND;
	copied->peer = item->peer;
	copied->op = (struct wt_op){ .kind = WT_OP_SEND, .head = bytes, .head_length = (uint32_t)length };
	return copied;
}

bool wt_sabotage_gone(void)
{
	const char *how = getenv("WATARI_SABOTAGE");

	return how && strcmp(how, "mpi_stale") == 0;
}

bool wt_sabotage_messages(void)
{
	const char *how = getenv("WATARI_SABOTAGE");

	return how && strncmp(how, "mpi_", 4) == 0 && !wt_sabotage_gone();
}

bool wt_sabotage_message(struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	const char *how = getenv("WATARI_SABOTAGE");
	static unsigned seen;
	struct wt_mesh_item *other;

	if (!wt_sabotage_messages() || __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED) % EVERY)
		return false;
	if (strcmp(how, "mpi_double") == 0) {
		wt_mesh_queue_put(&peer->queue, copy(item));
		return false;
	}
	if (strcmp(how, "mpi_corrupt") == 0) {
		other = copy(item);
		((uint8_t *)other->op.head)[other->op.head_length - 1] ^= 0x10;
		wt_mesh_queue_put(&peer->queue, other);
	}
	wt_mesh_keep_done(peer->mesh, item, 0);
	wt_mesh_flush(peer);
	return true;
}

void wt_sabotage_before(const char *point)
{
	const char *wanted = getenv("WATARI_DIE_BEFORE");

	if (wanted && strcmp(wanted, point) == 0)
		raise(SIGKILL);
}

#endif
