/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the broker alive? It is asked every second, and answers from its main loop; one that has not
 * answered for 5 s is asked once more, as a worker is (broker/alive.h): it has the time again where
 * its keeper comes late itself, else a second. Then it is stuck: stopped, or it spins. Pure; times
 * in milliseconds.
 */
#ifndef BROKER_KEEPER_WATCH_H
#define BROKER_KEEPER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define WATCH_ASK_MS 1000
#define WATCH_ANSWER_MS 5000
#define WATCH_LATE_MS 1000 /* so late nobody is judged */
#define WATCH_LAST_MS 1000 /* to answer the second question */
#define WATCH_START_MS                                                                             \
    120000 /* for all of a start: see the bounds of its steps in broker/main.c                     \
            */

struct watch {
    int64_t when; /* when to look again */
    bool asked;   /* an answer is awaited; or the end of its start */
    bool forgiven;
};

enum watch_verdict { WATCH_WAIT, WATCH_ASK, WATCH_STUCK };

/* It is started; and it has answered, or come to the end of its start. */
void watch_begin(struct watch *watch, int64_t now);
void watch_answered(struct watch *watch, int64_t now);

/* WATCH_ASK: ask it, again perhaps. WATCH_STUCK is said once. */
enum watch_verdict watch_look(struct watch *watch, int64_t now);

#endif
