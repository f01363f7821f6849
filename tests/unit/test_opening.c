/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a device gets its backend: from an opener that the keeper starts, or from what the keeper
 * kept. An opener that fails is started again, after longer and longer waits, and the log says why
 * once. What it opens goes to the keeper. No file is left open on any way.
 */
#include "broker/opening.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backend/opened.h"
#include "broker/device.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

#define NOW 50000
#define NAME "vsock 1"
#define WHERE "bao-virtio-dm: " NAME ": f:2:8: "

static const char yaml[] =
    "devices:\n"
    "- {id: 1, type: vsock, data_plane: virtio, mmio_addr: 0x1000, guest_cid: 3, socket_path: /v}\n"
    "- {id: 2, type: block, data_plane: virtio, mmio_addr: 0x2000, file_path: /x}\n";

static struct config config;
static struct config_diagnostics diags;
static struct device devices[2];
static struct device *const device = &devices[0];
static struct opening_context context;
static int keeper;      /* the keeper's end */
static int opener = -1; /* the opener's end */
static unsigned int fds;
static struct said said;

static void begin(void)
{
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(config_parse("f", yaml, strlen(yaml), &config, &diags), 0);
    for (uint32_t i = 0; i < 2; i++) {
        devices[i] = (struct device){.index = i};
        device_init(&devices[i], &config.devices[i]);
    }
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    keeper = sockets[1];
    context = (struct opening_context){
        .config = &config, .devices = devices, .device_count = 2, .keeper = sockets[0]};
    context.text = open("/dev/null", O_RDONLY | O_CLOEXEC);
    opener = -1;
    said_begin(&said, STDERR_FILENO);
    fds = fd_count();
}

static const char *end(void)
{
    for (size_t i = 0; i < OPENED_FILES; i++) {
        if (device->backend.files[i] >= 0)
            close(device->backend.files[i]);
    }
    if (device->opening.socket >= 0)
        close(device->opening.socket);
    if (opener >= 0)
        close(opener);
    CU_ASSERT_EQUAL(fd_count(), fds);
    close(keeper);
    close(context.keeper);
    close(context.text);
    config_free(&config);
    return said_end(&said);
}

/* The keeper starts an opener. Returns what it was asked for. */
static struct message_open keeper_starts(void)
{
    union message message = {0};
    int got[MESSAGE_FDS_MAX] = {-1, -1};
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(message_receive(keeper, ROLE_BROKER, &message, got, &count), 1);
    CU_ASSERT_EQUAL(message.header.type, MSG_OPEN);
    CU_ASSERT_EQUAL(message.header.device, 1);
    CU_ASSERT_EQUAL(count, 2);
    opener = got[0];
    close(got[1]);
    return message.open;
}

/* What an opener sends that has opened it: two listeners and the directory. */
static union message opened(int *ret_fds, size_t *ret_count)
{
    struct backend backend;
    union message message = {0};
    backend_init(&backend, &config.devices[0]);
    for (unsigned int i = 0; i < 3; i++)
        backend.files[OPENED_LISTENER_FIRST + i] = context.text;
    strcpy(backend.learned.vsock.name, "v");
    backend.file_id = (struct file_id){8, 77};
    *ret_count = opened_pack(&backend, &message.opened, ret_fds);
    message.header = (struct message_header){.type = MSG_OPENED, .device = MESSAGE_NO_DEVICE};
    return message;
}

static void opener_answers(union message message, size_t most)
{
    int files[OPENED_FILES];
    size_t count;
    (void)opened(files, &count);
    CU_ASSERT_EQUAL(message_send(opener, &message, files, most < count ? most : count), 0);
}

static void opener_opens(void)
{
    int files[OPENED_FILES];
    size_t count;
    opener_answers(opened(files, &count), 3);
}

static void opener_fails(const char *text, uint32_t key)
{
    int files[OPENED_FILES];
    size_t count;
    union message message = opened(files, &count);
    message.opened.error = ENOENT;
    message.opened.key = key;
    snprintf(message.opened.text, sizeof(message.opened.text), "%s", text);
    opener_answers(message, 1);
}

