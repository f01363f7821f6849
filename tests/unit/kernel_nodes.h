/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's nodes for taps and vhost, and what it says of network interfaces, as a test wants
 * them: few machines that run tests have them. Functions of this program stand in front of those
 * of the C library (--wrap, see CMakeLists.txt). Each does what Linux does, for these nodes; all
 * else goes to the C library. No time passes: pauses are counted.
 */
#ifndef TESTS_UNIT_KERNEL_NODES_H
#define TESTS_UNIT_KERNEL_NODES_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

/* Calls that are no ioctl, where the number of an ioctl is expected. */
enum { CALL_OPEN = 1, CALL_SOCKET, CALL_EVENTFD, CALL_COPY, CALL_ACCESS, CALL_POLL };

struct interface {
    char name[IFNAMSIZ];
    int index;   /* 0: there is no such interface */
    short flags; /* IFF_UP, IFF_RUNNING */
    int mtu;
    bool several;   /* a tap that was made for several queues */
    bool no_tap;    /* a bridge, or what else there is */
    bool elsewhere; /* in another network namespace */
};

/* One ioctl that was asked for. */
struct call {
    int fd;
    unsigned long request;
    unsigned long number; /* of those that have one */
    char name[IFNAMSIZ];  /* of those that name an interface */
    int flags;            /* TUNSETIFF */
};

extern struct kernel {
    struct interface interfaces[2];
    unsigned long offloads; /* TUN_F_* that taps know */
    uint64_t vhost_features;

    /* What fails: a call, after `later` others of the same request, `times` times. */
    struct {
        unsigned long request;
        int error;
        unsigned int later, times;
    } refusals[2];

    unsigned long gives_0;                /* the next file that this call makes gets the number 0 */
    void (*after)(unsigned long request); /* what happens after each ioctl; NULL: nothing */

    /* What was asked for. */
    struct call calls[200];
    unsigned int call_count;
    char opened[32]; /* the last node */
    int open_flags;
    uint64_t cid; /* of the last vhost-vsock file */
    bool waited;  /* in poll */
    unsigned int pauses;
    long long paused_ns;
} kernel;

/* Begin a case: there is no interface, and every node works. */
void kernel_begin(void);

/* Add one more refusal. */
void kernel_refuses(unsigned long request, int error, unsigned int later, unsigned int times);

/* The number 0 is free from now on, and the next file that this call makes gets it. No number says
 * that a call failed, but a negative one. kernel_takes_0: as before; closes what has it. */
void kernel_gives_0(unsigned long request);
void kernel_takes_0(void);

/* The n-th call with this request; NULL: there were not so many. */
const struct call *kernel_call(unsigned long request, unsigned int n);
unsigned int kernel_calls(unsigned long request);

/* The interface to which a file of /dev/net/tun is attached, and the size of the header before each
 * frame; NULL: to none. */
const struct interface *kernel_attached(int fd, int *ret_header_size);

/* The offloads that are on. */
unsigned long kernel_offloads(int fd);

/* Do both numbers mean the same open file? */
bool kernel_same_file(int fd, int other);

#endif
