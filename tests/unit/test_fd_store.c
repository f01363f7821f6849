/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper hands to a service manager, in which order, and whether it waits for it. */
#include "tests/unit/fd_store_under_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "broker/clock.h"
#include "broker/keeper/fd_names.h"
#include "common/one_fd.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

/* --- What is stored -------------------------------------------------------------------------- */

static int pair[2];
static struct notify manager;
static struct fd_store store;
static int sent[SET_FDS + 1]; /* the last one is no part of the set */
static struct said said;

WRAPPED(int, memfd_create, (const char *name, unsigned int flags), (name, flags))
WRAPPED(void *, mmap, (void *address, size_t size, int protection, int flags, int fd, off_t offset),
        (address, size, protection, flags, fd, offset))

static struct message_store message_of(uint32_t fd_count)
{
    return (struct message_store){
        .dm_id = DM_ID,
        .kind = 4,
        .mmio_addr = 0xa003e00,
        .shmem_addr = 0x50000000,
        .shmem_size = 0x1000,
        .fd_count = fd_count,
        .generation = BAO_C,
    };
}

static void make_set(void)
{
    for (uint32_t i = 0; i < SET_FDS; i++)
        sent[i] = make_given(i == STORE_DM ? 'm' : fd_name_is_page(i) ? 'S' : 'e');
    if (sent[SET_FDS] == 0)
        sent[SET_FDS] = make_given('e');
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int open_store(void)
{
    /* Our end blocks, as in a real service manager. */
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0 ||
        fcntl(pair[1], F_SETFL, O_NONBLOCK) < 0)
        return -1;
    memset(&store, 0, sizeof(store));
    manager = (struct notify){.socket = pair[0]};
    store.notify = &manager;
    return 0;
}

/* The next message, its lines joined by blanks; "-" if there is none. */
static const char *next_message(void)
{
    static char text[256];
    ssize_t length = recv(pair[1], text, sizeof(text) - 1, 0);
    if (length < 0)
        return "-";
    text[length] = '\0';
    for (char *at = text; *at; at++)
        *at = *at == '\n' ? ' ' : *at;
    return text;
}

#define STORES(name)                                                                               \
    CU_ASSERT_STRING_EQUAL(next_message(), "FDSTORE=1 FDPOLL=0 FDNAME=device-3-" name)
#define REMOVES(name)                                                                              \
    CU_ASSERT_STRING_EQUAL(next_message(), "FDSTOREREMOVE=1 FDNAME=device-3-" name)

static void sets_are_stored_in_order(void)
{
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    struct message_store message = message_of(SET_FDS);
    said_begin(&said, STDERR_FILENO);
    make_set();
    CU_ASSERT_FALSE(fd_store_outlives(&store));
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    CU_ASSERT_TRUE(fd_store_outlives(&store));
    STORES("record");
    STORES("dm");
    STORES("request");
    STORES("reply");
    STORES("call");
    STORES("irq");
    STORES("queue-0");
    STORES("queue-1");
    STORES("state-1");
    STORES("journal-1");
    CU_ASSERT_STRING_EQUAL(next_message(), "-");
    CU_ASSERT_EQUAL(store.sets[DM_ID].record->commit, (uint64_t)STORE_RECORD_VERSION << 32 | 1);

    const struct store_record *record = store.sets[DM_ID].record;
    CU_ASSERT_TRUE(store_record_valid(record, DM_ID));
    CU_ASSERT(record->mmio_addr == 0xa003e00 && record->shmem_addr == 0x50000000);
    CU_ASSERT(record->shmem_size == 0x1000 && record->queue_count == QUEUES);
    CU_ASSERT(record->kind == 4 && record->generation == BAO_C);

    int dm = store.sets[DM_ID].fds[STORE_DM], irq = store.sets[DM_ID].fds[STORE_IRQ];
    int state = store.sets[DM_ID].fds[STORE_STATE];
    make_set();
    message.kind = 5; /* another version calls it so */
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    STORES("state-2");
    STORES("journal-2");
    REMOVES("state-1");
    REMOVES("journal-1");
    CU_ASSERT_STRING_EQUAL(next_message(), "-");
    CU_ASSERT_EQUAL(store.sets[DM_ID].record->commit, (uint64_t)STORE_RECORD_VERSION << 32 | 2);
    CU_ASSERT_EQUAL(record->kind, 5);
    /* The first DM file and the first eventfds stay. The copies are closed. */
    CU_ASSERT_EQUAL(store.sets[DM_ID].fds[STORE_DM], dm);
    CU_ASSERT_EQUAL(store.sets[DM_ID].fds[STORE_IRQ], irq);
    CU_ASSERT(fcntl(dm, F_GETFD) >= 0 && fcntl(sent[STORE_DM], F_GETFD) < 0);
    CU_ASSERT_EQUAL(store.sets[DM_ID].fds[STORE_STATE], sent[STORE_STATE]);
    CU_ASSERT_FALSE(is_open(state));
    CU_ASSERT(store.sets[DM_ID].fds[SET_FDS] == 0 && is_open(sent[SET_FDS]));
    CU_ASSERT_STRING_EQUAL(said_end(&said), "");
}

