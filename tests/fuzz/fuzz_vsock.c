/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device against a hostile guest. The first byte: where the worker dies at the end. */
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
    uint32_t die_after = (uint32_t)input_number(&input, 1);
    machine_clear(DEVICE_VSOCK_VHOST, NULL);
    actions_run(&input);
    actions_recover(die_after);
    machine_check_end();
    return 0;
}
