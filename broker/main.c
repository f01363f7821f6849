/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-virtio-broker: all that deals with Bao. The keeper starts it with fd 3 as the socket to the
 * keeper, or a user starts it with --check-config.
 *
 * At its start it is root and reads what the user wrote. Errors that the user can correct are found
 * here, before any worker exists, and each is reported in one line. Then it locks itself down
 * (broker/lockdown.h) and supervises (broker/supervisor.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/alive.h"
#include "broker/bao_devices.h"
#include "broker/claims.h"
#include "broker/clock.h"
#include "broker/config/names.h"
#include "broker/connector_process.h"
#include "broker/control.h"
#include "broker/first_files.h"
#include "broker/handed.h"
#include "broker/keeper/spawn.h"
#include "broker/kernel_log.h"
#include "broker/lockdown.h"
#include "broker/log.h"
#include "broker/opener.h"
#include "broker/places.h"
#include "broker/shared_page.h"
#include "broker/supervisor.h"
#include "broker/words.h"

#define FIRST_OPENING_MS                                                                           \
    10000 /* how long the first start waits for backends, before it goes on without them */
/* The same at a later start with a new configuration, so that the new configuration can be judged.
 * It is a little longer than openers wait for a file that is in use. */
#define FRESH_MS 2000

static struct config config;
static struct device devices[BAO_DEVICES_MAX];
static struct bao_devices all = {&config, devices, 0}; /* the devices that can work */
static struct handed handed;
static uint32_t ran;    /* bit id: an earlier broker served it, and its frontend may run */
static bool has_claims; /* the keeper could open the file, and it is SPAWN_CLAIMS_FD */

/* --- The configuration ----------------------------------------------------------------------- */

/* As log lines, since those do not wait: guests may be waiting for this broker. */
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

static struct config_diagnostics diagnostics;

/* The path of the control socket. If --control is not given, the name that is tried first. */
static const char *control_path(const char *control, const char *config_path)
{
    static char by_default[CONTROL_PATH_SIZE];
    if (control[0] != '\0')
        return control;
    control_default_path(config_path, 1, by_default);
    return by_default;
}

/* `result`: of the function that has filled in the diagnostics. */
static int report_config(int result, const char *path, const char *control)
{
    print_diagnostics(&diagnostics, path);
    if (result < 0)
        return result;
    result = config_check_control(&config, control, &diagnostics);
    print_diagnostics(&diagnostics, path);
    return result;
}

static int check_config(const char *path, const char *control)
{
    int result = config_load(path, &config, &diagnostics);
    if (report_config(result, path, control_path(control, path)) < 0)
        return EXIT_FAILURE;
    printf("%s: ok, %zu device%s\n", path, config.device_count,
           config.device_count == 1 ? "" : "s");
    result = first_files_flush();
    if (result < 0)
        log_line(NULL, "can't write to standard output: %s", strerror(-result));
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Which text is used: the file as it is now, or the last start's text, which the keeper has. */
struct text {
    const char *path;
    const char *control; /* path of the control socket; no device may have its name */
    int fd;
    int before; /* the text of the last start; -1: none */
    bool fresh; /* the text is new: the keeper has to be told of it */
};

static int load_text(const struct text *text)
{
    return report_config(config_load_text(text->fd, text->path, &config, &diagnostics), text->path,
                         text->control);
}

/* Can the devices that run go on with this configuration? */
static bool fits_what_runs(const char *path)
{
    static struct device device;
    struct config_window windows[BAO_DEVICES_MAX] = {0};
    struct failure failure;
    bool fits = true;
    for (size_t i = 0; i < config.device_count; i++) {
        const struct handed_device *before = &handed.devices[config.devices[i].id];
        if (!before->stored || before->message.condition == STORE_UNUSABLE)
            continue;
        windows[i] = (struct config_window){before->message.shmem_addr, before->message.shmem_size};
        device_init(&device, &config.devices[i]);
        if (device_refuses(&device, &before->message, before->fd_count, &failure) == 0)
            continue;
        bao_devices_complain(&all, &device, CONFIG_KEY_ID, &failure);
        fits = false;
    }
    if (config_check_windows(&config, windows, &diagnostics) < 0)
        fits = false;
    print_diagnostics(&diagnostics, path);
    return fits;
}

static int tell_text(const struct text *text, bool fresh)
{
    union message message = {.header = {.type = MSG_CONFIG, .device = MESSAGE_NO_DEVICE}};
    return message_send(SPAWN_SOCKET_FD, &message, &text->fd, fresh ? 1 : 0);
}

static void reject_text(struct text *text)
{
    log_line(NULL,
             "%s can't be used: going on with the configuration of the last start, until the next "
             "one",
             text->path);
    (void)tell_text(text, false);
}

static int choose_text(struct text *text, bool by_name)
{
    text->before = shared_page_is_text(SPAWN_TEXT_FD) ? SPAWN_TEXT_FD : -1;
    if (by_name) {
        text->fd = config_read_text(text->path, &diagnostics);
        if (text->fd < 0)
            config_diagnostics_print(&diagnostics, text->path, stderr);
        text->fresh = text->fd >= 0 && load_text(text) == 0 && fits_what_runs(text->path);
        if (text->fresh)
            return 0;
        if (text->before < 0)
            return -EINVAL;
        config_free(&config);
        reject_text(text);
    }
    text->fd = text->before;
    return text->fd < 0 ? -EINVAL : load_text(text);
}

/* --- What a predecessor left ----------------------------------------------------------------- */

static int add_device(const struct device_config *device_config)
{
    const struct handed_device *before = &handed.devices[device_config->id];
    struct device *device = &devices[all.count];
    enum config_key key = CONFIG_KEY_ID;
    struct failure failure;
    device->index = (uint32_t)all.count;
    device_init(device, device_config);
    if (before->stored && before->message.condition == STORE_UNUSABLE) {
        (void)device_refuses(device, &before->message, before->fd_count, &failure);
        bao_devices_complain(&all, device, CONFIG_KEY_ID, &failure);
        return 0;
    }
    all.count++;
    const struct backend_ops *ops = device->backend.ops;
    int result = ops->begin ? ops->begin(&device->backend) : 0;
    if (result == 0 && ops->opens_nothing) {
        result = ops->open(&device->backend, &key, &failure);
        device->opening.phase = OPENING_DONE;
    }
    return result;
}

/* Note what a new opener has to know. It may have to open the backend again while a frontend works
 * with it, because the configuration of the device has changed, or because the kept files are lost.
 */
static void note_earlier(struct device *device, const struct handed_device *before)
{
    const struct message_opened *opened = &before->opened;
    const char *tap = device->config->tap_name;
    device->opening.again = device->restored;
    const struct opened_net *net = &opened->learned.net;
    if (!before->kept || !tap ||
        !config_kind_has((enum device_kind)opened->kind, CONFIG_KEY_TAP_NAME) ||
        strncmp(net->name, tap, sizeof(net->name)) != 0)
        return;
    device->opening.tap_index = net->index;
}

/* The keeper keeps the files of devices that we do not use. */
static int restore_device(uint32_t id)
{
    struct handed_device *before = &handed.devices[id];
    struct device *device = device_of_id(devices, all.count, id);
    struct failure failure;
    int result = 0;
    if (before->stored && !config_device(&config, id))
        log_line(NULL,
                 "device %u is not in the configuration any more: its files are kept, since "
                 "closing them would be fatal for its frontend",
                 id);
    if (before->stored && device)
        result = device_restore(device, &before->message, before->fds, before->fd_count, &failure);
    else if (before->stored)
        handed_close_stored(before);
    if (result < 0) {
        bao_devices_complain(&all, device, CONFIG_KEY_ID, &failure);
        return result;
    }
    if (device)
        note_earlier(device, before);
    if (before->kept && device && device->opening.phase != OPENING_DONE) {
        (void)opening_take_kept(device, &before->opened, before->opened_fds, before->opened_count,
                                SPAWN_SOCKET_FD);
    } else if (before->kept) {
        handed_close_kept(before);
        (void)opening_forget(id, SPAWN_SOCKET_FD);
    }
    return 0;
}

static int restore_devices(void)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < config.device_count; i++)
        result = add_device(&config.devices[i]);
    for (uint32_t id = 0; result == 0 && id < BAO_DEVICES_MAX; id++)
        result = restore_device(id);
    return result;
}

