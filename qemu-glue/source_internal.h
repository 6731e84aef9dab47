/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_internal.h - the source relay's state, shared by source.c (who runs), source_peer.c (page servers),
 * source_change.c (which destination), source_gate.c (when QEMU may stop the guest), source_restart.c
 * (another destination for a stopped guest), source_rest.c (RAM of a paused guest) and source_report.c (what
 * people are told).
 */
#ifndef WATARI_QEMU_SOURCE_INTERNAL_H
#define WATARI_QEMU_SOURCE_INTERNAL_H

#include <watari/server.h>

#include "common_memory.h"
#include "convergence.h"
#include "digest_gate.h"
#include "downtime_goal.h"
#include "hold.h"
#include "migration_settings.h"
#include "messages.h"
#include "outgoing.h"
#include "passthrough.h"
#include "preflight.h"
#include "progress.h"
#include "ram_walk.h"
#include "record.h"
#include "relay.h"
#include "replica_writer.h"
#include "source.h"
#include "source_change.h"
#include "source_switch.h"

/* Devices that cannot move with the guest. */
struct wt_source_devices {
	struct wt_passthrough *passthrough; /* NULL: none */
	struct wt_timer timer;              /* for the destination's word */
	json_t *report;                     /* the destination's last word; NULL: none yet */
	uint64_t report_ns;                 /* when it came */
	bool ending;                        /* the migration is over */
	bool waiting;                       /* the loop runs until they are where they belong */
};

/* Guest RAM that is pulled before devices leave. */
struct wt_source_warm {
	bool on;
	bool replica; /* the destination has an old copy, and needs no warm-up */
	struct wt_ram_walk walk;
	struct wt_ram_run run;     /* not announced yet, for want of room */
	struct wt_timer timer;     /* of the next turn */
	uint64_t begin_ns, end_ns; /* of the report's clock; 0: never */
};

/* Guest RAM that QEMU leaves out of its stream, because the guest is paused. */
struct wt_source_rest {
	bool on;        /* QEMU was told to */
	bool begun;     /* RAM has ended, and some was left out */
	bool resumed;   /* the guest was continued meanwhile */
	uint64_t bytes; /* of what was left out, as far as it was looked at */
	struct wt_ram_walk walk;
	struct wt_ram_run run; /* not announced yet, for want of room */
	struct wt_timer timer; /* of the next turn */
};

struct wt_source {
	struct wt_relay relay;
	const struct wt_source_options *options;
	const struct wt_ram_block **served; /* by the server's block number */
	struct wt_preflight facts;
	struct wt_record record;         /* of this migration, for both QEMUs */
	struct wt_common_memory *common; /* NULL: the memory is moved */
	struct wt_memory *memory;
	struct wt_memory *former[WT_TARGETS_MAX]; /* of migrations that were given up for another destination
						   */
	unsigned formers;
	struct wt_source_switch machine;
	struct wt_source_change change;
	struct wt_digest_gate digest_gate;
	struct wt_downtime_goal downtime_goal;
	struct wt_convergence convergence;
	struct wt_relay_socket place; /* of the socket that QEMU connects to */
	struct wt_outgoing *outgoing;
	struct wt_source_devices devices;
	struct wt_source_warm warm;
	struct wt_source_rest rest;
	struct wt_hold hold;
	struct wt_replica_writer *replica; /* to be written; NULL: none */
	struct wt_timer deadline, poll, progress, patience;
	struct wt_error failure; /* the first thing that went wrong */

	uint64_t start_ns, stop_ns, ram_end_ns, ready_ns, commit_ns, end_ns; /* of the report's clock */
	uint64_t stop_event_ns;    /* of QEMU's STOP, which may be told later than the end of RAM is read */
	struct wt_rate rate, pace; /* of content that landed; of all pages, zero or not */
	struct {                   /* what QEMU said last; total 0: nothing yet */
		uint64_t total_bytes, remaining_bytes, dirty_bytes_per_s;
		unsigned throttle_percent;
		uint64_t read_pages; /* that we had read when we asked */
	} said;
	uint64_t asked_pages; /* read_pages of the question that is under way */
	uint64_t linger_until_ns;
	int quit_fd;               /* pidfd of the QEMU that was told to quit, or negative */
	json_t *destination_facts; /* what the destination said when it ran */
	bool migrating;            /* QEMU has answered to `migrate` */
	bool migrate_taken;        /* ... and has begun: what stopped the guest may have been that */
	bool asking;               /* a query-migrate is under way */
	bool shut_sent, qemu_gone;
	bool before_known;
	struct wt_migration_settings before; /* to be put back after an abort */
};

