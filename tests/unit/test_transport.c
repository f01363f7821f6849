/* SPDX-License-Identifier: Apache-2.0 */
/* Every register of virtio-mmio, as a normal driver, a careless one and a hostile one use them. */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/transport.h"

#define QUEUE_RESET 0x0c0
#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define RING_RESET (1ull << VIRTIO_F_RING_RESET)
#define ACKNOWLEDGE VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER VIRTIO_CONFIG_S_DRIVER
#define DRIVER_OK VIRTIO_CONFIG_S_DRIVER_OK
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define FAILED VIRTIO_CONFIG_S_FAILED

static struct guest_ring ring;
static int image = -1;

static void fresh(void)
{
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    memset(&guest_state, 0, sizeof(guest_state));
    guest_fds(DEVICE_BLOCK_VIRTIO, image);
    guest_worker(&start);
    guest_ring_init(&ring, 0, 16);
}

static uint64_t offered(void)
{
    guest_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    uint64_t low = guest_read(VIRTIO_MMIO_DEVICE_FEATURES);
    guest_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    return low | (uint64_t)guest_read(VIRTIO_MMIO_DEVICE_FEATURES) << 32;
}

static void running(uint64_t features)
{
    fresh();
    CU_ASSERT_EQUAL(guest_negotiate(features), ACKNOWLEDGE | DRIVER | FEATURES_OK);
    guest_queue_setup(0, &ring);
    guest_driver_ok();
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    guest_run();
}

/* A request for the serial number: the smallest one that shows that the queue is served. */
static bool get_id_works(void)
{
    struct vring_used_elem element;
    struct virtio_blk_outhdr *header = guest_at(GUEST_BASE + GUEST_BUFFERS);
    char *id = guest_at(GUEST_BASE + GUEST_BUFFERS + 64);
    *header = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_GET_ID};
    memset(id, 0xff, 21);
    guest_desc(&ring, 0, GUEST_BASE + GUEST_BUFFERS, sizeof(*header), VRING_DESC_F_NEXT, 1);
    guest_desc(&ring, 1, GUEST_BASE + GUEST_BUFFERS + 64, 21, VRING_DESC_F_WRITE, 0);
    guest_offer(&ring, 0);
    guest_kick(0);
    return guest_used(&ring, &element) && element.id == 0 && element.len == 21 && id[20] == 0 &&
           strcmp(id, "unit-test-serial") == 0;
}

/* ---- Reading ---- */

static void test_identity(void)
{
    fresh();
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_VERSION), 2);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_VENDOR_ID), TRANSPORT_VENDOR_ID);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_CONFIG_GENERATION), 0);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 0);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void test_widths_and_offsets(void)
{
    static const unsigned int widths[] = {0, 1, 2, 3, 5, 8, 16, 255};
    running(VERSION_1);
    struct state_page before = guest_state;
    for (uint32_t offset = 0; offset < VIRTIO_MMIO_CONFIG; offset++) {
        for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
            CU_ASSERT_EQUAL(transport_read(&guest_device, offset, widths[i]), 0);
            transport_write(&guest_device, offset, widths[i], 0);
        }
        if (offset % 4 != 0) {
            CU_ASSERT_EQUAL(transport_read(&guest_device, offset, 4), 0);
            transport_write(&guest_device, offset, 4, 0);
        }
    }
    CU_ASSERT_EQUAL(memcmp(&before, &guest_state, sizeof(before)), 0);
    CU_ASSERT_TRUE(get_id_works());
}

/* Only the low half of a 64-bit value belongs to the register, even if the high half is set. */
static void test_value_is_cut(void)
{
    fresh();
    transport_write(&guest_device, VIRTIO_MMIO_STATUS, 4, 0xabcdef0100000001ull);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), ACKNOWLEDGE);
    transport_write(&guest_device, VIRTIO_MMIO_STATUS, 4, 0xabcdef0100000000ull);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 0);
}

static uint64_t config(uint32_t offset, unsigned int width)
{
    return transport_read(&guest_device, VIRTIO_MMIO_CONFIG + offset, width);
}

