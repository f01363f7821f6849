/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration reader: what it makes of correct files, and its messages about wrong ones, word
 * by word and with the position. */
#include "broker/config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "tests/unit/config_cases.h"
#include "tests/unit/config_expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_vsock(void)
{
    config_expect_good("vsock", PUBLISHED_VSOCK, "");
    CU_ASSERT_STRING_EQUAL(config.path, "f");
    CU_ASSERT_EQUAL_FATAL(config.device_count, 1);
    const struct device_config *device = &config.devices[0];
    CU_ASSERT_EQUAL(device->kind, DEVICE_VSOCK_VHOST);
    CU_ASSERT_EQUAL(device->id, 0);
    CU_ASSERT_EQUAL(device->mmio_addr, 0xa003e00);
    CU_ASSERT_EQUAL(device->guest_cid, 3);
    CU_ASSERT_PTR_NULL(device->file_path);
    CU_ASSERT_FALSE(config_has(device, CONFIG_KEY_SHMEM_ADDR));
    CU_ASSERT_FALSE(config_has(device, CONFIG_KEY_SHMEM_SIZE));
    config_free(&config);
    CU_ASSERT_EQUAL(config.device_count, 0);
    config_free(&config);
}

static void test_older_vsock(void)
{
    config_expect_good(
        "older vsock", PUBLISHED_OLDER_VSOCK,
        "f:6:5: note: shmem_path is no longer needed and has no effect; the line can go\n");
    CU_ASSERT_EQUAL_FATAL(config.device_count, 1);
    const struct device_config *device = &config.devices[0];
    CU_ASSERT_EQUAL(device->kind, DEVICE_VSOCK_VHOST);
    CU_ASSERT_EQUAL(device->mmio_addr, 0xa003e00);
    CU_ASSERT_TRUE(config_has(device, CONFIG_KEY_SHMEM_ADDR));
    CU_ASSERT_EQUAL(device->shmem_addr, 0x80000000);
    CU_ASSERT_TRUE(config_has(device, CONFIG_KEY_SHMEM_SIZE));
    CU_ASSERT_EQUAL(device->shmem_size, 0x01000000);
    CU_ASSERT_TRUE(config_has(device, CONFIG_KEY_IRQ));
    CU_ASSERT_EQUAL(device->irq, 47);
    config_free(&config);
}

static void test_block(void)
{
    config_expect_good("block", WITH_MMIO(PUBLISHED_BLOCK), "f:8:5: note: " WAITS);
    const struct device_config *device = &config.devices[0];
    CU_ASSERT_EQUAL(device->kind, DEVICE_BLOCK_VIRTIO);
    CU_ASSERT_STRING_EQUAL(device->file_path, "/etc/mnt/vm.img");
    CU_ASSERT_FALSE(device->read_only);
    CU_ASSERT_FALSE(device->advertise_flush);
    config_free(&config);

    config_expect_good("other values", BLOCK("  read_only: TRUE\n  advertise_flush: True\n"), "");
    CU_ASSERT_TRUE(config.devices[0].read_only);
    CU_ASSERT_TRUE(config.devices[0].advertise_flush);
    config_free(&config);

    config_expect_good("defaults", BLOCK(""), "");
    CU_ASSERT_FALSE(config.devices[0].read_only);
    CU_ASSERT_TRUE(config.devices[0].advertise_flush);
    config_free(&config);
}

