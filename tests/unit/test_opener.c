/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An opener opens the backend of one device and tells the broker what it has, or why it has
 * nothing. A backend that is in use just now may soon be free. The backend's kind is this test;
 * time passes only when it says so.
 */
#include "broker/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/backend/opened.h"
#include "broker/shared_page.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"

static const char yaml[] =
    "devices:\n"
    "- {id: 1, type: rng, data_plane: virtio, mmio_addr: 0x1000}\n"
    "- {id: 2, type: block, data_plane: virtio, mmio_addr: 0x2000, file_path: /x}\n";

/* ---- Time ---- */

static int64_t now_ms;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms)
{
    CU_ASSERT_PTR_NULL(files);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(timeout_ms, 50);
    now_ms += timeout_ms;
    return 0;
}

/* ---- The backend ---- */

static struct backend_ops ops;
static unsigned int opens, busy; /* so many times it is in use */
static int open_result;
static int opened = -1; /* its file */

static int open_it(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    if (++opens > 100)
        abort(); /* it does not end */
    CU_ASSERT_EQUAL(backend->config->id, 2);
    CU_ASSERT(backend->tap_before.ran && backend->tap_before.index == 9);
    CU_ASSERT_EQUAL(*ret_key, CONFIG_KEY_ID);
    for (size_t i = 0; i < OPENED_FILES; i++)
        CU_ASSERT_EQUAL(backend->files[i], -1); /* nothing is left of an earlier attempt */
    backend->file_id = (struct file_id){8, 77};
    *ret_key = CONFIG_KEY_FILE_PATH;
    if (opens <= busy)
        return failure_set(failure, -EBUSY, "it is in use");
    backend->files[OPENED_IMAGE] = opened = open("/dev/null", O_RDWR | O_CLOEXEC);
    return open_result < 0 ? failure_set(failure, open_result, "it is not right") : 0;
}

void __real_backend_init(struct backend *backend, const struct device_config *config);
void __wrap_backend_init(struct backend *backend, const struct device_config *config);

void __wrap_backend_init(struct backend *backend, const struct device_config *config)
{
    __real_backend_init(backend, config);
    ops = *backend->ops;
    ops.open = open_it;
    backend->ops = &ops;
}

static struct config *loaded;

int __real_config_load_text(int fd, const char *path, struct config *ret,
                            struct config_diagnostics *diags);
int __wrap_config_load_text(int fd, const char *path, struct config *ret,
                            struct config_diagnostics *diags);

int __wrap_config_load_text(int fd, const char *path, struct config *ret,
                            struct config_diagnostics *diags)
{
    CU_ASSERT_STRING_EQUAL(path, "f");
    loaded = ret;
    return __real_config_load_text(fd, path, ret, diags);
}

/* ---- An opener ---- */

static int broker; /* its end */
static union message message;
static int got[MESSAGE_FDS_MAX];
static size_t got_count;
static unsigned int fds;

static void begin(void)
{
    opens = busy = 0;
    open_result = 0;
    now_ms = 7000;
    loaded = NULL;
    broker = -1;
    got_count = 0;
    fds = fd_count();
}

/* Returns its exit status. Its files are closed as by its end. */
static int runs(const char *text, uint32_t id, bool broker_is_there)
{
    int sockets[2];
    char name[16], before[16];
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    struct opener opener = {.socket = sockets[0],
                            .text = shared_page_of_text("f", text, strlen(text)),
                            .path = "f",
                            .dm_id = id,
                            .tap = {.ran = true, .index = 9}};
    broker = sockets[1];
    if (!broker_is_there)
        close(broker);
    CU_ASSERT_EQUAL(prctl(PR_GET_NAME, before), 0);
    int status = opener_run(&opener);
    CU_ASSERT_EQUAL(prctl(PR_GET_NAME, name), 0);
    CU_ASSERT_STRING_EQUAL(name, "bao-opener"); /* a user sees it */
    CU_ASSERT_EQUAL(prctl(PR_SET_NAME, before), 0);
    CU_ASSERT_PTR_EQUAL(signal(SIGPIPE, SIG_DFL), SIG_IGN);
    close(opener.socket);
    close(opener.text);
    if (loaded)
        config_free(loaded);
    return status;
}

static bool broker_receives(void)
{
    return message_receive(broker, ROLE_OPENER, &message, got, &got_count) == 1;
}

