/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fault_calls.c - the functions that libfault.so stands before: each asks fault_at, and then fails or calls
 * the true one.
 *
 * CALL: fails with what is given, and errno. CODE: answers the code itself, as pthread_create does. NONE:
 * what the library answers on failure, and nothing in errno. BYTES: reads or writes, and may do so by halves.
 * TLS: an error in OpenSSL's queue.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "fault.h"

/* glibc's own: dlsym may allocate */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

#define HERE __builtin_return_address(0)
#define TRUE_ONE(name)                     \
	static __typeof__(&name) true_one; \
	if (!true_one)                     \
	true_one = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRAP(type, name, params, args, failure)      \
	type name params                             \
	{                                            \
		struct fault fault;                  \
                                                     \
		TRUE_ONE(name);                      \
		if (fault_at(#name, HERE, &fault)) { \
			failure;                     \
		}                                    \
		return true_one args;                \
	}
#define CALL(type, name, params, args, value) WRAP(type, name, params, args, errno = fault.code; return value)
#define CODE(type, name, params, args) WRAP(type, name, params, args, return fault.code)
#define NONE(type, name, params, args, value) WRAP(type, name, params, args, return value)
#define TLS(type, name, params, args, value) \
	WRAP(type, name, params, args, ERR_raise(ERR_LIB_SSL, ERR_R_MALLOC_FAILURE); return value)
#define BYTES(name, params, args, fewer)                                        \
	WRAP(ssize_t, name, params, args, if (fault.how == FAULT_END) return 0; \
		if (fault.how == FAULT_SHORT) return true_one fewer; errno = fault.code; return -1)

/* ---- memory ---- */

#define MEMORY(type, name, params, call)             \
	type name params                             \
	{                                            \
		struct fault fault;                  \
                                                     \
		if (fault_at(#name, HERE, &fault)) { \
			errno = fault.code;          \
			return NULL;                 \
		}                                    \
		return call;                         \
	}

MEMORY(void *, malloc, (size_t size), __libc_malloc(size))
MEMORY(void *, calloc, (size_t count, size_t size), __libc_calloc(count, size))
MEMORY(void *, realloc, (void *old, size_t size), __libc_realloc(old, size))
MEMORY(void *, aligned_alloc, (size_t alignment, size_t size), __libc_memalign(alignment, size))
CALL(void *, reallocarray, (void *old, size_t count, size_t size), (old, count, size), NULL)
CALL(char *, strdup, (const char *text), (text), NULL)
CALL(char *, strndup, (const char *text, size_t length), (text, length), NULL)
CALL(int, vasprintf, (char **ret, const char *format, va_list args), (ret, format, args), -1)
CALL(void *, mmap, (void *at, size_t length, int protection, int flags, int fd, off_t offset),
	(at, length, protection, flags, fd, offset), MAP_FAILED)
CALL(int, munmap, (void *at, size_t length), (at, length), -1)
CALL(int, madvise, (void *at, size_t length, int advice), (at, length, advice), -1)
CALL(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1)

int asprintf(char **ret, const char *format, ...)
{
	struct fault fault;
	va_list args;
	int n;

	if (fault_at("asprintf", HERE, &fault)) {
		errno = fault.code;
		return -1;
	}
	va_start(args, format);
	n = vasprintf(ret, format, args);
	va_end(args);
	return n;
}

/* ---- descriptors, events ---- */

CALL(int, epoll_create1, (int flags), (flags), -1)
CALL(int, epoll_ctl, (int epoll, int what, int fd, struct epoll_event *event), (epoll, what, fd, event), -1)
CALL(int, epoll_wait, (int epoll, struct epoll_event *events, int max, int timeout),
	(epoll, events, max, timeout), -1)
CALL(int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout), -1)
CALL(int, eventfd, (unsigned value, int flags), (value, flags), -1)
CALL(int, timerfd_create, (clockid_t clock, int flags), (clock, flags), -1)
CALL(int, timerfd_settime, (int fd, int flags, const struct itimerspec *value, struct itimerspec *old),
	(fd, flags, value, old), -1)
CALL(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags), -1)
CALL(int, pipe2, (int fds[2], int flags), (fds, flags), -1)
CALL(int, dup2, (int from, int to), (from, to), -1)
CALL(int, dup3, (int from, int to, int flags), (from, to, flags), -1)
WRAP(int, close, (int fd), (fd), true_one(fd); errno = fault.code; return -1)

