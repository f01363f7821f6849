/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only root decides where a path leads. Links are followed in directories that belong to root
 * alone, and nowhere else. Needs root, for a mount namespace with a directory that belongs to root.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/directory.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define OWN "/mnt/own"     /* belongs to root */
#define SHARED "/mnt/open" /* everybody may write to it */
#define USER 54321

WRAPPED(int, fstat, (int fd, struct stat *status), (fd, status))
WRAPPED(int, fchdir, (int fd), (fd))
WRAPPED(ssize_t, readlinkat, (int fd, const char *name, char *target, size_t size),
        (fd, name, target, size))

int __real_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...)
{
    return call_fails("openat") ? -1 : __real_openat(directory, name, flags);
}

int __real_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return call_fails("open") ? -1 : __real_open(name, flags, mode);
}

static bool make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int make_world(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/mnt", "tmpfs", 0, "mode=0755") < 0 || mkdir(OWN, 0755) < 0 ||
        mkdir(OWN "/sub", 0755) < 0 || mkdir(SHARED, 0755) < 0 || mkdir(SHARED "/sub", 0755) < 0 ||
        chmod(SHARED, 01777) < 0 || !make_file(OWN "/sub/file") || !make_file(SHARED "/file"))
        return -1;
    return 0;
}

static int leave_world(void)
{
    return umount("/mnt");
}

/* Each path is walked along in three ways: as it is; with a free number 0, which is then one of the
 * walk's files; and with a step more, so that another of its files has that number. */
enum { AS_IT_IS, WITH_0, WITH_0_LATER, WAYS };

static int find(const char *path, bool follow, int way, struct directory *ret,
                struct failure *failure)
{
    char longer[PATH_MAX + 8];
    snprintf(longer, sizeof(longer), "%s%s", path[0] == '/' ? "/." : "./", path);
    if (way != AS_IT_IS)
        free_0();
    int result = directory_find(way == WITH_0_LATER ? longer : path, follow, "image", ret, failure);
    if (way != AS_IT_IS && result == 0 && ret->fd == 0)
        ret->fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
    else if (way != AS_IT_IS)
        CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0); /* no file of the walk is left */
    if (way != AS_IT_IS)
        take_0_back();
    return result;
}

