/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper dies, or another version replaces it, under a service manager that keeps its files.
 * For the guest it is as if the broker had died. The service manager is service_manager.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/block_load.h"
#include "tests/standin/managed.h"
#include "tests/standin/register_load.h"
#include "tests/standin/storm.h"

#define DEADLINE_MS MANAGED_DEADLINE_MS
#define BLOCK_QUEUES 4
#define RESTARTS 5
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
/* Number of messages for the fds of a device with one queue: record, DM file, 4 eventfds, queue, 2
 * pages. */
#define SET_MESSAGES 9
/* With the first set come 4 more: the configuration, who has what, the image, and a page about
 * that. */
#define FIRST_MESSAGES (SET_MESSAGES + 4)
/* When the pages are replaced: 2 new pages, and the removal of the 2 old ones. */
#define PAGES_MESSAGES 4

#define DEVICE(id, more)                                                                           \
    "  - id: " #id "\n    type: block\n    data_plane: virtio\n    mmio_addr: " MMIO_##id          \
        "\n"                                                                                       \
        "    file_path: \"@/disk" #id ".img\"\n    read_only: false\n" more
#define MMIO_0 "0xa003e00"
#define MMIO_1 "0xa004000"
#define MMIO_7 "0xa004c00"
#define LINK FIXTURE_OWN "/disk.img"
#define FIRST "devices:\n" DEVICE(0, "")
#define SECOND "devices:\n" DEVICE(1, "")
#define BOTH "devices:\n" DEVICE(0, "") DEVICE(1, "")
#define BOTH_TURNED "devices:\n" DEVICE(1, "") DEVICE(0, "")
#define QUEUES "devices:\n" DEVICE(0, "    queues: 4\n") DEVICE(1, "")

static void start(struct managed *managed, const char *yaml, unsigned int devices)
{
    managed_prepare(managed, yaml, NULL, strcmp(yaml, BOTH) == 0); /* both forms of its socket */
    fixture_start(&managed->fixture, 2, devices);
}

static void bring_up(struct managed *managed, unsigned int id, struct guest_block *block)
{
    fixture_block(&managed->fixture, id, block, GUEST_BLOCK_FEATURES, 16, 4096);
    block->guest.timeout_ms = DEADLINE_MS;
}

static void bring_down(struct guest_block *block)
{
    CU_ASSERT_EQUAL(block->guest.error, 0);
    guest_block_free(block);
}

/* ---- Death and upgrade under load ---- */

struct load {
    struct guest guest;
    struct block_load *blocks;
    struct register_load registers; /* runs on device 1 all the time */
    int image;
};

static void load_start(struct load *load, struct managed *managed)
{
    fixture_guest(&managed->fixture, 0, &load->guest);
    load->guest.timeout_ms = DEADLINE_MS;
    load->image = fixture_open(&managed->fixture, "disk0.img");
    load->blocks = block_load_start(&load->guest, BLOCK_QUEUES, load->image, FIXTURE_IMAGE_SECTORS,
                                    fixture_format);
    CU_ASSERT_PTR_NOT_NULL_FATAL(load->blocks);
    register_load_start(&load->registers, &managed->fixture, 1, DEADLINE_MS);
}

static void load_end(struct load *load)
{
    register_load_stop(&load->registers);
    CU_ASSERT_EQUAL(block_load_end(load->blocks), 0);
    fixture_assert_running(&load->guest);
    close(load->image);
}

static void a_keepers_death_loses_and_corrupts_nothing(void)
{
    struct managed managed;
    struct load load;
    struct storm storm;
    int r = 0;
    start(&managed, QUEUES, 2);
    load_start(&load, &managed);
    storm_keepers(&storm, &managed.fixture);
    while (storm_rages(&storm) && (r = block_load_run(load.blocks, 16)) == 0)
        storm_progress(&storm);
    CU_ASSERT_EQUAL(r, 0);
    storm_end(&storm);
    load_end(&load);
    CU_ASSERT_EQUAL(managed_events(&managed, "ended 2 9"), storm.deaths); /* 2 is CLD_KILLED */
    CU_ASSERT_EQUAL(managed_events(&managed, "ended"), storm.deaths);
    managed_stop(&managed, 2);
}

