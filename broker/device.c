/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/dispatcher.h"
#include "broker/log.h"
#include "broker/shared_page.h"
#include "common/eventfd.h"

#define CLAIM_MS 10000 /* how long the kernel may take to end killed processes */
#define CLAIM_LOOK_MS 5
#define STORED_MS 20000 /* the service manager may be busy */

void device_init(struct device *device, const struct device_config *config)
{
    device->config = config;
    device->info = &device_kinds[config->kind];
    snprintf(device->name, sizeof(device->name), "%s %u", config->type_name, config->id);
    device->dm = device->state_fd = device->state_stored_fd = device->journal_fd = -1;
    device->claim_fd = -1;
    backend_init(&device->backend, config);
    device->opening = (struct opening){.socket = -1};
    device->queue_count = device->backend.ops->queues ? device->backend.ops->queues(config)
                                                      : device->info->queue_count;
    device->backend_watched = -1;
    device->worker = WORKER_NONE;
}

/* --- Made once ------------------------------------------------------------------------------ */

static int new_eventfd(int *ret)
{
    *ret = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return *ret < 0 ? -errno : 0;
}

static int make_eventfds(struct device *device)
{
    int result = new_eventfd(&device->request);
    if (result == 0)
        result = new_eventfd(&device->reply);
    if (result == 0)
        result = new_eventfd(&device->call);
    if (result == 0)
        result = new_eventfd(&device->irq);
    for (uint32_t q = 0; result == 0 && q < device->queue_count; q++)
        result = new_eventfd(&device->kicks[q]);
    return result;
}

/* `journal`: a locked open file on the journal. The mapping keeps the lock. */
static int map_pages(struct device *device, int journal)
{
    device->state = shared_page_map(device->state_fd, STATE_SIZE);
    device->journal = shared_page_map(journal, JOURNAL_SIZE);
    return device->state && device->journal ? 0 : -errno;
}

/* Close the fds of both pages. For the journal the mapping is enough, since no other process is
 * ever given it. */
static void close_stored_pages(struct device *device)
{
    close(device->journal_fd);
    close(device->state_stored_fd);
    device->journal_fd = device->state_stored_fd = -1;
}

static int make_pages(struct device *device)
{
    device->state_stored_fd = shared_page_create("state", STATE_SIZE);
    if (device->state_stored_fd < 0)
        return device->state_stored_fd;
    device->state_fd = shared_page_claim(device->state_stored_fd);
    if (device->state_fd < 0)
        return device->state_fd;
    device->journal_fd = shared_page_create("journal", JOURNAL_SIZE);
    if (device->journal_fd < 0)
        return device->journal_fd;
    int journal = shared_page_claim(device->journal_fd);
    if (journal < 0)
        return journal;
    int result = map_pages(device, journal);
    close(journal);
    if (result == 0)
        journal_init(device->journal);
    return result;
}

/* If the driver knows the interrupt by itself, the configuration's value is not used. It may then
 * be wrong, or counted differently. */
static void note_irq(const struct device *device, const struct dispatcher_device *found)
{
    const struct device_config *config = device->config;
    if (config_has(config, CONFIG_KEY_IRQ) && config->irq != found->irq)
        log_info(device->name,
                 "irq is %u in the configuration, and %u by the driver, which needs no such key: "
                 "it counts otherwise, or one of them is wrong",
                 config->irq, found->irq);
}

static int ask_dispatcher(struct device *device, const struct dispatcher *dispatcher,
                          struct failure *failure)
{
    struct dispatcher_device found = {
        .id = device->config->id,
        .shmem_addr = device->config->shmem_addr,
        .shmem_size = device->config->shmem_size,
        .irq = device->config->irq,
    };
    int result = dispatcher_get_device(dispatcher, &found, failure);
    if (result < 0)
        return result;
    note_irq(device, &found);
    device->dm = found.dm;
    device->generation = found.generation;
    device->shmem_addr = found.shmem_addr;
    device->shmem_size = found.shmem_size;
    return 0;
}

