/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-dmctl audit: the whole of a running device model, and what its broker says of it. It finds
 * nothing wrong with any kind of device that this machine can serve, also while workers are
 * replaced. For each thing that is different, one row names it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/audit_session.h"
#include "tests/standin/block_daemon.h"

#define DMCTL PROGRAM_DIR "/bao-dmctl"
#define DEVICES 6u
#define RESTARTS 12u

static struct fixture fixture;
static pid_t served; /* a vhost-user daemon */

static void start(void)
{
    char yaml[1024];
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    int used = snprintf(yaml, sizeof(yaml), "devices:\n");
    static const char *const devices[DEVICES] = {
        "type: block\n    data_plane: virtio\n    file_path: \"@/disk.img\"",
        "type: rng\n    data_plane: virtio",
        "type: vsock\n    data_plane: virtio\n    guest_cid: 3\n    socket_path: \"@/v.sock\"",
        "type: console\n    data_plane: virtio\n    socket_path: \"@/c.sock\"",
        "type: console\n    data_plane: virtio",
        "type: 2\n    data_plane: vhost_user\n    socket_path: \"@/blk.sock\"\n"
        "    config: \"0010000000000000\"",
    };
    for (unsigned int i = 0; i < DEVICES; i++)
        used += snprintf(yaml + used, sizeof(yaml) - (size_t)used,
                         "  - id: %u\n    mmio_addr: 0x%llx\n    %s\n", i,
                         (unsigned long long)fixture_base(i), devices[i]);
    fixture_configure(&fixture, yaml);
    served = block_daemon_start(&fixture, "disk.img", NULL);
    block_daemon_wait(&fixture);
    fixture_start(&fixture, DEVICES, DEVICES);
}

static void stop(void)
{
    fixture_stop(&fixture);
    block_daemon_kill(served);
    fixture_free(&fixture);
}

static int audit(const char *options)
{
    return audit_ask("timeout 100 " DMCTL " --control %s/control audit %s 2>&1", fixture.dir,
                     options);
}

static void expect_good(void)
{
    int status = audit("");
    CU_ASSERT_EQUAL(status, 0);
    if (status != 0)
        puts(audit_answer);
}

/* ---- Nothing to object to ---- */

static void a_whole_device_model_is_as_expected(void)
{
    static const char *const said[] = {
        "  ok     device 0                block 0, block/virtio: worker ",
        "  ok     device 1                rng 1, rng/virtio: worker ",
        "  ok     device 2                vsock 2, vsock/virtio: worker ",
        "  ok     device 3                console 3, console/socket: worker ",
        "  ok     device 4                console 4, console/virtio: worker ",
        "  ok     device 5                block 5, other/vhost_user: worker ",
        "  ok     policy                  other/vhost_user\n",
        "  ok     core layers missing     none\n",
        "  ok     device                  block 0\n",
        "  ok     policy                  console/socket\n",
        "\n10 processes, ", /* this includes the connectors of devices 2 and 5 */
        ", 0 not as expected\n",
    };
    start();
    expect_good();
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
        CU_ASSERT(audit_says(said[i]));
    fixture_assert_never_restarted(&fixture);
    stop();
}

/* What the kernel does not show is not called good, even if READY says that it is. */
static void what_cannot_be_read_is_said_to_be_so(void)
{
    start();
    expect_good();
    CU_ASSERT(audit_says("  ?      securebits              not readable from outside; "));
    CU_ASSERT(audit_says("  ?      keyring                 not readable from outside; by the"));
    /* Where the kernel audits, its log may have what Landlock refused. */
    CU_ASSERT(audit_says("  ?      landlock                not readable from outside; by the") ||
              audit_says("  ok     landlock                by the kernel's log, domain"));
    CU_ASSERT(audit_says("  ?      mdwe                    not readable from outside; by the"));
    CU_ASSERT_PTR_NULL(strstr(audit_answer, "  ok     mdwe"));
    /* Here only a worker is audited, and no broker is asked. */
    CU_ASSERT_EQUAL(audit_run("verify %d", fixture.workers[0]), 0);
    CU_ASSERT(audit_says("  ?      mdwe                    not readable from outside; the worker's "
                         "READY tells"));
    stop();
}

