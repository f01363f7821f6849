/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connector: bao-virtio-broker --connect. It makes the connections of one device to sockets in
 * one directory, which may lie on a file system that hangs: then it waits, and so do the
 * connections of its device, but nobody else. It sees no byte of a guest but digits of a name, and
 * what it connects to it hands over unread.
 *
 * It is confined as the broker is (lockdown.h), and more: its root holds that directory alone, and
 * its filter knows nothing but messages, sockets and connect().
 */
#ifndef BROKER_CONNECTOR_PROCESS_H
#define BROKER_CONNECTOR_PROCESS_H

#include <stdbool.h>

/* `socket`: to the broker (backend/connector.h). `directory`: O_PATH. Returns the exit status, when
 * the broker has gone. */
int connector_run(int socket, int directory);

/* Serve what there is to read, without a filter of its own: for tests, too. Returns false at the
 * end of the socket, or if it takes no answer. */
bool connector_serve(int socket);

#endif
