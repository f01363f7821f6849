/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening an input device: the messages for those that are refused, that it is grabbed, and what is
 * learned about it. The event device is /dev/null. An ioctl of this program's own stands in front
 * of it (--wrap) and answers as the kernel would: few machines that run tests have an event device.
 */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

static char folder[] = "/tmp/test_backend_input.XXXXXX";
static char path[64];

static bool is_event_device, knows_its_ids = true;
static int grab_error; /* 0: it can be grabbed */
static unsigned int grabs;
static int open_flags, opened = -1;

static bool unplugged, waited;

/* The device has no events here, but the kernel reports that it has gone. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    waited = waited || timeout != 0;
    CU_ASSERT(count == 1 && fds->events == 0);
    fds->revents = unplugged ? POLLERR | POLLHUP : 0;
    return count == 1 && unplugged;
}

int __real_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...)
{
    if ((flags & O_PATH) != 0) /* on its way to the device */
        return __real_openat(directory, name, flags);
    open_flags = flags;
    opened = call_fails("openat") ? -1 : __real_openat(directory, name, flags);
    return opened;
}

static bool is_a_users; /* what is opened is a device node of some user */

int __real_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status)
{
    int result = fd == opened && call_fails("fstat") ? -1 : __real_fstat(fd, status);
    if (is_a_users && S_ISREG(status->st_mode)) {
        status->st_mode = S_IFCHR | 0600;
        status->st_uid = 4711;
    }
    return result;
}

int __wrap_ioctl(int fd, unsigned long request, ...);

static int fill(void *to, size_t room, const void *from, size_t size)
{
    memcpy(to, from, size < room ? size : room);
    return (int)size;
}

static int answer(unsigned long request, void *to)
{
    static const struct input_id ids = {BUS_USB, 0x1234, 0x5678, 0x0111};
    static const struct input_absinfo axis = {
        .value = 7, .minimum = -5, .maximum = 1919, .fuzz = 1, .flat = 2, .resolution = 12};
    const size_t room = _IOC_SIZE(request);
    if (request == EVIOCGID && knows_its_ids)
        return fill(to, room, &ids, sizeof(ids)), 0;
    if (request == EVIOCGNAME(room))
        return fill(to, room, "a keyboard", sizeof("a keyboard"));
    if (request == EVIOCGUNIQ(room) && knows_its_ids)
        return fill(to, room, "serial-1", sizeof("serial-1"));
    if (request == EVIOCGPROP(room))
        return fill(to, room, &(uint8_t){1 << INPUT_PROP_DIRECT}, 1);
    if (request == EVIOCGBIT(EV_KEY, room))
        return fill(to, room, &(uint32_t){1u << KEY_A}, 4);
    if (request == EVIOCGBIT(EV_ABS, room))
        return fill(to, room, &(uint8_t){1 << ABS_Y}, 1);
    if (request == EVIOCGBIT(EV_LED, room))
        return fill(to, room, &(uint8_t){1 << LED_CAPSL}, 1);
    if (request == EVIOCGABS(ABS_Y))
        return fill(to, room, &axis, sizeof(axis)), 0;
    errno = ENOENT; /* the kernel's answer if there is no serial number */
    return -1;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    (void)fd;
    if (!is_event_device) {
        errno = ENOTTY;
        return -1;
    }
    if (request == EVIOCGVERSION)
        return 0;
    if (request == EVIOCGRAB && grab_error != 0) {
        errno = grab_error;
        return -1;
    }
    if (request == EVIOCGRAB) {
        grabs += argument != NULL; /* NULL would let it go */
        return 0;
    }
    return answer(request, argument);
}

static int open_device(struct backend *backend, const char *device, struct failure *failure)
{
    static struct device_config config;
    static char name[64];
    enum config_key key = CONFIG_KEY_ID;
    snprintf(name, sizeof(name), "%s", device);
    config = (struct device_config){.kind = DEVICE_INPUT_VIRTIO, .id = 4, .device_path = name};
    grabs = 0;
    opened = -1;
    failure->text[0] = '\0';
    backend_init(backend, &config);
    int result = backend_input.open(backend, &key, failure);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_DEVICE_PATH);
    /* There is a line for the user exactly if it failed, and the line names the device. */
    CU_ASSERT_EQUAL(result < 0, strstr(failure->text, device) != NULL);
    CU_ASSERT_EQUAL(result < 0, backend->files[OPENED_PORT_FIRST] < 0);
    return result;
}

