/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_agent.h - a client of the agent in a guest, over the unix socket of the chardev behind its
 * virtio-serial port.
 *
 * One request at a time. Its answer is told from the loop, exactly once, unless the agent is closed first:
 * the agent's word, or an error: ETIMEDOUT (nobody answered in time), ECONNRESET (QEMU closed the socket).
 */
#ifndef WATARI_QEMU_GUEST_AGENT_H
#define WATARI_QEMU_GUEST_AGENT_H

#include <watari/loop.h>

#include "agent_message.h"

struct wt_guest_agent;

/* answer is NULL when err->code is set; it is borrowed. An answer that is not ok is one. The callback may ask
 * again, but not close. */
typedef void wt_guest_agent_fn(void *arg, const struct wt_agent_answer *answer, const struct wt_error *err);

int wt_guest_agent_open(struct wt_loop *loop, const char *socket_path, struct wt_guest_agent **ret_agent,
	struct wt_error *err);
/* Nothing is called back any more. NULL is allowed. */
void wt_guest_agent_close(struct wt_guest_agent *agent);

/*
 * Asks; the id is set here. It is repeated until it is answered or patience is over: the guest may not have
 * opened its port yet, and what goes through a port while its guest moves may be lost. patience_ms begin when
 * the agent must be done.
 */
int wt_guest_agent_ask(struct wt_guest_agent *agent, const struct wt_agent_request *request,
	uint32_t patience_ms, wt_guest_agent_fn *told, void *arg, struct wt_error *err);
/* What is under way is forgotten; its answer, if it comes, means nothing. */
void wt_guest_agent_forget(struct wt_guest_agent *agent);

#endif
