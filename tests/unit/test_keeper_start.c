/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper does before it serves: it raises its limit of open files, gives up what it does
 * not need, and opens the file of claims, if nobody else could have put it there. The kernel's
 * answers are this test's.
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/claims.h"
#include "broker/keeper/privileges.h"
#include "common/kept_capabilities.h"
#include "common/policy.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

/* ---- The limit of open files ---- */

static struct rlimit limit;
static int get_error, set_error_above; /* more than this can't be set */
static unsigned int sets;

int __wrap_getrlimit(int resource, struct rlimit *ret);
int __wrap_setrlimit(int resource, const struct rlimit *wanted);
int __wrap_getrlimit64(int resource, void *ret);
int __wrap_setrlimit64(int resource, const void *wanted);

int __wrap_getrlimit(int resource, struct rlimit *ret)
{
    CU_ASSERT_EQUAL(resource, RLIMIT_NOFILE);
    errno = get_error;
    *ret = limit;
    return get_error ? -1 : 0;
}

int __wrap_setrlimit(int resource, const struct rlimit *wanted)
{
    CU_ASSERT_EQUAL(resource, RLIMIT_NOFILE);
    CU_ASSERT(wanted->rlim_cur <= wanted->rlim_max);
    sets++;
    errno = EPERM;
    if (wanted->rlim_max > (rlim_t)set_error_above)
        return -1;
    limit = *wanted;
    return 0;
}

int __wrap_getrlimit64(int resource, void *ret)
{
    return __wrap_getrlimit(resource, ret);
}

int __wrap_setrlimit64(int resource, const void *wanted)
{
    return __wrap_setrlimit(resource, wanted);
}

static void raises(rlim_t current, rlim_t maximum, int possible, int result, rlim_t then)
{
    limit = (struct rlimit){current, maximum};
    set_error_above = possible;
    get_error = 0;
    sets = 0;
    CU_ASSERT_EQUAL(privileges_raise_fd_limit(), result);
    CU_ASSERT_EQUAL(limit.rlim_cur, then);
}

static void the_limit_of_open_files_is_raised(void)
{
    raises(1024, 4096, 1 << 20, 0, 8192);
    CU_ASSERT_EQUAL(limit.rlim_max, 8192);
    raises(1024, 524288, 1 << 20, 0, 8192);
    CU_ASSERT_EQUAL(limit.rlim_max, 524288); /* it is not lowered */
    raises(8192, 8192, 0, 0, 8192);
    raises(100000, 100000, 0, 0, 100000);
    CU_ASSERT_EQUAL(sets, 0);
    /* Without the right to raise it, the hard limit is the maximum. */
    raises(1000, 4096, 4096, 0, 4096);
    raises(1000, 1024, 1024, 0, 1024);
    raises(1000, 1023, 1023, -EPERM, 1000);
    raises(1000, 4096, 0, -EPERM, 1000);
    get_error = EINVAL;
    CU_ASSERT_EQUAL(privileges_raise_fd_limit(), -EINVAL);
}

/* ---- Privileges ---- */

static char done[4096];
static int prctl_error, update_error, apply_error, load_error;
static bool no_policy;
static const char *policy = "keeper"; /* the only one that there is */

int __wrap_prctl(int option, ...);

