/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest prints, and what a user types, on a terminal and on a socket. The guest prints as
 * Linux does: its console (hvc) has 16 bytes under way and spins until they are used; a program
 * that writes to a port has up to eight buffers of 4 KiB under way, and sleeps until one is used.
 * Each used buffer asks for an interrupt, which the guest takes between two writes. Bare: write to
 * a pair of the same kind, which a program reads at the other end.
 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define HVC_BYTES 16u
#define PATH_SIZE 100
#define DIR_SIZE 80
#define WAIT_MS 10000
#define LOOKS                                                                                      \
    50u /* a spinning guest has its processor for itself; here it leaves it now and then */

enum doing { SPINNING, WRITING, TYPING };

struct console_load {
    struct load load;
    enum doing doing;
    bool socket;
};

struct session {
    const struct console_load *now;
    struct guest_console console;
    int user;    /* the host's end */
    int pair[2]; /* the bare pair: the device's end, and the user's */
};

static const uint8_t text[GUEST_CONSOLE_BUFFER];

/* ---- A program at the host's end that reads ---- */

struct reader {
    int fd, stop;
    bool anywhere; /* the scheduler places it, as it would beside a bare loop */
    bool echo;     /* it writes back what it reads */
    _Atomic uint64_t bytes;
    pthread_t thread;
};

static void *serve_reader(void *argument)
{
    struct reader *reader = argument;
    uint8_t bytes[16384];
    struct pollfd files[] = {{.fd = reader->fd, .events = POLLIN},
                             {.fd = reader->stop, .events = POLLIN}};
    if (reader->anywhere)
        place_nowhere();
    while (poll(files, 2, -1) > 0 && files[1].revents == 0) {
        ssize_t length = read(reader->fd, bytes, sizeof(bytes));
        if (length <= 0)
            break;
        if (reader->echo && write(reader->fd, bytes, (size_t)length) != length)
            break;
        atomic_fetch_add(&reader->bytes, (uint64_t)length);
    }
    return NULL;
}

static int reader_start(struct reader *reader, int fd, bool anywhere, bool echo)
{
    *reader = (struct reader){
        .fd = fd, .stop = eventfd(0, EFD_CLOEXEC), .anywhere = anywhere, .echo = echo};
    if (reader->stop < 0)
        return -errno;
    return -pthread_create(&reader->thread, NULL, serve_reader, reader);
}

/* Returns `result`; if that is 0, -EIO unless all that was written comes in time. */
static int reader_stop(struct reader *reader, int result, uint64_t written)
{
    const uint64_t end = bench_now_ns() + WAIT_MS * 1000000ull;
    while (result == 0 && atomic_load(&reader->bytes) < written && bench_now_ns() < end)
        usleep(50);
    (void)eventfd_write(reader->stop, 1);
    pthread_join(reader->thread, NULL);
    close(reader->stop);
    return result == 0 && atomic_load(&reader->bytes) != written ? -EIO : result;
}

/* ---- The guest ---- */

/* The driver spins until its output is used. */
static int print_spinning(struct session *session, uint32_t length)
{
    struct guest_console *console = &session->console;
    const uint64_t end = bench_now_ns() + WAIT_MS * 1000000ull;
    if (guest_console_send(console, 0, text, length) != length)
        return -ENOSPC;
    for (unsigned int looks = 1; guest_console_busy(console, 0) > 0; looks++) {
        if (looks % LOOKS == 0) {
            sched_yield();
            if (bench_now_ns() > end)
                return -ETIMEDOUT;
        }
        if (console->guest.error < 0)
            return console->guest.error;
        guest_console_poll(console);
    }
    return load_take_interrupt(&console->guest);
}

static int wait_output(struct session *session)
{
    struct guest_console *console = &session->console;
    int r = guest_console_poll(console) > 0 ? 0 : load_wait(&console->ports[0].data.tx);
    guest_console_poll(console);
    return r;
}

static int print_sleeping(struct session *session, uint32_t length)
{
    struct guest_console *console = &session->console;
    int r = load_take_interrupt(&console->guest);
    guest_console_poll(console);
    while (r == 0 && guest_console_busy(console, 0) == GUEST_CONSOLE_BUFFERS)
        r = wait_output(session);
    if (r == 0 && guest_console_send(console, 0, text, length) != length)
        r = -ENOSPC;
    return r;
}

