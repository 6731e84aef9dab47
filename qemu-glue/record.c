/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * record.c - see record.h.
 */
#include "record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>

#define RECORD_ID "watari-migration"
#define QMP_NS 5000000000ull
#define TEXT_BYTES (2 * WT_RECORD_BYTES + 1)

int wt_record_new(struct wt_record *ret_record, struct wt_error *err)
{
	if (getrandom(ret_record->bytes, sizeof ret_record->bytes, 0) != sizeof ret_record->bytes)
		return wt_error_set(err, EIO, "no random number for this migration");
	return 0;
}

int wt_record_write(struct wt_qmp *qmp, const struct wt_record *record, struct wt_error *err)
{
	struct wt_error none = { 0 };
	char text[TEXT_BYTES];
	int r;

	for (size_t i = 0; i < WT_RECORD_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", record->bytes[i]);
	r = wt_qmp_call(qmp, "object-del", json_pack("{s:s}", "id", RECORD_ID), QMP_NS, NULL, &none);
	if (r && none.code != EREMOTEIO) { /* which says that there is none */
		*err = none;
		return r;
	}
	return wt_qmp_call(qmp, "object-add",
		json_pack("{s:s,s:s,s:s}", "qom-type", "secret", "id", RECORD_ID, "data", text), QMP_NS, NULL,
		err);
}

int wt_record_read(struct wt_qmp *qmp, struct wt_record *ret_record, struct wt_error *err)
{
	struct wt_error none = { 0 };
	json_t *result = NULL;
	size_t length;
	int r;

	*ret_record = (struct wt_record){ 0 };
	r = wt_qmp_call(qmp, "qom-get",
		json_pack("{s:s,s:s}", "path", "/objects/" RECORD_ID, "property", "data"), QMP_NS, &result,
		&none);
	if (r) {
		if (none.code == EREMOTEIO || none.code == ENODEV)
			return 0;
		*err = none;
		return r;
	}
	if (json_is_string(result) && !OPENSSL_hexstr2buf_ex(ret_record->bytes, sizeof ret_record->bytes,
					      &length, json_string_value(result), '\0'))
		*ret_record = (struct wt_record){ 0 };
	json_decref(result);
	return 0;
}

bool wt_record_equal(const struct wt_record *a, const struct wt_record *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
