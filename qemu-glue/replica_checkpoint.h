/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_checkpoint.h - the part of index.json that a checkpoint has beside a replica; between
 * replica_index.c and replica_checkpoint.c only.
 */
#ifndef WATARI_QEMU_REPLICA_CHECKPOINT_H
#define WATARI_QEMU_REPLICA_CHECKPOINT_H

#include <jansson.h>

#include "replica_index.h"

#define WT_REPLICA_LAYERS "layers" /* in `requires` */

/* Copies a string that is there, is not empty and fits. */
bool wt_replica_take_string(const json_t *object, const char *key, char *ret_text, size_t size);
void wt_replica_put_digest(json_t *object, const char *key, const uint8_t *digest);
/* Takes `checkpoint` of the index, whose blocks were taken; nothing if there is none. */
int wt_replica_checkpoint_take(const json_t *root, const char *from, bool layers,
	struct wt_replica_index *index, struct wt_error *err);
/* Adds it, and what it requires; nothing if there is none. false: something is no UTF-8. */
bool wt_replica_checkpoint_put(json_t *root, const struct wt_replica_index *index);

/* The digest of the index itself, which is its last line but one: adds it, frees the text that it is given
 * (NULL: no memory); and compares it, where there is one. */
char *wt_replica_digest_add(char *text);
int wt_replica_digest_check(
	const char *text, size_t length, const json_t *root, const char *from, struct wt_error *err);

#endif
