/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's end of the control socket (common/control.h). It serves a few clients at a time;
 * each is answered at once or dropped. What a client sends is only compared, as numbers.
 */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/failure.h"
#include "broker/rate_limit.h"
#include "common/control.h"

#define CONTROL_CLIENTS_MAX 8

struct supervisor;

struct control {
    int listener; /* -1: none */
    int clients[CONTROL_CLIENTS_MAX];
    bool is_root[CONTROL_CLIENTS_MAX];
    struct rate_limit rate; /* of new clients, and of requests; root's requests are not counted */
    int32_t keeper;         /* the keeper's process id, for the replies */
    char config[CONTROL_CONFIG_SIZE];
};

/* After a client was refused because of the rate, no client is accepted for this time. */
#define CONTROL_PAUSE_MS 100

/*
 * The path of the socket if the user gives none. It is named after the configuration. `number` 1:
 * its own name; from 2 on: names to try when another bao-virtio-dm has the first.
 */
#define CONTROL_NUMBER_MAX BAO_DEVICES_MAX
void control_default_path(const char *config, unsigned int number, char ret[CONTROL_PATH_SIZE]);

/*
 * Make the socket. A socket file without a listener is replaced; any other file is left alone.
 * `again`: this is not the first start, so a predecessor may just be ending; it is waited for, for
 * CONTROL_WAIT_MS. Call it before lock-down. Returns 0; -EADDRINUSE, -EEXIST or -errno with
 * *failure filled in.
 */
#define CONTROL_WAIT_MS 200
int control_open(struct control *control, const char *path, uint32_t mode, bool again,
                 struct failure *failure);

/* The same, with a name made from the configuration's name: the first one that is free. *ret_path
 * is the path. */
int control_open_default(struct control *control, const char *config, uint32_t mode, bool again,
                         char ret_path[CONTROL_PATH_SIZE], struct failure *failure);

/* The fd to watch for input; -1: no client. */
static inline int control_client(const struct control *control, size_t client)
{
    return control->clients[client];
}

/* A client connects. Returns its number, or -errno (-EMFILE: too many clients; -EBUSY: too often,
 * and it is not accepted yet). */
int control_accept(struct control *control);

/* A client has sent something. Returns false if it was dropped. */
bool control_serve(struct control *control, size_t client, struct supervisor *supervisor);

void control_drop(struct control *control, size_t client);

/*
 * Carry out a request and make the reply. For control_serve and its tests. `is_root`: root asks.
 * Never fails: a packet that is not a request is answered with an error.
 */
void control_answer(const void *packet, size_t length, bool is_root, struct supervisor *supervisor,
                    struct control_reply *ret_reply);

#endif
