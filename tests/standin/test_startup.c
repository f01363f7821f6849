/* SPDX-License-Identifier: Apache-2.0 */
/*
 * If something keeps the device model from starting, it prints one clear line that names the file
 * or device. It ends with exit status 1, before any worker starts. It opens no DM file without
 * need: closing one damages the real driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bao_abi.h"
#include "tests/cunit_main.h"
#include "tests/standin/fixture.h"

#define EXIT_MS 8000

#define DEVICE(id, image)                                                                          \
    "  - id: " id "\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"          \
    "    file_path: \"@/" image "\"\n    read_only: false\n"

/* The log is one line for the user. Asserts that it contains each of the words. */
static void assert_one_line(const struct fixture *fixture, const char *const *words)
{
    char *log = fixture_log(fixture);
    const char *end = strchr(log, '\n');
    CU_ASSERT(end && end[1] == '\0');
    /* it begins with the program's name or, as with a compiler, with the configuration's path */
    CU_ASSERT(strncmp(log, "bao-virtio-dm: ", 15) == 0 ||
              strncmp(log, fixture->dir, strlen(fixture->dir)) == 0);
    for (; *words; words++) {
        if (!strstr(log, *words))
            fprintf(stderr, "\nnot in the line: %s\n", *words);
        CU_ASSERT_PTR_NOT_NULL(strstr(log, *words));
    }
    CU_ASSERT_PTR_NULL(strstr(log, "worker"));
    free(log);
}

static void assert_fails(struct fixture *fixture, unsigned int devices, uint64_t dm_files,
                         const char *const *words)
{
    struct standin_counts counts;
    fixture_start(fixture, devices, 0);
    fixture_assert_start_fails(fixture, EXIT_MS);
    CU_ASSERT_EQUAL(standin_wait_all(fixture->standin, 20000), 0);
    assert_one_line(fixture, words);
    standin_counts(fixture->standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_get_info, dm_files);
    fixture_assert_irqs_taken_back(fixture);
    fixture_stop_failed(fixture);
    fixture_free(fixture);
}

static void an_id_that_the_device_tree_lacks(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    fixture_configure(&fixture, "devices:\n" DEVICE("7", "disk.img"));
    assert_fails(&fixture, 2, 0, (const char *[]){"block 7", fixture_lacks_device(7), NULL});
}

static void a_missing_image(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_configure(&fixture, "devices:\n" DEVICE("0", "absent.img"));
    assert_fails(&fixture, 1, 0,
                 (const char *[]){"block 0", "/absent.img", "config.yaml:6:", NULL});
}

static void an_image_that_is_a_directory(void)
{
    struct fixture fixture;
    char path[96];
    fixture_init(&fixture);
    snprintf(path, sizeof(path), "%s/folder", fixture.dir);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    fixture_configure(&fixture, "devices:\n" DEVICE("0", "folder"));
    assert_fails(&fixture, 1, 0, (const char *[]){"block 0", "/folder", "neither", NULL});
}

static void an_image_that_another_process_uses(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    fixture_configure(&fixture, "devices:\n" DEVICE("0", "disk.img"));
    int image = fixture_open(&fixture, "disk.img");
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CU_ASSERT_EQUAL_FATAL(fcntl(image, F_OFD_SETLK, &lock), 0);
    assert_fails(&fixture, 1, 0, (const char *[]){"block 0", "/disk.img", "in use", NULL});
    close(image);
}

static void a_bad_configuration(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: blok\n");
    fixture_start(&fixture, 1, 0);
    fixture_assert_start_fails(&fixture, EXIT_MS);
    fixture_assert_logged(&fixture, "config.yaml:3:11");
    fixture_assert_logged(&fixture, "block"); /* the nearest valid one */
    fixture_stop_failed(&fixture);
    fixture_free(&fixture);
}

static void a_missing_configuration(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    assert_fails(&fixture, 1, 0, (const char *[]){"/config.yaml", NULL});
}

/* The keys of an older generation must not contradict the dispatcher. */
static void an_older_file_with_another_window(const char *keys, const char *key)
{
    struct fixture fixture;
    char yaml[512];
    if (standin_default_abi() == STANDIN_D) {
        case_skipped("a dispatcher that knows better than the file: see test_generations");
        return;
    }
    snprintf(yaml, sizeof(yaml), "devices:\n" DEVICE("0", "disk.img") "%s", keys);
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    fixture_configure(&fixture, yaml);
    /* only the dispatcher knows, so this one DM file is opened */
    assert_fails(&fixture, 1, 1, (const char *[]){key, "config.yaml:8:", NULL});
}

