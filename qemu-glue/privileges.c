/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * privileges.c - see privileges.h. Owns nothing.
 *
 * The bounding set stays, so that a command of the device map has again what root has. It makes no difference
 * for the relay itself, which cannot get anything back without running a program.
 *
 * Not PR_SET_DUMPABLE: `watari restore` looks whether another process of the same user has the memory that it
 * would write (ram_users.c), and must see relays. Guest RAM is kept out of core dumps where it is mapped.
 */
#include "privileges.h"

#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (1ull << (capability))

static const uint64_t kept = BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) |
			     BIT(CAP_IPC_LOCK) | BIT(CAP_SYS_PTRACE) | BIT(CAP_SYS_RESOURCE);

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return;
	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		uint32_t mask = (uint32_t)(kept >> (32 * i));

		data[i].effective &= mask;
		data[i].permitted &= mask;
		data[i].inheritable &= mask;
	}
	syscall(SYS_capset, &header, data);
}

void wt_privileges_drop(bool runs_commands)
{
	drop_capabilities();
	if (!runs_commands)
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
