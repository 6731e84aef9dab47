/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_request.h - what a destination asks a `watari replica` for, and the answer. Pure.
 *
 * One line of JSON each way, over a channel. The request says where the replica shall come, and as who:
 * {"replica": 1, "vm": NAME, "port": N, "session": 32 hexadecimal digits, "key": 64 of them, "blocks":
 * [{"name": NAME, "length": BYTES}, ...]}, blocks as the source has listed them. Another number than 1: not
 * this protocol. The answer is {"ok": true}, or {"error": SENTENCE}.
 */
#ifndef WATARI_QEMU_REPLICA_REQUEST_H
#define WATARI_QEMU_REPLICA_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/digest.h>
#include <watari/error.h>
#include <watari/server.h>

#include "replica_index.h"

#define WT_REPLICA_REQUEST 1
#define WT_REPLICA_REQUEST_MAX (1u << 20) /* bytes of a line */
#define WT_REPLICA_ANSWER_MAX 4096u

struct wt_replica_wanted {
	char name[WT_BLOCK_NAME_MAX + 1];
	uint64_t length; /* bytes, whole pages */
};

struct wt_replica_request {
	char vm[WT_REPLICA_VM_MAX + 1];
	uint16_t port;
	uint8_t session_id[WT_SERVER_SESSION_ID_BYTES];
	uint8_t key[WT_DIGEST_KEY_BYTES]; /* for digests of the replica; no secret of its host */
	unsigned count;                   /* 1 .. WT_BLOCKS_MAX */
	struct wt_replica_wanted *blocks;
};

/* The line, with its newline, to be freed. -EINVAL: a name is no UTF-8; -ENOMEM. */
int wt_replica_request_render(
	const struct wt_replica_request *request, char **ret_line, struct wt_error *err);
/* Without the newline. -EPROTO with the sentence, -ENOMEM. *ret_request is then to be freed. */
int wt_replica_request_parse(
	const char *line, size_t length, struct wt_replica_request *ret_request, struct wt_error *err);
void wt_replica_request_free(struct wt_replica_request *request);
/* refusal NULL: it comes. To be freed; NULL: no memory. */
char *wt_replica_answer_render(const char *refusal);
/* -ECONNREFUSED with their sentence, printable; -EPROTO. */
int wt_replica_answer_parse(const char *line, size_t length, struct wt_error *err);

#endif
