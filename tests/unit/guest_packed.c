/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/guest_packed.h"

#include <string.h>

#define DRIVER_AREA (GUEST_BASE + 0x90000)
#define DEVICE_AREA (GUEST_BASE + 0x90040)

void packed_init(struct guest_packed *ring, uint32_t size)
{
    memset(ring, 0, sizeof(*ring));
    ring->size = size;
    ring->next_wrap = true;
    ring->used_wrap = true;
    ring->desc = guest_at(GUEST_BASE);
    ring->driver = guest_at(DRIVER_AREA);
    ring->device = guest_at(DEVICE_AREA);
    memset(ring->desc, 0, size * sizeof(ring->desc[0]));
    memset(ring->driver, 0, sizeof(*ring->driver));
    memset(ring->device, 0, sizeof(*ring->device));
}

struct state_queue packed_state(const struct guest_packed *ring)
{
    return (struct state_queue){
        .size = ring->size,
        .ready = 1,
        .desc = GUEST_BASE,
        .driver = DRIVER_AREA,
        .device = DEVICE_AREA,
    };
}

static uint16_t available(bool wrap)
{
    return wrap ? PACKED_AVAIL : PACKED_USED;
}

static void go_on(const struct guest_packed *ring, uint16_t *offset, bool *wrap, uint32_t count)
{
    uint32_t to = *offset + count;
    *wrap ^= to >= ring->size;
    *offset = (uint16_t)(to % ring->size);
}

void packed_put(struct guest_packed *ring, struct vring_packed_desc desc)
{
    struct vring_packed_desc *to = &ring->desc[ring->next];
    to->addr = desc.addr;
    to->len = desc.len;
    to->id = desc.id;
    __atomic_store_n(&to->flags, desc.flags | available(ring->next_wrap), __ATOMIC_RELEASE);
    go_on(ring, &ring->next, &ring->next_wrap, 1);
}

void packed_offer(struct guest_packed *ring, struct vring_packed_desc desc, uint16_t count,
                  uint16_t id)
{
    uint16_t first = ring->next;
    uint16_t flags =
        (uint16_t)(desc.flags | (count > 1 ? VRING_DESC_F_NEXT : 0) | available(ring->next_wrap));
    ring->taken[id] = count;
    ring->desc[first].addr = desc.addr;
    ring->desc[first].len = desc.len;
    ring->desc[first].id = id;
    go_on(ring, &ring->next, &ring->next_wrap, 1);
    for (uint16_t i = 1; i < count; i++) {
        struct vring_packed_desc other = desc;
        other.flags |= i + 1 < count ? VRING_DESC_F_NEXT : 0;
        other.id = id;
        packed_put(ring, other);
    }
    __atomic_store_n(&ring->desc[first].flags, flags, __ATOMIC_RELEASE);
}

bool packed_used_next(const struct guest_packed *ring)
{
    uint16_t flags = __atomic_load_n(&ring->desc[ring->used].flags, __ATOMIC_ACQUIRE);
    bool avail = (flags & PACKED_AVAIL) != 0, used = (flags & PACKED_USED) != 0;
    return avail == ring->used_wrap && used == ring->used_wrap;
}

bool packed_used(struct guest_packed *ring, struct vring_packed_desc *ret)
{
    if (!packed_used_next(ring))
        return false;
    *ret = ring->desc[ring->used];
    go_on(ring, &ring->used, &ring->used_wrap, ring->taken[ret->id]);
    return true;
}
