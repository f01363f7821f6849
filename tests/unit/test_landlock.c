/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each version of Landlock is used as far as it goes. After the broker's and a connector's own step
 * a process opens its nodes and nothing else, and connects to the sockets in its directory and to
 * no others, as far as the kernel's version can forbid it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/backend/connector.h"
#include "broker/lockdown.h"
#include "broker/unix_socket.h"
#include "common/confine.h"
#include "policy/audit/landlock_log.h"
#include "tests/cunit_main.h"

static char dir[] = "/tmp/bao-landlock-XXXXXX"; /* the children's root */
static long kernel_abi;                         /* -1: this kernel has no Landlock */

static bool make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd >= 0 && close(fd) == 0;
}

/* Its server is this process, which is in no domain of Landlock. */
static bool make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
           listen(fd, 8) == 0;
}

static int prepare(void)
{
    kernel_abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return mkdtemp(dir) && chdir(dir) == 0 && mkdir("sockets", 0700) == 0 &&
                   mkdir("others", 0700) == 0 && make_file("node") && make_file("secret") &&
                   make_socket("sockets/inside") && make_socket("others/outside")
               ? 0
               : -1;
}

static int clean_up(void)
{
    static const char *const files[] = {"node", "secret", "sockets/inside", "others/outside"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        (void)unlink(files[i]);
    return rmdir("sockets") + rmdir("others") + rmdir(dir);
}

/* ---- The rights of each version ---- */

/* The numbers of the kernel's interface, and not its names, which a header may lack. */
static void what_each_version_denies(void)
{
    static const struct landlock_rights expected[] = {
        {0, 0, 0},         {0x1fff, 0, 0},    {0x3fff, 0, 0},    {0x7fff, 0, 0}, {0x7fff, 3, 0},
        {0xffff, 3, 0},    {0xffff, 3, 3},    {0xffff, 3, 3},    {0xffff, 3, 3}, {0x1ffff, 3, 3},
        {0x1ffff, 0xf, 3}, {0x1ffff, 0xf, 3}, {0x1ffff, 0xf, 3}, /* one that is not known yet */
    };
    CU_ASSERT_EQUAL(sizeof(struct landlock_rights), 24); /* of ABI 6 */
    CU_ASSERT_EQUAL(sizeof(expected) / sizeof(expected[0]), LANDLOCK_ABI_NEWEST + 2);
    for (unsigned int abi = 0; abi <= LANDLOCK_ABI_NEWEST + 1; abi++) {
        const struct landlock_rights rights = confine_landlock_rights(abi);
        CU_ASSERT_EQUAL(rights.files, expected[abi].files);
        CU_ASSERT_EQUAL(rights.network, expected[abi].network);
        CU_ASSERT_EQUAL(rights.scopes, expected[abi].scopes);
    }
}

static void the_version_of_this_kernel(void)
{
    long usable = kernel_abi < LANDLOCK_ABI_NEWEST ? kernel_abi : LANDLOCK_ABI_NEWEST;
    CU_ASSERT_EQUAL(confine_landlock_abi(), kernel_abi < 0 ? -EOPNOTSUPP : usable);
    if (kernel_abi < 0)
        return;
    struct landlock landlock = {0};
    CU_ASSERT_EQUAL(confine_landlock_begin(&landlock), 0);
    CU_ASSERT_EQUAL(landlock.abi, (unsigned int)usable);
    CU_ASSERT_TRUE(landlock.ruleset > 2);
    confine_landlock_drop(&landlock);
    CU_ASSERT_EQUAL(landlock.ruleset, -1);
}

/* What is allowed is only named: opening a node can have an effect, and opening a socket fails.
 * Even if it gets the number 0, it is closed again. */
static void allow_some(void)
{
    struct landlock landlock = {0};
    if (confine_landlock_begin(&landlock) < 0)
        _exit(1);
    close(0);
    errno = EIO;
    bool good = confine_landlock_allow_node(&landlock, "sockets/inside") == 0 &&
                confine_landlock_allow_node(&landlock, "node") == 0 &&
                confine_landlock_allow_sockets(&landlock, "sockets") == 0 &&
                confine_landlock_allow_node(&landlock, "nothing") == 0 &&
                confine_landlock_allow_node(&landlock, "node/below") == -ENOTDIR;
    confine_landlock_drop(&landlock);
    good &= confine_landlock_allow_node(&landlock, "node") == -EBADF;
    _exit(good && fcntl(0, F_GETFD) < 0 ? 0 : 2);
}

static void what_is_allowed_is_not_opened(void)
{
    int status = -1;
    CU_ASSERT_EQUAL(confine_landlock_abi() < 0, kernel_abi < 0);
    if (kernel_abi < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        allow_some();
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
}

/* A kernel that says yes and does nothing. Returns in the child what the step said. */
static void enter_in_vain(void)
{
    const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_restrict_self, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]),
                                       (struct sock_filter *)filter};
    struct landlock landlock = {0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || confine_landlock_begin(&landlock) < 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        _exit(1);
    close(0); /* the lowest free number, and the first that a trial takes */
    int ruleset = landlock.ruleset, result = confine_landlock_enter(&landlock);
    bool closed = fcntl(0, F_GETFD) < 0 && fcntl(ruleset, F_GETFD) < 0;
    _exit(result == -ENOTRECOVERABLE && landlock.ruleset == -1 && closed ? 0 : 2);
}

