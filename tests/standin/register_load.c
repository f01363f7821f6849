/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/register_load.h"

#include <stdio.h>

#define ACCESSES_MIN 10 /* fewer accesses prove nothing */

static const struct {
    uint64_t offset, value;
} known[] = {
    {VIRTIO_MMIO_MAGIC_VALUE, 0x74726976},
    {VIRTIO_MMIO_VERSION, 2},
    {VIRTIO_MMIO_DEVICE_ID, VIRTIO_ID_BLOCK},
    {VIRTIO_MMIO_CONFIG, FIXTURE_IMAGE_SECTORS},
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

static void *access_registers(void *argument)
{
    struct register_load *load = argument;
    struct guest *guest = &load->guest;
    /* A busy machine may have given it no time so far. */
    for (size_t i = 0;
         (!atomic_load(&load->stop) || load->accesses <= ACCESSES_MIN) && load->wrong == 0;
         i = (i + 1) % KNOWN) {
        uint64_t value = guest_read(guest, known[i].offset, 4);
        unsigned int accesses = atomic_fetch_add(&load->accesses, 1) + 1;
        load->wrong += guest->error < 0 || value != known[i].value;
        if (load->wrong > 0)
            fprintf(stderr, "\nregister %#llx: %#llx, error %d, after %u\n",
                    (unsigned long long)known[i].offset, (unsigned long long)value, guest->error,
                    accesses);
    }
    return NULL;
}

void register_load_start(struct register_load *load, struct fixture *fixture, unsigned int id,
                         int timeout_ms)
{
    *load = (struct register_load){0};
    fixture_guest(fixture, id, &load->guest);
    load->guest.timeout_ms = timeout_ms;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&load->thread, NULL, access_registers, load), 0);
}

void register_load_stop(struct register_load *load)
{
    atomic_store(&load->stop, true);
    pthread_join(load->thread, NULL);
    CU_ASSERT_EQUAL(load->wrong, 0);
    CU_ASSERT(atomic_load(&load->accesses) > ACCESSES_MIN);
}
