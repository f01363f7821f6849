/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frontends that are not Linux: a console driver like that of Bao's FreeRTOS demonstration; a
 * driver that polls and never takes an interrupt; one that acknowledges late; one that writes
 * single bytes. Each is served as far as the standard allows.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/console_session.h"
#include "tests/standin/guest_freertos.h"

/* ---- FreeRTOS ---- */

static void start_freertos(struct console_session *test, struct guest_freertos *console,
                           const char *more)
{
    console_configure(test, more);
    fixture_start(&test->fixture, 1, 1);
    fixture_guest(&test->fixture, 0, &console->guest);
    CU_ASSERT_EQUAL_FATAL(guest_freertos_start(console), 0);
    test->user = console_open(test, 0);
}

static void stop_freertos(struct console_session *test, struct guest_freertos *console)
{
    CU_ASSERT_EQUAL(guest_status(&console->guest) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    CU_ASSERT_EQUAL(console->guest.error, 0);
    close(test->user);
    fixture_stop(&test->fixture);
    fixture_free(&test->fixture);
}

/* Whether the user reads exactly this. */
static bool user_reads(const struct console_session *test, const char *text)
{
    char seen[GUEST_FREERTOS_BUFFER + 1];
    size_t length = 0, wanted = strlen(text);
    const uint64_t end = now_ms() + PATIENCE_MS;
    while (length < wanted && length < sizeof(seen) && now_ms() < end) {
        ssize_t got = read(test->user, seen + length, sizeof(seen) - length);
        length += got > 0 ? (size_t)got : 0;
        if (got <= 0)
            usleep(50);
    }
    return length == wanted && memcmp(seen, text, wanted) == 0;
}

/* Whether the guest is interrupted, and gets exactly this. */
static bool guest_gets(struct guest_freertos *console, const char *text)
{
    char seen[2 * GUEST_FREERTOS_BUFFER];
    size_t length = 0;
    for (uint64_t end = now_ms() + PATIENCE_MS; length < strlen(text) && now_ms() < end;) {
        if (standin_wait_irq(console->guest.standin, 0, PATIENCE_MS) < 0)
            return false;
        (void)guest_freertos_interrupt(console);
        guest_freertos_take(console, seen + length, sizeof(seen) - length);
        length += strlen(seen + length);
    }
    return length == strlen(text) && memcmp(seen, text, length) == 0;
}

/* Messages number first to last - 1, one after the other, in both directions. */
static void converse(struct console_session *test, struct guest_freertos *console,
                     unsigned int first, unsigned int last)
{
    char text[GUEST_FREERTOS_BUFFER];
    for (unsigned int i = first; i < last; i++) {
        int length = snprintf(text, sizeof(text), "message %u\n", i);
        CU_ASSERT_EQUAL_FATAL(guest_freertos_send(console, text), 0);
        CU_ASSERT_TRUE_FATAL(user_reads(test, text));
        snprintf(text, sizeof(text), "answer %u\n", i);
        length = (int)strlen(text);
        CU_ASSERT_EQUAL_FATAL(write(test->user, text, (size_t)length), length);
        CU_ASSERT_TRUE_FATAL(guest_gets(console, text));
    }
}

/* More messages than the rings have entries. A worker dies in between. */
static void freertos_talks(void)
{
    struct console_session test;
    struct guest_freertos console = {0};
    start_freertos(&test, &console, ALIAS);
    converse(&test, &console, 0, 700);
    pid_t worker = fixture_worker(&test.fixture, 0);
    CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
    (void)fixture_wait_worker(&test.fixture, 0, worker);
    converse(&test, &console, 700, 2100);
    /* A driver that starts again is served, too. */
    CU_ASSERT_EQUAL_FATAL(guest_freertos_start(&console), 0);
    converse(&test, &console, 0, 20);
    stop_freertos(&test, &console);
}

/* The driver uses all 1024 entries at once: the device must have room for as many. */
static void freertos_fills_its_ring(void)
{
    struct console_session test;
    struct guest_freertos console = {0};
    start_freertos(&test, &console, ALIAS);
    /* Nobody reads the terminal, so the first messages wait. */
    static char text[GUEST_FREERTOS_BUFFER + 1];
    memset(text, 'x', GUEST_FREERTOS_BUFFER - 1);
    unsigned int sent = 0;
    /* Send until the device takes no more: the terminal is full, and so is the whole ring. */
    for (uint64_t last = now_ms(); now_ms() - last < 300;) {
        if (guest_freertos_send(&console, text) < 0)
            continue;
        sent++;
        last = now_ms();
    }
    CU_ASSERT(sent > GUEST_FREERTOS_ENTRIES);
    CU_ASSERT_EQUAL(guest_freertos_unsent(&console), GUEST_FREERTOS_ENTRIES);
    uint64_t seen = 0;
    static char data[CHUNK];
    for (uint64_t end = now_ms() + PATIENCE_MS;
         seen < (uint64_t)sent * strlen(text) && now_ms() < end;) {
        ssize_t got = read(test.user, data, sizeof(data));
        if (got > 0)
            seen += (uint64_t)got;
        else
            usleep(100);
    }
    CU_ASSERT_EQUAL(seen, (uint64_t)sent * strlen(text));
    for (uint64_t end = now_ms() + PATIENCE_MS;
         guest_freertos_unsent(&console) > 0 && now_ms() < end;)
        usleep(100);
    CU_ASSERT_EQUAL(guest_freertos_unsent(&console), 0);
    stop_freertos(&test, &console);
}

static void sizes_after_a_reset(void)
{
    static const struct {
        const char *more;
        uint32_t size;
    } cases[] = {{ALIAS, 1024}, {ALIAS "    queue_size: 64\n", 64}, {ALIAS "    ports: 7\n", 256}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct console_session test;
        struct guest guest;
        console_configure(&test, cases[i].more);
        fixture_start(&test.fixture, 1, 1);
        fixture_guest(&test.fixture, 0, &guest);
        for (uint32_t q = 0; q < 2; q++) {
            guest_write(&guest, VIRTIO_MMIO_QUEUE_SEL, 4, q);
            CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_QUEUE_NUM_MAX, 4), cases[i].size);
        }
        CU_ASSERT_EQUAL(guest.error, 0);
        fixture_stop(&test.fixture);
        fixture_free(&test.fixture);
    }
}

