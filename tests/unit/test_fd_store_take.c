/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper takes back from a service manager: the environment, records, sets of files that
 * are not as they should be, and what was left over. Each time a process of its own takes it. */
#include "tests/unit/fd_store_under_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "broker/keeper/fd_names.h"
#include "common/eventfd.h"
#include "tests/cunit_main.h"
#include "tests/unit/said.h"

/* --- Records ---------------------------------------------------------------------------------- */

static void records_are_checked(void)
{
    struct store_record record = good_record();
    CU_ASSERT_TRUE(store_record_valid(&record, DM_ID));
    CU_ASSERT_FALSE(store_record_valid(&record, DM_ID + 1));
#define RIGHT(member, value)                                                                       \
    record = good_record();                                                                        \
    record.member = (value);                                                                       \
    CU_ASSERT_TRUE(store_record_valid(&record, DM_ID))
    RIGHT(commit, 0);
    RIGHT(commit, (uint64_t)(STORE_RECORD_VERSION + 1) << 32 | 7);
    RIGHT(commit, (uint64_t)STORE_RECORD_VERSION << 32 | (UINT32_MAX - 1));
    RIGHT(queue_count, 1);
    RIGHT(queue_count, STATE_QUEUES_MAX);
    RIGHT(shmem_size, 1);
    RIGHT(shmem_size, UINT64_MAX - 0x50000000);
#undef RIGHT
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

/* --- Taking ----------------------------------------------------------------------------------- */

/* A file that is passed: its name, and a letter for its kind. */
struct given {
    const char *name;
    char kind; /* fd_store_under_test.h; and x: a text, k: a page of `opened`, f: a file, u: a file
                  that was removed, n: /dev/null, d: a directory, U: a socket */
};

/* What has become of it, in memory of both processes. */
static struct taken {
    int result;
    struct fd_store store; /* no pointer in it is one of this process */
    char said[2048];
    char told[2048];    /* to the service manager, with blanks */
    unsigned int still; /* bit i: given[i] is open, */
    bool inherited;     /* and one of them would be inherited */
    unsigned int records;
    uint64_t counter; /* of the eventfd "call", if it does not block */
} * taken;

static struct message_opened opened;

static struct listen { /* NULL: as it should be */
    const char *pid, *fds;
    bool nameless;
    int closed;  /* this file is not there; 0: all are */
    bool claims; /* there are some */
    bool without_0;
} environment;

static int make_any(char kind)
{
    char path[] = "/tmp/fd-store-XXXXXX";
    int fd;
    switch (kind) {
    case 'x':
        return shared_page_of_text("text", "abc", 3);
    case 'k':
        return shared_page_of_text("opened", &opened, sizeof(opened));
    case 'n':
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case 'U':
        return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    case 'd':
        return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    case 'f':
        return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    case 'u':
        fd = mkostemp(path, O_CLOEXEC);
        unlink(path);
        return fd;
    default:
        return make_given(kind);
    }
}

static void pass(const struct given *given, size_t count)
{
    char names[1024] = "", text[24];
    for (size_t i = 0; i < count; i++) {
        int fd = make_any(given[i].kind);
        if (fcntl(fd, F_DUPFD, 100 + (int)i) != 100 + (int)i)
            abort();
    }
    for (size_t i = 0; i < count; i++) {
        if (dup2(100 + (int)i, LISTEN_FDS_FIRST + (int)i) < 0)
            abort();
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i > 0 ? ":" : "",
                 given[i].name);
    }
    close_range(LISTEN_FDS_FIRST + (unsigned int)count, 199, 0);
    if (environment.closed > 0)
        close(environment.closed);
    if (environment.without_0)
        close(0);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("LISTEN_PID", environment.pid ? environment.pid : text, 1);
    snprintf(text, sizeof(text), "%zu", count);
    setenv("LISTEN_FDS", environment.fds ? environment.fds : text, 1);
    setenv("LISTEN_FDNAMES", names, 1);
    if (environment.nameless)
        unsetenv("LISTEN_FDNAMES");
}

