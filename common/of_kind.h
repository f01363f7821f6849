/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one kind of device has of its own in the three structures that pass between processes:
 *
 *   start_*   in MSG_START (common/message.h): what a worker has to know of its device; numbers
 *   opened_*  in MSG_OPENED: what was learned when its backend was opened, where that is more than
 *             start_* says
 *   state_*   in the state page (common/state.h): what a successor needs to continue;
 * worker-written, and all zero after a reset
 *
 * A kind without a structure of one sort has nothing of that sort.
 */
#ifndef COMMON_OF_KIND_H
#define COMMON_OF_KIND_H

#include <stdint.h>

#include <linux/input-event-codes.h>
#include <linux/virtio_input.h>
#include <sys/un.h>

#include "common/vhost_user.h"

/* ---- Block, VirtIO 1.2 §5.2 ---- */

struct start_block {
    uint64_t capacity;         /* sectors of 512 bytes, at the broker's start */
    uint32_t blk_size;         /* logical block size, bytes */
    uint32_t physical_blk_exp; /* log2 of logical blocks per physical block */
    uint32_t min_io_size;      /* logical blocks */
    uint32_t opt_io_size;      /* logical blocks */
    uint32_t discard_sectors;  /* granularity of FALLOC_FL_PUNCH_HOLE; 0: not possible */
    uint32_t mem_alignment;    /* of buffers, bytes: a power of two up to 4096; 1: any will do */
    uint8_t read_only;
    uint8_t advertise_flush;
    uint8_t direct; /* O_DIRECT: offsets and lengths must be multiples of blk_size */
    uint8_t unsafe; /* flushes are acknowledged, and nothing waits for the disk */
    uint8_t reserved[4];
    char serial[20]; /* VIRTIO_BLK_T_GET_ID; padded with 0 */
    uint8_t reserved2[4];
};

/* An incomplete block at the end of an image does not belong to the disk. */
static inline uint64_t block_sectors(uint64_t bytes, uint32_t blk_size)
{
    return bytes / blk_size * (blk_size / 512);
}

#define STATE_CAPACITY_NONE UINT64_MAX

struct state_block {
    uint64_t capacity;  /* sectors: the last value that the driver can have read, or
                           STATE_CAPACITY_NONE if that was 0; 0: it has read none yet */
    uint32_t writeback; /* enum state_writeback */
    uint32_t reserved;
};

enum state_writeback {
    STATE_WRITEBACK_INITIAL, /* as after reset */
    STATE_WRITEBACK_OFF,     /* the driver wrote 0 to the field `writeback` */
    STATE_WRITEBACK_ON,      /* it wrote 1 */
};

/* ---- Network, VirtIO 1.2 §5.1 ---- */

struct start_net {
    uint8_t mac[6];
    uint16_t mtu;
    uint32_t tun_offloads; /* TUN_F_*: what taps of this kernel support */
    uint32_t reserved;
    uint64_t vhost_features; /* vhost: of VHOST_GET_FEATURES */
};

struct opened_net {
    char name[16];  /* of the interface */
    uint32_t index; /* its index */
    uint32_t reserved;
    struct start_net start;
};

#define STATE_NET_MACS 64u
#define STATE_NET_QUEUES 14u /* those of the frames: 7 pairs */

/* VirtIO 1.3 §5.1.6.5.10. If one of the two is 0, each frame may interrupt. */
struct state_net_coal {
    uint32_t max_packets;
    uint32_t max_usecs;
};

/* What a driver has told a net device through its control queue, VirtIO 1.2 §5.1.6.5. */
struct state_net {
    uint64_t offloads;  /* VIRTIO_NET_F_GUEST_* bits in force */
    uint16_t pairs;     /* of queues that are in use */
    uint16_t rx_mode;   /* enum net_rx_mode (worker/net/filter.h) */
    uint8_t mac[6];     /* the device's address */
    uint16_t unicast;   /* number of unicast addresses, at the start of `macs` */
    uint16_t multicast; /* number of multicast addresses, which follow in `macs` */
    uint16_t reserved;
    uint8_t macs[STATE_NET_MACS][6];
    uint8_t vlans[512]; /* bit per VLAN ID */
    /* What a receive queue (0) or a transmit queue (1) has when it becomes ready. */
    struct state_net_coal coal_of_all[2];
    struct state_net_coal coal[STATE_NET_QUEUES]; /* by queue */
};

/* ---- Console, VirtIO 1.2 §5.3 ---- */

/* The files that a console with a log has instead of terminals: the log, the file that takes the
 * contents of a full log, and the log for reading. */
#define CONSOLE_LOG_FILES 3u

struct start_console {
    uint32_t ports;  /* 1 to STATE_CONSOLE_PORTS */
    uint32_t files;  /* bit p: port p is a log file, not a terminal */
    uint32_t client; /* with a socket: 1: a predecessor's client follows as MSG_CONNECTION */
    uint32_t reserved;
    uint64_t log_size; /* maximum of a log file, bytes; 0: no file */
};

#define STATE_CONSOLE_PORTS 7u /* 2 queues for each port and 2 for control: STATE_QUEUES_MAX */

