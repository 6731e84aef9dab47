/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command.c - parsing that the subcommands share. See command.h.
 */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <watari/path.h>

#include "hold.h"
#include "relay.h"
#include "target.h"

#define RATE_MIN 1e3 /* QEMU counts in tenths of a second; nothing per tenth means no limit to it */
#define BYTES_MAX 0x1p62
#define RATE_MAX 1e12
#define MS_NS 1000000ull
#define DOWNTIME_MAX_NS 2000000000000ull /* QEMU's own limit */

int wt_command_help(const char *text)
{
	fputs(text, stdout);
	return WT_EXIT_OK;
}

int wt_command_usage(const char *text)
{
	fputs(text, stderr);
	return WT_EXIT_USAGE;
}

bool wt_command_number(const char *option, const char *text, uint64_t max, uint64_t *ret_value)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || value > max) {
		fprintf(stderr, "watari: %s %s: give a number from 0 to %llu\n", option, text,
			(unsigned long long)max);
		return false;
	}
	*ret_value = value;
	return true;
}

bool wt_command_duration(const char *option, const char *text, uint64_t *ret_ns)
{
	char *end;
	double value = strtod(text, &end);
	double unit = strcmp(end, "ms") == 0 ? 1e6 : strcmp(end, "s") == 0 || !*end ? 1e9 : 0;

	if (end == text || !unit || !(value >= 0) || value * unit > 1e18) {
		fprintf(stderr, "watari: %s %s: give a time such as 2s or 300ms\n", option, text);
		return false;
	}
	*ret_ns = (uint64_t)(value * unit);
	return true;
}

bool wt_command_downtime(const char *option, const char *text, uint64_t *ret_ms)
{
	uint64_t ns;

	if (!wt_command_duration(option, text, &ns))
		return false;
	if (ns < MS_NS || ns > DOWNTIME_MAX_NS) {
		fprintf(stderr, "watari: %s %s: QEMU takes 1ms to 2000s\n", option, text);
		return false;
	}
	*ret_ms = ns / MS_NS;
	return true;
}

/* A number and perhaps K, M or G; negative: neither. */
static double read_scaled(const char *text, double kilo)
{
	static const char suffixes[] = "KMG";
	char *end;
	double value = strtod(text, &end);
	const char *suffix = *end ? strchr(suffixes, *end) : NULL;

	if (text[0] < '0' || text[0] > '9' || (*end && (!suffix || end[1])))
		return -1;
	for (long power = suffix ? suffix - suffixes + 1 : 0; power; power--)
		value *= kilo;
	return value;
}

bool wt_command_bytes(const char *option, const char *text, uint64_t *ret_bytes)
{
	double value = read_scaled(text, 1024);

	if (!(value >= 1 && value <= BYTES_MAX)) {
		fprintf(stderr, "watari: %s %s: give bytes, such as 512M or 16G\n", option, text);
		return false;
	}
	*ret_bytes = (uint64_t)value;
	return true;
}

bool wt_command_rate(const char *option, const char *text, uint64_t *ret_bytes_per_s)
{
	double rate = read_scaled(text, 1000);

	if (!(rate >= RATE_MIN && rate <= RATE_MAX)) {
		fprintf(stderr, "watari: %s %s: give bytes per second from 1K to 1000G, such as 200M\n",
			option, text);
		return false;
	}
	*ret_bytes_per_s = (uint64_t)rate;
	return true;
}

bool wt_command_fabrics(const char *text, unsigned *ret_fabrics)
{
	char copy[64], *save, *word;
	unsigned fabrics = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		if (strcmp(word, "tcp") == 0) {
			fabrics |= WT_FABRIC_BIT(WT_FABRIC_TCP);
		} else if (strcmp(word, "verbs") == 0) {
			fabrics |= WT_FABRIC_BIT(WT_FABRIC_VERBS);
		} else {
			fprintf(stderr, "watari: --fabric %s: there are tcp and verbs\n", word);
			return false;
		}
	}
	*ret_fabrics = fabrics;
	return true;
}

bool wt_command_target(char *text, struct wt_address *ret_address, const char **ret_name)
{
	struct wt_error err = { 0 };

	if (!wt_target_parse(text, ret_address, ret_name, &err))
		return true;
	fprintf(stderr, "watari: %s\n", wt_error_text(&err));
	return false;
}

