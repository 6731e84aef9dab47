/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_fabrics.h - the tables of the fabrics in this library; path.c chooses among them. Knows no fabric's
 * headers, so that whoever includes it needs none either.
 */
#ifndef WATARI_PATH_FABRICS_H
#define WATARI_PATH_FABRICS_H

#include <watari/path.h>

extern const struct wt_fabric_ops wt_path_tcp_ops;
extern const struct wt_fabric_ops wt_path_tls_ops;   /* the same, encrypted */
extern const struct wt_fabric_ops wt_path_verbs_ops; /* only in builds with WATARI_HAVE_VERBS */

#endif
