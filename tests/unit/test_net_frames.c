/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device's frames in both directions: nothing is lost, altered, sent twice or delivered
 * in part, whatever the driver's buffers and the tap's room are.
 */
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/net_under_test.h"
#include "worker/loop.h"

#define MRG BIT(VIRTIO_NET_F_MRG_RXBUF)
#define HEADER NET_HEADER_SIZE

static uint8_t got[HEADER + NET_FRAME_MAX + 1];

static const struct state_counters *counters(void)
{
    return &guest_state.counters;
}

/* ---- From the driver ---- */

/* A frame in buffer `number`: header of zeros, then `length` bytes. */
static void transmit(uint16_t number, uint32_t length, uint8_t fill)
{
    memset(guest_at(BUFFER(number)), 0, HEADER);
    memset(guest_at(BUFFER(number) + HEADER), fill, length);
    net_offer(TX, number, BUFFER(number), HEADER + length, 0);
}

static bool is_filled(const uint8_t *bytes, size_t length, uint8_t fill)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != fill)
            return false;
    }
    return true;
}

static void test_sent_whole(void)
{
    net_running(1, VERSION_1, 16);
    transmit(3, 60, 0xa5);
    guest_kick(TX);
    CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), HEADER + 60);
    CU_ASSERT_TRUE(is_filled(got, HEADER, 0));
    CU_ASSERT_TRUE(is_filled(got + HEADER, 60, 0xa5));
    CU_ASSERT_EQUAL(net_used(TX, 3), 0);
    CU_ASSERT_EQUAL(counters()->requests, 1);
    CU_ASSERT_EQUAL(counters()->bytes_out, 60);
    CU_ASSERT_EQUAL(counters()->dropped_out, 0);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), -1);
}

/* §2.7.4: where a buffer ends says nothing about what is in it. */
static void test_sent_from_pieces(void)
{
    uint8_t frame[HEADER + 40];
    for (uint8_t i = 0; i < sizeof(frame); i++)
        frame[i] = i < HEADER ? 0 : i;
    net_running(1, VERSION_1, 64);
    memcpy(guest_at(BUFFER(0)), frame, sizeof(frame));
    for (uint16_t i = 0; i < sizeof(frame); i++) {
        bool last = i + 1u == sizeof(frame);
        guest_desc(&net_rings[TX], i, BUFFER(0) + i, 1, last ? 0 : VRING_DESC_F_NEXT,
                   (uint16_t)(i + 1));
    }
    guest_offer(&net_rings[TX], 0);
    guest_kick(TX);
    CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), sizeof(frame));
    CU_ASSERT_EQUAL(memcmp(got, frame, sizeof(frame)), 0);
    CU_ASSERT_EQUAL(net_used(TX, 0), 0);
}

/* A frame that is too short is completed, counted and logged, and the next one is sent. */
static void test_short_is_dropped(void)
{
    static const uint32_t lengths[] = {1, HEADER - 1, HEADER, HEADER + 13};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        net_running(1, VERSION_1, 16);
        net_offer(TX, 0, BUFFER(0), lengths[i], 0);
        transmit(1, 14, 0x11);
        guest_kick(TX);
        CU_ASSERT_EQUAL(net_used(TX, 0), 0);
        CU_ASSERT_EQUAL(net_used(TX, 1), 0);
        CU_ASSERT_EQUAL(counters()->dropped_out, 1);
        CU_ASSERT_EQUAL(counters()->dropped_in, 0);
        CU_ASSERT_EQUAL(counters()->bytes_out, 14);
        CU_ASSERT_EQUAL(guest_logged(LOG_FRAME_DROPPED), 1);
        CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), HEADER + 14);
        CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), -1);
        CU_ASSERT_FALSE(net_needs_reset());
    }
    /* A chain without a byte that the device may read. */
    net_running(1, VERSION_1, 16);
    net_offer(TX, 0, BUFFER(0), 64, VRING_DESC_F_WRITE);
    guest_kick(TX);
    CU_ASSERT_EQUAL(net_used(TX, 0), 0);
    CU_ASSERT_EQUAL(counters()->dropped_out, 1);
    CU_ASSERT_FALSE(net_needs_reset());
}

