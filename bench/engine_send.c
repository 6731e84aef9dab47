/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_send.c - wt_send_lat: a message goes over watari's control connection, and comes back.
 *
 * The end that waits sends back whatever comes; the other one has one message under way. As in perftest's
 * send tests, half of the round trip is reported. Both ends sleep when there is nothing to do, as watari's
 * do.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <watari/channel.h>

struct talk {
	struct wt_loop *loop;
	struct wt_credentials *credentials;
	struct wt_channel_listener *listener;
	struct wt_channel *channel; /* NULL: none yet */
	struct wt_error *err;
	const struct wt_bench_options *options;
	/* of the end that calls */
	uint8_t *message;
	uint64_t size, came, sent_ns, until_ns;
	uint64_t *samples;
	size_t count, max;
};

static int talk_open(struct talk *talk, const struct wt_bench_options *options, struct wt_error *err)
{
	talk->options = options;
	talk->err = err;
	if (wt_loop_open(&talk->loop))
		return wt_error_set(err, EMFILE, "there are no descriptors left");
	return options->psk_file ? wt_credentials_psk(options->psk_file, NULL, &talk->credentials, err) : 0;
}

static void talk_close(struct talk *talk)
{
	if (talk->channel)
		wt_channel_close(talk->channel);
	if (talk->listener)
		wt_channel_listener_close(talk->listener);
	wt_credentials_free(talk->credentials);
	if (talk->loop)
		wt_loop_close(talk->loop);
	free(talk->message);
	free(talk->samples);
}

static void broken(void *arg, const struct wt_error *why)
{
	struct talk *talk = arg;

	*talk->err = *why;
	wt_loop_stop(talk->loop, -1);
}

/* ---- the end that waits ---- */

static void echo(void *arg, const uint8_t *data, size_t length)
{
	struct talk *talk = arg;

	if (wt_channel_send(talk->channel, data, length))
		wt_loop_stop(talk->loop, wt_error_set(talk->err, EPIPE, "nothing can be sent back"));
}

static void left(void *arg, const struct wt_error *why)
{
	struct talk *talk = arg;

	if (why->code == ESHUTDOWN)
		wt_loop_stop(talk->loop, 0);
	else
		broken(talk, why);
}

static void accepted(void *arg, struct wt_channel *channel)
{
	static const struct wt_channel_events events = { .bytes = echo, .closed = left };
	struct talk *talk = arg;

	if (talk->channel) {
		wt_channel_close(channel);
		return;
	}
	talk->channel = channel;
	wt_channel_set_events(channel, &events, talk);
}

static void refused(void *arg, const struct wt_error *why)
{
	broken(arg, why);
}

int wt_bench_send_wait(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	static const struct wt_channel_listener_events events = { .accepted = accepted, .refused = refused };
	struct wt_address address = { .host = options->psk_file ? NULL : "127.0.0.1",
		.port = (uint16_t)options->port };
	struct talk talk = { 0 };
	uint16_t port;
	int status = talk_open(&talk, options, err);

	if (status >= 0)
		status = wt_channel_listen(
			talk.loop, &address, talk.credentials, &events, &talk, &talk.listener, &port, err);
	if (status >= 0) {
		wt_bench_waits_say(options, port);
		status = wt_loop_run(talk.loop);
	}
	talk_close(&talk);
	return status;
}

/* ---- the end that calls ---- */

static void message_send(void *arg)
{
	struct talk *talk = arg;

	talk->came = 0;
	talk->sent_ns = wt_bench_now_ns();
	if (wt_channel_send(talk->channel, talk->message, talk->size))
		wt_loop_stop(talk->loop, wt_error_set(talk->err, EPIPE, "nothing can be sent"));
}

static void came_back(void *arg, const uint8_t *data, size_t length)
{
	struct talk *talk = arg;
	uint64_t now_ns = wt_bench_now_ns();

	if (length > talk->size - talk->came || memcmp(data, talk->message + talk->came, length) != 0) {
		wt_loop_stop(
			talk->loop, wt_error_set(talk->err, EIO, "another message came back than was sent"));
		return;
	}
	talk->came += length;
	if (talk->came < talk->size)
		return;
	talk->samples[talk->count++] = now_ns - talk->sent_ns;
	if (talk->count == talk->max || now_ns >= talk->until_ns)
		wt_loop_stop(talk->loop, 0);
	else
		message_send(talk);
}

static int measure(const struct wt_bench_test *test, struct talk *talk, uint64_t size)
{
	const struct wt_bench_options *options = talk->options;
	struct wt_bench_latency latency;
	int status;

	talk->size = size;
	talk->count = 0;
	talk->until_ns = options->duration_s ? wt_bench_now_ns() + options->duration_s * WT_BENCH_SECOND_NS
					     : UINT64_MAX;
	message_send(talk);
	status = wt_loop_run(talk->loop);
	if (status < 0)
		return status;
	wt_bench_latency_of(talk->samples, talk->count, true, &latency);
	wt_bench_latency_say(test, options, size, talk->count, &latency);
	return 0;
}

static void opened(void *arg)
{
	struct talk *talk = arg;

	wt_loop_stop(talk->loop, 0);
}

int wt_bench_send_lat(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	static const struct wt_channel_events events = {
		.open = opened, .bytes = came_back, .closed = broken
	};
	struct wt_address address = { .host = options->host, .port = (uint16_t)options->port };
	struct talk talk = { .max = options->duration_s ? WT_BENCH_ITERATIONS_MAX : options->iterations };
	int status = talk_open(&talk, options, err);

	talk.samples = malloc(talk.max * sizeof *talk.samples);
	talk.message = malloc(test->size_max);
	if (status >= 0 && (!talk.samples || !talk.message))
		status = wt_error_set(err, ENOMEM, "no memory for the messages");
	if (talk.message)
		wt_bench_pattern_fill(talk.message, test->size_max);
	if (status >= 0)
		status = wt_channel_connect(talk.loop, &address, talk.credentials, WT_BENCH_WAIT_NS, &events,
			&talk, &talk.channel, err);
	if (status >= 0)
		status = wt_loop_run(talk.loop);
	if (status >= 0)
		wt_bench_latency_head(options);
	for (uint64_t size = wt_bench_size_first(options); status >= 0 && size;
		size = wt_bench_size_next(test, options, size))
		status = measure(test, &talk, size);
	talk_close(&talk);
	return status;
}
