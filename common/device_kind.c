/* SPDX-License-Identifier: Apache-2.0 */
#include "common/device_kind.h"

#include "common/state.h"

const struct device_kind_info device_kinds[DEVICE_KINDS] = {
#define DEVICE_KIND(name, backend, ops, keys, ...) [DEVICE_##name] = {__VA_ARGS__},
#include "common/kinds.def"
#undef DEVICE_KIND
};

uint32_t device_kind_queue_size(const struct device_kind_info *info, uint32_t queues,
                                uint64_t window)
{
    const uint64_t buffer = 4096, filled = (queues + 1) / 2;
    uint32_t size = info->queue_size;
    while (size > QUEUE_SIZE_ALWAYS && filled * size * buffer > window / 2)
        size /= 2;
    return size;
}
