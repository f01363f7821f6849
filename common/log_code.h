/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a confined worker. It sends a number and up to four unsigned integers. The broker
 * prints the words, with the device's name before them. So the worker formats nothing, and a worker
 * that was taken over can't write a line of its own.
 */
#ifndef COMMON_LOG_CODE_H
#define COMMON_LOG_CODE_H

/*
 * X(code, level, format). The level is one of common/log_level.h; an error of a guest is a WARNING,
 * since only its own device suffers. The format has up to four uint64_t, each written as {d}
 * (decimal) or {x} (hexadecimal). Add new codes at the end.
 */
#define LOG_CODES(X)                                                                               \
    X(DRIVER_OK, INFO, "driver ready, features {x}")                                               \
    X(RESET, INFO, "reset by the driver")                                                          \
    X(RESUMED, INFO, "resumed with status {x} after a restart")                                    \
    X(STATE_INVALID, ERROR, "state page of the predecessor not usable (check {d}): needs reset")   \
    X(FEATURES_REFUSED, WARNING,                                                                   \
      "driver features {x} refused: not offered, or no VIRTIO_F_VERSION_1")                        \
    X(QUEUE_INVALID, WARNING,                                                                      \
      "queue {d}: ring of size {d} not usable: addresses must lie in the window")                  \
    X(AVAIL_INVALID, WARNING, "queue {d}: available index {d} is too far ahead of {d}")            \
    X(DESC_INVALID, WARNING, "queue {d}: descriptor {d} not usable (check {d})")                   \
    X(CHAIN_INVALID, WARNING, "queue {d}: descriptor chain at {d} not usable (check {d})")         \
    X(VHOST_FAILED, ERROR, "vhost call {x} failed with error {d}: needs reset")                    \
    X(VHOST_RING, WARNING, "the kernel found a malformed ring: needs reset")                       \
    X(IO_ERROR, ERROR, "request of type {d} at sector {d} failed with error {d}")                  \
    X(USED_INVALID, WARNING,                                                                       \
      "queue {d}: used index {d} fits neither end of a batch from {d}: needs reset")               \
    X(FRAME_DROPPED, WARNING, "queue {d}: frame of {d} bytes dropped (check {d})")                 \
    X(POISONED, ERROR,                                                                             \
      "queue {d}: {d} chains served, then {d} workers died on the next: needs reset")              \
    X(OUTPUT_LOST, WARNING, "output of port {d} lost: error {d}")                                  \
    X(VSOCK_BROKEN, WARNING,                                                                       \
      "port {d} to the host's {d}: operation {d} breaks the protocol: reset")                      \
    X(VSOCK_GREETING, WARNING, "a client of the socket did not say CONNECT and a port: closed")    \
    X(VSOCK_MESSAGE, WARNING,                                                                      \
      "port {d} with the host's {d}: a message of more than {d} bytes: reset")                     \
    X(DAEMON_LOST, WARNING, "the daemon is gone, or did not answer as it must: reconnecting")      \
    X(DAEMON_RING, WARNING, "the daemon found a malformed ring: needs reset")                      \
    X(POSITION_INVALID, ERROR,                                                                     \
      "queue {d}: positions {d} and {d} do not fit its ring: needs reset")                         \
    X(RESIZED, INFO, "the image has {d} sectors now, not {d}: starting anew")

enum log_code {
#define X(code, level, format) LOG_##code,
    LOG_CODES(X)
#undef X
        LOG_CODE_COUNT,
};

#endif
