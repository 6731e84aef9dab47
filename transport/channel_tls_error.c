/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_tls_error.c - why TLS failed, as a sentence that says what to do.
 *
 * Reads OpenSSL's queue of errors, the first of which is the cause, and what channel_tls.c noted.
 */
#include "channel_tls_internal.h"

#include <errno.h>

#include <openssl/err.h>

/* What the peer's alert says of our key. */
static int key_alert(const struct wt_tls *tls, int alert, struct wt_error *err)
{
	const char *text = SSL_alert_desc_string_long(alert);

	switch (alert) {
	case SSL_AD_HANDSHAKE_FAILURE:
	case SSL_AD_UNKNOWN_PSK_IDENTITY:
		return wt_error_set(err, EKEYREJECTED,
			"%s has no key for the identity \"%s\" (TLS alert: %s); give both ends the same key "
			"file and identity",
			tls->peer, tls->credentials->psk.identity, text);
	case SSL_AD_ILLEGAL_PARAMETER:
	case SSL_AD_DECRYPT_ERROR:
	case SSL_AD_BAD_RECORD_MAC:
		return wt_error_set(err, EKEYREJECTED,
			"%s has another key for the identity \"%s\" (TLS alert: %s); give both ends the same "
			"key file",
			tls->peer, tls->credentials->psk.identity, text);
	case SSL_AD_PROTOCOL_VERSION:
		return wt_error_set(err, EPROTO, "%s does not speak TLS 1.3 (TLS alert: %s); is it watari?",
			tls->peer, text);
	default:
		return wt_error_set(
			err, EPROTO, "%s refused the TLS handshake (TLS alert: %s)", tls->peer, text);
	}
}

static int key_refused(const struct wt_tls *tls, int reason, const char *text, struct wt_error *err)
{
	if (reason == SSL_R_BINDER_DOES_NOT_VERIFY)
		return wt_error_set(err, EKEYREJECTED,
			"%s has another key for the identity \"%s\"; give both ends the same key file",
			tls->peer, tls->credentials->psk.identity);
	if (tls->identity_offered && !tls->identity_known)
		return wt_error_set(err, EKEYREJECTED,
			"%s offered a key with the identity \"%s\", ours is \"%s\"; give both ends the same key "
			"file and identity",
			tls->peer, tls->identity, tls->credentials->psk.identity);
	if (reason == SSL_R_UNSUPPORTED_PROTOCOL)
		return wt_error_set(err, EPROTO, "%s offered no TLS 1.3; is it watari?", tls->peer);
	if (!tls->identity_offered)
		return wt_error_set(err, EPROTO,
			"%s offered no pre-shared key (%s); is it watari, and started with the key?",
			tls->peer, text);
	return wt_error_set(err, EPROTO, "%s broke the TLS handshake (%s)", tls->peer, text);
}

/* What the peer's alert says of our certificate. */
static int certificate_alert(const struct wt_tls *tls, int alert, struct wt_error *err)
{
	const char *text = SSL_alert_desc_string_long(alert);

	switch (alert) {
	case SSL_AD_UNKNOWN_CA:
		return wt_error_set(err, EKEYREJECTED,
			"%s does not trust the authority of our certificate (TLS alert: %s); both ends need certificates "
			"of the same ca-cert.pem",
			tls->peer, text);
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case TLS13_AD_CERTIFICATE_REQUIRED:
	case SSL_AD_ACCESS_DENIED:
	case SSL_AD_HANDSHAKE_FAILURE:
		return wt_error_set(err, EKEYREJECTED,
			"%s did not accept our certificate (TLS alert: %s); its messages say why", tls->peer,
			text);
	case SSL_AD_PROTOCOL_VERSION:
		return wt_error_set(err, EPROTO, "%s does not speak TLS 1.3 (TLS alert: %s); is it watari?",
			tls->peer, text);
	default:
		return wt_error_set(
			err, EPROTO, "%s refused the TLS connection (TLS alert: %s)", tls->peer, text);
	}
}

/* Why the peer's certificate was not accepted, or that there is none. */
static int certificate_refused(const struct wt_tls *tls, int reason, const char *text, struct wt_error *err)
{
	long verdict = SSL_get_verify_result(tls->ssl);

	if (reason == SSL_R_UNSUPPORTED_PROTOCOL)
		return wt_error_set(err, EPROTO, "%s offered no TLS 1.3; is it watari?", tls->peer);
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return wt_error_set(
			err, EKEYREJECTED, "%s has shown no certificate; give it --tls-creds", tls->peer);
	if (reason != SSL_R_CERTIFICATE_VERIFY_FAILED)
		return wt_error_set(err, EPROTO,
			"%s broke the TLS handshake (%s); is it watari, and started with certificates?",
			tls->peer, text);
	switch (verdict) {
	case X509_V_ERR_APPLICATION_VERIFICATION:
		return wt_error_set(err, EKEYREJECTED,
			"%s is \"%s\", who is not allowed here; see --tls-allow", tls->peer, tls->subject);
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return wt_error_set(err, EKEYREJECTED,
			"%s has a certificate (\"%s\") for other hosts than this one; give a name that it has, or say "
			"with --tls-allow who is expected",
			tls->peer, tls->subject);
	default:
		return wt_error_set(err, EKEYREJECTED,
			"%s has a certificate (\"%s\") that is not accepted: %s", tls->peer, tls->subject,
			X509_verify_cert_error_string(verdict));
	}
}

static int key_error(const struct wt_tls *tls, int reason, const char *text, struct wt_error *err)
{
	if (tls->server)
		return key_refused(tls, reason, text, err);
	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED || reason == SSL_R_BAD_PSK)
		return wt_error_set(err, EKEYREJECTED,
			"%s answered with a certificate, not with our pre-shared key; is it watari?",
			tls->peer);
	return wt_error_set(err, EPROTO, "%s broke the TLS handshake (%s); is it watari?", tls->peer, text);
}

int wt_tls_error(struct wt_tls *tls, struct wt_error *err)
{
	unsigned long code = ERR_peek_error();
	const char *text = ERR_reason_error_string(code);
	bool library = ERR_GET_LIB(code) == ERR_LIB_SSL;
	int reason = library ? ERR_GET_REASON(code) : 0;
	bool alert = reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;

	tls->failed = true;
	if (!text)
		text = "no reason given";
	if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
		return wt_error_set(err, ENOMEM, "%s: out of memory in TLS", tls->peer);
	if (tls->credentials->x509 &&
		alert) /* a client's handshake ends before its certificate is looked at */
		return certificate_alert(tls, reason - SSL_AD_REASON_OFFSET, err);
	if (tls->done)
		return wt_error_set(err, EPROTO, "%s broke the TLS connection (%s)", tls->peer, text);
	if (tls->credentials->x509)
		return certificate_refused(tls, reason, text, err);
	return alert ? key_alert(tls, reason - SSL_AD_REASON_OFFSET, err) : key_error(tls, reason, text, err);
}
