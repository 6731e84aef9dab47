/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c - the `watari` command: finds the subcommand.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"

static const char usage[] =
	"usage: watari COMMAND [options]\n"
	"  send      move a running guest away from this host\n"
	"  receive   await a guest on this host\n"
	"  relay     the same for QEMUs that are told to migrate to a socket, as by libvirt\n"
	"  recover   after a crash: see which guest may run, and let it run\n"
	"  status    what is under way on this host\n"
	"  retarget  move a guest that is on its way to another host than to its first one\n"
	"  cancel    end a migration; the guest goes on where it is\n"
	"  proceed   a migration that holds goes on\n"
	"  gang      move several guests together\n"
	"  rejuvenate  renew hosts while their guests run on\n"
	"  replica   serve an old copy of a guest's memory to the host that it comes to\n"
	"  devices   what of a guest cannot move with it, and what it becomes elsewhere\n"
	"  handover  a guest goes to another QEMU of this host, its memory stays where it is\n"
	"  upgrade   replace the QEMU below a running guest\n"
	"  checkpoint  write a running guest to files; it goes on\n"
	"  restore   let a guest go on from such files\n"
	"  ranks     talk to the ranks of an MPI job in a guest: for watari-mpi\n"
	"  daemon    one process for many of these sends and receives\n"
	"  doctor    look at this host: devices, limits, what to do\n"
	"`watari COMMAND --help` explains each.\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "send", wt_command_send },
	{ "receive", wt_command_receive },
	{ "relay", wt_command_relay },
	{ "recover", wt_command_recover },
	{ "status", wt_command_status },
	{ "retarget", wt_command_retarget },
	{ "cancel", wt_command_cancel },
	{ "proceed", wt_command_proceed },
	{ "gang", wt_command_gang },
	{ "rejuvenate", wt_command_rejuvenate },
	{ "replica", wt_command_replica },
	{ "devices", wt_command_devices },
	{ "handover", wt_command_handover },
	{ "upgrade", wt_command_upgrade },
	{ "checkpoint", wt_command_checkpoint },
	{ "restore", wt_command_restore },
	{ "ranks", wt_command_ranks },
	{ "daemon", wt_command_daemon },
	{ "doctor", wt_command_doctor },
};

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		puts("watari " WATARI_VERSION);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	for (unsigned i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "watari: there is no command %s\n", argv[1]);
	return wt_command_usage(usage);
}
