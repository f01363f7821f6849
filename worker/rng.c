/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entropy device, VirtIO 1.2 §5.4: one queue of buffers. The kernel fills them with random bytes
 * directly in guest memory.
 *
 * The rate limit needs no clock. The bytes of a slot are given out as the driver asks for them.
 * Then nothing is given until a slot's time has passed in waits that no event cut short. So the
 * limit holds whatever a driver does, and a driver that keeps kicking only makes itself wait.
 *
 * System calls: getrandom (flags GRND_NONBLOCK).
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/turn.h"

/* A turn ends after this many requests or bytes, so that a register access never waits for long. A
 * single request gets at most REQUEST_BYTES, since it may be 4 GiB long; §5.4.6.1 requires only one
 * byte. */
#define TURN_REQUESTS 256u
#define TURN_BYTES 0x40000u
#define REQUEST_BYTES 0x10000u

#define SLOTS_A_SECOND 10u

static struct {
    uint64_t slot_bytes;  /* 0: no limit */
    unsigned int slot_ms; /* also how long to wait when the kernel has no entropy yet */
    uint64_t left;        /* bytes of this slot */
    bool active;          /* `chain` is taken, and not filled yet */
    struct chain chain;   /* the request that is being served */
} rng;

static int rng_init(struct device *dev, const struct message_start *start)
{
    uint64_t rate = start->of_kind.rng.rate_limit;
    memset(&rng, 0, sizeof(rng));
    if (rate > UINT32_MAX)
        return -EINVAL;
    rng.slot_ms = 1000 / SLOTS_A_SECOND;
    if (rate > 0) {
        rng.slot_bytes = rate >= SLOTS_A_SECOND ? rate / SLOTS_A_SECOND : 1;
        rng.slot_ms = (unsigned int)((rng.slot_bytes * 1000 + rate - 1) / rate); /* rounded up */
        rng.left = rng.slot_bytes;
    }
    dev->user_queues = 1u << 0;
    return 0;
}

/* Is there anything to give? If not, rng_pause_over continues. */
static bool may_give(struct device *dev)
{
    if (dev->pause_ms == 0 && rng.slot_bytes > 0 && rng.left == 0)
        dev->pause_ms = rng.slot_ms;
    return dev->pause_ms == 0;
}

/* The C library's getrandom is not used: newer libraries map memory of their own for it. */
static ssize_t kernel_random(void *to, size_t length)
{
    return syscall(SYS_getrandom, to, length, GRND_NONBLOCK);
}

/* §5.4.6.1: the device may give less than the driver asks for, so one call is enough. */
static void give(struct turn *turn)
{
    struct device *dev = turn->dev;
    struct cursor buffer = chain_writable(&rng.chain);
    if (rng.slot_bytes > 0)
        cursor_cut(&buffer, (size_t)rng.left);
    const struct iovec piece = cursor_next(&buffer, REQUEST_BYTES);
    ssize_t given = kernel_random(piece.iov_base, piece.iov_len);
    if (given <= 0) {
        if (given == 0 || errno != EINTR)
            dev->pause_ms = rng.slot_ms; /* a machine may have no entropy early after boot */
        return;
    }
    if (rng.slot_bytes > 0)
        rng.left -= (uint64_t)given;
    virtqueue_push(turn->vq, rng.chain.ref, (uint32_t)given);
    rng.active = false;
    turn->bytes += (uint32_t)given;
    device_count(&dev->state->counters.requests, 1);
    device_count(&dev->state->counters.bytes_in, (uint64_t)given);
}

static enum serve serve(struct turn *turn)
{
    if (!may_give(turn->dev))
        return SERVE_WAIT_BACKEND; /* the end of the pause looks at the ring */
    if (!rng.active) {
        /* §5.4.6.1: at least one byte is to be given. */
        enum serve r = turn_take(turn, &rng.chain, 0, 1);
        if (r != SERVE_DONE)
            return r;
        rng.active = true;
    }
    give(turn);
    return SERVE_DONE;
}

static enum serve rng_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    static const struct turn_rules rules = {.steps = TURN_REQUESTS, .bytes = TURN_BYTES};
    return turn_run(dev, queue, &rules, serve, ret_fault);
}

static void rng_pause_over(struct device *dev)
{
    rng.left = rng.slot_bytes;
    dev->work |= 1u << 0;
}

/* The pause goes on: a reset must not be a way round the limit. */
static void rng_stop(struct device *dev)
{
    (void)dev;
    rng.active = false;
}

static void rng_queue_stop(struct device *dev, unsigned int queue)
{
    (void)queue;
    rng_stop(dev);
}

const struct device_ops rng_ops = {
    .init = rng_init,
    .stop = rng_stop,
    .queue_stop = rng_queue_stop,
    .turn = rng_turn,
    .pause_over = rng_pause_over,
};