int device_create(struct device *device, const struct dispatcher *dispatcher,
                  struct failure *failure)
{
    int result = device->dm >= 0 ? 0 : ask_dispatcher(device, dispatcher, failure);
    if (result < 0)
        return result;
    device->unsaved = true;
    result = make_eventfds(device);
    if (result == 0)
        result = make_pages(device);
    if (result < 0)
        return failure_set(failure, result, "can't make its eventfds and pages: %s",
                           strerror(-result));
    return 0;
}

/* --- Handed on from broker to broker --------------------------------------------------------- */

/* Wait until the broker of an earlier keeper, which was killed, is gone. */
static int claim_journal(const struct device *device)
{
    int64_t end = clock_ms() + CLAIM_MS;
    bool told = false;
    for (;;) {
        int journal = shared_page_claim(device->journal_fd);
        if (journal != -EWOULDBLOCK || clock_ms() >= end)
            return journal;
        if (!told)
            log_line(device->name, "waiting for the processes of an earlier run to end");
        told = true;
        poll(NULL, 0, CLAIM_LOOK_MS);
    }
}

static bool same_version(const struct device *device)
{
    return device->state->magic == 0 ||
           (device->state->magic == STATE_MAGIC && device->state->version == STATE_VERSION);
}

/*
 * The content of the state page must not be read. So the driver has to reset the device. But a
 * request that was taken is completed, as long as the journal can be read.
 */
static int replace_pages(struct device *device, int journal)
{
    struct journal *before = NULL;
    /* A worker that may still use the old page can also access the frontend's memory. */
    device->claim_fd = device->state_fd;
    if (shared_page_is(journal, JOURNAL_SIZE))
        before = shared_page_map(journal, JOURNAL_SIZE);
    close_stored_pages(device);
    int result = make_pages(device);
    if (result < 0)
        return result;
    if (before && journal_usable(before))
        memcpy(device->journal, before, sizeof(*before));
    atomic_store(&device->journal->given_up, 1);
    /* The driver may be running, so an interrupt has to tell it. */
    device->state->transport.status = VIRTIO_CONFIG_S_DRIVER_OK;
    device->unsaved = true;
    log_line(device->name,
             "another version of this program ran it: it needs a reset by its driver");
    return 0;
}

static int read_pages(struct device *device, int journal, bool readable)
{
    if (!readable || !shared_page_is(device->state_stored_fd, STATE_SIZE) ||
        !shared_page_is(device->journal_fd, JOURNAL_SIZE))
        return replace_pages(device, journal);
    int result = map_pages(device, journal);
    if (result < 0)
        return result;
    if (!journal_usable(device->journal) || !same_version(device))
        return replace_pages(device, journal);
    close_stored_pages(device);
    device->claim_fd = device->state_fd;
    return 0;
}

static int restore_pages(struct device *device, bool readable)
{
    int journal = claim_journal(device);
    if (journal < 0)
        return journal;
    int result = 0;
    device->state_fd = shared_page_reopen(device->state_stored_fd);
    if (device->state_fd < 0)
        result = device->state_fd;
    else
        result = read_pages(device, journal, readable);
    close(journal);
    return result;
}

int device_claim(struct device *device)
{
    if (device->claim_fd < 0)
        return 0;
    int result = shared_page_lock(device->claim_fd);
    if (result < 0)
        return result;
    if (device->claim_fd != device->state_fd)
        close(device->claim_fd);
    device->claim_fd = -1;
    return 0;
}