static bool take_job(const char *name, struct wt_relay_options *o)
{
	if (!wt_job_name_good(name)) {
		fprintf(stderr,
			"watari: --job %s: give 1 to %d printable ASCII characters without /, not beginning with . or -\n",
			name, WT_JOB_NAME_MAX);
		return false;
	}
	strcpy(o->job, name); /* a good name fits */
	return true;
}

bool wt_command_name_job(struct wt_relay_options *o, const char *suffix)
{
	char name[2 * WT_JOB_NAME_MAX];
	int length;

	if (o->job[0])
		return true;
	length = snprintf(name, sizeof name, "%s%s", o->name, suffix);
	if (length < (int)sizeof name && wt_job_name_good(name))
		return take_job(name, o);
	fprintf(stderr, "watari: no job can be named after the VM \"%s\"; give a name with --job\n", o->name);
	return false;
}

static bool take_hold(const char *value, struct wt_relay_options *o)
{
	o->hold_ns = WT_HOLD_DEFAULT_NS;
	if (value && !wt_command_duration("--hold", value, &o->hold_ns))
		return false;
	if (!o->hold_ns)
		fprintf(stderr, "watari: --hold=%s: give more than nothing\n", value);
	return o->hold_ns;
}

static bool take_allowed(const char *value, struct wt_relay_options *o)
{
	if (o->tls_allowed_count == WT_RELAY_ALLOWED_MAX) {
		fprintf(stderr,
			"watari: more than %d times --tls-allow; put the names into a file, --tls-allow @FILE\n",
			WT_RELAY_ALLOWED_MAX);
		return false;
	}
	o->tls_allowed[o->tls_allowed_count++] = value;
	return true;
}

bool wt_command_common(int option, const char *value, struct wt_relay_options *o)
{
	switch (option) {
	case WT_OPTION_QMP:
		o->qmp_path = value;
		return true;
	case WT_OPTION_PSK:
		o->psk_file = value;
		return true;
	case WT_OPTION_TLS_CREDS:
		o->tls_creds = value;
		return true;
	case WT_OPTION_TLS_ALLOW:
		return take_allowed(value, o);
	case WT_OPTION_INSECURE:
		o->insecure = true;
		return true;
	case WT_OPTION_DATA_PLAIN:
		o->data_plain = true;
		return true;
	case WT_OPTION_FABRIC:
		return wt_command_fabrics(value, &o->fabrics);
	case WT_OPTION_DEVICE:
		o->device = value;
		return true;
	case WT_OPTION_RECONNECT:
		return wt_command_duration("--reconnect-timeout", value, &o->reconnect_timeout_ns);
	case WT_OPTION_JOB:
		return take_job(value, o);
	case WT_OPTION_DEVICES:
		o->device_map = value;
		return true;
	case WT_OPTION_DEVICE_HOST:
		o->device_host = value;
		return true;
	case WT_OPTION_AGENT:
		o->agent = value;
		return true;
	case WT_OPTION_HOLD:
		return take_hold(value, o);
	case WT_OPTION_DAEMON:
		o->daemon = true;
		return true;
	case WT_OPTION_JSON:
		o->json = true;
		return true;
	default:
		return false;
	}
}

bool wt_command_check_devices(const struct wt_relay_options *o)
{
	if (o->device_map || (!o->agent && !o->device_host))
		return true;
	fprintf(stderr, "watari: --agent and --device-host are for the devices of --devices MAP\n");
	return false;
}

bool wt_command_check_secure(const struct wt_relay_options *o)
{
	if (!wt_relay_is_secure(o) && !o->insecure)
		fprintf(stderr,
			"watari: give --tls-creds DIR or --psk FILE, or --insecure on loopback and unix sockets\n");
	else if (!!o->tls_creds + !!o->psk_file + o->insecure > 1)
		fprintf(stderr, "watari: --tls-creds, --psk and --insecure exclude each other\n");
	else if (o->tls_allowed_count && !o->tls_creds)
		fprintf(stderr, "watari: --tls-allow is for certificates, --tls-creds DIR\n");
	else
		return true;
	return false;
}

bool wt_command_check(const struct wt_relay_options *o)
{
	if (!o->qmp_path)
		fprintf(stderr, "watari: give --qmp SOCKET, a QMP socket of QEMU that nobody else uses\n");
	else
		return wt_command_check_secure(o) && wt_command_check_devices(o);
	return false;
}