static void reports_are_for_tools_and_for_a_signature(void)
{
    start();
    CU_ASSERT_EQUAL(
        audit("--json | python3 -c \"import json,sys; d=json.load(sys.stdin); "
              "d=d['processes']; assert sorted(p['role'] for p in "
              "d)==['broker']+['connector']*2+['daemon','holder','keeper']+['worker']*6; "
              "v={c['verdict'] for p in d for c in p['checks']}; "
              "assert v=={'as expected','to know','not readable from outside'}, v\""),
        0);
    CU_ASSERT_EQUAL(audit("--markdown"), 0);
    CU_ASSERT(audit_says("# Audit of a running bao-virtio-dm\n"));
    CU_ASSERT(audit_says("| processes | 10 |"));
    CU_ASSERT(audit_says("| **not as expected** | **0** |"));
    CU_ASSERT(audit_says("| name | date | signature |"));
    stop();
}

/* A thread can be stopped by one process at a time. */
static void audits_at_the_same_time_wait_for_each_other(void)
{
    start();
    int status = audit_ask("audits=; for i in 1 2 3; do timeout 100 " DMCTL
                           " --control %s/control audit 2>&1 & audits=\"$audits $!\"; done; "
                           "for one in $audits; do wait $one || status=1; done; exit ${status-0}",
                           fixture.dir);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_PTR_NULL(strstr(audit_answer, "  WRONG  "));
    stop();
}

/* A worker that is starting has not confined itself yet. A worker that has ended is not wrong. */
static void workers_that_are_replaced_meanwhile_are_not_wrong(void)
{
    start();
    for (unsigned int i = 0; i < RESTARTS; i++) {
        (void)audit_ask(DMCTL " --control %s/control restart %u 2>&1", fixture.dir, i % DEVICES);
        usleep(2000 * i);
        expect_good();
    }
    stop();
}

/* The number of filters of a process, from /proc; 0 if it has ended. */
static unsigned long count_filters(pid_t pid)
{
    char path[64], line[128];
    unsigned long count = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof(line), status))
        (void)!sscanf(line, "Seccomp_filters: %lu", &count);
    if (status)
        fclose(status);
    return count;
}

/* The youngest child of the keeper. */
static pid_t youngest_child(void)
{
    char path[64];
    int pid = 0;
    pid_t keeper = standin_pid(fixture.standin);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)keeper, (int)keeper);
    FILE *children = fopen(path, "re");
    while (children && fscanf(children, "%d", &pid) == 1)
        ;
    if (children)
        fclose(children);
    return pid;
}

/* Replaces a worker. Stops its successor before the successor has loaded its own filter. */
static pid_t stop_unconfined_worker(void)
{
    for (unsigned int attempt = 0; attempt < 50; attempt++) {
        pid_t before = youngest_child(), pid;
        unsigned long filters = count_filters(before);
        kill(before, SIGKILL);
        /* Until the successor starts, another worker is the youngest child: skip it. */
        for (unsigned int i = 0; (pid = youngest_child()) <= before; i++)
            if (i == 1000000)
                return 0;
        kill(pid, SIGSTOP);
        usleep(20000);
        if (count_filters(pid) > 0 && count_filters(pid) < filters)
            return pid;
        kill(pid, SIGCONT);
        usleep(300000);
    }
    return 0;
}

/* The audit gives a worker the time that it needs to confine itself. */
static void a_worker_that_is_being_started_is_waited_for(void)
{
    start();
    pid_t worker = stop_unconfined_worker();
    CU_ASSERT_FATAL(worker > 0);
    pid_t child = fork();
    if (child == 0) {
        sleep(1);
        kill(worker, SIGCONT);
        _exit(0);
    }
    expect_good();
    CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
    stop();
}

static void a_successor_of_the_broker_is_asked(void)
{
    uint64_t value;
    start();
    kill(fixture.broker, SIGKILL);
    CU_ASSERT(fixture_wait_broker(&fixture, fixture.broker) > 0);
    CU_ASSERT_EQUAL(standin_read(fixture.standin, 0, fixture_base(0), 4, &value, 8000), 0);
    expect_good();
    stop();
}

/* ---- Processes of others ---- */

/* The part of the answer about a process: from its heading to the next empty line. */
static const char *part_about(const char *role, pid_t pid)
{
    static char part[1 << 14];
    char heading[64];
    snprintf(heading, sizeof(heading), "%s %d ", role, (int)pid);
    const char *at = strstr(audit_answer, heading);
    const char *end = at ? strstr(at, "\n\n") : NULL;
    CU_ASSERT_PTR_NOT_NULL(end);
    snprintf(part, sizeof(part), "%.*s\n", end ? (int)(end - at) : 0, at ? at : "");
    return part;
}

/* The daemon closes the DM file once it has mapped it, and still has all that the file gives. The
 * process of the tests plays Bao, so it has the memory too. */
