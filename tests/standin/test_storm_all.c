/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One device of every kind that needs no vhost of the kernel. All work at once, each in its own
 * thread, while the broker is killed again and again. Then the keeper dies, and no process outlives
 * it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/block_daemon.h"
#include "tests/standin/block_load.h"
#include "tests/standin/clock.h"
#include "tests/standin/loads.h"
#include "tests/standin/storm.h"
#include "tests/standin/vsock_fixture.h"

#define HASTY_MS 4000 /* timeout of guests that are about to lose everything */
#define GONE_MS 1000  /* no process outlives the keeper by more than this */

enum { BLOCK, NET, CONSOLE, RNG, VSOCK, DAEMON_BLOCK, KINDS };

static const char *const kind_names[KINDS] = {"block", "net",          "console",
                                              "rng",   "vsock/virtio", "vhost_user"};

static const char yaml[] =
    "devices:\n"
    "  - {id: 0, type: block, data_plane: virtio, mmio_addr: 0xa003e00, file_path: \"@/disk.img\","
    " read_only: false, queues: 2}\n"
    "  - {id: 1, type: net, data_plane: virtio, mmio_addr: 0xa004000, tap_name: tap0,"
    " mac_addr: \"" NET_FIXTURE_MAC "\"}\n"
    "  - {id: 2, type: console, data_plane: virtio, mmio_addr: 0xa004200,"
    " pty_alias: \"@/console\"}\n"
    "  - {id: 3, type: rng, data_plane: virtio, mmio_addr: 0xa004400}\n"
    "  - {id: 4, type: vsock, data_plane: virtio, mmio_addr: 0xa004600, guest_cid: 3,"
    " socket_path: \"@/v.sock\"}\n"
    "  - {id: 5, type: block, data_plane: vhost_user, mmio_addr: 0xa004800, config_size: 8,"
    " socket_path: \"@/blk.sock\"}\n";

/* A device's driver, its load, and how far the load is. */
struct part {
    struct machine *machine;
    pthread_t thread;
    _Atomic uint64_t progress;
    uint64_t wrong;
};

static struct machine {
    struct fixture fixture;
    struct part parts[KINDS];
    atomic_bool over;
    int patience_ms; /* timeout of the guests */
    pid_t daemon;
    int images[KINDS];
    struct guest block_guests[KINDS];
    struct block_load *blocks[KINDS];
    struct net_fixture net;
    struct net_load net_load;
    struct guest_console console;
    struct console_load console_load;
    char terminal[96];
    struct rng_load rng_load;
    struct vsock_fixture vsock;
    struct vsock_load vsock_load;
} machine;

/* ---- What each load does until it is over ---- */

static bool goes_on(struct part *part)
{
    atomic_fetch_add(&part->progress, 1);
    usleep(500); /* so that the others have their turn */
    return !atomic_load(&part->machine->over) && part->wrong == 0;
}

static void *run_block(void *argument)
{
    struct part *part = argument;
    struct block_load *load = part->machine->blocks[part - part->machine->parts];
    do
        part->wrong += block_load_run(load, 16) != 0;
    while (goes_on(part));
    return NULL;
}

static void *run_net(void *argument)
{
    struct part *part = argument;
    struct net_load *load = &part->machine->net_load;
    do
        part->wrong += !net_load_exchange(load) || load->wrong > 0;
    while (goes_on(part));
    return NULL;
}

static void *run_console(void *argument)
{
    struct part *part = argument;
    struct console_load *load = &part->machine->console_load;
    while (!atomic_load(&part->machine->over) && part->wrong == 0) {
        if (!console_load_run(load))
            usleep(500);
        else if (!goes_on(part))
            break;
        part->wrong = load->wrong;
    }
    return NULL;
}

static void *run_rng(void *argument)
{
    struct part *part = argument;
    struct rng_load *load = &part->machine->rng_load;
    do {
        rng_load_run(load);
        part->wrong = load->wrong;
    } while (goes_on(part));
    return NULL;
}

static void *run_vsock(void *argument)
{
    struct part *part = argument;
    struct vsock_load *load = &part->machine->vsock_load;
    do
        part->wrong += !vsock_load_run(load);
    while (goes_on(part));
    return NULL;
}

/* ---- Start and end ---- */

