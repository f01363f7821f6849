/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_broker_main*.c, which include it: a broker in a process of its own, and all that
 * it calls. What it calls is written down, in order. */
#ifndef TESTS_UNIT_BROKER_MAIN_UNDER_TEST_H
#define TESTS_UNIT_BROKER_MAIN_UNDER_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/bao_devices.h"
#include "broker/claims.h"
#include "broker/connector_process.h"
#include "broker/control.h"
#include "broker/handed.h"
#include "broker/keeper/spawn.h"
#include "broker/kernel_log.h"
#include "broker/lockdown.h"
#include "broker/opener.h"
#include "broker/places.h"
#include "broker/shared_page.h"
#include "broker/supervisor.h"
#include "tests/cunit_main.h"
#include "tests/unit/said.h"

int broker_main(int argc, char **argv); /* broker/main.c */

/* ---- What it does ---- */

static struct seen {
    char done[4096];
    struct opener opener;
    char path[64]; /* of the opener's configuration */
} * seen;          /* shared with the process */

static const char *fails_at; /* the call that fails, with -EIO; NULL: none */

/* Writes down a call. Returns its result. */
__attribute__((format(printf, 2, 3))) static int calls(const char *name, const char *format, ...)
{
    size_t length = strlen(seen->done);
    va_list arguments;
    length += (size_t)snprintf(seen->done + length, sizeof(seen->done) - length, "%s", name);
    va_start(arguments, format);
    length +=
        (size_t)vsnprintf(seen->done + length, sizeof(seen->done) - length, format, arguments);
    va_end(arguments);
    snprintf(seen->done + length, sizeof(seen->done) - length, "\n");
    errno = EIO;
    return fails_at && strcmp(fails_at, name) == 0 ? -EIO : 0;
}

/* In the process: what can't be asserted there ends it. */
static void must(bool good, const char *what)
{
    if (!good) {
        (void)calls("WRONG: ", "%s", what);
        _exit(99);
    }
}
#define MUST(condition) must(condition, #condition)

/* ---- Other programs in it ---- */

int connector_run(int socket, int directory)
{
    return 10 * socket + directory;
}

int opener_run(const struct opener *opener)
{
    seen->opener = *opener;
    snprintf(seen->path, sizeof(seen->path), "%s", opener->path);
    return 77;
}

/* ---- Time ---- */

static int64_t now_ms = 5000;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

/* ---- The keeper and the claims ---- */

static struct handed given;
static struct claim_refused refused; /* if claims_take fails */
static bool refuses_device;          /* it is the first one */

int __wrap_handed_receive(int keeper, struct handed *ret);
int __wrap_claims_take(int fd, const struct config *config, int32_t keeper, uint32_t kept,
                       struct claim_refused *ret_refused);
int __wrap_claims_settle(int fd, const struct device_config *device, const struct file_id *file,
                         const struct file_id *directory, enum config_key *ret_key,
                         struct failure *failure);

int __wrap_handed_receive(int keeper, struct handed *ret)
{
    MUST(keeper == SPAWN_SOCKET_FD);
    *ret = given;
    return calls("handed", " ");
}

int __wrap_claims_take(int fd, const struct config *config, int32_t keeper, uint32_t kept,
                       struct claim_refused *ret_refused)
{
    MUST(fd == SPAWN_CLAIMS_FD && keeper == getppid());
    *ret_refused = refused;
    ret_refused->device = refuses_device ? &config->devices[0] : NULL;
    return calls("claims", " %zu devices, %x run", config->device_count, kept);
}

int __wrap_claims_settle(int fd, const struct device_config *device, const struct file_id *file,
                         const struct file_id *directory, enum config_key *ret_key,
                         struct failure *failure)
{
    const bool has_files = device->kind != DEVICE_RNG_VIRTIO;
    MUST(fd == SPAWN_CLAIMS_FD && file->inode == (has_files ? 70 + device->id : 0));
    MUST(directory->inode == (has_files ? 80 + device->id : 0));
    *ret_key = CONFIG_KEY_ID;
    return failure_set(failure, calls("settle", " %u", device->id), "it is another's");
}

/* ---- The control socket ---- */

static int control_result;

void control_default_path(const char *config, unsigned int number, char ret[CONTROL_PATH_SIZE])
{
    const char *name = strrchr(config, '/');
    snprintf(ret, CONTROL_PATH_SIZE, "/run/%s.%u", name ? name + 1 : config, number);
}

int control_open(struct control *control, const char *path, uint32_t mode, bool again,
                 struct failure *failure)
{
    control->listener = -1;
    (void)calls("control", " %s, mode %o%s", path, mode, again ? ", again" : "");
    return failure_set(failure, control_result, "there is no control socket");
}

