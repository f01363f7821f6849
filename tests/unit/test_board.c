/* SPDX-License-Identifier: Apache-2.0 */
/* bao-dmctl check-board finds what a backend VM lacks, and says nothing against what it has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/dmctl/board.h"
#include "tests/cunit_main.h"

static char root[] = "/tmp/board-XXXXXX";

static void put(const char *path, const void *bytes, size_t length)
{
    char name[512];
    snprintf(name, sizeof(name), "%s/%s", root, path);
    for (char *slash = strchr(name + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(name, 0700);
        *slash = '/';
    }
    FILE *file = fopen(name, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

static void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text));
}

/* A machine that has everything that check-board looks for. */
static struct board_facts good(void)
{
    return (struct board_facts){
        .kernel_major = 6,
        .kernel_minor = 12,
        .release = "6.12.0",
        .is_root = true,
        .seccomp = true,
        .landlock_abi = 9,
        .deny_write_execute = true,
        .kcmp = true,
        .checkpoint_restore = true,
        .cgroup2 = true,
        .pid_namespaces = true,
        .user_namespaces = true,
        .node_count = 1,
        .nodes = {{BAO_A, BAO_DISPATCHER_NODE, 0}},
        .vhost_vsock = true,
        .vhost_net = true,
        .tun = true,
        .driver = {DRIVER_LOADED, "bao-iodispatcher"},
        .device_tree = true,
        .in_device_tree = true,
        .window_count = 2,
        .windows = {{0, 0xd0000000, 0x1000000}, {1, 0xd1000000, 0x1000000}},
        .random_ready = true,
        .memory_available = 500000,
        .processors = 2,
    };
}

static struct config config;
static struct board_report report;

static void judge(const struct board_facts *facts, const char *yaml)
{
    static struct config_diagnostics diagnostics;
    if (yaml)
        CU_ASSERT_EQUAL_FATAL(config_parse("f", yaml, strlen(yaml), &config, &diagnostics), 0);
    board_judge(facts, yaml ? &config : NULL, &report);
    if (yaml)
        config_free(&config);
}

static size_t count(enum board_level level)
{
    size_t found = 0;
    for (size_t i = 0; i < report.count; i++)
        found += report.items[i].level == level;
    return found;
}

/* Asserts that there is exactly one finding of the level, with these words, besides the one about
 * the frontend. */
static bool only(enum board_level level, const char *check, const char *words)
{
    const struct board_finding *item = NULL;
    for (size_t i = 0; i < report.count; i++) {
        if (report.items[i].level != BOARD_OK && strcmp(report.items[i].check, "frontend") != 0) {
            if (item || report.items[i].level != level)
                return false;
            item = &report.items[i];
        }
    }
    return item && strcmp(item->check, check) == 0 &&
           (strstr(item->cure, words) || strstr(item->found, words)) && item->cure[0] != '\0';
}

#define DEVICE(id, type, plane, more)                                                              \
    "devices:\n  - id: " id "\n    type: " type "\n    data_plane: " plane                         \
    "\n    mmio_addr: 0xa003e00\n" more
#define VSOCK(id) DEVICE(id, "vsock", "vhost", "    guest_cid: 3\n")

static void test_a_good_machine(void)
{
    struct board_facts facts = good();
    judge(&facts, NULL);
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0);
    CU_ASSERT_EQUAL(count(BOARD_NOTE), 1); /* the frontend */
    judge(&facts, VSOCK("1"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0);
    CU_ASSERT_EQUAL(count(BOARD_NOTE), 1);
}

