/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * order.h - the lines that the coordinator and a rank exchange over the rank's unix socket.
 *
 * Words between single spaces, ended by a newline, WT_ORDER_LINE_MAX bytes at most. The coordinator gives
 * orders, the rank answers with reports. Numbers are decimal, tokens hexadecimal. `epoch` counts quiesces: a
 * line of another epoch than the present one is stale. Both ends say the version first; a version that is not
 * theirs ends the connection with a sentence.
 *
 *   orders                                     reports
 *   hello VERSION                              rank VERSION JOB RANK SIZE STATE EPOCH FABRIC PATHS PART
 *   moves EPOCH JOB RANK                       (no answer)
 *   quiesce EPOCH PART                         drained EPOCH
 *   detach EPOCH                               detached EPOCH
 *   attach EPOCH                               attached EPOCH HOST PORT TOKEN VERBS-HOST VERBS-PORT
 *   peer EPOCH JOB RANK HOST PORT TOKEN VERBS-HOST VERBS-PORT   (no answer)
 *   connect EPOCH                              ready EPOCH
 *   resume EPOCH                               running EPOCH
 *   abort EPOCH                                running EPOCH
 *   status                                     rank ... as above
 *                                              refused EPOCH SENTENCE
 *                                              leaving
 *
 * VERBS-HOST - and VERBS-PORT 0: not over verbs. A rank that is told before a quiesce which others move lets
 * go its connections to these alone. PART is how many they are; 0: it lets go all of its connections.
 */
#ifndef WATARI_MPI_ORDER_H
#define WATARI_MPI_ORDER_H

#include <stddef.h>
#include <stdint.h>

#define WT_ORDER_VERSION 3u
#define WT_ORDER_LINE_MAX 512
#define WT_ORDER_HOST_MAX 64
#define WT_ORDER_TEXT_MAX 256

enum wt_order_kind {
	WT_ORDER_INVALID = 0,
	WT_ORDER_HELLO,
	WT_ORDER_MOVES,
	WT_ORDER_QUIESCE,
	WT_ORDER_DETACH,
	WT_ORDER_ATTACH,
	WT_ORDER_PEER,
	WT_ORDER_CONNECT,
	WT_ORDER_RESUME,
	WT_ORDER_ABORT,
	WT_ORDER_STATUS,
	WT_REPORT_RANK,
	WT_REPORT_DRAINED,
	WT_REPORT_DETACHED,
	WT_REPORT_ATTACHED,
	WT_REPORT_READY,
	WT_REPORT_RUNNING,
	WT_REPORT_REFUSED,
	WT_REPORT_LEAVING,
	WT_ORDER_KINDS,
};

/* What a rank is doing; see gate.h. */
enum wt_rank_state {
	WT_RANK_INVALID = 0,
	WT_RANK_RUNNING,
	WT_RANK_QUIESCING, /* sends nothing new, waits for the others' markers */
	WT_RANK_DRAINED,   /* nothing is under way to it or from it */
	WT_RANK_DETACHED,  /* holds no device and no socket of the job */
	WT_RANK_ATTACHED,  /* listens at a new address */
	WT_RANK_JOINING,   /* connects anew */
	WT_RANK_READY,     /* connected, waits for the word to go on */
	WT_RANK_STATES,
};

struct wt_order {
	enum wt_order_kind kind;
	uint32_t version;
	uint32_t epoch;
	uint32_t job;
	uint32_t rank;
	uint32_t size; /* ranks in the job */
	enum wt_rank_state state;
	uint32_t paths;
	uint32_t part;
	uint16_t port;
	uint64_t token;
	char host[WT_ORDER_HOST_MAX];
	uint16_t verbs_port;
	char verbs_host[WT_ORDER_HOST_MAX];
	char fabric[16];
	char text[WT_ORDER_TEXT_MAX];
};

const char *wt_rank_state_name(enum wt_rank_state state);
const char *wt_order_name(enum wt_order_kind kind);
/* Writes the line with its newline; answers its length. line holds WT_ORDER_LINE_MAX bytes. */
size_t wt_order_encode(const struct wt_order *order, char *line);
/* line: without its newline, ended by 0. 0, or -EPROTO; *ret_order then is untouched. */
int wt_order_decode(const char *line, struct wt_order *ret_order);

#endif
