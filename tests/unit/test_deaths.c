/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on which one worker after the other dies is not served for ever, and nothing else is
 * taken for one: the count of deaths in a queue's turn, as a successor finds it in the page.
 */
#include <string.h>

#include "tests/cunit_main.h"
#include "worker/virtqueue/poison.h"

#define QUEUES 3u

static struct state_page page;
static unsigned int queue;

static void start(void)
{
    memset(&page, 0, sizeof(page));
    page.queue_count = QUEUES;
    queue = QUEUES;
}

/* A worker dies in the turn of queue `of`; its successor looks. */
static bool dies_in(unsigned int of)
{
    poison_turn_begins(&page, of);
    return poison_found(&page, &queue);
}

/* Its turn is over when a worker dies. */
static bool dies_between_turns(void)
{
    poison_turn_begins(&page, 1);
    poison_turn_ends(&page);
    return poison_found(&page, &queue);
}

/* Another death, and one before it: the fifth in a row is found, no sooner. */
static void expect_in_a_row(unsigned int of, unsigned int before)
{
    for (unsigned int deaths = before + 1; deaths < POISON_DEATHS; deaths++)
        CU_ASSERT_FALSE(dies_in(of));
    CU_ASSERT_TRUE(dies_in(of));
    CU_ASSERT_EQUAL(queue, of);
}

static void the_last_of_five_is_found(void)
{
    for (unsigned int of = 0; of < QUEUES; of++) {
        start();
        page.queues[of].next_used = 7;
        expect_in_a_row(of, 0);
        CU_ASSERT_TRUE(dies_in(of)); /* and stays so until the driver resets */
    }
}

static void a_death_between_turns_begins_the_count_anew(void)
{
    start();
    for (unsigned int i = 1; i < POISON_DEATHS; i++)
        CU_ASSERT_FALSE(dies_in(1));
    CU_ASSERT_FALSE(dies_between_turns());
    CU_ASSERT_EQUAL(page.deaths.count, 0);
    expect_in_a_row(1, 0);
}

/* A death is counted once: a successor that dies before its first turn died of no request. */
static void a_turn_is_counted_once(void)
{
    start();
    for (unsigned int i = 1; i < POISON_DEATHS; i++)
        CU_ASSERT_FALSE(dies_in(2));
    CU_ASSERT_FALSE(poison_found(&page, &queue));
    expect_in_a_row(2, 0);
}

static void a_chain_that_was_completed_begins_the_count_anew(void)
{
    start();
    for (unsigned int i = 1; i < POISON_DEATHS; i++)
        CU_ASSERT_FALSE(dies_in(1));
    page.queues[1].next_used++;
    expect_in_a_row(1, 0);
}

static void another_queue_begins_the_count_anew(void)
{
    start();
    for (unsigned int i = 1; i < POISON_DEATHS; i++)
        CU_ASSERT_FALSE(dies_in(1));
    CU_ASSERT_FALSE(dies_in(2));
    CU_ASSERT_EQUAL(queue, 2);
    expect_in_a_row(1, 0);
}

static void a_reset_forgets(void)
{
    start();
    for (unsigned int i = 1; i < POISON_DEATHS; i++)
        CU_ASSERT_FALSE(dies_in(1));
    poison_forget(&page);
    expect_in_a_row(1, 0);
    poison_turn_begins(&page, 1);
    poison_forget(&page);
    CU_ASSERT_FALSE(poison_found(&page, &queue));
    expect_in_a_row(1, 0);
}

/* The page may be a liar's. */
static void a_queue_that_there_is_not_is_none(void)
{
    start();
    for (unsigned int i = 0; i < 2 * POISON_DEATHS; i++)
        CU_ASSERT_FALSE(dies_in(QUEUES));
    CU_ASSERT_FALSE(dies_in(UINT32_MAX));
    CU_ASSERT_EQUAL(queue, QUEUES); /* untouched */
    page.deaths = (struct state_deaths){.turn = 1, .queue = 0, .count = UINT32_MAX - 1};
    CU_ASSERT_TRUE(poison_found(&page, &queue));
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"the last of five deaths is found", the_last_of_five_is_found},
        {"a death between turns begins the count anew",
         a_death_between_turns_begins_the_count_anew},
        {"a turn is counted once", a_turn_is_counted_once},
        {"a completed chain begins the count anew",
         a_chain_that_was_completed_begins_the_count_anew},
        {"another queue begins the count anew", another_queue_begins_the_count_anew},
        {"a reset forgets", a_reset_forgets},
        {"a queue that there is not is none", a_queue_that_there_is_not_is_none},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "deaths on a request", tests);
}
