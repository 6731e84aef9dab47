/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * place.h - where threads run: next to the RDMA devices that they drive.
 */
#ifndef WATARI_PLACE_H
#define WATARI_PLACE_H

/*
 * Lets the calling thread, and those that it starts from now on, run on the processors next to these devices
 * only, as far as it may run there already; so what they touch first lies there, too. devices: names with
 * commas between them. root: before /sys, "" for this host's. Answers 1 if that changed anything; 0: nothing
 * is known of the devices, all is near them, or the thread may not run there: it stays where it is.
 */
int wt_place_near(const char *root, const char *devices);

#endif
