/* SPDX-License-Identifier: Apache-2.0 */
/* bao-dmctl check-board finds what a backend VM lacks, and says nothing against what it has. */
#include "tests/unit/board_under_test.h"

/* ---- Findings, word for word ---- */

static void are_the_findings(const struct board_finding *expected, size_t expected_count)
{
    CU_ASSERT_EQUAL(report.count, expected_count);
    for (size_t i = 0; i < report.count && i < expected_count; i++) {
        CU_ASSERT_EQUAL(report.items[i].level, expected[i].level);
        CU_ASSERT_STRING_EQUAL(report.items[i].check, expected[i].check);
        CU_ASSERT_STRING_EQUAL(report.items[i].found, expected[i].found);
        CU_ASSERT_STRING_EQUAL(report.items[i].cure, expected[i].cure);
    }
}

#define ARE_THE_FINDINGS(...)                                                                      \
    are_the_findings((const struct board_finding[]){__VA_ARGS__},                                  \
                     sizeof((const struct board_finding[]){__VA_ARGS__}) /                         \
                         sizeof(struct board_finding))

#define GOOD_KERNEL                                                                                \
    {BOARD_OK, "kernel", "Linux 6.12.0", ""}, {BOARD_OK, "seccomp filters", "there", ""},          \
        {BOARD_OK, "pid namespaces", "there", ""}, {BOARD_OK, "user namespaces", "there", ""},     \
        {BOARD_OK, "memory-deny-write-execute", "there", ""}, {BOARD_OK, "kcmp", "there", ""},     \
        {BOARD_OK, "checkpoint/restore", "there", ""}, {BOARD_OK, "cgroup v2", "there", ""},       \
    {                                                                                              \
        BOARD_OK, "Landlock", "there, ABI 9", ""                                                   \
    }
#define FRONTEND                                                                                   \
    {                                                                                              \
        BOARD_NOTE, "frontend",                                                                    \
            "can't be seen from here: a Linux frontend needs CONFIG_DMA_RESTRICTED_POOL=y",        \
            "in the frontend: \"zcat /proc/config.gz | grep DMA_RESTRICTED_POOL\""                 \
    }
#define GOOD_DRIVER                                                                                \
    {                                                                                              \
        BOARD_OK, "dispatcher",                                                                    \
            "/dev/bao-io-dispatcher, generation A or B, of the module bao-iodispatcher", ""        \
    }

static void test_what_is_good_is_told_too(void)
{
    struct board_facts facts = good();
    facts.vhost_net = false;
    judge(&facts, NULL);
    ARE_THE_FINDINGS(
        GOOD_KERNEL, GOOD_DRIVER, {BOARD_OK, "device tree", "it has 2 devices of the driver's", ""},
        {BOARD_OK, "/dev/vhost-vsock", "there", ""},
        {BOARD_NOTE, "/dev/vhost-net", "not there: net with data_plane vhost can't be served",
         "\"modprobe vhost_net\", if you need it"},
        {BOARD_OK, "/dev/net/tun", "there", ""},
        {BOARD_OK, "memory", "500000 KiB are available, of which up to 8192 KiB are needed", ""},
        {BOARD_OK, "processors", "2", ""}, {BOARD_OK, "random numbers", "ready", ""}, FRONTEND);
    facts = good();
    facts.window_count = 1;
    facts.driver.name = NULL;
    facts.memory_available = 0;
    facts.random_ready = false;
    facts.random_device = true;
    tap_flags = IFF_UP;
    judge(&facts, "devices:\n"
                  "- {id: 0, type: net, data_plane: virtio, mmio_addr: 0, tap_name: tap0}\n");
    ARE_THE_FINDINGS(GOOD_KERNEL,
                     {BOARD_OK, "dispatcher",
                      "/dev/bao-io-dispatcher, generation A or B, of the module (built in)", ""},
                     {BOARD_OK, "device tree", "it has 1 device of the driver's", ""},
                     {BOARD_OK, "/dev/net/tun", "there", ""}, {BOARD_OK, "tap", "net 0: tap0", ""},
                     {BOARD_NOTE, "memory", "/proc/meminfo does not tell how much is free", ""},
                     {BOARD_OK, "processors", "2", ""},
                     {BOARD_NOTE, "random numbers",
                      "the kernel has no entropy yet: rng devices wait for it",
                      "a moment's patience: there is /dev/hwrng"},
                     FRONTEND);
}

