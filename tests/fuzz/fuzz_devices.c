/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_devices.c - libFuzzer harness of the device map, of plans of gangs and of rejuvenations, and of what a
 * guest's agent and its host say to each other. Checked besides memory safety:
 *   1. a refused text has a sentence; an accepted one keeps the promises of its header;
 *   2. a request, and an answer, rendered and read again is the same;
 *   3. lines: cut in pieces or whole, the same lines.
 *   4. a word of a plan that goes through a shell means the same to it.
 * The first byte chooses the reader.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../qemu-glue/agent_message.h"
#include "../../qemu-glue/device_map.h"
#include "../../qemu-glue/gang_plan.h"
#include "../../qemu-glue/rejuvenate_plan.h"
#include "json_mutator.h"
#include "promise.h"
#include "text_file.h"

static const char *const words[] = { "version", "deadlines_ms", "prepare", "detach", "unplug", "plug",
	"attach", "recall", "devices", "id", "bus", "agent", "hosts", "vfio", "link_mac", "check", "release",
	"device", "properties", "none", "parallel", "hold_s", "watari", "vms", "from", "to", "prefix",
	"options", "qmp", "psk", "insecure", "device_host", "address", "start", "by", "handover",
	"evacuation", "command", "command_s", "probe", "probe_s", "probe_differs", "room", "guests", "home",
	"away", "host", "send", "receive", "replica", "handover_s", "do", "ping", "message", "ranks", "look",
	"tell", "name", "what", "data", "timeout_ms", "ok", "ms", "busy", "error", "output", "rank", "pid",
	"0000:81:00.1", "52:54:00:0a:0b:0c", "h2:4711", "a", "b", "web1", "web1-incoming", "--qmp",
	"--device", "--json=1", "/x" };
static const unsigned word_count = sizeof words / sizeof *words;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_command(const struct wt_device_command *command)
{
	PROMISE(command->count <= WT_DEVICE_WORDS_MAX && !command->words[command->count]);
	PROMISE(!command->count || command->words[0][0] == '/');
}

static void check_place(const struct wt_device *device, const struct wt_device_place *place)
{
	char text[128];
	json_t *arguments;

	PROMISE(wt_device_name_good(place->host) && place->kind);
	PROMISE(place->kind != WT_DEVICE_VFIO ||
		(place->address_count && place->address_count <= WT_DEVICE_POOL_MAX));
	PROMISE(place->kind != WT_DEVICE_EMULATED || wt_device_name_good(place->driver));
	PROMISE(!place->link_mac[0] || strlen(place->link_mac) == 17);
	for (unsigned i = 0; i < place->address_count; i++)
		PROMISE(strlen(place->addresses[i]) == WT_DEVICE_ADDRESS_MAX);
	check_command(&place->prepare);
	check_command(&place->check);
	check_command(&place->release);
	PROMISE(wt_device_place_text(place, text, sizeof text)[0]);
	if (place->kind == WT_DEVICE_NONE)
		return;
	arguments = wt_device_arguments(device, place, place->address_count ? place->addresses[0] : NULL);
	PROMISE(!strcmp(json_string_value(json_object_get(arguments, "id")), device->id));
	json_decref(arguments);
}

static void try_map(const char *text, size_t length)
{
	struct wt_device_map *map = NULL;
	struct wt_error err = { 0 };

	if (wt_device_map_parse(text, length, "fuzz", &map, &err) < 0) {
		PROMISE(err.code && err.text[0] && !map && !strchr(err.text, '\n'));
		return;
	}
	PROMISE(map->count && map->count <= WT_DEVICES_MAX && map->deadlines.unplug);
	for (unsigned i = 0; i < map->count; i++) {
		const struct wt_device *device = &map->devices[i];

		PROMISE(wt_device_name_good(device->name) && wt_device_name_good(device->id) &&
			wt_device_name_good(device->bus) && device->place_count);
		PROMISE(wt_device_named(map, device->name) == device);
		for (unsigned k = 0; k < device->place_count; k++)
			check_place(device, &device->places[k]);
	}
	wt_device_map_free(map);
	PROMISE(!wt_device_map_read(text_file(text, length), &map, &err));
	wt_device_map_free(map);
}

static void check_word(const char *word)
{
	PROMISE(word[0] && !strpbrk(word, " \t\n'\"\\$`;&|<>(){}[]*?#~!%^"));
}

static void try_plan(const char *text, size_t length)
{
	struct wt_gang_plan *plan = NULL;
	struct wt_error err = { 0 };

	if (wt_gang_plan_parse(text, length, "fuzz", &plan, &err) < 0) {
		PROMISE(err.code && err.text[0] && !plan && !strchr(err.text, '\n'));
		return;
	}
	PROMISE(plan->count && plan->count <= WT_GANG_VMS_MAX && plan->parallel && plan->hold_s);
	check_word(plan->watari);
	for (unsigned i = 0; i < plan->count; i++) {
		const struct wt_gang_vm *vm = &plan->vms[i];

		PROMISE(wt_device_name_good(vm->name) && strlen(vm->name) <= WT_GANG_NAME_MAX);
		PROMISE(!!vm->from.psk + !!vm->from.tls_creds + vm->from.insecure == 1);
		PROMISE(!!vm->to.psk + !!vm->to.tls_creds + vm->to.insecure == 1);
		check_word(vm->address);
		check_word(vm->from.qmp);
		check_word(vm->to.qmp);
		for (unsigned k = 0; k < vm->start.count; k++)
			check_word(vm->start.words[k]);
		for (unsigned k = 0; k < vm->from.options.count; k++)
			check_word(vm->from.options.words[k]);
	}
	wt_gang_plan_free(plan);
	PROMISE(!wt_gang_plan_read(text_file(text, length), &plan, &err));
	wt_gang_plan_free(plan);
}

