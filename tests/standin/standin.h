/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher stand-in: runs the unmodified bao-virtio-dm and serves its 0xA6 ioctls by
 * seccomp user notification, as Bao's kernel driver would, quirks included. The calling
 * process then plays the frontend VMs.
 *
 * Thread-safe from standin_start on: threads of the stand-in's own serve notifications, any
 * thread plays a vCPU. Needs root. Linux 5.19 or newer. Signal STANDIN_SIGNAL is its own.
 *
 * Where it differs from the real driver:
 *  - A signal ends ATTACH with EFAULT up to 1 ms late (10 ms when it has waited for more than
 *    100 ms): the stand-in has to look for it. One that comes within the microseconds before
 *    the stand-in has seen an ATTACH at all gives EINTR, or a silent restart, instead.
 *  - An ATTACH or COMPLETE less than 10 ms after its thread's last one on the same fd number is
 *    taken to be on the same file.
 *  - mmap beyond the window's end succeeds, but touching it is SIGBUS and not foreign memory.
 *  - What would crash or corrupt the kernel is counted and named instead: standin_protocol_error.
 *  - The eventfds are held as files, not as kernel objects, so an irqfd outlives its process.
 *  - COMPLETE with op ASK is refused (EPERM) and counted as a protocol error.
 */
#ifndef TESTS_STANDIN_STANDIN_H
#define TESTS_STANDIN_STANDIN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STANDIN_DEVICES_MAX 16
#define STANDIN_VCPUS_MAX 32 /* register accesses under way at once */
#define STANDIN_SIGNAL (SIGRTMAX - 1)

struct standin_device {
    bool present;        /* an id of the device tree */
    uint64_t shmem_addr; /* guest-physical base of the window */
    uint64_t shmem_size; /* bytes */
    int window;          /* the memfd that plays the window, copied; 0 or -1: one is made. Several
                            devices may have the same */
    unsigned int refused_irqfds; /* so many calls of IRQFD fail with ENOMEM, the first */
};

struct standin_options {
    struct standin_device devices[STANDIN_DEVICES_MAX]; /* index: dispatcher id */
    const char *const *argv;            /* the device model and its arguments, NULL-terminated */
    int stdin_fd, stdout_fd, stderr_fd; /* -1: inherited */
};

struct standin;

/*
 * Start the device model under the stand-in. Makes the node BAO_DISPATCHER_NODE for it, in a
 * mount namespace of its own, where it is missing; no other fd than the three is inherited, and
 * it is killed if the calling thread dies. Returns 0, or -errno with a line on stderr.
 */
int standin_start(const struct standin_options *options, struct standin **ret);

/* The process that was started (the keeper). */
pid_t standin_pid(const struct standin *standin);

/*
 * The index-th process below the keeper, in order of pid, whose program's file name starts with
 * `program` ("bao-virtio-worker"). Not who opens or connects for the broker, though that runs its
 * program, too. Returns a pid, or -ESRCH.
 */
pid_t standin_find_process(const struct standin *standin, const char *program, unsigned int index);

/* The window of a device, mapped; NULL if there is no such id. */
void *standin_window(struct standin *standin, unsigned int id);
int standin_window_fd(struct standin *standin, unsigned int id);

/*
 * A register access by a vCPU of the frontend: returns when the device model completed it.
 * An access within a registered ioeventfd's range never reaches the device model: a write that
 * matches signals it, any other is lost, and a read gives 0. `value` is the whole 64-bit register
 * for a write; *ret_value what the device model answered, unmasked.
 * Returns 0; -ETIMEDOUT after timeout_ms (-1: none): the vCPU would hang, and its request stays
 * with the device model; -ESHUTDOWN if no process of the device model is left; -ENODEV if there
 * is no such id.
 */
int standin_write(struct standin *standin, unsigned int id, uint64_t addr, unsigned int width,
                  uint64_t value, int timeout_ms);
int standin_read(struct standin *standin, unsigned int id, uint64_t addr, unsigned int width,
                 uint64_t *ret_value, int timeout_ms);

/*
 * The interrupt line of a device: an eventfd in this process that is the one which the device
 * model registered last by IRQFD (for KVM_IRQFD, or poll and read). -1 until it has registered
 * one. Owned by the stand-in.
 */
int standin_irq_fd(struct standin *standin, unsigned int id);

/*
 * Wait until the line is raised (timeout_ms -1: for ever), then take what is counted. Returns how
 * often it was raised since the last call, -ETIMEDOUT, or -ENOTCONN if no irqfd is registered.
 */
int standin_wait_irq(struct standin *standin, unsigned int id, int timeout_ms);

struct standin_counts {
    uint64_t attach, complete, ioeventfd_signals, dm_get_info;
    uint64_t dm_releases; /* last closes of a DM file seen; several at a time may count as one */
    uint64_t protocol_errors; /* what the real driver would have punished: a second attacher, a
                                 COMPLETE of another device, of a wrong op, last close ... */
};
void standin_counts(struct standin *standin, struct standin_counts *ret);

/*
 * Kill (SIGKILL) the process that makes the next COMPLETE, in the midst of that call: before the
 * hypervisor has heard of it, or when its vCPU has gone on.
 */
enum standin_moment { STANDIN_NO_MOMENT, STANDIN_BEFORE_COMPLETE, STANDIN_AFTER_COMPLETE };
void standin_kill_at_complete(struct standin *standin, enum standin_moment moment);

/*
 * The first protocol error in words, or NULL. Each is printed on stderr, too. A last close
 * counts as one until standin_stop or standin_expect_end is called.
 */
const char *standin_protocol_error(struct standin *standin);

/* The device model is about to end, and the frontends with it: last closes are in order now. */
void standin_expect_end(struct standin *standin);

/* Wait for the keeper's end. Returns its wait status (as of waitpid), or -ETIMEDOUT. */
int standin_wait(struct standin *standin, int timeout_ms);

/* Wait until no process of the device model is left. Returns 0 or -ETIMEDOUT. */
int standin_wait_all(struct standin *standin, int timeout_ms);

/*
 * SIGTERM to the keeper, wait, free everything. Returns its wait status; -ETIMEDOUT if it had to
 * be killed after 10 s; -ECHILD if it left a process behind for 2 s, which was then killed.
 */
int standin_stop(struct standin *standin);

#endif
