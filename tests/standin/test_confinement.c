/* SPDX-License-Identifier: Apache-2.0 */
/* What confines a live worker: the tests read it from the kernel, layer by layer. What happens to a
 * worker that makes a call which its policy forbids. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/policy.h"
#include "common/sandbox_layer.h"
#include "common/state.h"
#include "common/worker_fds.h"
#include "tests/standin/fixture.h"
#include "tests/standin/inject.h"

#define BLOCK_FDS 10u /* 0 to WORKER_FD_BACKEND, and one kick eventfd */
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

/* ---- what /proc says ---- */

static const char *proc_path(pid_t pid, const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return path;
}

static size_t read_proc(pid_t pid, const char *name, char *ret, size_t size)
{
    int fd = open(proc_path(pid, name), O_RDONLY | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    size_t used = 0;
    ssize_t length;
    while (used < size - 1 && (length = read(fd, ret + used, size - 1 - used)) > 0)
        used += (size_t)length;
    ret[used] = 0;
    close(fd);
    return used;
}

/* Whether there is a line that starts with `key` and goes on with `value`, white space ignored. */
static bool has_line(const char *text, const char *key, const char *value)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        const char *at = line + strlen(key);
        at += strspn(at, " \t");
        size_t length = strcspn(at, "\n");
        while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t'))
            length--;
        return length == strlen(value) && strncmp(at, value, length) == 0;
    }
    return false;
}

static void assert_status(pid_t pid, const char *key, const char *value)
{
    char status[8192];
    read_proc(pid, "status", status, sizeof(status));
    if (!has_line(status, key, value))
        printf("\n    expected %s %s", key, value);
    CU_ASSERT(has_line(status, key, value));
}

static void assert_privileges(pid_t pid, unsigned int id)
{
    static const char *const capability_sets[] = {
        "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"};
    char ids[64], pids[64];
    unsigned int uid = 0x70000000u + id;
    snprintf(ids, sizeof(ids), "%u\t%u\t%u\t%u", uid, uid, uid, uid);
    snprintf(pids, sizeof(pids), "%d\t1", (int)pid);
    assert_status(pid, "Uid:", ids);
    assert_status(pid, "Gid:", ids);
    assert_status(pid, "Groups:", "");
    for (size_t i = 0; i < sizeof(capability_sets) / sizeof(capability_sets[0]); i++)
        assert_status(pid, capability_sets[i], "0000000000000000");
    assert_status(pid, "NoNewPrivs:", "1");
    assert_status(pid, "Seccomp:", "2");
    assert_status(pid, "Seccomp_filters:", "3"); /* its own, the keeper's, and the stand-in's */
    assert_status(pid, "Threads:", "1");
    assert_status(pid, "NSpid:", pids);
    assert_status(pid, "NSsid:", pids);
}

static void is_nobody_and_may_nothing(void)
{
    start();
    for (unsigned int id = 0; id < DEVICES; id++)
        assert_privileges(fixture.workers[id], id);
    stop();
}

static void leaves_nothing_to_read(void)
{
    char text[4096];
    struct stat file;
    start();
    pid_t pid = fixture.workers[0];
    /* The worker is not dumpable: its files in /proc belong to root. Otherwise its user could look
     * in. */
    CU_ASSERT(stat(proc_path(pid, "status"), &file) == 0 && file.st_uid == 0);
    CU_ASSERT_EQUAL(read_proc(pid, "environ", text, sizeof(text)), 0);
    CU_ASSERT_EQUAL(read_proc(pid, "cmdline", text, sizeof(text)), sizeof("bao-virtio-worker"));
    CU_ASSERT_STRING_EQUAL(text, "bao-virtio-worker");
    assert_status(pid, "CoreDumping:", "0");
    stop();
}

/* ---- namespaces ---- */

static const char *const namespaces[] = {"pid", "mnt", "net", "ipc", "uts", "cgroup", "user"};

static ino_t namespace_id(pid_t pid, const char *name)
{
    char path[32];
    struct stat file;
    snprintf(path, sizeof(path), "ns/%s", name);
    CU_ASSERT_EQUAL_FATAL(stat(proc_path(pid, path), &file), 0);
    return file.st_ino;
}

