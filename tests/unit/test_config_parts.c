/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the configuration reader by themselves: names of features, types of devices, positions,
 * values, and the comparison with the windows that the dispatcher knows. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/internal.h"
#include "tests/cunit_main.h"
#include "tests/unit/config_expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Features ---- */

/* As Linux has them. Older headers lack the newest ones. */
static const struct {
    const char *name;
    unsigned int bit;
} bits[] = {
#define BIT(name)                                                                                  \
    {                                                                                              \
#name, name                                                                                \
    }
    {"VIRTIO_F_INDIRECT_DESC", VIRTIO_RING_F_INDIRECT_DESC},
    {"VIRTIO_F_EVENT_IDX", VIRTIO_RING_F_EVENT_IDX},
    BIT(VIRTIO_F_RING_PACKED),
    {"VIRTIO_F_IN_ORDER", 35},
    BIT(VIRTIO_F_RING_RESET),
    BIT(VIRTIO_BLK_F_SIZE_MAX),
    BIT(VIRTIO_BLK_F_SEG_MAX),
    BIT(VIRTIO_BLK_F_BLK_SIZE),
    BIT(VIRTIO_BLK_F_FLUSH),
    BIT(VIRTIO_BLK_F_TOPOLOGY),
    BIT(VIRTIO_BLK_F_CONFIG_WCE),
    BIT(VIRTIO_BLK_F_MQ),
    BIT(VIRTIO_BLK_F_DISCARD),
    BIT(VIRTIO_BLK_F_WRITE_ZEROES),
    BIT(VIRTIO_NET_F_CSUM),
    BIT(VIRTIO_NET_F_GUEST_CSUM),
    BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS),
    BIT(VIRTIO_NET_F_MTU),
    BIT(VIRTIO_NET_F_MAC),
    BIT(VIRTIO_NET_F_GUEST_TSO4),
    BIT(VIRTIO_NET_F_GUEST_TSO6),
    BIT(VIRTIO_NET_F_GUEST_ECN),
    BIT(VIRTIO_NET_F_GUEST_UFO),
    BIT(VIRTIO_NET_F_HOST_TSO4),
    BIT(VIRTIO_NET_F_HOST_TSO6),
    BIT(VIRTIO_NET_F_HOST_ECN),
    BIT(VIRTIO_NET_F_HOST_UFO),
    BIT(VIRTIO_NET_F_MRG_RXBUF),
    BIT(VIRTIO_NET_F_STATUS),
    BIT(VIRTIO_NET_F_CTRL_VQ),
    BIT(VIRTIO_NET_F_CTRL_RX),
    BIT(VIRTIO_NET_F_CTRL_VLAN),
    BIT(VIRTIO_NET_F_CTRL_RX_EXTRA),
    BIT(VIRTIO_NET_F_GUEST_ANNOUNCE),
    BIT(VIRTIO_NET_F_MQ),
    BIT(VIRTIO_NET_F_CTRL_MAC_ADDR),
    {"VIRTIO_NET_F_VQ_NOTF_COAL", 52},
    {"VIRTIO_NET_F_NOTF_COAL", 53},
    {"VIRTIO_NET_F_GUEST_USO4", 54},
    {"VIRTIO_NET_F_GUEST_USO6", 55},
    {"VIRTIO_NET_F_HOST_USO", 56},
    BIT(VIRTIO_CONSOLE_F_SIZE),
    BIT(VIRTIO_CONSOLE_F_MULTIPORT),
    BIT(VIRTIO_CONSOLE_F_EMERG_WRITE),
    {"VIRTIO_VSOCK_F_SEQPACKET", 1},
#undef BIT
};

static void each_feature_has_its_bit(void)
{
    const char *name, *type;
    size_t count = 0;
    for (; (name = features_name(count, &type)); count++) {
        uint64_t rows = 0;
        CU_ASSERT_TRUE(features_read(name, &rows));
        size_t i = 0;
        while (i < COUNT(bits) && strcmp(bits[i].name, name) != 0)
            i++;
        CU_ASSERT_FATAL(i < COUNT(bits));
        CU_ASSERT_NOT_EQUAL(features_off(rows) & 1ull << bits[i].bit, 0);
    }
    CU_ASSERT_EQUAL(count, COUNT(bits));
    const char *before = type;
    CU_ASSERT_PTR_NULL(features_name(count, &type));
    CU_ASSERT_PTR_NULL(features_name(count + 1, &type));
    CU_ASSERT_PTR_EQUAL(type, before);
}

