/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a process holds: for each its number, what that number stands for, and what is
 * found there. A worker's numbers are fixed (common/worker_fds.h). How many queues and backend
 * files it has is taken from what is found, and must be possible for its kind of device.
 */
#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/bao_abi.h"
#include "common/control.h"
#include "common/worker_fds.h"
#include "policy/audit/open_fds.h"
#include "policy/audit/verify.h"

#define PATH_ONLY 010000000u /* O_PATH, in fdinfo's octal flags */
#define EVENTFD "anon_inode:[eventfd]"

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool is_path_only(pid_t pid, unsigned int fd)
{
    char name[32], flags[32] = "";
    snprintf(name, sizeof(name), "fdinfo/%u", fd);
    process_field(pid, name, "flags", flags, sizeof(flags));
    return (strtoul(flags, NULL, 8) & PATH_ONLY) != 0;
}

/* A directory leads to other files, and so can an O_PATH fd. */
static bool leads_nowhere(pid_t pid, const struct open_fd *fd)
{
    return !S_ISDIR(fd->mode) && !is_path_only(pid, fd->number);
}

static struct report_row *add_row(struct report *report, const struct process *process, bool good,
                                  const struct open_fd *fd, const char *words)
{
    char check[32];
    snprintf(check, sizeof(check), "fd %u", fd->number);
    struct report_row *row =
        report_add(report, process, good ? AS_EXPECTED : NOT_AS_EXPECTED, check);
    snprintf(row->expected, sizeof(row->expected), "%s", words);
    if (good)
        snprintf(row->found, sizeof(row->found), "%s: %s", fd->target, words);
    else
        snprintf(row->found, sizeof(row->found), "%s", fd->target);
    return row;
}

/* ---- A worker's ---- */

static bool is_of_kind(pid_t pid, const struct open_fd *fd)
{
    switch ((enum worker_fd)fd->number) {
    case WORKER_FD_NULL_IN:
    case WORKER_FD_NULL_OUT:
    case WORKER_FD_NULL_ERR:
        return strcmp(fd->target, "/dev/null") == 0 && S_ISCHR(fd->mode);
    case WORKER_FD_CONTROL:
        return starts_with(fd->target, "socket:[");
    case WORKER_FD_EPOLL:
        return strcmp(fd->target, "anon_inode:[eventpoll]") == 0;
    case WORKER_FD_REQUEST:
    case WORKER_FD_REPLY:
    case WORKER_FD_CALL:
        return strcmp(fd->target, EVENTFD) == 0;
    default:
        return leads_nowhere(pid, fd);
    }
}

/* The policy's own name for an fd says most. A backend's fd without a name is only called a
 * backend. */
static const char *words_of(const struct policy_listing *policy, unsigned int number)
{
    const char *words = "a file of the device's backend";
    for (unsigned int i = 0; i < policy->fd_count; i++) {
        if (policy->fds[i].number == number)
            words = policy->fds[i].words;
    }
    return words;
}

/* How many of the fds are numbered from 0 without a gap. */
static size_t count_numbered(const struct open_fds *fds)
{
    size_t count = 0;
    while (count < fds->count && fds->items[count].number == count)
        count++;
    return count;
}

/* The first number behind the fillers; 0: a worker of this kind has none. */
static size_t behind_fillers(const struct device_kind_info *kind)
{
    if (kind->ring)
        return WORKER_FD_RING;
    return kind->connections ? WORKER_FD_CONNECTION : 0;
}

/*
 * A worker that is handed connections has them from WORKER_FD_CONNECTION on, one with a ring has it
 * at WORKER_FD_RING, and both have /dev/null at the free numbers below. Returns how many fds it has
 * before these fillers.
 */
static size_t count_own(const struct device_kind_info *kind, const struct open_fds *fds)
{
    size_t own = count_numbered(fds), behind = behind_fillers(kind);
    if (behind == 0)
        return own;
    own = own < behind ? own : behind;
    while (own > WORKER_FD_BACKEND && strcmp(fds->items[own - 1].target, "/dev/null") == 0)
        own--;
    return own;
}

