/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives a broker is made once, is handed to the keeper before the driver knows of it, and
 * is taken over by the next broker as it was. Only one broker and its workers use it at a time. The
 * driver and the keeper are this test; time passes only when it says so.
 */
#include "tests/unit/device_under_test.h"

/* ---- Taken over ---- */

/* The device ran, and its broker has ended: the keeper has it. */
static void ran(const char *text)
{
    begin(text);
    CU_ASSERT_EQUAL(create(0), 0);
    CU_ASSERT_EQUAL(reg(0), 0);
    devices[0].state->transport.config_generation = 77;
    devices[0].journal->doubts = 5;
    forget(&devices[0]);
    kicks_added = irqs_added = 0;
}

static int restore(void)
{
    int result = device_restore(&devices[0], &kept, kept_fds, kept_count, &failure);
    if (result == 0) /* on success they are the device's */
        kept_count = 0;
    return result;
}

static void the_next_broker_goes_on(void)
{
    ran(BLOCK("1"));
    int copies[STORE_QUEUE_FIRST + 2];
    const unsigned int before = fd_count();
    memcpy(copies, kept_fds, sizeof(copies));
    struct device *device = &devices[0];
    CU_ASSERT_EQUAL(restore(), 0);
    CU_ASSERT_TRUE(device->restored);
    CU_ASSERT_FALSE(device->unsaved);
    CU_ASSERT_EQUAL(device->generation, BAO_B);
    CU_ASSERT(device->shmem_addr == WINDOW && device->shmem_size == WINDOW_SIZE);
    CU_ASSERT_EQUAL(device->dm, copies[STORE_DM]);
    CU_ASSERT(device->request == copies[STORE_REQUEST] && device->reply == copies[STORE_REPLY]);
    CU_ASSERT(device->call == copies[STORE_CALL] && device->irq == copies[STORE_IRQ]);
    CU_ASSERT_EQUAL(device->kicks[0], copies[STORE_QUEUE_FIRST]);
    CU_ASSERT_EQUAL(device->kicks[1], copies[STORE_QUEUE_FIRST + 1]);
    CU_ASSERT_EQUAL(device->kicks[2], 0); /* it has no third queue */
    CU_ASSERT_STRING_EQUAL(failure.text, "");
    CU_ASSERT_EQUAL(device->state->transport.config_generation, 77);
    CU_ASSERT_EQUAL(device->journal->doubts, 5);
    CU_ASSERT_EQUAL(device->journal->given_up, 0);
    /* Of two files of pages, one more of the state page is left: this broker's own. */
    CU_ASSERT_EQUAL(fd_count(), before - 1);
    CU_ASSERT(device->journal_fd == -1 && device->state_stored_fd == -1);
    CU_ASSERT_EQUAL(device->claim_fd, device->state_fd);
    CU_ASSERT_FALSE(is_locked(device->state_fd));
    CU_ASSERT_EQUAL(device_claim(device), 0);
    CU_ASSERT_TRUE(is_locked(device->state_fd));
    CU_ASSERT_EQUAL(device->claim_fd, -1);
    CU_ASSERT(fcntl(device->state_fd, F_GETFD) >= 0); /* workers get it */
    CU_ASSERT_EQUAL(device_claim(device), 0);
    CU_ASSERT_EQUAL(reg(0), 0);
    CU_ASSERT_EQUAL(kicks_added, 2);
    end();
}

static void a_device_of_which_only_the_dm_file_is_left_is_made_anew(void)
{
    ran(BLOCK("1"));
    kept.condition = STORE_DM_ONLY;
    while (kept_count > 1)
        close(kept_fds[--kept_count]);
    CU_ASSERT_EQUAL(restore(), 0);
    CU_ASSERT_FALSE(devices[0].restored);
    CU_ASSERT_PTR_NULL(devices[0].state);
    const unsigned int asked = gets;
    CU_ASSERT_EQUAL(create(0), 0);
    CU_ASSERT_EQUAL(gets, asked);
    CU_ASSERT_EQUAL(devices[0].shmem_addr, WINDOW);
    CU_ASSERT_TRUE(devices[0].unsaved);
    end();
}

