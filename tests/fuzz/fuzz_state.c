/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A successor gets the state page of a predecessor that was taken over. The first byte chooses the
 * kind and the starting point: zeros, or the page of a live device with work left. The rest is
 * XORed onto the page. So an input with few set bits gives a page that is almost correct. Then the
 * driver, which knows nothing of this, goes on from the status that the page has.
 */
#include <linux/virtio_config.h>
#include <string.h>

#include "tests/fuzz/actions.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    machine_init();
    return 0;
}

/* A live device: each of its queues has a chain that nobody has served. */
static void live_device(enum device_kind kind, bool packed)
{
    static const uint8_t requests[] = {'q', 0, 2, 9, 'q', 1, 1, 7};
    static const uint8_t frames[] = {'d', 0, 0, 0, 0x80, 0, 2, 2, 0, 'a', 0, 0, 'k', 0};
    static const uint8_t events[] = {'d', 2, 0, 0, 0x80, 4, 0, 2, 0, 'a', 2, 0};
    struct input input = {requests, sizeof(requests)};
    if (kind == DEVICE_VSOCK_VHOST)
        input = (struct input){events, sizeof(events)};
    if (kind == DEVICE_NET_VIRTIO)
        input = (struct input){frames, sizeof(frames)};
    actions_init(packed ? ~0ull : ~(1ull << VIRTIO_F_RING_PACKED), 16);
    actions_continue(&input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t how = (uint8_t)input_number(&input, 1);
    enum device_kind kind = (how & 1) != 0      ? DEVICE_VSOCK_VHOST
                            : (how & 0x40) != 0 ? DEVICE_NET_VIRTIO
                                                : DEVICE_BLOCK_VIRTIO;
    tap_clear();
    unsigned char page[STATE_SIZE] = {0};
    machine_clear(kind, NULL);
    if ((how & 2) != 0) {
        live_device(kind, (how & 0x80) != 0);
        memcpy(page, machine_state, sizeof(page));
    }
    for (size_t i = 0; i < sizeof(page) && input.size > 0; i++)
        page[i] ^= (unsigned char)input_number(&input, 1);
    machine_corrupt(0, page, sizeof(page));
    machine_die_after(how >> 2);
    machine_successor();
    machine_settle();
    machine_successor(); /* once more, on the page that the last one has left */
    machine_settle();
    actions_go_on();
    actions_recover(how);
    machine_check_end();
    return 0;
}
