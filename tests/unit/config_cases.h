/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files, right and wrong, and the messages about the wrong ones. */
#ifndef TESTS_UNIT_CONFIG_CASES_H
#define TESTS_UNIT_CONFIG_CASES_H

struct config_case {
    const char *name;
    const char *yaml;
    const char *expected; /* as printed for a file "f" */
};

/* The files of the published demonstrations of both generations, with shorter paths. */
#define PUBLISHED_VSOCK                                                                            \
    "devices:\n"                                                                                   \
    "    # --- Common ---\n"                                                                       \
    "  - id: 0\n"                                                                                  \
    "    type: \"vsock\"\n"                                                                        \
    "    mmio_addr: 0xa003e00\n"                                                                   \
    "    data_plane: vhost\n"                                                                      \
    "    # --- Vsock specific ---\n"                                                               \
    "    guest_cid: 3" /* without a line end, as published */

#define PUBLISHED_OLDER_VSOCK                                                                      \
    "devices:\n"                                                                                   \
    "  - id: 0\n"                                                                                  \
    "    type: \"vsock\"\n"                                                                        \
    "    shmem_addr: 0x80000000\n"                                                                 \
    "    shmem_size: 0x01000000\n"                                                                 \
    "    shmem_path: \"/dev/baoipc0\"\n"                                                           \
    "    mmio_addr: 0xa003e00\n"                                                                   \
    "    irq: 47\n"                                                                                \
    "    data_plane: vhost\n"                                                                      \
    "    guest_cid: 3\n"                                                                           \
    "    # ---------"

#define PUBLISHED_BLOCK                                                                            \
    "devices:\n"                                                                                   \
    "  - id: 0\n"                                                                                  \
    "    type: \"block\"\n"                                                                        \
    "    data_plane: virtio\n"                                                                     \
    "    file_path: \"/etc/mnt/vm.img\"\n"                                                         \
    "    read_only: false\n"                                                                       \
    "    root_device: true\n"                                                                      \
    "    advertise_flush: false\n"

#define WAITS                                                                                      \
    "advertise_flush: false makes each write wait for the disk, since the frontend can't ask for " \
    "a flush: cache: unsafe does not wait, and loses what was written last when the backend "      \
    "fails\n"

#define WITH_MMIO(yaml) yaml "    mmio_addr: 0xa003e00\n"

/* The keys that those files may have, in the order of enum config_key. */
#define ALL_KEYS                                                                                   \
    "id, type, mmio_addr, data_plane, file_path, device_path, read_only, root_device, "            \
    "advertise_flush, "                                                                            \
    "cache, direct, io_engine, tap_name, mac_addr, guest_cid, socket_path, connections, "          \
    "pty_alias, "                                                                                  \
    "log_path, "                                                                                   \
    "log_size, ports, tag, "                                                                       \
    "config, config_size, rate_limit, mtu, poll_us, irq_delay_us, queues, queue_size, "            \
    "features_off, "                                                                               \
    "cpu_affinity, "                                                                               \
    "sched, shmem_addr, shmem_size, shmem_path, irq"

#define TYPE_WORDS                                                                                 \
    "net, block, console, rng, balloon, rpmsg, scsi, 9p, gpu, input, vsock, crypto, sound, fs, "   \
    "rpmb, video_encoder, video_decoder, scmi, i2c, watchdog, can, bt, gpio, or a number of the "  \
    "VirtIO standard's"

#define NO_MMIO                                                                                    \
    "has no key \"mmio_addr\"; expected mmio_addr: the address of the device's 0x200 bytes of "    \
    "registers in the frontend, a multiple of 4, for example 0xa003e00\n"

#define NOTES(path_line)                                                                           \
    "f:" path_line ":5: note: shmem_path is no longer needed and has no effect; the line can go\n"

#define NET(number)                                                                                \
    "  - id: " number "\n"                                                                         \
    "    type: \"net\"\n"                                                                          \
    "    mmio_addr: 0xa003e00\n"                                                                   \
    "    data_plane: virtio\n"                                                                     \
    "    tap_name: \"tap" number "\"\n"                                                            \
    "    mac_addr: \"52:54:00:12:34:56\"\n"

#define OLDER(number, type, addr, plane, rest)                                                     \
    "devices:\n"                                                                                   \
    "  - id: " number "\n"                                                                         \
    "    type: \"" type "\"\n"                                                                     \
    "    shmem_addr: " addr "\n"                                                                   \
    "    shmem_size: 0x01000000\n"                                                                 \
    "    shmem_path: \"/dev/baoipc1\"\n"                                                           \
    "    mmio_addr: 0xa003e00\n"                                                                   \
    "    irq: 47\n"                                                                                \
    "    data_plane: " plane "\n" rest

#define OLDER_NET                                                                                  \
    OLDER("1", "net", "0x81000000", "virtio",                                                      \
          "    tap_name: \"tap1\"\n    mac_addr: \"52:54:00:12:34:57\"")
#define PUBLISHED_FS                                                                               \
    "devices:\n    # --- Common ---\n  - id: 0\n    type: \"fs\"\n    mmio_addr: 0xa003e00\n"      \
    "    data_plane: vhost_user\n    socket_path: \"/root/\"\n    # ---"