/* How many backend files there are: the smallest number for which only kick eventfds follow. */
static bool find_backends(const struct device_kind_info *kind, const struct open_fds *fds,
                          size_t own, unsigned int *ret_backends)
{
    for (unsigned int backends = kind->backend_fd_count; backends <= kind->backend_fds_max;
         backends++) {
        size_t first_kick = WORKER_FD_BACKEND + backends;
        bool fits = first_kick < own && own - first_kick <= kind->queues_max;
        for (size_t i = first_kick; fits && i < own; i++)
            fits = strcmp(fds->items[i].target, EVENTFD) == 0;
        if (fits) {
            *ret_backends = backends;
            return true;
        }
    }
    return false;
}

static void verify_numbers(struct report *report, const struct process *process,
                           const struct device_kind_info *kind, const struct open_fds *fds,
                           const unsigned int *backends)
{
    size_t own = count_own(kind, fds), numbered = count_numbered(fds);
    bool good =
        backends && (kind->connections ? numbered >= WORKER_FD_CONNECTION : numbered == fds->count);
    struct report_row *row =
        report_add(report, process, good ? AS_EXPECTED : NOT_AS_EXPECTED, "number of fds");
    row->passing = kind->connections;
    snprintf(row->expected, sizeof(row->expected),
             "0 to %u, %u to %u backend files, an eventfd for each of 1 to %u queues%s",
             WORKER_FD_BACKEND - 1u, kind->backend_fd_count, kind->backend_fds_max,
             kind->queues_max,
             kind->connections ? "; connections behind them"
             : kind->ring      ? "; the ring behind them"
                               : "; no others");
    if (good)
        snprintf(row->found, sizeof(row->found), "%zu: %u of the backend, %zu queues", fds->count,
                 *backends, own - WORKER_FD_BACKEND - *backends);
    else
        snprintf(row->found, sizeof(row->found), "%zu, of which %zu are numbered without a gap",
                 fds->count, numbered);
}

/* Checks one fd after the backend's: it is a kick, a filler, a connection, or one too many. */
static void verify_later_fd(struct report *report, const struct process *process,
                            const struct device_kind_info *kind, const struct open_fd *fd,
                            unsigned int kicks, size_t own)
{
    char words[REPORT_TEXT];
    bool good;
    if (fd->number < own) {
        snprintf(words, sizeof(words), "the kick eventfd of queue %u", fd->number - kicks);
        good = strcmp(fd->target, EVENTFD) == 0 && fd->number - kicks < kind->queues_max;
    } else if (fd->number < behind_fillers(kind)) {
        snprintf(words, sizeof(words), "nothing: %s behind it",
                 kind->ring ? "the ring has a number" : "connections have the numbers");
        good = strcmp(fd->target, "/dev/null") == 0;
    } else if (kind->ring && fd->number == WORKER_FD_RING) {
        snprintf(words, sizeof(words), "the io_uring, which takes only what its restrictions name");
        good = strcmp(fd->target, "anon_inode:[io_uring]") == 0;
    } else if (kind->connections) {
        snprintf(words, sizeof(words), "a connection that the broker made");
        good = starts_with(fd->target, "socket:[") &&
               fd->number < WORKER_FD_CONNECTION + CONNECTION_FDS_MAX;
    } else {
        snprintf(words, sizeof(words), "no file");
        good = false;
    }
    add_row(report, process, good, fd, words)->passing =
        kind->connections && fd->number >= WORKER_FD_CONNECTION;
}

