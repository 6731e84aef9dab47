/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wt_mpi_pair.c - two ranks: half round trips of small messages, and the rate of large ones in windows.
 *
 *   wt_mpi_pair [ITERATIONS [WINDOWS]]
 *
 * WINDOWS 0: only small messages.
 * One JSON object from rank 0. Says nothing of who carries the bytes: bench_mpi.py chooses that.
 */
#include <mpi.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 8
#define LARGE (1 << 20)
#define WINDOW 16

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The median half round trip, in microseconds. */
static double latency(int rank, char *memory, int iterations)
{
	double *samples = calloc((size_t)iterations, sizeof *samples);
	double found;
	int i;

	if (!samples) {
		MPI_Abort(MPI_COMM_WORLD, 1);
		return 0; /* which it does not */
	}
	for (i = -iterations / 10; i < iterations; i++) {
		double start = MPI_Wtime();

		if (rank == 0) {
			MPI_Send(memory, SMALL, MPI_BYTE, 1, 1, MPI_COMM_WORLD);
			MPI_Recv(memory, SMALL, MPI_BYTE, 1, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		} else {
			MPI_Recv(memory, SMALL, MPI_BYTE, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			MPI_Send(memory, SMALL, MPI_BYTE, 0, 1, MPI_COMM_WORLD);
		}
		if (i >= 0)
			samples[i] = (MPI_Wtime() - start) * 1e6 / 2;
	}
	qsort(samples, (size_t)iterations, sizeof *samples, by_value);
	found = samples[iterations / 2];
	free(samples);
	return found;
}

/* MB/s */
static double bandwidth(int rank, char *memory, int windows)
{
	MPI_Request requests[WINDOW];
	double start = 0;
	char word = 0;
	int i;
	int k;

	for (i = -2; i < windows; i++) {
		if (i == 0) {
			MPI_Barrier(MPI_COMM_WORLD);
			start = MPI_Wtime();
		}
		for (k = 0; k < WINDOW; k++) {
			char *at = memory + (size_t)k * LARGE;

			if (rank == 0)
				MPI_Isend(at, LARGE, MPI_BYTE, 1, 2, MPI_COMM_WORLD, &requests[k]);
			else
				MPI_Irecv(at, LARGE, MPI_BYTE, 0, 2, MPI_COMM_WORLD, &requests[k]);
		}
		MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
		if (rank == 0)
			MPI_Recv(&word, 1, MPI_BYTE, 1, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		else
			MPI_Send(&word, 1, MPI_BYTE, 0, 3, MPI_COMM_WORLD);
	}
	return (double)windows * WINDOW * LARGE / (MPI_Wtime() - start) / 1e6;
}

int main(int argc, char **argv)
{
	int iterations = argc > 1 ? atoi(argv[1]) : 20000;
	int windows = argc > 2 ? atoi(argv[2]) : iterations / 200;
	char *memory;
	double half;
	double rate = 0;
	int rank;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	memory = malloc((size_t)WINDOW * LARGE);
	if (!memory || iterations < 100) {
		free(memory);
		MPI_Abort(MPI_COMM_WORLD, 2);
		return 2;
	}
	memset(memory, rank + 1, (size_t)WINDOW * LARGE);
	half = latency(rank, memory, iterations);
	if (windows > 0)
		rate = bandwidth(rank, memory, windows);
	if (rank == 0)
		printf("{\"latency_us\": %.3f, \"bandwidth_mb_s\": %.1f}\n", half, rate);
	free(memory);
	MPI_Finalize();
	return 0;
}
