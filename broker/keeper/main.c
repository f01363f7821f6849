/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-virtio-dm: the program that the user starts. It parses its arguments, opens the programs that
 * it will ever execute, gives up what it does not need, and is the keeper from then on.
 */
#include <errno.h>
#include <getopt.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/claims.h"
#include "broker/first_files.h"
#include "broker/keeper/fd_names.h"
#include "broker/keeper/keeper.h"
#include "broker/keeper/privileges.h"
#include "broker/log.h"

static const char help[] =
    "Usage: bao-virtio-dm --config FILE [--check-config]\n"
    "VirtIO device model for guests of the Bao hypervisor: one confined process a device.\n"
    "\n"
    "  -c, --config FILE   the devices, in YAML\n"
    "      --check-config  only check FILE: needs no root, opens no device\n"
    "      --control PATH  the socket for bao-dmctl; for NAME.yaml else\n"
    "                      /run/bao-virtio-dm/NAME.socket, or the first free NAME-2.socket, ...\n"
    "      --control-mode MODE\n"
    "                      who may connect to it, octal (0600); only root can change anything\n"
    "  -h, --help          show this help\n"
    "  -V, --version       show the version\n"
    "\n"
    "It runs in the foreground, logs to stderr, ignores SIGHUP, and ends on SIGTERM or SIGINT.\n";

struct arguments {
    char *config;
    bool check_only;
    char *control; /* "": use the default */
    char *control_mode;
};

/* Returns the exit status. */
static int answer(const char *text)
{
    fputs(text, stdout);
    int result = first_files_flush();
    if (result < 0)
        log_line(NULL, "can't write to standard output: %s", strerror(-result));
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Returns -1 to continue, or the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
    enum { CHECK_CONFIG = 256, CONTROL, CONTROL_MODE };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, CHECK_CONFIG},
        {"control", required_argument, NULL, CONTROL},
        {"control-mode", required_argument, NULL, CONTROL_MODE},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            ret->config = optarg;
            break;
        case CHECK_CONFIG:
            ret->check_only = true;
            break;
        case CONTROL:
            ret->control = optarg;
            break;
        case CONTROL_MODE:
            ret->control_mode = optarg;
            break;
        case 'h':
            return answer(help);
        case 'V':
            return answer("bao-virtio-dm " BVDM_VERSION "\n");
        default:
            fputs("Try 'bao-virtio-dm --help'.\n", stderr);
            return EXIT_FAILURE;
        }
    }
    if (optind < argc) {
        log_line(NULL, "unexpected argument \"%s\": use --config FILE", argv[optind]);
        return EXIT_FAILURE;
    }
    if (!ret->config) {
        log_line(NULL, "no configuration: use --config FILE");
        return EXIT_FAILURE;
    }
    if (strspn(ret->control_mode, "01234567") != strlen(ret->control_mode) ||
        strtoul(ret->control_mode, NULL, 8) > 0777) {
        log_line(NULL, "--control-mode is \"%s\": expected an octal number up to 0777",
                 ret->control_mode);
        return EXIT_FAILURE;
    }
    return -1;
}

/*
 * The parent of this program may have left files open that nobody here needs, or closed one of the
 * first three. The files that a service manager passes stay. If it is not known which files those
 * are, all files stay: fd_store_take then ends the program.
 */
static int settle_inherited_files(void)
{
    int result = first_files_open();
    if (result < 0)
        return result;
    int passed = listen_count(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), (uint32_t)getpid());
    if (passed >= 0 && close_range(LISTEN_FDS_FIRST + (unsigned int)passed, ~0u, 0) < 0)
        return -errno;
    return 0;
}

/* Children must be reapable, whatever was inherited. A terminal that hangs up, or a closed stderr,
 * must not end this program. A terminal to which background processes must not write (stty tostop)
 * must not stop it. SIGTERM and SIGINT are read from a signalfd. */
