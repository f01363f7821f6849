/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/cell.h"

#include <string.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define PATIENCE_MS 40000 /* longer than the asserted limits, so that the times can be reported */
#define PAUSE_US 1000     /* pause between two rounds: the load leaves the machine some time */
#define DEPTH 4
#define SIZE 4096u

#define RNG_FEATURES                                                                               \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_EVENT_IDX)

static const uint32_t running = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK;

/* Write and read one request, compare it, and read one register. */
static bool do_block(struct witness *witness, uint64_t round)
{
    uint8_t data[SIZE], expected[SIZE];
    const uint64_t sector = round * 37 % (FIXTURE_IMAGE_SECTORS - SIZE / 512);
    const bool write = round % 4 == 3;
    struct guest_block *block = &witness->block;
    for (uint32_t i = 0; i < SIZE / 512; i++)
        fixture_sector(sector + i, expected + 512ul * i);
    memset(block->requests[0].data, 0, SIZE);
    memcpy(data, expected, SIZE);
    int status =
        guest_block_io(block, write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, sector, data, SIZE);
    return status == VIRTIO_BLK_S_OK && memcmp(data, expected, SIZE) == 0 &&
           guest_status(&block->guest) == running;
}

static bool do_rng(struct witness *witness)
{
    rng_load_run(&witness->rng);
    return witness->rng.wrong == 0 && guest_status(&witness->rng.guest) == running;
}

static void *work(void *argument)
{
    struct witness *witness = argument;
    uint64_t last = now_ns();
    for (uint64_t round = 0; !atomic_load(&witness->stop) && witness->wrong == 0; round++) {
        const bool ok = witness->id == 3 ? do_rng(witness) : do_block(witness, round);
        const uint64_t now = now_ns();
        if (now - last > atomic_load(&witness->pause_ns))
            atomic_store(&witness->pause_ns, now - last);
        last = now;
        witness->wrong += !ok;
        atomic_fetch_add(&witness->rounds, 1);
        usleep(PAUSE_US);
    }
    return NULL;
}

void witness_start(struct witness *witness, struct fixture *fixture, unsigned int id)
{
    *witness = (struct witness){.id = id};
    if (id == 3) {
        fixture_guest(fixture, id, &witness->rng.guest);
        CU_ASSERT_EQUAL_FATAL(rng_load_start(&witness->rng, RNG_FEATURES), 0);
        witness->rng.guest.timeout_ms = PATIENCE_MS;
    } else {
        fixture_block(fixture, id, &witness->block, GUEST_BLOCK_FEATURES, DEPTH, SIZE);
        witness->block.guest.timeout_ms = PATIENCE_MS;
    }
    CU_ASSERT_EQUAL_FATAL(pthread_create(&witness->thread, NULL, work, witness), 0);
}

void witness_stop(struct witness *witness)
{
    atomic_store(&witness->stop, true);
    pthread_join(witness->thread, NULL);
    CU_ASSERT_EQUAL(witness->wrong, 0);
    if (witness->id == 3) {
        rng_load_end(&witness->rng);
        CU_ASSERT_EQUAL(witness->rng.wrong, 0);
    } else {
        guest_block_free(&witness->block);
    }
}

bool witness_gets_on(struct witness *witness, unsigned int rounds, int timeout_ms)
{
    const unsigned int before = atomic_load(&witness->rounds);
    const uint64_t end = now_ms() + (uint64_t)timeout_ms;
    while (atomic_load(&witness->rounds) - before < rounds) {
        if (now_ms() > end)
            return false;
        usleep(1000);
    }
    return true;
}

static void *watch_registers(void *argument)
{
    struct register_watch *watch = argument;
    while (!atomic_load(&watch->stop) && watch->error == 0) {
        uint64_t value = 0;
        const uint64_t before = now_ns();
        watch->error = standin_read(watch->fixture->standin, 0,
                                    fixture_base(0) + VIRTIO_MMIO_STATUS, 4, &value, PATIENCE_MS);
        const uint64_t took = now_ns() - before;
        if (took > watch->longest_ns)
            watch->longest_ns = took;
        watch->needed_reset |= (value & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
        watch->accesses++;
        usleep(5 * PAUSE_US);
    }
    return NULL;
}

void register_watch_start(struct register_watch *watch, struct fixture *fixture)
{
    *watch = (struct register_watch){.fixture = fixture};
    CU_ASSERT_EQUAL_FATAL(pthread_create(&watch->thread, NULL, watch_registers, watch), 0);
}

void register_watch_stop(struct register_watch *watch)
{
    atomic_store(&watch->stop, true);
    pthread_join(watch->thread, NULL);
    CU_ASSERT_EQUAL(watch->error, 0);
    CU_ASSERT(watch->accesses > 0);
}
