/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of what differs between the generations of Bao's driver (common/bao_abi.h). Which
 * one is in use is found out at run time, by the node that is there (dispatcher_find), and is a
 * device's own from then on: whoever holds a DM file is told its generation along with it.
 */
#ifndef BROKER_GENERATIONS_H
#define BROKER_GENERATIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/bao_abi.h"

struct generation {
    const char *name;   /* "A" */
    const char *node;   /* that it is known by */
    bool a_node_each;   /* one a device, with its id behind `node` */
    const char *policy; /* the broker's, with this one's numbers and no others */
    unsigned long attach, complete, ioeventfd, irqfd;
    /* By which errno ATTACH says that it has looked for a request and waited, until a signal came.
     */
    int attach_interrupted;
    /* Window and interrupt of a device are what the caller says; elsewhere the device tree's. */
    bool told;
    /* As modprobe takes them; NULL: no further one. */
    const char *modules[2];
};

/* By enum bao_generation. */
extern const struct generation generations[BAO_GENERATIONS];

struct generation_node {
    enum bao_generation generation; /* the first of those that have this node */
    char path[32];                  /* without the root; where there is one a device, the first */
    uint32_t ids;                   /* where there is one a device: a bit for each */
};

/* The driver's nodes that are there. `root`: what stands before /dev; "": this machine. Returns how
 * many of *ret are filled in: 1, with a driver that can be used. */
size_t generations_find(const char *root, struct generation_node ret[BAO_GENERATIONS]);

#endif