static void prepare_guest(unsigned int id, struct guest *guest)
{
    fixture_guest(&machine.fixture, id, guest);
    guest->timeout_ms = machine.patience_ms;
}

static void start_block(unsigned int id, const char *image, unsigned int queues)
{
    prepare_guest(id, &machine.block_guests[id]);
    machine.images[id] = fixture_open(&machine.fixture, image);
    machine.blocks[id] = block_load_start(&machine.block_guests[id], queues, machine.images[id],
                                          FIXTURE_IMAGE_SECTORS, fixture_format);
    CU_ASSERT_PTR_NOT_NULL_FATAL(machine.blocks[id]);
}

static void start_streams(void)
{
    prepare_guest(CONSOLE, &machine.console.guest);
    CU_ASSERT_EQUAL_FATAL(guest_console_start(&machine.console, GUEST_CONSOLE_FEATURES), 0);
    snprintf(machine.terminal, sizeof(machine.terminal), "%s/console", machine.fixture.dir);
    machine.console_load = (struct console_load){
        .console = &machine.console, .terminal = -1, .path = machine.terminal};
    prepare_guest(VSOCK, &machine.vsock.vsock.guest);
    machine.vsock.fixture = machine.fixture;
    machine.vsock.server = host_listen(&machine.vsock, "v.sock_53", SOCK_STREAM);
    CU_ASSERT_EQUAL_FATAL(guest_vsock_start(&machine.vsock.vsock, GUEST_VSOCK_FEATURES), 0);
    machine.vsock_load = (struct vsock_load){.vsock = &machine.vsock.vsock,
                                             .server = machine.vsock.server,
                                             .port = HOST_PORT,
                                             .over = &machine.over};
}

static void start_drivers(void)
{
    start_block(BLOCK, "disk.img", 2);
    start_block(DAEMON_BLOCK, "disk2.img", 1);
    prepare_guest(NET, &machine.net.net.guest);
    net_fixture_driver(&machine.net, &net_load_options);
    machine.net_load = (struct net_load){.net = &machine.net, .over = &machine.over};
    prepare_guest(RNG, &machine.rng_load.guest);
    CU_ASSERT_EQUAL_FATAL(rng_load_start(&machine.rng_load, 1ull << VIRTIO_F_VERSION_1 |
                                                                1ull << VIRTIO_F_ACCESS_PLATFORM |
                                                                1ull << VIRTIO_RING_F_EVENT_IDX |
                                                                fixture_format),
                          0);
    start_streams();
}

static void start(int patience_ms)
{
    static void *(*const run[KINDS])(void *) = {run_block, run_net,   run_console,
                                                run_rng,   run_vsock, run_block};
    memset(&machine, 0, sizeof(machine));
    machine.patience_ms = patience_ms;
    net_fixture_interface("mode tap");
    fixture_init(&machine.fixture);
    fixture_make_image(&machine.fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_make_image(&machine.fixture, "disk2.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(&machine.fixture, yaml);
    machine.daemon = block_daemon_start(&machine.fixture, "disk2.img", NULL);
    block_daemon_wait(&machine.fixture);
    fixture_start(&machine.fixture, KINDS, KINDS);
    start_drivers();
    for (unsigned int i = 0; i < KINDS; i++) {
        machine.parts[i].machine = &machine;
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&machine.parts[i].thread, NULL, run[i], &machine.parts[i]), 0);
    }
}

static void join(void)
{
    atomic_store(&machine.over, true);
    for (unsigned int i = 0; i < KINDS; i++)
        pthread_join(machine.parts[i].thread, NULL);
}

static void end_all(void)
{
    block_daemon_kill(machine.daemon);
    vsock_load_end(&machine.vsock_load);
    guest_vsock_free(&machine.vsock.vsock);
    close(machine.vsock.server);
    if (machine.console_load.terminal >= 0)
        close(machine.console_load.terminal);
    guest_console_free(&machine.console);
    guest_net_free(&machine.net.net);
    close(machine.net.packets);
    net_fixture_ip("link delete tap0");
    close(machine.images[BLOCK]);
    close(machine.images[DAEMON_BLOCK]);
    fixture_free(&machine.fixture);
}

/* ---- Brokers ---- */

