/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path.c - which fabrics this build has.
 *
 * The only place that knows whether verbs were compiled in. The simulated fabric belongs to the tests, which
 * bring their own table; wt_fabric_ops answers NULL for it. No state, no threads: callable from anywhere.
 */
#include <watari/path.h>

#include "path_fabrics.h"

#include <stddef.h>

const struct wt_fabric_ops *wt_fabric_ops(enum wt_fabric fabric)
{
	switch (fabric) {
	case WT_FABRIC_TCP:
		return &wt_path_tcp_ops;
	case WT_FABRIC_TLS:
		return &wt_path_tls_ops;
	case WT_FABRIC_VERBS:
#ifdef WATARI_HAVE_VERBS
		return &wt_path_verbs_ops;
#else
		return NULL;
#endif
	case WT_FABRIC_SIM:
	case WT_FABRIC_INVALID:
	case WT_FABRIC_COUNT:
		break;
	}
	return NULL;
}

const char *wt_fabric_name(enum wt_fabric fabric)
{
	switch (fabric) {
	case WT_FABRIC_TCP:
		return "tcp";
	case WT_FABRIC_TLS:
		return "tls";
	case WT_FABRIC_VERBS:
		return "verbs";
	case WT_FABRIC_SIM:
		return "sim";
	case WT_FABRIC_INVALID:
	case WT_FABRIC_COUNT:
		break;
	}
	return "invalid";
}
