/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An input is a program for a guest. The low five bits of a byte name an action. So a letter, large
 * or small, is an action, and inputs can be written by hand. The bytes that follow are the action's
 * arguments: little-endian, and 0 behind the end. The table in actions.c says what each letter
 * does.
 */
#ifndef TESTS_FUZZ_ACTIONS_H
#define TESTS_FUZZ_ACTIONS_H

#include "tests/fuzz/input.h"
#include "tests/fuzz/machine.h"

/* Carry out an input to its end, on a fresh device, or on one that actions_init started. */
void actions_run(struct input *input);
void actions_continue(struct input *input);

/*
 * §3.1.1: reset, accept what is offered of `features`, set up all queues with rings of `size`,
 * DRIVER_OK. It works with a device in any state. The window's rings are cleared.
 */
void actions_init(uint64_t features, uint16_t size);

/*
 * A driver that does not notice a successor goes on: the rest of §3.1.1 up to DRIVER_OK, without a
 * reset, and a kick of every queue.
 */
void actions_go_on(void);

/*
 * Asserts that after a reset the device works, whatever has happened. Sets it up again and makes it
 * do everything that its kind can do. The worker dies once, after `die_after` accesses (0: not at
 * all).
 */
void actions_recover(uint32_t die_after);

#endif
