/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_answers_seeds.c - writes the seed corpus of fuzz_answers: a guest that can be moved, with one more
 * thing in each seed that is looked at.
 */
#include "seed_file.h"

#define SOURCE 0
#define SHARED 32
#define DEVICES 1
#define HANDOVER 2
#define DISKS 3

#define GOOD                                                                                                                 \
	"\"query-status\":{\"status\":\"running\"},\"query-migrate\":{},\"query-migrate-parameters\":{\"mode\":\"normal\"}," \
	"\"query-migrate-capabilities\":[{\"capability\":\"multifd\",\"state\":true},"                                       \
	"{\"capability\":\"xbzrle\",\"state\":false}],\"query-memdev\":[{\"id\":\"mem0\",\"share\":false}]"
#define WAITS                                                                                               \
	"\"query-status\":{\"status\":\"inmigrate\"},\"query-migrate\":{},\"query-migrate-parameters\":{}," \
	"\"query-migrate-capabilities\":[],\"query-block\":[],\"query-memdev\":[]"
#define NO_DISKS ",\"query-block\":[]"
#define VFIO                                                                                                                                \
	",\"/machine/peripheral\":[{\"name\":\"ib0\",\"type\":\"child<vfio-pci>\"},{\"name\":\"rp0\",\"type\":\"child<pcie-root-port>\"}]," \
	"\"legacy-addr\":\"00.0\",\"parent_bus\":\"/machine/rp0\",\"host\":\"0000:81:00.1\",\"/machine/peripheral/rp0/rp0\":[{\"name\":\"child[0]\"}]"
#define DISK(qdev, ro)                                                                          \
	"{\"device\":\"d0\",\"qdev\":\"" qdev "\",\"inserted\":{\"node-name\":\"n\",\"ro\":" ro \
	",\"file\":\"/proc/self/exe\",\"drv\":\"raw\",\"image\":{\"filename\":\"/proc/self/exe\",\"format\":\"raw\"}}}"
#define MACHINE                                                                                                                  \
	"\"/\":[{\"name\":\"machine\",\"type\":\"child<pc-q35-7.2-machine>\"}],\"query-cpus-fast\":[{\"props\":{\"core-id\":0}," \
	"\"qom-path\":\"/c\"}],\"type\":\"qemu64-x86_64-cpu\",\"query-kvm\":{\"enabled\":true},\"/machine/peripheral-anon\":[]," \
	"\"query-named-block-nodes\":[{\"ro\":true},{\"ro\":false,\"file\":\"\",\"drv\":\"raw\"}]"

static void write_refusals(void)
{
	static const char *const more[] = { ",\"query-sev\":{\"enabled\":true}",
		",\"query-sgx\":{\"sgx\":true}", ",\"confidential-guest-support\":\"/objects/sev0\"",
		",\"query-memory-devices\":[{\"type\":\"virtio-mem\",\"data\":{\"id\":\"vm0\"}}]",
		",\"query-balloon\":{\"actual\":1},\"/machine/peripheral\":[{\"name\":\"b\",\"type\":\"child<virtio-balloon-pci>\"}],"
		"\"free-page-hint\":true",
		",\"/machine/peripheral\":[{\"name\":\"ib0\",\"type\":\"child<vfio-pci>\"}],\"failover_pair_id\":\"net0\"",
		",\"/objects\":[{\"name\":\"mem0\",\"type\":\"child<memory-backend-file>\"}]",
		",\"query-migrate\":{\"status\":\"active\"}",
		",\"query-migrate\":{\"blocked-reasons\":[\"VFIO\",\"a disk\"]}",
		",\"query-migrate\":{\"blocked\":true}",
		",\"query-migrate-parameters\":{\"tls-creds\":\"t\"}",
		",\"query-migrate-capabilities\":[{\"capability\":\"xbzrle\",\"state\":true}]",
		",\"query-migrate-capabilities\":[{\"capability\":\"new\",\"state\":true}]",
		",\"query-memdev\":[{\"id\":\"mem0\",\"share\":true}]", ",\"query-memdev\":[]",
		",\"query-memdev\":[{\"id\":\"mem0\"},{\"id\":\"mem0\"}]",
		",\"query-status\":{\"status\":\"paused\"}", ",\"query-status\":{\"status\":\"save-vm\"}",
		",\"query-status\":{\"status\":\"postmigrate\"},\"query-migrate\":{\"status\":\"completed\"}",
		VFIO };
	char name[24], text[2048];

	for (unsigned i = 0; i < sizeof more / sizeof *more; i++) {
		snprintf(name, sizeof name, "more%u", i);
		snprintf(text, sizeof text, "{" GOOD NO_DISKS "%s}", more[i]);
		seed_text(name, SOURCE, text);
		snprintf(name, sizeof name, "shared%u", i);
		seed_text(name, SHARED, text);
	}
}

int main(int argc, char **argv)
{
	if (!seeds_begin(argc, argv))
		return 2;
	seed_text("good", SOURCE, "{" GOOD NO_DISKS "}");
	seed_text("disk", SOURCE, "{" GOOD ",\"query-block\":[" DISK("/d", "false") "]}");
	seed_text(
		"flash", SOURCE, "{" GOOD ",\"query-block\":[" DISK("/machine/system.flash0", "false") "]}");
	seed_text("waits", SHARED, "{" WAITS "}");
	seed_text("runs_at_once", SHARED | 8, "{" WAITS "}");
	seed_text("incoming", SOURCE, "{" WAITS ",\"query-memdev\":[{\"id\":\"mem0\"}]}");
	write_refusals();
	seed_text("devices", DEVICES, "{\"type\":\"pc-q35-7.2-machine\"" VFIO "}");
	seed_text("empty_port", DEVICES,
		"{\"type\":\"none\",\"/machine/peripheral\":[{\"name\":\"rp0\",\"type\":\"child<pcie-root-port>\"}],\"/machine/peripheral/rp0/rp0\":[]}");
	seed_text("emulated", DEVICES,
		"{\"/machine/peripheral\":[{\"name\":\"ib0\",\"type\":\"child<virtio-net-pci>\"},{\"name\":\"rp0\",\"type\":\"child<pcie-root-port>\"}],"
		"\"legacy-addr\":\"00.0\",\"parent_bus\":\"/machine/rp0\",\"/machine/peripheral/rp0/rp0\":[{\"name\":\"child[0]\"}]}");
	seed_text("handover", HANDOVER, "{" MACHINE VFIO ",\"query-block\":[" DISK("/d", "false") "]}");
	seed_text("paused", HANDOVER,
		"{" MACHINE VFIO
		",\"query-migrate\":{\"status\":\"completed\"},\"query-block\":[" DISK("/d", "false") "]}");
	seed_text("other", HANDOVER,
		"{" MACHINE VFIO ",\"query-block\":[" DISK("/d",
			"false") "],\"other\":{" MACHINE VFIO ",\"query-block\":[" DISK("/e", "false") "]}}");
	seed_text("disks", DISKS, "{\"query-block\":[" DISK("/d", "false") "," DISK("", "true") "]}");
	return seeds_failed ? 1 : 0;
}
