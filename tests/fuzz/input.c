/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/input.h"

uint64_t input_number(struct input *input, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes && input->size > 0; i++, input->data++, input->size--)
        number |= (uint64_t)*input->data << 8 * i;
    return number;
}
