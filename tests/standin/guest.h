/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's side of virtio-mmio on the stand-in. It does what Linux's virtio_mmio, virtio_ring and
 * virtio_blk drivers do, in the same order of register accesses. It was written from VirtIO 1.2 and
 * shares no code with the device model. It trusts the device only where this file says so.
 *
 * Only one vCPU may use a struct guest and all that belongs to it: they are not thread-safe. A
 * register access that is not answered in time sets `error`, for good, and reads as 0. Callers that
 * make several accesses check `error` at the end. Tests that want to damage rings and registers can
 * access them.
 */
#ifndef TESTS_STANDIN_GUEST_H
#define TESTS_STANDIN_GUEST_H

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "tests/standin/standin.h"

/* A device that the stand-in does not serve: its registers and its interrupt. The functions return
 * 0 or -errno; wait_interrupt returns how often the interrupt was raised. */
struct guest_device {
    int (*read)(struct guest_device *device, uint64_t offset, uint64_t *ret_value);
    int (*write)(struct guest_device *device, uint64_t offset, uint64_t value);
    int (*wait_interrupt)(struct guest_device *device, int timeout_ms);
};

struct guest {
    struct standin *standin;
    struct guest_device *device; /* NULL: the stand-in's device `id` */
    unsigned int id;
    uint64_t base; /* guest-physical base of the registers */
    uint8_t *window;
    uint64_t shmem_addr, shmem_size;
    uint64_t allocated; /* bytes of the window that are in use, from its start */
    int timeout_ms;     /* timeout of a register access and of an interrupt */
    int error;          /* 0, or the first -errno of a register access */
    uint64_t features;  /* negotiated */
    /* Counters. */
    uint64_t register_accesses, kicks, interrupts, config_changes;
};

/* Set up a guest that has the whole window of device `id`. */
void guest_init(struct guest *guest, struct standin *standin, unsigned int id, uint64_t base,
                uint64_t shmem_addr, uint64_t shmem_size);
/* The same without the stand-in; the window is mapped at `window`. */
void guest_init_device(struct guest *guest, struct guest_device *device, void *window,
                       uint64_t shmem_addr, uint64_t shmem_size);

uint64_t guest_read(struct guest *guest, uint64_t offset, unsigned int width);
void guest_write(struct guest *guest, uint64_t offset, unsigned int width, uint64_t value);

/* Zeroed memory of the window; only guest_reset frees it. NULL if the window is used up. */
void *guest_alloc(struct guest *guest, uint64_t size, uint64_t align, uint64_t *ret_addr);

/* VirtIO 1.2 §3.1.1 steps 1 to 3, after looking for a device with that DeviceID. Returns 0,
 * -ENODEV, or error. */
int guest_probe(struct guest *guest, uint32_t device_id);

/* Steps 4 to 6: accept the features that are both offered and wanted. Returns 0; -EINVAL if
 * FEATURES_OK is refused. */
int guest_negotiate(struct guest *guest, uint64_t wanted);
uint64_t guest_offered_features(struct guest *guest);
void guest_accept_features(struct guest *guest, uint64_t features);

int guest_driver_ok(struct guest *guest);
int guest_reset(struct guest *guest);
uint32_t guest_status(struct guest *guest);
void guest_add_status(struct guest *guest, uint32_t bit);

/* Read the configuration space, in accesses of `width`, between two equal config generations. */
void guest_config(struct guest *guest, uint64_t offset, void *ret, size_t size, unsigned int width);

/*
 * Take an interrupt as Linux does: wait for the line, read InterruptStatus, write InterruptACK.
 * Returns the bits, or -errno (-ETIMEDOUT after guest->timeout_ms).
 */
int guest_take_interrupt(struct guest *guest);

struct guest_segment {
    uint64_t addr; /* guest-physical */
    uint32_t len;
    bool device_writable;
};

