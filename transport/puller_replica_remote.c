/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_replica_remote.c - an old copy on another host. See puller.h.
 */
#include <errno.h>

#include "puller_internal.h"

int wt_puller_replica_remote(struct wt_puller *p, const char *label,
	uint8_t ret_session_id[WT_SERVER_SESSION_ID_BYTES], uint8_t ret_key[WT_DIGEST_KEY_BYTES],
	struct wt_error *err)
{
	return wt_error_set(err, ENOSYS, "replicas on other hosts are not there yet");
}
