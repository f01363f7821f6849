/* SPDX-License-Identifier: Apache-2.0 */
/* What test_fd_store.c and test_fd_store_take.c have in common: a set of files, and its record. */
#ifndef TESTS_UNIT_FD_STORE_UNDER_TEST_H
#define TESTS_UNIT_FD_STORE_UNDER_TEST_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "broker/keeper/fd_store.h"
#include "broker/shared_page.h"
#include "common/state.h"

#define QUEUES 2u
#define SET_FDS (STORE_QUEUE_FIRST + QUEUES)
#define DM_ID 3u

static inline struct store_record good_record(void)
{
    return (struct store_record){
        .magic = STORE_RECORD_MAGIC,
        .dm_id = DM_ID,
        .mmio_addr = 0xa003e00,
        .shmem_addr = 0x50000000,
        .shmem_size = 0x1000000,
        .queue_count = QUEUES,
        .commit = (uint64_t)STORE_RECORD_VERSION << 32 | 1,
    };
}

/* The kinds of files:
 *
 *     r, 0, o, b    a record: whole, not committed, of another version, broken
 *     l, L          a page that is too short or too long for one
 *     m, e, t, p    the DM file, an eventfd, a timerfd, the end of a pipe
 *     S             a page
 *     s, +, -       a page that can still change, or only grow, or only shrink
 */
static inline int make_record_file(char kind)
{
    struct store_record record = good_record();
    if (kind == '0')
        record.commit = 0;
    if (kind == 'o')
        record.commit = (uint64_t)(STORE_RECORD_VERSION + 1) << 32 | 1;
    if (kind == 'b')
        record.magic++;
    const size_t size = kind == 'l' ? 16 : kind == 'L' ? 2 * STORE_RECORD_SIZE : STORE_RECORD_SIZE;
    const size_t part = kind == 'l' ? 16 : sizeof(record);
    int fd = shared_page_create("record", size);
    if (pwrite(fd, &record, part, 0) != (ssize_t)part)
        abort();
    return fd;
}

static inline int make_given(char kind)
{
    int fds[2];
    switch (kind) {
    case 'm':
        return memfd_create("dm", MFD_CLOEXEC);
    case 'e':
        return eventfd(0, EFD_CLOEXEC);
    case 'S':
        return shared_page_create("state", STATE_SIZE);
    case 't':
        return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    case '+':
    case '-':
        fds[0] = make_given('s');
        if (fcntl(fds[0], F_ADD_SEALS, kind == '+' ? F_SEAL_SHRINK : F_SEAL_GROW) < 0)
            abort();
        return fds[0];
    case 's':
        return memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    case 'p':
        return pipe2(fds, O_CLOEXEC) < 0 ? -1 : fds[1];
    default:
        return make_record_file(kind);
    }
}

#endif