/* `boxes`: how many the opener has made. */
static void end(unsigned int boxes)
{
    for (size_t i = 0; i < got_count; i++)
        close(got[i]);
    if (broker >= 0)
        close(broker);
    if (opened >= 0)
        close(opened);
    opened = -1;
    CU_ASSERT_EQUAL(fd_count(), fds + boxes);
}

static void what_it_has_opened_goes_to_the_broker(void)
{
    struct stat file;
    begin();
    CU_ASSERT_EQUAL(runs(yaml, 2, true), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(opens, 1);
    CU_ASSERT_TRUE_FATAL(broker_receives());
    CU_ASSERT_EQUAL(message.header.type, MSG_OPENED);
    CU_ASSERT_EQUAL(message.header.device, 2);
    CU_ASSERT_EQUAL(message.opened.dm_id, 2);
    CU_ASSERT_EQUAL(message.opened.error, 0);
    CU_ASSERT_EQUAL(message.opened.files, 1u << OPENED_IMAGE);
    CU_ASSERT_EQUAL(message.opened.file_id[1], 77);
    CU_ASSERT_STRING_EQUAL(message.opened.text, "");
    CU_ASSERT_EQUAL(got_count, 1);
    /* An image is never open in the broker: it is in a box. */
    CU_ASSERT_EQUAL(fstat(got[0], &file), 0);
    CU_ASSERT_TRUE(S_ISSOCK(file.st_mode));
    CU_ASSERT_FALSE(broker_receives());
    end(1);
}

static void why_it_has_nothing_is_told(void)
{
    begin();
    open_result = -EACCES;
    CU_ASSERT_EQUAL(runs(yaml, 2, true), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(opens, 1);
    CU_ASSERT_TRUE_FATAL(broker_receives());
    CU_ASSERT_EQUAL(message.header.type, MSG_OPENED);
    CU_ASSERT_EQUAL(message.header.device, 2);
    CU_ASSERT_EQUAL(message.opened.error, EACCES);
    CU_ASSERT_EQUAL(message.opened.key, CONFIG_KEY_FILE_PATH);
    CU_ASSERT_STRING_EQUAL(message.opened.text, "it is not right");
    CU_ASSERT_EQUAL(message.opened.file_id[1], 77); /* two devices must not share it */
    CU_ASSERT_EQUAL(message.opened.files, 0);       /* what it opened before it failed */
    CU_ASSERT_EQUAL(got_count, 0);
    end(0);
}

static void what_is_in_use_may_soon_be_free(void)
{
    begin();
    busy = 3;
    CU_ASSERT_EQUAL(runs(yaml, 2, true), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(opens, 4);
    CU_ASSERT_TRUE_FATAL(broker_receives());
    CU_ASSERT_EQUAL(message.opened.error, 0);
    end(1);
    begin();
    busy = 1000;
    CU_ASSERT_EQUAL(runs(yaml, 2, true), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(opens, 1 + 1000 / 50); /* in a second */
    CU_ASSERT_TRUE_FATAL(broker_receives());
    CU_ASSERT_EQUAL(message.opened.error, EBUSY);
    CU_ASSERT_STRING_EQUAL(message.opened.text, "it is in use");
    end(0);
}

static void it_opens_nothing_else(void)
{
    begin();
    CU_ASSERT_EQUAL(runs("devices: 3\n", 2, true), EXIT_FAILURE);
    CU_ASSERT_FALSE(broker_receives());
    end(0);
    begin();
    CU_ASSERT_EQUAL(runs(yaml, 3, true), EXIT_FAILURE); /* there is no such device */
    CU_ASSERT_FALSE(broker_receives());
    end(0);
    CU_ASSERT_EQUAL(opens, 0);
}

static void without_its_broker_it_fails(void)
{
    begin();
    CU_ASSERT_EQUAL(runs(yaml, 2, false), EXIT_FAILURE);
    CU_ASSERT_EQUAL(opens, 1);
    broker = -1;
    end(1);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"what it has opened goes to the broker", what_it_has_opened_goes_to_the_broker},
        {"why it has nothing is told", why_it_has_nothing_is_told},
        {"what is in use may soon be free", what_is_in_use_may_soon_be_free},
        {"it opens nothing else", it_opens_nothing_else},
        {"without its broker it fails", without_its_broker_it_fails},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "opener", tests);
}
