/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * messages.c - an MPI program that checks every byte of every message, while somebody quiesces the job under
 * it.
 *
 *   messages [--seed N] [--rounds N] [--until FILE] [--patience SECONDS] [--phases LETTERS] [--bytes MAX]
 * [--threads N] [--groups RANKS] [--twice N]
 *
 * All ranks draw the same schedule from the seed. A round is one phase of each kind: p point-to-point with
 * all sizes, w wildcard receives, c collectives, o one-sided, v non-contiguous types, q probes, s computing
 * without a call of MPI, t many threads at once, m memory that is unmapped and mapped anew in the same place.
 * What a message must hold follows from seed, round, sender, receiver and number. --until: goes on until FILE
 * exists. --groups: so many ranks by so many ranks talk among themselves alone, each group for itself, and
 * its first rank keeps the number of its rounds in FILE.GROUP. Nothing for so many seconds is an error as
 * much as a wrong byte, and so is a message too many. --twice: each rank sends its Nth short message twice,
 * which must be found. Ends with one line from rank 0, or with a sentence and MPI_Abort.
 */
#include <mpi.h>

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES 6 /* from each to each in one phase */
#define THREADS_MAX 4
#define WILDCARD_MAX (256u << 10) /* bytes */
#define WINDOW_WORDS 40000
#define MAPPED_BYTES (192u << 10)

static MPI_Comm world; /* of this group */
static int rank;
static int size;
static uint64_t seed = 1;
static uint64_t round_number;
static uint64_t checked_messages;
static uint64_t checked_bytes;
static size_t bytes_max = 4u << 20;
static volatile char phase = '-';
static unsigned patience = 60;
static int threads;
static unsigned twice;
static uint64_t *window;
static uint64_t *counter;
static MPI_Win win;
static MPI_Win counters;

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* The same number for all ranks that ask with the same words. */
static uint64_t draw(uint64_t a, uint64_t b, uint64_t c)
{
	return mix(mix(mix(mix(seed) ^ round_number) ^ a) ^ (b << 32 | c));
}

static void fail(const char *what, int from, uint64_t number)
{
	fprintf(stderr, "messages: rank %d: %s: from rank %d, number %llu, round %llu, phase %c, seed %llu\n",
		rank, what, from, (unsigned long long)number, (unsigned long long)round_number, phase,
		(unsigned long long)seed);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

static void too_long(int number)
{
	static const char text[] = "messages: nothing more comes: a message is missing\n";

	if (write(2, text, sizeof text - 1) < 0)
		_exit(4);
	_exit(3);
}

/* Sizes over all magnitudes, with the limits of protocols among them. */
static size_t draw_size_up_to(uint64_t x, size_t max)
{
	static const size_t edges[] = { 0, 1, 7, 8, 63, 1024, 4096, 65535 - 64, 65536 - 56, 65536, 65537,
		131072, 1u << 20, (1u << 20) + 1 };
	size_t found;

	if (x % 4 == 0)
		found = edges[(x >> 8) % (sizeof edges / sizeof edges[0])];
	else
		found = (size_t)(mix(x) & ((1ull << (x % 23)) - 1));
	return found > max ? max : found;
}

static size_t draw_size(uint64_t x)
{
	return draw_size_up_to(x, bytes_max);
}

static void fill(uint8_t *bytes, size_t length, uint64_t key)
{
	size_t i;

	for (i = 0; i + 8 <= length; i += 8) {
		uint64_t word = key * 0x9e3779b97f4a7c15ull + i * 0xd1342543de82ef95ull;

		memcpy(bytes + i, &word, 8);
	}
	for (; i < length; i++)
		bytes[i] = (uint8_t)(key + i);
}

static void check(const uint8_t *bytes, size_t length, uint64_t key, int from, uint64_t number)
{
	size_t i;

	for (i = 0; i + 8 <= length; i += 8) {
		uint64_t expected = key * 0x9e3779b97f4a7c15ull + i * 0xd1342543de82ef95ull;
		uint64_t found;

		memcpy(&found, bytes + i, 8);
		if (found != expected)
			fail("wrong bytes", from, number);
	}
	for (; i < length; i++)
		if (bytes[i] != (uint8_t)(key + i))
			fail("wrong byte", from, number);
	__atomic_fetch_add(&checked_messages, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&checked_bytes, length, __ATOMIC_RELAXED);
}

static void *buffer(size_t length)
{
	void *memory = malloc(length ? length : 1);

	if (!memory)
		fail("out of memory", rank, 0);
	memset(memory, 0xee, length);
	return memory;
}

static uint64_t key_of(int from, int to, int number, char kind)
{
	return draw((uint64_t)from << 20 | (uint64_t)to, (uint64_t)number, (uint64_t)kind);
}

static void check_count(const MPI_Status *status, size_t length, int number)
{
	int count;

	MPI_Get_count(status, MPI_BYTE, &count);
	if ((size_t)count != length)
		fail("wrong length", status->MPI_SOURCE, (uint64_t)number);
}

/* On purpose, for once: it is taken for a later one, or left over. */
static void send_twice(const uint8_t *bytes, size_t length, int to, int tag, MPI_Comm comm)
{
	if (twice && length && length < 1024 && --twice == 0)
		MPI_Send(bytes, (int)length, MPI_BYTE, to, tag, comm);
}

static void nothing_left(void)
{
	int left;
	MPI_Status status;

	MPI_Barrier(world);
	MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, world, &left, &status);
	if (left)
		fail("a message too many", status.MPI_SOURCE, (uint64_t)status.MPI_TAG);
}