static void test_each_lack_is_one_line_with_its_cure(void)
{
    static const struct {
        size_t offset;
        enum board_level level;
        const char *check, *words;
    } lacks[] = {
#define LACK(field, level, check, words) {offsetof(struct board_facts, field), level, check, words}
        LACK(seccomp, BOARD_MISSING, "seccomp filters", "CONFIG_SECCOMP_FILTER"),
        LACK(pid_namespaces, BOARD_MISSING, "pid namespaces", "CONFIG_PID_NS"),
        LACK(user_namespaces, BOARD_NOTE, "user namespaces", "CONFIG_USER_NS"),
        LACK(deny_write_execute, BOARD_NOTE, "memory-deny-write-execute", "6.3"),
        LACK(kcmp, BOARD_NOTE, "kcmp", "CONFIG_KCMP"),
        LACK(checkpoint_restore, BOARD_NOTE, "checkpoint/restore", "CONFIG_CHECKPOINT_RESTORE"),
        LACK(cgroup2, BOARD_NOTE, "cgroup v2", "CONFIG_CGROUPS"),
        LACK(is_root, BOARD_NOTE, "user", "root"),
        LACK(device_tree, BOARD_NOTE, "device tree", "CONFIG_OF"),
        LACK(in_device_tree, BOARD_MISSING, "device tree", "remio_devs"),
        LACK(vhost_vsock, BOARD_MISSING, "/dev/vhost-vsock", "modprobe vhost_vsock"),
        LACK(random_ready, BOARD_NOTE, "random numbers", "rng-tools"),
#undef LACK
    };
    for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
        struct board_facts facts = good();
        *(bool *)((char *)&facts + lacks[i].offset) = false;
        judge(&facts, VSOCK("0"));
        bool found = only(lacks[i].level, lacks[i].check, lacks[i].words);
        if (!found)
            fprintf(stderr, "\nnot found: %s\n", lacks[i].check);
        CU_ASSERT_TRUE(found);
    }
}

static void test_numbers(void)
{
    struct board_facts facts = good();
    facts.landlock_abi = 0;
    judge(&facts, VSOCK("0"));
    CU_ASSERT_TRUE(only(BOARD_NOTE, "Landlock", "CONFIG_SECURITY_LANDLOCK"));
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
    facts = good();
}

static bool says(const char *check, const char *words)
{
    for (size_t i = 0; i < report.count; i++) {
        if (strcmp(report.items[i].check, check) == 0 && strstr(report.items[i].found, words))
            return true;
    }
    return false;
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
    facts.nodes[0] = (struct generation_node){BAO_D, "/dev/bao", 0};
    facts.device_tree = facts.in_device_tree = false;
    facts.window_count = 0;
    judge(&facts, DEVICE("7", "vsock", "vhost", TOLD "    irq: 40\n"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0);
    CU_ASSERT_EQUAL(count(BOARD_NOTE), 1); /* the frontend */
    CU_ASSERT_TRUE(says("dispatcher", "/dev/bao, generation D"));
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
    judge(&facts, DEVICE("1", "vsock", "vhost",
                         "    guest_cid: 3\n    shmem_addr: 0xd1000000\n"
                         "    shmem_size: 0x1000000\n"));
    CU_ASSERT_EQUAL(count(BOARD_MISSING), 0);
    judge(&facts,
          DEVICE("1", "vsock", "vhost",
                 "    guest_cid: 3\n    shmem_addr: 0xd1000000\n    shmem_size: 0x10000\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "device tree", "0x1000000 bytes at 0xd1000000"));
}

static void test_what_devices_need(void)
{
    struct board_facts facts = good();
    judge(&facts, DEVICE("0", "block", "virtio", "    file_path: /no/such/image\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "file", "/no/such/image"));
    judge(&facts, DEVICE("0", "block", "virtio", "    file_path: /tmp\n"));
    CU_ASSERT_TRUE(only(BOARD_MISSING, "file", "neither a file nor a disk"));
    judge(&facts, DEVICE("0", "net", "virtio", "    tap_name: no-such-tap\n"));
    CU_ASSERT_TRUE(only(BOARD_NOTE, "tap", "ip tuntap add no-such-tap mode tap"));
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
    CU_TestInfo tests[] = {
        {"a good machine", test_a_good_machine},
        {"each lack is one line with its cure", test_each_lack_is_one_line_with_its_cure},
        {"numbers", test_numbers},
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
