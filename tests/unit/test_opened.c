/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open backend on its way to another process: of every kind all of it arrives, nothing else is
 * taken for one, and files that lie on a file system travel in boxes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/opened.h"
#include "common/box.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

static const char path[] = "/dev/null"; /* any file will do */

static struct device_config config;

static void configure(enum device_kind kind, bool log)
{
    config = (struct device_config){.kind = kind,
                                    .id = 3,
                                    .queues = 2,
                                    .ports = log ? 1 : 3,
                                    .log_path = log ? (char *)path : NULL,
                                    .digest = 0x1234567890};
}

/* Each file has a number of its own; the first of them is 0. They are no real files. */
static void fill(struct backend *backend)
{
    uint32_t files = backend->ops->files ? backend->ops->files(&config) : 0;
    int number = 0;
    for (size_t file = 0; file < OPENED_FILES; file++) {
        if ((files & 1u << file) != 0)
            backend->files[file] = number++;
    }
    backend->file_id = (struct file_id){11, 12};
    backend->directory_id = (struct file_id){13, 14};
    memset(&backend->learned, 0x21, sizeof(backend->learned));
    memset(&backend->learned, 0, 200); /* names end */
    ((char *)&backend->learned)[0] = 0x37;
    snprintf(backend->words, sizeof(backend->words), "some words");
    snprintf(backend->socket_path, sizeof(backend->socket_path), "/run/x.sock");
}

static void arrives(enum device_kind kind, bool log)
{
    struct backend sent, received;
    struct message_opened message = {.header = {.type = 5, .device = 6}};
    int fds[OPENED_FILES + 1];
    configure(kind, log);
    backend_init(&sent, &config);
    fill(&sent);
    backend_init(&received, &config);
    size_t count = opened_pack(&sent, &message, fds);
    CU_ASSERT(message.header.type == 5 && message.header.device == 6); /* left alone */
    CU_ASSERT_EQUAL(message.files, sent.ops->files ? sent.ops->files(&config) : 0);
    CU_ASSERT_EQUAL(count, (size_t)__builtin_popcount(message.files));
    CU_ASSERT(message.dm_id == 3 && message.kind == (uint32_t)kind && message.error == 0);
    CU_ASSERT_EQUAL(opened_unpack(&received, &message, fds, count), 0);
    CU_ASSERT_EQUAL(memcmp(received.files, sent.files, sizeof(sent.files)), 0);
    CU_ASSERT_EQUAL(memcmp(&received.learned, &sent.learned, sizeof(sent.learned)), 0);
    CU_ASSERT(received.file_id.device == 11 && received.file_id.inode == 12);
    CU_ASSERT(received.directory_id.device == 13 && received.directory_id.inode == 14);
    CU_ASSERT_STRING_EQUAL(received.words, "some words");
    CU_ASSERT_STRING_EQUAL(received.socket_path, "/run/x.sock");
}

static void every_kind_arrives(void)
{
    for (enum device_kind kind = 0; kind < DEVICE_KINDS; kind++)
        arrives(kind, false);
    arrives(DEVICE_CONSOLE_VIRTIO, true);
}

/* A message may lie in a page that others read: nothing that was there before is left. */
static void nothing_else_is_in_it(void)
{
    static struct message_opened first, second;
    struct backend backend;
    int fds[OPENED_FILES];
    configure(DEVICE_NET_VIRTIO, false);
    backend_init(&backend, &config);
    fill(&backend);
    memset(&second, 0xff, sizeof(second));
    second.header = first.header;
    (void)opened_pack(&backend, &first, fds);
    (void)opened_pack(&backend, &second, fds);
    CU_ASSERT_EQUAL(memcmp(&first, &second, sizeof(first)), 0);
    CU_ASSERT(first.text[0] == '\0' && first.text[sizeof(first.text) - 1] == '\0');
}

static struct message_opened good;
static int good_fds[OPENED_FILES];
static size_t good_count;

/* Then nothing is taken. */
static void is_refused(const struct message_opened *message, size_t count)
{
    struct backend backend, untouched;
    memset(&backend, 0, sizeof(backend)); /* with the padding */
    memset(&untouched, 0, sizeof(untouched));
    backend_init(&backend, &config);
    memcpy(&untouched, &backend, sizeof(backend));
    CU_ASSERT_EQUAL(opened_unpack(&backend, message, good_fds, count), -EPROTO);
    CU_ASSERT_EQUAL(memcmp(&backend, &untouched, sizeof(backend)), 0);
}

static void anything_else_is_refused(void)
{
    struct backend backend;
    configure(DEVICE_NET_VIRTIO, false);
    backend_init(&backend, &config);
    fill(&backend);
    good = (struct message_opened){0};
    good_count = opened_pack(&backend, &good, good_fds);
    CU_ASSERT_EQUAL(good_count, 3);
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        struct message_opened bad = good;                                                          \
        bad.field = (value);                                                                       \
        is_refused(&bad, good_count);                                                              \
    } while (0)
    REFUSED(magic, OPENED_MAGIC + 1);
    REFUSED(version, OPENED_VERSION + 1);
    REFUSED(error, 1);
    REFUSED(dm_id, 4);
    REFUSED(digest, config.digest + 1);
    REFUSED(kind, DEVICE_NET_VHOST);
    REFUSED(files, good.files & (good.files - 1));
    REFUSED(files, 0);
