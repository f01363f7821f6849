/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration can't see in the text of its paths: two paths may lead to one file or one
 * directory, by links or mounts. This is checked for each device whose backend was just opened.
 */
#ifndef BROKER_PLACES_H
#define BROKER_PLACES_H

#include <stddef.h>

#include "broker/device.h"

/*
 * Compare the device with each other one of `devices` that has been opened. No two may have one
 * file, unless it is an image that both only read. No two may have names that meet in one directory
 * (broker/config/names.h). Makes no system call. Returns 0; or -EEXIST, with *failure and *ret_key
 * like `open` in backend.h. This failure replaces a failure of `open` that says that a file is in
 * use.
 */
int places_compare(const struct config *config, const struct device *devices, size_t count,
                   const struct device *device, enum config_key *ret_key, struct failure *failure);

/* The same, and at a start it also compares with the control socket `control`, whose name no device
 * may have. Makes two system calls at most: a stat of CONTROL_DIRECTORY and of that socket's
 * directory. */
int places_check(const struct config *config, const struct device *devices, size_t count,
                 const struct device *device, const char *control, enum config_key *ret_key,
                 struct failure *failure);

#endif