static unsigned int mapped_records(void)
{
    unsigned int count = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof(line), maps))
        count += strstr(line, "memfd:record") != NULL;
    if (maps)
        fclose(maps);
    return count;
}

static void hear(int manager)
{
    char text[256];
    ssize_t length;
    while ((length = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
        text[length] = '\0';
        for (char *at = text; *at; at++)
            *at = *at == '\n' ? ' ' : *at;
        strcat(strcat(taken->told, text), "\n");
    }
}

static _Noreturn void take_in_child(const struct given *given, size_t count)
{
    static struct said said;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0 || dup2(pair[0], 201) < 0 ||
        dup2(pair[1], 202) < 0)
        abort();
    said_begin(&said, STDERR_FILENO);
    said.kept = dup2(said.kept, 203);
    said.file = dup2(said.file, 204);
    pass(given, count);
    static struct notify notify = {.socket = 201};
    /* It has been used for something else before. */
    memset(&taken->store, 0x5a, sizeof(taken->store));
    memset(taken->store.sets, 0, sizeof(taken->store.sets));
    memset(taken->store.kept, 0, sizeof(taken->store.kept));
    taken->store.claims_kept = !environment.claims;
    taken->store.notify = &notify;
    taken->result = fd_store_take(&taken->store);
    hear(202);
    for (unsigned int i = 0; i < count; i++) {
        int flags = fcntl(LISTEN_FDS_FIRST + (int)i, F_GETFD);
        taken->still |= flags >= 0 ? 1u << i : 0;
        taken->inherited |= flags == 0;
    }
    taken->records = mapped_records();
    const int call = taken->store.sets[DM_ID].fds[STORE_CALL];
    if ((fcntl(call, F_GETFL) & O_NONBLOCK) != 0 && fcntl(call, F_GETFD) == FD_CLOEXEC)
        taken->counter = eventfd_drain(call);
    strcpy(taken->said, said_end(&said));
    _exit(0);
}

static void takes(const struct given *given, size_t count)
{
    int status;
    memset(taken, 0, sizeof(*taken));
    taken->counter = 77;
    pid_t pid = fork();
    if (pid == 0)
        take_in_child(given, count);
    CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL_FATAL(status, 0);
}

static const struct stored_set *set_of(uint32_t dm_id)
{
    return &taken->store.sets[dm_id];
}

static void has_set(size_t fd_count, enum store_condition condition)
{
    CU_ASSERT_EQUAL(taken->result, 1);
    CU_ASSERT_EQUAL(set_of(DM_ID)->fd_count, fd_count);
    CU_ASSERT_EQUAL(set_of(DM_ID)->message.condition, condition);
    CU_ASSERT_EQUAL(set_of(DM_ID)->message.dm_id, DM_ID);
    CU_ASSERT_FALSE(taken->inherited);
}

static void has_nothing(void)
{
    CU_ASSERT_EQUAL(taken->result, 0);
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++)
        CU_ASSERT_EQUAL(set_of((uint32_t)i)->fd_count, 0);
}

static const struct given whole[] = {
    {"device-3-queue-1", 'e'}, {"device-3-journal-1", 'S'}, {"device-3-irq", 'e'},
    {"device-3-record", 'r'},  {"device-3-request", 'e'},   {"device-3-dm", 'm'},
    {"device-3-queue-0", 'e'}, {"device-3-reply", 'e'},     {"device-3-state-1", 'S'},
    {"device-3-call", 'e'},
};
#define WHOLE (sizeof(whole) / sizeof(whole[0]))
#define DM_FD (LISTEN_FDS_FIRST + 5)

/* The whole set, except that one file has another name (NULL: it is left out) or another kind (0:
 * the same). */
static void takes_but(const char *one, const char *name, char kind)
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
    takes(given, count);
}