static void a_restart_loses_and_corrupts_nothing(void)
{
    struct managed managed;
    struct load load;
    start(&managed, QUEUES, 2);
    load_start(&load, &managed);
    for (unsigned int i = 0; i < RESTARTS; i++) {
        unsigned int ready = managed_events(&managed, "ready");
        CU_ASSERT_EQUAL_FATAL(block_load_run(load.blocks, 200), 0);
        managed_command(&managed, "r");
        for (unsigned int k = 0; k < DEADLINE_MS && managed_events(&managed, "ready") == ready; k++)
            CU_ASSERT_EQUAL_FATAL(block_load_run(load.blocks, 1), 0);
    }
    CU_ASSERT_EQUAL(block_load_run(load.blocks, 200), 0);
    load_end(&load);
    CU_ASSERT_EQUAL(managed_events(&managed, "started"), RESTARTS + 1);
    CU_ASSERT_EQUAL(managed_events(&managed, "ended 1 0"), RESTARTS); /* 1 is CLD_EXITED: clean */
    CU_ASSERT_EQUAL(managed_events(&managed, "stopping"), RESTARTS);
    managed_stop(&managed, 2);
}

/* ---- A register access that nobody has answered when the keeper dies ---- */

static void *read_capacity(void *argument)
{
    struct guest *guest = argument;
    uint64_t value = guest_read(guest, VIRTIO_MMIO_CONFIG, 8);
    CU_ASSERT_EQUAL(value, FIXTURE_IMAGE_SECTORS);
    return NULL;
}

/* `death` ends the keeper while the worker can't answer. */
static void access_in_hand(void (*death)(struct managed *managed))
{
    struct managed managed;
    struct guest guest;
    pthread_t thread;
    start(&managed, FIRST, 1);
    fixture_guest(&managed.fixture, 0, &guest);
    guest.timeout_ms = DEADLINE_MS;
    CU_ASSERT_EQUAL_FATAL(kill(managed.fixture.workers[0], SIGSTOP), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, read_capacity, &guest), 0);
    usleep(100000);
    death(&managed);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(guest.error, 0);
    CU_ASSERT_EQUAL(guest_status(&guest), 0); /* the device was not given up */
    managed_stop(&managed, 1);
}

static void by_kill(struct managed *managed)
{
    CU_ASSERT_EQUAL(kill(fixture_managed_keeper(&managed->fixture), SIGKILL), 0);
}

static void by_restart(struct managed *managed)
{
    managed_command(managed, "r");
}

static void an_access_in_hand_completes_after_a_kill(void)
{
    access_in_hand(by_kill);
}

static void an_access_in_hand_completes_after_a_restart(void)
{
    access_in_hand(by_restart);
}

/* ---- Another version ---- */

static bool has_config_interrupt(struct guest *guest)
{
    for (unsigned int i = 0; i < 10 && guest->config_changes == 0; i++) {
        if (guest_take_interrupt(guest) < 0)
            return false;
    }
    return guest->config_changes > 0;
}

/* What the next keeper finds was written by another version. The test does it twice: after the
 * first time the keeper finds its own pages in their place. */
static void restart_with_other_version(const char *spoil, const char *words)
{
    struct managed managed;
    struct guest_block block;
    start(&managed, FIRST, 1);
    bring_up(&managed, 0, &block);
    for (unsigned int i = 0; i < 2; i++) {
        fixture_assert_reads(&block, 3);
        block.guest.config_changes = 0;
        managed_restart(&managed, spoil);
        CU_ASSERT_TRUE(has_config_interrupt(&block.guest));
        CU_ASSERT_NOT_EQUAL(guest_status(&block.guest) & NEEDS_RESET, 0);
        fixture_assert_logged(&managed.fixture, words);
        bring_down(&block);
        bring_up(&managed, 0, &block); /* this resets the device */
        fixture_assert_reads(&block, 5);
        managed_restart(&managed, ""); /* now everything is of one version again */
        CU_ASSERT_EQUAL(guest_status(&block.guest) & NEEDS_RESET, 0);
    }
    bring_down(&block);
    managed_stop(&managed, 1);
}

