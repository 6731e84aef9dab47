/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_tcp_listen.c - libFuzzer harness of who connects for data over tcp, and of whom is connected to: peers
 * come and go, say the greeting or anything else, in the clear or with TLS, while time passes; or a listener
 * says anything to one who has connected. The input is described in fuzz_tcp_listen.h. Checked besides
 * memory safety:
 *   1. nobody is let in who has not said the whole greeting, and over TLS the token;
 *   2. the hello is the one that was said;
 *   3. every descriptor is closed at the end.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failing.h"
#include "fuzz_tcp_listen.h"
#include "tcp_failing.h"
#include "tcp_peer.h"

#define PEERS 4u
#define CROWD (WT_TCP_HALF_OPEN_MAX + 4)
#define LONG_AGO_NS 3600000000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __real_socket(int family, int type, int protocol);
SSL *__real_SSL_new(SSL_CTX *ctx);
int __real_listen(int fd, int backlog);
int __real_getsockname(int fd, struct sockaddr *name, socklen_t *length);
ssize_t __real_send(int fd, const void *bytes, size_t length, int flags);

static const struct wt_fabric_ops *ops;
static struct wt_endpoint *endpoints[2]; /* in the clear, with TLS */
static struct wt_listener *listener;
static uint16_t port;
static struct tcp_peer peers[PEERS], crowd[CROWD];
static bool greeted; /* anybody has */

/* ---- time: the listener's begins long ago, so that its timer has always fired ---- */

static uint64_t passed_ns;

uint64_t __real_wt_tcp_now_ns(void);
uint64_t __wrap_wt_tcp_now_ns(void);

uint64_t __wrap_wt_tcp_now_ns(void)
{
	return listener ? __real_wt_tcp_now_ns() - LONG_AGO_NS + passed_ns : __real_wt_tcp_now_ns();
}

/* ---- peers of the listener ---- */

static void hang_up(unsigned number)
{
	tcp_peer_close(&peers[number]);
}

static void dial(unsigned number, bool encrypts)
{
	hang_up(number);
	tcp_peer_dial(&peers[number], port, encrypts);
}

static void come_in_crowds(void)
{
	for (unsigned i = 0; i < CROWD; i++) {
		tcp_peer_close(&crowd[i]);
		if (!tcp_peer_dial(&crowd[i], port, false))
			return;
	}
}

static void greet(unsigned number, unsigned how)
{
	struct wt_tcp_greeting greeting = { .magic = htole32(WT_TCP_MAGIC_GREETING),
		.version = htole32(WT_TCP_VERSION) };
	size_t length = how & 1 ? sizeof greeting : 20;

	if (peers[number].fd < 0)
		return;
	memcpy(greeting.hello, tcp_peer_hello, sizeof greeting.hello);
	if (how & 2)
		greeting.magic = 0;
	if (how & 4)
		greeting.version = htole32(9);
	if (how & 8)
		tcp_peer_put_plain(&peers[number], &greeting, length); /* although the listener encrypts */
	else
		tcp_peer_put(&peers[number], &greeting, length);
	greeted = true;
}

static void admit(struct wt_request *request, unsigned how)
{
	static const enum wt_role roles[] = { WT_ROLE_SERVE, WT_ROLE_PULL, WT_ROLE_PEER, WT_ROLE_INVALID };
	struct wt_error err = { 0 };
	struct wt_path *path;

	if (how & 4)
		ops->request_refuse(request);
	else if (!ops->request_admit(request, endpoints[0], roles[how & 3], &path, &err))
		ops->close(path);
}

static void accept_all(unsigned how)
{
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request;

	while (!ops->listener_accept(listener, &request, hello)) {
		PROMISE(greeted);
		PROMISE(!memcmp(hello, tcp_peer_hello, 20 - 8));
		admit(request, how);
	}
}

static void take_step(const uint8_t *step)
{
	unsigned how = step[0] >> 3, number = step[1] % PEERS;

	switch ((enum step)(step[0] % STEP_COUNT)) {
	case STEP_DIAL:
		dial(number, ops->fabric == WT_FABRIC_TLS && !(how & 1));
		break;
	case STEP_CROWD:
		come_in_crowds();
		break;
	case STEP_GREET:
		greet(number, how);
		break;
	case STEP_SHAKE:
		if (peers[number].fd >= 0 && peers[number].ssl)
			tcp_peer_shake(&peers[number]);
		break;
	case STEP_HANG_UP:
		hang_up(number);
		break;
	case STEP_ACCEPT:
		accept_all(how);
		break;
	case STEP_TIME:
		passed_ns += step[1] * 100000000ull;
		break;
	case STEP_DROPPED:
		PROMISE(ops->listener_dropped(listener) <= CROWD * 64);
		break;
	case STEP_COUNT:
		break;
	}
}

