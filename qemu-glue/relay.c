/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * relay.c - see relay.h. One thread: the loop's.
 */
#include "relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "locality.h"

bool wt_relay_is_secure(const struct wt_relay_options *options)
{
	return options->psk_file || options->tls_creds;
}

static int load_credentials(struct wt_relay *relay, struct wt_error *err)
{
	const struct wt_relay_options *o = relay->options;

	if (o->tls_creds)
		return wt_credentials_x509(
			o->tls_creds, o->tls_allowed, o->tls_allowed_count, &relay->credentials, err);
	return o->psk_file ? wt_credentials_psk(o->psk_file, NULL, &relay->credentials, err) : 0;
}

int wt_relay_open(struct wt_relay *relay, const struct wt_relay_options *options,
	const struct wt_qmp_events *events, void (*signalled)(void *arg, const char *signal_name),
	const struct wt_job_command *commands, void *arg, struct wt_error *err)
{
	const struct wt_relay_within *within = options->within;
	int r;

	*relay = (struct wt_relay){ .options = options, .signals.fd = -1, .arg = arg };
	if (within)
		wt_report_open_on(&relay->report, options->json, within->out, within->err);
	else
		wt_report_open(&relay->report, options->json);
	wt_locality_near(options->device);
	r = wt_loop_open(&relay->loop);
	if (r)
		return wt_error_set(err, -r, "no event loop: %s", strerror(-r));
	if (within)
		r = wt_signals_open_on(&relay->signals, relay->loop, within->end_fd, signalled, arg, err);
	else
		r = wt_signals_open(&relay->signals, relay->loop, signalled, arg, err);
	if (!r && options->job[0])
		r = wt_job_open(relay->loop, options->job, commands, arg, &relay->job, err);
	if (!r && options->qmp_path)
		r = wt_qmp_open(
			relay->loop, options->qmp_path, WT_RELAY_QMP_NS, events, arg, &relay->qmp, err);
	if (!r && options->qmp_path)
		r = wt_guest_ram_open(relay->qmp, &relay->ram, err);
	if (!r)
		r = load_credentials(relay, err);
	return r;
}

void wt_relay_close(struct wt_relay *relay)
{
	if (relay->qmp)
		wt_qmp_close(relay->qmp);
	wt_guest_ram_close(relay->ram);
	wt_credentials_free(relay->credentials);
	wt_job_close(relay->job);
	wt_signals_close(&relay->signals);
	if (relay->loop)
		wt_loop_close(relay->loop);
}

json_t *wt_relay_status(const struct wt_relay *relay, const char *role, const struct wt_progress *progress)
{
	json_t *status = json_pack("{s:s,s:s,s:s,s:i,s:f}", "job", relay->options->job, "vm",
		relay->options->name, "role", role, "pid", (int)getpid(), "elapsed_ms",
		(double)(wt_report_now_ns() - relay->report.start_ns) / 1e6);
	json_t *figures = wt_progress_json(progress);

	json_object_update(status, figures);
	json_decref(figures);
	return status;
}

void wt_relay_announce_self(struct wt_qmp *qmp)
{
	wt_qmp_execute(qmp, "announce-self",
		json_pack("{s:i,s:i,s:i,s:i}", "initial", 50, "max", 550, "rounds", 5, "step", 50), NULL,
		NULL);
}

int wt_relay_socket_open(struct wt_relay_socket *place, const char *what, struct wt_error *err)
{
	const char *tmp = getenv("XDG_RUNTIME_DIR");

	if (!tmp || strlen(tmp) > 32)
		tmp = "/tmp";
	snprintf(place->directory, sizeof place->directory, "%s/watari-XXXXXX", tmp);
	if (!mkdtemp(place->directory)) {
		place->directory[0] = '\0';
		return wt_error_set(
			err, errno, "no directory for QEMU's socket in %s: %s", tmp, strerror(errno));
	}
	snprintf(place->path, sizeof place->path, "%s/%s.sock", place->directory, what);
	return 0;
}

void wt_relay_socket_close(struct wt_relay_socket *place)
{
	if (!place->directory[0])
		return;
	unlink(place->path);
	rmdir(place->directory);
	place->directory[0] = '\0';
}
