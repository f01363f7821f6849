/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that can be found without root or a board: addresses and names that no kernel takes; names
 * of files that two devices have; names that one device's frontend could turn into another's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/names.h"
#include "tests/cunit_main.h"
#include "tests/unit/config_expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NET_WITH(keys)                                                                             \
    "devices:\n- {id: 1, type: net, data_plane: virtio, mmio_addr: 0x1000, " keys "}\n"
#define MAC(mac) NET_WITH("tap_name: t, mac_addr: \"" mac "\"")
#define BAD_MAC_WORDS(mac)                                                                         \
    "f:2:84: mac_addr " mac " is no address of one device; expected a first byte that is even, "   \
    "and not only zeros, for example 52:54:00:12:34:56\n"
#define TAP(name) NET_WITH("tap_name: \"" name "\"")
#define BAD_TAP_WORDS(name)                                                                        \
    "f:2:71: tap_name \"" name "\" can't be the name of a tap; expected one without blanks, "      \
    "\"/\", \":\" and \"%\", and not \".\", \"..\", lo, all or default\n"

static const struct config_case interface_cases[] = {
    {"a group's address", MAC("01:00:5e:00:00:01"), BAD_MAC_WORDS("01:00:5e:00:00:01")},
    {"everybody's address", MAC("ff:ff:ff:ff:ff:ff"), BAD_MAC_WORDS("ff:ff:ff:ff:ff:ff")},
    {"nobody's address", MAC("00:00:00:00:00:00"), BAD_MAC_WORDS("00:00:00:00:00:00")},
    {"tap with a slash", TAP("a/b"), BAD_TAP_WORDS("a/b")},
    {"tap with a colon", TAP("a:1"), BAD_TAP_WORDS("a:1")},
    {"tap with a blank", TAP("tap 0"), BAD_TAP_WORDS("tap 0")},
    {"tap with a number to be chosen", TAP("tap%d"), BAD_TAP_WORDS("tap%d")},
    {"tap .", TAP("."), BAD_TAP_WORDS(".")},
    {"tap ..", TAP(".."), BAD_TAP_WORDS("..")},
    {"tap lo", TAP("lo"), BAD_TAP_WORDS("lo")},
    {"tap default", TAP("default"), BAD_TAP_WORDS("default")},
    {"tap with a byte that is a blank to the kernel", TAP("\xc3\xa0"), BAD_TAP_WORDS("\xc3\xa0")},
    {"tap twice",
     TAP("tap0") "- {id: 2, type: net, data_plane: vhost, mmio_addr: 0x2000, tap_name: tap0}\n",
     "f:3:70: tap_name \"tap0\" a second time; expected another than that of the device in line "
     "2\n"},
};

/* Many bytes. */
#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define TWO_FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY

#define DEVICE(id, type, plane, keys)                                                              \
    "- {id: " id ", type: " type ", data_plane: " plane ", mmio_addr: 0x1000, " keys "}\n"
#define ONE(type, plane, keys) "devices:\n" DEVICE("1", type, plane, keys)

