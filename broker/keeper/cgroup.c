/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/ring.h"

#define LEAF "keeper"
#define ALL_WORKERS "workers"
#define TEXT_SIZE 4096

#define X(constant, controller, file) [CGROUP_##constant] = controller,
static const char *const controllers[CGROUP_CONTROLLERS] = {CGROUP_LIMITS(X)};
#undef X
#define X(constant, controller, file) [CGROUP_##constant] = file,
static const char *const limits[CGROUP_CONTROLLERS] = {CGROUP_LIMITS(X)};
#undef X

/* --- Files of a cgroup ------------------------------------------------------------------------ */

/* "BASE/name", or "BASE/part/name". Returns false if that is too long. */
static bool path_of(const struct cgroups *cgroups, const char *part, const char *name,
                    char ret[PATH_MAX])
{
    int length = snprintf(ret, PATH_MAX, "%s%s%s%s%s", cgroups->base, part ? "/" : "",
                          part ? part : "", name ? "/" : "", name ? name : "");
    return length < PATH_MAX;
}

static int open_file(const struct cgroups *cgroups, const char *part, const char *name, int flags)
{
    char path[PATH_MAX];
    if (!path_of(cgroups, part, name, path))
        return -ENAMETOOLONG;
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

static int write_text(int fd, const char *text)
{
    size_t length = strlen(text);
    ssize_t written = write(fd, text, length);
    if (written < 0)
        return -errno;
    return (size_t)written == length ? 0 : -EIO;
}

static int write_file(const struct cgroups *cgroups, const char *part, const char *name,
                      const char *text)
{
    int fd = open_file(cgroups, part, name, O_WRONLY);
    if (fd < 0)
        return fd;
    int result = write_text(fd, text);
    close(fd);
    return result;
}

static int read_all(int fd, char ret[TEXT_SIZE])
{
    ssize_t length = read(fd, ret, TEXT_SIZE - 1);
    int result = length < 0 ? -errno : 0;
    close(fd);
    if (result == 0)
        ret[length] = '\0';
    return result;
}

static int read_file(const struct cgroups *cgroups, const char *name, char ret[TEXT_SIZE])
{
    int fd = open_file(cgroups, NULL, name, O_RDONLY);
    return fd < 0 ? fd : read_all(fd, ret);
}

/* Make a cgroup. It may exist already, from an earlier keeper. */
static int make(const struct cgroups *cgroups, const char *part)
{
    char path[PATH_MAX];
    if (!path_of(cgroups, part, NULL, path))
        return -ENAMETOOLONG;
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* --- Where we are ----------------------------------------------------------------------------- */

static const char *find_mount(void)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL};
    struct statfs file_system;
    for (const char *const *place = places; *place; place++) {
        if (statfs(*place, &file_system) == 0 && file_system.f_type == CGROUP2_SUPER_MAGIC)
            return *place;
    }
    return NULL;
}

/* The line "0::PATH" of /proc/self/cgroup. */
static bool find_own(char text[TEXT_SIZE], const char **ret_path)
{
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read_all(fd, text) < 0)
        return false;
    char *saved;
    for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
        if (strncmp(line, "0::/", 4) == 0) {
            *ret_path = line + 3;
            return true;
        }
    }
    return false;
}

/* Is this process the only one in BASE itself? If it is in the leaf already: is there no process in
 * BASE itself? */
static bool is_alone(const struct cgroups *cgroups, bool in_leaf)
{
    char text[TEXT_SIZE], own[32];
    if (read_file(cgroups, "cgroup.procs", text) < 0)
        return false;
    snprintf(own, sizeof(own), "%d\n", (int)getpid());
    return strcmp(text, in_leaf ? "" : own) == 0;
}

/* A keeper that has just died may have left a child that holds the lock until its exec. */
#define LOCK_LOOKS 20
#define LOCK_LOOK_MS 10

