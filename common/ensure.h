/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own errors. A guest's errors are counted and reported, and the system's errors are returned
 * as -errno. A condition that only a mistake in this program can cause ends the process, before it
 * does harm:
 *
 *     ENSURE(slot != NULL);
 *
 * The process writes "FILE:LINE: CONDITION" to stderr by one call, if stderr takes it at once. Then
 * it ends by SIGILL, or SIGTRAP on aarch64 and riscv64. That needs no system call, and also kills
 * the first process of a pid namespace. This is for the keeper and the broker: other processes see
 * their end and start them again. Every filter of theirs allows the calls that are made here. A
 * worker has no stderr: it traps without a message (virtqueue.c).
 */
#ifndef COMMON_ENSURE_H
#define COMMON_ENSURE_H

#include <stddef.h>

#define ENSURE_TEXT(line) #line
#define ENSURE_LINE(line) ENSURE_TEXT(line)
#define ENSURE(condition)                                                                          \
    do {                                                                                           \
        static const char ensure_words[] =                                                         \
            __FILE__ ":" ENSURE_LINE(__LINE__) ": does not hold: " #condition "\n";                \
        if (__builtin_expect(!(condition), 0))                                                     \
            ensure_failed(ensure_words, sizeof(ensure_words) - 1);                                 \
    } while (0)

_Noreturn void ensure_failed(const char *words, size_t length);

#endif
