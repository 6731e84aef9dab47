/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btl_component.c - the component btl/watari: its parameters, its start, and what it tells the other ranks.
 *
 * Owns the mesh and the control thread, from init to the module's finalize.
 *   1. There is one module for the whole process; which fabric carries the bytes is the mesh's business.
 *   2. What is published must be the same in all ranks but for the address: a rank of another version is not
 *      reached, with a sentence.
 */
#include "btl_watari.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a rank publishes of itself. */
struct card {
	uint32_t protocol;
	char version[28];
	struct wt_mesh_address address;
};

void wt_btl_say(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	opal_output(0, "btl/watari: %s", text);
}

static int component_register(void)
{
	struct wt_btl_component *component = &mca_btl_watari_component;
	const mca_base_component_t *super = &component->super.btl_version;

	component->host = NULL;
	component->verbs_host = NULL;
	component->fabrics = NULL;
	component->directory = NULL;
	(void)mca_base_component_var_register(super, "address",
		"Address of this host at which other ranks reach this one, or a network in which it has one, as 10.1.0.0/16 (default: the first that is up and not loopback)",
		MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_4, MCA_BASE_VAR_SCOPE_LOCAL,
		&component->host);
	(void)mca_base_component_var_register(super, "directory",
		"Private directory in which each rank listens for watari-mpi (default: none, the job cannot be quiesced)",
		MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_4, MCA_BASE_VAR_SCOPE_LOCAL,
		&component->directory);
	(void)mca_base_component_var_register(super, "verbs_address",
		"Address of an RDMA device of this host for the other ranks, or a network in which it has one, as 10.1.0.0/16 or fd00:1::/64 (default: the first one found)",
		MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_4, MCA_BASE_VAR_SCOPE_LOCAL,
		&component->verbs_host);
	(void)mca_base_component_var_register(super, "fabrics",
		"verbs,tcp: over verbs where both ranks have a device for it (default); tcp: never over verbs; verbs: a rank without such a device is an error",
		MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_4, MCA_BASE_VAR_SCOPE_LOCAL,
		&component->fabrics);
	component->cache_mib = WT_BTL_CACHE_MIB;
	(void)mca_base_component_var_register(super, "cache",
		"MiB of memory that may stay registered without being used at the moment, so that the next use finds it registered; at most a quarter of what may be locked. 0: every put and get registers anew",
		MCA_BASE_VAR_TYPE_UNSIGNED_INT, NULL, 0, 0, OPAL_INFO_LVL_4, MCA_BASE_VAR_SCOPE_LOCAL,
		&component->cache_mib);
	return OPAL_SUCCESS;
}

static void give_up(void)
{
	if (wt_btl_module.error_cb)
		wt_btl_module.error_cb(&wt_btl_module.super, MCA_BTL_ERROR_FLAGS_FATAL, NULL, NULL);
}

static void message(void *arg, uint8_t tag, const void *bytes, size_t length)
{
	if (wt_compat_deliver(&wt_btl_module.super, tag, bytes, length))
		return;
	wt_btl_say(
		"rank %u: a message has come with tag %u, which nobody here has registered; do all ranks have the same Open MPI?",
		OPAL_PROC_MY_NAME.vpid, tag);
	give_up();
}

static void broken(void *arg, struct wt_mesh_name peer, const char *text)
{
	wt_btl_say("rank %u: %s", OPAL_PROC_MY_NAME.vpid, text);
	give_up();
}

/* Also called by the control thread, which must not call Open MPI. */
static int attach(struct wt_mesh *mesh, uint32_t epoch, struct wt_error *err)
{
	const struct wt_btl_component *component = &mca_btl_watari_component;
	const struct wt_fabrics wanted = { component->host, component->verbs_host, component->fabrics };
	struct wt_error note = { 0 };
	int status = wt_fabrics_attach(mesh, &wanted, epoch, &note, err);

	if (note.code)
		fprintf(stderr, "btl/watari: rank %u is reached %s\n", OPAL_PROC_MY_NAME.vpid, note.text);
	return status;
}

static void card_fill(struct card *card)
{
	const char *version = WATARI_VERSION;

	memset(card, 0, sizeof *card);
	card->protocol = WT_FRAME_VERSION;
#ifdef WATARI_SABOTAGE
	if (getenv("WATARI_MPI_VERSION"))
		version = getenv("WATARI_MPI_VERSION");
#endif
	snprintf(card->version, sizeof card->version, "%s", version);
	wt_mesh_address(mca_btl_watari_component.mesh, &card->address);
}

