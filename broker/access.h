/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frontend's register access, between the dispatcher's request and the device's mailbox. Every
 * field of a request comes from a guest or passes through one. Of all registers, the code here
 * interprets only the two interrupt registers. Pure.
 */
#ifndef BROKER_ACCESS_H
#define BROKER_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/bao_abi.h"

#define REGISTER_WINDOW_SIZE 0x200u /* VirtIO 1.2 §4.2.2: registers and configuration space */

struct access {
    uint32_t offset; /* from the device's base; offset + width <= REGISTER_WINDOW_SIZE */
    uint8_t width;   /* bytes: 1, 2, 4 or 8 */
    bool is_write;
    uint64_t value; /* of a write, cut to the width */
};

enum access_class {
    ACCESS_TO_WORKER,
    ACCESS_INTERRUPT_STATUS, /* a read; the broker answers it itself */
    ACCESS_INTERRUPT_ACK,    /* a write; the broker handles it itself */
    ACCESS_MALFORMED,        /* not for this device, or not an access: *ret is not set */
};

/* `request` must be the caller's private copy. */
enum access_class access_decode(const struct bao_io_request *request, uint64_t dm_id,
                                uint64_t mmio_addr, struct access *ret);

/* The low `width` bytes of the value. The hypervisor does not cut the guest's register or the
 * worker's answer to the width. */
uint64_t access_mask(uint64_t value, uint8_t width);

/* What a device that was given up answers: 0, and DEVICE_NEEDS_RESET for Status. */
uint64_t access_given_up_answer(const struct access *access);

#endif
