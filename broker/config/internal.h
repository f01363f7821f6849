/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the configuration reader: parse.c turns YAML into raw devices; keys.c knows the keys
 * and their values; check.c checks what each kind needs; values.c checks values that depend on the
 * kind; between.c finds contradictions between devices; names.c knows the names of files that a
 * path stands for. Each part reports what it finds and goes on, so that one run finds all errors of
 * a file.
 */
#ifndef BROKER_CONFIG_INTERNAL_H
#define BROKER_CONFIG_INTERNAL_H

#include "broker/config/config.h"
#include "broker/config/names.h"

/* diagnostics.c */

__attribute__((format(printf, 3, 4))) void
config_error(struct config_diagnostics *diags, struct config_mark mark, const char *format, ...);
__attribute__((format(printf, 3, 4))) void
config_note(struct config_diagnostics *diags, struct config_mark mark, const char *format, ...);

/* words.c */

struct quoted {
    char text[64];
};

/* A piece of the file, prepared for a message of one line: shortened, without control
 * characters. */
struct quoted config_quote(const char *text);

struct word_list {
    size_t length;
    char text[512];
};

/* Append ", word". A word that does not fit, or that is there already, is left out. */
void config_list_add(struct word_list *list, const char *word);

/* The index of the candidate that `word` was probably meant to be; `count`: there is none. */
size_t config_nearest_word(const char *word, const char *const *candidates, size_t count);

/* types.c */

struct virtio_type {
    const char *name;
    uint32_t id;          /* DeviceID, VirtIO 1.2 §5 */
    uint32_t queues;      /* of a device of the type; 0: the file has to say */
    uint32_t config_size; /* bytes of configuration space; 0: none, or the file has to say */
};

/* Find a type by its name, or by its DeviceID in decimal digits. NULL: it is neither. */
const struct virtio_type *type_find(const char *text, uint32_t *ret_id);

/* The name that an unknown name was probably meant to be; NULL: there is none. */
const char *type_nearest(const char *text);

/* Append the names of all types. */
void type_names(struct word_list *list);

/* keys.c */

struct key_info {
    const char *name;
    const char *expected; /* for "expected ..." */
    uint64_t min, max;    /* integers */
    size_t length_max;    /* strings: bytes, without the terminating 0 */
    uint32_t multiple_of; /* integers; 0: any integer */
    bool power_of_two;    /* integers */
    size_t field;         /* texts: the offset of the device's `char *` in struct device_config */
    const char *file;     /* paths: what a user calls the file, for "this image is also ..." */
    enum config_scheme scheme; /* paths: which names of files it stands for */
    enum {
        VALUE_INTEGER,
        VALUE_BOOLEAN,
        VALUE_STRING,
        VALUE_PATH, /* a string: the path of a file that must exist, */
        VALUE_NAME, /* or of a file that is made, in a directory that must exist */
        VALUE_MAC,
        VALUE_SCHED,      /* the priority; 0 for "other" */
        VALUE_CACHE,      /* enum config_cache */
        VALUE_ENGINE,     /* 1 for "io_uring", 0 for "sync" */
        VALUE_PROCESSORS, /* a list, or one item of it: bit n for number n */
        VALUE_FEATURES,   /* a list, or one item of it: features_read */
        VALUE_BYTES,      /* two hexadecimal digits for each byte, kept as text */
    } type;
};

extern const struct key_info key_infos[CONFIG_KEYS];

bool key_is_path(enum config_key key);

/* The place in the device of a value that is kept as it is written; NULL: the key has no such
 * value. */
char **key_text(struct device_config *device, enum config_key key);

/* The key of that name; CONFIG_KEYS if there is none. */
enum config_key key_find(const char *name);

/* The key that an unknown name was probably meant to be; CONFIG_KEYS if there is none. */
enum config_key key_nearest(const char *name);

struct raw_scalar {
    const char *text; /* UTF-8 */
    size_t length;    /* bytes; the text may contain 0 */
    bool plain;       /* not quoted, and no block scalar */
};

struct raw_value {
    bool given; /* the file has the key */
    bool valid; /* and the key can have this value */
    struct config_mark key_mark, mark;
    uint64_t number; /* all but strings; the items of a list are combined by OR */
    char *text;      /* strings; owned */
};

/*
 * Check a scalar and fill in value->valid, ->number and ->text; value->mark must be set. Returns 0,
 * also for a wrong scalar, which was reported; or -ENOMEM.
 */
int key_read_value(enum config_key key, const struct raw_scalar *scalar, struct raw_value *value,
                   struct config_diagnostics *diags);

/* May the value be a list of scalars? */
bool key_takes_list(enum config_key key);

/* features.c */

/* Add the feature of that name to a mask of rows. Only features.c knows which row is which
 * feature. */
bool features_read(const char *text, uint64_t *rows);

/* The name with this number, counted from 0, and the type of device that has it (NULL: every type).
 * NULL: there are no more names. */
const char *features_name(size_t number, const char **ret_type);

/* The name that `text` was probably meant to be, or NULL. */
const char *features_nearest(const char *text);

/* The name of a feature in the mask that devices of this type do not have, or NULL. */
const char *features_foreign(uint64_t rows, const char *type);

/* The feature bits, with the bits of features that may not be offered without them. */
uint64_t features_off(uint64_t rows);

/* parse.c */

struct raw_device {
    struct config_mark mark;
    bool complete;     /* the file could be read to the end of the device */
    uint64_t mistyped; /* bit per key: an unknown key was probably meant to be this key */
    struct raw_value values[CONFIG_KEYS];
};

struct raw_config {
    size_t device_count;
    struct raw_device devices[BAO_DEVICES_MAX];
};

/* Read YAML. Returns 0, also after errors that were reported; or -ENOMEM. *ret must be clear
 * before, and needs config_raw_free in every case. */
int config_parse_yaml(const char *data, size_t size, struct raw_config *ret,
                      struct config_diagnostics *diags);

void config_raw_free(const struct raw_config *raw);

/* check.c */

/* Bits by enum config_key, and the maximum of the key `queues`. */
struct kind_keys {
    uint64_t required, optional;
    uint32_t queues_max;
};

/* The keys of a kind, together with those of every device. */
struct kind_keys config_kind_keys(enum device_kind kind);

/* Find out the device's kind, and check that it has the right keys. DEVICE_KINDS: there is an
 * error. */
enum device_kind config_check_device(const struct raw_device *device,
                                     struct config_diagnostics *diags);

/* values.c */

/* Check the contents of values, beyond the form of their keys: addresses, names of interfaces,
 * paths. */
void config_check_values(const struct raw_device *device, enum device_kind kind,
                         struct config_diagnostics *diags);

/* names.c */

/* Can a device of that kind have its path from this key? */
bool config_is_path(enum device_kind kind, enum config_key key);
enum config_scheme config_scheme_of(enum device_kind kind, enum config_key key);

/* between.c */

/* Check the devices against each other; kinds[i] is the kind of raw->devices[i]. */
void config_check_between(const struct raw_config *raw, const enum device_kind *kinds,
                          struct config_diagnostics *diags);

#endif
