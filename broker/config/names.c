/* SPDX-License-Identifier: Apache-2.0 */
/* Which names of files a device's path stands for, and whether two devices have a name in
 * common. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/internal.h"
#include "common/control.h"

#define DAEMON_SUFFIX ".sock"

bool config_daemon_named(const char *given)
{
    size_t length = strlen(given), tail = strlen(DAEMON_SUFFIX);
    return length >= tail && strcmp(given + length - tail, DAEMON_SUFFIX) == 0;
}

int config_daemon_socket(const char *given, const char *type_name, uint32_t id, char ret[PATH_MAX])
{
    int first = toupper((unsigned char)type_name[0]); /* of 9p it is 9 */
    int length = snprintf(ret, PATH_MAX, "%s%c%s%u" DAEMON_SUFFIX, given, first, type_name + 1, id);
    return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* --- A path, as text ------------------------------------------------------------------------- */

/* The beginning of the last part of a path. */
static char *last_part(char *path)
{
    char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Append a part to a path that has no "." and "//"; ".." removes the part before it. */
static void add_part(char *path, const char *part, size_t length)
{
    size_t used = strlen(path);
    const char *last = last_part(path);
    bool is_up = length == 2 && memcmp(part, "..", 2) == 0;
    if (length == 0 || (length == 1 && part[0] == '.'))
        return;
    if (is_up && used > 0 && strcmp(last, "..") != 0) {
        size_t rest = (size_t)(last - path);
        path[rest > 1 ? rest - 1 : rest] = '\0';
        return;
    }
    if (used > 0 && path[used - 1] != '/')
        path[used++] = '/';
    memcpy(path + used, part, length);
    path[used + length] = '\0';
}

bool config_names_from(const char *path, enum config_scheme scheme, uint32_t ports,
                       struct config_names *ret)
{
    char whole[PATH_MAX + 1] = "";
    size_t given = strlen(path);
    if (given >= PATH_MAX || (given > 0 && path[given - 1] == '/'))
        return false;
    *ret = (struct config_names){.scheme = scheme, .ports = ports};
    if (path[0] == '/')
        strcpy(whole, "/");
    for (const char *part = path; *part != '\0';) {
        size_t length = strcspn(part, "/");
        add_part(whole, part, length);
        part += length;
        part += strspn(part, "/");
    }
    char *name = last_part(whole);
    stpcpy(ret->name, name);
    *name = '\0';
    size_t length = strlen(whole);
    if (length > 1)
        whole[length - 1] = '\0';
    stpcpy(ret->directory, length > 0 ? whole : ".");
    return ret->name[0] != '\0' && strcmp(ret->name, "..") != 0;
}

/* --- What a device makes of it --------------------------------------------------------------- */

bool config_is_path(enum device_kind kind, enum config_key key)
{
    return config_kind_has(kind, key) && key_is_path(key);
}

/* In user space, a frontend that connects to ports has a socket for each port. */
enum config_scheme config_scheme_of(enum device_kind kind, enum config_key key)
{
    return device_kinds[kind].connections_max > 0 ? CONFIG_SCHEME_VSOCK : key_infos[key].scheme;
}

bool config_names_of(const struct device_config *device, const char *path, enum config_key *ret_key,
                     struct config_names *ret)
{
    *ret_key = CONFIG_KEYS;
    for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
        if (config_is_path(device->kind, key) && config_has(device, key))
            *ret_key = key;
    }
    if (*ret_key == CONFIG_KEYS)
        return false;
    return config_names_from(path ? path : config_path(device, *ret_key),
                             config_scheme_of(device->kind, *ret_key), device->ports, ret);
}

const char *config_path(const struct device_config *device, enum config_key key)
{
    return key_is_path(key) ? *key_text((struct device_config *)device, key) : NULL;
}

bool config_path_is_made(enum config_key key)
{
    return key_infos[key].type == VALUE_NAME;
}

const char *config_key_name(enum config_key key)
{
    return key_infos[key].name;
}

const char *config_file_word(enum config_key key)
{
    return key_infos[key].file;
}

bool config_may_share(const struct device_config *a, const struct device_config *b)
{
    /* Only images are read_only. They may differ in their io_engine, and so in kind. */
    return a->read_only && b->read_only;
}

/* The name with this number, not counting the names of ports. False: there is no such number. */
static bool name_number(const struct config_names *names, uint32_t number,
                        char ret[CONFIG_NAME_SIZE])
{
    static const char *const second[] = {
        [CONFIG_SCHEME_VSOCK] = "_seqpacket",
        [CONFIG_SCHEME_LOG] = ".1",
    };
    int used = snprintf(ret, CONFIG_NAME_SIZE, "%s", names->name);
    size_t room = CONFIG_NAME_SIZE - (size_t)used;
    switch (names->scheme) {
    case CONFIG_SCHEME_ONE:
        return number == 0;
    case CONFIG_SCHEME_ALIAS:
        if (number > 0)
            snprintf(ret + used, room, ".%u", number);
        return number < names->ports;
    case CONFIG_SCHEME_VSOCK:
    case CONFIG_SCHEME_LOG:
        if (number == 1)
            snprintf(ret + used, room, "%s", second[names->scheme]);
        return number <= 1;
    }
    return false;
}

