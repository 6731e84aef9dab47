/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_serve.c - the serving end of a tcp path: a thread that answers requests from the mapping.
 *
 * Owns the thread, its queue of requests, and an eventfd that tells the owner that the thread has ended.
 *   1. The thread reads requests when it has none left to answer, and answers them in order.
 *   2. Served memory is touched only by a non-blocking sendmsg or sendfile (with TLS: a copy, below) under
 * the endpoint's read lock; nobody waits for a slow peer with the lock held. After every wait the region is
 * looked up anew.
 *   3. Every request is answered by exactly its length in bytes and a trailer. What cannot be served is
 *      padded with zeros from there on, and the trailer says why.
 *   4. Memory that is gone (unmapped, file truncated) shows as EFAULT in sendmsg, or as the file's end, never
 *      as a signal.
 *   5. A request of a wrong shape ends the thread, and with it the connection.
 *   6. Long answers from memory that is a file go from the file: no copy, no page faults here. What the
 *      socket has taken then are the pages, so the peer may read what is written to them until it has them;
 *      that is at least as new.
 *   7. With TLS answers are copied into `staged` under the lock, by a system call that answers EFAULT where
 * memory is gone, and encrypted from there without it: what is encrypted does not change. Threads: start,
 * stop and error are called by the path's owner; the rest runs in the thread, which reads the path's endpoint
 * and socket only; these do not change while it runs.
 */
#include "path_tcp.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH WT_TCP_DEPTH         /* requests read at once */
#define SEND_IOVS_MAX 128u         /* of one sendmsg */
#define SEND_BYTES_MAX (1u << 20)  /* of one sendmsg, or somewhat more: how long the lock is held */
#define FILE_BYTES_MIN (64u << 10) /* what is shorter is copied, many answers by one system call */
#define STACK_BYTES (256u << 10)
#define STAGED_BYTES (256u << 10)

struct answer {
	uint64_t id;
	uint64_t address;
	uint64_t key;
	uint32_t length;
	enum wt_tcp_status status; /* OK until something is wrong, then final */
	struct wt_tcp_trailer trailer;
};

struct wt_tcp_serve {
	pthread_t thread;
	struct wt_endpoint *endpoint;
	int socket;
	struct wt_tcp_tls *tls; /* NULL: in the clear */
	int ended;              /* eventfd */
	atomic_int error;       /* 0 while the thread serves */
	/* The thread's own, like tls. */
	struct answer answers[BATCH];
	unsigned first;
	unsigned count;
	uint32_t sent; /* bytes of the first answer that the socket took */
	bool alone;    /* send the first answer by itself: one further on faulted */
	bool copying;  /* the file system of the memory knows no sendfile (huge pages) */
	size_t staged_first, staged_end;
	uint8_t *staged; /* STAGED_BYTES, with TLS */
	size_t in_bytes;
	uint8_t in[BATCH * sizeof(struct wt_tcp_request)];
};

static const uint8_t *zeros(void)
{
	/* Never written: reads of it all map the kernel's one zero page. */
	static uint8_t nothing[WT_PATH_READ_MAX];

	return nothing;
}

/* Where the answer's bytes lie now, and in which region; NULL: not here, and its status says why. Under the
 * lock. */
static uint8_t *source_of(
	const struct wt_endpoint *endpoint, struct answer *answer, const struct wt_region **ret_region)
{
	uint8_t *bytes;
	int status;

	if (answer->status != WT_TCP_STATUS_OK)
		return NULL;
	status = wt_tcp_region_locate(
		endpoint, answer->key, WT_ACCESS_SERVE, answer->address, answer->length, ret_region, &bytes);
	if (status < 0) {
		answer->status = wt_tcp_error_status(status);
		return NULL;
	}
	return bytes;
}

static bool goes_from_file(const struct wt_tcp_serve *serve, const struct wt_region *region, uint32_t bytes)
{
	return !serve->copying && region && region->file >= 0 && bytes >= FILE_BYTES_MIN;
}

