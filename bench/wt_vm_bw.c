/* SPDX-License-Identifier: BSD-3-Clause */
/* wt_vm_bw.c - see wt_bench(1) and engine.c. */
#include "engine.h"

int main(int argc, char **argv)
{
	return wt_bench_main("wt_vm_bw", argc, argv);
}