/* Each mode by itself, and the effect of advertise_flush if the file names no mode. */
static void test_cache(void)
{
    static const struct {
        const char *keys, *notes;
        bool flush;
        enum config_cache cache;
    } cases[] = {
        {"", "", true, CONFIG_CACHE_WRITEBACK},
        {"  advertise_flush: true\n", "", true, CONFIG_CACHE_WRITEBACK},
        {"  advertise_flush: false\n", "f:7:3: note: " WAITS, false, CONFIG_CACHE_WRITETHROUGH},
        {"  read_only: true\n  advertise_flush: false\n", "", false, CONFIG_CACHE_WRITETHROUGH},
        {"  cache: writeback\n", "", true, CONFIG_CACHE_WRITEBACK},
        {"  cache: writethrough\n", "", false, CONFIG_CACHE_WRITETHROUGH},
        {"  cache: \"unsafe\"\n", "", true, CONFIG_CACHE_UNSAFE},
        {"  advertise_flush: true\n  cache: writeback\n", "", true, CONFIG_CACHE_WRITEBACK},
        {"  advertise_flush: false\n  cache: writethrough\n", "", false, CONFIG_CACHE_WRITETHROUGH},
        {"  advertise_flush: true\n  cache: unsafe\n", "", true, CONFIG_CACHE_UNSAFE},
        {"  advertise_flush: false\n  cache: unsafe\n", "", false, CONFIG_CACHE_UNSAFE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char yaml[512];
        snprintf(yaml, sizeof(yaml), BLOCK("%s"), cases[i].keys);
        config_expect_good(cases[i].keys, yaml, cases[i].notes);
        CU_ASSERT_EQUAL(config.devices[0].advertise_flush, cases[i].flush);
        CU_ASSERT_EQUAL(config.devices[0].cache, cases[i].cache);
        config_free(&config);
    }
}

static void test_net(void)
{
    config_expect_good("newer net", "devices:\n" NET("1"), "");
    const struct device_config *device = &config.devices[0];
    CU_ASSERT_EQUAL(device->kind, DEVICE_NET_VIRTIO);
    CU_ASSERT_STRING_EQUAL(device->tap_name, "tap1");
    CU_ASSERT_STRING_EQUAL(device->mac_addr, "52:54:00:12:34:56");
    CU_ASSERT_EQUAL(device->mtu, 0);
    CU_ASSERT_EQUAL(device->queues, 0);
    config_free(&config);

    config_expect_good("newer net, two frontends", "devices:\n" NET("0") NET("1"),
                       "f:13:15: note: mac_addr 52:54:00:12:34:56 is that of the device in line 2, "
                       "too: it needs another if their taps are in one network\n");
    CU_ASSERT_STRING_EQUAL(config.devices[0].tap_name, "tap0");
    CU_ASSERT_STRING_EQUAL(config.devices[1].tap_name, "tap1");
    config_free(&config);

    config_expect_good("older net", OLDER_NET, NOTES("6"));
    CU_ASSERT_STRING_EQUAL(config.devices[0].mac_addr, "52:54:00:12:34:57");
    config_free(&config);

#define TAP "devices:\n  - {id: 1, type: net, data_plane: virtio, mmio_addr: 0x1000, tap_name: t"
    config_expect_good("own keys", TAP ", mtu: 9000, queues: 7}\n", "");
    CU_ASSERT_PTR_NULL(config.devices[0].mac_addr);
    CU_ASSERT_EQUAL(config.devices[0].mtu, 9000);
    CU_ASSERT_EQUAL(config.devices[0].queues, 7);
    config_free(&config);

    static const struct config_case wrong[] = {
        {"MTU too small", TAP ", mtu: 1279}\n",
         "f:2:81: mtu is \"1279\"; expected a number of bytes from 1280 to 65535, for example "
         "1500, or no such key for that of the tap\n"},
        {"too many pairs", TAP ", queues: 8}\n",
         "f:2:84: queues is 8; expected at most 7 for net/virtio\n"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        config_expect(wrong[i].name, wrong[i].yaml, strlen(wrong[i].yaml), -EINVAL,
                      wrong[i].expected);
#undef TAP
}

static void test_console(void)
{
    config_expect_good("newer console",
                       "devices:\n    # --- Common ---\n  - id: 0\n    type: \"console\"\n"
                       "    mmio_addr: 0x10001000\n    data_plane: virtio\n",
                       "");
    const struct device_config *device = &config.devices[0];
    CU_ASSERT_EQUAL(device->kind, DEVICE_CONSOLE_VIRTIO);
    CU_ASSERT_PTR_NULL(device->pty_alias);
    CU_ASSERT_PTR_NULL(device->log_path);
    CU_ASSERT_EQUAL(device->ports, 1);
    config_free(&config);

    config_expect_good("alias and ports", CONSOLE(", pty_alias: /run/c, ports: 7"), "");
    CU_ASSERT_STRING_EQUAL(device->pty_alias, "/run/c");
    CU_ASSERT_EQUAL(device->ports, 7);
    config_free(&config);

    config_expect_good("log", CONSOLE(", log_path: c.log, ports: 1"), "");
    CU_ASSERT_STRING_EQUAL(device->log_path, "c.log");
    CU_ASSERT_EQUAL(device->log_size, CONFIG_LOG_SIZE);
    config_free(&config);

    config_expect_good("log of a size", CONSOLE(", log_path: c.log, log_size: 65536"), "");
    CU_ASSERT_EQUAL(device->log_size, 65536);
    config_free(&config);

    config_expect_good("socket", CONSOLE(", socket_path: /run/c.sock, ports: 1"), "");
    CU_ASSERT_EQUAL(device->kind, DEVICE_CONSOLE_SOCKET);
    CU_ASSERT_STRING_EQUAL(device->socket_path, "/run/c.sock");
    CU_ASSERT_EQUAL(device->ports, 1);
    config_free(&config);
    config_expect_cases(console_errors, COUNT(console_errors));
}

static void test_daemons(void)
{
    config_expect_good("fs", PUBLISHED_FS, "");
    const struct device_config *device = &config.devices[0];
    CU_ASSERT_EQUAL(device->kind, DEVICE_FS_VHOST_USER);
    CU_ASSERT_STRING_EQUAL(device->socket_path, "/root/");
    CU_ASSERT_PTR_NULL(device->tag);
    CU_ASSERT_EQUAL(device->virtio_id, 26);
    CU_ASSERT_STRING_EQUAL(device->type_name, "fs");
    config_free(&config);

    config_expect_good("older fs", PUBLISHED_OLDER_FS, NOTES("6"));
    CU_ASSERT_EQUAL(config.devices[0].kind, DEVICE_FS_VHOST_USER);
    config_free(&config);

    config_expect_good("vsock", PUBLISHED_VSOCK_VHOST_USER, "");
    CU_ASSERT_EQUAL(config.devices[0].kind, DEVICE_VSOCK_VHOST_USER);
    CU_ASSERT_EQUAL(config.devices[0].guest_cid, 0);
    config_free(&config);

    config_expect_good("fs with its own keys", DAEMON("26", "  tag: data\n  queues: 4\n"), "");
    CU_ASSERT_EQUAL(config.devices[0].kind, DEVICE_FS_VHOST_USER);
    CU_ASSERT_STRING_EQUAL(config.devices[0].tag, "data");
    CU_ASSERT_EQUAL(config.devices[0].queues, 4);
    config_free(&config);
}

static void test_other_types(void)
{
    const struct device_config *device = &config.devices[0];
    config_expect_good("gpio", DAEMON("gpio", ""), "");
    CU_ASSERT_EQUAL(device->kind, DEVICE_OTHER_VHOST_USER);
    CU_ASSERT_EQUAL(device->virtio_id, 41);
    CU_ASSERT_STRING_EQUAL(device->type_name, "gpio");
    CU_ASSERT_EQUAL(device->queues, 2);
    CU_ASSERT_EQUAL(device->config_size, 8);
    CU_ASSERT_EQUAL(device->config_bytes, 0);
    config_free(&config);

    config_expect_good("number of a known type", DAEMON("41", "  queues: 1\n  config: 08Af\n"), "");
    CU_ASSERT_STRING_EQUAL(device->type_name, "gpio");
    CU_ASSERT_EQUAL(device->queues, 1);
    CU_ASSERT_EQUAL_FATAL(device->config_bytes, 2);
    CU_ASSERT_EQUAL(device->config[0], 0x08);
    CU_ASSERT_EQUAL(device->config[1], 0xaf);
    config_free(&config);

    config_expect_good("bytes of all digits", DAEMON("41", "  config: \"019aA9FffAAf\"\n"), "");
    CU_ASSERT_EQUAL_FATAL(device->config_bytes, 6);
    CU_ASSERT_EQUAL(memcmp(device->config, "\x01\x9a\xa9\xff\xfa\xaf", 6), 0);
    config_free(&config);

    config_expect_good("number of an unknown type",
                       DAEMON("1234", "  queues: 16\n  config_size: 256\n"), "");
    CU_ASSERT_EQUAL(device->kind, DEVICE_OTHER_VHOST_USER);
    CU_ASSERT_EQUAL(device->virtio_id, 1234);
    CU_ASSERT_STRING_EQUAL(device->type_name, "virtio");
    CU_ASSERT_EQUAL(device->queues, 16);
    CU_ASSERT_EQUAL(device->config_size, 256);
    config_free(&config);

    config_expect_good("block by a daemon", DAEMON("block", ""), "");
    CU_ASSERT_EQUAL(device->kind, DEVICE_OTHER_VHOST_USER);
    CU_ASSERT_EQUAL(device->virtio_id, 2);
    config_free(&config);
}

static void test_rng(void)
{
#define RNG "devices:\n  - {id: 1, type: rng, data_plane: virtio, mmio_addr: 0xa003c00"
    config_expect_good("no limit", RNG "}\n", "");
    CU_ASSERT_EQUAL(config.devices[0].kind, DEVICE_RNG_VIRTIO);
    CU_ASSERT_EQUAL(config.devices[0].rate_limit, 0);
    CU_ASSERT_EQUAL(config.devices[0].connections, 0);
    config_free(&config);
    config_expect_good("limit", RNG ", rate_limit: 0xffffffff}\n", "");
    CU_ASSERT_EQUAL(config.devices[0].rate_limit, UINT32_MAX);
    config_free(&config);
    config_expect(
        "limit of nothing", RNG ", rate_limit: 0}\n", strlen(RNG ", rate_limit: 0}\n"), -EINVAL,
        "f:2:78: rate_limit is \"0\"; expected bytes per second, from 1 to 0xffffffff, for "
        "example 4096, or no such key for no limit\n");
#undef RNG
}

static void test_connections(void)
{
#define SOCKETS                                                                                    \
    "devices:\n  - {id: 1, type: vsock, data_plane: virtio, mmio_addr: 0xa003c00, guest_cid: 3, "  \
    "socket_path: /v/g"
    static const char *const wrong[] = {"0", "1025"};
    char text[256], expected[256];
    config_expect_good("as many as there are", SOCKETS "}\n", "");
    CU_ASSERT_EQUAL(config.devices[0].connections, 64);
    config_free(&config);
    config_expect_good("most", SOCKETS ", connections: 1024}\n", "");
    CU_ASSERT_EQUAL(config.devices[0].connections, 1024);
    config_free(&config);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), SOCKETS ", connections: %s}\n", wrong[i]);
        snprintf(expected, sizeof(expected),
                 "f:2:%zu: connections is \"%s\"; expected how many connections the device has at "
                 "most, from 1 to 1024\n",
                 strlen(SOCKETS ", connections: ") - strlen("devices:\n") + 1, wrong[i]);
        config_expect("connections", text, strlen(text), -EINVAL, expected);
    }
#undef SOCKETS
}

