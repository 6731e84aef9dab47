/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel.h - a control connection: an ordered stream of bytes under TLS 1.3, or in the clear.
 *
 * Non-blocking, driven by a loop. TLS uses certificates of both ends, or a pre-shared key (RFC 8446, external
 * PSK); its file has the format of QEMU's and GnuTLS's keys.psk, lines `identity:hexadecimal-key`. In the
 * clear only on loopback and unix sockets: wt_channel_connect and wt_channel_listen refuse anything else.
 *
 * What ended a connection, as err->code of `closed`: ESHUTDOWN the peer closed in order; ECONNRESET it broke
 * off (also: TLS without a goodbye); ETIMEDOUT nothing came back; ECONNREFUSED, ENOENT, EHOSTUNREACH nobody
 * is there; EKEYREJECTED the keys differ, or a certificate was not accepted; EPROTO the peer does not speak
 * TLS 1.3, or broke it. A peer that vanished is noticed after about 5 s; when it vanished while it had closed
 * its receive window, not before the kernel asks again, which may take longer.
 *
 * A channel is owned by who connected or accepted it. After `closed` was called no other callback follows;
 * the owner still has to call wt_channel_close. Callbacks run in the loop's thread; every one of them may
 * close the channel.
 */
#ifndef WATARI_CHANNEL_H
#define WATARI_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/loop.h>

struct wt_channel;
struct wt_channel_listener;
struct wt_credentials;

/* Where a peer is: host and port, or the path of a unix socket. */
struct wt_address {
	const char *host; /* name, IPv4 or IPv6 address; NULL with unix_path; NULL to listen everywhere */
	uint16_t port;
	const char *unix_path; /* or NULL */
};

struct wt_channel_events {
	void (*open)(void *arg); /* handshake done; bytes may flow; not called for accepted channels */
	void (*bytes)(void *arg, const uint8_t *data, size_t length);
	void (*drained)(void *arg); /* everything queued was handed to the kernel */
	void (*closed)(void *arg, const struct wt_error *err); /* peer closed, or failed; err says why */
};

/*
 * Reads a key file; identity NULL takes the first entry. Fails with a sentence that names the file and line.
 * A file that group or others may read or write is refused. Keys have 16 to 64 bytes.
 */
int wt_credentials_psk(const char *file, const char *identity, struct wt_credentials **ret_credentials,
	struct wt_error *err);
/*
 * Reads certificates from a folder as QEMU's tls-creds-x509 has it: `ca-cert.pem`, perhaps `ca-crl.pem`;
 * `server-cert.pem` and `server-key.pem` to listen; `client-cert.pem` and `client-key.pem` to connect. Both
 * ends verify each other. allowed: who the other end may be, whichever end that is: host names, addresses,
 * CNs or distinguished names (RFC 2253), `@FILE` for a file with one on each line. With none, who listens
 * takes every certificate of the authority, and who connects expects one for the host that it connects to.
 */
int wt_credentials_x509(const char *directory, const char *const *allowed, unsigned allowed_count,
	struct wt_credentials **ret_credentials, struct wt_error *err);
void wt_credentials_free(struct wt_credentials *credentials);

/*
 * Begins to connect; `open` or `closed` follows, at the latest after timeout_ns. Fails itself only for what
 * is wrong with the request: bad path, in the clear to the address of another host; what is wrong with a name
 * comes by `closed`. credentials NULL: in the clear. They must outlive the channel, address need not; the
 * events are copied.
 */
int wt_channel_connect(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, uint64_t timeout_ns, const struct wt_channel_events *events,
	void *arg, struct wt_channel **ret_channel, struct wt_error *err);
/* Never calls back afterwards. Bytes still queued are dropped. */
void wt_channel_close(struct wt_channel *channel);

/*
 * Queues a copy, also before `open`; it leaves in the loop's next turn. Fails only when the channel is closed
 * (-EPIPE) or memory is out (-ENOMEM).
 */
int wt_channel_send(struct wt_channel *channel, const void *data, size_t length);
/* Bytes queued and not yet handed to the kernel: the caller's measure of back-pressure. */
size_t wt_channel_queued(const struct wt_channel *channel);
/*
 * While paused, nothing is read and `bytes` is not called; an orderly end waits until the pause is over. A
 * connection that failed is told at once, and what was not read is lost.
 */
void wt_channel_pause(struct wt_channel *channel, int paused);
/* "10.0.0.1:4711", for messages. */
const char *wt_channel_peer(const struct wt_channel *channel);
/* The peer's address alone, without port; "" for unix sockets. */
const char *wt_channel_peer_host(const struct wt_channel *channel);

/*
 * Listens; `accepted` is called for every peer whose handshake succeeded and takes ownership of the channel;
 * it must set its events. Handshakes that are slow (10 s) or too many at once (64: the oldest) are dropped;
 * refusals are reported through `refused`, whose text is one sentence. host NULL: every address; a name with
 * several addresses: the first that works. The file of a unix socket has mode 0600; a stale one is replaced.
 */
struct wt_channel_listener_events {
	void (*accepted)(void *arg, struct wt_channel *channel);
	void (*refused)(void *arg, const struct wt_error *err);
};
int wt_channel_listen(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, const struct wt_channel_listener_events *events, void *arg,
	struct wt_channel_listener **ret_listener, uint16_t *ret_port, struct wt_error *err);
void wt_channel_listener_close(struct wt_channel_listener *listener);
void wt_channel_set_events(struct wt_channel *channel, const struct wt_channel_events *events, void *arg);

#endif
