/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * credentials.h - by what an end of a control connection shows who it is: a pre-shared key, or certificates.
 */
#ifndef WATARI_TRANSPORT_CREDENTIALS_H
#define WATARI_TRANSPORT_CREDENTIALS_H

#include <watari/channel.h>

#include "psk.h"

struct wt_x509;

/* Constant once it was loaded; any thread may read it. */
struct wt_credentials {
	struct wt_x509 *x509; /* certificates; NULL: the key */
	struct wt_psk psk;
};

#endif
