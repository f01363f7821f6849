/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper keeps for the next broker, besides the devices' sets. An open backend arrives as
 * it was, and nothing else passes for one. The configuration's text. Which broker is stuck. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/opened.h"
#include "broker/keeper/kept.h"
#include "broker/keeper/watch.h"
#include "broker/shared_page.h"
#include "common/box.h"
#include "common/one_fd.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

/* --- A backend ------------------------------------------------------------------------------ */

static int any_file(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static const struct device_config *net_config(void)
{
    static const struct device_config config = {
        .kind = DEVICE_NET_VIRTIO, .id = 3, .queues = 2, .digest = 0x1234567890ull};
    return &config;
}

static struct backend net_backend(void)
{
    struct backend backend;
    backend_init(&backend, net_config());
    strcpy(backend.learned.net.name, "tap0");
    backend.files[OPENED_TAP_FIRST] = 100;
    backend.files[OPENED_TAP_FIRST + 1] = 101;
    backend.files[OPENED_TAP_SOCKET] = 102;
    backend.learned.net.start.tun_offloads = 7;
    backend.learned.net.start.mtu = 1500;
    return backend;
}

static void a_backend_arrives_as_it_was(void)
{
    const struct backend sent = net_backend();
    struct backend backend;
    struct message_opened message = {0};
    int fds[OPENED_FILES];
    backend_init(&backend, net_config());
    size_t count = opened_pack(&sent, &message, fds);
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_EQUAL(message.files, backend_net.files(net_config()));
    CU_ASSERT_EQUAL(opened_unpack(&backend, &message, fds, count), 0);
    CU_ASSERT_STRING_EQUAL(backend.learned.net.name, "tap0");
    CU_ASSERT_EQUAL(memcmp(backend.files, sent.files, sizeof(sent.files)), 0);
    CU_ASSERT(backend.learned.net.start.tun_offloads == 7 && backend.learned.net.start.mtu == 1500);
    CU_ASSERT(backend.files[OPENED_IMAGE] == -1 && backend_listener(&backend, 0) == -1 &&
              backend.files[OPENED_DIRECTORY] == -1);
}

/* Every kind has its own files and no others. It knows which texts must have an end. */
static void a_text_without_an_end_is_refused(enum device_kind kind, size_t offset, size_t size)
{
    const struct device_config config = {.kind = kind, .id = 3};
    struct message_opened message = {0};
    struct backend backend;
    int fds[OPENED_FILES] = {0};
    backend_init(&backend, &config);
    (void)opened_pack(&backend, &message, fds);
    message.files = backend.ops->files(&config);
    size_t count = (size_t)__builtin_popcount(message.files);
    memset((char *)&message.learned + offset, 'x', size);
    CU_ASSERT_EQUAL(opened_unpack(&backend, &message, fds, count), -EPROTO);
    *((char *)&message.learned + offset + size - 1) = '\0';
    CU_ASSERT_EQUAL(opened_unpack(&backend, &message, fds, count), 0);
}

static void anything_else_is_refused(void)
{
    const struct backend sent = net_backend();
    struct message_opened good = {0}, bad;
    struct backend backend;
    int fds[OPENED_FILES];
    backend_init(&backend, net_config());
    size_t count = opened_pack(&sent, &good, fds);
#define REFUSED(field, value)                                                                      \
    bad = good;                                                                                    \
    bad.field = (value);                                                                           \
    CU_ASSERT_EQUAL(opened_unpack(&backend, &bad, fds, count), -EPROTO)
    REFUSED(magic, 0);
    REFUSED(version, OPENED_VERSION + 1);
    REFUSED(dm_id, 4);
    REFUSED(digest, 5); /* another configuration opened it */
    REFUSED(kind, DEVICE_NET_VHOST);
    REFUSED(error, ENOENT);
    REFUSED(files, good.files | 1u << OPENED_IMAGE);
    REFUSED(files, 0);
#undef REFUSED
    bad = good;
    memset(bad.socket_path, 'x', sizeof(bad.socket_path)); /* no NUL */
    CU_ASSERT_EQUAL(opened_unpack(&backend, &bad, fds, count), -EPROTO);
    bad = good;
    memset(bad.words, 'x', sizeof(bad.words));
    CU_ASSERT_EQUAL(opened_unpack(&backend, &bad, fds, count), -EPROTO);
    CU_ASSERT_EQUAL(opened_unpack(&backend, &good, fds, count - 1), -EPROTO);
    CU_ASSERT_EQUAL(backend.files[OPENED_TAP_FIRST], -1); /* nothing was taken */
    const struct opened_net *net = NULL;
    const struct opened_vsock *vsock = NULL;
    const struct opened_daemon *daemon = NULL;
    a_text_without_an_end_is_refused(DEVICE_NET_VIRTIO, offsetof(union opened_part, net.name),
                                     sizeof(net->name));
    a_text_without_an_end_is_refused(DEVICE_VSOCK_VIRTIO, offsetof(union opened_part, vsock.name),
                                     sizeof(vsock->name));
    a_text_without_an_end_is_refused(DEVICE_FS_VHOST_USER,
                                     offsetof(union opened_part, daemon.address.sun_path),
                                     sizeof(daemon->address.sun_path));
}

/* --- In the keeper -------------------------------------------------------------------------- */

WRAPPED(int, memfd_create, (const char *name, unsigned int flags), (name, flags))
WRAPPED(int, fstat, (int fd, struct stat *ret), (fd, ret))

static struct notify nobody = {.socket = -1};
static struct notify somebody;
static int manager; /* its end */
static struct said said;
static bool page_is_last; /* of what it was told: the page of device 15 */

static void with_manager(struct fd_store *ret)
{
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    somebody = (struct notify){.socket = pair[0]};
    manager = pair[1];
    *ret = (struct fd_store){.notify = &somebody, .config = -1};
}

static void without_manager(void)
{
    close(somebody.socket);
    close(manager);
}

/* The files that came with what it was told last, as inodes. */
static ino_t told_files[8];
static size_t told_count;

static ino_t inode_of(int fd)
{
    struct stat status;
    CU_ASSERT_EQUAL_FATAL(fstat(fd, &status), 0);
    return status.st_ino;
}

/* All that it was told, with blanks. */
static const char *told(void)
{
    static char all[2048];
    char text[256];
    union one_fd room;
    all[0] = '\0';
    told_count = 0;
    for (;;) {
        struct iovec iov = {text, sizeof(text) - 1};
        struct msghdr header = {.msg_iov = &iov,
                                .msg_iovlen = 1,
                                .msg_control = room.buffer,
                                .msg_controllen = sizeof(room)};
        ssize_t length = recvmsg(manager, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (length <= 0)
            return all;
        text[length] = '\0';
        for (char *at = text; *at; at++)
            *at = *at == '\n' ? ' ' : *at;
        strcat(strcat(all, text), "\n");
        if (header.msg_controllen == 0)
            continue;
        int fd;
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
        CU_ASSERT_FATAL(told_count < 8);
        told_files[told_count++] = inode_of(fd);
        struct message_opened found;
        page_is_last = kept_read(fd, 15, &found);
        close(fd);
    }
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void what_is_kept_is_replaced_and_forgotten(void)
{
    static struct fd_store store;
    struct message_opened message = {.dm_id = 3, .files = 1u << OPENED_IMAGE};
    int first = any_file(), second = any_file();
    store = (struct fd_store){.notify = &nobody, .config = -1};
    CU_ASSERT_TRUE(kept_put(&store, &message, &first, 1));
    CU_ASSERT(store.kept[3].present && store.kept[3].fds[0] == first);
    CU_ASSERT_TRUE(kept_put(&store, &message, &second, 1));
    CU_ASSERT(!is_open(first) && store.kept[3].fds[0] == second);
    message.error = ESTALE;
    CU_ASSERT_FALSE(kept_put(&store, &message, &second, 1)); /* not with files */
    message.files = 0;
    message.error = EPERM; /* the least that can be */
    CU_ASSERT_TRUE(kept_put(&store, &message, NULL, 0));
    CU_ASSERT(!is_open(second) && !store.kept[3].present);
    CU_ASSERT_TRUE(is_open(0)); /* there was nothing else to close */

    int files[2] = {any_file(), any_file()};
    message = (struct message_opened){.dm_id = BAO_DEVICES_MAX, .files = 3};
    CU_ASSERT_FALSE(kept_put(&store, &message, files, 2));
    message.dm_id = 3;
    CU_ASSERT_FALSE(kept_put(&store, &message, files, 1));
    message.files = 1u << OPENED_FILES | 1;
    CU_ASSERT_FALSE(kept_put(&store, &message, files, 2));
    CU_ASSERT(is_open(files[0]) && is_open(files[1]));
    close(files[0]);
    close(files[1]);
}

#define STORED "FDSTORE=1 FDPOLL=0 FDNAME="
#define REMOVED "FDSTOREREMOVE=1 FDNAME="
#define FILES (1u << OPENED_IMAGE | 1u << OPENED_TAP_SOCKET | 1u << OPENED_DIRECTORY)

/* The page that says what there is comes last and goes first. */
static void a_manager_has_what_is_kept_in_order(void)
{
    static struct fd_store store;
    struct message_opened message = {
        .magic = OPENED_MAGIC, .version = OPENED_VERSION, .dm_id = 15, .files = FILES};
    unsigned int before = fd_count();
    with_manager(&store);
    said_begin(&said, STDERR_FILENO);
    for (unsigned int i = 0; i < 2; i++) {
        int files[3];
        for (size_t j = 0; j < 3; j++)
            files[j] = memfd_create("file", MFD_CLOEXEC);
        CU_ASSERT_TRUE(kept_put(&store, &message, files, 3));
        CU_ASSERT_STRING_EQUAL(
            told(), i == 0 ? STORED "device-15-file-0\n" STORED "device-15-file-8\n" STORED
                                    "device-15-file-18\n" STORED "device-15-opened\n"
                           : REMOVED "device-15-opened\n" REMOVED "device-15-file-0\n" REMOVED
                                     "device-15-file-8\n" REMOVED "device-15-file-18\n" STORED
                                     "device-15-file-0\n" STORED "device-15-file-8\n" STORED
                                     "device-15-file-18\n" STORED "device-15-opened\n");
        CU_ASSERT_EQUAL(told_count, 4);
        for (size_t j = 0; j < 3; j++)
            CU_ASSERT_EQUAL(told_files[j], inode_of(files[j]));
        CU_ASSERT_TRUE(page_is_last);
    }
    message = (struct message_opened){.dm_id = 15, .error = ENOENT};
    CU_ASSERT_TRUE(kept_put(&store, &message, NULL, 0));
    CU_ASSERT_STRING_EQUAL(told(), REMOVED "device-15-opened\n" REMOVED "device-15-file-0\n" REMOVED
                                           "device-15-file-8\n" REMOVED "device-15-file-18\n");
    CU_ASSERT_TRUE(kept_put(&store, &message, NULL, 0)); /* nothing is kept any more */
    CU_ASSERT_STRING_EQUAL(told(), "");
    CU_ASSERT_STRING_EQUAL(said_end(&said), "");
    without_manager();
    CU_ASSERT_EQUAL(fd_count(), before);
}

static void a_file_is_found_by_its_number(void)
{
    static struct fd_store store;
    static const uint32_t taps = 1u << OPENED_TAP_FIRST | 1u << (OPENED_TAP_SOCKET - 1);
    struct message_opened message = {.dm_id = 3, .files = FILES | taps};
    int files[5], found[OPENED_FILES];
    store = (struct fd_store){.notify = &nobody, .config = -1};
    for (size_t i = 0; i < 5; i++) {
        if (i == 1)
            free_0(); /* then the first one of the tap has it */
        files[i] = any_file();
    }
    CU_ASSERT_EQUAL(files[1], 0);
    CU_ASSERT_EQUAL(kept_file(&store, 3, OPENED_IMAGE), -1);
    CU_ASSERT_EQUAL(kept_taps(&store, 3, found), 0);
    CU_ASSERT_TRUE(kept_put(&store, &message, files, 5));
    CU_ASSERT_EQUAL(kept_file(&store, 3, OPENED_IMAGE), files[0]);
    CU_ASSERT_EQUAL(kept_file(&store, 3, OPENED_TAP_FIRST), files[1]);
    CU_ASSERT_EQUAL(kept_file(&store, 3, OPENED_TAP_FIRST + 1), -1);
    CU_ASSERT_EQUAL(kept_file(&store, 3, OPENED_TAP_SOCKET), files[3]);
    CU_ASSERT_EQUAL(kept_file(&store, 3, OPENED_PORT_FIRST), -1);
    CU_ASSERT_EQUAL(kept_file(&store, 3, OPENED_DIRECTORY), files[4]);
    CU_ASSERT_EQUAL(kept_file(&store, 4, OPENED_IMAGE), -1);
    CU_ASSERT_EQUAL(kept_taps(&store, 3, found), 2); /* its socket is none of them */
    CU_ASSERT(found[0] == files[1] && found[1] == files[2]);
    message = (struct message_opened){.dm_id = 3, .error = ENOENT};
    CU_ASSERT_TRUE(kept_put(&store, &message, NULL, 0));
    CU_ASSERT_EQUAL(kept_file(&store, 3, OPENED_IMAGE), -1);
    CU_ASSERT_FALSE(is_open(0));
    take_0_back();
}

static void what_the_manager_can_t_have_is_told(void)
{
    static struct fd_store store;
    struct message_opened message = {.dm_id = 3, .files = 1u << OPENED_IMAGE};
    int file = any_file(), text = shared_page_of_text("configuration", "a", 1);
    unsigned int before = fd_count();
    with_manager(&store);
    said_begin(&said, STDERR_FILENO);
    fail_once("memfd_create", EMFILE, 0);
    CU_ASSERT_TRUE(kept_put(&store, &message, &file, 1));
    CU_ASSERT_STRING_EQUAL(said_end(&said), "bao-virtio-dm: can't make a page for the service "
                                            "manager: Too many open files\n");
    CU_ASSERT_STRING_EQUAL(told(), "");
    CU_ASSERT(store.kept[3].present && is_open(file));
    close(somebody.socket);
    somebody.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* it leads to nobody */
    said_begin(&said, STDERR_FILENO);
    CU_ASSERT_TRUE(kept_put_config(&store, text));
    message.error = ENOENT;
    message.files = 0;
    CU_ASSERT_TRUE(kept_put(&store, &message, NULL, 0));
    CU_ASSERT_STRING_EQUAL(
        said_end(&said),
        "bao-virtio-dm: can't hand config-1 to the service manager: Transport endpoint is not "
        "connected: after this process's end it is opened again\n"
        "bao-virtio-dm: can't have the service manager forget device-3-opened: Transport endpoint "
        "is not connected\n"
        "bao-virtio-dm: can't have the service manager forget device-3-file-0: Transport endpoint "
        "is not connected\n");
    without_manager();
    CU_ASSERT_EQUAL(fd_count(), before - 1);
    close(text);
}

/* The page, and the text. */
static void one_of_them_may_have_the_number_0(void)
{
    static struct fd_store store;
    struct message_opened message = {.dm_id = 3, .files = 1u << OPENED_IMAGE};
    int file = any_file();
    with_manager(&store);
    gives_0 = "memfd_create";
    CU_ASSERT_TRUE(kept_put(&store, &message, &file, 1));
    CU_ASSERT_FALSE(is_open(0));
    take_0_back();
    CU_ASSERT_STRING_EQUAL(told(), STORED "device-3-file-0\n" STORED "device-3-opened\n");
    free_0();
    int first = shared_page_of_text("configuration", "a", 1);
    int second = shared_page_of_text("configuration", "b", 1);
    CU_ASSERT_EQUAL(first, 0);
    CU_ASSERT_TRUE(kept_put_config(&store, first));
    CU_ASSERT_STRING_EQUAL(told(), STORED "config-1\n");
    CU_ASSERT_TRUE(kept_put_config(&store, second));
    CU_ASSERT_STRING_EQUAL(told(), STORED "config-2\n" REMOVED "config-1\n");
    CU_ASSERT_FALSE(is_open(0));
    take_0_back();
    close(second);
    close(file);
    without_manager();
}

static void the_text_is_one_that_nobody_can_change(void)
{
    static struct fd_store store;
    store = (struct fd_store){.notify = &nobody, .config = -1};
    int page = shared_page_create("state", 4096), eventfd_file = eventfd(0, EFD_CLOEXEC);
    int first = shared_page_of_text("configuration", "a", 1);
    int second = shared_page_of_text("configuration", "b", 1);
    CU_ASSERT_FALSE(kept_put_config(&store, page));
    CU_ASSERT_FALSE(kept_put_config(&store, eventfd_file));
    CU_ASSERT_TRUE(kept_put_config(&store, first));
    CU_ASSERT(store.config == first && store.config_generation == 1);
    CU_ASSERT_EQUAL(write(first, "x", 1), -1);
    CU_ASSERT_EQUAL(ftruncate(first, 0), -1);
    CU_ASSERT_TRUE(kept_put_config(&store, second));
    CU_ASSERT(store.config == second && store.config_generation == 2 && !is_open(first));
    close(page);
    close(eventfd_file);
    close(second);
}

static void is_not_read(const struct message_opened *message, size_t size)
{
    struct message_opened found;
    int page = shared_page_of_text("opened", message, size);
    CU_ASSERT_FALSE(kept_read(page, 3, &found));
    close(page);
}

static void a_page_is_read_if_this_version_made_it(void)
{
    const struct message_opened right = {
        .magic = OPENED_MAGIC, .version = OPENED_VERSION, .dm_id = 3, .kind = 7, .files = FILES};
    struct message_opened found, message;
    int good = shared_page_of_text("opened", &right, sizeof(right));
    CU_ASSERT_TRUE(kept_read(good, 3, &found));
    CU_ASSERT_EQUAL(memcmp(&found, &right, sizeof(right)), 0);
    CU_ASSERT_FALSE(kept_read(good, 4, &found));
    close(good);
#define NOT_READ(field, value)                                                                     \
    message = right;                                                                               \
    message.field = (value);                                                                       \
    is_not_read(&message, sizeof(message))
    NOT_READ(magic, OPENED_MAGIC + 1);
    NOT_READ(version, OPENED_VERSION + 1);
    NOT_READ(error, 1);
    NOT_READ(files, 1u << OPENED_FILES);
#undef NOT_READ
    is_not_read(&right, sizeof(right) - 1);
    int changeable = shared_page_create("opened", sizeof(right));
    CU_ASSERT_EQUAL(pwrite(changeable, &right, sizeof(right), 0), sizeof(right));
    CU_ASSERT_FALSE(kept_read(changeable, 3, &found));
    close(changeable);
}

static void files_are_of_the_kind_of_their_number(void)
{
    int node = any_file(), directory = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int regular = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), box = box_make(regular);
    CU_ASSERT_FALSE(kept_is_file(node, OPENED_IMAGE));
    CU_ASSERT_FALSE(kept_is_file(regular, OPENED_IMAGE)); /* the last version stored it this way */
    CU_ASSERT_TRUE(kept_is_file(box, OPENED_IMAGE));
    CU_ASSERT_TRUE(kept_is_file(node, OPENED_TAP_FIRST));
    CU_ASSERT_FALSE(kept_is_file(regular, OPENED_TAP_FIRST + 6));
    CU_ASSERT_TRUE(kept_is_file(sock, OPENED_TAP_SOCKET));
    CU_ASSERT_TRUE(kept_is_file(node, OPENED_PORT_FIRST));
    CU_ASSERT_TRUE(kept_is_file(box, OPENED_PORT_FIRST + 6));
    CU_ASSERT_FALSE(kept_is_file(regular, OPENED_PORT_FIRST + 6));
    CU_ASSERT_TRUE(kept_is_file(sock, OPENED_LISTENER_FIRST + 1));
    CU_ASSERT_FALSE(kept_is_file(directory, OPENED_LISTENER_FIRST));
    CU_ASSERT_FALSE(kept_is_file(node, OPENED_LISTENER_FIRST));
    CU_ASSERT_TRUE(kept_is_file(sock, OPENED_LISTENER_FIRST));
    fail_once("fstat", EIO, 0);
    CU_ASSERT_FALSE(kept_is_file(sock, OPENED_LISTENER_FIRST));
    fail_once("fstat", EIO, 0);
    CU_ASSERT_FALSE(kept_is_file(node, OPENED_TAP_FIRST));
    CU_ASSERT_TRUE(kept_is_file(directory, OPENED_DIRECTORY));
    CU_ASSERT_FALSE(kept_is_file(-1, OPENED_DIRECTORY));
    int readable = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_FALSE(kept_is_file(readable, OPENED_DIRECTORY)); /* it gives access to more */
    close(readable);
    close(box);
    close(node);
    close(directory);
    close(sock);
    close(regular);
}

/* --- Which broker is stuck ------------------------------------------------------------------ */

static void one_that_answers_lives_on(void)
{
    struct watch watch;
    int64_t now = 1000;
    watch_begin(&watch, now);
    watch_answered(&watch, now); /* it runs */
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(watch_look(&watch, now), WATCH_WAIT);
        now = watch.when;
        CU_ASSERT_EQUAL(watch_look(&watch, now), WATCH_ASK);
        now += WATCH_ANSWER_MS - 1; /* as late as allowed */
        CU_ASSERT_EQUAL(watch_look(&watch, now), WATCH_WAIT);
        watch_answered(&watch, now);
    }
}

static void one_that_does_not_is_stuck(void)
{
    struct watch watch;
    watch_begin(&watch, 0);
    watch_answered(&watch, 0);
    CU_ASSERT_EQUAL(watch_look(&watch, WATCH_ASK_MS), WATCH_ASK);
    CU_ASSERT_EQUAL(watch_look(&watch, WATCH_ASK_MS + WATCH_ANSWER_MS), WATCH_ASK); /* once more */
    const int64_t end = WATCH_ASK_MS + WATCH_ANSWER_MS + WATCH_LAST_MS;
    CU_ASSERT_EQUAL(watch_look(&watch, end - 1), WATCH_WAIT);
    CU_ASSERT_EQUAL(watch_look(&watch, end), WATCH_STUCK);
    CU_ASSERT_EQUAL(watch_look(&watch, INT64_MAX - 1), WATCH_WAIT); /* it is reported once */
}

/* The machine stands still from the question on, and then the keeper runs first. */
static void one_that_had_no_time_is_not(void)
{
    struct watch watch;
    int64_t now = 0;
    watch_begin(&watch, now);
    watch_answered(&watch, now);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(watch_look(&watch, now += WATCH_ASK_MS), WATCH_ASK);
        CU_ASSERT_EQUAL(watch_look(&watch, now += WATCH_ANSWER_MS + WATCH_LATE_MS / 2), WATCH_ASK);
        watch_answered(&watch, ++now);
    }
}

