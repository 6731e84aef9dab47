/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * retarget.pml - a guest changes its destination while it moves: before it is stopped, back and forth along a chain of
 * destinations, and by a new migration after it was stopped. See README.md.
 *
 * As in switchover.pml, each party is a process; relays carry out one action at a time and may be killed between any
 * two. The guest's memory is PAGES pages, each with a content that grows; a destination pulls a page from the
 * source, or from one that was left and has it.
 */
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef DESTINATIONS
#define DESTINATIONS 2
#endif
#ifndef COMMANDS
#define COMMANDS 2 /* of the operator: to another destination */
#endif
#ifndef WRITES
#define WRITES 1
#endif
#ifndef PAGES
#define PAGES 1
#endif
#define QUEUE 8

#include "world.pml"
#include "source_switch.pml"
#include "destination_switch.pml"
#include "recover.pml"
#include "source_retarget.pml"

bit current_let_go = 1;   /* SHUT and COMMIT only for the current destination, which is ready */
bit old_drained = 1;      /* who is left has drained, or is told that it is given up */
bit way_back_used = 1;    /* trouble is raised only if nobody that has drained could take over */
bit former_unloaded = 1;  /* a new migration begins only when the one before is over at both ends */
bit held_when_due = 1;    /* QEMU is read exactly while somebody can take what it writes */

/* ---- the source ---- */

mtype:qemu source_qemu = qemu_streams;
bit source_lives = 1;
bit shut, end_sent, held, timer;
byte commands = COMMANDS;

byte memory[PAGES];
byte writes = WRITES;
bit dirty[PAGES];     /* not announced yet, to anybody */
bit announced[PAGES];
byte content[PAGES];  /* when the guest stopped */
bit source_stale;     /* since the guest stopped here it has run elsewhere */

/* ---- destinations ---- */

typedef destination_host {
	mtype:qemu qemu;
	bit lives, cut, deaf, source_deaf; /* deaf: its session has failed here; source_deaf: at the source */
	bit fed, cont, ram_end, kept;
	byte draining;                     /* the number of the DRAIN that it works on */
	bit wanted[PAGES], busy[PAGES], based[PAGES]; /* based: wanted as part of the base */
	bit has[PAGES];                    /* the source knows that what was announced last is here */
	bit image, stale;                  /* RAM's end has come; ... and the guest has run elsewhere since */
	byte memory[PAGES]
}

destination_host d[DESTINATIONS];
chan to_source[DESTINATIONS] = [QUEUE] of { mtype:message, byte };
chan to_destination[DESTINATIONS] = [QUEUE] of { mtype:message, byte };

#if DESTINATIONS == 2
#define destinations_that_run ((d[0].qemu == qemu_runs) + (d[1].qemu == qemu_runs))
#else
#define destinations_that_run ((d[0].qemu == qemu_runs) + (d[1].qemu == qemu_runs) + (d[2].qemu == qemu_runs))
#endif
#define source_runs (source_qemu == qemu_runs || source_qemu == qemu_streams)
#define guests_that_run (source_runs + destinations_that_run)

#define is_final(i) (machine[i].state == destination_done || machine[i].state == destination_failed || \
	machine[i].state == destination_orphan || machine[i].state == destination_released)
#define has_session(i) (roles[i] != target_free && roles[i] != target_dropped)
/* Out of the game, or about to hear so. */
#define is_ending(i) (!d[i].lives || d[i].cut || d[i].deaf || d[i].source_deaf || is_final(i) || \
	to_destination[i]??[say_abort])
#define all_has_landed(i, p) (!d[i].wanted[p] && !d[i].busy[p])
#if PAGES == 1
#define is_complete(i) all_has_landed(i, 0)
#define base_landed(i) (!d[i].based[0])
#define is_silent_memory(i) (!d[i].busy[0])
#define nothing_dirty (!dirty[0])
#else
#define is_complete(i) (all_has_landed(i, 0) && all_has_landed(i, 1))
#define base_landed(i) (!d[i].based[0] && !d[i].based[1])
#define is_silent_memory(i) (!d[i].busy[0] && !d[i].busy[1])
#define nothing_dirty (!dirty[0] && !dirty[1])
#endif

