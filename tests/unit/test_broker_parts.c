/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's pure parts: decoding of accesses, back-off, rate limit, words, the journal. */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/access.h"
#include "broker/backoff.h"
#include "broker/journal.h"
#include "broker/rate_limit.h"
#include "broker/words.h"
#include "common/cgroup_limit.h"
#include "common/device_kind.h"
#include "common/eventfd.h"
#include "common/log_code.h"
#include "common/sandbox_layer.h"
#include "tests/cunit_main.h"

#define BASE 0xa003e00u
#define DM_ID 3u

/* --- access ---------------------------------------------------------------------------------- */

static struct bao_io_request request(uint64_t op, uint64_t offset, uint64_t width, uint64_t value)
{
    return (struct bao_io_request){
        .dm_id = DM_ID,
        .addr = BASE + offset,
        .op = op,
        .value = value,
        .access_width = width,
        .request_id = 1,
    };
}

static enum access_class decode(struct bao_io_request req, struct access *ret)
{
    return access_decode(&req, DM_ID, BASE, ret);
}

static void test_every_width_at_every_offset(void)
{
    for (uint64_t width = 0; width <= 16; width++) {
        int valid = width == 1 || width == 2 || width == 4 || width == 8;
        for (uint64_t offset = 0; offset <= 0x210; offset++) {
            struct access access = {0};
            enum access_class class = decode(request(BAO_IO_READ, offset, width, 0), &access);
            if (!valid || offset + width > 0x200) {
                CU_ASSERT_EQUAL(class, ACCESS_MALFORMED);
                continue;
            }
            CU_ASSERT_NOT_EQUAL(class, ACCESS_MALFORMED);
            CU_ASSERT_EQUAL(access.offset, offset);
            CU_ASSERT_EQUAL(access.width, width);
            CU_ASSERT_FALSE(access.is_write);
        }
    }
}

static void test_addresses_that_wrap(void)
{
    static const uint64_t addresses[] = {0,
                                         BASE - 1,
                                         BASE - 4,
                                         BASE + 0x1fd,
                                         BASE + 0x200,
                                         UINT64_MAX,
                                         UINT64_MAX - 3,
                                         (uint64_t)BASE << 32};
    struct access access;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct bao_io_request req = request(BAO_IO_READ, 0, 4, 0);
        req.addr = addresses[i];
        CU_ASSERT_EQUAL(access_decode(&req, DM_ID, BASE, &access), ACCESS_MALFORMED);
        /* A device at the very end or beginning of the address space makes no difference. */
        req.addr = 8;
        CU_ASSERT_EQUAL(access_decode(&req, DM_ID, UINT64_MAX - 0x1ff, &access), ACCESS_MALFORMED);
    }
}

static void test_foreign_requests(void)
{
    struct access access;
    struct bao_io_request req = request(BAO_IO_READ, 0, 4, 0);
    req.dm_id = DM_ID + 1;
    CU_ASSERT_EQUAL(decode(req, &access), ACCESS_MALFORMED);
    CU_ASSERT_EQUAL(decode(request(BAO_IO_ASK, 0, 4, 0), &access), ACCESS_MALFORMED);
    CU_ASSERT_EQUAL(decode(request(BAO_IO_NOTIFY, 0, 4, 0), &access), ACCESS_MALFORMED);
    CU_ASSERT_EQUAL(decode(request(UINT64_MAX, 0, 4, 0), &access), ACCESS_MALFORMED);
    CU_ASSERT_EQUAL(decode(request((1ull << 32) | BAO_IO_READ, 0, 4, 0), &access),
                    ACCESS_MALFORMED);
}

static void test_values_are_cut(void)
{
    struct access access;
    CU_ASSERT_EQUAL(access_mask(UINT64_MAX, 1), 0xff);
    CU_ASSERT_EQUAL(access_mask(UINT64_MAX, 2), 0xffff);
    CU_ASSERT_EQUAL(access_mask(UINT64_MAX, 4), 0xffffffff);
    CU_ASSERT_EQUAL(access_mask(UINT64_MAX, 8), UINT64_MAX);
    decode(request(BAO_IO_WRITE, 0x70, 4, 0xdead00000000000full), &access);
    CU_ASSERT_TRUE(access.is_write);
    CU_ASSERT_EQUAL(access.value, 0xf);
    decode(request(BAO_IO_READ, 0x70, 4, 0x1234), &access);
    CU_ASSERT_EQUAL(access.value, 0);
}