static bool kernel_has_user_namespaces(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void shares_no_namespace(void)
{
    bool has_user = kernel_has_user_namespaces();
    start();
    for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
        if (!has_user && strcmp(namespaces[i], "user") == 0)
            continue;
        ino_t worker = namespace_id(fixture.workers[0], namespaces[i]);
        CU_ASSERT_NOT_EQUAL(worker, namespace_id(getpid(), namespaces[i]));
        CU_ASSERT_NOT_EQUAL(worker, namespace_id(standin_pid(fixture.standin), namespaces[i]));
        CU_ASSERT_NOT_EQUAL(worker, namespace_id(fixture.broker, namespaces[i]));
        CU_ASSERT_NOT_EQUAL(worker, namespace_id(fixture.workers[1], namespaces[i]));
    }
    /* No user of this system has a mapping in the worker's user namespace. */
    char map[256];
    if (has_user) {
        CU_ASSERT_EQUAL(read_proc(fixture.workers[0], "uid_map", map, sizeof(map)), 0);
        CU_ASSERT_EQUAL(read_proc(fixture.workers[0], "gid_map", map, sizeof(map)), 0);
    }
    stop();
}

/* ---- files ---- */

static void assert_fd(pid_t pid, unsigned int fd, const char *prefix)
{
    char name[32], target[256];
    snprintf(name, sizeof(name), "fd/%u", fd);
    ssize_t length = readlink(proc_path(pid, name), target, sizeof(target) - 1);
    CU_ASSERT_FATAL(length > 0);
    target[length] = 0;
    if (strncmp(target, prefix, strlen(prefix)) != 0)
        printf("\n    fd %u: expected %s, found %s", fd, prefix, target);
    CU_ASSERT_EQUAL(strncmp(target, prefix, strlen(prefix)), 0);
}

