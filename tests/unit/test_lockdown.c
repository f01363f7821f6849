/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps by which broker and connector lock themselves down: all of them, in their order, and no
 * further step after one that fails. The kernel and the threads are this test. What the steps
 * achieve is tested by test_confinement, test_own_root and test_landlock.
 */
#include <cap-ng.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/lockdown.h"
#include "common/eventfd.h"
#include "common/policy.h"
#include "tests/cunit_main.h"
#include "tests/unit/said.h"

static char done[1024]; /* the steps, in words */
static const char
    *failing; /* the one that fails, with EPERM or what it always fails with; NULL: none */

/* Returns whether the step fails. */
static bool step(const char *words)
{
    strcat(done, words);
    strcat(done, " ");
    errno = EPERM;
    return failing && strcmp(failing, words) == 0;
}

/* ---- The kernel ---- */

static capng_select_t cleared; /* since the last capng_apply */

void capng_clear(capng_select_t set)
{
    cleared = set;
}

int capng_apply(capng_select_t set)
{
    bool fails;
    if (set == CAPNG_SELECT_BOUNDS)
        fails = step(cleared == CAPNG_SELECT_BOUNDS ? "bounds" : "other-bounds");
    else
        fails =
            step(cleared == CAPNG_SELECT_ALL && set == (CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT)
                     ? "capabilities"
                     : "other-capabilities");
    cleared = 0;
    return fails ? 1 : 0;
}

int capng_lock(void)
{
    return step("securebits") ? -1 : 0;
}

int __wrap_prctl(int option, ...);

int __wrap_prctl(int option, ...)
{
    unsigned long values[4];
    char words[64];
    va_list arguments;
    va_start(arguments, option);
    for (size_t i = 0; i < 4; i++)
        values[i] = va_arg(arguments, unsigned long);
    va_end(arguments);
    CU_ASSERT((int)values[1] == 0 && (int)values[2] == 0 && (int)values[3] == 0);
    snprintf(words, sizeof(words), "%s=%d",
             option == PR_SET_NO_NEW_PRIVS ? "no_new_privs"
             : option == PR_SET_DUMPABLE   ? "dumpable"
                                           : "other",
             (int)values[0]);
    return step(words) ? -1 : 0;
}

static int get_error;

int __wrap_getrlimit(int resource, struct rlimit *ret);
int __wrap_setrlimit(int resource, const struct rlimit *wanted);
int __wrap_getrlimit64(int resource, void *ret);
int __wrap_setrlimit64(int resource, const void *wanted);

int __wrap_getrlimit(int resource, struct rlimit *ret)
{
    CU_ASSERT_EQUAL(resource, RLIMIT_NOFILE);
    *ret = (struct rlimit){777, 99999};
    errno = get_error ? get_error : EIO;
    return get_error ? -1 : 0;
}

int __wrap_setrlimit(int resource, const struct rlimit *wanted)
{
    char words[64];
    CU_ASSERT_EQUAL(wanted->rlim_cur, wanted->rlim_max);
    snprintf(words, sizeof(words), "%s=%d",
             resource == RLIMIT_CORE      ? "core"
             : resource == RLIMIT_MEMLOCK ? "memlock"
             : resource == RLIMIT_NOFILE  ? "files"
                                          : "other",
             (int)wanted->rlim_cur);
    return step(words) ? -1 : 0;
}

int __wrap_getrlimit64(int resource, void *ret)
{
    return __wrap_getrlimit(resource, ret);
}

int __wrap_setrlimit64(int resource, const void *wanted)
{
    return __wrap_setrlimit(resource, wanted);
}

/* ---- The other steps ---- */

static struct supervisor supervisor;
static struct device devices[3]; /* the last one is not there */
static struct backend_ops ops[2];
static struct lockdown lockdown;
static unsigned int missing; /* so many threads do not report at once */
static unsigned int late;    /* so many of them report while they are waited for */

int lockdown_own_root(struct lockdown *of)
{
    CU_ASSERT_PTR_EQUAL(of, &lockdown);
    return step("root") ? -ENOMEM : 0;
}

int lockdown_connector_root(struct lockdown *of)
{
    CU_ASSERT_PTR_EQUAL(of, &lockdown);
    return step("connector-root") ? -ENOMEM : 0;
}

int lockdown_landlock(struct lockdown *of)
{
    CU_ASSERT_PTR_EQUAL(of, &lockdown);
    return step("landlock") ? -ENOMEM : 0;
}

static void runs(void)
{
    if (missing > 0)
        missing--;
    else
        CU_ASSERT_TRUE(eventfd_signal(supervisor.report));
}

int __wrap_gate_start(struct gate *gate);