/* Everybody to everybody at once, receives posted in another order than the sends. */
static void exchange(MPI_Comm comm, char kind, bool wildcard)
{
	/* Every receive may get the longest. */
	size_t max = wildcard && bytes_max > WILDCARD_MAX ? WILDCARD_MAX : bytes_max;
	int total = (size - 1) * MESSAGES;
	MPI_Request *requests = calloc((size_t)total * 2, sizeof *requests);
	MPI_Status *statuses = calloc((size_t)total * 2, sizeof *statuses);
	uint8_t **memory = calloc((size_t)total * 2, sizeof *memory);
	int n = 0;
	int from;
	int to;
	int m;
	int i;

	for (m = MESSAGES - 1; m >= 0; m--) {
		for (from = 0; from < size; from++) {
			size_t length = draw_size_up_to(key_of(from, rank, m, kind), max);

			if (from == rank)
				continue;
			memory[n] = buffer(wildcard ? max : length);
			MPI_Irecv(memory[n], (int)(wildcard ? max : length), MPI_BYTE,
				wildcard ? MPI_ANY_SOURCE : from, wildcard ? MPI_ANY_TAG : m, comm,
				&requests[n]);
			n++;
		}
	}
	for (m = 0; m < MESSAGES; m++) {
		for (to = 0; to < size; to++) {
			uint64_t key = key_of(rank, to, m, kind);
			size_t length = draw_size_up_to(key, max);

			if (to == rank)
				continue;
			memory[n] = buffer(length);
			fill(memory[n], length, key);
			if (key >> 60 == 1)
				MPI_Issend(memory[n], (int)length, MPI_BYTE, to, m, comm, &requests[n]);
			else
				MPI_Isend(memory[n], (int)length, MPI_BYTE, to, m, comm, &requests[n]);
			send_twice(memory[n], length, to, m, comm);
			n++;
		}
	}
	MPI_Waitall(n, requests, statuses);
	for (i = 0; i < total; i++) {
		uint64_t key = key_of(statuses[i].MPI_SOURCE, rank, statuses[i].MPI_TAG, kind);

		check_count(&statuses[i], draw_size_up_to(key, max), statuses[i].MPI_TAG);
		check(memory[i], draw_size_up_to(key, max), key, statuses[i].MPI_SOURCE,
			(uint64_t)statuses[i].MPI_TAG);
		/* What one rank sends is matched in its order: tags 0, 1, 2 ... come in posting order. */
		for (m = 0; wildcard && m < i; m++)
			if (statuses[m].MPI_SOURCE == statuses[i].MPI_SOURCE &&
				statuses[m].MPI_TAG >= statuses[i].MPI_TAG)
				fail("out of order", statuses[i].MPI_SOURCE, (uint64_t)i);
	}
	for (i = 0; i < n; i++)
		free(memory[i]);
	free(requests);
	free(statuses);
	free(memory);
}

