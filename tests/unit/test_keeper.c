/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: what it starts, ends, keeps and says. Its children are eventfds of this test, which
 * is the broker as well, and the service manager. Each time that the keeper waits, the next step of
 * a case is done; time passes only when a step says so.
 */
#include "tests/unit/keeper_bounds.h"

/* ---- The end ---- */

static void is_asked_to_end(void)
{
    gets(MSG_STOP);
    gets_nothing();
    CU_ASSERT_FALSE(fakes[0].killed);
    asked_to_stop(); /* a second time changes nothing */
}

static void has_two_seconds(void)
{
    gets_nothing();
    CU_ASSERT_EQUAL(slept, 2000);
    now_ms += 1999;
}

static void then_it_is_killed(void)
{
    CU_ASSERT_FALSE(fakes[0].killed);
    now_ms += 1;
}

static void a_broker_gets_time_to_end(void)
{
    begin();
    SCRIPT(runs, asked_to_stop, is_asked_to_end, has_two_seconds, then_it_is_killed);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_EQUAL(broker_count, 1);
}

static void stops_between_two_brokers(void)
{
    asked_to_stop();
}

static void nothing_comes(void)
{
    gets_nothing();
}

static void without_a_broker_it_ends_at_once(void)
{
    begin();
    keeper.has_run = true;
    spawn_error[0] = spawn_error[1] = ENOMEM;
    steps[0] = stops_between_two_brokers;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(broker_count, 0);
}

/* Each kind of child is waited for, also if it is the last one. Its pidfd may have the number 0. */
static void the_last_child_is_waited_for(void)
{
    for (unsigned int i = 0; i < 6; i++) {
        const unsigned int kind = i / 2;
        begin();
        number_0 = i % 2 == 0 ? 0 : 2;
        steps[0] = runs;
        steps[1] = kind == 0 ? asks_for_a_worker : keeps_a_backend;
        steps[2] = kind == 1 ? asks_for_an_opener : asks_for_a_connector;
        steps[3] = kind == 0 ? asked_to_stop : nothing_comes;
        steps[4] = kind == 0 ? ends : asked_to_stop;
        steps[5] = kind == 0 ? NULL : ends;
        CU_ASSERT_EQUAL(run(), 0);
        CU_ASSERT_EQUAL(spawned, 2);
        CU_ASSERT_EQUAL(fakes[1].child.pidfd, -1);
        if (number_0 > 0)
            take_0_back();
    }
}

static void the_last_child_of_any_device_is_waited_for(void)
{
    of_each_device(the_last_child_is_waited_for);
}

static void stops_with_a_worker(void)
{
    (void)receive();
    asked_to_stop();
}

