/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * switchover.pml - one guest moves: switchover, commit, recover; and, with SENDS 2, a second attempt to another
 * destination after the first one has failed. See README.md.
 *
 * Each party is a process: both QEMUs, both relays, the operator. Relays carry out one action at a time, and may be
 * killed between any two. A relay hears the other one in order; when the link is cut, each side may hear
 * any part of what was under way, and then nothing more.
 */
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef SENDS
#define SENDS 1 /* watari send is begun so often, each time to a destination of its own */
#endif
#ifndef RECOVERS
#define RECOVERS 0 /* watari recover is begun so often while relays may live */
#endif
#ifndef WRITES
#define WRITES 0 /* the guest changes its memory so often after the first pass */
#endif
#ifndef VERIFY
#define VERIFY 0
#endif
#define DESTINATIONS SENDS
#define QUEUE 6

#include "world.pml"
#include "source_switch.pml"
#include "destination_switch.pml"
#include "recover.pml"

/* ---- the source ---- */

mtype:qemu source_qemu = qemu_runs;
bit source_lives; /* its relay */
byte attempt;     /* which destination it sends to */
byte record;      /* ... according to the record in the source QEMU (record.h); destination i has record i */
bit begun;        /* ... somebody has */
bit shut;         /* SHUT has come to the source QEMU */
bit end_sent;
bit source_deaf;  /* its session has failed for good */
bit source_stale; /* since the guest stopped here it has run elsewhere */
bit forced;       /* the operator has said that the source will never run again */

byte memory = 1;  /* what the guest's memory is: a number that grows */
byte writes = WRITES;
bit dirty = 1;    /* not announced yet */
byte content;     /* the memory when the guest stopped */

/* ---- destinations ---- */

typedef destination_host {
	mtype:qemu qemu;
	bit lives, came, deaf, cut;
	bit fed, cont;
	bit ram_end, wanted, busy;
	bit stale; /* since the moment of its device state the guest has run elsewhere */
	byte memory, image /* the memory that belongs to its device state */
}

destination_host d[DESTINATIONS];
chan to_source[DESTINATIONS] = [QUEUE] of { mtype:message };
chan to_destination[DESTINATIONS] = [QUEUE] of { mtype:message };

#if DESTINATIONS == 1
#define destinations_that_run (d[0].qemu == qemu_runs)
#else
#define destinations_that_run ((d[0].qemu == qemu_runs) + (d[1].qemu == qemu_runs))
#endif
#define source_runs (source_qemu == qemu_runs || source_qemu == qemu_streams)
#define guests_that_run (source_runs + destinations_that_run)

/* Who is not there, or has given the session up, hears nothing any more. */
inline tell_destination(i, what)
{
	if
	:: !source_deaf && d[i].lives && !d[i].deaf ->
		assert(nfull(to_destination[i]));
		to_destination[i]!what
	:: else
	fi
}

inline tell_source(i, what)
{
	if
	:: !d[i].deaf && source_lives && attempt == i && !source_deaf ->
		assert(nfull(to_source[i]));
		to_source[i]!what
	:: else
	fi
}

inline drain(channel)
{
	do
	:: channel?trash
	:: empty(channel) -> break
	od;
	trash = 0
}

inline all_stale()
{
	d[0].stale = d[0].image > 0;
#if DESTINATIONS > 1
	d[1].stale = d[1].image > 0
#endif
}

/* The guest is the source's again: it runs on from where it stopped. */
inline source_runs_on()
{
	promise(one_history, source_runs || !source_stale);
	source_qemu = qemu_runs;
	printf("the source QEMU runs the guest\n");
	all_stale();
	promise(at_most_one, guests_that_run <= 1)
}

inline destination_runs_guest(i)
{
	d[i].qemu = qemu_runs;
	printf("QEMU %d runs the guest\n", i);
	promise(at_most_one, guests_that_run <= 1);
	promise(record_before_run, forced || source_qemu == qemu_completed || source_qemu == qemu_gone);
	promise(memory_complete, d[i].memory == d[i].image);
	promise(one_history, forced || !d[i].stale);
	all_stale();
	source_stale = 1
}

/* ---- the source QEMU ---- */

