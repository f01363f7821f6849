/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_keeper.c, which includes it: the first cases. */
#ifndef TESTS_UNIT_KEEPER_CASES_H
#define TESTS_UNIT_KEEPER_CASES_H

#include "tests/unit/keeper_under_test.h"

/* ---- Workers ---- */

static uint32_t its_cgroup;

static void has_a_worker(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_SPAWNED);
    CU_ASSERT_EQUAL(message.header.device, dm_id);
    CU_ASSERT_EQUAL(message.spawned.pid, keeper.workers[dm_id].pid);
    CU_ASSERT_EQUAL(message.spawned.cgroup, its_cgroup);
    asks_for_a_worker(); /* a second one */
}

static void gets_no_second_one(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_SPAWNED);
    CU_ASSERT_EQUAL(message.spawned.pid, -EBUSY);
    gets_nothing();
    says(MSG_KILL, dm_id, NULL, 0);
}

static void hears_of_its_death(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_DIED);
    CU_ASSERT_EQUAL(message.header.device, dm_id);
    CU_ASSERT_EQUAL(message.died.code, CLD_KILLED);
    CU_ASSERT_EQUAL(message.died.status, SIGKILL);
    CU_ASSERT_EQUAL(keeper.workers[dm_id].pidfd, -1);
}

static void a_worker_is_started_ended_and_reaped(void)
{
    begin();
    its_cgroup = 0;
    SCRIPT(runs, asks_for_a_worker, has_a_worker, gets_no_second_one, hears_of_its_death,
           asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nworker\n");
}

static void with_cgroup(void)
{
    its_cgroup = CGROUP_OWN;
    keeper.cgroups.workers[dm_id] = dup(signals[0]);
}

static void a_worker_has_its_cgroup(void)
{
    begin();
    with_cgroup();
    SCRIPT(runs, asks_for_a_worker, has_a_worker, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nworker in a cgroup\n");
}

static void has_one_that_dies(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_SPAWNED);
    CU_ASSERT_EQUAL(message.spawned.pid, keeper.workers[dm_id].pid);
    CU_ASSERT_EQUAL(message.spawned.cgroup, 0);
    CU_ASSERT_EQUAL(keeper.cgroups.workers[dm_id], -1);
    says(MSG_KILL, dm_id, NULL, 0);
}

static void a_worker_without_its_cgroup_is_better_than_none(void)
{
    begin();
    with_cgroup();
    spawn_error[1] = EBUSY;
    SCRIPT(runs, asks_for_a_worker, has_one_that_dies, hears_of_its_death, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nworker\n");
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text,
                                  "the worker of device 3 can't enter its cgroup: Device "
                                  "or resource busy: it does without\n"));
}

static void hears_that_there_is_none(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_SPAWNED);
    CU_ASSERT_EQUAL(message.spawned.pid, -ENOMEM);
    CU_ASSERT_EQUAL(message.spawned.cgroup, its_cgroup);
}

static void a_worker_that_can_t_be_started_is_told(void)
{
    for (unsigned int cgroup = 0; cgroup < 2; cgroup++) {
        begin();
        its_cgroup = 0;
        spawn_error[1] = cgroup ? EBUSY : ENOMEM;
        spawn_error[2] = ENOMEM;
        if (cgroup)
            with_cgroup();
        SCRIPT(runs, asks_for_a_worker, hears_that_there_is_none, asked_to_stop, ends);
        CU_ASSERT_EQUAL(run(), 0);
        CU_ASSERT_EQUAL(spawn_tries, cgroup ? 3 : 2);
        CU_ASSERT_PTR_NULL(strstr(said.text, "without\n"));
    }
}

static void crashes_with_a_worker(void)
{
    (void)receive();
    dies(&keeper.broker, CLD_KILLED, SIGSEGV);
}

static void hears_nothing_of_the_old_one(void)
{
    CU_ASSERT_TRUE(fakes[1].killed); /* it is a worker of the first broker */
    CU_ASSERT_EQUAL(broker_count, 2);
    gets(MSG_RESTORE_END);
    gets_nothing();
    CU_ASSERT_EQUAL(keeper.workers[dm_id].pidfd, -1);
}

