/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * relay_devices.c - see relay_devices.h. Owns nothing.
 */
#include "relay_devices.h"

int wt_relay_devices_open(struct wt_relay *relay, enum wt_relay_devices_part part,
	const struct wt_passthrough_events *events, void *arg, struct wt_passthrough **ret_passthrough,
	struct wt_error *err)
{
	const struct wt_relay_options *options = relay->options;
	struct wt_passthrough_config config = { .loop = relay->loop,
		.report = &relay->report,
		.map_path = options->device_map,
		.host = options->device_host,
		.root = "",
		.agent_path = options->agent,
		.source = part != WT_RELAY_DEVICES_ARRIVE,
		.handover = part == WT_RELAY_DEVICES_RETURN };
	int r;

	if (!options->device_map)
		return 0;
	r = wt_passthrough_open(&config, events, arg, ret_passthrough, err);
	return r ? r : wt_passthrough_check(*ret_passthrough, relay->qmp, err);
}
