/* SPDX-License-Identifier: Apache-2.0 */
/* The block device against a hostile guest. The first byte: options, and where the worker dies at
 * the end. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct message_start start = machine_start(DEVICE_BLOCK_VIRTIO);
    uint8_t options = (uint8_t)input_number(&input, 1);
    start.queue_count = 3;
    start.of_kind.block.read_only = (options & 7) == 1;
    start.of_kind.block.advertise_flush = (options & 7) != 2;
    if ((options & 7) == 3) {
        start.of_kind.block.direct = 1;
        start.of_kind.block.blk_size = DIRECT_BLOCK;
        start.of_kind.block.mem_alignment = DIRECT_MEMORY;
    }
    machine_clear(DEVICE_BLOCK_VIRTIO, &start);
    actions_run(&input);
    actions_recover(options);
    machine_check_end();
    return 0;
}