/* Values that YAML can write in several ways. */
static void test_notations(void)
{
    static const struct {
        const char *text;
        uint64_t value;
    } addresses[] = {
        {"0", 0},
        {"16", 16},
        {"0x10", 16},
        {"0o20", 16},
        {"0b10000", 16},
        {"0xA003e00", 0xa003e00},
        {"18446744073709551100", 18446744073709551100u},
        {"0xfffffffffffffe00", 0xfffffffffffffe00},
        {"16 # a comment", 16},
    };
    for (size_t i = 0; i < COUNT(addresses); i++) {
        char yaml[256];
        snprintf(yaml, sizeof(yaml),
                 "devices: [{id: 0, type: 'vsock', mmio_addr: %s\n, data_plane: \"vhost\", "
                 "\"guest_cid\": 4294967294}]",
                 addresses[i].text);
        config_expect_good(addresses[i].text, yaml, "");
        CU_ASSERT_EQUAL(config.devices[0].mmio_addr, addresses[i].value);
        CU_ASSERT_EQUAL(config.devices[0].guest_cid, 0xfffffffe);
        config_free(&config);
    }
    static const char *const paths[][2] = {
        {"\"/a b\"", "/a b"},
        {"'/it''s'", "/it's"},
        {"/plain # comment", "/plain"},
        {"true", "true"},
        {"7", "7"},
        {"\"\\x41\\u00e9\"", "A\xc3\xa9"},
        {"\"null\"", "null"},
        {"gr\xc3\xbc n", "gr\xc3\xbc n"},
    };
    for (size_t i = 0; i < COUNT(paths); i++) {
        char yaml[256];
        snprintf(yaml, sizeof(yaml), BLOCK_WITH_PATH("%s"), paths[i][0]);
        config_expect_good(paths[i][0], yaml, "");
        CU_ASSERT_STRING_EQUAL(config.devices[0].file_path, paths[i][1]);
        config_free(&config);
    }
}