/* VirtIO 1.2 §5.1.3.1 and §5.2.3. */
static void what_needs_a_feature_is_off_without_it(void)
{
    static const struct {
        const char *off;
        uint64_t bits;
    } cases[] = {
        {"VIRTIO_NET_F_CSUM", 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 |
                                  1ull << VIRTIO_NET_F_HOST_TSO6 | 1ull << VIRTIO_NET_F_HOST_ECN |
                                  1ull << VIRTIO_NET_F_HOST_UFO | 1ull << 56},
        {"VIRTIO_NET_F_GUEST_CSUM",
         1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 |
             1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN |
             1ull << VIRTIO_NET_F_GUEST_UFO | 1ull << 54 | 1ull << 55},
        {"VIRTIO_NET_F_CTRL_RX", 1ull << VIRTIO_NET_F_CTRL_RX | 1ull << VIRTIO_NET_F_CTRL_RX_EXTRA},
        {"VIRTIO_NET_F_CTRL_VQ",
         1ull << VIRTIO_NET_F_CTRL_VQ | 1ull << VIRTIO_NET_F_CTRL_RX |
             1ull << VIRTIO_NET_F_CTRL_RX_EXTRA | 1ull << VIRTIO_NET_F_CTRL_VLAN |
             1ull << VIRTIO_NET_F_GUEST_ANNOUNCE | 1ull << VIRTIO_NET_F_MQ |
             1ull << VIRTIO_NET_F_CTRL_MAC_ADDR | 1ull << VIRTIO_NET_F_CTRL_GUEST_OFFLOADS |
             1ull << 52 | 1ull << 53},
        {"VIRTIO_BLK_F_FLUSH", 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_CONFIG_WCE},
        {"VIRTIO_BLK_F_CONFIG_WCE", 1ull << VIRTIO_BLK_F_CONFIG_WCE},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t rows = 0;
        CU_ASSERT_TRUE(features_read(cases[i].off, &rows));
        CU_ASSERT_EQUAL(features_off(rows), cases[i].bits);
    }
    CU_ASSERT_EQUAL(features_off(0), 0);
}

/* A feature is foreign to every type of device but its own. */
static void features_of_types(void)
{
    static const char *const types[] = {"block", "net", "console", "vsock", "gpio"};
    const char *name, *own;
    for (size_t i = 0; (name = features_name(i, &own)); i++) {
        uint64_t rows = 0;
        CU_ASSERT_TRUE(features_read(name, &rows));
        for (size_t j = 0; j < COUNT(types); j++) {
            const char *foreign = features_foreign(rows, types[j]);
            bool is_own = !own || strcmp(own, types[j]) == 0;
            CU_ASSERT_PTR_EQUAL(foreign, is_own ? NULL : name);
        }
        const char *kind = strncmp(name, "VIRTIO_BLK_", 11) == 0       ? "block"
                           : strncmp(name, "VIRTIO_NET_", 11) == 0     ? "net"
                           : strncmp(name, "VIRTIO_CONSOLE_", 15) == 0 ? "console"
                           : strncmp(name, "VIRTIO_VSOCK_", 13) == 0   ? "vsock"
                                                                       : NULL;
        CU_ASSERT_TRUE(kind ? own && strcmp(own, kind) == 0 : !own);
    }
}

/* ---- Types ---- */

