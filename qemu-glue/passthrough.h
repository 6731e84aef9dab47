/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passthrough.h - carries out device_sequence.h at one end: with QMP, the guest's agent, and the commands of
 * the device map. The steps that concern the other end (ASK, MOVE, REPORT) are the owner's.
 *
 * Each step is told as an event "device" of the report. Used by source_devices.c, destination_devices.c,
 * recover_devices.c and handover_devices.c.
 */
#ifndef WATARI_QEMU_PASSTHROUGH_H
#define WATARI_QEMU_PASSTHROUGH_H

#include <jansson.h>

#include <watari/loop.h>

#include "device_map.h"
#include "device_sequence.h"
#include "qmp.h"
#include "report.h"

struct wt_passthrough;

struct wt_passthrough_config {
	struct wt_loop *loop;
	struct wt_report *report;
	const char *map_path;
	const char *host;       /* which one of the map this is; NULL: its host name */
	const char *agent_path; /* socket of the agent's port; NULL: hooks are not run */
	const char *root;       /* as in vfio_host.h */
	bool source;
	bool handover; /* a source whose guest stays on this host, and gets the same devices in another QEMU
			*/
	bool recovers; /* at either end, later: what QEMU has already stays; then all is as at the destination
			*/
};

struct wt_passthrough_events {
	/* A step of the owner's begins: ASK, MOVE or REPORT. wt_passthrough_done follows. */
	void (*step)(void *arg, enum wt_device_step_kind kind);
	/* Before the move: it has failed, and what was done is being undone. */
	void (*failed)(void *arg, const struct wt_error *err);
	void (*over)(void *arg);
};

/* Reads the map, and looks up what this host has. -errno with the sentence. */
int wt_passthrough_open(const struct wt_passthrough_config *config,
	const struct wt_passthrough_events *events, void *arg, struct wt_passthrough **ret_passthrough,
	struct wt_error *err);
void wt_passthrough_close(struct wt_passthrough *passthrough);

/* Asks QEMU whether it can be done, and connects to the agent. Nothing is changed. */
int wt_passthrough_check(struct wt_passthrough *passthrough, struct wt_qmp *qmp, struct wt_error *err);
/* Handover, behind that: can the other QEMU have the devices? agent_path: the agent's socket there, or NULL.
 */
int wt_passthrough_check_next(
	struct wt_passthrough *passthrough, struct wt_qmp *qmp, const char *agent_path, struct wt_error *err);
/* ... which has the guest now: what is done from now on is done there. Before MOVE is done. */
void wt_passthrough_use_next(struct wt_passthrough *passthrough);
/* Ids of devices that will be taken away, ending with NULL. */
const char *const *wt_passthrough_leaving(const struct wt_passthrough *passthrough);

/* Destination: only the devices that the source names count. -errno with the sentence. */
int wt_passthrough_expect(struct wt_passthrough *passthrough, json_t *names, struct wt_error *err);
/* Names of all devices of the map, a new array. */
json_t *wt_passthrough_names(const struct wt_passthrough *passthrough);

void wt_passthrough_begin(struct wt_passthrough *passthrough);
/* A step of the owner's has ended; err NULL: well. Answers false, and means nothing, unless that step is
 * under way. */
bool wt_passthrough_done(
	struct wt_passthrough *passthrough, enum wt_device_step_kind kind, const struct wt_error *err);
/* The migration is given up; means nothing once it was said that it has moved. */
void wt_passthrough_abort(struct wt_passthrough *passthrough);
bool wt_passthrough_begun(const struct wt_passthrough *passthrough);
bool wt_passthrough_is_over(const struct wt_passthrough *passthrough);

/* An event of QEMU's. */
void wt_passthrough_qmp_event(struct wt_passthrough *passthrough, const char *name, json_t *data);
/* How long the owner's steps may take, ms. */
uint64_t wt_passthrough_ask_ms(const struct wt_passthrough *passthrough);
uint64_t wt_passthrough_report_ms(const struct wt_passthrough *passthrough);

/* Source, when all is undone: a device that is not there after all is plugged in; what cannot be helped is
 * trouble. Waits for QEMU. */
void wt_passthrough_check_back(struct wt_passthrough *passthrough);
/* Devices that were taken away, or prepared, and are not plugged in; "": none. */
const char *wt_passthrough_away(const struct wt_passthrough *passthrough, char *ret_text, size_t size);
/* Devices that this host has for the guest and QEMU has not, now; "": none. */
const char *wt_passthrough_lacking(const struct wt_passthrough *passthrough, char *ret_text, size_t size);
/* What has become of the devices, a new array: {"name", "what", "error", and how long each step took in ms}.
 */
json_t *wt_passthrough_facts(const struct wt_passthrough *passthrough);
/* The first thing that could not be done after the move, or undone; NULL: all is well. */
const struct wt_error *wt_passthrough_trouble(const struct wt_passthrough *passthrough);
/* When the first step that the guest notices began, and the last device was gone; 0: never. CLOCK_MONOTONIC.
 */
uint64_t wt_passthrough_quiesce_ns(const struct wt_passthrough *passthrough);
uint64_t wt_passthrough_gone_ns(const struct wt_passthrough *passthrough);

#endif