static int64_t look(int64_t now)
{
    return opening_look(device, &context, now);
}

static bool keeper_has_nothing(void)
{
    char byte;
    return recv(keeper, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

/* ---- The usual way ---- */

static void what_an_opener_opens_goes_to_the_keeper(void)
{
    begin();
    context.locked_down = true;
    CU_ASSERT_EQUAL(look(NOW), NOW + OPENING_SLOW_MS);
    CU_ASSERT_EQUAL(device->opening.phase, OPENING_RUNS);
    struct message_open asked = keeper_starts();
    CU_ASSERT_EQUAL(asked.again, 0);
    CU_ASSERT_NOT_EQUAL(fcntl(device->opening.socket, F_GETFL) & O_NONBLOCK, 0);
    CU_ASSERT_EQUAL(fcntl(device->opening.socket, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(asked.tap_index, 0);
    CU_ASSERT_EQUAL(look(NOW + 1), NOW + OPENING_SLOW_MS); /* no answer yet */
    CU_ASSERT_TRUE(keeper_has_nothing());                  /* it is started once */
    opener_opens();
    CU_ASSERT_EQUAL(look(NOW + 2), INT64_MAX);
    CU_ASSERT_EQUAL(device->opening.phase, OPENING_DONE);
    CU_ASSERT_EQUAL(device->opening.socket, -1);
    CU_ASSERT_FALSE(device->opening.unkept);
    CU_ASSERT(backend_listener(&device->backend, 0) >= 0);
    CU_ASSERT(backend_listener(&device->backend, 1) >= 0);
    CU_ASSERT_EQUAL(device->backend.file_id.inode, 77);

    /* The keeper has copies; the directory is the keeper's alone. */
    CU_ASSERT_EQUAL(device->backend.files[OPENED_DIRECTORY], -1);
    union message message;
    int got[MESSAGE_FDS_MAX];
    size_t count = 0;
    CU_ASSERT_EQUAL(message_receive(keeper, ROLE_BROKER, &message, got, &count), 1);
    CU_ASSERT_EQUAL(message.header.type, MSG_KEEP);
    CU_ASSERT_EQUAL(message.header.device, 0);
    CU_ASSERT_EQUAL(message.opened.dm_id, 1);
    CU_ASSERT_EQUAL(message.opened.error, 0);
    CU_ASSERT_EQUAL(count, 3);
    for (size_t i = 0; i < count; i++)
        close(got[i]);
    CU_ASSERT_EQUAL(look(NOW + 5), INT64_MAX);
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_STRING_EQUAL(end(), "");
}

static void an_opener_learns_what_was_open_before(void)
{
    begin();
    device->opening.again = true;
    device->opening.tap_index = 9;
    (void)look(NOW);
    struct message_open asked = keeper_starts();
    CU_ASSERT_EQUAL(asked.again, 1);
    CU_ASSERT_EQUAL(asked.tap_index, 9);
    CU_ASSERT_STRING_EQUAL(end(), "");
}

static void nothing_is_kept_before_lock_down(void)
{
    begin();
    (void)look(NOW);
    (void)keeper_starts();
    opener_opens();
    CU_ASSERT_EQUAL(look(NOW + 1), NOW + 1); /* as soon as it is locked down */
    CU_ASSERT_TRUE(device->opening.unkept);
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT(device->backend.files[OPENED_DIRECTORY] >= 0);
    context.locked_down = true;
    CU_ASSERT_EQUAL(look(NOW + 1), INT64_MAX);
    CU_ASSERT_FALSE(keeper_has_nothing());
    CU_ASSERT_FALSE(device->opening.unkept);
    union message message;
    int got[MESSAGE_FDS_MAX];
    size_t count = 0;
    (void)message_receive(keeper, ROLE_BROKER, &message, got, &count);
    for (size_t i = 0; i < count; i++)
        close(got[i]);
    (void)end();
}

static void a_keeper_that_takes_nothing_now_is_asked_again(void)
{
    begin();
    context.locked_down = true;
    (void)look(NOW);
    (void)keeper_starts();
    opener_opens();
    int before = context.keeper;
    context.keeper = -1;
    CU_ASSERT_EQUAL(look(NOW), NOW + 1000);
    CU_ASSERT_TRUE(device->opening.unkept);
    CU_ASSERT(device->backend.files[OPENED_DIRECTORY] >= 0);
    context.keeper = before;
    CU_ASSERT_EQUAL(look(NOW + 999), NOW + 1000);
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_EQUAL(look(NOW + 1000), INT64_MAX);
    CU_ASSERT_FALSE(keeper_has_nothing());
    union message message;
    int got[MESSAGE_FDS_MAX];
    size_t count = 0;
    (void)message_receive(keeper, ROLE_BROKER, &message, got, &count);
    for (size_t i = 0; i < count; i++)
        close(got[i]);
    (void)end();
}

static void what_it_is_called_is_said_after_lock_down(void)
{
    for (unsigned int locked_down = 0; locked_down < 2; locked_down++) {
        begin();
        context.locked_down = locked_down == 1;
        (void)look(NOW);
        (void)keeper_starts();
        int files[OPENED_FILES];
        size_t count;
        union message message = opened(files, &count);
        strcpy(message.opened.words, "x");
        opener_answers(message, 3);
        int before = context.keeper;
        context.keeper = -1;
        (void)look(NOW);
        context.keeper = before;
        (void)end();
        CU_ASSERT_STRING_EQUAL(said.text, locked_down ? "bao-virtio-dm: " NAME ": x\n" : "");
    }
}

/* ---- Failures ---- */

static void a_failure_is_told_once_and_tried_again(void)
{
    static const int64_t waits[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    int64_t now = NOW;
    begin();
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        (void)look(now);
        (void)keeper_starts();
        opener_fails("it is not there", CONFIG_KEY_ID);
        CU_ASSERT_EQUAL(look(now + 5), now + 5 + waits[i]);
        CU_ASSERT_EQUAL(device->opening.phase, OPENING_DUE);
        CU_ASSERT_EQUAL(device->opening.socket, -1);
        CU_ASSERT_EQUAL(device->backend.file_id.inode, 77); /* it is in use, perhaps */
        close(opener);
        opener = -1;
        now += 5 + waits[i];
        CU_ASSERT_EQUAL(look(now - 1), now);
        CU_ASSERT_TRUE(keeper_has_nothing());
    }
    CU_ASSERT_STRING_EQUAL(device->opening.said.text, "it is not there");
    CU_ASSERT_EQUAL(device->opening.said_key, CONFIG_KEY_ID);
    (void)look(now);
    (void)keeper_starts();
    opener_fails("it is something else", CONFIG_KEY_SOCKET_PATH);
    (void)look(now);
    CU_ASSERT_EQUAL(device->opening.said_key, CONFIG_KEY_SOCKET_PATH);
    CU_ASSERT_STRING_EQUAL(end(), WHERE "it is not there\n"
                                        "bao-virtio-dm: " NAME ": f:2:90: it is something else\n");
}

static void waits_are_bounded(void)
{
    CU_ASSERT_EQUAL(opening_next_wait(0), OPENING_WAIT_FIRST_MS);
    CU_ASSERT_EQUAL(opening_next_wait(1), 2);
    CU_ASSERT_EQUAL(opening_next_wait(OPENING_WAIT_MAX_MS / 2 - 1), OPENING_WAIT_MAX_MS - 2);
    CU_ASSERT_EQUAL(opening_next_wait(OPENING_WAIT_MAX_MS / 2), OPENING_WAIT_MAX_MS);
    CU_ASSERT_EQUAL(opening_next_wait(OPENING_WAIT_MAX_MS), OPENING_WAIT_MAX_MS);
}

static void at_the_first_start_the_caller_tells_it(void)
{
    begin();
    context.quiet = true;
    (void)look(NOW);
    (void)keeper_starts();
    opener_fails("it is not there", CONFIG_KEYS); /* no key: that is the device's */
    (void)look(NOW);
    CU_ASSERT_STRING_EQUAL(device->opening.said.text, "it is not there");
    CU_ASSERT_EQUAL(device->opening.said_key, CONFIG_KEY_ID);
    CU_ASSERT_STRING_EQUAL(end(), "");
}

/* An opener is less trusted than the broker. */
static void a_text_without_an_end_is_cut(void)
{
    begin();
    (void)look(NOW);
    (void)keeper_starts();
    int files[OPENED_FILES];
    size_t count;
    union message message = opened(files, &count);
    message.opened.error = ENOENT;
    memset(message.opened.text, 'a', sizeof(message.opened.text));
    opener_answers(message, 3);
    (void)look(NOW);
    CU_ASSERT_EQUAL(strlen(device->opening.said.text), FAILURE_SIZE - 1);
    (void)end();
}

static void one_that_has_recovered_says_so(void)
{
    begin();
    (void)look(NOW);
    (void)keeper_starts();
    opener_fails("it is not there", CONFIG_KEY_ID);
    int64_t next = look(NOW);
    close(opener);
    (void)look(next);
    (void)keeper_starts();
    opener_opens();
    (void)look(next);
    CU_ASSERT_EQUAL(device->opening.phase, OPENING_DONE);
    CU_ASSERT_STRING_EQUAL(end(), WHERE "it is not there\n"
                                        "bao-virtio-dm: " NAME ": its backend is open now\n");
}

static void one_that_takes_long_is_told_once(void)
{
    begin();
    (void)look(NOW);
    (void)keeper_starts();
    CU_ASSERT_EQUAL(look(NOW + OPENING_SLOW_MS - 1), NOW + OPENING_SLOW_MS);
    CU_ASSERT_EQUAL(look(NOW + OPENING_SLOW_MS), INT64_MAX);
    CU_ASSERT_EQUAL(look(NOW + OPENING_SLOW_MS + 1), INT64_MAX);
    CU_ASSERT_EQUAL(look(NOW + OPENING_SLOW_MS + 1), INT64_MAX);
    opener_opens();
    (void)look(NOW + OPENING_SLOW_MS + 2);
    CU_ASSERT_STRING_EQUAL(end(),
                           "bao-virtio-dm: " NAME ": its backend has not been opened for 10 s: the "
                           "device waits for it, the others do not\n"
                           "bao-virtio-dm: " NAME ": its backend is open now\n");
}

#define NO_ANSWER                                                                                  \
    "its backend can't be opened just now: the process that opens it has not answered, or an "     \
    "earlier one has not ended"

static void an_opener_that_ends_has_failed(void)
{
    begin();
    (void)look(NOW);
    (void)keeper_starts();
    close(opener);
    opener = -1;
    CU_ASSERT_EQUAL(look(NOW + 3), NOW + 3 + 1000);
    CU_ASSERT_STRING_EQUAL(end(), WHERE NO_ANSWER "\n");
}

/* No number says that there is no socket, but a negative one. */
static void its_socket_may_have_the_number_0(void)
{
    begin();
    free_0();
    (void)look(NOW);
    CU_ASSERT_EQUAL(device->opening.socket, 0);
    (void)keeper_starts();
    opener_fails("it is not there", CONFIG_KEY_ID);
    (void)look(NOW);
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0);
    take_0_back();
    CU_ASSERT_STRING_EQUAL(end(), WHERE "it is not there\n");
}

/* Number 1 is an error like any other. */
static void no_permission_is_a_failure(void)
{
    begin();
    (void)look(NOW);
    (void)keeper_starts();
    int files[OPENED_FILES];
    size_t count;
    union message message = opened(files, &count);
    message.opened.error = EPERM;
    strcpy(message.opened.text, "it is not allowed");
    opener_answers(message, 3);
    CU_ASSERT_EQUAL(look(NOW), NOW + 1000);
    CU_ASSERT_EQUAL(backend_listener(&device->backend, 0), -1);
    CU_ASSERT_STRING_EQUAL(end(), WHERE "it is not allowed\n");
}

static void no_opener_is_a_failure(void)
{
    begin();
    int before = context.keeper;
    context.keeper = -1;
    CU_ASSERT_EQUAL(look(NOW), NOW + 1000);
    CU_ASSERT_EQUAL(device->opening.socket, -1);
    context.keeper = before;
    CU_ASSERT_STRING_EQUAL(end(), WHERE "can't have its backend opened: Bad file descriptor\n");
    struct rlimit limit, low;
    begin();
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &low), 0);
    CU_ASSERT_EQUAL(look(NOW), NOW + 1000);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CU_ASSERT_STRING_EQUAL(end(), WHERE "can't have its backend opened: Too many open files\n");
}

static void what_is_not_this_device_s_is_not_used(void)
{
    begin();
    (void)look(NOW);
    (void)keeper_starts();
    int files[OPENED_FILES];
    size_t count;
    union message message = opened(files, &count);
    message.opened.digest++;
    opener_answers(message, 3);
    CU_ASSERT_EQUAL(look(NOW), NOW + 1000);
    CU_ASSERT_EQUAL(backend_listener(&device->backend, 0), -1);
    CU_ASSERT_STRING_EQUAL(end(), WHERE "its backend can't be used: Protocol error\n");
}

/* By another path it is the other device's image. */
static void a_file_of_another_device_is_not_used(void)
{
    for (unsigned int quiet = 0; quiet < 2; quiet++) {
        begin();
        context.quiet = quiet == 1;
        devices[1].backend.file_id = (struct file_id){8, 77};
        (void)look(NOW);
        (void)keeper_starts();
        opener_opens();
        (void)look(NOW);
        CU_ASSERT_EQUAL(device->opening.phase, quiet ? OPENING_DONE : OPENING_DUE);
        CU_ASSERT_EQUAL(device->opening.said_key, quiet ? 0 : CONFIG_KEY_SOCKET_PATH);
        (void)end();
        CU_ASSERT_EQUAL(strstr(said.text, "is also that of block 2, f:3:74: choose another") != 0,
                        quiet == 0);
    }
}

/* ---- What the keeper kept ---- */

static int next_file = -1; /* of somebody else, beside those that were kept */

static bool take_kept(bool good)
{
    int files[OPENED_FILES], copies[OPENED_FILES + 1];
    size_t count;
    union message message = opened(files, &count);
    message.opened.digest += good ? 0 : 1;
    for (size_t i = 0; i < count; i++)
        copies[i] = fcntl(files[i], F_DUPFD_CLOEXEC, 0);
    copies[count] = next_file;
    return opening_take_kept(device, &message.opened, copies, count, context.keeper);
}

static void what_was_kept_is_used(void)
{
    begin();
    CU_ASSERT_TRUE(take_kept(true));
    CU_ASSERT_EQUAL(device->opening.phase, OPENING_DONE);
    CU_ASSERT(backend_listener(&device->backend, 0) >= 0);
    CU_ASSERT_EQUAL(device->backend.files[OPENED_DIRECTORY], -1);
    CU_ASSERT_EQUAL(fd_count(), fds + 2);
    CU_ASSERT_EQUAL(look(NOW), INT64_MAX);
    CU_ASSERT_TRUE(keeper_has_nothing()); /* it has it already */
    CU_ASSERT_STRING_EQUAL(end(), "");
}

static void a_directory_may_have_the_number_0(void)
{
    begin();
    int files[OPENED_FILES];
    size_t count;
    union message message = opened(files, &count);
    CU_ASSERT_EQUAL_FATAL(count, 3);
    for (size_t i = 0; i < 2; i++)
        files[i] = fcntl(context.text, F_DUPFD_CLOEXEC, 0);
    free_0();
    files[2] = fcntl(context.text, F_DUPFD_CLOEXEC, 0);
    CU_ASSERT_EQUAL(files[2], 0);
    CU_ASSERT_TRUE(opening_take_kept(device, &message.opened, files, count, context.keeper));
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0); /* the keeper has it */
    take_0_back();
    CU_ASSERT_EQUAL(device->backend.files[OPENED_DIRECTORY], -1);
    CU_ASSERT_STRING_EQUAL(end(), "");
}

