#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""mutants.py - proves that the simulator finds what it is there to find.

  mutants.py BUILD            makes every mutant of the table and runs the simulator over each
  mutants.py BUILD NAME...    these only

A mutant is one wrong piece of text in one file of the product. The file is compiled anew, with the command by which
the build compiled it, and linked into a simulator of its own, in front of the library whose member it replaces;
nothing in the build or the sources is changed. Text that is not found exactly once is a failure: whoever changes
the code there adapts the mutant. Each must be found within its number of seeds.
"""

import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = 2000
PATIENCE_S = 300  # a mutant that hangs is found, too

# name, file, (old, new)..., and seeds where more than SEEDS are needed
MUTANTS = [
    ("second pull of a page in flight", "transport/plan_ops.c",
     [("\t\twt_pageset_add(&plan->maps[extent->block].busy, extent->page, extent->pages);\n\t\twt_plan_entry_start",
       "\t\twt_plan_entry_start")]),
    ("what waits to be announced again is not waited for", "transport/server_defer.c",
     [("\treturn s->late ? s->late->pages : 0;", "\treturn s->late ? 0 : 0;")]),
    ("zero fill under a pull", "transport/plan.c",
     [("\textent->pages = (uint32_t)(busy - extent->page);\n",
       "\tif (all.content == WT_CONTENT_ZERO)\n\t\tbusy = extent->page + extent->pages;\n"
       "\textent->pages = (uint32_t)(busy - extent->page);\n")]),
    ("pulled again before the path is silent", "transport/mover.c",
     [("\tlane_close(m, lane);\n\tfor (unsigned id",
       "\twt_loop_fd_clear(m->loop, lane->ops->fd(lane->path));\n\t*lane = m->lanes[--m->lane_count];\n"
       "\tfor (unsigned id")]),
    ("late acknowledgement clears a newer announcement", "transport/announce.c",
     [("\t\tif (entry->landed)\n\t\t\treturn -EPROTO;\n\t\tentry->landed = true;\n",
       "\t\tfor (uint64_t later = seq; later < log->next_seq; later++)\n"
       "\t\t\tif (slot(log, later)->what.extent.block == entry->what.extent.block &&\n"
       "\t\t\t\tslot(log, later)->what.extent.page == entry->what.extent.page)\n"
       "\t\t\t\tslot(log, later)->landed = true;\n")]),
    ("acknowledged before it has landed", "transport/plan.c",
     [("void wt_plan_entry_start(", "static void ack(struct wt_plan *plan, uint64_t seq);\nvoid wt_plan_entry_start("),
      ("\tqueue_remove(plan, seq);\n\tif (parked)\n", "\tqueue_remove(plan, seq);\n\tack(plan, seq);\n\tif (parked)\n"),
      ("\tack(plan, seq);\n\twhile (plan->oldest", "\twhile (plan->oldest")]),
    ("announced again while it is pulled, and forgotten", "transport/plan.c",
     [("int wt_plan_announce(", "static void ack(struct wt_plan *plan, uint64_t seq);\nint wt_plan_announce("),
      ("\tentry->what.priority = place_of(plan, extent, what->priority);\n",
       "\tentry->what.priority = place_of(plan, extent, what->priority);\n"
       "\tif (wt_pageset_next(&plan->maps[extent->block].busy, extent->page, extent->page + extent->pages) <\n"
       "\t\textent->page + extent->pages) {\n\t\tentry->left = 0;\n\t\tack(plan, seq);\n\t\tplan->next_seq++;\n"
       "\t\treturn 0;\n\t}\n")]),
    ("a destination does not know which migration it is of", "qemu-glue/destination.c",
     [("\treturn wt_record_write(d->relay.qmp, &d->guest.record, err);", "\treturn 0;")]),
    ("newer content overtakes older", "transport/plan.c",
     [("\tentry->what.priority = place_of(plan, extent, what->priority);\n",
       "\tentry->what.priority = what->priority;\n")]),
    ("a pull that failed counts as landed", "transport/mover.c",
     [("\t\twt_plan_done(m->plan, id, completion->status, wt_loop_now_ns(m->loop));\n",
       "\t\twt_plan_done(m->plan, id, 0, wt_loop_now_ns(m->loop));\n")]),
    ("messages are not repeated after a cut", "transport/session.c",
     [("\tfor (struct retained *message = s->head; message; message = message->next)\n\t\tput_frame(s, message, now_ns);\n"
       "\tif (s->events->up)", "\tif (s->events->up)")]),
    ("messages are forgotten before they arrived", "transport/session.c",
     [("\tforget(s, peer_received);\n", "\tforget(s, s->sent);\n")]),
    ("device state before RAM is complete", "qemu-glue/feed.c",
     [("\treturn feed->gated && !feed->open && feed->gate < limit ? feed->gate : limit;\n", "\treturn limit;\n")]),
    ("RAM counts as complete before it has landed", "qemu-glue/destination.c",
     [(" && d->feed.gated && wt_puller_all_landed(d->puller))\n", " && d->feed.gated)\n")]),
    ("what a destination that was given up still lands counts", "qemu-glue/destination.c",
     [("\tif (d->machine.state != WT_DESTINATION_RETIRED && d->feed.gated", "\tif (d->feed.gated")], 6000),
    ("a destination that has given up takes a source in", "qemu-glue/destination.c",
     [("\tif (wt_destination_switch_final(&d->machine))\n\t\treturn wt_error_set(", "\tif (!d)\n\t\treturn wt_error_set("),
      ("\tif (wt_destination_switch_final(&d->machine))\n\t\treturn;\n", "")]),
    ("commit before loaded", "qemu-glue/destination_switch.c",
     [("\t\t\t\t : go(m, WT_DESTINATION_LOADING, WT_DESTINATION_DO_FEED_TAIL);\n",
       "\t\t\t\t : go(m, WT_DESTINATION_READY, WT_DESTINATION_DO_FEED_TAIL | WT_DESTINATION_DO_SEND_READY);\n")]),
    ("run before COMMIT", "qemu-glue/destination_switch.c",
     [("\t\treturn go(m, WT_DESTINATION_READY, WT_DESTINATION_DO_SEND_READY);\n",
       "\t\treturn go(m, WT_DESTINATION_READY, WT_DESTINATION_DO_SEND_READY | WT_DESTINATION_DO_RUN);\n")]),
    ("a destination that is ready gives up with its peer", "qemu-glue/destination_switch.c",
     [("\t\treturn go(m, WT_DESTINATION_ORPHAN, WT_DESTINATION_DO_FINISH);\n",
       "\t\treturn go(m, WT_DESTINATION_FAILED, WT_DESTINATION_DO_QUIT_QEMU | WT_DESTINATION_DO_FINISH);\n")]),
    ("a destination that failed keeps its QEMU", "qemu-glue/destination_switch.c",
     [("\t\tWT_DESTINATION_DO_SEND_FAILED | WT_DESTINATION_DO_QUIT_QEMU | WT_DESTINATION_DO_FINISH);\n",
       "\t\tWT_DESTINATION_DO_SEND_FAILED | WT_DESTINATION_DO_FINISH);\n")]),
    ("COMMIT without QEMU's record", "qemu-glue/source_switch.c",
     [("\t\treturn go(m, WT_SOURCE_COMMITTING, WT_SOURCE_DO_SEND_SHUT);\n",
       "\t\treturn go(m, WT_SOURCE_COMMITTING, WT_SOURCE_DO_SEND_SHUT | WT_SOURCE_DO_SEND_COMMIT);\n")]),
    ("a destination that never ran is forgotten", "qemu-glue/source_switch.c",
     [("\t\tif (m->unrun)\n\t\t\treturn aborted(m);\n\t\treturn go(m, WT_SOURCE_DELIVERING",
       "\t\treturn go(m, WT_SOURCE_DELIVERING")]),
    ("the source ends its QEMU before the destination runs", "qemu-glue/source_switch.c",
     [("WT_SOURCE_DO_SEND_COMMIT | WT_SOURCE_DO_DELIVERY_DEADLINE);\n",
       "WT_SOURCE_DO_SEND_COMMIT | WT_SOURCE_DO_DELIVERY_DEADLINE | WT_SOURCE_DO_QUIT_QEMU);\n")]),
    ("a guest that the operator pauses is run", "qemu-glue/source.c",
     [("\t\tsource->facts.guest_running = false;\n", "\t\tsource->asking = source->asking;\n")]),
    ("RAM's end overtakes its last pages", "qemu-glue/outgoing.c",
     [("\tif (flush_run(o, err))\n\t\treturn false;\n\to->taker->flush(o->taker_arg);\n",
       "\tif (flush_run(o, err) && err->code)\n\t\treturn false;\n\to->run.extent.pages = 0;\n"
       "\to->taker->flush(o->taker_arg);\n")]),
    ("a guest that is lost on the way stays stopped", "qemu-glue/source_switch.c",
     [("\treturn go(m, WT_SOURCE_ABORTING, WT_SOURCE_DO_SEND_ABORT | WT_SOURCE_DO_CANCEL);\n",
       "\treturn go(m, WT_SOURCE_ABORTING, WT_SOURCE_DO_SEND_ABORT);\n")]),
    # Changes of the destination.
    ("a base page keeps its helpers when it is announced", "transport/plan_base.c",
     [("\t\tif (plan->servers[server].added)\n\t\t\twt_pageset_remove(&maps->has[server], extent->page, extent->pages);\n",
       "\t\t(void)server;\n")]),
    ("a base page stays wanted when it is announced", "transport/plan_base.c",
     [("\tplan->wanted -= wt_pageset_remove(&maps->wanted, extent->page, extent->pages);\n"
       "\tfor (unsigned server = 1;", "\tfor (unsigned server = 1;")]),
    ("a bounce buffer is copied whatever is wanted", "transport/plan_ops.c",
     [("\tfor (uint64_t page = extent->page; page < stop; page = run_end) {\n\t\tpage = wt_pageset_run(",
       "\tplan->wanted -= wt_pageset_remove(wanted, extent->page, extent->pages);\n\tret_copies[count++] = *extent;\n"
       "\tfor (uint64_t page = stop; page < stop; page = run_end) {\n\t\tpage = wt_pageset_run(")]),
    ("announced content is pulled into a base page under way", "transport/plan_ops.c",
     [("\tplan->wanted -= wt_pageset_remove(&maps->wanted, extent->page, extent->pages);\n"
       "\twt_pageset_add(&maps->busy, extent->page, extent->pages);\n",
       "\tplan->wanted -= wt_pageset_remove(&maps->wanted, extent->page, extent->pages);\n")]),
    ("what a base page failed to bring is not pulled again", "transport/plan_base.c",
     [("\tplan->wanted += wt_pageset_add(wanted, extent->page, extent->pages);\n", "")]),
    ("those that were left are not released", "qemu-glue/source_change.c",
     [("\t\tif (serves(source, i) || (kept && target->drained))\n\t\t\twt_server_release(",
       "\t\tif (!source)\n\t\t\twt_server_release(")]),
    ("a helper's first connection is tried once", "transport/link.c",
     [(" && link->connector && !link->awaited) {", " && link->connector) {")]),
    ("nobody is told to serve", "qemu-glue/source_change.c",
     [("\twt_server_serve(target->server, &order);\n", "")]),
    ("complete without the base", "transport/plan.c",
     [(" && !plan->wanted && !plan->base_ops;", ";")]),
    ("handed over without a drain", "qemu-glue/source_retarget.c",
     [("\t\treturn m->orphaned ? hand_over(m, m->next) : drain(m);\n",
       "\t\tif (!m->orphaned)\n\t\t\tretire(m, m->current);\n\t\treturn hand_over(m, m->next) | WT_RETARGET_DO_HOLD;\n")]),
    ("what is announced stays valid at former destinations", "transport/memory.c",
     [("\t\tif (memory->formers[i])\n\t\t\twt_bitmap_clear(", "\t\tif (!memory)\n\t\t\twt_bitmap_clear(")]),
    ("drained before the last path is silent", "transport/puller_retarget.c",
     [("\t\twt_mover_stop(p->mover);\n", ""), ("(wt_plan_drained(plan) || now_ns >= p->drain_until_ns)", "plan")]),
    ("what was pending is not announced to the new destination", "qemu-glue/source_change.c",
     [("\tint r = wt_server_hand_over(now->server, c->targets[c->machine.old].server);\n", "\tint r = 0;\n")]),
    ("what is pending is base, too", "transport/server_base.c",
     [("\t\twt_bitmap_clear(&need[run->block], run->page, run->pages);\n", "\t\t(void)run;\n"),
      ]),
    ("zeros of the base are left out", "transport/server_base.c",
     [("\tif (job->part == 0)\n", "\tif (job->part == 0)\n\t\treturn 0;\n\tif (job->part == 0)\n")]),
    ("zeros of the base are left out for one that comes back", "transport/server_base.c",
     [("\tif (job->part == 0)\n", "\tif (job->part == 0 && job->server->former >= 0)\n\t\treturn 0;\n\tif (job->part == 0)\n")]),
    ("the stream is repeated with the oldest pages", "qemu-glue/replay.c",
     [("\tmemcpy(*slot, bytes, WT_PAGE_SIZE);\n",
       "\tfor (unsigned i = 0; i < WT_PAGE_SIZE; i++)\n\t\tif ((*slot)[i])\n\t\t\treturn;\n\tmemcpy(*slot, bytes, WT_PAGE_SIZE);\n")]),
    ("the stream's head is repeated to one that comes back", "qemu-glue/source_change.c",
     [("c->machine.returned ? now->position : 0, &err", "0, &err")]),
    ("a destination that is left ends its QEMU", "qemu-glue/destination_switch.c",
     [("\t\t\treturn go(m, WT_DESTINATION_RETIRED, 0);\n",
       "\t\t\treturn go(m, WT_DESTINATION_RETIRED, WT_DESTINATION_DO_QUIT_QEMU);\n")]),
    ("QEMU is read whatever the new destination lacks", "qemu-glue/source_gate.c",
     [("\twt_outgoing_allow(source->outgoing, may);\n",
       "\twt_outgoing_allow(source->outgoing, UINT64_MAX);\n")]),
    ("QEMU stays held after a change", "qemu-glue/source_change.c",
     [("\t\twt_outgoing_hold(source->outgoing, false);\n", "\t\t(void)source;\n")]),
    ("a drained destination turns data connections away", "transport/puller_retarget.c",
     [("\t\treturn wt_puller_admit_data(p, false);\n", "\t\treturn 0;\n")]),
    ("a destination that begins anew keeps its helpers", "transport/puller_retarget.c",
     [("\tforget_helpers(p);\n", "")]),
    ("a helper that does not come is waited for", "transport/puller_retarget.c",
     [("\tlose(&p->servers[helper.server], &why);\n", "\t(void)lose;\n"),
      ("\t\t\twt_puller_helper_lost(s, &err);\n\t\telse\n\t\t\twt_mover_server_remove(p->mover, number);\n",
       "\t\t\tcontinue;\n")], 6000),
    ("the order to go on is not given to a destination that is not left", "qemu-glue/source_change.c",
     [("\twt_server_undrain(wt_source_server(source));\n", "")]),
    ("a lost destination leaves no way back", "qemu-glue/source_retarget.c",
     [("\tback = way_back(m);\n", "\tback = -1;\n")]),
    ("bytes of a replica are not digested again", "transport/puller_replica.c",
     [("\t\tif (!memcmp(slot->ours + i", "\t\tif (!r->source.read || !memcmp(slot->ours + i")]),
    ("bytes of a replica are digested before all have come", "transport/puller_replica_remote.c",
     [("\treturn !slot->reads && !left;\n", "\treturn !left;\n")]),
    ("a puller that has drained reads on from its replica", "transport/puller_retarget.c",
     [("\t\twt_puller_replica_pause(p);\n", "")], 12000),
    ("what a replica owed when it was given up is waited for", "transport/puller_replica_remote.c",
     [("\t\tslot_owes_nothing(r, &r->slots[i]);\n", "\t\t(void)slot_owes_nothing;\n")]),
]


def compile_command(build, source):
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if entry["file"] == str(source):
            return shlex.split(entry["command"])
    sys.exit(f"mutants: {source} is not compiled in {build}")


def link_command(build):
    """Of the simulator, as ninja has it; it may be wrapped into a shell's `: && ... && :`."""
    lines = subprocess.run(["ninja", "-C", build, "-t", "commands", "sim"], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    words = shlex.split(lines[-1])
    return [word for word in words if word not in (":", "&&")]


def option_replace(command, option, value):
    command = list(command)
    command[command.index(option) + 1] = value
    return command


def make(build, folder, path, changes):
    """Answers the simulator with this mutant in it, or says why there is none."""
    source = ROOT / path
    text = source.read_text()
    for old, new in changes:
        if text.count(old) != 1:
            return None, f"the text is {text.count(old)} times in {path}, not once: adapt the mutant to the code"
        text = text.replace(old, new)
    mutated, product, simulator = folder / source.name, folder / "mutant.o", folder / "sim"
    mutated.write_text(text)
    command = [str(mutated) if word == str(source) else word
               for word in option_replace(compile_command(build, source), "-o", str(product))]
    command += [f"-I{source.parent}", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-but-set-variable"]
    done = subprocess.run(command, cwd=build, capture_output=True, text=True)
    if done.returncode:
        return None, f"it does not compile: {done.stderr}"
    command = option_replace(link_command(build), "-o", str(simulator))
    command.insert(command.index("-o"), str(product))
    done = subprocess.run(command, cwd=build, capture_output=True, text=True)
    return (simulator, None) if not done.returncode else (None, f"it does not link: {done.stderr}")


def judge(build, mutant):
    """One line on the mutant, and whether it was found."""
    name, path, changes = mutant[:3]
    seeds = mutant[3] if len(mutant) > 3 else SEEDS
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        simulator, why = make(build, pathlib.Path(place), path, changes)
        if not simulator:
            return False, f"{name}: {why}"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WATARI_")}
        environment["TMPDIR"] = place  # what a mutant leaves behind goes with it
        try:
            done = subprocess.run([simulator, "1", str(seeds)], capture_output=True, text=True, errors="replace",
                                  timeout=PATIENCE_S, env=environment)
        except subprocess.TimeoutExpired:
            return True, f"found: {name}: it hangs"
    took = time.monotonic() - began
    if not done.returncode:
        return False, f"NOT FOUND in {seeds} seeds: {name} ({took:.0f} s)"
    said = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
    return True, f"found: {name}: {' / '.join(said[-2:])}"


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    chosen = [m for m in MUTANTS if not sys.argv[2:] or m[0] in sys.argv[2:]]
    if not chosen:
        sys.exit("mutants: there is none of that name")
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda m: judge(build, m), chosen))
    for _, line in results:
        print(line)
    missed = sum(not found for found, _ in results)
    print(f"{len(results) - missed} of {len(results)} mutants found")
    return 1 if missed else 0


sys.exit(main())