/* A tap without room is no fault: each frame is sent once there is room, once, in its order. */
static void test_full_tap(void)
{
    net_running(1, VERSION_1, 16);
    unsigned int done = net_fill_tap(TX), seen = 0;
    guest_kick(TX); /* changes nothing */
    CU_ASSERT_EQUAL(net_used(TX, done), -1);
    for (unsigned int rounds = 0; rounds < 2 * NET_FULL && seen < NET_FULL; rounds++) {
        while (net_received(0, got, sizeof(got)) > 0) {
            seen++;
            CU_ASSERT_TRUE(is_filled(got + HEADER, 0x8000, (uint8_t)seen));
        }
        guest_run(); /* the tap's event is enough: no kick */
        while (done < NET_FULL && net_used(TX, done) == 0)
            done++;
    }
    CU_ASSERT_EQUAL(seen, NET_FULL);
    CU_ASSERT_EQUAL(done, NET_FULL);
    CU_ASSERT_FALSE(net_tx_waits(0));
    CU_ASSERT_EQUAL(counters()->requests, NET_FULL);
    CU_ASSERT_EQUAL(counters()->bytes_out, NET_FULL * 0x8000);
    CU_ASSERT_EQUAL(counters()->dropped_out, 0);
}

/* After a reset, nothing of the former driver's frame in hand is sent. */
static void test_reset_forgets_what_waits(void)
{
    net_running(1, VERSION_1, 16);
    net_fill_tap(TX);
    net_driver(1, VERSION_1, 16);
    CU_ASSERT_FALSE(net_tx_waits(0));
    while (net_received(0, got, sizeof(got)) > 0) {
    }
    transmit(5, 77, 0x77);
    guest_kick(TX);
    CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), HEADER + 77);
    CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), -1);
    CU_ASSERT_EQUAL(net_used(TX, 5), 0);
}

/* A tap that is gone takes nothing. Its driver's frames are completed, and counted as dropped. */
static void test_tap_is_gone(void)
{
    net_running(1, VERSION_1, 16);
    shutdown(net_wire[0], SHUT_RDWR);
    transmit(0, 60, 1);
    transmit(1, 60, 2);
    guest_kick(TX);
    CU_ASSERT_EQUAL(net_used(TX, 0), 0);
    CU_ASSERT_EQUAL(net_used(TX, 1), 0);
    CU_ASSERT_EQUAL(counters()->dropped_out, 2);
    CU_ASSERT_EQUAL(counters()->bytes_out, 0);
    CU_ASSERT_FALSE(net_tx_waits(0));
}

/* ---- To the driver ---- */

static void receive_buffers(unsigned int queue, uint16_t count, uint32_t length)
{
    for (uint16_t i = 0; i < count; i++) {
        memset(guest_at(BUFFER(i)), 0xee, length + 1);
        net_offer(queue, i, BUFFER(i), length, VRING_DESC_F_WRITE);
    }
    guest_kick(queue);
}

static uint16_t num_buffers(void)
{
    return ((struct virtio_net_hdr_v1 *)guest_at(BUFFER(0)))->num_buffers;
}

static void test_delivered_whole(void)
{
    static const uint32_t lengths[] = {14, 17, 18, 19, 60, 1514};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        net_running(1, VERSION_1, 16);
        receive_buffers(RX, 1, 2000);
        net_send(0, lengths[i], 0x5a);
        guest_run();
        CU_ASSERT_EQUAL(net_used(RX, 0), HEADER + lengths[i]);
        const uint8_t *buffer = guest_at(BUFFER(0));
        CU_ASSERT_EQUAL(num_buffers(), 1);
        CU_ASSERT_TRUE(is_filled(buffer, HEADER - 2, 0));
        CU_ASSERT_TRUE(is_filled(buffer + HEADER, lengths[i], 0x5a));
        CU_ASSERT_EQUAL(counters()->bytes_in, HEADER + lengths[i]);
        CU_ASSERT_EQUAL(counters()->requests, 1);
        CU_ASSERT_EQUAL(guest_interrupts(), 1);
    }
}