/* ---- Interrupts ---- */

static void start_block(struct fixture *fixture, struct guest_block *block, unsigned int depth)
{
    fixture_start_blocks(fixture, 1);
    /* Without EVENT_IDX, nothing tells the device that nobody waits for interrupts. */
    fixture_block(fixture, 0, block, GUEST_BLOCK_FEATURES & ~(1ull << VIRTIO_RING_F_EVENT_IDX),
                  depth, 512);
}

static void stop_block(struct fixture *fixture, struct guest_block *block)
{
    fixture_assert_running(&block->guest);
    fixture_assert_never_restarted(fixture);
    guest_block_free(block);
    fixture_stop(fixture);
    fixture_free(fixture);
}

/* Read a sector, and look at the ring until the answer is there. */
static void read_by_polling(struct guest_block *block, uint64_t sector)
{
    struct guest_block_request *request = &block->requests[0];
    uint8_t expected[512];
    uint32_t length;
    CU_ASSERT_EQUAL_FATAL(guest_block_submit(block, request, VIRTIO_BLK_T_IN, sector, 512), 0);
    guest_queue_kick(&block->queue);
    void *token = NULL;
    for (uint64_t end = now_ms() + PATIENCE_MS; !token && now_ms() < end;)
        token = guest_queue_get(&block->queue, &length);
    CU_ASSERT_PTR_EQUAL_FATAL(token, request);
    request->busy = false;
    fixture_sector(sector, expected);
    CU_ASSERT_EQUAL(*request->status, VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(memcmp(request->data, expected, sizeof(expected)), 0);
}

/* The driver never acknowledges, so it is interrupted only once. Its requests are served
 * nevertheless. */
static void one_that_polls_is_served(void)
{
    struct fixture fixture;
    struct guest_block block;
    start_block(&fixture, &block, 1);
    for (uint64_t i = 0; i < 2000; i++)
        read_by_polling(&block, i % FIXTURE_IMAGE_SECTORS);
    CU_ASSERT_EQUAL(standin_wait_irq(fixture.standin, 0, PATIENCE_MS), 1);
    /* The driver can change its mind: it has lost nothing of what it ignored. */
    guest_write(&block.guest, VIRTIO_MMIO_INTERRUPT_ACK, 4,
                guest_read(&block.guest, VIRTIO_MMIO_INTERRUPT_STATUS, 4));
    fixture_assert_reads(&block, 17);
    stop_block(&fixture, &block);
}

/* Take one interrupt as a driver does. Returns the bits that it acknowledged. */
static uint64_t take_an_interrupt(struct fixture *fixture, struct guest_block *block)
{
    CU_ASSERT_EQUAL_FATAL(standin_wait_irq(fixture->standin, 0, PATIENCE_MS), 1);
    uint64_t bits = guest_read(&block->guest, VIRTIO_MMIO_INTERRUPT_STATUS, 4);
    guest_write(&block->guest, VIRTIO_MMIO_INTERRUPT_ACK, 4, bits);
    return bits;
}

/* The device completes requests between the driver's read of InterruptStatus and its write of
 * InterruptACK. One more interrupt announces them afterwards. The driver sees an answer in the
 * ring before the device announces it, so the last answer can have an interrupt of its own. */
static void one_that_acknowledges_late_misses_nothing(void)
{
    struct fixture fixture;
    struct guest_block block;
    start_block(&fixture, &block, 1);
    for (unsigned int i = 0; i < 200; i++) {
        read_by_polling(&block, i);
        CU_ASSERT_EQUAL_FATAL(standin_wait_irq(fixture.standin, 0, PATIENCE_MS), 1);
        uint64_t bits = guest_read(&block.guest, VIRTIO_MMIO_INTERRUPT_STATUS, 4);
        CU_ASSERT_EQUAL(bits, VIRTIO_MMIO_INT_VRING);
        for (unsigned int late = 0; late < 3; late++)
            read_by_polling(&block, i + late);
        guest_write(&block.guest, VIRTIO_MMIO_INTERRUPT_ACK, 4, bits);
        CU_ASSERT_EQUAL(take_an_interrupt(&fixture, &block), VIRTIO_MMIO_INT_VRING);
        bits = guest_read(&block.guest, VIRTIO_MMIO_INTERRUPT_STATUS, 4);
        if (bits != 0) {
            CU_ASSERT_EQUAL(take_an_interrupt(&fixture, &block), VIRTIO_MMIO_INT_VRING);
            bits = guest_read(&block.guest, VIRTIO_MMIO_INTERRUPT_STATUS, 4);
        }
        CU_ASSERT_EQUAL(bits, 0);
    }
    stop_block(&fixture, &block);
}

/* ---- Bytes ---- */

#define WCE (VIRTIO_MMIO_CONFIG + offsetof(struct virtio_blk_config, wce))

/* §4.2.2.2: registers are written in 32 bits. So a write of one byte changes no register, whether
 * the device runs or not. But a byte of the configuration space can be written, and a kick of one
 * byte works. */
static void one_that_writes_bytes_does_what_bytes_can(void)
{
    struct fixture fixture;
    struct guest_block block = {0};
    fixture_start_blocks(&fixture, 1);
    fixture_guest(&fixture, 0, &block.guest);
    struct guest *guest = &block.guest;
    CU_ASSERT_EQUAL_FATAL(guest_probe(guest, 2), 0);
    uint32_t status = guest_status(guest);
    for (uint64_t offset = 0; offset < VIRTIO_MMIO_CONFIG; offset++) {
        guest_write(guest, offset, 1, 0);
        guest_write(guest, offset, 1, 0xff);
    }
    CU_ASSERT_EQUAL(guest_status(guest), status);
    CU_ASSERT_EQUAL(guest_read(guest, VIRTIO_MMIO_QUEUE_READY, 4), 0);

    const uint64_t wce = 1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_FLUSH;
    CU_ASSERT_EQUAL_FATAL(guest_block_start(&block, GUEST_BLOCK_FEATURES | wce, 1, 512), 0);
    CU_ASSERT_EQUAL(guest_read(guest, WCE, 1), 1);
    guest_write(guest, WCE, 1, 0);
    CU_ASSERT_EQUAL(guest_read(guest, WCE, 1), 0);

    struct guest_block_request *request = &block.requests[0];
    CU_ASSERT_EQUAL(guest_block_submit(&block, request, VIRTIO_BLK_T_IN, 5, 512), 0);
    guest_write(guest, VIRTIO_MMIO_QUEUE_NOTIFY, 1, 0);
    CU_ASSERT_EQUAL(guest_block_interrupt(&block), 1);
    CU_ASSERT_EQUAL(*request->status, VIRTIO_BLK_S_OK);
    stop_block(&fixture, &block);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a FreeRTOS console talks, over more messages than a ring has entries", freertos_talks},
        {"a FreeRTOS console may fill its ring of 1024", freertos_fills_its_ring},
        {"a queue's size after a reset is the kind's, or queue_size", sizes_after_a_reset},
        {"a driver that polls is served, and interrupted once", one_that_polls_is_served},
        {"a driver that acknowledges late misses nothing",
         one_that_acknowledges_late_misses_nothing},
        {"a driver that writes bytes does what bytes can",
         one_that_writes_bytes_does_what_bytes_can},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "frontends", tests);
}
