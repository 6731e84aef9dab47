/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_fabric.c - see fake_fabric.h. The loop's thread only, but for regions.
 */
#include "fake_fabric.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "failing.h"
#include "promise.h"

#define LISTENERS 8u
#define PATHS 128u
#define DEPTH 32u
#define REQUESTS 8u

struct wt_endpoint {
	enum wt_fabric fabric;
};

struct wt_region {
	struct wt_endpoint *endpoint;
	uint8_t *base;
	size_t length;
	unsigned access;
};

struct wt_request {
	uint8_t hello[WT_PATH_HELLO_BYTES];
	unsigned tag;
};

struct wt_listener {
	enum wt_fabric fabric;
	int fd;
	unsigned dropped, count;
	struct wt_request *requests[REQUESTS];
	wt_path_find_fn *find;
	void *find_arg;
};

/* ops[0 .. done) are over, the others under way. */
struct wt_path {
	unsigned tag;
	enum wt_role role;
	int fd, error;
	bool at_once;
	uint8_t fill;
	unsigned count, done;
	struct {
		struct wt_op op;
		int status;
	} ops[DEPTH];
};

static struct wt_listener *listeners[LISTENERS];
static struct wt_path *paths[PATHS];
static atomic_uint open_count;
static fake_may_serve *may_serve;

/* Memory of the harness is not the product's to run out of. */
void *__real_calloc(size_t count, size_t size);

static void *make(size_t size)
{
	void *object = __real_calloc(1, size);

	PROMISE(object);
	atomic_fetch_add(&open_count, 1);
	return object;
}

static void drop(void *object)
{
	if (object)
		atomic_fetch_sub(&open_count, 1);
	free(object);
}

void fake_serve_only(fake_may_serve *function)
{
	may_serve = function;
}

unsigned fake_open_count(void)
{
	return atomic_load(&open_count);
}

static int make_fd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	PROMISE(fd >= 0);
	return fd;
}

static void set_readable(int fd, bool readable)
{
	uint64_t value = 1;

	if (readable)
		PROMISE(write(fd, &value, sizeof value) == sizeof value);
	else
		PROMISE(read(fd, &value, sizeof value) == sizeof value || errno == EAGAIN);
}

/* ---- endpoints and regions ---- */

static int endpoint_open(enum wt_fabric fabric, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	if (failing_now(FAKE_FAIL_ENDPOINT))
		return wt_error_set(err, ENODEV, "there is no such device");
	*ret_endpoint = make(sizeof **ret_endpoint);
	(*ret_endpoint)->fabric = fabric;
	return 0;
}

static void endpoint_close(struct wt_endpoint *endpoint)
{
	drop(endpoint);
}

static int region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	PROMISE(base && length && access);
	PROMISE(!(access & WT_ACCESS_SERVE) || (may_serve && may_serve(base, length)));
	if (failing_now(FAKE_FAIL_REGION))
		return wt_error_set(err, ENOMEM, "the limit of locked memory");
	*ret_region = make(sizeof **ret_region);
	**ret_region = (struct wt_region){ endpoint, base, length, access };
	return 0;
}

static void region_key(const struct wt_region *region, struct wt_key *ret_key)
{
	*ret_key = (struct wt_key){ (uintptr_t)region->base, region->length, 4711 };
}

static void region_remove(struct wt_region *region)
{
	drop(region);
}

/* ---- who connects ---- */

static int listener_open(
	enum wt_fabric fabric, struct wt_listener **ret_listener, uint16_t *ret_port, struct wt_error *err)
{
	unsigned at = 0;

	if (failing_now(FAKE_FAIL_LISTENER))
		return wt_error_set(err, EADDRNOTAVAIL, "there is no such address");
	while (listeners[at])
		at++;
	PROMISE(at < LISTENERS);
	listeners[at] = make(sizeof *listeners[at]);
	listeners[at]->fabric = fabric;
	listeners[at]->fd = make_fd();
	*ret_listener = listeners[at];
	*ret_port = (uint16_t)(1000 + at);
	return 0;
}

static void listener_close(struct wt_listener *listener)
{
	for (unsigned i = 0; i < LISTENERS; i++)
		if (listeners[i] == listener)
			listeners[i] = NULL;
	while (listener->count)
		drop(listener->requests[--listener->count]);
	close(listener->fd);
	drop(listener);
}

static int listener_fd(const struct wt_listener *listener)
{
	return listener->fd;
}

static void listener_find(struct wt_listener *listener, wt_path_find_fn *find, void *arg)
{
	listener->find = find;
	listener->find_arg = arg;
}