static void test_config_space(void)
{
    static const unsigned int widths[] = {1, 2, 4, 8};
    fresh();
    CU_ASSERT_EQUAL(config(offsetof(struct virtio_blk_config, capacity), 8), 2048);
    CU_ASSERT_EQUAL(config(offsetof(struct virtio_blk_config, capacity), 4), 2048);
    CU_ASSERT_EQUAL(config(1, 1), 8);
    CU_ASSERT_EQUAL(config(offsetof(struct virtio_blk_config, seg_max), 4), 254);
    CU_ASSERT_EQUAL(config(offsetof(struct virtio_blk_config, blk_size), 4), 512);
    uint32_t size = guest_device.config_size;
    CU_ASSERT_TRUE(size > 20 && size % 4 == 0);
    for (uint32_t offset = 0; offset < size + 64; offset++) {
        for (size_t i = 0; i < 4; i++) {
            uint64_t expected = 0;
            for (unsigned int b = 0; b < widths[i]; b++)
                expected |= (offset + b < size ? (uint64_t)guest_device.config[offset + b] : 0)
                            << (8 * b);
            CU_ASSERT_EQUAL(config(offset, widths[i]), expected);
            transport_write(&guest_device, VIRTIO_MMIO_CONFIG + offset, widths[i], ~0ull);
        }
    }
    CU_ASSERT_EQUAL(config(0, 8), 2048);
    CU_ASSERT_EQUAL(config(0, 16), 0);
    CU_ASSERT_EQUAL(transport_read(&guest_device, UINT32_MAX, 4), 0);
    CU_ASSERT_EQUAL(transport_read(&guest_device, UINT32_MAX - 3, 4), 0);
}

static void test_shared_memory(void)
{
    fresh();
    for (uint32_t region = 0; region < 3; region++) {
        guest_write(VIRTIO_MMIO_SHM_SEL, region);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_SHM_BASE_LOW), UINT32_MAX);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
    }
}

/* ---- Features and status ---- */

static void test_features(void)
{
    fresh();
    uint64_t features = offered();
    CU_ASSERT_TRUE((features & VERSION_1) != 0);
    CU_ASSERT_TRUE((features & 1ull << VIRTIO_F_ACCESS_PLATFORM) != 0);
    CU_ASSERT_TRUE((features & RING_RESET) != 0);
    CU_ASSERT_TRUE((features & 1ull << VIRTIO_F_RING_PACKED) != 0);
    CU_ASSERT_TRUE((features & 1ull << VIRTIO_F_IN_ORDER) != 0);
    for (uint32_t sel = 2; sel < 40; sel++) {
        guest_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_DEVICE_FEATURES), 0);
    }
    guest_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_DEVICE_FEATURES), 0);
    CU_ASSERT_EQUAL(guest_negotiate(features), ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

static void test_features_refused(void)
{
    fresh();
    uint64_t features = offered();
    guest_logged(LOG_FEATURES_REFUSED);
    CU_ASSERT_EQUAL(guest_negotiate(features & ~VERSION_1), ACKNOWLEDGE | DRIVER);
    CU_ASSERT_EQUAL(guest_logged(LOG_FEATURES_REFUSED), 1);
    CU_ASSERT_TRUE(log_limited());
    loop_round(&guest_device, 1);
    CU_ASSERT_TRUE(log_limited());
    loop_round(&guest_device, LOG_QUIET_MS); /* the worker waits, and nothing happens */
    CU_ASSERT_FALSE(log_limited());
    for (unsigned int bit = 0; bit < 64; bit++) {
        uint64_t wanted = VERSION_1 | 1ull << bit;
        uint32_t expected = ACKNOWLEDGE | DRIVER | (features & 1ull << bit ? FEATURES_OK : 0);
        CU_ASSERT_EQUAL(guest_negotiate(wanted), expected);
        guest_driver_ok(); /* it is refused as well: no valid features */
        CU_ASSERT_EQUAL(!!(guest_read(VIRTIO_MMIO_STATUS) & DRIVER_OK), !!(expected & FEATURES_OK));
    }
    /* A bit above the 64: it is never offered. */
    guest_negotiate(0);
    guest_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    guest_write(VIRTIO_MMIO_DRIVER_FEATURES, VERSION_1 >> 32);
    guest_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
    guest_write(VIRTIO_MMIO_DRIVER_FEATURES, 1);
    guest_write(VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), ACKNOWLEDGE | DRIVER);
    CU_ASSERT_EQUAL(guest_negotiate(VERSION_1), ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

static void test_features_are_final(void)
{
    running(VERSION_1);
    uint64_t before = guest_state.transport.driver_features;
    for (uint32_t sel = 0; sel < 4; sel++) {
        guest_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
        guest_write(VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
    }
    CU_ASSERT_EQUAL(guest_state.transport.driver_features, before);
    CU_ASSERT_EQUAL(guest_state.transport.driver_features_beyond, 0);
}

static void test_status_only_grows(void)
{
    fresh();
    guest_write(VIRTIO_MMIO_STATUS, ACKNOWLEDGE);
    guest_write(VIRTIO_MMIO_STATUS, DRIVER);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), ACKNOWLEDGE | DRIVER);
    guest_write(VIRTIO_MMIO_STATUS, FAILED);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), ACKNOWLEDGE | DRIVER | FAILED);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 0);
    /* Bits that do not belong to the driver, and bits that do not exist. */
    guest_write(VIRTIO_MMIO_STATUS, NEEDS_RESET | 0x10 | 0x20 | 0xffffff00);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 0);
    guest_write(VIRTIO_MMIO_STATUS, DRIVER_OK);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 0);
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
}

