/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows about what all devices share: configuration, control socket, nodes, service manager,
 * standard error, limits, memory, time, processes. No device is the concerned one, and all must go
 * on. If that is impossible, because the fault is in the only process that could help, the row says
 * so.
 */
#include "tests/faults/means.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "tests/standin/clock.h"

/* ---- Configuration ---- */

static void config_renamed(struct cell *cell)
{
    rename_in(cell, "config.yaml", "elsewhere.yaml");
}

static void config_back(struct cell *cell)
{
    rename_in(cell, "elsewhere.yaml", "config.yaml");
}

static void config_spoilt(struct cell *cell)
{
    config_renamed(cell);
    write_in(cell, "config.yaml", "devices:\n  - id: 0\n    type: blok\n");
}

static void config_is_a_pipe(struct cell *cell)
{
    char path[128];
    config_renamed(cell);
    path_in(cell, "config.yaml", path);
    CU_ASSERT_EQUAL_FATAL(mkfifo(path, 0600), 0);
}

static void config_in_place(struct cell *cell)
{
    remove_in(cell, "config.yaml");
    config_back(cell);
}

/* ---- Control socket ---- */

static void control_removed(struct cell *cell)
{
    remove_in(cell, "control");
}

static void control_is_a_directory(struct cell *cell)
{
    char path[128];
    path_in(cell, "control", path);
    (void)unlink(path);
    make_directory(cell, "control");
}

static void control_in_place(struct cell *cell)
{
    remove_in(cell, "control");
}

/* Some clients say nothing. Others ask without end and never read. */
static void control_crowded(struct cell *cell)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", cell->fixture->dir);
    for (cell->fd_count = 0; cell->fd_count < 64; cell->fd_count++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        CU_ASSERT_FATAL(fd >= 0);
        cell->fds[cell->fd_count] = fd;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            continue;
        for (unsigned int i = 0; cell->fd_count % 2 == 1 && i < 64; i++)
            (void)!send(fd, "status\n", 7, MSG_NOSIGNAL);
    }
}

static void control_quiet(struct cell *cell)
{
    while (cell->fd_count > 0)
        close(cell->fds[--cell->fd_count]);
}

/* ---- Nodes ---- */

/* The stand-in mounts C's nodes, so that they can't be removed: no step runs the matrix on C. */
static void dispatcher_removed(struct cell *cell)
{
    in_mounts_of_keeper(cell, remove_node, standin_node(STANDIN_DEFAULT));
}

static void dispatcher_back(struct cell *cell)
{
    in_mounts_of_keeper(cell, make_node_again, standin_node(STANDIN_DEFAULT));
}

static void in_own_mounts(int (*action)(const char *path), const char *path)
{
    CU_ASSERT_EQUAL_FATAL(action(path), 0);
}

static void tun_hidden(struct cell *cell)
{
    if (cell->moment == AT_START)
        in_own_mounts(cover, "/dev/net");
    else
        in_mounts_of_keeper(cell, cover, "/dev/net");
}

static void tun_back(struct cell *cell)
{
    if (cell->moment == AT_START)
        in_own_mounts(uncover, "/dev/net");
    else
        in_mounts_of_keeper(cell, uncover, "/dev/net");
}

static void pts_hidden(struct cell *cell)
{
    in_mounts_of_keeper(cell, cover, "/dev/pts");
}

static void pts_back(struct cell *cell)
{
    in_mounts_of_keeper(cell, uncover, "/dev/pts");
}

/* ---- Standard error ---- */

/* What the programs write goes to this file in the directory. A shell opens it. */
static void by_shell(struct cell *cell, const char *script)
{
    size_t count = 0;
    if (cell->is_managed)
        cell->starter[count++] = SERVICE_MANAGER;
    cell->starter[count++] = "/bin/sh";
    cell->starter[count++] = "-c";
    cell->starter[count++] = script;
    cell->starter[count++] = cell->fixture->dir; /* $0 */
    cell->starter[count] = NULL;
    cell->fixture->starter = cell->starter;
}

static void stderr_is_a_pipe(struct cell *cell)
{
    char path[128];
    path_in(cell, "stderr", path);
    CU_ASSERT_EQUAL_FATAL(mkfifo(path, 0600), 0);
    cell->fds[0] = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    CU_ASSERT_FATAL(cell->fds[0] >= 0);
    by_shell(cell, "exec \"$@\" 2>\"$0/stderr\"");
}

