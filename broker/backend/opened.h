/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport form of an open backend: from the process that opened it to the broker, and from
 * one broker to the next (struct message_opened). It contains files that mean the same in every
 * process, and what was learned of them. It never contains a vhost file, or a connection to a
 * daemon or a client: their state belongs to one worker.
 */
#ifndef BROKER_BACKEND_OPENED_H
#define BROKER_BACKEND_OPENED_H

#include <stddef.h>
#include <stdint.h>

#include "broker/backend/backend.h"
#include "common/message.h"

/*
 * Write to *ret what `backend` is after `open`, and to `ret_fds` (OPENED_FILES entries) its files,
 * borrowed, in the order of enum opened_file. Returns the number of files. The header is left
 * alone.
 */
size_t opened_pack(const struct backend *backend, struct message_opened *ret, int *ret_fds);

/*
 * In an opener, after `open`: put the files that lie on a file system into boxes (common/box.h),
 * since neither broker nor keeper may have them open. The files themselves stay open in this
 * process. Returns 0, or -errno with *failure filled in.
 */
int opened_box(struct backend *backend, struct failure *failure);

/* Take only the ids of the files that its paths led to. This works for a backend that could not be
 * opened, too. */
void opened_identify(struct backend *backend, const struct message_opened *message);

/*
 * The opposite of opened_pack; the files are the backend's from now on. Returns 0; -EPROTO if
 * opened_pack does not make such a message for this device: another version, another configuration,
 * or files that its kind does not have. Then nothing is taken, and the files stay the caller's.
 */
int opened_unpack(struct backend *backend, const struct message_opened *message, const int *fds,
                  size_t fd_count);

#endif
