/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_peer.h - the other end of a data connection over tcp, as a fuzzer has it: a plain socket, or OpenSSL on
 * one, with the hello `tcp_peer_hello`. Nothing here waits; bytes for which the socket has no room are lost.
 */
#ifndef WT_TEST_TCP_PEER_H
#define WT_TEST_TCP_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "path_tcp.h"
#include "promise.h"

struct tcp_peer {
	int fd;   /* -1: none */
	SSL *ssl; /* NULL: in the clear */
};

extern const uint8_t tcp_peer_hello[WT_PATH_HELLO_BYTES];

/* What a listener is told of who may come (wt_path_find_fn): the one above. */
bool tcp_peer_find(
	void *arg, const uint8_t id[WT_PATH_HELLO_ID_BYTES], uint8_t ret_hello[WT_PATH_HELLO_BYTES]);

/* What TLS is there, and its key: a session that is resumed. */
SSL_CTX *tcp_peer_context(bool server);
SSL_SESSION *tcp_peer_key(SSL *ssl);

/* Connects to a port here; false: its queue is full. Leaves nothing behind when it is closed. */
bool tcp_peer_dial(struct tcp_peer *peer, uint16_t port, bool encrypts);
/* Goes on with the handshake; true: it is done. */
bool tcp_peer_shake(struct tcp_peer *peer);
void tcp_peer_put(struct tcp_peer *peer, const void *bytes, size_t length);
/* Past TLS, as they are. */
void tcp_peer_put_plain(struct tcp_peer *peer, const void *bytes, size_t length);
/* Bytes that have come, as far as they are here; 0: none, or the end. */
size_t tcp_peer_take(struct tcp_peer *peer, void *bytes, size_t room);
/* No more comes from here. */
void tcp_peer_end(struct tcp_peer *peer);
void tcp_peer_close(struct tcp_peer *peer);

#endif
