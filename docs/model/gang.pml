/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang.pml - several guests move together: the coordinator, its journal, and each guest's relays. See README.md.
 *
 * Of a guest's relays and QEMUs only what the coordinator can see is here: how they move one guest is
 * switchover.pml. The coordinator may be killed before it has written an action down, between that and carrying it
 * out, and after it; another one goes on with the journal, or nobody does.
 */
#ifndef FAULTS
#define FAULTS 2 /* crashes of the coordinator, failures of a guest's relays, an operator who cancels */
#endif
#ifndef GUESTS
#define GUESTS 2
#endif

#include "gang_order.pml"

bit all_held_first = 1;    /* nobody moves before every guest has been held */
bit limit_kept = 1;        /* at most `parallel` move at once */
bit all_moved_first = 1;   /* nobody is told to take its devices back while another one has yet to move */
bit all_or_nothing = 1;    /* behind UNDO nobody has left its source, or will */
bit never_torn = 1;        /* a coordinator's death alone tears no gang apart */
bit forward_only = 1;      /* behind the first commit that is known nobody is called back */
bit told_truly = 1;        /* what is said of a guest in the end is so */
bit guest_somewhere = 1;   /* in the end each guest is at its source or its destination, or said to be lost */
bit guests_move = 1;       /* without a fault all do */

#define promise(name, condition) \
	name = (condition); \
	assert(name)

byte faults = FAULTS;
bit crashed, failed; /* the coordinator has been; something else has gone wrong */

/* What a guest's relays really do. */
mtype:truth = { is_nothing, is_starting, is_started, is_awaiting, is_listening, is_letting_go, is_held,
	is_moving, is_committed, is_moved, is_taking_back, is_done, is_back, is_lost };

typedef guest {
	mtype:truth truth;
	bit was_held;
	bit told_move, told_back, told_cancel /* words on their way */
}

guest g[GUESTS];

/* The journal: of each guest the last action, and those of the gang. */
mtype:gang_do said[GUESTS];
bit said_forward, said_undo, said_over;
bit undone; /* UNDO was said, ever */

bit coordinator_lives = 1, resumed = 1; /* resumed: somebody lives, or will take over */
mtype:phase = { decides, carries_out, writes_late };
mtype:phase phase = decides;
mtype:truth seen[GUESTS];

/* There is something to be seen that the coordinator does not know. */
#define is_new(n) (!is_final(vm[n].state) && (g[n].truth != seen[n] || is_nowhere(n)))

/* Said, and not begun, by a coordinator that has died; or given up before anything was begun. */
#define is_nowhere(n) (g[n].truth == is_nothing && (vm[n].state == gang_cancelling || \
	(crashed && (vm[n].state == gang_starting || vm[n].state == gang_awaiting || \
		vm[n].state == gang_letting_go) && said[n] && !(phase == carries_out && action_vm == n))))
#if GUESTS > 2
#define has_words_of_third (g[2].told_move || g[2].told_back || g[2].told_cancel)
#else
#define has_words_of_third false
#endif
#define has_words (g[0].told_move || g[0].told_back || g[0].told_cancel || g[1].told_move || g[1].told_back || \
	g[1].told_cancel || has_words_of_third)

#define is_at_destination(n) (g[n].truth == is_committed || g[n].truth == is_moved || \
	g[n].truth == is_taking_back || g[n].truth == is_done)
#define has_ended(n) (g[n].truth == is_done || g[n].truth == is_back || g[n].truth == is_lost || \
	g[n].truth == is_nothing)

/* ---- a guest's relays ---- */

#define fault_happens \
	faults--; \
	failed = 1

/* The word to move arrives. */
inline begins_to_move(n)
{
	g[n].told_move = 0;
	if
	:: g[n].truth == is_held ->
		gang_count(count, k, (!g[k].was_held));
		promise(all_held_first, count == 0);
		g[n].truth = is_moving;
		gang_count(count, k, (g[k].truth == is_moving || g[k].truth == is_committed));
		promise(limit_kept, count <= parallel);
		count = 0
	:: else /* refused: it does not hold */
	fi
}

inline takes_back(n)
{
	g[n].told_back = 0;
	if
	:: g[n].truth == is_moved ->
		gang_count(count, k, (!is_at_destination(k) && !has_ended(k) || g[k].truth == is_committed));
		promise(all_moved_first, count == 0);
		g[n].truth = is_taking_back
	:: else
	fi
}

