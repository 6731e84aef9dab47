/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transitions.pml - prints transitions of the models' machines, for transitions.c to compare with the code's.
 *
 * All of the two switchovers and of recover; of the others STEPS of a random walk (spin -n: its seed).
 */
#define DESTINATIONS 3
#define GUESTS 3
#ifndef STEPS
#define STEPS 3000
#endif
#define WALK 25 /* steps until it begins anew */

#include "source_switch.pml"
#include "destination_switch.pml"
#include "recover.pml"
#include "source_retarget.pml"
#include "gang_order.pml"

mtype:source_event source_event_now;
mtype:destination_event destination_event_now;
mtype:retarget_event retarget_event_now;
mtype:gang_event gang_event_now;
mtype:gang_do gang_said;

inline print_source()
{
	shown_source = source_state;
	printf(" %e %d %d %d %d %d", shown_source, unrun, was_stopped, returned, unloaded, keep_source)
}

proctype all_of_source()
{
	mtype:source shown_source;
	byte state, event, flags;

	for (state : 1 .. 13) {
		for (event : 1 .. 12) {
			for (flags : 0 .. 31) {
				d_step {
					source_state = state;
					source_event_now = event;
					unrun = flags & 1;
					was_stopped = (flags >> 1) & 1;
					returned = (flags >> 2) & 1;
					unloaded = (flags >> 3) & 1;
					keep_source = (flags >> 4) & 1;
					printf("source");
					print_source();
					source_switch_step(source_event_now);
					printf(" %e", source_event_now);
					print_source();
					printf(" %d\n", source_todo)
				}
			}
		}
	}
}

inline print_destination()
{
	shown_destination = machine[0].state;
	printf(" %e %d %d %d", shown_destination, machine[0].verify, machine[0].alone, machine[0].ended)
}

proctype all_of_destination()
{
	mtype:destination shown_destination;
	byte state, event, flags;

	for (state : 1 .. 11) {
		for (event : 1 .. 15) {
			for (flags : 0 .. 7) {
				d_step {
					machine[0].state = state;
					destination_event_now = event;
					machine[0].verify = flags & 1;
					machine[0].alone = (flags >> 1) & 1;
					machine[0].ended = (flags >> 2) & 1;
					printf("destination");
					print_destination();
					destination_switch_step(0, destination_event_now);
					printf(" %e", destination_event_now);
					print_destination();
					printf(" %d\n", machine[0].todo)
				}
			}
		}
	}
}

proctype all_of_recover()
{
	mtype:recover_source source;
	mtype:recover_destination destination;
	mtype:verdict answer;
	byte i, j, flags;

	for (i : 1 .. 4) {
		for (j : 1 .. 6) {
			for (flags : 0 .. 3) {
				d_step {
					source = i;
					destination = j;
					recover_decide(source, (flags & 1), destination, (flags >> 1), answer);
					printf("recover %e %d %e %d %e\n", source, flags & 1, destination, flags >> 1, answer)
				}
			}
		}
	}
}

inline print_retarget()
{
	shown_retarget = retarget_state;
	printf(" %e", shown_retarget);
	for (n : 0 .. 2) {
		shown_role = roles[n];
		printf(" %e %d", shown_role, retired_as[n])
	};
	printf(" %d %d %d %d %d %d", retirements, current, next, old, closed, drains);
	printf(" %d %d %d %d %d %d", staged, resumes, complete, orphaned, stopped, restarts)
}

inline begin_retarget()
{
	retarget_state = retarget_idle;
	for (n : 0 .. 2) {
		roles[n] = target_free;
		retired_as[n] = 0
	};
	roles[0] = target_current;
	retirements = 0;
	current = 0;
	next = NOBODY;
	old = NOBODY;
	closed = NOBODY;
	drains = 0;
	resumes = 0;
	complete = 0;
	orphaned = 0;
	stopped = 0;
	restarts = 0
}