int device_refuses(const struct device *device, const struct message_store *stored, size_t fd_count,
                   struct failure *failure)
{
    const struct device_config *config = device->config;
    if (stored->condition == STORE_UNUSABLE)
        return failure_set(failure, -EINVAL,
                           "the service manager has lost some of its files (is "
                           "FileDescriptorStoreMax at least 640?), so it can't work: end the "
                           "frontend, and restart this machine");
    if (stored->generation >= BAO_GENERATIONS)
        return failure_set(failure, -EINVAL,
                           "a newer version of this program has made it, by a driver that this one "
                           "does not know: use that version");
    /* Another version may use other numbers for the kinds. */
    bool same_kind =
        stored->condition == STORE_OTHER_VERSION || stored->kind == (uint32_t)config->kind;
    if (!same_kind || stored->mmio_addr != config->mmio_addr ||
        stored->fd_count != STORE_QUEUE_FIRST + device->queue_count ||
        fd_count != (stored->condition == STORE_DM_ONLY ? 1 : stored->fd_count))
        return failure_set(
            failure, -EINVAL,
            "the device was started with another type, number of queues or mmio_addr "
            "(0x%llx), which can't change while its frontend runs: undo that, or end "
            "the frontend, stop bao-virtio-dm and start it again",
            (unsigned long long)stored->mmio_addr);
    return 0;
}

int device_restore(struct device *device, const struct message_store *stored, const int *fds,
                   size_t fd_count, struct failure *failure)
{
    int result = device_refuses(device, stored, fd_count, failure);
    if (result < 0)
        return result;
    device->dm = fds[STORE_DM];
    device->generation = (enum bao_generation)stored->generation;
    device->shmem_addr = stored->shmem_addr;
    device->shmem_size = stored->shmem_size;
    if (stored->condition == STORE_DM_ONLY)
        return 0;

    device->restored = true;
    device->state_stored_fd = fds[STORE_STATE];
    device->journal_fd = fds[STORE_JOURNAL];
    device->request = fds[STORE_REQUEST];
    device->reply = fds[STORE_REPLY];
    device->call = fds[STORE_CALL];
    device->irq = fds[STORE_IRQ];
    for (uint32_t q = 0; q < device->queue_count; q++)
        device->kicks[q] = fds[STORE_QUEUE_FIRST + q];

    result = restore_pages(device, stored->condition == STORE_WHOLE);
    if (result == -EWOULDBLOCK)
        return failure_set(failure, result, "a process of an earlier run does not end");
    if (result < 0)
        return failure_set(failure, result, "can't map its stored pages: %s", strerror(-result));
    return 0;
}

static int store(const struct device *device, int keeper)
{
    int fds[STORE_QUEUE_FIRST + STATE_QUEUES_MAX] = {
        [STORE_DM] = device->dm,
        [STORE_STATE] = device->state_stored_fd,
        [STORE_JOURNAL] = device->journal_fd,
        [STORE_REQUEST] = device->request,
        [STORE_REPLY] = device->reply,
        [STORE_CALL] = device->call,
        [STORE_IRQ] = device->irq,
    };
    uint32_t queues = device->queue_count;
    memcpy(&fds[STORE_QUEUE_FIRST], device->kicks, queues * sizeof(fds[0]));
    union message message = {
        .store =
            {
                .header = {.type = MSG_STORE, .device = device->index},
                .dm_id = device->config->id,
                .kind = (uint32_t)device->config->kind,
                .mmio_addr = device->config->mmio_addr,
                .shmem_addr = device->shmem_addr,
                .shmem_size = device->shmem_size,
                .fd_count = STORE_QUEUE_FIRST + queues,
                .generation = (uint32_t)device->generation,
            },
    };
    return message_send(keeper, &message, fds, STORE_QUEUE_FIRST + queues);
}

/* Wait until the keeper has the files: the registrations that follow can't be taken back. */
static int wait_stored(const struct device *device, int keeper)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 0;
    struct pollfd answer = {.fd = keeper, .events = POLLIN};
    if (poll(&answer, 1, STORED_MS) <= 0)
        return -ETIMEDOUT;
    int result = message_receive(keeper, ROLE_KEEPER, &message, fds, &fd_count);
    if (result <= 0)
        return result == 0 ? -EPIPE : result;
    if (message.header.type == MSG_STOP)
        return -ECANCELED;
    return message.header.type == MSG_STORED && message.header.device == device->index ? 0
                                                                                       : -EPROTO;
}

