/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker tells the kernel's vhost: each call with its arguments, in their order. ioctl()
 * here replaces the C library's, and writes down what it was asked.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/vhost/vhost.h"

#define BIT(n) (1ull << (n))
#define QUEUES 2u
#define ERROR_FILE 1u
#define BACKEND_FDS 2u
#define CALLS_MAX 16u
#define SIZE 64u /* of the rings */
#define NEVER (-1)

static struct call {
    unsigned long request;
    const void *argument;
    unsigned char bytes[sizeof(struct vhost_memory) + sizeof(struct vhost_memory_region)];
} calls[CALLS_MAX];
static unsigned int count;
static int fails_at, error; /* the number of the call that fails, and how */

static const struct vhost_features features = {.always = BIT(32),
                                               .choices = {BIT(1), BIT(5), BIT(29)}};
static struct guest_ring rings[QUEUES + 1];
static struct device device;

static size_t size_of(unsigned long request)
{
    /* Its type says only how long the table is without its regions. */
    return request == VHOST_SET_MEM_TABLE ? sizeof(calls[0].bytes) : _IOC_SIZE(request);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    const void *argument = va_arg(arguments, const void *);
    va_end(arguments);
    CU_ASSERT_EQUAL(fd, WORKER_FD_BACKEND);
    CU_ASSERT_FATAL(count < CALLS_MAX);
    calls[count].request = request;
    calls[count].argument = argument;
    memset(calls[count].bytes, 0, sizeof(calls[count].bytes));
    if (argument)
        memcpy(calls[count].bytes, argument, size_of(request));
    errno = error;
    return (int)count++ == fails_at ? -1 : (int)count; /* what is not negative is a success */
}

static void prepare(void)
{
    memset(&guest_state, 0, sizeof(guest_state));
    device = (struct device){
        .state = &guest_state, .backend_fd_count = BACKEND_FDS, .window = guest_window};
    for (unsigned int q = 0; q <= QUEUES; q++) {
        guest_ring_init(&rings[q], q, SIZE);
        guest_state.queues[q] = guest_ring_state(&rings[q]);
        rings[q].avail->idx = (uint16_t)(10 + q);
        rings[q].used->idx = (uint16_t)(8 + q);
    }
    munmap((void *)VHOST_VALUES, VHOST_VALUES_SIZE);
    CU_ASSERT_EQUAL_FATAL(vhost_values_map(&features, ~0ull, 256, -1), 0);
    guest_state.transport.driver_features = BIT(32) | BIT(5) | BIT(33);
    count = 0;
    fails_at = NEVER;
    error = EIO;
}

/* The next call that was made must be this one, with these bytes. */
static void made(unsigned int number, unsigned long request, const void *bytes, size_t size)
{
    CU_ASSERT_FATAL(number < count);
    CU_ASSERT_EQUAL(calls[number].request, request);
    CU_ASSERT_EQUAL(memcmp(calls[number].bytes, bytes, size), 0);
}

static void file_made(unsigned int number, unsigned long request, unsigned int queue, int fd)
{
    made(number, request, &(struct vhost_vring_file){queue, fd}, sizeof(struct vhost_vring_file));
}

static void test_claim(void)
{
    prepare();
    CU_ASSERT_EQUAL(vhost_claim(&device, QUEUES, ERROR_FILE), 0);
    CU_ASSERT_EQUAL(count, 8);
    CU_ASSERT_EQUAL(calls[0].request, VHOST_SET_OWNER);
    CU_ASSERT_PTR_NULL(calls[0].argument);

    const struct vhost_memory table = {.nregions = 1};
    const struct vhost_memory_region region = {.guest_phys_addr = GUEST_BASE,
                                               .memory_size = GUEST_SIZE,
                                               .userspace_addr = (uintptr_t)guest_memory};
    unsigned char memory[sizeof(calls[0].bytes)];
    memcpy(memory, &table, sizeof(table));
    memcpy(memory + sizeof(table), &region, sizeof(region));
    made(1, VHOST_SET_MEM_TABLE, memory, sizeof(memory));
    for (unsigned int q = 0; q < QUEUES; q++) {
        file_made(2 + 3 * q, VHOST_SET_VRING_KICK, q, WORKER_FD_BACKEND + (int)(BACKEND_FDS + q));
        file_made(3 + 3 * q, VHOST_SET_VRING_CALL, q, WORKER_FD_CALL);
        file_made(4 + 3 * q, VHOST_SET_VRING_ERR, q, WORKER_FD_BACKEND + (int)ERROR_FILE);
    }
}

/* The first call that fails is the last one. */
static void test_claim_fails(void)
{
    for (int i = 0; i < 8; i++) {
        prepare();
        fails_at = i;
        CU_ASSERT_EQUAL(vhost_claim(&device, QUEUES, ERROR_FILE), -EIO);
        CU_ASSERT_EQUAL(count, (unsigned int)i + 1);
    }
}

