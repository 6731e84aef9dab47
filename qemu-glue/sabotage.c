/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sabotage.c - errors made on purpose; see sabotage.h. Compiled into test builds only.
 */
#include "sabotage.h"

#ifdef WATARI_SABOTAGE

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define FIRST 1000u
#define EVERY 97u

bool wt_sabotage_page(uint64_t *page, uint64_t seen)
{
	const char *how = getenv("WATARI_SABOTAGE");
	static uint8_t known[1u << 20];
	bool again = known[*page % sizeof known];

	known[*page % sizeof known] = 1;

	if (!how || seen < FIRST)
		return false;
	if (strcmp(how, "stale") == 0)
		return again && *page % 17 == 0;
	if (*page % EVERY)
		return false;
	if (strcmp(how, "drop") == 0)
		return true;
	if (strcmp(how, "swap") == 0)
		*page ^= 1;
	return false;
}

static void raise_at(const char *variable, const char *state, int number)
{
	const char *wanted = getenv(variable);

	if (wanted && strcmp(wanted, state) == 0)
		raise(number);
}

void wt_sabotage_before(const char *state)
{
	raise_at("WATARI_DIE_BEFORE", state, SIGKILL);
	raise_at("WATARI_STOP_BEFORE", state, SIGSTOP);
}

void wt_sabotage_after(const char *state)
{
	raise_at("WATARI_DIE_AFTER", state, SIGKILL);
}

#endif
