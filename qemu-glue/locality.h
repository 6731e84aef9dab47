/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * locality.h - where threads run: next to the devices that they drive. What they touch first lies there, too.
 */
#ifndef WATARI_QEMU_LOCALITY_H
#define WATARI_QEMU_LOCALITY_H

/*
 * Lets the calling thread, and those that it starts from now on, run on the processors next to these devices
 * only, as far as it may run there already. devices: names of RDMA devices or network interfaces with commas
 * between them, or NULL. Answers 1 if that changed anything; 0: nothing is known of the devices, all is near
 * them, or the thread may not run there: it stays where it is. Takes some 10 ms.
 */
int wt_locality_near(const char *devices);

#endif
