/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker of any kind can do with its eventfds, its mailbox, its control socket, its time and
 * its memory. In the short form the victim is an entropy device, which has nothing else. In the
 * long form each kind is a victim.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/attack/test_attack.h"
#include "tests/cunit_main.h"
#include "tests/standin/clock.h"
#include "tests/standin/control_client.h"

#define BAD_MESSAGES 12u /* cases of attack_bad_message */
#define FORBIDDEN 14u    /* cases of attack_forbidden */
#define POSITIONS 5u     /* cases of attack_spoilt_positions */
#define ANSWER_MS 12000  /* 5 s for a worker, and time for its successor, on a busy machine */
#define PROMPT_MS 2000

static const struct victim *const everyone[] = {
    &victim_rng,   &victim_block,  &victim_ring, &victim_console, &victim_socket, &victim_net,
    &victim_vsock, &victim_daemon, NULL,
};

static void of_each_kind(void (*test)(const struct victim *victim))
{
    for (size_t i = 0; everyone[i] && (i == 0 || long_form()); i++)
        test(everyone[i]);
}

/* ---- Interrupts ---- */

/* The driver does not acknowledge: one interrupt is outstanding, and a flood raises no second one.
 */
static void interrupts_of(const struct victim *victim)
{
    struct session *session = session_of(victim);
    struct watch watch;
    /* Its driver polls, so an interrupt may be outstanding, and another wait for its
     * acknowledgement. */
    do
        standin_write(session->fixture.standin, 0, fixture_base(0) + VIRTIO_MMIO_INTERRUPT_ACK, 4,
                      3, PROMPT_MS);
    while (standin_wait_irq(session->fixture.standin, 0, 100) > 0);
    session_attack(session, 0, ATTACK_interrupt_flood, 0);
    session_watch(session, &watch);
    usleep(session_flood_ms() * 1000);
    CU_ASSERT(session_judge(session, &watch, ATTACK_interrupt_flood) > 0);
    int raised = standin_wait_irq(session->fixture.standin, 0, 0);
    printf("%d interrupts ", raised);
    CU_ASSERT_EQUAL(raised, 1);

    /* A driver that acknowledges gets one interrupt for each acknowledgement. */
    int acknowledged = 0, more = 0;
    for (uint64_t end = now_ms() + 200; now_ms() < end; acknowledged++) {
        const uint64_t addr = fixture_base(0) + VIRTIO_MMIO_INTERRUPT_ACK;
        if (standin_write(session->fixture.standin, 0, addr, 4, 3, PROMPT_MS) < 0)
            break;
        raised = standin_wait_irq(session->fixture.standin, 0, 0);
        more += raised > 0 ? raised : 0;
    }
    CU_ASSERT(acknowledged > 0);
    printf("and %d for %d acknowledgements ", more, acknowledged);
    CU_ASSERT(more > 0 && more <= acknowledged + 1);
    session_replace(session);
}

static void interrupt_flood(void)
{
    of_each_kind(interrupts_of);
}

/* The successor can raise interrupts: session_replace checks that. */
static void interrupt_full(void)
{
    attack_and_die(&victim_rng, ATTACK_interrupt_full, 0);
}

/* ---- The mailbox ---- */

/* The worker never answers, but signals without end that it has. Its successor answers the vCPU. */
static void reply_flood(void)
{
    struct session *session = session_of(&victim_rng);
    struct watch watch;
    uint64_t value, since = now_ms();
    pid_t before = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, ATTACK_reply_flood, 0);
    session_watch(session, &watch);
    usleep(session_flood_ms() * 1000);
    session_judge(session, &watch, ATTACK_reply_flood);
    CU_ASSERT_EQUAL(session_read(session, VIRTIO_MMIO_MAGIC_VALUE, 4, &value, ANSWER_MS), 0);
    CU_ASSERT_EQUAL(value, 0x74726976);
    printf("answered after %llu ms ", (unsigned long long)(now_ms() - since));
    session_wait_successor(session, before);
    session_replace(session);
}

static void reply_full(void)
{
    uint64_t value;
    attack_and_die(&victim_rng, ATTACK_reply_full, 0);
    struct session *session = session_of(&victim_rng);
    CU_ASSERT_EQUAL(session_read(session, VIRTIO_MMIO_MAGIC_VALUE, 4, &value, PROMPT_MS), 0);
}