static void is_replaced(void)
{
    struct device *device = &devices[0];
    said_begin(&said, STDERR_FILENO);
    CU_ASSERT_EQUAL(restore(), 0);
    CU_ASSERT_STRING_EQUAL(
        said_end(&said),
        "bao-virtio-dm: rng 1: another version of this program ran it: it needs a reset by its "
        "driver\n");
    CU_ASSERT_TRUE(device->restored);
    CU_ASSERT_TRUE(device->unsaved); /* the keeper gets the new pages */
    CU_ASSERT_EQUAL(device->state->transport.config_generation, 0);
    CU_ASSERT_EQUAL(device->state->transport.status, VIRTIO_CONFIG_S_DRIVER_OK);
    CU_ASSERT_EQUAL(device->journal->given_up, 1);
    CU_ASSERT_TRUE(journal_usable(device->journal));
    CU_ASSERT_TRUE(is_locked(device->state_fd));
    CU_ASSERT_TRUE(is_locked(device->journal_fd));
    CU_ASSERT(device->claim_fd >= 0 && device->claim_fd != device->state_fd);
}

static void a_page_of_another_version_is_not_read(void)
{
    ran(RNG("1"));
    kept.condition = STORE_OTHER_VERSION;
    kept.kind = 99; /* another version's numbers */
    is_replaced();
    CU_ASSERT_EQUAL(devices[0].journal->doubts, 5); /* its journal can be read */
    /* The last worker may still have the old page. */
    int old = devices[0].claim_fd;
    int its = shared_page_claim(old);
    CU_ASSERT_EQUAL(device_claim(&devices[0]), -EWOULDBLOCK);
    CU_ASSERT_EQUAL(devices[0].claim_fd, old);
    close(its);
    CU_ASSERT_EQUAL(device_claim(&devices[0]), 0);
    CU_ASSERT_EQUAL(devices[0].claim_fd, -1);
    CU_ASSERT_EQUAL(fcntl(old, F_GETFD), -1);
    CU_ASSERT_EQUAL(reg(0), 0);
    CU_ASSERT_FALSE(devices[0].unsaved);
    end();
}

static void change_page(enum store_item item, size_t offset, uint32_t value)
{
    CU_ASSERT_EQUAL(pwrite(kept_fds[item], &value, sizeof(value), (off_t)offset), sizeof(value));
}

static void a_page_that_says_so_is_not_read_either(void)
{
    ran(RNG("1"));
    change_page(STORE_STATE, 0, 1); /* another magic number */
    is_replaced();
    CU_ASSERT_EQUAL(devices[0].journal->doubts, 5);
    end();
    ran(RNG("1"));
    uint64_t magic = STATE_MAGIC;
    CU_ASSERT_EQUAL(pwrite(kept_fds[STORE_STATE], &magic, sizeof(magic), 0), sizeof(magic));
    change_page(STORE_STATE, offsetof(struct state_page, version), STATE_VERSION + 1);
    is_replaced();
    end();
    ran(RNG("1"));
    change_page(STORE_JOURNAL, offsetof(struct journal, version), JOURNAL_VERSION + 1);
    is_replaced();
    CU_ASSERT_EQUAL(devices[0].journal->doubts, 0);
    end();
}

static void a_page_of_another_size_is_not_read_either(void)
{
    for (enum store_item item = STORE_STATE; item <= STORE_JOURNAL; item++) {
        ran(RNG("1"));
        int smaller = shared_page_create("smaller", 2048);
        CU_ASSERT_EQUAL(dup3(smaller, kept_fds[item], O_CLOEXEC), kept_fds[item]);
        close(smaller);
        is_replaced();
        CU_ASSERT_EQUAL(devices[0].journal->doubts, item == STORE_STATE ? 5 : 0);
        end();
    }
}