static const struct config_case path_cases[] = {
    {"image a directory", ONE("block", "virtio", "file_path: /a/"),
     "f:2:74: file_path \"/a/\" is the name of a directory; expected a path, for example "
     "/var/lib/images/disk.img\n"},
    {"log a directory", ONE("console", "virtio", "log_path: /a/.."),
     "f:2:75: log_path \"/a/..\" is the name of a directory; expected a path, for example "
     "/var/log/frontend-console.log\n"},
    {"alias a directory", ONE("console", "virtio", "pty_alias: ."),
     "f:2:76: pty_alias \".\" is the name of a directory; expected a path, for example "
     "/run/frontend-console\n"},
    {"part too long", ONE("block", "virtio", "file_path: /" TWO_FIFTY "012345/a"),
     "f:2:74: file_path has 256 bytes between two \"/\"; expected at most 255: the kernel takes no "
     "longer names\n"},
    {"alias too long with its number",
     ONE("console", "virtio", "ports: 2, pty_alias: /" TWO_FIFTY "0123"),
     "f:2:86: pty_alias has 254 bytes between two \"/\"; expected at most 253: the kernel takes no "
     "longer names\n"},
    {"log too long with its number", ONE("console", "virtio", "log_path: /" TWO_FIFTY "0123"),
     "f:2:75: log_path has 254 bytes between two \"/\"; expected at most 253: the kernel takes no "
     "longer names\n"},
    {"console's socket too long", ONE("console", "virtio", "socket_path: /" FIFTY FIFTY "0123456"),
     "f:2:78: socket_path is 108 bytes long; expected at most 107: the kernel takes no longer "
     "names\n"},
    {"vsock's socket too long",
     ONE("vsock", "virtio", "guest_cid: 3, socket_path: /" FIFTY TEN TEN TEN "012345"),
     "f:2:90: socket_path is 87 bytes long; expected at most 86: the kernel takes no longer "
     "names\n"},
    {"vsock's socket a directory", ONE("vsock", "virtio", "guest_cid: 3, socket_path: /run/"),
     "f:2:90: socket_path \"/run/\" is the name of a directory; expected a path, for example "
     "/run/vhost/\n"},
    {"daemon's directory too long",
     ONE("fs", "vhost_user", "socket_path: /run/" TWO_FIFTY "012345/Fs1.sock"),
     "f:2:77: socket_path has 256 bytes between two \"/\"; expected at most 255: the kernel takes "
     "no "
     "longer names\n"},
    {"daemon's socket too long",
     ONE("fs", "vhost_user", "socket_path: /run/" FIFTY TEN TEN TEN TEN "01234567"),
     "f:2:77: socket_path ends in a name of 98 bytes; expected at most 97: the kernel takes no "
     "longer names of sockets\n"},
};

static const char *const right_paths[] = {
    ONE("block", "virtio", "file_path: /" TWO_FIFTY "01234/a"),
    ONE("console", "virtio", "ports: 2, pty_alias: /" TWO_FIFTY "012"),
    ONE("console", "virtio", "pty_alias: /" TWO_FIFTY "01234"),
    ONE("console", "virtio", "ports: 1, pty_alias: /" TWO_FIFTY "01234"),
    ONE("console", "virtio", "log_path: /" TWO_FIFTY "012"),
    ONE("console", "virtio", "socket_path: /" FIFTY FIFTY "012345"),
    ONE("vsock", "virtio", "guest_cid: 3, socket_path: /" FIFTY TEN TEN TEN "01234"),
    ONE("fs", "vhost_user", "socket_path: /" TWO_FIFTY "/" TWO_FIFTY "01234/"),
    ONE("fs", "vhost_user", "socket_path: /run/" FIFTY TEN TEN TEN TEN "0123456"),
};

/* A socket device at /v/guest, and another device. */
#define BESIDE(type, plane, keys)                                                                  \
    "devices:\n- {id: 0, type: vsock, data_plane: virtio, mmio_addr: 0x2000, guest_cid: 3, "       \
    "socket_path: /v/guest}\n" DEVICE("1", type, plane, keys)

#define MEET(column, key, path, name)                                                              \
    "f:3:" column ": " key " \"" path "\" and socket_path \"/v/guest\" of the device in line 2 "   \
    "both stand for the name \"" name "\"; expected another path for one of them\n"

