/* SPDX-License-Identifier: Apache-2.0 */
/* How long a guest waits when its worker dies, and how much memory the processes use. */
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/control_client.h"
#include "tests/standin/guest_net.h"
#include "tests/standin/guest_vsock.h"

#define OUTAGES_A_ROUND 20u
#define WAIT_MS 10000
#define LOOK_US 20
#define PORT 53
#define RNG_DEVICE_ID 4
#define PATH_SIZE 96
#define DAEMON_FEATURES                                                                            \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << VIRTIO_BLK_F_FLUSH)

struct rng {
    struct guest guest;
    struct guest_queue queue;
    uint8_t *data;
    uint64_t addr;
};

struct sockets {
    struct guest_vsock vsock;
    struct guest_socket *socket;
    int listener;
};

/* The driver of the kind that is measured. The guest is the first member of each. */
static union driver {
    struct guest guest;
    struct guest_block block;
    struct guest_net net;
    struct guest_console console;
    struct rng rng;
    struct sockets sockets;
} driver;

/* ---- One request of each kind. They return 0 when it is completed, or -errno ---- */

static int start_block(const char *dir)
{
    (void)dir;
    return guest_block_start(&driver.block, GUEST_BLOCK_FEATURES, 1, 4096);
}

static int do_block(void)
{
    static uint8_t data[4096];
    int r = guest_block_io(&driver.block, VIRTIO_BLK_T_IN, 0, data, sizeof(data));
    return r > 0 ? -EIO : r;
}

static void end_block(void)
{
    guest_block_free(&driver.block);
}

/* The same through a vhost-user daemon. The daemon outlives the device's workers. */
static pid_t daemon_pid;

static int prepare_daemon(const char *dir)
{
    char socket[PATH_SIZE + 16], image[PATH_SIZE + 16];
    struct stat status;
    char *argv[] = {(char *)DAEMON, socket, image, NULL};
    snprintf(socket, sizeof(socket), "%s/blk.sock", dir);
    snprintf(image, sizeof(image), "%s/image", dir);
    int r = posix_spawn(&daemon_pid, DAEMON, NULL, NULL, argv, environ);
    if (r != 0)
        return -r;
    for (unsigned int i = 0; i < WAIT_MS && stat(socket, &status) < 0; i++)
        usleep(1000);
    return 0;
}

static int start_daemon_block(const char *dir)
{
    (void)dir;
    return guest_block_start(&driver.block, DAEMON_FEATURES, 1, 4096);
}

static int start_net(const char *dir)
{
    static const struct guest_net_options options = {.features = GUEST_NET_FEATURES,
                                                     .rx_count = 16,
                                                     .tx_count = 16,
                                                     .rx_size = 1536,
                                                     .tx_size = 2048};
    (void)dir;
    return guest_net_start(&driver.net, &options);
}

static int do_net(void)
{
    static const struct virtio_net_hdr_v1 header;
    static const uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    int r = guest_net_send(&driver.net, 0, &header, frame, sizeof(frame));
    return r < 0 ? r : guest_net_flush(&driver.net, 0);
}

static void end_net(void)
{
    guest_net_free(&driver.net);
}

static int start_console(const char *dir)
{
    (void)dir;
    return guest_console_start(&driver.console, GUEST_CONSOLE_FEATURES);
}

static int do_console(void)
{
    if (guest_console_send(&driver.console, 0, "line\n", 5) != 5)
        return -ENOSPC;
    for (unsigned int i = 0; i < WAIT_MS * 1000u / LOOK_US; i++) {
        guest_console_poll(&driver.console);
        if (guest_console_busy(&driver.console, 0) == 0)
            return 0;
        usleep(LOOK_US);
    }
    return -ETIMEDOUT;
}

static void end_console(void)
{
    guest_console_free(&driver.console);
}

static int start_rng(const char *dir)
{
    struct rng *rng = &driver.rng;
    (void)dir;
    int r = guest_probe(&rng->guest, RNG_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(&rng->guest, 1ull << VIRTIO_F_VERSION_1 |
                                             1ull << VIRTIO_F_ACCESS_PLATFORM |
                                             1ull << VIRTIO_RING_F_EVENT_IDX);
    if (r == 0)
        r = guest_queue_start(&rng->guest, &rng->queue, 0, 0);
    rng->data = guest_alloc(&rng->guest, 64, 64, &rng->addr);
    if (r == 0 && !rng->data)
        r = -ENOMEM;
    return r < 0 ? r : guest_driver_ok(&rng->guest);
}

static int do_rng(void)
{
    struct rng *rng = &driver.rng;
    const struct guest_segment segment = {rng->addr, 64, true};
    uint32_t length;
    int r = guest_queue_add(&rng->queue, &segment, 1, rng);
    guest_queue_kick(&rng->queue);
    while (r >= 0 && !guest_queue_get(&rng->queue, &length)) {
        if (guest_queue_enable_interrupts(&rng->queue))
            r = guest_take_interrupt(&rng->guest);
    }
    return r < 0 ? r : rng->guest.error;
}

static void end_rng(void)
{
    guest_queue_free(&driver.rng.queue);
}

static int start_sockets(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/v_%u", dir, PORT);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    driver.sockets.listener = listener;
    if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 128) < 0)
        return -errno;
    return guest_vsock_start(&driver.sockets.vsock, GUEST_VSOCK_FEATURES);
}

