/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/state.h"

#define KEY(name) (1ull << CONFIG_KEY_##name)
_Static_assert(CONFIG_KEYS <= 64, "a bit each");

/* The keys that every device must have, and those that every device may have. */
#define COMMON_REQUIRED (KEY(ID) | KEY(TYPE) | KEY(MMIO_ADDR) | KEY(DATA_PLANE))
#define COMMON_OPTIONAL                                                                            \
    (KEY(QUEUES) | KEY(QUEUE_SIZE) | KEY(FEATURES_OFF) | KEY(CPU_AFFINITY) | KEY(SCHED) |          \
     KEY(SHMEM_ADDR) | KEY(SHMEM_SIZE) | KEY(SHMEM_PATH) | KEY(IRQ))

/* The other keys of each kind. */
static const struct kind_keys kind_keys[DEVICE_KINDS] = {
#define KEYS(required_keys, optional_keys, most)                                                   \
    {                                                                                              \
        .required = (required_keys), .optional = (optional_keys), .queues_max = (most)             \
    }
#define DEVICE_KIND(name, backend, ops, keys, ...) [DEVICE_##name] = keys,
#include "common/kinds.def"
#undef DEVICE_KIND
#undef KEYS
};

bool config_kind_has(enum device_kind kind, enum config_key key)
{
    return kind < DEVICE_KINDS &&
           ((kind_keys[kind].required | kind_keys[kind].optional) & 1ull << key) != 0;
}

struct kind_keys config_kind_keys(enum device_kind kind)
{
    struct kind_keys keys = kind_keys[kind];
    keys.required |= COMMON_REQUIRED;
    keys.optional |= COMMON_OPTIONAL;
    return keys;
}

static void report_unknown_type(const struct raw_value *type, struct config_diagnostics *diags)
{
    struct word_list names = {0};
    type_names(&names);
    const char *nearest = type_nearest(type->text);
    if (nearest)
        config_error(diags, type->mark, "unknown device type \"%s\"; did you mean \"%s\"?",
                     config_quote(type->text).text, nearest);
    else
        config_error(diags, type->mark,
                     "unknown device type \"%s\"; expected one of %s, or a number of the VirtIO "
                     "standard's",
                     config_quote(type->text).text, names.text);
}

/*
 * Returns DEVICE_KINDS, with a message, if there is no such kind. The kind whose virtio_id is 0
 * stands for every type that a daemon serves, except the types that have a kind of their own for a
 * daemon.
 */
static size_t find_kind(const struct raw_value *type, const struct raw_value *data_plane,
                        struct config_diagnostics *diags)
{
    struct word_list data_planes = {0};
    uint32_t id;
    const struct virtio_type *found = type_find(type->text, &id);
    if (!found) {
        report_unknown_type(type, diags);
        return DEVICE_KINDS;
    }
    for (size_t i = 0; i < DEVICE_KINDS; i++) {
        bool is_any = device_kinds[i].virtio_id == 0;
        if (device_kind_replaces(&device_kinds[i]) || (!is_any && device_kinds[i].virtio_id != id))
            continue;
        if (data_plane->valid && strcmp(device_kinds[i].data_plane, data_plane->text) == 0)
            return i;
        config_list_add(&data_planes, device_kinds[i].data_plane);
    }
    if (data_plane->valid)
        config_error(diags, data_plane->mark,
                     "unknown data_plane \"%s\" of device type \"%s\"; expected one of %s",
                     config_quote(data_plane->text).text, type->text, data_planes.text);
    return DEVICE_KINDS;
}

/* The kind that replaces this one, since the device has a socket_path, or wants an io_uring. */
static enum device_kind replaced(enum device_kind kind, bool socket, bool ring)
{
    for (enum device_kind i = 0; i < DEVICE_KINDS; i++) {
        if (device_kinds[i].by_socket_path == socket && device_kinds[i].ring == ring &&
            device_kinds[i].virtio_id == device_kinds[kind].virtio_id &&
            strcmp(device_kinds[i].data_plane, device_kinds[kind].data_plane) == 0)
            return i;
    }
    return kind;
}