/* From the first answer's file. Under the endpoint's lock. Bytes sent, or -errno. */
static ssize_t send_file(struct wt_tcp_serve *serve, const struct wt_region *region, const uint8_t *bytes)
{
	struct answer *answer = &serve->answers[serve->first];
	off_t from = (off_t)(region->file_offset + (uint64_t)(bytes - region->base) + serve->sent);
	ssize_t sent = sendfile(serve->socket, region->file, &from, answer->length - serve->sent);

	if (sent == 0 || (sent < 0 && errno == EIO))
		return -EFAULT;
	if (sent < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
		serve->copying = true;
		return -EINTR;
	}
	return sent < 0 ? -errno : sent;
}

/* One sendmsg of as many answers as are reasonable, or one sendfile. Under the endpoint's lock. Bytes sent,
 * or -errno. */
static ssize_t send_some(struct wt_tcp_serve *serve)
{
	struct iovec iov[SEND_IOVS_MAX];
	struct msghdr message = { .msg_iov = iov };
	uint32_t sent = serve->sent;
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	size_t bytes = 0;
	unsigned n = 0;
	ssize_t result;
	unsigned i;

	for (i = serve->first; i < serve->count && n + 2 <= SEND_IOVS_MAX && bytes < SEND_BYTES_MAX;
		i++, sent = 0) {
		struct answer *answer = &serve->answers[i];
		uint32_t skip = sent > answer->length ? sent - answer->length : 0;

		if (sent < answer->length) {
			const struct wt_region *region = NULL;
			const uint8_t *from = source_of(serve->endpoint, answer, &region);

			answer->trailer.status = htole32(answer->status);
			if (goes_from_file(serve, region, answer->length - sent)) {
				if (!n)
					return send_file(serve, region, from);
				flags |= MSG_MORE;
				break;
			}
			iov[n].iov_base = (uint8_t *)(from ? from : zeros()) + sent;
			iov[n].iov_len = answer->length - sent;
			bytes += iov[n++].iov_len;
		}
		iov[n].iov_base = (uint8_t *)&answer->trailer + skip;
		iov[n].iov_len = sizeof answer->trailer - skip;
		bytes += iov[n++].iov_len;
		if (serve->alone)
			break;
	}
	message.msg_iovlen = n;
	result = sendmsg(serve->socket, &message, flags);
	return result < 0 ? -errno : result;
}

static void advance(struct wt_tcp_serve *serve, size_t sent)
{
	while (sent) {
		size_t rest =
			serve->answers[serve->first].length + sizeof(struct wt_tcp_trailer) - serve->sent;

		if (sent < rest) {
			serve->sent += (uint32_t)sent;
			return;
		}
		sent -= rest;
		serve->sent = 0;
		serve->first++;
	}
}

/*
 * A fault somewhere in what was to be sent: nothing of that sendmsg went out. Alone, the first answer either
 * goes out, or its own memory is what is gone.
 */
static int fault(struct wt_tcp_serve *serve)
{
	struct answer *answer = &serve->answers[serve->first];

	if (!serve->alone) {
		serve->alone = true;
		return 0;
	}
	serve->alone = false;
	if (serve->sent >= answer->length || answer->status != WT_TCP_STATUS_OK)
		return -EFAULT;
	answer->status = WT_TCP_STATUS_FAULT;
	return 0;
}

