/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state page that another worker has used is hostile input: that worker may have been taken over.
 * After a page has passed the check, device, transport and virtqueue find in it only values that
 * they could have written themselves.
 */
#ifndef WORKER_STATE_CHECK_H
#define WORKER_STATE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/state.h"

struct device;

/* Why a page was refused: the `check` of LOG_STATE_INVALID. */
enum state_check {
    STATE_OK = 0,
    STATE_BAD_MAGIC,    /* not a state page, or one whose set-up was not finished */
    STATE_BAD_VERSION,  /* written by another version */
    STATE_BAD_KIND,     /* another kind of device, or another number of queues */
    STATE_BAD_STATUS,   /* unknown bits, or bits out of order (§3.1.1) */
    STATE_BAD_FEATURES, /* a feature is accepted, but not offered (§2.2) */
    STATE_BAD_READY,    /* QueueReady is neither 0 nor 1 */
    STATE_BAD_RING,     /* the device was running on a ring that is not usable (§2.7) */
    STATE_BAD_INDEX,    /* positions that contradict each other, or of a ring that never ran */
    STATE_BAD_OF_KIND,  /* the part of the device's kind (device_ops.adopt) */
};

/* Has no worker ever written to it? */
bool state_is_fresh(const struct state_page *state);

/* Check a used page against the device that is to continue with it. */
enum state_check state_check(const struct device *dev);

/* Make it the page of a device in its initial state. The mailbox is not touched. */
void state_init(const struct device *dev, struct state_page *state);

#endif
