/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fabrics.c - over which fabrics a rank is reached; see fabrics.h.
 *
 * Addresses and devices are looked for anew each time: a machine that has moved has others. Tcp is always
 * there, because two ranks of which one has no device talk over it.
 */
#include "fabrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* The addresses of this host that others may reach, one after the other; answers the first true. */
static bool addresses_try(bool (*fn)(void *arg, const char *host), void *arg)
{
	char host[INET_ADDRSTRLEN];
	struct ifaddrs *list;
	struct ifaddrs *at;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return false;
	for (at = list; at && !found; at = at->ifa_next) {
		if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || !(at->ifa_flags & IFF_UP) ||
			at->ifa_flags & IFF_LOOPBACK)
			continue;
		inet_ntop(AF_INET, &((struct sockaddr_in *)at->ifa_addr)->sin_addr, host, sizeof host);
		found = fn(arg, host);
	}
	freeifaddrs(list);
	return found;
}

static bool address_copy(void *arg, const char *host)
{
	strcpy(arg, host);
	return true;
}

struct attempt {
	struct wt_mesh *mesh;
	uint32_t epoch;
};

static bool verbs_attach(void *arg, const char *host)
{
	const struct attempt *attempt = arg;

	return wt_mesh_attach(attempt->mesh, WT_FABRIC_VERBS, host, attempt->epoch, NULL) >= 0;
}

static bool given(const char *text)
{
	return text && text[0];
}

static int attach_tcp(
	struct wt_mesh *mesh, const struct wt_fabrics *wanted, uint32_t epoch, struct wt_error *err)
{
	char host[INET_ADDRSTRLEN] = "127.0.0.1";

	if (given(wanted->host))
		return wt_mesh_attach(mesh, WT_FABRIC_TCP, wanted->host, epoch, err);
	addresses_try(address_copy, host);
	return wt_mesh_attach(mesh, WT_FABRIC_TCP, host, epoch, err);
}

static int attach_verbs(
	struct wt_mesh *mesh, const struct wt_fabrics *wanted, uint32_t epoch, struct wt_error *err)
{
	struct attempt attempt = { mesh, epoch };

	if (given(wanted->verbs_host))
		return wt_mesh_attach(mesh, WT_FABRIC_VERBS, wanted->verbs_host, epoch, err);
	if (addresses_try(verbs_attach, &attempt))
		return 0;
	return wt_error_set(
		err, ENODEV, "no address of this host belongs to an RDMA device; see `rdma link`");
}

int wt_fabrics_attach(struct wt_mesh *mesh, const struct wt_fabrics *wanted, uint32_t epoch,
	struct wt_error *ret_note, struct wt_error *err)
{
	const char *fabrics = given(wanted->fabrics) ? wanted->fabrics : "verbs,tcp";
	bool only = strcmp(fabrics, "verbs") == 0, none = strcmp(fabrics, "tcp") == 0;
	struct wt_error why = { 0 };
	int status;

	if (!only && !none && strcmp(fabrics, "verbs,tcp") != 0)
		return wt_error_set(err, EINVAL,
			"there are no fabrics \"%.40s\"; say verbs,tcp, or tcp, or verbs", fabrics);
	status = attach_tcp(mesh, wanted, epoch, err);
	if (status < 0 || none)
		return status;
	status = attach_verbs(mesh, wanted, epoch, &why);
	if (status >= 0)
		return 0;
	if (only) {
		wt_mesh_detach(mesh);
		return wt_error_set(
			err, -status, "nothing but verbs is wanted, and %.300s", wt_error_text(&why));
	}
	if (given(wanted->verbs_host))
		wt_error_set(ret_note, -status, "over tcp only: %.300s", wt_error_text(&why));
	return 0;
}
