/* SPDX-License-Identifier: Apache-2.0 */
/* bao-dmctl: asks a running bao-virtio-dm for its state, through its control socket. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "broker/dmctl/board.h"
#include "broker/dmctl/dmctl.h"
#include "broker/first_files.h"
#include "broker/log.h"

#define ANSWER_MS 5000
#define INTERVAL_MAX_S 3600u
#define AUDIT_TROUBLE 2 /* as in bao-seccomp, where 1 means: something is not as expected */

static const char help[] =
    "Usage: bao-dmctl [--control NAME] COMMAND\n"
    "How a running bao-virtio-dm is.\n"
    "\n"
    "  status [DEVICE] [--json]   devices, workers, what confines them, what they died of\n"
    "  status --all [--json]      the same of every bao-virtio-dm that runs\n"
    "  stats [DEVICE] [--json]    requests, bytes, kicks, interrupts since the device was started\n"
    "  stats --openmetrics        the same for collectors, as OpenMetrics 1.0 has it\n"
    "  stats --watch [SECONDS]    the same a second, again and again (1)\n"
    "  audit [--json|--markdown] [--against FILE] [--output FILE]\n"
    "                             is each process confined as it should be: bao-seccomp verify, "
    "with\n"
    "                             what the broker knows (root); exit status 1 if one is not.\n"
    "                             --against: what is different from an earlier report of --json;\n"
    "                             --output: the report in a file, whole or not at all\n"
    "  restart DEVICE             replace the device's worker; the guest sees a delay\n"
    "  check-board [--config FILE] [--json]\n"
    "                             can a bao-virtio-dm work on this machine, and what is lost on "
    "it?\n"
    "                             Kernel, modules, device tree, and what FILE needs\n"
    "                             (/etc/bao-virtio-dm.yaml). Exit status 1 if something is "
    "missing\n"
    "  log-level [LEVEL]          how much it says: error, warning, info (at first), debug\n"
    "\n"
    "  DEVICE is the id of the configuration, such as 0\n"
    "      --control NAME         which bao-virtio-dm, if several run: NAME stands for\n"
    "                             /run/bao-virtio-dm/NAME.socket, of the one that was started "
    "with\n"
    "                             NAME.yaml; or the PATH of a socket, with a \"/\" in it\n"
    "  -h, --help                 show this help\n"
    "  -V, --version              show the version\n";

struct options {
    const char *control, *config;
    struct audit_options audit;
    bool json, watch, openmetrics, all;
    char **words; /* as many as `count`, and then NULL */
    int count;
};

void complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bao-dmctl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* ---- The socket ---- */

int control_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return -error;
}

void dmctl_complain_of_connect(const char *path, int error)
{
    if (error == ENOENT || error == ECONNREFUSED)
        complain("%s: no bao-virtio-dm is running there", path);
    else if (error == EACCES)
        complain("%s: the socket's mode does not let you in: see --control-mode of bao-virtio-dm",
                 path);
    else if (error == ENAMETOOLONG)
        complain("%s: longer than the name of a socket can be", path);
    else
        complain("%s: %s", path, strerror(error));
}

/* `control`: a path; or a name without "/", for a socket in the default directory; or NULL: the
 * only one that runs. */
static int connect_to(const char *control)
{
    char path[4096];
    if (!control)
        return instances_only();
    bool is_path = strchr(control, '/') != NULL;
    snprintf(path, sizeof(path), is_path ? "%s" : CONTROL_DIRECTORY "/%s" CONTROL_SUFFIX, control);
    int fd = control_connect(path);
    if (fd < 0)
        dmctl_complain_of_connect(path, -fd);
    return fd;
}

/* Returns 0, or a positive errno after a message. */
static int ask(int fd, enum control_verb verb, uint32_t index, struct control_reply *ret)
{
    const struct control_request request = {CONTROL_VERSION, (uint32_t)verb, index, 0};
    struct pollfd event = {.fd = fd, .events = POLLIN};
    ssize_t length = -1;
    if (send(fd, &request, sizeof(request), MSG_NOSIGNAL) == (ssize_t)sizeof(request) &&
        poll(&event, 1, ANSWER_MS) == 1)
        length = recv(fd, ret, sizeof(*ret), MSG_TRUNC);
    if (length < 0) {
        complain("bao-virtio-dm does not answer: is it stopped, or being restarted?");
        return EIO;
    }
    if (length != (ssize_t)sizeof(*ret) || ret->version != CONTROL_VERSION) {
        complain("bao-virtio-dm is of another version: use the bao-dmctl that came with it");
        return EPROTO;
    }
    if (ret->error == EPERM)
        complain("only root may do that");
    else if (ret->error == EAGAIN)
        complain("its worker is being replaced already");
    else if (ret->error == ENODEV && verb == CONTROL_RESTART)
        complain("no device has id %u", index);
    else if (ret->error != 0 && ret->error != ENODEV)
        complain("refused: %s", strerror(ret->error));
    return ret->error;
}

