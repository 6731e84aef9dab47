/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_retarget.pml - which destination the source sends to, as qemu-glue/source_retarget.c has it.
 *
 * The includer defines DESTINATIONS. tests/model/check.py compares names and transitions with the code. Bits of actions
 * are those of source_retarget.h. k, best and serving are the includer's scratch, zero before and after.
 */
mtype:retarget = { retarget_idle, retarget_preparing, retarget_draining, retarget_handing, retarget_shared,
	retarget_over };

mtype:role = { target_free, target_next, target_current, target_retired, target_helper, target_dropped,
	target_kept };

mtype:retarget_event = { re_retarget, re_next_ready, re_old_drained, re_lost, re_qemu_ended, re_deadline,
	re_base_sent, re_expected, re_base_done, re_guest_stopped, re_runs, re_over, re_restart, re_again };

#define RETARGET_DO_HOLD 1
#define RETARGET_DO_OPEN_NEXT 2
#define RETARGET_DO_PREPARE_DEADLINE 4
#define RETARGET_DO_SEND_DRAIN 8
#define RETARGET_DO_DRAIN_DEADLINE 16
#define RETARGET_DO_UNDRAIN 32
#define RETARGET_DO_CLOSE_NEXT 64
#define RETARGET_DO_DROP_OLD 128
#define RETARGET_DO_GO_BACK 256
#define RETARGET_DO_HAND_OVER 512
#define RETARGET_DO_UNHOLD 1024
#define RETARGET_DO_SEND_EXPECT 2048
#define RETARGET_DO_SEND_SERVE 4096
#define RETARGET_DO_TELL_FAILED 8192
#define RETARGET_DO_TELL_DONE 16384
#define RETARGET_DO_RAISE_TROUBLE 32768
#define RETARGET_DO_RELEASE_ALL 65536
#define RETARGET_DO_RESTART 131072

#define NOBODY 255

mtype:retarget retarget_state = retarget_idle;
mtype:role roles[DESTINATIONS];
byte retired_as[DESTINATIONS];
byte retirements;
byte current, next = NOBODY, old = NOBODY, closed = NOBODY;
byte drains;
bit staged, resumes, complete, orphaned, stopped, restarts; /* resumes: the machine's returned */
int retarget_todo;

inline find_way_back()
{
	best = NOBODY;
	for (k : 0 .. DESTINATIONS - 1) {
		if
		:: !staged && !stopped && roles[k] == target_retired &&
			(best == NOBODY || retired_as[k] > retired_as[(best == NOBODY -> 0 : best)]) -> best = k
		:: else
		fi
	};
	k = 0
}

inline does_anybody_serve()
{
	serving = 0;
	for (k : 0 .. DESTINATIONS - 1) {
		serving = serving || roles[k] == target_retired || roles[k] == target_helper
	};
	k = 0
}

inline hand_over(target)
{
	resumes = retired_as[target] != 0;
	old = current;
	current = target;
	next = NOBODY;
	orphaned = 0;
	complete = 0;
	roles[current] = target_current;
	retarget_state = retarget_handing;
	retarget_todo = retarget_todo | RETARGET_DO_HAND_OVER
}

inline close_next()
{
	if
	:: next == NOBODY || roles[(next == NOBODY -> 0 : next)] == target_helper
	:: else ->
		if
		:: roles[next] == target_next && retired_as[next] ->
			roles[next] = target_retired
		:: else ->
			roles[next] = target_dropped;
			closed = next;
			retarget_todo = retarget_todo | RETARGET_DO_CLOSE_NEXT
		fi
	fi;
	next = NOBODY
}

inline no_current()
{
	close_next();
	roles[current] = target_dropped;
	find_way_back();
	if
#ifndef BUG_NO_WAY_BACK
	:: best != NOBODY ->
		retarget_todo = retarget_todo | RETARGET_DO_HOLD | RETARGET_DO_GO_BACK;
		hand_over(best)
#endif
	:: else ->
		retarget_state = retarget_over;
		retarget_todo = retarget_todo | RETARGET_DO_RAISE_TROUBLE
	fi;
	best = 0
}

inline begin_drain()
{
	drains++;
	retarget_state = retarget_draining;
	retarget_todo = retarget_todo | RETARGET_DO_HOLD | RETARGET_DO_SEND_DRAIN | RETARGET_DO_DRAIN_DEADLINE
#ifdef BUG_NO_DRAIN
	;
	roles[current] = target_retired;
	retirements++;
	retired_as[current] = retirements;
	hand_over(next)
#endif
}

inline stay(actions)
{
	close_next();
	retarget_state = retarget_idle;
	retarget_todo = retarget_todo | actions | RETARGET_DO_TELL_FAILED
}

inline leave_undrained(lost)
{
	if
	:: staged && lost -> no_current()
	:: staged && !lost -> stay(RETARGET_DO_UNDRAIN | RETARGET_DO_UNHOLD)
	:: else ->
		roles[current] = target_dropped;
#ifndef BUG_OLD_NOT_TOLD
		retarget_todo = RETARGET_DO_DROP_OLD;
#endif
		hand_over(next)
	fi
}

inline retarget_step_idle(ev, target)
{
	if
	:: ev == re_lost && target == current -> no_current()
	:: ev == re_retarget && !stopped && roles[target] == target_free ->
		roles[target] = target_next;
		next = target;
		retarget_state = retarget_preparing;
		retarget_todo = RETARGET_DO_OPEN_NEXT | RETARGET_DO_PREPARE_DEADLINE
	:: ev == re_retarget && !stopped && roles[target] == target_retired ->
		roles[target] = target_next;
		next = target;
		begin_drain()
	:: else
	fi
}

