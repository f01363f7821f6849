/* SPDX-License-Identifier: Apache-2.0 */
/* bao-seccomp verify and diff against a device model that runs: they find nothing wrong until
 * somebody has tampered with it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/policy.h"
#include "common/worker_fds.h"
#include "tests/standin/audit_session.h"
#include "tests/standin/fixture.h"

#define DEVICES 2u

static struct fixture fixture;

static void start(void)
{
    fixture_start_blocks(&fixture, DEVICES);
}

static void stop(void)
{
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

/* ---- nothing to object to ---- */

/* Other device models may run on this machine, so the test asks about each of these processes. */
static void finds_nothing_wrong(void)
{
    start();
    const pid_t pids[] = {standin_pid(fixture.standin), fixture.broker, fixture.workers[0],
                          fixture.workers[1]};
    for (size_t i = 0; i < sizeof(pids) / sizeof(pids[0]); i++) {
        CU_ASSERT_EQUAL(audit_run("verify %d", pids[i]), 0);
        if (strstr(audit_answer, "WRONG"))
            puts(audit_answer);
        CU_ASSERT(audit_says(", 0 not as expected\n"));
        CU_ASSERT_EQUAL(audit_run("diff this %d", pids[i]), 0);
    }
    CU_ASSERT_EQUAL(audit_run("verify %d", fixture.workers[1]), 0);
    CU_ASSERT(audit_says("block/virtio, "));
    CU_ASSERT(audit_says("disk1.img: the image\n"));
    CU_ASSERT(audit_says("the kick eventfd of queue 0\n"));
    char note[128];
    snprintf(note, sizeof(note), "  ok     note of its program     %s\n",
             policy_find("block/virtio")->hash);
    CU_ASSERT(audit_says(note));
    CU_ASSERT(audit_says("10: 1 of the backend, 1 queues"));
    fixture_assert_never_restarted(&fixture);
    stop();
}

static int connect_to_console(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/c.sock", fixture.dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* The workers hold different things: no backend; a free place for connections; a connection in that
 * place. */
static void knows_other_kinds(void)
{
    static const char *const policies[] = {"rng/virtio, ", "vsock/virtio, ", "console/socket, "};
    const unsigned int count = sizeof(policies) / sizeof(policies[0]);
    char yaml[768];
    fixture_init(&fixture);
    snprintf(yaml, sizeof(yaml),
             "devices:\n"
             "  - id: 0\n    type: rng\n    data_plane: virtio\n    mmio_addr: 0x%llx\n"
             "  - id: 1\n    type: vsock\n    data_plane: virtio\n    mmio_addr: 0x%llx\n"
             "    guest_cid: 3\n    socket_path: \"@/v.sock\"\n"
             "  - id: 2\n    type: console\n    data_plane: virtio\n    mmio_addr: 0x%llx\n"
             "    socket_path: \"@/c.sock\"\n",
             (unsigned long long)fixture_base(0), (unsigned long long)fixture_base(1),
             (unsigned long long)fixture_base(2));
    fixture_configure(&fixture, yaml);
    fixture_start(&fixture, count, count);
    for (unsigned int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(audit_run("verify %d", fixture.workers[i]), 0);
        CU_ASSERT(audit_says(policies[i]));
        CU_ASSERT_EQUAL(audit_run("diff this %d", fixture.workers[i]), 0);
    }
    CU_ASSERT(audit_run("verify %d", fixture.workers[1]) == 0 &&
              audit_says("the kick eventfd of queue 2\n"));
    int client = connect_to_console();
    for (unsigned int i = 0; i < 50 && !strstr(audit_answer, "a connection that the broker made");
         i++)
        CU_ASSERT_EQUAL(audit_run("verify %d", fixture.workers[2]), 0);
    CU_ASSERT(audit_says("a connection that the broker made\n"));
    close(client);
    CU_ASSERT_EQUAL(audit_run("verify %d", fixture.broker), 0);
    CU_ASSERT_EQUAL(audit_run("verify %d", standin_pid(fixture.standin)), 0);
    stop();
}

static void serves_on_while_it_is_looked_at(void)
{
    struct guest_block block;
    start();
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 1, 4096);
    for (unsigned int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(audit_run("verify %d", fixture.broker), 0);
        CU_ASSERT_EQUAL(audit_run("verify %d", fixture.workers[0]), 0);
        fixture_assert_reads(&block, i);
    }
    fixture_assert_never_restarted(&fixture);
    stop();
}

