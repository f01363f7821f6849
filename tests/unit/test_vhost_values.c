/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can a worker of a vhost device tell the kernel through pointers? The real filters are in
 * force. They allow only the values of one page. The page holds nothing but what such a device
 * needs, and nobody can change it.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/policy.h"
#include "common/worker_fds.h"
#include "tests/cunit_main.h"
#include "worker/vhost/values.h"

#define BIT(n) (1ull << (n))
#define TAP (WORKER_FD_BACKEND + 1)
#define SIZE_MAX_OF_RINGS 256u

static const struct vhost_features features = {.always = BIT(32),
                                               .choices = {BIT(1), BIT(5), BIT(29)}};

static int map(uint64_t offered)
{
    munmap((void *)VHOST_VALUES, VHOST_VALUES_SIZE);
    return vhost_values_map(&features, offered, SIZE_MAX_OF_RINGS, TAP);
}

/* Every value that the filter passes as features has only bits that the device offers. Each
 * combination that a driver can accept is there. */
static void test_features(void)
{
    const uint64_t all = vhost_features_all(&features);
    for (uint64_t left_out = 0; left_out < 8; left_out++) {
        uint64_t offered = ~0ull & ~((left_out & 1 ? BIT(1) : 0) | (left_out & 2 ? BIT(5) : 0) |
                                     (left_out & 4 ? BIT(29) : 0));
        CU_ASSERT_EQUAL_FATAL(map(offered), 0);
        for (uintptr_t at = VHOST_VALUES_FEATURES;
             at <= (VHOST_VALUES_FEATURES | VHOST_VALUES_FEATURES_BITS); at += sizeof(uint64_t)) {
            uint64_t value = *(const uint64_t *)at;
            CU_ASSERT_EQUAL(value & ~(all & offered), 0);
            CU_ASSERT_EQUAL(value & BIT(VIRTIO_F_ACCESS_PLATFORM), 0);
            CU_ASSERT_EQUAL(value & BIT(32), BIT(32));
        }
        for (uint64_t n = 0; n < 8; n++) {
            uint64_t accepted = (n & 1 ? BIT(1) : 0) | (n & 2 ? BIT(5) : 0) | (n & 4 ? BIT(29) : 0);
            accepted &= offered;
            /* The other features that the driver has accepted are not for vhost. */
            const uint64_t *value = vhost_values_features(&features, accepted | BIT(33) | BIT(40));
            CU_ASSERT_EQUAL(*value, BIT(32) | accepted);
            CU_ASSERT_EQUAL((uintptr_t)value & ~(uintptr_t)VHOST_VALUES_FEATURES_BITS,
                            VHOST_VALUES_FEATURES);
        }
    }
}

static void test_others(void)
{
    CU_ASSERT_EQUAL_FATAL(map(~0ull), 0);
    for (uintptr_t at = VHOST_VALUES_NUM; at <= (VHOST_VALUES_NUM | VHOST_VALUES_NUM_BITS);
         at += sizeof(struct vhost_vring_state)) {
        const struct vhost_vring_state *value = (const struct vhost_vring_state *)at;
        CU_ASSERT(value->index < VHOST_VALUES_QUEUES);
        CU_ASSERT(value->num <= SIZE_MAX_OF_RINGS); /* 0: the kernel refuses it */
    }
    for (unsigned int q = 0; q < VHOST_VALUES_QUEUES; q++) {
        for (uint32_t size = 1; size <= SIZE_MAX_OF_RINGS; size *= 2) {
            CU_ASSERT_EQUAL(vhost_values_num(q, size)->index, q);
            CU_ASSERT_EQUAL(vhost_values_num(q, size)->num, size);
        }
        CU_ASSERT_EQUAL(vhost_values_backend(q, false)->index, q);
        CU_ASSERT_EQUAL(vhost_values_backend(q, false)->fd, -1);
        CU_ASSERT_EQUAL(vhost_values_backend(q, true)->index, q);
        CU_ASSERT_EQUAL(vhost_values_backend(q, true)->fd, TAP);
    }
    CU_ASSERT_EQUAL(*vhost_values_running(false), 0);
    CU_ASSERT_EQUAL(*vhost_values_running(true), 1);
}

