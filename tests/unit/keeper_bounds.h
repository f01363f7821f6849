/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_keeper.c, which includes it: the first and the last device, the file with the
 * number 0, children that do not die, and a service manager that is slow. */
#ifndef TESTS_UNIT_KEEPER_BOUNDS_H
#define TESTS_UNIT_KEEPER_BOUNDS_H

#include "tests/unit/keeper_cases.h"

static void one_begins_with_nothing(void)
{
    unsigned char untouched[sizeof(keeper.of_broker)];
    memset(&keeper, 0x5a, sizeof(keeper));
    memset(untouched, 0x5a, sizeof(untouched));
    keeper_init(&keeper);
    CU_ASSERT(keeper.broker.pidfd == -1 && keeper.socket == -1 && keeper.exit_status == -1);
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        CU_ASSERT_EQUAL(keeper.workers[i].pidfd, -1);
        CU_ASSERT_EQUAL(keeper.openers[i].pidfd, -1);
        CU_ASSERT_EQUAL(keeper.connectors[i].pidfd, -1);
    }
    CU_ASSERT_EQUAL(memcmp(keeper.of_broker, untouched, sizeof(untouched)), 0);
    CU_ASSERT_EQUAL(memcmp(&keeper.watch, untouched, sizeof(untouched)), 0);
}

static void without_a_socket_there_is_no_broker(void)
{
    begin();
    fail_once("socketpair", EMFILE, 0);
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_STRING_EQUAL(said.text,
                           "bao-virtio-dm: can't start the broker: Too many open files\n");
    CU_ASSERT_EQUAL(spawn_tries, 0);
}

/* ---- The first and the last device ---- */

static void of_each_device(void (*test)(void))
{
    static const uint32_t ids[] = {0, BAO_DEVICES_MAX - 1, 3};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        dm_id = ids[i];
        test();
    }
}

static void gets_the_dm_file_alone(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_RESTORE);
    CU_ASSERT_EQUAL(message.store.condition, STORE_DM_ONLY);
    CU_ASSERT_EQUAL(got_count, 1);
    runs();
}

