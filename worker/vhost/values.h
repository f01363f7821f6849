/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page of common/vhost_values.h: filled before lock-down, read-only from then on. Other values
 * that the kernel gets by pointer are bounded in another way: docs/SECURITY.md has the list.
 */
#ifndef WORKER_VHOST_VALUES_H
#define WORKER_VHOST_VALUES_H

#include <linux/vhost.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/vhost_values.h"

/* The features that a kind may ever ask vhost for. */
struct vhost_features {
    uint64_t always;                        /* bits */
    uint64_t choices[VHOST_VALUES_CHOICES]; /* one bit each: on if the driver has accepted it */
};

/* All the features together. */
static inline uint64_t vhost_features_all(const struct vhost_features *features)
{
    uint64_t all = features->always;
    for (unsigned int n = 0; n < VHOST_VALUES_CHOICES; n++)
        all |= features->choices[n];
    return all;
}

/*
 * Map the page and fill it: features that are in `offered` (all others are left out, even those of
 * `always`), sizes of rings up to `size_max`, a power of two below 1 << 16, and `tap_fd` for the
 * backend. Before lock-down, once in a process. Returns 0 or -errno: -EEXIST if something else is
 * mapped there.
 */
int vhost_values_map(const struct vhost_features *features, uint64_t offered, uint32_t size_max,
                     int tap_fd);

/* The address of a value. `accepted`: the features that the driver has accepted. `size`: a power of
 * two. */
const uint64_t *vhost_values_features(const struct vhost_features *features, uint64_t accepted);
const struct vhost_vring_state *vhost_values_num(unsigned int queue, uint32_t size);
const struct vhost_vring_file *vhost_values_backend(unsigned int queue, bool attached);
const int *vhost_values_running(bool running);

#endif