/* "device 3", or "device" if the id is not known. */
static struct quoted device_words(const struct raw_device *device)
{
    struct quoted words = {"device"};
    const struct raw_value *id = &device->values[CONFIG_KEY_ID];
    if (id->valid)
        snprintf(words.text, sizeof(words.text), "device %" PRIu64, id->number);
    return words;
}

/* A mistyped key is not reported as missing: it has its own message. */
static void check_missing(const struct raw_device *device, uint64_t required,
                          struct config_diagnostics *diags)
{
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        bool is_there = device->values[key].given || (device->mistyped & 1ull << key) != 0;
        if ((required & 1ull << key) != 0 && !is_there)
            config_error(diags, device->mark, "%s has no key \"%s\"; expected %s: %s",
                         device_words(device).text, key_infos[key].name, key_infos[key].name,
                         key_infos[key].expected);
    }
}

static void check_foreign(const struct raw_device *device, enum device_kind kind,
                          struct config_diagnostics *diags)
{
    uint64_t own = kind_keys[kind].required | kind_keys[kind].optional;
    struct word_list names = {0};
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        if ((own & 1ull << key) != 0)
            config_list_add(&names, key_infos[key].name);
    }
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        bool is_foreign = ((own | COMMON_REQUIRED | COMMON_OPTIONAL) & 1ull << key) == 0;
        if (device->values[key].given && is_foreign)
            config_error(
                diags, device->values[key].key_mark,
                "%s does not apply to %s; expected only %s besides the keys of all devices",
                key_infos[key].name, device_kinds[kind].policy, names.text);
    }
}

/* Checks values that are right for some kinds and wrong for others, except those of values.c. */
static void check_numbers(const struct raw_device *device, enum device_kind kind,
                          struct config_diagnostics *diags)
{
    const struct raw_value *queues = &device->values[CONFIG_KEY_QUEUES];
    uint32_t queues_max = kind_keys[kind].queues_max;
    if (queues->valid && queues->number > queues_max)
        config_error(diags, queues->mark, "queues is %" PRIu64 "; expected at most %u for %s",
                     queues->number, queues_max, device_kinds[kind].policy);
    uint32_t id;
    const struct virtio_type *type = type_find(device->values[CONFIG_KEY_TYPE].text, &id);
    const struct raw_value *off = &device->values[CONFIG_KEY_FEATURES_OFF];
    const char *foreign = features_foreign(off->number, type->name);
    if (off->valid && foreign)
        config_error(diags, off->mark, "features_off has %s, which is no feature of %s devices",
                     foreign, type->name);
    if (device_kinds[kind].virtio_id == 0 && type->queues == 0 && device->complete)
        check_missing(device, KEY(QUEUES), diags);
    const struct raw_value *config_size = &device->values[CONFIG_KEY_CONFIG_SIZE];
    if (device->values[CONFIG_KEY_CONFIG].given && config_size->given)
        config_error(diags, config_size->key_mark,
                     "config_size beside config; expected one: the bytes, or how many to ask the "
                     "daemon for");
}

static void note_outdated(const struct raw_device *device, struct config_diagnostics *diags)
{
    const struct raw_value *value = &device->values[CONFIG_KEY_SHMEM_PATH];
    if (value->given)
        config_note(diags, value->key_mark,
                    "%s is no longer needed and has no effect; the line can go",
                    key_infos[CONFIG_KEY_SHMEM_PATH].name);
}

/* The first two modes differ in whether flushes are offered (VirtIO 1.2 §5.2.6.2). With "unsafe"
 * they may be offered or not: nothing waits for the disk in either case. */
static void check_cache(const struct raw_device *device, struct config_diagnostics *diags)
{
    const struct raw_value *flush = &device->values[CONFIG_KEY_ADVERTISE_FLUSH];
    const struct raw_value *cache = &device->values[CONFIG_KEY_CACHE];
    if (!flush->valid)
        return;
    if (cache->valid && cache->number == CONFIG_CACHE_WRITEBACK && flush->number == 0)
        config_error(diags, cache->mark,
                     "cache is writeback beside advertise_flush: false in line %u; expected "
                     "writethrough or unsafe, or advertise_flush: true: in this mode data are safe "
                     "when the frontend has asked for a flush",
                     flush->mark.line);
    else if (cache->valid && cache->number == CONFIG_CACHE_WRITETHROUGH && flush->number != 0)
        config_error(
            diags, cache->mark,
            "cache is writethrough beside advertise_flush: true in line %u; expected "
            "writeback or unsafe, or advertise_flush: false: in this mode there is nothing "
            "to flush",
            flush->mark.line);
    else if (!cache->given && flush->number == 0 &&
             device->values[CONFIG_KEY_READ_ONLY].number == 0)
        config_note(
            diags, flush->key_mark,
            "advertise_flush: false makes each write wait for the disk, since the frontend "
            "can't ask for a flush: cache: unsafe does not wait, and loses what was written "
            "last when the backend fails");
}

