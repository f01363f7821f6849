/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which names of files a device's path stands for, besides the path itself, and whether two devices
 * have a name in common. Two guests must never meet in one file, nor may a guest and bao-dmctl. A
 * guest chooses the number in some of these names.
 *
 * Paths are compared as text, with "//", "." and ".." removed. Two directories can be one because
 * of a link; the code that opens them finds that out (broker/places.h).
 */
#ifndef BROKER_CONFIG_NAMES_H
#define BROKER_CONFIG_NAMES_H

#include "broker/config/config.h"

#define CONFIG_SOCKET_PATH_MAX 107u /* bytes of a socket's path: sun_path without its last 0 */
#define CONFIG_VSOCK_PATH_MAX                                                                      \
    86u /* for vsock/virtio: with "_4294967295", and in the broker's root */
#define CONFIG_DAEMON_NAME_MAX 97u /* of a daemon's socket, without its directory: same reason */
#define CONFIG_NAME_SIZE (PATH_MAX + 16)

enum config_scheme {
    CONFIG_SCHEME_ONE,   /* only the name */
    CONFIG_SCHEME_VSOCK, /* also name_seqpacket, and name_N with any N below 2^32 */
    CONFIG_SCHEME_ALIAS, /* also name.1, name.2, ...: one for each port of the console */
    CONFIG_SCHEME_LOG,   /* also name.1: the log that was full */
};

struct config_names {
    char directory[PATH_MAX]; /* "." for a path without a directory */
    char name[PATH_MAX];      /* the last part */
    enum config_scheme scheme;
    uint32_t ports; /* of CONFIG_SCHEME_ALIAS */
};

/* Split a path into its parts. False: the path is the name of a directory, whatever is there. */
bool config_names_from(const char *path, enum config_scheme scheme, uint32_t ports,
                       struct config_names *ret);

/*
 * The names of a device, and the key from which they come. `path`: the path that was found (of a
 * daemon's socket); NULL: the path in the file. False: the device has no names.
 */
bool config_names_of(const struct device_config *device, const char *path, enum config_key *ret_key,
                     struct config_names *ret);

/* Like config_names_of, only from what the file says; for a daemon, its path gives its socket's
 * name. */
bool config_names_given(const struct device_config *device, enum config_key *ret_key,
                        struct config_names *ret);

/* Is there a name that both have, if their directories are the same? */
bool config_names_meet(const struct config_names *a, const struct config_names *b,
                       char ret_name[CONFIG_NAME_SIZE]);

/* Two devices may read one image, but they may not share it if one of them writes it. */
bool config_may_share(const struct device_config *a, const struct device_config *b);

/* The value of a key, if it is a path; NULL: not given. */
const char *config_path(const struct device_config *device, enum config_key key);

/* Does this key name a file that is made, in a directory that must exist? */
bool config_path_is_made(enum config_key key);

/* What a user calls the file of such a key, for "this image is also ...". */
const char *config_file_word(enum config_key key);

/*
 * The socket of a daemon. `given` is its name if it ends in ".sock" (config_daemon_named), or if it
 * is a socket. Otherwise "Vsock0.sock", "Fs1.sock" is appended to `given`. -ENAMETOOLONG.
 */
bool config_daemon_named(const char *given);
int config_daemon_socket(const char *given, const char *type_name, uint32_t id, char ret[PATH_MAX]);

/* The name of the key in the file. */
const char *config_key_name(enum config_key key);

/* Read the address of one network card. False for a group address and for all zeros. */
bool config_mac(const char *text, uint8_t ret[6]);
/* The address of a device without mac_addr: locally administered (the second bit says so), "bao"
 * and the id. */
void config_default_mac(uint32_t id, uint8_t ret[6]);

/*
 * Check the control socket, --control: can a socket have this name, and is it no name of a device?
 * No device may have a name in CONTROL_DIRECTORY either. *diags is overwritten. Returns 0, or
 * -EINVAL.
 */
int config_check_control(const struct config *config, const char *path,
                         struct config_diagnostics *diags);

#endif
