/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opener: bao-virtio-broker --open ID NAME TAP FILES (or --open-again, for a device that has
 * run before). It opens the backend of one device with privileges, before it could get any byte of
 * a guest. It sends what it has to the broker (MSG_OPENED), and ends. It does nothing else and
 * nobody waits for it, so an image, a directory or a tap may keep it waiting for any time: that
 * delays only its own device.
 */
#ifndef BROKER_OPENER_H
#define BROKER_OPENER_H

#include <stdint.h>

#include "broker/backend/tap.h"

struct opener {
    int socket;       /* the socket to the broker */
    int text;         /* the text of the configuration */
    const char *path; /* the name of the configuration file */
    uint32_t dm_id;   /* the id of the device whose backend it opens */
    struct tap_before tap;
};

/* Returns the exit status. */
int opener_run(const struct opener *opener);

#endif
