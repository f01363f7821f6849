/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define PATH_SIZE 128

/* Sockets. One readv for each of the guest's buffers of 4 KiB would be 0.25 a KiB. A round trip has
 * one packet each way, and each may interrupt. */
#define VSOCK_CALLS_MAX 0.1
#define VSOCK_INTERRUPTS_MAX 2.0
/* The promise for every kind of device. */
#define WORKER_KIB_MAX 1024.0
#define BROKER_KIB_MAX 3072.0
/* A host that takes a processor away for a while can make a worker wait for frames that come one by
 * one, and so change a count. A count that is missed so often is missed by the program. */
#define CHECK_TURNS 3u
#define EXIT_MISSED 3

static struct load_set *const sets[] = {&net_set, &console_set, &rng_set, &disk_set};
#define SETS (sizeof(sets) / sizeof(sets[0]))

/* What is measured: bits. The sets follow, from PART_SETS on. */
enum part { PART_BLOCK = 1, PART_VSOCK = 2, PART_RESTART = 4, PART_STARTUP = 8, PART_SETS = 16 };
/* Without the last set, which needs a slow disk: it has to be asked for. */
#define PART_ALL ((PART_SETS << (SETS - 1)) - 1u)

static struct vsock_result vsock[VSOCK_WORKLOADS];
static struct restart_result restarts;

static bool has(unsigned int parts, unsigned int part)
{
    return (parts & part) != 0;
}

/* ---- All parts, one after the other ---- */

static int report(const char *what, int r)
{
    if (r < 0)
        fprintf(stderr, "bench: %s: %s\n", what, strerror(-r));
    return r;
}

static int measure(struct bench *bench, unsigned int parts, const char *dir, int log)
{
    int r = 0;
    if (has(parts, PART_BLOCK))
        r = report("block", blocks_run(bench, dir, log));
    if (r == 0 && has(parts, PART_STARTUP))
        r = report("starts", startup_run(bench, dir, log));
    if (r == 0 && has(parts, PART_VSOCK)) {
        progress("sockets");
        r = report("vsock", vsock_run(bench, dir, log, vsock));
    }
    for (size_t i = 0; r == 0 && i < SETS; i++) {
        if (!has(parts, PART_SETS << i))
            continue;
        progress(sets[i]->title);
        r = report(sets[i]->name, sets[i]->run(bench, dir, log, sets[i]));
    }
    if (r == 0 && has(parts, PART_RESTART)) {
        progress("deaths of workers");
        r = restart_run(bench, dir, log, &restarts);
    }
    return r;
}

static void print(const struct bench *bench, unsigned int parts)
{
    if (has(parts, PART_BLOCK)) {
        blocks_print(bench);
        register_print();
    }
    if (has(parts, PART_STARTUP))
        startup_print();
    if (has(parts, PART_VSOCK))
        vsock_print(bench, vsock);
    for (size_t i = 0; i < SETS; i++) {
        if (has(parts, PART_SETS << i))
            load_print(bench, sets[i]);
    }
    if (has(parts, PART_RESTART))
        restart_print(&restarts);
}

static int print_json(const char *path, const struct bench *bench, unsigned int parts)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    if (!file)
        return report(path, -errno);
    fprintf(file, "{\n");
    if (has(parts, PART_BLOCK)) {
        blocks_print_json(file, bench);
        register_print_json(file);
    }
    if (has(parts, PART_STARTUP))
        startup_print_json(file);
    if (has(parts, PART_VSOCK))
        vsock_print_json(file, bench, vsock);
    for (size_t i = 0; i < SETS; i++) {
        if (has(parts, PART_SETS << i))
            load_print_json(file, bench, sets[i]);
    }
    if (has(parts, PART_RESTART))
        restart_print_json(file, &restarts);
    fprintf(file,
            "  \"rounds\": %u,\n  \"slice_s\": %.3f,\n"
            "  \"device_model_has_one_processor\": %s\n}\n",
            bench->rounds, (double)bench->slice_ns / 1e9, bench->one_processor ? "true" : "false");
    return file == stdout || fclose(file) == 0 ? 0 : -EIO;
}

/* ---- The check ---- */

struct promise {
    const char *what;
    double is, limit;
};

