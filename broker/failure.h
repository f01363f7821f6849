/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line for the user: what is wrong and what to do. The code that knows it fills it in; the
 * program prints it where it decides what to do.
 */
#ifndef BROKER_FAILURE_H
#define BROKER_FAILURE_H

#define FAILURE_SIZE 512

struct failure {
    char text[FAILURE_SIZE];
};

/* Fill in the text. Returns `result`, for "return failure_set(failure, -ENOENT, ...)". */
int failure_set(struct failure *failure, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
