/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/access.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

uint64_t access_mask(uint64_t value, uint8_t width)
{
    return width >= 8 ? value : value & ((UINT64_C(1) << (width * 8)) - 1);
}

enum access_class access_decode(const struct bao_io_request *request, uint64_t dm_id,
                                uint64_t mmio_addr, struct access *ret)
{
    uint64_t width = request->access_width;
    /* For an address below the base, the difference wraps and is larger than the window. */
    uint64_t offset = request->addr - mmio_addr;

    if (request->dm_id != dm_id)
        return ACCESS_MALFORMED;
    if (request->op != BAO_IO_READ && request->op != BAO_IO_WRITE)
        return ACCESS_MALFORMED;
    if (width != 1 && width != 2 && width != 4 && width != 8)
        return ACCESS_MALFORMED;
    if (offset > REGISTER_WINDOW_SIZE - width)
        return ACCESS_MALFORMED;

    *ret = (struct access){
        .offset = (uint32_t)offset,
        .width = (uint8_t)width,
        .is_write = request->op == BAO_IO_WRITE,
    };
    ret->value = ret->is_write ? access_mask(request->value, ret->width) : 0;

    if (offset == VIRTIO_MMIO_INTERRUPT_STATUS && width == 4 && !ret->is_write)
        return ACCESS_INTERRUPT_STATUS;
    if (offset == VIRTIO_MMIO_INTERRUPT_ACK && width == 4 && ret->is_write)
        return ACCESS_INTERRUPT_ACK;
    return ACCESS_TO_WORKER;
}

uint64_t access_given_up_answer(const struct access *access)
{
    if (!access->is_write && access->offset == VIRTIO_MMIO_STATUS)
        return VIRTIO_CONFIG_S_NEEDS_RESET;
    return 0;
}