static void test_interrupt_registers(void)
{
    struct access access;
    CU_ASSERT_EQUAL(decode(request(BAO_IO_READ, 0x60, 4, 0), &access), ACCESS_INTERRUPT_STATUS);
    CU_ASSERT_EQUAL(decode(request(BAO_IO_WRITE, 0x64, 4, 1), &access), ACCESS_INTERRUPT_ACK);
    /* The worker refuses any other access to them. */
    CU_ASSERT_EQUAL(decode(request(BAO_IO_WRITE, 0x60, 4, 0), &access), ACCESS_TO_WORKER);
    CU_ASSERT_EQUAL(decode(request(BAO_IO_READ, 0x64, 4, 0), &access), ACCESS_TO_WORKER);
    CU_ASSERT_EQUAL(decode(request(BAO_IO_READ, 0x60, 8, 0), &access), ACCESS_TO_WORKER);
    CU_ASSERT_EQUAL(decode(request(BAO_IO_READ, 0x61, 1, 0), &access), ACCESS_TO_WORKER);
}

static void test_given_up_answers(void)
{
    const struct access status = {.offset = 0x70, .width = 4};
    const struct access magic = {.offset = 0, .width = 4};
    const struct access write = {.offset = 0x70, .width = 4, .is_write = true};
    CU_ASSERT_EQUAL(access_given_up_answer(&status), 0x40);
    CU_ASSERT_EQUAL(access_given_up_answer(&magic), 0);
    CU_ASSERT_EQUAL(access_given_up_answer(&write), 0);
}

/* --- back-off and rate limit ----------------------------------------------------------------- */

static void test_backoff_doubles_to_its_cap(void)
{
    static const uint32_t expected[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct backoff backoff = {0};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        CU_ASSERT_EQUAL(backoff_after_death(&backoff, 10), expected[i]);
    CU_ASSERT_EQUAL(backoff_after_death(&backoff, BACKOFF_HEALTHY_MS), 5000);
    CU_ASSERT_EQUAL(backoff_after_death(&backoff, BACKOFF_HEALTHY_MS + 1), 0);
    CU_ASSERT_EQUAL(backoff_after_death(&backoff, 10), 100);
}

static uint32_t worker_death(struct worker_backoff *backoff, int64_t now, uint32_t start_ms,
                             bool did_something)
{
    const struct worker_life life = {
        .now = now, .lived_ms = 10, .start_ms = start_ms, .did_something = did_something};
    return backoff_after_worker(backoff, &life);
}

/* Twenty deaths in ten seconds, with progress in between. None causes a pause. */
static void test_worker_that_gets_on_has_no_pause(void)
{
    struct worker_backoff backoff = {0};
    for (int64_t death = 0; death < 20; death++)
        CU_ASSERT_EQUAL(worker_death(&backoff, 1000000 + 500 * death, 4, true), 0);
    CU_ASSERT_EQUAL(worker_death(&backoff, 1010000, 4, false), BACKOFF_IDLE_MS);
}

static void test_worker_that_does_nothing_waits_longer_each_time(void)
{
    static const uint32_t expected[] = {0, 30, 60, 120, 240, 480, 960, 1920, 3840, 5000, 5000};
    struct worker_backoff backoff = {0};
    int64_t now = 1;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        CU_ASSERT_EQUAL(worker_death(&backoff, now, 3, false), expected[i]);
        now += expected[i] + 10;
    }
    CU_ASSERT_EQUAL(worker_death(&backoff, now, 3, true), 0); /* it made progress */
    CU_ASSERT_EQUAL(worker_death(&backoff, now + 10, 3, false), BACKOFF_IDLE_MS);
}

/* Whatever progress the workers report. */
static void test_starts_take_a_tenth_of_a_processor(void)
{
    for (uint32_t cost = 1; cost <= 2 * BACKOFF_COST_MAX_MS; cost++) {
        struct worker_backoff backoff = {0};
        int64_t now = 5, spent = 0;
        CU_ASSERT_EQUAL(worker_death(&backoff, now, cost, true), 0);
        while (now < 100000) {
            now += cost + worker_death(&backoff, now, cost, true);
            spent += cost < BACKOFF_COST_MAX_MS ? cost : BACKOFF_COST_MAX_MS;
        }
        CU_ASSERT_TRUE(spent * BACKOFF_SHARE <= now + BACKOFF_AHEAD_MS);
        CU_ASSERT_TRUE(spent * BACKOFF_SHARE >= now / 2 || cost < 10);
    }
}