static void a_state_page_of_another_version_is_not_read(void)
{
    restart_with_other_version("v", "another version of this program");
}

static void a_state_page_of_another_size_is_not_read(void)
{
    restart_with_other_version("s", "another version of this program");
}

static void a_record_of_another_version_is_not_read_to_its_end(void)
{
    restart_with_other_version("o", "another version of this program");
}

/* ---- What the service manager gives back is not as it should be ---- */

/* Device 0's files are not as they should be: it can't work. Device 1 works. */
static void is_refused(const char *spoil)
{
    struct managed managed;
    struct guest_block first, second;
    start(&managed, BOTH, 2);
    bring_up(&managed, 0, &first);
    bring_up(&managed, 1, &second);
    fixture_assert_reads(&first, 3);
    managed_command(&managed, spoil);
    managed_restart(&managed, "");
    fixture_assert_logged(&managed.fixture, "block 0: ");
    fixture_assert_logged(&managed.fixture, "the service manager has lost some of its files");
    fixture_assert_reads(&second, 5);
    CU_ASSERT_EQUAL(fixture_worker(&managed.fixture, 0), -ESRCH);
    CU_ASSERT_EQUAL(managed_events(&managed, "ended"),
                    1); /* the keeper stays, and keeps what it has */
    guest_block_free(&first);
    bring_down(&second);
    managed_stop(&managed, 2);
}

static void a_lost_eventfd_is_told(void)
{
    is_refused("q");
}

static void a_file_of_another_kind_is_refused(void)
{
    is_refused("x");
}

static void two_dm_files_of_a_device_are_refused(void)
{
    is_refused("d");
}

/* ---- Processes of an earlier run ---- */

static void nobody_attaches_before_the_last_one_is_gone(void)
{
    struct managed managed;
    struct guest_block block;
    start(&managed, FIRST, 1);
    bring_up(&managed, 0, &block);
    fixture_assert_reads(&block, 3);
    managed_command(&managed, "l");
    managed_command(&managed, "r");
    fixture_wait_logged(&managed.fixture, "waiting for the processes of an earlier run to end",
                        DEADLINE_MS);
    CU_ASSERT_EQUAL(managed_events(&managed, "locked"), 1);
    CU_ASSERT_EQUAL(managed_events(&managed, "ready"), 1);
    CU_ASSERT_EQUAL(standin_find_process(managed.fixture.standin, "bao-virtio-worker", 0), -ESRCH);
    CU_ASSERT_EQUAL(managed_events(&managed, "unlocked"),
                    0); /* not until now, so the lines above have looked before it */
    managed_wait_events(&managed, "ready", 2);
    CU_ASSERT_EQUAL(managed_events(&managed, "unlocked"), 1);
    fixture_assert_reads(&block, 5);
    bring_down(&block);
    managed_stop(&managed, 1);
}

/* A worker of the last run that does not end, for example in a call to a disk that hangs, holds up
 * its own device and no other. */
static void a_worker_of_the_last_run_holds_its_device_only(void)
{
    struct managed managed;
    struct guest_block first, second;
    start(&managed, BOTH, 2);
    bring_up(&managed, 0, &first);
    bring_up(&managed, 1, &second);
    managed_restart(&managed, "w");
    fixture_assert_reads(&second, 3);
    CU_ASSERT_EQUAL(managed_events(&managed, "unlocked"), 0); /* not until now */
    CU_ASSERT_EQUAL(fixture_worker(&managed.fixture, 0), -ESRCH);
    fixture_assert_reads(&first, 5);
    CU_ASSERT_EQUAL(managed_events(&managed, "unlocked"), 1);
    fixture_assert_logged(&managed.fixture, "block 0: waits for the end of its last worker");
    bring_down(&first);
    bring_down(&second);
    managed_stop(&managed, 2);
}

/* ---- A death at any step of storing ---- */

