/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_board.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_BOARD_UNDER_TEST_H
#define TESTS_UNIT_BOARD_UNDER_TEST_H

#include <errno.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/dmctl/board.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"

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
    memset(&report, 0, sizeof(report));
    report.count = 5; /* of an earlier report */
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

/* ---- The kernel's answers ---- */

static short tap_flags; /* of the interface tap0; -1: there is none */
static uid_t user;
static int mdwe_error, kcmp_error, seccomp_error, io_uring_error;
static long landlock; /* its ABI; 0: the kernel has none */
static long processors;
static ssize_t random_bytes;

int __wrap_ioctl(int fd, unsigned long request, ...);
uid_t __wrap_geteuid(void);
int __wrap_prctl(int option, ...);
long __wrap_syscall(long number, ...);
long __wrap_sysconf(int name);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned int flags);
long __real_sysconf(int name);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    struct ifreq *it = va_arg(arguments, struct ifreq *);
    va_end(arguments);
    CU_ASSERT(fd >= 0);
    CU_ASSERT_EQUAL(request, SIOCGIFFLAGS);
    errno = ENODEV;
    if (tap_flags < 0 || strcmp(it->ifr_name, "tap0") != 0)
        return -1;
    it->ifr_flags = tap_flags;
    return 0;
}

uid_t __wrap_geteuid(void)
{
    return user;
}

int __wrap_prctl(int option, ...)
{
    va_list arguments;
    va_start(arguments, option);
    CU_ASSERT_EQUAL(option, 66); /* PR_GET_MDWE */
    for (unsigned int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(va_arg(arguments, int), 0); /* the kernel refuses others */
    va_end(arguments);
    errno = mdwe_error;
    return mdwe_error ? -1 : 0;
}

long __wrap_syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    long first = va_arg(arguments, long), second = va_arg(arguments, long);
    const void *third = number == SYS_io_uring_setup ? NULL : va_arg(arguments, const void *);
    int error = ENOSYS;
    if (number == SYS_kcmp) {
        CU_ASSERT((pid_t)first == getpid() && (pid_t)second == getpid() && !third);
        CU_ASSERT_EQUAL(va_arg(arguments, int), 0); /* two files that are open */
        CU_ASSERT_EQUAL(va_arg(arguments, int), 0);
        error = kcmp_error;
    }
    va_end(arguments);
    if (number == SYS_io_uring_setup) {
        CU_ASSERT((int)first == 0 && second == 0); /* none is made */
        error = io_uring_error;
    }
    if (number == SYS_landlock_create_ruleset && landlock > 0)
        return landlock;
    if (number == SYS_seccomp) {
        error = seccomp_error;
        CU_ASSERT_EQUAL(first, SECCOMP_GET_ACTION_AVAIL);
        CU_ASSERT_EQUAL(second, 0);
        CU_ASSERT_EQUAL(*(const uint32_t *)third, SECCOMP_RET_KILL_PROCESS);
    }
    errno = error ? error : ENOSYS; /* success says nothing about it */
    return error ? -1 : 0;
}

long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN ? processors : __real_sysconf(name);
}

ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned int flags)
{
    CU_ASSERT(buffer && size == 1 && flags != 0);
    return random_bytes;
}

static void a_good_kernel(void)
{
    user = 0;
    mdwe_error = kcmp_error = seccomp_error = io_uring_error = 0;
    landlock = 0;
    processors = 3;
    random_bytes = 1;
}

static void test_the_kernel_is_asked(void)
{
    struct board_facts facts;
    char tree[64];
    snprintf(tree, sizeof(tree), "%s/kernel", root);
    a_good_kernel();
    put_text("kernel/proc/self/mounts", "rootfs / rootfs rw 0 0\n");
    put_text("kernel/proc/meminfo", "MemTotal: 9 kB\n");
    put_text("kernel/proc/sys/kernel/io_uring_disabled", "1\n");
    put_text("kernel/proc/device-tree/dispatcher/compatible", "bao,io-dispatcher");
    put_text("kernel/proc/device-tree/dispatcher/reg", "");
    const unsigned int before = fd_count();
    board_facts(tree, &facts);
    CU_ASSERT(facts.is_root && facts.deny_write_execute && facts.kcmp && facts.seccomp);
    CU_ASSERT(facts.io_uring && facts.in_device_tree && facts.window_count == 0);
    CU_ASSERT(facts.random_ready && facts.processors == 3);
    CU_ASSERT_EQUAL(facts.landlock_abi, 0); /* ENOSYS */
    CU_ASSERT(facts.kernel_major >= 4 && facts.release[0] != '\0');
    CU_ASSERT_EQUAL(fd_count(), before);
    user = 1000;
    mdwe_error = EINVAL;
    kcmp_error = EPERM; /* it is there, and does not let us */
    io_uring_error = EFAULT;
    landlock = 1;
    processors = -1;
    random_bytes = -1;
    board_facts(tree, &facts);
    CU_ASSERT(!facts.is_root && !facts.deny_write_execute && facts.kcmp && facts.seccomp);
    CU_ASSERT(!facts.random_ready && facts.processors == 1);
    CU_ASSERT(facts.io_uring && facts.landlock_abi == 1);
    kcmp_error = io_uring_error = ENOSYS;
    seccomp_error = EOPNOTSUPP;
    processors = 0;
    board_facts(tree, &facts);
    CU_ASSERT(!facts.kcmp && !facts.seccomp && !facts.io_uring && facts.processors == 1);
    a_good_kernel();
}

