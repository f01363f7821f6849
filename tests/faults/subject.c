/* SPDX-License-Identifier: Apache-2.0 */
/* Device 0 of a cell: each kind's driver, and what it tries. */
#include "tests/faults/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/standin/block_daemon.h"
#include "tests/standin/clock.h"

#define SIZE 4096u
#define STRIDE 24u /* in sectors: no two attempts of a cell use the same page */
#define LOOK_US 500
#define UNDER_WAY_US 20000 /* the time that a frame needs to become visible */
#define DAEMON_FEATURES                                                                            \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << VIRTIO_BLK_F_FLUSH)

/* ---- Block, by a worker or by a daemon: a read that is compared, then a write and a flush ---- */

static void fill(uint8_t *data, uint64_t sector)
{
    for (uint32_t i = 0; i < SIZE / 512; i++)
        fixture_sector(sector + i, data + 512ul * i);
}

#define STEPS 3u

static void submit_step(struct subject *subject)
{
    static const uint32_t types[STEPS] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH};
    struct guest_block *block = &subject->block;
    struct guest_block_request *request = &block->requests[0];
    const uint32_t type = types[subject->step];
    const uint64_t at = subject->tokens++ * (uint64_t)STRIDE % (SUBJECT_READS - SIZE / 512);
    const uint64_t sector = type == VIRTIO_BLK_T_OUT ? SUBJECT_READS + at : at;
    if (type == VIRTIO_BLK_T_OUT)
        fill(request->data, sector);
    else
        memset(request->data, 0, SIZE);
    CU_ASSERT_EQUAL(
        guest_block_submit(block, request, type, sector, type == VIRTIO_BLK_T_FLUSH ? 0 : SIZE), 0);
    guest_queue_kick(&block->queue);
}

/* Polls the ring: a late interrupt is no error here, and the other devices wait for theirs. */
static bool step_is_done(struct subject *subject)
{
    uint32_t length;
    struct guest_block_request *request = guest_queue_get(&subject->block.queue, &length);
    if (request)
        request->busy = false;
    return request != NULL;
}

static void judge_step(struct subject *subject)
{
    const struct guest_block_request *request = &subject->block.requests[0];
    uint8_t expected[SIZE];
    if (*request->status != VIRTIO_BLK_S_OK) {
        CU_ASSERT_EQUAL(*request->status, VIRTIO_BLK_S_IOERR);
        subject->failed = true;
    } else if (request->header->type == VIRTIO_BLK_T_IN) {
        fill(expected, request->header->sector);
        CU_ASSERT(subject->is_spoilt || memcmp(request->data, expected, SIZE) == 0);
    }
}

static enum outcome attempt_block(struct subject *subject, uint64_t end)
{
    while (subject->step < STEPS) {
        if (!subject->block.requests[0].busy)
            submit_step(subject);
        while (!step_is_done(subject)) {
            if (now_ms() > end)
                return PENDING;
            usleep(LOOK_US);
        }
        judge_step(subject);
        subject->step++;
    }
    const enum outcome outcome = subject->failed ? ERROR : DONE;
    subject->step = 0;
    subject->failed = false;
    return outcome;
}

static void start_block(struct cell *cell)
{
    struct subject *subject = &cell->subject;
    guest_block_free(&subject->block);
    fixture_block(cell->fixture, 0, &subject->block,
                  subject->kind == SUBJECT_DAEMON ? DAEMON_FEATURES : GUEST_BLOCK_FEATURES, 4,
                  SIZE);
    guest_queue_disable_interrupts(&subject->block.queue);
    subject->step = 0;
    subject->failed = false;
}

/* ---- Net: frames in both directions; on a wire they may be lost ---- */

static enum outcome attempt_net(struct subject *subject, uint64_t end)
{
    struct net_load *load = &subject->net_load;
    static const atomic_bool at_once = true;
    load->over = &at_once; /* one exchange, without waiting */
    /* Frames that were on their way before do not count. */
    for (unsigned int i = 0; i < 2; i++) {
        (void)net_load_exchange(load);
        usleep(UNDER_WAY_US);
    }
    (void)net_load_exchange(load);
    const uint64_t to_guest = load->to_guest, to_host = load->to_host;
    while (load->to_guest == to_guest || load->to_host == to_host) {
        if (now_ms() > end)
            return PENDING;
        (void)net_load_exchange(load);
        CU_ASSERT_EQUAL_FATAL(load->wrong, 0);
        usleep(LOOK_US);
    }
    return DONE;
}

static void start_net(struct cell *cell)
{
    struct subject *subject = &cell->subject;
    guest_net_free(&subject->net.net);
    memset(&subject->net, 0, sizeof(subject->net));
    fixture_guest(cell->fixture, 0, &subject->net.net.guest);
    net_fixture_driver(&subject->net, &net_load_options);
    subject->net_load = (struct net_load){.net = &subject->net};
}

/* ---- Console: a word that nobody else prints is seen at the other end ---- */

static bool is_seen(struct subject *subject, const char *word)
{
    static char text[65536];
    ssize_t length;
    if (subject->kind == SUBJECT_LOG)
        length = pread(subject->log, text, sizeof(text) - 1, subject->log_end);
    else
        length = read(subject->terminal, text, sizeof(text) - 1);
    return length > 0 && memmem(text, (size_t)length, word, strlen(word)) != NULL;
}

