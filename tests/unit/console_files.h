/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a console's ports. read, write and epoll_pwait2 on them are the test program's own,
 * in front of the C library's. */
#ifndef TESTS_UNIT_CONSOLE_FILES_H
#define TESTS_UNIT_CONSOLE_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/state.h"

/* A port's file. */
struct file {
    bool reader;
    char written[1 << 18];
    size_t written_length;
    size_t room;       /* it takes so many bytes before EAGAIN */
    size_t call_max;   /* bytes in one call */
    int error;         /* the error of the next call */
    const char *typed; /* input that can be read */
    unsigned int reads, writes;
    size_t longest;
};

extern struct file files[STATE_CONSOLE_PORTS];
extern unsigned int ports;     /* how many of them the console has */
extern unsigned int questions; /* number of questions about ports without a reader */

#endif
