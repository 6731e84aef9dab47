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

/* Addresses that begin alike; family AF_UNSPEC: all of IPv4. */
struct network {
	int family;
	unsigned bits; /* that are alike */
	uint8_t address[16];
};

static bool given(const char *text)
{
	return text && text[0];
}

static bool is_network(const char *text)
{
	return given(text) && strchr(text, '/');
}

static int network_parse(const char *text, struct network *ret_network, struct wt_error *err)
{
	size_t length = strcspn(text, "/");
	char address[INET6_ADDRSTRLEN] = "";
	unsigned most, end = 0;

	*ret_network = (struct network){ .family = memchr(text, ':', length) ? AF_INET6 : AF_INET };
	most = ret_network->family == AF_INET6 ? 128 : 32;
	if (length < sizeof address)
		memcpy(address, text, length);
	if (inet_pton(ret_network->family, address, ret_network->address) == 1 &&
		sscanf(text + length, "/%3u%n", &ret_network->bits, &end) == 1 && !text[length + end] &&
		ret_network->bits <= most)
		return 0;
	return wt_error_set(err, EINVAL, "\"%.60s\" is no network; say 10.1.0.0/16, or fd00:1::/64", text);
}

static const uint8_t *address_bytes(const struct sockaddr *address)
{
	return address->sa_family == AF_INET6
		       ? ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr
		       : (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
}

static bool network_has(const struct network *network, const struct sockaddr *address)
{
	unsigned whole = network->bits / 8, rest = network->bits % 8;
	const uint8_t *bytes;

	if (address->sa_family != (network->family == AF_UNSPEC ? AF_INET : network->family))
		return false;
	bytes = address_bytes(address);
	return memcmp(bytes, network->address, whole) == 0 &&
	       (!rest || (bytes[whole] ^ network->address[whole]) >> (8 - rest) == 0);
}

/* The addresses of this host in the network that others may reach, one after the other; answers the first
 * true. */
static bool addresses_try(const struct network *network, bool (*fn)(void *arg, const char *host), void *arg)
{
	char host[INET6_ADDRSTRLEN];
	struct ifaddrs *list;
	struct ifaddrs *at;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return false;
	for (at = list; at && !found; at = at->ifa_next) {
		if (!at->ifa_addr || !(at->ifa_flags & IFF_UP) || at->ifa_flags & IFF_LOOPBACK ||
			!network_has(network, at->ifa_addr))
			continue;
		inet_ntop(at->ifa_addr->sa_family, address_bytes(at->ifa_addr), host, sizeof host);
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

static int attach_tcp(
	struct wt_mesh *mesh, const struct wt_fabrics *wanted, uint32_t epoch, struct wt_error *err)
{
	char host[INET6_ADDRSTRLEN] = "127.0.0.1";
	struct network network = { 0 };
	bool named = is_network(wanted->host);

	if (given(wanted->host) && !named)
		return wt_mesh_attach(mesh, WT_FABRIC_TCP, wanted->host, epoch, err);
	if (named && network_parse(wanted->host, &network, err) < 0)
		return -EINVAL;
	if (!addresses_try(&network, address_copy, host) && named)
		return wt_error_set(err, EADDRNOTAVAIL, "no address of this host is in %s", wanted->host);
	return wt_mesh_attach(mesh, WT_FABRIC_TCP, host, epoch, err);
}

static int attach_verbs(
	struct wt_mesh *mesh, const struct wt_fabrics *wanted, uint32_t epoch, struct wt_error *err)
{
	struct attempt attempt = { mesh, epoch };
	struct network network = { 0 };
	bool named = is_network(wanted->verbs_host);

	if (given(wanted->verbs_host) && !named)
		return wt_mesh_attach(mesh, WT_FABRIC_VERBS, wanted->verbs_host, epoch, err);
	if (named && network_parse(wanted->verbs_host, &network, err) < 0)
		return -EINVAL;
	if (addresses_try(&network, verbs_attach, &attempt))
		return 0;
	return wt_error_set(err, ENODEV,
		"no address of this host %s%s%sbelongs to an RDMA device; see `rdma link`",
		named ? "in " : "", named ? wanted->verbs_host : "", named ? " " : "");
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
