/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * order.c - the lines between coordinator and rank; order.h says which. Pure.
 *
 * One table says which fields a line has, in which order; encoding and decoding both follow it.
 *   1. A line that decodes has exactly the words of its kind, each within its bounds.
 *   2. What was encoded decodes to the same fields.
 * A sentence (text) goes last and may hold spaces; control characters become spaces.
 */
#include "order.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One letter a field: v version, e epoch, j job, r rank, n size, s state, f fabric, p paths, h host, P port,
 * t token, H and Q host and port over verbs, m part, T text. */
static const struct {
	const char *name;
	const char *fields;
} table[WT_ORDER_KINDS] = {
	[WT_ORDER_HELLO] = { "hello", "v" },
	[WT_ORDER_MOVES] = { "moves", "ejr" },
	[WT_ORDER_QUIESCE] = { "quiesce", "em" },
	[WT_ORDER_DETACH] = { "detach", "e" },
	[WT_ORDER_ATTACH] = { "attach", "e" },
	[WT_ORDER_PEER] = { "peer", "ejrhPtHQ" },
	[WT_ORDER_CONNECT] = { "connect", "e" },
	[WT_ORDER_RESUME] = { "resume", "e" },
	[WT_ORDER_ABORT] = { "abort", "e" },
	[WT_ORDER_STATUS] = { "status", "" },
	[WT_REPORT_RANK] = { "rank", "vjrnsefpm" },
	[WT_REPORT_DRAINED] = { "drained", "e" },
	[WT_REPORT_DETACHED] = { "detached", "e" },
	[WT_REPORT_ATTACHED] = { "attached", "ehPtHQ" },
	[WT_REPORT_READY] = { "ready", "e" },
	[WT_REPORT_RUNNING] = { "running", "e" },
	[WT_REPORT_REFUSED] = { "refused", "eT" },
	[WT_REPORT_LEAVING] = { "leaving", "" },
};

static const char *const states[WT_RANK_STATES] = {
	[WT_RANK_INVALID] = "unknown",
	[WT_RANK_RUNNING] = "running",
	[WT_RANK_QUIESCING] = "quiescing",
	[WT_RANK_DRAINED] = "drained",
	[WT_RANK_DETACHED] = "detached",
	[WT_RANK_ATTACHED] = "attached",
	[WT_RANK_JOINING] = "joining",
	[WT_RANK_READY] = "ready",
};

const char *wt_rank_state_name(enum wt_rank_state state)
{
	return states[state < WT_RANK_STATES ? state : WT_RANK_INVALID];
}

const char *wt_order_name(enum wt_order_kind kind)
{
	return kind > WT_ORDER_INVALID && kind < WT_ORDER_KINDS ? table[kind].name : "nothing";
}

static int field_print(const struct wt_order *order, char field, char *word, size_t size)
{
	switch (field) {
	case 'v':
		return snprintf(word, size, "%" PRIu32, order->version);
	case 'e':
		return snprintf(word, size, "%" PRIu32, order->epoch);
	case 'j':
		return snprintf(word, size, "%" PRIu32, order->job);
	case 'r':
		return snprintf(word, size, "%" PRIu32, order->rank);
	case 'n':
		return snprintf(word, size, "%" PRIu32, order->size);
	case 'p':
		return snprintf(word, size, "%" PRIu32, order->paths);
	case 'm':
		return snprintf(word, size, "%" PRIu32, order->part);
	case 's':
		return snprintf(word, size, "%s", wt_rank_state_name(order->state));
	case 'f':
		return snprintf(word, size, "%s", order->fabric[0] ? order->fabric : "-");
	case 'h':
		return snprintf(word, size, "%s", order->host[0] ? order->host : "-");
	case 'P':
		return snprintf(word, size, "%u", (unsigned)order->port);
	case 'H':
		return snprintf(word, size, "%s", order->verbs_host[0] ? order->verbs_host : "-");
	case 'Q':
		return snprintf(word, size, "%u", (unsigned)order->verbs_port);
	case 't':
		return snprintf(word, size, "%016" PRIx64, order->token);
	default:
		return snprintf(word, size, "%s", order->text[0] ? order->text : "-");
	}
}

