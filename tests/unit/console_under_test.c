/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/console_under_test.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

char folder[] = "/tmp/test_console.XXXXXX";
char path[PATH_MAX];

struct backend backend;
struct failure failure;
struct device_config config;
enum config_key key;

/* ---- In front of the C library ---- */

struct kernel_mode *stand_in;
int peer_flags, master_flags, log_flags[CONSOLE_LOG_FILES];
static unsigned int logs_opened;
static int last_log = -1;
void (*before_log)(unsigned int number);

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    const char *name = request == TIOCGPTPEER  ? "TIOCGPTPEER"
                       : request == TCGETS     ? "TCGETS"
                       : request == TCSETS     ? "TCSETS"
                       : request == TIOCGWINSZ ? "TIOCGWINSZ"
                                               : "ioctl";
    if (call_fails(name))
        return -1;
    if (request == TIOCGPTPEER)
        peer_flags = (int)(intptr_t)argument;
    if (!stand_in || (request != TCGETS && request != TCSETS))
        return __real_ioctl(fd, request, argument);
    if (request == TCGETS)
        memcpy(argument, stand_in, sizeof(*stand_in));
    else
        memcpy(stand_in, argument, sizeof(*stand_in));
    return 0;
}

int __real_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...)
{
    va_list arguments;
    if ((flags & O_CREAT) == 0)
        return __real_openat(directory, name, flags);
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (call_fails("openat"))
        return -1;
    if (before_log)
        before_log(logs_opened);
    if (logs_opened < CONSOLE_LOG_FILES)
        log_flags[logs_opened++] = flags;
    last_log = __real_openat(directory, name, flags, mode);
    return last_log;
}

int __real_posix_openpt(int flags);
int __wrap_posix_openpt(int flags);
int __wrap_posix_openpt(int flags)
{
    master_flags = flags;
    return call_fails("posix_openpt") ? -1 : __real_posix_openpt(flags);
}

int __real_ptsname_r(int fd, char *name, size_t size);
int __wrap_ptsname_r(int fd, char *name, size_t size);
int __wrap_ptsname_r(int fd, char *name, size_t size)
{
    return call_fails("ptsname_r") ? errno : __real_ptsname_r(fd, name, size);
}

/* Only of a log. */
int __real_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status)
{
    return fd == last_log && call_fails("fstat") ? -1 : __real_fstat(fd, status);
}

WRAPPED(int, epoll_create1, (int flags), (flags))
WRAPPED(int, epoll_ctl, (int epoll, int what, int fd, struct epoll_event *event),
        (epoll, what, fd, event))
WRAPPED(int, unlockpt, (int fd), (fd))
WRAPPED(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAPPED(int, fchdir, (int fd), (fd))
WRAPPED(int, unlinkat, (int directory, const char *name, int flags), (directory, name, flags))
WRAPPED(int, symlinkat, (const char *target, int directory, const char *name),
        (target, directory, name))

/* ---- A console ---- */

void begin(uint32_t ports)
{
    config = (struct device_config){.kind = DEVICE_CONSOLE_VIRTIO, .ports = ports};
    backend_init(&backend, &config);
    backend.console.readers = -1;
    logs_opened = 0;
    last_log = -1;
}

int open_backend(void)
{
    failure.text[0] = '\0';
    key = CONFIG_KEY_ID;
    int result = backend_console.open(&backend, &key, &failure);
    CU_ASSERT_EQUAL(result < 0, failure.text[0] != '\0');
    CU_ASSERT_PTR_NULL(failing.call); /* it has come to the call that fails */
    return result;
}

void close_backend(void)
{
    for (size_t file = 0; file < OPENED_FILES; file++) {
        if (backend.files[file] >= 0)
            close(backend.files[file]);
        backend.files[file] = -1;
    }
    if (backend.console.readers >= 0)
        close(backend.console.readers);
    backend.console.readers = -1;
}

void has_its_files(void)
{
    uint32_t files = 0;
    for (size_t file = 0; file < OPENED_FILES; file++)
        files |= backend.files[file] >= 0 ? 1u << file : 0;
    CU_ASSERT_EQUAL(files, backend_console.files(&config));
}

int master_of(unsigned int port)
{
    return backend.files[OPENED_PORT_FIRST + port];
}

void refused(int error, enum config_key expected_key, const char *words)
{
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL(open_backend(), -error);
    CU_ASSERT_EQUAL(key, expected_key);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
    close_backend();
    CU_ASSERT_EQUAL(fd_count(), before);
}

int make_folder(void)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/name", folder);
    return 0;
}

int remove_folder(void)
{
    return rmdir(folder);
}

void name_of(unsigned int port, char *ret, size_t size)
{
    CU_ASSERT_EQUAL(__real_ptsname_r(master_of(port), ret, size), 0);
}
