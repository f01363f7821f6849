/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console's log: which files it has, what is no log, and the messages for what fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/console_under_test.h"
#include "tests/unit/failing_calls.h"

static char old_path[PATH_MAX + 4];

static void begin_log(const char *log)
{
    begin(1);
    config.log_path = (char *)log;
    config.log_size = 123456;
    snprintf(old_path, sizeof(old_path), "%s.1", log);
}

static void is_file(int fd, const char *name, int flags)
{
    struct stat opened, named;
    CU_ASSERT(fstat(fd, &opened) == 0 && stat(name, &named) == 0);
    CU_ASSERT(opened.st_ino == named.st_ino && opened.st_dev == named.st_dev);
    CU_ASSERT_EQUAL(opened.st_mode, S_IFREG | 0600);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), flags);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

/* The log, the file for the contents of a full log, and the log to copy from. */
static void the_files_of_a_log(void)
{
    const int always = O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW;
    struct message_start start;
    struct backend_fds given;
    struct stat status;
    mode_t before = umask(0);
    begin_log(path);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_LOG_PATH);
    umask(before);
    has_its_files();
    CU_ASSERT_EQUAL(backend_console.boxed(&config), backend_console.files(&config));
    is_file(master_of(0), path, O_WRONLY | O_APPEND);
    is_file(master_of(1), old_path, O_WRONLY | O_APPEND);
    is_file(master_of(2), path, O_RDONLY);
    for (unsigned int i = 0; i < CONSOLE_LOG_FILES; i++)
        CU_ASSERT_EQUAL(log_flags[i] & always, always);
    CU_ASSERT(fstat(master_of(0), &status) == 0 && backend.file_id.inode == status.st_ino &&
              backend.file_id.device == status.st_dev);
    CU_ASSERT(stat(folder, &status) == 0 && backend.directory_id.inode == status.st_ino &&
              backend.directory_id.device == status.st_dev);

    memset(&start, 0xff, sizeof(start));
    memset(&given, 0xff, sizeof(given));
    CU_ASSERT_EQUAL(backend_console.queues(&config), 2);
    CU_ASSERT_EQUAL(backend_console.give(&backend, &start, &given), 0);
    CU_ASSERT(start.of_kind.console.ports == 1 && start.of_kind.console.files == 1);
    CU_ASSERT_EQUAL(start.of_kind.console.log_size, 123456);
    CU_ASSERT_EQUAL(given.count, 1 + STATE_CONSOLE_PORTS);
    CU_ASSERT_EQUAL(given.boxed, 1u << 1 | 1u << 2 | 1u << 3);
    CU_ASSERT_EQUAL(given.fds[0], backend.console.readers);
    for (unsigned int i = 0; i < STATE_CONSOLE_PORTS; i++)
        CU_ASSERT_EQUAL(given.fds[1 + i], i < 3 ? master_of(i) : backend.console.readers);
    close_backend();
    unlink(path);
    unlink(old_path);
}

static void cannot_log(int error, const char *name, const char *reason)
{
    char words[2 * PATH_MAX];
    snprintf(words, sizeof(words), "log file \"%s\"%s", name, reason);
    words[sizeof(failure.text) - 1] = '\0'; /* a line has an end */
    refused(error, CONFIG_KEY_LOG_PATH, words);
}

#define OTHER_NAMES                                                                                \
    " has other names as well (hard links), in a directory that others than root may write to: "   \
    "copy it, or move it to a directory that only root may write to"

static void what_is_no_log(void)
{
    char other[PATH_MAX + 8];
    begin_log(path);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    cannot_log(EISDIR, path, ": Is a directory");
    rmdir(path);
    begin_log(path);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    cannot_log(ENXIO, path, ": No such device or address"); /* and does not hang */
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    begin_log(path);
    cannot_log(EINVAL, path, " is no regular file: choose another name");
    close(reader);
    unlink(path);
    snprintf(other, sizeof(other), "%s.other", path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CU_ASSERT_EQUAL(link(path, other), 0);
    begin_log(path);
    cannot_log(EINVAL, path, OTHER_NAMES);
    unlink(path);
    CU_ASSERT_EQUAL(link(other, old_path), 0); /* the second file is looked at as well */
    begin_log(path);
    cannot_log(EINVAL, old_path, OTHER_NAMES);
    unlink(path);
    unlink(old_path);
    unlink(other);
    begin_log("/tmp/there-is-none/log");
    cannot_log(ENOENT, "/tmp/there-is-none/log", ": No such file or directory");
}

static void logs_that_fail(void)
{
    begin_log(path);
    fail_once("openat", EROFS, 0);
    cannot_log(EROFS, path, ": Read-only file system");
    begin_log(path);
    fail_once("openat", EROFS, 1);
    cannot_log(EROFS, old_path, ": Read-only file system");
    begin_log(path);
    fail_once("openat", EROFS, 2);
    cannot_log(EROFS, path, ": Read-only file system");
    begin_log(path);
    fail_once("fstat", EIO, 0);
    cannot_log(EINVAL, path, " Input/output error");
    begin_log(path);
    fail_once("epoll_create1", EMFILE, 0);
    refused(EMFILE, CONFIG_KEY_PTY_ALIAS, "can't watch terminals: Too many open files");
    unlink(path);
    unlink(old_path);
}

static void replace_log(unsigned int number)
{
    if (number != 2)
        return;
    CU_ASSERT_EQUAL(rename(path, old_path), 0);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

/* Then what is copied would not be what was written. */
static void a_log_that_is_replaced_meanwhile(void)
{
    begin_log(path);
    before_log = replace_log;
    cannot_log(EAGAIN, path, " was replaced meanwhile");
    before_log = NULL;
    unlink(path);
    unlink(old_path);
}

/* The name of the file that takes the contents of a full log is two bytes longer. */
static void names_that_are_too_long(void)
{
    char name[PATH_MAX];
    int used = snprintf(name, sizeof(name), "%s/", folder);
    memset(name + used, 'x', NAME_MAX);
    name[used + NAME_MAX - 1] = '\0';
    begin_log(name);
    cannot_log(ENAMETOOLONG, old_path, ": File name too long");
    name[used + NAME_MAX - 2] = '\0';
    begin_log(name);
    CU_ASSERT_EQUAL(open_backend(), 0);
    close_backend();
    unlink(name);
    unlink(old_path);
}

/* Then other devices are compared with the name in the configuration. */
static void a_log_by_a_link(void)
{
    begin_log("/proc/self/fd/there-is-none");
    CU_ASSERT_EQUAL(open_backend(), -ENOENT);
    close_backend();
    begin_log(path);
    CU_ASSERT_EQUAL(symlink("log", path), 0); /* /tmp belongs to everybody */
    CU_ASSERT_EQUAL(open_backend(), -ELOOP);
    close_backend();
    unlink(path);
}

static void a_log_file_may_have_the_number_0(void)
{
    begin_log(path);
    gives_0 = "openat";
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT_EQUAL(master_of(0), 0);
    close_backend();
    take_0_back();
    unlink(path);
    unlink(old_path);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"the files of a log", the_files_of_a_log},
        {"what is no log", what_is_no_log},
        {"logs that fail", logs_that_fail},
        {"a log that is replaced meanwhile", a_log_that_is_replaced_meanwhile},
        {"names that are too long", names_that_are_too_long},
        {"a log by a link", a_log_by_a_link},
        {"a log file may have the number 0", a_log_file_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {.pName = "the log of a console",
         .pInitFunc = make_folder,
         .pCleanupFunc = remove_folder,
         .pTests = tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
