/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system that QEMU's virtiofsd serves. This program has a small FUSE client that asks it.
 * The client reads what is in the shared directory, before and after a restart of the daemon.
 */
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define VIRTIOFSD "/usr/lib/qemu/virtiofsd"
#define VIRTIO_ID_FS 26
#define REQUEST_QUEUE 1
#define ROOT_NODE 1 /* FUSE_ROOT_ID */
#define CONTENT "what is in the shared directory\n"
#define START_MS 20000

#define FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM)

struct client {
    struct guest guest;
    struct guest_queue queues[2];
    uint64_t unique;
};

static pid_t start_virtiofsd(const struct fixture *fixture)
{
    char socket[160], source[160], path[128];
    struct stat status;
    snprintf(path, sizeof(path), "%s/Fs0.sock", fixture->dir);
    snprintf(socket, sizeof(socket), "--socket-path=%s", path);
    snprintf(source, sizeof(source), "source=%s/shared", fixture->dir);
    unlink(path);
    pid_t pid = fork();
    if (pid == 0) {
        execl(VIRTIOFSD, "virtiofsd", socket, "-o", source, "-o", "sandbox=chroot", NULL);
        _exit(127);
    }
    CU_ASSERT_FATAL(pid > 0);
    for (unsigned int i = 0; i < START_MS && stat(path, &status) < 0; i++)
        usleep(1000);
    return pid;
}

static void start(struct fixture *fixture, const char *const name)
{
    char path[160];
    fixture_init(fixture);
    snprintf(path, sizeof(path), "%s/shared", fixture->dir);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
    int fd = fixture_open(fixture, name);
    CU_ASSERT_EQUAL(write(fd, CONTENT, strlen(CONTENT)), (ssize_t)strlen(CONTENT));
    close(fd);
    fixture_configure(fixture,
                      "devices:\n  - id: 0\n    type: fs\n    data_plane: vhost_user\n"
                      "    mmio_addr: 0xa003e00\n    socket_path: \"@/\"\n    tag: data\n");
}

static void start_client(const struct fixture *fixture, struct client *client)
{
    *client = (struct client){0};
    fixture_guest((struct fixture *)fixture, 0, &client->guest);
    CU_ASSERT_EQUAL_FATAL(guest_probe(&client->guest, VIRTIO_ID_FS), 0);
    CU_ASSERT_EQUAL_FATAL(guest_negotiate(&client->guest, FEATURES), 0);
    for (uint32_t q = 0; q < 2; q++)
        CU_ASSERT_EQUAL_FATAL(guest_queue_start(&client->guest, &client->queues[q], q, 0), 0);
    CU_ASSERT_EQUAL_FATAL(guest_driver_ok(&client->guest), 0);
}

static void free_client(struct client *client)
{
    CU_ASSERT_EQUAL(client->guest.error, 0);
    for (uint32_t q = 0; q < 2; q++)
        guest_queue_free(&client->queues[q]);
}

/* Makes one request: `in` follows the header, and the answer's body goes to `out`. Returns the
 * answer's error (0 or a negative number), or 1 if there is no answer. */
static int fuse(struct client *client, uint32_t opcode, uint64_t node, const void *in,
                uint32_t in_size, void *out, uint32_t out_size)
{
    struct guest_segment segments[2];
    uint32_t length = 0;
    struct fuse_in_header *header =
        guest_alloc(&client->guest, sizeof(*header) + in_size, 8, &segments[0].addr);
    struct fuse_out_header *answer =
        guest_alloc(&client->guest, sizeof(*answer) + out_size, 8, &segments[1].addr);
    CU_ASSERT_FATAL(header && answer);
    *header = (struct fuse_in_header){
        .len = (uint32_t)sizeof(*header) + in_size,
        .opcode = opcode,
        .unique = ++client->unique,
        .nodeid = node,
    };
    memcpy(header + 1, in, in_size);
    segments[0].len = header->len;
    segments[0].device_writable = false;
    segments[1].len = (uint32_t)sizeof(*answer) + out_size;
    segments[1].device_writable = true;
    struct guest_queue *queue = &client->queues[REQUEST_QUEUE];
    CU_ASSERT_EQUAL_FATAL(guest_queue_add(queue, segments, 2, header), 0);
    guest_queue_kick(queue);
    while (!guest_queue_get(queue, &length)) {
        if (guest_take_interrupt(&client->guest) < 0)
            return 1;
    }
    CU_ASSERT_EQUAL(answer->unique, client->unique);
    CU_ASSERT(length >= sizeof(*answer));
    memcpy(out, answer + 1, out_size);
    return answer->error;
}

static void read_file(struct client *client, const char *name)
{
    const struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION, .minor = 31};
    struct fuse_init_out init_out = {0};
    CU_ASSERT_EQUAL_FATAL(fuse(client, FUSE_INIT, 0, &init, 16, &init_out, sizeof(init_out)), 0);
    CU_ASSERT_EQUAL(init_out.major, FUSE_KERNEL_VERSION);

    struct fuse_entry_out entry = {0};
    CU_ASSERT_EQUAL_FATAL(fuse(client, FUSE_LOOKUP, ROOT_NODE, name, (uint32_t)strlen(name) + 1,
                               &entry, sizeof(entry)),
                          0);
    CU_ASSERT_EQUAL(entry.attr.size, strlen(CONTENT));

    const struct fuse_open_in open_in = {0};
    struct fuse_open_out open_out = {0};
    CU_ASSERT_EQUAL_FATAL(fuse(client, FUSE_OPEN, entry.nodeid, &open_in, sizeof(open_in),
                               &open_out, sizeof(open_out)),
                          0);

    const struct fuse_read_in read_in = {.fh = open_out.fh, .size = 512};
    char data[512] = {0};
    CU_ASSERT_EQUAL(
        fuse(client, FUSE_READ, entry.nodeid, &read_in, sizeof(read_in), data, sizeof(data)), 0);
    CU_ASSERT_STRING_EQUAL(data, CONTENT);
}

static void a_file_is_read(void)
{
    struct fixture fixture;
    struct client client;
    uint8_t config[40];
    start(&fixture, "shared/hello");
    pid_t daemon = start_virtiofsd(&fixture);
    fixture_start(&fixture, 1, 1);
    start_client(&fixture, &client);
    guest_config(&client.guest, 0, config, sizeof(config), 1);
    CU_ASSERT_EQUAL(memcmp(config, "data\0", 5), 0);
    CU_ASSERT_EQUAL(config[36], 1); /* num_request_queues */
    read_file(&client, "hello");
    fixture_assert_never_restarted(&fixture);
    free_client(&client);

    /* The daemon ends when its connection ends. What it knows about a mounted file system ends with
     * it. */
    CU_ASSERT_EQUAL(kill(fixture.workers[0], SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(daemon, NULL, 0), daemon);
    daemon = start_virtiofsd(&fixture);
    CU_ASSERT(fixture_wait_worker(&fixture, 0, fixture.workers[0]) > 0);
    start_client(&fixture, &client);
    read_file(&client, "hello");
    free_client(&client);
    fixture_stop(&fixture);
    CU_ASSERT_EQUAL(waitpid(daemon, NULL, 0), daemon);

    char path[160];
    snprintf(path, sizeof(path), "%s/shared/hello", fixture.dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/shared", fixture.dir);
    rmdir(path);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a file is read", a_file_is_read},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "virtiofsd", tests);
}
