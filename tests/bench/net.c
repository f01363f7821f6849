/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device on a tap. The guest sends as Linux's driver does: the interrupt for buffers
 * that come back waits until three quarters of them are back; while it takes frames, interrupts of
 * that queue are off. It kicks once for BATCH frames, as Linux does for what its queueing
 * discipline hands over at once. The host's end is a packet socket, in the guest's thread: what it
 * has under way is bounded, so that no frame is lost, and the counts do not depend on the
 * scheduler. Bare: a loop of writev or readv of the same frames on another tap: nothing can be
 * faster.
 */
#include "tests/bench/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/standin/guest_net.h"

#define PAGE 4096u
#define PAIRS 4u
#define BUFFERS 256u /* of each queue of the guest */
#define UNDER_WAY_LARGE 16u
#define BATCH 32u
#define RX_BUFFER 1536u /* as Linux has them while frames are small */
#define REFILL 32u      /* buffers that come together to the device, as in Linux */
#define WAIT_MS 20000
#define PATH_SIZE 192

enum direction { TO_TAP, TO_GUEST, PING };

struct net_load {
    struct load load;
    enum direction direction;
    unsigned int pairs;
};

struct session {
    const struct net_load *now;
    struct guest_net net;
    /* What the guest may use for the next frame, or give to the device. */
    struct guest_net_buffer *tx[PAIRS][BUFFERS], *rx[BUFFERS];
    unsigned int tx_count[PAIRS], rx_count;
    int host, bare_host; /* packet sockets on both taps; opened for each load */
    int bare;            /* the other tap itself */
};

static struct tap_frame frame;

static bool large(const struct net_load *load)
{
    return load->load.bytes > ETH_FRAME_LEN;
}

static uint16_t type_of(const struct net_load *load)
{
    return load->direction == PING ? TAP_PING_TYPE : large(load) ? ETH_P_IP : TAP_BULK_TYPE;
}

/* ---- The bare tap ---- */

static int bare_to_tap(struct session *session, struct load_turn *turn)
{
    const struct iovec parts[] = {{&frame.header, TAP_HEADER_SIZE},
                                  {frame.bytes, session->now->load.bytes}};
    for (const uint64_t start = bench_now_ns(); turn->ns < turn->duration_ns;) {
        for (unsigned int i = 0; i < BATCH; i++, turn->count++) {
            if (writev(session->bare, parts, 2) < 0)
                return -errno;
        }
        turn->ns = bench_now_ns() - start;
    }
    return 0;
}

/* Only the time of reading counts. */
static int bare_to_guest(struct session *session, struct load_turn *turn)
{
    static struct tap_frame found;
    const struct iovec parts[] = {{&found.header, TAP_HEADER_SIZE}, {found.bytes, TAP_LARGE}};
    const unsigned int under_way = large(session->now) ? UNDER_WAY_LARGE : TAP_UNDER_WAY;
    for (const uint64_t start = bench_now_ns(); bench_now_ns() - start < turn->duration_ns;) {
        int r = tap_host_send(session->bare_host, &frame, session->now->load.bytes, under_way);
        const uint64_t before = bench_now_ns();
        unsigned int count = 0;
        while (r == 0 && count < under_way && readv(session->bare, parts, 2) > 0)
            count++;
        if (count < under_way)
            return r < 0 ? r : -EIO;
        turn->ns += bench_now_ns() - before;
        turn->count += count;
    }
    return 0;
}

static int bare_ping_once(void *context)
{
    struct session *session = context;
    static struct tap_frame found;
    const struct iovec parts[] = {{&frame.header, TAP_HEADER_SIZE},
                                  {frame.bytes, session->now->load.bytes}};
    const struct iovec back[] = {{&found.header, TAP_HEADER_SIZE}, {found.bytes, TAP_LARGE}};
    struct pollfd tap = {.fd = session->bare, .events = POLLIN};
    if (writev(session->bare, parts, 2) < 0)
        return -errno;
    do {
        if (poll(&tap, 1, WAIT_MS) <= 0 || readv(session->bare, back, 2) < 0)
            return -EIO;
    } while (memcmp(found.bytes, tap_guest_mac, ETH_ALEN) != 0);
    return 0;
}