static void killed_at(unsigned int message, bool replaced)
{
    struct managed managed;
    struct guest_block block;
    char text[16];
    snprintf(text, sizeof(text), "%u", message);
    managed_prepare(&managed, FIRST, text, false);
    if (replaced)
        managed_command(&managed, "o"); /* at the first start there is nothing to spoil yet */
    fixture_start(&managed.fixture, 2, 1);
    bring_up(&managed, 0, &block);
    fixture_assert_reads(&block, 3);
    if (replaced) {
        managed_restart(&managed, "o");
        managed_wait_events(&managed, "ended 2 9", 1);
        managed_wait_events(&managed, "ready", 2);
        bring_down(&block);
        bring_up(&managed, 0, &block);
        fixture_assert_reads(&block, 5);
    }
    CU_ASSERT_EQUAL(managed_events(&managed, "ended 2 9"), 1);
    managed_restart(&managed, ""); /* what is kept now is complete */
    CU_ASSERT_EQUAL(guest_status(&block.guest) & NEEDS_RESET, 0);
    fixture_assert_reads(&block, 7);
    bring_down(&block);
    managed_stop(&managed, 1);
    CU_ASSERT_FALSE(CU_get_number_of_failures() > managed.fixture.failures);
}

/* From the DM file on: a keeper that dies earlier has not handed the DM file to anybody. */
static void a_death_while_storing_leaves_a_device_that_works(void)
{
    for (unsigned int message = 2; message <= FIRST_MESSAGES; message++)
        killed_at(message, false);
}

static void a_death_while_replacing_leaves_a_device_that_works(void)
{
    for (unsigned int message = 1; message <= PAGES_MESSAGES; message++)
        killed_at(FIRST_MESSAGES + message, true);
}

/* A file is stored before it is registered. A broker may end before it has registered all. The next
 * one registers the rest, though its device is a restored one. */
static void what_was_not_registered_is_registered_later(void)
{
    struct managed managed;
    struct guest_block block;
    managed_prepare(&managed, FIRST, NULL, false);
    managed.fixture.refused_irqfds = 2;
    fixture_start(&managed.fixture, 2, 1);
    fixture_assert_logged(&managed.fixture, "IRQFD");
    bring_up(&managed, 0, &block);
    fixture_assert_reads(&block, 3);
    CU_ASSERT_EQUAL(managed_events(&managed, "started"), 1); /* the keeper has waited */
    bring_down(&block);
    managed_stop(&managed, 1);
}

/* ---- Another configuration ---- */

static void devices_come_and_go_and_keep_their_files(void)
{
    struct managed managed;
    struct guest_block first, second;
    start(&managed, FIRST, 1);
    bring_up(&managed, 0, &first);
    fixture_assert_reads(&first, 1);
    fixture_configure(&managed.fixture, BOTH_TURNED); /* device 1 is added, and comes first */
    managed_restart(&managed, "");
    fixture_assert_reads(&first, 2);
    bring_up(&managed, 1, &second);
    fixture_assert_reads(&second, 3);
    fixture_configure(&managed.fixture, SECOND);
    managed_restart(&managed, "");
    fixture_assert_logged(&managed.fixture, "device 0 is not in the configuration any more");
    fixture_assert_reads(&second, 4);
    CU_ASSERT_EQUAL(fixture_worker(&managed.fixture, 0), -ESRCH);
    fixture_configure(&managed.fixture, BOTH);
    managed_restart(&managed, "");
    fixture_assert_reads(&first, 5); /* as if the device had never been away */
    fixture_assert_reads(&second, 6);
    bring_down(&first);
    bring_down(&second);
    managed_stop(&managed, 2);
}

