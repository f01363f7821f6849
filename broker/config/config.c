/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config/internal.h"
#include "broker/shared_page.h"

static const struct config_mark whole_file = {0};

/* Report why the file can't be read; returns `error`. */
static int cannot_read(struct config_diagnostics *diags, int error)
{
    config_error(diags, whole_file, "cannot be read: %s; expected a YAML file that can be opened",
                 strerror(-error));
    return error;
}

static int read_all(int fd, char *data, size_t room, size_t *ret_size)
{
    size_t size = 0;
    while (size < room) {
        ssize_t count = read(fd, data + size, room - size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        if (count == 0)
            break;
        size += (size_t)count;
    }
    *ret_size = size;
    return 0;
}

/* `data` has room for one byte more than a file may have, so that a larger file is detected. */
static int read_file(int fd, char *data, size_t *ret_size, struct config_diagnostics *diags)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return cannot_read(diags, -errno);
    if (S_ISDIR(status.st_mode))
        return cannot_read(diags, -EISDIR);
    if (!S_ISREG(status.st_mode)) {
        config_error(diags, whole_file, "not a regular file; expected a YAML file");
        return -EINVAL;
    }
    int result = read_all(fd, data, CONFIG_FILE_SIZE_MAX + 1, ret_size);
    if (result < 0)
        return cannot_read(diags, result);
    if (*ret_size > CONFIG_FILE_SIZE_MAX) {
        config_error(diags, whole_file, "larger than %u bytes; expected a YAML file of devices",
                     CONFIG_FILE_SIZE_MAX);
        return -EFBIG;
    }
    return 0;
}

static uint8_t digit(char character)
{
    return (uint8_t)(character <= '9' ? character - '0' : (character | 0x20) - 'a' + 10);
}

/* Fill in what only the device of a daemon has. If the file does not say, the type's own numbers
 * count. */
static void add_type(struct device_config *device, const struct raw_value *values)
{
    const struct virtio_type *type = type_find(values[CONFIG_KEY_TYPE].text, &device->virtio_id);
    const char *bytes = values[CONFIG_KEY_CONFIG].text;
    const struct raw_value *config_size = &values[CONFIG_KEY_CONFIG_SIZE];
    device->type_name = type->name;
    if (device_kinds[device->kind].virtio_id != 0)
        return;
    if (device->queues == 0)
        device->queues = type->queues;
    device->config_size = config_size->given ? (uint32_t)config_size->number : type->config_size;
    for (size_t i = 0; bytes && bytes[i] != '\0'; i += 2)
        device->config[device->config_bytes++] =
            (uint8_t)(digit(bytes[i]) << 4 | digit(bytes[i + 1]));
}

/* FNV-1a, 64 bits. It need not resist an attack: nobody who could gain from a collision can choose
 * the input. */
static uint64_t digest_add(uint64_t digest, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ bytes[i]) * UINT64_C(0x100000001b3);
    return digest;
}

/* Every key counts, also keys that are added later: a backend that was opened by another text is
 * opened again. */
static uint64_t digest_of(const struct raw_value *values)
{
    uint64_t digest = digest_add(UINT64_C(0xcbf29ce484222325), BVDM_VERSION, sizeof(BVDM_VERSION));
    for (size_t key = 0; key < CONFIG_KEYS; key++) {
        const struct raw_value *value = &values[key];
        const char *text = value->text ? value->text : "";
        digest = digest_add(digest, &value->given, sizeof(value->given));
        digest = digest_add(digest, &value->number, sizeof(value->number));
        digest = digest_add(digest, text, strlen(text) + 1);
    }
    return digest;
}

/* Combine `cache` and advertise_flush; check.c has checked that they agree. */
static void add_cache(struct device_config *device, const struct raw_value *values)
{
    const struct raw_value *flush = &values[CONFIG_KEY_ADVERTISE_FLUSH];
    const struct raw_value *cache = &values[CONFIG_KEY_CACHE];
    device->advertise_flush =
        flush->given ? flush->number != 0 : cache->number != CONFIG_CACHE_WRITETHROUGH;
    device->cache = cache->given              ? (enum config_cache)cache->number
                    : device->advertise_flush ? CONFIG_CACHE_WRITEBACK
                                              : CONFIG_CACHE_WRITETHROUGH;
}