static void listen_to(uint8_t choice, const uint8_t *data, size_t size)
{
	const char *host = choice & ANY_ADDRESS ? NULL : "127.0.0.1";
	struct wt_error err = { 0 };

	if (ops->listener_open(host, 0, &listener, &port, &err)) {
		PROMISE(err.code && err.text[0]);
		return;
	}
	if (ops->listener_find && !(choice & NOBODY_KNOWN))
		ops->listener_find(listener, tcp_peer_find, NULL);
	for (size_t at = 0; at + 2 <= size && at < 128; at += 2)
		take_step(data + at);
	for (unsigned i = 0; i < PEERS; i++)
		hang_up(i);
	for (unsigned i = 0; i < CROWD; i++)
		tcp_peer_close(&crowd[i]);
	ops->listener_close(listener);
	listener = NULL;
	passed_ns = 0;
	greeted = false;
}

/* ---- a listener of ours ---- */

static struct {
	int fd;
	uint16_t port;
	SSL_CTX *ctx;
	const uint8_t *data;
	size_t size;
	bool encrypts;
} ours;

static int find_key(SSL *ssl, const unsigned char *id, size_t length, SSL_SESSION **ret_session)
{
	*ret_session = tcp_peer_key(ssl);
	return 1;
}

static void open_ours(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;

	ours.fd = __real_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	PROMISE(ours.fd >= 0 && !__real_listen(ours.fd, 16));
	PROMISE(!__real_getsockname(ours.fd, (struct sockaddr *)&address, &length));
	ours.port = ntohs(address.sin_port);
}

/* If nobody comes, the listener is shut. */
static void *answer_one(void *arg)
{
	int fd = accept(ours.fd, NULL, NULL);
	SSL *ssl = fd >= 0 && ours.encrypts ? __real_SSL_new(ours.ctx) : NULL;
	sigset_t pipe;
	size_t written;

	if (fd < 0)
		return NULL;
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL); /* OpenSSL's write; the product has to do without */
	if (ssl) {
		SSL_set_fd(ssl, fd);
		if (SSL_accept(ssl) == 1 && ours.size)
			SSL_write_ex(ssl, ours.data, ours.size, &written);
		SSL_free(ssl);
	} else if (__real_send(fd, ours.data, ours.size, MSG_NOSIGNAL) < 0) {
		PROMISE(errno);
	}
	shutdown(fd, SHUT_WR);
	close(fd);
	return NULL;
}

static void connect_to(bool encrypts, bool renews, const uint8_t *data, size_t size)
{
	struct wt_path *path = NULL;
	struct wt_error err = { 0 };
	pthread_t thread;
	int r;

	open_ours();
	ours.data = data;
	ours.size = size;
	ours.encrypts = encrypts && size && data[0]; /* or no TLS, to one who encrypts */
	wt_tcp_tls_context_update(endpoints[1]->dialling, renews ? 0 : UINT64_MAX);
	PROMISE(!__real_pthread_create(&thread, NULL, answer_one, NULL));
	r = ops->connect(endpoints[encrypts], "127.0.0.1", ours.port, tcp_peer_hello, WT_ROLE_PULL,
		1000000000, &path, &err);
	failing_set(0, 0);
	PROMISE(!r == (path != NULL) && (!r || (err.code && err.text[0])));
	ops->close(path);
	shutdown(ours.fd, SHUT_RDWR);
	PROMISE(!pthread_join(thread, NULL));
	close(ours.fd);
}

/* ---- */

static void open_all(void)
{
	struct wt_error err = { 0 };

	ours.ctx = tcp_peer_context(true);
	SSL_CTX_set_psk_find_session_callback(ours.ctx, find_key);
	PROMISE(!wt_fabric_ops(WT_FABRIC_TCP)->endpoint_open(NULL, NULL, &endpoints[0], &err));
	PROMISE(!wt_fabric_ops(WT_FABRIC_TLS)->endpoint_open(NULL, NULL, &endpoints[1], &err));
	for (unsigned i = 0; i < CROWD; i++)
		crowd[i].fd = -1;
	for (unsigned i = 0; i < PEERS; i++)
		peers[i].fd = -1;
}

static unsigned open_descriptors(void)
{
	int next = fcntl(0, F_DUPFD_CLOEXEC, 0);

	close(next);
	return (unsigned)next;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t choice = size ? data[0] : 0;
	size_t begin = choice & FAILS ? 3 : 1;
	unsigned before;

	if (!ours.ctx)
		open_all();
	if (size < begin)
		return 0;
	ops = wt_fabric_ops(choice & ENCRYPTS ? WT_FABRIC_TLS : WT_FABRIC_TCP);
	before = open_descriptors();
	if (choice & FAILS)
		failing_set(data[1] % FAIL_COUNT, data[2]);
	if (choice & DIALS)
		connect_to(choice & ENCRYPTS, choice & RENEWS, data + begin, size - begin);
	else
		listen_to(choice, data + begin, size - begin);
	failing_set(0, 0);
	PROMISE(open_descriptors() == before);
	return 0;
}
