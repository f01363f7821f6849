/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay thread against a dispatcher made of two pipes and a worker made of a thread.
 */
#ifndef TESTS_UNIT_RELAY_UNDER_TEST_H
#define TESTS_UNIT_RELAY_UNDER_TEST_H

#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/relay.h"

#define BASE 0x10000000u
#define DM_ID 7u
#define ANSWER_MS 5000
#define GIVE_UP_MS 10000
#define RECOVER_MS 40
#define SLACK_MS 5000 /* a busy machine */

/* These belong to the relay that the last `prepare` has made. */
extern struct state_page *state;
extern struct journal *journal;
extern struct relay *relay;
extern struct gate_line *line;     /* of the gate that `begin` starts */
extern int told, answered, report; /* eventfds */

/* ---- The dispatcher ---- */

extern int requests[2];               /* a pipe: what comes from the driver */
extern _Atomic int complete_result;   /* what COMPLETE returns */
extern _Atomic int interrupted;       /* this many calls of ATTACH do not reach the driver */
extern _Atomic int attach_result;     /* if not 0: the result of each ATTACH, after 1 ms */
extern _Atomic int attaches;          /* number of calls that ended so */
extern _Atomic int takes;             /* number of calls that wait for `requests`, or did */
extern void (*_Atomic on_take)(void); /* called by each of them; NULL: nothing */
extern _Atomic int empties;           /* this many calls succeed without a request */

void ask(uint64_t op, uint64_t offset, uint64_t width, uint64_t value, uint64_t id);

/* The next completion; a failure if none comes in time. */
struct bao_io_request completed(int timeout_ms);
bool nothing_completed(int for_ms);

/* ---- The worker ---- */

bool wait_told(int timeout_ms);
void answer(uint64_t value);

/* The worker that the relay reports as unusable within the time. */
uint32_t wait_unusable(int timeout_ms);

/* How often something was reported to the supervisor since the last call. Waits for `least`. */
uint64_t reported(uint64_t least);

/* ---- What a relay needs from the system ---- */

extern size_t stack_size;                        /* of the last thread that was started */
extern _Atomic int timers;                       /* number of timers that were made */
extern _Atomic int64_t timer_first_ns, timer_ns; /* the first and the last interval of a timer */
extern _Atomic bool timer_wrong;                 /* one was set in another way */

/* ---- A relay for each test ---- */

void prepare(void);
void begin(void);
void start(void); /* both of them */

/* For main: as in the broker, SIGALRM is blocked. Returns the exit status. */
int relay_tests_run(int argc, char **argv, const CU_SuiteInfo *suites);

#endif
