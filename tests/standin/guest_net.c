/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/guest_net.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define NET_DEVICE_ID 1
#define CTRL_DATA_SIZE 8192u
#define POLL_US 100
#define HEADER_SIZE ((uint32_t)sizeof(struct virtio_net_hdr_v1))

static bool has(const struct guest_net *net, unsigned int bit)
{
    return (net->guest.features >> bit & 1) != 0;
}

static struct guest_net_buffer *allocate(struct guest_net *net, unsigned int count, uint32_t size)
{
    struct guest_net_buffer *buffers = calloc(count, sizeof(buffers[0]));
    for (unsigned int i = 0; buffers && i < count; i++) {
        buffers[i].data = guest_alloc(&net->guest, size, 64, &buffers[i].addr);
        if (!buffers[i].data) {
            free(buffers);
            return NULL;
        }
    }
    return buffers;
}

static int set_up(struct guest_net *net, const struct guest_net_options *options)
{
    struct guest *guest = &net->guest;
    unsigned int ctrl = has(net, VIRTIO_NET_F_MQ) ? 2u * net->config.max_virtqueue_pairs : 2;
    int r = 0;
    for (unsigned int p = 0; r == 0 && p < net->pairs; p++) {
        r = guest_queue_start(guest, &net->rx[p], 2 * p, 0);
        if (r == 0)
            r = guest_queue_start(guest, &net->tx[p], 2 * p + 1, 0);
    }
    if (r == 0 && has(net, VIRTIO_NET_F_CTRL_VQ))
        r = guest_queue_start(guest, &net->ctrl, ctrl, 0);
    if (r < 0)
        return r;
    net->rx_count = options->rx_count;
    net->tx_count = options->tx_count;
    net->rx_size = options->rx_size;
    net->tx_size = options->tx_size;
    net->rx_buffers = allocate(net, net->pairs * net->rx_count, net->rx_size);
    net->tx_buffers = allocate(net, net->pairs * net->tx_count, net->tx_size);
    net->ctrl_data = guest_alloc(guest, CTRL_DATA_SIZE, 16, &net->ctrl_data_addr);
    net->ctrl_ack = guest_alloc(guest, 1, 1, &net->ctrl_ack_addr);
    return net->rx_buffers && net->tx_buffers && net->ctrl_data && net->ctrl_ack ? 0 : -ENOMEM;
}

