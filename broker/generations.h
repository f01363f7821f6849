/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of the differences between the generations of Bao's driver (common/bao_abi.h). The
 * generation in use is found at run time, by the node that is there (dispatcher_find). From then on
 * each device keeps its own generation: code that gets a DM file gets the generation together with
 * it.
 */
#ifndef BROKER_GENERATIONS_H
#define BROKER_GENERATIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/bao_abi.h"

struct generation {
    const char *name;   /* "A" */
    const char *node;   /* it is recognised by this node */
    bool a_node_each;   /* one node for each device, with its id after `node` */
    const char *policy; /* the broker's policy, with the ioctl numbers of this generation only */
    unsigned long attach, complete, ioeventfd, irqfd;
    /* The errno with which ATTACH says that it has looked for a request and waited, until a signal
     * came. */
    int attach_interrupted;
    /* The caller tells the driver the window and the interrupt of a device. In other generations
     * they come from the device tree. */
    bool told;
    /* Names for modprobe; NULL: no further one. */
    const char *modules[2];
};

/* Indexed by enum bao_generation. */
extern const struct generation generations[BAO_GENERATIONS];

struct generation_node {
    enum bao_generation generation; /* the first generation that has this node */
    char path[32]; /* without the root; if each device has its own node, the first one */
    uint32_t ids;  /* if each device has its own node: one bit for each */
};

/* Find the driver's nodes that exist. `root`: the prefix of /dev; "": this machine. Returns how
 * many of *ret are filled in: 1 if there is a driver that can be used. */
size_t generations_find(const char *root, struct generation_node ret[BAO_GENERATIONS]);

#endif
