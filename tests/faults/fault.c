/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fault.c - libfault.so, preloaded into a program: one call of it fails, at a place and in a way that the
 * environment names.
 *
 * A place is a function of a library and the return address of its caller, as an offset into the object that
 * is looked at: the program, or a library that it loads. Calls from elsewhere pass.
 *
 *     WATARI_FAULT_RECORD=FILE   each place is written there when it is first reached: FUNCTION OFFSET
 * (hexadecimal) WATARI_FAULT="FUNCTION OFFSET HOW NTH[+]" the NTH call of this place fails ("+": and each
 * after it). HOW is eCODE, short or end; for FUNCTION qmp, OFFSET is the name of a command, and HOW refused,
 * silent or closed WATARI_FAULT_FIRED=FILE    is written to when that has happened WATARI_FAULT_WORD=WORD
 * only in a program whose first argument, or name, is this WATARI_FAULT_OBJECT=NAME   the object whose file
 * name contains this, instead of the program
 *
 *   1. Nothing here allocates, or calls what is wrapped.
 *   2. A place is told once by each process; its count is exact if its calls are in one thread, else nearly
 * so.
 */
#include "fault.h"

#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PLACES 8192u
#define QMP_NAMES 128u
#define NAME_MAX_ 64u

static struct {
	const char *record, *fired, *object;
	_Atomic uintptr_t base, end; /* of what is looked at; end 0: not there yet */
	char call[NAME_MAX_], qmp[NAME_MAX_];
	uintptr_t offset;
	struct fault fault;
	enum fault_qmp qmp_how;
	unsigned nth;
	bool on; /* each call after the NTH one, too */
	atomic_uint calls;
	_Atomic uintptr_t places[PLACES];
	char names[QMP_NAMES][NAME_MAX_];
	atomic_uint name_count;
} f;

static void append(const char *path, const char *text)
{
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	syscall(SYS_write, fd, text, strlen(text));
	syscall(SYS_close, fd);
}

static int find_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t end = 0;
	int i;

	(void)size;
	(void)arg;
	if (f.object ? !strstr(info->dlpi_name, f.object) : info->dlpi_name[0] != '\0')
		return 0;
	for (i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X))
			end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
	atomic_store(&f.base, info->dlpi_addr);
	atomic_store(&f.end, end);
	return 1;
}

void fault_loaded(void)
{
	if (f.object && !atomic_load(&f.end))
		dl_iterate_phdr(find_object, NULL);
}

static void parse_how(const char *how)
{
	static const char *const qmp[] = { "", "refused", "silent", "closed" };
	unsigned i;

	for (i = 1; i < sizeof qmp / sizeof qmp[0]; i++)
		if (strcmp(how, qmp[i]) == 0)
			f.qmp_how = (enum fault_qmp)i;
	f.fault.how = strcmp(how, "short") == 0 ? FAULT_SHORT
		      : strcmp(how, "end") == 0 ? FAULT_END
						: FAULT_ERROR;
	if (how[0] == 'e' && how[1] != 'n')
		f.fault.code = atoi(how + 1);
}

static void parse(const char *text)
{
	char where[NAME_MAX_], how[16], on = 0;

	if (sscanf(text, "%63s %63s %15s %u%c", f.call, where, how, &f.nth, &on) < 4)
		return;
	f.on = on == '+';
	parse_how(how);
	if (strcmp(f.call, "qmp") == 0)
		strcpy(f.qmp, where);
	else
		f.offset = strtoul(where, NULL, 16);
}

static bool is_word(int argc, char **argv, const char *word)
{
	const char *name = argc ? strrchr(argv[0], '/') : NULL;

	return !word || (argc && strcmp(name ? name + 1 : argv[0], word) == 0) ||
	       (argc > 1 && strcmp(argv[1], word) == 0);
}

static bool is_rank(const char *wanted)
{
	const char *rank = getenv("OMPI_COMM_WORLD_RANK");

	return !wanted || (rank && strcmp(rank, wanted) == 0);
}

__attribute__((constructor)) static void begin(int argc, char **argv, char **envp)
{
	const char *what = getenv("WATARI_FAULT");

	(void)envp;
	if (!is_word(argc, argv, getenv("WATARI_FAULT_WORD")) || !is_rank(getenv("WATARI_FAULT_RANK")))
		return;
	f.record = getenv("WATARI_FAULT_RECORD");
	f.fired = getenv("WATARI_FAULT_FIRED");
	f.object = getenv("WATARI_FAULT_OBJECT");
	if (what)
		parse(what);
	if (f.record || what)
		dl_iterate_phdr(find_object, NULL);
}

/* Whether this call is the one, or one of those, that fail. */
static bool turn(void)
{
	unsigned call = atomic_fetch_add(&f.calls, 1) + 1;

	if (call == f.nth && f.fired)
		append(f.fired, "fired\n");
	return call == f.nth || (f.on && call > f.nth);
}

static void note(const char *call, uintptr_t offset)
{
	unsigned at = (unsigned)(offset * 2654435761u) % PLACES, tries;
	char line[NAME_MAX_ + 32];

	for (tries = 0; tries < PLACES; tries++, at = (at + 1) % PLACES) {
		uintptr_t none = 0;

		if (atomic_load(&f.places[at]) == offset)
			return;
		if (!atomic_load(&f.places[at]) &&
			atomic_compare_exchange_strong(&f.places[at], &none, offset))
			break;
		if (none == offset)
			return;
	}
	snprintf(line, sizeof line, "%s %lx\n", call, (unsigned long)offset);
	append(f.record, line);
}

bool fault_at(const char *call, const void *caller, struct fault *ret_fault)
{
	uintptr_t at = (uintptr_t)caller, base = atomic_load(&f.base);

	if (at < base || at >= atomic_load(&f.end))
		return false;
	if (f.record)
		note(call, at - base);
	if (at - base != f.offset || strcmp(call, f.call) != 0 || !turn())
		return false;
	*ret_fault = f.fault;
	return true;
}

static void note_qmp(const char *name, size_t length)
{
	unsigned i, count = atomic_load(&f.name_count);
	char line[NAME_MAX_ + 8];

	for (i = 0; i < count; i++)
		if (strncmp(f.names[i], name, length) == 0 && !f.names[i][length])
			return;
	if (count == QMP_NAMES)
		return;
	memcpy(f.names[count], name, length);
	atomic_store(&f.name_count, count + 1);
	snprintf(line, sizeof line, "qmp %s\n", f.names[count]);
	append(f.record, line);
}

enum fault_qmp fault_in_qmp(const char *bytes, size_t length, const void *caller, const char **ret_name)
{
	static const char key[] = "\"execute\":";
	uintptr_t at = (uintptr_t)caller, base = atomic_load(&f.base);
	const char *name, *close;
	size_t size;

	if (at < base || at >= atomic_load(&f.end) || !(f.record || f.qmp[0]))
		return FAULT_QMP_NONE;
	name = memmem(bytes, length, key, sizeof key - 1);
	name = name ? memchr(name + sizeof key - 1, '"', (size_t)(bytes + length - name) - sizeof key + 1)
		    : NULL;
	close = name ? memchr(name + 1, '"', (size_t)(bytes + length - name) - 1) : NULL;
	if (!close || close == name + 1 || close - name >= (ptrdiff_t)NAME_MAX_)
		return FAULT_QMP_NONE;
	*ret_name = ++name;
	size = (size_t)(close - name);
	if (f.record)
		note_qmp(name, size);
	if (strncmp(f.qmp, name, size) != 0 || f.qmp[size] || !turn())
		return FAULT_QMP_NONE;
	return f.qmp_how;
}