static void pipe_is_full(struct cell *cell)
{
    static const char page[4096];
    while (write(cell->fds[0], page, sizeof(page)) > 0)
        ;
    while (write(cell->fds[0], page, 1) > 0)
        ;
    CU_ASSERT_EQUAL(errno, EAGAIN);
}

static void pipe_is_read(struct cell *cell)
{
    char page[4096];
    while (read(cell->fds[0], page, sizeof(page)) > 0)
        ;
}

static void pipe_end(struct cell *cell)
{
    if (cell->fds[0] >= 0)
        close(cell->fds[0]);
}

/* Nobody has it open for reading any more. */
static void pipe_is_broken(struct cell *cell)
{
    pipe_is_read(cell);
    close(cell->fds[0]);
    cell->fds[0] = -1;
}

/* A journal: a stream socket whose other end nobody reads any more. */
static void stderr_is_a_socket(struct cell *cell)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    cell->fds[0] = ends[0];
    cell->fds[1] = ends[1];
    by_shell(cell, "exec \"$@\" 2>&0");
    close(cell->fixture->starter_in);
    cell->fixture->starter_in = ends[1];
    cell->fixture->starter_out = cell->managed.events;
}

static void socket_is_full(struct cell *cell)
{
    static const char page[4096];
    while (send(cell->fds[1], page, sizeof(page), MSG_DONTWAIT) > 0)
        ;
    while (send(cell->fds[1], page, 1, MSG_DONTWAIT) > 0)
        ;
    CU_ASSERT_EQUAL(errno, EAGAIN);
}

static void socket_is_read(struct cell *cell)
{
    char page[4096];
    while (recv(cell->fds[0], page, sizeof(page), MSG_DONTWAIT) > 0)
        ;
}

static void socket_end(struct cell *cell)
{
    close(cell->fds[0]);
}

/* A terminal in which somebody has pressed Ctrl-S. */
static void stderr_is_a_terminal(struct cell *cell)
{
    char path[64];
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    CU_ASSERT_FATAL(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 &&
                    ptsname_r(master, path, sizeof(path)) == 0);
    int terminal = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    CU_ASSERT_FATAL(terminal >= 0);
    cell->fds[0] = master;
    cell->fds[1] = terminal;
    by_shell(cell, "exec \"$@\" 2>&0");
    close(cell->fixture->starter_in);
    cell->fixture->starter_in = terminal;
    cell->fixture->starter_out = cell->managed.events;
}

static void terminal_is_stopped(struct cell *cell)
{
    CU_ASSERT_EQUAL_FATAL(tcflow(cell->fds[1], TCOOFF), 0);
}

static void terminal_goes_on(struct cell *cell)
{
    CU_ASSERT_EQUAL_FATAL(tcflow(cell->fds[1], TCOON), 0);
}

/* ---- Service manager ---- */

static void managed(struct cell *cell)
{
    cell->fixture->starter = cell->managed.starter;
    cell->is_managed = true;
}

static pid_t manager_of(const struct cell *cell)
{
    return standin_pid(cell->fixture->standin);
}

/* Its socket takes two messages and no more. */
static void manager_stopped(struct cell *cell)
{
    CU_ASSERT_EQUAL_FATAL(kill(manager_of(cell), SIGSTOP), 0);
}

static void manager_goes_on(struct cell *cell)
{
    CU_ASSERT_EQUAL_FATAL(kill(manager_of(cell), SIGCONT), 0);
}

/* ---- Limits and memory ---- */

static void broker_has_no_files(struct cell *cell)
{
    no_more_files(cell, BROKER);
}

static void keeper_has_no_files(struct cell *cell)
{
    no_more_files(cell, KEEPER);
}

static void broker_has_no_memory(struct cell *cell)
{
    no_more_memory(cell, BROKER);
}

/* The keeper starts all later processes, which inherit this. */
static void keeper_has_no_memory(struct cell *cell)
{
    no_more_memory(cell, KEEPER);
}

static void pids_group(struct cell *cell)
{
    group_make(cell, "pids");
}

static void keeper_can_not_fork(struct cell *cell)
{
    group_enter(cell, KEEPER, "1");
}

static void memory_group(struct cell *cell)
{
    group_make(cell, "memory");
}

/* Where the subject writes there are holes. So each write needs memory of a tmpfs. */
static void memory_group_and_holes(struct cell *cell)
{
    memory_group(cell);
    int fd = fixture_open(cell->fixture, "disk0.img");
    CU_ASSERT_EQUAL_FATAL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                    512l * SUBJECT_READS, 512l * SUBJECT_READS),
                          0);
    close(fd);
}