/* Waits until each of them has completed something that it began after the call. */
static bool all_get_on(void)
{
    uint64_t before[KINDS];
    const uint64_t end = now_ms() + LOAD_DEADLINE_MS;
    for (unsigned int i = 0; i < KINDS; i++)
        before[i] = atomic_load(&machine.parts[i].progress);
    for (unsigned int i = 0; i < KINDS;) {
        if (atomic_load(&machine.parts[i].progress) - before[i] >= 2) {
            i++;
        } else if (now_ms() > end) {
            fprintf(stderr, "\n%s gets nothing done\n", kind_names[i]);
            return false;
        } else {
            usleep(500);
        }
    }
    return true;
}

static void assert_nothing_is_lost(const struct storm *storm)
{
    for (unsigned int i = 0; i < KINDS; i++) {
        if (machine.parts[i].wrong > 0)
            fprintf(stderr, "\n%s got something wrong\n", kind_names[i]);
        CU_ASSERT_EQUAL(machine.parts[i].wrong, 0);
    }
    CU_ASSERT_EQUAL(block_load_end(machine.blocks[BLOCK]), 0);
    CU_ASSERT_EQUAL(block_load_end(machine.blocks[DAEMON_BLOCK]), 0);
    CU_ASSERT_EQUAL(guest_net_flush(&machine.net.net, 0), 0);
    rng_load_end(&machine.rng_load);
    CU_ASSERT_EQUAL(machine.rng_load.wrong, 0);
    console_load_end(&machine.console_load);
    CU_ASSERT_EQUAL(machine.console_load.seen, machine.console.ports[0].sent);
    CU_ASSERT_EQUAL(machine.console_load.wrong, 0);
    CU_ASSERT_EQUAL(machine.console_load.terminals, 1); /* no death ended it */
    CU_ASSERT(machine.vsock.vsock.transport_resets >= storm->calm);
    CU_ASSERT_EQUAL(machine.vsock.vsock.violations, 0);
    for (unsigned int i = 0; i < KINDS; i++) {
        struct guest *guests[KINDS] = {&machine.block_guests[BLOCK], &machine.net.net.guest,
                                       &machine.console.guest,       &machine.rng_load.guest,
                                       &machine.vsock.vsock.guest,   &machine.block_guests[5]};
        fixture_assert_running(guests[i]);
    }
}

static void every_kind_survives_its_broker(void)
{
    static struct storm storm;
    struct standin_counts counts;
    for (unsigned int i = 0; i < storm_broker_rounds(4, 300); i++) {
        start(LOAD_DEADLINE_MS);
        storm_brokers(&storm, &machine.fixture);
        while (storm_rages(&storm) && all_get_on())
            storm_progress(&storm);
        storm_end(&storm);
        join();
        assert_nothing_is_lost(&storm);
        standin_counts(machine.fixture.standin, &counts);
        CU_ASSERT_EQUAL(counts.dm_get_info, KINDS);
        CU_ASSERT_EQUAL(counts.dm_releases, 0);
        fixture_stop(&machine.fixture);
        end_all();
    }
}

/* ---- Nothing to do ---- */

#define REST_MS 1000
/* Of one process in that time: a heartbeat or two, and nothing that repeats itself. */
#define REST_CPU_NS 3000000u
#define REST_SWITCHES 20u

/* What a process has used so far, all of its threads together. */
struct use {
    uint64_t cpu_ns, switches;
};

static struct use used(pid_t pid)
{
    struct use use = {0};
    char path[80], line[128];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tasks);
    for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        unsigned long long number;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%.10s/schedstat", (int)pid, entry->d_name);
        FILE *file = fopen(path, "re");
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        CU_ASSERT_EQUAL(fscanf(file, "%llu", &number), 1);
        use.cpu_ns += number;
        fclose(file);
        snprintf(path, sizeof(path), "/proc/%d/task/%.10s/status", (int)pid, entry->d_name);
        file = fopen(path, "re");
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        while (fgets(line, sizeof(line), file)) {
            if (sscanf(line, "voluntary_ctxt_switches: %llu", &number) == 1)
                use.switches += number;
        }
        fclose(file);
    }
    closedir(tasks);
    return use;
}

/* Whether the process has rested for REST_MS. */
static bool rests(pid_t pid, struct use *before)
{
    struct use now = used(pid);
    bool rested = now.cpu_ns - before->cpu_ns <= REST_CPU_NS &&
                  now.switches - before->switches <= REST_SWITCHES;
    *before = now;
    return rested;
}

