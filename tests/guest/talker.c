/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * talker.c - a guest's program that writes to a disk and sends frames all the time, straight from its memory,
 * while something else (a migration) reads that memory, too. Whoever has the disk and the frames can check
 * every byte.
 *
 * Block i of /dev/vda and frame i of each NIC (eth0, eth1, ...) hold words that follow from i alone: word w
 * is i * STRIDE + w, little-endian. A frame is an Ethernet header with the type TYPE, and then the words. One
 * block and one frame per NIC go out every wt.talk milliseconds (of the kernel's command line), blocks until
 * the disk is full.
 *
 * One thread. Lines "TALKER blocks=N frames=N" every second; what fails is said and ends the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

enum {
	BLOCK_BYTES = 4096,
	FRAME_WORDS = 180,
	HEADER_BYTES = 14,
	PAD_BYTES = 2, /* so that the words behind the header are aligned */
	TYPE = 0x88b5,
	NICS_MAX = 4,
};

static const uint64_t STRIDE = 0x9e3779b97f4a7c15;

static uint64_t blocks, frames, disk_blocks;
static int disk, nics[NICS_MAX];
static unsigned nic_count;
static uint8_t *block_page, *frame_page;

static void give_up(const char *what)
{
	printf("TALKER FAIL %s: %s\n", what, strerror(errno));
	exit(1);
}

static void fill(void *bytes, uint64_t index, unsigned words)
{
	for (unsigned w = 0; w < words; w++)
		((uint64_t *)bytes)[w] = index * STRIDE + w;
}

static void open_disk(void)
{
	uint64_t bytes = 0;

	disk = open("/dev/vda", O_WRONLY | O_DIRECT);
	if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes))
		give_up("/dev/vda");
	disk_blocks = bytes / BLOCK_BYTES;
}

/* false: there is no such NIC. */
static int open_nic(unsigned number)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = 0 };
	struct ifreq request = { 0 };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0)
		give_up("AF_PACKET");
	snprintf(request.ifr_name, sizeof request.ifr_name, "eth%u", number);
	address.sll_ifindex = (int)if_nametoindex(request.ifr_name);
	if (!address.sll_ifindex) {
		close(fd);
		return -1;
	}
	request.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) || bind(fd, (struct sockaddr *)&address, sizeof address))
		give_up(request.ifr_name);
	return fd;
}

static void open_nics(void)
{
	while (nic_count < NICS_MAX && (nics[nic_count] = open_nic(nic_count)) >= 0)
		nic_count++;
}

/* Again while the NIC's queue is full. */
static void send_frame(int nic, const uint8_t *frame, size_t length)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	while (send(nic, frame, length, 0) != (ssize_t)length) {
		if (errno != ENOBUFS)
			give_up("a frame");
		nanosleep(&pause, NULL);
	}
}

static void talk(void)
{
	uint8_t *frame = frame_page + PAD_BYTES;
	const size_t frame_bytes = HEADER_BYTES + FRAME_WORDS * 8;

	if (blocks < disk_blocks) {
		fill(block_page, blocks, BLOCK_BYTES / 8);
		if (pwrite(disk, block_page, BLOCK_BYTES, (off_t)(blocks * BLOCK_BYTES)) != BLOCK_BYTES)
			give_up("a write");
		blocks++;
	}
	memset(frame, 0xff, 6);
	memcpy(frame + 6, "\x02watar", 6);
	frame[12] = TYPE >> 8;
	frame[13] = TYPE & 0xff;
	fill(frame + HEADER_BYTES, frames, FRAME_WORDS);
	for (unsigned i = 0; i < nic_count; i++)
		send_frame(nics[i], frame, frame_bytes);
	frames++;
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = (argc > 1 ? atol(argv[1]) : 2) * 1000000 };
	struct timespec now;
	time_t told = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	open_disk();
	open_nics();
	block_page = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	frame_page = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (block_page == MAP_FAILED || frame_page == MAP_FAILED)
		give_up("memory");
	printf("TALKER START disk_blocks=%" PRIu64 " nics=%u\n", disk_blocks, nic_count);
	for (;;) {
		talk();
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec != told)
			printf("TALKER blocks=%" PRIu64 " frames=%" PRIu64 "\n", blocks, frames);
		told = now.tv_sec;
		nanosleep(&pause, NULL);
	}
}
