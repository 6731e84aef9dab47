/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_qemu_text_seeds.c - writes the seed corpus of fuzz_qemu_text: texts as QEMU 7.2 and 10.0, and the
 * kernel, print them.
 */
#include "seed_file.h"

#define MAPS 0
#define MONITOR 1
#define QMP 2

static const char maps[] =
	"55d0c0a00000-55d0c0a01000 r--p 00001000 fe:01 1234        /usr/bin/x y (deleted)\n"
	"7fdf2ffff000-7fdf37fff000 rw-s 00200000 00:01 1031       /memfd:m (deleted)\n"
	"7fdf37fff000-7fdf38fff000 rw-s 08200000 00:01 1031       /memfd:m (deleted)\n"
	"7fdf39000000-7fdf39001000 ---p 00000000 00:00 0 \n";
static const char blocks[] =
	"              Block Name    PSize              Offset               Used              Total              HVA  RO\r\n"
	"                  pc.ram    4 KiB  0x0000000000100000 0x0000000004000000 0x0000000004000000 0x00007f244be00000  rw\r\n"
	"                            4 KiB  0x0000000000100000 0x0000000004000000 0x0000000004000000 0x00007f244be00000  rw\r\n"
	"                odd name    2 MiB  0x0000000009180000 0x0000000000200000 0x0000000000200000\r\n";
static const char twice[] = "Block Name PSize\nm 4 KiB 0x0 0x1000 0x1000\nm 4 KiB 0x0 0x1000 0x1000\n";
static const char tree[] =
	"address-space: cpu-memory-0\naddress-space: memory\n"
	"  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n"
	"    0000000000000000-0000000003ffffff (prio 0, ram): alias ram-below-4g @pc.ram 0000000000000000-0000000003ffffff\n"
	"    0000000010000000-0000000010ffffff (prio -1, ram): mem1\n"
	"    [DETECTED OVERFLOW!] 0000000010000000-0000000000ffffff (prio 1, ram): mem2\n"
	"\naddress-space: I/O\n  0000000000000000-000000000000ffff (prio 0, i/o): io\n\n"
	"memory-region: pc.ram\n  0000000000000000-0000000003ffffff (prio 0, ram): pc.ram\n"
	"    0000000000001000-0000000000001fff (prio 0, ram): part\n";
static const char greeting[] =
	"{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7},\"package\":\"\"},\"capabilities\":[\"oob\"]}}\r\n";
static const char talk[] =
	"{\"return\":{},\"id\":\"watari-1\"}\r\n\r\n{\"timestamp\":{\"seconds\":1700000000,\"microseconds\":5},\"event\":\"STOP\"}\r\n"
	"{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":\"watari-2\"}\r\n{\"error\":{}}\r\n"
	"{\"return\":18446744073709551615,\"id\":\"watari-18446744073709551615\"}\r\n{\"id\":7}\r\n";

int main(int argc, char **argv)
{
	char text[2048];

	if (!seeds_begin(argc, argv))
		return 2;
	seed_text("maps", MAPS, maps);
	seed_text("blocks", MONITOR, blocks);
	seed_text("twice", MONITOR, twice);
	seed_text("tree", MONITOR, tree);
	seed_text("address", MONITOR, "Host virtual address for 0x100000 (pc.ram) is 0x7f244be00000\r\n");
	snprintf(text, sizeof text, "%s%s", greeting, talk);
	seed_text("qmp", QMP, text);
	seed_text("greeting", QMP, greeting);
	seed_text("no_greeting", QMP, talk);
	seed_bytes("command", 255, "query-status", 13);
	return seeds_failed ? 1 : 0;
}
