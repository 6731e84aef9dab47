/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_words_seeds.c - writes the seed corpus of fuzz_words.
 */
#include "seed_file.h"

#define KEY "00112233445566778899aabbccddeeff"

static void write_command_lines(void)
{
	static const char names[] =
		"-qmp\0unix:/run/a.sock,server=on\0-chardev\0{\"backend\":\"socket\",\"path\":\"/run/b.sock.watari-12\"}";
	static const char memory[] =
		"-object\0memory-backend-memfd,id=mem0,size=1G,share=on,prealloc=on\0-object\0"
		"{\"qom-type\":\"memory-backend-ram\",\"id\":\"mem0\",\"prealloc\":true}\0-object\0memory-backend-file,id=mem1,mem-path=/a,,b";
	static const char rest[] =
		"-M\0q35\0-machine\0type=pc-q35-7.2\0-S\0-incoming\0defer\0-serial\0file:/log,,a\0-chardev\0file,id=c,path=/x\0-device\0"
		"vfio-pci,id=ib0\0disk.img\0--nodefaults";
	static const char *const refused[] = { "-nographic", "-snapshot", "-drive\0file=x,snapshot=on" };

	seed_bytes("names", 'C', names, sizeof names - 1);
	seed_bytes("memory", 'C', memory, sizeof memory - 1);
	seed_bytes("rest", 'C', rest, sizeof rest - 1);
	seed_text("nographic", 'C', refused[0]);
	seed_text("snapshot", 'C', refused[1]);
	seed_bytes("drive", 'C', "-drive\0file=x,snapshot=on", 25);
	seed_bytes("stdio", 'C', "-serial\0mon:stdio", 17);
	seed_bytes("curses", 'C', "-display\0curses", 15);
	seed_bytes("fd", 'C', "-netdev\0tap,id=n,fd=3", 21);
	seed_bytes("fdset", 'C', "-drive\0file=/dev/fdset/3", 24);
	seed_text("path", 'P', "/run/b.sock.watari-12");
}

static void write_relays(void)
{
	seed_text("relay", 'L',
		"{\"event\":\"listening\"}\n{\"event\":\"state\",\"state\":\"delivering\"}\n{\"event\":\"held\"}\n"
		"{\"event\":\"progress\",\"total_bytes\":9,\"remaining_bytes\":4}\n"
		"{\"event\":\"devices\",\"devices\":[{\"name\":\"ib0\",\"error\":\"busy\"}]}\n{\"event\":\"error\",\"text\":\"why\"}\n"
		"{\"event\":\"summary\",\"downtime_ms\":3.5,\"tcp_bytes\":1,\"verbs_bytes\":2,\"control_bytes\":3,"
		"\"devices\":{\"device_outage_ms\":4,\"trouble\":\"t\"}}");
	seed_text("done", 'L', "{\"event\":\"state\",\"state\":\"done\"}\n{}");
	seed_text("aborted", 'L',
		"{\"event\":\"error\",\"text\":\"why\"}\n{}\n{\"event\":\"state\",\"state\":\"aborted\"}");
	seed_text("status", 'L',
		"{\"state\":\"moving\",\"total_bytes\":1,\"remaining_bytes\":1,\"held\":true}");
}

int main(int argc, char **argv)
{
	static const char tail[] = "device\0\6\0\0\0\037{\"page_size\":4096,\"devices\":[]}";

	if (!seeds_begin(argc, argv))
		return 2;
	seed_text("target", 'T', "host:4711/vm");
	seed_text("target6", 'T', "[fe80::1]:4711/vm");
	seed_text("any", 'T', ":4711/vm");
	seed_text("unix", 'T', "unix:/run/w//vm");
	seed_text("retarget", 'R',
		"{\"command\":\"retarget\",\"to\":\"h:4711/vm\",\"prefer\":\"old-destination\"}");
	seed_text("retarget_here", 'R', "{\"to\":\"h:1/vm\"}");
	seed_text("retarget_there", 'R', "{\"to\":\"i:2/vm\"}");
	seed_text("retarget_unix", 'R', "{\"to\":\"unix:/p//vm\"}");
	seed_text("outcome", 'R', "{\"retarget\":{\"number\":1,\"state\":\"failed\",\"text\":\"why\"}}");
	seed_text("outcome2", 'R', "{\"retarget\":{\"number\":2,\"state\":\"done\"}}");
	seed_text("keys", 'K', "# keys\r\n\nbob:" KEY "\nalice:" KEY KEY "\r\n");
	seed_text("odd", 'K', "alice:" KEY "0");
	seed_bytes("tail", 'E', tail, sizeof tail - 1);
	write_command_lines();
	write_relays();
	return seeds_failed ? 1 : 0;
}
