/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command.h - the subcommands of `watari`: parse options, call, answer an exit code (relay.h).
 */
#ifndef WATARI_QEMU_COMMAND_H
#define WATARI_QEMU_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/channel.h>

#include "destination.h"
#include "relay.h"
#include "source.h"

/* What a parser of options answers when the command shall run; otherwise it is an exit code. */
#define WT_COMMAND_RUN (-1)

int wt_command_send(int argc, char **argv);
int wt_command_receive(int argc, char **argv);
int wt_command_relay(int argc, char **argv);
int wt_command_recover(int argc, char **argv);
int wt_command_status(int argc, char **argv);
int wt_command_cancel(int argc, char **argv);
int wt_command_proceed(int argc, char **argv);
int wt_command_retarget(int argc, char **argv);
int wt_command_gang(int argc, char **argv);
int wt_command_rejuvenate(int argc, char **argv);
int wt_command_replica(int argc, char **argv);
int wt_command_handover(int argc, char **argv);
int wt_command_upgrade(int argc, char **argv);
int wt_command_checkpoint(int argc, char **argv);
int wt_command_restore(int argc, char **argv);
int wt_command_doctor(int argc, char **argv);
int wt_command_devices(int argc, char **argv);
int wt_command_ranks(int argc, char **argv);
int wt_command_daemon(int argc, char **argv);

/* `send` and `receive` without --qmp (and not for help): started by QEMU itself. */
bool wt_command_is_uri(int argc, char **argv);
int wt_command_send_uri(int argc, char **argv);
int wt_command_receive_uri(int argc, char **argv);

/* wt_target_parse that prints its sentence; false: it does not fit. */
bool wt_command_target(char *text, struct wt_address *ret_address, const char **ret_name);
/* Options that `send` and `receive` share: values of getopt_long, and the entries for its table. */
enum {
	WT_OPTION_QMP = 512,
	WT_OPTION_PSK,
	WT_OPTION_TLS_CREDS,
	WT_OPTION_TLS_ALLOW,
	WT_OPTION_INSECURE,
	WT_OPTION_DATA_PLAIN,
	WT_OPTION_FABRIC,
	WT_OPTION_DEVICE,
	WT_OPTION_RECONNECT,
	WT_OPTION_JSON,
	WT_OPTION_JOB,
	WT_OPTION_DEVICES,
	WT_OPTION_DEVICE_HOST,
	WT_OPTION_AGENT,
	WT_OPTION_HOLD,
	WT_OPTION_DAEMON,
	WT_OPTION_HELP,
};
/* Of driven migrations only. */
#define WT_OPTIONS_DEVICES                                                                            \
	{ "devices", 1, NULL, WT_OPTION_DEVICES }, { "device-host", 1, NULL, WT_OPTION_DEVICE_HOST }, \
	{                                                                                             \
		"agent", 1, NULL, WT_OPTION_AGENT                                                     \
	}
#define WT_OPTIONS_COMMON                                                                                   \
	{ "qmp", 1, NULL, WT_OPTION_QMP }, { "psk", 1, NULL, WT_OPTION_PSK },                               \
		{ "tls-creds", 1, NULL, WT_OPTION_TLS_CREDS },                                              \
		{ "tls-allow", 1, NULL, WT_OPTION_TLS_ALLOW }, { "insecure", 0, NULL, WT_OPTION_INSECURE }, \
		{ "data-plain", 0, NULL, WT_OPTION_DATA_PLAIN }, { "fabric", 1, NULL, WT_OPTION_FABRIC },   \
		{ "job", 1, NULL, WT_OPTION_JOB }, { "device", 1, NULL, WT_OPTION_DEVICE },                 \
		{ "reconnect-timeout", 1, NULL, WT_OPTION_RECONNECT }, { "json", 0, NULL, WT_OPTION_JSON }, \
	{                                                                                                   \
		"help", 0, NULL, WT_OPTION_HELP                                                             \
	}

/* Takes one of them; false: it is none of them, or was wrong and a sentence was printed. */
bool wt_command_common(int option, const char *value, struct wt_relay_options *options);
/* What QEMU takes for a limit on downtime: 1 ms to 2000 s. */
bool wt_command_downtime(const char *option, const char *text, uint64_t *ret_ms);
/* "64K", "200M", "1G", plain bytes per second; powers of 1000. */
bool wt_command_rate(const char *option, const char *text, uint64_t *ret_bytes_per_s);
/* "512M", "16G", plain bytes; powers of 1024. */
bool wt_command_bytes(const char *option, const char *text, uint64_t *ret_bytes);
/* Names the job after --job, or else after the VM; prints a sentence and answers false if that is no name for
 * one. suffix: of the VM's name. */
bool wt_command_name_job(struct wt_relay_options *options, const char *suffix);
/* What is there must be enough to begin: prints a sentence and answers false otherwise. */
bool wt_command_check(const struct wt_relay_options *options);
/* ... that part of it which is about who the other end is. */
bool wt_command_check_secure(const struct wt_relay_options *options);
/* ... that part of it which is about --devices. */
bool wt_command_check_devices(const struct wt_relay_options *options);
/* "2s", "300ms", plain seconds; prints a sentence and answers false otherwise. */
bool wt_command_duration(const char *option, const char *text, uint64_t *ret_ns);
bool wt_command_number(const char *option, const char *text, uint64_t max, uint64_t *ret_value);
/* "tcp,verbs" */
bool wt_command_fabrics(const char *text, unsigned *ret_fabrics);
/* The options of `send` and `receive`; strings point into argv. Print what is wrong. */
int wt_command_send_options(int argc, char **argv, struct wt_source_options *ret_options);
int wt_command_receive_options(int argc, char **argv, struct wt_destination_options *ret_options);
/* The request to the job, a new object; it was looked at as the job will. */
int wt_command_retarget_options(
	int argc, char **argv, const char **ret_job, json_t **ret_request, bool *ret_wait);
/* Prints it as help (answers WT_EXIT_OK), or after a mistake (WT_EXIT_USAGE). */
int wt_command_help(const char *text);
int wt_command_usage(const char *text);

#endif
