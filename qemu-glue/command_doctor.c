/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_doctor.c - `watari doctor`: what this host has and what is missing, each line with what to do.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "doctor.h"

static const char usage[] =
	"usage: watari doctor [--json]\nLooks at this host: devices, limits, versions, what to do.\n";

static void print_person(const struct wt_finding *f)
{
	printf("%-4s %-14s %s\n", f->good ? "ok" : "--", f->what, f->text);
	if (!f->good && f->advice)
		printf("     %-14s %s\n", "", f->advice);
}

static void print_json(const struct wt_finding *f)
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
	struct wt_finding findings[WT_FINDINGS_MAX];
	unsigned count;

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return wt_command_help(usage);
	if (argc > 1 && !json)
		return wt_command_usage(usage);
	count = wt_doctor_look("", findings);
	for (unsigned i = 0; i < count; i++)
		(json ? print_json : print_person)(&findings[i]);
	return WT_EXIT_OK;
}
