/* SPDX-License-Identifier: Apache-2.0 */
/* Log levels: each level includes the messages of those before it. */
#ifndef COMMON_LOG_LEVEL_H
#define COMMON_LOG_LEVEL_H

/* X(constant, name) */
#define LOG_LEVELS_OF(X)                                                                           \
    X(ERROR, "error")     /* something does not work, or was attacked */                           \
    X(WARNING, "warning") /* it goes on, but somebody should look */                               \
    X(INFO, "info")       /* happens to every device, and is not an error */                       \
    X(DEBUG, "debug")     /* each step of that */

enum log_level {
#define X(constant, name) LOG_LEVEL_##constant,
    LOG_LEVELS_OF(X)
#undef X
        LOG_LEVELS,
};

#endif