static void the_death_of_an_earlier_broker_s_worker_is_not_told(void)
{
    begin();
    SCRIPT(runs, asks_for_a_worker, crashes_with_a_worker, hears_nothing_of_the_old_one,
           asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
}

/* ---- Sets, openers, connectors, configurations ---- */

static void is_told_that_it_is_stored(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_STORED);
    CU_ASSERT_EQUAL(message.header.device, 5);
    gets_nothing();
}

static void says_running(void)
{
    says(MSG_RUNNING, MESSAGE_NO_DEVICE, NULL, 0);
}

static void keeps_a_backend(void)
{
    union message message = {0};
    message.header.type = MSG_KEEP;
    message.opened.dm_id = dm_id;
    message.opened.files = 1u << OPENED_DIRECTORY;
    CU_ASSERT_EQUAL(message_send(broker, &message, &signals[0], 1), 0);
}

static void the_next_one_gets_all(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_RESTORE);
    CU_ASSERT_EQUAL(message.store.dm_id, dm_id);
    CU_ASSERT_EQUAL(message.store.mmio_addr, 0x1000);
    CU_ASSERT_EQUAL(got_count, SET_FDS);
    message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_KEPT);
    CU_ASSERT_EQUAL(message.opened.dm_id, dm_id);
    CU_ASSERT_EQUAL(got_count, 1);
    gets(MSG_RESTORE_END);
    gets_nothing();
}

static void gets_the_end(void)
{
    gets(MSG_RESTORE_END);
}