#define PUBLISHED_VSOCK_VHOST_USER                                                                 \
    "devices:\n  - id: 0\n    type: \"vsock\"\n    mmio_addr: 0x10001000\n"                        \
    "    data_plane: vhost_user\n    socket_path: \"/tmp/\"\n"
#define PUBLISHED_OLDER_FS                                                                         \
    OLDER("0", "fs", "0x10000000", "vhost_user", "    socket_path: \"/root/\"\n")

/* A device that a daemon serves; its type is on line 2. */
#define DAEMON(type, rest)                                                                         \
    "devices:\n- type: " type "\n  id: 0\n  data_plane: vhost_user\n  mmio_addr: 0x1000\n"         \
    "  socket_path: /run/vhost/\n" rest

static const struct config_case published_cases[] = {
    {"newer block", PUBLISHED_BLOCK, "f:2:5: device 0 " NO_MMIO "f:8:5: note: " WAITS},
};

/* Correct devices, which the cases make wrong. */
#define BLOCK_WITH_PATH(path)                                                                      \
    "devices:\n"                                                                                   \
    "- id: 0\n"                                                                                    \
    "  type: block\n"                                                                              \
    "  data_plane: virtio\n"                                                                       \
    "  mmio_addr: 0x1000\n"                                                                        \
    "  file_path: " path "\n"
#define BLOCK(more) BLOCK_WITH_PATH("/x") more /* from line 7 on */
#define VSOCK(more)                                                                                \
    "devices:\n- id: 0\n  type: vsock\n  data_plane: vhost\n  mmio_addr: 0x1000\n  "               \
    "guest_cid: " more

#define TWO_VSOCK(mmio_a, mmio_b, a, b)                                                            \
    "devices:\n"                                                                                   \
    "- {type: vsock, data_plane: vhost, id: 0, mmio_addr: " mmio_a ", guest_cid: 3" a "}\n"        \
    "- {type: vsock, data_plane: vhost, id: 1, mmio_addr: " mmio_b ", guest_cid: 4" b "}\n"

#define DEVICES_WORDS "expected \"devices:\" and a list of devices\n"

static const struct config_case structure_cases[] = {
    {"empty", "", "f:1:1: the file is empty; " DEVICES_WORDS},
    {"byte order mark only", "\xef\xbb\xbf", "f:1:1: the file is empty; " DEVICES_WORDS},
    {"comments only", "# nothing\n\n# here\n", "f:1:1: the file is empty; " DEVICES_WORDS},
    {"empty document", "---\n...\n", "f:2:1: a single value at the top; " DEVICES_WORDS},
    {"a list at the top", "\n- id: 0\n", "f:2:1: a list at the top; " DEVICES_WORDS},
    {"a value at the top", "  hello", "f:1:3: a single value at the top; " DEVICES_WORDS},
    {"empty mapping", "{}", "f:1:1: no devices; " DEVICES_WORDS},
    {"devices mistyped, its list read nevertheless", "device:\n- id: 0\n- 5\n",
     "f:1:1: unknown key \"device\"; did you mean \"devices\"?\n"
     "f:2:3: device 0 has no key \"type\"; expected type: a device type such as block or vsock\n"
     "f:2:3: device 0 " NO_MMIO
     "f:2:3: device 0 has no key \"data_plane\"; expected data_plane: virtio, vhost or vhost_user\n"
     "f:3:3: a single value in the place of a device; expected its keys, beginning by \"- id:\"\n"},
    {"devices without value", "devices:\n",
     "f:1:9: devices is no list; expected a device after each \"-\"\n"},
    {"devices empty", "devices: []", "f:1:10: devices is empty; expected at least one device\n"},
    {"devices a mapping", "devices:\n  id: 0\n",
     "f:2:3: devices is no list; expected a device after each \"-\"\n"},
    {"devices twice", BLOCK("devices: 5\n"), "f:7:1: devices a second time; expected one list\n"},
    {"unknown key at the top", BLOCK("version: {a: [b]}\n"),
     "f:7:1: unknown key \"version\"; the only key here is \"devices\"\n"},
    {"key of a device at the top", BLOCK("read_only: true\n"),
     "f:7:1: read_only outside of a device; expected it under \"devices:\", after a \"-\"\n"},
    {"mapping as a key at the top", BLOCK("? {a: b}\n: c\n"),
     "f:7:3: a mapping of keys as a key; expected the name of a key\n"},
    {"device a value", BLOCK("- block\n"),
     "f:7:3: a single value in the place of a device; expected its keys, beginning by \"- id:\"\n"},
    {"device a list", BLOCK("- - id: 1\n"),
     "f:7:3: a list in the place of a device; expected its keys, beginning by \"- id:\"\n"},
    {"too deep", "devices: [[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]",
     "f:1:11: a list in the place of a device; expected its keys, beginning by \"- id:\"\n"
     "f:1:25: lists or mappings more than 16 deep; expected a list of devices with simple keys\n"},
};