inline tell_destination(i, what, number)
{
	if
	:: !d[i].source_deaf && d[i].lives && !d[i].deaf ->
		assert(nfull(to_destination[i]));
		to_destination[i]!what(number)
	:: else
	fi
}

inline tell_source(i, what, number)
{
	if
	:: !d[i].deaf && source_lives && !d[i].source_deaf ->
		assert(nfull(to_source[i]));
		to_source[i]!what(number)
	:: else
	fi
}

inline drain(channel)
{
	do
	:: channel?trash,_
	:: empty(channel) -> break
	od;
	trash = 0
}

inline all_stale()
{
	for (p : 0 .. DESTINATIONS - 1) {
		d[p].stale = d[p].image
	};
	p = 0
}

inline source_runs_on()
{
	promise(one_history, source_runs || !source_stale);
	all_stale();
	source_qemu = qemu_runs;
	printf("the source QEMU runs the guest\n");
	promise(at_most_one, guests_that_run <= 1)
}

inline destination_runs_guest(i)
{
	d[i].qemu = qemu_runs;
	printf("QEMU %d runs the guest\n", i);
	promise(at_most_one, guests_that_run <= 1);
	promise(record_before_run, source_qemu == qemu_completed || source_qemu == qemu_gone);
	for (p : 0 .. PAGES - 1) {
		promise(memory_complete, d[i].memory[p] == content[p])
	};
	p = 0;
	promise(one_history, !d[i].stale);
	all_stale();
	source_stale = 1
}

proctype source_qemu_process()
{
	byte p;

end:	do
	:: d_step { source_qemu == qemu_streams && writes > 0 -> writes--; memory[0]++; dirty[0] = 1 }
#if PAGES > 1
	:: d_step { source_qemu == qemu_streams && writes > 0 -> writes--; memory[1]++; dirty[1] = 1 }
#endif
	:: d_step { source_qemu == qemu_streams ->
		source_qemu = qemu_stopped;
		for (p : 0 .. PAGES - 1) {
			content[p] = memory[p]
		};
		p = 0 }
	:: d_step { source_qemu == qemu_stopped && shut -> source_qemu = qemu_completed }
	:: d_step { (source_qemu == qemu_streams || source_qemu == qemu_stopped) && !shut && !source_lives ->
		source_runs_on() }
	:: d_step { faults > 0 && (source_qemu == qemu_streams || source_qemu == qemu_stopped) && !shut ->
		fault_happens("FAULT: the migration fails in QEMU\n"); source_runs_on() }
	:: d_step { faults > 0 && source_qemu != qemu_gone -> fault_happens("FAULT: the source's QEMU dies\n"); died = 1; source_qemu = qemu_gone }
	od
}

/* ---- the source relay: what it does ---- */

inline check_hand_over()
{
	promise(old_drained, is_ending(old) || (roles[old] != target_dropped && machine[old].state == destination_retired))
}

/* One that has drained, keeps its QEMU, and knows of nothing else. */
inline check_way_back()
{
	for (k : 0 .. DESTINATIONS - 1) {
		promise(way_back_used, stopped || staged || roles[k] != target_retired || is_ending(k) ||
			d[k].qemu != qemu_waits || machine[k].state != destination_retired || machine[k].ended)
	};
	k = 0
}

/* What it needs, and who has it; then QEMU's stream goes there. */
inline carry_out_hand_over()
{
	check_hand_over();
	if
	:: resumes -> tell_destination(current, say_restart, 0)
	:: else
	fi;
	for (p : 0 .. PAGES - 1) {
		if
		:: announced[p] && !(resumes && d[current].has[p]) -> d[current].based[p] = 1
		:: else
		fi;
#ifdef BUG_PENDING_FORGOTTEN
		if
		:: !d[old].has[p] && roles[old] != target_dropped -> d[current].based[p] = 0
		:: else
		fi;
#endif
		d[current].has[p] = 0
	};
	p = 0;
	tell_destination(current, say_base, 0)
}

