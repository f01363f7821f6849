/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tap to the driver, VirtIO 1.2 §5.1.6.3 and §5.1.6.4.
 *
 * Chains are taken from the ring before a frame is read, and the kernel copies straight into their
 * buffers: into several chains together with VIRTIO_NET_F_MRG_RXBUF, else into one. The length of a
 * frame is known only when it has been read. So a buffer of our own lies behind the driver's. A
 * frame that reaches into it is held until the driver has made more room, or dropped if the driver
 * cannot. The first bytes, header and addresses, are also read into memory of our own and checked
 * there. If a frame does not pass, its chains are free for the next one.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "worker/net/filter.h"
#include "worker/net/net.h"

#define CHAINS_MAX 128u   /* taken in advance: enough for 64 KiB in buffers of 1500 bytes each */
#define SEGMENTS_MAX 512u /* segments of all these chains */
_Static_assert(CHAINS_MAX <= VIRTQUEUE_BATCH_MAX, "a frame reaches the driver as a whole");
_Static_assert((CHAINS_MAX & (CHAINS_MAX - 1)) == 0,
               "first_chain only ever grows, and wraps round");
#define PREFIX_SIZE (NET_HEADER_SIZE + NET_ADDRESS_PART)
#define DRAIN_FRAMES 2048u /* from one queue of the tap, which has room for 1000 by default */

/* A driver that sleeps is woken after this many frames, while this side works on the others. */
#define SIGNAL_FRAMES 16u

/* After a frame that only segmentation offload makes so long, so many frames are read as if they
 * were of that kind. */
#define LARGE_FRAMES 64u

struct rx_chain {
    struct chain_ref ref;
    uint32_t length; /* bytes */
    uint32_t segments;
};

static struct net_rx {
    /* The chains in hand begin with `first_chain`, and go on at the front behind the last place. */
    struct rx_chain chains[CHAINS_MAX];
    /* Their segments lie together, as readv needs them, from `first_segment` on. */
    struct iovec segments[SEGMENTS_MAX];
    unsigned int first_chain, chain_count, first_segment, segment_count;
    uint64_t room;      /* bytes of all chains: a guest can describe 4 GiB in each */
    unsigned int large; /* so many more frames are read as if they were large */
    unsigned int last;  /* the queue of the tap that was read last */

    /* Bytes of the frame that was read and is held, with its header; 0: there is none. */
    uint32_t held;
    uint32_t in_place; /* bytes of it that lie in the chains, the prefix included */
    union {
        uint8_t prefix[PREFIX_SIZE];
        struct virtio_net_hdr_v1 header;
    };
    uint8_t overflow[NET_HEADER_SIZE + NET_FRAME_MAX + 1];
} rx[NET_PAIRS_MAX];

/* ---- Chains in hand ---- */

static bool merges(void)
{
    return net_has(VIRTIO_NET_F_MRG_RXBUF);
}

static bool full(const struct net_rx *queue)
{
    return queue->chain_count == (merges() ? CHAINS_MAX : 1) ||
           queue->segment_count > SEGMENTS_MAX - CHAIN_SEGMENTS_MAX;
}

/* The number-th of the chains in hand, or the place for one more. */
static struct rx_chain *chain_at(struct net_rx *queue, unsigned int number)
{
    return &queue->chains[(queue->first_chain + number) % CHAINS_MAX];
}

/* The places behind the segments in hand are used up. Those before them become free again. */
static void move_to_front(struct net_rx *queue)
{
    memmove(queue->segments, queue->segments + queue->first_segment,
            queue->segment_count * sizeof(queue->segments[0]));
    queue->first_segment = 0;
}

static void keep_chain(struct net_rx *queue, const struct chain *chain)
{
    const struct cursor buffers = chain_writable(chain);
    unsigned int end = queue->first_segment + queue->segment_count;
    if (end > SEGMENTS_MAX - CHAIN_SEGMENTS_MAX) {
        move_to_front(queue);
        end = queue->segment_count;
    }
    unsigned int segments = cursor_segments(&buffers, queue->segments + end, SEGMENTS_MAX - end);
    *chain_at(queue, queue->chain_count++) =
        (struct rx_chain){chain->ref, chain->writable_length, segments};
    queue->segment_count += segments;
    queue->room += chain->writable_length;
}

