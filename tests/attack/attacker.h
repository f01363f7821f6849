/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The taken-over worker: bao-virtio-worker itself, from the same sources, whose lock-down and loop
 * are the product's, unchanged. The linker puts one function in front of the one that serves the
 * mailbox (--wrap): if the access names an attack (attacks.h), that runs from there on, with all
 * that an exploit of a worker would have. Until then it is a worker as any, for its driver can set
 * up what is to be misused, and so is its successor.
 *
 * It is clever, as an attacker would be: while it attacks it goes on saying that it is alive, and
 * answers register accesses, so that the broker has no other reason to end it than the attack.
 */
#ifndef TESTS_ATTACK_ATTACKER_H
#define TESTS_ATTACK_ATTACKER_H

#include "tests/attack/attacks.h"
#include "worker/device.h"

/* Carries out an attack. A flood never returns; after any other the worker goes on as if nothing
 * had been. */
typedef void attack_run(struct device *dev, struct attack_report *report);

/* What each does: attacks.h. */
#define X(name, words) attack_run attack_##name;
ATTACKS(X)
#undef X

/* Counts a call's result, which is -1 with errno for an error. */
void attack_count(struct attack_report *report, long result);
/* The same, and now and then answers whoever asks this worker something. */
void attack_step(struct device *dev, struct attack_report *report, long result);
/* Answers a register access, if one waits. */
void attack_answer(struct device *dev);

uint64_t attack_random(void);
/* Random bits there. */
void attack_spoil(void *at, size_t size);
/* The window without the report. */
size_t attack_window_size(const struct device *dev);

#endif