static enum outcome attempt_console(struct cell *cell, uint64_t end)
{
    struct subject *subject = &cell->subject;
    char word[32];
    if (subject->kind == SUBJECT_TERMINAL) {
        /* A broker's death ends the terminal. The alias then leads to another one. */
        char path[128];
        snprintf(path, sizeof(path), "%s/console", cell->fixture->dir);
        int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && isatty(fd)) {
            close(subject->terminal);
            subject->terminal = fd;
        } else if (fd >= 0) {
            close(fd);
        }
    } else {
        struct stat file;
        subject->log_end = fstat(subject->log, &file) == 0 ? file.st_size : 0;
    }
    snprintf(word, sizeof(word), "<word-%u>", subject->tokens++);
    while (guest_console_send(&subject->console, 0, word, (uint32_t)strlen(word)) == 0) {
        if (now_ms() > end)
            return PENDING;
        guest_console_poll(&subject->console);
        usleep(LOOK_US);
    }
    while (!is_seen(subject, word)) {
        guest_console_poll(&subject->console);
        /* Output that is completed but does not appear is lost, as with a log that can't be
         * written. */
        if (guest_console_busy(&subject->console, 0) == 0 && subject->kind == SUBJECT_LOG)
            return is_seen(subject, word) ? DONE : ERROR;
        if (now_ms() > end)
            return PENDING;
        usleep(LOOK_US);
    }
    return DONE;
}

static void start_console(struct cell *cell)
{
    struct subject *subject = &cell->subject;
    guest_console_free(&subject->console);
    memset(&subject->console, 0, sizeof(subject->console));
    fixture_guest(cell->fixture, 0, &subject->console.guest);
    CU_ASSERT_EQUAL_FATAL(guest_console_start(&subject->console, GUEST_CONSOLE_FEATURES), 0);
}

/* ---- For the cell ---- */

static const char *const yaml_of[] = {
    [SUBJECT_BLOCK] = "    type: block\n    data_plane: virtio\n    file_path: \"@/%s\"\n%s",
    [SUBJECT_DAEMON] = "    type: block\n    data_plane: vhost_user\n    config_size: 8\n"
                       "    socket_path: \"@/blk.sock\"\n%.0s%s",
    [SUBJECT_NET] = "    type: net\n    data_plane: virtio\n    tap_name: tap0\n"
                    "    mac_addr: \"" NET_FIXTURE_MAC "\"\n%.0s%s",
    [SUBJECT_TERMINAL] = "    type: console\n    data_plane: virtio\n"
                         "    pty_alias: \"@/console\"\n%.0s%s",
    [SUBJECT_LOG] = "    type: console\n    data_plane: virtio\n    log_path: \"@/%s\"\n%s",
};

void subject_prepare(struct cell *cell, char *yaml, size_t size)
{
    const struct row *row = cell->row;
    struct subject *subject = &cell->subject;
    const char *file = row->image ? row->image : "disk0.img";
    subject->kind = row->subject;
    if (row->subject == SUBJECT_LOG)
        file = row->log ? row->log : "console.log";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(yaml, size, yaml_of[row->subject], file, row->keys ? row->keys : "");
#pragma GCC diagnostic pop
    if (row->subject == SUBJECT_NET)
        net_fixture_interface("mode tap");
    if (row->subject == SUBJECT_DAEMON) {
        cell->daemon = block_daemon_start(cell->fixture, "disk0.img", NULL);
        block_daemon_wait(cell->fixture);
    }
    if (row->subject == SUBJECT_LOG && subject->log < 0) {
        /* The test always looks at the same file, whatever happens to its name. */
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", cell->fixture->dir, file);
        subject->log = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CU_ASSERT_FATAL(subject->log >= 0);
    }
}

void subject_start(struct cell *cell)
{
    switch (cell->subject.kind) {
    case SUBJECT_BLOCK:
    case SUBJECT_DAEMON:
        start_block(cell);
        break;
    case SUBJECT_NET:
        start_net(cell);
        break;
    case SUBJECT_TERMINAL:
    case SUBJECT_LOG:
        start_console(cell);
        break;
    }
}

enum outcome subject_attempt(struct cell *cell, int timeout_ms)
{
    const uint64_t end = now_ms() + (uint64_t)timeout_ms;
    switch (cell->subject.kind) {
    case SUBJECT_BLOCK:
    case SUBJECT_DAEMON:
        return attempt_block(&cell->subject, end);
    case SUBJECT_NET:
        return attempt_net(&cell->subject, end);
    case SUBJECT_TERMINAL:
    case SUBJECT_LOG:
        return attempt_console(cell, end);
    }
    return PENDING;
}

void subject_stop(struct cell *cell)
{
    struct subject *subject = &cell->subject;
    guest_block_free(&subject->block);
    guest_net_free(&subject->net.net);
    guest_console_free(&subject->console);
    if (subject->net.packets >= 0)
        close(subject->net.packets);
    if (subject->terminal >= 0)
        close(subject->terminal);
    if (subject->log >= 0)
        close(subject->log);
}