active proctype source_qemu_process()
{
end:	do
	:: d_step { source_qemu == qemu_streams && writes > 0 -> writes--; memory++; dirty = 1 }
	:: d_step { source_qemu == qemu_streams -> source_qemu = qemu_stopped; content = memory }
	:: d_step { source_qemu == qemu_stopped && shut -> source_qemu = qemu_completed }
	/* The relay's end closes its connection. */
	:: d_step { (source_qemu == qemu_streams || source_qemu == qemu_stopped) && !shut && !source_lives ->
		source_runs_on() }
	/* The migration fails by itself. */
	:: d_step { faults > 0 && (source_qemu == qemu_streams || source_qemu == qemu_stopped) ->
		fault_happens("FAULT: the migration fails in QEMU\n"); source_runs_on() }
	:: d_step { faults > 0 && source_qemu != qemu_gone -> fault_happens("FAULT: the source's QEMU dies\n"); died = 1; source_qemu = qemu_gone }
	od
}

/* ---- the source relay ---- */

/* The destination is heard no more: all that it has said was heard, and nothing more comes. */
#define silent(i) (source_deaf || d[i].cut || (!d[i].lives && empty(to_source[i])))
#define has_deadline (source_state == source_connecting || source_state == source_stopped || \
	source_state == source_delivering)

/* Nobody knows any more what it knew. */
inline source_ends()
{
	source_lives = 0;
	source_todo = 0;
	unrun = 0;
	was_stopped = 0;
	source_deaf = 0;
	end_sent = 0;
	drain(to_source[to])
}

inline source_act()
{
	action = source_todo & (-source_todo);
	source_todo = source_todo & (~action);
	if
	:: action == SOURCE_DO_MIGRATE && source_qemu == qemu_runs -> source_qemu = qemu_streams; record = to
	:: action == SOURCE_DO_SEND_SHUT && source_qemu == qemu_stopped -> shut = 1
	:: action == SOURCE_DO_SEND_COMMIT -> tell_destination(to, say_commit)
	:: action == SOURCE_DO_SEND_ABORT -> tell_destination(to, say_abort)
	:: action == SOURCE_DO_CANCEL && (source_qemu == qemu_streams || source_qemu == qemu_stopped) && !shut ->
		source_runs_on()
	:: action == SOURCE_DO_QUIT_QEMU ->
		promise(runner_not_ended, !source_runs && (d[to].qemu == qemu_runs || (died && d[to].cont)));
		source_qemu = qemu_gone
	:: action == SOURCE_DO_FINISH && source_state == source_aborted && source_qemu == qemu_completed ->
		source_runs_on(); /* cont */
		source_todo = SOURCE_DO_FINISH
	:: action == SOURCE_DO_FINISH && !(source_state == source_aborted && source_qemu == qemu_completed) ->
		source_ends()
	:: else /* deadlines may pass at any time; what is said to networks is not modelled */
	fi;
	action = 0
}

inline source_hears()
{
	if
	:: heard == say_accepted -> event = se_accepted
	:: heard == say_ready -> event = se_destination_ready
	:: heard == say_running -> event = se_destination_runs
	:: heard == say_failed -> event = se_destination_unrun
	:: heard == say_stranded -> event = se_trouble
	:: else
	fi;
	heard = 0
}