static void worker_has_no_memory(struct cell *cell)
{
    cell->fds[0] = (int)pid_of(cell, WORKER);
    group_enter(cell, WORKER, "0");
}

static void worker_was_killed(struct cell *cell)
{
    CU_ASSERT_NOT_EQUAL(pid_of(cell, WORKER), (pid_t)cell->fds[0]);
}

/* ---- Stopped processes ---- */

static void stopped(struct cell *cell, enum process process)
{
    cell->fds[0] = (int)pid_of(cell, process);
    CU_ASSERT_EQUAL_FATAL(kill((pid_t)cell->fds[0], SIGSTOP), 0);
}

static void worker_stopped(struct cell *cell)
{
    stopped(cell, WORKER);
}

static void broker_stopped(struct cell *cell)
{
    stopped(cell, BROKER);
}

static void keeper_stopped(struct cell *cell)
{
    stopped(cell, KEEPER);
}

static void goes_on(struct cell *cell)
{
    (void)kill((pid_t)cell->fds[0], SIGCONT); /* the process may have been replaced */
}

#define EVERYWHERE                                                                                 \
    {                                                                                              \
        {WORKS}, {WORKS}, {WORKS}, {WORKS},                                                        \
        {                                                                                          \
            WORKS                                                                                  \
        }                                                                                          \
    }
#define NOBODY_YET NOT("there is no such process yet")
#define NEEDS_ANOTHER                                                                              \
    {                                                                                              \
        .fate = WAITS                                                                              \
    }
#define NO_BROKER                                                                                  \
    {                                                                                              \
        .fate = WAITS, .everybody = true                                                           \
    }
#define IS_SIGKILL NOT("the kernel kills by SIGKILL, as this column does")
#define NEW_KEEPER NOT("the limit ends with the keeper: the service manager starts the next one")

