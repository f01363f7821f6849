/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/alive.h"

#include "common/eventfd.h"

void alive_begin(struct alive *alive, int64_t now)
{
    *alive = (struct alive){.when = now + ALIVE_MS};
}

bool alive_look(struct alive *alive, struct state_watch *watch, int request, int64_t now)
{
    if (now < alive->when)
        return true;
    bool late = now - alive->when > ALIVE_LATE_MS;
    uint32_t asked = atomic_load_explicit(&watch->asked, memory_order_relaxed);
    bool answered = !alive->asked ||
                    atomic_load_explicit(&watch->answered, memory_order_relaxed) == asked ||
                    atomic_load_explicit(&watch->in_io, memory_order_relaxed) != 0;
    if (!answered && alive->forgiven)
        return false;
    alive->forgiven = !answered;
    atomic_store_explicit(&watch->asked, asked + 1, memory_order_relaxed);
    (void)eventfd_signal(request);
    alive->asked = true;
    alive->when = now + (answered || late ? ALIVE_MS : ALIVE_LAST_MS);
    return true;
}