/* Make a valid device, without the strings; the caller moves them. */
static struct device_config to_device(const struct raw_device *raw, enum device_kind kind)
{
    const struct raw_value *values = raw->values;
    const struct raw_value *ports = &values[CONFIG_KEY_PORTS];
    const struct raw_value *log_size = &values[CONFIG_KEY_LOG_SIZE];
    const struct raw_value *connections = &values[CONFIG_KEY_CONNECTIONS];
    const struct raw_value *poll_us = &values[CONFIG_KEY_POLL_US];
    struct device_config device = {
        .kind = kind,
        .id = (uint32_t)values[CONFIG_KEY_ID].number,
        .mmio_addr = values[CONFIG_KEY_MMIO_ADDR].number,
        .shmem_addr = values[CONFIG_KEY_SHMEM_ADDR].number,
        .shmem_size = values[CONFIG_KEY_SHMEM_SIZE].number,
        .irq = (uint32_t)values[CONFIG_KEY_IRQ].number,
        .read_only = values[CONFIG_KEY_READ_ONLY].number != 0,
        .direct = values[CONFIG_KEY_DIRECT].number != 0,
        .guest_cid = (uint32_t)values[CONFIG_KEY_GUEST_CID].number,
        .connections = connections->given                       ? (uint32_t)connections->number
                       : device_kinds[kind].connections_max > 0 ? CONNECTIONS_DEFAULT
                                                                : 0,
        .mtu = (uint32_t)values[CONFIG_KEY_MTU].number,
        .log_size = log_size->given ? log_size->number : CONFIG_LOG_SIZE,
        .ports = ports->given ? (uint32_t)ports->number : 1,
        .rate_limit = (uint32_t)values[CONFIG_KEY_RATE_LIMIT].number,
        .queues = (uint32_t)values[CONFIG_KEY_QUEUES].number,
        .queue_size = (uint32_t)values[CONFIG_KEY_QUEUE_SIZE].number,
        .features_off = features_off(values[CONFIG_KEY_FEATURES_OFF].number),
        .processors = values[CONFIG_KEY_CPU_AFFINITY].number,
        .sched_priority = (uint32_t)values[CONFIG_KEY_SCHED].number,
        .poll_us = poll_us->given ? (uint32_t)poll_us->number : CONFIG_POLL_US,
        .irq_delay_us = (uint32_t)values[CONFIG_KEY_IRQ_DELAY_US].number,
        .digest = digest_of(values),
        .mark = raw->mark,
    };
    for (size_t key = 0; key < CONFIG_KEYS; key++)
        device.marks[key] = values[key].mark;
    add_cache(&device, values);
    add_type(&device, values);
    return device;
}

static void take_texts(struct raw_value *values, struct device_config *device)
{
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        char **text = key_text(device, key);
        if (!text)
            continue;
        *text = values[key].text;
        values[key].text = NULL;
    }
}

static void free_texts(struct device_config *device)
{
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        char **text = key_text(device, key);
        if (text)
            free(*text);
    }
}

/* Check, and if there is no error, turn raw devices into a configuration, which takes their
 * strings. */
static int convert(const char *path, struct raw_config *raw, struct config *ret,
                   struct config_diagnostics *diags)
{
    enum device_kind kinds[BAO_DEVICES_MAX] = {0};
    for (size_t i = 0; i < raw->device_count; i++)
        kinds[i] = config_check_device(&raw->devices[i], diags);
    config_check_between(raw, kinds, diags);
    if (diags->errors > 0)
        return -EINVAL;

    struct config config = {.path = strdup(path), .device_count = raw->device_count};
    if (!config.path)
        return cannot_read(diags, -ENOMEM);
    for (size_t i = 0; i < raw->device_count; i++) {
        struct raw_value *values = raw->devices[i].values;
        config.devices[i] = to_device(&raw->devices[i], kinds[i]);
        take_texts(values, &config.devices[i]);
    }
    *ret = config;
    return 0;
}

int config_parse(const char *path, const char *data, size_t size, struct config *ret,
                 struct config_diagnostics *diags)
{
    *diags = (struct config_diagnostics){0};
    struct raw_config raw = {0};
    int result = config_parse_yaml(data, size, &raw, diags);
    if (result < 0)
        cannot_read(diags, result);
    else
        result = convert(path, &raw, ret, diags);
    config_raw_free(&raw);
    return result;
}

static int open_file(const char *path, struct config_diagnostics *diags)
{
    *diags = (struct config_diagnostics){0};
    /* O_NONBLOCK: a FIFO without a writer is refused, and we do not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? cannot_read(diags, -errno) : fd;
}

int config_read_text(const char *path, struct config_diagnostics *diags)
{
    int fd = open_file(path, diags);
    if (fd < 0)
        return fd;
    char *data = malloc(CONFIG_FILE_SIZE_MAX + 1);
    size_t size = 0;
    int result = data ? read_file(fd, data, &size, diags) : cannot_read(diags, -ENOMEM);
    if (result == 0) {
        result = shared_page_of_text("configuration", data, size);
        if (result < 0)
            cannot_read(diags, result);
    }
    free(data);
    close(fd);
    return result;
}

int config_load_text(int fd, const char *path, struct config *ret, struct config_diagnostics *diags)
{
    *diags = (struct config_diagnostics){0};
    struct stat status;
    if (fstat(fd, &status) < 0)
        return cannot_read(diags, -errno);
    size_t size = (size_t)status.st_size;
    if (size == 0)
        return config_parse(path, "", 0, ret, diags);
    /* mmap and not read: all processes that have the file share one file position. */
    const char *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return cannot_read(diags, -errno);
    int result = config_parse(path, data, size, ret, diags);
    munmap((void *)data, size);
    return result;
}

int config_load(const char *path, struct config *ret, struct config_diagnostics *diags)
{
    int fd = config_read_text(path, diags);
    if (fd < 0)
        return fd;
    int result = config_load_text(fd, path, ret, diags);
    close(fd);
    return result;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < config->device_count; i++)
        free_texts(&config->devices[i]);
    free(config->path);
    *config = (struct config){0};
}

const struct device_config *config_device(const struct config *config, uint32_t id)
{
    for (size_t i = 0; i < config->device_count; i++) {
        if (config->devices[i].id == id)
            return &config->devices[i];
    }
    return NULL;
}

bool config_has(const struct device_config *device, enum config_key key)
{
    return device->marks[key].line > 0;
}

const char *config_where(const struct config *config, const struct device_config *device,
                         enum config_key key, char buffer[CONFIG_WHERE_SIZE])
{
    struct config_mark mark = config_has(device, key) ? device->marks[key] : device->mark;
    snprintf(buffer, CONFIG_WHERE_SIZE, "%s:%u:%u:", config->path, mark.line, mark.column);
    return buffer;
}