static void test_options(void)
{
    config_expect_good("left out", BLOCK(""), "");
    const struct device_config *device = &config.devices[0];
    CU_ASSERT_EQUAL(device->queues, 0);
    CU_ASSERT_EQUAL(device->queue_size, 0);
    CU_ASSERT_EQUAL(device->features_off, 0);
    CU_ASSERT_EQUAL(device->processors, 0);
    CU_ASSERT_EQUAL(device->sched_priority, 0);
    config_free(&config);

    config_expect_good(
        "lists",
        BLOCK("  queues: 1\n  queue_size: 64\n  cpu_affinity: [0, 5, 63]\n  sched: fifo:99\n"
              "  features_off:\n    - VIRTIO_F_RING_PACKED\n    - 'virtio_blk_f_flush'\n"),
        "");
    CU_ASSERT_EQUAL(device->queues, 1);
    CU_ASSERT_EQUAL(device->queue_size, 64);
    CU_ASSERT_EQUAL(device->processors, 1ull << 0 | 1ull << 5 | 1ull << 63);
    CU_ASSERT_EQUAL(device->sched_priority, 99);
    /* CONFIG_WCE may not be offered without FLUSH, VirtIO 1.2 §5.2.3. */
    CU_ASSERT_EQUAL(device->features_off, 1ull << 34 | 1ull << 9 | 1ull << 11);
    config_free(&config);

    config_expect_good(
        "single values",
        BLOCK("  cpu_affinity: 3\n  sched: \"other\"\n  features_off: VIRTIO_F_EVENT_IDX\n"), "");
    CU_ASSERT_EQUAL(device->processors, 1ull << 3);
    CU_ASSERT_EQUAL(device->sched_priority, 0);
    CU_ASSERT_EQUAL(device->features_off, 1ull << 29);
    config_free(&config);

    config_expect_good("empty lists", BLOCK("  cpu_affinity: []\n  features_off: []\n"), "");
    CU_ASSERT_EQUAL(device->processors, 0);
    CU_ASSERT_EQUAL(device->features_off, 0);
    config_free(&config);
}

