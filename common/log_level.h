/* SPDX-License-Identifier: Apache-2.0 */
/* How much is said: each level says all that those before it say. */
#ifndef COMMON_LOG_LEVEL_H
#define COMMON_LOG_LEVEL_H

/* X(constant, name) */
#define LOG_LEVELS_OF(X)                                                                           \
    X(ERROR, "error")     /* something does not work, or was attacked */                           \
    X(WARNING, "warning") /* it goes on, and somebody ought to look */                             \
    X(INFO, "info")       /* what happens to every device, and is nothing wrong */                 \
    X(DEBUG, "debug")     /* each step of it */

enum log_level {
#define X(constant, name) LOG_LEVEL_##constant,
    LOG_LEVELS_OF(X)
#undef X
        LOG_LEVELS,
};

#endif