static const struct config_case key_cases[] = {
    {"all missing", "devices:\n- {}\n",
     "f:2:3: device has no key \"id\"; expected id: the dispatcher's number of the device, from 0 "
     "to 15\n"
     "f:2:3: device has no key \"type\"; expected type: a device type such as block or vsock\n"
     "f:2:3: device " NO_MMIO
     "f:2:3: device has no key \"data_plane\"; expected data_plane: virtio, vhost or vhost_user\n"},
    {"file_path missing",
     "devices:\n- id: 2\n  type: block\n  data_plane: virtio\n  mmio_addr: 0x1000\n",
     "f:2:3: device 2 has no key \"file_path\"; expected file_path: a path, for example "
     "/var/lib/images/disk.img\n"},
    {"guest_cid missing",
     "devices:\n- id: 2\n  type: vsock\n  data_plane: vhost\n  mmio_addr: 0x1000\n",
     "f:2:3: device 2 has no key \"guest_cid\"; expected guest_cid: an integer from 3 to "
     "0xfffffffe (0, 1, 2 and 0xffffffff are reserved)\n"},
    {"mistyped", BLOCK("  readonly: true\n"),
     "f:7:3: unknown key \"readonly\"; did you mean \"read_only\"?\n"},
    {"mistyped, and so not missing",
     "devices:\n- id: 0\n  type: vsock\n  data_plane: vhost\n"
     "  mmio-addr: 0x1000\n  cid: 3\n",
     "f:5:3: unknown key \"mmio-addr\"; did you mean \"mmio_addr\"?\n"
     "f:6:3: unknown key \"cid\"; did you mean \"guest_cid\"?\n"},
    {"wrong case", BLOCK("  READ_ONLY: true\n"),
     "f:7:3: unknown key \"READ_ONLY\"; did you mean \"read_only\"?\n"},
    {"like no other", BLOCK("  zebra: {a: [b, {c: d}]}\n"),
     "f:7:3: unknown key \"zebra\"; expected one of " ALL_KEYS "\n"},
    {"long, with a line break",
     BLOCK("  \"read\\nonly xxxxxxxxx xxxxxxxxx xxxxxxxxx xxxxxxxxx xxxxxxxxx xxxxxxxxx\": 1\n"),
     "f:7:3: unknown key \"read?only xxxxxxxxx xxxxxxxxx xxxxxxxxx xxxxxxxxx xxxxxxxxx ...\"; "
     "expected one of " ALL_KEYS "\n"},
    {"one letter of few wrong", BLOCK("  irx: 1\n"),
     "f:7:3: unknown key \"irx\"; did you mean \"irq\"?\n"},
    {"three letters of many wrong", BLOCK("  dataplain: virtio\n"),
     "f:7:3: unknown key \"dataplain\"; did you mean \"data_plane\"?\n"},
    {"four letters of many wrong", VSOCK("3\n  dutaplain: virtio\n"),
     "f:7:3: unknown key \"dutaplain\"; expected one of " ALL_KEYS "\n"},
    {"list as a key", BLOCK("  ? [a]\n  : b\n"),
     "f:7:5: a list as a key; expected the name of a key\n"},
    {"twice", BLOCK("  id: 1\n"),
     "f:7:3: id a second time in this device; expected once (first in line 2)\n"},
    {"vsock's key in block", BLOCK("  guest_cid: 3\n"),
     "f:7:3: guest_cid does not apply to block/virtio; expected only file_path, read_only, "
     "root_device, advertise_flush, cache, direct, io_engine, poll_us besides the keys of all "
     "devices\n"},
    {"block's key in vsock", VSOCK("3\n  read_only: true\n"),
     "f:7:3: read_only does not apply to vsock/vhost; expected only guest_cid besides the keys of "
     "all devices\n"},
    {"net's key in vsock", VSOCK("3\n  tap_name: tap0\n"),
     "f:7:3: tap_name does not apply to vsock/vhost; expected only guest_cid besides the keys of "
     "all devices\n"},
    {"type mistyped",
     "devices:\n- id: 0\n  type: vscok\n  data_plane: vhost\n  mmio_addr: 0x1000\n",
     "f:3:9: unknown device type \"vscok\"; expected one of " TYPE_WORDS "\n"},
    {"type of a daemon nearly right", DAEMON("gpioo", ""),
     "f:2:9: unknown device type \"gpioo\"; did you mean \"gpio\"?\n"},
    {"type of a daemon only",
     "devices:\n- id: 0\n  type: gpio\n  data_plane: virtio\n  mmio_addr: 0x1000\n",
     "f:4:15: unknown data_plane \"virtio\" of device type \"gpio\"; expected one of vhost_user\n"},
    {"type by a number without a count of queues", DAEMON("1234", ""),
     "f:2:3: device 0 has no key \"queues\"; expected queues: how many queues the device has, from "
     "1 "
     "on\n"},
    {"type by a number that is none", DAEMON("0", ""),
     "f:2:9: unknown device type \"0\"; expected one of " TYPE_WORDS "\n"},
    {"configuration space twice", DAEMON("gpio", "  config: 00\n  config_size: 8\n"),
     "f:8:3: config_size beside config; expected one: the bytes, or how many to ask the daemon "
     "for\n"},
    {"half a byte", DAEMON("gpio", "  config: 012\n"),
     "f:7:11: config is \"012\"; expected the bytes of the configuration space, two hexadecimal "
     "digits each, for example \"0800000000000000\"\n"},
    {"no byte", DAEMON("gpio", "  config: ''\n"),
     "f:7:11: config is \"\"; expected the bytes of the configuration space, two hexadecimal "
     "digits each, for example \"0800000000000000\"\n"},
    {"tag too long", DAEMON("fs", "  tag: 0123456789012345678901234567890123456\n"),
     "f:7:8: tag is 37 bytes long; expected at most 36\n"},
    {"too many queues", DAEMON("fs", "  queues: 16\n"),
     "f:7:11: queues is 16; expected at most 15 for fs/vhost_user\n"},
    {"feature of another type", DAEMON("gpio", "  features_off: VIRTIO_NET_F_CSUM\n"),
     "f:7:17: features_off has VIRTIO_NET_F_CSUM, which is no feature of gpio devices\n"},
    {"type nearly right",
     "devices:\n- id: 0\n  type: Block\n  data_plane: virtio\n  mmio_addr: 0x1000\n",
     "f:3:9: unknown device type \"Block\"; did you mean \"block\"?\n"},
    {"data_plane of another type",
     "devices:\n- id: 0\n  type: block\n  data_plane: vhost\n  mmio_addr: 0x1000\n",
     "f:4:15: unknown data_plane \"vhost\" of device type \"block\"; expected one of virtio, "
     "vhost_user\n"},
    {"unknown data_plane",
     "devices:\n- id: 0\n  type: vsock\n  data_plane: vhost-user\n  mmio_addr: 0x1000\n",
     "f:4:15: unknown data_plane \"vhost-user\" of device type \"vsock\"; expected one of vhost, "
     "virtio, vhost_user\n"},
};

