/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker that was taken over: bao-virtio-worker itself, from the same sources. Its lock-down
 * and its loop are the product's, unchanged. The linker puts one function in front of the one that
 * serves the mailbox (--wrap). If the access names an attack (attacks.h), the attack runs from
 * there on, with everything that an exploit of a worker would have. Until then it is a normal
 * worker: its driver can set up what will be misused. Its successor is a normal worker, too.
 *
 * It is clever, as an attacker would be. While it attacks, it goes on saying that it is alive, and
 * answers register accesses. So the broker has no other reason to end it than the attack.
 */
#ifndef TESTS_ATTACK_ATTACKER_H
#define TESTS_ATTACK_ATTACKER_H

#include "tests/attack/attacks.h"
#include "worker/device.h"

/* Carries out an attack. A flood never returns. After any other attack the worker goes on as if
 * nothing had happened. */
typedef void attack_run(struct device *dev, struct attack_report *report);

/* attacks.h says what each of them does. */
#define X(name, words) attack_run attack_##name;
ATTACKS(X)
#undef X

/* Counts a call's result, which is -1 with errno for an error. */
void attack_count(struct attack_report *report, long result);
/* The same; and now and then it answers a register access that waits for this worker. */
void attack_step(struct device *dev, struct attack_report *report, long result);
/* Answers a register access, if one waits. */
void attack_answer(struct device *dev);

uint64_t attack_random(void);
/* Write random bits there. */
void attack_spoil(void *at, size_t size);
/* The window without the report. */
size_t attack_window_size(const struct device *dev);

#endif
