/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_channel_x509.c - certificates: what is read from a folder, and who is let in, with which sentences.
 *
 * Two ends of TLS in memory, without sockets. Certificates are made by scripts/certificates, once.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "channel_tls.h"
#include "credentials.h"

#define CLIENT 0
#define SERVER 1

static char dir[] = "/tmp/wt-test-x509-XXXXXX";

static void shell(const char *format, ...)
{
	char command[1024], *line;
	va_list list;

	va_start(list, format);
	if (vasprintf(&line, format, list) < 0)
		fail();
	va_end(list);
	snprintf(command, sizeof command, "cd %s && PATH=%s:$PATH && %s", dir, SCRIPTS, line);
	free(line);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

/*
 * a, b: hosts of one authority. lost: one that was revoked later; a, b and lost do not know, late does.
 * strange: of another authority. old: out of date.
 */
static int make_certificates(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	shell("certificates init ca && certificates host ca a a.test IP:10.0.0.1 && certificates host ca b b.test");
	shell("certificates host ca lost lost.test && certificates host ca late late.test");
	shell("certificates revoke ca lost/client-cert.pem && cp ca/ca-crl.pem late/");
	shell("certificates init other && certificates host other strange a.test");
	shell("WATARI_CERTIFICATE_END=20200101000000Z certificates host ca old old.test");
	return 0;
}

static int remove_certificates(void **state)
{
	shell("rm -rf ../%s", strrchr(dir, '/') + 1);
	return 0;
}

static int load(const char *name, const char *const *allowed, unsigned count,
	struct wt_credentials **ret_credentials, struct wt_error *err)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return wt_credentials_x509(path, allowed, count, ret_credentials, err);
}

/* ---- folders ---- */

static void loads(const char *name)
{
	struct wt_credentials *credentials = NULL;
	struct wt_error err = { 0 };

	if (load(name, NULL, 0, &credentials, &err))
		fail_msg("%s: %s", name, err.text);
	wt_credentials_free(credentials);
}

static void does_not_load(const char *name, int code, const char *expected)
{
	struct wt_credentials *credentials = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(load(name, NULL, 0, &credentials, &err), -code);
	if (!strstr(err.text, expected))
		fail_msg("%s: %s", name, err.text);
	assert_null(credentials);
}

static void test_folders(void **state)
{
	loads("a");
	shell("cp -r a one && rm one/server-*");
	loads("one");
	does_not_load("nowhere", ENOENT, "ca-cert.pem");
	does_not_load("old", EKEYREJECTED,
		"server-cert.pem cannot be used with ca-cert.pem there: certificate has expired");
	shell("cp -r a mixed && cp other/ca-cert.pem mixed/");
	does_not_load("mixed", EKEYREJECTED, "server-cert.pem cannot be used");
	shell("cp -r a swapped && cp a/client-cert.pem swapped/server-cert.pem && cp a/client-key.pem swapped/server-key.pem");
	does_not_load("swapped", EKEYREJECTED, "purpose");
	shell("cp -r a other-key && cp b/client-key.pem other-key/");
	does_not_load("other-key", EINVAL, "client-key.pem is not the key of client-cert.pem");
	shell("cp -r a no-key && rm no-key/client-key.pem");
	does_not_load("no-key", ENOENT, "client-key.pem");
	shell("cp -r a junk && echo junk >junk/ca-cert.pem");
	does_not_load("junk", EINVAL, "no certificate in it");
	shell("cp -r a cut && head -c 300 a/server-cert.pem >cut/server-cert.pem");
	does_not_load("cut", EINVAL, "server-cert.pem");
	shell("cp -r a no-list && echo junk >no-list/ca-crl.pem");
	does_not_load("no-list", EINVAL, "list of what is revoked");
	shell("cp -r a locked && openssl pkey -in a/client-key.pem -aes128 -passout pass:x -out locked/client-key.pem && "
	      "chmod 600 locked/client-key.pem");
	does_not_load("locked", EINVAL, "without a password");
}

static void test_keys_are_kept(void **state)
{
	shell("cp -r a group && chmod 640 group/*-key.pem");
	loads("group"); /* as libvirt has it: root's file, QEMU's group */
	shell("cp -r a written && chmod 660 written/client-key.pem");
	does_not_load("written", EPERM, "client-key.pem may be used by others");
	shell("cp -r a open && chmod 604 open/server-key.pem");
	does_not_load("open", EPERM, "server-key.pem may be used by others");
}

/* ---- who is let in ---- */