/* The inode of the file that came with the next message. */
static ino_t next_file(void)
{
    union one_fd room;
    char text[256];
    struct stat status = {0};
    int fd = -1;
    struct iovec iov = {text, sizeof(text)};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = room.buffer,
                            .msg_controllen = sizeof(room)};
    CU_ASSERT_FATAL(recvmsg(pair[1], &header, MSG_CMSG_CLOEXEC) > 0 && header.msg_controllen > 0);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
    CU_ASSERT_EQUAL_FATAL(fstat(fd, &status), 0);
    close(fd);
    return status.st_ino;
}

static void each_name_comes_with_its_file(void)
{
    static const uint32_t order[] = {
        STORE_DM,          STORE_REQUEST,         STORE_REPLY, STORE_CALL,   STORE_IRQ,
        STORE_QUEUE_FIRST, STORE_QUEUE_FIRST + 1, STORE_STATE, STORE_JOURNAL};
    struct stat status;
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    struct message_store message = message_of(SET_FDS);
    for (uint32_t i = 0; i < SET_FDS; i++)
        sent[i] = make_given('m'); /* eventfds have all the same inode */
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    (void)next_file(); /* the record */
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        CU_ASSERT_EQUAL_FATAL(fstat(sent[order[i]], &status), 0);
        CU_ASSERT_EQUAL(next_file(), status.st_ino);
    }
    CU_ASSERT_STRING_EQUAL(next_message(), "-");
}

static void a_set_left_half_stored_is_stored_anew(void)
{
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    struct message_store message = message_of(SET_FDS);
    struct store_record record = good_record();
    record.commit = 0;
    struct stored_set *set = &store.sets[DM_ID];
    *set = (struct stored_set){.fd_count = 1, .message = message, .record = &record};
    set->message.condition = STORE_DM_ONLY;
    set->fds[STORE_DM] = make_given('m');
    int dm = set->fds[STORE_DM];
    make_set();
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    STORES("request");
    STORES("reply");
    STORES("call");
    STORES("irq");
    STORES("queue-0");
    STORES("queue-1");
    STORES("state-1");
    STORES("journal-1");
    CU_ASSERT_STRING_EQUAL(next_message(), "-");
    CU_ASSERT_EQUAL(record.commit, (uint64_t)STORE_RECORD_VERSION << 32 | 1);
    CU_ASSERT(set->fds[STORE_DM] == dm && is_open(dm) && !is_open(sent[STORE_DM]));
    for (size_t i = 1; i < SET_FDS; i++)
        CU_ASSERT(set->fds[i] == sent[i] && is_open(sent[i]));
    CU_ASSERT_TRUE(is_open(0)); /* there was nothing else to close */
    CU_ASSERT_EQUAL(set->message.condition, STORE_WHOLE);
}

