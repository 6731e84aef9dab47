/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent_message.h - what a host and the agent in a guest (watari-guest) say to each other: JSON, one object a
 * line, over the virtio-serial port org.watari.guest. Pure.
 *
 *   request  {"id": N, "do": "ping" | "detach" | "attach" | "message", "name": WORD, "timeout_ms": N,
 *             "what": WORD, "link_mac": ADDRESS, "data": TEXT}
 *            {"id": N, "do": "ranks" | "look" | "tell", "name": WORD, "data": TEXT}
 *   answer   {"id": N, "ok": true | false, "version": TEXT, "busy": true, "ms": N, "error": TEXT, "output":
 *             TEXT, "rank": WORD, "pid": N}
 *
 * Every request is answered with its id, but for those of the second line: "ranks" begins a session, whose
 * number is its id, with the ranks of the MPI job `name`; guest_ranks.h says what follows. A host may repeat
 * a request, with the same id: no hook runs twice, and one that has ended is answered again. Unknown keys are
 * ignored, so that either end may be newer. A line that is empty, too long or no JSON means nothing. Both
 * ends are hostile to each other until parsed.
 */
#ifndef WATARI_QEMU_AGENT_MESSAGE_H
#define WATARI_QEMU_AGENT_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>

#include "device_map.h"

#define WT_AGENT_PORT "org.watari.guest"
#define WT_AGENT_LINE_MAX 65536
#define WT_AGENT_DATA_MAX 16384 /* of a message, and of its output */
#define WT_AGENT_TIMEOUT_MAX_MS 3600000

enum wt_agent_verb {
	WT_AGENT_INVALID = 0,
	WT_AGENT_PING,
	WT_AGENT_DETACH,  /* hooks let go of the device `name` */
	WT_AGENT_ATTACH,  /* hooks get it back; then the link of link_mac is awaited */
	WT_AGENT_MESSAGE, /* `data` goes to the hook `name` */
	WT_AGENT_RANKS,   /* a session with the ranks of the job `name` begins */
	WT_AGENT_LOOK,    /* of the session `id`: it goes on, and are there more ranks? */
	WT_AGENT_TELL,    /* of the session `id`: the line `data` goes to the rank `name` */
};

struct wt_agent_request {
	uint64_t id; /* 1 to 2^53 */
	enum wt_agent_verb verb;
	char name[WT_DEVICE_NAME_MAX + 1]; /* "" for PING and LOOK only */
	uint32_t timeout_ms;               /* of what runs hooks: 1 to WT_AGENT_TIMEOUT_MAX_MS */
	char what[WT_DEVICE_NAME_MAX +
		  1];      /* of an ATTACH: "vfio", QEMU's name of its own device, or "none" */
	char link_mac[18]; /* ... "": none */
	char *data;        /* of a MESSAGE or TELL, allocated; otherwise NULL */
};

struct wt_agent_answer {
	uint64_t id;
	bool ok, busy;
	char version[32];
	uint32_t ms;
	char error[256];                   /* printable; not empty unless ok */
	char *output;                      /* of a MESSAGE, or a line of a rank, allocated; otherwise NULL */
	char rank[WT_DEVICE_NAME_MAX + 1]; /* whom in a session this is about; "": nobody */
	uint32_t pid;                      /* of that rank, which was met; otherwise 0 */
};

/* A line with its newline, allocated; -EINVAL with the sentence if a text is no UTF-8 or too long. */
int wt_agent_request_render(const struct wt_agent_request *request, char **ret_line, struct wt_error *err);
int wt_agent_answer_render(const struct wt_agent_answer *answer, char **ret_line, struct wt_error *err);
/* -EPROTO with the sentence. What is answered is freed with the functions below. */
int wt_agent_request_parse(
	const char *line, size_t length, struct wt_agent_request *ret_request, struct wt_error *err);
int wt_agent_answer_parse(
	const char *line, size_t length, struct wt_agent_answer *ret_answer, struct wt_error *err);
void wt_agent_request_clear(struct wt_agent_request *request);
void wt_agent_answer_clear(struct wt_agent_answer *answer);

const char *wt_agent_verb_name(enum wt_agent_verb verb);

/* Bytes that come in pieces, cut into lines. Zeroed before first use. */
struct wt_agent_lines {
	char bytes[WT_AGENT_LINE_MAX];
	size_t length;
	bool skipping; /* a line that is too long */
};

/* Where the next bytes go, and how many fit: at least one. */
char *wt_agent_lines_room(struct wt_agent_lines *lines, size_t *ret_room);
/* So many came. Each whole line is told, without its newline. */
void wt_agent_lines_add(struct wt_agent_lines *lines, size_t count,
	void (*told)(void *arg, const char *line, size_t length), void *arg);

#endif