static void verify_worker_fds(struct report *report, const struct verified *verified,
                              const struct open_fds *fds)
{
    const struct process *process = verified->process;
    const struct device_kind_info *kind = process_kind(verified->policy);
    unsigned int backends = 0;
    if (!kind) {
        snprintf(report_add(report, process, NOT_AS_EXPECTED, "fds")->found, REPORT_TEXT,
                 "%zu, of a kind of device that this build does not know", fds->count);
        return;
    }
    size_t own = count_own(kind, fds);
    bool fits = find_backends(kind, fds, own, &backends);
    unsigned int kicks = WORKER_FD_BACKEND + (fits ? backends : kind->backend_fds_max);
    verify_numbers(report, process, kind, fds, fits ? &backends : NULL);
    for (size_t i = 0; i < fds->count; i++) {
        const struct open_fd *fd = &fds->items[i];
        if (fd->number >= kicks)
            verify_later_fd(report, process, kind, fd, kicks, own);
        else
            add_row(report, process, is_of_kind(process->pid, fd), fd,
                    words_of(verified->policy, fd->number));
    }
}

static bool is_backend_file(const struct open_fd *fd)
{
    return (S_ISREG(fd->mode) || S_ISBLK(fd->mode) || S_ISCHR(fd->mode)) &&
           !starts_with(fd->target, "/memfd:");
}

/*
 * The keeper holds the DM files, journals and state pages of all devices; a worker must have none
 * of these. Only eventfds, /dev/null, and the files of the worker's own backend may be shared; the
 * keeper keeps those for the next broker.
 */
static void verify_shared_files(struct report *report, const struct verified *verified,
                                const struct open_fds *fds)
{
    static struct open_fds of_keeper;
    unsigned long shared = 0;
    char found[REPORT_TEXT] = "";
    if (!verified->keeper)
        return;
    open_fds_read(verified->keeper->pid, &of_keeper);
    for (size_t i = 0; i < fds->count * of_keeper.count; i++) {
        const struct open_fd *own = &fds->items[i / of_keeper.count];
        const struct open_fd *other = &of_keeper.items[i % of_keeper.count];
        if (strcmp(own->target, EVENTFD) == 0 || strcmp(own->target, "/dev/null") == 0 ||
            (is_backend_file(own) && own->number >= WORKER_FD_BACKEND))
            continue;
        long same = syscall(SYS_kcmp, verified->process->pid, verified->keeper->pid, KCMP_FILE,
                            (unsigned long)own->number, (unsigned long)other->number);
        if (same < 0) {
            snprintf(report_add(report, verified->process, TO_KNOW, "files of the keeper")->found,
                     REPORT_TEXT, "this kernel can't compare them (kcmp: %s)", strerror(errno));
            return;
        }
        if (same == 0)
            snprintf(found, sizeof(found), "fd %u is fd %u of the keeper: %.200s", own->number,
                     other->number, own->target);
        shared += same == 0;
    }
    report_equal(report, verified->process, "files of the keeper", "none",
                 shared == 0 ? "none" : found);
}

/* ---- The keeper's and the broker's ---- */

struct place {
    const char *target; /* how the target starts */
    const char *words;
    enum process_role role; /* which process may have it; PROCESS_OTHER: both */
};

static const struct place places[] = {
    {"/dev/null", "nothing", PROCESS_OTHER},
    {"socket:[", "a socket between two of the processes", PROCESS_OTHER},
    {"anon_inode:[eventfd]", "an eventfd of a device, or for its own threads", PROCESS_OTHER},
    {"anon_inode:[signalfd]", "the signals that end it", PROCESS_KEEPER},
    {"anon_inode:[pidfd]", "a process that it started", PROCESS_KEEPER},
    {"anon_inode:[eventpoll]", "an event loop", PROCESS_BROKER},
    {"anon_inode:[timerfd]", "a timer", PROCESS_BROKER},
    {"/sys/fs/cgroup/", "a cgroup: a worker's, or its own", PROCESS_KEEPER},
    {CONTROL_DIRECTORY "/claims", "who has what, among several keepers", PROCESS_KEEPER},
    {"/memfd:state", "a device's state page", PROCESS_OTHER},
    {"/memfd:journal", "a device's journal", PROCESS_OTHER},
    {"/memfd:", "a page that processes share, or what stands for a window in tests", PROCESS_OTHER},
    {"anon_inode:bao-dm", "a device's DM file", PROCESS_OTHER},
    {"anon_inode:[bao-dm", "a device's DM file", PROCESS_OTHER},
    {BAO_DM_NODE, "a device's DM file: its node", PROCESS_OTHER},
};

