/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper hands to a service manager, and what it takes back: names, the environment,
 * records, and sets of files that are not as they should be. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/keeper/fd_names.h"
#include "broker/keeper/fd_store.h"
#include "broker/shared_page.h"
#include "common/state.h"
#include "tests/cunit_main.h"

#define QUEUES 2u
#define SET_FDS (STORE_QUEUE_FIRST + QUEUES)
#define DM_ID 3u

/* --- Records ---------------------------------------------------------------------------------- */

static struct store_record good_record(void)
{
    return (struct store_record){
        .magic = STORE_RECORD_MAGIC,
        .dm_id = DM_ID,
        .mmio_addr = 0xa003e00,
        .shmem_addr = 0x50000000,
        .shmem_size = 0x1000000,
        .queue_count = QUEUES,
        .commit = (uint64_t)STORE_RECORD_VERSION << 32 | 1,
    };
}

static void records_are_checked(void)
{
    struct store_record record = good_record();
    CU_ASSERT_TRUE(store_record_valid(&record, DM_ID));
    CU_ASSERT_FALSE(store_record_valid(&record, DM_ID + 1));
    record.commit = 0;
    CU_ASSERT_TRUE(store_record_valid(&record, DM_ID));
    record.commit = (uint64_t)(STORE_RECORD_VERSION + 1) << 32 | 7;
    CU_ASSERT_TRUE(store_record_valid(&record, DM_ID));
#define WRONG(member, value)                                                                       \
    record = good_record();                                                                        \
    record.member = (value);                                                                       \
    CU_ASSERT_FALSE(store_record_valid(&record, DM_ID))
    WRONG(magic, STATE_MAGIC);
    WRONG(queue_count, 0);
    WRONG(queue_count, STATE_QUEUES_MAX + 1);
    WRONG(queue_count, UINT32_MAX);
    WRONG(shmem_size, 0);
    WRONG(shmem_size, UINT64_MAX - 0x50000000 + 1);      /* it ends at 2^64 exactly */
    WRONG(commit, (uint64_t)STORE_RECORD_VERSION << 32); /* generation 0 */
    WRONG(commit, (uint64_t)STORE_RECORD_VERSION << 32 | UINT32_MAX);
#undef WRONG
}

/* All other versions rely on the layout. */
static void the_layout_of_a_record_is_fixed(void)
{
    CU_ASSERT_EQUAL(offsetof(struct store_record, magic), 0);
    CU_ASSERT_EQUAL(offsetof(struct store_record, dm_id), 8);
    CU_ASSERT_EQUAL(offsetof(struct store_record, kind), 12);
    CU_ASSERT_EQUAL(offsetof(struct store_record, mmio_addr), 16);
    CU_ASSERT_EQUAL(offsetof(struct store_record, shmem_addr), 24);
    CU_ASSERT_EQUAL(offsetof(struct store_record, shmem_size), 32);
    CU_ASSERT_EQUAL(offsetof(struct store_record, queue_count), 40);
    CU_ASSERT_EQUAL(offsetof(struct store_record, generation), 44);
    CU_ASSERT_EQUAL(offsetof(struct store_record, commit), 48);
    CU_ASSERT_EQUAL(STORE_RECORD_MAGIC, 0x64726f6365726221ull);
}

/* --- What is given back ---------------------------------------------------------------------- */

/* A file that is passed: its name, and a letter for its kind. */
struct given {
    const char *name;
    char kind; /* r, R: record, S: page, s: its size is not sealed, e: eventfd, m: DM file, p: pipe
                */
};

static int make_record_file(char kind)
{
    struct store_record record = good_record();
    if (kind == '0')
        record.commit = 0;
    if (kind == 'o')
        record.commit = (uint64_t)(STORE_RECORD_VERSION + 1) << 32 | 1;
    if (kind == 'b')
        record.magic++;
    int fd = shared_page_create("record", kind == 'l' ? 16 : STORE_RECORD_SIZE);
    (void)!pwrite(fd, &record, kind == 'l' ? 16 : sizeof(record), 0);
    return fd;
}

static int make_given(char kind)
{
    int fds[2];
    switch (kind) {
    case 'm':
        return memfd_create("dm", MFD_CLOEXEC);
    case 'e':
        return eventfd(0, EFD_CLOEXEC);
    case 'S':
        return shared_page_create("state", STATE_SIZE);
    case 's':
        return memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    case 'p':
        return pipe2(fds, O_CLOEXEC) < 0 ? -1 : fds[1];
    default:
        return make_record_file(kind);
    }
}

/* Runs in its own process, whose files from 3 on are these. Returns: the state of the one device's
 * set * 60 + its number of files; 255 if there is no set; 254 if fd_store_take failed. */