static const struct row rows[] = {
    {
        .resource = "configuration",
        .fault = "removed",
        .inject = config_renamed,
        .repair = config_back,
        .words = "config.yaml",
        .at = {{REFUSED}, {WORKS}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "configuration",
        .fault = "edited, with an error",
        .inject = config_spoilt,
        .repair = config_in_place,
        .words = "config.yaml:3:11",
        .at = {{REFUSED}, {WORKS}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "configuration",
        .fault = "a pipe in its place",
        .inject = config_is_a_pipe,
        .repair = config_in_place,
        .words = "config.yaml",
        .at = {{REFUSED}, {WORKS}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "control socket",
        .fault = "removed",
        .inject = control_removed,
        .at = {NOT("it is made at the start"), {WORKS}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "control socket",
        .fault = "a directory in its place",
        .inject = control_is_a_directory,
        .repair = control_in_place,
        .words = "/control",
        .at = {{REFUSED}, {WORKS}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "control socket",
        .fault = "64 clients who never read",
        .inject = control_crowded,
        .repair = control_quiet,
        .at = {NOT("it is made at the start"), {WORKS}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "/dev",
        .fault = "no node of the dispatcher",
        .inject = dispatcher_removed,
        .repair = dispatcher_back,
        .at = {NOT("tests/standin/test_startup has it"), {WORKS}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "/dev",
        .fault = "no /dev/net/tun",
        .subject = SUBJECT_NET,
        .inject = tun_hidden,
        .repair = tun_back,
        .words = "/dev/net/tun",
        .at = {{REFUSED}, {WORKS}, {WORKS}, {WORKS}, {COPES}},
    },
    {
        .resource = "/dev",
        .fault = "no /dev/pts",
        .subject = SUBJECT_TERMINAL,
        .inject = pts_hidden,
        .repair = pts_back,
        .at = {NOT("the stand-in makes a /dev of its own"), {WORKS}, {WORKS}, {COPES}, {COPES}},
    },
    {
        .resource = "standard error",
        .fault = "a pipe that is full",
        .prepare = stderr_is_a_pipe,
        .inject = pipe_is_full,
        .repair = pipe_is_read,
        .clean = pipe_end,
        .at = EVERYWHERE,
    },
    {
        .resource = "standard error",
        .fault = "a pipe without a reader",
        .prepare = stderr_is_a_pipe,
        .inject = pipe_is_broken,
        .clean = pipe_end,
        .at = {NOT("a pipe can't be opened for writing then"),
               {WORKS},
               {WORKS},
               {WORKS},
               NOT("nor by the next keeper")},
    },
    {
        .resource = "journal",
        .fault = "stuck: its socket is full",
        .prepare = stderr_is_a_socket,
        .inject = socket_is_full,
        .repair = socket_is_read,
        .clean = socket_end,
        .at = {{WORKS},
               {WORKS},
               {WORKS},
               {WORKS},
               NOT("as a full pipe, which is tried at this moment")},
    },
    {
        .resource = "terminal",
        .fault = "stopped (Ctrl-S)",
        .prepare = stderr_is_a_terminal,
        .inject = terminal_is_stopped,
        .repair = terminal_goes_on,
        .clean = socket_end,
        .at = {{WORKS},
               {WORKS},
               {WORKS},
               {WORKS},
               NOT("a service manager starts nobody at a terminal")},
    },
    {
        .resource = "service manager",
        .fault = "stopped, its socket full",
        .prepare = managed,
        .inject = manager_stopped,
        .repair = manager_goes_on,
        .at = {NOT("it starts the keeper"), {WORKS}, {WORKS}, {WORKS}, NOT("it starts the keeper")},
    },
    {
        .resource = "EMFILE",
        .fault = "the broker has no file number left",
        .inject = broker_has_no_files,
        .repair = limits_as_before,
        .at = {NOBODY_YET, {WORKS}, {COPES}, {WORKS}, {WORKS}},
    },
    {
        .resource = "EMFILE",
        .fault = "the keeper has no file number left",
        .inject = keeper_has_no_files,
        .repair = limits_as_before,
        .at = {NOBODY_YET, {WORKS}, {COPES}, NO_BROKER, NEW_KEEPER},
    },
    {
        .resource = "ENFILE",
        .fault = "the machine has no file left",
        .at = {NOT("fs.file-max is the limit of everything that runs on this machine; for the "
                   "programs it is what EMFILE is"),
               NOT(NULL), NOT(NULL), NOT(NULL), NOT(NULL)},
    },
    {
        .resource = "ENOMEM",
        .fault = "the keeper can't fork",
        .prepare = pids_group,
        .inject = keeper_can_not_fork,
        .repair = group_leave,
        .clean = group_remove,
        .at = {NOBODY_YET, {WORKS}, NEEDS_ANOTHER, NO_BROKER, NEW_KEEPER},
    },
    {
        .resource = "ENOMEM",
        .fault = "the keeper and its children can't map",
        .inject = keeper_has_no_memory,
        .repair = limits_as_before,
        .at = {NOBODY_YET, {WORKS}, NEEDS_ANOTHER, NO_BROKER, NEW_KEEPER},
    },
    {
        .resource = "ENOMEM",
        .fault = "the broker can't map",
        .inject = broker_has_no_memory,
        .repair = limits_as_before,
        .at = {NOBODY_YET, {WORKS}, {COPES}, {WORKS}, {WORKS}},
    },
    {
        .resource = "OOM killer",
        .fault = "kills device 0's worker",
        .prepare = memory_group_and_holes,
        .inject = worker_has_no_memory,
        .repair = worker_was_killed,
        .clean = group_remove,
        .at = {NOBODY_YET, {WORKS}, {WORKS}, IS_SIGKILL, IS_SIGKILL},
    },
    {
        .resource = "clock",
        .fault = "set back",
        .at = {NOT("nothing asks for the time of day: all deadlines are CLOCK_MONOTONIC, which "
                   "can't be set; and a test that sets CLOCK_REALTIME sets it for the machine"),
               NOT(NULL), NOT(NULL), NOT(NULL), NOT(NULL)},
    },
    {
        .resource = "SIGSTOP",
        .fault = "of device 0's worker",
        .inject = worker_stopped,
        .repair = goes_on,
        .at = {NOBODY_YET, {.fate = WORKS, .is_long = true}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "SIGSTOP",
        .fault = "of the broker",
        .inject = broker_stopped,
        .repair = goes_on,
        .at = {NOBODY_YET,
               {.fate = WORKS, .everybody = true, .is_long = true, .hold_ms = 20000},
               {.fate = WORKS, .everybody = true},
               {WORKS},
               {WORKS}},
    },
    {
        .resource = "SIGSTOP",
        .fault = "of the keeper",
        .inject = keeper_stopped,
        .repair = goes_on,
        .at = {NOBODY_YET, {WORKS}, NEEDS_ANOTHER, NO_BROKER, {WORKS}},
    },
};

const struct row *const rows_shared = rows;
const unsigned int rows_shared_count = sizeof(rows) / sizeof(rows[0]);
