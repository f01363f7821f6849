/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vhost/values.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "common/device_kind.h"

/* The layout is that of the addresses in common/vhost_values.h. */
struct values {
    uint64_t features[1 << VHOST_VALUES_CHOICES];
    uint8_t unused[VHOST_VALUES_NUM - VHOST_VALUES_FEATURES -
                   (1 << VHOST_VALUES_CHOICES) * sizeof(uint64_t)];
    struct vhost_vring_state num[VHOST_VALUES_QUEUES][16];
    struct vhost_vring_file backend[VHOST_VALUES_QUEUES][2];
    int running[2];
};

#define TABLE_VALID(field, address, bits)                                                          \
    (offsetof(struct values, field) == (address)-VHOST_VALUES &&                                   \
     sizeof(((struct values *)0)->field) >= (bits) && ((address) & (bits)) == 0)

_Static_assert(TABLE_VALID(features, VHOST_VALUES_FEATURES, VHOST_VALUES_FEATURES_BITS), "pinned");
_Static_assert(TABLE_VALID(num, VHOST_VALUES_NUM, VHOST_VALUES_NUM_BITS), "pinned");
_Static_assert(TABLE_VALID(backend, VHOST_VALUES_BACKEND, VHOST_VALUES_BACKEND_BITS), "pinned");
_Static_assert(TABLE_VALID(running, VHOST_VALUES_RUNNING, VHOST_VALUES_RUNNING_BITS), "pinned");
_Static_assert(QUEUE_SIZE_MAX < 1u << 16, "each size has its place in `num`");
_Static_assert(sizeof(struct values) <= VHOST_VALUES_SIZE, "one page, of whatever size");

static const struct values *values(void)
{
    return (const struct values *)VHOST_VALUES;
}

/* The features if the driver has accepted the choices whose bits are set in `accepted`. */
static uint64_t with_choices(const struct vhost_features *features, unsigned int accepted)
{
    uint64_t all = features->always;
    for (; accepted != 0; accepted &= accepted - 1)
        all |= features->choices[__builtin_ctz(accepted)];
    return all;
}

static void fill(struct values *to, const struct vhost_features *features, uint64_t offered,
                 uint32_t size_max, int tap_fd)
{
    for (unsigned int i = 0; i < 1u << VHOST_VALUES_CHOICES; i++)
        to->features[i] = with_choices(features, i) & offered;
    for (unsigned int q = 0; q < VHOST_VALUES_QUEUES; q++) {
        for (unsigned int log = 0; 1u << log <= size_max; log++)
            to->num[q][log] = (struct vhost_vring_state){.index = q, .num = 1u << log};
        to->backend[q][0] = (struct vhost_vring_file){.index = q, .fd = -1};
        to->backend[q][1] = (struct vhost_vring_file){.index = q, .fd = tap_fd};
    }
    to->running[1] = 1;
}

int vhost_values_map(const struct vhost_features *features, uint64_t offered, uint32_t size_max,
                     int tap_fd)
{
    void *page = mmap((void *)VHOST_VALUES, VHOST_VALUES_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page == MAP_FAILED)
        return -errno;
    fill(page, features, offered, size_max, tap_fd);
    return mprotect(page, VHOST_VALUES_SIZE, PROT_READ) < 0 ? -errno : 0;
}

const uint64_t *vhost_values_features(const struct vhost_features *features, uint64_t accepted)
{
    unsigned int index = 0;
    for (unsigned int n = 0; n < VHOST_VALUES_CHOICES; n++)
        index |= (accepted & features->choices[n]) != 0 ? 1u << n : 0;
    return &values()->features[index];
}

const struct vhost_vring_state *vhost_values_num(unsigned int queue, uint32_t size)
{
    return &values()->num[queue][__builtin_ctz(size)];
}

const struct vhost_vring_file *vhost_values_backend(unsigned int queue, bool attached)
{
    return &values()->backend[queue][attached];
}

const int *vhost_values_running(bool running)
{
    return &values()->running[running];
}