static void check_promises(const struct promise *promises, unsigned int made, unsigned int *count,
                           unsigned int *failed)
{
    for (unsigned int i = 0; i < made; i++) {
        const bool kept = promises[i].is >= 0 && promises[i].is <= promises[i].limit;
        printf("%s: %s: %.3f, at most %.1f\n", kept ? "ok" : "MISSED", promises[i].what,
               promises[i].is, promises[i].limit);
        *count += 1;
        *failed += !kept;
    }
}

/* The counts depend on the program, so they are checked. The speed also depends on the machine.
 * Returns EXIT_SUCCESS or EXIT_MISSED. */
static int check(const struct bench *bench, unsigned int parts)
{
    double worker_kib, broker_kib, vsock_calls, vsock_interrupts;
    unsigned int failed = 0, count = 0;
    printf("\n");
    if (has(parts, PART_BLOCK))
        blocks_check(bench, &count, &failed);
    if (has(parts, PART_VSOCK)) {
        vsock_largest(vsock, &vsock_calls, &vsock_interrupts);
        const struct promise promises[] = {
            {"system calls a KiB over sockets in bulk", vsock_calls, VSOCK_CALLS_MAX},
            {"interrupts a round trip over a socket", vsock_interrupts, VSOCK_INTERRUPTS_MAX},
        };
        check_promises(promises, 2, &count, &failed);
    }
    if (has(parts, PART_RESTART)) {
        restart_largest(&restarts, &worker_kib, &broker_kib);
        const struct promise promises[] = {
            {"KiB of private memory of a worker", worker_kib, WORKER_KIB_MAX},
            {"KiB of private memory of the broker", broker_kib, BROKER_KIB_MAX},
        };
        check_promises(promises, 2, &count, &failed);
    }
    for (size_t i = 0; i < SETS; i++) {
        if (has(parts, PART_SETS << i))
            load_check(bench, sets[i], &count, &failed);
    }
    if (failed > 0 && bench->turns_left > 0)
        printf("%u of %u counts are missed: all are measured again\n", failed, count);
    else
        printf("%u passed, %u failed\n", count - failed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_MISSED;
}

/* ---- Options ---- */

static const char usage[] =
    "usage: tests/bench/run [OPTION]...\n"
    "\n"
    "Measures the device model on the dispatcher stand-in. Needs root.\n"
    "\n"
    "  --check      fail if the promised counts per request, or of memory, are missed, in three\n"
    "               turns of all that is measured\n"
    "  --json FILE  write the results as JSON as well (- for standard output)\n"
    "  --rounds N   turns of each measurement (10)\n"
    "  --slice MS   how long each turn lasts (200); half of it except for vsock\n"
    "  --dir DIR    where the images are made (/tmp)\n"
    "  --one        the device model has one processor, as in a backend with one; without it,\n"
    "               the worker has one and the broker the others\n"
    "  --anywhere   the scheduler places all processes, those of a peer and ours alike\n"
    "  --shared     guest and device model, or peer, share one processor\n"
    "  --no-polling the worker sleeps at once (poll_us: 0)\n"
    "  --peer PATH [--config FILE] [--net-config FILE] [--console-config FILE]\n"
    "               another device model's program, measured by turns with ours. It is started\n"
    "               as PATH --config FILE, on the same stand-in. FILE is its own configuration\n"
    "               of one device, number 0, with its registers at 0xa003e00 and the window of\n"
    "               32 MiB at 0x50000000: of a disk, whose image is \"@/image\" (\"@\" stands for\n"
    "               a folder), of a network, whose tap is peer0, or of a console, which is\n"
    "               \"@/console\", a terminal or a socket, or the terminal whose name\n"
    "               (/dev/pts/N) the peer prints\n"
    "  --plots DIR  only this: how the cost of a read grows with the number under way, its size,\n"
    "               queues and devices, as pictures (SVG) and as DIR/plots.json\n"
    "  --block, --vsock, --net, --console, --rng, --restart, --startup\n"
    "               measure only this kind, or these\n"
    "  --io-uring   only this: disks with io_engine sync and io_uring, a slow one as well, which\n"
    "               is also served with direct: true, and by qemu-storage-daemon if it is\n"
    "               installed; beside a bare io_uring\n";

struct options {
    unsigned int parts; /* 0: all */
    const char *json, *dir;
    const char *plots; /* NULL: none */
};

enum {
    CHECK = 1000,
    JSON,
    ROUNDS,
    SLICE,
    DIR_OF_FILES,
    NO_POLLING,
    ONE,
    ANYWHERE,
    SHARED,
    PEER,
    CONFIG,
    NET_CONFIG,
    CONSOLE_CONFIG,
    PLOTS,
    HELP
};

static const struct option longs[] = {
    {"check", no_argument, NULL, CHECK},
    {"json", required_argument, NULL, JSON},
    {"rounds", required_argument, NULL, ROUNDS},
    {"slice", required_argument, NULL, SLICE},
    {"dir", required_argument, NULL, DIR_OF_FILES},
    {"no-polling", no_argument, NULL, NO_POLLING},
    {"one", no_argument, NULL, ONE},
    {"anywhere", no_argument, NULL, ANYWHERE},
    {"shared", no_argument, NULL, SHARED},
    {"peer", required_argument, NULL, PEER},
    {"config", required_argument, NULL, CONFIG},
    {"net-config", required_argument, NULL, NET_CONFIG},
    {"console-config", required_argument, NULL, CONSOLE_CONFIG},
    {"plots", required_argument, NULL, PLOTS},
    {"help", no_argument, NULL, HELP},
    {"block", no_argument, NULL, PART_BLOCK},
    {"vsock", no_argument, NULL, PART_VSOCK},
    {"restart", no_argument, NULL, PART_RESTART},
    {"startup", no_argument, NULL, PART_STARTUP},
    {"net", no_argument, NULL, PART_SETS},
    {"console", no_argument, NULL, PART_SETS << 1},
    {"rng", no_argument, NULL, PART_SETS << 2},
    {"io-uring", no_argument, NULL, PART_SETS << 3},
    {NULL, 0, NULL, 0},
};

static const char **peer_option(struct bench *bench, int option)
{
    switch (option) {
    case CONFIG:
        return &bench->peer_config;
    case NET_CONFIG:
        return &bench->peer_net_config;
    case CONSOLE_CONFIG:
        return &bench->peer_console_config;
    default:
        return &bench->peer;
    }
}

static bool is_valid(const struct bench *bench)
{
    const bool has_config =
        bench->peer_config || bench->peer_net_config || bench->peer_console_config;
    return !(bench->one_processor && bench->shared) && bench->rounds >= 1 &&
           bench->rounds <= ROUNDS_MAX && bench->slice_ns > 0 && !bench->peer == !has_config;
}

static bool parse(int argc, char **argv, struct bench *bench, struct options *options)
{
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case CHECK:
            bench->check = true;
            break;
        case JSON:
            options->json = optarg;
            break;
        case ROUNDS:
            bench->rounds = (unsigned int)strtoul(optarg, NULL, 10);
            break;
        case SLICE:
            bench->slice_ns = strtoull(optarg, NULL, 10) * 1000000;
            break;
        case DIR_OF_FILES:
            options->dir = optarg;
            break;
        case NO_POLLING:
            bench->no_polling = true;
            break;
        case ANYWHERE:
            bench->anywhere = true;
            break;
        case SHARED:
            bench->shared = true;
            place_all_on_one();
            break;
        case ONE:
            bench->one_processor = true;
            break;
        case PEER:
        case CONFIG:
        case NET_CONFIG:
        case CONSOLE_CONFIG:
            *peer_option(bench, option) = optarg;
            break;
        case PLOTS:
            options->plots = optarg;
            break;
        case HELP:
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        case '?':
            return false;
        default:
            options->parts |= (unsigned int)option;
            break;
        }
    }
    return optind == argc && is_valid(bench);
}