inline release_all()
{
	for (k : 0 .. DESTINATIONS - 1) {
		if
		:: roles[k] == target_retired || roles[k] == target_helper || roles[k] == target_kept ->
			tell_destination(k, say_release, 0)
		:: else
		fi
	};
	k = 0
}

/* An event is set, and stepped in one place (source_steps): to each machine at most one at a time. */
inline switch_event(ev)
{
	source_ev = ev
}

inline change_event(ev, target)
{
	target_ev = ev;
	whom = target
}

#define has_deadline (source_state == source_connecting || source_state == source_stopped || \
	source_state == source_delivering || source_state == source_restarting)
#define source_is_over (source_state == source_done || source_state == source_aborting || \
	source_state == source_aborted || source_state == source_undecided || \
	source_state == source_undelivered || source_state == source_lost)

/* When the switchover is over, the change of the destination is, before any of its actions. */
inline switch_steps()
{
	source_switch_step(source_ev);
	shown = source_state;
	printf("source: %e, now %e\n", source_ev, shown);
	shown = 0;
	source_ev = 0;
	if
	:: source_todo && source_is_over ->
		target_ev = (source_state == source_done -> re_runs : re_over);
		whom = current
	:: else
	fi
}

inline change_steps()
{
	was = retarget_state;
	printf("change: %e of %d in %e\n", target_ev, whom, was);
	source_retarget_step(target_ev, whom, serving);
	whom = 0;
	if
	:: retarget_state != was -> timer = 0
	:: else
	fi;
	was = 0
}

inline retarget_act()
{
	action = retarget_todo & (-retarget_todo);
	retarget_todo = retarget_todo & (~action);
	if
	:: action == RETARGET_DO_HOLD -> held = 1
	:: action == RETARGET_DO_UNHOLD -> held = 0
	:: action == RETARGET_DO_OPEN_NEXT -> tell_destination(next, say_hello, 0)
	:: action == RETARGET_DO_PREPARE_DEADLINE || action == RETARGET_DO_DRAIN_DEADLINE -> timer = 1
	:: action == RETARGET_DO_SEND_DRAIN -> tell_destination(current, say_drain, drains)
	:: action == RETARGET_DO_UNDRAIN -> tell_destination(current, say_undrain, 0)
	:: action == RETARGET_DO_CLOSE_NEXT -> tell_destination(closed, say_abort, 0)
	:: action == RETARGET_DO_DROP_OLD -> tell_destination(old, say_abort, 0)
	:: action == RETARGET_DO_HAND_OVER -> carry_out_hand_over()
	:: action == RETARGET_DO_RELEASE_ALL -> release_all()
	:: action == RETARGET_DO_RAISE_TROUBLE ->
		check_way_back();
		if
		:: unrun_said -> switch_event(se_destination_unrun)
		:: else -> switch_event(se_trouble)
		fi
	:: action == RETARGET_DO_RESTART -> switch_event(se_restart)
	:: else
	fi;
	action = 0
}

/* The former migration was given up: the same job begins a new one. */
inline begin_again()
{
	promise(former_unloaded, source_qemu == qemu_runs || source_qemu == qemu_completed || source_qemu == qemu_gone);
	promise(former_unloaded, d[current].qemu == qemu_gone);
	if
	:: source_qemu == qemu_completed -> source_runs_on()
	:: else
	fi;
	source_state = source_connecting;
	source_todo = 0;
	unrun = 0;
	was_stopped = 0;
	returned = 0;
	unloaded = 0;
	held = 0;
	end_sent = 0;
	for (p : 0 .. PAGES - 1) {
		announced[p] = 0;
		dirty[p] = 1;
		for (k : 0 .. DESTINATIONS - 1) {
			d[k].has[p] = 0
		}
	};
	p = 0;
	k = 0;
	tell_destination(next, say_hello, 0);
	change_event(re_again, next)
}

