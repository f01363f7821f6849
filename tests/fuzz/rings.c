/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/rings.h"

#include <linux/virtio_config.h>

#include "tests/fuzz/violated.h"

#define ROUNDS_MAX 20000u

struct guest_ring rings[STATE_QUEUES_MAX];

void rings_settle(void)
{
    for (unsigned int i = 0; guest_device.work != 0; i++) {
        if (i == ROUNDS_MAX)
            violated("the worker does not come to rest");
        device_turns(&guest_device);
    }
}

void rings_driver(uint64_t features)
{
    guest_negotiate((features & guest_device.features) | 1ull << VIRTIO_F_VERSION_1);
    for (unsigned int q = 0; q < guest_device.queue_count; q++) {
        guest_ring_init(&rings[q], q, RING_SIZE);
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
}

void rings_spoil_page(struct input *input)
{
    unsigned char *bytes = (unsigned char *)&guest_state;
    for (uint64_t i = input_number(input, 1) % 8; i > 0; i--)
        bytes[input_number(input, 2) % sizeof(guest_state)] ^=
            (unsigned char)input_number(input, 1);
}