/* §5.1.6.3: with merged buffers each but the last is filled, and nothing behind the last is
 * touched. */
static void test_merged(void)
{
    net_running(1, VERSION_1 | MRG, 16);
    receive_buffers(RX, 8, 64);
    net_send(0, 300, 0x33); /* 312 bytes: four times 64, and 56 */
    guest_run();
    for (unsigned int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(net_used(RX, i), 64);
        uint32_t skip = i == 0 ? HEADER : 0;
        CU_ASSERT_TRUE(is_filled((uint8_t *)guest_at(BUFFER(i)) + skip, 64 - skip, 0x33));
    }
    CU_ASSERT_EQUAL(net_used(RX, 4), 56);
    CU_ASSERT_TRUE(is_filled(guest_at(BUFFER(4)), 56, 0x33));
    CU_ASSERT_EQUAL(net_used(RX, 5), -1);
    CU_ASSERT_EQUAL(num_buffers(), 5);
    /* The buffers that are left have the next frame. */
    net_send(0, 100, 0x44);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 5), 64);
    CU_ASSERT_EQUAL(net_used(RX, 6), 48);
    CU_ASSERT_TRUE(is_filled((uint8_t *)guest_at(BUFFER(5)) + HEADER, 64 - HEADER, 0x44));
    CU_ASSERT_TRUE(is_filled(guest_at(BUFFER(6)), 48, 0x44));
}

/* After a reset, nothing of the former driver's buffers is written, though the device had taken
 * some of them off the ring. */
static void test_reset_forgets_buffers(void)
{
    net_running(1, VERSION_1 | MRG, 16);
    receive_buffers(RX, 4, 128);
    net_send(0, 60, 0x33);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 0), HEADER + 60);
    net_driver(1, VERSION_1 | MRG, 16);
    for (uint16_t i = 0; i < 4; i++)
        memset(guest_at(BUFFER(i)), 0xee, 128);
    net_offer(RX, 9, BUFFER(9), 128, VRING_DESC_F_WRITE);
    guest_kick(RX);
    net_send(0, 70, 0x77);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 9), HEADER + 70);
    CU_ASSERT_TRUE(is_filled((uint8_t *)guest_at(BUFFER(9)) + HEADER, 70, 0x77));
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_TRUE(is_filled(guest_at(BUFFER(i)), 128, 0xee));
}

/* Byte `at` of frame `number`. */
static uint8_t content(unsigned int number, size_t at)
{
    return (uint8_t)(number * 37 + at + (at >> 8));
}

/* Collect the next frame, from as many buffers as its header says. Returns its length. */
static uint32_t collect(uint32_t *head, uint32_t buffers, uint32_t size)
{
    uint32_t length = 0;
    unsigned int parts = 1;
    for (unsigned int i = 0; i < parts; i++) {
        uint32_t id = *head;
        int64_t used = net_used(RX, id);
        CU_ASSERT_FATAL(used > 0 && used <= size && length + (uint64_t)used <= sizeof(got));
        if (i == 0)
            parts = ((struct virtio_net_hdr_v1 *)guest_at(BUFFER(id)))->num_buffers;
        CU_ASSERT_TRUE(i + 1 == parts || used == size);
        memcpy(got + length, guest_at(BUFFER(id)), (size_t)used);
        length += (uint32_t)used;
        memset(guest_at(BUFFER(id)), 0xee, size); /* and the driver offers it again */
        guest_offer(&net_rings[RX], (uint16_t)id);
        *head = (id + 1) % buffers;
    }
    return length;
}

