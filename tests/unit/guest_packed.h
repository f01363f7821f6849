/* SPDX-License-Identifier: Apache-2.0 */
/* A driver's side of one packed ring, VirtIO 1.2 §2.8, in the window of guest.h. It can also write
 * nonsense into the ring. */
#ifndef TESTS_UNIT_GUEST_PACKED_H
#define TESTS_UNIT_GUEST_PACKED_H

#include "tests/unit/guest.h"

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED (1u << VRING_PACKED_DESC_F_USED)

struct guest_packed {
    uint32_t size;
    struct vring_packed_desc *desc;
    struct vring_packed_desc_event *driver; /* written by the driver */
    struct vring_packed_desc_event *device;
    uint16_t next; /* offset of the next descriptor to make available */
    bool next_wrap;
    uint16_t used; /* offset of the next used descriptor */
    bool used_wrap;
    uint16_t taken[65536]; /* descriptors of the chain with this Buffer ID */
};

/* A zeroed ring at the window's start, of up to 2^15 descriptors. */
void packed_init(struct guest_packed *ring, uint32_t size);
struct state_queue packed_state(const struct guest_packed *ring);

/* Whether the next descriptor is used. */
bool packed_used_next(const struct guest_packed *ring);
/* Take the next used descriptor; false if there is none. */
bool packed_used(struct guest_packed *ring, struct vring_packed_desc *ret);

/* Write one descriptor at `ring->next` and mark it available. Its flags are written last. Then
 * advance. */
void packed_put(struct guest_packed *ring, struct vring_packed_desc desc);

/* Make a chain of `count` copies of `desc` available under a Buffer ID. The flags of the first one
 * are written last. `desc.flags`: WRITE or INDIRECT. */
void packed_offer(struct guest_packed *ring, struct vring_packed_desc desc, uint16_t count,
                  uint16_t id);

/* off_wrap for a descriptor, §2.8.14. */
static inline uint16_t packed_event(uint32_t offset, bool wrap)
{
    return (uint16_t)(offset | (wrap ? 1u << VRING_PACKED_EVENT_F_WRAP_CTR : 0));
}

#endif