static void test_rate_limit(void)
{
    struct rate_limit limit = {0};
    uint64_t left_out = 99;
    for (unsigned int i = 0; i < RATE_LIMIT_BURST; i++)
        CU_ASSERT_TRUE(rate_limit_pass(&limit, 1000000, &left_out));
    CU_ASSERT_EQUAL(left_out, 0);
    for (int i = 0; i < 7; i++)
        CU_ASSERT_FALSE(rate_limit_pass(&limit, 1000199, &left_out));
    CU_ASSERT_TRUE(rate_limit_pass(&limit, 1000200, &left_out));
    CU_ASSERT_EQUAL(left_out, 7);
    CU_ASSERT_FALSE(rate_limit_pass(&limit, 1000399, &left_out));
    CU_ASSERT_TRUE(rate_limit_pass(&limit, 1000400, &left_out));
    CU_ASSERT_EQUAL(left_out, 1); /* the seven were told */
    /* A second later five pass, and no more. */
    unsigned int passed = 0;
    for (int i = 0; i < 100; i++)
        passed += rate_limit_pass(&limit, 1001200, &left_out);
    CU_ASSERT_EQUAL(passed, 4);
    /* A long silence fills the bucket, but not beyond its size. */
    passed = 0;
    for (int i = 0; i < 100; i++)
        passed += rate_limit_pass(&limit, 9000000, &left_out);
    CU_ASSERT_EQUAL(passed, RATE_LIMIT_BURST);
}

/* A full bucket saves no time for the next token. */
static void test_full_bucket(void)
{
    struct rate_limit limit = {0};
    uint64_t left_out;
    CU_ASSERT_TRUE(rate_limit_pass(&limit, 1000000, &left_out));
    for (unsigned int i = 0; i < RATE_LIMIT_BURST; i++)
        CU_ASSERT_TRUE(rate_limit_pass(&limit, 1000399, &left_out));
    CU_ASSERT_FALSE(rate_limit_pass(&limit, 1000400, &left_out));
    CU_ASSERT_TRUE(rate_limit_pass(&limit, 1000599, &left_out));
}

static void test_other_rates(void)
{
    const struct rate fast = {.burst = 3, .interval_ms = 1};
    struct rate_limit limit = {0};
    uint64_t left_out = 99;
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(rate_limit_take(&limit, &fast, 5000, &left_out));
    CU_ASSERT_FALSE(rate_limit_take(&limit, &fast, 5000, &left_out));
    CU_ASSERT_TRUE(rate_limit_take(&limit, &fast, 5001, &left_out));
    CU_ASSERT_EQUAL(left_out, 1);
    CU_ASSERT_FALSE(rate_limit_take(&limit, &fast, 5001, &left_out));
    unsigned int taken = 0;
    for (int i = 0; i < 10; i++)
        taken += rate_limit_take(&limit, &fast, 6000, &left_out);
    CU_ASSERT_EQUAL(taken, 3);
}

/* So many each millisecond. A quiet time saves nothing up. */
static void test_pace(void)
{
    struct pace pace = {0};
    for (int64_t now = 1000; now < 9000; now += 2000) {
        for (unsigned int i = 0; i < 3; i++) {
            CU_ASSERT_TRUE(pace_has(&pace, 3, now));
            pace_count(&pace, now);
        }
        CU_ASSERT_FALSE(pace_has(&pace, 3, now));
        CU_ASSERT_TRUE(pace_has(&pace, 3, now + 1));
    }
}

/* --- words ----------------------------------------------------------------------------------- */

static void test_deaths(void)
{
    char text[WORDS_SIZE];
    CU_ASSERT_STRING_EQUAL(words_death(CLD_EXITED, 1, text), "exit status 1");
    CU_ASSERT_STRING_EQUAL(words_death(CLD_KILLED, SIGSEGV, text), "killed by SIGSEGV");
    CU_ASSERT_STRING_EQUAL(words_death(CLD_DUMPED, SIGSYS, text), "seccomp violation (SIGSYS)");
    CU_ASSERT_STRING_EQUAL(words_death(CLD_KILLED, 12345, text), "killed by signal 12345");
    CU_ASSERT_STRING_EQUAL(words_error(ENOENT), "No such file or directory");
    CU_ASSERT_STRING_EQUAL(words_error(-77777), "unknown error");
}

