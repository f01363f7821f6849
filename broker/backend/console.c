/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports of a console device: terminals (ptys), or a log file. They are opened once and kept, so
 * that a program that has a terminal open does not notice the death of a worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/directory.h"
#include "broker/backend/raw_mode.h"

#define TERMINALS "/dev/pts/" /* the directory of all terminals */
#define TERMINAL_NAME_SIZE 32

/* ---- Terminals ---- */

/*
 * Prepare the user's end. It is raw, so that every byte passes unchanged and nothing is echoed to
 * the guest, and only root may open it. Once it has been opened and closed, the kernel reports that
 * nobody has it open.
 */
static int prepare_terminal(int master)
{
    int fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = raw_mode(fd);
    if (result == 0 && fchmod(fd, 0600) < 0)
        result = -errno;
    close(fd);
    return result;
}

/* Returns the master. */
static int open_terminal(char name[TERMINAL_NAME_SIZE], struct failure *failure)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (master < 0)
        return failure_set(failure, -errno, "can't make a terminal: /dev/ptmx: %s",
                           strerror(errno));
    int error = unlockpt(master) < 0 ? errno : ptsname_r(master, name, TERMINAL_NAME_SIZE);
    if (error == 0)
        error = -prepare_terminal(master);
    if (error != 0) {
        close(master);
        return failure_set(failure, -error, "can't prepare a terminal: %s", strerror(error));
    }
    return master;
}

/* A link that an earlier run left is replaced: it leads to a terminal that may now belong to
 * anyone. In the working directory the link is called `link`. */
static int replace_link(const char *link, const char *alias, const char *name,
                        struct failure *failure)
{
    char target[sizeof(TERMINALS)] = "";
    ssize_t length = readlinkat(AT_FDCWD, link, target, sizeof(target) - 1);
    bool stale = memcmp(target, TERMINALS, sizeof(TERMINALS)) == 0;
    if (length >= 0 ? !stale : errno == EINVAL)
        return failure_set(failure, -EEXIST,
                           "\"%s\" is there already, and is no link to a terminal (" TERMINALS
                           "N) that an earlier run left: move it away, or choose another name",
                           alias);
    if ((stale && unlinkat(AT_FDCWD, link, 0) < 0) || symlinkat(name, AT_FDCWD, link) < 0)
        return failure_set(failure, -errno, "can't make the link \"%s\": %s", alias,
                           strerror(errno));
    return 0;
}

static int link_terminal(struct backend *backend, const char *alias, const char *name,
                         struct failure *failure)
{
    struct directory directory;
    int back;
    int result = directory_find(alias, false, "pty_alias", &directory, failure);
    if (result < 0)
        return result;
    result = directory_enter(&directory, &back);
    if (result < 0) {
        failure_set(failure, result, "pty_alias \"%s\": %s", alias, strerror(-result));
    } else {
        result = replace_link(directory.name, alias, name, failure);
        directory_leave(back);
    }
    backend->directory_id = directory.id;
    directory_close(&directory);
    return result;
}

/* Port 0 has the alias unchanged; the other ports have their number appended. */
static int name_terminal(struct backend *backend, const char *alias, unsigned int port,
                         const char *name, struct failure *failure)
{
    char path[PATH_MAX + 4];
    size_t used = strlen(backend->words);
    snprintf(backend->words + used, sizeof(backend->words) - used, "%s%s", used > 0 ? ", " : "",
             name);
    if (!alias)
        return 0;
    snprintf(path, sizeof(path), port == 0 ? "%s" : "%s.%u", alias, port);
    return link_terminal(backend, path, name, failure);
}

/* Asks for no event. EPOLLHUP is always reported: nobody has the terminal open. */
static int watch_terminal(const struct backend *backend, unsigned int port)
{
    struct epoll_event hangup = {.events = 0, .data.u32 = port};
    return epoll_ctl(backend->console.readers, EPOLL_CTL_ADD,
                     backend->files[OPENED_PORT_FIRST + port], &hangup);
}

static int add_terminal(struct backend *backend, unsigned int port, struct failure *failure)
{
    char name[TERMINAL_NAME_SIZE];
    int master = open_terminal(name, failure);
    if (master < 0)
        return master;
    backend->files[OPENED_PORT_FIRST + port] = master;
    if (watch_terminal(backend, port) < 0)
        return failure_set(failure, -errno, "can't watch a terminal: %s", strerror(errno));
    return name_terminal(backend, backend->config->pty_alias, port, name, failure);
}

/* ---- Log file ---- */

/* Open the log in `directory` and check it; close it again if it may not be used. */
static int open_log_in(const struct directory *directory, int access, const char *path,
                       struct file_id *ret_id, struct failure *failure)
{
    struct stat status;
    /* Non-blocking: a FIFO of that name is found out below and does not hang us here. */
    int flags = access | O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(directory->fd, directory->name, flags, 0600);
    if (fd < 0)
        return failure_set(failure, -errno, "log file \"%s\": %s", path, strerror(errno));
    const char *reason = "is no regular file: choose another name";
    if (fstat(fd, &status) < 0)
        reason = strerror(errno);
    else if (S_ISREG(status.st_mode))
        reason = directory_refuses(directory, &status, true);
    if (reason) {
        close(fd);
        return failure_set(failure, -EINVAL, "log file \"%s\" %s", path, reason);
    }
    *ret_id = (struct file_id){status.st_dev, status.st_ino};
    return fd;
}

/* Open the log, the file that takes the contents of a full log, and the log once more for copying
 * it. This is the order of worker/console/log_file.h. */