static void all_children_are_ended(void)
{
    begin();
    SCRIPT(runs, asks_for_a_worker, asks_for_an_opener, keeps_a_backend, asks_for_a_connector,
           stops_with_a_worker, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(spawned, 4);
    for (unsigned int i = 1; i < spawned; i++)
        CU_ASSERT(fakes[i].killed && fakes[i].child.pidfd == -1); /* and reaped */
}

/* ---- The service manager ---- */

static void manager_hears(const char *words)
{
    char text[256] = "";
    ssize_t length = recv(manager, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    CU_ASSERT_STRING_EQUAL(text, words);
}

static void it_hears_that_devices_are_served(void)
{
    manager_hears("READY=1\nSTATUS=The devices are served.");
    crashes();
}

static void it_hears_of_the_death(void)
{
    manager_hears("STATUS=The broker died: killed by SIGSEGV. The guests wait for another.");
    runs();
}

static void it_hears_that_they_are_served_again(void)
{
    manager_hears("STATUS=The devices are served.");
    asked_to_stop();
}

static void it_hears_of_the_end(void)
{
    manager_hears("STOPPING=1\nSTATUS=The end was asked for.");
    manager_hears("");
    ends();
}

static void a_service_manager_hears_how_it_is(void)
{
    begin();
    with_manager();
    SCRIPT(runs, it_hears_that_devices_are_served, it_hears_of_the_death,
           it_hears_that_they_are_served_again, it_hears_of_the_end);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(
        said.text,
        "bao-virtio-dm: no worker has a cgroup\n"
        "bao-virtio-dm: the broker died: killed by SIGSEGV: starting another, and all workers\n");
}

static void it_wants_to_hear_from_us(void)
{
    manager_hears("WATCHDOG=1");
    CU_ASSERT_EQUAL(slept, 300);
    asked_to_stop();
}

static void a_watchdog_is_fed(void)
{
    begin();
    with_manager();
    keeper.notify.watchdog_ms = 300;
    SCRIPT(it_wants_to_hear_from_us, ends);
    CU_ASSERT_EQUAL(run(), 0);
}

/* With a service manager the devices outlive the keeper: nobody is told fixed values. */
static void what_outlives_us_is_left_as_it_is(void)
{
    begin();
    with_manager();
    SCRIPT(gets_the_end, stores, is_told_that_it_is_stored, says_running, asked_to_stop);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_EQUAL(irqs_removed, 0);
}

/* Its socket has no room. */
static void manager_is_full(void)
{
    while (send(keeper.notify.socket, "X", 1, MSG_DONTWAIT) == 1)
        continue;
    CU_ASSERT_EQUAL(errno, EAGAIN);
}

static void manager_takes_all(void)
{
    char text[256];
    while (recv(manager, text, sizeof(text), 0) > 0)
        continue;
    CU_ASSERT_EQUAL(errno, EAGAIN);
}

static void stores_for_a_full_manager(void)
{
    gets(MSG_RESTORE_END);
    manager_is_full();
    stores();
}

static void manager_takes_it_then(void)
{
    gets_nothing();
    CU_ASSERT_EQUAL(slept, NOTIFY_RETRY_MS);
    CU_ASSERT_TRUE(keeper.store.sets[dm_id].uncommitted);
    manager_takes_all();
}

static void a_set_is_stored_when_the_manager_has_it(void)
{
    begin();
    with_manager();
    SCRIPT(stores_for_a_full_manager, manager_takes_it_then, is_told_that_it_is_stored,
           says_running, asked_to_stop);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(said.text, "bao-virtio-dm: no worker has a cgroup\n");
}

static void it_crashes_before(void)
{
    gets_nothing();
    crashes();
}

static void the_next_one_has_the_set(void)
{
    gets(MSG_RESTORE);
    gets(MSG_RESTORE_END);
    gets_nothing();
    manager_takes_all();
}

static void the_next_one_is_told_nothing(void)
{
    gets_nothing();
    asked_to_stop();
}

static void nobody_is_told_of_an_earlier_one_s_set(void)
{
    begin();
    with_manager();
    SCRIPT(stores_for_a_full_manager, it_crashes_before, the_next_one_has_the_set,
           the_next_one_is_told_nothing);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(broker_count, 2); /* though none had run: the set outlives this keeper */
}

static void ends_with_a_full_manager(void)
{
    manager_is_full();
    asked_to_stop();
}

static void the_manager_takes_the_end(void)
{
    CU_ASSERT_EQUAL(keeper.broker.pidfd, -1);
    waits_from = now_ms;
    manager_takes_all();
}

static void a_manager_that_is_slow_is_waited_for(void)
{
    char text[64];
    begin();
    with_manager();
    SCRIPT(runs, ends_with_a_full_manager, ends, the_manager_takes_the_end);
    CU_ASSERT_EQUAL(keeper_run(&keeper), 0);
    CU_ASSERT_EQUAL(now_ms, waits_from);
    ssize_t length = recv(manager, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    CU_ASSERT_STRING_EQUAL(text, "STOPPING=1\nSTATUS=The end was asked for.");
    keeper.exit_status = 0;
    cgroups_left = 0;
    CU_ASSERT_EQUAL(run(), 0);
}

static void is_short_of_memory(void)
{
    manager_error = ENOBUFS;
    runs();
}

static void it_is_tried_again_after_a_while(void)
{
    CU_ASSERT_EQUAL(slept, NOTIFY_RETRY_MS); /* no file becomes ready when it passes */
    CU_ASSERT_TRUE(notify_waits(&keeper.notify));
    manager_error = 0;
    now_ms += NOTIFY_RETRY_MS;
}

static void what_passes_is_tried_again(void)
{
    begin();
    with_manager();
    SCRIPT(is_short_of_memory, it_is_tried_again_after_a_while, it_hears_that_devices_are_served,
           asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
}

static void it_has_the_claims(void)
{
    manager_hears("FDSTORE=1\nFDPOLL=0\nFDNAME=claims");
    manager_hears("READY=1\nSTATUS=The devices are served.");
    asked_to_stop();
}

static void the_claims_outlive_us_once_devices_are_served(void)
{
    begin();
    with_manager();
    keeper.store.claims = shared_page_create("claims", 4096);
    SCRIPT(runs, it_has_the_claims, ends);
    CU_ASSERT_EQUAL(run(), 0);
}

static void all_children_of_any_device_are_ended(void)
{
    of_each_device(all_children_are_ended);
}

static void what_any_device_stores_goes_to_the_next_one(void)
{
    of_each_device(what_a_broker_stores_goes_to_the_next_one);
}

static void a_dm_file_alone_goes_to_the_broker_of_any_device(void)
{
    of_each_device(a_dm_file_alone_goes_to_the_broker);
}

static CU_TestInfo brokers[] = {
    {"one begins with nothing", one_begins_with_nothing},
    {"without a socket there is no broker", without_a_socket_there_is_no_broker},
    {"a first start that fails is the end", a_first_start_that_fails_is_the_end},
    {"a broker that ran is replaced", a_broker_that_ran_is_replaced},
    {"one that can't be started is told", one_that_can_t_be_started_is_told},
    {"one that closes its socket is ended", one_that_closes_its_socket_is_ended},
    {"what no broker of ours sends ends it", what_no_broker_of_ours_sends_ends_it},
    {"after a long life there is no pause", after_a_long_life_there_is_no_pause},
    {"nothing makes a pause shorter", nothing_makes_a_pause_shorter},
    {"the next one has a start as well", the_next_one_has_a_start_as_well},
    {"others get their turn", others_get_their_turn_after_32_messages},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo workers[] = {
    {"a worker is started, ended and reaped", a_worker_is_started_ended_and_reaped},
    {"a worker has its cgroup", a_worker_has_its_cgroup},
    {"a worker without its cgroup", a_worker_without_its_cgroup_is_better_than_none},
    {"a worker that can't be started", a_worker_that_can_t_be_started_is_told},
    {"an earlier broker's worker", the_death_of_an_earlier_broker_s_worker_is_not_told},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo kept[] = {
    {"what a broker stores goes to the next", what_any_device_stores_goes_to_the_next_one},
    {"a DM file alone goes to the broker", a_dm_file_alone_goes_to_the_broker_of_any_device},
    {"all that it said last is taken", all_that_it_said_last_is_taken},
    {"an opener gets the tap", an_opener_gets_the_tap_that_it_may_know},
    {"what it stored last is not lost", what_a_broker_stored_last_is_not_lost},
    {"a confined broker names no text", a_confined_broker_names_no_text},
    {"the kept text must be there", the_kept_text_must_be_there},
    {"a connector gets the kept directory", a_connector_gets_the_kept_directory},
    {"helpers that can't be started", helpers_that_can_t_be_started_are_told},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo alive[] = {
    {"a stuck broker is ended", a_stuck_broker_is_ended},
    {"a start without an end is ended", a_start_without_an_end_is_ended},
    {"a broker that reads nothing is ended", a_broker_that_reads_nothing_is_ended},
    {"a broker gets time to end", a_broker_gets_time_to_end},
    {"without a broker it ends at once", without_a_broker_it_ends_at_once},
    {"all children are ended", all_children_of_any_device_are_ended},
    {"the last child is waited for", the_last_child_of_any_device_is_waited_for},
    {"a child that hangs is not waited for", a_child_that_hangs_is_not_waited_for_without_end},
    {"it is waited for until then", it_is_waited_for_until_then},
    {"a stuck broker may take its time to die", a_stuck_broker_may_take_its_time_to_die},
    {"so may one that is asked to end", one_that_is_asked_to_end_may_as_well},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo zero[] = {
    {"a file with the number 0 is one", a_file_with_the_number_0_is_one},
    {"the kept text may have it", the_kept_text_may_have_it},
    {"a cgroup may have it", a_cgroup_may_have_it},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo managers[] = {
    {"a service manager hears how it is", a_service_manager_hears_how_it_is},
    {"a watchdog is fed", a_watchdog_is_fed},
    {"what outlives us is left as it is", what_outlives_us_is_left_as_it_is},
    {"a set is stored when it has it", a_set_is_stored_when_the_manager_has_it},
    {"nobody is told of an earlier set", nobody_is_told_of_an_earlier_one_s_set},
    {"a slow one is waited for", a_manager_that_is_slow_is_waited_for},
    {"what passes is tried again", what_passes_is_tried_again},
    {"the claims outlive us", the_claims_outlive_us_once_devices_are_served},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"brokers", NULL, NULL, NULL, NULL, brokers},
        {"workers", NULL, NULL, NULL, NULL, workers},
        {"kept", NULL, NULL, NULL, NULL, kept},
        {"alive", NULL, NULL, NULL, NULL, alive},
        {"the number 0", NULL, NULL, NULL, NULL, zero},
        {"service manager", NULL, NULL, NULL, NULL, managers},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
