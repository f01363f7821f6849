/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: the one window that frontend and backend share.
 *
 * A guest-physical address is a struct, so that it cannot be mistaken for a number or a pointer;
 * window_translate is the only way from an address to a pointer. The memory behind the pointer
 * belongs to the guest and can change at any moment: it is copied once, through the functions
 * below, and only the copy is checked and used.
 */
#ifndef WORKER_VIRTQUEUE_WINDOW_H
#define WORKER_VIRTQUEUE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct guest_addr {
    uint64_t value; /* guest-physical; hostile */
};

struct window {
    unsigned char *base; /* where it is mapped, page-aligned */
    uint64_t guest_base; /* guest-physical address of its first byte, page-aligned */
    uint64_t size;       /* bytes */
};

/*
 * The `length` bytes at `addr`, or NULL if they are not all in the window. An address below
 * the window wraps round to an offset far above its size, so one comparison serves both ends.
 */
static inline void *window_translate(const struct window *window, struct guest_addr addr,
                                     uint64_t length)
{
    uint64_t offset = addr.value - window->guest_base;
    if (offset >= window->size || length > window->size - offset)
        return NULL;
    return window->base + offset;
}

/*
 * Copy from guest memory, once. The compiler must assume that the empty asm changes `to`, so it
 * cannot read the guest's bytes again, which may have changed by then.
 */
static inline void guest_copy(void *to, const void *from, size_t length)
{
    memcpy(to, from, length);
    __asm__ volatile("" : : "r"(to) : "memory");
}

static inline uint16_t guest_load16(const uint16_t *from)
{
    return __atomic_load_n(from, __ATOMIC_RELAXED);
}

static inline void guest_store16(uint16_t *to, uint16_t value)
{
    __atomic_store_n(to, value, __ATOMIC_RELAXED);
}

#endif
