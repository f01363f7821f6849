/* SPDX-License-Identifier: Apache-2.0 */
/* An entropy device has no files: its worker asks the kernel. */
#include "broker/backend/backend.h"

static int rng_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    (void)backend;
    (void)ret_key;
    (void)failure;
    return 0;
}

static int rng_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    start->of_kind.rng = (struct start_rng){.rate_limit = backend->config->rate_limit};
    *ret = (struct backend_fds){.count = 0};
    return 0;
}

const struct backend_ops backend_rng = {
    .opens_nothing = true,
    .wants_entropy = true,
    .open = rng_open,
    .give = rng_give,
};
