/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface, opened while the broker may still do so: with a virtio-net header before each
 * frame, one file a queue. Afterwards its flags can be looked at without any privilege.
 */
#ifndef BROKER_BACKEND_TAP_H
#define BROKER_BACKEND_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/failure.h"

#define TAP_QUEUES_MAX 7u

struct tap {
    char name[IFNAMSIZ];
    int queues[TAP_QUEUES_MAX]; /* non-blocking */
    unsigned int queue_count;
    int socket;        /* to ask for the interface's flags */
    uint32_t offloads; /* TUN_F_*: what the kernel knows; none is on */
    uint32_t mtu;      /* the interface's own */
};

/*
 * Open the interface, or make it if there is none by that name: it then lasts as long as its
 * files. Returns 0, or -errno with *failure filled in and nothing left open.
 */
int tap_open(struct tap *tap, const char *name, unsigned int queues, struct failure *failure);

/* Is the interface up, with a carrier? Makes one ioctl, SIOCGIFFLAGS. */
bool tap_link_up(const struct tap *tap);

#endif
