/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/watch.h"

void watch_begin(struct watch *watch, int64_t now)
{
    *watch = (struct watch){.when = now + WATCH_START_MS, .asked = true, .forgiven = true};
}

void watch_answered(struct watch *watch, int64_t now)
{
    *watch = (struct watch){.when = now + WATCH_ASK_MS};
}

enum watch_verdict watch_look(struct watch *watch, int64_t now)
{
    if (now < watch->when)
        return WATCH_WAIT;
    bool late = now - watch->when > WATCH_LATE_MS;
    if (watch->asked && watch->forgiven) {
        watch->when = INT64_MAX;
        return WATCH_STUCK;
    }
    watch->forgiven = watch->asked;
    watch->when = now + (watch->asked && !late ? WATCH_LAST_MS : WATCH_ANSWER_MS);
    watch->asked = true;
    return WATCH_ASK;
}
