/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher stand-in. It runs the unmodified bao-virtio-dm and serves its 0xA6 or 0xA7 ioctls
 * by seccomp user notification, as Bao's kernel driver would, including the driver's faults. The
 * calling process then plays the frontend VMs.
 *
 * It imitates each generation of the driver (common/bao_abi.h):
 *
 *                          A                 B              C               D
 *   a device comes by      DM_GET_INFO: 1    the same: 0    its own node    CREATE_DM
 *   an unknown id          EINVAL            ENOENT         has no node     EINVAL (inferred)
 *   a known one again      another file      another file   another file    EEXIST (inferred)
 *   ATTACH and a signal    EFAULT            EFAULT         EFAULT          restarted, or EINTR
 *   a second attacher      corrupts a list   EFAULT*        EFAULT*         EAGAIN*
 *   the last close         frees it in use   nothing        nothing         destroys it
 *   mmap                   unchecked         offset 0, at most the window (D: inferred)
 *
 *   * There one attacher waits for the other; the stand-in has room for one.
 *
 * More about D: requests to a destroyed device are completed with 0. Each 64th ATTACH ends with
 * EAGAIN, as if another thread had taken the request. De-assigning an ioeventfd is assumed to
 * assign it again, as in the others (this was not read in the source). The limit of 1024 waiting
 * requests can't be reached here. CREATE_DM with another window or interrupt than the device has is
 * a protocol error.
 *
 * Thread-safe from standin_start on: the stand-in's own threads serve notifications, and any thread
 * may play a vCPU. Needs root and Linux 5.19 or newer. Signal STANDIN_SIGNAL is reserved for it.
 *
 * Where it differs from the real driver:
 * - A signal ends ATTACH with EFAULT up to 1 ms late (10 ms when it has waited for more than
 *   100 ms): the stand-in has to look for it. A signal that comes in the microseconds before
 *   the stand-in has seen the ATTACH gives EINTR, or a silent restart, instead.
 * - An ATTACH or COMPLETE less than 10 ms after its thread's last one on the same fd number is
 *   assumed to be on the same file.
 * - mmap beyond the window's end (A) succeeds, but an access there gives SIGBUS, and not foreign
 *   memory.
 * - The window can be pinned, even for O_DIRECT; a real window can't.
 * - An action that would crash or corrupt the kernel is counted and named instead:
 *   standin_protocol_error.
 * - The eventfds are held as files, not as kernel objects, so an irqfd outlives its process.
 * - COMPLETE with op ASK is refused (EPERM) and counted as a protocol error.
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
    bool present;        /* the device tree has this id */
    uint64_t shmem_addr; /* guest-physical base of the window */
    uint64_t shmem_size; /* bytes */
    int window; /* the memfd that plays the window, copied; 0 or -1: a new one is made. Several
                   devices may have the same one, but not with C */
    unsigned int refused_irqfds; /* the first this many calls of IRQFD fail with ENOMEM */
};

enum standin_abi { STANDIN_DEFAULT, STANDIN_A, STANDIN_B, STANDIN_C, STANDIN_D };

/* The generation that STANDIN_DEFAULT stands for: the letter in the environment variable BVDM_ABI,
 * or A. */
enum standin_abi standin_default_abi(void);

/* The driver's node in this generation; of C, where each device has a node, that of device 0. */
const char *standin_node(enum standin_abi abi);

#define STANDIN_IRQ 52u /* the backend's interrupt of device 0; the others have the next ones */

/* The device model starts with this fd, on the driver's node, which it must not keep. */
#define STANDIN_LEFT_OPEN_FD 190

struct standin_options {
    enum standin_abi abi;
    const char *other_node; /* a node that exists as well; NULL: none */
    bool no_driver;         /* no driver serves the node: all ioctls end with ENOTTY */
    struct standin_device devices[STANDIN_DEVICES_MAX]; /* index: dispatcher id */
    const char *const *argv;            /* the device model and its arguments, NULL-terminated */
    int stdin_fd, stdout_fd, stderr_fd; /* -1: inherited */
};

/* Environment variable: the device model shares /run/bao-virtio-dm with other programs of this
 * machine. */
#define STANDIN_SEVERAL "BVDM_SEVERAL"

struct standin;

/*
 * Start the device model under the stand-in. If the node BAO_DISPATCHER_NODE is missing, makes it
 * for the device model, in a mount namespace of its own. The device model inherits only the three
 * fds, and is killed if the calling thread dies. Returns 0, or -errno with a line on stderr.
 */
