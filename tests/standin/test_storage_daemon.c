/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that QEMU's qemu-storage-daemon serves, with several queues. It serves at most a hundred
 * requests a second. So some are always in flight when the worker is killed. Each is answered once,
 * and the image holds what was written.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define STORAGE_DAEMON "/usr/bin/qemu-storage-daemon"
#define QUEUES 4u
#define SLOTS 64u /* places in the image; each has its own request */
#define SLOT_SIZE 4096u
#define SLOT_SECTORS (SLOT_SIZE / 512)
#define ROUNDS 4
#define START_MS 5000
#define DEADLINE_MS 15000

#define FEATURES                                                                                   \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |                       \
     1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_MQ)

struct slot {
    struct virtio_blk_outhdr *header;
    uint8_t *data, *status;
    uint64_t header_addr, data_addr, status_addr;
    unsigned int written; /* number of the last write that is in the image: see fill */
    bool busy;
};

struct client {
    struct guest guest;
    struct guest_queue queues[QUEUES];
    struct slot slots[SLOTS];
    unsigned int completed;
};

/* ---- The daemon ---- */

static pid_t start_daemon(const struct fixture *fixture)
{
    char path[128], file[192], export[256];
    struct stat status;
    snprintf(path, sizeof(path), "%s/blk.sock", fixture->dir);
    snprintf(file, sizeof(file), "driver=file,node-name=file,filename=%s/disk.img", fixture->dir);
    snprintf(export, sizeof(export),
             "type=vhost-user-blk,id=blk,node-name=disk,writable=on,num-queues=%u,addr.type=unix,"
             "addr.path=%s",
             QUEUES, path);
    unlink(path);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no process behind */
        execl(STORAGE_DAEMON, "qemu-storage-daemon", "--object",
              "throttle-group,id=slow,limits.iops-total=100", "--blockdev", file, "--blockdev",
              "driver=raw,node-name=raw,file=file", "--blockdev",
              "driver=throttle,node-name=disk,throttle-group=slow,file=raw", "--export", export,
              NULL);
        _exit(127);
    }
    CU_ASSERT_FATAL(pid > 0);
    for (unsigned int i = 0; i < START_MS && stat(path, &status) < 0; i++)
        usleep(1000);
    return pid;
}