static bool lock_base(struct cgroups *cgroups)
{
    cgroups->base_lock = open_file(cgroups, NULL, NULL, O_RDONLY | O_DIRECTORY);
    for (int i = 0; cgroups->base_lock >= 0 && i < LOCK_LOOKS; i++) {
        if (flock(cgroups->base_lock, LOCK_EX | LOCK_NB) == 0)
            return true;
        (void)poll(NULL, 0, LOCK_LOOK_MS);
    }
    return false;
}

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Returns NULL, or the reason why there can be no cgroups. */
static const char *find_base(struct cgroups *cgroups, bool *ret_in_leaf)
{
    char text[TEXT_SIZE], type[TEXT_SIZE];
    const char *path, *mount = find_mount();
    if (!mount || !find_own(text, &path))
        return "there is no cgroup of version 2";
    if (snprintf(cgroups->base, PATH_MAX, "%s%s", mount, strcmp(path, "/") == 0 ? "" : path) >=
        PATH_MAX)
        return "the name of its own is too long";
    char *slash = strrchr(cgroups->base, '/');
    *ret_in_leaf = strcmp(slash, "/" LEAF) == 0;
    if (*ret_in_leaf)
        *slash = '\0';
    /* The root of the hierarchy has no type; the root cgroup of a container has one. */
    if (read_file(cgroups, "cgroup.type", type) < 0 || strcmp(type, "domain\n") != 0)
        return "its own is the root, or is threaded";
    if (!is_alone(cgroups, *ret_in_leaf))
        return "its own has other processes in it (Delegate= of the service manager)";
    if (!lock_base(cgroups))
        return "another bao-virtio-dm has made those of its own for its workers";
    return NULL;
}

/* --- Controllers ------------------------------------------------------------------------------ */

static bool has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        if ((at == text || at[-1] == ' ') && strchr(" \n", at[length]))
            return true;
    }
    return false;
}

static int control(const struct cgroups *cgroups, const char *part, char sign, const char *which)
{
    char text[16];
    snprintf(text, sizeof(text), "%c%s", sign, which);
    return write_file(cgroups, part, "cgroup.subtree_control", text);
}

/* With CONFIG_RT_GROUP_SCHED, a cgroup of the cpu controller has no real-time at all. The key
 * `sched` of a device needs real-time. */
static bool is_realtime_left(void)
{
    const struct sched_param realtime = {.sched_priority = 1}, other = {0};
    if (sched_getscheduler(0) != SCHED_OTHER)
        return false; /* do not change the scheduler of this process */
    bool left = sched_setscheduler(0, SCHED_FIFO, &realtime) == 0;
    if (left)
        (void)sched_setscheduler(0, SCHED_OTHER, &other);
    return left;
}

static void find_controllers(struct cgroups *cgroups, bool realtime_before)
{
    char there[TEXT_SIZE];
    if (read_file(cgroups, "cgroup.controllers", there) < 0)
        return;
    for (size_t i = 0; i < CGROUP_CONTROLLERS; i++) {
        const char *which = controllers[i];
        cgroups->controls[i] = has_word(there, which) && control(cgroups, NULL, '+', which) == 0 &&
                               control(cgroups, ALL_WORKERS, '+', which) == 0;
    }
    if (cgroups->controls[CGROUP_CPU] && realtime_before && !is_realtime_left()) {
        (void)control(cgroups, ALL_WORKERS, '-', controllers[CGROUP_CPU]);
        (void)control(cgroups, NULL, '-', controllers[CGROUP_CPU]);
        cgroups->controls[CGROUP_CPU] = false;
    }
}

/* A part of the machine's memory, in bytes. */
static unsigned long long memory_part(unsigned int numerator, unsigned int denominator)
{
    unsigned long long pages = (unsigned long long)sysconf(_SC_PHYS_PAGES);
    return pages / denominator * numerator * (unsigned long long)sysconf(_SC_PAGESIZE);
}

static void limit(struct cgroups *cgroups, const char *part, enum cgroup_controller which,
                  unsigned long long value)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", value);
    if (cgroups->controls[which] && write_file(cgroups, part, limits[which], text) < 0)
        cgroups->controls[which] = false;
}

static int make_worker(struct cgroups *cgroups, unsigned int device)
{
    char part[32];
    snprintf(part, sizeof(part), ALL_WORKERS "/%u", device);
    int result = make(cgroups, part);
    if (result < 0)
        return result;
    limit(cgroups, part, CGROUP_MEMORY, memory_part(1, 2));
    limit(cgroups, part, CGROUP_PIDS, CGROUP_WORKER_PIDS + (cgroups->rings ? RING_THREADS : 0));
    limit(cgroups, part, CGROUP_CPU, 100);
    cgroups->workers[device] = open_file(cgroups, part, NULL, O_PATH | O_DIRECTORY);
    return cgroups->workers[device] < 0 ? cgroups->workers[device] : 0;
}

