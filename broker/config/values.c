/* SPDX-License-Identifier: Apache-2.0 */
/* Checks values that their key allows, but that no kernel would accept. */
#include <stdlib.h>
#include <string.h>

#include "broker/config/internal.h"

/* --- Network interfaces ---------------------------------------------------------------------- */

bool config_mac(const char *text, uint8_t ret[6])
{
    static const uint8_t none[6];
    for (size_t i = 0; i < 6; i++)
        ret[i] = (uint8_t)strtoul(text + 3 * i, NULL, 16);
    return (ret[0] & 1) == 0 && memcmp(ret, none, sizeof(none)) != 0;
}

void config_default_mac(uint32_t id, uint8_t ret[6])
{
    const uint8_t mac[6] = {0x02, 'b', 'a', 'o', 0x00, (uint8_t)id};
    memcpy(ret, mac, sizeof(mac));
}

static void check_mac(const struct raw_value *mac, struct config_diagnostics *diags)
{
    uint8_t bytes[6];
    if (mac->valid && !config_mac(mac->text, bytes))
        config_error(diags, mac->mark,
                     "mac_addr %s is no address of one device; expected a first byte that is even, "
                     "and not only zeros, for example 52:54:00:12:34:56",
                     mac->text);
}

/* The kernel's rule for names (dev_valid_name), in which 0xa0 counts as a blank, too. Also excluded
 * are the names that every namespace has, and "%", which asks the kernel for a number. */
static bool is_interface(const char *name)
{
    static const char *const taken[] = {".", "..", "lo", "all", "default"};
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (strcmp(name, taken[i]) == 0)
            return false;
    }
    for (; *name != '\0'; name++) {
        if (strchr("/:% ", *name) || (unsigned char)*name == 0xa0)
            return false;
    }
    return true;
}

static void check_tap(const struct raw_value *tap, struct config_diagnostics *diags)
{
    if (tap->valid && !is_interface(tap->text))
        config_error(diags, tap->mark,
                     "tap_name \"%s\" can't be the name of a tap; expected one without blanks, "
                     "\"/\", \":\" and \"%%\", and not \".\", \"..\", lo, all or default",
                     config_quote(tap->text).text);
}

/* --- Paths ----------------------------------------------------------------------------------- */

/* The longest text that the device itself appends to a path. */
static size_t appended(const struct raw_device *device, enum config_key key)
{
    const struct raw_value *ports = &device->values[CONFIG_KEY_PORTS];
    if (key == CONFIG_KEY_LOG_PATH)
        return strlen(".1");
    return key == CONFIG_KEY_PTY_ALIAS && ports->valid && ports->number > 1 ? strlen(".6") : 0;
}

/* The longest part between two "/". */
static size_t longest_part(const char *path)
{
    size_t longest = 0;
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if (length > longest)
            longest = length;
        path += length;
        path += strspn(path, "/");
    }
    return longest;
}

static bool is_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    return last[0] == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
}

static void check_path(const struct raw_device *device, enum config_key key, size_t length_max,
                       struct config_diagnostics *diags)
{
    const struct raw_value *value = &device->values[key];
    size_t more = appended(device, key);
    if (!value->valid)
        return;
    size_t length = strlen(value->text), part = longest_part(value->text);
    if (is_directory(value->text))
        config_error(diags, value->mark, "%s \"%s\" is the name of a directory; expected %s",
                     key_infos[key].name, config_quote(value->text).text, key_infos[key].expected);
    else if (length > length_max - more)
        config_error(diags, value->mark,
                     "%s is %zu bytes long; expected at most %zu: the kernel takes no longer names",
                     key_infos[key].name, length, length_max - more);
    else if (part > NAME_MAX - more)
        config_error(
            diags, value->mark,
            "%s has %zu bytes between two \"/\"; expected at most %zu: the kernel takes no "
            "longer names",
            key_infos[key].name, part, NAME_MAX - more);
}

/*
 * A path that does not end in ".sock" may be the socket itself, or the beginning of its name. So it
 * is an error only if it can be neither.
 */
static void check_daemon(const struct raw_device *device, struct config_diagnostics *diags)
{
    const struct raw_value *value = &device->values[CONFIG_KEY_SOCKET_PATH];
    if (!value->valid)
        return;
    const char *slash = strrchr(value->text, '/');
    size_t name = strlen(slash ? slash + 1 : value->text);
    if (name > CONFIG_DAEMON_NAME_MAX)
        config_error(
            diags, value->mark,
            "socket_path ends in a name of %zu bytes; expected at most %u: the kernel takes "
            "no longer names of sockets",
            name, CONFIG_DAEMON_NAME_MAX);
    else if (longest_part(value->text) > NAME_MAX)
        config_error(diags, value->mark,
                     "socket_path has %zu bytes between two \"/\"; expected at most %u: the kernel "
                     "takes no longer names",
                     longest_part(value->text), NAME_MAX);
}

static size_t path_length_max(enum device_kind kind, enum config_key key)
{
    if (key != CONFIG_KEY_SOCKET_PATH)
        return PATH_MAX - 1;
    return config_scheme_of(kind, key) == CONFIG_SCHEME_VSOCK ? CONFIG_VSOCK_PATH_MAX
                                                              : CONFIG_SOCKET_PATH_MAX;
}

void config_check_values(const struct raw_device *device, enum device_kind kind,
                         struct config_diagnostics *diags)
{
    if (config_kind_has(kind, CONFIG_KEY_TAP_NAME)) {
        check_mac(&device->values[CONFIG_KEY_MAC_ADDR], diags);
        check_tap(&device->values[CONFIG_KEY_TAP_NAME], diags);
    }
    if (device_kinds[kind].daemon) {
        check_daemon(device, diags);
        return;
    }
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        if (config_is_path(kind, key))
            check_path(device, key, path_length_max(kind, key), diags);
    }
}
