/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker can do to others with its device's backend. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/attack/test_attack.h"
#include "tests/standin/clock.h"
#include "tests/standin/vsock_fixture.h"

#define FLOOD(victim, name)                                                                        \
    static void name(void)                                                                         \
    {                                                                                              \
        session_flood(&(victim), ATTACK_##name, 0);                                                \
    }

FLOOD(victim_rng, getrandom_flood)
FLOOD(victim_block, image_read)
FLOOD(victim_block, image_sync)
FLOOD(victim_block, image_holes)
FLOOD(victim_ring, ring_read)
FLOOD(victim_net, frame_flood)
FLOOD(victim_net, frame_take)
FLOOD(victim_net, offload_flood)
FLOOD(victim_console, port_take)
FLOOD(victim_console, readers_flood)
FLOOD(victim_socket, client_flood)
FLOOD(victim_socket, client_events)
FLOOD(victim_socket, client_close)
FLOOD(victim_vsock, connection_flood)
FLOOD(victim_vsock, connection_events)
FLOOD(victim_vsock, connection_close)

/* ---- block ---- */

static void image_is(const struct session *session, off_t *ret_size, off_t *ret_allocated)
{
    struct stat file;
    char path[128];
    snprintf(path, sizeof(path), "%s/fs/disk.img", session->fixture.dir);
    CU_ASSERT_EQUAL_FATAL(stat(path, &file), 0);
    *ret_size = file.st_size;
    *ret_allocated = (off_t)file.st_blocks * 512;
}

/* Wait until an attack has ended by itself, or was ended. */
static void wait_over(struct session *session, pid_t before)
{
    for (uint64_t end = now_ms() + WAIT_MS; now_ms() < end; usleep(1000)) {
        if (atomic_load(&session_report(session, 0)->over) != 0 ||
            fixture_worker(&session->fixture, 0) != before)
            return;
    }
    CU_FAIL("the attack does not end");
}

static void image_beyond(void)
{
    struct session *session = session_of(&victim_block);
    off_t before, after, allocated;
    image_is(session, &before, &allocated);
    pid_t worker = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, ATTACK_image_beyond, 0);
    wait_over(session, worker);
    image_is(session, &after, &allocated);
    CU_ASSERT_EQUAL(after, before);
    CU_ASSERT_EQUAL(session_report(session, 0)->result[0], 0);
    CU_ASSERT(atomic_load(&session_report(session, 0)->calls) >= 5);
    session_replace(session);
}

/* The file system belongs to the neighbour as well. So space that the image has no claim to must
 * stay free. */
static void image_allocate(void)
{
    struct session *session = session_of(&victim_block);
    struct statvfs left;
    struct watch watch;
    off_t size, allocated;
    pid_t worker = fixture_worker(&session->fixture, 0);
    session_watch(session, &watch);
    session_attack(session, 0, ATTACK_image_allocate, 512 << 20);
    wait_over(session, worker);
    image_is(session, &size, &allocated);
    printf("an image of %lld KiB has %lld KiB of the disk ", (long long)size >> 10,
           (long long)allocated >> 10);
    CU_ASSERT(allocated <= size + (1 << 20)); /* the file system needs some itself */
    char path[128];
    snprintf(path, sizeof(path), "%s/fs", session->fixture.dir);
    CU_ASSERT_EQUAL(statvfs(path, &left), 0);
    CU_ASSERT(left.f_bavail * left.f_frsize > 32 << 20);
    session_judge(session, &watch, ATTACK_image_allocate);
    session_replace(session);
}

/* The restrictions of the ring hold in the kernel, whatever is in the ring. */
static void ring_escape(void)
{
    struct session *session = session_of(&victim_ring);
    pid_t worker = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, ATTACK_ring_escape, 0);
    wait_over(session, worker);
    CU_ASSERT_EQUAL(fixture_worker(&session->fixture, 0), worker);
    CU_ASSERT_EQUAL(session_report(session, 0)->result[0], 0);
    CU_ASSERT_EQUAL(session_report(session, 0)->result[1], 1);
    CU_ASSERT(atomic_load(&session_report(session, 0)->calls) > 8000);
    session_replace(session);
}

/* ---- net ---- */

/* The successor gets its kicks. */
static void tap_number_kick(void)
{
    attack_and_die(&victim_net, ATTACK_tap_number_kick, 0);
}

/* ---- console ---- */

/* Port 0 has a slow reader; port 1 has none. */
static void port_flood(void)
{
    session_flood(&victim_console, ATTACK_port_flood, 0);
}