static void types_by_number(void)
{
    static const struct {
        const char *text, *name;
        uint32_t id;
    } right[] = {
        {"1", "net", 1},      {"4", "rng", 4},          {"9", "9p", 9},
        {"10", "virtio", 10}, {"20", "crypto", 20},     {"19", "vsock", 19},
        {"41", "gpio", 41},   {"9999", "virtio", 9999}, {"vsock", "vsock", 19},
    };
    static const char *const wrong[] = {
        "",      "0",  "00", "04",  "-1", "+4", " 4",
        "10000", "4 ", "4x", "0x4", "x4", ":",  "18446744073709551617",
        "10000x"};
    uint32_t id;
    for (size_t i = 0; i < COUNT(right); i++) {
        const struct virtio_type *type = type_find(right[i].text, &id);
        CU_ASSERT_PTR_NOT_NULL_FATAL(type);
        CU_ASSERT_STRING_EQUAL(type->name, right[i].name);
        CU_ASSERT_EQUAL(id, right[i].id);
    }
    for (size_t i = 0; i < COUNT(wrong); i++)
        CU_ASSERT_PTR_NULL(type_find(wrong[i], &id));
}

/* ---- Where a byte is that is no text ---- */

/* `file` has a byte more before its text and after it. */
static void expect_bad_byte(const char *file, size_t size, const char *where)
{
    char expected[128];
    snprintf(expected, sizeof(expected),
             "f:%s: not text: invalid leading UTF-8 octet; expected UTF-8 without control "
             "characters\n",
             where);
    config_expect(where, file + 1, size - 2, -EINVAL, expected);
}

static void lines_end_in_three_ways(void)
{
#define BAD(text, where) expect_bad_byte(text, sizeof(text) - 1, where)
    BAD("|\xff|", "1:1");
    BAD("|# \xff|", "1:3");
    BAD("|# \xc3\xa9\xff|", "1:4"); /* a character of two bytes */
    BAD("|\n\xff|", "2:1");
    BAD("|\r\xff|", "2:1");
    BAD("|\r\n\xff|", "2:1");
    BAD("|\n\r\xff|", "3:1");
    BAD("|#\r\n\r\n# \xff|", "3:3");
    BAD("|\r\r\n\n# \xff|", "4:3");
    BAD("\r\n\xff\n", "2:1"); /* what is before the text does not count */
#undef BAD
}

/* ---- Keys and devices ---- */

static void keys_of_a_kind_with_those_of_all(void)
{
    const struct kind_keys keys = config_kind_keys(DEVICE_RNG_VIRTIO);
    CU_ASSERT_EQUAL(keys.queues_max, 1);
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        bool required = key == CONFIG_KEY_ID || key == CONFIG_KEY_TYPE ||
                        key == CONFIG_KEY_MMIO_ADDR || key == CONFIG_KEY_DATA_PLANE;
        bool optional = (key >= CONFIG_KEY_QUEUES && key < CONFIG_KEYS) ||
                        key == CONFIG_KEY_RATE_LIMIT || key == CONFIG_KEY_POLL_US;
        CU_ASSERT_EQUAL((keys.required & 1ull << key) != 0, required);
        CU_ASSERT_EQUAL((keys.optional & 1ull << key) != 0, optional);
    }
    CU_ASSERT_FALSE(config_kind_has(DEVICE_KINDS, CONFIG_KEY_RATE_LIMIT));
}

static void a_device_is_found_by_its_id(void)
{
    config_expect_good("",
                       "devices:\n- {id: 1, type: rng, data_plane: virtio, mmio_addr: 0x1000}\n"
                       "- {id: 5, type: rng, data_plane: virtio, mmio_addr: 0x2000}\n",
                       "");
    CU_ASSERT_PTR_EQUAL(config_device(&config, 1), &config.devices[0]);
    CU_ASSERT_PTR_EQUAL(config_device(&config, 5), &config.devices[1]);
    CU_ASSERT_PTR_NULL(config_device(&config, 0));
    CU_ASSERT_PTR_NULL(config_device(&config, 2));
    config_free(&config);
}

static void an_address_is_six_bytes(void)
{
    uint8_t mac[7] = {[6] = 0xa5};
    CU_ASSERT_TRUE(config_mac("52:54:00:12:34:ff:77", mac));
    CU_ASSERT_EQUAL(memcmp(mac, "\x52\x54\x00\x12\x34\xff\xa5", 7), 0);
    config_default_mac(11, mac);
    CU_ASSERT_EQUAL(memcmp(mac,
                           "\x02"
                           "bao\x00\x0b\xa5",
                           7),
                    0);
}