static unsigned int entries(const char *path)
{
    unsigned int count = 0;
    DIR *dir = opendir(path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static void holds_exactly_its_fds(void)
{
    start();
    for (unsigned int id = 0; id < DEVICES; id++) {
        char image[128];
        pid_t pid = fixture.workers[id];
        snprintf(image, sizeof(image), "%s/disk%u.img", fixture.dir, id);
        CU_ASSERT_EQUAL(entries(proc_path(pid, "fd")), BLOCK_FDS);
        for (unsigned int fd = WORKER_FD_NULL_IN; fd <= WORKER_FD_NULL_ERR; fd++)
            assert_fd(pid, fd, "/dev/null");
        assert_fd(pid, WORKER_FD_CONTROL, "socket:[");
        assert_fd(pid, WORKER_FD_EPOLL, "anon_inode:[eventpoll]");
        for (unsigned int fd = WORKER_FD_REQUEST; fd <= WORKER_FD_CALL; fd++)
            assert_fd(pid, fd, "anon_inode:[eventfd]");
        assert_fd(pid, WORKER_FD_BACKEND, image);
        assert_fd(pid, WORKER_FD_BACKEND + 1, "anon_inode:[eventfd]");
    }
    stop();
}

static void sees_no_file(void)
{
    char text[4096], here[64];
    start();
    pid_t pid = fixture.workers[0];
    CU_ASSERT_EQUAL(entries(proc_path(pid, "root/")), 0);
    CU_ASSERT_EQUAL(entries(proc_path(pid, "cwd/")), 0);
    ssize_t length = readlink(proc_path(pid, "cwd"), here, sizeof(here));
    CU_ASSERT(length == 1 && here[0] == '/');
    /* The namespace has one mount, and nobody can write to it. */
    read_proc(pid, "mountinfo", text, sizeof(text));
    CU_ASSERT(strchr(text, '\n') && strchr(text, '\n')[1] == 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " / / ro,nosuid,nodev,noexec"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " - tmpfs none ro"));
    CU_ASSERT(open(proc_path(pid, "root/file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600) == -1 &&
              errno == EROFS);
    stop();
}

static void has_no_network(void)
{
    char text[4096];
    unsigned int lines = 0;
    start();
    read_proc(fixture.workers[0], "net/route", text, sizeof(text));
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    CU_ASSERT(lines <= 1); /* nothing but a heading */
    CU_ASSERT_EQUAL(read_proc(fixture.workers[0], "net/if_inet6", text, sizeof(text)), 0);
    stop();
}

/* ---- memory and limits ---- */

static void maps_its_window_and_no_more(void)
{
    static char text[65536];
    unsigned int shared = 0;
    start();
    read_proc(fixture.workers[0], "maps", text, sizeof(text));
    for (char *save, *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        unsigned long from, to;
        char mode[8];
        CU_ASSERT_EQUAL_FATAL(sscanf(line, "%lx-%lx %7s", &from, &to, mode), 3);
        CU_ASSERT_FALSE(mode[1] == 'w' && mode[2] == 'x');
        CU_ASSERT_PTR_NULL(strstr(line, ".so"));
        if (mode[3] != 's')
            continue;
        shared++;
        CU_ASSERT(to - from == FIXTURE_SHMEM_SIZE || to - from == STATE_SIZE);
        CU_ASSERT_EQUAL(strncmp(mode, "rw-s", 4), 0);
    }
    CU_ASSERT_EQUAL(shared, 2); /* the window and the state page */
    stop();
}

static void may_take_no_more_of_anything(void)
{
    static const char *const floored[] = {
        "Max data size",       "Max stack size",    "Max core file size", "Max processes",
        "Max open files",      "Max locked memory", "Max address space",  "Max file locks",
        "Max pending signals", "Max msgqueue size", "Max nice priority",  "Max realtime priority",
    };
    char text[4096], capacity[32];
    start();
    read_proc(fixture.workers[0], "limits", text, sizeof(text));
    snprintf(capacity, sizeof(capacity), "%u", FIXTURE_IMAGE_SECTORS * 512);
    for (size_t i = 0; i < sizeof(floored) / sizeof(floored[0]); i++) {
        unsigned long soft = 1, hard = 1;
        const char *line = strstr(text, floored[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(line);
        CU_ASSERT_EQUAL(sscanf(line + strlen(floored[i]), "%lu %lu", &soft, &hard), 2);
        CU_ASSERT(soft == 0 && hard == 0);
    }
    /* The worker can write its image to the end, and can make no file longer than that. */
    const char *line = strstr(text, "Max file size");
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, capacity));
    stop();
}

/* ---- the filters ---- */

/* In the order in which they were loaded. All are in force, and the strictest answer wins. */
enum filter_index { FILTER_STANDIN, FILTER_KEEPER, FILTER_OWN, FILTERS };

static void assert_filter(pid_t pid, unsigned int index, const char *name)
{
    static struct sock_filter loaded[BPF_MAXINSNS];
    const struct policy_program *program = policy_find(name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(program);
    int length = inject_get_filter(pid, index, loaded);
    CU_ASSERT_EQUAL_FATAL(length, program->length);
    CU_ASSERT_EQUAL(memcmp(loaded, program->filter, program->length * sizeof(loaded[0])), 0);
}

static void runs_the_audited_filter(void)
{
    start();
    for (unsigned int id = 0; id < DEVICES; id++) {
        pid_t pid = fixture.workers[id];
        CU_ASSERT_EQUAL_FATAL(inject_attach(pid), 0);
        assert_filter(pid, FILTER_KEEPER, "keeper");
        assert_filter(pid, FILTER_OWN, "block/virtio");
        CU_ASSERT_EQUAL(inject_get_filter(pid, FILTERS, NULL), -ENOENT);
        CU_ASSERT_EQUAL(inject_detach(pid), 0);
    }
    stop();
}

/* The worker has found them out from inside. The log shows them to the user. */
static void says_which_layers_are_in_force(void)
{
    static const char *const core[] = {
#define X(constant, name, is_core) (is_core) ? (name) : NULL,
        SANDBOX_LAYERS(X)
#undef X
    };
    start();
    char *log = fixture_log(&fixture);
    const char *line = strstr(log, "block 0: worker ");
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    for (size_t i = 0; i < sizeof(core) / sizeof(core[0]); i++) {
        const char *found = core[i] ? strstr(line, core[i]) : line;
        CU_ASSERT(found && found < line + strcspn(line, "\n"));
    }
    free(log);
    stop();
}

/* ---- a worker that was taken over ---- */

struct call {
    const char *name;
    long number;
    long arguments[6];
};
#define CALL(name, ...)                                                                            \
    {                                                                                              \
#name, SYS_##name,                                                                         \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* A pointer would be an address in the worker. NULL is good enough: the filter acts before the
 * kernel reads any pointer. */
static const struct call forbidden[] = {
    CALL(openat, AT_FDCWD, 0, O_RDONLY),
    CALL(socket, AF_UNIX, SOCK_STREAM, 0),
    CALL(clone, SIGCHLD, 0, 0, 0, 0),
    CALL(clone3, 0, 88),
    CALL(execve, 0, 0, 0),
    CALL(mount, 0, 0, 0, 0, 0),
    CALL(unshare, CLONE_NEWUSER),
    CALL(setresuid, 0, 0, 0),
    CALL(ptrace, PTRACE_TRACEME, 0, 0, 0),
    CALL(process_vm_writev, 1, 0, 0, 0, 0, 0),
    CALL(kill, -1, SIGKILL),
    CALL(mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
    CALL(mprotect, 0, 4096, PROT_EXEC),
    CALL(brk, 0),
    CALL(dup3, WORKER_FD_BACKEND, WORKER_FD_REPLY, 0),
    CALL(fcntl, WORKER_FD_BACKEND, F_GETFD),
    CALL(ioctl, WORKER_FD_BACKEND, 0, 0),
    CALL(recvmsg, WORKER_FD_CONTROL, 0, 0),
    CALL(sendto, WORKER_FD_CONTROL, 0, 0, 0, 0, 0),
    CALL(write, WORKER_FD_BACKEND, 0, 0),
    CALL(preadv2, WORKER_FD_REQUEST, 0, 0, 0, 0, 0),
    CALL(epoll_ctl, WORKER_FD_EPOLL, 2, WORKER_FD_CONTROL, 0),
    CALL(io_uring_setup, 1, 0),
    CALL(prctl, PR_GET_SECCOMP, 0, 0, 0, 0),
};
#define FORBIDDEN (sizeof(forbidden) / sizeof(forbidden[0]))

/* Calls that the policy allows succeed in the same way. So it is the filter that kills. */
static const struct call allowed[] = {
    CALL(fdatasync, WORKER_FD_BACKEND),
    CALL(preadv2, WORKER_FD_BACKEND, 0, 0, 0, 0, 0),
    CALL(pwritev2, WORKER_FD_BACKEND, 0, 0, 0, 0, 0),
};

static void allowed_calls_go_through(void)
{
    struct guest_block block;
    start();
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 1, 4096);
    pid_t pid = fixture.workers[0];
    CU_ASSERT_EQUAL_FATAL(inject_attach(pid), 0);
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        long result = -1;
        CU_ASSERT_EQUAL(inject_call(pid, allowed[i].number, allowed[i].arguments, &result), 1);
        CU_ASSERT_EQUAL(result, 0);
    }
    CU_ASSERT_EQUAL(inject_detach(pid), 0);
    fixture_assert_reads(&block, 7); /* the worker has not noticed anything */
    CU_ASSERT_EQUAL(block.guest.error, 0);
    guest_block_free(&block);
    fixture_assert_never_restarted(&fixture);
    stop();
}

/* Opens the kernel's log for what comes from now on. */
static int kernel_log_from_now(void)
{
    int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (kmsg >= 0)
        (void)lseek(kmsg, 0, SEEK_END); /* an earlier process may have had the same pid */
    return kmsg;
}

/* Whether the kernel has logged, since the last call, that a filter killed that process. The kernel
 * may lack audit, and it limits how often it logs. */
static bool kernel_logged(int kmsg, pid_t pid)
{
    char record[8193], wanted[32];
    bool found = false;
    snprintf(wanted, sizeof(wanted), " pid=%d ", pid);
    while (kmsg >= 0) {
        ssize_t length = read(kmsg, record, sizeof(record) - 1);
        if (length < 0 && errno == EPIPE)
            continue;
        if (length <= 0)
            break;
        record[length] = '\0';
        found = found || (strstr(record, "type=1326") && strstr(record, wanted));
    }
    return found;
}

/* If the kernel has logged it, the device model tells the user which call it was. */
static void assert_named(int kmsg, pid_t pid, const struct call *call)
{
    char died[96], named[96], number[32];
    bool is_named = false, is_logged = false;
    snprintf(died, sizeof(died), "worker %d died: seccomp violation (SIGSYS)", pid);
    snprintf(named, sizeof(named), "worker %d was killed for system call ", pid);
    snprintf(number, sizeof(number), " (%ld)\n", call->number);
    for (unsigned int i = 0; i < 300 && !is_named; i++) {
        char *log = fixture_log(&fixture);
        CU_ASSERT_PTR_NOT_NULL(strstr(log, died));
        const char *line = strstr(log, named);
        const char *end = line ? strstr(line, number) : NULL;
        is_named = end && end < strchr(line, '\n');
        free(log);
        is_logged = is_logged || kernel_logged(kmsg, pid);
        if (!is_named && i > 20 && !is_logged)
            return; /* it had time enough */
        usleep(10000);
    }
    CU_ASSERT(is_named);
}

/* The worker of device `id` makes the call, and dies of it. Its successor serves the guest. */
static pid_t take_over(unsigned int id, pid_t pid, const struct call *call)
{
    long status = 0;
    int kmsg = kernel_log_from_now();
    CU_ASSERT_EQUAL_FATAL(inject_attach(pid), 0);
    int survived = inject_call(pid, call->number, call->arguments, &status);
    bool killed = survived == 0 && WIFSIGNALED((int)status) && WTERMSIG((int)status) == SIGSYS;
    if (!killed)
        printf("\n    %s: survived %d, result %ld", call->name, survived, status);
    CU_ASSERT(killed);
    CU_ASSERT_FALSE(killed && WCOREDUMP((int)status));
    pid_t successor = fixture_wait_worker(&fixture, id, pid);
    CU_ASSERT_FATAL(successor > 0);
    assert_named(kmsg, pid, call);
    close(kmsg);
    return successor;
}

/* Each device loses one worker per start: after a second death the successor would have to wait. */
static void forbidden_calls_kill_it_alone(void)
{
    for (size_t next = 0; next < FORBIDDEN; next += DEVICES) {
        struct guest_block blocks[DEVICES];
        pid_t successors[DEVICES];
        start();
        for (unsigned int id = 0; id < DEVICES; id++)
            fixture_block(&fixture, id, &blocks[id], GUEST_BLOCK_FEATURES, 1, 4096);
        for (unsigned int id = 0; id < DEVICES && next + id < FORBIDDEN; id++) {
            successors[id] = take_over(id, fixture.workers[id], &forbidden[next + id]);
            for (unsigned int each = 0; each < DEVICES; each++)
                fixture_assert_reads(&blocks[each], 100 * id + each);
            /* The successor has no more privileges than the first worker. No other worker has died.
             */
            assert_privileges(successors[id], id);
            CU_ASSERT_EQUAL(fixture_worker(&fixture, id), successors[id]);
            for (unsigned int other = id + 1; other < DEVICES; other++)
                CU_ASSERT_EQUAL(fixture_worker(&fixture, other), fixture.workers[other]);
        }
        CU_ASSERT_EQUAL(standin_find_process(fixture.standin, "bao-virtio-broker", 0),
                        fixture.broker);
        for (unsigned int id = 0; id < DEVICES; id++) {
            CU_ASSERT_EQUAL(blocks[id].guest.error, 0);
            guest_block_free(&blocks[id]);
        }
        stop();
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"is nobody, and may nothing", is_nobody_and_may_nothing},
        {"leaves nothing to read", leaves_nothing_to_read},
        {"shares no namespace", shares_no_namespace},
        {"holds exactly its fds", holds_exactly_its_fds},
        {"sees no file", sees_no_file},
        {"has no network", has_no_network},
        {"maps its window and no more", maps_its_window_and_no_more},
        {"may take no more of anything", may_take_no_more_of_anything},
        {"runs the audited filter, byte for byte", runs_the_audited_filter},
        {"says which layers are in force", says_which_layers_are_in_force},
        {"allowed calls go through", allowed_calls_go_through},
        {"forbidden calls kill it, and it alone", forbidden_calls_kill_it_alone},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "confinement of a live worker", tests);
}