/* What a packed ring (§2.8) has instead of the structures of the split ring. */
struct guest_packed {
    struct vring_packed_desc *desc;
    struct vring_packed_desc_event *driver, *device;
    uint32_t next,
        used; /* offsets of the next descriptor to make available, and of the next used one */
    bool next_wrap, used_wrap; /* the wrap counters at these offsets */
    uint16_t added;            /* descriptors made available since the last kick */
    uint16_t *next_free;       /* for each Buffer ID: the next free one; free_head is the first */
    struct vring_packed_desc *indirect;
};

struct guest_queue {
    struct guest *guest;
    uint32_t index;
    uint32_t size;
    bool is_packed; /* VIRTIO_F_RING_PACKED: desc, avail and used are NULL */
    struct guest_packed packed;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint64_t desc_addr, avail_addr, used_addr; /* packed: ring, driver area, device area */
    uint16_t free_head, free_count;
    uint16_t free_tail;     /* IN_ORDER: where freed descriptors are appended */
    uint16_t next_in_order; /* IN_ORDER: the next used head or Buffer ID */
    uint16_t avail_index;   /* entries made available */
    uint16_t kicked_index;  /* avail_index when the device was last told */
    uint16_t used_index;    /* entries taken from the used ring */
    bool interrupts_off;
    void **tokens;               /* for each head or Buffer ID */
    uint16_t *chain_length;      /* the same: number of descriptors in the ring */
    struct vring_desc *indirect; /* GUEST_INDIRECT_MAX per head; NULL: not negotiated */
    uint64_t indirect_addr;
};

#define GUEST_INDIRECT_MAX 34

/* Step 7, for one queue, in the negotiated format; size 0 means the largest. Returns 0, -ENOENT
 * (QueueSizeMax 0), -EBUSY, -ENOMEM. */
int guest_queue_start(struct guest *guest, struct guest_queue *queue, uint32_t index,
                      uint32_t size);
void guest_queue_free(struct guest_queue *queue);
/* Only the register writes: give the queue to the device, as its addresses describe it. */
void guest_queue_program(struct guest_queue *queue);

/*
 * Make a chain available: in an indirect table if that was negotiated and there is more than one
 * segment. guest_queue_get returns `token` with the chain; it must not be NULL. Returns 0 or
 * -ENOSPC.
 */
int guest_queue_add(struct guest_queue *queue, const struct guest_segment *segments,
                    unsigned int count, void *token);
/* Kick the device if it wants a kick. Returns whether it was kicked. */
bool guest_queue_kick(struct guest_queue *queue);
/* The next used chain's token; NULL if there is none, or (guest->error -EPROTO) it is not valid. */
void *guest_queue_get(struct guest_queue *queue, uint32_t *ret_len);
void guest_queue_disable_interrupts(struct guest_queue *queue);
/* Returns false if chains were used in the meantime: then no interrupt may come for them. */
bool guest_queue_enable_interrupts(struct guest_queue *queue);
/* The same, but the interrupt is to come when three quarters of what is under way are used, as
 * Linux's network driver asks for it. For a split ring with VIRTIO_RING_F_EVENT_IDX; for others,
 * the same as guest_queue_enable_interrupts. */
bool guest_queue_delay_interrupts(struct guest_queue *queue);

/* Between guest_queue.c and the packed ring in guest_packed.c. */
int guest_packed_allocate(struct guest_queue *queue);
int guest_packed_add(struct guest_queue *queue, const struct guest_segment *segments,
                     unsigned int count, void *token);
bool guest_packed_kick_wanted(struct guest_queue *queue);
void *guest_packed_get(struct guest_queue *queue, uint32_t *ret_len);
void guest_packed_disable_interrupts(struct guest_queue *queue);
bool guest_packed_enable_interrupts(struct guest_queue *queue);

/* The block driver, on queue 0. */

struct guest_block_request {
    struct virtio_blk_outhdr *header;
    uint8_t *data;
    uint8_t *status;
    uint64_t header_addr, data_addr, status_addr;
    bool busy;
    uint64_t submitted_ns; /* monotonic */
    uint32_t used_len;     /* as the device gave it */
};

