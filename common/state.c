/* SPDX-License-Identifier: Apache-2.0 */
#include "common/state.h"

#include <stddef.h>
#include <string.h>

#define BEHIND_STATUS sizeof(uint32_t)
_Static_assert(offsetof(struct state_transport, status) == 0, "the status is the first");

void state_reset(struct state_page *state, uint32_t status)
{
    struct state_transport fresh = {.config_generation = state->transport.config_generation};
    for (unsigned int q = 0; q < STATE_QUEUES_MAX; q++)
        state->queues[q].ready = 0;
    atomic_signal_fence(memory_order_seq_cst);
    state->transport.status = status;
    atomic_signal_fence(memory_order_seq_cst);
    /* All the rest is written, so that no field is forgotten. It is copied from here, so that the
     * value that stays is never read as something else. */
    __asm__ volatile("" : "+m"(fresh));
    memcpy((unsigned char *)&state->transport + BEHIND_STATUS,
           (const unsigned char *)&fresh + BEHIND_STATUS, sizeof(fresh) - BEHIND_STATUS);
    memset(state->queues, 0, sizeof(state->queues));
    memset(&state->of_kind, 0, sizeof(state->of_kind));
}

void state_finish(struct state_page *state, uint32_t kind, uint32_t queue_count)
{
    state->version = STATE_VERSION;
    state->kind = kind;
    state->queue_count = queue_count;
    /* Last: a page without it counts as fresh, or as invalid. */
    __atomic_store_n(&state->magic, STATE_MAGIC, __ATOMIC_RELEASE);
}