static void what_can_t_be_used_is_forgotten(void)
{
    begin();
    next_file = keeper;
    CU_ASSERT_FALSE(take_kept(false));
    CU_ASSERT(fcntl(keeper, F_GETFD) >= 0);
    next_file = -1;
    CU_ASSERT_EQUAL(device->opening.phase, OPENING_DUE);
    CU_ASSERT_EQUAL(fd_count(), fds);
    CU_ASSERT_EQUAL(backend_listener(&device->backend, 0), -1);
    union message message;
    int got[MESSAGE_FDS_MAX];
    size_t count = 0;
    CU_ASSERT_EQUAL(message_receive(keeper, ROLE_BROKER, &message, got, &count), 1);
    CU_ASSERT_EQUAL(message.header.type, MSG_KEEP);
    CU_ASSERT_EQUAL(message.header.device, MESSAGE_NO_DEVICE);
    CU_ASSERT_EQUAL(message.opened.dm_id, 1);
    CU_ASSERT_EQUAL(message.opened.error, ESTALE);
    CU_ASSERT_EQUAL(count, 0);
    device->opening.tap_index = 4; /* the opener needs it */
    CU_ASSERT_FALSE(take_kept(false));
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_EQUAL(opening_forget(3, -1), -EBADF);
    CU_ASSERT_STRING_EQUAL(end(), "");
}

