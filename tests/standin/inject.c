/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/inject.h"

#include <elf.h>
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__riscv)
#include <asm/ptrace.h>
#endif

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

#define ATTEMPTS 500 /* of 10 ms each */

#if defined(__x86_64__)
#define CALL_INSTRUCTION 0x050fu /* syscall */
#define CALL_LENGTH 2
#elif defined(__aarch64__)
#define CALL_INSTRUCTION 0xd4000001u /* svc #0 */
#define CALL_LENGTH 4
#elif defined(__riscv)
#define CALL_INSTRUCTION 0x00000073u /* ecall */
#define CALL_LENGTH 4
#endif

typedef struct user_regs_struct registers;

static int get_registers(pid_t pid, registers *ret)
{
    struct iovec set = {ret, sizeof(*ret)};
    return ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &set) < 0 ? -errno : 0;
}

static int set_registers(pid_t pid, const registers *regs)
{
    struct iovec set = {(void *)regs, sizeof(*regs)};
    return ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &set) < 0 ? -errno : 0;
}

/* Set the process before its system call instruction, with another call. `behind`: it stands behind
 * the instruction. */
static void prepare_call(registers *regs, bool behind, long number, const long a[6])
{
#if defined(__x86_64__)
    regs->rip -= behind ? CALL_LENGTH : 0;
    regs->orig_rax = ~0ull; /* no call to restart */
    regs->rax = (unsigned long long)number;
    regs->rdi = (unsigned long long)a[0];
    regs->rsi = (unsigned long long)a[1];
    regs->rdx = (unsigned long long)a[2];
    regs->r10 = (unsigned long long)a[3];
    regs->r8 = (unsigned long long)a[4];
    regs->r9 = (unsigned long long)a[5];
#elif defined(__aarch64__)
    regs->pc -= behind ? CALL_LENGTH : 0;
    regs->regs[8] = (unsigned long long)number;
    for (int i = 0; i < 6; i++)
        regs->regs[i] = (unsigned long long)a[i];
#elif defined(__riscv)
    regs->pc -= behind ? CALL_LENGTH : 0;
    regs->a7 = (unsigned long)number;
    regs->a0 = (unsigned long)a[0];
    regs->a1 = (unsigned long)a[1];
    regs->a2 = (unsigned long)a[2];
    regs->a3 = (unsigned long)a[3];
    regs->a4 = (unsigned long)a[4];
    regs->a5 = (unsigned long)a[5];
#endif
}

static unsigned long program_counter(const registers *regs)
{
#if defined(__x86_64__)
    return regs->rip;
#else
    return regs->pc;
#endif
}

static long call_result(const registers *regs)
{
#if defined(__x86_64__)
    return (long)regs->rax;
#elif defined(__aarch64__)
    return (long)regs->regs[0];
#elif defined(__riscv)
    return (long)regs->a0;
#endif
}

static bool is_call(pid_t pid, unsigned long address)
{
    const unsigned long mask = CALL_LENGTH == 2 ? 0xffff : 0xffffffff;
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, pid, address, 0);
    return errno == 0 && ((unsigned long)word & mask) == CALL_INSTRUCTION;
}

static bool is_behind_call(pid_t pid, const registers *regs)
{
    return is_call(pid, program_counter(regs) - CALL_LENGTH);
}

/* Other architectures than x86 set a process that waits in a call back before the instruction, to
 * repeat the call, and only then let it stop. */
static bool is_before_call(pid_t pid, const registers *regs)
{
    return CALL_LENGTH != 2 && is_call(pid, program_counter(regs));
}

/* Wait for a stop. Returns 1; 0 with the status if the process has ended; -errno. */
static int wait_stop(pid_t pid, int *ret_status)
{
    pid_t waited;
    do
        waited = waitpid(pid, ret_status, __WALL);
    while (waited < 0 && errno == EINTR);
    if (waited < 0)
        return -errno;
    return WIFSTOPPED(*ret_status) ? 1 : 0;
}

int inject_attach(pid_t pid)
{
    if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) < 0)
        return -errno;
    for (int i = 0; i < ATTEMPTS; i++) {
        registers regs = {0};
        int status;
        if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
            return -errno;
        int stopped = wait_stop(pid, &status);
        if (stopped <= 0)
            return stopped < 0 ? stopped : -ESRCH;
        int error = get_registers(pid, &regs);
        if (error < 0)
            return error;
        if (is_behind_call(pid, &regs) || is_before_call(pid, &regs))
            return 0;
        if (ptrace(PTRACE_CONT, pid, 0, 0) < 0)
            return -errno;
        usleep(10000);
    }
    return -ETIMEDOUT;
}

/* Run to the next entry or exit of a system call. Other stops are ignored. */
static int run_to_call(pid_t pid, int *ret_status)
{
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, pid, 0, 0) < 0)
            return -errno;
        int stopped = wait_stop(pid, ret_status);
        if (stopped <= 0 || WSTOPSIG(*ret_status) == (SIGTRAP | 0x80))
            return stopped;
    }
}

/* A filter that kills lets the call return first, so that a debugger sees it. Then the process
 * dies. */
