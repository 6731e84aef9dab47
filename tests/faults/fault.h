/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fault.h - which call of a program fails, and how: what the wrappers of libfault.so ask. See fault.c.
 */
#ifndef WATARI_TESTS_FAULT_H
#define WATARI_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

enum fault_how {
	FAULT_ERROR, /* nothing is done; the error is told */
	FAULT_SHORT, /* one byte is read or written */
	FAULT_END,   /* nothing is read, as at the end of a file */
};

struct fault {
	enum fault_how how;
	int code; /* an errno, or what the function itself answers */
};

/* Notes that the call was reached. True: it fails, in the way told. caller is a return address. */
bool fault_at(const char *call, const void *caller, struct fault *ret_fault);

enum fault_qmp { FAULT_QMP_NONE, FAULT_QMP_REFUSED, FAULT_QMP_SILENT, FAULT_QMP_CLOSED };

/* The same for bytes that go out: a QMP command among them. The name that it begins is at *ret_name then. */
enum fault_qmp fault_in_qmp(const char *bytes, size_t length, const void *caller, const char **ret_name);

/* An object was loaded: it may be the one that is looked at. */
void fault_loaded(void);

#endif
