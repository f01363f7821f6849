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
        int resource;
        rlim_t limit;
    } limits[] = {
        {RLIMIT_CORE, 0},                /* no core file: its memory shows all registrations */
        {RLIMIT_MEMLOCK, 0},             /* never needed */
        {RLIMIT_NOFILE, files.rlim_cur}, /* the keeper's limit; the reason is in privileges.c */
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

/* Each thread signals once it has made the kernel objects that it needs. */
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

/* Only if there is a device that wants entropy. Call it after the relays are started, since they
 * count their own signals on the same eventfd. */
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
    return 0; /* the run-time of the sanitizers makes system calls of its own */
#else
    const struct policy_program *program = policy_find(policy);
    return program ? policy_load(program, 1) : -ENOENT;
#endif
}

static int load_filter(struct lockdown *lockdown)
{
    /* All devices are of one generation (main.c). */
    return load_filter_of(generations[lockdown->supervisor->devices[0].generation].policy);
}

static int load_connector_filter(struct lockdown *lockdown)
{
    (void)lockdown;
    return load_filter_of("connector");
}

/* Each failure is fatal. The comment before each step gives the reason for its place. */
struct step {
    int (*enter)(struct lockdown *lockdown);
    const char *words; /* "failed to ..." */
};

static const struct step steps[] = {
    /* Needs CAP_SETPCAP. Needs /proc, which libcap-ng reads and which is not in the new root. */
    {drop_bounding_set, "empty its capability bounding set"},
    /* Needs CAP_SETPCAP. From here on, exec or a change of user gives no capability. */
    {lock_securebits, "lock its securebits"},
    /* Needs CAP_SYS_ADMIN. After Landlock nothing can be mounted. */
    {lockdown_own_root, "enter a root of its own"},
    /* Before there are threads, since threads share the limits. */
    {set_limits, "lower its resource limits"},
    /* Before there are threads: each thread has its own capabilities. It may reset what follows. */
    {drop_capabilities, "give up all capabilities"},
    /* Without capabilities, Landlock and seccomp require it. */
    {set_no_new_privs, "set no_new_privs"},
    /* After the capabilities: a change of them could undo it. */
    {become_undumpable, "become undumpable"},
    /* Before there are threads: Landlock restricts the calling thread only. So
     * LANDLOCK_RESTRICT_SELF_TSYNC is not needed. */
    {lockdown_landlock, "deny itself every other file by Landlock"},
    /* Before the filter, which does not allow clone. */
    {start_threads, "start its threads"},
    /* The same. Also after the other threads, whose signals are counted. */
    {start_entropy, "wait for the kernel's random generator"},
    /* Last: the filter allows none of the steps above. */
    {load_filter, "load its seccomp filter"},
};

/* In the same order and for the same reasons. */
static const struct step connector_steps[] = {
    {drop_bounding_set, "empty its capability bounding set"},
    {lock_securebits, "lock its securebits"},
    {lockdown_connector_root, "enter a root of its own"},
    {set_limits, "lower its resource limits"},
    {drop_capabilities, "give up all capabilities"},
    {set_no_new_privs, "set no_new_privs"},
    {become_undumpable, "become undumpable"},
    {lockdown_landlock, "deny itself every file by Landlock"},
    {load_connector_filter, "load its seccomp filter"},
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
