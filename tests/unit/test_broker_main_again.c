/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a broker starts again, while frontends run: it goes on with what the keeper has, and what can
 * be wrong now keeps no other device from going on. And which configuration it uses.
 */
#include "tests/unit/broker_main_under_test.h"

/* ---- What the keeper has ---- */

static void ran(uint32_t id, enum device_kind kind, uint32_t queues)
{
    struct handed_device *device = &given.devices[id];
    device->stored = true;
    device->message = (struct message_store){.dm_id = id,
                                             .kind = kind,
                                             .mmio_addr = id * 0x1000,
                                             .shmem_addr = 0x80000000u + id * 0x100000,
                                             .shmem_size = 0x100000,
                                             .fd_count = STORE_QUEUE_FIRST + queues,
                                             .condition = STORE_WHOLE,
                                             .generation = BAO_B};
    device->fd_count = STORE_QUEUE_FIRST + queues;
    memset(device->fds, -1, sizeof(device->fds));
}

static void was_kept(uint32_t id, enum device_kind kind)
{
    struct handed_device *device = &given.devices[id];
    device->kept = true;
    device->opened = (struct message_opened){.dm_id = id, .kind = kind};
    device->opened_count = 1;
    device->opened_fds[0] = -1;
}

static void all_ran(void)
{
    begin(ALL);
    ran(0, DEVICE_NET_VIRTIO, 3);
    ran(1, DEVICE_BLOCK_VIRTIO, 1);
    ran(2, DEVICE_RNG_VIRTIO, 1);
    was_kept(0, DEVICE_NET_VIRTIO);
    strcpy(given.devices[0].opened.learned.net.name, "tap0");
    given.devices[0].opened.learned.net.index = 33;
    was_kept(1, DEVICE_BLOCK_VIRTIO);
}

#define RESTORED                                                                                   \
    "restore net 0, 10 files\ntake net 0, 1 files, tap 33\nrestore block 1, 8 files\n"             \
    "take block 1, 1 files, tap 0\nrestore rng 2, 8 files\n"
#define CLAIMS_AGAIN "claims 3 devices, 7 run\n"
#define CONTROL_AGAIN "control /run/chosen, mode 640, again\n"
#define LOOKS "look net 0, again\nlook block 1, again\nlook rng 2, again\n"
#define PLACES                                                                                     \
    "places net 0 among 0, /run/chosen\nsettle 0\nplaces block 1 among 1, /run/chosen\n"           \
    "settle 1\nplaces rng 2 among 2, /run/chosen\nsettle 2\n"

static void it_goes_on_with_what_the_keeper_has(void)
{
    all_ran();
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    /* The driver's node is not opened: no device is new. */
    did("handed \n" RESTORED CLAIMS_AGAIN CONTROL_AGAIN LOOKS PLACES
        "create -1\nclose -1\ngenerations 3\nregister 3\ninit 3, text 0, /c.yaml\nlockdown \n"
        "go 0\ngo 1\ngo 2\nrun \n");
    CU_ASSERT_PTR_NULL(strstr(said.text, "finds it by")); /* the user knows it already */
    all_ran();
    given.devices[1].stored = false; /* that one is new */
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "claims 3 devices, 5 run\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "open 3\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "look block 1\n"));
}

/* Its opener has to find the same interface, if it is still the same. */
static void only_a_tap_of_this_name_is_looked_for(void)
{
    static const char take[] = "take net 0, 1 files, tap 0\n";
    all_ran();
    strcpy(given.devices[0].opened.learned.net.name, "tap1");
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, take));
    all_ran();
    strcpy(given.devices[0].opened.learned.net.name, "tap");
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, take));
    all_ran();
    given.devices[0].opened.kind = DEVICE_RNG_VIRTIO;
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, take));
    all_ran();
    given.devices[0].kept = false;
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NULL(strstr(seen->done, "take net 0"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, "forget 0"));
}

