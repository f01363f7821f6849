/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the configuration reader: parse.c turns YAML into raw devices, keys.c knows the
 * keys and their values, check.c the kinds, values.c what a value must be for its kind, between.c
 * the contradictions between devices, names.c the names of files that a path stands for. Each
 * reports what it finds and goes on, so that a file's errors are found in one run.
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

/* A piece of the file, made fit for a one-line message: shortened, without control characters. */
struct quoted config_quote(const char *text);

struct word_list {
    size_t length;
    char text[512];
};

/* Append ", word"; a word that does not fit, or that is there already, is left out. */
void config_list_add(struct word_list *list, const char *word);

/* The index of the candidate that `word` was probably meant to be; `count` if there is none. */
size_t config_nearest_word(const char *word, const char *const *candidates, size_t count);

/* types.c */

struct virtio_type {
    const char *name;
    uint32_t id;          /* DeviceID, VirtIO 1.2 §5 */
    uint32_t queues;      /* that a device of the type has; 0: the file has to say */
    uint32_t config_size; /* bytes of configuration space; 0: none, or the file has to say */
};

/* By name, or by DeviceID in decimal digits. NULL: neither. */
const struct virtio_type *type_find(const char *text, uint32_t *ret_id);

/* The name that an unknown one was probably meant to be; NULL if there is none. */
const char *type_nearest(const char *text);

/* Append the names of all types. */
void type_names(struct word_list *list);

/* keys.c */

struct key_info {
    const char *name;
    const char *expected;      /* for "expected ..." */
    uint64_t min, max;         /* integers */
    size_t length_max;         /* strings: bytes, without the terminating 0 */
    uint32_t multiple_of;      /* integers; 0: of anything */
    bool power_of_two;         /* integers */
    size_t field;              /* texts: where the device's `char *` is in struct device_config */
    const char *file;          /* paths: what the file is to a user, for "this image is also ..." */
    enum config_scheme scheme; /* paths: which names it stands for */
    enum {
        VALUE_INTEGER,
        VALUE_BOOLEAN,
        VALUE_STRING,
        VALUE_PATH, /* a string: of a file that has to be there, */
        VALUE_NAME, /* or of one that is made, in a directory that has to be there */
        VALUE_MAC,
        VALUE_SCHED,      /* the priority, 0 for "other" */
        VALUE_CACHE,      /* enum config_cache */
        VALUE_PROCESSORS, /* a list, or one of its items: bit n for number n */
        VALUE_FEATURES,   /* a list, or one of its items: features_read */
        VALUE_BYTES,      /* two hexadecimal digits each, kept as text */
    } type;
};

extern const struct key_info key_infos[CONFIG_KEYS];

bool key_is_path(enum config_key key);

/* Where the device has the value of a key that is kept as it is written; NULL: of another. */
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
    bool valid; /* and its value is one that the key can have */
    struct config_mark key_mark, mark;
    uint64_t number; /* all but strings; what the items of a list say is put together by OR */
    char *text;      /* strings; owned */
};

/*
 * Check a scalar and fill in value->valid, ->number and ->text; value->mark must be set.
 * Returns 0, also if the scalar is wrong and was reported; or -ENOMEM.
 */
int key_read_value(enum config_key key, const struct raw_scalar *scalar, struct raw_value *value,
                   struct config_diagnostics *diags);

/* Whether the value may be a list of scalars. */
bool key_takes_list(enum config_key key);

/* features.c */

/* Add the feature of that name to a mask of rows, whose meaning is known there only. */
bool features_read(const char *text, uint64_t *rows);

/* The names, by a number from 0 on, and of which type of device each is (NULL: of every type).
 * NULL: there are no more. */
const char *features_name(size_t number, const char **ret_type);

/* The name that was probably meant, or NULL. */
const char *features_nearest(const char *text);

/* The name of one that devices of this type do not have, or NULL. */
const char *features_foreign(uint64_t rows, const char *type);

/* The bits, together with those that may not be offered without them. */
uint64_t features_off(uint64_t rows);

/* parse.c */

struct raw_device {
    struct config_mark mark;
    bool complete;     /* the file could be read to the device's end */
    uint64_t mistyped; /* bit per key: an unknown key was probably meant to be it */
    struct raw_value values[CONFIG_KEYS];
};

struct raw_config {
    size_t device_count;
    struct raw_device devices[BAO_DEVICES_MAX];
};

/* Read YAML. Returns 0, also after errors that were reported; or -ENOMEM. *ret must be clear, and
 * needs config_raw_free in any case. */
int config_parse_yaml(const char *data, size_t size, struct raw_config *ret,
                      struct config_diagnostics *diags);

void config_raw_free(struct raw_config *raw);

/* check.c */

/* Bits by enum config_key, and how many queues `queues` can ask for. */
struct kind_keys {
    uint64_t required, optional;
    uint32_t queues_max;
};

/* The keys of a kind, with those of every device. */
struct kind_keys config_kind_keys(enum device_kind kind);

/* Find out the device's kind, and check that it has the right keys. DEVICE_KINDS: an error. */
enum device_kind config_check_device(const struct raw_device *device,
                                     struct config_diagnostics *diags);

/* values.c */

/* Check values that say more than their keys ask for: addresses, names of interfaces, paths. */
void config_check_values(const struct raw_device *device, enum device_kind kind,
                         struct config_diagnostics *diags);

/* names.c */

/* The key that has the device's path, of those in the mask `given`; CONFIG_KEYS: it has none. */
enum config_key config_path_key(enum device_kind kind, uint64_t given);
enum config_scheme config_scheme_of(enum device_kind kind, enum config_key key);

/* between.c */

/* Check the devices against each other; kinds[i] is that of raw->devices[i]. */
void config_check_between(const struct raw_config *raw, const enum device_kind *kinds,
                          struct config_diagnostics *diags);

#endif
