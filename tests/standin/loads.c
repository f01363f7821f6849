/* SPDX-License-Identifier: Apache-2.0 */
/* Loads of devices that carry packets and buffers. */
#include "tests/standin/loads.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Net ---- */

#define FRAME_MIN 100u
#define FRAMES 900u /* lengths: each has its own contents */
#define BATCH 8u

static const struct virtio_net_hdr_v1 no_offload = {0};

const struct guest_net_options net_load_options = {
    .features = GUEST_NET_FEATURES,
    .rx_count = 128,
    .tx_count = 32,
    .rx_size = 1536,
    .tx_size = 2048,
};

/* The length of a frame determines its contents. */
static bool is_good(const uint8_t *data, int length)
{
    return length >= (int)FRAME_MIN && length < (int)(FRAME_MIN + FRAMES) &&
           net_fixture_is_frame(data, (uint32_t)length, (uint32_t)length);
}

static bool is_ours(const uint8_t *data)
{
    return data[12] == NET_FIXTURE_TYPE >> 8 && data[13] == (NET_FIXTURE_TYPE & 0xff);
}

static void send_both_ways(struct net_load *load)
{
    struct net_fixture *net = load->net;
    for (unsigned int i = 0; i < BATCH; i++) {
        uint32_t length = FRAME_MIN + load->next++ % FRAMES;
        net_fixture_frame(load->frame, net->host_mac, net_fixture_mac, length, length);
        (void)guest_net_put(&net->net, 0, &no_offload, load->frame,
                            length); /* sent when there is room */
        net_fixture_frame(load->frame, net_fixture_mac, net->host_mac, length, length);
        (void)send(net->packets, load->frame, length, MSG_DONTWAIT); /* the same */
    }
    guest_net_kick(&net->net, 0);
}

static void receive_both(struct net_load *load)
{
    struct net_fixture *net = load->net;
    struct virtio_net_hdr_v1 header;
    int length;
    while ((length = guest_net_receive(&net->net, 0, &header, load->frame, false, 0)) >= 0) {
        load->to_guest += is_ours(load->frame);
        load->wrong += is_ours(load->frame) && !is_good(load->frame, length);
    }
    load->wrong += length != -ETIMEDOUT;
    while ((length = (int)recv(net->packets, load->frame, sizeof(load->frame), MSG_DONTWAIT)) >=
           0) {
        load->to_host++;
        load->wrong += !is_good(load->frame, length);
    }
}

bool net_load_exchange(struct net_load *load)
{
    const uint64_t to_guest = load->to_guest, to_host = load->to_host;
    for (unsigned int i = 0; i < LOAD_DEADLINE_MS; i++) {
        send_both_ways(load);
        receive_both(load);
        if ((load->to_guest > to_guest && load->to_host > to_host) ||
            (load->over && atomic_load(load->over)))
            return true;
        usleep(200);
    }
    return false;
}

/* ---- Entropy ---- */

#define RNG_DEVICE_ID 4
#define RNG_SIZE 4096u

int rng_load_start(struct rng_load *load, uint64_t features)
{
    struct guest *guest = &load->guest;
    int r = guest_probe(guest, RNG_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(guest, features);
    if (r == 0)
        r = guest_queue_start(guest, &load->queue, 0, 0);
    for (unsigned int i = 0; r == 0 && i < RNG_LOAD_BUFFERS; i++) {
        load->buffers[i].data = guest_alloc(guest, RNG_SIZE, 64, &load->buffers[i].addr);
        r = load->buffers[i].data ? 0 : -ENOMEM;
    }
    return r == 0 ? guest_driver_ok(guest) : r;
}

static void give_buffers(struct rng_load *load)
{
    for (unsigned int i = 0; i < RNG_LOAD_BUFFERS; i++) {
        struct rng_load_buffer *buffer = &load->buffers[i];
        if (buffer->busy)
            continue;
        buffer->length = 16 + load->next++ * 61 % (RNG_SIZE - 16);
        const struct guest_segment segment = {buffer->addr, buffer->length, true};
        memset(buffer->data, 0, RNG_SIZE);
        buffer->busy = guest_queue_add(&load->queue, &segment, 1, buffer) == 0;
        load->wrong += !buffer->busy;
    }
    guest_queue_kick(&load->queue);
}

/* By chance, the last 16 bytes are almost never all 0. The byte behind the buffer is not the
 * device's. */
static bool is_filled(const struct rng_load_buffer *buffer)
{
    static const uint8_t zeros[16];
    for (uint32_t i = buffer->length; i < RNG_SIZE; i++) {
        if (buffer->data[i] != 0)
            return false;
    }
    return memcmp(buffer->data + buffer->length - 16, zeros, 16) != 0;
}

static void take_buffer(struct rng_load *load)
{
    struct rng_load_buffer *buffer;
    uint32_t length;
    while (!(buffer = guest_queue_get(&load->queue, &length))) {
        if (guest_queue_enable_interrupts(&load->queue) && guest_take_interrupt(&load->guest) < 0) {
            load->wrong++;
            return;
        }
    }
    load->wrong += !buffer->busy || length != buffer->length || !is_filled(buffer);
    buffer->busy = false;
}

void rng_load_run(struct rng_load *load)
{
    give_buffers(load);
    take_buffer(load);
}

void rng_load_end(struct rng_load *load)
{
    for (unsigned int i = 0; i < RNG_LOAD_BUFFERS && load->wrong == 0; i++) {
        if (load->buffers[i].busy)
            take_buffer(load);
    }
    guest_queue_free(&load->queue);
}