/* --- Everything that can be wrong with this machine ------------------------------------------ */

static size_t list_openers(struct pollfd ret[BAO_DEVICES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < all.count; i++) {
        const struct device *device = &devices[i];
        if (device->opening.phase == OPENING_RUNS)
            ret[count++] = (struct pollfd){.fd = device->opening.socket, .events = POLLIN};
    }
    return count;
}

/*
 * Check that no other bao-virtio-dm has what this one wants, before anything is opened. Devices
 * that ran before go on in any case.
 */
static int take_claims(int32_t keeper)
{
    static struct claim_refused refused;
    if (!has_claims)
        return 0;
    int result = claims_take(SPAWN_CLAIMS_FD, &config, keeper, ran, &refused);
    if (result == 0)
        return 0;
    const struct device *device =
        refused.device ? device_of_id(devices, all.count, refused.device->id) : NULL;
    if (device)
        bao_devices_complain(&all, device, refused.key, &refused.failure);
    else
        log_line(NULL, "%s", refused.failure.text);
    bool runs = refused.device ? (ran & 1u << refused.device->id) != 0 : ran != 0;
    return runs ? 0 : result;
}

/* The same check for the files that the devices' names led to. */
static int settle_claims(const struct device *device, enum config_key *ret_key,
                         struct failure *failure)
{
    const struct backend *backend = &device->backend;
    return has_claims ? claims_settle(SPAWN_CLAIMS_FD, device->config, &backend->file_id,
                                      &backend->directory_id, ret_key, failure)
                      : 0;
}

