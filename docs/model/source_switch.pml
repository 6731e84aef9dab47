/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_switch.pml - the source's half of the switchover, state by state as qemu-glue/source_switch.c has it.
 *
 * tests/model/check.py compares names and every transition with the code. Bits of actions are those of
 * source_switch.h.
 */
mtype:source = { source_connecting, source_streaming, source_stopped, source_committing, source_delivering,
	source_done, source_aborting, source_aborted, source_undecided, source_undelivered, source_lost,
	source_restarting, source_again };

mtype:source_event = { se_accepted, se_guest_stopped, se_destination_ready, se_qemu_completed, se_qemu_failed,
	se_destination_runs, se_deadline, se_trouble, se_destination_unrun, se_qemu_gone, se_restart,
	se_destination_unloaded };

#define SOURCE_DO_MIGRATE 1
#define SOURCE_DO_SWITCH_DEADLINE 2
#define SOURCE_DO_SEND_SHUT 4
#define SOURCE_DO_SEND_COMMIT 8
#define SOURCE_DO_SEND_ABORT 16
#define SOURCE_DO_SEND_KEEP 32
#define SOURCE_DO_CANCEL 64
#define SOURCE_DO_DELIVERY_DEADLINE 128
#define SOURCE_DO_QUIT_QEMU 256
#define SOURCE_DO_ANNOUNCE 512
#define SOURCE_DO_FINISH 1024

mtype:source source_state = source_connecting;
bit unrun, was_stopped, returned, unloaded;
bit keep_source;
short source_todo; /* actions to be carried out */

inline source_go(next, actions)
{
	source_state = next;
	source_todo = actions
}

inline source_aborts()
{
	source_go(source_aborted,
		SOURCE_DO_SEND_ABORT | SOURCE_DO_FINISH | (was_stopped -> SOURCE_DO_ANNOUNCE : 0))
}

inline source_cancels()
{
	source_go(source_aborting, SOURCE_DO_SEND_ABORT | SOURCE_DO_CANCEL)
}

inline source_step_connecting(ev)
{
	if
	:: ev == se_accepted ->
		source_go(source_streaming, SOURCE_DO_MIGRATE)
	:: ev == se_trouble || ev == se_destination_unrun || ev == se_deadline ->
		source_go(source_aborted, SOURCE_DO_SEND_ABORT | SOURCE_DO_FINISH)
	:: ev == se_qemu_gone ->
		source_go(source_lost, SOURCE_DO_SEND_ABORT | SOURCE_DO_FINISH)
	:: else
	fi
}

inline source_step_before_shut(ev)
{
	if
	:: ev == se_guest_stopped && source_state == source_streaming ->
		was_stopped = 1;
		source_go(source_stopped, SOURCE_DO_SWITCH_DEADLINE)
	:: ev == se_restart && source_state == source_stopped ->
		source_go(source_restarting, SOURCE_DO_SEND_KEEP | SOURCE_DO_CANCEL)
	:: ev == se_destination_ready && source_state == source_stopped ->
#ifdef BUG_COMMIT_BEFORE_RECORD
		source_go(source_committing, SOURCE_DO_SEND_SHUT | SOURCE_DO_SEND_COMMIT)
#else
		source_go(source_committing, SOURCE_DO_SEND_SHUT)
#endif
	:: (ev == se_destination_ready && source_state == source_streaming) || ev == se_trouble ||
		ev == se_destination_unrun || ev == se_deadline || ev == se_destination_runs ||
		ev == se_qemu_completed ->
		source_cancels()
	:: ev == se_qemu_failed ->
		source_aborts()
	:: ev == se_qemu_gone ->
		source_go(source_lost, SOURCE_DO_SEND_ABORT | SOURCE_DO_FINISH)
	:: else
	fi
}

inline source_step_committing(ev)
{
	if
	:: ev == se_destination_unrun ->
		unrun = 1
	:: ev == se_qemu_completed && unrun ->
		source_aborts()
	:: ev == se_qemu_completed && !unrun ->
#ifdef BUG_QUIT_BEFORE_RUNNING
		source_go(source_delivering,
			SOURCE_DO_SEND_COMMIT | SOURCE_DO_DELIVERY_DEADLINE | SOURCE_DO_QUIT_QEMU)
#else
		source_go(source_delivering, SOURCE_DO_SEND_COMMIT | SOURCE_DO_DELIVERY_DEADLINE)
#endif
	:: ev == se_qemu_failed ->
		source_aborts()
	:: ev == se_qemu_gone ->
		source_go(source_undecided, SOURCE_DO_FINISH)
	:: else
	fi
}

inline source_step_delivering(ev)
{
	if
	:: ev == se_destination_runs ->
		source_go(source_done, SOURCE_DO_FINISH | (keep_source -> 0 : SOURCE_DO_QUIT_QEMU))
	:: ev == se_destination_unrun ->
		source_aborts()
	:: ev == se_deadline || ev == se_trouble ->
#ifdef BUG_UNANSWERED_COMMIT_ABORTS
		source_aborts()
#else
		source_go(source_undelivered, SOURCE_DO_FINISH)
#endif
	:: else
	fi
}

inline source_step_aborting(ev)
{
	if
	:: ev == se_qemu_failed || ev == se_qemu_completed ->
		source_aborts()
	:: ev == se_qemu_gone ->
		source_go(source_lost, SOURCE_DO_FINISH)
	:: else
	fi
}

inline source_begins_again_if_it_can()
{
	if
#ifdef BUG_AGAIN_UNHEARD
	:: returned ->
#else
	:: returned && unloaded ->
#endif
		source_go(source_again, SOURCE_DO_ANNOUNCE | SOURCE_DO_FINISH)
	:: else
	fi
}

inline source_step_restarting(ev)
{
	if
	:: ev == se_qemu_failed || ev == se_qemu_completed ->
		returned = 1;
		source_begins_again_if_it_can()
	:: ev == se_destination_unloaded ->
		unloaded = 1;
		source_begins_again_if_it_can()
	:: (ev == se_trouble || ev == se_destination_unrun || ev == se_deadline) && returned ->
		source_aborts()
	:: (ev == se_trouble || ev == se_destination_unrun || ev == se_deadline) && !returned ->
		source_go(source_aborting, SOURCE_DO_SEND_ABORT)
	:: ev == se_qemu_gone ->
		source_go(source_lost, SOURCE_DO_SEND_ABORT | SOURCE_DO_FINISH)
	:: else
	fi
}

/* Leaves the actions in source_todo. */
inline source_switch_step(ev)
{
	source_todo = 0;
	if
	:: source_state == source_connecting -> source_step_connecting(ev)
	:: source_state == source_streaming || source_state == source_stopped -> source_step_before_shut(ev)
	:: source_state == source_committing -> source_step_committing(ev)
	:: source_state == source_delivering -> source_step_delivering(ev)
	:: source_state == source_aborting -> source_step_aborting(ev)
	:: source_state == source_restarting -> source_step_restarting(ev)
	:: else
	fi
}
