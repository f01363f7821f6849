/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's control socket against arbitrary packets, from root and from others. An input is a
 * series of packets: who sends, the length, and the bytes. Each is answered by the rules of
 * common/control.h, or its sender is dropped. Nobody but root changes anything. The counters and
 * names of a page that a worker has spoilt are sent as they are, but not beyond their bounds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/log.h"
#include "broker/supervisor.h"
#include "tests/fuzz/violated.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEVICES 3u
#define CLIENT 5 /* any one of the places */

static const uint32_t ids[DEVICES] = {0, 7, 3};
static struct device_config configs[DEVICES];
static struct state_page pages[DEVICES];
static struct journal journals[DEVICES];
static struct device devices[DEVICES];
static struct supervisor supervisor = {.devices = devices, .device_count = DEVICES};
static struct device *restarted;

/* control.c calls it, too. It is linked without the rest of the broker. */
int supervisor_restart(struct supervisor *of, struct device *device)
{
    if (of != &supervisor || restarted)
        abort();
    restarted = device;
    return device == &devices[1] ? EAGAIN : 0; /* as if the worker were being replaced */
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    for (uint32_t i = 0; i < DEVICES; i++) {
        configs[i] = (struct device_config){.id = ids[i], .kind = DEVICE_BLOCK_VIRTIO};
        devices[i].config = &configs[i];
        devices[i].info = &device_kinds[DEVICE_BLOCK_VIRTIO];
        devices[i].state = &pages[i];
        devices[i].journal = &journals[i];
        devices[i].queue_count = STATE_QUEUES_MAX;
        devices[i].worker = WORKER_NONE;
        devices[i].worker.phase = (enum worker_phase)(i % (WORKER_ENDING + 1));
        devices[i].worker.pid = 100 + (pid_t)i;
        memset(devices[i].name, 'n', sizeof(devices[i].name) - 1);
        memset(devices[i].worker.last_death, 'd', sizeof(devices[i].worker.last_death) - 1);
        memset(&pages[i], 0xff, sizeof(pages[i]));
    }
    return 0;
}

static int index_of_id(uint32_t id)
{
    for (int i = 0; i < (int)DEVICES; i++) {
        if (ids[i] == id)
            return i;
    }
    return -1;
}

/* What the comments of common/control.h say, written a second time. Returns the error; *ret_device
 * is the device whose worker must be replaced, or -1. */
static int expected(const uint8_t *packet, size_t length, bool is_root, int *ret_device)
{
    struct control_request request;
    *ret_device = -1;
    if (length != sizeof(request))
        return EPROTO;
    memcpy(&request, packet, sizeof(request));
    if (request.version != CONTROL_VERSION || request.reserved != 0)
        return EPROTO;
    switch (request.verb) {
    case CONTROL_STATUS:
        return request.index < DEVICES ? 0 : ENODEV;
    case CONTROL_RESTART:
        if (!is_root)
            return EPERM;
        *ret_device = index_of_id(request.index);
        return *ret_device < 0 ? ENODEV : *ret_device == 1 ? EAGAIN : 0;
    case CONTROL_LOG_LEVEL:
        if (!is_root)
            return EPERM;
        return request.index < LOG_LEVELS ? 0 : EINVAL;
    default:
        return EINVAL;
    }
}

static void check_device(const uint8_t *packet, const struct control_device *shown)
{
    struct control_request request;
    memcpy(&request, packet, sizeof(request));
    if (request.verb != CONTROL_STATUS)
        return;
    require(shown->id == ids[request.index] && shown->pid == 100 + (pid_t)request.index,
            "another device than was asked for");
    require(memchr(shown->name, 0, sizeof(shown->name)) &&
                memchr(shown->last_death, 0, sizeof(shown->last_death)),
            "a text without an end");
    require(shown->phase <= CONTROL_ENDING, "a phase that there is not");
}

/* Send one packet. Returns false if its sender was dropped. */
static bool one_packet(struct control *control, int client, const uint8_t *packet, size_t length)
{
    static struct control_reply reply;
    bool is_root = control->is_root[CLIENT];
    enum log_level before = log_level();
    int restart, error = expected(packet, length, is_root, &restart);
    restarted = NULL;
    control->rate = (struct rate_limit){0}; /* as if this were the first request */
    require(send(client, packet, length, MSG_NOSIGNAL) == (ssize_t)length, "send");
    if (!control_serve(control, CLIENT, &supervisor)) {
        require(length == 0 && control_client(control, CLIENT) == -1, "a sender is dropped");
        return false;
    }
    require(recv(client, &reply, sizeof(reply), MSG_DONTWAIT | MSG_TRUNC) == sizeof(reply),
            "no answer, or of another size");
    require(reply.version == CONTROL_VERSION && reply.device_count == DEVICES, "a reply's head");
    require(reply.error == error, "another error than the rules say");
    require(restarted == (restart < 0 ? NULL : &devices[restart]), "another worker is replaced");
    require(is_root || log_level() == before, "somebody else has set the log level");
    if (error == 0)
        check_device(packet, &reply.device);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control control = {.listener = -1};
    int pair[2] = {-1, -1};
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        control.clients[i] = -1;
    log_set_level((enum log_level)0);
    while (size >= 2) {
        bool is_root = (data[0] & 1) != 0;
        size_t length = data[0] >> 1 < 64 ? sizeof(struct control_request) : data[1];
        data += 2;
        size -= 2;
        length = length < size ? length : size;
        if (control.clients[CLIENT] < 0) {
            require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) ==
                        0,
                    "socketpair");
            control.clients[CLIENT] = pair[0];
        }
        control.is_root[CLIENT] = is_root;
        if (!one_packet(&control, pair[1], data, length))
            close(pair[1]);
        data += length;
        size -= length;
    }
    if (control.clients[CLIENT] >= 0) {
        control_drop(&control, CLIENT);
        close(pair[1]);
    }
    return 0;
}
