/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_common.c - memory that source and destination have in common (common_memory.h), at the
 * destination: it says what it finds, and the source judges.
 */
#include <stdlib.h>
#include <string.h>

#include "destination_internal.h"

int wt_destination_common_open(struct wt_destination *d, struct wt_error *err)
{
	int r;

	if (!d->options->common_memory)
		return 0;
	r = wt_common_memory_check(d->relay.qmp, d->relay.ram, d->options->common.qmp_path, false, err);
	return r ? r : wt_common_memory_open(d->relay.ram, &d->common, err);
}

/* QEMU's word for it; of a later migration it would be wrong. */
static int leave_out(struct wt_destination *d, bool on, struct wt_error *err)
{
	return wt_qmp_call(d->relay.qmp, "migrate-set-capabilities",
		json_pack(
			"{s:[{s:s,s:b}]}", "capabilities", "capability", "x-ignore-shared", "state", (int)on),
		WT_RELAY_QMP_NS, NULL, err);
}

int wt_destination_common_prepare(struct wt_destination *d, struct wt_error *err)
{
	return d->common ? leave_out(d, true, err) : 0;
}

void wt_destination_common_message(struct wt_destination *d)
{
	json_t *answer = d->common ? wt_common_memory_json(d->common)
				   : json_pack("{s:s}", "error",
					     "this watari receive was started without --common-memory");
	char *text = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);

	if (text)
		wt_puller_send(d->puller, WT_RELAY_COMMON_ANSWER, text, strlen(text));
	free(text);
	json_decref(answer);
}

void wt_destination_common_end(struct wt_destination *d)
{
	struct wt_error ignored = { 0 };

	if (d->common && !d->qemu_gone && !d->quitting)
		leave_out(d, false, &ignored);
	wt_common_memory_close(d->common);
	d->common = NULL;
}
