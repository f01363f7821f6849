/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/internal.h"
#include "common/state.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h> /* some versions need <sys/socket.h> before it */

_Static_assert(BAO_DEVICES_MAX == 16, "the words for `id` say 0 to 15");
_Static_assert(VMADDR_CID_HOST == 2 && VMADDR_CID_ANY == 0xffffffff, "the words for `guest_cid`");
_Static_assert(CONNECTIONS_MAX == 1024, "the words for `connections`");
_Static_assert(IFNAMSIZ == 16, "the words for `tap_name`");
_Static_assert(QUEUE_SIZE_MAX == 1024, "the words for `queue_size`");

#define SCHED_PRIORITY_MAX 99u /* sched(7): of SCHED_FIFO */

#define PATH_WORDS "a path, for example "

const struct key_info key_infos[CONFIG_KEYS] = {
#define TEXT(name) .field = offsetof(struct device_config, name),
#define NO_TEXT
#define CONFIG_KEY(name, text, ...) [CONFIG_KEY_##name] = {text __VA_ARGS__},
#include "broker/config/keys.def"
#undef CONFIG_KEY
#undef NO_TEXT
#undef TEXT
};

bool key_is_path(enum config_key key)
{
    return key_infos[key].type == VALUE_PATH || key_infos[key].type == VALUE_NAME;
}

char **key_text(struct device_config *device, enum config_key key)
{
    size_t field = key_infos[key].field;
    return field > 0 ? (char **)(void *)((char *)device + field) : NULL;
}

enum config_key key_find(const char *name)
{
    enum config_key key = 0;
    while (key < CONFIG_KEYS && strcmp(key_infos[key].name, name) != 0)
        key++;
    return key;
}

enum config_key key_nearest(const char *name)
{
    const char *names[CONFIG_KEYS];
    for (size_t key = 0; key < CONFIG_KEYS; key++)
        names[key] = key_infos[key].name;
    return (enum config_key)config_nearest_word(name, names, CONFIG_KEYS);
}

static bool is_one_of(const char *text, const char *const *words)
{
    while (*words && strcmp(text, *words) != 0)
        words++;
    return *words != NULL;
}

static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const trues[] = {"true", "True", "TRUE", NULL};
static const char *const falses[] = {"false", "False", "FALSE", NULL};

static bool read_boolean(const char *text, uint64_t *ret)
{
    bool is_true = is_one_of(text, trues);
    if (!is_true && !is_one_of(text, falses))
        return false;
    *ret = is_true;
    return true;
}

static bool is_digits(const char *text, const char *digits)
{
    return *text != '\0' && text[strspn(text, digits)] == '\0';
}

/* Integers of YAML 1.2, §10.3.2, and 0b of YAML 1.1; without a sign. */
static bool read_integer(const char *text, uint64_t *ret)
{
    static const struct {
        const char *prefix, *digits;
        int base;
    } notations[] = {
        {"0x", "0123456789abcdefABCDEF", 16},
        {"0o", "01234567", 8},
        {"0b", "01", 2},
        {"", "0123456789", 10},
    };
    size_t i = 0;
    while (strncmp(text, notations[i].prefix, strlen(notations[i].prefix)) != 0)
        i++;
    const char *digits = text + strlen(notations[i].prefix);
    if (!is_digits(digits, notations[i].digits))
        return false;
    errno = 0;
    unsigned long long number = strtoull(digits, NULL, notations[i].base);
    if (errno != 0)
        return false;
    *ret = number;
    return true;
}

/* 010 is 8 in YAML 1.1 and 10 in YAML 1.2: the author can mean either. */
static bool is_ambiguous(const char *text)
{
    return text[0] == '0' && text[1] != '\0' && is_digits(text, "0123456789");
}

/* "other", or "fifo:N". */
static bool read_sched(const char *text, uint64_t *ret)
{
    static const char fifo[] = "fifo:";
    uint64_t priority = 0;
    if (strcmp(text, "other") != 0 &&
        (strncmp(text, fifo, strlen(fifo)) != 0 || !read_integer(text + strlen(fifo), &priority) ||
         priority < 1 || priority > SCHED_PRIORITY_MAX))
        return false;
    *ret = priority;
    return true;
}

const char *config_cache_word(enum config_cache cache)
{
    switch (cache) {
    case CONFIG_CACHE_WRITEBACK:
        return "writeback";
    case CONFIG_CACHE_WRITETHROUGH:
        return "writethrough";
    case CONFIG_CACHE_UNSAFE:
        return "unsafe";
    }
    return "";
}

static bool read_cache(const char *text, uint64_t *ret)
{
    for (enum config_cache cache = CONFIG_CACHE_WRITEBACK; cache <= CONFIG_CACHE_UNSAFE; cache++) {
        if (strcmp(text, config_cache_word(cache)) == 0) {
            *ret = cache;
            return true;
        }
    }
    return false;
}

static bool read_engine(const char *text, uint64_t *ret)
{
    *ret = strcmp(text, "io_uring") == 0;
    return *ret != 0 || strcmp(text, "sync") == 0;
}

static bool read_processor(const struct key_info *info, const char *text, uint64_t *mask)
{
    uint64_t number;
    if (!read_integer(text, &number) || number > info->max)
        return false;
    *mask |= 1ull << number;
    return true;
}

