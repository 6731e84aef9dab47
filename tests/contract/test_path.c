/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path.c - the contract of path.h, the same cases over every fabric.
 *
 *   test_path                    every fabric that this build has, on 127.0.0.1
 *   test_path FABRIC HOST [...]  these fabrics; HOST is an address of this host that the fabric can reach
 *
 * Exit code 77: a fabric that was asked for has no device here; the reason is printed.
 */
#include "test_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int fabric_run(const struct wt_fabric_ops *fabric, const char *address)
{
	struct wt_endpoint *endpoint;
	struct wt_error err = { 0 };
	int status;

	test_ops = fabric;
	test_host = address;
	status = test_ops->endpoint_open(NULL, test_host, &endpoint, &err);
	if (status < 0) {
		printf("%s %s: %s\n", status == -ENODEV ? "SKIP" : "FAIL", test_ops->name,
			wt_error_text(&err));
		return status == -ENODEV ? 77 : 1;
	}
	test_ops->endpoint_close(endpoint);
	status = test_path_read() + test_path_life();
	if (test_ops->fabric != WT_FABRIC_TLS) /* it has no peers */
		status += test_path_peer();
	if (test_ops->fabric == WT_FABRIC_TCP)
		status += test_path_tcp(test_ops, test_host);
	if (test_ops->fabric == WT_FABRIC_TLS)
		status += test_path_tls(test_ops, test_host);
	if (test_ops->fabric == WT_FABRIC_VERBS && test_path_verbs)
		status += test_path_verbs(test_ops, test_host);
	return status ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const enum wt_fabric fabrics[] = { WT_FABRIC_TCP, WT_FABRIC_TLS, WT_FABRIC_VERBS };
	int skipped = 0;
	int failed = 0;
	unsigned i;
	int a;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc % 2 == 0) {
		fprintf(stderr, "usage: test_path [FABRIC HOST]...\n");
		return 2;
	}
	for (a = 1; a < argc; a += 2) {
		if (strcmp(argv[a], "tcp") && strcmp(argv[a], "tls") && strcmp(argv[a], "verbs")) {
			fprintf(stderr, "test_path: there is no fabric %s\n", argv[a]);
			return 2;
		}
	}
	for (i = 0; i < sizeof fabrics / sizeof fabrics[0]; i++) {
		const struct wt_fabric_ops *fabric = wt_fabric_ops(fabrics[i]);
		const char *address = argc == 1 ? "127.0.0.1" : NULL;
		int status;

		for (a = 1; a < argc; a += 2) {
			if (!strcmp(argv[a], wt_fabric_name(fabrics[i])))
				address = argv[a + 1];
		}
		if (!address)
			continue;
		if (!fabric)
			printf("SKIP %s: not in this build\n", wt_fabric_name(fabrics[i]));
		status = fabric ? fabric_run(fabric, address) : 77;
		/* Without arguments tcp is what must run, and a fabric without a device is only mentioned. */
		skipped |= status == 77 && argc > 1;
		failed |= status != 0 && status != 77;
	}
	return failed ? 1 : skipped ? 77 : 0;
}
