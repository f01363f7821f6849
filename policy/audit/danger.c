/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/danger.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "policy/audit/audit.h"
#include "policy/audit/example.h"
#include "policy/audit/gap.h"

#define TESTS_MAX 128 /* of one argument; more are not looked at, so that more seems allowed */

/* ---- What a process can do, how far that reaches, and why it has that rank ---- */

enum power {
    KERNEL,
    CODE_OF_KERNEL,
    CRYPTO,
    DRIVERS,
    MEMORY,
    TAKE,
    MOUNTS,
    NAMESPACES,
    ENTER,
    EXECUTE,
    MACHINE,
    WEAKEN,
    NETWORK,
    KEYS,
    IDENTITY,
    CODE,
    OPEN,
    FILES,
    CONNECT,
    SIGNAL,
    OWN_STATE,
    PROCESS,
    SOCKETS,
    FILE_STATE,
};

static const struct danger powers[] = {
    [KERNEL] = {"reaches a large part of the kernel that filters don't see", RANK_HIGH,
                "much code that takes complicated input, with a long record of holes; no filter "
                "sees what it "
                "is asked"},
    [CODE_OF_KERNEL] = {"replaces the kernel's own code", RANK_HIGH,
                        "nothing is left that could confine it"},
    [CRYPTO] =
        {"reaches the kernel's cryptography by sockets of AF_ALG, among others", RANK_HIGH,
         "rarely used drivers behind an interface that needs no right, often part of exploits"},
    [DRIVERS] = {"does whatever its command says", RANK_HIGH,
                 "each driver has commands of its own: without a number, all of them are allowed"},
    [MEMORY] = {"reads or writes other processes' memory", RANK_HIGH,
                "whoever is written to acts for it, with its rights and filters"},
    [TAKE] = {"takes other processes' files", RANK_HIGH, "the rights of those files come along"},
    [MOUNTS] = {"changes what files there are", RANK_HIGH,
                "paths mean something else for others, and file systems' code is reached with "
                "chosen data"},
    [NAMESPACES] =
        {"makes processes and namespaces, in which it may be root", RANK_HIGH,
         "as root of a user namespace it reaches code of the kernel that only root should"},
    [ENTER] = {"enters other processes' namespaces", RANK_HIGH, "it leaves what confines it"},
    [EXECUTE] = {"runs another program", RANK_HIGH, "with any code, as far as its filters let it"},
    [MACHINE] = {"changes the whole machine", RANK_HIGH,
                 "everyone else is concerned, if it has the capability"},
    [WEAKEN] = {"weakens how its memory is protected", RANK_MEDIUM,
                "it makes another hole easier to use, and gives nothing else"},
    [NETWORK] = {"reaches other processes or machines, and the kernel by AF_NETLINK", RANK_HIGH,
                 "netlink's parsers have a long record of holes, and many need no right"},
    [KEYS] =
        {"reaches the kernel's keys", RANK_MEDIUM,
         "other processes' secrets, if they share a keyring, and a small, intricate part of the "
         "kernel"},
    [IDENTITY] = {"becomes someone else, if it has the capability", RANK_MEDIUM,
                  "nothing without a capability, everything of another user with it"},
    [CODE] = {"gets new executable memory", RANK_MEDIUM,
              "bytes of an attacker's become code: it makes another hole easier to use"},
    [OPEN] = {"opens a file by its name, as far as the root and Landlock let it", RANK_MEDIUM,
              "how far it reaches, the root, the user and Landlock decide"},
    [FILES] = {"changes the tree of files", RANK_MEDIUM,
               "it reaches as far as opening does, and what it changes stays"},
    [CONNECT] = {"reaches other processes or machines", RANK_MEDIUM,
                 "how far it reaches, namespaces and the root decide"},
    [SIGNAL] = {"signals other processes", RANK_MEDIUM, "it can end those of its user"},
    [OWN_STATE] = {"does whatever its command says", RANK_MEDIUM,
                   "each command changes the own process only, but some of them what confines it"},
    [PROCESS] = {"starts a process or a thread", RANK_LOW,
                 "it is as confined as its maker, but takes memory"},
    [SOCKETS] =
        {"does whatever its command says", RANK_LOW,
         "options of sockets that it has; those with holes need a capability or a kind of socket"},
    [FILE_STATE] = {"does whatever its command says", RANK_LOW, "it concerns files that it has"},
};

/* ---- Which call gives which power ---- */

