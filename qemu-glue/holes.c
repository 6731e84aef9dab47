/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * holes.c - see holes.h. Keeps nothing but moves the descriptor's position. Any thread, if nobody else uses
 * that.
 *
 * A character device (device DAX) takes the question and answers with its position, which is 0: an answer
 * before the question means that there are no holes.
 */
#include "holes.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

uint64_t wt_hole_end(int fd, uint64_t offset, uint64_t end)
{
	off_t data = lseek(fd, (off_t)offset, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? end : offset;
	if ((uint64_t)data < offset)
		return offset;
	return (uint64_t)data < end ? (uint64_t)data : end;
}

uint64_t wt_data_end(int fd, uint64_t offset, uint64_t end)
{
	off_t hole = lseek(fd, (off_t)offset, SEEK_HOLE);

	return hole < 0 || (uint64_t)hole <= offset || (uint64_t)hole > end ? end : (uint64_t)hole;
}