proctype relays(byte n)
{
	byte k, count;

end:	do
	:: d_step { g[n].truth == is_starting -> g[n].truth = is_started }
	:: d_step { g[n].truth == is_awaiting -> g[n].truth = is_listening }
	:: d_step { g[n].truth == is_letting_go -> g[n].truth = is_held; g[n].was_held = 1 }
	:: d_step { g[n].told_move -> begins_to_move(n) }
	:: d_step { g[n].truth == is_moving ->
		promise(all_or_nothing, !undone);
		g[n].truth = is_committed }
	:: d_step { g[n].truth == is_committed -> g[n].truth = is_moved }
	:: d_step { g[n].told_back -> takes_back(n) }
	:: d_step { g[n].truth == is_taking_back -> g[n].truth = is_done }
	/* The word to give up arrives: what moves may have committed by then. */
	:: d_step { g[n].told_cancel && (g[n].truth == is_starting || g[n].truth == is_started ||
		g[n].truth == is_awaiting || g[n].truth == is_listening || g[n].truth == is_letting_go ||
		g[n].truth == is_held || g[n].truth == is_moving) -> g[n].truth = is_back }
	/* A hold ends when nobody comes; while a coordinator lives it is long enough, or that is a failure. */
	:: d_step { !resumed && (g[n].truth == is_held || g[n].truth == is_listening || g[n].truth == is_awaiting ||
		g[n].truth == is_started) -> g[n].truth = is_back }
	:: d_step { !resumed && g[n].truth == is_moved -> g[n].truth = is_done }
	:: d_step { faults > 0 && (g[n].truth == is_starting || g[n].truth == is_started ||
		g[n].truth == is_awaiting || g[n].truth == is_listening || g[n].truth == is_letting_go ||
		g[n].truth == is_held || g[n].truth == is_moving) -> fault_happens; g[n].truth = is_back }
	:: d_step { faults > 0 && (g[n].truth == is_moved || g[n].truth == is_taking_back) ->
		fault_happens; g[n].truth = is_done }
	:: d_step { faults > 0 && (g[n].truth == is_moving || g[n].truth == is_committed) ->
		fault_happens; g[n].truth = is_lost }
	od
}

/* ---- the coordinator ---- */

/* All that its relays have printed, in order. */
inline see(n)
{
	if
	:: g[n].truth == is_started -> gang_order_event(n, ge_started)
	:: g[n].truth == is_listening -> gang_order_event(n, ge_listening)
	:: else
	fi;
	if
	:: g[n].was_held -> gang_order_event(n, ge_held)
	:: else
	fi;
	if
	:: g[n].truth == is_committed -> gang_order_event(n, ge_committed)
	:: g[n].truth == is_moved || g[n].truth == is_taking_back -> gang_order_event(n, ge_moved)
	:: g[n].truth == is_done -> gang_order_event(n, ge_ended_moved)
	:: g[n].truth == is_back -> gang_order_event(n, ge_ended_back)
	:: g[n].truth == is_lost -> gang_order_event(n, ge_ended_lost)
	:: is_nowhere(n) -> gang_order_event(n, ge_ended_back)
	:: else
	fi;
	seen[n] = g[n].truth
}

inline write_down()
{
	if
	:: action_kind == do_undo -> said_undo = 1
	:: action_kind == do_forward -> said_forward = 1
	:: action_kind == do_over -> said_over = 1
	:: else -> said[action_vm] = action_kind
	fi
}

inline check_over()
{
	for (k : 0 .. GUESTS - 1) {
		promise(told_truly, is_final(vm[k].state) && ((vm[k].state == gang_done) == (g[k].truth == is_done)) &&
			((vm[k].state == gang_lost) == (g[k].truth == is_lost)));
		promise(guest_somewhere, has_ended(k));
		promise(guests_move, crashed || failed || g[k].truth == is_done)
	};
	k = 0;
	gang_count(count, k, (g[k].truth == is_done));
	promise(all_or_nothing, !undone || count == 0);
	promise(never_torn, failed || count == 0 || count == GUESTS);
	count = 0
}

inline carry_out()
{
	if
	:: action_kind == do_start -> g[action_vm].truth = is_starting
	:: action_kind == do_receive -> g[action_vm].truth = is_awaiting
	:: action_kind == do_send -> g[action_vm].truth = is_letting_go
	:: action_kind == do_move -> g[action_vm].told_move = 1
	:: action_kind == do_back -> g[action_vm].told_back = 1
	:: action_kind == do_cancel ->
		promise(forward_only, !said_forward);
		g[action_vm].told_cancel = 1
	:: action_kind == do_undo ->
		gang_count(count, k, (g[k].truth == is_moving || is_at_destination(k)));
		promise(all_or_nothing, count == 0);
		undone = 1
	:: action_kind == do_over ->
		check_over()
	:: else
	fi
}