static unsigned listener_dropped(struct wt_listener *listener)
{
	unsigned dropped = listener->dropped;

	listener->dropped = 0;
	return dropped;
}

static int listener_accept(
	struct wt_listener *listener, struct wt_request **ret_request, uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	set_readable(listener->fd, false);
	if (!listener->count)
		return -EAGAIN;
	*ret_request = listener->requests[--listener->count];
	memcpy(ret_hello, (*ret_request)->hello, WT_PATH_HELLO_BYTES);
	return 0;
}

static void request_refuse(struct wt_request *request)
{
	drop(request);
}

static int make_path(enum wt_role role, unsigned tag, struct wt_path **ret_path, struct wt_error *err)
{
	unsigned at = 0;

	while (at < PATHS && paths[at])
		at++;
	if (at == PATHS)
		return wt_error_set(err, EMFILE, "so many paths");
	paths[at] = make(sizeof *paths[at]);
	paths[at]->role = role;
	paths[at]->tag = tag;
	paths[at]->fd = make_fd();
	*ret_path = paths[at];
	return 0;
}

static int request_admit(struct wt_request *request, struct wt_endpoint *endpoint, enum wt_role role,
	struct wt_path **ret_path, struct wt_error *err)
{
	unsigned tag = request->tag;

	PROMISE(endpoint);
	drop(request);
	if (failing_now(FAKE_FAIL_ADMIT))
		return wt_error_set(err, EIO, "it has left");
	return make_path(role, tag, ret_path, err);
}

static int connect_path(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	PROMISE(endpoint && host);
	if (failing_now(FAKE_FAIL_CONNECT))
		return wt_error_set(err, ECONNREFUSED, "nobody listens");
	return make_path(role, 0, ret_path, err);
}

void fake_request(unsigned listener, const uint8_t hello[WT_PATH_HELLO_BYTES], unsigned tag)
{
	struct wt_listener *at = listeners[listener % LISTENERS];

	for (unsigned i = 0; i < LISTENERS && !at; i++)
		at = listeners[i];
	if (!at || at->count == REQUESTS)
		return;
	at->requests[at->count] = make(sizeof **at->requests);
	memcpy(at->requests[at->count]->hello, hello, WT_PATH_HELLO_BYTES);
	at->requests[at->count++]->tag = tag;
	set_readable(at->fd, true);
}

void fake_drop(unsigned count)
{
	for (unsigned i = 0; i < LISTENERS; i++)
		if (listeners[i]) {
			listeners[i]->dropped += count;
			set_readable(listeners[i]->fd, true);
		}
}

bool fake_find(const uint8_t id[WT_PATH_HELLO_ID_BYTES], uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	for (unsigned i = 0; i < LISTENERS; i++)
		if (listeners[i] && listeners[i]->find)
			return listeners[i]->find(listeners[i]->find_arg, id, ret_hello);
	return false;
}

/* ---- paths ---- */

static void path_close(struct wt_path *path)
{
	for (unsigned i = 0; i < PATHS; i++)
		if (paths[i] == path)
			paths[i] = NULL;
	close(path->fd);
	drop(path);
}

static bool overlaps(const struct wt_op *one, const struct wt_op *other)
{
	const uint8_t *a = one->local, *b = other->local;

	return a < b + other->length && b < a + one->length;
}

/* Nothing else that is under way writes there. */
static void check_alone(const struct wt_op *op)
{
	for (unsigned i = 0; i < PATHS; i++)
		for (unsigned k = paths[i] ? paths[i]->done : 0; paths[i] && k < paths[i]->count; k++)
			PROMISE(!overlaps(&paths[i]->ops[k].op, op));
}

static void finish(struct wt_path *path, int status, uint8_t fill)
{
	const struct wt_op *op = &path->ops[path->done].op;

	if (!status)
		memset(op->local, fill, op->length);
	path->ops[path->done++].status = status;
	set_readable(path->fd, true);
}

static int path_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	PROMISE(count);
	if (path->error)
		return -path->error;
	if (path->count == DEPTH || failing_now(FAKE_FAIL_POST))
		return -EAGAIN;
	PROMISE(path->role == WT_ROLE_PULL && ops->kind == WT_OP_READ);
	PROMISE(ops->length && ops->length <= WT_PATH_READ_MAX &&
		ops->local_region->access == WT_ACCESS_SINK);
	PROMISE((uint8_t *)ops->local >= ops->local_region->base);
	PROMISE((uint8_t *)ops->local + ops->length <= ops->local_region->base + ops->local_region->length);
	check_alone(ops);
	path->ops[path->count++].op = *ops;
	if (path->at_once)
		finish(path, 0, path->fill);
	return 1;
}