#define ID_WORDS "expected the dispatcher's number of the device, from 0 to 15"
#define CID_WORDS "expected an integer from 3 to 0xfffffffe (0, 1, 2 and 0xffffffff are reserved)"
#define MMIO_WORDS                                                                                 \
    "expected the address of the device's 0x200 bytes of registers in the frontend, a multiple "   \
    "of 4, for example 0xa003e00"
#define PATH_WORDS "expected a path, for example /var/lib/images/disk.img\n"
#define WITH_ID(id)                                                                                \
    "devices:\n- type: vsock\n  data_plane: vhost\n  mmio_addr: 0\n  guest_cid: 3\n  id: " id
#define WITH_ADDR(addr)                                                                            \
    "devices:\n- type: vsock\n  data_plane: vhost\n  id: 0\n  guest_cid: 3\n  mmio_addr: " addr
#define A_MAC(mac)                                                                                 \
    "devices:\n- id: 1\n  type: net\n  data_plane: vhost\n  mmio_addr: 0x1000\n  tap_name: t\n"    \
    "  mac_addr: " mac
#define BAD_MAC(text)                                                                              \
    "f:7:13: mac_addr is \"" text                                                                  \
    "\"; expected six bytes in hexadecimal, for example 52:54:00:12:34:56\n"