struct state_console {
    /* Bits 63 to 32: the value of next_used at which the chain will be completed. Bits 31 to 0: how
     * many bytes of the chain were written to the port's file, or read from it. */
    uint64_t written[STATE_CONSOLE_PORTS];
    uint64_t read[STATE_CONSOLE_PORTS];
    uint8_t pending[STATE_CONSOLE_PORTS]; /* bits: messages that the driver must still get */
    uint8_t ready;                        /* bit p: the driver has said PORT_READY */
    uint8_t guest_open;                   /* bit p: the driver has said PORT_OPEN */
    uint8_t reserved[3];
    uint32_t size; /* as the driver knows it, columns << 16 | rows */
};

/* ---- Socket, VirtIO 1.2 §5.10 ---- */

struct start_vsock {
    uint64_t guest_cid;
    uint64_t vhost_features; /* of VHOST_GET_FEATURES; vsock/vhost only */
    uint32_t connections;    /* 1 to CONNECTIONS_MAX; vsock/virtio only */
    uint32_t reserved;
};

struct opened_vsock {
    char name[96]; /* the names of all its sockets in the directory begin with this */
};

/* ---- Entropy, VirtIO 1.2 §5.4 ---- */

struct start_rng {
    uint64_t rate_limit; /* bytes per second, below 2^32; 0: none */
};

/* ---- Input, VirtIO 1.2 §5.8 ---- */

/* X(EV_ type, its bits in struct start_input, number of codes): the event types that VirtIO 1.2
 * §5.8 transports. */
#define INPUT_EVENTS(X)                                                                            \
    X(EV_KEY, keys, KEY_CNT)                                                                       \
    X(EV_REL, relative, REL_CNT)                                                                   \
    X(EV_ABS, absolute, ABS_CNT)                                                                   \
    X(EV_MSC, other, MSC_CNT)                                                                      \
    X(EV_SW, switches, SW_CNT)                                                                     \
    X(EV_LED, lights, LED_CNT)                                                                     \
    X(EV_SND, sounds, SND_CNT)

/* What the kernel says of an input device: everything that its configuration space can show. */
struct start_input {
    char name[128]; /* perhaps without a terminating 0: 128 bytes can be shown */
    char serial[128];
    struct virtio_input_devids ids;
    uint8_t properties[(INPUT_PROP_CNT + 7) / 8]; /* bit per INPUT_PROP_ number */
#define X(type, bits, count) uint8_t bits[((count) + 7) / 8];
    INPUT_EVENTS(X)
#undef X
    uint8_t reserved[3];
    struct virtio_input_absinfo axes[ABS_CNT]; /* valid for those in `absolute` */
};

#define STATE_INPUT_KEYS 768u /* KEY_CNT */

struct state_input {
    uint8_t select, subsel; /* as the driver wrote them, §5.8.5.2 */
    uint8_t reserved[6];
    uint64_t slots;                     /* bit s: the driver knows of a contact in slot s */
    uint8_t keys[STATE_INPUT_KEYS / 8]; /* bit k: the driver may know key k as pressed: set before
                                           it is told so, cleared after it was told the opposite */
};

/* ---- Any device that a vhost-user daemon serves ---- */

struct start_vhost_user {
    uint64_t features;          /* of GET_FEATURES */
    uint64_t protocol_features; /* agreed */
    struct vhost_user_inflight inflight;
    uint32_t config_size; /* bytes */
    uint32_t reserved;
    uint8_t config[VHOST_USER_CONFIG_MAX];
};

struct opened_daemon {
    struct sockaddr_un address; /* as a path in the connector's root */
};

/* ---- All of them ---- */

union start_kind {
    struct start_block block;
    struct start_console console;
    struct start_rng rng;
    struct start_vsock vsock;
    struct start_net net;
    struct start_vhost_user vhost_user;
    struct start_input input;
};

/* What was learned of a backend when it was opened. The configuration does not say it, and it is
 * the same for every worker. */
union opened_part {
    struct start_block block;
    struct opened_net net;
    struct opened_vsock vsock;
    struct opened_daemon daemon;
    struct start_input input;
};

/* The files of an open backend, in this order. Those whose bit in message_opened.files is set come
 * with the message. */
enum opened_file {
    OPENED_IMAGE,     /* in a box (common/box.h) */
    OPENED_TAP_FIRST, /* one for each queue */
    OPENED_TAP_SOCKET = OPENED_TAP_FIRST + 7,
    OPENED_PORT_FIRST, /* of a console: the master of each terminal, or CONSOLE_LOG_FILES in boxes.
                          Of an input device: its event device is the first */
    OPENED_LISTENER_FIRST = OPENED_PORT_FIRST + 7,
    OPENED_DIRECTORY = OPENED_LISTENER_FIRST + 2, /* of sockets; O_PATH */
    OPENED_FILES,
};

/* What one kind needs besides, so that a successor can continue; all zero after a reset. */
union state_kind {
    struct state_block block;
    struct state_net net;
    struct state_console console;
    struct state_input input;
};

#endif