static void refused(const char *device, int error, const char *words)
{
    struct backend backend;
    struct failure failure;
    char line[600];
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL(open_device(&backend, device, &failure), error);
    snprintf(line, sizeof(line), "input device \"%s\"%s", device, words);
    CU_ASSERT_STRING_EQUAL(failure.text, line);
    CU_ASSERT_EQUAL(grabs, 0);
    CU_ASSERT_EQUAL(fd_count(), before);
}

#define NO_EVENT_DEVICE                                                                            \
    " is no event device: choose one of /dev/input/event*, which \"cat /proc/bus/input/devices\" " \
    "lists"

static void what_is_no_event_device_is_refused(void)
{
    is_event_device = false;
    refused("/dev/input/there-is-none", -ENOENT, ": No such file or directory");
    refused("/dev/there-is-none", -ENOENT, ": No such file or directory");
    refused("/dev/null", -EINVAL, NO_EVENT_DEVICE);
    is_event_device = true; /* even if ioctl answers */
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    refused(path, -EINVAL, NO_EVENT_DEVICE); /* the open does not hang either */
    unlink(path);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    refused(path, -EINVAL, NO_EVENT_DEVICE);
    unlink(path);
}

static void one_that_somebody_has_is_busy(void)
{
    is_event_device = true;
    grab_error = EBUSY;
    refused("/dev/null", -EBUSY, " is grabbed by another process: end that one first");
    grab_error = EPERM;
    refused("/dev/null", -EPERM, ": Operation not permitted");
    grab_error = 0;
}

static void calls_that_fail(void)
{
    is_event_device = true;
    fail_once("openat", EIO, 0);
    refused("/dev/null", -EIO, ": Input/output error");
    fail_once("fstat", EIO, 0);
    refused("/dev/null", -EINVAL, " Input/output error");
}

/* Somebody who may write to a folder could have put another user's node there. */
static void nodes_of_somebody_else(void)
{
    is_event_device = true;
    is_a_users = true;
    snprintf(path, sizeof(path), "%s/device", folder);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    refused(path, -EINVAL,
            " belongs neither to root nor to the owner of its directory: change its owner, or move "
            "it to a directory that only root may write to");
    is_a_users = false;
    unlink(path);
}

static void what_there_is_is_grabbed_and_learned(void)
{
    struct backend backend;
    struct failure failure;
    struct message_start start = {0};
    struct backend_fds given;
    struct stat node;
    is_event_device = true;
    CU_ASSERT_EQUAL_FATAL(open_device(&backend, "/dev/null", &failure), 0);
    CU_ASSERT_EQUAL(grabs, 1);
    int fd = backend.files[OPENED_PORT_FIRST];
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR | O_NONBLOCK);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    /* A terminal of that name does not become ours, and a link is not followed. */
    CU_ASSERT_EQUAL(open_flags, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
    CU_ASSERT_EQUAL(backend_input.files(backend.config), 1u << OPENED_PORT_FIRST);
    /* The same device under another name is still the same: two devices can't have it. */
    CU_ASSERT_EQUAL(stat("/dev/null", &node), 0);
    CU_ASSERT(backend.file_id.device == node.st_rdev && backend.file_id.inode == 0);

    CU_ASSERT_EQUAL(backend_input.give(&backend, &start, &given), 0);
    CU_ASSERT(given.count == 1 && given.fds[0] == fd && given.boxed == 0);
    CU_ASSERT_FALSE(given.owned); /* the next worker gets it as well */
    const struct start_input *input = &start.of_kind.input;
    CU_ASSERT_STRING_EQUAL(input->name, "a keyboard");
    CU_ASSERT_STRING_EQUAL(input->serial, "serial-1");
    CU_ASSERT(input->ids.bustype == BUS_USB && input->ids.version == 0x0111);
    CU_ASSERT_EQUAL(input->properties[0], 1 << INPUT_PROP_DIRECT);
    CU_ASSERT_EQUAL(input->keys[KEY_A / 8], 1 << KEY_A % 8);
    CU_ASSERT_EQUAL(input->lights[0], 1 << LED_CAPSL);
    CU_ASSERT_EQUAL(input->relative[0], 0);
    CU_ASSERT((int32_t)input->axes[ABS_Y].min == -5 && input->axes[ABS_Y].max == 1919 &&
              input->axes[ABS_Y].res == 12);
    CU_ASSERT_EQUAL(input->axes[ABS_X].max, 0); /* the device has no such axis */
    close(fd);
}

