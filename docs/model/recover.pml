/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recover.pml - who may run after a crash: the table of qemu-glue/recover.c.
 */
mtype:recover_source = { recover_source_unknown, recover_source_committed, recover_source_busy,
	recover_source_owns };
mtype:recover_destination = { recover_destination_unknown, recover_destination_loaded,
	recover_destination_incomplete, recover_destination_runs, recover_destination_none,
	recover_destination_foreign };
mtype:verdict = { verdict_run_destination, verdict_quit_source, verdict_cancel_source, verdict_source_keeps,
	verdict_committed_no_destination, verdict_ask, verdict_two, verdict_not_a_destination,
	verdict_committed_elsewhere };

inline recover_decide_committed(destination, ret)
{
	if
	:: destination == recover_destination_loaded -> ret = verdict_run_destination
	:: destination == recover_destination_runs -> ret = verdict_quit_source
	:: destination == recover_destination_foreign -> ret = verdict_committed_elsewhere
	:: else -> ret = verdict_committed_no_destination
	fi
}

inline recover_decide_unknown(destination, force, ret)
{
	if
	:: destination == recover_destination_runs -> ret = verdict_quit_source
	:: destination == recover_destination_loaded && force -> ret = verdict_run_destination
	:: else -> ret = verdict_ask
	fi
}

inline recover_decide(source, source_runs, destination, force, ret)
{
	if
	:: destination == recover_destination_none ->
		ret = verdict_not_a_destination
	:: destination != recover_destination_none && source == recover_source_committed ->
		recover_decide_committed(destination, ret)
	:: destination != recover_destination_none && source == recover_source_busy ->
		ret = (destination == recover_destination_runs -> verdict_ask : verdict_cancel_source)
	:: destination == recover_destination_runs && source == recover_source_owns ->
		ret = (source_runs -> verdict_two : verdict_ask)
	:: destination != recover_destination_none && destination != recover_destination_runs &&
		source == recover_source_owns ->
#ifdef BUG_RECOVER_RUNS_LOADED
		ret = (destination == recover_destination_loaded -> verdict_run_destination : verdict_source_keeps)
#else
		ret = verdict_source_keeps
#endif
	:: destination != recover_destination_none && source == recover_source_unknown ->
		recover_decide_unknown(destination, force, ret)
	fi
}
