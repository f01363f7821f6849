/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interrupt gate: a device has at most one interrupt outstanding.
 *
 * Each signal of an irqfd is a hypercall, and all VMs share the hypervisor's queues. A process that
 * may signal an irqfd without end can stop the machine. So the irqfd stays in the broker. Workers,
 * kernel vhost and daemons signal another eventfd, the call, and one thread of the broker waits for
 * the calls of all devices. It raises a device's interrupt only if the driver has acknowledged the
 * previous one (InterruptACK, VirtIO 1.2 §4.2.2). Until then the interrupt that is asked for stays
 * pending. The relay sees the acknowledgement, and raises the pending interrupt right after it.
 *
 * A device's interrupt is in one of these states (journal.h keeps it for a successor):
 *
 *     IDLE ----bits are pending----> RAISING ----the irqfd is signalled----> RAISED
 *      ^                                |                                      |
 *      +---------------- InterruptACK, or a write to Status -------------------+
 *
 * Two threads may want to leave IDLE, the gate's and the device's relay; a compare-and-swap decides
 * which one does. In whatever order a driver looks and acknowledges, no interrupt is lost. Two
 * rules about the words that both sides share ensure this (common/state.h, struct state_interrupt):
 * - The worker sets bits in `pending`, then looks at `raised`. It signals the call unless `raised`
 *   says that an interrupt is outstanding. The relay clears `raised` and then looks at `pending`.
 *   All four steps are sequentially consistent, so one side sees what the other has done.
 * - Only the broker writes InterruptStatus, and it sets a bit there before it raises the interrupt
 *   for it. So an acknowledgement never clears a bit that its driver could not have seen.
 *
 * A flood of calls costs nothing: after GATE_UNHEARD_MAX calls that raise nothing, the call is not
 * watched any more until the next acknowledgement.
 */
#ifndef BROKER_GATE_H
#define BROKER_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/journal.h"
#include "common/state.h"

#define GATE_UNHEARD_MAX 8u

/* The interrupt of one device. */
struct gate_line {
    /* Set before gate_start and constant from then on. The fds are borrowed. */
    int call;          /* eventfd: signalled by a process that wants the driver's attention */
    int irq;           /* eventfd: registered with the dispatcher */
    bool sets_no_bits; /* a kernel or daemon signals the call as well; it means a used buffer */
    struct state_page *state;
    struct journal *journal;

    /* Used only by the gate. */
    int epoll;
    uint32_t number;          /* the data of its epoll entry */
    _Atomic bool open;        /* set by gate_open */
    _Atomic uint32_t muted;   /* not watched; a whole word: riscv64 can't exchange bytes */
    _Atomic uint32_t unheard; /* calls that raised nothing since the last acknowledgement */
};

struct gate {
    int epoll;
    int report; /* eventfd, borrowed: signalled once, when the thread runs */
    pthread_t thread;
    struct gate_line *const *lines; /* borrowed */
    size_t line_count;
};

/*
 * Start the thread. Needs all signals blocked in the calling thread. No line is open yet. *gate and
 * the lines must not move. Returns 0 or -errno.
 */
int gate_start(struct gate *gate);

/*
 * From now on the line's calls are heard, and what is pending is raised. The device's relay calls
 * this once, when it has carried out the requests that its predecessor had taken. If an
 * acknowledgement is among them, it must come first.
 */
void gate_open(struct gate_line *line);

/*
 * InterruptStatus, as the driver reads it. While an interrupt is outstanding, the bits that have
 * become pending since then are added to it. The driver looks at its rings after this read, so it
 * needs no other interrupt for them.
 */
uint32_t gate_interrupt_status(struct gate_line *line);

/*
 * The driver has written `bits` to InterruptACK. Or it has written to Status, and the write has
 * been carried out: then the driver can't be waiting for an earlier interrupt any more; `bits` are
 * all bits after a reset, and no bits otherwise. `acknowledges` is the journal's field, in the slot
 * that holds the write.
 *
 * These are two steps of the device's relay: the first one before the access is completed, the
 * second one after it, so that the vCPU does not wait while the next interrupt is raised. A kill
 * between them loses nothing: gate_open raises what is pending.
 */
void gate_acknowledge(struct gate_line *line, uint64_t *acknowledges, uint32_t bits);
void gate_raise_pending(struct gate_line *line);

/*
 * The main thread calls this between two workers. It undoes what the last worker may have done to
 * the words that it shares with the gate, and to the counter of the call. With `bits`
 * (VIRTIO_MMIO_INT_*), the driver has to be told. A vhost or daemon that signals the call must be
 * gone.
 */
void gate_renew(struct gate_line *line, uint32_t bits);

#endif
