/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program bao-virtio-dm until the keeper runs: its arguments, the files and signals that it was
 * started with, and the order of its steps. Each run is a process of its own; the steps themselves
 * are this test's.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/claims.h"
#include "broker/keeper/keeper.h"
#include "broker/keeper/privileges.h"
#include "broker/log.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"

int keeper_main(int argc, char **argv);

#define ARGUMENTS 6

/* What the run has found, in memory of both processes. */
static struct seen {
    int status;
    char steps[512];
    char text[4096]; /* stdout and stderr */
    char arguments[ARGUMENTS][32];
    unsigned int files; /* bit n: the number n is open */
    bool has_run;
    int manager; /* the socket of the service manager that the store has */
    int claims;
    bool signals_are_ready;
} * seen;

/* How it is started, and what its steps come to. */
static struct given {
    unsigned int closed; /* bit n: the standard file n is */
    const char *passed;  /* LISTEN_FDS */
    uid_t user;
    int executables, log, taken, claims_taken, claims, limit, reduce; /* -errno */
    bool manager, no_kcmp;
    bool full;         /* standard output is, always */
    const char *fails; /* a call */
    unsigned int later;
} given;

static void done(const char *step)
{
    strcat(strcat(seen->steps, step), " ");
}

/* ---- The steps ---- */

int executables_open(struct executables *ret, const char **ret_missing)
{
    (void)ret;
    *ret_missing = "a program";
    done("programs");
    return given.executables;
}

static void copy_arguments(char *const argv[])
{
    for (size_t i = 0; i < ARGUMENTS; i++)
        snprintf(seen->arguments[i], sizeof(seen->arguments[i]), "%s", argv[i] ? argv[i] : "NULL");
}

int become_broker(const struct executables *executables, char *const argv[])
{
    (void)executables;
    done("broker");
    copy_arguments(argv);
    return -ENOENT;
}

int __wrap_log_prepare(void);
void __wrap_notify_open(struct notify *ret);
void __wrap_notify_clear_environment(void);
int __wrap_fd_store_take(struct fd_store *store);

int __wrap_log_prepare(void)
{
    done("log");
    return given.log;
}

void __wrap_notify_open(struct notify *ret)
{
    ret->socket = given.manager ? 77 : -1;
    done("manager");
}

void __wrap_notify_clear_environment(void)
{
    done("clear");
}

int __wrap_fd_store_take(struct fd_store *store)
{
    done("take");
    seen->manager = store->notify->socket;
    store->config = 55;
    store->claims = given.claims_taken;
    return given.taken;
}

int claims_open(void)
{
    done("claims");
    return given.claims;
}

bool privileges_ring_wanted(const char *path, int before)
{
    done(strcmp(path, "/c.yaml") == 0 && before == 55 ? "ring" : "another ring");
    return true;
}

void cgroups_enter(struct cgroups *ret)
{
    done(ret->rings ? "cgroups" : "cgroups without rings");
}

void cgroups_leave(struct cgroups *cgroups)
{
    (void)cgroups;
    done("leave");
}

int privileges_raise_fd_limit(void)
{
    done("limit");
    return given.limit;
}

int privileges_reduce(bool ring, const char **ret_step)
{
    *ret_step = "do it";
    done(ring ? "reduce" : "reduce without rings");
    return given.reduce;
}

void keeper_init(struct keeper *keeper)
{
    (void)keeper;
    done("init");
}

static bool comes(const struct keeper *keeper, int number)
{
    struct signalfd_siginfo info;
    return raise(number) == 0 && read(keeper->signals, &info, sizeof(info)) == sizeof(info) &&
           info.ssi_signo == (uint32_t)number;
}

static bool is(int number, void (*handler)(int))
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == handler;
}

int keeper_run(struct keeper *keeper)
{
    sigset_t blocked;
    unsigned int count = 0;
    done("run");
    copy_arguments(keeper->broker_argv);
    seen->has_run = keeper->has_run;
    seen->claims = keeper->store.claims;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int number = 1; number < NSIG; number++)
        count += sigismember(&blocked, number) == 1;
    seen->signals_are_ready = count == 2 && is(SIGCHLD, SIG_DFL) && is(SIGHUP, SIG_IGN) &&
                              is(SIGTTOU, SIG_IGN) && is(SIGPIPE, SIG_IGN) &&
                              (fcntl(keeper->signals, F_GETFL) & O_NONBLOCK) != 0 &&
                              fcntl(keeper->signals, F_GETFD) == FD_CLOEXEC &&
                              comes(keeper, SIGTERM) && comes(keeper, SIGINT);
    close(keeper->signals);
    return 7;
}