static const struct config_case name_cases[] = {
    {"a frontend's port is another's socket",
     BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/guest_1"),
     MEET("90", "socket_path", "/v/guest_1", "guest_1")},
    {"the highest port",
     BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/guest_4294967295"),
     MEET("90", "socket_path", "/v/guest_4294967295", "guest_4294967295")},
    {"seqpacket is another's socket",
     BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/guest_seqpacket"),
     MEET("90", "socket_path", "/v/guest_seqpacket", "guest_seqpacket")},
    {"a port is a console's socket", BESIDE("console", "virtio", "socket_path: /v/guest_52"),
     MEET("78", "socket_path", "/v/guest_52", "guest_52")},
    {"by another way", BESIDE("console", "virtio", "socket_path: //x/../v/./guest_0"),
     MEET("78", "socket_path", "//x/../v/./guest_0", "guest_0")},
    {"seqpacket is a log", BESIDE("console", "virtio", "log_path: /v/guest_seqpacket"),
     MEET("75", "log_path", "/v/guest_seqpacket", "guest_seqpacket")},
    {"a port is a terminal", BESIDE("console", "virtio", "pty_alias: /v/guest_3"),
     MEET("76", "pty_alias", "/v/guest_3", "guest_3")},
    {"a port is an image", BESIDE("block", "virtio", "file_path: /v/guest_3"),
     MEET("74", "file_path", "/v/guest_3", "guest_3")},
    {"a socket that is another's terminal",
     "devices:\n- {id: 0, type: console, data_plane: virtio, mmio_addr: 0x2000, ports: 3, "
     "pty_alias: /v/c}\n" DEVICE("1", "console", "virtio", "socket_path: /v/c.2"),
     "f:3:78: socket_path \"/v/c.2\" and pty_alias \"/v/c\" of the device in line 2 both stand for "
     "the name \"c.2\"; expected another path for one of them\n"},
    {"a terminal that is another's terminal",
     "devices:\n- {id: 0, type: console, data_plane: virtio, mmio_addr: 0x2000, pty_alias: "
     "/v/c.6}\n" DEVICE("1", "console", "virtio", "ports: 7, pty_alias: /v/c"),
     "f:3:86: pty_alias \"/v/c\" and pty_alias \"/v/c.6\" of the device in line 2 both stand for "
     "the name \"c.6\"; expected another path for one of them\n"},
    {"a full log that is another's log",
     "devices:\n- {id: 0, type: console, data_plane: virtio, mmio_addr: 0x2000, log_path: "
     "l}\n" DEVICE("1", "console", "virtio", "log_path: ./l.1"),
     "f:3:75: log_path \"./l.1\" and log_path \"l\" of the device in line 2 both stand for the "
     "name "
     "\"l.1\"; expected another path for one of them\n"},
    {"one image twice",
     "devices:\n- {id: 0, type: block, data_plane: virtio, mmio_addr: 0x2000, file_path: /a, "
     "read_only: true}\n" DEVICE("1", "block", "virtio", "file_path: /b/../a"),
     "f:3:74: file_path \"/b/../a\" a second time; expected another than that of the device in "
     "line "
     "2, or read_only: true for both\n"},
    {"one image, once of a device of no known type",
     "devices:\n- {id: 0, type: block, data_plane: virtio, mmio_addr: 0x2000, file_path: "
     "/a}\n" DEVICE("1", "blok", "virtio", "file_path: /a"),
     "f:3:17: unknown device type \"blok\"; did you mean \"block\"?\n"},
    {"one log twice",
     "devices:\n- {id: 0, type: console, data_plane: virtio, mmio_addr: 0x2000, log_path: "
     "/a}\n" DEVICE("1", "console", "virtio", "log_path: /a"),
     "f:3:75: log_path \"/a\" a second time; expected another than that of the device in line 2\n"},
    {"one daemon twice",
     "devices:\n- {id: 0, type: fs, data_plane: vhost_user, mmio_addr: 0x2000, socket_path: "
     "/a/}\n" DEVICE("1", "fs", "vhost_user", "socket_path: /a/Fs0.sock"),
     "f:3:77: socket_path \"/a/Fs0.sock\" a second time; expected another than that of the device "
     "in "
     "line 2\n"},
    {"one prefix of daemons whose ids are not known",
     "devices:\n- {id: 16, type: fs, data_plane: vhost_user, mmio_addr: 0x2000, socket_path: "
     "/a/}\n" DEVICE("16", "fs", "vhost_user", "socket_path: /a/"),
     "f:2:8: id is \"16\"; " ID_WORDS "\n"
     "f:3:8: id is \"16\"; " ID_WORDS "\n"},
    {"registers in the device's own window",
     ONE("rng", "virtio", "shmem_addr: 0x800, shmem_size: 0x801"),
     "f:2:53: registers at 0x1000 overlap the shared memory of 0x801 bytes at 0x800; expected an "
     "address outside of it\n"},
};