proctype walk_of_retarget()
{
	mtype:retarget shown_retarget;
	mtype:role shown_role;
	byte target, n, k, best;
	bit serving;
	int steps;

	do
	:: steps == STEPS -> break
	:: else ->
		steps++;
		if
		:: steps % WALK == 1 -> begin_retarget(); staged = (steps / WALK) % 4 == 3
		:: else
		fi;
		select(target : 0 .. 2);
		if
		:: retarget_event_now = re_retarget
		:: retarget_event_now = re_retarget
		:: retarget_event_now = re_next_ready; target = (next == NOBODY -> target : next)
		:: retarget_event_now = re_next_ready; target = (next == NOBODY -> target : next)
		:: retarget_event_now = re_old_drained; target = current
		:: retarget_event_now = re_old_drained
		:: retarget_event_now = re_lost
		:: retarget_event_now = re_qemu_ended
		:: retarget_event_now = re_deadline
		:: retarget_event_now = re_base_sent
		:: retarget_event_now = re_base_sent
		:: retarget_event_now = re_base_done
		:: retarget_event_now = re_base_done; target = current
		:: retarget_event_now = re_expected
		:: retarget_event_now = re_guest_stopped
		:: retarget_event_now = re_restart
		:: retarget_event_now = re_restart
		:: retarget_event_now = re_again
		:: steps % 3 == 0 -> retarget_event_now = re_runs
		:: steps % 3 == 0 -> retarget_event_now = re_over
		fi;
		atomic {
			printf("retarget");
			print_retarget();
			printf(" %e %d", retarget_event_now, target);
			source_retarget_step(retarget_event_now, target, serving);
			print_retarget();
			printf(" %d\n", retarget_todo)
		}
	od
}

inline print_gang()
{
	for (n : 0 .. 2) {
		shown_gang = vm[n].state;
		printf(" %e %d %d", shown_gang, vm[n].has_start, vm[n].moving)
	};
	printf(" %d %d %d %d %d %d", parallel, trouble, forward, undo, over, committed)
}

inline begin_gang()
{
	for (n : 0 .. 2) {
		vm[n].state = gang_idle;
		vm[n].has_start = (n == 0);
		vm[n].moving = 0
	};
	trouble = 0;
	forward = 0;
	undo = 0;
	over = 0;
	committed = 0
}

proctype walk_of_gang()
{
	mtype:gang shown_gang;
	byte target, n, k, count, other;
	bit restores;
	int steps;

	do
	:: steps == 2 * STEPS -> break
	:: else ->
		steps++;
		if
		:: steps % (4 * WALK) == 1 ->
			begin_gang();
			parallel = 1 + (steps / (4 * WALK)) % 3;
			restores = (steps / (4 * WALK)) % 3 == 2
		:: else -> restores = restores && steps % (4 * WALK) < 5
		fi;
		select(target : 0 .. 2);
		if
		:: restores ->
			if
			:: gang_said = do_start
			:: gang_said = do_receive
			:: gang_said = do_send
			:: gang_said = do_move
			:: gang_said = do_back
			:: gang_said = do_cancel
			:: gang_said = do_undo
			:: gang_said = do_forward
			fi;
			d_step {
				printf("gang_restore");
				print_gang();
				printf(" %e %d", gang_said, target);
				gang_order_restore(target, gang_said);
				print_gang();
				printf("\n")
			}
		:: !restores && steps % (4 * WALK) == 6 ->
			d_step {
				printf("gang_take_over");
				print_gang();
				gang_order_take_over(k, count, other);
				print_gang();
				printf("\n")
			}
		:: !restores && steps % 31 == 0 -> trouble = 1
		:: !restores && steps % (4 * WALK) != 6 ->
			d_step {
				printf("gang_next");
				print_gang();
				gang_order_next(k, count, other);
				print_gang();
				printf(" %e %d\n", action_kind, action_vm)
			}
		:: !restores && steps % (4 * WALK) != 6 ->
			if
			:: gang_event_now = ge_started
			:: gang_event_now = ge_listening
			:: gang_event_now = ge_held
			:: gang_event_now = ge_started
			:: gang_event_now = ge_listening
			:: gang_event_now = ge_held
			:: gang_event_now = ge_committed
			:: gang_event_now = ge_moved
			:: steps % 2 == 0 -> gang_event_now = ge_ended_moved
			:: steps % 4 == 0 -> gang_event_now = ge_ended_back
			:: steps % 8 == 0 -> gang_event_now = ge_ended_lost
			fi;
			d_step {
				printf("gang_event");
				print_gang();
				printf(" %e %d", gang_event_now, target);
				gang_order_event(target, gang_event_now);
				print_gang();
				printf("\n")
			}
		fi
	od
}

init
{
	run all_of_source();
	(_nr_pr == 1);
	run all_of_destination();
	(_nr_pr == 1);
	run all_of_recover();
	(_nr_pr == 1);
	run walk_of_retarget();
	(_nr_pr == 1);
	run walk_of_gang()
}