int fcntl(int fd, int what, ...)
{
	struct fault fault;
	va_list args;
	void *arg;

	TRUE_ONE(fcntl);
	va_start(args, what);
	arg = va_arg(args, void *);
	va_end(args);
	if (fault_at("fcntl", HERE, &fault)) {
		errno = fault.code;
		return -1;
	}
	return true_one(fd, what, arg);
}

int ioctl(int fd, unsigned long what, ...)
{
	struct fault fault;
	va_list args;
	void *arg;

	TRUE_ONE(ioctl);
	va_start(args, what);
	arg = va_arg(args, void *);
	va_end(args);
	if (fault_at("ioctl", HERE, &fault)) {
		errno = fault.code;
		return -1;
	}
	return true_one(fd, what, arg);
}

/* ---- sockets ---- */

CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
CALL(int, socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds), -1)
CALL(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags),
	(fd, address, length, flags), -1)
CALL(int, bind, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length), -1)
CALL(int, listen, (int fd, int backlog), (fd, backlog), -1)
CALL(int, connect, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length), -1)
CALL(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length), -1)
CALL(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *length),
	(fd, level, name, value, length), -1)
CALL(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t length),
	(fd, level, name, value, length), -1)
CALL(int, shutdown, (int fd, int how), (fd, how), -1)
CODE(int, getaddrinfo,
	(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret),
	(node, service, hints, ret))
CODE(int, getnameinfo,
	(const struct sockaddr *address, socklen_t length, char *host, socklen_t host_room, char *service,
		socklen_t service_room, int flags),
	(address, length, host, host_room, service, service_room, flags))
BYTES(recv, (int fd, void *bytes, size_t size, int flags), (fd, bytes, size, flags), (fd, bytes, 1, flags))
CALL(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1)
BYTES(sendfile, (int to, int from, off_t *offset, size_t size), (to, from, offset, size),
	(to, from, offset, 1))
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1)

static ssize_t refused(ssize_t (*send_)(int, const void *, size_t, int), int fd, const char *bytes,
	size_t size, size_t name, int flags)
{
	char copy[8192];

	if (size > sizeof copy)
		return send_(fd, bytes, size, flags);
	memcpy(copy, bytes, size);
	copy[name] = 'X'; /* QEMU knows no such command */
	return send_(fd, copy, size, flags);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
	struct fault fault;
	const char *name = NULL;

	TRUE_ONE(send);
	if (fault_at("send", HERE, &fault)) {
		if (fault.how == FAULT_SHORT)
			return true_one(fd, bytes, 1, flags);
		errno = fault.code;
		return -1;
	}
	switch (fault_in_qmp(bytes, size, HERE, &name)) {
	case FAULT_QMP_REFUSED:
		return refused(true_one, fd, bytes, size, (size_t)(name - (const char *)bytes), flags);
	case FAULT_QMP_SILENT:
		return (ssize_t)size;
	case FAULT_QMP_CLOSED:
		shutdown(fd, SHUT_RDWR);
		break;
	case FAULT_QMP_NONE:
		break;
	}
	return true_one(fd, bytes, size, flags);
}

/* ---- files ---- */

BYTES(read, (int fd, void *bytes, size_t size), (fd, bytes, size), (fd, bytes, 1))
BYTES(write, (int fd, const void *bytes, size_t size), (fd, bytes, size), (fd, bytes, 1))
BYTES(pread, (int fd, void *bytes, size_t size, off_t at), (fd, bytes, size, at), (fd, bytes, 1, at))
BYTES(pwrite, (int fd, const void *bytes, size_t size, off_t at), (fd, bytes, size, at), (fd, bytes, 1, at))
CALL(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), -1)
CALL(ssize_t, process_vm_readv,
	(pid_t pid, const struct iovec *ours, unsigned long our_count, const struct iovec *theirs,
		unsigned long their_count, unsigned long flags),
	(pid, ours, our_count, theirs, their_count, flags), -1)
