/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker does with its START message and the files that come with it, function by function
 * (worker/start.h). test_start.c has the whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/box.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "worker/ring.h"
#include "worker/start.h"

#define WINDOW_SIZE 0x10000u
#define PRIORITY_MAX 99u

/* ---- In front of the calls ---- */

static struct {
    int result;      /* of message_receive */
    uint16_t type;   /* of the message */
    int wrong_fd;    /* the index of the fd that has another number; -1: none */
    size_t fd_count; /* SIZE_MAX: as many as there have to be */
    short revents;
    unsigned int polls;
} broker;
static struct message_start sent;

static struct {
    unsigned int affinities, schedulers, rings;
    cpu_set_t processors;
    int policy, priority;
    bool writes;
    uint64_t ring_processors;
} asked;

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    CU_ASSERT(count == 1 && fds->fd == WORKER_FD_CONTROL && fds->events == POLLIN && timeout == -1);
    broker.polls++;
    if (call_fails("poll"))
        return -1;
    fds->revents = broker.revents;
    return 1;
}

int __wrap_message_receive(int socket, enum message_role sender, union message *ret, int *fds,
                           size_t *ret_fd_count);
int __wrap_message_receive(int socket, enum message_role sender, union message *ret, int *fds,
                           size_t *ret_fd_count)
{
    CU_ASSERT(socket == WORKER_FD_CONTROL && sender == ROLE_BROKER);
    ret->start = sent;
    ret->header.type = broker.type;
    const size_t needed = start_fd_count(&sent) + 2 - WORKER_FD_REQUEST;
    *ret_fd_count = broker.fd_count == SIZE_MAX ? needed : broker.fd_count;
    for (size_t i = 0; i < MESSAGE_FDS_MAX; i++)
        fds[i] = WORKER_FD_REQUEST + (int)i + ((int)i == broker.wrong_fd);
    return broker.result;
}

int __wrap_sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set);
int __wrap_sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set)
{
    CU_ASSERT(pid == 0 && size == sizeof(*set));
    asked.affinities++;
    asked.processors = *set;
    return call_fails("sched_setaffinity") ? -1 : 0;
}

int __wrap_sched_setscheduler(pid_t pid, int policy, const struct sched_param *param);
int __wrap_sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
    CU_ASSERT_EQUAL(pid, 0);
    asked.schedulers++;
    asked.policy = policy;
    asked.priority = param->sched_priority;
    return call_fails("sched_setscheduler") ? -1 : 0;
}

int __wrap_ring_open(bool writes, uint64_t processors);
int __wrap_ring_open(bool writes, uint64_t processors)
{
    asked.rings++;
    asked.writes = writes;
    asked.ring_processors = processors;
    return call_fails("ring_open") ? -errno : 0;
}

WRAPPED(void *, mmap, (void *at, size_t length, int prot, int flags, int fd, off_t offset),
        (at, length, prot, flags, fd, offset))
WRAPPED(int, madvise, (void *at, size_t length, int advice), (at, length, advice))
WRAPPED(int, fstat, (int fd, struct stat *ret), (fd, ret))

static void good(enum device_kind kind)
{
    const struct device_kind_info *info = &device_kinds[kind];
    memset(&asked, 0, sizeof(asked));
    memset(&broker, 0, sizeof(broker));
    broker.result = 1;
    broker.type = MSG_START;
    broker.wrong_fd = -1;
    broker.fd_count = SIZE_MAX;
    broker.revents = POLLIN;
    sent = (struct message_start){
        .header = {.type = MSG_START, .device = 3},
        .name = "a worker",
        .kind = kind,
        .uid = WORKER_UID_MIN,
        .queue_size_max = 256,
        .queue_count = info->queue_count,
        .backend_fd_count = info->backend_fd_count,
        .shmem_addr = 0x50000000,
        .shmem_size = WINDOW_SIZE,
    };
}

/* ---- The message ---- */

static int receive(void)
{
    struct message_start ret;
    return start_receive(&ret);
}

