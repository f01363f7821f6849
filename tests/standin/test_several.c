/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several bao-virtio-dm side by side. Bao's demonstration with three of them runs as it is
 * published. bao-dmctl finds them. When one ends, the others do not notice. What one has, no other
 * gets.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/control.h"
#include "tests/standin/control_client.h"
#include "tests/standin/fixture.h"

#define DEVICE_MODEL PROGRAM_DIR "/bao-virtio-dm"
#define DMCTL PROGRAM_DIR "/bao-dmctl"
/* When a test fails, its device models die with it. */
#define START "setpriv --pdeathsig KILL " DEVICE_MODEL
#define WAIT_MS 20000
#define LOOK_MS 10

struct said {
    int status;
    char text[32768];
};

static struct said run(const char *command)
{
    struct said said = {0};
    FILE *pipe = popen(command, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
    size_t length = fread(said.text, 1, sizeof(said.text) - 1, pipe);
    said.text[length] = '\0';
    said.status = WEXITSTATUS(pclose(pipe));
    return said;
}

static bool says(const struct said *said, const char *words)
{
    bool found = strstr(said->text, words) != NULL;
    if (!found)
        fprintf(stderr, "\nnot in what it says: %s\n%s\n", words, said->text);
    return found;
}

/* ---- Bao's demonstration ---- */

#define FILES 3u
#define DEVICES 5u

/* The devices in the files of configs/demo-virtio. */
static const struct {
    uint64_t base;
    unsigned int file, type;
} demo[DEVICES] = {
    {0xa003e00, 1, VIRTIO_ID_CONSOLE}, {0xa003e00, 2, VIRTIO_ID_NET},
    {0xa003c00, 2, VIRTIO_ID_BLOCK},   {0xa003e00, 3, VIRTIO_ID_NET},
    {0xa003c00, 3, VIRTIO_ID_BLOCK},
};

/* When the shell gets SIGTERM, it ends all three, and then ends itself. It closes the fd that it
 * was started with, since an audit would find it with the shell. (dash can't.) */
#define START_ALL                                                                                  \
    "trap 'kill $(cat pid1 pid2 pid3) 2>/dev/null' TERM\n"                                         \
    "for vm in 1 2 3; do\n"                                                                        \
    "    " START " --config config-virtio-demo-vm$vm.yaml & echo $! >pid$vm\n"                     \
    "done\n"                                                                                       \
    "exec %d<&-\n"                                                                                 \
    "for i in 1 2 3 4 5 6; do wait; done\n"                                                        \
    "exit 0\n"

/* Copies the file as it is, except for the place of the images. */
static void copy_config(const struct fixture *fixture, unsigned int vm)
{
    char name[64], path[4096], line[256], *yaml = NULL;
    size_t size;
    snprintf(name, sizeof(name), "config-virtio-demo-vm%u.yaml", vm);
    snprintf(path, sizeof(path), DEMO_DIR "/%s", name);
    FILE *from = fopen(path, "re"), *to = open_memstream(&yaml, &size);
    CU_ASSERT_FATAL(from && to);
    while (fgets(line, sizeof(line), from)) {
        char *etc = strstr(line, "\"/etc/");
        if (etc)
            fprintf(to, "%.*s\"%s/%s", (int)(etc - line), line, fixture->dir,
                    etc + strlen("\"/etc/"));
        else
            fputs(line, to);
    }
    fclose(from);
    CU_ASSERT_EQUAL(fclose(to), 0);
    fixture_configure_as(fixture, name, yaml);
    free(yaml);
}

static void wait_for_device(const struct fixture *fixture, unsigned int id)
{
    uint64_t value = 0;
    CU_ASSERT_EQUAL(standin_read(fixture->standin, id, demo[id].base + VIRTIO_MMIO_DEVICE_ID, 4,
                                 &value, WAIT_MS),
                    0);
    CU_ASSERT_EQUAL(value, demo[id].type);
}

static void start_demo(struct fixture *fixture)
{
    static char script[sizeof(START_ALL) + 128];
    fixture_init(fixture);
    for (unsigned int vm = 1; vm <= FILES; vm++)
        copy_config(fixture, vm);
    fixture_make_image(fixture, "ext4_frontend_vm1_image.img", FIXTURE_IMAGE_SECTORS);
    fixture_make_image(fixture, "ext4_frontend_vm2_image.img", FIXTURE_IMAGE_SECTORS);
    fixture->log_fd = fixture_open(fixture, "log");
    CU_ASSERT_EQUAL(fcntl(fixture->log_fd, F_SETFL, O_APPEND), 0);
    snprintf(script, sizeof(script), "cd %s\n" START_ALL, fixture->dir, STANDIN_LEFT_OPEN_FD);
    static const char *argv[] = {"/bin/bash", "-c", script, NULL};
    struct standin_options options = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = fixture->log_fd, .stderr_fd = fixture->log_fd};
    for (unsigned int id = 0; id < DEVICES; id++)
        options.devices[id] = (struct standin_device){
            .present = true, .shmem_addr = fixture_shmem(id), .shmem_size = FIXTURE_SHMEM_SIZE};
    CU_ASSERT_EQUAL_FATAL(standin_start(&options, &fixture->standin), 0);
    for (unsigned int id = 0; id < DEVICES; id++) {
        wait_for_device(fixture, id);
        fixture->workers[id] = fixture_worker(fixture, id);
    }
}

