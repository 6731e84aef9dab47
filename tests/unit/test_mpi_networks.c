/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_networks.c - at which address of its host a rank listens, when a network is named. The host's
 * addresses are made up here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "fabrics.h"

static const struct {
	const char *address;
	unsigned flags;
} have[] = {
	{ "127.9.0.1", IFF_UP | IFF_LOOPBACK },
	{ "127.2.0.1", 0 },
	{ "127.0.0.2", IFF_UP },
	{ "127.1.2.3", IFF_UP },
	{ "::1", IFF_UP },
};
#define COUNT (sizeof have / sizeof have[0])

static struct ifaddrs list[COUNT];
static struct sockaddr_in6 addresses[COUNT];
static struct wt_mesh *mesh;
static uint32_t epoch;

int __wrap_getifaddrs(struct ifaddrs **ret_list);
void __wrap_freeifaddrs(struct ifaddrs *given);

int __wrap_getifaddrs(struct ifaddrs **ret_list)
{
	for (size_t i = 0; i < COUNT; i++) {
		struct sockaddr *address = (struct sockaddr *)&addresses[i];

		address->sa_family = strchr(have[i].address, ':') ? AF_INET6 : AF_INET;
		inet_pton(address->sa_family, have[i].address,
			address->sa_family == AF_INET ? (void *)&((struct sockaddr_in *)address)->sin_addr
						      : (void *)&addresses[i].sin6_addr);
		list[i] = (struct ifaddrs){ .ifa_next = i + 1 < COUNT ? &list[i + 1] : NULL,
			.ifa_flags = have[i].flags,
			.ifa_addr = address };
	}
	*ret_list = list;
	return 0;
}

void __wrap_freeifaddrs(struct ifaddrs *given)
{
	assert_ptr_equal(given, list);
}

static void message(void *arg, uint8_t tag, const void *bytes, size_t length)
{
}

static void broken(void *arg, struct wt_mesh_name peer, const char *text)
{
}

static int attach(const char *host, struct wt_error *err)
{
	const struct wt_fabrics wanted = { .host = host, .fabrics = "tcp" };
	struct wt_error note = { 0 };

	wt_mesh_detach(mesh);
	return wt_fabrics_attach(mesh, &wanted, ++epoch, &note, err);
}

static void listens(const char *host, const char *expected)
{
	struct wt_mesh_address address;
	struct wt_error err = { 0 };

	if (attach(host, &err) < 0)
		fail_msg("%s: %s", host ? host : "default", wt_error_text(&err));
	wt_mesh_address(mesh, &address);
	assert_string_equal(address.host, expected);
}

static void refuses(const char *host, int status, const char *text)
{
	struct wt_error err = { 0 };

	assert_int_equal(attach(host, &err), status);
	assert_non_null(strstr(err.text, text));
}

static void test_networks(void **state)
{
	static const char *const none[] = { "127.1/16", "127.1.0.0/33", "::1/129", "x/8", "/8", "127.1.0.0/",
		"127.1.0.0/8x", "127.1.0.0/-1",
		"1234567890123456789012345678901234567890123456789012345678901234567890/8" };
	const struct wt_mesh_events events = { .message = message, .broken = broken };

	assert_int_equal(wt_mesh_open((struct wt_mesh_name){ 1, 0 }, &events, &mesh, NULL), 0);
	listens(NULL, "127.0.0.2");
	listens("", "127.0.0.2");
	listens("127.0.0.7", "127.0.0.7");
	listens("127.1.0.0/16", "127.1.2.3");
	listens("127.1.2.3/32", "127.1.2.3");
	listens("127.1.2.2/31", "127.1.2.3");
	listens("127.1.2.2/30", "127.1.2.3");
	listens("127.1.0.0/9", "127.0.0.2");
	listens("0.0.0.0/0", "127.0.0.2");
	listens("::/64", "::1");
	refuses("127.2.0.0/16", -EADDRNOTAVAIL, "no address of this host is in 127.2.0.0/16");
	refuses("127.9.0.0/16", -EADDRNOTAVAIL, "127.9.0.0/16");
	refuses("127.1.2.2/32", -EADDRNOTAVAIL, "127.1.2.2/32");
	refuses("fd00::/8", -EADDRNOTAVAIL, "fd00::/8");
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		refuses(none[i], -EINVAL, "is no network; say 10.1.0.0/16");
	wt_mesh_close(mesh);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_networks) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
