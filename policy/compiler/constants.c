/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of constants.def as a table. */
#include "policy/compiler/constants.def"
#include "policy/compiler/vocabulary.h"

#include <stddef.h>
#include <string.h>

/* The cast goes through long long, so that a negative int keeps its sign and an unsigned int its
 * value. */
/* clang-format off */
#define VALUE(name) (uint64_t)(long long)(name)
#define SAME(name) {#name, {VALUE(name), VALUE(name), VALUE(name)}},
#define DIFFERENT(name, x86_64, aarch64, riscv64) {#name, {(x86_64), (aarch64), (riscv64)}},
/* clang-format on */

const struct constant constants[] = {
    {"NULL", {0, 0, 0}}, /* any pointer */
#include "policy/compiler/constants.def"
    {NULL, {0}},
};

const struct constant *constant_find(const char *name)
{
    for (const struct constant *row = constants; row->name; row++) {
        if (strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}
