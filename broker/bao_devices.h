/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a configuration at Bao's driver, at a broker's start: whether the configuration
 * says all that the driver has to be told, and each device asked for and registered. What is wrong
 * is logged in a line. Functions return 0 or -errno.
 */
#ifndef BROKER_BAO_DEVICES_H
#define BROKER_BAO_DEVICES_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/device.h"
#include "broker/dispatcher.h"

struct bao_devices { /* not owned */
    const struct config *config;
    struct device *devices;
    size_t count;
};

/* "bao-virtio-dm: block 0: demo.yaml:7:16: image ..." */
void bao_devices_complain(const struct bao_devices *all, const struct device *device,
                          enum config_key key, const struct failure *failure);

/* Is there one that has not been asked for yet? For the others nobody asks the driver's node
 * anything, and it may be gone by now. */
bool bao_devices_any_new(const struct bao_devices *all);

/* Find the driver, and see that it can be told of each new device. Opens nothing but its node. */
int bao_devices_open(const struct bao_devices *all, struct dispatcher *dispatcher);

/* Ask for each new device. */
int bao_devices_create(const struct bao_devices *all, const struct dispatcher *dispatcher);

/* All are of one generation, whose numbers the broker's filter has. Another driver may have been
 * loaded since the first of them was asked for. */
int bao_devices_check_generations(const struct bao_devices *all);

/* Kicks, interrupts and the keeper's copies of each new device. */
int bao_devices_register(const struct bao_devices *all, int keeper);

#endif