/* These look alike, but are none of the above. */
static const char *const apart[] = {
    BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /w/guest_1"),
    BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/guest2"),
    BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/guest_01"),
    BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/guest_4294967296"),
    BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/guest_"),
    BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/guest_1_"),
    BESIDE("vsock", "virtio", "guest_cid: 4, socket_path: /v/other_guest_1"),
    BESIDE("console", "virtio", "socket_path: /v/guest.1"),
    BESIDE("fs", "vhost_user", "socket_path: /v/guest_7.sock"),
    /* Two that only read; and prefixes that only have the same beginning. */
    "devices:\n- {id: 0, type: block, data_plane: virtio, mmio_addr: 0x2000, file_path: /a, "
    "read_only: true}\n" DEVICE("1", "block", "virtio", "file_path: /a, read_only: true"),
    "devices:\n- {id: 0, type: block, data_plane: virtio, mmio_addr: 0x2000, file_path: /a, "
    "read_only: true}\n" DEVICE("1", "block", "virtio",
                                "file_path: /a, read_only: true, io_engine: io_uring"),
    "devices:\n- {id: 0, type: fs, data_plane: vhost_user, mmio_addr: 0x2000, socket_path: "
    "/a/}\n" DEVICE("1", "fs", "vhost_user", "socket_path: /a/"),
    "devices:\n- {id: 0, type: console, data_plane: virtio, mmio_addr: 0x2000, ports: 2, "
    "pty_alias: "
    "/v/c}\n" DEVICE("1", "console", "virtio", "pty_alias: /v/c.2"),
    "devices:\n- {id: 0, type: console, data_plane: virtio, mmio_addr: 0x2000, pty_alias: "
    "/v/c}\n" DEVICE("1", "console", "virtio", "pty_alias: /v/c.1"),
    /* The address that the second device would have if it were a network card, too. */
    "devices:\n- {id: 0, type: net, data_plane: virtio, mmio_addr: 0x2000, tap_name: t, mac_addr: "
    "\"02:62:61:6f:00:01\"}\n" DEVICE("1", "rng", "virtio", "rate_limit: 9"),
    ONE("rng", "virtio", "shmem_addr: 0x800, shmem_size: 0x800"),
};

static void expect_all_good(const char *const *yamls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        config_expect_good(yamls[i], yamls[i], "");
        config_free(&config);
    }
}

static void test_interfaces(void)
{
    config_expect_cases(interface_cases, COUNT(interface_cases));
    config_expect_good("a Unicode name", TAP("t\xc3\xa4p"), "");
    config_free(&config);
}

static void test_paths(void)
{
    config_expect_cases(path_cases, COUNT(path_cases));
    expect_all_good(right_paths, COUNT(right_paths));
}

/* A full log gets a name that is two bytes longer. */
static void test_longest_log(void)
{
    static const char prefix[] = "devices:\n- {id: 1, type: console, data_plane: virtio, "
                                 "mmio_addr: 0x1000, log_path: ";
    char yaml[sizeof(prefix) + PATH_MAX + 8], *path = yaml + strlen(prefix);
    for (size_t length = PATH_MAX - 4; length < PATH_MAX; length++) {
        strcpy(yaml, prefix);
        for (size_t i = 0; i < length; i++)
            path[i] = i % 200 == 0 ? '/' : 'a';
        strcpy(path + length, "}\n");
        if (length <= PATH_MAX - 1 - strlen(".1")) {
            config_expect_good("log", yaml, "");
            config_free(&config);
            continue;
        }
        char expected[128];
        snprintf(expected, sizeof(expected),
                 "f:2:75: log_path is %zu bytes long; expected at most 4093: the kernel takes no "
                 "longer names\n",
                 length);
        config_expect("log", yaml, strlen(yaml), -EINVAL, expected);
    }
}

