# SPDX-License-Identifier: BSD-3-Clause
"""calls.py - in which ways each call may fail: the error classes of a place. And places: from an address to a name.

A way is (kind, how): the kind is a column of the table, how a word of libfault.so. What cannot happen to a call (a lock that is
held, for eventfd) is not tried. A way that ends with "+" lasts: each later call of that place fails, too.
"""

import collections
import errno
import os
import subprocess


def e(*names):
    return [f"e{getattr(errno, name)}" for name in names]


MEMORY = [("memory", "e12")]
LASTING = [("memory", "e12+")]
FDS = [("descriptors", how) for how in e("EMFILE")] + [("descriptors", e("EMFILE")[0] + "+")]
AGAIN = [("interrupted", how) for how in e("EINTR", "EAGAIN")]
HALF = [("short", "short")]
END = [("end", "end")]


def net(*names):
    return [("network", how) for how in e(*names)]


def files(*names):
    return [("files", how) for how in e(*names)]


def system(*names):
    return [("system", how) for how in e(*names)]


TLS = [("TLS", "fail")]
WAYS = {
    **{call: MEMORY for call in ("malloc calloc realloc reallocarray aligned_alloc strdup strndup asprintf vasprintf").split()},
    **{call: [("memory", "fail")] for call in (
        "json_loads json_loadb json_dumps json_object json_array json_string json_integer json_deep_copy json_object_update "
        "json_array_append_new json_object_set_new json_pack").split()},
    "mmap": MEMORY + system("EACCES"), "munmap": MEMORY, "madvise": MEMORY + system("EAGAIN"), "memfd_create": FDS + MEMORY,
    "epoll_create1": FDS + MEMORY, "epoll_ctl": MEMORY + system("ENOSPC"), "epoll_wait": [("interrupted", e("EINTR")[0])],
    "poll": [("interrupted", e("EINTR")[0])] + MEMORY, "eventfd": FDS, "timerfd_create": FDS, "timerfd_settime": system("EINVAL"),
    "signalfd": FDS, "pipe2": FDS, "dup2": FDS, "dup3": FDS, "close": files("EIO", "EINTR"), "fcntl": system("EINVAL"),
    "ioctl": system("ENOTTY"), "socket": FDS + net("ENOBUFS"), "socketpair": FDS, "accept4": FDS + net("ECONNABORTED"),
    "bind": net("EADDRINUSE", "EACCES"), "listen": net("EADDRINUSE"), "connect": net("ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH"),
    "getsockname": net("ENOBUFS"), "getsockopt": net("ENOBUFS"), "setsockopt": net("ENOBUFS"), "shutdown": net("ENOTCONN"),
    "getaddrinfo": [("network", "e-3"), ("network", "e-10")], "getnameinfo": [("network", "e-10")],
    "recv": net("ECONNRESET", "ETIMEDOUT") + AGAIN + HALF + END, "recvmsg": net("ECONNRESET") + AGAIN,
    "send": net("ECONNRESET", "EPIPE") + AGAIN + HALF, "sendmsg": net("ECONNRESET", "EPIPE") + AGAIN,
    "sendfile": net("ECONNRESET") + files("EIO") + AGAIN + HALF,
    "read": files("EIO") + AGAIN + HALF + END, "write": files("EIO", "ENOSPC") + AGAIN + HALF,
    "pread": files("EIO") + AGAIN[:1] + HALF + END, "pwrite": files("EIO", "ENOSPC") + AGAIN[:1] + HALF,
    "pwritev": files("EIO", "ENOSPC") + AGAIN[:1], "process_vm_readv": system("EPERM", "ESRCH"), "fsync": files("EIO", "ENOSPC"),
    "ftruncate": files("ENOSPC", "EIO"), "fallocate": files("ENOSPC", "EOPNOTSUPP"), "posix_fallocate": files("ENOSPC"),
    "sync_file_range": files("EIO"), "lseek": files("EIO"), "fstat": files("EIO"), "stat": files("EIO", "ENOENT"), "lstat": files("EIO"),
    "fstatfs": files("EIO"), "access": files("EACCES"), "mkdir": files("EACCES", "ENOSPC"), "rmdir": files("EBUSY"),
    "unlink": files("EACCES"), "unlinkat": files("EACCES"), "rename": files("EIO", "ENOSPC"), "renameat": files("EIO", "ENOSPC"),
    "linkat": files("EIO", "ENOSPC"), "chmod": files("EPERM"), "fchmod": files("EPERM"), "flock": files("EWOULDBLOCK", "ENOLCK"),
    "fopen": FDS[:1] + files("EACCES", "ENOENT"), "fgets": files("EIO"), "opendir": FDS[:1] + files("EACCES"), "fdopendir": MEMORY,
    "readdir": files("EIO"), "readlink": files("EACCES"), "realpath": files("EACCES"),
    "open": FDS + files("EACCES", "ENOENT", "EIO"), "openat": FDS + files("EACCES", "ENOENT", "EIO"),
    "pthread_create": system("EAGAIN"), "pthread_mutex_init": MEMORY, "pthread_cond_init": MEMORY, "pthread_rwlock_init": MEMORY,
    "pthread_attr_setstacksize": system("EINVAL"), "fork": system("EAGAIN") + MEMORY, "waitpid": AGAIN[:1],
    "posix_spawn": system("EAGAIN"), "posix_spawnp": system("EAGAIN", "ENOENT"), "kill": system("EPERM"),
    "pidfd_open": FDS[:1] + system("ESRCH", "ENOSYS"), "pidfd_getfd": FDS[:1] + system("EPERM"), "pidfd_send_signal": system("ESRCH"),
    "setpgid": system("EPERM"), "getrandom": AGAIN[:1] + system("ENOSYS"), "getrlimit": system("EPERM"), "gethostname": system("ENAMETOOLONG"),
    "dlopen": files("ENOENT"),
    "qmp": [("QMP", "refused"), ("QMP", "silent"), ("QMP", "closed")],
}

