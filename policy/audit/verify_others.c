/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of others that can reach a device: vhost-user daemons, which their devices' workers
 * give the DM file, and whoever else has that file, its memory, or a node of Bao's driver. This
 * build promises nothing of them. So what makes one of them weak is a note; but nobody may have a
 * node.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/worker_fds.h"
#include "policy/audit/open_fds.h"
#include "policy/audit/verify.h"

#define OTHERS_MAX 64u
#define MAPPINGS_MAX 256u
#define MEMFD "/memfd:"

/* Shared memory that a process has mapped. */
struct mapping {
    char name[PROCESS_TEXT];
    unsigned int major, minor;
    unsigned long inode;
};

struct mappings {
    size_t count;
    struct mapping items[MAPPINGS_MAX];
};

struct other {
    struct process process;
    char serves[REPORT_TEXT]; /* the devices whose workers are connected to it */
    char weak[REPORT_TEXT];
    bool node, dm_file, mapped;
    char held[REPORT_TEXT]; /* the files of devices, by name */
};

static void append(char *list, const char *words)
{
    size_t used = strlen(list);
    if (used + strlen(words) + 3 < REPORT_TEXT)
        snprintf(list + used, REPORT_TEXT - used, "%s%s", used > 0 ? ", " : "", words);
}

/* ---- Memory ---- */

static void read_mappings(pid_t pid, struct mappings *ret)
{
    char path[64], line[PROCESS_TEXT + 128];
    ret->count = 0;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (maps && ret->count < MAPPINGS_MAX && fgets(line, sizeof(line), maps)) {
        struct mapping *mapping = &ret->items[ret->count];
        char mode[8] = "";
        if (sscanf(line, "%*s %7s %*s %x:%x %lu %255[^\n]", mode, &mapping->major, &mapping->minor,
                   &mapping->inode, mapping->name) != 5 ||
            mode[3] != 's')
            continue;
        process_make_printable(mapping->name);
        ret->count++;
    }
    if (maps)
        fclose(maps);
}

/*
 * The memory of devices that their workers have mapped. On Bao its name is that of the DM file; a
 * memfd stands for it in tests. The state page, a memfd as well, is nobody else's.
 */
static bool is_memory_of_device(const struct mapping *mapping, const struct mappings *of_workers)
{
    for (size_t i = 0; i < of_workers->count; i++) {
        const struct mapping *own = &of_workers->items[i];
        if (own->major == mapping->major && own->minor == mapping->minor &&
            own->inode == mapping->inode && strncmp(own->name, MEMFD, strlen(MEMFD)) == 0)
            return true;
    }
    return is_dm_file(mapping->name);
}

static void add_mappings(const struct process *own, size_t count, struct mappings *ret)
{
    static struct mappings mappings;
    for (size_t i = 0; i < count; i++) {
        if (own[i].role != PROCESS_WORKER)
            continue;
        read_mappings(own[i].pid, &mappings);
        for (size_t m = 0; m < mappings.count && ret->count < MAPPINGS_MAX; m++)
            ret->items[ret->count++] = mappings.items[m];
    }
}

/* ---- What another process holds ---- */

static void look_at_memory(struct other *other, const struct mappings *of_workers)
{
    static struct mappings mappings;
    read_mappings(other->process.pid, &mappings);
    for (size_t i = 0; i < mappings.count; i++) {
        if (is_memory_of_device(&mappings.items[i], of_workers))
            other->mapped = true;
    }
}

static void look_at_files(struct other *other, pid_t root, const struct mappings *of_workers)
{
    static struct open_fds fds;
    open_fds_read(other->process.pid, &fds);
    open_fds_mark_nodes(root, &fds);
    for (size_t i = 0; i < fds.count; i++) {
        const struct open_fd *fd = &fds.items[i];
        struct mapping as_mapping = {.major = major(fd->file.st_dev),
                                     .minor = minor(fd->file.st_dev),
                                     .inode = fd->file.st_ino};
        snprintf(as_mapping.name, sizeof(as_mapping.name), "%s", fd->target);
        if (fd->is_node) {
            other->node = true;
            append(other->held, fd->target);
        } else if (is_memory_of_device(&as_mapping, of_workers)) {
            other->dm_file = true;
        }
    }
}

/* Who listens behind the socket of a worker's backend: the process that called listen(2), which
 * may have handed the socket on. Returns 0 if the worker has no such socket. */
static pid_t peer_of(pid_t worker)
{
    int domain = 0;
    struct ucred peer = {0};
    socklen_t domain_size = sizeof(domain), peer_size = sizeof(peer);
    int process = (int)syscall(SYS_pidfd_open, worker, 0);
    int fd = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, WORKER_FD_BACKEND, 0);
    bool good = fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) == 0 &&
                domain == AF_UNIX &&
                getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0;
    if (fd >= 0)
        close(fd);
    if (process >= 0)
        close(process);
    return good ? peer.pid : 0;
}

static void look_at_sockets(struct other *other, const struct others *others,
                            const pid_t peers[PROCESSES_MAX])
{
    for (size_t i = 0; i < others->own_count; i++) {
        if (peers[i] == other->process.pid)
            append(other->serves, others->own[i].name);
    }
}

/* ---- How it is confined ---- */

/* One row, and a word for the summary if it is weak. */
static void add_row(struct report *report, struct other *other, const char *check, bool good,
                    const char *found, const char *weak)
{
    struct report_row *row =
        report_add(report, &other->process, good ? AS_EXPECTED : TO_KNOW, check);
    snprintf(row->found, sizeof(row->found), "%s", found);
    if (!good)
        append(other->weak, weak);
}