static int print_once(void *context)
{
    struct session *session = context;
    const uint32_t length = session->now->load.bytes;
    return session->now->doing == SPINNING ? print_spinning(session, length)
                                           : print_sleeping(session, length);
}

static int print_turn(struct session *session, struct load_turn *turn)
{
    struct reader reader;
    int r = reader_start(&reader, session->user, false, false);
    if (r < 0)
        return r;
    r = load_repeat(turn, print_once, session);
    while (r == 0 && guest_console_busy(&session->console, 0) > 0)
        r = wait_output(session);
    return reader_stop(&reader, r, turn->count * session->now->load.bytes);
}

/* The user's end gets one more byte. */
static int user_reads(int user)
{
    struct pollfd file = {.fd = user, .events = POLLIN};
    uint8_t byte;
    return poll(&file, 1, WAIT_MS) == 1 && read(user, &byte, 1) == 1 ? 0 : -ETIMEDOUT;
}

/* The user types a character, and the guest's terminal echoes it. */
static int type_once(void *context)
{
    struct session *session = context;
    struct guest_console *console = &session->console;
    const uint64_t received = console->ports[0].received;
    int r = write(session->user, text, 1) == 1 ? 0 : -EIO;
    while (r == 0 && console->ports[0].received == received) {
        if (guest_console_poll(console) == 0)
            r = load_wait(&console->ports[0].data.rx);
    }
    if (r == 0)
        r = print_spinning(session, 1);
    return r < 0 ? r : user_reads(session->user);
}

static int guest_turn(void *context, struct load_turn *turn)
{
    struct session *session = context;
    return session->now->doing == TYPING ? load_repeat(turn, type_once, session)
                                         : print_turn(session, turn);
}

/* ---- The bare pair ---- */