/* Document markers, a directive, a byte order mark and line ends that editors leave behind. */
static void test_dress(void)
{
    config_expect_good("markers", "%YAML 1.1\n---\n" PUBLISHED_VSOCK "\n...\n", "");
    config_free(&config);
    config_expect_good("BOM and CRLF",
                       "\xef\xbb\xbf"
                       "devices:\r\n- id: 0\r\n  type: vsock\r\n  data_plane: vhost\r\n"
                       "  mmio_addr: 0\r\n  guest_cid: 3\r\n",
                       "");
    CU_ASSERT_EQUAL(config.devices[0].marks[CONFIG_KEY_GUEST_CID].line, 6);
    CU_ASSERT_EQUAL(config.devices[0].marks[CONFIG_KEY_GUEST_CID].column, 14);
    config_free(&config);
}

static void test_many_devices(void)
{
    char *yaml = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&yaml, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    fprintf(stream, "devices:\n");
    for (int i = 15; i >= 0; i--)
        fprintf(stream,
                "- {id: %d, type: vsock, data_plane: vhost, mmio_addr: 0x1000, guest_cid: %d}\n", i,
                i + 3);
    fflush(stream);
    config_expect_good("sixteen", yaml, "");
    CU_ASSERT_EQUAL(config.device_count, 16);
    CU_ASSERT_EQUAL(config.devices[0].id, 15);
    CU_ASSERT_EQUAL(config.devices[15].id, 0);
    config_free(&config);

    fprintf(stream, "- {id: 0}\n- [5]\n");
    fclose(stream);
    config_expect("seventeen", yaml, size, -EINVAL,
                  "f:18:3: a device too many; expected 16 at most\n");
    free(yaml);
}

