/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_switch.pml - the destination's half of the switchover, as qemu-glue/destination_switch.c has it.
 *
 * The includer defines DESTINATIONS. tests/model/check.py compares names and every transition with the code. Bits of
 * actions are those of destination_switch.h.
 */
mtype:destination = { destination_waiting, destination_receiving, destination_verifying, destination_loading,
	destination_ready, destination_starting, destination_done, destination_failed, destination_orphan,
	destination_retired, destination_released };

mtype:destination_event = { de_connected, de_ram_complete, de_verified, de_loaded, de_commit, de_running,
	de_abort, de_keep, de_trouble, de_peer_lost, de_qemu_gone, de_drain, de_restart, de_release,
	de_served };

#define DESTINATION_DO_VERIFY 1
#define DESTINATION_DO_FEED_TAIL 2
#define DESTINATION_DO_SEND_READY 4
#define DESTINATION_DO_RUN 8
#define DESTINATION_DO_SEND_RUNNING 16
#define DESTINATION_DO_SEND_FAILED 32
#define DESTINATION_DO_SEND_STRANDED 64
#define DESTINATION_DO_SEND_HELPER 128
#define DESTINATION_DO_WAIT_HELPER 256
#define DESTINATION_DO_QUIT_QEMU 512
#define DESTINATION_DO_FINISH 1024

typedef destination_switch {
	mtype:destination state;
	bit verify, alone, ended; /* ended: the machine's qemu_gone */
	short todo                /* actions to be carried out */
}

destination_switch machine[DESTINATIONS];

inline destination_go(i, next, actions)
{
	machine[i].state = next;
	machine[i].todo = actions
}

inline destination_gives_up(i)
{
	if
	:: machine[i].state == destination_waiting ->
		destination_go(i, destination_failed, DESTINATION_DO_FINISH)
	:: else ->
		destination_go(i, destination_failed,
			DESTINATION_DO_SEND_FAILED | DESTINATION_DO_QUIT_QEMU | DESTINATION_DO_FINISH)
	fi
}

inline destination_keeps(i)
{
#ifdef BUG_KEPT_QEMU
	destination_go(i, destination_retired, DESTINATION_DO_SEND_HELPER)
#else
	destination_go(i, destination_retired, DESTINATION_DO_QUIT_QEMU)
#endif
}

inline destination_step_before_ready(i, ev)
{
	if
	:: ev == de_connected && machine[i].state == destination_waiting ->
		machine[i].state = destination_receiving
	:: ev == de_ram_complete && machine[i].state == destination_receiving && machine[i].verify ->
		destination_go(i, destination_verifying, DESTINATION_DO_VERIFY)
	:: (ev == de_ram_complete && machine[i].state == destination_receiving && !machine[i].verify) ||
		(ev == de_verified && machine[i].state == destination_verifying) ->
		destination_go(i, destination_loading, DESTINATION_DO_FEED_TAIL)
	:: ev == de_loaded && machine[i].state == destination_loading ->
#ifdef BUG_RUN_BEFORE_COMMIT
		destination_go(i, destination_ready, DESTINATION_DO_SEND_READY | DESTINATION_DO_RUN)
#else
		destination_go(i, destination_ready, DESTINATION_DO_SEND_READY)
#endif
	:: ev == de_drain && machine[i].state == destination_receiving ->
#ifdef BUG_RETIRED_QUITS
		destination_go(i, destination_retired, DESTINATION_DO_QUIT_QEMU)
#else
		machine[i].state = destination_retired
#endif
	:: ev == de_keep && machine[i].state != destination_waiting ->
		destination_keeps(i)
	:: (ev == de_loaded && machine[i].state != destination_loading) ||
		(ev == de_drain && machine[i].state != destination_receiving) ||
		(ev == de_keep && machine[i].state == destination_waiting) || ev == de_commit ||
		ev == de_release || ev == de_running || ev == de_abort || ev == de_trouble ||
		ev == de_peer_lost || ev == de_qemu_gone ->
		destination_gives_up(i)
	:: else
	fi
}

inline destination_step_ready(i, ev)
{
	if
	:: ev == de_commit ->
		destination_go(i, destination_starting, DESTINATION_DO_RUN)
	:: ev == de_keep ->
		destination_keeps(i)
	:: ev == de_abort ->
		destination_go(i, destination_failed, DESTINATION_DO_QUIT_QEMU | DESTINATION_DO_FINISH)
	:: ev == de_peer_lost ->
#if defined(BUG_LOST_PEER_RUNS)
		destination_go(i, destination_starting, DESTINATION_DO_RUN)
#elif defined(BUG_LOST_PEER_QUITS)
		destination_go(i, destination_failed, DESTINATION_DO_QUIT_QEMU | DESTINATION_DO_FINISH)
#else
		destination_go(i, destination_orphan, DESTINATION_DO_FINISH)
#endif
	:: ev == de_qemu_gone ->
		destination_go(i, destination_failed, DESTINATION_DO_SEND_FAILED | DESTINATION_DO_FINISH)
	:: else
	fi
}

inline destination_step_retired(i, ev)
{
	if
	:: ev == de_restart && !machine[i].ended ->
		machine[i].state = destination_receiving
	:: ev == de_release ->
		destination_go(i, destination_released, DESTINATION_DO_QUIT_QEMU | DESTINATION_DO_FINISH)
	:: ev == de_qemu_gone && !machine[i].ended ->
		machine[i].ended = 1;
		machine[i].todo = DESTINATION_DO_SEND_HELPER
	:: ev == de_peer_lost ->
		machine[i].alone = 1;
		machine[i].todo = DESTINATION_DO_WAIT_HELPER
	:: (ev == de_restart && machine[i].ended) || (ev == de_served && machine[i].alone) ||
		ev == de_abort || ev == de_trouble || ev == de_keep || ev == de_commit ||
		ev == de_ram_complete || ev == de_loaded || ev == de_running ->
		destination_gives_up(i)
	:: else
	fi
}

inline destination_step_starting(i, ev)
{
	if
	:: ev == de_running ->
		destination_go(i, destination_done, DESTINATION_DO_SEND_RUNNING | DESTINATION_DO_FINISH)
	:: ev == de_qemu_gone ->
#ifdef BUG_FAILED_AFTER_CONT
		destination_go(i, destination_failed, DESTINATION_DO_SEND_FAILED | DESTINATION_DO_FINISH)
#else
		destination_go(i, destination_failed, DESTINATION_DO_SEND_STRANDED | DESTINATION_DO_FINISH)
#endif
	:: ev == de_trouble ->
#ifdef BUG_FAILED_AFTER_CONT
		destination_go(i, destination_orphan, DESTINATION_DO_SEND_FAILED | DESTINATION_DO_FINISH)
#else
		destination_go(i, destination_orphan, DESTINATION_DO_SEND_STRANDED | DESTINATION_DO_FINISH)
#endif
	:: else
	fi
}

/* Leaves the actions in machine[i].todo. */
inline destination_switch_step(i, ev)
{
	machine[i].todo = 0;
	if
	:: machine[i].state == destination_waiting || machine[i].state == destination_receiving ||
		machine[i].state == destination_verifying || machine[i].state == destination_loading ->
		destination_step_before_ready(i, ev)
	:: machine[i].state == destination_ready -> destination_step_ready(i, ev)
	:: machine[i].state == destination_retired -> destination_step_retired(i, ev)
	:: machine[i].state == destination_starting -> destination_step_starting(i, ev)
	:: else
	fi
}