/* ---- Begin and end ---- */

static void copy_log(int log)
{
    char text[4096];
    ssize_t length = pread(log, text, sizeof(text) - 1, 0);
    if (length > 0)
        fprintf(stderr, "bench: log of the device model:\n%.*s", (int)length, text);
}

/* Of our own program as a peer. */
struct peer_configs {
    char disk[PATH_SIZE + 16], net[PATH_SIZE + 16], console[PATH_SIZE + 16];
};

/* The check compares the program with itself, so that it knows that a peer can be measured. */
static int be_the_peer(struct bench *bench, const struct peer_configs *configs)
{
    static const char net[] = "    type: net\n    data_plane: virtio\n    tap_name: peer0\n",
                      console[] = "    type: console\n    data_plane: virtio\n"
                                  "    pty_alias: \"@/console\"\n";
    bench->peer = MODEL_PROGRAM;
    bench->peer_is_ours = true;
    bench->peer_config = configs->disk;
    bench->peer_net_config = configs->net;
    bench->peer_console_config = configs->console;
    int r = model_write_config(configs->disk, "@", SIDE_KEYS, bench->no_polling);
    if (r == 0)
        r = model_write_config(configs->net, "@", net, bench->no_polling);
    return r < 0 ? r : model_write_config(configs->console, "@", console, bench->no_polling);
}

