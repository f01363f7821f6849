/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-virtio-broker: all that is Bao's. Started by the keeper with fd 3 as the socket to it, or
 * by hand with --check-config.
 *
 * At its start it is root and reads what the user wrote; whatever the user can put right is found
 * here, before any worker exists, and said in one line. Then it locks itself down
 * (broker/lockdown.h) and supervises (broker/supervisor.h).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/config/names.h"
#include "broker/control.h"
#include "broker/dispatcher.h"
#include "broker/kernel_log.h"
#include "broker/lockdown.h"
#include "broker/log.h"
#include "broker/places.h"
#include "broker/supervisor.h"
#include "broker/words.h"

#define KEEPER_FD 3
#define RESTORE_TIMEOUT_MS 10000

static struct config config;
static struct device devices[BAO_DEVICES_MAX];

/* --- The configuration --------------------------------------------------------------------------
 */

/* As log lines, since those do not wait: a broker may be one that guests wait for. */
static void print_diagnostics(const struct config_diagnostics *diagnostics, const char *path)
{
    char *text = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        return;
    config_diagnostics_print(diagnostics, path, memory);
    if (fclose(memory) == 0)
        log_text(text);
    free(text);
}

/* With a line of its own for each error. */
static int load_config(const char *path, const char *control)
{
    static struct config_diagnostics diagnostics;
    int result = config_load(path, &config, &diagnostics);
    print_diagnostics(&diagnostics, path);
    if (result < 0)
        return result;
    result = config_check_control(&config, control, &diagnostics);
    print_diagnostics(&diagnostics, path);
    return result;
}

/* Where --control is not given. */
static const char *control_path(const char *control)
{
    return control[0] != '\0' ? control : CONTROL_PATH;
}

static int check_config(const char *path, const char *control)
{
    if (load_config(path, control_path(control)) < 0)
        return EXIT_FAILURE;
    printf("%s: ok, %zu device%s\n", path, config.device_count,
           config.device_count == 1 ? "" : "s");
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* "bao-virtio-dm: block 0: demo.yaml:7:16: image ..." */
static void print_failure(const struct device *device, enum config_key key,
                          const struct failure *failure)
{
    static char where[CONFIG_WHERE_SIZE];
    config_where(&config, device->config, key, where);
    log_line(device->name, "%s %s", where, failure->text);
}

/* --- What a predecessor stored
 * --------------------------------------------------------------------- */

static struct device *device_of_id(uint32_t id)
{
    for (size_t i = 0; i < config.device_count; i++) {
        if (config.devices[i].id == id)
            return &devices[i];
    }
    return NULL;
}

/* Returns 1 to go on, 0 at the end, -errno. */
static int take_restore(void)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 0;
    struct failure failure;

    struct pollfd keeper = {.fd = KEEPER_FD, .events = POLLIN};
    int ready = poll(&keeper, 1, RESTORE_TIMEOUT_MS);
    if (ready <= 0)
        return ready < 0 ? -errno : -ETIMEDOUT;
    int result = message_receive(KEEPER_FD, ROLE_KEEPER, &message, fds, &fd_count);
    if (result <= 0)
        return result == 0 ? -EPIPE : result;
    if (message.header.type == MSG_RESTORE_END)
        return 0;
    if (message.header.type != MSG_RESTORE)
        return -EPROTO;

    struct device *device = device_of_id(message.store.dm_id);
    if (!device) {
        log_line(NULL,
                 "device %u is not in the configuration any more: its files are kept, since "
                 "closing them would be fatal for its frontend",
                 message.store.dm_id);
        for (size_t i = 0; i < fd_count; i++)
            close(fds[i]);
        return 1;
    }
    result = device_restore(device, &message.store, fds, fd_count, &failure);
    if (result < 0) {
        print_failure(device, CONFIG_KEY_ID, &failure);
        return result;
    }
    return 1;
}

/* --- Everything that can be wrong with this machine
 * ------------------------------------------------- */

static int open_dispatcher(void)
{
    int fd = dispatcher_open();
    if (fd == -ENOENT || fd == -ENXIO || fd == -ENODEV)
        log_line(NULL, "%s: %s: load the module with \"modprobe bao-io-dispatcher\", on Bao",
                 BAO_DISPATCHER_NODE, strerror(-fd));
    else if (fd < 0)
        log_line(NULL, "%s: %s", BAO_DISPATCHER_NODE, strerror(-fd));
    return fd;
}

/* The backends first: what fails there leaves the dispatcher untouched. A start that fails later
 * closes DM files, and the driver survives no other start after that. */
static int open_backends(const char *control)
{
    struct failure failure;
    for (size_t i = 0; i < config.device_count; i++) {
        struct device *device = &devices[i];
        enum config_key key = CONFIG_KEY_ID;
        int result = device->backend.ops->open(&device->backend, device->config, &key, &failure);
        /* That it is another device's says more than that it is in use. */
        int other = places_check(&config, devices, i, device, control, &key, &failure);
        if (other < 0)
            result = other;
        if (result < 0) {
            print_failure(device, key, &failure);
            return result;
        }
        if (device->backend.words[0])
            log_info(device->name, "%s", device->backend.words);
    }
    return 0;
}

static int create_devices(int dispatcher)
{
    struct failure failure;
    for (size_t i = 0; i < config.device_count; i++) {
        if (devices[i].restored)
            continue;
        int result = device_create(&devices[i], dispatcher, &failure);
        if (result < 0) {
            print_failure(&devices[i], CONFIG_KEY_ID, &failure);
            return result;
        }
    }
    return 0;
}

