/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/lockdown.h"

#include <cap-ng.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/log.h"
#include "common/policy.h"

#define THREAD_START_MS 5000

static int drop_bounding_set(struct lockdown *lockdown)
{
    (void)lockdown;
    capng_clear(CAPNG_SELECT_BOUNDS);
    return capng_apply(CAPNG_SELECT_BOUNDS) != 0 ? -EPERM : 0;
}

static int lock_securebits(struct lockdown *lockdown)
{
    (void)lockdown;
    return capng_lock() != 0 ? -EPERM : 0;
}

static int drop_capabilities(struct lockdown *lockdown)
{
    (void)lockdown;
    capng_clear(CAPNG_SELECT_ALL);
    return capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) != 0 ? -EPERM : 0;
}

static int set_limits(struct lockdown *lockdown)
{
    (void)lockdown;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return -errno;
    const struct {
        __rlimit_resource_t resource;
        rlim_t limit;
    } limits[] = {
        {RLIMIT_CORE, 0},                /* its memory has the fds' registrations, not for a file */
        {RLIMIT_MEMLOCK, 0},             /* never needed */
        {RLIMIT_NOFILE, files.rlim_cur}, /* as the keeper has it, and why: privileges.c */
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        const struct rlimit limit = {limits[i].limit, limits[i].limit};
        if (setrlimit(limits[i].resource, &limit) < 0)
            return -errno;
    }
    return 0;
}

static int set_no_new_privs(struct lockdown *lockdown)
{
    (void)lockdown;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int become_undumpable(struct lockdown *lockdown)
{
    (void)lockdown;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

static int start_gate(struct supervisor *supervisor)
{
    struct gate *gate = &supervisor->gate;
    gate->report = supervisor->report;
    gate->lines = supervisor->lines;
    gate->line_count = supervisor->device_count;
    for (size_t i = 0; i < supervisor->device_count; i++)
        supervisor->lines[i] = &supervisor->devices[i].interrupt;
    return gate_start(gate);
}

/* Each thread signals once that it has made what it needs of the kernel. */
static int start_threads(struct lockdown *lockdown)
{
    struct supervisor *supervisor = lockdown->supervisor;
    uint64_t started = 1, prepared = 0;
    int result = start_gate(supervisor);
    for (size_t i = 0; result == 0 && i < supervisor->device_count; i++) {
        result = relay_start(&supervisor->devices[i].relay);
        started++;
    }
    while (result == 0 && prepared < started) {
        struct pollfd report = {.fd = supervisor->report, .events = POLLIN};
        uint64_t count;
        if (poll(&report, 1, THREAD_START_MS) <= 0)
            return -ETIMEDOUT;
        if (read(supervisor->report, &count, sizeof(count)) == (ssize_t)sizeof(count))
            prepared += count;
    }
    return result;
}

/* For whom there is an entropy device; the others do without. After the relays, which count their
 * own signals on the same eventfd. */
static int start_entropy(struct lockdown *lockdown)
{
    struct supervisor *supervisor = lockdown->supervisor;
    int waits = 0;
    for (size_t i = 0; i < supervisor->device_count; i++) {
        const struct device *device = &supervisor->devices[i];
        if (!device->backend.ops->wants_entropy)
            continue;
        if (waits == 0)
            waits = entropy_begin(&supervisor->entropy, supervisor->report, entropy_of_kernel);
        if (waits <= 0)
            return waits;
        log_warning(device->name,
                    "the kernel's random generator is not ready, so a frontend that wants random "
                    "bytes waits: the broker asks for it");
    }
    return 0;
}

static int load_filter_of(const char *policy)
{
#ifdef BVDM_SANITIZE
    (void)policy;
    return 0; /* the sanitizers' run-time makes system calls of its own */
#else
    const struct policy_program *program = policy_find(policy);
    return program ? policy_load(program, 1) : -ENOENT;
#endif
}

static int load_filter(struct lockdown *lockdown)
{
    /* All devices are of one (main.c). */
    return load_filter_of(generations[lockdown->supervisor->devices[0].generation].policy);
}

static int load_connector_filter(struct lockdown *lockdown)
{
    (void)lockdown;
    return load_filter_of("connector");
}

/* In this order, for the reasons given; each failure is fatal. */
struct step {
    int (*enter)(struct lockdown *lockdown);
    const char *words;  /* "failed to ..." */
    const char *before; /* why not later */
};

static const struct step steps[] = {
    {drop_bounding_set, "empty its capability bounding set",
     "libcap-ng reads /proc, which the new root lacks; needs CAP_SETPCAP"},
    {lock_securebits, "lock its securebits",
     "needs CAP_SETPCAP; from here on no exec or change of user gives a capability"},
    {lockdown_own_root, "enter a root of its own",
     "needs CAP_SYS_ADMIN; after Landlock nothing can be mounted"},
    {set_limits, "lower its resource limits", "the threads share them"},
    {drop_capabilities, "give up all capabilities",
     "a thread's own: before there are threads; may reset what the following steps set"},
    {set_no_new_privs, "set no_new_privs", "Landlock and seccomp ask for it without capabilities"},
    {become_undumpable, "become undumpable", "a change of capabilities could undo it"},
    {lockdown_landlock, "deny itself every other file by Landlock",
     "a thread's own: before there are threads"},
    {start_threads, "start its threads", "the filter has no clone"},
    {start_entropy, "wait for the kernel's random generator",
     "the filter has no clone; the other threads' signals are counted before"},
    {load_filter, "load its seccomp filter", "last: it allows none of the steps above"},
};

/* For the same reasons. */
static const struct step connector_steps[] = {
    {drop_bounding_set, "empty its capability bounding set", "as the broker"},
    {lock_securebits, "lock its securebits", "as the broker"},
    {lockdown_connector_root, "enter a root of its own", "as the broker"},
    {set_limits, "lower its resource limits", "its filter has no setrlimit"},
    {drop_capabilities, "give up all capabilities", "as the broker"},
    {set_no_new_privs, "set no_new_privs", "as the broker"},
    {become_undumpable, "become undumpable", "as the broker"},
    {lockdown_landlock, "deny itself every file by Landlock", "its filter does not know it"},
    {load_connector_filter, "load its seccomp filter", "last: it allows none of the steps above"},
};

static int enter_all(const struct step *all, size_t count, struct lockdown *lockdown,
                     const char **ret_step)
{
    for (size_t i = 0; i < count; i++) {
        *ret_step = all[i].words;
        int result = all[i].enter(lockdown);
        if (result < 0)
            return result;
    }
    return 0;
}

int lockdown_enter(struct lockdown *lockdown, const char **ret_step)
{
    return enter_all(steps, sizeof(steps) / sizeof(steps[0]), lockdown, ret_step);
}

int lockdown_enter_connector(struct lockdown *lockdown, const char **ret_step)
{
    return enter_all(connector_steps, sizeof(connector_steps) / sizeof(connector_steps[0]),
                     lockdown, ret_step);
}