/* ---- The kernel ---- */

WRAPPED(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAPPED(int, sigprocmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old))
WRAPPED(sighandler_t, signal, (int number, sighandler_t handler), (number, handler))

int __real_close_range(unsigned int first, unsigned int last, int flags);
int __wrap_close_range(unsigned int first, unsigned int last, int flags);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
uid_t __wrap_geteuid(void);
long __wrap_syscall(long number, ...);

int __wrap_close_range(unsigned int first, unsigned int last, int flags)
{
    if (last != ~0u || flags != 0)
        done("close some");
    return call_fails("close_range") ? -1 : __real_close_range(first, last, flags);
}

int __wrap_open(const char *path, int flags, ...)
{
    return call_fails("open") ? -1 : openat(AT_FDCWD, path, flags);
}

int __wrap_open64(const char *path, int flags, ...)
{
    return __wrap_open(path, flags);
}

uid_t __wrap_geteuid(void)
{
    return given.user;
}

long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long values[5];
    va_start(arguments, number);
    for (size_t i = 0; i < 2; i++)
        values[i] = va_arg(arguments, pid_t);
    for (size_t i = 2; i < 5; i++)
        values[i] = va_arg(arguments, int);
    va_end(arguments);
    const bool right = number == SYS_kcmp && values[0] == getpid() && values[1] == getpid() &&
                       values[2] == 0 && values[3] == 0 && values[4] == 0;
    errno = ENOSYS; /* after a success it means nothing */
    return right && !given.no_kcmp ? 0 : -1;
}

/* ---- A run ---- */

static _Noreturn void run_in_child(int count, char **arguments, int output)
{
    char text[24];
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    unsetenv("LISTEN_FDS");
    if (given.passed)
        setenv("LISTEN_FDS", given.passed, 1);
    /* Others that it was started with: 3 to 6. */
    int full = given.full ? open("/dev/full", O_WRONLY | O_CLOEXEC) : output;
    if (dup2(output, 20) < 0 || dup2(full, 1) < 0 || dup2(20, 2) < 0)
        abort();
    for (int fd = 3; fd < 7; fd++)
        dup2(20, fd);
    close_range(7, ~0u, 0);
    for (int fd = 0; fd < 3; fd++) {
        if ((given.closed & 1u << fd) != 0)
            close(fd);
    }
    if (given.fails)
        fail_once(given.fails, EMFILE, given.later);
    signal(SIGCHLD, SIG_IGN);
    errno = EIO; /* nobody may look at it after a success */
    seen->status = keeper_main(count, arguments);
    fflush(stdout);
    for (int fd = 0; fd < 32; fd++)
        seen->files |= fcntl(fd, F_GETFD) >= 0 ? 1u << fd : 0;
    _exit(0);
}

/* The arguments end with NULL. */
static void runs(const char *const *arguments)
{
    char *argv[ARGUMENTS + 1] = {(char *)"bao-virtio-dm"};
    int count = 1, status;
    for (; arguments[count - 1]; count++)
        argv[count] = (char *)arguments[count - 1];
    memset(seen, 0, sizeof(*seen));
    seen->status = -1;
    int output = memfd_create("output", MFD_CLOEXEC);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        run_in_child(count, argv, output);
    CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL_FATAL(status, 0);
    CU_ASSERT(pread(output, seen->text, sizeof(seen->text) - 1, 0) >= 0);
    close(output);
    given = (struct given){.claims_taken = -1, .claims = 44};
}

static const char *const plain[] = {"--config", "/c.yaml", NULL};

static void comes_to(int status, const char *steps, const char *text)
{
    CU_ASSERT_EQUAL(seen->status, status);
    CU_ASSERT_STRING_EQUAL(seen->steps, steps);
    CU_ASSERT_STRING_EQUAL(seen->text, text);
}

static void gives(const char *command, const char *config, const char *control, const char *mode)
{
    CU_ASSERT_STRING_EQUAL(seen->arguments[0], "bao-virtio-broker");
    CU_ASSERT_STRING_EQUAL(seen->arguments[1], command);
    CU_ASSERT_STRING_EQUAL(seen->arguments[2], config);
    CU_ASSERT_STRING_EQUAL(seen->arguments[3], control);
    CU_ASSERT_STRING_EQUAL(seen->arguments[4], mode);
    CU_ASSERT_STRING_EQUAL(seen->arguments[5], "NULL");
}

#define UP_TO_TAKE "programs log manager take clear "
#define AFTER_CLAIMS "ring cgroups limit reduce init run "
#define ALL UP_TO_TAKE "claims " AFTER_CLAIMS