static int bare_ping(struct session *session, struct load_turn *turn)
{
    struct tap_echo echo;
    int r = tap_echo_start(&echo, session->bare_host, true);
    if (r < 0)
        return r;
    r = load_repeat(turn, bare_ping_once, session);
    tap_echo_stop(&echo);
    return r;
}

static int bare_turn(void *context, struct load_turn *turn)
{
    struct session *session = context;
    tap_make_frame(&frame, type_of(session->now), session->now->load.bytes,
                   session->now->direction == TO_GUEST);
    switch (session->now->direction) {
    case TO_TAP:
        return bare_to_tap(session, turn);
    case TO_GUEST:
        return bare_to_guest(session, turn);
    case PING:
        return bare_ping(session, turn);
    }
    return -EINVAL;
}

/* ---- The guest sends ---- */

/* All buffers are back. The frame is put into those that the load uses. */
static void fill_buffers(struct session *session)
{
    const struct net_load *load = session->now;
    const unsigned int count = large(load) ? UNDER_WAY_LARGE : BUFFERS;
    tap_make_frame(&frame, type_of(load), load->load.bytes, false);
    for (unsigned int p = 0; p < load->pairs; p++) {
        for (unsigned int i = 0; i < count; i++) {
            struct guest_net_buffer *buffer = &session->net.tx_buffers[p * BUFFERS + i];
            memcpy(buffer->data, &frame, TAP_HEADER_SIZE + load->load.bytes);
            session->tx[p][i] = buffer;
        }
        session->tx_count[p] = count;
    }
}

static unsigned int take_back(struct session *session, unsigned int pair)
{
    struct guest_net_buffer *buffer;
    unsigned int count = 0;
    uint32_t length;
    for (; (buffer = guest_queue_get(&session->net.tx[pair], &length)); count++)
        session->tx[pair][session->tx_count[pair]++] = buffer;
    return count;
}

/* A small frame is one segment with its header; a large one has its headers in one, and its data in
 * pages, as in Linux. */
static int put(struct session *session, unsigned int pair)
{
    const struct guest_net_buffer *buffer = session->tx[pair][--session->tx_count[pair]];
    const uint32_t length = TAP_HEADER_SIZE + session->now->load.bytes;
    struct guest_segment segments[1 + TAP_LARGE / PAGE + 1] = {{buffer->addr, length, false}};
    unsigned int count = 1;
    if (large(session->now)) {
        segments[0].len = TAP_HEADER_SIZE + TAP_HEADERS;
        for (uint32_t at = segments[0].len; at < length; at += PAGE)
            segments[count++] = (struct guest_segment){
                buffer->addr + at, length - at < PAGE ? length - at : PAGE, false};
    }
    return guest_queue_add(&session->net.tx[pair], segments, count, (void *)buffer);
}

/* Take back what is back, and send up to `most` frames. Returns how many came back, or -errno. */
static int send_some(struct session *session, unsigned int pair, unsigned int most,
                     unsigned int *ret_sent)
{
    struct guest_queue *queue = &session->net.tx[pair];
    guest_queue_disable_interrupts(queue);
    const unsigned int back = take_back(session, pair);
    (void)guest_queue_delay_interrupts(queue);
    unsigned int sent = 0;
    for (; sent < most && session->tx_count[pair] > 0; sent++) {
        int r = put(session, pair);
        if (r < 0)
            return r;
    }
    guest_queue_kick(queue);
    *ret_sent += sent;
    return session->net.guest.error < 0 ? session->net.guest.error : (int)back;
}

/* Every buffer is at the device. Wait until enough of them are back. */
static int wait_back(struct session *session)
{
    for (unsigned int p = 0; p < session->now->pairs; p++) {
        if (!guest_queue_delay_interrupts(&session->net.tx[p]))
            return 0;
    }
    int r = guest_take_interrupt(&session->net.guest);
    return r < 0 ? r : 0;
}

