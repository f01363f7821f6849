/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An input as a program of a guest. A byte's low five bits name an action, so that a letter,
 * large or small, is one, and inputs can be written by hand; its arguments are the bytes that
 * follow, little-endian, and 0 behind the end. What each letter does is the table in actions.c.
 */
#ifndef TESTS_FUZZ_ACTIONS_H
#define TESTS_FUZZ_ACTIONS_H

#include "tests/fuzz/input.h"
#include "tests/fuzz/machine.h"

/* Carry an input out to its end: for a fresh device, or for one that actions_init started. */
void actions_run(struct input *input);
void actions_continue(struct input *input);

/*
 * §3.1.1: reset, negotiate what is offered of `features`, set all queues up with rings of `size`,
 * DRIVER_OK. For a device in whatever state; the window's rings are cleared.
 */
void actions_init(uint64_t features, uint16_t size);

/*
 * A driver that notices nothing of a successor goes on: what is left of §3.1.1 up to DRIVER_OK,
 * without a reset, and a kick of every queue.
 */
void actions_go_on(void);

/*
 * Whatever has happened: after a reset the device works. Sets it up anew and has it carry out
 * what its kind can be asked for; the worker dies once, after `die_after` accesses (0: not).
 */
void actions_recover(uint32_t die_after);

#endif