static void test_what_is_missing_is_told_with_its_cure(void)
{
    struct board_facts facts = good();
    tap_flags = 0;
    facts.window_count = 0;
    facts.tun = facts.random_ready = false;
    facts.memory_available = 12287;
    facts.processors = 1;
    judge(
        &facts,
        "devices:\n"
        "- {id: 0, type: net, data_plane: virtio, mmio_addr: 0, tap_name: tap0}\n"
        "- {id: 1, type: net, data_plane: virtio, mmio_addr: 0x1000, tap_name: tap1, queues: 2}\n");
    ARE_THE_FINDINGS(
        GOOD_KERNEL, GOOD_DRIVER, {BOARD_OK, "device tree", "it has 0 devices of the driver's", ""},
        {BOARD_MISSING, "device tree", "net 0: the ids of the device tree: none",
         "f:2: another id, or one more device in the device tree"},
        {BOARD_MISSING, "/dev/net/tun", "not there", "\"modprobe tun\", of CONFIG_TUN"},
        {BOARD_NOTE, "tap", "net 0: tap0 is down", "\"ip link set tap0 up\""},
        {BOARD_MISSING, "device tree", "net 1: the ids of the device tree: none",
         "f:3: another id, or one more device in the device tree"},
        {BOARD_NOTE, "tap", "net 1: there is no tap1: it will be made, down and without an address",
         "\"ip tuntap add tap1 mode tap multi_queue\", \"ip link set tap1 up\""},
        {BOARD_MISSING, "memory", "12287 KiB are available; 2 devices take up to 12288 KiB",
         "give the backend VM more, or end other programs"},
        {BOARD_NOTE, "processors", "one: a device at full load takes it from all else here",
         "no \"sched: fifo\", and vhost for vsock and net"},
        {BOARD_NOTE, "random numbers", "the kernel has no entropy yet: rng devices wait for it",
         "a driver for the board's generator, or rng-tools"},
        FRONTEND);
    facts.memory_available = 10240; /* just enough for one */
    judge(&facts, VSOCK("0"));
    CU_ASSERT_EQUAL(report.items[report.count - 4].level, BOARD_OK);
    facts.memory_available--;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_EQUAL(report.items[report.count - 4].level, BOARD_MISSING);
}

static void test_files_folders_and_daemons(void)
{
    struct board_facts facts = good();
    const size_t before = 11; /* findings about kernel and driver */
    char yaml[512], words[256];
    put_text("image", "x");
    snprintf(yaml, sizeof(yaml), DEVICE("0", "block", "virtio", "    file_path: %s/image\n"), root);
    judge(&facts, yaml);
    snprintf(words, sizeof(words), "block 0: %s/image", root);
    CU_ASSERT_EQUAL(report.count, before + 5);
    CU_ASSERT_EQUAL(report.items[before].level, BOARD_OK);
    CU_ASSERT_STRING_EQUAL(report.items[before].found, words);
    judge(&facts, DEVICE("0", "block", "virtio", "    file_path: /no/such\n"));
    CU_ASSERT_STRING_EQUAL(report.items[before].found,
                           "block 0: /no/such: No such file or directory");
    CU_ASSERT_STRING_EQUAL(report.items[before].cure, "make it, or name another in file_path");
    /* A folder in / and one that is there need no words; a file is no folder. */
    judge(&facts, DEVICE("0", "console", "virtio", "    log_path: /log\n"));
    CU_ASSERT_EQUAL(report.count, before + 4);
    judge(&facts, DEVICE("0", "console", "virtio", "    log_path: log\n"));
    CU_ASSERT_EQUAL(report.count, before + 4);
    snprintf(yaml, sizeof(yaml), DEVICE("0", "console", "virtio", "    log_path: %s/image/log\n"),
             root);
    judge(&facts, yaml);
    CU_ASSERT_EQUAL(report.count, before + 5);
    snprintf(words, sizeof(words), "console 0: there is no folder %s/image", root);
    CU_ASSERT_STRING_EQUAL(report.items[before].found, words);
    snprintf(words, sizeof(words), "\"mkdir -p %s/image\"", root);
    CU_ASSERT_STRING_EQUAL(report.items[before].cure, words);
    /* The socket of a daemon, by its own name or by that of its folder. */
    put_text("run/Fs0.sock", "");
    for (unsigned int i = 0; i < 2; i++) {
        snprintf(yaml, sizeof(yaml),
                 DEVICE("0", "fs", "vhost_user", "    socket_path: %s/run/%s\n"), root,
                 i == 0 ? "" : "Fs0.sock");
        judge(&facts, yaml);
        snprintf(words, sizeof(words), "fs 0: %s/run/Fs0.sock", root);
        CU_ASSERT_EQUAL(report.items[before].level, BOARD_OK);
        CU_ASSERT_STRING_EQUAL(report.items[before].found, words);
    }
    judge(&facts, DEVICE("0", "fs", "vhost_user", "    socket_path: /tmp/none.sock\n"));
    CU_ASSERT_STRING_EQUAL(report.items[before].found, "fs 0: nobody has made /tmp/none.sock");
    CU_ASSERT_STRING_EQUAL(report.items[before].cure, "start the daemon");
    facts.root_is_initramfs = true;
    judge(&facts, DEVICE("0", "gpu", "vhost_user", "    socket_path: /tmp/none.sock\n"));
    CU_ASSERT_STRING_EQUAL(report.items[before].cure, "start the daemon"); /* no virtiofsd */
}