static int check_windows(const char *path)
{
    static struct config_diagnostics diagnostics;
    struct config_window windows[BAO_DEVICES_MAX];
    for (size_t i = 0; i < config.device_count; i++)
        windows[i] = (struct config_window){devices[i].shmem_addr, devices[i].shmem_size};
    int result = config_check_windows(&config, windows, &diagnostics);
    print_diagnostics(&diagnostics, path);
    return result;
}

static int register_devices(void)
{
    struct failure failure;
    for (size_t i = 0; i < config.device_count; i++) {
        int result = device_register(&devices[i], KEEPER_FD, &failure);
        if (result < 0) {
            print_failure(&devices[i], CONFIG_KEY_ID, &failure);
            return result;
        }
    }
    return 0;
}

static int restore_devices(void)
{
    for (uint32_t i = 0; i < config.device_count; i++) {
        devices[i].index = i;
        device_init(&devices[i], &config.devices[i]);
    }
    int result;
    do
        result = take_restore();
    while (result > 0);
    if (result < 0 && result != -EINVAL)
        log_line(NULL, "can't take over from the keeper: %s", strerror(-result));
    return result;
}

static int prepare_devices(const char *path, const char *control)
{
    int result;
    int dispatcher = open_dispatcher();
    if (dispatcher < 0)
        return dispatcher;
    result = open_backends(control);
    if (result == 0)
        result = create_devices(dispatcher);
    if (result == 0)
        result = check_windows(path);
    if (result == 0)
        result = register_devices();
    close(dispatcher);
    return result;
}

/* --- Start
 * --------------------------------------------------------------------------------------------- */

/* The keeper decides on the end; signals to the whole terminal are not for us. The relays need
 * SIGALRM, and unblock it themselves. */
static int prepare_signals(void)
{
    static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};
    sigset_t blocked;
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        if (signal(ignored[i], SIG_IGN) == SIG_ERR)
            return -errno;
    }
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    return sigprocmask(SIG_SETMASK, &blocked, NULL) < 0 ? -errno : 0;
}

static int start_supervising(struct supervisor *supervisor)
{
    int result = prepare_signals();
    if (result == 0)
        result = supervisor_init(supervisor);
    if (result < 0) {
        log_line(NULL, "the broker can't prepare its events: %s", strerror(-result));
        return result;
    }
    for (size_t i = 0; i < config.device_count; i++)
        device_prepare_relay(&devices[i], supervisor->report);

    struct lockdown lockdown = {.supervisor = supervisor};
    const char *step;
    result = lockdown_enter(&lockdown, &step);
    if (result < 0) {
        log_line(NULL, "the broker failed to %s: %s", step, words_error(-result));
        return result;
    }
    log_info(NULL,
             "broker ready, confined by: capabilities, own root, no_new_privs, not dumpable, "
             "rlimits, %sseccomp",
             lockdown.landlock ? "landlock, " : "");
    union message running = {.header = {.type = MSG_RUNNING, .device = MESSAGE_NO_DEVICE}};
    return message_send(KEEPER_FD, &running, NULL, 0);
}

static bool is_first_broker(void)
{
    for (size_t i = 0; i < config.device_count; i++) {
        if (devices[i].restored)
            return false;
    }
    return true;
}

/*
 * Serving nobody is no reason not to serve the guests; unless somebody asked for it, or another
 * bao-virtio-dm answers there: the driver does not survive two of them at one device.
 */
static int open_control(struct supervisor *supervisor, const char *path, const char *mode,
                        bool asked_for)
{
    struct failure failure;
    uint32_t bits = (uint32_t)strtoul(mode, NULL, 8);
    int result = control_open(&supervisor->control, path, bits, &failure);
    bool fatal = asked_for || (result == -EADDRINUSE && is_first_broker());
    if (result < 0)
        log_line(NULL, "%s%s", failure.text, fatal ? "" : ": bao-dmctl can't be used");
    return fatal ? result : 0;
}

static int run(const char *path, const char *control_asked, const char *control_mode)
{
    const char *control = control_path(control_asked);
    (void)log_prepare(); /* the keeper has opened it, and has said what is wrong with it */
    if (load_config(path, control) < 0 || restore_devices() < 0)
        return EXIT_FAILURE;
    struct supervisor supervisor = {
        .keeper = KEEPER_FD,
        .report = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
        .kernel_log = kernel_log_open(),
        .devices = devices,
        .device_count = config.device_count,
    };
    /* The dispatcher after what can fail: once a device was asked of it, an end is final. */
    if (open_control(&supervisor, control, control_mode, control_asked[0] != '\0') < 0 ||
        prepare_devices(path, control) < 0 || start_supervising(&supervisor) < 0)
        return EXIT_FAILURE;
    for (size_t i = 0; i < config.device_count; i++)
        relay_go(&devices[i].relay);
    return supervisor_run(&supervisor);
}

int main(int argc, char **argv)
{
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "--check-config") == 0)
        return check_config(argv[2], argc == 4 ? argv[3] : "");
    if (argc == 5 && strcmp(argv[1], "--config") == 0)
        _exit(run(argv[2], argv[3], argv[4])); /* nothing is to be tidied while relays run */
    log_line(NULL, "bao-virtio-broker is started by bao-virtio-dm: use that");
    return EXIT_FAILURE;
}