VERBS = [("verbs", how) for how in e("ENOMEM", "EINVAL")]
DEVICE = [("verbs", how) for how in e("ENODEV", "ENOMEM")]
WAYS.update({
    **{call: VERBS for call in ("ibv_alloc_pd ibv_create_comp_channel ibv_create_cq ibv_reg_mr ibv_reg_mr_iova2 ibv_modify_qp rdma_accept "
                                "rdma_connect rdma_create_qp rdma_create_id rdma_migrate_id rdma_set_option rdma_reject").split()},
    **{call: DEVICE for call in "ibv_get_device_list ibv_query_device rdma_create_event_channel rdma_get_devices rdma_listen".split()},
    **{call: [("verbs", how) for how in e("EIO")] for call in (
        "ibv_dereg_mr ibv_destroy_cq ibv_destroy_comp_channel ibv_dealloc_pd ibv_get_cq_event ibv_get_device_index rdma_disconnect").split()},
    "rdma_bind_addr": [("verbs", how) for how in e("EADDRINUSE", "EADDRNOTAVAIL", "ENODEV")],
    "rdma_resolve_addr": [("verbs", how) for how in e("EADDRNOTAVAIL", "ENETUNREACH")],
    "rdma_resolve_route": [("verbs", how) for how in e("EHOSTUNREACH", "EINVAL")],
    "rdma_get_cm_event": [("verbs", how) for how in e("EINTR", "ENODEV")],
    "ibv_post_send": [("verbs", how) for how in e("ENOMEM", "EIO")] + [("verbs", "short")], "ibv_poll_cq": [("verbs", "fail")]})
DEVICE_CALLS = ("ibv_", "rdma_")

Site = collections.namedtuple("Site", "call offset name")
NUMBERS = {str(value): name for name, value in vars(errno).items() if isinstance(value, int)}


def ways(call):
    """[(kind, how)]"""
    if call.startswith(("SSL_", "BIO_", "RAND_", "EVP_")):
        return TLS
    return WAYS[call]


def word(how, call=""):
    """How, for people."""
    lasting = " from then on" if how.endswith("+") else ""
    how = how.rstrip("+")
    if call == "ibv_post_send" and how == "short":
        return "queue pair in error"
    return {"e-3": "EAI_AGAIN", "e-10": "EAI_MEMORY"}.get(how, NUMBERS.get(how[1:], how) if how[0] == "e" else how) + lasting


def name_sites(binary, recorded):
    """[Site] of recorded lines "call offset", in the order of the source. A name is "file.c function: call", with #n where a
    function makes the same call in several places."""
    plain = sorted({tuple(line.split()) for line in recorded if len(line.split()) == 2 and not line.startswith("qmp ")})
    addresses = [f"0x{int(offset, 16) - 1:x}" for _, offset in plain]
    told = subprocess.run(["addr2line", "-f", "-e", binary, *addresses], check=True, capture_output=True, text=True).stdout.split("\n")
    where = []
    for n, (call, offset) in enumerate(plain):
        function, line = told[2 * n], told[2 * n + 1].split(" (")[0]
        file, _, number = line.rpartition(":")
        where.append((os.path.basename(file), int(number) if number.isdigit() else 0, function, call, offset))
    sites, seen = [], collections.Counter()
    for file, _, function, call, offset in sorted(where, key=lambda w: (w[0], w[1], int(w[4], 16))):
        name = f"{file} {function}: {call}"
        seen[name] += 1
        sites.append(Site(call, offset, name if seen[name] == 1 else f"{name} #{seen[name]}"))
    commands = sorted({line.split()[1] for line in recorded if line.startswith("qmp ")})
    return sites + [Site("qmp", command, f"QMP {command}") for command in commands]