/* Take one more chain. Returns as turn_take; SERVE_WAIT_ROOM also if there is no place for it. */
static enum serve take_chain(struct turn *turn, struct net_rx *queue)
{
    static struct chain chain;
    if (full(queue))
        return SERVE_WAIT_ROOM;
    enum serve r = turn_take(turn, &chain, 0, NET_HEADER_SIZE);
    if (r == SERVE_DONE)
        keep_chain(queue, &chain);
    return r;
}

/* Take chains until there is room for `length` bytes. Returns as take_chain. */
static enum serve make_room(struct turn *turn, struct net_rx *queue, uint32_t length)
{
    enum serve r = SERVE_DONE;
    while (r == SERVE_DONE && queue->room < length)
        r = take_chain(turn, queue);
    return r;
}

/* The buffers of all chains one after the other, without the first `skip` bytes. */
static struct cursor after(const struct net_rx *queue, uint32_t skip)
{
    struct cursor room =
        cursor_over(queue->segments + queue->first_segment, queue->segment_count, queue->room);
    cursor_skip(&room, skip);
    return room;
}

/* Copy to the chains from byte `offset` on; they have room for it. */
static void put(const struct net_rx *queue, uint32_t offset, const uint8_t *from, uint32_t length)
{
    struct cursor room = after(queue, offset);
    cursor_write(&room, from, length);
}

/* ---- Frames ---- */

/* Give the driver the chains that the frame in hand fills, all at once. */
static void complete(struct turn *turn, struct net_rx *queue)
{
    uint32_t length = queue->held, left = length;
    unsigned int chains = 0, segments = 0;
    uint64_t room = 0;
    while (left > 0) {
        const struct rx_chain *chain = chain_at(queue, chains++);
        uint32_t part = chain->length < left ? chain->length : left;
        virtqueue_push(turn->vq, chain->ref, part);
        room += chain->length;
        segments += chain->segments;
        left -= part;
    }
    queue->header.num_buffers = (uint16_t)chains;
    put(queue, 0, queue->prefix, length < PREFIX_SIZE ? length : PREFIX_SIZE);

    queue->room -= room;
    queue->first_chain += chains;
    queue->chain_count -= chains;
    queue->first_segment += segments;
    queue->segment_count -= segments;
    queue->held = 0;
    device_count(&turn->dev->state->counters.requests, 1);
    device_count(&turn->dev->state->counters.bytes_in, length);
}

/* The frame in hand goes to the driver, or waits for it to make more room. */
static enum serve deliver(struct turn *turn, struct net_rx *queue)
{
    enum serve r = make_room(turn, queue, queue->held);
    if (r == SERVE_FAULT)
        return r;
    if (r == SERVE_WAIT_ROOM && !full(queue) && queue->chain_count < turn->vq->size)
        return r;
    if (r == SERVE_WAIT_ROOM) {
        /* The worker has taken all the buffers that this driver can ever offer at one time. */
        net_dropped(turn->dev, turn->vq->index, queue->held - NET_HEADER_SIZE, NET_NO_ROOM);
        queue->held = 0;
        return SERVE_DONE;
    }
    put(queue, queue->in_place, queue->overflow, queue->held - queue->in_place);
    complete(turn, queue);
    return SERVE_DONE;
}

/* Does the driver get the frame that was read? It has `length` bytes with its header. */
static bool wanted(struct device *dev, struct net_rx *queue, unsigned int index, uint32_t length)
{
    enum net_check check = NET_OK;
    uint32_t frame = length < NET_HEADER_SIZE ? 0 : length - NET_HEADER_SIZE;
    if (frame < ETH_HLEN)
        check = NET_SHORT;
    else if (frame > NET_FRAME_MAX)
        check = NET_LARGE;
    else
        check = net_header_from_kernel(&queue->header, dev->state->of_kind.net.offloads);
    if (check != NET_OK) {
        net_dropped(dev, index, frame, check);
        return false;
    }
    return net_filter_passes(&dev->state->of_kind.net, queue->prefix + NET_HEADER_SIZE,
                             frame < NET_ADDRESS_PART ? frame : NET_ADDRESS_PART);
}

/* Read one frame from queue `tap`, up to `room` bytes of it to the chains, or fewer if they hold
 * fewer. Returns its length with header, or -errno. */
static ssize_t read_frame(struct net_rx *queue, unsigned int tap, uint32_t room)
{
    static struct iovec parts[SEGMENTS_MAX + 2];
    parts[0] = (struct iovec){queue->prefix, PREFIX_SIZE};
    struct cursor rest = after(queue, PREFIX_SIZE);
    cursor_cut(&rest, room - PREFIX_SIZE);
    unsigned int count = 1 + cursor_segments(&rest, parts + 1, SEGMENTS_MAX);
    parts[count++] = (struct iovec){queue->overflow, sizeof(queue->overflow)};
    ssize_t length = readv(net_tap(tap), parts, (int)count);
    return length < 0 ? -errno : length;
}

