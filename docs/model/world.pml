/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * world.pml - what the models of one migration have in common: QEMUs, messages, promises.
 *
 * A promise is a bit that is 1 for ever; where it is broken, spin says "assertion violated NAME".
 */
mtype:qemu = { qemu_gone,
	qemu_runs,      /* source: before or without a migration; destination: after cont */
	qemu_streams,   /* source: migrating, the guest runs */
	qemu_stopped,   /* source: finish-migrate */
	qemu_completed, /* source: postmigrate, the commit record */
	qemu_waits,     /* destination: before everything was loaded */
	qemu_loaded };  /* destination: complete, paused */

mtype:message = { say_hello, say_accepted, say_announce, say_base, say_ram_end, say_ready, say_commit,
	say_abort, say_keep, say_running, say_failed, say_stranded, say_unloaded, say_drain, say_undrain,
	say_drained, say_restart, say_release };

bit at_most_one = 1;        /* never do two guests run */
bit exactly_one = 1;        /* in the end one does, where that is promised */
bit one_history = 1;        /* nobody goes on from a state behind which the guest has run elsewhere */
bit record_before_run = 1;  /* a destination runs only after the commit record, or without a source */
bit memory_complete = 1;    /* who runs has the memory of the moment in which the guest stopped */
bit runner_not_ended = 1;   /* nobody ends a guest that runs, nor the last copy of one */
bit guest_moves = 1;        /* without a fault it does */

#define promise(name, condition) \
	name = (condition); \
	assert(name)

byte faults = FAULTS; /* that may still happen */
bit hurt;             /* one has, or the operator had a wish */
bit died;             /* a QEMU has, by itself */

/* what: for who reads a trail */
#define fault_happens(what) \
	faults--; \
	hurt = 1; \
	printf(what)

/* Faults need not happen. */
active proctype fate()
{
end:	do
	:: d_step { faults > 0 -> faults-- }
	od
}
