/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * relay.h - what the source's and the destination's relay have in common: loop, QMP, guest RAM, key, signals,
 * reports.
 *
 * Embedded in struct wt_source and struct wt_destination; owns everything in it but the options.
 */
#ifndef WATARI_QEMU_RELAY_H
#define WATARI_QEMU_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/channel.h>
#include <watari/loop.h>

#include "guest_ram.h"
#include "job.h"
#include "job_place.h"
#include "progress.h"
#include "qmp.h"
#include "report.h"
#include "signals.h"

#define WT_RELAY_ALLOWED_MAX 32
#define WT_RELAY_QMP_NS 10000000000ull /* how long QEMU may take to answer */

/* What a relay that is no process of its own has in its place: see daemon.h. */
struct wt_relay_within {
	FILE *out, *err; /* what it prints */
	int end_fd;      /* an eventfd: written to when it shall end, as by a signal */
};

/* Options of both `send` and `receive`; strings are borrowed. */
struct wt_relay_options {
	const char *qmp_path;          /* NULL: no QMP, and no guest RAM found by it (relay.qmp, relay.ram) */
	const char *name;              /* of the VM */
	char job[WT_JOB_NAME_MAX + 1]; /* "": none, only without QMP */
	const char *psk_file;          /* or NULL */
	const char *tls_creds;         /* folder with certificates, or NULL */
	const char *tls_allowed[WT_RELAY_ALLOWED_MAX]; /* see wt_credentials_x509 */
	unsigned tls_allowed_count;
	const char *device;            /* RDMA device, or NULL */
	unsigned fabrics;              /* WT_FABRIC_BIT()s; 0: all */
	uint64_t reconnect_timeout_ns; /* how long a lost connection is tried again */
	const char *device_map;        /* devices that cannot move with the guest; NULL: none */
	const char *device_host;       /* which host of the map this is; NULL: its host name */
	const char *agent;             /* socket of the guest's agent, or NULL */
	uint64_t hold_ns;              /* how long to wait for `watari proceed`, see hold.h; 0: not */
	bool insecure, json;
	bool data_plain; /* data over tcp is not encrypted, although the control connection is */
	bool daemon;     /* asked for: the daemon of this host runs it */
	const struct wt_relay_within *within; /* NULL: a process of its own */
};

struct wt_relay {
	const struct wt_relay_options *options;
	struct wt_job *job;
	struct wt_loop *loop;
	struct wt_report report;
	struct wt_qmp *qmp;
	struct wt_guest_ram *ram;
	struct wt_credentials *credentials; /* NULL: none */
	struct wt_signals signals;
	void *arg;
};

/* A directory of our own for one unix socket, and the socket's path in it. */
struct wt_relay_socket {
	char directory[64], path[96]; /* directory empty: none */
};

/* Exit codes of send, receive and recover. */
enum {
	WT_EXIT_OK = 0,
	WT_EXIT_FAILED = 1, /* nothing moved; the guest is where it was */
	WT_EXIT_USAGE = 2,
	WT_EXIT_UNDECIDED = 3, /* the operator has to decide: see `watari recover` */
};

/* Whether the other end has to show who it is; otherwise in the clear, on loopback and unix sockets only. */
bool wt_relay_is_secure(const struct wt_relay_options *options);

/* Opens all of it, the job's socket first: nobody else's migration is disturbed by one that has the same
 * name. On failure wt_relay_close releases what there is. SIGINT and SIGTERM call `signalled`; commands are
 * what the job is told through its socket (job.h). arg is for all three. */
int wt_relay_open(struct wt_relay *relay, const struct wt_relay_options *options,
	const struct wt_qmp_events *events, void (*signalled)(void *arg, const char *signal_name),
	const struct wt_job_command *commands, void *arg, struct wt_error *err);
void wt_relay_close(struct wt_relay *relay);

/* What `status` answers in both relays: a new object, to which each adds its own. */
json_t *wt_relay_status(const struct wt_relay *relay, const char *role, const struct wt_progress *progress);

/* Tells the networks where the guest is now (gratuitous ARP and the like). */
void wt_relay_announce_self(struct wt_qmp *qmp);

int wt_relay_socket_open(struct wt_relay_socket *place, const char *what, struct wt_error *err);
void wt_relay_socket_close(struct wt_relay_socket *place);

#endif
