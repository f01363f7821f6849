/* SPDX-License-Identifier: Apache-2.0 */
/* What a process is: its user and capabilities, its namespaces, its memory. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/kept_capabilities.h"
#include "common/ring.h"
#include "common/worker_fds.h"
#include "policy/audit/verify.h"

/* ---- User and capabilities ---- */

static bool same_user(const struct process *a, const struct process *b)
{
    char first[64] = "a", second[64] = "b";
    process_field(a->pid, "status", "Uid", first, sizeof(first));
    process_field(b->pid, "status", "Uid", second, sizeof(second));
    return strcmp(first, second) == 0;
}

/* A worker must have a user of its own, with the same id everywhere. */
static void verify_worker_user(struct report *report, const struct verified *verified)
{
    static const char *const keys[] = {"Uid", "Gid"};
    const struct process *process = verified->process;
    for (size_t i = 0; i < 2; i++) {
        char found[64] = "";
        unsigned long ids[4] = {0};
        process_field(process->pid, "status", keys[i], found, sizeof(found));
        bool good = sscanf(found, "%lu %lu %lu %lu", &ids[0], &ids[1], &ids[2], &ids[3]) == 4 &&
                    ids[0] >= 1000 && ids[0] == ids[1] && ids[0] == ids[2] && ids[0] == ids[3];
        struct report_row *row =
            report_add(report, process, good ? AS_EXPECTED : NOT_AS_EXPECTED, keys[i]);
        snprintf(row->expected, sizeof(row->expected), "four times the same, 1000 or above");
        snprintf(row->found, sizeof(row->found), "%s", found);
    }
    unsigned long sharing = 0;
    for (size_t i = 0; i < verified->count; i++) {
        const struct process *other = &verified->all[i];
        sharing += other->pid != process->pid && other->parent == process->parent &&
                   other->role == PROCESS_WORKER && same_user(other, process);
    }
    report_number(report, process, "workers with its user", 0, sharing);
    verify_field(report, process, "Groups", "");
}

static void verify_capabilities(struct report *report, const struct verified *verified)
{
    static const char none[] = "0000000000000000";
    uint64_t kept = 0;
    char expected[24];
#define X(capability, reason) kept |= 1ull << (capability);
    KEPT_CAPABILITIES(X)
#undef X
    bool keeps = verified->process->role == PROCESS_KEEPER;
    snprintf(expected, sizeof(expected), "%016llx", (unsigned long long)kept);
    verify_field(report, verified->process, "CapInh", none);
    verify_field(report, verified->process, "CapPrm", keeps ? expected : none);
    verify_field(report, verified->process, "CapEff", keeps ? expected : none);
    verify_field(report, verified->process, "CapBnd", keeps ? expected : none);
    verify_field(report, verified->process, "CapAmb", none);
}

void verify_privileges(struct report *report, const struct verified *verified)
{
    if (verified->process->role == PROCESS_WORKER) {
        verify_worker_user(report, verified);
    } else {
        verify_field(report, verified->process, "Uid", "0 0 0 0");
        verify_field(report, verified->process, "Gid", "0 0 0 0");
    }
    verify_capabilities(report, verified);
}

/* ---- Namespaces and root ---- */

static ino_t namespace_of(const struct process *process, const char *name)
{
    char path[64];
    struct stat file;
    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)process->pid, name);
    return stat(path, &file) == 0 ? file.st_ino : 0;
}

static void verify_namespace(struct report *report, const struct verified *verified,
                             const char *name)
{
    const struct process *process = verified->process;
    ino_t own = namespace_of(process, name);
    /* Nor may it be this program's own namespace, which is in most cases the board's. */
    const struct process self = {.pid = getpid()};
    unsigned long sharing = own == 0 || namespace_of(&self, name) == own;
    char check[32];
    for (size_t i = 0; i < verified->count; i++)
        sharing +=
            verified->all[i].pid != process->pid && namespace_of(&verified->all[i], name) == own;
    snprintf(check, sizeof(check), "namespace %s", name);
    if (strcmp(name, "user") != 0 || sharing == 0) {
        struct report_row *row =
            report_add(report, process, sharing == 0 ? AS_EXPECTED : NOT_AS_EXPECTED, check);
        snprintf(row->expected, sizeof(row->expected), "its own");
        snprintf(row->found, sizeof(row->found), "%s", sharing == 0 ? "its own" : "shared");
        return;
    }
    snprintf(report_add(report, process, TO_KNOW, check)->found, REPORT_TEXT,
             "shared: used where the kernel lets root make one");
}

