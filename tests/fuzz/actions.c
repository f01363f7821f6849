/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/actions.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>
#include <string.h>

#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define SPLIT_FEATURES (~PACKED)

/* What a correct driver would know. A hostile driver ignores it when it writes. */
static struct {
    uint16_t size;
    uint16_t free; /* the next descriptor to use */
    /* Split: avail->idx. Packed: free-running offset of the next descriptor. */
    uint16_t avail_idx[STATE_QUEUES_MAX];
    bool packed;
    uint16_t offers[8]; /* packed: where the first chains after the start begin */
    unsigned int offer_count;
} driver;

/* ---- A driver ---- */

static uint32_t read_register(uint32_t offset)
{
    return (uint32_t)machine_do((struct action){.kind = ACTION_READ, .offset = offset, .width = 4});
}

static void write_register(uint32_t offset, uint32_t value)
{
    machine_do((struct action){.kind = ACTION_WRITE, .offset = offset, .width = 4, .value = value});
}

static void write_address(uint32_t low, uint64_t address)
{
    write_register(low, (uint32_t)address);
    write_register(low + 4, (uint32_t)(address >> 32));
}

static void add_status(uint32_t bit)
{
    write_register(VIRTIO_MMIO_STATUS, read_register(VIRTIO_MMIO_STATUS) | bit);
}

static uint32_t ring_at(unsigned int queue)
{
    return queue * RING_STRIDE;
}

static void poke16(uint32_t offset, uint16_t value)
{
    machine_poke(offset, &value, sizeof(value));
}

static void set_up_queue(unsigned int queue, uint16_t size)
{
    uint64_t base = WINDOW_BASE + ring_at(queue);
    write_register(VIRTIO_MMIO_QUEUE_SEL, queue);
    write_register(VIRTIO_MMIO_QUEUE_NUM, size);
    write_address(VIRTIO_MMIO_QUEUE_DESC_LOW, base);
    write_address(VIRTIO_MMIO_QUEUE_AVAIL_LOW, base + RING_AVAIL);
    write_address(VIRTIO_MMIO_QUEUE_USED_LOW, base + RING_USED);
    write_register(VIRTIO_MMIO_QUEUE_READY, 1);
}