static bool is_doomed(pid_t pid)
{
    struct __ptrace_peeksiginfo_args all = {.nr = 8};
    siginfo_t pending[8];
    long count = ptrace(PTRACE_PEEKSIGINFO, pid, &all, pending);
    for (long i = 0; i < count; i++) {
        if (pending[i].si_signo == SIGSYS)
            return true;
    }
    return false;
}

static int see_it_die(pid_t pid, long *ret_status)
{
    int status;
    if (ptrace(PTRACE_CONT, pid, 0, 0) < 0)
        return -errno;
    int stopped = wait_stop(pid, &status);
    if (stopped == 0)
        *ret_status = status;
    return stopped > 0 ? -EBUSY : stopped;
}

/* At the entry of a call. Where the kernel was about to continue a call that waits for a time, it
 * has replaced our number by that of restart_syscall. */
static int set_number(pid_t pid, long number)
{
#if defined(__aarch64__)
    int value = (int)number;
    struct iovec set = {&value, sizeof(value)};
    return ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &set) < 0 ? -errno : 0;
#elif defined(__riscv)
    registers regs = {0};
    int error = get_registers(pid, &regs);
    regs.a7 = (unsigned long)number;
    return error < 0 ? error : set_registers(pid, &regs);
#else
    (void)pid, (void)number;
    return 0;
#endif
}

int inject_call(pid_t pid, long number, const long arguments[6], long *ret_result)
{
    registers before = {0}, regs = {0};
    int status;
    int error = get_registers(pid, &before);
    if (error < 0)
        return error;
    regs = before;
    prepare_call(&regs, is_behind_call(pid, &before), number, arguments);
    error = set_registers(pid, &regs);
    if (error < 0)
        return error;
    /* The first stop is the call's entry, the second its exit, unless the filter ends the process
     * in between. */
    for (int stops = 0; stops < 2; stops++) {
        int stopped = run_to_call(pid, &status);
        if (stopped < 0)
            return stopped;
        if (stopped == 0) {
            *ret_result = status;
            return 0;
        }
        if (stops == 0 && (error = set_number(pid, number)) < 0)
            return error;
    }
    if (is_doomed(pid))
        return see_it_die(pid, ret_result);
    error = get_registers(pid, &regs);
    if (error == 0)
        error = set_registers(pid, &before);
    if (error < 0)
        return error;
    *ret_result = call_result(&regs);
    return 1;
}

static unsigned long stack_pointer(const registers *regs)
{
#if defined(__x86_64__)
    return regs->rsp;
#else
    return regs->sp;
#endif
}

/* Text can be written as well: a debugger's write makes a private copy of the page. */
static int poke(pid_t pid, unsigned long address, const void *data, size_t size)
{
    for (size_t at = 0; at < size; at += sizeof(long)) {
        long word = 0;
        size_t part = size - at < sizeof(word) ? size - at : sizeof(word);
        if (part < sizeof(word)) {
            errno = 0;
            word = ptrace(PTRACE_PEEKDATA, pid, address + at, 0);
            if (errno != 0)
                return -errno;
        }
        memcpy(&word, (const char *)data + at, part);
        if (ptrace(PTRACE_POKEDATA, pid, address + at, word) < 0)
            return -errno;
    }
    return 0;
}

unsigned long inject_data(pid_t pid, const void *data, size_t size)
{
    registers regs = {0};
    if (get_registers(pid, &regs) < 0)
        return 0;
    unsigned long address = (stack_pointer(&regs) - 2048) & ~15ul;
    return poke(pid, address, data, size) < 0 ? 0 : address;
}

int inject_endless(pid_t pid, long number, const long arguments[6])
{
    registers regs = {0};
    int error = get_registers(pid, &regs);
    if (error < 0)
        return error;
    prepare_call(&regs, is_behind_call(pid, &regs), number, arguments);
    /* The code: make the call; set the register that holds its result as it was before; jump back.
     */
#if defined(__x86_64__)
    static const unsigned char code[] = {0x0f, 0x05, 0x4c, 0x89, 0xf8, 0xeb, 0xf9};
    regs.r15 = (unsigned long long)number;
#elif defined(__aarch64__)
    static const uint32_t code[] = {0xd4000001, 0xaa1303e0, 0x17fffffe};
    regs.regs[19] = (unsigned long long)arguments[0];
#elif defined(__riscv)
    static const uint32_t code[] = {0x00000073, 0x00048513, 0xff9ff06f};
    regs.s1 = (unsigned long)arguments[0];
#endif
    error = poke(pid, program_counter(&regs), code, sizeof(code));
    if (error == 0)
        error = set_registers(pid, &regs);
    return error < 0 ? error : inject_detach(pid);
}

int inject_get_filter(pid_t pid, unsigned int index, struct sock_filter *filter)
{
    long length = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (unsigned long)index, filter);
    return length < 0 ? -errno : (int)length;
}

int inject_detach(pid_t pid)
{
    return ptrace(PTRACE_DETACH, pid, 0, 0) < 0 ? -errno : 0;
}
