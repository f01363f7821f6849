/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interrupt gate: one interrupt of a device at a time.
 *
 * Each signal of an irqfd is a hypercall, and the hypervisor's queues are shared by all. Whoever
 * may signal one without end can stop the machine. So the irqfd stays in the broker. Workers,
 * kernel vhost and daemons signal another eventfd, the call, and one thread of the broker waits
 * for the calls of all devices. It raises a device's interrupt only if the driver has
 * acknowledged the one before (InterruptACK, VirtIO 1.2 §4.2.2). Until then what is called for
 * stays pending, and the relay, which sees the acknowledgement, raises it right after.
 *
 * A device's interrupt is in one of these states (journal.h keeps it, for a successor):
 *
 *     IDLE ----bits are pending----> RAISING ----the irqfd is signalled----> RAISED
 *      ^                                |                                      |
 *      +---------------- InterruptACK, or a write to Status -------------------+
 *
 * Two threads may want to leave IDLE, the gate's and the device's relay; a compare-and-swap
 * decides. Nothing is lost, whichever order a driver looks and acknowledges in, because of two
 * rules about what both sides share (common/state.h, struct state_interrupt):
 * - The worker sets bits in `pending`, then looks at `raised`, and signals the call unless that
 *   says that an interrupt is outstanding. The relay clears `raised` and then looks at `pending`.
 *   All four are sequentially consistent: one of the two sees the other.
 * - Only the broker writes InterruptStatus, and sets a bit there before it raises the interrupt
 *   for it. So an acknowledgement never clears a bit that its driver could not have seen.
 *
 * A flood costs nothing: a call that raises nothing is heard GATE_UNHEARD_MAX times, then it is
 * not watched any more until the next acknowledgement.
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
    int call;          /* eventfd: signalled by whoever wants the driver's attention */
    int irq;           /* eventfd: registered with the dispatcher */
    bool sets_no_bits; /* a kernel or daemon calls as well, and that means a used buffer */
    struct state_page *state;
    struct journal *journal;

    /* The gate's own. */
    int epoll;
    uint32_t number;          /* data of the epoll entry */
    _Atomic bool open;        /* by gate_open */
    _Atomic uint32_t muted;   /* the call is not watched; a word: riscv64 exchanges no bytes */
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
 * Start the thread; needs all signals blocked in the calling thread. No line is open yet. *gate and
 * the lines must not move. Returns 0 or -errno.
 */
int gate_start(struct gate *gate);

/*
 * From here on the line's calls are heard, and what is pending is raised. Called once, by the
 * device's relay, when it has carried out what its predecessor had in hand: an acknowledgement
 * among that comes first.
 */
void gate_open(struct gate_line *line);

/*
 * InterruptStatus, as the driver reads it. While an interrupt is outstanding, what has become
 * pending since joins it: the driver looks at its rings after it has read this, so it needs no
 * other interrupt for that.
 */
uint32_t gate_interrupt_status(struct gate_line *line);

/*
 * The driver has written `bits` to InterruptACK. Or it has written to Status, and that is carried
 * out: no interrupt of before can be waited for then; `bits` are all after a reset, and none else.
 * `acknowledges` is the journal's, of the slot that holds the write.
 *
 * Two steps of the device's relay: the first before the access is completed, the second after, so
 * that the vCPU does not wait for the next interrupt to be raised. A kill between them loses
 * nothing: gate_open raises what is pending.
 */
void gate_acknowledge(struct gate_line *line, uint64_t *acknowledges, uint32_t bits);
void gate_raise_pending(struct gate_line *line);

/*
 * Between two workers, by the main thread: undo what the last one may have done to the words that
 * it shares with the gate, and to the counter of the call. With `bits` (VIRTIO_MMIO_INT_*), the
 * driver is to be told. A vhost or daemon that calls must be gone.
 */
void gate_renew(struct gate_line *line, uint32_t bits);

#endif
