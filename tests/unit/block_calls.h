/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of the block device for its unit tests, and the device's system calls. The calls are
 * this program's own, in front of the C library's: they are recorded, and fail on demand.
 */
#ifndef TESTS_UNIT_BLOCK_CALLS_H
#define TESTS_UNIT_BLOCK_CALLS_H

#include <CUnit/CUnit.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <sys/mman.h>

#include "tests/unit/guest.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

#define FEATURE(bit) (1ull << (bit))
#define SECTOR 512u
#define SECTORS 2048u
#define REQUESTS_MAX 64u
#define DATA_STRIDE 0x10000ull
#define CALLS_MAX 256u

enum call { CALL_READ, CALL_WRITE, CALL_SYNC, CALL_ALLOCATE };

struct call_record {
    enum call call;
    int segments, flags; /* of an allocation: the mode */
    uint64_t offset, length;
    uint16_t used_idx;   /* of queue 0: what the driver could see at the time of the call */
    uint64_t interrupts; /* interrupts that had been sent by then */
};

extern struct call_record calls[CALLS_MAX];
extern unsigned int call_count;

/* What the next calls return: 0, or an errno. Each call moves at most bytes_max bytes. */
extern int errors[16];
extern unsigned int error_count;
extern size_t bytes_max;
/* What the driver does meanwhile; done once. */
extern void (*during_next_call)(void);

/*
 * Each call asserts that the broker was told of it, if it may wait. With O_DIRECT it fails with
 * EINVAL if it is not aligned.
 *
 * If set, the kernel does not pin the window from the next device on, as on a real Bao. Then
 * O_DIRECT on it fails with EFAULT.
 */
extern bool unpinned;

/* A memfd of SECTORS, whose sector s is filled with s % 251 + 1. */
extern int image;
void make_image(void);
bool image_holds(uint64_t sector, uint64_t sectors, unsigned char value);

/* A new device with `queues` queues of 256, and a driver that accepts `features`. */
extern struct message_start block_start;
void block_running(uint32_t queues, uint64_t features);

/* Offer request `number` of that queue, without a kick. Its data lie at request_data. */
void offer(unsigned int queue, unsigned int number, uint32_t type, uint64_t sector,
           uint32_t length);
/* The same, with the data at `address`. */
void offer_at(unsigned int queue, unsigned int number, uint32_t type, uint64_t sector,
              uint64_t address, uint32_t length);
/* The same, with the data in several pieces. Of the queue's descriptors it takes those from
 * 3 * number on. */
struct piece {
    uint64_t address;
    uint32_t length;
};
void offer_pieces(unsigned int queue, unsigned int number, uint32_t type, uint64_t sector,
                  const struct piece *pieces, unsigned int count);
/* The same, in an indirect table: of the queue's descriptors it takes number `number`. */
void offer_table(unsigned int queue, unsigned int number, uint32_t type, uint64_t sector,
                 const struct piece *pieces, unsigned int count);
/* A chain that is no request: it has a header, and no byte for the status. */
void offer_no_request(unsigned int queue, unsigned int number);
/* So many bytes, at most 8, that the device may write lie between the data and the status byte. */
extern uint32_t spare_bytes;
void *request_data(unsigned int queue, unsigned int number);
uint8_t request_status(unsigned int queue, unsigned int number);
/* The driver's used->idx of that queue. */
uint16_t block_used(unsigned int queue);
/* The used length of the next completion; UINT32_MAX: there is none. */
uint32_t used_length(unsigned int queue);
/* How many new completions the driver can see since the last call. */
unsigned int completions(unsigned int queue);

int block_calls_main(int argc, char **argv, const char *suite, CU_TestInfo *tests);

#endif
