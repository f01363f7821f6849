/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration reader on files: those that can't be read, and the examples. */
#include "broker/config/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/config_expect.h"

static int read_error; /* of the next read */

ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __wrap___read_chk(int fd, void *buffer, size_t size, size_t room);
ssize_t __real_read(int fd, void *buffer, size_t size);

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
    int error = read_error;
    read_error = 0;
    if (error == 0)
        return __real_read(fd, buffer, size); /* errno is what an earlier call has left */
    errno = error;
    return -1;
}

ssize_t __wrap___read_chk(int fd, void *buffer, size_t size, size_t room)
{
    CU_ASSERT(size <= room);
    return __wrap_read(fd, buffer, size);
}

static void expect_load(const char *path, int result, const char *expected)
{
    CU_ASSERT_EQUAL(config_load(path, &config, &diags), result);
    config_expect_text(path, expected);
}

static void write_file(const char *path, const char *text, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(write(fd, text, size), (ssize_t)size);
    close(fd);
}

static void test_files(void)
{
    char directory[] = "/tmp/test-config-XXXXXX", path[64];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/file", directory);
    expect_load(path, -ENOENT,
                "f: cannot be read: No such file or directory; expected a YAML file that can be "
                "opened\n");
    expect_load(directory, -EISDIR,
                "f: cannot be read: Is a directory; expected a YAML file that can be opened\n");
    expect_load("/dev/null", -EINVAL, "f: not a regular file; expected a YAML file\n");
    CU_ASSERT_EQUAL_FATAL(mkfifo(path, 0600), 0);
    expect_load(path, -EINVAL, "f: not a regular file; expected a YAML file\n");
    unlink(path);

    write_file(path, PUBLISHED_VSOCK, strlen(PUBLISHED_VSOCK));
    expect_load(path, 0, "");
    CU_ASSERT_STRING_EQUAL(config.path, path);
    config_free(&config);

    static char big[CONFIG_FILE_SIZE_MAX + 1];
    memset(big, '#', sizeof(big)); /* a comment after the devices */
    int length = snprintf(big, sizeof(big), "%s\n", PUBLISHED_VSOCK);
    big[length] = '#';
    write_file(path, big, CONFIG_FILE_SIZE_MAX);
    expect_load(path, 0, "");
    config_free(&config);
    write_file(path, big, sizeof(big));
    expect_load(path, -EFBIG, "f: larger than 1048576 bytes; expected a YAML file of devices\n");
    unlink(path);
    rmdir(directory);
}

static void test_reads_that_fail(void)
{
    static const char good[] = "devices:\n- {id: 0, type: rng, data_plane: virtio, mmio_addr: 0}\n";
    char path[] = "/tmp/test-config-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    write_file(path, good, strlen(good));
    read_error = EINTR; /* it is repeated */
    expect_load(path, 0, "");
    CU_ASSERT_EQUAL(config.device_count, 1);
    config_free(&config);
    read_error = EIO;
    expect_load(path, -EIO,
                "f: cannot be read: Input/output error; expected a YAML file that can be opened\n");
    unlink(path);
}

static void test_unreadable(void)
{
    char path[] = "/tmp/test-config-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(fchmod(fd, 0), 0);
    close(fd);
    uid_t uid = geteuid();
    CU_ASSERT_FATAL(uid != 0 || seteuid(65534) == 0); /* root may read everything, so leave root */
    int result = config_load(path, &config, &diags);
    CU_ASSERT_EQUAL_FATAL(seteuid(uid), 0);
    unlink(path);
    CU_ASSERT_EQUAL(result, -EACCES);
    config_expect_text("unreadable",
                       "f: cannot be read: Permission denied; expected a YAML file that can "
                       "be opened\n");
}

/* All examples that we ship are accepted. */
static void test_every_example(void)
{
    DIR *folder = opendir(CONFIGS_DIR);
    const struct dirent *entry;
    unsigned int examples = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(folder);
    while ((entry = readdir(folder))) {
        char path[PATH_MAX];
        const char *ending = strrchr(entry->d_name, '.');
        if (!ending || strcmp(ending, ".yaml") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", CONFIGS_DIR, entry->d_name);
        expect_load(path, 0, "");
        config_free(&config);
        examples++;
    }
    closedir(folder);
    CU_ASSERT(examples >= 10);
}

static void test_examples(void)
{
    expect_load(CONFIGS_DIR "/vsock.yaml", 0, "");
    CU_ASSERT_EQUAL(config.device_count, 1);
    CU_ASSERT_EQUAL(config.devices[0].mmio_addr, 0xa003e00);
    CU_ASSERT_EQUAL(config.devices[0].guest_cid, 3);
    config_free(&config);
    expect_load(CONFIGS_DIR "/vsock-virtio.yaml", 0, "");
    CU_ASSERT_EQUAL(config.devices[0].kind, DEVICE_VSOCK_VIRTIO);
    CU_ASSERT_STRING_EQUAL(config.devices[0].socket_path, "/run/bao-vsock/v.sock");
    config_free(&config);
    expect_load(CONFIGS_DIR "/fs.yaml", 0, "");
    CU_ASSERT_EQUAL(config.devices[0].kind, DEVICE_FS_VHOST_USER);
    config_free(&config);
    expect_load(CONFIGS_DIR "/vsock-vhost-user.yaml", 0, "");
    CU_ASSERT_EQUAL(config.devices[0].kind, DEVICE_VSOCK_VHOST_USER);
    config_free(&config);
    expect_load(CONFIGS_DIR "/vhost-user.yaml", 0, "");
    CU_ASSERT_EQUAL(config.device_count, 3);
    CU_ASSERT_EQUAL(config.devices[2].virtio_id, 48);
    config_free(&config);
    expect_load(CONFIGS_DIR "/vhost-user-block.yaml", 0, "");
    CU_ASSERT_EQUAL(config.device_count, 1);
    CU_ASSERT_EQUAL(config.devices[0].virtio_id, 2);
    CU_ASSERT_EQUAL(config.devices[0].queues, 4);
    config_free(&config);
    expect_load(CONFIGS_DIR "/block.yaml", 0, "");
    CU_ASSERT_EQUAL(config.device_count, 1);
    CU_ASSERT_EQUAL(config.devices[0].kind, DEVICE_BLOCK_VIRTIO);
    config_free(&config);
    expect_load(CONFIGS_DIR "/vsock-and-block.yaml", 0, "");
    CU_ASSERT_EQUAL(config.device_count, 2);
    CU_ASSERT_EQUAL(config.devices[1].id, 1);
    config_free(&config);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"files", test_files},
        {"reads that fail", test_reads_that_fail},
        {"unreadable file", test_unreadable},
        {"every example", test_every_example},
        {"what examples say", test_examples},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "configuration files", tests);
}
