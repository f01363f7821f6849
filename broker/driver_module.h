/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module of Bao's driver, whose name differs between its branches and generations
 * (generations.h): is it loaded, is it installed, and what is to be done if its node is not there.
 */
#ifndef BROKER_DRIVER_MODULE_H
#define BROKER_DRIVER_MODULE_H

#include <stddef.h>

enum driver_module_state {
    DRIVER_LOADED,    /* or built into the kernel */
    DRIVER_INSTALLED, /* for the kernel that runs, and not loaded */
    DRIVER_ABSENT,
};

struct driver_module {
    enum driver_module_state state;
    const char *name; /* as modprobe takes it; NULL if it is absent */
};

/* `root`: what stands before /sys/module and /lib/modules; "" for this machine. Before lock-down.
 */
struct driver_module driver_module_find(const char *root);

/* What the user has to do, as the end of a line about the missing node. Returns `buffer`. */
const char *driver_module_advice(const struct driver_module *module, char *buffer, size_t size);

#endif
