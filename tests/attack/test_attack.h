/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of test_attack.c and of attack-vhost, by kind of power. Each list ends with an empty
 * row. A test has the name of its attack (attacks.h). */
#ifndef TESTS_ATTACK_TEST_ATTACK_H
#define TESTS_ATTACK_TEST_ATTACK_H

#include "tests/attack/session.h"

/* Powers of policy/worker.inc and of memory: a worker of any kind has them. */
extern const CU_TestInfo common_tests[], backend_tests[], daemon_tests[], vhost_tests[];

/* Begin an attack in which the worker ends itself, and wait for a successor. */
void attack_and_die(const struct victim *victim, enum attack attack, uint64_t argument);

/* Whether the log has these words, in the text from `from` on. */
bool logged_since(const struct session *session, size_t from, const char *words);
size_t log_length(const struct session *session);

/* main of a test program: `lists` ends with NULL. An argument chooses tests by a part of a name. */
int attack_main(const CU_TestInfo *const *lists, int argc, char **argv);

#endif