static uint32_t any_ordinary_length(unsigned int number)
{
    (void)number;
    return HEADER + 14 + (uint32_t)(guest_random() % 1501);
}

/* Runs of large frames begin and end, shorter and longer ones than the device remembers. */
static uint32_t large_and_small_by_turns(unsigned int number)
{
    const bool is_large = number % 100 < 3 || number % 7 == 0;
    if (number >= 100 && number < 200)
        return any_ordinary_length(number);
    return is_large ? HEADER + NET_FRAME_MAX - (uint32_t)(guest_random() % 60000)
                    : any_ordinary_length(number);
}

/* Frames arrive one after the other, each in the next buffers and as it was sent. */
static void stream(uint64_t features, uint16_t buffers, uint32_t size,
                   uint32_t (*length_of)(unsigned int number))
{
    static uint8_t frame[HEADER + NET_FRAME_MAX];
    uint32_t head = 0;
    net_running(1, VERSION_1 | features, buffers);
    receive_buffers(RX, buffers, size);
    for (unsigned int number = 0; number < 300; number++) {
        const uint32_t length = length_of(number);
        for (size_t i = HEADER; i < length; i++)
            frame[i] = content(number, i);
        CU_ASSERT_EQUAL_FATAL(send(net_wire[0], frame, length, 0), length);
        guest_run();
        CU_ASSERT_EQUAL_FATAL(collect(&head, buffers, size), length);
        CU_ASSERT_EQUAL_FATAL(memcmp(got + HEADER, frame + HEADER, length - HEADER), 0);
        guest_kick(RX);
    }
    CU_ASSERT_EQUAL(counters()->requests, 300);
    CU_ASSERT_EQUAL(counters()->dropped_in, 0);
}

static void test_one_after_the_other(void)
{
    stream(0, 8, 2000, any_ordinary_length);
    stream(MRG, 8, 2000, any_ordinary_length);
    stream(MRG, 32, 100, any_ordinary_length);
    stream(MRG, 32, 50, any_ordinary_length); /* the longest need all of them */
}

/* A frame may be longer than the room that the device has made for it. */
static void test_large_among_small(void)
{
    stream(MRG, 64, 1536, large_and_small_by_turns);
    stream(MRG, 128, 513, large_and_small_by_turns); /* the longest need all of them */
    stream(0, 4, HEADER + NET_FRAME_MAX, large_and_small_by_turns);
}

/* A frame that needs an offload which the driver does not take is dropped. That is no fault. */
static void test_offloads(void)
{
    const uint64_t takes = BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);
    struct {
        struct virtio_net_hdr_v1 header;
        uint8_t bytes[60];
    } frame = {.header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                          .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                          .hdr_len = 54,
                          .gso_size = 3}};
    for (int taken = 0; taken < 2; taken++) {
        net_running(1, VERSION_1 | (taken ? takes : 0), 16);
        receive_buffers(RX, 1, HEADER + NET_FRAME_MAX);
        CU_ASSERT_EQUAL(send(net_wire[0], &frame, HEADER + 60, 0), HEADER + 60);
        guest_run();
        CU_ASSERT_EQUAL(net_used(RX, 0), taken ? (int64_t)HEADER + 60 : -1);
        CU_ASSERT_EQUAL(counters()->dropped_in, taken ? 0 : 1);
        CU_ASSERT_EQUAL(guest_logged(LOG_FRAME_DROPPED), 0);
        if (taken)
            CU_ASSERT_EQUAL(memcmp(guest_at(BUFFER(0)), &frame, HEADER - 2), 0);
    }
}