static void found_in(const char *path, bool follow, int way, const char *folder, const char *name,
                     bool roots_own)
{
    struct directory directory;
    struct failure failure;
    struct stat status;
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL_FATAL(find(path, follow, way, &directory, &failure), 0);
    CU_ASSERT_EQUAL(fd_count(), before + 1);
    CU_ASSERT_EQUAL(fcntl(directory.fd, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_TRUE((fcntl(directory.fd, F_GETFL) & O_PATH) != 0);
    CU_ASSERT_EQUAL_FATAL(fstat(directory.fd, &status), 0);
    CU_ASSERT_EQUAL(directory.id.inode, status.st_ino);
    CU_ASSERT_STRING_EQUAL(directory.name, name);
    CU_ASSERT_EQUAL(directory.roots_own, roots_own);
    CU_ASSERT_EQUAL_FATAL(stat(folder, &status), 0);
    CU_ASSERT_EQUAL(directory.id.device, status.st_dev);
    CU_ASSERT_EQUAL(directory.id.inode, status.st_ino);
    CU_ASSERT_EQUAL(directory.owner, status.st_uid);
    directory_close(&directory);
    CU_ASSERT_EQUAL(directory.fd, -1);
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* Asserts that the path is found to be `name` in `folder`. */
static void expect_found(const char *path, bool follow, const char *folder, const char *name,
                         bool roots_own)
{
    for (int way = AS_IT_IS; way < WAYS; way++)
        found_in(path, follow, way, folder, name, roots_own);
}

static void refused_with(const char *path, bool follow, int way, int error, const char *words)
{
    struct directory directory;
    struct failure failure;
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL(find(path, follow, way, &directory, &failure), -error);
    CU_ASSERT_EQUAL(fd_count(), before);
    CU_ASSERT_NSTRING_EQUAL(failure.text, "image \"", 7);
    if (!strstr(failure.text, words))
        fprintf(stderr, "\nnot in \"%s\": %s\n", failure.text, words);
    CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, words));
}

static void expect_refused(const char *path, bool follow, int error, const char *words)
{
    for (int way = AS_IT_IS; way < WAYS; way++)
        refused_with(path, follow, way, error, words);
}

static void test_without_links(void)
{
    expect_found(OWN "/sub/file", true, OWN "/sub", "file", true);
    expect_found(OWN "//./sub/../sub/absent", true, OWN "/sub", "absent", true);
    expect_found(SHARED "/file", true, SHARED, "file", false);
    /* What lies below an open directory counts as open, too, whoever owns it. */
    expect_found(SHARED "/sub/file", true, SHARED "/sub", "file", false);
    expect_found(SHARED "/sub/../../own/file", true, OWN, "file", false);
    expect_refused(OWN "/absent/file", true, ENOENT, "No such file or directory");
    expect_refused(OWN "/sub/file/x", true, ENOTDIR, "Not a directory");
    for (int way = AS_IT_IS; way < WITH_0_LATER; way++) {
        refused_with("/", true, way, EISDIR, "Is a directory");
        refused_with("", true, way, EISDIR, "Is a directory");
    }
    expect_found(OWN "/sub/file///", true, OWN "/sub", "file", true);
    expect_found(OWN "/sub/file", false, OWN "/sub", "file", true);
}

/* Fill `ret` with `size` - 1 characters: `path`, after steps that lead nowhere. */
static void lengthen(char *ret, size_t size, const char *path)
{
    size_t length = strlen(path);
    memset(ret, '/', size - 1 - length);
    memcpy(ret + size - 1 - length, path, length + 1);
}

static void test_long_paths(void)
{
    char path[PATH_MAX + 1], name[NAME_MAX + 1];
    lengthen(path, PATH_MAX, OWN "/sub/file");
    found_in(path, true, AS_IT_IS, OWN "/sub", "file", true);
    lengthen(path, PATH_MAX + 1, OWN "/sub/file");
    refused_with(path, true, AS_IT_IS, ENAMETOOLONG, "image \"/");
    int used = snprintf(path, sizeof(path), OWN "/");
    memset(name, 'x', NAME_MAX);
    name[NAME_MAX] = '\0';
    snprintf(path + used, sizeof(path) - (size_t)used, "%s", name);
    expect_found(path, false, OWN, name, true);
    expect_found(path, true, OWN, name, true);
    snprintf(path + used, sizeof(path) - (size_t)used, "%sx", name);
    expect_refused(path, false, ENAMETOOLONG, "File name too long");
    snprintf(path + used, sizeof(path) - (size_t)used, "%sx/file", name);
    expect_refused(path, true, ENAMETOOLONG, "File name too long");
}

/* What a link leads to and what is left of the path make a path, too. */
static void test_long_links(void)
{
    char target[PATH_MAX], path[PATH_MAX];
    const size_t left = sizeof("left/file") - 1;
    lengthen(target, PATH_MAX - 1 - left, OWN "/sub");
    CU_ASSERT_EQUAL(symlink(target, OWN "/long"), 0);
    CU_ASSERT_EQUAL(mkdir(OWN "/sub/left", 0755), 0);
    snprintf(path, sizeof(path), OWN "/long/left/file");
    expect_found(path, true, OWN "/sub/left", "file", true);
    CU_ASSERT_EQUAL(unlink(OWN "/long"), 0);
    lengthen(target, PATH_MAX - left, OWN "/sub");
    CU_ASSERT_EQUAL(symlink(target, OWN "/long"), 0);
    expect_refused(path, true, ENAMETOOLONG, "File name too long");
    CU_ASSERT_EQUAL(unlink(OWN "/long"), 0);
    CU_ASSERT_EQUAL(rmdir(OWN "/sub/left"), 0);
}

/* As many links as the kernel follows. */
static void test_many_links(void)
{
    char target[32], link[64];
    for (int i = 0; i < 41; i++) {
        snprintf(target, sizeof(target), i == 0 ? "sub/file" : "%d", i - 1);
        snprintf(link, sizeof(link), OWN "/%d", i);
        CU_ASSERT_EQUAL(symlink(target, link), 0);
    }
    expect_found(OWN "/0", true, OWN "/sub", "file", true); /* this target has one letter */
    expect_found(OWN "/1", true, OWN "/sub", "file", true);
    expect_found(OWN "/39", true, OWN "/sub", "file", true);
    expect_refused(OWN "/40", true, ELOOP, "Too many levels of symbolic links");
    for (int i = 0; i < 41; i++) {
        snprintf(link, sizeof(link), OWN "/%d", i);
        CU_ASSERT_EQUAL(unlink(link), 0);
    }
    CU_ASSERT_EQUAL(symlink("/", OWN "/root"), 0);
    expect_refused(OWN "/root", true, EISDIR, "Is a directory");
    expect_found(OWN "/root/mnt/own/x", true, OWN, "x", true);
    expect_found(OWN "/sub/f", true, OWN "/sub", "f", true);
    CU_ASSERT_EQUAL(unlink(OWN "/root"), 0);
}

/* Let the first call fail, then the second, and so on. Returns how many there are. */
static unsigned int let_fail(const char *call, const char *path)
{
    for (unsigned int later = 0;; later++) {
        struct directory directory;
        struct failure failure;
        char words[200];
        unsigned int before = fd_count();
        fail_once(call, EIO, later);
        int result = directory_find(path, true, "image", &directory, &failure);
        if (result == 0) {
            CU_ASSERT_PTR_NOT_NULL(failing.call);
            failing.call = NULL;
            directory_close(&directory);
            return later;
        }
        snprintf(words, sizeof(words), "image \"%s\": Input/output error", path);
        CU_ASSERT_EQUAL(result, -EIO);
        CU_ASSERT_STRING_EQUAL(failure.text, words);
        CU_ASSERT_EQUAL(fd_count(), before);
    }
}

/* Whichever call fails, its error comes back, and nothing stays open. */
static void test_calls_that_fail(void)
{
    CU_ASSERT_EQUAL(symlink("sub/file", OWN "/failing"), 0);
    /* At least one for each part of the way, and here for each directory up to the root. */
    CU_ASSERT_TRUE(let_fail("openat", OWN "/failing") >= 5);
    CU_ASSERT_TRUE(let_fail("fstat", OWN "/failing") >= 5);
    CU_ASSERT_EQUAL(let_fail("readlinkat", OWN "/failing"), 1);
    CU_ASSERT_EQUAL_FATAL(chdir(OWN), 0);
    CU_ASSERT_TRUE(let_fail("openat", "failing") >= 6);
    CU_ASSERT_TRUE(let_fail("fstat", "failing") >= 6);
    CU_ASSERT_EQUAL_FATAL(chdir("/"), 0);
    CU_ASSERT_EQUAL(unlink(OWN "/failing"), 0);
}

/* For example /dev/disk/by-id/... */
static void test_links_of_roots(void)
{
    CU_ASSERT_EQUAL(symlink("sub/file", OWN "/relative"), 0);
    CU_ASSERT_EQUAL(symlink(OWN "/sub", OWN "/folder"), 0);
    CU_ASSERT_EQUAL(symlink(SHARED "/file", OWN "/to-shared"), 0);
    CU_ASSERT_EQUAL(symlink("circle", OWN "/circle"), 0);
    CU_ASSERT_EQUAL(symlink("absent", OWN "/dangling"), 0);
    expect_found(OWN "/relative", true, OWN "/sub", "file", true);
    expect_found(OWN "/folder/file", true, OWN "/sub", "file", true);
    expect_found(OWN "/folder/../relative", true, OWN "/sub", "file", true);
    expect_found(OWN "/to-shared", true, SHARED, "file", false);
    expect_found(OWN "/dangling", true, OWN, "absent", true);
    /* The link itself, if one is to be made or replaced. */
    expect_found(OWN "/relative", false, OWN, "relative", true);
    expect_refused(OWN "/circle", true, ELOOP, "Too many levels of symbolic links");
}

static void test_links_of_others(void)
{
    CU_ASSERT_EQUAL(symlink(OWN "/sub/file", SHARED "/link"), 0);
    CU_ASSERT_EQUAL(symlink("..", SHARED "/sub/up"), 0);
    CU_ASSERT_EQUAL(symlink(SHARED, OWN "/shared"), 0);
    expect_refused(SHARED "/link", true, ELOOP, "\"link\" is a link in a directory that others");
    expect_refused(SHARED "/sub/up/file", false, ELOOP, "\"up\" is a link in a directory");
    expect_refused(OWN "/shared/link", true, ELOOP, "\"link\" is a link in a directory");
    expect_found(SHARED "/link", false, SHARED, "link", false);
    /* A directory does not belong to root alone: there are three ways, and each is tried. */
    CU_ASSERT_EQUAL(symlink("file", OWN "/sub/link"), 0);
    expect_found(OWN "/sub/link", true, OWN "/sub", "file", true);
    CU_ASSERT_EQUAL(chmod(OWN "/sub", 0775), 0);
    expect_refused(OWN "/sub/link", true, ELOOP, "is a link");
    CU_ASSERT_EQUAL(chmod(OWN "/sub", 0757), 0);
    expect_refused(OWN "/sub/link", true, ELOOP, "is a link");
    CU_ASSERT_EQUAL(chmod(OWN "/sub", 0755), 0);
    CU_ASSERT_EQUAL(chown(OWN "/sub", USER, 0), 0);
    expect_refused(OWN "/sub/link", true, ELOOP, "is a link");
    CU_ASSERT_EQUAL(chown(OWN "/sub", 0, 0), 0);
    expect_found(OWN "/sub/link", true, OWN "/sub", "file", true);
}

static void test_relative_paths(void)
{
    CU_ASSERT_EQUAL_FATAL(chdir(SHARED "/sub"), 0);
    expect_found("name", true, SHARED "/sub", "name", false);
    expect_refused("up/file", true, ELOOP, "is a link");
    CU_ASSERT_EQUAL_FATAL(chdir(OWN "/sub"), 0);
    expect_found("link", true, OWN "/sub", "file", true);
    /* Each directory above it counts. */
    CU_ASSERT_EQUAL(chmod(OWN "/sub", 0777), 0);
    expect_refused("link", true, ELOOP, "is a link");
    CU_ASSERT_EQUAL(chmod(OWN "/sub", 0755), 0);
    CU_ASSERT_EQUAL(chmod(OWN, 0777), 0);
    expect_refused("link", true, ELOOP, "is a link");
    CU_ASSERT_EQUAL(chmod(OWN, 0755), 0);
    CU_ASSERT_EQUAL(chmod("/mnt", 0777), 0);
    expect_refused("link", true, ELOOP, "is a link");
    CU_ASSERT_EQUAL(chmod("/mnt", 0755), 0);
    expect_found("link", true, OWN "/sub", "file", true);
    CU_ASSERT_EQUAL_FATAL(chdir("/"), 0);
    expect_found("mnt", true, "/", "mnt", true);
    CU_ASSERT_EQUAL_FATAL(chdir("/"), 0);
}

static void test_entered(void)
{
    struct directory directory;
    struct failure failure;
    char before[64], within[64], after[64];
    int back;
    CU_ASSERT_PTR_NOT_NULL(getcwd(before, sizeof(before)));
    CU_ASSERT_EQUAL_FATAL(directory_find(OWN "/sub/file", true, "image", &directory, &failure), 0);
    unsigned int open_before = fd_count();
    CU_ASSERT_EQUAL_FATAL(directory_enter(&directory, &back), 0);
    CU_ASSERT_EQUAL(fcntl(back, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_TRUE((fcntl(back, F_GETFL) & O_PATH) != 0);
    CU_ASSERT_PTR_NOT_NULL(getcwd(within, sizeof(within)));
    directory_leave(back);
    CU_ASSERT_EQUAL(fd_count(), open_before);
    directory_close(&directory);
    CU_ASSERT_PTR_NOT_NULL(getcwd(after, sizeof(after)));
    CU_ASSERT_STRING_EQUAL(within, OWN "/sub");
    CU_ASSERT_STRING_EQUAL(after, before);
}

static void test_entering_that_fails(void)
{
    struct directory directory;
    struct failure failure;
    char before[64], after[64];
    int back = -77;
    CU_ASSERT_PTR_NOT_NULL(getcwd(before, sizeof(before)));
    CU_ASSERT_EQUAL_FATAL(directory_find(OWN "/sub/file", true, "image", &directory, &failure), 0);
    unsigned int open_before = fd_count();
    fail_once("open", EMFILE, 0);
    CU_ASSERT_EQUAL(directory_enter(&directory, &back), -EMFILE);
    fail_once("fchdir", EACCES, 0);
    CU_ASSERT_EQUAL(directory_enter(&directory, &back), -EACCES);
    CU_ASSERT_EQUAL(back, -77);
    CU_ASSERT_EQUAL(fd_count(), open_before);
    CU_ASSERT_PTR_NOT_NULL(getcwd(after, sizeof(after)));
    CU_ASSERT_STRING_EQUAL(after, before);
    free_0(); /* no number says that it failed, but a negative one */
    CU_ASSERT_EQUAL(directory_enter(&directory, &back), 0);
    CU_ASSERT_EQUAL(back, 0);
    directory_leave(back);
    take_0_back();
    directory_close(&directory);
    CU_ASSERT_PTR_NOT_NULL(getcwd(after, sizeof(after)));
    CU_ASSERT_STRING_EQUAL(after, before);
}

static const char *judged(bool roots_own, uid_t owner, nlink_t names, bool written)
{
    const struct directory directory = {.roots_own = roots_own, .owner = USER};
    const struct stat file = {.st_uid = owner, .st_nlink = names, .st_mode = S_IFREG | 0600};
    return directory_refuses(&directory, &file, written);
}

static void test_files(void)
{
    CU_ASSERT_PTR_NULL(judged(false, 0, 1, true));
    CU_ASSERT_PTR_NULL(judged(false, USER, 1, true));
    CU_ASSERT_PTR_NULL(judged(false, USER, 2, false));
    CU_ASSERT_PTR_NULL(judged(true, USER + 1, 2, true));
    CU_ASSERT_PTR_NOT_NULL_FATAL(judged(false, USER + 1, 1, false));
    CU_ASSERT_PTR_NOT_NULL(strstr(judged(false, USER + 1, 1, false), "belongs neither to root"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(judged(false, 0, 2, true));
    CU_ASSERT_PTR_NOT_NULL(strstr(judged(false, 0, 2, true), "hard links"));
    CU_ASSERT_PTR_NOT_NULL(judged(false, 1, 1, true));
    /* A directory has several names, and so may a node: neither is written to by its name. */
    const struct directory directory = {.owner = USER};
    const struct stat node = {.st_uid = 0, .st_nlink = 2, .st_mode = S_IFBLK | 0600};
    CU_ASSERT_PTR_NULL(directory_refuses(&directory, &node, true));
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"paths without links", test_without_links},
        {"long paths", test_long_paths},
        {"long links", test_long_links},
        {"many links", test_many_links},
        {"calls that fail", test_calls_that_fail},
        {"links of root's", test_links_of_roots},
        {"links that others could have made", test_links_of_others},
        {"relative paths", test_relative_paths},
        {"entered and left", test_entered},
        {"entering that fails", test_entering_that_fails},
        {"files in directories of others", test_files},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"directories", make_world, leave_world, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