static void test_it_waits_for_the_message(void)
{
    struct message_start ret;
    good(DEVICE_RNG_VIRTIO);
    fail_once("poll", EINTR, 0);
    CU_ASSERT_EQUAL(start_receive(&ret), 0);
    CU_ASSERT_EQUAL(broker.polls, 2);
    CU_ASSERT_EQUAL(memcmp(&ret, &sent, sizeof(ret)), 0);
    fail_once("poll", ENOMEM, 0);
    CU_ASSERT_EQUAL(receive(), -ENOMEM);
    broker.revents = POLLNVAL;
    CU_ASSERT_EQUAL(receive(), -EBADF);
    broker.revents = POLLIN | POLLHUP;
    CU_ASSERT_EQUAL(receive(), 0);
    broker.result = 0;
    CU_ASSERT_EQUAL(receive(), -EPIPE);
    broker.result = -EPROTO;
    CU_ASSERT_EQUAL(receive(), -EPROTO);
    broker.result = 1;
    broker.type = MSG_CONNECTION;
    CU_ASSERT_EQUAL(receive(), -EPROTO);
}

#define TRY(field, value, expected)                                                                \
    do {                                                                                           \
        good(DEVICE_RNG_VIRTIO);                                                                   \
        sent.field = (value);                                                                      \
        CU_ASSERT_EQUAL(receive(), expected);                                                      \
    } while (0)

static void test_fields_up_to_their_bounds(void)
{
    TRY(uid, WORKER_UID_MIN - 1, -EINVAL);
    TRY(uid, (uid_t)-1, -EINVAL);
    TRY(uid, (uid_t)-2, 0);
    TRY(sched_priority, PRIORITY_MAX, 0);
    TRY(sched_priority, PRIORITY_MAX + 1, -EINVAL);
    TRY(queue_count, 0, -EINVAL);
    TRY(shmem_size, 4096, 0);
    TRY(shmem_size, 2048, -EINVAL);
    TRY(shmem_size, 4097, -EINVAL);
    TRY(shmem_addr, 4096, 0);
    TRY(shmem_addr, 2048, -EINVAL);
    TRY(shmem_size, (uint64_t)PTRDIFF_MAX + 1, -EINVAL);
    TRY(shmem_size, (uint64_t)PTRDIFF_MAX + 1 - 4096, 0);
    TRY(name[0], 0, -EINVAL);
    good(DEVICE_RNG_VIRTIO);
    memset(sent.name, 'x', sizeof(sent.name));
    CU_ASSERT_EQUAL(receive(), -EINVAL);
    sent.name[sizeof(sent.name) - 1] = 0;
    CU_ASSERT_EQUAL(receive(), 0);
    /* What is not usable is returned all the same: its header says for which device it was. */
    struct message_start ret = {.uid = 1};
    sent.uid = 0;
    CU_ASSERT_EQUAL(start_receive(&ret), -EINVAL);
    CU_ASSERT(ret.uid == 0 && ret.header.device == 3);
}

static void test_files_have_their_numbers(void)
{
    good(DEVICE_BLOCK_VIRTIO);
    sent.of_kind.block = (struct start_block){.capacity = 8, .blk_size = 512};
    const size_t needed = start_fd_count(&sent) + 2 - WORKER_FD_REQUEST;
    CU_ASSERT_EQUAL(needed, 7); /* three of all devices, the image, a queue, the page, the window */
    CU_ASSERT_EQUAL(receive(), 0);
    broker.fd_count = needed - 1;
    CU_ASSERT_EQUAL(receive(), -EPROTO);
    broker.fd_count = needed + 1;
    CU_ASSERT_EQUAL(receive(), -EPROTO);
    broker.fd_count = needed;
    for (broker.wrong_fd = 0; broker.wrong_fd < (int)needed; broker.wrong_fd++)
        CU_ASSERT_EQUAL(receive(), -EPROTO);
    CU_ASSERT_EQUAL(receive(), 0);
}