/* Two frontends may each have a device at the same address. */
static void test_two_frontends(void)
{
    config_expect_good("same registers", TWO_VSOCK("0xa003e00", "0xa003e00", "", ""), "");
    config_free(&config);
    config_expect_good("adjacent registers", TWO_VSOCK("0xa003c00", "0xa003e00", "", ""), "");
    config_free(&config);
    config_expect_good("same registers, different windows",
                       TWO_VSOCK("0", "0", ", shmem_addr: 0x80000000", ", shmem_addr: 0x81000000"),
                       "");
    config_free(&config);
    config_expect_good(
        "different registers, same window",
        TWO_VSOCK("0", "0x200", ", shmem_addr: 0x80000000", ", shmem_addr: 0x80000000"), "");
    config_free(&config);
}

static void test_published_errors(void)
{
    config_expect_cases(published_cases, COUNT(published_cases));
}

static void test_structure_errors(void)
{
    config_expect_cases(structure_cases, COUNT(structure_cases));
}

static void test_key_errors(void)
{
    config_expect_cases(key_cases, COUNT(key_cases));
}

static void test_option_errors(void)
{
    config_expect_cases(option_errors, COUNT(option_errors));
}

static void test_value_errors(void)
{
    config_expect_cases(value_cases, COUNT(value_cases));
}

static void test_errors_between_devices(void)
{
    config_expect_cases(between_cases, COUNT(between_cases));
}

static void test_yaml_errors(void)
{
    config_expect_cases(yaml_cases, COUNT(yaml_cases));
    static const char with_zero[] = "devices:\n- id: 0\n\0";
    config_expect(
        "zero byte", with_zero, sizeof(with_zero) - 1, -EINVAL,
        "f:3:1: not text: control characters are not allowed; expected UTF-8 without control "
        "characters\n");
}

static void test_all_at_once(void)
{
    config_expect_cases(&many_errors, 1);
    CU_ASSERT_EQUAL(diags.errors, 12);
    CU_ASSERT_EQUAL(diags.count, 13);
}

static void test_too_many_errors(void)
{
    char *yaml = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&yaml, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    fprintf(stream, "devices:\n- id: 0\n");
    for (int i = 0; i < 500; i++)
        fprintf(stream, "  zebra: 1\n");
    fprintf(stream, "  id: 1\n");
    fclose(stream);
    CU_ASSERT_EQUAL(config_parse("f", yaml, size, &config, &diags), -EINVAL);
    free(yaml);
    CU_ASSERT_EQUAL(diags.count, CONFIG_DIAGNOSTICS_MAX);
    CU_ASSERT_EQUAL(diags.errors, 504); /* also the second id, and three missing keys */
    CU_ASSERT_EQUAL(diags.omitted, 504 - CONFIG_DIAGNOSTICS_MAX);
    /* The first ones in the file are kept, though they are found last. */
    CU_ASSERT_EQUAL(diags.items[0].mark.line, 2);
    CU_ASSERT_EQUAL(diags.items[2].mark.line, 2);
    CU_ASSERT_EQUAL(diags.items[3].mark.line, 3);
    char *text = config_printed();
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nf: 440 more messages are left out\n"));
    free(text);
}