static void collectives(void)
{
	size_t length = draw_size(draw('c', 0, 0)) / 4 + 8;
	int root = (int)(draw('c', 1, 0) % (uint64_t)size);
	uint8_t *memory = buffer(length);
	uint64_t *words = buffer(sizeof *words * 2 * (size_t)size);
	uint64_t sum = 0;
	uint64_t got = 0;
	int i;

	if (rank == root)
		fill(memory, length, draw('b', 0, 0));
	MPI_Bcast(memory, (int)length, MPI_BYTE, root, world);
	check(memory, length, draw('b', 0, 0), root, 0);
	for (i = 0; i < size; i++) {
		words[i] = draw('a', (uint64_t)rank, (uint64_t)i);
		sum += draw('s', (uint64_t)i, 0);
	}
	MPI_Alltoall(words, 1, MPI_UINT64_T, words + size, 1, MPI_UINT64_T, world);
	for (i = 0; i < size; i++)
		if (words[size + i] != draw('a', (uint64_t)i, (uint64_t)rank))
			fail("alltoall is wrong", i, 0);
	words[0] = draw('s', (uint64_t)rank, 0);
	MPI_Allreduce(words, &got, 1, MPI_UINT64_T, MPI_SUM, world);
	if (got != sum)
		fail("allreduce is wrong", rank, 0);
	MPI_Barrier(world);
	checked_messages += 3;
	free(memory);
	free(words);
}

/* Puts, gets, accumulates and an atomic counter, in windows that live through many rounds. */
static void one_sided(void)
{
	static uint64_t counted;
	size_t words = draw_size(draw('o', 0, 0)) / 8 % (WINDOW_WORDS / 2) + 1;
	int to = (rank + 1) % size;
	int from = (rank + size - 1) % size;
	uint64_t *out = buffer(words * 8);
	uint64_t *in = buffer(words * 8);
	uint64_t one = 1;
	uint64_t before;
	size_t i;

	if (!window) {
		window = buffer(WINDOW_WORDS * 8);
		MPI_Win_create(window, WINDOW_WORDS * 8, 8, MPI_INFO_NULL, world, &win);
		counter = calloc(1, 8);
		MPI_Win_create(counter, 8, 8, MPI_INFO_NULL, world, &counters);
	}
	for (i = 0; i < words; i++)
		out[i] = draw('o', (uint64_t)rank, i);
	MPI_Win_fence(0, win);
	MPI_Put(out, (int)words, MPI_UINT64_T, to, 0, (int)words, MPI_UINT64_T, win);
	MPI_Win_fence(0, win);
	for (i = 0; i < words; i++)
		if (window[i] != draw('o', (uint64_t)from, i))
			fail("a put is wrong", from, i);
	MPI_Win_fence(0, win);
	MPI_Get(in, (int)words, MPI_UINT64_T, to, 0, (int)words, MPI_UINT64_T, win);
	MPI_Win_fence(0, win);
	for (i = 0; i < words; i++)
		if (in[i] != out[i])
			fail("a get is wrong", to, i);
	MPI_Win_fence(0, win);
	MPI_Accumulate(out, (int)words, MPI_UINT64_T, to, 0, (int)words, MPI_UINT64_T, MPI_SUM, win);
	MPI_Win_fence(0, win);
	for (i = 0; i < words; i++)
		if (window[i] != 2 * draw('o', (uint64_t)from, i))
			fail("an accumulate is wrong", from, i);
	MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, counters);
	MPI_Fetch_and_op(&one, &before, MPI_UINT64_T, 0, 0, MPI_SUM, counters);
	MPI_Win_unlock(0, counters);
	counted += (uint64_t)size;
	if (before >= counted || before < counted - (uint64_t)size)
		fail("an atomic counter is wrong", 0, before);
	MPI_Barrier(world);
	checked_messages += 4;
	free(out);
	free(in);
}

