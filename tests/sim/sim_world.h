/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_world.h - one scenario: guest, options, faults; all from the seed.
 */
#ifndef WT_SIM_WORLD_H
#define WT_SIM_WORLD_H

#include "sim.h"
#include "sim_qemu.h"

#define SIM_FAULTS_MAX 8
#define SIM_PORT 7000
#define SIM_CONNECT_NS (150 * SIM_MS) /* until memory moves, about */

enum sim_fault_kind {
	SIM_CUT = 1, /* control and all its bytes; both ends notice */
	SIM_CUT_SILENT,
	SIM_DOWN, /* the whole network, for a while */
	SIM_BREAK_ONE,
	SIM_BREAK_TCP,
	SIM_BREAK_VERBS, /* for a while no new paths either */
	SIM_SLOW,
	SIM_CANCEL,
	SIM_PAUSE,      /* the operator pauses the guest */
	SIM_QEMU_FAILS, /* the source's gives its migration up */
	SIM_CRASH_SOURCE,
	SIM_CRASH_DESTINATION,
	SIM_CRASH_SOURCE_QEMU,
	SIM_CRASH_DESTINATION_QEMU,
	SIM_FAULT_KINDS,
	SIM_RETARGET, /* no fault: the operator wants another destination, which is host `to` */
};

enum sim_fault_when {
	SIM_AT_TIME = 1,
	SIM_AT_STATE,   /* the relay of this host comes to a state, its n-th */
	SIM_AT_MESSAGE, /* the n-th message of this type */
};

struct sim_fault {
	enum sim_fault_kind kind;
	enum sim_fault_when when;
	uint64_t at_ns, length_ns, which;
	unsigned host, watched, type, number, to;
	struct sim_pair pair; /* between whom */
	bool before, done, spare_source;
	bool streaming; /* the connection was up when it happened */
	bool concerned; /* at a message: it befalls the destination whose session it is */
	bool aside;     /* it befell a destination that was not the current one */
	bool way_back;  /* there was one, for long enough */
	struct wt_timer timer;
};

enum { SIM_COUNTED = 5 };
extern const char *const sim_counted[SIM_COUNTED]; /* names of reports */

struct sim_world {
	unsigned destinations; /* on the hosts 1 to this number */
	unsigned neighbour;    /* this one is on the source's own host; 0: none is */
	unsigned retargets;    /* that the operator wants */
	bool uneven;           /* links are slow, and differ */
	unsigned counts[SIM_COUNTED];
	bool stop_known;   /* the source relay knows that the guest is stopped */
	bool begins_anew;  /* ... and has given the migration up; the next one has not begun */
	unsigned restarts; /* migrations that were given up for another destination */
	unsigned kept;     /* the destination of the last of them; 0: there was none */
	unsigned asked;    /* a bit for each host that was to be the destination */
	bool hopeless;     /* nobody was left who could have the guest then */
	bool replicas_lie; /* they give other bytes than they have digested */
	unsigned blamed;   /* and that was said of one */
	struct sim_guest guest;
	struct sim_block blocks[SIM_BLOCKS];
	unsigned block_count;
	bool may_discard, verify, keep_source;
	unsigned fabrics[SIM_HOSTS]; /* as options have them; 0: all */
	bool long_run;               /* the guest goes on writing for seconds, and QEMU sending */
	unsigned paths;
	uint64_t pending_limit; /* bytes; a smaller one than transport's own, which is more than the guest's
				   memory */
	uint64_t downtime_limit_ms, start_ns[SIM_HOSTS];
	unsigned fault_count;
	struct sim_fault faults[SIM_FAULTS_MAX];

	struct sim_qemu *qemus[SIM_HOSTS];
	struct sim_party *relays[SIM_HOSTS];
	int codes[SIM_HOSTS]; /* of relays that ended by themselves */
	uint64_t last_fault_ns;
};

extern struct sim_world sim_world;

struct sim_qemu *sim_world_qemu(unsigned host);
/* The operator cancels the job of this host; tells the source's job of another destination. */
void sim_job_cancel(unsigned host);
void sim_job_retarget(unsigned to, bool spare_source);

/* sim_fault.c */
void sim_faults_draw(void);
void sim_faults_start(void);
/* A fault of this kind has happened. */
bool sim_fault_happened(enum sim_fault_kind kind);
/* Any fault has; a wish for another destination is none. */
bool sim_fault_any(void);

#endif