int control_open_default(struct control *control, const char *config, uint32_t mode, bool again,
                         char ret_path[CONTROL_PATH_SIZE], struct failure *failure)
{
    MUST(config[0] == '/');
    strcpy(ret_path, "/run/chosen");
    return control_open(control, ret_path, mode, again, failure);
}

int control_accept(struct control *control)
{
    (void)control;
    return -EAGAIN;
}

void control_drop(struct control *control, size_t client)
{
    (void)control;
    (void)client;
}

bool control_serve(struct control *control, size_t client, struct supervisor *of)
{
    (void)control;
    (void)of;
    return client == 0;
}

/* ---- Bao's devices ---- */

int __wrap_bao_devices_open(const struct bao_devices *all, struct dispatcher *dispatcher);
int __wrap_bao_devices_create(const struct bao_devices *all, const struct dispatcher *dispatcher);
int __wrap_bao_devices_register(const struct bao_devices *all, int keeper);
int __wrap_bao_devices_check_generations(const struct bao_devices *all);
void __wrap_dispatcher_close(struct dispatcher *dispatcher);
int __wrap_device_restore(struct device *device, const struct message_store *stored, const int *fds,
                          size_t fd_count, struct failure *failure);

static uint64_t window_of_second; /* other than the first's */

int __wrap_bao_devices_open(const struct bao_devices *all, struct dispatcher *dispatcher)
{
    MUST(dispatcher->node == -1);
    dispatcher->node = 900;
    return calls("open", " %zu", all->count);
}

int __wrap_bao_devices_create(const struct bao_devices *all, const struct dispatcher *dispatcher)
{
    for (size_t i = 0; i < all->count; i++) {
        MUST(all->devices[i].index == i);
        all->devices[i].generation = BAO_B;
        all->devices[i].shmem_addr = i == 1 ? window_of_second : 0x80000000u + i * 0x100000;
        all->devices[i].shmem_size = 0x100000;
    }
    return calls("create", " %d", dispatcher->node);
}

int __wrap_bao_devices_register(const struct bao_devices *all, int keeper)
{
    MUST(keeper == SPAWN_SOCKET_FD);
    return calls("register", " %zu", all->count);
}

int __wrap_bao_devices_check_generations(const struct bao_devices *all)
{
    return calls("generations", " %zu", all->count);
}

void __wrap_dispatcher_close(struct dispatcher *dispatcher)
{
    (void)calls("close", " %d", dispatcher->node);
}

int __wrap_device_restore(struct device *device, const struct message_store *stored, const int *fds,
                          size_t fd_count, struct failure *failure)
{
    (void)fds;
    MUST(stored->mmio_addr == device->config->mmio_addr);
    device->restored = true;
    device->generation = BAO_B;
    device->shmem_addr = stored->shmem_addr;
    device->shmem_size = stored->shmem_size;
    return failure_set(failure, calls("restore", " %s, %zu files", device->name, fd_count),
                       "it can't be restored");
}

/* ---- Openers ---- */

static unsigned int looks_before[BAO_DEVICES_MAX]; /* by id: so many more than one it takes */
static bool opener_fails[BAO_DEVICES_MAX];
static bool takes_kept = true;
static const char *its_words; /* what each backend is called; "": nothing */
static int place_taken = -1;  /* the id of a device that has another one's file */

int64_t __wrap_opening_look(struct device *device, const struct opening_context *context,
                            int64_t now);
bool __wrap_opening_take_kept(struct device *device, const struct message_opened *kept,
                              const int *fds, size_t fd_count, int keeper);
int __wrap_opening_forget(uint32_t dm_id, int keeper);
int __wrap_places_check(const struct config *config, const struct device *devices, size_t count,
                        const struct device *device, const char *control, enum config_key *ret_key,
                        struct failure *failure);
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms);

int64_t __wrap_opening_look(struct device *device, const struct opening_context *context,
                            int64_t now)
{
    struct opening *opening = &device->opening;
    const uint32_t id = device->config->id;
    MUST(now == now_ms + 1 && context->keeper == SPAWN_SOCKET_FD && !context->locked_down);
    (void)calls("look", " %s%s%s", device->name, context->quiet ? ", quiet" : "",
                opening->again ? ", again" : "");
    if (opening->phase == OPENING_DONE)
        return INT64_MAX;
    device->backend.file_id.inode = 70 + id;
    device->backend.directory_id.inode = 80 + id;
    opening->phase = OPENING_RUNS;
    opening->socket = 50 + (int)id;
    if (looks_before[id] > 0) {
        looks_before[id]--;
        return INT64_MAX;
    }
    opening->socket = -1;
    opening->phase = opener_fails[id] ? OPENING_DUE : OPENING_DONE;
    opening->unkept = true;
    snprintf(device->backend.words, sizeof(device->backend.words), "%s", its_words);
    if (opener_fails[id]) {
        opening->wait_ms = 1000;
        strcpy(opening->said.text, "it does not open");
        opening->said_key = CONFIG_KEY_ID;
    }
    return INT64_MAX;
}

