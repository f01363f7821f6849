/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no file of /proc shows: which device a worker serves, and the layers that the kernel does
 * not show from outside. If a broker was asked (bao-dmctl audit), it knows both; the rest is
 * reported as unknown.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/sandbox_layer.h"
#include "policy/audit/landlock_log.h"
#include "policy/audit/verify.h"

#define COMM_LENGTH 15 /* how many characters of a name the kernel keeps */

/* X(layer): what the kernel does not show, except that its log may tell of Landlock. */
#define UNSEEN_LAYERS(X)                                                                           \
    X(KEYRING)                                                                                     \
    X(LANDLOCK)                                                                                    \
    X(MDWE)

static const struct {
    const char *name;
    bool core;
} layers[LAYER_COUNT] = {
#define X(constant, name, core) [LAYER_##constant] = {(name), (core)},
    SANDBOX_LAYERS(X)
#undef X
};

static const struct told_device *device_of(const struct told *told, pid_t worker)
{
    for (size_t i = 0; told && i < told->count; i++) {
        if (told->devices[i].pid == worker)
            return &told->devices[i];
    }
    return NULL;
}

/* Whether the worker of some device is missing: it was being replaced when the broker was asked, or
 * has been replaced since. */
static bool one_lacks_a_worker(const struct told *told)
{
    struct process process;
    for (size_t i = 0; i < told->count; i++) {
        if (told->devices[i].pid == 0 || process_read(told->devices[i].pid, &process) < 0)
            return true;
    }
    return false;
}

/* `known`: what is known about it if the kernel's log does not tell. */
static void verify_landlock(struct report *report, const struct process *process, const char *known)
{
    uint64_t domain;
    if (!landlock_log_find(process->pid, &domain)) {
        report_unseen(report, process, layers[LAYER_LANDLOCK].name, known);
        return;
    }
    struct report_row *row = report_add(report, process, AS_EXPECTED, layers[LAYER_LANDLOCK].name);
    row->passing = true; /* the next report may not find it in the log any more */
    snprintf(row->expected, sizeof(row->expected), "it refuses this process something");
    snprintf(row->found, sizeof(row->found),
             "by the kernel's log, domain %" PRIx64 " of this process has refused it something",
             domain);
}

/* ---- A worker ---- */

static void unseen_layers(struct report *report, const struct process *process,
                          const struct told_device *device)
{
    static const enum sandbox_layer unseen[] = {
#define X(constant) LAYER_##constant,
        UNSEEN_LAYERS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof(unseen) / sizeof(unseen[0]); i++) {
        bool ready = device && device->layers != 0;
        bool in_force = ready && (device->layers & 1u << unseen[i]) != 0;
        const char *known = in_force ? "by the worker's READY, it is in force"
                            : ready  ? "by the worker's READY, this kernel lacks it"
                                     : "the worker's READY tells: see bao-dmctl audit, or the log";
        if (unseen[i] == LAYER_LANDLOCK)
            verify_landlock(report, process, known);
        else
            report_unseen(report, process, layers[unseen[i]].name, known);
    }
    report_unseen(report, process, "securebits", "the worker checks them before it serves");
}

/* The core layers in words, and whether READY named each. */
static void told_layers(struct report *report, const struct process *process, unsigned int told)
{
    char missing[REPORT_TEXT] = "";
    size_t used = 0;
    for (size_t i = 0; i < LAYER_COUNT; i++) {
        if (layers[i].core && (told & 1u << i) == 0 && used < sizeof(missing) / 2)
            used += (size_t)snprintf(missing + used, sizeof(missing) - used, "%s%s",
                                     used > 0 ? ", " : "", layers[i].name);
    }
    report_equal(report, process, "core layers missing", "none", used == 0 ? "none" : missing);
}