static void a_page_that_this_version_wrote_is_read(void)
{
    ran(RNG("1"));
    uint64_t magic = STATE_MAGIC;
    CU_ASSERT_EQUAL(pwrite(kept_fds[STORE_STATE], &magic, sizeof(magic), 0), sizeof(magic));
    change_page(STORE_STATE, offsetof(struct state_page, version), STATE_VERSION);
    CU_ASSERT_EQUAL(restore(), 0);
    CU_ASSERT_EQUAL(devices[0].state->transport.config_generation, 77);
    CU_ASSERT_EQUAL(devices[0].journal->given_up, 0);
    end();
}

static void brokers_of_an_earlier_run_are_waited_for_but_not_for_ever(void)
{
    ran(RNG("1"));
    int theirs = shared_page_claim(kept_fds[STORE_JOURNAL]);
    const int64_t before = now_ms;
    said_begin(&said, STDERR_FILENO);
    fails_with(restore(), -EWOULDBLOCK, "a process of an earlier run does not end");
    CU_ASSERT_STRING_EQUAL(
        said_end(&said),
        "bao-virtio-dm: rng 1: waiting for the processes of an earlier run to end\n");
    CU_ASSERT_EQUAL(now_ms - before, 10000);
    close(theirs);
    kept_count = 0;
    forget(&devices[0]);
    end();
}

static void each_kept_page_may_have_the_number_0(void)
{
    ran(RNG("1"));
    zero_call = "claim"; /* of the journal, which is mapped */
    zero_later = 0;
    CU_ASSERT_EQUAL(restore(), 0);
    CU_ASSERT_FALSE(is_0_used(NULL));
    CU_ASSERT_EQUAL(devices[0].journal->doubts, 5);
    end();
    ran(RNG("1"));
    zero_call = "reopen"; /* of the state page */
    zero_later = 0;
    CU_ASSERT_EQUAL(restore(), 0);
    CU_ASSERT(devices[0].state_fd == 0 && devices[0].claim_fd == 0);
    CU_ASSERT_EQUAL(device_claim(&devices[0]), 0);
    CU_ASSERT_EQUAL(devices[0].claim_fd, -1); /* it has been locked */
    CU_ASSERT_TRUE(is_locked(0));
    CU_ASSERT_TRUE(is_0_used(&devices[0].state_fd));
    end();
}

static void is_not_restored(const char *call, unsigned int later, uint32_t condition)
{
    ran(RNG("1"));
    kept.condition = condition;
    fail_once(call, ENOMEM, later);
    said_begin(&said, STDERR_FILENO);
    fails_with(restore(), -ENOMEM, "can't map its stored pages: Cannot allocate memory");
    CU_ASSERT_STRING_EQUAL(said_end(&said), "");
    CU_ASSERT_PTR_NULL(failing.call);
    kept_count = 0;
    forget(&devices[0]);
    end();
}

static void a_page_that_can_t_be_taken_over_is_told(void)
{
    is_not_restored("claim", 0, STORE_WHOLE);
    is_not_restored("reopen", 0, STORE_WHOLE);
    is_not_restored("map", 0, STORE_WHOLE);
    is_not_restored("map", 1, STORE_WHOLE);
    is_not_restored("create", 0, STORE_OTHER_VERSION);
    is_not_restored("create", 1, STORE_OTHER_VERSION);
}

static void refuses(const char *words)
{
    const unsigned int before = fd_count();
    fails_with(restore(), -EINVAL, words);
    CU_ASSERT_EQUAL(fd_count(), before);
    CU_ASSERT_EQUAL(devices[0].dm, -1);
    failure.text[0] = '\0';
    CU_ASSERT_EQUAL(device_refuses(&devices[0], &kept, kept_count, &failure), -EINVAL);
}