static void what_is_not_used_is_forgotten(void)
{
    all_ran();
    was_kept(2, DEVICE_RNG_VIRTIO);   /* it opens nothing */
    was_kept(9, DEVICE_BLOCK_VIRTIO); /* not in the configuration */
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "forget 2\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "forget 9\n"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, "forget 0\n"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, "forget 1\n"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, "take rng 2"));
}

static void a_device_that_is_not_configured_is_kept(void)
{
    all_ran();
    ran(15, DEVICE_BLOCK_VIRTIO, 1);
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        said.text, "bao-virtio-dm: device 15 is not in the configuration any more: its files are "
                   "kept, since closing them would be fatal for its frontend\n"));
    /* Its claim is not given back while its frontend runs. */
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "claims 3 devices, 8007 run\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "register 3\n"));
    begin("devices:\n" RNG("1")); /* none of those that ran is left: this is no first start */
    ran(15, DEVICE_BLOCK_VIRTIO, 1);
    control_result = -EADDRINUSE;
    CU_ASSERT_EQUAL(run_broker("--config", "/run/its"), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "claims 1 devices, 8000 run\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "control /run/its, mode 640, again\n"));
}

static void one_that_can_t_be_restored_ends_it(void)
{
    all_ran();
    fails_at = "restore";
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    did("handed \nrestore net 0, 10 files\n");
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "net 0: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, ": it can't be restored\n"));
}

/* Its files are lost. It is told of, and the others go on. */
static void one_that_is_unusable_is_left_out(void)
{
    all_ran();
    given.devices[0].message.condition = STORE_UNUSABLE;
    given.devices[0].kept = false;
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "net 0: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "the service manager has lost some of its files"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "register 2\n"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, "restore net 0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "go 1\ngo 2\nrun \n"));
}

/* ---- What can be wrong now ---- */

static void others_claims_stop_no_device_that_runs(void)
{
    all_ran();
    fails_at = "claims"; /* the file itself can't be used */
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "bao-virtio-dm: another one has it\n"));
    all_ran();
    fails_at = "claims";
    refuses_device = true;
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "net 0: "));
    all_ran();
    fails_at = "claims";
    refuses_device = true;
    given.devices[0].stored = false; /* this one does not run yet */
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
}

static void neither_does_the_control_socket(void)
{
    all_ran();
    control_result = -EADDRINUSE;
    CU_ASSERT_EQUAL(run_broker("--config", "/run/its"), 42);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text, "bao-virtio-dm: there is no control socket: bao-dmctl can't be used\n"));
}

/* With a new configuration it waits a little, so that it can judge it. */
static void neither_does_a_backend_that_hangs_or_fails(void)
{
    all_ran();
    takes_kept = false;
    looks_before[0] = 99;
    opener_fails[1] = true;
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "wait for 1, the first is 50, 2000 ms\n"));
    CU_ASSERT_PTR_NULL(strstr(strstr(seen->done, "wait") + 1, "wait"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "create"));
    CU_ASSERT_PTR_NULL(strstr(said.text, "it does not open")); /* its opener's failure is told */
    all_ran();
    takes_kept = false;
    looks_before[0] = 99;
    kept_text = ALL;
    CU_ASSERT_EQUAL(run_broker("--kept-config", ""), 42);
    CU_ASSERT_PTR_NULL(strstr(seen->done, "wait"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, "places"));
}

static void but_a_new_configuration_with_one_file_twice_is_refused(void)
{
    all_ran();
    takes_kept = false;
    place_taken = 1;
    kept_text = ALL;
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, ": another has its file\n"));
    /* The keeper starts the next broker with the last configuration. */
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "c.yaml can't be used: going on with the "
                                             "configuration of the last start, until the next "
                                             "one\n"));
    keeper_gets_one(MSG_CONFIG, 0);
    keeper_gets_one(0, 0);
    all_ran();
    takes_kept = false;
    place_taken = 1;
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    keeper_gets_one(0, 0); /* there is no last one */
    all_ran();
    kept_text = ALL;
    fails_at = "create";
    CU_ASSERT_EQUAL(run_broker("--kept-config", ""), EXIT_FAILURE);
    keeper_gets_one(0, 0); /* it is not new */
}