/* Feeds an event to the state machine and carries out its actions. */
void wt_source_event(struct wt_source *source, enum wt_source_event event);
/* Remembers why (the first one wins) and raises TROUBLE. */
void wt_source_trouble(struct wt_source *source, const struct wt_error *err);

/* Opens the current target's page server; what comes of it are events. */
int wt_source_begin(struct wt_source *source, struct wt_error *err);

/* source_peer.c: the memory that is served; opens a target's page server and connects it; lets QEMU's stream
 * go on; tells a destination what the guest is. */
int wt_source_memory_open(struct wt_source *source, struct wt_error *err);
int wt_source_server_open(struct wt_source_target *target, struct wt_error *err);
void wt_source_pump(struct wt_source *source);
struct wt_relay_guest wt_source_guest(const struct wt_source *source);
/* The destination has accepted the guest's memory. */
void wt_source_accepted(struct wt_source *source);
/* Figures of the current server, with all pages that were ever announced, by whichever. */
void wt_source_stats(const struct wt_source *source, struct wt_server_stats *ret_stats);

/* source_change.c: which destination. */
void wt_source_change_init(struct wt_source *source);
void wt_source_change_event(
	struct wt_source *source, enum wt_retarget_event event, const struct wt_source_target *target);
/* It is lost, or has given up: of the current one `event` is what source_switch.h is to know. */
void wt_source_target_lost(
	struct wt_source_target *target, enum wt_source_event event, const struct wt_error *err);
/* The page server of a target: ready, has room; and what its puller has said. */
void wt_source_target_ready(struct wt_source_target *target);
bool wt_source_target_room(struct wt_source_target *target);
void wt_source_target_drained(void *arg);
void wt_source_target_base_sent(void *arg);
void wt_source_target_base_left(void *arg, uint64_t pages);
void wt_source_target_expected(void *arg, unsigned number, uint16_t port);
void wt_source_target_expected_replica(void *arg, unsigned number, uint16_t port, const uint8_t *digest_key);
void wt_source_target_helper(void *arg, unsigned number, enum wt_helper_state state, const char *text);
/* The operator's wish; answers the number of the request, or -errno with the sentence. */
int wt_source_retarget(struct wt_source *source, json_t *request, struct wt_error *err);
/* As which helper, or replica, a target serves the current one: 1 to 7. */
unsigned wt_source_helper_number(const struct wt_source *source, unsigned target);
/* Bytes that destinations which still count have not acknowledged. */
size_t wt_source_unsent(const struct wt_source *source);
/* ABORT to every destination that may hear it. */
void wt_source_abort_all(struct wt_source *source, const char *why);
void wt_source_change_close(struct wt_source *source);

/* source_gate.c: closed from the operator's word on until the new destination lacks little, or the guest is
 * stopped.
 */
void wt_source_gate_close(struct wt_source *source);
void wt_source_gate_open(struct wt_source *source);
/* QEMU has said how much it has left, or the new destination what it lacks. */
void wt_source_gate(struct wt_source *source);
/* QEMU has said how much it has left, and how fast the guest writes. */
void wt_source_downtime_goal(struct wt_source *source);
void wt_source_converge(struct wt_source *source);
/* As the gate of digests and the guest are now: what it always writes shall wait, or shall not. */
/* Whether QEMU is made to ask which pages are dirty more than once in each pass over RAM. */
bool wt_source_may_sync_often(const struct wt_source *source);
void wt_source_defer(struct wt_source *source);
/* When to ask QEMU again, at the latest. */
uint64_t wt_source_converge_wait_ns(const struct wt_source *source);
/* What QEMU is to take for the limit on downtime as both gates and the goal are now; tells it. */
uint64_t wt_source_downtime_limit_ms(const struct wt_source *source);
void wt_source_downtime_limit(struct wt_source *source);

static inline struct wt_source_target *wt_source_current(struct wt_source *source)
{
	return &source->change.targets[source->change.machine.current];
}

/* The page server of the current destination; NULL before it was opened. */
static inline struct wt_server *wt_source_server(const struct wt_source *source)
{
	return source->change.targets[source->change.machine.current].server;
}

/* source_replica.c: replicas, at the destination and to be kept here. Checks where RAM shall be kept; keeps
 * it, if the guest has moved. */
