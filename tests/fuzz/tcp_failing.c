/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_failing.c - see tcp_failing.h. What the harness does by itself calls __real_NAME.
 */
#include "tcp_failing.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include <openssl/ssl.h>

#include "failing.h"

FAILING(FAIL_CALLOC, void *, calloc, (size_t count, size_t size), (count, size), NULL, ENOMEM)
FAILING(FAIL_MALLOC, void *, malloc, (size_t size), (size), NULL, ENOMEM)
FAILING(FAIL_EPOLL_CREATE, int, epoll_create1, (int flags), (flags), -1, EMFILE)
FAILING(FAIL_EPOLL_CTL, int, epoll_ctl, (int epoll, int how, int fd, struct epoll_event *event),
	(epoll, how, fd, event), -1, ENOMEM, ENOSPC)
FAILING(FAIL_EVENTFD, int, eventfd, (unsigned count, int flags), (count, flags), -1, EMFILE)
FAILING(FAIL_TIMERFD, int, timerfd_create, (clockid_t clock, int flags), (clock, flags), -1, EMFILE)
FAILING(FAIL_PTHREAD_CREATE, int, pthread_create,
	(pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
	(thread, attr, run, arg), EAGAIN, EAGAIN)
FAILING(FAIL_SOCKET, int, socket, (int family, int type, int protocol), (family, type, protocol), -1,
	EAFNOSUPPORT, EMFILE)
FAILING(FAIL_SETSOCKOPT, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t length),
	(fd, level, name, value, length), -1, ENOPROTOOPT, EINVAL)
FAILING(FAIL_CONNECT, int, connect, (int fd, const struct sockaddr *name, socklen_t length),
	(fd, name, length), -1, ECONNREFUSED, EINTR)
FAILING(FAIL_BIND, int, bind, (int fd, const struct sockaddr *name, socklen_t length), (fd, name, length), -1,
	EADDRINUSE, EADDRNOTAVAIL)
FAILING(FAIL_LISTEN, int, listen, (int fd, int backlog), (fd, backlog), -1, EADDRINUSE)
FAILING(FAIL_GETSOCKNAME, int, getsockname, (int fd, struct sockaddr *name, socklen_t *length),
	(fd, name, length), -1, ENOBUFS)
FAILING(FAIL_GETADDRINFO, int, getaddrinfo,
	(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list),
	(host, service, hints, ret_list), EAI_NONAME, 0)
FAILING(FAIL_GETNAMEINFO, int, getnameinfo,
	(const struct sockaddr *name, socklen_t length, char *host, socklen_t host_room, char *service,
		socklen_t service_room, int flags),
	(name, length, host, host_room, service, service_room, flags), EAI_MEMORY, 0)
FAILING(FAIL_ACCEPT, int, accept4, (int fd, struct sockaddr *name, socklen_t *length, int flags),
	(fd, name, length, flags), -1, EMFILE, ECONNABORTED, ENOMEM)
FAILING(FAIL_RECV, ssize_t, recv, (int fd, void *bytes, size_t length, int flags), (fd, bytes, length, flags),
	-1, EAGAIN, EINTR, ECONNRESET)
FAILING(FAIL_RECVMSG, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1,
	EAGAIN, EINTR, ECONNRESET)
FAILING(FAIL_SEND, ssize_t, send, (int fd, const void *bytes, size_t length, int flags),
	(fd, bytes, length, flags), -1, EAGAIN, EINTR, EPIPE)
FAILING(FAIL_SENDMSG, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags),
	(fd, message, flags), -1, EAGAIN, EFAULT, EPIPE, EINTR)
FAILING(FAIL_SENDFILE, ssize_t, sendfile, (int to, int from, off_t *at, size_t length),
	(to, from, at, length), -1, EAGAIN, EIO, EINVAL, EPIPE)
FAILING(FAIL_POLL, int, poll, (struct pollfd * list, nfds_t count, int timeout_ms), (list, count, timeout_ms),
	-1, EINTR, ENOMEM)
FAILING(FAIL_READV, ssize_t, process_vm_readv,
	(pid_t process, const struct iovec *here, unsigned long here_count, const struct iovec *there,
		unsigned long there_count, unsigned long flags),
	(process, here, here_count, there, there_count, flags), -1, EFAULT)
FAILING(FAIL_SSL_NEW, SSL *, SSL_new, (SSL_CTX * ctx), (ctx), NULL, 0)
FAILING(FAIL_SSL_CTX_NEW, SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *method), (method), NULL, 0)