/*
 * If another device has the same file, that is reported instead of "the file is in use". Two
 * devices with one file are an error of the configuration, whenever the configuration is new. A
 * backend that can't be opened is an error at the first start only.
 */
static int tell_failures(const char *control, bool first)
{
    int result = 0;
    for (size_t i = 0; i < all.count; i++) {
        struct opening *opening = &devices[i].opening;
        struct failure failure;
        enum config_key key;
        int other = places_check(&config, devices, i, &devices[i], control, &key, &failure);
        if (other == 0)
            other = settle_claims(&devices[i], &key, &failure);
        bool failed = first && opening->wait_ms > 0;
        if (other < 0)
            bao_devices_complain(&all, &devices[i], key, &failure);
        else if (failed && places_check(&config, devices, all.count, &devices[i], control, &key,
                                        &failure) == 0)
            bao_devices_complain(&all, &devices[i], opening->said_key, &opening->said);
        if (other < 0 || failed) /* also if the other device reports it */
            result = -ENOENT;
    }
    return result;
}

/*
 * The backends are opened first, since a failure there leaves the dispatcher untouched. A start
 * that fails later closes DM files, and the driver does not survive another start after that. When
 * devices run already, a device whose backend fails or hangs waits alone.
 */
static int open_backends(struct opening_context *context, const char *control, bool fresh)
{
    bool first = ran == 0;
    int64_t now = clock_ms();
    const int64_t end = now + (first ? FIRST_OPENING_MS : fresh ? FRESH_MS : 0);
    struct pollfd openers[BAO_DEVICES_MAX];
    size_t count;
    context->quiet = first;
    do {
        now = clock_ms();
        for (size_t i = 0; i < all.count; i++) {
            if (devices[i].opening.phase != OPENING_DUE || devices[i].opening.wait_ms == 0)
                (void)opening_look(&devices[i], context, now);
        }
        count = list_openers(openers);
    } while (count > 0 && now < end && poll(openers, count, (int)(end - now)) >= 0);
    context->quiet = false;
    int result = first || fresh ? tell_failures(control, first) : 0;
    for (size_t i = 0; result == 0 && i < all.count; i++) {
        if (devices[i].opening.unkept && devices[i].backend.words[0])
            log_info(devices[i].name, "%s", devices[i].backend.words);
    }
    return result;
}