static void what_does_not_hold_is_found(void)
{
    int status = -1;
    CU_ASSERT_EQUAL(confine_landlock_abi() < 0, kernel_abi < 0);
    if (kernel_abi < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        enter_in_vain();
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
}

/* ---- The steps of broker and connector ---- */

struct attempts {
    int step; /* the result of lockdown_landlock */
    unsigned int abi;
    int inside, outside, node, secret, root; /* an fd, or -errno */
};

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void child(struct lockdown *lockdown, int result)
{
    struct attempts made = {.step = -EIO};
    if (chroot(dir) == 0 && chdir("/") == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        made.step = lockdown_landlock(lockdown);
    made.abi = lockdown->landlock_abi;
    made.inside = unix_connect(CONNECTOR_DIRECTORY "/inside", SOCK_STREAM);
    made.outside = unix_connect("/others/outside", SOCK_STREAM);
    made.node = try_open("/node", O_RDWR);
    made.secret = try_open("/secret", O_RDWR);
    made.root = try_open("/", O_RDONLY | O_DIRECTORY);
    _exit(write(result, &made, sizeof(made)) == (ssize_t)sizeof(made) ? 0 : 1);
}

static struct attempts after_the_step_of(struct lockdown *lockdown)
{
    struct attempts made = {0};
    int pipes[2], status;
    CU_ASSERT_EQUAL_FATAL(pipe2(pipes, O_CLOEXEC), 0);
    pid_t pid = fork();
    CU_ASSERT_TRUE_FATAL(pid >= 0);
    if (pid == 0)
        child(lockdown, pipes[1]);
    close(pipes[1]);
    CU_ASSERT_EQUAL_FATAL(read(pipes[0], &made, sizeof(made)), (ssize_t)sizeof(made));
    close(pipes[0]);
    CU_ASSERT_TRUE(waitpid(pid, &status, 0) == pid && status == 0);
    CU_ASSERT_EQUAL(made.step, 0);
    CU_ASSERT_EQUAL(made.abi, kernel_abi < 0 ? 0 : (unsigned int)confine_landlock_abi());
    return made;
}

/* The result of what a version forbids from `first` on; before, only the root forbids it. */
static void forbidden_from(long first, int result)
{
    if (kernel_abi >= first)
        CU_ASSERT_EQUAL(result, -EACCES)
    else
        CU_ASSERT_TRUE(result >= 0);
}

static void a_connector_connects_in_its_directory_alone(void)
{
    struct lockdown lockdown = {0};
    const struct attempts made = after_the_step_of(&lockdown);
    CU_ASSERT_TRUE(made.inside >= 0);
    forbidden_from(9, made.outside);
    forbidden_from(1, made.node);
    forbidden_from(1, made.secret);
    forbidden_from(1, made.root);
}

static void a_broker_opens_its_nodes_and_connects_to_nothing(void)
{
    static const struct backend_ops ops = {.node = "/dev/node", .node_in_root = "/node"};
    static const struct device_config config = {.kind = DEVICE_VSOCK_VHOST};
    static struct device device = {.config = &config, .backend = {.ops = &ops}};
    static struct supervisor supervisor = {.devices = &device, .device_count = 1};
    struct lockdown lockdown = {.supervisor = &supervisor};
    const struct attempts made = after_the_step_of(&lockdown);
    forbidden_from(9, made.inside);
    forbidden_from(9, made.outside);
    CU_ASSERT_TRUE(made.node >= 0);
    forbidden_from(1, made.secret);
    forbidden_from(1, made.root);
}

/* ---- The kernel's log ---- */

#define RECORD(at, words) "5,771," at ",-;audit: type=1424 audit(1796000000.123:71): " words "\n"
#define MADE_BY(pid) "domain=1a6fdc66f status=allocated mode=enforcing pid=" pid " uid=0 exe=\"/x\""

static bool tells(const char *record, uint64_t *ret)
{
    *ret = 0;
    return landlock_log_tells(record, 4711, 5000000, ret);
}

static void the_kernels_log_tells_of_a_domain(void)
{
    static const char *const others[] = {
        RECORD("4999999", MADE_BY("4711")), /* of an earlier process with that pid */
        RECORD("5000000", MADE_BY("471")),
        RECORD("5000000", MADE_BY("47110")),
        RECORD("5000000", "domain=1a6fdc66f status=deallocated denials=4711"),
        RECORD("5000000", "domain=1a6fdc66f"),
        RECORD("5000000", ""),
        "5,771,5000000,-;audit: type=1423 audit(1796000000.123:71): " MADE_BY("4711") "\n",
        "5,771,5000000,-;worker: audit: type=1424 audit(1796000000.123:71): " MADE_BY("4711") "\n",
        "5,771,5000000,-;audit: type=1424 audit(",
        "13,771,5000000,-;audit: type=1424 audit(1796000000.123:71): " MADE_BY("4711") "\n",
        "5,771,5000000",
        "",
    };
    uint64_t domain;
    CU_ASSERT_TRUE(tells(RECORD("5000000", MADE_BY("4711")), &domain));
    CU_ASSERT_EQUAL(domain, 0x1a6fdc66f);
    CU_ASSERT_TRUE(
        tells("5,1,6000000,-,caller=T9;audit: type=1424 audit(1.2:3): " MADE_BY("4711"), &domain));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        CU_ASSERT_FALSE(tells(others[i], &domain));
        CU_ASSERT_EQUAL(domain, 0);
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"what each version denies", what_each_version_denies},
        {"the version of this kernel", the_version_of_this_kernel},
        {"what is allowed is not opened", what_is_allowed_is_not_opened},
        {"what does not hold is found", what_does_not_hold_is_found},
        {"a connector connects in its directory alone",
         a_connector_connects_in_its_directory_alone},
        {"a broker opens its nodes and connects to nothing",
         a_broker_opens_its_nodes_and_connects_to_nothing},
        {"the kernel's log tells of a domain", the_kernels_log_tells_of_a_domain},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"landlock", prepare, clean_up, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