inline retarget_step_preparing(ev, target)
{
	if
	:: ev == re_next_ready && target == next ->
		if
		:: orphaned -> hand_over(next)
		:: else -> begin_drain()
		fi
	:: ev == re_lost && target == current && !orphaned && !staged ->
		orphaned = 1;
		roles[current] = target_dropped;
		retarget_todo = RETARGET_DO_HOLD
	:: (ev == re_lost && target == current && !orphaned && staged) ||
		(ev == re_lost && target == next && orphaned) ||
		((ev == re_deadline || ev == re_guest_stopped) && orphaned) ->
		no_current()
	:: (ev == re_lost && target == next && target != current && !orphaned) ||
		((ev == re_deadline || ev == re_guest_stopped) && !orphaned) ->
		stay(0)
	:: else
	fi
}

inline retarget_step_draining(ev, target)
{
	if
	:: ev == re_old_drained && target == current ->
		roles[current] = target_retired;
		retirements++;
		retired_as[current] = retirements;
		hand_over(next)
	:: ev == re_deadline -> leave_undrained(0)
	:: ev == re_lost && target == current -> leave_undrained(1)
	:: (ev == re_lost && target != current && target == next) || ev == re_guest_stopped ->
		stay(RETARGET_DO_UNDRAIN | RETARGET_DO_UNHOLD)
	:: else
	fi
}

inline retarget_step_handing(ev, target)
{
	if
	:: ev == re_lost && target == current -> no_current()
	:: ev == re_base_done && target == current -> complete = 1
	:: ev == re_base_sent && complete ->
		retarget_state = retarget_idle;
		retarget_todo = RETARGET_DO_UNHOLD | RETARGET_DO_TELL_DONE
	:: ev == re_base_sent && !complete ->
		does_anybody_serve();
		retarget_state = retarget_shared;
		retarget_todo = RETARGET_DO_UNHOLD | (serving -> RETARGET_DO_SEND_EXPECT : 0);
		serving = 0
	:: else
	fi
}

inline retarget_step_shared(ev, target)
{
	if
	:: ev == re_lost && target == current -> no_current()
	:: ev == re_expected && target == current ->
		does_anybody_serve();
		retarget_todo = (serving -> RETARGET_DO_SEND_SERVE : 0);
		serving = 0
	:: ev == re_base_done && target == current ->
		retarget_state = retarget_idle;
		retarget_todo = RETARGET_DO_TELL_DONE
	:: else
	fi
}

inline retarget_step_in_state(ev, target)
{
	if
	:: retarget_state == retarget_idle -> retarget_step_idle(ev, target)
	:: retarget_state == retarget_preparing -> retarget_step_preparing(ev, target)
	:: retarget_state == retarget_draining -> retarget_step_draining(ev, target)
	:: retarget_state == retarget_handing -> retarget_step_handing(ev, target)
	:: retarget_state == retarget_shared -> retarget_step_shared(ev, target)
	:: retarget_state == retarget_over && ev == re_lost && target == current ->
		retarget_todo = RETARGET_DO_RAISE_TROUBLE
	:: else
	fi
}

inline retarget_restart(target)
{
	if
	:: !stopped || retarget_state == retarget_over || roles[target] != target_free
	:: else ->
		for (k : 0 .. DESTINATIONS - 1) {
			if
			:: roles[k] == target_kept -> roles[k] = target_helper
			:: else
			fi
		};
		k = 0;
		roles[current] = target_kept;
		roles[target] = target_next;
		next = target;
		restarts = 1;
		retarget_state = retarget_over;
		retarget_todo = RETARGET_DO_RESTART
	fi
}

inline retarget_again()
{
	if
	:: !restarts
	:: else ->
		for (k : 0 .. DESTINATIONS - 1) {
			if
			:: roles[k] == target_retired || roles[k] == target_helper -> roles[k] = target_dropped
			:: else
			fi
		};
		k = 0;
		roles[next] = target_current;
		current = next;
		next = NOBODY;
		restarts = 0;
		stopped = 0;
		resumes = 0;
		complete = 0;
		orphaned = 0;
		retarget_state = retarget_idle
	fi
}

/* What becomes of a target that is not the current one; `lost` is then 1 if the change hears of it, too. */
inline retarget_befell(ev, target, lost)
{
	if
	:: roles[target] == target_kept && ev == re_lost ->
		roles[target] = target_dropped;
		lost = restarts
	:: roles[target] == target_kept && ev != re_lost
	:: roles[target] != target_kept && target == current -> lost = (ev == re_lost)
	:: roles[target] == target_next && target != current ->
		roles[target] = (ev == re_lost || !retired_as[target] -> target_dropped : target_helper);
		lost = 1
	:: (roles[target] == target_retired || roles[target] == target_helper) && target != current ->
		roles[target] = (ev == re_lost || !retired_as[target] -> target_dropped : target_helper)
	:: else
	fi
}

/* Leaves the actions in retarget_todo. event: a variable; lost: scratch. */
inline source_retarget_step(event, target, lost)
{
	retarget_todo = 0;
	if
	:: event == re_qemu_ended || event == re_lost ->
		retarget_befell(event, target, lost);
		event = (lost -> re_lost : 0);
		lost = 0
	:: event == re_runs ->
		retarget_state = retarget_over;
		retarget_todo = RETARGET_DO_RELEASE_ALL;
		event = 0
	:: event == re_over ->
		restarts = 0;
		retarget_state = retarget_over;
		event = 0
	:: event == re_restart -> retarget_restart(target); event = 0
	:: event == re_again -> retarget_again(); event = 0
	:: event == re_guest_stopped -> stopped = 1
	:: else
	fi;
	if
	:: event -> retarget_step_in_state(event, target)
	:: else
	fi;
	event = 0
}
