/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker can do with its vhost-user daemon. The daemon belongs to its device, so whatever
 * the worker does to it concerns no other device. The daemon here serves nobody else, and may die
 * of it.
 */
#include <unistd.h>

#include "tests/attack/test_attack.h"

#define FLOOD(name)                                                                                \
    static void name(void)                                                                         \
    {                                                                                              \
        session_flood(&victim_daemon, ATTACK_##name, 0);                                           \
    }

FLOOD(daemon_noise)
FLOOD(daemon_fds)
FLOOD(daemon_requests)
FLOOD(inflight_holes)
FLOOD(kick_flood)

/* The daemon's socket limits each wait. */
static void daemon_silence(void)
{
    struct session *session = session_of(&victim_daemon);
    struct watch watch;
    session_attack(session, 0, ATTACK_daemon_silence, 0);
    session_watch(session, &watch);
    usleep(session_flood_ms() * 1000);
    (void)session_judge(session, &watch, ATTACK_daemon_silence);
    session_replace(session);
}

/* The successor gets its kicks. */
static void kick_full(void)
{
    attack_and_die(&victim_daemon, ATTACK_kick_full, 0);
}

const CU_TestInfo daemon_tests[] = {
    {"daemon_noise: its own daemon", daemon_noise},
    {"daemon_fds: its own daemon", daemon_fds},
    {"daemon_silence: its own time", daemon_silence},
    {"daemon_requests: its own daemon", daemon_requests},
    {"inflight_holes: its own daemon", inflight_holes},
    {"kick_flood: its own daemon", kick_flood},
    {"kick_full: the successor's kicks come", kick_full},
    CU_TEST_INFO_NULL,
};
