/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_order.pml - the order in which several guests move together, as qemu-glue/gang_order.c has it.
 *
 * The includer defines GUESTS. tests/model/check.py compares names and transitions with the code.
 */
mtype:gang = { gang_idle, gang_starting, gang_started, gang_awaiting, gang_listening, gang_letting_go,
	gang_held, gang_moving, gang_committed, gang_moved, gang_taking_back, gang_cancelling, gang_done,
	gang_undone, gang_failed, gang_lost };

mtype:gang_event = { ge_started, ge_listening, ge_held, ge_committed, ge_moved, ge_ended_moved,
	ge_ended_back, ge_ended_lost };

mtype:gang_do = { do_nothing, do_start, do_receive, do_send, do_move, do_back, do_cancel, do_undo,
	do_forward, do_over };

typedef gang_member {
	mtype:gang state;
	bit has_start, moving
}

gang_member vm[GUESTS];
byte parallel;
bit trouble, forward, undo, over, committed;

/* The answer of gang_order_next. */
mtype:gang_do action_kind;
byte action_vm;

#define is_final(s) (s == gang_done || s == gang_undone || s == gang_failed || s == gang_lost)
#define is_before_held(s) (s == gang_idle || s == gang_starting || s == gang_started || s == gang_awaiting || \
	s == gang_listening || s == gang_letting_go)
#define is_on_its_way(s) (s == gang_moving || s == gang_committed || s == gang_cancelling)

inline gang_count(ret, k, condition)
{
	ret = 0;
	for (k : 0 .. GUESTS - 1) {
		ret = ret + (condition -> 1 : 0)
	};
	k = 0
}

inline gang_commit(n, next)
{
	committed = 1;
	vm[n].state = next
}

inline gang_order_event(n, ev)
{
	if
	:: is_final(vm[n].state)
	:: else ->
		if
		:: ev == ge_started && vm[n].state == gang_starting -> vm[n].state = gang_started
		:: ev == ge_listening && vm[n].state == gang_awaiting -> vm[n].state = gang_listening
		:: ev == ge_held && vm[n].state == gang_letting_go -> vm[n].state = gang_held
		:: ev == ge_committed && vm[n].state != gang_moved && vm[n].state != gang_taking_back ->
			gang_commit(n, gang_committed)
		:: ev == ge_moved && vm[n].state != gang_taking_back -> gang_commit(n, gang_moved)
		:: ev == ge_ended_moved -> gang_commit(n, gang_done)
		:: ev == ge_ended_back && vm[n].state == gang_cancelling -> vm[n].state = gang_undone
		:: ev == ge_ended_back && vm[n].state != gang_cancelling ->
			vm[n].state = gang_failed;
			trouble = 1
		:: ev == ge_ended_lost ->
			vm[n].state = gang_lost;
			trouble = 1
		:: else
		fi
	fi
}

/* After a crash: is anybody told to move, or has moved? */
inline gang_order_take_over(k, moving, cancelling)
{
	gang_count(moving, k, (vm[k].state == gang_moving || vm[k].state == gang_committed ||
		vm[k].state == gang_moved || vm[k].state == gang_taking_back || vm[k].state == gang_done));
	gang_count(cancelling, k, (vm[k].state == gang_cancelling));
	if
#ifdef BUG_RESUME_GOES_BACK
	:: true -> trouble = 1
#else
	:: !moving || undo || cancelling -> trouble = 1
	:: else
#endif
	fi;
	moving = 0;
	cancelling = 0
}

inline gang_order_restore(n, said)
{
	if
	:: said == do_forward || said == do_back ->
		committed = 1;
		forward = 1
	:: said == do_undo -> undo = 1
	:: else
	fi;
	if
	:: said == do_start -> vm[n].state = gang_starting
	:: said == do_receive -> vm[n].state = gang_awaiting
	:: said == do_send -> vm[n].state = gang_letting_go
	:: said == do_move -> vm[n].state = gang_moving
	:: said == do_back -> vm[n].state = gang_taking_back
	:: said == do_cancel ->
		vm[n].state = gang_cancelling;
		vm[n].moving = 1
	:: else
	fi
}

inline gang_act(n, kind, next)
{
	vm[n].state = next;
	action_kind = kind;
	action_vm = n
}

#define has_no_action (action_kind == do_nothing)

/* All or nothing, and it is nothing. */
inline gang_back(k, count)
{
	for (k : 0 .. GUESTS - 1) {
		if
		:: has_no_action && vm[k].state == gang_moving ->
			vm[k].moving = 1;
			gang_act(k, do_cancel, gang_cancelling)
		:: else
		fi
	};
#ifndef BUG_UNDO_AT_ONCE
	gang_count(count, k, (vm[k].state == gang_cancelling && vm[k].moving));
#endif
	if
	:: has_no_action && !count && !undo ->
		undo = 1;
		action_kind = do_undo
	:: has_no_action && !count && undo ->
		for (k : 0 .. GUESTS - 1) {
			if
			:: has_no_action && vm[k].state == gang_idle -> vm[k].state = gang_undone
			:: has_no_action && vm[k].state != gang_idle && (is_before_held(vm[k].state) || vm[k].state == gang_held) ->
				gang_act(k, do_cancel, gang_cancelling)
			:: else
			fi
		}
	:: else
	fi;
	count = 0
}

inline gang_prepare(n)
{
	if
	:: vm[n].state == gang_idle && vm[n].has_start -> gang_act(n, do_start, gang_starting)
	:: (vm[n].state == gang_idle && !vm[n].has_start) || vm[n].state == gang_started ->
		gang_act(n, do_receive, gang_awaiting)
	:: vm[n].state == gang_listening -> gang_act(n, do_send, gang_letting_go)
	:: else
	fi
}

inline gang_moves_on(k, move, hold)
{
	gang_count(move, k, is_on_its_way(vm[k].state));
	gang_count(hold, k, (vm[k].state == gang_held));
	for (k : 0 .. GUESTS - 1) {
		if
		:: has_no_action && vm[k].state == gang_held && move < parallel ->
			gang_act(k, do_move, gang_moving)
#ifdef BUG_BACK_EARLY
		:: has_no_action && vm[k].state == gang_moved ->
#else
		:: has_no_action && vm[k].state == gang_moved && !move && !hold ->
#endif
			gang_act(k, do_back, gang_taking_back)
		:: else
		fi
	};
	move = 0;
	hold = 0
}

inline gang_onward(k, count, other)
{
	if
	:: committed && !forward ->
		forward = 1;
		action_kind = do_forward
	:: else ->
		for (k : 0 .. GUESTS - 1) {
			if
			:: has_no_action -> gang_prepare(k)
			:: else
			fi
		};
#ifndef BUG_MOVE_EARLY
		gang_count(count, k, is_before_held(vm[k].state));
#endif
		if
		:: has_no_action && !count -> gang_moves_on(k, count, other)
		:: else
		fi;
		count = 0
	fi
}

/* Leaves the answer in action_kind and action_vm. k, count, other: scratch, zero. */
inline gang_order_next(k, count, other)
{
	action_kind = do_nothing;
	action_vm = 0;
	if
#ifdef BUG_CANCEL_AFTER_COMMIT
	:: trouble -> gang_back(k, count)
#else
	:: trouble && !committed -> gang_back(k, count)
#endif
	:: else -> gang_onward(k, count, other)
	fi;
	k = 0;
	if
	:: has_no_action && !over ->
		gang_count(count, k, is_final(vm[k].state));
		if
		:: count == GUESTS ->
			over = 1;
			action_kind = do_over
		:: else
		fi;
		count = 0
	:: else
	fi
}