static int prepare_signals(void)
{
    sigset_t taken;
    sigemptyset(&taken);
    sigaddset(&taken, SIGTERM);
    sigaddset(&taken, SIGINT);
    if (signal(SIGCHLD, SIG_DFL) == SIG_ERR || signal(SIGHUP, SIG_IGN) == SIG_ERR ||
        signal(SIGTTOU, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
        sigprocmask(SIG_SETMASK, &taken, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &taken, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/*
 * systemd distinguishes files by kcmp(2), or without it by their inode. All eventfds have the same
 * inode, so systemd would keep only the first eventfd, and drop the others without a message.
 */
static bool kernel_compares_files(void)
{
    pid_t self = getpid();
    return syscall(SYS_kcmp, self, self, KCMP_FILE, 0, 0) == 0 || errno != ENOSYS;
}

/* Find the service manager, if there is one, and take what it kept of an earlier keeper. */
static int meet_service_manager(struct keeper *keeper)
{
    static struct notify none = {.socket = -1};
    notify_open(&keeper->notify);
    keeper->store.notify = &keeper->notify;
    if (notify_present(&keeper->notify) && !kernel_compares_files()) {
        log_line(NULL, "this kernel has no kcmp (CONFIG_KCMP), so the service manager can't keep "
                       "the devices' files: they are gone when this process ends");
        keeper->store.notify = &none;
    }
    int taken = fd_store_take(&keeper->store);
    notify_clear_environment();
    keeper->has_run = taken > 0;
    return taken;
}

/* Before lock-down. Without this file everything works, as long as nobody else has the same
 * device. */
static void open_claims(struct fd_store *store)
{
    if (store->claims >= 0)
        return;
    store->claims = claims_open();
    if (store->claims < 0)
        log_warning(NULL,
                    CLAIMS_PATH ": %s: a second bao-virtio-dm that wants the same devices is not "
                                "found out",
                    strerror(-store->claims));
}

/* What the service manager has stays there. configs/bao-virtio-dm.service starts the keeper again
 * after any status but 1. */
#define EXIT_FILES_KEPT 3

static int run_keeper(struct keeper *keeper)
{
    if (geteuid() != 0) {
        log_line(NULL, "must be started by root (it confines itself): use sudo");
        return EXIT_FAILURE;
    }
    int result = log_prepare();
    if (result < 0)
        log_warning(NULL,
                    "stderr can't be opened again by /proc: %s: if it blocks, so does this program",
                    strerror(-result));
    int taken = meet_service_manager(keeper);
    if (taken < 0)
        return EXIT_FILES_KEPT;
    open_claims(&keeper->store);
    keeper->cgroups.rings = privileges_ring_wanted(keeper->broker_argv[2], keeper->store.config);
    cgroups_enter(&keeper->cgroups);
    const char *step = "raise its limit of open files to 1024";
    result = privileges_raise_fd_limit();
    if (result == 0) {
        step = "prepare its signals";
        keeper->signals = prepare_signals();
        result = keeper->signals < 0 ? keeper->signals : 0;
    }
    if (result == 0)
        result = privileges_reduce(keeper->cgroups.rings, &step);
    if (result < 0) {
        log_line(NULL, "the keeper failed to %s: %s", step, strerror(-result));
        cgroups_leave(&keeper->cgroups);
        return taken > 0 ? EXIT_FILES_KEPT : EXIT_FAILURE;
    }
    keeper_init(keeper);
    return keeper_run(keeper);
}

int main(int argc, char **argv)
{
    static char none[] = "", own[] = "0600";
    struct arguments arguments = {.control = none, .control_mode = own};
    int status = parse_arguments(argc, argv, &arguments);
    if (status >= 0)
        return status;

    int result = settle_inherited_files();
    if (result < 0) {
        log_line(NULL, "can't settle the files that it was started with: %s", strerror(-result));
        return EXIT_FAILURE;
    }
    static struct keeper keeper;
    const char *missing;
    result = executables_open(&keeper.executables, &missing);
    if (result < 0) {
        log_line(NULL, "%s: %s: reinstall bao-virtio-dm", missing, strerror(-result));
        return EXIT_FAILURE;
    }
    static char name[] = "bao-virtio-broker", run[] = "--config", check[] = "--check-config";
    static char *broker_argv[] = {name, run, NULL, NULL, NULL, NULL};
    broker_argv[2] = arguments.config;
    broker_argv[3] = arguments.control;
    if (arguments.check_only)
        broker_argv[1] = check;
    else
        broker_argv[4] = arguments.control_mode;
    keeper.broker_argv = broker_argv;
    if (!arguments.check_only)
        return run_keeper(&keeper);

    result = become_broker(&keeper.executables, broker_argv);
    log_line(NULL, "bao-virtio-broker: %s", strerror(-result));
    return EXIT_FAILURE;
}