int standin_start(const struct standin_options *options, struct standin **ret);

/* The process that was started (the keeper). */
pid_t standin_pid(const struct standin *standin);

/*
 * The index-th process below the keeper, in order of pid, whose program's file name starts with
 * `program` ("bao-virtio-worker"). A process that opens or connects for the broker is not counted,
 * though it runs the broker's program. Returns a pid, or -ESRCH.
 */
pid_t standin_find_process(const struct standin *standin, const char *program, unsigned int index);

/* The process that was started, and those below it, at most `max`. Returns their number. */
unsigned int standin_processes(const struct standin *standin, pid_t *ret, unsigned int max);

/* The window of a device, mapped; NULL if there is no such id. */
void *standin_window(struct standin *standin, unsigned int id);
int standin_window_fd(struct standin *standin, unsigned int id);

/*
 * A register access by a vCPU of the frontend. Returns when the device model has completed it. An
 * access within the range of a registered ioeventfd never reaches the device model: a write that
 * matches signals the eventfd, any other write is lost, and a read gives 0. `value` is the whole
 * 64-bit register for a write; *ret_value is the answer of the device model, unmasked. Returns 0;
 * -ETIMEDOUT after timeout_ms (-1: none): the vCPU would hang, and the device model keeps its
 * request; -ESHUTDOWN if no process of the device model is left; -ENODEV if there is no such id.
 */
int standin_write(struct standin *standin, unsigned int id, uint64_t addr, unsigned int width,
                  uint64_t value, int timeout_ms);
int standin_read(struct standin *standin, unsigned int id, uint64_t addr, unsigned int width,
                 uint64_t *ret_value, int timeout_ms);

/*
 * The interrupt line of a device: an eventfd in this process. It is the same one that the device
 * model registered last with IRQFD (for KVM_IRQFD, or poll and read). -1 until it has registered
 * one. Owned by the stand-in.
 */
int standin_irq_fd(struct standin *standin, unsigned int id);

/*
 * Wait until the line is raised (timeout_ms -1: for ever), then take its count. Returns how often
 * it was raised since the last call, -ETIMEDOUT, or -ENOTCONN if no irqfd is registered.
 */
int standin_wait_irq(struct standin *standin, unsigned int id, int timeout_ms);

struct standin_counts {
    uint64_t attach, complete, ioeventfd_signals;
    uint64_t dm_get_info; /* devices that were asked for, by any of the calls */
    uint64_t dm_releases; /* last closes of a DM file seen; several at a time may count as one */
    uint64_t protocol_errors; /* what would have harmed the real driver: a second attacher, a
                                 COMPLETE of another device, of a wrong op, a last close ... */
};
void standin_counts(struct standin *standin, struct standin_counts *ret);

/*
 * Kill (SIGKILL) the process that makes the next COMPLETE, in the middle of that call: before the
 * hypervisor gets it, or when its vCPU has gone on.
 */
enum standin_moment { STANDIN_NO_MOMENT, STANDIN_BEFORE_COMPLETE, STANDIN_AFTER_COMPLETE };
void standin_kill_at_complete(struct standin *standin, enum standin_moment moment);

/* Make the device disappear while a process holds its file, as when the driver is unloaded. From
 * then on ATTACH and all other calls end with EPERM (D: read in the source for ATTACH only), and
 * waiting requests are completed with 0. */
void standin_destroy(struct standin *standin, unsigned int id);

/*
 * The first protocol error in words, or NULL. Each one is also printed on stderr. A last close
 * counts as a protocol error until standin_stop or standin_expect_end is called.
 */
const char *standin_protocol_error(struct standin *standin);

/* The device model is about to end, and the frontends with it: last closes are allowed from now on.
 */
void standin_expect_end(struct standin *standin);

/* Wait for the keeper's end. Returns its wait status (as of waitpid), or -ETIMEDOUT. */
int standin_wait(struct standin *standin, int timeout_ms);

/* Wait until no process of the device model is left. Returns 0 or -ETIMEDOUT. */
int standin_wait_all(struct standin *standin, int timeout_ms);

/*
 * Send SIGTERM to the keeper, wait, free everything. Returns the keeper's wait status; -ETIMEDOUT
 * if it had to be killed after 10 s; -ECHILD if it left a process behind for 2 s, which was then
 * killed.
 */
int standin_stop(struct standin *standin);

#endif