struct guest_block {
    struct guest guest;
    struct guest_queue queue;
    uint64_t capacity; /* sectors */
    uint32_t request_size;
    unsigned int depth;
    struct guest_block_request *requests;
    /* guest_block_interrupt calls this for each completion. It may submit again. NULL: none. */
    void (*done)(struct guest_block *block, struct guest_block_request *request);
    void *context;
};

#define GUEST_BLOCK_FEATURES                                                                       \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |                       \
     1ull << VIRTIO_BLK_F_RO | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_SEG_MAX |         \
     1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |                               \
     1ull << VIRTIO_BLK_F_TOPOLOGY)
#define GUEST_PACKED (1ull << VIRTIO_F_RING_PACKED)

/*
 * Bring the device up for `depth` requests of up to `request_size` bytes each. `block->guest` is
 * initialised; it may have been started before. Returns 0 or -errno.
 */
int guest_block_start(struct guest_block *block, uint64_t features, unsigned int depth,
                      uint32_t request_size);
void guest_block_free(struct guest_block *block);

/* Submit without a kick. `len`: bytes of request->data; 0 for a flush. Returns 0 or -ENOSPC. */
int guest_block_submit(struct guest_block *block, struct guest_block_request *request,
                       uint32_t type, uint64_t sector, uint32_t len);
/* Take one interrupt and complete the requests that it announces. Returns the number of
 * completions, or -errno. */
int guest_block_interrupt(struct guest_block *block);

/*
 * One request from start to end, on requests[0]. The data are read from `data` or written to it.
 * Returns the status byte (VIRTIO_BLK_S_*), or -errno.
 */
int guest_block_io(struct guest_block *block, uint32_t type, uint64_t sector, void *data,
                   uint32_t len);

/* The console driver. */

#define GUEST_CONSOLE_PORTS 7u
#define GUEST_CONSOLE_BUFFERS 8u
#define GUEST_CONSOLE_BUFFER 4096u
#define GUEST_CONSOLE_FEATURES                                                                     \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |                       \
     1ull << VIRTIO_CONSOLE_F_SIZE | 1ull << VIRTIO_CONSOLE_F_MULTIPORT)

struct guest_console_buffer {
    uint8_t *data;
    uint64_t addr;
    bool busy; /* the device has it */
};

/* A pair of queues: of a port, or for control. */
struct guest_console_pair {
    struct guest_queue rx, tx;
    struct guest_console_buffer in[GUEST_CONSOLE_BUFFERS], out[GUEST_CONSOLE_BUFFERS];
};

struct guest_console_port {
    struct guest_console_pair data;
    bool added, is_console, open; /* as the device has said */
    char name[32];
    uint16_t cols, rows; /* from RESIZE */
    uint64_t sent, received;
};

struct guest_console {
    struct guest guest;
    bool multiport;
    uint16_t cols, rows; /* from the configuration space */
    uint32_t port_count;
    struct guest_console_pair control;
    struct guest_console_port ports[GUEST_CONSOLE_PORTS];
    /* Called with the input. NULL: the input is dropped. */
    void (*input)(struct guest_console *console, unsigned int port, const uint8_t *data,
                  uint32_t length);
    void *context;
};

/* Bring the device up; with MULTIPORT as far as DEVICE_READY. Returns 0 or -errno. */
int guest_console_start(struct guest_console *console, uint64_t features);
void guest_console_free(struct guest_console *console);

/* Take all buffers that the device has used, and give them back. Looks at the rings, and does not
 * wait for an interrupt. Returns how many chains there were. */
unsigned int guest_console_poll(struct guest_console *console);

/* Make up to `length` bytes available for output, as far as buffers are free, and kick. Returns how
 * many. */
uint32_t guest_console_send(struct guest_console *console, unsigned int port, const void *data,
                            uint32_t length);
/* In how many buffers there is output that the device has not completed yet. */
unsigned int guest_console_busy(const struct guest_console *console, unsigned int port);

/* A control message from the driver. Returns 0 or -ENOSPC. */
int guest_console_say(struct guest_console *console, uint32_t port, uint16_t event, uint16_t value);

#endif