static void what_a_broker_stores_goes_to_the_next_one(void)
{
    begin();
    SCRIPT(gets_the_end, stores, is_told_that_it_is_stored, says_running, keeps_a_backend, crashes,
           the_next_one_gets_all, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(irqs_removed, 1); /* the driver would not survive it otherwise */
}

static void stores_and_crashes(void)
{
    gets(MSG_RESTORE_END);
    says_running();
    stores();
    crashes();
}

static void the_next_one_gets_the_set(void)
{
    gets(MSG_RESTORE);
    gets(MSG_RESTORE_END);
}

/* What it has sent before its death is taken, though nobody waits for the answer. */
static void what_a_broker_stored_last_is_not_lost(void)
{
    begin();
    SCRIPT(stores_and_crashes, the_next_one_gets_the_set, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(keeper.store.sets[dm_id].fd_count, SET_FDS);
}

static void settles(size_t size)
{
    int text = shared_page_of_text("configuration", "abc", size);
    says(MSG_CONFIG, MESSAGE_NO_DEVICE, &text, 1);
    close(text);
}

static void settles_its_configuration(void)
{
    settles(3);
}

static void asks_for_an_opener(void)
{
    union message message = {
        .open = {.header = {.type = MSG_OPEN, .device = dm_id}, .again = 1, .tap_index = 0}};
    int text = shared_page_of_text("configuration", "ab", 2);
    const int files[] = {signals[0], text};
    text_of_opener = -1;
    CU_ASSERT_EQUAL(message_send(broker, &message, files, 2), 0);
    close(text);
}

static void its_own_text_counted(void)
{
    CU_ASSERT_EQUAL(text_of_opener, 2);
    asks_for_an_opener(); /* the first one has not ended */
}

static void only_one_was_started(void)
{
    CU_ASSERT_EQUAL(text_of_opener, -1);
    dies(&keeper.openers[dm_id], CLD_EXITED, 0);
}

static void runs_and_asks(void)
{
    CU_ASSERT_EQUAL(keeper.openers[dm_id].pidfd, -1);
    says_running();
    asks_for_an_opener();
}

static void the_settled_text_counted(void)
{
    CU_ASSERT_EQUAL(text_of_opener, 3);
}

static void a_confined_broker_names_no_text(void)
{
    begin();
    SCRIPT(gets_the_end, settles_its_configuration, asks_for_an_opener, its_own_text_counted,
           only_one_was_started, runs_and_asks, the_settled_text_counted, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log,
                           "broker --config\nopener 3 again 1 taps 0\nopener 3 again 1 taps 0\n");
    CU_ASSERT_STRING_EQUAL(argv_of_broker[1], "--kept-config");
    CU_ASSERT_PTR_NULL(strstr(said.text, "can't"));
}

static void says_config_without_a_text(void)
{
    says(MSG_CONFIG, MESSAGE_NO_DEVICE, NULL, 0);
}

static void says_config_that_can_change(void)
{
    says(MSG_CONFIG, MESSAGE_NO_DEVICE, &signals[0], 1);
}

static void the_kept_text_must_be_there(void)
{
    begin();
    SCRIPT(gets_the_end, says_config_without_a_text);
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_STRING_EQUAL(argv_of_broker[1], "--config");
    begin();
    SCRIPT(gets_the_end, says_config_that_can_change);
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_TRUE(fakes[0].killed);
    begin();
    keeper.store.config = shared_page_of_text("configuration", "abc", 3);
    keeper.has_run = true;
    SCRIPT(gets_the_end, says_config_without_a_text, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_FALSE(fakes[0].killed);
    CU_ASSERT_STRING_EQUAL(argv_of_broker[1], "--kept-config");
}

static void asks_for_a_connector(void)
{
    says(MSG_CONNECTOR, dm_id, &signals[0], 1);
}

static void its_connector_dies(void)
{
    dies(&keeper.connectors[dm_id], CLD_EXITED, 0);
}

static void a_connector_gets_the_kept_directory(void)
{
    begin();
    steps[0] = runs;
    steps[1] = asks_for_a_connector; /* nothing is kept yet */
    steps[2] = keeps_a_backend;
    steps[3] = asks_for_a_connector;
    steps[4] = asks_for_a_connector; /* the first one has not ended */
    steps[5] = its_connector_dies;
    steps[6] = asks_for_a_connector;
    steps[7] = asked_to_stop;
    steps[8] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nconnector\nconnector\n");
}

static void helpers_that_can_t_be_started_are_told(void)
{
    begin();
    spawn_error[1] = EAGAIN;
    spawn_error[2] = ENOMEM;
    SCRIPT(runs, asks_for_an_opener, keeps_a_backend, asks_for_a_connector, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(
        said.text,
        "bao-virtio-dm: no worker has a cgroup\n"
        "bao-virtio-dm: can't start a process that opens the backend of device 3: Resource "
        "temporarily unavailable\n"
        "bao-virtio-dm: can't start a process that connects for device 3: Cannot allocate "
        "memory\n");
}

/* ---- Is it alive? ---- */

static void a_second_passes(void)
{
    CU_ASSERT_EQUAL(slept, WATCH_ASK_MS);
    now_ms += slept;
}

static void is_asked_and_answers(void)
{
    gets(MSG_PING);
    says(MSG_PONG, MESSAGE_NO_DEVICE, NULL, 0);
}

static void is_asked(void)
{
    gets(MSG_PING);
    CU_ASSERT_EQUAL(slept, WATCH_ANSWER_MS);
    now_ms += WATCH_ANSWER_MS;
}

static void is_asked_again(void)
{
    gets(MSG_PING);
    CU_ASSERT_EQUAL(slept, WATCH_LAST_MS);
    now_ms += WATCH_LAST_MS;
}

static void a_stuck_broker_is_ended(void)
{
    begin();
    SCRIPT(runs, a_second_passes, is_asked_and_answers, a_second_passes, is_asked, is_asked_again,
           asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_EQUAL(broker_count, 2);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text, "bao-virtio-dm: the broker is ended: it has not answered for 5 s\n"));
}

static void its_start_takes_too_long(void)
{
    CU_ASSERT_EQUAL(slept, WATCH_START_MS); /* even if it never says a word */
    now_ms += WATCH_START_MS;
}

static void a_start_without_an_end_is_ended(void)
{
    begin();
    steps[0] = its_start_takes_too_long;
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_STRING_EQUAL(
        said.text, "bao-virtio-dm: the broker is ended: it has not come to the end of its start\n"
                   "bao-virtio-dm: the broker did not start: killed by SIGKILL\n");
}

static void takes_nothing(void)
{
    const int size = 1;
    union message message = {.header = {.type = MSG_PING}};
    CU_ASSERT_EQUAL(setsockopt(keeper.socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    while (message_send(keeper.socket, &message, NULL, 0) == 0)
        continue;
    now_ms += WATCH_ASK_MS;
}

static void a_broker_that_reads_nothing_is_ended(void)
{
    begin();
    SCRIPT(runs, takes_nothing, asked_to_stop, ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "bao-virtio-dm: the broker is ended: it does not take "
                                             "a message: Resource temporarily unavailable\n"));
}

#endif