/* --- In and out ------------------------------------------------------------------------------- */

/* Returns 0, or -errno with *ret_step. */
static int make_all(struct cgroups *cgroups, bool in_leaf, const char **ret_step)
{
    bool realtime = is_realtime_left();
    *ret_step = "can't be made";
    int result = in_leaf ? 0 : make(cgroups, LEAF);
    if (result < 0)
        return result;
    cgroups->base_procs = open_file(cgroups, NULL, "cgroup.procs", O_WRONLY);
    cgroups->base_subtree = open_file(cgroups, NULL, "cgroup.subtree_control", O_WRONLY);
    *ret_step = "can't be entered";
    result = in_leaf ? 0 : write_file(cgroups, LEAF, "cgroup.procs", "0");
    if (result < 0)
        return result;
    cgroups->entered = !in_leaf;
    *ret_step = "can't be made for the workers";
    result = make(cgroups, ALL_WORKERS);
    if (result < 0)
        return result;
    find_controllers(cgroups, realtime);
    limit(cgroups, ALL_WORKERS, CGROUP_MEMORY, memory_part(3, 4));
    for (unsigned int i = 0; result == 0 && i < BAO_DEVICES_MAX; i++)
        result = make_worker(cgroups, i);
    return result;
}

uint32_t cgroups_of_worker(const struct cgroups *cgroups, uint32_t device)
{
    if (cgroups->workers[device] < 0)
        return 0;
    uint32_t own = CGROUP_OWN;
    for (size_t i = 0; i < CGROUP_CONTROLLERS; i++)
        own |= cgroups->controls[i] ? 1u << i : 0;
    return own;
}

static void remove_group(const struct cgroups *cgroups, const char *part)
{
    char path[PATH_MAX];
    if (path_of(cgroups, part, NULL, path))
        (void)unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

void cgroups_leave(struct cgroups *cgroups)
{
    char part[32];
    if (cgroups->base[0] == '\0')
        return;
    for (unsigned int i = 0; i < BAO_DEVICES_MAX; i++) {
        close_file(&cgroups->workers[i]);
        snprintf(part, sizeof(part), ALL_WORKERS "/%u", i);
        remove_group(cgroups, part);
    }
    remove_group(cgroups, ALL_WORKERS);
    for (size_t i = 0; i < CGROUP_CONTROLLERS; i++) {
        char text[16];
        snprintf(text, sizeof(text), "-%s", controllers[i]);
        if (cgroups->controls[i])
            (void)write_text(cgroups->base_subtree, text);
    }
    if (cgroups->entered && write_text(cgroups->base_procs, "0") == 0)
        remove_group(cgroups, LEAF);
    close_file(&cgroups->base_procs);
    close_file(&cgroups->base_subtree);
    close_file(&cgroups->base_lock);
    cgroups->base[0] = '\0';
}

static void describe(struct cgroups *cgroups)
{
    char in_force[64] = "";
    char missing[sizeof(in_force)] = "";
    for (size_t i = 0; i < CGROUP_CONTROLLERS; i++) {
        char *list = cgroups->controls[i] ? in_force : missing;
        size_t used = strlen(list);
        snprintf(list + used, sizeof(in_force) - used, "%s%s", used > 0 ? ", " : "", limits[i]);
    }
    snprintf(cgroups->words, sizeof(cgroups->words),
             "each worker has a cgroup of its own, with: %s%s%s",
             in_force[0] ? in_force : "no limit", missing[0] ? "; not available: " : "", missing);
}

void cgroups_enter(struct cgroups *ret)
{
    bool in_leaf;
    const char *step;
    *ret = (struct cgroups){
        .rings = ret->rings, .base_procs = -1, .base_subtree = -1, .base_lock = -1};
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++)
        ret->workers[i] = -1;
    const char *why = find_base(ret, &in_leaf);
    if (why) {
        close_file(&ret->base_lock);
        ret->base[0] = '\0';
        snprintf(ret->words, sizeof(ret->words), "no worker has a cgroup of its own: %s", why);
        return;
    }
    int result = make_all(ret, in_leaf, &step);
    if (result == 0) {
        describe(ret);
        return;
    }
    cgroups_leave(ret);
    snprintf(ret->words, sizeof(ret->words), "no worker has a cgroup of its own: it %s: %s", step,
             strerror(-result));
}