static void test_log_messages(void)
{
    const uint64_t args[4] = {1, UINT64_MAX, 0x10, 7};
    const uint64_t largest[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    char text[WORDS_SIZE];
    CU_ASSERT_STRING_EQUAL(words_log(LOG_AVAIL_INVALID, args, text),
                           "queue 1: available index 18446744073709551615 is too far ahead of 16");
    CU_ASSERT_STRING_EQUAL(words_log(LOG_DRIVER_OK, largest, text),
                           "driver ready, features 0xffffffffffffffff");
    CU_ASSERT_PTR_NULL(words_log(LOG_CODE_COUNT, args, text));
    CU_ASSERT_PTR_NULL(words_log(UINT32_MAX, args, text));
    CU_ASSERT_STRING_EQUAL(words_log(LOG_RESUMED, args, text),
                           "resumed with status 0x1 after a restart");
    CU_ASSERT_STRING_EQUAL(words_log_code(LOG_RESUMED), "RESUMED");
    CU_ASSERT_PTR_NULL(words_log_code(LOG_CODE_COUNT));
    CU_ASSERT_EQUAL(words_log_level(LOG_RESUMED), LOG_LEVEL_INFO);
    CU_ASSERT_EQUAL(words_log_level(LOG_AVAIL_INVALID), LOG_LEVEL_WARNING);
    CU_ASSERT_EQUAL(words_log_level(LOG_CODE_COUNT), LOG_LEVEL_ERROR);
    for (uint32_t code = 0; code < LOG_CODE_COUNT; code++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(words_log(code, largest, text));
        CU_ASSERT_PTR_NULL(strchr(text, '{'));
        CU_ASSERT(strlen(text) < WORDS_SIZE - 1); /* the text is not truncated */
    }
}

/* What words_log trusts: at most four values, and nothing else in braces. */
static void test_formats_of_messages(void)
{
    static const char *const formats[] = {
#define X(code, level, format) format,
        LOG_CODES(X)
#undef X
    };
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        unsigned int values = 0;
        for (const char *at = formats[i]; (at = strchr(at, '{')); at++) {
            CU_ASSERT(strncmp(at, "{d}", 3) == 0 || strncmp(at, "{x}", 3) == 0);
            values++;
        }
        CU_ASSERT(values <= 4);
    }
}

static void test_limits(void)
{
    char text[WORDS_SIZE] = "old";
    CU_ASSERT_STRING_EQUAL(words_limits(0, text), "");
    CU_ASSERT_STRING_EQUAL(words_limits(1u << CGROUP_PIDS, text), "pids.max");
    CU_ASSERT_STRING_EQUAL(words_limits(UINT32_MAX, text), "memory.max, pids.max, cpu.weight");
}

static void test_layers_and_steps(void)
{
    char text[WORDS_SIZE] = "old";
    uint32_t core = words_core_layers();
    CU_ASSERT_STRING_EQUAL(words_layers(0, text), "");
    CU_ASSERT_STRING_EQUAL(words_layers(1u << LAYER_COUNT, text), "");
    CU_ASSERT_STRING_EQUAL(words_layers(1u << LAYER_FDS | 1u << LAYER_MDWE, text), "fds, mdwe");
    CU_ASSERT_EQUAL(core, (1u << LAYER_KEYRING) - 1); /* those before it */
    CU_ASSERT_STRING_EQUAL(words_layers(1u << LAYER_UID | 1u << LAYER_SECCOMP, text),
                           "uid, seccomp");
    CU_ASSERT(core & 1u << LAYER_SECCOMP);
    CU_ASSERT_FALSE(core & 1u << LAYER_LANDLOCK);
    words_layers((1u << LAYER_COUNT) - 1, text);
    CU_ASSERT(strlen(text) < WORDS_SIZE - 1);
    CU_ASSERT_STRING_EQUAL(words_step(STEP_SECCOMP), "load its seccomp filter");
    CU_ASSERT_PTR_NULL(words_step(STEP_COUNT));
}

/* --- journal --------------------------------------------------------------------------------- */

/* Behind its slots there is only the rest of its page. */
static union {
    struct journal journal;
    struct {
        uint8_t head[sizeof(struct journal)];
        struct journal_slot next;
    } page;
} memory;
#define journal memory.journal

static int new_journal(void)
{
    memset(&memory, 0, sizeof(memory));
    journal_init(&journal);
    return 0;
}

