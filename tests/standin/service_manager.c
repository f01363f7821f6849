/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the service manager systemd for tests on the stand-in. It starts a program with
 * NOTIFY_SOCKET, keeps the fds that the program sends (FDSTORE=1), and forgets them
 * (FDSTOREREMOVE=1). When the program dies, it starts it again with these fds (LISTEN_FDS). systemd
 * waits until the other processes of the dead program have ended. This program does not. It adopts
 * them, and reports those that live on.
 *
 *     service-manager [--abstract] [--kill-at N] PROGRAM ARGUMENT...
 *
 * --kill-at N: after the Nth message about the store it reads no more and kills the program. Only
 * then does it take what had been sent. SIGTERM ends the program; then this program ends with its
 * status. It also ends if the program ends with status 1, as with RestartPreventExitStatus=1.
 * Commands are letters on standard input:
 *     r  restart: SIGTERM, then start again
 *     v  at the next start: state pages have another version
 *     s  ...: state pages are smaller
 *     o  ...: records have another version
 *     q  ...: the fd of queue 0 of device 0 is lost
 *     d  ...: device 0's DM file is there twice
 *     x  ...: device 0's fd named -request is another file
 *     l  ...: journals are locked for LOCK_MS, as if a broker of an earlier run still had them
 *     w  ...: device 0's state page is locked, as if a worker of an earlier run still had it
 * Each event is a line on standard output: "started PID", "ended CODE STATUS",
 * "ready", "stopping", "status TEXT", "locked", "unlocked", "orphan PID", "kept COUNT" at the end,
 * and "wrong WORDS" for what systemd would refuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define STORE_MAX 512
#define NAME_SIZE 64
#define LOCK_MS 3000 /* long enough for a keeper that starts on a busy machine */
#define LOCKS_MAX 32
#define ORPHANS_MS 15000 /* on a busy machine the kernel takes seconds to end a namespace */
#define VERSION_OFFSET 8 /* where the state page has its version, behind its magic */
#define COMMIT_OFFSET 48 /* where the record has its commit; the version is in the upper half */

struct entry {
    int fd;
    bool polled; /* FDPOLL=0 was not asked for */
    char name[NAME_SIZE];
};

static struct entry store[STORE_MAX];
static size_t count;
static char **program;
static pid_t child;
static int notify, signals, locks[LOCKS_MAX];
static size_t lock_count;
static uint64_t unlock_at;
static char address_text[64];
static char wanted[16]; /* letters of commands for the next start */
static unsigned int messages, kill_at, starts;
static bool restarting, ending, holding;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static _Noreturn void die(const char *what)
{
    say("wrong %s: %s", what, strerror(errno));
    exit(99);
}

/* --- The store ------------------------------------------------------------------------------ */

static void drop(size_t index)
{
    close(store[index].fd);
    store[index] = store[--count];
}

static bool is_same_file(int a, int b)
{
    pid_t self = getpid();
    return syscall(SYS_kcmp, self, self, KCMP_FILE, a, b) == 0;
}

static void keep(const char *name, int fd, bool polled)
{
    if (name[0] == '\0' || strlen(name) >= NAME_SIZE || strchr(name, ':')) {
        say("wrong name '%s'", name);
        close(fd);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (is_same_file(store[i].fd, fd)) { /* as in systemd, the first name stays */
            say("wrong: %s is %s", name, store[i].name);
            close(fd);
            return;
        }
    }
    if (count == STORE_MAX) {
        say("wrong: the store is full");
        close(fd);
        return;
    }
    store[count].fd = fd;
    store[count].polled = polled;
    strcpy(store[count++].name, name);
}

static void forget(const char *name)
{
    for (size_t i = count; i-- > 0;) {
        if (strcmp(store[i].name, name) == 0)
            drop(i);
    }
}

/* systemd does this at once, when the event comes. Nobody sees the difference before the next
 * start. */
static void drop_hung_up(void)
{
    for (size_t i = count; i-- > 0;) {
        struct pollfd file = {.fd = store[i].fd};
        if (store[i].polled && poll(&file, 1, 0) > 0 && (file.revents & (POLLERR | POLLHUP)) != 0)
            drop(i);
    }
}

/* --- Messages ------------------------------------------------------------------------------- */

