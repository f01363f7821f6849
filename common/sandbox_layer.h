/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers that confine a worker, which it reports in READY, and the steps of a worker's start,
 * of which it names the one that failed. There is one list of each, for the code and for messages.
 */
#ifndef COMMON_SANDBOX_LAYER_H
#define COMMON_SANDBOX_LAYER_H

/* X(constant, name, core): if a core layer is missing, the worker does not start. */
#define SANDBOX_LAYERS(X)                                                                          \
    X(FDS, "fds", 1)                                                                               \
    X(UID, "uid", 1)                                                                               \
    X(CAPABILITIES, "capabilities", 1)                                                             \
    X(NO_NEW_PRIVS, "no_new_privs", 1)                                                             \
    X(EMPTY_ROOT, "empty root", 1)                                                                 \
    X(SECCOMP, "seccomp", 1)                                                                       \
    X(NAMESPACES, "namespaces", 1)                                                                 \
    X(SESSION, "session", 1)                                                                       \
    X(RLIMITS, "rlimits", 1)                                                                       \
    X(NOT_DUMPABLE, "not dumpable", 1)                                                             \
    X(KEYRING, "keyring", 0)                                                                       \
    X(USER_NAMESPACE, "user namespace", 0)                                                         \
    X(LANDLOCK, "landlock", 0)                                                                     \
    X(MDWE, "mdwe", 0)

enum sandbox_layer {
#define X(constant, name, core) LAYER_##constant,
    SANDBOX_LAYERS(X)
#undef X
        LAYER_COUNT,
};

/* X(constant, words for "worker failed to ...") */
#define WORKER_STEPS(X)                                                                            \
    X(START_MESSAGE, "receive its start message")                                                  \
    X(MAP_STATE, "map the state page")                                                             \
    X(MAP_WINDOW, "map the shared-memory window")                                                  \
    X(RING, "make its io_uring (io_engine: sync needs none)")                                      \
    X(DEVICE, "set up its device")                                                                 \
    X(EVENTS, "watch its events")                                                                  \
    X(SCHEDULING, "take its processors and scheduling class (keys cpu_affinity, sched)")           \
    X(SESSION, "become a session of its own")                                                      \
    X(KEYRING, "join a keyring of its own")                                                        \
    X(FDS, "hold exactly the expected file descriptors")                                           \
    X(NAMESPACES, "enter namespaces of its own")                                                   \
    X(EMPTY_ROOT, "enter an empty root")                                                           \
    X(RLIMITS, "lower its resource limits")                                                        \
    X(UID, "become its own user")                                                                  \
    X(USER_NAMESPACE, "enter a user namespace of its own")                                         \
    X(CAPABILITIES, "give up all capabilities")                                                    \
    X(NOT_DUMPABLE, "become undumpable")                                                           \
    X(NO_NEW_PRIVS, "set no_new_privs")                                                            \
    X(MDWE, "refuse itself new executable memory")                                                 \
    X(LANDLOCK, "deny itself every file by Landlock")                                              \
    X(SECCOMP, "load its seccomp filter")                                                          \
    X(VERIFY, "find itself confined")

enum worker_step {
#define X(constant, words) STEP_##constant,
    WORKER_STEPS(X)
#undef X
        STEP_COUNT,
};

#endif
