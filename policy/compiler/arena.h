/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is freed all at once. For programs of the build: if memory runs out, the program
 * ends.
 */
#ifndef POLICY_COMPILER_ARENA_H
#define POLICY_COMPILER_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_block *blocks;
};

/* Returns zeroed memory. */
void *arena_alloc(struct arena *arena, size_t size);
char *arena_copy(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));
void arena_free(struct arena *arena);

#endif
