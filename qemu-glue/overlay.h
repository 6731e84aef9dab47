/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * overlay.h - is a file a qcow2 image that was made just now, on top of another one (`qemu-img create -b`)?
 */
#ifndef WATARI_QEMU_OVERLAY_H
#define WATARI_QEMU_OVERLAY_H

/* 1: it is qcow2, and holds nothing of its own, so that all is read from below; 0: it holds something; or
 * -errno: it cannot be read, and -EINVAL: it is no qcow2. */
int wt_overlay_is_new(const char *path);

#endif