static void what_a_device_does_not_know_is_0(void)
{
    struct backend backend;
    struct failure failure;
    is_event_device = true;
    knows_its_ids = false;
    CU_ASSERT_EQUAL_FATAL(open_device(&backend, "/dev/null", &failure), 0);
    knows_its_ids = true;
    const struct virtio_input_devids *ids = &backend.learned.input.ids;
    CU_ASSERT(ids->bustype == 0 && ids->vendor == 0 && ids->product == 0 && ids->version == 0);
    CU_ASSERT_STRING_EQUAL(backend.learned.input.serial, "");
    close(backend.files[OPENED_PORT_FIRST]);
}

/* The log is told once, and the status says it from then on. */
static void a_device_that_is_unplugged(void)
{
    static const char removed[] = "input device \"/dev/null\" was removed: start bao-virtio-dm "
                                  "again once it is back";
    struct backend backend;
    struct failure failure;
    struct state_backend state = {0}, untouched = {0};
    is_event_device = true;
    waited = false;
    CU_ASSERT_EQUAL_FATAL(open_device(&backend, "/dev/null", &failure), 0);
    CU_ASSERT_FALSE(backend_input.look(&backend, &state));
    CU_ASSERT(backend.news.text[0] == '\0' && backend.trouble.text[0] == '\0');
    unplugged = true;
    CU_ASSERT_FALSE(backend_input.look(&backend, &state)); /* the worker sees it itself */
    CU_ASSERT_STRING_EQUAL(backend.news.text, removed);
    CU_ASSERT_STRING_EQUAL(backend.trouble.text, removed);
    backend.news.text[0] = '\0'; /* as logging it does */
    unplugged = false;           /* what is plugged in again is another device */
    CU_ASSERT_FALSE(backend_input.look(&backend, &state));
    CU_ASSERT_STRING_EQUAL(backend.news.text, "");
    CU_ASSERT_STRING_EQUAL(backend.trouble.text, removed);
    unplugged = true;
    CU_ASSERT_FALSE(backend_input.look(&backend, &state));
    CU_ASSERT_STRING_EQUAL(backend.news.text, "");
    CU_ASSERT_EQUAL(memcmp(&state, &untouched, sizeof(state)), 0);
    CU_ASSERT_FALSE(waited);
    unplugged = false;
    close(backend.files[OPENED_PORT_FIRST]);
}

/* A number of a file is no failure unless it is negative. */
static void a_device_may_have_the_number_0(void)
{
    struct backend backend;
    struct failure failure;
    is_event_device = true;
    gives_0 = "openat";
    CU_ASSERT_EQUAL(open_device(&backend, "/dev/null", &failure), 0);
    CU_ASSERT_EQUAL(backend.files[OPENED_PORT_FIRST], 0);
    take_0_back();
}

static int make_folder(void)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/device", folder);
    return 0;
}

static int remove_folder(void)
{
    return rmdir(folder);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"what is no event device is refused", what_is_no_event_device_is_refused},
        {"one that somebody has is busy", one_that_somebody_has_is_busy},
        {"calls that fail", calls_that_fail},
        {"nodes of somebody else", nodes_of_somebody_else},
        {"what there is is grabbed, and learned", what_there_is_is_grabbed_and_learned},
        {"what a device does not know is 0", what_a_device_does_not_know_is_0},
        {"a device that is unplugged", a_device_that_is_unplugged},
        {"a device may have the number 0", a_device_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{.pName = "input device",
                              .pInitFunc = make_folder,
                              .pCleanupFunc = remove_folder,
                              .pTests = tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