static void reports_in_three_forms(void)
{
    start();
    CU_ASSERT_EQUAL(
        audit_run("verify %d --json | '" SHAPE "' '" DOCUMENT "' verify", fixture.broker), 0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "");
    CU_ASSERT_EQUAL(audit_run("verify %d --json", fixture.broker), 0);
    CU_ASSERT(audit_says("\"role\": \"broker\""));
    CU_ASSERT(audit_says("\"verdict\": \"as expected\""));
    CU_ASSERT_FALSE(strstr(audit_answer, "not as expected") != NULL);
    CU_ASSERT_EQUAL(audit_run("verify %d --markdown", fixture.broker), 0);
    CU_ASSERT(audit_says("# Audit of a running bao-virtio-dm\n"));
    CU_ASSERT(audit_says("| **not as expected** | **0** |"));
    CU_ASSERT(audit_says("| name | date | signature |"));
    CU_ASSERT_EQUAL(audit_run("verify %d", getpid()), 2);
    CU_ASSERT_EQUAL(audit_run("verify 1 2"), 2);
    stop();
}

/* ---- tampered with ---- */

/* The keeper has one file that it has no use for. */
static void finds_an_fd_too_many(void)
{
    start();
    pid_t keeper = standin_pid(fixture.standin);
    long fd = audit_add_fd(keeper);
    char expected[64];
    snprintf(expected, sizeof(expected), "  WRONG  fd %ld ", fd);
    CU_ASSERT_EQUAL(audit_run("verify %d", keeper), 1);
    CU_ASSERT(audit_says(expected));
    CU_ASSERT(audit_says("anon_inode:[eventpoll]\n"));
    CU_ASSERT(audit_says(", 1 not as expected\n"));
    CU_ASSERT_EQUAL(audit_run("verify %d --json", keeper), 1);
    CU_ASSERT(audit_says("\"verdict\": \"not as expected\""));
    CU_ASSERT_EQUAL(audit_run("verify --all"), 1);
    stop();
}

/* One more filter, which denies nothing: but nobody has audited it. */
static void finds_another_filter(void)
{
    start();
    pid_t keeper = standin_pid(fixture.standin);
    audit_add_filter(keeper);
    CU_ASSERT_EQUAL(audit_run("verify %d", keeper), 1);
    CU_ASSERT(audit_says("  WRONG  filter "));
    CU_ASSERT(audit_says("  WRONG  note of its program "));
    CU_ASSERT(audit_says("a program of 1 instructions that allows more than named calls\n"));
    /* The newest program is compared with the policy. It allows whatever the kernel has. */
    CU_ASSERT_EQUAL(audit_run("diff this %d", keeper), 1);
    CU_ASSERT(
        audit_says("  + calls that have no name here (a call that was not allowed at all)\n"));
    CU_ASSERT(audit_says("\n1 of 1 program differ"));
    /* The children were started before the keeper got this filter. They have inherited the right
     * ones. */
    CU_ASSERT_EQUAL(audit_run("verify %d", fixture.workers[0]), 1);
    CU_ASSERT(audit_says("  WRONG  filters in force"));
    stop();
}

/* A program that has the name of a worker, and that nobody has confined. */
static void finds_an_impostor(void)
{
    static const char *const wrong[] = {
        "parent", "filter",        "NoNewPrivs",      "Uid",
        "CapEff", "namespace mnt", "namespace net",   "root directory",
        "mounts", "session",       "resource limits",
    };
    char path[128], command[256];
    fixture_init(&fixture);
    snprintf(path, sizeof(path), "%s/bao-virtio-worker", fixture.dir);
    snprintf(command, sizeof(command), "cp \"$(command -v sleep)\" '%s'", path);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    fixture_configure_blocks(&fixture, DEVICES);
    fixture_start(&fixture, DEVICES, DEVICES);
    pid_t pid = fork();
    if (pid == 0) {
        execl(path, path, "100", (char *)NULL);
        _exit(127);
    }
    usleep(100000);
    CU_ASSERT_EQUAL(audit_run("verify %d", pid), 1);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(command, sizeof(command), "  WRONG  %s ", wrong[i]);
        CU_ASSERT(audit_says(command));
    }
    CU_ASSERT_EQUAL(audit_run("verify --all"), 1);
    kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
    stop();
}

