/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device_map.c - a device map is read as it was meant, or refused with a sentence that says what is
 * wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device_map.h"

static const char good[] =
	"{\"version\": 1, \"deadlines_ms\": {\"unplug\": 700},"
	" \"devices\": {"
	"  \"ib0\": {\"bus\": \"rp0\", \"agent\": true, \"hosts\": {"
	"   \"h1\": {\"vfio\": \"0000:81:00.1\", \"link_mac\": \"52:54:00:0a:0b:0c\","
	"           \"prepare\": [\"/usr/local/sbin/bind\", \"{address}\"], \"release\": [\"/bin/true\"]},"
	"   \"h2\": {\"vfio\": [\"0000:05:00.0\", \"0000:05:00.7\"], \"check\": [\"/bin/true\"],"
	"           \"properties\": {\"x-no-mmap\": true, \"sub\": 3, \"name\": \"text\"}},"
	"   \"h3\": {\"device\": \"virtio-net-pci\", \"properties\": {\"netdev\": \"n1\"}},"
	"   \"h4\": {\"none\": true}}},"
	"  \"gpu\": {\"id\": \"vga1\", \"bus\": \"rp1\", \"hosts\": {\"h1\": {\"none\": true}}}}}";

static struct wt_device_map *parse(const char *text)
{
	struct wt_device_map *map = NULL;
	struct wt_error err = { 0 };

	if (wt_device_map_parse(text, strlen(text), "m.json", &map, &err))
		fail_msg("%s", err.text);
	return map;
}

static void test_good(void **state)
{
	struct wt_device_map *map = parse(good);
	const struct wt_device *ib0 = wt_device_named(map, "ib0");
	const struct wt_device_place *h1 = wt_device_place_of(ib0, "h1"), *h2 = wt_device_place_of(ib0, "h2");
	char text[64];

	assert_int_equal(map->count, 2);
	assert_int_equal(map->deadlines.unplug, 700);
	assert_int_equal(map->deadlines.detach, 10000);
	assert_true(ib0->agent);
	assert_string_equal(ib0->id, "ib0");
	assert_string_equal(ib0->bus, "rp0");
	assert_string_equal(wt_device_named(map, "gpu")->id, "vga1");
	assert_false(wt_device_named(map, "gpu")->agent);
	assert_null(wt_device_named(map, "ib1"));
	assert_null(wt_device_place_of(ib0, "h5"));
	assert_string_equal(wt_device_place_text(h1, text, sizeof text), "vfio 0000:81:00.1");
	assert_string_equal(wt_device_place_text(h2, text, sizeof text), "vfio, one of 2");
	assert_string_equal(
		wt_device_place_text(wt_device_place_of(ib0, "h3"), text, sizeof text), "virtio-net-pci");
	assert_string_equal(
		wt_device_place_text(wt_device_place_of(ib0, "h4"), text, sizeof text), "nothing");
	assert_int_equal(h1->prepare.count, 2);
	assert_string_equal(h1->prepare.words[1], "{address}");
	assert_null(h1->prepare.words[2]);
	assert_int_equal(h1->release.count, 1);
	assert_int_equal(h1->check.count, 0);
	assert_string_equal(h1->link_mac, "52:54:00:0a:0b:0c");
	wt_device_map_free(map);
}

static void test_arguments(void **state)
{
	struct wt_device_map *map = parse(good);
	const struct wt_device *ib0 = wt_device_named(map, "ib0");
	json_t *made = wt_device_arguments(ib0, wt_device_place_of(ib0, "h2"), "0000:05:00.7");
	json_t *wanted = json_pack("{s:s,s:s,s:s,s:s,s:b,s:i,s:s}", "driver", "vfio-pci", "id", "ib0", "bus",
		"rp0", "host", "0000:05:00.7", "x-no-mmap", 1, "sub", 3, "name", "text");

	assert_true(json_equal(made, wanted));
	json_decref(made);
	json_decref(wanted);
	made = wt_device_arguments(ib0, wt_device_place_of(ib0, "h3"), NULL);
	wanted = json_pack(
		"{s:s,s:s,s:s,s:s}", "driver", "virtio-net-pci", "id", "ib0", "bus", "rp0", "netdev", "n1");
	assert_true(json_equal(made, wanted));
	json_decref(made);
	json_decref(wanted);
	wt_device_map_free(map);
}

/* H: what is said of one host; D: of one device. */
#define D(text) "{\"version\": 1, \"devices\": {\"ib0\": " text "}}"
#define H(text) D("{\"bus\": \"rp0\", \"hosts\": {\"h1\": " text "}}")