static int check_windows(const char *path)
{
    struct config_window windows[BAO_DEVICES_MAX] = {0};
    for (size_t i = 0; i < all.count; i++)
        windows[devices[i].config - config.devices] =
            (struct config_window){devices[i].shmem_addr, devices[i].shmem_size};
    int result = config_check_windows(&config, windows, &diagnostics);
    print_diagnostics(&diagnostics, path);
    return result;
}

static int prepare_devices(struct opening_context *context, const char *control, bool fresh)
{
    struct dispatcher dispatcher = {.node = -1};
    int result = bao_devices_any_new(&all) ? bao_devices_open(&all, &dispatcher) : 0;
    if (result == 0)
        result = open_backends(context, control, fresh);
    if (result == 0)
        result = bao_devices_create(&all, &dispatcher);
    /* With the node, any window can be had. So it is closed before anything of a guest is read. */
    dispatcher_close(&dispatcher);
    if (result == 0)
        result = bao_devices_check_generations(&all);
    if (result == 0)
        result = check_windows(context->config->path);
    if (result == 0)
        result = bao_devices_register(&all, SPAWN_SOCKET_FD);
    if (result == 0 && all.count > 0)
        log_info(NULL, "Bao's driver is of generation %s (%s)",
                 generations[devices[0].generation].name, generations[devices[0].generation].node);
    return result;
}

/* --- Start ----------------------------------------------------------------------------------- */

/* The keeper decides when the broker ends, so signals to the whole terminal are ignored. The relays
 * need SIGALRM, and unblock it themselves. */
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
    for (size_t i = 0; i < all.count; i++)
        device_prepare_relay(&devices[i], supervisor->report);

    struct lockdown lockdown = {.supervisor = supervisor};
    const char *step;
    result = lockdown_enter(&lockdown, &step);
    supervisor->opening.locked_down = true;
    if (result < 0) {
        log_line(NULL, "the broker failed to %s: %s", step, words_error(-result));
        return result;
    }
    char landlock[sizeof("landlock ABI 4294967295, ")] = "";
    if (lockdown.landlock_abi != 0)
        snprintf(landlock, sizeof(landlock), "landlock ABI %u, ", lockdown.landlock_abi);
    log_info(NULL,
             "broker ready, confined by: capabilities, own root, no_new_privs, not dumpable, "
             "rlimits, %sseccomp",
             landlock);
    union message running = {.header = {.type = MSG_RUNNING, .device = MESSAGE_NO_DEVICE}};
    return message_send(SPAWN_SOCKET_FD, &running, NULL, 0);
}

/* The process that made the socket between keeper and broker. */
static int32_t keeper_pid(void)
{
    struct ucred keeper = {0};
    socklen_t length = sizeof(keeper);
    return getsockopt(SPAWN_SOCKET_FD, SOL_SOCKET, SO_PEERCRED, &keeper, &length) == 0 ? keeper.pid
                                                                                       : 0;
}

/* A control socket that can't be opened does not keep the broker from serving the guests. The
 * exception is the first start, if the user has asked for that socket. */
static int open_control(struct control *control, struct text *text, const char *mode,
                        bool asked_for)
{
    struct failure failure;
    static char chosen[CONTROL_PATH_SIZE];
    char path[PATH_MAX];
    uint32_t bits = (uint32_t)strtoul(mode, NULL, 8);
    bool again = ran != 0, fatal = !again && asked_for;
    int result;
    if (asked_for) {
        result = control_open(control, text->control, bits, again, &failure);
    } else {
        result = control_open_default(control, text->path, bits, again, chosen, &failure);
        text->control = chosen;
    }
    if (result < 0)
        log_line(NULL, "%s%s", failure.text, fatal ? "" : ": bao-dmctl can't be used");
    claims_absolute(text->path, path);
    snprintf(control->config, sizeof(control->config), "%.*s", CONTROL_CONFIG_SIZE - 1, path);
    return fatal ? result : 0;
}

