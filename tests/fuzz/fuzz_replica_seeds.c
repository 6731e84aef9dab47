/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_replica_seeds.c - writes the seed corpus of fuzz_replica: indexes of a replica and of checkpoints,
 * requests, answers.
 */
#include "seed_file.h"

#define GENERATION "0123456789abcdef"
#define DIGEST GENERATION GENERATION
#define STATE                                                                                                                 \
	"\"checkpoint\":{\"generation\":\"" GENERATION "\",\"seed\":\"" GENERATION                                            \
	"\",\"running\":true,\"state_length\":7,\"state_digest\":\"" DIGEST                                                   \
	"\",\"machine\":\"pc-q35-7.2\",\"qemu\":\"7.2.22\",\"disks\":[{\"device\":\"d\",\"place\":\"/p\",\"overlay\":\"/o\"," \
	"\"files\":[{\"file\":\"/f\",\"format\":\"qcow2\",\"written_ns\":5},{\"file\":\"/g\",\"format\":\"raw\",\"written_ns\":0}]}],"

static const char flat[] =
	"{\"format\":1,\"requires\":[],\"vm\":\"web 1\",\"blocks\":[{\"name\":\"pc.ram\",\"length\":8192,\"file\":\"pc.ram\"},"
	"{\"name\":\"vga\",\"length\":4096,\"file\":\"1\"}]}";
static const char raw[] =
	"{\"format\":1,\"requires\":[],\"vm\":\"web 1\",\"blocks\":[{\"name\":\"pc.ram\",\"length\":8192,\"file\":\"ram-0-" GENERATION
	".raw\",\"map_digest\":\"" DIGEST "\"}]," STATE
	"\"layers\":[{\"id\":1,\"kind\":\"raw\",\"generation\":\"" GENERATION "\"}]}}";
static const char layers[] =
	"{\"format\":1,\"requires\":[\"layers\"],\"vm\":\"w\",\"blocks\":[{\"name\":\"pc.ram\",\"length\":8192,\"file\":\"ram-0-" GENERATION
	".zst\",\"map_digest\":\"" DIGEST "\"}]," STATE
	"\"layers\":[{\"id\":3,\"kind\":\"packed\",\"generation\":\"0000000000000001\"},{\"id\":1,\"kind\":\"zstd\","
	"\"generation\":\"" GENERATION "\"}]}}";

int main(int argc, char **argv)
{
	if (!seeds_begin(argc, argv))
		return 2;
	seed_text("flat", 0, flat);
	seed_text("long", 0,
		"{\"format\":1,\"vm\":\"w\",\"blocks\":[{\"name\":\"a\",\"length\":9223372036854771712,\"file\":\"a\"},"
		"{\"name\":\"b\",\"length\":4096,\"file\":\"b\"}]}");
	seed_text("lines", 3, "vm\nblock\nfile\n4\nother\nfile2\n5\n");
	seed_text("raw", 4, raw);
	seed_text("layers", 4, layers);
	seed_text("undigested", 0, raw);
	seed_text("request", 2,
		"{\"replica\":1,\"vm\":\"w\",\"port\":4711,\"session\":\"" DIGEST
		"\",\"key\":\"" DIGEST DIGEST "\",\"blocks\":[{\"name\":\"pc.ram\",\"length\":8192}]}");
	seed_text("taken", 2, "{\"ok\":true}");
	seed_text("refused", 2, "{\"error\":\"no\"}");
	return seeds_failed ? 1 : 0;
}