/* The service reads an edited file at its next start, not when a broker dies. */
static void an_edited_configuration_counts_at_a_start_only(void)
{
    struct managed managed;
    struct guest_block first, second;
    start(&managed, FIRST, 1);
    bring_up(&managed, 0, &first);
    fixture_configure(&managed.fixture, BOTH_TURNED);
    CU_ASSERT_EQUAL(kill(managed.fixture.broker, SIGKILL), 0);
    pid_t broker = fixture_wait_broker(&managed.fixture, managed.fixture.broker);
    CU_ASSERT_FATAL(broker > 0);
    fixture_assert_reads(&first, 2);
    CU_ASSERT_EQUAL(fixture_worker(&managed.fixture, 1), -ESRCH);
    managed_restart(&managed, "");
    bring_up(&managed, 1, &second);
    fixture_assert_reads(&second, 3);
    broker = fixture_wait_broker(&managed.fixture, -1);
    CU_ASSERT_EQUAL(kill(broker, SIGKILL), 0); /* its copies of the files end with it */
    CU_ASSERT_FATAL(fixture_wait_broker(&managed.fixture, broker) > 0);
    fixture_assert_reads(&first, 4);
    fixture_assert_reads(&second, 5);
    bring_down(&first);
    bring_down(&second);
    managed_stop(&managed, 2);
}

/* ---- What the service manager is told ---- */

static void the_service_manager_is_told(void)
{
    struct managed managed;
    start(&managed, BOTH, 2);
    managed_wait_events(&managed, "ready", 1);
    managed_wait_events(&managed, "status The devices are served.", 1);
    managed_wait_events(&managed, "watchdog", 3);
    CU_ASSERT_EQUAL(kill(managed.fixture.broker, SIGKILL), 0);
    managed_wait_events(&managed, "status The broker died: ", 1);
    managed_wait_events(&managed, "status The devices are served.", 2);
    CU_ASSERT_EQUAL(managed_events(&managed, "ready"), 1);
    CU_ASSERT_EQUAL(managed_events(&managed, "stopping"), 0);
    standin_expect_end(managed.fixture.standin);
    CU_ASSERT_EQUAL(kill(standin_pid(managed.fixture.standin), SIGTERM), 0);
    int status = standin_wait(managed.fixture.standin, DEADLINE_MS);
    CU_ASSERT(status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_EQUAL(managed_events(&managed, "stopping"), 1);
    /* Two sets of 9, two images with a page each, and the configuration. */
    CU_ASSERT_EQUAL(managed_events(&managed, "kept 24"), 1);
    CU_ASSERT_EQUAL(standin_stop(managed.fixture.standin), status);
    CU_ASSERT_EQUAL(managed_events(&managed, "wrong"), 0);
    managed_free(&managed);
}

/* Nothing was kept, and the error will not go away by itself. */
static void a_wrong_configuration_ends_it_with_status_1(void)
{
    struct managed managed;
    managed_prepare(&managed, "devices:\n  - id: 0\n    type: nonsense\n", NULL, false);
    fixture_start(&managed.fixture, 2, 0);
    int status = standin_wait(managed.fixture.standin, DEADLINE_MS);
    CU_ASSERT(status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1);
    CU_ASSERT_EQUAL(managed_events(&managed, "started"), 1);
    CU_ASSERT_EQUAL(managed_events(&managed, "kept 0"), 1);
    CU_ASSERT_EQUAL(standin_stop(managed.fixture.standin), status);
    managed_free(&managed);
}

/* The file can't be read, has an error, or contradicts what runs. In each case the device model
 * goes on as it was. */
static void goes_on_as_it_was(void (*spoil)(struct managed *managed), const char *words)
{
    struct managed managed;
    struct guest_block first, second;
    start(&managed, BOTH, 2);
    bring_up(&managed, 0, &first);
    bring_up(&managed, 1, &second);
    spoil(&managed);
    managed_restart(&managed, "");
    fixture_assert_logged(&managed.fixture, words);
    fixture_assert_logged(&managed.fixture, "going on with the configuration of the last start");
    fixture_assert_reads(&first, 4);
    fixture_assert_reads(&second, 5);
    CU_ASSERT_EQUAL(managed_events(&managed, "started"), 2);
    fixture_configure(&managed.fixture, BOTH);
    managed_restart(&managed, "");
    fixture_assert_reads(&first, 6);
    bring_down(&first);
    bring_down(&second);
    managed_stop(&managed, 2);
}

static void with_an_error(struct managed *managed)
{
    fixture_configure(&managed->fixture, "devices:\n  - id: 0\n    type: nonsense\n");
}

static void with_another_kind(struct managed *managed)
{
    fixture_configure(&managed->fixture,
                      "devices:\n" DEVICE(1, "") "  - id: 0\n    type: rng\n"
                                                 "    data_plane: virtio\n    mmio_addr: " MMIO_0
                                                 "\n");
}

static void removed(struct managed *managed)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/config.yaml", managed->fixture.dir);
    CU_ASSERT_EQUAL(unlink(path), 0);
}