static void test_names(void)
{
    config_expect_cases(name_cases, COUNT(name_cases));
    expect_all_good(apart, COUNT(apart));
}

/* What needs a feature that is off is off as well. */
static void test_features_that_need_others(void)
{
    static const struct {
        const char *off;
        uint64_t bits;
    } cases[] = {
        {"VIRTIO_NET_F_HOST_TSO4", 1ull << 11},
        {"VIRTIO_NET_F_HOST_TSO6", 1ull << 12},
        {"VIRTIO_NET_F_GUEST_TSO4", 1ull << 7},
        {"VIRTIO_NET_F_GUEST_TSO6", 1ull << 8},
        {"VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6", 1ull << 11 | 1ull << 12 | 1ull << 13},
        {"VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6", 1ull << 7 | 1ull << 8 | 1ull << 9},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char yaml[256];
        snprintf(yaml, sizeof(yaml), NET_WITH("tap_name: t, features_off: [%s]"), cases[i].off);
        config_expect_good("features", yaml, "");
        CU_ASSERT_EQUAL(config.devices[0].features_off, cases[i].bits);
        config_free(&config);
    }
}

/* Published files have one address twice, for two frontends. So that is no error. */
static void test_same_mac(void)
{
    config_expect_good(
        "given, and by default",
        "devices:\n- {id: 10, type: net, data_plane: virtio, mmio_addr: 0, tap_name: a}\n"
        "- {id: 1, type: net, data_plane: vhost, mmio_addr: 0, tap_name: b, "
        "mac_addr: 02:62:61:6F:00:0A}\n",
        "f:3:78: note: mac_addr 02:62:61:6F:00:0A is that of the device in line 2, too: it needs "
        "another if their taps are in one network\n");
    config_free(&config);
}

static void expect_control(const char *path, const char *expected)
{
    CU_ASSERT_EQUAL(config_check_control(&config, path, &diags), *expected ? -EINVAL : 0);
    config_expect_text(path, expected);
}

static void test_control_socket(void)
{
    config_expect_good("", BESIDE("fs", "vhost_user", "socket_path: /v/"), "");
    expect_control("/v/guest_x", "");
    expect_control("/w/guest_9", "");
    expect_control(
        "/v/./guest_9",
        "f:2:90: socket_path \"/v/guest\" and the control socket (--control) "
        "\"/v/./guest_9\" both stand for the name \"guest_9\"; expected another path for "
        "one of them\n");
    expect_control("/v/Fs1.sock",
                   "f:3:77: socket_path \"/v/\" and the control socket (--control) \"/v/Fs1.sock\" "
                   "both stand for the name \"Fs1.sock\"; expected another path for one of them\n");
    expect_control("/run/bao-virtio-dm/other.socket", "");
    expect_control("/v/",
                   "f: the control socket \"/v/\" (--control) is the name of a directory; expected "
                   "that of a socket\n");
    expect_control("/" FIFTY FIFTY "012345", "");
    expect_control("/" FIFTY FIFTY "0123456",
                   "f: the control socket \"/" FIFTY
                   "012345678...\" (--control) is 108 bytes long; "
                   "expected at most 107: the kernel takes no longer names of sockets\n");
    config_free(&config);

    /* The directory of all control sockets belongs to nobody else, whichever of them this device
     * model has. */
    config_expect_good("", BESIDE("fs", "vhost_user", "socket_path: /run/./bao-virtio-dm/x.sock"),
                       "");
    expect_control("/w/control",
                   "f:3:77: socket_path \"/run/./bao-virtio-dm/x.sock\" is in /run/bao-virtio-dm, "
                   "which is for control sockets; expected another directory\n");
    config_free(&config);
}

