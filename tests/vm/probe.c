/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define GUEST_MEMORY 4096u
#define PROBE_PORT 0x42u
#define TIME_LIMIT_S 2u
#define COUNTER_US 200000u /* how long its counts are compared with the kernel's clock */
#define COUNTER_TRIES 16u

/* mov $0x29, %al; inc %al; out %al, $0x42; hlt */
static const uint8_t guest_code[] = {0xb0, 0x29, 0xfe, 0xc0, 0xe6, PROBE_PORT, 0xf4};
#define EXPECTED_VALUE 0x2a

static void too_late(int signal_number)
{
    (void)signal_number;
    static const char message[] = "KVM: a guest of four instructions did not end\n";
    (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
    _exit(1);
}

static int failed(const char *step)
{
    (void)fprintf(stderr, "KVM: %s: %s\n", step, strerror(errno));
    return 1;
}

static int run_guest(int cpu, const struct kvm_run *run)
{
    if (ioctl(cpu, KVM_RUN, 0) < 0)
        return failed("KVM_RUN");
    const uint8_t *data = (const uint8_t *)run + run->io.data_offset;
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == PROBE_PORT && *data == EXPECTED_VALUE)
        return 0;
    (void)fprintf(stderr, "KVM: the guest stopped for reason %u\n", run->exit_reason);
    return 1;
}

int probe_kvm(void)
{
    struct sigaction action = {.sa_handler = too_late};
    sigaction(SIGALRM, &action, NULL);
    alarm(TIME_LIMIT_S);
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return failed("/dev/kvm");
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        return failed("KVM_CREATE_VM");
    uint8_t *memory =
        mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return failed("mmap");
    memcpy(memory, guest_code, sizeof(guest_code));
    struct kvm_userspace_memory_region region = {.memory_size = GUEST_MEMORY,
                                                 .userspace_addr = (uintptr_t)memory};
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return failed("KVM_SET_USER_MEMORY_REGION");
    int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (cpu < 0 || run_size < 0)
        return failed("KVM_CREATE_VCPU");
    struct kvm_run *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (run == MAP_FAILED)
        return failed("mmap");
    struct kvm_sregs sregs;
    if (ioctl(cpu, KVM_GET_SREGS, &sregs) < 0)
        return failed("KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    struct kvm_regs regs = {.rip = 0, .rflags = 2};
    if (ioctl(cpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(cpu, KVM_SET_REGS, &regs) < 0)
        return failed("KVM_SET_REGS");
    return run_guest(cpu, run);
}

/* The clock (ns) and the counter at one moment: the best of some tries, since another process may
 * have had the processor in between. */
static uint64_t clock_and_counter(uint64_t *ret_counter)
{
    uint64_t shortest = UINT64_MAX, ns = 0;
    for (unsigned int i = 0; i < COUNTER_TRIES; i++) {
        struct timespec now;
        uint64_t before = __builtin_ia32_rdtsc();
        clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t took = __builtin_ia32_rdtsc() - before;
        if (took >= shortest)
            continue;
        shortest = took;
        ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        *ret_counter = before;
    }
    return ns;
}

int probe_counter(void)
{
    uint64_t first = 0, last = 0;
    const uint64_t start = clock_and_counter(&first);
    (void)usleep(COUNTER_US);
    const uint64_t end = clock_and_counter(&last);
    printf("%llu\n", (unsigned long long)((last - first) * 1000000u / (end - start)));
    return 0;
}