static void with_a_device_that_is_not_there(struct managed *managed)
{
    fixture_configure(&managed->fixture, "devices:\n" DEVICE(0, "") DEVICE(1, "") DEVICE(7, ""));
}

/* Both paths lead to one image, but the text of the paths does not show it. */
static void with_one_image_for_both(struct managed *managed)
{
    char image[128];
    snprintf(image, sizeof(image), "%s/disk0.img", managed->fixture.dir);
    CU_ASSERT_EQUAL(symlink(image, LINK), 0);
    fixture_configure(&managed->fixture,
                      "devices:\n" DEVICE(0, "") "  - id: 1\n    type: block\n"
                                                 "    data_plane: virtio\n    mmio_addr: " MMIO_1
                                                 "\n    file_path: " LINK "\n");
}

static void a_bad_configuration_keeps_what_runs(void)
{
    goes_on_as_it_was(with_one_image_for_both, "this image is also that of block 0");
    CU_ASSERT_EQUAL(unlink(LINK), 0);
    goes_on_as_it_was(with_an_error, "nonsense");
    goes_on_as_it_was(with_another_kind, "was started with another type");
    goes_on_as_it_was(removed, "cannot be read");
    goes_on_as_it_was(with_a_device_that_is_not_there, fixture_lacks_device(7));
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a keeper's death loses and corrupts nothing", a_keepers_death_loses_and_corrupts_nothing},
        {"a restart loses and corrupts nothing", a_restart_loses_and_corrupts_nothing},
        {"an access in hand completes after a kill", an_access_in_hand_completes_after_a_kill},
        {"an access in hand completes after a restart",
         an_access_in_hand_completes_after_a_restart},
        {"a state page of another version is not read",
         a_state_page_of_another_version_is_not_read},
        {"a state page of another size is not read", a_state_page_of_another_size_is_not_read},
        {"a record of another version is not read to its end",
         a_record_of_another_version_is_not_read_to_its_end},
        {"a lost eventfd is told", a_lost_eventfd_is_told},
        {"a file of another kind is refused", a_file_of_another_kind_is_refused},
        {"two DM files of a device are refused", two_dm_files_of_a_device_are_refused},
        {"nobody attaches before the last one is gone",
         nobody_attaches_before_the_last_one_is_gone},
        {"a worker of the last run holds its device only",
         a_worker_of_the_last_run_holds_its_device_only},
        {"a death while storing leaves a device that works",
         a_death_while_storing_leaves_a_device_that_works},
        {"a death while replacing leaves a device that works",
         a_death_while_replacing_leaves_a_device_that_works},
        {"what was not registered is registered later",
         what_was_not_registered_is_registered_later},
        {"devices come and go, and keep their files", devices_come_and_go_and_keep_their_files},
        {"an edited configuration counts at a start only",
         an_edited_configuration_counts_at_a_start_only},
        {"the service manager is told", the_service_manager_is_told},
        {"a wrong configuration ends it with status 1",
         a_wrong_configuration_ends_it_with_status_1},
        {"a bad configuration keeps what runs", a_bad_configuration_keeps_what_runs},
        CU_TEST_INFO_NULL,
    };
    static CU_TestInfo packed_tests[] = {
        {"a keeper's death loses and corrupts nothing", a_keepers_death_loses_and_corrupts_nothing},
        {"a restart loses and corrupts nothing", a_restart_loses_and_corrupts_nothing},
        CU_TEST_INFO_NULL,
    };
    if (!fixture_own_directory())
        return EXIT_FAILURE;
    return fixture_main_formats(argc, argv, "the keeper's death", tests, packed_tests);
}