static int component_start(struct wt_btl_component *component, struct wt_error *err)
{
	struct wt_mesh_name self = { OPAL_PROC_MY_NAME.jobid, OPAL_PROC_MY_NAME.vpid };
	const struct wt_mesh_events events = { .message = message, .broken = broken };
	struct wt_rank_options options = { .name = self, .size = wt_compat_job_size(), .attach = attach };
	struct card card;
	int status;

	if (component->directory && component->directory[0])
		options.directory = component->directory;
	status = wt_mesh_open(self, &events, &component->mesh, err);
	if (status < 0)
		return status;
	wt_btl_cache_begin();
	status = attach(component->mesh, 0, err);
	if (status >= 0)
		status = wt_rank_open(component->mesh, &options, &component->rank, err);
	if (status < 0)
		return status;
	card_fill(&card);
	if (wt_compat_publish(&component->super.btl_version, &card, sizeof card) != OPAL_SUCCESS)
		return wt_error_set(err, EIO, "cannot publish this rank's address through PMIx");
	return 0;
}

static mca_btl_base_module_t **component_init(int *ret_count, bool progress_threads, bool mpi_threads)
{
	struct wt_btl_component *component = &mca_btl_watari_component;
	mca_btl_base_module_t **modules = malloc(sizeof *modules);
	struct wt_error err = { 0 };

	*ret_count = 0;
	if (!modules) {
		wt_btl_say("no memory for the component");
		return NULL;
	}
	if (component_start(component, &err) < 0) {
		wt_btl_say("%s", wt_error_text(&err));
		if (component->mesh)
			wt_btl_finalize(&wt_btl_module.super);
		free(modules);
		return NULL;
	}
	modules[0] = &wt_btl_module.super;
	*ret_count = 1;
	return modules; /* Open MPI frees it */
}

static int component_progress(void)
{
	return mca_btl_watari_component.mesh ? wt_mesh_progress(mca_btl_watari_component.mesh) : 0;
}

static int component_open(void)
{
	return OPAL_SUCCESS;
}

static int component_close(void)
{
	wt_btl_descriptors_free();
	return OPAL_SUCCESS;
}

static bool same_version(const struct card *theirs, uint32_t rank)
{
	struct card ours;

	card_fill(&ours);
	if (theirs->protocol == ours.protocol &&
		strncmp(theirs->version, ours.version, sizeof ours.version) == 0)
		return true;
	if (!mca_btl_watari_component.mismatch_told)
		wt_btl_say(
			"rank %u has btl/watari %.27s and this rank, %u, has %.27s; install the same version on every host",
			rank, theirs->version, OPAL_PROC_MY_NAME.vpid, ours.version);
	mca_btl_watari_component.mismatch_told = true;
	return false;
}

static struct wt_mesh_peer *peer_get(struct wt_mesh_name name)
{
	struct wt_mesh_peer *peer = wt_mesh_peer(mca_btl_watari_component.mesh, name);

	if (!peer)
		wt_btl_say("no memory for a connection to rank %u", name.rank);
	return peer;
}

/* The peer, or NULL if it cannot be reached by this component. */
static struct wt_mesh_peer *peer_find(struct opal_proc_t *proc)
{
	struct wt_mesh *mesh = mca_btl_watari_component.mesh;
	struct wt_mesh_name name = { proc->proc_name.jobid, proc->proc_name.vpid };
	struct wt_mesh_peer *peer = NULL;
	struct card *card = NULL;
	size_t size = 0;

	if (opal_compare_proc(proc->proc_name, OPAL_PROC_MY_NAME) == 0)
		return peer_get(name);
	if (wt_compat_find(&mca_btl_watari_component.super.btl_version, &proc->proc_name, (void **)&card,
		    &size) != OPAL_SUCCESS)
		return NULL;
	if (size == sizeof *card && same_version(card, name.rank))
		peer = peer_get(name);
	if (peer)
		wt_mesh_peer_address(mesh, peer, &card->address);
	free(card);
	return peer;
}

int wt_btl_add_procs(struct mca_btl_base_module_t *btl, size_t count, struct opal_proc_t **procs,
	struct mca_btl_base_endpoint_t **peers, opal_bitmap_t *reachable)
{
	size_t i;

	for (i = 0; i < count; i++) {
		peers[i] = (struct mca_btl_base_endpoint_t *)peer_find(procs[i]);
		if (peers[i] && reachable)
			opal_bitmap_set_bit(reachable, (int)i);
	}
	return OPAL_SUCCESS;
}

int wt_btl_del_procs(struct mca_btl_base_module_t *btl, size_t count, struct opal_proc_t **procs,
	struct mca_btl_base_endpoint_t **peers)
{
	return OPAL_SUCCESS; /* peers live as long as the mesh */
}

__attribute__((visibility("default"))) struct wt_btl_component mca_btl_watari_component = {
	.super = {
		.btl_version = {
			MCA_BTL_DEFAULT_VERSION("watari"),
			.mca_open_component = component_open,
			.mca_close_component = component_close,
			.mca_register_component_params = component_register,
		},
		.btl_data = { .param_field = MCA_BASE_METADATA_PARAM_NONE },
		.btl_init = component_init,
		.btl_progress = component_progress,
	},
};
