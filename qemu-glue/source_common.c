/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_common.c - memory that source and destination have in common (common_memory.h), at the source.
 *
 *   1. The machine of source_switch.h hears ACCEPTED only when the destination has shown that it has the same
 *      memory: until then an abort needs nothing of QEMU, and the guest runs on.
 *   2. All of QEMU's shared memory is in common, so QEMU may leave out all that it does; a page of it that
 *      comes in the stream nevertheless is trouble (outgoing.c), never passed on: it is older than the
 * memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source_internal.h"

int wt_source_common_open(struct wt_source *source, struct wt_error *err)
{
	int r;

	if (!source->options->common_memory)
		return 0;
	r = wt_common_memory_check(
		source->relay.qmp, source->relay.ram, source->options->common.qmp_path, true, err);
	if (!r)
		r = wt_common_memory_open(source->relay.ram, &source->common, err);
	return r ? r : wt_common_memory_mark(source->common, err);
}

bool wt_source_common_ask(struct wt_source *source)
{
	if (!source->common)
		return false;
	wt_server_send(wt_source_server(source), WT_RELAY_COMMON, NULL, 0);
	return true;
}

int wt_source_common_answer(
	struct wt_source *source, const uint8_t *payload, size_t length, struct wt_error *err)
{
	json_t *theirs = json_loadb((const char *)payload, length, 0, NULL);
	struct wt_error why = { 0 };

	if (!source->common || source->machine.state != WT_SOURCE_CONNECTING || !theirs) {
		json_decref(theirs);
		return wt_error_set(err, EPROTO, "the destination's word on common memory makes no sense");
	}
	if (wt_common_memory_compare(source->common, theirs, &why))
		wt_source_trouble(source, &why);
	else
		wt_source_accepted(source);
	json_decref(theirs);
	return 0;
}