static void forged_answers(void)
{
    struct session *session = session_of(&victim_rng);
    uint64_t value;
    session_attack(session, 0, ATTACK_forged_answers, 0);
    for (unsigned int i = 0; i < 400; i++) {
        const unsigned int width = 1u << i % 4;
        CU_ASSERT_EQUAL(session_read(session, i % 2 ? VIRTIO_MMIO_STATUS : VIRTIO_MMIO_CONFIG,
                                     width, &value, ANSWER_MS),
                        0);
        CU_ASSERT(width == 8 || value >> 8 * width == 0);
    }
    /* Of InterruptStatus, the worker controls two bits and no more. */
    for (unsigned int i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(session_read(session, VIRTIO_MMIO_INTERRUPT_STATUS, 4, &value, ANSWER_MS),
                        0);
        CU_ASSERT_EQUAL(value & ~3ull, 0);
    }
    session_replace(session);
}

/* ---- The control socket ---- */

/* The worker is ended for it, and the log says so. */
static void is_ended_for(enum attack attack, uint64_t argument)
{
    struct session *session = session_of(&victim_rng);
    const size_t from = log_length(session);
    pid_t before = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, attack, argument);
    session_wait_successor(session, before);
    CU_ASSERT_TRUE(logged_since(session, from, "is ended: "));
}

static void log_flood(void)
{
    struct session *session = session_of(&victim_rng);
    struct watch watch;
    session_watch(session, &watch);
    uint64_t since = now_ms();
    is_ended_for(ATTACK_log_flood, 0);
    uint64_t ended = now_ms() - since;
    usleep((useconds_t)(ended < session_flood_ms() ? session_flood_ms() - ended : 0) * 1000);
    session_judge(session, &watch, ATTACK_log_flood);
    session_replace(session);
}

static void bad_message(void)
{
    for (unsigned int i = 0; i < BAD_MESSAGES; i++) {
        struct session *session = session_of(&victim_rng);
        if (i == 0) { /* end of file, or a packet without bytes: nobody can tell */
            pid_t before = fixture_worker(&session->fixture, 0);
            session_attack(session, 0, ATTACK_bad_message, i);
            session_wait_successor(session, before);
        } else {
            is_ended_for(ATTACK_bad_message, i);
        }
        session_replace(session);
    }
}

/* ---- Time ---- */

static void epoll_flood_of(const struct victim *victim)
{
    session_flood(victim, ATTACK_epoll_flood, 0);
}

static void epoll_flood(void)
{
    of_each_kind(epoll_flood_of);
}

static void spin_of(const struct victim *victim)
{
    session_flood(victim, ATTACK_spin, 0);
}

static void spin(void)
{
    of_each_kind(spin_of);
}

/* For a slow disk a vCPU waits longer than for other things, but not for ever. */
static void lie_in_io(void)
{
    struct session *session = session_of(&victim_rng);
    uint64_t value, since = now_ms();
    if (!long_form()) {
        case_skipped("the long form: it takes 15 s, and test_stuck has the honest worker");
        return;
    }
    session_attack(session, 0, ATTACK_lie_in_io, 0);
    CU_ASSERT_EQUAL(session_read(session, VIRTIO_MMIO_MAGIC_VALUE, 4, &value, 3 * ANSWER_MS), 0);
    CU_ASSERT(now_ms() - since < 15000 + PROMPT_MS);
    session_replace(session);
}

static uint32_t restarts(const struct session *session)
{
    char path[96];
    struct control_reply reply = {0};
    snprintf(path, sizeof(path), "%s/control", session->fixture.dir);
    CU_ASSERT_EQUAL(control_client_ask(path, CONTROL_STATUS, 0, &reply), 0);
    return reply.device.restarts;
}

/* Each start costs the others something. So each start comes later than the one before. */
static void die_again(void)
{
    struct session *session = session_of(&victim_rng);
    struct attack_report *report = session_report(session, 0);
    struct watch watch;
    uint64_t value;
    const uint32_t before = restarts(session);
    atomic_store(&report->each, ATTACK_die_again);
    session_watch(session, &watch);
    CU_ASSERT_EQUAL(session_read(session, VIRTIO_MMIO_MAGIC_VALUE, 4, &value, 1500), -ETIMEDOUT);
    atomic_store(&report->each, ATTACK_NONE);
    const uint32_t deaths = restarts(session) - before;
    printf("%u deaths ", deaths);
    /* The starts come at 0, 30, 90, 210, 450 and 930 ms, and at 1.9 s. */
    CU_ASSERT(deaths >= 3 && deaths <= 8);
    session_judge(session, &watch, ATTACK_die_again);
    session_replace(session);
}

/* ---- Memory ---- */

static void spoil_page_of(const struct victim *victim)
{
    session_flood(victim, ATTACK_spoil_page, 0);
}

static void spoil_page(void)
{
    of_each_kind(spoil_page_of);
}

static void spoilt_page_of(const struct victim *victim)
{
    for (uint64_t variant = 0; variant < 4; variant++)
        attack_and_die(victim, ATTACK_spoilt_page, variant % 2);
}

static void spoilt_page(void)
{
    of_each_kind(spoilt_page_of);
}

