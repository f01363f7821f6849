/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of what differs between the generations of Bao's driver (common/bao_abi.h). Which
 * one is in use is found out at run time, by the node that is there (dispatcher_find), and is a
 * device's own from then on: whoever holds a DM file is told its generation along with it.
 */
#ifndef BROKER_GENERATIONS_H
#define BROKER_GENERATIONS_H

#include <stdbool.h>

#include "common/bao_abi.h"

struct generation {
    const char *name;   /* "A" */
    const char *node;   /* that it is known by; of C, with an id behind it */
    const char *policy; /* the broker's, with this one's numbers and no others */
    unsigned long attach, complete, ioeventfd, irqfd;
    /* By which errno ATTACH says that it has looked for a request and waited, until a signal came.
     */
    int attach_interrupted;
    /* Window and interrupt of a device are what the caller says. */
    bool told;
};

/* By enum bao_generation. */
extern const struct generation generations[BAO_GENERATIONS];

#endif