int __wrap_gate_start(struct gate *gate)
{
    CU_ASSERT_PTR_EQUAL(gate, &supervisor.gate);
    CU_ASSERT_EQUAL(gate->report, supervisor.report);
    CU_ASSERT_EQUAL(gate->line_count, supervisor.device_count);
    CU_ASSERT_PTR_EQUAL(gate->lines, supervisor.lines);
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_PTR_EQUAL(supervisor.lines[i],
                            i < supervisor.device_count ? &devices[i].interrupt : NULL);
    runs();
    return step("gate") ? -ENOMEM : 0;
}

int __wrap_relay_start(struct relay *relay);

int __wrap_relay_start(struct relay *relay)
{
    CU_ASSERT(relay == &devices[0].relay || relay == &devices[1].relay);
    runs();
    return step(relay == &devices[0].relay ? "relay-0" : "relay-1") ? -ENOMEM : 0;
}

int __real_poll(struct pollfd *files, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms);

int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms)
{
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_EQUAL(files->fd, supervisor.report);
    CU_ASSERT_EQUAL(files->events, POLLIN);
    CU_ASSERT(timeout_ms >= 1000 && timeout_ms <= 60000);
    strcat(done, "wait ");
    if (late > 0) {
        late--;
        CU_ASSERT_TRUE(eventfd_signal(supervisor.report));
    }
    return __real_poll(files, count, 0);
}

static int entropy_result;

int __wrap_entropy_begin(struct entropy *entropy, int report, entropy_ask *asked);

int __wrap_entropy_begin(struct entropy *entropy, int report, entropy_ask *asked)
{
    CU_ASSERT(entropy == &supervisor.entropy && report == supervisor.report);
    CU_ASSERT_PTR_EQUAL(asked, entropy_of_kernel);
    return step("entropy") ? -ENOMEM : entropy_result;
}

static bool no_policy;

const struct policy_program *policy_find(const char *name)
{
    static struct policy_program program;
    program.name = name;
    return no_policy ? NULL : &program;
}

int policy_load(const struct policy_program *program, int all_threads)
{
    CU_ASSERT_EQUAL(all_threads, 1);
    return step(program->name) ? -ENOMEM : 0;
}

/* ---- Cases ---- */

static struct said said;

static void begin(void)
{
    done[0] = '\0';
    failing = NULL;
    get_error = entropy_result = 0;
    no_policy = false;
    missing = late = 0;
    cleared = 0;
    memset(devices, 0x5a, sizeof(devices));
    for (size_t i = 0; i < 2; i++) {
        devices[i] = (struct device){.generation = BAO_B, .backend = {.ops = &ops[i]}};
        snprintf(devices[i].name, sizeof(devices[i].name), "rng %zu", i);
        ops[i] = (struct backend_ops){0};
    }
    supervisor = (struct supervisor){
        .report = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .devices = devices, .device_count = 2};
    lockdown = (struct lockdown){.supervisor = &supervisor};
    said_begin(&said, STDERR_FILENO);
}

static const char *end(void)
{
    close(supervisor.report);
    return said_end(&said);
}

#define TO_LIMITS "core=0 memlock=0 files=777 "
#define TO_LANDLOCK "capabilities no_new_privs=1 dumpable=0 landlock "
#define BROKER_STEPS "bounds securebits root " TO_LIMITS TO_LANDLOCK "gate relay-0 relay-1 wait "
#ifdef BVDM_SANITIZE /* no filter is loaded */
#define FILTER(name) ""
#else
#define FILTER(name) name " "
#endif

static void a_broker_takes_each_step(void)
{
    const char *words = "";
    begin();
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), 0);
    CU_ASSERT_STRING_EQUAL(done, BROKER_STEPS FILTER("broker"));
    CU_ASSERT_STRING_EQUAL(end(), "");
    begin();
    devices[0].generation = devices[1].generation = BAO_D;
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), 0);
    CU_ASSERT_STRING_EQUAL(done, BROKER_STEPS FILTER("broker_d"));
    (void)end();
}

static void one_device_is_enough(void)
{
    const char *words = "";
    begin();
    memset(&devices[1], 0x5a, sizeof(devices[1])); /* it is not there */
    supervisor.device_count = 1;
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), 0);
    CU_ASSERT_STRING_EQUAL(done, "bounds securebits root " TO_LIMITS TO_LANDLOCK
                                 "gate relay-0 wait " FILTER("broker"));
    (void)end();
}

static void a_connector_takes_each_step(void)
{
    const char *words = "";
    begin();
    lockdown.supervisor = NULL;
    CU_ASSERT_EQUAL(lockdown_enter_connector(&lockdown, &words), 0);
    CU_ASSERT_STRING_EQUAL(
        done, "bounds securebits connector-root " TO_LIMITS TO_LANDLOCK FILTER("connector"));
    (void)end();
}