static const struct config_case value_cases[] = {
    {"id too large", WITH_ID("16"), "f:6:7: id is \"16\"; " ID_WORDS "\n"},
    {"id negative", WITH_ID("-1"), "f:6:7: id is \"-1\"; " ID_WORDS "\n"},
    {"id a word", WITH_ID("one"), "f:6:7: id is \"one\"; " ID_WORDS "\n"},
    {"id a fraction", WITH_ID("1.0"), "f:6:7: id is \"1.0\"; " ID_WORDS "\n"},
    {"id beyond 64 bits", WITH_ID("18446744073709551616"),
     "f:6:7: id is \"18446744073709551616\"; " ID_WORDS "\n"},
    {"id quoted", WITH_ID("\"1\""),
     "f:6:7: id is the quoted string \"1\"; " ID_WORDS ", not quoted\n"},
    {"id without value", WITH_ID("# later"), "f:6:6: id has no value; " ID_WORDS "\n"},
    {"id null", WITH_ID("~"), "f:6:7: id has no value; " ID_WORDS "\n"},
    {"id a list", WITH_ID("[1]"), "f:6:7: id is a list; " ID_WORDS "\n"},
    {"id a mapping", WITH_ID("{a: 1}"), "f:6:7: id is a mapping of keys; " ID_WORDS "\n"},
    {"id with a leading zero", WITH_ID("07"),
     "f:6:7: id is 07, octal in YAML 1.1 and decimal in YAML 1.2; expected it without the leading "
     "0, or with 0o for octal\n"},
    {"no digits", WITH_ID("0x"), "f:6:7: id is \"0x\"; " ID_WORDS "\n"},
    {"no octal digit", WITH_ID("0o8"), "f:6:7: id is \"0o8\"; " ID_WORDS "\n"},
    {"underscore", WITH_ADDR("0x1000_0000"),
     "f:6:14: mmio_addr is \"0x1000_0000\"; " MMIO_WORDS "\n"},
    {"capital X", WITH_ADDR("0X1000"), "f:6:14: mmio_addr is \"0X1000\"; " MMIO_WORDS "\n"},
    {"not aligned", WITH_ADDR("0x1002"), "f:6:14: mmio_addr is \"0x1002\"; " MMIO_WORDS "\n"},
    {"registers beyond 64 bits", WITH_ADDR("0xfffffffffffffe04"),
     "f:6:14: mmio_addr is \"0xfffffffffffffe04\"; " MMIO_WORDS "\n"},
    {"CID 0", VSOCK("0"), "f:6:14: guest_cid is \"0\"; " CID_WORDS "\n"},
    {"CID 1", VSOCK("1"), "f:6:14: guest_cid is \"1\"; " CID_WORDS "\n"},
    {"CID 2", VSOCK("2"), "f:6:14: guest_cid is \"2\"; " CID_WORDS "\n"},
    {"CID any", VSOCK("0xffffffff"), "f:6:14: guest_cid is \"0xffffffff\"; " CID_WORDS "\n"},
    {"CID beyond 32 bits", VSOCK("0x100000003"),
     "f:6:14: guest_cid is \"0x100000003\"; " CID_WORDS "\n"},
    {"shortened between characters",
     BLOCK(
         "  read_only: "
         "1\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\n"),
     "f:7:14: read_only is "
     "\"1\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
     "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
     "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4...\"; expected true or "
     "false\n"},
    {"terminal control", BLOCK("  \"\\x9b31m\": 1\n"),
     "f:7:3: unknown key \"??31m\"; expected one of " ALL_KEYS "\n"},
    {"boolean yes", BLOCK("  read_only: yes\n"),
     "f:7:14: read_only is \"yes\"; expected true or false\n"},
    {"boolean 1", BLOCK("  root_device: 1\n"),
     "f:7:16: root_device is \"1\"; expected true or false\n"},
    {"boolean quoted", BLOCK("  advertise_flush: 'true'\n"),
     "f:7:20: advertise_flush is the quoted string \"true\"; expected true or false, not quoted\n"},
    {"cache of no known mode", BLOCK("  cache: none\n"),
     "f:7:10: cache is \"none\"; expected writeback, writethrough or unsafe\n"},
    {"cache of strange case", BLOCK("  cache: Unsafe\n"),
     "f:7:10: cache is \"Unsafe\"; expected writeback, writethrough or unsafe\n"},
    {"cache as a list", BLOCK("  cache: [unsafe]\n"),
     "f:7:10: cache is a list; expected writeback, writethrough or unsafe\n"},
    {"writeback without flushes", BLOCK("  advertise_flush: false\n  cache: writeback\n"),
     "f:8:10: cache is writeback beside advertise_flush: false in line 7; expected writethrough or "
     "unsafe, or advertise_flush: true: in this mode data are safe when the frontend has asked for "
     "a flush\n"},
    {"writethrough with flushes", BLOCK("  cache: writethrough\n  advertise_flush: true\n"),
     "f:7:10: cache is writethrough beside advertise_flush: true in line 8; expected writeback or "
     "unsafe, or advertise_flush: false: in this mode there is nothing to flush\n"},
    {"boolean of strange case", BLOCK("  read_only: tRUE\n"),
     "f:7:14: read_only is \"tRUE\"; expected true or false\n"},
    {"path empty", BLOCK_WITH_PATH("''"), "f:6:14: file_path is \"\"; " PATH_WORDS},
    {"path missing", BLOCK_WITH_PATH(""), "f:6:13: file_path has no value; " PATH_WORDS},
    {"path null", BLOCK_WITH_PATH("null"), "f:6:14: file_path has no value; " PATH_WORDS},
    {"path a list", BLOCK_WITH_PATH("[/a, /b]"), "f:6:14: file_path is a list; " PATH_WORDS},
    {"path with a line break", BLOCK_WITH_PATH("|\n    /a\n"),
     "f:6:14: file_path has a control character (such as a line break); " PATH_WORDS},
    {"path with a zero byte", BLOCK_WITH_PATH("\"/a\\0b\""),
     "f:6:14: file_path has a control character (such as a line break); " PATH_WORDS},
    {"path with a control character in front", BLOCK_WITH_PATH("\"\\x01/a\""),
     "f:6:14: file_path has a control character (such as a line break); " PATH_WORDS},
    {"path with the last control character", BLOCK_WITH_PATH("\"/a\\x1f\""),
     "f:6:14: file_path has a control character (such as a line break); " PATH_WORDS},
    {"path with a delete character", BLOCK_WITH_PATH("\"/a\\x7f\""),
     "f:6:14: file_path has a control character (such as a line break); " PATH_WORDS},
    {"tap_name too long",
     "devices:\n- id: 1\n  type: net\n  data_plane: vhost\n  mmio_addr: 0x1000\n"
     "  tap_name: tap0123456789abc\n",
     "f:6:13: tap_name is 16 bytes long; expected at most 15\n"},
    {"five bytes", A_MAC("52:54:00:12:34"), BAD_MAC("52:54:00:12:34")},
    {"seven bytes", A_MAC("52:54:00:12:34:56:78"), BAD_MAC("52:54:00:12:34:56:78")},
    {"no digit", A_MAC("52:54:00:12:34:5g"), BAD_MAC("52:54:00:12:34:5g")},
    {"wide byte", A_MAC("52:54:000:12:34:56"), BAD_MAC("52:54:000:12:34:56")},
    {"dashes", A_MAC("52-54-00-12-34-56"), BAD_MAC("52-54-00-12-34-56")},
    {"shmem_size 0", BLOCK("  shmem_size: 0\n"),
     "f:7:15: shmem_size is \"0\"; expected a size in bytes, for example 0x1000000, or no such "
     "key\n"},
    {"shmem_addr a word", BLOCK("  shmem_addr: high\n"),
     "f:7:15: shmem_addr is \"high\"; expected an address, for example 0x80000000, or no such "
     "key\n"},
    {"shmem_addr beyond 64 bits", BLOCK("  shmem_addr: 18446744073709551616\n"),
     "f:7:15: shmem_addr is \"18446744073709551616\"; expected an address, for example "
     "0x80000000, or no such key\n"},
    {"irq a word", BLOCK("  irq: x\n"),
     "f:7:8: irq is \"x\"; expected an interrupt number, or no such key\n"},
};

