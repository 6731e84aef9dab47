/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * common_check.c - may QEMU's memory be in common with another host's? See common_memory.h. What is asked is
 * what a handover asks (handover_check.h); nothing is changed but discard-data.
 */
#include <errno.h>

#include "common_memory.h"
#include "handover_check.h"

/* Memory that QEMU would write to its stream although it is shared. */
static int check_left_out(const struct wt_handover_qemu *qemu, struct wt_error *err)
{
	for (unsigned i = 0; i < qemu->ram->count; i++) {
		const struct wt_ram_block *block = &qemu->ram->blocks[i];

		if (block->shared && !wt_handover_left_out(qemu, block->name))
			return wt_error_set(err, EPERM,
				"guest memory '%s' has no file name, and this QEMU (%s) migrates it although it is shared; start it "
				"with memory-backend-file",
				block->name, wt_qmp_version(qemu->qmp));
	}
	return 0;
}

int wt_common_memory_check(struct wt_qmp *qmp, struct wt_guest_ram *ram, const char *socket_path,
	bool is_source, struct wt_error *err)
{
	const struct wt_handover_qemu checked = { qmp, ram, socket_path };
	int r = wt_handover_keep_memory(&checked, err);

	if (!r)
		r = wt_handover_check_backends(&checked, is_source ? "old" : "new", err);
	return r || !is_source ? r : check_left_out(&checked, err);
}