static const struct {
	const char *text, *said;
} bad[] = {
	{ "", "line 1 is no JSON" },
	{ "{\n\"version\": 1,,}", "line 2 is no JSON" },
	{ "[]", "it must be an object" },
	{ "{\"devices\": {}}", "\"version\" must be 1" },
	{ "{\"version\": 2, \"devices\": {}}", "\"version\" must be 1" },
	{ "{\"version\": 1, \"version\": 1}", "is no JSON" },
	{ "{\"version\": 1}", "\"devices\" must be an object of 1 to 16" },
	{ "{\"version\": 1, \"devices\": {}}", "\"devices\" must be" },
	{ "{\"version\": 1, \"device\": {}}", "there is no \"device\" here" },
	{ "{\"version\": 1, \"deadlines_ms\": 3, \"devices\": {}}", "\"deadlines_ms\" must be" },
	{ "{\"version\": 1, \"deadlines_ms\": {\"unplug\": 0}, \"devices\": {}}",
		"deadline \"unplug\" must be" },
	{ "{\"version\": 1, \"deadlines_ms\": {\"unplug\": \"1s\"}, \"devices\": {}}",
		"deadline \"unplug\"" },
	{ "{\"version\": 1, \"deadlines_ms\": {\"unplag\": 1}, \"devices\": {}}", "there is no \"unplag\"" },
	{ "{\"version\": 1, \"devices\": {\"a b\": {}}}", "the name of a device" },
	{ D("7"), "device ib0: it must be an object" },
	{ D("{\"hosts\": {\"h1\": {\"none\": true}}}"), "\"bus\" is missing" },
	{ D("{\"bus\": 7}"), "\"bus\" must be a text" },
	{ D("{\"bus\": \"rp0,addr=1\"}"), "\"bus\" must be 1 to 63" },
	{ D("{\"bus\": \"rp0\", \"agent\": 1}"), "\"agent\" must be true or false" },
	{ D("{\"bus\": \"rp0\"}"), "\"hosts\" must be" },
	{ D("{\"bus\": \"rp0\", \"host\": {}}"), "there is no \"host\"" },
	{ D("{\"bus\": \"rp0\", \"hosts\": {\"h/1\": {}}}"), "the name of a host" },
	{ H("null"), "host h1: it must be an object" },
	{ H("{}"), "give one of" },
	{ H("{\"none\": true, \"vfio\": \"0000:81:00.1\"}"), "give one of" },
	{ H("{\"none\": false}"), "\"none\" must be true" },
	{ H("{\"vfio\": \"81:00.1\"}"), "must be a PCI address" },
	{ H("{\"vfio\": \"0000:81:00.9\"}"), "must be a PCI address" },
	{ H("{\"vfio\": \"0000:8g:00.1\"}"), "must be a PCI address" },
	{ H("{\"vfio\": 3}"), "must be a PCI address" },
	{ H("{\"vfio\": []}"), "must have 1 to 64" },
	{ H("{\"vfio\": [\"0000:81:00.1\", \"0000:81:00.1\"]}"), "0000:81:00.1 is there twice" },
	{ H("{\"device\": \"e1000e,id=x\"}"), "\"device\" must be 1 to 63" },
	{ H("{\"none\": true, \"relase\": []}"), "there is no \"relase\"" },
	{ H("{\"none\": true, \"prepare\": []}"), "\"prepare\" must be a list of 1 to 32" },
	{ H("{\"none\": true, \"prepare\": \"rm -rf\"}"), "\"prepare\" must be a list" },
	{ H("{\"none\": true, \"prepare\": [\"sh\"]}"), "must begin with the full path" },
	{ H("{\"none\": true, \"prepare\": [\"/bin/sh\", 3]}"), "must be a list of words" },
	{ H("{\"none\": true, \"link_mac\": \"52:54:00:0A:0b:0c\"}"), "\"link_mac\" must be" },
	{ H("{\"none\": true, \"link_mac\": \"52-54-00-0a-0b-0c\"}"), "\"link_mac\" must be" },
	{ H("{\"device\": \"x\", \"properties\": []}"), "\"properties\" must be an object" },
	{ H("{\"device\": \"x\", \"properties\": {\"id\": \"y\"}}"), "is watari's to set" },
	{ H("{\"device\": \"x\", \"properties\": {\"a b\": \"y\"}}"), "the name of a property" },
	{ H("{\"device\": \"x\", \"properties\": {\"a\": {}}}"), "property \"a\" must be" },
	{ "{\"version\": 1, \"devices\": {\"a\": {\"bus\": \"rp0\", \"hosts\": {\"h\": {\"none\": true}}},"
	  " \"b\": {\"bus\": \"rp0\", \"hosts\": {\"h\": {\"none\": true}}}}}",
		"devices a and b have the same bus rp0" },
	{ "{\"version\": 1, \"devices\": {\"a\": {\"id\": \"x\", \"bus\": \"rp0\", \"hosts\": {\"h\": {\"none\": true}}},"
	  " \"x\": {\"bus\": \"rp1\", \"hosts\": {\"h\": {\"none\": true}}}}}",
		"devices a and x have the same id x" },
};

static void test_bad(void **state)
{
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct wt_device_map *map = NULL;
		struct wt_error err = { 0 };

		assert_int_equal(
			wt_device_map_parse(bad[i].text, strlen(bad[i].text), "m.json", &map, &err), -EINVAL);
		assert_null(map);
		if (!strstr(err.text, bad[i].said) || !strstr(err.text, "m.json") || strchr(err.text, '\n'))
			fail_msg("%s: \"%s\", not \"%s\"", bad[i].text, err.text, bad[i].said);
	}
}

static void test_file(void **state)
{
	char path[] = "/tmp/test_device_map.XXXXXX";
	int fd = mkstemp(path);
	struct wt_device_map *map = NULL;
	struct wt_error err = { 0 };
	char *large = calloc(1, WT_DEVICE_MAP_BYTES_MAX + 1);

	assert_true(fd >= 0 && large);
	assert_int_equal(write(fd, good, strlen(good)), (int)strlen(good));
	assert_int_equal(wt_device_map_read(path, &map, &err), 0);
	wt_device_map_free(map);
	memset(large, ' ', WT_DEVICE_MAP_BYTES_MAX + 1);
	assert_int_equal(write(fd, large, WT_DEVICE_MAP_BYTES_MAX), WT_DEVICE_MAP_BYTES_MAX);
	assert_int_equal(wt_device_map_read(path, &map, &err), -EINVAL);
	assert_non_null(strstr(err.text, "has more than 1048576 bytes"));
	unlink(path);
	wt_error_clear(&err);
	assert_int_equal(wt_device_map_read(path, &map, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	close(fd);
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