static void each_step_is_done_in_its_order(void)
{
    runs(plain);
    comes_to(7, ALL, "");
    gives("--config", "/c.yaml", "", "0600");
    CU_ASSERT_FALSE(seen->has_run);
    CU_ASSERT_TRUE(seen->signals_are_ready);
    CU_ASSERT_EQUAL(seen->manager, -1);
    CU_ASSERT_EQUAL(seen->claims, 44);
    CU_ASSERT_EQUAL(seen->files, 7);
}

/* ---- Arguments ---- */

static void options_go_to_the_broker(void)
{
    static const char *const all[] = {"-c",  "/c.yaml", "--control=/x", "--control-mode",
                                      "777", NULL};
    runs(all);
    comes_to(7, ALL, "");
    gives("--config", "/c.yaml", "/x", "777");
    static const char *const check[] = {"--check-config", "--config", "/c.yaml", NULL};
    given.user = 1000; /* nobody needs to be root for that */
    runs(check);
    comes_to(EXIT_FAILURE, "programs broker ",
             "bao-virtio-dm: bao-virtio-broker: No such file or directory\n");
    gives("--check-config", "/c.yaml", "", "NULL");
}

static void is_refused(const char *a, const char *b, const char *c, const char *words)
{
    const char *const arguments[] = {a, b, c, NULL};
    runs(arguments);
    comes_to(EXIT_FAILURE, "", words);
}

#define MODE(text)                                                                                 \
    "bao-virtio-dm: --control-mode is \"" text "\": expected an octal number up to 0777\n"

static void what_can_t_be_meant_is_refused(void)
{
    is_refused("--config=/c", "x", NULL,
               "bao-virtio-dm: unexpected argument \"x\": use --config FILE\n");
    is_refused("--check-config", NULL, NULL,
               "bao-virtio-dm: no configuration: use --config FILE\n");
    is_refused("-x", NULL, NULL,
               "bao-virtio-dm: invalid option -- 'x'\nTry 'bao-virtio-dm --help'.\n");
    is_refused("--config=/c", "--control-mode=8", NULL, MODE("8"));
    is_refused("--config=/c", "--control-mode=7x", NULL, MODE("7x"));
    is_refused("--config=/c", "--control-mode=1000", NULL, MODE("1000"));
    is_refused("--config=/c", "--control-mode=-1", NULL, MODE("-1"));
}

static void help_and_version_are_told(void)
{
    static const char *const help[] = {"--help", NULL}, *const version[] = {"-V", NULL};
    runs(version);
    comes_to(EXIT_SUCCESS, "", "bao-virtio-dm " BVDM_VERSION "\n");
    runs(help);
    CU_ASSERT_EQUAL(seen->status, EXIT_SUCCESS);
    CU_ASSERT_STRING_EQUAL(seen->steps, "");
    CU_ASSERT_EQUAL(strncmp(seen->text, "Usage: bao-virtio-dm --config FILE", 34), 0);
    for (unsigned int i = 0; i < 2; i++) {
        given.full = true;
        runs(i == 0 ? help : version);
        comes_to(EXIT_FAILURE, "",
                 "bao-virtio-dm: can't write to standard output: No space left on device\n");
    }
}

/* ---- What it was started with ---- */

static void files_that_nobody_needs_are_closed(void)
{
    for (unsigned int closed = 0; closed < 8; closed++) {
        given.closed = closed;
        runs(plain);
        CU_ASSERT_STRING_EQUAL(seen->steps, ALL);
        CU_ASSERT_EQUAL(seen->files, 7); /* the standard files are there */
    }
    given.passed = "2";
    runs(plain);
    CU_ASSERT_EQUAL(seen->files, 7 | 1u << 3 | 1u << 4);
    given.passed = "1001"; /* which ones are these? They all stay, and no other comes */
    runs(plain);
    CU_ASSERT_EQUAL(seen->files, 0x7f);
}

static void the_files_can_t_be_settled(void)
{
    given.fails = "open";
    runs(plain);
    comes_to(EXIT_FAILURE, "",
             "bao-virtio-dm: can't settle the files that it was started with: Too many open "
             "files\n");
    given.fails = "close_range";
    runs(plain);
    comes_to(EXIT_FAILURE, "",
             "bao-virtio-dm: can't settle the files that it was started with: Too many open "
             "files\n");
}

static void programs_are_missing(void)
{
    given.executables = -ENOENT;
    runs(plain);
    comes_to(EXIT_FAILURE, "programs ",
             "bao-virtio-dm: a program: No such file or directory: reinstall bao-virtio-dm\n");
}