/* ---- Queues ---- */

static void test_no_such_queue(void)
{
    static const uint32_t none[] = {1, 2, 15, 16, 17, 255, 0x10000, UINT32_MAX};
    running(VERSION_1 | RING_RESET);
    struct state_page before = guest_state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        guest_write(VIRTIO_MMIO_QUEUE_SEL, none[i]);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_READY), 0);
        CU_ASSERT_EQUAL(guest_read(QUEUE_RESET), 0);
        guest_write(VIRTIO_MMIO_QUEUE_NUM, 8);
        guest_write(VIRTIO_MMIO_QUEUE_DESC_LOW, 8);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 1);
        guest_write(QUEUE_RESET, 1);
        guest_write(VIRTIO_MMIO_QUEUE_NOTIFY, none[i]);
    }
    guest_write(VIRTIO_MMIO_QUEUE_SEL, 0);
    CU_ASSERT_EQUAL(memcmp(before.queues, guest_state.queues, sizeof(before.queues)), 0);
    CU_ASSERT_EQUAL(guest_device.work, 0);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_NUM_MAX), 256);
}

static void test_queue_is_fixed_while_ready(void)
{
    fresh();
    guest_negotiate(VERSION_1);
    guest_queue_setup(0, &ring);
    struct state_queue before = guest_state.queues[0];
    CU_ASSERT_EQUAL(before.desc, ring.desc_addr);
    CU_ASSERT_EQUAL(before.driver, ring.avail_addr);
    CU_ASSERT_EQUAL(before.device, ring.used_addr);
    CU_ASSERT_EQUAL(before.size, 16);
    for (uint32_t offset = VIRTIO_MMIO_QUEUE_DESC_LOW; offset <= 0xa4; offset += 4)
        guest_write(offset, 0x55555555);
    guest_write(VIRTIO_MMIO_QUEUE_NUM, 4);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 2); /* neither 0 nor 1 */
    CU_ASSERT_EQUAL(memcmp(&before, &guest_state.queues[0], sizeof(before)), 0);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_READY), 1);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_READY), 0);
    guest_write(VIRTIO_MMIO_QUEUE_NUM, 4);
    CU_ASSERT_EQUAL(guest_state.queues[0].size, 4);
}

/* Both halves of each address, in any order, and each half alone. */
static void test_addresses_of_64_bits(void)
{
    static const uint32_t low[] = {VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
                                   VIRTIO_MMIO_QUEUE_USED_LOW};
    fresh();
    guest_negotiate(VERSION_1);
    struct state_queue *queue = &guest_state.queues[0];
    const uint64_t *const fields[] = {&queue->desc, &queue->driver, &queue->device};
    for (unsigned int i = 0; i < 3; i++) {
        guest_write(low[i] + 4, 0x12345678);
        CU_ASSERT_EQUAL(*fields[i], 0x1234567800000000);
        guest_write(low[i], 0xfedcba98);
        CU_ASSERT_EQUAL(*fields[i], 0x12345678fedcba98);
        guest_write(low[i] + 4, 1);
        CU_ASSERT_EQUAL(*fields[i], 0x1fedcba98);
        guest_write(low[i], 2);
        CU_ASSERT_EQUAL(*fields[i], 0x100000002);
        for (unsigned int k = i + 1; k < 3; k++)
            CU_ASSERT_EQUAL(*fields[k], 0);
    }
}