/* A log file replaces the console's only terminal. */
static void check_console(const struct raw_device *device, struct config_diagnostics *diags)
{
    const struct raw_value *log = &device->values[CONFIG_KEY_LOG_PATH];
    const struct raw_value *ports = &device->values[CONFIG_KEY_PORTS];
    const struct raw_value *log_size = &device->values[CONFIG_KEY_LOG_SIZE];
    if (!log->given && log_size->given)
        config_error(diags, log_size->key_mark,
                     "log_size without log_path; expected the name of a file whose size it bounds");
    if (!log->given)
        return;
    if (device->values[CONFIG_KEY_PTY_ALIAS].given)
        config_error(
            diags, log->key_mark,
            "log_path beside pty_alias; expected one of them: a console's output goes to a "
            "file or to a terminal");
    if (ports->valid && ports->number > 1)
        config_error(diags, log->key_mark,
                     "log_path for a console of %" PRIu64 " ports; expected no ports but one",
                     ports->number);
}

/* A socket also replaces the console's only terminal. */
static void check_console_socket(const struct raw_device *device, struct config_diagnostics *diags)
{
    static const enum config_key others[] = {CONFIG_KEY_PTY_ALIAS, CONFIG_KEY_LOG_PATH};
    const struct raw_value *path = &device->values[CONFIG_KEY_SOCKET_PATH];
    const struct raw_value *ports = &device->values[CONFIG_KEY_PORTS];
    if (!path->given)
        return;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (device->values[others[i]].given)
            config_error(diags, path->key_mark,
                         "socket_path beside %s; expected one of them: a console is a socket, a "
                         "terminal or a file",
                         key_infos[others[i]].name);
    }
    if (ports->valid && ports->number > 1)
        config_error(diags, path->key_mark,
                     "socket_path for a console of %" PRIu64 " ports; expected no ports but one",
                     ports->number);
}

/* Checks everything about a device whose kind is known. Returns the kind, or the kind that replaces
 * it. */
static enum device_kind check_kind(const struct raw_device *device, enum device_kind kind,
                                   struct config_diagnostics *diags)
{
    check_foreign(device, kind, diags);
    if (config_kind_has(kind, CONFIG_KEY_CACHE))
        check_cache(device, diags);
    if (config_kind_has(kind, CONFIG_KEY_LOG_PATH)) {
        check_console(device, diags);
        check_console_socket(device, diags);
    }
    check_numbers(device, kind, diags);
    if (device->complete)
        check_missing(device, COMMON_REQUIRED | kind_keys[kind].required, diags);
    bool socket = device->values[CONFIG_KEY_SOCKET_PATH].given;
    bool ring = device->values[CONFIG_KEY_IO_ENGINE].number != 0;
    if (socket || ring)
        kind = replaced(kind, socket, ring);
    config_check_values(device, kind, diags);
    return kind;
}

enum device_kind config_check_device(const struct raw_device *device,
                                     struct config_diagnostics *diags)
{
    const struct raw_value *type = &device->values[CONFIG_KEY_TYPE];
    const struct raw_value *data_plane = &device->values[CONFIG_KEY_DATA_PLANE];

    note_outdated(device, diags);
    size_t kind = type->valid ? find_kind(type, data_plane, diags) : DEVICE_KINDS;
    if (kind < DEVICE_KINDS)
        return check_kind(device, (enum device_kind)kind, diags);
    if (device->complete)
        check_missing(device, COMMON_REQUIRED, diags);
    return DEVICE_KINDS;
}