int dmctl_take_snapshot(int fd, const char *wanted, struct snapshot *ret)
{
    static struct control_reply reply;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ret->at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    ret->count = 0;
    for (uint32_t i = 0; i < BAO_DEVICES_MAX; i++) {
        int error = ask(fd, CONTROL_STATUS, i, &reply);
        if (error == 0 || error == ENODEV) {
            reply.config[sizeof(reply.config) - 1] = '\0';
            memcpy(ret->config, reply.config, sizeof(ret->config));
            ret->keeper = reply.keeper;
        }
        if (error == ENODEV)
            break;
        if (error != 0)
            return error;
        struct control_device *device = &reply.device;
        device->name[sizeof(device->name) - 1] = '\0';
        device->last_death[sizeof(device->last_death) - 1] = '\0';
        device->trouble[sizeof(device->trouble) - 1] = '\0';
        device->cache[sizeof(device->cache) - 1] = '\0';
        if (!wanted || device->id == (uint32_t)strtoul(wanted, NULL, 10))
            ret->devices[ret->count++] = *device;
    }
    if (wanted && ret->count == 0) {
        complain("no device has id %s", wanted);
        return ENODEV;
    }
    return 0;
}

/* ---- Commands ---- */

static bool is_id(const char *word)
{
    return strspn(word, "0123456789") == strlen(word) && strlen(word) > 0 && strlen(word) < 9;
}

static int usage(const char *what)
{
    complain("%s: see bao-dmctl --help", what);
    return EXIT_FAILURE;
}

static int do_status(int fd, const struct options *options)
{
    static struct snapshot snapshot;
    if (options->count > 2 || (options->count == 2 && !is_id(options->words[1])))
        return usage("status takes one DEVICE, a number");
    if (dmctl_take_snapshot(fd, options->words[1], &snapshot) != 0)
        return EXIT_FAILURE;
    status_print(&snapshot, options->json);
    return EXIT_SUCCESS;
}

static int watch(int fd, unsigned long seconds, bool json)
{
    static struct snapshot snapshots[2];
    for (unsigned int turn = 0;; turn++) {
        if (dmctl_take_snapshot(fd, NULL, &snapshots[turn % 2]) != 0)
            return EXIT_FAILURE;
        if (turn > 0)
            stats_print(&snapshots[turn % 2], &snapshots[(turn + 1) % 2], json);
        if (fflush(stdout) != 0 || ferror(stdout))
            return EXIT_FAILURE;
        sleep((unsigned int)seconds);
    }
}

static int do_stats(int fd, const struct options *options)
{
    static struct snapshot snapshot;
    if (options->count > 2 || (options->count == 2 && !is_id(options->words[1])))
        return usage("stats takes one number");
    if (options->openmetrics && (options->json || options->watch))
        return usage("--openmetrics stands alone");
    if (options->watch) {
        unsigned long seconds = options->count == 2 ? strtoul(options->words[1], NULL, 10) : 1;
        return seconds > 0 && seconds <= INTERVAL_MAX_S
                   ? watch(fd, seconds, options->json)
                   : usage("--watch takes from 1 to 3600 seconds");
    }
    if (dmctl_take_snapshot(fd, options->words[1], &snapshot) != 0)
        return EXIT_FAILURE;
    if (options->openmetrics)
        stats_print_openmetrics(&snapshot);
    else
        stats_print(&snapshot, NULL, options->json);
    return EXIT_SUCCESS;
}

static int do_audit(int fd, const struct options *options)
{
    static struct snapshot snapshot;
    if (options->count > 1 || (options->json && options->audit.markdown)) {
        usage("audit takes --json or --markdown");
        return AUDIT_TROUBLE;
    }
    if (dmctl_take_snapshot(fd, NULL, &snapshot) == 0)
        audit_run(fd, &snapshot, options->json, &options->audit);
    return AUDIT_TROUBLE;
}

