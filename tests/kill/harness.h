/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker for one worker, as small as can be: starts the real bao-virtio-worker as the keeper
 * does, with a window, a state page and an image that outlive it, and kills it after any number of
 * instructions. Failures to set up are CUnit failures.
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
    int socket;                /* to it */
    uint32_t interrupt_status; /* what its driver was told of, and has not acknowledged */
};

/* A block device whose image is zeroed; no worker yet. */
void harness_init(struct harness *harness);
void harness_free(struct harness *harness);

/* Start a worker and wait for READY. */
void harness_start(struct harness *harness);
/* Start one that is stopped before it is told what to be, and goes on as harness_stop says. */
void harness_start_stopped(struct harness *harness);
/* SIGKILL, reap. */
void harness_kill(struct harness *harness);

/* A register access, by way of the mailbox. */
uint32_t harness_read(struct harness *harness, uint32_t offset);
void harness_write(struct harness *harness, uint32_t offset, uint32_t value);

/* Hand an access in and do not wait for the answer. */
void harness_post_write(struct harness *harness, uint32_t offset, uint32_t value);
/* Wait for the answer to the last access. False: none within a second. */
bool harness_answered(struct harness *harness);

void harness_kick(struct harness *harness);
/* Interrupts since the last call. */
uint64_t harness_interrupts(struct harness *harness);
/* Wait for one. False: none within a second. */
bool harness_await_interrupt(struct harness *harness);

/*
 * Instruction by instruction. A worker that is stopped while it waits for events goes on by the
 * functions below only. Where it is, is counted from the beginning of its executable, which lies
 * elsewhere in each.
 */
void harness_stop(struct harness *harness);
/* Write down where it is after each instruction, until it waits again. Returns how many there were,
 * or `max`. */
unsigned int harness_trace(struct harness *harness, uint64_t *ret_places, unsigned int max);
/* Run until it is there for the nth time. False: it waits again, and was not. */
bool harness_run_to(struct harness *harness, uint64_t place, unsigned int nth);

#endif
