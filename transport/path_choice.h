/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_choice.h - which fabrics a session may use: one rule for both ends.
 */
#ifndef WATARI_TRANSPORT_PATH_CHOICE_H
#define WATARI_TRANSPORT_PATH_CHOICE_H

#include <stdbool.h>

#include <watari/path.h>

/* fabrics: WT_FABRIC_BIT()s that were asked for; 0: all. Data over tcp is either encrypted or not, never
 * both: so nobody between the ends can choose. */
static inline unsigned wt_path_choice(unsigned fabrics, bool encrypted)
{
	const unsigned over_tcp = WT_FABRIC_BIT(WT_FABRIC_TCP) | WT_FABRIC_BIT(WT_FABRIC_TLS);

	if (!fabrics)
		fabrics = over_tcp | WT_FABRIC_BIT(WT_FABRIC_VERBS);
	if (fabrics & over_tcp)
		fabrics = (fabrics & ~over_tcp) | WT_FABRIC_BIT(encrypted ? WT_FABRIC_TLS : WT_FABRIC_TCP);
	return fabrics;
}

#endif
