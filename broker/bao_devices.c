/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/bao_devices.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "broker/log.h"

#define WINDOW_PAGE 4096u /* windows consist of whole pages; this is the smallest page size */

void bao_devices_complain(const struct bao_devices *all, const struct device *device,
                          enum config_key key, const struct failure *failure)
{
    static char where[CONFIG_WHERE_SIZE];
    config_where(all->config, device->config, key, where);
    log_line(device->name, "%s %s", where, failure->text);
}

static int tell(int result, const struct failure *failure)
{
    if (result < 0)
        log_line(NULL, "%s", failure->text);
    return result;
}

/* This generation of the driver does not know the window and interrupt of a device, so the
 * configuration has to say them. */
static int check_told(const struct bao_devices *all, const struct device *device)
{
    const struct device_config *device_config = device->config;
    const bool has_addr = config_has(device_config, CONFIG_KEY_SHMEM_ADDR),
               has_size = config_has(device_config, CONFIG_KEY_SHMEM_SIZE),
               has_irq = config_has(device_config, CONFIG_KEY_IRQ);
    struct failure failure;
    int result = 0;
    if (!has_addr || !has_size || !has_irq)
        result = failure_set(&failure, -EINVAL,
                             "no key%s%s%s: with " BAO_NODE " the driver has to be told window and "
                             "interrupt; expected shmem_addr, shmem_size and irq as shmem.base, "
                             "shmem.size and interrupt of the device in remio_devs of the backend "
                             "VM, in Bao's configuration",
                             has_addr ? "" : " shmem_addr", has_size ? "" : " shmem_size",
                             has_irq ? "" : " irq");
    else if (device_config->shmem_addr % WINDOW_PAGE != 0 ||
             device_config->shmem_size % WINDOW_PAGE != 0 ||
             device_config->shmem_size > UINT64_MAX - device_config->shmem_addr)
        result = failure_set(&failure, -EINVAL,
                             "shmem_addr 0x%" PRIx64 " and shmem_size 0x%" PRIx64
                             ": expected multiples of 0x%x, below 2^64 together",
                             device_config->shmem_addr, device_config->shmem_size, WINDOW_PAGE);
    if (result < 0)
        bao_devices_complain(all, device, CONFIG_KEY_ID, &failure);
    return result;
}

int bao_devices_open(const struct bao_devices *all, struct dispatcher *dispatcher)
{
    struct failure failure;
    int result = tell(dispatcher_find(dispatcher, &failure), &failure);
    if (result < 0)
        return result;
    for (size_t i = 0; i < all->count; i++) {
        bool told = generations[dispatcher->generation].told && all->devices[i].dm < 0;
        if (told && check_told(all, &all->devices[i]) < 0)
            result = -EINVAL;
    }
    return result < 0 ? result : tell(dispatcher_open(dispatcher, &failure), &failure);
}

bool bao_devices_any_new(const struct bao_devices *all)
{
    for (size_t i = 0; i < all->count; i++) {
        if (!all->devices[i].restored)
            return true;
    }
    return false;
}

int bao_devices_create(const struct bao_devices *all, const struct dispatcher *dispatcher)
{
    struct failure failure;
    for (size_t i = 0; i < all->count; i++) {
        if (all->devices[i].restored)
            continue;
        int result = device_create(&all->devices[i], dispatcher, &failure);
        if (result < 0) {
            bao_devices_complain(all, &all->devices[i], CONFIG_KEY_ID, &failure);
            return result;
        }
    }
    return 0;
}

int bao_devices_check_generations(const struct bao_devices *all)
{
    const struct generation *first = &generations[all->devices[0].generation];
    for (size_t i = 1; i < all->count; i++) {
        const struct generation *other = &generations[all->devices[i].generation];
        if (strcmp(first->policy, other->policy) == 0)
            continue;
        log_line(all->devices[i].name,
                 "it is of the driver's generation %s, and %s is of %s: expected one driver for "
                 "all; stop bao-virtio-dm and start it again",
                 other->name, all->devices[0].name, first->name);
        return -EEXIST;
    }
    return 0;
}

int bao_devices_register(const struct bao_devices *all, int keeper)
{
    struct failure failure;
    for (size_t i = 0; i < all->count; i++) {
        int result = device_register(&all->devices[i], keeper, &failure);
        if (result < 0) {
            bao_devices_complain(all, &all->devices[i], CONFIG_KEY_ID, &failure);
            return result;
        }
    }
    return 0;
}