/* The user namespace is visible in /proc, and READY reports it: both must say the same. */
static void told_user_namespace(struct report *report, const struct verified *verified,
                                unsigned int told)
{
    char own[PROCESS_TEXT] = "", of_parent[PROCESS_TEXT] = "";
    const struct process *process = verified->process;
    if (!process_link(process->pid, "ns/user", own, sizeof(own)) ||
        !process_link(process->parent, "ns/user", of_parent, sizeof(of_parent)))
        return;
    report_equal(report, process, "user namespace",
                 (told & 1u << LAYER_USER_NAMESPACE) != 0 ? "its own, by READY"
                                                          : "shared, by READY",
                 strcmp(own, of_parent) != 0 ? "its own, by READY" : "shared, by READY");
}

static void verify_worker(struct report *report, const struct verified *verified)
{
    const struct process *process = verified->process;
    const struct told_device *device = device_of(verified->told, process->pid);
    if (device) {
        char name[COMM_LENGTH + 1];
        snprintf(name, sizeof(name), "%.15s", device->name);
        report_equal(report, process, "device", name, process->name);
        report_equal(report, process, "policy", device->policy,
                     verified->policy ? verified->policy->program.name : "none");
        if (device->layers != 0) {
            told_layers(report, process, device->layers);
            told_user_namespace(report, verified, device->layers);
        }
    } else if (verified->told) {
        bool successor = one_lacks_a_worker(verified->told);
        struct report_row *row =
            report_add(report, process, successor ? TO_KNOW : NOT_AS_EXPECTED, "device");
        snprintf(row->expected, sizeof(row->expected), "one of the broker's devices");
        row->passing = true;
        snprintf(row->found, sizeof(row->found), "the broker %s",
                 successor ? "had not heard of it yet" : "knows nothing of it");
    }
    unseen_layers(report, process, device);
}

/* ---- The broker ---- */

/* Reads the worker's present state: the list of processes may be older. Before its exec a worker
 * has the keeper's name. */
static void verify_device(struct report *report, const struct verified *verified,
                          const struct told_device *device)
{
    char check[32];
    struct process worker;
    bool there = device->pid != 0 && process_read(device->pid, &worker) == 0;
    bool found = there && worker.parent == verified->process->parent &&
                 (worker.role == PROCESS_WORKER || worker.role == PROCESS_KEEPER);
    bool stranger = there && !found, ready = found && device->layers != 0;
    snprintf(check, sizeof(check), "device %u", device->id);
    struct report_row *row = report_add(report, verified->process,
                                        stranger ? NOT_AS_EXPECTED
                                        : ready  ? AS_EXPECTED
                                                 : TO_KNOW,
                                        check);
    row->passing = true; /* another worker has another pid */
    snprintf(row->expected, sizeof(row->expected), "a worker that the keeper started");
    if (device->pid == 0)
        snprintf(row->found, sizeof(row->found), "%s, %s: no worker just now", device->name,
                 device->policy);
    else
        snprintf(row->found, sizeof(row->found), "%s, %s: worker %d%s", device->name,
                 device->policy, (int)device->pid,
                 stranger ? ", which is none of this keeper's"
                 : ready  ? ""
                 : found  ? ", which was not ready"
                          : ", which ended in the meantime");
}

static void verify_broker(struct report *report, const struct verified *verified)
{
    const struct told *told = verified->told;
    if (told)
        report_equal(report, verified->process, "policy", told->policy,
                     verified->policy ? verified->policy->program.name : "none");
    for (size_t i = 0; told && i < told->count; i++)
        verify_device(report, verified, &told->devices[i]);
    verify_landlock(report, verified->process,
                    "the broker enters it where the kernel has it, and ends if that fails");
    report_unseen(report, verified->process, "securebits", "the broker ends if it can't lock them");
}

static void verify_connector(struct report *report, const struct verified *verified)
{
    verify_landlock(report, verified->process,
                    "the connector enters it where the kernel has it, and ends if that fails");
    report_unseen(report, verified->process, "securebits",
                  "the connector ends if it can't lock them");
}

void verify_told(struct report *report, const struct verified *verified)
{
    if (verified->process->role == PROCESS_WORKER)
        verify_worker(report, verified);
    if (verified->process->role == PROCESS_BROKER)
        verify_broker(report, verified);
    if (verified->process->role == PROCESS_CONNECTOR)
        verify_connector(report, verified);
}