static void engines(void)
{
#define DISK "devices:\n- {id: 1, type: block, data_plane: virtio, mmio_addr: 0x1000, file_path: /a"
    static const struct {
        const char *keys;
        enum device_kind kind;
        bool direct;
    } cases[] = {
        {"}\n", DEVICE_BLOCK_VIRTIO, false},
        {", io_engine: sync}\n", DEVICE_BLOCK_VIRTIO, false},
        {", io_engine: io_uring}\n", DEVICE_BLOCK_URING, false},
        {", io_engine: sync, direct: true}\n", DEVICE_BLOCK_VIRTIO, true},
        {", io_engine: \"io_uring\", direct: true}\n", DEVICE_BLOCK_URING, true},
        {", direct: false}\n", DEVICE_BLOCK_VIRTIO, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char yaml[256];
        snprintf(yaml, sizeof(yaml), DISK "%s", cases[i].keys);
        config_expect_good(cases[i].keys, yaml, "");
        CU_ASSERT_EQUAL(config.devices[0].kind, cases[i].kind);
        CU_ASSERT_EQUAL(config.devices[0].direct, cases[i].direct);
        config_free(&config);
    }
    static const char other[] = DISK ", io_engine: aio}\n";
    config_expect("other", other, strlen(other), -EINVAL,
                  "f:2:89: io_engine is \"aio\"; expected sync or io_uring\n");
#undef DISK
}

static void words_of_caches(void)
{
    CU_ASSERT_STRING_EQUAL(config_cache_word(CONFIG_CACHE_WRITEBACK), "writeback");
    CU_ASSERT_STRING_EQUAL(config_cache_word(CONFIG_CACHE_WRITETHROUGH), "writethrough");
    CU_ASSERT_STRING_EQUAL(config_cache_word(CONFIG_CACHE_UNSAFE), "unsafe");
    CU_ASSERT_STRING_EQUAL(config_cache_word((enum config_cache)0), "");
}

static int read_value(enum config_key key, const char *text, struct raw_value *value)
{
    const struct raw_scalar scalar = {text, strlen(text), true};
    *value = (struct raw_value){.mark = {1, 1}};
    diags = (struct config_diagnostics){0};
    CU_ASSERT_EQUAL(key_read_value(key, &scalar, value, &diags), 0);
    CU_ASSERT_EQUAL(diags.errors, value->valid ? 0 : 1);
    return value->valid;
}

static void priorities(void)
{
    static const char *const wrong[] = {"fifo:0",
                                        "fifo:100",
                                        "fifo:",
                                        "fifo:x",
                                        "fifo:-1",
                                        "fifo: 1",
                                        "fifo",
                                        "fifo:1x",
                                        "rr:1",
                                        "1",
                                        "Other",
                                        "others",
                                        "fifo:18446744073709551617"};
    static const struct {
        const char *text;
        uint64_t priority;
    } right[] = {{"other", 0},     {"fifo:1", 1},     {"fifo:99", 99},
                 {"fifo:010", 10}, {"fifo:0x10", 16}, {"fifo:0o10", 8}};
    struct raw_value value;
    for (size_t i = 0; i < COUNT(wrong); i++)
        CU_ASSERT_FALSE(read_value(CONFIG_KEY_SCHED, wrong[i], &value));
    for (size_t i = 0; i < COUNT(right); i++) {
        CU_ASSERT_TRUE(read_value(CONFIG_KEY_SCHED, right[i].text, &value));
        CU_ASSERT_EQUAL(value.number, right[i].priority);
    }
}

static void the_longest_texts(void)
{
    static const struct {
        enum config_key key;
        size_t most;
    } texts[] = {{CONFIG_KEY_TAP_NAME, 15}, {CONFIG_KEY_TAG, 36}, {CONFIG_KEY_FILE_PATH, 4095}};
    struct raw_value value;
    char text[PATH_MAX + 1];
    for (size_t i = 0; i < COUNT(texts); i++) {
        memset(text, 'a', sizeof(text));
        text[texts[i].most] = '\0';
        CU_ASSERT_TRUE(read_value(texts[i].key, text, &value));
        CU_ASSERT_STRING_EQUAL(value.text, text);
        free(value.text);
        text[texts[i].most] = 'a';
        text[texts[i].most + 1] = '\0';
        CU_ASSERT_FALSE(read_value(texts[i].key, text, &value));
    }
}

/* ---- Windows ---- */

static void expect_windows(const char *name, struct config_window first,
                           struct config_window second, const char *expected)
{
    const struct config_window windows[] = {first, second};
    CU_ASSERT_EQUAL(config_check_windows(&config, windows, &diags), *expected ? -EINVAL : 0);
    config_expect_text(name, expected);
}

/* Size 0 says that nothing is known of a window, so it is not that of another one. */
static void test_windows_that_are_not_known(void)
{
    const struct config_window none = {0, 0}, at_zero = {0, 0x1000}, a_byte = {0, 1};
    config_expect_good("", TWO_VSOCK("0xa003e00", "0xa003e00", ", shmem_addr: 0x80000000", ""), "");
    expect_windows("neither", none, none, "");
    expect_windows("the first", none, at_zero, "");
    expect_windows("both, of one byte", a_byte, a_byte,
                   "f:2:91: shmem_addr 0x80000000 contradicts the dispatcher; expected 0x0, or no "
                   "such key\n"
                   "f:3:54: registers at 0xa003e00 a second time; expected another address than "
                   "that of the device in line 2, which shares memory with the same frontend\n");
    config_free(&config);
}

static void test_windows(void)
{
    const struct config_window low = {0x80000000, 0x1000000}, high = {0x81000000, 0x1000000};
    config_expect_good("", TWO_VSOCK("0xa003e00", "0xa003e00", ", shmem_addr: 0x80000000", ""), "");
    expect_windows("two frontends", low, high, "");
    expect_windows("same frontend", low, low,
                   "f:3:54: registers at 0xa003e00 a second time; expected another address than "
                   "that of the device in line 2, which shares memory with the same frontend\n");
    expect_windows("contradiction", high, low,
                   "f:2:91: shmem_addr 0x80000000 contradicts the dispatcher; expected 0x81000000, "
                   "or no such key\n");
    config_free(&config);

    config_expect_good("", TWO_VSOCK("0x10", "0x8100fffc", "", ", shmem_size: 0x10000"), "");
    expect_windows("sizes", low, (struct config_window){0x81000000, 0x10000},
                   "f:3:54: registers at 0x8100fffc overlap the shared memory of 0x10000 bytes at "
                   "0x81000000; expected an address outside of it\n");
    expect_windows("size differs", low, (struct config_window){0x82000000, 0x20000},
                   "f:3:92: shmem_size 0x10000 contradicts the dispatcher; expected 0x20000, or no "
                   "such key\n");
    expect_windows("ends in it", low, (struct config_window){0x810101fb, 0x10000},
                   "f:3:54: registers at 0x8100fffc overlap the shared memory of 0x10000 bytes at "
                   "0x810101fb; expected an address outside of it\n");
    expect_windows("not known", low, (struct config_window){0, 0}, "");
    expect_windows("ends before it", low, (struct config_window){0x810101fc, 0x10000}, "");
    expect_windows("begins behind it", low, (struct config_window){0x80fffffc, 0x10000}, "");
    config_free(&config);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"each feature has its bit", each_feature_has_its_bit},
        {"what needs a feature is off without it", what_needs_a_feature_is_off_without_it},
        {"features of types", features_of_types},
        {"types by number", types_by_number},
        {"lines end in three ways", lines_end_in_three_ways},
        {"keys of a kind with those of all", keys_of_a_kind_with_those_of_all},
        {"a device is found by its id", a_device_is_found_by_its_id},
        {"an address is six bytes", an_address_is_six_bytes},
        {"engines", engines},
        {"words of caches", words_of_caches},
        {"priorities", priorities},
        {"the longest texts", the_longest_texts},
        {"windows against the dispatcher", test_windows},
        {"windows that are not known", test_windows_that_are_not_known},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "parts of the configuration reader", tests);
}