/* The next queue of the tap, after the last one read, that may hold a frame for this pair; -1:
 * none. */
static int next_tap(const struct net_rx *queue, unsigned int pair, unsigned int pairs)
{
    unsigned int tap = queue->last;
    for (unsigned int i = 0; i < net.taps; i++) {
        tap = tap + 1 < net.taps ? tap + 1 : 0;
        if (tap % pairs == pair && (net.readable & 1u << tap) != 0)
            return (int)tap;
    }
    return -1;
}

/* Bytes, with its header, of the longest frame that is not the work of segmentation offload. */
static uint32_t ordinary_room(void)
{
    return NET_HEADER_SIZE + ETH_HLEN + NET_TAGS + net.mtu;
}

/*
 * How much room there should be for the next frame, so that it need not be copied. With many small
 * buffers, room for the largest frame costs far more than a small frame does. So there is so much
 * only as long as large frames come.
 */
static uint32_t wanted_room(const struct net_rx *queue)
{
    return queue->large > 0 ? NET_HEADER_SIZE + NET_FRAME_MAX : ordinary_room();
}

/* Note that a frame of `length` bytes was read, for which there was to be `room`, and where its
 * bytes lie. */
static void hold(struct net_rx *queue, uint32_t length, uint32_t room)
{
    if (length > ordinary_room())
        queue->large = LARGE_FRAMES;
    else if (queue->large > 0)
        queue->large--;
    if (room > queue->room)
        room = (uint32_t)queue->room;
    queue->held = length;
    queue->in_place = room < length ? room : length;
    if (queue->in_place < PREFIX_SIZE)
        queue->in_place = length < PREFIX_SIZE ? length : PREFIX_SIZE;
}

/* Read one frame and deliver it, or the one in hand. */
static enum serve serve(struct turn *turn)
{
    unsigned int pair = turn->vq->index / 2;
    struct net_rx *queue = &rx[pair];
    if (queue->held > 0)
        return deliver(turn, queue);
    int tap = next_tap(queue, pair, turn->dev->state->of_kind.net.pairs);
    if (tap < 0)
        return SERVE_WAIT_BACKEND; /* and the driver need not kick when it adds buffers */
    const uint32_t room = wanted_room(queue);
    enum serve r = make_room(turn, queue, room);
    if (r == SERVE_FAULT)
        return r;
    if (queue->chain_count == 0)
        return SERVE_WAIT_ROOM;
    ssize_t length = read_frame(queue, (unsigned int)tap, room);
    if (length < 0) {
        /* EAGAIN, or the tap is gone: its next event says when to look again. */
        if (length != -EINTR)
            net.readable &= ~(1u << tap);
        return SERVE_DONE;
    }
    queue->last = (unsigned int)tap;
    turn->bytes += (uint32_t)length;
    if (!wanted(turn->dev, queue, turn->vq->index, (uint32_t)length))
        return SERVE_DONE;
    hold(queue, (uint32_t)length, room);
    return deliver(turn, queue);
}

enum serve net_rx_turn(struct device *dev, unsigned int pair, struct guest_fault *ret_fault)
{
    const unsigned int queue = 2 * pair;
    const struct turn_rules rules = net_rules(dev, queue,
                                              (struct turn_rules){
                                                  .steps = NET_TURN_FRAMES,
                                                  .bytes = NET_TURN_BYTES,
                                                  .signal_chains = SIGNAL_FRAMES,
                                              });
    return turn_run(dev, queue, &rules, serve, ret_fault);
}

void net_rx_stop(unsigned int pair)
{
    struct net_rx *queue = &rx[pair];
    queue->chain_count = 0;
    queue->segment_count = 0;
    queue->room = 0;
    queue->large = 0;
    queue->held = 0;
}

void net_rx_drain(void)
{
    /* A tap gives up a frame to whoever has room for its header. With less room it takes the frame
     * off its queue as well, but says EINVAL, as if it had none. */
    uint8_t header[NET_HEADER_SIZE];
    struct iovec part = {header, sizeof(header)};
    for (unsigned int tap = 0; tap < net.taps; tap++) {
        for (unsigned int n = 0; n < DRAIN_FRAMES && readv(net_tap(tap), &part, 1) >= 0; n++) {
        }
    }
}
