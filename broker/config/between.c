/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the devices against each other, and against what the dispatcher says. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "broker/config/internal.h"

static void check_duplicate(const struct raw_device *first, const struct raw_device *second,
                            enum config_key key, struct config_diagnostics *diags)
{
    const struct raw_value *a = &first->values[key], *b = &second->values[key];
    if (a->valid && b->valid && a->number == b->number)
        config_error(diags, b->mark,
                     "%s %" PRIu64 " a second time; expected another than that of the device in "
                     "line %u",
                     key_infos[key].name, b->number, first->mark.line);
}

/*
 * Only the hypervisor knows to which frontend a device belongs. Two frontends may have devices at
 * the same address, since each has an address space of its own; published files do this. So equal
 * addresses are an error only if the devices also share a window, since a window belongs to one
 * frontend. Register windows that overlap in part are an error in any case.
 */
static void check_registers(const struct raw_device *first, const struct raw_device *second,
                            struct config_diagnostics *diags)
{
    const struct raw_value *a = &first->values[CONFIG_KEY_MMIO_ADDR];
    const struct raw_value *b = &second->values[CONFIG_KEY_MMIO_ADDR];
    if (!a->valid || !b->valid)
        return;
    uint64_t distance = a->number > b->number ? a->number - b->number : b->number - a->number;
    if (distance > 0 && distance < CONFIG_REGISTERS_SIZE)
        config_error(diags, b->mark,
                     "registers at 0x%" PRIx64
                     " overlap those of the device in line %u at 0x%" PRIx64
                     "; expected a distance of at least 0x%x bytes",
                     b->number, first->mark.line, a->number, CONFIG_REGISTERS_SIZE);

    const struct raw_value *a_window = &first->values[CONFIG_KEY_SHMEM_ADDR];
    const struct raw_value *b_window = &second->values[CONFIG_KEY_SHMEM_ADDR];
    if (distance == 0 && a_window->valid && b_window->valid && a_window->number == b_window->number)
        config_error(diags, b->mark,
                     "registers at 0x%" PRIx64 " a second time; expected another address than that "
                     "of the device in line %u, which has the same shmem_addr and so the same "
                     "frontend",
                     b->number, first->mark.line);
}

static void check_overlap(uint64_t registers, struct config_mark mark, uint64_t memory,
                          uint64_t size, struct config_diagnostics *diags)
{
    uint64_t registers_end = registers + (CONFIG_REGISTERS_SIZE - 1);
    if (registers_end >= memory && (registers < memory || registers - memory < size))
        config_error(diags, mark,
                     "registers at 0x%" PRIx64 " overlap the shared memory of 0x%" PRIx64
                     " bytes at 0x%" PRIx64 "; expected an address outside of it",
                     registers, size, memory);
}

/* Checks the device against the window that the file itself gives. */
static void check_own_window(const struct raw_device *device, struct config_diagnostics *diags)
{
    const struct raw_value *registers = &device->values[CONFIG_KEY_MMIO_ADDR];
    const struct raw_value *memory = &device->values[CONFIG_KEY_SHMEM_ADDR];
    const struct raw_value *size = &device->values[CONFIG_KEY_SHMEM_SIZE];
    if (registers->valid && memory->valid && size->valid)
        check_overlap(registers->number, registers->mark, memory->number, size->number, diags);
}

/* --- Names of files --- */

/* The device's names, made from the text of its key. */
static bool raw_names(const struct raw_device *device, enum device_kind kind,
                      enum config_key *ret_key, struct config_names *ret)
{
    const struct raw_value *values = device->values;
    const struct raw_value *type = &values[CONFIG_KEY_TYPE], *ports = &values[CONFIG_KEY_PORTS];
    uint32_t virtio_id;
    char daemon[PATH_MAX];
    *ret_key = CONFIG_KEYS;
    /* A console has one of several such keys. A file with two of them is wrong, so either will do.
     */
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        if (config_is_path(kind, key) && values[key].valid)
            *ret_key = key;
    }
    if (*ret_key == CONFIG_KEYS)
        return false;
    const char *path = values[*ret_key].text;
    if (device_kinds[kind].daemon && !config_daemon_named(path)) {
        if (!values[CONFIG_KEY_ID].valid ||
            config_daemon_socket(path, type_find(type->text, &virtio_id)->name,
                                 (uint32_t)values[CONFIG_KEY_ID].number, daemon) < 0)
            return false;
        path = daemon;
    }
    return config_names_from(path, config_scheme_of(kind, *ret_key),
                             ports->valid ? (uint32_t)ports->number : 1, ret);
}

static bool both_read(const struct raw_device *first, const struct raw_device *second,
                      enum config_key key)
{
    return key == CONFIG_KEY_FILE_PATH && first->values[CONFIG_KEY_READ_ONLY].number != 0 &&
           second->values[CONFIG_KEY_READ_ONLY].number != 0;
}

static void check_names(const struct raw_config *raw, const enum device_kind *kinds, size_t i,
                        size_t j, struct config_diagnostics *diags)
{
    struct config_names a, b;
    enum config_key a_key, b_key;
    char name[CONFIG_NAME_SIZE];
    const struct raw_device *first = &raw->devices[i], *second = &raw->devices[j];
    if (!raw_names(first, kinds[i], &a_key, &a) || !raw_names(second, kinds[j], &b_key, &b) ||
        strcmp(a.directory, b.directory) != 0 || !config_names_meet(&a, &b, name) ||
        (a_key == b_key && both_read(first, second, a_key)))
        return;
    const struct raw_value *value = &second->values[b_key];
    if (a_key == b_key && strcmp(a.name, b.name) == 0)
        config_error(diags, value->mark,
                     "%s \"%s\" a second time; expected another than that of the device in line "
                     "%u%s",
                     key_infos[b_key].name, config_quote(value->text).text, first->mark.line,
                     b_key == CONFIG_KEY_FILE_PATH ? ", or read_only: true for both" : "");
    else
        config_error(diags, value->mark,
                     "%s \"%s\" and %s \"%s\" of the device in line %u both stand for the name "
                     "\"%s\"; expected another path for one of them",
                     key_infos[b_key].name, config_quote(value->text).text, key_infos[a_key].name,
                     config_quote(first->values[a_key].text).text, first->mark.line,
                     config_quote(name).text);
}