/* The connections of the dead worker have ended: close them. */
static void close_accepted(void)
{
    int fd;
    while ((fd = accept4(driver.sockets.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
}

/* The old connection is reset, and a new one is made. */
static int do_sockets(void)
{
    struct sockets *sockets = &driver.sockets;
    const uint64_t end = bench_now_ns() + WAIT_MS * 1000000ull;
    bool is_new = false;
    close_accepted();
    while (bench_now_ns() < end) {
        if (sockets->socket && sockets->socket->state == SOCKET_RESET) {
            guest_vsock_forget(sockets->socket);
            sockets->socket = NULL;
        }
        if (!sockets->socket) {
            sockets->socket = guest_vsock_connect(&sockets->vsock, VIRTIO_VSOCK_TYPE_STREAM, PORT);
            is_new = true;
        }
        if (!sockets->socket || guest_vsock_poll(&sockets->vsock, 10) < 0)
            return -EIO;
        if (is_new && sockets->socket->state == SOCKET_CONNECTED)
            return 0;
    }
    return -ETIMEDOUT;
}

static void end_sockets(void)
{
    close_accepted();
    close(driver.sockets.listener);
    guest_vsock_free(&driver.sockets.vsock);
}

#define VIRTIO(type) "    type: " type "\n    data_plane: virtio\n"

static const struct kind {
    const char *name;
    const char *yaml;                /* "@" stands for the directory */
    int (*prepare)(const char *dir); /* runs before the device model; NULL: nothing to do */
    int (*start)(const char *dir);
    int (*request)(void);
    void (*end)(void);
} kinds[RESTART_KINDS] = {
    {"block", VIRTIO("block") "    file_path: @/image\n    read_only: true\n", NULL, start_block,
     do_block, end_block},
    {"net", VIRTIO("net") "    tap_name: bench0\n    mac_addr: \"02:00:00:00:00:02\"\n", NULL,
     start_net, do_net, end_net},
    {"console", VIRTIO("console") "    pty_alias: @/console\n", NULL, start_console, do_console,
     end_console},
    {"rng", VIRTIO("rng"), NULL, start_rng, do_rng, end_rng},
    {"vsock/virtio", VIRTIO("vsock") "    guest_cid: 3\n    socket_path: @/v\n", NULL,
     start_sockets, do_sockets, end_sockets},
    {"block/vhost_user",
     "    type: block\n    data_plane: vhost_user\n    socket_path: \"@/blk.sock\"\n"
     "    config_size: 8\n",
     prepare_daemon, start_daemon_block, do_block, end_block},
};

/* ---- One death ---- */

static pid_t worker_at_work(const char *control)
{
    struct control_reply reply;
    for (unsigned int i = 0; i < WAIT_MS * 1000u / LOOK_US; i++, usleep(LOOK_US)) {
        int r = control_client_ask(control, CONTROL_STATUS, 0, &reply);
        if (r < 0)
            return r;
        if (reply.device.phase == CONTROL_RUNNING)
            return reply.device.pid;
    }
    return -ETIMEDOUT;
}

/*
 * A restart through the control socket is a SIGKILL, but without the pauses that many deaths in a
 * short time cause. The request is made when the dead worker can't be the one that completes it.
 * All of this is part of the time.
 */
static int one_outage(const struct kind *kind, const char *control, struct samples *outages)
{
    struct control_reply reply;
    pid_t worker = worker_at_work(control);
    if (worker < 0)
        return worker;
    uint64_t start = bench_now_ns();
    int r = control_client_ask(control, CONTROL_RESTART, 0, &reply);
    while (r == 0 && kill(worker, 0) == 0) {
        sched_yield();
        if (bench_now_ns() - start > WAIT_MS * 1000000ull)
            r = -ETIMEDOUT;
    }
    if (r == 0)
        r = kind->request();
    if (r == 0)
        samples_add(outages, bench_now_ns() - start);
    return r;
}

/* ---- A device model of each kind ---- */

static int start(const char *dir, const char *config, const char *control, int log,
                 const struct kind *kind, struct standin **ret)
{
    int r = model_write_config(config, dir, kind->yaml, false);
    if (r == 0 && kind->prepare)
        r = kind->prepare(dir);
    return r < 0 ? r : model_launch(MODEL_PROGRAM, config, control, log, ret);
}

static int measure(const struct bench *bench, const struct kind *kind, const char *dir,
                   const char *control, struct standin *standin, struct restart_kind *result)
{
    memset(&driver, 0, sizeof(driver));
    guest_init(&driver.guest, standin, 0, BENCH_BASE, BENCH_SHMEM, BENCH_SHMEM_SIZE);
    int r = kind->start(dir);
    if (r == 0)
        r = kind->request();
    for (unsigned int i = 0; r == 0 && i < bench->rounds * OUTAGES_A_ROUND; i++)
        r = one_outage(kind, control, &result->outages);
    if (r == 0) {
        result->worker_kib = private_kib(worker_at_work(control), false);
        result->broker_kib =
            private_kib(standin_find_process(standin, "bao-virtio-broker", 0), true);
    }
    if (r == 0 && (result->worker_kib < 0 || result->broker_kib < 0))
        r = -ESRCH;
    kind->end();
    return r < 0 || !standin_protocol_error(standin) ? r : -EPROTO;
}

/* From here on we are in a network namespace of our own, with nothing in it but a tap. */
static int make_tap(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    int status = system("ip tuntap add bench0 mode tap && ip link set bench0 up");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENODEV;
}

static void clean_up(const char *dir)
{
    static const char *const left[] = {"restart.yaml", "control",     "console", "v",
                                       "v_53",         "v_seqpacket", "blk.sock"};
    char path[PATH_SIZE + 16];
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, left[i]);
        unlink(path);
    }
    if (daemon_pid > 0) {
        kill(daemon_pid, SIGKILL);
        waitpid(daemon_pid, NULL, 0);
        daemon_pid = 0;
    }
}

int restart_run(const struct bench *bench, const char *dir, int log, struct restart_result *result)
{
    char config[PATH_SIZE], control[PATH_SIZE];
    snprintf(config, sizeof(config), "%s/restart.yaml", dir);
    snprintf(control, sizeof(control), "%s/control", dir);
    int r = make_tap();
    for (size_t i = 0; r == 0 && i < RESTART_KINDS; i++) {
        struct standin *standin = NULL;
        r = start(dir, config, control, log, &kinds[i], &standin);
        if (r == 0)
            r = measure(bench, &kinds[i], dir, control, standin, &result->kinds[i]);
        if (standin && standin_stop(standin) < 0 && r == 0)
            r = -ECHILD;
        if (r < 0)
            fprintf(stderr, "bench: restarts of %s: %s\n", kinds[i].name, strerror(-r));
        clean_up(dir);
    }
    return r;
}

/* ---- The results ---- */

void restart_print(struct restart_result *result)
{
    printf("\n%-28s %9s %9s %9s %9s %11s %11s\n", "worker's death", "p50 us", "p99 us", "max us",
           "deaths", "worker KiB", "broker KiB");
    for (size_t i = 0; i < RESTART_KINDS; i++) {
        struct restart_kind *kind = &result->kinds[i];
        printf("%-28s %9.0f %9.0f %9.0f %9zu %11.0f %11.0f\n", kinds[i].name,
               samples_us(&kind->outages, 50), samples_us(&kind->outages, 99),
               samples_us(&kind->outages, 100), kind->outages.count, kind->worker_kib,
               kind->broker_kib);
    }
    printf("From the kill to the next request completed (vsock: connection made). KiB: private\n"
           "memory; the worker's without the window and what it shares with the broker.\n"
           "Wanted: p50 below %.0f us, p99 below %.0f us.\n",
           RESTART_P50_WANTED_US, RESTART_P99_WANTED_US);
}

void restart_print_json(FILE *file, struct restart_result *result)
{
    fprintf(file, "  \"restart\": [\n");
    for (size_t i = 0; i < RESTART_KINDS; i++) {
        struct restart_kind *kind = &result->kinds[i];
        fprintf(file,
                "    {\"name\": \"%s\", \"deaths\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, "
                "\"max_us\": %.1f, \"worker_private_kib\": %.0f, \"broker_private_kib\": %.0f}%s\n",
                kinds[i].name, kind->outages.count, samples_us(&kind->outages, 50),
                samples_us(&kind->outages, 99), samples_us(&kind->outages, 100), kind->worker_kib,
                kind->broker_kib, i + 1 < RESTART_KINDS ? "," : "");
    }
    fprintf(file, "  ],\n");
}

void restart_largest(const struct restart_result *result, double *ret_worker_kib,
                     double *ret_broker_kib)
{
    *ret_worker_kib = *ret_broker_kib = 0;
    for (size_t i = 0; i < RESTART_KINDS; i++) {
        const struct restart_kind *kind = &result->kinds[i];
        if (kind->worker_kib > *ret_worker_kib)
            *ret_worker_kib = kind->worker_kib;
        if (kind->broker_kib > *ret_broker_kib)
            *ret_broker_kib = kind->broker_kib;
    }
}

void restart_free(struct restart_result *result)
{
    for (size_t i = 0; i < RESTART_KINDS; i++)
        samples_free(&result->kinds[i].outages);
}
