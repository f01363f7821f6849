/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connector: bao-virtio-broker --connect. It makes the connections of one device to sockets in
 * one directory. The directory may lie on a file system that hangs. Then the connector and the
 * connections of its device wait, but nothing else does. Of a guest's bytes it sees only the digits
 * of a name, and it hands over its connections unread.
 *
 * It is confined as the broker is (lockdown.h), and more: its root holds only that directory, and
 * its filter allows only messages, sockets, connect() and the size of a socket's buffer.
 */
#ifndef BROKER_CONNECTOR_PROCESS_H
#define BROKER_CONNECTOR_PROCESS_H

#include <stdbool.h>

/* `socket`: the socket to the broker (backend/connector.h). `directory`: O_PATH. Returns the exit
 * status when the broker has gone. */
int connector_run(int socket, int directory);

/* Serve the requests that can be read now. Loads no filter, so tests can call it, too. Returns
 * false at the end of the socket, or if the socket takes no answer. */
bool connector_serve(int socket);

/* Let a seqpacket socket take messages of CONNECTION_MESSAGE_MAX, which its usual buffer does not.
 * If the machine's limit (net.core.wmem_max) is below half of that, it takes as much as it may. */
void connector_take_messages(int fd);

#endif
