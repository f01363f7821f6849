/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For fuzzers without watch.c. The library under test reports its loads and stores to them as well,
 * and these functions ignore that.
 */
#include <stdint.h>

/* clang-format off */
#define NOT_WATCHED(size, type)                                                                    \
    void __sanitizer_cov_load##size(type *at);                                                     \
    void __sanitizer_cov_store##size(type *at);                                                    \
    void __sanitizer_cov_load##size(type *at) { (void)at; }                                        \
    void __sanitizer_cov_store##size(type *at) { (void)at; }
NOT_WATCHED(1, uint8_t)
NOT_WATCHED(2, uint16_t)
NOT_WATCHED(4, uint32_t)
NOT_WATCHED(8, uint64_t)
NOT_WATCHED(16, __uint128_t)
