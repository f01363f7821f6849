/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the broker alive? It is asked every second, and answers from its main loop. If it has not
 * answered for 5 s, it is asked once more, as a worker is (broker/alive.h). It then has 1 s to
 * answer, or again 5 s if the keeper itself was late. If it does not answer, it is stuck: it is
 * stopped, or it spins. Pure; times in milliseconds.
 */
#ifndef BROKER_KEEPER_WATCH_H
#define BROKER_KEEPER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define WATCH_ASK_MS 1000
#define WATCH_ANSWER_MS 5000
#define WATCH_LATE_MS 1000 /* a keeper that is later than this does not judge the broker */
#define WATCH_LAST_MS 1000 /* to answer the second question */
#define WATCH_START_MS                                                                             \
    120000 /* for all of a start: see the bounds of its steps in broker/main.c                     \
            */

struct watch {
    int64_t when; /* time of the next look */
    bool asked;   /* an answer is awaited, or the end of the broker's start */
    bool forgiven;
};

enum watch_verdict { WATCH_WAIT, WATCH_ASK, WATCH_STUCK };

/* The broker was started; and: it has answered, or come to the end of its start. */
void watch_begin(struct watch *watch, int64_t now);
void watch_answered(struct watch *watch, int64_t now);

/* WATCH_ASK: ask it; this may be the second question. WATCH_STUCK is returned once. */
enum watch_verdict watch_look(struct watch *watch, int64_t now);

#endif
