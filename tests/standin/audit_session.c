/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/audit_session.h"

#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "tests/standin/inject.h"

char audit_answer[1 << 18];

#define COMMAND_MAX 4096

static int ask(const char *command)
{
    FILE *pipe = popen(command, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
    size_t length = fread(audit_answer, 1, sizeof(audit_answer) - 1, pipe);
    audit_answer[length] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int audit_ask(const char *format, ...)
{
    char command[COMMAND_MAX];
    va_list arguments;
    va_start(arguments, format);
    CU_ASSERT_FATAL(vsnprintf(command, sizeof(command), format, arguments) < COMMAND_MAX);
    va_end(arguments);
    return ask(command);
}

static int run_tool(const char *tool, const char *format, va_list arguments)
{
    char command[COMMAND_MAX];
    int used = snprintf(command, sizeof(command), "timeout 60 '%s' ", tool);
    used += vsnprintf(command + used, sizeof(command) - (size_t)used, format, arguments);
    snprintf(command + used, sizeof(command) - (size_t)used, " 2>&1");
    return ask(command);
}

int audit_run(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int status = run_tool(PROGRAM_DIR "/bao-seccomp", format, arguments);
    va_end(arguments);
    return status;
}

int audit_run_policy(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int status = run_tool(PROGRAM_DIR "/bao-policy", format, arguments);
    va_end(arguments);
    return status;
}

bool audit_says(const char *text)
{
    bool found = strstr(audit_answer, text) != NULL;
    if (!found)
        printf("\n    expected \"%s\"", text);
    return found;
}

/* ---- Tampering ---- */

static long call(pid_t pid, long number, const long arguments[6])
{
    long result = -1;
    CU_ASSERT_EQUAL(inject_call(pid, number, arguments, &result), 1);
    return result;
}

/* An address in the memory of a stopped process where the process keeps nothing: far below its
 * stack pointer. */
static long scratch_of(pid_t pid)
{
    char text[512] = "", path[64];
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fgets(text, sizeof(text), file));
    fclose(file);
    const char *last = strrchr(text, ' ');
    while (last > text && last[-1] != ' ')
        last--;
    unsigned long pointer = strtoul(last, NULL, 16);
    CU_ASSERT_FATAL(pointer > 4096);
    return (long)((pointer - 4096) & ~15ul);
}

static void write_to(pid_t pid, long address, void *from, size_t size)
{
    struct iovec local = {from, size}, remote = {(void *)address, size};
    CU_ASSERT_EQUAL(process_vm_writev(pid, &local, 1, &remote, 1, 0), (ssize_t)size);
}

static void read_from(pid_t pid, long address, void *to, size_t size)
{
    struct iovec local = {to, size}, remote = {(void *)address, size};
    CU_ASSERT_EQUAL(process_vm_readv(pid, &local, 1, &remote, 1, 0), (ssize_t)size);
}

long audit_add_fd(pid_t pid)
{
    CU_ASSERT_EQUAL_FATAL(inject_attach(pid), 0);
    long fd = call(pid, SYS_epoll_create1, (const long[6]){0});
    CU_ASSERT_EQUAL(inject_detach(pid), 0);
    CU_ASSERT_FATAL(fd > 2);
    return fd;
}

long audit_add_file(pid_t pid, const char *path)
{
    char name[64] = "";
    snprintf(name, sizeof(name), "%s", path);
    CU_ASSERT_EQUAL_FATAL(inject_attach(pid), 0);
    long address = scratch_of(pid);
    write_to(pid, address, name, sizeof(name));
    long fd = call(pid, SYS_openat, (const long[6]){AT_FDCWD, address, O_RDWR | O_CLOEXEC});
    CU_ASSERT_EQUAL(inject_detach(pid), 0);
    CU_ASSERT_FATAL(fd > 2);
    return fd;
}

void audit_remove_fd(pid_t pid, long fd)
{
    CU_ASSERT_EQUAL_FATAL(inject_attach(pid), 0);
    CU_ASSERT_EQUAL(call(pid, SYS_close, (const long[6]){fd}), 0);
    CU_ASSERT_EQUAL(inject_detach(pid), 0);
}

void audit_add_filter(pid_t pid)
{
    struct {
        struct sock_fprog program;
        struct sock_filter filter;
    } extra = {.program.len = 1, .filter = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    CU_ASSERT_EQUAL_FATAL(inject_attach(pid), 0);
    long address = scratch_of(pid);
    extra.program.filter = (void *)(address + (long)offsetof(__typeof__(extra), filter));
    write_to(pid, address, &extra, sizeof(extra));
    CU_ASSERT_EQUAL(call(pid, SYS_seccomp, (const long[6]){SECCOMP_SET_MODE_FILTER, 0, address}),
                    0);
    CU_ASSERT_EQUAL(inject_detach(pid), 0);
}

void audit_add_inheritable(pid_t pid)
{
    struct {
        struct __user_cap_header_struct header;
        struct __user_cap_data_struct data[2];
    } sets = {.header = {.version = _LINUX_CAPABILITY_VERSION_3}};
    CU_ASSERT_EQUAL_FATAL(inject_attach(pid), 0);
    long address = scratch_of(pid), data = address + (long)offsetof(__typeof__(sets), data);
    const long arguments[6] = {address, data};
    write_to(pid, address, &sets, sizeof(sets));
    CU_ASSERT_EQUAL(call(pid, SYS_capget, arguments), 0);
    read_from(pid, address, &sets, sizeof(sets));
    for (size_t i = 0; i < 2; i++)
        sets.data[i].inheritable = sets.data[i].permitted;
    write_to(pid, address, &sets, sizeof(sets));
    CU_ASSERT_EQUAL(call(pid, SYS_capset, arguments), 0);
    CU_ASSERT_EQUAL(inject_detach(pid), 0);
}