/* A frame for which there is too little room waits for more, and arrives whole. */
static void test_held(void)
{
    stream(MRG, 32, 50, any_ordinary_length); /* nothing goes where a former frame went */
    net_running(1, VERSION_1 | MRG, 16);
    receive_buffers(RX, 2, 64);
    net_send(0, 300, 0x66);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 0), -1);
    for (uint16_t i = 2; i < 5; i++)
        net_offer(RX, i, BUFFER(i), 64, VRING_DESC_F_WRITE);
    guest_kick(RX);
    uint8_t all[320];
    for (unsigned int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(net_used(RX, i), i < 4 ? 64 : 56);
        memcpy(all + (size_t)64 * i, guest_at(BUFFER(i)), 64);
    }
    CU_ASSERT_TRUE(is_filled(all + HEADER, 300, 0x66));
    CU_ASSERT_EQUAL(num_buffers(), 5);
    CU_ASSERT_EQUAL(counters()->dropped_in, 0);
}

/* What no buffers of this driver can ever hold is dropped. The buffers remain for the next. */
static void test_no_room(void)
{
    for (int merged = 0; merged < 2; merged++) {
        net_running(1, VERSION_1 | (merged ? MRG : 0), 4);
        receive_buffers(RX, merged ? 4 : 1, 64);
        net_send(0, 1000, 0x22);
        net_send(0, 50, 0x23);
        guest_run();
        CU_ASSERT_EQUAL(counters()->dropped_in, 1);
        CU_ASSERT_EQUAL(guest_logged(LOG_FRAME_DROPPED), 1);
        CU_ASSERT_EQUAL(net_used(RX, 0), HEADER + 50);
        CU_ASSERT_TRUE(is_filled((uint8_t *)guest_at(BUFFER(0)) + HEADER, 50, 0x23));
        CU_ASSERT_EQUAL(num_buffers(), 1);
        CU_ASSERT_EQUAL(net_used(RX, 1), -1);
        CU_ASSERT_FALSE(net_needs_reset());
    }
}

/* Offers `chains` buffers, each in so many pieces of so many bytes. All of them lie one after the
 * other from BUFFER(0) on. */
static void offer_pieces(uint16_t chains, uint16_t pieces, uint32_t size)
{
    uint64_t at = BUFFER(0);
    for (uint16_t chain = 0; chain < chains; chain++) {
        struct vring_desc *table = guest_at(BUFFER(20 + chain));
        for (uint16_t i = 0; i < pieces; i++, at += size)
            table[i] = (struct vring_desc){.addr = at,
                                           .len = size,
                                           .flags = VRING_DESC_F_WRITE |
                                                    (i + 1 < pieces ? VRING_DESC_F_NEXT : 0),
                                           .next = (uint16_t)(i + 1)};
        net_offer(RX, chain, BUFFER(20 + chain), (uint32_t)(pieces * sizeof(table[0])),
                  VRING_DESC_F_INDIRECT);
    }
    guest_kick(RX);
}

