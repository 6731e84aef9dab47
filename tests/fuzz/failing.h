/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * failing.h - calls that fail because the input says so: memory that is out, descriptors that are, a kernel
 * that refuses. So a fuzzer reaches what is done about it, from whatever state it has come to.
 *
 * A fuzzer numbers its functions from 1 on, has a FAILING for each that is not its own, and is linked with
 * watari_failing(). The harness itself calls __real_NAME, so that only the product's calls are counted.
 */
#ifndef WT_TEST_FAILING_H
#define WT_TEST_FAILING_H

#include <errno.h>
#include <stdbool.h>

#define FAILING_NTH 31      /* of `how`: so many calls of it succeed before */
#define FAILING_LONG 32     /* several of them fail */
#define FAILING_CODE_BITS 6 /* and which of its codes it fails with */

/* which 0: nothing fails. */
void failing_set(unsigned which, unsigned how);
/* Whether this call of it fails. */
bool failing_now(unsigned which);
int failing_code(const int *codes, unsigned count);

/* FAILING(NUMBER, TYPE, NAME, (PARAMETERS), (ARGUMENTS), ANSWER, ERRNO...) */
#define FAILING(which, type, name, parameters, arguments, answer, ...)       \
	type __real_##name parameters;                                       \
	type __wrap_##name parameters;                                       \
	type __wrap_##name parameters                                        \
	{                                                                    \
		static const int codes[] = { __VA_ARGS__ };                  \
                                                                             \
		if (!failing_now(which))                                     \
			return __real_##name arguments;                      \
		errno = failing_code(codes, sizeof codes / sizeof codes[0]); \
		return answer;                                               \
	}

#endif