/* What it knew is gone. A word that was on its way arrives, or does not. */
inline dies()
{
	faults--;
	crashed = 1;
	coordinator_lives = 0;
	trouble = 0;
	forward = 0;
	undo = 0;
	over = 0;
	committed = 0;
	action_kind = 0;
	action_vm = 0;
	phase = decides;
	look = 0;
	for (k : 0 .. GUESTS - 1) {
		vm[k].state = gang_idle;
		vm[k].moving = 0;
		seen[k] = 0
	};
	k = 0
}

/* Another one: the journal, then what is there, then all words that are still wanted once more. */
inline takes_over()
{
	coordinator_lives = 1;
	for (k : 0 .. GUESTS - 1) {
		if
		:: said[k] -> gang_order_restore(k, said[k])
		:: else
		fi
	};
	if
	:: said_forward -> gang_order_restore(0, do_forward)
	:: else
	fi;
	if
	:: said_undo -> gang_order_restore(0, do_undo)
	:: else
	fi;
	for (k : 0 .. GUESTS - 1) {
		see(k)
	};
	k = 0;
	gang_order_take_over(k, count, other);
	for (k : 0 .. GUESTS - 1) {
		if
		:: vm[k].state == gang_cancelling -> g[k].told_cancel = 1
		:: vm[k].state == gang_moving -> g[k].told_move = 1
		:: vm[k].state == gang_taking_back -> g[k].told_back = 1
		:: else
		fi
	};
	k = 0;
	look = 1
}

/* A word of the one that has died is lost on its way. */
inline words_are_lost()
{
	for (k : 0 .. GUESTS - 1) {
		g[k].told_move = 0;
		g[k].told_back = 0;
		g[k].told_cancel = 0
	};
	k = 0
}

/* Nobody has come: each guest is where its own relays have left it. */
inline check_left()
{
	for (k : 0 .. GUESTS - 1) {
		promise(guest_somewhere, has_ended(k))
	};
	k = 0
}

proctype coordinator()
{
	byte k, count, other;
	bit look = 1; /* something is new: what is to be done? */

	do
	:: d_step { coordinator_lives && phase == decides && look && !over ->
		gang_order_next(k, count, other);
		if
		:: has_no_action -> look = 0; action_kind = 0
		:: else ->
#ifndef BUG_JOURNAL_AFTER_ORDER
			write_down();
#endif
			phase = carries_out
		fi }
	:: d_step { coordinator_lives && phase == carries_out ->
		carry_out();
#ifdef BUG_JOURNAL_AFTER_ORDER
		phase = writes_late }
	:: d_step { coordinator_lives && phase == writes_late ->
		write_down();
#endif
		action_kind = 0;
		action_vm = 0;
		phase = decides }
	:: d_step { coordinator_lives && phase == decides && !over && is_new(0) -> see(0); look = 1 }
	:: d_step { coordinator_lives && phase == decides && !over && is_new(1) -> see(1); look = 1 }
#if GUESTS > 2
	:: d_step { coordinator_lives && phase == decides && !over && is_new(2) -> see(2); look = 1 }
#endif
	:: d_step { coordinator_lives && faults > 0 && !(over && phase == decides) -> dies() }
	:: d_step { coordinator_lives && faults > 0 && phase == decides && !over && !trouble ->
		fault_happens; trouble = 1; look = 1 } /* the operator cancels */
	:: d_step { !coordinator_lives && resumed && !said_over -> takes_over() }
	:: d_step { !coordinator_lives && resumed && !said_over && has_words -> words_are_lost() }
	:: d_step { !coordinator_lives && resumed -> resumed = 0 }
	:: coordinator_lives && over && phase == decides -> break
	:: !coordinator_lives && !resumed -> timeout; d_step { check_left() }; break
	od
}

init
{
	byte n;

	atomic {
		do
		:: n < GUESTS ->
			vm[n].state = gang_idle;
			g[n].truth = is_nothing;
			run relays(n);
			n++
		:: else -> break
		od;
		vm[0].has_start = 1;
		select(n : 1 .. GUESTS);
		parallel = n;
		n = 0;
		run coordinator()
	}
}

/* Faults need not happen. */
active proctype fate()
{
end:	do
	:: d_step { faults > 0 -> faults-- }
	od
}
