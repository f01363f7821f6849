/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker without what confines it, so that the bench can tell what that costs. It is built from
 * the worker's own sources into a folder of the bench, from which nothing is installed. The worker
 * that is installed has no such switch.
 *
 * It stays in the pid, mount and network namespaces that the keeper makes: they are not part of any
 * request.
 */
#include "worker/sandbox/sandbox.h"

int __wrap_sandbox_enter(const struct sandbox *sandbox, uint32_t *ret_layers,
                         enum worker_step *ret_step);

/* It claims every layer: a broker takes no worker that lacks one. */
int __wrap_sandbox_enter(const struct sandbox *sandbox, uint32_t *ret_layers,
                         enum worker_step *ret_step)
{
    *ret_layers = (1u << LAYER_COUNT) - 1;
    *ret_step = STEP_DEVICE;
    return sandbox->confined ? sandbox->confined() : 0;
}