CALL(int, fsync, (int fd), (fd), -1)
CALL(int, ftruncate, (int fd, off_t size), (fd, size), -1)
CALL(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size), -1)
CODE(int, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
CALL(int, sync_file_range, (int fd, off64_t at, off64_t size, unsigned flags), (fd, at, size, flags), -1)
CALL(off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence), -1)
CALL(int, fstat, (int fd, struct stat *ret), (fd, ret), -1)
CALL(int, stat, (const char *path, struct stat *ret), (path, ret), -1)
CALL(int, lstat, (const char *path, struct stat *ret), (path, ret), -1)
CALL(int, fstatfs, (int fd, struct statfs *ret), (fd, ret), -1)
CALL(int, access, (const char *path, int mode), (path, mode), -1)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
CALL(int, rmdir, (const char *path), (path), -1)
CALL(int, unlink, (const char *path), (path), -1)
CALL(int, unlinkat, (int directory, const char *path, int flags), (directory, path, flags), -1)
CALL(int, rename, (const char *from, const char *to), (from, to), -1)
CALL(int, renameat, (int from, const char *from_path, int to, const char *to_path),
	(from, from_path, to, to_path), -1)
CALL(int, linkat, (int from, const char *from_path, int to, const char *to_path, int flags),
	(from, from_path, to, to_path, flags), -1)
CALL(int, chmod, (const char *path, mode_t mode), (path, mode), -1)
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
CALL(int, flock, (int fd, int what), (fd, what), -1)
CALL(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL)
CALL(char *, fgets, (char *line, int room, FILE *file), (line, room, file), NULL)
CALL(DIR *, opendir, (const char *path), (path), NULL)
CALL(DIR *, fdopendir, (int fd), (fd), NULL)
CALL(struct dirent *, readdir, (DIR * directory), (directory), NULL)
CALL(ssize_t, readlink, (const char *path, char *text, size_t room), (path, text, room), -1)
CALL(char *, realpath, (const char *path, char *resolved), (path, resolved), NULL)

#define OPEN(name, head, params, args)               \
	int name params                              \
	{                                            \
		struct fault fault;                  \
		va_list rest;                        \
		mode_t mode;                         \
                                                     \
		TRUE_ONE(name);                      \
		va_start(rest, flags);               \
		mode = va_arg(rest, mode_t);         \
		va_end(rest);                        \
		if (fault_at(#name, HERE, &fault)) { \
			errno = fault.code;          \
			return -1;                   \
		}                                    \
		return true_one args;                \
	}
OPEN(open, , (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, , (int directory, const char *path, int flags, ...), (directory, path, flags, mode))

/* ---- processes, threads, the rest of the system ---- */

CODE(int, pthread_create, (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
	(thread, attr, run, arg))
CODE(int, pthread_mutex_init, (pthread_mutex_t * mutex, const pthread_mutexattr_t *attr), (mutex, attr))
CODE(int, pthread_cond_init, (pthread_cond_t * cond, const pthread_condattr_t *attr), (cond, attr))
CODE(int, pthread_rwlock_init, (pthread_rwlock_t * lock, const pthread_rwlockattr_t *attr), (lock, attr))
CODE(int, pthread_attr_setstacksize, (pthread_attr_t * attr, size_t size), (attr, size))
CALL(pid_t, fork, (void), (), -1)
CALL(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options), -1)
CODE(int, posix_spawn,
	(pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const envp[]),
	(pid, path, actions, attr, argv, envp))
CODE(int, posix_spawnp,
	(pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const envp[]),
	(pid, path, actions, attr, argv, envp))
CALL(int, kill, (pid_t pid, int number), (pid, number), -1)
CALL(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags), -1)
CALL(int, pidfd_getfd, (int pidfd, int fd, unsigned flags), (pidfd, fd, flags), -1)
CALL(int, pidfd_send_signal, (int pidfd, int number, siginfo_t *info, unsigned flags),
	(pidfd, number, info, flags), -1)
CALL(int, setpgid, (pid_t pid, pid_t group), (pid, group), -1)
CALL(ssize_t, getrandom, (void *bytes, size_t size, unsigned flags), (bytes, size, flags), -1)
CALL(int, getrlimit, (__rlimit_resource_t what, struct rlimit *ret), (what, ret), -1)
CALL(int, gethostname, (char *name, size_t room), (name, room), -1)

/* The object whose calls fail may be loaded only now. */
void *dlopen(const char *path, int flags)
{
	struct fault fault;
	void *loaded;

	TRUE_ONE(dlopen);
	if (fault_at("dlopen", HERE, &fault))
		return NULL;
	loaded = true_one(path, flags);
	fault_loaded();
	return loaded;
}

/* ---- OpenSSL ---- */

TLS(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *method), (method), NULL)
TLS(SSL *, SSL_new, (SSL_CTX * context), (context), NULL)
TLS(BIO *, BIO_new, (const BIO_METHOD *method), (method), NULL)
TLS(SSL_SESSION *, SSL_SESSION_new, (void), (), NULL)
TLS(int, SSL_SESSION_set1_master_key, (SSL_SESSION * session, const unsigned char *key, size_t length),
	(session, key, length), 0)
