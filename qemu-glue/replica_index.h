/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_index.h - the index of a directory with guest RAM in it: index.json, as docs/REPLICA.md describes
 * it. Pure.
 */
#ifndef WATARI_QEMU_REPLICA_INDEX_H
#define WATARI_QEMU_REPLICA_INDEX_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>

#define WT_REPLICA_FORMAT 1
#define WT_REPLICA_LAYERS_MAX 63
#define WT_REPLICA_DISKS_MAX 64
#define WT_REPLICA_DISK_FILES_MAX 256 /* one on top of the other */
#define WT_REPLICA_DIGEST_BYTES 16
#define WT_REPLICA_VM_MAX 255           /* bytes */
#define WT_REPLICA_INDEX_MAX (4u << 20) /* bytes: 1024 blocks with the longest names fit */

/* The files of a directory, by generation. */
enum wt_replica_kind {
	WT_REPLICA_RAW,    /* ram-NUMBER-GENERATION.raw: page n at its own offset */
	WT_REPLICA_PACKED, /* ram-NUMBER-GENERATION.pgs: pages as they came */
	WT_REPLICA_FRAMES, /* ram-NUMBER-GENERATION.zst: compressed (frame.h) */
	WT_REPLICA_MAP,    /* ram-NUMBER-GENERATION.map */
	WT_REPLICA_STATE,  /* state-0-GENERATION.bin */
};

struct wt_replica_image {
	char name[WT_BLOCK_NAME_MAX + 1];            /* of the block */
	char file[NAME_MAX + 1];                     /* in the same directory */
	uint64_t length;                             /* bytes, whole pages */
	uint8_t map_digest[WT_REPLICA_DIGEST_BYTES]; /* of a checkpoint: of the block's map */
};

/* What one checkpoint has written: a file for each block. */
struct wt_replica_layer {
	unsigned id;               /* 1 .. WT_REPLICA_LAYERS_MAX, as in maps (page_map.h) */
	enum wt_replica_kind kind; /* raw, packed, or frames */
	uint64_t generation;
};

/* A file that a disk's content is in. */
struct wt_replica_disk_file {
	char name[PATH_MAX];
	char format[32];    /* as QEMU calls it */
	int64_t written_ns; /* when it was written last, since 1970; 0: it is no regular file, and nobody can
			       say */
};

/* A writable disk, as it was when the guest was stopped. */
struct wt_replica_disk {
	char device[WT_BLOCK_NAME_MAX + 1]; /* its name, for people */
	char place[WT_BLOCK_NAME_MAX + 1];  /* which one it is to the guest (disk_info.h) */
	unsigned file_count;                /* at least 1 */
	struct wt_replica_disk_file *files; /* each on top of the next; not written any more */
	char overlay[PATH_MAX];             /* on top of files[0]: where the guest that went on writes */
};

/* What a checkpoint has beside RAM. */
struct wt_replica_checkpoint {
	uint64_t generation; /* of its maps, its device state and its newest layer */
	uint64_t seed;       /* of the digests in its maps */
	unsigned layer_count;
	struct wt_replica_layer layers[WT_REPLICA_LAYERS_MAX]; /* the newest one is the last */
	uint64_t state_length;                                 /* of the stripped stream, bytes */
	uint8_t state_digest[WT_REPLICA_DIGEST_BYTES];
	bool running;     /* the guest was, and not paused */
	char machine[64]; /* QEMU's machine type */
	char version[32]; /* QEMU's */
	unsigned disk_count;
	struct wt_replica_disk *disks; /* to be freed with wt_replica_disks_free */
};

struct wt_replica_index {
	char vm[WT_REPLICA_VM_MAX + 1];
	unsigned count; /* 1 .. WT_BLOCKS_MAX */
	struct wt_replica_image *images;
	struct wt_replica_checkpoint *checkpoint; /* NULL: it is RAM alone */
};

#define WT_REPLICA_FILE_MAX 48 /* bytes of such a name, NUL included */

void wt_replica_file_name(
	enum wt_replica_kind kind, unsigned number, uint64_t generation, char ret_name[WT_REPLICA_FILE_MAX]);
/* The first `length` bytes are such a name. */
bool wt_replica_is_file_name(const char *name, size_t length);
/* Whether the index needs a file. */
bool wt_replica_index_names(const struct wt_replica_index *index, const char *file);
/* Every image is as long as its block, byte for byte: no maps are needed to read it. */
bool wt_replica_index_flat(const struct wt_replica_index *index);
void wt_replica_disks_free(struct wt_replica_disk *disks, unsigned count);
/* NULL: there is no layer of that id. */
const struct wt_replica_layer *wt_replica_layer(const struct wt_replica_checkpoint *checkpoint, unsigned id);

/*
 * `from` is what messages call the text. What is accepted: names are not empty, no two blocks share a name or
 * a file, a file is a plain name that cannot leave the directory, all lengths together fit into 63 bits. The
 * index of a checkpoint carries a digest of itself, which is right.
 */
int wt_replica_index_parse(const char *text, size_t length, const char *from,
	struct wt_replica_index **ret_index, struct wt_error *err);
void wt_replica_index_free(struct wt_replica_index *index);
/* The text, NUL at its end, to be freed. -EINVAL: a name is no UTF-8; -E2BIG: nobody would
 * read it; -ENOMEM. */
int wt_replica_index_render(const struct wt_replica_index *index, char **ret_text, struct wt_error *err);

#endif