static void what_no_broker_stores_is_refused(void)
{
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    make_set();
    struct message_store message = message_of(SET_FDS);
    CU_ASSERT_FALSE(fd_store_put(&store, &message, sent, SET_FDS - 1));
    message.dm_id = BAO_DEVICES_MAX;
    CU_ASSERT_FALSE(fd_store_put(&store, &message, sent, SET_FDS));
    message = message_of(STORE_QUEUE_FIRST);
    CU_ASSERT_FALSE(fd_store_put(&store, &message, sent, STORE_QUEUE_FIRST));
    message = message_of(SET_FDS);
    message.condition = STORE_DM_ONLY;
    CU_ASSERT_FALSE(fd_store_put(&store, &message, sent, SET_FDS));
    message.condition = STORE_WHOLE;
    message.generation = BAO_GENERATIONS;
    CU_ASSERT_FALSE(fd_store_put(&store, &message, sent, SET_FDS));
    message.generation = BAO_D;
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    int first[SET_FDS];
    memcpy(first, sent, sizeof(first));
    make_set();
    message.fd_count = SET_FDS - 1; /* another number of queues */
    CU_ASSERT_FALSE(fd_store_put(&store, &message, sent, SET_FDS - 1));
    store.sets[DM_ID].message.condition = STORE_UNUSABLE;
    message.fd_count = SET_FDS;
    CU_ASSERT_FALSE(fd_store_put(&store, &message, sent, SET_FDS));
    for (uint32_t i = 0; i < SET_FDS; i++)
        CU_ASSERT(fcntl(first[i], F_GETFD) >= 0 && fcntl(sent[i], F_GETFD) >= 0);
}

static void the_number_of_queues_has_bounds(void)
{
    int files[STORE_QUEUE_FIRST + STATE_QUEUES_MAX + 1];
    const uint32_t most = STORE_QUEUE_FIRST + STATE_QUEUES_MAX;
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    for (uint32_t i = 0; i <= most; i++)
        files[i] = make_given(i == STORE_DM ? 'm' : fd_name_is_page(i) ? 'S' : 'e');
    struct message_store message = message_of(most + 1);
    CU_ASSERT_FALSE(fd_store_put(&store, &message, files, most + 1));
    message.fd_count = most;
    CU_ASSERT_TRUE(fd_store_put(&store, &message, files, most));
    CU_ASSERT_EQUAL(store.sets[DM_ID].record->queue_count, STATE_QUEUES_MAX);
    message = message_of(STORE_QUEUE_FIRST + 1);
    message.dm_id = 0;
    make_set();
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, STORE_QUEUE_FIRST + 1));
}

/* A line for each of these names, until NULL. */
static const char *lines(const char *format, const char *const *names)
{
    static char text[4096];
    text[0] = '\0';
    for (; *names; names++) {
        char line[256];
        snprintf(line, sizeof(line), format, *names);
        strcat(strcat(strcat(text, "bao-virtio-dm: "), line), "\n");
    }
    return text;
}

static void what_can_t_be_handed_over_is_told(void)
{
    static const char lost[] = "can't hand device-3-%s to the service manager: Transport endpoint "
                               "is not connected: device 3 does not outlive this process";
    static const char remains[] = "can't have the service manager forget device-3-%s: Transport "
                                  "endpoint is not connected";
    static const char *const first[] = {"record", "dm",      "request", "reply",     "call",
                                        "irq",    "queue-0", "state-1", "journal-1", NULL};
    static const char *const second[] = {"state-2", "journal-2", NULL};
    static const char *const old[] = {"state-1", "journal-1", NULL};
    struct message_store message = message_of(STORE_QUEUE_FIRST + 1);
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    manager.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* it leads to nobody */
    make_set();
    said_begin(&said, STDERR_FILENO);
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, STORE_QUEUE_FIRST + 1));
    CU_ASSERT_STRING_EQUAL(said_end(&said), lines(lost, first));
    make_set();
    said_begin(&said, STDERR_FILENO);
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, STORE_QUEUE_FIRST + 1));
    const char *both = said_end(&said);
    const size_t length = strlen(lines(lost, second));
    CU_ASSERT_EQUAL(strncmp(both, lines(lost, second), length), 0);
    CU_ASSERT_STRING_EQUAL(both + length, lines(remains, old));
    store.claims = sent[SET_FDS];
    said_begin(&said, STDERR_FILENO);
    fd_store_keep_claims(&store);
    CU_ASSERT_STRING_EQUAL(said_end(&said), "bao-virtio-dm: can't hand claims to the service "
                                            "manager: Transport endpoint is not connected\n");
}