/* Ends by news, by an error, by TCP_USER_TIMEOUT, or by stop's shutdown. */
static int wait_for(const struct wt_tcp_serve *serve, short events)
{
	struct pollfd wait = { .fd = serve->socket, .events = events };

	return poll(&wait, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

/* ---- with TLS ---- */

/* Copies memory that may be gone: how much could be had. */
static size_t copy_out(uint8_t *to, const uint8_t *from, size_t bytes)
{
	struct iovec here = { .iov_base = to, .iov_len = bytes };
	struct iovec there = { .iov_base = (void *)(uintptr_t)from, .iov_len = bytes };
	ssize_t got = process_vm_readv(getpid(), &here, 1, &there, 1, 0);

	return got > 0 ? (size_t)got : 0;
}

/* The next part of the first answer, its bytes or its trailer, as much as there is room for. Under the lock.
 */
static size_t stage_part(struct wt_tcp_serve *serve, size_t room)
{
	struct answer *answer = &serve->answers[serve->first];
	uint8_t *to = serve->staged + serve->staged_end;
	const uint8_t *from;
	size_t bytes, had = 0;

	if (serve->sent >= answer->length) {
		bytes = answer->length + sizeof answer->trailer - serve->sent;
		bytes = bytes < room ? bytes : room;
		answer->trailer.status = htole32(answer->status);
		memcpy(to, (uint8_t *)&answer->trailer + (serve->sent - answer->length), bytes);
		return bytes;
	}
	bytes = answer->length - serve->sent;
	bytes = bytes < room ? bytes : room;
	from = source_of(serve->endpoint, answer, NULL);
	if (from) {
		had = copy_out(to, from + serve->sent, bytes);
		if (had < bytes)
			answer->status = WT_TCP_STATUS_FAULT;
	}
	memset(to + had, 0, bytes - had);
	return bytes;
}

static void stage(struct wt_tcp_serve *serve)
{
	serve->staged_first = serve->staged_end = 0;
	pthread_rwlock_rdlock(&serve->endpoint->lock);
	while (serve->first < serve->count && serve->staged_end < STAGED_BYTES) {
		size_t bytes = stage_part(serve, STAGED_BYTES - serve->staged_end);

		serve->staged_end += bytes;
		advance(serve, bytes);
	}
	pthread_rwlock_unlock(&serve->endpoint->lock);
}

static int answer_all_encrypted(struct wt_tcp_serve *serve)
{
	int status = 0;

	while (status >= 0) {
		ssize_t sent;

		if (serve->staged_first == serve->staged_end && serve->first < serve->count)
			stage(serve);
		if (serve->staged_first < serve->staged_end)
			sent = wt_tcp_tls_send(serve->tls, serve->staged + serve->staged_first,
				serve->staged_end - serve->staged_first);
		else if (wt_tcp_tls_unsent(serve->tls))
			sent = wt_tcp_tls_flush(serve->tls);
		else
			break;
		if (sent == -EAGAIN)
			status = wait_for(serve, POLLOUT);
		else if (sent < 0)
			status = (int)sent;
		else
			serve->staged_first += (size_t)sent;
	}
	return status;
}

static ssize_t receive(struct wt_tcp_serve *serve)
{
	struct iovec part = { .iov_base = serve->in + serve->in_bytes,
		.iov_len = sizeof serve->in - serve->in_bytes };
	ssize_t got;

	if (serve->tls)
		return wt_tcp_tls_receive(serve->tls, &part, 1);
	got = recv(serve->socket, part.iov_base, part.iov_len, 0);
	return got < 0 ? -errno : got;
}

static int answer_all(struct wt_tcp_serve *serve)
{
	int status = 0;

	if (serve->tls)
		return answer_all_encrypted(serve);

	while (serve->first < serve->count && status >= 0) {
		ssize_t sent;

		pthread_rwlock_rdlock(&serve->endpoint->lock);
		sent = send_some(serve);
		pthread_rwlock_unlock(&serve->endpoint->lock);
		if (sent >= 0) {
			serve->alone = false;
			advance(serve, (size_t)sent);
		} else if (sent == -EAGAIN) {
			status = wait_for(serve, POLLOUT);
		} else if (sent == -EFAULT) {
			status = fault(serve);
		} else if (sent != -EINTR) {
			status = (int)sent;
		}
	}
	return status;
}

static int parse(struct wt_tcp_serve *serve)
{
	size_t at;

	serve->first = serve->count = 0;
	for (at = 0; serve->in_bytes - at >= sizeof(struct wt_tcp_request);
		at += sizeof(struct wt_tcp_request)) {
		struct answer *answer = &serve->answers[serve->count++];
		struct wt_tcp_request request;

		memcpy(&request, serve->in + at, sizeof request);
		answer->id = le64toh(request.id);
		answer->address = le64toh(request.address);
		answer->key = le64toh(request.key);
		answer->length = le32toh(request.length);
		answer->status = WT_TCP_STATUS_OK;
		if (le32toh(request.magic) != WT_TCP_MAGIC_REQUEST || answer->length == 0 ||
			answer->length > WT_PATH_READ_MAX)
			return -EPROTO;
		answer->trailer.id = request.id;
		answer->trailer.magic = htole32(WT_TCP_MAGIC_TRAILER);
	}
	memmove(serve->in, serve->in + at, serve->in_bytes - at);
	serve->in_bytes -= at;
	return 0;
}

static void *serve_main(void *arg)
{
	struct wt_tcp_serve *serve = arg;
	uint64_t one = 1;
	int status = 0;

	while (status >= 0) {
		ssize_t got = receive(serve);

		if (got == -EAGAIN) {
			status = wait_for(serve, POLLIN);
			continue;
		}
		if (got == -EINTR)
			continue;
		if (got <= 0) {
			status = got < 0 ? (int)got : -ECONNRESET;
			break;
		}
		serve->in_bytes += (size_t)got;
		status = parse(serve);
		if (status >= 0)
			status = answer_all(serve);
	}
	shutdown(serve->socket, SHUT_RDWR);
	atomic_store(&serve->error, -status);
	if (write(serve->ended, &one, sizeof one) < 0)
		return NULL; /* cannot happen: the counter was 0 */
	return NULL;
}

static int thread_start(struct wt_tcp_serve *serve)
{
	pthread_attr_t attr;
	sigset_t all;
	sigset_t before;
	int status;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	status = pthread_create(&serve->thread, &attr, serve_main, serve);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -status;
}

int wt_tcp_serve_start(struct wt_path *path)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct wt_tcp_serve *serve;
	int status;

	if (fcntl(path->socket, F_SETFL, O_NONBLOCK) < 0) /* sendfile has no flag for that */
		return -errno;
	serve = calloc(1, sizeof *serve);
	if (!serve)
		return -ENOMEM;
	serve->endpoint = path->endpoint;
	serve->socket = path->socket;
	serve->tls = path->tls;
	serve->staged = serve->tls ? malloc(STAGED_BYTES) : NULL;
	if (serve->tls && !serve->staged) {
		status = -ENOMEM;
		goto free_serve;
	}
	serve->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (serve->ended < 0) {
		status = -errno;
		goto free_serve;
	}
	if (epoll_ctl(path->epoll, EPOLL_CTL_ADD, serve->ended, &event) < 0) {
		status = -errno;
		goto close_ended;
	}
	status = thread_start(serve);
	if (status < 0)
		goto close_ended;
	path->serve = serve;
	return 0;

close_ended:
	close(serve->ended);
free_serve:
	free(serve->staged);
	free(serve);
	return status;
}

void wt_tcp_serve_stop(struct wt_path *path)
{
	struct wt_tcp_serve *serve = path->serve;

	shutdown(serve->socket, SHUT_RDWR);
	pthread_join(serve->thread, NULL);
	epoll_ctl(path->epoll, EPOLL_CTL_DEL, serve->ended, NULL);
	close(serve->ended);
	free(serve->staged);
	free(serve);
	path->serve = NULL;
}

int wt_tcp_serve_error(const struct wt_path *path)
{
	return atomic_load(&path->serve->error);
}