static void a_whole_set_is_taken(void)
{
    static const int numbers[SET_FDS] = {8, 11, 4, 7, 10, 12, 5, 9, 3};
    const struct store_record record = good_record();
    takes(whole, WHOLE);
    has_set(SET_FDS, STORE_WHOLE);
    const struct message_store *message = &set_of(DM_ID)->message;
    CU_ASSERT_EQUAL(message->kind, record.kind);
    CU_ASSERT_EQUAL(message->mmio_addr, record.mmio_addr);
    CU_ASSERT_EQUAL(message->shmem_addr, record.shmem_addr);
    CU_ASSERT_EQUAL(message->shmem_size, record.shmem_size);
    CU_ASSERT_EQUAL(message->fd_count, SET_FDS);
    CU_ASSERT_EQUAL(message->generation, record.generation);
    CU_ASSERT_EQUAL(set_of(DM_ID)->generation, 1);
    for (size_t i = 0; i < SET_FDS; i++)
        CU_ASSERT_EQUAL(set_of(DM_ID)->fds[i], numbers[i]);
    CU_ASSERT_STRING_EQUAL(
        taken->said, "bao-virtio-dm: taken over from the service manager: the files of 1 device\n");
    CU_ASSERT_STRING_EQUAL(taken->told, "");
    CU_ASSERT_EQUAL(taken->still, (1u << WHOLE) - 1);
    CU_ASSERT_EQUAL(taken->records, 1);
    CU_ASSERT(taken->store.config == -1 && taken->store.config_generation == 0);
    CU_ASSERT(taken->store.claims == -1 && !taken->store.claims_kept);
    takes(NULL, 0);
    has_nothing();
    CU_ASSERT_STRING_EQUAL(taken->said, "");
    CU_ASSERT(taken->store.config == -1 && taken->store.claims == -1);
}

static void the_first_and_the_last_device(void)
{
    static const struct given given[] = {{"device-15-dm", 'm'}, {"device-0-dm", 'm'}};
    takes(given, 2);
    CU_ASSERT_EQUAL(taken->result, 2);
    CU_ASSERT(set_of(0)->fd_count == 1 && set_of(0)->fds[STORE_DM] == 4);
    CU_ASSERT(set_of(15)->fd_count == 1 && set_of(15)->fds[STORE_DM] == 3);
    CU_ASSERT_STRING_EQUAL(
        taken->said,
        "bao-virtio-dm: taken over from the service manager: the files of 2 devices\n");
}

static void a_set_without_its_record_or_dm_file(void)
{
    static const char kinds[] = "blLes+-";
    takes_but("device-3-record", NULL, 0);
    has_set(1, STORE_UNUSABLE);
    for (const char *kind = kinds; *kind; kind++) {
        takes_but("device-3-record", "device-3-record", *kind);
        has_set(1, STORE_UNUSABLE);
        CU_ASSERT_EQUAL(set_of(DM_ID)->fds[STORE_DM], DM_FD);
        CU_ASSERT_EQUAL(taken->records, 0);
    }
    takes_but("device-3-dm", "device-3-dm", 'e');
    has_set(1, STORE_UNUSABLE);
    takes_but("device-3-dm", "device-3-dm", 'S');
    has_set(1, STORE_UNUSABLE);
}

static void files_without_a_dm_file_are_forgotten(void)
{
    static const struct given given[] = {{"device-3-queue-0", 'e'},
                                         {"device-4-dm", 'm'},
                                         {"device-3-record", 'r'},
                                         {"device-3-opened", 'x'}};
    takes(given, 4);
    CU_ASSERT_EQUAL(taken->result, 1);
    CU_ASSERT(set_of(DM_ID)->fd_count == 0 && set_of(4)->fd_count == 1);
    CU_ASSERT_STRING_EQUAL(
        taken->said,
        "bao-virtio-dm: what the service manager kept of device 3 has no DM file: not used\n"
        "bao-virtio-dm: taken over from the service manager: the files of 1 device\n");
    CU_ASSERT_STRING_EQUAL(taken->told, "FDSTOREREMOVE=1 FDNAME=device-3-opened\n"
                                        "FDSTOREREMOVE=1 FDNAME=device-3-record\n"
                                        "FDSTOREREMOVE=1 FDNAME=device-3-queue-0\n");
    CU_ASSERT_EQUAL(taken->still, 1u << 1);
}