/* The last item of the array is where those go for which there is no room. */
static void test_the_report_has_an_end(void)
{
    static struct config_diagnostics diagnostics;
    struct board_facts facts = good();
    char yaml[4096] = "devices:\n", tap[] = "no-such-tap";
    facts.is_root = false;
    facts.nodes[0] = (struct generation_node){BAO_C, "/dev/bao-dm0", 0};
    facts.window_count = 0;
    for (unsigned int i = 0; i < 16; i++)
        snprintf(yaml + strlen(yaml), 200,
                 "- {id: %u, type: fs, data_plane: vhost_user, mmio_addr: 0x%u000, socket_path: "
                 "/no%u/such.sock}\n",
                 i, i + 1, i);
    judge(&facts, yaml); /* for each: no node, no window, no folder, no daemon */
    CU_ASSERT_EQUAL(report.count, 12 + 4 * 16 + 4);
    CU_ASSERT_EQUAL_FATAL(config_parse("f", yaml, strlen(yaml), &config, &diagnostics), 0);
    for (unsigned int taps = 14; taps <= 16; taps++) {
        for (unsigned int i = 0; i < taps; i++)
            config.devices[i].tap_name = tap;
        board_judge(&facts, &config, &report);
        CU_ASSERT_EQUAL(report.count, taps == 14 ? 94 : 95);
    }
    for (unsigned int i = 0; i < 16; i++)
        config.devices[i].tap_name = NULL;
    config_free(&config);
}

static void test_kernels_that_are_new_enough(void)
{
    static const struct {
        unsigned int major, minor;
        bool enough;
    } cases[] = {{5, 19, false}, {6, 0, false}, {6, 1, true}, {7, 0, true}};
    for (size_t i = 0; i < 4; i++) {
        struct board_facts facts = good();
        facts.kernel_major = cases[i].major;
        facts.kernel_minor = cases[i].minor;
        judge(&facts, VSOCK("0"));
        CU_ASSERT_EQUAL(report.items[0].level, cases[i].enough ? BOARD_OK : BOARD_MISSING);
        CU_ASSERT_STRING_EQUAL(report.items[0].cure, cases[i].enough ? "" : "Linux 6.1 or newer");
    }
}

static void test_windows_in_each_number_of_cells(void)
{
    static const unsigned char one[] = {0, 0, 0, 1}, two[] = {0, 0, 0, 2}, three[] = {0, 0, 0, 3},
                               none[] = {0, 0, 0, 0}, short_cell[] = {0, 0, 1};
    static const unsigned char reg[] = {0xd0, 1, 2, 3, 0x10, 0, 0, 4, 0xd5, 0, 0, 0, 0, 0x20, 0, 0};
    static const struct {
        const unsigned char *address, *size;
        size_t count;
        uint64_t addr, window;
    } cases[] = {
        {one, one, 2, 0xd0010203, 0x10000004},
        {two, one, 1, 0xd001020310000004, 0xd5000000},
        {one, two, 1, 0xd0010203, 0x10000004d5000000},
        {two, two, 1, 0xd001020310000004, 0xd500000000200000},
        {none, one, 0, 0, 0},
        {three, one, 0, 0, 0},
        {one, three, 0, 0, 0},
        {one, none, 0, 0, 0},
    };
    struct board_facts facts;
    put("tree/proc/device-tree/soc/bao/compatible", "bao,io-dispatcher", 18);
    put("tree/proc/device-tree/soc/bao/reg", reg, sizeof(reg));
    put("tree/proc/device-tree/soc/bao/bao,id", short_cell, 3); /* this is no cell */
    char tree[64];
    snprintf(tree, sizeof(tree), "%s/tree", root);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put("tree/proc/device-tree/soc/#address-cells", cases[i].address, 4);
        put("tree/proc/device-tree/soc/#size-cells", cases[i].size, 4);
        board_facts(tree, &facts);
        CU_ASSERT_TRUE(facts.in_device_tree);
        CU_ASSERT_EQUAL_FATAL(facts.window_count, cases[i].count);
        if (facts.window_count == 0)
            continue;
        CU_ASSERT_EQUAL(facts.windows[0].id, 0);
        CU_ASSERT_EQUAL(facts.windows[0].addr, cases[i].addr);
        CU_ASSERT_EQUAL(facts.windows[0].size, cases[i].window);
    }
}

