/* SPDX-License-Identifier: Apache-2.0 */
/* An input. A fuzzer takes what it needs from its front. */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
    const uint8_t *data; /* the buffer belongs to libFuzzer */
    size_t size;
};

/* The next 1, 2, 4 or 8 bytes as a little-endian number. Bytes behind the end count as 0. */
uint64_t input_number(struct input *input, size_t bytes);

#endif