/* A broker's root holds the nodes that it opens again, a connector's root holds the directory of
 * the sockets that its device connects to, and a worker's root holds nothing. */
static void verify_root(struct report *report, const struct process *process)
{
    char path[64];
    static const char *const expected[] = {
        [PROCESS_BROKER] = "nodes that devices need",
        [PROCESS_CONNECTOR] = "the directory of sockets that its device needs",
    };
    unsigned long nodes = 0, directories = 0, others = 0;
    const bool broker = process->role == PROCESS_BROKER;
    const bool connector = process->role == PROCESS_CONNECTOR;
    snprintf(path, sizeof(path), "/proc/%d/root/", (int)process->pid);
    DIR *root = opendir(path);
    const struct dirent *entry;
    while (root && (entry = readdir(root))) {
        struct stat file;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        bool known = fstatat(dirfd(root), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0;
        bool node = broker && known && S_ISCHR(file.st_mode);
        bool directory = connector && known && S_ISDIR(file.st_mode);
        nodes += node;
        directories += directory;
        others += !node && !directory;
    }
    struct report_row *row = report_add(report, process,
                                        !root || others > 0 ? NOT_AS_EXPECTED
                                        : directories > 0   ? TO_KNOW
                                                            : AS_EXPECTED,
                                        "root directory");
    snprintf(row->expected, sizeof(row->expected), "%s",
             broker || connector ? expected[process->role] : "empty");
    if (!root)
        snprintf(row->found, sizeof(row->found), "can't be read");
    else if (nodes + directories + others == 0)
        snprintf(row->found, sizeof(row->found), "empty");
    else
        snprintf(row->found, sizeof(row->found), "%lu nodes, %lu directories, %lu other entries",
                 nodes, directories, others);
    if (root)
        closedir(root);
}

/* Checks every mount that the process sees: the root, from which nothing can be executed; for a
 * broker also single nodes, for a connector its directory. */
static void verify_mounts(struct report *report, const struct process *process)
{
    char text[8192] = "", *rest = NULL;
    unsigned long roots = 0, others = 0;
    const bool more = process->role == PROCESS_BROKER || process->role == PROCESS_CONNECTOR;
    process_file(process->pid, "mountinfo", text, sizeof(text));
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        bool is_root = strstr(line, " / / ro,nosuid,nodev,noexec") && strstr(line, " - tmpfs ");
        roots += is_root;
        others += !is_root;
    }
    bool good = roots == 1 && (others == 0 || more);
    struct report_row *row =
        report_add(report, process, good ? AS_EXPECTED : NOT_AS_EXPECTED, "mounts");
    snprintf(row->expected, sizeof(row->expected),
             "a read-only tmpfs without nodes, programs and set-uid%s",
             more ? ", and what lies in it" : ", and no other");
    snprintf(row->found, sizeof(row->found), "%lu such root, %lu others", roots, others);
}

void verify_namespaces(struct report *report, const struct verified *verified)
{
    static const char *const of_worker[] = {"pid", "mnt", "net", "ipc", "uts", "cgroup", "user"};
    const struct process *process = verified->process;
    if (process->role == PROCESS_KEEPER)
        return;
    if (process->role == PROCESS_BROKER || process->role == PROCESS_CONNECTOR)
        verify_namespace(report, verified, "mnt");
    for (size_t i = 0;
         process->role == PROCESS_WORKER && i < sizeof(of_worker) / sizeof(of_worker[0]); i++)
        verify_namespace(report, verified, of_worker[i]);
    verify_root(report, process);
    verify_mounts(report, process);
    char here[REPORT_TEXT] = "";
    process_link(process->pid, "cwd", here, sizeof(here));
    report_equal(report, process, "working directory", "/", here);
}

/* ---- Memory and limits ---- */