TLS(int, SSL_SESSION_set_cipher, (SSL_SESSION * session, const SSL_CIPHER *cipher), (session, cipher), 0)
TLS(int, SSL_SESSION_set_protocol_version, (SSL_SESSION * session, int version), (session, version), 0)
TLS(int, SSL_CTX_set_ciphersuites, (SSL_CTX * context, const char *text), (context, text), 0)
TLS(int, SSL_set_ex_data, (SSL * ssl, int index, void *data), (ssl, index, data), 0)
TLS(int, SSL_CTX_use_certificate_chain_file, (SSL_CTX * context, const char *path), (context, path), 0)
TLS(int, SSL_CTX_use_PrivateKey_file, (SSL_CTX * context, const char *path, int type), (context, path, type),
	0)
TLS(int, SSL_CTX_load_verify_file, (SSL_CTX * context, const char *path), (context, path), 0)
TLS(int, SSL_CTX_check_private_key, (const SSL_CTX *context), (context), 0)
TLS(int, SSL_do_handshake, (SSL * ssl), (ssl), -1)
TLS(int, SSL_read_ex, (SSL * ssl, void *bytes, size_t size, size_t *ret), (ssl, bytes, size, ret), 0)
TLS(int, SSL_write_ex, (SSL * ssl, const void *bytes, size_t size, size_t *ret), (ssl, bytes, size, ret), 0)
TLS(int, SSL_shutdown, (SSL * ssl), (ssl), -1)
TLS(int, BIO_read_ex, (BIO * bio, void *bytes, size_t size, size_t *ret), (bio, bytes, size, ret), 0)
TLS(int, BIO_write_ex, (BIO * bio, const void *bytes, size_t size, size_t *ret), (bio, bytes, size, ret), 0)
TLS(int, RAND_bytes, (unsigned char *bytes, int size), (bytes, size), 0)
TLS(EVP_CIPHER *, EVP_CIPHER_fetch, (OSSL_LIB_CTX * library, const char *name, const char *properties),
	(library, name, properties), NULL)
TLS(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_new, (void), (), NULL)
TLS(int, EVP_EncryptInit_ex2,
	(EVP_CIPHER_CTX * context, const EVP_CIPHER *cipher, const unsigned char *key,
		const unsigned char *iv, const OSSL_PARAM *params),
	(context, cipher, key, iv, params), 0)
TLS(int, EVP_EncryptUpdate,
	(EVP_CIPHER_CTX * context, unsigned char *out, int *ret, const unsigned char *in, int length),
	(context, out, ret, in, length), 0)
TLS(int, EVP_EncryptFinal_ex, (EVP_CIPHER_CTX * context, unsigned char *out, int *ret), (context, out, ret),
	0)
TLS(int, EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX * context, int what, int arg, void *more),
	(context, what, arg, more), 0)

/* ---- jansson ---- */

NONE(json_t *, json_loads, (const char *text, size_t flags, json_error_t *error), (text, flags, error), NULL)
NONE(json_t *, json_loadb, (const char *bytes, size_t size, size_t flags, json_error_t *error),
	(bytes, size, flags, error), NULL)
NONE(char *, json_dumps, (const json_t *value, size_t flags), (value, flags), NULL)
NONE(json_t *, json_object, (void), (), NULL)
NONE(json_t *, json_array, (void), (), NULL)
NONE(json_t *, json_string, (const char *text), (text), NULL)
NONE(json_t *, json_integer, (json_int_t value), (value), NULL)
NONE(json_t *, json_deep_copy, (const json_t *value), (value), NULL)
NONE(int, json_object_update, (json_t * object, json_t *other), (object, other), -1)
NONE(int, json_array_append_new, (json_t * array, json_t *value), (array, value), -1)
NONE(int, json_object_set_new, (json_t * object, const char *key, json_t *value), (object, key, value), -1)

json_t *json_pack(const char *format, ...)
{
	struct fault fault;
	va_list args;
	json_t *packed;

	if (fault_at("json_pack", HERE, &fault))
		return NULL;
	va_start(args, format);
	packed = json_vpack_ex(NULL, 0, format, args);
	va_end(args);
	return packed;
}
