/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own errors. A guest's errors are counted and told, the system's are returned as -errno; but
 * what only a mistake in this program can bring about ends the process, before it does harm:
 *
 *     ENSURE(slot != NULL);
 *
 * The process writes "FILE:LINE: CONDITION" to stderr by one call, if that takes it at once, and
 * ends by SIGILL, which needs no system call and kills the first process of a pid namespace, too.
 * For the keeper and the broker, of which others see the end and start anew. Every filter of theirs
 * allows what is called here. A worker has no stderr: it traps without words (virtqueue.c).
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