static void what_is_another_device_is_refused(void)
{
    static const char other[] =
        "the device was started with another type, number of queues or mmio_addr (0x%x), which "
        "can't change while its frontend runs: undo that, or end the frontend, stop bao-virtio-dm "
        "and start it again";
    char words[FAILURE_SIZE];
    ran(BLOCK("1"));
    const struct message_store good = kept;
    snprintf(words, sizeof(words), other, MMIO);
    kept.kind = DEVICE_RNG_VIRTIO;
    refuses(words);
    kept = good;
    kept.fd_count--;
    kept_count--;
    refuses(words);
    kept_count++;
    kept = good;
    kept.mmio_addr += 4;
    snprintf(words, sizeof(words), other, MMIO + 4);
    refuses(words);
    snprintf(words, sizeof(words), other, MMIO);
    kept = good;
    kept.condition = STORE_DM_ONLY; /* but more comes with it */
    refuses(words);
    kept = good;
    kept_count--;
    refuses(words);
    kept_count++;
    kept.condition = STORE_UNUSABLE;
    refuses("the service manager has lost some of its files (is FileDescriptorStoreMax at least "
            "640?), so it can't work: end the frontend, and restart this machine");
    kept = good;
    kept.generation = BAO_GENERATIONS;
    refuses("a newer version of this program has made it, by a driver that this one does not know: "
            "use that version");
    kept = good;
    CU_ASSERT_EQUAL(device_refuses(&devices[0], &kept, kept_count, &failure), 0);
    end();
}

/* ---- While it runs ---- */

static void relay_and_gate_get_what_is_the_device_s(void)
{
    begin(BLOCK("1"));
    CU_ASSERT_EQUAL(create(0), 0);
    struct device *device = &devices[0];
    device_prepare_relay(device, 321);
    CU_ASSERT_EQUAL(device->relay.dm_id, 1);
    CU_ASSERT_EQUAL(device->relay.mmio_addr, MMIO);
    CU_ASSERT(device->relay.dm == device->dm && device->relay.generation == BAO_B);
    CU_ASSERT(device->relay.request == device->request && device->relay.reply == device->reply);
    CU_ASSERT_EQUAL(device->relay.report, 321);
    CU_ASSERT(device->relay.state == device->state && device->relay.journal == device->journal);
    CU_ASSERT_PTR_EQUAL(device->relay.interrupt, &device->interrupt);
    CU_ASSERT_EQUAL(
        memcmp(&device->relay.limits, &relay_limits_default, sizeof(relay_limits_default)), 0);
    CU_ASSERT(device->interrupt.call == device->call && device->interrupt.irq == device->irq);
    CU_ASSERT_FALSE(device->interrupt.sets_no_bits);
    CU_ASSERT(device->interrupt.state == device->state);
    CU_ASSERT(device->interrupt.journal == device->journal);
    end();
}

static void a_device_that_was_given_up_needs_a_reset(void)
{
    begin(BLOCK("1"));
    CU_ASSERT_EQUAL(create(0), 0);
    struct state_page *state = devices[0].state;
    state->transport.status = VIRTIO_CONFIG_S_DRIVER_OK;
    CU_ASSERT_TRUE(device_driver_ok(&devices[0]));
    state->transport.config_generation = 3;
    device_settle_given_up(&devices[0]); /* it was not */
    CU_ASSERT_EQUAL(state->transport.config_generation, 3);
    CU_ASSERT_TRUE(device_driver_ok(&devices[0]));
    atomic_store(&devices[0].journal->given_up, 1);
    device_settle_given_up(&devices[0]);
    CU_ASSERT_EQUAL(state->transport.status, VIRTIO_CONFIG_S_NEEDS_RESET);
    CU_ASSERT_FALSE(device_driver_ok(&devices[0]));
    CU_ASSERT_EQUAL(state->transport.config_generation, 4);
    CU_ASSERT_EQUAL(atomic_load(&state->interrupt.pending), VIRTIO_MMIO_INT_CONFIG);
    CU_ASSERT_EQUAL(state->magic, STATE_MAGIC);
    CU_ASSERT_EQUAL(state->kind, DEVICE_BLOCK_VIRTIO);
    CU_ASSERT_EQUAL(state->queue_count, 2);
    CU_ASSERT_EQUAL(atomic_load(&devices[0].journal->given_up), 0);
    end();
}

static void a_death_that_was_asked_for_is_excused(void)
{
    begin(BLOCK("1"));
    CU_ASSERT_EQUAL(create(0), 0);
    devices[0].state->deaths.turn = 12;
    device_excuse_death(&devices[0]);
    CU_ASSERT_EQUAL(devices[0].state->deaths.turn, 0);
    end();
}

