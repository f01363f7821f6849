/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface, opened while the broker may still do so: with a virtio-net header before each
 * frame, one file a queue. Afterwards its flags can be looked at without any privilege.
 */
#ifndef BROKER_BACKEND_TAP_H
#define BROKER_BACKEND_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/failure.h"

#define TAP_QUEUES_MAX 7u

struct tap {
    char name[IFNAMSIZ];
    int queues[TAP_QUEUES_MAX]; /* non-blocking */
    unsigned int queue_count;
    int socket;        /* of the network namespace: to ask for the interface's flags */
    int index;         /* the interface's number in that namespace; a new name leaves it as it is */
    uint32_t offloads; /* TUN_F_*: what the kernel knows; none is on */
    uint32_t mtu;      /* the interface's own */
    bool made;         /* there was none by that name */
};

/* Of a device that an earlier broker has had at work. */
struct tap_before {
    bool ran;
    int index; /* the interface that it had, which was called by the same name; 0: not known */
    bool held; /* tap_hold has done something, which is to be undone */
};

/*
 * `file` is one of an interface's: have the interface outlast its files, so that they can be closed
 * before others are opened. Returns whether it would not have.
 */
bool tap_hold(int file);

/*
 * Open the interface, or make it if there is none by that name: it then lasts as long as its files.
 * None is made for a device that has run before: its interface may have got another name meanwhile,
 * and a new one of the old name would be connected to nothing. It is then the one of that number,
 * if that is known and there is one, else there has to be one of that name. Returns 0, or -errno
 * with *failure filled in and nothing left open.
 */
int tap_open(struct tap *tap, const char *name, unsigned int queues,
             const struct tap_before *before, struct failure *failure);

enum tap_place {
    TAP_HERE,
    TAP_MOVED, /* to another network namespace: whether it has a carrier can't be asked any more */
    TAP_GONE,  /* removed; one that is made anew under its name is another */
};

struct tap_link {
    enum tap_place place;
    bool up;      /* "ip link set NAME up": not of one that is gone */
    bool carrier; /* taken for there if the tap was moved */
};

/*
 * How is the interface? `file` is one of its files, `socket` one of the network namespace in which
 * it had the number `index`: names may change hands. Waits for nobody: poll looks at the file's own
 * interface, and SIOCGIFNAME and SIOCGIFFLAGS are answered without the lock of all network
 * configuration (rtnl), which TUNGETIFF and netlink take and somebody slow may hold.
 */
void tap_look(int file, int socket, int index, struct tap_link *ret);

#endif
