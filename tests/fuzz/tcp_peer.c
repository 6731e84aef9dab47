/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_peer.c - see tcp_peer.h. OpenSSL reads and writes memory here; what is in it goes by the socket as far
 * as that takes it.
 */
#include "tcp_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "tls_base.h"

#define CONNECT_MS 200

ssize_t __real_send(int fd, const void *bytes, size_t length, int flags);
ssize_t __real_recv(int fd, void *bytes, size_t length, int flags);
int __real_socket(int family, int type, int protocol);
int __real_connect(int fd, const struct sockaddr *name, socklen_t length);
int __real_poll(struct pollfd *list, nfds_t count, int timeout_ms);
SSL *__real_SSL_new(SSL_CTX *ctx);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t length);

const uint8_t tcp_peer_hello[WT_PATH_HELLO_BYTES] = "an id of 16 byte and a token that nobody knows.";

bool tcp_peer_find(
	void *arg, const uint8_t id[WT_PATH_HELLO_ID_BYTES], uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	if (memcmp(id, tcp_peer_hello, WT_PATH_HELLO_ID_BYTES))
		return false;
	memcpy(ret_hello, tcp_peer_hello, WT_PATH_HELLO_BYTES);
	return true;
}

SSL_SESSION *tcp_peer_key(SSL *ssl)
{
	return wt_tls_key_session(
		ssl, tcp_peer_hello + WT_PATH_HELLO_ID_BYTES, WT_PATH_HELLO_BYTES - WT_PATH_HELLO_ID_BYTES);
}

SSL_CTX *tcp_peer_context(bool server)
{
	struct wt_error err = { 0 };
	SSL_CTX *ctx = wt_tls_base_context(server, true, &err);

	PROMISE(ctx);
	return ctx;
}

static int use_key(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_length,
	SSL_SESSION **ret_session)
{
	*ret_session = NULL;
	*ret_id = tcp_peer_hello;
	*ret_length = WT_PATH_HELLO_ID_BYTES;
	if (!md || EVP_MD_get_type(md) == NID_sha256)
		*ret_session = tcp_peer_key(ssl);
	return 1;
}

static SSL *client(void)
{
	static SSL_CTX *ctx;
	SSL *ssl;

	if (!ctx) {
		ctx = tcp_peer_context(false);
		SSL_CTX_set_psk_use_session_callback(ctx, use_key);
	}
	ssl = __real_SSL_new(ctx);
	PROMISE(ssl);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(ssl);
	return ssl;
}

/* Not if the listener's queue is full. */
static bool connect_now(int fd, uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t length = sizeof error;

	if (!__real_connect(fd, (struct sockaddr *)&address, sizeof address))
		return true;
	if (errno != EINPROGRESS || __real_poll(&wait, 1, CONNECT_MS) <= 0)
		return false;
	return !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) && !error;
}

bool tcp_peer_dial(struct tcp_peer *peer, uint16_t port, bool encrypts)
{
	struct linger at_once = { .l_onoff = 1 };
	int one = 1, fd = __real_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	PROMISE(fd >= 0);
	*peer = (struct tcp_peer){ .fd = -1 };
	if (!connect_now(fd, port)) {
		close(fd);
		return false;
	}
	PROMISE(!__real_setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
	PROMISE(!__real_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
	peer->fd = fd;
	peer->ssl = encrypts ? client() : NULL;
	return true;
}

void tcp_peer_put_plain(struct tcp_peer *peer, const void *bytes, size_t length)
{
	PROMISE(__real_send(peer->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) != 0 || !length);
}

/* What OpenSSL has written. */
static void flush(struct tcp_peer *peer)
{
	uint8_t bytes[4096];
	int length;

	while ((length = BIO_read(SSL_get_wbio(peer->ssl), bytes, sizeof bytes)) > 0)
		tcp_peer_put_plain(peer, bytes, (size_t)length);
}

/* For OpenSSL to read. */
static void fill(struct tcp_peer *peer)
{
	uint8_t bytes[4096];
	ssize_t length;

	while ((length = __real_recv(peer->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
		BIO_write(SSL_get_rbio(peer->ssl), bytes, (int)length);
}

bool tcp_peer_shake(struct tcp_peer *peer)
{
	bool done;

	fill(peer);
	ERR_clear_error();
	done = SSL_do_handshake(peer->ssl) == 1;
	flush(peer);
	return done;
}

void tcp_peer_put(struct tcp_peer *peer, const void *bytes, size_t length)
{
	size_t written;

	if (!peer->ssl) {
		tcp_peer_put_plain(peer, bytes, length);
		return;
	}
	ERR_clear_error();
	if (length)
		SSL_write_ex(peer->ssl, bytes, length, &written);
	flush(peer);
}

size_t tcp_peer_take(struct tcp_peer *peer, void *bytes, size_t room)
{
	ssize_t got;
	size_t had = 0;

	if (!peer->ssl) {
		got = __real_recv(peer->fd, bytes, room, MSG_DONTWAIT);
		return got > 0 ? (size_t)got : 0;
	}
	fill(peer);
	ERR_clear_error();
	return SSL_read_ex(peer->ssl, bytes, room, &had) == 1 ? had : 0;
}

void tcp_peer_end(struct tcp_peer *peer)
{
	shutdown(peer->fd, SHUT_WR);
}

void tcp_peer_close(struct tcp_peer *peer)
{
	if (peer->fd < 0)
		return;
	SSL_free(peer->ssl);
	close(peer->fd);
	*peer = (struct tcp_peer){ .fd = -1 };
}