static int take(const struct given *given, size_t count)
{
    pid_t pid = fork();
    if (pid == 0) {
        char names[1024] = "", text[24];
        static struct fd_store store;
        struct notify notify = {.socket = -1};
        for (size_t i = 0; i < count; i++) {
            int fd = make_given(given[i].kind);
            fcntl(fd, F_DUPFD, 100 + (int)i);
        }
        for (size_t i = 0; i < count; i++) {
            dup2(100 + (int)i, LISTEN_FDS_FIRST + (int)i);
            snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i > 0 ? ":" : "",
                     given[i].name);
        }
        snprintf(text, sizeof(text), "%d", (int)getpid());
        setenv("LISTEN_PID", text, 1);
        snprintf(text, sizeof(text), "%zu", count);
        setenv("LISTEN_FDS", text, 1);
        setenv("LISTEN_FDNAMES", names, 1);
        close(STDERR_FILENO);
        store.notify = &notify;
        int taken = fd_store_take(&store);
        if (taken <= 0)
            _exit(taken < 0 ? 254 : 255);
        const struct stored_set *set = &store.sets[DM_ID];
        for (size_t i = 0; i < set->fd_count; i++) {
            if (fcntl(set->fds[i], F_GETFD) != FD_CLOEXEC)
                _exit(253);
        }
        _exit((int)(set->message.condition * 60 + set->fd_count));
    }
    int status;
    CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_TRUE_FATAL(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RESULT(condition, fds) ((condition)*60 + (int)(fds))
#define NOTHING 255

static const struct given whole[] = {
    {"device-3-queue-1", 'e'}, {"device-3-journal-1", 'S'}, {"device-3-irq", 'e'},
    {"device-3-record", 'r'},  {"device-3-request", 'e'},   {"device-3-dm", 'm'},
    {"device-3-queue-0", 'e'}, {"device-3-reply", 'e'},     {"device-3-state-1", 'S'},
    {"device-3-call", 'e'},
};
#define WHOLE (sizeof(whole) / sizeof(whole[0]))

/* The whole set, except that one file has another name (NULL: it is left out) or another kind (0:
 * the same). */
static int take_but(const char *one, const char *name, char kind)
{
    struct given given[WHOLE];
    size_t count = 0;
    for (size_t i = 0; i < WHOLE; i++) {
        given[count] = whole[i];
        if (strcmp(whole[i].name, one) == 0) {
            if (!name)
                continue;
            given[count].name = name;
            given[count].kind = kind ? kind : whole[i].kind;
        }
        count++;
    }
    return take(given, count);
}

static void a_whole_set_is_taken(void)
{
    CU_ASSERT_EQUAL(take(whole, WHOLE), RESULT(STORE_WHOLE, SET_FDS));
    CU_ASSERT_EQUAL(take(NULL, 0), NOTHING);
}

static void a_set_without_its_record_or_dm_file(void)
{
    CU_ASSERT_EQUAL(take_but("device-3-record", NULL, 0), RESULT(STORE_UNUSABLE, 1));
    CU_ASSERT_EQUAL(take_but("device-3-record", "device-3-record", 'b'), RESULT(STORE_UNUSABLE, 1));
    CU_ASSERT_EQUAL(take_but("device-3-record", "device-3-record", 'l'), RESULT(STORE_UNUSABLE, 1));
    CU_ASSERT_EQUAL(take_but("device-3-record", "device-3-record", 'e'), RESULT(STORE_UNUSABLE, 1));
    CU_ASSERT_EQUAL(take_but("device-3-record", "device-3-record", 's'), RESULT(STORE_UNUSABLE, 1));
    CU_ASSERT_EQUAL(take_but("device-3-dm", NULL, 0), NOTHING);
    CU_ASSERT_EQUAL(take_but("device-3-dm", "device-3-dm", 'e'), RESULT(STORE_UNUSABLE, 1));
    CU_ASSERT_EQUAL(take_but("device-3-dm", "device-3-dm", 'S'), RESULT(STORE_UNUSABLE, 1));
}

static void a_set_that_lacks_something(void)
{
    for (size_t i = 0; i < WHOLE; i++) {
        if (strcmp(whole[i].name, "device-3-dm") == 0)
            continue;
        CU_ASSERT_EQUAL(take_but(whole[i].name, NULL, 0), RESULT(STORE_UNUSABLE, 1));
        CU_ASSERT_EQUAL(take_but(whole[i].name, "device-3-dm", 'm'), RESULT(STORE_UNUSABLE, 1));
        CU_ASSERT_EQUAL(take_but(whole[i].name, "somebody's", 'p'), RESULT(STORE_UNUSABLE, 1));
        CU_ASSERT_EQUAL(take_but(whole[i].name, whole[i].name, 'p'), RESULT(STORE_UNUSABLE, 1));
    }
    CU_ASSERT_EQUAL(take_but("device-3-state-1", "device-3-state-2", 0), RESULT(STORE_UNUSABLE, 1));
    CU_ASSERT_EQUAL(take_but("device-3-state-1", "device-3-state-1", 's'),
                    RESULT(STORE_UNUSABLE, 1));
    CU_ASSERT_EQUAL(take_but("device-3-queue-1", "device-3-queue-0", 0), RESULT(STORE_UNUSABLE, 1));
}

static void what_a_kill_left_is_no_harm(void)
{
    struct given given[WHOLE + 3];
    memcpy(given, whole, sizeof(whole));
    given[WHOLE] = (struct given){"device-3-state-2", 'S'};
    given[WHOLE + 1] = (struct given){"device-3-journal-2", 'S'};
    given[WHOLE + 2] = (struct given){"somebody's", 'p'};
    CU_ASSERT_EQUAL(take(given, WHOLE + 3), RESULT(STORE_WHOLE, SET_FDS));
    for (size_t i = 0; i < WHOLE; i++) {
        if (given[i].kind == 'r')
            given[i].kind = '0'; /* not committed: only the DM file counts */
    }
    CU_ASSERT_EQUAL(take(given, WHOLE + 3), RESULT(STORE_DM_ONLY, 1));
    CU_ASSERT_EQUAL(take_but("device-3-record", "device-3-record", '0'), RESULT(STORE_DM_ONLY, 1));
}

static void another_version_is_told(void)
{
    CU_ASSERT_EQUAL(take_but("device-3-record", "device-3-record", 'o'),
                    RESULT(STORE_OTHER_VERSION, SET_FDS));
    /* Version 1 had no gate, and so no eventfd "call": a new one is made. */
    struct given given[WHOLE];
    size_t count = 0;
    for (size_t i = 0; i < WHOLE; i++) {
        if (strcmp(whole[i].name, "device-3-call") == 0)
            continue;
        given[count] = whole[i];
        if (given[count].kind == 'r')
            given[count].kind = 'o';
        count++;
    }
    CU_ASSERT_EQUAL(take(given, count), RESULT(STORE_OTHER_VERSION, SET_FDS));
}

/* --- What is stored -------------------------------------------------------------------------- */

static int pair[2];
static struct notify manager;
static struct fd_store store;
static int sent[SET_FDS];

static struct message_store message_of(uint32_t fd_count)
{
    return (struct message_store){
        .dm_id = DM_ID,
        .mmio_addr = 0xa003e00,
        .shmem_size = 0x1000,
        .fd_count = fd_count,
        .generation = BAO_C,
    };
}

static void make_set(void)
{
    for (uint32_t i = 0; i < SET_FDS; i++)
        sent[i] = make_given(i == STORE_DM ? 'm' : fd_name_is_page(i) ? 'S' : 'e');
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

    int dm = store.sets[DM_ID].fds[STORE_DM], irq = store.sets[DM_ID].fds[STORE_IRQ];
    make_set();
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    STORES("state-2");
    STORES("journal-2");
    REMOVES("state-1");
    REMOVES("journal-1");
    CU_ASSERT_STRING_EQUAL(next_message(), "-");
    CU_ASSERT_EQUAL(store.sets[DM_ID].record->commit, (uint64_t)STORE_RECORD_VERSION << 32 | 2);
    CU_ASSERT_EQUAL(store.sets[DM_ID].record->generation, BAO_C);
    /* The first DM file and the first eventfds stay. The copies are closed. */
    CU_ASSERT_EQUAL(store.sets[DM_ID].fds[STORE_DM], dm);
    CU_ASSERT_EQUAL(store.sets[DM_ID].fds[STORE_IRQ], irq);
    CU_ASSERT(fcntl(dm, F_GETFD) >= 0 && fcntl(sent[STORE_DM], F_GETFD) < 0);
    CU_ASSERT_EQUAL(store.sets[DM_ID].fds[STORE_STATE], sent[STORE_STATE]);
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
    CU_ASSERT(set->fds[STORE_DM] == dm && fcntl(dm, F_GETFD) >= 0);
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
    CU_ASSERT_TRUE(fd_store_put(&store, &message, sent, SET_FDS));
    CU_ASSERT_TRUE(is_stored(clock_ms() + STORE_PATIENCE_MS, &wait));
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
    CU_TestInfo take_tests[] = {
        {"records are checked", records_are_checked},
        {"the layout of a record is fixed", the_layout_of_a_record_is_fixed},
        {"a whole set is taken", a_whole_set_is_taken},
        {"a set without its record or DM file", a_set_without_its_record_or_dm_file},
        {"a set that lacks something", a_set_that_lacks_something},
        {"what a kill left is no harm", what_a_kill_left_is_no_harm},
        {"another version is told", another_version_is_told},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo store_tests[] = {
        {"sets are stored in order", sets_are_stored_in_order},
        {"a set left half stored is stored anew", a_set_left_half_stored_is_stored_anew},
        {"what no broker stores is refused", what_no_broker_stores_is_refused},
        {"a stuck manager gets all later", a_stuck_manager_gets_all_later},
        {"patience with a stuck manager ends", patience_with_a_stuck_manager_ends},
        {"a broker that died waiting", a_broker_that_died_waiting},
        {"the queue is bounded", the_queue_is_bounded},
        {"without a service manager nothing is said", without_a_service_manager_nothing_is_said},
        {"a mapping keeps a page claimed", a_mapping_keeps_a_page_claimed},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"taking", NULL, NULL, NULL, NULL, take_tests},
        {"storing", NULL, NULL, NULL, NULL, store_tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