/* If something else is mapped at that address, this is reported, and the mapping stays. */
static void test_address_taken(void)
{
    CU_ASSERT_EQUAL_FATAL(map(~0ull), 0);
    CU_ASSERT_EQUAL(vhost_values_map(&features, ~0ull, SIZE_MAX_OF_RINGS, TAP), -EEXIST);
    CU_ASSERT_EQUAL(*vhost_values_running(true), 1);
}

/* ---- Under the filter ---- */

struct attempt {
    unsigned long request;
    uintptr_t argument; /* 0: the value is elsewhere */
};

static long elsewhere; /* a correct value, but in the wrong place */

/* How a child ends that makes one attempt as a worker of that policy: the signal, or 0. */
static int end_of(const char *policy, void (*act)(const void *), const void *argument)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = {0, 0};
        const struct policy_program *program = policy_find(policy);
        setrlimit(RLIMIT_CORE, &none);
        if (map(~0ull) < 0 || !program || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            policy_load(program, 0) < 0)
            _exit(1);
        act(argument);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

/* No vhost file has that number here. So a call that passes the filter fails. */
static void call(const void *argument)
{
    const struct attempt *attempt = argument;
    (void)ioctl(WORKER_FD_BACKEND, attempt->request,
                attempt->argument ? attempt->argument : (uintptr_t)&elsewhere);
}

static void expect(const char *policy, unsigned long request, uintptr_t argument, int end)
{
    const struct attempt attempt = {request, argument};
    CU_ASSERT_EQUAL(end_of(policy, call, &attempt), end);
}

/* Asserts that a table of `count` values of `size` bytes passes, and nothing beside it. */
static void expect_pinned(const char *policy, unsigned long request, uintptr_t table, size_t size,
                          unsigned int count)
{
    for (unsigned int i = 0; i<count; i += count> 8 ? count / 8 : 1)
        expect(policy, request, table + i * size, 0);
    expect(policy, request, table + (count - 1) * size, 0);
    expect(policy, request, 0, SIGSYS);
    expect(policy, request, table + count * size, SIGSYS);
    expect(policy, request, table - size, SIGSYS);
    expect(policy, request, table + 1, SIGSYS);
    expect(policy, request, table + size / 2, SIGSYS);
    expect(policy, request, table | 1ull << 32, SIGSYS);
    expect(policy, request, table | 1ull << 63, SIGSYS);
}

static void test_pointers_are_pinned(void)
{
    static const char *const policies[] = {"net/vhost", "vsock/vhost"};
    for (size_t i = 0; i < 2; i++) {
        expect_pinned(policies[i], VHOST_SET_FEATURES, VHOST_VALUES_FEATURES, 8, 8);
        expect_pinned(policies[i], VHOST_SET_VRING_NUM, VHOST_VALUES_NUM, 8, 32);
    }
    expect_pinned("net/vhost", VHOST_NET_SET_BACKEND, VHOST_VALUES_BACKEND, 8, 4);
    expect_pinned("vsock/vhost", VHOST_VSOCK_SET_RUNNING, VHOST_VALUES_RUNNING, 4, 2);
}

static void write_to(const void *address)
{
    *(volatile uint64_t *)(uintptr_t)address = BIT(VIRTIO_F_ACCESS_PLATFORM);
}

static void make_writable(const void *address)
{
    (void)mprotect((void *)(uintptr_t)address, VHOST_VALUES_SIZE, PROT_READ | PROT_WRITE);
}

static void map_over(const void *address)
{
    (void)mmap((void *)(uintptr_t)address, VHOST_VALUES_SIZE, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void move_over(const void *address)
{
    (void)mremap(&elsewhere, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(uintptr_t)address);
}

static void test_page_stays_as_it_is(void)
{
    static const char *const policies[] = {"net/vhost", "vsock/vhost"};
    const void *page = (const void *)VHOST_VALUES;
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(end_of(policies[i], write_to, page), SIGSEGV);
        CU_ASSERT_EQUAL(end_of(policies[i], make_writable, page), SIGSYS);
        CU_ASSERT_EQUAL(end_of(policies[i], map_over, page), SIGSYS);
        CU_ASSERT_EQUAL(end_of(policies[i], move_over, page), SIGSYS);
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"features", test_features},
        {"the others", test_others},
        {"address taken", test_address_taken},
        {"pointers are pinned", test_pointers_are_pinned},
        {"the page stays as it is", test_page_stays_as_it_is},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "values for vhost", tests);
}
