/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration can't see by the text of its paths: that two of them lead to one file or
 * one directory, by links or mounts. Asked of each device whose backend was just opened.
 */
#ifndef BROKER_PLACES_H
#define BROKER_PLACES_H

#include <stddef.h>

#include "broker/device.h"

/*
 * Compare with each other device of `devices` that has been opened: no two may have one file,
 * unless it is an image that both only read, nor names that meet in one directory
 * (broker/config/names.h). Makes no call. Returns 0; or -EEXIST, with *failure and *ret_key as of
 * `open` in backend.h. What it says takes the place of a failure of `open`: that a file is in use.
 */
int places_compare(const struct config *config, const struct device *devices, size_t count,
                   const struct device *device, enum config_key *ret_key, struct failure *failure);

/* The same, and at a start also with the control socket `control`, whose name no device may have.
 * Makes one call, stat, of that socket's directory. */
int places_check(const struct config *config, const struct device *devices, size_t count,
                 const struct device *device, const char *control, enum config_key *ret_key,
                 struct failure *failure);

#endif