static void test_new_journal_is_empty(void)
{
    struct journal_slot rest;
    memset(&memory, 0x5a, sizeof(memory));
    memset(&rest, 0x5a, sizeof(rest));
    journal_init(&journal);
    CU_ASSERT_TRUE(journal_usable(&journal));
    for (size_t i = 0; i < JOURNAL_SLOTS; i++)
        CU_ASSERT_EQUAL(journal_slot_state(&journal.slots[i]), SLOT_EMPTY);
    CU_ASSERT_EQUAL(journal.given_up, 0);
    CU_ASSERT_EQUAL(journal.doubts, 0);
    CU_ASSERT_EQUAL(journal.interrupt, INTERRUPT_IDLE);
    CU_ASSERT_EQUAL(memcmp(&memory.page.next, &rest, sizeof(rest)), 0);
}

static struct journal_slot *attach(uint64_t id)
{
    struct journal_slot *slot = journal_attach_slot(&journal);
    CU_ASSERT_PTR_NOT_NULL_FATAL(slot);
    CU_ASSERT_EQUAL(journal_slot_state(slot), SLOT_EMPTY);
    slot->request = request(BAO_IO_READ, 0, 4, 0);
    slot->request.request_id = id;
    return slot;
}

static void test_life_of_a_slot(void)
{
    new_journal();
    CU_ASSERT_TRUE(journal_usable(&journal));
    CU_ASSERT_PTR_NULL(journal_find(&journal, SLOT_TAKEN));
    for (uint64_t id = 0; id < 3; id++) { /* 0 is an id like any other */
        struct journal_slot *slot = attach(id);
        CU_ASSERT_EQUAL(slot->acknowledges, 0); /* not what its last request acknowledged */
        slot->acknowledges = 7;
        CU_ASSERT_EQUAL(journal_slot_state(slot), SLOT_TAKEN);
        journal_completing(slot, 42);
        CU_ASSERT_EQUAL(journal_slot_state(slot), SLOT_COMPLETING);
        CU_ASSERT_EQUAL(slot->request.value, 42);
        journal_done(slot);
        CU_ASSERT_EQUAL(journal_slot_state(slot), SLOT_EMPTY);
        CU_ASSERT_PTR_EQUAL(slot, &journal.slots[0]);
    }
}

/* A slot is filled again by several stores. A kill comes between them. */
static void test_half_done_is_empty(void)
{
    new_journal();
    struct journal_slot *slot = attach(5);
    journal_completing(slot, 1);
    slot->request.request_id = JOURNAL_NO_REQUEST;
    CU_ASSERT_EQUAL(journal_slot_state(slot), SLOT_EMPTY);
    CU_ASSERT_PTR_EQUAL(journal_attach_slot(&journal), slot);
    slot->request.request_id = 5; /* the kernel fills it */
    CU_ASSERT_EQUAL(journal_slot_state(slot), SLOT_TAKEN);
}

static void test_newer_request_drops_older(void)
{
    new_journal();
    struct journal_slot *same = attach(1), *other = attach(2), *taken = attach(3);
    journal_completing(same, 0);
    journal_completing(other, 0);
    struct journal_slot *newer = attach(1);
    CU_ASSERT_EQUAL(journal_drop_older(&journal, newer), 1);
    CU_ASSERT_EQUAL(journal_slot_state(same), SLOT_EMPTY);
    CU_ASSERT_EQUAL(journal_slot_state(other), SLOT_COMPLETING);
    CU_ASSERT_EQUAL(journal_slot_state(taken), SLOT_TAKEN);
    CU_ASSERT_EQUAL(journal_slot_state(newer), SLOT_TAKEN);
    CU_ASSERT_EQUAL(journal_drop_older(&journal, taken), 0);
    journal_completing(newer, 0);
    CU_ASSERT_EQUAL(journal_drop_older(&journal, newer), 0); /* it is not older than itself */
    memory.page.next = *newer;
    CU_ASSERT_EQUAL(journal_drop_older(&journal, newer), 0);
    CU_ASSERT_EQUAL(memory.page.next.request.request_id, 1);
}