static void an_older_file_with_another_size(void)
{
    an_older_file_with_another_window("    shmem_size: 0x2000000\n", "shmem_size");
}

static void an_older_file_with_another_address(void)
{
    an_older_file_with_another_window("    shmem_addr: 0x80000000\n", "shmem_addr");
}

static void an_older_file_that_agrees_is_accepted(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    fixture_configure(&fixture,
                      "devices:\n" DEVICE(
                          "0", "disk.img") "    shmem_addr: 0x50000000\n    shmem_size: 0x1000000\n"
                                           "    shmem_path: \"/dev/baoipc0\"\n    irq: 52\n");
    fixture_start(&fixture, 1, 1);
    fixture_assert_logged(&fixture, "no longer needed");
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void a_missing_vhost_vsock(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: vsock\n    data_plane: vhost\n"
                                "    mmio_addr: 0xa003e00\n    guest_cid: 3\n");
    if (access("/dev/vhost-vsock", F_OK) == 0) {
        /* If the node exists, the device starts. */
        fixture_start(&fixture, 1, 0);
        uint64_t value = 0;
        CU_ASSERT_EQUAL(standin_read(fixture.standin, 0, fixture_base(0) + VIRTIO_MMIO_DEVICE_ID, 4,
                                     &value, EXIT_MS),
                        0);
        CU_ASSERT_EQUAL(value, 19);
        fixture_stop(&fixture);
        fixture_free(&fixture);
        return;
    }
    assert_fails(&fixture, 1, 0,
                 (const char *[]){"vsock 0", "/dev/vhost-vsock", "vhost_vsock", NULL});
}

/* Everything that the user can put right is found before the dispatcher is asked for a device. The
 * driver does not survive a second start. */
static void a_control_socket_nowhere(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.control_name = "absent/control";
    fixture_make_image(&fixture, "disk.img", 64);
    fixture_configure(&fixture, "devices:\n" DEVICE("0", "disk.img"));
    assert_fails(&fixture, 1, 0, (const char *[]){"control socket", "/absent/control", NULL});
}

/* One of two devices can't start, so nothing starts. */
static void one_bad_device_of_two(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    fixture_configure(
        &fixture, "devices:\n" DEVICE(
                      "0", "disk.img") "  - id: 1\n    type: block\n    data_plane: virtio\n"
                                       "    mmio_addr: 0xa004000\n    file_path: \"@/absent.img\"\n"
                                       "    read_only: false\n");
    assert_fails(&fixture, 2, 0, (const char *[]){"block 1", "/absent.img", NULL});
}

/* This test runs without a stand-in. */
static void a_missing_node(void)
{
    struct fixture fixture;
    struct stat node;
    CU_ASSERT_FATAL(stat(BAO_DISPATCHER_NODE, &node) < 0); /* don't run this in a real backend VM */
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    fixture_configure(&fixture, "devices:\n" DEVICE("0", "disk.img"));
    char config[128], control[128];
    snprintf(config, sizeof(config), "%s/config.yaml", fixture.dir);
    snprintf(control, sizeof(control), "%s/control", fixture.dir);
    fixture.log_fd = fixture_open(&fixture, "log");
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fixture.log_fd, STDERR_FILENO);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(PROGRAM_DIR "/bao-virtio-dm", "bao-virtio-dm", "--config", config, "--control",
              control, NULL);
        _exit(127);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_one_line(&fixture, (const char *[]){BAO_DISPATCHER_NODE, NULL});
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a missing node", a_missing_node},
        {"an id that the device tree lacks", an_id_that_the_device_tree_lacks},
        {"a missing image", a_missing_image},
        {"an image that is a directory", an_image_that_is_a_directory},
        {"an image that another process uses", an_image_that_another_process_uses},
        {"a bad configuration", a_bad_configuration},
        {"a missing configuration", a_missing_configuration},
        {"an older file with another size", an_older_file_with_another_size},
        {"an older file with another address", an_older_file_with_another_address},
        {"an older file that agrees is accepted", an_older_file_that_agrees_is_accepted},
        {"/dev/vhost-vsock where it is missing", a_missing_vhost_vsock},
        {"one bad device of two", one_bad_device_of_two},
        {"a control socket in a directory that is not there", a_control_socket_nowhere},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "start-up", tests);
}