#define THIRD(device) TWO_VSOCK("0x1000", "0x2000", "", "") device "\n"

static const struct config_case between_cases[] = {
    {"id twice", THIRD("- {type: vsock, data_plane: vhost, id: 1, mmio_addr: 0, guest_cid: 5}"),
     "f:4:40: id 1 a second time; expected another than that of the device in line 3\n"},
    {"CID twice", THIRD("- {type: vsock, data_plane: vhost, id: 2, mmio_addr: 0, guest_cid: 0x3}"),
     "f:4:68: guest_cid 3 a second time; expected another than that of the device in line 2\n"},
    {"registers overlap from below",
     THIRD("- {type: vsock, data_plane: vhost, id: 2, mmio_addr: 0xe04, guest_cid: 5}"),
     "f:4:54: registers at 0xe04 overlap those of the device in line 2 at 0x1000; expected a "
     "distance of at least 0x200 bytes\n"},
    {"registers overlap from above",
     THIRD("- {type: vsock, data_plane: vhost, id: 2, mmio_addr: 0x21fc, guest_cid: 5}"),
     "f:4:54: registers at 0x21fc overlap those of the device in line 3 at 0x2000; expected a "
     "distance of at least 0x200 bytes\n"},
    {"registers twice in a window",
     TWO_VSOCK("0x1000", "0x1000", ", shmem_addr: 0x80000000", ", shmem_addr: 0x80000000"),
     "f:3:54: registers at 0x1000 a second time; expected another address than that of the device "
     "in line 2, which has the same shmem_addr and so the same frontend\n"},
};

#define SHAPE_WORDS                                                                                \
    "; expected the keys of a device one a line, all in the same column, indented by spaces\n"