/* [0] is the device's end, [1] the user's. */
static int open_pair(bool is_socket, int pair[2])
{
    struct termios raw;
    if (is_socket)
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
    char path[PATH_SIZE];
    pair[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (pair[0] < 0 || unlockpt(pair[0]) < 0 || ptsname_r(pair[0], path, sizeof(path)) != 0)
        return -EIO;
    pair[1] = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (pair[1] < 0 || tcgetattr(pair[1], &raw) < 0)
        return -errno;
    cfmakeraw(&raw);
    return tcsetattr(pair[1], TCSANOW, &raw) < 0 ? -errno : 0;
}

static int bare_once(void *context)
{
    const struct session *session = context;
    const int *pair = session->pair;
    if (session->now->doing == TYPING)
        return write(pair[1], text, 1) == 1 ? user_reads(pair[1]) : -EIO;
    for (uint32_t at = 0; at < session->now->load.bytes;) {
        ssize_t written = write(pair[0], text, session->now->load.bytes - at);
        if (written <= 0)
            return -EIO;
        at += (uint32_t)written;
    }
    return 0;
}

static int bare_turn(void *context, struct load_turn *turn)
{
    struct session *session = context;
    const bool typing = session->now->doing == TYPING;
    struct reader reader;
    session->pair[0] = session->pair[1] = -1;
    int r = open_pair(session->now->socket, session->pair);
    if (r == 0)
        r = reader_start(&reader, session->pair[typing ? 0 : 1], true, typing);
    if (r == 0) {
        r = load_repeat(turn, bare_once, session);
        r = reader_stop(&reader, r, turn->count * session->now->load.bytes);
    }
    close(session->pair[0]);
    close(session->pair[1]);
    return r;
}

/* ---- What is measured, and where the console is ---- */

#define TURNS .turn = guest_turn, .bare = bare_turn
/* What is promised for a write, or for a character with its echo. System calls are promised only
 * where several writes are under way: how long the worker polls between two writes, and so how
 * often it looks for events meanwhile, depends on the machine. */
#define ONE_MAX .kicks_max = 1.1, .interrupts_max = 1.1
#define SEVERAL_MAX .syscalls_max = 5, ONE_MAX
#define ECHO_MAX .kicks_max = 1.2, .interrupts_max = 2.1

static const struct console_load loads[] = {
    {{.name = "terminal, 16 B, spinning", .bytes = HVC_BYTES, .timed = true, TURNS, ONE_MAX},
     SPINNING,
     false},
    {{.name = "terminal, 4 KiB", .bytes = GUEST_CONSOLE_BUFFER, TURNS, ONE_MAX}, WRITING, false},
    {{.name = "terminal, 1 B and its echo", .bytes = 1, .timed = true, TURNS, ECHO_MAX},
     TYPING,
     false},
    {{.name = "socket, 16 B, spinning", .bytes = HVC_BYTES, .timed = true, TURNS, ONE_MAX},
     SPINNING,
     true},
    {{.name = "socket, 4 KiB", .bytes = GUEST_CONSOLE_BUFFER, TURNS, SEVERAL_MAX}, WRITING, true},
    {{.name = "socket, 1 B and its echo", .bytes = 1, .timed = true, TURNS, ECHO_MAX},
     TYPING,
     true},
};
#define LOADS (sizeof(loads) / sizeof(loads[0]))

/* A device model may leave it to its user to make the terminal raw. */
static int open_terminal(const char *path)
{
    struct termios raw;
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = tcgetattr(fd, &raw);
    cfmakeraw(&raw);
    if (r == 0)
        r = tcsetattr(fd, TCSANOW, &raw);
    if (r == 0)
        return fd;
    r = -errno;
    close(fd);
    return r;
}

static int open_user(const char *path, bool is_socket)
{
    if (!is_socket)
        return open_terminal(path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int start_driver(struct session *session, const struct model *model)
{
    *session = (struct session){.user = -1};
    guest_init(&session->console.guest, model->standin, 0, BENCH_BASE, BENCH_SHMEM,
               BENCH_SHMEM_SIZE);
    return guest_console_start(&session->console, GUEST_CONSOLE_FEATURES);
}

static void stop_driver(struct session *session, const struct model *model)
{
    if (model->standin)
        guest_console_free(&session->console);
    if (session->user > 0)
        close(session->user);
    session->user = -1;
}

/* When a character has come and gone, the device knows its user. */
static int start(struct session *session, const struct model *model, const char *path,
                 bool is_socket)
{
    int r = start_driver(session, model);
    if (r < 0)
        return r;
    session->user = open_user(path, is_socket);
    return session->user < 0 ? session->user : type_once(session);
}

/* ---- Another device model's console ---- */

struct peer {
    struct model model;
    struct session session;
    char dir[DIR_SIZE];
    bool known, socket; /* which of both its console is, as soon as it was up */
};

/* The name of a terminal, in what was written to the log from `from` on. */
static bool named_terminal(int log, off_t from, char ret[PATH_SIZE])
{
    static const char name[] = "/dev/pts/";
    char said[4096];
    const ssize_t length = pread(log, said, sizeof(said) - 1, from);
    said[length > 0 ? length : 0] = '\0';
    const char *at = strstr(said, name);
    const size_t digits = at ? strspn(at + strlen(name), "0123456789") : 0;
    if (digits == 0 || at[strlen(name) + digits] == '\0') /* more of it may follow */
        return false;
    snprintf(ret, PATH_SIZE, "%.*s", (int)(strlen(name) + digits), at);
    return true;
}

/* Its console is "console" in its folder, or the terminal that it names. It may make it only when
 * the driver is there. */
static int find_console(struct peer *peer, int log, off_t from, char ret[PATH_SIZE])
{
    const uint64_t end = bench_now_ns() + WAIT_MS * 1000000ull;
    struct stat status;
    for (; bench_now_ns() < end; usleep(1000)) {
        snprintf(ret, PATH_SIZE, "%s/console", peer->dir);
        const bool found = stat(ret, &status) == 0;
        if (!found && !named_terminal(log, from, ret))
            continue;
        peer->known = true;
        peer->socket = found && S_ISSOCK(status.st_mode);
        return 0;
    }
    return -ENOENT;
}

/* It need not take what is typed. So it knows its user when what is printed arrives. */
static int print_until_it_arrives(struct session *session)
{
    const uint64_t end = bench_now_ns() + WAIT_MS * 1000000ull;
    struct pollfd file = {.fd = session->user, .events = POLLIN};
    uint8_t bytes[256];
    int r = 0, arrived = 0;
    while (r == 0 && arrived == 0 && bench_now_ns() < end) {
        r = print_spinning(session, 1);
        arrived = poll(&file, 1, 100);
    }
    while (arrived > 0 && read(session->user, bytes, sizeof(bytes)) > 0)
        arrived = poll(&file, 1, 100);
    return r < 0 ? r : bench_now_ns() < end ? 0 : -ETIMEDOUT;
}

/* Not every device model can be used again after the driver's reset, so a peer starts anew for each
 * load. Returns 0 or -errno; -ENOTSUP if its console is of the other kind. */
static int start_peer(const struct bench *bench, int log, struct peer *peer, bool is_socket)
{
    char path[PATH_SIZE];
    const off_t from = lseek(log, 0, SEEK_END);
    snprintf(path, sizeof(path), "%s/peer.yaml", peer->dir);
    int r = side_copy_config(bench->peer_console_config, path, peer->dir);
    if (r == 0)
        r = model_start_program(bench, bench->peer, path, log, 1, &peer->model);
    unlink(path);
    if (r == 0)
        r = start_driver(&peer->session, &peer->model);
    if (r == 0)
        r = find_console(peer, log, from, path);
    if (r == 0 && peer->socket != is_socket)
        return -ENOTSUP;
    if (r == 0)
        r = peer->session.user = open_user(path, is_socket);
    if (r >= 0)
        r = print_until_it_arrives(&peer->session);
    if (r < 0)
        fprintf(stderr, "bench: the peer's console does not come up: %s\n", strerror(-r));
    return r;
}

static void stop_peer(struct peer *peer)
{
    char path[PATH_SIZE];
    stop_driver(&peer->session, &peer->model);
    (void)model_stop(&peer->model, 0); /* SIGTERM may end it in any way */
    snprintf(path, sizeof(path), "%s/console", peer->dir);
    unlink(path);
}

/* The check only wants to know that a peer can be measured. */
static bool is_for_peer(const struct bench *bench, const struct peer *peer,
                        const struct console_load *load)
{
    return bench->peer_console_config && (!peer->known || peer->socket == load->socket) &&
           (!bench->check || load == &loads[0]);
}

/* ---- Everything together ---- */

static int measure(struct bench *bench, int log, struct load_set *set, const struct load_side *ours,
                   struct peer *peer, const struct console_load *load)
{
    struct session *session = ours->context;
    struct load_side side = {0};
    const bool with_peer = is_for_peer(bench, peer, load);
    if (with_peer && start_peer(bench, log, peer, load->socket) == 0)
        side = (struct load_side){&peer->session, &peer->session.console.guest, &peer->model};
    session->now = peer->session.now = load;
    int r = load_run(bench, set, &load->load, ours, &side);
    if (with_peer)
        stop_peer(peer);
    return r;
}

static int run_kind(struct bench *bench, const char *dir, int log, struct load_set *set,
                    struct peer *peer, bool is_socket)
{
    static struct session session;
    char path[PATH_SIZE];
    struct model model;
    struct load_side ours = {&session, &session.console.guest, &model};
    snprintf(path, sizeof(path), "%s/console", dir);
    int r = model_start(
        bench, dir, log,
        is_socket ? "    type: console\n    data_plane: virtio\n    socket_path: @/console\n"
                  : "    type: console\n    data_plane: virtio\n    pty_alias: @/console\n",
        &model);
    if (r == 0)
        r = start(&session, &model, path, is_socket);
    for (unsigned int i = 0; r == 0 && i < LOADS; i++) {
        if (loads[i].socket == is_socket)
            r = measure(bench, log, set, &ours, peer, &loads[i]);
    }
    stop_driver(&session, &model);
    r = model_stop(&model, r);
    unlink(path);
    return r;
}

static int run(struct bench *bench, const char *dir, int log, struct load_set *set)
{
    static struct peer peer;
    snprintf(peer.dir, sizeof(peer.dir), "%s/peer-console", dir);
    int r = mkdir(peer.dir, 0755) < 0 ? -errno : 0;
    if (r == 0)
        r = run_kind(bench, dir, log, set, &peer, false);
    if (r == 0)
        r = run_kind(bench, dir, log, set, &peer, true);
    rmdir(peer.dir);
    return r;
}

struct load_set console_set = {
    .name = "console",
    .title = "console/virtio",
    .operation = "writes/s",
    .peers = true,
    .notes = "all but the rate: a write, or a character and its echo. 16 B: as\n"
             "Linux's console prints, one buffer at a time; 4 KiB: as a program writes to a port. "
             "bare:\n"
             "write to a pair of the same kind, by turns. Whoever reads shares the guest's "
             "processors.\n",
    .run = run,
};
