/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits.h - how much one session may take of a host, and how many there may be: all such limits are here.
 *
 * A session is one end of a migration. What a peer can make a session take is bounded by these; what depends
 * on the guest is said beside them. Limits on what is well-formed are not here, but where it is decoded:
 * wire.h for messages, block.h for blocks, stream.h for QEMU's stream, path.h for fabrics.
 */
#ifndef WATARI_LIMITS_H
#define WATARI_LIMITS_H

/* ---- memory ---- */

/* The source's copies of pages that cannot be read where they are; taken as it fills. */
#define WT_LIMIT_RING_BYTES (64u << 20)
/* What is announced and has not landed: entries (a power of two), and bytes of content, which
 * stay where they are. Past either QEMU is not read. */
#define WT_LIMIT_PENDING_ENTRIES 16384u
#define WT_LIMIT_PENDING_BYTES (256ull << 20)
/* Of QEMU's stream, read and not yet understood; for each of its channels. */
#define WT_LIMIT_STREAM_BYTES (1u << 20)
/* What QEMU's monitor has said and nobody has looked at; it is given up then. */
#define WT_LIMIT_QMP_BYTES ((size_t)64 << 20)
/* Beside these, a bit per page of guest RAM at the source and two at the destination; one more for each
 * further server. */

/* ---- pinned memory ---- */

/* Over verbs only. The source pins what exists of guest RAM and its ring, the destination guest RAM as it is
 * announced, in pieces of this size; what the kernel does not let it pin (RLIMIT_MEMLOCK, `watari daemon
 * --max-pinned`) goes by copies at the source, and over tcp at the destination. */
#define WT_LIMIT_PIN_CHUNK_BYTES (16ull << 20)

/* ---- sockets ---- */

/* Descriptors that a daemon keeps free for a session, and for itself. What QEMU's own channels take
 * (--channels) and data connections beyond the default are counted on top. */
#define WT_LIMIT_SESSION_FDS 64u
#define WT_LIMIT_DAEMON_FDS 64u
/* Clients of a job's control socket. One more, and the one that was silent longest is closed. */
#define WT_LIMIT_JOB_CLIENTS 8u

/* ---- what is told ---- */

/* Bytes of lines of one session. After that only its errors and its summary are told. */
#define WT_LIMIT_LOG_BYTES (16u << 20)

/* ---- sessions ---- */

/* At once in one daemon (`watari daemon --max-sessions`), and at most what may be given there. */
#define WT_LIMIT_SESSIONS 256u
#define WT_LIMIT_SESSIONS_MAX 4096u
/* Connections to a daemon that have not asked for anything yet. */
#define WT_LIMIT_DAEMON_STRANGERS 32u

#endif
