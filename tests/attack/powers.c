/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/attack/powers.h"

#include <stddef.h>

#define SIGNAL "write(fd in {@reply, @call})"
#define SAY "sendto(sockfd == @control, flags == MSG_DONTWAIT | MSG_NOSIGNAL, dest_addr == NULL)"
#define EXIT "exit_group()"
#define WAIT "epoll_pwait2(epfd == @epoll)"
#define WAIT_READERS "epoll_pwait2(epfd in {@epoll, @readers})"
#define IMAGE_READ "preadv2(fd == @image, flags in {0, RWF_NOWAIT})"
#define IMAGE_ANNOUNCE "fadvise64(fd == @image, advice == POSIX_FADV_WILLNEED)"
#define IMAGE_WRITE "pwritev2(fd == @image, flags in {0, RWF_DSYNC})"
#define IMAGE_RING                                                                                 \
    "io_uring_enter(fd == @ring, to_submit & ~127 == 0, min_complete & ~15 == 0, "                 \
    "flags == IORING_ENTER_GETEVENTS, arg == NULL)"
#define IMAGE_READ_ALONE "preadv2(fd == @image, flags == 0)"
#define IMAGE_SYNC "fdatasync(fd == @image)"
#define IMAGE_ALLOCATE "fallocate(fd == @image, mode == FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)"
#define IMAGE_SIZE "lseek(fd == @image, offset == 0, whence == SEEK_END)"
#define LOG_BEGIN "ftruncate(fd in {@port0, @port1}, length == 0)"
#define LOG_PLACE "lseek(fd == @port2, whence in {SEEK_SET, SEEK_END})"
#define TAPS "{@tap, @backend2, @backend3, @backend4, @backend5, @backend6, @backend7}"
#define FRAME_READ "readv(fd in " TAPS ")"
#define FRAME_WRITE "writev(fd in " TAPS ")"
#define OFFLOAD                                                                                    \
    "ioctl(fd == @tap, request == TUNSETOFFLOAD, arg & ~(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | "  \
    "TUN_F_TSO_ECN | TUN_F_UFO | TUN_F_USO4 | TUN_F_USO6) == 0)"
#define PORTS "{@port0, @port1, @port2, @port3, @port4, @port5, @port6}"
#define RECEIVE "recvmsg(sockfd == @control, flags == MSG_DONTWAIT | MSG_CMSG_CLOEXEC)"
#define KICK                                                                                       \
    "write(fd in {@kick0, @kick1, @kick2, @kick3, @kick4, @kick5, @kick6, @kick7, @kick8, "        \
    "@kick9, @kick10, @kick11, @kick12, @kick13, @kick14, @kick15})"
#define KICK_TWO "write(fd in {@kick0, @kick1})"
#define DAEMON_SEND "sendmsg(sockfd in {@daemon, @requests}, flags == MSG_NOSIGNAL)"
#define DAEMON_RECEIVE "recvmsg(sockfd == @daemon, flags in {MSG_WAITALL, MSG_DONTWAIT | MSG_PEEK})"
#define DAEMON_REQUEST "recvmsg(sockfd == @requests, flags == MSG_DONTWAIT)"
#define DAEMON_HOLES                                                                               \
    "fallocate(fd == @inflight, mode == FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)"
#define VHOST_FEATURES                                                                             \
    "ioctl(fd == @vhost, request == VHOST_SET_FEATURES, arg & ~VHOST_VALUES_FEATURES_BITS == "     \
    "VHOST_VALUES_FEATURES)"
#define VHOST_SIZE                                                                                 \
    "ioctl(fd == @vhost, request == VHOST_SET_VRING_NUM, arg & ~VHOST_VALUES_NUM_BITS == "         \
    "VHOST_VALUES_NUM)"
#define VHOST_RINGS "ioctl(fd == @vhost, request in {VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR})"
#define VHOST_BACKEND                                                                              \
    "ioctl(fd == @vhost, request == VHOST_NET_SET_BACKEND, arg & ~VHOST_VALUES_BACKEND_BITS == "   \
    "VHOST_VALUES_BACKEND)"
#define VHOST_RUNNING                                                                              \
    "ioctl(fd == @vhost, request == VHOST_VSOCK_SET_RUNNING, arg & ~VHOST_VALUES_RUNNING_BITS == " \
    "VHOST_VALUES_RUNNING)"

#define OWN_TIME "it is its own processor time, of which the scheduler gives it a fair share"