static void end_daemon(pid_t pid, int signal)
{
    int status;
    CU_ASSERT_EQUAL(kill(pid, signal), 0);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    /* If it died of SIGKILL, it had not ended before because of an error of its own. */
    if (signal == SIGKILL) {
        CU_ASSERT(WIFSIGNALED(status));
    } else {
        CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static pid_t start(struct fixture *fixture)
{
    fixture_init(fixture);
    fixture_make_image(fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(fixture,
                      "devices:\n  - id: 0\n    type: block\n    data_plane: vhost_user\n"
                      "    mmio_addr: 0xa003e00\n    queues: 4\n    socket_path: \"@/blk.sock\"\n");
    pid_t daemon = start_daemon(fixture);
    fixture_start(fixture, 1, 1);
    return daemon;
}

static void stop(struct fixture *fixture, pid_t daemon)
{
    fixture_stop(fixture);
    end_daemon(daemon, SIGTERM);
    fixture_free(fixture);
}

/* ---- A driver with several queues ---- */

static void start_client(struct fixture *fixture, struct client *client)
{
    *client = (struct client){0};
    struct guest *guest = &client->guest;
    fixture_guest(fixture, 0, guest);
    guest->timeout_ms = DEADLINE_MS;
    CU_ASSERT_EQUAL_FATAL(guest_probe(guest, 2), 0);
    CU_ASSERT_EQUAL_FATAL(guest_negotiate(guest, FEATURES), 0);
    CU_ASSERT_EQUAL(guest->features, FEATURES);
    for (uint32_t q = 0; q < QUEUES; q++)
        CU_ASSERT_EQUAL_FATAL(guest_queue_start(guest, &client->queues[q], q, 0), 0);
    for (unsigned int s = 0; s < SLOTS; s++) {
        struct slot *slot = &client->slots[s];
        slot->header = guest_alloc(guest, sizeof(*slot->header), 16, &slot->header_addr);
        slot->status = guest_alloc(guest, 1, 1, &slot->status_addr);
        slot->data = guest_alloc(guest, SLOT_SIZE, 4096, &slot->data_addr);
        CU_ASSERT_FATAL(slot->header && slot->status && slot->data);
    }
    CU_ASSERT_EQUAL_FATAL(guest_driver_ok(guest), 0);
}

/* Asserts that as many chains were used as were made available: no request was answered twice. */
static void free_client(struct client *client)
{
    CU_ASSERT_EQUAL(client->guest.error, 0);
    CU_ASSERT_EQUAL(guest_status(&client->guest) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    for (uint32_t q = 0; q < QUEUES; q++) {
        const struct guest_queue *queue = &client->queues[q];
        CU_ASSERT(queue->avail_index > 0);
        CU_ASSERT_EQUAL(__atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE), queue->avail_index);
        guest_queue_free(&client->queues[q]);
    }
}

/* The contents of slot `s` after its write number `written`. 0 stands for the image as it was made.
 */
static void fill(unsigned int s, unsigned int written, uint8_t ret[SLOT_SIZE])
{
    for (unsigned int i = 0; i < SLOT_SECTORS; i++)
        fixture_sector(s * SLOT_SECTORS + i, ret + 512ul * i);
    for (unsigned int i = 0; written > 0 && i < SLOT_SIZE; i++)
        ret[i] ^= (uint8_t)(written * 13 + i);
}

static void submit(struct client *client, unsigned int s, uint32_t type)
{
    struct slot *slot = &client->slots[s];
    const bool reads = type == VIRTIO_BLK_T_IN;
    const struct guest_segment segments[] = {
        {slot->header_addr, sizeof(*slot->header), false},
        {slot->data_addr, SLOT_SIZE, reads},
        {slot->status_addr, 1, true},
    };
    const struct guest_segment flush[] = {segments[0], segments[2]};
    const bool flushes = type == VIRTIO_BLK_T_FLUSH;
    *slot->header = (struct virtio_blk_outhdr){
        .type = type,
        .sector = flushes ? 0 : s * SLOT_SECTORS,
    };
    *slot->status = 0xff;
    if (reads)
        memset(slot->data, 0, SLOT_SIZE);
    else if (!flushes)
        fill(s, ++slot->written, slot->data);
    slot->busy = true;
    CU_ASSERT_EQUAL_FATAL(guest_queue_add(&client->queues[s % QUEUES], flushes ? flush : segments,
                                          flushes ? 2 : 3, slot),
                          0);
}

static void kick(struct client *client)
{
    for (uint32_t q = 0; q < QUEUES; q++)
        guest_queue_kick(&client->queues[q]);
}

static void complete(struct client *client, struct slot *slot)
{
    uint8_t expected[SLOT_SIZE];
    unsigned int s = (unsigned int)(slot - client->slots);
    CU_ASSERT_FATAL(slot->busy);
    CU_ASSERT_EQUAL(*slot->status, VIRTIO_BLK_S_OK);
    fill(s, slot->written, expected);
    if (slot->header->type == VIRTIO_BLK_T_IN)
        CU_ASSERT_EQUAL(memcmp(slot->data, expected, SLOT_SIZE), 0);
    slot->busy = false;
    client->completed++;
}

static unsigned int busy(const struct client *client)
{
    unsigned int count = 0;
    for (unsigned int s = 0; s < SLOTS; s++)
        count += client->slots[s].busy;
    return count;
}

/* Wait until at most `left` requests are in flight. */
static void wait_for_requests(struct client *client, unsigned int left)
{
    while (busy(client) > left) {
        CU_ASSERT_FATAL(guest_take_interrupt(&client->guest) >= 0);
        for (uint32_t q = 0; q < QUEUES; q++) {
            struct guest_queue *queue = &client->queues[q];
            struct slot *slot;
            uint32_t length;
            do {
                guest_queue_disable_interrupts(queue);
                while ((slot = guest_queue_get(queue, &length)))
                    complete(client, slot);
            } while (!guest_queue_enable_interrupts(queue) && client->guest.error == 0);
        }
        CU_ASSERT_EQUAL_FATAL(client->guest.error, 0);
    }
}

/* Submit one request for each slot that is idle: by turns a write, and a read of what was written.
 */
static void submit_all(struct client *client)
{
    for (unsigned int s = 0; s < SLOTS; s++) {
        const struct slot *slot = &client->slots[s];
        if (!slot->busy)
            submit(client, s,
                   slot->header->type == VIRTIO_BLK_T_OUT ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT);
    }
    kick(client);
}

static void assert_image(const struct fixture *fixture, const struct client *client)
{
    uint8_t data[SLOT_SIZE], expected[SLOT_SIZE];
    int fd = fixture_open(fixture, "disk.img");
    for (unsigned int s = 0; s < SLOTS; s++) {
        fill(s, client->slots[s].written, expected);
        CU_ASSERT_EQUAL(pread(fd, data, SLOT_SIZE, (off_t)s * SLOT_SIZE), SLOT_SIZE);
        CU_ASSERT_EQUAL(memcmp(data, expected, SLOT_SIZE), 0);
    }
    close(fd);
}

/* ---- Tests ---- */

static void it_is_used(void)
{
    struct fixture fixture;
    struct client client;
    uint64_t capacity;
    uint16_t queues;
    pid_t daemon = start(&fixture);
    start_client(&fixture, &client);
    guest_config(&client.guest, offsetof(struct virtio_blk_config, capacity), &capacity,
                 sizeof(capacity), 4);
    guest_config(&client.guest, offsetof(struct virtio_blk_config, num_queues), &queues,
                 sizeof(queues), 2);
    CU_ASSERT_EQUAL(capacity, FIXTURE_IMAGE_SECTORS);
    CU_ASSERT_EQUAL(queues, QUEUES);

    for (unsigned int s = 0; s < SLOTS; s++)
        submit(&client, s, VIRTIO_BLK_T_IN);
    kick(&client);
    wait_for_requests(&client, 0);
    for (unsigned int i = 0; i < 2; i++) {
        submit_all(&client);
        wait_for_requests(&client, 0);
    }
    for (unsigned int s = 0; s < QUEUES; s++)
        submit(&client, s, VIRTIO_BLK_T_FLUSH);
    kick(&client);
    wait_for_requests(&client, 0);
    CU_ASSERT_EQUAL(client.completed, 3 * SLOTS + QUEUES);
    assert_image(&fixture, &client);
    fixture_assert_never_restarted(&fixture);
    free_client(&client);

    /* Another driver starts, with the same worker and the same connection. */
    unsigned int written[SLOTS];
    for (unsigned int s = 0; s < SLOTS; s++)
        written[s] = client.slots[s].written;
    start_client(&fixture, &client);
    for (unsigned int s = 0; s < SLOTS; s++) {
        client.slots[s].written = written[s];
        submit(&client, s, VIRTIO_BLK_T_IN);
    }
    kick(&client);
    wait_for_requests(&client, 0);
    fixture_assert_never_restarted(&fixture);
    free_client(&client);
    stop(&fixture, daemon);
}

/* Asserts that the daemon has taken some requests and not yet answered them. The throttle makes
 * sure of that. */
static void assert_in_flight(const struct client *client)
{
    unsigned int answered = 0;
    for (uint32_t q = 0; q < QUEUES; q++) {
        const struct guest_queue *queue = &client->queues[q];
        uint16_t used = __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE);
        answered += (uint16_t)(used - queue->used_index);
    }
    CU_ASSERT(answered < busy(client));
}

/* This daemon has no buffer for requests in flight. So its death does no harm only while none are
 * in flight. */
static void the_daemon_is_killed(void)
{
    struct fixture fixture;
    struct client client;
    pid_t daemon = start(&fixture);
    pid_t worker = fixture.workers[0];
    start_client(&fixture, &client);
    for (unsigned int round = 0; round < ROUNDS; round++) {
        submit_all(&client);
        wait_for_requests(&client, 0);
        end_daemon(daemon, SIGKILL);
        submit_all(&client); /* these wait for the next daemon */
        daemon = start_daemon(&fixture);
        wait_for_requests(&client, 0);
        worker = fixture_wait_worker(&fixture, 0, worker);
        CU_ASSERT_FATAL(worker > 0);
    }
    CU_ASSERT_EQUAL(client.completed, 2 * ROUNDS * SLOTS);
    assert_image(&fixture, &client);
    free_client(&client);
    stop(&fixture, daemon);
}

/* The daemon finishes the requests that it has taken before it accepts another connection. If it is
 * notified meanwhile, the daemon of Debian 12 ends with an assertion. So the test does not ask more
 * of it. */
static void the_worker_is_killed_under_load(void)
{
    struct fixture fixture;
    struct client client;
    pid_t daemon = start(&fixture);
    pid_t worker = fixture.workers[0];
    start_client(&fixture, &client);
    for (unsigned int round = 0; round < ROUNDS; round++) {
        submit_all(&client);
        wait_for_requests(&client, SLOTS / 2);
        assert_in_flight(&client);
        CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
        worker = fixture_wait_worker(&fixture, 0, worker);
        CU_ASSERT_FATAL(worker > 0);
        wait_for_requests(&client, 0);
    }
    CU_ASSERT_EQUAL(client.completed, ROUNDS * SLOTS);
    assert_image(&fixture, &client);
    free_client(&client);
    stop(&fixture, daemon);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"it is used, with several queues", it_is_used},
        {"the daemon is killed", the_daemon_is_killed},
        {"the worker is killed under load", the_worker_is_killed_under_load},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "qemu-storage-daemon", tests);
}
