/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker can do with the kernel's vhost. A call that its policy no longer allows ends the
 * worker at once, which bounds the power as well.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/attack/test_attack.h"
#include "tests/standin/clock.h"

/* Memory that may come and go by itself. A leak of some 100 bytes per start would be more, even on
 * an emulated machine. */
#define KERNEL_MEMORY_KIB 1024
#define FLOODS 12 /* so many times longer than another flood */

/* Memory that the kernel has taken for itself, in KiB. */
static long kernel_memory(void)
{
    char line[128];
    long total = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof(line), file)) {
        long kib;
        if (sscanf(line, "SUnreclaim: %ld", &kib) == 1 ||
            sscanf(line, "VmallocUsed: %ld", &kib) == 1)
            total += kib;
    }
    if (file)
        fclose(file);
    return total;
}

/* Whatever the worker asks of vhost, the kernel's memory does not grow. Whether the worker was
 * ended for it or not, the successor serves. */
static void memory_stays(const struct victim *victim, enum attack attack)
{
    struct session *session = session_of(victim);
    struct watch watch;
    const long before = kernel_memory();
    pid_t worker = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, attack, 0);
    session_watch(session, &watch);
    usleep(FLOODS * session_flood_ms() * 1000);
    (void)session_judge(session, &watch, attack);
    const long grown = kernel_memory() - before;
    printf("%ld KiB more, the worker %s ", grown,
           fixture_worker(&session->fixture, 0) == worker ? "goes on" : "was ended");
    CU_ASSERT(grown < KERNEL_MEMORY_KIB);
    session_replace(session);
}

static void features_of_vsock(void)
{
    memory_stays(&victim_vsock_vhost, ATTACK_vhost_features);
}

static void features_of_net(void)
{
    memory_stays(&victim_net_vhost, ATTACK_vhost_features);
}

static void rings_of_vsock(void)
{
    memory_stays(&victim_vsock_vhost, ATTACK_vhost_rings);
}

static void rings_of_net(void)
{
    memory_stays(&victim_net_vhost, ATTACK_vhost_rings);
}

static void backend(void)
{
    struct session *session = session_of(&victim_net_vhost);
    pid_t before = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, ATTACK_vhost_backend, 0);
    for (uint64_t end = now_ms() + 10000; now_ms() < end &&
                                          atomic_load(&session_report(session, 0)->over) == 0 &&
                                          fixture_worker(&session->fixture, 0) == before;)
        usleep(1000);
    CU_ASSERT_EQUAL(session_report(session, 0)->result[0], 0);
    session_replace(session);
}

/* The kernel's thread signals them, not the worker. */
static void interrupts_of_vsock(void)
{
    session_flood(&victim_vsock_vhost, ATTACK_interrupt_flood, 0);
}

static void kicks_of_vsock(void)
{
    session_flood(&victim_vsock_vhost, ATTACK_kick_flood, 0);
}

static void kicks_of_net(void)
{
    session_flood(&victim_net_vhost, ATTACK_kick_flood, 0);
}

static void full_kicks_of_vsock(void)
{
    attack_and_die(&victim_vsock_vhost, ATTACK_kick_full, 0);
}

static void full_kicks_of_net(void)
{
    attack_and_die(&victim_net_vhost, ATTACK_kick_full, 0);
}

const CU_TestInfo vhost_tests[] = {
    {"vhost_features, vsock: the kernel's memory stays", features_of_vsock},
    {"vhost_rings, vsock: its own memory", rings_of_vsock},
    {"interrupt_flood, vsock by vhost", interrupts_of_vsock},
    {"kick_flood, vsock by vhost: its own processor time", kicks_of_vsock},
    {"kick_full, vsock by vhost: the successor's kicks come", full_kicks_of_vsock},
    {"vhost_features, net: the kernel's memory stays", features_of_net},
    {"vhost_rings, net: its own memory", rings_of_net},
    {"vhost_backend: its own tap", backend},
    {"kick_flood, net by vhost: its own processor time", kicks_of_net},
    {"kick_full, net by vhost: the successor's kicks come", full_kicks_of_net},
    CU_TEST_INFO_NULL,
};
