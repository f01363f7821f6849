/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kinds, and the sizes of queues and numbers of files that follow from it. */
#include <stdlib.h>

#include "common/device_kind.h"
#include "common/state.h"
#include "common/worker_fds.h"
#include "tests/cunit_main.h"

#define PAGE 4096ull /* of a Linux driver's buffer */

/* The size is halved until the buffers of half of the queues take at most half of the window. */
static void test_queue_size(void)
{
    const struct device_kind_info *info = &device_kinds[DEVICE_NET_VIRTIO];
    for (uint32_t queues = 1; queues <= STATE_QUEUES_MAX; queues++) {
        const uint64_t filled = (queues + 1) / 2;
        for (uint32_t size = info->queue_size; size > QUEUE_SIZE_ALWAYS; size /= 2) {
            const uint64_t window = 2 * filled * size * PAGE;
            CU_ASSERT_EQUAL(device_kind_queue_size(info, queues, window), size);
            CU_ASSERT_EQUAL(device_kind_queue_size(info, queues, window - 1), size / 2);
        }
        CU_ASSERT_EQUAL(device_kind_queue_size(info, queues, UINT64_MAX), info->queue_size);
        CU_ASSERT_EQUAL(device_kind_queue_size(info, queues, 0), QUEUE_SIZE_ALWAYS);
    }
}

static void test_fds(void)
{
    for (unsigned int kind = 0; kind < DEVICE_KINDS; kind++) {
        const struct device_kind_info *info = &device_kinds[kind];
        uint32_t fds = device_kind_fds(info, info->backend_fd_count, info->queue_count);
        uint32_t most = WORKER_FD_BACKEND + info->backend_fds_max + info->queues_max;
        CU_ASSERT(info->backend_fd_count <= info->backend_fds_max || info->backend_fds_max == 0);
        CU_ASSERT(info->queue_count <= info->queues_max);
        CU_ASSERT(info->queues_max <= STATE_QUEUES_MAX);
        CU_ASSERT(most <= WORKER_FD_CONNECTION); /* the numbers of connections stay free */
        if (info->ring)
            CU_ASSERT_EQUAL(fds, WORKER_FD_RING + 1)
        else if (info->connections)
            CU_ASSERT_EQUAL(fds, WORKER_FD_CONNECTION)
        else
            CU_ASSERT_EQUAL(fds, WORKER_FD_BACKEND + info->backend_fd_count + info->queue_count)
    }
}

static void test_info(void)
{
    for (uint32_t kind = 0; kind < DEVICE_KINDS; kind++)
        CU_ASSERT_PTR_EQUAL(device_kind_info(kind), &device_kinds[kind]);
    CU_ASSERT_PTR_NULL(device_kind_info(DEVICE_KINDS));
    CU_ASSERT_PTR_NULL(device_kind_info(UINT32_MAX));
}

/* io_uring is allowed only below a keeper that has a device with a ring. */
static void test_keeper(void)
{
    CU_ASSERT_STRING_EQUAL(device_kind_keeper("keeper"), "keeper");
    CU_ASSERT_STRING_EQUAL(device_kind_keeper("keeper_uring"), "keeper_uring");
    CU_ASSERT_STRING_EQUAL(device_kind_keeper("connector"), "keeper");
    for (unsigned int kind = 0; kind < DEVICE_KINDS; kind++)
        CU_ASSERT_STRING_EQUAL(device_kind_keeper(device_kinds[kind].policy),
                               device_kinds[kind].ring ? "keeper_uring" : "keeper");
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"the size of queues follows from the window", test_queue_size},
        {"all files have their numbers", test_fds},
        {"a number that is no kind", test_info},
        {"the keeper of each policy", test_keeper},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "kinds of devices", tests);
}