static int to_tap(struct session *session, struct load_turn *turn)
{
    uint64_t sent = 0;
    int r = 0;
    (void)tap_host_count(session->host);
    const uint64_t start = bench_now_ns();
    while (r >= 0 && (turn->ns < turn->duration_ns || turn->count < sent)) {
        const unsigned int most = turn->ns < turn->duration_ns ? BATCH : 0;
        unsigned int now = 0;
        for (unsigned int p = 0; r >= 0 && p < session->now->pairs; p++) {
            r = send_some(session, p, most, &now);
            turn->count += r > 0 ? (unsigned int)r : 0;
        }
        sent += now;
        if (r >= 0)
            r = now == 0 && turn->count < sent ? wait_back(session)
                                               : load_take_interrupt(&session->net.guest);
        turn->ns = bench_now_ns() - start;
    }
    if (r >= 0 && tap_host_count(session->host) != sent)
        r = -EIO; /* the tap has got others, or fewer */
    return r < 0 ? r : 0;
}

/* ---- The guest takes frames ---- */

static int give(struct session *session)
{
    struct guest_queue *queue = &session->net.rx[0];
    int r = 0;
    while (r == 0 && session->rx_count > 0) {
        struct guest_net_buffer *buffer = session->rx[--session->rx_count];
        const struct guest_segment segment = {buffer->addr, session->net.rx_size, true};
        r = guest_queue_add(queue, &segment, 1, buffer);
    }
    guest_queue_kick(queue);
    return r;
}

/* Take all frames that are there. Returns how many were frames of this load, or -errno. */
static int take(struct session *session)
{
    const uint16_t type = htons(type_of(session->now));
    struct guest_net_buffer *buffer;
    int count = 0, r = 0;
    uint32_t length;
    while (r == 0 && (buffer = guest_queue_get(&session->net.rx[0], &length))) {
        struct virtio_net_hdr_v1 header;
        memcpy(&header, buffer->data, TAP_HEADER_SIZE);
        count += memcmp(buffer->data + TAP_HEADER_SIZE + 12, &type, 2) == 0;
        session->rx[session->rx_count++] = buffer;
        for (unsigned int i = 1; i < header.num_buffers; i++) {
            buffer = guest_queue_get(&session->net.rx[0], &length);
            if (!buffer)
                return -EPROTO;
            session->rx[session->rx_count++] = buffer;
        }
        if (session->rx_count >= REFILL)
            r = give(session);
    }
    return r < 0 ? r : session->net.guest.error < 0 ? session->net.guest.error : count;
}

/* Take the next frames; wait for the interrupt if there is none. Returns how many, or -errno. */
static int take_next(struct session *session)
{
    struct guest_queue *queue = &session->net.rx[0];
    int count = take(session);
    if (count != 0)
        return count;
    int r = load_wait(queue);
    guest_queue_disable_interrupts(queue);
    return r;
}

static int to_guest(struct session *session, struct load_turn *turn)
{
    const unsigned int most = large(session->now) ? UNDER_WAY_LARGE : TAP_UNDER_WAY;
    unsigned int under_way = 0;
    int r = 0;
    tap_make_frame(&frame, type_of(session->now), session->now->load.bytes, true);
    const uint64_t start = bench_now_ns();
    while (r == 0 && (turn->ns < turn->duration_ns || under_way > 0)) {
        if (turn->ns < turn->duration_ns && under_way <= most / 2) {
            r = tap_host_send(session->host, &frame, session->now->load.bytes, most - under_way);
            under_way = most;
        }
        int count = r < 0 ? r : take_next(session);
        if (count < 0)
            return count;
        under_way -= (unsigned int)count;
        turn->count += (unsigned int)count;
        turn->ns = bench_now_ns() - start;
    }
    return r;
}

static int ping_once(void *context)
{
    struct session *session = context;
    unsigned int sent = 0;
    int r = send_some(session, 0, 1, &sent);
    if (r >= 0 && sent != 1)
        r = -EIO;
    for (int count = 0; r >= 0 && count == 0;)
        r = count = take_next(session);
    return r < 0 ? r : 0;
}

static int ping(struct session *session, struct load_turn *turn)
{
    struct tap_echo echo;
    int r = tap_echo_start(&echo, session->host, false);
    if (r < 0)
        return r;
    r = load_repeat(turn, ping_once, session);
    while (r == 0 && guest_net_flush(&session->net, 0) == 0 && take_back(session, 0) > 0) {
    }
    tap_echo_stop(&echo);
    return r;
}

static int guest_turn(void *context, struct load_turn *turn)
{
    struct session *session = context;
    switch (session->now->direction) {
    case TO_TAP:
        fill_buffers(session);
        return to_tap(session, turn);
    case TO_GUEST:
        return to_guest(session, turn);
    case PING:
        fill_buffers(session);
        return ping(session, turn);
    }
    return -EINVAL;
}