static void test_path_as_text(void)
{
    static const struct {
        const char *path, *directory, *name;
    } paths[] = {
        {"/a/b", "/a", "b"},       {"/b", "/", "b"},          {"b", ".", "b"},
        {"a/b", "a", "b"},         {"./b", ".", "b"},         {"//a///./b", "/a", "b"},
        {"/a/../b", "/", "b"},     {"/../../b", "/", "b"},    {"../b", "..", "b"},
        {"a/../../b", "..", "b"},  {"../../b", "../..", "b"}, {"/a/b/../c/./d", "/a/c", "d"},
        {"a/b/../../c", ".", "c"}, {"...", ".", "..."},       {"/..b/c", "/..b", "c"},
        {"/aa/bb", "/aa", "bb"},   {"/a/.b", "/a", ".b"},     {"/a/.b/c", "/a/.b", "c"},
        {"/abc/../d", "/", "d"},   {"abc/../d", ".", "d"},    {"/a/bcd/../e", "/a", "e"},
    };
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct config_names names;
        CU_ASSERT_TRUE(config_names_from(paths[i].path, CONFIG_SCHEME_ONE, 0, &names));
        CU_ASSERT_STRING_EQUAL(names.directory, paths[i].directory);
        CU_ASSERT_STRING_EQUAL(names.name, paths[i].name);
    }
    static const char *const directories[] = {"", "/", ".", "..", "/a/..", "a/..", "/a/", "../.."};
    for (size_t i = 0; i < COUNT(directories); i++) {
        struct config_names names;
        CU_ASSERT_FALSE(config_names_from(directories[i], CONFIG_SCHEME_ONE, 0, &names));
    }
}

/* The first name that both have is told. */
static void test_the_name_that_both_have(void)
{
    static const struct {
        const char *a, *b;
        enum config_scheme a_scheme, b_scheme;
        const char *name; /* NULL: they have none in common */
    } pairs[] = {
        {"/l/log", "/l/log", CONFIG_SCHEME_LOG, CONFIG_SCHEME_LOG, "log"},
        {"/l/log", "/l/log.1", CONFIG_SCHEME_LOG, CONFIG_SCHEME_LOG, "log.1"},
        {"/l/log", "/l/log.2", CONFIG_SCHEME_LOG, CONFIG_SCHEME_ONE, NULL},
        {"/l/c", "/l/c", CONFIG_SCHEME_ALIAS, CONFIG_SCHEME_ALIAS, "c"},
        {"/l/c", "/l/c.1", CONFIG_SCHEME_ALIAS, CONFIG_SCHEME_ONE, "c.1"},
        {"/l/c", "/l/c.2", CONFIG_SCHEME_ALIAS, CONFIG_SCHEME_ONE, "c.2"},
        {"/l/c", "/l/c.3", CONFIG_SCHEME_ALIAS, CONFIG_SCHEME_ONE, NULL},
        {"/l/c", "/l/c.0", CONFIG_SCHEME_ALIAS, CONFIG_SCHEME_ONE, NULL},
        {"/l/v", "/l/v", CONFIG_SCHEME_VSOCK, CONFIG_SCHEME_VSOCK, "v"},
        {"/l/v", "/l/v_0", CONFIG_SCHEME_VSOCK, CONFIG_SCHEME_ONE, "v_0"},
        {"/l/v", "/l/v_seqpacket", CONFIG_SCHEME_VSOCK, CONFIG_SCHEME_ONE, "v_seqpacket"},
        {"/l/v", "/l/v_seqpackets", CONFIG_SCHEME_VSOCK, CONFIG_SCHEME_ONE, NULL},
        {"/l/v", "/l/v_4294967295", CONFIG_SCHEME_VSOCK, CONFIG_SCHEME_ONE, "v_4294967295"},
        {"/l/v", "/l/v_4294967296", CONFIG_SCHEME_VSOCK, CONFIG_SCHEME_ONE, NULL},
        {"/l/v", "/l/v_18446744073709551617", CONFIG_SCHEME_VSOCK, CONFIG_SCHEME_ONE, NULL},
        {"/l/x", "/l/x_1", CONFIG_SCHEME_ONE, CONFIG_SCHEME_ONE, NULL},
        {"/l/x", "/l/x", CONFIG_SCHEME_LOG + 1, CONFIG_SCHEME_ONE, NULL}, /* from a broken claim */
        {"/l/x", "/l/x", CONFIG_SCHEME_ONE, CONFIG_SCHEME_ONE, "x"},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct config_names a, b;
        char name[CONFIG_NAME_SIZE];
        CU_ASSERT_TRUE(config_names_from(pairs[i].a, pairs[i].a_scheme, 3, &a));
        CU_ASSERT_TRUE(config_names_from(pairs[i].b, pairs[i].b_scheme, 3, &b));
        CU_ASSERT_EQUAL(config_names_meet(&a, &b, name), pairs[i].name != NULL);
        if (pairs[i].name)
            CU_ASSERT_STRING_EQUAL(name, pairs[i].name);
        CU_ASSERT_EQUAL(config_names_meet(&b, &a, name), pairs[i].name != NULL);
        if (pairs[i].name)
            CU_ASSERT_STRING_EQUAL(name, pairs[i].name);
    }
}