/* Could the frontend of a vsock device choose a port that makes this name ("guest_52")? */
static bool is_port_of(const struct config_names *names, const char *name)
{
    size_t length = strlen(names->name);
    if (names->scheme != CONFIG_SCHEME_VSOCK || strncmp(name, names->name, length) != 0 ||
        name[length] != '_')
        return false;
    const char *digits = name + length + 1;
    size_t count = strspn(digits, "0123456789");
    return count > 0 && digits[count] == '\0' && (digits[0] != '0' || count == 1) &&
           strtoull(digits, NULL, 10) <= UINT32_MAX; /* of too many digits it makes ULLONG_MAX */
}

static bool has_name(const struct config_names *names, const char *name)
{
    char own[CONFIG_NAME_SIZE];
    for (uint32_t i = 0; name_number(names, i, own); i++) {
        if (strcmp(own, name) == 0)
            return true;
    }
    return is_port_of(names, name);
}

bool config_names_meet(const struct config_names *a, const struct config_names *b,
                       char ret_name[CONFIG_NAME_SIZE])
{
    for (uint32_t i = 0; name_number(a, i, ret_name); i++) {
        if (has_name(b, ret_name))
            return true;
    }
    for (uint32_t i = 0; name_number(b, i, ret_name); i++) {
        if (has_name(a, ret_name))
            return true;
    }
    return false;
}

/* --- The control socket ---------------------------------------------------------------------- */

bool config_names_given(const struct device_config *device, enum config_key *ret_key,
                        struct config_names *ret)
{
    char daemon[PATH_MAX];
    const char *path = NULL;
    if (device_kinds[device->kind].daemon && !config_daemon_named(device->socket_path) &&
        config_daemon_socket(device->socket_path, device->type_name, device->id, daemon) == 0)
        path = daemon;
    return config_names_of(device, path, ret_key, ret);
}

static bool control_is_device(const struct config_names *control,
                              const struct device_config *device, enum config_key *ret_key,
                              char ret_name[CONFIG_NAME_SIZE])
{
    struct config_names names;
    return config_names_given(device, ret_key, &names) &&
           strcmp(names.directory, control->directory) == 0 &&
           config_names_meet(&names, control, ret_name);
}

/* Every bao-virtio-dm has its control socket in that directory, and looks there who has which
 * device. */
static void check_control_directory(const struct device_config *device,
                                    struct config_diagnostics *diags)
{
    struct config_names names;
    enum config_key key;
    if (config_names_given(device, &key, &names) && strcmp(names.directory, CONTROL_DIRECTORY) == 0)
        config_error(diags, device->marks[key],
                     "%s \"%s\" is in " CONTROL_DIRECTORY
                     ", which is for control sockets; expected "
                     "another directory",
                     key_infos[key].name, config_quote(config_path(device, key)).text);
}

int config_check_control(const struct config *config, const char *path,
                         struct config_diagnostics *diags)
{
    const struct config_mark whole_file = {0};
    struct config_names control;
    char name[CONFIG_NAME_SIZE];
    enum config_key key;
    *diags = (struct config_diagnostics){0};
    if (strlen(path) > CONFIG_SOCKET_PATH_MAX) {
        config_error(
            diags, whole_file,
            "the control socket \"%s\" (--control) is %zu bytes long; expected at most %u: "
            "the kernel takes no longer names of sockets",
            config_quote(path).text, strlen(path), CONFIG_SOCKET_PATH_MAX);
        return -EINVAL;
    }
    if (!config_names_from(path, CONFIG_SCHEME_ONE, 0, &control)) {
        config_error(diags, whole_file,
                     "the control socket \"%s\" (--control) is the name of a directory; expected "
                     "that of a socket",
                     config_quote(path).text);
        return -EINVAL;
    }
    for (size_t i = 0; i < config->device_count; i++) {
        const struct device_config *device = &config->devices[i];
        check_control_directory(device, diags);
        if (control_is_device(&control, device, &key, name))
            config_error(diags, device->marks[key],
                         "%s \"%s\" and the control socket (--control) \"%s\" both stand for the "
                         "name \"%s\"; expected another path for one of them",
                         key_infos[key].name, config_quote(config_path(device, key)).text,
                         config_quote(path).text, config_quote(name).text);
    }
    return diags->errors > 0 ? -EINVAL : 0;
}
