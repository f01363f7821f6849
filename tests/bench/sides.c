/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/front_end.h"

#define STORAGE_DAEMON "/usr/bin/qemu-storage-daemon"
#define PATH_SIZE 192
#define OPTION_SIZE 320

const char *const side_names[SIDES] = {
    [SIDE_OURS] = "bao-virtio-dm",
    [SIDE_UNCONFINED] = "unconfined",
    [SIDE_STORAGE_DAEMON] = "qemu-storage-daemon",
    [SIDE_PEER] = "peer",
};

bool side_exists(const struct bench *bench, enum side_id id)
{
    switch (id) {
    case SIDE_OURS:
    case SIDE_UNCONFINED:
        return true;
    case SIDE_STORAGE_DAEMON:
        return access(STORAGE_DAEMON, X_OK) == 0;
    case SIDE_PEER:
        return bench->peer && bench->peer_config;
    case SIDES:
        break;
    }
    return false;
}

/* ---- qemu-storage-daemon ---- */

/* Whichever serves it best: this kernel may not let us have io_uring. */
static const char *asynchronous(void)
{
    struct io_uring_params parameters = {0};
    const int ring = (int)syscall(SYS_io_uring_setup, 1, &parameters);
    if (ring >= 0)
        close(ring);
    return ring >= 0 ? "io_uring" : "threads";
}

/* Another device model's lock on a disk that is only read may end a little later than its process.
 */
static _Noreturn void run_daemon(const struct daemon_disk *disk, const char *socket_path, int log)
{
    char file[OPTION_SIZE], export[OPTION_SIZE];
    snprintf(file, sizeof(file), "driver=%s,node-name=disk,filename=%s,aio=%s,cache.direct=%s,%s",
             disk->driver, disk->path, asynchronous(), disk->direct ? "on" : "off",
             disk->read_only ? "read-only=on,locking=off" : "read-only=off");
    snprintf(export, sizeof(export),
             "type=vhost-user-blk,id=disk,node-name=disk,writable=%s,iothread=io,"
             "addr.type=unix,addr.path=%s",
             disk->read_only ? "off" : "on", socket_path);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log, STDERR_FILENO);
    execl(STORAGE_DAEMON, "qemu-storage-daemon", "--object", "iothread,id=io", "--blockdev", file,
          "--export", export, NULL);
    _exit(127);
}

int side_start_daemon(const struct bench *bench, const struct daemon_disk *disk,
                      const char *socket_path, int log, struct side *side)
{
    if (!bench->anywhere)
        (void)place_what_starts(); /* on the worker's processor */
    side->daemon = fork();
    if (side->daemon == 0)
        run_daemon(disk, socket_path, log);
    if (!bench->anywhere)
        (void)place_guest();
    if (side->daemon < 0)
        return -errno;
    side->front_end = calloc(1, sizeof(*side->front_end));
    if (!side->front_end)
        return -ENOMEM;
    side->data = (struct processes){.pids = {side->daemon}, .count = 1};
    return front_end_open(socket_path, BENCH_SHMEM, BENCH_SHMEM_SIZE, side->front_end);
}

/* With the page cache, as our default. */
static int start_daemon(const struct bench *bench, struct side *side, int log)
{
    char image[PATH_SIZE], path[PATH_SIZE];
    snprintf(image, sizeof(image), "%s/image", side->dir);
    snprintf(path, sizeof(path), "%s/socket", side->dir);
    const struct daemon_disk disk = {.driver = "file", .path = image};
    return side_start_daemon(bench, &disk, path, log, side);
}

/* Nothing that it could still write is of use, and so it need not end in good order. */
static void stop_daemon(struct side *side)
{
    front_end_close(side->front_end);
    free(side->front_end);
    side->front_end = NULL;
    kill(side->daemon, SIGKILL);
    waitpid(side->daemon, NULL, 0);
}

/* ---- Device models ---- */

static int start_ours(const struct bench *bench, struct side *side, const char *program, int log)
{
    char config[PATH_SIZE];
    snprintf(config, sizeof(config), "%s/config.yaml", side->dir);
    int r = model_write_config(config, side->dir, SIDE_KEYS, bench->no_polling);
    if (r == 0)
        r = model_start_program(bench, program, config, log, 1, &side->model);
    unlink(config);
    return r == 0 && (side->model.worker < 0 || side->model.broker < 0) ? -ESRCH : r;
}

/* The peer's own configuration, in which "@" is the folder of its image. */
int side_copy_config(const char *from, const char *to, const char *dir)
{
    FILE *in = fopen(from, "re"), *out = fopen(to, "we");
    const bool opened = in && out;
    for (int c; opened && (c = fgetc(in)) != EOF;) {
        if (c == '@')
            fputs(dir, out);
        else
            fputc(c, out);
    }
    if (in)
        fclose(in);
    if (out)
        fclose(out);
    return opened ? 0 : -ENOENT;
}

static int start_peer(const struct bench *bench, struct side *side, int log)
{
    char config[PATH_SIZE];
    snprintf(config, sizeof(config), "%s/config.yaml", side->dir);
    int r = side_copy_config(bench->peer_config, config, side->dir);
    if (r == 0)
        r = model_start_program(bench, bench->peer, config, log, 1, &side->model);
    unlink(config);
    return r;
}

/* ---- Any ---- */

int side_make(enum side_id id, const char *dir, struct side *ret)
{
    char path[PATH_SIZE];
    *ret = (struct side){0};
    if (asprintf(&ret->dir, "%s/%s", dir, side_names[id]) < 0)
        return -ENOMEM;
    if (mkdir(ret->dir, 0755) < 0)
        return -errno;
    snprintf(path, sizeof(path), "%s/image", ret->dir);
    return image_make(path, IMAGE_SIZE, &ret->image);
}

void side_free(struct side *side)
{
    static const char *const files[] = {"image", "socket"};
    char path[PATH_SIZE];
    image_free(&side->image);
    for (unsigned int i = 0; side->dir && i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", side->dir, files[i]);
        unlink(path);
    }
    if (side->dir)
        rmdir(side->dir);
    free(side->dir);
    *side = (struct side){0};
}

int side_start(const struct bench *bench, enum side_id id, int log, struct side *side)
{
    int r = -EINVAL;
    switch (id) {
    case SIDE_OURS:
        r = start_ours(bench, side, MODEL_PROGRAM, log);
        break;
    case SIDE_UNCONFINED:
        r = start_ours(bench, side, UNCONFINED_PROGRAM, log);
        break;
    case SIDE_STORAGE_DAEMON:
        r = start_daemon(bench, side, log);
        break;
    case SIDE_PEER:
        side->foreign = true;
        r = start_peer(bench, side, log);
        break;
    case SIDES:
        break;
    }
    if (id != SIDE_STORAGE_DAEMON) {
        side->data = side->model.workers;
        side->rest = side->model.rest;
    }
    side->up = r == 0;
    return r;
}

int side_stop(struct side *side, int result)
{
    side->up = false;
    if (side->front_end)
        stop_daemon(side);
    if (!side->foreign)
        return model_stop(&side->model, result);
    (void)model_stop(&side->model, result); /* SIGTERM may end it in any way */
    return result;
}

void side_guest(const struct side *side, struct guest *ret)
{
    if (side->front_end)
        guest_init_device(ret, &side->front_end->device, side->front_end->window, BENCH_SHMEM,
                          BENCH_SHMEM_SIZE);
    else
        guest_init(ret, side->model.standin, 0, BENCH_BASE, BENCH_SHMEM, BENCH_SHMEM_SIZE);
}
