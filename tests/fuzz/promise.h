/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * promise.h - what a fuzzer's harness checks: an input that breaks a promise is one that fails.
 */
#ifndef WT_TEST_PROMISE_H
#define WT_TEST_PROMISE_H

#include <stdio.h>
#include <stdlib.h>

#define PROMISE(truth) ((truth) ? (void)0 : (fprintf(stderr, "broken: %s\n", #truth), abort()))

#endif