/* ---- Everything together ---- */

#define TURNS .turn = guest_turn, .bare = bare_turn
/* What is promised for a frame. One call moves it. The guest kicks at most once for a batch, and is
 * interrupted at most once for what it waits for: 16 small frames and more, or one of 64 KiB. A
 * host that sends more slowly than the worker reads may wake it for each frame: then there are two
 * more calls. */
#define TO_TAP_MAX .syscalls_max = 1.5, .kicks_max = 0.1, .interrupts_max = 0.1
#define TO_GUEST_MAX .syscalls_max = 2, .kicks_max = 0.1, .interrupts_max = 0.2
#define LARGE_TO_TAP_MAX .syscalls_max = 2.5, .kicks_max = 0.5, .interrupts_max = 0.5
#define LARGE_TO_GUEST_MAX .syscalls_max = 3.5, .kicks_max = 0.5, .interrupts_max = 1.1
/* Of a round trip; how long the worker polls meanwhile depends on the machine. The frame may
 * interrupt twice: when it has gone, and when it has come back. */
#define PING_MAX .kicks_max = 1.2, .interrupts_max = 2.1

static const struct net_load loads[] = {
    {{.name = "64 B to the tap", .bytes = 64, TURNS, TO_TAP_MAX}, TO_TAP, 1},
    {{.name = "1514 B to the tap", .bytes = ETH_FRAME_LEN, TURNS, TO_TAP_MAX}, TO_TAP, 1},
    {{.name = "64 KiB to the tap", .bytes = TAP_LARGE, TURNS, LARGE_TO_TAP_MAX}, TO_TAP, 1},
    {{.name = "64 B to the guest", .bytes = 64, TURNS, TO_GUEST_MAX}, TO_GUEST, 1},
    {{.name = "1514 B to the guest", .bytes = ETH_FRAME_LEN, TURNS, TO_GUEST_MAX}, TO_GUEST, 1},
    {{.name = "64 KiB to the guest", .bytes = TAP_LARGE, TURNS, LARGE_TO_GUEST_MAX}, TO_GUEST, 1},
    {{.name = "round trip of 64 B", .bytes = 64, .timed = true, TURNS, PING_MAX}, PING, 1},
    {{.name = "1514 B to the tap, 4 pairs", .bytes = ETH_FRAME_LEN, TURNS, TO_TAP_MAX},
     TO_TAP,
     PAIRS},
};
#define LOADS (sizeof(loads) / sizeof(loads[0]))

static int start(struct session *session, const struct model *model, unsigned int pairs)
{
    const uint16_t count = (uint16_t)pairs;
    const struct guest_net_options options = {
        .features = GUEST_NET_FEATURES,
        .pairs = pairs,
        .rx_count = BUFFERS,
        .tx_count = BUFFERS,
        .rx_size = RX_BUFFER,
        .tx_size = TAP_HEADER_SIZE + (pairs == 1 ? TAP_LARGE : ETH_FRAME_LEN),
    };
    session->net = (struct guest_net){0};
    guest_init(&session->net.guest, model->standin, 0, BENCH_BASE, BENCH_SHMEM, BENCH_SHMEM_SIZE);
    int r = guest_net_start(&session->net, &options);
    if (r == 0 && pairs > 1 &&
        guest_net_command(&session->net, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
                          &count, sizeof(count)) != VIRTIO_NET_OK)
        r = -EIO;
    for (unsigned int p = 0; r == 0 && p < pairs; p++)
        guest_queue_disable_interrupts(&session->net.rx[p]);
    return r;
}

static int open_hosts(struct session *session, const char *tap, const struct net_load *load)
{
    session->now = load;
    session->host = tap_open_host(tap, type_of(load));
    session->bare_host = tap_open_host("bare0", type_of(load));
    return session->host < 0 ? session->host : session->bare_host < 0 ? session->bare_host : 0;
}

static void close_hosts(struct session *session)
{
    if (session->host > 0)
        close(session->host);
    if (session->bare_host > 0)
        close(session->bare_host);
    session->host = session->bare_host = -1;
}

/* Both devices, and their drivers. */
struct both {
    struct model model, peer_model;
    struct session session, peer;
};