/* The drivers of some small systems never write QueueNum. They rely on QueueNumMax. */
static void test_size_after_a_reset(void)
{
    for (unsigned int round = 0; round < 2; round++) {
        if (round == 0)
            fresh();
        guest_negotiate(VERSION_1 | RING_RESET);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 1);
        CU_ASSERT_EQUAL(guest_state.queues[0].size, 256);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
        guest_write(VIRTIO_MMIO_QUEUE_NUM, 8);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 1);
        CU_ASSERT_EQUAL(guest_state.queues[0].size, 8);
        guest_write(QUEUE_RESET, 1);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 1);
        CU_ASSERT_EQUAL(guest_state.queues[0].size, 256);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
        /* A size that the driver wrote stays, however bad it is. */
        guest_write(VIRTIO_MMIO_QUEUE_NUM, 0);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 1);
        CU_ASSERT_TRUE(guest_state.queues[0].size > 256);
        guest_write(VIRTIO_MMIO_STATUS, 0);
    }
}

static void expect_needs_reset(enum log_code code)
{
    CU_ASSERT_TRUE(guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    CU_ASSERT_EQUAL(guest_logged(code), 1);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 1);
}

static void test_bad_ring_at_driver_ok(void)
{
    for (unsigned int bad = 0; bad < 5; bad++) {
        fresh();
        guest_negotiate(VERSION_1);
        struct guest_ring wrong = ring;
        wrong.size = bad == 0 ? 0 : bad == 1 ? 3 : 16;
        wrong.desc_addr += bad == 2 ? 8 : 0;
        wrong.avail_addr += bad == 3 ? GUEST_SIZE : 0;
        wrong.used_addr = bad == 4 ? GUEST_BASE - 4096 : ring.used_addr;
        guest_queue_setup(0, &wrong);
        CU_ASSERT_FALSE(guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET);
        guest_driver_ok();
        expect_needs_reset(LOG_QUEUE_INVALID);
        guest_kick(0);
        CU_ASSERT_EQUAL(guest_interrupts(), 0);
        /* Only a reset helps. */
        guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
        guest_queue_setup(0, &ring);
        CU_ASSERT_FALSE(get_id_works());
        guest_ring_init(&ring, 0, 16);
        guest_negotiate(VERSION_1);
        guest_queue_setup(0, &ring);
        guest_driver_ok();
        CU_ASSERT_TRUE(get_id_works());
    }
}

static void test_queue_after_driver_ok(void)
{
    fresh();
    guest_negotiate(VERSION_1);
    guest_driver_ok();
    guest_kick(0);
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
    guest_queue_setup(0, &ring);
    CU_ASSERT_TRUE(get_id_works());
    guest_write(VIRTIO_MMIO_QUEUE_READY, 1); /* it already is */
    CU_ASSERT_EQUAL(guest_state.queues[0].next_used, 1);
    CU_ASSERT_TRUE(get_id_works());
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    CU_ASSERT_FALSE(get_id_works());
    guest_ring_init(&ring, 0, 8); /* a new ring begins at 0 */
    guest_queue_setup(0, &ring);
    CU_ASSERT_TRUE(get_id_works());
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    ring.size = 3;
    guest_interrupts();
    guest_write(VIRTIO_MMIO_INTERRUPT_ACK, 3);
    guest_logged(LOG_QUEUE_INVALID);
    guest_queue_setup(0, &ring);
    expect_needs_reset(LOG_QUEUE_INVALID);
}

static void test_queue_reset(void)
{
    static const struct state_queue none;
    running(VERSION_1);
    guest_write(QUEUE_RESET, 1); /* the feature was not negotiated */
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_READY), 1);
    CU_ASSERT_TRUE(get_id_works());

    running(VERSION_1 | RING_RESET);
    for (uint16_t size = 256; size > 1; size /= 2) {
        CU_ASSERT_TRUE(get_id_works());
        guest_write(QUEUE_RESET, 0);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_READY), 1);
        guest_write(QUEUE_RESET, 1);
        CU_ASSERT_EQUAL(guest_read(QUEUE_RESET), 0);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_READY), 0);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_QUEUE_NUM_MAX), 256);
        CU_ASSERT_EQUAL(memcmp(&guest_state.queues[0], &none, sizeof(none)), 0);
        guest_interrupts();
        CU_ASSERT_FALSE(get_id_works());
        CU_ASSERT_EQUAL(guest_interrupts(), 0);
        guest_ring_init(&ring, 0, size);
        guest_queue_setup(0, &ring);
        CU_ASSERT_EQUAL(guest_read(QUEUE_RESET), 0);
    }
    CU_ASSERT_TRUE(get_id_works());
}

