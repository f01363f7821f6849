/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/danger.h"

#include <string.h>
#include <sys/mman.h>

/* What makes a call harmless. */
enum unless {
    NEVER,   /* nothing makes it harmless */
    PINNED,  /* a condition on the argument, which says what the call does */
    NO_EXEC, /* a condition on `prot` that rules PROT_EXEC out */
};

#define EXECUTE "runs another program"
#define PROCESS "starts a process or a thread"
#define OPEN "opens a file by its name, as far as the root and Landlock let it"
#define FILES "changes the tree of files"
#define CONNECT "reaches other processes or machines"
#define MEMORY "reads or writes other processes' memory"
#define SIGNAL "signals other processes"
#define CODE "gets new executable memory"
#define KERNEL "reaches a large part of the kernel that filters don't see"
#define MOUNTS "changes what files there are"
#define IDENTITY "becomes someone else, if it has the capability"
#define MACHINE "changes the whole machine"
#define MANY "does whatever its command says"

static const struct danger {
    const char *call;
    const char *can;
    enum unless unless;
    const char *argument;
} dangers[] = {
    {"execve", EXECUTE, NEVER, NULL},
    {"execveat", EXECUTE, NEVER, NULL},
    {"fork", PROCESS, NEVER, NULL},
    {"vfork", PROCESS, NEVER, NULL},
    {"clone", PROCESS, NEVER, NULL},
    {"clone3", PROCESS, NEVER, NULL},
    {"open", OPEN, NEVER, NULL},
    {"openat", OPEN, NEVER, NULL},
    {"openat2", OPEN, NEVER, NULL},
    {"creat", OPEN, NEVER, NULL},
    {"open_by_handle_at", OPEN, NEVER, NULL},
    {"truncate", FILES, NEVER, NULL},
    {"rename", FILES, NEVER, NULL},
    {"renameat", FILES, NEVER, NULL},
    {"renameat2", FILES, NEVER, NULL},
    {"link", FILES, NEVER, NULL},
    {"linkat", FILES, NEVER, NULL},
    {"symlink", FILES, NEVER, NULL},
    {"symlinkat", FILES, NEVER, NULL},
    {"unlink", FILES, NEVER, NULL},
    {"unlinkat", FILES, NEVER, NULL},
    {"mkdir", FILES, NEVER, NULL},
    {"mkdirat", FILES, NEVER, NULL},
    {"mknod", FILES, NEVER, NULL},
    {"mknodat", FILES, NEVER, NULL},
    {"rmdir", FILES, NEVER, NULL},
    {"chmod", FILES, NEVER, NULL},
    {"fchmod", FILES, NEVER, NULL},
    {"fchmodat", FILES, NEVER, NULL},
    {"chown", FILES, NEVER, NULL},
    {"fchown", FILES, NEVER, NULL},
    {"fchownat", FILES, NEVER, NULL},
    {"socket", CONNECT, NEVER, NULL},
    {"connect", CONNECT, NEVER, NULL},
    {"bind", CONNECT, NEVER, NULL},
    {"listen", CONNECT, NEVER, NULL},
    {"accept", CONNECT, NEVER, NULL},
    {"accept4", CONNECT, NEVER, NULL},
    {"ptrace", MEMORY, NEVER, NULL},
    {"process_vm_readv", MEMORY, NEVER, NULL},
    {"process_vm_writev", MEMORY, NEVER, NULL},
    {"process_madvise", MEMORY, NEVER, NULL},
    {"pidfd_open", SIGNAL, NEVER, NULL},
    {"pidfd_getfd", "takes other processes' files", NEVER, NULL},
    {"pidfd_send_signal", SIGNAL, NEVER, NULL},
    {"kill", SIGNAL, NEVER, NULL},
    {"tkill", SIGNAL, NEVER, NULL},
    {"tgkill", SIGNAL, NEVER, NULL},
    {"rt_sigqueueinfo", SIGNAL, NEVER, NULL},
    {"rt_tgsigqueueinfo", SIGNAL, NEVER, NULL},
    {"mmap", CODE, NO_EXEC, "prot"},
    {"mprotect", CODE, NO_EXEC, "prot"},
    {"pkey_mprotect", CODE, NO_EXEC, "prot"},
    {"remap_file_pages", CODE, NEVER, NULL},
    {"io_uring_setup", KERNEL, NEVER, NULL},
    {"io_uring_enter", KERNEL, NEVER, NULL},
    {"io_uring_register", KERNEL, NEVER, NULL},
    {"bpf", KERNEL, NEVER, NULL},
    {"perf_event_open", KERNEL, NEVER, NULL},
    {"userfaultfd", KERNEL, NEVER, NULL},
    {"keyctl", KERNEL, NEVER, NULL},
    {"add_key", KERNEL, NEVER, NULL},
    {"request_key", KERNEL, NEVER, NULL},
    {"mount", MOUNTS, NEVER, NULL},
    {"umount2", MOUNTS, NEVER, NULL},
    {"move_mount", MOUNTS, NEVER, NULL},
    {"mount_setattr", MOUNTS, NEVER, NULL},
    {"open_tree", MOUNTS, NEVER, NULL},
    {"fsopen", MOUNTS, NEVER, NULL},
    {"fsmount", MOUNTS, NEVER, NULL},
    {"fsconfig", MOUNTS, NEVER, NULL},
    {"pivot_root", MOUNTS, NEVER, NULL},
    {"chroot", MOUNTS, NEVER, NULL},
    {"unshare", "makes namespaces, in which it may be root", NEVER, NULL},
    {"setns", "enters other processes' namespaces", NEVER, NULL},
    {"setuid", IDENTITY, NEVER, NULL},
    {"setgid", IDENTITY, NEVER, NULL},
    {"setreuid", IDENTITY, NEVER, NULL},
    {"setregid", IDENTITY, NEVER, NULL},
    {"setresuid", IDENTITY, NEVER, NULL},
    {"setresgid", IDENTITY, NEVER, NULL},
    {"setgroups", IDENTITY, NEVER, NULL},
    {"setfsuid", IDENTITY, NEVER, NULL},
    {"setfsgid", IDENTITY, NEVER, NULL},
    {"capset", IDENTITY, NEVER, NULL},
    {"personality", MACHINE, NEVER, NULL},
    {"init_module", MACHINE, NEVER, NULL},
    {"finit_module", MACHINE, NEVER, NULL},
    {"delete_module", MACHINE, NEVER, NULL},
    {"kexec_load", MACHINE, NEVER, NULL},
    {"kexec_file_load", MACHINE, NEVER, NULL},
    {"reboot", MACHINE, NEVER, NULL},
    {"swapon", MACHINE, NEVER, NULL},
    {"settimeofday", MACHINE, NEVER, NULL},
    {"clock_settime", MACHINE, NEVER, NULL},
    {"sethostname", MACHINE, NEVER, NULL},
    {"iopl", MACHINE, NEVER, NULL},
    {"ioperm", MACHINE, NEVER, NULL},
    {"ioctl", MANY, PINNED, "request"},
    {"fcntl", MANY, PINNED, "cmd"},
    {"prctl", MANY, PINNED, "option"},
    {"setsockopt", MANY, PINNED, "optname"},
};

static bool rules_out_exec(const struct policy_condition *condition)
{
    bool rules_out = (condition->mask & PROT_EXEC) != 0;
    for (unsigned int v = 0; v < condition->value_count; v++)
        rules_out &= (condition->values[v] & PROT_EXEC) == 0;
    return rules_out;
}

static bool is_harmless(const struct danger *danger, const struct policy_rule *rule)
{
    for (unsigned int c = 0; c < rule->condition_count && danger->unless != NEVER; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        if (strcmp(condition->argument, danger->argument) == 0)
            return danger->unless == PINNED || rules_out_exec(condition);
    }
    return false;
}

const char *danger_of(const struct policy_rule *rule)
{
    for (size_t i = 0; i < sizeof(dangers) / sizeof(dangers[0]); i++) {
        const struct danger *danger = &dangers[i];
        if (strcmp(danger->call, rule->call) == 0)
            return is_harmless(danger, rule) ? NULL : danger->can;
    }
    return NULL;
}