static void one_whose_keeper_is_late_is_asked_again_once(void)
{
    struct watch watch;
    watch_begin(&watch, 0);
    watch_answered(&watch, 0);
    CU_ASSERT_EQUAL(watch_look(&watch, WATCH_ASK_MS), WATCH_ASK);
    CU_ASSERT_EQUAL(watch_look(&watch, watch.when + WATCH_LATE_MS + 1), WATCH_ASK);
    CU_ASSERT_EQUAL(watch_look(&watch, watch.when + WATCH_LATE_MS + 1), WATCH_STUCK);
}

/* A keeper that is a second late has been late; not one that is just in time. */
static void late_is_more_than_a_second(void)
{
    for (int64_t late = WATCH_LATE_MS; late <= WATCH_LATE_MS + 1; late++) {
        struct watch watch;
        watch_begin(&watch, 0);
        watch_answered(&watch, 0);
        CU_ASSERT_EQUAL(watch_look(&watch, WATCH_ASK_MS), WATCH_ASK);
        const int64_t now = watch.when + late;
        CU_ASSERT_EQUAL(watch_look(&watch, now), WATCH_ASK);
        CU_ASSERT_EQUAL(watch.when, now + (late > WATCH_LATE_MS ? WATCH_ANSWER_MS : WATCH_LAST_MS));
    }
}

