/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * credentials.c - loads and frees credentials. See credentials.h and channel.h.
 */
#include "credentials.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel_x509.h"

int wt_credentials_psk(
	const char *file, const char *identity, struct wt_credentials **ret_credentials, struct wt_error *err)
{
	struct wt_credentials *credentials = calloc(1, sizeof *credentials);
	int result;

	if (!credentials)
		return wt_error_set(err, ENOMEM, "out of memory for a key");
	result = wt_psk_load(file, identity, &credentials->psk, err);
	if (result)
		wt_credentials_free(credentials);
	else
		*ret_credentials = credentials;
	return result;
}

int wt_credentials_x509(const char *directory, const char *const *allowed, unsigned allowed_count,
	struct wt_credentials **ret_credentials, struct wt_error *err)
{
	struct wt_credentials *credentials = calloc(1, sizeof *credentials);
	int result;

	if (!credentials)
		return wt_error_set(err, ENOMEM, "out of memory for certificates");
	result = wt_x509_load(directory, allowed, allowed_count, &credentials->x509, err);
	if (result)
		wt_credentials_free(credentials);
	else
		*ret_credentials = credentials;
	return result;
}

void wt_credentials_free(struct wt_credentials *credentials)
{
	if (!credentials)
		return;
	wt_x509_free(credentials->x509);
	explicit_bzero(credentials, sizeof *credentials);
	free(credentials);
}