proctype source_relay(byte to)
{
	short action;
	mtype:message heard, trash;
	mtype:source_event event;
	mtype:source shown;

	do
	:: !source_lives || attempt != to -> break
	:: atomic { source_lives && attempt == to ->
		if
		:: faults > 0 -> fault_happens("FAULT: the source's relay is killed\n"); d[to].cut = 1; source_ends()
		:: !source_deaf && nempty(to_source[to]) -> to_source[to]?heard; source_hears()
		:: source_qemu == qemu_stopped && source_state == source_streaming -> event = se_guest_stopped
		:: source_qemu == qemu_completed && source_state != source_delivering -> event = se_qemu_completed
		:: source_qemu == qemu_runs && source_state != source_connecting -> event = se_qemu_failed
		:: source_qemu == qemu_gone && source_state != source_delivering -> event = se_qemu_gone
		/* QEMU's stream: content, then RAM's end. */
		:: dirty && nfull(to_destination[to]) && (source_qemu == qemu_streams || source_qemu == qemu_stopped) &&
			(source_state == source_streaming || source_state == source_stopped) ->
			dirty = 0;
			tell_destination(to, say_announce)
		:: source_qemu == qemu_stopped && !dirty && !end_sent && source_state == source_stopped &&
			nfull(to_destination[to]) ->
			end_sent = 1;
			d[to].image = content;
			tell_destination(to, say_ram_end)
		/* The session fails for good, sooner or later. */
		:: !source_deaf && silent(to) ->
			source_deaf = 1;
			drain(to_source[to]);
			event = se_trouble
		/* Deadlines: when the other side is silent, or too early. */
		:: has_deadline && silent(to) -> event = se_deadline
		:: faults > 0 && has_deadline -> fault_happens("FAULT: a deadline passes\n"); event = se_deadline
		/* The operator cancels: refused where that would not help, see wt_source_cancel_refusal. */
		:: faults > 0 && (source_state == source_connecting || source_state == source_streaming ||
			source_state == source_stopped) -> fault_happens("FAULT: the operator cancels at the source\n"); event = se_trouble
		fi;
		if
		:: event -> d_step {
			source_switch_step(event);
			shown = source_state;
			printf("source (to %d): %e, now %e\n", to, event, shown);
			shown = 0;
			event = 0 }
		:: else
		fi;
		do
		:: source_todo != 0 -> d_step { source_act() }
		:: source_todo != 0 && faults > 0 -> d_step { fault_happens("FAULT: the source's relay is killed between two actions\n"); d[to].cut = 1; source_ends() }
		:: source_todo == 0 -> break
		od }
	od
}

/* ---- a destination: its QEMU, and its relay ---- */

proctype destination_qemu_process(byte i)
{
end:	do
	:: d_step { d[i].qemu == qemu_waits && d[i].fed -> d[i].qemu = qemu_loaded }
	:: d_step { d[i].qemu == qemu_loaded && d[i].cont -> destination_runs_guest(i) }
	:: d_step { faults > 0 && d[i].qemu != qemu_gone -> fault_happens("FAULT: a destination's QEMU dies\n"); died = 1; d[i].qemu = qemu_gone }
	od
}

inline destination_ends(i)
{
	d[i].lives = 0;
	machine[i].todo = 0;
	d[i].wanted = 0;
	d[i].busy = 0;
	d[i].deaf = 0;
	d[i].ram_end = 0;
	drain(to_destination[i])
}

inline destination_act(i)
{
	action = machine[i].todo & (-machine[i].todo);
	machine[i].todo = machine[i].todo & (~action);
	if
	:: action == DESTINATION_DO_FEED_TAIL -> d[i].fed = 1
	:: action == DESTINATION_DO_SEND_READY -> tell_source(i, say_ready)
	:: action == DESTINATION_DO_RUN -> d[i].cont = 1
	:: action == DESTINATION_DO_SEND_RUNNING -> tell_source(i, say_running)
	:: action == DESTINATION_DO_SEND_FAILED -> tell_source(i, say_failed)
	:: action == DESTINATION_DO_SEND_STRANDED -> tell_source(i, say_stranded)
	:: action == DESTINATION_DO_QUIT_QEMU ->
		promise(runner_not_ended, d[i].qemu != qemu_runs);
		d[i].qemu = qemu_gone
	:: action == DESTINATION_DO_FINISH -> destination_ends(i)
	:: else
	fi;
	action = 0
}

inline destination_hears(i)
{
	if
	:: heard == say_announce -> d[i].wanted = 1
	:: heard == say_ram_end -> d[i].ram_end = 1
	:: heard == say_commit -> event = de_commit
	:: heard == say_abort -> event = de_abort
	:: else
	fi;
	heard = 0
}

#ifdef BUG_GATE_OPEN
#define has_landed(i) true
#else
#define has_landed(i) (!d[i].wanted && !d[i].busy)
#endif

