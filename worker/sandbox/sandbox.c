/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/sandbox/sandbox.h"

#include <errno.h>
#include <stdbool.h>

#include "worker/sandbox/step.h"

/*
 * The order of the steps matters: each row says what it has to come before or after. "Before X" is
 * written at the earlier of the two.
 */
const struct sandbox_step sandbox_steps[] = {
    /* First, while nothing else is open. Before EMPTY_ROOT, which has no /proc/self/fd. Before UID,
     * since after a change of user /proc/self/fd belongs to another user. */
    {STEP_FDS, LAYER_FDS, step_enter_fds, step_check_fds},
    /* Before EMPTY_ROOT, which in a shared mount namespace would take away the board's own root.
     * Before USER_NAMESPACE, so that they belong to the user namespace outside, and the
     * capabilities inside are worth nothing in them. They are compared by /proc/self/ns, as long as
     * that is there. */
    {STEP_NAMESPACES, LAYER_NAMESPACES, step_enter_namespaces, step_check_namespaces},
    /* Before CAPABILITIES and LANDLOCK: both forbid mounts. */
    {STEP_EMPTY_ROOT, LAYER_EMPTY_ROOT, step_enter_empty_root, step_check_empty_root},
    /* Before KEYRING: the keyring is then the new user's, and counts against the quota of that user
     * and not of root. Before USER_NAMESPACE, in which no user id is mapped. Before SESSION and
     * NOT_DUMPABLE: a change of user clears the death signal, and sets "dumpable" as the board's
     * sysctl says. Before CAPABILITIES, since this step needs some; it keeps all capabilities on
     * purpose. */
    {STEP_UID, LAYER_UID, step_enter_uid, step_check_uid},
    /* After UID, see there. */
    {STEP_KEYRING, LAYER_KEYRING, step_enter_keyring, NULL},
    /* While CAP_SYS_ADMIN is still there, so that boards on which only root may make user
     * namespaces have this layer, too. Before CAPABILITIES: a new user namespace gives every
     * capability again (inside it), including the bounding set, and unlocks securebits. */
    {STEP_USER_NAMESPACE, LAYER_USER_NAMESPACE, step_enter_user_namespace,
     step_check_user_namespace},
    /* After every change of credentials, which may clear the death signal. */
    {STEP_SESSION, LAYER_SESSION, step_enter_session, step_check_session},
    /* After all steps that need a capability. */
    {STEP_CAPABILITIES, LAYER_CAPABILITIES, step_enter_capabilities, step_check_capabilities},
    /* After every change of credentials, which may make the process dumpable again. */
    {STEP_NOT_DUMPABLE, LAYER_NOT_DUMPABLE, step_enter_not_dumpable, step_check_not_dumpable},
    /* Before LANDLOCK and SECCOMP: without it both would need CAP_SYS_ADMIN. */
    {STEP_NO_NEW_PRIVS, LAYER_NO_NEW_PRIVS, step_enter_no_new_privs, step_check_no_new_privs},
    /* Anywhere after the last mapping is made. */
    {STEP_MDWE, LAYER_MDWE, step_enter_mdwe, step_check_mdwe},
    /* Before RLIMITS: this step needs an fd for a moment, and another one to test itself. */
    {STEP_LANDLOCK, LAYER_LANDLOCK, step_enter_landlock, NULL},
    /* After everything that opens, maps or allocates, including `confined`, which may need a
     * thread. */
    {STEP_RLIMITS, LAYER_RLIMITS, step_enter_rlimits, step_check_rlimits},
    /* Last: it allows what the device needs, and none of the calls of the steps above. */
    {STEP_SECCOMP, LAYER_SECCOMP, step_enter_seccomp, NULL},
};

const size_t sandbox_step_count = sizeof(sandbox_steps) / sizeof(sandbox_steps[0]);

static bool is_core(enum sandbox_layer layer)
{
    static const bool core[LAYER_COUNT] = {
#define X(constant, name, is_core_layer) [LAYER_##constant] = is_core_layer,
        SANDBOX_LAYERS(X)
#undef X
    };
    return core[layer];
}

static int take_step(const struct sandbox_step *step, const struct sandbox *sandbox,
                     uint32_t *layers)
{
    if ((SANDBOX_LEFT_OUT & (1u << step->layer)) != 0)
        return 0;
    int result = step->enter(sandbox);
    if (result < 0)
        return result;
    if (result == 0)
        return is_core(step->layer) ? -EOPNOTSUPP : 0;
    *layers |= 1u << step->layer;
    return step->check ? step->check(sandbox, *layers) : 0;
}

/* Check whether a later step has undone an earlier one. */
static int check_all(const struct sandbox *sandbox, uint32_t layers)
{
    for (size_t i = 0; i < sandbox_step_count; i++) {
        const struct sandbox_step *step = &sandbox_steps[i];
        if (!sandbox_in_force(layers, step->layer) || !step->check)
            continue;
        int error = step->check(sandbox, layers);
        if (error < 0)
            return error;
    }
    return 0;
}

int sandbox_enter(const struct sandbox *sandbox, uint32_t *ret_layers, enum worker_step *ret_step)
{
    uint32_t layers = 0;
    for (size_t i = 0; i < sandbox_step_count; i++) {
        const struct sandbox_step *step = &sandbox_steps[i];
        int error = 0;
        if (step->step == STEP_RLIMITS && sandbox->confined) {
            *ret_step = STEP_DEVICE;
            error = sandbox->confined();
        } else if (step->step == STEP_SECCOMP) {
            *ret_step = STEP_VERIFY;
            error = check_all(sandbox, layers);
        }
        if (error == 0) {
            *ret_step = step->step;
            error = take_step(step, sandbox, &layers);
        }
        if (error < 0)
            return error;
    }
    *ret_layers = layers;
    return 0;
}