static bool is_mac(const char *text)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    for (size_t i = 0; i < 6; i++, text += 3) {
        if (strspn(text, digits) != 2 || text[2] != (i < 5 ? ':' : '\0'))
            return false;
    }
    return true;
}

static bool is_bytes(const char *text)
{
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    return digits != 0 && digits % 2 == 0 && text[digits] == '\0';
}

static bool in_range(const struct key_info *info, uint64_t number)
{
    return number >= info->min && number <= info->max &&
           (info->multiple_of == 0 || number % info->multiple_of == 0) &&
           (!info->power_of_two || __builtin_popcountll(number) == 1);
}

/* Names and paths are used in system calls and log lines, so a control character can only be a
 * mistake. */
static bool has_control(const struct raw_scalar *scalar)
{
    for (size_t i = 0; i < scalar->length; i++) {
        if ((unsigned char)scalar->text[i] < 0x20 || scalar->text[i] == 0x7f)
            return true;
    }
    return false;
}

static bool read_scalar(const struct key_info *info, const struct raw_scalar *scalar,
                        struct raw_value *value)
{
    switch (info->type) {
    case VALUE_INTEGER:
        return read_integer(scalar->text, &value->number) && in_range(info, value->number);
    case VALUE_BOOLEAN:
        return read_boolean(scalar->text, &value->number);
    case VALUE_STRING:
    case VALUE_PATH:
    case VALUE_NAME:
        return scalar->length > 0;
    case VALUE_MAC:
        return is_mac(scalar->text);
    case VALUE_SCHED:
        return read_sched(scalar->text, &value->number);
    case VALUE_CACHE:
        return read_cache(scalar->text, &value->number);
    case VALUE_ENGINE:
        return read_engine(scalar->text, &value->number);
    case VALUE_PROCESSORS:
        return read_processor(info, scalar->text, &value->number);
    case VALUE_FEATURES:
        return features_read(scalar->text, &value->number);
    case VALUE_BYTES:
        return is_bytes(scalar->text);
    }
    return false;
}

/* Is the value kept as it is written? */
static bool is_text(const struct key_info *info)
{
    return info->type == VALUE_STRING || info->type == VALUE_PATH || info->type == VALUE_NAME ||
           info->type == VALUE_MAC || info->type == VALUE_BYTES;
}

static bool is_number(const struct key_info *info)
{
    return info->type == VALUE_INTEGER || info->type == VALUE_PROCESSORS;
}

static bool may_be_quoted(const struct key_info *info)
{
    return is_text(info) || info->type == VALUE_SCHED || info->type == VALUE_CACHE ||
           info->type == VALUE_ENGINE || info->type == VALUE_FEATURES;
}

bool key_takes_list(enum config_key key)
{
    return key_infos[key].type == VALUE_PROCESSORS || key_infos[key].type == VALUE_FEATURES;
}

static void report_wrong(const struct key_info *info, const char *text, struct config_mark mark,
                         struct config_diagnostics *diags)
{
    const char *nearest = info->type == VALUE_FEATURES ? features_nearest(text) : NULL;
    if (nearest)
        config_error(diags, mark, "%s has \"%s\"; did you mean \"%s\"?", info->name,
                     config_quote(text).text, nearest);
    else
        config_error(diags, mark, "%s is \"%s\"; expected %s", info->name, config_quote(text).text,
                     info->expected);
}

/* Report the first error in a value; returns true if there is none. */
static bool check_scalar(const struct key_info *info, const struct raw_scalar *scalar,
                         struct raw_value *value, struct config_diagnostics *diags)
{
    struct quoted found = config_quote(scalar->text);
    if (scalar->plain && is_one_of(scalar->text, nulls))
        config_error(diags, value->mark, "%s has no value; expected %s", info->name,
                     info->expected);
    else if (!may_be_quoted(info) && !scalar->plain)
        config_error(diags, value->mark, "%s is the quoted string \"%s\"; expected %s, not quoted",
                     info->name, found.text, info->expected);
    else if (is_number(info) && is_ambiguous(scalar->text))
        config_error(diags, value->mark,
                     "%s is %s, octal in YAML 1.1 and decimal in YAML 1.2; expected it without the "
                     "leading 0, or with 0o for octal",
                     info->name, found.text);
    else if (info->length_max > 0 && scalar->length > info->length_max)
        config_error(diags, value->mark, "%s is %zu bytes long; expected at most %zu", info->name,
                     scalar->length, info->length_max);
    else if (has_control(scalar))
        config_error(diags, value->mark,
                     "%s has a control character (such as a line break); expected %s", info->name,
                     info->expected);
    else if (!read_scalar(info, scalar, value))
        report_wrong(info, scalar->text, value->mark, diags);
    else
        return true;
    return false;
}

int key_read_value(enum config_key key, const struct raw_scalar *scalar, struct raw_value *value,
                   struct config_diagnostics *diags)
{
    const struct key_info *info = &key_infos[key];
    if (!check_scalar(info, scalar, value, diags))
        return 0;
    if (is_text(info)) {
        value->text = strdup(scalar->text);
        if (!value->text)
            return -ENOMEM;
    }
    value->valid = true;
    return 0;
}