static const struct config_case yaml_cases[] = {
    {"alias", BLOCK("  read_only: *yes\n"),
     "f:7:14: alias \"*yes\"; expected the value itself: aliases are not used in this file\n"},
    {"alias for a device", BLOCK("- *first\n"),
     "f:7:3: alias \"*first\"; expected the value itself: aliases are not used in this file\n"},
    {"alias for the list", "devices: *all\n",
     "f:1:10: alias \"*all\"; expected the value itself: aliases are not used in this file\n"},
    {"alias as a key", BLOCK("  *key : 5\n"),
     "f:7:3: alias \"*key\"; expected the value itself: aliases are not used in this file\n"},
    {"anchor", BLOCK("  read_only: &yes true\n"),
     "f:7:14: anchor \"&yes\"; expected none: aliases are not used in this file\n"},
    {"anchor of a device",
     "devices:\n- &first\n  id: 0\n  type: vsock\n  data_plane: vhost\n"
     "  mmio_addr: 0\n  guest_cid: 3\n",
     "f:2:3: anchor \"&first\"; expected none: aliases are not used in this file\n"},
    {"anchor of the list", "devices: &all []\n",
     "f:1:10: anchor \"&all\"; expected none: aliases are not used in this file\n"
     "f:1:10: devices is empty; expected at least one device\n"},
    {"tag", BLOCK("  read_only: !!bool true\n"),
     "f:7:14: tag \"!!bool\"; expected none: the keys have fixed types\n"},
    {"own tag", BLOCK_WITH_PATH("!path /x"),
     "f:6:14: tag \"!path\"; expected none: the keys have fixed types\n"},
    {"tag directive", "%TAG !a! tag:example,2000:\n---\n" PUBLISHED_VSOCK "\n",
     "f:1:1: %TAG directive; expected none: the keys have fixed types\n"},
    {"second document", BLOCK("---\ndevices: []\n"),
     "f:7:1: a second document; expected one: all devices in one list\n"},
    {"unfinished list", "devices: [{id: 0}",
     "f:1:11: device 0 has no key \"type\"; expected type: a device type such as block or vsock\n"
     "f:1:11: device 0 " NO_MMIO
     "f:1:11: device 0 has no key \"data_plane\"; expected data_plane: virtio, vhost or "
     "vhost_user\n"
     "f:2:1: not YAML: did not find expected ',' or ']' while parsing a flow "
     "sequence" SHAPE_WORDS},
    {"unfinished quotes", BLOCK_WITH_PATH("\"/x"),
     "f:7:1: not YAML: found unexpected end of stream while scanning a quoted scalar" SHAPE_WORDS},
    {"tab", "devices:\n- id: 0\n\ttype: block\n",
     "f:3:1: not YAML: found a tab character that violates indentation while scanning a plain "
     "scalar" SHAPE_WORDS},
    {"wrong indentation, after another error", "devices:\n- id: 99\n   type: block\n",
     "f:2:7: id is \"99 type\"; " ID_WORDS "\n"
     "f:3:8: not YAML: mapping values are not allowed in this context" SHAPE_WORDS},
    {"error before a syntax error", "devices:\n- id: 99\n  zebra: *z\n  typ\n",
     "f:2:7: id is \"99\"; " ID_WORDS "\n"
     "f:3:3: unknown key \"zebra\"; expected one of " ALL_KEYS "\n"
     "f:3:10: alias \"*z\"; expected the value itself: aliases are not used in this file\n"
     "f:5:1: not YAML: could not find expected ':' while scanning a simple key" SHAPE_WORDS},
    {"not UTF-8, after another error", "devices:\n- id: 99\n  file_path: \"\xc3\xa4\xfc\"\n",
     "f:2:7: id is \"99\"; " ID_WORDS "\n"
     "f:3:16: not text: invalid leading UTF-8 octet; expected UTF-8 without control characters\n"},
    {"not UTF-8, after lines of three kinds", "devices:\r\n#\r# b\n- \xff\n",
     "f:4:3: not text: invalid leading UTF-8 octet; expected UTF-8 without control characters\n"},
    {"UTF-16",
     "\xff\xfe"
     "d",
     "f:1:1: not text: invalid leading UTF-8 octet; expected UTF-8 without control characters\n"},
    {"cut character", "devices: \xc3",
     "f:1:10: not text: incomplete UTF-8 octet sequence; expected "
     "UTF-8 without control characters\n"},
};

#define CONSOLE(rest)                                                                              \
    "devices:\n- {id: 0, type: console, data_plane: virtio, mmio_addr: 0xa003e00" rest "}\n"

static const struct config_case console_errors[] = {
    {"no ports", CONSOLE(", ports: 0"),
     "f:2:75: ports is \"0\"; expected how many ports the console has, from 1 to 7\n"},
    {"too many ports", CONSOLE(", ports: 8"),
     "f:2:75: ports is \"8\"; expected how many ports the console has, from 1 to 7\n"},
    {"file and terminal", CONSOLE(", pty_alias: /a, log_path: /b"),
     "f:2:83: log_path beside pty_alias; expected one of them: a console's output goes to a file "
     "or "
     "to a terminal\n"},
    {"size of no file", CONSOLE(", log_size: 0x10000"),
     "f:2:68: log_size without log_path; expected the name of a file whose size it bounds\n"},
    {"file of no size", CONSOLE(", log_path: /b, log_size: 0"),
     "f:2:92: log_size is \"0\"; expected a number of bytes from 0x10000 to 0x40000000 (64 KiB to "
     "1 GiB), for example 0x1000000\n"},
    {"file too large", CONSOLE(", log_path: /b, log_size: 0x40000001"),
     "f:2:92: log_size is \"0x40000001\"; expected a number of bytes from 0x10000 to 0x40000000 "
     "(64 KiB to 1 GiB), for example 0x1000000\n"},
    {"file of many", CONSOLE(", ports: 2, log_path: /b"),
     "f:2:78: log_path for a console of 2 ports; expected no ports but one\n"},
    {"socket and terminal", CONSOLE(", pty_alias: /a, socket_path: /b"),
     "f:2:83: socket_path beside pty_alias; expected one of them: a console is a socket, a "
     "terminal "
     "or a file\n"},
    {"socket and file", CONSOLE(", log_path: /a, socket_path: /b"),
     "f:2:82: socket_path beside log_path; expected one of them: a console is a socket, a terminal "
     "or a file\n"},
    {"socket of two", CONSOLE(", ports: 2, socket_path: /b"),
     "f:2:78: socket_path for a console of 2 ports; expected no ports but one\n"},
    {"socket of many", CONSOLE(", ports: 7, socket_path: /b"),
     "f:2:78: socket_path for a console of 7 ports; expected no ports but one\n"},
    {"another plane for a console",
     "devices:\n- {id: 0, type: console, data_plane: vhost, mmio_addr: "
     "0xa003e00}\n",
     "f:2:38: unknown data_plane \"vhost\" of device type \"console\"; expected one of virtio, "
     "vhost_user\n"},
    {"one name for two",
     CONSOLE(", pty_alias: /a") "- {id: 1, type: console, data_plane: virtio, mmio_addr: "
                                "0xa003c00, pty_alias: /a}\n",
     "f:3:79: pty_alias \"/a\" a second time; expected another than that of the device in line "
     "2\n"},
};

