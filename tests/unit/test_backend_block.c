/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an image: which images are accepted, with which geometry, and the messages for the
 * others. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

static char folder[] = "/tmp/test_backend_block.XXXXXX";
static char path[64];

static int make_folder(void)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/image", folder);
    return 0;
}

static int remove_folder(void)
{
    return rmdir(folder);
}

static void remove_image(void)
{
    unlink(path);
}

static void make_image(off_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(ftruncate(fd, size), 0);
    close(fd);
}

static bool direct;

static int open_image(struct backend *backend, bool read_only, struct failure *failure)
{
    static struct device_config config;
    config = (struct device_config){
        .kind = DEVICE_BLOCK_VIRTIO,
        .id = 4,
        .file_path = path,
        .read_only = read_only,
        .advertise_flush = true,
        .direct = direct,
    };
    enum config_key key = CONFIG_KEY_ID;
    backend_init(backend, &config);
    failure->text[0] = '\0';
    int result = backend_block.open(backend, &key, failure);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_FILE_PATH);
    /* There is a line for the user exactly if it failed, and the line names the image. */
    CU_ASSERT_EQUAL(result < 0, strstr(failure->text, path) != NULL);
    CU_ASSERT_EQUAL(result < 0, backend->files[OPENED_IMAGE] < 0);
    return result;
}

static void assert_refused(int error, const char *words)
{
    struct backend backend;
    struct failure failure;
    CU_ASSERT_EQUAL(open_image(&backend, false, &failure), -error);
    CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, words));
}