inline tell_kept()
{
	for (k : 0 .. DESTINATIONS - 1) {
		if
		:: roles[k] == target_kept -> tell_destination(k, say_keep, 0)
		:: roles[k] == target_retired || roles[k] == target_helper -> tell_destination(k, say_abort, 0)
		:: else
		fi
	};
	k = 0
}

inline tell_all_abort()
{
	for (k : 0 .. DESTINATIONS - 1) {
		if
		:: has_session(k) -> tell_destination(k, say_abort, 0)
		:: else
		fi
	};
	k = 0
}

/* Nobody knows any more what it knew; what it has said is under way still. */
inline source_ends()
{
	source_lives = 0;
	source_todo = 0;
	retarget_todo = 0;
	timer = 0;
	unrun_said = 0;
	unrun = 0;
	was_stopped = 0;
	returned = 0;
	unloaded = 0;
	retirements = 0;
	drains = 0;
	next = NOBODY;
	old = NOBODY;
	closed = NOBODY;
	resumes = 0;
	complete = 0;
	orphaned = 0;
	held = 0;
	end_sent = 0;
	commands = 0;
	for (k : 0 .. DESTINATIONS - 1) {
		retired_as[k] = 0;
		d[k].source_deaf = 1;
		for (p : 0 .. PAGES - 1) {
			d[k].has[p] = 0
		};
		drain(to_source[k])
	};
	p = 0;
	k = 0
}

/* Killed: what it has said last may not arrive. */
inline all_cut()
{
	for (k : 0 .. DESTINATIONS - 1) {
		d[k].cut = 1
	};
	k = 0
}

inline source_act()
{
	action = source_todo & (-source_todo);
	source_todo = source_todo & (~action);
	if
	:: action == SOURCE_DO_MIGRATE ->
		if
		:: source_qemu == qemu_runs -> source_qemu = qemu_streams
		:: else
		fi
	:: action == SOURCE_DO_SEND_SHUT ->
		promise(current_let_go, !d[current].lives || machine[current].state == destination_ready ||
			is_final(current));
		if
		:: source_qemu == qemu_stopped -> shut = 1
		:: else
		fi
	:: action == SOURCE_DO_SEND_COMMIT -> tell_destination(current, say_commit, 0)
	:: action == SOURCE_DO_SEND_ABORT -> tell_all_abort()
	:: action == SOURCE_DO_SEND_KEEP -> tell_kept()
	:: action == SOURCE_DO_CANCEL ->
		if
		:: (source_qemu == qemu_streams || source_qemu == qemu_stopped) && !shut -> source_runs_on()
		:: else
		fi
	:: action == SOURCE_DO_QUIT_QEMU ->
		promise(runner_not_ended, !source_runs && (d[current].qemu == qemu_runs || (died && d[current].cont)));
		source_qemu = qemu_gone
	:: action == SOURCE_DO_FINISH && source_state == source_again -> begin_again()
	:: action == SOURCE_DO_FINISH && source_state == source_aborted && source_qemu == qemu_completed ->
		source_runs_on(); /* cont */
		source_todo = SOURCE_DO_FINISH
	:: action == SOURCE_DO_FINISH && source_state != source_again &&
		!(source_state == source_aborted && source_qemu == qemu_completed) ->
		source_ends()
	:: else
	fi;
	action = 0
}

/* ---- the source relay: what it hears and sees ---- */

inline not_the_current_one(i)
{
	d[i].source_deaf = 1;
	change_event(re_lost, i)
}

