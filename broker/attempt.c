/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/attempt.h"

#define SLOW_LOOK_MS 500 /* time between two looks at a worker that waits for a disk */
#define STALLS_MAX 10u   /* of a machine that stands still more often, all is counted */

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

/* The part of a worker's time that is waited for apart. A wait that lasts longer by so much was
 * that of a machine that stood still. */
static int64_t last_part(const struct relay_limits *limits)
{
    return limits->answer_ms / 5;
}

static struct attempt_next wait_event(struct attempt *attempt, const struct attempt_seen *seen,
                                      int64_t wait_ms)
{
    attempt->wake_by = seen->now + wait_ms;
    return (struct attempt_next){.step = ATTEMPT_WAIT, .wait_ms = wait_ms};
}

static void put_off(int64_t *time, int64_t late_ms)
{
    if (*time != 0)
        *time += late_ms;
}

/* Nobody could do anything while the machine stood still. When that began is not known, so the last
 * part of the wait is not counted either. */
static void discount(struct attempt *attempt, const struct relay_limits *limits, int64_t now)
{
    int64_t late_ms = now - attempt->wake_by;
    if (attempt->wake_by == 0 || late_ms < last_part(limits) || attempt->stalls == STALLS_MAX)
        return;
    attempt->stalls++;
    late_ms += last_part(limits);
    put_off(&attempt->deadline, late_ms);
    put_off(&attempt->excused, late_ms);
    put_off(&attempt->patient, late_ms);
    put_off(&attempt->silent_since, late_ms);
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
    return wait_event(attempt, seen, left);
}

static struct attempt_next tell(struct attempt *attempt, const struct relay_limits *limits,
                                uint32_t worker)
{
    struct attempt_next next = {ATTEMPT_TELL, attempt->is_asked,
                                limits->answer_ms - last_part(limits)};
    attempt->is_asked = true;
    attempt->told = worker;
    attempt->deadline = 0;
    attempt->wake_by = 0;
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
        return wait_event(attempt, seen, left);
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
    if (attempt_needs_clock(attempt, seen->worker))
        discount(attempt, limits, seen->now);
    if (!attempt_is_worker(seen->worker))
        return wait_for_worker(attempt, limits, seen);
    if (seen->worker != attempt->told)
        return tell(attempt, limits, seen->worker);
    if (attempt->deadline == 0)
        attempt->deadline =
            seen->now + (seen->is_timed_out ? last_part(limits) : limits->answer_ms);
    if (seen->now >= attempt->deadline)
        return judge(attempt, limits, seen);
    return wait_event(attempt, seen, attempt->deadline - seen->now);
}
