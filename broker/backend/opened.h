/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend on its way: from the process that opened it to the broker, and from broker to broker
 * (struct message_opened). What travels are files that mean the same in any process, and what was
 * learned of them. Never a vhost file, nor a connection to a daemon or a client: those hold a state
 * that is one worker's.
 */
#ifndef BROKER_BACKEND_OPENED_H
#define BROKER_BACKEND_OPENED_H

#include <stddef.h>
#include <stdint.h>

#include "broker/backend/backend.h"
#include "common/message.h"

/*
 * Write to *ret what `backend` is after `open`, and to `ret_fds` (OPENED_FILES entries) its files,
 * borrowed, in the order of enum opened_file. Returns how many. The header is left alone.
 */
size_t opened_pack(const struct backend *backend, struct message_opened *ret, int *ret_fds);

/*
 * In an opener, after `open`: put what lies on a file system into boxes (common/box.h), since
 * neither broker nor keeper is to have it open. The files themselves stay open in this process.
 * Returns 0, or -errno with *failure filled in.
 */
int opened_box(struct backend *backend, struct failure *failure);

/* Take only which files its paths led to: of one that could not be opened, too. */
void opened_identify(struct backend *backend, const struct message_opened *message);

/*
 * The opposite; the files are the backend's from now on. Returns 0; -EPROTO if the message is not
 * one that opened_pack makes for this device: another version or another configuration, files that
 * are not those of its kind. Then nothing is taken, and the files stay the caller's.
 */
int opened_unpack(struct backend *backend, const struct message_opened *message, const int *fds,
                  size_t fd_count);

#endif
