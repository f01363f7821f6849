/* SPDX-License-Identifier: Apache-2.0 */
#include "common/device_kind.h"

#include <stddef.h>
#include <string.h>

#include "common/state.h"

const struct device_kind_info device_kinds[DEVICE_KINDS] = {
#define DEVICE_KIND(name, backend, ops, keys, ...) [DEVICE_##name] = {__VA_ARGS__},
#include "common/kinds.def"
#undef DEVICE_KIND
};

const struct device_kind_info *device_kind_info(uint32_t kind)
{
    return kind < DEVICE_KINDS ? &device_kinds[kind] : NULL;
}

const char *device_kind_keeper(const char *policy)
{
    static const char keeper[] = "keeper", with_ring[] = "keeper_uring";
    if (strcmp(policy, with_ring) == 0)
        return with_ring;
    for (size_t i = 0; i < DEVICE_KINDS; i++) {
        if (device_kinds[i].ring && strcmp(device_kinds[i].policy, policy) == 0)
            return with_ring;
    }
    return keeper;
}

uint32_t device_kind_queue_size(const struct device_kind_info *info, uint32_t queues,
                                uint64_t window)
{
    const uint64_t buffer = 4096, filled = (queues + 1) / 2;
    uint32_t size = info->queue_size;
    while (size > QUEUE_SIZE_ALWAYS && filled * size * buffer > window / 2)
        size /= 2;
    return size;
}
