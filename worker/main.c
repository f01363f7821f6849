/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-virtio-worker: the life of one device. The keeper starts it in namespaces of its own, with
 * the control socket and /dev/null as its only files, and with no environment. The broker tells it
 * what to be. It is locked up (worker/sandbox/sandbox.h) before it reads the first byte that a
 * guest may have written. If a step before that fails, the worker tells the broker and ends.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/device_kind.h"
#include "common/message.h"
#include "common/policy.h"
#include "common/ring.h"
#include "common/sandbox_layer.h"
#include "common/worker_fds.h"
#include "worker/device.h"
#include "worker/loop.h"
#include "worker/sandbox/sandbox.h"
#include "worker/start.h"

/* Static, as is everything that stays after lock-down. Its header says at first that it is of no
 * device. */
static struct message_start start = {.header.device = MESSAGE_NO_DEVICE};
static struct device device;

/* Only _exit works here: abort() relies on a signal that the first process of a pid namespace
 * ignores. */
static _Noreturn void fail(enum worker_step step, int error)
{
    union message message = {.failed = {
                                 .header = {.type = MSG_FAILED, .device = start.header.device},
                                 .step = (uint32_t)step,
                                 .error = -error,
                             }};
    (void)message_send(WORKER_FD_CONTROL, &message, NULL, 0);
    _exit(1);
}

/* After lock-down: uses sendto in the form that the filter allows. The broker takes no later
 * message before this one. */
static void say_ready(uint32_t layers, unsigned int fd_count)
{
    struct message_ready ready = {
        .header = {.type = MSG_READY, .version = MESSAGE_VERSION, .device = start.header.device},
        .layers = layers,
        .fd_count = fd_count,
    };
    if (send(WORKER_FD_CONTROL, &ready, sizeof(ready), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        _exit(1);
}

/* If the worker was started by hand, fd 4 is not the next free one, or fd 3 is no socket. */
static _Noreturn void not_by_hand(void)
{
    static const char words[] =
        "bao-virtio-worker: not to be started by hand; start bao-virtio-dm, which starts it\n";
    ssize_t ignored = write(STDERR_FILENO, words, sizeof(words) - 1);
    (void)ignored;
    _exit(1);
}

static int confined(void)
{
    return device_confined(&device);
}

int main(void)
{
    struct state_page *state = NULL;
    void *window = NULL;
    uint32_t layers = 0;

    if (epoll_create1(EPOLL_CLOEXEC) != WORKER_FD_EPOLL)
        not_by_hand();
    int error = start_receive(&start);
    if (error == -ENOTSOCK || error == -EBADF)
        not_by_hand();
    if (error < 0)
        fail(STEP_START_MESSAGE, error);
    prctl(PR_SET_NAME, start.name); /* for ps and top; nothing depends on it */

    error = start_open_boxes(&start);
    if (error < 0)
        fail(STEP_FDS, error);
    error = start_map_state(&start, &state);
    if (error < 0)
        fail(STEP_MAP_STATE, error);
    error = start_map_window(&start, &window);
    if (error < 0)
        fail(STEP_MAP_WINDOW, error);
    error = start_fill_fds(&start);
    if (error < 0)
        fail(STEP_FDS, error);
    error = start_open_ring(&start);
    if (error < 0)
        fail(STEP_RING, error);
    start_measure(&start);
    error = device_init(&device, &start, state, window);
    if (error < 0)
        fail(STEP_DEVICE, error);
    error = loop_watch(&device);
    if (error < 0)
        fail(STEP_EVENTS, error);
    error = start_schedule(&start); /* after the device has asked for the number of processors */
    if (error < 0)
        fail(STEP_SCHEDULING, error);

    struct sandbox sandbox = {
        .uid = start.uid,
        .file_size_max = start_file_size_max(&start),
        .fd_count = worker_fd_count(&start),
        .fd_limit = start_fd_limit(&start),
        .threads = device_kinds[start.kind].ring ? RING_THREADS : 0,
        .policy = policy_find(device_kinds[start.kind].policy),
        .confined = confined,
    };
    start_fd_kinds(&start, sandbox.fds);
    enum worker_step failed;
    error = sandbox_enter(&sandbox, &layers, &failed);
    if (error < 0)
        fail(failed, error);

    say_ready(layers, sandbox.fd_count);
    loop_run(&device);
}
