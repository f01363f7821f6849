/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/control_client.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int exchange(int fd, const struct control_request *request, struct control_reply *ret_reply)
{
    if (send(fd, request, sizeof(*request), MSG_NOSIGNAL) != (ssize_t)sizeof(*request))
        return -errno;
    ssize_t length = recv(fd, ret_reply, sizeof(*ret_reply), 0);
    if (length < 0)
        return -errno;
    if (length == 0)
        return -ECONNRESET; /* the broker behind this socket has died */
    return length == (ssize_t)sizeof(*ret_reply) ? -ret_reply->error : -EPROTO;
}

int control_client_find(char ret_path[CONTROL_PATH_SIZE])
{
    static struct control_reply reply;
    DIR *directory = opendir(CONTROL_DIRECTORY);
    const struct dirent *entry;
    int result = -ENOENT;
    while (directory && result < 0 && (entry = readdir(directory))) {
        if (!strstr(entry->d_name, CONTROL_SUFFIX))
            continue;
        snprintf(ret_path, CONTROL_PATH_SIZE, CONTROL_DIRECTORY "/%.80s", entry->d_name);
        if (control_client_ask(ret_path, CONTROL_STATUS, 0, &reply) == 0)
            result = 0;
    }
    if (directory)
        closedir(directory);
    return result;
}

int control_client_ask(const char *path, enum control_verb verb, uint32_t index,
                       struct control_reply *ret_reply)
{
    const struct control_request request = {
        .version = CONTROL_VERSION, .verb = (uint32_t)verb, .index = index};
    const struct timeval patience = {.tv_sec = 60}; /* on a busy machine, emulated */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    else
        r = exchange(fd, &request, ret_reply);
    close(fd);
    return r;
}
