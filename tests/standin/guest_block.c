/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/guest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/clock.h"

#define BLOCK_DEVICE_ID 2

static int allocate_requests(struct guest_block *block)
{
    block->requests = calloc(block->depth, sizeof(block->requests[0]));
    if (!block->requests)
        return -ENOMEM;
    for (unsigned int i = 0; i < block->depth; i++) {
        struct guest_block_request *request = &block->requests[i];
        struct guest *guest = &block->guest;
        request->header = guest_alloc(guest, sizeof(*request->header), 16, &request->header_addr);
        request->status = guest_alloc(guest, 1, 1, &request->status_addr);
        request->data = guest_alloc(guest, block->request_size, 4096, &request->data_addr);
        if (!request->header || !request->status || !request->data)
            return -ENOMEM;
    }
    return 0;
}

int guest_block_start(struct guest_block *block, uint64_t features, unsigned int depth,
                      uint32_t request_size)
{
    struct guest *guest = &block->guest;
    guest_block_free(block);
    block->depth = depth;
    block->request_size = request_size;
    int r = guest_probe(guest, BLOCK_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(guest, features);
    if (r == 0)
        guest_config(guest, 0, &block->capacity, 8, 4);
    if (r == 0)
        r = guest_queue_start(guest, &block->queue, 0, 0);
    if (r == 0)
        r = allocate_requests(block);
    return r < 0 ? r : guest_driver_ok(guest);
}

void guest_block_free(struct guest_block *block)
{
    guest_queue_free(&block->queue);
    free(block->requests);
    block->requests = NULL;
}

int guest_block_submit(struct guest_block *block, struct guest_block_request *request,
                       uint32_t type, uint64_t sector, uint32_t len)
{
    struct guest_segment segments[3];
    unsigned int count = 0;
    *request->header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    *request->status = 0xff; /* no status of the standard: if it stays, the device wrote none */
    segments[count++] =
        (struct guest_segment){request->header_addr, sizeof(*request->header), false};
    bool to_device = type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
                     type == VIRTIO_BLK_T_WRITE_ZEROES;
    if (len > 0)
        segments[count++] = (struct guest_segment){request->data_addr, len, !to_device};
    segments[count++] = (struct guest_segment){request->status_addr, 1, true};
    request->submitted_ns = now_ns();
    request->busy = true;
    int r = guest_queue_add(&block->queue, segments, count, request);
    if (r < 0)
        request->busy = false;
    return r;
}

int guest_block_interrupt(struct guest_block *block)
{
    int bits = guest_take_interrupt(&block->guest);
    int completed = 0;
    if (bits < 0 || (bits & VIRTIO_MMIO_INT_VRING) == 0)
        return bits < 0 ? bits : 0;
    do {
        struct guest_block_request *request;
        uint32_t len = 0;
        guest_queue_disable_interrupts(&block->queue);
        while ((request = guest_queue_get(&block->queue, &len))) {
            request->used_len = len;
            request->busy = false;
            completed++;
            if (block->done)
                block->done(block, request);
        }
    } while (!guest_queue_enable_interrupts(&block->queue) && block->guest.error == 0);
    return block->guest.error < 0 ? block->guest.error : completed;
}

int guest_block_io(struct guest_block *block, uint32_t type, uint64_t sector, void *data,
                   uint32_t len)
{
    struct guest_block_request *request = &block->requests[0];
    if (len > 0 && type != VIRTIO_BLK_T_IN)
        memcpy(request->data, data, len);
    int r = guest_block_submit(block, request, type, sector, len);
    if (r < 0)
        return r;
    guest_queue_kick(&block->queue);
    while (request->busy) {
        r = guest_block_interrupt(block);
        if (r < 0)
            return r;
    }
    if (type != VIRTIO_BLK_T_OUT && len > 0)
        memcpy(data, request->data, len);
    return *request->status;
}