/* The power is there if the calls that are allowed include one with (argument & mask) == value. */
static const struct row {
    const char *call;
    enum power power;
    const char *argument; /* NULL: whatever the arguments */
    uint32_t mask, value; /* UNPINNED: if the argument is not compared with any value */
} rows[] = {
#define ANY_CALL NULL, 0, 0
#define UNPINNED 0, 0
    {"execve", EXECUTE, ANY_CALL},
    {"execveat", EXECUTE, ANY_CALL},
    {"fork", PROCESS, ANY_CALL},
    {"vfork", PROCESS, ANY_CALL},
    {"clone", NAMESPACES, "flags", CLONE_NEWUSER, CLONE_NEWUSER},
    {"clone", PROCESS, ANY_CALL},
    {"clone3", NAMESPACES, ANY_CALL},
    {"open", OPEN, ANY_CALL},
    {"openat", OPEN, ANY_CALL},
    {"openat2", OPEN, ANY_CALL},
    {"creat", OPEN, ANY_CALL},
    {"open_by_handle_at", OPEN, ANY_CALL},
    {"truncate", FILES, ANY_CALL},
    {"rename", FILES, ANY_CALL},
    {"renameat", FILES, ANY_CALL},
    {"renameat2", FILES, ANY_CALL},
    {"link", FILES, ANY_CALL},
    {"linkat", FILES, ANY_CALL},
    {"symlink", FILES, ANY_CALL},
    {"symlinkat", FILES, ANY_CALL},
    {"unlink", FILES, ANY_CALL},
    {"unlinkat", FILES, ANY_CALL},
    {"mkdir", FILES, ANY_CALL},
    {"mkdirat", FILES, ANY_CALL},
    {"mknod", FILES, ANY_CALL},
    {"mknodat", FILES, ANY_CALL},
    {"rmdir", FILES, ANY_CALL},
    {"chmod", FILES, ANY_CALL},
    {"fchmod", FILES, ANY_CALL},
    {"fchmodat", FILES, ANY_CALL},
    {"chown", FILES, ANY_CALL},
    {"fchown", FILES, ANY_CALL},
    {"fchownat", FILES, ANY_CALL},
    {"socket", CRYPTO, "domain", UINT32_MAX, AF_ALG},
    {"socket", NETWORK, "domain", UINT32_MAX, AF_NETLINK},
    {"socket", CONNECT, ANY_CALL},
    {"connect", CONNECT, ANY_CALL},
    {"bind", CONNECT, ANY_CALL},
    {"listen", CONNECT, ANY_CALL},
    {"accept", CONNECT, ANY_CALL},
    {"accept4", CONNECT, ANY_CALL},
    {"ptrace", MEMORY, ANY_CALL},
    {"process_vm_readv", MEMORY, ANY_CALL},
    {"process_vm_writev", MEMORY, ANY_CALL},
    {"process_madvise", MEMORY, ANY_CALL},
    {"pidfd_open", SIGNAL, ANY_CALL},
    {"pidfd_getfd", TAKE, ANY_CALL},
    {"pidfd_send_signal", SIGNAL, ANY_CALL},
    {"kill", SIGNAL, ANY_CALL},
    {"tkill", SIGNAL, ANY_CALL},
    {"tgkill", SIGNAL, ANY_CALL},
    {"rt_sigqueueinfo", SIGNAL, ANY_CALL},
    {"rt_tgsigqueueinfo", SIGNAL, ANY_CALL},
    {"mmap", CODE, "prot", PROT_EXEC, PROT_EXEC},
    {"mprotect", CODE, "prot", PROT_EXEC, PROT_EXEC},
    {"pkey_mprotect", CODE, "prot", PROT_EXEC, PROT_EXEC},
    {"remap_file_pages", CODE, ANY_CALL},
    {"io_uring_setup", KERNEL, ANY_CALL},
    {"io_uring_enter", KERNEL, ANY_CALL},
    {"io_uring_register", KERNEL, ANY_CALL},
    {"bpf", KERNEL, ANY_CALL},
    {"perf_event_open", KERNEL, ANY_CALL},
    {"userfaultfd", KERNEL, ANY_CALL},
    {"keyctl", KEYS, ANY_CALL},
    {"add_key", KEYS, ANY_CALL},
    {"request_key", KEYS, ANY_CALL},
    {"mount", MOUNTS, ANY_CALL},
    {"umount2", MOUNTS, ANY_CALL},
    {"move_mount", MOUNTS, ANY_CALL},
    {"mount_setattr", MOUNTS, ANY_CALL},
    {"open_tree", MOUNTS, ANY_CALL},
    {"fsopen", MOUNTS, ANY_CALL},
    {"fsmount", MOUNTS, ANY_CALL},
    {"fsconfig", MOUNTS, ANY_CALL},
    {"pivot_root", MOUNTS, ANY_CALL},
    {"chroot", MOUNTS, ANY_CALL},
    {"unshare", NAMESPACES, ANY_CALL},
    {"setns", ENTER, ANY_CALL},
    {"setuid", IDENTITY, ANY_CALL},
    {"setgid", IDENTITY, ANY_CALL},
    {"setreuid", IDENTITY, ANY_CALL},
    {"setregid", IDENTITY, ANY_CALL},
    {"setresuid", IDENTITY, ANY_CALL},
    {"setresgid", IDENTITY, ANY_CALL},
    {"setgroups", IDENTITY, ANY_CALL},
    {"setfsuid", IDENTITY, ANY_CALL},
    {"setfsgid", IDENTITY, ANY_CALL},
    {"capset", IDENTITY, ANY_CALL},
    {"personality", WEAKEN, ANY_CALL},
    {"init_module", CODE_OF_KERNEL, ANY_CALL},
    {"finit_module", CODE_OF_KERNEL, ANY_CALL},
    {"delete_module", CODE_OF_KERNEL, ANY_CALL},
    {"kexec_load", CODE_OF_KERNEL, ANY_CALL},
    {"kexec_file_load", CODE_OF_KERNEL, ANY_CALL},
    {"reboot", MACHINE, ANY_CALL},
    {"swapon", MACHINE, ANY_CALL},
    {"settimeofday", MACHINE, ANY_CALL},
    {"clock_settime", MACHINE, ANY_CALL},
    {"sethostname", MACHINE, ANY_CALL},
    {"iopl", MACHINE, ANY_CALL},
    {"ioperm", MACHINE, ANY_CALL},
    {"ioctl", DRIVERS, "request", UNPINNED},
    {"fcntl", FILE_STATE, "cmd", UNPINNED},
    {"prctl", OWN_STATE, "option", UNPINNED},
    {"setsockopt", SOCKETS, "optname", UNPINNED},
    {"fspick", MOUNTS, ANY_CALL},
    {"quotactl", MACHINE, ANY_CALL},
    {"modify_ldt", KERNEL, ANY_CALL},
    {"fanotify_init", KERNEL, ANY_CALL},
    {"kcmp", MEMORY, ANY_CALL},
};