static void status_row(struct report *report, struct other *other, const char *key,
                       const char *check, const char *good, const char *weak)
{
    char found[REPORT_TEXT] = "not shown by this kernel";
    (void)process_field(other->process.pid, "status", key, found, sizeof(found));
    add_row(report, other, check, strcmp(found, good) == 0, found, weak);
}

static void user_row(struct report *report, struct other *other)
{
    char found[REPORT_TEXT] = "";
    unsigned long ids[4] = {0};
    (void)process_field(other->process.pid, "status", "Uid", found, sizeof(found));
    bool good = sscanf(found, "%lu %lu %lu %lu", &ids[0], &ids[1], &ids[2], &ids[3]) == 4 &&
                ids[0] > 0 && ids[1] > 0 && ids[2] > 0 && ids[3] > 0;
    add_row(report, other, "Uid", good, found, "root");
}

/* Those that it has in common with this program, which in most cases are the board's. */
static void namespaces_row(struct report *report, struct other *other)
{
    static const char *const names[] = {"pid", "mnt", "net", "ipc", "uts", "cgroup", "user"};
    char shared[REPORT_TEXT] = "", found[REPORT_TEXT], weak[REPORT_TEXT];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char name[16], own[PROCESS_TEXT] = "", of_other[PROCESS_TEXT] = "";
        snprintf(name, sizeof(name), "ns/%s", names[i]);
        if (!process_link(getpid(), name, own, sizeof(own)) ||
            !process_link(other->process.pid, name, of_other, sizeof(of_other)) ||
            strcmp(own, of_other) == 0)
            append(shared, names[i]);
    }
    bool good = shared[0] == '\0';
    snprintf(found, sizeof(found), "%s%.300s", good ? "its own" : "the machine's: ", shared);
    snprintf(weak, sizeof(weak), "the machine's %.300s", shared);
    add_row(report, other, "namespaces", good, found, weak);
}

static void root_row(struct report *report, struct other *other)
{
    char path[64];
    struct stat own = {0}, of_other = {0};
    snprintf(path, sizeof(path), "/proc/%d/root/.", (int)other->process.pid);
    bool good = stat("/proc/self/root/.", &own) == 0 && stat(path, &of_other) == 0 &&
                (own.st_dev != of_other.st_dev || own.st_ino != of_other.st_ino);
    add_row(report, other, "root directory", good, good ? "its own" : "the machine's",
            "the machine's files");
}

static void describe(struct report *report, struct other *other)
{
    const bool daemon = other->serves[0] != '\0';
    if (daemon)
        snprintf(report_add(report, &other->process, TO_KNOW, "serves")->found, REPORT_TEXT, "%s",
                 other->serves);
    snprintf(report_add(report, &other->process, TO_KNOW, "memory of devices")->found, REPORT_TEXT,
             "%s",
             other->dm_file && other->mapped ? "has the DM file open, and has mapped it"
             : other->dm_file                ? "has the DM file open"
             : other->mapped                 ? "has mapped the DM file"
                                             : "none");
    report_equal(report, &other->process, "nodes of Bao's driver", "none",
                 other->node ? other->held : "none");
    user_row(report, other);
    status_row(report, other, "CapEff", "CapEff", "0000000000000000", "capabilities");
    status_row(report, other, "CapPrm", "CapPrm", "0000000000000000", "more capabilities");
    status_row(report, other, "Seccomp", "Seccomp", "2", "no filter of system calls");
    status_row(report, other, "NoNewPrivs", "NoNewPrivs", "1", "may gain privileges");
    namespaces_row(report, other);
    root_row(report, other);
    snprintf(
        report_add(report, &other->process, other->weak[0] == '\0' ? AS_EXPECTED : TO_KNOW, "weak")
            ->found,
        REPORT_TEXT, "%s", other->weak[0] == '\0' ? "nothing of this" : other->weak);
}

/* ---- Which processes ---- */

static bool is_own(const struct process *all, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (all[i].pid == pid)
            return true;
    }
    return false;
}

struct sought {
    const struct others *others;
    struct mappings of_workers;
    pid_t peers[PROCESSES_MAX]; /* of others->own; 0: none */
};

/* Returns whether the process has anything of a device's. */
static bool look_at(pid_t pid, const struct sought *sought, struct other *ret)
{
    struct other other = {0};
    if (process_read(pid, &other.process) < 0)
        return false;
    look_at_memory(&other, &sought->of_workers);
    look_at_files(&other, sought->others->root, &sought->of_workers);
    look_at_sockets(&other, sought->others, sought->peers);
    bool daemon = other.serves[0] != '\0';
    if (!daemon && !other.node && !other.dm_file && !other.mapped)
        return false;
    other.process.role = daemon ? PROCESS_DAEMON : PROCESS_HOLDER;
    evidence_of_process(&other.process, NULL, &other.process.origin);
    *ret = other;
    return true;
}

size_t verify_others(struct report *report, const struct others *others)
{
    static struct other found[OTHERS_MAX];
    static struct sought sought;
    size_t count = 0;
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    sought = (struct sought){.others = others};
    add_mappings(others->own, others->own_count, &sought.of_workers);
    for (size_t i = 0; i < others->own_count; i++)
        sought.peers[i] = others->own[i].role == PROCESS_WORKER ? peer_of(others->own[i].pid) : 0;
    while (proc && count < OTHERS_MAX && (entry = readdir(proc))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && pid != getpid() && !is_own(others->all, others->all_count, pid) &&
            look_at(pid, &sought, &found[count]))
            describe(report, &found[count++]);
    }
    if (proc)
        closedir(proc);
    return count;
}