inline source_hears(i)
{
	unrun_said = 0;
	if
	:: roles[i] == target_kept && heard == say_unloaded -> switch_event(se_destination_unloaded)
	:: roles[i] == target_kept && heard != say_unloaded && heard != say_failed
	:: heard == say_accepted && source_state == source_connecting && current == i -> switch_event(se_accepted)
	:: heard == say_accepted && !(source_state == source_connecting && current == i) && roles[i] != target_kept ->
		change_event(re_next_ready, i)
	:: heard == say_drained && roles[i] != target_kept ->
#ifdef BUG_OLD_ANSWER_COUNTS
		if
		:: retarget_state == retarget_draining && current == i ->
#else
		if
		:: number == drains && retarget_state == retarget_draining && current == i ->
#endif
			for (p : 0 .. PAGES - 1) {
				d[i].has[p] = announced[p] && !d[i].wanted[p]
			};
			p = 0
		:: else
		fi;
#ifdef BUG_OLD_ANSWER_COUNTS
		change_event(re_old_drained, i)
#else
		if
		:: number == drains -> change_event(re_old_drained, i)
		:: else
		fi
#endif
	:: heard == say_unloaded && roles[i] != target_kept -> change_event(re_qemu_ended, i)
	:: heard == say_failed ->
		unrun_said = (current == i);
		change_event(re_lost, i)
	:: heard == say_stranded && roles[i] != target_kept -> change_event(re_lost, i)
	:: (heard == say_ready || heard == say_running) && roles[i] != target_kept ->
		if
#ifndef BUG_ANYBODYS_READY
		:: current != i -> not_the_current_one(i)
		:: current == i && heard == say_ready -> switch_event(se_destination_ready)
#else
		:: heard == say_ready -> switch_event(se_destination_ready)
#endif
		:: current == i && heard == say_running -> switch_event(se_destination_runs)
		fi
	:: else
	fi;
	heard = 0;
	number = 0
}

#define silent(i) (d[i].source_deaf || d[i].cut || (!d[i].lives && empty(to_source[i])))
#define source_hears_of(i) \
	:: has_session(i) && !d[i].source_deaf && nempty(to_source[i]) -> \
		to_source[i]?heard(number); \
		from = i \
	:: has_session(i) && !d[i].source_deaf && silent(i) -> \
		d[i].source_deaf = 1; unrun_said = 0; change_event(re_lost, i)
#define hears_a_lie_of(i) \
	:: faults > 0 && has_session(i) && !d[i].source_deaf && d[i].lives && current != i -> \
		fault_happens("FAULT: a destination lies\n"); heard = say_ready; from = i
/* As wt_source_retarget_free has it. */
#define is_first_free(i) (roles[i] == target_free && (i == 0 || roles[(i == 0 -> 0 : i - 1)] != target_free))
#define operator_wants(i) \
	:: commands > 0 && source_state == source_stopped && stopped && \
		retarget_state != retarget_over && is_first_free(i) -> \
		commands--; change_event(re_restart, i) \
	:: commands > 0 && source_state == source_streaming && !stopped && \
		retarget_state == retarget_idle && (is_first_free(i) || roles[i] == target_retired) -> \
		commands--; change_event(re_retarget, i)
#define announces(page) \
	:: !held && dirty[page] && nfull(to_destination[current]) && \
		(source_qemu == qemu_streams || source_qemu == qemu_stopped) && \
		(source_state == source_streaming || source_state == source_stopped) && \
		retarget_state != retarget_over -> \
		dirty[page] = 0; \
		announced[page] = 1; \
		forget_formers(page); \
		tell_destination(current, say_announce, page)

/* What is announced anew is not right any more at those that were left. */
inline forget_formers(page)
{
#ifndef BUG_FORMERS_KEEP
	for (k : 0 .. DESTINATIONS - 1) {
		d[k].has[page] = 0
	};
#endif
	k = 0
}

#define is_settled (!source_ev && !target_ev)

