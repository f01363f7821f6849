/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher stand-in: runs the unmodified bao-virtio-dm and serves its 0xA6 ioctls by
 * seccomp user notification, as Bao's kernel driver would, quirks included. The calling
 * process then plays the frontend VMs.
 *
 * Thread-safe from standin_start on: one thread of the stand-in's serves notifications, any
 * thread plays a vCPU. Needs root.
 */
#ifndef TESTS_STANDIN_STANDIN_H
#define TESTS_STANDIN_STANDIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STANDIN_DEVICES_MAX 16

struct standin_device {
    bool present;        /* an id of the device tree */
    uint64_t shmem_addr; /* guest-physical base of the window */
    uint64_t shmem_size; /* bytes */
    int window;          /* the memfd that plays the window; owned by the caller, -1: made for it */
};

struct standin_options {
    struct standin_device devices[STANDIN_DEVICES_MAX]; /* index: dispatcher id */
    const char *const *argv; /* the device model and its arguments, NULL-terminated */
    int stdin_fd, stdout_fd, stderr_fd; /* -1: inherited */
};

struct standin;

/* Start the device model under the stand-in. Returns 0 or -errno. Makes the node
 * BAO_DISPATCHER_NODE for the child, in a mount namespace of its own, where it is missing. */
int standin_start(const struct standin_options *options, struct standin **ret);

/* The process that was started (the keeper). */
pid_t standin_pid(const struct standin *standin);

/* The window of a device, mapped; NULL if there is no such id. */
void *standin_window(struct standin *standin, unsigned int id);
int standin_window_fd(struct standin *standin, unsigned int id);

/*
 * A register access by a vCPU of the frontend: returns when the device model completed it.
 * A write that a registered ioeventfd matches signals that and returns at once. `value` is the
 * whole 64-bit register for a write; *ret_value what the device model answered, unmasked.
 * Returns 0; -ETIMEDOUT after timeout_ms (-1: none): the vCPU would hang; -ESHUTDOWN if the
 * device model is gone.
 */
int standin_write(struct standin *standin, unsigned int id, uint64_t addr, unsigned int width,
                  uint64_t value, int timeout_ms);
int standin_read(struct standin *standin, unsigned int id, uint64_t addr, unsigned int width,
                 uint64_t *ret_value, int timeout_ms);

/*
 * The interrupt line of a device: an eventfd in this process that is the one which the device
 * model registered by IRQFD (for KVM_IRQFD, or poll and read). -1 until it has registered one.
 * Owned by the stand-in.
 */
int standin_irq_fd(struct standin *standin, unsigned int id);

/* How often the line was raised is in the eventfd's counter: poll, then read it. */
int standin_wait_irq(struct standin *standin, unsigned int id, int timeout_ms);

struct standin_counts {
    uint64_t attach, complete, ioeventfd_signals, dm_get_info;
    uint64_t protocol_errors; /* what the real driver would have punished: a second attacher, a
                                 COMPLETE of another device, of a wrong op, last close ... */
};
void standin_counts(struct standin *standin, struct standin_counts *ret);

/* The first protocol error in words, or NULL. */
const char *standin_protocol_error(struct standin *standin);

/* SIGTERM to the device model, wait (bounded), free everything. Returns its wait status, or
 * -errno. */
int standin_stop(struct standin *standin);

#endif