/* The names of a device are written over those of another one. */
static void test_names_written_over_others(void)
{
    struct config_names names;
    CU_ASSERT_TRUE(config_names_from("/first-one/first", CONFIG_SCHEME_VSOCK, 9, &names));
    CU_ASSERT_TRUE(config_names_from("2", CONFIG_SCHEME_LOG, 1, &names));
    CU_ASSERT_STRING_EQUAL(names.directory, ".");
    CU_ASSERT_STRING_EQUAL(names.name, "2");
    CU_ASSERT_EQUAL(names.scheme, CONFIG_SCHEME_LOG);
    CU_ASSERT_EQUAL(names.ports, 1);
}

/* The kernel takes no path of PATH_MAX bytes. */
static void test_longest_path(void)
{
    struct config_names names;
    char path[PATH_MAX + 1];
    memset(path, 'a', PATH_MAX);
    path[PATH_MAX] = '\0';
    CU_ASSERT_FALSE(config_names_from(path, CONFIG_SCHEME_ONE, 0, &names));
    path[PATH_MAX - 1] = '\0';
    CU_ASSERT_TRUE(config_names_from(path, CONFIG_SCHEME_ONE, 0, &names));
    CU_ASSERT_STRING_EQUAL(names.directory, ".");
    CU_ASSERT_STRING_EQUAL(names.name, path);
    path[0] = '/';
    CU_ASSERT_TRUE(config_names_from(path, CONFIG_SCHEME_ONE, 0, &names));
    CU_ASSERT_STRING_EQUAL(names.directory, "/");
    CU_ASSERT_STRING_EQUAL(names.name, path + 1);
}

static void test_named_daemon_sockets(void)
{
    static const char *const named[] = {"/run/a.sock", "a.sock", "/run/.sock", ".sock"};
    static const char *const not_named[] = {"", "sock", "/run/", "/run", "/a.sock/", "a.socket"};
    for (size_t i = 0; i < COUNT(named); i++)
        CU_ASSERT_TRUE(config_daemon_named(named[i]));
    for (size_t i = 0; i < COUNT(not_named); i++)
        CU_ASSERT_FALSE(config_daemon_named(not_named[i]));
}

static void test_longest_daemon_socket(void)
{
    char given[PATH_MAX + 1], path[PATH_MAX];
    const size_t most = PATH_MAX - 1 - strlen("Fs1.sock");
    memset(given, 'a', sizeof(given));
    given[most + 1] = '\0';
    CU_ASSERT_EQUAL(config_daemon_socket(given, "fs", 1, path), -ENAMETOOLONG);
    given[most] = '\0';
    CU_ASSERT_EQUAL(config_daemon_socket(given, "fs", 1, path), 0);
    CU_ASSERT_EQUAL(strlen(path), PATH_MAX - 1);
    CU_ASSERT_STRING_EQUAL(path + most, "Fs1.sock");
}