/* The check only wants to know that a peer can be measured. */
static bool is_for_peer(const struct bench *bench, const struct net_load *load)
{
    return bench->peer_net_config && load->pairs == 1 &&
           (!bench->check || load->load.bytes == ETH_FRAME_LEN);
}

/* Frames of 64 KiB need several buffers, and offloads. */
static bool can(const struct session *peer, const struct net_load *load)
{
    const uint64_t needed = 1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_HOST_TSO4 |
                            1ull << VIRTIO_NET_F_GUEST_TSO4;
    return !large(load) || (peer->net.guest.features & needed) == needed;
}

/* Not every device model can be used again after the driver's reset, so a peer starts anew for each
 * load. */
static int start_peer(const struct bench *bench, const char *dir, int log, struct both *both,
                      const struct net_load *load)
{
    char config[PATH_SIZE];
    snprintf(config, sizeof(config), "%s/peer-net.yaml", dir);
    int r = side_copy_config(bench->peer_net_config, config, dir);
    if (r == 0)
        r = model_start_program(bench, bench->peer, config, log, 1, &both->peer_model);
    unlink(config);
    if (r == 0)
        r = start(&both->peer, &both->peer_model, 1);
    if (r == 0 && !can(&both->peer, load))
        return -ENOTSUP;
    if (r == 0)
        r = open_hosts(&both->peer, TAP_PEER, load);
    if (r < 0)
        fprintf(stderr, "bench: the peer's network does not come up: %s\n", strerror(-r));
    return r;
}

static void stop_peer(struct both *both)
{
    close_hosts(&both->peer);
    guest_net_free(&both->peer.net);
    (void)model_stop(&both->peer_model, 0); /* SIGTERM may end it in any way */
}

static int measure(struct bench *bench, const char *dir, int log, struct load_set *set,
                   struct both *both, const struct net_load *load)
{
    const struct load_side ours = {&both->session, &both->session.net.guest, &both->model};
    struct load_side peer = {0};
    const bool with_peer = is_for_peer(bench, load);
    if (with_peer && start_peer(bench, dir, log, both, load) == 0)
        peer = (struct load_side){&both->peer, &both->peer.net.guest, &both->peer_model};
    int r = open_hosts(&both->session, load->pairs == 1 ? "bench0" : "bench4", load);
    if (r == 0)
        r = load_run(bench, set, &load->load, &ours, &peer);
    close_hosts(&both->session);
    if (with_peer)
        stop_peer(both);
    return r;
}

/* All loads with that many pairs. */
static int run_pairs(struct bench *bench, const char *dir, int log, struct load_set *set,
                     struct both *both, unsigned int pairs)
{
    static const char one[] = "    type: net\n    data_plane: virtio\n    tap_name: bench0\n",
                      more[] = "    type: net\n    data_plane: virtio\n    tap_name: bench4\n"
                               "    queues: 4\n";
    int r = model_start(bench, dir, log, pairs == 1 ? one : more, &both->model);
    if (r == 0)
        r = start(&both->session, &both->model, pairs);
    for (unsigned int i = 0; r == 0 && i < LOADS; i++) {
        if (loads[i].pairs == pairs)
            r = measure(bench, dir, log, set, both, &loads[i]);
    }
    guest_net_free(&both->session.net);
    return model_stop(&both->model, r);
}

static int run(struct bench *bench, const char *dir, int log, struct load_set *set)
{
    static struct both both;
    int r = tap_make_all();
    if (r == 0)
        r = both.session.bare = tap_open_bare();
    if (r >= 0)
        r = run_pairs(bench, dir, log, set, &both, 1);
    if (r == 0)
        r = run_pairs(bench, dir, log, set, &both, PAIRS);
    if (both.session.bare > 0)
        close(both.session.bare);
    return r;
}

struct load_set net_set = {
    .name = "net",
    .title = "net/virtio on a tap",
    .operation = "frames/s",
    .peers = true,
    .notes =
        "All but the rate: a frame, or a round trip. 64 KiB: one frame\n"
        "with segmentation offload. The guest kicks once for 32 frames. bare: writev or readv\n"
        "of the same frames on another tap, by turns; of readv, only the time of reading. The\n"
        "host's packet socket shares its processors with the guest.\n",
    .run = run,
};