/* ---- log-only mode ---- */

#define CONFINED "--confined" /* runs this program as one that a policy confines */

/* Makes calls that block/virtio allows, and calls that it does not allow. */
static int run_confined(void)
{
    const struct policy_program *program = policy_find("block/virtio");
    if (!program || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || policy_load(program, 1) < 0)
        return 3;
    for (int i = 0; i < 3; i++)
        fdatasync(WORKER_FD_BACKEND);
    close(open("/", O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < 2; i++)
        if (pwritev2(WORKER_FD_BACKEND, NULL, 0, 0, RWF_APPEND) >= 0)
            return 3;
    /* A child's calls are compared with the policy that the child inherits. */
    pid_t child = fork();
    if (child == 0)
        _exit(fdatasync(WORKER_FD_NULL_IN) == 0 ? 3 : 0);
    return child > 0 && waitpid(child, NULL, 0) == child ? 0 : 3;
}

static void traces_what_is_used(void)
{
    char arguments[4096];
    snprintf(arguments, sizeof(arguments), "trace block/virtio -- %s " CONFINED,
             program_invocation_name);
    CU_ASSERT_EQUAL(audit_run_policy("%s", arguments), 1);
    CU_ASSERT(audit_says("block/virtio: "));
    CU_ASSERT(audit_says(" calls of 1 process\n"));
    CU_ASSERT(audit_says("         3  fdatasync "));
    CU_ASSERT(audit_says(
        "         1  openat\n            to allow it: allow openat(dirfd == AT_FDCWD, "));
    CU_ASSERT(
        audit_says("         2  pwritev2\n            to allow it: allow pwritev2(fd == @image, "
                   "flags == 0x10) "));
    CU_ASSERT(audit_says(
        "         1  fdatasync\n            to allow it: allow fdatasync(fd == @null_in)"));
    CU_ASSERT(audit_says("         0  preadv2 "));
    snprintf(arguments, sizeof(arguments), "trace block/virtio --json -- %s " CONFINED,
             program_invocation_name);
    CU_ASSERT_EQUAL(audit_run_policy("%s", arguments), 1);
    CU_ASSERT(audit_says("\"proposal\": \"allow "));
    snprintf(arguments, sizeof(arguments),
             "trace block/virtio --json -- %s " CONFINED " 2>/dev/null | '" SHAPE "' '" DOCUMENT
             "' trace",
             program_invocation_name);
    CU_ASSERT_EQUAL(audit_run_policy("%s", arguments), 0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "");
}

static void traces_nothing_else(void)
{
    char arguments[4096];
    CU_ASSERT_EQUAL(audit_run_policy("trace block/virtio -- true"), 2);
    CU_ASSERT(audit_says("nothing that true started loaded block/virtio of this build"));
    snprintf(arguments, sizeof(arguments), "trace broker -- %s " CONFINED, program_invocation_name);
    CU_ASSERT_EQUAL(audit_run_policy("%s", arguments), 2);
    CU_ASSERT_EQUAL(audit_run_policy("trace block/virtio -- /no/such/program"), 2);
    CU_ASSERT(audit_says("/no/such/program can't be run: No such file or directory"));
    CU_ASSERT_EQUAL(audit_run_policy("trace block/virtio"), 2);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], CONFINED) == 0)
        return run_confined();
    CU_TestInfo tests[] = {
        {"finds nothing wrong", finds_nothing_wrong},
        {"knows other kinds", knows_other_kinds},
        {"serves on while it is looked at", serves_on_while_it_is_looked_at},
        {"reports in three forms", reports_in_three_forms},
        {"finds an fd too many", finds_an_fd_too_many},
        {"finds another filter", finds_another_filter},
        {"finds an impostor", finds_an_impostor},
        {"traces what is used", traces_what_is_used},
        {"traces nothing else", traces_nothing_else},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "bao-seccomp on a running device model", tests);
}
