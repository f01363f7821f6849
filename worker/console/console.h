/* SPDX-License-Identifier: Apache-2.0 */
/* The two halves of the console device: its ports (console.c), and the messages between driver and
 * device about them (control.c). */
#ifndef WORKER_CONSOLE_H
#define WORKER_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/device.h"

/* §5.3.2: the control queues are between the queues of port 0 and those of port 1. */
enum console_queue {
    CONSOLE_RX,         /* port 0's */
    CONSOLE_TX,         /* port 0's */
    CONSOLE_CONTROL_RX, /* for messages to the driver */
    CONSOLE_CONTROL_TX, /* from the driver */
    CONSOLE_RX1,        /* port 1's, and so on */
};

static inline unsigned int console_rx_queue(unsigned int port)
{
    return port == 0 ? CONSOLE_RX : CONSOLE_RX1 + 2 * (port - 1);
}

static inline unsigned int console_tx_queue(unsigned int port)
{
    return console_rx_queue(port) + 1;
}

/* The port of a queue that is not a control queue. */
static inline unsigned int console_port(unsigned int queue)
{
    return queue < CONSOLE_RX1 ? 0 : (queue - 2) / 2;
}

/* Did the driver accept VIRTIO_CONSOLE_F_MULTIPORT? If not, there is only port 0. */
bool console_multiport(const struct device *dev);

/* May input be given to the port? Not while the driver has its side of the port closed,
 * §5.3.6.2. */
bool console_open(const struct device *dev, unsigned int port);

/* `name` is the device's; the ports' names begin with it. */
void console_control_init(unsigned int ports, const char *name);

/* Could this have been written by the functions below? */
bool console_control_valid(const struct state_console *state);

/* Tell the driver the size of port 0's terminal once more. */
void console_control_resized(struct device *dev);

/* A turn of one of the control queues, as device_ops.turn. */
enum serve console_control_turn(struct device *dev, unsigned int queue,
                                struct guest_fault *ret_fault);

#endif