static void test_notify_by_register(void)
{
    running(VERSION_1);
    CU_ASSERT_TRUE(get_id_works());
    guest_offer(&ring, 0);
    guest_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    guest_run();
    struct vring_used_elem element;
    CU_ASSERT_TRUE(guest_used(&ring, &element));
}

/* ---- Interrupts and reset ---- */

static void test_interrupt_ack(void)
{
    running(VERSION_1);
    guest_interrupts();
    CU_ASSERT_TRUE(get_id_works());
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    guest_write(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    guest_write(VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void expect_initial_state(void)
{
    static const struct state_queue none;
    const struct state_transport *transport = &guest_state.transport;
    CU_ASSERT_EQUAL(transport->status, 0);
    CU_ASSERT_EQUAL(atomic_load(&guest_state.interrupt.pending), 0);
    CU_ASSERT_EQUAL(transport->driver_features, 0);
    CU_ASSERT_EQUAL(transport->queue_sel, 0);
    CU_ASSERT_EQUAL(memcmp(&guest_state.queues[0], &none, sizeof(none)), 0);
}

static void test_reset(void)
{
    running(VERSION_1);
    for (unsigned int i = 0; i < 2000; i++) {
        CU_ASSERT_TRUE_FATAL(get_id_works());
        guest_offer(&ring, 0); /* a chain that is left behind */
        guest_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        guest_write(VIRTIO_MMIO_STATUS, 0);
        CU_ASSERT_EQUAL_FATAL(guest_read(VIRTIO_MMIO_STATUS), 0);
        CU_ASSERT_EQUAL_FATAL(guest_read(VIRTIO_MMIO_QUEUE_READY), 0);
        expect_initial_state();
        guest_interrupts();
        guest_kick(0);
        CU_ASSERT_EQUAL_FATAL(guest_interrupts(), 0);
        guest_ring_init(&ring, 0, (uint16_t)(4u << i % 7));
        CU_ASSERT_EQUAL_FATAL(guest_negotiate(VERSION_1), ACKNOWLEDGE | DRIVER | FEATURES_OK);
        guest_queue_setup(0, &ring);
        guest_driver_ok();
    }
    CU_ASSERT_TRUE(get_id_works());
}

/* ---- The mailbox ---- */

static uint64_t reply_signals(void)
{
    uint64_t count = 0;
    return read(WORKER_FD_REPLY, &count, sizeof(count)) < 0 ? 0 : count;
}

static void post(uint32_t offset, uint8_t width, bool is_write, uint64_t value)
{
    struct state_mailbox *mailbox = &guest_state.mailbox;
    mailbox->offset = offset;
    mailbox->width = width;
    mailbox->is_write = is_write;
    mailbox->value = value;
    atomic_fetch_add(&mailbox->request_seq, 1);
}

static void test_mailbox(void)
{
    const struct state_mailbox *mailbox = &guest_state.mailbox;
    running(VERSION_1);
    uint64_t accesses = guest_state.counters.register_accesses;
    guest_run();
    CU_ASSERT_EQUAL(reply_signals(), 0);
    for (uint32_t i = 0; i < 5; i++) {
        post(VIRTIO_MMIO_MAGIC_VALUE, 4, false, 0);
        guest_run();
        CU_ASSERT_EQUAL(mailbox->response_seq, mailbox->request_seq);
        CU_ASSERT_EQUAL(mailbox->answer, 0x74726976);
        CU_ASSERT_EQUAL(reply_signals(), 1);
    }
    post(VIRTIO_MMIO_STATUS, 4, true, 0);
    guest_run();
    CU_ASSERT_EQUAL(reply_signals(), 1);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 0);
    CU_ASSERT_EQUAL(guest_state.counters.register_accesses, accesses + 6);
}

/* A worker died before it answered. Its successor carries out the access again. */
static void test_repeated_requests(void)
{
    static const struct {
        uint32_t offset, value;
    } writes[] = {
        {VIRTIO_MMIO_STATUS, 0},
        {VIRTIO_MMIO_STATUS, ACKNOWLEDGE},
        {VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER},
        {VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1},
        {VIRTIO_MMIO_DRIVER_FEATURES, VERSION_1 >> 32},
        {VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK},
        {VIRTIO_MMIO_QUEUE_SEL, 0},
        {VIRTIO_MMIO_QUEUE_NUM, 16},
        {VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)GUEST_BASE},
        {VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)GUEST_BASE + 0x2000},
        {VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)GUEST_BASE + 0x3000},
        {VIRTIO_MMIO_QUEUE_READY, 1},
        {VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK},
        {VIRTIO_MMIO_QUEUE_NOTIFY, 0},
        {VIRTIO_MMIO_QUEUE_READY, 0},
        {VIRTIO_MMIO_QUEUE_READY, 1},
    };
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    fresh();
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        post(writes[i].offset, 4, true, writes[i].value);
        guest_run();
        struct state_page once = guest_state;
        atomic_fetch_sub(&guest_state.mailbox.response_seq, 1);
        start.incarnation++;
        guest_worker(&start);
        guest_run();
        CU_ASSERT_EQUAL(guest_state.mailbox.response_seq, guest_state.mailbox.request_seq);
        atomic_store(&guest_state.interrupt.pending, 0); /* a successor always signals */
        once.counters = guest_state.counters;
        CU_ASSERT_EQUAL(memcmp(&once, &guest_state, sizeof(once)), 0);
    }
    CU_ASSERT_TRUE(get_id_works());
    guest_write(VIRTIO_MMIO_STATUS, 0);
    expect_initial_state();
}

