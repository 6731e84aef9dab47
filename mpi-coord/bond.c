/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bond.c - the connection to one other rank; see bond.h. Pure.
 *
 *   1. A bond has at most one path: KEEP comes only without one, CLOSE and LOST take it away.
 *   2. DIAL comes only in IDLE, or to repeat a dial that was refused; until DIALLED, DIAL_REFUSED or
 *      DIAL_FAILED a dial is under way even if a request was admitted meanwhile.
 *   3. Between MARK and RESUME, ABORT or DETACH nothing is sent.
 *   4. A path that ends is BROKEN unless nothing can have been lost with it: after a goodbye, after both
 *      markers, before a resume, or because nothing had passed.
 *   5. Of two dials that cross, the lower end refuses the other's request, and the higher one admits it: one
 *      path remains.
 */
#include "bond.h"

static unsigned path_came(struct wt_bond *bond)
{
	unsigned actions = WT_BOND_KEEP;

	bond->state = WT_BOND_UP;
	bond->gone = false;
	if (bond->mode == WT_BOND_QUIESCED && !bond->marked) {
		bond->marked = true;
		actions |= WT_BOND_MARK;
	}
	return actions;
}

static unsigned request(struct wt_bond *bond)
{
	if (bond->state == WT_BOND_UP || bond->mode == WT_BOND_AWAY)
		return WT_BOND_REFUSE;
	if (bond->state == WT_BOND_DIALLING && bond->lower)
		return WT_BOND_REFUSE;
	return path_came(bond);
}

static unsigned dial_ended(struct wt_bond *bond, enum wt_bond_event event)
{
	if (bond->state != WT_BOND_DIALLING) /* a request was admitted meanwhile, or the bond was detached */
		return event == WT_BOND_DIALLED ? WT_BOND_REFUSE : WT_BOND_NOTHING;
	if (event == WT_BOND_DIALLED)
		return path_came(bond);
	if (event == WT_BOND_DIAL_REFUSED && (bond->mode == WT_BOND_RUNNING || bond->mode == WT_BOND_JOINING))
		return WT_BOND_DIAL;
	bond->state = WT_BOND_IDLE;
	return event == WT_BOND_DIAL_FAILED && bond->mode == WT_BOND_RUNNING ? WT_BOND_BROKEN
									     : WT_BOND_NOTHING;
}

static unsigned begin_dial(struct wt_bond *bond)
{
	if (bond->state != WT_BOND_IDLE)
		return WT_BOND_NOTHING;
	bond->state = WT_BOND_DIALLING;
	return WT_BOND_DIAL;
}

/* Who was joined before the detach is dialled by the lower end. */
static unsigned rejoin(struct wt_bond *bond)
{
	return bond->mode == WT_BOND_JOINING && bond->had_path && bond->lower ? begin_dial(bond)
									      : WT_BOND_NOTHING;
}

static bool markers_passed(const struct wt_bond *bond)
{
	return bond->mode == WT_BOND_QUIESCED && bond->marked && bond->marker_epoch == bond->epoch;
}

/* The other end may detach a little earlier than we, and again before the resume: then nothing is lost. */
static unsigned lost(struct wt_bond *bond)
{
	bool empty = markers_passed(bond) || bond->mode == WT_BOND_JOINING;

	if (bond->state != WT_BOND_UP)
		return WT_BOND_NOTHING;
	bond->state = WT_BOND_IDLE;
	bond->had_path |= empty && !bond->gone;
	return WT_BOND_CLOSE | (bond->gone || empty ? WT_BOND_NOTHING : WT_BOND_BROKEN);
}

static unsigned unmade(struct wt_bond *bond)
{
	if (bond->state != WT_BOND_UP)
		return WT_BOND_NOTHING;
	bond->state = WT_BOND_IDLE;
	bond->marked = false;
	return WT_BOND_CLOSE | rejoin(bond);
}

static unsigned quiesce(struct wt_bond *bond)
{
	bond->mode = WT_BOND_QUIESCED;
	bond->marked = bond->state == WT_BOND_UP;
	return bond->marked ? WT_BOND_MARK : WT_BOND_NOTHING;
}

static unsigned detach(struct wt_bond *bond)
{
	unsigned actions = bond->state == WT_BOND_UP ? WT_BOND_CLOSE : WT_BOND_NOTHING;

	/* A second detach, before a resume, must not forget what was there before the first. */
	bond->had_path |= bond->state == WT_BOND_UP && !bond->gone;
	bond->state = WT_BOND_IDLE;
	bond->mode = WT_BOND_AWAY;
	return actions;
}

static unsigned run(struct wt_bond *bond)
{
	bond->mode = WT_BOND_RUNNING;
	bond->marked = false;
	bond->had_path = false;
	return WT_BOND_NOTHING;
}

unsigned wt_bond_step(struct wt_bond *bond, enum wt_bond_event event)
{
	switch (event) {
	case WT_BOND_WANT:
		return bond->mode == WT_BOND_RUNNING ? begin_dial(bond) : WT_BOND_NOTHING;
	case WT_BOND_DIALLED:
	case WT_BOND_DIAL_REFUSED:
	case WT_BOND_DIAL_FAILED:
		return dial_ended(bond, event);
	case WT_BOND_REQUEST:
		return request(bond);
	case WT_BOND_LOST:
		return lost(bond);
	case WT_BOND_UNMADE:
		return unmade(bond);
	case WT_BOND_GOODBYE:
		bond->gone = true;
		return WT_BOND_NOTHING;
	case WT_BOND_QUIESCE:
		return quiesce(bond);
	case WT_BOND_DETACH:
		return detach(bond);
	case WT_BOND_JOIN:
		bond->mode = WT_BOND_JOINING;
		return rejoin(bond);
	case WT_BOND_ABORT:
	case WT_BOND_RESUME:
		return run(bond);
	}
	return WT_BOND_NOTHING;
}

bool wt_bond_sends(const struct wt_bond *bond)
{
	return bond->state == WT_BOND_UP && bond->mode == WT_BOND_RUNNING;
}

bool wt_bond_drained(const struct wt_bond *bond, bool path_idle)
{
	if (bond->state != WT_BOND_UP)
		return bond->state == WT_BOND_IDLE;
	return bond->gone || (markers_passed(bond) && path_idle);
}

bool wt_bond_joined(const struct wt_bond *bond)
{
	return !bond->had_path || bond->state == WT_BOND_UP || bond->gone;
}