static void without_a_record(const char *call, int error)
{
    char words[256];
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    struct message_store message = message_of(SET_FDS);
    make_set();
    unsigned int files = fd_count();
    said_begin(&said, STDERR_FILENO);
    fail_once(call, error, 0);
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    snprintf(words, sizeof(words),
             "bao-virtio-dm: can't make a record for the service manager: %s: device 3 does not "
             "outlive this process\n",
             strerror(error));
    CU_ASSERT_STRING_EQUAL(said_end(&said), words);
    CU_ASSERT_STRING_EQUAL(next_message(), "-");
    CU_ASSERT_EQUAL(fd_count(), files);
    CU_ASSERT_FALSE(store.sets[DM_ID].uncommitted);
    make_set(); /* the next time there is one */
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    STORES("record");
    STORES("dm");
    STORES("request");
    CU_ASSERT_EQUAL(store.sets[DM_ID].record->commit, (uint64_t)STORE_RECORD_VERSION << 32 | 2);
}

static void a_record_that_can_t_be_made_is_told(void)
{
    without_a_record("memfd_create", EMFILE);
    without_a_record("mmap", ENOMEM);
}

static void a_record_may_have_the_number_0(void)
{
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    struct message_store message = message_of(SET_FDS);
    make_set();
    unsigned int files = fd_count();
    gives_0 = "memfd_create";
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    STORES("record");
    take_0_back();
    CU_ASSERT_EQUAL(fd_count(), files);
}

static void the_claims_are_handed_over_once(void)
{
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    store.claims = -1;
    fd_store_keep_claims(&store);
    CU_ASSERT_STRING_EQUAL(next_message(), "-"); /* there are none */
    store.claims = 0;                            /* any file may be it */
    manager.socket = -1;
    fd_store_keep_claims(&store);
    manager.socket = pair[0];
    CU_ASSERT_STRING_EQUAL(next_message(), "-"); /* there is nobody */
    said_begin(&said, STDERR_FILENO);
    fd_store_keep_claims(&store);
    fd_store_keep_claims(&store);
    CU_ASSERT_STRING_EQUAL(said_end(&said), "");
    CU_ASSERT_STRING_EQUAL(next_message(), "FDSTORE=1 FDPOLL=0 FDNAME=claims");
    CU_ASSERT_STRING_EQUAL(next_message(), "-");
}

static void any_device_may_outlive_us(void)
{
    static const uint32_t ids[] = {0, BAO_DEVICES_MAX - 1};
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(open_store(), 0);
        store.kept[0].present = true; /* that can be opened again */
        CU_ASSERT_FALSE(fd_store_outlives(&store));
        store.sets[ids[i]].fd_count = 1; /* the DM file is enough */
        CU_ASSERT_TRUE(fd_store_outlives(&store));
        manager.socket = -1;
        CU_ASSERT_FALSE(fd_store_outlives(&store));
    }
}

static void without_a_service_manager_nothing_is_said(void)
{
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    manager.socket = -1;
    make_set();
    struct message_store message = message_of(SET_FDS);
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    CU_ASSERT_STRING_EQUAL(next_message(), "-");
    CU_ASSERT_FALSE(fd_store_outlives(&store));
    CU_ASSERT_PTR_NULL(store.sets[DM_ID].record);
}

/* --- A manager that is stuck ----------------------------------------------------------------- */

/* Fill the manager's socket until it takes no more. Returns how many messages are before ours. */
static unsigned int fill(void)
{
    unsigned int count = 0;
    while (send(pair[0], "STATUS=filling", 14, MSG_DONTWAIT) == 14)
        count++;
    return count;
}

static void drain(unsigned int count)
{
    while (count-- > 0)
        CU_ASSERT_STRING_EQUAL(next_message(), "STATUS=filling");
}

/* The manager's socket has room again: the rest of the queue is sent, one after the other. */
#define STORES_LATER(name)                                                                         \
    notify_flush(&manager);                                                                        \
    STORES(name)

static uint64_t commit_now(void)
{
    return store.sets[DM_ID].record->commit;
}

static bool is_stored(int64_t now, int *ret_wait)
{
    uint32_t device = 77;
    return fd_store_next_stored(&store, now, &device, ret_wait) && device == 5;
}