static int run(struct bench *bench, const struct options *options, const char *dir, int log)
{
    const unsigned int parts = options->parts == 0 ? PART_ALL : options->parts;
    struct peer_configs configs;
    snprintf(configs.disk, sizeof(configs.disk), "%s/peer.yaml", dir);
    snprintf(configs.net, sizeof(configs.net), "%s/net.yaml", dir);
    snprintf(configs.console, sizeof(configs.console), "%s/console.yaml", dir);
    int r = bench->check && !bench->peer ? be_the_peer(bench, &configs) : 0;
    if (r == 0)
        r = measure(bench, parts, dir, log);
    unlink(configs.disk);
    unlink(configs.net);
    unlink(configs.console);
    if (r == 0)
        print(bench, parts);
    if (r == 0 && options->json)
        r = print_json(options->json, bench, parts);
    if (r < 0)
        copy_log(log);
    const int result = r < 0 ? EXIT_FAILURE : bench->check ? check(bench, parts) : EXIT_SUCCESS;
    vsock_free(vsock);
    for (size_t i = 0; i < SETS; i++)
        load_free(sets[i]);
    restart_free(&restarts);
    return result;
}

/* The check measures in a process of its own, until all counts are kept or the turns are over. */
static int run_check(struct bench *bench, const struct options *options, const char *dir, int log)
{
    int status = 0;
    for (bench->turns_left = CHECK_TURNS; bench->turns_left-- > 0;) {
        fflush(stdout);
        const pid_t pid = fork();
        if (pid == 0)
            exit(run(bench, options, dir, log));
        if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
            return EXIT_FAILURE;
        if (WEXITSTATUS(status) != EXIT_MISSED)
            return WEXITSTATUS(status);
    }
    return EXIT_FAILURE;
}

static int run_plots(const struct bench *bench, const char *plots, const char *dir, int log)
{
    int r = report("plots", plots_run(bench, plots, dir, log));
    if (r < 0)
        copy_log(log);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int open_file(const char *dir, const char *name, int flags, char path[PATH_SIZE + 16])
{
    snprintf(path, PATH_SIZE + 16, "%s/%s", dir, name);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
}

int main(int argc, char **argv)
{
    struct bench bench = {.rounds = 10, .slice_ns = 200000000};
    struct options options = {.dir = "/tmp"};
    if (!parse(argc, argv, &bench, &options)) {
        fputs(usage, stderr);
        return 2;
    }
    if (geteuid() != 0) {
        fprintf(stderr,
                "bench: root is needed: it starts the device model, which confines itself\n");
        return EXIT_FAILURE;
    }
    char dir[PATH_SIZE], image[PATH_SIZE + 16], log_path[PATH_SIZE + 16];
    snprintf(dir, sizeof(dir), "%s/bao-bench-XXXXXX", options.dir);
    if (!mkdtemp(dir)) {
        fprintf(stderr, "bench: %s: %s\n", dir, strerror(errno));
        return EXIT_FAILURE;
    }
    int result = EXIT_FAILURE;
    int log = open_file(dir, "log", O_APPEND, log_path), disk = open_file(dir, "image", 0, image);
    if (log < 0 || disk < 0 || ftruncate(disk, IMAGE_SIZE) < 0)
        fprintf(stderr, "bench: cannot make %s: %s\n", image, strerror(errno));
    else if (options.plots)
        result = run_plots(&bench, options.plots, dir, log);
    else if (bench.check)
        result = run_check(&bench, &options, dir, log);
    else
        result = run(&bench, &options, dir, log);
    unlink(image);
    unlink(log_path);
    rmdir(dir);
    return result;
}