static off_t size_of(const struct session *session, const char *name)
{
    struct stat file;
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", session->fixture.dir, name);
    return stat(path, &file) == 0 ? file.st_size : 0;
}

static void log_file_flood(void)
{
    struct session *session = session_of(&victim_log_file);
    struct watch watch;
    session_attack(session, 0, ATTACK_log_file_flood, 0);
    session_watch(session, &watch);
    /* Not for a long time: without a bound it would be a gigabyte a second. */
    for (uint64_t end = now_ms() + session_flood_ms();
         now_ms() < end && size_of(session, "console.log") < 64 << 20;)
        usleep(1000);
    session_judge(session, &watch, ATTACK_log_file_flood);
    const off_t log = size_of(session, "console.log"), old = size_of(session, "console.log.1");
    printf("%lld and %lld bytes of a log of " VICTIM_LOG_SIZE " ", (long long)log, (long long)old);
    CU_ASSERT(log <= 2 * atoi(VICTIM_LOG_SIZE) && old <= 2 * atoi(VICTIM_LOG_SIZE));
    session_replace(session);
}

/* ---- vsock ---- */

/* A worker that asks too often is ended, and the log says so. However often it asks, the broker has
 * time. */
static void connect_flood(void)
{
    struct session *session = session_of(&victim_vsock);
    struct watch watch;
    const size_t from = log_length(session);
    pid_t before = fixture_worker(&session->fixture, 0);
    session_watch(session, &watch);
    session_attack(session, 0, ATTACK_connect_flood, HOST_PORT);
    session_wait_successor(session, before);
    CU_ASSERT_TRUE(logged_since(session, from, "is ended: "));
    session_judge(session, &watch, ATTACK_connect_flood);
    session_replace(session);
}

/* Files that nobody has received yet count for all processes of a user together. Those of one
 * device must not stop the start of another device's worker, which gets files as well. */
static void connect_hoard(void)
{
    session_end(); /* in the new session no worker has asked for anything */
    struct session *session = session_of(&victim_vsock);
    const unsigned int bystander = session->victim->devices;
    struct vsock_fixture host = {.fixture = session->fixture};
    char control[96];
    snprintf(control, sizeof(control), "%s/control", session->fixture.dir);
    int servers[4];
    for (unsigned int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof(name), "v%u_%u", i, HOST_PORT);
        servers[i] = host_listen(&host, name, SOCK_STREAM);
        CU_ASSERT_EQUAL(listen(servers[i], 1024), 0);
        session_report(session, i)->result[0] = 270; /* as many messages as its socket takes */
        session_attack(session, i, ATTACK_connect_hoard, HOST_PORT);
    }
    usleep(session_flood_ms() * 1000);
    pid_t before = fixture_worker(&session->fixture, bystander);
    CU_ASSERT_EQUAL(kill(before, SIGKILL), 0);
    (void)session_wait_worker(session, bystander, before);
    uint64_t value = 0;
    int result = standin_read(session->fixture.standin, bystander, fixture_base(bystander), 4,
                              &value, WAIT_MS);
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT_EQUAL(value, 0x74726976);
    session->fixture.workers[bystander] = fixture_worker(&session->fixture, bystander);
    for (unsigned int i = 0; i < 4; i++)
        close(servers[i]);
    session_replace(session);
}

const CU_TestInfo backend_tests[] = {
    {"getrandom_flood: its own processor time", getrandom_flood},
    {"image_read: its own processor time", image_read},
    {"image_beyond: the image keeps its size", image_beyond},
    {"image_allocate: the file system keeps its room", image_allocate},
    {"image_sync: its own image's writes", image_sync},
    {"image_holes: its own image's blocks", image_holes},
    {"ring_read: its own image", ring_read},
    {"ring_escape: nothing but reads of its own image", ring_escape},
    {"frame_flood: its own tap", frame_flood},
    {"frame_take: its own tap", frame_take},
    {"offload_flood: its own tap", offload_flood},
    {"tap_number_kick: the successor's kicks come", tap_number_kick},
    {"port_flood: its own terminals", port_flood},
    {"port_take: its own terminals", port_take},
    {"readers_flood: its own processor time", readers_flood},
    {"log_file_flood: the log has a bound", log_file_flood},
    {"client_flood: its own client", client_flood},
    {"client_events: its own client", client_events},
    {"client_close: its own client", client_close},
    {"connection_flood: its own connections", connection_flood},
    {"connection_events: its own connections", connection_events},
    {"connection_close: its own connections", connection_close},
    {"connect_flood: the worker is ended", connect_flood},
    {"connect_hoard: other workers get their files", connect_hoard},
    CU_TEST_INFO_NULL,
};
