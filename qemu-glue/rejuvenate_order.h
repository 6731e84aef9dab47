/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_order.h - in which order hosts are renewed: which step is next.
 *
 * A pure state machine; who owns it carries steps out, and says what came of each. A step is said
 * (wt_rejuvenate_order_next) before it is carried out, so that it can be written down first; what is read
 * back is told to the machine in the same order (wt_rejuvenate_order_restore), and it is where it was.
 *
 * A host's steps: CHECK, whether it answers. By handover: HANDOVER of each guest. By evacuation: LEAVE of
 * each guest, the host's own COMMAND, PROBE until it answers again, RETURN of each guest.
 *
 *   1. A host's command runs only when all its guests are away, and known to be.
 *   2. A guest returns only to a host that has answered since.
 *   3. At most `parallel` hosts are under way (begun, and not done), each with one step at a time.
 *   4. Two hosts of which one has guests that go to the other one are never under way together.
 *   5. A host of which a step has failed goes no further, and no host begins after that. Others that are
 * under way go on. After STOP nothing is said any more.
 *   6. OVER comes once, last, when every host is done.
 */
#ifndef WATARI_QEMU_REJUVENATE_ORDER_H
#define WATARI_QEMU_REJUVENATE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#define WT_REJUVENATE_HOSTS_MAX 64
#define WT_REJUVENATE_GUESTS_MAX 256

enum wt_rejuvenate_by {
	WT_REJUVENATE_BY_NOTHING = 0, /* it only takes guests */
	WT_REJUVENATE_BY_HANDOVER,
	WT_REJUVENATE_BY_EVACUATION,
};

enum wt_rejuvenate_step {
	WT_REJUVENATE_NO_STEP = 0,
	WT_REJUVENATE_CHECK,    /* of a host */
	WT_REJUVENATE_HANDOVER, /* of a guest */
	WT_REJUVENATE_LEAVE,    /* of a guest */
	WT_REJUVENATE_COMMAND,  /* of a host */
	WT_REJUVENATE_PROBE,    /* of a host */
	WT_REJUVENATE_RETURN,   /* of a guest */
	WT_REJUVENATE_OVER,
	WT_REJUVENATE_STEPS,
};

enum wt_rejuvenate_result {
	WT_REJUVENATE_NO_RESULT = 0,
	WT_REJUVENATE_OK,
	WT_REJUVENATE_FAILED, /* it may be tried again: all is as before the step */
	WT_REJUVENATE_LOST,   /* of a guest: nobody knows where it is */
	WT_REJUVENATE_RESULTS,
};

enum wt_rejuvenate_place {
	WT_REJUVENATE_HOME = 0,
	WT_REJUVENATE_AWAY,
	WT_REJUVENATE_UNKNOWN,
};

struct wt_rejuvenate_action {
	uint8_t step;   /* enum wt_rejuvenate_step */
	uint16_t which; /* host or guest; 0 where it means nothing */
};

struct wt_rejuvenate_guest {
	uint8_t home, away; /* hosts; away: of guests whose home is evacuated */
	uint8_t place;      /* enum wt_rejuvenate_place */
	bool fresh;         /* its QEMU was replaced */
};

struct wt_rejuvenate_host {
	uint8_t by;                        /* enum wt_rejuvenate_by */
	struct wt_rejuvenate_action doing; /* what was said last and has not ended */
	bool begun, checked, ran, answers; /* how far: its command has ended well; it has answered since */
	bool failed, done;
};

struct wt_rejuvenate_order {
	uint16_t hosts, guests, parallel;
	bool stopped;  /* nothing is said any more */
	bool homeward; /* guests come home, and nothing is renewed */
	bool over;     /* said */
	struct wt_rejuvenate_host host[WT_REJUVENATE_HOSTS_MAX];
	struct wt_rejuvenate_guest guest[WT_REJUVENATE_GUESTS_MAX];
};

/* Of counts within the limits; then `by` of hosts, `home` and `away` of guests are set by the caller. */
void wt_rejuvenate_order_init(
	struct wt_rejuvenate_order *order, unsigned hosts, unsigned guests, unsigned parallel);
/* What is to be done now; NO_STEP: wait for an end, or (when nothing is under way) it is the end. */
struct wt_rejuvenate_action wt_rejuvenate_order_next(struct wt_rejuvenate_order *order);
/* A step that was said has ended. */
void wt_rejuvenate_order_ended(struct wt_rejuvenate_order *order, struct wt_rejuvenate_action action,
	enum wt_rejuvenate_result result);
/* The operator's wish: steps that run end, nothing else begins. */
void wt_rejuvenate_order_stop(struct wt_rejuvenate_order *order);

/* A step that was said by one of before; false: it could not have been said. */
bool wt_rejuvenate_order_restore(struct wt_rejuvenate_order *order, struct wt_rejuvenate_action action);
/* It is under way. */
bool wt_rejuvenate_order_doing(const struct wt_rejuvenate_order *order, struct wt_rejuvenate_action action);
/* The operator's word on a guest of which nobody knew where it is; false: it was known. */
bool wt_rejuvenate_order_found(
	struct wt_rejuvenate_order *order, unsigned guest, enum wt_rejuvenate_place place);
/* After all was restored: what has failed is tried again, but for hosts with a guest that nobody knows of.
 * homeward: instead, whoever is away comes home, to hosts that answer, and nothing else is done. */
void wt_rejuvenate_order_resume(struct wt_rejuvenate_order *order, bool homeward);

/* So many steps have begun and not ended. */
unsigned wt_rejuvenate_order_busy(const struct wt_rejuvenate_order *order);
bool wt_rejuvenate_step_of_guest(enum wt_rejuvenate_step step);
/* The host at which a step works. */
unsigned wt_rejuvenate_order_host(
	const struct wt_rejuvenate_order *order, struct wt_rejuvenate_action action);
const char *wt_rejuvenate_step_name(enum wt_rejuvenate_step step);
const char *wt_rejuvenate_result_name(enum wt_rejuvenate_result result);

#endif
