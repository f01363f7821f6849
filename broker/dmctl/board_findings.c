/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/virtio_ids.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config/names.h"
#include "broker/dmctl/board.h"

/* Private memory, measured by tests/bench, with a margin: keeper and broker together, and one
 * worker. */
#define MEMORY_BASE_KIB 8192u
#define MEMORY_DEVICE_KIB 2048u

static struct board_finding *add(struct board_report *report, enum board_level level,
                                 const char *check, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static struct board_finding *add(struct board_report *report, enum board_level level,
                                 const char *check, const char *format, ...)
{
    struct board_finding *item = &report->items[report->count];
    va_list args;
    if (report->count + 1 < BOARD_FINDINGS_MAX)
        report->count++;
    *item = (struct board_finding){.level = level, .check = check};
    va_start(args, format);
    vsnprintf(item->found, sizeof(item->found), format, args);
    va_end(args);
    return item;
}

static void cure(struct board_finding *item, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void cure(struct board_finding *item, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(item->cure, sizeof(item->cure), format, args);
    va_end(args);
}

/* ---- The kernel ---- */

struct option {
    const char *check;
    bool present;
    enum board_level level; /* if it is missing */
    const char *lost, *cure;
};

static void judge_options(const struct board_facts *facts, struct board_report *report)
{
    const struct option options[] = {
        {"seccomp filters", facts->seccomp, BOARD_MISSING, "no worker starts without",
         "CONFIG_SECCOMP=y, CONFIG_SECCOMP_FILTER=y"},
        {"pid namespaces", facts->pid_namespaces, BOARD_MISSING, "no worker starts without",
         "CONFIG_NAMESPACES=y, CONFIG_PID_NS=y, CONFIG_NET_NS=y, CONFIG_IPC_NS=y, CONFIG_UTS_NS=y"},
        {"user namespaces", facts->user_namespaces, BOARD_NOTE,
         "workers go without this layer of confinement",
         "CONFIG_USER_NS=y, and /proc/sys/user/max_user_namespaces above 0"},
        {"memory-deny-write-execute", facts->deny_write_execute, BOARD_NOTE,
         "workers go without this layer of confinement", "Linux 6.3 or newer"},
        {"kcmp", facts->kcmp, BOARD_NOTE,
         "audits can't compare files, and systemd keeps but one eventfd of each device",
         "CONFIG_KCMP=y"},
        {"checkpoint/restore", facts->checkpoint_restore, BOARD_NOTE,
         "audits can't read the filters that are loaded, only whether there are any",
         "CONFIG_CHECKPOINT_RESTORE=y"},
        {"cgroup v2", facts->cgroup2, BOARD_NOTE,
         "workers go without bounds of memory and processes",
         "CONFIG_CGROUPS=y, CONFIG_MEMCG=y, CONFIG_CGROUP_PIDS=y, and cgroup2 mounted at "
         "/sys/fs/cgroup"},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const struct option *option = &options[i];
        if (option->present) {
            add(report, BOARD_OK, option->check, "there");
            continue;
        }
        cure(add(report, option->level, option->check, "not there: %s", option->lost), "%s",
             option->cure);
    }
}

static void judge_landlock(const struct board_facts *facts, struct board_report *report)
{
    if (facts->landlock_abi != 0)
        add(report, BOARD_OK, "Landlock", "there, ABI %u", facts->landlock_abi);
    else
        cure(add(report, BOARD_NOTE, "Landlock",
                 "not there: the processes go without this layer of confinement"),
             "CONFIG_SECURITY_LANDLOCK=y, and landlock in CONFIG_LSM or lsm=");
}

/* If a device of the configuration wants one. */
static void judge_ring(const struct board_facts *facts, struct board_report *report)
{
    if (!facts->io_uring)
        cure(add(report, BOARD_MISSING, "io_uring",
                 "not there: disks can't have io_engine: io_uring"),
             "CONFIG_IO_URING=y, or io_engine: sync");
    else if (facts->io_uring_forbidden)
        cure(add(report, BOARD_MISSING, "io_uring",
                 "forbidden: disks can't have io_engine: io_uring"),
             "\"sysctl kernel.io_uring_disabled=1\", or io_engine: sync");
    else
        add(report, BOARD_OK, "io_uring", "there");
}

static void judge_kernel(const struct board_facts *facts, struct board_report *report)
{
    bool enough = facts->kernel_major > 6 || (facts->kernel_major == 6 && facts->kernel_minor >= 1);
    struct board_finding *item =
        add(report, enough ? BOARD_OK : BOARD_MISSING, "kernel", "Linux %s", facts->release);
    if (!enough)
        cure(item, "Linux 6.1 or newer");
    if (!facts->is_root)
        cure(add(report, BOARD_NOTE, "user", "not root: what only root sees is taken for absent"),
             "run this as root");
    judge_options(facts, report);
    judge_landlock(facts, report);
}

/* ---- Bao's driver ---- */

/* The generation in use; NULL: none, or two. */
static const struct generation *in_use(const struct board_facts *facts)
{
    return facts->node_count == 1 ? &generations[facts->nodes[0].generation] : NULL;
}

static void judge_nodes(const struct board_facts *facts, struct board_report *report)
{
    char advice[sizeof(((struct board_finding *)0)->cure)];
    const struct generation_node *nodes = facts->nodes;
    if (facts->node_count == 0)
        cure(add(report, BOARD_MISSING, "dispatcher",
                 "no " BAO_DISPATCHER_NODE ", " BAO_DM_NODE "0 or " BAO_NODE),
             "%s", driver_module_advice(&facts->driver, advice, sizeof(advice)));
    else if (facts->node_count > 1)
        cure(add(report, BOARD_MISSING, "dispatcher", "%s and %s, of two drivers", nodes[0].path,
                 nodes[1].path),
             "unload one, or remove the node that no driver serves");
    else
        add(report, BOARD_OK, "dispatcher", "%s, generation %s%s, of the module %s", nodes[0].path,
            in_use(facts)->name, nodes[0].generation == BAO_A ? " or B" : "",
            facts->driver.name ? facts->driver.name : "(built in)");
}

static void judge_device_tree(const struct board_facts *facts, struct board_report *report)
{
    const struct generation *generation = in_use(facts);
    if (generation && generation->told)
        add(report, BOARD_OK, "device tree", "not needed: with %s the configuration says it",
            generation->node);
    else if (!facts->device_tree)
        cure(add(report, BOARD_NOTE, "device tree", "there is no /proc/device-tree to look at"),
             "CONFIG_OF=y, and /proc mounted");
    else if (!facts->in_device_tree)
        cure(add(report, BOARD_MISSING, "device tree",
                 "it has no node that is compatible with \"bao,io-dispatcher\""),
             generation && generation->a_node_each
                 ? "add a node for each of the VM's remio_devs, with its \"bao,id\""
                 : "add the node: one pair of reg and one interrupt for each of the VM's "
                   "remio_devs; only a driver with " BAO_NODE " does without");
    else
        add(report, BOARD_OK, "device tree", "it has %zu device%s of the driver's",
            facts->window_count, facts->window_count == 1 ? "" : "s");
}

/* If the driver has one node for each device, the node with this device's id must exist. */
static void judge_device_node(const struct board_facts *facts, const struct config *config,
                              const struct device_config *device, struct board_report *report)
{
    const struct generation *generation = in_use(facts);
    if (!generation || !generation->a_node_each || facts->nodes[0].ids & 1u << device->id)
        return;
    cure(add(report, BOARD_MISSING, "dispatcher", "%s %u: no %s%u", device->type_name, device->id,
             generation->node, device->id),
         "%s:%u: another id, or a node with that \"bao,id\" in the device tree", config->path,
         device->marks[CONFIG_KEY_ID].line);
}

static void judge_told(const struct config *config, const struct device_config *device,
                       struct board_report *report)
{
    if (!config_has(device, CONFIG_KEY_SHMEM_ADDR) || !config_has(device, CONFIG_KEY_SHMEM_SIZE) ||
        !config_has(device, CONFIG_KEY_IRQ))
        cure(add(report, BOARD_MISSING, "window", "%s %u: " BAO_NODE " has to be told its window",
                 device->type_name, device->id),
             "%s:%u: shmem_addr, shmem_size and irq, as shmem.base, shmem.size and interrupt of "
             "the device in remio_devs of the backend VM, in Bao's configuration",
             config->path, device->mark.line);
}

static const struct board_window *window_of(const struct board_facts *facts, uint32_t id)
{
    for (size_t i = 0; i < facts->window_count; i++) {
        if (facts->windows[i].id == id)
            return &facts->windows[i];
    }
    return NULL;
}

/* "0, 1, 5" */
static const char *window_ids(const struct board_facts *facts, char *ret, size_t size)
{
    int at = snprintf(ret, size, "%s", facts->window_count == 0 ? "none" : "");
    for (size_t i = 0; i < facts->window_count && (size_t)at < size; i++)
        at +=
            snprintf(ret + at, size - (size_t)at, "%s%u", i == 0 ? "" : ", ", facts->windows[i].id);
    return ret;
}

static void judge_window(const struct board_facts *facts, const struct config *config,
                         const struct device_config *device, struct board_report *report)
{
    char ids[80];
    const struct generation *generation = in_use(facts);
    if (generation && generation->told) {
        judge_told(config, device, report);
        return;
    }
    if (!facts->in_device_tree)
        return;
    const struct board_window *window = window_of(facts, device->id);
    if (!window) {
        cure(add(report, BOARD_MISSING, "device tree", "%s %u: the ids of the device tree: %s",
                 device->type_name, device->id, window_ids(facts, ids, sizeof(ids))),
             "%s:%u: another id, or one more device in the device tree", config->path,
             device->marks[CONFIG_KEY_ID].line);
        return;
    }
    if ((config_has(device, CONFIG_KEY_SHMEM_ADDR) && device->shmem_addr != window->addr) ||
        (config_has(device, CONFIG_KEY_SHMEM_SIZE) && device->shmem_size != window->size))
        cure(add(report, BOARD_MISSING, "device tree",
                 "%s %u: its window is 0x%" PRIx64 " bytes at 0x%" PRIx64, device->type_name,
                 device->id, window->size, window->addr),
             "%s:%u: shmem_addr and shmem_size as the device tree has them, or neither",
             config->path, device->mark.line);
}

/* ---- What a device needs ---- */

static const struct node {
    enum kind_node bit;
    const char *path, *module, *option;
    const char *without;
} nodes[] = {
    {NODE_VHOST_VSOCK, "/dev/vhost-vsock", "vhost_vsock", "CONFIG_VHOST_VSOCK",
     "vsock with data_plane vhost can't be served"},
    {NODE_VHOST_NET, "/dev/vhost-net", "vhost_net", "CONFIG_VHOST_NET",
     "net with data_plane vhost can't be served"},
    {NODE_TUN, "/dev/net/tun", "tun", "CONFIG_TUN", "net can't be served"},
};

#define NODES (sizeof(nodes) / sizeof(nodes[0]))

static bool has_node(const struct board_facts *facts, const struct node *node)
{
    switch (node->bit) {
    case NODE_VHOST_VSOCK:
        return facts->vhost_vsock;
    case NODE_VHOST_NET:
        return facts->vhost_net;
    case NODE_TUN:
        break;
    }
    return facts->tun;
}

static void need_node(struct board_report *report, const struct board_facts *facts,
                      const struct node *node)
{
    for (size_t i = 0; i < report->count; i++) {
        if (strcmp(report->items[i].check, node->path) == 0)
            return; /* reported already, for another device */
    }
    if (has_node(facts, node))
        add(report, BOARD_OK, node->path, "there");
    else
        cure(add(report, BOARD_MISSING, node->path, "not there"), "\"modprobe %s\", of %s",
             node->module, node->option);
}

static void need_file(struct board_report *report, const struct device_config *device,
                      enum config_key key, const char *path)
{
    struct stat file;
    if (stat(path, &file) < 0)
        cure(add(report, BOARD_MISSING, "file", "%s %u: %.80s: %s", device->type_name, device->id,
                 path, strerror(errno)),
             "make it, or name another in %s", config_key_name(key));
    else if (key == CONFIG_KEY_FILE_PATH && !S_ISREG(file.st_mode) && !S_ISBLK(file.st_mode))
        cure(add(report, BOARD_MISSING, "file", "%s %u: %.80s is neither a file nor a disk",
                 device->type_name, device->id, path),
             "name another in %s", config_key_name(key));
    else
        add(report, BOARD_OK, "file", "%s %u: %.80s", device->type_name, device->id, path);
}

static void need_folder_of(struct board_report *report, const struct device_config *device,
                           const char *path)
{
    char folder[PATH_MAX];
    struct stat status;
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        return;
    *(slash == folder ? slash + 1 : slash) = '\0';
    if (stat(folder, &status) < 0 || !S_ISDIR(status.st_mode))
        cure(add(report, BOARD_MISSING, "folder", "%s %u: there is no folder %.80s",
                 device->type_name, device->id, folder),
             "\"mkdir -p %.80s\"", folder);
}

static bool interface_flags(const char *name, short *ret)
{
    struct ifreq request = {0};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    bool there = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    if (fd >= 0)
        close(fd);
    *ret = request.ifr_flags;
    return there;
}

static void need_tap(struct board_report *report, const struct device_config *device)
{
    short flags;
    const char *tap = device->tap_name;
    if (!interface_flags(tap, &flags))
        cure(add(report, BOARD_NOTE, "tap",
                 "net %u: there is no %s: it will be made, down and without an address", device->id,
                 tap),
             "\"ip tuntap add %s mode tap%s\", \"ip link set %s up\"", tap,
             device->queues > 1 ? " multi_queue" : "", tap);
    else if ((flags & IFF_UP) == 0)
        cure(add(report, BOARD_NOTE, "tap", "net %u: %s is down", device->id, tap),
             "\"ip link set %s up\"", tap);
    else
        add(report, BOARD_OK, "tap", "net %u: %s", device->id, tap);
}

static void need_daemon(const struct board_facts *facts, struct board_report *report,
                        const struct device_config *device)
{
    char path[PATH_MAX];
    struct stat status;
    if (!config_daemon_named(device->socket_path) &&
        config_daemon_socket(device->socket_path, device->type_name, device->id, path) < 0)
        return;
    if (config_daemon_named(device->socket_path))
        snprintf(path, sizeof(path), "%s", device->socket_path);
    need_folder_of(report, device, path);
    if (stat(path, &status) == 0)
        add(report, BOARD_OK, "daemon", "%s %u: %.80s", device->type_name, device->id, path);
    else
        cure(add(report, BOARD_NOTE, "daemon", "%s %u: nobody has made %.80s", device->type_name,
                 device->id, path),
             "start the daemon%s",
             facts->root_is_initramfs && device->virtio_id == VIRTIO_ID_FS
                 ? ": virtiofsd with --sandbox=chroot, since / is an initramfs"
                 : "");
}

static void judge_device(const struct board_facts *facts, const struct config *config,
                         const struct device_config *device, struct board_report *report)
{
    judge_device_node(facts, config, device, report);
    judge_window(facts, config, device, report);
    for (size_t i = 0; i < NODES; i++) {
        if ((device_kinds[device->kind].nodes & nodes[i].bit) != 0)
            need_node(report, facts, &nodes[i]);
    }
    if (device->tap_name)
        need_tap(report, device);
    if (device_kinds[device->kind].daemon) {
        need_daemon(facts, report, device);
        return;
    }
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        const char *path = config_path(device, key);
        if (path && config_path_is_made(key))
            need_folder_of(report, device, path);
        else if (path)
            need_file(report, device, key, path);
    }
}

/* Without a configuration: reports what could be configured. */
static void judge_possibilities(const struct board_facts *facts, struct board_report *report)
{
    for (size_t i = 0; i < NODES; i++) {
        if (has_node(facts, &nodes[i]))
            add(report, BOARD_OK, nodes[i].path, "there");
        else
            cure(add(report, BOARD_NOTE, nodes[i].path, "not there: %s", nodes[i].without),
                 "\"modprobe %s\", if you need it", nodes[i].module);
    }
}

/* ---- The machine ---- */

static void judge_machine(const struct board_facts *facts, size_t devices,
                          struct board_report *report)
{
    uint64_t needed = MEMORY_BASE_KIB + devices * MEMORY_DEVICE_KIB;
    if (facts->memory_available == 0)
        add(report, BOARD_NOTE, "memory", "/proc/meminfo does not tell how much is free");
    else if (facts->memory_available < needed)
        cure(add(report, BOARD_MISSING, "memory",
                 "%" PRIu64 " KiB are available; %zu devices take up to %" PRIu64 " KiB",
                 facts->memory_available, devices, needed),
             "give the backend VM more, or end other programs");
    else
        add(report, BOARD_OK, "memory",
            "%" PRIu64 " KiB are available, of which up to %" PRIu64 " KiB are needed",
            facts->memory_available, needed);
    if (facts->processors == 1)
        cure(add(report, BOARD_NOTE, "processors",
                 "one: a device at full load takes it from all else here"),
             "no \"sched: fifo\", and vhost for vsock and net");
    else
        add(report, BOARD_OK, "processors", "%u", facts->processors);
    if (facts->random_ready)
        add(report, BOARD_OK, "random numbers", "ready");
    else
        cure(add(report, BOARD_NOTE, "random numbers",
                 "the kernel has no entropy yet: rng devices wait for it"),
             "%s",
             facts->random_device ? "a moment's patience: there is /dev/hwrng"
                                  : "a driver for the board's generator, or rng-tools");
}

void board_judge(const struct board_facts *facts, const struct config *config,
                 struct board_report *ret)
{
    ret->count = 0;
    judge_kernel(facts, ret);
    bool ring = false;
    for (size_t i = 0; config && i < config->device_count; i++)
        ring |= device_kinds[config->devices[i].kind].ring;
    if (ring)
        judge_ring(facts, ret);
    judge_nodes(facts, ret);
    judge_device_tree(facts, ret);
    for (size_t i = 0; config && i < config->device_count; i++)
        judge_device(facts, config, &config->devices[i], ret);
    if (!config)
        judge_possibilities(facts, ret);
    judge_machine(facts, config ? config->device_count : 0, ret);
    cure(add(ret, BOARD_NOTE, "frontend",
             "can't be seen from here: a Linux frontend needs CONFIG_DMA_RESTRICTED_POOL=y"),
         "in the frontend: \"zcat /proc/config.gz | grep DMA_RESTRICTED_POOL\"");
}