static void fill(int fd)
{
    const uint64_t full = UINT64_MAX - 1;
    CU_ASSERT_EQUAL(write(fd, &full, sizeof(full)), sizeof(full));
}

static uint64_t value_of(int fd)
{
    uint64_t value = 0;
    return read(fd, &value, sizeof(value)) == (ssize_t)sizeof(value) ? value : 0;
}

static void a_new_worker_finds_counters_that_count(void)
{
    for (unsigned int interrupt = 0; interrupt < 2; interrupt++) {
        begin(BLOCK("1"));
        CU_ASSERT_EQUAL(create(0), 0);
        struct device *device = &devices[0];
        device_prepare_relay(device, -1);
        fill(device->request);
        fill(device->reply);
        fill(device->call);
        fill(device->kicks[0]);
        device_refresh_eventfds(device, interrupt == 1);
        CU_ASSERT_EQUAL(value_of(device->request), 1);
        CU_ASSERT_EQUAL(value_of(device->reply), 0);
        CU_ASSERT_EQUAL(value_of(device->kicks[0]), 1);
        CU_ASSERT_EQUAL(value_of(device->kicks[1]), 1);
        CU_ASSERT_TRUE(eventfd_signal(device->call));
        CU_ASSERT_EQUAL(atomic_load(&device->state->interrupt.pending),
                        interrupt == 1 ? VIRTIO_MMIO_INT_VRING : 0u);
        end();
    }
}

/* ---- All of them ---- */

static const char *opens(int expected)
{
    said_begin(&said, STDERR_FILENO);
    CU_ASSERT_EQUAL(bao_devices_open(&all, &dispatcher), expected);
    return said_end(&said);
}

static void the_driver_is_found_and_opened(void)
{
    begin(RNG("1") RNG("2"));
    CU_ASSERT_STRING_EQUAL(opens(0), "");
    CU_ASSERT_EQUAL(node_opens, 1);
    CU_ASSERT(dispatcher.generation == BAO_B && dispatcher.node == 900);
    open_error = EACCES;
    CU_ASSERT_STRING_EQUAL(opens(-EACCES), "bao-virtio-dm: it does not open\n");
    driver_is = BAO_GENERATIONS;
    node_opens = 0;
    CU_ASSERT_STRING_EQUAL(opens(-ENOENT), "bao-virtio-dm: there is no driver\n");
    CU_ASSERT_EQUAL(node_opens, 0);
    end();
}

#define NO_KEY(where, name, keys)                                                                  \
    "bao-virtio-dm: " name ": f:" where ": no key" keys                                            \
    ": with /dev/bao the driver has to be told window and interrupt; expected shmem_addr, "        \
    "shmem_size and irq as shmem.base, shmem.size and interrupt of the device in remio_devs of "   \
    "the backend VM, in Bao's configuration\n"
#define MULTIPLES ": expected multiples of 0x1000, below 2^64 together\n"

static void told(const char *text, int result, const char *words)
{
    begin(text);
    driver_is = BAO_D;
    CU_ASSERT_STRING_EQUAL(opens(result), words);
    CU_ASSERT_EQUAL(node_opens, result == 0 ? 1 : 0);
    end();
}

