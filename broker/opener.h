/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opener: bao-virtio-broker --open ID NAME TAP HELD (or --open-again, for a
 * device that has run before). It opens the backend of one
 * device, privileged, before any byte of a guest is near; sends what it has to the broker
 * (MSG_OPENED); and ends. Since it does nothing else and nobody waits for it, an image, a directory
 * or a tap may keep it waiting for any time: that holds its own device and no other.
 */
#ifndef BROKER_OPENER_H
#define BROKER_OPENER_H

#include <stdint.h>

#include "broker/backend/tap.h"

struct opener {
    int socket;       /* to the broker */
    int text;         /* the configuration */
    const char *path; /* what its file is called */
    uint32_t dm_id;   /* whose backend */
    struct tap_before tap;
};

/* Returns the exit status. */
int opener_run(const struct opener *opener);

#endif
