/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker that was taken over tries: the attacks that the test binary (attacker.h) can carry
 * out, one or more for each residual power of each policy (powers.h); and how a test talks to it.
 */
#ifndef TESTS_ATTACK_ATTACKS_H
#define TESTS_ATTACK_ATTACKS_H

#include <stdatomic.h>
#include <stdint.h>

/* X(name, what it does). A flood goes on until its worker is ended. */
#define ATTACKS(X)                                                                                 \
    /* every kind: worker.inc, and memory */                                                       \
    X(interrupt_flood, "signals the interrupt's eventfd without end")                              \
    X(interrupt_full, "fills the interrupt's eventfd to 2^64-2, and dies")                         \
    X(reply_flood, "signals @reply without end, and answers nothing")                              \
    X(reply_full, "fills @reply to 2^64-2, and dies")                                              \
    X(forged_answers, "answers each register read at once, with random bits of all 64")            \
    X(log_flood, "sends the fixed log messages without end")                                       \
    X(bad_message, "sends what is not a message, or not its to send, or not now")                  \
    X(epoll_flood, "calls epoll_pwait2 without end")                                               \
    X(spin, "calls nothing, and takes all the processor time that it gets")                        \
    X(spoil_page, "writes random bits all over the state page, and goes on doing so")              \
    X(spoilt_page, "leaves random bits all over the state page, and dies")                         \
    X(spoilt_mailbox, "leaves random bits in the mailbox in place of a request, and dies")         \
    X(spoilt_positions, "leaves positions out of every ring, under a status that is not live")     \
    X(spoil_window, "writes random bits all over the window, without end")                         \
    X(grow_stack, "calls itself until the stack ends")                                             \
    X(lie_in_io, "says that it waits for a disk, and answers nothing")                             \
    X(die_again, "ends at each register access, as each of its successors does")                   \
    X(forbidden, "calls what its policy does not allow")                                           \
    /* rng */                                                                                      \
    X(getrandom_flood, "asks the kernel for random bytes without end")                             \
    /* block */                                                                                    \
    X(image_read, "reads the whole image again and again")                                         \
    X(image_beyond, "writes at the image's end and far behind it")                                 \
    X(image_sync, "writes durably, and syncs, without end")                                        \
    X(image_allocate, "has the file system allocate behind the image's end, as far as it goes")    \
    X(image_holes, "punches holes and zeroes ranges without end")                                  \
    X(ring_read, "reads the image by its ring without end, as much at once as it can")             \
    X(ring_escape, "puts every other operation, file and flag into its ring")                      \
    /* net */                                                                                      \
    X(frame_flood, "sends frames without end")                                                     \
    X(frame_take, "takes frames without end, and gives them to nobody")                            \
    X(offload_flood, "changes the tap's offloads without end")                                     \
    X(tap_number_kick, "writes to the numbers of the taps that its device does not have")          \
    /* console */                                                                                  \
    X(port_flood, "writes to its terminals without end")                                           \
    X(port_take, "reads from its terminals without end")                                           \
    X(log_file_flood, "writes to its log file without end")                                        \
    X(readers_flood, "asks without end who has no reader")                                         \
    /* console/socket */                                                                           \
    X(client_flood, "writes to its client, and reads from it, without end")                        \
    X(client_events, "watches and forgets its client without end")                                 \
    X(client_close, "closes its client, and takes messages that are not there")                    \
    /* vsock/virtio */                                                                             \
    X(connect_flood, "asks for connections without end, and takes and closes them")                \
    X(connect_hoard, "asks for connections, and receives none of them")                            \
    X(connection_flood, "writes to a connection, and reads from it, without end")                  \
    X(connection_events, "watches and forgets a connection without end")                           \
    X(connection_close, "shuts down and closes what it has, and what it has not")                  \
    /* vhost_user */                                                                               \
    X(daemon_noise, "sends the daemon bytes that are no message")                                  \
    X(daemon_fds, "sends the daemon its own fds without end")                                      \
    X(daemon_silence, "waits for answers that the daemon does not owe it")                         \
    X(daemon_requests, "answers requests that the daemon has not made")                            \
    X(inflight_holes, "punches holes into the daemon's buffer without end")                        \
    X(kick_flood, "kicks the daemon, or the kernel's vhost, without end")                          \
    X(kick_full, "fills the kicks to 2^64-2, and dies")                                            \
    /* vhost */                                                                                    \
    X(vhost_features, "sets any feature bits, and starts and stops vhost, without end")            \
    X(vhost_rings, "hands vhost rings of any size, position and place")                            \
    X(vhost_backend, "hands vhost every fd it has for a backend")

enum attack {
    ATTACK_NONE,
#define X(name, words) ATTACK_##name,
    ATTACKS(X)
#undef X
        ATTACK_COUNT,
};

/*
 * A write of an attack's number to this register starts the attack. VirtIO 1.2 §4.2.2 has no such
 * register; for a correct worker the write has no effect.
 */
#define ATTACK_REGISTER 0x0e0u

/*
 * The last page of the device's window: the test and its attacker talk through it. It is guest
 * memory, so the product has no part in it.
 */
#define ATTACK_REPORT_SIZE 4096u

struct attack_report {
    /* Written by the test. */
    uint64_t argument;
    _Atomic uint32_t each; /* an attack's number: each worker starts it by itself. 0: none does */
    /* Written by the attacker. */
    _Atomic uint32_t begun; /* the attack's number */
    _Atomic uint32_t over;  /* 1: the attack has ended by itself */
    _Atomic uint64_t calls; /* number of attempts */
    _Atomic uint64_t done;  /* number of those that were no error */
    _Atomic uint32_t error; /* errno of the last error; 0: none */
    uint64_t result[4];     /* defined by each attack */
};

#endif
