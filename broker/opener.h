/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opener: bao-virtio-broker --open ID NAME. It opens the backend of one device, privileged,
 * before any byte of a guest is near; sends what it has to the broker (MSG_OPENED); and ends. Since
 * it does nothing else and nobody waits for it, an image, a directory or a tap may keep it waiting
 * for any time: that holds its own device and no other.
 */
#ifndef BROKER_OPENER_H
#define BROKER_OPENER_H

#include <stdint.h>

/* `socket`: to the broker. `text`: the configuration, whose file is called `path`. Returns the exit
 * status. */
int opener_run(int socket, int text, const char *path, uint32_t dm_id);

#endif