static void handle_text(char *text, int fd)
{
    bool stores = false, removes = false, polled = true;
    const char *name = "";
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (strcmp(line, "FDSTORE=1") == 0)
            stores = true;
        else if (strcmp(line, "FDSTOREREMOVE=1") == 0)
            removes = true;
        else if (strcmp(line, "FDPOLL=0") == 0)
            polled = false;
        else if (strncmp(line, "FDNAME=", 7) == 0)
            name = line + 7;
        else if (strcmp(line, "READY=1") == 0)
            say("ready");
        else if (strcmp(line, "STOPPING=1") == 0)
            say("stopping");
        else if (strcmp(line, "WATCHDOG=1") == 0)
            say("watchdog");
        else if (strncmp(line, "STATUS=", 7) == 0)
            say("status %s", line + 7);
        else
            say("wrong line '%s'", line);
    }
    if (stores && fd >= 0)
        keep(name, fd, polled);
    else if (fd >= 0 || stores)
        say("wrong: FDSTORE and a file do not go together");
    if (removes)
        forget(name);
    messages += stores || removes;
}

/* Take one message, if there is one. */
static bool take_message(void)
{
    char text[512];
    _Alignas(struct cmsghdr) char control[256];
    struct iovec iov = {.iov_base = text, .iov_len = sizeof(text) - 1};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    ssize_t length = recvmsg(notify, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0)
        return false;
    int fd = -1;
    struct ucred sender = {0};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(&fd, CMSG_DATA(c), sizeof(fd));
        else if (c->cmsg_type == SCM_CREDENTIALS)
            memcpy(&sender, CMSG_DATA(c), sizeof(sender));
    }
    if (sender.pid != child) { /* NotifyAccess=main */
        say("wrong: a message of process %d", sender.pid);
        return true;
    }
    text[length] = '\0';
    handle_text(text, fd);
    if (kill_at > 0 && messages >= kill_at) {
        kill_at = 0;
        holding = true; /* read no more until the program is dead */
        kill(child, SIGKILL);
        return false;
    }
    return true;
}

static void open_notify(bool abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int on = 1;
    /* In another pid namespace, another one may have the same pid. */
    snprintf(address_text, sizeof(address_text), "%sbao-service-manager-%d-%llu",
             abstract ? "@" : "/tmp/", (int)getpid(), (unsigned long long)now_ns());
    strcpy(address.sun_path, address_text);
    size_t length = strlen(address_text) + 1;
    if (abstract) {
        address.sun_path[0] = '\0';
        length--;
    }
    notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify < 0 || setsockopt(notify, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
        bind(notify, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
        die("notify socket");
}

/* A sender must be at most two messages ahead of us. */
static void shorten_queues(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        die("unshare");
    int fd = open("/proc/sys/net/unix/max_dgram_qlen", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1)
        die("max_dgram_qlen");
    close(fd);
}

/* --- What is spoilt before a start ------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), wanted_length = strlen(end);
    return length >= wanted_length && strcmp(text + length - wanted_length, end) == 0;
}

static bool is_page(const struct entry *entry, const char *word)
{
    return strstr(entry->name, word) != NULL;
}

static void write_at(int fd, off_t offset, uint32_t value)
{
    if (pwrite(fd, &value, sizeof(value), offset) != sizeof(value))
        die("pwrite");
}

static int make_file(size_t size)
{
    int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        die("memfd");
    return fd;
}

static void lock_page(int fd)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int lock = open(path, O_RDWR | O_CLOEXEC);
    if (lock < 0 || lock_count == LOCKS_MAX || flock(lock, LOCK_EX) < 0)
        die("lock");
    locks[lock_count++] = lock;
}

static void spoil(char letter)
{
    size_t before = count;
    for (size_t i = before; i-- > 0;) {
        struct entry *entry = &store[i];
        if (letter == 'v' && is_page(entry, "-state-"))
            write_at(entry->fd, VERSION_OFFSET, 0x7777);
        if (letter == 'o' && ends_with(entry->name, "-record"))
            write_at(entry->fd, COMMIT_OFFSET + 4, 0x7777);
        if (letter == 's' && is_page(entry, "-state-")) {
            close(entry->fd);
            entry->fd = make_file(4096);
        }
        if (letter == 'x' && strcmp(entry->name, "device-0-request") == 0) {
            close(entry->fd);
            entry->fd = make_file(4096);
        }
        if (letter == 'd' && strcmp(entry->name, "device-0-dm") == 0 && count < STORE_MAX) {
            store[count] = *entry;
            store[count++].fd = fcntl(entry->fd, F_DUPFD_CLOEXEC, 3);
        }
        if (letter == 'l' && is_page(entry, "-journal-"))
            lock_page(entry->fd);
        if (letter == 'w' && is_page(entry, "device-0-state-"))
            lock_page(entry->fd);
        if (letter == 'q' && strcmp(entry->name, "device-0-queue-0") == 0)
            drop(i);
    }
    if (letter == 'l' || letter == 'w') {
        say("locked");
        unlock_at = now_ms() + LOCK_MS;
    }
}

static void unlock(void)
{
    for (size_t i = 0; i < lock_count; i++)
        close(locks[i]);
    lock_count = 0;
    unlock_at = 0;
    say("unlocked");
}

/* --- The program ------------------------------------------------------------------------------ */

/* In the child: put the fds at 3 and above, in another order each time. */
static void pass_store(void)
{
    static char names[STORE_MAX * (NAME_SIZE + 1)];
    char text[24];
    int aside[STORE_MAX];
    for (size_t i = 0; i < count; i++) {
        aside[i] = fcntl(store[i].fd, F_DUPFD_CLOEXEC, 3 + STORE_MAX);
        if (aside[i] < 0)
            die("dup");
    }
    for (size_t i = 0; i < count; i++) {
        size_t from = starts % 2 == 0 ? i : count - 1 - i;
        if (dup2(aside[from], 3 + (int)i) < 0)
            die("dup2");
        if (i > 0)
            strcat(names, ":");
        strcat(names, store[from].name);
    }
    snprintf(text, sizeof(text), "%zu", count);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDNAMES", names, 1);
}

static void start(void)
{
    drop_hung_up();
    for (const char *letter = wanted; *letter; letter++)
        spoil(*letter);
    wanted[0] = '\0';
    starts++;
    child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no process behind */
        setenv("NOTIFY_SOCKET", address_text, 1);
        setenv("WATCHDOG_USEC", "400000", 1);
        if (count > 0)
            pass_store();
        execv(program[0], program);
        _exit(127);
    }
    say("started %d", (int)child);
}

/* Our children, except the program: they were the program's children before it died. */
static void look_for_orphans(bool all)
{
    static uint64_t since;
    static pid_t told;
    char path[64], text[4096] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
        die("children");
    if (fd >= 0)
        close(fd);
    pid_t orphan = 0;
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        pid_t pid = (pid_t)strtol(word, NULL, 10);
        if (pid != child)
            orphan = pid;
    }
    if (orphan == 0 || since == 0)
        since = now_ms();
    if (orphan != 0 && orphan != told && (all || now_ms() - since > ORPHANS_MS)) {
        say("orphan %d", orphan);
        told = orphan;
    }
}