#undef REFUSED
    is_refused(&good, good_count - 1);
    is_refused(&good, good_count + 1);
    struct message_opened bad = good;
    memset(bad.words, 'x', sizeof(bad.words));
    is_refused(&bad, good_count);
    bad = good;
    memset(bad.socket_path, 'x', sizeof(bad.socket_path));
    is_refused(&bad, good_count);
    bad = good;
    memset(bad.learned.net.name, 'x', sizeof(bad.learned.net.name));
    is_refused(&bad, good_count);
    CU_ASSERT_EQUAL(opened_unpack(&backend, &good, good_fds, good_count), 0);
}

/* Of one that could not be opened, the ids count all the same. Nobody has looked at the message. */
static void one_that_could_not_be_opened(void)
{
    struct message_opened message = {.error = ENOENT, .file_id = {1, 2}, .directory_id = {3, 4}};
    struct backend backend;
    configure(DEVICE_FS_VHOST_USER, false);
    backend_init(&backend, &config);
    memset(message.socket_path, 'x', sizeof(message.socket_path));
    memset(message.words, 'x', sizeof(message.words));
    opened_identify(&backend, &message);
    CU_ASSERT(backend.file_id.device == 1 && backend.file_id.inode == 2);
    CU_ASSERT(backend.directory_id.device == 3 && backend.directory_id.inode == 4);
    CU_ASSERT_EQUAL(strlen(backend.socket_path), sizeof(message.socket_path) - 1);
    CU_ASSERT_STRING_EQUAL(backend.words, "");
}

/* A path of any length fits, cut off. */
static void a_long_path(void)
{
    struct backend backend;
    struct message_opened message = {0};
    int fds[OPENED_FILES];
    configure(DEVICE_FS_VHOST_USER, false);
    backend_init(&backend, &config);
    memset(backend.socket_path, 'x', sizeof(backend.socket_path) - 1);
    (void)opened_pack(&backend, &message, fds);
    CU_ASSERT_EQUAL(strlen(message.socket_path), 150);
}

/* ---- Boxes ---- */

static bool is_same_file(int fd, int other)
{
    struct stat one, two;
    return fstat(fd, &one) == 0 && fstat(other, &two) == 0 && one.st_ino == two.st_ino &&
           one.st_dev == two.st_dev;
}

/* The files themselves stay open in this process, with `files`. */
static void boxed(enum device_kind kind, bool log)
{
    int files[OPENED_FILES];
    struct backend backend;
    struct failure failure;
    configure(kind, log);
    backend_init(&backend, &config);
    uint32_t all = backend.ops->files ? backend.ops->files(&config) : 0;
    uint32_t in_boxes = backend.ops->boxed ? backend.ops->boxed(&config) : 0;
    for (size_t file = 0; file < OPENED_FILES; file++) {
        files[file] = (all & 1u << file) != 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
        backend.files[file] = files[file];
    }
    CU_ASSERT_EQUAL(opened_box(&backend, &failure), 0);
    for (size_t file = 0; file < OPENED_FILES; file++) {
        if ((in_boxes & 1u << file) != 0) {
            int again = box_open(backend.files[file]);
            CU_ASSERT_TRUE(again >= 0 && is_same_file(again, files[file]));
            close(again);
            close(backend.files[file]);
        } else {
            CU_ASSERT_EQUAL(backend.files[file], files[file]);
        }
        if (files[file] >= 0)
            close(files[file]);
    }
}

static void files_of_file_systems_are_boxed(void)
{
    for (enum device_kind kind = 0; kind < DEVICE_KINDS; kind++)
        boxed(kind, false);
    boxed(DEVICE_CONSOLE_VIRTIO, true);
    configure(DEVICE_BLOCK_VIRTIO, false);
    CU_ASSERT_EQUAL(backend_block.boxed(&config), 1u << OPENED_IMAGE);
}

static void boxes_that_fail(void)
{
    struct backend backend;
    struct failure failure;
    configure(DEVICE_BLOCK_VIRTIO, false);
    backend_init(&backend, &config);
    int image = open(path, O_RDWR | O_CLOEXEC);
    backend.files[OPENED_IMAGE] = image;
    unsigned int before = fd_count();
    fail_once("socketpair", EMFILE, 0);
    CU_ASSERT_EQUAL(opened_box(&backend, &failure), -EMFILE);
    CU_ASSERT_STRING_EQUAL(failure.text, "can't keep its files open: Too many open files");
    CU_ASSERT_EQUAL(fd_count(), before);
    CU_ASSERT_EQUAL(backend.files[OPENED_IMAGE], image);
    free_0(); /* no number says that it failed, but a negative one */
    CU_ASSERT_EQUAL(opened_box(&backend, &failure), 0);
    CU_ASSERT_EQUAL(backend.files[OPENED_IMAGE], 0);
    take_0_back();
    close(image);
    CU_ASSERT_EQUAL(fd_count(), before - 1);
}

WRAPPED(int, socketpair, (int domain, int type, int protocol, int fds[2]),
        (domain, type, protocol, fds))

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"every kind arrives", every_kind_arrives},
        {"nothing else is in it", nothing_else_is_in_it},
        {"anything else is refused", anything_else_is_refused},
        {"one that could not be opened", one_that_could_not_be_opened},
        {"a long path", a_long_path},
        {"files of file systems are boxed", files_of_file_systems_are_boxed},
        {"boxes that fail", boxes_that_fail},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "open backends on their way", tests);
}