static void generation_d_has_to_be_told_all(void)
{
    told(RNG("1"), -EINVAL, NO_KEY("2:8", "rng 1", " shmem_addr shmem_size irq"));
    told(RNG_WITH("1", ", shmem_addr: 0x8000, irq: 3"), -EINVAL,
         NO_KEY("2:8", "rng 1", " shmem_size"));
    told(RNG_WITH("1", ", shmem_size: 0x1000, irq: 3"), -EINVAL,
         NO_KEY("2:8", "rng 1", " shmem_addr"));
    told(RNG_WITH("1", ", shmem_size: 0x1000, shmem_addr: 0x8000"), -EINVAL,
         NO_KEY("2:8", "rng 1", " irq"));
    /* Each device is told of, the last one, too. */
    told(RNG("1") RNG_WITH("2", ", shmem_size: 0x1000, shmem_addr: 0x8000")
             RNG_WITH("3", ", irq: 3, shmem_size: 0x1000, shmem_addr: 0x8000"),
         -EINVAL,
         NO_KEY("2:8", "rng 1", " shmem_addr shmem_size irq") NO_KEY("3:8", "rng 2", " irq"));
    told(RNG_WITH("1", ", irq: 3, shmem_size: 0x1000, shmem_addr: 0xa000")
             RNG_WITH("2", ", irq: 4, shmem_size: 0x1000, shmem_addr: 0x8000"),
         0, "");
    told(RNG_WITH("1", ", irq: 3, shmem_size: 0x1000, shmem_addr: 0x8004"), -EINVAL,
         "bao-virtio-dm: rng 1: f:2:8: shmem_addr 0x8004 and shmem_size 0x1000" MULTIPLES);
    told(RNG_WITH("1", ", irq: 3, shmem_size: 0x1800, shmem_addr: 0x8000"), -EINVAL,
         "bao-virtio-dm: rng 1: f:2:8: shmem_addr 0x8000 and shmem_size 0x1800" MULTIPLES);
    told(RNG_WITH("1", ", irq: 3, shmem_size: 0x2000, shmem_addr: 0xfffffffffffff000"), -EINVAL,
         "bao-virtio-dm: rng 1: f:2:8: shmem_addr 0xfffffffffffff000 and shmem_size 0x2000" //
         MULTIPLES);
}

static void a_device_that_is_there_need_not_be_told(void)
{
    begin(RNG("1"));
    driver_is = BAO_D;
    devices[0].dm = open("/dev/null", O_RDWR | O_CLOEXEC);
    CU_ASSERT_STRING_EQUAL(opens(0), "");
    end();
    begin(RNG("1"));
    driver_is = BAO_D;
    devices[0].dm = 0;
    CU_ASSERT_STRING_EQUAL(opens(0), "");
    end();
}

static void only_new_devices_are_made(void)
{
    begin(RNG("1") RNG("2") RNG("3"));
    CU_ASSERT_TRUE(bao_devices_any_new(&all));
    devices[1].restored = true;
    CU_ASSERT_EQUAL(bao_devices_create(&all, &dispatcher), 0);
    CU_ASSERT_EQUAL(gets, 2);
    CU_ASSERT(devices[0].dm >= 0 && devices[1].dm < 0 && devices[2].dm >= 0);
    devices[0].restored = true;
    CU_ASSERT_TRUE(bao_devices_any_new(&all));
    devices[2].restored = true;
    CU_ASSERT_FALSE(bao_devices_any_new(&all));
    devices[0].restored = false;
    CU_ASSERT_TRUE(bao_devices_any_new(&all));
    end();
}

static void the_first_that_can_t_be_made_is_told(void)
{
    begin(RNG("1") RNG("2") RNG("3"));
    get_error = ENOENT;
    get_error_of = 2;
    said_begin(&said, STDERR_FILENO);
    CU_ASSERT_EQUAL(bao_devices_create(&all, &dispatcher), -ENOENT);
    CU_ASSERT_STRING_EQUAL(said_end(&said), "bao-virtio-dm: rng 2: f:3:8: it is not there\n");
    CU_ASSERT_EQUAL(gets, 2);
    end();
}

static void all_are_registered_in_order(void)
{
    begin(RNG("1") RNG("2"));
    CU_ASSERT_EQUAL(bao_devices_create(&all, &dispatcher), 0);
    devices[1].unsaved = false; /* the keeper answers for one only */
    CU_ASSERT_EQUAL(bao_devices_register(&all, keeper), 0);
    CU_ASSERT_EQUAL(irqs_added, 2);
    irq_result = -ENOTTY;
    said_begin(&said, STDERR_FILENO);
    CU_ASSERT_EQUAL(bao_devices_register(&all, keeper), -ENOTTY);
    CU_ASSERT_STRING_EQUAL(said_end(&said),
                           "bao-virtio-dm: rng 1: f:2:8: /dev/bao-io-dispatcher: IRQFD: "
                           "Inappropriate ioctl for device\n");
    CU_ASSERT_EQUAL(irqs_added, 3);
    end();
}