static void fails_at(const char *step_of, int result, const char *expected, bool connector)
{
    const char *words = "";
    begin();
    failing = step_of;
    CU_ASSERT_EQUAL(connector ? lockdown_enter_connector(&lockdown, &words)
                              : lockdown_enter(&lockdown, &words),
                    result);
    CU_ASSERT_STRING_EQUAL(words, expected);
    /* That was the last one. */
    const size_t length = strlen(done), last = strlen(step_of);
    CU_ASSERT(length > last && strncmp(done + length - last - 1, step_of, last) == 0);
    (void)end();
}

static void a_step_that_fails_is_the_last_and_is_named(void)
{
    for (unsigned int connector = 0; connector < 2; connector++) {
        fails_at("bounds", -EPERM, "empty its capability bounding set", connector);
        fails_at("securebits", -EPERM, "lock its securebits", connector);
        fails_at(connector ? "connector-root" : "root", -ENOMEM, "enter a root of its own",
                 connector);
        fails_at("core=0", -EPERM, "lower its resource limits", connector);
        fails_at("memlock=0", -EPERM, "lower its resource limits", connector);
        fails_at("files=777", -EPERM, "lower its resource limits", connector);
        fails_at("capabilities", -EPERM, "give up all capabilities", connector);
        fails_at("no_new_privs=1", -EPERM, "set no_new_privs", connector);
        fails_at("dumpable=0", -EPERM, "become undumpable", connector);
        fails_at("landlock", -ENOMEM,
                 connector ? "deny itself every file by Landlock"
                           : "deny itself every other file by Landlock",
                 connector);
#ifndef BVDM_SANITIZE
        fails_at(connector ? "connector" : "broker", -ENOMEM, "load its seccomp filter", connector);
#endif
    }
    fails_at("gate", -ENOMEM, "start its threads", false);
    fails_at("relay-0", -ENOMEM, "start its threads", false);
    fails_at("relay-1", -ENOMEM, "start its threads", false);
    const char *words = "";
    begin();
    get_error = EINVAL;
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), -EINVAL);
    CU_ASSERT_STRING_EQUAL(words, "lower its resource limits");
    (void)end();
#ifndef BVDM_SANITIZE
    begin();
    no_policy = true;
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), -ENOENT);
    CU_ASSERT_STRING_EQUAL(words, "load its seccomp filter");
    (void)end();
#endif
}

/* No thread may make its kernel objects under the filter. */
static void no_filter_comes_before_each_thread_is_ready(void)
{
    const char *words = "";
    begin();
    missing = 1;
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), -ETIMEDOUT);
    CU_ASSERT_STRING_EQUAL(words, "start its threads");
    CU_ASSERT_STRING_EQUAL(done, BROKER_STEPS "wait ");
    (void)end();
    begin();
    missing = late = 3; /* one after the other */
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), 0);
    CU_ASSERT_STRING_EQUAL(done, BROKER_STEPS "wait wait " FILTER("broker"));
    (void)end();
}

#define NOT_READY(name)                                                                            \
    "bao-virtio-dm: " name ": the kernel's random generator is not ready, so a frontend that "     \
    "wants random bytes waits: the broker asks for it\n"

static void entropy_is_asked_for_once_if_it_is_wanted(void)
{
    const char *words = "";
    begin();
    ops[1].wants_entropy = true;
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), 0); /* it is ready */
    CU_ASSERT_STRING_EQUAL(done, BROKER_STEPS "entropy " FILTER("broker"));
    CU_ASSERT_STRING_EQUAL(end(), "");
    begin();
    ops[0].wants_entropy = ops[1].wants_entropy = true;
    entropy_result = 1;
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), 0);
    CU_ASSERT_STRING_EQUAL(done, BROKER_STEPS "entropy " FILTER("broker"));
    CU_ASSERT_STRING_EQUAL(end(), NOT_READY("rng 0") NOT_READY("rng 1"));
    begin();
    ops[0].wants_entropy = true;
    failing = "entropy";
    CU_ASSERT_EQUAL(lockdown_enter(&lockdown, &words), -ENOMEM);
    CU_ASSERT_STRING_EQUAL(words, "wait for the kernel's random generator");
    CU_ASSERT_STRING_EQUAL(end(), "");
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a broker takes each step", a_broker_takes_each_step},
        {"one device is enough", one_device_is_enough},
        {"a connector takes each step", a_connector_takes_each_step},
        {"a step that fails is the last", a_step_that_fails_is_the_last_and_is_named},
        {"no filter before each thread", no_filter_comes_before_each_thread_is_ready},
        {"entropy is asked for once", entropy_is_asked_for_once_if_it_is_wanted},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "lockdown", tests);
}
