/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel module of Bao's driver. Its name differs between the branches and generations of the
 * driver (generations.h). The functions here find out whether it is loaded or installed, and what
 * the user has to do if its node is missing.
 */
#ifndef BROKER_DRIVER_MODULE_H
#define BROKER_DRIVER_MODULE_H

#include <stddef.h>

enum driver_module_state {
    DRIVER_LOADED,    /* or built into the kernel */
    DRIVER_INSTALLED, /* for the running kernel, but not loaded */
    DRIVER_ABSENT,
};

struct driver_module {
    enum driver_module_state state;
    const char *name; /* the name for modprobe; NULL if it is absent */
};

/* `root`: the prefix of /sys/module and /lib/modules; "" for this machine. Call it before
 * lock-down. */
struct driver_module driver_module_find(const char *root);

/* What the user has to do, as the end of a log line about the missing node. Returns `buffer`. */
const char *driver_module_advice(const struct driver_module *module, char *buffer, size_t size);

#endif