struct meeting {
	struct wt_credentials *credentials[2];
	struct wt_tls *tls[2];
	struct wt_error err[2];
	int result[2];
};

static void carry(struct wt_tls *from, struct wt_tls *to)
{
	uint8_t bytes[4096];
	struct wt_error ignored = { 0 };
	size_t length;

	while ((length = wt_tls_pull(from, bytes, sizeof bytes)))
		wt_tls_feed(to, bytes, length, &ignored);
}

/* Both ends do what they can, until both are done or one has failed; then the client reads. */
static void shake(struct meeting *m)
{
	uint8_t byte;

	m->result[CLIENT] = m->result[SERVER] = -EAGAIN;
	for (int round = 0; round < 8; round++)
		for (int end = 0; end < 2; end++) {
			if (m->result[end] == -EAGAIN)
				m->result[end] = wt_tls_handshake(m->tls[end], &m->err[end]);
			carry(m->tls[end], m->tls[!end]);
		}
	if (!m->result[CLIENT] && wt_tls_read(m->tls[CLIENT], &byte, 1, &m->err[CLIENT]) != -EAGAIN)
		m->result[CLIENT] = -m->err[CLIENT].code;
}

static void open_end(struct meeting *m, int end, const char *who, const char *allowed, const char *host)
{
	struct wt_tls_context *context = NULL;

	if (load(who, &allowed, allowed ? 1 : 0, &m->credentials[end], &m->err[end]) ||
		wt_tls_context_open(end == SERVER, m->credentials[end], &context, &m->err[end]))
		fail_msg("%s: %s", who, m->err[end].text);
	assert_int_equal(wt_tls_open(context, who, host, &m->tls[end], &m->err[end]), 0);
	wt_tls_context_close(context);
}

static void part(struct meeting *m)
{
	for (int end = 0; end < 2; end++) {
		wt_tls_close(m->tls[end]);
		wt_credentials_free(m->credentials[end]);
	}
}

static void expect(const struct meeting *m, int end, int result, const char *text, size_t row)
{
	if (m->result[end] != -result || (result && !strstr(m->err[end].text, text)))
		fail_msg("row %zu, %s: %d, %s", row, end ? "server" : "client", m->result[end],
			m->err[end].text);
}

static void test_who_is_let_in(void **state)
{
	static const char refused[] = "did not accept our certificate";
	static const struct {
		const char *client, *server, *host, *client_allows, *server_allows;
		int client_result;
		const char *client_text;
		int server_result;
		const char *server_text;
	} rows[] = {
		{ "a", "b", "b.test", NULL, NULL, 0, "", 0, "" },
		{ "b", "a", "10.0.0.1", NULL, NULL, 0, "", 0, "" },
		{ "b", "a", "10.0.0.2", NULL, NULL, EKEYREJECTED, "for other hosts than this one",
			EKEYREJECTED, refused },
		{ "a", "b", "a.test", NULL, NULL, EKEYREJECTED, "(\"CN=b.test\") for other hosts",
			EKEYREJECTED, refused },
		{ "a", "b", "a.test", "b.test", NULL, 0, "", 0, "" }, /* the list, and not the host */
		{ "a", "b", NULL, "B.test", NULL, 0, "", 0, "" },
		{ "a", "b", NULL, "CN=b.test", "CN=a.test", 0, "", 0, "" },
		{ "a", "b", "b.test", NULL, "10.0.0.1", 0, "", 0, "" },
		{ "a", "b", "b.test", NULL, "c.test", EKEYREJECTED, refused, EKEYREJECTED,
			"is \"CN=a.test\", who is not allowed here" },
		{ "a", "b", "b.test", NULL, "test", EKEYREJECTED, refused, EKEYREJECTED, "not allowed" },
		{ "a", "b", "b.test", NULL, "*.test", EKEYREJECTED, refused, EKEYREJECTED, "not allowed" },
		{ "a", "b", "b.test", NULL, "CN=a.tes", EKEYREJECTED, refused, EKEYREJECTED, "not allowed" },
		{ "a", "b", "b.test", "c.test", NULL, EKEYREJECTED,
			"is \"CN=b.test\", who is not allowed here", EKEYREJECTED, refused },
		{ "strange", "b", "b.test", NULL, NULL, EKEYREJECTED, "not accepted: ", EKEYREJECTED,
			"does not trust the authority of our certificate" },
		{ "a", "strange", "a.test", NULL, NULL, EKEYREJECTED, "not accepted: ", EKEYREJECTED,
			"does not trust the authority of our certificate" },
		{ "lost", "b", "b.test", NULL, NULL, 0, "", 0, "" }, /* b has not heard of it */
		{ "lost", "late", "late.test", NULL, NULL, EKEYREJECTED, refused, EKEYREJECTED,
			"(\"CN=lost.test\") that is not accepted: certificate revoked" },
		{ "a", "late", "late.test", NULL, NULL, 0, "", 0, "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct meeting m = { 0 };

		open_end(&m, CLIENT, rows[i].client, rows[i].client_allows, rows[i].host);
		open_end(&m, SERVER, rows[i].server, rows[i].server_allows, NULL);
		shake(&m);
		expect(&m, CLIENT, rows[i].client_result, rows[i].client_text, i);
		expect(&m, SERVER, rows[i].server_result, rows[i].server_text, i);
		part(&m);
	}
}

static void test_allowed_names_from_a_file(void **state)
{
	static const char *const bad[] = { "", ".test", "@nowhere" };
	struct meeting m = { 0 };
	struct wt_credentials *credentials = NULL;
	struct wt_error err = { 0 };
	char file[128];
	const char *allowed = file;

	snprintf(file, sizeof file, "@%s/allowed", dir);
	shell("printf '# hosts\\n\\nc.test\\na.test \\n' >allowed");
	open_end(&m, CLIENT, "a", NULL, "b.test");
	open_end(&m, SERVER, "b", file, NULL);
	shake(&m);
	expect(&m, SERVER, 0, "", 0);
	part(&m);
	shell("printf '# nobody\\n' >allowed");
	assert_int_equal(load("a", &allowed, 1, &credentials, &err), -EINVAL);
	assert_non_null(strstr(err.text, "nobody would be allowed"));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		wt_error_clear(&err);
		assert_true(load("a", &bad[i], 1, &credentials, &err) < 0);
	}
}

