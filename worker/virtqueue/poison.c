/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/virtqueue/poison.h"

#include <string.h>

bool poison_found(struct state_page *state, unsigned int *ret_queue)
{
    struct state_deaths *deaths = &state->deaths;
    uint32_t queue = deaths->turn - 1; /* 0 becomes a number that no queue has */
    deaths->turn = 0;
    if (queue >= state->queue_count) {
        deaths->count = 0;
        return false;
    }
    uint32_t next_used = state->queues[queue].next_used;
    bool came_no_further =
        deaths->count > 0 && deaths->queue == queue && deaths->next_used == next_used;
    deaths->count = came_no_further ? deaths->count + 1 : 1;
    deaths->queue = queue;
    deaths->next_used = next_used;
    *ret_queue = queue;
    return deaths->count >= POISON_DEATHS;
}

void poison_forget(struct state_page *state)
{
    memset(&state->deaths, 0, sizeof(state->deaths));
}