/* Devices without a path have no names. */
static void test_devices_without_names(void)
{
    struct config_names names;
    enum config_key key;
    config_expect_good(
        "", ONE("rng", "virtio", "rate_limit: 9") DEVICE("2", "console", "virtio", "ports: 2"), "");
    for (size_t i = 0; i < config.device_count; i++) {
        key = CONFIG_KEY_ID;
        CU_ASSERT_FALSE(config_names_given(&config.devices[i], &key, &names));
        CU_ASSERT_EQUAL(key, CONFIG_KEYS);
        CU_ASSERT_FALSE(config_names_of(&config.devices[i], "/a/b", &key, &names));
    }
    config_free(&config);
}

static void test_keys_with_paths(void)
{
    static const struct {
        enum config_key key;
        const char *name, *word;
        bool is_made;
    } keys[] = {
        {CONFIG_KEY_FILE_PATH, "file_path", "image", false},
        {CONFIG_KEY_DEVICE_PATH, "device_path", "input device", false},
        {CONFIG_KEY_SOCKET_PATH, "socket_path", "socket", true},
        {CONFIG_KEY_PTY_ALIAS, "pty_alias", "terminal", true},
        {CONFIG_KEY_LOG_PATH, "log_path", "log file", true},
    };
    for (size_t i = 0; i < COUNT(keys); i++) {
        CU_ASSERT_STRING_EQUAL(config_key_name(keys[i].key), keys[i].name);
        CU_ASSERT_STRING_EQUAL(config_file_word(keys[i].key), keys[i].word);
        CU_ASSERT_EQUAL(config_path_is_made(keys[i].key), keys[i].is_made);
    }
}

static void test_who_may_share(void)
{
    const struct device_config reads = {.kind = DEVICE_BLOCK_VIRTIO, .read_only = true},
                               by_ring = {.kind = DEVICE_BLOCK_URING, .read_only = true},
                               writes = {.kind = DEVICE_BLOCK_VIRTIO};
    CU_ASSERT_TRUE(config_may_share(&reads, &reads));
    CU_ASSERT_TRUE(config_may_share(&reads, &by_ring));
    CU_ASSERT_FALSE(config_may_share(&reads, &writes));
    CU_ASSERT_FALSE(config_may_share(&writes, &reads));
    CU_ASSERT_FALSE(config_may_share(&writes, &writes));
}

static void test_daemon_sockets(void)
{
    char path[PATH_MAX];
    CU_ASSERT_EQUAL(config_daemon_socket("/run/", "vsock", 3, path), 0);
    CU_ASSERT_STRING_EQUAL(path, "/run/Vsock3.sock");
    CU_ASSERT_EQUAL(config_daemon_socket("/run/x-", "9p", 15, path), 0);
    CU_ASSERT_STRING_EQUAL(path, "/run/x-9p15.sock");
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"addresses and names of interfaces", test_interfaces},
        {"features that need others", test_features_that_need_others},
        {"one address twice", test_same_mac},
        {"paths that no file can have", test_paths},
        {"the longest path of a log", test_longest_log},
        {"names that meet, and that don't", test_names},
        {"the control socket", test_control_socket},
        {"paths as text", test_path_as_text},
        {"devices without names", test_devices_without_names},
        {"keys with paths", test_keys_with_paths},
        {"who may share", test_who_may_share},
        {"the name that both have", test_the_name_that_both_have},
        {"names written over others", test_names_written_over_others},
        {"the longest path", test_longest_path},
        {"daemons' sockets", test_daemon_sockets},
        {"daemons' sockets that have their names", test_named_daemon_sockets},
        {"the longest name of a daemon's socket", test_longest_daemon_socket},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "names in the configuration", tests);
}