proctype source_relay()
{
	int action;
	mtype:message heard, trash;
	mtype:retarget was;
	mtype:source_event source_ev;
	mtype:source shown;
	mtype:retarget_event target_ev;
	byte whom, from, number, k, p, best;
	bit serving, unrun_said; /* the one that was lost has said that its guest never ran */

	do
	:: !source_lives -> break
	:: atomic { source_lives ->
	if
	:: faults > 0 -> fault_happens("FAULT: the source's relay is killed\n"); all_cut(); source_ends()
	source_hears_of(0)
	source_hears_of(1)
#if DESTINATIONS > 2
	source_hears_of(2)
#endif
	hears_a_lie_of(0)
	hears_a_lie_of(1)
	operator_wants(0)
	operator_wants(1)
#if DESTINATIONS > 2
	hears_a_lie_of(2)
	operator_wants(2)
#endif
	announces(0)
#if PAGES > 1
	announces(1)
#endif
	:: source_qemu == qemu_stopped && !stopped &&
		(source_state == source_streaming || source_state == source_stopped) -> change_event(re_guest_stopped, current)
	:: source_qemu == qemu_stopped && stopped && source_state == source_streaming ->
		switch_event(se_guest_stopped)
	:: source_qemu == qemu_stopped && !held && nothing_dirty && !end_sent &&
		source_state == source_stopped && retarget_state != retarget_over && nfull(to_destination[current]) ->
		end_sent = 1;
		d[current].image = 1;
		tell_destination(current, say_ram_end, 0)
	:: source_qemu == qemu_completed && source_state != source_delivering &&
		!(source_state == source_restarting && returned) -> switch_event(se_qemu_completed)
	:: source_qemu == qemu_runs && source_state != source_connecting &&
		!(source_state == source_restarting && returned) -> switch_event(se_qemu_failed)
	:: source_qemu == qemu_gone && source_state != source_delivering ->
		switch_event(se_qemu_gone)
	:: retarget_state == retarget_handing -> change_event(re_base_sent, current)
	:: retarget_state == retarget_shared && d[current].lives && base_landed(current) ->
		change_event(re_base_done, current)
	:: timer -> timer = 0; change_event(re_deadline, current)
	:: has_deadline && silent(current) ->
		switch_event(se_deadline)
	:: faults > 0 && has_deadline ->
		fault_happens("FAULT: a deadline passes\n"); switch_event(se_deadline)
	/* The operator cancels. */
	:: faults > 0 && (source_state == source_connecting || source_state == source_streaming ||
		source_state == source_stopped || source_state == source_restarting) ->
		fault_happens("FAULT: the operator cancels at the source\n"); switch_event(se_trouble)
	fi;
	if
	:: heard -> d_step { source_hears(from); from = 0 }
	:: else
	fi;
	do
	:: source_ev -> d_step { switch_steps() }
	:: !source_ev && target_ev -> change_steps()
	:: is_settled && retarget_todo != 0 -> d_step { retarget_act() }
	:: is_settled && retarget_todo == 0 && source_todo != 0 -> d_step { source_act() }
	:: is_settled && (retarget_todo != 0 || source_todo != 0) && faults > 0 ->
		d_step { fault_happens("FAULT: the source's relay is killed between two actions\n"); all_cut(); source_ends() }
	:: is_settled && retarget_todo == 0 && source_todo == 0 -> break
	od }
	od
}

/* ---- a destination ---- */

inline destination_ends(i)
{
	d[i].lives = 0;
	machine[i].todo = 0;
	d[i].draining = 0;
	d[i].ram_end = 0;
	d[i].deaf = 0;
	machine[i].alone = 0;
	machine[i].ended = 0;
	drain(to_destination[i]);
	for (p : 0 .. PAGES - 1) {
		d[i].wanted[p] = 0;
		d[i].based[p] = 0;
		d[i].busy[p] = 0
	};
	p = 0
}

inline destination_act(i)
{
	action = machine[i].todo & (-machine[i].todo);
	machine[i].todo = machine[i].todo & (~action);
	if
	:: action == DESTINATION_DO_FEED_TAIL -> d[i].fed = 1
	:: action == DESTINATION_DO_SEND_READY -> tell_source(i, say_ready, 0)
	:: action == DESTINATION_DO_RUN -> d[i].cont = 1
	:: action == DESTINATION_DO_SEND_RUNNING -> tell_source(i, say_running, 0)
	:: action == DESTINATION_DO_SEND_FAILED -> tell_source(i, say_failed, 0)
	:: action == DESTINATION_DO_SEND_STRANDED -> tell_source(i, say_stranded, 0)
	:: action == DESTINATION_DO_SEND_HELPER -> tell_source(i, say_unloaded, 0)
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
	:: heard == say_base ->
		for (p : 0 .. PAGES - 1) {
			d[i].wanted[p] = d[i].based[p] || d[i].wanted[p]
		};
		p = 0
	:: heard == say_announce ->
		d[i].wanted[number] = 1;
		d[i].based[number] = 0
	:: heard == say_ram_end -> d[i].ram_end = 1
	:: heard == say_commit -> event = de_commit
	:: heard == say_abort -> event = de_abort
	:: heard == say_keep -> event = de_keep
	:: heard == say_drain -> d[i].draining = number
	:: heard == say_undrain && d[i].draining -> d[i].draining = 0
	:: heard == say_undrain && !d[i].draining -> event = de_restart
	:: heard == say_restart ->
		for (p : 0 .. PAGES - 1) {
			d[i].wanted[p] = 0
		};
		p = 0;
		event = de_restart
	:: heard == say_release -> event = de_release
	:: else
	fi;
	heard = 0;
	number = 0
}