/* Which one counts, nobody knows. Neither is closed. */
static void two_dm_files_stand_for_one_device(void)
{
    static const struct given given[] = {{"device-4-dm", 'm'},
                                         {"device-3-irq", 'e'},
                                         {"device-3-dm", 'm'},
                                         {"device-3-dm", 'm'},
                                         {"device-3-record", 'r'}};
    takes(given, 5);
    CU_ASSERT_EQUAL(taken->result, 2);
    CU_ASSERT(set_of(DM_ID)->fd_count == 1 && set_of(DM_ID)->fds[STORE_DM] == 5);
    CU_ASSERT_EQUAL(set_of(DM_ID)->message.condition, STORE_UNUSABLE);
    CU_ASSERT_EQUAL(taken->still, (1u << 5) - 1);
}

static void a_set_that_lacks_something(void)
{
    for (size_t i = 0; i < WHOLE; i++) {
        if (strcmp(whole[i].name, "device-3-dm") == 0)
            continue;
        const char *const names[] = {NULL, "device-3-dm", "somebody's", whole[i].name};
        const char kinds[] = {0, 'm', 'p', 'p'};
        for (size_t j = 0; j < 4; j++) {
            takes_but(whole[i].name, names[j], kinds[j]);
            has_set(1, STORE_UNUSABLE);
        }
    }
    takes_but("device-3-state-1", "device-3-state-2", 0);
    has_set(1, STORE_UNUSABLE);
    for (const char *kind = "s+-"; *kind; kind++) {
        takes_but("device-3-state-1", "device-3-state-1", *kind);
        has_set(1, STORE_UNUSABLE);
    }
    takes_but("device-3-queue-1", "device-3-queue-0", 0);
    has_set(1, STORE_UNUSABLE);
    takes_but("device-3-irq", "device-3-irq", 't'); /* its name in /proc has the same length */
    has_set(1, STORE_UNUSABLE);
}

/* --- What is left over ------------------------------------------------------------------------ */

static void what_a_kill_left_is_no_harm(void)
{
    struct given given[WHOLE + 4];
    given[0] = (struct given){"device-3-state-2", 'S'};
    memcpy(given + 1, whole, sizeof(whole));
    given[WHOLE + 1] = (struct given){"device-3-journal-2", 'S'};
    given[WHOLE + 2] = (struct given){"somebody's", 'p'};
    given[WHOLE + 3] = (struct given){"device-4-dm", 'm'};
    takes(given, WHOLE + 4);
    CU_ASSERT_EQUAL(taken->result, 2);
    CU_ASSERT_EQUAL(set_of(DM_ID)->fd_count, SET_FDS);
    CU_ASSERT_EQUAL(set_of(DM_ID)->message.condition, STORE_WHOLE);
    CU_ASSERT_STRING_EQUAL(taken->told, "FDSTOREREMOVE=1 FDNAME=device-3-journal-2\n"
                                        "FDSTOREREMOVE=1 FDNAME=device-3-state-2\n");
    CU_ASSERT_EQUAL(taken->still, ((1u << (WHOLE + 4)) - 1) & ~(1u | 1u << (WHOLE + 1)));
    CU_ASSERT_STRING_EQUAL(
        taken->said,
        "bao-virtio-dm: the service manager passed 1 files that are not ours: left alone\n"
        "bao-virtio-dm: taken over from the service manager: the files of 2 devices\n");
}

