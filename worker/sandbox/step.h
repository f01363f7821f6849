/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of lock-down, for sandbox.c, which puts them in order, and for the tests.
 *
 * enter_* takes the step: returns 1 if the layer is now in force; 0 if this kernel does not have it
 * (or, for the user namespace, does not grant it); -errno. check_* asks the kernel whether the
 * layer is still in force: returns 0, or -ENOTRECOVERABLE if it is not. Checks need no free fd and
 * no file, so that they also work at the end; `layers` says what is in force at that time.
 */
#ifndef WORKER_SANDBOX_STEP_H
#define WORKER_SANDBOX_STEP_H

#include <stddef.h>
#include <sys/prctl.h>

#include "worker/sandbox/sandbox.h"

struct sandbox_step {
    enum worker_step step;
    enum sandbox_layer layer;
    int (*enter)(const struct sandbox *sandbox);
    int (*check)(const struct sandbox *sandbox, uint32_t layers); /* NULL: enter checks, for good */
};

/* In their order, the filter last. */
extern const struct sandbox_step sandbox_steps[];
extern const size_t sandbox_step_count;

static inline int sandbox_in_force(uint32_t layers, enum sandbox_layer layer)
{
    return (layers & (1u << layer)) != 0;
}

/* prctl with an option that takes one value. */
static inline int step_prctl(int option, unsigned long value)
{
    return prctl(option, value, 0, 0, 0);
}

/* fds.c */
int step_enter_fds(const struct sandbox *sandbox);
int step_check_fds(const struct sandbox *sandbox, uint32_t layers);

/* root.c */
int step_enter_namespaces(const struct sandbox *sandbox);
int step_check_namespaces(const struct sandbox *sandbox, uint32_t layers);
int step_enter_empty_root(const struct sandbox *sandbox);
int step_check_empty_root(const struct sandbox *sandbox, uint32_t layers);

/* user.c */
int step_enter_uid(const struct sandbox *sandbox);
int step_check_uid(const struct sandbox *sandbox, uint32_t layers);
int step_enter_keyring(const struct sandbox *sandbox);
int step_enter_user_namespace(const struct sandbox *sandbox);
int step_check_user_namespace(const struct sandbox *sandbox, uint32_t layers);
int step_enter_session(const struct sandbox *sandbox);
int step_check_session(const struct sandbox *sandbox, uint32_t layers);
int step_enter_capabilities(const struct sandbox *sandbox);
int step_check_capabilities(const struct sandbox *sandbox, uint32_t layers);

/* process.c */
int step_enter_not_dumpable(const struct sandbox *sandbox);
int step_check_not_dumpable(const struct sandbox *sandbox, uint32_t layers);
int step_enter_no_new_privs(const struct sandbox *sandbox);
int step_check_no_new_privs(const struct sandbox *sandbox, uint32_t layers);
int step_enter_mdwe(const struct sandbox *sandbox);
int step_check_mdwe(const struct sandbox *sandbox, uint32_t layers);
int step_enter_landlock(const struct sandbox *sandbox);
int step_enter_rlimits(const struct sandbox *sandbox);
int step_check_rlimits(const struct sandbox *sandbox, uint32_t layers);
int step_enter_seccomp(const struct sandbox *sandbox);

#endif