static bool says(const char *check, const char *words)
{
    for (size_t i = 0; i < report.count; i++) {
        if (strcmp(report.items[i].check, check) == 0 && strstr(report.items[i].found, words))
            return true;
    }
    return false;
}

static void test_numbers(void)
{
    struct board_facts facts = good();
    facts.landlock_abi = 0;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_NOTE, "Landlock", "CONFIG_SECURITY_LANDLOCK"));
    facts.landlock_abi = 1;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(says("Landlock", "there, ABI 1"));
    facts = good();
    facts.kernel_major = 5;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "kernel", "6.1"));
    facts = good();
    facts.memory_available = 4096;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "memory", "4096 KiB"));
    facts = good();
    facts.processors = 1;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_NOTE, "processors", "one"));
}

/* Asked about only if a disk wants one. */
static void test_a_disk_s_ring(void)
{
    struct board_facts facts = good();
    static const char two[] =
        "devices:\n"
        "- {id: 0, type: block, data_plane: virtio, mmio_addr: 0, file_path: /dev/null, io_engine: "
        "io_uring}\n"
        "- {id: 1, type: rng, data_plane: virtio, mmio_addr: 0x1000}\n";
    judge(&facts, VSOCK("0"));
    CU_ASSERT_FALSE(says("io_uring", ""));
    judge(&facts, NULL);
    CU_ASSERT_FALSE(says("io_uring", ""));
    judge(&facts, two);
    CU_ASSERT_TRUE(says("io_uring", "not there: disks can't have io_engine: io_uring"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 2); /* and /dev/null is no disk */
    facts.io_uring = facts.io_uring_forbidden = true;
    judge(&facts, two);
    CU_ASSERT_TRUE(says("io_uring", "forbidden: disks can't have io_engine: io_uring"));
    facts.io_uring_forbidden = false;
    judge(&facts, two);
    CU_ASSERT_TRUE(says("io_uring", "there"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 1);
}

static void test_a_driver_that_is_not_there(void)
{
    struct board_facts facts = good();
    facts.node_count = 0;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "dispatcher", "bao,io-dispatcher"));
    CU_ASSERT_TRUE(says("Landlock", "there, ABI 9"));
    CU_ASSERT_TRUE(says("dispatcher", "no /dev/bao-io-dispatcher, /dev/bao-dm0 or /dev/bao"));
    facts.driver = (struct driver_module){DRIVER_INSTALLED, "iodispatcher"};
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "dispatcher", "modprobe iodispatcher"));
    facts.driver = (struct driver_module){DRIVER_ABSENT, NULL};
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "dispatcher", "published series), on Bao")); /* complete */
    facts = good();
    facts.node_count = 2;
    facts.nodes[1] = (struct generation_node){BAO_C, "/dev/bao-dm3", 1u << 3};
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "dispatcher", "/dev/bao-io-dispatcher and /dev/bao-dm3"));
}

#define TOLD "    guest_cid: 3\n    shmem_addr: 0xd0000000\n    shmem_size: 0x1000000\n"

/* The generation of the driver determines what check-board asks of device tree and configuration.
 */
