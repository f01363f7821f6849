/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a configuration, as Bao's driver has to know them when a broker starts. Checks
 * that the configuration has all that the driver has to be told, then asks for each device and
 * registers it. An error is logged in one line. Functions return 0 or -errno.
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

/* Is there a device that the driver has not been asked for yet? If not, nobody opens the driver's
 * node, which may be gone by now. */
bool bao_devices_any_new(const struct bao_devices *all);

/* Find the driver, and check that it can be told of new devices. Opens only the driver's node. */
int bao_devices_open(const struct bao_devices *all, struct dispatcher *dispatcher);

/* Ask the driver for each new device. */
int bao_devices_create(const struct bao_devices *all, const struct dispatcher *dispatcher);

/* Check that all devices are of one generation, since the broker's filter has only that
 * generation's ioctl numbers. Another driver may have been loaded since the first device was asked
 * for. */
int bao_devices_check_generations(const struct bao_devices *all);

/* Register the kicks and the interrupt of each new device, and give the keeper its copies. */
int bao_devices_register(const struct bao_devices *all, int keeper);

#endif
