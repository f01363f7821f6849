/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sixteen devices of four frontends in one configuration. Each has its own worker, all run at once,
 * and no device notices what happens to another.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/fixture.h"

#define DEVICES 16u
#define FRONTENDS 4u
#define ROUNDS 150u
#define DEPTH 8u
#define SECTORS 1024u

/* One vCPU that writes to its device and reads back what it wrote. */
struct vcpu {
    struct fixture *fixture;
    unsigned int id;
    pthread_t thread;
    unsigned int wrong, done;
};

/* Each frontend has its own address space: the devices of each begin at the same address. */
static uint64_t base_of(unsigned int id)
{
    return 0xa000000 + 0x200ull * (id % (DEVICES / FRONTENDS));
}

static void configure(struct fixture *fixture)
{
    char yaml[4096] = "devices:\n", name[32];
    for (unsigned int i = 0; i < DEVICES; i++) {
        size_t used = strlen(yaml);
        snprintf(yaml + used, sizeof(yaml) - used,
                 "  - {id: %u, type: block, data_plane: virtio, mmio_addr: 0x%llx, file_path: "
                 "\"@/disk%u.img\"}\n",
                 i, (unsigned long long)base_of(i), i);
        snprintf(name, sizeof(name), "disk%u.img", i);
        fixture_make_image(fixture, name, SECTORS);
    }
    fixture_configure(fixture, yaml);
}

static void pattern(unsigned int id, unsigned int round, uint8_t ret[512])
{
    for (unsigned int i = 0; i < 512; i++)
        ret[i] = (uint8_t)(id * 31 + round * 7 + i);
}

static void *drive(void *argument)
{
    struct vcpu *vcpu = argument;
    struct guest_block block = {0};
    fixture_guest(vcpu->fixture, vcpu->id, &block.guest);
    block.guest.base = base_of(vcpu->id);
    if (guest_block_start(&block, GUEST_BLOCK_FEATURES, DEPTH, 512) < 0) {
        vcpu->wrong++;
        return NULL;
    }
    for (unsigned int round = 0; round < ROUNDS; round++) {
        uint8_t data[512], expected[512];
        uint64_t sector = (round * 37 + vcpu->id) % SECTORS;
        pattern(vcpu->id, round, expected);
        memcpy(data, expected, sizeof(data));
        int written = guest_block_io(&block, VIRTIO_BLK_T_OUT, sector, data, 512);
        memset(data, 0, sizeof(data));
        int read = guest_block_io(&block, VIRTIO_BLK_T_IN, sector, data, 512);
        if (written != VIRTIO_BLK_S_OK || read != VIRTIO_BLK_S_OK ||
            memcmp(data, expected, sizeof(data)) != 0)
            vcpu->wrong++;
        vcpu->done++;
    }
    guest_block_free(&block);
    return NULL;
}

static void start_all(struct fixture *fixture, struct vcpu vcpus[DEVICES])
{
    fixture_init(fixture);
    configure(fixture);
    fixture_start(fixture, DEVICES, 0);
    for (unsigned int i = 0; i < DEVICES; i++) {
        uint64_t value = 0;
        CU_ASSERT_EQUAL(standin_read(fixture->standin, i, base_of(i), 4, &value, 20000), 0);
        CU_ASSERT_EQUAL(value, 0x74726976);
        fixture->workers[i] = fixture_worker(fixture, i);
        vcpus[i] = (struct vcpu){.fixture = fixture, .id = i};
    }
    fixture->broker = standin_find_process(fixture->standin, "bao-virtio-broker", 0);
}

static void run(struct vcpu vcpus[DEVICES])
{
    for (unsigned int i = 0; i < DEVICES; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&vcpus[i].thread, NULL, drive, &vcpus[i]), 0);
}

static void join(struct vcpu vcpus[DEVICES])
{
    for (unsigned int i = 0; i < DEVICES; i++) {
        pthread_join(vcpus[i].thread, NULL);
        CU_ASSERT_EQUAL(vcpus[i].wrong, 0);
        CU_ASSERT_EQUAL(vcpus[i].done, ROUNDS);
    }
}

/* The effective user; 0 if it can't be found. */
static unsigned int user_of(pid_t pid)
{
    char path[64], line[128];
    unsigned int real, effective = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof(line), status)) {
        if (sscanf(line, "Uid: %u %u", &real, &effective) == 2)
            break;
    }
    if (status)
        fclose(status);
    return effective;
}

/* The worker's pid is in the log, whichever comes first to the broker: the news of the worker's
 * start, or what the worker says. */
static void assert_named_in_log(const struct fixture *fixture)
{
    char *log = fixture_log(fixture);
    for (unsigned int i = 0; i < DEVICES; i++) {
        char ready[64];
        snprintf(ready, sizeof(ready), ": worker %d ready", (int)fixture->workers[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(log, ready));
    }
    free(log);
}

static void each_has_a_worker_and_a_user_of_its_own(void)
{
    struct fixture fixture;
    static struct vcpu vcpus[DEVICES];
    unsigned int users[DEVICES];
    start_all(&fixture, vcpus);
    for (unsigned int i = 0; i < DEVICES; i++) {
        CU_ASSERT_FATAL(fixture.workers[i] > 0);
        users[i] = user_of(fixture.workers[i]);
        CU_ASSERT_NOT_EQUAL(users[i], 0);
        for (unsigned int j = 0; j < i; j++) {
            CU_ASSERT_NOT_EQUAL(fixture.workers[j], fixture.workers[i]);
            CU_ASSERT_NOT_EQUAL(users[j], users[i]);
        }
    }
    run(vcpus);
    join(vcpus);
    fixture_assert_never_restarted(&fixture);
    assert_named_in_log(&fixture);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void the_death_of_one_worker_is_not_seen_by_the_others(void)
{
    struct fixture fixture;
    static struct vcpu vcpus[DEVICES];
    start_all(&fixture, vcpus);
    run(vcpus);
    for (unsigned int i = 0; i < 3; i++) {
        pid_t before = fixture_worker(&fixture, 5);
        kill(before, SIGKILL);
        CU_ASSERT_FATAL(fixture_wait_worker(&fixture, 5, before) > 0);
    }
    join(vcpus);
    for (unsigned int i = 0; i < DEVICES; i++) {
        if (i != 5)
            CU_ASSERT_EQUAL(fixture_worker(&fixture, i), fixture.workers[i]);
    }
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void the_death_of_the_broker_is_survived_by_all(void)
{
    struct fixture fixture;
    static struct vcpu vcpus[DEVICES];
    start_all(&fixture, vcpus);
    run(vcpus);
    for (unsigned int i = 0; i < 2; i++) {
        pid_t before = standin_find_process(fixture.standin, "bao-virtio-broker", 0);
        kill(before, SIGKILL);
        CU_ASSERT_FATAL(fixture_wait_broker(&fixture, before) > 0);
        usleep(200000);
    }
    join(vcpus);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"each has a worker and a user of its own", each_has_a_worker_and_a_user_of_its_own},
        {"the death of one worker is not seen by the others",
         the_death_of_one_worker_is_not_seen_by_the_others},
        {"the death of the broker is survived by all", the_death_of_the_broker_is_survived_by_all},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "many devices", tests);
}