/* --- Network interfaces --- */

static void check_tap(const struct raw_device *first, const struct raw_device *second,
                      struct config_diagnostics *diags)
{
    const struct raw_value *a = &first->values[CONFIG_KEY_TAP_NAME];
    const struct raw_value *b = &second->values[CONFIG_KEY_TAP_NAME];
    if (a->valid && b->valid && strcmp(a->text, b->text) == 0)
        config_error(diags, b->mark,
                     "tap_name \"%s\" a second time; expected another than that of the device in "
                     "line %u",
                     config_quote(b->text).text, first->mark.line);
}

static bool raw_mac(const struct raw_device *device, uint8_t ret[6])
{
    const struct raw_value *mac = &device->values[CONFIG_KEY_MAC_ADDR];
    const struct raw_value *id = &device->values[CONFIG_KEY_ID];
    if (mac->given)
        return mac->valid && config_mac(mac->text, ret);
    config_default_mac((uint32_t)id->number, ret);
    return id->valid;
}

/* This is not an error: published files have it, for two frontends that share no network. */
static void note_mac(const struct raw_device *first, const struct raw_device *second,
                     struct config_diagnostics *diags)
{
    const struct raw_value *a = &first->values[CONFIG_KEY_MAC_ADDR];
    const struct raw_value *b = &second->values[CONFIG_KEY_MAC_ADDR];
    const struct raw_device *other = b->given ? first : second;
    uint8_t a_mac[6], b_mac[6];
    if (raw_mac(first, a_mac) && raw_mac(second, b_mac) && memcmp(a_mac, b_mac, 6) == 0)
        config_note(diags, b->given ? b->mark : a->mark,
                    "mac_addr %s is that of the device in line %u, too: it needs another if their "
                    "taps are in one network",
                    b->given ? b->text : a->text, other->mark.line);
}

void config_check_between(const struct raw_config *raw, const enum device_kind *kinds,
                          struct config_diagnostics *diags)
{
    static const enum config_key unique[] = {CONFIG_KEY_ID, CONFIG_KEY_GUEST_CID};
    for (size_t j = 0; j < raw->device_count; j++) {
        const struct raw_device *second = &raw->devices[j];
        check_own_window(second, diags);
        for (size_t i = 0; i < j; i++) {
            const struct raw_device *first = &raw->devices[i];
            for (size_t k = 0; k < sizeof(unique) / sizeof(unique[0]); k++)
                check_duplicate(first, second, unique[k], diags);
            check_registers(first, second, diags);
            check_names(raw, kinds, i, j, diags);
            check_tap(first, second, diags);
            if (config_kind_has(kinds[i], CONFIG_KEY_MAC_ADDR) &&
                config_kind_has(kinds[j], CONFIG_KEY_MAC_ADDR))
                note_mac(first, second, diags);
        }
    }
}

/* --- What the dispatcher says --- */

static void check_window(const struct device_config *device, const struct config_window *window,
                         struct config_diagnostics *diags)
{
    if (config_has(device, CONFIG_KEY_SHMEM_ADDR) && device->shmem_addr != window->shmem_addr)
        config_error(diags, device->marks[CONFIG_KEY_SHMEM_ADDR],
                     "shmem_addr 0x%" PRIx64 " contradicts the dispatcher; expected 0x%" PRIx64
                     ", or no such key",
                     device->shmem_addr, window->shmem_addr);
    if (config_has(device, CONFIG_KEY_SHMEM_SIZE) && device->shmem_size != window->shmem_size)
        config_error(diags, device->marks[CONFIG_KEY_SHMEM_SIZE],
                     "shmem_size 0x%" PRIx64 " contradicts the dispatcher; expected 0x%" PRIx64
                     ", or no such key",
                     device->shmem_size, window->shmem_size);

    check_overlap(device->mmio_addr, device->marks[CONFIG_KEY_MMIO_ADDR], window->shmem_addr,
                  window->shmem_size, diags);
}

int config_check_windows(const struct config *config, const struct config_window *windows,
                         struct config_diagnostics *diags)
{
    *diags = (struct config_diagnostics){0};
    for (size_t j = 0; j < config->device_count; j++) {
        const struct device_config *device = &config->devices[j];
        if (windows[j].shmem_size == 0)
            continue;
        check_window(device, &windows[j], diags);
        for (size_t i = 0; i < j; i++) {
            if (windows[i].shmem_size > 0 && windows[i].shmem_addr == windows[j].shmem_addr &&
                config->devices[i].mmio_addr == device->mmio_addr)
                config_error(diags, device->marks[CONFIG_KEY_MMIO_ADDR],
                             "registers at 0x%" PRIx64 " a second time; expected another address "
                             "than that of the device in line %u, which shares memory with the "
                             "same frontend",
                             device->mmio_addr, config->devices[i].mark.line);
        }
    }
    return diags->errors > 0 ? -EINVAL : 0;
}
