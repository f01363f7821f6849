/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/attempt.h"

#define SLOW_LOOK_MS 500 /* time between two looks at a worker that waits for a disk */

void attempt_begin(struct attempt *attempt)
{
    *attempt = (struct attempt){
        .told = RELAY_NO_WORKER,
        .missed = RELAY_NO_WORKER,
        .silent_since = attempt->silent_since,
    };
}

void attempt_answered(struct attempt *attempt)
{
    attempt->silent_since = 0;
}

bool attempt_is_worker(uint32_t worker)
{
    return worker != RELAY_NO_WORKER && worker != RELAY_WORKER_STARTING;
}

bool attempt_needs_clock(const struct attempt *attempt, uint32_t worker)
{
    return !attempt_is_worker(worker) || worker == attempt->told;
}

/* There is no worker that can be asked. */
static struct attempt_next wait_for_worker(struct attempt *attempt,
                                           const struct relay_limits *limits,
                                           const struct attempt_seen *seen)
{
    if (seen->is_stopping)
        return (struct attempt_next){.step = ATTEMPT_GIVE_UP};
    if (attempt->silent_since == 0)
        attempt->silent_since = seen->now;
    int64_t left = attempt->silent_since + limits->give_up_ms - seen->now;
    if (seen->worker == RELAY_WORKER_STARTING) {
        if (attempt->patient == 0)
            attempt->patient = seen->now + limits->answer_ms;
        int64_t for_this_one = attempt->patient - seen->now;
        left = left > for_this_one ? left : for_this_one;
    }
    if (left <= 0)
        return (struct attempt_next){.step = ATTEMPT_GIVE_UP};
    return (struct attempt_next){.step = ATTEMPT_WAIT, .wait_ms = left};
}

static struct attempt_next tell(struct attempt *attempt, const struct relay_limits *limits,
                                uint32_t worker)
{
    struct attempt_next next = {ATTEMPT_TELL, attempt->is_asked, limits->answer_ms};
    attempt->is_asked = true;
    attempt->told = worker;
    attempt->deadline = 0;
    return next;
}

/* The worker that was told has reached its deadline. */
static struct attempt_next judge(struct attempt *attempt, const struct relay_limits *limits,
                                 const struct attempt_seen *seen)
{
    if (attempt->excused == 0)
        attempt->excused = seen->now + limits->slow_ms - limits->answer_ms;
    int64_t left = attempt->excused - seen->now;
    if (seen->is_in_io && left > 0) {
        left = left < SLOW_LOOK_MS ? left : SLOW_LOOK_MS;
        attempt->deadline = seen->now + left;
        return (struct attempt_next){.step = ATTEMPT_WAIT, .wait_ms = left};
    }
    attempt->missed = attempt->told;
    attempt->told = RELAY_NO_WORKER;
    if (attempt->silent_since == 0)
        attempt->silent_since = seen->now - limits->answer_ms;
    return (struct attempt_next){.step = ATTEMPT_REPLACE};
}

struct attempt_next attempt_next(struct attempt *attempt, const struct relay_limits *limits,
                                 const struct attempt_seen *seen)
{
    if (!attempt_is_worker(seen->worker))
        return wait_for_worker(attempt, limits, seen);
    if (seen->worker != attempt->told)
        return tell(attempt, limits, seen->worker);
    if (attempt->deadline == 0)
        attempt->deadline = seen->now + (seen->is_timed_out ? 0 : limits->answer_ms);
    if (seen->is_timed_out || seen->now >= attempt->deadline)
        return judge(attempt, limits, seen);
    return (struct attempt_next){.step = ATTEMPT_WAIT, .wait_ms = attempt->deadline - seen->now};
}