/* For a device that was taken over, two errors are accepted. "Already there": a predecessor may
 * have died before it had registered everything. And "gone", if the driver has given the device up
 * in the meantime: the relay reports this, and the other devices must not stop because of it. */
static int taken_over(const struct device *device, int result, int there_already)
{
    bool fine = result == -there_already || dispatcher_is_gone(result);
    return device->restored && fine ? 0 : result;
}

static int add_to_dispatcher(const struct device *device, struct failure *failure)
{
    const char *node = generations[device->generation].node;
    uint64_t registers = device->config->mmio_addr;
    int result = 0;
    for (uint32_t q = 0; result == 0 && q < device->queue_count; q++) {
        result =
            dispatcher_add_kick(device->generation, device->dm, device->kicks[q], registers, q);
        result = taken_over(device, result, EEXIST);
    }
    if (result < 0)
        return failure_set(failure, result, "%s: IOEVENTFD at 0x%llx: %s", node,
                           (unsigned long long)registers, strerror(-result));
    result = dispatcher_add_irq(device->generation, device->dm, device->irq);
    result = taken_over(device, result, EBUSY);
    if (result < 0)
        return failure_set(failure, result, "%s: IRQFD: %s", node, strerror(-result));
    return 0;
}

int device_register(struct device *device, int keeper, struct failure *failure)
{
    int result = device->unsaved ? store(device, keeper) : 0;
    if (result == 0 && device->unsaved)
        result = wait_stored(device, keeper);
    if (result < 0)
        return failure_set(failure, result, "can't hand its files to the keeper: %s",
                           strerror(-result));
    if (device->unsaved)
        close_stored_pages(device);
    device->unsaved = false;
    return add_to_dispatcher(device, failure);
}

/* --- While it runs ---------------------------------------------------------------------------- */

void device_prepare_relay(struct device *device, int report)
{
    device->interrupt = (struct gate_line){
        .call = device->call,
        .irq = device->irq,
        .sets_no_bits = device->backend.ops->calls_without_worker,
        .state = device->state,
        .journal = device->journal,
    };
    device->relay = (struct relay){
        .dm_id = device->config->id,
        .mmio_addr = device->config->mmio_addr,
        .dm = device->dm,
        .generation = device->generation,
        .request = device->request,
        .reply = device->reply,
        .report = report,
        .state = device->state,
        .journal = device->journal,
        .interrupt = &device->interrupt,
        .limits = relay_limits_default,
    };
}

bool device_driver_ok(const struct device *device)
{
    return (device->state->transport.status & VIRTIO_CONFIG_S_DRIVER_OK) != 0;
}

void device_excuse_death(struct device *device)
{
    device->state->deaths.turn = 0;
}

void device_settle_given_up(struct device *device)
{
    struct state_page *state = device->state;
    if (!atomic_load(&device->journal->given_up))
        return;
    state_reset(state, VIRTIO_CONFIG_S_NEEDS_RESET);
    state->transport.config_generation++;
    state_finish(state, (uint32_t)device->config->kind, device->queue_count);
    atomic_store(&device->journal->given_up, 0);

    atomic_fetch_or(&state->interrupt.pending, VIRTIO_MMIO_INT_CONFIG);
}

void device_refresh_eventfds(struct device *device, bool interrupt)
{
    (void)eventfd_drain(device->reply);
    (void)eventfd_renew(device->request);
    for (uint32_t q = 0; q < device->queue_count; q++)
        (void)eventfd_renew(device->kicks[q]);
    gate_renew(&device->interrupt, interrupt ? VIRTIO_MMIO_INT_VRING : 0);
}