static const struct config_case many_errors = {
    "many errors",
    "version: 2\n"
    "devices:\n"
    "  - id: \"0\"\n"
    "    type: vsock\n"
    "    data_plane: vhost\n"
    "    mmio_addr: 0xa003e02\n"
    "    guest_cid: 2\n"
    "    irq: 5\n"
    "  - id: 1\n"
    "    type: blok\n"
    "    data_plane: virtio\n"
    "    mmio_addr: 0xa003c00\n"
    "    guest_cdi: 7\n"
    "  - id: 1\n"
    "    type: block\n"
    "    data_plane: &plane virtio\n"
    "    mmio_addr: 0xa003d00\n"
    "    shmem_path: /x\n"
    "    id: 3\n"
    "    guest_cid: 3\n",
    "f:1:1: unknown key \"version\"; the only key here is \"devices\"\n"
    "f:3:9: id is the quoted string \"0\"; " ID_WORDS ", not quoted\n"
    "f:6:16: mmio_addr is \"0xa003e02\"; " MMIO_WORDS "\n"
    "f:7:16: guest_cid is \"2\"; " CID_WORDS "\n"
    "f:10:11: unknown device type \"blok\"; did you mean \"block\"?\n"
    "f:13:5: unknown key \"guest_cdi\"; did you mean \"guest_cid\"?\n"
    "f:14:5: device 1 has no key \"file_path\"; expected file_path: a path, for "
    "example "
    "/var/lib/images/disk.img\n"
    "f:14:9: id 1 a second time; expected another than that of the device in line 9\n"
    "f:16:17: anchor \"&plane\"; expected none: aliases are not used in this file\n"
    "f:17:16: registers at 0xa003d00 overlap those of the device in line 9 at "
    "0xa003c00; expected "
    "a distance of at least 0x200 bytes\n"
    "f:18:5: note: shmem_path is no longer needed and has no effect; the line can "
    "go\n"
    "f:19:5: id a second time in this device; expected once (first in line 14)\n"
    "f:20:5: guest_cid does not apply to block/virtio; expected only file_path, "
    "read_only, "
    "root_device, advertise_flush, cache, direct, io_engine, poll_us besides the keys of all "
    "devices\n",
};

#define FIFO_WORDS "expected other, or fifo:N with a priority N from 1 to 99\n"
#define PROCESSOR_WORDS "expected numbers of processors from 0 to 63, for example [1] or [2, 3]\n"
#define SIZE_WORDS "expected the largest size of a queue, a power of two from 4 to 1024\n"

static const struct config_case option_errors[] = {
    {"too many queues", VSOCK("3\n  queues: 2\n"),
     "f:7:11: queues is 2; expected at most 1 for vsock/vhost\n"},
    {"no queue", BLOCK("  queues: 0\n"),
     "f:7:11: queues is \"0\"; expected how many queues the device has, from 1 on\n"},
    {"size no power of two", BLOCK("  queue_size: 100\n"),
     "f:7:15: queue_size is \"100\"; " SIZE_WORDS},
    {"size too large", BLOCK("  queue_size: 2048\n"),
     "f:7:15: queue_size is \"2048\"; " SIZE_WORDS},
    {"unknown feature", BLOCK("  features_off: [VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKT]\n"),
     "f:7:38: features_off has \"VIRTIO_F_RING_PACKT\"; did you mean \"VIRTIO_F_RING_PACKED\"?\n"},
    {"feature that must be offered", BLOCK("  features_off: [VERSION]\n"),
     "f:7:18: features_off is \"VERSION\"; expected names of features that are not to be offered, "
     "for example [VIRTIO_F_RING_PACKED]\n"},
    {"feature of another device", BLOCK("  features_off: VIRTIO_NET_F_CSUM\n"),
     "f:7:17: features_off has VIRTIO_NET_F_CSUM, which is no feature of block devices\n"},
    {"feature of another device in a list",
     BLOCK("  features_off: [VIRTIO_F_EVENT_IDX, VIRTIO_NET_F_CSUM]\n"),
     "f:7:17: features_off has VIRTIO_NET_F_CSUM, which is no feature of block devices\n"},
    {"list in a list", BLOCK("  cpu_affinity: [1, [2]]\n"),
     "f:7:21: a list in cpu_affinity; " PROCESSOR_WORDS},
    {"processor too large", BLOCK("  cpu_affinity: [64]\n"),
     "f:7:18: cpu_affinity is \"64\"; " PROCESSOR_WORDS},
    {"list of priorities", BLOCK("  sched: [fifo:1]\n"), "f:7:10: sched is a list; " FIFO_WORDS},
    {"no priority", BLOCK("  sched: fifo\n"), "f:7:10: sched is \"fifo\"; " FIFO_WORDS},
    {"priority too large", BLOCK("  sched: fifo:100\n"),
     "f:7:10: sched is \"fifo:100\"; " FIFO_WORDS},
};

#endif