static void test_roles_that_are_missing(void **state)
{
	static const char *const file[] = { "client-cert.pem", "server-cert.pem" };
	struct wt_tls_context *context = NULL;

	for (int end = 0; end < 2; end++) {
		struct wt_credentials *credentials;
		struct wt_error err = { 0 };

		shell("rm -rf half && cp -r a half && rm half/%s-*", end == SERVER ? "server" : "client");
		assert_int_equal(load("half", NULL, 0, &credentials, &err), 0);
		assert_int_equal(wt_tls_context_open(end == SERVER, credentials, &context, &err), -ENOENT);
		assert_non_null(strstr(err.text, file[end]));
		wt_credentials_free(credentials);
	}
	assert_null(context);
}

static void test_unix_sockets_need_a_list(void **state)
{
	struct wt_tls_context *context;
	struct wt_credentials *credentials;
	struct wt_tls *tls = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(load("a", NULL, 0, &credentials, &err), 0);
	assert_int_equal(wt_tls_context_open(false, credentials, &context, &err), 0);
	assert_int_equal(wt_tls_open(context, "unix:/x", NULL, &tls, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--tls-allow"));
	assert_null(tls);
	wt_tls_context_close(context);
	wt_credentials_free(credentials);
}

/* Neither way of showing who one is is taken for the other. */
static void test_keys_and_certificates_do_not_mix(void **state)
{
	static const struct wt_credentials key = { .psk = { "alice", { 1, 2, 3 }, 32 } };

	for (int end = 0; end < 2; end++) {
		struct meeting m = { 0 };
		struct wt_tls_context *context;

		assert_int_equal(wt_tls_context_open(end == SERVER, &key, &context, &m.err[end]), 0);
		assert_int_equal(wt_tls_open(context, "key", "a.test", &m.tls[end], &m.err[end]), 0);
		wt_tls_context_close(context);
		open_end(&m, !end, "a", NULL, "a.test");
		shake(&m);
		assert_true(m.result[CLIENT] < 0 && m.result[SERVER] < 0);
		assert_true(m.result[CLIENT] != -EAGAIN && m.result[SERVER] != -EAGAIN);
		part(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folders),
		cmocka_unit_test(test_keys_are_kept),
		cmocka_unit_test(test_who_is_let_in),
		cmocka_unit_test(test_allowed_names_from_a_file),
		cmocka_unit_test(test_roles_that_are_missing),
		cmocka_unit_test(test_unix_sockets_need_a_list),
		cmocka_unit_test(test_keys_and_certificates_do_not_mix),
	};

	return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