int wt_source_replica_open(struct wt_source *source, struct wt_error *err);
/* The gate of digests, before QEMU begins, and now. */
void wt_source_digests_begin(struct wt_source *source);
void wt_source_digests_gate(struct wt_source *source);
void wt_source_replica_write(struct wt_source *source);
void wt_source_replica_close(struct wt_source *source);

/* source_report.c: reports progress from now on; tells what the migration was. */
void wt_source_progress(struct wt_source *source);
void wt_source_summary(struct wt_source *source);
/* Takes the figures of query-migrate's answer. */
void wt_source_take_figures(struct wt_source *source, json_t *answer);
/* How far it is now. */
struct wt_progress wt_source_figures(const struct wt_source *source);
/* The sentence for a guest that writes faster than its memory gets across. */
void wt_source_no_convergence(const struct wt_source *source, struct wt_error *err);

/*
 * source_restart.c: another destination for a guest that is stopped. The destinations are told that this
 * migration is given up; QEMU is as before it; a new migration begins, on failure the source is as in
 * CONNECTING; what the operator is told when the state has changed. The destination that was given up: the
 * new one, whose page server has not started, shall expect it as a replica; it pulls no more.
 */
void wt_source_keep(struct wt_source *source);
int wt_source_restore_qemu(struct wt_source *source, struct wt_error *err);
int wt_source_restart(struct wt_source *source, struct wt_error *err);
void wt_source_kept_expect(struct wt_source_target *now);
void wt_source_kept_drained(struct wt_source_target *kept);
void wt_source_restart_report(struct wt_source *source);
void wt_source_restart_close(struct wt_source *source);

/*
 * source_devices.c. Opens the map and looks whether it can be done; ids of those that will leave (NULL: there
 * is no map); begins, false: nothing is to be done; all have left and the guest may move, false: there is no
 * map; QEMU's events and the destination's messages; waits until they are where they belong, answers what
 * could not be done (NULL: nothing); for the summary.
 */
int wt_source_devices_open(struct wt_source *source, struct wt_error *err);
const char *const *wt_source_devices_leaving(const struct wt_source *source);
bool wt_source_devices_begin(struct wt_source *source);
bool wt_source_devices_move(struct wt_source *source);
void wt_source_devices_qmp_event(struct wt_source *source, const char *name, json_t *data);
int wt_source_devices_message(
	struct wt_source *source, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
const struct wt_error *wt_source_devices_end(struct wt_source *source);
/* The destination is lost for good; what is away is told, where nobody brings it back. */
void wt_source_devices_peer_lost(struct wt_source *source, const struct wt_error *err);
void wt_source_devices_note_away(struct wt_source *source);
json_t *wt_source_devices_json(const struct wt_source *source);
void wt_source_devices_text(const struct wt_source *source, char *text, size_t size);
void wt_source_devices_close(struct wt_source *source);

/* source_common.c: looks whether memory can be in common, and marks it; asks the destination for it, false:
 * memory is moved; its answer. */
int wt_source_common_open(struct wt_source *source, struct wt_error *err);
bool wt_source_common_ask(struct wt_source *source);
int wt_source_common_answer(
	struct wt_source *source, const uint8_t *payload, size_t length, struct wt_error *err);

/* source_warm.c: the step WARM, done when it is over; there is room. */
void wt_source_warm_begin(struct wt_source *source);
void wt_source_warm_more(struct wt_source *source);

/* source_rest.c: before QEMU migrates: may it leave RAM out? RAM has ended: announces what was left out, as
 * wt_outgoing_events.rest; the guest was continued; bytes that are still to be announced; the end. */
void wt_source_rest_begin(struct wt_source *source);
int wt_source_rest(void *arg, struct wt_error *err);
void wt_source_rest_resumed(struct wt_source *source);
uint64_t wt_source_rest_left(const struct wt_source *source);
void wt_source_rest_end(struct wt_source *source);
/* source.c: the deadline of the switchover is set anew. */
void wt_source_switch_deadline(struct wt_source *source);

/* source_hold.c: nothing stands in the way of the guest's move; it waits, if it shall, until PROCEED. */
void wt_source_move(struct wt_source *source);
int wt_source_proceed(struct wt_source *source, json_t **ret_result, struct wt_error *err);

/* source_job.c: what the job can be told. */
extern const struct wt_job_command wt_source_commands[];

#endif
