/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_hold.c - a guest's program that uses an RDMA device as an application does: it puts soft-RoCE on a NIC
 * and holds a verbs context of it, until it is ended. While it does the kernel cannot let the NIC go.
 *
 *   rdma_hold NIC
 *
 * Says "HOLD NIC" when it has the context, "HOLD FAIL ..." if it cannot. Only the kernel's own interface, so
 * that nothing needs to be installed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_netlink.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
	printf("HOLD FAIL %s: %s\n", what, strerror(errno));
	exit(1);
}

static size_t add(char *message, size_t at, uint16_t type, const char *text)
{
	struct nlattr attribute = { .nla_len = (uint16_t)(NLA_HDRLEN + strlen(text) + 1), .nla_type = type };

	memcpy(message + at, &attribute, sizeof attribute);
	strcpy(message + at + NLA_HDRLEN, text);
	return at + NLA_ALIGN(attribute.nla_len);
}

/* As `rdma link add NAME type rxe netdev NIC`. */
static void make_link(const char *name, const char *nic)
{
	char message[512] = { 0 }, answer[512];
	struct nlmsghdr header = { .nlmsg_type = RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_NEWLINK),
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK };
	size_t length = NLMSG_HDRLEN;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_RDMA), code;

	length = add(message, length, RDMA_NLDEV_ATTR_DEV_NAME, name);
	length = add(message, length, RDMA_NLDEV_ATTR_LINK_TYPE, "rxe");
	length = add(message, length, RDMA_NLDEV_ATTR_NDEV_NAME, nic);
	header.nlmsg_len = (uint32_t)length;
	memcpy(message, &header, sizeof header);
	if (fd < 0 || send(fd, message, length, 0) < 0 || recv(fd, answer, sizeof answer, 0) < 0)
		fail("netlink");
	memcpy(&code, answer + NLMSG_HDRLEN, sizeof code);
	close(fd);
	if (code && code != -EEXIST) {
		errno = -code;
		fail("soft-RoCE");
	}
}

static void hold(const char *path)
{
	struct ib_uverbs_get_context_resp response = { 0 };
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_get_context body;
	} command = { { IB_USER_VERBS_CMD_GET_CONTEXT, sizeof command / 4, sizeof response / 4 },
		{ (uintptr_t)&response } };
	int fd = open(path, O_RDWR);

	if (fd < 0)
		fail(path);
	if (write(fd, &command, sizeof command) != sizeof command)
		fail("a verbs context");
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_link("rxe_test", argv[1]);
	hold("/dev/infiniband/uverbs0");
	printf("HOLD %s\n", argv[1]);
	pause();
	return 0;
}
