/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log.h"

#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512

/* snprintf's result as an index that stays inside the buffer. */
static size_t clamped(int written, size_t room)
{
    if (written < 0)
        return 0;
    return (size_t)written < room ? (size_t)written : room - 1;
}

void log_line(const char *device, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    size_t room = sizeof(line) - 1; /* for the line's end */
    int prefix = device ? snprintf(line, room, "bao-virtio-dm: %s: ", device)
                        : snprintf(line, room, "bao-virtio-dm: ");
    size_t length = clamped(prefix, room);

    va_list args;
    va_start(args, format);
    length += clamped(vsnprintf(line + length, room - length, format, args), room - length);
    va_end(args);

    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length++] = '\n';
    /* Where stderr is gone there is nobody left to tell. */
    ssize_t ignored = write(STDERR_FILENO, line, length);
    (void)ignored;
}