static int path_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	unsigned n = path->done < max ? path->done : max;

	set_readable(path->fd, path->error || path->done > n);
	if (!n && path->error)
		return -path->error;
	for (unsigned i = 0; i < n; i++)
		ret_completions[i] = (struct wt_completion){ .cookie = path->ops[i].op.cookie,
			.status = path->ops[i].status,
			.length = path->ops[i].status ? 0 : path->ops[i].op.length };
	path->count -= n;
	path->done -= n;
	memmove(path->ops, path->ops + n, path->count * sizeof path->ops[0]);
	return (int)n;
}

static int path_arm(struct wt_path *path)
{
	return path->error || path->done;
}

static int path_fd(const struct wt_path *path)
{
	return path->fd;
}

static unsigned path_depth(const struct wt_path *path)
{
	return DEPTH;
}

static bool path_alive(struct wt_path *path)
{
	return !path->error;
}

void fake_complete(unsigned tag, unsigned count, int status, uint8_t fill)
{
	for (unsigned i = 0; i < PATHS; i++)
		for (unsigned n = 0; n < count && paths[i] && paths[i]->tag == tag && !paths[i]->error &&
				     paths[i]->done < paths[i]->count;
			n++)
			finish(paths[i], status, fill);
}

void fake_complete_always(unsigned tag, uint8_t fill)
{
	fake_complete(tag, DEPTH, 0, fill);
	for (unsigned i = 0; i < PATHS; i++)
		if (paths[i] && paths[i]->tag == tag) {
			paths[i]->at_once = true;
			paths[i]->fill = fill;
		}
}

void fake_break(unsigned tag, int error)
{
	for (unsigned i = 0; i < PATHS; i++) {
		if (!paths[i] || paths[i]->tag != tag || paths[i]->error)
			continue;
		while (paths[i]->done < paths[i]->count)
			finish(paths[i], -error, 0);
		paths[i]->error = error;
		set_readable(paths[i]->fd, true);
	}
}

/* ---- tables ---- */

#define FABRIC(prefix, what)                                                                 \
	static int prefix##_endpoint_open(const char *device, const char *peer_host,         \
		struct wt_endpoint **ret_endpoint, struct wt_error *err)                     \
	{                                                                                    \
		return endpoint_open(what, ret_endpoint, err);                               \
	}                                                                                    \
	static int prefix##_listener_open(const char *host, uint16_t port,                   \
		struct wt_listener **ret_listener, uint16_t *ret_port, struct wt_error *err) \
	{                                                                                    \
		return listener_open(what, ret_listener, ret_port, err);                     \
	}                                                                                    \
	static const struct wt_fabric_ops prefix##_ops = { .name = #prefix,                  \
		.fabric = what,                                                              \
		.endpoint_open = prefix##_endpoint_open,                                     \
		.listener_open = prefix##_listener_open,                                     \
		.endpoint_close = endpoint_close,                                            \
		.region_add = region_add,                                                    \
		.region_key = region_key,                                                    \
		.region_remove = region_remove,                                              \
		.listener_close = listener_close,                                            \
		.listener_fd = listener_fd,                                                  \
		.listener_find = (what) == WT_FABRIC_TLS ? listener_find : NULL,             \
		.listener_dropped = listener_dropped,                                        \
		.listener_accept = listener_accept,                                          \
		.request_admit = request_admit,                                              \
		.request_refuse = request_refuse,                                            \
		.connect = connect_path,                                                     \
		.close = path_close,                                                         \
		.post = path_post,                                                           \
		.poll = path_poll,                                                           \
		.arm = path_arm,                                                             \
		.fd = path_fd,                                                               \
		.depth = path_depth,                                                         \
		.alive = path_alive };

FABRIC(verbs, WT_FABRIC_VERBS)
FABRIC(tcp, WT_FABRIC_TCP)
FABRIC(tls, WT_FABRIC_TLS)

const struct wt_fabric_ops *wt_fabric_ops(enum wt_fabric fabric)
{
	switch (fabric) {
	case WT_FABRIC_VERBS:
		return &verbs_ops;
	case WT_FABRIC_TCP:
		return &tcp_ops;
	case WT_FABRIC_TLS:
		return &tls_ops;
	default:
		return NULL;
	}
}

const char *wt_fabric_name(enum wt_fabric fabric)
{
	const struct wt_fabric_ops *ops = wt_fabric_ops(fabric);

	return ops ? ops->name : "invalid";
}
