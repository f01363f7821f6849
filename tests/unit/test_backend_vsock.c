/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device that the kernel's vhost serves: its CID, what a worker gets, and the messages for
 * what fails. The kernel is a stand-in (tests/unit/kernel_nodes.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <string.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/vhost_node.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/kernel_nodes.h"

#define FEATURES 0x1234567812345678

static struct backend backend;
static struct failure failure;
static struct device_config config;
static enum config_key key;
static struct message_start start;
static struct backend_fds given;

static void begin(void)
{
    kernel_begin();
    kernel.vhost_features = FEATURES;
    config = (struct device_config){.kind = DEVICE_VSOCK_VHOST, .guest_cid = 42};
    backend_init(&backend, &config);
}

static int open_backend(void)
{
    failure.text[0] = '\0';
    key = CONFIG_KEY_ID;
    int result = backend_vsock_vhost.open(&backend, &key, &failure);
    CU_ASSERT_EQUAL(result < 0, failure.text[0] != '\0');
    return result;
}

static int give(void)
{
    memset(&start, 0xff, sizeof(start));
    memset(&given, 0xff, sizeof(given));
    return backend_vsock_vhost.give(&backend, &start, &given);
}

/* The broker keeps no file: with one, the CID would stay taken after a worker's death. */
static void the_cid_is_tried(void)
{
    begin();
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT_EQUAL(kernel.cid, 42);
    CU_ASSERT_STRING_EQUAL(kernel.opened, "/dev/vhost-vsock");
    CU_ASSERT_STRING_EQUAL(backend_vsock_vhost.node, kernel.opened);
    CU_ASSERT_EQUAL(kernel.pauses, 0);
    CU_ASSERT_EQUAL(fd_count(), before);
    for (size_t file = 0; file < OPENED_FILES; file++)
        CU_ASSERT_EQUAL(backend.files[file], -1);
}

static void what_a_worker_gets(void)
{
    begin();
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL_FATAL(give(), 0);
    CU_ASSERT_EQUAL(kernel.cid, 42);
    CU_ASSERT_STRING_EQUAL(kernel.opened, backend_vsock_vhost.node_in_root);
    CU_ASSERT(start.of_kind.vsock.guest_cid == 42 &&
              start.of_kind.vsock.vhost_features == FEATURES);
    CU_ASSERT_EQUAL(given.count, 2);
    CU_ASSERT_TRUE(given.owned);
    CU_ASSERT(given.kept == 0 && given.boxed == 0);
    CU_ASSERT_EQUAL(given.fds[0], kernel_call(VHOST_VSOCK_SET_GUEST_CID, 0)->fd);
    CU_ASSERT_EQUAL(fcntl(given.fds[1], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CU_ASSERT_EQUAL(fcntl(given.fds[1], F_GETFD), FD_CLOEXEC);
    uint64_t errors = 0;
    CU_ASSERT(read(given.fds[1], &errors, sizeof(errors)) < 0 && errno == EAGAIN);
    close(given.fds[0]);
    close(given.fds[1]);
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* A worker that was killed still has the CID for a moment. */
static void a_cid_that_is_in_use(void)
{
    begin();
    kernel_refuses(VHOST_VSOCK_SET_GUEST_CID, EADDRINUSE, 0, 19);
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT(kernel.pauses == 19 && kernel.paused_ns == 19 * 25000000);
    begin();
    unsigned int before = fd_count();
    kernel_refuses(VHOST_VSOCK_SET_GUEST_CID, EADDRINUSE, 0, 1000);
    CU_ASSERT_EQUAL(open_backend(), -EADDRINUSE);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_GUEST_CID);
    CU_ASSERT_STRING_EQUAL(
        failure.text,
        "guest_cid 42 is in use by another virtual machine: choose another, or end that one");
    CU_ASSERT(kernel.pauses == 19 && kernel.paused_ns == 19 * 25000000);
    CU_ASSERT_EQUAL(fd_count(), before);
    begin(); /* giving never waits: the broker asks again later */
    kernel_refuses(VHOST_VSOCK_SET_GUEST_CID, EADDRINUSE, 0, 1);
    CU_ASSERT_EQUAL(give(), -EADDRINUSE);
    CU_ASSERT_EQUAL(kernel.pauses, 0);
    CU_ASSERT_EQUAL(fd_count(), before);
}

static void refused(unsigned long request, int error, const char *words)
{
    begin();
    unsigned int before = fd_count();
    kernel_refuses(request, error, 0, 1000);
    CU_ASSERT_EQUAL(open_backend(), -error);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_DATA_PLANE);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
    CU_ASSERT_EQUAL(fd_count(), before);
}

static void opening_that_fails(void)
{
    refused(CALL_ACCESS, ENOENT,
            "/dev/vhost-vsock: No such file or directory: load the module with \"modprobe "
            "vhost_vsock\"");
    refused(CALL_OPEN, ENOENT,
            "/dev/vhost-vsock: No such file or directory: load the module with \"modprobe "
            "vhost_vsock\"");
    refused(CALL_OPEN, ENODEV,
            "/dev/vhost-vsock: No such device: load the module with \"modprobe vhost_vsock\"");
    refused(CALL_OPEN, EACCES, "/dev/vhost-vsock: Permission denied");
    refused(VHOST_GET_FEATURES, EPERM, "/dev/vhost-vsock: Operation not permitted");
    refused(VHOST_VSOCK_SET_GUEST_CID, EPERM, "/dev/vhost-vsock: Operation not permitted");
}

static void giving_that_fails(void)
{
    static const unsigned long requests[] = {CALL_OPEN, VHOST_GET_FEATURES,
                                             VHOST_VSOCK_SET_GUEST_CID, CALL_EVENTFD};
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        begin();
        unsigned int before = fd_count();
        kernel_refuses(requests[i], EMFILE, 0, 1);
        CU_ASSERT_EQUAL(give(), -EMFILE);
        CU_ASSERT_EQUAL(fd_count(), before);
    }
}

/* A number of a file is no failure unless it is negative. */
static void a_file_may_have_the_number_0(void)
{
    begin();
    kernel_gives_0(CALL_OPEN);
    CU_ASSERT_EQUAL(open_backend(), 0);
    kernel_takes_0();
    kernel_gives_0(CALL_OPEN);
    CU_ASSERT_EQUAL(give(), 0);
    CU_ASSERT(given.fds[0] == 0 && given.fds[1] > 0);
    CU_ASSERT_EQUAL(kernel_calls(VHOST_VSOCK_SET_GUEST_CID), 2);
    close(given.fds[1]);
    kernel_takes_0();
    kernel_gives_0(CALL_EVENTFD);
    CU_ASSERT_EQUAL(give(), 0);
    CU_ASSERT(given.fds[0] > 0 && given.fds[1] == 0);
    close(given.fds[0]);
    kernel_takes_0();
}

/* The state of a vhost device is in the open file, so each worker needs one of its own. */
static void each_open_file_is_new(void)
{
    uint64_t features = 0;
    kernel_begin();
    kernel.vhost_features = FEATURES;
    int first = vhost_node_open("/dev/vhost-net", &features);
    CU_ASSERT_EQUAL(features, FEATURES);
    CU_ASSERT_EQUAL(kernel.open_flags, O_RDWR | O_CLOEXEC);
    int second = vhost_node_open("/dev/vhost-net", &features);
    CU_ASSERT(first >= 0 && second >= 0 && !kernel_same_file(first, second));
    close(first);
    close(second);
    CU_ASSERT_EQUAL(vhost_node_open("/nonexistent/vhost-net", &features), -ENOENT);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"the CID is tried", the_cid_is_tried},
        {"what a worker gets", what_a_worker_gets},
        {"a CID that is in use", a_cid_that_is_in_use},
        {"opening that fails", opening_that_fails},
        {"giving that fails", giving_that_fails},
        {"a file may have the number 0", a_file_may_have_the_number_0},
        {"each open file is new", each_open_file_is_new},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "vsock, served by the kernel's vhost", tests);
}
