/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/places.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/config/names.h"
#include "common/control.h"

static bool same(const struct file_id *a, const struct file_id *b)
{
    return (a->device != 0 || a->inode != 0) && a->device == b->device && a->inode == b->inode;
}

static bool names_of(const struct device *device, enum config_key *ret_key,
                     struct config_names *ret)
{
    const char *found = device->info->daemon ? device->backend.socket_path : NULL;
    return config_names_of(device->config, found, ret_key, ret);
}

/* The key that the device's file comes from. */
static enum config_key file_key(const struct device_config *config)
{
    struct config_names names;
    enum config_key key;
    return config_names_of(config, NULL, &key, &names) ? key : CONFIG_KEY_TAP_NAME;
}

static int one_file(const struct config *config, const struct device *device,
                    const struct device *other, enum config_key *ret_key, struct failure *failure)
{
    char where[CONFIG_WHERE_SIZE];
    enum config_key other_key = file_key(other->config);
    *ret_key = file_key(device->config);
    config_where(config, other->config, other_key, where);
    bool are_images = *ret_key == CONFIG_KEY_FILE_PATH && other_key == CONFIG_KEY_FILE_PATH;
    return failure_set(failure, -EEXIST, "this %s is also that of %s, %.200s choose another%s",
                       config_file_word(*ret_key), other->name, where,
                       are_images ? ", or read_only: true for both" : "");
}

/* `other`: the place that has the name as well, with a colon at the end. */
static int one_name(struct failure *failure, const char *name, const char *other)
{
    return failure_set(failure, -EEXIST,
                       "this stands for the name \"%.60s\", and so does, in the same directory, "
                       "that of %.220s choose another path for one of them",
                       name, other);
}

static int compare(const struct config *config, const struct device *device,
                   const struct device *other, enum config_key *ret_key, struct failure *failure)
{
    struct config_names mine, others;
    char name[CONFIG_NAME_SIZE], where[CONFIG_WHERE_SIZE];
    char whose[DEVICE_NAME_SIZE + CONFIG_WHERE_SIZE];
    enum config_key key, other_key;
    if (same(&device->backend.file_id, &other->backend.file_id) &&
        !config_may_share(device->config, other->config))
        return one_file(config, device, other, ret_key, failure);
    if (!same(&device->backend.directory_id, &other->backend.directory_id) ||
        !names_of(device, &key, &mine) || !names_of(other, &other_key, &others) ||
        !config_names_meet(&mine, &others, name))
        return 0;
    *ret_key = key;
    snprintf(whose, sizeof(whose), "%s, %s", other->name,
             config_where(config, other->config, other_key, where));
    return one_name(failure, name, whose);
}

static bool is_directory(const struct device *device, const char *directory)
{
    struct stat status;
    if (stat(directory, &status) < 0)
        return false;
    const struct file_id id = {status.st_dev, status.st_ino};
    return same(&device->backend.directory_id, &id);
}

static int compare_control(const struct device *device, const char *control,
                           enum config_key *ret_key, struct failure *failure)
{
    struct config_names mine, names;
    char name[CONFIG_NAME_SIZE];
    enum config_key key;
    if (!names_of(device, &key, &mine))
        return 0;
    *ret_key = key;
    if (is_directory(device, CONTROL_DIRECTORY))
        return failure_set(failure, -EEXIST,
                           "this is in " CONTROL_DIRECTORY ", which is for control sockets: choose "
                           "another directory");
    if (!config_names_from(control, CONFIG_SCHEME_ONE, 0, &names) ||
        !is_directory(device, names.directory) || !config_names_meet(&mine, &names, name))
        return 0;
    return one_name(failure, name, "the control socket (--control):");
}

int places_compare(const struct config *config, const struct device *devices, size_t count,
                   const struct device *device, enum config_key *ret_key, struct failure *failure)
{
    for (size_t i = 0; i < count; i++) {
        int result =
            &devices[i] == device ? 0 : compare(config, device, &devices[i], ret_key, failure);
        if (result != 0)
            return result;
    }
    return 0;
}

int places_check(const struct config *config, const struct device *devices, size_t count,
                 const struct device *device, const char *control, enum config_key *ret_key,
                 struct failure *failure)
{
    int result = places_compare(config, devices, count, device, ret_key, failure);
    return result < 0 ? result : compare_control(device, control, ret_key, failure);
}
