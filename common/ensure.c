/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ensure.h"

#include <poll.h>
#include <unistd.h>

void ensure_failed(const char *words, size_t length)
{
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
    /* Write only if stderr takes it at once: a reader that does not read must not delay the end of
     * a process for which others wait. A reader that has gone must not make it another end. */
    if (poll(&output, 1, 0) == 1 && output.revents == POLLOUT) {
        ssize_t written = write(STDERR_FILENO, words, length);
        (void)written;
    }
    __builtin_trap();
}