/* A doubt is about one id; of ids from 64 on nothing is noted. */
static void test_doubts(void)
{
    static const uint64_t ids[] = {0, 5, 63};
    new_journal();
    struct journal_slot *slots[3], *other = attach(64);
    for (unsigned int i = 0; i < 3; i++)
        slots[i] = attach(ids[i]);
    for (unsigned int i = 0; i < 3; i++) {
        for (unsigned int j = 0; j < 3; j++)
            CU_ASSERT_FALSE(journal_in_doubt(&journal, slots[j]));
        journal_set_doubt(&journal, slots[i], true);
        for (unsigned int j = 0; j < 3; j++)
            CU_ASSERT_EQUAL(journal_in_doubt(&journal, slots[j]), i == j);
        journal_set_doubt(&journal, slots[(i + 1) % 3], true);
        CU_ASSERT_TRUE(journal_in_doubt(&journal, slots[i]));
        journal_set_doubt(&journal, slots[(i + 1) % 3], false);
        CU_ASSERT_TRUE(journal_in_doubt(&journal, slots[i]));
        journal_set_doubt(&journal, slots[i], false);
    }
    journal_set_doubt(&journal, other, true);
    CU_ASSERT_EQUAL(journal.doubts, 0);
    CU_ASSERT_FALSE(journal_in_doubt(&journal, other));
    journal.doubts = UINT64_MAX;
    CU_ASSERT_FALSE(journal_in_doubt(&journal, other));
    journal_set_doubt(&journal, other, false);
    CU_ASSERT_EQUAL(journal.doubts, UINT64_MAX);
}

static void test_full_journal(void)
{
    new_journal();
    for (uint64_t id = 0; id < JOURNAL_SLOTS; id++)
        attach(id);
    memory.page.next.request.request_id = JOURNAL_NO_REQUEST;
    CU_ASSERT_PTR_NULL(journal_attach_slot(&journal));
    CU_ASSERT_PTR_NULL(journal_find(&journal, SLOT_EMPTY));
}

static void test_other_versions(void)
{
    new_journal();
    journal.version++;
    CU_ASSERT_FALSE(journal_usable(&journal));
    new_journal();
    journal.magic++;
    CU_ASSERT_FALSE(journal_usable(&journal));
    memset(&journal, 0, sizeof(journal));
    CU_ASSERT_FALSE(journal_usable(&journal));
}

/* --- eventfds -------------------------------------------------------------------------------- */

/* The kernel itself signals the eventfd, as for the driver's kicks: only this reaches 2^64-1. Here
 * asynchronous I/O on /dev/zero makes the kernel signal. */
static void signal_from_kernel(int fd)
{
    aio_context_t context = 0;
    char byte;
    struct iocb request = {
        .aio_fildes = (uint32_t)open("/dev/zero", O_RDONLY | O_CLOEXEC),
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_buf = (uint64_t)(uintptr_t)&byte,
        .aio_nbytes = 1,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)fd,
    };
    struct iocb *requests[] = {&request};
    struct io_event event;
    CU_ASSERT_EQUAL_FATAL(syscall(SYS_io_setup, 1, &context), 0);
    CU_ASSERT_EQUAL_FATAL(syscall(SYS_io_submit, context, 1L, requests), 1);
    CU_ASSERT_EQUAL(syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL), 1);
    syscall(SYS_io_destroy, context);
    close((int)request.aio_fildes);
}

/* The result of poll. The kernel's vhost refuses an eventfd that has POLLERR. */
static short polled(int fd)
{
    struct pollfd state = {.fd = fd, .events = POLLIN | POLLOUT};
    return poll(&state, 1, 0) < 0 ? POLLNVAL : state.revents;
}

static void test_eventfd_renewed(void)
{
    uint64_t count = 0;
    const uint64_t most = UINT64_MAX - 1;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_TRUE(eventfd_renew(fd)); /* from 0 */
    CU_ASSERT_TRUE(eventfd_renew(fd)); /* from 1 */
    CU_ASSERT_EQUAL(read(fd, &count, sizeof(count)), (ssize_t)sizeof(count));
    CU_ASSERT_EQUAL(count, 1);

    CU_ASSERT_EQUAL(write(fd, &most, sizeof(most)), (ssize_t)sizeof(most));
    CU_ASSERT_FALSE(eventfd_signal(fd));
    signal_from_kernel(fd);
    CU_ASSERT_EQUAL(polled(fd) & POLLERR, POLLERR);
    CU_ASSERT_TRUE(eventfd_renew(fd));
    CU_ASSERT_EQUAL(polled(fd), POLLIN | POLLOUT);
    CU_ASSERT_TRUE(eventfd_signal(fd));
    CU_ASSERT_EQUAL(read(fd, &count, sizeof(count)), (ssize_t)sizeof(count));
    CU_ASSERT_EQUAL(count, 2);
    close(fd);
}

