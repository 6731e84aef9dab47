/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_devices_seeds.c - writes the seed corpus of fuzz_devices: a map, plans and messages with everything in
 * them that they may have.
 */
#include "seed_file.h"

static const char map[] =
	"{\"version\":1,\"deadlines_ms\":{\"prepare\":1,\"detach\":10000,\"unplug\":10000,\"plug\":3,\"attach\":4,\"recall\":5},"
	"\"devices\":{\"ib0\":{\"id\":\"x\",\"bus\":\"rp0\",\"agent\":true,\"hosts\":{"
	"\"a\":{\"vfio\":\"0000:81:00.1\",\"link_mac\":\"52:54:00:0a:0b:0c\",\"prepare\":[\"/p\",\"{address}\"],\"check\":[\"/c\"],"
	"\"release\":[\"/r\"]},\"b\":{\"vfio\":[\"0000:05:00.1\",\"0000:05:00.2\"]},"
	"\"c\":{\"device\":\"virtio-net-pci\",\"properties\":{\"netdev\":\"n1\",\"mq\":true,\"vectors\":4}},"
	"\"d\":{\"none\":true}}},\"ib1\":{\"bus\":\"rp1\",\"hosts\":{\"a\":{\"none\":true}}}}}";

static const char gang[] =
	"{\"version\":1,\"parallel\":2,\"hold_s\":600,\"watari\":\"/w\",\"vms\":{\"web1\":{"
	"\"from\":{\"prefix\":[\"ssh\",\"h1\"],\"qmp\":\"/a\",\"psk\":\"/k\",\"devices\":\"/d\",\"device_host\":\"a\",\"agent\":\"/g\","
	"\"options\":[\"--max-rate\",\"200M\",\"--device\",\"d\"]},"
	"\"to\":{\"prefix\":[\"ssh\",\"h2\"],\"qmp\":\"/b\",\"psk\":\"/k\",\"devices\":\"/d\",\"address\":\"h2:4711\",\"start\":[\"/s\"]}},"
	"\"web2\":{\"from\":{\"qmp\":\"/c\",\"insecure\":true},\"to\":{\"qmp\":\"/d\",\"insecure\":true,\"address\":\"h2:1\"}}}}";

static const char rejuvenation[] =
	"{\"version\":1,\"parallel\":1,\"hold_s\":10,\"watari\":\"/w\",\"hosts\":{\"a\":{\"prefix\":[\"ssh\",\"a\"],\"by\":\"handover\"},"
	"\"b\":{\"by\":\"evacuation\",\"command\":[\"/renew\"],\"command_s\":60,\"probe\":[\"cat\"],\"probe_s\":9,"
	"\"probe_differs\":true},\"c\":{\"room\":4}},\"guests\":{"
	"\"web1\":{\"home\":{\"host\":\"a\",\"qmp\":\"/q\",\"options\":[\"--x\"],\"handover_s\":4}},"
	"\"db1\":{\"home\":{\"host\":\"b\",\"qmp\":\"/r\",\"psk\":\"/k\",\"address\":\"b:1\",\"start\":[\"/s\"],\"send\":[\"--a\"]},"
	"\"away\":{\"host\":\"c\",\"qmp\":\"/r\",\"psk\":\"/k\",\"address\":\"c:1\",\"receive\":[\"--b\"]},\"replica\":\"/var/x\"},"
	"\"db2\":{\"home\":{\"host\":\"b\",\"qmp\":\"/t\",\"insecure\":true,\"address\":\"b:2\"},"
	"\"away\":{\"host\":\"c\",\"qmp\":\"/t\",\"insecure\":true,\"address\":\"c:2\"}}}}";

int main(int argc, char **argv)
{
	if (!seeds_begin(argc, argv))
		return 2;
	seed_text("map", 4, map);
	seed_text("gang", 'P', gang);
	seed_text("rejuvenation", 'R', rejuvenation);
	seed_text("ping", 1, "{\"id\":1,\"do\":\"ping\"}");
	seed_text("detach", 1, "{\"id\":2,\"do\":\"detach\",\"name\":\"ib0\",\"timeout_ms\":1000}");
	seed_text("attach", 1,
		"{\"id\":3,\"do\":\"attach\",\"name\":\"ib0\",\"timeout_ms\":1,\"what\":\"vfio\",\"link_mac\":\"52:54:00:0a:0b:0c\"}");
	seed_text(
		"message", 1, "{\"id\":4,\"do\":\"message\",\"name\":\"m\",\"timeout_ms\":5,\"data\":\"x\"}");
	seed_text("ranks", 1, "{\"id\":5,\"do\":\"ranks\",\"name\":\"job\"}");
	seed_text("look", 1, "{\"id\":5,\"do\":\"look\"}");
	seed_text("tell", 1, "{\"id\":5,\"do\":\"tell\",\"name\":\"r.sock\",\"data\":\"status\"}");
	seed_text("answer", 2,
		"{\"id\":1,\"ok\":true,\"ms\":7,\"busy\":true,\"version\":\"1\",\"output\":\"o\",\"rank\":\"r.sock\",\"pid\":4}");
	seed_text("no", 2, "{\"id\":1,\"ok\":false,\"ms\":7,\"error\":\"it is busy\"}");
	seed_text("lines", 3, "one\ntwo\n\nthree");
	return seeds_failed ? 1 : 0;
}
