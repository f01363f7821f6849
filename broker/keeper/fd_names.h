/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names under which a service manager keeps the fds of a device, and the contents of its
 * environment variables LISTEN_* (sd_listen_fds(3)). Pure.
 *
 * A name says what the fd is, so the order of the fds does not matter:
 *
 *     device-ID-record                     what the keeper knows of the set (fd_store.h)
 *     device-ID-dm, -request, -reply, -call, -irq
 *     device-ID-queue-Q                    the kick eventfd of queue Q
 *     device-ID-state-G, -journal-G        pages, which can be replaced: generation G, from 1 on
 *     device-ID-opened                     what is known of its backend (kept.h)
 *     device-ID-file-F                     file F of its backend, of enum opened_file
 *     config-G                             the text of the configuration, generation G
 *
 * ID is the id of the dispatcher. These names stay the same in every version of this program.
 */
#ifndef BROKER_KEEPER_FD_NAMES_H
#define BROKER_KEEPER_FD_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bao_abi.h"
#include "common/message.h"

#define FD_NAME_SIZE 40
#define FD_NAME_RECORD UINT32_MAX
#define FD_NAME_OPENED (UINT32_MAX - 1)
#define FD_NAME_CONFIG (UINT32_MAX - 2)
#define FD_NAME_CLAIMS (UINT32_MAX - 3)
#define FD_NAME_FILE_FIRST 0x100u         /* + enum opened_file */
#define FD_NAME_NO_DEVICE BAO_DEVICES_MAX /* dm_id of FD_NAME_CONFIG and FD_NAME_CLAIMS */
#define LISTEN_FDS_FIRST 3   /* the number of the first passed fd: SD_LISTEN_FDS_START */
#define LISTEN_FDS_MAX 1000u /* more than a keeper stores, and below its limit of open files */

struct fd_name {
    uint32_t dm_id;
    uint32_t item;       /* enum store_item, STORE_QUEUE_FIRST + queue; or FD_NAME_* */
    uint32_t generation; /* of a page, or of the configuration; else 0 */
};

static inline bool fd_name_is_file(uint32_t item)
{
    return item >= FD_NAME_FILE_FIRST && item < FD_NAME_FILE_FIRST + OPENED_FILES;
}

/* Is it one of the two items that have a generation? */
bool fd_name_is_page(uint32_t item);

void fd_name_format(const struct fd_name *name, char ret[FD_NAME_SIZE]);

/* Returns false, and leaves *ret unchanged, for any text that fd_name_format does not make. */
bool fd_name_parse(const char *text, size_t length, struct fd_name *ret);

/*
 * How many fds were passed to the process `self`, according to LISTEN_PID and LISTEN_FDS (NULL: not
 * set). 0: none, or they are meant for another process. -EINVAL: the values are not valid.
 */
int listen_count(const char *listen_pid, const char *listen_fds, uint32_t self);

/* The next name in LISTEN_FDNAMES; *rest moves on. Returns its length; 0 also at the end. */
size_t listen_next_name(const char **rest, const char **ret_name);

#endif