/* ---- Anything, in any order, over rings of nonsense ---- */

static uint64_t random_value(void)
{
    switch (guest_random() % 6) {
    case 0:
        return guest_random();
    case 1:
        return GUEST_BASE + (guest_random() % 16) * 0x1000;
    case 2:
        return 1ull << guest_random() % 64;
    case 3:
        return 0;
    default:
        return guest_random() % 16;
    }
}

static void test_random_accesses(void)
{
    static const unsigned int widths[] = {1, 2, 4, 4, 4, 4, 4, 8};
    unsigned int live = 0;
    running(VERSION_1);
    for (unsigned int i = 0; i < 300000; i++) {
        uint32_t offset = (uint32_t)(guest_random() % 0x220) & (guest_random() % 8 ? ~3u : ~0u);
        if (guest_random() % 2)
            transport_write(&guest_device, offset, widths[guest_random() % 8], random_value());
        else
            transport_read(&guest_device, offset, widths[guest_random() % 8]);
        if (guest_random() % 64 == 0)
            *(uint64_t *)guest_at(GUEST_BASE + guest_random() % 0x2000 * 8) = random_value();
        if (guest_random() % 256 == 0) {
            guest_negotiate(VERSION_1);
            guest_queue_setup(0, &ring);
            guest_driver_ok();
            guest_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        }
        live += device_live(&guest_device);
        if (guest_random() % 8 == 0)
            guest_run();
    }
    CU_ASSERT_TRUE(live > 10000);
    guest_ring_init(&ring, 0, 16);
    guest_negotiate(VERSION_1);
    guest_queue_setup(0, &ring);
    guest_driver_ok();
    CU_ASSERT_TRUE(get_id_works());
}

int main(int argc, char **argv)
{
    image = memfd_create("image", MFD_CLOEXEC);
    if (image < 0 || ftruncate(image, 1 << 20) < 0)
        return EXIT_FAILURE;
    image = fcntl(image, F_DUPFD_CLOEXEC, 100); /* a worker's files have the low numbers */
    guest_window_init();
    CU_TestInfo tests[] = {
        {"identity", test_identity},
        {"widths and offsets", test_widths_and_offsets},
        {"value is cut", test_value_is_cut},
        {"config space", test_config_space},
        {"shared memory", test_shared_memory},
        {"features", test_features},
        {"features refused", test_features_refused},
        {"features are final", test_features_are_final},
        {"status only grows", test_status_only_grows},
        {"no such queue", test_no_such_queue},
        {"queue is fixed while ready", test_queue_is_fixed_while_ready},
        {"addresses of 64 bits", test_addresses_of_64_bits},
        {"size after a reset", test_size_after_a_reset},
        {"bad ring at DRIVER_OK", test_bad_ring_at_driver_ok},
        {"queue after DRIVER_OK", test_queue_after_driver_ok},
        {"queue reset", test_queue_reset},
        {"notify by register", test_notify_by_register},
        {"interrupt ack", test_interrupt_ack},
        {"reset", test_reset},
        {"mailbox", test_mailbox},
        {"repeated requests", test_repeated_requests},
        {"random accesses", test_random_accesses},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "transport", tests);
}