/* Every second word of a matrix: packed by the sender, unpacked by the receiver. */
static void strided(void)
{
	int count = (int)(draw_size(draw('v', 0, 0)) / 16) + 1;
	uint64_t *out = buffer((size_t)count * 16);
	uint64_t *in = buffer((size_t)count * 16);
	int to = (rank + 1) % size;
	int from = (rank + size - 1) % size;
	MPI_Datatype type;
	int i;

	MPI_Type_vector(count, 1, 2, MPI_UINT64_T, &type);
	MPI_Type_commit(&type);
	for (i = 0; i < 2 * count; i++)
		out[i] = draw('v', (uint64_t)rank, (uint64_t)i);
	MPI_Sendrecv(out, 1, type, to, 9, in, 1, type, from, 9, world, MPI_STATUS_IGNORE);
	for (i = 0; i < 2 * count - 1; i++)
		if (in[i] != (i % 2 ? 0xeeeeeeeeeeeeeeeeull : draw('v', (uint64_t)from, (uint64_t)i)))
			fail("a strided message is wrong", from, (uint64_t)i);
	MPI_Type_free(&type);
	checked_messages++;
	free(out);
	free(in);
}

static void probed(void)
{
	int to = (rank + 1) % size;
	uint64_t key = key_of(rank, to, 0, 'q');
	size_t length = draw_size(key);
	uint8_t *out = buffer(length);
	MPI_Request request;
	MPI_Status status;
	uint8_t *in;
	int count;

	fill(out, length, key);
	MPI_Isend(out, (int)length, MPI_BYTE, to, 11, world, &request);
	MPI_Probe(MPI_ANY_SOURCE, 11, world, &status);
	key = key_of(status.MPI_SOURCE, rank, 0, 'q');
	check_count(&status, draw_size(key), 0);
	MPI_Get_count(&status, MPI_BYTE, &count);
	in = buffer((size_t)count);
	MPI_Recv(in, count, MPI_BYTE, status.MPI_SOURCE, 11, world, MPI_STATUS_IGNORE);
	check(in, (size_t)count, key, status.MPI_SOURCE, 0);
	MPI_Wait(&request, MPI_STATUS_IGNORE);
	free(out);
	free(in);
}

/* Two messages; at this place, if it is free. */
static uint8_t *mapped(void *place)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | (place ? MAP_FIXED_NOREPLACE : 0);
	uint8_t *memory = mmap(place, 2 * MAPPED_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED && !place)
		fail("out of memory", rank, 0);
	return memory == MAP_FAILED ? mapped(NULL) : memory;
}

/* Who has the memory of the last time still registered must not use it. Each is used twice: so it may be
 * found registered. */
static void remapped(void)
{
	int to = (rank + 1) % size;
	int from = (rank + size - 1) % size;
	uint8_t *memory = NULL;
	int m;

	for (m = 0; m < MESSAGES; m++) {
		if (m % 2 == 0)
			memory = mapped(memory);
		fill(memory, MAPPED_BYTES, key_of(rank, to, m, 'm'));
		MPI_Sendrecv(memory, MAPPED_BYTES, MPI_BYTE, to, 13, memory + MAPPED_BYTES, MAPPED_BYTES,
			MPI_BYTE, from, 13, world, MPI_STATUS_IGNORE);
		check(memory + MAPPED_BYTES, MAPPED_BYTES, key_of(from, rank, m, 'm'), from, (uint64_t)m);
		if (m % 2)
			munmap(memory, 2 * MAPPED_BYTES);
	}
}

static void compute(void)
{
	uint64_t until = draw('s', (uint64_t)rank, 0) % 3000000; /* ns, each rank another time */
	struct timespec start;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((uint64_t)(now.tv_sec - start.tv_sec) * 1000000000u + (uint64_t)now.tv_nsec -
			(uint64_t)start.tv_nsec <
		until);
}