inline destination_steps(i)
{
	if
	:: event == de_drain ->
		number = d[i].draining;
		d[i].draining = 0;
		destination_switch_step(i, event);
		if
		:: machine[i].state == destination_retired -> tell_source(i, say_drained, number)
		:: else
		fi;
		number = 0
	:: event && event != de_drain -> destination_switch_step(i, event)
	:: else
	fi;
	if
	:: event ->
		shown = machine[i].state;
		printf("destination %d: %e, now %e\n", i, event, shown);
		shown = 0
	:: else
	fi;
	event = 0
}

#define is_served(i) (d[i].lives && machine[i].state == destination_retired)
#define pulls(i, page) \
	:: d[i].lives && !d[i].draining && machine[i].state == destination_receiving && d[i].wanted[page] && \
		!d[i].busy[page] -> d[i].wanted[page] = 0; d[i].busy[page] = 1 \
	:: d[i].lives && d[i].busy[page] && source_lives -> \
		d[i].busy[page] = 0; d[i].based[page] = 0; d[i].memory[page] = memory[page]
#define pulls_from(i, page, other) \
	:: i != other && d[i].lives && d[i].busy[page] && d[i].based[page] && current == i && \
		d[other].has[page] && is_served(other) -> \
		d[i].busy[page] = 0; d[i].based[page] = 0; d[i].memory[page] = d[other].memory[page]

proctype destination_process(byte i)
{
	short action;
	byte number, p;
	mtype:message heard, trash;
	mtype:destination_event event;
	mtype:destination shown;

end_waiting:
	d_step {
		to_destination[i]?say_hello(number) ->
		number = 0;
		machine[i].state = destination_receiving;
		tell_source(i, say_accepted, 0)
	};
end:	do
	:: atomic {
	if
	/* Its QEMU. */
	:: d[i].qemu == qemu_waits && d[i].fed -> d[i].qemu = qemu_loaded
	:: d[i].qemu == qemu_loaded && d[i].cont -> destination_runs_guest(i)
	:: faults > 0 && d[i].qemu != qemu_gone -> fault_happens("FAULT: a destination's QEMU dies\n"); died = 1; d[i].qemu = qemu_gone
	/* Its relay. */
	:: d[i].lives && faults > 0 -> fault_happens("FAULT: a destination's relay is killed\n"); d[i].cut = 1; destination_ends(i)
	:: d[i].lives && !d[i].deaf && nempty(to_destination[i]) ->
		to_destination[i]?heard(number)
	pulls(i, 0)
	pulls_from(i, 0, 0)
	pulls_from(i, 0, 1)
#if DESTINATIONS > 2
	pulls_from(i, 0, 2)
#endif
#if PAGES > 1
	pulls(i, 1)
	pulls_from(i, 1, 0)
	pulls_from(i, 1, 1)
#if DESTINATIONS > 2
	pulls_from(i, 1, 2)
#endif
#endif
	:: d[i].lives && d[i].draining && is_silent_memory(i) ->
		event = de_drain
	:: d[i].lives && faults > 0 && d[i].draining -> fault_happens("FAULT: DRAIN is not answered\n"); d[i].draining = 0 /* it never answers */
	:: d[i].lives && d[i].ram_end && is_complete(i) &&
		machine[i].state == destination_receiving -> event = de_ram_complete
	:: d[i].lives && d[i].qemu == qemu_loaded && !d[i].cont &&
		machine[i].state == destination_loading -> event = de_loaded
	:: d[i].lives && d[i].qemu == qemu_runs &&
		machine[i].state == destination_starting -> event = de_running
	:: d[i].lives && d[i].qemu == qemu_gone && !machine[i].ended ->
		event = de_qemu_gone
	:: d[i].lives && !d[i].deaf &&
		(d[i].cut || (source_lives && d[i].source_deaf) || (!source_lives && empty(to_destination[i]))) ->
		d[i].deaf = 1;
		event = de_peer_lost
	:: d[i].lives && machine[i].alone -> event = de_served
	:: d[i].lives && faults > 0 && machine[i].state != destination_ready -> fault_happens("FAULT: the destination has trouble\n"); event = de_trouble
	:: d[i].lives && faults > 0 && !d[i].cut -> fault_happens("FAULT: the link is cut\n"); d[i].cut = 1
	fi;
	d_step {
		if
		:: heard -> destination_hears(i)
		:: else
		fi;
		destination_steps(i)
	};
	do
	:: machine[i].todo != 0 -> d_step { destination_act(i) }
	:: machine[i].todo != 0 && faults > 0 -> d_step { fault_happens("FAULT: a destination's relay is killed between two actions\n"); d[i].cut = 1; destination_ends(i) }
	:: machine[i].todo == 0 -> break
	od }
	od
}

