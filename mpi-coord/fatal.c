/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fatal.c - the end of a rank that cannot go on; see fatal.h. Allocates nothing.
 */
#include "fatal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void wt_fatal(const char *what)
{
	char line[200];
	int length = snprintf(
		line, sizeof line, "btl/watari: %s; this rank ends itself, and the job with it\n", what);

	if (length > 0 && write(STDERR_FILENO, line, strnlen(line, sizeof line)) < 0)
		abort();
	abort();
}