static int open_logs_in(struct backend *backend, const struct directory *directory,
                        const char *log_path, struct failure *failure)
{
    char old_path[PATH_MAX + 4];
    struct directory old = *directory;
    struct file_id old_id, again;
    snprintf(old_path, sizeof(old_path), "%s.1", log_path);
    int length = snprintf(old.name, sizeof(old.name), "%s.1", directory->name);
    if ((size_t)length >= sizeof(old.name))
        return failure_set(failure, -ENAMETOOLONG, "log file \"%s\": %s", old_path,
                           strerror(ENAMETOOLONG));
    const struct {
        const struct directory *directory;
        int access;
        const char *path;
        struct file_id *id;
    } files[CONSOLE_LOG_FILES] = {
        {directory, O_WRONLY | O_APPEND, log_path, &backend->file_id},
        {&old, O_WRONLY | O_APPEND, old_path, &old_id},
        {directory, O_RDONLY, log_path, &again},
    };
    for (size_t i = 0; i < CONSOLE_LOG_FILES; i++) {
        int fd =
            open_log_in(files[i].directory, files[i].access, files[i].path, files[i].id, failure);
        if (fd < 0)
            return fd;
        backend->files[OPENED_PORT_FIRST + i] = fd;
    }
    if (memcmp(&again, &backend->file_id, sizeof(again)) != 0)
        return failure_set(failure, -EAGAIN, "log file \"%s\" was replaced meanwhile", log_path);
    return 0;
}

static int open_log(struct backend *backend, struct failure *failure)
{
    const char *path = backend->config->log_path;
    struct directory directory;
    int result = directory_find(path, true, "log file", &directory, failure);
    if (result < 0)
        return result;
    /* If a link gave the log another name, the directory is not set: other devices are compared
     * with the name in the configuration. */
    if (strcmp(directory.name, basename(path)) == 0)
        backend->directory_id = directory.id;
    result = open_logs_in(backend, &directory, path, failure);
    directory_close(&directory);
    return result;
}

/* ---- The backend ---- */

static uint32_t console_queues(const struct device_config *config)
{
    return config->ports == 1 ? 2 : 2 * config->ports + 2;
}

static int console_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    const struct device_config *config = backend->config;
    *ret_key = CONFIG_KEY_PTY_ALIAS;
    backend->console.readers = epoll_create1(EPOLL_CLOEXEC);
    if (backend->console.readers < 0)
        return failure_set(failure, -errno, "can't watch terminals: %s", strerror(errno));
    if (config->log_path) {
        *ret_key = CONFIG_KEY_LOG_PATH;
        return open_log(backend, failure);
    }
    for (unsigned int port = 0; port < config->ports; port++) {
        int result = add_terminal(backend, port, failure);
        if (result < 0)
            return result;
    }
    return 0;
}

static unsigned int file_count(const struct device_config *config)
{
    return config->log_path ? CONSOLE_LOG_FILES : config->ports;
}

static uint32_t console_files(const struct device_config *config)
{
    return backend_files_from(OPENED_PORT_FIRST, file_count(config));
}

static uint32_t console_boxed(const struct device_config *config)
{
    return config->log_path ? console_files(config) : 0;
}

/* The epoll instance that tells whether a terminal is open lives as long as one broker. The
 * terminals may have come from another broker. */
static int console_begin(struct backend *backend)
{
    backend->console.readers = epoll_create1(EPOLL_CLOEXEC);
    return backend->console.readers < 0 ? -errno : 0;
}

static int console_adopt(struct backend *backend)
{
    unsigned int terminals = backend->config->log_path ? 0 : backend->config->ports;
    for (unsigned int port = 0; port < terminals; port++) {
        if (watch_terminal(backend, port) < 0)
            return -errno;
    }
    return 0;
}

static int console_give(struct backend *backend, struct message_start *start,
                        struct backend_fds *ret)
{
    const struct device_config *config = backend->config;
    unsigned int files = file_count(config);
    start->of_kind.console = (struct start_console){.ports = config->ports};
    *ret =
        (struct backend_fds){.fds = {backend->console.readers}, .count = 1 + STATE_CONSOLE_PORTS};
    for (unsigned int i = 0; i < STATE_CONSOLE_PORTS; i++)
        ret->fds[1 + i] =
            i < files ? backend->files[OPENED_PORT_FIRST + i] : backend->console.readers;
    if (config->log_path) {
        start->of_kind.console.files = 1u << 0;
        start->of_kind.console.log_size = config->log_size;
        ret->boxed = ((1u << files) - 1) << 1;
    }
    return 0;
}

/* The window size of the user's program. The worker can't ask for it, since its filter has no
 * ioctl. */
static bool console_look(struct backend *backend, struct state_backend *state)
{
    struct winsize size;
    if (backend->config->log_path ||
        ioctl(backend->files[OPENED_PORT_FIRST], TIOCGWINSZ, &size) < 0)
        return false;
    uint32_t value = (uint32_t)size.ws_col << 16 | size.ws_row;
    bool new = !backend->console.size_said || backend->console.size != value;
    backend->console.size_said = true;
    backend->console.size = value;
    atomic_store_explicit(&state->size, value, memory_order_relaxed);
    return new;
}

const struct backend_ops backend_console = {
    .begin = console_begin,
    .adopt = console_adopt,
    .open = console_open,
    .files = console_files,
    .boxed = console_boxed,
    .queues = console_queues,
    .give = console_give,
    .look = console_look,
};
