/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh_link.c - the fabrics of a mesh: devices, listeners, and under which keys memory is reached.
 *
 *   1. There is never another fabric without tcp, which everybody has.
 *   2. Token and epoch are those of the attach, and the same for all its fabrics.
 *   3. What is kept registered without a user goes before a fabric comes or goes: an attach registers only
 *      what is in use, and nobody is given keys of another attach.
 * A fabric comes and goes while no path uses it. Under the mesh's lock.
 */
#include "mesh_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static void link_close(struct wt_mesh *mesh, enum wt_link_kind kind)
{
	struct wt_mesh_link *link = &mesh->links[kind];

	if (!link->ops)
		return;
	wt_cache_clear(&mesh->cache);
	wt_registry_attach(&mesh->registry, kind, link->ops, NULL, mesh->attaches, NULL);
	if (link->listener)
		link->ops->listener_close(link->listener);
	if (link->endpoint)
		link->ops->endpoint_close(link->endpoint);
	*link = (struct wt_mesh_link){ 0 };
}

void wt_mesh_links_close(struct wt_mesh *mesh)
{
	link_close(mesh, WT_LINK_VERBS);
	link_close(mesh, WT_LINK_TCP);
	mesh->address.verbs_port = 0;
}

static int link_open(struct wt_mesh *mesh, enum wt_link_kind kind, enum wt_fabric fabric, const char *host,
	uint16_t *ret_port, struct wt_error *err)
{
	struct wt_mesh_link *link = &mesh->links[kind];
	int status = 0;

	link->ops = wt_fabric_ops(fabric);
	if (!link->ops)
		return wt_error_set(err, ENODEV, "this build has no such fabric");
	status = link->ops->endpoint_open(NULL, host, &link->endpoint, err);
	if (status >= 0)
		status = link->ops->listener_open(host, 0, &link->listener, ret_port, err);
	wt_cache_clear(&mesh->cache);
	if (status >= 0)
		status = wt_registry_attach(
			&mesh->registry, kind, link->ops, link->endpoint, mesh->attaches, err);
	if (status < 0)
		link_close(mesh, kind);
	return status;
}

static int attach_begin(struct wt_mesh *mesh, uint32_t epoch, struct wt_error *err)
{
	if (getrandom(&mesh->address.token, sizeof mesh->address.token, 0) < 0)
		return wt_error_set(err, errno, "the kernel gives no random bytes: %s", strerror(errno));
	mesh->address.epoch = epoch;
	mesh->address.verbs_port = 0;
	mesh->attaches++;
	return 0;
}

void wt_mesh_let_go(struct wt_mesh *mesh)
{
	const struct wt_fabric_ops *verbs = wt_fabric_ops(WT_FABRIC_VERBS);

	if (verbs && verbs->let_go)
		verbs->let_go();
}

int wt_mesh_attach(
	struct wt_mesh *mesh, enum wt_fabric fabric, const char *host, uint32_t epoch, struct wt_error *err)
{
	enum wt_link_kind kind = fabric == WT_FABRIC_VERBS ? WT_LINK_VERBS : WT_LINK_TCP;
	struct wt_mesh_address *address = &mesh->address;
	uint16_t port = 0;
	int status = 0;

	pthread_mutex_lock(&mesh->lock);
	if (!mesh->links[kind].ops) {
		if (kind == WT_LINK_TCP)
			status = attach_begin(mesh, epoch, err);
		if (status >= 0)
			status = link_open(mesh, kind, fabric, host, &port, err);
		if (status >= 0 && kind == WT_LINK_TCP) {
			snprintf(address->host, sizeof address->host, "%s", host);
			address->port = port;
		} else if (status >= 0) {
			snprintf(address->verbs_host, sizeof address->verbs_host, "%s", host);
			address->verbs_port = port;
		}
	}
	pthread_mutex_unlock(&mesh->lock);
	return status;
}

void wt_mesh_address(struct wt_mesh *mesh, struct wt_mesh_address *ret_address)
{
	pthread_mutex_lock(&mesh->lock);
	*ret_address = mesh->address;
	pthread_mutex_unlock(&mesh->lock);
}

const char *wt_mesh_fabric(struct wt_mesh *mesh)
{
	static const char *const names[] = { "-", "tcp", "verbs", "verbs+tcp" };
	unsigned found = 0;
	size_t i;

	pthread_mutex_lock(&mesh->lock);
	for (i = 0; i < mesh->up_count; i++)
		found |= 1u << mesh->up[i]->kind;
	if (!found && mesh->links[WT_LINK_TCP].ops)
		found = mesh->links[WT_LINK_VERBS].ops ? 1u << WT_LINK_VERBS : 1u << WT_LINK_TCP;
	pthread_mutex_unlock(&mesh->lock);
	return names[found];
}

unsigned wt_mesh_paths(struct wt_mesh *mesh)
{
	unsigned count;

	pthread_mutex_lock(&mesh->lock);
	count = (unsigned)mesh->up_count;
	pthread_mutex_unlock(&mesh->lock);
	return count;
}