size_t wt_order_encode(const struct wt_order *order, char *line)
{
	size_t length = (size_t)sprintf(line, "%s", wt_order_name(order->kind));
	const char *field;
	size_t i;

	for (field = table[order->kind].fields; *field; field++) {
		line[length++] = ' ';
		length += (size_t)field_print(order, *field, line + length, WT_ORDER_LINE_MAX - 1 - length);
	}
	for (i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[length++] = '\n';
	line[length] = 0;
	return length;
}

/* A number that is nothing but digits. */
static bool number(const char *word, int base, uint64_t max, uint64_t *ret_value)
{
	const char *digits = base == 16 ? "0123456789abcdef" : "0123456789";
	size_t length = strlen(word);

	if (!length || length > 20 || strspn(word, digits) != length)
		return false;
	errno = 0;
	*ret_value = strtoull(word, NULL, base);
	return errno == 0 && *ret_value <= max;
}

static bool copy(const char *word, char *to, size_t size)
{
	if (!*word || strlen(word) >= size)
		return false;
	strcpy(to, strcmp(word, "-") == 0 ? "" : word);
	return true;
}

static bool state_parse(const char *word, enum wt_rank_state *ret_state)
{
	unsigned i;

	for (i = 1; i < WT_RANK_STATES; i++) {
		if (strcmp(word, states[i]) == 0) {
			*ret_state = (enum wt_rank_state)i;
			return true;
		}
	}
	return false;
}

static bool number_field(struct wt_order *order, char field, const char *word)
{
	uint64_t max = field == 't' ? UINT64_MAX : field == 'P' || field == 'Q' ? UINT16_MAX : UINT32_MAX;
	uint64_t value;

	if (!number(word, field == 't' ? 16 : 10, max, &value))
		return false;
	switch (field) {
	case 'v':
		order->version = (uint32_t)value;
		break;
	case 'e':
		order->epoch = (uint32_t)value;
		break;
	case 'j':
		order->job = (uint32_t)value;
		break;
	case 'r':
		order->rank = (uint32_t)value;
		break;
	case 'n':
		order->size = (uint32_t)value;
		break;
	case 'p':
		order->paths = (uint32_t)value;
		break;
	case 'm':
		order->part = (uint32_t)value;
		break;
	case 'P':
		order->port = (uint16_t)value;
		break;
	case 'Q':
		order->verbs_port = (uint16_t)value;
		break;
	default:
		order->token = value;
	}
	return true;
}

static bool field_parse(struct wt_order *order, char field, const char *word)
{
	switch (field) {
	case 's':
		return state_parse(word, &order->state);
	case 'f':
		return copy(word, order->fabric, sizeof order->fabric);
	case 'h':
		return copy(word, order->host, sizeof order->host);
	case 'H':
		return copy(word, order->verbs_host, sizeof order->verbs_host);
	case 'T':
		return copy(word, order->text, sizeof order->text);
	default:
		return number_field(order, field, word);
	}
}

static enum wt_order_kind kind_parse(const char *word)
{
	unsigned i;

	for (i = 1; i < WT_ORDER_KINDS; i++)
		if (strcmp(word, table[i].name) == 0)
			return (enum wt_order_kind)i;
	return WT_ORDER_INVALID;
}

int wt_order_decode(const char *line, struct wt_order *ret_order)
{
	struct wt_order order = { 0 };
	char copied[WT_ORDER_LINE_MAX];
	const char *field;
	char *rest = copied;
	char *word;

	if (strlen(line) >= sizeof copied)
		return -EPROTO;
	for (const char *byte = line; *byte; byte++)
		if ((unsigned char)*byte < ' ')
			return -EPROTO;
	strcpy(copied, line);
	word = strsep(&rest, " ");
	order.kind = kind_parse(word);
	if (!order.kind)
		return -EPROTO;
	for (field = table[order.kind].fields; *field; field++) {
		word = *field == 'T' ? rest : strsep(&rest, " ");
		if (*field == 'T')
			rest = NULL;
		if (!word || !field_parse(&order, *field, word))
			return -EPROTO;
	}
	if (rest)
		return -EPROTO;
	*ret_order = order;
	return 0;
}
