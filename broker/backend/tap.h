/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface, opened while the broker may still do so: with a virtio-net header before each
 * frame, and one file for each queue. Afterwards its flags can be read without any privilege.
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
    int socket;        /* in the network namespace: to ask for the interface's flags */
    int index;         /* the interface's index in that namespace; renaming does not change it */
    uint32_t offloads; /* TUN_F_*: what the kernel supports; none is on */
    uint32_t mtu;      /* the interface's own */
    bool made;         /* no interface had that name before */
};

/* Of a device that an earlier broker has served. */
struct tap_before {
    bool ran;
    int index;                 /* of the interface that it had, with the same name; 0: not known */
    int files[TAP_QUEUES_MAX]; /* files of that interface; borrowed */
    unsigned int file_count;
};

/*
 * Open the interface, or make it if no interface has that name; then it lasts as long as its files.
 * No interface is made for a device that has run before: its interface may have got another name
 * meanwhile, and a new interface with the old name would be connected to nothing. For such a
 * device, the interface with the known index is opened, if there is one; otherwise an interface of
 * that name must exist. Files of the interface with the known index are used again, since one that
 * lasts as long as its files must never be without a file. Returns 0, or -errno with *failure
 * filled in and nothing left open.
 */
int tap_open(struct tap *tap, const char *name, unsigned int queues,
             const struct tap_before *before, struct failure *failure);

enum tap_place {
    TAP_HERE,
    TAP_MOVED, /* to another network namespace: its carrier is not known any more */
    TAP_GONE,  /* removed; a new interface with the same name is another one */
};

struct tap_link {
    enum tap_place place;
    bool up;      /* "ip link set NAME up"; false if it is gone */
    bool carrier; /* assumed to be there if the tap was moved */
};

/*
 * The state of the interface. `file` is one of its files. `socket` is a socket in the network
 * namespace in which the interface had the index `index`: another interface may get its name. Never
 * waits: poll looks at the file's own interface, and SIOCGIFNAME and SIOCGIFFLAGS are answered
 * without the lock of all network configuration (rtnl). TUNGETIFF and netlink take that lock, and a
 * slow process may hold it.
 */
void tap_look(int file, int socket, int index, struct tap_link *ret);

#endif