static void all_later(void)
{
    STORES_LATER("record");
    STORES_LATER("dm");
    STORES_LATER("request");
    STORES_LATER("reply");
    STORES_LATER("call");
    STORES_LATER("irq");
    STORES_LATER("queue-0");
    STORES_LATER("queue-1");
    STORES_LATER("state-1");
    notify_flush(&manager);
}

/* Nobody waits. STORED and the commit come when everything has been sent, and not before. */
static void a_stuck_manager_gets_all_later(void)
{
    int wait;
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    struct message_store message = message_of(SET_FDS);
    message.header.device = 5;
    make_set();
    unsigned int before = fill();
    alarm(20);
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    CU_ASSERT_TRUE(notify_waits(&manager) && manager.polls);
    CU_ASSERT_EQUAL(commit_now(), 0);
    CU_ASSERT_FALSE(is_stored(clock_ms(), &wait));
    CU_ASSERT(wait > 0 && wait <= STORE_PATIENCE_MS);
    drain(before);
    all_later();
    alarm(0);
    CU_ASSERT_FALSE(notify_waits(&manager));
    CU_ASSERT_TRUE(is_stored(clock_ms(), &wait));
    CU_ASSERT_EQUAL(commit_now(), (uint64_t)STORE_RECORD_VERSION << 32 | 1);
    CU_ASSERT_FALSE(is_stored(clock_ms(), &wait)); /* it is told once */
    CU_ASSERT_EQUAL(wait, -1);
    STORES("journal-1");
}

/* The guests wait, too, so the manager's time is bounded. What it has not yet received comes later
 * nevertheless. */
static void patience_with_a_stuck_manager_ends(void)
{
    int wait;
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    struct message_store message = message_of(SET_FDS);
    message.header.device = 5;
    make_set();
    unsigned int before = fill();
    said_begin(&said, STDERR_FILENO);
    const int64_t earliest = clock_ms() + STORE_PATIENCE_MS;
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    const int64_t end = store.sets[DM_ID].patience;
    CU_ASSERT(end >= earliest && end <= clock_ms() + STORE_PATIENCE_MS);
    CU_ASSERT_FALSE(is_stored(end - 1, &wait));
    CU_ASSERT_EQUAL(wait, 1);
    CU_ASSERT_TRUE(is_stored(end, &wait));
    CU_ASSERT_STRING_EQUAL(said_end(&said),
                           "bao-virtio-dm: the service manager does not take the files of device "
                           "3: until it does, the device does not outlive this process\n");
    CU_ASSERT_EQUAL(commit_now(), (uint64_t)STORE_RECORD_VERSION << 32 | 1);
    drain(before);
    all_later();
    STORES_LATER("journal-1");
}

/* The next broker registers the set. So no keeper may think that nobody has registered it. */
static void a_broker_that_died_waiting(void)
{
    int wait;
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    struct message_store message = message_of(SET_FDS);
    make_set();
    (void)fill();
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    CU_ASSERT_EQUAL(commit_now(), 0);
    fd_store_broker_gone(&store);
    CU_ASSERT_EQUAL(commit_now(), (uint64_t)STORE_RECORD_VERSION << 32 | 1);
    CU_ASSERT_FALSE(is_stored(clock_ms() + STORE_PATIENCE_MS, &wait));
}

static void the_first_of_several_ends_the_wait(void)
{
    static const int64_t ends[][2] = {{7000, 6000}, {6000, 7000}};
    struct message_store message = message_of(SET_FDS);
    for (size_t i = 0; i < 2; i++) {
        uint32_t device;
        int wait;
        CU_ASSERT_EQUAL_FATAL(open_store(), 0);
        (void)fill();
        for (uint32_t j = 0; j < 2; j++) {
            message.dm_id = j == 0 ? 0 : BAO_DEVICES_MAX - 1;
            make_set();
            CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
            store.sets[message.dm_id].patience = ends[i][j];
        }
        CU_ASSERT_FALSE(fd_store_next_stored(&store, 5000, &device, &wait));
        CU_ASSERT_EQUAL(wait, 1000);
        fd_store_broker_gone(&store);
        CU_ASSERT(!store.sets[0].uncommitted && !store.sets[BAO_DEVICES_MAX - 1].uncommitted);
        CU_ASSERT(!store.sets[0].untold && !store.sets[BAO_DEVICES_MAX - 1].untold);
        CU_ASSERT_FALSE(fd_store_next_stored(&store, 5000, &device, &wait));
        CU_ASSERT_EQUAL(wait, -1);
    }
}