static void test_each_generation_of_the_driver(void)
{
    struct board_facts facts = good();
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(says("dispatcher", "generation A or B"));
    facts.driver = (struct driver_module){DRIVER_LOADED, "bao"};
    facts.nodes[0] = (struct generation_node){BAO_C, "/dev/bao-dm0", 1u << 0 | 1u << 2};
    facts.windows[1].id = 2;
    judge(&facts, VSOCK("2"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0);
    CU_ASSERT_TRUE(says("dispatcher", "/dev/bao-dm0, generation C, of the module bao"));
    facts.nodes[0].ids = 1u << 0;
    judge(&facts, VSOCK("2"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "dispatcher", "no /dev/bao-dm2"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "dispatcher", "f:2:"));
    facts = good();
    facts.nodes[0] = (struct generation_node){BAO_C, "/dev/bao-dm0", 1};
    facts.in_device_tree = false;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "device tree", "with its \"bao,id\""));
    facts = good();
    facts.in_device_tree = false;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "device tree", "one pair of reg and one interrupt"));

    facts = good();
    facts.nodes[0] = (struct generation_node){BAO_D, "/dev/bao", 0};
    facts.device_tree = facts.in_device_tree = false;
    facts.window_count = 0;
    judge(&facts, DEVICE("7", "vsock", "vhost", TOLD "    irq: 40\n"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0);
    CU_ASSERT_EQUAL(count(BOARD_NOTE), 1); /* the frontend */
    CU_ASSERT_TRUE(says("dispatcher", "/dev/bao, generation D"));
    CU_ASSERT_TRUE(says("device tree", "not needed: with /dev/bao the configuration says it"));
    judge(&facts, DEVICE("7", "vsock", "vhost", "    guest_cid: 3\n    irq: 40\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "window", "shmem_addr, shmem_size and irq"));
    judge(&facts, DEVICE("7", "vsock", "vhost",
                         "    guest_cid: 3\n    irq: 40\n    shmem_size: 0x1000000\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "window", "shmem_addr, shmem_size and irq"));
    judge(&facts, DEVICE("7", "vsock", "vhost",
                         "    guest_cid: 3\n    irq: 40\n    shmem_addr: 0xd0000000\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "window", "shmem_addr, shmem_size and irq"));
    judge(&facts, DEVICE("7", "vsock", "vhost", TOLD));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "window", "shmem_addr, shmem_size and irq"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "window", "in Bao's configuration")); /* complete */
}

static void test_the_device_tree_beside_the_file(void)
{
    struct board_facts facts = good();
    judge(&facts, VSOCK("2"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "device tree", "ids of the device tree: 0, 1"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "device tree", "f:2:"));
    CU_ASSERT_STRING_EQUAL(report.items[11].found, "vsock 2: the ids of the device tree: 0, 1");
    judge(&facts, DEVICE("1", "vsock", "vhost",
                         "    guest_cid: 3\n    shmem_addr: 0xd1000000\n"
                         "    shmem_size: 0x1000000\n"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0);
    judge(&facts,
          DEVICE("1", "vsock", "vhost",
                 "    guest_cid: 3\n    shmem_addr: 0xd1000000\n    shmem_size: 0x10000\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "device tree", "0x1000000 bytes at 0xd1000000"));
    judge(&facts,
          DEVICE("1", "vsock", "vhost",
                 "    guest_cid: 3\n    shmem_addr: 0xd0000000\n    shmem_size: 0x1000000\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "device tree", "0x1000000 bytes at 0xd1000000"));
}

/* As many as fit are named. */
static void test_many_ids_are_cut(void)
{
    struct board_facts facts = good();
    char words[160] = "vsock 2: the ids of the device tree: ";
    const size_t begin = strlen(words);
    facts.window_count = BAO_DEVICES_MAX;
    for (uint32_t i = 0; i < BAO_DEVICES_MAX; i++) {
        facts.windows[i].id = 4000000000u + i;
        if (i < 8)
            snprintf(words + strlen(words), 16, "%s%u", i == 0 ? "" : ", ", 4000000000u + i);
    }
    judge(&facts, VSOCK("2"));
    words[begin + 79] = '\0';
    CU_ASSERT_STRING_EQUAL(report.items[11].found, words);
}

static void test_what_devices_need(void)
{
    struct board_facts facts = good();
    const unsigned int before = fd_count();
    judge(&facts, DEVICE("0", "block", "virtio", "    file_path: /no/such/image\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "file", "/no/such/image"));
    judge(&facts, DEVICE("0", "block", "virtio", "    file_path: /tmp\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "file", "neither a file nor a disk"));
    judge(&facts, DEVICE("0", "net", "virtio", "    tap_name: no-such-tap\n"));
    CU_ASSERT_TRUE(only(BOARD_NOTE, "tap",
                        "\"ip tuntap add no-such-tap mode tap\", \"ip link set no-such-tap up\""));
    CU_ASSERT_EQUAL(fd_count(), before);
    judge(&facts, DEVICE("0", "net", "virtio", "    tap_name: no-such-tap\n    queues: 1\n"));
    CU_ASSERT_TRUE(only(BOARD_NOTE, "tap", "add no-such-tap mode tap\", "));
    judge(&facts, DEVICE("0", "input", "virtio", "    device_path: /dev/null\n"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0); /* no file, and no disk */
    CU_ASSERT_TRUE(says("file", "input 0: /dev/null"));
    judge(&facts, DEVICE("0", "console", "virtio", "    log_path: /no/such/log\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "folder", "mkdir -p /no/such"));
    facts.root_is_initramfs = true;
    judge(&facts, DEVICE("0", "fs", "vhost_user", "    socket_path: /tmp/none.sock\n"));
    CU_ASSERT_TRUE(only(BOARD_NOTE, "daemon", "--sandbox=chroot"));
    facts.tun = false;
    judge(&facts, DEVICE("0", "rng", "virtio", ""));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0); /* nobody needs it */
}

static void test_facts_are_read(void)
{
    static const unsigned char reg[] = {0, 0, 0, 0, 0xd0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
                                        0, 0, 0, 8, 0xd1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0};
    static const unsigned char two[] = {0, 0, 0, 2};
    struct board_facts facts;
    board_facts(root, &facts);
    CU_ASSERT_FALSE(facts.device_tree || facts.node_count || facts.tun || facts.cgroup2 ||
                    facts.user_namespaces || facts.checkpoint_restore || facts.root_is_initramfs);
    CU_ASSERT_EQUAL(facts.memory_available, 0);
    CU_ASSERT_EQUAL(facts.driver.state, DRIVER_ABSENT);

    put("proc/device-tree/compatible", "board\0", 6);
    put("proc/device-tree/#address-cells", two, 4);
    put("proc/device-tree/#size-cells", two, 4);
    put("proc/device-tree/bao-io-dispatcher@d0000000/compatible", "other\0bao,io-dispatcher\0", 24);
    put("proc/device-tree/bao-io-dispatcher@d0000000/reg", reg, sizeof(reg));
    put_text("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   123456 kB\n");
    put_text("proc/self/mounts", "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n");
    put_text("proc/self/ns/user", "");
    put_text("proc/self/ns/pid", "");
    put_text("proc/sys/user/max_user_namespaces", "15000\n");
    put_text("proc/sys/kernel/ns_last_pid", "1\n");
    put_text("sys/fs/cgroup/cgroup.controllers", "memory pids\n");
    put_text("sys/module/iodispatcher/refcnt", "0\n");
    put_text("dev/bao-io-dispatcher", "");
    put_text("dev/net/tun", "");
    board_facts(root, &facts);
    CU_ASSERT_TRUE(facts.device_tree && facts.in_device_tree && facts.node_count == 1 &&
                   facts.tun && facts.cgroup2 && facts.user_namespaces && facts.pid_namespaces &&
                   facts.checkpoint_restore && facts.root_is_initramfs);
    CU_ASSERT_FALSE(facts.vhost_vsock || facts.vhost_net);
    CU_ASSERT_EQUAL(facts.window_count, 2);
    CU_ASSERT_EQUAL(facts.nodes[0].generation, BAO_A);
    CU_ASSERT_EQUAL(facts.windows[0].addr, 0xd0000000);
    CU_ASSERT_EQUAL(facts.windows[0].size, 0x1000000);
    CU_ASSERT_EQUAL(facts.windows[1].addr, 0x8d1000000);
    CU_ASSERT_EQUAL(facts.windows[1].size, 0x2000000);
    CU_ASSERT_EQUAL(facts.memory_available, 123456);
    CU_ASSERT_STRING_EQUAL(facts.driver.name, "iodispatcher");

    put_text("proc/sys/user/max_user_namespaces", "0\n");
    put_text("proc/self/mounts", "rootfs / rootfs rw 0 0\n/dev/vda / ext4 rw 0 0\n");
    board_facts(root, &facts);
    CU_ASSERT_FALSE(facts.user_namespaces || facts.root_is_initramfs);
}

static const struct board_window *window(const struct board_facts *facts, uint32_t id)
{
    for (size_t i = 0; i < facts->window_count; i++) {
        if (facts->windows[i].id == id)
            return &facts->windows[i];
    }
    return NULL;
}

/* After the facts above, with the same files. */
static void test_facts_of_each_generation(void)
{
    static const unsigned char reg[] = {0, 0, 0, 0, 0xd5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
    static const unsigned char five[] = {0, 0, 0, 5};
    struct board_facts facts;
    put("proc/device-tree/bao@d5000000/compatible", "bao,io-dispatcher", 18);
    put("proc/device-tree/bao@d5000000/reg", reg, sizeof(reg));
    put("proc/device-tree/bao@d5000000/bao,id", five, sizeof(five));
    put_text("dev/bao-dm5", "");
    put_text("dev/bao-dm12", "");
    put_text("dev/bao-dm16", ""); /* no device has such an id */
    board_facts(root, &facts);
    CU_ASSERT_EQUAL(facts.window_count, 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(window(&facts, 5));
    CU_ASSERT_EQUAL(window(&facts, 5)->addr, 0xd5000000);
    CU_ASSERT_EQUAL_FATAL(facts.node_count, 2);
    CU_ASSERT_EQUAL(facts.nodes[0].generation, BAO_A);
    CU_ASSERT_EQUAL(facts.nodes[1].generation, BAO_C);
    CU_ASSERT_STRING_EQUAL(facts.nodes[1].path, "/dev/bao-dm5");
    CU_ASSERT_EQUAL(facts.nodes[1].ids, 1u << 5 | 1u << 12);
    put_text("dev/bao/folder", ""); /* a folder is no node */
    board_facts(root, &facts);
    CU_ASSERT_EQUAL(facts.node_count, 2);
}

/* A driver whose only node is /dev/bao. */
static void test_facts_of_the_newest_generation(void)
{
    char newest[] = "/tmp/board-XXXXXX", path[64];
    struct board_facts facts;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(newest));
    snprintf(path, sizeof(path), "%s/dev", newest);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/dev/bao", newest);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fclose(file);
    board_facts(newest, &facts);
    CU_ASSERT_EQUAL(facts.node_count, 1);
    CU_ASSERT_EQUAL(facts.nodes[0].generation, BAO_D);
    unlink(path);
    snprintf(path, sizeof(path), "%s/dev", newest);
    rmdir(path);
    rmdir(newest);
}

int main(int argc, char **argv)
{
    char command[64];
    if (!mkdtemp(root))
        return EXIT_FAILURE;
    tap_flags = -1;
    a_good_kernel();
    CU_TestInfo tests[] = {
        {"a good machine", test_a_good_machine},
        {"each lack is one line with its cure", test_each_lack_is_one_line_with_its_cure},
        {"numbers", test_numbers},
        {"the kernel is asked", test_the_kernel_is_asked},
        {"what is good is told, too", test_what_is_good_is_told_too},
        {"what is missing is told", test_what_is_missing_is_told_with_its_cure},
        {"files, folders and daemons", test_files_folders_and_daemons},
        {"the report has an end", test_the_report_has_an_end},
        {"kernels that are new enough", test_kernels_that_are_new_enough},
        {"windows in each number of cells", test_windows_in_each_number_of_cells},
        {"numbers of the kernel", test_numbers_of_the_kernel},
        {"windows in the usual cells", test_windows_in_the_usual_cells},
        {"no more windows than there can be", test_no_more_windows_than_there_can_be},
        {"nodes that are not the driver's", test_other_nodes_are_not_the_driver_s},
        {"a disk's ring", test_a_disk_s_ring},
        {"many ids are cut", test_many_ids_are_cut},
        {"a driver that is not there", test_a_driver_that_is_not_there},
        {"each generation of the driver", test_each_generation_of_the_driver},
        {"the device tree beside the file", test_the_device_tree_beside_the_file},
        {"what devices need", test_what_devices_need},
        {"facts are read", test_facts_are_read},
        {"facts of each generation", test_facts_of_each_generation},
        {"facts of the newest generation", test_facts_of_the_newest_generation},
        CU_TEST_INFO_NULL,
    };
    int status = run_tests(argc, argv, "board", tests);
    snprintf(command, sizeof(command), "rm -r %s", root);
    return system(command) == 0 ? status : EXIT_FAILURE;
}