proctype destination_relay(byte i)
{
	short action;
	mtype:message heard, trash;
	mtype:destination_event event;
	mtype:destination shown;

end_waiting:
	d_step {
		to_destination[i]?say_hello ->
		machine[i].state = destination_receiving;
		d[i].came = 1;
		tell_source(i, say_accepted)
	};
	do
	:: !d[i].lives -> break
	:: atomic { d[i].lives ->
		if
		:: faults > 0 -> fault_happens("FAULT: a destination's relay is killed\n"); d[i].cut = 1; destination_ends(i)
		:: !d[i].deaf && nempty(to_destination[i]) -> to_destination[i]?heard; destination_hears(i)
		/* One transfer at a time; it ends with what is there then. */
		:: d[i].wanted && !d[i].busy && machine[i].state == destination_receiving -> d[i].wanted = 0; d[i].busy = 1
		:: d[i].busy && source_lives && attempt == i -> d[i].busy = 0; d[i].memory = memory
		:: d[i].ram_end && has_landed(i) && machine[i].state == destination_receiving -> event = de_ram_complete
		:: machine[i].state == destination_verifying -> event = de_verified
		:: d[i].qemu == qemu_loaded && !d[i].cont && machine[i].state == destination_loading -> event = de_loaded
		/* It looks for the answer to its own cont only. */
		:: d[i].qemu == qemu_runs && machine[i].state == destination_starting -> event = de_running
		:: d[i].qemu == qemu_gone -> event = de_qemu_gone
		:: !d[i].deaf && (d[i].cut || (!(source_lives && attempt == i && !source_deaf) && empty(to_destination[i]))) ->
			d[i].deaf = 1;
			drain(to_destination[i]);
			event = de_peer_lost
		/* QEMU refuses, or the operator cancels. */
		:: faults > 0 && machine[i].state != destination_ready -> fault_happens("FAULT: the destination has trouble\n"); event = de_trouble
		:: faults > 0 && !d[i].cut -> fault_happens("FAULT: the link is cut\n"); d[i].cut = 1
		fi;
		if
		:: event -> d_step {
			destination_switch_step(i, event);
			shown = machine[i].state;
			printf("destination %d: %e, now %e\n", i, event, shown);
			shown = 0;
			event = 0 }
		:: else
		fi;
		do
		:: machine[i].todo != 0 -> d_step { destination_act(i) }
		:: machine[i].todo != 0 && faults > 0 -> d_step { fault_happens("FAULT: a destination's relay is killed between two actions\n"); d[i].cut = 1; destination_ends(i) }
		:: machine[i].todo == 0 -> break
		od }
	od
}

/* ---- watari recover ---- */

#ifdef BUG_RECORD_IGNORED
#define IGNORED 1
#else
#define IGNORED 0
#endif

inline ask_source(ret)
{
	if
	:: source_qemu == qemu_gone -> ret = recover_source_unknown
	:: source_qemu == qemu_completed -> ret = recover_source_committed
	:: source_qemu == qemu_runs -> ret = recover_source_owns
	:: else -> ret = recover_source_busy
	fi
}

/* What has another migration's guest is not taken for this one's, see record.h. */
#define foreign(i) (!IGNORED && record != i && \
	((d[i].qemu == qemu_loaded && source_answer != recover_source_unknown) || \
	 (d[i].qemu == qemu_runs && source_answer == recover_source_committed)))

inline ask_destination(i, ret)
{
	if
	:: foreign(i) -> ret = recover_destination_foreign
	:: !foreign(i) && d[i].qemu == qemu_gone -> ret = recover_destination_unknown
	:: !foreign(i) && d[i].qemu == qemu_runs -> ret = recover_destination_runs
	:: !foreign(i) && d[i].qemu == qemu_loaded -> ret = recover_destination_loaded
	:: else -> ret = recover_destination_incomplete
	fi
}

inline recover_quits_source()
{
	if
	:: !source_runs -> source_qemu = qemu_gone
	:: else
	fi
}

inline recover_quits_destination(i)
{
	if
	:: d[i].qemu != qemu_runs -> d[i].qemu = qemu_gone
	:: else
	fi
}

inline recover_runs_destination(i)
{
	d_step {
		if
		:: d[i].qemu == qemu_loaded -> d[i].cont = 1; destination_runs_guest(i)
		:: else
		fi
	};
	d_step {
		if
		:: d[i].qemu == qemu_runs -> recover_quits_source() /* cont was answered */
		:: else
		fi
	}
}