/* A vCPU waits, and its access can't be read from the mailbox any more. But the broker still knows
 * it. */
static void spoilt_mailbox(void)
{
    struct session *session = session_of(&victim_rng);
    uint64_t value, since = now_ms();
    atomic_store(&session_report(session, 0)->each, ATTACK_spoilt_mailbox);
    CU_ASSERT_EQUAL(session_read(session, VIRTIO_MMIO_MAGIC_VALUE, 4, &value, 2 * ANSWER_MS), 0);
    CU_ASSERT_EQUAL(atomic_load(&session_report(session, 0)->begun), ATTACK_spoilt_mailbox);
    printf("answered after %llu ms ", (unsigned long long)(now_ms() - since));
    CU_ASSERT_EQUAL(value, 0x74726976);
    CU_ASSERT(now_ms() - since < 2 * PROMPT_MS);
    session_replace(session);
}

/* The driver goes on: DRIVER_OK, a kick. The successor survives: it does not use what this worker
 * has written. */
static void positions_are_looked_at(uint64_t variant)
{
    struct session *session = session_of(&victim_block);
    struct guest guest;
    victim_block.start(session); /* with the ring format that the test wants */
    pid_t before = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, ATTACK_spoilt_positions, variant);
    pid_t successor = session_wait_successor(session, before);
    fixture_guest(&session->fixture, 0, &guest);
    guest_add_status(&guest, VIRTIO_CONFIG_S_DRIVER_OK);
    guest_write(&guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
    for (unsigned int i = 0; i < 20; i++)
        (void)guest_status(&guest);
    CU_ASSERT_EQUAL(guest.error, 0);
    CU_ASSERT_EQUAL(fixture_worker(&session->fixture, 0), successor);
    session_replace(session);
}

static void spoilt_positions(void)
{
    for (uint64_t variant = 0; variant < POSITIONS; variant++)
        positions_are_looked_at(variant);
}

static void spoilt_positions_packed(void)
{
    fixture_format = GUEST_PACKED;
    spoilt_positions();
    fixture_format = 0;
}

static void spoil_window_of(const struct victim *victim)
{
    session_flood(victim, ATTACK_spoil_window, 0);
}

static void spoil_window(void)
{
    of_each_kind(spoil_window_of);
}

static void grow_stack(void)
{
    struct session *session = session_of(&victim_rng);
    pid_t before = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, ATTACK_grow_stack, 0);
    session_wait_successor(session, before);
    uint64_t grown = session_report(session, 0)->result[0];
    printf("%llu KiB of stack ", (unsigned long long)grown / 1024);
    CU_ASSERT(grown > 0 && grown <= 256 << 10);
    session_replace(session);
}

/* ---- What is not allowed ---- */

static void dies_of(const struct victim *victim, uint64_t call)
{
    struct session *session = session_of(victim);
    const size_t from = log_length(session);
    pid_t before = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, ATTACK_forbidden, call);
    session_wait_successor(session, before);
    CU_ASSERT_EQUAL(atomic_load(&session_report(session, 0)->over), 0);
    CU_ASSERT_TRUE(logged_since(session, from, "SIGSYS") ||
                   logged_since(session, from, "system call"));
    session_replace(session);
}

static void forbidden_of(const struct victim *victim)
{
    for (uint64_t call = 0; call < FORBIDDEN; call++)
        dies_of(victim, call);
}

static void forbidden(void)
{
    of_each_kind(forbidden_of);
}

const CU_TestInfo common_tests[] = {
    {"interrupt_flood: at most one interrupt is outstanding", interrupt_flood},
    {"interrupt_full: the successor's interrupts come", interrupt_full},
    {"reply_flood: another worker answers", reply_flood},
    {"reply_full: the successor's answers come at once", reply_full},
    {"forged_answers: values of their width, and two bits of InterruptStatus", forged_answers},
    {"log_flood: the worker is ended", log_flood},
    {"bad_message: the worker is ended", bad_message},
    {"epoll_flood: its own processor time", epoll_flood},
    {"spin: its own processor time", spin},
    {"lie_in_io: a vCPU waits for 15 s at most", lie_in_io},
    {"die_again: each start comes later than the one before", die_again},
    {"spoil_page: nobody else reads it", spoil_page},
    {"spoilt_page: the successor survives it", spoilt_page},
    {"spoilt_mailbox: the successor answers", spoilt_mailbox},
    {"spoilt_positions: the successor survives them", spoilt_positions},
    {"spoilt_positions, packed: the successor survives them", spoilt_positions_packed},
    {"spoil_window: it is its guest's own", spoil_window},
    {"grow_stack: it has what it had", grow_stack},
    {"forbidden: the worker dies of it", forbidden},
    CU_TEST_INFO_NULL,
};