static void facts_below(const char *folder, struct board_facts *ret)
{
    char tree[64];
    snprintf(tree, sizeof(tree), "%s/%s", root, folder);
    memset(ret, 0x55, sizeof(*ret)); /* of an earlier look */
    board_facts(tree, ret);
}

static void test_numbers_of_the_kernel(void)
{
    struct board_facts facts;
    put_text("numbers/proc/self/ns/user", "");
    facts_below("numbers", &facts);
    CU_ASSERT(!facts.user_namespaces && !facts.io_uring_forbidden && !facts.random_device);
    CU_ASSERT(!facts.vhost_vsock && !facts.vhost_net && !facts.pid_namespaces);
    put_text("numbers/proc/sys/user/max_user_namespaces", "none\n");
    facts_below("numbers", &facts);
    CU_ASSERT_FALSE(facts.user_namespaces);
    put_text("numbers/proc/sys/user/max_user_namespaces", "1\n");
    put_text("numbers/dev/hwrng", "");
    put_text("numbers/dev/vhost-vsock", "");
    put_text("numbers/dev/vhost-net", "");
    for (unsigned int i = 0; i < 4; i++) {
        char number[] = "0\n";
        number[0] = (char)('0' + i);
        put_text("numbers/proc/sys/kernel/io_uring_disabled", number);
        facts_below("numbers", &facts);
        CU_ASSERT_EQUAL(facts.io_uring_forbidden, i == 2); /* 1: only root may */
    }
    CU_ASSERT(facts.user_namespaces && facts.random_device && facts.vhost_vsock && facts.vhost_net);
}

/* Without a word about cells, an address has two, and a size has one. */
static void test_windows_in_the_usual_cells(void)
{
    static const unsigned char reg[] = {0, 0, 0, 1, 0xd0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0};
    struct board_facts facts;
    put_text("usual/proc/device-tree/bao/compatible", "bao,io-dispatcher");
    put("usual/proc/device-tree/bao/reg", reg, sizeof(reg));
    facts_below("usual", &facts);
    CU_ASSERT_EQUAL_FATAL(facts.window_count, 1);
    CU_ASSERT_EQUAL(facts.windows[0].id, 0);
    CU_ASSERT_EQUAL(facts.windows[0].addr, 0x1d0000000);
    CU_ASSERT_EQUAL(facts.windows[0].size, 0x200000);
}

static void test_no_more_windows_than_there_can_be(void)
{
    static const unsigned char one[] = {0, 0, 0, 1};
    unsigned char reg[(BAO_DEVICES_MAX + 1) * 8] = {0};
    struct board_facts facts;
    for (size_t i = 0; i <= BAO_DEVICES_MAX; i++)
        reg[8 * i + 3] = (unsigned char)i;
    put_text("many/proc/device-tree/bao/compatible", "bao,io-dispatcher");
    put("many/proc/device-tree/bao/reg", reg, sizeof(reg));
    put("many/proc/device-tree/#address-cells", one, sizeof(one));
    put("many/proc/device-tree/#size-cells", one, sizeof(one));
    facts_below("many", &facts);
    CU_ASSERT_EQUAL_FATAL(facts.window_count, BAO_DEVICES_MAX);
    CU_ASSERT_EQUAL(facts.windows[BAO_DEVICES_MAX - 1].id, BAO_DEVICES_MAX - 1);
    CU_ASSERT_EQUAL(facts.windows[BAO_DEVICES_MAX - 1].addr, BAO_DEVICES_MAX - 1);
}

/* Only a node's "compatible" says whose it is, in one of its words. */
static void test_other_nodes_are_not_the_driver_s(void)
{
    static const char long_list[] = "a,long-name\0bao,io-dispatcher-2\0bao,io-dispatche";
    char words[400];
    struct board_facts facts;
    put_text("others/proc/device-tree/a/model", "bao,io-dispatcher");
    put_text("others/proc/device-tree/a/compatible/file", "bao,io-dispatcher");
    put("others/proc/device-tree/b/compatible", long_list, sizeof(long_list));
    facts_below("others", &facts);
    CU_ASSERT(facts.device_tree && !facts.in_device_tree);
    memset(words, 'w', sizeof(words));
    memcpy(words + 299, "\0\0bao,io-dispatcher", 20);
    put("others/proc/device-tree/c/compatible", words, sizeof(words));
    facts_below("others", &facts);
    CU_ASSERT_TRUE(facts.in_device_tree);
}

#endif
