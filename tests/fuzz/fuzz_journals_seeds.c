/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_journals_seeds.c - writes the seed corpus of fuzz_journals: what follows the first line.
 */
#include "seed_file.h"

int main(int argc, char **argv)
{
	if (!seeds_begin(argc, argv))
		return 2;
	seed_text("gang", 'g',
		"{\"step\":\"receive\",\"vm\":\"a\"}\n{\"step\":\"send\",\"vm\":\"a\"}\n{\"step\":\"receive\",\"vm\":\"b\"}\n"
		"{\"step\":\"move\",\"vm\":\"a\"}\n{\"step\":\"forward\"}\n{\"step\":\"back\",\"vm\":\"a\"}\n{\"step\":\"ov");
	seed_text("gang_over", 'g', "{\"step\":\"undo\"}\n{\"step\":\"over\"}\n");
	seed_text("gang_none", 'g', "\n");
	seed_text("renewal", 'r',
		"{\"step\":\"check\",\"host\":\"h1\"}\n{\"ended\":\"check\",\"host\":\"h1\",\"result\":\"ok\",\"answer\":\"x\"}\n"
		"{\"step\":\"leave\",\"host\":\"h1\",\"guest\":\"db\"}\n"
		"{\"ended\":\"leave\",\"host\":\"h1\",\"guest\":\"db\",\"result\":\"lost\",\"text\":\"why\",\"downtime_ms\":3,\"sent_bytes\":4}\n"
		"{\"found\":\"away\",\"guest\":\"db\"}\n");
	seed_text("renewal_ok", 'r',
		"{\"step\":\"check\",\"host\":\"h1\"}\n{\"ended\":\"check\",\"host\":\"h1\",\"result\":\"ok\"}\n"
		"{\"step\":\"leave\",\"host\":\"h1\",\"guest\":\"db\"}\n{\"ended\":\"leave\",\"host\":\"h1\",\"guest\":\"db\",\"result\":\"ok\"}\n"
		"{\"step\":\"command\",\"host\":\"h1\"}\n{\"ended\":\"command\",\"host\":\"h1\",\"result\":\"ok\"}\n");
	seed_text("renewal_over", 'r', "{\"step\":\"over\"}\n");
	seed_text("renewal_none", 'r', "\n");
	return seeds_failed ? 1 : 0;
}