/* The worker has room for 512 pieces, and takes no buffer if it could have more than that. */
static void test_many_pieces(void)
{
    static const struct {
        uint16_t pieces;
        uint32_t size;
        bool fits;
    } rows[] = {{128, 10, true}, {129, 10, false}, {256, 5, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const uint32_t of_chain = rows[i].pieces * rows[i].size;
        net_running(1, VERSION_1 | MRG | BIT(VIRTIO_RING_F_INDIRECT_DESC), 16);
        offer_pieces(3, rows[i].pieces, rows[i].size);
        net_send(0, 3000, 0x42); /* three buffers are enough, and two are not */
        guest_run();
        CU_ASSERT_FALSE(net_needs_reset());
        CU_ASSERT_EQUAL(counters()->dropped_in, !rows[i].fits);
        if (!rows[i].fits)
            continue;
        for (uint32_t id = 0; id < 3; id++)
            CU_ASSERT_EQUAL(net_used(RX, id), id < 2 ? of_chain : HEADER + 3000 - 2 * of_chain);
        CU_ASSERT_EQUAL(num_buffers(), 3);
        CU_ASSERT_TRUE(is_filled((uint8_t *)guest_at(BUFFER(0)) + HEADER, 3000, 0x42));
    }
}

/* Nothing shorter than an Ethernet header, and nothing longer than any frame. */
static void test_lengths(void)
{
    static const struct {
        uint32_t length;
        bool passes;
    } rows[] = {
        {0, false}, {13, false}, {14, true}, {NET_FRAME_MAX, true}, {NET_FRAME_MAX + 1, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        net_running(1, VERSION_1, 16);
        receive_buffers(RX, 1, HEADER + NET_FRAME_MAX + 1);
        net_send(0, rows[i].length, 0x12);
        guest_run();
        CU_ASSERT_EQUAL(net_used(RX, 0), rows[i].passes ? HEADER + (int64_t)rows[i].length : -1);
        CU_ASSERT_EQUAL(counters()->dropped_in, rows[i].passes ? 0 : 1);
    }
}

/* Buffers that only hold a part of the header break the promise of §5.1.6.3.1. */
static void test_buffer_too_short(void)
{
    net_running(1, VERSION_1, 16);
    net_send(0, 60, 1);
    receive_buffers(RX, 1, HEADER - 1);
    CU_ASSERT_TRUE(net_needs_reset());
}

/* §5.1.6.5.5: frames of all queues of the tap reach the pairs that are in use. */
static void test_pairs(void)
{
    net_running(2, VERSION_1 | BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_VQ), 16);
    receive_buffers(RX, 4, 128);
    receive_buffers(2, 4, 128);
    net_send(0, 20, 1);
    net_send(1, 21, 2);
    guest_run();
    int64_t first = net_used(RX, 0), second = net_used(RX, 1);
    CU_ASSERT_EQUAL(first + second, 2 * HEADER + 20 + 21);
    CU_ASSERT_EQUAL(net_used(2, 0), -1);
    guest_state.of_kind.net.pairs = 2;
    net_send(1, 22, 3);
    guest_run();
    CU_ASSERT_EQUAL(net_used(2, 0), HEADER + 22);
    net_send(0, 23, 4);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 2), HEADER + 23);
    /* The second pair sends by the second queue of the tap. */
    memset(guest_at(BUFFER(9)), 0, HEADER + 30);
    net_offer(3, 0, BUFFER(9), HEADER + 30, 0);
    guest_kick(3);
    CU_ASSERT_EQUAL(net_received(1, got, sizeof(got)), HEADER + 30);
    CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), -1);
}

/* ---- Interrupts that wait ---- */

/* Nothing happens until the time is over. Returns how many interrupts come then. */
static uint64_t interrupts_in_the_end(void)
{
    uint64_t count = 0;
    for (unsigned int rounds = 0; rounds < 20 && count == 0; rounds++) {
        loop_round(&guest_device, 20000);
        count = guest_interrupts();
    }
    CU_ASSERT_EQUAL(guest_device.late, 0);
    return count;
}

static void coalesce(unsigned int queue, uint32_t packets, uint32_t usecs)
{
    net_running(1, VERSION_1, 16);
    guest_interrupts();
    guest_state.of_kind.net.coal[queue] = (struct state_net_coal){packets, usecs};
}

/* However slow this machine is, the time does not end here: only the loop looks at it. */
static void one_frame(unsigned int queue, uint16_t number)
{
    if (queue == TX)
        transmit(number, 60, 1);
    else
        net_send(0, 60, 1);
    guest_device.work |= 1u << queue;
    device_backend_event(&guest_device, 0, EPOLLIN);
    device_turns(&guest_device);
    if (queue == TX)
        CU_ASSERT_EQUAL(net_received(0, got, sizeof(got)), HEADER + 60);
    CU_ASSERT(net_used(queue, number) >= 0); /* the driver sees it at once */
}

