/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/log.h"

#include <string.h>
#include <sys/socket.h>

#include "common/message.h"

static uint32_t device_index;

static struct {
    uint32_t seen; /* since the last quiet second */
    uint32_t suppressed;
} limits[LOG_CODE_COUNT];

static bool limited;

void log_init(uint32_t device)
{
    device_index = device;
}

static bool allowed(uint32_t number)
{
    return number <= LOG_BURST || (number & (number - 1)) == 0;
}

void log_send(enum log_code code, const uint64_t args[4])
{
    limited = true;
    if (!allowed(++limits[code].seen)) {
        limits[code].suppressed++;
        return;
    }
    struct message_log message = {
        .header = {.type = MSG_LOG, .version = MESSAGE_VERSION, .device = device_index},
        .code = code,
        .suppressed = limits[code].suppressed,
    };
    memcpy(message.args, args, sizeof(message.args));
    if (send(WORKER_FD_CONTROL, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        limits[code].suppressed++;
    else
        limits[code].suppressed = 0;
}

bool log_limited(void)
{
    return limited;
}

void log_quiet(void)
{
    for (unsigned int code = 0; code < LOG_CODE_COUNT; code++)
        limits[code].seen = 0;
    limited = false;
}