/* The first that does not rest; 0: all do. */
static pid_t restless(const pid_t *pids, struct use *uses, size_t count)
{
    pid_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (!rests(pids[i], &uses[i]) && found == 0)
            found = pids[i];
    }
    return found;
}

static void who_has_nothing_to_do_sleeps(void)
{
    struct storm storm = {0};
    pid_t pids[KINDS + 2];
    struct use uses[KINDS + 2];
    start(LOAD_DEADLINE_MS);
    CU_ASSERT_TRUE(all_get_on());
    join();
    assert_nothing_is_lost(&storm);
    memcpy(pids, machine.fixture.workers, KINDS * sizeof(pids[0]));
    pids[KINDS] = machine.fixture.broker;
    pids[KINDS + 1] = standin_pid(machine.fixture.standin);
    for (size_t i = 0; i < KINDS + 2; i++)
        uses[i] = used(pids[i]);
    pid_t found;
    const uint64_t end = now_ms() + LOAD_DEADLINE_MS;
    do {
        usleep(REST_MS * 1000);
        found = restless(pids, uses, KINDS + 2);
    } while (found != 0 && now_ms() < end);
    if (found != 0)
        fprintf(stderr, "\nprocess %d does not sleep\n", (int)found);
    CU_ASSERT_EQUAL(found, 0);
    fixture_stop(&machine.fixture);
    end_all();
}

/* ---- The keeper ---- */

/* A process that is stopped can't end by itself. A process that starts has not yet been told to end
 * with its parent. */
static void make_a_mess(unsigned int round)
{
    const struct fixture *fixture = &machine.fixture;
    switch (round) {
    case 1:
        for (unsigned int i = 0; i < KINDS; i++)
            CU_ASSERT_EQUAL(kill(fixture->workers[i], SIGSTOP), 0);
        break;
    case 2:
        CU_ASSERT_EQUAL(kill(fixture->broker, SIGSTOP), 0);
        break;
    case 3:
        for (unsigned int i = 0; i < KINDS; i++)
            CU_ASSERT_EQUAL(kill(fixture->workers[i], SIGKILL), 0);
        break;
    case 4:
        CU_ASSERT_EQUAL(kill(fixture->broker, SIGKILL), 0);
        break;
    case 5:
        CU_ASSERT_EQUAL(kill(fixture->broker, SIGKILL), 0);
        CU_ASSERT(fixture_wait_broker(fixture, fixture->broker) > 0);
        break;
    default:
        break; /* all processes are at work */
    }
}

static void nobody_outlives_a_killed_keeper(void)
{
    for (unsigned int round = 0; round < 6; round++) {
        start(HASTY_MS);
        CU_ASSERT_TRUE(all_get_on());
        make_a_mess(round);
        standin_expect_end(machine.fixture.standin);
        uint64_t killed = now_ms();
        CU_ASSERT_EQUAL(kill(standin_pid(machine.fixture.standin), SIGKILL), 0);
        CU_ASSERT_EQUAL(standin_wait_all(machine.fixture.standin, GONE_MS), 0);
        if (now_ms() - killed > GONE_MS)
            fprintf(stderr, "\nround %u: they are there after %d ms\n", round, GONE_MS);
        join();
        machine.block_guests[BLOCK].timeout_ms = machine.block_guests[DAEMON_BLOCK].timeout_ms = 1;
        CU_ASSERT(block_load_end(machine.blocks[BLOCK]) != 0); /* nobody answers any more */
        CU_ASSERT(block_load_end(machine.blocks[DAEMON_BLOCK]) != 0);
        int status = standin_stop(machine.fixture.standin);
        CU_ASSERT(status >= 0 && WIFSIGNALED(status));
        guest_queue_free(&machine.rng_load.queue);
        end_all();
    }
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"every kind survives its broker", every_kind_survives_its_broker},
        {"who has nothing to do sleeps, also after work", who_has_nothing_to_do_sleeps},
        {"nobody outlives a killed keeper", nobody_outlives_a_killed_keeper},
        CU_TEST_INFO_NULL,
    };
    return net_fixture_namespace() ? fixture_main(argc, argv, "storm over all kinds", tests)
                                   : EXIT_FAILURE;
}
