/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "broker/dmctl/board.h"
#include "broker/initramfs.h"
#include "common/confine.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66 /* Linux 6.3 */
#endif

/* ---- Files ---- */

static bool is_there(const char *root, const char *path)
{
    char name[PATH_MAX];
    snprintf(name, sizeof(name), "%s%s", root, path);
    return access(name, F_OK) == 0;
}

/* Reads up to `size` bytes. Returns how many; 0 if there is no such file. */
static size_t read_file(const char *path, void *ret, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(ret, 1, size, file) : 0;
    if (file)
        fclose(file);
    return length;
}

/* The number that a file of the kernel's begins with; 0 if there is no such file. */
static unsigned long number_in(const char *root, const char *path)
{
    char name[PATH_MAX];
    unsigned long number;
    snprintf(name, sizeof(name), "%s%s", root, path);
    FILE *file = fopen(name, "re");
    if (!file)
        return 0;
    bool is_number = fscanf(file, "%lu", &number) == 1;
    fclose(file);
    return is_number ? number : 0;
}

/* ---- The kernel ---- */

static void ask_kernel(struct board_facts *ret)
{
    const uint32_t kill_process = SECCOMP_RET_KILL_PROCESS;
    pid_t self = getpid();
    ret->seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill_process) == 0;
    int abi = confine_landlock_abi();
    ret->landlock_abi = abi > 0 ? (unsigned int)abi : 0;
    ret->deny_write_execute = prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0;
    ret->kcmp = syscall(SYS_kcmp, self, self, 0 /* KCMP_FILE */, 0, 0) >= 0 || errno != ENOSYS;
    ret->is_root = geteuid() == 0;
    ret->io_uring = syscall(SYS_io_uring_setup, 0, NULL) >= 0 || errno != ENOSYS;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    ret->processors = processors > 0 ? (unsigned int)processors : 1;
    char byte;
    ret->random_ready = getrandom(&byte, 1, GRND_NONBLOCK) == 1;
}

static void look_at_proc(const char *root, struct board_facts *ret)
{
    ret->user_namespaces = is_there(root, "/proc/self/ns/user") &&
                           number_in(root, "/proc/sys/user/max_user_namespaces") > 0;
    ret->pid_namespaces = is_there(root, "/proc/self/ns/pid");
    /* Linux 6.6. 1: not root, as the workers start */
    ret->io_uring_forbidden = number_in(root, "/proc/sys/kernel/io_uring_disabled") == 2;
    /* Only this option makes the file. */
    ret->checkpoint_restore = is_there(root, "/proc/sys/kernel/ns_last_pid");
    ret->cgroup2 = is_there(root, "/sys/fs/cgroup/cgroup.controllers");
    ret->random_device = is_there(root, "/dev/hwrng");
}

static void look_at_memory(const char *root, struct board_facts *ret)
{
    char path[PATH_MAX], line[128];
    unsigned long kib;
    snprintf(path, sizeof(path), "%s/proc/meminfo", root);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "MemAvailable: %lu kB", &kib) == 1)
            ret->memory_available = kib;
    }
    if (file)
        fclose(file);
}

/* ---- The device tree ---- */

static struct board_facts *visited; /* the facts that `visit` fills in; nftw passes no context */

static uint64_t cells_value(const uint8_t *at, size_t cells)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 4 * cells; i++)
        value = value << 8 | at[i];
    return value;
}

/* The value of a property of one cell, or `otherwise`. `node` ends with a slash. */
static size_t cell(const char *node, const char *name, size_t otherwise)
{
    char path[PATH_MAX + 32];
    uint8_t value[4];
    snprintf(path, sizeof(path), "%s%s", node, name);
    return read_file(path, value, sizeof(value)) == sizeof(value) ? (size_t)cells_value(value, 1)
                                                                  : otherwise;
}

/* Each pair in reg is one device. The ids count up from the node's "bao,id", or from 0 without
 * it. */
static void add_windows(const char *node, struct board_facts *ret)
{
    char path[PATH_MAX + 16];
    uint8_t reg[BAO_DEVICES_MAX * 16];
    /* The node's parent says how many cells an address and a size have. */
    size_t address = cell(node, "../#address-cells", 2), size = cell(node, "../#size-cells", 1);
    if (address < 1 || address > 2 || size < 1 || size > 2)
        return;
    snprintf(path, sizeof(path), "%sreg", node);
    size_t length = read_file(path, reg, sizeof(reg)), row = 4 * (address + size);
    size_t id = cell(node, "bao,id", 0);
    for (size_t at = 0; at + row <= length && ret->window_count < BAO_DEVICES_MAX; at += row)
        ret->windows[ret->window_count++] =
            (struct board_window){(uint32_t)id++, cells_value(reg + at, address),
                                  cells_value(reg + at + 4 * address, size)};
}

/* Is it one of the words in a file? Each ends with a 0. */
static bool has_word(const char *path, const char *wanted)
{
    char *word = NULL;
    size_t room = 0;
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && getdelim(&word, &room, '\0', file) > 0)
        found = strcmp(word, wanted) == 0;
    if (file)
        fclose(file);
    free(word);
    return found;
}

static int visit(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    char node[PATH_MAX];
    (void)status;
    if (kind != FTW_F || strcmp(path + where->base, "compatible") != 0 ||
        !has_word(path, "bao,io-dispatcher"))
        return 0;
    visited->in_device_tree = true;
    snprintf(node, sizeof(node), "%.*s", where->base, path);
    add_windows(node, visited);
    return 0;
}

static void look_at_device_tree(const char *root, struct board_facts *ret)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/proc/device-tree/", root); /* this link needs the slash */
    ret->device_tree = access(path, F_OK) == 0;
    visited = ret;
    if (ret->device_tree)
        (void)nftw(path, visit, 8, FTW_PHYS);
}

/* ---- All ---- */

void board_facts(const char *root, struct board_facts *ret)
{
    struct utsname kernel;
    *ret = (struct board_facts){0};
    if (uname(&kernel) == 0) {
        snprintf(ret->release, sizeof(ret->release), "%.64s", kernel.release);
        (void)sscanf(kernel.release, "%u.%u", &ret->kernel_major, &ret->kernel_minor);
    }
    ask_kernel(ret);
    look_at_proc(root, ret);
    look_at_memory(root, ret);
    ret->root_is_initramfs = root_is_initramfs(root);
    ret->node_count = generations_find(root, ret->nodes);
    ret->vhost_vsock = is_there(root, "/dev/vhost-vsock");
    ret->vhost_net = is_there(root, "/dev/vhost-net");
    ret->tun = is_there(root, "/dev/net/tun");
    ret->driver = driver_module_find(root);
    look_at_device_tree(root, ret);
}