static void test_where(void)
{
    config_expect_good(
        "older vsock", PUBLISHED_OLDER_VSOCK,
        "f:6:5: note: shmem_path is no longer needed and has no effect; the line can go\n");
    static const char *const expected[CONFIG_KEYS] = {
        [CONFIG_KEY_ID] = "f:2:9:",          [CONFIG_KEY_TYPE] = "f:3:11:",
        [CONFIG_KEY_MMIO_ADDR] = "f:7:16:",  [CONFIG_KEY_DATA_PLANE] = "f:9:17:",
        [CONFIG_KEY_GUEST_CID] = "f:10:16:", [CONFIG_KEY_SHMEM_ADDR] = "f:4:17:",
        [CONFIG_KEY_SHMEM_SIZE] = "f:5:17:", [CONFIG_KEY_SHMEM_PATH] = "f:6:17:",
        [CONFIG_KEY_IRQ] = "f:8:10:",
    };
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        char buffer[CONFIG_WHERE_SIZE];
        const char *where = config_where(&config, &config.devices[0], key, buffer);
        CU_ASSERT_STRING_EQUAL(where, expected[key] ? expected[key] : "f:2:5:");
        CU_ASSERT_EQUAL(config_has(&config.devices[0], key), expected[key] != NULL);
    }
    config_free(&config);
}

/* All keys may be in the first line. */
static void test_one_line(void)
{
    char buffer[CONFIG_WHERE_SIZE];
    config_expect_good("one line",
                       "devices: [{id: 0, type: vsock, data_plane: vhost, mmio_addr: 0x1000, "
                       "guest_cid: 3}]",
                       "");
    const struct device_config *device = &config.devices[0];
    CU_ASSERT_TRUE(config_has(device, CONFIG_KEY_ID));
    CU_ASSERT_STRING_EQUAL(config_where(&config, device, CONFIG_KEY_ID, buffer), "f:1:16:");
    CU_ASSERT_FALSE(config_has(device, CONFIG_KEY_IRQ));
    config_free(&config);
}

static uint64_t digest(const char *yaml)
{
    config_expect_good("digest", yaml, "");
    uint64_t value = config.devices[0].digest;
    config_free(&config);
    return value;
}

/* It tells one device from another by their texts, numbers and keys, and not by where they are. */
static void test_digest(void)
{
#define DISK "devices:\n- {id: 0, type: block, data_plane: virtio, mmio_addr: 0x1000, file_path: /"
    static const char *const others[] = {
        DISK "b}\n",
        DISK "aa}\n",
        DISK "a, queues: 2}\n",
        DISK "a, queues: 3}\n",
        DISK "a, read_only: true}\n",
        DISK "a, irq: 0}\n",
        "devices:\n- {id: 1, type: block, data_plane: virtio, mmio_addr: 0x1000, file_path: /a}\n",
    };
    uint64_t first = digest(DISK "a}\n");
    CU_ASSERT_EQUAL(digest("# moved\n\n" DISK "a}\n"), first);
    for (size_t i = 0; i < COUNT(others); i++) {
        uint64_t other = digest(others[i]);
        CU_ASSERT_NOT_EQUAL(other, first);
        for (size_t j = 0; j < i; j++)
            CU_ASSERT_NOT_EQUAL(other, digest(others[j]));
    }
#undef DISK
}

int main(int argc, char **argv)
{
    CU_TestInfo good[] = {
        {"vsock as published", test_vsock},
        {"vsock of the older generation", test_older_vsock},
        {"fs and vsock by a daemon", test_daemons},
        {"other types by a daemon", test_other_types},
        {"block", test_block},
        {"cache of a block device", test_cache},
        {"net", test_net},
        {"console", test_console},
        {"rng", test_rng},
        {"connections of sockets", test_connections},
        {"notations of values", test_notations},
        {"options of all kinds", test_options},
        {"document markers, BOM, CRLF", test_dress},
        {"sixteen devices, not seventeen", test_many_devices},
        {"two frontends", test_two_frontends},
        {"positions", test_where},
        {"one line", test_one_line},
        {"digests", test_digest},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo bad[] = {
        {"published files that can't run", test_published_errors},
        {"structure", test_structure_errors},
        {"keys", test_key_errors},
        {"values", test_value_errors},
        {"options of all kinds", test_option_errors},
        {"between devices", test_errors_between_devices},
        {"YAML", test_yaml_errors},
        {"all at once", test_all_at_once},
        {"more errors than room", test_too_many_errors},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"right files", NULL, NULL, NULL, NULL, good},
        {"wrong files", NULL, NULL, NULL, NULL, bad},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