bool __wrap_opening_take_kept(struct device *device, const struct message_opened *kept,
                              const int *fds, size_t fd_count, int keeper)
{
    (void)fds;
    MUST(keeper == SPAWN_SOCKET_FD && kept->dm_id == device->config->id);
    (void)calls("take", " %s, %zu files, tap %u", device->name, fd_count,
                device->opening.tap_index);
    device->backend.file_id.inode = 70 + kept->dm_id;
    device->backend.directory_id.inode = 80 + kept->dm_id;
    if (takes_kept)
        device->opening.phase = OPENING_DONE;
    return takes_kept;
}

int __wrap_opening_forget(uint32_t dm_id, int keeper)
{
    MUST(keeper == SPAWN_SOCKET_FD);
    return calls("forget", " %u", dm_id);
}

int __wrap_places_check(const struct config *config, const struct device *devices, size_t count,
                        const struct device *device, const char *control, enum config_key *ret_key,
                        struct failure *failure)
{
    (void)config;
    MUST(device >= devices && count <= 3);
    *ret_key = CONFIG_KEY_ID;
    (void)calls("places", " %s among %zu, %s", device->name, count, control);
    return failure_set(failure, (int)device->config->id == place_taken ? -EEXIST : 0,
                       "another has its file");
}

/* Each wait for openers lasts 4 s, or as long as it may. */
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms)
{
    int result =
        calls("wait", " for %zu, the first is %d, %d ms", (size_t)count, files->fd, timeout_ms);
    MUST(files->events == POLLIN);
    now_ms += timeout_ms < 4000 ? timeout_ms : 4000;
    return result < 0 ? -1 : 0;
}

int __wrap___poll_chk(struct pollfd *files, nfds_t count, int timeout_ms, size_t size);

int __wrap___poll_chk(struct pollfd *files, nfds_t count, int timeout_ms, size_t size)
{
    MUST(count * sizeof(*files) <= size);
    return __wrap_poll(files, count, timeout_ms);
}

/* ---- What comes then ---- */

static bool has_claims = true; /* the keeper could open the file of claims */

static unsigned int landlock_abi = 4;

int __wrap_kernel_log_open(void);
int __wrap_supervisor_init(struct supervisor *supervisor);
int __wrap_supervisor_run(struct supervisor *supervisor);
void __wrap_relay_go(struct relay *relay);

int __wrap_kernel_log_open(void)
{
    return 444;
}

int __wrap_supervisor_init(struct supervisor *supervisor)
{
    MUST(supervisor->keeper == SPAWN_SOCKET_FD && supervisor->kernel_log == 444);
    MUST(supervisor->opening.device_count == supervisor->device_count);
    MUST((fcntl(supervisor->report, F_GETFL) & O_NONBLOCK) != 0);
    MUST(fcntl(supervisor->report, F_GETFD) == FD_CLOEXEC);
    MUST(!has_claims || fcntl(SPAWN_CLAIMS_FD, F_GETFD) < 0); /* the keeper has it */
    MUST(supervisor->control.keeper == getppid());
    return calls("init", " %zu, text %d, %s", supervisor->device_count,
                 supervisor->opening.text == SPAWN_TEXT_FD ? SPAWN_TEXT_FD : 0,
                 strrchr(supervisor->control.config, '/'));
}

int lockdown_enter(struct lockdown *lockdown, const char **ret_step)
{
    sigset_t blocked;
    static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};
    const struct supervisor *supervisor = lockdown->supervisor;
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        MUST(signal(ignored[i], SIG_IGN) == SIG_IGN);
    MUST(sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGALRM) == 1);
    MUST(sigismember(&blocked, SIGCHLD) == 0);
    for (size_t i = 0; i < supervisor->device_count; i++)
        MUST(supervisor->devices[i].relay.report == supervisor->report);
    MUST(!supervisor->opening.locked_down);
    *ret_step = "fall over";
    lockdown->landlock_abi = landlock_abi;
    return calls("lockdown", " ");
}

void __wrap_relay_go(struct relay *relay)
{
    (void)calls("go", " %u", relay->dm_id);
}

int __wrap_supervisor_run(struct supervisor *supervisor)
{
    MUST(supervisor->opening.locked_down);
    (void)calls("run", " ");
    return 42;
}

/* ---- A broker ---- */