static void start_block(const struct fixture *fixture, unsigned int id, struct guest_block *block)
{
    *block = (struct guest_block){0};
    guest_init(&block->guest, fixture->standin, id, demo[id].base, fixture_shmem(id),
               FIXTURE_SHMEM_SIZE);
    block->guest.timeout_ms = WAIT_MS;
    CU_ASSERT_EQUAL_FATAL(guest_block_start(block, GUEST_BLOCK_FEATURES, 4, 512), 0);
}

static pid_t keeper_of(const struct fixture *fixture, unsigned int vm)
{
    char name[16];
    int pid = 0;
    snprintf(name, sizeof(name), "pid%u", vm);
    FILE *file = fdopen(fixture_open(fixture, name), "r");
    CU_ASSERT_EQUAL(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

static void wait_for_end(const struct fixture *fixture, unsigned int id)
{
    for (unsigned int i = 0; i < WAIT_MS / LOOK_MS && fixture_worker(fixture, id) > 0; i++)
        usleep(LOOK_MS * 1000);
    CU_ASSERT(fixture_worker(fixture, id) < 0);
}

/* ---- What bao-dmctl finds ---- */

static void several_are_listed(void)
{
    struct said said = run(DMCTL " status 2>&1");
    CU_ASSERT_EQUAL(said.status, 1);
    CU_ASSERT(says(&said, "several are running"));
    CU_ASSERT(says(&said, CONTROL_DIRECTORY "/config-virtio-demo-vm1.socket: process "));
    CU_ASSERT(says(&said, "/config-virtio-demo-vm3.yaml\n"));
    CU_ASSERT_EQUAL(run(DMCTL " audit 2>/dev/null").status, 2);
    CU_ASSERT_EQUAL(run(DMCTL " restart 2 2>/dev/null").status, 1);
}

static void each_is_found_by_its_name(const struct fixture *fixture)
{
    struct said said = run(DMCTL " --control config-virtio-demo-vm2 status 2>&1");
    CU_ASSERT_EQUAL(said.status, 0);
    CU_ASSERT(says(&said, "net 1 (virtio)") && says(&said, "block 2 (virtio)"));
    CU_ASSERT(says(&said, "cache       writethrough"));
    CU_ASSERT_PTR_NULL(strstr(said.text, "console 0"));
    said = run(DMCTL " --control " CONTROL_DIRECTORY "/config-virtio-demo-vm1.socket status 2>&1");
    CU_ASSERT(says(&said, "console 0 (virtio)"));
    said = run(DMCTL " --control nobody status 2>&1");
    CU_ASSERT_EQUAL(said.status, 1);
    CU_ASSERT(says(&said, CONTROL_DIRECTORY "/nobody.socket: no bao-virtio-dm is running there"));

    said = run(DMCTL " status --all 2>&1");
    CU_ASSERT_EQUAL(said.status, 0);
    for (unsigned int vm = 1; vm <= FILES; vm++) {
        char words[192];
        snprintf(words, sizeof(words),
                 "%s/config-virtio-demo-vm%u.yaml: process %d, " CONTROL_DIRECTORY
                 "/config-virtio-demo-vm%u.socket\n",
                 fixture->dir, vm, (int)keeper_of(fixture, vm), vm);
        CU_ASSERT(says(&said, words));
    }
    said = run(DMCTL " status --all --json | python3 -c \"import json,sys; d=json.load(sys.stdin); "
                     "assert [[e['id'] for e in i['devices']] for i in d]==[[0],[1,2],[3,4]]; "
                     "assert d[1]['devices'][1]['cache']=='writethrough'; assert all(i['pid']>0 "
                     "and i['socket'] and i['config'] for i in d)\" 2>&1");
    CU_ASSERT_EQUAL(said.status, 0);
    CU_ASSERT_STRING_EQUAL(said.text, "");
    CU_ASSERT_EQUAL(run(DMCTL " stats --all 2>/dev/null").status, 1);

    /* The audit is about the one that was asked. It does not call the other device models
     * strangers. */
    said = run(DMCTL " --control config-virtio-demo-vm2 audit 2>&1");
    CU_ASSERT_EQUAL(said.status, 0);
    CU_ASSERT(says(&said, "who has what, among several keepers"));
    if (said.status != 0)
        fputs(said.text, stderr);
}

static void the_demonstration_runs_and_one_that_dies_harms_nobody(void)
{
    struct fixture fixture;
    struct guest_block other;
    struct stat sockets;
    start_demo(&fixture);
    fixture_assert_logged(&fixture, "note: advertise_flush: false makes each write wait");
    several_are_listed();
    each_is_found_by_its_name(&fixture);
    start_block(&fixture, 4, &other);
    fixture_assert_reads(&other, 3);

    standin_expect_end(fixture.standin); /* one of the frontends is lost */
    CU_ASSERT_EQUAL(kill(keeper_of(&fixture, 2), SIGKILL), 0);
    wait_for_end(&fixture, 1);
    wait_for_end(&fixture, 2);
    for (unsigned int i = 0; i < 20; i++)
        fixture_assert_reads(&other, i);
    fixture_assert_running(&other.guest);
    static const unsigned int others[] = {0, 3, 4};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        wait_for_device(&fixture, others[i]);
        CU_ASSERT_EQUAL(fixture_worker(&fixture, others[i]), fixture.workers[others[i]]);
    }
    /* Each of the others has what it had. A broker's death changes nothing about that. */
    struct said said = run(DMCTL " status 2>&1");
    CU_ASSERT(says(&said, "several are running") && says(&said, "vm1.socket") &&
              says(&said, "vm3.socket"));
    CU_ASSERT_PTR_NULL(strstr(said.text, "vm2.socket"));
    CU_ASSERT_EQUAL(kill(keeper_of(&fixture, 3), SIGTERM), 0);
    wait_for_end(&fixture, 4);
    said = run(DMCTL " status 2>&1"); /* only one is left */
    CU_ASSERT_EQUAL(said.status, 0);
    CU_ASSERT(says(&said, "console 0 (virtio)"));
    CU_ASSERT_EQUAL(stat(CONTROL_DIRECTORY, &sockets), 0);
    CU_ASSERT_EQUAL(sockets.st_mode & 0777, 0755);

    guest_block_free(&other);
    CU_ASSERT_PTR_NULL(standin_protocol_error(fixture.standin));
    int status = standin_stop(fixture.standin);
    CU_ASSERT(status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    said = run(DMCTL " status 2>&1");
    CU_ASSERT_EQUAL(said.status, 1);
    CU_ASSERT(says(&said, "no bao-virtio-dm is running"));
    fixture_free(&fixture);
}

/* ---- What is another's ---- */

#define NEXT(id, type)                                                                             \
    "devices:\n  - id: " id "\n    type: " type                                                    \
    "\n    data_plane: virtio\n    mmio_addr: 0xa000000\n"

#define AGAIN "/again" /* the fixture's directory again, mounted in itself */

static const char first[] =
    "devices:\n"
    "  - {id: 0, type: block, data_plane: virtio, mmio_addr: 0xa003e00, file_path: "
    "\"@/disk.img\"}\n"
    "  - {id: 1, type: net, data_plane: virtio, mmio_addr: 0xa004000, tap_name: several0}\n"
    "  - {id: 2, type: vsock, data_plane: virtio, mmio_addr: 0xa004200, guest_cid: 7, socket_path: "
    "\"@/v.sock\"}\n"
    "  - {id: 3, type: console, data_plane: virtio, mmio_addr: 0xa004400, pty_alias: "
    "\"@/console\"}\n"
    "  - {id: 4, type: block, data_plane: virtio, mmio_addr: 0xa004600, file_path: \"@/both.img\", "
    "read_only: true}\n";

/* Things that a second device model can't have, the place in its file, and the first words of the
 * message. */
static const struct second {
    const char *yaml, *words;
    bool may; /* it can have this: it gets as far as the dispatcher, which has no such device */
} seconds[] = {
    {NEXT("0", "rng"), "2:9: id 0 is another bao-virtio-dm's", false},
    {NEXT("5", "block") "    file_path: \"@/disk.img\"\n",
     "6:16: this image is another bao-virtio-dm's", false},
    {NEXT("6", "block") "    file_path: \"@/./disk.img\"\n    read_only: true\n",
     "6:16: this image is another bao-virtio-dm's", false},
    {NEXT("7", "block") "    file_path: \"@" AGAIN "/disk.img\"\n",
     "6:16: this is, by another name, another bao-virtio-dm's", false},
    {NEXT("9", "net") "    tap_name: several0\n",
     "6:15: tap \"several0\" is another bao-virtio-dm's", false},
    {NEXT("10", "vsock") "    guest_cid: 7\n    socket_path: \"@/w.sock\"\n",
     "6:16: guest_cid 7 is another bao-virtio-dm's", false},
    {NEXT("11", "vsock") "    guest_cid: 8\n    socket_path: \"@/v.sock_52\"\n",
     "7:18: the name \"v.sock_52\" in this directory is another bao-virtio-dm's", false},
    {NEXT("12", "console") "    pty_alias: \"@/console\"\n",
     "6:16: the name \"console\" in this directory is another bao-virtio-dm's", false},
    {NEXT("13", "block") "    file_path: \"@/both.img\"\n    read_only: true\n", NULL, true},
};

#define SECONDS (sizeof(seconds) / sizeof(seconds[0]))

/* Runs it with its own dispatcher, which has no devices. Returns its exit status. */
static int run_second(const char *const argv[], int log)
{
    const struct standin_options options = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = log, .stderr_fd = log};
    struct standin *standin;
    if (standin_start(&options, &standin) < 0)
        return 126;
    standin_expect_end(standin);
    int status = standin_wait(standin, WAIT_MS);
    if (standin_stop(standin) < 0)
        status = -1; /* it left a process behind */
    return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}

static pid_t start_second(struct fixture *fixture, size_t i)
{
    char name[32], path[128], path_again[128], control[128];
    snprintf(name, sizeof(name), "second%zu.yaml", i);
    snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
    snprintf(control, sizeof(control), "%s/control%zu", fixture->dir, i);
    fixture_configure_as(fixture, name, seconds[i].yaml);
    char written[128];
    snprintf(name, sizeof(name), "log%zu", i);
    int log = fixture_open(fixture, name);
    snprintf(written, sizeof(written), "/proc/%d/ns/mnt", (int)standin_pid(fixture->standin));
    int mounts = open(written, O_RDONLY | O_CLOEXEC); /* this namespace has the dispatcher's node */
    pid_t pid = fork();
    if (pid == 0) {
        snprintf(path_again, sizeof(path_again), "%s" AGAIN, fixture->dir);
        if (setns(mounts, CLONE_NEWNS) < 0 || unshare(CLONE_NEWNS) < 0 ||
            mount(fixture->dir, path_again, NULL, MS_BIND, NULL) < 0)
            _exit(126);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const char *const argv[] = {DEVICE_MODEL, "--config", path, "--control", control, NULL};
        _exit(run_second(argv, log));
    }
    close(mounts);
    close(log);
    return pid;
}

static void assert_refused(const struct fixture *fixture, size_t i, pid_t pid)
{
    char name[32], whose[192], log[4096] = "";
    int status = 0;
    snprintf(name, sizeof(name), "log%zu", i);
    snprintf(whose, sizeof(whose), ": process %d, with %s/first.yaml",
             (int)standin_pid(fixture->standin), fixture->dir);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 1;
    if (!ended)
        fprintf(stderr, "\n%s: wait status %#x\n", seconds[i].yaml, (unsigned int)status);
    CU_ASSERT(ended);
    int fd = fixture_open(fixture, name);
    (void)!read(fd, log, sizeof(log) - 1);
    close(fd);
    const char *words = seconds[i].may ? fixture_lacks_device(13) : seconds[i].words;
    bool right = strstr(log, words) && (seconds[i].may || strstr(log, whose)) &&
                 strchr(log, '\n') == strrchr(log, '\n');
    if (!right)
        fprintf(stderr, "\nexpected one line with \"%s\" and \"%s\":\n%s", words, whose, log);
    CU_ASSERT(right);
}

static void what_one_has_no_other_gets(void)
{
    struct fixture fixture;
    pid_t pids[SECONDS];
    char to[96];
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_make_image(&fixture, "both.img", 64);
    fixture_configure_as(&fixture, "first.yaml", first);
    fixture.config_name = "first.yaml";
    fixture_start(&fixture, 5, 5);
    snprintf(to, sizeof(to), "%s" AGAIN, fixture.dir);
    CU_ASSERT_EQUAL(mkdir(to, 0755), 0);
    for (size_t i = 0; i < SECONDS; i++)
        pids[i] = start_second(&fixture, i);
    for (size_t i = 0; i < SECONDS; i++)
        assert_refused(&fixture, i, pids[i]);
    fixture_assert_never_restarted(&fixture);

    /* While there is no broker, nobody else can take what the broker had. */
    pid_t keeper = standin_pid(fixture.standin);
    CU_ASSERT_EQUAL(kill(keeper, SIGSTOP), 0);
    CU_ASSERT_EQUAL(kill(fixture.broker, SIGKILL), 0);
    pids[0] = start_second(&fixture, 0);
    assert_refused(&fixture, 0, pids[0]);
    CU_ASSERT_EQUAL(kill(keeper, SIGCONT), 0);
    CU_ASSERT(fixture_wait_broker(&fixture, fixture.broker) > 0);
    CU_ASSERT_EQUAL(rmdir(to), 0);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

/* ---- Names of control sockets ---- */

/* Two configuration files have the same name. The second socket gets the first free name. */
static void files_of_one_name_have_two_sockets(void)
{
    static const char yaml[] = "devices:\n  - {id: %u, type: rng, data_plane: virtio, mmio_addr: "
                               "0xa003e00}\n";
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.log_fd = fixture_open(&fixture, "log");
    for (unsigned int i = 0; i < 2; i++) {
        char path[96], written[sizeof(yaml) + 16];
        snprintf(path, sizeof(path), "%s/%u", fixture.dir, i);
        CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
        snprintf(path, sizeof(path), "%u/vm.yaml", i);
        snprintf(written, sizeof(written), yaml, i);
        fixture_configure_as(&fixture, path, written);
    }
    static char script[4096];
    snprintf(script, sizeof(script),
             "cd %s; end=; trap 'end=1; kill $p' TERM; for i in 0 1; do " START
             " --config $i/vm.yaml & p=\"$p $!\"; until [ $end ] || " DMCTL
             " status --all 2>/dev/null | grep -q \"$i/vm.yaml\"; do sleep 0.05; done; done\n"
             "for i in 1 2 3 4; do wait; done; exit 0",
             fixture.dir);
    static const char *argv[] = {"/bin/sh", "-c", script, NULL};
    struct standin_options options = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = fixture.log_fd, .stderr_fd = fixture.log_fd};
    for (unsigned int id = 0; id < 2; id++)
        options.devices[id] = (struct standin_device){
            .present = true, .shmem_addr = fixture_shmem(id), .shmem_size = FIXTURE_SHMEM_SIZE};
    CU_ASSERT_EQUAL_FATAL(standin_start(&options, &fixture.standin), 0);
    for (unsigned int id = 0; id < 2; id++) {
        uint64_t value;
        CU_ASSERT_EQUAL(standin_read(fixture.standin, id, 0xa003e00, 4, &value, WAIT_MS), 0);
    }
    struct said said = run(DMCTL " --control vm status 2>&1");
    CU_ASSERT(says(&said, "rng 0"));
    said = run(DMCTL " --control vm-2 status 2>&1");
    CU_ASSERT(says(&said, "rng 1"));
    fixture_stop(&fixture);
    for (unsigned int i = 0; i < 2; i++) {
        char path[96];
        snprintf(path, sizeof(path), "%s/%u/vm.yaml", fixture.dir, i);
        unlink(path);
        *strrchr(path, '/') = '\0';
        rmdir(path);
    }
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    setenv(STANDIN_SEVERAL, "1", 1);
    CU_TestInfo tests[] = {
        {"the demonstration runs, and one that dies harms nobody",
         the_demonstration_runs_and_one_that_dies_harms_nobody},
        {"what one has no other gets", what_one_has_no_other_gets},
        {"files of one name have two sockets", files_of_one_name_have_two_sockets},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "several", tests);
}
