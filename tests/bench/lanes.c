/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/lanes.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define SECTOR 512u
#define BLOCK_DEVICE_ID 2
#define WAIT_MS 10000

void lanes_init(struct lanes *lanes, struct standin *standin, struct image *image)
{
    *lanes = (struct lanes){.image = image, .random = 1};
    for (unsigned int i = 0; i < LANES_MAX; i++)
        guest_init(&lanes->lanes[i].guest, standin, i, bench_base(i), bench_shmem(i),
                   BENCH_SHMEM_SIZE);
}

static void free_lane(struct lane *lane)
{
    for (unsigned int q = 0; q < lane->queue_count; q++)
        guest_queue_free(&lane->queues[q]);
    free(lane->requests);
    lane->requests = NULL;
    lane->queue_count = 0;
}

void lanes_free(struct lanes *lanes)
{
    for (unsigned int i = 0; i < LANES_MAX; i++)
        free_lane(&lanes->lanes[i]);
}

static int allocate(struct lane *lane, const struct lanes_load *load)
{
    struct guest *guest = &lane->guest;
    lane->depth = load->depth;
    lane->requests = calloc(load->depth, sizeof(lane->requests[0]));
    if (!lane->requests)
        return -ENOMEM;
    for (unsigned int i = 0; i < load->depth; i++) {
        struct lane_request *request = &lane->requests[i];
        request->queue = &lane->queues[i % load->queues];
        request->header = guest_alloc(guest, sizeof(*request->header), 16, &request->header_addr);
        request->status = guest_alloc(guest, 1, 1, &request->status_addr);
        request->data = guest_alloc(guest, load->size, IMAGE_PAGE, &request->data_addr);
        if (!request->header || !request->status || !request->data)
            return -ENOMEM;
    }
    return 0;
}

static int start_lane(struct lane *lane, const struct lanes_load *load)
{
    struct guest *guest = &lane->guest;
    free_lane(lane);
    int r = guest_probe(guest, BLOCK_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(guest, GUEST_BLOCK_FEATURES | 1ull << VIRTIO_BLK_F_MQ);
    for (uint32_t q = 0; r == 0 && q < load->queues; q++) {
        r = guest_queue_start(guest, &lane->queues[q], q, 0);
        lane->queue_count = q + 1;
    }
    if (r == 0)
        r = allocate(lane, load);
    return r < 0 ? r : guest_driver_ok(guest);
}

int lanes_start(struct lanes *lanes, const struct lanes_load *load)
{
    int r = 0;
    for (unsigned int i = 0; r == 0 && i < load->devices; i++)
        r = start_lane(&lanes->lanes[load->first + i], load);
    return r;
}

static void submit(struct lanes *lanes, struct lane_request *request)
{
    const struct guest_segment segments[] = {
        {request->header_addr, sizeof(*request->header), false},
        {request->data_addr, lanes->size, true},
        {request->status_addr, 1, true},
    };
    lanes->random = lanes->random * 6364136223846793005ull + 1442695040888963407ull;
    const uint64_t block = (lanes->random >> 33) % (lanes->image->size / lanes->size);
    *request->header =
        (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN, .sector = block * lanes->size / SECTOR};
    *request->status = 0xff;
    int r = guest_queue_add(request->queue, segments, 3, request);
    if (r < 0)
        lanes->error = r;
    else
        lanes->submitted++;
}

static void complete(struct lanes *lanes, struct lane_request *request, bool last)
{
    lanes->done++;
    if (*request->status != VIRTIO_BLK_S_OK ||
        !image_holds(lanes->image, request->header->sector * SECTOR, request->data, lanes->size))
        lanes->error = -EIO;
    else if (!last)
        submit(lanes, request);
}

static void take(struct lanes *lanes, struct lane *lane, bool last)
{
    int bits = guest_take_interrupt(&lane->guest);
    if (bits < 0)
        lanes->error = bits;
    for (unsigned int q = 0; bits > 0 && q < lane->queue_count; q++) {
        struct guest_queue *queue = &lane->queues[q];
        do {
            struct lane_request *request;
            uint32_t length;
            guest_queue_disable_interrupts(queue);
            while ((request = guest_queue_get(queue, &length)))
                complete(lanes, request, last);
        } while (!guest_queue_enable_interrupts(queue) && lane->guest.error == 0);
        guest_queue_kick(queue);
    }
    if (lane->guest.error < 0)
        lanes->error = lane->guest.error;
}

int lanes_turn(struct lanes *lanes, const struct lanes_load *load, uint64_t duration_ns,
               uint64_t *ret_count, uint64_t *ret_ns)
{
    struct pollfd lines[LANES_MAX];
    const uint64_t start = bench_now_ns();
    lanes->submitted = lanes->done = 0;
    lanes->size = load->size;
    lanes->error = 0;
    for (unsigned int i = 0; i < load->devices; i++) {
        struct lane *lane = &lanes->lanes[load->first + i];
        lines[i] = (struct pollfd){.fd = standin_irq_fd(lane->guest.standin, lane->guest.id),
                                   .events = POLLIN};
        for (unsigned int n = 0; n < lane->depth; n++)
            submit(lanes, &lane->requests[n]);
        for (unsigned int q = 0; q < lane->queue_count; q++)
            guest_queue_kick(&lane->queues[q]);
    }
    while (lanes->error == 0 && lanes->done < lanes->submitted) {
        if (poll(lines, load->devices, WAIT_MS) <= 0)
            return -ETIMEDOUT;
        const bool last = bench_now_ns() - start >= duration_ns;
        for (unsigned int i = 0; i < load->devices; i++) {
            if (lines[i].revents != 0)
                take(lanes, &lanes->lanes[load->first + i], last);
        }
    }
    *ret_count = lanes->done;
    *ret_ns = bench_now_ns() - start;
    return lanes->error;
}
