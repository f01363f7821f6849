/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which names of files a device's path stands for, beside the path itself, and whether the names of
 * two devices meet: two guests must never come together by a file, nor a guest and bao-dmctl. A
 * guest chooses the number in some of these names.
 *
 * Paths are compared as text, with "//", "." and ".." taken out of them. Whether two directories
 * are one by a link is for the one who opens them to find out (broker/places.h).
 */
#ifndef BROKER_CONFIG_NAMES_H
#define BROKER_CONFIG_NAMES_H

#include "broker/config/config.h"

#define CONFIG_SOCKET_PATH_MAX 107u /* bytes of a socket's path: sun_path without the 0 */
#define CONFIG_VSOCK_PATH_MAX                                                                      \
    86u /* of vsock/virtio: with "_4294967295", and in the broker's root */
#define CONFIG_DAEMON_NAME_MAX 97u /* of a daemon's socket, without directory: likewise */
#define CONFIG_NAME_SIZE (PATH_MAX + 16)

enum config_scheme {
    CONFIG_SCHEME_ONE,   /* the name alone */
    CONFIG_SCHEME_VSOCK, /* and name_seqpacket, and name_N with any N below 2^32 */
    CONFIG_SCHEME_ALIAS, /* and name.1, name.2, ...: one a port of the console */
    CONFIG_SCHEME_LOG,   /* and name.1: what was full */
};

struct config_names {
    char directory[PATH_MAX]; /* "." for a name alone */
    char name[PATH_MAX];      /* the last part */
    enum config_scheme scheme;
    uint32_t ports; /* of CONFIG_SCHEME_ALIAS */
};

/* Take a path apart. False: it is the name of a directory, whatever is there. */
bool config_names_from(const char *path, enum config_scheme scheme, uint32_t ports,
                       struct config_names *ret);

/*
 * The names of a device, and which key they come from. `path`: where it was found to be (a daemon's
 * socket); NULL: as the file says. False: the device has none.
 */
bool config_names_of(const struct device_config *device, const char *path, enum config_key *ret_key,
                     struct config_names *ret);

/* The same by what the file says alone; a daemon's path stands for its socket's name. */
bool config_names_given(const struct device_config *device, enum config_key *ret_key,
                        struct config_names *ret);

/* Whether there is a name that both have, their directories being the same. */
bool config_names_meet(const struct config_names *a, const struct config_names *b,
                       char ret_name[CONFIG_NAME_SIZE]);

/* Two devices may read one image, but not if one writes it. */
bool config_may_share(const struct device_config *a, const struct device_config *b);

/* The value of a key that is a path; NULL: not given. */
const char *config_path(const struct device_config *device, enum config_key key);

/* Whether such a key names what is made, in a directory that has to be there. */
bool config_path_is_made(enum config_key key);

/* What the file of such a key is called, for "this image is also ...". */
const char *config_file_word(enum config_key key);

/*
 * A daemon's socket: by its own name, if that ends in ".sock" (config_daemon_named), or if it is a
 * socket; else `given` is what stands before "Vsock0.sock", "Fs1.sock". -ENAMETOOLONG.
 */
bool config_daemon_named(const char *given);
int config_daemon_socket(const char *given, const char *type_name, uint32_t id, char ret[PATH_MAX]);

/* As the file has it. */
const char *config_key_name(enum config_key key);

/* The address of one network card: not a group's, and not only zeros. */
bool config_mac(const char *text, uint8_t ret[6]);
/* Without mac_addr: an address of one's own choice (its second bit says so), "bao" and the id. */
void config_default_mac(uint32_t id, uint8_t ret[6]);

/*
 * The control socket, --control: is its name one that a socket can have, and no device's? Nor may a
 * device have any name in CONTROL_DIRECTORY. *diags is overwritten. Returns 0, or -EINVAL.
 */
int config_check_control(const struct config *config, const char *path,
                         struct config_diagnostics *diags);

#endif