static void a_start_has_more_time_and_an_end(void)
{
    struct watch watch;
    watch_begin(&watch, 0);
    CU_ASSERT_EQUAL(watch_look(&watch, WATCH_START_MS - 1), WATCH_WAIT);
    CU_ASSERT_EQUAL(watch_look(&watch, WATCH_START_MS), WATCH_STUCK);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a backend arrives as it was", a_backend_arrives_as_it_was},
        {"anything else is refused", anything_else_is_refused},
        {"what is kept is replaced and forgotten", what_is_kept_is_replaced_and_forgotten},
        {"a manager has what is kept, in order", a_manager_has_what_is_kept_in_order},
        {"a file is found by its number", a_file_is_found_by_its_number},
        {"what the manager can't have is told", what_the_manager_can_t_have_is_told},
        {"one of them may have the number 0", one_of_them_may_have_the_number_0},
        {"the text is one that nobody can change", the_text_is_one_that_nobody_can_change},
        {"a page is read if this version made it", a_page_is_read_if_this_version_made_it},
        {"files are of the kind of their number", files_are_of_the_kind_of_their_number},
        {"one that answers lives on", one_that_answers_lives_on},
        {"one that does not is stuck", one_that_does_not_is_stuck},
        {"one that had no time to answer is not", one_that_had_no_time_is_not},
        {"one whose keeper is late is asked again, once",
         one_whose_keeper_is_late_is_asked_again_once},
        {"late is more than a second", late_is_more_than_a_second},
        {"a start has more time, and an end", a_start_has_more_time_and_an_end},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "kept", tests);
}