/* The broker has not been told that it is stored, so nothing but the DM file is in use. */
static void of_a_set_that_was_not_committed_the_dm_file_counts(void)
{
    takes_but("device-3-record", "device-3-record", '0');
    has_set(1, STORE_DM_ONLY);
    CU_ASSERT_EQUAL(set_of(DM_ID)->message.fd_count, SET_FDS);
    CU_ASSERT_EQUAL(taken->still, 1u << 3 | 1u << 5);
    unsigned int removed = 0;
    for (const char *at = taken->told; (at = strstr(at, "FDSTOREREMOVE=1 FDNAME=device-3-")); at++)
        removed++;
    CU_ASSERT_EQUAL(removed, WHOLE - 2);
    CU_ASSERT_PTR_NULL(strstr(taken->told, "-dm"));
    CU_ASSERT_PTR_NULL(strstr(taken->told, "-record"));
}

static void another_version_is_told(void)
{
    takes_but("device-3-record", "device-3-record", 'o');
    has_set(SET_FDS, STORE_OTHER_VERSION);
    CU_ASSERT_STRING_EQUAL(taken->told, "");
    CU_ASSERT_EQUAL(taken->counter, 77); /* nobody has touched "call" */
    struct given given[WHOLE];
    memcpy(given, whole, sizeof(given));
    given[3].kind = 'o';
    given[7] = given[WHOLE - 1]; /* "reply" is missing, which every version had */
    takes(given, WHOLE - 1);
    has_set(1, STORE_UNUSABLE);
}

/* Version 1 had no gate, and so no eventfd "call": a new one is made. */
static void what_version_1_had_not_is_made(void)
{
    struct given given[WHOLE];
    memcpy(given, whole, sizeof(given));
    given[3].kind = 'o';
    for (unsigned int i = 0; i < 2; i++) {
        environment.without_0 = i == 1; /* then it has the number 0 */
        takes(given, WHOLE - 1);
        has_set(SET_FDS, STORE_OTHER_VERSION);
        CU_ASSERT_STRING_EQUAL(taken->told, "FDSTORE=1 FDPOLL=0 FDNAME=device-3-call\n");
        CU_ASSERT_EQUAL(taken->counter, 0); /* nobody was interrupted yet */
        CU_ASSERT_EQUAL(set_of(DM_ID)->fds[STORE_CALL] == 0, environment.without_0);
    }
    environment.without_0 = false;
    given[WHOLE - 1].kind = 'p'; /* it is there, but it is none */
    takes(given, WHOLE);
    has_set(1, STORE_UNUSABLE);
}

/* --- What can be had again -------------------------------------------------------------------- */

static const struct given backend[] = {
    {"device-3-file-0", 'U'},  {"device-3-file-18", 'd'}, {"device-3-opened", 'k'},
    {"device-3-file-17", 'U'}, {"device-4-dm", 'm'},      {"device-4-opened", 'x'},
};
#define BACKEND (sizeof(backend) / sizeof(backend[0]))

/* A backend, and the set of its device, which stays in any case. */
static void takes_backend(const struct given *given, uint32_t files)
{
    struct given all[BACKEND + WHOLE];
    memcpy(all, given, sizeof(backend));
    memcpy(all + BACKEND, whole, sizeof(whole));
    opened = (struct message_opened){.magic = OPENED_MAGIC,
                                     .version = OPENED_VERSION,
                                     .dm_id = DM_ID,
                                     .files = files,
                                     .kind = 7};
    takes(all, BACKEND + WHOLE);
    CU_ASSERT_EQUAL(set_of(DM_ID)->fd_count, SET_FDS);
}

#define FILES (1u << 0 | 1u << 17 | 1u << 18)
#define WITHOUT_4 "FDSTOREREMOVE=1 FDNAME=device-4-opened\n"
#define WITHOUT_ANY                                                                                \
    "FDSTOREREMOVE=1 FDNAME=device-3-file-17\n"                                                    \
    "FDSTOREREMOVE=1 FDNAME=device-3-opened\n"                                                     \
    "FDSTOREREMOVE=1 FDNAME=device-3-file-18\n"                                                    \
    "FDSTOREREMOVE=1 FDNAME=device-3-file-0\n"

