/* SPDX-License-Identifier: Apache-2.0 */
/* An input, from which a fuzzer takes what it needs, from the front. */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
    const uint8_t *data; /* libFuzzer's */
    size_t size;
};

/* The next 1, 2, 4 or 8 bytes as a number, little-endian, with 0 for those behind the end. */
uint64_t input_number(struct input *input, size_t bytes);

#endif
