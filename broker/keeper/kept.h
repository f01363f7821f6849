/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a new broker would otherwise have to find by its name again: the files of the backends, and
 * the text of the configuration. With a service manager it lies there, too (fd_names.h).
 *
 * Unlike a set (fd_store.h), it can be had again if it is lost, or in parts. So the order is
 * simple: the page that says what there is comes last, and is taken away first; files without it,
 * and a page without all of its files, are removed. Of two texts the later one counts, since the
 * earlier one is removed when the later one is there.
 */
#ifndef BROKER_KEEPER_KEPT_H
#define BROKER_KEEPER_KEPT_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/keeper/fd_store.h"

/*
 * Keep what a broker's opener has opened, in the place of what there was; or forget that, if the
 * message has an `error`. The fds are then ours. Returns false, with the fds still the caller's,
 * for what no broker of ours sends.
 */
bool kept_put(struct fd_store *store, const struct message_opened *message, const int *fds,
              size_t fd_count);

/* That file of that device, borrowed; -1: it is not kept. */
int kept_file(const struct fd_store *store, uint32_t dm_id, enum opened_file file);

/* Keep this text, in the place of what there was. Likewise. */
bool kept_put_config(struct fd_store *store, int fd);

/* Is it a page of this version that kept_put has made? Then *ret is what it says. Pure, but for
 * reading it. */
bool kept_read(int fd, uint32_t dm_id, struct message_opened *ret);

/* Is this file of the kind that its number stands for? */
bool kept_is_file(int fd, uint32_t file);

#endif