/* ---- Which configuration ---- */

static void is_rejected(const char *text, const char *words)
{
    begin(text);
    ran(1, DEVICE_BLOCK_VIRTIO, 1);
    kept_text = "devices:\n" BLOCK("1");
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, words));
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "c.yaml can't be used: going on with the "
                                             "configuration of the last start, until the next "
                                             "one\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "init 1, text 4, /c.yaml\n"));
    keeper_gets_one(MSG_CONFIG, 0);
    keeper_gets_one(MSG_RUNNING, 0);
    keeper_gets_one(0, 0);
}

static void one_that_can_t_be_used_is_rejected(void)
{
    is_rejected(NULL, "No such file or directory");
    is_rejected("devices: 3\n", "c.yaml:1:");
    is_rejected(RNG("1"), "c.yaml:1:");
    is_rejected("devices:\n" RNG("1"), "the device was started with another type");
    is_rejected("devices:\n" RNG("2") RNG("1"), "the device was started with another type");
    is_rejected("devices:\n- {id: 1, type: block, data_plane: virtio, mmio_addr: 0x1000, "
                "file_path: /x, shmem_addr: 0x90000000}\n",
                "shmem_addr");
    begin("devices:\n" RNG("1"));
    ran(1, DEVICE_BLOCK_VIRTIO, 1);
    given.devices[1].message.condition = STORE_UNUSABLE; /* it does not run */
    kept_text = ALL;
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NULL(strstr(said.text, "can't be used"));
    keeper_gets_one(MSG_CONFIG, 1);
}

static void without_an_earlier_one_it_ends(void)
{
    begin("devices: 3\n");
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    did("handed \n");
    CU_ASSERT_PTR_NULL(strstr(said.text, "going on"));
    keeper_gets_one(0, 0);
    begin(NULL);
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "No such file or directory"));
    begin(ALL);
    CU_ASSERT_EQUAL(run_broker("--kept-config", ""), EXIT_FAILURE);
    did("handed \n");
    begin(ALL);
    kept_text = "devices: 3\n";
    CU_ASSERT_EQUAL(run_broker("--kept-config", ""), EXIT_FAILURE);
    did("handed \n");
}

/* After the death of a broker nobody has asked for another configuration. */
static void the_last_one_is_used_if_no_other_is_asked_for(void)
{
    begin("devices: 3\n");
    kept_text = ALL;
    CU_ASSERT_EQUAL(run_broker("--kept-config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "init 3, text 4, /c.yaml\n"));
    keeper_gets_one(MSG_RUNNING, 0);
    keeper_gets_one(0, 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo has[] = {
        {"it goes on with what the keeper has", it_goes_on_with_what_the_keeper_has},
        {"only a tap of this name", only_a_tap_of_this_name_is_looked_for},
        {"what is not used is forgotten", what_is_not_used_is_forgotten},
        {"one that is not configured is kept", a_device_that_is_not_configured_is_kept},
        {"one that can't be restored ends it", one_that_can_t_be_restored_ends_it},
        {"one that is unusable is left out", one_that_is_unusable_is_left_out},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo wrong[] = {
        {"claims stop no device that runs", others_claims_stop_no_device_that_runs},
        {"neither does the control socket", neither_does_the_control_socket},
        {"neither does a backend", neither_does_a_backend_that_hangs_or_fails},
        {"but one file twice", but_a_new_configuration_with_one_file_twice_is_refused},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo which[] = {
        {"one that can't be used is rejected", one_that_can_t_be_used_is_rejected},
        {"without an earlier one it ends", without_an_earlier_one_it_ends},
        {"the last one is used", the_last_one_is_used_if_no_other_is_asked_for},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"what the keeper has", make_folder, NULL, NULL, NULL, has},
        {"what is wrong", NULL, NULL, NULL, NULL, wrong},
        {"which configuration", NULL, remove_folder, NULL, NULL, which},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
