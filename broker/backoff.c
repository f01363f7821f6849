/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backoff.h"

uint32_t backoff_after_death(struct backoff *backoff, int64_t lived_ms)
{
    if (lived_ms > BACKOFF_HEALTHY_MS)
        backoff->next_ms = 0;
    uint32_t wait = backoff->next_ms;
    if (wait == 0)
        backoff->next_ms = BACKOFF_FIRST_MS;
    else if (wait >= BACKOFF_MAX_MS / 2)
        backoff->next_ms = BACKOFF_MAX_MS;
    else
        backoff->next_ms = wait * 2;
    return wait;
}
