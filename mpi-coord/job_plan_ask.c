/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job_plan_ask.c - runs the command that reads the plan; see job_plan.h. Waits until it has ended.
 */
#include "job_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 16

__attribute__((noreturn)) static void become(
	const char *watari, const char *path, const char *const *more, int output)
{
	const char *words[WORDS_MAX] = { watari, "gang", path, "--agents" };

	for (unsigned i = 0; more[i] && i + 5 < WORDS_MAX; i++)
		words[4 + i] = more[i];
	dup2(output, 1);
	execvp(words[0], (char *const *)words);
	printf("failed %s cannot be run: %s; name it with --watari\n", watari, strerror(errno));
	fflush(stdout);
	_exit(127);
}

static FILE *start(const char *watari, const char *path, const char *const *more, pid_t *ret_child)
{
	FILE *said;
	int out[2];

	if (pipe2(out, O_CLOEXEC))
		return NULL;
	*ret_child = fork();
	if (!*ret_child)
		become(watari, path, more, out[1]);
	close(out[1]);
	said = *ret_child > 0 ? fdopen(out[0], "r") : NULL;
	if (said)
		return said;
	close(out[0]);
	if (*ret_child > 0)
		waitpid(*ret_child, NULL, 0);
	return NULL;
}

int wt_job_plan_ask(const char *watari, const char *path, const char *const *more,
	struct wt_job_plan *ret_plan, struct wt_error *err)
{
	struct wt_job_plan plan = { 0 };
	pid_t child = -1;
	FILE *said = start(watari, path, more, &child);
	int status, code = -1;

	if (!said)
		return wt_error_set(err, ENOMEM, "%s cannot be run: %s", watari, strerror(errno));
	status = wt_job_plan_read(said, &plan, err);
	fclose(said);
	while (waitpid(child, &code, 0) < 0 && errno == EINTR)
		;
	if (status == -EPROTO || (!status && code))
		status = wt_error_set(err, EINVAL,
			"%s gang --agents does not say where the guests' agents are; is it of version " WATARI_VERSION
			"?",
			watari);
	if (status < 0)
		wt_job_plan_clear(&plan);
	else
		*ret_plan = plan;
	return status;
}
