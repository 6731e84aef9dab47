/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor_internal.h - what the files of the doctor share: how small files are read and findings written.
 */
#ifndef WATARI_QEMU_DOCTOR_INTERNAL_H
#define WATARI_QEMU_DOCTOR_INTERNAL_H

#include "doctor.h"

typedef void wt_doctor_fn(struct wt_finding *finding, const char *root, const char *name);

/* Adds to a finding's text, as far as there is room. */
void wt_doctor_add(struct wt_finding *finding, const char *between, const char *text);
/* The first line of a small file, without its newline; "" where there is none. format takes three strings. */
const char *wt_doctor_line(
	char line[128], const char *format, const char *root, const char *a, const char *b);
/* Calls fn for each entry of a directory, in order; answers how many there are. */
unsigned wt_doctor_each(
	const char *root, const char *directory, wt_doctor_fn *fn, struct wt_finding *finding);

/* doctor_tuning.c: what makes RDMA slow, and is not missing. */
unsigned wt_doctor_tuning(const char *root, struct wt_finding *ret_findings);

#endif