struct worker {
	pthread_t thread;
	MPI_Comm comm;
	char kind;
};

static struct worker workers[THREADS_MAX];

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	exchange(worker->comm, worker->kind, false);
	return NULL;
}

static void many_threads(void)
{
	int i;

	for (i = 0; i < threads; i++) {
		if (!workers[i].kind)
			MPI_Comm_dup(world, &workers[i].comm);
		workers[i].kind = (char)('A' + i);
		pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
	}
	for (i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
}

static void phase_run(char which)
{
	phase = which;
	alarm(patience);
	switch (which) {
	case 'p':
		exchange(world, 'p', false);
		break;
	case 'w':
		exchange(world, 'w', true);
		MPI_Barrier(world); /* no other message may meet a wildcard */
		break;
	case 'c':
		collectives();
		break;
	case 'o':
		one_sided();
		break;
	case 'v':
		strided();
		break;
	case 'q':
		probed();
		MPI_Barrier(world);
		break;
	case 't':
		many_threads();
		break;
	case 'm':
		remapped();
		break;
	default:
		compute();
	}
}

/* Rank 0 decides for all. */
static bool another(uint64_t rounds, const char *until)
{
	int more = round_number < rounds && (!until || access(until, F_OK) < 0);

	phase = 'e';
	alarm(patience);
	MPI_Bcast(&more, 1, MPI_INT, 0, world);
	return more;
}

static void tell_rounds(const char *until, int group)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s.%d", until, group);
	file = fopen(path, "w");
	if (!file)
		return;
	fprintf(file, "%llu\n", (unsigned long long)round_number + 1);
	fclose(file);
}

int main(int argc, char **argv)
{
	const char *phases = "pwcsovqm";
	const char *until = NULL;
	uint64_t rounds = 0;
	uint64_t totals[2];
	uint64_t mine[2];
	int group_size = 0, group, first;
	int provided;
	const char *at;
	int i;

	for (i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--rounds") == 0)
			rounds = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--until") == 0)
			until = argv[i + 1];
		else if (strcmp(argv[i], "--patience") == 0)
			patience = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--phases") == 0)
			phases = argv[i + 1];
		else if (strcmp(argv[i], "--bytes") == 0)
			bytes_max = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--groups") == 0)
			group_size = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--twice") == 0)
			twice = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--threads") == 0)
			threads = atoi(argv[i + 1]) > THREADS_MAX ? THREADS_MAX : atoi(argv[i + 1]);
	}
	if (!rounds)
		rounds = until ? UINT64_MAX : 10;
	MPI_Init_thread(&argc, &argv, threads ? MPI_THREAD_MULTIPLE : MPI_THREAD_SINGLE, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &first);
	group = group_size ? first / group_size : 0;
	MPI_Comm_split(MPI_COMM_WORLD, group, first, &world);
	MPI_Comm_rank(world, &rank);
	MPI_Comm_size(world, &size);
	seed += (uint64_t)group;
	signal(SIGALRM, too_long);
	if (threads && provided != MPI_THREAD_MULTIPLE)
		fail("no MPI_THREAD_MULTIPLE here", rank, 0);
	for (; another(rounds, until); round_number++) {
		for (at = phases; *at; at++)
			phase_run(*at);
		if (group_size && until && rank == 0)
			tell_rounds(until, group);
	}
	nothing_left();
	mine[0] = checked_messages;
	mine[1] = checked_bytes;
	MPI_Reduce(mine, totals, 2, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
	if (first == 0)
		printf("messages: right: %llu rounds, %llu messages, %llu bytes\n",
			(unsigned long long)round_number, (unsigned long long)totals[0],
			(unsigned long long)totals[1]);
	alarm(patience);
	if (window) {
		MPI_Win_free(&win);
		MPI_Win_free(&counters);
	}
	MPI_Finalize();
	return 0;
}