/* Connections of a socket device, distinguished by the highest bit of their numbers. */
#define CONNECTION_POWERS(numbers)                                                                 \
    {"writev(fd & " numbers ")", "writes anything to its connections", "the sockets' buffers",     \
     ATTACK_connection_flood, NULL},                                                               \
        {"readv(fd & " numbers ")", "takes what is said on its connections", "they are its own",   \
         ATTACK_connection_flood, NULL},                                                           \
        {"epoll_ctl(epfd == @epoll, op in {EPOLL_CTL_ADD, EPOLL_CTL_DEL}, fd & " numbers ")",      \
         "watches and forgets its connections without end",                                        \
         "as many watches as it has connections, up to 1024: RLIMIT_NOFILE",                       \
         ATTACK_connection_events, NULL},                                                          \
        {"shutdown(sockfd & " numbers ", how in {SHUT_RD, SHUT_WR})",                              \
         "shuts its connections down", "their programs see an end of file",                        \
         ATTACK_connection_close, NULL},                                                           \
    {                                                                                              \
        "close(fd & " numbers ")", "closes its connections", "their programs see an end of file",  \
            ATTACK_connection_close, NULL                                                          \
    }

const struct power powers[] = {
    /* ---- Every kind ---- */
    {SIGNAL, "interrupts its frontend at any time, without end",
     "the broker raises one interrupt, and the next one only after the driver's acknowledgement; a "
     "signal that waits costs nothing",
     ATTACK_interrupt_flood, NULL},
    {SIGNAL, "fills the interrupt's eventfd, so that its successor's signals fail",
     "it is emptied between two workers", ATTACK_interrupt_full, NULL},
    {SIGNAL, "says without end that it has answered, and has not",
     "only an answer in the mailbox counts; after 5 s another worker is asked", ATTACK_reply_flood,
     NULL},
    {SIGNAL, "fills @reply, so that its successor's signals fail",
     "it is emptied between two workers", ATTACK_reply_full, NULL},
    {SAY, "sends log messages without end",
     "numbers only, and few lines a second of them are written; beyond a bound it is ended",
     ATTACK_log_flood, NULL},
    {SAY, "sends the broker anything else; no files: sendto carries none",
     "what is not a message of its kind, of the exact size, from it and now ends it",
     ATTACK_bad_message, NULL},
    {SAY, "asks for connections without end (a device with MSG_CONNECT)",
     "beyond a bound it is ended", ATTACK_connect_flood, NULL},
    {SAY, "asks for connections and receives none, so that files are under way without end",
     "few may be under way to one worker: those that a user's processes have under way are limited "
     "together",
     ATTACK_connect_hoard, NULL},
    {EXIT, "ends again and again, and costs the others the start of a process each time",
     "each start comes later than the one before, up to 5 s; a request that workers die of is not "
     "served for ever",
     ATTACK_die_again, NULL},
    {WAIT, "waits without end, or does not wait at all",
     "who does not look at the mailbox for 5 s is replaced; else " OWN_TIME, ATTACK_epoll_flood,
     NULL},

    /* ---- Memory and time ---- */
    {NULL, "takes all the processor time it can get", OWN_TIME ", or `cpu_affinity` and `sched` do",
     ATTACK_spin, NULL},
    {NULL, "answers nothing, and does not look at its events", "it is replaced after 5 to 10 s",
     ATTACK_NONE, "test_stuck"},
    {NULL, "says that it waits for a disk, and answers nothing",
     "a register access waits for such a one for 15 s, then another worker is asked",
     ATTACK_lie_in_io, NULL},
    {NULL, "answers register reads with any value",
     "to its own frontend, cut to the access's width; of InterruptStatus two bits are its own",
     ATTACK_forged_answers, NULL},
    {NULL, "writes any bits to the state page while the broker uses it",
     "the broker reads the answer and the wanted interrupts there, each once, and takes any value "
     "for both",
     ATTACK_spoil_page, NULL},
    {NULL, "leaves any bits in the state page to its successor",
     "the page is checked like what a guest writes; what is not valid leads to DEVICE_NEEDS_RESET",
     ATTACK_spoilt_page, NULL},
    {NULL, "leaves positions out of the rings to its successor, under any status",
     "those of every ready queue are checked, whatever the status, and again when it starts",
     ATTACK_spoilt_positions, NULL},
    {NULL, "takes a register access with it that its successor cannot read any more",
     "the broker has its own copy", ATTACK_spoilt_mailbox, NULL},
    {NULL, "writes any bits to the window at any time",
     "it is its own frontend's memory, and nobody else's", ATTACK_spoil_window, NULL},
    {NULL, "takes more memory", "it has no call for that; the stack does not grow (RLIMIT_STACK)",
     ATTACK_grow_stack, NULL},
    {NULL, "calls anything else", "the kernel ends it", ATTACK_forbidden, NULL},
    {NULL, "calls anything else, by any number, with any arguments", "the kernel ends it",
     ATTACK_NONE, "test_policy_kernel"},

    /* ---- rng ---- */
    {"getrandom(flags == GRND_NONBLOCK)", "asks for random bytes without end",
     OWN_TIME "; the kernel's generator does not run dry", ATTACK_getrandom_flood, NULL},

    /* ---- input ---- */
    {"read(fd == @events)", "takes what is typed, and hands it to nobody",
     "at the device that its frontend has alone", ATTACK_NONE, "test_input"},
    {"write(fd == @events)", "lights lights and makes sounds without end",
     "its own device's; the kernel drops what a bus does not take in time", ATTACK_NONE,
     "test_input"},
    {"write(fd == @events)", "writes keys and movements in the user's place",
     "the device is grabbed: the kernel hands them to its own reader and to nobody else",
     ATTACK_NONE, "tests/vm/kinds/input.sh"},

    /* ---- block ---- */
    {IMAGE_READ, "reads all of its image, again and again", OWN_TIME ", and the disk's",
     ATTACK_image_read, NULL},
    {IMAGE_READ_ALONE, "reads all of its image, again and again", OWN_TIME ", and the disk's",
     ATTACK_image_read, NULL},
    {IMAGE_RING, "reads its image by its ring, up to 64 times at once, without end",
     OWN_TIME
     ", of which the kernel's threads for its ring, 32 at most, are a part, and the disk's",
     ATTACK_ring_read, NULL},
    {IMAGE_RING, "puts any other operation, file or flag into its ring, which no filter sees",
     "the ring refuses it: its restrictions were set before the worker knew its guest, and stay",
     ATTACK_ring_escape, NULL},
    {IMAGE_ANNOUNCE, "has its image read ahead without end",
     OWN_TIME ", and the disk's; no more than it could read itself", ATTACK_image_read, NULL},
    {IMAGE_WRITE, "writes anything anywhere in its image",
     "it is its own frontend's; behind the image's end RLIMIT_FSIZE lets it write nothing",
     ATTACK_image_beyond, NULL},
    {IMAGE_WRITE, "writes durably without end", OWN_TIME ", and the disk's", ATTACK_image_sync,
     NULL},
    {IMAGE_SYNC, "syncs without end", OWN_TIME ", and the disk's", ATTACK_image_sync, NULL},
    {IMAGE_SIZE, "asks for its image's size without end", OWN_TIME, ATTACK_image_read, NULL},
    {IMAGE_ALLOCATE, "has the file system allocate behind the image's end, until it is full",
     "nothing that allocates is allowed on a file: holes are punched, and zeros are written",
     ATTACK_image_allocate, NULL},
    {IMAGE_ALLOCATE, "punches holes without end", OWN_TIME ", and the disk's", ATTACK_image_holes,
     NULL},

    /* ---- net ---- */
    {FRAME_WRITE, "sends any frames without end",
     "by its own tap, whose bridge or routes decide what becomes of them; the kernel's work on "
     "each "
     "is its own processor time",
     ATTACK_frame_flood, NULL},
    {FRAME_WRITE, "fills its own kicks, where it has fewer than seven taps",
     "they are emptied between two workers", ATTACK_tap_number_kick, NULL},
    {FRAME_READ, "takes the frames for its frontend", "those of its own tap", ATTACK_frame_take,
     NULL},
    {OFFLOAD, "changes its tap's offloads without end",
     OWN_TIME "; the kernel's lock for it is held for microseconds", ATTACK_offload_flood, NULL},

    /* ---- console ---- */
    {"write(fd in " PORTS ")", "writes anything to its terminals, without end",
     "the terminal's buffer; what a terminal makes of it is its reader's to bound",
     ATTACK_port_flood, NULL},
    {"write(fd in " PORTS ")", "writes to its log file without end",
     "`log_size`: the file is begun anew, and one older one is kept", ATTACK_log_file_flood, NULL},
    {LOG_BEGIN, "begins its log anew, or the older one, at any time",
     "it is its own frontend's, and only shorter for it", ATTACK_log_file_flood, NULL},
    {LOG_PLACE, "reads its log from any place", "it is its own frontend's", ATTACK_log_file_flood,
     NULL},
    {"read(fd in " PORTS ")", "takes what is typed", "at its own terminals", ATTACK_port_take,
     NULL},
    {WAIT_READERS, "asks without end who has no reader", OWN_TIME, ATTACK_readers_flood, NULL},
    {"write(fd & ~1 == 64)", "writes anything to its client", "the socket's buffer",
     ATTACK_client_flood, NULL},
    {"read(fd & ~1 == 64)", "takes what its client says", "it is its own client",
     ATTACK_client_flood, NULL},
    {RECEIVE, "takes messages, or does not", "only what the broker sends to it; see MSG_CONNECT",
     ATTACK_client_close, NULL},
    {"epoll_ctl(epfd == @epoll, op in {EPOLL_CTL_ADD, EPOLL_CTL_DEL}, fd & ~1 == 64)",
     "watches and forgets its client without end", "one watch: the number is one file's",
     ATTACK_client_events, NULL},
    {"close(fd & ~1 == 64)", "closes its client", "the client sees an end of file",
     ATTACK_client_close, NULL},

    /* ---- vsock/virtio ---- */
    CONNECTION_POWERS("~63 == 64"),
    CONNECTION_POWERS("~127 == 128"),
    CONNECTION_POWERS("~255 == 256"),
    CONNECTION_POWERS("~511 == 512"),
    CONNECTION_POWERS("~1023 == 1024"),

    /* ---- vhost_user ---- */
    {DAEMON_SEND, "sends its daemon anything, without end",
     "the daemon is this device's own; if it dies of it, this device waits for another",
     ATTACK_daemon_noise, NULL},
    {DAEMON_SEND, "hands its daemon any of its files",
     "it is less than what the daemon was given; no more than one may be under way unreceived "
     "(RLIMIT_NOFILE is 0)",
     ATTACK_daemon_fds, NULL},
    {DAEMON_SEND, "answers what the daemon has not asked", "the daemon is this device's own",
     ATTACK_daemon_requests, NULL},
    {DAEMON_RECEIVE, "waits for what the daemon does not send",
     "the socket's time limit, and the 5 s for a register access", ATTACK_daemon_silence, NULL},
    {DAEMON_REQUEST, "takes the daemon's requests, and does nothing about them",
     "its own configuration space is an old one then", ATTACK_daemon_requests, NULL},
    {DAEMON_HOLES, "forgets what the daemon has in flight, without end",
     "requests of its own frontend are served again, or not; nothing is allocated",
     ATTACK_inflight_holes, NULL},
    {KICK, "kicks its daemon without end", "the daemon is this device's own", ATTACK_kick_flood,
     NULL},
    {KICK, "fills the kicks, so that none comes to its successor",
     "they are emptied between two workers", ATTACK_kick_full, NULL},

    /* ---- vhost ---- */
    {KICK_TWO, "kicks the daemon, or the kernel's vhost, without end",
     "vhost's thread is its own worker's, and its time as well", ATTACK_kick_flood, NULL},
    {KICK_TWO, "fills the kicks, so that vhost refuses them for ever",
     "they are emptied between two workers", ATTACK_kick_full, NULL},
    {VHOST_FEATURES, "sets features that make vhost allocate, or log, for it",
     "the values lie in a page that is read-only since before lock-down, and the pointer is pinned "
     "to it",
     ATTACK_vhost_features, NULL},
    {VHOST_RUNNING, "starts and stops vhost without end",
     "one of two values of that page; a start allocates nothing that its stop does not free",
     ATTACK_vhost_features, NULL},
    {VHOST_SIZE, "hands vhost rings of another size",
     "one of the sizes of that page, all of which a driver may choose", ATTACK_vhost_rings, NULL},
    {VHOST_RINGS, "hands vhost rings at any position and place",
     "they lie in its own memory, with its own rights; buffers are in the memory table that was "
     "set "
     "before lock-down",
     ATTACK_vhost_rings, NULL},
    {VHOST_BACKEND, "hands vhost a backend of its choice",
     "its tap or none: the values lie in that page", ATTACK_vhost_backend, NULL},
    {NULL, NULL, NULL, ATTACK_NONE, NULL},
};