int guest_net_start(struct guest_net *net, const struct guest_net_options *options)
{
    struct guest *guest = &net->guest;
    net->pairs = options->pairs > 0 ? options->pairs : 1;
    int r = guest_probe(guest, NET_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(guest, options->features);
    if (r == 0) {
        guest_config(guest, 0, &net->config, 12, 4);
        r = set_up(net, options);
    }
    if (r == 0)
        r = guest_driver_ok(guest);
    for (unsigned int p = 0; r == 0 && p < net->pairs; p++)
        guest_net_refill(net, p);
    return r < 0 ? r : guest->error;
}

void guest_net_free(struct guest_net *net)
{
    for (unsigned int p = 0; p < net->pairs; p++) {
        guest_queue_free(&net->rx[p]);
        guest_queue_free(&net->tx[p]);
    }
    guest_queue_free(&net->ctrl);
    free(net->rx_buffers);
    free(net->tx_buffers);
    net->rx_buffers = net->tx_buffers = NULL;
}

/* ---- From the device ---- */

void guest_net_refill(struct guest_net *net, unsigned int pair)
{
    for (unsigned int i = 0; i < net->rx_count; i++) {
        struct guest_net_buffer *buffer = &net->rx_buffers[pair * net->rx_count + i];
        const struct guest_segment segment = {buffer->addr, net->rx_size, true};
        if (!buffer->busy && guest_queue_add(&net->rx[pair], &segment, 1, buffer) == 0)
            buffer->busy = true;
    }
    guest_queue_kick(&net->rx[pair]);
}

static struct guest_net_buffer *wait_used(struct guest_net *net, struct guest_queue *queue,
                                          uint32_t *ret_len, int timeout_ms)
{
    uint64_t end = now_ms() + (uint64_t)timeout_ms;
    for (;;) {
        struct guest_net_buffer *buffer = guest_queue_get(queue, ret_len);
        if (buffer || net->guest.error < 0 || now_ms() >= end)
            return buffer;
        usleep(POLL_US);
    }
}

int guest_net_receive(struct guest_net *net, unsigned int pair, struct virtio_net_hdr_v1 *header,
                      void *frame, bool keep, int timeout_ms)
{
    uint32_t length = 0, total = 0;
    unsigned int buffers = 1;
    for (unsigned int i = 0; i < buffers; i++) {
        /* All buffers of a frame become used at the same time. */
        struct guest_net_buffer *buffer =
            wait_used(net, &net->rx[pair], &length, i == 0 ? timeout_ms : 0);
        if (!buffer)
            return i == 0 && net->guest.error == 0 ? -ETIMEDOUT : -EPROTO;
        uint32_t skip = i == 0 ? HEADER_SIZE : 0;
        if (length < skip || length > net->rx_size || total + length - skip > GUEST_NET_FRAME_MAX)
            return -EPROTO;
        if (i == 0) {
            memcpy(header, buffer->data, HEADER_SIZE);
            buffers = header->num_buffers;
            if (buffers == 0 || (buffers > 1 && !has(net, VIRTIO_NET_F_MRG_RXBUF)))
                return -EPROTO;
        }
        memcpy((uint8_t *)frame + total, buffer->data + skip, length - skip);
        total += length - skip;
        buffer->busy = false;
    }
    if (!keep)
        guest_net_refill(net, pair);
    return (int)total;
}

/* ---- To the device ---- */

static void take_back(struct guest_net *net, unsigned int pair)
{
    struct guest_net_buffer *buffer;
    uint32_t length;
    while ((buffer = guest_queue_get(&net->tx[pair], &length)))
        buffer->busy = false;
}

int guest_net_put(struct guest_net *net, unsigned int pair, const struct virtio_net_hdr_v1 *header,
                  const void *frame, uint32_t length)
{
    take_back(net, pair);
    for (unsigned int i = 0; i < net->tx_count; i++) {
        struct guest_net_buffer *buffer = &net->tx_buffers[pair * net->tx_count + i];
        const struct guest_segment segments[] = {
            {buffer->addr, HEADER_SIZE, false},
            {buffer->addr + HEADER_SIZE, length, false},
        };
        if (buffer->busy)
            continue;
        memcpy(buffer->data, header, HEADER_SIZE);
        memcpy(buffer->data + HEADER_SIZE, frame, length);
        int r = guest_queue_add(&net->tx[pair], segments, 2, buffer);
        buffer->busy = r == 0;
        return r;
    }
    return -ENOSPC;
}

void guest_net_kick(struct guest_net *net, unsigned int pair)
{
    guest_queue_kick(&net->tx[pair]);
}

int guest_net_send(struct guest_net *net, unsigned int pair, const struct virtio_net_hdr_v1 *header,
                   const void *frame, uint32_t length)
{
    uint64_t end = now_ms() + (uint64_t)net->guest.timeout_ms;
    int r;
    while ((r = guest_net_put(net, pair, header, frame, length)) == -ENOSPC) {
        guest_net_kick(net, pair);
        if (now_ms() >= end || net->guest.error < 0)
            return -ETIMEDOUT;
        usleep(POLL_US);
    }
    guest_net_kick(net, pair);
    return r;
}

int guest_net_flush(struct guest_net *net, unsigned int pair)
{
    uint64_t end = now_ms() + (uint64_t)net->guest.timeout_ms;
    for (;;) {
        unsigned int busy = 0;
        take_back(net, pair);
        for (unsigned int i = 0; i < net->tx_count; i++)
            busy += net->tx_buffers[pair * net->tx_count + i].busy;
        if (busy == 0)
            return 0;
        if (now_ms() >= end || net->guest.error < 0)
            return -ETIMEDOUT;
        usleep(POLL_US);
    }
}

/* ---- Commands ---- */

int guest_net_ask(struct guest_net *net, uint8_t class, uint8_t command, const void *data,
                  uint32_t length, void *ret_answer, uint32_t size)
{
    const struct guest_segment segments[] = {
        {net->ctrl_data_addr, 2, false},
        {net->ctrl_data_addr + 2, length, false},
        {net->ctrl_data_addr + 2 + length, size, true},
        {net->ctrl_ack_addr, 1, true},
    };
    struct guest_segment ack_alone[] = {segments[0], segments[1], segments[3]};
    net->ctrl_data[0] = class;
    net->ctrl_data[1] = command;
    memcpy(net->ctrl_data + 2, data, length);
    *net->ctrl_ack = 0xff;
    if (guest_queue_add(&net->ctrl, size > 0 ? segments : ack_alone, size > 0 ? 4 : 3, net) < 0)
        return -ENOSPC;
    guest_queue_kick(&net->ctrl);
    uint32_t used;
    if (!wait_used(net, &net->ctrl, &used, net->guest.timeout_ms))
        return -ETIMEDOUT;
    if (size > 0)
        memcpy(ret_answer, net->ctrl_data + 2 + length, size);
    return *net->ctrl_ack;
}

int guest_net_command(struct guest_net *net, uint8_t class, uint8_t command, const void *data,
                      uint32_t length)
{
    return guest_net_ask(net, class, command, data, length, NULL, 0);
}