static void verify_maps(struct report *report, const struct process *process)
{
    char path[64], line[1024];
    unsigned long both = 0, shared = 0;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)process->pid);
    FILE *maps = fopen(path, "re");
    while (maps && fgets(line, sizeof(line), maps)) {
        char mode[8] = "";
        if (sscanf(line, "%*s %7s", mode) != 1)
            continue;
        both += mode[1] == 'w' && mode[2] == 'x';
        shared += mode[3] == 's';
    }
    if (maps)
        fclose(maps);
    report_number(report, process, "writable code", 0, maps ? both : 1);
    if (process->role == PROCESS_WORKER)
        snprintf(report_add(report, process, TO_KNOW, "shared mappings")->found, REPORT_TEXT,
                 "%lu: its window, the state page, and what its kind of device shares", shared);
}

/* The limits are 0; but a process that is handed connections must be able to hold them, and the
 * kernel's threads for an io_uring count as processes. */
static void verify_limits(struct report *report, const struct verified *verified)
{
    static const char *const floored[] = {
        "Max data size",       "Max stack size",    "Max core file size", "Max processes",
        "Max open files",      "Max locked memory", "Max address space",  "Max file locks",
        "Max pending signals", "Max msgqueue size", "Max nice priority",  "Max realtime priority",
    };
    const size_t count = sizeof(floored) / sizeof(floored[0]);
    const struct device_kind_info *kind = process_kind(verified->policy);
    /* As many as its configuration says, but that is not known here. */
    unsigned long files = kind && kind->connections ? connections_fd_limit(0) : 0;
    unsigned long files_max =
        kind && kind->connections ? connections_fd_limit(kind->connections_max) : files;
    const unsigned long processes = kind && kind->ring ? RING_THREADS + 1 : 0;
    char text[4096] = "", found[REPORT_TEXT] = "";
    unsigned long good = 0;
    process_file(verified->process->pid, "limits", text, sizeof(text));
    for (size_t i = 0; i < count; i++) {
        unsigned long soft = ULONG_MAX, hard = ULONG_MAX;
        bool is_files = strcmp(floored[i], "Max open files") == 0;
        bool is_processes = strcmp(floored[i], "Max processes") == 0;
        unsigned long least = is_files ? files : is_processes ? processes : 0;
        unsigned long most = is_files ? files_max : least;
        const char *at = strstr(text, floored[i]);
        bool right = at && sscanf(at + strlen(floored[i]), "%lu %lu", &soft, &hard) == 2 &&
                     soft >= least && soft <= most && hard == soft;
        good += right;
        if (!right)
            snprintf(found, sizeof(found), "%s is not %lu to %lu", floored[i], least, most);
    }
    struct report_row *row =
        report_add(report, verified->process, good == count ? AS_EXPECTED : NOT_AS_EXPECTED,
                   "resource limits");
    snprintf(row->expected, sizeof(row->expected), "%zu of them are 0%s%s", count,
             files > 0 ? ", but for the files of connections" : "",
             processes > 0 ? ", but for the kernel's threads for its io_uring" : "");
    snprintf(row->found, sizeof(row->found), "%s", good == count ? row->expected : found);
}

/* The files of an undumpable process in /proc belong to root, whatever user the process has. */
static void verify_undumpable(struct report *report, const struct process *process)
{
    char path[64];
    struct stat file = {.st_uid = 1};
    snprintf(path, sizeof(path), "/proc/%d/status", (int)process->pid);
    bool good = stat(path, &file) == 0 && file.st_uid == 0;
    report_equal(report, process, "dumpable", "no", good ? "no" : "yes");
}

/* Its number in its own pid namespace alone would not tell: that of a container's first session is
 * 1 as well. */
static void verify_session(struct report *report, const struct process *process)
{
    char pids[64] = "", sessions[64] = "";
    bool known = process_field(process->pid, "status", "NSpid", pids, sizeof(pids)) &&
                 process_field(process->pid, "status", "NSsid", sessions, sizeof(sessions));
    bool own = known && strcmp(pids, sessions) == 0;
    report_equal(report, process, "session", "its own", own ? "its own" : "another's");
}

void verify_memory(struct report *report, const struct verified *verified)
{
    const struct process *process = verified->process;
    verify_maps(report, process);
    if (process->role != PROCESS_WORKER)
        return;
    verify_limits(report, verified);
    verify_undumpable(report, process);
    verify_session(report, process);
}