/* An earlier keeper has left it. Its interrupt was not registered. */
static void a_dm_file_alone_goes_to_the_broker(void)
{
    begin();
    struct stored_set *set = &keeper.store.sets[dm_id];
    set->fd_count = 1;
    set->fds[STORE_DM] = eventfd(0, EFD_CLOEXEC);
    set->message.condition = STORE_DM_ONLY;
    SCRIPT(gets_the_dm_file_alone, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(irqs_removed, 0);
}

/* ---- The number 0 ---- */

static bool directory_0;

static void keeps_a_directory(void)
{
    keeps_a_backend();
    if (directory_0)
        free_0(); /* so the keeper gets it as 0 */
}

static void asks_for_all_again(void)
{
    CU_ASSERT_EQUAL(receive().spawned.pid, keeper.workers[dm_id].pid);
    asks_for_a_worker();
    asks_for_an_opener();
    asks_for_a_connector();
}

static void has_them_already(void)
{
    CU_ASSERT_EQUAL(receive().spawned.pid, -EBUSY);
    CU_ASSERT_EQUAL(kept_file(&keeper.store, dm_id, OPENED_DIRECTORY) == 0, directory_0);
    dies(&keeper.workers[dm_id], CLD_EXITED, 0);
}

static void hears_of_it_and_is_asked(void)
{
    gets(MSG_DIED);
    gets_nothing();
    now_ms += WATCH_ASK_MS;
}

static void answers_and_is_asked_to_end(void)
{
    gets(MSG_PING);
    asked_to_stop();
}

static void hears_it_and_ends(void)
{
    gets(MSG_STOP);
    ends();
}

/* `file`: 0: the socket; 1 to 4: a child's; 5: the kept directory; 6: none. */
static void with_the_number_0(unsigned int file)
{
    begin();
    number_0 = file;
    directory_0 = file == 5;
    if (file == 0)
        gives_0 = "socketpair";
    SCRIPT(gets_the_end, stores, is_told_that_it_is_stored, says_running, keeps_a_directory,
           asks_for_a_worker, asks_for_an_opener, asks_for_a_connector, asks_for_all_again,
           has_them_already, hears_of_it_and_is_asked, answers_and_is_asked_to_end,
           hears_it_and_ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log,
                           "broker --config\nworker\nopener 3 again 1 taps 0\nconnector\n");
    CU_ASSERT_STRING_EQUAL(said.text, "bao-virtio-dm: no worker has a cgroup\n");
    CU_ASSERT_EQUAL(fcntl(0, F_GETFD) < 0, file < 6); /* it was used, and is closed again */
    if (file < 6)
        take_0_back();
}

static void a_file_with_the_number_0_is_one(void)
{
    for (unsigned int file = 0; file <= 6; file++)
        with_the_number_0(file);
}

static void the_kept_text_may_have_it(void)
{
    begin();
    free_0();
    keeper.store.config = shared_page_of_text("configuration", "abc", 3);
    CU_ASSERT_EQUAL(keeper.store.config, 0);
    keeper.has_run = true;
    SCRIPT(gets_the_end, says_config_without_a_text, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_FALSE(fakes[0].killed);
    take_0_back();
}

static void a_cgroup_may_have_it(void)
{
    begin();
    free_0();
    with_cgroup();
    CU_ASSERT_EQUAL(keeper.cgroups.workers[dm_id], 0);
    its_cgroup = 0;
    spawn_error[1] = EBUSY;
    SCRIPT(runs, asks_for_a_worker, has_a_worker, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nworker\n");
    CU_ASSERT_EQUAL(keeper.cgroups.workers[dm_id], -1);
    take_0_back();
}

/* ---- Children that do not die ---- */

static int64_t waits_from;

static void its_worker_hangs(void)
{
    gets(MSG_SPAWNED);
    hung = 1u << 1;
    waits_from = now_ms;
    asked_to_stop();
}

/* In a call to its disk: the kernel ends it when the disk answers. */
static void a_child_that_hangs_is_not_waited_for_without_end(void)
{
    begin();
    SCRIPT(runs, asks_for_a_worker, its_worker_hangs, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(now_ms, waits_from + 2000);
    CU_ASSERT(fakes[1].killed && fakes[1].child.pidfd >= 0);
}

static void two_hang(void)
{
    hung = 1u << 1 | 1u << 2;
    asked_to_stop();
}

static void one_dies_near_the_end(void)
{
    CU_ASSERT_EQUAL(slept, 2000);
    now_ms += 1999;
    dies(&keeper.openers[dm_id], CLD_KILLED, SIGKILL);
}

static void the_other_one_has_what_is_left(void)
{
    CU_ASSERT_EQUAL(slept, 1);
    dies(&keeper.workers[dm_id], CLD_KILLED, SIGKILL);
}

static void it_is_waited_for_until_then(void)
{
    begin();
    SCRIPT(runs, asks_for_a_worker, asks_for_an_opener, two_hang, ends, one_dies_near_the_end,
           the_other_one_has_what_is_left);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(fakes[1].child.pidfd, -1);
}

static void stuck_and_hung(void)
{
    gets(MSG_PING);
    hung = 1u << 0;
    now_ms += WATCH_LAST_MS;
}

static void it_dies_at_last(void)
{
    CU_ASSERT_EQUAL(slept, -1); /* there is nothing else to do */
    CU_ASSERT(fakes[0].killed && broker_count == 1);
    dies(&keeper.broker, CLD_KILLED, SIGKILL);
}

static void a_stuck_broker_may_take_its_time_to_die(void)
{
    begin();
    SCRIPT(runs, a_second_passes, is_asked, stuck_and_hung, it_dies_at_last, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(broker_count, 2);
}

static void its_end_hangs(void)
{
    hung = 1u << 0;
    now_ms += 2000;
}

static void one_that_is_asked_to_end_may_as_well(void)
{
    begin();
    SCRIPT(runs, asked_to_stop, its_end_hangs, it_dies_at_last);
    CU_ASSERT_EQUAL(run(), 0);
}

/* ---- Times ---- */

static void a_long_life_ends(void)
{
    CU_ASSERT_EQUAL(broker_count, 2);
    began_at = now_ms += 10001;
    crashes();
}

static void the_next_one_comes_at_once(void)
{
    CU_ASSERT_EQUAL(broker_count, 3);
    CU_ASSERT_EQUAL(now_ms, began_at);
    asked_to_stop();
}

static void after_a_long_life_there_is_no_pause(void)
{
    begin();
    SCRIPT(runs, crashes, a_long_life_ends, the_next_one_comes_at_once, ends);
    CU_ASSERT_EQUAL(run(), 0);
}

static void a_worker_hangs_and_the_broker_dies(void)
{
    gets(MSG_SPAWNED);
    hung = 1u << 1;
    spawn_error[2] = spawn_error[3] = ENOMEM;
    crashes();
}

static void the_worker_dies_in_the_pause(void)
{
    CU_ASSERT_EQUAL(spawn_tries, 3);
    began_at = now_ms;
    CU_ASSERT_EQUAL(slept, 100);
    dies(&keeper.workers[dm_id], CLD_KILLED, SIGKILL);
}

static void the_pause_goes_on(void)
{
    CU_ASSERT_EQUAL(spawn_tries, 3);
    CU_ASSERT_EQUAL(slept, 100);
    now_ms += 100;
}

static void the_next_pause_is_longer(void)
{
    CU_ASSERT_EQUAL(spawn_tries, 4);
    CU_ASSERT_EQUAL(slept, 200);
    now_ms += 200;
}

static void nothing_makes_a_pause_shorter(void)
{
    begin();
    SCRIPT(runs, asks_for_a_worker, a_worker_hangs_and_the_broker_dies,
           the_worker_dies_in_the_pause, the_pause_goes_on, the_next_pause_is_longer, runs,
           asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(broker_count, 2);
}

static void settles_again_and_hangs(void)
{
    gets(MSG_RESTORE_END);
    settles(2);
    CU_ASSERT_EQUAL(slept, WATCH_START_MS);
    now_ms += WATCH_START_MS;
}

/* What a broker may do only before it runs, each new one may. */
static void the_next_one_has_a_start_as_well(void)
{
    begin();
    SCRIPT(runs, crashes, settles_again_and_hangs, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text,
               "bao-virtio-dm: the broker is ended: it has not come to the end of its start\n"));
    CU_ASSERT_EQUAL(broker_count, 3);
}

/* ---- Many messages ---- */

static unsigned int words_before;

static void its_worker_dies_meanwhile(void)
{
    gets(MSG_SPAWNED);
    for (unsigned int i = 0; i < words_before; i++)
        says(MSG_PONG, MESSAGE_NO_DEVICE, NULL, 0);
    asks_for_a_worker();
    dies(&keeper.workers[dm_id], CLD_EXITED, 0);
}

static void hears_which_came_first(void)
{
    bool dies_first = words_before >= 32;
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, dies_first ? MSG_DIED : MSG_SPAWNED);
    if (!dies_first)
        CU_ASSERT_EQUAL(message.spawned.pid, -EBUSY);
    message = receive();
    CU_ASSERT_EQUAL(message.header.type, dies_first ? MSG_SPAWNED : MSG_DIED);
    if (dies_first)
        CU_ASSERT(message.spawned.pid > 0);
    gets_nothing();
}

static void others_get_their_turn_after_32_messages(void)
{
    for (words_before = 31; words_before <= 32; words_before++) {
        begin();
        SCRIPT(runs, asks_for_a_worker, its_worker_dies_meanwhile, hears_which_came_first,
               asked_to_stop, ends);
        CU_ASSERT_EQUAL(run(), 0);
    }
}

static void says_much_and_crashes(void)
{
    runs();
    for (unsigned int i = 0; i < 40; i++)
        says(MSG_PONG, MESSAGE_NO_DEVICE, NULL, 0);
    keeps_a_backend();
    stores();
    crashes();
}

static void all_that_it_said_last_is_taken(void)
{
    begin();
    SCRIPT(says_much_and_crashes, the_next_one_gets_all, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
}

/* ---- The files of a tap ---- */

static uint32_t tap_index;

static void keeps_a_tap(void)
{
    union message message = {0};
    const int files[] = {signals[0], signals[1]};
    message.header.type = MSG_KEEP;
    message.opened.dm_id = dm_id;
    message.opened.files = 3u << OPENED_TAP_FIRST;
    CU_ASSERT_EQUAL(message_send(broker, &message, files, 2), 0);
}

static void asks_with_an_index(void)
{
    union message message = {.open = {.header = {.type = MSG_OPEN, .device = dm_id},
                                      .again = 1,
                                      .tap_index = tap_index}};
    const int files[] = {signals[0], signals[0]};
    CU_ASSERT_EQUAL(message_send(broker, &message, files, 2), 0);
}

static void an_opener_gets_the_tap_that_it_may_know(void)
{
    static const char *const logs[] = {"broker --config\nopener 3 again 1 taps 0\n",
                                       "broker --config\nopener 3 again 1 taps 2\n",
                                       "broker --config\nopener 3 again 1 taps 2\n"};
    for (tap_index = 0; tap_index < 3; tap_index++) {
        begin();
        SCRIPT(runs, keeps_a_tap, asks_with_an_index, asked_to_stop, ends);
        CU_ASSERT_EQUAL(run(), 0);
        CU_ASSERT_STRING_EQUAL(spawn_log, logs[tap_index]);
    }
}

#endif