static unsigned int index_of(const struct row *row)
{
    unsigned int index = 0;
    while (index < POLICY_ARGUMENTS - 1 &&
           strcmp(audit_argument_name(row->call, index), row->argument) != 0)
        index++;
    return index;
}

/* Whether the calls that meet the tests include one to which the row applies. Only the tests of the
 * row's argument count, as each test is about one word. */
static bool applies(const struct row *row, const struct ways_test *tests, size_t count)
{
    struct ways_test own[TESTS_MAX];
    size_t own_count = 0;
    bool pinned = false;
    if (!row->argument)
        return true;
    unsigned int word = (unsigned int)WAYS_WORD_OF(args) + 2 * index_of(row);
    for (size_t i = 0; i < count; i++) {
        if (tests[i].word != word)
            continue;
        pinned |= tests[i].relation == WAYS_EQUAL;
        if (own_count < TESTS_MAX - 1)
            own[own_count++] = tests[i];
    }
    own[own_count++] = (struct ways_test){word, WAYS_EQUAL, row->mask, row->value};
    return row->mask == 0 ? !pinned : example_may_exist(own, own_count);
}

const struct danger *danger_of_way(const char *call, const struct ways_test *tests, size_t count)
{
    for (size_t i = 0; call && i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].call, call) == 0 && applies(&rows[i], tests, count))
            return &powers[rows[i].power];
    }
    return NULL;
}

const struct danger *danger_of(const struct policy_rule *rule)
{
    const struct danger *worst = NULL;
    unsigned int choice[POLICY_ARGUMENTS] = {0};
    do {
        struct ways_test tests[RULE_TESTS_MAX];
        size_t count = rule_tests(rule, choice, tests);
        const struct danger *danger = danger_of_way(rule->call, tests, count);
        if (danger && (!worst || danger->rank > worst->rank))
            worst = danger;
    } while (policy_next_choice(rule, choice));
    return worst;
}

/* ---- Ranks ---- */

static const struct {
    const char *name;
    unsigned int points;
} ranks[RANKS] = {{"low", 1}, {"medium", 3}, {"high", 10}};

const char *rank_name(enum rank rank)
{
    return ranks[rank].name;
}

unsigned int rank_points(enum rank rank)
{
    return ranks[rank].points;
}

void ranks_in_words(const size_t counts[RANKS], char *ret, size_t size)
{
    size_t used = 0;
    ret[0] = '\0';
    for (int rank = RANKS - 1; rank >= 0 && used < size; rank--) {
        if (counts[rank] > 0)
            used += (size_t)snprintf(ret + used, size - used, "%s%zu %s", used > 0 ? ", " : "",
                                     counts[rank], ranks[rank].name);
    }
}