/* migrate_cancel: QEMU decides; SHUT may have come first. */
inline recover_cancels(i)
{
	d_step {
		if
		:: (source_qemu == qemu_streams || source_qemu == qemu_stopped) && !shut -> source_runs_on()
		:: else
		fi
	};
	(source_qemu == qemu_runs || source_qemu == qemu_completed || source_qemu == qemu_gone);
	if
	:: source_qemu == qemu_completed && (record == i || IGNORED) -> recover_runs_destination(i)
	:: source_qemu == qemu_runs && (record == i || IGNORED) -> d_step { recover_quits_destination(i) }
	:: else
	fi
}

/* Between any two of its questions and words others go on, and it may be killed. */
inline recover(i, force)
{
	d_step { ask_source(source_answer); runs_answer = (source_qemu == qemu_runs) };
	d_step {
		ask_destination(i, destination_answer);
		recover_decide(source_answer, runs_answer, destination_answer, force, answer);
		source_answer = 0;
		runs_answer = 0;
		printf("watari recover, destination %d: %e\n", i, answer)
	};
	if
	:: answer == verdict_run_destination -> recover_runs_destination(i)
	:: answer == verdict_quit_source -> d_step { recover_quits_source() }
	:: answer == verdict_cancel_source -> recover_cancels(i)
	:: answer == verdict_source_keeps && destination_answer != recover_destination_foreign ->
		d_step { recover_quits_destination(i) }
	:: answer == verdict_two -> promise(at_most_one, false)
	:: else
	fi;
	destination_answer = 0;
	answer = 0
}

bit recovering; /* the operator waits for it, and begins nothing else */

/* One that is begun while relays may live, and may be killed. */
proctype early_recover(byte i)
{
	mtype:recover_source source_answer;
	mtype:recover_destination destination_answer;
	mtype:verdict answer;
	bit runs_answer;

	{
		recover(i, 0)
	} unless { d_step { faults > 0 -> fault_happens("FAULT: recover is killed\n") } };
	recovering = 0
}

/* ---- the operator ---- */

inline send(i)
{
	d_step {
		attempt = i;
		begun = 1;
		source_state = source_connecting;
		shut = 0;
		dirty = 1;
		source_stale = 0;
		source_lives = 1;
		to_destination[i]!say_hello
	};
	run source_relay(i)
}

/* After a crash, as its page says: when a relay has ended. */
#define somebody_ended (begun && (!source_lives || (d[attempt].came && !d[attempt].lives)))

/* Nothing happens by itself any more. */
inline check_end()
{
	d_step {
		promise(at_most_one, guests_that_run <= 1);
		promise(exactly_one, i != attempt || died || guests_that_run == 1);
		/* A source that is there still has the guest, or it runs elsewhere, or a destination has died that may have run
		 * it: then it says so. */
		promise(exactly_one, i != attempt || source_qemu == qemu_gone || guests_that_run == 1 || d[attempt].qemu == qemu_gone);
		promise(guest_moves, hurt || d[0].qemu == qemu_runs)
	}
}

init
{
	mtype:recover_source source_answer;
	mtype:recover_destination destination_answer;
	mtype:verdict answer;
	bit runs_answer, force;
	byte i, sends = SENDS - 1, recovers = RECOVERS;

	atomic {
		do
		:: i < DESTINATIONS ->
			machine[i].state = destination_waiting;
			machine[i].verify = VERIFY;
			d[i].qemu = qemu_waits;
			d[i].lives = 1;
			run destination_qemu_process(i);
			run destination_relay(i);
			i++
		:: else -> break
		od;
		i = 0
	};
	send(0);
	do
#if RECOVERS > 0
	:: recovers > 0 && somebody_ended -> recovers--; hurt = 1; recovering = 1; run early_recover(attempt)
#if SENDS > 1
	:: recovers > 0 && somebody_ended && attempt != 0 -> recovers--; hurt = 1; recovering = 1; run early_recover(0)
#endif
	:: recovers > 0 -> recovers--
#endif
#if SENDS > 1
	:: sends > 0 && !recovering && !source_lives && source_qemu == qemu_runs -> sends--; hurt = 1; send(1)
	:: sends > 0 -> sends--
#endif
	:: timeout -> break
	od;
#if SENDS > 1
	if
	:: attempt != 0 -> recover(0, 0); timeout /* first about an earlier one, to which no word is due */
	:: true
	fi;
#endif
	i = attempt;
	force = (source_qemu == qemu_gone);
	forced = force;
	recover(i, force);
	timeout;
	check_end()
}
