/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * failing.c - see failing.h. Threads of the product may call in.
 */
#include "failing.h"

#include <stdatomic.h>

#define LONG_CALLS 8u /* more could be waited out for ever */

static unsigned failing_function;
static int failing_choice;
static atomic_int calls_before, calls_left;

void failing_set(unsigned which, unsigned how)
{
	failing_function = which;
	failing_choice = (int)(how >> FAILING_CODE_BITS);
	atomic_store(&calls_before, (int)(how & FAILING_NTH));
	atomic_store(&calls_left, how & FAILING_LONG ? LONG_CALLS : 1);
}

bool failing_now(unsigned which)
{
	if (!which || which != failing_function)
		return false;
	return atomic_fetch_sub(&calls_before, 1) <= 0 && atomic_fetch_sub(&calls_left, 1) > 0;
}

int failing_code(const int *codes, unsigned count)
{
	return codes[(unsigned)failing_choice % count];
}
