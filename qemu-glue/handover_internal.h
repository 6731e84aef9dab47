/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_internal.h - a handover's state, shared by handover.c (events and actions), handover_qemu.c (what
 * is asked of and told to both QEMUs), handover_devices.c (devices that leave and come back) and
 * handover_report.c (what people are told).
 */
#ifndef WATARI_QEMU_HANDOVER_INTERNAL_H
#define WATARI_QEMU_HANDOVER_INTERNAL_H

#include "destination_switch.h"
#include "handover.h"
#include "handover_check.h"
#include "handover_relay.h"
#include "migration_settings.h"
#include "passthrough.h"
#include "record.h"
#include "source_switch.h"

struct wt_handover {
	struct wt_relay relay; /* QMP and RAM of the old QEMU */
	const struct wt_handover_options *options;
	struct wt_handover_qemu old, new;
	struct wt_source_switch old_machine;
	struct wt_destination_switch new_machine;
	struct wt_handover_relay *stream;
	const char *stream_path; /* to which the old QEMU connects */
	struct wt_handover_memory memory;
	struct wt_record record; /* of this handover, for both QEMUs */
	struct wt_timer deadline, poll, run, progress;
	struct wt_error failure; /* the first thing that went wrong */
	bool guest_running;      /* it ran before, and nobody has paused it since */
	bool migrating;          /* the old QEMU has answered to `migrate` */
	bool migrate_taken;      /* ... and has begun */
	bool asking_old, asking_new;
	bool shut_sent, old_gone, new_gone, new_quitting;
	unsigned run_tries;
	uint64_t linger_until_ns;
	bool old_before_known, new_before_known;
	struct wt_migration_settings old_before, new_before; /* to be put back */
	struct {
		uint64_t total_bytes, remaining_bytes; /* what the old QEMU said last; total 0: nothing yet */
	} said;
	struct {
		struct wt_passthrough *passthrough; /* NULL: there are none */
		bool waiting;
		uint64_t back_ns; /* of the report's clock */
	} devices;
	uint64_t start_ns, stop_event_ns, stop_ns, loaded_ns, commit_ns, end_ns; /* of the report's clock */
};

/* Feeds an event to one of the two machines and carries out its actions. */
void wt_handover_old_event(struct wt_handover *handover, enum wt_source_event event);
void wt_handover_new_event(struct wt_handover *handover, enum wt_destination_event event);
/* Remembers why (the first one wins) and raises TROUBLE at the old QEMU's machine. */
void wt_handover_trouble(struct wt_handover *handover, const struct wt_error *err);

/* handover_qemu.c: opens the new QEMU's QMP and RAM; what both QEMUs tell by themselves. */
extern const struct wt_qmp_events wt_handover_old_events;
int wt_handover_new_open(struct wt_handover *handover, struct wt_error *err);
/* The new one awaits the stream; the old one shall leave RAM out of it. */
int wt_handover_prepare_new(struct wt_handover *handover, struct wt_error *err);
int wt_handover_prepare_old(struct wt_handover *handover, struct wt_error *err);
void wt_handover_migrate(struct wt_handover *handover);
/* Asks both what they are doing, now and from now on. */
void wt_handover_watch(struct wt_handover *handover);
/* The new one runs its guest, or keeps it paused as it was. */
void wt_handover_run_new(struct wt_handover *handover);
/* Migration settings as they were; after an abort the old one runs again, if it ran. */
int wt_handover_restore_old(struct wt_handover *handover, struct wt_error *err);
void wt_handover_restore_new(struct wt_handover *handover);

/* handover_devices.c: reads the map. */
int wt_handover_devices_open(struct wt_handover *handover, struct wt_error *err);
int wt_handover_devices_check_new(struct wt_handover *handover, struct wt_error *err);
/* Ids of those that will leave, ending with NULL. */
const char *const *wt_handover_devices_leaving(const struct wt_handover *handover);
/* They leave, and then the old QEMU's machine hears ACCEPTED; at once if there are none. */
void wt_handover_devices_begin(struct wt_handover *handover);
/* An event of the QEMU that has the guest. */
void wt_handover_devices_qmp_event(struct wt_handover *handover, const char *name, json_t *data);
/* The handover is over, and one QEMU has the guest: they come back there; runs the loop. NULL: all is well.
 */
const struct wt_error *wt_handover_devices_end(struct wt_handover *handover);
/* Nobody knows which QEMU has it: what the guest lacks is said. */
void wt_handover_devices_note_away(struct wt_handover *handover);
/* For the summary: a new object, or NULL; and lines for people. */
json_t *wt_handover_devices_json(const struct wt_handover *handover);
void wt_handover_devices_text(const struct wt_handover *handover, char *text, size_t size);

/* handover_report.c */
void wt_handover_tell_checked(struct wt_handover *handover);
void wt_handover_tell_state(struct wt_handover *handover, const char *qemu, const char *state);
void wt_handover_tell_progress(struct wt_handover *handover);
void wt_handover_tell_summary(struct wt_handover *handover);
void wt_handover_tell_stays(struct wt_handover *handover);
void wt_handover_tell_devices(struct wt_handover *handover, const struct wt_error *err);

#endif