static void test_regular_file(void)
{
    struct backend backend;
    struct backend_fds given;
    struct failure failure;
    struct message_start start = {0};
    make_image(1536);
    CU_ASSERT_EQUAL_FATAL(open_image(&backend, false, &failure), 0);
    CU_ASSERT_EQUAL(fcntl(backend.files[OPENED_IMAGE], F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
    CU_ASSERT_EQUAL(fcntl(backend.files[OPENED_IMAGE], F_GETFD), FD_CLOEXEC);

    CU_ASSERT_EQUAL(backend_block.give(&backend, &start, &given), 0);
    CU_ASSERT_EQUAL(start.of_kind.block.capacity, 3);
    CU_ASSERT_EQUAL(start.of_kind.block.blk_size, 512);
    CU_ASSERT_EQUAL(start.of_kind.block.physical_blk_exp, 3);
    CU_ASSERT_EQUAL(start.of_kind.block.read_only, 0);
    CU_ASSERT_EQUAL(start.of_kind.block.advertise_flush, 1);
    CU_ASSERT_NSTRING_EQUAL(start.of_kind.block.serial, "bao-block-4",
                            sizeof(start.of_kind.block.serial));
    CU_ASSERT_EQUAL(given.fds[0], backend.files[OPENED_IMAGE]);
    CU_ASSERT_FALSE(given.owned); /* the next worker gets it as well */
    close(backend.files[OPENED_IMAGE]);
}

/* The part of START that tells a worker about the image. */
static struct start_block given_block(struct backend *backend)
{
    struct message_start start = {0};
    struct backend_fds given;
    CU_ASSERT_EQUAL(backend_block.give(backend, &start, &given), 0);
    return start.of_kind.block;
}

static void test_read_only(void)
{
    struct backend backend;
    struct failure failure;
    make_image(512);
    CU_ASSERT_EQUAL_FATAL(open_image(&backend, true, &failure), 0);
    CU_ASSERT_EQUAL(fcntl(backend.files[OPENED_IMAGE], F_GETFL) & O_ACCMODE, O_RDONLY);
    CU_ASSERT_EQUAL(given_block(&backend).read_only, 1);
    close(backend.files[OPENED_IMAGE]);
}

static void test_sizes(void)
{
    make_image(0);
    assert_refused(EINVAL, "has 0 bytes");
    make_image(511);
    assert_refused(EINVAL, "has 511 bytes");
    make_image(513);
    assert_refused(EINVAL, "multiple of 512");
}

static void test_not_an_image(void)
{
    assert_refused(ENOENT, "No such file");
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    assert_refused(EISDIR, "neither a regular file nor a block device");
    rmdir(path);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    assert_refused(EINVAL, "neither a regular file nor a block device"); /* and does not hang */
    remove_image();
    CU_ASSERT_EQUAL(symlink("/dev/null", path), 0); /* /tmp belongs to everybody */
    assert_refused(ELOOP, "is a link in a directory that others than root may write to");
    remove_image();
    snprintf(path, sizeof(path), "/dev/null");
    assert_refused(EINVAL, "neither a regular file nor a block device");
    snprintf(path, sizeof(path), "%s/image", folder);
}

/* Somebody who may write to the folder could have made a second name for a system file. */
static void test_hard_link(void)
{
    char other[80];
    struct backend backend;
    struct failure failure;
    snprintf(other, sizeof(other), "%s/other", folder);
    make_image(512);
    CU_ASSERT_EQUAL(link(path, other), 0);
    assert_refused(EPERM, "has other names as well");
    CU_ASSERT_EQUAL_FATAL(open_image(&backend, true, &failure), 0); /* read-only: no writes */
    close(backend.files[OPENED_IMAGE]);
    unlink(other);
    CU_ASSERT_EQUAL_FATAL(open_image(&backend, false, &failure), 0);
    close(backend.files[OPENED_IMAGE]);
}

/* The folder's file system can make holes. The test for this changes no file. */
static void test_holes(void)
{
    struct backend backend;
    struct failure failure;
    struct stat before, after;
    make_image(8192);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL(pwrite(fd, "end", 3, 8189), 3);
    CU_ASSERT_EQUAL(fsync(fd), 0);
    CU_ASSERT_EQUAL(fstat(fd, &before), 0);
    close(fd);
    CU_ASSERT_EQUAL_FATAL(open_image(&backend, false, &failure), 0);
    CU_ASSERT_EQUAL(backend.learned.block.discard_sectors, 8);
    CU_ASSERT_EQUAL(fstat(backend.files[OPENED_IMAGE], &after), 0);
    CU_ASSERT_EQUAL(after.st_size, before.st_size);
    CU_ASSERT_EQUAL(after.st_blocks, before.st_blocks);
    close(backend.files[OPENED_IMAGE]);
    CU_ASSERT_EQUAL_FATAL(open_image(&backend, true, &failure), 0);
    CU_ASSERT_EQUAL(backend.learned.block.discard_sectors, 0);
    close(backend.files[OPENED_IMAGE]);
}

static void test_direct(void)
{
    struct backend backend;
    struct failure failure;
    direct = true;
    make_image(65536);
    CU_ASSERT_EQUAL_FATAL(open_image(&backend, false, &failure), 0);
    CU_ASSERT_TRUE((fcntl(backend.files[OPENED_IMAGE], F_GETFL) & O_DIRECT) != 0);
    CU_ASSERT_TRUE((fcntl(backend.files[OPENED_IMAGE], F_GETFL) & O_NONBLOCK) == 0);
    CU_ASSERT_EQUAL(given_block(&backend).direct, 1);
    uint32_t size = backend.learned.block.blk_size, memory = backend.learned.block.mem_alignment;
    CU_ASSERT_TRUE(size >= 512 && size <= 65536 && memory >= 1 && memory <= 4096);
    CU_ASSERT_EQUAL(size << backend.learned.block.physical_blk_exp, size > 4096 ? size : 4096);
    /* A read with the alignment that was reported succeeds. */
    void *buffer = aligned_alloc(8192, 65536 + 8192);
    CU_ASSERT_EQUAL(pread(backend.files[OPENED_IMAGE], (char *)buffer + memory, size, size),
                    (ssize_t)size);
    free(buffer);
    close(backend.files[OPENED_IMAGE]);
    direct = false;
}

static void test_queues(void)
{
    struct device_config config = {.kind = DEVICE_BLOCK_VIRTIO};
    CU_ASSERT_EQUAL(backend_block.queues(&config), 1);
    config.queues = 16;
    CU_ASSERT_EQUAL(backend_block.queues(&config), 16);
}

static void test_locks(void)
{
    struct backend first, second;
    struct failure failure;
    make_image(512);
    CU_ASSERT_EQUAL_FATAL(open_image(&first, false, &failure), 0);
    assert_refused(EBUSY, "in use");
    CU_ASSERT_EQUAL(open_image(&second, true, &failure), -EBUSY);
    int copy = dup(first.files[OPENED_IMAGE]); /* as a worker has one */
    close(first.files[OPENED_IMAGE]);
    assert_refused(EBUSY, "in use");
    close(copy);

    CU_ASSERT_EQUAL_FATAL(open_image(&first, true, &failure), 0);
    CU_ASSERT_EQUAL(open_image(&second, true, &failure), 0); /* readers share */
    assert_refused(EBUSY, "in use");
    close(first.files[OPENED_IMAGE]);
    close(second.files[OPENED_IMAGE]);
    CU_ASSERT_EQUAL(open_image(&first, false, &failure), 0);
    close(first.files[OPENED_IMAGE]);
}

/* A filter that forbids a ring, as a container's may. */
static void forbid_ring(unsigned int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(2);
}

/* A ring is made to be tried, whichever number it gets. */
static void test_a_ring_of_the_number_0(void)
{
    static struct device_config config = {.kind = DEVICE_BLOCK_URING, .file_path = path};
    enum config_key key = CONFIG_KEY_ID;
    struct backend backend;
    struct failure failure;
    make_image(1 << 20);
    backend_init(&backend, &config);
    free_0();
    int result = backend_block.open(&backend, &key, &failure);
    take_0_back();
    CU_ASSERT_EQUAL(result, 0);
    close(backend.files[OPENED_IMAGE]);
    remove_image();
}

static void test_a_ring_is_refused(void)
{
    static struct device_config config = {
        .kind = DEVICE_BLOCK_URING, .file_path = path, .advertise_flush = true};
    static const struct {
        unsigned int error;
        const char *why;
    } cases[] = {
        {EPERM, "/proc/sys/kernel/io_uring_disabled, or the filter of a container or a service, "
                "forbids it"},
        {ENOSYS, "this kernel has none (CONFIG_IO_URING)"},
        {EINVAL, "this needs Linux 6.1"},
        {ENOMEM, "Cannot allocate memory"},
    };
    enum config_key key = CONFIG_KEY_ID;
    struct backend backend;
    struct failure failure;
    make_image(1 << 20);
    backend_init(&backend, &config);
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL(backend_block.open(&backend, &key, &failure), 0);
    CU_ASSERT_EQUAL(fd_count(), before + 1); /* the image, and no ring */
    close(backend.files[OPENED_IMAGE]);
    fflush(NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            char line[256];
            snprintf(line, sizeof(line),
                     "the kernel makes no io_uring: %s: allow it, or use io_engine: sync",
                     cases[i].why);
            forbid_ring(cases[i].error);
            int result = backend_block.open(&backend, &key, &failure);
            _exit(result == -(int)cases[i].error && key == CONFIG_KEY_IO_ENGINE &&
                          strcmp(failure.text, line) == 0
                      ? 0
                      : 1);
        }
        CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
        CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    remove_image();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a regular file", test_regular_file},
        {"read-only", test_read_only},
        {"sizes that are no disk's", test_sizes},
        {"what is no image", test_not_an_image},
        {"a hard link", test_hard_link},
        {"holes", test_holes},
        {"O_DIRECT", test_direct},
        {"a ring of the number 0", test_a_ring_of_the_number_0},
        {"a ring is refused", test_a_ring_is_refused},
        {"queues", test_queues},
        {"two writers can't share an image", test_locks},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"image", make_folder, remove_folder, NULL, remove_image, tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
