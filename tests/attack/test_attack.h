/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of test_attack.c and of attack-vhost, by kind of power; each list ends with an empty
 * row. A test is named after its attack (attacks.h). */
#ifndef TESTS_ATTACK_TEST_ATTACK_H
#define TESTS_ATTACK_TEST_ATTACK_H

#include "tests/attack/session.h"

/* Powers of policy/worker.inc and of memory, of a worker of any kind. */
extern const CU_TestInfo common_tests[], backend_tests[], daemon_tests[], vhost_tests[];

/* Begin an attack after which its worker is gone by its own doing, and wait for a successor. */
void attack_and_die(const struct victim *victim, enum attack attack, uint64_t argument);

/* Has the log these words in the lines from `from` on? */
bool logged_since(const struct session *session, size_t from, const char *words);
size_t log_length(const struct session *session);

/* main of a test program: `lists` ends with NULL. An argument chooses tests by a part of a name. */
int attack_main(const CU_TestInfo *const *lists, int argc, char **argv);

#endif
