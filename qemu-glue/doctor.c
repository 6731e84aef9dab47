/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor.c - see doctor.h.
 *
 * Reads /sys, /dev, limits and the versions of programs and libraries; changes nothing. The only program that
 * is run is QEMU, with --version. Each check fills one finding and knows nothing of the others. All are
 * quick; the one that measures takes some 30 ms.
 */
#include "doctor_internal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <watari/digest.h>
#include <watari/path.h>

#include "job_place.h"
#include "printable.h"

extern char **environ;

void wt_doctor_add(struct wt_finding *f, const char *between, const char *text)
{
	size_t length = strlen(f->text);

	snprintf(f->text + length, sizeof f->text - length, "%s%s", length ? between : "", text);
}

const char *wt_doctor_line(char line[128], const char *format, const char *root, const char *a, const char *b)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof path, format, root, a, b);
	file = fopen(path, "r");
	if (!file || !fgets(line, 128, file))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (file)
		fclose(file);
	return line;
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

unsigned wt_doctor_each(const char *root, const char *directory, wt_doctor_fn *fn, struct wt_finding *f)
{
	struct dirent **entries = NULL;
	char path[PATH_MAX];
	int count;

	snprintf(path, sizeof path, "%s%s", root, directory);
	count = scandir(path, &entries, visible, versionsort);
	for (int i = 0; i < count; i++) {
		if (fn)
			fn(f, root, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return count > 0 ? (unsigned)count : 0;
}

/* ---- versions ---- */

static void check_version(struct wt_finding *f)
{
	struct utsname name;

	*f = (struct wt_finding){ .what = "watari", .good = true };
	uname(&name);
	snprintf(f->text, sizeof f->text, "%s, fabrics tcp%s, Linux %.80s", WATARI_VERSION,
		wt_fabric_ops(WT_FABRIC_VERBS) ? " verbs" : "", name.release);
}

/* What a program prints first; "" when it cannot be run. */
static void first_line(const char *program, const char *argument, char line[256])
{
	char *argv[] = { (char *)program, (char *)argument, NULL };
	posix_spawn_file_actions_t actions;
	ssize_t n = 0;
	int pipes[2];
	pid_t child;

	line[0] = '\0';
	if (pipe2(pipes, O_CLOEXEC))
		return;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
	if (posix_spawnp(&child, program, &actions, NULL, argv, environ) == 0) {
		close(pipes[1]);
		pipes[1] = -1;
		n = read(pipes[0], line, 255);
		waitpid(child, NULL, 0);
	}
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	posix_spawn_file_actions_destroy(&actions);
	close(pipes[0]);
	if (pipes[1] >= 0)
		close(pipes[1]);
}

static void check_qemu(struct wt_finding *f)
{
	static const char *const names[] = { "qemu-system-x86_64", "qemu-kvm", "/usr/libexec/qemu-kvm" };
	char line[256], shown[128], *version;

	*f = (struct wt_finding){ .what = "QEMU",
		.advice =
			"no QEMU is in PATH; install one (7.2 with KVM and 10.0 are tested), or never mind if "
			"yours is elsewhere" };
	for (unsigned i = 0; i < sizeof names / sizeof *names && !f->good; i++) {
		first_line(names[i], "--version", line);
		version = strstr(line, "version ");
		if (!version)
			continue;
		version += strlen("version ");
		wt_printable(version, strlen(version), shown, sizeof shown);
		snprintf(f->text, sizeof f->text, "%s %s", names[i], shown);
		f->good = true;
	}
	if (!f->good)
		strcpy(f->text, "none found");
}

/* The library that this process has, or would get; its file's name tells the version. */
static void check_libibverbs(struct wt_finding *f)
{
	void *library = dlopen("libibverbs.so.1", RTLD_LAZY);
	struct link_map *map;
	char file[PATH_MAX];

	*f = (struct wt_finding){ .what = "libibverbs",
		.text = "not found",
		.advice = "verbs needs it, and a provider for the device: packages libibverbs1, "
			  "ibverbs-providers (rdma-core)" };
	if (!library)
		return;
	if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && realpath(map->l_name, file)) {
		snprintf(f->text, sizeof f->text, "%.200s", strrchr(file, '/') + 1);
		f->good = true;
	}
	dlclose(library);
}

/* ---- devices ---- */

/* "rxe0 (Ethernet, ACTIVE, 2.5 Gb/sec)", of port 1. */
static void add_rdma_device(struct wt_finding *f, const char *root, const char *name)
{
	char layer[128], state[128], rate[128], text[256];
	const char *word;
	size_t length;

	wt_doctor_line(layer, "%s/sys/class/infiniband/%s/ports/1/%s", root, name, "link_layer");
	wt_doctor_line(state, "%s/sys/class/infiniband/%s/ports/1/%s", root, name, "state");
	wt_doctor_line(rate, "%s/sys/class/infiniband/%s/ports/1/%s", root, name, "rate");
	length = strcspn(rate, "("); /* "100 Gb/sec (4X EDR)" */
	rate[length && rate[length - 1] == ' ' ? length - 1 : length] = '\0';
	word = strchr(state, ' ') ? strchr(state, ' ') + 1 : state; /* "4: ACTIVE" */
	f->good = f->good || strcmp(word, "ACTIVE") == 0;
	snprintf(text, sizeof text, "%.40s (%.20s, %.20s%s%.30s)", name, layer, word, rate[0] ? ", " : "",
		rate);
	wt_doctor_add(f, ", ", text);
}

static void check_rdma(struct wt_finding *f, const char *root)
{
	*f = (struct wt_finding){ .what = "RDMA devices",
		.advice = "no port is active: bring its link up; on InfiniBand a subnet manager must run" };
	if (!wt_doctor_each(root, "/sys/class/infiniband", add_rdma_device, f)) {
		strcpy(f->text, "none");
		f->advice = "tcp is used without them; soft-RoCE: rdma link add rxe0 type rxe netdev NIC";
	}
}

static void check_access(
	struct wt_finding *f, const char *what, const char *root, const char *device, const char *advice)
{
	char path[PATH_MAX];

	*f = (struct wt_finding){ .what = what, .advice = advice };
	snprintf(path, sizeof path, "%s%s", root, device);
	f->good = access(path, R_OK | W_OK) == 0;
	snprintf(f->text, sizeof f->text, "%s %s", device,
		f->good                   ? "usable"
		: access(path, F_OK) == 0 ? "not permitted"
					  : "missing");
}

static void check_uverbs(struct wt_finding *f, const char *root)
{
	check_access(f, "RDMA access", root, "/dev/infiniband/uverbs0",
		"verbs needs /dev/infiniband: load ib_uverbs; let QEMU's user read and write uverbs*, also in "
		"containers");
}

static void check_iommu(struct wt_finding *f, const char *root)
{
	unsigned count = wt_doctor_each(root, "/sys/kernel/iommu_groups", NULL, NULL);

	*f = (struct wt_finding){ .what = "IOMMU",
		.good = count > 0,
		.advice =
			"passthrough needs one: switch VT-d or AMD-Vi on in the firmware, and intel_iommu=on on "
			"the kernel's command line for Intel" };
	if (count)
		snprintf(f->text, sizeof f->text, "%u groups", count);
	else
		strcpy(f->text, "no groups");
}

/* ---- memory ---- */

static void check_memlock(struct wt_finding *f)
{
	struct rlimit limit;

	*f = (struct wt_finding){
		.what = "locked memory",
		.advice =
			"verbs pins guest RAM: set `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit"
	};
	getrlimit(RLIMIT_MEMLOCK, &limit);
	f->good = limit.rlim_cur == RLIM_INFINITY;
	if (f->good)
		strcpy(f->text, "unlimited");
	else
		snprintf(f->text, sizeof f->text, "%" PRIu64 " KiB", (uint64_t)limit.rlim_cur >> 10);
}

/* "2048 kB: 5 of 8 free", of a directory hugepages-2048kB. */
static void add_huge_pages(struct wt_finding *f, const char *root, const char *name)
{
	char total[128], unused[128], text[256];
	unsigned long kilobytes;

	if (sscanf(name, "hugepages-%lukB", &kilobytes) != 1)
		return;
	wt_doctor_line(total, "%s/sys/kernel/mm/hugepages/%s/%s", root, name, "nr_hugepages");
	wt_doctor_line(unused, "%s/sys/kernel/mm/hugepages/%s/%s", root, name, "free_hugepages");
	f->good = f->good || strtoul(total, NULL, 10) > 0;
	snprintf(text, sizeof text, "%lu %s: %.20s of %.20s free",
		kilobytes >> 20 ? kilobytes >> 20 : kilobytes >> 10, kilobytes >> 20 ? "GiB" : "MiB", unused,
		total);
	wt_doctor_add(f, ", ", text);
}

static void check_huge_pages(struct wt_finding *f, const char *root)
{
	*f = (struct wt_finding){ .what = "huge pages",
		.advice = "optional, registering is faster: echo N > /proc/sys/vm/nr_hugepages" };
	if (!wt_doctor_each(root, "/sys/kernel/mm/hugepages", add_huge_pages, f))
		strcpy(f->text, "not in this kernel");
}

/* ---- processor ---- */

#define DIGEST_ROUNDS 5
#define DIGEST_PAGES 2048u /* of one round */
#define DIGEST_SLOW 1e9    /* bytes per second */

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Bytes per second of one core, the best of some rounds over memory that is larger than its own cache. */
static int digest_speed(double *ret_speed, struct wt_error *err)
{
	static const uint8_t key[WT_DIGEST_KEY_BYTES];
	uint8_t digest[WT_DIGEST_BYTES], *pages = malloc((size_t)DIGEST_PAGES * WT_PAGE_SIZE);
	struct wt_digester *digester;
	double best = 0, speed, begin;
	int r = 0;

	if (!pages)
		return wt_error_set(err, ENOMEM, "no memory to measure it");
	memset(pages, 1, (size_t)DIGEST_PAGES * WT_PAGE_SIZE);
	r = wt_digester_open(key, &digester, err);
	if (r) {
		free(pages);
		return r;
	}
	for (unsigned round = 0; round < DIGEST_ROUNDS; round++) {
		begin = cpu_seconds();
		for (uint32_t i = 0; i < DIGEST_PAGES && !r; i++)
			r = wt_digester_page(digester, 0, i, pages + (size_t)i * WT_PAGE_SIZE, digest);
		speed = (double)DIGEST_PAGES * WT_PAGE_SIZE / (cpu_seconds() - begin);
		best = speed > best ? speed : best;
	}
	wt_digester_close(digester);
	free(pages);
	if (r)
		return wt_error_set(err, -r, "OpenSSL's GMAC fails");
	*ret_speed = best;
	return 0;
}

static void check_digests(struct wt_finding *f)
{
	struct wt_error err = { 0 };
	double speed = 0;
	int r = digest_speed(&speed, &err);

	*f = (struct wt_finding){ .what = "page digests",
		.good = speed >= DIGEST_SLOW,
		.advice = "comparing with a replica will cost much time: let virtual machines see AES and "
			  "PCLMULQDQ of the host's processor (-cpu host)" };
	if (!r)
		snprintf(f->text, sizeof f->text, "GMAC %.2f GB/s per core", speed / 1e9);
	else
		snprintf(f->text, sizeof f->text, "%.250s", wt_error_text(&err));
}

/* ---- jobs ---- */

static void check_jobs(struct wt_finding *f)
{
	char directories[WT_JOB_DIRECTORIES][WT_JOB_PATH_MAX], *parent = directories[0];

	*f = (struct wt_finding){ .what = "job sockets",
		.advice =
			"send and receive need it: set XDG_RUNTIME_DIR to a private directory of this user, or "
			"let root make /run/watari with this user as its owner and mode 0700" };
	wt_job_directories(directories);
	f->good = wt_job_directory_private(directories[0]);
	snprintf(f->text, sizeof f->text, "%s", directories[0]);
	if (!f->good && access(directories[0], F_OK)) {
		*strrchr(parent, '/') = '\0';
		f->good = access(parent, W_OK | X_OK) == 0;
	}
	wt_doctor_add(f, " ", f->good ? "usable" : "not usable");
}

unsigned wt_doctor_look(const char *root, struct wt_finding ret_findings[WT_FINDINGS_MAX])
{
	struct wt_finding *f = ret_findings;

	check_version(f++);
	check_qemu(f++);
	check_libibverbs(f++);
	check_rdma(f++, root);
	check_uverbs(f++, root);
	check_memlock(f++);
	check_huge_pages(f++, root);
	check_access(f++, "KVM", root, "/dev/kvm", "load kvm-intel or kvm-amd and join the group kvm");
	check_iommu(f++, root);
	check_access(f++, "VFIO", root, "/dev/vfio/vfio",
		"passthrough needs it: modprobe vfio-pci; QEMU's user must own the device's /dev/vfio/GROUP");
	check_digests(f++);
	check_jobs(f++);
	f += wt_doctor_tuning(root, f);
	return (unsigned)(f - ret_findings);
}