static void the_first_and_the_last_device_are_told(void)
{
    struct message_store message = message_of(SET_FDS);
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    memset(store.kept, 1, sizeof(store.kept)); /* it is no set */
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t device = 77;
        int wait;
        message.dm_id = i == 0 ? 0 : BAO_DEVICES_MAX - 1;
        message.header.device = 5;
        make_set();
        CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
        CU_ASSERT_TRUE(fd_store_next_stored(&store, 0, &device, &wait));
        CU_ASSERT_EQUAL(device, 5);
        CU_ASSERT_FALSE(fd_store_next_stored(&store, 0, &device, &wait));
        CU_ASSERT_EQUAL(wait, -1);
    }
}

static void the_queue_is_bounded(void)
{
    CU_ASSERT_EQUAL_FATAL(open_store(), 0);
    unsigned int before = fill(), taken = 0;
    for (unsigned int i = 0; i < 5000; i++) /* of several states, the last one is enough */
        CU_ASSERT_EQUAL(notify_say(&manager, "STATUS=%u", i), 0);
    CU_ASSERT_EQUAL(manager.taken - manager.gone, 1);
    while (notify_remove(&manager, "device-3-dm") == 0)
        taken++;
    CU_ASSERT_EQUAL(taken, NOTIFY_QUEUE - 1);
    CU_ASSERT_EQUAL(notify_remove(&manager, "device-3-dm"), -ENOBUFS);
    drain(before);
    notify_flush(&manager);
    CU_ASSERT_STRING_EQUAL(next_message(), "STATUS=4999");
    for (unsigned int i = 0; i < taken; i++) {
        notify_flush(&manager);
        REMOVES("dm");
    }
    CU_ASSERT_FALSE(notify_waits(&manager));
}

/* --- The lock of a state page ---------------------------------------------------------------- */

static void a_mapping_keeps_a_page_claimed(void)
{
    int page = shared_page_create("state", STATE_SIZE);
    CU_ASSERT_FATAL(page >= 0);
    int first = shared_page_claim(page);
    CU_ASSERT(first >= 0);
    CU_ASSERT_EQUAL(shared_page_claim(page), -EWOULDBLOCK);
    void *mapping = shared_page_map(first, STATE_SIZE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mapping);
    close(first);
    CU_ASSERT_EQUAL(shared_page_claim(page),
                    -EWOULDBLOCK); /* nobody has the fd, but the page is mapped */
    munmap(mapping, STATE_SIZE);
    int second = shared_page_claim(page);
    CU_ASSERT(second >= 0);
    close(second);
    close(page);
}

int main(int argc, char **argv)
{
    CU_TestInfo store_tests[] = {
        {"sets are stored in order", sets_are_stored_in_order},
        {"each name comes with its file", each_name_comes_with_its_file},
        {"a set left half stored is stored anew", a_set_left_half_stored_is_stored_anew},
        {"what no broker stores is refused", what_no_broker_stores_is_refused},
        {"the number of queues has bounds", the_number_of_queues_has_bounds},
        {"what can't be handed over is told", what_can_t_be_handed_over_is_told},
        {"a record that can't be made is told", a_record_that_can_t_be_made_is_told},
        {"a record may have the number 0", a_record_may_have_the_number_0},
        {"the claims are handed over once", the_claims_are_handed_over_once},
        {"any device may outlive us", any_device_may_outlive_us},
        {"the first of several ends the wait", the_first_of_several_ends_the_wait},
        {"the first and the last are told", the_first_and_the_last_device_are_told},
        {"a stuck manager gets all later", a_stuck_manager_gets_all_later},
        {"patience with a stuck manager ends", patience_with_a_stuck_manager_ends},
        {"a broker that died waiting", a_broker_that_died_waiting},
        {"the queue is bounded", the_queue_is_bounded},
        {"without a service manager nothing is said", without_a_service_manager_nothing_is_said},
        {"a mapping keeps a page claimed", a_mapping_keeps_a_page_claimed},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"storing", NULL, NULL, NULL, NULL, store_tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
