/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a new broker would otherwise have to find by its name again: the files of the backends, and
 * the text of the configuration. If there is a service manager, it has them, too (fd_names.h).
 *
 * A set (fd_store.h) can't be made again; these files can, if some or all of them are lost. So the
 * order is simple. The page that says what there is comes last, and is removed first. Files without
 * the page, and a page without all of its files, are removed. If there are two texts, the later one
 * counts, since the earlier one is removed when the later one is there.
 */
#ifndef BROKER_KEEPER_KEPT_H
#define BROKER_KEEPER_KEPT_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/keeper/fd_store.h"

/*
 * Keep what a broker's opener has opened, in place of what was kept before. If the message has an
 * `error`, only forget what was kept. The fds are then ours. Returns false for a message that no
 * broker of ours sends; then the fds are still the caller's.
 */
bool kept_put(struct fd_store *store, const struct message_opened *message, const int *fds,
              size_t fd_count);

/* That file of that device, borrowed; -1: it is not kept. */
int kept_file(const struct fd_store *store, uint32_t dm_id, enum opened_file file);

/* The files of the tap of that device, borrowed, to ret[] (SPAWN_TAPS_MAX). Returns their number.
 */
unsigned int kept_taps(const struct fd_store *store, uint32_t dm_id, int *ret);

/* Keep this text, in place of what was kept before. The fd is then ours; if it returns false, it is
 * still the caller's. */
bool kept_put_config(struct fd_store *store, int fd);

/* Is it a page of this version that kept_put has made? Then its contents are in *ret. Pure, except
 * that it reads the page. */
bool kept_read(int fd, uint32_t dm_id, struct message_opened *ret);

/* Is this fd of the kind that the number of the file requires? */
bool kept_is_file(int fd, uint32_t file);

#endif