/* --- sizes of queues ------------------------------------------------------------------------- */

static uint32_t size_of(enum device_kind kind, uint32_t queues, uint64_t mebibytes)
{
    return device_kind_queue_size(&device_kinds[kind], queues, mebibytes << 20);
}

/* The sizes of the Rust device model, if the pages of the receive queues take at most half of the
 * window. Never less than 256. */
static void test_queue_sizes(void)
{
    CU_ASSERT_EQUAL(size_of(DEVICE_CONSOLE_VIRTIO, 2, 16), 1024);
    CU_ASSERT_EQUAL(size_of(DEVICE_CONSOLE_VIRTIO, 2, 8), 1024);
    CU_ASSERT_EQUAL(size_of(DEVICE_CONSOLE_VIRTIO, 2, 4), 512);
    CU_ASSERT_EQUAL(size_of(DEVICE_CONSOLE_VIRTIO, 2, 1), 256);
    CU_ASSERT_EQUAL(size_of(DEVICE_CONSOLE_VIRTIO, 16, 16), 256);
    CU_ASSERT_EQUAL(size_of(DEVICE_NET_VIRTIO, 3, 16), 1024);
    CU_ASSERT_EQUAL(size_of(DEVICE_NET_VIRTIO, 5, 16), 512);
    CU_ASSERT_EQUAL(size_of(DEVICE_NET_VHOST, 2, 16), 1024);
    CU_ASSERT_EQUAL(size_of(DEVICE_VSOCK_VHOST, 3, 16), 1024);
    CU_ASSERT_EQUAL(size_of(DEVICE_VSOCK_VIRTIO, 3, 16), 1024);
    CU_ASSERT_EQUAL(size_of(DEVICE_BLOCK_VIRTIO, 1, 1024), 256);
    CU_ASSERT_EQUAL(size_of(DEVICE_FS_VHOST_USER, 2, 1024), 256);
    for (unsigned int kind = 0; kind < DEVICE_KINDS; kind++)
        CU_ASSERT_EQUAL(size_of(kind, 16, 0), 256);
}

int main(int argc, char **argv)
{
    CU_TestInfo access_tests[] = {
        {"every width at every offset", test_every_width_at_every_offset},
        {"addresses outside, and those that wrap", test_addresses_that_wrap},
        {"requests that are not this device's accesses", test_foreign_requests},
        {"values are cut to the width", test_values_are_cut},
        {"the two interrupt registers", test_interrupt_registers},
        {"answers of a device given up", test_given_up_answers},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo time_tests[] = {
        {"back-off doubles to its cap", test_backoff_doubles_to_its_cap},
        {"a worker whose device gets on has no pause", test_worker_that_gets_on_has_no_pause},
        {"one that does nothing waits longer each time",
         test_worker_that_does_nothing_waits_longer_each_time},
        {"starts take a tenth of a processor", test_starts_take_a_tenth_of_a_processor},
        {"rate limit", test_rate_limit},
        {"pace", test_pace},
        {"other rates", test_other_rates},
        {"a full bucket", test_full_bucket},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo words_tests[] = {
        {"how something died", test_deaths},
        {"the workers' messages", test_log_messages},
        {"formats of messages", test_formats_of_messages},
        {"limits", test_limits},
        {"layers and steps", test_layers_and_steps},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo journal_tests[] = {
        {"a new one is empty", test_new_journal_is_empty},
        {"the life of a slot", test_life_of_a_slot},
        {"a kill in the middle of a change", test_half_done_is_empty},
        {"a newer request of the same id", test_newer_request_drops_older},
        {"doubts", test_doubts},
        {"a full journal", test_full_journal},
        {"journals of another version", test_other_versions},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo size_tests[] = {
        {"queues leave half of a window", test_queue_sizes},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo eventfd_tests[] = {
        {"a full one, renewed", test_eventfd_renewed},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"sizes", NULL, NULL, NULL, NULL, size_tests},
        {"eventfds", NULL, NULL, NULL, NULL, eventfd_tests},
        {"access", NULL, NULL, NULL, NULL, access_tests},
        {"time", NULL, NULL, NULL, NULL, time_tests},
        {"words", NULL, NULL, NULL, NULL, words_tests},
        {"journal", NULL, NULL, NULL, NULL, journal_tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
