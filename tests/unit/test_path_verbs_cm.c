/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_verbs_cm.c - what a rejection says to the end that dials, without a device: librdmacm is made up
 * here, and carries the private data from one end to the other.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "path_verbs.h"

#define REASON 28 /* rejected by the consumer */

static uint8_t private_data[148]; /* a rejection always has so many; zeros, if nobody has said anything */
static unsigned rejections;

int __wrap_rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t length);
int __wrap_rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **ret_event);
int __wrap_rdma_ack_cm_event(struct rdma_cm_event *event);
int __wrap_rdma_destroy_id(struct rdma_cm_id *id);
void __wrap_rdma_destroy_event_channel(struct rdma_event_channel *channel);

int __wrap_rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t length)
{
	memset(private_data, 0, sizeof private_data);
	if (length)
		memcpy(private_data, data, length);
	rejections++;
	return 0;
}

int __wrap_rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **ret_event)
{
	static struct rdma_cm_event event;

	event = (struct rdma_cm_event){ .event = RDMA_CM_EVENT_REJECTED, .status = REASON };
	event.param.conn.private_data = private_data;
	event.param.conn.private_data_len = sizeof private_data;
	*ret_event = &event;
	return 0;
}

int __wrap_rdma_ack_cm_event(struct rdma_cm_event *event)
{
	return 0;
}

int __wrap_rdma_destroy_id(struct rdma_cm_id *id)
{
	return 0;
}

void __wrap_rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
}

/* As the other end sees it. */
static int status_seen(void)
{
	struct rdma_event_channel channel = { 0 };
	struct rdma_cm_event event;

	assert_int_equal(wt_verbs_event_next(&channel, &event), 0);
	assert_int_equal(event.event, RDMA_CM_EVENT_REJECTED);
	assert_null(event.param.conn.private_data);
	return event.status;
}

static void test_refused(void **state)
{
	struct wt_request *request = calloc(1, sizeof *request);

	wt_verbs_request_refuse(request);
	assert_int_equal(status_seen(), REASON);
	memset(private_data, 'W', sizeof private_data); /* of somebody else */
	assert_int_equal(status_seen(), REASON);
}

/* The request came by a device that this end does not use. */
static void test_cannot(void **state)
{
	static struct ibv_device ours = { .name = "ours" }, theirs = { .name = "theirs" };
	static struct ibv_context our_context = { .device = &ours }, their_context = { .device = &theirs };
	static struct rdma_cm_id id = { .verbs = &their_context };
	struct wt_endpoint endpoint = {
		.depth = 16, .rail_count = 1, .rails = { { .verbs = &our_context } }
	};
	struct wt_request *request = calloc(1, sizeof *request);
	struct wt_error err = { 0 };
	struct wt_path *path = NULL;

	request->cm.id = &id;
	rejections = 0;
	assert_int_equal(wt_verbs_request_admit(request, &endpoint, WT_ROLE_PEER, &path, &err), -EXDEV);
	assert_int_equal(rejections, 1);
	assert_int_equal(status_seen(), WT_VERBS_REJECT_CANNOT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