/* ---- Files ---- */

static void put(int fd, int number)
{
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(dup2(fd, number), number);
    if (fd != number)
        close(fd);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Every number below this one is taken. */
static void take_below(int end)
{
    for (int fd = 3; fd < end; fd++) {
        if (!is_open(fd))
            put(fcntl(0, F_DUPFD_CLOEXEC, fd), fd);
    }
}

static void close_from(int first)
{
    close_range((unsigned int)first, 200, 0);
}

static int memory(size_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    CU_ASSERT_EQUAL(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat file;
    return __real_fstat(fd, &file) < 0 ? -1 : file.st_size;
}

static void test_boxes_are_opened_in_place(void)
{
    good(DEVICE_NET_VIRTIO);
    sent.backend_fd_count = 3;
    for (uint32_t boxed = 0; boxed < 8; boxed++) {
        take_below(WORKER_FD_BACKEND);
        for (int i = 0; i < 3; i++) {
            int file = memory(1000 + (size_t)i, 0), box = box_make(file);
            CU_ASSERT_FATAL(box >= 0);
            put((boxed & 1u << i) != 0 ? box : fcntl(file, F_DUPFD_CLOEXEC, 100),
                WORKER_FD_BACKEND + i);
            if ((boxed & 1u << i) == 0)
                close(box);
            if (file < WORKER_FD_BACKEND || file > WORKER_FD_BACKEND + i)
                close(file);
        }
        close_from(WORKER_FD_BACKEND + 3);
        sent.boxed = boxed;
        CU_ASSERT_EQUAL(start_open_boxes(&sent), 0);
        for (int i = 0; i < 3; i++)
            CU_ASSERT_EQUAL(size_of(WORKER_FD_BACKEND + i), 1000 + i);
        CU_ASSERT_FALSE(is_open(WORKER_FD_BACKEND + 3));
        close_from(3);
    }
}

static void test_boxes_that_can_t_be_opened(void)
{
    good(DEVICE_BLOCK_VIRTIO);
    sent.boxed = 1;
    take_below(WORKER_FD_BACKEND);
    CU_ASSERT_EQUAL(start_open_boxes(&sent), -EBADF); /* there is no file */
    put(memory(5, 0), WORKER_FD_BACKEND);
    CU_ASSERT_EQUAL(start_open_boxes(&sent), -EPROTO); /* it is no box */
    close_from(3);
    /* A lower number is free, so the file does not come to its place. */
    take_below(WORKER_FD_BACKEND);
    int file = memory(5, 0), box = box_make(file);
    put(box, WORKER_FD_BACKEND + 1);
    put(fcntl(WORKER_FD_BACKEND + 1, F_DUPFD_CLOEXEC, 100), WORKER_FD_BACKEND);
    close(WORKER_FD_BACKEND - 1);
    CU_ASSERT_EQUAL(start_open_boxes(&sent), -EPROTO);
    close_from(3);
}

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* The page and its number. */
static int map_state(size_t size, int seals, struct state_page **ret)
{
    take_below((int)start_fd_count(&sent));
    put(memory(size, seals), (int)start_fd_count(&sent));
    return start_map_state(&sent, ret);
}

static void test_the_state_page(void)
{
    struct state_page *state = NULL;
    good(DEVICE_RNG_VIRTIO);
    const int number = (int)start_fd_count(&sent);
    CU_ASSERT_EQUAL(map_state(STATE_SIZE, SEALS, &state), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    CU_ASSERT_FALSE(is_open(number));
    CU_ASSERT_FALSE(is_open(WORKER_FD_RING)); /* only a ring has a mark */
    state->magic = 5;
    ((unsigned char *)state)[STATE_SIZE - 1] = 5; /* all of it can be written */
    CU_ASSERT_EQUAL(munmap(state, STATE_SIZE), 0);
    CU_ASSERT_EQUAL(map_state(STATE_SIZE, SEALS | F_SEAL_SEAL, &state), 0);
    CU_ASSERT_EQUAL(munmap(state, STATE_SIZE), 0);
    static const int seals[] = {0, F_SEAL_SHRINK, F_SEAL_GROW};
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(map_state(STATE_SIZE, seals[i], &state), -EPERM);
    CU_ASSERT_EQUAL(map_state(STATE_SIZE + 1, SEALS, &state), -EINVAL);
    CU_ASSERT_EQUAL(map_state(STATE_SIZE - 1, SEALS, &state), -EINVAL);
    fail_once("mmap", ENOMEM, 0);
    CU_ASSERT_EQUAL(map_state(STATE_SIZE, SEALS, &state), -ENOMEM);
    fail_once("fstat", EIO, 0);
    CU_ASSERT_EQUAL(map_state(STATE_SIZE, SEALS, &state), -EIO);
    close_from(number);
    CU_ASSERT_EQUAL(start_map_state(&sent, &state), -EBADF);
    close_from(3);
}

/* The mark is another open file of the same page, at the ring's number: for one digit and two. */
static void test_the_mark_of_a_ring(void)
{
    struct state_page *state = NULL;
    good(DEVICE_BLOCK_URING);
    for (sent.queue_count = 1; sent.queue_count < 4; sent.queue_count++) {
        const int number = (int)start_fd_count(&sent);
        CU_ASSERT_EQUAL(map_state(STATE_SIZE, SEALS, &state), 0);
        CU_ASSERT_FALSE(is_open(number));
        CU_ASSERT_EQUAL(size_of(WORKER_FD_RING), STATE_SIZE);
        CU_ASSERT_EQUAL(fcntl(WORKER_FD_RING, F_GETFL) & O_ACCMODE, O_RDWR);
        CU_ASSERT_EQUAL(fcntl(WORKER_FD_RING, F_GETFD), FD_CLOEXEC);
        CU_ASSERT_EQUAL(munmap(state, STATE_SIZE), 0);
        /* The number is taken already: by the mark of before. */
        CU_ASSERT_EQUAL(map_state(STATE_SIZE, SEALS, &state), -EBUSY);
        close_from(3);
    }
    sent.backend_fd_count = 0; /* the page has number 9 */
    sent.queue_count = 1;
    CU_ASSERT_EQUAL(map_state(STATE_SIZE, SEALS, &state), 0);
    CU_ASSERT_EQUAL(size_of(WORKER_FD_RING), STATE_SIZE);
    CU_ASSERT_EQUAL(munmap(state, STATE_SIZE), 0);
    close_from(3);
}

static void test_the_window(void)
{
    void *window = NULL;
    good(DEVICE_RNG_VIRTIO);
    const int number = (int)start_fd_count(&sent) + 1;
    put(memory(WINDOW_SIZE, 0), number);
    CU_ASSERT_EQUAL(start_map_window(&sent, &window), 0);
    CU_ASSERT_FALSE(is_open(number));
    memset(window, 1, WINDOW_SIZE);
    CU_ASSERT_EQUAL(munmap(window, WINDOW_SIZE), 0);
    CU_ASSERT_EQUAL(start_map_window(&sent, &window), -EBADF);
    put(memory(WINDOW_SIZE - 1, 0), number);
    CU_ASSERT_EQUAL(start_map_window(&sent, &window), -ENXIO);
    put(memory(WINDOW_SIZE + 1, 0), number);
    fail_once("mmap", EPERM, 0);
    CU_ASSERT_EQUAL(start_map_window(&sent, &window), -EPERM);
    fail_once("madvise", EIO, 0);
    CU_ASSERT_EQUAL(start_map_window(&sent, &window), -EIO);
    /* A file that has no size is not short. */
    put(open("/dev/zero", O_RDWR | O_CLOEXEC), number);
    CU_ASSERT_EQUAL(start_map_window(&sent, &window), 0);
    CU_ASSERT_EQUAL(munmap(window, WINDOW_SIZE), 0);
    close_from(3);
}

/* ---- Free numbers ---- */

static void test_free_numbers_are_filled(void)
{
    static const struct {
        enum device_kind kind;
        int end;
    } kinds[] = {{DEVICE_RNG_VIRTIO, 0},
                 {DEVICE_BLOCK_URING, WORKER_FD_RING},
                 {DEVICE_CONSOLE_SOCKET, WORKER_FD_CONNECTION},
                 {DEVICE_VSOCK_VIRTIO, WORKER_FD_CONNECTION}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        good(kinds[i].kind);
        const int first = (int)start_fd_count(&sent);
        take_below(first);
        CU_ASSERT_EQUAL(start_fill_fds(&sent), 0);
        for (int fd = first; fd < 80; fd++)
            CU_ASSERT_EQUAL(is_open(fd), fd < kinds[i].end);
        if (kinds[i].end > 0)
            CU_ASSERT_EQUAL(start_fill_fds(&sent), -EBUSY);
        close_from(3);
    }
    good(DEVICE_VSOCK_VIRTIO);
    free_0();
    CU_ASSERT_EQUAL(start_fill_fds(&sent), -EBADF);
    take_0_back();
    close_from(3);
}

static void test_what_each_number_is(void)
{
    static const enum fd_kind first[] = {FD_NULL,  FD_NULL,  SANDBOX_STDERR, FD_SOCKET,
                                         FD_EPOLL, FD_EVENT, FD_EVENT,       FD_EVENT};
    enum fd_kind kinds[WORKER_FD_CONNECTION + 2];
    for (enum device_kind kind = 0; kind < DEVICE_KINDS; kind++) {
        good(kind);
        const unsigned int kicks = WORKER_FD_BACKEND + sent.backend_fd_count;
        const unsigned int count = worker_fd_count(&sent);
        CU_ASSERT_FATAL(count <= WORKER_FD_CONNECTION);
        memset(kinds, 0xff, sizeof(kinds));
        const enum fd_kind nothing = kinds[0];
        start_fd_kinds(&sent, kinds);
        CU_ASSERT_EQUAL(memcmp(kinds, first, sizeof(first)), 0);
        for (unsigned int fd = WORKER_FD_BACKEND; fd < count; fd++) {
            enum fd_kind expected = fd < kicks                      ? FD_BACKEND
                                    : fd < kicks + sent.queue_count ? FD_EVENT
                                                                    : FD_NULL;
            if (device_kinds[kind].ring && fd == WORKER_FD_RING)
                expected = FD_RING;
            CU_ASSERT_EQUAL(kinds[fd], expected);
        }
        CU_ASSERT_EQUAL(kinds[count], nothing);
    }
}

static void test_how_many_files_may_be_open(void)
{
    good(DEVICE_RNG_VIRTIO);
    CU_ASSERT_EQUAL(start_fd_limit(&sent), 0);
    good(DEVICE_CONSOLE_SOCKET);
    sent.of_kind.vsock.connections = 1000; /* this kind has no such number */
    CU_ASSERT_EQUAL(start_fd_limit(&sent), WORKER_FD_CONNECTION + CONNECTION_FDS_MIN);
    good(DEVICE_VSOCK_VIRTIO);
    static const struct {
        uint32_t connections;
        unsigned int numbers;
    } limits[] = {{1, 64}, {63, 64}, {64, 65}, {1024, 1025}};
    for (size_t i = 0; i < 4; i++) {
        sent.of_kind.vsock.connections = limits[i].connections;
        CU_ASSERT_EQUAL(start_fd_limit(&sent), WORKER_FD_CONNECTION + limits[i].numbers);
    }
}

/* ---- Processors, the ring, the size of files ---- */

static void test_processors_and_priority(void)
{
    good(DEVICE_RNG_VIRTIO);
    CU_ASSERT_EQUAL(start_schedule(&sent), 0);
    CU_ASSERT(asked.affinities == 0 && asked.schedulers == 0);
    sent.processors = 1ull << 0 | 1ull << 5 | 1ull << 63;
    CU_ASSERT_EQUAL(start_schedule(&sent), 0);
    CU_ASSERT(asked.affinities == 1 && asked.schedulers == 0);
    CU_ASSERT_EQUAL(CPU_COUNT(&asked.processors), 3);
    CU_ASSERT(CPU_ISSET(0, &asked.processors) && CPU_ISSET(5, &asked.processors) &&
              CPU_ISSET(63, &asked.processors));
    fail_once("sched_setaffinity", EINVAL, 0);
    CU_ASSERT_EQUAL(start_schedule(&sent), -EINVAL);
    sent.processors = 0;
    sent.sched_priority = 7;
    CU_ASSERT_EQUAL(start_schedule(&sent), 0);
    CU_ASSERT(asked.affinities == 2 && asked.schedulers == 1);
    CU_ASSERT(asked.policy == SCHED_FIFO && asked.priority == 7);
    fail_once("sched_setscheduler", EPERM, 0);
    CU_ASSERT_EQUAL(start_schedule(&sent), -EPERM);
}

static void test_which_ring_is_made(void)
{
    good(DEVICE_BLOCK_VIRTIO);
    CU_ASSERT_EQUAL(start_open_ring(&sent), 0);
    CU_ASSERT_EQUAL(asked.rings, 0);
    for (unsigned int i = 0; i < 4; i++) {
        good(DEVICE_BLOCK_URING);
        sent.of_kind.block.direct = i % 2;
        sent.of_kind.block.read_only = i >= 2;
        sent.processors = i;
        CU_ASSERT_EQUAL(start_open_ring(&sent), 0);
        CU_ASSERT_EQUAL(asked.rings, 1);
        CU_ASSERT_EQUAL(asked.writes, i == 1);
        CU_ASSERT_EQUAL(asked.ring_processors, i);
    }
    fail_once("ring_open", ENOMEM, 0);
    CU_ASSERT_EQUAL(start_open_ring(&sent), -ENOMEM);
}

/* Only some kinds write files, or measure what they are given. */
static void test_how_far_a_file_is_written(void)
{
    good(DEVICE_RNG_VIRTIO);
    const struct message_start before = sent;
    CU_ASSERT_EQUAL(start_file_size_max(&sent), 0);
    start_measure(&sent);
    CU_ASSERT_EQUAL(memcmp(&sent, &before, sizeof(sent)), 0);
    good(DEVICE_CONSOLE_VIRTIO);
    sent.of_kind.console = (struct start_console){.ports = 1, .files = 1, .log_size = 12345};
    CU_ASSERT_EQUAL(start_file_size_max(&sent), 12345);
    good(DEVICE_BLOCK_VIRTIO);
    sent.of_kind.block = (struct start_block){.capacity = 1, .blk_size = 512};
    take_below(WORKER_FD_BACKEND);
    put(memory(0x4000, 0), WORKER_FD_BACKEND);
    start_measure(&sent);
    CU_ASSERT_EQUAL(sent.of_kind.block.capacity, 0x4000 / 512);
    close_from(3);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it waits for the message", test_it_waits_for_the_message},
        {"fields up to their bounds", test_fields_up_to_their_bounds},
        {"files have their numbers", test_files_have_their_numbers},
        {"boxes are opened in place", test_boxes_are_opened_in_place},
        {"boxes that can't be opened", test_boxes_that_can_t_be_opened},
        {"the state page", test_the_state_page},
        {"the mark of a ring", test_the_mark_of_a_ring},
        {"the window", test_the_window},
        {"free numbers are filled", test_free_numbers_are_filled},
        {"what each number is", test_what_each_number_is},
        {"how many files may be open", test_how_many_files_may_be_open},
        {"processors and priority", test_processors_and_priority},
        {"which ring is made", test_which_ring_is_made},
        {"how far a file is written", test_how_far_a_file_is_written},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "START, function by function", tests);
}
