/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job_folder.c - see job_folder.h.
 *
 * Of what is in the directory only names of our own are ever removed.
 */
#include "job_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "printable.h"

#define RECORD "job.json"
#define GENERATION_DIGITS 16
#define OPEN_FILES 16

static bool is_generation(const char *name)
{
	return strlen(name) == GENERATION_DIGITS && strspn(name, "0123456789abcdef") == GENERATION_DIGITS;
}

static int failed(const struct wt_job_folder *f, const char *what, struct wt_error *err)
{
	return wt_error_set(err, errno, "%s cannot be %s: %s", f->path, what, strerror(errno));
}

/* ---- the record ---- */

static bool take_text(json_t *object, const char *key, char *ret_text, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && strlen(text) < size && wt_printable(text, strlen(text), ret_text, size);
}

static bool take_generation(json_t *root, uint64_t *ret_generation)
{
	const char *text = json_string_value(json_object_get(root, "generation"));

	if (!text || !is_generation(text))
		return false;
	*ret_generation = strtoull(text, NULL, 16);
	return true;
}

static bool take_guests(json_t *guests, struct wt_job_record *record)
{
	const char *name;
	json_t *value;

	if (!json_object_size(guests) || json_object_size(guests) > WT_GANG_VMS_MAX)
		return false;
	json_object_foreach(guests, name, value)
	{
		struct wt_job_folder_guest *guest = &record->guests[record->count++];
		json_t *downtime = json_object_get(value, "downtime_ms");

		if (!wt_device_name_good(name) || strlen(name) > WT_GANG_NAME_MAX)
			return false;
		strcpy(guest->name, name);
		guest->written_bytes = (uint64_t)json_integer_value(json_object_get(value, "written_bytes"));
		guest->state_bytes = (uint64_t)json_integer_value(json_object_get(value, "state_bytes"));
		guest->downtime_ms = json_is_number(downtime) ? json_number_value(downtime) : -1;
	}
	return true;
}

static bool take_record(json_t *root, struct wt_job_record *record)
{
	return json_integer_value(json_object_get(root, "version")) == 1 &&
	       take_text(root, "job", record->job, sizeof record->job) && wt_job_name_good(record->job) &&
	       take_text(root, "saved", record->saved, sizeof record->saved) &&
	       take_text(root, "note", record->note, sizeof record->note) &&
	       take_generation(root, &record->generation) &&
	       take_guests(json_object_get(root, "guests"), record);
}

static int read_record(struct wt_job_folder *f, struct wt_error *err)
{
	char path[PATH_MAX + sizeof RECORD];
	json_error_t why;
	json_t *root;

	snprintf(path, sizeof path, "%s/" RECORD, f->path);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
	f->there = take_record(root, &f->record);
	json_decref(root);
	return f->there
		       ? 0
		       : wt_error_set(err, EBADMSG,
				 "%s is damaged, or of another version of watari, or cannot be read; so nobody can tell which "
				 "checkpoint is the job's",
				 path);
}

static json_t *record_json(const struct wt_job_record *record)
{
	json_t *guests = json_object();
	char generation[GENERATION_DIGITS + 1];

	for (unsigned i = 0; i < record->count; i++) {
		const struct wt_job_folder_guest *guest = &record->guests[i];

		json_object_set_new(guests, guest->name,
			json_pack("{s:I,s:I,s:o}", "written_bytes", (json_int_t)guest->written_bytes,
				"state_bytes", (json_int_t)guest->state_bytes, "downtime_ms",
				guest->downtime_ms < 0 ? json_null() : json_real(guest->downtime_ms)));
	}
	snprintf(generation, sizeof generation, "%016" PRIx64, record->generation);
	return json_pack("{s:i,s:s,s:s,s:s,s:s,s:o}", "version", 1, "job", record->job, "generation",
		generation, "saved", record->saved, "note", record->note, "guests", guests);
}

/* ---- opening ---- */

