/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/fd_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bao_abi.h"
#include "common/message.h"
#include "common/state.h"

/* With a NULL at the end. */
static const char *const items[STORE_QUEUE_FIRST + 1] = {
    [STORE_DM] = "dm",           [STORE_STATE] = "state", [STORE_JOURNAL] = "journal",
    [STORE_REQUEST] = "request", [STORE_REPLY] = "reply", [STORE_CALL] = "call",
    [STORE_IRQ] = "irq",
};

bool fd_name_is_page(uint32_t item)
{
    return item == STORE_STATE || item == STORE_JOURNAL;
}

void fd_name_format(const struct fd_name *name, char ret[FD_NAME_SIZE])
{
    if (name->item == FD_NAME_RECORD)
        snprintf(ret, FD_NAME_SIZE, "device-%u-record", name->dm_id);
    else if (name->item == FD_NAME_OPENED)
        snprintf(ret, FD_NAME_SIZE, "device-%u-opened", name->dm_id);
    else if (name->item == FD_NAME_CONFIG)
        snprintf(ret, FD_NAME_SIZE, "config-%u", name->generation);
    else if (name->item == FD_NAME_CLAIMS)
        snprintf(ret, FD_NAME_SIZE, "claims");
    else if (fd_name_is_file(name->item))
        snprintf(ret, FD_NAME_SIZE, "device-%u-file-%u", name->dm_id,
                 name->item - FD_NAME_FILE_FIRST);
    else if (name->item >= STORE_QUEUE_FIRST)
        snprintf(ret, FD_NAME_SIZE, "device-%u-queue-%u", name->dm_id,
                 name->item - STORE_QUEUE_FIRST);
    else if (fd_name_is_page(name->item))
        snprintf(ret, FD_NAME_SIZE, "device-%u-%s-%u", name->dm_id, items[name->item],
                 name->generation);
    else
        snprintf(ret, FD_NAME_SIZE, "device-%u-%s", name->dm_id, items[name->item]);
}

static bool take_word(const char **at, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

static uint32_t take_number(const char **at)
{
    char *end;
    unsigned long number = strtoul(*at, &end, 10);
    *at = end;
    return number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

static bool take_item(const char **at, struct fd_name *name)
{
    if (take_word(at, "record")) {
        name->item = FD_NAME_RECORD;
        return true;
    }
    if (take_word(at, "opened")) {
        name->item = FD_NAME_OPENED;
        return true;
    }
    if (take_word(at, "file-")) {
        uint32_t file = take_number(at);
        name->item = FD_NAME_FILE_FIRST + file;
        return file < OPENED_FILES;
    }
    if (take_word(at, "queue-")) {
        uint32_t queue = take_number(at);
        name->item = STORE_QUEUE_FIRST + queue;
        return queue < STATE_QUEUES_MAX;
    }
    for (uint32_t item = 0; items[item]; item++) {
        if (!take_word(at, items[item]))
            continue;
        name->item = item;
        if (fd_name_is_page(item) && take_word(at, "-"))
            name->generation = take_number(at);
        return !fd_name_is_page(item) || name->generation > 0;
    }
    return false;
}

static bool take_device(const char **at, struct fd_name *name)
{
    if (!take_word(at, "device-"))
        return false;
    name->dm_id = take_number(at);
    return name->dm_id < BAO_DEVICES_MAX && take_word(at, "-") && take_item(at, name);
}

static bool take_config(const char **at, struct fd_name *name)
{
    *name = (struct fd_name){FD_NAME_NO_DEVICE, FD_NAME_CONFIG, take_number(at)};
    return name->generation > 0;
}

static bool take_any(const char **at, struct fd_name *name)
{
    if (take_word(at, "config-"))
        return take_config(at, name);
    if (!take_word(at, "claims"))
        return take_device(at, name);
    *name = (struct fd_name){FD_NAME_NO_DEVICE, FD_NAME_CLAIMS, 0};
    return true;
}

bool fd_name_parse(const char *text, size_t length, struct fd_name *ret)
{
    char copy[FD_NAME_SIZE], made[FD_NAME_SIZE];
    struct fd_name name = {0};
    if (length >= sizeof(copy) || memchr(text, '\0', length))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';

    const char *at = copy;
    if (!take_any(&at, &name))
        return false;
    /* Refuse what strtoul also accepts (blanks, signs, leading zeros), and text after the
     * number. */
    fd_name_format(&name, made);
    if (strcmp(copy, made) != 0)
        return false;
    *ret = name;
    return true;
}

static bool parse_decimal(const char *text, unsigned long *ret)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] != '\0')
        return false;
    *ret = strtoul(text, NULL, 10);
    return true;
}

int listen_count(const char *listen_pid, const char *listen_fds, uint32_t self)
{
    unsigned long pid, count;
    if (!listen_pid || !listen_fds)
        return 0;
    if (!parse_decimal(listen_pid, &pid) || !parse_decimal(listen_fds, &count) ||
        count > LISTEN_FDS_MAX)
        return -EINVAL;
    return pid == self ? (int)count : 0;
}

size_t listen_next_name(const char **rest, const char **ret_name)
{
    size_t length = strcspn(*rest, ":");
    *ret_name = *rest;
    *rest += length;
    if (**rest == ':')
        ++*rest;
    return length;
}