static void try_rejuvenation(const char *text, size_t length)
{
	struct wt_rejuvenate_plan *plan = NULL;
	struct wt_error err = { 0 };

	if (wt_rejuvenate_plan_parse(text, length, "fuzz", &plan, &err) < 0) {
		PROMISE(err.code && err.text[0] && !plan && !strchr(err.text, '\n'));
		return;
	}
	PROMISE(plan->order.hosts && plan->order.hosts <= WT_REJUVENATE_HOSTS_MAX && plan->order.parallel);
	for (unsigned i = 0; i < plan->order.hosts; i++)
		for (unsigned k = 0; k < plan->hosts[i].command.count; k++)
			check_word(plan->hosts[i].command.words[k]);
	for (unsigned i = 0; i < plan->order.guests; i++) {
		const struct wt_rejuvenate_guest *guest = &plan->order.guest[i];
		bool leaves = plan->order.host[guest->home].by == WT_REJUVENATE_BY_EVACUATION;

		PROMISE(guest->home < plan->order.hosts && guest->away < plan->order.hosts);
		PROMISE(leaves == (guest->home != guest->away) && leaves == !!plan->guests[i].leave &&
			leaves == !!plan->guests[i].back);
		check_word(plan->guests[i].qmp);
	}
	wt_rejuvenate_plan_free(plan);
	PROMISE(!wt_rejuvenate_plan_read(text_file(text, length), &plan, &err));
	wt_rejuvenate_plan_free(plan);
}

static void try_request(const char *text, size_t length)
{
	struct wt_agent_request request = { 0 }, again = { 0 };
	struct wt_error err = { 0 };
	char *line = NULL;

	if (wt_agent_request_parse(text, length, &request, &err) < 0) {
		PROMISE(err.code && err.text[0]);
		return;
	}
	PROMISE(request.id && request.verb);
	PROMISE(request.verb == WT_AGENT_PING || request.verb == WT_AGENT_LOOK ||
		wt_device_name_good(request.name));
	PROMISE(request.timeout_ms || request.verb == WT_AGENT_PING || request.verb >= WT_AGENT_RANKS);
	PROMISE(!request.data || request.verb == WT_AGENT_MESSAGE || request.verb == WT_AGENT_TELL);
	if (!wt_agent_request_render(&request, &line, &err)) {
		PROMISE(!wt_agent_request_parse(line, strlen(line), &again, &err));
		PROMISE(again.id == request.id && again.verb == request.verb &&
			!strcmp(again.name, request.name) && !strcmp(again.what, request.what) &&
			!strcmp(again.link_mac, request.link_mac));
		PROMISE(!strcmp(again.data ? again.data : "", request.data ? request.data : ""));
	}
	free(line);
	wt_agent_request_clear(&again);
	wt_agent_request_clear(&request);
}

static void try_answer(const char *text, size_t length)
{
	struct wt_agent_answer answer = { 0 }, again = { 0 };
	struct wt_error err = { 0 };
	char *line = NULL;

	if (wt_agent_answer_parse(text, length, &answer, &err) < 0) {
		PROMISE(err.code && err.text[0]);
		return;
	}
	PROMISE(answer.id && (answer.ok || answer.error[0]));
	PROMISE(!answer.rank[0] || wt_device_name_good(answer.rank));
	for (const char *c = answer.error; *c; c++)
		PROMISE(*c >= 0x20 && *c < 0x7f);
	if (!wt_agent_answer_render(&answer, &line, &err)) {
		PROMISE(!wt_agent_answer_parse(line, strlen(line), &again, &err));
		PROMISE(again.id == answer.id && again.ok == answer.ok && again.ms == answer.ms &&
			!strcmp(again.error, answer.error));
		PROMISE(!strcmp(again.rank, answer.rank) && again.pid == answer.pid);
	}
	free(line);
	wt_agent_answer_clear(&again);
	wt_agent_answer_clear(&answer);
}

static void sum_line(void *arg, const char *line, size_t length)
{
	uint64_t *sum = arg;

	PROMISE(length && length < WT_AGENT_LINE_MAX && !memchr(line, '\n', length));
	*sum = *sum * 31 + length;
	for (size_t i = 0; i < length; i++)
		*sum = *sum * 31 + (uint8_t)line[i];
}

static uint64_t read_lines(const char *text, size_t length, size_t piece)
{
	static struct wt_agent_lines lines;
	uint64_t sum = 1;

	lines = (struct wt_agent_lines){ 0 };
	while (length) {
		size_t room, n;
		char *at = wt_agent_lines_room(&lines, &room);

		PROMISE(room);
		n = length < piece ? length : piece;
		n = n < room ? n : room;
		memcpy(at, text, n);
		wt_agent_lines_add(&lines, n, sum_line, &sum);
		text += n;
		length -= n;
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size < 1)
		return 0;
	if (data[0] == 'P')
		try_plan(text, size - 1);
	else if (data[0] == 'R')
		try_rejuvenation(text, size - 1);
	else if (data[0] % 4 == 0)
		try_map(text, size - 1);
	else if (data[0] % 4 == 1)
		try_request(text, size - 1);
	else if (data[0] % 4 == 2)
		try_answer(text, size - 1);
	else
		PROMISE(read_lines(text, size - 1, SIZE_MAX) == read_lines(text, size - 1, 1 + data[0]));
	return 0;
}