/* A directory of something else is not ours to write to. */
static int check_ours(const struct wt_job_folder *f, struct wt_error *err)
{
	DIR *directory = opendir(f->path);
	struct dirent *entry;
	int r = 0;

	if (!directory)
		return failed(f, "read", err);
	while (!r && (entry = readdir(directory)))
		if (strcmp(entry->d_name, "index.json") == 0)
			r = wt_error_set(err, EINVAL,
				"%s holds the checkpoint of one guest, and not of a job; give another directory",
				f->path);
	closedir(directory);
	return r;
}

static int take_path(struct wt_job_folder *f, const char *path, struct wt_error *err)
{
	struct stat what;

	*f = (struct wt_job_folder){ .lock_fd = -1 };
	if (!realpath(path, f->path)) {
		snprintf(f->path, sizeof f->path, "%s", path);
		return failed(f, "found", err);
	}
	if (stat(f->path, &what) < 0)
		return failed(f, "read", err);
	return S_ISDIR(what.st_mode) ? check_ours(f, err)
				     : wt_error_set(err, ENOTDIR, "%s is no directory", f->path);
}

static int lock(struct wt_job_folder *f, int flags, int how, struct wt_error *err)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof path, "%s/lock", f->path);
	f->lock_fd = open(path, flags | O_CLOEXEC, 0600);
	if (f->lock_fd < 0)
		return failed(f, "written", err);
	if (flock(f->lock_fd, how | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? wt_error_set(err, EBUSY, "another watari gang works in %s", f->path)
				    : failed(f, "locked", err);
}

int wt_job_folder_look(struct wt_job_folder *f, const char *path, struct wt_error *err)
{
	struct wt_error none = { 0 };
	int r = take_path(f, path, err);

	if (!r)
		r = lock(f, O_RDONLY, LOCK_SH, &none);
	wt_job_folder_close(f);
	if (r == -EBUSY)
		return wt_error_set(err, EBUSY, "%s", none.text);
	return r && !none.code ? r : read_record(f, err);
}

int wt_job_folder_open(struct wt_job_folder *f, const char *path, bool make, struct wt_error *err)
{
	int r;

	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return wt_error_set(err, errno, "%s cannot be made: %s", path, strerror(errno));
	r = take_path(f, path, err);
	if (!r)
		r = lock(f, O_RDWR | O_CREAT, LOCK_EX, err);
	if (!r)
		r = read_record(f, err);
	if (r)
		wt_job_folder_close(f);
	return r;
}

void wt_job_folder_close(struct wt_job_folder *f)
{
	if (f->lock_fd >= 0)
		close(f->lock_fd);
	f->lock_fd = -1;
}

/* ---- checks ---- */

int wt_job_folder_check_job(const struct wt_job_folder *f, const char *job, struct wt_error *err)
{
	if (!f->there || strcmp(f->record.job, job) == 0)
		return 0;
	return wt_error_set(err, EEXIST,
		"%s holds the checkpoint of job %s (%s), and this is job %s; give another directory, or remove that one",
		f->path, f->record.job, f->record.saved, job);
}

const struct wt_job_folder_guest *wt_job_folder_guest(const struct wt_job_folder *f, const char *name)
{
	for (unsigned i = 0; i < f->record.count; i++)
		if (strcmp(f->record.guests[i].name, name) == 0)
			return &f->record.guests[i];
	return NULL;
}

static bool plan_has(const struct wt_gang_plan *plan, const char *name)
{
	for (unsigned i = 0; i < plan->count; i++)
		if (strcmp(plan->vms[i].name, name) == 0)
			return true;
	return false;
}

int wt_job_folder_check_plan(
	const struct wt_job_folder *f, const struct wt_gang_plan *plan, struct wt_error *err)
{
	if (!f->there)
		return wt_error_set(err, ENOENT,
			"%s holds no checkpoint of a job: none was made there, or none came to its end",
			f->path);
	for (unsigned i = 0; i < f->record.count; i++)
		if (!plan_has(plan, f->record.guests[i].name))
			return wt_error_set(err, EINVAL,
				"the checkpoint of job %s has %u guests, and the plan has no place for %s; all of them must run "
				"again together",
				f->record.job, f->record.count, f->record.guests[i].name);
	for (unsigned i = 0; i < plan->count; i++)
		if (!wt_job_folder_guest(f, plan->vms[i].name))
			return wt_error_set(err, EINVAL,
				"the plan has a guest %s, which is not in the checkpoint of job %s",
				plan->vms[i].name, f->record.job);
	return 0;
}

/* ---- writing ---- */

static int remove_one(const char *path, const struct stat *what, int kind, struct FTW *at)
{
	remove(path);
	return 0;
}

static void remove_generation(const struct wt_job_folder *f, const char *name)
{
	char path[PATH_MAX + NAME_MAX + 2];

	snprintf(path, sizeof path, "%s/%s", f->path, name);
	nftw(path, remove_one, OPEN_FILES, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* What cannot be removed stays: it takes room, and does no other harm. */
static void remove_rubbish(const struct wt_job_folder *f)
{
	char keep[GENERATION_DIGITS + 1] = "";
	DIR *directory = opendir(f->path);
	struct dirent *entry;

	if (!directory)
		return;
	if (f->there)
		snprintf(keep, sizeof keep, "%016" PRIx64, f->record.generation);
	while ((entry = readdir(directory)))
		if (is_generation(entry->d_name) && strcmp(entry->d_name, keep) != 0)
			remove_generation(f, entry->d_name);
	closedir(directory);
}

int wt_job_folder_begin(struct wt_job_folder *f, uint64_t *ret_generation, struct wt_error *err)
{
	char path[PATH_MAX + GENERATION_DIGITS + 2];
	uint64_t generation;

	remove_rubbish(f);
	if (getrandom(&generation, sizeof generation, 0) != sizeof generation)
		return failed(f, "given a new generation", err);
	snprintf(path, sizeof path, "%s/%016" PRIx64, f->path, generation);
	if (mkdir(path, 0700) < 0)
		return failed(f, "written", err);
	*ret_generation = generation;
	return 0;
}

void wt_job_folder_abandon(struct wt_job_folder *f, uint64_t generation)
{
	char name[GENERATION_DIGITS + 1];

	snprintf(name, sizeof name, "%016" PRIx64, generation);
	remove_generation(f, name);
}

static int sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return r;
}

static int write_record(const char *path, json_t *root)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), r = 0;

	if (fd < 0)
		return -errno;
	if (json_dumpfd(root, fd, JSON_INDENT(1)) || write(fd, "\n", 1) != 1 || fsync(fd) < 0)
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

static void date(struct wt_job_record *record)
{
	time_t now = time(NULL);
	struct tm parts;

	if (!gmtime_r(&now, &parts) ||
		!strftime(record->saved, sizeof record->saved, "%Y-%m-%dT%H:%M:%SZ", &parts))
		strcpy(record->saved, "?");
}

int wt_job_folder_commit(struct wt_job_folder *f, const struct wt_job_record *record, struct wt_error *err)
{
	char path[PATH_MAX + 32], new[PATH_MAX + 32];
	struct wt_job_record dated = *record;
	json_t *root;
	int r;

	date(&dated);
	root = record_json(&dated);
	snprintf(path, sizeof path, "%s/%016" PRIx64, f->path, record->generation);
	r = root ? sync_directory(path) : -ENOMEM;
	snprintf(path, sizeof path, "%s/" RECORD, f->path);
	snprintf(new, sizeof new, "%s/" RECORD ".tmp", f->path);
	if (!r)
		r = write_record(new, root);
	json_decref(root);
	if (!r)
		r = sync_directory(f->path);
	if (!r && rename(new, path) < 0)
		r = -errno;
	if (r) {
		unlink(new);
		return wt_error_set(err, -r, "%s cannot be written: %s", path, strerror(-r));
	}
	f->record = dated;
	f->there = true;
	r = sync_directory(f->path);
	if (r)
		return wt_error_set(err, -r, "%s is the new checkpoint, but may not survive a power cut: %s",
			path, strerror(-r));
	remove_rubbish(f);
	return 0;
}
