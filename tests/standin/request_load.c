/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/request_load.h"

#include <string.h>

#define SECTORS (REQUEST_LOAD_SIZE / 512)

static void fill(uint8_t *data, uint64_t sector)
{
    for (uint64_t i = 0; i < SECTORS; i++)
        fixture_sector(sector + i, data + 512 * i);
}

static void done(struct guest_block *block, struct guest_block_request *request)
{
    struct request_load *load = block->context;
    uint8_t expected[REQUEST_LOAD_SIZE];
    fill(expected, request->header->sector);
    if (*request->status != VIRTIO_BLK_S_OK ||
        memcmp(request->data, expected, sizeof(expected)) != 0)
        load->wrong++;
    atomic_fetch_add(&load->requests, 1);
}

static void submit(struct request_load *load, struct guest_block_request *request, uint64_t random)
{
    uint64_t sector = (random >> 33) % (FIXTURE_IMAGE_SECTORS - SECTORS);
    bool write = load->writes && (random >> 60 & 1) != 0;
    if (write)
        fill(request->data, sector);
    else
        memset(request->data, 0, REQUEST_LOAD_SIZE);
    guest_block_submit(&load->block, request, write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, sector,
                       REQUEST_LOAD_SIZE);
}

static bool is_busy(const struct guest_block *block)
{
    bool busy = false;
    for (unsigned int i = 0; i < block->depth; i++)
        busy |= block->requests[i].busy;
    return busy;
}

static void *do_requests(void *argument)
{
    struct request_load *load = argument;
    struct guest_block *block = &load->block;
    uint64_t random = 99;
    while (!atomic_load(&load->stop) && load->wrong == 0) {
        for (unsigned int i = 0; i < block->depth; i++) {
            if (block->requests[i].busy)
                continue;
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            submit(load, &block->requests[i], random);
        }
        guest_queue_kick(&block->queue);
        if (guest_block_interrupt(block) < 0)
            load->wrong++;
    }
    while (is_busy(block) && load->wrong == 0) {
        if (guest_block_interrupt(block) < 0)
            load->wrong++;
    }
    return NULL;
}

void request_load_start(struct request_load *load, bool writes)
{
    load->writes = writes;
    atomic_store(&load->stop, false);
    atomic_store(&load->requests, 0);
    load->wrong = 0;
    load->block.done = done;
    load->block.context = load;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&load->thread, NULL, do_requests, load), 0);
}

void request_load_stop(struct request_load *load)
{
    atomic_store(&load->stop, true);
    pthread_join(load->thread, NULL);
    CU_ASSERT_EQUAL(load->wrong, 0);
    fixture_assert_running(&load->block.guest);
}