static void a_daemon_and_what_is_weak_of_it_is_told(void)
{
    static const char *const said[] = {
        "  note   serves                  block 5\n",
        "  note   memory of devices       has mapped the DM file\n",
        "  ok     nodes of Bao's driver   none\n",
        "  note   Uid                     0 0 0 0\n",
        "  note   Seccomp                 0\n",
        "  note   NoNewPrivs              0\n",
        "  note   root directory          the machine's\n",
        "  note   weak                    root, capabilities, more capabilities, no filter of "
        "system "
        "calls, may gain privileges, the machine's pid, mnt, net, ipc, uts, cgroup, user, the "
        "machine's files\n",
    };
    start();
    expect_good();
    const char *part = part_about("daemon", served);
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        CU_ASSERT_PTR_NOT_NULL(strstr(part, said[i]));
        if (!strstr(part, said[i]))
            printf("\n    expected \"%s\"", said[i]);
    }
    part = part_about("holder", getpid());
    CU_ASSERT_PTR_NULL(strstr(part, "serves"));
    CU_ASSERT_PTR_NOT_NULL(strstr(part, "has the DM file open, and has mapped it\n"));
    /* An audit of one process alone looks for no others. */
    CU_ASSERT_EQUAL(audit_run("verify %d", fixture.workers[5]), 0);
    CU_ASSERT_PTR_NULL(strstr(audit_answer, "\ndaemon "));
    stop();
}

/* A process of nobody's that has the driver's node open: it could answer for every device. */
static void a_foreign_holder_of_a_node_is_found(void)
{
    char node[64];
    int ready[2];
    start();
    CU_ASSERT_EQUAL_FATAL(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        /* Where the keeper sees it: in the tests its /dev is another one. */
        static const char *const names[] = {"bao-io-dispatcher", "bao"};
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            snprintf(node, sizeof(node), "/proc/%d/root/dev/%s", standin_pid(fixture.standin),
                     names[i]);
            if (open(node, O_RDONLY) >= 0)
                break;
        }
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    char byte;
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    CU_ASSERT_EQUAL(audit(""), 1);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(part_about("holder", pid), "  WRONG  nodes of Bao's driver   /dev/bao"));
    CU_ASSERT(audit_says(", 1 not as expected\n"));
    kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
    close(ready[0]);
    close(ready[1]);
    expect_good();
    stop();
}

/* ---- Something is different ---- */

static void an_fd_too_many_is_found(void)
{
    char row[64];
    start();
    long fd = audit_add_fd(standin_pid(fixture.standin));
    CU_ASSERT_EQUAL(audit(""), 1);
    snprintf(row, sizeof(row), "  WRONG  fd %-20ld anon_inode:[eventpoll]\n", fd);
    CU_ASSERT(audit_says(row));
    CU_ASSERT(audit_says(", 1 not as expected\n"));
    CU_ASSERT_EQUAL(audit("--markdown"), 1);
    CU_ASSERT(audit_says("| **WRONG** | fd "));
    stop();
}

static void another_filter_is_found(void)
{
    start();
    audit_add_filter(standin_pid(fixture.standin));
    CU_ASSERT_EQUAL(audit(""), 1);
    CU_ASSERT(audit_says("  WRONG  filter "));
    CU_ASSERT(audit_says("a program of 1 instructions that allows more than named calls\n"));
    stop();
}

static void another_capability_is_found(void)
{
    start();
    audit_add_inheritable(standin_pid(fixture.standin));
    CU_ASSERT_EQUAL(audit(""), 1);
    CU_ASSERT(audit_says("  WRONG  CapInh "));
    CU_ASSERT(audit_says("expected: 0000000000000000\n"));
    CU_ASSERT(audit_says(", 1 not as expected\n"));
    stop();
}

/* ---- What the broker says, and what there is ---- */

#define ALL_LAYERS 0x3fffu

/* Runs verify with the words of a broker that knows of `count` devices. `first`: the words about
 * the first device; NULL: the right ones. */
static int told(unsigned int count, const char *first)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/told", fixture.dir);
    static const char *const kinds[DEVICES][2] = {
        {"block/virtio", "block"},     {"rng/virtio", "rng"},
        {"vsock/virtio", "vsock"},     {"console/socket", "console"},
        {"console/virtio", "console"}, {"other/vhost_user", "block"}};
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fprintf(file, "broker %d %s\n", fixture.broker,
            standin_default_abi() == STANDIN_D ? "broker_d" : "broker");
    for (unsigned int i = 0; i < count; i++) {
        if (i == 0 && first)
            fprintf(file, first, fixture.workers[0]);
        else
            fprintf(file, "device %u %d %x %s %s %u\n", i, fixture.workers[i], ALL_LAYERS,
                    kinds[i][0], kinds[i][1], i);
    }
    fclose(file);
    return audit_run("verify --told '%s'", path);
}