int __wrap_prctl(int option, ...)
{
    va_list arguments;
    va_start(arguments, option);
    int value = (int)va_arg(arguments, unsigned long);
    for (unsigned int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(va_arg(arguments, int), 0);
    va_end(arguments);
    if (option == PR_SET_NO_NEW_PRIVS && value == 1)
        strcat(done, "no_new_privs ");
    errno = prctl_error;
    return prctl_error ? -1 : 0;
}

void capng_clear(capng_select_t set)
{
    strcat(done, set == CAPNG_SELECT_ALL ? "clear " : "clear some ");
}

int capng_update(capng_act_t action, capng_type_t type, unsigned int capability)
{
    char text[64];
    CU_ASSERT_EQUAL(action, CAPNG_ADD);
    snprintf(text, sizeof(text), "%d:%u ",
             type == (CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET), capability);
    strcat(done, text);
    return update_error;
}

int capng_apply(capng_select_t set)
{
    strcat(done, set == CAPNG_SELECT_ALL ? "apply " : "apply some ");
    return apply_error;
}

const struct policy_program *policy_find(const char *name)
{
    static const struct policy_program keeper = {.name = "keeper"};
    return strcmp(name, policy) == 0 && !no_policy ? &keeper : NULL;
}

int policy_load(const struct policy_program *program, int all_threads)
{
    CU_ASSERT_STRING_EQUAL(program->name, "keeper");
    CU_ASSERT_EQUAL(all_threads, 0);
    strcat(done, "filter");
    return load_error;
}

static int reduce(const char **ret_step)
{
    done[0] = '\0';
    *ret_step = "";
    return privileges_reduce(false, ret_step);
}

static void only_what_is_needed_is_kept(void)
{
    char expected[4096] = "no_new_privs clear ";
    const char *step;
#define X(capability, reason) snprintf(expected + strlen(expected), 64, "1:%d ", capability);
    KEPT_CAPABILITIES(X)
#undef X
#ifdef BVDM_SANITIZE
    strcat(expected, "apply ");
#else
    strcat(expected, "apply filter");
#endif
    prctl_error = update_error = apply_error = load_error = 0;
    no_policy = false;
    CU_ASSERT_EQUAL(reduce(&step), 0);
    CU_ASSERT_STRING_EQUAL(done, expected);
    policy = "keeper_uring";
    done[0] = '\0';
    CU_ASSERT_EQUAL(privileges_reduce(true, &step), 0);
    CU_ASSERT_STRING_EQUAL(done, expected);
    policy = "keeper";
}

static void a_step_that_fails_is_named(void)
{
    const char *step;
    prctl_error = EINVAL;
    CU_ASSERT_EQUAL(reduce(&step), -EINVAL);
    CU_ASSERT_STRING_EQUAL(step, "set no_new_privs");
    CU_ASSERT_STRING_EQUAL(done, "no_new_privs ");
    prctl_error = 0;
    update_error = -1;
    CU_ASSERT_EQUAL(reduce(&step), -EINVAL);
    CU_ASSERT_STRING_EQUAL(step, "reduce its capabilities");
    CU_ASSERT_PTR_NULL(strstr(done, "apply"));
    update_error = 0;
    apply_error = -2;
    CU_ASSERT_EQUAL(reduce(&step), -EPERM);
    CU_ASSERT_STRING_EQUAL(step, "reduce its capabilities");
    CU_ASSERT_PTR_NULL(strstr(done, "filter"));
    apply_error = 0;
#ifndef BVDM_SANITIZE
    load_error = -EACCES;
    CU_ASSERT_EQUAL(reduce(&step), -EACCES);
    CU_ASSERT_STRING_EQUAL(step, "load its seccomp filter");
    no_policy = true;
    CU_ASSERT_EQUAL(reduce(&step), -ENOENT);
#endif
}

/* ---- Does a device want a ring? ---- */

static char text_path[64];
static bool text_stat_fails, no_memory;
static int allocated;

void *__real_malloc(size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size)
{
    allocated++;
    return no_memory ? NULL : __real_malloc(size);
}

void __wrap_free(void *memory)
{
    allocated--;
    __real_free(memory);
}

static int text_of(const char *text)
{
    int fd = memfd_create("text", MFD_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0 && pwrite(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
    return fd;
}

/* A file of that text, and one with another text that is kept; NULL: there is none. */
static bool wants(const char *text, const char *kept)
{
    int before = kept ? text_of(kept) : -1, file = text ? text_of(text) : -1;
    snprintf(text_path, sizeof(text_path), text ? "/proc/self/fd/%d" : "/nobody's", file);
    const unsigned int open_before = fd_count();
    allocated = 0;
    bool wanted = privileges_ring_wanted(text_path, before);
    CU_ASSERT_EQUAL(allocated, 0);
    CU_ASSERT_EQUAL(fd_count(), open_before);
    text_path[0] = '\0';
    if (before >= 0)
        close(before);
    if (file >= 0)
        close(file);
    return wanted;
}

#define RING "io_engine: io_uring"

static void a_text_with_the_word_wants_a_ring(void)
{
    CU_ASSERT_TRUE(wants(RING, NULL));
    CU_ASSERT_TRUE(wants("io_uring", NULL));
    CU_ASSERT_FALSE(wants("io_urin", NULL));
    CU_ASSERT_FALSE(wants("", NULL));
    CU_ASSERT_FALSE(wants(NULL, NULL));
    CU_ASSERT_TRUE(wants(NULL, RING)); /* it may be the one that counts */
    CU_ASSERT_TRUE(wants("a", RING));
    CU_ASSERT_TRUE(wants(RING, "a"));
    CU_ASSERT_FALSE(wants("a", "b"));
    for (unsigned int i = 0; i < 2; i++) {
        free_0(); /* the first of them gets it */
        CU_ASSERT_TRUE(i == 0 ? wants("a", RING) : wants(RING, NULL));
        take_0_back();
    }
    int file = text_of(RING);
    snprintf(text_path, sizeof(text_path), "/proc/self/fd/%d", file);
    free_0(); /* the copy that is opened gets it */
    CU_ASSERT_TRUE(privileges_ring_wanted(text_path, -1));
    CU_ASSERT_EQUAL(fcntl(0, F_GETFD), -1);
    take_0_back();
    close(file);
    text_path[0] = '\0';
}

/* A policy with a call too many is better than a device that can't start. */
static void one_that_can_t_be_read_may_want_one(void)
{
    int ends[2];
    strcpy(text_path, "/nobody's");
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
    CU_ASSERT_TRUE(privileges_ring_wanted(text_path, ends[0])); /* it is no file */
    close(ends[0]);
    close(ends[1]);
    strcpy(text_path, "/dev/null");
    CU_ASSERT_TRUE(privileges_ring_wanted(text_path, -1)); /* nor is this, though it can be read */
    int file = text_of("a");
    snprintf(text_path, sizeof(text_path), "/proc/self/fd/%d", file);
    int write_only = (int)syscall(SYS_openat, AT_FDCWD, text_path, O_WRONLY | O_CLOEXEC, 0);
    CU_ASSERT_FATAL(write_only >= 0);
    strcpy(text_path, "/nobody's");
    CU_ASSERT_TRUE(privileges_ring_wanted(text_path, write_only));
    snprintf(text_path, sizeof(text_path), "/proc/self/fd/%d", file);
    text_stat_fails = true;
    CU_ASSERT_TRUE(privileges_ring_wanted(text_path, -1));
    text_stat_fails = false;
    no_memory = true;
    bool wanted = privileges_ring_wanted(text_path, -1);
    no_memory = false;
    CU_ASSERT_TRUE(wanted);
    CU_ASSERT_FALSE(privileges_ring_wanted(text_path, -1));
    close(write_only);
    close(file);
    text_path[0] = '\0';
}

/* ---- The file of claims ---- */

static char folder[] = "/tmp/claims-XXXXXX"; /* stands for CONTROL_DIRECTORY */
static uid_t folder_owner, file_owner;
static mode_t file_type;
static int mkdir_error, open_errors[2], truncate_error, stat_errors[2];
static bool is_there;
static unsigned int chmods;

int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_fstat(int fd, struct stat *ret);
int __wrap_fstat64(int fd, void *ret);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);

int __wrap_mkdir(const char *path, mode_t mode)
{
    CU_ASSERT_STRING_EQUAL(path, CONTROL_DIRECTORY);
    CU_ASSERT_EQUAL(mode, 0755);
    errno = is_there ? EEXIST : mkdir_error;
    return is_there || mkdir_error ? -1 : 0;
}

int __wrap_chmod(const char *path, mode_t mode)
{
    CU_ASSERT_STRING_EQUAL(path, CONTROL_DIRECTORY);
    CU_ASSERT_EQUAL(mode, 0755);
    chmods++;
    return 0;
}

int __wrap_open(const char *path, int flags, ...)
{
    char name[256];
    if (strcmp(path, text_path) == 0) {
        CU_ASSERT_EQUAL(flags, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
    }
    bool is_file = strcmp(path, CLAIMS_PATH) == 0;
    CU_ASSERT(is_file || strcmp(path, CONTROL_DIRECTORY) == 0);
    CU_ASSERT_EQUAL(flags, is_file ? O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC
                                   : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (is_file) {
        va_list arguments;
        va_start(arguments, flags);
        CU_ASSERT_EQUAL(va_arg(arguments, int), 0600);
        va_end(arguments);
    }
    errno = open_errors[is_file];
    if (errno != 0)
        return -1;
    snprintf(name, sizeof(name), "%s%s", folder, is_file ? "/claims" : "");
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, flags, 0600);
    errno = EIO; /* after a success it means nothing */
    return fd;
}

int __wrap_open64(const char *path, int flags, ...)
{
    return __wrap_open(path, flags, 0600);
}

int __wrap_fstat(int fd, struct stat *ret)
{
    char path[64], target[256];
    if (text_path[0] != '\0') {
        errno = EIO;
        return text_stat_fails ? -1 : (int)syscall(SYS_fstat, fd, ret);
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    target[length > 0 ? length : 0] = '\0';
    bool is_file = strstr(target, "/claims") && strlen(target) > strlen(folder);
    memset(ret, 0, sizeof(*ret));
    errno = stat_errors[is_file];
    if (errno != 0)
        return -1;
    ret->st_mode = is_file ? file_type | 0600 : S_IFDIR | 0755;
    ret->st_uid = is_file ? file_owner : folder_owner;
    ret->st_size = is_file ? lseek(fd, 0, SEEK_END) : 0;
    errno = EIO; /* after a success it means nothing */
    return 0;
}

int __wrap_fstat64(int fd, void *ret)
{
    return __wrap_fstat(fd, ret);
}

int __wrap_ftruncate(int fd, off_t size)
{
    CU_ASSERT_EQUAL(size, CLAIMS_SIZE);
    errno = truncate_error ? truncate_error : EIO; /* an older one means nothing */
    return truncate_error ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int __wrap_ftruncate64(int fd, off_t size)
{
    return __wrap_ftruncate(fd, size);
}

static off_t size_of(int fd)
{
    return lseek(fd, 0, SEEK_END);
}

static void begin(void)
{
    folder_owner = file_owner = 0;
    file_type = S_IFREG;
    mkdir_error = truncate_error = 0;
    memset(open_errors, 0, sizeof(open_errors));
    memset(stat_errors, 0, sizeof(stat_errors));
    is_there = true;
    chmods = 0;
}

static void refuses(int error)
{
    const unsigned int before = fd_count();
    CU_ASSERT_EQUAL(claims_open(), error);
    CU_ASSERT_EQUAL(fd_count(), before);
    begin();
}

static void the_claims_are_made_once(void)
{
    char path[64];
    begin();
    is_there = false;
    int fd = claims_open();
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(chmods, 1); /* whatever the umask is */
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(size_of(fd), CLAIMS_SIZE);
    CU_ASSERT_EQUAL(pwrite(fd, "kept", 4, 0), 4);
    CU_ASSERT_EQUAL(syscall(SYS_ftruncate, fd, CLAIMS_SIZE + 10), 0);
    close(fd);
    begin();
    fd = claims_open();
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(chmods, 0);                     /* it is as the administrator has it */
    CU_ASSERT_EQUAL(size_of(fd), CLAIMS_SIZE + 10); /* a larger one stays */
    CU_ASSERT_EQUAL(pread(fd, path, 4, 0), 4);
    CU_ASSERT_EQUAL(memcmp(path, "kept", 4), 0);
    CU_ASSERT_EQUAL(syscall(SYS_ftruncate, fd, CLAIMS_SIZE), 0);
    close(fd);
    truncate_error = EIO; /* one of that size is not touched */
    fd = claims_open();
    CU_ASSERT(fd >= 0);
    close(fd);
    free_0(); /* the folder gets it, and then the file */
    CU_ASSERT_EQUAL(claims_open(), 0);
    take_0_back();
}

static void what_another_user_could_write_is_refused(void)
{
    begin();
    folder_owner = 1000;
    refuses(-EPERM);
    file_owner = 1000;
    refuses(-EPERM);
    file_type = S_IFIFO;
    refuses(-EPERM);
}

static void errors_are_told_and_nothing_stays_open(void)
{
    begin();
    is_there = false;
    mkdir_error = EROFS;
    refuses(-EROFS);
    open_errors[0] = ELOOP;
    refuses(-ELOOP);
    open_errors[1] = EROFS;
    refuses(-EROFS);
    stat_errors[0] = EIO;
    refuses(-EPERM);
    stat_errors[1] = EIO;
    refuses(-EIO);
    char path[64];
    snprintf(path, sizeof(path), "%s/claims", folder);
    unlink(path);
    truncate_error = ENOSPC;
    refuses(-ENOSPC);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"the limit of open files is raised", the_limit_of_open_files_is_raised},
        {"only what is needed is kept", only_what_is_needed_is_kept},
        {"a step that fails is named", a_step_that_fails_is_named},
        {"a text with the word wants a ring", a_text_with_the_word_wants_a_ring},
        {"one that can't be read may want one", one_that_can_t_be_read_may_want_one},
        {"the claims are made once", the_claims_are_made_once},
        {"what another user could write is refused", what_another_user_could_write_is_refused},
        {"errors are told and nothing stays open", errors_are_told_and_nothing_stays_open},
        CU_TEST_INFO_NULL,
    };
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    int status = run_tests(argc, argv, "the keeper's start", tests);
    char path[64];
    snprintf(path, sizeof(path), "%s/claims", folder);
    unlink(path);
    rmdir(folder);
    return status;
}