static void a_backend_is_taken(void)
{
    const struct kept_set *kept = &taken->store.kept[DM_ID];
    takes_backend(backend, FILES);
    CU_ASSERT_TRUE(kept->present);
    CU_ASSERT(kept->message.files == FILES && kept->message.kind == 7);
    CU_ASSERT_EQUAL(kept->fd_count, 3);
    CU_ASSERT(kept->fds[0] == 3 && kept->fds[1] == 6 && kept->fds[2] == 4);
    CU_ASSERT_STRING_EQUAL(taken->told, WITHOUT_4);
    CU_ASSERT_FALSE(taken->inherited);
}

static void has_no_backend(void)
{
    const struct kept_set *kept = &taken->store.kept[DM_ID];
    CU_ASSERT_FALSE(kept->present);
    CU_ASSERT(kept->fd_count == 0 && kept->message.files == 0);
    CU_ASSERT_STRING_EQUAL(taken->told, WITHOUT_ANY WITHOUT_4);
    CU_ASSERT_EQUAL(taken->still, ((1u << (BACKEND + WHOLE)) - 1) & ~0x2fu);
}

static void a_backend_that_is_not_whole_is_forgotten(void)
{
    struct given given[BACKEND];
    takes_backend(backend, FILES | 1u << 5); /* one is missing */
    has_no_backend();
    takes_backend(backend, FILES | 1u << 19); /* there is no such file */
    has_no_backend();
    for (size_t i = 0; i < 4; i++) {
        memcpy(given, backend, sizeof(given));
        given[i].kind = 'p'; /* it is none of those */
        takes_backend(given, FILES);
        has_no_backend();
    }
}

static void the_last_text_is_taken(void)
{
    static const struct given given[] = {
        {"config-7", 'x'}, {"config-5", 'x'}, {"config-9", 'S'}, {"device-3-dm", 'm'}};
    takes(given, 4);
    CU_ASSERT(taken->store.config == 3 && taken->store.config_generation == 7);
    CU_ASSERT_STRING_EQUAL(taken->told, "FDSTOREREMOVE=1 FDNAME=config-9\n"
                                        "FDSTOREREMOVE=1 FDNAME=config-5\n");
    CU_ASSERT_EQUAL(taken->still, 1u << 0 | 1u << 3);
    const struct given others[] = {given[1], given[1], given[0]};
    takes(others, 3);
    CU_ASSERT(taken->store.config == 5 && taken->store.config_generation == 7);
    takes(others, 2); /* of two that are called the same, the first */
    CU_ASSERT_EQUAL(taken->store.config, 3);
    CU_ASSERT_EQUAL(taken->still, 1u << 0);
    const struct given first[] = {{"config-1", 'x'}};
    takes(first, 1);
    has_nothing();
    CU_ASSERT(taken->store.config == 3 && taken->store.config_generation == 1);
    CU_ASSERT_STRING_EQUAL(taken->told, "");
}

static void the_claims_are_taken_if_others_use_them(void)
{
    static const char kinds[] = {'u', 'p', 'n', 'd'}; /* of these, nobody does */
    struct given given[] = {{"claims", 'f'}, {"config-1", 'x'}, {"claims", 'f'}};
    environment.claims = true;
    takes(given, 2);
    environment.claims = false;
    CU_ASSERT(taken->store.claims == 3 && taken->store.claims_kept);
    CU_ASSERT_STRING_EQUAL(taken->told, "");
    for (size_t i = 0; i < sizeof(kinds); i++) {
        given[0].kind = kinds[i];
        takes(given, 2);
        CU_ASSERT(taken->store.claims == -1 && !taken->store.claims_kept);
        CU_ASSERT_STRING_EQUAL(taken->told, "FDSTOREREMOVE=1 FDNAME=claims\n");
        CU_ASSERT_EQUAL(taken->still, 1u << 1);
    }
    given[0].kind = 'f';
    takes(given, 3);
    CU_ASSERT_EQUAL(taken->store.claims, -1);
    CU_ASSERT_EQUAL(taken->still, 1u << 1);
}

