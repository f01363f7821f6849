/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/major.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH_NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH_NATIVE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH_NATIVE AUDIT_ARCH_RISCV64
#else
#error "not a supported architecture"
#endif

/* The child's message to its parent: either it goes on to exec, or the reason why it does not. */
struct report {
    int error; /* errno; 0: two fds come with the message */
    char step[124];
};

union report_control {
    struct cmsghdr align;
    char buffer[CMSG_SPACE(2 * sizeof(int))];
};

static void send_report(int socket, const struct report *report, const int *fds)
{
    union report_control control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)report, .iov_len = sizeof(*report)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fds) {
        header.msg_control = control.buffer;
        header.msg_controllen = sizeof(control.buffer);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(2 * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, 2 * sizeof(int));
    }
    /* If this fails, there is nobody to tell: the parent sees the end of file. */
    (void)!sendmsg(socket, &header, MSG_NOSIGNAL);
}

static _Noreturn void fail(int socket, const char *step)
{
    struct report report = {.error = errno};
    snprintf(report.step, sizeof(report.step), "%s", step);
    send_report(socket, &report, NULL);
    _exit(127);
}

int standin_child_receive(int socket, int *ret_listener, int *ret_node)
{
    struct report report;
    union report_control control = {0};
    struct iovec iov = {.iov_base = &report, .iov_len = sizeof(report)};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buffer,
        .msg_controllen = sizeof(control.buffer),
    };
    ssize_t length = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    if (length != sizeof(report)) {
        fprintf(stderr, "stand-in: the child ended before it could start the device model\n");
        return -ECHILD;
    }
    if (report.error != 0) {
        fprintf(stderr, "stand-in: cannot %s: %s\n", report.step, strerror(report.error));
        return -report.error;
    }
    const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
    if (!cmsg || cmsg->cmsg_len != CMSG_LEN(2 * sizeof(int)))
        return -EPROTO;
    int fds[2];
    memcpy(fds, CMSG_DATA(cmsg), sizeof(fds));
    *ret_listener = fds[0];
    *ret_node = fds[1];
    return 0;
}

/* Show one entry of the host's /dev, open as `from`, in the new one under the same name. */
static int carry_over(int from, const struct dirent *entry)
{
    char source[300], target[300], link[256];
    snprintf(source, sizeof(source), "/proc/self/fd/%d/%s", from, entry->d_name);
    snprintf(target, sizeof(target), "/dev/%s", entry->d_name);
    if (entry->d_type == DT_LNK) {
        ssize_t length = readlinkat(from, entry->d_name, link, sizeof(link) - 1);
        if (length < 0)
            return -errno;
        link[length] = '\0';
        return symlink(link, target) < 0 ? -errno : 0;
    }
    /* The ptmx driver looks for "pts" in its own directory, and a bind mount of it has no "pts"
     * there. */
    if (strcmp(entry->d_name, "ptmx") == 0)
        return mknod(target, S_IFCHR | 0600, makedev(TTYAUX_MAJOR, 2)) < 0 ? -errno : 0;
    if (entry->d_type == DT_DIR) {
        if (mkdir(target, 0755) < 0)
            return -errno;
    } else {
        int fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            return -errno;
        close(fd);
    }
    return mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0 ? -errno : 0;
}

static void make_file(const char *path, int report)
{
    int node = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (node < 0)
        fail(report, "create a node of the driver's");
    close(node);
}

/* Generation C: each device has a node, and the node is the device's memory. */
static void make_dm_nodes(const struct standin *standin, int report)
{
    for (unsigned int i = 0; i < STANDIN_DEVICES_MAX; i++) {
        const struct device *device = &standin->devices[i];
        char path[32];
        if (!device->options.present)
            continue;
        snprintf(path, sizeof(path), BAO_DM_NODE "%u", i);
        make_file(path, report);
        if (mount(device->path, path, NULL, MS_BIND, NULL) < 0)
            fail(report, "make a device's node of its memory");
    }
}

