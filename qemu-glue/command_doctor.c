/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_doctor.c - `watari doctor`: what this host has and what is missing, each line with what to do.
 *
 * Reads /proc, /sys and limits only; changes nothing.
 */
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <watari/path.h>

#include "command.h"
#include "relay.h"

static const char usage[] =
	"usage: watari doctor [--json]\nLooks at this host: devices, limits, what to do.\n";

struct finding {
	const char *what;
	bool good;
	char text[256];
	const char *advice; /* when not good */
};

static void list_directory(const char *path, char *ret_text, size_t size)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	size_t length = 0;

	ret_text[0] = '\0';
	while (directory && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.' || length + strlen(entry->d_name) + 2 > size)
			continue;
		length += (size_t)snprintf(
			ret_text + length, size - length, "%s%s", length ? " " : "", entry->d_name);
	}
	if (directory)
		closedir(directory);
}

static struct finding check_directory(const char *what, const char *path, const char *advice)
{
	struct finding finding = { .what = what, .advice = advice };

	list_directory(path, finding.text, sizeof finding.text);
	finding.good = finding.text[0];
	if (!finding.good)
		strcpy(finding.text, "none");
	return finding;
}

static struct finding check_memlock(void)
{
	struct finding finding = {
		.what = "locked memory",
		.advice =
			"verbs pins guest RAM: set `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit"
	};
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	finding.good = limit.rlim_cur == RLIM_INFINITY;
	if (finding.good)
		strcpy(finding.text, "unlimited");
	else
		snprintf(
			finding.text, sizeof finding.text, "%" PRIu64 " KiB", (uint64_t)limit.rlim_cur >> 10);
	return finding;
}

static struct finding check_huge_pages(void)
{
	struct finding finding = { .what = "huge pages",
		.advice = "optional, registering is faster: echo N > /proc/sys/vm/nr_hugepages" };
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	unsigned long total = 0;

	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "HugePages_Total: %lu", &total) == 1)
			break;
	if (file)
		fclose(file);
	finding.good = total > 0;
	snprintf(finding.text, sizeof finding.text, "%lu reserved", total);
	return finding;
}

static struct finding check_access(const char *what, const char *path, const char *advice)
{
	struct finding finding = { .what = what, .advice = advice };

	finding.good = access(path, R_OK | W_OK) == 0;
	snprintf(finding.text, sizeof finding.text, "%s %s", path,
		finding.good              ? "usable"
		: access(path, F_OK) == 0 ? "not permitted"
					  : "missing");
	return finding;
}

static struct finding check_version(void)
{
	struct finding finding = { .what = "watari", .good = true };
	struct utsname name;

	uname(&name);
	snprintf(finding.text, sizeof finding.text, "%s, fabrics tcp%s, Linux %.80s", WATARI_VERSION,
		wt_fabric_ops(WT_FABRIC_VERBS) ? " verbs" : "", name.release);
	return finding;
}

static void print_person(const struct finding *f)
{
	printf("%-4s %-14s %s\n", f->good ? "ok" : "--", f->what, f->text);
	if (!f->good && f->advice)
		printf("     %-14s %s\n", "", f->advice);
}

static void print_json(const struct finding *f)
{
	json_t *object = json_pack("{s:s,s:b,s:s,s:s}", "what", f->what, "good", (int)f->good, "text",
		f->text, "advice", f->good || !f->advice ? "" : f->advice);

	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

int wt_command_doctor(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	const struct finding findings[] = {
		check_version(),
		check_directory("RDMA devices", "/sys/class/infiniband",
			"tcp is used without them; soft-RoCE: rdma link add rxe0 type rxe netdev NIC"),
		check_memlock(),
		check_huge_pages(),
		check_access("KVM", "/dev/kvm", "load kvm-intel or kvm-amd and join the group kvm"),
		check_directory("VFIO groups", "/sys/kernel/iommu_groups",
			"passthrough needs an IOMMU: intel_iommu=on or amd_iommu=on on the kernel's command line"),
	};

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return wt_command_help(usage);
	if (argc > 1 && !json)
		return wt_command_usage(usage);
	for (unsigned i = 0; i < sizeof findings / sizeof findings[0]; i++)
		(json ? print_json : print_person)(&findings[i]);
	return WT_EXIT_OK;
}