static int start(struct supervisor *supervisor, struct text *text, const char *control_mode,
                 bool asked_for)
{
    /* The dispatcher is used after the steps that can fail: once it was asked for a device, an end
     * is final. */
    int32_t keeper = keeper_pid();
    int result = take_claims(keeper);
    supervisor->control.keeper = keeper;
    if (result == 0)
        result = open_control(&supervisor->control, text, control_mode, asked_for);
    if (result == 0)
        result = prepare_devices(&supervisor->opening, text->control, text->fresh);
    if (result == 0 && !asked_for && ran == 0)
        log_info(NULL, "bao-dmctl finds it by %s", text->control);
    if (has_claims)
        close(SPAWN_CLAIMS_FD); /* the keeper has the file, and the locks with it */
    return result;
}

static int run(struct text *text, bool by_name, bool control_asked, const char *control_mode)
{
    (void)log_prepare(); /* the keeper has prepared stderr, and has reported its errors */
#ifdef BVDM_PATIENT
    log_warning(NULL, "built for debugging: a stuck worker keeps its guest waiting for %d minutes",
                WORKER_ANSWER_MS / 60000);
#endif
    int result = handed_receive(SPAWN_SOCKET_FD, &handed);
    if (result < 0) {
        log_line(NULL, "can't take over from the keeper: %s", strerror(-result));
        return EXIT_FAILURE;
    }
    ran = handed_ids(&handed);
    if (choose_text(text, by_name) < 0 || restore_devices() < 0)
        return EXIT_FAILURE;
    struct supervisor supervisor = {
        .keeper = SPAWN_SOCKET_FD,
        .report = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
        .kernel_log = kernel_log_open(),
        .devices = devices,
        .device_count = all.count,
        .opening = {.config = &config,
                    .devices = devices,
                    .device_count = all.count,
                    .text = text->fd,
                    .keeper = SPAWN_SOCKET_FD},
    };
    if (start(&supervisor, text, control_mode, control_asked) < 0) {
        if (text->fresh && text->before >= 0)
            reject_text(text); /* and the next broker uses the last configuration */
        return EXIT_FAILURE;
    }
    if (text->fresh && tell_text(text, true) < 0)
        return EXIT_FAILURE;
    if (start_supervising(&supervisor) < 0)
        return EXIT_FAILURE;
    for (size_t i = 0; i < all.count; i++)
        relay_go(&devices[i].relay);
    return supervisor_run(&supervisor);
}

int main(int argc, char **argv)
{
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "--check-config") == 0)
        return check_config(argv[2], argc == 4 ? argv[3] : "");
    if (argc == 2 && strcmp(argv[1], "--connect") == 0)
        return connector_run(SPAWN_SOCKET_FD,
                             SPAWN_TEXT_FD); /* SPAWN_TEXT_FD is the directory here */
    bool again = argc == 6 && strcmp(argv[1], "--open-again") == 0;
    if (again || (argc == 6 && strcmp(argv[1], "--open") == 0)) {
        struct opener opener = {
            .socket = SPAWN_SOCKET_FD,
            .text = SPAWN_TEXT_FD,
            .path = argv[3],
            .dm_id = (uint32_t)strtoul(argv[2], NULL, 10),
            .tap =
                {
                    .ran = again,
                    .index = (int)strtoul(argv[4], NULL, 10),
                },
        };
        const unsigned long taps = strtoul(argv[5], NULL, 10);
        while (opener.tap.file_count < taps && opener.tap.file_count < TAP_QUEUES_MAX) {
            opener.tap.files[opener.tap.file_count] = SPAWN_TAPS_FD + (int)opener.tap.file_count;
            opener.tap.file_count++;
        }
        return opener_run(&opener);
    }
    bool by_name = argc == 5 && strcmp(argv[1], "--config") == 0;
    if (by_name || (argc == 5 && strcmp(argv[1], "--kept-config") == 0)) {
        struct text text = {
            .path = argv[2], .control = control_path(argv[3], argv[2]), .fd = -1, .before = -1};
        has_claims = fcntl(SPAWN_CLAIMS_FD, F_GETFD) >= 0;
        _exit(run(&text, by_name, argv[3][0] != '\0', argv[4])); /* no clean-up while relays run */
    }
    log_line(NULL, "bao-virtio-broker is started by bao-virtio-dm: use that");
    return EXIT_FAILURE;
}