static char folder[] = "/tmp/bao-broker-XXXXXX";
static char config_file[64];
static struct said said;
static int keeper = -1;       /* its end of the socket */
static const char *kept_text; /* the text of the last start; NULL: none */
static bool keeper_is_there = true;

#define RNG(id) "- {id: " id ", type: rng, data_plane: virtio, mmio_addr: 0x" id "000}\n"
#define BLOCK(id)                                                                                  \
    "- {id: " id ", type: block, data_plane: virtio, mmio_addr: 0x" id "000, file_path: /x}\n"
#define NET(id, tap)                                                                               \
    "- {id: " id ", type: net, data_plane: virtio, mmio_addr: 0x" id "000, tap_name: " tap "}\n"
#define ALL "devices:\n" NET("0", "tap0") BLOCK("1") RNG("2")

static void write_config(const char *text)
{
    FILE *file = fopen(config_file, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    CU_ASSERT_EQUAL_FATAL(fclose(file), 0);
}

static void begin(const char *text)
{
    memset(seen, 0, sizeof(*seen));
    memset(&given, 0, sizeof(given));
    memset(&refused, 0, sizeof(refused));
    memset(looks_before, 0, sizeof(looks_before));
    memset(opener_fails, 0, sizeof(opener_fails));
    strcpy(refused.failure.text, "another one has it");
    refused.key = CONFIG_KEY_ID;
    fails_at = NULL;
    refuses_device = false;
    control_result = 0;
    window_of_second = 0x80100000u;
    takes_kept = true;
    its_words = "open";
    place_taken = -1;
    landlock_abi = 4;
    kept_text = NULL;
    has_claims = keeper_is_there = true;
    if (text)
        write_config(text);
    else
        (void)unlink(config_file);
}

/* In the process. */
static void be_broker(int socket, int argc, char **argv)
{
    int text = kept_text ? shared_page_of_text("text", kept_text, strlen(kept_text)) : -1;
    int high[] = {fcntl(socket, F_DUPFD, 20), text < 0 ? -1 : fcntl(text, F_DUPFD, 20),
                  has_claims ? fcntl(STDIN_FILENO, F_DUPFD, 20) : -1};
    for (int i = 0; i < 3; i++) {
        close(3 + i);
        if (high[i] >= 0)
            dup2(high[i], 3 + i);
    }
    _exit(broker_main(argc, argv));
}

/* Returns its exit status; its log is in `said`. */
static int run_with(int argc, char **argv)
{
    int sockets[2], status = -1;
    if (keeper >= 0)
        close(keeper);
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    keeper = sockets[1];
    said_begin(&said, STDERR_FILENO);
    pid_t pid = fork();
    if (pid == 0) {
        if (!keeper_is_there)
            shutdown(sockets[1], SHUT_RDWR);
        be_broker(sockets[0], argc, argv);
    }
    close(sockets[0]);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    (void)said_end(&said);
    CU_ASSERT_TRUE(WIFEXITED(status));
    if (strstr(seen->done, "WRONG"))
        fprintf(stderr, "\n%s", seen->done);
    CU_ASSERT_PTR_NULL(strstr(seen->done, "WRONG"));
    return WEXITSTATUS(status);
}

/* `control`: as the user gives it; "": not at all. */
static int run_broker(const char *how, const char *control)
{
    char *argv[] = {
        "broker", (char *)(uintptr_t)how, config_file, (char *)(uintptr_t)control, "640", NULL};
    return run_with(5, argv);
}

/* The next message that the keeper gets, and how many files came with it; 0: none. */
static unsigned int keeper_gets(size_t *ret_files)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    *ret_files = 0;
    if (message_receive(keeper, ROLE_BROKER, &message, fds, ret_files) != 1)
        return 0;
    for (size_t i = 0; i < *ret_files; i++)
        close(fds[i]);
    CU_ASSERT_EQUAL(message.header.device, MESSAGE_NO_DEVICE);
    return message.header.type;
}

static void keeper_gets_one(unsigned int type, size_t files)
{
    size_t got;
    CU_ASSERT_EQUAL(keeper_gets(&got), type);
    CU_ASSERT_EQUAL(got, files);
}

static void did(const char *expected)
{
    if (strcmp(seen->done, expected) != 0)
        fprintf(stderr, "\nexpected:\n%sbut:\n%s", expected, seen->done);
    CU_ASSERT_STRING_EQUAL(seen->done, expected);
}

static int make_folder(void)
{
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (seen == MAP_FAILED || !mkdtemp(folder))
        return -1;
    snprintf(config_file, sizeof(config_file), "%s/c.yaml", folder);
    return 0;
}

static int remove_folder(void)
{
    (void)unlink(config_file);
    close(keeper);
    return rmdir(folder);
}

#endif