void actions_init(uint64_t features, uint16_t size)
{
    static const unsigned char zero[RING_STRIDE];
    unsigned int queues = machine_device.queue_count;
    memset(&driver, 0, sizeof(driver));
    driver.size = size;
    for (unsigned int q = 0; q < queues; q++)
        machine_poke(ring_at(q), zero, sizeof(zero));
    write_register(VIRTIO_MMIO_STATUS, 0);
    add_status(VIRTIO_CONFIG_S_ACKNOWLEDGE);
    add_status(VIRTIO_CONFIG_S_DRIVER);
    features = (features & machine_device.features) | 1ull << VIRTIO_F_VERSION_1;
    driver.packed = (features & PACKED) != 0;
    for (uint32_t word = 0; word < 2; word++) {
        write_register(VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
        write_register(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * word)));
    }
    add_status(VIRTIO_CONFIG_S_FEATURES_OK);
    for (unsigned int q = 0; q < queues; q++)
        set_up_queue(q, size);
    add_status(VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Writes a descriptor in the ring's format: the split ring's `next` is the packed ring's Buffer ID.
 */
static void poke_desc(uint32_t table, unsigned int index, struct vring_desc desc)
{
    struct vring_packed_desc packed = {desc.addr, desc.len, desc.next, desc.flags};
    uint32_t at = table + index * (uint32_t)sizeof(desc);
    if (driver.packed)
        machine_poke(at, &packed, sizeof(packed));
    else
        machine_poke(at, &desc, sizeof(desc));
}

/* Mark the next `count` descriptors of a packed ring as available, the first one last. */
static void offer_packed(unsigned int queue, unsigned int count)
{
    const uint16_t avail = 1u << VRING_PACKED_DESC_F_AVAIL, used = 1u << VRING_PACKED_DESC_F_USED;
    uint16_t first = driver.avail_idx[queue];
    if (driver.size == 0)
        return;
    for (unsigned int i = count; i-- > 0;) {
        unsigned int position = first + i;
        uint32_t at = ring_at(queue) + position % driver.size * 16 +
                      (uint32_t)offsetof(struct vring_packed_desc, flags);
        uint16_t flags = 0;
        if (at + sizeof(flags) <= WINDOW_SIZE)
            memcpy(&flags, machine_window + at, sizeof(flags));
        flags &= (uint16_t) ~(avail | used);
        poke16(at, flags | (position / driver.size % 2 == 0 ? avail : used));
    }
    if (driver.offer_count < sizeof(driver.offers) / sizeof(driver.offers[0]))
        driver.offers[driver.offer_count++] = first;
    driver.avail_idx[queue] = (uint16_t)(first + count);
}

static void offer(unsigned int queue, uint16_t head)
{
    uint32_t avail = ring_at(queue) + RING_AVAIL;
    uint16_t slot = driver.size > 0 ? driver.avail_idx[queue] & (driver.size - 1) : 0;
    if (driver.packed) {
        offer_packed(queue, head % 8u + 1);
        return;
    }
    poke16(avail + 4 + 2u * slot, head);
    poke16(avail + 2, ++driver.avail_idx[queue]);
}

static void kick(unsigned int queue)
{
    uint32_t first = machine_device.backend_fd_count;
    machine_do((struct action){.kind = ACTION_NOTIFY, .offset = first + queue});
}

/* A block request over `segments` buffers of data, in the ring's table or in an indirect one. */
static void offer_request(uint32_t type, uint64_t sector, unsigned int segments, uint32_t length,
                          bool indirect)
{
    uint16_t first =
        driver.packed && driver.size > 0 ? driver.avail_idx[0] % driver.size : driver.free;
    uint32_t table = indirect ? TABLES_OFFSET + first % 16u * 0x200u : ring_at(0);
    unsigned int size = indirect ? 32 : driver.size, index = indirect ? 0 : first;
    struct virtio_blk_outhdr header = {.type = type, .sector = sector};
    uint32_t buffer = BUFFERS_OFFSET + first % 16u * 0x40u;
    bool out = type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
               type == VIRTIO_BLK_T_WRITE_ZEROES;
    uint16_t direction = out ? 0 : VRING_DESC_F_WRITE;
    if (driver.size == 0)
        return;
    machine_poke(buffer, &header, sizeof(header));
    for (unsigned int i = 0; i < segments + 2; i++, index++) {
        bool last = i == segments + 1;
        uint16_t flags = (uint16_t)(i == 0 ? 0 : last ? VRING_DESC_F_WRITE : direction);
        poke_desc(table, index % size,
                  (struct vring_desc){
                      .addr = WINDOW_BASE + (i == 0 ? buffer
                                             : last ? buffer + sizeof(header)
                                                    : BUFFERS_OFFSET + 0x1000 + (i - 1) * length),
                      .len = i == 0 ? sizeof(header)
                             : last ? 1
                                    : length,
                      .flags = (uint16_t)(flags | (last ? 0 : VRING_DESC_F_NEXT)),
                      .next = (uint16_t)((index + 1) % size),
                  });
    }
    if (indirect)
        poke_desc(ring_at(0), first % driver.size,
                  (struct vring_desc){WINDOW_BASE + table, (segments + 2) * 16,
                                      VRING_DESC_F_INDIRECT, 0});
    driver.free = (uint16_t)((first + (indirect ? 1 : segments + 2)) % driver.size);
    if (driver.packed)
        offer_packed(0, indirect ? 1 : segments + 2);
    else
        offer(0, first);
}

/* ---- Actions by letter ---- */

static unsigned int take_queue(struct input *input)
{
    return (unsigned int)input_number(input, 1) % machine_device.queue_count;
}

static void act_offer(struct input *input)
{
    unsigned int queue = take_queue(input);
    offer(queue, (uint16_t)input_number(input, 1));
}

static void act_avail_idx(struct input *input)
{
    unsigned int queue = take_queue(input);
    driver.avail_idx[queue] = (uint16_t)input_number(input, 2);
    if (!driver.packed)
        poke16(ring_at(queue) + RING_AVAIL + 2, driver.avail_idx[queue]);
}

static void act_corrupt(struct input *input)
{
    size_t count = input_number(input, 1) % 8 + 1;
    for (size_t i = 0; i < count; i++) {
        uint32_t offset = (uint32_t)input_number(input, 2);
        uint32_t value = (uint32_t)input_number(input, 4);
        machine_corrupt(offset, &value, 1u << offset % 3);
    }
    machine_successor();
}

static void act_desc(struct input *input)
{
    unsigned int queue = take_queue(input);
    unsigned int index = (unsigned int)input_number(input, 1);
    struct vring_desc desc = {
        .addr = WINDOW_BASE + input_number(input, 2),
        .len = (uint32_t)input_number(input, 2),
        .flags = (uint16_t)input_number(input, 1),
        .next = (uint16_t)input_number(input, 1),
    };
    poke_desc(ring_at(queue), index, desc);
}

static void act_used_event(struct input *input)
{
    unsigned int queue = take_queue(input);
    uint16_t event = (uint16_t)input_number(input, 2);
    uint32_t driver_area = ring_at(queue) + RING_AVAIL;
    poke16(driver_area + (driver.packed ? 0 : 4 + 2u * driver.size), event);
}

static void act_flags(struct input *input)
{
    unsigned int queue = take_queue(input);
    poke16(ring_at(queue) + RING_AVAIL + (driver.packed ? 2 : 0), (uint16_t)input_number(input, 1));
}

static void act_poke(struct input *input)
{
    uint32_t offset = (uint32_t)input_number(input, 2);
    uint64_t value = input_number(input, 8);
    machine_poke(offset, &value, sizeof(value));
}

/* A descriptor of an indirect table. */
static void act_indirect_desc(struct input *input)
{
    unsigned int index = (unsigned int)input_number(input, 1);
    struct vring_desc desc = {
        .addr = WINDOW_BASE + input_number(input, 2),
        .len = (uint32_t)input_number(input, 4),
        .flags = (uint16_t)input_number(input, 1),
        .next = (uint16_t)input_number(input, 1),
    };
    poke_desc(TABLES_OFFSET, index, desc);
}

static void act_init(struct input *input)
{
    uint8_t what = (uint8_t)input_number(input, 1);
    uint64_t features = (what & 0x80) != 0 ? ~0ull : SPLIT_FEATURES;
    uint16_t size = (uint16_t)(1u << (what & 0xf) % 9);
    if ((what & 0x10) != 0)
        features &= ~(1ull << VIRTIO_RING_F_EVENT_IDX);
    if ((what & 0x20) == 0)
        features &= ~(1ull << VIRTIO_BLK_F_FLUSH);
    if ((what & 0x40) != 0)
        features &= ~(1ull << VIRTIO_RING_F_INDIRECT_DESC);
    if ((what & 0x80) != 0 && size > 4)
        size = (uint16_t)(size - size / 5); /* §2.8.10.1: need not be a power of 2 */
    actions_init(features, size);
}

static void act_kick(struct input *input)
{
    kick(take_queue(input));
}

static void act_round(struct input *input)
{
    (void)input;
    machine_do((struct action){.kind = ACTION_ROUND});
}

static void act_mailbox(struct input *input)
{
    struct action action = {.kind = ACTION_MAILBOX};
    uint8_t how = (uint8_t)input_number(input, 1);
    action.is_write = (how & 8) != 0;
    action.width = 1u << (how & 3);
    action.offset = (uint32_t)input_number(input, 2);
    action.value = input_number(input, (how & 4) != 0 ? 1 : 8);
    machine_do(action);
}

static void act_notify(struct input *input)
{
    write_register(VIRTIO_MMIO_QUEUE_NOTIFY, (uint32_t)input_number(input, 1));
}

static void act_frame(struct input *input)
{
    uint32_t length = (uint32_t)input_number(input, 2);
    uint8_t flags = (uint8_t)input_number(input, 1), gso_type = (uint8_t)input_number(input, 1);
    if (machine_device.kind != DEVICE_NET_VIRTIO)
        return;
    tap_frame(length, gso_type, flags, gso_type);
    machine_do((struct action){.kind = ACTION_NOTIFY, .offset = 0});
}

/* With this event the kernel reports a malformed ring. For a device without such an event it is a
 * kick. */
static void act_backend_event(struct input *input)
{
    (void)input;
    machine_do((struct action){.kind = ACTION_NOTIFY, .offset = 1});
}

static void act_die(struct input *input)
{
    machine_die_after((uint32_t)input_number(input, 1));
}

/* Discard or write zeroes of up to seven ranges, which follow one another. */
static void offer_ranges(uint8_t what, uint8_t data, uint64_t sector)
{
    struct virtio_blk_discard_write_zeroes ranges[7];
    unsigned int count = data & 7;
    for (unsigned int i = 0; i < count; i++) {
        ranges[i] = (struct virtio_blk_discard_write_zeroes){
            .sector = sector + 9ull * i,
            .num_sectors = (data & 0x80) != 0 ? ~0u : (data & 0x70u) / 8,
            .flags = (what & 0x30u) >> 4,
        };
    }
    machine_poke(BUFFERS_OFFSET + 0x1000, ranges, sizeof(ranges));
    uint32_t length = count * (uint32_t)sizeof(ranges[0]) + ((data & 8) != 0 ? 1 : 0);
    offer_request((what & 0x40) != 0 ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD, 0, 1,
                  length, (what & 8) != 0);
}

static void act_request(struct input *input)
{
    static const uint32_t types[8] = {VIRTIO_BLK_T_IN,     VIRTIO_BLK_T_OUT,    VIRTIO_BLK_T_FLUSH,
                                      VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,     VIRTIO_BLK_T_OUT,
                                      0x12345678,          VIRTIO_BLK_T_DISCARD};
    uint8_t what = (uint8_t)input_number(input, 1);
    uint8_t data = (uint8_t)input_number(input, 1);
    uint64_t place = input_number(input, 1); /* it may also cross the end, or be beyond it */
    uint64_t sector = place < 0xf0 ? 9 * place : IMAGE_SECTORS - 8 + (place & 15);
    uint32_t length = (data & 0x80) != 0 ? 7u * data : SECTOR_SIZE * (1u + (data & 0x70u) / 16);
    if ((what & 7) == 7) {
        offer_ranges(what, data, sector);
        return;
    }
    offer_request(types[what & 7], sector, data & 15, length, (what & 8) != 0);
}

/* More buffers than a ring has, or more bytes than a turn moves. All data is in one place. */
static void act_long_request(struct input *input)
{
    uint32_t type = (uint32_t)input_number(input, 1) % 2;
    unsigned int count = (unsigned int)input_number(input, 2) % 512 + 1;
    uint32_t length = (uint32_t)input_number(input, 2);
    const struct virtio_blk_outhdr header = {.type = type};
    uint16_t direction = type == VIRTIO_BLK_T_OUT ? 0 : VRING_DESC_F_WRITE;
    machine_poke(BUFFERS_OFFSET, &header, sizeof(header));
    for (unsigned int i = 0; i < count; i++) {
        bool last = i == count - 1;
        uint32_t at = BUFFERS_OFFSET + (i == 0 ? 0 : last ? 0x40u : 0x1000u);
        uint16_t flags = (uint16_t)(i == 0 ? 0 : last ? VRING_DESC_F_WRITE : direction);
        poke_desc(TABLES_OFFSET, i,
                  (struct vring_desc){
                      .addr = WINDOW_BASE + at,
                      .len = i == 0 ? sizeof(header)
                             : last ? 1
                                    : length,
                      .flags = (uint16_t)(flags | (last ? 0 : VRING_DESC_F_NEXT)),
                      .next = (uint16_t)(i + 1),
                  });
    }
    unsigned int head = driver.packed && driver.size > 0 ? driver.avail_idx[0] % driver.size : 0;
    poke_desc(
        ring_at(0), head,
        (struct vring_desc){WINDOW_BASE + TABLES_OFFSET, count * 16, VRING_DESC_F_INDIRECT, 0});
    offer(0, 0);
}

static void act_read(struct input *input)
{
    uint32_t offset = (uint32_t)input_number(input, 2);
    unsigned int width = (unsigned int)input_number(input, 1);
    machine_do((struct action){.kind = ACTION_READ, .offset = offset, .width = width});
}

static void act_successor(struct input *input)
{
    (void)input;
    machine_successor();
}

static void act_settle(struct input *input)
{
    (void)input;
    machine_settle();
}

static void act_queue_ready(struct input *input)
{
    uint8_t what = (uint8_t)input_number(input, 1);
    write_register(VIRTIO_MMIO_QUEUE_SEL, (what >> 2) % machine_device.queue_count);
    write_register((what & 2) != 0 ? 0x0c0 /* QueueReset */ : VIRTIO_MMIO_QUEUE_READY, what & 1);
}

/* A ring's address or size: any value, or one close to the window's ends. */
static void act_ring(struct input *input)
{
    static const uint32_t registers[4] = {VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
                                          VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_MMIO_QUEUE_NUM};
    uint8_t what = (uint8_t)input_number(input, 1);
    uint64_t value =
        (what & 4) != 0 ? input_number(input, 8) : WINDOW_BASE + input_number(input, 2);
    if ((what & 3) == 3)
        write_register(VIRTIO_MMIO_QUEUE_NUM, (uint32_t)(value - WINDOW_BASE));
    else
        write_address(registers[what & 3], value);
}

static void act_write(struct input *input)
{
    uint32_t offset = (uint32_t)input_number(input, 2);
    unsigned int width = (unsigned int)input_number(input, 1);
    uint64_t value = input_number(input, 4);
    machine_do(
        (struct action){.kind = ACTION_WRITE, .offset = offset, .width = width, .value = value});
}

static void act_race(struct input *input)
{
    struct race race = {.countdown = (uint32_t)input_number(input, 1)};
    race.offset = (uint16_t)input_number(input, 2);
    race.flip = (uint16_t)input_number(input, 2);
    race.last = (race.offset & 1) != 0;
    if (race.last)
        race.offset = race.offset / 2 % 16;
    machine_race(race);
}

static void act_io_fault(struct input *input)
{
    enum io_fault fault = (enum io_fault)(input_number(input, 1) % (IO_NOTHING + 1));
    machine_io_fault(fault, (uint32_t)input_number(input, 1) % 16 + 1);
}

static void act_reset(struct input *input)
{
    (void)input;
    write_register(VIRTIO_MMIO_STATUS, 0);
}

/* The last five bits of a letter are 1 to 26. The other values do nothing. */
static void (*const actions[32])(struct input *) = {
    ['a' & 31] = act_offer,      /* queue, head: make a chain available */
    ['b' & 31] = act_avail_idx,  /* queue, value (2): move avail->idx anywhere */
    ['c' & 31] = act_corrupt,    /* count, then offset (2), value (4) each; a successor follows */
    ['d' & 31] = act_desc,       /* queue, index, addr (2), len (2), flags, next */
    ['e' & 31] = act_used_event, /* queue, value (2) */
    ['f' & 31] = act_flags,      /* queue, value: avail->flags; packed: event flags */
    ['g' & 31] = act_poke,       /* offset (2), eight bytes for the window */
    ['h' & 31] = act_indirect_desc, /* index, addr (2), len (4), flags, next */
    ['i' & 31] = act_init,          /* features and log2 of the size: the driver's proper start */
    ['j' & 31] = act_long_request,  /* type, count (2), length (2): of an indirect table */
    ['k' & 31] = act_kick,          /* queue */
    ['l' & 31] = act_round,         /* a round of the loop */
    ['m' & 31] = act_mailbox,       /* how, offset (2), value (1 or 8) */
    ['n' & 31] = act_notify,        /* QueueNotify by register */
    ['o' & 31] = act_backend_event, /* an event of the second backend file */
    ['p' & 31] = act_die,           /* the worker dies after so many accesses */
    ['q' & 31] = act_request,       /* type, data, sector: a proper block request, or ranges */
    ['r' & 31] = act_read,          /* offset (2), width */
    ['s' & 31] = act_successor,     /* the worker dies between two actions */
    ['t' & 31] = act_settle,        /* run until all work is done */
    ['u' & 31] = act_queue_ready,   /* what: QueueReady or QueueReset, of which queue */
    ['v' & 31] = act_ring,          /* what, value (2 or 8): ring registers */
    ['w' & 31] = act_write,         /* offset (2), width, value (4) */
    ['x' & 31] = act_race,          /* after how many accesses, where (2), bits to flip (2) */
    ['y' & 31] = act_io_fault,      /* which, of which call */
    ['z' & 31] = act_reset,         /* Status 0 */
    ['{' & 31] = act_frame,         /* length (2), flags, gso_type: a frame comes to the tap */
};

void actions_run(struct input *input)
{
    memset(&driver, 0, sizeof(driver));
    actions_continue(input);
}

void actions_continue(struct input *input)
{
    while (input->size > 0) {
        void (*const action)(struct input *) = actions[input_number(input, 1) & 31];
        if (action)
            action(input);
    }
}

/* ---- Recovery ---- */

/* How many of the first chains after the start are used. */
static uint16_t count_used_packed(unsigned int queue)
{
    const uint16_t both = 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
    uint16_t count = 0;
    for (unsigned int i = 0; i < driver.offer_count; i++, count++) {
        struct vring_packed_desc desc;
        memcpy(&desc, machine_window + ring_at(queue) + 16u * driver.offers[i], sizeof(desc));
        if ((desc.flags & both) != both)
            break;
    }
    return count;
}

static void expect_used(unsigned int queue, uint16_t count)
{
    uint16_t idx;
    memcpy(&idx, machine_window + ring_at(queue) + RING_USED + 2, sizeof(idx));
    if (driver.packed)
        idx = count_used_packed(queue);
    if (idx != count)
        violated("after a reset, queue %u completed %u of %u chains", queue, idx, count);
}

static void recover_block(uint32_t die_after)
{
    const uint32_t data = BUFFERS_OFFSET + 0x1000;
    const uint64_t sector = 5;
    unsigned char pattern[2 * SECTOR_SIZE], status = 0xff;
    const unsigned char *image = machine_image() + sector * SECTOR_SIZE;
    offer_request(VIRTIO_BLK_T_IN, sector, 2, SECTOR_SIZE, false);
    machine_die_after(die_after);
    kick(0);
    machine_settle();
    expect_used(0, 1);
    memcpy(&status, machine_window + BUFFERS_OFFSET + sizeof(struct virtio_blk_outhdr), 1);
    if (status != VIRTIO_BLK_S_OK || memcmp(machine_window + data, image, sizeof(pattern)) != 0)
        violated("after a reset, a read gives wrong data (status %u)", status);

    if ((machine_device.features & 1ull << VIRTIO_BLK_F_RO) != 0)
        return;
    memset(pattern, (int)(die_after | 0x80), sizeof(pattern));
    machine_poke(data, pattern, sizeof(pattern));
    offer_request(VIRTIO_BLK_T_OUT, sector, 2, SECTOR_SIZE, true);
    kick(0);
    machine_settle();
    expect_used(0, 2);
    if (memcmp(image, pattern, sizeof(pattern)) != 0)
        violated("after a reset, a write does not reach the image");
}

/* §5.10.6.7: a successor tells the driver that its connections have ended. */
static void recover_vsock(uint32_t die_after)
{
    const unsigned int event_queue = 2;
    struct virtio_vsock_event event = {.id = 0xffffffff};
    machine_poke(BUFFERS_OFFSET, &event, sizeof(event));
    poke_desc(
        ring_at(event_queue), 0,
        (struct vring_desc){WINDOW_BASE + BUFFERS_OFFSET, sizeof(event), VRING_DESC_F_WRITE, 0});
    offer(event_queue, 0);
    machine_die_after(die_after);
    machine_successor();
    machine_settle();
    expect_used(event_queue, 1);
    memcpy(&event, machine_window + BUFFERS_OFFSET, sizeof(event));
    if (event.id != VIRTIO_VSOCK_EVENT_TRANSPORT_RESET)
        violated("after a restart, the event is %#x", event.id);
}

/* A frame in each direction, and a command. */
static void recover_net(uint32_t die_after)
{
    const uint32_t rx = BUFFERS_OFFSET, tx = BUFFERS_OFFSET + 0x1000;
    const uint8_t command[] = {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1};
    unsigned char bytes[12 + 100] = {0};
    for (uint32_t i = 0; i < 100; i++)
        bytes[12 + i] = tap_byte(9, i);
    machine_poke(tx, bytes, sizeof(bytes));
    machine_poke(tx + 0x200, command, sizeof(command));
    poke_desc(ring_at(2), 0, (struct vring_desc){WINDOW_BASE + tx + 0x200, 3, 1, 1});
    poke_desc(ring_at(2), 1, (struct vring_desc){WINDOW_BASE + tx + 0x300, 1, 2, 0});
    offer(2, 0);
    machine_die_after(die_after);
    kick(2);
    machine_settle();
    expect_used(2, 1);
    if (machine_window[tx + 0x300] != VIRTIO_NET_OK)
        violated("after a reset, a command is refused");

    poke_desc(ring_at(0), 0, (struct vring_desc){WINDOW_BASE + rx, 2000, VRING_DESC_F_WRITE, 0});
    offer(0, 0);
    kick(0);
    poke_desc(ring_at(1), 0, (struct vring_desc){WINDOW_BASE + tx, sizeof(bytes), 0, 0});
    offer(1, 0);
    kick(1);
    machine_settle();
    expect_used(1, 1);
    if (tap_sent(100, 9) == 0)
        violated("after a reset, a frame of the driver's is not sent");
    machine_die_after(0); /* a frame that it holds would be lost, as on a cable */
    tap_clear();
    tap_frame(200, 5, 0, 0);
    machine_do((struct action){.kind = ACTION_NOTIFY, .offset = 0});
    machine_settle();
    expect_used(0, 1);
    for (uint32_t i = 0; i < 200; i++) {
        if (machine_window[rx + 12 + i] != tap_byte(5, i))
            violated("after a reset, byte %u of a frame is wrong", i);
    }
}

void actions_go_on(void)
{
    add_status(VIRTIO_CONFIG_S_ACKNOWLEDGE);
    add_status(VIRTIO_CONFIG_S_DRIVER);
    add_status(VIRTIO_CONFIG_S_FEATURES_OK);
    add_status(VIRTIO_CONFIG_S_DRIVER_OK);
    for (unsigned int q = 0; q < machine_device.queue_count; q++)
        write_register(VIRTIO_MMIO_QUEUE_NOTIFY, q);
    machine_settle();
}

void actions_recover(uint32_t die_after)
{
    machine_die_after(0);
    machine_race((struct race){0});
    machine_io_fault(IO_WELL, 0);
    /* Only the block driver here lays out packed rings. */
    bool packed = machine_device.kind == DEVICE_BLOCK_VIRTIO && (die_after & 8) != 0;
    actions_init(packed ? ~0ull : SPLIT_FEATURES, 16);
    uint32_t status = read_register(VIRTIO_MMIO_STATUS);
    if ((status & VIRTIO_CONFIG_S_DRIVER_OK) == 0 || (status & VIRTIO_CONFIG_S_NEEDS_RESET) != 0)
        violated("after a reset, the device can't be set up: status %#x", status);
    if (machine_device.kind == DEVICE_BLOCK_VIRTIO)
        recover_block(die_after);
    else if (machine_device.kind == DEVICE_NET_VIRTIO)
        recover_net(die_after);
    else
        recover_vsock(die_after);
}
