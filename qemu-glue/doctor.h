/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor.h - looks at a host: what watari can use here, and what is missing.
 */
#ifndef WATARI_QEMU_DOCTOR_H
#define WATARI_QEMU_DOCTOR_H

#include <stdbool.h>

#define WT_FINDINGS_MAX 24

struct wt_finding {
	const char *what;
	bool good;
	char text[256];
	const char *advice; /* what to do when it is not good; NULL: nothing */
};

/* root: before /sys and /dev, "" for this host's (tests have others). Answers how many findings there are. */
unsigned wt_doctor_look(const char *root, struct wt_finding ret_findings[WT_FINDINGS_MAX]);

#endif