/* --- The environment -------------------------------------------------------------------------- */

static void is_refused(const char *why)
{
    char words[256];
    takes(whole, WHOLE);
    snprintf(words, sizeof(words),
             "bao-virtio-dm: the service manager's LISTEN_PID and LISTEN_FDS can't be used: %s\n",
             why);
    CU_ASSERT_STRING_EQUAL(taken->said, words);
    CU_ASSERT_STRING_EQUAL(taken->told, "");
    environment = (struct listen){0};
}

static void what_can_t_be_is_left_with_the_manager(void)
{
    environment.fds = "1001";
    is_refused("Invalid argument");
    CU_ASSERT_EQUAL(taken->result, -EINVAL);
    environment.pid = "me";
    is_refused("Invalid argument");
    CU_ASSERT_EQUAL(taken->result, -EINVAL);
    environment.closed = LISTEN_FDS_FIRST + (int)WHOLE - 1;
    is_refused("Bad file descriptor");
    CU_ASSERT_EQUAL(taken->result, -EBADF);
}

static void what_is_not_ours_is_left_alone(void)
{
    environment.pid = "1";
    takes(whole, WHOLE);
    has_nothing();
    CU_ASSERT_STRING_EQUAL(taken->said, "");
    CU_ASSERT_EQUAL(taken->still, (1u << WHOLE) - 1);
    environment = (struct listen){.nameless = true};
    takes(whole, WHOLE);
    has_nothing();
    CU_ASSERT_STRING_EQUAL(
        taken->said,
        "bao-virtio-dm: the service manager passed 10 files that are not ours: left alone\n");
    CU_ASSERT_STRING_EQUAL(taken->told, "");
    CU_ASSERT_EQUAL(taken->still, (1u << WHOLE) - 1);
    CU_ASSERT_FALSE(taken->inherited);
    environment = (struct listen){0};
}

int main(int argc, char **argv)
{
    CU_TestInfo sets[] = {
        {"records are checked", records_are_checked},
        {"the layout of a record is fixed", the_layout_of_a_record_is_fixed},
        {"a whole set is taken", a_whole_set_is_taken},
        {"the first and the last device", the_first_and_the_last_device},
        {"a set without its record or DM file", a_set_without_its_record_or_dm_file},
        {"files without a DM file are forgotten", files_without_a_dm_file_are_forgotten},
        {"two DM files stand for one device", two_dm_files_stand_for_one_device},
        {"a set that lacks something", a_set_that_lacks_something},
        {"what a kill left is no harm", what_a_kill_left_is_no_harm},
        {"a set that was not committed", of_a_set_that_was_not_committed_the_dm_file_counts},
        {"another version is told", another_version_is_told},
        {"what version 1 had not is made", what_version_1_had_not_is_made},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo others[] = {
        {"a backend is taken", a_backend_is_taken},
        {"one that is not whole is forgotten", a_backend_that_is_not_whole_is_forgotten},
        {"the last text is taken", the_last_text_is_taken},
        {"the claims are taken", the_claims_are_taken_if_others_use_them},
        {"what can't be is left", what_can_t_be_is_left_with_the_manager},
        {"what is not ours is left alone", what_is_not_ours_is_left_alone},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"sets", NULL, NULL, NULL, NULL, sets},
        {"others", NULL, NULL, NULL, NULL, others},
        CU_SUITE_INFO_NULL,
    };
    taken = mmap(NULL, sizeof(*taken), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (taken == MAP_FAILED)
        return EXIT_FAILURE;
    return run_suites(argc, argv, suites);
}