static void verify_nodes(struct report *report, const struct process *process,
                         const struct open_fds *fds)
{
    char found[REPORT_TEXT] = "none";
    for (size_t i = 0; i < fds->count; i++) {
        if (fds->items[i].is_node)
            snprintf(found, sizeof(found), "fd %u: %.200s", fds->items[i].number,
                     fds->items[i].target);
    }
    report_equal(report, process, "nodes of Bao's driver", "none", found);
}

static const char *place_of(const struct process *process, const struct open_fd *fd)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const struct place *place = &places[i];
        if (starts_with(fd->target, place->target) &&
            (place->role == PROCESS_OTHER || place->role == process->role))
            return place->words;
    }
    return NULL;
}

/* The programs of its children are in the same directory as its own. */
static bool is_sibling(const struct process *process, const char *target)
{
    const char *slash = strrchr(process->program, '/');
    size_t folder = slash ? (size_t)(slash - process->program) + 1 : 0;
    return folder > 0 && strncmp(process->program, target, folder) == 0 &&
           (starts_with(target + folder, "bao-virtio-broker") ||
            starts_with(target + folder, "bao-virtio-worker"));
}

/* What the keeper keeps for the next broker: backend files, and an O_PATH fd of a directory with
 * the sockets to connect to. */
static bool is_kept(pid_t pid, const struct open_fd *fd)
{
    return S_ISDIR(fd->mode) ? is_path_only(pid, fd->number)
                             : is_backend_file(fd) && !is_path_only(pid, fd->number);
}

static void verify_fd(struct report *report, const struct process *process,
                      const struct open_fd *fd)
{
    const char *words = place_of(process, fd);
    bool standard = fd->number <= STDERR_FILENO;
    if (fd->is_node)
        add_row(report, process, false, fd, "no node of Bao's driver");
    else if (words)
        add_row(report, process, true, fd, words);
    else if (standard && leads_nowhere(process->pid, fd))
        add_row(report, process, true, fd, "what it was started with: terminal, pipe or log");
    else if (process->role == PROCESS_KEEPER && is_sibling(process, fd->target))
        add_row(report, process, true, fd, "the program of a child");
    else if (process->role == PROCESS_KEEPER && is_kept(process->pid, fd))
        add_row(report, process, true, fd, "a backend's, kept for the next broker");
    else if (process->role == PROCESS_BROKER && is_backend_file(fd) &&
             leads_nowhere(process->pid, fd))
        add_row(report, process, true, fd, "a backend's file, to be compared with the YAML file");
    else
        add_row(report, process, false, fd, "no such file");
}

void verify_fds(struct report *report, const struct verified *verified)
{
    static struct open_fds fds;
    open_fds_read(verified->process->pid, &fds);
    if (fds.count == OPEN_FDS_MAX)
        snprintf(report_add(report, verified->process, NOT_AS_EXPECTED, "number of fds")->found,
                 REPORT_TEXT, "more than are looked at");
    /* The keeper may have another /dev than this program, and the broker has none. */
    open_fds_mark_nodes(verified->keeper ? verified->keeper->pid : verified->process->pid, &fds);
    verify_nodes(report, verified->process, &fds);
    if (verified->process->role == PROCESS_WORKER) {
        verify_worker_fds(report, verified, &fds);
        verify_shared_files(report, verified, &fds);
        return;
    }
    for (size_t i = 0; i < fds.count; i++)
        verify_fd(report, verified->process, &fds.items[i]);
}
