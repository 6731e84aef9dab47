/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * machine_type.c - asks a QEMU over QMP. See machine_type.h. Keeps nothing.
 */
#include "machine_type.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define QMP_NS 10000000000ull
#define SUFFIX "-machine"

int wt_machine_type(struct wt_qmp *qmp, char *ret_name, size_t size, struct wt_error *err)
{
	json_t *answer = NULL;
	const char *type;
	size_t length;
	int r = wt_qmp_call(qmp, "qom-get", json_pack("{s:s,s:s}", "path", "/machine", "property", "type"),
		QMP_NS, &answer, err);

	if (r)
		return r;
	type = json_string_value(answer);
	length = type ? strlen(type) : 0;
	if (length > strlen(SUFFIX) && !strcmp(type + length - strlen(SUFFIX), SUFFIX))
		length -= strlen(SUFFIX);
	if (!length || length >= size)
		r = wt_error_set(err, EPROTO, "QEMU does not say which machine type it is");
	else
		snprintf(ret_name, size, "%.*s", (int)length, type);
	json_decref(answer);
	return r;
}
