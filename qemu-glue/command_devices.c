/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_devices.c - `watari devices`: what of a guest cannot move with it, and what the device map makes of
 * that.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "device_inventory.h"
#include "printable.h"
#include "progress.h"

#define QMP_NS 10000000000ull

static const char usage[] =
	"usage: watari devices --qmp SOCKET [--map FILE] [--host NAME] [--json]\n"
	"Says which devices of the guest are passed through, what blocks its migration, which hot-plug ports are free,\n"
	"and, with a device map, what each device becomes elsewhere. Changes nothing. Exit code 1: the guest cannot go,\n"
	"or a destination cannot take it, with this map.\n"
	"  --qmp SOCKET  QMP socket of QEMU\n"
	"  --map FILE    the device map, see docs/DEVICES.md\n"
	"  --host NAME   which host of the map this one is (default: its host name)\n"
	"  --json        one JSON object\n";

static const struct option options[] = {
	{ "qmp", 1, NULL, 'q' },
	{ "map", 1, NULL, 'm' },
	{ "host", 1, NULL, 'n' },
	{ "json", 0, NULL, 'j' },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

struct request {
	const char *qmp_path, *map_path, *host;
	bool json;
};

static const char *text_of(json_t *object, const char *key, char text[WT_PRINTABLE_MAX])
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? wt_printable(value, strlen(value), text, WT_PRINTABLE_MAX) : strcpy(text, "-");
}

static void print_group(json_t *device)
{
	char address[WT_PRINTABLE_MAX], driver[WT_PRINTABLE_MAX];
	json_t *member;
	size_t i;

	if (!json_is_integer(json_object_get(device, "iommu_group")))
		return;
	printf("           IOMMU group %" JSON_INTEGER_FORMAT ":",
		json_integer_value(json_object_get(device, "iommu_group")));
	json_array_foreach(json_object_get(device, "group"), i, member)
		printf(" %s (%s)", text_of(member, "address", address), text_of(member, "driver", driver));
	putchar('\n');
}

static void print_devices(json_t *inventory)
{
	char id[WT_PRINTABLE_MAX], driver[WT_PRINTABLE_MAX], bus[WT_PRINTABLE_MAX], host[WT_PRINTABLE_MAX];
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(inventory, "devices"), i, item)
	{
		printf("device     %s: %s on %s", text_of(item, "id", id), text_of(item, "driver", driver),
			text_of(item, "bus", bus));
		if (json_is_string(json_object_get(item, "host")))
			printf(", passed through: %s", text_of(item, "host", host));
		putchar('\n');
		print_group(item);
	}
	json_array_foreach(json_object_get(inventory, "ports"), i, item) printf("port       %s: %s\n",
		text_of(item, "id", id), json_is_true(json_object_get(item, "free")) ? "free" : "taken");
}

static void print_map(json_t *inventory)
{
	char here[WT_PRINTABLE_MAX], host[WT_PRINTABLE_MAX], becomes[WT_PRINTABLE_MAX];
	const char *name;
	json_t *entry, *item;
	size_t i;

	json_object_foreach(json_object_get(inventory, "map"), name, entry)
	{
		printf("map        %s: here %s", name, text_of(entry, "here", here));
		json_array_foreach(json_object_get(entry, "elsewhere"), i, item)
			printf("; at %s %s", text_of(item, "host", host), text_of(item, "becomes", becomes));
		putchar('\n');
	}
}

static void print_person(json_t *inventory)
{
	json_int_t pinned = json_integer_value(json_object_get(inventory, "pinned_bytes")) +
			    json_integer_value(json_object_get(inventory, "locked_bytes"));
	char text[WT_PRINTABLE_MAX], size[32];
	json_t *item;
	size_t i;

	print_devices(inventory);
	if (json_is_true(json_object_get(inventory, "passed_through")))
		printf("memory     pinned for devices: QEMU has %s locked\n",
			wt_progress_size((uint64_t)pinned, size));
	json_array_foreach(json_object_get(inventory, "blocked"), i, item) printf("blocked    by QEMU: %s\n",
		wt_printable(json_string_value(item), json_string_length(item), text, sizeof text));
	print_map(inventory);
	json_array_foreach(json_object_get(inventory, "problems"), i, item) printf("problem    %s\n",
		wt_printable(json_string_value(item), json_string_length(item), text, sizeof text));
}

static int parse(int argc, char **argv, struct request *request)
{
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'q':
			request->qmp_path = optarg;
			break;
		case 'm':
			request->map_path = optarg;
			break;
		case 'n':
			request->host = optarg;
			break;
		case 'j':
			request->json = true;
			break;
		case 'h':
			return wt_command_help(usage);
		default:
			return wt_command_usage(usage);
		}
	if (optind != argc || !request->qmp_path)
		return wt_command_usage(usage);
	return WT_COMMAND_RUN;
}

static int look(const struct request *request, struct wt_loop *loop, struct wt_error *err)
{
	struct wt_device_map *map = NULL;
	struct wt_qmp *qmp = NULL;
	json_t *inventory = NULL;
	int r = 0, code;

	if (request->map_path)
		r = wt_device_map_read(request->map_path, &map, err);
	if (!r)
		r = wt_qmp_open(loop, request->qmp_path, QMP_NS, NULL, NULL, &qmp, err);
	if (!r)
		r = wt_device_inventory(qmp, map, request->host, "", &inventory, err);
	if (!r && request->json) {
		json_dumpf(inventory, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
	} else if (!r) {
		print_person(inventory);
	}
	code = !r && !json_array_size(json_object_get(inventory, "problems")) ? WT_EXIT_OK : WT_EXIT_FAILED;
	json_decref(inventory);
	wt_qmp_close(qmp);
	wt_device_map_free(map);
	return r ? r : code;
}

int wt_command_devices(int argc, char **argv)
{
	char host[WT_DEVICE_NAME_MAX + 1] = "";
	struct request request = { .host = host };
	struct wt_error err = { 0 };
	struct wt_loop *loop;
	int r = parse(argc, argv, &request);

	if (r != WT_COMMAND_RUN)
		return r;
	gethostname(host, sizeof host - 1);
	r = wt_loop_open(&loop);
	if (r) {
		fprintf(stderr, "watari: no event loop: %s\n", strerror(-r));
		return WT_EXIT_FAILED;
	}
	r = look(&request, loop, &err);
	wt_loop_close(loop);
	if (r >= 0)
		return r;
	fprintf(stderr, "watari: %s\n", wt_error_text(&err));
	return WT_EXIT_FAILED;
}