static void others_than_root_are_refused(void)
{
    given.user = 1000;
    runs(plain);
    comes_to(EXIT_FAILURE, "programs ",
             "bao-virtio-dm: must be started by root (it confines itself): use sudo\n");
}

/* ---- The service manager ---- */

static void what_it_gives_back_has_run(void)
{
    given.manager = true;
    given.taken = 1;
    given.claims_taken = 0; /* any file may be it */
    runs(plain);
    comes_to(7, UP_TO_TAKE AFTER_CLAIMS, "");
    CU_ASSERT_TRUE(seen->has_run);
    CU_ASSERT_EQUAL(seen->manager, 77);
    CU_ASSERT_EQUAL(seen->claims, 0);
}

static void what_can_t_be_taken_stays_with_it(void)
{
    given.taken = -EINVAL;
    runs(plain);
    comes_to(3, UP_TO_TAKE, "");
}

static void without_kcmp_it_keeps_nothing(void)
{
    given.no_kcmp = true;
    runs(plain); /* there is none */
    comes_to(7, ALL, "");
    given.no_kcmp = given.manager = true;
    runs(plain);
    comes_to(7, ALL,
             "bao-virtio-dm: this kernel has no kcmp (CONFIG_KCMP), so the service manager can't "
             "keep the devices' files: they are gone when this process ends\n");
    CU_ASSERT_EQUAL(seen->manager, -1);
}

/* ---- Steps that fail ---- */

static void what_only_helps_may_be_missing(void)
{
    given.log = -ENOENT;
    runs(plain);
    comes_to(7, ALL,
             "bao-virtio-dm: stderr can't be opened again by /proc: No such file or directory: if "
             "it blocks, so does this program\n");
    given.claims = -EROFS;
    runs(plain);
    comes_to(7, ALL,
             "bao-virtio-dm: /run/bao-virtio-dm/claims: Read-only file system: a second "
             "bao-virtio-dm that wants the same devices is not found out\n");
    given.claims = 0;
    runs(plain);
    comes_to(7, ALL, "");
    CU_ASSERT_EQUAL(seen->claims, 0);
}

#define FAILED UP_TO_TAKE "claims ring cgroups limit "

static void the_limit_must_be_raised(void)
{
    for (int taken = 0; taken < 2; taken++) {
        given.limit = -EPERM;
        given.taken = taken;
        runs(plain);
        comes_to(taken ? 3 : EXIT_FAILURE, FAILED "leave ",
                 "bao-virtio-dm: the keeper failed to raise its limit of open files to 1024: "
                 "Operation not permitted\n");
    }
}

static void signals_must_be_prepared(void)
{
    static const char *const calls[] = {"signal", "signal",      "signal",
                                        "signal", "sigprocmask", "signalfd"};
    for (unsigned int i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        given.fails = calls[i];
        given.later = i < 4 ? i + 1 : 0; /* the first one is this test's */
        runs(plain);
        comes_to(EXIT_FAILURE, FAILED "leave ",
                 "bao-virtio-dm: the keeper failed to prepare its signals: Too many open files\n");
    }
}

static void privileges_must_be_reduced(void)
{
    given.reduce = -EPERM;
    runs(plain);
    comes_to(EXIT_FAILURE, FAILED "reduce leave ",
             "bao-virtio-dm: the keeper failed to do it: Operation not permitted\n");
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"each step is done in its order", each_step_is_done_in_its_order},
        {"options go to the broker", options_go_to_the_broker},
        {"what can't be meant is refused", what_can_t_be_meant_is_refused},
        {"help and version are told", help_and_version_are_told},
        {"files that nobody needs are closed", files_that_nobody_needs_are_closed},
        {"the files can't be settled", the_files_can_t_be_settled},
        {"programs are missing", programs_are_missing},
        {"others than root are refused", others_than_root_are_refused},
        {"what a manager gives back has run", what_it_gives_back_has_run},
        {"what can't be taken stays with it", what_can_t_be_taken_stays_with_it},
        {"without kcmp it keeps nothing", without_kcmp_it_keeps_nothing},
        {"what only helps may be missing", what_only_helps_may_be_missing},
        {"the limit must be raised", the_limit_must_be_raised},
        {"signals must be prepared", signals_must_be_prepared},
        {"privileges must be reduced", privileges_must_be_reduced},
        CU_TEST_INFO_NULL,
    };
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (seen == MAP_FAILED)
        return EXIT_FAILURE;
    given = (struct given){.claims_taken = -1, .claims = 44};
    return run_tests(argc, argv, "the program", tests);
}