static int do_restart(int fd, const struct options *options)
{
    static struct control_reply reply;
    if (options->count != 2 || !is_id(options->words[1]))
        return usage("restart takes a DEVICE, a number");
    uint32_t id = (uint32_t)strtoul(options->words[1], NULL, 10);
    return ask(fd, CONTROL_RESTART, id, &reply) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int do_log_level(int fd, const struct options *options)
{
    static struct control_reply reply;
    if (options->count == 1) {
        if (ask(fd, CONTROL_STATUS, 0, &reply) != 0)
            return EXIT_FAILURE;
        const char *name = log_level_name(reply.device.broker_level);
        puts(name ? name : "unknown");
        return EXIT_SUCCESS;
    }
    for (uint32_t level = 0; options->count == 2 && level < LOG_LEVELS; level++) {
        if (strcmp(options->words[1], log_level_name(level)) == 0)
            return ask(fd, CONTROL_LOG_LEVEL, level, &reply) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    return usage("log-level takes error, warning, info or debug");
}

/* Do the options belong to the command? Returns -1 to continue, or the exit status. */
static int check_options(const struct options *options)
{
    bool of_audit = options->audit.markdown || options->audit.against || options->audit.output;
    if (of_audit && options->count > 0 && strcmp(options->words[0], "audit") != 0)
        return usage("--markdown, --against and --output are for audit");
    if (options->openmetrics && options->count > 0 && strcmp(options->words[0], "stats") != 0)
        return usage("--openmetrics is for stats");
    if (options->config && (options->count != 1 || strcmp(options->words[0], "check-board") != 0))
        return usage("--config is for check-board");
    if (options->all &&
        (options->count != 1 || strcmp(options->words[0], "status") != 0 || options->control))
        return usage("--all is for status, of all devices of all");
    return options->count > 0 ? -1 : usage("no command");
}

/* Returns -1 to continue, or the exit status. */
static int parse(int argc, char **argv, struct options *ret)
{
    enum { CONTROL = 256, JSON, WATCH, MARKDOWN, OPENMETRICS, CONFIG, ALL, AGAINST, OUTPUT };
    static const struct option options[] = {
        {"control", required_argument, NULL, CONTROL},
        {"config", required_argument, NULL, CONFIG},
        {"json", no_argument, NULL, JSON},
        {"watch", no_argument, NULL, WATCH},
        {"markdown", no_argument, NULL, MARKDOWN},
        {"openmetrics", no_argument, NULL, OPENMETRICS},
        {"all", no_argument, NULL, ALL},
        {"against", required_argument, NULL, AGAINST},
        {"output", required_argument, NULL, OUTPUT},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
        switch (option) {
        case CONTROL:
            ret->control = optarg;
            break;
        case CONFIG:
            ret->config = optarg;
            break;
        case JSON:
            ret->json = true;
            break;
        case WATCH:
            ret->watch = true;
            break;
        case MARKDOWN:
            ret->audit.markdown = true;
            break;
        case AGAINST:
            ret->audit.against = optarg;
            break;
        case OUTPUT:
            ret->audit.output = optarg;
            break;
        case OPENMETRICS:
            ret->openmetrics = true;
            break;
        case ALL:
            ret->all = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        case 'V':
            puts("bao-dmctl " BVDM_VERSION);
            return EXIT_SUCCESS;
        default:
            fputs("Try 'bao-dmctl --help'.\n", stderr);
            return EXIT_FAILURE;
        }
    }
    ret->words = argv + optind;
    ret->count = argc - optind;
    return check_options(ret);
}

static int run(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int fd, const struct options *options);
        int failure; /* exit status if nobody can be asked */
    } commands[] = {
        {"status", do_status, EXIT_FAILURE},       {"stats", do_stats, EXIT_FAILURE},
        {"audit", do_audit, AUDIT_TROUBLE},        {"restart", do_restart, EXIT_FAILURE},
        {"log-level", do_log_level, EXIT_FAILURE},
    };
    struct options options = {0};
    int status = parse(argc, argv, &options);
    if (status >= 0)
        return status;
    if (strcmp(options.words[0], "check-board") == 0 && options.count == 1)
        return board_run(options.config, options.json); /* needs no running bao-virtio-dm */
    if (options.all)
        return instances_status(options.json);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(options.words[0], commands[i].name) != 0)
            continue;
        int fd = connect_to(options.control);
        return fd < 0 ? commands[i].failure : commands[i].run(fd, &options);
    }
    complain("unknown command \"%s\": see bao-dmctl --help", options.words[0]);
    return EXIT_FAILURE;
}

/* What was asked for has to reach somebody. */
static int check_output(int status)
{
    int result = first_files_flush();
    if (result == 0 || status != EXIT_SUCCESS)
        return status;
    complain("can't write all of it to standard output: %s", strerror(-result));
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    (void)first_files_open();
    return check_output(run(argc, argv));
}