static void test_program(void)
{
    struct guest_fault fault;
    prepare();
    CU_ASSERT_EQUAL(vhost_program(&device, QUEUES, &features, &fault), 0);
    CU_ASSERT_EQUAL(count, 1 + 3 * QUEUES);
    const uint64_t accepted = BIT(32) | BIT(5); /* nothing that is not for vhost */
    made(0, VHOST_SET_FEATURES, &accepted, sizeof(accepted));
    for (unsigned int q = 0; q < QUEUES; q++) {
        const struct vhost_vring_state num = {q, SIZE}, base = {q, 8 + q};
        const struct vhost_vring_addr addr = {.index = q,
                                              .desc_user_addr = (uintptr_t)rings[q].desc,
                                              .avail_user_addr = (uintptr_t)rings[q].avail,
                                              .used_user_addr = (uintptr_t)rings[q].used};
        made(1 + 3 * q, VHOST_SET_VRING_NUM, &num, sizeof(num));
        made(2 + 3 * q, VHOST_SET_VRING_BASE, &base, sizeof(base));
        made(3 + 3 * q, VHOST_SET_VRING_ADDR, &addr, sizeof(addr));
    }
    /* What the filter pins comes from the page of values. */
    CU_ASSERT_PTR_EQUAL(calls[0].argument, vhost_values_features(&features, accepted));
    CU_ASSERT_PTR_EQUAL(calls[1].argument, vhost_values_num(0, SIZE));
    CU_ASSERT_PTR_EQUAL(calls[4].argument, vhost_values_num(1, SIZE));
}

static void test_program_fails(void)
{
    for (int i = 0; i < 7; i++) {
        struct guest_fault fault = {0};
        prepare();
        fails_at = i;
        CU_ASSERT_EQUAL(vhost_program(&device, QUEUES, &features, &fault), -EBADMSG);
        CU_ASSERT_EQUAL(count, (unsigned int)i + 1);
        CU_ASSERT_EQUAL(fault.code, LOG_VHOST_FAILED);
        CU_ASSERT_EQUAL(fault.args[0], calls[i].request);
        CU_ASSERT_EQUAL(fault.args[1], EIO);
    }
}

/* A ring can't hold more chains than its size. The driver's mistake is found before vhost is told
 * of the ring. */
static void test_ring_base(void)
{
    static const struct {
        uint16_t avail, used;
        bool good;
    } rows[] = {
        {0, 0, true},
        {5, 5, true},
        {SIZE, 0, true},
        {SIZE + 1, 0, false},
        {4, UINT16_MAX - 3, true}, /* the counts wrap */
        {SIZE - 4, UINT16_MAX - 3, true},
        {SIZE - 3, UINT16_MAX - 3, false},
        {4, 5, false}, /* more was used than available */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct guest_fault fault = {0};
        uint16_t base = 12345;
        prepare();
        rings[1].avail->idx = rows[i].avail;
        rings[1].used->idx = rows[i].used;
        CU_ASSERT_EQUAL(vhost_ring_base(&device, 1, &base, &fault), rows[i].good ? 0 : -EBADMSG);
        CU_ASSERT_EQUAL(base, rows[i].good ? rows[i].used : 12345);
        if (rows[i].good)
            continue;
        CU_ASSERT_EQUAL(fault.code, LOG_AVAIL_INVALID);
        CU_ASSERT(fault.args[0] == 1 && fault.args[1] == rows[i].avail &&
                  fault.args[2] == rows[i].used);
        CU_ASSERT_EQUAL(vhost_program(&device, QUEUES, &features, &fault), -EBADMSG);
        CU_ASSERT_EQUAL(count, 4); /* the features, and queue 0 */
        CU_ASSERT_EQUAL(fault.code, LOG_AVAIL_INVALID);
    }
}

/* Each size that a queue can have by the standard. */
static void test_sizes(void)
{
    for (uint32_t most = 1; most <= 0x8000; most *= 2) {
        munmap((void *)VHOST_VALUES, VHOST_VALUES_SIZE);
        CU_ASSERT_EQUAL_FATAL(vhost_values_map(&features, ~0ull, most, -1), 0);
        for (uint32_t size = 1; size <= 0x8000; size *= 2) {
            const struct vhost_vring_state *num = vhost_values_num(1, size);
            CU_ASSERT_EQUAL(num->num, size <= most ? size : 0);
            CU_ASSERT_EQUAL(num->index, size <= most ? 1 : 0);
        }
    }
}

static void test_kick(void)
{
    prepare();
    vhost_kick(&device, QUEUES);
    for (unsigned int q = 0; q <= QUEUES; q++) {
        uint64_t kicks = 0;
        ssize_t length = read(device_kick_fd(&device, q), &kicks, sizeof(kicks));
        CU_ASSERT_EQUAL(length, q < QUEUES ? (ssize_t)sizeof(kicks) : -1);
        CU_ASSERT_EQUAL(kicks, q < QUEUES);
    }
    CU_ASSERT_EQUAL(count, 0);
}

int main(int argc, char **argv)
{
    guest_window_init();
    guest_fds(DEVICE_VSOCK_VHOST, -1);
    CU_TestInfo tests[] = {
        {"the owner, the window and the eventfds", test_claim},
        {"the first failure is the last call", test_claim_fails},
        {"features and rings", test_program},
        {"a failure is reported with its call", test_program_fails},
        {"where the kernel goes on", test_ring_base},
        {"sizes of rings", test_sizes},
        {"kicks", test_kick},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "calls of vhost", tests);
}
