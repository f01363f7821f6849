/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker for one worker, as small as possible. It starts the real bao-virtio-worker as the keeper
 * does, with a window, a state page and an image that outlive it. It kills the worker after any
 * number of instructions. Failures of the set-up are CUnit failures.
 */
#ifndef TESTS_KILL_HARNESS_H
#define TESTS_KILL_HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/message.h"
#include "common/state.h"

#define HARNESS_BASE 0x50000000ull /* guest-physical, of the window */
#define HARNESS_WINDOW 0x200000u   /* bytes */
#define HARNESS_SECTORS 512u       /* of the image */

enum harness_fd { FD_REQUEST, FD_REPLY, FD_CALL, FD_IMAGE, FD_KICK, FD_STATE, FD_DM, HARNESS_FDS };

struct harness {
    struct message_start start;
    int fds[HARNESS_FDS]; /* in the order of the START message */
    uint8_t *window;
    struct state_page *state;
    pid_t worker;              /* 0: none */
    int socket;                /* our end of its control socket */
    uint32_t interrupt_status; /* bits that its driver was told of and has not acknowledged */
};

/* A block device whose image is zeroed. It has no worker yet. */
void harness_init(struct harness *harness);
void harness_free(struct harness *harness);

/* Start a worker and wait for READY. */
void harness_start(struct harness *harness);
/* Start a worker that is stopped before it gets START. It goes on as described at harness_stop. */
void harness_start_stopped(struct harness *harness);
/* Send SIGKILL, and reap it. */
void harness_kill(struct harness *harness);

/* A register access through the mailbox. */
uint32_t harness_read(struct harness *harness, uint32_t offset);
void harness_write(struct harness *harness, uint32_t offset, uint32_t value);

/* Put an access into the mailbox, and do not wait for the answer. */
void harness_post_write(struct harness *harness, uint32_t offset, uint32_t value);
/* Wait for the answer to the last access. False: none within a second. */
bool harness_answered(struct harness *harness);

void harness_kick(struct harness *harness);
/* Number of interrupts since the last call. */
uint64_t harness_interrupts(struct harness *harness);
/* Wait for an interrupt. False: none within a second. */
bool harness_await_interrupt(struct harness *harness);

/*
 * Instruction by instruction. A worker that is stopped while it waits for events goes on only by
 * the functions below. A place is an offset from the start of the worker's executable, which is
 * mapped at another address in each worker.
 */
void harness_stop(struct harness *harness);
/* Record its place after each instruction, until it waits again. Returns the number of
 * instructions, or `max`. */
unsigned int harness_trace(struct harness *harness, uint64_t *ret_places, unsigned int max);
/* Run until it is at that place for the nth time. False: it waits again, and was not there. */
bool harness_run_to(struct harness *harness, uint64_t place, unsigned int nth);

#endif
