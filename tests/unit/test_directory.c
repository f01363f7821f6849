/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only root decides where a path leads. Links are followed in directories that belong to root
 * alone, and nowhere else. Needs root, for a mount namespace with a directory that belongs to root.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/directory.h"
#include "tests/cunit_main.h"

#define OWN "/mnt/own"     /* belongs to root */
#define SHARED "/mnt/open" /* everybody may write to it */
#define USER 54321

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

/* Asserts that the path is found to be `name` in `folder`. */
static void expect_found(const char *path, bool follow, const char *folder, const char *name,
                         bool roots_own)
{
    struct directory directory;
    struct failure failure;
    struct stat status;
    CU_ASSERT_EQUAL_FATAL(directory_find(path, follow, "image", &directory, &failure), 0);
    CU_ASSERT_STRING_EQUAL(directory.name, name);
    CU_ASSERT_EQUAL(directory.roots_own, roots_own);
    CU_ASSERT_EQUAL_FATAL(stat(folder, &status), 0);
    CU_ASSERT_EQUAL(directory.id.device, status.st_dev);
    CU_ASSERT_EQUAL(directory.id.inode, status.st_ino);
    CU_ASSERT_EQUAL(directory.owner, status.st_uid);
    directory_close(&directory);
}

static void expect_refused(const char *path, bool follow, int error, const char *words)
{
    struct directory directory;
    struct failure failure;
    CU_ASSERT_EQUAL(directory_find(path, follow, "image", &directory, &failure), -error);
    CU_ASSERT_NSTRING_EQUAL(failure.text, "image \"", 7);
    if (!strstr(failure.text, words))
        fprintf(stderr, "\nnot in \"%s\": %s\n", failure.text, words);
    CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, words));
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
    expect_refused("/", true, EISDIR, "Is a directory");
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
    CU_ASSERT_EQUAL_FATAL(directory_enter(&directory, &back), 0);
    CU_ASSERT_PTR_NOT_NULL(getcwd(within, sizeof(within)));
    directory_leave(back);
    directory_close(&directory);
    CU_ASSERT_PTR_NOT_NULL(getcwd(after, sizeof(after)));
    CU_ASSERT_STRING_EQUAL(within, OWN "/sub");
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
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"paths without links", test_without_links},
        {"links of root's", test_links_of_roots},
        {"links that others could have made", test_links_of_others},
        {"relative paths", test_relative_paths},
        {"entered and left", test_entered},
        {"files in directories of others", test_files},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"directories", make_world, leave_world, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
