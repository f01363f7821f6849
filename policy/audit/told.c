/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what a broker says about its devices, which bao-dmctl hands over. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/verify.h"

#define WORD "%63s"
_Static_assert(TOLD_TEXT == 64, "WORD is one shorter");

static bool read_line(const char *line, struct told *told)
{
    int broker = 0, pid = 0, end = 0;
    if (sscanf(line, "broker %d " WORD " %n", &broker, told->policy, &end) == 2 &&
        line[end] == '\0') {
        told->broker = broker;
        return broker > 0;
    }
    if (told->count == TOLD_DEVICES_MAX)
        return false;
    struct told_device *device = &told->devices[told->count++];
    *device = (struct told_device){0};
    if (sscanf(line, "device %u %d %x " WORD " %n", &device->id, &pid, &device->layers,
               device->policy, &end) != 4 ||
        pid < 0)
        return false;
    device->pid = pid;
    snprintf(device->name, sizeof(device->name), "%.*s", (int)strcspn(line + end, "\n"),
             line + end);
    return device->name[0] != '\0';
}

int told_read(const char *path, struct told *ret)
{
    struct told told = {0};
    char line[512];
    int result = 0;
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    if (!file)
        return -errno;
    while (result == 0 && fgets(line, sizeof(line), file)) {
        if (!read_line(line, &told))
            result = -EINVAL;
    }
    if (ferror(file))
        result = -EIO;
    if (!is_stdin)
        fclose(file);
    if (result == 0 && told.broker == 0)
        result = -EINVAL;
    if (result == 0)
        *ret = told;
    return result;
}