static void all_are_of_one_driver(void)
{
    begin(RNG("1") RNG("2") RNG("3"));
    for (size_t i = 0; i < 3; i++)
        devices[i].generation = BAO_A;
    CU_ASSERT_EQUAL(bao_devices_check_generations(&all), 0);
    devices[1].generation = BAO_C; /* the same numbers */
    CU_ASSERT_EQUAL(bao_devices_check_generations(&all), 0);
    for (size_t i = 1; i < 3; i++) {
        char words[512];
        devices[1].generation = devices[2].generation = BAO_A;
        devices[i].generation = BAO_D;
        said_begin(&said, STDERR_FILENO);
        CU_ASSERT_EQUAL(bao_devices_check_generations(&all), -EEXIST);
        snprintf(words, sizeof(words),
                 "bao-virtio-dm: rng %zu: it is of the driver's generation D, and rng 1 is of A: "
                 "expected one driver for all; stop bao-virtio-dm and start it again\n",
                 i + 1);
        CU_ASSERT_STRING_EQUAL(said_end(&said), words);
    }
    end();
}

int main(int argc, char **argv)
{
    CU_TestInfo made[] = {
        {"at first it has nothing", at_first_it_has_nothing},
        {"what outlives a broker is made", what_outlives_a_broker_is_made},
        {"a device is asked for once", a_device_is_asked_for_once},
        {"what the driver refuses is told", what_the_driver_refuses_is_told},
        {"too many files are told", too_many_files_are_told},
        {"each page may have the number 0", each_page_may_have_the_number_0},
        {"a page that can't be made is told", a_page_that_can_t_be_made_is_told},
        {"another interrupt is noted", another_interrupt_than_the_driver_s_is_noted},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo registering[] = {
        {"the keeper has it first", the_keeper_has_it_before_the_driver_knows_of_it},
        {"without the keeper", without_the_keeper_the_driver_knows_nothing},
        {"what may be there already", what_a_predecessor_registered_may_be_there_already},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo taken_over[] = {
        {"the next broker goes on", the_next_broker_goes_on},
        {"only the DM file is left", a_device_of_which_only_the_dm_file_is_left_is_made_anew},
        {"a page of another version", a_page_of_another_version_is_not_read},
        {"a page that says so", a_page_that_says_so_is_not_read_either},
        {"a page of another size", a_page_of_another_size_is_not_read_either},
        {"a page of this version", a_page_that_this_version_wrote_is_read},
        {"an earlier run", brokers_of_an_earlier_run_are_waited_for_but_not_for_ever},
        {"each kept page may have the number 0", each_kept_page_may_have_the_number_0},
        {"a page that can't be taken over", a_page_that_can_t_be_taken_over_is_told},
        {"what is another device is refused", what_is_another_device_is_refused},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo running[] = {
        {"relay and gate", relay_and_gate_get_what_is_the_device_s},
        {"one that was given up needs a reset", a_device_that_was_given_up_needs_a_reset},
        {"a death that was asked for", a_death_that_was_asked_for_is_excused},
        {"counters that count", a_new_worker_finds_counters_that_count},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo together[] = {
        {"the driver is found and opened", the_driver_is_found_and_opened},
        {"generation D has to be told all", generation_d_has_to_be_told_all},
        {"a device that is there", a_device_that_is_there_need_not_be_told},
        {"only new devices are made", only_new_devices_are_made},
        {"the first that can't be made is told", the_first_that_can_t_be_made_is_told},
        {"all are registered in order", all_are_registered_in_order},
        {"all are of one driver", all_are_of_one_driver},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"made once", NULL, NULL, NULL, NULL, made},
        {"registering", NULL, NULL, NULL, NULL, registering},
        {"taken over", NULL, NULL, NULL, NULL, taken_over},
        {"while it runs", NULL, NULL, NULL, NULL, running},
        {"all of them", NULL, NULL, NULL, NULL, together},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