/* After max_packets, or max_usecs, whichever is first; and then anew. */
static void test_coalesced(void)
{
    for (unsigned int queue = RX; queue <= TX; queue++) {
        coalesce(queue, 3, IRQ_DELAY_US_MAX);
        for (uint16_t n = 0; queue == RX && n < 16; n++)
            net_offer(RX, n, BUFFER(n), 2000, VRING_DESC_F_WRITE);
        uint16_t number = 0;
        for (unsigned int turn = 0; turn < 3; turn++) {
            one_frame(queue, number++);
            one_frame(queue, number++);
            CU_ASSERT_EQUAL(guest_interrupts(), 0);
            one_frame(queue, number++);
            CU_ASSERT_EQUAL(guest_interrupts(), 1);
        }
        one_frame(queue, number++);
        CU_ASSERT_EQUAL(guest_interrupts(), 0);
        CU_ASSERT_EQUAL(interrupts_in_the_end(), 1);
        guest_state.of_kind.net.coal[queue].max_usecs = 0;
        one_frame(queue, number++);
        CU_ASSERT_EQUAL(guest_interrupts(), 1);
        guest_state.of_kind.net.coal[queue] = (struct state_net_coal){0, 1000};
        one_frame(queue, number++);
        CU_ASSERT_EQUAL(guest_interrupts(), 1);
    }
}

/* The driver sends little, and the key lets the interrupt wait. */
static void test_irq_delay(void)
{
    net_irq_delay_us = IRQ_DELAY_US_MAX;
    net_running(1, VERSION_1, 16);
    guest_interrupts();
    one_frame(TX, 0);
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
    CU_ASSERT_EQUAL(guest_device.late, 1u << TX);
    CU_ASSERT_EQUAL(interrupts_in_the_end(), 1);
    /* It comes along with a frame that arrives. */
    one_frame(TX, 1);
    net_offer(RX, 0, BUFFER(9), 2000, VRING_DESC_F_WRITE);
    one_frame(RX, 0);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(guest_device.late, 0);
    /* If the worker dies meanwhile, its successor tells the driver. */
    one_frame(TX, 2);
    net_worker(1);
    guest_run();
    CU_ASSERT(guest_interrupts() >= 1);
    net_irq_delay_us = 0;
}

/* What the tap held before there was a driver is for nobody. */
static void test_drained(void)
{
    memset(&guest_state, 0, sizeof(guest_state));
    net_worker(2);
    for (unsigned int tap = 0; tap < 2; tap++) {
        net_send(tap, 60, 1);
        net_send(tap, 60, 2);
    }
    net_driver(2, VERSION_1, 16);
    receive_buffers(RX, 4, 128);
    CU_ASSERT_EQUAL(net_used(RX, 0), -1);
    net_send(1, 33, 3);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 0), HEADER + 33);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"sent whole", test_sent_whole},
        {"sent from pieces", test_sent_from_pieces},
        {"a short frame is dropped", test_short_is_dropped},
        {"a full tap", test_full_tap},
        {"a reset forgets what waits", test_reset_forgets_what_waits},
        {"a reset forgets buffers", test_reset_forgets_buffers},
        {"a tap that is gone", test_tap_is_gone},
        {"delivered whole", test_delivered_whole},
        {"merged buffers", test_merged},
        {"one after the other", test_one_after_the_other},
        {"large frames among small ones", test_large_among_small},
        {"offloads", test_offloads},
        {"a frame that waits for buffers", test_held},
        {"a frame that no buffers hold", test_no_room},
        {"buffers of many pieces", test_many_pieces},
        {"lengths from the tap", test_lengths},
        {"a buffer that holds no header", test_buffer_too_short},
        {"pairs", test_pairs},
        {"interrupts that wait for more frames, or for a time", test_coalesced},
        {"interrupts that wait for those of frames that come", test_irq_delay},
        {"frames of before", test_drained},
        CU_TEST_INFO_NULL,
    };
    signal(SIGPIPE, SIG_IGN); /* as in a worker: a tap raises none */
    guest_window_init();
    return run_tests(argc, argv, "net_frames", tests);
}
