/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's end of the control socket (common/control.h): a few clients at a time, each
 * answered at once or dropped. Nothing that a client sends is more than a number to compare.
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
    struct rate_limit rate; /* of clients, and of what they ask, root's apart */
    int32_t keeper;         /* what is said of whom it is */
    char config[CONTROL_CONFIG_SIZE];
};

/* After refusing one for want of rate, nobody is accepted for so long. */
#define CONTROL_PAUSE_MS 100

/*
 * Where the socket is if nobody says where: named after the configuration. `number` 1: its own
 * name; from 2 on what to try when that is another's.
 */
#define CONTROL_NUMBER_MAX BAO_DEVICES_MAX
void control_default_path(const char *config, unsigned int number, char ret[CONTROL_PATH_SIZE]);

/*
 * Make the socket. A socket file that nobody listens on any more is replaced; anything else is
 * left alone. `again`: not at the first start, and a predecessor that is just ending is waited for,
 * for CONTROL_WAIT_MS. Before lock-down. Returns 0; -EADDRINUSE, -EEXIST or -errno with *failure
 * filled in.
 */
#define CONTROL_WAIT_MS 200
int control_open(struct control *control, const char *path, uint32_t mode, bool again,
                 struct failure *failure);

/* The same by the configuration's name, or the first of its names that nobody else has: *ret_path.
 */
int control_open_default(struct control *control, const char *config, uint32_t mode, bool again,
                         char ret_path[CONTROL_PATH_SIZE], struct failure *failure);

/* Whom to watch for input; -1: none. */
static inline int control_client(const struct control *control, size_t client)
{
    return control->clients[client];
}

/* Somebody connects: returns the new client's number, or -errno (-EMFILE: too many; -EBUSY: too
 * often, and not accepted yet). */
int control_accept(struct control *control);

/* A client has sent something. Returns false if it was dropped. */
bool control_serve(struct control *control, size_t client, struct supervisor *supervisor);

void control_drop(struct control *control, size_t client);

/*
 * What to do and answer; for control_serve and its tests. `is_root`: who asks. Never fails: what
 * is not a request is answered with an error.
 */
void control_answer(const void *packet, size_t length, bool is_root, struct supervisor *supervisor,
                    struct control_reply *ret_reply);

#endif