static _Noreturn void finish(int status)
{
    uint64_t end = now_ms() + ORPHANS_MS;
    child = 0;
    while (waitpid(-1, NULL, WNOHANG) >= 0 && now_ms() < end)
        usleep(1000);
    look_for_orphans(true);
    say("kept %zu", count);
    if (address_text[0] == '/')
        unlink(address_text);
    exit(status);
}

static void child_ended(const siginfo_t *info)
{
    holding = false;
    while (take_message())
        ; /* messages that it had sent before it died */
    say("ended %d %d", info->si_code, info->si_status);
    bool prevented = info->si_code == CLD_EXITED && info->si_status == 1;
    if (ending || (prevented && !restarting))
        finish(info->si_code == CLD_EXITED ? info->si_status : 98);
    restarting = false;
    start();
}

static void reap(void)
{
    siginfo_t info;
    for (;;) {
        memset(&info, 0, sizeof(info));
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
            return;
        if (info.si_pid == child)
            child_ended(&info);
    }
}

static void take_signal(void)
{
    struct signalfd_siginfo info;
    if (read(signals, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGTERM) {
        ending = true;
        kill(child, SIGTERM);
    } else {
        reap();
    }
}

static bool take_command(void)
{
    char letter;
    if (read(STDIN_FILENO, &letter, 1) != 1)
        return false;
    if (letter == 'r') {
        restarting = true;
        kill(child, SIGTERM);
    } else {
        strncat(wanted, &letter, 1);
    }
    return true;
}

int main(int argc, char **argv)
{
    bool abstract = false, commands = true;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--abstract") == 0)
            abstract = true;
        else if (strcmp(argv[i], "--kill-at") == 0)
            kill_at = (unsigned int)strtoul(argv[++i], NULL, 10);
    }
    program = argv + i;
    sigset_t taken;
    sigemptyset(&taken);
    sigaddset(&taken, SIGTERM);
    sigaddset(&taken, SIGCHLD);
    sigprocmask(SIG_SETMASK, &taken, NULL);
    signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (kill_at > 0)
        shorten_queues();
    open_notify(abstract);
    start();
    for (;;) {
        struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                               {.fd = holding ? -1 : notify, .events = POLLIN},
                               {.fd = commands ? STDIN_FILENO : -1, .events = POLLIN}};
        (void)poll(fds, 3, 20);
        if (fds[1].revents && !holding)
            (void)take_message();
        if (fds[0].revents)
            take_signal();
        if (fds[2].revents)
            commands = take_command();
        if (unlock_at != 0 && now_ms() >= unlock_at)
            unlock();
        look_for_orphans(false);
    }
}