/* The one node of all devices; NULL: each has its own. */
static const char *node_of(const struct standin *standin)
{
    return standin->abi == STANDIN_C ? NULL : standin_node(standin->abi);
}

#define RUN_DIRECTORY "/run/bao-virtio-dm"

/* A /dev of our own: we must not change the host's /dev, and perhaps we can't. */
static void make_nodes(const struct standin *standin, const struct standin_options *options,
                       int report)
{
    const char *node = node_of(standin);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        fail(report, "enter a mount namespace of its own (root is needed)");
    /* Two device models can't have the same things in this directory, but tests run side by side.
     */
    if (!getenv(STANDIN_SEVERAL) && mkdir(RUN_DIRECTORY, 0755) < 0 && errno != EEXIST)
        fail(report, "make " RUN_DIRECTORY);
    if (!getenv(STANDIN_SEVERAL) &&
        mount("tmpfs", RUN_DIRECTORY, "tmpfs", MS_NOSUID, "mode=0755") < 0)
        fail(report, "mount a tmpfs on " RUN_DIRECTORY);
    if (node && !options->other_node && access(node, F_OK) == 0)
        return;
    DIR *host = opendir("/dev");
    if (!host)
        fail(report, "read /dev");
    if (mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=0755") < 0)
        fail(report, "mount a tmpfs on /dev");
    const struct dirent *entry;
    while ((entry = readdir(host))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int r = carry_over(dirfd(host), entry);
        if (r < 0 && r != -ENOENT) {
            errno = -r;
            fail(report, "show the host's device nodes in its /dev");
        }
    }
    closedir(host);
    if (node)
        make_file(node, report);
    else
        make_dm_nodes(standin, report);
    if (options->other_node)
        make_file(options->other_node, report);
}

/* Notify about ioctls of the driver's type, and, where it checks mmap, about shared mappings of
 * files; allow everything else. */
static int install_filter(enum standin_abi abi)
{
    const uint32_t type = abi == STANDIN_D ? 0xa700 : 0xa600;
    const uint32_t mmap_number = abi == STANDIN_A ? UINT32_MAX : SYS_mmap;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_NATIVE, 0, 11),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mmap_number, 3, 8),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, type, 4, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, UINT32_MAX, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {
        .len = sizeof(filter) / sizeof(filter[0]),
        .filter = filter,
    };
    /* Once fetched, a call can't be interrupted. So the stand-in, not the kernel, decides how a
     * signal ends an ATTACH, and a request is never taken by a call that then fails. */
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                        SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                        &program);
}

static void take_stdio(const struct standin_options *options, int report)
{
    const int wanted[3] = {options->stdin_fd, options->stdout_fd, options->stderr_fd};
    for (int i = 0; i < 3; i++) {
        if (wanted[i] >= 0 && wanted[i] != i && dup2(wanted[i], i) < 0)
            fail(report, "hand on its standard input and output");
    }
}

_Noreturn void standin_child_run(const struct standin *standin,
                                 const struct standin_options *options, int report)
{
    take_stdio(options, report);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    make_nodes(standin, options, report);
    const char *path = node_of(standin);
    int node = open(path ? path : "/dev/null", O_RDWR | O_CLOEXEC);
    if (node < 0)
        fail(report, "open the driver's node");
    if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        fail(report, "mark its files close-on-exec");
    /* A shell may leave a file open in the same way. The device model must not keep it. */
    if (fcntl(node, F_DUPFD, STANDIN_LEFT_OPEN_FD) < 0)
        fail(report, "leave a file open");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        fail(report, "be killed together with its parent");
    if (access(options->argv[0], X_OK) < 0)
        fail(report, "execute the device model");
    int listener = install_filter(standin->abi);
    if (listener < 0)
        fail(report, "install a notifying seccomp filter (Linux 5.19 is needed)");
    struct report ready = {0};
    send_report(report, &ready, (int[]){listener, node});
    execv(options->argv[0], (char *const *)(uintptr_t)options->argv);
    fprintf(stderr, "stand-in: cannot execute %s: %s\n", options->argv[0], strerror(errno));
    _exit(127);
}