/* ---- the end ---- */

inline recover_now(i)
{
	if
	:: source_qemu == qemu_gone -> source_answer = recover_source_unknown
	:: source_qemu == qemu_completed -> source_answer = recover_source_committed
	:: source_qemu == qemu_runs -> source_answer = recover_source_owns
	:: else -> source_answer = recover_source_busy
	fi;
	if
	:: d[i].qemu == qemu_gone -> destination_answer = recover_destination_unknown
	:: d[i].qemu == qemu_runs -> destination_answer = recover_destination_runs
	:: d[i].qemu == qemu_loaded -> destination_answer = recover_destination_loaded
	:: else -> destination_answer = recover_destination_incomplete
	fi;
	recover_decide(source_answer, (source_qemu == qemu_runs), destination_answer, 0, answer);
	if
	:: answer == verdict_run_destination -> destination_runs_guest(i); source_qemu = qemu_gone
	:: answer == verdict_quit_source -> source_qemu = qemu_gone
	:: answer == verdict_source_keeps -> d[i].qemu = qemu_gone
	:: answer == verdict_two -> promise(at_most_one, false)
	:: else
	fi
}

inline check_end()
{
	/* No relay waits for ever, but for one to which nobody has come. */
	for (k : 0 .. DESTINATIONS - 1) {
		assert(!d[k].lives || machine[k].state == destination_waiting)
	};
	assert(!source_lives);
	promise(guest_moves, hurt || d[current].qemu == qemu_runs);
	for (k : 0 .. 2 * DESTINATIONS - 1) {
		recover_now((first + k) % DESTINATIONS)
	};
	promise(at_most_one, guests_that_run <= 1);
	promise(exactly_one, died || guests_that_run == 1)
}

init
{
	mtype:recover_source source_answer;
	mtype:recover_destination destination_answer;
	mtype:verdict answer;
	byte k, p, first;

	atomic {
		source_state = source_streaming;
		for (k : 0 .. DESTINATIONS - 1) {
			machine[k].state = destination_waiting;
			roles[k] = target_free;
			d[k].qemu = qemu_waits;
			d[k].lives = 1;
			run destination_process(k)
		};
		for (p : 0 .. PAGES - 1) {
			memory[p] = 1;
			dirty[p] = 1
		};
		roles[0] = target_current;
		to_destination[0]!say_hello(0);
		run source_qemu_process();
		run source_relay()
	};
	k = 0;
	p = 0;
	timeout;
	if
	:: first = 0
	:: first = DESTINATIONS - 1
	fi;
	d_step { check_end() }
}