static void a_broker_that_says_otherwise_is_found(void)
{
    start();
    CU_ASSERT_EQUAL(told(DEVICES, NULL), 0);
    CU_ASSERT_EQUAL(told(DEVICES - 1, NULL), 1);
    CU_ASSERT(audit_says("  WRONG  device                  the broker knows nothing of it\n"));
    CU_ASSERT_EQUAL(told(DEVICES, "device 0 %d 3fff rng/virtio block 0\n"), 1);
    CU_ASSERT(audit_says("  WRONG  policy                  block/virtio\n"));
    CU_ASSERT_EQUAL(told(DEVICES, "device 0 %d 3fff block/virtio block 7\n"), 1);
    CU_ASSERT(audit_says("  WRONG  device                  block 0\n"));
    CU_ASSERT_EQUAL(told(DEVICES, "device 0 %d 3fdf block/virtio block 0\n"), 1);
    CU_ASSERT(audit_says("  WRONG  core layers missing     seccomp\n"));
    CU_ASSERT_EQUAL(told(DEVICES, "device 0 %d 1fff block/virtio block 0\n"), 0);
    CU_ASSERT(audit_says("by the worker's READY, this kernel lacks it\n"));
    /* This process is no worker of this keeper. */
    CU_ASSERT_EQUAL(told(DEVICES, "device 0 1 3fff block/virtio block 0\n"), 1);
    CU_ASSERT(audit_says("worker 1, which is none of this keeper's\n"));
    /* The broker was asked before this worker was replaced: both it and its successor appear. */
    CU_ASSERT_EQUAL(told(DEVICES, "device 0 4194303 3fff block/virtio block 0\n"), 0);
    CU_ASSERT(audit_says("worker 4194303, which ended in the meantime\n"));
    CU_ASSERT(audit_says("  note   device                  the broker had not heard of it yet\n"));
    stop();
}

static void nonsense_is_refused(void)
{
    static const char *const lines[] = {"",
                                        "device 0\n",
                                        "broker x\n",
                                        "broker 1",
                                        "broker 1 broker more\n",
                                        "broker 1 broker\ndevice 0 1 z a\n"};
    fixture_init(&fixture);
    CU_ASSERT_EQUAL(audit(""), 2);
    CU_ASSERT(audit_says("no bao-virtio-dm is running there"));
    fixture_free(&fixture);
    start();
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        CU_ASSERT_EQUAL(
            audit_ask("printf '%s' | " PROGRAM_DIR "/bao-seccomp verify --told - 2>&1", lines[i]),
            2);
    CU_ASSERT_EQUAL(audit("0"), 2);
    CU_ASSERT_EQUAL(audit("--json --markdown"), 2);
    CU_ASSERT_EQUAL(audit_run("verify --told - 1"), 2);
    CU_ASSERT_EQUAL(audit_run("list --told -"), 2);
    CU_ASSERT_EQUAL(audit_ask(DMCTL " --control %s/control status --markdown 2>&1", fixture.dir),
                    1);
    /* The socket's mode lets this user in, but the kernel gives filters to root alone. */
    CU_ASSERT_EQUAL(audit_ask("chmod 755 %s; chmod 666 %s/control; setpriv --reuid 65534 "
                              "--clear-groups " DMCTL " --control %s/control audit 2>&1",
                              fixture.dir, fixture.dir, fixture.dir),
                    2);
    CU_ASSERT(audit_says("needs root"));
    stop();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a whole device model is as expected", a_whole_device_model_is_as_expected},
        {"what cannot be read is said to be so", what_cannot_be_read_is_said_to_be_so},
        {"reports are for tools and for a signature", reports_are_for_tools_and_for_a_signature},
        {"audits at the same time wait for each other",
         audits_at_the_same_time_wait_for_each_other},
        {"workers that are replaced meanwhile are not wrong",
         workers_that_are_replaced_meanwhile_are_not_wrong},
        {"a worker that is being started is waited for",
         a_worker_that_is_being_started_is_waited_for},
        {"a successor of the broker is asked", a_successor_of_the_broker_is_asked},
        {"a daemon and what is weak of it is told", a_daemon_and_what_is_weak_of_it_is_told},
        {"a foreign holder of a node is found", a_foreign_holder_of_a_node_is_found},
        {"an fd too many is found", an_fd_too_many_is_found},
        {"another filter is found", another_filter_is_found},
        {"another capability is found", another_capability_is_found},
        {"a broker that says otherwise is found", a_broker_that_says_otherwise_is_found},
        {"nonsense is refused", nonsense_is_refused},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "bao-dmctl audit", tests);
}
