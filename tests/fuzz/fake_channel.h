/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_channel.h - control connections of a fuzzer, in place of channel*.c: who connects and what comes, the
 * harness says; what the product sends goes to a function of the harness.
 */
#ifndef WT_TEST_FAKE_CHANNEL_H
#define WT_TEST_FAKE_CHANNEL_H

#include <stdbool.h>

#include <watari/channel.h>

#define FAKE_CHANNELS 24u

/* What the product sends; answers what wt_channel_send does. */
typedef int fake_channel_sent(unsigned number, const void *data, size_t length);
void fake_channel_watch(fake_channel_sent *sent);

/* Somebody connects to the listener of the product. Answers the number of his channel; 0: not now. */
unsigned fake_channel_accept(void);
/* The product has begun to connect: it is connected. Answers the channel's number; 0: it has not. */
unsigned fake_channel_open(void);
void fake_channel_refuse_connects(bool refuse);
/* Bytes for the product; false: it has closed that channel. */
bool fake_channel_bytes(unsigned number, const void *data, size_t length);
/* The other end is gone. */
void fake_channel_end(unsigned number, int code);
/* Somebody was refused who wanted to connect. */
void fake_channel_refused(void);
unsigned fake_channel_count(void);

#endif