static int adopted;

static int adopt(struct backend *backend)
{
    CU_ASSERT_PTR_EQUAL(backend, &device->backend);
    CU_ASSERT(backend_listener(backend, 0) >= 0);
    return adopted;
}

static void a_kind_adopts_what_has_come(void)
{
    for (adopted = -EIO; adopted <= 0; adopted += EIO) {
        begin();
        struct backend_ops ops = *device->backend.ops;
        ops.adopt = adopt;
        device->backend.ops = &ops;
        CU_ASSERT_EQUAL(take_kept(true), adopted == 0);
        CU_ASSERT_EQUAL(device->opening.phase, adopted == 0 ? OPENING_DONE : OPENING_DUE);
        CU_ASSERT_EQUAL(backend_listener(&device->backend, 0) >= 0, adopted == 0);
        (void)end();
    }
    begin();
    struct backend_ops ops = *device->backend.ops;
    ops.adopt = adopt;
    device->backend.ops = &ops;
    adopted = 0;
    CU_ASSERT_FALSE(take_kept(false)); /* there is nothing to adopt */
    CU_ASSERT_EQUAL(device->opening.phase, OPENING_DUE);
    (void)end();
}

int main(int argc, char **argv)
{
    CU_TestInfo usual[] = {
        {"what an opener opens goes to the keeper", what_an_opener_opens_goes_to_the_keeper},
        {"what was open before", an_opener_learns_what_was_open_before},
        {"nothing is kept before lock-down", nothing_is_kept_before_lock_down},
        {"a keeper that takes nothing now", a_keeper_that_takes_nothing_now_is_asked_again},
        {"what it is called", what_it_is_called_is_said_after_lock_down},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo failures[] = {
        {"a failure is told once", a_failure_is_told_once_and_tried_again},
        {"waits are bounded", waits_are_bounded},
        {"at the first start the caller tells it", at_the_first_start_the_caller_tells_it},
        {"a text without an end is cut", a_text_without_an_end_is_cut},
        {"one that has recovered says so", one_that_has_recovered_says_so},
        {"one that takes long is told once", one_that_takes_long_is_told_once},
        {"an opener that ends has failed", an_opener_that_ends_has_failed},
        {"its socket may have the number 0", its_socket_may_have_the_number_0},
        {"no permission is a failure", no_permission_is_a_failure},
        {"no opener is a failure", no_opener_is_a_failure},
        {"what is not this device's", what_is_not_this_device_s_is_not_used},
        {"a file of another device", a_file_of_another_device_is_not_used},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo kept[] = {
        {"what was kept is used", what_was_kept_is_used},
        {"a directory may have the number 0", a_directory_may_have_the_number_0},
        {"what can't be used is forgotten", what_can_t_be_used_is_forgotten},
        {"a kind adopts what has come", a_kind_adopts_what_has_come},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"usual", NULL, NULL, NULL, NULL, usual},
        {"failures", NULL, NULL, NULL, NULL, failures},
        {"kept", NULL, NULL, NULL, NULL, kept},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
